/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "drivers/disk/disk_sim.h"

#include "drivers/random.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUESTS_MAX 64u
#define MILLION	     1000000u

struct disk_file {
	struct disk_file *next;
	char name[64];
	uint64_t size;
	uint8_t *seen;	  /**< what reads return */
	uint8_t *durable; /**< what a cut leaves */
};

enum request_kind { REQUEST_WRITE, REQUEST_READ, REQUEST_CREATE };

struct request {
	struct request *next;
	enum request_kind kind;
	uint64_t due_us;
	struct disk_file *file;
	struct disk_file **made;
	uint64_t offset;
	uint8_t *data;
	uint8_t *copy; /**< of a write's data: the buffer must not change in flight */
	size_t size;
	void *user;
	int result;
	bool cancelled;
};

/** A write that was acknowledged and is not durable (lossy disks only). */
struct cached_write {
	struct cached_write *next;
	struct disk_file *file;
	uint64_t offset;
	size_t size;
	uint8_t *data;
};

struct sim_disk {
	struct disk disk;
	struct disk_sim_settings settings;
	struct disk_sim_faults faults;
	struct disk_sim_counts counts;
	struct mr_random random;
	struct disk_file *files;
	struct request *requests; /**< in order of submission */
	unsigned request_count;
	struct cached_write *cached;
	uint64_t now_us;
	uint64_t used;
	unsigned fail_writes;
};

static struct sim_disk *sim_of(const struct disk *disk)
{
	return (struct sim_disk *)(uintptr_t)disk;
}

static bool chance(struct sim_disk *sim, uint32_t in_a_million)
{
	return in_a_million > 0 && random_below(&sim->random, MILLION) < in_a_million;
}

static uint64_t latency(struct sim_disk *sim)
{
	uint64_t span = sim->settings.latency_max_us - sim->settings.latency_min_us;

	return sim->settings.latency_min_us +
	       (span == 0 ? 0 : random_below(&sim->random, (uint32_t)span + 1));
}

/* ---- Files ---- */

static struct disk_file *find_file(const struct sim_disk *sim, const char *name)
{
	struct disk_file *file = sim->files;

	while (file != NULL && strcmp(file->name, name) != 0)
		file = file->next;
	return file;
}

static struct disk_file *add_file(struct sim_disk *sim, const char *name, uint64_t size)
{
	struct disk_file *file = calloc(1, sizeof(*file));

	assert(file != NULL && strlen(name) < sizeof(file->name));
	memcpy(file->name, name, strlen(name) + 1);
	file->size = size;
	file->seen = calloc(1, size);
	file->durable = calloc(1, size);
	assert(file->seen != NULL && file->durable != NULL);
	file->next = sim->files;
	sim->files = file;
	sim->used += size;
	return file;
}

static bool has_room(const struct sim_disk *sim, uint64_t size)
{
	return sim->settings.capacity == 0 || sim->used + size <= sim->settings.capacity;
}

static int sim_list(struct disk *disk, char ***names)
{
	struct sim_disk *sim = sim_of(disk);
	int count = 0;
	char **list;

	for (struct disk_file *file = sim->files; file != NULL; file = file->next)
		count++;
	list = calloc((size_t)count + 1, sizeof(*list));
	assert(list != NULL);
	count = 0;
	for (struct disk_file *file = sim->files; file != NULL; file = file->next)
		list[count++] = strdup(file->name);
	*names = list;
	return count;
}

static int sim_open(struct disk *disk, const char *name, struct disk_file **file, uint64_t *size)
{
	*file = find_file(sim_of(disk), name);
	if (*file == NULL)
		return -ENOENT;
	*size = (*file)->size;
	return 0;
}

static int sim_create(struct disk *disk, const char *name, uint64_t size, struct disk_file **file)
{
	struct sim_disk *sim = sim_of(disk);

	if (!has_room(sim, size) || chance(sim, sim->faults.create_error))
		return -ENOSPC;
	assert(find_file(sim, name) == NULL);
	*file = add_file(sim, name, size);
	sim->counts.creates++;
	return 0;
}

static void sim_close(struct disk *disk, struct disk_file *file)
{
	(void)disk;
	(void)file;
}

static void drop_cached(struct sim_disk *sim)
{
	struct cached_write *write;

	while ((write = sim->cached) != NULL) {
		sim->cached = write->next;
		free(write->data);
		free(write);
	}
}

