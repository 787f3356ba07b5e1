/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * BBR version 3 (draft-ietf-ccwg-bbr): the path's bandwidth and round trip are measured, what is
 * sent follows from them; loss moves bounds and is not an order to halve. Startup finds the
 * bandwidth, Drain empties the queue that it made, ProbeBW goes through DOWN, CRUISE, REFILL and
 * UP, ProbeRTT looks at the empty path every five seconds.
 */
#include "dataplane/tcp/bbr.h"

#include "dataplane/tcp/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* In percent, by state (draft, 5.1). */
static const struct {
	uint16_t pacing;
	uint16_t cwnd;
} gains[] = {
	[BBR_STARTUP] = {277, 200},  [BBR_DRAIN] = {50, 200},	[BBR_DOWN] = {90, 200},
	[BBR_CRUISE] = {100, 200},   [BBR_REFILL] = {100, 200}, [BBR_UP] = {125, 225},
	[BBR_PROBE_RTT] = {100, 50},
};

int bbr_pool_init(struct bbr_pool *pool, uint32_t states)
{
	*pool = (struct bbr_pool){.capacity = states};
	pool->states =
		aligned_alloc(64, (((size_t)states * sizeof(struct bbr)) + 63) & ~(size_t)63);
	return pool->states != NULL ? 0 : -ENOMEM;
}

void bbr_pool_free(struct bbr_pool *pool)
{
	free(pool->states);
	pool->states = NULL;
}

/* The TCB holds the index + 1. */
static uint32_t link_of(const struct tcb *tcb)
{
	uint32_t link;

	memcpy(&link, tcb->congestion_state, sizeof(link));
	return link;
}

static struct bbr *bbr_of(const struct net_stack *stack, const struct tcb *tcb)
{
	return &stack->tcp->bbr.states[link_of(tcb) - 1];
}

/* What the functions without a stack need lies in the TCB too. */
static void store_link(struct tcb *tcb, uint32_t link)
{
	memcpy(tcb->congestion_state, &link, sizeof(link));
}

/* 5.6.2: before the first sample. */
static void init_pacing_rate(struct bbr *b, const struct tcb *tcb)
{
	uint32_t rtt_us = tcb->srtt_us != 0 ? tcb->srtt_us : 1000;

	b->pacing_rate = (uint64_t)tcb->cwnd * 1000000 / rtt_us * gains[BBR_STARTUP].pacing / 100;
	b->rtt_pacing = tcb->srtt_us != 0;
}

static int bbr_init(struct net_stack *stack, struct tcb *tcb)
{
	struct bbr_pool *pool = &stack->tcp->bbr;
	uint32_t now = now32(stack), link = pool->free;
	struct bbr *b;

	if (link != 0)
		pool->free = pool->states[link - 1].next;
	else if (pool->fresh < pool->capacity)
		link = ++pool->fresh;
	else
		return -ENOBUFS;
	store_link(tcb, link);
	b = bbr_of(stack, tcb);
	*b = (struct bbr){
		.rate = {.delivered_us = now, .first_sent_us = now},
		.bw_short = BBR_NONE_RATE,
		.inflight_short = BBR_NONE,
		.inflight_long = BBR_NONE,
		.min_rtt_us = tcb->min_rtt_us,
		.min_rtt_at_us = now,
		.probe_rtt_us = tcb->min_rtt_us,
		.probe_rtt_at_us = now,
		.extra_at_us = now,
		.state = BBR_STARTUP,
	};
	init_pacing_rate(b, tcb);
	return 0;
}

static void bbr_release(struct net_stack *stack, struct tcb *tcb)
{
	uint32_t link = link_of(tcb);

	if (link == 0)
		return;
	bbr_of(stack, tcb)->next = stack->tcp->bbr.free;
	stack->tcp->bbr.free = link;
	store_link(tcb, 0);
}

/* Losses leave the window to the model; ssthresh is nobody's but must not end slow start of
 * another algorithm that may follow. */
