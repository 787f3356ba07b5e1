/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Messages on their way into the queue: submissions of workers and notices made here go into the
 * spool, and when that is durable, into the index. The worker is answered exactly once. From then
 * on a message has one timer, whatever its recipients wait for: its delay notice and its expiry
 * come in time.
 */
#include "control/queue/shard.h"

#include "dataplane/envelope.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/** Messages whose deadline comes up in one turn. */
#define DEADLINES_MAX 1024u

static void commit_link(struct commit *commit)
{
	struct queue_shard *shard = commit->shard;

	commit->next = shard->commits;
	if (commit->next)
		commit->next->prev = commit;
	shard->commits = commit;
	shard->commit_count++;
}

void commit_free(struct commit *commit)
{
	struct queue_shard *shard = commit->shard;

	if (commit->prev)
		commit->prev->next = commit->next;
	else
		shard->commits = commit->next;
	if (commit->next)
		commit->next->prev = commit->prev;
	shard->commit_count--;
	envelope_release(&commit->envelope);
	free(commit);
}

void commits_free(struct queue_shard *shard)
{
	struct commit *commit = shard->commits, *next;

	shard->commits = NULL;
	for (; commit; commit = next) {
		next = commit->next;
		envelope_release(&commit->envelope);
		free(commit);
	}
}

static void answer(struct queue_shard *shard, uint16_t worker, const struct submission *submission,
		   enum commit_result result)
{
	const struct record record = {
		.kind = RECORD_COMMITTED,
		.committed = {.session = submission->session,
			      .session_generation = submission->session_generation,
			      .result = result,
			      .id = submission->id},
	};

	shard_send(shard, worker, &record);
	if (result != COMMIT_DONE)
		shard->counters.messages_refused++;
}

/** Give the worker its chunks back. The body goes only when it was not taken. */
static void submission_release(struct queue_shard *shard, struct submission *submission)
{
	struct chunk_list envelope = submission->envelope, body = submission->body;
	struct chunk *self = submission->self;

	chunks_go_home(shard, &envelope);
	chunks_go_home(shard, &body);
	if (self)
		chunk_goes_home(shard, self);
}

int message_name_domains(struct queue_shard *shard, uint32_t m)
{
	struct queue_message *message = index_message(&shard->index, m);

	for (uint32_t r = message->first; r;) {
		struct queue_recipient *recipient = index_recipient(&shard->index, r);

		recipient->domain = domain_of_address(shard, index_address(message, recipient));
		if (!recipient->domain)
			return -ENOMEM;
		r = recipient->next;
	}
	return 0;
}

/** Take a message out that was never durable. */
static void message_withdraw(struct queue_shard *shard, uint32_t m)
{
	for (uint32_t r = index_message(&shard->index, m)->first; r;) {
		struct queue_recipient *recipient = index_recipient(&shard->index, r);

		domain_release(shard, recipient->domain);
		r = recipient->next;
	}
	index_remove(&shard->index, m);
}

/**
 * All that a message needs in memory, before it goes into the spool: when it is durable, nothing
 * may fail any more.
 * @param m set @return 0; -ENOMEM: a table is full; -EEXIST: its id is in use
 */
static int message_prepare(struct queue_shard *shard, const struct message_id *id, uint32_t flags,
			   uint64_t size, const struct envelope *envelope, uint32_t *m)
{
	int result;

	*m = index_insert(&shard->index, id, flags, size, envelope);
	if (!*m)
		return -ENOMEM;
	result = index_name(&shard->index, *m);
	if (result == 0)
		result = message_name_domains(shard, *m);
	if (result < 0)
		message_withdraw(shard, *m);
	return result;
}

static enum commit_result result_of(int error)
{
	switch (error) {
	case 0:
		return COMMIT_DONE;
	case -ENOSPC:
	case -EFBIG:
		return COMMIT_NO_SPACE;
	case -EAGAIN:
	case -ENOMEM:
		return COMMIT_OVERLOAD;
	default:
		return COMMIT_IO_ERROR;
	}
}

static void commit_done(void *user, int result);

static int commit_start(struct queue_shard *shard, uint16_t worker, struct submission *submission)
{
	struct commit *commit = calloc(1, sizeof(*commit));
	struct queue_message *message;
	int result;

	if (!commit)
		return -ENOMEM;
	commit->shard = shard;
	commit_link(commit);
	commit->worker = worker;
	commit->submission = submission;
	commit->began_us = shard->now.mono_us;
	result = envelope_read(&commit->envelope, &submission->envelope, NULL, 0);
	if (result < 0)
		goto fail;
	if (commit->envelope.received_us == 0)
		commit->envelope.received_us = shard->now.wall_us;
	result = message_prepare(shard, &submission->id, submission->flags, submission->body.size,
				 &commit->envelope, &commit->message);
	if (result < 0)
		goto fail;
	message = index_message(&shard->index, commit->message);
	result = spool_append_message(shard->spool, &submission->id, submission->flags,
				      &submission->envelope, &submission->body, &message->location,
				      commit_done, commit);
	if (result == 0)
		return 0;
	message_withdraw(shard, commit->message);
fail:
	commit_free(commit);
	return result;
}

