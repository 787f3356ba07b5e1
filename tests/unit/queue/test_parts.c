/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The queue's parts, each against a plain model: slab, lists, wheel, table, texts, records,
 * intervals, rates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/queue/record.h"
#include "control/queue/retry.h"
#include "control/queue/schedule.h"
#include "control/queue/table.h"
#include "control/queue/text.h"
#include "drivers/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item {
	uint32_t value;
	struct schedule_link timer;
	uint64_t due_us;
	bool on;
};
#define ITEM_LINK  offsetof(struct item, timer.link)
#define ITEM_TIMER offsetof(struct item, timer)

static struct item *item_at(struct slab *slab, uint32_t index)
{
	return slab_at(slab, index);
}

/* ---- Slab and lists ---- */

static void a_slab_hands_out_zeroed_records_up_to_its_maximum(void **state)
{
	struct slab slab;
	uint32_t first;

	assert_int_equal(slab_init(&slab, sizeof(struct item), 3000), 0);
	first = slab_alloc(&slab);
	assert_int_not_equal(first, 0);
	for (unsigned i = 1; i < 3000; i++) {
		uint32_t index = slab_alloc(&slab);

		assert_int_not_equal(index, 0);
		memset(item_at(&slab, index), 0xee, sizeof(struct item));
	}
	assert_int_equal(slab_alloc(&slab), 0);
	slab_free(&slab, 77);
	slab_free(&slab, first);
	for (unsigned i = 0; i < 2; i++) {
		static const struct item zero;
		uint32_t index = slab_alloc(&slab);

		assert_memory_equal(item_at(&slab, index), &zero, sizeof(zero));
	}
	assert_int_equal(slab_alloc(&slab), 0);
	slab_finish(&slab);
}

static void lists_keep_order_under_any_operation(void **state)
{
	struct slab slab;
	struct slab_list list = {0};
	uint32_t model[200];
	unsigned count = 0;
	struct mr_random random;

	random_init_seed(&random, 1);
	slab_init(&slab, sizeof(struct item), 10000);
	for (unsigned round = 0; round < 4000; round++) {
		unsigned place = random_below(&random, count + 1);
		uint32_t action = random_below(&random, 5);

		if (count < 200 && action < 3) {
			uint32_t index = slab_alloc(&slab);

			if (action == 0 || (action == 2 && place == 0)) {
				place = 0;
				slab_list_push_front(&list, &slab, ITEM_LINK, index);
			} else if (action == 1) {
				place = count;
				slab_list_push(&list, &slab, ITEM_LINK, index);
			} else {
				slab_list_insert(&list, &slab, ITEM_LINK, model[place - 1], index);
			}
			memmove(model + place + 1, model + place,
				(count - place) * sizeof(model[0]));
			model[place] = index;
			count++;
		} else if (count && action >= 3) {
			if (place == count || action == 4)
				place = 0;
			if (action == 4)
				assert_int_equal(slab_list_pop(&list, &slab, ITEM_LINK), model[0]);
			else
				slab_list_remove(&list, &slab, ITEM_LINK, model[place]);
			slab_free(&slab, model[place]);
			count--;
			memmove(model + place, model + place + 1,
				(count - place) * sizeof(model[0]));
		}
		assert_int_equal(list.count, count);
		uint32_t at = list.head;

		for (unsigned i = 0; i < count; i++) {
			assert_int_equal(at, model[i]);
			at = slab_link_at(&slab, ITEM_LINK, at)->next;
		}
		assert_int_equal(at, 0);
	}
	slab_finish(&slab);
}

/* ---- Wheel ---- */

static uint64_t some_delay(struct mr_random *random)
{
	switch (random_below(random, 6)) {
	case 0:
		return 0;
	case 1:
		return random_below(random, 2000);
	case 2:
		return random_below(random, 300000);
	case 3:
		return random_below(random, 100000000);
	case 4:
		return (uint64_t)random_below(random, 100000) * 1000000;
	default:
		return (uint64_t)random_below(random, 2000000) * 1000000;
	}
}

