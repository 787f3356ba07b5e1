/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The millrace command, from a line to what it prints, against a real server with a fake table. */
#include "control/cli/filter.h"
#include "control/cli/render.h"
#include "control/cli/render_value.h"
#include "control/cli/shell.h"
#include "tests/unit/cli/fake_commands.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/millrace-shell-XXXXXX";
static char path[64];
static struct management *management;
static struct shell shell;
static char *out, *err;
static size_t out_size, err_size;

static void serve(void)
{
	char error[256];

	management = management_create(path, error);
	assert_non_null(management);
	for (size_t i = 0; i < FAKE_COMMANDS; i++)
		management_add(management, &fake_commands[i]);
	assert_int_equal(management_start(management), 0);
}

static int start(void **state)
{
	setlocale(LC_CTYPE, "C.UTF-8");
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/sock", directory);
	serve();
	shell_init(&shell, path, NULL, NULL);
	return 0;
}

static int stop(void **state)
{
	shell_free(&shell);
	management_destroy(management);
	free(out);
	free(err);
	return rmdir(directory);
}

static int run(const char *line)
{
	int result;

	free(out);
	free(err);
	shell.out = open_memstream(&out, &out_size);
	shell.err = open_memstream(&err, &err_size);
	result = shell_run_line(&shell, line);
	fclose(shell.out);
	fclose(shell.err);
	return result;
}

static void assert_prints(const char *line, const char *text)
{
	if (run(line) != 0)
		fail_msg("%s: %s", line, err);
	assert_string_equal(out, text);
}

static void assert_fails(const char *line, const char *reason)
{
	assert_int_equal(run(line), 1);
	if (strncmp(err, "error: ", 7) != 0 || strncmp(err + 7, reason, strlen(reason)) != 0)
		fail_msg("%s: %s", line, err);
}

static void tables_are_aligned_and_have_units(void **state)
{
	assert_prints("show queue",
		      "Domain       Recipients   Oldest  Last reply\n"
		      "example.com      12,345  2.1 min  450 \\x1b[31mtry later\\x07\n"
		      "example.net           1   900 us  -\n");
	assert_prints("show queue domain none", "(none)\n");
}

static void objects_are_lines(void **state)
{
	assert_prints("show version", "Version: 1\nUp:      1 h\n");
	assert_prints("show message X", "Id:      X\n"
					"Size:    10.0 KiB\n"
					"Created: 2026-11-22 16:36:22Z\n"
					"Recipients:\n"
					"  Address: a@example.com\n");
	assert_prints("show config", "system {\n    hostname a.b;\n}\n");
}

static void words_may_be_cut_while_they_are_unlike_the_others(void **state)
{
	assert_int_equal(run("sh q"), 0);
	assert_int_equal(run("show ver"), 0);
	assert_int_equal(run("s q dom x"), 0);
	assert_fails("show me", "'me' may be message, memory");
	assert_fails("show xyz", "'xyz' is not known here; there is queue, message");
	assert_fails("sho", "more is needed: queue");
	assert_fails("request queue", "more is needed: delete, retry");
	assert_fails("show message", "id is needed: of the message");
	assert_fails("show queue domain", "domain is needed");
	assert_fails("show queue x", "'x' is not known after 'show queue'");
	assert_fails("show queue domain a domain b", "'domain' is given twice");
	assert_fails("show message a b", "'b' is not known");
	assert_fails("show queue domain \"a", "a quote is not closed");
	assert_fails("show message unknown", "no such message");
}

static void filters_shape_what_is_printed(void **state)
{
	assert_prints("show config | match HOST", "");
	assert_prints("show config | match host", "    hostname a.b;\n");
	assert_prints("show config | except host", "system {\n}\n");
	assert_prints("show config | match \"[{}]\" | count", "2\n");
	assert_prints("show config|count", "3\n");
	assert_prints("show config | display json", "{\n  \"workers\": 2\n}\n");
	assert_prints("show config | no-more | match }", "}\n");
	assert_prints("show version | display json",
		      "{\n  \"version\": \"1\",\n  \"uptime_us\": 3700000000,\n  \"healthy\": true,"
		      "\n  \"load\": 12.34\n}\n");
	assert_int_equal(run("show queue | display json"), 0);
	assert_null(strchr(out, '\x1b'));
	assert_fails("show config |", "'' after |");
	assert_fails("show config | grep x", "'grep' after |");
	assert_fails("show config | match", "| match needs a value");
	assert_fails("show config | match [", "'[': ");
	assert_fails("show config | count x", "'x' is too much");
	assert_fails("show config | match a b", "'b' is too much");
	assert_fails("show config | display xml", "| display: there is json");
}

