/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Group commit: one batch in flight, the next one fills. A batch goes when the one before it is
 * durable; when the disk is idle, at batch_bytes or batch_wait_us. So load makes batches larger and
 * not later.
 *
 * Always true: batch N+1 is submitted after the completion of batch N; `done` is called after the
 * completion of the batch that holds the operation's last record. After a write error everything
 * that was not durable is placed again, from its sources, into another segment, once (notes:
 * reliability 1.5, "Write error"; never a second try at the same place, 1.3 item 1).
 */
#include "control/queue/spool_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define HEADER sizeof(struct spool_batch_header)

/* ---- Filling ---- */

static bool open_batch(struct spool *spool)
{
	struct segment *segment;
	struct batch *batch;

	if (spool->open != NULL)
		return true;
	if (spool->read_only || (spool->current == SPOOL_NO_SLOT && !spool_advance(spool)))
		return false;
	segment = spool_segment(spool, spool->current);
	batch = &spool->batches[spool->flying == &spool->batches[0]];
	assert(batch->operations.head == NULL);
	batch->used = HEADER;
	batch->records = 0;
	batch->headers_crc = 0;
	batch->number = spool->number + 1;
	batch->offset = segment->end;
	batch->slot = spool->current;
	batch->sealing = false;
	batch->streamed = false;
	batch->chased = spool->flying != NULL;
	batch->opened_us = spool->now.mono_us;
	spool->open = batch;
	return true;
}

/* A copy brings its state with it. */
static uint64_t stream_bytes(const struct spool *spool, const struct operation *operation)
{
	return operation->envelope_size + operation->body_size +
	       (operation->copy ? spool->batch_max / 2 : 0);
}

/* Bytes of the running stream that are not placed. */
static uint64_t stream_left(const struct spool *spool)
{
	const struct operation *operation = spool->stream.operation;

	if (operation == NULL)
		return 0;
	return stream_bytes(spool, operation) - spool->stream.placed;
}

/* Would the segment still take what it must, after `bytes` more in this batch? */
static bool segment_takes(const struct spool *spool, const struct batch *batch, uint64_t bytes,
			  uint64_t stream_bytes)
{
	uint64_t next =
		batch->offset + spool_align(batch->used + bytes + SPOOL_BATCH_SPARE, SPOOL_BLOCK);

	if (stream_bytes > 0)
		next += stream_need(spool, stream_bytes);
	/* One block for SEAL. */
	return next + SPOOL_BLOCK <= segment_limit(spool_segment(spool, batch->slot));
}

static uint64_t head_bytes(const struct spool *spool)
{
	const struct operation *head = spool->fifo.head;

	if (head == NULL)
		return 0;
	return head->group_count > 0 ? head->group_bytes : head->bytes;
}

static void begin_stream(struct spool *spool, struct batch *batch)
{
	struct operation *operation = spool->streams.head;

	if (operation == NULL || spool->stream.operation != NULL || spool->rolling)
		return;
	if (!segment_takes(spool, batch, 0, stream_bytes(spool, operation))) {
		spool->rolling = true;
		return;
	}
	operation_pop(&spool->streams);
	spool->stream = (struct stream){.operation = operation};
}

/*
 * The end of a copy waits until what was appended about its message before is placed: its state,
 * made now, must not come before an older one.
 */
static bool must_wait(struct spool *spool, struct batch *batch, uint64_t share)
{
	struct operation *copy = spool->stream.operation;
	uint64_t left = copy->envelope_size + copy->body_size - spool->stream.placed;

	if (!copy->copy || left > share - 128)
		return false;
	for (const struct operation *o = spool->fifo.head; o != NULL; o = o->next)
		if (o->id.counter == copy->id.counter && o->id.origin == copy->id.origin) {
			/* They wait for the next segment, and that for the stream's end. */
			copy->cancelled |= spool->rolling;
			return !spool->rolling;
		}
	return batch_room(spool, batch) < share + (uint64_t)cleaner_state_room(spool, copy);
}

static void place_share(struct spool *spool, struct batch *batch)
{
	uint64_t share = spool->batch_max / 2 - 256;

	if (spool->stream.operation == NULL || batch->streamed ||
	    batch_room(spool, batch) < share || must_wait(spool, batch, share))
		return;
	batch->streamed = true;
	batch_place_stream(spool, batch, share);
}

/* Place the next operation, or the next group. @return false: no more in this batch */
static bool place_head(struct spool *spool, struct batch *batch)
{
	uint64_t bytes = head_bytes(spool);
	uint32_t count;

	if (bytes == 0 || spool->rolling || bytes > batch_room(spool, batch))
		return false;
	if (!segment_takes(spool, batch, bytes, stream_left(spool))) {
		spool->rolling = true;
		return false;
	}
	count = spool->fifo.head->group_count > 0 ? spool->fifo.head->group_count : 1;
	while (count-- > 0)
		batch_place(spool, batch, operation_pop(&spool->fifo));
	return true;
}

