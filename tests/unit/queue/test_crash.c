/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What survives: kill -9 and power cuts at random places, over many seeds. Everything answered
 * COMMIT_DONE ends, each recipient exactly once but for deliveries whose outcome was not durable
 * yet at the cut; the ledger balances after each start (I1 to I4 of the reliability notes, 1.5).
 * And since a test that cannot fail is a defect: on a disk that acknowledges what is not durable,
 * mail is missed.
 */
#include "tests/unit/queue/house.h"

#include <stdio.h>
#include <string.h>

#define MESSAGES 40

struct crash_message {
	struct message_id id;
	char recipients[400];
};

static uint32_t dice(struct house *house, uint32_t below)
{
	return random_below(&house->random, below);
}

/** By the address: g… are greylisted at first, b… bounce, d… defer for long; notices are delivered.
 */
static void far_side(struct house *house, struct delivery *delivery,
		     struct delivery_recipient *recipient)
{
	if (!delivery->mail_from[0])
		return;
	switch (recipient->address[0]) {
	case 'g':
		if (dice(house, 3) == 0)
			house_set_result(recipient, OUTCOME_DEFERRED, PHASE_RCPT, 450, "4.2.0",
					 "greylisted");
		break;
	case 'b':
		house_set_result(recipient, OUTCOME_BOUNCED, PHASE_RCPT, 550, "5.1.1",
				 "no such user");
		break;
	case 'd':
		if (dice(house, 2))
			house_set_result(recipient, OUTCOME_DEFERRED, PHASE_CONNECT, 0, "4.4.1",
					 "timed out");
		break;
	}
}

static void submit_some(struct house *house, struct crash_message *out)
{
	static const char kinds[] = "aaagbd";
	struct house_message message = {.from = dice(house, 4) ? "sender@from.example" : "",
					.recipients = out->recipients,
					.body_size = dice(house, 10) ? dice(house, 3000)
								     : dice(house, 200000)};

	out->recipients[0] = '\0';
	for (unsigned i = 0, n = 1 + dice(house, 4); i < n; i++) {
		char one[80];

		snprintf(one, sizeof(one), "%s%c%u@d%u.example", i ? " " : "",
			 kinds[dice(house, 6)], i, dice(house, 5));
		strcat(out->recipients, one);
	}
	out->id = house_submit(house, dice(house, house->worker_count), &message);
}

static void run_a_bit(struct house *house)
{
	uint32_t steps = dice(house, 60);

	for (uint32_t i = 0; i < steps; i++)
		house_step(house, 20 + dice(house, 200));
	if (dice(house, 8) == 0)
		house_run(house, dice(house, 3) * 1000 * US_PER_S);
}

/** @return recipients that were acknowledged and that the far side did not get, but should have */
static unsigned count_missing(const struct house *house, const struct crash_message *message)
{
	char text[400], *save = NULL;
	unsigned missing = 0;

	if (house_answer(house, &message->id) != COMMIT_DONE)
		return 0;
	memcpy(text, message->recipients, sizeof(text));
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		missing += word[0] != 'b' && house_got(house, &message->id, word) == 0;
	return missing;
}

static uint64_t count_acknowledged(const struct house *house, const struct crash_message *messages,
				   unsigned count)
{
	uint64_t recipients = 0;

	for (unsigned i = 0; i < count; i++) {
		if (house_answer(house, &messages[i].id) != COMMIT_DONE)
			continue;
		recipients++;
		for (const char *c = messages[i].recipients; *c; c++)
			recipients += *c == ' ';
	}
	return recipients;
}

static uint64_t count_duplicates(const struct house *house)
{
	uint64_t duplicates = 0;

	for (size_t i = 0; i < house->delivered_count; i++) {
		const struct house_delivered *one = &house->delivered[i];
		bool seen = false;

		for (size_t k = 0; k < i && !seen; k++)
			seen = !memcmp(&house->delivered[k].id, &one->id, sizeof(one->id)) &&
			       !strcmp(house->delivered[k].address, one->address);
		duplicates += seen;
	}
	return duplicates;
}

static void crash_init(struct house *house, uint64_t seed, bool lossy)
{
	house_init(house, seed);
	if (lossy) {
		const struct disk_sim_settings disk = {
			.seed = seed, .latency_min_us = 50, .latency_max_us = 300, .lossy = true};

		house->disk->operations->destroy(house->disk);
		house->disk = disk_sim_create(&disk);
	}
	house->worker_count = 2;
	house->ignore_duplicates = true;
	house->decide = far_side;
	house->view.retry_initial_us = 60 * US_PER_S;
}

static unsigned crash_rounds(struct house *house, struct crash_message *messages, bool power,
			     bool lossy)
{
	unsigned sent = 0;

	for (unsigned round = 0; round < 6; round++) {
		unsigned burst = dice(house, MESSAGES / 4);

		while (burst-- > 0 && sent < MESSAGES) {
			submit_some(house, &messages[sent++]);
			if (dice(house, 2))
				run_a_bit(house);
		}
		run_a_bit(house);
		if (power)
			house_power_cut(house);
		else
			house_crash(house);
		house->now.mono_us += dice(house, 5) * US_PER_S;
		house->now.wall_us += dice(house, 1000) * US_PER_S;
		house_start(house);
		if (!lossy)
			house_check_ledger(house);
	}
	return sent;
}

