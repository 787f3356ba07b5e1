/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Recovery, lower half: the batches of one segment, one behind the other, and what it means when
 * one is not sound.
 *
 * One batch is in flight at a time, so only the newest one of the log can be torn. Hence:
 *   not sound, and nothing sound behind it, in the newest segment: the end; what was in it was
 * never acknowledged not sound, but a sound one behind it, or the next segment says that there was
 * one: corruption. Its records are salvaged one by one, the segment is quarantined, the damage is
 * counted a batch whose number occurs again at the start of the next segment: a write that failed
 * and was repeated there
 */
#include "control/queue/spool_recover.h"

#include <errno.h>
#include <string.h>

#define PIECE (1u << 20)

/* ---- Reading, with nothing else going on ---- */

/* @return bytes, or negative errno */
static int64_t read_now(struct recovery *recovery, struct disk_file *file, uint64_t offset,
			uint8_t *to, uint64_t size)
{
	struct disk *disk = recovery->spool->disk;
	struct disk_completion completion;
	int result = disk->operations->read(disk, file, offset, to, size, recovery);

	if (result != 0)
		return result;
	while (disk->operations->reap(disk, &completion, 1) == 0)
		disk->operations->wait(disk, 10 * US_PER_MS);
	return completion.result;
}

/* A sector that cannot be read must not take its neighbours with it: its zeros fail their checksum.
 */
static void read_blocks(struct recovery *recovery, struct disk_file *file, uint64_t offset,
			uint8_t *to, uint64_t size)
{
	for (uint64_t at = 0; at < size; at += SPOOL_BLOCK) {
		bool good = false;

		for (unsigned tries = 0; tries < 2 && !good; tries++)
			good = read_now(recovery, file, offset + at, to + at, SPOOL_BLOCK) ==
			       SPOOL_BLOCK;
		if (good)
			continue;
		memset(to + at, 0, SPOOL_BLOCK);
		recovery->spool->statistics.read_errors++;
	}
}

static void fill_window(struct recovery *recovery, struct disk_file *file)
{
	for (uint64_t at = 0; at < recovery->window_size; at += PIECE) {
		uint64_t left = recovery->window_size - at;
		uint64_t size = left < PIECE ? left : PIECE;
		uint64_t offset = recovery->window_at + at;

		if (read_now(recovery, file, offset, recovery->window + at, size) != (int64_t)size)
			read_blocks(recovery, file, offset, recovery->window + at, size);
		recovery->out->bytes_read += size;
	}
}

const uint8_t *scan_read(struct recovery *recovery, uint16_t slot, uint64_t offset, uint64_t size)
{
	struct segment *segment = spool_segment(recovery->spool, slot);
	bool near = recovery->window_slot == slot;

	if (offset + size > segment->size)
		return NULL;
	if (!near || offset < recovery->window_at ||
	    offset + size > recovery->window_at + recovery->window_size) {
		uint64_t most = near ? recovery->window_room : PIECE;

		if (most < size + SPOOL_BLOCK || most > recovery->window_room)
			most = recovery->window_room;
		recovery->window_slot = slot;
		recovery->window_at = offset & ~(uint64_t)(SPOOL_BLOCK - 1);
		recovery->window_size = segment->size - recovery->window_at;
		if (recovery->window_size > most)
			recovery->window_size = most;
		fill_window(recovery, segment->file);
	}
	return recovery->window + (offset - recovery->window_at);
}

/* ---- Judging ---- */

/* @return the batch at `offset` in *batch when its header and all its records are sound */
static enum spool_batch_verdict judge(struct recovery *recovery, uint16_t slot, uint64_t offset,
				      uint64_t number, const struct spool_batch_header **batch)
{
	const struct segment *segment = spool_segment(recovery->spool, slot);
	uint64_t room = segment_limit(segment) - offset;
	const uint8_t *at = scan_read(recovery, slot, offset, SPOOL_BLOCK);
	const struct spool_batch_header *header = (const struct spool_batch_header *)at;
	enum spool_batch_verdict verdict =
		spool_batch_header_check(header, segment->epoch, segment->sequence, number, room);
	uint32_t length;

	if (verdict != SPOOL_BATCH_VALID)
		return verdict;
	length = header->length;
	if (length > SPOOL_BATCH_MAX)
		return SPOOL_BATCH_DAMAGED;
	at = scan_read(recovery, slot, offset, length);
	if (!spool_batch_check(at))
		return SPOOL_BATCH_DAMAGED;
	*batch = (const struct spool_batch_header *)at;
	return SPOOL_BATCH_VALID;
}

