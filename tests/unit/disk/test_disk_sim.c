/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The simulated disk does what it is there for: it loses, tears, reorders and fails, and the same
 * seed does the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/disk/disk_sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE (64u << 10)

static uint8_t *filled(uint8_t value)
{
	void *buffer = NULL;

	assert_int_equal(posix_memalign(&buffer, DISK_ALIGN, 8192), 0);
	memset(buffer, value, 8192);
	return buffer;
}

static struct disk *make(uint64_t seed, bool lossy, struct disk_file **file)
{
	const struct disk_sim_settings settings = {
		.seed = seed, .latency_min_us = 10, .latency_max_us = 500, .lossy = lossy};
	struct disk *disk = disk_sim_create(&settings);

	assert_int_equal(disk->operations->create(disk, "f", SIZE, file), 0);
	return disk;
}

static unsigned ones(struct disk *disk)
{
	uint64_t size;
	const uint8_t *bytes = disk_sim_bytes(disk, "f", &size);
	unsigned count = 0;

	for (uint64_t i = 0; i < size; i += 512)
		count += bytes[i] == 1;
	return count;
}

static void settle(struct disk *disk)
{
	struct disk_completion completion;

	while (disk_sim_next(disk) != UINT64_MAX) {
		disk->operations->wait(disk, 1000);
		while (disk->operations->reap(disk, &completion, 1) == 1)
			;
	}
}

static void test_a_completed_write_survives_and_one_in_flight_may(void **state)
{
	unsigned none = 0, all = 0, some = 0;

	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct disk_file *file;
		struct disk *disk = make(seed, false, &file);
		uint8_t *one = filled(1);
		struct disk_completion completion;

		disk->operations->write_durable(disk, file, 0, one, 8192, NULL);
		settle(disk);
		disk->operations->write_durable(disk, file, 8192, one, 8192, NULL);
		disk_sim_cut(disk);
		assert_int_equal(disk->operations->reap(disk, &completion, 1), 1);
		assert_int_equal(completion.result, -ECANCELED);
		assert_in_range(ones(disk), 16, 32);
		none += ones(disk) == 16;
		all += ones(disk) == 32;
		some += ones(disk) > 16 && ones(disk) < 32;
		disk_close(disk);
		free(one);
	}
	assert_true(none > 5 && all > 5 && some > 5);
}

static void test_without_sync_a_completed_write_may_be_lost(void **state)
{
	unsigned lost = 0;

	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct disk_file *file;
		struct disk *disk = make(seed, true, &file);
		uint8_t *one = filled(1);

		disk->operations->write_durable(disk, file, 0, one, 8192, NULL);
		settle(disk);
		assert_int_equal(ones(disk), 16);
		disk_sim_cut(disk);
		lost += ones(disk) < 16;
		disk_close(disk);
		free(one);
	}
	assert_true(lost > 10);
}

static void test_completions_come_in_any_order(void **state)
{
	unsigned reordered = 0;

	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct disk_file *file;
		struct disk *disk = make(seed, false, &file);
		uint8_t *one = filled(1);
		struct disk_completion completions[2];
		int a, b;
		unsigned n = 0;

		disk->operations->write_durable(disk, file, 0, one, 4096, &a);
		disk->operations->write_durable(disk, file, 4096, one, 4096, &b);
		while (n < 2) {
			disk->operations->wait(disk, 1000);
			n += disk->operations->reap(disk, completions + n, 2 - n);
		}
		reordered += completions[0].user == &b;
		disk_close(disk);
		free(one);
	}
	assert_in_range(reordered, 10, 40);
}

static void test_faults_come_as_often_as_asked(void **state)
{
	const struct disk_sim_faults faults = {
		.write_error = 100000, .read_error = 100000, .create_error = 1000000};
	struct disk_file *file, *other;
	struct disk *disk = make(3, false, &file);
	struct disk_completion completion;
	uint8_t *one = filled(1);
	unsigned failed = 0;

	disk_sim_set_faults(disk, &faults);
	for (unsigned i = 0; i < 1000; i++) {
		if (i % 2 == 0)
			disk->operations->write_durable(disk, file, 0, one, 4096, NULL);
		else
			disk->operations->read(disk, file, 0, one, 4096, NULL);
		while (disk->operations->reap(disk, &completion, 1) == 0)
			disk->operations->wait(disk, 1000);
		failed += completion.result == -EIO;
	}
	assert_in_range(failed, 60, 150);
	assert_int_equal(disk->operations->create(disk, "g", SIZE, &other), -ENOSPC);
	disk_close(disk);
	free(one);
}

static void test_a_fork_keeps_the_chosen_sectors(void **state)
{
	struct disk_file *file;
	struct disk *disk = make(4, false, &file);
	uint8_t *one = filled(1);

	disk->operations->write_durable(disk, file, 0, one, 8192, NULL);
	assert_int_equal(disk_sim_unsafe_sectors(disk), 16);
	for (unsigned i = 0; i < 16; i++) {
		struct disk *fork = disk_sim_fork(disk, UINT64_C(1) << i, 1);
		uint64_t size;
		const uint8_t *bytes = disk_sim_bytes(fork, "f", &size);

		assert_int_equal(ones(fork), 1);
		assert_int_equal(bytes[i * 512], 1);
		disk_close(fork);
	}
	assert_int_equal(ones(disk), 0);
	disk_close(disk);
	free(one);
}

static void test_the_same_seed_does_the_same(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		unsigned result[2];

		for (unsigned i = 0; i < 2; i++) {
			struct disk_file *file;
			struct disk *disk = make(seed, false, &file);
			uint8_t *one = filled(1);

			for (unsigned k = 0; k < 8; k++)
				disk->operations->write_durable(disk, file, k * 8192, one, 8192,
								NULL);
			disk_sim_set_time(disk, 200);
			disk_sim_cut(disk);
			result[i] = ones(disk);
			disk_close(disk);
			free(one);
		}
		assert_int_equal(result[0], result[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_completed_write_survives_and_one_in_flight_may),
		cmocka_unit_test(test_without_sync_a_completed_write_may_be_lost),
		cmocka_unit_test(test_completions_come_in_any_order),
		cmocka_unit_test(test_faults_come_as_often_as_asked),
		cmocka_unit_test(test_a_fork_keeps_the_chosen_sectors),
		cmocka_unit_test(test_the_same_seed_does_the_same),
	};

	return cmocka_run_group_tests_name("disk_sim", tests, NULL, NULL);
}
