/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Paths: connections, slots, reuse, loss, full rings, draining; rows C7, C15. */
#include "tests/unit/path/world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPELINING "250-PIPELINING\r\n"
#define CHUNKING   "250-PIPELINING\r\n250-CHUNKING\r\n"

/* ---- Connections and slots ---- */

static void message_is_delivered_and_its_connection_reused(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t first, second;

	first = world_deliver(world, 7, true);
	world_run(world);
	assert_delivered(world, first, 0);
	assert_false(world_result(world, first)->reused);
	assert_false(world_result(world, first)->slot_closed);
	assert_int_equal(path_table_sessions(world->table), 1);
	second = world_deliver(world, 7, false);
	world_run(world);
	assert_delivered(world, second, 0);
	assert_true(world_result(world, second)->reused);
	assert_int_equal(world_result(world, second)->session, world_result(world, first)->session);
	assert_int_equal(world_result(world, first)->session >> 48, 3);
	assert_int_equal(world->hosts[0].connections, 1);
	assert_int_equal(world->hosts[0].rset, 0);
	assert_int_equal(path_table_counters(world->table)->connections_reused, 1);
	assert_int_equal(path_table_counters(world->table)->recipients_delivered, 2);
	world_free(world);
}

static void idle_connection_quits_and_gives_its_slot_back(void **state)
{
	struct world *world = world_make(4, 4);

	world_deliver(world, 7, true);
	world_run(world);
	world_pass(world, 9 * US_PER_S);
	assert_int_equal(world->slots_back, 0);
	world_pass(world, 2 * US_PER_S);
	assert_int_equal(world->hosts[0].quit, 1);
	assert_int_equal(world->slots_back, 1);
	assert_int_equal(path_table_sessions(world->table), 0);
	world_free(world);
}

static void slot_that_an_idle_connection_makes_needless_goes_back_at_once(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t second;

	world_deliver(world, 7, true);
	world_run(world);
	second = world_deliver(world, 7, true);
	world_run(world);
	assert_delivered(world, second, 0);
	assert_int_equal(world->slots_back, 1);
	assert_int_equal(world->hosts[0].connections, 1);
	world_free(world);
}

static void connections_never_exceed_the_slots(void **state)
{
	struct world *world = world_make(20, 4);

	for (int i = 0; i < 100; i++)
		world_deliver(world, 7, i % 33 == 0);
	world_run(world);
	assert_int_equal(world->result_count, 100);
	for (uint64_t cookie = 1; cookie <= 100; cookie++)
		assert_delivered(world, cookie, 0);
	assert_int_equal(world->hosts[0].most_open, 4);
	assert_int_equal(world->hosts[0].messages, 100);
	world_free(world);
}

static void delivery_without_slot_or_connection_comes_back_untried(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie = world_deliver(world, 7, false);

	world_run(world);
	assert_result(world, cookie, OUTCOME_DEFERRED, PHASE_ROUTE, 0, 4, 3, 2);
	assert_int_equal(world_result(world, cookie)->hosts_tried, 0);
	assert_int_equal(world_result(world, cookie)->host, -1);
	world_free(world);
}

static void full_tables_give_back_what_they_cannot_hold(void **state)
{
	struct world *world = world_make(1, 2);
	uint64_t second, third;

	world->hosts[0].hangs = true;
	world_deliver(world, 1, true);
	second = world_deliver(world, 2, true);
	third = world_deliver(world, 3, true);
	world_run(world);
	assert_result(world, second, OUTCOME_DEFERRED, PHASE_ROUTE, 0, 4, 3, 2);
	assert_result(world, third, OUTCOME_DEFERRED, PHASE_ROUTE, 0, 4, 3, 2);
	assert_int_equal(world->slots_back, 2);
	world_free(world);
}

