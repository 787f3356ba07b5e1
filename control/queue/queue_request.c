/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What operators ask of a shard: attempt now, remove. A selector's fields must all match. */
#include "control/queue/shard.h"

#include <stdlib.h>
#include <string.h>

static bool selector_is_empty(const struct queue_selector *selector)
{
	return !selector->id && !selector->domain && !selector->sender && !selector->tenant &&
	       !selector->campaign && !selector->all;
}

static bool message_matches(const struct queue_shard *shard, const struct queue_message *message,
			    const struct queue_selector *selector)
{
	if (selector->id && memcmp(selector->id, &message->id, sizeof(message->id)) != 0)
		return false;
	if (selector->sender && strcasecmp(selector->sender, index_sender(message)) != 0)
		return false;
	if (selector->tenant &&
	    strcmp(selector->tenant, index_class(&shard->index, message, CLASS_TENANT)) != 0)
		return false;
	return !selector->campaign ||
	       !strcmp(selector->campaign, index_class(&shard->index, message, CLASS_CAMPAIGN));
}

static bool recipient_matches(const struct queue_shard *shard,
			      const struct queue_recipient *recipient,
			      const struct queue_selector *selector)
{
	if (recipient_is_final(recipient->state) || recipient->state <= RECIPIENT_COMMITTING)
		return false;
	return !selector->domain ||
	       !strcasecmp(selector->domain, domain_at(shard, recipient->domain)->name);
}

typedef uint64_t (*message_action)(struct queue_shard *shard, uint32_t m,
				   const struct queue_selector *selector, bool dry_run);

static uint64_t for_each_message(struct queue_shard *shard, const struct queue_selector *selector,
				 bool dry_run, message_action action)
{
	uint64_t affected = 0;

	if (selector_is_empty(selector))
		return 0;
	if (selector->id) {
		uint32_t m = index_find(&shard->index, selector->id);

		if (m && message_matches(shard, index_message(&shard->index, m), selector))
			affected = action(shard, m, selector, dry_run);
		return affected;
	}
	for (uint32_t m = 1; m < shard->index.messages.fresh; m++) {
		const struct queue_message *message = index_message(&shard->index, m);

		if (message->marks & MESSAGE_DURABLE && message->live &&
		    message_matches(shard, message, selector))
			affected += action(shard, m, selector, dry_run);
	}
	return affected;
}

static uint64_t message_retry(struct queue_shard *shard, uint32_t m,
			      const struct queue_selector *selector, bool dry_run)
{
	uint64_t affected = 0;
	uint32_t next;

	(void)dry_run;
	for (uint32_t r = index_message(&shard->index, m)->first; r; r = next) {
		struct queue_recipient *recipient = index_recipient(&shard->index, r);

		next = recipient->next;
		if (!recipient_matches(shard, recipient, selector))
			continue;
		switch (recipient->state) {
		case RECIPIENT_WAITING:
			recipient_detach(shard, r);
			recipient_route(shard, r);
			affected++;
			break;
		case RECIPIENT_ROUTING:
			domain_retry_now(shard, recipient->domain);
			affected++;
			break;
		case RECIPIENT_READY:
			/* The back-off is over for one attempt; it tells for the others. */
			path_at(shard, recipient->path)->blocked_until_us = 0;
			path_wake(shard, recipient->path);
			affected++;
			break;
		}
	}
	return affected;
}

uint64_t queue_shard_request_retry(struct queue_shard *shard, const struct queue_selector *selector)
{
	return for_each_message(shard, selector, false, message_retry);
}

/** A recipient that can end now. LOANED ones end when they come back, FAILING ones are about to. */
static bool is_removable(const struct queue_recipient *recipient)
{
	return recipient->state == RECIPIENT_ROUTING || recipient->state == RECIPIENT_READY ||
	       recipient->state == RECIPIENT_WAITING;
}

static uint64_t message_delete(struct queue_shard *shard, uint32_t m,
			       const struct queue_selector *selector, bool dry_run)
{
	struct queue_message *message = index_message(&shard->index, m);
	struct record_entry *entries = NULL;
	struct end_wait *wait = NULL;
	uint64_t affected = 0;
	unsigned count = 0;
	uint32_t next;

	if (!dry_run) {
		entries = calloc(message->recipients, sizeof(*entries));
		wait = entries ? end_wait_make(shard, m, message->recipients) : NULL;
		if (!wait) {
			free(entries);
			return 0;
		}
	}
	for (uint32_t r = message->first; r; r = next) {
		struct queue_recipient *recipient = index_recipient(&shard->index, r);

		next = recipient->next;
		if (!recipient_matches(shard, recipient, selector) ||
		    (!is_removable(recipient) && recipient->state != RECIPIENT_LOANED))
			continue;
		affected++;
		if (dry_run)
			continue;
		if (recipient->state == RECIPIENT_LOANED) {
			recipient->flags |= RECIPIENT_REMOVE;
			continue;
		}
		recipient_detach(shard, r);
		recipient_end(shard, r, RECIPIENT_REMOVED, &entries[count++]);
		end_wait_add(wait, r, 0);
	}
	if (count) {
		records_begin(shard);
		message_record(shard, wait, entries, count);
		records_end(shard);
	} else if (wait) {
		end_wait_free(wait);
	}
	free(entries);
	return affected;
}

uint64_t queue_shard_request_delete(struct queue_shard *shard,
				    const struct queue_selector *selector, bool dry_run)
{
	return for_each_message(shard, selector, dry_run, message_delete);
}
