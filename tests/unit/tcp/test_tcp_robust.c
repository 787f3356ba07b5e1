/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Peers that are odd, slow or hostile, and applications that leave early: nothing is held for ever,
 * nothing breaks. */
#include "tests/unit/tcp/dialog.h"

#include "dataplane/tcp/internal.h"

#define MINUTE UINT64_C(60000000)

static void drain(struct dialog *d)
{
	while (harness_take(d->h, d->copy) != 0)
		;
}

static void rfc_9293_in_syn_received_too_what_is_not_acceptable_is_answered(void **state)
{
	struct dialog d = syn_answered(&v4, &plain);

	says_at(&d, A, 1000000, NULL, 0);
	hears(&d, A, 0, 0);
	hears_nothing(&d);
	says(&d, A);
	assert_non_null(d.h->accepted);
	dialog_end(&d);
}

static void rfc_7323_a_syn_ack_that_echoes_nothing_is_taken(void **state)
{
	for (uint64_t seed = 1; seed <= 16; seed++) { /* the clock's offset is anywhere */
		struct harness_options options = {.seed = seed};
		struct dialog d = connecting(&options, &full);
		struct script_segment syn = dialog_syn(&d, S | A);

		syn.ts_ecr = 0;
		script_feed(d.h, &syn);
		assert_true(d.c->connected);
		dialog_end(&d);
	}
}

static void rfc_7323_a_syn_ack_that_echoes_what_was_never_sent_is_not(void **state)
{
	struct dialog d = connecting(&v4, &full);
	struct script_segment syn = dialog_syn(&d, S | A);

	syn.ts_ecr += 10;
	script_feed(d.h, &syn);
	assert_false(d.c->connected);
	syn.ts_ecr -= 10 + 3600000;
	script_feed(d.h, &syn);
	assert_false(d.c->connected);
	dialog_end(&d);
}

static void a_dribble_does_not_hold_fin_wait_2_for_ever(void **state)
{
	struct dialog d = connected(&v4, &full);
	unsigned minutes = 0;

	harness_close(d.c);
	hears(&d, A | F, 0, 0);
	d.ack++;
	says(&d, A);
	assert_string_equal(dialog_state(&d), "FIN-WAIT-2");
	for (; minutes < 30 && !d.c->closed; minutes++) {
		says_at(&d, A, 0, "x", 1);
		harness_advance(d.h, MINUTE);
		drain(&d);
	}
	assert_in_range(minutes, 9, 11);
	assert_int_equal(d.c->reason, TCP_TIMED_OUT);
	dialog_end(&d);
}

static void a_closed_connection_does_not_probe_a_zero_window_for_ever(void **state)
{
	struct dialog d = connected(&v4, &with_sack);
	unsigned rounds = 0;

	d.window = 0;
	says_at(&d, A, 0, "x", 1);
	harness_send(d.c, bytes, 1000);
	harness_advance(d.h, MINUTE);
	drain(&d);
	assert_false(d.c->closed);
	d.c->close_when_sent = true;
	harness_close(d.c);
	for (; rounds < 60 && !d.c->closed; rounds++) {
		says(&d, A); /* alive, and nothing more */
		harness_advance(d.h, MINUTE / 2);
		drain(&d);
	}
	assert_in_range(rounds, 9, 12);
	assert_int_equal(d.c->reason, TCP_TIMED_OUT);
	dialog_end(&d);
}

static void rfc_9293_a_window_shrunk_to_zero_over_what_is_in_flight_is_waited_out(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	harness_send(d.c, bytes, 3000);
	drain(&d);
	d.window = 0;
	for (unsigned i = 0; i < 40; i++) {
		says(&d, A);
		harness_advance(d.h, MINUTE / 2);
		drain(&d);
		assert_false(d.c->closed);
	}
	d.window = 65535;
	d.ack += 3000;
	says(&d, A);
	assert_int_equal(tcp_unacknowledged(d.h->stack, d.c->handle), 0);
	dialog_end(&d);
}

