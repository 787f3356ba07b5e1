/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A message's way through a shard: accepted, routed, delivered, deferred, expired. */
#include "tests/unit/queue/house.h"

#include <stdio.h>
#include <string.h>

static void answered_250_only_when_durable(void **state)
{
	static struct house house;
	const struct house_message message = {
		.from = "a@b.example", .recipients = "x@c.example", .body_size = 10000};
	struct message_id id;
	struct disk_sim_counts counts;

	house_init(&house, 1);
	house_start(&house);
	disk_sim_counts(house.disk, &counts);
	uint64_t writes = counts.writes;

	id = house_submit(&house, 0, &message);
	for (unsigned i = 0; i < 1000 && house_answer(&house, &id) == UINT32_MAX; i++) {
		disk_sim_counts(house.disk, &counts);
		house_step(&house, 10);
	}
	assert_int_equal(house_answer(&house, &id), COMMIT_DONE);
	assert_true(counts.writes > writes);
	assert_true(house_run_dry(&house, HOUSE_SECOND));
	assert_int_equal(house_got(&house, &id, "x@c.example"), 1);
	assert_int_equal(house_events_of(&house, EVENT_RECEPTION, &id), 1);
	assert_int_equal(house_events_of(&house, EVENT_DELIVERY, &id), 1);
	assert_int_equal(house_ledger(&house).delivered, 1);
	house_finish(&house);
}

static void a_message_that_can_go_at_once_never_leaves_memory(void **state)
{
	static struct house house;

	house_init(&house, 2);
	house_start(&house);
	for (unsigned i = 0; i < 200; i++)
		house_send(&house, "a@b.example", "x@c.example y@d.example");
	assert_true(house_run_dry(&house, HOUSE_SECOND));
	assert_int_equal(queue_shard_counters(house.shard)->bodies_read, 0);
	assert_int_equal(queue_shard_counters(house.shard)->bodies_dropped, 0);
	assert_int_equal(house_ledger(&house).delivered, 400);
	house_finish(&house);
}

static void recipients_of_one_site_go_in_one_transaction(void **state)
{
	static struct house house;

	house_init(&house, 3);
	house.destinations[0].settings.recipients_per_message = 3;
	resolver_sim_hosts(house.resolver, "c.example", "big", "mx.big=192.0.2.9", NULL);
	resolver_sim_hosts(house.resolver, "d.example", "big", "mx.big=192.0.2.9", NULL);
	house_start(&house);
	/* Warm the look-ups, so that both domains are routed at the same time. */
	house_send(&house, "a@b.example", "w@c.example w@d.example");
	assert_true(house_run_dry(&house, HOUSE_SECOND));
	uint64_t before = queue_shard_counters(house.shard)->deliveries;

	house_send(&house, "a@b.example",
		   "1@c.example 1@d.example 2@c.example 2@d.example 3@c.example");
	assert_true(house_run_dry(&house, HOUSE_SECOND));
	assert_int_equal(queue_shard_counters(house.shard)->deliveries - before, 2);
	house_finish(&house);
}

static void look_ups_of_one_domain_are_coalesced(void **state)
{
	static struct house house;
	const struct house_message message = {.from = "a@b.example", .recipients = "x@c.example"};

	house_init(&house, 4);
	resolver_sim_set_latency(house.resolver, 50 * US_PER_MS);
	house_start(&house);
	for (unsigned i = 0; i < 100; i++)
		house_submit(&house, 0, &message);
	assert_true(house_run_dry(&house, 2 * HOUSE_SECOND));
	assert_int_equal(resolver_sim_submitted(house.resolver, NULL), 1);
	assert_int_equal(house_ledger(&house).delivered, 100);
	house_finish(&house);
}

static void defer_greylisted(struct house *house, struct delivery *delivery,
			     struct delivery_recipient *recipient)
{
	if (house->now.wall_us < 1700000000000000 + 40 * 60 * US_PER_S)
		house_set_result(recipient, OUTCOME_DEFERRED, PHASE_RCPT, 450, "4.2.0",
				 "greylisted");
}

