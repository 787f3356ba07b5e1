/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Closing (RFC 9293, 3.6 and 3.10.7.4): FIN and RST in every state, TIME-WAIT, half close, user
 * timeout. */
#include "tests/unit/tcp/dialog.h"

/* Bring a fresh connection into a state. Data is neither in flight nor queued. */
static struct dialog in_state(const char *name)
{
	struct dialog d = connected(&v4, &full);

	if (strcmp(name, "ESTABLISHED") == 0) {
		/* as it is */
	} else if (strcmp(name, "CLOSE-WAIT") == 0) {
		says(&d, F | A);
		hears(&d, A, 0, 0);
	} else if (strcmp(name, "LAST-ACK") == 0) {
		says(&d, F | A);
		hears(&d, A, 0, 0);
		harness_close(d.c);
		hears(&d, F | A, 0, 0);
		d.ack++;
	} else {
		harness_close(d.c);
		hears(&d, F | A, 0, 0);
		if (strcmp(name, "CLOSING") == 0) {
			says(&d, F | A);
			d.ack++;
			hears(&d, A, 0, 0);
		} else if (strcmp(name, "FIN-WAIT-2") == 0) {
			d.ack++;
			says(&d, A);
		} else {
			d.ack++;
		}
	}
	assert_string_equal(dialog_state(&d), name);
	return d;
}

static const char *const states[] = {"ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2",
				     "CLOSE-WAIT",  "CLOSING",	  "LAST-ACK"};

static void we_close_first_and_end_in_time_wait(void **state)
{
	struct dialog d = connected(&v4, &plain);

	harness_close(d.c);
	hears(&d, F | A, 0, 0);
	assert_string_equal(dialog_state(&d), "FIN-WAIT-1");
	d.ack++;
	says(&d, A);
	assert_string_equal(dialog_state(&d), "FIN-WAIT-2");
	says_at(&d, A, 0, "late", 4);
	assert_int_equal(d.c->received_size, 4);
	says(&d, F | A);
	hears(&d, A, 0, 0);
	assert_true(d.c->ended && d.c->closed);
	assert_int_equal(d.c->reason, TCP_CLOSED);
	assert_int_equal(connections(&d), 0);
	assert_int_equal(time_waits(&d), 1);
	dialog_end(&d);
}

static void the_peer_closes_first_and_no_time_wait_is_left(void **state)
{
	struct dialog d = connected(&v4, &plain);

	says(&d, F | A);
	hears(&d, A, 0, 0);
	assert_true(d.c->ended);
	assert_false(d.c->closed);
	harness_send(d.c, "bye", 3);
	hears(&d, A, 0, 3); /* half closed: we may still send */
	harness_close(d.c);
	hears(&d, F | A, 3, 0);
	assert_string_equal(dialog_state(&d), "LAST-ACK");
	d.ack += 4;
	says(&d, A);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_CLOSED);
	assert_int_equal(time_waits(&d), 0);
	dialog_end(&d);
}

static void both_close_at_once(void **state)
{
	struct dialog d = in_state("CLOSING");

	assert_true(d.c->ended);
	says(&d, A);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_CLOSED);
	assert_int_equal(time_waits(&d), 1);
	dialog_end(&d);
}

static void a_fin_that_acknowledges_ours_goes_straight_to_time_wait(void **state)
{
	struct dialog d = in_state("FIN-WAIT-1");

	says(&d, F | A);
	hears(&d, A, 0, 0);
	assert_int_equal(d.c->reason, TCP_CLOSED);
	assert_int_equal(time_waits(&d), 1);
	dialog_end(&d);
}

static void fin_goes_out_behind_the_data(void **state)
{
	struct dialog d = connected(&v4, &plain);

	d.c->close_when_sent = true;
	harness_send(d.c, bytes, 2000);
	hears(&d, A, 0, 1460);
	hears(&d, F | A, 1460, 540);
	assert_int_equal(tcp_send(d.h->stack, d.c->handle, "x", 1), -ENOTCONN);
	dialog_end(&d);
}

static void a_fin_with_data_delivers_both_in_order(void **state)
{
	struct dialog d = connected(&v4, &plain);

	says_at(&d, F | A, 0, "end", 3);
	assert_int_equal(d.c->received_size, 3);
	assert_true(d.c->ended);
	hears(&d, A, 0, 0);
	dialog_end(&d);
}