static uint32_t bbr_reduce(struct net_stack *stack, struct tcb *tcb, enum congestion_event event)
{
	struct bbr *b = bbr_of(stack, tcb);

	if (event == CONGESTION_ECN) { /* as a round with losses */
		b->loss_in_round = true;
		return tcb->ssthresh;
	}
	if (b->state != BBR_PROBE_RTT && (tcb->flags & TCB_LOSS) == 0)
		b->prior_cwnd = tcb->cwnd;
	b->recovery_rounds = 0;
	b->loss_events = 0;
	return tcb->ssthresh;
}

static void restore_window(const struct bbr *b, struct tcb *tcb)
{
	if (tcb->cwnd < b->prior_cwnd)
		tcb->cwnd = b->prior_cwnd;
}

static void bbr_recovered(struct net_stack *stack, struct tcb *tcb)
{
	restore_window(bbr_of(stack, tcb), tcb);
}

/* --- states --- */
static void start_down(struct net_stack *stack, struct bbr *b)
{
	struct mr_random *random = stack->settings.random;

	b->loss_in_round = false;
	b->bw_latest = 0;
	b->inflight_latest = 0;
	b->probe_up_count = 0;
	/* 5.3.3.8: two to three seconds, so that flows do not probe together. */
	b->rounds_since_probe = random_below(random, 2);
	b->probe_wait_us = 2000000 + random_below(random, 1000000);
	b->cycle_us = now32(stack);
	b->ack_phase = BBR_ACKS_STOPPING;
	bbr_start_round(b);
	b->state = BBR_DOWN;
}

static void start_refill(struct bbr *b)
{
	bbr_reset_short_term(b);
	b->probe_up_rounds = 0;
	b->probe_up_acks = 0;
	b->ack_phase = BBR_ACKS_REFILLING;
	bbr_start_round(b);
	b->state = BBR_REFILL;
}

/* 5.3.3.6: twice as fast each round. */
static void raise_slope(struct bbr *b, const struct tcb *tcb)
{
	uint32_t growth = (uint32_t)tcb->mss << (b->probe_up_rounds < 15 ? b->probe_up_rounds : 15);

	if (b->probe_up_rounds < 30)
		b->probe_up_rounds++;
	b->probe_up_count = tcb->cwnd / growth > 1 ? tcb->cwnd / growth : 1;
}

static void start_up(struct bbr *b, const struct tcb *tcb, const struct rate_sample *s)
{
	b->ack_phase = BBR_ACKS_STARTING;
	bbr_start_round(b);
	bbr_reset_full_bw(b);
	b->full_bw = bbr_sample_bw(s);
	b->state = BBR_UP;
	raise_slope(b, tcb);
}

static bool window_limited(const struct tcb *tcb)
{
	return (tcb->flags & TCB_CWND_LIMITED) != 0;
}

/*
 * 5.5.10.2. Deviation from the draft, which keeps what was in flight when too much was lost: then
 * all that probe grow by as much, none gives way, and whoever has most keeps most (32 flows, Jain's
 * index 0.5 to 0.8). To give a part of it back makes shares even out, as it does for Reno.
 */
static void inflight_too_high(struct net_stack *stack, struct bbr *b, const struct tcb *tcb,
			      const struct rate_sample *s)
{
	b->probe_samples = false;
	if (!s->app_limited) {
		uint32_t target = bbr_target_inflight(b, tcb);
		uint32_t flight = s->in_flight > target ? s->in_flight : target;

		b->inflight_long = (uint32_t)((uint64_t)flight * BBR_BETA / 100);
	}
	if (b->state == BBR_UP)
		start_down(stack, b);
}

static void probe_upward(struct bbr *b, const struct tcb *tcb, const struct rate_sample *s)
{
	if (!window_limited(tcb) || tcb->cwnd < b->inflight_long || b->probe_up_count == 0)
		return;
	b->probe_up_acks += s->newly_acked;
	if (b->probe_up_acks >= b->probe_up_count) {
		uint32_t delta = b->probe_up_acks / b->probe_up_count;

		b->probe_up_acks -= delta * b->probe_up_count;
		if (b->inflight_long < CWND_MAX)
			b->inflight_long += delta;
	}
	if (b->round_start)
		raise_slope(b, tcb);
}

