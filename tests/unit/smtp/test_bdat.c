/* SPDX-License-Identifier: GPL-3.0-or-later */
/* S7: BDAT (RFC 3030). Exactly the chunk's octets are consumed whatever the reply, and an error
 * resets the transaction. */
#include "tests/unit/smtp/dialogue.h"

#include <stdio.h>
#include <string.h>

static void chunks(struct dialogue *d)
{
	dialogue_ehlo(d);
	assert_non_null(strstr(d->output, "250 CHUNKING\r\n"));
	assert_null(strstr(d->output, "BINARYMIME"));
	dialogue_say(d, ENVELOPE
		     "BDAT 6\r\na: b\r\nbdat 2\r\n\r\nBDAT 3\r\n.\r\nBDAT 0 LAST\r\nNOOP\r\n");
	dialogue_expect(d, "250 2.1.0", "250 2.1.5", "250 2.0.0 6 octets", "250 2.0.0 2 octets",
			"250 2.0.0 3 octets", "250 2.0.0 OK queued", "250 2.0.0 OK");
	assert_string_equal(message_content(&d->messages[0]), "a: b\r\n\r\n.\r\n");
}

static void s7_pipelined_chunks_make_one_message(void **state)
{
	dialogue_run(NULL, chunks);
}

/** What is to be refused, and must be followed all the same: the octets of a chunk look like
 * commands. */
static void out_of_place(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, "BDAT 6 LAST\r\nQUIT\r\n");
	dialogue_expect(d, "503 5.5.1");
	dialogue_say(d, MAIL "BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\n");
	dialogue_expect(d, "250", "503 5.5.1", "503 5.5.1");
	/* The error took MAIL with it. */
	dialogue_say(d, RCPT "DATA\r\n");
	dialogue_expect(d, "503 5.5.1", "503 5.5.1");
	dialogue_say(d, ENVELOPE "BDAT 2 LAST\r\n\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n");
	dialogue_expect(d, "250", "250", "250 2.0.0 OK queued", "503 5.5.1", "250");
	assert_int_equal(d->message_count, 1);
	assert_false(d->closed);
}

static void s7_chunks_without_mail_and_rcpt_are_consumed_and_refused(void **state)
{
	dialogue_run(NULL, out_of_place);
}

static void mixed(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE "BDAT 6\r\na: b\r\nDATA\r\n");
	dialogue_expect(d, "250", "250", "250", "503 5.5.1");
	dialogue_say(d, "BDAT 6 LAST\r\nQUIT\r\nDATA\r\n");
	dialogue_expect(d, "503 5.5.1", "503 5.5.1");
	dialogue_say(d, ENVELOPE "BDAT 6\r\na: b\r\n" RCPT MAIL);
	dialogue_expect(d, "250", "250", "250", "503 5.5.1", "503 5.5.1");
	/* LAST never comes. */
	dialogue_say(d, "RSET\r\n" ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "250", "354");
	dialogue_say(d, "c: d\r\n\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_string_equal(message_content(&d->messages[0]), "c: d\r\n\r\n");
}

static void s7_data_between_chunks_is_refused_and_resets(void **state)
{
	dialogue_run(NULL, mixed);
}

static void no_recipient(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, MAIL "RCPT TO:<>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n");
	dialogue_expect(d, "250", "501 5.1.3", "503 5.5.1", "250");
	assert_int_equal(d->message_count, 0);
}

static void s7_a_chunk_with_every_recipient_refused_is_consumed(void **state)
{
	dialogue_run(NULL, no_recipient);
}

/* ---- Sizes ---- */

static const char *bad_command, *bad_reply;

static void unfollowable(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE);
	dialogue_expect(d, "250", "250");
	dialogue_say(d, bad_command);
	dialogue_say(d, "NOOP\r\n");
	dialogue_expect(d, bad_reply);
	assert_true(d->closed);
	assert_int_equal(d->message_count, 0);
}