static void a_fin_ahead_of_missing_data_waits(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	says_at(&d, F | A, 3, "def", 3);
	assert_false(d.c->ended);
	hears_ack_of(&d, 0);
	says_at(&d, A, 0, "abc", 3);
	assert_int_equal(d.c->received_size, 6);
	d.seq += 3;
	hears(&d, A, 0, 0);
	says(&d, F | A);
	assert_true(d.c->ended);
	dialog_end(&d);
}

static void a_repeated_fin_is_acknowledged_again_in_every_state(void **state)
{
	static const char *const after[] = {"CLOSE-WAIT", "CLOSING", "LAST-ACK"};

	for (unsigned i = 0; i < 3; i++) {
		struct dialog d = in_state(after[i]);

		says_at(&d, F | A, -1, NULL, 0);
		hears_ack_of(&d, 0);
		assert_int_equal(d.c->ended_count, 1);
		dialog_end(&d);
	}
}

static void rfc_5961_only_an_exact_reset_closes_in_every_state(void **state)
{
	for (unsigned i = 0; i < 6; i++) {
		struct dialog d = in_state(states[i]);
		uint64_t before = counters(&d)->tcp_challenge_ack;

		says_at(&d, R, 1, NULL, 0); /* in the window */
		assert_false(d.c->closed);
		hears_ack_of(&d, 0);
		assert_int_equal(counters(&d)->tcp_challenge_ack, before + 1);
		says_at(&d, R, 100000, NULL, 0); /* outside */
		hears_nothing(&d);
		assert_false(d.c->closed);
		says(&d, R);
		assert_true(d.c->closed);
		assert_int_equal(d.c->reason, TCP_RESET);
		assert_int_equal(d.c->closed_count, 1);
		assert_int_equal(connections(&d), 0);
		dialog_end(&d);
	}
}

static void rfc_5961_a_syn_is_challenged_in_every_state(void **state)
{
	for (unsigned i = 0; i < 6; i++) {
		struct dialog d = in_state(states[i]);

		says_at(&d, S, 1, NULL, 0);
		hears_ack_of(&d, 0);
		assert_false(d.c->closed);
		says_at(&d, S, -1000, NULL, 0);
		hears_ack_of(&d, 0);
		assert_string_equal(dialog_state(&d), states[i]);
		dialog_end(&d);
	}
}

static void abort_sends_a_reset_in_every_state(void **state)
{
	for (unsigned i = 0; i < 6; i++) {
		struct dialog d = in_state(states[i]);

		harness_abort(d.c);
		assert_true(d.c->closed); /* before it returns */
		assert_int_equal(d.c->reason, TCP_ABORTED);
		hears(&d, R | A, 0, 0);
		assert_int_equal(time_waits(&d), 0);
		dialog_end(&d);
	}
}

static void an_abort_from_within_on_receive_is_safe(void **state)
{
	struct dialog d = connected(&v4, &plain);

	d.c->abort_on_receive = true;
	says_at(&d, F | A, 0, "boom", 4);
	assert_int_equal(d.c->reason, TCP_ABORTED);
	assert_int_equal(d.c->closed_count, 1);
	assert_false(d.c->ended);
	dialog_end(&d);
}

static void data_in_fin_wait_2_keeps_the_connection_and_silence_ends_it(void **state)
{
	struct dialog d = in_state("FIN-WAIT-2");

	harness_advance(d.h, 299000000);
	says_at(&d, A, 0, "still here", 10);
	assert_int_equal(d.c->received_size, 10);
	harness_advance(d.h, 299000000);
	assert_false(d.c->closed);
	harness_advance(d.h, 2000000);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_TIMED_OUT);
	dialog_end(&d);
}

static struct dialog in_time_wait(const struct offer *offer)
{
	struct dialog d = connected(&v4, offer);

	harness_close(d.c);
	hears(&d, F | A, 0, 0);
	d.ack++;
	says(&d, F | A);
	hears(&d, A, 0, 0);
	assert_int_equal(time_waits(&d), 1);
	return d;
}

static void must_13_time_wait_lasts_60_seconds(void **state)
{
	struct dialog d = in_time_wait(&full);

	harness_advance(d.h, 59900000);
	assert_int_equal(time_waits(&d), 1);
	harness_advance(d.h, 200000);
	assert_int_equal(time_waits(&d), 0);
	dialog_end(&d);
}

