/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What operators do while mail waits and is under way: new configurations, requests, shows,
 * draining. */
#include "tests/unit/queue/house.h"

#include <stdio.h>
#include <string.h>

static void a_new_configuration_routes_waiting_mail_anew(void **state)
{
	static struct house house;
	struct queue_settings_view next;
	struct queue_pool pool;
	struct queue_pool_member member = {1, 1};

	house_init(&house, 70);
	house_two_sources(&house, 1, 1);
	house.pools[0].member_count = 1;
	house.hold = true;
	house_start(&house);
	house_submit_many(&house, 300, "x@c.example", 100);
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
		house_sum(queue_shard_show_sources(house.shard), "source", "two", "delivered"), 270,
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
	house_submit_many(&house, 100, "x@c.example", 100);
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
	house.decide = house_dead_for_an_hour;
	house_start(&house);
	house_submit_many(&house, 10, "x@c.example y@d.example", 100);
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

static void a_message_removed_while_under_way_is_not_tried_again(void **state)
{
	static struct house house;
	const struct queue_selector all = {.all = true};

	house_init(&house, 46);
	house.decide = house_dead_for_an_hour;
	house.hold_us = 500000;
	house_start(&house);
	house_submit_many(&house, 3, "x@c.example", 100);
	house_run(&house, 100 * US_PER_MS);
	assert_int_equal(queue_shard_request_delete(house.shard, &all, false), 3);
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).removed, 3);
	assert_int_equal(house_events_of(&house, EVENT_ADMIN_BOUNCE, NULL), 3);
	house_finish(&house);
}

static void show_queue_sums_by_domain(void **state)
{
	static struct house house;
	json_t *json;

	house_init(&house, 74);
	house.decide = house_dead_for_an_hour;
	house_start(&house);
	house_submit_many(&house, 5, "x@c.example", 100);
	house_submit_many(&house, 3, "x@d.example", 100);
	house_run(&house, 10 * HOUSE_SECOND);
	assert_int_equal(house_sum(queue_shard_show_queue(house.shard, NULL), "domain", "c.example",
				   "recipients"),
			 5);
	assert_int_equal(house_sum(queue_shard_show_queue(house.shard, NULL), "domain", "d.example",
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
	house_submit_many(&house, 100, "x@c.example", 100);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_configuration_routes_waiting_mail_anew),
		cmocka_unit_test(a_removed_source_gives_its_mail_and_connections_up),
		cmocka_unit_test(destinations_choose_settings_and_smart_hosts),
		cmocka_unit_test(requests_retry_and_delete),
		cmocka_unit_test(a_message_removed_while_under_way_is_not_tried_again),
		cmocka_unit_test(show_queue_sums_by_domain),
		cmocka_unit_test(drain_finishes_what_is_out_and_begins_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