static int sim_flush(struct disk *disk, struct disk_file *file)
{
	struct sim_disk *sim = sim_of(disk);

	/* A lossy disk lies here as well. */
	if (!sim->settings.lossy)
		assert(sim->cached == NULL);
	(void)file;
	return 0;
}

/* ---- Requests ---- */

static struct request *add_request(struct sim_disk *sim, enum request_kind kind, void *user)
{
	struct request *request, **end = &sim->requests;

	if (sim->request_count == REQUESTS_MAX)
		return NULL;
	request = calloc(1, sizeof(*request));
	assert(request != NULL);
	request->kind = kind;
	request->user = user;
	request->due_us = sim->now_us + latency(sim) * (kind == REQUEST_CREATE ? 10 : 1);
	while (*end != NULL)
		end = &(*end)->next;
	*end = request;
	sim->request_count++;
	return request;
}

static int sim_create_start(struct disk *disk, const char *name, uint64_t size,
			    struct disk_file **file, void *user)
{
	struct sim_disk *sim = sim_of(disk);
	struct request *request;

	for (request = sim->requests; request != NULL; request = request->next)
		if (request->kind == REQUEST_CREATE)
			return -EAGAIN;
	request = add_request(sim, REQUEST_CREATE, user);
	if (request == NULL)
		return -EAGAIN;
	request->made = file;
	request->size = size;
	request->copy = (uint8_t *)strdup(name);
	return 0;
}

static void check_range(const struct disk_file *file, uint64_t offset, const void *data,
			size_t size)
{
	assert(offset % DISK_ALIGN == 0 && size % DISK_ALIGN == 0 && size > 0);
	assert((uintptr_t)data % DISK_ALIGN == 0);
	assert(offset + size <= file->size);
}

static int sim_write(struct disk *disk, struct disk_file *file, uint64_t offset, const void *data,
		     size_t size, void *user)
{
	struct sim_disk *sim = sim_of(disk);
	struct request *request;

	check_range(file, offset, data, size);
	request = add_request(sim, REQUEST_WRITE, user);
	if (request == NULL)
		return -EAGAIN;
	request->file = file;
	request->offset = offset;
	request->data = (uint8_t *)(uintptr_t)data;
	request->size = size;
	request->copy = malloc(size);
	assert(request->copy != NULL);
	memcpy(request->copy, data, size);
	if (sim->fail_writes > 0) {
		sim->fail_writes--;
		request->result = -EIO;
	} else if (chance(sim, sim->faults.write_error)) {
		request->result = -EIO;
	}
	sim->counts.writes++;
	sim->counts.bytes_written += size;
	return 0;
}

static int sim_read(struct disk *disk, struct disk_file *file, uint64_t offset, void *data,
		    size_t size, void *user)
{
	struct sim_disk *sim = sim_of(disk);
	struct request *request;

	check_range(file, offset, data, size);
	request = add_request(sim, REQUEST_READ, user);
	if (request == NULL)
		return -EAGAIN;
	request->file = file;
	request->offset = offset;
	request->data = data;
	request->size = size;
	if (chance(sim, sim->faults.read_error))
		request->result = -EIO;
	sim->counts.reads++;
	sim->counts.bytes_read += size;
	return 0;
}

/* Let each sector through or not: none, all, the first ones, or any. */
static void write_some(struct sim_disk *sim, uint8_t *to, uint64_t offset, const uint8_t *data,
		       size_t size)
{
	size_t sector = sim->settings.sector;
	size_t count = size / sector;
	uint32_t shape = random_below(&sim->random, 4);
	size_t first = random_below(&sim->random, (uint32_t)count + 1);

	for (size_t i = 0; i < count; i++) {
		bool kept = shape == 1 || (shape == 2 && i < first) ||
			    (shape == 3 && random_below(&sim->random, 2) == 1);

		if (kept)
			memcpy(to + offset + i * sector, data + i * sector, sector);
		*(kept ? &sim->counts.sectors_kept : &sim->counts.sectors_lost) += 1;
	}
}

static void cache_write(struct sim_disk *sim, struct request *request)
{
	struct cached_write *write = calloc(1, sizeof(*write)), **end = &sim->cached;

	assert(write != NULL);
	write->file = request->file;
	write->offset = request->offset;
	write->size = request->size;
	write->data = request->copy;
	request->copy = NULL;
	while (*end != NULL)
		end = &(*end)->next;
	*end = write;
}