/* RFC 5321, 4.5.4.1 */
static void deferred_is_tried_again_with_growing_intervals(void **state)
{
	static struct house house;
	struct message_id id;
	char why[600];

	house_init(&house, 5);
	house.decide = defer_greylisted;
	house_start(&house);
	id = house_send(&house, "a@b.example", "x@c.example");
	house_run(&house, 5 * 60 * HOUSE_SECOND);
	assert_int_equal(house_events_of(&house, EVENT_TRANSIENT_FAILURE, &id), 1);
	assert_non_null(strstr(house_why(&house, &id, why, sizeof(why)), "the next follows"));
	/* Between the attempts the body is on disk alone. */
	assert_int_equal(house.shard->body_chunks, 0);
	house_run(&house, 10 * 60 * HOUSE_SECOND);
	assert_int_equal(house_events_of(&house, EVENT_TRANSIENT_FAILURE, &id), 2);
	assert_true(house_run_dry(&house, HOUSE_HOUR));
	/* 10, 20, 40 minutes, each +- 10 %: the fourth attempt, after 63 to 77 minutes, is the one
	 * that succeeds. */
	assert_int_equal(house_events_of(&house, EVENT_TRANSIENT_FAILURE, &id), 3);
	assert_in_range(house.delivered[0].at_us - 1000 * US_PER_S, 62 * 60 * US_PER_S,
			78 * 60 * US_PER_S);
	assert_int_equal(queue_shard_counters(house.shard)->bodies_read, 3);
	house_finish(&house);
}

static void defer_one(struct house *house, struct delivery *delivery,
		      struct delivery_recipient *recipient)
{
	if (!strncmp(recipient->address, "slow", 4) &&
	    house->now.wall_us < 1700000000000000 + 5 * 60 * US_PER_S)
		house_set_result(recipient, OUTCOME_DEFERRED, PHASE_RCPT, 451, "4.3.0", "later");
	if (!strncmp(recipient->address, "bad", 3))
		house_set_result(recipient, OUTCOME_BOUNCED, PHASE_RCPT, 550, "5.1.1",
				 "no such user");
}

static void each_recipient_has_its_own_end(void **state)
{
	static struct house house;
	struct message_id id;

	house_init(&house, 6);
	house.decide = defer_one;
	house_start(&house);
	id = house_send(&house, "a@b.example", "ok@c.example slow@c.example bad@c.example");
	assert_true(house_run_dry(&house, HOUSE_HOUR));
	assert_int_equal(house_got(&house, &id, "ok@c.example"), 1);
	assert_int_equal(house_got(&house, &id, "slow@c.example"), 1);
	assert_int_equal(house_got(&house, &id, "bad@c.example"), 0);
	assert_int_equal(house_ledger(&house).bounced, 1);
	assert_int_equal(house_ledger(&house).generated, 1);
	assert_int_equal(house_ledger(&house).delivered, 3);
	assert_int_equal(house_events_of(&house, EVENT_BOUNCE, &id), 1);
	house_finish(&house);
}

/* C8 of the reliability notes; RFC 5321, 4.5.3.1.10 */
static void too_many_recipients(struct house *house, struct delivery *delivery,
				struct delivery_recipient *recipient)
{
	if (recipient - delivery->recipients >= 2)
		house_set_result(recipient, OUTCOME_DEFERRED, PHASE_RCPT, 452, "4.5.3",
				 "too many recipients");
}

static void recipients_over_the_peers_limit_follow_at_once(void **state)
{
	static struct house house;

	house_init(&house, 7);
	house.decide = too_many_recipients;
	house_start(&house);
	house_send(&house, "a@b.example",
		   "1@c.example 2@c.example 3@c.example 4@c.example 5@c.example");
	assert_true(house_run_dry(&house, HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).delivered, 5);
	assert_int_equal(house_events_of(&house, EVENT_TRANSIENT_FAILURE, NULL), 0);
	house_finish(&house);
}

static void defer_always(struct house *house, struct delivery *delivery,
			 struct delivery_recipient *recipient)
{
	if (delivery->mail_from[0])
		house_set_result(recipient, OUTCOME_DEFERRED, PHASE_RCPT, 451, "4.2.2",
				 "mailbox full");
}

static void expired_after_its_time_with_a_notice(void **state)
{
	static struct house house;
	struct message_id id;

	house_init(&house, 8);
	house.decide = defer_always;
	house_start(&house);
	id = house_send(&house, "a@b.example", "x@c.example");
	house_run(&house, 2 * HOUSE_DAY - 60 * HOUSE_SECOND);
	assert_int_equal(house_ledger(&house).queued, 1);
	assert_true(house_run_dry(&house, 120 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).expired, 1);
	assert_int_equal(house_events_of(&house, EVENT_EXPIRATION, &id), 1);
	assert_int_equal(house.notice_count, 1);
	assert_string_equal(house.notices[0].to, "a@b.example");
	assert_non_null(strstr(house.notices[0].text, "Status: 4.4.7"));
	assert_non_null(strstr(house.notices[0].text, "Diagnostic-Code: smtp;451 mailbox full"));
	house_finish(&house);
}

