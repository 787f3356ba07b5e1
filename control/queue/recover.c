/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The index from the spool: messages, then what became of their recipients, in the order of the
 * log. What was recorded as ended is never attempted again (I3); what waits falls due at the same
 * wall-clock time as before, but never later than a full interval from now, should the clock have
 * been set (Y7 of the reliability notes).
 *
 * The ledger: the newest note has the sums of all messages up to its finish number; those that
 * finished after it are added from their records, those that live from the index. See record.h.
 */
#include "control/queue/shard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct recovery {
	struct queue_shard *shard;
	struct record_note note; /**< the newest */
	struct record_note
		*finished; /**< each the sums of one message, above the newest note seen */
	size_t finished_count, finished_capacity;
	uint64_t finish; /**< of the state record just read */
	struct message_id finish_id;
	int error;
	uint64_t bad_records;
};

static int64_t born_of(const struct queue_shard *shard, uint64_t created_us)
{
	if (created_us >= shard->now.wall_us)
		return (int64_t)shard->now.mono_us;
	return (int64_t)shard->now.mono_us - (int64_t)(shard->now.wall_us - created_us);
}

/** Messages that ended may be known as such only at the end of the log: while it is read there are
 * more than ever were at once. A full queue must be able to start again. */
static bool recover_room(struct queue_shard *shard, uint32_t recipients)
{
	return slab_make_room(&shard->index.messages, 1) == 0 &&
	       slab_make_room(&shard->index.recipients, recipients) == 0 &&
	       slab_make_room(&shard->domains, recipients) == 0;
}

/** Back to the size that was asked for; or, when more is queued than that, what is there and room
 * for notices about it. */
static void table_settle(struct slab *slab, uint32_t maximum)
{
	uint32_t reserve = slab->used / 20 + 1;

	if (slab->used <= maximum)
		slab->maximum = maximum;
	else if (slab_make_room(slab, reserve) == 0)
		slab->maximum = slab->used + reserve;
}

static void recover_message(void *context, const struct message_id *id, uint32_t flags,
			    const uint8_t *bytes, size_t size, uint64_t body_size,
			    const struct spool_location *location)
{
	struct recovery *recovery = context;
	struct queue_shard *shard = recovery->shard;
	struct envelope envelope;
	struct queue_message *message;
	uint32_t m = index_find(&shard->index, id);

	if (m) {
		index_message(&shard->index, m)->location = *location;
		return;
	}
	if (envelope_read(&envelope, NULL, bytes, size) < 0) {
		recovery->bad_records++;
		return;
	}
	m = 0;
	if (recover_room(shard, envelope.recipient_count))
		m = index_insert(&shard->index, id, flags, body_size, &envelope);
	envelope_release(&envelope);
	if (!m || message_name_domains(shard, m) < 0 || index_name(&shard->index, m) < 0) {
		recovery->error = -ENOSPC;
		return;
	}
	index_publish(&shard->index, m);
	message = index_message(&shard->index, m);
	message->location = *location;
	message->born_us = born_of(shard, message->created_us);
}

/** When to try again: monotonic. */
static uint64_t due_of(const struct queue_shard *shard, uint64_t wall_us)
{
	const struct queue_settings_view *view = shard->view;
	uint64_t longest =
		view->retry_max_us + view->retry_max_us / 100 * view->retry_jitter_percent;
	uint64_t wait;

	if (wall_us <= shard->now.wall_us)
		return shard->now.mono_us;
	wait = wall_us - shard->now.wall_us;
	return shard->now.mono_us + (wait < longest ? wait : longest);
}

static enum recipient_state final_state(uint8_t result)
{
	switch (result) {
	case RECORD_RESULT_DELIVERED:
		return RECIPIENT_DELIVERED;
	case RECORD_RESULT_BOUNCED:
		return RECIPIENT_BOUNCED;
	case RECORD_RESULT_EXPIRED:
		return RECIPIENT_EXPIRED;
	case RECORD_RESULT_REMOVED:
		return RECIPIENT_REMOVED;
	}
	return RECIPIENT_FREE;
}

