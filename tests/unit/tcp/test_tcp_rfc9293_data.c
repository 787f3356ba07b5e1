/* SPDX-License-Identifier: GPL-3.0-or-later */
/* RFC 9293, 3.7, 3.8 and 3.9.2: windows, pushing, acknowledging, urgent data, IP and ICMP. */
#include "tests/unit/tcp/raw.h"

#define MSS 1460u

/* --- windows --- */
static void must_1_rec_1_a_window_is_unsigned_and_of_32_bits(void **state)
{
	struct offer scaled = full;
	struct dialog d = connected(&v4, &plain);

	assert_int_equal(information(&d).send_window, 65535);
	dialog_end(&d);
	scaled.scale = 14;
	d = connected(&v4, &scaled);
	says(&d, A);
	assert_int_equal(information(&d).send_window, 65535u << 14);
	harness_send(d.c, bytes, 1000);
	hears(&d, A, 0, 1000);
	dialog_end(&d);
}

static void shld_15_16_behind_a_window_that_shrank_old_data_goes_and_no_new(void **state)
{
	struct dialog d = measured(&with_sack);

	/* All of it is queued: not the session's manners keep it back. */
	assert_int_equal(tcp_send(d.h->stack, d.c->handle, bytes, 30000), 0);
	for (unsigned i = 0; i < 10; i++)
		hears(&d, A, (int32_t)(i * MSS), MSS);
	d.window = 2 * MSS;
	acks(&d, MSS, 0, NULL); /* nine are out, two fit */
	hears_nothing(&d);
	for (unsigned i = 0; i < 8; i++) { /* two timeouts: a third would suspect a black hole */
		harness_advance(d.h, 100000);
		while (dialog_take(&d))
			assert_true((int32_t)(d.s.seq - d.ack) < (int32_t)(10 * MSS));
	}
	assert_true(information(&d).retransmitted_segments > 0);
	d.window = 65535;
	acks(&d, 10 * MSS, 0, NULL);
	hears(&d, A, 10 * MSS, MSS);
	dialog_end(&d);
}

static void must_37_shld_17_a_window_that_shrinks_to_zero_does_not_end_the_connection(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 5 * MSS);
	for (unsigned i = 0; i < 5; i++)
		hears(&d, A, (int32_t)(i * MSS), MSS);
	d.window = 0; /* the peer has thrown them away, and answers all that comes */
	for (unsigned second = 0; second < 1200; second++) {
		harness_advance(d.h, 1000000);
		while (dialog_take(&d))
			says(&d, A);
	}
	assert_false(d.c->closed);
	d.window = 65535;
	acks(&d, 5 * MSS, 0, NULL);
	assert_int_equal(tcp_unacknowledged(d.h->stack, d.c->handle), 0);
	dialog_end(&d);
}

/* A FIN takes a sequence number: at a zero window it would not be acceptable (3.10.7.4). It waits,
 * and the window is asked after. */
static void a_fin_waits_for_the_window_as_data_does(void **state)
{
	struct dialog d = connected(&v4, &plain);

	harness_send(d.c, bytes, 1000);
	hears(&d, A, 0, 1000);
	d.ack += 1000;
	d.window = 0;
	says(&d, A);
	harness_close(d.c);
	hears_nothing(&d);
	for (unsigned i = 0; i < 3; i++) {
		harness_advance(d.h, 70000000);
		hears(&d, A, -1, 0); /* a probe */
		while (dialog_take(&d))
			;
		says(&d, A);
		assert_false(d.c->closed);
	}
	d.window = 1;
	says(&d, A);
	hears(&d, A | F, 0, 0);
	dialog_end(&d);
}

static void a_fin_goes_with_the_last_data_only_where_both_fit_the_window(void **state)
{
	struct harness_options options = {.seed = 1};
	struct offer small = plain;
	struct dialog d;

	small.window = 500;
	d = connected(&options, &small);
	d.c->close_when_sent = true;
	harness_send(d.c, bytes, 500);
	hears(&d, A, 0, 500);
	hears_nothing(&d);
	d.ack += 500;
	says(&d, A);
	hears(&d, A | F, 0, 0);
	dialog_end(&d);
	small.window = 501;
	d = connected(&options, &small);
	d.c->close_when_sent = true;
	harness_send(d.c, bytes, 500);
	hears(&d, A | F, 0, 500);
	dialog_end(&d);
}

