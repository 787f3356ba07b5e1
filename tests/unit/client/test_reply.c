/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The reply parser: RFC 5321, 4.2; rows C1 and C2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/smtp/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Feed a whole text, `step` octets at a time. @return the status that ended it */
static enum reply_status feed(struct reply_parser *parser, const char *text, size_t size,
			      size_t step)
{
	enum reply_status status = REPLY_MORE;
	size_t at = 0;

	reply_parser_init(parser);
	while (at < size && status != REPLY_DONE && status != REPLY_BROKEN) {
		size_t used;
		size_t piece = step < size - at ? step : size - at;

		status = reply_parser_input(parser, (const uint8_t *)text + at, piece, &used);
		at += used;
	}
	return status;
}

static void good(const char *text, unsigned code, const char *enhanced, const char *says)
{
	for (size_t step = 1; step <= strlen(text); step++) {
		struct reply_parser parser;
		char found[32] = "";

		assert_int_equal(feed(&parser, text, strlen(text), step), REPLY_DONE);
		assert_int_equal(parser.reply.code, code);
		if (parser.reply.enhanced.class)
			snprintf(found, sizeof(found), "%u.%u.%u", parser.reply.enhanced.class,
				 parser.reply.enhanced.subject, parser.reply.enhanced.detail);
		assert_string_equal(found, enhanced);
		assert_string_equal(parser.reply.text, says);
		assert_true(reply_parser_is_between(&parser));
	}
}

static void bad(const char *text)
{
	for (size_t step = 1; step <= strlen(text); step++) {
		struct reply_parser parser;

		assert_int_equal(feed(&parser, text, strlen(text), step), REPLY_BROKEN);
		assert_non_null(parser.error);
	}
}

static void single_lines(void **state)
{
	good("220 mx.example.org ESMTP\r\n", 220, "", "mx.example.org ESMTP");
	good("250 2.1.0 Ok\r\n", 250, "2.1.0", "Ok");
	good("550 5.1.1 <a@b>: no such user\r\n", 550, "5.1.1", "<a@b>: no such user");
	good("250\r\n", 250, "", "");
	good("250 \r\n", 250, "", "");
	good("250 ok\n", 250, "", "ok");
	good("571 5.7.1 blocked\r\n", 571, "5.7.1", "blocked");
	good("250 2.0.0\r\n", 250, "2.0.0", "");
}

static void lines_of_one_reply_are_joined(void **state)
{
	good("550-5.7.1 first\r\n550-5.7.1 second\r\n550 5.7.1 third\r\n", 550, "5.7.1",
	     "first second third");
	good("250-one\r\n250-\r\n250\r\n", 250, "", "one");
	good("421-4.7.0 [x]\r\n421 go away\r\n", 421, "4.7.0", "[x] go away");
}

static void c2_mixed_codes_are_refused(void **state)
{
	bad("250-first\r\n550 second\r\n");
	bad("250-first\r\n251 second\r\n");
}

static void c2_garbage_codes_are_refused(void **state)
{
	bad("600 what\r\n");
	bad("199 what\r\n");
	bad("25 what\r\n");
	bad("2x0 what\r\n");
	bad("HTTP/1.1 400 Bad Request\r\n");
	bad("\r\n");
	bad(" 250 ok\r\n");
}

static void c2_code_needs_space_or_hyphen(void **state)
{
	bad("250ok\r\n");
	bad("250\tok\r\n");
	bad("2500 ok\r\n");
}

static void c2_enhanced_code_needs_the_class_of_the_code(void **state)
{
	good("250 5.1.1 fine\r\n", 250, "", "5.1.1 fine");
	good("550 2.1.1 not fine\r\n", 550, "", "2.1.1 not fine");
	good("354 3.0.0 go\r\n", 354, "", "3.0.0 go");
	good("550 5.1234.1 x\r\n", 550, "", "5.1234.1 x");
	good("550 5.1 x\r\n", 550, "", "5.1 x");
	good("550 5.1.1x\r\n", 550, "", "5.1.1x");
	good("550 5.1.1\r\n", 550, "5.1.1", "");
}

static void c2_nothing_is_left_of_the_reply_before(void **state)
{
	static const char text[] = "550 5.1.1 no such user\r\n250\r\n";
	struct reply_parser parser;
	size_t used, more;

	reply_parser_init(&parser);
	assert_int_equal(
		reply_parser_input(&parser, (const uint8_t *)text, sizeof(text) - 1, &used),
		REPLY_DONE);
	assert_int_equal(reply_parser_input(&parser, (const uint8_t *)text + used,
					    sizeof(text) - 1 - used, &more),
			 REPLY_DONE);
	assert_int_equal(parser.reply.code, 250);
	assert_int_equal(parser.reply.enhanced.class, 0);
	assert_string_equal(parser.reply.text, "");
	assert_string_equal(reply_parser_line(&parser), "");
}

