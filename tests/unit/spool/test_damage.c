/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * T9, I6: each byte of a spool is changed in turn, and recovery notices each change or is not
 * affected by it; and what corruption costs: the records that it hit, and no others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/spool/model.h"

#include <stdio.h>
#include <string.h>

/* A spool of two segments with content, closed in order or by a crash. */
static void build(struct model *model, bool orderly)
{
	model_init(model, NULL, 77);
	model->settings.segment_size = 64 << 10;
	model->settings.segments = 6;
	model->settings.segments_initial = 3;
	model->settings.batch_bytes = 8 << 10;
	model->settings.batch_wait_us = 0;
	model->snapshots = false;
	assert_true(model_open(model));
	for (unsigned i = 0; i < 8; i++) {
		model_append(model, 40, 3000 + 1000 * i, 0, NULL);
		model_settle(model);
	}
	model_state(model, 3, 30);
	model_settle(model);
	model_end(model, 4);
	model_settle(model);
	model_note(model);
	model_settle(model);
	model_group(model, 500, 5);
	model_settle(model);
	if (orderly) {
		model_close(model);
	} else {
		disk_sim_cut(model->disk);
		spool_abandon(model->spool);
		model->spool = NULL;
	}
}

static bool is_noticed(const struct spool_recovered *r, bool orderly)
{
	return r->corrupt_batches > 0 || r->messages_damaged > 0 || r->headers_damaged > 0 ||
	       r->torn_tail || (orderly && !r->clean_stop);
}

/* What the model was promised, compared with what is there, without a word about what is missing.
 */
static bool is_unaffected(struct model *model, const struct spool_recovered *before)
{
	return model->violations == 0 && model->recovered.messages == before->messages &&
	       model->recovered.batches == before->batches;
}

static void flip_each(bool orderly)
{
	struct model model;
	struct spool_recovered before;
	unsigned affected = 0, silent = 0;

	build(&model, orderly);
	model.strict = false;
	struct disk *whole = disk_sim_fork(model.disk, 0, 1);

	model_try(&model, whole);
	disk_close(whole);
	before = model.recovered;
	assert_int_equal(model.violations, 0);
	assert_false(is_noticed(&before, orderly));
	for (unsigned file = 0; file < 3; file++) {
		char name[16];

		snprintf(name, sizeof(name), "seg-%05u", file);
		/* Each byte of the blocks' first parts and borders, and a step through the rest. */
		for (uint64_t at = 0; at < model.settings.segment_size;
		     at += at % 4096 < 140 ? 1 : 37) {
			struct disk *fork = disk_sim_fork(model.disk, 0, 1);
			uint64_t size;
			uint8_t *bytes = disk_sim_bytes(fork, name, &size);

			assert_non_null(bytes);
			bytes[at] ^= (uint8_t)(1u << random_below(&model.random, 8));
			disk_sim_settle(fork);
			model.violations = 0;
			model_try(&model, fork);
			disk_close(fork);
			if (is_noticed(&model.recovered, orderly))
				affected++;
			else if (!is_unaffected(&model, &before)) {
				print_message("%s, byte %llu: not noticed\n", name,
					      (unsigned long long)at);
				silent++;
			}
		}
	}
	assert_int_equal(silent, 0);
	assert_true(affected > 2500);
	model_finish(&model);
}

static void test_every_byte_after_an_orderly_stop(void **state)
{
	flip_each(true);
}

static void test_every_byte_after_a_crash(void **state)
{
	flip_each(false);
}

/* Damage in the middle costs the message that it hit; the segment is read and not written any more.
 */
static void test_damage_is_salvaged_around(void **state)
{
	struct model model;
	uint64_t size;
	uint8_t *bytes;

	build(&model, true);
	bytes = disk_sim_bytes(model.disk, "seg-00000", &size);
	/* In the body of the second message, which lies in the third batch or so. */
	bytes[16 << 10] ^= 1;
	disk_sim_settle(model.disk);
	model.damaged = true;
	assert_true(model_open(&model));
	assert_int_equal(model.recovered.corrupt_batches, 1);
	/* Eight and a notice, one ended, one damaged. */
	assert_int_equal(model_count(&model, MODEL_DURABLE), 7);
	struct spool_statistics s;
	spool_statistics(model.spool, &s);
	assert_int_equal(s.segments_quarantined, 1);
	model_read_all(&model);
	assert_int_equal(model.read_failed, 0);
	/* And it works on: quarantine survives, the rest is as before. */
	model_append(&model, 30, 1000, 0, NULL);
	model_settle(&model);
	model_cut(&model);
	spool_statistics(model.spool, &s);
	assert_int_equal(s.segments_quarantined, 1);
	assert_int_equal(model_count(&model, MODEL_DURABLE), 8);
	model_finish(&model);
}

/* A mail that contains a copy of our own segment must not be taken for log. */
static void test_a_body_full_of_records_is_no_log(void **state)
{
	struct model model;
	struct chunk_list envelope = {0}, body = {0};
	struct spool_location location;
	struct message_id id = {.origin = 0x0000000700030001, .counter = 10};
	uint64_t size;
	uint8_t *bytes;

	build(&model, true);
	assert_true(model_open(&model));
	bytes = disk_sim_bytes(model.disk, "seg-00000", &size);
	/* The records of earlier messages, with another epoch: as from a stolen disk. */
	static uint8_t stolen[24 << 10];
	memcpy(stolen, bytes + 4096, sizeof(stolen));
	for (unsigned i = 0; i + 8 <= sizeof(stolen); i += 4096)
		stolen[i + 8] ^= 0x55;
	assert_int_equal(chunk_list_append(&envelope, model.chunks, "x", 1), 0);
	assert_int_equal(chunk_list_append(&body, model.chunks, stolen, sizeof(stolen)), 0);
	assert_int_equal(
		spool_append_message(model.spool, &id, 0, &envelope, &body, &location, NULL, NULL),
		0);
	for (unsigned i = 0; i < 200; i++)
		model_turn(&model, 50);
	chunk_list_free(&envelope, model.chunks);
	chunk_list_free(&body, model.chunks);
	/* It is one message, that the model does not know. */
	disk_sim_cut(model.disk);
	spool_abandon(model.spool);
	model.spool = NULL;
	model.strict = false;
	assert_true(model_open(&model));
	assert_int_equal(model.recovered.corrupt_batches, 0);
	assert_int_equal(model.recovered.messages_damaged, 0);
	assert_int_equal(model.violations, 1);
	model_finish(&model);
}

/* Sectors that cannot be read, all the time, anywhere: it opens, and says so. */
static void test_unreadable_sectors_cost_what_they_held(void **state)
{
	for (unsigned seed = 1; seed <= 30; seed++) {
		struct disk_sim_faults faults = {.read_error = 20000};
		struct model model;

		build(&model, true);
		random_init_seed(&model.random, seed);
		model.damaged = true;
		disk_sim_set_faults(model.disk, &faults);
		/* Read errors that go away cost nothing: each block is tried again. */
		assert_true(model_open(&model));
		assert_int_equal(model_count(&model, MODEL_DURABLE), 8);
		model_read_all(&model);
		model_finish(&model);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_byte_after_an_orderly_stop),
		cmocka_unit_test(test_every_byte_after_a_crash),
		cmocka_unit_test(test_damage_is_salvaged_around),
		cmocka_unit_test(test_a_body_full_of_records_is_no_log),
		cmocka_unit_test(test_unreadable_sectors_cost_what_they_held),
	};

	return cmocka_run_group_tests_name("spool, damage (T9)", tests, NULL, NULL);
}
