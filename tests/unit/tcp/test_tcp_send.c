/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Sending: the peer's window and the network's, retransmission timeout, RACK-TLP, fast recovery
 * with and without SACK, persist, path MTU (RFC 9293 3.8, RFC 5681, 6298, 6582, 8985, 9937, 1191).
 */
#include "tests/unit/tcp/dialog.h"

/* Options that make a full segment 1,460 bytes with SACK, and 1,448 with all. */
#define MSS 1460

static void hears_full(struct dialog *d, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++)
		hears(d, A, (int32_t)(i * MSS), MSS);
}

static uint32_t cwnd(const struct dialog *d)
{
	struct tcp_information i;

	harness_information(d->c, &i);
	return i.cwnd_bytes;
}

static void rfc_6928_the_initial_window_is_ten_segments(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 60000);
	hears_full(&d, 0, 10);
	hears_nothing(&d);
	dialog_end(&d);
}

static void rfc_5681_slow_start_doubles_the_window(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 60000);
	hears_full(&d, 0, 10);
	acks(&d, 10 * MSS, 0, NULL);
	hears_full(&d, 10, 20);
	hears_nothing(&d);
	assert_int_equal(cwnd(&d), 20 * MSS);
	dialog_end(&d);
}

static void rfc_7661_a_window_that_is_not_used_does_not_grow(void **state)
{
	struct dialog d = measured(&with_sack);

	for (unsigned i = 0; i < 20; i++) {
		harness_send(d.c, bytes, 100);
		hears(&d, A, 0, 100);
		d.ack += 100;
		harness_advance(d.h, 20000);
		says(&d, A);
	}
	assert_int_equal(cwnd(&d), 10 * MSS);
	dialog_end(&d);
}

static void rfc_5681_an_idle_connection_begins_again_with_the_initial_window(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 10 * MSS);
	hears_full(&d, 0, 10);
	d.ack += 10 * MSS;
	says(&d, A);
	assert_int_equal(cwnd(&d), 20 * MSS);
	harness_advance(d.h, 10000000);
	harness_send(d.c, bytes, 100);
	hears(&d, A, 0, 100);
	assert_int_equal(cwnd(&d), 10 * MSS);
	dialog_end(&d);
}

static void the_peers_window_is_never_exceeded(void **state)
{
	struct offer offer = with_sack;
	struct dialog d;

	offer.window = 4000;
	d = measured(&offer);
	/* All of it is queued: not the session's manners keep it back. */
	assert_int_equal(tcp_send(d.h->stack, d.c->handle, bytes, 60000), 0);
	hears_full(&d, 0, 2); /* the rest of the window, 1,080, waits: MUST-38 */
	hears_nothing(&d);
	acks(&d, MSS, 0, NULL);
	hears_full(&d, 2, 1);
	hears_nothing(&d);
	dialog_end(&d);
}

static void a_window_smaller_than_a_segment_is_filled_when_nothing_is_in_flight(void **state)
{
	struct offer offer = with_sack;
	struct dialog d;

	offer.window = 500;
	d = measured(&offer);
	harness_send(d.c, bytes, 2000);
	hears(&d, A, 0, 500);
	hears_nothing(&d);
	dialog_end(&d);
}

static void must_34_a_window_that_shrinks_is_survived(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 60000);
	hears_full(&d, 0, 10);
	d.window = 1000;
	acks(&d, MSS, 0, NULL); /* nine are out, beyond the new edge */
	hears_nothing(&d);
	d.window = 65535;
	acks(&d, 10 * MSS, 0, NULL);
	hears_full(&d, 10, 1);
	dialog_end(&d);
}

static void only_a_newer_segment_moves_the_window(void **state)
{
	struct dialog d = measured(&with_sack);
	struct tcp_information i;

	says_at(&d, A, 100, "b", 1); /* the newest */
	d.window = 10;
	says_at(&d, A, 0, "a", 1); /* late: it fills the hole */
	assert_int_equal(d.c->received_size, 1);
	harness_information(d.c, &i);
	assert_int_equal(i.send_window, 65535);
	dialog_end(&d);
}

