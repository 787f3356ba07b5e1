/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Space: segments are used again and again, one stuck message does not hold what came after it,
 * nothing comes back to life, new mail is refused before the reserve is touched, and what lets the
 * queue drain is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/spool/model.h"

#include <errno.h>

static void pass_mail(struct model *model, unsigned messages, uint32_t size)
{
	for (unsigned i = 0; i < messages; i++) {
		uint32_t number = model_append(model, 60, size, 0, NULL);

		assert_true(number != 0);
		model_settle(model);
		model_state(model, number, 30);
		model_end(model, number);
		model_settle(model);
	}
}

static struct spool_statistics statistics(const struct model *model)
{
	struct spool_statistics s;

	spool_statistics(model->spool, &s);
	return s;
}

static void test_segments_are_used_again(void **state)
{
	struct model model;

	model_init(&model, NULL, 1);
	model.settings.segments = 8;
	assert_true(model_open(&model));
	/* Forty times what the spool holds. */
	pass_mail(&model, 4000, 20000);
	assert_true(statistics(&model).segments_total <= 8);
	assert_true(statistics(&model).bytes_padded > 40 * 8 * model.settings.segment_size);
	model_cut(&model);
	assert_int_equal(model_count(&model, MODEL_DURABLE), 0);
	model_finish(&model);
}

/* One message, and its states, live through a hundred turns of the log. */
static void test_a_stuck_message_is_carried_along(void **state)
{
	for (unsigned seed = 1; seed <= 8; seed++) {
		struct model model;
		uint32_t stuck[5];

		model_init(&model, NULL, seed);
		model.settings.segments = 8;
		assert_true(model_open(&model));
		for (unsigned i = 0; i < 5; i++) {
			stuck[i] = model_append(&model, 100, i == 2 ? 60000 : 5000, 0, NULL);
			model_settle(&model);
			model_state(&model, stuck[i], 40);
		}
		for (unsigned i = 0; i < 40; i++) {
			pass_mail(&model, 20, 20000);
			model_state(&model, stuck[i % 5], 40);
			if (i % 7 == seed % 7)
				model_cut(&model);
		}
		model_settle(&model);
		assert_int_equal(model_count(&model, MODEL_DURABLE), 5);
		model_cut(&model);
		model_read_all(&model);
		assert_int_equal(model_count(&model, MODEL_DURABLE), 5);
		assert_true(statistics(&model).segments_free >= 3);
		for (unsigned i = 0; i < 5; i++)
			model_end(&model, stuck[i]);
		model_settle(&model);
		model_cut(&model);
		assert_int_equal(model_count(&model, MODEL_DURABLE), 0);
		model_finish(&model);
	}
}

static void test_moves_are_made_at_all(void **state)
{
	struct model model;

	/* One stuck message in each of forty segments' worth of mail: eight segments do. */
	model_init(&model, NULL, 5);
	model.settings.segments = 8;
	assert_true(model_open(&model));
	for (unsigned i = 0; i < 40; i++) {
		assert_true(model_append(&model, 100, 5000, 0, NULL) != 0);
		model_settle(&model);
		pass_mail(&model, 11, 20000);
		for (unsigned k = 0; k < 20; k++)
			model_turn(&model, 500);
	}
	assert_true(statistics(&model).moved >= 40);
	assert_int_equal(model_count(&model, MODEL_DURABLE), 40);
	model_read_all(&model);
	model_cut(&model);
	model_read_all(&model);
	assert_int_equal(model_count(&model, MODEL_DURABLE), 40);
	model_finish(&model);
}

/* Random lives under pressure: segments run short, messages are copied while they end, the power
 * goes in between. */
static void test_reclaim_under_cuts(void **state)
{
	const struct model_plan plan = {.steps = 1500,
					.body_max = 12000,
					.cut_in = 200,
					.restart_in = 700,
					.end_percent = 32,
					.big = true};
	unsigned moved = 0;

	for (unsigned seed = 1; seed <= 40; seed++) {
		struct model model;

		model_init(&model, NULL, seed);
		model.settings.segments = 7 + seed % 5;
		assert_true(model_open(&model));
		for (unsigned round = 0; round < 3; round++) {
			model_live(&model, &plan);
			model_settle(&model);
			/* Most of what is left ends, so that segments become nearly empty. */
			for (uint32_t i = 1; i <= model.message_count; i++) {
				if (model.messages[i].status == MODEL_DURABLE && i % 9 != 0 &&
				    model_end(&model, i) == 0)
					model_turn(&model, 100);
			}
			model_settle(&model);
			for (unsigned i = 0; i < 300; i++)
				model_turn(&model, 1000);
			moved += (unsigned)statistics(&model).moved;
		}
		model_cut(&model);
		model_read_all(&model);
		model_check_segments(&model);
		model_finish(&model);
	}
	assert_true(moved > 50);
}

static void test_new_mail_is_refused_before_the_reserve(void **state)
{
	struct model model;
	uint32_t first = 0, number;
	int result = 0;

	model_init(&model, NULL, 3);
	model.settings.segments = 20;
	assert_true(model_open(&model));
	for (unsigned i = 0; i < 10000; i++) {
		number = model_append(&model, 60, 20000, 0, &result);
		if (number == 0)
			break;
		if (first == 0)
			first = number;
		model_settle(&model);
	}
	assert_int_equal(result, -ENOSPC);
	assert_false(spool_accepting(model.spool));
	/* 10 % of 20, as far as segments go. */
	assert_in_range(statistics(&model).segments_free, 1, 2);
	/* A notice, states and ends still go. */
	number = model_group(&model, 1000, first);
	assert_true(number != 0);
	model_settle(&model);
	/* Ending a few is not enough (hysteresis), ending many is. */
	for (uint32_t i = 1; i <= 12; i++)
		model_end(&model, i);
	model_settle(&model);
	for (unsigned i = 0; i < 50; i++)
		model_turn(&model, 1000);
	assert_false(spool_accepting(model.spool));
	for (uint32_t i = 13; i <= 80; i++) {
		assert_int_equal(model_end(&model, i), 0);
		model_turn(&model, 200);
	}
	model_settle(&model);
	for (unsigned i = 0; i < 500; i++)
		model_turn(&model, 1000);
	assert_true(spool_accepting(model.spool));
	model_cut(&model);
	model_read_all(&model);
	model_finish(&model);
}