void commit_begin(struct queue_shard *shard, uint16_t worker, struct submission *submission)
{
	int result = -EIO;

	shard->progress = true;
	if (!shard->broken)
		result = commit_start(shard, worker, submission);
	if (result == 0)
		return;
	answer(shard, worker, submission, result_of(result));
	submission_release(shard, submission);
}

/** Durable: into the index and on its way. */
static void commit_publish(struct commit *commit)
{
	struct queue_shard *shard = commit->shard;
	uint32_t m = commit->message;
	struct queue_message *message = index_message(&shard->index, m);

	message->born_us = (int64_t)shard->now.mono_us;
	ledger_accept(shard, message);
	shard->counters.messages_committed++;
	commit->commit_us = shard->now.mono_us - commit->began_us;
	if (commit->submission) {
		answer(shard, commit->worker, commit->submission, COMMIT_DONE);
		commit->body = commit->submission->body;
		commit->submission->body = (struct chunk_list){0};
		submission_release(shard, commit->submission);
		commit->submission = NULL;
	} else {
		chunks_go_home(shard, &commit->encoded);
	}
	body_adopt(shard, m, &commit->body);
	message->references++;
	report_reception(shard, commit);
	message_arm(shard, m);
	message_start(shard, m);
	message->references--;
	message_release(shard, m);
}

static void commit_done(void *user, int result)
{
	struct commit *commit = user;
	struct queue_shard *shard = commit->shard;

	if (shard->closing)
		return;
	shard->progress = true;
	if (result == 0) {
		index_publish(&shard->index, commit->message);
		commit_publish(commit);
		return;
	}
	message_withdraw(shard, commit->message);
	if (commit->submission) {
		answer(shard, commit->worker, commit->submission, result_of(result));
		submission_release(shard, commit->submission);
	} else {
		chunks_go_home(shard, &commit->encoded);
		chunks_go_home(shard, &commit->body);
		shard->unrecorded++;
	}
	commit_free(commit);
}

/* ---- Notices made here ---- */

static int encode(struct queue_shard *shard, struct chunk_list *to, const struct envelope *envelope)
{
	struct chunk_pool *pool = shard->chunks;
	int result;

	result = envelope_put_u64(to, pool, ENVELOPE_RECEIVED_AT, envelope->received_us);
	if (result == 0)
		result = envelope_put_text(to, pool, ENVELOPE_MAIL_FROM, "");
	if (result == 0)
		result = envelope_put_u64(to, pool, ENVELOPE_HEADER_SIZE, envelope->header_size);
	if (result == 0)
		result = envelope_put_text(to, pool, ENVELOPE_TENANT, envelope->tenant);
	if (result == 0)
		result = envelope_put_text(to, pool, ENVELOPE_CAMPAIGN, envelope->campaign);
	if (result == 0)
		result = envelope_put_text(to, pool, ENVELOPE_POOL, envelope->pool);
	if (result == 0)
		result = envelope_put_text(to, pool, ENVELOPE_RECIPIENT,
					   envelope->recipients[0].address);
	return result;
}

/** The envelope of a notice about a message: from nobody, to its sender. Texts are the message's.
 */
static int notice_envelope(struct queue_shard *shard, uint32_t about, uint32_t header_size,
			   struct envelope *envelope)
{
	const struct queue_message *message = index_message(&shard->index, about);

	*envelope = (struct envelope){
		.received_us = shard->now.wall_us,
		.header_size = header_size,
		.mail_from = "",
		.tenant = index_class(&shard->index, message, CLASS_TENANT),
		.campaign = index_class(&shard->index, message, CLASS_CAMPAIGN),
		.pool = index_class(&shard->index, message, CLASS_POOL),
		.recipient_count = 1,
		.recipients = calloc(1, sizeof(struct envelope_recipient)),
	};
	if (!envelope->recipients)
		return -ENOMEM;
	envelope->recipients[0].address = index_sender(message);
	return 0;
}