static void recover_entry(struct queue_shard *shard, uint32_t r, const struct record_entry *entry,
			  uint64_t time_us)
{
	struct queue_recipient *recipient = index_recipient(&shard->index, r);
	enum recipient_state end = final_state(entry->result);

	if (recipient_is_final(recipient->state))
		return;
	recipient_detach(shard, r);
	recipient->attempts = entry->attempts;
	recipient->attempted_s = (uint32_t)(time_us / US_PER_S);
	recipient->phase = entry->phase;
	recipient->code = entry->code;
	recipient->class = entry->class;
	recipient->subject = entry->subject;
	recipient->detail = entry->detail;
	if (entry->flags & RECORD_FLAG_REMOTE)
		recipient->flags |= RECIPIENT_REMOTE;
	if (entry->flags & RECORD_FLAG_DELAYED)
		recipient->flags |= RECIPIENT_DELAY_TOLD;
	text_release(&shard->index.texts, recipient->reason);
	recipient->reason = text_acquire(&shard->index.texts, entry->text, entry->text_size);
	if (entry->attempts && !(recipient->flags & RECIPIENT_ATTEMPTED)) {
		recipient->flags |= RECIPIENT_ATTEMPTED;
		index_message(&shard->index, recipient->message)->unattempted--;
	}
	if (end != RECIPIENT_FREE) {
		index_set_state(&shard->index, r, end);
		domain_release(shard, recipient->domain);
		recipient->domain = 0;
	} else {
		recipient_wait(shard, r, due_of(shard, entry->due_us));
	}
}

static void recover_state(void *context, const struct message_id *id, const uint8_t *data,
			  size_t size)
{
	struct recovery *recovery = context;
	struct queue_shard *shard = recovery->shard;
	uint32_t m = index_find(&shard->index, id);
	struct record_reader reader;
	struct record_entry entry;
	uint32_t r;
	int more;

	if (!m)
		return;
	if (record_open(&reader, data, size) < 0) {
		recovery->bad_records++;
		return;
	}
	recovery->finish = reader.finish;
	recovery->finish_id = *id;
	r = index_message(&shard->index, m)->first;
	while ((more = record_next(&reader, &entry)) > 0) {
		/* Entries are in the order of the envelope; others cost a walk from its beginning.
		 */
		if (!r || index_recipient(&shard->index, r)->ordinal > entry.ordinal)
			r = index_message(&shard->index, m)->first;
		while (r && index_recipient(&shard->index, r)->ordinal != entry.ordinal)
			r = index_recipient(&shard->index, r)->next;
		if (r)
			recover_entry(shard, r, &entry, reader.time_us);
	}
	if (more < 0)
		recovery->bad_records++;
}

static void note_add_message(const struct queue_shard *shard, const struct queue_message *message,
			     struct record_note *note)
{
	if (message->flags & MESSAGE_GENERATED)
		note->generated += message->recipients;
	else
		note->accepted += message->recipients;
	for (uint32_t r = message->first; r;) {
		const struct queue_recipient *recipient = index_recipient(&shard->index, r);

		note->delivered += recipient->state == RECIPIENT_DELIVERED;
		note->bounced += recipient->state == RECIPIENT_BOUNCED;
		note->expired += recipient->state == RECIPIENT_EXPIRED;
		note->removed += recipient->state == RECIPIENT_REMOVED;
		r = recipient->next;
	}
}

static struct record_note *finished_add(struct recovery *recovery)
{
	size_t capacity = recovery->finished_capacity ? 2 * recovery->finished_capacity : 1024;
	struct record_note *grown;

