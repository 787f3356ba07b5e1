/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * T2: a small life; at each moment of it, every subset of the sectors that are not durable is tried
 * as what a power cut leaves. All of them for up to EXHAUSTIVE sectors in flight; of more, the
 * prefixes, their complements and a sample.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/spool/model.h"

#define EXHAUSTIVE 8u
#define SAMPLE	   200u

static unsigned tried;

static void try_survivors(struct model *model, uint64_t survivors)
{
	struct disk *fork = disk_sim_fork(model->disk, survivors, 99);

	model_try(model, fork);
	disk_close(fork);
	tried++;
}

static void try_all(struct model *model)
{
	unsigned sectors = disk_sim_unsafe_sectors(model->disk);

	if (sectors <= EXHAUSTIVE) {
		for (uint64_t mask = 0; mask < UINT64_C(1) << sectors; mask++)
			try_survivors(model, mask);
		return;
	}
	assert_true(sectors <= 64);
	for (unsigned n = 0; n <= sectors; n++) {
		uint64_t mask = n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;

		try_survivors(model, mask);
		try_survivors(model, ~mask);
	}
	for (unsigned i = 0; i < SAMPLE; i++)
		try_survivors(model, random_u64(&model->random));
}

/* After each completion, and while each write is in flight. */
static void advance(struct model *model)
{
	for (unsigned i = 0; i < 400 && model->pending > 0; i++) {
		uint64_t next = disk_sim_next(model->disk);

		try_all(model);
		model_turn(model, next == UINT64_MAX || next <= model->now.mono_us
					  ? 10
					  : next - model->now.mono_us);
	}
	assert_int_equal(model->pending, 0);
	try_all(model);
}

static void trace(uint64_t seed, uint32_t sector, uint32_t body_size)
{
	struct disk_sim_settings sim = {
		.seed = seed, .latency_min_us = 40, .latency_max_us = 400, .sector = sector};
	struct model model;
	uint32_t first, second;

	model_init(&model, NULL, seed);
	disk_close(model.disk);
	model.disk = model.settings.disk = disk_sim_create(&sim);
	disk_sim_set_time(model.disk, model.now.mono_us);
	model.settings.segment_size = 64 << 10;
	model.settings.segments = 8;
	model.settings.segments_initial = 5;
	model.settings.batch_bytes = 8 << 10;
	model.settings.batch_wait_us = 0;
	assert_true(model_open(&model));
	first = model_append(&model, 50, 100, 0, NULL);
	advance(&model);
	second = model_append(&model, 50, body_size, 0, NULL);
	model_state(&model, first, 10);
	model_append(&model, 10, 200, 0, NULL);
	advance(&model);
	model_group(&model, 300, second);
	advance(&model);
	model_end(&model, first);
	model_append(&model, 50, body_size, 0, NULL);
	advance(&model);
	/* Over the end of the segment, and until the first one is free and used again. */
	for (unsigned i = 0; i < 12; i++) {
		uint32_t last = model_append(&model, 50, body_size + 1000, 0, NULL);

		advance(&model);
		if (i % 4 != 0)
			model_end(&model, last);
	}
	model_end(&model, second);
	advance(&model);
	model_finish(&model);
}

static void test_small_batches_every_subset(void **state)
{
	tried = 0;
	trace(1, 512, 300);
	assert_true(tried > 4000);
}

static void test_large_batches_every_subset_of_blocks(void **state)
{
	tried = 0;
	trace(2, 4096, 9000);
	assert_true(tried > 150);
}

static void test_large_batches_torn_anywhere(void **state)
{
	tried = 0;
	trace(3, 512, 2500);
	assert_true(tried > 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_batches_every_subset),
		cmocka_unit_test(test_large_batches_every_subset_of_blocks),
		cmocka_unit_test(test_large_batches_torn_anywhere),
	};

	return cmocka_run_group_tests_name("spool, every cut of a small trace (T2)", tests, NULL,
					   NULL);
}
