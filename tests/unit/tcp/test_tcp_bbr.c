/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BBR version 3 and what it measures (draft-ietf-ccwg-bbr): the model by itself, and a connection
 * over a bottleneck. */
#include "dataplane/tcp/bbr.h"
#include "dataplane/tcp/internal.h"
#include "tests/sim/tcp/bench.h"
#include "tests/sim/tcp_harness.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MSS 1448u

static struct bbr fresh(void)
{
	return (struct bbr){.bw_short = BBR_NONE_RATE,
			    .inflight_short = BBR_NONE,
			    .inflight_long = BBR_NONE,
			    .state = BBR_STARTUP};
}

static const struct tcb tcb = {.mss = MSS, .cwnd = 100 * MSS};

/* A round in which bytes were delivered in 100 ms, of which `lost` more were lost. */
static struct rate_sample round_of(struct bbr *b, uint32_t bytes, uint32_t lost, bool app_limited)
{
	struct rate_sample s = {.valid = true,
				.has_prior = true,
				.app_limited = app_limited,
				.prior_delivered = b->rate.delivered,
				.delivered = bytes,
				.interval_us = 100000,
				.in_flight = bytes,
				.lost = lost,
				.newly_acked = bytes};

	b->rate.delivered += bytes;
	bbr_update_signals(b, &tcb, &s, lost, 0);
	bbr_check_full_bw(b, &s);
	bbr_advance_signals(b, &s);
	return s;
}

static void the_pipe_is_full_after_three_rounds_without_a_quarter_more(void **state)
{
	struct bbr b = fresh();

	for (uint32_t bytes = 10000; bytes <= 160000; bytes *= 2)
		round_of(&b, bytes, 0, false);
	assert_false(b.full_bw_reached);
	round_of(&b, 190000, 0, false);
	round_of(&b, 195000, 0, false);
	assert_false(b.full_bw_reached);
	round_of(&b, 198000, 0, false);
	assert_true(b.full_bw_reached);
	assert_int_equal(b.bw, 1980000);
}

static void rounds_limited_by_the_application_do_not_fill_the_pipe(void **state)
{
	struct bbr b = fresh();

	for (unsigned i = 0; i < 10; i++)
		round_of(&b, 10000, 0, true);
	assert_false(b.full_bw_reached);
}

static void a_sample_limited_by_the_application_only_raises_the_bandwidth(void **state)
{
	struct bbr b = fresh();

	round_of(&b, 100000, 0, false);
	b.cycle ^= 1;
	round_of(&b, 10000, 0, true);
	assert_int_equal(b.max_bw[b.cycle], 0);
	round_of(&b, 200000, 0, true);
	assert_int_equal(bbr_max_bw(&b), 2000000);
}

static void a_round_of_much_loss_lowers_the_short_term_bounds_to_what_came_through(void **state)
{
	struct bbr b = fresh();

	round_of(&b, 100000, 0, false);
	b.state = BBR_CRUISE;
	round_of(&b, 90000, 5000, false);
	round_of(&b, 90000, 5000, false);
	assert_in_range(b.bw, 890000, 930000);
	assert_in_range(b.inflight_short, 90000, 100 * MSS);
	bbr_reset_short_term(&b);
	bbr_advance_signals(&b, &(struct rate_sample){0});
	assert_int_equal(b.bw, 1000000);
}

static void a_round_of_little_loss_lowers_nothing(void **state)
{
	struct bbr b = fresh();

	round_of(&b, 100000, 0, false);
	b.state = BBR_CRUISE;
	for (unsigned i = 0; i < 20; i++)
		round_of(&b, 95000, 1448, false);
	assert_int_equal(b.bw, 1000000);
	assert_int_equal(b.inflight_short, BBR_NONE);
}

static void more_than_two_percent_lost_is_too_much_in_flight(void **state)
{
	struct rate_sample s = {.in_flight = 100000, .lost = 2000};

	assert_false(bbr_inflight_too_high(&s));
	s.lost = 2001;
	assert_true(bbr_inflight_too_high(&s));
}

