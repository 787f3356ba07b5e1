/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Congestion control by itself, judged by the equations of RFC 9438, RFC 9406 and RFC 5681. */
#include "dataplane/tcp/internal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MSS    1000u
#define RTT_US 100000u

static struct net_stack stack;

static struct tcb flow(enum tcp_congestion_choice choice)
{
	struct tcb tcb = {.mss = MSS, .congestion = (uint8_t)choice, .srtt_us = RTT_US};

	congestion_init(&stack, &tcb);
	return tcb;
}

static void ack(struct tcb *tcb, uint32_t acked, uint32_t now_us, bool limited)
{
	struct congestion_news news = {.now_us = now_us,
				       .acked = acked,
				       .since_us = RTT_US,
				       .may_grow = true,
				       .limited = limited};

	congestion_of(tcb)->on_ack(&stack, tcb, &news);
}

static void lose(struct tcb *tcb)
{
	tcb->ssthresh = congestion_reduce(&stack, tcb, CONGESTION_LOSS);
	tcb->cwnd = tcb->ssthresh;
}

static void rfc_9438_4_6_cubic_reduces_to_70_percent(void **state)
{
	struct tcb tcb = flow(TCP_CUBIC);

	tcb.cwnd = 1000 * MSS;
	lose(&tcb);
	assert_in_range(tcb.cwnd, 699000, 700000);
}

/* A round trip's worth of ACKs takes the window to the cubic, one round trip ahead. */
static void rfc_9438_4_2_the_window_lies_on_the_cubic_before_and_after_its_peak(void **state)
{
	struct tcb tcb = flow(TCP_CUBIC);
	uint32_t start = 0xffff0000; /* the clock wraps on the way */
	double k;

	tcb.cwnd = 1000 * MSS;
	lose(&tcb);
	k = cbrt((1000 - 700) / 0.4);
	for (unsigned i = 0; i < 150; i++) {
		double t = i * 0.1, d = t + 0.1 - k;
		double w = 0.4 * d * d * d + 1000;

		ack(&tcb, tcb.cwnd, start + i * RTT_US, true);
		/* In the first, Reno's estimate is ahead. */
		assert_true(i == 0 || fabs(tcb.cwnd / 1000.0 - w) < w * 0.002);
	}
}

static void rfc_9438_4_2_the_window_grows_by_no_more_than_half_in_a_round_trip(void **state)
{
	struct tcb tcb = flow(TCP_CUBIC);

	tcb.cwnd = 100 * MSS;
	lose(&tcb);
	ack(&tcb, 1, 1000, true);
	ack(&tcb, tcb.cwnd, 1000 + 60000000, true); /* a minute into the epoch */
	assert_in_range(tcb.cwnd, 104 * MSS, 106 * MSS);
}

static void rfc_9438_4_7_a_flow_that_lost_below_its_peak_aims_lower(void **state)
{
	struct tcb tcb = flow(TCP_CUBIC);
	double k = cbrt((800 * 0.85 - 560) / 0.4);
	uint32_t now = 1000;

	tcb.cwnd = 1000 * MSS;
	lose(&tcb);
	tcb.cwnd = 800 * MSS;
	lose(&tcb); /* peak 680 */
	for (; now < k * 1e6; now += RTT_US)
		ack(&tcb, tcb.cwnd, now, true);
	assert_in_range(tcb.cwnd, 679 * MSS, 681 * MSS);
}

static void rfc_9438_4_3_a_small_window_grows_as_reno_would_with_the_same_average(void **state)
{
	struct tcb tcb = flow(TCP_CUBIC);
	uint32_t now = 1000;

	tcb.srtt_us = 10000;
	tcb.cwnd = 20 * MSS;
	lose(&tcb);
	/* alpha = 3 * 0.3 / 1.7 a round trip from 14 to 20: 11.3 round trips */
	for (unsigned i = 0; i < 11; i++, now += 10000)
		ack(&tcb, tcb.cwnd, now, true);
	assert_true(fabs(tcb.cwnd / 1000.0 - (14 + 11 * 9.0 / 17)) < 0.05);
	/* Beyond the window before the loss: by a segment, as Reno. */
	ack(&tcb, tcb.cwnd, now, true);
	for (unsigned i = 0; i < 10; i++, now += 10000)
		ack(&tcb, tcb.cwnd, now, true);
	assert_true(fabs(tcb.cwnd / 1000.0 - (14 + 12 * 9.0 / 17 + 10)) < 0.1);
}

static void rfc_9438_single_acks_of_a_large_window_add_up(void **state)
{
	struct tcb tcb = flow(TCP_CUBIC);
	double d = 0.1 + 0.1 - cbrt(10000 * 0.3 / 0.4);
	double w;

	tcb.cwnd = 10000 * MSS;
	lose(&tcb);
	for (unsigned i = 0; i < 7000; i++)
		ack(&tcb, MSS, 1000 + i * RTT_US / 7000, true);
	w = 0.4 * d * d * d + 10000;
	/* It follows the cubic half a round trip behind. */
	assert_true(tcb.cwnd / 1000.0 - 7000 > (w - 7000) * 0.45);
	assert_true(tcb.cwnd / 1000.0 - 7000 < (w - 7000) * 0.55);
}

