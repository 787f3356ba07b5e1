/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reading back: a message by its location (into chunks for the queue, into flat memory for a copy),
 * or a whole segment for its STATE records. A reader walks the records from where it begins,
 * through one window of the file at a time; a small message is one read. What it hands out was
 * checked; a failed read or check is tried once more.
 *
 * Memory: a buffer a reader, which holds the largest record, made at first use.
 */
#include "control/queue/spool_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/** First read of a walk, and what follows a record that was cut off. */
#define WALK_WINDOW (256u << 10)
/** Instead of a number of bytes: the end of the segment was reached. */
#define WALK_END (INT64_C(1) << 40)

static uint64_t buffer_size(const struct spool *spool)
{
	return spool->batch_max + 2 * SPOOL_BLOCK;
}

int readers_init(struct spool *spool)
{
	for (unsigned i = 0; i < SPOOL_READERS + 2; i++)
		spool->readers[i].io.kind = IO_READ;
	return 0;
}

void readers_finish(struct spool *spool)
{
	for (unsigned i = 0; i < SPOOL_READERS + 2; i++)
		free(spool->readers[i].buffer);
}

bool spool_is_reading(const struct spool *spool)
{
	for (unsigned i = 0; i < SPOOL_READERS + 2; i++)
		if (spool->readers[i].in_flight)
			return true;
	return false;
}

static bool make_buffer(const struct spool *spool, struct reader *reader)
{
	void *buffer;

	if (reader->buffer != NULL)
		return true;
	if (posix_memalign(&buffer, DISK_ALIGN, buffer_size(spool)) != 0)
		return false;
	reader->buffer = buffer;
	return true;
}

struct reader *reader_take(struct spool *spool, bool own)
{
	unsigned from = own ? SPOOL_READERS : 0;
	unsigned to = own ? SPOOL_READERS + 2 : SPOOL_READERS;

	for (unsigned i = from; i < to; i++) {
		struct reader *reader = &spool->readers[i];
		uint8_t *buffer;

		if (reader->busy || !make_buffer(spool, reader))
			continue;
		buffer = reader->buffer;
		*reader = (struct reader){.io = {.kind = IO_READ}, .busy = true, .buffer = buffer};
		return reader;
	}
	return NULL;
}

void reader_release(struct spool *spool, struct reader *reader)
{
	struct segment *segment = spool_segment(spool, reader->slot);

	assert(reader->busy && segment->readers > 0);
	segment->readers--;
	reader->busy = false;
	free(reader->flat);
	reader->flat = NULL;
	spool->reclaim_due = true;
}

/* Read the window that begins with the block of reader->at. */
static int refill(struct spool *spool, struct reader *reader, uint64_t size)
{
	struct segment *segment = spool_segment(spool, reader->slot);
	uint64_t limit = segment_limit(segment);
	int result;

	reader->window = reader->at & ~(uint64_t)(SPOOL_BLOCK - 1);
	size = spool_align(reader->at - reader->window + size, SPOOL_BLOCK);
	if (size > buffer_size(spool))
		size = buffer_size(spool);
	if (size > limit - reader->window)
		size = limit - reader->window;
	if (size == 0)
		return -EBADMSG;
	reader->filled = size;
	result = spool->disk->operations->read(spool->disk, segment->file, reader->window,
					       reader->buffer, size, &reader->io);
	reader->in_flight = result == 0;
	return result;
}

int reader_start(struct spool *spool, struct reader *reader, uint16_t slot, uint32_t begin,
		 uint64_t size)
{
	int result;

	reader->slot = slot;
	reader->begin = begin;
	reader->at = begin != 0 ? (uint64_t)begin * 8 : SPOOL_DATA_START;
	reader->at_batch = begin == 0;
	spool_segment(spool, slot)->readers++;
	result = refill(spool, reader, size);
	if (result != 0)
		reader_release(spool, reader);
	return result;
}

/* ---- Records ---- */

static const uint8_t *window_at(const struct reader *reader, uint64_t *available)
{
	uint64_t offset = reader->at - reader->window;

	if (reader->at < reader->window || offset >= reader->filled) {
		*available = 0;
		return NULL;
	}
	*available = reader->filled - offset;
	return reader->buffer + offset;
}