static void adapt_long_term(struct net_stack *stack, struct bbr *b, const struct tcb *tcb,
			    const struct rate_sample *s)
{
	if (b->round_start && b->ack_phase == BBR_ACKS_STARTING)
		b->ack_phase = BBR_ACKS_FEEDBACK;
	if (b->round_start && b->ack_phase == BBR_ACKS_STOPPING) {
		b->probe_samples = false;
		b->ack_phase = BBR_ACKS_INIT;
		if (bbr_in_probe_bw(b) && !s->app_limited) { /* the next cycle of the filter */
			b->cycle ^= 1;
			b->max_bw[b->cycle] = 0;
		}
	}
	if (!s->has_prior)
		return;
	if (bbr_inflight_too_high(s)) {
		if (b->probe_samples)
			inflight_too_high(stack, b, tcb, s);
		return;
	}
	if (b->inflight_long == BBR_NONE)
		return;
	if (s->in_flight > b->inflight_long)
		b->inflight_long = s->in_flight;
	if (b->state == BBR_UP)
		probe_upward(b, tcb, s);
}

static bool time_to_probe(struct bbr *b, const struct tcb *tcb, uint32_t now_us)
{
	/* As often as Reno would have lost, for the sake of those that share the path. */
	uint32_t reno_rounds = bbr_target_inflight(b, tcb) / tcb->mss;

	if (now_us - b->cycle_us <= b->probe_wait_us &&
	    b->rounds_since_probe < (reno_rounds < 63 ? reno_rounds : 63))
		return false;
	start_refill(b);
	return true;
}

static bool time_to_cruise(const struct bbr *b, const struct tcb *tcb)
{
	uint32_t pipe = tcb_pipe(tcb);

	return pipe <= bbr_with_headroom(b, tcb) && pipe <= bbr_bdp(b, tcb, bbr_max_bw(b), 100);
}

static bool time_to_go_down(struct bbr *b, const struct tcb *tcb, const struct rate_sample *s)
{
	if (window_limited(tcb) && tcb->cwnd >= b->inflight_long) {
		bbr_reset_full_bw(b); /* the bandwidth cannot show yet */
		b->full_bw = bbr_sample_bw(s);
		return false;
	}
	return b->full_bw_now;
}

static void update_cycle(struct net_stack *stack, struct bbr *b, const struct tcb *tcb,
			 const struct rate_sample *s)
{
	if (!b->full_bw_reached)
		return;
	adapt_long_term(stack, b, tcb, s);
	switch ((enum bbr_state)b->state) {
	case BBR_DOWN:
		if (!time_to_probe(b, tcb, now32(stack)) && time_to_cruise(b, tcb))
			b->state = BBR_CRUISE;
		return;
	case BBR_CRUISE:
		time_to_probe(b, tcb, now32(stack));
		return;
	case BBR_REFILL:
		if (b->round_start) {
			b->probe_samples = true;
			start_up(b, tcb, s);
		}
		return;
	case BBR_UP:
		if (time_to_go_down(b, tcb, s))
			start_down(stack, b);
		return;
	default:
		return;
	}
}

/* 5.3.1.3: a round of recovery that lost too much, in too many places. */
static void check_startup_loss(struct bbr *b, const struct tcb *tcb, const struct rate_sample *s)
{
	uint32_t bdp;

	if (b->full_bw_reached || (tcb->flags & TCB_RECOVERY) == 0 || !b->round_start)
		return;
	if (b->recovery_rounds++ > 0 && b->loss_events >= BBR_FULL_LOSS_COUNT && s->has_prior &&
	    bbr_inflight_too_high(s)) {
		b->full_bw_reached = true;
		bdp = bbr_bdp(b, tcb, bbr_max_bw(b), 100);
		b->inflight_long = bdp > b->inflight_latest ? bdp : b->inflight_latest;
	}
	b->loss_events = 0;
}

static void check_startup_and_drain(struct net_stack *stack, struct bbr *b, const struct tcb *tcb,
				    const struct rate_sample *s)
{
	if (b->state == BBR_STARTUP) {
		check_startup_loss(b, tcb, s);
		if (b->full_bw_reached)
			b->state = BBR_DRAIN;
	}
	if (b->state == BBR_DRAIN && tcb_pipe(tcb) <= bbr_bdp(b, tcb, b->bw, 100))
		start_down(stack, b);
}