static void flags_and_arguments_reach_the_command(void **state)
{
	unsigned before = fake_deletes;

	assert_prints("request queue delete domain a.b dry-run", "Dry run: yes\nAll:     no\n");
	assert_prints("req q d all", "Dry run: no\nAll:     yes\n");
	assert_int_equal(fake_deletes, before + 2);
}

static void choices_are_what_may_come_next(void **state)
{
	static const struct {
		const char *line;
		const char *words;
	} rows[] = {
		{"", "show request"},
		{"show ", "queue message memory version config"},
		{"show me", "message memory"},
		{"show queue ", "domain <enter> |"},
		{"show queue d", "domain"},
		{"show queue domain ", "<domain>"},
		{"show queue domain x ", "<enter> |"},
		{"show message ", "<id>"},
		{"request queue delete dry-run ", "domain all <enter> |"},
		{"show queue | ", "count display except match no-more"},
		{"show queue | m", "match"},
		{"show queue | match ", "<expression>"},
		{"show queue | display ", "json"},
		{"show queue | count | ", "count display except match no-more"},
		{"bogus ", ""},
	};
	struct grammar_choice choices[GRAMMAR_CHOICES_MAX];

	assert_int_equal(run("show version"), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[1024] = "";
		struct words words;
		unsigned before, count;
		const char *prefix = "";

		assert_int_equal(words_split(rows[i].line, strlen(rows[i].line), &words), 0);
		before = words.count;
		if (!words.ends_blank && before > 0)
			prefix = words.word[--before];
		count = grammar_choices(shell_commands(&shell), &words, before, prefix, choices);
		for (unsigned c = 0; c < count; c++) {
			strcat(text, c > 0 ? " " : "");
			strcat(text, choices[c].word);
		}
		assert_string_equal(text, rows[i].words);
	}
}

static void the_shell_comes_back_after_the_daemon_restarts(void **state)
{
	assert_int_equal(run("show version"), 0);
	management_destroy(management);
	assert_fails("show version", "no answer from the daemon");
	serve();
	assert_int_equal(run("show version"), 0);
	management_destroy(management);
	serve();
	assert_int_equal(run("show version"), 0);
}

static void input_is_taken_line_by_line(void **state)
{
	static char text[] = "# a comment\n\nshow version\nshow bogus\nexit\nshow config\n";
	FILE *in = fmemopen(text, sizeof(text) - 1, "r");

	free(out);
	free(err);
	shell.out = open_memstream(&out, &out_size);
	shell.err = open_memstream(&err, &err_size);
	assert_int_equal(shell_run_input(&shell, in), 1);
	fclose(shell.out);
	fclose(shell.err);
	fclose(in);
	assert_string_equal(out, "Version: 1\nUp:      1 h\n");
	assert_true(shell.over);
}

static void assert_renders(const char *rows, const char *columns, unsigned width, const char *text)
{
	json_t *data = json_loads(rows, 0, NULL), *description = json_loads(columns, 0, NULL);
	char *made = render(data, description, width);

	assert_string_equal(made, text);
	free(made);
	json_decref(data);
	json_decref(description);
}

static void a_narrow_table_wraps_texts_and_cuts_none(void **state)
{
	static const char columns[] = "[{\"key\":\"a\",\"title\":\"A\",\"format\":\"text\"},"
				      "{\"key\":\"n\",\"title\":\"N\",\"format\":\"count\"},"
				      "{\"key\":\"b\",\"title\":\"B\",\"format\":\"text\"}]";

	assert_renders("[{\"a\":\"first.example\",\"n\":5,\"b\":\"second.of-all.example\"}]",
		       columns, 34,
		       "A              N  B\n"
		       "first.example  5  second.of-all.\n"
		       "                  example\n");
}