/** @return acknowledged recipients that are missing at the far side */
static unsigned run_seed(uint64_t seed, bool power, bool lossy)
{
	static struct house house;
	static struct crash_message messages[MESSAGES];
	unsigned sent, missing = 0;
	bool dry;

	crash_init(&house, seed, lossy);
	house_start(&house);
	sent = crash_rounds(&house, messages, power, lossy);
	dry = house_run_dry(&house, 4 * HOUSE_DAY);
	for (unsigned i = 0; i < sent; i++)
		missing += count_missing(&house, &messages[i]);
	if (!lossy) {
		assert_true(dry);
		/* What is durable but was not answered yet counts too. */
		assert_true(house_ledger(&house).accepted >=
			    count_acknowledged(&house, messages, sent));
		assert_true(count_duplicates(&house) <= house.at_risk);
	}
	house_finish(&house);
	return missing;
}

static void nothing_acknowledged_is_lost_by_a_kill(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++)
		assert_int_equal(run_seed(seed, false, false), 0);
}

static void nothing_acknowledged_is_lost_by_a_power_cut(void **state)
{
	for (uint64_t seed = 1000; seed <= 1060; seed++)
		assert_int_equal(run_seed(seed, true, false), 0);
}

static void without_the_sync_this_test_goes_red(void **state)
{
	unsigned missing = 0;

	for (uint64_t seed = 1; seed <= 30 && !missing; seed++)
		missing += run_seed(seed, true, true);
	assert_true(missing > 0);
}

/** I3 */
static void what_is_recorded_as_done_is_not_attempted_again(void **state)
{
	static struct house house;
	struct message_id id;

	for (unsigned i = 0; i < 20; i++) {
		house_init(&house, 2000 + i);
		house.decide = far_side;
		house_start(&house);
		id = house_send(&house, "s@from.example", "a@d1.example g@d1.example d@d2.example");
		house_run(&house, 5 * US_PER_S);
		assert_int_equal(house_got(&house, &id, "a@d1.example"), 1);
		for (unsigned round = 0; round < 4; round++) {
			if (i & 1)
				house_power_cut(&house);
			else
				house_crash(&house);
			house_start(&house);
			/* The double checks that nobody gets it twice. */
			house_run(&house, 1000 * US_PER_S);
		}
		assert_true(house_run_dry(&house, 3 * HOUSE_DAY));
		house_finish(&house);
	}
}

/** Retry times are kept as wall clock and hold over a restart. */
static void waiting_goes_on_where_it_was(void **state)
{
	static struct house house;
	struct message_id id;
	uint64_t due;

	house_init(&house, 3000);
	house.decide = far_side;
	house_start(&house);
	do {
		id = house_send(&house, "s@from.example", "g@d1.example");
		house_run(&house, 2 * US_PER_S);
	} while (house_got(&house, &id, "g@d1.example"));
	due = house_last_event(&house, EVENT_TRANSIENT_FAILURE)->next_attempt_us;
	house_crash(&house);
	house.now.mono_us = 5 * US_PER_S; /* another boot */
	house.now.wall_us += 100 * US_PER_S;
	disk_sim_cut(house.disk);
	struct disk *disk = disk_sim_fork(house.disk, 0, 1);

	house.disk->operations->destroy(house.disk);
	house.disk = disk;
	house.now.mono_us = disk_sim_time(disk) + US_PER_S;
	house.ignore_duplicates = true;
	house_start(&house);
	json_t *json = queue_shard_show_message(house.shard, &id);
	json_t *recipient = json_array_get(json_object_get(json, "recipients"), 0);
	uint64_t until = (uint64_t)json_integer_value(json_object_get(recipient, "until_us"));

	assert_in_range(until, due - US_PER_S, due + US_PER_S);
	assert_int_equal(json_integer_value(json_object_get(recipient, "attempts")), 1);
	assert_string_equal(json_string_value(json_object_get(recipient, "reply")), "greylisted");
	json_decref(json);
	assert_true(house_run_dry(&house, 3 * HOUSE_DAY));
	house_finish(&house);
}

/** Y7: a clock that was set back must not stall mail, one set forward must not expire it before its
 * time... again. */
static void a_clock_set_back_does_not_stall_mail(void **state)
{
	static struct house house;

	house_init(&house, 3001);
	house.decide = far_side;
	house_start(&house);
	house_send(&house, "s@from.example", "g@d1.example");
	house_run(&house, 2 * US_PER_S);
	house_crash(&house);
	house.now.wall_us -= 10 * HOUSE_DAY;
	house_start(&house);
	assert_true(house_run_dry(&house, 2 * HOUSE_DAY));
	house_finish(&house);
}

static void the_ledger_is_kept_over_restarts(void **state)
{
	static struct house house;
	struct queue_ledger before, after;

	house_init(&house, 3002);
	house.decide = far_side;
	house_start(&house);
	for (unsigned i = 0; i < 30; i++)
		house_send(&house, "s@from.example", "a@d1.example b@d2.example d@d3.example");
	house_run(&house, 10 * US_PER_S);
	before = house_ledger(&house);
	assert_true(before.bounced == 30 && before.generated == 30);
	for (unsigned i = 0; i < 3; i++) {
		if (i == 0)
			house_stop(&house);
		else
			house_crash(&house);
		house_start(&house);
		after = house_ledger(&house);
		assert_int_equal(after.accepted, before.accepted);
		assert_int_equal(after.generated, before.generated);
		assert_int_equal(after.delivered, before.delivered);
		assert_int_equal(after.bounced, before.bounced);
		assert_int_equal(after.queued, before.queued);
		house_check_ledger(&house);
	}
	house_finish(&house);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_acknowledged_is_lost_by_a_kill),
		cmocka_unit_test(nothing_acknowledged_is_lost_by_a_power_cut),
		cmocka_unit_test(without_the_sync_this_test_goes_red),
		cmocka_unit_test(what_is_recorded_as_done_is_not_attempted_again),
		cmocka_unit_test(waiting_goes_on_where_it_was),
		cmocka_unit_test(a_clock_set_back_does_not_stall_mail),
		cmocka_unit_test(the_ledger_is_kept_over_restarts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
