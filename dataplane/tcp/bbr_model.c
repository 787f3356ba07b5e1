/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BBR's model of the path: bandwidth, round trip, what may be in flight (draft-ietf-ccwg-bbr, 5.5);
 * see bbr.h. */
#include "dataplane/tcp/bbr.h"
#include "dataplane/tcp/internal.h"

uint64_t bbr_max_bw(const struct bbr *b)
{
	return b->max_bw[0] > b->max_bw[1] ? b->max_bw[0] : b->max_bw[1];
}

uint32_t bbr_bdp(const struct bbr *b, const struct tcb *tcb, uint64_t bw, uint32_t gain)
{
	uint64_t bytes;

	if (b->min_rtt_us == 0 || bw == 0)
		return congestion_initial_window(tcb);
	bytes = (uint64_t)((double)bw * b->min_rtt_us / 1e6 * gain / 100);
	return bytes < CWND_MAX ? (uint32_t)bytes : CWND_MAX;
}

uint32_t bbr_min_window(const struct tcb *tcb)
{
	return BBR_MIN_SEGMENTS * tcb->mss;
}

uint32_t bbr_with_headroom(const struct bbr *b, const struct tcb *tcb)
{
	uint32_t headroom, least = bbr_min_window(tcb);

	if (b->inflight_long == BBR_NONE)
		return BBR_NONE;
	headroom = b->inflight_long / 100 * BBR_HEADROOM;
	if (headroom < tcb->mss)
		headroom = tcb->mss;
	return b->inflight_long > least + headroom ? b->inflight_long - headroom : least;
}

uint32_t bbr_target_inflight(const struct bbr *b, const struct tcb *tcb)
{
	uint32_t bdp = bbr_bdp(b, tcb, b->bw, 100);

	return bdp < tcb->cwnd ? bdp : tcb->cwnd;
}

uint32_t bbr_extra_acked(const struct bbr *b)
{
	return b->extra[0] > b->extra[1] ? b->extra[0] : b->extra[1];
}

bool bbr_is_probing(const struct bbr *b)
{
	return b->state == BBR_STARTUP || b->state == BBR_REFILL || b->state == BBR_UP;
}

bool bbr_in_probe_bw(const struct bbr *b)
{
	return b->state >= BBR_DOWN && b->state <= BBR_UP;
}

/* 5.5.10.1: more than 2 % of what was in flight. */
bool bbr_inflight_too_high(const struct rate_sample *s)
{
	return s->lost > (uint64_t)s->in_flight * BBR_LOSS_THRESHOLD / 100;
}

uint64_t bbr_sample_bw(const struct rate_sample *s)
{
	return s->valid ? (uint64_t)s->delivered * 1000000 / s->interval_us : 0;
}

void bbr_start_round(struct bbr *b)
{
	b->next_round = b->rate.delivered;
}

void bbr_reset_short_term(struct bbr *b)
{
	b->bw_short = BBR_NONE_RATE;
	b->inflight_short = BBR_NONE;
}

void bbr_reset_full_bw(struct bbr *b)
{
	b->full_bw = 0;
	b->full_bw_count = 0;
	b->full_bw_now = false;
}

static void update_round(struct bbr *b, const struct rate_sample *s)
{
	b->round_start = s->has_prior && !seq_lt(s->prior_delivered, b->next_round);
	if (!b->round_start)
		return;
	bbr_start_round(b);
	b->rounds_since_probe++;
}

static void update_max_bw(struct bbr *b, const struct rate_sample *s)
{
	uint64_t bw = bbr_sample_bw(s);

	if (bw == 0 || (s->app_limited && bw < bbr_max_bw(b)))
		return;
	if (bw > b->max_bw[b->cycle])
		b->max_bw[b->cycle] = bw;
}

/*
 * 5.5.10.3: a round with losses, while not probing, lowers what is used in the short term, but not
 * below what came through. Deviations from the draft, else a path that loses one in a hundred
 * whatever is sent would give its bandwidth away round by round: such a round has lost more than
 * the 2 % that a probe may lose, what came through at 99 % of the rate bears the rate, and what was
 * lost of a flight was in flight as well.
 */
static void adapt_short_term(struct bbr *b, const struct tcb *tcb)
{
	uint64_t bw, latest;
	uint32_t inflight;

	if (bbr_is_probing(b) || !b->loss_in_round)
		return;
	if (b->bw_short == BBR_NONE_RATE)
		b->bw_short = bbr_max_bw(b);
	if (b->inflight_short == BBR_NONE)
		b->inflight_short = tcb->cwnd;
	bw = b->bw_short / 100 * BBR_BETA;
	inflight = b->inflight_short / 100 * BBR_BETA;
	latest = b->bw_latest / BBR_PACE * 100;
	if (latest > b->bw_short)
		latest = b->bw_short;
	b->bw_short = latest > bw ? latest : bw;
	b->inflight_short = b->inflight_latest > inflight ? b->inflight_latest : inflight;
}