static void a_fin_goes_with_a_probe_only_where_both_fit_the_window(void **state)
{
	for (uint16_t room = 0; room < 2; room++) {
		struct offer offer = with_sack;
		struct dialog d;

		offer.window = (uint16_t)(10 * 1460 + 1000 + room);
		d = connected_after(&v4, &offer, 100000);
		assert_int_equal(tcp_send(d.h->stack, d.c->handle, bytes, 10 * 1460 + 1000), 0);
		harness_close(d.c);
		for (int32_t n = 0; n < 10; n++)
			hears(&d, A, n * 1460, 1460);
		hears_nothing(&d); /* that is the first congestion window */
		harness_advance(d.h, 210000);
		hears(&d, room == 0 ? A : A | F, 10 * 1460, 1000);
		dialog_end(&d);
	}
}

static void must_20_a_peer_that_went_silent_at_a_zero_window_is_given_up(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 5 * MSS);
	for (unsigned i = 0; i < 5; i++)
		hears(&d, A, (int32_t)(i * MSS), MSS);
	d.window = 0;
	says(&d, A);
	for (unsigned second = 0; second < 320; second++) {
		harness_advance(d.h, 1000000);
		while (dialog_take(&d))
			;
	}
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_TIMED_OUT);
	dialog_end(&d);
}

/* R2 as it is when nobody says otherwise. */
static void shld_11_data_is_repeated_for_five_minutes(void **state)
{
	struct dialog d = connected(&v4, &full);
	unsigned repeated = 0;

	harness_send(d.c, "x", 1);
	hears(&d, A, 0, 1);
	harness_advance(d.h, 100000000);
	assert_false(d.c->closed);
	while (dialog_take(&d))
		repeated++;
	assert_true(repeated >= 3); /* SHLD-10 */
	harness_advance(d.h, 199000000);
	assert_false(d.c->closed);
	while (dialog_take(&d))
		;
	harness_advance(d.h, 2000000);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_TIMED_OUT);
	dialog_end(&d);
}

static void rfc_6429_after_our_close_a_closed_window_holds_nothing_for_ever(void **state)
{
	for (unsigned in_flight = 0; in_flight < 2; in_flight++) {
		struct dialog d = measured(&with_sack);

		if (in_flight == 0) {
			d.window = 0;
			says(&d, A);
		}
		assert_int_equal(tcp_send(d.h->stack, d.c->handle, bytes, 1000), 0);
		harness_close(d.c);
		d.window = 0;
		for (unsigned second = 0; second < 400; second++) {
			while (dialog_take(&d))
				says(&d, A);
			harness_advance(d.h, 1000000);
		}
		assert_true(d.c->closed);
		assert_int_equal(d.c->reason, TCP_TIMED_OUT);
		dialog_end(&d);
	}
}

static void must_35_36_shld_29_30_probes_begin_after_the_rto_and_double(void **state)
{
	static const uint32_t least_ms[] = {200, 400, 800, 1600, 3200};
	struct dialog d = measured(&with_sack);

	d.window = 0;
	says(&d, A);
	harness_send(d.c, bytes, 100);
	hears_nothing(&d);
	for (unsigned i = 0; i < 5; i++) {
		unsigned waited = 0;

		while (!dialog_take(&d)) {
			harness_advance(d.h, 10000);
			waited += 10;
		}
		assert_in_range(waited, least_ms[i], least_ms[i] * 2);
		assert_int_equal(d.s.length, 0);
		says(&d, A);
	}
	dialog_end(&d);
}

static void may_8_the_window_may_stay_closed_and_probes_are_answered(void **state)
{
	struct harness_options options = {.receive_window = 1000};
	struct dialog d = connected(&options, &plain);

	d.c->take_limit = 0;
	says_at(&d, A, 0, bytes, 1000);
	harness_advance(d.h, 50000);
	hears(&d, A, 0, 0);
	for (unsigned i = 0; i < 50; i++) {
		harness_advance(d.h, 60000000);
		says_at(&d, A, 0, "x", 1); /* a probe of one byte */
		d.seq--;
		hears(&d, A, 0, 0);
		assert_int_equal(d.s.window, 0);
	}
	assert_false(d.c->closed);
	dialog_end(&d);
}

