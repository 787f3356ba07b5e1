/* SPDX-License-Identifier: GPL-3.0-or-later */
/* S10, S12 and S19: what a command may say, and who may relay. */
#include "tests/unit/smtp/dialogue.h"

#include "dataplane/envelope.h"

#include <string.h>

/** A command and its reply, after EHLO and perhaps MAIL. */
struct expectation {
	const char *command;
	const char *reply;
};

static const struct expectation *expectation;

static void after_ehlo(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, expectation->command);
	dialogue_expect(d, expectation->reply);
	assert_int_equal(d->message_count, 0);
}

static void after_mail(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, MAIL);
	dialogue_expect(d, "250");
	dialogue_say(d, expectation->command);
	dialogue_expect(d, expectation->reply);
}

static void after_utf8_mail(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, "MAIL FROM:<> SMTPUTF8\r\n");
	dialogue_expect(d, "250");
	dialogue_say(d, expectation->command);
	dialogue_expect(d, expectation->reply);
}

static void run(const struct expectation *all, size_t count, void (*scenario)(struct dialogue *))
{
	for (size_t i = 0; i < count; i++) {
		expectation = &all[i];
		dialogue_run(NULL, scenario);
	}
}
#define RUN(all, scenario) run(all, sizeof(all) / sizeof(all[0]), scenario)

static void commands_are_read_as_rfc_5321_says(void **state)
{
	static const struct expectation all[] = {
		{"noop\r\n", "250 2.0.0"},
		{"NoOp whatever\r\n", "250 2.0.0"},
		{"RSET\r\n", "250 2.0.0"},
		{"RSET now\r\n", "501 5.5.4"},
		{"VRFY somebody\r\n", "252 2"},
		{"EXPN list\r\n", "502 5.5.1"},
		{"HELP\r\n", "214 2.0.0"},
		{"QUIT \r\n", "221 2.0.0"},
		{"\r\n", "500 5.5.2"},
		{"FOO\r\n", "500 5.5.2"},
		{"ETRN x\r\n", "500 5.5.2"},
		{"NOOPX\r\n", "500 5.5.2"},
		{" NOOP\r\n", "500 5.5.2"},
		{"EHLO\r\n", "501 5.5.4"},
		{"EHLO a b\r\n", "501 5.5.4"},
		{"DATA\r\n", "503 5.5.1"},
		{"RCPT TO:<a@example.net>\r\n", "503 5.5.1"},
		{"MAIL FROM:<a@example.com>\r\n", "250 2.1.0"},
		{"mail from: <a@example.com>\r\n", "250 2.1.0"},
		{"MAIL FROM:<>\r\n", "250 2.1.0"},
		{"MAIL TO:<a@example.com>\r\n", "501 5.5.4"},
		{"MAIL\r\n", "501 5.5.4"},
		{"MAIL FROM:a@example.com\r\n", "501 5.1.7"},
		{"MAIL FROM:<a@example.com\r\n", "501 5.1.7"},
		{"MAIL FROM:<a@example.com>SIZE=1\r\n", "501 5.5.4"},
		{"NOOP\n", "500 5.5.2"},
		{"GET / HTTP/1.1\r\n", "554 5.5.0"},
		{"POST / HTTP/1.1\r\n", "554 5.5.0"},
	};

	RUN(all, after_ehlo);
}

static void s10_nul_and_8_bit_in_commands(void **state)
{
	static const struct expectation all[] = {
		{"NOOP \xc3\xbc\r\n", "501 5.5.2"},
		{"VRFY \xc3\xbc\r\n", "501 5.5.2"},
		{"\xff\xfe\r\n", "501 5.5.2"},
		{"NOOP a\rb\r\n", "501 5.5.2"},
		{"NOOP \r\r\n", "501 5.5.2"},
		{"MAIL FROM:<j\xc3\xbcrgen@example.com>\r\n", "553 5.6.7"},
		{"MAIL FROM:<a@b\xc3\xbc"
		 "cher.example>\r\n",
		 "553 5.6.7"},
		{"MAIL FROM:<j\xc3\xbcrgen@example.com> SMTPUTF8\r\n", "250"},
		{"MAIL FROM:<\xc3\x28@example.com> SMTPUTF8\r\n", "501 5.1.7"},
		{"MAIL FROM:<\xc0\xaf@example.com> SMTPUTF8\r\n", "501 5.1.7"},
		{"MAIL FROM:<\xed\xa0\x80@example.com> SMTPUTF8\r\n", "501 5.1.7"},
		{"MAIL FROM:<a@example.com> \xc3\xbc\r\n", "555 5.5.4"},
	};

	RUN(all, after_ehlo);
}

static void nul_in_command(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say_octets(d, "NOOP \0\r\n", 8);
	dialogue_say_octets(d, "MAIL FROM:<a\0b@example.com>\r\n", 29);
	dialogue_say_octets(d, "\0\r\n", 3);
	dialogue_expect(d, "501 5.5.2", "501 5.5.2", "501 5.5.2");
}