static void closing_in_syn_sent_resets_a_peer_that_answers_at_that_moment(void **state)
{
	struct dialog d = connecting(&v4, &full);
	struct script_segment syn = dialog_syn(&d, S | A);

	harness_close(d.c);
	script_feed(d.h, &syn);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, R);
	assert_int_equal(d.s.seq, d.ack);
	assert_false(d.c->connected);
	assert_true(d.c->closed);
	assert_int_equal(connections(&d), 0);
	dialog_end(&d);
}

static void an_abort_from_within_on_accept_is_safe(void **state)
{
	struct dialog d = syn_answered(&v4, &full);

	d.h->abort_on_accept = true;
	says_at(&d, A, 0, "hello", 5);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags & R, R);
	hears_nothing(&d);
	assert_int_equal(connections(&d), 0);
	assert_int_equal(counters(&d)->tcp_accepted, 0);
	dialog_end(&d);
}

/* Two windows' worth beyond a hole, byte by byte in chunks of their own. */
static void holds_back(struct dialog *d, unsigned segments)
{
	for (unsigned i = 0; i < segments; i++)
		says_at(d, A, (int32_t)(40000 + i * 100), bytes, 50);
}

static void under_pressure_what_came_out_of_order_gives_way(void **state)
{
	struct harness_options options = {.seed = 1, .chunks = 16};
	struct dialog d = connected(&options, &full);

	holds_back(&d, 8); /* 4 of them are kept */
	drain(&d);
	d.c->take_limit = 0;
	/* In-order data fills the rest, and then takes the place of the others. */
	for (unsigned i = 0; i < 24; i++) {
		says_at(&d, A, 0, bytes, 1400);
		drain(&d);
	}
	assert_true(counters(&d)->tcp_ooo_reclaimed > 0);
	harness_take_more(d.c, SIZE_MAX);
	assert_true(d.c->received_size >= 7u * 4080);
	dialog_end(&d);
}

static void what_peers_hold_back_does_not_keep_others_from_being_read(void **state)
{
	struct harness_options options = {.seed = 1, .chunks = 32};
	struct dialog d = connected(&options, &full);

	holds_back(&d, 32);
	drain(&d);
	assert_true(counters(&d)->tcp_drop_reassembly > 0);
	assert_int_equal(d.h->stack->tcp->ooo_chunks, 8); /* a half of a half */
	dialog_end(&d);
}

static void a_fin_of_another_number_does_not_renew_time_wait(void **state)
{
	struct dialog d = connected(&v4, &plain);

	harness_close(d.c);
	hears(&d, A | F, 0, 0);
	d.ack++;
	says(&d, A | F);
	drain(&d);
	assert_int_equal(time_waits(&d), 1);
	harness_advance(d.h, 50000000);
	says_at(&d, A | F, 1000, NULL, 0);
	says_at(&d, A | F, -1000, NULL, 0);
	harness_advance(d.h, 12000000);
	drain(&d);
	assert_int_equal(time_waits(&d), 0);
	dialog_end(&d);
}

static void rfc_6191_which_syn_ends_time_wait(void **state)
{
	static const struct {
		bool before, now; /* with timestamps */
		int32_t ts, seq;  /* later than the last by */
		bool opens;
	} cases[] = {
		{true, true, 1, -1000, true},	 {true, true, 0, 1000, true},
		{true, true, 0, -1000, false},	 {true, true, -1, 1000, false},
		{true, false, 0, 1000, true},	 {true, false, 0, -1000, false},
		{false, true, 0, -1000, true},	 {false, false, 0, 1000, true},
		{false, false, 0, -1000, false},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dialog d = accepted(&v4, cases[i].before ? &full : &plain);
		struct script_segment syn;

		harness_close(d.c);
		hears(&d, F | A, 0, 0);
		d.ack++;
		says(&d, F | A);
		hears(&d, A, 0, 0);
		syn = dialog_syn(&d, S);
		syn.timestamp = cases[i].now;
		syn.ts_val = d.ts + (uint32_t)cases[i].ts;
		syn.seq = d.seq + (uint32_t)cases[i].seq;
		script_feed(d.h, &syn);
		assert_true(dialog_take(&d));
		assert_int_equal((d.s.flags & S) != 0, cases[i].opens);
		assert_int_equal(time_waits(&d), !cases[i].opens);
		dialog_end(&d);
	}
}