static void must_35_36_a_zero_window_is_probed_and_the_probes_back_off(void **state)
{
	struct offer offer = with_sack;
	struct dialog d = measured(&offer);

	d.window = 0;
	says(&d, A);
	harness_send(d.c, bytes, 3000);
	hears_nothing(&d);
	harness_advance(d.h, 260000);
	hears(&d, A, -1, 0);
	assert_int_equal(counters(&d)->tcp_zero_window_probe, 1);
	says(&d, A); /* still closed */
	harness_advance(d.h, 300000);
	hears_nothing(&d);
	harness_advance(d.h, 250000);
	hears(&d, A, -1, 0);
	says(&d, A);
	d.window = 65535;
	says(&d, A);
	hears_full(&d, 0, 1);
	dialog_end(&d);
}

static void must_37_the_connection_lives_while_probes_are_answered(void **state)
{
	struct dialog d = measured(&with_sack);
	unsigned probes = 0;

	d.window = 0;
	says(&d, A);
	harness_send(d.c, bytes, 3000);
	for (unsigned minute = 0; minute < 30; minute++) {
		for (unsigned i = 0; i < 60; i++) {
			harness_advance(d.h, 1000000);
			while (dialog_take(&d)) {
				probes++;
				says(&d, A);
			}
		}
		assert_false(d.c->closed);
	}
	assert_in_range(probes, 30, 45); /* one a minute in the long run */
	for (unsigned i = 0; i < 400; i++) {
		harness_advance(d.h, 1000000);
		while (dialog_take(&d))
			;
	}
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_TIMED_OUT);
	dialog_end(&d);
}

static void probing_may_begin_after_any_idle_time(void **state)
{
	struct dialog d = measured(&with_sack);

	d.window = 0;
	says(&d, A);
	harness_advance(d.h, UINT64_C(1200000000)); /* longer than the user timeout */
	harness_send(d.c, bytes, 3000);
	hears_nothing(&d);
	harness_advance(d.h, 260000);
	assert_false(d.c->closed);
	hears(&d, A, -1, 0);
	dialog_end(&d);
}

static void a_shorter_user_timeout_counts_at_once(void **state)
{
	struct dialog d = measured(&plain);

	harness_send(d.c, bytes, 100);
	hears(&d, A, 0, 100);
	for (unsigned i = 0; i < 40; i++) { /* the next retransmission is half a minute away */
		harness_advance(d.h, 1000000);
		while (dialog_take(&d))
			;
	}
	tcp_set_user_timeout(d.h->stack, d.c->handle, 41000000);
	harness_advance(d.h, 1100000);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_TIMED_OUT);
	dialog_end(&d);
}

static void rfc_6298_the_timeout_doubles_and_an_ack_resets_it(void **state)
{
	struct dialog d = measured(&plain); /* without SACK there is no tail probe */

	harness_send(d.c, bytes, 100);
	hears(&d, A, 0, 100);
	harness_advance(d.h, 245000);
	hears_nothing(&d);
	harness_advance(d.h, 10000);
	hears(&d, A, 0, 100);
	harness_advance(d.h, 490000);
	hears_nothing(&d);
	harness_advance(d.h, 20000);
	hears(&d, A, 0, 100);
	assert_int_equal(counters(&d)->tcp_rto, 2);
	d.ack += 100;
	says(&d, A);
	harness_send(d.c, bytes, 100);
	hears(&d, A, 0, 100);
	harness_advance(d.h, 260000);
	hears(&d, A, 0, 100);
	dialog_end(&d);
}

