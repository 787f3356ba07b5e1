/* SPDX-License-Identifier: GPL-3.0-or-later */
/* S8, S9, S14, S16, S17, S18, S22: order, sizes, floods, time. */
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

static void say_repeated(struct dialogue *d, char octet, size_t count)
{
	char *text = malloc(count + 1);

	assert_non_null(text);
	memset(text, octet, count);
	text[count] = '\0';
	dialogue_say(d, text);
	free(text);
}

static void long_command(struct dialogue *d)
{
	dialogue_ehlo(d);
	/* 512 octets with CRLF are allowed. */
	dialogue_say(d, "NOOP ");
	say_repeated(d, 'x', 505);
	dialogue_say(d, "\r\nNOOP ");
	say_repeated(d, 'x', 506);
	dialogue_say(d, "\r\nNOOP ");
	say_repeated(d, 'x', 3000);
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
	say_repeated(d, ' ', 2100);
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
		say_repeated(d, 'x', 1000);
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
	say_repeated(d, 'x', 998);
	dialogue_say(d, "\r\n.");
	say_repeated(d, '.', 998);
	dialogue_say(d, "\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_int_equal(d->messages[0].flags & MESSAGE_LONG_LINES, 0);
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, HEADER);
	say_repeated(d, 'x', 999);
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
	say_repeated(d, 'x', 5000);
	dialogue_say(d, "\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_int_equal(d->messages[0].flags & MESSAGE_LONG_LINES, MESSAGE_LONG_LINES);
	assert_int_equal(strlen(message_content(&d->messages[0])), strlen(HEADER) + 5002);
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, "Subject: ");
	say_repeated(d, 'x', 2000);
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

/* ---- S16 ---- */

static void slow_command(struct dialogue *d)
{
	dialogue_ehlo(d);
	/* An octet every ten seconds: the line has one deadline, not each octet. */
	for (unsigned i = 0; i < 29; i++) {
		dialogue_say(d, "x");
		dialogue_wait(d, 10 * US_PER_S);
	}
	dialogue_expect_nothing(d);
	dialogue_wait(d, 10 * US_PER_S);
	dialogue_expect(d, "421 4.4.2");
	assert_true(d->closed);
	assert_int_equal(d->environment.counters.timeouts, 1);
}

static void s16_a_command_has_one_deadline_for_its_whole_line(void **state)
{
	dialogue_run(NULL, slow_command);
}

static void slow_data(struct dialogue *d)
{
	char line[101];

	memset(line, 'x', 98);
	strcpy(line + 98, "\r\n");
	dialogue_data(d);
	dialogue_say(d, HEADER);
	/* 100 octets a second against 500: 600 s and a fifth of a second for each second's worth.
	 */
	for (unsigned s = 0; s < 740; s++) {
		dialogue_say(d, line);
		dialogue_wait(d, US_PER_S);
		assert_false(d->closed);
	}
	for (unsigned s = 0; s < 20 && !d->closed; s++) {
		dialogue_say(d, line);
		dialogue_wait(d, US_PER_S);
	}
	dialogue_expect(d, "421 4.4.2");
	assert_true(d->closed);
	assert_int_equal(d->message_count, 0);
}

static void s16_data_below_the_minimum_rate_is_cut_off(void **state)
{
	dialogue_run_once(NULL, slow_data);
}

static void fast_enough(struct dialogue *d)
{
	char line[1001];

	d->listener.limits.message_size = 0;
	memset(line, 'x', 598);
	strcpy(line + 598, "\r\n");
	dialogue_data(d);
	for (unsigned s = 0; s < 5000; s++) {
		/* What is kept does not matter here. */
		if (s == 0)
			dialogue_say(d, "a\rb\r\n");
		dialogue_say(d, line);
		dialogue_wait(d, US_PER_S);
		assert_false(d->closed);
	}
	dialogue_say(d, ".\r\n");
	dialogue_expect(d, "550 5.5.2");
}

static void s16_data_above_the_minimum_rate_goes_on(void **state)
{
	dialogue_run_once(NULL, fast_enough);
}

static void burst_and_silence(struct dialogue *d)
{
	char line[1001];

	memset(line, 'x', 998);
	strcpy(line + 998, "\r\n");
	dialogue_data(d);
	dialogue_say(d, HEADER);
	/* At 500 octets a second this would earn 1400 s. */
	for (unsigned i = 0; i < 700; i++)
		dialogue_say(d, line);
	dialogue_wait(d, 599 * US_PER_S);
	assert_false(d->closed);
	dialogue_wait(d, US_PER_S);
	dialogue_expect(d, "421 4.4.2");
	assert_true(d->closed);
	assert_int_equal(d->message_count, 0);
}

static void s16_what_came_fast_earns_no_long_silence(void **state)
{
	dialogue_run_once(NULL, burst_and_silence);
}

static void implicit(struct dialogue *d)
{
	d->listener.tls = LISTENER_TLS_IMPLICIT;
}

static void slow_handshake(struct dialogue *d)
{
	dialogue_begin(d);
	dialogue_wait(d, 29 * US_PER_S);
	assert_false(d->closed);
	dialogue_wait(d, US_PER_S);
	assert_true(d->closed);
	dialogue_expect_nothing(d);
}

static void s16_a_handshake_has_a_deadline(void **state)
{
	dialogue_run_once(implicit, slow_handshake);
}

static void never_reads(struct dialogue *d)
{
	d->listener.limits.junk_commands = UINT32_MAX;
	dialogue_ehlo(d);
	dialogue_say(d, "NOOP\r\n");
	d->deaf = true;
	for (unsigned i = 0; i < 2000; i++)
		dialogue_say(d, "HELP\r\n");
	assert_true(d->engine.stalled);
	assert_true(d->output_size < 2 * OUTPUT_MAX + 1000);
	/* It reads, and everything is answered. */
	d->deaf = false;
	for (unsigned i = 0; i < 100 && d->engine.stalled; i++) {
		d->acknowledged = d->output_size;
		server_engine_unstall(&d->engine);
		dialogue_say(d, "");
		while (d->waiting_size > 0 && !d->engine.stalled) {
			size_t taken = server_engine_input(&d->engine, (uint8_t *)d->waiting,
							   d->waiting_size, &d->now);

			d->waiting_size -= taken;
			memmove(d->waiting, d->waiting + taken, d->waiting_size);
		}
	}
	assert_int_equal(d->waiting_size, 0);
}

static void s16_a_client_that_reads_nothing_is_not_listened_to(void **state)
{
	dialogue_run_once(NULL, never_reads);
}

/* ---- S22 ---- */

static void tiny(struct dialogue *d)
{
	d->listener.limits.message_size = 200;
}

static void too_big(struct dialogue *d)
{
	dialogue_ehlo(d);
	assert_non_null(strstr(d->output, "250-SIZE 200\r\n"));
	dialogue_say(d, "MAIL FROM:<a@example.com> SIZE=201\r\n");
	dialogue_expect(d, "552 5.3.4");
	dialogue_say(d, "MAIL FROM:<a@example.com> SIZE=200\r\n" RCPT "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, HEADER);
	say_repeated(d, 'x', 150);
	dialogue_say(d, "\r\nNOOP\r\n.\r\n");
	dialogue_expect(d, "552 5.3.4");
	assert_int_equal(d->message_count, 0);
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, HEADER "x\r\n.\r\n");
	dialogue_expect(d, "250");
}

static void s22_a_message_over_the_limit_is_read_to_its_end_and_refused(void **state)
{
	dialogue_run(tiny, too_big);
}

static void exact_size(struct dialogue *d)
{
	for (unsigned over = 0; over < 2; over++) {
		dialogue_say(d, over ? ENVELOPE : EHLO);
		if (!over)
			dialogue_say(d, ENVELOPE);
		dialogue_say(d, "DATA\r\n");
		/* 200 octets, and one more: dots of transparency do not count. */
		dialogue_say(d, "Subject: x\r\n\r\n..");
		say_repeated(d, 'x', 183 + over);
		dialogue_say(d, "\r\n.\r\n");
	}
}

static void limit_to_the_octet(struct dialogue *d)
{
	dialogue_begin(d);
	exact_size(d);
	dialogue_expect(d, "220", "250", "250", "250", "354", "250 2.0.0", "250", "250", "354",
			"552 5.3.4");
	assert_int_equal(strlen(message_content(&d->messages[0])), 200);
}

static void s22_the_limit_holds_to_the_octet(void **state)
{
	dialogue_run(tiny, limit_to_the_octet);
}

static void no_memory(struct dialogue *d)
{
	struct chunk_list taken = {0};

	dialogue_data(d);
	dialogue_say(d, HEADER);
	while (chunk_pool_available(d->pool) > 1)
		chunk_list_push(&taken, chunk_alloc(d->pool));
	for (unsigned i = 0; i < 20; i++) {
		say_repeated(d, 'x', 900);
		dialogue_say(d, "\r\n");
	}
	dialogue_say(d, ".\r\n");
	dialogue_expect(d, "452 4.3.1");
	assert_int_equal(d->message_count, 0);
	chunk_list_free(&taken, d->pool);
	assert_int_equal(d->engine.errors, 0);
}

static void s22_memory_that_runs_out_in_data_is_452(void **state)
{
	dialogue_run_once(NULL, no_memory);
}

static void reserve(struct dialogue *d)
{
	d->environment.chunk_reserve = DIALOGUE_CHUNKS + 1;
}

static void under_reserve(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, MAIL);
	dialogue_expect(d, "452 4.3.1");
	assert_int_equal(d->environment.counters.overload, 1);
	assert_int_equal(d->engine.errors, 0);
}