/* --- ProbeRTT (5.3.4) --- */
static uint32_t probe_rtt_window(const struct bbr *b, const struct tcb *tcb)
{
	uint32_t window = bbr_bdp(b, tcb, b->bw, gains[BBR_PROBE_RTT].cwnd);

	return window > bbr_min_window(tcb) ? window : bbr_min_window(tcb);
}

static void check_probe_rtt_done(struct net_stack *stack, struct bbr *b, struct tcb *tcb)
{
	if (!b->probe_rtt_timed || (int32_t)(now32(stack) - b->probe_rtt_done_us) < 0)
		return;
	b->probe_rtt_at_us = now32(stack);
	restore_window(b, tcb);
	bbr_reset_short_term(b);
	if (b->full_bw_reached) {
		start_down(stack, b);
		b->state = BBR_CRUISE;
	} else {
		b->state = BBR_STARTUP;
	}
}

static void check_probe_rtt(struct net_stack *stack, struct bbr *b, struct tcb *tcb,
			    const struct rate_sample *s)
{
	if (b->state != BBR_PROBE_RTT && b->probe_rtt_expired && !b->idle_restart) {
		b->state = BBR_PROBE_RTT;
		b->prior_cwnd = tcb->cwnd;
		b->probe_rtt_timed = false;
		b->ack_phase = BBR_ACKS_STOPPING;
		bbr_start_round(b);
	}
	if (b->state == BBR_PROBE_RTT) {
		rate_app_limited(stack, tcb);
		if (!b->probe_rtt_timed && tcb_pipe(tcb) <= probe_rtt_window(b, tcb)) {
			b->probe_rtt_timed = true;
			b->probe_rtt_done_us = now32(stack) + BBR_PROBE_RTT_US;
			b->probe_rtt_round_done = false;
			bbr_start_round(b);
		} else if (b->probe_rtt_timed) {
			b->probe_rtt_round_done |= b->round_start;
			if (b->probe_rtt_round_done)
				check_probe_rtt_done(stack, b, tcb);
		}
	}
	if (s->delivered > 0)
		b->idle_restart = false;
}

/* --- control (5.6) --- */
static void set_pacing_rate(struct bbr *b, const struct tcb *tcb)
{
	uint64_t rate = b->bw / 100 * gains[b->state].pacing / 100 * BBR_PACE;

	if (!b->rtt_pacing && tcb->srtt_us != 0)
		init_pacing_rate(b, tcb);
	if (rate != 0 && (b->full_bw_reached || rate > b->pacing_rate))
		b->pacing_rate = rate;
}

static uint32_t max_inflight(const struct bbr *b, const struct tcb *tcb)
{
	uint64_t bytes =
		(uint64_t)bbr_bdp(b, tcb, b->bw, gains[b->state].cwnd) + bbr_extra_acked(b);
	uint64_t budget = 3 * (b->pacing_rate / 1000); /* quanta of a millisecond */

	if (budget < 6u * tcb->mss)
		budget = 6u * tcb->mss;
	if (bytes < budget)
		bytes = budget;
	if (b->state == BBR_UP)
		bytes += 2u * tcb->mss;
	return bytes < CWND_MAX ? (uint32_t)bytes : CWND_MAX;
}

static void bound_window(const struct bbr *b, struct tcb *tcb)
{
	uint32_t cap = BBR_NONE, least = bbr_min_window(tcb);

	if (bbr_in_probe_bw(b) && b->state != BBR_CRUISE)
		cap = b->inflight_long;
	else if (b->state == BBR_PROBE_RTT || b->state == BBR_CRUISE)
		cap = bbr_with_headroom(b, tcb);
	if (cap > b->inflight_short)
		cap = b->inflight_short;
	if (b->state == BBR_PROBE_RTT && cap > probe_rtt_window(b, tcb))
		cap = probe_rtt_window(b, tcb);
	if (cap < least)
		cap = least;
	if (tcb->cwnd > cap)
		tcb->cwnd = cap;
}

