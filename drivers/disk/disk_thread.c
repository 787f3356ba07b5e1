/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The real disk over helper threads, where io_uring is forbidden: one thread writes with
 * pwritev2(RWF_DSYNC), one reads. The same promises as disk_uring.c.
 *
 * Owner: one thread at a time; lanes and the completions are under one mutex. Memory: REQUESTS
 * requests.
 */
#include "drivers/disk/disk_directory.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REQUESTS      64u
#define WAIT_SLICE_US 1000u

struct request {
	struct request *next;
	int fd;
	uint64_t offset;
	uint8_t *data;
	size_t size;
	void *user;
	int64_t result;
};

struct request_list {
	struct request *head;
	struct request *tail;
};

enum lane_kind { LANE_WRITE, LANE_READ, LANE_COUNT };

struct lane {
	struct thread_disk *disk;
	enum lane_kind kind;
	pthread_t thread;
	pthread_cond_t wake;
	struct request_list waiting;
};

struct thread_disk {
	struct disk_directory directory; /**< first: it starts with the struct disk */
	pthread_mutex_t mutex;
	pthread_cond_t completed;
	struct lane lanes[LANE_COUNT];
	struct request_list finished;
	struct request requests[REQUESTS];
	struct request *free; /**< the owner's alone */
	bool stop;
	char method[64];
};

static struct thread_disk *thread_of(struct disk *disk)
{
	return (struct thread_disk *)disk;
}

static void push(struct request_list *list, struct request *request)
{
	request->next = NULL;
	if (list->head == NULL)
		list->head = request;
	else
		list->tail->next = request;
	list->tail = request;
}

static struct request *pop(struct request_list *list)
{
	struct request *request = list->head;

	if (request != NULL)
		list->head = request->next;
	return request;
}

static int64_t move_all(enum lane_kind kind, const struct request *request)
{
	size_t done = 0;

	while (done < request->size) {
		struct iovec piece = {.iov_base = request->data + done,
				      .iov_len = request->size - done};
		off_t at = (off_t)(request->offset + done);
		ssize_t n = kind == LANE_WRITE ? pwritev2(request->fd, &piece, 1, at, RWF_DSYNC)
					       : preadv(request->fd, &piece, 1, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? -EIO : -errno;
		done += (size_t)n;
		if (done < request->size)
			done -= done % DISK_ALIGN;
	}
	return (int64_t)request->size;
}

static void *run_lane(void *argument)
{
	struct lane *lane = argument;
	struct thread_disk *disk = lane->disk;

	pthread_mutex_lock(&disk->mutex);
	for (;;) {
		struct request *request = pop(&lane->waiting);

		if (request != NULL) {
			pthread_mutex_unlock(&disk->mutex);
			request->result = move_all(lane->kind, request);
			pthread_mutex_lock(&disk->mutex);
			push(&disk->finished, request);
			pthread_cond_signal(&disk->completed);
		} else if (disk->stop) {
			break;
		} else {
			pthread_cond_wait(&lane->wake, &disk->mutex);
		}
	}
	pthread_mutex_unlock(&disk->mutex);
	return NULL;
}

static int start(struct disk *base, struct disk_file *file, enum lane_kind kind, uint64_t offset,
		 void *data, size_t size, void *user)
{
	struct thread_disk *disk = thread_of(base);
	struct request *request = disk->free;

	assert(offset % DISK_ALIGN == 0 && size % DISK_ALIGN == 0 && size > 0);
	assert((uintptr_t)data % DISK_ALIGN == 0);
	if (request == NULL)
		return -EAGAIN;
	disk->free = request->next;
	*request = (struct request){
		.fd = file->fd, .offset = offset, .data = data, .size = size, .user = user};
	pthread_mutex_lock(&disk->mutex);
	push(&disk->lanes[kind].waiting, request);
	pthread_cond_signal(&disk->lanes[kind].wake);
	pthread_mutex_unlock(&disk->mutex);
	return 0;
}

static int thread_write(struct disk *disk, struct disk_file *file, uint64_t offset,
			const void *data, size_t size, void *user)
{
	return start(disk, file, LANE_WRITE, offset, (void *)(uintptr_t)data, size, user);
}

static int thread_read(struct disk *disk, struct disk_file *file, uint64_t offset, void *data,
		       size_t size, void *user)
{
	return start(disk, file, LANE_READ, offset, data, size, user);
}

static unsigned thread_reap(struct disk *base, struct disk_completion *out, unsigned max)
{
	struct thread_disk *disk = thread_of(base);
	unsigned count = 0;

	if (max > 0)
		count = disk_directory_reap(&disk->directory, out);
	pthread_mutex_lock(&disk->mutex);
	while (count < max) {
		struct request *request = pop(&disk->finished);

		if (request == NULL)
			break;
		out[count++] =
			(struct disk_completion){.user = request->user, .result = request->result};
		request->next = disk->free;
		disk->free = request;
	}
	pthread_mutex_unlock(&disk->mutex);
	return count;
}

static void thread_wait(struct disk *base, uint64_t timeout_us)
{
	struct thread_disk *disk = thread_of(base);
	struct timespec until;

	if (disk_directory_is_making(&disk->directory) && timeout_us > WAIT_SLICE_US)
		timeout_us = WAIT_SLICE_US;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(timeout_us / 1000000);
	until.tv_nsec += (long)(timeout_us % 1000000) * 1000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&disk->mutex);
	while (disk->finished.head == NULL)
		if (pthread_cond_timedwait(&disk->completed, &disk->mutex, &until) != 0)
			break;
	pthread_mutex_unlock(&disk->mutex);
}

