/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * When notices to senders are made (RFC 3461, 5.2 and 6; RFC 5321, 6.1). Recipients of a message
 * that fail within a moment of each other share one; a recipient stays FAILING until the notice and
 * the record of its end go into the spool in one group, so that neither is ever there without the
 * other. What asks for no notice (null reverse-path, NOTIFY=NEVER) is recorded alone. A notice has
 * the null reverse-path, so there is never one about a notice.
 */
#include "control/queue/dsn.h"
#include "control/queue/shard.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/** Failures of one message within this time share a notice. */
#define AGGREGATE_US US_PER_S
/** After something was short: memory, space in the spool. */
#define AGAIN_US (500 * US_PER_MS)
/** Jobs done in one turn. */
#define TURN_MAX 64u
/** What a notice may hold, so that it and its records fit in one batch. */
#define RETURN_MAX (256u * 1024)
/** Recipients in one notice; each takes up to 4 KiB of it. */
#define RECIPIENTS_MAX 100u
/** Records beside those that a notice tells of, in one group with it. */
#define ENDS_MAX 4096u

static struct job *job_at(const struct queue_shard *shard, uint32_t j)
{
	return slab_at(&shard->jobs, j);
}

static void job_push(struct queue_shard *shard, uint32_t j)
{
	slab_list_push(&shard->job_list, &shard->jobs, offsetof(struct job, link), j);
}

void job_request(struct queue_shard *shard, uint32_t m, uint8_t kinds)
{
	struct queue_message *message = index_message(&shard->index, m);
	uint32_t j = message->job ? message->job : slab_alloc(&shard->jobs);
	struct job *job;

	if (!j) {
		shard->jobs_missed = true;
		return;
	}
	job = job_at(shard, j);
	job->kinds |= kinds;
	if (message->job)
		return;
	job->message = m;
	job->due_us = shard->now.mono_us;
	message->job = j;
	message->references++;
	/* Held from now on while it is in memory, lest it be read back for the notice; but not a
	 * whole storm. */
	if (body_list(shard, m) && index_sender(message)[0] != '\0' &&
	    2 * shard->body_chunks * CHUNK_SIZE < shard->view->body_memory_bytes)
		job->has_body = body_hold(shard, m, NULL) == 1;
	if (message->recipients == 1) {
		slab_list_push_front(&shard->job_list, &shard->jobs, offsetof(struct job, link), j);
	} else {
		job->due_us += AGGREGATE_US;
		job_push(shard, j);
	}
}

void jobs_find_missed(struct queue_shard *shard)
{
	if (!shard->jobs_missed)
		return;
	shard->jobs_missed = false;
	for (uint32_t r = 1; r < shard->index.recipients.fresh; r++) {
		const struct queue_recipient *recipient = index_recipient(&shard->index, r);

		if (recipient->state == RECIPIENT_FAILING &&
		    !index_message(&shard->index, recipient->message)->job)
			job_request(shard, recipient->message, JOB_FAILURE);
	}
}

static void job_done(struct queue_shard *shard, uint32_t j)
{
	struct job job = *job_at(shard, j);
	struct queue_message *message = index_message(&shard->index, job.message);

	slab_free(&shard->jobs, j);
	message->job = 0;
	message->references--;
	if (job.has_body)
		body_release(shard, job.message);
	else
		body_settle(shard, job.message);
	message_release(shard, job.message);
}

/* ---- Whom to tell ---- */

static bool wants_failure(const struct queue_recipient *recipient)
{
	/* RFC 3461, 4.1: without NOTIFY the default is to tell of failure. */
	return recipient->notify == 0 || recipient->notify & DSN_NOTIFY_FAILURE;
}

static bool wants_delay(const struct queue_recipient *recipient)
{
	return recipient->notify & DSN_NOTIFY_DELAY && !(recipient->flags & RECIPIENT_DELAY_TOLD) &&
	       !recipient_is_final(recipient->state) && recipient->state != RECIPIENT_FAILING;
}

static bool is_told(const struct queue_recipient *recipient, enum dsn_action action)
{
	switch (action) {
	case DSN_FAILED:
		return recipient->state == RECIPIENT_FAILING && wants_failure(recipient);
	case DSN_DELAYED:
		return wants_delay(recipient);
	case DSN_RELAYED:
		return recipient->flags & RECIPIENT_RELAYED;
	}
	return false;
}

