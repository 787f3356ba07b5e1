/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Placing records into a batch: each is copied once, and its CRC taken while it is in the cache.
 */
#include "control/queue/spool_internal.h"

#include "drivers/disk/crc32c.h"

#include <assert.h>
#include <string.h>

uint64_t batch_room(const struct spool *spool, const struct batch *batch)
{
	uint64_t taken = batch->used + SPOOL_BATCH_SPARE;

	return taken < spool->batch_max ? spool->batch_max - taken : 0;
}

uint8_t *batch_record(struct batch *batch, enum spool_record_type type, uint32_t size)
{
	struct spool_record *record = (struct spool_record *)(batch->buffer + batch->used);

	*record = (struct spool_record){.size = size, .type = (uint8_t)type};
	batch->used += (uint32_t)spool_record_bytes(size);
	batch->records++;
	return (uint8_t *)(record + 1);
}

void batch_record_end(struct spool *spool, struct batch *batch, uint8_t *data)
{
	struct spool_record *record = (struct spool_record *)data - 1;

	assert(batch->used <= spool->batch_max);
	spool_record_seal(record, spool_segment(spool, batch->slot)->epoch, batch->number);
	batch->headers_crc = crc32c(batch->headers_crc, record, sizeof(*record));
}

/* ---- Messages ---- */

static uint8_t *place_begin(struct batch *batch, struct operation *operation, uint64_t bytes)
{
	struct spool_begin begin = {
		.id = {.origin = operation->id.origin, .counter = operation->id.counter},
		.flags = operation->flags,
		.envelope_size = operation->envelope_size,
		.body_size = operation->body_size,
	};
	uint8_t *data;

	operation->begin = batch->offset + batch->used;
	operation->slot = batch->slot;
	data = batch_record(batch, SPOOL_BEGIN, (uint32_t)(sizeof(begin) + bytes));
	memcpy(data, &begin, sizeof(begin));
	return data;
}

static void place_commit(struct spool *spool, struct batch *batch, struct operation *operation)
{
	struct spool_commit commit = {
		.id = {.origin = operation->id.origin, .counter = operation->id.counter},
		.begin = (uint32_t)(operation->begin / 8),
	};
	uint8_t *data;

	if (operation->copy) {
		const struct live_message *live;

		if (!cleaner_may_commit(spool, operation))
			return;
		live = spool_live(spool, operation->handle);
		commit.from_segment = spool_segment(spool, live->slot)->sequence;
		commit.from_offset = live->offset;
		spool_pin(spool, batch->slot, live->slot);
	}
	data = batch_record(batch, SPOOL_COMMIT, sizeof(commit));
	memcpy(data, &commit, sizeof(commit));
	batch_record_end(spool, batch, data);
	if (operation->copy && operation->big)
		cleaner_place_state(spool, batch, operation);
}

static uint8_t *copy_list(uint8_t *to, const struct chunk_list *list)
{
	struct chunk_cursor cursor = chunk_list_begin(list);

	return to + chunk_cursor_read(&cursor, to, list->size);
}

static void place_message(struct spool *spool, struct batch *batch, struct operation *operation)
{
	uint64_t bytes = operation->envelope_size + operation->body_size;
	uint8_t *data = place_begin(batch, operation, bytes);
	uint8_t *at = data + sizeof(struct spool_begin);

	if (operation->flat != NULL)
		memcpy(at, operation->flat, bytes);
	else
		copy_list(copy_list(at, &operation->envelope), &operation->body);
	batch_record_end(spool, batch, data);
	place_commit(spool, batch, operation);
}

/* ---- The others ---- */

static void place_finished(struct spool *spool, struct batch *batch, struct operation *operation)
{
	struct spool_place place = {
		.id = {.origin = operation->id.origin, .counter = operation->id.counter}};
	uint8_t *data;
	uint16_t slot;

	cleaner_locate(spool, operation->handle, &slot, &place.offset);
	place.segment = spool_segment(spool, slot)->sequence;
	spool_pin(spool, batch->slot, slot);
	data = batch_record(batch, SPOOL_FINISHED, sizeof(place));
	memcpy(data, &place, sizeof(place));
	batch_record_end(spool, batch, data);
}

static void place_data(struct spool *spool, struct batch *batch, enum spool_record_type type,
		       const struct operation *operation)
{
	uint8_t *data = batch_record(batch, type, operation->size);

	memcpy(data, operation->data, operation->size);
	batch_record_end(spool, batch, data);
}

