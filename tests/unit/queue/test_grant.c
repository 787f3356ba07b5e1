/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who may deliver, and when: connections over workers, sources by weight, limits and rates. The
 * house checks at each delivery that a path's connections are within its limit and its outstanding
 * deliveries within two a slot.
 */
#include "tests/unit/queue/house.h"

#include <stdio.h>
#include <string.h>

static void connections_stay_within_the_limit_over_all_workers(void **state)
{
	static struct house house;

	for (uint64_t seed = 1; seed <= 10; seed++) {
		house_init(&house, seed);
		house.worker_count = 3;
		house.destinations[0].settings.connections_max = 1 + (uint32_t)seed % 7;
		house.hold_us = 3000;
		house.close_after_delivery = seed & 1;
		house_start(&house);
		house_submit_many(&house, 300, "x@c.example y@d.example", 500);
		assert_true(house_run_dry(&house, 60 * HOUSE_SECOND));
		assert_int_equal(house_ledger(&house).delivered, 600);
		house_finish(&house);
	}
}

static void a_busy_path_spreads_and_a_small_one_stays(void **state)
{
	static struct house house;
	unsigned used = 0;

	house_init(&house, 20);
	house.worker_count = 3;
	house.destinations[0].settings.connections_max = 30;
	house.hold_us = 20000;
	house_start(&house);
	for (unsigned i = 0; i < 20; i++) {
		house_send(&house, "", "x@small.example");
		assert_true(house_run_dry(&house, HOUSE_SECOND));
	}
	for (unsigned w = 0; w < 3; w++)
		used += house.workers[w].path_count > 0 && house.workers[w].paths[0].slots > 0;
	assert_int_equal(used, 1);
	house_submit_many(&house, 300, "x@big.example", 100);
	for (unsigned w = 0; w < 3; w++)
		assert_true(house.workers[w].most_open >= 4);
	assert_true(house_run_dry(&house, 60 * HOUSE_SECOND));
	house_finish(&house);
}

static void sources_share_by_weight(void **state)
{
	static struct house house;
	uint64_t one, two;

	house_init(&house, 30);
	house_two_sources(&house, 3, 1);
	house_start(&house);
	house_submit_many(&house, 400, "x@c.example", 100);
	assert_true(house_run_dry(&house, 60 * HOUSE_SECOND));
	one = house_sum(queue_shard_show_sources(house.shard), "source", "one", "delivered");
	two = house_sum(queue_shard_show_sources(house.shard), "source", "two", "delivered");
	assert_int_equal(one, 300);
	assert_int_equal(two, 100);
	house_finish(&house);
}

static void the_first_source_of_a_site_is_drawn_by_weight(void **state)
{
	static struct house house;
	unsigned first[2] = {0};

	house_init(&house, 45);
	house.sources[1] = house.sources[0];
	snprintf(house.sources[1].name, sizeof(house.sources[1].name), "second");
	house.view.source_count = 2;
	house.members[0] = (struct queue_pool_member){.source = 0, .weight = 3};
	house.members[1] = (struct queue_pool_member){.source = 1, .weight = 1};
	house.pools[0].member_count = 2;
	house_start(&house);
	for (unsigned i = 0; i < 200; i++) {
		char address[64];

		snprintf(address, sizeof(address), "x@site%u.example", i);
		house_send(&house, "", address);
	}
	assert_true(house_run_dry(&house, 60 * HOUSE_SECOND));
	for (uint32_t p = 1; p < house.shard->paths.fresh; p++) {
		const struct queue_path *path = slab_at(&house.shard->paths, p);

		first[path->source_index] += (unsigned)path->delivered;
	}
	assert_int_equal(first[0] + first[1], 200);
	assert_in_range(first[1], 25, 75);
	house_finish(&house);
}

static void a_source_without_the_sites_family_is_passed_over(void **state)
{
	static struct house house;
	struct message_id id;

	house_init(&house, 31);
	house_two_sources(&house, 1, 1);
	house.sources[0].has_v4 = false;
	house.sources[0].has_v6 = true;
	resolver_sim_hosts(house.resolver, "six.example", NULL, "mx6=2001:db8::25", NULL);
	house_start(&house);
	house_submit_many(&house, 10, "x@c.example y@six.example", 100);
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(
		house_sum(queue_shard_show_sources(house.shard), "source", "one", "delivered"), 10);
	house.sources[0].has_v6 = false;
	queue_shard_configure(house.shard, &house.view, &house.now);
	id = house_send(&house, "", "y@six.example");
	house_run(&house, HOUSE_SECOND);
	json_t *json = queue_shard_show_message(house.shard, &id);

	assert_non_null(
		strstr(json_string_value(json_object_get(
			       json_array_get(json_object_get(json, "recipients"), 0), "reply")),
		       "no source of pool default"));
	json_decref(json);
	house_finish(&house);
}

