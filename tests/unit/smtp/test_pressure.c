/* SPDX-License-Identifier: GPL-3.0-or-later */
/* S16, S22: time, memory, what a shard and a drain say. */
#include "tests/unit/smtp/dialogue.h"

#include <stdlib.h>
#include <string.h>

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

/** A chunk of 1000 octets that go on with a body line. */
static void say_chunk(struct dialogue *d)
{
	dialogue_say(d, "BDAT 1000\r\n");
	dialogue_say_repeated(d, 'x', 998);
	dialogue_say(d, "\r\n");
}

static void slow_chunks(struct dialogue *d)
{
	d->listener.limits.message_size = 0;
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE);
	dialogue_expect(d, "250", "250");
	/* 1000 octets each 250 s earn 2 s each: the message ends 600 s and a little after it began.
	 */
	say_chunk(d);
	dialogue_expect(d, "250 2.0.0 1000 octets");
	dialogue_wait(d, 250 * US_PER_S);
	say_chunk(d);
	dialogue_expect(d, "250 2.0.0 1000 octets");
	dialogue_wait(d, 250 * US_PER_S);
	dialogue_say(d, "BDAT 100 LAST\r\nx");
	dialogue_wait(d, 103 * US_PER_S);
	assert_false(d->closed);
	dialogue_wait(d, 2 * US_PER_S);
	dialogue_expect(d, "421 4.4.2");
	assert_true(d->closed);
	assert_int_equal(d->message_count, 0);
}

static void s16_the_time_of_a_message_goes_on_over_its_chunks(void **state)
{
	dialogue_run_once(NULL, slow_chunks);
}

static void silence_between_chunks(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE);
	say_chunk(d);
	dialogue_wait(d, 299 * US_PER_S);
	say_chunk(d);
	/* A command alone may take 300 s, but the message has 600 s and 4 s in all. */
	dialogue_wait(d, 299 * US_PER_S);
	assert_false(d->closed);
	dialogue_say(d, "BDAT 0\r\n");
	dialogue_wait(d, 5 * US_PER_S);
	assert_false(d->closed);
	dialogue_wait(d, 1 * US_PER_S);
	assert_true(d->closed);
}

static void s16_a_message_between_two_chunks_has_a_deadline(void **state)
{
	dialogue_run_once(NULL, silence_between_chunks);
}

static void fast_chunks(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE "BDAT 4\r\n\r\na ");
	/* 571 octets a second against 500, for 700 s. */
	for (unsigned i = 0; i < 400; i++) {
		say_chunk(d);
		dialogue_wait(d, 1750000);
		assert_false(d->closed);
	}
	dialogue_say(d, "BDAT 0 LAST\r\n");
	assert_non_null(strstr(d->output + d->output_size - 60, "250 2.0.0 OK queued"));
	/* The next message has its own time. */
	dialogue_say(d, ENVELOPE "BDAT 2\r\n\r\n");
	dialogue_wait(d, 299 * US_PER_S);
	assert_false(d->closed);
}

static void many_chunks(struct dialogue *d)
{
	d->listener.limits.message_size = 0;
	d->listener.accept_long_lines = true;
}

static void s16_chunks_above_the_minimum_rate_go_on(void **state)
{
	dialogue_run_once(many_chunks, fast_chunks);
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
	dialogue_say_repeated(d, 'x', 150);
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
		dialogue_say_repeated(d, 'x', 183 + over);
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
		dialogue_say_repeated(d, 'x', 900);
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
		cmocka_unit_test(s16_a_command_has_one_deadline_for_its_whole_line),
		cmocka_unit_test(s16_data_below_the_minimum_rate_is_cut_off),
		cmocka_unit_test(s16_data_above_the_minimum_rate_goes_on),
		cmocka_unit_test(s16_what_came_fast_earns_no_long_silence),
		cmocka_unit_test(s16_the_time_of_a_message_goes_on_over_its_chunks),
		cmocka_unit_test(s16_a_message_between_two_chunks_has_a_deadline),
		cmocka_unit_test(s16_chunks_above_the_minimum_rate_go_on),
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

	return cmocka_run_group_tests_name("smtp pressure", tests, NULL, NULL);
}