/* --- silly windows, pushing, Nagle --- */
static void must_38_a_window_is_not_filled_in_crumbs(void **state)
{
	struct offer offer = with_sack;
	struct dialog d;

	offer.window = 4 * MSS;
	d = connected(&v4, &offer);
	/* All of it is queued: not the session's manners keep it back. */
	assert_int_equal(tcp_send(d.h->stack, d.c->handle, bytes, 20000), 0);
	for (unsigned i = 0; i < 4; i++)
		hears(&d, A, (int32_t)(i * MSS), MSS);
	d.window = 3 * MSS + 100; /* acknowledged: one; the edge moves by 100 */
	acks(&d, MSS, 0, NULL);
	hears_nothing(&d);
	d.window = 4 * MSS;
	acks(&d, MSS, 0, NULL);
	hears(&d, A, 4 * MSS, MSS);
	hears_nothing(&d);
	dialog_end(&d);
}

static void
must_60_61_shld_27_28_what_is_queued_goes_in_whole_segments_the_last_pushed(void **state)
{
	struct dialog d = measured(&with_sack);

	d.window = 0;
	says(&d, A);
	for (unsigned i = 0; i < 40; i++) /* small pieces, while nothing may go */
		assert_int_equal(tcp_send(d.h->stack, d.c->handle, bytes + i * 100, 100), 0);
	hears_nothing(&d);
	d.window = 65535;
	says(&d, A);
	hears(&d, A, 0, MSS);
	assert_int_equal(d.s.flags & P, 0);
	hears(&d, A, MSS, MSS);
	assert_int_equal(d.s.flags & P, 0);
	hears(&d, A, 2 * MSS, 4000 - 2 * MSS); /* unasked, and though it is not full */
	assert_int_equal(d.s.flags & P, P);
	dialog_end(&d);
}

static void must_17_nagle_is_off_a_second_small_segment_does_not_wait(void **state)
{
	struct dialog d = connected(&v4, &plain);

	assert_int_equal(tcp_send(d.h->stack, d.c->handle, "a", 1), 0);
	hears(&d, A, 0, 1);
	assert_int_equal(tcp_send(d.h->stack, d.c->handle, "b", 1), 0);
	hears(&d, A, 1, 1);
	dialog_end(&d);
}

/* --- acknowledging --- */
static void must_40_an_ack_is_never_late_by_half_a_second(void **state)
{
	struct dialog d = connected(&v4, &plain);

	for (unsigned i = 0; i < 20; i++) {
		unsigned waited = 0;

		says_at(&d, A, 0, bytes, 1 + i * 50);
		while (!dialog_take(&d)) {
			harness_advance(d.h, 1000);
			waited++;
		}
		assert_true(waited < 100);
		assert_int_equal(d.s.ack, d.seq);
		harness_advance(d.h, 777777);
	}
	dialog_end(&d);
}

static void must_58_59_what_came_together_is_acknowledged_together(void **state)
{
	struct dialog d = connected(&v4, &plain);

	for (unsigned i = 0; i < 8; i++)
		says_at(&d, A, 0, bytes, 500);
	hears(&d, A, 0, 0);
	hears_nothing(&d);
	assert_int_equal(d.c->received_size, 4000);
	dialog_end(&d);
}

static void must_25_an_idle_connection_sends_nothing_for_a_day(void **state)
{
	struct dialog d = connected(&v4, &full);

	for (unsigned hour = 0; hour < 24; hour++) {
		harness_advance(d.h, 3600000000);
		hears_nothing(&d);
	}
	says_at(&d, A, 0, "x", 1);
	assert_int_equal(d.c->received_size, 1);
	dialog_end(&d);
}

