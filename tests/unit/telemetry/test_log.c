/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The diagnostics log: one line each, whatever is in it; levels, rotation, repeats, a file that
 * goes away. */
#include "control/telemetry/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/millrace-log-XXXXXX";
static char file[64], rotated[80];
static char error[256];
static char text[1 << 20];

static int make_directory(void **state)
{
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(file, sizeof(file), "%s/log", directory);
	return 0;
}

static int remove_directory(void **state)
{
	return rmdir(directory);
}

static int begin(void **state)
{
	struct log_settings settings = {file, LOG_LEVEL_INFO, 0, 3};

	return log_open(&settings, error);
}

static int end(void **state)
{
	log_close();
	unlink(file);
	for (unsigned i = 1; i < 10; i++) {
		snprintf(rotated, sizeof(rotated), "%s.%u", file, i);
		unlink(rotated);
	}
	return 0;
}

static const char *read_file(const char *name)
{
	FILE *in = fopen(name, "r");
	size_t size = in != NULL ? fread(text, 1, sizeof(text) - 1, in) : 0;

	text[size] = '\0';
	if (in != NULL)
		fclose(in);
	return text;
}

static unsigned count_of(const char *haystack, const char *needle)
{
	unsigned count = 0;

	while ((haystack = strstr(haystack, needle)) != NULL) {
		count++;
		haystack++;
	}
	return count;
}

static void a_line_has_time_level_area_and_text(void **state)
{
	unsigned year;
	char rest[64];

	log_warning("spool", "segment %d quarantined batch=%d", 17, 4);
	read_file(file);
	assert_int_equal(sscanf(text, "%u-%*u-%*uT%*u:%*u:%*u.%*06uZ %63[^\n]", &year, rest), 2);
	assert_true(year >= 2024);
	assert_string_equal(rest, "warning spool: segment 17 quarantined batch=4");
}

static void lines_above_the_level_are_left_out(void **state)
{
	log_debug("a", "not there");
	log_info("a", "there");
	assert_false(log_wants(LOG_LEVEL_DEBUG));
	assert_true(log_wants(LOG_LEVEL_ERROR));
	read_file(file);
	assert_null(strstr(text, "not there"));
	assert_non_null(strstr(text, "info a: there"));
}

static void a_line_stays_one_line_and_drives_no_terminal(void **state)
{
	log_info("smtp", "peer said %s", "hi\r\nforged \x1b[31m\x7f");
	read_file(file);
	assert_int_equal(count_of(text, "\n"), 1);
	assert_non_null(strstr(text, "hi\\x0d\\x0aforged \\x1b[31m\\x7f\n"));
}

static void a_long_line_is_cut_and_says_so(void **state)
{
	static char long_text[5000];
	size_t size;

	memset(long_text, 'x', sizeof(long_text) - 1);
	log_info("a", "%s", long_text);
	size = strlen(read_file(file));
	assert_true(size <= LOG_LINE_MAX + 1);
	assert_string_equal(text + size - 5, "x...\n");
	memset(long_text, '\n', sizeof(long_text) - 1);
	log_info("a", " %s", long_text);
	size = strlen(read_file(file));
	assert_int_equal(count_of(text, "\n"), 2);
	assert_string_equal(text + size - 4, "...\n");
}

static void a_message_that_repeats_is_held_back_and_counted(void **state)
{
	struct log_statistics before, after;

	log_statistics(&before);
	for (unsigned i = 0; i < 1000; i++)
		log_warning("a", "again %u", i);
	log_warning("a", "another");
	for (unsigned i = 0; i < 50; i++)
		log_info("a", "trail %u", i);
	log_statistics(&after);
	assert_int_equal(after.held_back - before.held_back, 1000 - LOG_REPEATS_MAX);
	assert_int_equal(count_of(read_file(file), "again"), LOG_REPEATS_MAX);
	assert_non_null(strstr(text, "another"));
	assert_int_equal(count_of(text, "trail"), 50);
	log_close();
	assert_non_null(strstr(read_file(file), "990 more like \"again %u\" held back"));
}

static void different_texts_are_no_repeats_though_their_format_says_nothing(void **state)
{
	char line[32];

	for (unsigned i = 0; i < 100; i++) {
		snprintf(line, sizeof(line), "error in line %u.", i);
		log_error("config", "%s", line);
	}
	assert_int_equal(count_of(read_file(file), "error in line"), 100);
}

static void the_file_rotates_and_so_many_are_kept(void **state)
{
	struct log_settings settings = {file, LOG_LEVEL_INFO, 4096, 2};
	static const char *const formats[] = {"a %0200d", "b %0200d", "c %0200d", "d %0200d",
					      "e %0200d", "f %0200d", "g %0200d", "h %0200d"};

	assert_int_equal(log_open(&settings, error), 0);
	for (unsigned i = 0; i < 80; i++) {
		log_write(LOG_LEVEL_INFO, "x", i < 10 ? formats[0] : formats[i / 10], i);
	}
	snprintf(rotated, sizeof(rotated), "%s.2", file);
	assert_int_equal(access(rotated, F_OK), 0);
	assert_true(strlen(read_file(rotated)) <= 4096);
	snprintf(rotated, sizeof(rotated), "%s.3", file);
	assert_int_not_equal(access(rotated, F_OK), 0);
	/* The newest line is in the present file. */
	assert_non_null(strstr(read_file(file), "79\n"));
}

static void *write_many(void *argument)
{
	(void)argument;
	for (unsigned i = 0; i < LOG_REPEATS_MAX / 2; i++)
		log_info("thread", "from a thread %u", i);
	return NULL;
}

static void threads_do_not_mix_their_lines(void **state)
{
	pthread_t threads[2];

	for (unsigned i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, write_many, NULL);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(count_of(read_file(file), "info thread: from a thread "),
			 2 * (LOG_REPEATS_MAX / 2));
}

static void levels_have_names(void **state)
{
	enum log_level level;

	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_string_equal(log_level_name(LOG_LEVEL_ERROR), "error");
	assert_true(log_level_parse("loud", &level) < 0);
}

static void a_file_that_cannot_be_opened_changes_nothing(void **state)
{
	struct log_settings settings = {"/nonexistent/log", LOG_LEVEL_DEBUG, 0, 1};

	assert_true(log_open(&settings, error) < 0);
	assert_non_null(strstr(error, "/nonexistent/log"));
	log_info("a", "still here");
	assert_non_null(strstr(read_file(file), "still here"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_line_has_time_level_area_and_text, begin, end),
		cmocka_unit_test_setup_teardown(lines_above_the_level_are_left_out, begin, end),
		cmocka_unit_test_setup_teardown(a_line_stays_one_line_and_drives_no_terminal, begin,
						end),
		cmocka_unit_test_setup_teardown(a_long_line_is_cut_and_says_so, begin, end),
		cmocka_unit_test_setup_teardown(a_message_that_repeats_is_held_back_and_counted,
						begin, end),
		cmocka_unit_test_setup_teardown(
			different_texts_are_no_repeats_though_their_format_says_nothing, begin,
			end),
		cmocka_unit_test_setup_teardown(the_file_rotates_and_so_many_are_kept, begin, end),
		cmocka_unit_test_setup_teardown(threads_do_not_mix_their_lines, begin, end),
		cmocka_unit_test_setup_teardown(levels_have_names, begin, end),
		cmocka_unit_test_setup_teardown(a_file_that_cannot_be_opened_changes_nothing, begin,
						end),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
