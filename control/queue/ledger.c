/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The ledger: what was accepted and generated is queued or has ended, in recipients, at all times.
 * The sums live beside the index and are compared with an independent count of it; messages that
 * ended leave the index, so their sums are kept in notes of the spool. See record.h for how they
 * survive a cut at any place.
 *
 * Records of a turn go into groups that the spool commits in one batch each; a group in which a
 * message ended carries a note, so that no finish is ever forgotten by reclaim.
 */
#include "control/queue/shard.h"

#include <errno.h>

/** A group is closed before it could outgrow a batch (1 MiB). */
#define GROUP_MAX (384u * 1024)
/** Texts of one message's records, in bytes: they are for people, and the states of all its
 * recipients must fit into one batch (MESSAGE_RECIPIENTS_MAX). */
#define RECORD_TEXTS_MAX (96u * 1024)
/** The audit looks at each recipient: once a second for so many, seldom for more. */
#define AUDIT_PER_SECOND 100000u

void ledger_accept(struct queue_shard *shard, const struct queue_message *message)
{
	if (message->flags & MESSAGE_GENERATED)
		shard->ledger.generated += message->recipients;
	else
		shard->ledger.accepted += message->recipients;
	shard->ledger.queued += message->recipients;
}

static uint64_t *ledger_column(struct queue_ledger *ledger, enum recipient_state state)
{
	switch (state) {
	case RECIPIENT_DELIVERED:
		return &ledger->delivered;
	case RECIPIENT_BOUNCED:
		return &ledger->bounced;
	case RECIPIENT_EXPIRED:
		return &ledger->expired;
	default:
		return &ledger->removed;
	}
}

void ledger_end(struct queue_shard *shard, enum recipient_state state)
{
	shard->ledger.queued--;
	++*ledger_column(&shard->ledger, state);
}

uint64_t ledger_close(struct queue_shard *shard, uint32_t m)
{
	struct queue_message *message = index_message(&shard->index, m);
	struct record_note *closed = &shard->closed;

	if (message->flags & MESSAGE_GENERATED)
		closed->generated += message->recipients;
	else
		closed->accepted += message->recipients;
	for (uint32_t r = message->first; r;) {
		const struct queue_recipient *recipient = index_recipient(&shard->index, r);

		closed->delivered += recipient->state == RECIPIENT_DELIVERED;
		closed->bounced += recipient->state == RECIPIENT_BOUNCED;
		closed->expired += recipient->state == RECIPIENT_EXPIRED;
		closed->removed += recipient->state == RECIPIENT_REMOVED;
		r = recipient->next;
	}
	message->marks |= MESSAGE_FINISHED;
	shard->counters.messages_finished++;
	shard->note_due = true;
	return ++closed->finish;
}

void records_begin(struct queue_shard *shard)
{
	if (shard->group_depth++ == 0) {
		shard->group_bytes = 0;
		spool_group_begin(shard->spool);
	}
}

void records_end(struct queue_shard *shard)
{
	uint8_t data[RECORD_NOTE_SIZE];

	if (--shard->group_depth > 0)
		return;
	if (shard->note_due) {
		shard->closed.possible_duplicates = shard->ledger.possible_duplicates;
		record_note_write(&shard->closed, data);
		shard->note_due =
			spool_append_note(shard->spool, data, sizeof(data), NULL, NULL) < 0;
	}
	spool_group_end(shard->spool);
}

void records_account(struct queue_shard *shard, size_t bytes)
{
	shard->group_bytes += bytes;
}

void records_cut(struct queue_shard *shard, size_t bytes)
{
	if (shard->group_depth == 1 && shard->group_bytes &&
	    shard->group_bytes + bytes > GROUP_MAX) {
		records_end(shard);
		records_begin(shard);
	}
}

/** @return entries consumed; the record is in the shard's scratch memory */
static unsigned records_encode(struct queue_shard *shard, struct record_writer *writer,
			       const struct record_entry *entries, unsigned count, uint64_t finish,
			       size_t *texts)
{
	unsigned done = 0;

	record_begin(writer, shard->scratch, RECORD_SCRATCH, shard->now.wall_us, finish);
	for (; done < count; done++) {
		struct record_entry entry = entries[done];

		if (entry.text_size > *texts)
			entry.text_size = 0;
		if (!record_put(writer, &entry))
			break;
		*texts -= entry.text_size;
	}
	return done;
}

int records_append(struct queue_shard *shard, uint32_t m, const struct record_entry *entries,
		   unsigned count, uint64_t finish, spool_done done, void *user)
{
	struct queue_message *message = index_message(&shard->index, m);
	size_t texts = RECORD_TEXTS_MAX;
	int result = 0;

	while (count > 0 && result == 0) {
		struct record_writer writer;
		unsigned taken = records_encode(shard, &writer, entries, count, finish, &texts);
		bool last = taken == count && !finish;

		result = spool_append_state(shard->spool, &message->id, writer.data, writer.size,
					    last ? done : NULL, last ? user : NULL);
		records_account(shard, writer.size + 64);
		entries += taken;
		count -= taken;
	}
	if (result == 0 && finish) {
		result = spool_append_finished(shard->spool, &message->id, &message->location, done,
					       user);
		records_account(shard, 64);
	}
	if (result < 0) {
		shard->unrecorded++;
		shard->broken = shard->broken || result == -EROFS;
		/* Not even room for states: deliver nothing that could not be recorded. */
		if (result == -ENOSPC)
			shard->full_until_us = shard->now.mono_us + US_PER_S;
	}
	return result;
}

static int64_t ledger_drift(const struct queue_ledger *ledger, uint64_t queued)
{
	return (int64_t)(ledger->accepted + ledger->generated) -
	       (int64_t)(queued + ledger->delivered + ledger->bounced + ledger->expired +
			 ledger->removed + ledger->discarded + ledger->quarantined);
}

void ledger_audit(struct queue_shard *shard)
{
	uint64_t states[RECIPIENT_STATE_COUNT];
	uint64_t queued = 0;

	index_count(&shard->index, states);
	for (unsigned i = 0; i < RECIPIENT_DELIVERED; i++)
		queued += states[i];
	shard->ledger.drift = ledger_drift(&shard->ledger, queued);
	if (shard->ledger.drift)
		shard->audit_drifts++;
	shard->audit_at_us = shard->now.mono_us +
			     (1 + shard->index.recipients.used / AUDIT_PER_SECOND) * US_PER_S;
}

void queue_shard_ledger(const struct queue_shard *shard, struct queue_ledger *out)
{
	*out = shard->ledger;
	if (out->drift == 0)
		out->drift = ledger_drift(out, out->queued);
}
