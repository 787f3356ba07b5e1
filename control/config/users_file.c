/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One users-file. */
#include "control/config/users_file.h"

#include "control/config/config.h"
#include "control/telemetry/log.h"

#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX (64u << 20)
#define FIELDS	 5

/* The whole file, ended by NUL. */
static int read_text(const char *path, char **out, char *error)
{
	FILE *in = fopen(path, "re");
	struct stat about;
	int result = -errno;
	size_t size;

	if (in == NULL) {
		snprintf(error, 256, "%.180s: %s", path, strerror(errno));
		return result;
	}
	if (fstat(fileno(in), &about) != 0 || !S_ISREG(about.st_mode) || about.st_size > FILE_MAX) {
		snprintf(error, 256, "%.180s: not a regular file of 64 MiB at most", path);
		fclose(in);
		return -EINVAL;
	}
	if (about.st_mode & S_IROTH)
		log_warning("users", "%s can be read by everybody; it holds password hashes", path);
	*out = malloc((size_t)about.st_size + 1);
	if (*out == NULL)
		abort();
	size = fread(*out, 1, (size_t)about.st_size, in);
	fclose(in);
	if (memchr(*out, '\0', size) != NULL) {
		snprintf(error, 256, "%.180s: holds a NUL", path);
		free(*out);
		return -EINVAL;
	}
	(*out)[size] = '\0';
	return 0;
}

static bool is_name(const char *text)
{
	for (const char *at = text; *at != '\0'; at++) {
		if ((unsigned char)*at <= 0x20 || *at == 0x7f)
			return false;
	}
	return strlen(text) < VIEW_NAME_MAX;
}

static bool pool_exists(const struct configuration *configuration, const char *pool)
{
	const struct queue_settings_view *queue = config_queue(configuration);

	for (unsigned i = 0; i < queue->pool_count; i++) {
		if (strcmp(queue->pools[i].name, pool) == 0)
			return true;
	}
	return pool[0] == '\0';
}

static bool is_locked(const char *hash)
{
	return hash[0] == '!' || hash[0] == '*';
}

/* Why a line is refused, or NULL. */
static const char *check_entry(const struct users_entry *entry,
			       const struct configuration *configuration)
{
	if (entry->name[0] == '\0')
		return "no user name";
	if (strlen(entry->name) >= sizeof(((struct auth_request *)0)->user))
		return "the user name is too long";
	/* A plain text reads as a hash of the oldest method: what to do about it is the same. */
	if (!is_locked(entry->hash) && (crypt_checksalt(entry->hash) == CRYPT_SALT_INVALID ||
					crypt_checksalt(entry->hash) == CRYPT_SALT_METHOD_LEGACY))
		return "the password is not a safe crypt(3) hash (mkpasswd -m yescrypt makes one)";
	if (!is_name(entry->tenant) || !is_name(entry->campaign))
		return "tenant or campaign is not a name";
	if (!pool_exists(configuration, entry->pool))
		return "there is no such pool";
	return NULL;
}

static void add(struct users_file *file, const struct users_entry *entry)
{
	if (file->count == file->room) {
		file->room = file->room == 0 ? 64 : file->room * 2;
		file->entries = realloc(file->entries, file->room * sizeof(*file->entries));
		if (file->entries == NULL)
			abort();
	}
	file->entries[file->count++] = *entry;
}

/* @return why it is refused, or NULL */
static const char *read_line(struct users_file *file, char *line,
			     const struct configuration *configuration)
{
	char *fields[FIELDS], *end = line + strlen(line);
	struct users_entry entry;
	const char *why;
	unsigned count;

	if (end > line && end[-1] == '\r')
		*--end = '\0';
	if (line[strspn(line, " \t")] == '\0' || line[0] == '#')
		return NULL;
	for (unsigned i = 0; i < FIELDS; i++)
		fields[i] = end;
	for (count = 0; count < FIELDS && line != NULL; count++)
		fields[count] = strsep(&line, ":");
	if (line != NULL)
		return "more than five fields";
	if (count < 2)
		return "not user:hash";
	entry = (struct users_entry){fields[0], fields[1], fields[2], fields[3], fields[4]};
	why = check_entry(&entry, configuration);
	if (why == NULL)
		add(file, &entry);
	return why;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct users_entry *)a)->name, ((const struct users_entry *)b)->name);
}

int users_file_load(struct users_file *file, const char *path,
		    const struct configuration *configuration, char *error)
{
	char *at, *line;
	unsigned number = 0;
	int result;

	memset(file, 0, sizeof(*file));
	snprintf(file->path, sizeof(file->path), "%s", path);
	result = read_text(path, &file->text, error);
	if (result != 0)
		return result;
	at = file->text;
	while ((line = strsep(&at, "\n")) != NULL) {
		const char *why = read_line(file, line, configuration);

		number++;
		if (why == NULL)
			continue;
		snprintf(error, 256, "%.160s:%u: %s", path, number, why);
		users_file_free(file);
		return -EINVAL;
	}
	if (file->count > 0)
		qsort(file->entries, file->count, sizeof(*file->entries), compare);
	for (size_t i = 1; i < file->count; i++) {
		if (strcmp(file->entries[i].name, file->entries[i - 1].name) != 0)
			continue;
		snprintf(error, 256, "%.120s: user %.80s stands there twice", path,
			 file->entries[i].name);
		users_file_free(file);
		return -EINVAL;
	}
	return 0;
}

void users_file_free(struct users_file *file)
{
	free(file->entries);
	free(file->text);
	memset(file, 0, sizeof(*file));
}

const struct users_entry *users_file_find(const struct users_file *file, const char *name)
{
	struct users_entry key = {.name = (char *)(uintptr_t)name};

	if (file->count == 0)
		return NULL;
	return bsearch(&key, file->entries, file->count, sizeof(key), compare);
}
