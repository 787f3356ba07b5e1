/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Durations and sizes, and the words of the file. */
#include "control/config/lexer.h"
#include "control/config/units.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void durations_read_and_write(void **state)
{
	static const struct {
		const char *text;
		uint64_t us;
		const char *back;
	} rows[] = {
		{"0", 0, "0"},
		{"50us", 50, "50us"},
		{"3ms", 3000, "3ms"},
		{"90s", 90000000, "90s"},
		{"5m", 300000000, "5m"},
		{"1h30m", UINT64_C(5400000000), "90m"},
		{"5d", UINT64_C(432000000000), "5d"},
		{"7d", UINT64_C(604800000000), "1w"},
	};
	char text[32];
	uint64_t us;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(units_read_duration(rows[i].text, &us), 0);
		assert_int_equal(us, rows[i].us);
		assert_string_equal(units_write_duration(us, text, sizeof(text)), rows[i].back);
	}
}

static void durations_without_a_unit_are_refused(void **state)
{
	static const char *const texts[] = {"", "5", "m", "5x", "5m3", "-5m", "5 m", "5M", "00"};
	uint64_t us;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(units_read_duration(texts[i], &us), -EINVAL);
	assert_int_equal(units_read_duration("99999999999999999999s", &us), -ERANGE);
	assert_int_equal(units_read_duration("9999999999999999w", &us), -ERANGE);
	assert_int_equal(units_read_duration("30500000w30500000w", &us), -ERANGE);
}

static void sizes_read_and_write(void **state)
{
	char text[32];
	uint64_t bytes;

	assert_int_equal(units_read_size("1000", &bytes), 0);
	assert_int_equal(bytes, 1000);
	assert_int_equal(units_read_size("10M", &bytes), 0);
	assert_int_equal(bytes, 10485760);
	assert_string_equal(units_write_size(bytes, text, sizeof(text)), "10m");
	assert_string_equal(units_write_size(1000, text, sizeof(text)), "1000");
	assert_int_equal(units_read_size("4g", &bytes), 0);
	assert_int_equal(bytes, UINT64_C(4) << 30);
	assert_int_equal(units_read_size("10mb", &bytes), -EINVAL);
	assert_int_equal(units_read_size("k", &bytes), -EINVAL);
	assert_int_equal(units_read_size("16777216t", &bytes), -ERANGE);
}

static void words_strings_marks_and_comments(void **state)
{
	static const char text[] = "\xef\xbb\xbf"
				   "a#b # c\n\"x \\\"y\\\\\" {}[];\n";
	static const struct {
		enum token_kind kind;
		const char *text;
		unsigned line;
	} rows[] = {
		{TOKEN_WORD, "a#b", 1},	   {TOKEN_STRING, "x \"y\\", 2}, {TOKEN_OPEN, "{", 2},
		{TOKEN_CLOSE, "}", 2},	   {TOKEN_LIST_OPEN, "[", 2},	 {TOKEN_LIST_CLOSE, "]", 2},
		{TOKEN_SEMICOLON, ";", 2}, {TOKEN_END, "", 3},		 {TOKEN_END, "", 3},
	};
	struct token token;
	struct lexer lexer;

	lexer_init(&lexer, text, sizeof(text) - 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		lexer_next(&lexer, &token);
		assert_int_equal(token.kind, rows[i].kind);
		assert_string_equal(token.text, rows[i].text);
		assert_int_equal(token.line, rows[i].line);
	}
}

static void a_word_may_be_as_long_as_the_limit_and_no_longer(void **state)
{
	static char text[TOKEN_TEXT_MAX + 2];
	struct token token;
	struct lexer lexer;

	memset(text, 'a', sizeof(text));
	lexer_init(&lexer, text, TOKEN_TEXT_MAX);
	lexer_next(&lexer, &token);
	assert_int_equal(token.kind, TOKEN_WORD);
	assert_int_equal(strlen(token.text), TOKEN_TEXT_MAX);
	lexer_init(&lexer, text, TOKEN_TEXT_MAX + 1);
	lexer_next(&lexer, &token);
	assert_int_equal(token.kind, TOKEN_BAD);
	lexer_next(&lexer, &token);
	assert_int_equal(token.kind, TOKEN_END);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_read_and_write),
		cmocka_unit_test(durations_without_a_unit_are_refused),
		cmocka_unit_test(sizes_read_and_write),
		cmocka_unit_test(words_strings_marks_and_comments),
		cmocka_unit_test(a_word_may_be_as_long_as_the_limit_and_no_longer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
