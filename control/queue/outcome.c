/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What came back from a worker: each recipient's result becomes a state record; what is deferred
 * waits for its next attempt (RFC 5321, 4.5.4.1), what failed is told to its sender, and a message
 * whose last recipient ended is finished.
 *
 * Not every failure is the message's. What fails before any recipient was spoken of holds the path
 * back as a whole; a connection refused while others of the path work means that the site allows no
 * more of them; and what a worker could not begin was no attempt.
 */
#include "control/queue/shard.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/** How long a limit on connections that the site imposed is respected before one more is tried. */
#define CAP_US (60 * US_PER_S)
/** After a delivery that no worker could begin, and after the next ones in a row. */
#define UNTRIED_WAIT_US	    (20 * US_PER_MS)
#define UNTRIED_WAIT_MAX_US (5 * US_PER_S)

/** Transactions put off as a whole, in a row, before the path is held back. */
#define REFUSALS_MAX 5u

enum verdict {
	VERDICT_RECIPIENTS, /**< each recipient's own */
	VERDICT_ROUTE,	    /**< the route failed */
	VERDICT_REFUSED,    /**< the site puts us off, not the recipients */
	VERDICT_CROWDED,    /**< one connection too many */
	VERDICT_UNTRIED,    /**< was not begun */
};

uint64_t wall_of(const struct queue_shard *shard, uint64_t mono_us)
{
	return shard->now.wall_us + mono_us - shard->now.mono_us;
}

void recipient_explain(struct queue_shard *shard, struct queue_recipient *recipient,
		       enum smtp_phase phase, uint16_t code, struct enhanced_code enhanced,
		       bool remote, const char *host, const char *reply)
{
	recipient->phase = (uint8_t)phase;
	recipient->code = code;
	recipient->class = enhanced.class;
	recipient->subject = enhanced.subject;
	recipient->detail = enhanced.detail;
	recipient->flags &= (uint8_t)~RECIPIENT_REMOTE;
	if (remote)
		recipient->flags |= RECIPIENT_REMOTE;
	index_set_reason(&shard->index, recipient, host, reply);
}

void recipient_wait(struct queue_shard *shard, uint32_t r, uint64_t due_us)
{
	index_set_state(&shard->index, r, RECIPIENT_WAITING);
	schedule_add(&shard->index.due, r, due_us);
}

void recipient_fail(struct queue_shard *shard, uint32_t r, bool expired)
{
	struct queue_recipient *recipient = index_recipient(&shard->index, r);

	index_set_state(&shard->index, r, RECIPIENT_FAILING);
	recipient->attempt = 0;
	if (expired)
		recipient->flags |= RECIPIENT_EXPIRES;
	job_request(shard, recipient->message, JOB_FAILURE);
}

static bool all_deferred(const struct delivery *delivery)
{
	for (uint32_t i = 0; i < delivery->recipient_count; i++) {
		if (delivery->recipients[i].outcome == OUTCOME_DELIVERED ||
		    delivery->recipients[i].outcome == OUTCOME_BOUNCED)
			return false;
	}
	return true;
}

static enum verdict judge(const struct queue_path *path, const struct delivery *delivery)
{
	const struct delivery_recipient *first = &delivery->recipients[0];

	if (!all_deferred(delivery))
		return VERDICT_RECIPIENTS;
	if (delivery->hosts_tried == 0 && !delivery->host && first->code == 0 &&
	    (first->outcome == OUTCOME_NONE || first->phase == PHASE_ROUTE))
		return VERDICT_UNTRIED;
	/* A refusal of the recipient alone (greylisting, a full mailbox) says nothing of others. */
	if (first->phase > PHASE_MAIL)
		return first->code == 421 ? VERDICT_REFUSED : VERDICT_RECIPIENTS;
	if (first->phase == PHASE_MAIL && first->code)
		return VERDICT_REFUSED;
	/* Others of the path are open: it works, but takes no more (RFC 5321, 3.8). */
	if (path->slots > 0 && path->proven && path->failures == 0 && first->phase <= PHASE_EHLO)
		return VERDICT_CROWDED;
	return VERDICT_ROUTE;
}

