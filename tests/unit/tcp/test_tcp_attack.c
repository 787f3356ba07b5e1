/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Strangers and hostile peers: blind RST, SYN and data (RFC 5961), floods, optimistic ACKs, forged
 * ICMP (RFC 5927), and the bounds on what any of them costs.
 */
#include "tests/unit/tcp/raw.h"

static void rfc_5961_challenge_acks_are_limited_per_connection(void **state)
{
	struct dialog d = connected(&v4, &plain);
	unsigned heard = 0;

	for (unsigned i = 0; i < 1000; i++) {
		says_at(&d, S, 0x40000000, NULL, 0);
		while (dialog_take(&d))
			heard++;
	}
	assert_in_range(heard, 6, 19); /* randomised */
	harness_advance(d.h, 1000000);
	for (unsigned i = 0; i < 1000; i++) {
		says_at(&d, R, 5, NULL, 0);
		while (dialog_take(&d))
			heard++;
	}
	assert_in_range(heard, 12, 39);
	assert_false(d.c->closed);
	/* Another connection's limit is its own (CVE-2016-5696). */
	d.c = harness_connect(d.h, 26);
	assert_true(dialog_take(&d));
	dialog_end(&d);
}

static void rfc_5961_the_number_of_challenge_acks_tells_a_stranger_nothing(void **state)
{
	unsigned least = 1000, most = 0;

	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct harness_options options = {.seed = seed};
		struct dialog d = connected(&options, &plain);
		unsigned heard = 0;

		for (unsigned i = 0; i < 50; i++) {
			says_at(&d, S, 0x40000000, NULL, 0);
			while (dialog_take(&d))
				heard++;
		}
		least = heard < least ? heard : least;
		most = heard > most ? heard : most;
		dialog_end(&d);
	}
	assert_true(least < most);
}

static void many_small_windows_do_not_make_many_small_segments(void **state)
{
	struct dialog d = connected(&v4, &with_sack);
	unsigned small = 0;

	harness_send(d.c, bytes, 30000);
	while (dialog_take(&d))
		;
	/* The peer takes all, and then offers a byte more with each ACK. */
	d.ack += 14600;
	d.window = 0;
	says(&d, A);
	for (uint16_t i = 1; i < 500; i++) {
		d.window = i;
		says(&d, A);
		while (dialog_take(&d))
			small += d.s.length > 0 && d.s.length < 536;
	}
	assert_in_range(small, 0, 1); /* silly window avoidance (RFC 9293, 3.8.6.2.1) */
	dialog_end(&d);
}

static void an_established_connection_survives_a_flood_that_fills_the_table(void **state)
{
	struct harness_options options = {.seed = 1, .connections = 20};
	struct dialog d = accepted(&options, &full);
	struct script_segment syn;

	for (unsigned i = 0; i < 3000; i++) {
		syn = dialog_syn(&d, S);
		syn.from_port = (uint16_t)(1024 + i);
		syn.seq = i * 1000;
		script_feed(d.h, &syn);
		while (harness_take(d.h, d.copy) != 0)
			;
	}
	says_at(&d, A, 0, "hello", 5);
	assert_int_equal(d.c->received_size, 5);
	assert_true(connections(&d) <= 17);
	assert_true(counters(&d)->tcp_cookie_sent > 2000);
	dialog_end(&d);
}

static void rfc_5961_data_with_an_impossible_ack_is_not_taken(void **state)
{
	struct dialog d = connected(&v4, &plain);

	d.ack += 1; /* beyond what was sent */
	says_at(&d, A, 0, "evil", 4);
	d.ack -= 1;
	d.seq -= 4;
	hears(&d, A, 0, 0);
	d.ack -= 100000; /* older than a window */
	says_at(&d, A, 0, "evil", 4);
	d.seq -= 4;
	d.ack += 100000;
	hears(&d, A, 0, 0);
	assert_int_equal(d.c->received_size, 0);
	dialog_end(&d);
}

static void a_stranger_s_timestamp_does_not_put_the_peer_in_the_past(void **state)
{
	struct dialog d = connected(&v4, &full);
	uint32_t ack = d.ack;

	/* The sequence number was hit, the acknowledgement was not. */
	d.ts += 0x40000000;
	d.ack += 100000000;
	says_at(&d, A, 0, "evil", 4);
	d.seq -= 4;
	d.ts -= 0x40000000;
	d.ack = ack;
	hears(&d, A, 0, 0); /* the challenge */
	says_at(&d, A, 0, "good", 4);
	assert_int_equal(d.c->received_size, 4);
	assert_memory_equal(d.c->received, "good", 4);
	dialog_end(&d);
}