static int take_stream(struct reader *reader, const uint8_t *data, uint64_t size)
{
	uint64_t skip = 0;

	if (size > reader->total - reader->got)
		return -EBADMSG;
	if (reader->flat != NULL)
		memcpy(reader->flat + reader->got, data, size);
	if (reader->got < reader->envelope_size)
		skip = reader->envelope_size - reader->got;
	reader->got += size;
	if (reader->flat != NULL || skip >= size)
		return 0;
	return chunk_list_append(&reader->body, reader->chunks, data + skip, size - skip);
}

static int take_begin(const struct spool *spool, struct reader *reader, const uint8_t *data,
		      uint32_t size)
{
	struct spool_begin begin;

	if (size < sizeof(begin))
		return -EBADMSG;
	memcpy(&begin, data, sizeof(begin));
	/* A misdirected write, or a bug: never another message's body. */
	if (reader->begun || (reader->chunks != NULL && (begin.id.origin != reader->id.origin ||
							 begin.id.counter != reader->id.counter)))
		return -EBADMSG;
	if (begin.envelope_size > spool->settings.segment_size ||
	    begin.body_size > spool->settings.segment_size)
		return -EBADMSG;
	reader->begun = true;
	reader->id = (struct message_id){.origin = begin.id.origin, .counter = begin.id.counter};
	reader->flags = begin.flags;
	reader->envelope_size = begin.envelope_size;
	reader->total = begin.envelope_size + begin.body_size;
	if (reader->chunks == NULL) {
		reader->flat = malloc(reader->total + 1);
		if (reader->flat == NULL)
			return -ENOMEM;
	}
	return take_stream(reader, data + sizeof(begin), size - sizeof(begin));
}

static int take_part(struct reader *reader, const uint8_t *data, uint32_t size)
{
	struct spool_part part;

	memcpy(&part, data, sizeof(part));
	if (part.at != reader->got)
		return -EBADMSG;
	return take_stream(reader, data + sizeof(part), size - sizeof(part));
}

/* @return 1: the message is whole; 0: go on; negative: give up */
static int take_record(struct spool *spool, struct reader *reader,
		       const struct spool_record *record)
{
	const uint8_t *data = (const uint8_t *)(record + 1);
	uint32_t begin = 0;
	struct spool_id id;

	if (reader->begin == 0) {
		if (record->type == SPOOL_STATE && record->size >= sizeof(id)) {
			memcpy(&id, data, sizeof(id));
			if (!reader->state(spool, &(struct message_id){.origin = id.origin,
								       .counter = id.counter}))
				return -EAGAIN;
		}
		return 0;
	}
	switch (record->type) {
	case SPOOL_BEGIN:
		return reader->at == (uint64_t)reader->begin * 8
			       ? take_begin(spool, reader, data, record->size)
			       : 0;
	case SPOOL_PART:
		if (record->size < sizeof(struct spool_part))
			return -EBADMSG;
		memcpy(&begin, data, sizeof(begin));
		return begin == reader->begin ? take_part(reader, data, record->size) : 0;
	case SPOOL_COMMIT:
		if (record->size < sizeof(struct spool_commit))
			return -EBADMSG;
		memcpy(&begin, data + offsetof(struct spool_commit, begin), sizeof(begin));
		if (begin != reader->begin)
			return 0;
		return reader->begun && reader->got == reader->total ? 1 : -EBADMSG;
	default:
		return 0;
	}
}

static bool wants_data(const struct reader *reader, const struct spool_record *record)
{
	if (reader->begin == 0)
		return record->type == SPOOL_STATE;
	if (record->type == SPOOL_BEGIN)
		return reader->at == (uint64_t)reader->begin * 8;
	return record->type == SPOOL_PART || record->type == SPOOL_COMMIT;
}

/* @return bytes missing from the window, 0 when the header was taken, -EBADMSG, or WALK_END */
static int64_t take_batch_header(const struct segment *segment, struct reader *reader,
				 const uint8_t *at, uint64_t available)
{
	const struct spool_batch_header *header = (const struct spool_batch_header *)at;

	if (reader->at >= segment->end)
		return reader->begin == 0 ? WALK_END : -EBADMSG;
	if (available < sizeof(*header))
		return sizeof(*header);
	if (spool_batch_header_check(header, segment->epoch, segment->sequence, 0,
				     segment_limit(segment) - reader->at) != SPOOL_BATCH_VALID)
		return -EBADMSG;
	reader->at_batch = false;
	reader->at += sizeof(*header);
	return 0;
}

/* Walk as far as the window goes. @return as above, or what take_record says; *over: the message is
 * whole */
