/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Paths that are held back, and what is not: dead routes, refused sources, waves of 4xx,
 * greylisting, deliveries that no worker could begin. */
#include "tests/unit/queue/house.h"

#include <string.h>

/** Y4: one probe for all that wait, no stampede. */
static void a_dead_route_is_probed_not_hammered(void **state)
{
	static struct house house;
	uint64_t attempts, most = 0;
	char why[600];
	struct message_id id;

	house_init(&house, 40);
	house.decide = house_dead_for_an_hour;
	house.destinations[0].settings.connections_max = 5;
	house_start(&house);
	house_submit_many(&house, 500, "x@c.example", 100);
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
	house_two_sources(&house, 1, 1);
	house.decide = one_source_is_refused;
	house_start(&house);
	house_submit_many(&house, 100, "x@c.example", 100);
	house_run(&house, 5 * HOUSE_SECOND);
	assert_true(house_ledger(&house).delivered >= 90);
	assert_true(house_run_dry(&house, HOUSE_DAY));
	assert_int_equal(house_ledger(&house).delivered, 100);
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
	house_submit_many(&house, 1000, "x@c.example", 100);
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
	house_submit_many(&house, 200, "x@c.example", 100);
	house_run(&house, 5 * HOUSE_SECOND);
	/* Each has had its first attempt, so that its time at the greylist runs. */
	assert_int_equal(house_events_of(&house, EVENT_TRANSIENT_FAILURE, NULL), 200);
	assert_true(house_run_dry(&house, HOUSE_HOUR));
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
	house_submit_many(&house, 10, "x@c.example", 100);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dead_route_is_probed_not_hammered),
		cmocka_unit_test(mail_takes_another_source_while_one_is_held_back),
		cmocka_unit_test(a_site_that_puts_everybody_off_is_asked_by_one),
		cmocka_unit_test(greylisting_does_not_hold_others_back),
		cmocka_unit_test(what_no_worker_could_begin_is_no_attempt),
		cmocka_unit_test(a_path_that_no_worker_can_begin_is_asked_less_and_less_often),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
