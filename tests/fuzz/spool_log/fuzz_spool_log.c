/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Recovery from any log. The input is a program that writes records, batches and segments with good
 * checksums and whatever content, then changes bits here and there; so that what is behind the
 * checksums is reached, too. Whatever the log says: it opens or is refused with a reason; a message
 * is there once and ends once; recovery changes nothing, so that twice says the same (I5); bodies
 * are read whole or not at all; all segments are accounted for (I7); and what is accepted from then
 * on is there after a power cut (I1).
 */
#include "control/queue/spool.h"
#include "control/queue/spool_format.h"
#include "drivers/disk/crc32c.h"
#include "drivers/disk/disk_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}
#define MUST(condition) must(condition, #condition)

#define SEGMENT	    (64u << 10)
#define FILES	    3u
#define CHUNKS	    256u
#define MESSAGES    256u /**< the log's own ids count from 0 to 15 */
#define NEW_MESSAGE 200u
#define PLACES	    64u

struct input {
	const uint8_t *data;
	size_t left;
};

static uint8_t take(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->data++;
}

/* ---- Writing the log ---- */

struct writer {
	struct input in;
	uint8_t *file;	  /**< the segment being written */
	uint32_t index;	  /**< of the file */
	uint32_t batch;	  /**< where the open batch begins */
	uint32_t at;	  /**< where the next record goes */
	uint32_t records; /**< in the batch */
	uint64_t number;  /**< of the batch */
	uint32_t previous_segment, previous_crc;
	uint32_t places[PLACES]; /**< of BEGIN records, in 8 bytes */
	uint32_t place_count;
	unsigned *begun; /**< how often each id occurs in a BEGIN */
	bool full;
};

static uint64_t epoch_of(uint32_t index)
{
	return UINT64_C(0x5e0c400000000001) + index;
}

static struct spool_id take_id(struct writer *w)
{
	return (struct spool_id){.origin = 7, .counter = take(&w->in) % 16};
}

/* Most often a BEGIN's, sometimes anything. */
static uint32_t take_place(struct writer *w)
{
	uint8_t choice = take(&w->in);

	if (choice & 0x80 || w->place_count == 0)
		return (uint32_t)(choice & 0x7f) << 5 | (take(&w->in) & 31);
	return w->places[(w->place_count - 1 - choice % w->place_count) % PLACES];
}

static void put(struct writer *w, uint8_t type, const void *head, size_t head_size, size_t more)
{
	struct spool_record *record = (struct spool_record *)(w->file + w->at);
	uint8_t *data = (uint8_t *)(record + 1);
	uint64_t bytes = spool_record_bytes(head_size + more);

	/* With room for END. */
	if (w->at + bytes + sizeof(*record) > SEGMENT - SPOOL_BLOCK) {
		w->full = true;
		return;
	}
	*record = (struct spool_record){.size = (uint32_t)(head_size + more), .type = type};
	if (head_size > 0)
		memcpy(data, head, head_size);
	for (size_t i = 0; i < more; i++)
		data[head_size + i] = (uint8_t)(i * 7 + type);
	spool_record_seal(record, epoch_of(w->index), w->number);
	w->at += (uint32_t)bytes;
	w->records++;
}

static void put_begin(struct writer *w, bool whole)
{
	struct spool_begin begin = {.id = take_id(w), .flags = take(&w->in)};
	uint32_t place = w->at / 8;
	uint8_t shape;

	w->begun[begin.id.counter]++;
	begin.envelope_size = take(&w->in);
	begin.body_size = (uint64_t)take(&w->in) << 4;
	shape = take(&w->in);
	if (shape == 255)
		begin.body_size = UINT64_MAX - take(&w->in);
	if (shape == 254)
		begin.envelope_size = UINT32_MAX - take(&w->in);
	w->places[w->place_count++ % PLACES] = place;
	put(w, SPOOL_BEGIN, &begin, sizeof(begin),
	    whole && shape < 254 ? begin.envelope_size + (size_t)begin.body_size : shape);
	if (whole) {
		struct spool_commit commit = {.id = begin.id, .begin = place};

		put(w, SPOOL_COMMIT, &commit, sizeof(commit), 0);
	}
}