/* @return where the next sound batch with a number above `above` begins; 0: there is none */
static uint64_t search(struct recovery *recovery, uint16_t slot, uint64_t offset, uint64_t above)
{
	uint64_t limit = segment_limit(spool_segment(recovery->spool, slot));
	const struct spool_batch_header *batch;

	for (; offset + SPOOL_BLOCK <= limit; offset += SPOOL_BLOCK)
		if (judge(recovery, slot, offset, 0, &batch) == SPOOL_BATCH_VALID &&
		    batch->number > above)
			return offset;
	return 0;
}

void scan_first(struct recovery *recovery, struct found_segment *found)
{
	const struct spool_batch_header *batch;
	uint64_t at = SPOOL_DATA_START;

	if (judge(recovery, found->slot, at, 0, &batch) != SPOOL_BATCH_VALID) {
		at = search(recovery, found->slot, at + SPOOL_BLOCK, 0);
		if (at == 0 || judge(recovery, found->slot, at, 0, &batch) != SPOOL_BATCH_VALID)
			return;
	}
	found->has_batches = true;
	found->first_at = at;
	found->first_number = batch->number;
	found->first_previous_segment = batch->previous_segment;
	found->first_previous_crc = batch->previous_crc;
	if (batch->start_number > recovery->spool->start_number)
		recovery->spool->start_number = batch->start_number;
}

/* ---- Salvage ---- */

static void salvage(struct recovery *recovery, struct found_segment *found, uint64_t from,
		    uint64_t to)
{
	uint64_t epoch = spool_segment(recovery->spool, found->slot)->epoch;
	uint64_t at = from;

	while (at + sizeof(struct spool_record) <= to) {
		uint64_t most = to - at < SPOOL_BATCH_MAX ? to - at : SPOOL_BATCH_MAX;
		const uint8_t *bytes = scan_read(recovery, found->slot, at, most);
		const struct spool_record *record = (const struct spool_record *)bytes;

		switch (spool_record_check(bytes, most, epoch, true)) {
		case SPOOL_RECORD_VALID:
			if (record->type != SPOOL_END && record->type != SPOOL_SEAL)
				recover_record(recovery, found, at, record, recovery->number);
			at += spool_record_bytes(record->size);
			break;
		case SPOOL_RECORD_DATA:
			at += spool_record_bytes(record->size);
			break;
		case SPOOL_RECORD_SHORT:
		case SPOOL_RECORD_DAMAGED:
			at += 8;
			break;
		}
	}
}

static void corrupt(struct recovery *recovery, struct found_segment *found, uint64_t from,
		    uint64_t to, uint64_t batches)
{
	salvage(recovery, found, from, to);
	recovery->out->corrupt_batches += batches > 0 ? (uint32_t)batches : 1;
	spool_quarantine(recovery->spool, found->slot);
}

/* ---- One segment ---- */

struct evidence {
	bool newest;	    /**< no sound batch in any later segment */
	uint16_t next;	    /**< slot of the next one with batches */
	bool adjoins;	    /**< the next segment's first batch follows this one's last */
	uint64_t void_from; /**< batches from this number on count in a later segment */
	uint32_t last_crc;
};

static struct evidence gather(const struct recovery *recovery, const struct found_segment *found)
{
	const struct segment *segment = spool_segment(recovery->spool, found->slot);
	const struct found_segment *end = recovery->found + recovery->found_count;
	struct evidence e = {.newest = true, .void_from = UINT64_MAX};

	for (const struct found_segment *next = found + 1; next < end; next++) {
		if (!next->has_batches)
			continue;
		e.newest = false;
		e.next = next->slot;
		if (next->first_at == SPOOL_DATA_START) {
			e.void_from = next->first_number;
			e.adjoins = next->first_previous_segment == segment->sequence;
			e.last_crc = next->first_previous_crc;
		}
		break;
	}
	return e;
}

static void take_batch(struct recovery *recovery, struct found_segment *found, uint64_t offset,
		       const struct spool_batch_header *batch)
{
	struct segment *segment = spool_segment(recovery->spool, found->slot);
	const uint8_t *start = (const uint8_t *)batch;
	const uint8_t *end = start + batch->length;

	for (const uint8_t *at = start + sizeof(*batch); at < end;) {
		const struct spool_record *record = (const struct spool_record *)at;

		recover_record(recovery, found, offset + (uint64_t)(at - start), record,
			       batch->number);
		at += spool_record_bytes(record->size);
	}
	recovery->number = batch->number;
	recovery->crc = batch->crc;
	recovery->sequence = segment->sequence;
	recovery->out->batches++;
	segment->last_batch = batch->number;
	segment->end = offset + batch->length;
}