void batch_place(struct spool *spool, struct batch *batch, struct operation *operation)
{
	spool->queued_cost -= operation_cost(operation);
	switch (operation->kind) {
	case OPERATION_MESSAGE:
		place_message(spool, batch, operation);
		break;
	case OPERATION_STATE:
		place_data(spool, batch, SPOOL_STATE, operation);
		spool_segment(spool, batch->slot)->has_states = true;
		break;
	case OPERATION_FINISHED:
		place_finished(spool, batch, operation);
		break;
	case OPERATION_NOTE:
		place_data(spool, batch, SPOOL_NOTE, operation);
		break;
	case OPERATION_START:
		place_data(spool, batch, SPOOL_START, operation);
		break;
	case OPERATION_CLEAN_STOP:
		place_data(spool, batch, SPOOL_CLEAN_STOP, operation);
		break;
	case OPERATION_LIVE_SET:
		place_data(spool, batch, SPOOL_LIVE_SET, operation);
		spool_pin(spool, batch->slot, operation->target);
		break;
	}
	operation_push(&batch->operations, operation);
}

/* ---- Streams ---- */

/* Bytes of a stream in one batch. */
static uint64_t stream_share(uint64_t batch_max)
{
	return batch_max / 2 - 512;
}

/* In each batch: its header, SEAL and END, the PART's header, and what others leave unused of the
 * last block. */
#define SHARE_OVERHEAD	(SPOOL_BLOCK + 256)
#define STREAM_OVERHEAD (2 * SHARE_OVERHEAD + sizeof(struct spool_commit) + 64)

uint64_t stream_need(const struct spool *spool, uint64_t bytes)
{
	return bytes + bytes / stream_share(spool->batch_max) * SHARE_OVERHEAD + STREAM_OVERHEAD;
}

uint64_t spool_message_max(uint64_t segment_size, uint32_t batch_bytes)
{
	uint64_t share = stream_share(spool_batch_max(segment_size, batch_bytes));
	/* Both headers, the rest of a block, and one for SEAL. */
	uint64_t none = SPOOL_DATA_START + 3 * SPOOL_BLOCK + STREAM_OVERHEAD;
	uint64_t whole, rest;

	if (segment_size <= none)
		return 0;
	whole = (segment_size - none) / (share + SHARE_OVERHEAD);
	rest = (segment_size - none) % (share + SHARE_OVERHEAD);
	return whole * share + (rest < share ? rest : share - 1);
}

static void copy_stream(struct stream *stream, uint8_t *to, uint64_t bytes)
{
	const struct operation *operation = stream->operation;

	if (operation->flat != NULL) {
		memcpy(to, operation->flat + stream->placed, bytes);
		return;
	}
	while (bytes > 0) {
		size_t n = chunk_cursor_read(&stream->cursor, to, bytes);

		to += n;
		bytes -= n;
		if (bytes > 0) {
			assert(!stream->in_body);
			stream->in_body = true;
			stream->cursor = chunk_list_begin(&operation->body);
		}
	}
}

bool batch_place_stream(struct spool *spool, struct batch *batch, uint64_t share)
{
	struct stream *stream = &spool->stream;
	struct operation *operation = stream->operation;
	uint64_t left = operation->envelope_size + operation->body_size - stream->placed;
	uint64_t most = share - 128;
	uint64_t bytes = left < most ? left : most;
	uint8_t *data;

	if (stream->placed == 0) {
		spool->queued_cost -= operation_cost(operation);
		stream->cursor = chunk_list_begin(&operation->envelope);
		stream->in_body = false;
		stream->parts = 0;
		data = place_begin(batch, operation, bytes);
		copy_stream(stream, data + sizeof(struct spool_begin), bytes);
	} else {
		struct spool_part part = {.begin = (uint32_t)(operation->begin / 8),
					  .number = ++stream->parts,
					  .at = stream->placed};

		data = batch_record(batch, SPOOL_PART, (uint32_t)(sizeof(part) + bytes));
		memcpy(data, &part, sizeof(part));
		copy_stream(stream, data + sizeof(part), bytes);
	}
	batch_record_end(spool, batch, data);
	operation->bytes = (stream->placed == 0 ? 0 : operation->bytes) +
			   spool_record_bytes(((struct spool_record *)data - 1)->size);
	stream->placed += bytes;
	if (bytes < left)
		return false;
	place_commit(spool, batch, operation);
	operation->bytes += spool_record_bytes(sizeof(struct spool_commit));
	operation_push(&batch->operations, operation);
	stream->operation = NULL;
	return true;
}