static void rfc_6298_the_timeout_is_at_least_200_ms_and_at_most_a_minute(void **state)
{
	struct dialog d = connected(&v4, &plain); /* no round trip worth the name */
	struct tcp_information i;

	harness_information(d.c, &i);
	assert_in_range(i.rto_us, 200000, 202000);
	harness_send(d.c, bytes, 100);
	hears(&d, A, 0, 100);
	tcp_set_user_timeout(d.h->stack, d.c->handle, UINT64_C(1700000000));
	for (unsigned j = 0; j < 600; j++) {
		harness_advance(d.h, 1000000);
		while (dialog_take(&d))
			;
	}
	harness_information(d.c, &i);
	assert_int_equal(i.rto_us, 60000000);
	dialog_end(&d);
}

static void karn_a_retransmission_is_no_sample_without_timestamps(void **state)
{
	struct dialog d = measured(&plain);
	struct tcp_information before, after;

	harness_send(d.c, bytes, 100);
	hears(&d, A, 0, 100);
	harness_information(d.c, &before);
	harness_advance(d.h, 260000);
	hears(&d, A, 0, 100);
	harness_advance(d.h, 500);
	acks(&d, 100, 0, NULL);
	harness_information(d.c, &after);
	assert_int_equal(before.srtt_us, after.srtt_us);
	dialog_end(&d);
}

static void rfc_5681_a_timeout_collapses_the_window_to_one_segment(void **state)
{
	struct dialog d = measured(&plain);

	harness_send(d.c, bytes, 60000);
	hears_full(&d, 0, 10);
	harness_advance(d.h, 260000);
	hears_full(&d, 0, 1);
	hears_nothing(&d);
	assert_int_equal(cwnd(&d), MSS);
	acks(&d, MSS, 0, NULL);
	hears_full(&d, 1, 2);
	hears_nothing(&d);
	dialog_end(&d);
}

static void rfc_6582_three_duplicates_resend_the_first_and_a_partial_ack_the_next(void **state)
{
	struct dialog d = measured(&plain);

	harness_send(d.c, bytes, 10 * MSS);
	hears_full(&d, 0, 10);
	acks(&d, 0, 0, NULL);
	acks(&d, 0, 0, NULL);
	hears_nothing(&d);
	acks(&d, 0, 0, NULL);
	hears_full(&d, 0, 1);
	assert_int_equal(counters(&d)->tcp_fast_recovery, 1);
	acks(&d, 4 * MSS, 0, NULL); /* partial: the fourth is missing too */
	hears_full(&d, 4, 1);
	d.ack += 10 * MSS;
	says(&d, A);
	assert_int_equal(counters(&d)->tcp_rto, 0);
	assert_int_equal(cwnd(&d), 7 * MSS); /* CUBIC's beta */
	dialog_end(&d);
}

static void rfc_3042_duplicates_let_new_segments_out(void **state)
{
	struct dialog d = measured(&plain);

	harness_send(d.c, bytes, 60000);
	hears_full(&d, 0, 10);
	tcp_send(d.h->stack, d.c->handle, bytes, 3 * MSS); /* more than the window */
	acks(&d, 0, 0, NULL);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.length, MSS);
	dialog_end(&d);
}

static void rfc_8985_sacked_segments_behind_a_hole_resend_it_at_once(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 10 * MSS);
	hears_full(&d, 0, 10);
	harness_advance(d.h, 50000);
	acks(&d, 0, 1, (const uint32_t[][2]){{1 * MSS, 4 * MSS}});
	hears_full(&d, 0, 1);
	assert_int_equal(counters(&d)->tcp_fast_recovery, 1);
	acks(&d, 10 * MSS, 0, NULL);
	hears_nothing(&d);
	assert_int_equal(counters(&d)->tcp_retransmitted, 1);
	assert_int_equal(cwnd(&d), 7 * MSS);
	dialog_end(&d);
}