/** mta.md 3.1: no state of a queue keeps a message beyond its time. */
static void expires_while_its_path_is_held_back(void **state)
{
	static struct house house;

	house_init(&house, 9);
	house.destinations[0].message_rate_per_hour = 1;
	house_start(&house);
	for (unsigned i = 0; i < 100; i++)
		house_send(&house, "a@b.example", "x@c.example");
	house_run(&house, 2 * HOUSE_DAY + 10 * HOUSE_SECOND);
	assert_in_range(house_ledger(&house).expired, 50, 53);
	assert_int_equal(house_events_of(&house, EVENT_EXPIRATION, NULL) +
				 house_events_of(&house, EVENT_DELIVERY, NULL) - house.notice_count,
			 100);
	house_finish(&house);
}

static void expires_while_its_domain_cannot_be_looked_up(void **state)
{
	static struct house house;
	struct message_id id;
	char why[600];

	house_init(&house, 10);
	resolver_sim_fail(house.resolver, "c.example", RESOLUTION_TEMPORARY,
			  "SERVFAIL at c.example");
	house_start(&house);
	id = house_send(&house, "a@b.example", "x@c.example");
	house_run(&house, HOUSE_HOUR);
	assert_non_null(strstr(house_why(&house, &id, why, sizeof(why)), "SERVFAIL"));
	assert_true(house_run_dry(&house, 3 * HOUSE_DAY));
	assert_int_equal(house_ledger(&house).expired, 1);
	assert_non_null(strstr(house.notices[0].text, "SERVFAIL at c.example"));
	house_finish(&house);
}

static void dead_domains_bounce_at_once(void **state)
{
	static const struct {
		enum resolution_status status;
		const char *code;
	} rows[] = {{RESOLUTION_NO_DOMAIN, "Status: 5.1.2"},
		    {RESOLUTION_NULL_MX, "Status: 5.1.10"},
		    {RESOLUTION_NO_ADDRESS, "Status: 5.4.4"},
		    {RESOLUTION_LOOP, "Status: 5.4.6"}};
	static struct house house;

	for (unsigned i = 0; i < 4; i++) {
		house_init(&house, 20 + i);
		resolver_sim_fail(house.resolver, "c.example", rows[i].status, "says why");
		house_start(&house);
		house_send(&house, "a@b.example", "x@c.example");
		assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
		assert_int_equal(house_ledger(&house).bounced, 1);
		assert_int_equal(house.notice_count, 1);
		assert_non_null(strstr(house.notices[0].text, rows[i].code));
		house_finish(&house);
	}
}

static void a_busy_resolver_only_delays(void **state)
{
	static struct house house;

	house_init(&house, 30);
	resolver_sim_refuse(house.resolver, 20);
	house_start(&house);
	house_send(&house, "a@b.example", "x@c.example");
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).delivered, 1);
	house_finish(&house);
}

static void passwords_are_asked_and_answered(void **state)
{
	static struct house house;
	static struct auth_request request = {.password = "secret"};
	const struct record record = {.kind = RECORD_AUTH, .auth = &request};

	house_init(&house, 31);
	house_start(&house);
	ring_put(house.workers[0].from_worker, &record);
	house_step(&house, 10);
	house_step(&house, 10);
	/* Without a user file nobody is let in; the password does not stay. */
	assert_int_equal(house.auth_answers, 1);
	assert_false(request.accepted);
	assert_string_equal(request.password, "");
	house_finish(&house);
}

static void a_torn_envelope_is_refused(void **state)
{
	static struct house house;
	struct message_id id;
	const struct house_message message = {.from = "a@b.example", .recipients = "x@c.example"};

	house_init(&house, 32);
	house_start(&house);
	id = house_submit(&house, 0, &message);
	struct record record;

	ring_get(house.workers[0].from_worker, &record);
	record.submission->envelope.tail->length -= 3;
	record.submission->envelope.size -= 3;
	ring_put(house.workers[0].from_worker, &record);
	house_run(&house, HOUSE_SECOND);
	assert_int_equal(house_answer(&house, &id), COMMIT_IO_ERROR);
	assert_int_equal(house_ledger(&house).accepted, 0);
	house_finish(&house);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answered_250_only_when_durable),
		cmocka_unit_test(a_message_that_can_go_at_once_never_leaves_memory),
		cmocka_unit_test(recipients_of_one_site_go_in_one_transaction),
		cmocka_unit_test(look_ups_of_one_domain_are_coalesced),
		cmocka_unit_test(deferred_is_tried_again_with_growing_intervals),
		cmocka_unit_test(each_recipient_has_its_own_end),
		cmocka_unit_test(recipients_over_the_peers_limit_follow_at_once),
		cmocka_unit_test(expired_after_its_time_with_a_notice),
		cmocka_unit_test(expires_while_its_path_is_held_back),
		cmocka_unit_test(expires_while_its_domain_cannot_be_looked_up),
		cmocka_unit_test(dead_domains_bounce_at_once),
		cmocka_unit_test(a_busy_resolver_only_delays),
		cmocka_unit_test(passwords_are_asked_and_answered),
		cmocka_unit_test(a_torn_envelope_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