static void drain_wheel(struct schedule *wheel, struct slab *slab, uint64_t now_us,
			unsigned tick_shift, unsigned *on)
{
	for (unsigned idle = 0; idle < 100000;) {
		uint32_t index = schedule_pop(wheel, now_us);

		if (!index) {
			if (schedule_next(wheel) > now_us)
				break;
			idle++;
			continue;
		}
		struct item *item = item_at(slab, index);

		assert_true(item->on);
		/* Never early. */
		assert_true(item->due_us <= now_us);
		item->on = false;
		slab_free(slab, index);
		--*on;
	}
	for (uint32_t i = 1; i < slab->fresh; i++) {
		const struct item *item = item_at(slab, i);

		/* Never more than a tick late. */
		if (item->on)
			assert_true(item->due_us + (UINT64_C(1) << tick_shift) > now_us);
	}
}

static void the_wheel_agrees_with_a_plain_list(void **state)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		const unsigned tick_shift = seed & 1 ? 10 : 17;
		static struct schedule wheel;
		struct slab slab;
		struct mr_random random;
		uint64_t now_us = 12345 + seed * 1000000007;
		unsigned on = 0;

		random_init_seed(&random, seed);
		slab_init(&slab, sizeof(struct item), 5000);
		schedule_init(&wheel, &slab, ITEM_TIMER, tick_shift, now_us);
		for (unsigned round = 0; round < 300; round++) {
			for (uint32_t n = random_below(&random, 8); n > 0 && on < 300; n--) {
				uint32_t index = slab_alloc(&slab);
				struct item *item = item_at(&slab, index);

				item->due_us = now_us + some_delay(&random);
				item->on = true;
				schedule_add(&wheel, index, item->due_us);
				assert_in_range(schedule_due_us(&wheel, index), item->due_us,
						item->due_us + (UINT64_C(1) << tick_shift));
				on++;
			}
			if (on && random_below(&random, 3) == 0) {
				uint32_t index = 1 + random_below(&random, slab.fresh - 1);
				struct item *item = item_at(&slab, index);

				if (item->on) {
					schedule_remove(&wheel, index);
					item->on = false;
					slab_free(&slab, index);
					on--;
				}
			}
			assert_int_equal(wheel.count, on);
			if (random_below(&random, 2) && schedule_next(&wheel) != UINT64_MAX) {
				uint64_t next = schedule_next(&wheel);

				/* A leap to what it says; the lower bound makes way. */
				now_us = next > now_us ? next : now_us + 1;
			} else {
				now_us += some_delay(&random) / 4;
			}
			drain_wheel(&wheel, &slab, now_us, tick_shift, &on);
		}
		slab_finish(&slab);
	}
}

static void what_falls_due_together_keeps_its_order(void **state)
{
	static struct schedule wheel;
	struct slab slab;

	slab_init(&slab, sizeof(struct item), 5000);
	schedule_init(&wheel, &slab, ITEM_TIMER, 17, 0);
	for (unsigned i = 0; i < 1000; i++) {
		uint32_t index = slab_alloc(&slab);

		item_at(&slab, index)->value = i;
		schedule_add(&wheel, index, 7200 * US_PER_S);
	}
	for (unsigned i = 0; i < 1000;) {
		uint32_t index = schedule_pop(&wheel, 7201 * US_PER_S);

		if (!index)
			continue;
		assert_int_equal(item_at(&slab, index)->value, i);
		i++;
	}
	slab_finish(&slab);
}

/* ---- Table ---- */

static bool item_has_value(const void *context, uint32_t index, const void *key)
{
	return ((const struct item *)slab_at(context, index))->value == *(const uint32_t *)key;
}

static void the_table_finds_what_is_there_and_nothing_else(void **state)
{
	struct slab slab;
	struct table table;
	struct mr_random random;
	static uint32_t where[5000];
	unsigned count = 0;

	memset(where, 0, sizeof(where));
	random_init_seed(&random, 5);
	slab_init(&slab, sizeof(struct item), 10000);
	table_init(&table, item_has_value, &slab);
	for (unsigned round = 0; round < 200000; round++) {
		/* Grows, shrinks, and grows again. */
		uint32_t key = random_below(&random, round < 60000 || round > 120000 ? 5000 : 300);
		uint64_t hash = table_hash(9, &key, sizeof(key));

		assert_int_equal(table_find(&table, hash, &key), where[key]);
		if (where[key]) {
			table_remove(&table, hash, where[key]);
			slab_free(&slab, where[key]);
			where[key] = 0;
			count--;
		} else {
			where[key] = slab_alloc(&slab);
			item_at(&slab, where[key])->value = key;
			assert_int_equal(table_insert(&table, hash, where[key]), 0);
			count++;
		}
		assert_int_equal(table.count, count);
	}
	table_finish(&table);
	slab_finish(&slab);
}

