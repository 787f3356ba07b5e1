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

/* --- states: a connection whose ACKs the test makes up, one for each round --- */
#define RTT_US 40000u
#define BDP    (100u * MSS)

struct world {
	struct harness *h;
	struct net_stack *stack;
	struct tcb *tcb;
	struct bbr *b;
	uint32_t flight; /* bytes that are out after each round */
	uint32_t rtt_us; /* what ACKs measure */
	uint32_t pause_us;
};

static struct world world_create(void)
{
	struct harness_options options = {.seed = 1};
	struct world w = {
		.h = harness_create(&options), .flight = BDP, .rtt_us = RTT_US, .pause_us = RTT_US};
	struct harness_connection *c = harness_connect(w.h, 25);

	assert_int_equal(tcp_set_congestion(w.h->stack, c->handle, TCP_BBR), 0);
	w.stack = w.h->stack;
	w.tcb = tcb_of(w.stack, c->handle);
	w.tcb->srtt_us = RTT_US;
	w.tcb->mss = MSS;
	w.tcb->flags |= TCB_CWND_LIMITED;
	w.b = &w.stack->tcp->bbr.states[0];
	return w;
}

static void world_destroy(struct world *w)
{
	w->tcb->snd_nxt = w->tcb->snd_una;
	harness_destroy(w->h);
}

/* A round trip in which `bytes` were delivered and `lost` of what was in flight were not. */
static void round_trip(struct world *w, uint32_t bytes, uint32_t lost)
{
	struct rate_sample s = {.valid = true,
				.has_prior = true,
				.prior_delivered = w->b->rate.delivered,
				.delivered = bytes,
				.interval_us = RTT_US,
				.in_flight = bytes + lost,
				.lost = lost,
				.newly_acked = bytes};
	struct congestion_news news = {.acked = bytes,
				       .lost = lost,
				       .rtt_us = w->rtt_us,
				       .may_grow = true,
				       .limited = true,
				       .rate = &s};

	w->stack->now_us += w->pause_us;
	news.now_us = now32(w->stack);
	w->b->rate.delivered += bytes;
	w->tcb->snd_nxt = w->tcb->snd_una + w->flight;
	congestion_bbr.on_ack(w->stack, w->tcb, &news);
}

/* Startup has found the bandwidth of the path, and its queue is as long as the path. */
static struct world full_pipe(void)
{
	struct world w = world_create();

	w.flight = 2 * BDP;
	for (unsigned i = 0; i < 4; i++)
		round_trip(&w, BDP, 0);
	assert_int_equal(w.b->state, BBR_DRAIN);
	return w;
}

static struct world cruising(void)
{
	struct world w = full_pipe();

	w.flight = BDP / 2;
	round_trip(&w, BDP, 0);
	assert_int_equal(w.b->state, BBR_CRUISE);
	return w;
}

static struct world probing(void)
{
	struct world w = cruising();

	w.flight = BDP;
	w.b->probe_wait_us = 0; /* now */
	round_trip(&w, BDP, 0);
	round_trip(&w, BDP, 0);
	assert_int_equal(w.b->state, BBR_UP);
	return w;
}

/* In percent of the bandwidth. */
static unsigned pace_of(const struct world *w)
{
	return (unsigned)((double)w->b->pacing_rate * 100 / (double)w->b->bw + 0.5);
}

static void bbr_drain_paces_at_half_until_what_is_in_flight_fits_the_path(void **state)
{
	struct world w = full_pipe();

	assert_int_equal(pace_of(&w), 50);
	w.flight = BDP + 2 * MSS;
	round_trip(&w, BDP, 0);
	assert_int_equal(w.b->state, BBR_DRAIN);
	w.flight = BDP - MSS;
	round_trip(&w, BDP, 0);
	assert_in_range(w.b->state, BBR_DOWN, BBR_CRUISE);
	world_destroy(&w);
}

