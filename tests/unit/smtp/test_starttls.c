/* SPDX-License-Identifier: GPL-3.0-or-later */
/* S3 to S6: STARTTLS (RFC 3207; NO STARTTLS, USENIX Security 2021), and the end of TLS. */
#include "tests/unit/smtp/dialogue.h"

#include <string.h>

static void injection(struct dialogue *d)
{
	dialogue_ehlo(d);
	/* At the cut the rest may come in another segment: then the stream refuses it (its own
	 * tests). */
	dialogue_say(d, "STARTTLS\r\nMAIL FROM:<evil@example.com>\r\n");
	dialogue_expect(d, "554 5.5.0");
	assert_true(d->closed);
	assert_false(d->tls_started);
	assert_int_equal(d->environment.counters.tls_injection, 1);
	dialogue_say(d, "RCPT TO:<x@example.com>\r\n");
	dialogue_expect_nothing(d);
}

static void s3_plaintext_behind_starttls_closes_the_session(void **state)
{
	dialogue_run_once(NULL, injection);
}

static void later_plaintext(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, "STARTTLS\r\n");
	dialogue_expect(d, "220 ");
	/* The engine takes nothing until the handshake is done, whoever offers it. */
	assert_int_equal(server_engine_input(&d->engine, (const uint8_t *)"NOOP\r\n", 6, &d->now),
			 0);
	dialogue_secure(d);
	dialogue_expect_nothing(d);
}

static void s3_nothing_is_taken_between_starttls_and_the_handshakes_end(void **state)
{
	dialogue_run(NULL, later_plaintext);
}

static void bad_places(struct dialogue *d)
{
	dialogue_begin(d);
	dialogue_expect(d, "220");
	dialogue_say(d, "STARTTLS\r\n");
	dialogue_expect(d, "503 5.5.1");
	dialogue_say(d, EHLO);
	dialogue_expect(d, "250");
	dialogue_say(d, "STARTTLS now\r\n");
	dialogue_expect(d, "501 5.5.4");
	dialogue_say(d, MAIL);
	dialogue_expect(d, "250");
	dialogue_say(d, "STARTTLS\r\n");
	dialogue_expect(d, "503 5.5.1");
	dialogue_say(d, "RSET\r\n");
	dialogue_expect(d, "250");
	dialogue_say(d, "AUTH PLAIN AGEAYg==\r\n");
	dialogue_expect(d, "538 5.7.11");
	dialogue_say(d, "STARTTLS\r\n");
	dialogue_expect(d, "220");
	dialogue_secure(d);
	dialogue_say(d, EHLO);
	dialogue_expect(d, "250");
	dialogue_say(d, "STARTTLS\r\n");
	dialogue_expect(d, "503 5.5.1");
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, HEADER "STARTTLS\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_non_null(strstr(message_content(&d->messages[0]), "STARTTLS"));
}

static void s4_starttls_twice_or_in_a_transaction_is_refused(void **state)
{
	dialogue_run(NULL, bad_places);
}

static void require_tls(struct dialogue *d)
{
	d->listener.require_tls = true;
}

static void required(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, MAIL);
	dialogue_expect(d, "530 5.7.0");
	dialogue_say(d, "NOOP\r\nVRFY x\r\n");
	dialogue_expect(d, "250", "530 5.7.0");
	/* The chunk of a refused BDAT is not taken for commands. */
	dialogue_say(d, "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n");
	dialogue_expect(d, "530 5.7.0", "250");
	dialogue_say(d, "STARTTLS\r\n");
	dialogue_expect(d, "220");
	dialogue_secure(d);
	dialogue_say(d, EHLO);
	dialogue_expect(d, "250");
	dialogue_say(d, MAIL);
	dialogue_expect(d, "250 2.1.0");
}

static void s4_a_listener_that_requires_tls_takes_no_mail_without(void **state)
{
	dialogue_run(require_tls, required);
}