void spool_fill(struct spool *spool)
{
	struct batch *batch;

	if (spool->fifo.head == NULL && spool->streams.head == NULL &&
	    spool->stream.operation == NULL && !spool->rolling)
		return;
	if (!open_batch(spool))
		return;
	batch = spool->open;
	/* What would not fit beside a share goes first, or it would never go. */
	if (head_bytes(spool) > spool->batch_max / 2 - 512)
		place_head(spool, batch);
	begin_stream(spool, batch);
	place_share(spool, batch);
	while (place_head(spool, batch))
		;
	place_share(spool, batch);
}

/* ---- Submitting ---- */

static void close_batch(struct spool *spool, struct batch *batch)
{
	struct segment *segment = spool_segment(spool, batch->slot);
	struct spool_batch_header *header = (struct spool_batch_header *)batch->buffer;
	uint64_t rest;
	uint8_t *data;

	batch->sealing = spool->rolling && spool->stream.operation == NULL;
	if (batch->sealing)
		batch_record_end(spool, batch, batch_record(batch, SPOOL_SEAL, 0));
	rest = batch->used + sizeof(struct spool_record);
	rest = spool_align(rest, SPOOL_BLOCK) - rest;
	data = batch_record(batch, SPOOL_END, (uint32_t)rest);
	memset(data, 0, rest);
	batch_record_end(spool, batch, data);
	batch->length = batch->used;
	*header = (struct spool_batch_header){
		.epoch = segment->epoch,
		.number = batch->number,
		.segment = segment->sequence,
		.previous_segment = spool->chain_segment,
		.previous_crc = spool->chain_crc,
		.length = batch->length,
		.records = batch->records,
		.headers_crc = batch->headers_crc,
		.start_number = spool->start_number,
	};
	spool_batch_header_seal(header);
	batch->crc = header->crc;
	if (spool->abandoned != SPOOL_NO_SLOT && spool->abandoned != batch->slot)
		segment->witness_of = spool->abandoned;
	spool->abandoned = SPOOL_NO_SLOT;
	segment->end += batch->length;
	spool->number = batch->number;
	spool->chain_crc = batch->crc;
	spool->chain_segment = segment->sequence;
	spool->open = NULL;
	if (batch->sealing) {
		segment->sealed = true;
		spool->clean_due = true;
		spool->rolling = false;
		spool->current = SPOOL_NO_SLOT;
		spool_advance(spool);
	}
}

static bool is_due(const struct spool *spool, const struct batch *batch)
{
	if (batch->used == HEADER)
		return spool->rolling;
	return batch->chased || spool->rolling || batch->used >= spool->settings.batch_bytes ||
	       batch->streamed || spool->settings.batch_wait_us == 0 ||
	       spool->now.mono_us - batch->opened_us >= spool->settings.batch_wait_us;
}

bool spool_submit(struct spool *spool)
{
	struct batch *batch;
	int result;

	spool_fill(spool);
	batch = spool->open;
	if (spool->flying != NULL || batch == NULL || !is_due(spool, batch))
		return false;
	close_batch(spool, batch);
	spool->flying = batch;
	batch->submitted_us = spool->now.mono_us;
	result = spool->disk->operations->write_durable(
		spool->disk, spool_segment(spool, batch->slot)->file, batch->offset, batch->buffer,
		batch->length, &batch->io);
	if (result != 0)
		spool_batch_done(spool, batch, result);
	else
		spool_fill(spool);
	return true;
}

bool spool_is_quiet(const struct spool *spool)
{
	return spool->flying == NULL && spool->fifo.head == NULL && spool->streams.head == NULL &&
	       spool->stream.operation == NULL && spool->group.head == NULL &&
	       spool->refused.head == NULL && !spool->rolling &&
	       (spool->open == NULL || spool->open->used == HEADER);
}

/* ---- Completion ---- */

static void count_commit(struct spool *spool, const struct batch *batch)
{
	struct spool_statistics *s = &spool->statistics;
	uint64_t latency_us = spool->now.mono_us - batch->submitted_us;
	unsigned bucket = 0;

	while (bucket < 15 && latency_us >= UINT64_C(64) << bucket)
		bucket++;
	s->commit_latency_buckets[bucket]++;
	s->commit_latency_us_sum += latency_us;
	if (latency_us > s->commit_latency_us_max)
		s->commit_latency_us_max = latency_us;
	s->batches++;
	s->bytes_padded += batch->length;
	if (batch->records > s->batch_records_max)
		s->batch_records_max = batch->records;
}