static void set_window(const struct bbr *b, struct tcb *tcb, const struct rate_sample *s)
{
	uint32_t most = max_inflight(b, tcb), grown = tcb->cwnd + s->newly_acked;

	if (b->full_bw_reached)
		tcb->cwnd = grown < most ? grown : most;
	else if (tcb->cwnd < most || b->rate.delivered < congestion_initial_window(tcb))
		tcb->cwnd = grown < CWND_MAX ? grown : CWND_MAX;
	if (tcb->cwnd < bbr_min_window(tcb))
		tcb->cwnd = bbr_min_window(tcb);
	bound_window(b, tcb);
}

static void bbr_on_ack(struct net_stack *stack, struct tcb *tcb, const struct congestion_news *news)
{
	static const struct rate_sample nothing;
	const struct rate_sample *s = news->rate != NULL ? news->rate : &nothing;
	struct bbr *b = bbr_of(stack, tcb);

	bbr_update_signals(b, tcb, s, news->lost, news->now_us);
	bbr_check_full_bw(b, s);
	check_startup_and_drain(stack, b, tcb, s);
	update_cycle(stack, b, tcb, s);
	bbr_update_min_rtt(b, news->rtt_us, news->now_us);
	check_probe_rtt(stack, b, tcb, s);
	bbr_advance_signals(b, s);
	set_pacing_rate(b, tcb);
	set_window(b, tcb, s);
}

/* 5.5.10.2: the loss itself may tell, before an ACK does. */
static void bbr_on_lost(struct net_stack *stack, struct tcb *tcb, const struct rate_sample *lost,
			uint32_t size)
{
	struct bbr *b = bbr_of(stack, tcb);
	struct rate_sample s = *lost;
	uint32_t flight = s.in_flight > size ? s.in_flight - size : 0;
	uint32_t before = s.lost > size ? s.lost - size : 0;
	int64_t prefix;

	if (!b->probe_samples || !bbr_inflight_too_high(&s))
		return;
	/* What was in flight when the threshold was crossed, within this segment. */
	prefix = ((int64_t)flight * BBR_LOSS_THRESHOLD - (int64_t)before * 100) /
		 (100 - (int64_t)BBR_LOSS_THRESHOLD);
	s.in_flight = flight + (prefix > 0 ? (uint32_t)prefix : 0);
	inflight_too_high(stack, b, tcb, &s);
}

/* 5.4.1 */
static void bbr_on_first_send(struct net_stack *stack, struct tcb *tcb)
{
	struct bbr *b = bbr_of(stack, tcb);

	if (!b->rate.is_app_limited)
		return;
	b->idle_restart = true;
	b->extra_at_us = now32(stack);
	b->extra_delivered = 0;
	if (bbr_in_probe_bw(b))
		b->pacing_rate = b->bw / 100 * BBR_PACE;
	else if (b->state == BBR_PROBE_RTT)
		check_probe_rtt_done(stack, b, tcb);
}

static void bbr_restart(struct net_stack *stack, struct tcb *tcb, uint32_t idle_us)
{
}

static struct rate_state *bbr_rate(struct net_stack *stack, struct tcb *tcb)
{
	return &bbr_of(stack, tcb)->rate;
}

static uint64_t bbr_pacing_rate(const struct net_stack *stack, const struct tcb *tcb)
{
	return bbr_of(stack, tcb)->pacing_rate;
}

static bool bbr_starting(const struct net_stack *stack, const struct tcb *tcb)
{
	return bbr_of(stack, tcb)->state == BBR_STARTUP;
}

const struct tcp_congestion congestion_bbr = {
	.name = "bbr",
	.init = bbr_init,
	.release = bbr_release,
	.reduce = bbr_reduce,
	.on_ack = bbr_on_ack,
	.recovered = bbr_recovered,
	.restart = bbr_restart,
	.on_lost = bbr_on_lost,
	.on_first_send = bbr_on_first_send,
	.rate = bbr_rate,
	.pacing_rate = bbr_pacing_rate,
	.starting = bbr_starting,
	.own_recovery = true,
};
