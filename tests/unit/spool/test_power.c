/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * T1: random lives with power cuts, on a disk that loses any subset of what was not durable. And
 * the counter-proof: with the sync removed the same lives lose acknowledged mail, so these tests
 * can fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/spool/model.h"

#include <stdlib.h>

static unsigned seeds(void)
{
	const char *wanted = getenv("SPOOL_SEEDS");

	return wanted != NULL ? (unsigned)atoi(wanted) : 150;
}

static void live(uint64_t seed, const struct model_plan *plan)
{
	struct model model;

	model_init(&model, NULL, seed);
	assert_true(model_open(&model));
	model_live(&model, plan);
	model_settle(&model);
	model_cut(&model);
	model_read_all(&model);
	model_check_segments(&model);
	model_finish(&model);
}

static void test_small_messages(void **state)
{
	const struct model_plan plan = {
		.steps = 300, .body_max = 3000, .cut_in = 60, .restart_in = 150, .end_percent = 20};

	for (unsigned seed = 1; seed <= seeds(); seed++)
		live(seed, &plan);
}

static void test_big_messages(void **state)
{
	const struct model_plan plan = {.steps = 300,
					.body_max = 8000,
					.cut_in = 50,
					.restart_in = 200,
					.end_percent = 30,
					.big = true};

	for (unsigned seed = 1001; seed <= 1000 + seeds(); seed++)
		live(seed, &plan);
}

static void test_cut_upon_cut(void **state)
{
	const struct model_plan plan = {
		.steps = 200, .body_max = 2000, .cut_in = 8, .end_percent = 20, .big = true};

	for (unsigned seed = 2001; seed <= 2000 + seeds(); seed++)
		live(seed, &plan);
}

/* T10, I5: the power goes while it recovers, again and again. */
static void test_cut_during_recovery(void **state)
{
	const struct model_plan plan = {
		.steps = 150, .body_max = 3000, .cut_in = 100, .end_percent = 25, .big = true};

	for (unsigned seed = 3001; seed <= 3000 + seeds(); seed++) {
		struct model model;

		model_init(&model, NULL, seed);
		assert_true(model_open(&model));
		model_live(&model, &plan);
		disk_sim_cut(model.disk);
		spool_abandon(model.spool);
		model.spool = NULL;
		for (unsigned i = 0; i < 3; i++) {
			/* The fork recovers, starts to write, and loses its power in turn. */
			struct disk *fork = disk_sim_fork(model.disk, 0, seed + i);

			model_try(&model, fork);
			disk_sim_cut(fork);
			model_try(&model, fork);
			disk_close(fork);
		}
		assert_true(model_open(&model));
		model_read_all(&model);
		model_finish(&model);
	}
}

static void test_without_sync_mail_is_lost(void **state)
{
	const struct model_plan plan = {
		.steps = 300, .body_max = 3000, .cut_in = 60, .end_percent = 20};
	unsigned losing = 0;

	for (unsigned seed = 1; seed <= 20; seed++) {
		struct disk_sim_settings sim = {
			.seed = seed, .latency_min_us = 40, .latency_max_us = 400, .lossy = true};
		struct model model;

		model_init(&model, NULL, seed);
		disk_close(model.disk);
		model.disk = model.settings.disk = disk_sim_create(&sim);
		disk_sim_set_time(model.disk, model.now.mono_us);
		model.strict = false;
		assert_true(model_open(&model));
		model_live(&model, &plan);
		losing += model.violations > 0;
		model_finish(&model);
	}
	assert_true(losing >= 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_messages),
		cmocka_unit_test(test_big_messages),
		cmocka_unit_test(test_cut_upon_cut),
		cmocka_unit_test(test_cut_during_recovery),
		cmocka_unit_test(test_without_sync_mail_is_lost),
	};

	return cmocka_run_group_tests_name("spool, power cuts (T1, T10)", tests, NULL, NULL);
}