static void s22_below_the_chunk_reserve_new_mail_is_452(void **state)
{
	dialogue_run(reserve, under_reserve);
}

static void half_a_line(struct dialogue *d)
{
	struct chunk_list taken = {0};

	dialogue_ehlo(d);
	d->environment.chunk_reserve = 64;
	while (chunk_pool_available(d->pool) > 15)
		chunk_list_push(&taken, chunk_alloc(d->pool));
	dialogue_say(d, "NOOP\r\n");
	dialogue_expect(d, "250");
	dialogue_say(d, "NO");
	dialogue_expect(d, "421 4.3.2");
	assert_true(d->closed);
	assert_int_equal(chunk_pool_available(d->pool), 15);
	chunk_list_free(&taken, d->pool);
}

static void s16_half_lines_leave_the_chunk_reserve_alone(void **state)
{
	dialogue_run_once(NULL, half_a_line);
}

static void unlimited(struct dialogue *d)
{
	d->listener.limits.message_size = 0;
	d->environment.chunk_reserve = 100;
}

static void no_room(struct dialogue *d)
{
	dialogue_ehlo(d);
	assert_non_null(strstr(d->output, "250-SIZE\r\n"));
	dialogue_say(d, "MAIL FROM:<a@example.com> SIZE=840480\r\n");
	dialogue_expect(d, "452 4.3.1");
	dialogue_say(d, "MAIL FROM:<a@example.com> SIZE=99999999999999999999\r\n");
	dialogue_expect(d, "452 4.3.1");
	dialogue_say(d, "MAIL FROM:<a@example.com> SIZE=836399\r\n");
	dialogue_expect(d, "250");
}