static void c15_connection_is_not_used_beyond_its_time(void **state)
{
	struct world *world = world_make(4, 4);

	world_deliver(world, 7, true);
	for (int i = 0; i < 59; i++) {
		world_pass(world, 5 * US_PER_S);
		world_deliver(world, 7, false);
		world_run(world);
	}
	assert_int_equal(world->hosts[0].connections, 1);
	assert_int_equal(world->hosts[0].messages, 60);
	world_pass(world, 6 * US_PER_S);
	assert_int_equal(world->hosts[0].quit, 1);
	assert_int_equal(world->slots_back, 1);
	world_deliver(world, 7, true);
	world_run(world);
	assert_int_equal(world->hosts[0].connections, 2);
	assert_int_equal(world->hosts[0].messages, 61);
	world_free(world);
}

static void c15_mail_that_comes_late_finds_a_new_connection(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world->settings.idle_timeout_us = 3600 * US_PER_S;
	world->settings.reuse_time_max_us = 300 * US_PER_S;
	world_deliver(world, 7, true);
	world_run(world);
	/* Before the timer has its turn. */
	world->now.mono_us += 301 * US_PER_S;
	cookie = world_deliver(world, 7, false);
	world_run(world);
	assert_delivered(world, cookie, 0);
	assert_false(world_result(world, cookie)->reused);
	assert_int_equal(world->hosts[0].connections, 2);
	assert_int_equal(world->hosts[0].quit, 1);
	assert_int_equal(world->slots_back, 0);
	world_free(world);
}

static void connection_ends_after_its_number_of_messages(void **state)
{
	struct world *world = world_make(4, 4);

	world->settings.messages_per_connection = 3;
	for (int i = 0; i < 7; i++)
		world_deliver(world, 7, i == 0);
	world_run(world);
	assert_int_equal(world->hosts[0].messages, 7);
	assert_int_equal(world->hosts[0].connections, 3);
	assert_int_equal(world->hosts[0].quit, 2);
	assert_int_equal(world->hosts[0].most_open, 1);
	assert_int_equal(world->slots_back, 0);
	world_free(world);
}

static void rfc9422_mailmax_ends_a_connection_too(void **state)
{
	struct world *world = world_make(4, 4);

	world->hosts[0].features = "250-LIMITS MAILMAX=2\r\n";
	for (int i = 0; i < 4; i++)
		world_deliver(world, 7, i == 0);
	world_run(world);
	assert_int_equal(world->hosts[0].messages, 4);
	assert_int_equal(world->hosts[0].connections, 2);
	world_free(world);
}

static void connection_of_an_older_route_is_not_used(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world_deliver(world, 7, true);
	world_run(world);
	world->generation = 1;
	cookie = world_deliver(world, 7, false);
	world_run(world);
	assert_delivered(world, cookie, 0);
	assert_false(world_result(world, cookie)->reused);
	assert_int_equal(world->hosts[0].quit, 1);
	assert_int_equal(world->hosts[0].connections, 2);
	assert_int_equal(world->slots_back, 0);
	world_free(world);
}

static void closed_path_quits_idle_connections_now_and_busy_ones_later(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t busy;

	world_deliver(world, 7, true);
	world_run(world);
	path_table_close_path(world->table, 7, &world->now);
	world_run(world);
	assert_int_equal(world->hosts[0].quit, 1);
	assert_int_equal(world->slots_back, 1);
	world->hosts[0].hangs = true;
	busy = world_deliver(world, 7, true);
	world_run(world);
	path_table_close_path(world->table, 7, &world->now);
	world_run(world);
	assert_int_equal(world->hosts[0].open, 1);
	world->hosts[0].hangs = false;
	world_run(world);
	assert_delivered(world, busy, 0);
	assert_int_equal(world->hosts[0].open, 0);
	assert_int_equal(world->hosts[0].quit, 2);
	assert_int_equal(world->slots_back, 2);
	path_table_close_path(world->table, 12345, &world->now);
	world_free(world);
}

/* ---- Loss ---- */

