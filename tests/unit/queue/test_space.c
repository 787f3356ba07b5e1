/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A spool that runs full: what was delivered is recorded, or was never sent (I3 of the reliability
 * notes); new mail is what gives way (DESIGN.md, decision 10). */
#include "tests/unit/queue/house.h"

#include "control/queue/spool_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECIPIENTS 200u

/** Replies so long that the records of a message are larger than the message. */
static void talkative(struct house *house, struct delivery *delivery,
		      struct delivery_recipient *recipient)
{
	(void)house;
	(void)delivery;
	memset(recipient->reply, 'r', sizeof(recipient->reply) - 1);
	snprintf(recipient->reply, 32, "250 2.0.0 %s", recipient->address);
	recipient->reply[strlen(recipient->reply)] = ' ';
	recipient->reply[sizeof(recipient->reply) - 1] = '\0';
}

/** Recipients at open.example, and one that keeps the message: its domain cannot be looked up. */
static char *many_recipients(unsigned message)
{
	char *text = malloc(RECIPIENTS * 48 + 64), *at = text;

	for (unsigned i = 0; i < RECIPIENTS; i++)
		at += sprintf(at, "r%u.%u@open.example ", message, i);
	sprintf(at, "stuck@closed.example");
	return text;
}

static void start(struct house *house, uint64_t seed, uint32_t segments)
{
	house_init(house, seed);
	house->settings.spool.segments = segments;
	house->settings.spool.batch_bytes = 32 << 10;
	house->worker_chunks = 8192;
	house->decide = talkative;
	house->destinations[0].settings.recipients_per_message = 10;
	house_start(house);
	resolver_sim_fail(house->resolver, "closed.example", RESOLUTION_TEMPORARY, "try later");
}

/** Submit until no more is taken. @return messages taken */
static unsigned fill(struct house *house)
{
	for (unsigned i = 0;; i++) {
		char *recipients = many_recipients(i);
		const struct house_message message = {
			.from = "s@from.example", .recipients = recipients, .body_size = 2000};
		struct message_id id = house_submit(house, 0, &message);

		free(recipients);
		for (unsigned n = 0; n < 100000 && house_answer(house, &id) == UINT32_MAX; n++)
			house_step(house, 50);
		if (house_answer(house, &id) == COMMIT_NO_SPACE)
			return i;
		assert_int_equal(house_answer(house, &id), COMMIT_DONE);
		assert_true(i < 10000);
	}
}

static uint64_t written(const struct house *house)
{
	struct spool_statistics statistics;

	spool_statistics(house->shard->spool, &statistics);
	return statistics.bytes_padded;
}

/* Nothing ends, so there is little to gain: all is copied at most once, and then never again. */
static void cleaning_comes_to_rest(struct house *house, uint32_t segments)
{
	const uint64_t segment = house->settings.spool.segment_size;
	uint64_t before = written(house), steps = house->steps;

	house_run(house, 60 * HOUSE_SECOND);
	assert_true(written(house) - before <= segments * segment);
	before = written(house);
	house_run(house, 300 * HOUSE_SECOND);
	assert_true(written(house) - before <= segment / 4);
	assert_true(house->steps - steps < 10000);
}

/* I3: after any stop, what was delivered is not delivered again (house checks each delivery). */
static void fill_restart_and_drain(uint32_t segments)
{
	static struct house house;
	uint64_t delivered;

	start(&house, segments, segments);
	fill(&house);
	cleaning_comes_to_rest(&house, segments);
	assert_int_equal(house.shard->unrecorded, 0);
	house_check_ledger(&house);
	delivered = house_ledger(&house).delivered;
	assert_true(delivered > RECIPIENTS);
	assert_int_equal(house.shard->out_count + house.shard->recording, 0);
	house_crash(&house);
	assert_int_equal(house.at_risk, 0);
	house_start(&house);
	house_run(&house, 60 * HOUSE_SECOND);
	assert_true(house_ledger(&house).delivered >= delivered);
	assert_int_equal(house.shard->unrecorded, 0);
	house_check_ledger(&house);
	/* When the stuck ones go, everything drains. */
	assert_true(queue_shard_request_delete(house.shard,
					       &(struct queue_selector){.domain = "closed.example"},
					       false) > 0);
	assert_true(house_run_dry(&house, 600 * HOUSE_SECOND));
	/* Segments are freed one after the other. */
	house_run(&house, 10 * HOUSE_SECOND);
	assert_int_equal(house.shard->unrecorded, 0);
	assert_int_equal(queue_shard_refusal(house.shard), COMMIT_DONE);
	house_finish(&house);
}

static void a_full_spool_delivers_nothing_that_it_cannot_record(void **state)
{
	static const uint32_t segments[] = {4, 5, 6, 7, 8, 12};

	(void)state;
	for (unsigned i = 0; i < sizeof(segments) / sizeof(segments[0]); i++)
		fill_restart_and_drain(segments[i]);
}

