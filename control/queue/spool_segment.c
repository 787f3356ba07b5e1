/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Segments: made ahead of need, prepared with a fresh epoch before they are filled, freed when
 * nothing in them is needed. All of it beside the commits, one header at a time.
 *
 * When a segment may go. A log's records refer back: FINISHED and COMMIT-from (tombstones) say that
 * a message in an older segment does not count, STATE changes one. So a segment goes only when
 *   - no live message is in it, and nothing reads or writes it;
 *   - it holds no tombstone for a message of a segment that is still there (`pins`; a LIVE_SET of
 * that segment, further on in the log, makes them superfluous);
 *   - it holds no state that may matter to a live message (`has_states`; the cleaner carries them
 * over);
 *   - a note further on covers it, if there are notes;
 *   - it is not the only one that tells where an older one, left after a write error, ended.
 * And others may lose what they hold about it only when its own header says durably that it is
 * free: else a crash would bring its messages back to life.
 */
#include "control/queue/spool_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Free segments, beside the next one, below which a file is made. */
#define SPARE_SEGMENTS 2u
/** After the disk was full, it is asked again this much later. */
#define CREATE_RETRY_US (10 * US_PER_S)

void segment_file_name(char name[16], uint32_t number)
{
	snprintf(name, 16, "seg-%05u", number);
}

/* ---- Pins ---- */

static uint64_t *pins_of(const struct spool *spool, uint16_t holder)
{
	return spool->pins + (size_t)holder * spool->pin_words;
}

void spool_pin(struct spool *spool, uint16_t holder, uint16_t target)
{
	/* A tombstone in the message's own segment goes with it. */
	if (holder != target)
		pins_of(spool, holder)[target / 64] |= UINT64_C(1) << target % 64;
}

bool spool_is_pinned_by(const struct spool *spool, uint16_t holder, uint16_t target)
{
	return pins_of(spool, holder)[target / 64] >> target % 64 & 1;
}

static bool is_pinned(const struct spool *spool, uint16_t holder)
{
	const uint64_t *pins = pins_of(spool, holder);

	for (uint32_t i = 0; i < spool->pin_words; i++)
		if (pins[i] != 0)
			return true;
	return false;
}

void spool_unpin(struct spool *spool, uint16_t target, uint32_t sequence)
{
	for (uint32_t i = 0; i < spool->segment_count; i++)
		if (spool->segments[i].sequence < sequence)
			pins_of(spool, (uint16_t)i)[target / 64] &= ~(UINT64_C(1) << target % 64);
}

/* ---- Space ---- */

uint32_t spool_available(const struct spool *spool)
{
	uint32_t makeable =
		spool->create_failed ? 0 : spool->settings.segments - spool->segment_count;

	return spool->free_count + (spool->next != SPOOL_NO_SLOT) + makeable;
}

uint32_t spool_total(const struct spool *spool)
{
	return spool->create_failed ? spool->segment_count : spool->settings.segments;
}

uint32_t spool_reserve(const struct spool *spool)
{
	uint32_t tenth = (spool_total(spool) + 9) / 10;

	return tenth < 2 ? 2 : tenth;
}

void spool_update_accepting(struct spool *spool)
{
	uint64_t available = spool_available(spool);
	uint64_t total = spool_total(spool);

	if (spool->read_only)
		spool->accepting = false;
	else if (available < spool_reserve(spool))
		spool->accepting = false;
	else if (available * 100 >= total * 15 && available > spool_reserve(spool))
		spool->accepting = true;
}

void segment_set_free(struct spool *spool, uint16_t slot)
{
	struct segment *segment = spool_segment(spool, slot);

	segment->state = SEGMENT_FREE;
	segment->sequence = 0;
	segment->end = SPOOL_DATA_START;
	segment->last_batch = 0;
	segment->sealed = false;
	segment->has_states = false;
	if (!segment->quarantined)
		spool->free_count++;
}