static void s22_a_declared_size_that_does_not_fit_now_is_452(void **state)
{
	dialogue_run(unlimited, no_room);
}

static void refused_spool(struct dialogue *d)
{
	dialogue_ehlo(d);
	d->environment.refusal = COMMIT_NO_SPACE;
	dialogue_say(d, MAIL);
	dialogue_expect(d, "452 4.3.1");
	d->environment.refusal = COMMIT_IO_ERROR;
	dialogue_say(d, MAIL);
	dialogue_expect(d, "451 4.3.0");
	d->environment.refusal = COMMIT_DONE;
	dialogue_say(d, MAIL);
	dialogue_expect(d, "250");
	dialogue_say(d, "RSET\r\n");
	d->environment.refusal = COMMIT_OVERLOAD;
	dialogue_say(d, MAIL);
	dialogue_expect(d, "250", "421 4.3.2");
	assert_true(d->closed);
}

static void s22_a_spool_that_does_not_accept_refuses_mail_at_mail(void **state)
{
	dialogue_run(NULL, refused_spool);
}

static uint32_t result;
static const char *result_reply;

static void set_result(struct dialogue *d)
{
	d->commit_result = result;
}

static void commit_answer(struct dialogue *d)
{
	dialogue_data(d);
	dialogue_say(d, HEADER "x\r\n.\r\n");
	dialogue_expect(d, result_reply);
	assert_int_equal(d->environment.counters.messages_accepted, result == COMMIT_DONE);
	assert_int_equal(d->closed, result == COMMIT_OVERLOAD);
	if (d->closed)
		return;
	dialogue_say(d, "DATA\r\n");
	dialogue_expect(d, "503 5.5.1");
}

