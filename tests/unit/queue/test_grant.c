/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Grants, paths, sources, back-off, rates, configuration, memory, overload. The house checks at
 * each delivery that a path's connections are within its limit and its outstanding deliveries
 * within two a slot.
 */
#include "tests/unit/queue/house.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void submit_many(struct house *house, unsigned count, const char *recipients, size_t size)
{
	const struct house_message message = {
		.from = "", .recipients = recipients, .body_size = size};

	for (unsigned i = 0; i < count; i++) {
		house_submit(house, i % house->worker_count, &message);
		house_step(house, 100);
	}
}

static void two_sources(struct house *house, unsigned weight_one, unsigned weight_two)
{
	house->sources[1] = house->sources[0];
	snprintf(house->sources[1].name, VIEW_NAME_MAX, "two");
	house->sources[1].v4 = ip_from_v4(0xc0000202);
	house->members[0] = (struct queue_pool_member){0, weight_one};
	house->members[1] = (struct queue_pool_member){1, weight_two};
	house->pools[0].member_count = 2;
	house->view.source_count = 2;
}

static uint64_t json_sum(json_t *array, const char *match, const char *value, const char *field)
{
	uint64_t sum = 0;
	size_t i;
	json_t *one;

	json_array_foreach(array, i, one)
	{
		if (!strcmp(json_string_value(json_object_get(one, match)), value))
			sum += (uint64_t)json_integer_value(json_object_get(one, field));
	}
	json_decref(array);
	return sum;
}

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
		submit_many(&house, 300, "x@c.example y@d.example", 500);
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
	submit_many(&house, 300, "x@big.example", 100);
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
	two_sources(&house, 3, 1);
	house_start(&house);
	submit_many(&house, 400, "x@c.example", 100);
	assert_true(house_run_dry(&house, 60 * HOUSE_SECOND));
	one = json_sum(queue_shard_show_sources(house.shard), "source", "one", "delivered");
	two = json_sum(queue_shard_show_sources(house.shard), "source", "two", "delivered");
	assert_int_equal(one, 300);
	assert_int_equal(two, 100);
	house_finish(&house);
}

static void a_source_without_the_sites_family_is_passed_over(void **state)
{
	static struct house house;
	struct message_id id;
	char why[600];

	house_init(&house, 31);
	two_sources(&house, 1, 1);
	house.sources[0].has_v4 = false;
	house.sources[0].has_v6 = true;
	resolver_sim_hosts(house.resolver, "six.example", NULL, "mx6=2001:db8::25", NULL);
	house_start(&house);
	submit_many(&house, 10, "x@c.example y@six.example", 100);
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(
		json_sum(queue_shard_show_sources(house.shard), "source", "one", "delivered"), 10);
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
	(void)why;
	house_finish(&house);
}

static void dead_until_noon(struct house *house, struct delivery *delivery,
			    struct delivery_recipient *recipient)
{
	if (house->now.wall_us < 1700000000000000 + HOUSE_HOUR)
		house_set_result(recipient, OUTCOME_DEFERRED, PHASE_CONNECT, 0, "4.4.1",
				 "timed out");
}

/** Y4: one probe for all that wait, no stampede. */
static void a_dead_route_is_probed_not_hammered(void **state)
{
	static struct house house;
	uint64_t attempts, most = 0;
	char why[600];
	struct message_id id;

	house_init(&house, 40);
	house.decide = dead_until_noon;
	house.destinations[0].settings.connections_max = 5;
	house_start(&house);
	submit_many(&house, 500, "x@c.example", 100);
	id = house_send(&house, "", "x@c.example");
	house_run(&house, 60 * HOUSE_SECOND);
	assert_non_null(strstr(house_why(&house, &id, why, sizeof(why)), "held back after"));
	assert_non_null(strstr(why, "timed out"));
	house_run(&house, HOUSE_HOUR - 70 * HOUSE_SECOND);
	attempts = queue_shard_counters(house.shard)->deliveries;
	/* An hour of back-off from 10 s to 15 min: a dozen probes, not 500 messages each on its
	 * own. */
	assert_in_range(attempts, 5, 40);
	assert_true(house_run_dry(&house, 6 * HOUSE_HOUR));
	assert_int_equal(house_ledger(&house).delivered, 501);
	for (size_t i = 0; i < house.delivered_count; i++) {
		uint64_t same = 0;

		for (size_t k = i; k < house.delivered_count &&
				   house.delivered[k].at_us < house.delivered[i].at_us + 40;
		     k++)
			same++;
		most = same > most ? same : most;
	}
	/* After the outage, too, no more at once than connections allow. */
	assert_true(most <= 10);
	house_finish(&house);
}

