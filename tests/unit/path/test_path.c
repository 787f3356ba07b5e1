/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Paths: connections, slots, reuse, hosts, TLS fall-back, memory of hosts; rows C3, C5, C6, C7, C8,
 * C10, C15. */
#include "tests/unit/path/world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPELINING "250-PIPELINING\r\n"
#define CHUNKING   "250-PIPELINING\r\n250-CHUNKING\r\n"

static void assert_result(const struct world *world, uint64_t cookie, enum outcome outcome,
			  enum smtp_phase phase, unsigned code, unsigned class, unsigned subject,
			  unsigned detail)
{
	const struct result *result = world_result(world, cookie);

	if (result->outcome[0] != outcome || result->phase[0] != phase || result->code[0] != code)
		print_error("outcome %u, phase %s, %u %u.%u.%u %s\n", result->outcome[0],
			    smtp_phase_name(result->phase[0]), result->code[0],
			    result->enhanced[0].class, result->enhanced[0].subject,
			    result->enhanced[0].detail, result->reply);
	assert_int_equal(result->outcome[0], outcome);
	assert_int_equal(result->phase[0], phase);
	assert_int_equal(result->code[0], code);
	assert_int_equal(result->enhanced[0].class, class);
	assert_int_equal(result->enhanced[0].subject, subject);
	assert_int_equal(result->enhanced[0].detail, detail);
}

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

/* ---- Hosts ---- */

static void refused_connection_leads_to_the_next_host(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t first, second;

	world->host_count = 3;
	world->hosts[0].refuses = true;
	world->hosts[1].connect_error = -ENETUNREACH;
	first = world_deliver(world, 7, true);
	world_run(world);
	assert_delivered(world, first, 2);
	assert_int_equal(world_result(world, first)->hosts_tried, 3);
	/* What failed is tried last for a minute … */
	second = world_deliver(world, 8, true);
	world_run(world);
	assert_delivered(world, second, 2);
	assert_int_equal(world->hosts[0].connections, 1);
	/* … and first again after that. */
	world->hosts[0].refuses = false;
	world_pass(world, 61 * US_PER_S);
	first = world_deliver(world, 9, true);
	world_run(world);
	assert_delivered(world, first, 0);
	world_free(world);
}

static void silent_host_leads_to_the_next_host_in_time(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world->host_count = 2;
	world->hosts[0].silent = true;
	cookie = world_deliver(world, 7, true);
	world_pass(world, 40 * US_PER_S);
	assert_delivered(world, cookie, 1);
	world_free(world);
}

static void greetings_that_decline_lead_to_the_next_host(void **state)
{
	static const char *const greetings[] = {"421 busy", "450 later", "554 no mail here",
						"250 huh", "junk"};

	for (size_t i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++) {
		struct world *world = world_make(4, 4);
		uint64_t cookie;

		world->host_count = 2;
		world->hosts[0].greeting = greetings[i];
		cookie = world_deliver(world, 7, true);
		world_run(world);
		assert_delivered(world, cookie, 1);
		assert_int_equal(world_result(world, cookie)->hosts_tried, 2);
		assert_int_equal(world->hosts[0].mail_commands, 0);
		world_free(world);
	}
}

static void all_hosts_down_defers_all_that_waits(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t first, second;

	world->host_count = 2;
	world->hosts[0].refuses = true;
	world->hosts[1].silent = true;
	first = world_deliver(world, 7, true);
	second = world_deliver(world, 7, false);
	world_pass(world, 40 * US_PER_S);
	assert_result(world, first, OUTCOME_DEFERRED, PHASE_CONNECT, 0, 4, 4, 1);
	assert_result(world, second, OUTCOME_DEFERRED, PHASE_CONNECT, 0, 4, 4, 1);
	assert_true(world_result(world, first)->slot_closed);
	assert_false(world_result(world, second)->slot_closed);
	assert_int_equal(world_result(world, first)->hosts_tried, 2);
	assert_int_equal(world_result(world, first)->host, 1);
	assert_non_null(strstr(world_result(world, first)->reply, "mx1.example.org[192.0.2.1]:25"));
	world_free(world);
}

static void rfc7504_bounces_only_when_every_host_takes_no_mail(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world->host_count = 2;
	world->hosts[0].greeting = "554 no SMTP service here";
	world->hosts[1].greeting = "521 5.3.2 no mail";
	cookie = world_deliver(world, 7, true);
	world_run(world);
	assert_result(world, cookie, OUTCOME_BOUNCED, PHASE_GREETING, 521, 5, 3, 2);
	world->hosts[0].greeting = "554 no SMTP service here";
	world->hosts[1].greeting = "450 later";
	cookie = world_deliver(world, 8, true);
	world_run(world);
	assert_result(world, cookie, OUTCOME_DEFERRED, PHASE_GREETING, 450, 0, 0, 0);
	world->hosts[1].greeting = "550 5.7.1 blocked"; /* of us, perhaps: not of all mail */
	cookie = world_deliver(world, 9, true);
	world_run(world);
	assert_int_equal(world_result(world, cookie)->outcome[0], OUTCOME_DEFERRED);
	world_free(world);
}

