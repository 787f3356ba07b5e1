/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The spool on real disks, both forms: what was acknowledged is there after an orderly stop and
 * after a crash of the process, with its bytes; segments are made in the background and used again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/spool/model.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[64];

static void wipe(void)
{
	DIR *stream = opendir(directory);
	struct dirent *entry;

	while ((entry = readdir(stream)) != NULL)
		unlinkat(dirfd(stream), entry->d_name, 0);
	closedir(stream);
	rmdir(directory);
}

static void live(bool no_io_uring, uint64_t seed)
{
	struct disk_settings settings = {
		.directory = directory, .no_io_uring = no_io_uring, .allow_buffered = true};
	const struct model_plan plan = {
		.steps = 400, .body_max = 8000, .restart_in = 200, .end_percent = 30, .big = true};
	struct spool_statistics s;
	struct model model;
	char error[256];

	strcpy(directory, "/var/tmp/millrace-spool-XXXXXX");
	assert_non_null(mkdtemp(directory));
	settings.directory = directory;
	struct disk *disk = disk_open(&settings, error);
	assert_non_null(disk);
	model_init(&model, disk, seed);
	model.settings.segment_size = 512 << 10;
	model.settings.segments = 10;
	model.settings.segments_initial = 2;
	assert_true(model_open(&model));
	for (unsigned i = 0; i < 4; i++) {
		model_live(&model, &plan);
		model_settle(&model);
		model_read_all(&model);
		model_cut(&model);
	}
	model_read_all(&model);
	spool_statistics(model.spool, &s);
	assert_true(s.segments_total > 2);
	assert_int_equal(s.write_errors + s.read_errors, 0);
	model_close(&model);
	model_finish(&model);
	wipe();
}

static void test_io_uring(void **state)
{
	live(false, 1);
}

static void test_thread(void **state)
{
	live(true, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_io_uring),
		cmocka_unit_test(test_thread),
	};

	return cmocka_run_group_tests_name("spool on real disks", tests, NULL, NULL);
}