static void rfc_8985_one_segment_out_of_order_is_given_time(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 10 * MSS);
	hears_full(&d, 0, 10);
	harness_advance(d.h, 50000);
	acks(&d, 0, 1, (const uint32_t[][2]){{1 * MSS, 2 * MSS}});
	hears_nothing(&d); /* a quarter of the round trip to come in */
	harness_advance(d.h, 10000);
	hears_nothing(&d);
	acks(&d, 10 * MSS, 0, NULL);
	hears_nothing(&d);
	assert_int_equal(counters(&d)->tcp_retransmitted, 0);
	dialog_end(&d);
}

static void rfc_8985_the_reordering_timer_resends_what_did_not_come(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 10 * MSS);
	hears_full(&d, 0, 10);
	harness_advance(d.h, 50000);
	acks(&d, 0, 1, (const uint32_t[][2]){{1 * MSS, 2 * MSS}});
	harness_advance(d.h, 13000);
	hears_full(&d, 0, 1);
	assert_int_equal(counters(&d)->tcp_rto, 0);
	dialog_end(&d);
}

static void rfc_8985_a_lost_retransmission_is_found_without_a_timeout(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 60000);
	hears_full(&d, 0, 10);
	harness_advance(d.h, 50000);
	acks(&d, 0, 1, (const uint32_t[][2]){{1 * MSS, 10 * MSS}});
	hears_full(&d, 0, 1); /* resent, and lost again */
	while (dialog_take(&d))
		assert_true((int32_t)(d.s.seq - d.ack) >= 10 * MSS); /* new ones behind it */
	harness_advance(d.h, 50000);
	acks(&d, 0, 1, (const uint32_t[][2]){{1 * MSS, 11 * MSS}});
	harness_advance(d.h, 15000);
	hears_full(&d, 0, 1);
	assert_int_equal(counters(&d)->tcp_rto, 0);
	dialog_end(&d);
}

static void rfc_8985_a_lost_tail_is_probed_after_two_round_trips(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 3 * MSS);
	hears_full(&d, 0, 3);
	harness_advance(d.h, 95000);
	hears_nothing(&d);
	harness_advance(d.h, 10000);
	hears_full(&d, 2, 1); /* the last one */
	assert_int_equal(counters(&d)->tcp_tail_probe, 1);
	harness_advance(d.h, 50000);
	acks(&d, 0, 1, (const uint32_t[][2]){{2 * MSS, 3 * MSS}});
	hears_full(&d, 0, 1); /* now RACK knows that the others are lost */
	harness_advance(d.h, 50000);
	acks(&d, MSS, 1, (const uint32_t[][2]){{2 * MSS, 3 * MSS}});
	hears_full(&d, 1, 1);
	assert_int_equal(counters(&d)->tcp_rto, 0);
	dialog_end(&d);
}

static void rfc_8985_a_probe_that_repaired_a_loss_halves_the_window(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 3 * MSS);
	hears_full(&d, 0, 3);
	harness_advance(d.h, 105000);
	hears_full(&d, 2, 1);
	d.ack += 3 * MSS;
	says(&d, A); /* no D-SACK: only one copy came through */
	harness_send(d.c, bytes, 100);
	hears(&d, A, 0, 100);
	d.ack += 100;
	says(&d, A);
	assert_int_equal(cwnd(&d), 7 * MSS);
	dialog_end(&d);
}

static void rfc_2883_a_duplicate_probe_changes_nothing(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 3 * MSS);
	hears_full(&d, 0, 3);
	harness_advance(d.h, 105000);
	hears_full(&d, 2, 1);
	acks(&d, 3 * MSS, 1, (const uint32_t[][2]){{2 * MSS, 3 * MSS}});
	assert_int_equal(counters(&d)->tcp_dsack, 1);
	d.ack += 3 * MSS;
	harness_send(d.c, bytes, 100);
	hears(&d, A, 0, 100);
	d.ack += 100;
	says(&d, A);
	assert_int_equal(cwnd(&d), 10 * MSS);
	dialog_end(&d);
}