static void one_source_is_refused(struct house *house, struct delivery *delivery,
				  struct delivery_recipient *recipient)
{
	if (!strcmp(delivery->route->source, "one"))
		house_set_result(recipient, OUTCOME_DEFERRED, PHASE_GREETING, 421, "4.7.0",
				 "your address is blocked");
}

static void mail_takes_another_source_while_one_is_held_back(void **state)
{
	static struct house house;

	house_init(&house, 41);
	two_sources(&house, 1, 1);
	house.decide = one_source_is_refused;
	house_start(&house);
	submit_many(&house, 100, "x@c.example", 100);
	house_run(&house, 5 * HOUSE_SECOND);
	assert_true(house_ledger(&house).delivered >= 90);
	assert_true(house_run_dry(&house, HOUSE_DAY));
	assert_int_equal(house_ledger(&house).delivered, 100);
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
	submit_many(&house, 200, "x@c.example", 100);
	assert_true(house_run_dry(&house, 60 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).delivered, 200);
	/* No message paid for it with an attempt. */
	assert_int_equal(house_events_of(&house, EVENT_TRANSIENT_FAILURE, NULL), 0);
	house_finish(&house);
}

static void put_off_at_mail(struct house *house, struct delivery *delivery,
			    struct delivery_recipient *recipient)
{
	if (house->now.wall_us < 1700000000000000 + HOUSE_HOUR)
		house_set_result(recipient, OUTCOME_DEFERRED, PHASE_MAIL, 451, "4.7.500",
				 "server busy, try later");
}

/** Y4: a wave of 4xx from one site holds its path back, not each message. */
static void a_site_that_puts_everybody_off_is_asked_by_one(void **state)
{
	static struct house house;

	house_init(&house, 44);
	house.decide = put_off_at_mail;
	house.view.retry_initial_us = 60 * US_PER_S;
	house_start(&house);
	submit_many(&house, 1000, "x@c.example", 100);
	house_run(&house, HOUSE_HOUR - 10 * HOUSE_SECOND);
	assert_in_range(queue_shard_counters(house.shard)->deliveries, 5, 60);
	assert_true(house_run_dry(&house, 6 * HOUSE_HOUR));
	assert_int_equal(house_ledger(&house).delivered, 1000);
	house_finish(&house);
}

static void greylist_all(struct house *house, struct delivery *delivery,
			 struct delivery_recipient *recipient)
{
	if (house->now.wall_us < 1700000000000000 + 300 * US_PER_S)
		house_set_result(recipient, OUTCOME_DEFERRED, PHASE_RCPT, 450, "4.7.1",
				 "greylisted");
}

static void greylisting_does_not_hold_others_back(void **state)
{
	static struct house house;

	house_init(&house, 45);
	house.decide = greylist_all;
	house_start(&house);
	submit_many(&house, 200, "x@c.example", 100);
	house_run(&house, 5 * HOUSE_SECOND);
	/* Each has had its first attempt, so that its time at the greylist runs. */
	assert_int_equal(house_events_of(&house, EVENT_TRANSIENT_FAILURE, NULL), 200);
	assert_true(house_run_dry(&house, HOUSE_HOUR));
	house_finish(&house);
}

static void a_message_removed_while_under_way_is_not_tried_again(void **state)
{
	static struct house house;
	const struct queue_selector all = {.all = true};

	house_init(&house, 46);
	house.decide = dead_until_noon;
	house.hold_us = 500000;
	house_start(&house);
	submit_many(&house, 3, "x@c.example", 100);
	house_run(&house, 100 * US_PER_MS);
	assert_int_equal(queue_shard_request_delete(house.shard, &all, false), 3);
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).removed, 3);
	assert_int_equal(house_events_of(&house, EVENT_ADMIN_BOUNCE, NULL), 3);
	house_finish(&house);
}