static void rfc_9438_5_8_time_without_use_of_the_window_does_not_count(void **state)
{
	struct tcb used = flow(TCP_CUBIC), paused = flow(TCP_CUBIC);
	uint32_t now = 1000, pause = 0;

	used.cwnd = paused.cwnd = 1000 * MSS;
	lose(&used);
	lose(&paused);
	for (unsigned i = 0; i < 60; i++, now += RTT_US) {
		if (i == 20) {
			for (unsigned j = 0; j < 50; j++, pause += RTT_US)
				ack(&paused, MSS, now + pause, false);
			congestion_restart(&stack, &paused, 3000000);
			pause += 3000000;
			paused.cwnd = used.cwnd;
			paused.ssthresh = used.ssthresh;
		}
		ack(&used, used.cwnd, now, true);
		ack(&paused, paused.cwnd, now + pause, true);
	}
	assert_true(fabs((double)used.cwnd - paused.cwnd) < 0.01 * used.cwnd);
}

static void rfc_7661_4_3_a_window_that_is_not_used_does_not_grow(void **state)
{
	for (unsigned choice = TCP_CUBIC; choice <= TCP_RENO; choice++) {
		struct tcb tcb = flow(choice);
		uint32_t before = tcb.cwnd;

		ack(&tcb, tcb.cwnd, 1000, false);
		assert_int_equal(tcb.cwnd, before);
		tcb.ssthresh = before;
		ack(&tcb, tcb.cwnd, 1000, false);
		assert_int_equal(tcb.cwnd, before);
	}
}

static void rfc_2861_after_a_pause_the_window_is_the_first_and_ssthresh_remembers(void **state)
{
	struct tcb tcb = flow(TCP_CUBIC);

	tcb.cwnd = 100 * MSS;
	tcb.ssthresh = 20 * MSS;
	congestion_restart(&stack, &tcb, 1000000);
	assert_int_equal(tcb.cwnd, 10 * MSS);
	assert_int_equal(tcb.ssthresh, 75 * MSS);
}

static void rfc_5681_reno_grows_by_a_segment_a_round_trip_and_halves(void **state)
{
	struct tcb tcb = flow(TCP_RENO);

	tcb.cwnd = 20000;
	tcb.ssthresh = 20000;
	for (unsigned i = 0; i < 10; i++)
		ack(&tcb, tcb.cwnd, 0, true);
	assert_int_equal(tcb.cwnd, 30000);
	assert_int_equal(congestion_reduce(&stack, &tcb, CONGESTION_LOSS), 15000);
}

/* Savage et al., 1999: many ACKs for one segment are worth no more than one. */
static void rfc_3465_ack_division_gains_nothing_in_a_later_slow_start(void **state)
{
	static const enum tcp_congestion_choice choices[] = {TCP_RENO, TCP_CUBIC};

	for (unsigned i = 0; i < 2; i++) {
		struct tcb tcb = flow(choices[i]);

		tcb.cwnd = 10000;
		tcb.ssthresh = 50000;
		for (unsigned n = 0; n < MSS; n++)
			ack(&tcb, 1, 0, true);
		assert_int_equal(tcb.cwnd, 10000 + MSS);
	}
}

static void rfc_3465_ack_division_gains_nothing_in_congestion_avoidance(void **state)
{
	struct tcb tcb = flow(TCP_RENO);

	tcb.cwnd = 20000;
	tcb.ssthresh = 20000;
	for (unsigned i = 0; i < 199; i++)
		ack(&tcb, 100, 0, true);
	assert_int_equal(tcb.cwnd, 20000);
	ack(&tcb, 100, 0, true);
	assert_int_equal(tcb.cwnd, 20000 + MSS);
}

static void rfc_5681_ssthresh_is_at_least_two_segments(void **state)
{
	for (unsigned choice = TCP_CUBIC; choice <= TCP_RENO; choice++) {
		struct tcb tcb = flow(choice);

		tcb.cwnd = MSS;
		assert_int_equal(congestion_reduce(&stack, &tcb, CONGESTION_TIMEOUT), 2 * MSS);
	}
}

static void rfc_5681_slow_start_stops_at_ssthresh(void **state)
{
	struct tcb tcb = flow(TCP_RENO);

	tcb.ssthresh = 15000;
	ack(&tcb, 10000, 0, true);
	assert_int_equal(tcb.cwnd, 15000);
}

/* --- HyStart++ --- */
struct round {
	struct hystart h;
	uint32_t una;
	uint32_t cwnd;
	bool done;
};

/* A round of `samples` ACKs with this round trip. */
static void play_round(struct round *r, unsigned samples, uint32_t rtt_us)
{
	uint32_t window = r->cwnd;

	for (unsigned i = 0; i < samples && !r->done; i++) {
		struct hystart copy = r->h;
		uint32_t part = window / (samples - i), growth;

		window -= part;
		r->una += part;
		growth = hystart_on_ack(&copy, r->una, r->una, rtt_us, part, &r->done);
		r->cwnd += hystart_on_ack(&r->h, r->una, r->una + r->cwnd + growth, rtt_us, part,
					  &r->done);
	}
}

