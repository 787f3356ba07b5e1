/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The spool's disk: asynchronous, direct, synchronised writes into files of fixed size. Two forms:
 * io_uring with O_DIRECT (disk_uring.c), or a helper thread with pwritev2 where io_uring is
 * forbidden (disk_thread.c); and a simulated one that loses what was not synchronised (disk_sim.c).
 *
 * Owner: one thread. Buffers and lengths are multiples of DISK_ALIGN. Completions are handed out by
 * disk_reap, in any order. A completion is an error (negative errno) or the full length: short
 * transfers are continued inside.
 */
#ifndef MILLRACE_DRIVERS_DISK_DISK_H
#define MILLRACE_DRIVERS_DISK_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_ALIGN 4096u

struct disk;
struct disk_file; /**< an open segment */

struct disk_completion {
	void *user;
	int64_t result; /**< bytes, or negative errno */
};

struct disk_operations {
	/** Names in the disk's directory, for recovery. @return count, or negative errno; names are
	 * malloc'ed */
	int (*list)(struct disk *disk, char ***names);
	/** Open an existing file. @param size set to its bytes @return 0 or negative errno */
	int (*open)(struct disk *disk, const char *name, struct disk_file **file, uint64_t *size);
	/** Make a file of `size` bytes, written with zeros, synchronised with its directory. Slow:
	 * housekeeping only. */
	int (*create)(struct disk *disk, const char *name, uint64_t size, struct disk_file **file);
	/**
	 * Start making a file, as `create` does, on a helper thread. *file is set before its
	 * completion is reaped.
	 * @return 0 or -EAGAIN (one is being made already)
	 */
	int (*create_start)(struct disk *disk, const char *name, uint64_t size,
			    struct disk_file **file, void *user);
	void (*close)(struct disk *disk, struct disk_file *file);
	/** Make everything that was ever written to the file durable. Blocks: recovery only.
	 * @return 0 or negative errno */
	int (*flush)(struct disk *disk, struct disk_file *file);
	/** Start a write that is durable when it completes. @return 0 or -EAGAIN (queue full) */
	int (*write_durable)(struct disk *disk, struct disk_file *file, uint64_t offset,
			     const void *data, size_t size, void *user);
	/** Start a read. @return 0 or -EAGAIN */
	int (*read)(struct disk *disk, struct disk_file *file, uint64_t offset, void *data,
		    size_t size, void *user);
	/** Take completions, without waiting. @return number */
	unsigned (*reap)(struct disk *disk, struct disk_completion *out, unsigned max);
	/** Wait until a completion may be there, or the time is over. */
	void (*wait)(struct disk *disk, uint64_t timeout_us);
	void (*destroy)(struct disk *disk);
};

struct disk {
	const struct disk_operations *operations;
	const char *method; /**< how writes are made durable, for people */
};

struct disk_settings {
	const char *directory; /**< made (0700) when missing; locked, so that two daemons cannot
				  share it */
	bool no_io_uring;      /**< use the helper thread even where io_uring works */
	bool allow_buffered;   /**< go on without O_DIRECT where the file system has none (tests on
				  tmpfs) */
	unsigned helper_cpu_count;
	const unsigned *helper_cpus; /**< cores for kernel and helper threads; none: wherever the
					creator may run */
};

/**
 * Open a real disk: io_uring, or a helper thread where io_uring is forbidden. `method` says which.
 * The thread that turns it may be another than the one that opened it, but only one at a time.
 * @param error at least 256 bytes @return NULL on error (in use, not a directory, no O_DIRECT …)
 */
struct disk *disk_open(const struct disk_settings *settings, char *error);
static inline void disk_close(struct disk *disk)
{
	disk->operations->destroy(disk);
}

#endif