static void c1_line_length_is_limited(void **state)
{
	static char text[8192];
	struct reply_parser parser;

	memset(text, 'x', sizeof(text));
	memcpy(text, "250 ", 4);
	memcpy(text + REPLY_LINE_MAX - 2, "\r\n", 2);
	assert_int_equal(feed(&parser, text, REPLY_LINE_MAX, 100), REPLY_DONE);
	memcpy(text + REPLY_LINE_MAX - 2, "xx\r\n", 4);
	assert_int_equal(feed(&parser, text, REPLY_LINE_MAX + 2, 100), REPLY_BROKEN);
	memset(text + 4, 'x', sizeof(text) - 4);
	assert_int_equal(feed(&parser, text, sizeof(text), 1), REPLY_BROKEN);
	assert_int_equal(feed(&parser, text, sizeof(text), sizeof(text)), REPLY_BROKEN);
}

static void c1_lines_and_octets_of_a_reply_are_limited(void **state)
{
	static char text[REPLY_SIZE_MAX + 8192];
	struct reply_parser parser;
	size_t size = 0;

	for (unsigned i = 0; i < REPLY_LINES_MAX - 1; i++, size += 5)
		memcpy(text + size, "250-\n", 5);
	memcpy(text + size, "250 \n", 5);
	assert_int_equal(feed(&parser, text, size + 5, 64), REPLY_DONE);
	memcpy(text + size, "250-\n250 \n", 10);
	assert_int_equal(feed(&parser, text, size + 10, 64), REPLY_BROKEN);
	for (size = 0; size + 1000 <= sizeof(text); size += 1000) {
		memset(text + size, 'x', 1000);
		memcpy(text + size, "250-", 4);
		memcpy(text + size + 998, "\r\n", 2);
	}
	assert_int_equal(feed(&parser, text, size, 4000), REPLY_BROKEN);
}

static void c1_a_broken_parser_stays_broken(void **state)
{
	struct reply_parser parser;
	size_t used;

	assert_int_equal(feed(&parser, "junk\r\n", 6, 6), REPLY_BROKEN);
	assert_int_equal(reply_parser_input(&parser, (const uint8_t *)"250 ok\r\n", 8, &used),
			 REPLY_BROKEN);
}

static void c1_text_is_fit_for_terminals(void **state)
{
	struct reply_parser parser;
	static const char nul[] = "550 a\0b\r\n";

	good("550 \x1b[2Jwiped\x07\r\n", 550, "", "?[2Jwiped?");
	good("550 a\tb\rc\x7f\r\n", 550, "", "a b?c?");
	good("550 gr\xc3\xbc\xc3\x9f\x65\r\n", 550, "", "gr\xc3\xbc\xc3\x9f\x65");
	good("550 \xff\xc3(\xed\xa0\x80\xc0\xaf\r\n", 550, "",
	     "?"
	     "?(?????");
	good("550 \xc2\x9b[31m \xe2\x80\xae evil\r\n", 550, "", "?[31m ? evil");
	assert_int_equal(feed(&parser, nul, sizeof(nul) - 1, 3), REPLY_DONE);
	assert_string_equal(parser.reply.text, "a?b");
}

static void c1_text_is_cut_between_characters(void **state)
{
	char text[600] = "550 x";
	struct reply_parser parser;

	for (int i = 0; i < 200; i++)
		strcat(text, "\xc3\xbc");
	strcat(text, "\r\n");
	assert_int_equal(feed(&parser, text, strlen(text), 7), REPLY_DONE);
	assert_int_equal(strlen(parser.reply.text), REPLY_TEXT - 1);
	assert_memory_equal(parser.reply.text + REPLY_TEXT - 3, "\xc3\xbc", 2);
}

static void words_of_ehlo_lines_can_be_read(void **state)
{
	static const char text[] = "250-mx.example\r\n250-SIZE 1000\r\n250 DSN\r\n";
	struct reply_parser parser;
	size_t at = 0, used;

	reply_parser_init(&parser);
	assert_int_equal(
		reply_parser_input(&parser, (const uint8_t *)text, sizeof(text) - 1, &used),
		REPLY_LINE);
	assert_string_equal(reply_parser_line(&parser), "mx.example");
	at += used;
	assert_int_equal(reply_parser_input(&parser, (const uint8_t *)text + at,
					    sizeof(text) - 1 - at, &used),
			 REPLY_LINE);
	assert_string_equal(reply_parser_line(&parser), "SIZE 1000");
	at += used;
	assert_int_equal(reply_parser_input(&parser, (const uint8_t *)text + at,
					    sizeof(text) - 1 - at, &used),
			 REPLY_DONE);
	assert_string_equal(reply_parser_line(&parser), "DSN");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_lines),
		cmocka_unit_test(lines_of_one_reply_are_joined),
		cmocka_unit_test(c2_mixed_codes_are_refused),
		cmocka_unit_test(c2_garbage_codes_are_refused),
		cmocka_unit_test(c2_code_needs_space_or_hyphen),
		cmocka_unit_test(c2_enhanced_code_needs_the_class_of_the_code),
		cmocka_unit_test(c2_nothing_is_left_of_the_reply_before),
		cmocka_unit_test(c1_line_length_is_limited),
		cmocka_unit_test(c1_lines_and_octets_of_a_reply_are_limited),
		cmocka_unit_test(c1_a_broken_parser_stays_broken),
		cmocka_unit_test(c1_text_is_fit_for_terminals),
		cmocka_unit_test(c1_text_is_cut_between_characters),
		cmocka_unit_test(words_of_ehlo_lines_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