static void c7_lost_after_the_dot_is_reported_as_possible_duplicate(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world->hosts[0].resets_after_dot = true;
	cookie = world_deliver(world, 7, true);
	world_run(world);
	assert_result(world, cookie, OUTCOME_DEFERRED, PHASE_DOT, 0, 4, 4, 2);
	assert_true(world_result(world, cookie)->possible_duplicate);
	assert_int_equal(world->slots_back, 1);
	assert_int_equal(path_table_counters(world->table)->ambiguous, 1);
	world_free(world);
}

static void stale_connection_is_replaced_within_the_attempt(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world->hosts[0].drops_idle = true;
	world_deliver(world, 7, true);
	world_pass(world, 5 * US_PER_S);
	cookie = world_deliver(world, 7, false);
	world_run(world);
	assert_delivered(world, cookie, 0);
	assert_int_equal(world->hosts[0].connections, 2);
	assert_int_equal(world->slots_back, 0);
	world_free(world);
}

static void peers_limit_of_messages_is_met_within_the_attempt(void **state)
{
	struct world *world = world_make(4, 4);

	world->hosts[0].messages_max = 2;
	for (int i = 0; i < 7; i++)
		world_deliver(world, 7, i == 0);
	world_run(world);
	for (uint64_t cookie = 1; cookie <= 7; cookie++)
		assert_delivered(world, cookie, 0);
	assert_int_equal(world->hosts[0].connections, 4);
	assert_int_equal(world->hosts[0].most_open, 1);
	world_free(world);
}

static void refused_message_resets_before_the_next(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t first, second;

	world->hosts[0].dot_reply = "554 5.7.1 spam";
	first = world_deliver(world, 7, true);
	world_run(world);
	assert_result(world, first, OUTCOME_BOUNCED, PHASE_DOT, 554, 5, 7, 1);
	assert_int_equal(world->hosts[0].rset, 0);
	world->hosts[0].dot_reply = NULL;
	second = world_deliver(world, 7, false);
	world_run(world);
	assert_delivered(world, second, 0);
	assert_int_equal(world->hosts[0].rset, 1);
	assert_int_equal(world->hosts[0].connections, 1);
	world_free(world);
}

static void hanging_server_is_left_at_its_deadline(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world->hosts[0].hangs = true;
	cookie = world_deliver(world, 7, true);
	world_pass(world, 299 * US_PER_S);
	assert_int_equal(world->result_count, 0);
	world_pass(world, 2 * US_PER_S);
	assert_result(world, cookie, OUTCOME_DEFERRED, PHASE_MAIL, 0, 4, 4, 2);
	assert_int_equal(path_table_counters(world->table)->timeouts, 1);
	assert_int_equal(world->slots_back, 1);
	world_free(world);
}

/* ---- Rings and drain ---- */

static void full_ring_keeps_results_until_it_has_room(void **state)
{
	struct world *world = world_make(4, 4);

	for (int i = 0; i < 5; i++)
		world_deliver(world, 7, i == 0);
	world->ring_full = true;
	world_pass(world, 60 * US_PER_S);
	assert_int_equal(world->result_count, 0);
	assert_int_equal(path_table_deliveries(world->table), 5);
	assert_int_equal(world->hosts[0].messages, 5);
	world->ring_full = false;
	world_run(world);
	assert_int_equal(world->result_count, 5);
	assert_int_equal(world->slots_back, 1);
	assert_int_equal(path_table_deliveries(world->table), 0);
	world_free(world);
}