static void bbr_probes_in_the_order_down_cruise_refill_up_down(void **state)
{
	struct world w = full_pipe();

	w.flight = BDP - MSS;
	w.b->inflight_long = BDP; /* so that headroom keeps it in DOWN */
	round_trip(&w, BDP, 0);
	assert_int_equal(w.b->state, BBR_DOWN);
	assert_int_equal(pace_of(&w), 89); /* 90 % of 99 % */
	round_trip(&w, BDP, 0);
	assert_int_equal(w.b->state, BBR_DOWN);
	w.flight = BDP / 100 * 80;
	round_trip(&w, BDP, 0);
	assert_int_equal(w.b->state, BBR_CRUISE);
	assert_int_equal(pace_of(&w), 99);
	w.b->probe_wait_us = 0;
	round_trip(&w, BDP, 0);
	assert_int_equal(w.b->state, BBR_REFILL);
	assert_int_equal(pace_of(&w), 99);
	round_trip(&w, BDP, 0);
	assert_int_equal(w.b->state, BBR_UP);
	assert_in_range(pace_of(&w), 123, 124);
	w.b->inflight_long = BBR_NONE; /* nothing hinders it, and it gets no faster */
	for (unsigned i = 0; i < 2; i++) {
		round_trip(&w, BDP, 0);
		assert_int_equal(w.b->state, BBR_UP);
	}
	round_trip(&w, BDP, 0);
	assert_int_equal(w.b->state, BBR_DOWN);
	world_destroy(&w);
}

static void bbr_probes_every_two_to_three_seconds(void **state)
{
	for (unsigned i = 0; i < 8; i++) {
		struct world w = cruising();
		uint64_t begin;

		w.pause_us = 50000; /* 63 rounds would be longer */
		w.rtt_us = RTT_US;
		begin = w.stack->now_us - 40000;
		while (w.b->state == BBR_CRUISE)
			round_trip(&w, BDP, 0);
		assert_int_equal(w.b->state, BBR_REFILL);
		assert_in_range(w.stack->now_us - begin, 2000000, 3100000);
		world_destroy(&w);
	}
}

/* Reno would have lost a segment and be back after as many rounds as segments are in flight. */
static void bbr_probes_a_short_path_as_often_as_reno(void **state)
{
	struct world w = world_create();
	unsigned rounds = 0;

	for (unsigned i = 0; i < 4; i++)
		round_trip(&w, 12 * MSS, 0);
	w.flight = 4 * MSS;
	round_trip(&w, 12 * MSS, 0);
	assert_int_equal(w.b->state, BBR_CRUISE);
	for (; w.b->state == BBR_CRUISE; rounds++)
		round_trip(&w, 12 * MSS, 0);
	assert_in_range(rounds, 9, 12);
	world_destroy(&w);
}

static void bbr_up_ends_when_more_than_two_percent_is_lost_and_gives_back_a_part(void **state)
{
	struct world w = probing();

	round_trip(&w, BDP, 2 * MSS); /* of 102 */
	assert_int_equal(w.b->state, BBR_UP);
	assert_int_equal(w.b->inflight_long, BBR_NONE);
	round_trip(&w, BDP, 6 * MSS);
	assert_int_equal(w.b->state, BBR_DOWN);
	assert_in_range(w.b->inflight_long, 106 * MSS / 100 * 70 - MSS, 106 * MSS / 100 * 70 + MSS);
	assert_true(w.tcb->cwnd <= w.b->inflight_long);
	world_destroy(&w);
}

static void bbr_up_raises_the_long_term_bound_faster_each_round(void **state)
{
	struct world w = probing();
	uint32_t before, first, second;

	w.b->inflight_long = before = BDP;
	w.tcb->cwnd = BDP;
	round_trip(&w, BDP, 0);
	first = w.b->inflight_long - before;
	before = w.b->inflight_long;
	w.tcb->cwnd = before;
	round_trip(&w, BDP, 0);
	second = w.b->inflight_long - before;
	assert_in_range(first, MSS / 4, 2 * MSS);
	assert_in_range(second, first + MSS / 2, 4 * MSS);
	/* Not when the application has not used what there is. */
	w.tcb->flags &= ~(uint32_t)TCB_CWND_LIMITED;
	before = w.b->inflight_long;
	round_trip(&w, BDP, 0);
	assert_int_equal(w.b->inflight_long, before);
	world_destroy(&w);
}

static void bbr_cruise_leaves_headroom_below_the_long_term_bound(void **state)
{
	struct world w = cruising();

	w.b->inflight_long = BDP;
	w.tcb->cwnd = BDP;
	round_trip(&w, BDP, 0);
	assert_int_equal(w.b->state, BBR_CRUISE);
	assert_in_range(w.tcb->cwnd, BDP / 100 * 84, BDP / 100 * 86);
	world_destroy(&w);
}