static void rfc_2883_a_d_sack_of_every_retransmission_restores_the_window(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 10 * MSS);
	hears_full(&d, 0, 10);
	harness_advance(d.h, 50000);
	acks(&d, 0, 1, (const uint32_t[][2]){{1 * MSS, 5 * MSS}});
	hears_full(&d, 0, 1);
	acks(&d, 10 * MSS, 1, (const uint32_t[][2]){{0, MSS}});
	assert_in_range(cwnd(&d), 10 * MSS, 20 * MSS);
	dialog_end(&d);
}

static void rfc_4015_an_echo_older_than_the_retransmission_undoes_the_timeout(void **state)
{
	struct dialog d = measured(&full);
	uint32_t echo;

	harness_send(d.c, bytes, 3 * 1448);
	hears(&d, A, 0, 1448);
	echo = d.ts_ecr;
	hears(&d, A, 1448, 1448);
	hears(&d, A, 2896, 1448);
	harness_advance(d.h, 700000); /* the path stalls: probe, then timeouts */
	while (dialog_take(&d))
		;
	assert_int_equal(cwnd(&d), 1448);
	d.ts_ecr = echo;
	acks(&d, 3 * 1448, 0, NULL);
	assert_in_range(cwnd(&d), 10 * 1448, 20 * 1448);
	dialog_end(&d);
}

static void rfc_2018_reneging_is_survived(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 10 * MSS);
	hears_full(&d, 0, 10);
	harness_advance(d.h, 50000);
	acks(&d, 0, 1, (const uint32_t[][2]){{1 * MSS, 10 * MSS}});
	hears_full(&d, 0, 1);
	acks(&d, MSS, 0, NULL); /* and of the rest it knows nothing any more */
	harness_advance(d.h, 3000000);
	d.ack += MSS;
	hears_full(&d, 0, 1);
	for (unsigned i = 1; i < 9; i++) {
		acks(&d, i * MSS, 0, NULL);
		while (dialog_take(&d))
			;
	}
	acks(&d, 9 * MSS, 0, NULL);
	assert_int_equal(tcp_unacknowledged(d.h->stack, d.c->handle), 0);
	dialog_end(&d);
}

static void sack_blocks_outside_what_is_in_flight_are_ignored(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 5 * MSS);
	hears_full(&d, 0, 5);
	harness_advance(d.h, 50000);
	acks(&d, 0, 4,
	     (const uint32_t[][2]){{4 * MSS, 6 * MSS},
				   {3 * MSS, 2 * MSS},
				   {0x80000000, 0x80001000},
				   {(uint32_t)-5000, (uint32_t)-1000}});
	hears_nothing(&d);
	harness_advance(d.h, 20000);
	hears_nothing(&d);
	dialog_end(&d);
}

static void rfc_9937_recovery_sends_at_the_rate_of_delivery(void **state)
{
	struct dialog d = measured(&with_sack);
	unsigned sent = 0;

	harness_send(d.c, bytes, 60000);
	hears_full(&d, 0, 10);
	acks(&d, 10 * MSS, 0, NULL);
	d.ack += 10 * MSS;
	hears_full(&d, 0, 20);
	harness_advance(d.h, 50000);
	for (unsigned i = 2; i <= 20; i++) { /* the first is lost, the others come one by one */
		uint32_t block[1][2] = {{MSS, i * MSS}};

		acks(&d, 0, 1, (const uint32_t(*)[2])block);
		while (dialog_take(&d))
			sent++;
	}
	assert_in_range(sent, 11, 15); /* 70 % of 20: neither a burst nor silence */
	dialog_end(&d);
}

