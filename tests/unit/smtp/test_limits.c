/* SPDX-License-Identifier: GPL-3.0-or-later */
/* S8, S9, S14, S17: order, sizes, floods. */
#include "tests/unit/smtp/dialogue.h"

#include "dataplane/envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- S8 ---- */

static void before_banner(struct dialogue *d)
{
	d->deaf = true;
	dialogue_begin(d);
	dialogue_say(d, EHLO);
	dialogue_expect(d, "220", "554 5.5.0");
	assert_true(d->closed);
	assert_int_equal(d->environment.counters.unauthorized_pipelining, 1);
}

static void s8_talking_before_the_banner_closes(void **state)
{
	dialogue_run(NULL, before_banner);
}

static void behind_ehlo(struct dialogue *d)
{
	dialogue_begin(d);
	dialogue_expect(d, "220");
	/* Whole it is seen in one segment, cut by what the client cannot have read yet. */
	dialogue_say(d, EHLO MAIL RCPT);
	assert_true(d->closed);
	assert_non_null(strstr(dialogue_output(d), "554 5.5.0"));
	assert_null(strstr(dialogue_output(d), "250 2.1"));
	assert_int_equal(d->environment.counters.unauthorized_pipelining, 1);
}

static void s8_pipelining_behind_ehlo_closes(void **state)
{
	dialogue_run(NULL, behind_ehlo);
}

static void behind_data(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE "DATA\r\n" HEADER "x\r\n.\r\n" ENVELOPE);
	assert_true(d->closed);
	assert_non_null(strstr(dialogue_output(d), "554 5.5.0"));
	assert_int_equal(d->message_count, 0);
}

static void s8_text_before_354_closes_and_is_no_message(void **state)
{
	dialogue_run(NULL, behind_data);
}

static void without_ehlo(struct dialogue *d)
{
	dialogue_begin(d);
	dialogue_expect(d, "220");
	dialogue_say(d, "HELO client.example\r\n");
	dialogue_expect(d, "250");
	dialogue_say(d, MAIL);
	dialogue_say(d, RCPT);
	dialogue_say(d, "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, HEADER "x\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_PROTOCOL, 0), "SMTP");
	dialogue_say(d, "MAIL FROM:<a@example.com> SIZE=100\r\n");
	dialogue_expect(d, "555 5.5.4");
}

static void helo_gets_no_extensions(void **state)
{
	dialogue_run(NULL, without_ehlo);
}

static void helo_pipelines(struct dialogue *d)
{
	dialogue_begin(d);
	dialogue_expect(d, "220");
	dialogue_say(d, "HELO client.example\r\n");
	dialogue_expect(d, "250");
	dialogue_say(d, MAIL RCPT);
	dialogue_expect(d, "554 5.5.0");
	assert_true(d->closed);
}

static void s8_pipelining_that_was_never_offered_closes(void **state)
{
	dialogue_run_once(NULL, helo_pipelines);
}

static void pipelined(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE "RCPT TO:<b@example.net>\r\nDATA\r\n");
	dialogue_expect(d, "250", "250", "250", "354");
	/* The next transaction may come right behind the dot (RFC 2920, 3.1); so may QUIT. */
	dialogue_say(d,
		     HEADER "one\r\n.\r\n" ENVELOPE "BDAT 6 LAST\r\na: b\r\n" ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250 2.0.0", "250", "250", "250 2.0.0", "250", "250", "354");
	dialogue_say(d, HEADER "three\r\n.\r\nQUIT\r\n");
	dialogue_expect(d, "250 2.0.0", "221");
	assert_int_equal(d->message_count, 3);
	assert_int_equal(d->messages[0].recipients, 2);
	assert_string_equal(message_content(&d->messages[1]), "a: b\r\n");
	assert_non_null(strstr(message_content(&d->messages[2]), "three"));
}

static void pipelined_transactions_follow_one_another(void **state)
{
	dialogue_run(NULL, pipelined);
}

/* ---- S9 ---- */

static void long_command(struct dialogue *d)
{
	dialogue_ehlo(d);
	/* 512 octets with CRLF are allowed. */
	dialogue_say(d, "NOOP ");
	dialogue_say_repeated(d, 'x', 505);
	dialogue_say(d, "\r\nNOOP ");
	dialogue_say_repeated(d, 'x', 506);
	dialogue_say(d, "\r\nNOOP ");
	dialogue_say_repeated(d, 'x', 3000);
	dialogue_say(d, "\r\nNOOP\r\n");
	dialogue_expect(d, "250", "500 5.5.2", "500 5.5.2", "250");
}

static void s9_a_command_line_over_512_octets_is_500(void **state)
{
	dialogue_run(NULL, long_command);
}