static unsigned count_told(const struct queue_shard *shard, const struct queue_message *message,
			   enum dsn_action action)
{
	unsigned count = 0;

	if (index_sender(message)[0] == '\0')
		return 0;
	for (uint32_t r = message->first; r; r = index_recipient(&shard->index, r)->next)
		count += is_told(index_recipient(&shard->index, r), action);
	return count;
}

static void tell(const struct queue_shard *shard, const struct queue_message *message,
		 const struct queue_recipient *from, enum dsn_action action,
		 struct dsn_recipient *to)
{
	const char *host;
	const char *reply = index_reason(&shard->index, from, &host);

	*to = (struct dsn_recipient){
		.address = index_address(message, from),
		.orcpt = index_orcpt(message, from),
		.action = action,
		.expired = action == DSN_FAILED && from->flags & RECIPIENT_EXPIRES,
		.status = {from->class, from->subject, from->detail},
		.code = from->code,
		.remote = from->flags & RECIPIENT_REMOTE,
		.host = host,
		.reply = reply,
		.attempted_us = from->attempted_s * US_PER_S,
		.retry_until_us = message->created_us + shard->view->expire_us,
	};
}

/** All, or the header alone (RFC 3461, 4.3 and 5.3). */
static bool returns_full(const struct queue_shard *shard, const struct queue_message *message,
			 enum dsn_action action)
{
	uint64_t max = shard->view->dsn_return_max;

	if (max > RETURN_MAX)
		max = RETURN_MAX;
	return action == DSN_FAILED && !(message->flags & MESSAGE_RET_HDRS) &&
	       message->body_size <= max;
}

/**
 * Make a notice of all that are to be told of the action, and append it in the caller's group.
 * @return 0, or negative errno: nothing was appended
 */
static int notice_make(struct queue_shard *shard, uint32_t m, enum dsn_action action,
		       unsigned count)
{
	struct queue_message *message = index_message(&shard->index, m);
	struct dsn_recipient *recipients;
	struct chunk_list body = {0};
	struct dsn_result result;
	unsigned used = 0;
	int error;

	if (count > RECIPIENTS_MAX)
		count = RECIPIENTS_MAX;
	recipients = calloc(count, sizeof(*recipients));
	if (!recipients)
		return -ENOMEM;
	for (uint32_t r = message->first; r && used < count;) {
		const struct queue_recipient *recipient = index_recipient(&shard->index, r);

		if (is_told(recipient, action))
			tell(shard, message, recipient, action, &recipients[used++]);
		r = recipient->next;
	}
	const struct dsn dsn = {
		.id = shard_next_id(shard),
		.about = message->id,
		.hostname = shard->view->hostname,
		.postmaster = shard->view->postmaster,
		.to = index_sender(message),
		.envid = index_envid(message),
		.arrived_us = message->created_us,
		.now_us = shard->now.wall_us,
		.flags = message->flags,
		.original = body_list(shard, m),
		.header_size = message->header_size,
		.full = returns_full(shard, message, action),
		.recipient_count = used,
		.recipients = recipients,
	};
	error = dsn_compose(&dsn, &body, shard->chunks, &result);
	free(recipients);
	if (error < 0)
		return error;
	error = commit_generated(shard, m, &dsn.id, result.flags, result.header_size, &body);
	if (error < 0)
		chunks_go_home(shard, &body);
	return error;
}

void notice_success(struct queue_shard *shard, uint32_t m)
{
	struct queue_message *message = index_message(&shard->index, m);
	unsigned count = count_told(shard, message, DSN_RELAYED);

	if (count == 0)
		shard->counters.dsn_suppressed++;
	else if (notice_make(shard, m, DSN_RELAYED, count) == 0)
		shard->counters.dsn_success++;
	for (uint32_t r = message->first; r; r = index_recipient(&shard->index, r)->next)
		index_recipient(&shard->index, r)->flags &= (uint8_t)~RECIPIENT_RELAYED;
}

/* ---- Jobs ---- */

static bool wants_body(const struct queue_shard *shard, const struct job *job)
{
	const struct queue_message *message = index_message(&shard->index, job->message);

	return (job->kinds & JOB_FAILURE && count_told(shard, message, DSN_FAILED)) ||
	       (job->kinds & JOB_DELAY && count_told(shard, message, DSN_DELAYED));
}