static int64_t walk(struct spool *spool, struct reader *reader, bool *over)
{
	const struct segment *segment = spool_segment(spool, reader->slot);

	for (;;) {
		uint64_t available;
		const uint8_t *at = window_at(reader, &available);
		const struct spool_record *record = (const struct spool_record *)at;
		int64_t missing;
		int result;

		if (reader->at_batch) {
			missing = take_batch_header(segment, reader, at, available);
			if (missing != 0)
				return missing;
			continue;
		}
		if (available < sizeof(*record))
			return sizeof(*record);
		switch (spool_record_check(at, available, segment->epoch, false)) {
		case SPOOL_RECORD_VALID:
			break;
		case SPOOL_RECORD_SHORT:
		case SPOOL_RECORD_DATA:
		case SPOOL_RECORD_DAMAGED:
			return -EBADMSG;
		}
		if (wants_data(reader, record)) {
			switch (spool_record_check(at, available, segment->epoch, true)) {
			case SPOOL_RECORD_VALID:
				break;
			case SPOOL_RECORD_SHORT:
				return (int64_t)spool_record_bytes(record->size);
			case SPOOL_RECORD_DATA:
			case SPOOL_RECORD_DAMAGED:
				return -EBADMSG;
			}
			result = take_record(spool, reader, record);
			*over = result == 1;
			if (result != 0)
				return result < 0 ? result : 0;
		}
		reader->at_batch = record->type == SPOOL_END;
		reader->at += spool_record_bytes(record->size);
	}
}

/* ---- Driving ---- */

static void finish(struct spool *spool, struct reader *reader, int result)
{
	struct chunk_list body = reader->body;
	spool_body_read done = reader->done;
	void *user = reader->user;

	if (result != 0 && reader->chunks != NULL)
		chunk_list_free(&body, reader->chunks);
	if (result == -EBADMSG || result == -EIO) {
		spool->statistics.read_errors++;
		/* The ground is bad: it is read from, but never written again. */
		spool_quarantine(spool, reader->slot);
	}
	if (reader->finished != NULL) {
		reader->finished(spool, reader, result);
		return;
	}
	reader_release(spool, reader);
	done(user, result, &body);
}

/* Start again from the beginning, once. */
static bool retry(struct spool *spool, struct reader *reader)
{
	if (reader->retried || reader->begin == 0)
		return false;
	reader->retried = true;
	if (reader->chunks != NULL)
		chunk_list_free(&reader->body, reader->chunks);
	reader->body = (struct chunk_list){0};
	free(reader->flat);
	reader->flat = NULL;
	reader->begun = false;
	reader->got = 0;
	reader->total = 0;
	reader->at = (uint64_t)reader->begin * 8;
	reader->at_batch = false;
	return refill(spool, reader, WALK_WINDOW) == 0;
}

void reader_continue(struct spool *spool, struct reader *reader)
{
	bool over = false;
	int64_t missing = walk(spool, reader, &over);

	if (missing == -EAGAIN)
		return;
	if (over || missing == WALK_END) {
		finish(spool, reader, 0);
		return;
	}
	if (missing > 0) {
		uint64_t size = (uint64_t)missing > WALK_WINDOW ? (uint64_t)missing : WALK_WINDOW;
		bool too_long = (uint64_t)missing + SPOOL_BLOCK > buffer_size(spool);

		/* That the disk takes no more is not damage: mail bounces for that. */
		missing = too_long ? -EBADMSG : refill(spool, reader, size);
		if (missing == 0)
			return;
	}
	if (missing == -EBADMSG && retry(spool, reader))
		return;
	finish(spool, reader, (int)missing);
}

void spool_read_done(struct spool *spool, struct reader *reader, int64_t result)
{
	reader->in_flight = false;
	if (result == (int64_t)reader->filled)
		reader_continue(spool, reader);
	else if (result == -ECANCELED || !retry(spool, reader))
		finish(spool, reader, result == -ECANCELED ? -ECANCELED : -EIO);
}

int spool_read_body(struct spool *spool, const struct message_id *id,
		    const struct spool_location *location, struct chunk_pool *chunks,
		    spool_body_read done, void *user)
{
	const struct live_message *live = spool_live(spool, location->handle);
	struct reader *reader = reader_take(spool, false);
	int result;

	assert(live->serial == location->serial && live->slot != SPOOL_NO_SLOT);
	if (reader == NULL)
		return -EAGAIN;
	reader->id = *id;
	reader->chunks = chunks;
	reader->done = done;
	reader->user = user;
	result = reader_start(spool, reader, live->slot, live->offset, location->size);
	return result;
}
