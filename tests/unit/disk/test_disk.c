/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The real disks, in a directory of their own: both forms keep the same promises.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/disk/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE (1u << 20)

static char directory[64];
static bool no_io_uring;

static struct disk *open_disk(char *error)
{
	/* A temporary directory may be on a file system without O_DIRECT. */
	const struct disk_settings settings = {
		.directory = directory, .no_io_uring = no_io_uring, .allow_buffered = true};

	return disk_open(&settings, error);
}

static int set_up(void **state)
{
	no_io_uring = *state != NULL;
	strcpy(directory, "/var/tmp/millrace-disk-XXXXXX");
	return mkdtemp(directory) == NULL;
}

static int tear_down(void **state)
{
	DIR *stream = opendir(directory);
	struct dirent *entry;

	while ((entry = readdir(stream)) != NULL)
		unlinkat(dirfd(stream), entry->d_name, 0);
	closedir(stream);
	return rmdir(directory);
}

static uint8_t *aligned(size_t size)
{
	void *buffer = NULL;

	assert_int_equal(posix_memalign(&buffer, DISK_ALIGN, size), 0);
	memset(buffer, 0, size);
	return buffer;
}

static int64_t wait_for(struct disk *disk, void *user)
{
	struct disk_completion completion;

	for (unsigned i = 0; i < 10000; i++) {
		if (disk->operations->reap(disk, &completion, 1) == 0) {
			disk->operations->wait(disk, 1000);
			continue;
		}
		assert_ptr_equal(completion.user, user);
		return completion.result;
	}
	fail_msg("no completion");
	return 0;
}

static void test_what_was_written_is_read(void **state)
{
	char error[256];
	struct disk *disk = open_disk(error);
	struct disk_file *file;
	uint8_t *out = aligned(256 << 10), *in = aligned(256 << 10);
	uint64_t size;
	int a, b;

	assert_non_null(disk);
	print_message("%s\n", disk->method);
	assert_int_equal(disk->operations->create(disk, "seg-1", SIZE, &file), 0);
	for (size_t i = 0; i < 256 << 10; i++)
		out[i] = (uint8_t)(i * 31 + i / 4096);
	assert_int_equal(disk->operations->write_durable(disk, file, 8192, out, 256 << 10, &a), 0);
	assert_int_equal(wait_for(disk, &a), 256 << 10);
	assert_int_equal(disk->operations->read(disk, file, 8192, in, 256 << 10, &b), 0);
	assert_int_equal(wait_for(disk, &b), 256 << 10);
	assert_memory_equal(in, out, 256 << 10);
	/* What was not written is zero. */
	assert_int_equal(disk->operations->read(disk, file, 0, in, 8192, &b), 0);
	assert_int_equal(wait_for(disk, &b), 8192);
	for (unsigned i = 0; i < 8192; i++)
		assert_int_equal(in[i], 0);
	disk->operations->close(disk, file);
	assert_int_equal(disk->operations->open(disk, "seg-1", &file, &size), 0);
	assert_int_equal(size, SIZE);
	assert_int_equal(disk->operations->flush(disk, file), 0);
	disk->operations->close(disk, file);
	disk_close(disk);
	free(out);
	free(in);
}

static void test_many_requests_are_all_answered(void **state)
{
	char error[256];
	struct disk *disk = open_disk(error);
	struct disk_file *file;
	uint8_t *buffer = aligned(64 * 4096);
	unsigned started = 0, answered = 0;
	bool seen[64] = {false};

	assert_non_null(disk);
	assert_int_equal(disk->operations->create(disk, "seg-1", SIZE, &file), 0);
	for (unsigned i = 0; i < 64; i++)
		if (disk->operations->write_durable(disk, file, i * 4096, buffer + i * 4096, 4096,
						    &seen[i]) == 0)
			started++;
	assert_int_equal(started, 64);
	/* The queue is full, and says so. */
	assert_int_equal(disk->operations->write_durable(disk, file, 0, buffer, 4096, NULL),
			 -EAGAIN);
	while (answered < started) {
		struct disk_completion completions[10];
		unsigned n = disk->operations->reap(disk, completions, 10);

		for (unsigned i = 0; i < n; i++) {
			bool *mine = completions[i].user;

			assert_int_equal(completions[i].result, 4096);
			assert_false(*mine);
			*mine = true;
		}
		answered += n;
		if (n == 0)
			disk->operations->wait(disk, 1000);
	}
	disk->operations->close(disk, file);
	disk_close(disk);
	free(buffer);
}

static void test_a_file_is_made_beside_the_work(void **state)
{
	char error[256];
	struct disk *disk = open_disk(error);
	struct disk_file *made = NULL, *other = NULL;
	char path[128];
	struct stat status;
	int a;

	assert_non_null(disk);
	assert_int_equal(disk->operations->create_start(disk, "seg-2", 8 * SIZE, &made, &a), 0);
	assert_int_equal(disk->operations->create_start(disk, "seg-3", SIZE, &other, &a), -EAGAIN);
	assert_int_equal(wait_for(disk, &a), 0);
	assert_non_null(made);
	snprintf(path, sizeof(path), "%s/seg-2", directory);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, 8 * SIZE);
	/* Nobody else reads mail. */
	assert_int_equal(status.st_mode & 0777, 0600);
	/* Really allocated. */
	assert_true(status.st_blocks * 512 >= 8 * (long)SIZE);
	disk->operations->close(disk, made);
	disk_close(disk);
}