int spool_add_segment(struct spool *spool, struct disk_file *file, uint64_t size)
{
	uint16_t slot;

	if (spool->segment_count == SPOOL_SEGMENTS_MAX ||
	    spool->segment_count == spool->settings.segments)
		return -ENOSPC;
	slot = (uint16_t)spool->segment_count++;
	spool->segments[slot] =
		(struct segment){.file = file, .size = size, .witness_of = SPOOL_NO_SLOT};
	segment_set_free(spool, slot);
	return 0;
}

void spool_quarantine(struct spool *spool, uint16_t slot)
{
	struct segment *segment = spool_segment(spool, slot);

	if (segment->quarantined)
		return;
	segment->quarantined = true;
	if (segment->state == SEGMENT_FREE)
		spool->free_count--;
}

/* ---- Headers ---- */

static void write_header(struct spool *spool)
{
	struct header_job *job = &spool->header;
	struct segment *segment = spool_segment(spool, job->slot);
	bool front = job->second != segment->front_stale;
	int result = spool->disk->operations->write_durable(spool->disk, segment->file,
							    front ? 0 : segment_limit(segment),
							    job->block, SPOOL_BLOCK, &job->io);

	if (result != 0)
		spool_header_done(spool, result);
}

static void start_header(struct spool *spool, uint16_t slot, bool freeing)
{
	struct header_job *job = &spool->header;
	struct segment *segment = spool_segment(spool, slot);
	struct spool_segment_header header = {
		.magic = SPOOL_MAGIC_SEGMENT,
		.version = SPOOL_FORMAT_VERSION,
		.use = freeing ? SPOOL_USE_FREE : SPOOL_USE_ACTIVE,
		.generation = ++segment->generation,
		.size = segment->size,
		.node = spool->settings.node,
		.shard = spool->settings.shard,
		.start_number = spool->start_number,
	};

	do
		header.epoch = random_u64(spool->settings.random);
	while (header.epoch == 0 || header.epoch == segment->epoch);
	if (freeing) {
		segment->state = SEGMENT_FREEING;
	} else {
		spool->free_count--;
		spool->next = slot;
		header.sequence = ++spool->last_sequence;
		segment->state = SEGMENT_PREPARING;
		segment->sequence = header.sequence;
		segment->epoch = header.epoch;
	}
	memset(job->block, 0, SPOOL_BLOCK);
	memcpy(job->block, &header, sizeof(header));
	spool_segment_header_seal(job->block);
	job->slot = slot;
	job->freeing = freeing;
	job->second = false;
	write_header(spool);
}

/* Its header says that it is free: what others hold about it is superfluous. */
static void finish_freeing(struct spool *spool, uint16_t slot)
{
	spool_unpin(spool, slot, UINT32_MAX);
	memset(pins_of(spool, slot), 0, spool->pin_words * sizeof(*spool->pins));
	for (uint32_t i = 0; i < spool->segment_count; i++)
		if (spool->segments[i].witness_of == slot)
			spool->segments[i].witness_of = SPOOL_NO_SLOT;
	segment_set_free(spool, slot);
	spool->reclaim_due = true;
}

void spool_header_done(struct spool *spool, int64_t result)
{
	struct header_job *job = &spool->header;
	uint16_t slot = job->slot;
	struct segment *segment = spool_segment(spool, slot);

	if (result == SPOOL_BLOCK && !job->second) {
		job->second = true;
		write_header(spool);
		return;
	}
	job->slot = SPOOL_NO_SLOT;
	if (result == SPOOL_BLOCK) {
		segment->front_stale = false;
		if (job->freeing)
			finish_freeing(spool, slot);
		else
			segment->state = SEGMENT_READY;
		return;
	}
	spool->statistics.write_errors++;
	if (job->freeing) {
		/* Which header counts is not known: it stays, and so does what others hold about
		 * it. */
		segment->state = SEGMENT_LIVE;
	} else {
		spool->next = SPOOL_NO_SLOT;
		segment->state = SEGMENT_FREE;
		spool->free_count++;
	}
	spool_quarantine(spool, slot);
}