static void rfc_9293_keepalive_is_off_by_default(void **state)
{
	struct dialog d = connected(&v4, &full);

	for (unsigned i = 0; i < 24 * 6; i++) {
		harness_advance(d.h, 10 * MINUTE);
		hears_nothing(&d);
	}
	assert_false(d.c->closed);
	dialog_end(&d);
}

static void rfc_9293_keepalive_asks_after_silence_and_gives_up_without_an_answer(void **state)
{
	struct harness_options options = {.seed = 1, .keepalive_s = 7200};
	struct dialog d = connected(&options, &full);
	unsigned minutes = 0, probes = 0;

	harness_advance(d.h, 119 * MINUTE);
	hears_nothing(&d);
	harness_advance(d.h, 3 * MINUTE);
	hears(&d, A, -1, 0);
	drain(&d);
	says(&d, A); /* it lives: all begins anew */
	harness_advance(d.h, 119 * MINUTE);
	hears_nothing(&d);
	for (; minutes < 60 && !d.c->closed; minutes++) {
		harness_advance(d.h, MINUTE);
		while (dialog_take(&d))
			probes += d.s.flags == A;
	}
	assert_int_equal(probes, 9);
	assert_in_range(minutes, 11, 15);
	assert_int_equal(d.c->reason, TCP_TIMED_OUT);
	dialog_end(&d);
}

/* What is still to be acknowledged has the user timeout. */
static void keepalive_does_not_end_a_connection_that_is_closing(void **state)
{
	struct harness_options options = {.seed = 1, .keepalive_s = 7200};
	struct dialog d = connected(&options, &full);

	harness_send(d.c, bytes, 1000);
	drain(&d);
	d.ack += 1000;
	says(&d, A);
	harness_shutdown(d.c);
	for (unsigned i = 0; i < 30; i++) { /* three minutes */
		drain(&d);
		harness_advance(d.h, MINUTE / 10);
	}
	assert_string_equal(dialog_state(&d), "FIN-WAIT-1");
	drain(&d);
	d.ack++;
	says(&d, A);
	assert_string_equal(dialog_state(&d), "FIN-WAIT-2");
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_9293_in_syn_received_too_what_is_not_acceptable_is_answered),
		cmocka_unit_test(rfc_7323_a_syn_ack_that_echoes_nothing_is_taken),
		cmocka_unit_test(rfc_7323_a_syn_ack_that_echoes_what_was_never_sent_is_not),
		cmocka_unit_test(a_dribble_does_not_hold_fin_wait_2_for_ever),
		cmocka_unit_test(a_closed_connection_does_not_probe_a_zero_window_for_ever),
		cmocka_unit_test(
			rfc_9293_a_window_shrunk_to_zero_over_what_is_in_flight_is_waited_out),
		cmocka_unit_test(closing_in_syn_sent_resets_a_peer_that_answers_at_that_moment),
		cmocka_unit_test(an_abort_from_within_on_accept_is_safe),
		cmocka_unit_test(under_pressure_what_came_out_of_order_gives_way),
		cmocka_unit_test(what_peers_hold_back_does_not_keep_others_from_being_read),
		cmocka_unit_test(a_fin_of_another_number_does_not_renew_time_wait),
		cmocka_unit_test(rfc_6191_which_syn_ends_time_wait),
		cmocka_unit_test(rfc_9293_keepalive_is_off_by_default),
		cmocka_unit_test(
			rfc_9293_keepalive_asks_after_silence_and_gives_up_without_an_answer),
		cmocka_unit_test(keepalive_does_not_end_a_connection_that_is_closing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
