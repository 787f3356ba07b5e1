/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Paths: the choice of hosts, TLS and its fall-back, what is remembered of hosts; rows C3, C4, C5,
 * C6, C8. */
#include "tests/unit/path/world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPELINING "250-PIPELINING\r\n"
#define CHUNKING   "250-PIPELINING\r\n250-CHUNKING\r\n"

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

static void greeted(struct world *world, uint32_t path, const char *first, const char *second,
		    enum outcome outcome)
{
	uint64_t cookie;

	world->hosts[0].greeting = first;
	world->hosts[1].greeting = second;
	cookie = world_deliver(world, path, true);
	world_run(world);
	assert_int_equal(world_result(world, cookie)->outcome[0], outcome);
	assert_int_equal(world_result(world, cookie)->hosts_tried, 2);
	assert_int_equal(world_result(world, cookie)->phase[0], PHASE_GREETING);
}

static void rfc7504_521_from_every_host_bounces(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world->host_count = 2;
	world->hosts[0].greeting = "521 no mail";
	world->hosts[1].greeting = "521 5.3.2 no mail";
	cookie = world_deliver(world, 7, true);
	world_run(world);
	assert_result(world, cookie, OUTCOME_BOUNCED, PHASE_GREETING, 521, 5, 3, 2);
	greeted(world, 8, "521 no mail", "450 later", OUTCOME_DEFERRED);
	greeted(world, 9, "521 no mail", "554 5.7.1 go away", OUTCOME_DEFERRED);
	world_free(world);
}

/* Mostly it means the address that we come from; another source, or time, may help. */
static void rfc5321_554_in_the_greeting_is_tried_again(void **state)
{
	struct world *world = world_make(4, 4);
	uint64_t cookie;

	world->host_count = 2;
	greeted(world, 7, "554 no SMTP service here", "554 5.7.1 blocked", OUTCOME_DEFERRED);
	greeted(world, 8, "550 5.7.1 blocked", "550 5.7.1 blocked", OUTCOME_DEFERRED);
	/* One host that says so is no reason to leave out the next. */
	world->hosts[0].greeting = "554 5.7.1 blocked";
	world->hosts[1].greeting = NULL;
	world_pass(world, 3600 * US_PER_S);
	cookie = world_deliver(world, 9, true);
	world_run(world);
	assert_delivered(world, cookie, 1);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused_connection_leads_to_the_next_host),
		cmocka_unit_test(silent_host_leads_to_the_next_host_in_time),
		cmocka_unit_test(greetings_that_decline_lead_to_the_next_host),
		cmocka_unit_test(all_hosts_down_defers_all_that_waits),
		cmocka_unit_test(rfc7504_521_from_every_host_bounces),
		cmocka_unit_test(rfc5321_554_in_the_greeting_is_tried_again),
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