static void s22_every_commit_result_has_its_reply(void **state)
{
	static const char *const commit_replies[] = {"250 2.0.0", "452 4.3.1", "451 4.3.0",
						     "421 4.3.2"};

	for (result = COMMIT_DONE; result <= COMMIT_OVERLOAD; result++) {
		result_reply = commit_replies[result];
		dialogue_run(set_result, commit_answer);
	}
}

/* ---- Draining ---- */

static void drain(struct dialogue *d)
{
	dialogue_data(d);
	d->environment.draining = true;
	server_engine_drain(&d->engine, &d->now);
	dialogue_expect_nothing(d);
	dialogue_say(d, HEADER "x\r\n.\r\n");
	dialogue_expect(d, "250 2.0.0", "421 4.3.2");
	assert_true(d->closed);
}

static void draining_lets_a_running_transaction_finish(void **state)
{
	dialogue_run(NULL, drain);
}

static void drain_idle(struct dialogue *d)
{
	dialogue_ehlo(d);
	d->environment.draining = true;
	server_engine_drain(&d->engine, &d->now);
	dialogue_expect(d, "421 4.3.2");
	assert_true(d->closed);
}

static void draining_closes_an_idle_session(void **state)
{
	dialogue_run(NULL, drain_idle);
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
		cmocka_unit_test(s16_a_command_has_one_deadline_for_its_whole_line),
		cmocka_unit_test(s16_data_below_the_minimum_rate_is_cut_off),
		cmocka_unit_test(s16_data_above_the_minimum_rate_goes_on),
		cmocka_unit_test(s16_what_came_fast_earns_no_long_silence),
		cmocka_unit_test(s16_a_handshake_has_a_deadline),
		cmocka_unit_test(s16_a_client_that_reads_nothing_is_not_listened_to),
		cmocka_unit_test(s22_a_message_over_the_limit_is_read_to_its_end_and_refused),
		cmocka_unit_test(s22_the_limit_holds_to_the_octet),
		cmocka_unit_test(s22_memory_that_runs_out_in_data_is_452),
		cmocka_unit_test(s22_below_the_chunk_reserve_new_mail_is_452),
		cmocka_unit_test(s16_half_lines_leave_the_chunk_reserve_alone),
		cmocka_unit_test(s22_a_declared_size_that_does_not_fit_now_is_452),
		cmocka_unit_test(s22_a_spool_that_does_not_accept_refuses_mail_at_mail),
		cmocka_unit_test(s22_every_commit_result_has_its_reply),
		cmocka_unit_test(draining_lets_a_running_transaction_finish),
		cmocka_unit_test(draining_closes_an_idle_session),
	};

	return cmocka_run_group_tests_name("smtp limits", tests, NULL, NULL);
}
