/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Recovery, upper half: which files are segments and in which order, what their records mean, and
 * where the log goes on. It reads only: a crash during it changes nothing (I5).
 *
 * Memory: an id and a place for each message in the log, while it lasts.
 */
#include "control/queue/spool_recover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Which messages there are ---- */

static uint32_t hash_of(const struct message_id *id)
{
	uint64_t x = (id->origin ^ id->counter * UINT64_C(0x9e3779b97f4a7c15)) *
		     UINT64_C(0xbf58476d1ce4e5b9);

	return (uint32_t)(x >> 32);
}

static uint32_t *table_at(const struct recovery *recovery, const struct message_id *id)
{
	uint32_t mask = recovery->table_size - 1;
	uint32_t at = hash_of(id) & mask;

	while (recovery->table[at] != 0) {
		const struct known_message *known = &recovery->known[recovery->table[at] - 1];

		if (known->id.origin == id->origin && known->id.counter == id->counter)
			break;
		at = (at + 1) & mask;
	}
	return &recovery->table[at];
}

/* @return the message when it is there and not finished */
static struct known_message *find_known(struct recovery *recovery, const struct message_id *id)
{
	uint32_t at = recovery->table_size == 0 ? 0 : *table_at(recovery, id);

	return at == 0 || recovery->known[at - 1].handle == 0 ? NULL : &recovery->known[at - 1];
}

static bool grow_known(struct recovery *recovery)
{
	uint32_t room = recovery->known_room == 0 ? 256 : recovery->known_room * 2;
	struct known_message *larger = realloc(recovery->known, room * sizeof(*larger));
	uint32_t *table;

	if (larger == NULL)
		return false;
	recovery->known = larger;
	table = calloc((size_t)room * 2, sizeof(*table));
	if (table == NULL)
		return false;
	free(recovery->table);
	recovery->table = table;
	recovery->table_size = room * 2;
	recovery->known_room = room;
	for (uint32_t i = 0; i < recovery->known_count; i++)
		*table_at(recovery, &recovery->known[i].id) = i + 1;
	return true;
}

/* @return a new one, or the finished one of the same name; NULL when memory is short */
static struct known_message *add_known(struct recovery *recovery, const struct message_id *id)
{
	uint32_t *at;

	if (recovery->known_count == recovery->known_room && !grow_known(recovery))
		return NULL;
	at = table_at(recovery, id);
	if (*at == 0)
		*at = ++recovery->known_count;
	recovery->known[*at - 1] = (struct known_message){.id = *id};
	return &recovery->known[*at - 1];
}

/* ---- Where they lie ---- */