/* --- urgent data --- */
static void must_30_31_urgent_data_of_any_length_comes_in_line(void **state)
{
	static const uint16_t pointers[] = {0, 1, 3, 500, 65535};
	struct dialog d = connected(&v4, &plain);
	size_t total = 0;

	for (unsigned i = 0; i < 5; i++) {
		struct script_segment s = dialog_base(&d, A | TCP_URG);
		uint8_t packet[2048];
		size_t size;

		s.data = bytes;
		s.size = 500;
		size = script_build(d.h, &s, packet);
		store16(packet + 38, pointers[i]);
		raw_finish(packet, size);
		harness_feed(d.h, packet, size);
		d.seq += 500;
		total += 500;
		assert_int_equal(d.c->received_size, total);
		assert_memory_equal(d.c->received + total - 500, bytes, 500);
	}
	dialog_end(&d);
}

static void shld_13_we_never_send_urgent_data(void **state)
{
	struct dialog d = connected(&v4, &plain);

	harness_send(d.c, bytes, 3000);
	while (dialog_take(&d)) {
		assert_int_equal(d.s.flags & TCP_URG, 0);
		assert_int_equal(load16(d.copy + 38), 0);
	}
	dialog_end(&d);
}

/* --- IP --- */
static void must_48_49_ttl_is_64_and_no_diffserv_class_is_set(void **state)
{
	struct harness_options v6 = {.v6 = true};
	struct dialog d = connecting(&v4, &plain);

	assert_int_equal(d.copy[8], 64);
	assert_int_equal(d.copy[1], 0);
	dialog_end(&d);
	d = connecting(&v6, &plain);
	assert_int_equal(d.copy[7], 64);
	assert_int_equal(load16(d.copy) & 0x0fff, 0);
	dialog_end(&d);
}

static void must_50_ip_options_on_a_segment_are_passed_over(void **state)
{
	static const uint8_t record_route[] = {7, 7, 4, 0, 0, 0, 0, 0};
	static const uint8_t timestamp[] = {68, 8, 5, 0, 0, 0, 0, 0};
	static const uint8_t alert[] = {1, 148, 4, 0, 0, 0, 0, 0};
	const uint8_t *const options[] = {record_route, timestamp, alert};
	struct dialog d = connected(&v4, &plain);

	for (unsigned i = 0; i < 3; i++) {
		struct script_segment s = dialog_base(&d, A);

		s.data = "abc";
		s.size = 3;
		raw_feed_ip_options(&d, &s, options[i], 8);
		d.seq += 3;
		assert_int_equal(d.c->received_size, 3 * (i + 1));
		harness_advance(d.h, 50000);
		hears(&d, A, 0, 0);
		assert_int_equal(d.copy[0], 0x45); /* none in the answer */
	}
	dialog_end(&d);
}

static void must_51_53_source_routes_are_refused(void **state)
{
	static const uint8_t loose[] = {131, 7, 4, 10, 0, 0, 9, 0};
	static const uint8_t strict[] = {137, 7, 4, 10, 0, 0, 9, 0};
	struct dialog d = connected(&v4, &plain);
	struct script_segment s = dialog_base(&d, A);

	s.data = "abc";
	s.size = 3;
	raw_feed_ip_options(&d, &s, loose, 8);
	raw_feed_ip_options(&d, &s, strict, 8);
	assert_int_equal(d.c->received_size, 0);
	assert_int_equal(counters(&d)->drop_ip_options, 2);
	hears_nothing(&d);
	dialog_end(&d);
}

/* --- ICMP --- */
static void must_54_55_source_quench_and_what_is_unknown_are_ignored(void **state)
{
	static const uint8_t types[][2] = {{4, 0}, {5, 0}, {5, 1}, {9, 0}, {3, 16}, {200, 0}};
	struct dialog d = connected(&v4, &plain);
	uint32_t cwnd = information(&d).cwnd_bytes;

	harness_send(d.c, bytes, 1000);
	hears(&d, A, 0, 1000);
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		raw_feed_icmp(&d, types[i][0], types[i][1], 0, d.ack, 1040);
	assert_false(d.c->closed);
	assert_int_equal(information(&d).cwnd_bytes, cwnd);
	hears_nothing(&d);
	dialog_end(&d);
	d = connecting(&v4, &plain); /* nor do they refuse */
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		raw_feed_icmp(&d, types[i][0], types[i][1], 0, d.ack - 1, 60);
	assert_false(d.c->closed);
	dialog_end(&d);
}