static void equal_hashes_are_told_apart(void **state)
{
	struct slab slab;
	struct table table;

	slab_init(&slab, sizeof(struct item), 100);
	table_init(&table, item_has_value, &slab);
	for (uint32_t i = 1; i <= 50; i++) {
		assert_int_equal(slab_alloc(&slab), i);
		item_at(&slab, i)->value = i;
		assert_int_equal(table_insert(&table, 42, i), 0);
	}
	for (uint32_t i = 1; i <= 50; i += 2)
		table_remove(&table, 42, i);
	for (uint32_t i = 1; i <= 50; i++)
		assert_int_equal(table_find(&table, 42, &i), i & 1 ? 0 : i);
	table_finish(&table);
	slab_finish(&slab);
}

/* ---- Texts ---- */

static void a_text_is_stored_once_and_freed_with_its_last_user(void **state)
{
	struct text_pool pool;
	uint32_t one, two, with_nul;
	size_t size;

	text_pool_init(&pool, 100, 3);
	one = text_acquire(&pool, "greylisted", 10);
	two = text_acquire(&pool, "greylisted", 10);
	with_nul = text_acquire(&pool, "host\0reply", 10);
	assert_int_equal(one, two);
	assert_int_not_equal(one, with_nul);
	assert_string_equal(text_bytes(&pool, one, NULL), "greylisted");
	assert_memory_equal(text_bytes(&pool, with_nul, &size), "host\0reply", 10);
	assert_int_equal(size, 10);
	text_release(&pool, one);
	assert_string_equal(text_bytes(&pool, two, NULL), "greylisted");
	text_release(&pool, two);
	text_release(&pool, with_nul);
	assert_int_equal(pool.bytes, 0);
	assert_int_equal(pool.slab.used, 0);
	assert_int_equal(text_acquire(&pool, "", 0), 0);
	assert_string_equal(text_bytes(&pool, 0, NULL), "");
	text_pool_finish(&pool);
}

/* ---- Records ---- */

static void records_come_back_as_they_were_written(void **state)
{
	uint8_t data[4096];
	struct record_writer writer;
	struct record_reader reader;
	struct record_entry in = {.ordinal = 70000,
				  .result = RECORD_RESULT_WAITING,
				  .class = 4,
				  .phase = 7,
				  .flags = RECORD_FLAG_REMOTE,
				  .code = 451,
				  .subject = 7,
				  .detail = 1,
				  .attempts = 9,
				  .due_us = 1700000000000001,
				  .text = "mx\0later",
				  .text_size = 8};
	struct record_entry out;

	record_begin(&writer, data, sizeof(data), 123456789, 42);
	assert_true(record_put(&writer, &in));
	in.ordinal = 70001;
	in.text_size = 0;
	assert_true(record_put(&writer, &in));
	assert_int_equal(record_open(&reader, data, writer.size), 0);
	assert_int_equal(reader.time_us, 123456789);
	assert_int_equal(reader.finish, 42);
	assert_int_equal(record_next(&reader, &out), 1);
	assert_int_equal(out.ordinal, 70000);
	assert_int_equal(out.code, 451);
	assert_int_equal(out.attempts, 9);
	assert_int_equal(out.due_us, 1700000000000001);
	assert_int_equal(out.text_size, 8);
	assert_memory_equal(out.text, "mx\0later", 8);
	assert_int_equal(record_next(&reader, &out), 1);
	assert_int_equal(out.ordinal, 70001);
	assert_int_equal(record_next(&reader, &out), 0);
}

static void torn_records_are_noticed(void **state)
{
	uint8_t data[400];
	struct record_writer writer;
	const struct record_entry in = {.ordinal = 1, .text = "some text", .text_size = 9};

	record_begin(&writer, data, sizeof(data), 1, 0);
	assert_true(record_put(&writer, &in));
	assert_true(record_put(&writer, &in));
	for (size_t size = 0; size < writer.size; size++) {
		uint8_t *copy = malloc(size + 1);
		struct record_reader reader;
		struct record_entry out;
		int more = 1;

		memcpy(copy, data, size);
		if (record_open(&reader, copy, size) == 0) {
			while ((more = record_next(&reader, &out)) > 0)
				assert_memory_equal(out.text, "some text", 9);
			assert_int_equal(more, -EBADMSG);
		}
		free(copy);
	}
}