static void time_wait_acknowledges_a_repeated_fin_and_begins_anew(void **state)
{
	struct dialog d = in_time_wait(&full);

	harness_advance(d.h, 50000000);
	says_at(&d, F | A, -1, NULL, 0);
	hears(&d, A, 0, 0);
	assert_true(d.s.has_timestamp);
	assert_int_equal(d.s.ts_ecr, d.ts);
	harness_advance(d.h, 50000000);
	assert_int_equal(time_waits(&d), 1);
	harness_advance(d.h, 11000000);
	assert_int_equal(time_waits(&d), 0);
	dialog_end(&d);
}

static void rfc_1337_a_reset_does_not_end_time_wait(void **state)
{
	struct dialog d = in_time_wait(&full);

	says(&d, R);
	says(&d, R | A);
	hears_nothing(&d);
	assert_int_equal(time_waits(&d), 1);
	dialog_end(&d);
}

static void rfc_6191_a_newer_syn_opens_anew_and_an_old_one_is_answered(void **state)
{
	struct dialog d;
	struct script_segment syn;

	for (unsigned timestamps = 0; timestamps < 2; timestamps++) {
		d = accepted(&v4, timestamps ? &full : &plain);
		harness_close(d.c);
		hears(&d, F | A, 0, 0);
		d.ack++;
		says(&d, F | A);
		hears(&d, A, 0, 0);
		assert_int_equal(time_waits(&d), 1);
		syn = dialog_syn(&d, S);
		syn.seq = d.seq - 500;
		script_feed(d.h, &syn); /* not provably newer */
		hears(&d, A, 0, 0);
		syn.seq = d.seq + 500;
		syn.ts_val = d.ts + 1;
		script_feed(d.h, &syn);
		assert_true(dialog_take(&d));
		assert_int_equal(d.s.flags, S | A);
		assert_int_equal(d.s.ack, syn.seq + 1);
		assert_int_equal(time_waits(&d), 0);
		dialog_end(&d);
	}
}

static void the_oldest_time_wait_gives_way_when_the_ring_is_full(void **state)
{
	struct harness_options options = {.time_wait = 64};
	struct dialog d;

	dialog_begin(&d, &options, &plain);
	for (unsigned i = 0; i < 100; i++) {
		struct script_segment syn;

		d.c = harness_connect(d.h, 25);
		assert_true(dialog_take(&d));
		d.ack = d.s.seq + 1;
		syn = dialog_syn(&d, S | A);
		script_feed(d.h, &syn);
		d.seq++;
		hears(&d, A, 0, 0);
		harness_close(d.c);
		hears(&d, F | A, 0, 0);
		d.ack++;
		says(&d, F | A);
		hears(&d, A, 0, 0);
		assert_int_equal(d.c->reason, TCP_CLOSED);
	}
	assert_int_equal(time_waits(&d), 64);
	harness_advance(d.h, 61000000);
	assert_int_equal(time_waits(&d), 0);
	dialog_end(&d);
}

static void unread_data_is_still_offered_after_both_fins(void **state)
{
	struct dialog d = in_state("FIN-WAIT-2");

	d.c->take_limit = 2;
	says_at(&d, F | A, 0, "abcdef", 6);
	hears(&d, A, 0, 0);
	assert_false(d.c->ended || d.c->closed);
	harness_take_more(d.c, 100);
	assert_int_equal(d.c->received_size, 6);
	assert_true(d.c->ended && d.c->closed);
	assert_int_equal(d.c->reason, TCP_CLOSED);
	assert_int_equal(time_waits(&d), 1);
	dialog_end(&d);
}

static void on_end_waits_for_the_last_byte_to_be_taken(void **state)
{
	struct dialog d = connected(&v4, &plain);

	d.c->take_limit = 1;
	says_at(&d, F | A, 0, "abc", 3);
	assert_false(d.c->ended);
	harness_take_more(d.c, 1);
	assert_false(d.c->ended);
	harness_take_more(d.c, 1);
	assert_true(d.c->ended);
	assert_memory_equal(d.c->received, "abc", 3);
	dialog_end(&d);
}

static void must_20_the_user_timeout_gives_up_on_unacknowledged_data(void **state)
{
	struct dialog d = connected(&v4, &full);

	tcp_set_user_timeout(d.h->stack, d.c->handle, 10000000);
	harness_send(d.c, "x", 1);
	hears(&d, A, 0, 1);
	for (unsigned i = 0; i < 99; i++) {
		harness_advance(d.h, 100000);
		while (dialog_take(&d))
			assert_int_equal(d.s.flags & R, 0);
	}
	assert_false(d.c->closed);
	harness_advance(d.h, 200000);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_TIMED_OUT);
	dialog_end(&d);
}