static void bbr_refill_forgets_the_short_term_bounds(void **state)
{
	struct world w = cruising();
	uint64_t bw = w.b->bw;

	round_trip(&w, BDP / 10 * 9, BDP / 10);
	round_trip(&w, BDP / 10 * 9, BDP / 10);
	assert_true(w.b->bw < bw);
	assert_true(w.b->inflight_short < BBR_NONE);
	w.b->probe_wait_us = 0;
	round_trip(&w, BDP / 10 * 9, 0);
	assert_int_equal(w.b->state, BBR_REFILL);
	assert_true(w.b->bw == bw);
	assert_int_equal(w.b->inflight_short, BBR_NONE);
	world_destroy(&w);
}

static void bbr_looks_at_the_empty_path_after_five_seconds_for_200_ms(void **state)
{
	struct world w = cruising();
	uint64_t begin = w.stack->now_us - 200000, entered;

	w.rtt_us = RTT_US + 10000; /* a queue that never empties */
	do {
		w.flight = BDP;
		round_trip(&w, BDP, 0);
	} while (w.b->state != BBR_PROBE_RTT && w.stack->now_us < begin + 9000000);
	assert_in_range(w.stack->now_us - begin, 5000000, 5200000);
	assert_in_range(w.tcb->cwnd, BBR_MIN_SEGMENTS * MSS, BDP / 2);
	round_trip(&w, BDP, 0); /* too much is in flight still */
	assert_false(w.b->probe_rtt_timed);
	w.flight = BDP / 2 - MSS;
	w.rtt_us = RTT_US + 1000;
	entered = w.stack->now_us;
	while (w.b->state == BBR_PROBE_RTT)
		round_trip(&w, BDP / 2, 0);
	assert_in_range(w.stack->now_us - entered, 200000, 300000);
	assert_int_equal(w.b->state, BBR_CRUISE);
	assert_true(w.tcb->cwnd >= 2 * BDP); /* as before, and not what half of it has grown to */
	assert_int_equal(w.b->min_rtt_us, RTT_US); /* kept for ten seconds */
	world_destroy(&w);
}

static void bbr_restarts_from_idle_at_the_bandwidth_and_without_probing_the_round_trip(void **state)
{
	struct world w = probing();

	w.stack->now_us += 6000000; /* the application has nothing to send */
	w.b->rate.is_app_limited = true;
	congestion_bbr.on_first_send(w.stack, w.tcb);
	assert_int_equal(pace_of(&w), 99);
	assert_true(w.b->idle_restart);
	w.flight = 10 * MSS;
	round_trip(&w, 10 * MSS, 0);
	assert_int_not_equal(w.b->state, BBR_PROBE_RTT);
	assert_false(w.b->idle_restart);
	world_destroy(&w);
}

static void bbr_does_not_take_a_pause_within_a_flight_for_idleness(void **state)
{
	struct world w = probing();
	uint64_t rate = w.b->pacing_rate;

	w.b->rate.is_app_limited = false;
	congestion_bbr.on_first_send(w.stack, w.tcb);
	assert_false(w.b->idle_restart);
	assert_true(w.b->pacing_rate == rate);
	world_destroy(&w);
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
		cmocka_unit_test(bbr_drain_paces_at_half_until_what_is_in_flight_fits_the_path),
		cmocka_unit_test(bbr_probes_in_the_order_down_cruise_refill_up_down),
		cmocka_unit_test(bbr_probes_every_two_to_three_seconds),
		cmocka_unit_test(bbr_probes_a_short_path_as_often_as_reno),
		cmocka_unit_test(
			bbr_up_ends_when_more_than_two_percent_is_lost_and_gives_back_a_part),
		cmocka_unit_test(bbr_up_raises_the_long_term_bound_faster_each_round),
		cmocka_unit_test(bbr_cruise_leaves_headroom_below_the_long_term_bound),
		cmocka_unit_test(bbr_refill_forgets_the_short_term_bounds),
		cmocka_unit_test(bbr_looks_at_the_empty_path_after_five_seconds_for_200_ms),
		cmocka_unit_test(
			bbr_restarts_from_idle_at_the_bandwidth_and_without_probing_the_round_trip),
		cmocka_unit_test(bbr_does_not_take_a_pause_within_a_flight_for_idleness),
		cmocka_unit_test(it_fills_a_path_and_one_that_loses_one_in_a_hundred),
		cmocka_unit_test(it_fills_a_path_with_a_shallow_queue),
		cmocka_unit_test(without_memory_for_its_state_it_is_cubic_and_counted),
		cmocka_unit_test(a_round_of_slow_start_for_cubic_fills_a_clean_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
