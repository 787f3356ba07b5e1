/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The real disk over io_uring: O_DIRECT, and RWF_DSYNC on each write, so that a write's completion
 * is its durability and a failed one is reported to the request that failed (never an fsync, whose
 * error is told once and then forgotten). Synchronous writes run on the kernel's io-wq threads,
 * which inherit the submitter's cores unless told otherwise: they are given the helper cores at the
 * first submission of each submitting thread.
 *
 * Owner: one thread at a time. Memory: REQUESTS requests, made at opening.
 */
#include "drivers/disk/disk_directory.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define REQUESTS 64u
/** While a file is being made, whose end does not come over the ring, waits are cut into slices. */
#define WAIT_SLICE_US 1000u

struct request {
	struct request *next; /**< free list */
	int fd;
	bool write;
	uint64_t offset;
	uint8_t *data;
	size_t size;
	size_t done;
	void *user;
};

struct uring_disk {
	struct disk_directory directory; /**< first: it starts with the struct disk */
	struct io_uring ring;
	const void *submitter; /**< names the thread whose io-wq has its cores set */
	struct request requests[REQUESTS];
	struct request *free;
	char method[64];
};

static struct uring_disk *uring_of(struct disk *disk)
{
	return (struct uring_disk *)disk;
}

/* io-wq belongs to the submitting thread and exists after its first submission. */
static void set_kernel_threads(struct uring_disk *uring)
{
	static __thread char this_thread;

	if (uring->submitter == &this_thread)
		return;
	uring->submitter = &this_thread;
	if (uring->directory.pinned)
		io_uring_register_iowq_aff(&uring->ring, sizeof(uring->directory.cpus),
					   &uring->directory.cpus);
}

/* What passes by itself. The entry stays in the ring and goes with the next try. */
static bool is_passing(int error)
{
	return error == -EINTR || error == -EAGAIN || error == -EBUSY || error == -ENOMEM;
}

/* Hand what is in the ring to the kernel. @return 0, also when it is to be tried again; or negative
 * errno */
static int push(struct uring_disk *uring)
{
	int result = io_uring_submit(&uring->ring);

	set_kernel_threads(uring);
	return result < 0 && !is_passing(result) ? result : 0;
}

static int submit(struct uring_disk *uring, struct request *request)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
	uint8_t *data = request->data + request->done;
	unsigned size = (unsigned)(request->size - request->done);
	uint64_t offset = request->offset + request->done;
	int result;

	/* Entries of failed requests may still lie in the ring. */
	if (sqe == NULL)
		return -EAGAIN;
	if (request->write) {
		io_uring_prep_write(sqe, request->fd, data, size, offset);
		sqe->rw_flags = RWF_DSYNC;
	} else {
		io_uring_prep_read(sqe, request->fd, data, size, offset);
	}
	io_uring_sqe_set_data(sqe, request);
	result = push(uring);
	if (result != 0) {
		/* It must not reach the disk later, from a buffer that is another's by then. */
		io_uring_prep_nop(sqe);
		io_uring_sqe_set_data(sqe, NULL);
	}
	return result;
}

static int start(struct disk *disk, struct disk_file *file, bool write, uint64_t offset, void *data,
		 size_t size, void *user)
{
	struct uring_disk *uring = uring_of(disk);
	struct request *request = uring->free;
	int result;

	assert(offset % DISK_ALIGN == 0 && size % DISK_ALIGN == 0 && size > 0);
	assert((uintptr_t)data % DISK_ALIGN == 0);
	if (request == NULL)
		return -EAGAIN;
	uring->free = request->next;
	*request = (struct request){.fd = file->fd,
				    .write = write,
				    .offset = offset,
				    .data = data,
				    .size = size,
				    .user = user};
	result = submit(uring, request);
	if (result != 0) {
		request->next = uring->free;
		uring->free = request;
	}
	return result;
}

static int uring_write(struct disk *disk, struct disk_file *file, uint64_t offset, const void *data,
		       size_t size, void *user)
{
	return start(disk, file, true, offset, (void *)(uintptr_t)data, size, user);
}