static void put_live_set(struct writer *w)
{
	struct {
		struct spool_live_set set;
		uint32_t offsets[32];
	} record = {.set = {.segment = take(&w->in)}};

	record.set.from = take_place(w);
	record.set.to = take_place(w);
	record.set.count = take(&w->in) % 32;
	for (uint32_t i = 0; i < record.set.count; i++)
		record.offsets[i] = take_place(w);
	put(w, SPOOL_LIVE_SET, &record, sizeof(record.set) + record.set.count * sizeof(uint32_t),
	    take(&w->in) == 255);
}

static void put_raw(struct writer *w)
{
	uint8_t type = take(&w->in), data[64];
	size_t size = take(&w->in) % sizeof(data);

	for (size_t i = 0; i < size; i++)
		data[i] = take(&w->in);
	if (type != SPOOL_BEGIN)
		put(w, type, data, size, 0);
}

static void begin_batch(struct writer *w, uint32_t at)
{
	w->batch = at;
	w->at = at + (uint32_t)sizeof(struct spool_batch_header);
	w->records = 0;
}

static uint32_t headers_crc(const struct writer *w, uint32_t end)
{
	uint32_t crc = 0;

	for (uint32_t at = w->batch + sizeof(struct spool_batch_header); at < end;) {
		const struct spool_record *record = (struct spool_record *)(w->file + at);

		crc = crc32c(crc, record, sizeof(*record));
		at += (uint32_t)spool_record_bytes(record->size);
	}
	return crc;
}

static void end_batch(struct writer *w, uint8_t how)
{
	struct spool_batch_header *header = (struct spool_batch_header *)(w->file + w->batch);
	struct spool_record *end = (struct spool_record *)(w->file + w->at);
	uint32_t stop = (uint32_t)spool_align(w->at + sizeof(*end), SPOOL_BLOCK);

	if (w->records == 0)
		return;
	*end = (struct spool_record){.size = stop - w->at - (uint32_t)sizeof(*end),
				     .type = SPOOL_END};
	spool_record_seal(end, epoch_of(w->index), w->number);
	*header = (struct spool_batch_header){
		.epoch = epoch_of(w->index),
		.number = w->number,
		.segment = w->index + 1,
		.previous_segment = w->previous_segment,
		.previous_crc = w->previous_crc ^ (how == 255),
		.length = stop - w->batch,
		.records = w->records + 1,
		.headers_crc = headers_crc(w, stop),
		.start_number = 3,
	};
	spool_batch_header_seal(header);
	w->previous_segment = header->segment;
	w->previous_crc = header->crc;
	/* Batches may be missing, or come again. */
	w->number += how >= 250 ? (uint64_t)how - 252 : 1;
	w->full = stop + SPOOL_BLOCK > SEGMENT - SPOOL_BLOCK;
	begin_batch(w, stop);
}

static void begin_segment(struct writer *w, struct disk *disk, uint32_t index)
{
	struct spool_segment_header header = {
		.magic = SPOOL_MAGIC_SEGMENT,
		.version = SPOOL_FORMAT_VERSION,
		.use = SPOOL_USE_ACTIVE,
		.generation = 1,
		.epoch = epoch_of(index),
		.size = SEGMENT,
		.sequence = index + 1,
		.node = 7,
		.shard = 3,
		.start_number = 3,
	};
	uint64_t size;
	char name[32];

	snprintf(name, sizeof(name), "seg-%05u", index);
	w->index = index;
	w->file = disk_sim_bytes(disk, name, &size);
	memcpy(w->file, &header, sizeof(header));
	spool_segment_header_seal(w->file);
	memcpy(w->file + SEGMENT - SPOOL_BLOCK, w->file, SPOOL_BLOCK);
	w->full = false;
	begin_batch(w, SPOOL_DATA_START);
}

static void put_some(struct writer *w, uint8_t what)
{
	struct spool_part part;
	struct spool_commit commit;
	struct spool_place place;
	struct spool_id id;

	switch (what & 7) {
	case 0:
		put_begin(w, (what & 8) != 0);
		break;
	case 1:
		part = (struct spool_part){.begin = take_place(w), .number = 1};
		part.at = take(&w->in);
		put(w, SPOOL_PART, &part, sizeof(part), (size_t)take(&w->in) << (what >> 3 & 3));
		break;
	case 2:
		commit = (struct spool_commit){.id = take_id(w), .begin = take_place(w)};
		commit.from_segment = take(&w->in);
		commit.from_offset = take_place(w);
		put(w, SPOOL_COMMIT, &commit, sizeof(commit), 0);
		break;
	case 3:
		id = take_id(w);
		put(w, SPOOL_STATE, &id, sizeof(id), take(&w->in));
		break;
	case 4:
		place = (struct spool_place){.id = take_id(w), .segment = take(&w->in)};
		place.offset = take_place(w);
		put(w, SPOOL_FINISHED, &place, sizeof(place), 0);
		break;
	case 5:
		put_live_set(w);
		break;
	case 6:
		put_raw(w);
		break;
	default:
		end_batch(w, take(&w->in));
	}
}

