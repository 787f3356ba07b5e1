/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Recovery of a spool that somebody scribbled on. The input is a list of edits (place, bytes) to a
 * sound spool of two segments; after each group of edits the checksums may be made good again, so
 * that what lies behind them is reached. Whatever comes of it, it opens or says why not, hands out
 * no body that fails its checksum, and can be appended to.
 *
 *   edit: kind u8, place u24, then: 0 flip (mask u8) · 1 write (length u8, bytes) · 2 copy (from
 * u24, length u16) 3 make all checksums good
 */
#include "control/queue/spool.h"
#include "control/queue/spool_format.h"
#include "drivers/disk/crc32c.h"
#include "drivers/disk/disk_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT	 (64u << 10)
#define MESSAGES 12u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct disk *disk;
	struct mr_random random;
	struct spool *spool;
	struct mr_now now;
	struct spool_location found[64];
	struct message_id ids[64];
	unsigned count;
	unsigned pending;
};

static struct chunk_pool *chunks;
static uint8_t sound[2][SEGMENT];

static void on_message(void *context, const struct message_id *id, uint32_t flags,
		       const uint8_t *envelope, size_t envelope_size, uint64_t body_size,
		       const struct spool_location *location)
{
	struct world *world = context;
	uint8_t sum = 0;

	(void)flags;
	(void)body_size;
	/* Touch what is handed out. */
	for (size_t i = 0; i < envelope_size; i++)
		sum ^= envelope[i];
	if (world->count < 64) {
		world->ids[world->count] = *id;
		world->found[world->count++] = *location;
	}
	(void)sum;
}

static void on_record(void *context, const struct message_id *id, const uint8_t *bytes, size_t size)
{
	volatile uint8_t sum = 0;

	(void)context;
	(void)id;
	for (size_t i = 0; i < size; i++)
		sum ^= bytes[i];
	(void)sum;
}

static void on_note(void *context, const uint8_t *bytes, size_t size)
{
	on_record(context, NULL, bytes, size);
}

static void on_finished(void *context, const struct message_id *id)
{
	struct world *world = context;

	for (unsigned i = 0; i < world->count; i++)
		if (world->ids[i].counter == id->counter && world->ids[i].origin == id->origin) {
			world->count--;
			world->ids[i] = world->ids[world->count];
			world->found[i] = world->found[world->count];
			i--;
		}
}

static bool open_world(struct world *world)
{
	const struct spool_settings settings = {
		.disk = world->disk,
		.random = &world->random,
		.node = 1,
		.segment_size = SEGMENT,
		.segments = 6,
		.segments_initial = 2,
		.batch_bytes = 8 << 10,
	};
	const struct spool_recovery calls = {.context = world,
					     .message = on_message,
					     .state = on_record,
					     .finished = on_finished,
					     .note = on_note};
	struct spool_recovered recovered;
	char error[256];

	world->spool = spool_open(&settings, &calls, &world->now, &recovered, error);
	return world->spool != NULL;
}

static void make_world(struct world *world)
{
	const struct disk_sim_settings sim = {.seed = 1, .latency_min_us = 1, .latency_max_us = 9};

	memset(world, 0, sizeof(*world));
	world->disk = disk_sim_create(&sim);
	world->now.mono_us = 1000;
	random_init_seed(&world->random, 7);
}

static void settle(struct world *world)
{
	for (unsigned i = 0; i < 2000 && world->pending > 0; i++) {
		world->now.mono_us += 10;
		disk_sim_set_time(world->disk, world->now.mono_us);
		spool_turn(world->spool, &world->now);
	}
	if (world->pending > 0) {
		fprintf(stderr, "an append is never answered\n");
		abort();
	}
}

static void done(void *user, int result)
{
	struct world *world = user;

	(void)result;
	world->pending--;
}

static void body_read(void *user, int result, struct chunk_list *body)
{
	struct world *world = user;

	world->pending--;
	if (result == 0)
		chunk_list_free(body, chunks);
}

static void append(struct world *world, unsigned number, size_t size)
{
	static uint8_t bytes[30000];
	struct message_id id = {.origin = 1, .counter = number};
	struct chunk_list envelope = {0}, body = {0};
	struct spool_location location;

	chunk_list_append(&envelope, chunks, bytes, 50);
	chunk_list_append(&body, chunks, bytes, size);
	world->pending++;
	if (spool_append_message(world->spool, &id, 0, &envelope, &body, &location, done, world) !=
	    0)
		world->pending--;
	settle(world);
	if (number == 3) {
		world->pending += 2;
		spool_append_state(world->spool, &id, "state", 5, done, world);
		spool_append_note(world->spool, "note", 4, done, world);
	} else if (number == 5) {
		world->pending++;
		spool_append_finished(world->spool, &id, &location, done, world);
	}
	settle(world);
	chunk_list_free(&envelope, chunks);
	chunk_list_free(&body, chunks);
}