static void long_mail(struct dialogue *d)
{
	char envid[101] = "", orcpt[480] = "";

	memset(envid, 'e', 100);
	memset(orcpt, 'o', 479);
	dialogue_ehlo(d);
	dialogue_say(
		d,
		"MAIL FROM:<sender@example.com> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=");
	dialogue_say(d, envid);
	dialogue_say(d,
		     "\r\nRCPT TO:<rcpt@example.net> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;");
	dialogue_say(d, orcpt);
	dialogue_say(d, "\r\n");
	dialogue_expect(d, "250", "250");
	dialogue_say(d, "RCPT TO:<b@example.net> ");
	dialogue_say_repeated(d, ' ', 2100);
	dialogue_say(d, "\r\nDATA\r\n");
	dialogue_expect(d, "500 5.5.2", "354");
}

static void s9_parameters_may_make_lines_longer(void **state)
{
	dialogue_run_once(NULL, long_mail);
	dialogue_run(NULL, long_mail);
}

static void endless_command(struct dialogue *d)
{
	dialogue_ehlo(d);
	for (unsigned i = 0; i < 100 && !d->closed; i++)
		dialogue_say_repeated(d, 'x', 1000);
	dialogue_expect(d, "421 4.7.0");
	assert_true(d->closed);
	assert_true(d->said < LINE_FLOOD + 3000);
}

static void s9_a_command_line_without_end_closes(void **state)
{
	dialogue_run_once(NULL, endless_command);
}

static void long_text(struct dialogue *d)
{
	dialogue_data(d);
	dialogue_say(d, HEADER);
	dialogue_say_repeated(d, 'x', 998);
	dialogue_say(d, "\r\n.");
	dialogue_say_repeated(d, '.', 998);
	dialogue_say(d, "\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_int_equal(d->messages[0].flags & MESSAGE_LONG_LINES, 0);
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, HEADER);
	dialogue_say_repeated(d, 'x', 999);
	dialogue_say(d, "\r\n.\r\n");
	dialogue_expect(d, "500 5.6.0");
	assert_int_equal(d->message_count, 1);
}

static void s9_a_text_line_over_998_octets_is_refused(void **state)
{
	dialogue_run_once(NULL, long_text);
	dialogue_run(NULL, long_text);
}

static void accept_long(struct dialogue *d)
{
	d->listener.accept_long_lines = true;
	d->listener.limits.header_size = 1000;
}

static void long_accepted(struct dialogue *d)
{
	dialogue_data(d);
	dialogue_say(d, HEADER);
	dialogue_say_repeated(d, 'x', 5000);
	dialogue_say(d, "\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_int_equal(d->messages[0].flags & MESSAGE_LONG_LINES, MESSAGE_LONG_LINES);
	assert_int_equal(strlen(message_content(&d->messages[0])), strlen(HEADER) + 5002);
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, "Subject: ");
	dialogue_say_repeated(d, 'x', 2000);
	dialogue_say(d, "\r\n\r\n.\r\n");
	dialogue_expect(d, "552 5.3.4");
}

static void s9_long_lines_are_accepted_where_the_listener_says_so(void **state)
{
	dialogue_run_once(accept_long, long_accepted);
}

static void endless_text(struct dialogue *d)
{
	static char block[1 << 16];

	memset(block, 'x', sizeof(block));
	dialogue_data(d);
	while (!d->closed && d->said < (UINT64_C(200) << 20))
		dialogue_say_octets(d, block, sizeof(block));
	dialogue_expect(d, "552 5.3.4");
	assert_true(d->closed);
	assert_true(chunk_pool_available(d->pool) == DIALOGUE_CHUNKS);
}

static void s9_100_mb_without_a_newline_keep_no_memory_and_close(void **state)
{
	dialogue_run_once(NULL, endless_text);
	dialogue_run_once(accept_long, endless_text);
}

/* ---- S14, S17 ---- */

static void recipients(struct dialogue *d)
{
	char text[64];
	unsigned i;

	dialogue_ehlo(d);
	assert_non_null(strstr(d->output, "250-LIMITS RCPTMAX=10 MAILMAX=100\r\n"));
	dialogue_say(d, MAIL);
	dialogue_expect(d, "250");
	for (i = 0; i < 10; i++) {
		snprintf(text, sizeof(text), "RCPT TO:<r%u@example.net>\r\n", i);
		dialogue_say(d, text);
		dialogue_expect(d, "250 2.1.5");
	}
	/* The first ones over it are only refused, then each is an error. */
	for (i = 0; i < 10 + 19; i++) {
		dialogue_say(d, RCPT);
		dialogue_expect(d, "452 4.5.3");
	}
	dialogue_say(d, RCPT);
	dialogue_expect(d, "452 4.5.3", "421 4.7.0");
	assert_true(d->closed);
}

static void s14_recipients_beyond_the_limit_are_452_then_errors_then_the_end(void **state)
{
	dialogue_run_once(NULL, recipients);
	dialogue_run(NULL, recipients);
}

static void duplicates(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, MAIL RCPT "RCPT TO:<rcpt@EXAMPLE.net>\r\nRCPT TO:<\"rcpt\"@example.net>\r\n"
				  "RCPT TO:<RCPT@example.net>\r\nBDAT 0 LAST\r\n");
	dialogue_expect(d, "250", "250", "250", "250", "250", "250");
	assert_int_equal(d->messages[0].recipients, 2);
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_RECIPIENT, 0),
			    "rcpt@example.net");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_RECIPIENT, 1),
			    "RCPT@example.net");
	assert_null(message_field(&d->messages[0], ENVELOPE_RECIPIENT, 2));
}