void job_body_failed(struct queue_shard *shard, uint32_t m)
{
	uint32_t j = index_message(&shard->index, m)->job;
	struct job *job;

	if (!j || !job_at(shard, j)->has_body)
		return;
	job = job_at(shard, j);
	job->has_body = false;
	job->body_lost = ++job->reads > 3;
}

/** @return 0 when the body is there or lost, -EAGAIN while it is being read */
static int job_body(struct queue_shard *shard, struct job *job)
{
	int held;

	if (!wants_body(shard, job) || job->body_lost)
		return 0;
	if (job->has_body)
		return body_list(shard, job->message) ? 0 : -EAGAIN;
	held = body_hold(shard, job->message, NULL);
	job->has_body = held >= 0;
	return held == 1 ? 0 : -EAGAIN;
}

static void message_recorded(void *user, int result)
{
	struct end_wait *wait = user;
	struct queue_shard *shard = wait->shard;

	if (result < 0)
		shard->unrecorded++;
	shard->progress = true;
	if (!shard->closing)
		report_ends(shard, wait);
}

struct end_wait *end_wait_make(struct queue_shard *shard, uint32_t m, unsigned capacity)
{
	struct end_wait *wait = calloc(1, sizeof(*wait) + capacity * sizeof(wait->ends[0]));

	if (!wait)
		return NULL;
	wait->shard = shard;
	wait->message = m;
	wait->next = shard->ends;
	if (wait->next)
		wait->next->prev = wait;
	shard->ends = wait;
	index_message(&shard->index, m)->references++;
	return wait;
}

void end_wait_add(struct end_wait *wait, uint32_t r, uint32_t attempt)
{
	wait->ends[wait->count++] = (struct recipient_final){r, attempt};
}

void end_wait_free(struct end_wait *wait)
{
	struct queue_shard *shard = wait->shard;
	uint32_t m = wait->message;

	for (uint32_t i = 0; i < wait->count; i++)
		attempt_release(shard, wait->ends[i].attempt);
	if (wait->prev)
		wait->prev->next = wait->next;
	else
		shard->ends = wait->next;
	if (wait->next)
		wait->next->prev = wait->prev;
	free(wait);
	index_message(&shard->index, m)->references--;
	message_release(shard, m);
}

void message_record(struct queue_shard *shard, struct end_wait *wait,
		    const struct record_entry *entries, unsigned count)
{
	int result;

	wait->recording.done = message_recorded;
	wait->recording.user = wait;
	result = records_append(shard, wait->message, entries, count, &wait->recording);
	if (result < 0)
		message_recorded(wait, result);
}

void recipient_remove(struct queue_shard *shard, uint32_t r)
{
	uint32_t m = index_recipient(&shard->index, r)->message;
	struct end_wait *wait = end_wait_make(shard, m, 1);
	struct record_entry entry;

	if (!wait)
		abort();
	records_begin(shard);
	recipient_end(shard, r, RECIPIENT_REMOVED, &entry);
	end_wait_add(wait, r, 0);
	message_record(shard, wait, &entry, 1);
	records_end(shard);
}

/**
 * The ends of one message's recipients, and that a delay was told.
 * @param told failures that the notice told of; others that want to be told stay for the next one
 * @return entries
 */
static unsigned job_entries(struct queue_shard *shard, const struct job *job, unsigned told,
			    bool delay_told, struct record_entry *entries, struct end_wait *wait)
{
	const struct queue_message *message = index_message(&shard->index, job->message);
	bool tells = index_sender(message)[0] != '\0';
	unsigned count = 0;
	uint32_t next;

	for (uint32_t r = message->first; r; r = next) {
		struct queue_recipient *recipient = index_recipient(&shard->index, r);

		next = recipient->next;
		if (job->kinds & JOB_FAILURE && recipient->state == RECIPIENT_FAILING) {
			bool wants = tells && wants_failure(recipient);

			if (wants && told-- == 0)
				break;
			/* The rest in the next turn: all must fit in one batch. */
			if (!wants && count >= ENDS_MAX)
				continue;
			recipient_end(shard, r,
				      recipient->flags & RECIPIENT_EXPIRES ? RECIPIENT_EXPIRED
									   : RECIPIENT_BOUNCED,
				      &entries[count++]);
			end_wait_add(wait, r, recipient->attempt);
			recipient->attempt = 0;
		} else if (delay_told && wants_delay(recipient)) {
			uint64_t due_us = shard->now.wall_us;

			if (recipient->state == RECIPIENT_WAITING)
				due_us = wall_of(shard, schedule_due_us(&shard->index.due, r));
			recipient->flags |= RECIPIENT_DELAY_TOLD;
			/* What is not recorded is told again after a restart. */
			if (count >= ENDS_MAX)
				continue;
			recipient_entry(shard, r, due_us, &entries[count++]);
		}
	}
	return count;
}

