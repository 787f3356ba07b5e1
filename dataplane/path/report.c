/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Results on their way back to the shard: deliveries and slots. What the ring does not take stays
 * here and goes with a later turn. See table.h.
 */
#include "dataplane/path/table.h"

#include <assert.h>

static void count_outcomes(struct path_table *table, const struct delivery *delivery)
{
	bool delivered = false;

	for (uint32_t i = 0; i < delivery->recipient_count; i++) {
		switch (delivery->recipients[i].outcome) {
		case OUTCOME_DELIVERED:
			table->counters.recipients_delivered++;
			delivered = true;
			break;
		case OUTCOME_DEFERRED:
			table->counters.recipients_deferred++;
			break;
		case OUTCOME_BOUNCED:
			table->counters.recipients_bounced++;
			break;
		default:
			assert(!"a recipient without an outcome");
		}
	}
	if (delivered)
		table->counters.bytes_delivered += delivery->body_size;
	table->counters.ambiguous += delivery->possible_duplicate;
}

static bool send_delivery(struct path_table *table, struct delivery *delivery)
{
	const struct record record = {.kind = RECORD_OUTCOME, .delivery = delivery};

	if (!table->settings.report(table->settings.context, &record))
		return false;
	table->deliveries--;
	return true;
}

void report_delivery(struct path_table *table, struct delivery *delivery)
{
	count_outcomes(table, delivery);
	if (table->outgoing.count > 0 || !send_delivery(table, delivery))
		delivery_queue_put(&table->outgoing, delivery);
}

void report_untried(struct path_table *table, struct delivery *delivery, const char *why)
{
	struct smtp_reply reply;

	smtp_reply_local(&reply, 4, 3, 2, "%s", why);
	delivery_decide(delivery, OUTCOME_DEFERRED, PHASE_ROUTE, &reply, false);
	report_delivery(table, delivery);
}

static bool send_slots(struct path_table *table, struct path *path)
{
	const struct record record = {
		.kind = RECORD_SLOT_CLOSED,
		.slot = {.path = path->number, .count = path->slots_back},
	};

	if (!table->settings.report(table->settings.context, &record))
		return false;
	path->slots_back = 0;
	return true;
}

void report_slots(struct path_table *table, struct path *path, uint32_t count)
{
	assert(path->slots >= count);
	path->slots -= count;
	if (path->slots_back == 0)
		table->slot_records++;
	path->slots_back += count;
	if (send_slots(table, path))
		table->slot_records--;
}

bool report_flush(struct path_table *table)
{
	while (table->outgoing.count > 0) {
		struct delivery *delivery = table->outgoing.head;
		struct delivery *next = delivery->next;

		/* The shard may free it as soon as the ring has it. */
		if (!send_delivery(table, delivery))
			return false;
		table->outgoing.head = next;
		if (--table->outgoing.count == 0)
			table->outgoing.tail = NULL;
	}
	for (uint32_t i = 0; i < table->settings.paths && table->slot_records > 0; i++) {
		struct path *path = &table->paths[i];

		if (!path->used || path->slots_back == 0)
			continue;
		if (!send_slots(table, path))
			return false;
		table->slot_records--;
		path_mark_dirty(table, path);
	}
	return true;
}
