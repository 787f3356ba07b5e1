/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What both real disks share: the directory, its lock, its files, and the thread that makes new
 * ones. The forms that move data (disk_uring.c, disk_thread.c) embed a struct disk_directory as
 * their first member.
 *
 * Owner: the disk's thread; the maker's fields are under its mutex. A file appears under its name
 * only when it is whole and durable: it is written as NAME.new, synchronised, renamed, and the
 * directory synchronised.
 */
#ifndef MILLRACE_DRIVERS_DISK_DISK_DIRECTORY_H
#define MILLRACE_DRIVERS_DISK_DISK_DIRECTORY_H

#include "drivers/disk/disk.h"

#include <pthread.h>
#include <sched.h>

struct disk_file {
	int fd;
};

/** The thread that makes files: one at a time. */
struct disk_maker {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake; /**< a job, or the end */
	pthread_cond_t made; /**< the job is done */
	bool busy;	     /**< a job is there, being done, or done and not reaped */
	bool done;
	bool stop;
	char name[64];
	uint64_t size;
	struct disk_file **file;
	void *user;
	int result;
};

struct disk_directory {
	struct disk disk;
	int fd; /**< of the directory; holds the lock */
	bool direct;
	bool pinned; /**< helper threads run on `cpus` only */
	cpu_set_t cpus;
	struct disk_maker maker;
};

/** @param error at least 256 bytes @return 0 or negative errno */
int disk_directory_open(struct disk_directory *directory, const struct disk_settings *settings,
			char *error);
void disk_directory_close(struct disk_directory *directory);

int disk_directory_list(struct disk *disk, char ***names);
int disk_directory_open_file(struct disk *disk, const char *name, struct disk_file **file,
			     uint64_t *size);
int disk_directory_create(struct disk *disk, const char *name, uint64_t size,
			  struct disk_file **file);
int disk_directory_create_start(struct disk *disk, const char *name, uint64_t size,
				struct disk_file **file, void *user);
int disk_directory_flush(struct disk *disk, struct disk_file *file);
void disk_directory_close_file(struct disk *disk, struct disk_file *file);
/** @return 1 when a file that create_start began is ready or has failed */
unsigned disk_directory_reap(struct disk_directory *directory, struct disk_completion *out);
/** A file is being made: its completion will not wake the data path's wait. */
bool disk_directory_is_making(struct disk_directory *directory);
/** Start a helper thread with all signals blocked, on the helper cores. @return 0 or negative errno
 */
int disk_directory_thread(struct disk_directory *directory, pthread_t *thread, void *(*run)(void *),
			  void *argument);

/** @return NULL with *why set to a negative errno where the kernel refuses io_uring */
struct disk *disk_uring_open(const struct disk_settings *settings, int *why, char *error);
struct disk *disk_thread_open(const struct disk_settings *settings, char *error);

#endif