/* @return the index of the first one at `offset` or behind */
static uint32_t lower_bound(const struct found_segment *found, uint32_t offset)
{
	uint32_t low = 0, high = found->placed_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (found->placed[middle].offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool add_placed(struct found_segment *found, const struct placed_message *placed)
{
	uint32_t i;

	if (found->placed_count == found->placed_room) {
		uint32_t room = found->placed_room == 0 ? 64 : found->placed_room * 2;
		struct placed_message *larger = realloc(found->placed, room * sizeof(*larger));

		if (larger == NULL)
			return false;
		found->placed = larger;
		found->placed_room = room;
	}
	/* A big message commits after smaller ones that began later. */
	i = lower_bound(found, placed->offset);
	memmove(&found->placed[i + 1], &found->placed[i],
		(found->placed_count - i) * sizeof(*found->placed));
	found->placed[i] = *placed;
	found->placed_count++;
	return true;
}

static struct found_segment *find_segment(struct recovery *recovery, uint32_t sequence)
{
	uint32_t low = 0, high = recovery->found_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		struct found_segment *found = &recovery->found[middle];
		uint32_t here = spool_segment(recovery->spool, found->slot)->sequence;

		if (here == sequence)
			return found;
		if (here < sequence)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* ---- Records ---- */

static void free_open(struct open_message *open)
{
	free(open->envelope);
	free(open);
}

static void take_bytes(struct open_message *open, const uint8_t *data, uint64_t size)
{
	uint64_t total = open->envelope_size + open->body_size;

	if (size > total - open->got) {
		open->broken = true;
		return;
	}
	if (open->got < open->envelope_size) {
		uint64_t part = open->envelope_size - open->got;

		memcpy(open->envelope + open->got, data, size < part ? size : part);
	}
	open->got += size;
}

static void recover_begin(struct recovery *recovery, struct found_segment *found, uint64_t offset,
			  const uint8_t *data, uint32_t size)
{
	struct open_message *open;
	struct spool_begin begin;

	if (size < sizeof(begin))
		return;
	memcpy(&begin, data, sizeof(begin));
	/* No segment holds it: its COMMIT will find nothing. */
	if (begin.envelope_size > recovery->spool->settings.segment_size ||
	    begin.body_size > recovery->spool->settings.segment_size)
		return;
	open = calloc(1, sizeof(*open));
	if (open != NULL)
		open->envelope = malloc((size_t)begin.envelope_size + 1);
	if (open == NULL || open->envelope == NULL) {
		free(open);
		recovery->error = -ENOMEM;
		return;
	}
	open->begin = (uint32_t)(offset / 8);
	open->id = (struct message_id){.origin = begin.id.origin, .counter = begin.id.counter};
	open->flags = begin.flags;
	open->envelope_size = begin.envelope_size;
	open->body_size = begin.body_size;
	open->bytes = spool_record_bytes(size);
	take_bytes(open, data + sizeof(begin), size - sizeof(begin));
	open->next = found->open;
	found->open = open;
}

static struct open_message **find_open(struct found_segment *found, uint32_t begin)
{
	struct open_message **at = &found->open;

	while (*at != NULL && (*at)->begin != begin)
		at = &(*at)->next;
	return at;
}

static void recover_part(struct found_segment *found, const uint8_t *data, uint32_t size)
{
	struct open_message *open;
	struct spool_part part;

	if (size < sizeof(part))
		return;
	memcpy(&part, data, sizeof(part));
	open = *find_open(found, part.begin);
	if (open == NULL)
		return;
	open->bytes += spool_record_bytes(size);
	if (part.at != open->got)
		open->broken = true;
	else
		take_bytes(open, data + sizeof(part), size - sizeof(part));
}

static void report_message(struct recovery *recovery, const struct open_message *open,
			   uint32_t handle)
{
	struct spool_location location = {
		.handle = handle,
		.serial = spool_live(recovery->spool, handle)->serial,
		.size = open->bytes,
	};

	recovery->out->messages++;
	recovery->calls->message(recovery->calls->context, &open->id, open->flags, open->envelope,
				 open->envelope_size, open->body_size, &location);
}

/* What a copy says of its source keeps the segment of the copy while the source's is there. */
static void pin_source(struct recovery *recovery, uint16_t slot, uint32_t sequence)
{
	const struct found_segment *from = sequence == 0 ? NULL : find_segment(recovery, sequence);

	if (from != NULL)
		spool_pin(recovery->spool, slot, from->slot);
}

/*
 * A message is there, or there again: a copy takes the name of what is known under its id, wherever
 * that was. (Between the two there may have been a third, in a segment that is gone.)
 */
static int place_message(struct recovery *recovery, struct found_segment *found,
			 const struct open_message *open)
{
	struct spool *spool = recovery->spool;
	struct known_message *known = find_known(recovery, &open->id);
	struct placed_message placed = {.offset = open->begin};
	bool is_new = known == NULL;

	if (is_new) {
		known = add_known(recovery, &open->id);
		if (known == NULL)
			return -ENOMEM;
		known->handle = live_new(spool);
		if (known->handle == 0)
			return -ENOMEM;
	}
	live_unplace(spool, known->handle);
	known->found = (uint32_t)(found - recovery->found);
	known->offset = open->begin;
	known->limbo = false;
	placed.known = (uint32_t)(known - recovery->known);
	if (!add_placed(found, &placed))
		return -ENOMEM;
	live_place(spool, known->handle, found->slot, (uint64_t)open->begin * 8, open->bytes);
	if (is_new)
		report_message(recovery, open, known->handle);
	return 0;
}

static void recover_commit(struct recovery *recovery, struct found_segment *found,
			   const uint8_t *data, uint32_t size)
{
	struct open_message **at, *open;
	struct spool_commit commit;

	if (size < sizeof(commit))
		return;
	memcpy(&commit, data, sizeof(commit));
	at = find_open(found, commit.begin);
	open = *at;
	if (open == NULL || open->broken || open->got != open->envelope_size + open->body_size) {
		recovery->out->messages_damaged++;
		return;
	}
	*at = open->next;
	open->bytes += spool_record_bytes(size);
	pin_source(recovery, found->slot, commit.from_segment);
	recovery->error = place_message(recovery, found, open);
	free_open(open);
}

static void finish_known(struct recovery *recovery, struct known_message *known)
{
	live_free(recovery->spool, known->handle);
	known->handle = 0;
	recovery->calls->finished(recovery->calls->context, &known->id);
}

/* By its id: the place that it names may be a copy's in a segment that is gone, while an older one
 * is still there. */
static void recover_finished(struct recovery *recovery, const struct found_segment *holder,
			     const uint8_t *data, uint32_t size)
{
	struct known_message *known;
	struct spool_place place;
	struct message_id id;

	if (size < sizeof(place))
		return;
	memcpy(&place, data, sizeof(place));
	pin_source(recovery, holder->slot, place.segment);
	id = (struct message_id){.origin = place.id.origin, .counter = place.id.counter};
	known = find_known(recovery, &id);
	if (known != NULL)
		finish_known(recovery, known);
}

/* @return the message when it (still) lies where it was placed */
static struct known_message *known_at(struct recovery *recovery, const struct found_segment *found,
				      const struct placed_message *placed)
{
	struct known_message *known = &recovery->known[placed->known];

	if (known->handle == 0 || known->limbo || known->offset != placed->offset ||
	    &recovery->found[known->found] != found)
		return NULL;
	return known;
}

/*
 * What the set leaves out is finished, or lies in a copy further on: which, is known at the end of
 * the log.
 */
static void recover_live_set(struct recovery *recovery, const struct found_segment *holder,
			     const uint8_t *data, uint32_t size)
{
	const uint32_t *offsets = (const uint32_t *)(data + sizeof(struct spool_live_set));
	struct found_segment *found;
	struct spool_live_set set;
	uint32_t next = 0;

	if (size < sizeof(set))
		return;
	memcpy(&set, data, sizeof(set));
	found = find_segment(recovery, set.segment);
	if (found == NULL || size != sizeof(set) + (uint64_t)set.count * sizeof(*offsets))
		return;
	spool_pin(recovery->spool, holder->slot, found->slot);
	for (uint32_t i = lower_bound(found, set.from); i < found->placed_count; i++) {
		const struct placed_message *placed = &found->placed[i];
		struct known_message *known = known_at(recovery, found, placed);

		if (placed->offset >= set.to)
			break;
		while (next < set.count && offsets[next] < placed->offset)
			next++;
		if (known != NULL && (next == set.count || offsets[next] != placed->offset)) {
			known->limbo = true;
			live_unplace(recovery->spool, known->handle);
		}
	}
}

static void leave_limbo(struct recovery *recovery)
{
	for (uint32_t i = 0; i < recovery->known_count; i++)
		if (recovery->known[i].handle != 0 && recovery->known[i].limbo)
			finish_known(recovery, &recovery->known[i]);
}

static void recover_state(struct recovery *recovery, struct found_segment *found,
			  const uint8_t *data, uint32_t size)
{
	struct message_id id;
	struct spool_id stored;

	if (size < sizeof(stored))
		return;
	memcpy(&stored, data, sizeof(stored));
	id = (struct message_id){.origin = stored.origin, .counter = stored.counter};
	spool_segment(recovery->spool, found->slot)->has_states = true;
	recovery->calls->state(recovery->calls->context, &id, data + sizeof(stored),
			       size - sizeof(stored));
}

static void recover_start(struct recovery *recovery, const uint8_t *data, uint32_t size)
{
	struct spool_start start;

	if (size < sizeof(start))
		return;
	memcpy(&start, data, sizeof(start));
	if (start.start_number > recovery->spool->start_number)
		recovery->spool->start_number = start.start_number;
}

void recover_record(struct recovery *recovery, struct found_segment *found, uint64_t offset,
		    const struct spool_record *record, uint64_t batch_number)
{
	const uint8_t *data = (const uint8_t *)(record + 1);

	recovery->out->records++;
	if (record->type != SPOOL_END && record->type != SPOOL_SEAL)
		recovery->clean_stop = record->type == SPOOL_CLEAN_STOP;
	switch (record->type) {
	case SPOOL_BEGIN:
		recover_begin(recovery, found, offset, data, record->size);
		break;
	case SPOOL_PART:
		recover_part(found, data, record->size);
		break;
	case SPOOL_COMMIT:
		recover_commit(recovery, found, data, record->size);
		break;
	case SPOOL_STATE:
		recover_state(recovery, found, data, record->size);
		break;
	case SPOOL_FINISHED:
		recover_finished(recovery, found, data, record->size);
		break;
	case SPOOL_NOTE:
		recovery->spool->note_number = batch_number;
		recovery->calls->note(recovery->calls->context, data, record->size);
		break;
	case SPOOL_START:
		recover_start(recovery, data, record->size);
		break;
	case SPOOL_LIVE_SET:
		recover_live_set(recovery, found, data, record->size);
		break;
	case SPOOL_SEAL:
		recovery->sealed = true;
		break;
	default:
		/* END, CLEAN_STOP, and what a later version adds. */
		break;
	}
}

/* ---- Segments ---- */

/* Which of the two copies counts. */
static enum spool_header_verdict choose_header(enum spool_header_verdict first,
					       const struct spool_segment_header *a,
					       enum spool_header_verdict second,
					       const struct spool_segment_header *b,
					       struct spool_segment_header *out)
{
	if (first == SPOOL_HEADER_VERSION || second == SPOOL_HEADER_VERSION)
		return SPOOL_HEADER_VERSION;
	if (first == SPOOL_HEADER_VALID &&
	    (second != SPOOL_HEADER_VALID || a->generation >= b->generation)) {
		*out = *a;
		return SPOOL_HEADER_VALID;
	}
	if (second == SPOOL_HEADER_VALID) {
		*out = *b;
		return SPOOL_HEADER_VALID;
	}
	/* The first header ever was torn: nothing was in the file yet. */
	if (first == SPOOL_HEADER_BLANK || second == SPOOL_HEADER_BLANK)
		return SPOOL_HEADER_BLANK;
	return SPOOL_HEADER_DAMAGED;
}

/* Both headers are gone: its first batch may tell whose segment it was. */
static bool identify(struct recovery *recovery, uint16_t slot, struct spool_segment_header *header)
{
	const uint8_t *at = scan_read(recovery, slot, SPOOL_DATA_START, SPOOL_BLOCK);
	const struct spool_batch_header *batch = (const struct spool_batch_header *)at;
	uint64_t room = segment_limit(spool_segment(recovery->spool, slot)) - SPOOL_DATA_START;

	if (batch->magic != SPOOL_MAGIC_BATCH ||
	    spool_batch_header_check(batch, batch->epoch, batch->segment, 0, room) !=
		    SPOOL_BATCH_VALID)
		return false;
	*header = (struct spool_segment_header){.use = SPOOL_USE_ACTIVE,
						.epoch = batch->epoch,
						.sequence = batch->segment,
						.node = recovery->spool->settings.node,
						.shard = recovery->spool->settings.shard};
	return true;
}

static int check_owner(const struct spool *spool, const struct spool_segment_header *header,
		       char *error)
{
	if (header->node == spool->settings.node && header->shard == spool->settings.shard)
		return 0;
	snprintf(error, 256, "the spool belongs to node %u, shard %u; this is node %u, shard %u",
		 header->node, header->shard, spool->settings.node, spool->settings.shard);
	return -EINVAL;
}

static void add_found(struct recovery *recovery, uint16_t slot,
		      const struct spool_segment_header *header)
{
	struct spool *spool = recovery->spool;
	struct segment *segment = spool_segment(spool, slot);
	uint32_t i = recovery->found_count++;

	segment->epoch = header->epoch;
	segment->sequence = header->sequence;
	segment->state = SEGMENT_LIVE;
	segment->sealed = true;
	if (!segment->quarantined)
		spool->free_count--;
	if (header->sequence > spool->last_sequence)
		spool->last_sequence = header->sequence;
	while (i > 0 &&
	       spool_segment(spool, recovery->found[i - 1].slot)->sequence > header->sequence) {
		recovery->found[i] = recovery->found[i - 1];
		i--;
	}
	recovery->found[i] = (struct found_segment){.slot = slot};
}

static int take_header(struct recovery *recovery, uint16_t slot, char *error)
{
	struct spool *spool = recovery->spool;
	struct segment *segment = spool_segment(spool, slot);
	struct spool_segment_header a = {0}, b = {0}, header = {0};
	enum spool_header_verdict first, second, verdict;

	first = spool_segment_header_check(scan_read(recovery, slot, 0, SPOOL_BLOCK), &a);
	second = spool_segment_header_check(
		scan_read(recovery, slot, segment_limit(segment), SPOOL_BLOCK), &b);
	verdict = choose_header(first, &a, second, &b, &header);
	recovery->out->headers_damaged +=
		first == SPOOL_HEADER_DAMAGED || second == SPOOL_HEADER_DAMAGED;
	if (verdict == SPOOL_HEADER_VERSION) {
		snprintf(error, 256, "the spool was written by another version of the program");
		return -EPROTONOSUPPORT;
	}
	if (verdict == SPOOL_HEADER_BLANK)
		return 0;
	if (verdict == SPOOL_HEADER_DAMAGED) {
		spool_quarantine(spool, slot);
		if (!identify(recovery, slot, &header))
			return 0;
	}
	if (check_owner(spool, &header, error) != 0)
		return -EINVAL;
	segment->generation = header.generation;
	segment->front_stale = first != SPOOL_HEADER_VALID || a.generation != header.generation;
	if (header.start_number > spool->start_number)
		spool->start_number = header.start_number;
	if (header.use == SPOOL_USE_ACTIVE)
		add_found(recovery, slot, &header);
	return 0;
}

static int open_files(struct spool *spool, char *error)
{
	struct disk *disk = spool->disk;
	char **names;
	int count = disk->operations->list(disk, &names);
	int result = 0;

	if (count < 0) {
		snprintf(error, 256, "cannot list the spool: %s", strerror(-count));
		return count;
	}
	for (int i = 0; i < count; i++) {
		struct disk_file *file;
		uint64_t size = 0;
		unsigned number;
		char expected[16];

		if (result == 0 && sscanf(names[i], "seg-%u", &number) == 1) {
			segment_file_name(expected, number);
			if (strcmp(expected, names[i]) == 0)
				result = disk->operations->open(disk, names[i], &file, &size);
			if (result == 0 && size > 0) {
				if (spool->segment_count == 0)
					spool->settings.segment_size = size;
				if (size != spool->settings.segment_size ||
				    spool_add_segment(spool, file, size) != 0) {
					disk->operations->close(disk, file);
					result = -EINVAL;
				}
				if (number >= spool->name_next)
					spool->name_next = number + 1;
			}
			if (result != 0)
				snprintf(error, 256, "segment %s cannot be used: %s", names[i],
					 result == -EINVAL ? "another size, or too many"
							   : strerror(-result));
		}
		free(names[i]);
	}
	free(names);
	return result;
}

/* ---- The whole ---- */

static int flush_newest(struct recovery *recovery, char *error)
{
	struct disk *disk = recovery->spool->disk;

	/* What was read may still be in a cache above the platter: the log must not go on from
	 * there before it is not. */
	for (uint32_t i = recovery->found_count; i > 0 && i + 2 > recovery->found_count; i--) {
		uint16_t slot = recovery->found[i - 1].slot;
		int result =
			disk->operations->flush(disk, spool_segment(recovery->spool, slot)->file);

		if (result != 0) {
			snprintf(error, 256, "cannot flush the spool: %s", strerror(-result));
			return result;
		}
	}
	return 0;
}

/* The log goes on behind its last batch when there is room and no doubt. */
static void resume(struct recovery *recovery)
{
	struct spool *spool = recovery->spool;

	spool->number = spool->durable_number = recovery->number;
	spool->chain_crc = spool->durable_crc = recovery->crc;
	spool->chain_segment = spool->durable_segment = recovery->sequence;
	for (uint32_t i = recovery->found_count; i > 0; i--) {
		const struct found_segment *found = &recovery->found[i - 1];
		struct segment *segment = spool_segment(spool, found->slot);

		if (!found->has_batches)
			continue;
		if (!recovery->sealed && !segment->quarantined &&
		    segment->end + SPOOL_BLOCK <= segment_limit(segment)) {
			segment->sealed = false;
			spool->current = found->slot;
		}
		return;
	}
}

static void scan_all(struct recovery *recovery)
{
	for (uint32_t i = recovery->found_count; i > 0; i--)
		scan_first(recovery, &recovery->found[i - 1]);
	for (uint32_t i = 0; i < recovery->found_count && recovery->error == 0; i++) {
		struct found_segment *found = &recovery->found[i];
		struct open_message *open;

		if (found->has_batches)
			scan_segment(recovery, found);
		else
			scan_empty(recovery, found);
		recovery->out->segments += found->has_batches;
		while ((open = found->open) != NULL) {
			found->open = open->next;
			free_open(open);
		}
	}
}

int spool_recover(struct spool *spool, const struct spool_recovery *calls,
		  struct spool_recovered *out, char *error)
{
	struct recovery recovery = {.spool = spool, .calls = calls, .out = out};
	int result = open_files(spool, error);
	void *window;

	if (result != 0)
		return result;
	recovery.window_slot = SPOOL_NO_SLOT;
	recovery.found = calloc((size_t)spool->segment_count + 1, sizeof(*recovery.found));
	recovery.window_room = SCAN_WINDOW;
	if (recovery.window_room > spool->settings.segment_size)
		recovery.window_room = spool->settings.segment_size;
	if (recovery.found == NULL ||
	    posix_memalign(&window, DISK_ALIGN, recovery.window_room) != 0) {
		free(recovery.found);
		snprintf(error, 256, "out of memory");
		return -ENOMEM;
	}
	recovery.window = window;
	for (uint32_t slot = 0; slot < spool->segment_count && result == 0; slot++)
		result = take_header(&recovery, (uint16_t)slot, error);
	if (result == 0) {
		scan_all(&recovery);
		leave_limbo(&recovery);
		result = recovery.error;
		if (result != 0)
			snprintf(error, 256, "out of memory");
	}
	if (result == 0)
		result = flush_newest(&recovery, error);
	if (result == 0)
		resume(&recovery);
	out->clean_stop = recovery.clean_stop && !out->torn_tail;
	for (uint32_t i = 0; i < recovery.found_count; i++)
		free(recovery.found[i].placed);
	free(recovery.found);
	free(recovery.known);
	free(recovery.table);
	free(window);
	return result;
}