static void a_record_that_is_full_says_so_and_stays_sound(void **state)
{
	uint8_t data[100];
	struct record_writer writer;
	struct record_reader reader;
	const struct record_entry in = {.text = "0123456789012345678901234567890123456789",
					.text_size = 40};
	struct record_entry out;

	record_begin(&writer, data, sizeof(data), 1, 0);
	assert_true(record_put(&writer, &in));
	assert_false(record_put(&writer, &in));
	assert_int_equal(record_open(&reader, data, writer.size), 0);
	assert_int_equal(record_next(&reader, &out), 1);
	assert_int_equal(record_next(&reader, &out), 0);
}

static void notes_come_back_as_they_were_written(void **state)
{
	uint8_t data[RECORD_NOTE_SIZE];
	const struct record_note in = {.finish = 1,
				       .accepted = 2,
				       .generated = 3,
				       .delivered = 4,
				       .bounced = 5,
				       .expired = 6,
				       .removed = 7,
				       .discarded = 8,
				       .quarantined = 9,
				       .possible_duplicates = 10};
	struct record_note out;

	record_note_write(&in, data);
	assert_int_equal(record_note_read(&out, data, sizeof(data)), 0);
	assert_memory_equal(&in, &out, sizeof(in));
	assert_int_equal(record_note_read(&out, data, sizeof(data) - 1), -EBADMSG);
}

/* ---- Intervals and rates ---- */

/* RFC 5321, 4.5.4.1 */
static void intervals_grow_by_the_factor_up_to_the_maximum(void **state)
{
	const struct retry_policy policy = {.initial_us = 60 * US_PER_S,
					    .max_us = 3600 * US_PER_S,
					    .factor_percent = 150,
					    .jitter_percent = 20};
	struct mr_random random;

	random_init_seed(&random, 1);
	assert_int_equal(retry_interval_us(&policy, 1, NULL), 60 * US_PER_S);
	assert_int_equal(retry_interval_us(&policy, 2, NULL), 90 * US_PER_S);
	assert_int_equal(retry_interval_us(&policy, 3, NULL), 135 * US_PER_S);
	assert_int_equal(retry_interval_us(&policy, 60000, NULL), 3600 * US_PER_S);
	uint64_t low = UINT64_MAX, high = 0;

	for (unsigned i = 0; i < 10000; i++) {
		uint64_t interval = retry_interval_us(&policy, 1, &random);

		assert_in_range(interval, 48 * US_PER_S, 72 * US_PER_S);
		low = interval < low ? interval : low;
		high = interval > high ? interval : high;
	}
	assert_true(low < 49 * US_PER_S && high > 71 * US_PER_S);
}

static void a_policy_of_zeros_neither_loops_nor_divides(void **state)
{
	const struct retry_policy policy = {0};

	assert_int_equal(retry_interval_us(&policy, 50000, NULL), 1);
}

static void a_rate_is_kept_exactly(void **state)
{
	static const uint64_t rates[] = {60, 1000, 100000, 36000000};

	for (unsigned i = 0; i < 4; i++) {
		struct rate rate = {0};
		uint64_t now_us = 1000000, sent = 0;
		const uint64_t end = now_us + 600 * US_PER_S;

		rate_set(&rate, rates[i]);
		while (now_us < end) {
			uint64_t when = rate_when_us(&rate);

			if (when > now_us) {
				now_us = when;
				continue;
			}
			rate_take(&rate, now_us);
			sent++;
		}
		assert_in_range(sent, rates[i] / 6, rates[i] / 6 + 2 + rates[i] / 36000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slab_hands_out_zeroed_records_up_to_its_maximum),
		cmocka_unit_test(lists_keep_order_under_any_operation),
		cmocka_unit_test(the_wheel_agrees_with_a_plain_list),
		cmocka_unit_test(what_falls_due_together_keeps_its_order),
		cmocka_unit_test(the_table_finds_what_is_there_and_nothing_else),
		cmocka_unit_test(equal_hashes_are_told_apart),
		cmocka_unit_test(a_text_is_stored_once_and_freed_with_its_last_user),
		cmocka_unit_test(records_come_back_as_they_were_written),
		cmocka_unit_test(torn_records_are_noticed),
		cmocka_unit_test(a_record_that_is_full_says_so_and_stays_sound),
		cmocka_unit_test(notes_come_back_as_they_were_written),
		cmocka_unit_test(intervals_grow_by_the_factor_up_to_the_maximum),
		cmocka_unit_test(a_policy_of_zeros_neither_loops_nor_divides),
		cmocka_unit_test(a_rate_is_kept_exactly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