static void an_address_that_goes_away_aborts_its_connections(void **state)
{
	struct dialog d = connected(&v4, &plain);

	d.h->view.address_count = 0;
	assert_int_equal(net_stack_configure(d.h->stack, &d.h->view, &d.h->now), 0);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_ABORTED);
	dialog_end(&d);
}

static void a_lost_fin_is_sent_again(void **state)
{
	struct dialog d = connected(&v4, &full);

	harness_close(d.c);
	hears(&d, F | A, 0, 0);
	harness_advance(d.h, 1000000);
	hears(&d, F | A, 0, 0);
	dialog_end(&d);
}

/* Take the way to the peer away, or give it back. */
static void set_way(struct dialog *d, uint8_t prefix_length)
{
	d->h->addresses[0].prefix_length = prefix_length;
	assert_int_equal(net_stack_configure(d->h->stack, &d->h->view, &d->h->now), 0);
}

static void a_fin_without_a_way_out_waits_for_one(void **state)
{
	struct dialog d = connected(&v4, &full);

	set_way(&d, 32);
	harness_close(d.c);
	hears_nothing(&d);
	harness_advance(d.h, 2000000);
	hears_nothing(&d);
	set_way(&d, 24);
	for (unsigned i = 0; i < 300 && (d.s.flags & F) == 0; i++) { /* probes first */
		harness_advance(d.h, 100000);
		while ((d.s.flags & F) == 0 && dialog_take(&d))
			;
	}
	assert_int_equal(d.s.flags & ~P, F | A);
	assert_int_equal(d.s.seq, d.ack);
	dialog_end(&d);
}

static void a_fin_without_a_way_out_gives_up_in_the_end(void **state)
{
	struct dialog d = connected(&v4, &full);

	set_way(&d, 32);
	harness_close(d.c);
	hears_nothing(&d);
	harness_advance(d.h, 299000000);
	assert_false(d.c->closed);
	harness_advance(d.h, 2000000);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_TIMED_OUT);
	assert_int_equal(connections(&d), 0);
	dialog_end(&d);
}

static void time_wait_does_not_answer_an_ack_in_order(void **state)
{
	struct dialog d = in_time_wait(&full);

	says(&d, A); /* two ends in TIME-WAIT would go on with it for a minute */
	hears_nothing(&d);
	says_at(&d, A, -1, NULL, 0);
	hears(&d, A, 0, 0);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(we_close_first_and_end_in_time_wait),
		cmocka_unit_test(the_peer_closes_first_and_no_time_wait_is_left),
		cmocka_unit_test(both_close_at_once),
		cmocka_unit_test(a_fin_that_acknowledges_ours_goes_straight_to_time_wait),
		cmocka_unit_test(fin_goes_out_behind_the_data),
		cmocka_unit_test(a_fin_with_data_delivers_both_in_order),
		cmocka_unit_test(a_fin_ahead_of_missing_data_waits),
		cmocka_unit_test(a_repeated_fin_is_acknowledged_again_in_every_state),
		cmocka_unit_test(rfc_5961_only_an_exact_reset_closes_in_every_state),
		cmocka_unit_test(rfc_5961_a_syn_is_challenged_in_every_state),
		cmocka_unit_test(abort_sends_a_reset_in_every_state),
		cmocka_unit_test(an_abort_from_within_on_receive_is_safe),
		cmocka_unit_test(data_in_fin_wait_2_keeps_the_connection_and_silence_ends_it),
		cmocka_unit_test(must_13_time_wait_lasts_60_seconds),
		cmocka_unit_test(time_wait_acknowledges_a_repeated_fin_and_begins_anew),
		cmocka_unit_test(rfc_1337_a_reset_does_not_end_time_wait),
		cmocka_unit_test(rfc_6191_a_newer_syn_opens_anew_and_an_old_one_is_answered),
		cmocka_unit_test(the_oldest_time_wait_gives_way_when_the_ring_is_full),
		cmocka_unit_test(unread_data_is_still_offered_after_both_fins),
		cmocka_unit_test(on_end_waits_for_the_last_byte_to_be_taken),
		cmocka_unit_test(must_20_the_user_timeout_gives_up_on_unacknowledged_data),
		cmocka_unit_test(an_address_that_goes_away_aborts_its_connections),
		cmocka_unit_test(a_lost_fin_is_sent_again),
		cmocka_unit_test(a_fin_without_a_way_out_waits_for_one),
		cmocka_unit_test(a_fin_without_a_way_out_gives_up_in_the_end),
		cmocka_unit_test(time_wait_does_not_answer_an_ack_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