static void drain_hands_back_what_waits_and_finishes_what_runs(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t busy, waiting, idle, late;

	idle = world_deliver(world, 1, true);
	world_run(world);
	world->hosts[0].hangs = true;
	busy = world_deliver(world, 7, true);
	world_run(world);
	waiting = world_deliver(world, 7, false);
	path_table_drain(world->table, &world->now);
	world_run(world);
	assert_delivered(world, idle, 0);
	assert_result(world, waiting, OUTCOME_DEFERRED, PHASE_ROUTE, 0, 4, 3, 2);
	assert_int_equal(world->hosts[0].open, 1);
	late = world_deliver(world, 8, true);
	world_run(world);
	assert_result(world, late, OUTCOME_DEFERRED, PHASE_ROUTE, 0, 4, 3, 2);
	world->hosts[0].hangs = false;
	world_run(world);
	assert_delivered(world, busy, 0);
	assert_int_equal(path_table_sessions(world->table), 0);
	assert_int_equal(world->slots_back, world->slots_granted);
	world_free(world);
}

/* Nothing would end it before the deadline of a command, and the worker would wait for it. */
static void drain_ends_connections_in_the_middle_of_a_reply(void **state)
{
	struct world *world = world_make(4, 4);

	world_deliver(world, 7, true);
	world_run(world);
	world_say(world, 0, "42");
	path_table_drain(world->table, &world->now);
	world_run(world);
	assert_int_equal(path_table_sessions(world->table), 0);
	assert_int_equal(world->slots_back, 1);
	world_free(world);
}

static void closed_path_ends_connections_in_the_middle_of_a_reply(void **state)
{
	struct world *world = world_make(4, 4);

	world_deliver(world, 7, true);
	world_run(world);
	world_say(world, 0, "421-so");
	path_table_close_path(world->table, 7, &world->now);
	world_run(world);
	assert_int_equal(path_table_sessions(world->table), 0);
	assert_int_equal(world->slots_back, 1);
	world_free(world);
}

static void sessions_can_be_listed(void **state)
{
	struct world *world = world_make(4, 4);
	struct session_entry entries[4];

	world->hosts[0].starttls = true;
	world_deliver(world, 7, true);
	world_run(world);
	assert_int_equal(path_table_list(world->table, entries, 4), 1);
	assert_string_equal(entries[0].state, "idle");
	assert_string_equal(entries[0].name, "example.org");
	assert_string_equal(entries[0].peer_name, "mx0.example.org");
	assert_string_equal(entries[0].tls_text, "TLSv1.3 TLS_AES_128_GCM_SHA256");
	assert_int_equal(entries[0].messages, 1);
	assert_int_equal(path_table_list(world->table, entries, 0), 0);
	world_free(world);
}

/* ---- Anything ---- */

static const char *any_of(const char *const *choice, unsigned count, unsigned value)
{
	return value % 8 < 5 ? NULL : choice[value % count];
}

static void shuffle_host(struct exchanger *host)
{
	static const char *const greetings[] = {"554 no", "421 no", "450 no", "junk"};
	static const char *const features[] = {PIPELINING, CHUNKING, "250-SIZE 5\r\n",
					       "250-LIMITS RCPTMAX=1\r\n"};
	static const char *const replies[] = {"550 no",	 "451 later", "421 bye",
					      "354 huh", "nonsense",  "452 4.5.3 many"};
	unsigned r = (unsigned)rand();

	host->refuses = rand() % 8 == 0;
	host->silent = rand() % 16 == 0;
	host->connect_error = rand() % 16 == 0 ? -EADDRNOTAVAIL : 0;
	host->greeting = rand() % 8 == 0 ? greetings[r % 4] : NULL;
	host->features = features[r % 4];
	host->starttls = r & 1;
	host->breaks_tls = rand() % 4 == 0;
	host->breaks_tls_late = rand() % 8 == 0;
	host->injects = rand() % 8 == 0;
	host->mail_reply = any_of(replies, 6, (unsigned)rand());
	host->rcpt_reply = any_of(replies, 6, (unsigned)rand());
	host->bdat_reply = rand() % 8 == 0 ? "500 what" : NULL;
	host->dot_reply = any_of(replies, 6, (unsigned)rand());
	host->extra = rand() % 16 == 0 ? "250 more" : NULL;
	host->hangs = rand() % 16 == 0;
	host->resets_after_dot = rand() % 16 == 0;
	host->messages_max = (unsigned)rand() % 4;
	host->drops_idle = rand() % 8 == 0;
}