int commit_generated(struct queue_shard *shard, uint32_t about, const struct message_id *id,
		     uint32_t flags, uint32_t header_size, struct chunk_list *body)
{
	struct commit *commit = calloc(1, sizeof(*commit));
	struct queue_message *message;
	int result = -ENOMEM;

	if (!commit)
		return result;
	commit->shard = shard;
	commit->began_us = shard->now.mono_us;
	commit->about = index_message(&shard->index, about)->id;
	commit_link(commit);
	if (notice_envelope(shard, about, header_size, &commit->envelope) < 0)
		goto fail;
	result = encode(shard, &commit->encoded, &commit->envelope);
	if (result < 0)
		goto fail;
	result = message_prepare(shard, id, flags, body->size, &commit->envelope, &commit->message);
	if (result < 0)
		goto fail;
	message = index_message(&shard->index, commit->message);
	commit->body = *body;
	result = spool_append_message(shard->spool, id, flags, &commit->encoded, &commit->body,
				      &message->location, commit_done, commit);
	if (result < 0) {
		message_withdraw(shard, commit->message);
		goto fail;
	}
	records_account(shard, commit->encoded.size + body->size + 256);
	*body = (struct chunk_list){0};
	return 0;
fail:
	chunks_go_home(shard, &commit->encoded);
	commit_free(commit);
	return result;
}

/* ---- A message's life ---- */

void message_start(struct queue_shard *shard, uint32_t m)
{
	uint32_t next;

	for (uint32_t r = index_message(&shard->index, m)->first; r; r = next) {
		const struct queue_recipient *recipient = index_recipient(&shard->index, r);

		next = recipient->next;
		if (recipient->state == RECIPIENT_COMMITTING)
			recipient_route(shard, r);
	}
}

void message_release(struct queue_shard *shard, uint32_t m)
{
	struct queue_message *message = index_message(&shard->index, m);

	if (message->references || message->live || !(message->marks & MESSAGE_FINISHED))
		return;
	body_settle(shard, m);
	/* A read that nobody waits for any more ends first. */
	if (message->body)
		return;
	index_remove(&shard->index, m);
}

uint64_t message_expiry(const struct queue_shard *shard, const struct queue_message *message)
{
	int64_t expiry = message->born_us + (int64_t)shard->view->expire_us;

	return expiry > 0 ? (uint64_t)expiry : 0;
}

/** When the sender is to be told of the delay; MR_NEVER: not at all. */
static uint64_t message_delay(const struct queue_shard *shard, const struct queue_message *message)
{
	int64_t at = message->born_us + (int64_t)shard->view->delay_notice_after_us;

	if (shard->view->delay_notice_after_us == 0 || index_sender(message)[0] == '\0')
		return MR_NEVER;
	for (uint32_t r = message->first; r;) {
		const struct queue_recipient *recipient = index_recipient(&shard->index, r);

		if (recipient->notify & DSN_NOTIFY_DELAY &&
		    !(recipient->flags & RECIPIENT_DELAY_TOLD) &&
		    !recipient_is_final(recipient->state))
			return at > 0 ? (uint64_t)at : 0;
		r = recipient->next;
	}
	return MR_NEVER;
}

void message_arm(struct queue_shard *shard, uint32_t m)
{
	struct queue_message *message = index_message(&shard->index, m);
	uint64_t due = message_expiry(shard, message);
	uint64_t delay = message_delay(shard, message);

	if (message->marks & MESSAGE_TIMED)
		schedule_remove(&shard->index.deadlines, m);
	message->marks &= (uint8_t)~MESSAGE_TIMED;
	if (message->marks & MESSAGE_PAST)
		return;
	if (delay > shard->now.mono_us && delay < due)
		due = delay;
	message->marks |= MESSAGE_TIMED;
	schedule_add(&shard->index.deadlines, m, due);
}

static void message_expire(struct queue_shard *shard, uint32_t m)
{
	struct queue_message *message = index_message(&shard->index, m);
	uint32_t next;

	message->marks |= MESSAGE_PAST;
	for (uint32_t r = message->first; r; r = next) {
		struct queue_recipient *recipient = index_recipient(&shard->index, r);
		const struct queue_domain *domain;

		next = recipient->next;
		if (recipient->state != RECIPIENT_ROUTING && recipient->state != RECIPIENT_READY &&
		    recipient->state != RECIPIENT_WAITING)
			continue;
		domain = domain_at(shard, recipient->domain);
		if (recipient->state == RECIPIENT_ROUTING && domain->reason)
			recipient_explain(shard, recipient, PHASE_ROUTE, 0, domain->enhanced, false,
					  "",
					  text_bytes(&shard->index.texts, domain->reason, NULL));
		recipient_detach(shard, r);
		recipient_fail(shard, r, true);
	}
}

void messages_run_deadlines(struct queue_shard *shard)
{
	uint32_t m;

	for (unsigned i = 0; i < DEADLINES_MAX; i++) {
		struct queue_message *message;

		m = schedule_pop(&shard->index.deadlines, shard->now.mono_us);
		if (!m)
			return;
		shard->progress = true;
		message = index_message(&shard->index, m);
		message->marks &= (uint8_t)~MESSAGE_TIMED;
		if (message->live == 0)
			continue;
		if (shard->now.mono_us >= message_expiry(shard, message)) {
			message_expire(shard, m);
			continue;
		}
		if (shard->now.mono_us >= message_delay(shard, message))
			job_request(shard, m, JOB_DELAY);
		message_arm(shard, m);
	}
}