	if (recovery->finished_count == recovery->finished_capacity) {
		grown = realloc(recovery->finished, capacity * sizeof(*grown));
		if (!grown) {
			recovery->error = -ENOMEM;
			return NULL;
		}
		recovery->finished = grown;
		recovery->finished_capacity = capacity;
	}
	return &recovery->finished[recovery->finished_count++];
}

static void recover_finished(void *context, const struct message_id *id)
{
	struct recovery *recovery = context;
	struct queue_shard *shard = recovery->shard;
	uint32_t m = index_find(&shard->index, id);
	struct record_note *sums;

	if (!m)
		return;
	if (!memcmp(&recovery->finish_id, id, sizeof(*id)) &&
	    recovery->finish > recovery->note.finish) {
		sums = finished_add(recovery);
		if (sums) {
			*sums = (struct record_note){.finish = recovery->finish};
			note_add_message(shard, index_message(&shard->index, m), sums);
		}
	}
	for (uint32_t r = index_message(&shard->index, m)->first; r;) {
		struct queue_recipient *recipient = index_recipient(&shard->index, r);

		recipient_detach(shard, r);
		domain_release(shard, recipient->domain);
		r = recipient->next;
	}
	index_remove(&shard->index, m);
}

static void recover_note(void *context, const uint8_t *data, size_t size)
{
	struct recovery *recovery = context;
	struct record_note note;

	if (record_note_read(&note, data, size) < 0)
		recovery->bad_records++;
	else if (note.finish >= recovery->note.finish)
		recovery->note = note;
}

static void note_sum(struct record_note *to, const struct record_note *more)
{
	to->accepted += more->accepted;
	to->generated += more->generated;
	to->delivered += more->delivered;
	to->bounced += more->bounced;
	to->expired += more->expired;
	to->removed += more->removed;
	if (more->finish > to->finish)
		to->finish = more->finish;
}

static void recover_ledger(struct recovery *recovery)
{
	struct queue_shard *shard = recovery->shard;
	const uint64_t covered = recovery->note.finish;
	struct record_note total = recovery->note;
	struct queue_ledger *ledger = &shard->ledger;

	for (size_t i = 0; i < recovery->finished_count; i++) {
		if (recovery->finished[i].finish > covered)
			note_sum(&total, &recovery->finished[i]);
	}
	shard->closed = total;
	shard->note_due = total.finish > covered;
	for (uint32_t r = 1; r < shard->index.recipients.fresh; r++) {
		const struct queue_recipient *recipient = index_recipient(&shard->index, r);

		ledger->queued +=
			recipient->state != RECIPIENT_FREE && !recipient_is_final(recipient->state);
	}
	for (uint32_t m = 1; m < shard->index.messages.fresh; m++) {
		if (index_message(&shard->index, m)->marks & MESSAGE_DURABLE)
			note_add_message(shard, index_message(&shard->index, m), &total);
	}
	ledger->accepted = total.accepted;
	ledger->generated = total.generated;
	ledger->delivered = total.delivered;
	ledger->bounced = total.bounced;
	ledger->expired = total.expired;
	ledger->removed = total.removed;
	ledger->discarded = total.discarded;
	ledger->quarantined = total.quarantined;
	ledger->possible_duplicates = total.possible_duplicates;
}

/** Put what was found on its way. */
static void recover_start(struct queue_shard *shard)
{
	for (uint32_t m = 1; m < shard->index.messages.fresh; m++) {
		struct queue_message *message = index_message(&shard->index, m);
		struct end_wait *wait;

		if (!(message->marks & MESSAGE_DURABLE))
			continue;
		if (message->live) {
			message_arm(shard, m);
			message_start(shard, m);
			continue;
		}
		/* Every recipient ended, and the last word was lost: say it again. */
		wait = end_wait_make(shard, m, 0);
		if (!wait)
			continue;
		records_cut(shard, 512);
		message_record(shard, wait, NULL, 0);
	}
}

/* ---- Snapshots, for the spool's reclaim ---- */