/** The transaction went to some, and the peer takes the rest in the next one (RFC
 * 5321, 4.5.3.1.10). */
static bool is_overflow(const struct delivery *delivery, const struct delivery_recipient *recipient)
{
	return recipient->outcome == OUTCOME_DEFERRED && recipient->code == 452 &&
	       recipient->phase == PHASE_RCPT && !all_deferred(delivery) &&
	       (recipient->enhanced.class == 0 ||
		(recipient->enhanced.subject == 5 && recipient->enhanced.detail == 3));
}

/** What lacks (memory, ports) comes back when others are done: ask less and less often. */
static void path_rest(struct queue_shard *shard, uint32_t p)
{
	struct queue_path *path = path_at(shard, p);

	/* What was under way when the first one came back tells nothing new. */
	if (path->rest_until_us > shard->now.mono_us)
		return;
	path->rest_us = path->rest_us ? 2 * path->rest_us : UNTRIED_WAIT_US;
	if (path->rest_us > UNTRIED_WAIT_MAX_US)
		path->rest_us = UNTRIED_WAIT_MAX_US;
	path->rest_until_us = shard->now.mono_us + path->rest_us;
}

static void path_account(struct queue_shard *shard, struct loan *loan, enum verdict verdict)
{
	struct queue_path *path = path_at(shard, loan->path);
	const struct delivery *delivery = &loan->delivery;
	const struct delivery_recipient *first = &delivery->recipients[0];

	if (delivery->measure.congestion) {
		path->measure = delivery->measure;
		path->segments += delivery->measure.segments;
		path->retransmitted += delivery->measure.retransmitted;
	}
	if (verdict != VERDICT_UNTRIED)
		path->rest_us = path->rest_until_us = 0;
	switch (verdict) {
	case VERDICT_UNTRIED:
		path_rest(shard, loan->path);
		break;
	case VERDICT_CROWDED:
		path->cap = path->slots;
		path->cap_until_us = shard->now.mono_us + CAP_US;
		path_sleep_until(shard, loan->path, path->cap_until_us);
		break;
	case VERDICT_ROUTE:
		path_failed(shard, loan->path, delivery->host ? delivery->host->name : "",
			    first->reply);
		break;
	case VERDICT_REFUSED:
		path->proven = true;
		/* One probe is as good as the messages behind it (Y4 of the reliability notes). */
		if (++path->refusals >= REFUSALS_MAX || path->failures)
			path_failed(shard, loan->path, delivery->host ? delivery->host->name : "",
				    first->reply);
		break;
	case VERDICT_RECIPIENTS:
		if (first->phase >= PHASE_MAIL || first->outcome == OUTCOME_DELIVERED)
			path_worked(shard, loan->path);
		break;
	}
	path_wake(shard, loan->path);
}

static bool slots_come_back(struct queue_shard *shard, struct loan *loan)
{
	struct queue_path *path = path_at(shard, loan->path);
	struct path_worker *worker = &path->workers[loan->worker];

	assert(worker->outstanding && path->outstanding && shard->out_count);
	worker->outstanding--;
	path->outstanding--;
	shard->out_count--;
	if (!loan->delivery.slot_closed || !worker->slots)
		return false;
	worker->slots--;
	path->slots--;
	return true;
}

/** Its first attempt has ended. */
static void mark_attempted(struct queue_message *message, struct queue_recipient *recipient)
{
	if (recipient->flags & RECIPIENT_ATTEMPTED)
		return;
	recipient->flags |= RECIPIENT_ATTEMPTED;
	message->unattempted--;
}

/** All of one delivery with the same number of attempts fall due together, to go together again. */
struct retry_time {
	unsigned attempts;
	uint64_t due_us;
};

static uint64_t retry_due(struct queue_shard *shard, unsigned attempts, struct retry_time *last)
{
	const struct queue_settings_view *view = shard->view;
	const struct retry_policy policy = {
		.initial_us = view->retry_initial_us,
		.max_us = view->retry_max_us,
		.factor_percent = view->retry_factor_percent,
		.jitter_percent = view->retry_jitter_percent,
	};

	if (last->attempts != attempts) {
		last->attempts = attempts;
		last->due_us = shard->now.mono_us +
			       retry_interval_us(&policy, attempts, shard->settings.random);
	}
	return last->due_us;
}

