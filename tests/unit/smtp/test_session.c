/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The dialogue as it should be: a message in clear, under TLS, by BDAT, pipelined. */
#include "tests/unit/smtp/dialogue.h"

#include "dataplane/envelope.h"

#include <stdio.h>
#include <string.h>

static void plain_message(struct dialogue *d)
{
	dialogue_data(d);
	dialogue_say(d, HEADER "Hello\r\n..dot\r\n.\r\n");
	dialogue_expect(d, "250 2.0.0 OK queued as ");
	assert_int_equal(d->message_count, 1);
	assert_string_equal(message_content(&d->messages[0]), HEADER "Hello\r\n.dot\r\n");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_MAIL_FROM, 0),
			    "sender@example.com");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_RECIPIENT, 0),
			    "rcpt@example.net");
	assert_null(message_field(&d->messages[0], ENVELOPE_RECIPIENT, 1));
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_LISTENER, 0), "in");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_HELO, 0), "client.example");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_PROTOCOL, 0), "ESMTP");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_MESSAGE_ID, 0),
			    "<1@example.com>");
	dialogue_say(d, "QUIT\r\n");
	dialogue_expect(d, "221 ");
	assert_true(d->closed);
	assert_int_equal(d->environment.counters.messages_accepted, 1);
	assert_int_equal(d->environment.counters.recipients_accepted, 1);
}

static void a_plain_message_is_accepted(void **state)
{
	dialogue_run(NULL, plain_message);
}

static void starttls(struct dialogue *d)
{
	dialogue_ehlo(d);
	assert_non_null(strstr(d->output, "250-STARTTLS\r\n"));
	assert_null(strstr(d->output, "AUTH"));
	dialogue_say(d, "STARTTLS\r\n");
	dialogue_expect(d, "220 2.0.0");
	assert_true(d->tls_started);
	dialogue_secure(d);
	dialogue_expect_nothing(d);
	dialogue_say(d, EHLO);
	assert_null(strstr(dialogue_output(d), "STARTTLS"));
	assert_non_null(strstr(dialogue_output(d), "250-AUTH PLAIN LOGIN\r\n"));
	dialogue_expect(d, "250 ");
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, HEADER "Hello\r\n.\r\n");
	dialogue_expect(d, "250 2.0.0");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_PROTOCOL, 0), "ESMTPS");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_TLS, 0),
			    "TLSv1.3 TLS_AES_128_GCM_SHA256");
	assert_non_null(strstr((char *)d->messages[0].body, "(TLSv1.3 TLS_AES_128_GCM_SHA256)"));
}

static void a_message_is_accepted_after_starttls(void **state)
{
	dialogue_run(NULL, starttls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_message_is_accepted),
		cmocka_unit_test(a_message_is_accepted_after_starttls),
	};

	return cmocka_run_group_tests_name("smtp session", tests, NULL, NULL);
}