static void rfc_1191_packet_too_big_shrinks_the_segments_and_resends(void **state)
{
	struct dialog d = measured(&with_sack);
	uint8_t icmp[2048] = {0x45}, *p = icmp + 20;
	uint8_t sent[60];
	struct tcp_information i;

	harness_send(d.c, bytes, 2 * MSS);
	hears(&d, A, 0, MSS);
	memcpy(sent, d.copy, 28);
	hears(&d, A, MSS, MSS);
	store16(icmp + 2, 56);
	icmp[8] = 64;
	icmp[9] = PROTOCOL_ICMP;
	store32(icmp + 12, 0x0a0000fe);
	memcpy(icmp + 16, d.h->address.bytes + 12, 4);
	checksum_store(icmp + 10, checksum_add(0, icmp, 20));
	p[0] = 3;
	p[1] = 4;
	store16(p + 6, 1280);
	memcpy(p + 8, sent, 28);
	checksum_store(p + 2, checksum_add(0, p, 36));
	harness_feed(d.h, icmp, 56);
	harness_information(d.c, &i);
	assert_int_equal(i.mss, 1240);
	hears(&d, A, 0, 1240);
	hears(&d, A, 1240, 220);
	hears(&d, A, 1460, 1240);
	hears(&d, A, 2700, 220);
	assert_int_equal(cwnd(&d), 10 * MSS);
	/* RFC 5927: the same about a number that is not in flight is a forgery. */
	acks(&d, 2 * MSS, 0, NULL);
	store16(p + 6, 600);
	store16(p + 2, 0);
	checksum_store(p + 2, checksum_add(0, p, 36));
	harness_feed(d.h, icmp, 56);
	harness_information(d.c, &i);
	assert_int_equal(i.mss, 1240);
	assert_int_equal(counters(&d)->icmp_error_ignored, 1);
	dialog_end(&d);
}

static void rfc_4821_a_black_hole_for_large_segments_is_noticed_by_the_third_timeout(void **state)
{
	struct dialog d = measured(&plain);
	uint32_t largest = MSS;

	harness_send(d.c, bytes, 3 * MSS);
	for (unsigned i = 0; i < 30 && largest > 1240; i++) {
		while (dialog_take(&d))
			largest = d.s.length;
		harness_advance(d.h, 100000);
	}
	assert_int_equal(counters(&d)->tcp_rto, 3);
	assert_in_range(largest, 220, 1240);
	dialog_end(&d);
}

static void our_own_syns_do_not_fill_the_backlog(void **state)
{
	struct harness_options options = {.connections = 64};
	struct script_segment syn;
	struct dialog d = listening(&options, &plain);

	for (unsigned i = 0; i < 40; i++)
		assert_non_null(harness_connect(d.h, 25));
	while (harness_take(d.h, d.copy) != 0)
		;
	d.h->script_local_port = 25;
	d.h->script_remote_port = 40000;
	syn = dialog_syn(&d, S);
	script_feed(d.h, &syn);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S | A);
	dialog_end(&d);
}

static void without_frames_nothing_is_lost_and_all_goes_out_later(void **state)
{
	struct harness_options options = {.frames = 8};
	struct frame *held[8];
	struct dialog d = connected(&options, &with_sack);
	struct frame_pool *pool = sim_frame_pool_interface(d.h->frames);

	for (unsigned i = 0; i < 8; i++)
		held[i] = frame_alloc(pool);
	harness_send(d.c, bytes, 3 * MSS);
	hears_nothing(&d);
	for (unsigned i = 0; i < 8; i++)
		frame_free(pool, held[i]);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(dialog_take(&d));
		assert_int_equal(d.s.seq - d.ack, i * MSS);
	}
	dialog_end(&d);
}

static void without_chunks_tcp_send_says_so_and_changes_nothing(void **state)
{
	struct harness_options options = {.chunks = 4};
	struct dialog d = connected(&options, &with_sack);

	assert_int_equal(tcp_send(d.h->stack, d.c->handle, bytes, 5 * CHUNK_DATA), -ENOBUFS);
	assert_int_equal(tcp_unacknowledged(d.h->stack, d.c->handle), 0);
	assert_int_equal(tcp_send(d.h->stack, d.c->handle, bytes, 4 * CHUNK_DATA), 0);
	assert_int_equal(tcp_unacknowledged(d.h->stack, d.c->handle), 4 * CHUNK_DATA);
	dialog_end(&d);
}

