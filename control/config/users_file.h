/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One users-file, read and checked. Immutable once loaded. */
#ifndef MILLRACE_CONTROL_CONFIG_USERS_FILE_H
#define MILLRACE_CONTROL_CONFIG_USERS_FILE_H

#include <stddef.h>

struct configuration;

struct users_entry {
	char *name;
	char *hash;
	char *tenant, *campaign, *pool; /**< "": none */
};

struct users_file {
	char path[256];
	size_t count, room;
	struct users_entry *entries; /**< by name */
	char *text;		     /**< what the entries point into */
};

/**
 * @param configuration whose pools an entry may name @param error at least 256 bytes: "FILE:LINE:
 * reason"
 * @return 0 or negative errno, and then nothing is held
 */
int users_file_load(struct users_file *file, const char *path,
		    const struct configuration *configuration, char *error);
void users_file_free(struct users_file *file);
const struct users_entry *users_file_find(const struct users_file *file, const char *name);

#endif
