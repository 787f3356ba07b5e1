/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Events: what became of every message, told to the log only when it is durable. When the log
 * cannot keep up, reports wait in order, deliveries wait, and new mail is refused; nothing is
 * dropped.
 */
#include "control/queue/shard.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/** Recipients with the same result in one event. */
#define EVENT_RECIPIENTS_MAX 100u

static void submit(struct queue_shard *shard, struct report *report)
{
	if (!shard->events.head && report->emit(shard, report))
		return;
	report->next = NULL;
	if (shard->events.tail)
		shard->events.tail->next = report;
	else
		shard->events.head = report;
	shard->events.tail = report;
	shard->events.count++;
}

void reports_flush(struct queue_shard *shard)
{
	while (shard->events.head) {
		struct report *report = shard->events.head;
		struct report *next = report->next;

		if (!report->emit(shard, report))
			return;
		shard->events.head = next;
		if (!next)
			shard->events.tail = NULL;
		shard->events.count--;
		shard->progress = true;
	}
}

static bool emit(struct queue_shard *shard, struct event *event)
{
	/* Unlike any of an earlier start. */
	event->event_id = (uint64_t)shard->settings.shard << 48 |
			  (uint64_t)(shard->recovered.start_number & 0x3fff) << 34 |
			  (shard->event_serial + 1);
	event->time_us = shard->now.wall_us;
	event->config_revision = shard->view->revision;
	if (shard->settings.events && event_log_emit(shard->settings.events, event) < 0)
		return false;
	shard->event_serial++;
	return true;
}

static const char *class_text(const struct queue_shard *shard, const struct queue_message *message,
			      enum class_field field)
{
	const char *text = index_class(&shard->index, message, field);

	return *text ? text : NULL;
}

static struct event event_of(const struct queue_shard *shard, const struct queue_message *message,
			     enum event_type type)
{
	return (struct event){
		.type = type,
		.id = message->id,
		.created_us = message->created_us,
		.sender = index_sender(message),
		.size = message->body_size,
		.tenant = class_text(shard, message, CLASS_TENANT),
		.campaign = class_text(shard, message, CLASS_CAMPAIGN),
		.pool = class_text(shard, message, CLASS_POOL),
		.listener = class_text(shard, message, CLASS_LISTENER),
		.auth_user = class_text(shard, message, CLASS_AUTH_USER),
		.generated = message->flags & MESSAGE_GENERATED,
	};
}

static const char *domain_text(const char *address)
{
	const char *at = address ? strrchr(address, '@') : NULL;

	return at ? at + 1 : NULL;
}

/* ---- Reception ---- */

static bool emit_reception(struct queue_shard *shard, struct report *report)
{
	struct commit *commit = (struct commit *)((char *)report - offsetof(struct commit, report));
	const struct envelope *envelope = &commit->envelope;
	const struct queue_message *message = index_message(&shard->index, commit->message);
	struct event event = event_of(shard, message, EVENT_RECEPTION);
	const char *recipients[EVENT_RECIPIENTS_MAX];
	uint32_t m = commit->message;

	event.recipients = recipients;
	event.helo = envelope->helo;
	event.message_id_header = envelope->message_id;
	event.reception_protocol = envelope->protocol;
	event.peer_address = envelope->has_peer ? &envelope->peer : NULL;
	event.tls_version = envelope->tls;
	event.session = envelope->session;
	event.worker = commit->worker;
	event.commit_us = commit->commit_us;
	event.dsn_for = event.generated ? &commit->about : NULL;
	while (commit->reported < envelope->recipient_count) {
		unsigned count = 0;

		while (count < EVENT_RECIPIENTS_MAX &&
		       commit->reported + count < envelope->recipient_count) {
			recipients[count] = envelope->recipients[commit->reported + count].address;
			count++;
		}
		event.recipient_count = count;
		if (!emit(shard, &event))
			return false;
		commit->reported += count;
	}
	commit_free(commit);
	index_message(&shard->index, m)->references--;
	message_release(shard, m);
	return true;
}

void report_reception(struct queue_shard *shard, struct commit *commit)
{
	index_message(&shard->index, commit->message)->references++;
	commit->report.emit = emit_reception;
	submit(shard, &commit->report);
}

/* ---- Deliveries ---- */

static uint8_t state_of(const struct queue_shard *shard, const struct delivery_recipient *result)
{
	return index_recipient(&shard->index, result->index)->state;
}

static bool same_result(const struct queue_shard *shard, const struct delivery_recipient *a,
			const struct delivery_recipient *b)
{
	if ((state_of(shard, a) == RECIPIENT_REMOVED) != (state_of(shard, b) == RECIPIENT_REMOVED))
		return false;
	return a->outcome == b->outcome && a->code == b->code && a->phase == b->phase &&
	       !strcmp(a->reply, b->reply);
}