static void a_narrow_table_leaves_out_what_matters_least_and_says_so(void **state)
{
	static const char columns[] =
		"[{\"key\":\"a\",\"title\":\"A\",\"format\":\"text\"},"
		"{\"key\":\"m\",\"title\":\"MAC\",\"format\":\"text\",\"rank\":2},"
		"{\"key\":\"q\",\"title\":\"Queues\",\"format\":\"count\",\"rank\":1},"
		"{\"key\":\"up\",\"title\":\"Link\",\"format\":\"up\"}]";
	static const char rows[] =
		"[{\"a\":\"inside\",\"m\":\"02:00:00:00:00:01\",\"q\":2,\"up\":true}]";

	assert_renders(rows, columns, 80,
		       "A       MAC                Queues  Link\n"
		       "inside  02:00:00:00:00:01       2  up\n");
	assert_renders(rows, columns, 30,
		       "A       Queues  Link\n"
		       "inside       2  up\n"
		       "(no room for MAC: | display\n"
		       " json has all)\n");
}

static void an_explanation_wraps_or_goes_below_its_row(void **state)
{
	static const char columns[] = "[{\"key\":\"a\",\"title\":\"Domain\",\"format\":\"text\"},"
				      "{\"key\":\"w\",\"title\":\"Why\",\"format\":\"note\"}]";
	static const char rows[] =
		"[{\"a\":\"one.example\",\"w\":\"the exchanger refuses connections for now\"},"
		"{\"a\":\"two.example\",\"w\":\"\"}]";

	assert_renders(rows, columns, 40,
		       "Domain       Why\n"
		       "one.example  the exchanger refuses\n"
		       "             connections for now\n"
		       "two.example  -\n");
	assert_renders(rows, columns, 30,
		       "Domain\n"
		       "one.example\n"
		       "    Why: the exchanger refuses\n"
		       "         connections for now\n"
		       "two.example\n");
}

static void filters_of_a_table_choose_rows(void **state)
{
	assert_prints("show queue | count", "2\n");
	assert_prints("show queue | match example.net | count", "1\n");
	assert_prints("show queue domain none | count", "0\n");
	assert_prints("show queue | match Recipients", "");
	assert_prints("show queue domain a.b | match a.b",
		      "Domain  Recipients  Oldest  Last reply\n"
		      "a.b              1  900 us  -\n");
}

static void what_failed_is_shown_and_fails(void **state)
{
	assert_int_equal(run("request config check"), 1);
	assert_string_equal(out, "x.conf:1: no\nx.conf:2: no\n");
	assert_int_equal(run("request config check | display json"), 1);
	assert_string_equal(out, "{\n  \"errors\": 2\n}\n");
}

static void help_needs_no_daemon(void **state)
{
	struct shell lonely;
	char *text;
	size_t size;

	shell_init(&lonely, "/nonexistent/socket", open_memstream(&text, &size), stderr);
	assert_int_equal(shell_run_line(&lonely, "?"), 0);
	assert_int_equal(shell_run_line(&lonely, "request ?"), 0);
	fclose(lonely.out);
	assert_non_null(strstr(text, "  show queue                 recipient domains"));
	assert_non_null(strstr(text, "  queue                retry or delete"));
	assert_non_null(strstr(text, "no answer from the daemon"));
	shell_free(&lonely);
	free(text);
}

static void every_word_has_a_line_of_help(void **state)
{
	struct grammar_choice choices[GRAMMAR_CHOICES_MAX];
	struct words words;

	assert_int_equal(run("help"), 0);
	assert_non_null(strstr(out, "  show queue                 domains with mail\n"));
	assert_non_null(strstr(out, "  | count"));
	assert_int_equal(words_split("", 0, &words), 0);
	assert_int_equal(grammar_choices(shell_commands(&shell), &words, 0, "", choices), 2);
	assert_string_equal(choices[0].help, "look at something; changes nothing");
	assert_string_equal(choices[1].help, "do something now");
}

static void values_read_as_people_say_them(void **state)
{
	static const struct {
		double value;
		const char *format, *text;
	} rows[] = {
		{0, "bytes", "0 B"},
		{1023, "bytes", "1023 B"},
		{1536, "bytes", "1.5 KiB"},
		{5e12, "bytes", "4.5 TiB"},
		{1234567, "count", "1,234,567"},
		{-1234, "count", "-1,234"},
		{999, "count", "999"},
		{0, "duration_us", "0 us"},
		{1500, "duration_us", "1.5 ms"},
		{2500000, "duration_us", "2.5 s"},
		{999960, "duration_us", "1 s"},
		{90e6, "duration_us", "1.5 min"},
		{180e6, "duration_us", "3 min"},
		{7200e6, "duration_us", "2 h"},
		{200000e6, "duration_us", "2.3 d"},
		{0, "time_us", "-"},
		{1795365382e6, "time_us", "2026-11-22 16:36:22Z"},
		{12.345, "percent", "12.3 %"},
		{2.5, "rate", "2.5/s"},
		{20000, "rate", "20000/s"},
		{25, "text", "25"},
	};
	char text[128];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool whole = rows[i].value == (double)(json_int_t)rows[i].value;
		json_t *value =
			whole ? json_integer((json_int_t)rows[i].value) : json_real(rows[i].value);

		assert_string_equal(render_value(value, rows[i].format, text, sizeof(text)),
				    rows[i].text);
		json_decref(value);
	}
}