/* Once: the spool that all inputs edit. */
static void prepare(void)
{
	struct world world;

	chunks = chunk_pool_create(1, 512);
	make_world(&world);
	if (!open_world(&world))
		abort();
	for (unsigned i = 1; i <= MESSAGES; i++)
		append(&world, i, i == 6 ? 20000 : 700 * i);
	spool_close(world.spool);
	for (unsigned i = 0; i < 2; i++) {
		char name[16];
		uint64_t size;

		snprintf(name, sizeof(name), "seg-%05u", i);
		memcpy(sound[i], disk_sim_bytes(world.disk, name, &size), SEGMENT);
	}
	disk_close(world.disk);
}

static void repair_batch(uint8_t *at, uint64_t room)
{
	struct spool_batch_header header;
	uint32_t headers_crc = 0, used = sizeof(header);

	memcpy(&header, at, sizeof(header));
	if (header.length < SPOOL_BLOCK || header.length > room)
		return;
	while (used + sizeof(struct spool_record) <= header.length) {
		struct spool_record *record = (struct spool_record *)(at + used);
		uint64_t bytes = spool_record_bytes(record->size);

		if (bytes > header.length - used)
			break;
		spool_record_seal(record, header.epoch, header.number);
		headers_crc = crc32c(headers_crc, record, sizeof(*record));
		used += (uint32_t)bytes;
	}
	header.headers_crc = headers_crc;
	spool_batch_header_seal(&header);
	memcpy(at, &header, sizeof(header));
}

static void repair(uint8_t *segment)
{
	spool_segment_header_seal(segment);
	spool_segment_header_seal(segment + SEGMENT - SPOOL_BLOCK);
	for (uint32_t at = SPOOL_BLOCK; at + 2 * SPOOL_BLOCK <= SEGMENT; at += SPOOL_BLOCK) {
		uint64_t magic;

		memcpy(&magic, segment + at, sizeof(magic));
		if (magic == SPOOL_MAGIC_BATCH)
			repair_batch(segment + at, SEGMENT - SPOOL_BLOCK - at);
	}
}

static uint32_t take(const uint8_t **data, size_t *size, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i<bytes && * size> 0; i++, (*size)--)
		value |= (uint32_t) * (*data)++ << (8 * i);
	return value;
}

static void edit(uint8_t *all, const uint8_t **data, size_t *size)
{
	uint32_t kind = take(data, size, 1) % 4;
	uint32_t place = take(data, size, 3) % (2 * SEGMENT);
	uint32_t from, length;

	switch (kind) {
	case 0:
		all[place] ^= (uint8_t)take(data, size, 1);
		break;
	case 1:
		length = take(data, size, 1);
		for (uint32_t i = 0; i < length && place + i<2 * SEGMENT && * size> 0; i++)
			all[place + i] = (uint8_t)take(data, size, 1);
		break;
	case 2:
		from = take(data, size, 3) % (2 * SEGMENT);
		length = take(data, size, 2);
		if (length > 2 * SEGMENT - from)
			length = 2 * SEGMENT - from;
		if (length > 2 * SEGMENT - place)
			length = 2 * SEGMENT - place;
		memmove(all + place, all + from, length);
		break;
	case 3:
		repair(all);
		repair(all + SEGMENT);
		break;
	}
}

static void use(struct world *world)
{
	for (unsigned i = 0; i < world->count; i++) {
		world->pending++;
		while (spool_read_body(world->spool, &world->ids[i], &world->found[i], chunks,
				       body_read, world) != 0) {
			world->now.mono_us += 10;
			disk_sim_set_time(world->disk, world->now.mono_us);
			spool_turn(world->spool, &world->now);
		}
	}
	settle(world);
	append(world, 100, 3000);
	spool_close(world->spool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static _Alignas(8) uint8_t all[2 * SEGMENT];
	struct world world;

	if (chunks == NULL)
		prepare();
	memcpy(all, sound, sizeof(all));
	for (unsigned edits = 0; size > 0 && edits < 64; edits++)
		edit(all, &data, &size);
	make_world(&world);
	for (unsigned i = 0; i < 2; i++) {
		struct disk_file *file;
		char name[16];
		uint64_t bytes;

		snprintf(name, sizeof(name), "seg-%05u", i);
		if (world.disk->operations->create(world.disk, name, SEGMENT, &file) != 0)
			abort();
		memcpy(disk_sim_bytes(world.disk, name, &bytes), all + i * SEGMENT, SEGMENT);
	}
	disk_sim_settle(world.disk);
	if (open_world(&world))
		use(&world);
	disk_close(world.disk);
	return 0;
}
