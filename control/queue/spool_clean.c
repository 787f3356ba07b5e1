/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reclaim: what stands against forgetting a segment is carried forward, so that one stuck message
 * holds one segment and not all that came after it.
 *
 *   tombstones   a LIVE_SET of the segment that they are about, appended now, makes them
 * superfluous a note       the queue's present one is appended messages     of a segment that is
 * nearly empty are copied, each with a fresh state states       the segment is walked, and for each
 * message named the queue's present state is appended
 *
 * One message and one walk at a time, at a bounded rate, in rounds (spool_round.c). Without the
 * queue's snapshots only the first is done.
 */
#include "control/queue/spool_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/** How often an idle cleaner looks for work, beside when a segment is full or dead. */
#define LOOK_US (10 * US_PER_MS)
/** Copying leaves most of the disk to the commits. */
#define COPY_BYTES_PER_S (64u << 20)
/** STATE records on the way. */
#define STATES_PENDING 64u
/** Segments with at most this much live data are emptied: normally, and when space is short. */
#define LIVE_PERCENT_NORMAL 25u
#define LIVE_PERCENT_SHORT  75u

/* ---- Tombstones and notes ---- */

static int compare_offsets(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* @return the sorted offsets of what is left in a segment; NULL when memory is short */
static uint32_t *live_offsets(const struct spool *spool, uint16_t slot, uint32_t *count)
{
	const struct segment *segment = spool_segment(spool, slot);
	uint32_t *offsets = malloc(((size_t)segment->live.count + 1) * sizeof(*offsets));
	uint32_t handle = segment->live.head;

	*count = 0;
	while (offsets != NULL && handle != 0) {
		const struct live_message *live = spool_live(spool, handle);

		if ((live->flags & LIVE_FINISHING) == 0)
			offsets[(*count)++] = live->offset;
		handle = live->link.next;
	}
	if (offsets != NULL)
		qsort(offsets, *count, sizeof(*offsets), compare_offsets);
	return offsets;
}

static void append_live_set(struct spool *spool, uint16_t slot)
{
	uint32_t most = (uint32_t)(spool->batch_max / 4 / sizeof(uint32_t));
	uint32_t count, from = 0;
	uint32_t *offsets = live_offsets(spool, slot, &count);

	for (uint32_t done = 0; offsets != NULL;) {
		uint32_t part = count - done < most ? count - done : most;
		bool last = done + part == count;
		struct spool_live_set set = {
			.segment = spool_segment(spool, slot)->sequence,
			.from = from,
			.to = last ? UINT32_MAX : offsets[done + part],
			.count = part,
		};
		struct operation *operation = operation_new(
			OPERATION_LIVE_SET, sizeof(set) + part * sizeof(*offsets), NULL, NULL);

		if (operation == NULL)
			break;
		memcpy(operation->data, &set, sizeof(set));
		memcpy(operation->data + sizeof(set), offsets + done, part * sizeof(*offsets));
		operation->target = slot;
		/* Only all parts together replace the tombstones. */
		operation->more = !last;
		spool_segment(spool, slot)->live_set_pending = true;
		from = set.to;
		done += part;
		spool_append_own(spool, operation);
		if (last)
			break;
	}
	free(offsets);
}

static bool unpin_segment(struct spool *spool, uint16_t holder)
{
	bool busy = false;

	for (uint32_t i = 0; i < spool->segment_count; i++) {
		const struct segment *target = &spool->segments[i];

		if (!spool_is_pinned_by(spool, holder, (uint16_t)i) || target->live_set_pending ||
		    target->state != SEGMENT_LIVE)
			continue;
		append_live_set(spool, (uint16_t)i);
		busy = true;
	}
	return busy;
}

static void note_done(void *user, int result)
{
	struct spool *spool = user;

	(void)result;
	spool->note_pending = false;
}

static bool append_note(struct spool *spool)
{
	uint8_t data[4096];
	struct operation *operation;
	size_t size;

	if (spool->note == NULL || spool->note_pending)
		return false;
	size = spool->note(spool->snapshot_context, data, sizeof(data));
	if (size == 0 || size > sizeof(data))
		return false;
	operation = operation_new(OPERATION_NOTE, size, note_done, spool);
	if (operation == NULL)
		return false;
	memcpy(operation->data, data, size);
	spool->note_pending = true;
	spool_append_own(spool, operation);
	return true;
}

/* ---- Copying a message ---- */

void cleaner_locate(struct spool *spool, uint32_t handle, uint16_t *slot, uint32_t *offset)
{
	struct cleaner *cleaner = &spool->cleaner;
	const struct live_message *live = spool_live(spool, handle);

	*slot = live->slot;
	*offset = live->offset;
	if (cleaner->copy == NULL || cleaner->copy->handle != handle)
		return;
	if (cleaner->placed) {
		*slot = cleaner->copy->slot;
		*offset = (uint32_t)(cleaner->copy->begin / 8);
	} else {
		cleaner->copy->cancelled = true;
	}
}

bool cleaner_may_commit(struct spool *spool, struct operation *operation)
{
	assert(spool->cleaner.copy == operation);
	if (operation->cancelled ||
	    (spool_live(spool, operation->handle)->flags & LIVE_FINISHING) != 0) {
		operation->cancelled = true;
		return false;
	}
	spool->cleaner.placed = true;
	return true;
}

void cleaner_unplaced(struct spool *spool, struct operation *operation)
{
	assert(spool->cleaner.copy == operation);
	spool->cleaner.placed = false;
}

static void state_done(void *user, int result)
{
	struct spool *spool = user;

	spool->cleaner.states_pending--;
	spool->cleaner.failed |= result != 0;
}

/*
 * The queue's present state of a message, in `scratch`. @return its size; 0: nothing to keep, or
 * too large (then the cleaner has failed)
 */
static size_t take_snapshot(struct spool *spool, const struct message_id *id, size_t most)
{
	size_t size;

	if (spool->scratch == NULL)
		spool->scratch = malloc(spool->batch_max);
	if (spool->scratch == NULL) {
		spool->cleaner.failed = true;
		return 0;
	}
	size = spool->snapshot(spool->snapshot_context, id, spool->scratch, most);
	if (size <= most)
		return size;
	spool->cleaner.failed = true;
	return 0;
}

/* @return the append of the present state, or NULL */
static struct operation *make_state(struct spool *spool, const struct message_id *id, size_t most)
{
	static const size_t front = sizeof(struct spool_id);
	struct spool_id stored = {.origin = id->origin, .counter = id->counter};
	size_t size = take_snapshot(spool, id, most);
	struct operation *operation;

	if (size == 0)
		return NULL;
	/* Not with the last of the room. */
	if (!spool_has_room(spool, SPOOL_FOR_CLEANING, size))
		operation = NULL;
	else
		operation = operation_new(OPERATION_STATE, front + size, state_done, spool);
	if (operation == NULL) {
		spool->cleaner.failed = true;
		return NULL;
	}
	operation->cleaning = true;
	round_carry(spool, id);
	memcpy(operation->data, &stored, front);
	memcpy(operation->data + front, spool->scratch, size);
	spool->cleaner.states_pending++;
	return operation;
}

int64_t cleaner_state_room(struct spool *spool, struct operation *operation)
{
	size_t most = spool->batch_max / 2 - 1024;
	bool failed = spool->cleaner.failed;
	size_t size = take_snapshot(spool, &operation->id, most);

	if (spool->cleaner.failed && !failed)
		operation->cancelled = true;
	return size == 0 ? 0 : (int64_t)spool_record_bytes(sizeof(struct spool_id) + size);
}

void cleaner_place_state(struct spool *spool, struct batch *batch, struct operation *operation)
{
	struct spool_id stored = {.origin = operation->id.origin, .counter = operation->id.counter};
	size_t size = take_snapshot(spool, &operation->id, spool->batch_max / 2 - 1024);
	uint8_t *data;

	if (size == 0)
		return;
	data = batch_record(batch, SPOOL_STATE, (uint32_t)(sizeof(stored) + size));
	memcpy(data, &stored, sizeof(stored));
	memcpy(data + sizeof(stored), spool->scratch, size);
	batch_record_end(spool, batch, data);
	spool_segment(spool, batch->slot)->has_states = true;
}

static void copy_done(void *user, int result)
{
	struct spool *spool = user;
	struct cleaner *cleaner = &spool->cleaner;
	const struct operation *operation = cleaner->copy;
	uint64_t pause_us = operation->bytes * US_PER_S / COPY_BYTES_PER_S;
	struct spool_location to = {.handle = operation->handle, .size = operation->bytes};

	cleaner->ready_us = spool->now.mono_us + pause_us;
	cleaner->copy = NULL;
	cleaner->placed = false;
	cleaner->handle = 0;
	cleaner->failed |= result != 0;
	if (result != 0 || operation->cancelled)
		return;
	to.serial = spool_live(spool, operation->handle)->serial;
	spool->statistics.moved++;
	if (spool->relocated != NULL)
		spool->relocated(spool->relocated_context, &operation->id, &to);
}

/*
 * A copy and its state go into one batch: with the copy alone, the states before it would be the
 * message's only ones and yet look superfluous. A big copy brings its state when its COMMIT is
 * placed.
 */
static void append_copy(struct spool *spool, struct operation *copy)
{
	struct operation *state = NULL;

	if (!copy->big)
		state = make_state(spool, &copy->id, spool->batch_max / 2);
	copy->cancelled |= spool->cleaner.failed;
	if (state == NULL) {
		spool_append_own(spool, copy);
		return;
	}
	copy->group_count = 2;
	copy->group_bytes = copy->bytes + state->bytes;
	spool->queued_cost += copy->group_bytes;
	operation_queue(spool, copy);
	operation_queue(spool, state);
	spool_fill(spool);
}

/* The message was read: append it again. */
static void copy_read(struct spool *spool, struct reader *reader, int result)
{
	struct cleaner *cleaner = &spool->cleaner;
	const struct live_message *live = spool_live(spool, cleaner->handle);
	struct operation *operation = NULL;
	uint32_t handle = cleaner->handle;

	/* It may have been finished meanwhile. */
	if (result == 0 && live->serial == cleaner->serial && (live->flags & LIVE_FINISHING) == 0)
		operation = operation_new(OPERATION_MESSAGE, 0, copy_done, spool);
	cleaner->handle = 0;
	cleaner->failed |= result != 0;
	if (operation != NULL) {
		operation->copy = true;
		operation->handle = handle;
		operation->id = reader->id;
		operation->flags = reader->flags;
		operation->envelope_size = reader->envelope_size;
		operation->body_size = reader->total - reader->envelope_size;
		operation->flat = reader->flat;
		reader->flat = NULL;
		operation->bytes = spool_record_bytes(sizeof(struct spool_begin) + reader->total) +
				   spool_record_bytes(sizeof(struct spool_commit));
		operation->big = operation->bytes > spool->batch_max / 4;
		cleaner->handle = handle;
		cleaner->copy = operation;
	}
	reader_release(spool, reader);
	if (operation != NULL)
		append_copy(spool, operation);
}

static bool copy_next(struct spool *spool)
{
	struct cleaner *cleaner = &spool->cleaner;
	uint32_t handle = spool_segment(spool, cleaner->slot)->live.head;
	struct reader *reader;

	while (handle != 0 && (spool_live(spool, handle)->flags & LIVE_FINISHING) != 0)
		handle = spool_live(spool, handle)->link.next;
	/* Not with the last of the room. */
	if (handle != 0 && !spool_has_room(spool, SPOOL_FOR_CLEANING,
					   (uint64_t)spool_live(spool, handle)->units * 16))
		cleaner->failed = true;
	if (handle == 0 || cleaner->failed) {
		cleaner->step = cleaner->failed ? CLEAN_DRAIN : CLEAN_STATES;
		return true;
	}
	reader = reader_take(spool, true);
	if (reader == NULL)
		return false;
	cleaner->handle = handle;
	cleaner->serial = spool_live(spool, handle)->serial;
	reader->finished = copy_read;
	if (reader_start(spool, reader, cleaner->slot, spool_live(spool, handle)->offset,
			 (uint64_t)spool_live(spool, handle)->units * 8) != 0)
		cleaner->handle = 0;
	return true;
}

/* ---- Carrying states over ---- */

static bool walk_state(struct spool *spool, const struct message_id *id)
{
	struct operation *state;

	if (spool->cleaner.states_pending >= STATES_PENDING)
		return false;
	/* When it fails, the segment is read to its end and stays. */
	if (spool->cleaner.failed || round_has_carried(spool, id))
		return true;
	state = make_state(spool, id, spool->batch_max - 512);
	if (state != NULL)
		spool_append_own(spool, state);
	return true;
}

static void walk_done(struct spool *spool, struct reader *reader, int result)
{
	spool->cleaner.failed |= result != 0;
	spool->cleaner.walked = true;
	spool->cleaner.walk = NULL;
	reader_release(spool, reader);
}

static bool walk_states(struct spool *spool)
{
	struct cleaner *cleaner = &spool->cleaner;
	struct segment *segment = spool_segment(spool, cleaner->slot);

	if (cleaner->walk != NULL) {
		if (cleaner->walk->in_flight || cleaner->states_pending > STATES_PENDING / 2)
			return false;
		reader_continue(spool, cleaner->walk);
		return true;
	}
	if (cleaner->walked || !segment->has_states || cleaner->failed) {
		cleaner->step = CLEAN_DRAIN;
		return true;
	}
	if (!spool_has_room(spool, SPOOL_FOR_CLEANING, spool->batch_max)) {
		cleaner->failed = true;
		return true;
	}
	cleaner->walk = reader_take(spool, true);
	if (cleaner->walk == NULL)
		return false;
	cleaner->walk->state = walk_state;
	cleaner->walk->finished = walk_done;
	if (reader_start(spool, cleaner->walk, cleaner->slot, 0, SPOOL_BLOCK) != 0)
		cleaner->walk = NULL;
	return true;
}

static bool drain(struct spool *spool)
{
	struct cleaner *cleaner = &spool->cleaner;

	/*
	 * The queue had nothing to keep of messages whose end was on its way: only when that end is
	 * durable are their old states superfluous.
	 */
	if (cleaner->fence == 0)
		cleaner->fence = spool->queued_serial;
	if (cleaner->states_pending > 0 || spool->durable_serial < cleaner->fence)
		return false;
	if (cleaner->walked && !cleaner->failed)
		spool_segment(spool, cleaner->slot)->has_states = false;
	cleaner->step = CLEAN_IDLE;
	spool->reclaim_due = true;
	if (cleaner->failed)
		round_end(spool, true);
	return true;
}

/* ---- Choosing ---- */

/* Below how much live data a segment is worth emptying, in percent; 0: none is. */
static unsigned live_percent(const struct spool *spool)
{
	uint32_t available = spool_available(spool);
	uint32_t total = spool_total(spool);

	if (spool->snapshot == NULL || available == 0 || available * 2 >= total)
		return 0;
	return available * 5 < total ? LIVE_PERCENT_SHORT : LIVE_PERCENT_NORMAL;
}

static bool is_worth(const struct spool *spool, uint16_t slot, unsigned percent)
{
	const struct segment *segment = spool_segment(spool, slot);

	if (percent == 0 || segment->state != SEGMENT_LIVE || !segment->sealed ||
	    segment->quarantined || segment->live_set_pending)
		return false;
	if (segment->live.count == 0)
		return segment_states_matter(spool, slot);
	return segment->live_bytes * 100 <= segment->size * percent;
}

static bool choose(struct spool *spool)
{
	struct cleaner *cleaner = &spool->cleaner;
	unsigned percent = round_may_begin(spool) ? live_percent(spool) : 0;
	uint16_t best = SPOOL_NO_SLOT;
	bool busy = false, note_due = false;

	for (uint32_t i = 0; i < spool->segment_count; i++) {
		uint16_t slot = (uint16_t)i;
		const struct segment *segment = spool_segment(spool, slot);

		if (segment_is_dead(spool, slot)) {
			busy |= unpin_segment(spool, slot);
			note_due |= spool->note_number != 0 &&
				    segment->last_batch >= spool->note_number;
		}
		if (is_worth(spool, slot, percent) && round_takes(spool, slot) &&
		    (best == SPOOL_NO_SLOT ||
		     segment->live_bytes < spool_segment(spool, best)->live_bytes))
			best = slot;
	}
	if (note_due)
		busy |= append_note(spool);
	if (best == SPOOL_NO_SLOT) {
		round_end(spool, false);
		return busy;
	}
	round_join(spool);
	*cleaner = (struct cleaner){.step = CLEAN_MESSAGES, .slot = best};
	return true;
}

bool spool_clean(struct spool *spool)
{
	struct cleaner *cleaner = &spool->cleaner;

	if (spool->read_only || cleaner->stopped ||
	    (spool->now.mono_us < cleaner->ready_us &&
	     !(cleaner->step == CLEAN_IDLE && spool->clean_due)))
		return false;
	switch (cleaner->step) {
	case CLEAN_IDLE:
		spool->clean_due = false;
		cleaner->ready_us = spool->now.mono_us + LOOK_US;
		return choose(spool);
	case CLEAN_MESSAGES:
		return cleaner->handle == 0 && copy_next(spool);
	case CLEAN_STATES:
		return walk_states(spool);
	case CLEAN_DRAIN:
		return drain(spool);
	}
	return false;
}