/* Nothing sound follows `offset`: is this where the segment ended? */
static void judge_end(struct recovery *recovery, struct found_segment *found, uint64_t offset,
		      enum spool_batch_verdict verdict, const struct evidence *e)
{
	const struct segment *segment = spool_segment(recovery->spool, found->slot);
	uint64_t limit = segment_limit(segment);
	uint64_t to = limit - offset < SPOOL_BATCH_MAX ? limit : offset + SPOOL_BATCH_MAX;

	if (e->newest) {
		recovery->out->torn_tail |= verdict == SPOOL_BATCH_DAMAGED;
		return;
	}
	if (e->adjoins) {
		/* Either all is well (a failed write was repeated there), or batches are missing.
		 */
		if (e->void_from != segment->last_batch + 1 || e->last_crc != recovery->crc)
			corrupt(recovery, found, offset, to,
				e->void_from - 1 - segment->last_batch);
		spool_segment(recovery->spool, e->next)->witness_of = found->slot;
		return;
	}
	/* It was left after a write error, and who could tell more is gone. */
	if (verdict == SPOOL_BATCH_DAMAGED)
		corrupt(recovery, found, offset, to, 1);
	spool_quarantine(recovery->spool, found->slot);
}

void scan_empty(struct recovery *recovery, struct found_segment *found)
{
	const struct segment *segment = spool_segment(recovery->spool, found->slot);
	struct evidence e = gather(recovery, found);
	const struct spool_batch_header *batch;
	uint64_t limit = segment_limit(segment);
	uint64_t to = limit < SPOOL_BATCH_MAX ? limit : SPOOL_BATCH_MAX;
	bool damaged =
		judge(recovery, found->slot, SPOOL_DATA_START, 0, &batch) == SPOOL_BATCH_DAMAGED;

	if (e.newest) {
		recovery->out->torn_tail |= damaged;
		return;
	}
	/* The log goes on behind it without a gap: a write into it failed and was repeated there.
	 */
	if (e.void_from == recovery->number + 1 && e.last_crc == recovery->crc)
		spool_segment(recovery->spool, e.next)->witness_of = found->slot;
	else if (damaged || e.adjoins)
		corrupt(recovery, found, SPOOL_DATA_START, to, 1);
}

void scan_segment(struct recovery *recovery, struct found_segment *found)
{
	struct segment *segment = spool_segment(recovery->spool, found->slot);
	struct evidence e = gather(recovery, found);
	uint64_t offset = SPOOL_DATA_START;
	uint64_t limit = segment_limit(segment);
	bool known = false; /* the number and CRC that must follow */

	segment->last_batch = 0;
	recovery->sealed = false;
	while (offset + SPOOL_BLOCK <= limit && !recovery->sealed && recovery->error == 0) {
		const struct spool_batch_header *batch = NULL;
		uint64_t expected = known ? recovery->number + 1 : found->first_number;
		enum spool_batch_verdict verdict =
			judge(recovery, found->slot, offset, expected, &batch);
		uint64_t next;

		if (verdict == SPOOL_BATCH_VALID && batch->number >= e.void_from) {
			judge_end(recovery, found, offset, SPOOL_BATCH_NONE, &e);
			return;
		}
		if (verdict == SPOOL_BATCH_VALID &&
		    (!known ||
		     (batch->number == expected && batch->previous_crc == recovery->crc))) {
			take_batch(recovery, found, offset, batch);
			offset = segment->end;
			known = true;
			continue;
		}
		next = search(recovery, found->slot,
			      verdict == SPOOL_BATCH_VALID && batch->number >= expected
				      ? offset
				      : offset + SPOOL_BLOCK,
			      recovery->number);
		if (next == 0) {
			judge_end(recovery, found, offset, verdict, &e);
			return;
		}
		if (judge(recovery, found->slot, next, 0, &batch) != SPOOL_BATCH_VALID ||
		    batch == NULL) {
			recovery->error =
				-EIO; /* it was valid a moment ago: the disk is not sane */
			return;
		}
		if (batch->number >= e.void_from) {
			judge_end(recovery, found, offset, verdict, &e);
			return;
		}
		corrupt(recovery, found, offset, next,
			known ? batch->number - recovery->number - 1 : 1);
		offset = next;
		known = false;
	}
	if (recovery->sealed && e.adjoins &&
	    (e.void_from != segment->last_batch + 1 || e.last_crc != recovery->crc))
		corrupt(recovery, found, offset, offset, 1);
}