/* Whatever made the promise void (a failing disk, a spool made smaller): a result waits. */
static void a_result_without_room_waits_and_is_told_when_it_is_durable(void **state)
{
	static struct house house;
	const uint64_t all = UINT64_C(1) << 40;
	struct message_id id, other;

	(void)state;
	start(&house, 2, 6);
	house.decide = NULL;
	house.hold = true;
	id = house_send(&house, "s@from.example", "a@open.example b@open.example");
	other = house_send(&house, "s@from.example", "c@open.example stuck@closed.example");
	house_run(&house, HOUSE_SECOND);
	assert_int_equal(house.shard->out_count, 2);
	house.shard->spool->queued_cost += all;
	house.hold = false;
	house_run(&house, 5 * HOUSE_SECOND);
	assert_int_equal(house.shard->unwritten.count, 2);
	assert_int_equal(house_events_of(&house, EVENT_DELIVERY, NULL), 0);
	assert_int_equal(queue_shard_refusal(house.shard), COMMIT_NO_SPACE);
	assert_false(queue_shard_is_drained(house.shard));
	house_check_ledger(&house);
	house.shard->spool->queued_cost -= all;
	house_run(&house, HOUSE_SECOND);
	assert_int_equal(house.shard->unwritten.count, 0);
	assert_int_equal(house_events_of(&house, EVENT_DELIVERY, &id), 1);
	assert_int_equal(house_events_of(&house, EVENT_DELIVERY, &other), 1);
	assert_int_equal(queue_shard_refusal(house.shard), COMMIT_DONE);
	assert_int_equal(house.shard->unrecorded, 0);
	house_check_ledger(&house);
	house_crash(&house);
	house_start(&house);
	house_run(&house, 5 * HOUSE_SECOND);
	assert_int_equal(house_ledger(&house).delivered, 3);
	assert_int_equal(house_ledger(&house).queued, 1);
	house_check_ledger(&house);
	house_finish(&house);
}

/* A state that is cut would stand for the whole one, and its recipients would be served again. */
static void a_snapshot_is_whole_or_none(void **state)
{
	static struct house house;
	const size_t need = RECORD_STATE_HEADER + (size_t)RECIPIENTS * RECORD_ENTRY_FIXED;
	uint8_t *buffer = malloc(1 << 20);
	struct record_reader reader;
	struct spool *spool;
	struct message_id id;
	char *recipients = many_recipients(1);
	unsigned entries = 0;

	(void)state;
	start(&house, 7, 6);
	id = house_send(&house, "s@from.example", recipients);
	house_run(&house, 10 * HOUSE_SECOND);
	assert_int_equal(house_ledger(&house).delivered, RECIPIENTS);
	spool = house.shard->spool;
	assert_int_equal(spool->snapshot(spool->snapshot_context, &id, buffer, need), need);
	assert_int_equal(record_open(&reader, buffer, need), 0);
	for (struct record_entry entry; record_next(&reader, &entry) > 0;)
		entries += entry.result == RECORD_RESULT_DELIVERED;
	assert_int_equal(entries, RECIPIENTS);
	assert_true(spool->snapshot(spool->snapshot_context, &id, buffer, need - 1) > need - 1);
	assert_true(spool->snapshot(spool->snapshot_context, &id, buffer, 1 << 20) > need);
	free(recipients);
	free(buffer);
	house_finish(&house);
}

/* What is durable must not fail any more: the id is taken, and its place in the table, before. */
static void an_id_is_taken_before_the_commit(void **state)
{
	static struct house house;
	struct queue_index *index;
	struct envelope_recipient recipient = {.address = "a@to.example"};
	const struct envelope envelope = {
		.mail_from = "s@from.example", .recipient_count = 1, .recipients = &recipient};
	const struct message_id id = {.origin = 1, .counter = 2};
	uint32_t first, second;

	(void)state;
	start(&house, 3, 6);
	index = &house.shard->index;
	first = index_insert(index, &id, 0, 10, &envelope);
	second = index_insert(index, &id, 0, 10, &envelope);
	assert_int_equal(index_name(index, first), 0);
	assert_int_equal(index_name(index, second), -EEXIST);
	index_remove(index, second);
	assert_int_equal(index_find(index, &id), 0);
	assert_int_equal(index->by_id.count, 1);
	index_publish(index, first);
	assert_int_equal(index_find(index, &id), first);
	index_remove(index, first);
	assert_int_equal(index_find(index, &id), 0);
	assert_int_equal(index->by_id.count, 0);
	house_finish(&house);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_spool_delivers_nothing_that_it_cannot_record),
		cmocka_unit_test(a_snapshot_is_whole_or_none),
		cmocka_unit_test(an_id_is_taken_before_the_commit),
		cmocka_unit_test(a_result_without_room_waits_and_is_told_when_it_is_durable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