static void an_optimistic_ack_moves_nothing(void **state)
{
	struct dialog d = connected(&v4, &with_sack);
	struct tcp_information i;

	harness_send(d.c, bytes, 20000);
	while (dialog_take(&d))
		;
	acks(&d, 50000, 0, NULL);
	harness_information(d.c, &i);
	assert_int_equal(i.cwnd_bytes, 14600);
	assert_int_equal(i.in_flight_bytes, 14600);
	dialog_end(&d);
}

static void ack_division_gains_no_window(void **state)
{
	struct dialog whole = connected(&v4, &with_sack), split = connected(&v4, &with_sack);
	struct tcp_information a, b;

	harness_send(whole.c, bytes, 14600);
	harness_send(split.c, bytes, 14600);
	while (dialog_take(&whole))
		;
	while (dialog_take(&split))
		;
	acks(&whole, 1460, 0, NULL);
	for (unsigned i = 1; i <= 1460; i++)
		acks(&split, i, 0, NULL);
	harness_information(whole.c, &a);
	harness_information(split.c, &b);
	assert_int_equal(a.cwnd_bytes, b.cwnd_bytes);
	dialog_end(&whole);
	dialog_end(&split);
}

static void duplicate_acks_without_sack_release_no_more_than_the_window(void **state)
{
	struct offer offer = plain;
	struct dialog d;
	unsigned sent = 0;

	offer.window = 30000;
	d = connected(&v4, &offer);
	assert_int_equal(tcp_send(d.h->stack, d.c->handle, bytes, 65000), 0);
	while (dialog_take(&d))
		sent++;
	for (unsigned i = 0; i < 1000; i++) {
		acks(&d, 0, 0, NULL);
		while (dialog_take(&d))
			sent++;
	}
	/* RFC 5681's known weakness; the first was sent again. */
	assert_in_range(sent, 12, 30000 / 1460 + 1);
	dialog_end(&d);
}

static void rst_answers_are_rate_limited(void **state)
{
	struct dialog d;
	unsigned heard = 0;

	dialog_begin(&d, &v4, &plain);
	says(&d, S);
	d.seq--;
	assert_true(dialog_take(&d));
	for (unsigned i = 0; i < 1000; i++) {
		says(&d, S);
		d.seq--;
		while (dialog_take(&d))
			heard++;
	}
	assert_int_equal(heard, 49);
	assert_int_equal(counters(&d)->tcp_rst_rate_limited, 951);
	/* Somebody else's share is not touched. */
	heard = 0;
	for (uint32_t i = 0; i < 8; i++) {
		d.h->peer = ip_from_v4(0x0a000010 + i);
		says(&d, S);
		d.seq--;
		while (dialog_take(&d))
			heard++;
	}
	assert_true(heard >= 7);
	dialog_end(&d);
}

static void a_syn_flood_does_not_touch_what_is_open(void **state)
{
	struct harness_options options = {.connections = 64};
	struct dialog d = accepted(&options, &full);
	struct script_segment syn;

	for (unsigned i = 0; i < 5000; i++) {
		syn = dialog_syn(&d, S);
		syn.from_port = (uint16_t)(1024 + i);
		syn.seq = i;
		script_feed(d.h, &syn);
		while (harness_take(d.h, d.copy) != 0)
			;
	}
	assert_int_equal(connections(&d), 17);
	says_at(&d, A, 0, "hello", 5);
	assert_int_equal(d.c->received_size, 5);
	for (unsigned i = 0; i < 100; i++) { /* the half-open ones go */
		harness_advance(d.h, 1000000);
		while (harness_take(d.h, d.copy) != 0)
			;
	}
	assert_int_equal(connections(&d), 1);
	dialog_end(&d);
}

