/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The event log's file: append, rotate by size, keep so many, take up again after errors. Owner:
 * one thread. What must hold: the file ends at a line's end whenever it is opened (what a crash cut
 * off is removed); a rotated file is synced before the next one begins.
 */
#ifndef MILLRACE_CONTROL_EVENTS_EVENT_FILE_H
#define MILLRACE_CONTROL_EVENTS_EVENT_FILE_H

#include <stddef.h>
#include <stdint.h>

struct event_file {
	char directory[256];
	uint64_t rotate_bytes;
	unsigned keep;
	int fd; /**< -1: closed after an error; the next append opens it */
	uint64_t size_bytes;
	uint64_t inode;
	uint64_t checked_us; /**< when it was last seen to be still there (monotonic) */
	uint64_t rotations;
};

/** Makes the directory if it is missing (not its parents). @return 0 or negative errno */
int event_file_open(struct event_file *file, const char *directory, uint64_t rotate_bytes,
		    unsigned keep);
/**
 * Append whole lines. @param done set to the octets written, which may be fewer on an error
 * @return 0 or negative errno; the file is opened anew by the next call
 */
int event_file_append(struct event_file *file, const char *data, size_t size, size_t *done);
/** Sync and close. */
void event_file_close(struct event_file *file);

#endif