static void complete_write(struct sim_disk *sim, struct request *request)
{
	struct disk_file *file = request->file;

	if (memcmp(request->copy, request->data, request->size) != 0) {
		fprintf(stderr, "disk_sim: a buffer changed while it was being written\n");
		abort();
	}
	if (request->result != 0) {
		sim->counts.write_errors++;
		write_some(sim, file->seen, request->offset, request->copy, request->size);
		memcpy(file->durable + request->offset, file->seen + request->offset,
		       request->size);
		return;
	}
	memcpy(file->seen + request->offset, request->copy, request->size);
	if (sim->settings.lossy)
		cache_write(sim, request);
	else
		memcpy(file->durable + request->offset, request->copy, request->size);
}

static void complete_read(struct sim_disk *sim, struct request *request)
{
	if (request->result != 0)
		return;
	memcpy(request->data, request->file->seen + request->offset, request->size);
	if (chance(sim, sim->faults.read_flip))
		request->data[random_below(&sim->random, (uint32_t)request->size)] ^=
			(uint8_t)(1u << random_below(&sim->random, 8));
}

static void complete(struct sim_disk *sim, struct request *request)
{
	if (request->cancelled) {
		request->result = -ECANCELED;
		return;
	}
	switch (request->kind) {
	case REQUEST_WRITE:
		complete_write(sim, request);
		break;
	case REQUEST_READ:
		complete_read(sim, request);
		break;
	case REQUEST_CREATE:
		request->result = sim_create(&sim->disk, (const char *)request->copy, request->size,
					     request->made);
		request->size = 0;
		break;
	}
}

static struct request **next_due(const struct sim_disk *sim)
{
	struct request **best = NULL;
	struct request **at = (struct request **)(uintptr_t)&sim->requests;

	for (; *at != NULL; at = &(*at)->next)
		if (best == NULL || (*at)->due_us < (*best)->due_us)
			best = at;
	return best;
}

static unsigned sim_reap(struct disk *disk, struct disk_completion *out, unsigned max)
{
	struct sim_disk *sim = sim_of(disk);
	unsigned count = 0;

	while (count < max) {
		struct request **at = next_due(sim);
		struct request *request;

		if (at == NULL || (*at)->due_us > sim->now_us)
			break;
		request = *at;
		*at = request->next;
		sim->request_count--;
		complete(sim, request);
		out[count++] = (struct disk_completion){
			.user = request->user,
			.result = request->result != 0 ? request->result : (int64_t)request->size,
		};
		free(request->copy);
		free(request);
	}
	return count;
}

static void sim_wait(struct disk *disk, uint64_t timeout_us)
{
	struct sim_disk *sim = sim_of(disk);
	uint64_t next = disk_sim_next(disk);
	uint64_t limit = sim->now_us + timeout_us;

	disk_sim_set_time(disk, next < limit ? next : limit);
}

static void free_requests(struct sim_disk *sim)
{
	struct request *request;

	while ((request = sim->requests) != NULL) {
		sim->requests = request->next;
		free(request->copy);
		free(request);
	}
	sim->request_count = 0;
}

static void sim_destroy(struct disk *disk)
{
	struct sim_disk *sim = sim_of(disk);
	struct disk_file *file;

	free_requests(sim);
	drop_cached(sim);
	while ((file = sim->files) != NULL) {
		sim->files = file->next;
		free(file->seen);
		free(file->durable);
		free(file);
	}
	free(sim);
}

static const struct disk_operations sim_operations = {
	.list = sim_list,
	.open = sim_open,
	.create = sim_create,
	.create_start = sim_create_start,
	.close = sim_close,
	.flush = sim_flush,
	.write_durable = sim_write,
	.read = sim_read,
	.reap = sim_reap,
	.wait = sim_wait,
	.destroy = sim_destroy,
};

/* ---- For tests ---- */

struct disk *disk_sim_create(const struct disk_sim_settings *settings)
{
	struct sim_disk *sim = calloc(1, sizeof(*sim));

	assert(sim != NULL && settings->latency_max_us >= settings->latency_min_us);
	sim->settings = *settings;
	if (sim->settings.sector == 0)
		sim->settings.sector = 512;
	random_init_seed(&sim->random, settings->seed);
	sim->disk.operations = &sim_operations;
	sim->disk.method = settings->lossy ? "simulated, without sync" : "simulated";
	return &sim->disk;
}

void disk_sim_set_time(struct disk *disk, uint64_t now_us)
{
	struct sim_disk *sim = sim_of(disk);

	if (now_us > sim->now_us)
		sim->now_us = now_us;
}

