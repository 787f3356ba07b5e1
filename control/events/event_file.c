/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The event log's file. */
#include "control/events/event_file.h"

#include "drivers/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHECK_US UINT64_C(1000000)

static void present_name(const struct event_file *file, char *out, size_t size)
{
	snprintf(out, size, "%s/events.jsonl", file->directory);
}

/* Where the last whole line ends. @return its offset, or negative errno */
static int64_t last_line_end(int fd, uint64_t size)
{
	char block[4096];

	while (size > 0) {
		size_t part = size < sizeof(block) ? (size_t)size : sizeof(block);
		ssize_t got = pread(fd, block, part, (off_t)(size - part));
		const char *newline;

		if (got != (ssize_t)part)
			return got < 0 ? -errno : -EIO;
		newline = memrchr(block, '\n', part);
		if (newline != NULL)
			return (int64_t)(size - part + (uint64_t)(newline - block) + 1);
		size -= part;
	}
	return 0;
}

static int open_present(struct event_file *file)
{
	char name[300];
	struct stat about;
	int64_t end;
	int result;

	present_name(file, name, sizeof(name));
	file->fd = open(name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (file->fd < 0)
		return -errno;
	if (fstat(file->fd, &about) != 0)
		goto fail;
	end = last_line_end(file->fd, (uint64_t)about.st_size);
	if (end < 0) {
		errno = (int)-end;
		goto fail;
	}
	if (end != about.st_size && ftruncate(file->fd, end) != 0)
		goto fail;
	file->size_bytes = (uint64_t)end;
	file->inode = about.st_ino;
	return 0;
fail:
	result = -errno;
	close(file->fd);
	file->fd = -1;
	return result;
}

int event_file_open(struct event_file *file, const char *directory, uint64_t rotate_bytes,
		    unsigned keep)
{
	if (strlen(directory) >= sizeof(file->directory))
		return -ENAMETOOLONG;
	memset(file, 0, sizeof(*file));
	snprintf(file->directory, sizeof(file->directory), "%s", directory);
	file->rotate_bytes = rotate_bytes;
	file->keep = keep > 0 ? keep : 1;
	file->fd = -1;
	if (mkdir(directory, 0750) != 0 && errno != EEXIST)
		return -errno;
	return open_present(file);
}

static int is_old(const struct dirent *entry)
{
	size_t size = strlen(entry->d_name);

	return size > 13 && strncmp(entry->d_name, "events-", 7) == 0 &&
	       strcmp(entry->d_name + size - 6, ".jsonl") == 0;
}

static void prune(const struct event_file *file)
{
	struct dirent **entries;
	int count = scandir(file->directory, &entries, is_old, alphasort);

	for (int i = 0; i < count; i++) {
		char name[600];

		snprintf(name, sizeof(name), "%s/%s", file->directory, entries[i]->d_name);
		if (i < count - (int)file->keep)
			unlink(name);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

/* Names sort as they age: the time of rotation in UTC. */
static void rotated_name(const struct event_file *file, char *out, size_t size)
{
	struct mr_now now;
	time_t seconds;
	struct tm tm;

	clock_read(&now);
	seconds = (time_t)(now.wall_us / US_PER_S);
	gmtime_r(&seconds, &tm);
	snprintf(out, size, "%s/events-%04d%02d%02dT%02d%02d%02d.%06uZ.jsonl", file->directory,
		 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		 (unsigned)(now.wall_us % US_PER_S));
}

static int rotate(struct event_file *file)
{
	char present[300], old[340];
	int directory;

	present_name(file, present, sizeof(present));
	rotated_name(file, old, sizeof(old));
	if (fsync(file->fd) != 0 || rename(present, old) != 0)
		return -errno;
	directory = open(file->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory >= 0) {
		fsync(directory);
		close(directory);
	}
	close(file->fd);
	file->fd = -1;
	file->rotations++;
	prune(file);
	return open_present(file);
}

/* Somebody may have moved or removed the file. */
static bool is_still_there(struct event_file *file)
{
	char name[300];
	struct stat about;
	struct mr_now now;

	clock_read(&now);
	if (now.mono_us - file->checked_us < CHECK_US)
		return true;
	file->checked_us = now.mono_us;
	present_name(file, name, sizeof(name));
	return stat(name, &about) == 0 && about.st_ino == file->inode;
}

static int make_ready(struct event_file *file, size_t size)
{
	if (file->fd >= 0 && !is_still_there(file)) {
		close(file->fd);
		file->fd = -1;
	}
	if (file->fd < 0)
		return open_present(file);
	if (file->size_bytes > 0 && file->size_bytes + size > file->rotate_bytes)
		return rotate(file);
	return 0;
}

int event_file_append(struct event_file *file, const char *data, size_t size, size_t *done)
{
	int result = make_ready(file, size);

	*done = 0;
	while (result == 0 && *done < size) {
		ssize_t written = write(file->fd, data + *done, size - *done);

		if (written > 0) {
			*done += (size_t)written;
			file->size_bytes += (uint64_t)written;
		} else if (written < 0 && errno != EINTR) {
			result = -errno;
		}
	}
	if (result == 0)
		return 0;
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
	/* Opening cuts a torn line off: begin that line again. */
	while (*done > 0 && data[*done - 1] != '\n')
		--*done;
	return result;
}

void event_file_close(struct event_file *file)
{
	if (file->fd < 0)
		return;
	fsync(file->fd);
	close(file->fd);
	file->fd = -1;
}