static void entry_fill(const struct queue_shard *shard, const struct queue_recipient *recipient,
		       enum record_result result, uint64_t due_us, struct record_entry *entry)
{
	*entry = (struct record_entry){
		.ordinal = recipient->ordinal,
		.result = (uint8_t)result,
		.class = recipient->class,
		.phase = recipient->phase,
		.flags = (uint8_t)((recipient->flags & RECIPIENT_REMOTE ? RECORD_FLAG_REMOTE : 0) |
				   (recipient->flags & RECIPIENT_DELAY_TOLD ? RECORD_FLAG_DELAYED
									    : 0)),
		.code = recipient->code,
		.subject = recipient->subject,
		.detail = recipient->detail,
		.attempts = recipient->attempts,
		.due_us = due_us,
	};
	entry->text = text_bytes(&shard->index.texts, recipient->reason, &entry->text_size);
}

void recipient_end(struct queue_shard *shard, uint32_t r, enum recipient_state state,
		   struct record_entry *entry)
{
	struct queue_recipient *recipient = index_recipient(&shard->index, r);
	static const uint8_t results[RECIPIENT_STATE_COUNT] = {
		[RECIPIENT_DELIVERED] = RECORD_RESULT_DELIVERED,
		[RECIPIENT_BOUNCED] = RECORD_RESULT_BOUNCED,
		[RECIPIENT_EXPIRED] = RECORD_RESULT_EXPIRED,
		[RECIPIENT_REMOVED] = RECORD_RESULT_REMOVED,
	};

	assert(results[state]);
	index_set_state(&shard->index, r, state);
	ledger_end(shard, state);
	domain_release(shard, recipient->domain);
	recipient->domain = 0;
	entry_fill(shard, recipient, results[state], 0, entry);
}

void recipient_entry(const struct queue_shard *shard, uint32_t r, uint64_t due_us,
		     struct record_entry *entry)
{
	entry_fill(shard, index_recipient(&shard->index, r), RECORD_RESULT_WAITING, due_us, entry);
}

/** Apply one result. @return true when *entry is to be recorded */
static bool recipient_result(struct queue_shard *shard, struct loan *loan,
			     struct delivery_recipient *result, struct retry_time *retry,
			     struct record_entry *entry)
{
	uint32_t r = result->index;
	struct queue_recipient *recipient = index_recipient(&shard->index, r);
	struct queue_message *message = index_message(&shard->index, loan->message);
	struct queue_path *path = path_at(shard, loan->path);
	const char *host = loan->delivery.host ? loan->delivery.host->name : "";
	uint64_t due_us;

	if (recipient->attempts < UINT16_MAX)
		recipient->attempts++;
	recipient->attempted_s = (uint32_t)(shard->now.wall_us / US_PER_S);
	recipient_explain(shard, recipient, result->phase, result->code, result->enhanced,
			  result->remote, host, result->reply);
	mark_attempted(message, recipient);
	switch (result->outcome) {
	case OUTCOME_DELIVERED:
		path->delivered++;
		if (recipient->notify & DSN_NOTIFY_SUCCESS && !loan->delivery.peer_dsn)
			recipient->flags |= RECIPIENT_RELAYED;
		recipient_end(shard, r, RECIPIENT_DELIVERED, entry);
		return true;
	case OUTCOME_BOUNCED:
		path->bounced++;
		recipient_fail(shard, r, false);
		if (!loan->attempt)
			loan->attempt = attempt_keep(shard, loan);
		recipient->attempt = attempt_hold(shard, loan->attempt);
		return false;
	}
	path->deferred++;
	if (recipient->flags & RECIPIENT_REMOVE) {
		recipient_end(shard, r, RECIPIENT_REMOVED, entry);
		return true;
	}
	if (message->marks & MESSAGE_PAST) {
		recipient_fail(shard, r, true);
		return false;
	}
	due_us = retry_due(shard, recipient->attempts, retry);
	loan->next_attempt_us = wall_of(shard, due_us);
	recipient_wait(shard, r, due_us);
	entry_fill(shard, recipient, RECORD_RESULT_WAITING, loan->next_attempt_us, entry);
	return true;
}