static void change_bits(struct writer *w, struct disk *disk)
{
	while (w->in.left > 0) {
		uint8_t file = take(&w->in), bits;
		uint64_t size;
		uint32_t at;
		char name[32];

		at = (uint32_t)take(&w->in) << 8;
		at |= take(&w->in);
		bits = take(&w->in);
		snprintf(name, sizeof(name), "seg-%05u", file % FILES);
		disk_sim_bytes(disk, name, &size)[at % SEGMENT] ^= bits;
	}
}

static struct disk *write_log(const uint8_t *data, size_t size, unsigned *begun)
{
	const struct disk_sim_settings settings = {.seed = 1};
	struct disk *disk = disk_sim_create(&settings);
	struct writer w = {.in = {data, size}, .number = 1, .begun = begun};

	for (uint32_t i = 0; i < FILES; i++) {
		struct disk_file *file;
		char name[32];

		snprintf(name, sizeof(name), "seg-%05u", i);
		MUST(disk->operations->create(disk, name, SEGMENT, &file) == 0);
		disk->operations->close(disk, file);
	}
	begin_segment(&w, disk, 0);
	while (w.in.left > 0) {
		uint8_t what = take(&w.in);

		/* 0xff ends the log, and changes of bits follow. */
		if (what == 0xff)
			break;
		put_some(&w, what);
		if (!w.full && (what & 0xe0) != 0xe0)
			continue;
		end_batch(&w, 0);
		if (w.index + 1 == FILES)
			break;
		begin_segment(&w, disk, w.index + 1);
	}
	if (!w.full)
		end_batch(&w, 0);
	change_bits(&w, disk);
	disk_sim_settle(disk);
	return disk;
}

/* ---- Recovery ---- */

struct seen {
	bool there, ended;
	uint64_t body_size;
	struct spool_location location;
};

struct world {
	struct disk *disk;
	struct chunk_pool *chunks;
	struct mr_random random;
	struct mr_now now;
	struct spool *spool;
	struct spool_recovered recovered;
	struct seen seen[MESSAGES];
	unsigned begun[16];
	uint64_t digest; /**< of all that was said */
	unsigned waiting;
	int result;
	uint64_t body_size; /**< of the body being read */
};

static void say(struct world *w, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		w->digest = (w->digest ^ bytes[i]) * UINT64_C(1099511628211);
}

static struct seen *seen_of(struct world *w, const struct message_id *id)
{
	say(w, id, sizeof(*id));
	return &w->seen[id->counter % MESSAGES];
}

static void on_message(void *context, const struct message_id *id, uint32_t flags,
		       const uint8_t *envelope, size_t envelope_size, uint64_t body_size,
		       const struct spool_location *location)
{
	struct world *w = context;
	struct seen *seen = seen_of(w, id);

	/* Ids that only a raw record can carry share places in the table. */
	if (id->counter < MESSAGES && id->origin == 7)
		MUST(!seen->there || seen->ended);
	say(w, &flags, sizeof(flags));
	say(w, envelope, envelope_size);
	*seen = (struct seen){.there = true, .body_size = body_size, .location = *location};
}

static void on_state(void *context, const struct message_id *id, const uint8_t *data, size_t size)
{
	seen_of(context, id);
	say(context, data, size);
}

static void on_finished(void *context, const struct message_id *id)
{
	struct seen *seen = seen_of(context, id);

	if (id->counter < MESSAGES && id->origin == 7)
		MUST(seen->there && !seen->ended);
	seen->ended = true;
}

static void on_note(void *context, const uint8_t *data, size_t size)
{
	say(context, data, size);
}