static void the_round_trip_is_the_smallest_of_ten_seconds(void **state)
{
	struct bbr b = fresh();

	bbr_update_min_rtt(&b, 50000, 1000);
	bbr_update_min_rtt(&b, 60000, 2000);
	assert_int_equal(b.min_rtt_us, 50000);
	assert_false(b.probe_rtt_expired);
	bbr_update_min_rtt(&b, 60000, 1000 + BBR_PROBE_RTT_GAP_US + 1);
	assert_true(b.probe_rtt_expired); /* time to look at the empty path */
	assert_int_equal(b.min_rtt_us, 50000);
	bbr_update_min_rtt(&b, 60000, 1000 + BBR_MIN_RTT_US + 10);
	assert_int_equal(b.min_rtt_us, 60000);
}

/* --- over a bottleneck --- */
static double goodput(enum tcp_congestion_choice congestion, double loss, uint32_t queue)
{
	struct bench_settings s = {.congestion = congestion,
				   .rtt_us = 40000,
				   .loss = loss,
				   .rate_bits = 50000000,
				   .queue_packets = queue,
				   .seed = 3};

	return bench_bulk(&s, 1, 10000000).goodput_mbit;
}

static void it_fills_a_path_and_one_that_loses_one_in_a_hundred(void **state)
{
	assert_true(goodput(TCP_BBR, 0, 0) > 43);
	assert_true(goodput(TCP_BBR, 0.01, 0) > 38);
	assert_true(goodput(TCP_CUBIC, 0.01, 0) < 10); /* so the path does lose */
}

static void it_fills_a_path_with_a_shallow_queue(void **state)
{
	assert_true(goodput(TCP_BBR, 0, 20) > 38);
}

static void a_round_of_slow_start_for_cubic_fills_a_clean_path(void **state)
{
	assert_true(goodput(TCP_CUBIC, 0, 0) > 45);
}

static void without_memory_for_its_state_it_is_cubic_and_counted(void **state)
{
	struct harness_options options = {.seed = 1};
	struct harness *h = harness_create(&options);
	struct harness_connection *c = harness_connect(h, 25), *d = harness_connect(h, 26);

	h->stack->tcp->bbr.capacity = 1;
	assert_int_equal(tcp_set_congestion(h->stack, c->handle, TCP_BBR), 0);
	assert_int_equal(tcp_set_congestion(h->stack, d->handle, TCP_BBR), -ENOBUFS);
	assert_int_equal(net_stack_counters(h->stack)->tcp_congestion_fallback, 1);
	assert_int_equal(tcb_of(h->stack, d->handle)->congestion, TCP_CUBIC);
	/* What one gives back the other can take. */
	harness_abort(c);
	assert_int_equal(tcp_set_congestion(h->stack, d->handle, TCP_BBR), 0);
	assert_int_equal(tcp_set_congestion(h->stack, d->handle, TCP_RENO), 0);
	assert_int_equal(tcp_set_congestion(h->stack, c->handle, TCP_BBR), -ENOTCONN);
	harness_destroy(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_pipe_is_full_after_three_rounds_without_a_quarter_more),
		cmocka_unit_test(rounds_limited_by_the_application_do_not_fill_the_pipe),
		cmocka_unit_test(a_sample_limited_by_the_application_only_raises_the_bandwidth),
		cmocka_unit_test(
			a_round_of_much_loss_lowers_the_short_term_bounds_to_what_came_through),
		cmocka_unit_test(a_round_of_little_loss_lowers_nothing),
		cmocka_unit_test(more_than_two_percent_lost_is_too_much_in_flight),
		cmocka_unit_test(the_round_trip_is_the_smallest_of_ten_seconds),
		cmocka_unit_test(it_fills_a_path_and_one_that_loses_one_in_a_hundred),
		cmocka_unit_test(it_fills_a_path_with_a_shallow_queue),
		cmocka_unit_test(without_memory_for_its_state_it_is_cubic_and_counted),
		cmocka_unit_test(a_round_of_slow_start_for_cubic_fills_a_clean_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