static void s7_sizes_that_cannot_be_followed_close_the_session(void **state)
{
	static const char *const cases[][2] = {
		{"BDAT\r\n", "501 5.5.4"},
		{"BDAT x\r\n", "501 5.5.4"},
		{"BDAT -1\r\n", "501 5.5.4"},
		{"BDAT +5 LAST\r\n", "501 5.5.4"},
		{"BDAT 0x10\r\n", "501 5.5.4"},
		{"BDAT 5LAST\r\n", "501 5.5.4"},
		{"BDAT 5 LATE\r\n", "501 5.5.4"},
		{"BDAT 5 LAST 6\r\n", "501 5.5.4"},
		{"BDAT LAST\r\n", "501 5.5.4"},
		{"BDAT 9223372036854775808 LAST\r\n", "552 5.3.4"},
		{"BDAT 18446744073709551616 LAST\r\n", "552 5.3.4"},
		{"BDAT 18446744073709551617\r\n", "552 5.3.4"},
		{"BDAT 99999999999999999999999999999999 LAST\r\n", "552 5.3.4"},
		{"BDAT 9223372036854775807\r\n", "552 5.3.4"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bad_command = cases[i][0];
		bad_reply = cases[i][1];
		dialogue_run(NULL, unfollowable);
	}
}

static void small(struct dialogue *d)
{
	d->listener.limits.message_size = 20;
}

static void too_big(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE "BDAT 21 LAST\r\nQUIT\r\nQUIT\r\nQUIT\r\n..\rNOOP\r\n");
	dialogue_expect(d, "250", "250", "552 5.3.4", "250");
	/* In the second chunk. */
	dialogue_say(d,
		     ENVELOPE "BDAT 6\r\na: b\r\nBDAT 18 LAST\r\nQUIT\r\nQUIT\r\nQUIT\r\nNOOP\r\n");
	dialogue_expect(d, "250", "250", "250", "552 5.3.4", "250");
	dialogue_say(d, "DATA\r\n");
	dialogue_expect(d, "503");
	assert_int_equal(d->message_count, 0);
	/* Exactly the limit. */
	dialogue_say(d, ENVELOPE "BDAT 6\r\na: b\r\nBDAT 14 LAST\r\n\r\nQUIT\r\nQUIT\r\n");
	dialogue_expect(d, "250", "250", "250", "250 2.0.0 OK queued");
}

static void s7_more_than_the_limit_is_consumed_and_refused(void **state)
{
	dialogue_run(small, too_big);
}

static void crumbs(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE);
	dialogue_expect(d, "250", "250");
	for (unsigned i = 0; i < TINY_CHUNKS_MAX; i++) {
		dialogue_say(d, "BDAT 0\r\n");
		dialogue_expect(d, "250 2.0.0 0 octets");
	}
	dialogue_say(d, "BDAT 0\r\n");
	dialogue_expect(d, "421 4.7.0");
	assert_true(d->closed);
}

static void s7_a_million_empty_chunks_end_early(void **state)
{
	dialogue_run_once(NULL, crumbs);
}

static void errors_resets(struct dialogue *d)
{
	/* A fault in a chunk that is not the last is told at once; the next chunk has no
	 * transaction. */
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE "BDAT 3\r\na\nbBDAT 6 LAST\r\nQUIT\r\n" RCPT);
	dialogue_expect(d, "250", "250", "550 5.5.2", "503 5.5.1", "503 5.5.1");
	assert_int_equal(d->message_count, 0);
}

static void s7_a_fault_in_a_chunk_resets_the_transaction(void **state)
{
	dialogue_run(NULL, errors_resets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(s7_pipelined_chunks_make_one_message),
		cmocka_unit_test(s7_chunks_without_mail_and_rcpt_are_consumed_and_refused),
		cmocka_unit_test(s7_data_between_chunks_is_refused_and_resets),
		cmocka_unit_test(s7_a_chunk_with_every_recipient_refused_is_consumed),
		cmocka_unit_test(s7_sizes_that_cannot_be_followed_close_the_session),
		cmocka_unit_test(s7_more_than_the_limit_is_consumed_and_refused),
		cmocka_unit_test(s7_a_million_empty_chunks_end_early),
		cmocka_unit_test(s7_a_fault_in_a_chunk_resets_the_transaction),
	};

	return cmocka_run_group_tests_name("smtp bdat", tests, NULL, NULL);
}