static void test_half_made_files_are_not_listed(void **state)
{
	char error[256], path[128];
	struct disk *disk = open_disk(error);
	struct disk_file *file;
	char **names;
	int fd;

	assert_non_null(disk);
	snprintf(path, sizeof(path), "%s/seg-9.new", directory);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(disk->operations->create(disk, "seg-1", SIZE, &file), 0);
	disk->operations->close(disk, file);
	assert_int_equal(disk->operations->list(disk, &names), 1);
	assert_string_equal(names[0], "seg-1");
	free(names[0]);
	free(names);
	assert_int_equal(access(path, F_OK), -1);
	disk_close(disk);
}

static void test_two_cannot_share_a_directory(void **state)
{
	char error[256];
	struct disk *first = open_disk(error);

	assert_non_null(first);
	assert_null(open_disk(error));
	assert_non_null(strstr(error, "in use"));
	disk_close(first);
	first = open_disk(error);
	assert_non_null(first);
	disk_close(first);
}

static void test_a_missing_file_is_an_error(void **state)
{
	char error[256];
	struct disk *disk = open_disk(error);
	struct disk_file *file;
	uint64_t size;

	assert_non_null(disk);
	assert_int_equal(disk->operations->open(disk, "seg-7", &file, &size), -ENOENT);
	disk_close(disk);
}

static void test_errors_are_told_to_the_request(void **state)
{
	char error[256], path[128];
	struct disk *disk = open_disk(error);
	struct disk_file *file;
	uint8_t *buffer = aligned(4096);
	int a;

	assert_non_null(disk);
	assert_int_equal(disk->operations->create(disk, "seg-1", SIZE, &file), 0);
	/* Someone cut the file: a read behind its end is no success. */
	snprintf(path, sizeof(path), "%s/seg-1", directory);
	assert_int_equal(truncate(path, 4096), 0);
	assert_int_equal(disk->operations->read(disk, file, 8192, buffer, 4096, &a), 0);
	assert_int_equal(wait_for(disk, &a), -EIO);
	disk->operations->close(disk, file);
	disk_close(disk);
	free(buffer);
}

#define BOTH(f)                                              \
	{#f "_io_uring", f, set_up, tear_down, NULL},        \
	{                                                    \
#f "_thread", f, set_up, tear_down, "thread" \
	}

/* ---- The kernel takes no submission (linked with --wrap=io_uring_submit) ---- */

static int submit_error;
static unsigned submit_failures;

int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring)
{
	if (submit_failures == 0)
		return __real_io_uring_submit(ring);
	submit_failures--;
	return submit_error;
}

/* A write that the kernel could not take at once is made later, once. */
static void test_a_submission_put_off_is_made_up_for(void **state)
{
	static char user;
	char error[256];
	struct disk *disk = open_disk(error);
	uint8_t *buffer = aligned(DISK_ALIGN), *back = aligned(DISK_ALIGN);
	struct disk_file *file;

	(void)state;
	assert_non_null(disk);
	assert_int_equal(disk->operations->create(disk, "seg-00000", SIZE, &file), 0);
	memset(buffer, 'a', DISK_ALIGN);
	submit_error = -EAGAIN;
	submit_failures = 3;
	assert_int_equal(disk->operations->write_durable(disk, file, 0, buffer, DISK_ALIGN, &user),
			 0);
	assert_int_equal(wait_for(disk, &user), DISK_ALIGN);
	assert_int_equal(disk->operations->read(disk, file, 0, back, DISK_ALIGN, &user), 0);
	assert_int_equal(wait_for(disk, &user), DISK_ALIGN);
	assert_memory_equal(buffer, back, DISK_ALIGN);
	disk->operations->close(disk, file);
	disk_close(disk);
	free(buffer);
	free(back);
	submit_failures = 0;
}

/* A write whose start was refused is never made: its buffer has other uses by then. */
static void test_a_refused_submission_never_reaches_the_disk(void **state)
{
	static char user;
	char error[256];
	struct disk *disk = open_disk(error);
	uint8_t *buffer = aligned(DISK_ALIGN), *back = aligned(DISK_ALIGN);
	struct disk_completion completion;
	struct disk_file *file;

	(void)state;
	assert_non_null(disk);
	if (strncmp(disk->method, "io_uring", 8) != 0) {
		disk_close(disk);
		free(buffer);
		free(back);
		skip();
	}
	assert_int_equal(disk->operations->create(disk, "seg-00000", SIZE, &file), 0);
	memset(buffer, 'b', DISK_ALIGN);
	submit_error = -EINVAL;
	submit_failures = 1;
	assert_int_equal(disk->operations->write_durable(disk, file, 0, buffer, DISK_ALIGN, &user),
			 -EINVAL);
	/* The next submission takes along what lies in the ring. */
	assert_int_equal(disk->operations->read(disk, file, DISK_ALIGN, back, DISK_ALIGN, &user),
			 0);
	assert_int_equal(wait_for(disk, &user), DISK_ALIGN);
	disk->operations->wait(disk, 10000);
	assert_int_equal(disk->operations->reap(disk, &completion, 1), 0);
	assert_int_equal(disk->operations->read(disk, file, 0, back, DISK_ALIGN, &user), 0);
	assert_int_equal(wait_for(disk, &user), DISK_ALIGN);
	assert_int_equal(back[0], 0);
	disk->operations->close(disk, file);
	disk_close(disk);
	free(buffer);
	free(back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_what_was_written_is_read),
		BOTH(test_many_requests_are_all_answered),
		BOTH(test_a_file_is_made_beside_the_work),
		BOTH(test_half_made_files_are_not_listed),
		BOTH(test_two_cannot_share_a_directory),
		BOTH(test_a_missing_file_is_an_error),
		BOTH(test_errors_are_told_to_the_request),
		cmocka_unit_test_setup_teardown(test_a_submission_put_off_is_made_up_for, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_refused_submission_never_reaches_the_disk,
						set_up, tear_down),
	};

	return cmocka_run_group_tests_name("disk", tests, NULL, NULL);
}