static void hosts_of_a_family_that_the_source_lacks_are_skipped(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world->host_count = 2;
	world->hosts_are_v6 = true;
	cookie = world_deliver(world, 7, true);
	world_run(world);
	assert_result(world, cookie, OUTCOME_DEFERRED, PHASE_CONNECT, 0, 4, 4, 4);
	assert_int_equal(world->hosts[0].connections, 0);
	world->has_v6 = true;
	cookie = world_deliver(world, 7, true);
	world_run(world);
	assert_delivered(world, cookie, 0);
	world_free(world);
}

/* While one connection works, another that cannot be opened is no reason to defer. */
static void failing_second_connection_leaves_the_mail_to_the_first(void **state)
{
	struct world *world = world_make(4, 4);

	world_deliver(world, 7, true);
	world_run(world);
	world->hosts[0].refuses = true;
	for (int i = 0; i < 5; i++)
		world_deliver(world, 7, true);
	world_run(world);
	assert_int_equal(world->hosts[0].messages, 6);
	for (uint64_t cookie = 1; cookie <= 6; cookie++)
		assert_delivered(world, cookie, 0);
	world_free(world);
}

/* ---- TLS ---- */

static void tls_is_used_and_described(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world->hosts[0].starttls = true;
	cookie = world_deliver(world, 7, true);
	world_run(world);
	assert_delivered(world, cookie, 0);
	assert_true(world_result(world, cookie)->tls);
	assert_int_equal(world->hosts[0].tls, 1);
	assert_int_equal(path_table_counters(world->table)->tls_sessions, 1);
	world_free(world);
}

static void c5_may_retries_in_clear_at_once_and_remembers(struct exchanger broken)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world->host_count = 2;
	world->hosts[0] = broken;
	cookie = world_deliver(world, 7, true);
	world_run(world);
	assert_delivered(world, cookie, 0);
	assert_false(world_result(world, cookie)->tls);
	assert_int_equal(world->hosts[0].connections, 2);
	assert_int_equal(world->hosts[0].most_open, 1);
	assert_int_equal(path_table_counters(world->table)->tls_clear_retries, 1);
	/* Remembered for the host … */
	cookie = world_deliver(world, 8, true);
	world_run(world);
	assert_delivered(world, cookie, 0);
	assert_int_equal(world->hosts[0].connections, 3);
	/* … for a while. */
	world_pass(world, 3601 * US_PER_S);
	world->hosts[0].breaks_tls = false;
	world->hosts[0].breaks_tls_late = false;
	world->hosts[0].injects = false;
	cookie = world_deliver(world, 9, true);
	world_run(world);
	assert_true(world_result(world, cookie)->tls);
	world_free(world);
}

static void c5_may_retries_in_clear_when_the_handshake_fails(void **state)
{
	c5_may_retries_in_clear_at_once_and_remembers(
		(struct exchanger){.starttls = true, .breaks_tls = true});
	c5_may_retries_in_clear_at_once_and_remembers(
		(struct exchanger){.starttls = true, .breaks_tls_late = true});
}

static void c4_injection_is_a_failed_handshake(void **state)
{
	c5_may_retries_in_clear_at_once_and_remembers(
		(struct exchanger){.starttls = true, .injects = true});
}

static void c5_encrypt_defers_and_sends_no_mail_in_clear(void **state)
{
	struct exchanger broken[] = {
		{.starttls = true, .breaks_tls = true},
		{.starttls = true, .breaks_tls_late = true},
		{.starttls = true, .injects = true},
		{.starttls = false},
	};

	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct world *world = world_make(4, 4);
		const struct result *result;
		uint64_t cookie;

		world->settings.tls = TLS_LEVEL_ENCRYPT;
		world->hosts[0] = broken[i];
		cookie = world_deliver(world, 7, true);
		world_run(world);
		result = world_result(world, cookie);
		assert_int_equal(result->outcome[0], OUTCOME_DEFERRED);
		assert_int_equal(world->hosts[0].mail_commands, 0);
		assert_int_equal(world->hosts[0].connections, 1);
		if (i != 1) {
			assert_int_equal(result->enhanced[0].subject, 7);
			assert_int_equal(result->enhanced[0].detail, 5);
		}
		world_free(world);
	}
}