static void times_may_be_said_from_now(void **state)
{
	struct timespec now;
	json_t *value;
	char text[64];

	clock_gettime(CLOCK_REALTIME, &now);
	value = json_integer(((json_int_t)now.tv_sec + 3690) * 1000000);
	assert_string_equal(render_value(value, "when_us", text, sizeof(text)), "in 1 h");
	json_decref(value);
	value = json_integer(((json_int_t)now.tv_sec - 7290) * 1000000);
	assert_string_equal(render_value(value, "when_us", text, sizeof(text)), "2 h ago");
	json_decref(value);
	value = json_integer(0);
	assert_string_equal(render_value(value, "when_us", text, sizeof(text)), "-");
	json_decref(value);
}

static void without_columns_the_keys_say_what_values_are(void **state)
{
	json_t *data =
		json_pack("{s:I,s:I,s:I,s:I,s:I,s:s}", "oldest", (json_int_t)1795365382000000,
			  "body_bytes_max", (json_int_t)2048, "commit_us", (json_int_t)1500, "bus",
			  (json_int_t)7, "messages_max", (json_int_t)1000000, "why", "");
	char *text = render(data, NULL, 0);

	assert_string_equal(text, "Oldest:       2026-11-22 16:36:22Z\n"
				  "Body max:     2.0 KiB\n"
				  "Commit:       1.5 ms\n"
				  "Bus:          7\n"
				  "Messages max: 1,000,000\n"
				  "Why:          -\n");
	free(text);
	json_decref(data);
}

static void nothing_that_is_printed_drives_the_terminal(void **state)
{
	char text[128];

	render_clean("\x1b]0;x\x07 \xc2\x9b"
		     "31m \x7f \xe2\x80\xae \xff\xc0\x80 \xed\xa0\x80 gr\xc3\xbc"
		     "n\n",
		     text, sizeof(text), false);
	assert_string_equal(text, "\\x1b]0;x\\x07 \\xc2\\x9b31m \\x7f \\xe2\\x80\\xae "
				  "\\xff\\xc0\\x80 \\xed\\xa0\\x80 gr\xc3\xbc"
				  "n\\x0a");
	assert_int_equal(render_width("gr\xc3\xbc"
				      "n"),
			 4);
	/* A text that does not fit ends whole. */
	assert_int_equal(render_clean("abc\xc3\xbc", text, 5, false), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_are_aligned_and_have_units),
		cmocka_unit_test(objects_are_lines),
		cmocka_unit_test(words_may_be_cut_while_they_are_unlike_the_others),
		cmocka_unit_test(filters_shape_what_is_printed),
		cmocka_unit_test(flags_and_arguments_reach_the_command),
		cmocka_unit_test(choices_are_what_may_come_next),
		cmocka_unit_test(the_shell_comes_back_after_the_daemon_restarts),
		cmocka_unit_test(input_is_taken_line_by_line),
		cmocka_unit_test(a_narrow_table_wraps_texts_and_cuts_none),
		cmocka_unit_test(a_narrow_table_leaves_out_what_matters_least_and_says_so),
		cmocka_unit_test(an_explanation_wraps_or_goes_below_its_row),
		cmocka_unit_test(filters_of_a_table_choose_rows),
		cmocka_unit_test(what_failed_is_shown_and_fails),
		cmocka_unit_test(help_needs_no_daemon),
		cmocka_unit_test(every_word_has_a_line_of_help),
		cmocka_unit_test(values_read_as_people_say_them),
		cmocka_unit_test(times_may_be_said_from_now),
		cmocka_unit_test(without_columns_the_keys_say_what_values_are),
		cmocka_unit_test(nothing_that_is_printed_drives_the_terminal),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