static void untried(struct house *house, struct delivery *delivery,
		    struct delivery_recipient *recipient)
{
	if (house->now.wall_us < 1700000000000000 + HOUSE_SECOND) {
		house_set_result(recipient, OUTCOME_DEFERRED, PHASE_ROUTE, 0, "4.3.2", "draining");
		delivery->hosts_tried = 0;
		delivery->host = NULL;
	}
}

static unsigned refusals;

static void never_begun(struct house *house, struct delivery *delivery,
			struct delivery_recipient *recipient)
{
	(void)house;
	house_set_result(recipient, OUTCOME_DEFERRED, PHASE_ROUTE, 0, "4.3.2", "no memory");
	delivery->hosts_tried = 0;
	delivery->host = NULL;
	refusals++;
}

/* Ten messages behind one that cannot begin: asked at 20, 40, 80 ms …, then each 5 s. */
static void a_path_that_no_worker_can_begin_is_asked_less_and_less_often(void **state)
{
	static struct house house;
	char why[600];
	struct message_id id;
	uint64_t steps;

	house_init(&house, 44);
	house.decide = never_begun;
	refusals = 0;
	house_start(&house);
	submit_many(&house, 10, "x@c.example", 100);
	id = house_send(&house, "", "x@c.example");
	steps = house.steps;
	house_run(&house, 60 * HOUSE_SECOND);
	assert_in_range(refusals, 10, 60);
	assert_true(house.steps - steps < 2000);
	assert_non_null(strstr(house_why(&house, &id, why, sizeof(why)), "no worker could begin"));
	house.decide = NULL;
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house_events_of(&house, EVENT_TRANSIENT_FAILURE, NULL), 0);
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
	submit_many(&house, count, "x@c.example", 100);
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

static void what_no_worker_could_begin_is_no_attempt(void **state)
{
	static struct house house;
	struct message_id id;

	house_init(&house, 43);
	house.decide = untried;
	house_start(&house);
	id = house_send(&house, "", "x@c.example");
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house_got(&house, &id, "x@c.example"), 1);
	assert_int_equal(house_events_of(&house, EVENT_TRANSIENT_FAILURE, &id), 0);
	assert_int_equal(house_last_event(&house, EVENT_DELIVERY)->attempts, 1);
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
	submit_many(&house, 10, "x@c.example", 100);
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
		submit_many(&house, 1, "x@c.example", 20000);
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
	submit_many(&house, 150, "x@c.example", 100);
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
	submit_many(&house, 3000, "x@c.example", 100);
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
	submit_many(&house, 20, "x@c.example", 100);
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

static void a_new_configuration_routes_waiting_mail_anew(void **state)
{
	static struct house house;
	struct queue_settings_view next;
	struct queue_pool pool;
	struct queue_pool_member member = {1, 1};

	house_init(&house, 70);
	two_sources(&house, 1, 1);
	house.pools[0].member_count = 1;
	house.hold = true;
	house_start(&house);
	submit_many(&house, 300, "x@c.example", 100);
	house_run(&house, HOUSE_SECOND);
	/* The pool's only source is replaced while mail waits and connections are open. */
	next = house.view;
	pool = house.pools[0];
	pool.members = &member;
	next.pools = &pool;
	queue_shard_configure(house.shard, &next, &house.now);
	house.hold = false;
	assert_true(house_run_dry(&house, 60 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).delivered, 300);
	assert_in_range(
		json_sum(queue_shard_show_sources(house.shard), "source", "two", "delivered"), 270,
		300);
	house_finish(&house);
}