bool spool_advance(struct spool *spool)
{
	uint16_t slot = spool->next;
	struct segment *segment;

	if (slot == SPOOL_NO_SLOT || spool_segment(spool, slot)->state != SEGMENT_READY)
		return false;
	segment = spool_segment(spool, slot);
	assert(segment->live.count == 0 && segment->live_bytes == 0);
	segment->state = SEGMENT_LIVE;
	spool->current = slot;
	spool->next = SPOOL_NO_SLOT;
	return true;
}

/* ---- Reclaim ---- */

bool segment_is_dead(const struct spool *spool, uint16_t slot)
{
	const struct segment *segment = spool_segment(spool, slot);

	return segment->state == SEGMENT_LIVE && segment->sealed && !segment->quarantined &&
	       segment->live.count == 0 && segment->readers == 0 &&
	       (spool->flying == NULL || spool->flying->slot != slot);
}

bool segment_states_matter(const struct spool *spool, uint16_t slot)
{
	const struct segment *segment = spool_segment(spool, slot);

	if (!segment->has_states)
		return false;
	for (uint32_t i = 0; i < spool->segment_count; i++) {
		const struct segment *other = &spool->segments[i];

		if (other->state == SEGMENT_LIVE && other->sequence < segment->sequence &&
		    other->live.count > 0)
			return true;
	}
	return false;
}

static bool may_go(const struct spool *spool, uint16_t slot)
{
	const struct segment *segment = spool_segment(spool, slot);

	if (spool->cleaner.step != CLEAN_IDLE && spool->cleaner.slot == slot)
		return false;
	return segment_is_dead(spool, slot) && !segment->live_set_pending &&
	       segment->witness_of == SPOOL_NO_SLOT && !is_pinned(spool, slot) &&
	       !segment_states_matter(spool, slot) &&
	       (spool->note_number == 0 || segment->last_batch < spool->note_number);
}

static bool free_one(struct spool *spool)
{
	if (!spool->reclaim_due)
		return false;
	for (uint32_t slot = 0; slot < spool->segment_count; slot++)
		if (may_go(spool, (uint16_t)slot)) {
			start_header(spool, (uint16_t)slot, true);
			return true;
		}
	spool->reclaim_due = false;
	return false;
}

/* The one that was free longest first would be fair to the disk; the first is good enough. */
static bool prepare_one(struct spool *spool)
{
	if (spool->next != SPOOL_NO_SLOT || spool->free_count == 0)
		return false;
	for (uint32_t slot = 0; slot < spool->segment_count; slot++) {
		const struct segment *segment = &spool->segments[slot];

		if (segment->state == SEGMENT_FREE && !segment->quarantined) {
			start_header(spool, (uint16_t)slot, false);
			return true;
		}
	}
	return false;
}

/* ---- Creation ---- */

static bool create_one(struct spool *spool)
{
	int result;

	if (spool->creating || spool->free_count >= SPARE_SEGMENTS ||
	    spool->segment_count >= spool->settings.segments ||
	    spool->now.mono_us < spool->create_retry_us)
		return false;
	segment_file_name(spool->created_name, spool->name_next);
	result = spool->disk->operations->create_start(spool->disk, spool->created_name,
						       spool->settings.segment_size,
						       &spool->created, &spool->create_io);
	spool->creating = result == 0;
	/* Never again, whatever becomes of it: a name that is in use must not be made anew. */
	spool->name_next += result == 0;
	if (result != 0 && result != -EAGAIN)
		spool_create_done(spool, result);
	return true;
}

void spool_create_done(struct spool *spool, int64_t result)
{
	spool->creating = false;
	spool->create_failed = result < 0;
	if (result < 0) {
		spool->create_retry_us = spool->now.mono_us + CREATE_RETRY_US;
		return;
	}
	spool_add_segment(spool, spool->created, spool->settings.segment_size);
}

bool spool_housekeep(struct spool *spool)
{
	bool busy;

	if (spool->read_only)
		return false;
	busy = create_one(spool);
	if (spool->header.slot == SPOOL_NO_SLOT)
		busy |= prepare_one(spool) || free_one(spool);
	return busy;
}