static unsigned crowd_limit;

static void no_more_than_three(struct house *house, struct delivery *delivery,
			       struct delivery_recipient *recipient)
{
	if (delivery->may_open && house->workers[0].paths[0].open >= crowd_limit)
		house_set_result(recipient, OUTCOME_DEFERRED, PHASE_GREETING, 421, "4.7.0",
				 "too many connections");
}

static void a_sites_own_limit_on_connections_is_learned(void **state)
{
	static struct house house;

	house_init(&house, 42);
	house.decide = no_more_than_three;
	house.hold_us = 5000;
	crowd_limit = 3;
	house_start(&house);
	house_submit_many(&house, 200, "x@c.example", 100);
	assert_true(house_run_dry(&house, 60 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).delivered, 200);
	/* No message paid for it with an attempt. */
	assert_int_equal(house_events_of(&house, EVENT_TRANSIENT_FAILURE, NULL), 0);
	house_finish(&house);
}

static void the_rate_is_kept_and_says_when(void **state)
{
	static struct house house;
	struct message_id id;
	char why[600];

	house_init(&house, 50);
	house.destinations[0].message_rate_per_hour = 60;
	house_start(&house);
	house_submit_many(&house, 10, "x@c.example", 100);
	id = house_send(&house, "", "x@c.example");
	house_run(&house, 5 * 60 * HOUSE_SECOND + 30 * HOUSE_SECOND);
	assert_int_equal(house_ledger(&house).delivered, 6);
	assert_non_null(
		strstr(house_why(&house, &id, why, sizeof(why)), "at most 60 messages an hour"));
	json_t *json = queue_shard_show_message(house.shard, &id);
	json_t *until =
		json_object_get(json_array_get(json_object_get(json, "recipients"), 0), "until_us");

	assert_in_range(json_integer_value(until), house.now.wall_us + 20 * US_PER_S,
			house.now.wall_us + 40 * US_PER_S);
	json_decref(json);
	assert_true(house_run_dry(&house, HOUSE_HOUR));
	house_finish(&house);
}

static unsigned routing(const struct house *house)
{
	uint64_t states[RECIPIENT_STATE_COUNT];

	index_count(&house->shard->index, states);
	return (unsigned)states[RECIPIENT_ROUTING];
}

/* One look-up answers for all that wait: they must not hold up the others' turn. */
static void a_domain_with_many_recipients_is_released_in_parts(void **state)
{
	static struct house house;
	const unsigned count = 3000;
	unsigned most = 0, before = count;

	house_init(&house, 48);
	house.keep_no_books = true;
	house.worker_chunks = 16384;
	house_start(&house);
	resolver_sim_set_latency(house.resolver, 600 * HOUSE_SECOND);
	house_submit_many(&house, count, "x@c.example", 100);
	house_run(&house, 60 * HOUSE_SECOND);
	assert_int_equal(routing(&house), count);
	for (unsigned i = 0; i < 100000 && before > 0; i++) {
		unsigned now;

		house_step(&house, 10000);
		now = routing(&house);
		if (before - now > most)
			most = before - now;
		before = now;
	}
	assert_in_range(most, 1, 1024);
	assert_true(house_run_dry(&house, 60 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).delivered, count);
	house_finish(&house);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connections_stay_within_the_limit_over_all_workers),
		cmocka_unit_test(a_busy_path_spreads_and_a_small_one_stays),
		cmocka_unit_test(sources_share_by_weight),
		cmocka_unit_test(the_first_source_of_a_site_is_drawn_by_weight),
		cmocka_unit_test(a_source_without_the_sites_family_is_passed_over),
		cmocka_unit_test(a_sites_own_limit_on_connections_is_learned),
		cmocka_unit_test(the_rate_is_kept_and_says_when),
		cmocka_unit_test(a_domain_with_many_recipients_is_released_in_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