static void s10_nul_in_a_command_is_501(void **state)
{
	dialogue_run(NULL, nul_in_command);
}

static void s10_recipients_with_utf8(void **state)
{
	static const struct expectation plain[] = {
		{"RCPT TO:<j\xc3\xbcrgen@example.com>\r\n", "553 5.6.7"},
		{"RCPT TO:<\xc3\x28@example.com>\r\n", "501 5.1.3"},
	};
	static const struct expectation utf8[] = {
		{"RCPT TO:<j\xc3\xbcrgen@b\xc3\xbc"
		 "cher.example>\r\n",
		 "250"},
		{"RCPT TO:<\xc3\x28@example.com>\r\n", "501 5.1.3"},
		{"RCPT TO:<\xe0\x80\xaf@example.com>\r\n", "501 5.1.3"},
		{"RCPT TO:<a@example.com> ORCPT=utf-8;j\xc3\xbcrgen@example.com\r\n", "250"},
		{"RCPT TO:<a@example.com> ORCPT=utf-8;j\xc3@example.com\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.com> ORCPT=rfc822;j\xc3\xbcrgen@example.com\r\n", "501 5.5.4"},
	};

	RUN(plain, after_mail);
	RUN(utf8, after_utf8_mail);
}

static void body_8bit(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, "MAIL FROM:<a@example.com> BODY=8BITMIME\r\n" RCPT "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, HEADER "gr\xc3\xbc\xc3\x9f\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_int_equal(d->messages[0].flags, MESSAGE_8BITMIME | MESSAGE_BODY_8BIT);
	/* Not declared: taken as it is, and known for the next hop. */
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, "Subject: gr\xc3\xbc\xc3\x9f\r\n\r\nplain\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_int_equal(d->messages[1].flags, MESSAGE_HEADER_8BIT);
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, HEADER
		     "a long enough line of text, so that blocks are full, and then \xe4\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_int_equal(d->messages[2].flags, MESSAGE_BODY_8BIT);
}

static void s10_8_bit_text_is_noticed_where_it_stands(void **state)
{
	dialogue_run(NULL, body_8bit);
}

static void s12_parameters_of_mail(void **state)
{
	static const struct expectation all[] = {
		{"MAIL FROM:<a@example.com> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=abc+2B\r\n",
		 "250"},
		{"MAIL FROM:<a@example.com> size=100  body=7bit  \r\n", "250"},
		{"MAIL FROM:<a@example.com> SIZE=100 SIZE=100\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> BODY=7BIT BODY=7BIT\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> SMTPUTF8 SMTPUTF8\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> SMTPUTF8=yes\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> SIZE\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> SIZE=\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> SIZE=-1\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> SIZE=1x\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> SIZE=99999999999999999999\r\n", "552 5.3.4"},
		{"MAIL FROM:<a@example.com> SIZE=18446744073709551617\r\n", "552 5.3.4"},
		{"MAIL FROM:<a@example.com> SIZE=100000000000000000000\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> SIZE=00000000000000000001\r\n", "250"},
		{"MAIL FROM:<a@example.com> BODY=BINARYMIME\r\n", "555 5.5.4"},
		{"MAIL FROM:<a@example.com> BODY=9BIT\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> FOO=bar\r\n", "555 5.5.4"},
		{"MAIL FROM:<a@example.com> =bar\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> RET=SOME\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> ENVID=a+00b\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> ENVID=a+0Ab\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> ENVID=a+0Db\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> ENVID=a+2b\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> ENVID=a+2\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> ENVID=a+\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> ENVID=a=b\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> ENVID=a+FFb\r\n", "501 5.5.4"},
		{"MAIL FROM:<a@example.com> AUTH=<>\r\n", "555 5.5.4"},
		{"MAIL FROM:<a@example.com> NOTIFY=NEVER\r\n", "555 5.5.4"},
	};

	RUN(all, after_ehlo);
}

static void s12_parameters_of_rcpt(void **state)
{
	static const struct expectation all[] = {
		{"RCPT TO:<a@example.net> NOTIFY=NEVER\r\n", "250"},
		{"RCPT TO:<a@example.net> NOTIFY=success,FAILURE,Delay ORCPT=rfc822;a+2Bb@example.net\r\n",
		 "250"},
		{"RCPT TO:<a@example.net> NOTIFY=NEVER,SUCCESS\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.net> NOTIFY=SUCCESS,\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.net> NOTIFY=,SUCCESS\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.net> NOTIFY=\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.net> NOTIFY=SOMETIMES\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.net> NOTIFY=NEVER NOTIFY=NEVER\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.net> ORCPT=a@example.net\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.net> ORCPT=rfc822;\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.net> ORCPT=;a@example.net\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.net> ORCPT=rfc822;a+0D+0AX@example.net\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.net> ORCPT=rfc822;a+00@example.net\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.net> ORCPT=rfc822;\xc3\xbc@example.net\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.net> ORCPT=utf-8;\xc3\xbc@example.net\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.net> ORCPT=utf-8;j\\x{FC}rgen@example.net\r\n", "250"},
		{"RCPT TO:<a@example.net> ORCPT=utf-8;a\\x{D}b@example.net\r\n", "501 5.5.4"},
		{"RCPT TO:<a@example.net> SIZE=1\r\n", "555 5.5.4"},
		{"RCPT TO:<>\r\n", "501 5.1.3"},
		{"RCPT TO:<a@>\r\n", "501 5.1.3"},
		{"RCPT FROM:<a@example.net>\r\n", "501 5.5.4"},
	};

	RUN(all, after_mail);
}

