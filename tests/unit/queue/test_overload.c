/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Memory, tables, event log, disk and rings at their end: new mail is refused, none is lost, and it
 * passes. */
#include "tests/unit/queue/house.h"

static void bodies_stay_within_their_budget(void **state)
{
	static struct house house;
	uint64_t most = 0;

	house_init(&house, 60);
	house.view.body_memory_bytes = 1 << 20;
	house.destinations[0].settings.connections_max = 2;
	house.hold_us = 10000;
	house_start(&house);
	for (unsigned i = 0; i < 400; i++) {
		house_submit_many(&house, 1, "x@c.example", 20000);
		if (house.shard->body_chunks > most)
			most = house.shard->body_chunks;
	}
	/* What is on loan may be over it: four deliveries of six chunks. */
	assert_true(most * CHUNK_SIZE <= (1 << 20) + 64 * CHUNK_SIZE);
	assert_true(house_run_dry(&house, 600 * HOUSE_SECOND));
	assert_true(queue_shard_counters(house.shard)->bodies_dropped > 100);
	assert_int_equal(queue_shard_counters(house.shard)->bodies_read,
			 queue_shard_counters(house.shard)->bodies_dropped);
	assert_int_equal(house_ledger(&house).delivered, 400);
	for (size_t i = 1; i < house.delivered_count; i++)
		assert_int_equal(house.delivered[i].hash, house.delivered[0].hash);
	house_finish(&house);
}

static void full_tables_refuse_and_recover(void **state)
{
	static struct house house;
	uint64_t refused;

	house_init(&house, 61);
	house.settings.messages_max = 100;
	house.settings.recipients_max = 200;
	house.hold = true;
	house_start(&house);
	house_submit_many(&house, 150, "x@c.example", 100);
	house_run(&house, HOUSE_SECOND);
	refused = queue_shard_counters(house.shard)->messages_refused;
	assert_int_equal(refused, 50);
	assert_int_equal(house.answers[149].result, COMMIT_OVERLOAD);
	assert_int_equal(queue_shard_refusal(house.shard), COMMIT_OVERLOAD);
	house.hold = false;
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(queue_shard_refusal(house.shard), COMMIT_DONE);
	assert_int_equal(house_ledger(&house).delivered, 100);
	house_finish(&house);
}

/** Refusing to start would be a state without an end. */
static void more_than_the_tables_hold_is_recovered_and_drains(void **state)
{
	static struct house house;

	house_init(&house, 63);
	house.worker_chunks = 8192;
	house.hold = true;
	house_start(&house);
	house_submit_many(&house, 3000, "x@c.example", 100);
	house_run(&house, HOUSE_SECOND);
	house_crash(&house);
	house.settings.messages_max = 100;
	house.settings.recipients_max = 200;
	house.hold = false;
	house.ignore_duplicates = true;
	house_start(&house);
	assert_int_equal(house_ledger(&house).queued, 3000);
	assert_int_equal(queue_shard_refusal(house.shard), COMMIT_OVERLOAD);
	assert_true(house_run_dry(&house, 60 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).delivered, 3000);
	house_finish(&house);
}

/** Y9 */
static void a_stalled_event_log_stops_new_mail_and_loses_nothing(void **state)
{
	static struct house house;

	house_init(&house, 62);
	house_start(&house);
	house_send(&house, "", "x@c.example");
	house.events_stall = true;
	house_submit_many(&house, 20, "x@c.example", 100);
	house_run(&house, 10 * HOUSE_SECOND);
	assert_int_equal(queue_shard_refusal(house.shard), COMMIT_OVERLOAD);
	assert_true(house_ledger(&house).queued >= 19);
	house.events_stall = false;
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(queue_shard_refusal(house.shard), COMMIT_DONE);
	assert_int_equal(house_events_of(&house, EVENT_RECEPTION, NULL), 21);
	assert_int_equal(house_events_of(&house, EVENT_DELIVERY, NULL), 21);
	house_finish(&house);
}

static void a_broken_disk_refuses_and_stops_deliveries(void **state)
{
	static struct house house;
	const struct house_message message = {.from = "", .recipients = "x@c.example"};
	struct message_id id;

	house_init(&house, 63);
	house.worker_chunks = 8192;
	house_start(&house);
	house_send(&house, "", "x@c.example");
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	disk_sim_fail_writes(house.disk, 100);
	id = house_submit(&house, 0, &message);
	house_run(&house, 10 * HOUSE_SECOND);
	assert_int_equal(house_answer(&house, &id), COMMIT_IO_ERROR);
	assert_int_not_equal(queue_shard_refusal(house.shard), COMMIT_DONE);
	house_check_ledger(&house);
	house_power_cut(&house);
	disk_sim_fail_writes(house.disk, 0);
	house_start(&house);
	house_check_ledger(&house);
	house_finish(&house);
}

static void full_rings_are_back_pressure_not_loss(void **state)
{
	static struct house house;

	house_init(&house, 76);
	house.worker_count = 2;
	house_start(&house);
	/* The worker does not look at its ring for a while; it fills. */
	for (unsigned i = 0; i < 3000; i++) {
		const struct house_message message = {.from = "", .recipients = "x@c.example"};

		if (chunk_pool_available(house.workers[i % 2].chunks) < 10) {
			house_step(&house, 100);
			continue;
		}
		house_submit(&house, i % 2, &message);
		disk_sim_set_time(house.disk, house.now.mono_us);
		queue_shard_turn(house.shard, &house.now);
		house.now.mono_us += 100;
		house.now.wall_us += 100;
	}
	assert_true(house_run_dry(&house, 60 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).delivered, house_ledger(&house).accepted);
	house_finish(&house);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies_stay_within_their_budget),
		cmocka_unit_test(full_tables_refuse_and_recover),
		cmocka_unit_test(more_than_the_tables_hold_is_recovered_and_drains),
		cmocka_unit_test(a_stalled_event_log_stops_new_mail_and_loses_nothing),
		cmocka_unit_test(a_broken_disk_refuses_and_stops_deliveries),
		cmocka_unit_test(full_rings_are_back_pressure_not_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