/* 5.5.9: ACKs that come in bursts need more in flight than the product of rate and delay. */
static void update_aggregation(struct bbr *b, const struct tcb *tcb, const struct rate_sample *s,
			       uint32_t now_us)
{
	uint64_t expected = (uint64_t)((double)b->bw * (now_us - b->extra_at_us) / 1e6);
	uint32_t extra;

	if (b->extra_delivered <= expected) {
		b->extra_delivered = 0;
		b->extra_at_us = now_us;
		expected = 0;
	}
	b->extra_delivered += s->newly_acked;
	extra = b->extra_delivered > expected ? (uint32_t)(b->extra_delivered - expected) : 0;
	if (extra > tcb->cwnd)
		extra = tcb->cwnd;
	if (b->round_start &&
	    ++b->extra_rounds >= (b->full_bw_reached ? BBR_EXTRA_ROUNDS / 2 : 1)) {
		b->extra[1] = b->extra[0];
		b->extra[0] = 0;
		b->extra_rounds = 0;
	}
	if (extra > b->extra[0])
		b->extra[0] = extra;
}

void bbr_update_signals(struct bbr *b, const struct tcb *tcb, const struct rate_sample *s,
			uint32_t lost, uint32_t now_us)
{
	uint64_t bw = bbr_sample_bw(s);

	b->loss_round_start = false;
	if (bw > b->bw_latest)
		b->bw_latest = bw;
	if (s->valid && s->delivered + s->lost > b->inflight_latest)
		b->inflight_latest = s->delivered + s->lost;
	if (s->has_prior && !seq_lt(s->prior_delivered, b->loss_round)) {
		b->loss_round = b->rate.delivered;
		b->loss_round_start = true;
	}
	update_round(b, s);
	update_max_bw(b, s);
	b->round_lost += lost;
	b->loss_events += lost > 0;
	if (b->loss_round_start) {
		uint32_t delivered = b->rate.delivered - b->round_delivered;

		if (b->round_lost > (uint64_t)delivered * BBR_LOSS_THRESHOLD / 100)
			b->loss_in_round = true;
		adapt_short_term(b, tcb);
		b->loss_in_round = false;
		b->round_lost = 0;
		b->round_delivered = b->rate.delivered;
	}
	update_aggregation(b, tcb, s, now_us);
}

void bbr_advance_signals(struct bbr *b, const struct rate_sample *s)
{
	uint64_t max = bbr_max_bw(b);

	if (b->loss_round_start) {
		b->bw_latest = bbr_sample_bw(s);
		b->inflight_latest = s->valid ? s->delivered + s->lost : 0;
	}
	b->bw = max < b->bw_short ? max : b->bw_short;
}

/* 5.3.1.2: three rounds without a quarter more. */
void bbr_check_full_bw(struct bbr *b, const struct rate_sample *s)
{
	uint64_t bw = bbr_sample_bw(s);

	if (b->full_bw_now || !b->round_start || s->app_limited || bw == 0)
		return;
	if (bw >= b->full_bw + b->full_bw / 4) {
		bbr_reset_full_bw(b);
		b->full_bw = bw;
		return;
	}
	if (++b->full_bw_count < 3)
		return;
	b->full_bw_now = true;
	b->full_bw_reached = true;
}

/* 5.3.4.3 */
void bbr_update_min_rtt(struct bbr *b, uint32_t rtt_us, uint32_t now_us)
{
	b->probe_rtt_expired = now_us - b->probe_rtt_at_us > BBR_PROBE_RTT_GAP_US;
	if (rtt_us != 0 &&
	    (b->probe_rtt_us == 0 || rtt_us < b->probe_rtt_us || b->probe_rtt_expired)) {
		b->probe_rtt_us = rtt_us;
		b->probe_rtt_at_us = now_us;
	}
	if (b->probe_rtt_us == 0)
		return;
	if (b->min_rtt_us == 0 || b->probe_rtt_us < b->min_rtt_us ||
	    now_us - b->min_rtt_at_us > BBR_MIN_RTT_US) {
		b->min_rtt_us = b->probe_rtt_us;
		b->min_rtt_at_us = b->probe_rtt_at_us;
	}
}
