/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Ways through the emulator: each is a link in either direction with settings and a seed of its
 * own. The default one takes all that no prefix claims, so that many experiments share one pair of
 * interfaces and none disturbs another's dice.
 */
#ifndef MILLRACE_PERF_EMULATOR_PATH_H
#define MILLRACE_PERF_EMULATOR_PATH_H

#include "dataplane/net/address.h"
#include "tests/sim/link/link.h"

#include <stdio.h>

#define PATHS_MAX 128u

struct path {
	struct ip_prefix prefix;
	const char *name; /* NULL: the default path */
	struct sim_link_settings link;
	uint64_t seed;
	struct sim_link *out[2]; /* from the first interface, from the second */
	uint64_t late[2];	 /* frames that left more than a millisecond after their time */
	uint64_t late_max_us[2];
};

struct path_set {
	struct path paths[PATHS_MAX]; /* [0] is the default */
	unsigned count;
};

/** A number from text, at most `limit`; exits when it is none. */
double path_number(const char *text, double limit);
/** One setting by the name of its option. @return false: there is no such setting */
bool path_set_option(struct path *path, const char *key, const char *value);
/** Add the path of "PREFIX,key=value,..." (the text is kept and changed); exits when it is wrong.
 */
void path_add(struct path_set *set, char *text);
/** Make the links. */
void path_start(struct path_set *set);
void path_stop(struct path_set *set);
/** The path of an Ethernet frame: the first whose prefix has its source or its destination. */
struct path *path_of(struct path_set *set, const uint8_t *frame, size_t size);
/** When a frame leaves next; UINT64_MAX: none is under way. */
uint64_t path_next(const struct path_set *set);
/** One JSON object for each direction of each path. */
void path_report(const struct path_set *set, FILE *to, const char *const names[2],
		 const uint64_t oversized[2], const uint64_t refused[2]);

#endif