uint64_t disk_sim_time(const struct disk *disk)
{
	return sim_of(disk)->now_us;
}

uint64_t disk_sim_next(const struct disk *disk)
{
	struct request **at = next_due(sim_of(disk));

	return at == NULL ? UINT64_MAX : (*at)->due_us;
}

void disk_sim_set_faults(struct disk *disk, const struct disk_sim_faults *faults)
{
	sim_of(disk)->faults = *faults;
}

void disk_sim_fail_writes(struct disk *disk, unsigned count)
{
	sim_of(disk)->fail_writes = count;
}

static void cut_requests(struct sim_disk *sim)
{
	for (struct request *request = sim->requests; request != NULL; request = request->next) {
		if (request->cancelled)
			continue;
		if (request->kind == REQUEST_WRITE)
			write_some(sim, request->file->durable, request->offset, request->copy,
				   request->size);
		else if (request->kind == REQUEST_CREATE && random_below(&sim->random, 2) == 1 &&
			 has_room(sim, request->size))
			add_file(sim, (const char *)request->copy, request->size);
		request->cancelled = true;
		request->due_us = sim->now_us;
	}
}

void disk_sim_cut(struct disk *disk)
{
	struct sim_disk *sim = sim_of(disk);

	for (struct cached_write *write = sim->cached; write != NULL; write = write->next)
		write_some(sim, write->file->durable, write->offset, write->data, write->size);
	drop_cached(sim);
	cut_requests(sim);
	for (struct disk_file *file = sim->files; file != NULL; file = file->next)
		memcpy(file->seen, file->durable, file->size);
}

unsigned disk_sim_unsafe_sectors(const struct disk *disk)
{
	struct sim_disk *sim = sim_of(disk);
	size_t bytes = 0;

	for (struct cached_write *write = sim->cached; write != NULL; write = write->next)
		bytes += write->size;
	for (struct request *request = sim->requests; request != NULL; request = request->next)
		if (request->kind == REQUEST_WRITE && !request->cancelled)
			bytes += request->size;
	return (unsigned)(bytes / sim->settings.sector);
}

/* Copies the chosen sectors of one write into the fork's file; returns the mask for the next write.
 */
static uint64_t fork_write(struct sim_disk *fork, const char *name, uint64_t offset,
			   const uint8_t *data, size_t size, uint64_t survivors)
{
	struct disk_file *file = find_file(fork, name);
	size_t sector = fork->settings.sector;

	for (size_t i = 0; i < size / sector; i++, survivors >>= 1)
		if (survivors & 1)
			memcpy(file->durable + offset + i * sector, data + i * sector, sector);
	return survivors;
}

struct disk *disk_sim_fork(const struct disk *disk, uint64_t survivors, uint64_t seed)
{
	const struct sim_disk *sim = sim_of(disk);
	struct disk_sim_settings settings = sim->settings;
	struct disk *copy;
	struct sim_disk *fork;

	settings.seed = seed;
	copy = disk_sim_create(&settings);
	fork = sim_of(copy);
	fork->now_us = sim->now_us;
	for (struct disk_file *file = sim->files; file != NULL; file = file->next)
		memcpy(add_file(fork, file->name, file->size)->durable, file->durable, file->size);
	for (struct cached_write *write = sim->cached; write != NULL; write = write->next)
		survivors = fork_write(fork, write->file->name, write->offset, write->data,
				       write->size, survivors);
	for (struct request *request = sim->requests; request != NULL; request = request->next)
		if (request->kind == REQUEST_WRITE && !request->cancelled)
			survivors = fork_write(fork, request->file->name, request->offset,
					       request->copy, request->size, survivors);
	for (struct disk_file *file = fork->files; file != NULL; file = file->next)
		memcpy(file->seen, file->durable, file->size);
	return copy;
}

uint8_t *disk_sim_bytes(struct disk *disk, const char *name, uint64_t *size)
{
	struct disk_file *file = find_file(sim_of(disk), name);

	if (file == NULL)
		return NULL;
	*size = file->size;
	return file->seen;
}

void disk_sim_settle(struct disk *disk)
{
	for (struct disk_file *file = sim_of(disk)->files; file != NULL; file = file->next)
		memcpy(file->durable, file->seen, file->size);
}

void disk_sim_counts(const struct disk *disk, struct disk_sim_counts *counts)
{
	*counts = sim_of(disk)->counts;
}