static void event_add_attempt(struct event *event, const struct attempt *attempt)
{
	const struct route *route = &attempt->route->route;

	event->site = route->site;
	event->source = route->source;
	event->peer_address = attempt->host ? &attempt->host->address : NULL;
	event->peer_name = attempt->host ? attempt->host->name : NULL;
	event->source_address = &attempt->source_address;
	event->tls_version = attempt->tls ? attempt->tls_version : NULL;
	event->tls_cipher = attempt->tls ? attempt->tls_cipher : NULL;
	event->session = attempt->session;
	event->reused = attempt->reused;
	event->possible_duplicate = attempt->possible_duplicate;
	event->connect_us = attempt->connect_us;
	event->tls_us = attempt->tls_us;
	event->transaction_us = attempt->transaction_us;
	event->worker = attempt->worker;
	event->measure = attempt->measure;
}

static void event_add_result(const struct queue_shard *shard, struct event *event,
			     const struct loan *loan, const struct delivery_recipient *result)
{
	event->attempts = index_recipient(&shard->index, result->index)->attempts;
	event->queue = domain_text(result->address);
	event->reply_code = result->code;
	event->enhanced = result->enhanced;
	event->reply_text = result->reply;
	event->reply_remote = result->remote;
	event->phase = smtp_phase_name(result->phase);
	if (result->outcome == OUTCOME_DEFERRED)
		event->next_attempt_us = loan->next_attempt_us;
}

static bool emit_loan(struct queue_shard *shard, struct report *report)
{
	struct loan *loan = (struct loan *)((char *)report - offsetof(struct loan, report));
	const struct delivery *delivery = &loan->delivery;
	const struct queue_message *message = index_message(&shard->index, loan->message);
	const char *recipients[EVENT_RECIPIENTS_MAX];
	uint32_t m = loan->message;
	struct attempt attempt;

	attempt_of(loan, &attempt);
	while (loan->reported < delivery->recipient_count) {
		const struct delivery_recipient *first = &delivery->recipients[loan->reported];
		uint32_t end = loan->reported;
		struct event event;

		for (; end < delivery->recipient_count &&
		       end - loan->reported < EVENT_RECIPIENTS_MAX &&
		       same_result(shard, first, &delivery->recipients[end]);
		     end++)
			recipients[end - loan->reported] = delivery->recipients[end].address;
		/* What was no attempt is no event; a bounce is told with the record of its end. */
		if (first->outcome == OUTCOME_DELIVERED || first->outcome == OUTCOME_DEFERRED) {
			enum event_type type = EVENT_TRANSIENT_FAILURE;

			if (first->outcome == OUTCOME_DELIVERED)
				type = EVENT_DELIVERY;
			else if (state_of(shard, first) == RECIPIENT_REMOVED)
				type = EVENT_ADMIN_BOUNCE;
			event = event_of(shard, message, type);
			event.recipient_count = end - loan->reported;
			event.recipients = recipients;
			event_add_attempt(&event, &attempt);
			event_add_result(shard, &event, loan, first);
			if (!emit(shard, &event))
				return false;
		}
		loan->reported = end;
	}
	loan_free(loan);
	index_message(&shard->index, m)->references--;
	message_release(shard, m);
	return true;
}

void report_loan(struct queue_shard *shard, struct loan *loan)
{
	if (loan->state == LOAN_RECORDING)
		shard->recording--;
	loan->state = LOAN_REPORTING;
	loan->report.emit = emit_loan;
	submit(shard, &loan->report);
}

/* ---- Ends without a delivery ---- */

static bool emit_end(struct queue_shard *shard, uint32_t m, const struct recipient_final *end)
{
	const struct queue_message *message = index_message(&shard->index, m);
	const struct queue_recipient *recipient = index_recipient(&shard->index, end->recipient);
	const char *address = index_address(message, recipient);
	struct event event = event_of(shard, message,
				      recipient->state == RECIPIENT_EXPIRED   ? EVENT_EXPIRATION
				      : recipient->state == RECIPIENT_REMOVED ? EVENT_ADMIN_BOUNCE
									      : EVENT_BOUNCE);
	const char *host;

	event.recipient_count = 1;
	event.recipients = &address;
	event.attempts = recipient->attempts;
	event.queue = domain_text(address);
	event.reply_text = index_reason(&shard->index, recipient, &host);
	event.peer_name = *host ? host : NULL;
	event.reply_code = recipient->code;
	event.enhanced =
		(struct enhanced_code){recipient->class, recipient->subject, recipient->detail};
	event.reply_remote = recipient->flags & RECIPIENT_REMOTE;
	event.phase = smtp_phase_name(recipient->phase);
	if (end->attempt) {
		event_add_attempt(&event, attempt_at(shard, end->attempt));
	} else if (recipient->path && recipient->path < shard->paths.fresh &&
		   path_at(shard, recipient->path)->used && recipient->attempts) {
		/* It ended later than its last attempt, which was told when it was made. */
		event.source = path_at(shard, recipient->path)->source;
		event.site = site_at(shard, path_at(shard, recipient->path)->site)->name;
	}
	return emit(shard, &event);
}

static bool emit_ends(struct queue_shard *shard, struct report *report)
{
	struct end_wait *wait =
		(struct end_wait *)((char *)report - offsetof(struct end_wait, report));

	for (; wait->reported < wait->count; wait->reported++) {
		if (!emit_end(shard, wait->message, &wait->ends[wait->reported]))
			return false;
	}
	end_wait_free(wait);
	return true;
}

void report_ends(struct queue_shard *shard, struct end_wait *wait)
{
	wait->report.emit = emit_ends;
	submit(shard, &wait->report);
}