static void a_removed_source_gives_its_mail_and_connections_up(void **state)
{
	static struct house house;
	struct queue_settings_view next;

	house_init(&house, 71);
	house.hold = true;
	house_start(&house);
	submit_many(&house, 100, "x@c.example", 100);
	next = house.view;
	struct queue_source other = house.sources[0];

	snprintf(other.name, VIEW_NAME_MAX, "other");
	next.sources = &other;
	queue_shard_configure(house.shard, &next, &house.now);
	house.hold = false;
	house.close_after_delivery = true;
	assert_true(house_run_dry(&house, 60 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).delivered, 100);
	house_run(&house, 10 * HOUSE_SECOND);
	json_t *paths = queue_shard_show_paths(house.shard);

	assert_int_equal(json_array_size(paths), 1);
	json_decref(paths);
	house_finish(&house);
}

static void destinations_choose_settings_and_smart_hosts(void **state)
{
	static struct house house;
	static const char *const hosts[] = {"[192.0.2.77]:2525", "smart.example:587"};

	house_init(&house, 72);
	house.destinations[1] = house.destinations[0];
	snprintf(house.destinations[1].domain, 256, ".corp.example");
	house.destinations[1].fixed_hosts = hosts;
	house.destinations[1].fixed_host_count = 2;
	house.destinations[2] = house.destinations[0];
	snprintf(house.destinations[2].domain, 256, "strict.example");
	house.destinations[2].settings.tls = TLS_LEVEL_ENCRYPT;
	house.view.destination_count = 3;
	resolver_sim_hosts(house.resolver, "strict.example", "shared", "mx.shared=192.0.2.9", NULL);
	resolver_sim_hosts(house.resolver, "lax.example", "shared", "mx.shared=192.0.2.9", NULL);
	house.hold = true;
	house_start(&house);
	house_send(&house, "", "x@a.corp.example");
	house_send(&house, "", "x@strict.example");
	house_send(&house, "", "x@lax.example");
	house_run(&house, HOUSE_SECOND);
	assert_int_equal(house.workers[0].held_count, 3);
	for (unsigned i = 0; i < 3; i++) {
		const struct delivery *delivery = house.workers[0].held[i];
		const char *address = delivery->recipients[0].address;
		const struct route *route = delivery->route;

		if (strstr(address, "corp")) {
			assert_int_equal(route->host_count, 2);
			assert_int_equal(route->hosts[0].port, 2525);
			assert_int_equal(ip_to_v4(&route->hosts[0].address), 0xc000024d);
			assert_int_equal(route->hosts[1].port, 587);
		} else {
			/* The same exchangers, but never the same path: their settings differ. */
			assert_int_equal(route->settings.tls, strstr(address, "strict")
								      ? TLS_LEVEL_ENCRYPT
								      : TLS_LEVEL_MAY);
		}
	}
	house_finish(&house);
}

static void requests_retry_and_delete(void **state)
{
	static struct house house;
	struct message_id id;
	struct queue_selector selector = {.domain = "c.example"};
	const struct queue_selector nothing = {0};

	house_init(&house, 73);
	house.decide = dead_until_noon;
	house_start(&house);
	submit_many(&house, 10, "x@c.example y@d.example", 100);
	house_run(&house, 10 * HOUSE_SECOND);
	assert_int_equal(queue_shard_request_delete(house.shard, &nothing, false), 0);
	assert_int_equal(queue_shard_request_delete(house.shard, &selector, true), 10);
	assert_int_equal(house_ledger(&house).removed, 0);
	assert_int_equal(queue_shard_request_delete(house.shard, &selector, false), 10);
	assert_int_equal(house_ledger(&house).removed, 10);
	house_run(&house, HOUSE_SECOND);
	assert_int_equal(house_events_of(&house, EVENT_ADMIN_BOUNCE, NULL), 10);
	house_check_ledger(&house);
	/* Removed is removed: also after a restart; and no sender is told. */
	house_crash(&house);
	house_start(&house);
	house.ignore_duplicates = false;
	assert_int_equal(house_ledger(&house).removed, 10);
	assert_int_equal(house_ledger(&house).queued, 10);
	house.decide = NULL;
	selector = (struct queue_selector){.all = true};
	assert_int_equal(queue_shard_request_retry(house.shard, &selector), 10);
	assert_true(house_run_dry(&house, 5 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).delivered, 10);
	id = house_send(&house, "a@b.example", "z@e.example");
	assert_true(house_run_dry(&house, 5 * HOUSE_SECOND));
	assert_null(queue_shard_show_message(house.shard, &id));
	house_finish(&house);
}