static void stop_lanes(struct thread_disk *disk, unsigned started)
{
	pthread_mutex_lock(&disk->mutex);
	disk->stop = true;
	for (unsigned i = 0; i < started; i++)
		pthread_cond_signal(&disk->lanes[i].wake);
	pthread_mutex_unlock(&disk->mutex);
	for (unsigned i = 0; i < started; i++)
		pthread_join(disk->lanes[i].thread, NULL);
	for (unsigned i = 0; i < LANE_COUNT; i++)
		pthread_cond_destroy(&disk->lanes[i].wake);
	pthread_cond_destroy(&disk->completed);
	pthread_mutex_destroy(&disk->mutex);
}

static void thread_destroy(struct disk *base)
{
	struct thread_disk *disk = thread_of(base);

	stop_lanes(disk, LANE_COUNT);
	disk_directory_close(&disk->directory);
	free(disk);
}

static const struct disk_operations thread_operations = {
	.list = disk_directory_list,
	.open = disk_directory_open_file,
	.create = disk_directory_create,
	.create_start = disk_directory_create_start,
	.close = disk_directory_close_file,
	.flush = disk_directory_flush,
	.write_durable = thread_write,
	.read = thread_read,
	.reap = thread_reap,
	.wait = thread_wait,
	.destroy = thread_destroy,
};

static int start_lanes(struct thread_disk *disk)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&disk->completed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_mutex_init(&disk->mutex, NULL);
	for (unsigned i = 0; i < LANE_COUNT; i++)
		pthread_cond_init(&disk->lanes[i].wake, NULL);
	for (unsigned i = 0; i < LANE_COUNT; i++) {
		struct lane *lane = &disk->lanes[i];
		int result;

		lane->disk = disk;
		lane->kind = (enum lane_kind)i;
		result = disk_directory_thread(&disk->directory, &lane->thread, run_lane, lane);
		if (result != 0) {
			stop_lanes(disk, i);
			return result;
		}
	}
	return 0;
}

struct disk *disk_thread_open(const struct disk_settings *settings, char *error)
{
	struct thread_disk *disk = calloc(1, sizeof(*disk));
	int result;

	if (disk == NULL) {
		snprintf(error, 256, "out of memory");
		return NULL;
	}
	if (disk_directory_open(&disk->directory, settings, error) != 0) {
		free(disk);
		return NULL;
	}
	result = start_lanes(disk);
	if (result != 0) {
		snprintf(error, 256, "cannot start a thread: %s", strerror(-result));
		disk_directory_close(&disk->directory);
		free(disk);
		return NULL;
	}
	for (unsigned i = 0; i < REQUESTS; i++) {
		disk->requests[i].next = disk->free;
		disk->free = &disk->requests[i];
	}
	snprintf(disk->method, sizeof(disk->method), "thread, %s, pwritev2 RWF_DSYNC",
		 disk->directory.direct ? "O_DIRECT" : "buffered");
	disk->directory.disk.operations = &thread_operations;
	disk->directory.disk.method = disk->method;
	return &disk->directory.disk;
}