/** @return true when it goes to the head of its path again, without an attempt being counted */
static bool recipient_goes_again(struct queue_shard *shard, struct loan *loan, uint32_t i,
				 enum verdict verdict)
{
	struct delivery_recipient *result = &loan->delivery.recipients[i];
	struct queue_recipient *recipient = index_recipient(&shard->index, result->index);

	if (verdict != VERDICT_UNTRIED && verdict != VERDICT_CROWDED &&
	    !is_overflow(&loan->delivery, result))
		return false;
	if (recipient->flags & RECIPIENT_REMOVE ||
	    index_message(&shard->index, loan->message)->marks & MESSAGE_PAST)
		return false;
	result->outcome = OUTCOME_NONE;
	if (path_at(shard, loan->path)->retired)
		recipient_route(shard, result->index);
	else
		path_push_front(shard, loan->path, result->index);
	return true;
}

static void loan_recorded(void *user, int result)
{
	struct loan *loan = user;
	struct queue_shard *shard = loan->shard;

	if (result < 0)
		shard->unrecorded++;
	shard->progress = true;
	if (!shard->closing)
		report_loan(shard, loan);
}

static bool wants_success(const struct queue_shard *shard, const struct loan *loan)
{
	for (uint32_t i = 0; i < loan->delivery.recipient_count; i++) {
		if (index_recipient(&shard->index, loan->delivery.recipients[i].index)->flags &
		    RECIPIENT_RELAYED)
			return true;
	}
	return false;
}

/** Apply and record all results of a loan. */
static void loan_conclude(struct queue_shard *shard, struct loan *loan, enum verdict verdict)
{
	struct queue_message *message = index_message(&shard->index, loan->message);
	struct delivery *delivery = &loan->delivery;
	struct record_entry *entries = calloc(delivery->recipient_count, sizeof(*entries));
	struct retry_time retry = {0};
	unsigned count = 0;
	bool recorded;
	int result = 0;

	/* From the last to the first: what goes again is put to the head. Records are in the order
	 * of the envelope. */
	for (uint32_t i = delivery->recipient_count; i-- > 0;) {
		struct record_entry entry;

		if (recipient_goes_again(shard, loan, i, verdict))
			continue;
		if (!recipient_result(shard, loan, &delivery->recipients[i], &retry, &entry))
			continue;
		count++;
		if (entries)
			entries[delivery->recipient_count - count] = entry;
	}
	records_cut(shard, (size_t)count * RECORD_ENTRY_MAX + RECORD_NOTE_SIZE + 256);
	records_begin(shard);
	if (wants_success(shard, loan))
		notice_success(shard, loan->message);
	recorded = count > 0 || message->live == 0;
	loan->state = LOAN_RECORDING;
	shard->recording++;
	loan->recording.done = loan_recorded;
	loan->recording.user = loan;
	loan_redeem(loan);
	if (recorded)
		result =
			records_append(shard, loan->message,
				       entries ? entries + delivery->recipient_count - count : NULL,
				       count, &loan->recording);
	records_end(shard);
	free(entries);
	body_release(shard, loan->message);
	if (!recorded)
		report_loan(shard, loan);
	else if (result < 0)
		loan_recorded(loan, result);
}

void outcome_take(struct queue_shard *shard, uint16_t worker, struct delivery *delivery)
{
	struct loan *loan = (struct loan *)(uintptr_t)delivery->cookie;
	enum verdict verdict;

	assert(loan && &loan->delivery == delivery && loan->state == LOAN_OUT &&
	       loan->worker == worker);
	slots_come_back(shard, loan);
	verdict = judge(path_at(shard, loan->path), delivery);
	path_account(shard, loan, verdict);
	if (delivery->possible_duplicate)
		shard->ledger.possible_duplicates += delivery->recipient_count;
	loan_conclude(shard, loan, verdict);
	shard->progress = true;
}