/* @return false when it is refused */
static bool open_spool(struct world *w)
{
	const struct spool_recovery calls = {.context = w,
					     .message = on_message,
					     .state = on_state,
					     .finished = on_finished,
					     .note = on_note};
	const struct spool_settings settings = {
		.disk = w->disk,
		.random = &w->random,
		.node = 7,
		.shard = 3,
		.segment_size = SEGMENT,
		.segments = 8,
		.segments_initial = 4,
		.batch_bytes = 8 << 10,
	};
	char error[256] = "";

	memset(w->seen, 0, sizeof(w->seen));
	w->digest = UINT64_C(14695981039346656037);
	w->spool = spool_open(&settings, &calls, &w->now, &w->recovered, error);
	MUST(w->spool != NULL || error[0] != '\0');
	return w->spool != NULL;
}

static void turn_until_answered(struct world *w)
{
	for (unsigned i = 0; w->waiting > 0; i++) {
		MUST(i < 100000);
		w->now.mono_us += 50;
		w->now.wall_us += 50;
		disk_sim_set_time(w->disk, w->now.mono_us);
		spool_turn(w->spool, &w->now);
	}
}

static void on_done(void *user, int result)
{
	struct world *w = user;

	w->result = result;
	w->waiting--;
}

static void on_body(void *user, int result, struct chunk_list *body)
{
	struct world *w = user;

	w->result = result;
	w->waiting--;
	if (result == 0)
		MUST(body->size == w->body_size);
	chunk_list_free(body, w->chunks);
}

static void read_bodies(struct world *w)
{
	for (uint64_t i = 0; i < 16; i++) {
		const struct message_id id = {.origin = 7, .counter = i};
		const struct seen *seen = &w->seen[i];

		/* What comes twice under one id is a copy, and the same; here it need not be. */
		if (!seen->there || seen->ended || w->begun[i] != 1)
			continue;
		w->body_size = seen->body_size;
		if (spool_read_body(w->spool, &id, &seen->location, w->chunks, on_body, w) != 0)
			continue;
		w->waiting = 1;
		turn_until_answered(w);
	}
}

static void check_segments(const struct world *w)
{
	struct spool_statistics s;

	spool_statistics(w->spool, &s);
	MUST(s.segments_free + s.segments_live + s.segments_quarantined == s.segments_total);
}

/* @return true when it was acknowledged */
static bool accept_one(struct world *w)
{
	const struct message_id id = {.origin = 7, .counter = NEW_MESSAGE};
	struct chunk_list envelope = {0}, body = {0};
	struct spool_location location;
	int result;

	MUST(chunk_list_append(&envelope, w->chunks, "<a@example>", 11) == 0);
	for (unsigned i = 0; i < 3; i++)
		MUST(chunk_list_append(&body, w->chunks, w->seen, 3000) == 0);
	result = spool_append_message(w->spool, &id, 0, &envelope, &body, &location, on_done, w);
	w->result = result;
	w->waiting = result == 0;
	turn_until_answered(w);
	chunk_list_free(&envelope, w->chunks);
	chunk_list_free(&body, w->chunks);
	return w->result == 0;
}

static void check_idempotent(struct world *w)
{
	struct disk *disk = w->disk, *fork = disk_sim_fork(disk, 0, 1);
	uint64_t digest;

	w->disk = fork;
	if (open_spool(w))
		spool_abandon(w->spool);
	digest = w->digest;
	disk_close(fork);
	w->disk = disk;
	if (open_spool(w))
		MUST(digest == w->digest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct chunk_pool *pool;
	struct world w = {.now = {.mono_us = 1000000, .wall_us = 1700000000000000}};

	if (pool == NULL)
		pool = chunk_pool_create(1, CHUNKS);
	if (size > 20000)
		return 0;
	w.chunks = pool;
	random_init_seed(&w.random, 5);
	w.disk = write_log(data, size, w.begun);
	check_idempotent(&w);
	if (w.spool != NULL) {
		check_segments(&w);
		read_bodies(&w);
		if (accept_one(&w)) {
			disk_sim_cut(w.disk);
			spool_abandon(w.spool);
			MUST(open_spool(&w));
			MUST(w.seen[NEW_MESSAGE].there && !w.seen[NEW_MESSAGE].ended);
			check_segments(&w);
		}
		spool_abandon(w.spool);
	}
	disk_close(w.disk);
	MUST(chunk_pool_available(pool) == CHUNKS);
	return 0;
}