static void forgotten(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, "STARTTLS\r\n");
	dialogue_expect(d, "220");
	dialogue_secure(d);
	dialogue_say(d, MAIL);
	dialogue_expect(d, "503 5.5.1");
	dialogue_say(d, "EHLO other.example\r\n");
	assert_non_null(strstr(dialogue_output(d), "greets other.example"));
	assert_null(strstr(dialogue_output(d), "STARTTLS"));
	dialogue_expect(d, "250");
	dialogue_say(d, RCPT);
	dialogue_expect(d, "503 5.5.1");
}

static void s5_nothing_said_before_tls_counts_after_it(void **state)
{
	dialogue_run(NULL, forgotten);
}

static void implicit(struct dialogue *d)
{
	d->listener.tls = LISTENER_TLS_IMPLICIT;
}

static void implicit_session(struct dialogue *d)
{
	dialogue_begin(d);
	dialogue_expect_nothing(d);
	dialogue_secure(d);
	dialogue_expect(d, "220 mx.example.org");
	dialogue_say(d, EHLO);
	assert_null(strstr(dialogue_output(d), "STARTTLS"));
	assert_non_null(strstr(dialogue_output(d), "AUTH"));
	dialogue_expect(d, "250");
	dialogue_say(d, "STARTTLS\r\n");
	dialogue_expect(d, "503 5.5.1");
}

static void implicit_tls_greets_after_the_handshake(void **state)
{
	dialogue_run(implicit, implicit_session);
}

static void end_in_data(struct dialogue *d)
{
	dialogue_data(d);
	dialogue_say(d, HEADER "half a mess");
	server_engine_ended(&d->engine, true, &d->now);
	assert_true(d->closed);
	dialogue_say(d, "age\r\n.\r\nMAIL FROM:<x@example.com>\r\n");
	dialogue_expect_nothing(d);
	assert_int_equal(d->message_count, 0);
}

static void end_in_chunk(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE "BDAT 1000 LAST\r\n" HEADER "half a mess");
	dialogue_expect(d, "250", "250");
	server_engine_ended(&d->engine, false, &d->now);
	assert_true(d->closed);
	dialogue_say(d, "x");
	dialogue_expect_nothing(d);
	assert_int_equal(d->message_count, 0);
}

static void s6_the_end_in_data_drops_the_message_and_closes(void **state)
{
	dialogue_run(NULL, end_in_data);
}

static void s6_the_end_in_a_chunk_drops_the_message_and_closes(void **state)
{
	dialogue_run(NULL, end_in_chunk);
}

static void hold(struct dialogue *d)
{
	d->hold = true;
}

static void end_after_dot(struct dialogue *d)
{
	dialogue_data(d);
	dialogue_say(d, HEADER "Hello\r\n.\r\n");
	server_engine_ended(&d->engine, false, &d->now);
	assert_false(d->closed);
	dialogue_answer(d, true);
	dialogue_expect(d, "250 2.0.0");
	assert_true(d->closed);
}

static void a_half_closed_client_still_hears_the_250(void **state)
{
	dialogue_run(hold, end_after_dot);
}

static void no_context(struct dialogue *d)
{
	d->listener.tls_contexts[1] = NULL;
}

static void unavailable(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, "STARTTLS\r\n");
	dialogue_expect(d, "454 4.7.0");
	assert_false(d->tls_started);
}

static void starttls_without_a_certificate_is_454(void **state)
{
	dialogue_run(no_context, unavailable);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(s3_plaintext_behind_starttls_closes_the_session),
		cmocka_unit_test(s3_nothing_is_taken_between_starttls_and_the_handshakes_end),
		cmocka_unit_test(s4_starttls_twice_or_in_a_transaction_is_refused),
		cmocka_unit_test(s4_a_listener_that_requires_tls_takes_no_mail_without),
		cmocka_unit_test(s5_nothing_said_before_tls_counts_after_it),
		cmocka_unit_test(implicit_tls_greets_after_the_handshake),
		cmocka_unit_test(s6_the_end_in_data_drops_the_message_and_closes),
		cmocka_unit_test(s6_the_end_in_a_chunk_drops_the_message_and_closes),
		cmocka_unit_test(a_half_closed_client_still_hears_the_250),
		cmocka_unit_test(starttls_without_a_certificate_is_454),
	};

	return cmocka_run_group_tests_name("smtp starttls", tests, NULL, NULL);
}