static void run_seed(unsigned seed)
{
	struct world *world;
	unsigned delivered = 0, taken = 0;

	srand(seed);
	world = world_make(1 + (uint32_t)rand() % 8, 1 + (uint32_t)rand() % 4);
	world->host_count = 1 + (unsigned)rand() % 4;
	world->recipients = 1 + (uint32_t)rand() % 3;
	world->settings.messages_per_connection = 1 + (uint32_t)rand() % 5;
	world->settings.tls = (enum tls_level)(rand() % 3);
	for (int step = 0; step < 60; step++) {
		switch (rand() % 8) {
		case 0:
			shuffle_host(&world->hosts[rand() % 4]);
			break;
		case 1:
			world_pass(world, (uint64_t)(rand() % 100) * US_PER_S);
			break;
		case 2:
			world->ring_full = rand() % 4 == 0;
			break;
		case 3:
			path_table_close_path(world->table, (uint32_t)rand() % 4, &world->now);
			world->generation += rand() % 4 == 0;
			break;
		default:
			world_deliver(world, (uint32_t)rand() % 4, rand() % 2);
			if (rand() % 2)
				world_run(world);
			break;
		}
	}
	world->ring_full = false;
	world_pass(world, 2 * 3600 * US_PER_S);
	for (unsigned i = 0; i < world->result_count; i++) {
		bool any = false;

		for (uint32_t j = 0; j < world->results[i].recipient_count; j++)
			any |= world->results[i].outcome[j] == OUTCOME_DELIVERED;
		delivered += any;
	}
	for (unsigned i = 0; i < WORLD_HOSTS; i++)
		taken += world->hosts[i].messages;
	/* Nothing counts as delivered that no exchanger took. */
	assert_true(delivered <= taken);
	world_free(world);
}

static void whatever_hosts_do_all_deliveries_and_slots_come_back(void **state)
{
	for (unsigned seed = 1; seed <= 500; seed++)
		run_seed(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message_is_delivered_and_its_connection_reused),
		cmocka_unit_test(idle_connection_quits_and_gives_its_slot_back),
		cmocka_unit_test(slot_that_an_idle_connection_makes_needless_goes_back_at_once),
		cmocka_unit_test(connections_never_exceed_the_slots),
		cmocka_unit_test(delivery_without_slot_or_connection_comes_back_untried),
		cmocka_unit_test(full_tables_give_back_what_they_cannot_hold),
		cmocka_unit_test(c15_connection_is_not_used_beyond_its_time),
		cmocka_unit_test(c15_mail_that_comes_late_finds_a_new_connection),
		cmocka_unit_test(connection_ends_after_its_number_of_messages),
		cmocka_unit_test(rfc9422_mailmax_ends_a_connection_too),
		cmocka_unit_test(connection_of_an_older_route_is_not_used),
		cmocka_unit_test(closed_path_quits_idle_connections_now_and_busy_ones_later),
		cmocka_unit_test(c7_lost_after_the_dot_is_reported_as_possible_duplicate),
		cmocka_unit_test(stale_connection_is_replaced_within_the_attempt),
		cmocka_unit_test(peers_limit_of_messages_is_met_within_the_attempt),
		cmocka_unit_test(refused_message_resets_before_the_next),
		cmocka_unit_test(hanging_server_is_left_at_its_deadline),
		cmocka_unit_test(full_ring_keeps_results_until_it_has_room),
		cmocka_unit_test(drain_hands_back_what_waits_and_finishes_what_runs),
		cmocka_unit_test(drain_ends_connections_in_the_middle_of_a_reply),
		cmocka_unit_test(closed_path_ends_connections_in_the_middle_of_a_reply),
		cmocka_unit_test(sessions_can_be_listed),
		cmocka_unit_test(whatever_hosts_do_all_deliveries_and_slots_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