static void must_56_soft_errors_end_no_open_connection(void **state)
{
	static const uint8_t types[][2] = {{3, 0},  {3, 1},  {3, 5}, {11, 0},
					   {11, 1}, {12, 0}, {12, 1}};
	struct dialog d = connected(&v4, &plain);

	harness_send(d.c, bytes, 1000);
	hears(&d, A, 0, 1000);
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		raw_feed_icmp(&d, types[i][0], types[i][1], 0, d.ack, 1040);
	assert_false(d.c->closed);
	assert_string_equal(dialog_state(&d), "ESTABLISHED");
	dialog_end(&d);
}

static void must_56_time_exceeded_and_parameter_problem_end_no_handshake(void **state)
{
	static const uint8_t types[][2] = {{11, 0}, {11, 1}, {12, 0}, {12, 1}};
	struct dialog d = connecting(&v4, &plain);

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		raw_feed_icmp(&d, types[i][0], types[i][1], 0, d.ack - 1, 60);
	assert_false(d.c->closed);
	dialog_end(&d);
}

static void rfc_5927_hard_errors_end_no_synchronized_connection(void **state)
{
	struct dialog d = connected(&v4, &plain);

	harness_send(d.c, bytes, 1000);
	hears(&d, A, 0, 1000);
	for (unsigned code = 2; code < 4; code++)
		raw_feed_icmp(&d, 3, (uint8_t)code, 0, d.ack, 1040);
	assert_false(d.c->closed);
	assert_int_equal(counters(&d)->icmp_error_ignored, 2);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(must_1_rec_1_a_window_is_unsigned_and_of_32_bits),
		cmocka_unit_test(shld_15_16_behind_a_window_that_shrank_old_data_goes_and_no_new),
		cmocka_unit_test(
			must_37_shld_17_a_window_that_shrinks_to_zero_does_not_end_the_connection),
		cmocka_unit_test(a_fin_waits_for_the_window_as_data_does),
		cmocka_unit_test(a_fin_goes_with_the_last_data_only_where_both_fit_the_window),
		cmocka_unit_test(a_fin_goes_with_a_probe_only_where_both_fit_the_window),
		cmocka_unit_test(must_20_a_peer_that_went_silent_at_a_zero_window_is_given_up),
		cmocka_unit_test(shld_11_data_is_repeated_for_five_minutes),
		cmocka_unit_test(rfc_6429_after_our_close_a_closed_window_holds_nothing_for_ever),
		cmocka_unit_test(must_35_36_shld_29_30_probes_begin_after_the_rto_and_double),
		cmocka_unit_test(may_8_the_window_may_stay_closed_and_probes_are_answered),
		cmocka_unit_test(must_38_a_window_is_not_filled_in_crumbs),
		cmocka_unit_test(
			must_60_61_shld_27_28_what_is_queued_goes_in_whole_segments_the_last_pushed),
		cmocka_unit_test(must_17_nagle_is_off_a_second_small_segment_does_not_wait),
		cmocka_unit_test(must_40_an_ack_is_never_late_by_half_a_second),
		cmocka_unit_test(must_58_59_what_came_together_is_acknowledged_together),
		cmocka_unit_test(must_25_an_idle_connection_sends_nothing_for_a_day),
		cmocka_unit_test(must_30_31_urgent_data_of_any_length_comes_in_line),
		cmocka_unit_test(shld_13_we_never_send_urgent_data),
		cmocka_unit_test(must_48_49_ttl_is_64_and_no_diffserv_class_is_set),
		cmocka_unit_test(must_50_ip_options_on_a_segment_are_passed_over),
		cmocka_unit_test(must_51_53_source_routes_are_refused),
		cmocka_unit_test(must_54_55_source_quench_and_what_is_unknown_are_ignored),
		cmocka_unit_test(must_56_soft_errors_end_no_open_connection),
		cmocka_unit_test(must_56_time_exceeded_and_parameter_problem_end_no_handshake),
		cmocka_unit_test(rfc_5927_hard_errors_end_no_synchronized_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