static struct round first_rounds(void)
{
	struct round r = {.cwnd = 16000, .una = 0xfffff000};

	hystart_init(&r.h, r.una + r.cwnd);
	play_round(&r, 16, 40000);
	play_round(&r, 16, 40000);
	assert_int_equal(r.cwnd, 64000);
	return r;
}

static void rfc_9406_4_2_growing_round_trips_quarter_the_growth_and_end_slow_start(void **state)
{
	struct round r = first_rounds();
	uint32_t before;
	unsigned rounds = 0;

	/* The threshold is an eighth: 5 ms. It takes eight samples to see it. */
	play_round(&r, 16, 44900);
	assert_int_equal(r.cwnd, 128000);
	play_round(&r, 16, 51000);
	assert_in_range(r.cwnd, 128000 + 70000, 128000 + 90000);
	while (!r.done) {
		before = r.cwnd;
		rounds++;
		play_round(&r, 16, 60000);
		assert_true(r.cwnd < before * 2 && r.cwnd > before);
		assert_true(rounds < 10);
	}
	assert_int_equal(rounds, 4); /* with the one in which it began, CSS_ROUNDS */
}

/* A round trip's worth of ACKs of a connection. */
static void ack_a_round(struct tcb *tcb, uint32_t rtt_us)
{
	uint32_t part = tcb->cwnd / 16;

	for (unsigned i = 0; i < 16; i++) {
		struct congestion_news news = {
			.acked = part, .rtt_us = rtt_us, .may_grow = true, .limited = true};

		tcb->snd_una += part;
		tcb->snd_nxt = tcb->snd_una + tcb->cwnd;
		congestion_of(tcb)->on_ack(&stack, tcb, &news);
	}
}

static void rfc_9406_4_3_congestion_avoidance_begins_where_slow_start_ended(void **state)
{
	struct tcb tcb = flow(TCP_CUBIC);
	unsigned rounds = 0;

	for (unsigned i = 0; i < 3; i++)
		ack_a_round(&tcb, 40000);
	assert_true(tcb.ssthresh >= SSTHRESH_NONE);
	while (tcb.ssthresh >= SSTHRESH_NONE) {
		ack_a_round(&tcb, 60000);
		assert_true(++rounds < 10);
	}
	assert_true(tcb.ssthresh <= tcb.cwnd);
	ack_a_round(&tcb, 60000);
	assert_true(tcb.cwnd < tcb.ssthresh + tcb.ssthresh / 8);
}

static void rfc_9406_4_2_jitter_does_not_end_slow_start(void **state)
{
	struct round r = first_rounds();
	uint32_t before;

	play_round(&r, 16, 60000);
	for (unsigned i = 0; i < 3; i++)
		play_round(&r, 16, 40000);
	before = r.cwnd;
	play_round(&r, 16, 40000);
	assert_in_range(r.cwnd, before * 2 - 16, before * 2);
	assert_false(r.done);
}

static void rfc_9406_4_2_fewer_than_eight_samples_say_nothing(void **state)
{
	struct round r = first_rounds();

	play_round(&r, 4, 90000);
	assert_int_equal(r.cwnd, 128000);
	assert_false(r.done);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_9438_4_6_cubic_reduces_to_70_percent),
		cmocka_unit_test(
			rfc_9438_4_2_the_window_lies_on_the_cubic_before_and_after_its_peak),
		cmocka_unit_test(
			rfc_9438_4_2_the_window_grows_by_no_more_than_half_in_a_round_trip),
		cmocka_unit_test(rfc_9438_4_7_a_flow_that_lost_below_its_peak_aims_lower),
		cmocka_unit_test(
			rfc_9438_4_3_a_small_window_grows_as_reno_would_with_the_same_average),
		cmocka_unit_test(rfc_9438_single_acks_of_a_large_window_add_up),
		cmocka_unit_test(rfc_9438_5_8_time_without_use_of_the_window_does_not_count),
		cmocka_unit_test(rfc_7661_4_3_a_window_that_is_not_used_does_not_grow),
		cmocka_unit_test(
			rfc_2861_after_a_pause_the_window_is_the_first_and_ssthresh_remembers),
		cmocka_unit_test(rfc_5681_reno_grows_by_a_segment_a_round_trip_and_halves),
		cmocka_unit_test(rfc_3465_ack_division_gains_nothing_in_a_later_slow_start),
		cmocka_unit_test(rfc_3465_ack_division_gains_nothing_in_congestion_avoidance),
		cmocka_unit_test(rfc_5681_ssthresh_is_at_least_two_segments),
		cmocka_unit_test(rfc_5681_slow_start_stops_at_ssthresh),
		cmocka_unit_test(
			rfc_9406_4_2_growing_round_trips_quarter_the_growth_and_end_slow_start),
		cmocka_unit_test(rfc_9406_4_3_congestion_avoidance_begins_where_slow_start_ended),
		cmocka_unit_test(rfc_9406_4_2_jitter_does_not_end_slow_start),
		cmocka_unit_test(rfc_9406_4_2_fewer_than_eight_samples_say_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