static void c5_encrypt_goes_to_a_host_that_can(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world->settings.tls = TLS_LEVEL_ENCRYPT;
	world->host_count = 2;
	world->hosts[1].starttls = true;
	cookie = world_deliver(world, 7, true);
	world_run(world);
	assert_delivered(world, cookie, 1);
	assert_true(world_result(world, cookie)->tls);
	world_free(world);
}

/* ---- What is learned of hosts ---- */

static void c3_host_out_of_step_gets_no_pipelining_for_a_while(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world->hosts[0].features = PIPELINING;
	world->hosts[0].extra = "250 again";
	cookie = world_deliver(world, 7, true);
	world_run(world);
	assert_int_equal(world_result(world, cookie)->outcome[0], OUTCOME_DEFERRED);
	assert_int_equal(world->hosts[0].pipelined, 1);
	assert_int_equal(path_table_counters(world->table)->protocol_errors, 1);
	world->hosts[0].extra = NULL;
	cookie = world_deliver(world, 7, true);
	world_run(world);
	assert_delivered(world, cookie, 0);
	assert_int_equal(world->hosts[0].pipelined, 1);
	world_pass(world, 3601 * US_PER_S);
	world_deliver(world, 7, true);
	world_run(world);
	assert_int_equal(world->hosts[0].pipelined, 2);
	world_free(world);
}

static void c6_unknown_bdat_is_retried_with_data_in_the_same_attempt(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world->hosts[0].features = CHUNKING;
	world->hosts[0].bdat_reply = "502 what";
	cookie = world_deliver(world, 7, true);
	world_run(world);
	assert_delivered(world, cookie, 0);
	assert_int_equal(world->hosts[0].connections, 2);
	assert_int_equal(world->hosts[0].bdat, 1);
	world_deliver(world, 8, true);
	world_run(world);
	assert_int_equal(world->hosts[0].bdat, 1);
	world_free(world);
}

static void c8_recipient_limit_is_learned_for_later_connections(void **state)
{
	struct world *world = world_make(4, 4);
	const struct result *result;
	uint64_t cookie;

	world->recipients = 3;
	world->hosts[0].rcpt_reply = "452 4.5.3 too many";
	cookie = world_deliver(world, 7, true);
	world_run(world);
	result = world_result(world, cookie);
	assert_int_equal(result->outcome[0], OUTCOME_DELIVERED);
	assert_int_equal(result->code[1], 452);
	assert_int_equal(result->phase[1], PHASE_RCPT);
	world->hosts[0].rcpt_reply = NULL;
	cookie = world_deliver(world, 8, true);
	world_run(world);
	result = world_result(world, cookie);
	assert_int_equal(result->outcome[0], OUTCOME_DELIVERED);
	assert_int_equal(result->code[1], 452);
	assert_int_equal(result->phase[1], PHASE_RCPT);
	assert_int_equal(world->hosts[0].rcpt_commands, 4);
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
		cmocka_unit_test(refused_connection_leads_to_the_next_host),
		cmocka_unit_test(silent_host_leads_to_the_next_host_in_time),
		cmocka_unit_test(greetings_that_decline_lead_to_the_next_host),
		cmocka_unit_test(all_hosts_down_defers_all_that_waits),
		cmocka_unit_test(rfc7504_bounces_only_when_every_host_takes_no_mail),
		cmocka_unit_test(hosts_of_a_family_that_the_source_lacks_are_skipped),
		cmocka_unit_test(failing_second_connection_leaves_the_mail_to_the_first),
		cmocka_unit_test(tls_is_used_and_described),
		cmocka_unit_test(c5_may_retries_in_clear_when_the_handshake_fails),
		cmocka_unit_test(c4_injection_is_a_failed_handshake),
		cmocka_unit_test(c5_encrypt_defers_and_sends_no_mail_in_clear),
		cmocka_unit_test(c5_encrypt_goes_to_a_host_that_can),
		cmocka_unit_test(c3_host_out_of_step_gets_no_pipelining_for_a_while),
		cmocka_unit_test(c6_unknown_bdat_is_retried_with_data_in_the_same_attempt),
		cmocka_unit_test(c8_recipient_limit_is_learned_for_later_connections),
		cmocka_unit_test(c7_lost_after_the_dot_is_reported_as_possible_duplicate),
		cmocka_unit_test(stale_connection_is_replaced_within_the_attempt),
		cmocka_unit_test(peers_limit_of_messages_is_met_within_the_attempt),
		cmocka_unit_test(refused_message_resets_before_the_next),
		cmocka_unit_test(hanging_server_is_left_at_its_deadline),
		cmocka_unit_test(full_ring_keeps_results_until_it_has_room),
		cmocka_unit_test(drain_hands_back_what_waits_and_finishes_what_runs),
		cmocka_unit_test(sessions_can_be_listed),
		cmocka_unit_test(whatever_hosts_do_all_deliveries_and_slots_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
