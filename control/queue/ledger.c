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
/** What a record takes beside its entries: its header, the message's id, the group's note. */
#define RECORD_OVERHEAD 192u
/** After the spool had no room. */
#define FULL_WAIT_US (50 * US_PER_MS)
/** Kept records appended in one turn. */
#define UNWRITTEN_TURN_MAX 256u

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

uint64_t records_bytes(unsigned count)
{
	unsigned records = 1 + (unsigned)((uint64_t)count * RECORD_ENTRY_FIXED / RECORD_SCRATCH);

	return (uint64_t)count * RECORD_ENTRY_FIXED + (records + 1) * RECORD_OVERHEAD;
}

static bool message_ends(const struct queue_message *message)
{
	return message->live == 0 && !(message->marks & MESSAGE_FINISHED);
}

/** The number that the message's finish will have. */
static uint64_t next_finish(const struct queue_shard *shard, const struct queue_message *message)
{
	return message_ends(message) ? shard->closed.finish + 1 : 0;
}

/** The message's last word, when it has none; who waits for the whole is told after this. */
static int append_finished(struct queue_shard *shard, uint32_t m, struct recording *recording)
{
	struct queue_message *message = index_message(&shard->index, m);
	int result = spool_append_finished(shard->spool, &message->id, &message->location,
					   recording->done, recording->user);

	if (result < 0)
		return result;
	records_account(shard, RECORD_OVERHEAD);
	ledger_close(shard, m);
	return 0;
}

static int append_state(struct queue_shard *shard, uint32_t m, const struct record_writer *writer,
			const struct recording *last)
{
	int result = spool_append_state(shard->spool, &index_message(&shard->index, m)->id,
					writer->data, writer->size, last ? last->done : NULL,
					last ? last->user : NULL);

	if (result == 0)
		records_account(shard, writer->size + RECORD_OVERHEAD);
	return result;
}

static int append_entries(struct queue_shard *shard, uint32_t m, const struct record_entry *entries,
			  unsigned count, size_t texts, struct recording *recording)
{
	const struct queue_message *message = index_message(&shard->index, m);
	uint64_t finish = next_finish(shard, message);

	while (count > 0) {
		struct record_writer writer;
		unsigned taken = records_encode(shard, &writer, entries, count, finish, &texts);
		int result = append_state(shard, m, &writer,
					  taken == count && !finish ? recording : NULL);

		if (result < 0)
			return result;
		entries += taken;
		count -= taken;
	}
	return finish ? append_finished(shard, m, recording) : 0;
}

/** All that is known of the message's recipients, without texts, from the index itself: it takes no
 * memory. */
static int append_all(struct queue_shard *shard, uint32_t m, struct recording *recording)
{
	const struct queue_message *message = index_message(&shard->index, m);
	uint64_t finish = next_finish(shard, message);
	struct record_writer writer;
	int result;

	record_begin(&writer, shard->scratch, RECORD_SCRATCH, shard->now.wall_us, finish);
	for (uint32_t r = message->first; r; r = index_recipient(&shard->index, r)->next) {
		struct record_entry entry;

		if (!recipient_state_entry(shard, r, &entry))
			continue;
		entry.text_size = 0;
		if (record_put(&writer, &entry))
			continue;
		result = append_state(shard, m, &writer, NULL);
		if (result < 0)
			return result;
		record_begin(&writer, shard->scratch, RECORD_SCRATCH, shard->now.wall_us, finish);
		record_put(&writer, &entry);
	}
	result = append_state(shard, m, &writer, finish ? NULL : recording);
	if (result == 0 && finish)
		result = append_finished(shard, m, recording);
	return result;
}

static bool is_shortage(int result)
{
	return result == -ENOSPC || result == -ENOMEM;
}

static void keep(struct queue_shard *shard, struct recording *recording)
{
	recording->next = NULL;
	if (shard->unwritten.tail)
		shard->unwritten.tail->next = recording;
	else
		shard->unwritten.head = recording;
	shard->unwritten.tail = recording;
	shard->unwritten.count++;
	/* Deliver nothing that could not be recorded. */
	shard->full_until_us = shard->now.mono_us + FULL_WAIT_US;
}

static size_t texts_of(const struct record_entry *entries, unsigned count)
{
	size_t size = 0;

	for (unsigned i = 0; i < count && size < RECORD_TEXTS_MAX; i++)
		size += entries[i].text_size;
	return size < RECORD_TEXTS_MAX ? size : RECORD_TEXTS_MAX;
}

int records_append(struct queue_shard *shard, uint32_t m, const struct record_entry *entries,
		   unsigned count, struct recording *recording)
{
	const bool ends = message_ends(index_message(&shard->index, m));
	const uint64_t bytes = records_bytes(count);
	size_t texts = entries ? texts_of(entries, count) : 0;
	int result = -ENOMEM;

	recording->message = m;
	/* Texts are for people: without them there may be room. */
	if (!spool_takes_records(shard->spool, bytes + texts, ends))
		texts = 0;
	if (!spool_takes_records(shard->spool, bytes, ends))
		result = -ENOSPC;
	else if (entries && !shard->unwritten.head)
		result = append_entries(shard, m, entries, count, texts, recording);
	if (is_shortage(result) && !shard->broken) {
		keep(shard, recording);
		return 0;
	}
	shard->broken |= result < 0;
	return result;
}

/** @return 0, or negative errno */
static int append_kept(struct queue_shard *shard, struct recording *recording)
{
	const uint32_t m = recording->message;
	const struct queue_message *message = index_message(&shard->index, m);
	int result;

	if (shard->broken)
		return -EROFS;
	if (!spool_takes_records(shard->spool, records_bytes(message->recipients),
				 message_ends(message)))
		return -ENOSPC;
	records_begin(shard);
	result = append_all(shard, m, recording);
	records_end(shard);
	return result;
}

void records_turn(struct queue_shard *shard)
{
	uint32_t left = shard->unwritten.count;

	if (left > UNWRITTEN_TURN_MAX)
		left = UNWRITTEN_TURN_MAX;
	/* Each is the message's whole state, so their order does not matter; and what ends messages
	 * goes where nothing else does. */
	while (left-- > 0 && shard->unwritten.head != NULL) {
		struct recording *recording = shard->unwritten.head;
		int result = append_kept(shard, recording);

		shard->unwritten.head = recording->next;
		if (!recording->next)
			shard->unwritten.tail = NULL;
		shard->unwritten.count--;
		if (is_shortage(result)) {
			keep(shard, recording);
			continue;
		}
		shard->progress = true;
		shard->broken |= result < 0;
		if (result < 0)
			recording->done(recording->user, result);
	}
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
