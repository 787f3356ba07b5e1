/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two processes never share a spool or an event log. */
#include "control/directory_lock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/millrace-lock-XXXXXX";
static char inside[64];

static int start(void **state)
{
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(inside, sizeof(inside), "%s/spool", directory);
	return 0;
}

static int stop(void **state)
{
	char name[80];

	snprintf(name, sizeof(name), "%s/spool.lock", inside);
	unlink(name);
	snprintf(name, sizeof(name), "%s/events.lock", inside);
	unlink(name);
	rmdir(inside);
	return rmdir(directory);
}

/* @return what a process of its own got */
static int lock_elsewhere(char *error)
{
	int pipes[2], status;
	pid_t child;

	assert_int_equal(pipe(pipes), 0);
	child = fork();
	if (child == 0) {
		char text[256] = "";
		int code = directory_lock(inside, "spool", text);

		_exit(write(pipes[1], text, sizeof(text)) == sizeof(text) ? code < 0 : 2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(read(pipes[0], error, 256), 256);
	close(pipes[0]);
	close(pipes[1]);
	return WEXITSTATUS(status);
}

static void a_second_process_is_refused_and_told_who_has_it(void **state)
{
	char error[256], number[32];
	int fd = directory_lock(inside, "spool", error);

	assert_true(fd >= 0);
	assert_int_equal(lock_elsewhere(error), 1);
	snprintf(number, sizeof(number), "(process %ld)", (long)getpid());
	assert_non_null(strstr(error, number));
	assert_non_null(strstr(error, inside));
	close(fd);
	assert_int_equal(lock_elsewhere(error), 0);
}

static void what_a_dead_process_left_holds_nobody_up(void **state)
{
	char error[256];
	int fd;

	assert_int_equal(lock_elsewhere(error), 0);
	fd = directory_lock(inside, "spool", error);
	assert_true(fd >= 0);
	close(fd);
}

static void one_directory_may_hold_two_things(void **state)
{
	char error[256];
	int spool = directory_lock(inside, "spool", error);
	int events = directory_lock(inside, "events", error);

	assert_true(spool >= 0 && events >= 0);
	close(spool);
	close(events);
}

static void what_cannot_be_locked_is_named(void **state)
{
	char error[256];

	assert_int_equal(directory_lock("/nonexistent/spool", "spool", error), -ENOENT);
	assert_non_null(strstr(error, "/nonexistent/spool"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_second_process_is_refused_and_told_who_has_it),
		cmocka_unit_test(what_a_dead_process_left_holds_nobody_up),
		cmocka_unit_test(one_directory_may_hold_two_things),
		cmocka_unit_test(what_cannot_be_locked_is_named),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