static void show_queue_sums_by_domain(void **state)
{
	static struct house house;
	json_t *json;

	house_init(&house, 74);
	house.decide = dead_until_noon;
	house_start(&house);
	submit_many(&house, 5, "x@c.example", 100);
	submit_many(&house, 3, "x@d.example", 100);
	house_run(&house, 10 * HOUSE_SECOND);
	assert_int_equal(json_sum(queue_shard_show_queue(house.shard, NULL), "domain", "c.example",
				  "recipients"),
			 5);
	assert_int_equal(json_sum(queue_shard_show_queue(house.shard, NULL), "domain", "d.example",
				  "recipients"),
			 3);
	json = queue_shard_show_queue(house.shard, "d.example");
	assert_int_equal(json_array_size(json), 1);
	json_decref(json);
	json = queue_shard_show_spool(house.shard);
	assert_true(json_integer_value(json_object_get(json, "batches")) > 0);
	json_decref(json);
	json = queue_shard_show_memory(house.shard);
	assert_int_equal(json_integer_value(json_object_get(json, "messages")), 8);
	json_decref(json);
	house_finish(&house);
}

static void drain_finishes_what_is_out_and_begins_nothing(void **state)
{
	static struct house house;

	house_init(&house, 75);
	house.hold_us = 50000;
	house_start(&house);
	submit_many(&house, 100, "x@c.example", 100);
	queue_shard_drain(house.shard);
	assert_false(queue_shard_is_drained(house.shard));
	house_run(&house, HOUSE_SECOND);
	assert_true(queue_shard_is_drained(house.shard));
	assert_true(house_ledger(&house).queued > 0);
	house_stop(&house);
	house_start(&house);
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).delivered, 100);
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
		cmocka_unit_test(connections_stay_within_the_limit_over_all_workers),
		cmocka_unit_test(a_busy_path_spreads_and_a_small_one_stays),
		cmocka_unit_test(sources_share_by_weight),
		cmocka_unit_test(a_source_without_the_sites_family_is_passed_over),
		cmocka_unit_test(a_dead_route_is_probed_not_hammered),
		cmocka_unit_test(mail_takes_another_source_while_one_is_held_back),
		cmocka_unit_test(a_sites_own_limit_on_connections_is_learned),
		cmocka_unit_test(a_site_that_puts_everybody_off_is_asked_by_one),
		cmocka_unit_test(greylisting_does_not_hold_others_back),
		cmocka_unit_test(a_message_removed_while_under_way_is_not_tried_again),
		cmocka_unit_test(what_no_worker_could_begin_is_no_attempt),
		cmocka_unit_test(a_path_that_no_worker_can_begin_is_asked_less_and_less_often),
		cmocka_unit_test(the_first_source_of_a_site_is_drawn_by_weight),
		cmocka_unit_test(a_domain_with_many_recipients_is_released_in_parts),
		cmocka_unit_test(the_rate_is_kept_and_says_when),
		cmocka_unit_test(bodies_stay_within_their_budget),
		cmocka_unit_test(full_tables_refuse_and_recover),
		cmocka_unit_test(more_than_the_tables_hold_is_recovered_and_drains),
		cmocka_unit_test(a_stalled_event_log_stops_new_mail_and_loses_nothing),
		cmocka_unit_test(a_broken_disk_refuses_and_stops_deliveries),
		cmocka_unit_test(a_new_configuration_routes_waiting_mail_anew),
		cmocka_unit_test(a_removed_source_gives_its_mail_and_connections_up),
		cmocka_unit_test(destinations_choose_settings_and_smart_hosts),
		cmocka_unit_test(requests_retry_and_delete),
		cmocka_unit_test(show_queue_sums_by_domain),
		cmocka_unit_test(drain_finishes_what_is_out_and_begins_nothing),
		cmocka_unit_test(full_rings_are_back_pressure_not_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