bool recipient_state_entry(const struct queue_shard *shard, uint32_t r, struct record_entry *entry)
{
	const struct queue_recipient *recipient = index_recipient(&shard->index, r);
	uint64_t due_us = shard->now.wall_us;

	if (!recipient->attempts && !recipient_is_final(recipient->state) &&
	    !(recipient->flags & RECIPIENT_DELAY_TOLD))
		return false;
	if (recipient->state == RECIPIENT_WAITING)
		due_us = wall_of(shard, schedule_due_us(&shard->index.due, r));
	recipient_entry(shard, r, due_us, entry);
	if (recipient_is_final(recipient->state))
		entry->result =
			(uint8_t)(RECORD_RESULT_DELIVERED + recipient->state - RECIPIENT_DELIVERED);
	return true;
}

static size_t snapshot(void *context, const struct message_id *id, void *to, size_t max)
{
	struct queue_shard *shard = context;
	uint32_t m = index_find(&shard->index, id);
	struct record_writer writer;
	uint64_t rest;

	if (!m || index_message(&shard->index, m)->marks & MESSAGE_FINISHED ||
	    max < RECORD_STATE_HEADER)
		return 0;
	record_begin(&writer, to, max, shard->now.wall_us, 0);
	rest = (uint64_t)index_message(&shard->index, m)->recipients * RECORD_ENTRY_FIXED;
	for (uint32_t r = index_message(&shard->index, m)->first; r;
	     r = index_recipient(&shard->index, r)->next) {
		struct record_entry entry;

		if (!recipient_state_entry(shard, r, &entry))
			continue;
		/* Texts are for people: they must leave room for what all others need. And copying
		 * is to make room, when that is short. */
		if (!spool_accepting(shard->spool) || writer.size > writer.capacity / 8 ||
		    writer.size + rest + RECORD_TEXT_MAX > writer.capacity)
			entry.text_size = 0;
		rest -= RECORD_ENTRY_FIXED;
		/* Half of a state would take the other half's place. */
		if (!record_put(&writer, &entry))
			return max + 1;
	}
	return writer.size;
}
_Static_assert(RECIPIENT_REMOVED - RECIPIENT_DELIVERED ==
		       RECORD_RESULT_REMOVED - RECORD_RESULT_DELIVERED,
	       "final states in the order of their records");

static size_t note_now(void *context, void *to, size_t max)
{
	struct queue_shard *shard = context;

	if (max < RECORD_NOTE_SIZE)
		return 0;
	shard->closed.possible_duplicates = shard->ledger.possible_duplicates;
	record_note_write(&shard->closed, to);
	return RECORD_NOTE_SIZE;
}

int shard_recover(struct queue_shard *shard, char *error)
{
	struct recovery recovery = {.shard = shard};
	const struct spool_recovery callbacks = {
		.context = &recovery,
		.message = recover_message,
		.state = recover_state,
		.finished = recover_finished,
		.note = recover_note,
	};

	const uint32_t messages_max = shard->index.messages.maximum;
	const uint32_t recipients_max = shard->index.recipients.maximum;
	const uint32_t domains_max = shard->domains.maximum;

	shard->spool = spool_open(&shard->settings.spool, &callbacks, &shard->now,
				  &shard->recovered, error);
	table_settle(&shard->index.messages, messages_max);
	table_settle(&shard->index.recipients, recipients_max);
	table_settle(&shard->domains, domains_max);
	if (!shard->spool) {
		free(recovery.finished);
		return -EIO;
	}
	if (recovery.error < 0) {
		free(recovery.finished);
		snprintf(error, 256, "the queue cannot be held in memory: %s",
			 strerror(-recovery.error));
		return recovery.error;
	}
	recover_ledger(&recovery);
	free(recovery.finished);
	spool_set_snapshots(shard->spool, snapshot, note_now, shard);
	records_begin(shard);
	recover_start(shard);
	records_end(shard);
	return 0;
}