/** Make the job's notices and record what they tell, in one group. @return 0, or negative errno:
 * later */
static int job_commit(struct queue_shard *shard, struct job *job, struct record_entry *entries,
		      struct end_wait *wait)
{
	struct queue_message *message = index_message(&shard->index, job->message);
	unsigned failed = job->kinds & JOB_FAILURE ? count_told(shard, message, DSN_FAILED) : 0;
	unsigned delayed = job->kinds & JOB_DELAY ? count_told(shard, message, DSN_DELAYED) : 0;
	unsigned count;

	if (failed > RECIPIENTS_MAX)
		failed = RECIPIENTS_MAX;
	/* Not the notice without the record: a restart would send it again. */
	if (shard->unwritten.head ||
	    !spool_takes_records(shard->spool, records_bytes(message->recipients), false))
		return -ENOSPC;
	if (failed) {
		int result = notice_make(shard, job->message, DSN_FAILED, failed);

		if (result < 0)
			return result;
		shard->counters.dsn_failure++;
	} else if (job->kinds & JOB_FAILURE) {
		shard->counters.dsn_suppressed++;
	}
	if (delayed) {
		delayed = notice_make(shard, job->message, DSN_DELAYED, delayed) == 0;
		shard->counters.dsn_delay += delayed;
	}
	count = job_entries(shard, job, failed, delayed, entries, wait);
	if (count)
		message_record(shard, wait, entries, count);
	else
		end_wait_free(wait);
	return 0;
}

/** @return 0, or negative errno: later */
static int job_run(struct queue_shard *shard, uint32_t j)
{
	struct job *job = job_at(shard, j);
	struct queue_message *message = index_message(&shard->index, job->message);
	struct record_entry *entries;
	struct end_wait *wait;
	int result = job_body(shard, job);

	if (result < 0)
		return result;
	entries = calloc(message->recipients, sizeof(*entries));
	wait = entries ? end_wait_make(shard, job->message, message->recipients) : NULL;
	result = -ENOMEM;
	if (wait) {
		records_begin(shard);
		result = job_commit(shard, job, entries, wait);
		records_end(shard);
		if (result < 0)
			end_wait_free(wait);
	}
	free(entries);
	return result;
}

static bool has_failing(const struct queue_shard *shard, const struct queue_message *message)
{
	for (uint32_t r = message->first; r; r = index_recipient(&shard->index, r)->next) {
		if (index_recipient(&shard->index, r)->state == RECIPIENT_FAILING)
			return true;
	}
	return false;
}

void jobs_turn(struct queue_shard *shard)
{
	uint32_t left = shard->job_list.count < TURN_MAX ? shard->job_list.count : TURN_MAX;

	if (shard->broken)
		return;
	while (left-- > 0 && shard->job_list.head) {
		uint32_t j = shard->job_list.head;
		struct job *job = job_at(shard, j);
		int result;

		if (job->due_us > shard->now.mono_us)
			return;
		slab_list_pop(&shard->job_list, &shard->jobs, offsetof(struct job, link));
		result = job_run(shard, j);
		if (result == 0 &&
		    !has_failing(shard, index_message(&shard->index, job->message))) {
			shard->progress = true;
			job_done(shard, j);
			continue;
		}
		job->due_us = shard->now.mono_us;
		if (result < 0)
			job->due_us += job->has_body ? US_PER_MS : AGAIN_US;
		job_push(shard, j);
	}
}

uint64_t jobs_next(const struct queue_shard *shard)
{
	if (!shard->job_list.head || shard->broken)
		return MR_NEVER;
	return job_at(shard, shard->job_list.head)->due_us;
}