/* The disk is smaller than the spool may become. */
static void test_no_space_for_segments(void **state)
{
	struct disk_sim_settings sim = {.seed = 4,
					.latency_min_us = 40,
					.latency_max_us = 400,
					.capacity = 6 * (256 << 10)};
	struct model model;
	int result = 0;

	model_init(&model, NULL, 4);
	disk_close(model.disk);
	model.disk = model.settings.disk = disk_sim_create(&sim);
	disk_sim_set_time(model.disk, model.now.mono_us);
	assert_true(model_open(&model));
	for (unsigned i = 0; i < 1000 && result == 0; i++) {
		model_append(&model, 60, 20000, 0, &result);
		model_settle(&model);
	}
	assert_int_equal(result, -ENOSPC);
	assert_int_equal(statistics(&model).segments_total, 6);
	for (uint32_t i = 1; i <= model.message_count; i++) {
		assert_int_equal(model_end(&model, i), 0);
		model_turn(&model, 200);
	}
	for (unsigned i = 0; i < 500; i++)
		model_turn(&model, 1000);
	assert_true(spool_accepting(model.spool));
	pass_mail(&model, 200, 20000);
	model_cut(&model);
	model_finish(&model);
}

/* Without the queue's help nothing is lost either; less is reclaimed. */
static void test_without_snapshots_nothing_is_lost(void **state)
{
	for (unsigned seed = 1; seed <= 10; seed++) {
		const struct model_plan plan = {
			.steps = 1500, .body_max = 6000, .cut_in = 150, .end_percent = 35};
		struct model model;

		model_init(&model, NULL, seed);
		model.settings.segments = 12;
		model.snapshots = false;
		assert_true(model_open(&model));
		model_live(&model, &plan);
		model_settle(&model);
		model_cut(&model);
		model_read_all(&model);
		assert_int_equal(statistics(&model).moved, 0);
		model_finish(&model);
	}
}

/* What a forgotten segment said must be in a note: without a newer one nothing is forgotten. */
static void test_no_segment_goes_before_a_note_covers_it(void **state)
{
	struct model model;
	int result = 0;

	model_init(&model, NULL, 6);
	model.settings.segments = 12;
	model.snapshots = false;
	assert_true(model_open(&model));
	model_note(&model);
	model_settle(&model);
	for (unsigned i = 0; i < 1000 && result == 0; i++) {
		uint32_t number = model_append(&model, 60, 20000, 0, &result);
		struct message_id id = {.origin = UINT64_C(0x0000000700030001), .counter = number};

		model_settle(&model);
		if (number == 0)
			break;
		assert_int_equal(spool_append_finished(model.spool, &id,
						       &model.messages[number].location, NULL,
						       NULL),
				 0);
		model.messages[number].status = MODEL_FINISHING;
	}
	assert_int_equal(result, -ENOSPC);
	assert_in_range(statistics(&model).segments_free, 1, 2);
	model_note(&model);
	for (unsigned i = 0; i < 200; i++)
		model_turn(&model, 500);
	assert_in_range(statistics(&model).segments_free, 10, 12);
	model_finish(&model);
}

/* A write that failed and is there all the same, repeated elsewhere, ended, and the elsewhere
 * forgotten. */
static void test_a_failed_write_does_not_come_back(void **state)
{
	for (unsigned seed = 1; seed <= 30; seed++) {
		struct model model;
		uint32_t number;

		model_init(&model, NULL, seed);
		model.settings.segments = 10;
		assert_true(model_open(&model));
		/* It keeps the segment where the write fails. */
		model_append(&model, 60, 20000, 0, NULL);
		model_append(&model, 60, 20000, 0, NULL);
		model_append(&model, 60, 60000, 0, NULL);
		model_settle(&model);
		model_turn(&model, 5000);
		disk_sim_fail_writes(model.disk, 1);
		number = model_append(&model, 60, 3000, 0, NULL);
		model_settle(&model);
		model_end(&model, number);
		model_settle(&model);
		pass_mail(&model, 60, 20000);
		model_cut(&model);
		pass_mail(&model, 60, 20000);
		model_cut(&model);
		assert_int_equal(model_count(&model, MODEL_DURABLE), 3);
		model_finish(&model);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segments_are_used_again),
		cmocka_unit_test(test_a_stuck_message_is_carried_along),
		cmocka_unit_test(test_moves_are_made_at_all),
		cmocka_unit_test(test_reclaim_under_cuts),
		cmocka_unit_test(test_new_mail_is_refused_before_the_reserve),
		cmocka_unit_test(test_no_space_for_segments),
		cmocka_unit_test(test_without_snapshots_nothing_is_lost),
		cmocka_unit_test(test_no_segment_goes_before_a_note_covers_it),
		cmocka_unit_test(test_a_failed_write_does_not_come_back),
	};

	return cmocka_run_group_tests_name("spool, space", tests, NULL, NULL);
}