static void the_session_is_asked_for_no_more_than_the_window(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 60000);
	while (dialog_take(&d))
		;
	assert_int_equal(d.c->sent, 10 * MSS); /* late: the rest is not even encrypted yet */
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_6928_the_initial_window_is_ten_segments),
		cmocka_unit_test(rfc_5681_slow_start_doubles_the_window),
		cmocka_unit_test(rfc_7661_a_window_that_is_not_used_does_not_grow),
		cmocka_unit_test(rfc_5681_an_idle_connection_begins_again_with_the_initial_window),
		cmocka_unit_test(the_peers_window_is_never_exceeded),
		cmocka_unit_test(
			a_window_smaller_than_a_segment_is_filled_when_nothing_is_in_flight),
		cmocka_unit_test(must_34_a_window_that_shrinks_is_survived),
		cmocka_unit_test(only_a_newer_segment_moves_the_window),
		cmocka_unit_test(must_35_36_a_zero_window_is_probed_and_the_probes_back_off),
		cmocka_unit_test(must_37_the_connection_lives_while_probes_are_answered),
		cmocka_unit_test(probing_may_begin_after_any_idle_time),
		cmocka_unit_test(a_shorter_user_timeout_counts_at_once),
		cmocka_unit_test(rfc_6298_the_timeout_doubles_and_an_ack_resets_it),
		cmocka_unit_test(rfc_6298_the_timeout_is_at_least_200_ms_and_at_most_a_minute),
		cmocka_unit_test(karn_a_retransmission_is_no_sample_without_timestamps),
		cmocka_unit_test(rfc_5681_a_timeout_collapses_the_window_to_one_segment),
		cmocka_unit_test(
			rfc_6582_three_duplicates_resend_the_first_and_a_partial_ack_the_next),
		cmocka_unit_test(rfc_3042_duplicates_let_new_segments_out),
		cmocka_unit_test(rfc_8985_sacked_segments_behind_a_hole_resend_it_at_once),
		cmocka_unit_test(rfc_8985_one_segment_out_of_order_is_given_time),
		cmocka_unit_test(rfc_8985_the_reordering_timer_resends_what_did_not_come),
		cmocka_unit_test(rfc_8985_a_lost_retransmission_is_found_without_a_timeout),
		cmocka_unit_test(rfc_8985_a_lost_tail_is_probed_after_two_round_trips),
		cmocka_unit_test(rfc_8985_a_probe_that_repaired_a_loss_halves_the_window),
		cmocka_unit_test(rfc_2883_a_duplicate_probe_changes_nothing),
		cmocka_unit_test(rfc_2883_a_d_sack_of_every_retransmission_restores_the_window),
		cmocka_unit_test(rfc_4015_an_echo_older_than_the_retransmission_undoes_the_timeout),
		cmocka_unit_test(rfc_2018_reneging_is_survived),
		cmocka_unit_test(sack_blocks_outside_what_is_in_flight_are_ignored),
		cmocka_unit_test(rfc_9937_recovery_sends_at_the_rate_of_delivery),
		cmocka_unit_test(rfc_1191_packet_too_big_shrinks_the_segments_and_resends),
		cmocka_unit_test(
			rfc_4821_a_black_hole_for_large_segments_is_noticed_by_the_third_timeout),
		cmocka_unit_test(our_own_syns_do_not_fill_the_backlog),
		cmocka_unit_test(without_frames_nothing_is_lost_and_all_goes_out_later),
		cmocka_unit_test(without_chunks_tcp_send_says_so_and_changes_nothing),
		cmocka_unit_test(the_session_is_asked_for_no_more_than_the_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