static void s14_a_recipient_named_twice_gets_one_message(void **state)
{
	dialogue_run(NULL, duplicates);
}

static void many(struct dialogue *d)
{
	d->listener.limits.recipients = 5000;
}

static void many_recipients(struct dialogue *d)
{
	char text[64];

	dialogue_ehlo(d);
	dialogue_say(d, MAIL);
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(text, sizeof(text), "RCPT TO:<r%u@example.net>\r\n", i % 2500);
		dialogue_say(d, text);
	}
	dialogue_say(d, RCPT);
	assert_non_null(strstr(dialogue_output(d), "452 4.5.3"));
	d->expected = d->output_size;
	dialogue_say(d, "BDAT 0 LAST\r\n");
	dialogue_expect(d, "250 2.0.0");
	assert_int_equal(d->messages[0].recipients, 2500);
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_RECIPIENT, 2499),
			    "r2499@example.net");
}

static void s14_thousands_of_recipients_each_once(void **state)
{
	dialogue_run_once(many, many_recipients);
}

static void junk(struct dialogue *d)
{
	d->listener.limits.junk_commands = 5;
	d->listener.limits.errors = 3;
}

static void junk_commands(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, "NOOP\r\nRSET\r\nVRFY x\r\nHELP\r\n");
	dialogue_expect(d, "250", "250", "252", "214");
	/* A message makes up for it. */
	dialogue_say(d, ENVELOPE "BDAT 0 LAST\r\n");
	dialogue_expect(d, "250", "250", "250");
	dialogue_say(d, "NOOP\r\nRSET\r\nVRFY x\r\nHELP\r\nNOOP\r\n");
	dialogue_expect(d, "250", "250", "252", "214", "250");
	dialogue_say(d, "NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n");
	dialogue_expect(d, "250", "250", "421 4.7.0");
	assert_true(d->closed);
	assert_int_equal(d->environment.counters.too_many_errors, 1);
}

static void s17_junk_commands_become_errors_and_errors_close(void **state)
{
	dialogue_run(junk, junk_commands);
}

static void many_ehlos(struct dialogue *d)
{
	dialogue_ehlo(d);
	for (unsigned i = 0; i < 1000 && !d->closed; i++)
		dialogue_say(d, EHLO);
	assert_true(d->closed);
	assert_true(d->said < 200 * strlen(EHLO));
}

static void s17_a_thousand_ehlos_close(void **state)
{
	dialogue_run_once(NULL, many_ehlos);
}

static void errors(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, "FOO\r\nRCPT\r\nEXPN x\r\nNOOP\r\n");
	dialogue_expect(d, "500 5.5.2", "503 5.5.1", "502 5.5.1", "421 4.7.0");
	assert_true(d->closed);
}

static void s17_errors_close(void **state)
{
	dialogue_run(junk, errors);
}

static void messages(struct dialogue *d)
{
	d->listener.limits.messages_per_session = 2;
}

static void message_limit(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE "BDAT 0 LAST\r\n" ENVELOPE "BDAT 0 LAST\r\n" MAIL RCPT);
	dialogue_expect(d, "250", "250", "250", "250", "250", "250", "421 4.7.0");
	assert_true(d->closed);
	assert_int_equal(d->message_count, 2);
}

static void more_messages_than_a_session_may_have_close_it(void **state)
{
	dialogue_run(messages, message_limit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(s8_talking_before_the_banner_closes),
		cmocka_unit_test(s8_pipelining_behind_ehlo_closes),
		cmocka_unit_test(s8_text_before_354_closes_and_is_no_message),
		cmocka_unit_test(helo_gets_no_extensions),
		cmocka_unit_test(s8_pipelining_that_was_never_offered_closes),
		cmocka_unit_test(pipelined_transactions_follow_one_another),
		cmocka_unit_test(s9_a_command_line_over_512_octets_is_500),
		cmocka_unit_test(s9_parameters_may_make_lines_longer),
		cmocka_unit_test(s9_a_command_line_without_end_closes),
		cmocka_unit_test(s9_a_text_line_over_998_octets_is_refused),
		cmocka_unit_test(s9_long_lines_are_accepted_where_the_listener_says_so),
		cmocka_unit_test(s9_100_mb_without_a_newline_keep_no_memory_and_close),
		cmocka_unit_test(s14_recipients_beyond_the_limit_are_452_then_errors_then_the_end),
		cmocka_unit_test(s14_a_recipient_named_twice_gets_one_message),
		cmocka_unit_test(s14_thousands_of_recipients_each_once),
		cmocka_unit_test(s17_junk_commands_become_errors_and_errors_close),
		cmocka_unit_test(s17_a_thousand_ehlos_close),
		cmocka_unit_test(s17_errors_close),
		cmocka_unit_test(more_messages_than_a_session_may_have_close_it),
	};

	return cmocka_run_group_tests_name("smtp limits", tests, NULL, NULL);
}