static void rfc_5461_unreachable_ends_only_a_handshake_and_only_with_its_number(void **state)
{
	struct dialog d = connecting(&v4, &plain);

	raw_feed_icmp(&d, 3, 1, 0, d.ack + 5000, 60);
	assert_false(d.c->closed);
	raw_feed_icmp(&d, 3, 1, 0, d.ack - 1, 60);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_UNREACHABLE);
	dialog_end(&d);
	d = connected(&v4, &plain);
	harness_send(d.c, "x", 1);
	hears(&d, A, 0, 1);
	raw_feed_icmp(&d, 3, 2, 0, d.ack, 60);
	assert_false(d.c->closed);
	assert_int_equal(counters(&d)->icmp_error_ignored, 1);
	dialog_end(&d);
}

static void truncated_icmp_errors_are_ignored(void **state)
{
	struct dialog d = connecting(&v4, &plain);
	uint8_t icmp[RAW_ICMP];

	for (uint16_t size = 20; size < RAW_ICMP; size++) {
		raw_icmp(&d, 3, 1, 0, d.ack - 1, 60, icmp);
		store16(icmp + 2, size);
		raw_finish_icmp(icmp);
		harness_feed(d.h, icmp, size);
	}
	assert_false(d.c->closed);
	dialog_end(&d);
}

static void a_peer_that_never_reads_holds_no_more_than_its_window(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	d.window = 0;
	says(&d, A);
	harness_send(d.c, bytes, 60000);
	for (unsigned i = 0; i < 100; i++) {
		harness_advance(d.h, 1000000);
		while (dialog_take(&d))
			says(&d, A);
	}
	assert_in_range(chunk_pool_count(d.h->chunks) - chunk_pool_available(d.h->chunks), 0, 1);
	dialog_end(&d);
}

static void random_segments_to_an_open_connection_break_nothing(void **state)
{
	struct mr_random random;

	random_init_seed(&random, 77);
	for (unsigned round = 0; round < 200; round++) {
		struct harness_options options = {.seed = round, .chunks = 64};
		struct dialog d = connected(&options, round % 2 ? &full : &with_sack);

		d.c->close_on_end = true;
		d.c->take_limit = random_below(&random, 20000);
		harness_send(d.c, bytes, 30000);
		for (unsigned i = 0; i < 300; i++) {
			struct script_segment s = dialog_base(&d, (uint8_t)random_u32(&random));

			if (random_below(&random, 8) != 0)
				s.flags = (uint8_t)((s.flags & ~(R | S)) | A);
			s.seq += random_below(&random, 6000) - 1000;
			s.ack += random_below(&random, 20000) - 2000;
			s.window = (uint16_t)random_u32(&random);
			s.size = (uint16_t)random_below(&random, 1300);
			s.data = bytes;
			s.sacks = random_below(&random, s.timestamp ? 4 : 5);
			s.ts_val += random_below(&random, 10) - 2;
			for (unsigned j = 0; j < s.sacks; j++) {
				s.sack[j][0] = d.ack + random_below(&random, 20000);
				s.sack[j][1] = s.sack[j][0] + random_below(&random, 5000);
			}
			script_feed(d.h, &s);
			if (random_below(&random, 3) == 0)
				harness_advance(d.h, random_below(&random, 400000));
			if (!d.c->closed && random_below(&random, 5) == 0)
				harness_take_more(d.c, random_below(&random, 3000));
			while (dialog_take(&d))
				;
		}
		dialog_end(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_5961_challenge_acks_are_limited_per_connection),
		cmocka_unit_test(rfc_5961_the_number_of_challenge_acks_tells_a_stranger_nothing),
		cmocka_unit_test(many_small_windows_do_not_make_many_small_segments),
		cmocka_unit_test(an_established_connection_survives_a_flood_that_fills_the_table),
		cmocka_unit_test(rfc_5961_data_with_an_impossible_ack_is_not_taken),
		cmocka_unit_test(a_stranger_s_timestamp_does_not_put_the_peer_in_the_past),
		cmocka_unit_test(an_optimistic_ack_moves_nothing),
		cmocka_unit_test(ack_division_gains_no_window),
		cmocka_unit_test(duplicate_acks_without_sack_release_no_more_than_the_window),
		cmocka_unit_test(rst_answers_are_rate_limited),
		cmocka_unit_test(a_syn_flood_does_not_touch_what_is_open),
		cmocka_unit_test(
			rfc_5461_unreachable_ends_only_a_handshake_and_only_with_its_number),
		cmocka_unit_test(truncated_icmp_errors_are_ignored),
		cmocka_unit_test(a_peer_that_never_reads_holds_no_more_than_its_window),
		cmocka_unit_test(random_segments_to_an_open_connection_break_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