/* What an operation changes, now that it is durable. */
static void apply(struct spool *spool, const struct batch *batch, struct operation *operation)
{
	spool->statistics.bytes += operation->bytes;
	if (operation->copy || operation->cleaning)
		spool->round.written += operation->bytes;
	else if (operation->kind == OPERATION_STATE)
		spool->round.superfluous += operation->bytes;
	if (operation->serial > spool->durable_serial)
		spool->durable_serial = operation->serial;
	switch (operation->kind) {
	case OPERATION_MESSAGE:
		if (operation->cancelled)
			break;
		live_unplace(spool, operation->handle);
		live_place(spool, operation->handle, operation->slot, operation->begin,
			   operation->bytes);
		break;
	case OPERATION_FINISHED:
		spool->round.superfluous +=
			operation->bytes +
			(uint64_t)spool_live(spool, operation->handle)->units * 8;
		live_free(spool, operation->handle);
		break;
	case OPERATION_NOTE:
		spool->note_number = batch->number;
		spool->reclaim_due = true;
		break;
	case OPERATION_LIVE_SET:
		if (operation->more)
			break;
		spool_segment(spool, operation->target)->live_set_pending = false;
		spool_unpin(spool, operation->target, spool_segment(spool, batch->slot)->sequence);
		spool->reclaim_due = true;
		break;
	case OPERATION_STATE:
	case OPERATION_START:
	case OPERATION_CLEAN_STOP:
		break;
	}
}

static void succeed(struct spool *spool, struct batch *batch)
{
	struct operation_list list = batch->operations;
	struct operation *operation;

	spool->rewriting = false;
	spool->durable_number = batch->number;
	spool->durable_crc = batch->crc;
	spool->durable_segment = spool_segment(spool, batch->slot)->sequence;
	spool_segment(spool, batch->slot)->last_batch = batch->number;
	spool->reclaim_due |= batch->sealing;
	count_commit(spool, batch);
	batch->operations.head = NULL;
	for (operation = list.head; operation != NULL; operation = operation->next)
		apply(spool, batch, operation);
	while ((operation = operation_pop(&list)) != NULL) {
		if (operation->done != NULL)
			operation->done(operation->user, 0);
		operation_free(operation);
	}
}

/* Sort operations that were placed back to where they came from. */
static void take_back(struct spool *spool, struct operation_list *placed,
		      struct operation_list *fifo, struct operation_list *streams)
{
	struct operation *operation;

	while ((operation = operation_pop(placed)) != NULL) {
		if (operation->copy)
			cleaner_unplaced(spool, operation);
		spool->queued_cost += operation_cost(operation);
		operation_push(operation->big ? streams : fifo, operation);
	}
}

/* Everything that is not durable starts again in another segment. */
static void rewrite(struct spool *spool, struct batch *batch)
{
	struct operation_list fifo = {0}, streams = {0};
	uint16_t slot = batch->slot;

	take_back(spool, &batch->operations, &fifo, &streams);
	if (spool->open != NULL)
		take_back(spool, &spool->open->operations, &fifo, &streams);
	if (spool->stream.operation != NULL) {
		/* Placed or not: it is counted when it begins again. */
		if (spool->stream.placed > 0)
			spool->queued_cost += operation_cost(spool->stream.operation);
		operation_push(&streams, spool->stream.operation);
	}
	operation_prepend(&spool->fifo, &fifo);
	operation_prepend(&spool->streams, &streams);
	spool->stream.operation = NULL;
	spool->open = NULL;
	spool->rolling = false;
	spool->rewriting = true;
	spool->number = spool->durable_number;
	spool->chain_crc = spool->durable_crc;
	spool->chain_segment = spool->durable_segment;
	spool_segment(spool, slot)->sealed = true;
	spool->abandoned = slot;
	spool_quarantine(spool, slot);
	if (spool->current == slot)
		spool->current = SPOOL_NO_SLOT;
	spool_fill(spool);
}

void spool_batch_done(struct spool *spool, struct batch *batch, int64_t result)
{
	assert(spool->flying == batch);
	if (result == (int64_t)batch->length) {
		spool->flying = NULL;
		succeed(spool, batch);
		return;
	}
	spool->statistics.write_errors++;
	if (spool->rewriting || spool->read_only ||
	    (spool_available(spool) == 0 && spool->current == batch->slot)) {
		spool_fail_all(spool, -EIO);
		spool->flying = NULL;
		return;
	}
	spool->flying = NULL;
	rewrite(spool, batch);
}
