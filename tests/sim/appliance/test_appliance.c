/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two whole appliances' worth of promises, over many seeds: everything acknowledged arrives as it
 * was accepted, over bad wires, with bad exchangers, and over power cuts at any moment; and the
 * test can tell, since a disk that lies makes it fail. MILLRACE_SIM_SEED=n runs one seed;
 * MILLRACE_SIM_SEEDS=n changes how many.
 */
#include "tests/sim/appliance/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define DAY_US (UINT64_C(86400) * US_PER_S)

static const struct sim_link_settings bad_wire = {
	.delay_us = 25000, .loss = 0.02, .duplicate = 0.01, .reorder = 0.05, .reorder_us = 8000};
static const struct sim_link_settings good_wire = {.delay_us = 200};

static unsigned long setting(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

static void for_seeds(unsigned long count, void (*run)(uint64_t seed))
{
	unsigned long only = setting("MILLRACE_SIM_SEED", 0);

	if (only > 0) {
		run(only);
		return;
	}
	for (unsigned long seed = 1; seed <= setting("MILLRACE_SIM_SEEDS", count); seed++)
		run(seed);
}

static void expect_balance(struct world *world, uint64_t seed)
{
	struct queue_ledger l;

	queue_shard_ledger(world->shard, &l);
	if (l.drift != 0 || l.accepted + l.generated != l.queued + l.delivered + l.bounced +
								l.expired + l.removed +
								l.discarded + l.quarantined)
		fail_msg("seed %llu: the ledger does not balance", (unsigned long long)seed);
}

static void expect_all_arrived(struct world *world, uint64_t seed)
{
	if (world_missing(world) || world_damaged(world))
		fail_msg("seed %llu: %u of %u acknowledged messages are missing, %u damaged",
			 (unsigned long long)seed, world_missing(world), world_acknowledged(world),
			 world_damaged(world));
	expect_balance(world, seed);
}

static void run_plain(uint64_t seed)
{
	struct world_settings settings = {
		.seed = seed, .messages = 60, .tls = seed % 2, .wire = good_wire};
	struct world *world = world_create(&settings);

	world_start(world);
	if (!world_run(world, 600 * US_PER_S))
		fail_msg("seed %llu: mail is still waiting after ten minutes",
			 (unsigned long long)seed);
	expect_all_arrived(world, seed);
	assert_int_equal(world_duplicates(world), 0);
	assert_int_equal(world_acknowledged(world), 60);
	world_kill(world, false);
	assert_true(world->handed_off > 0);
	for (unsigned w = 0; w < WORLD_WORKERS; w++) {
		assert_true(world->accepted_by[w] > 0);
		assert_true(world->delivered_by[w] > 0);
	}
	world_destroy(world);
}

static void mail_arrives_once_and_as_accepted_and_both_workers_carry_it(void **state)
{
	(void)state;
	for_seeds(6, run_plain);
}

static void run_bad_wire(uint64_t seed)
{
	struct world_settings settings = {
		.seed = seed, .messages = 40, .tls = seed % 2, .wire = bad_wire};
	struct world *world = world_create(&settings);

	world_start(world);
	if (!world_run(world, 2 * 3600 * US_PER_S))
		fail_msg("seed %llu: mail is still waiting after two hours",
			 (unsigned long long)seed);
	expect_all_arrived(world, seed);
	assert_int_equal(world_duplicates(world), 0);
	world_destroy(world);
}

static void mail_arrives_over_loss_reordering_and_duplication(void **state)
{
	(void)state;
	for_seeds(10, run_bad_wire);
}

static void run_bad_exchanger(uint64_t seed)
{
	struct world_settings settings = {
		.seed = seed,
		.messages = 60,
		.tls = seed % 2,
		.wire = good_wire,
		.manners = {.refuse_rcpt = 100,
			    .refuse_data = 100,
			    .close_at_greeting = 50,
			    .reset_after_dot = 50,
			    .reset_in_data = 20},
	};
	struct world *world = world_create(&settings);

	world_start(world);
	if (!world_run(world, 2 * DAY_US))
		fail_msg("seed %llu: mail is still waiting after two days",
			 (unsigned long long)seed);
	expect_all_arrived(world, seed);
	world_destroy(world);
}

static void mail_arrives_at_an_exchanger_that_refuses_resets_and_loses_replies(void **state)
{
	(void)state;
	for_seeds(8, run_bad_exchanger);
}

static struct world *run_with_cuts(uint64_t seed, bool lossy_disk)
{
	struct world_settings settings = {
		.seed = seed,
		.messages = 120,
		.tls = seed % 4 == 0,
		.lossy_disk = lossy_disk,
		.wire = good_wire,
		.manners = {.refuse_rcpt = 30, .reset_after_dot = 10},
	};
	struct world *world = world_create(&settings);
	unsigned cuts = 3 + random_below(&world->random, 4);

	for (unsigned i = 0; i < cuts; i++) {
		world_start(world);
		world_run(world, 1000 + random_below(&world->random, 300000));
		world_kill(world, true);
		world_run(world,
			  random_below(&world->random, 3000000)); /* the peers notice, or not */
	}
	world_start(world);
	return world;
}

static void run_power_cuts(uint64_t seed)
{
	struct world *world = run_with_cuts(seed, false);

	if (!world_run(world, 2 * DAY_US))
		fail_msg("seed %llu: mail is still waiting after two days",
			 (unsigned long long)seed);
	expect_all_arrived(world, seed);
	world_destroy(world);
}

static void nothing_acknowledged_is_lost_when_the_power_goes_at_any_moment(void **state)
{
	(void)state;
	for_seeds(25, run_power_cuts);
}

static void a_disk_that_lies_about_durability_makes_this_test_fail(void **state)
{
	unsigned missing = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 10 && missing == 0; seed++) {
		struct world *world = run_with_cuts(seed, true);

		world_run(world, 3600 * US_PER_S);
		missing += world_missing(world);
		world_destroy(world);
	}
	assert_true(missing > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mail_arrives_once_and_as_accepted_and_both_workers_carry_it),
		cmocka_unit_test(mail_arrives_over_loss_reordering_and_duplication),
		cmocka_unit_test(
			mail_arrives_at_an_exchanger_that_refuses_resets_and_loses_replies),
		cmocka_unit_test(nothing_acknowledged_is_lost_when_the_power_goes_at_any_moment),
		cmocka_unit_test(a_disk_that_lies_about_durability_makes_this_test_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