static int uring_read(struct disk *disk, struct disk_file *file, uint64_t offset, void *data,
		      size_t size, void *user)
{
	return start(disk, file, false, offset, data, size, user);
}

/* @return true when the request is over: *result is what to report */
static bool finish(struct uring_disk *uring, struct request *request, int moved, int64_t *result)
{
	if (moved == -EINTR || moved == -EAGAIN) {
		*result = submit(uring, request);
		return *result != 0;
	}
	if (moved <= 0) {
		*result = moved == 0 ? -EIO : moved;
		return true;
	}
	request->done += (size_t)moved;
	if (request->done == request->size) {
		*result = (int64_t)request->size;
		return true;
	}
	/* O_DIRECT goes on at a block's border only. */
	request->done -= request->done % DISK_ALIGN;
	*result = submit(uring, request);
	return *result != 0;
}

static unsigned uring_reap(struct disk *disk, struct disk_completion *out, unsigned max)
{
	struct uring_disk *uring = uring_of(disk);
	struct io_uring_cqe *cqe;
	unsigned count = 0;

	if (max > 0)
		count = disk_directory_reap(&uring->directory, out);
	if (io_uring_sq_ready(&uring->ring) > 0)
		push(uring);
	while (count < max && io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
		struct request *request = io_uring_cqe_get_data(cqe);
		int moved = cqe->res;
		int64_t result;

		io_uring_cqe_seen(&uring->ring, cqe);
		if (request == NULL || !finish(uring, request, moved, &result))
			continue;
		out[count++] = (struct disk_completion){.user = request->user, .result = result};
		request->next = uring->free;
		uring->free = request;
	}
	return count;
}

static void uring_wait(struct disk *disk, uint64_t timeout_us)
{
	struct uring_disk *uring = uring_of(disk);
	struct io_uring_cqe *cqe;
	struct __kernel_timespec limit;

	if (disk_directory_is_making(&uring->directory) && timeout_us > WAIT_SLICE_US)
		timeout_us = WAIT_SLICE_US;
	limit.tv_sec = (long long)(timeout_us / 1000000);
	limit.tv_nsec = (long long)(timeout_us % 1000000) * 1000;
	io_uring_wait_cqe_timeout(&uring->ring, &cqe, &limit);
}

static void uring_destroy(struct disk *disk)
{
	struct uring_disk *uring = uring_of(disk);

	io_uring_queue_exit(&uring->ring);
	disk_directory_close(&uring->directory);
	free(uring);
}

static const struct disk_operations uring_operations = {
	.list = disk_directory_list,
	.open = disk_directory_open_file,
	.create = disk_directory_create,
	.create_start = disk_directory_create_start,
	.close = disk_directory_close_file,
	.flush = disk_directory_flush,
	.write_durable = uring_write,
	.read = uring_read,
	.reap = uring_reap,
	.wait = uring_wait,
	.destroy = uring_destroy,
};

struct disk *disk_uring_open(const struct disk_settings *settings, int *why, char *error)
{
	struct uring_disk *uring = calloc(1, sizeof(*uring));
	int result;

	*why = 0;
	if (uring == NULL) {
		snprintf(error, 256, "out of memory");
		return NULL;
	}
	result = io_uring_queue_init(REQUESTS, &uring->ring, IORING_SETUP_CLAMP);
	if (result != 0) {
		*why = result;
		snprintf(error, 256, "no io_uring: %s", strerror(-result));
		free(uring);
		return NULL;
	}
	io_uring_ring_dontfork(&uring->ring);
	if (disk_directory_open(&uring->directory, settings, error) != 0) {
		io_uring_queue_exit(&uring->ring);
		free(uring);
		return NULL;
	}
	for (unsigned i = 0; i < REQUESTS; i++) {
		uring->requests[i].next = uring->free;
		uring->free = &uring->requests[i];
	}
	snprintf(uring->method, sizeof(uring->method), "io_uring, %s, RWF_DSYNC",
		 uring->directory.direct ? "O_DIRECT" : "buffered");
	uring->directory.disk.operations = &uring_operations;
	uring->directory.disk.method = uring->method;
	return &uring->directory.disk;
}