static void dsn(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(
		d, "MAIL FROM:<> RET=FULL ENVID=abc+2B\r\n"
		   "RCPT TO:<a@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;A+2B@example.net\r\n"
		   "RCPT TO:<b@example.net>\r\nBDAT 0 LAST\r\n");
	dialogue_expect(d, "250", "250", "250", "250");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_MAIL_FROM, 0), "");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_ENVID, 0), "abc+2B");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_ORCPT, 0),
			    "rfc822;A+2B@example.net");
	assert_int_equal(message_field(&d->messages[0], ENVELOPE_NOTIFY, 0)[0],
			 DSN_NOTIFY_SUCCESS | DSN_NOTIFY_DELAY);
	assert_null(message_field(&d->messages[0], ENVELOPE_NOTIFY, 1));
	assert_int_equal(d->messages[0].flags, MESSAGE_RET_FULL);
	assert_int_equal(d->messages[0].recipients, 2);
}

static void dsn_parameters_reach_the_envelope(void **state)
{
	dialogue_run(NULL, dsn);
}

/* ---- S19 ---- */

static void stranger(struct dialogue *d)
{
	ip_parse("203.0.113.5", &d->peer);
}

static void s19_strangers_relay_nothing(void **state)
{
	static const struct expectation all[] = {
		{"RCPT TO:<a@example.net>\r\n", "550 5.7.1"},
		{"RCPT TO:<@mx.example.org:a@example.net>\r\n", "550 5.7.1"},
		{"RCPT TO:<a%example.net@mx.example.org>\r\n", "550 5.7.1"},
		{"RCPT TO:<\"a@example.net\"@mx.example.org>\r\n", "550 5.7.1"},
		{"RCPT TO:<\"a@example.net\">\r\n", "501 5.1.3"},
		{"RCPT TO:<example.net!a>\r\n", "501 5.1.3"},
		{"RCPT TO:<example.net!a@mx.example.org>\r\n", "550 5.7.1"},
		{"RCPT TO:<a@[192.0.2.1]>\r\n", "550 5.7.1"},
		{"RCPT TO:<a@mx.example.org>\r\n", "550 5.7.1"},
		{"RCPT TO:<postmaster>\r\n", "550 5.7.1"},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		expectation = &all[i];
		dialogue_run(stranger, after_mail);
	}
}

static void no_data(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE "BDAT 2 LAST\r\n\r\nDATA\r\n");
	dialogue_expect(d, "250", "550 5.7.1", "503 5.5.1", "503 5.5.1");
	dialogue_say(d, ENVELOPE);
	dialogue_expect(d, "250", "550 5.7.1");
	dialogue_say(d, "DATA\r\n");
	dialogue_expect(d, "554 5.5.1");
	assert_int_equal(d->message_count, 0);
	assert_int_equal(d->environment.counters.relay_denied, 2);
}

static void s19_data_without_a_valid_recipient_is_refused(void **state)
{
	dialogue_run(stranger, no_data);
}

static void postmaster(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, MAIL "RCPT TO:<Postmaster>\r\nBDAT 0 LAST\r\n");
	dialogue_expect(d, "250", "250", "250");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_RECIPIENT, 0),
			    "postmaster@mx.example.org");
}

static void postmaster_alone_is_ours(void **state)
{
	dialogue_run(NULL, postmaster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_read_as_rfc_5321_says),
		cmocka_unit_test(s10_nul_and_8_bit_in_commands),
		cmocka_unit_test(s10_nul_in_a_command_is_501),
		cmocka_unit_test(s10_recipients_with_utf8),
		cmocka_unit_test(s10_8_bit_text_is_noticed_where_it_stands),
		cmocka_unit_test(s12_parameters_of_mail),
		cmocka_unit_test(s12_parameters_of_rcpt),
		cmocka_unit_test(dsn_parameters_reach_the_envelope),
		cmocka_unit_test(s19_strangers_relay_nothing),
		cmocka_unit_test(s19_data_without_a_valid_recipient_is_refused),
		cmocka_unit_test(postmaster_alone_is_ours),
	};

	return cmocka_run_group_tests_name("smtp syntax", tests, NULL, NULL);
}
