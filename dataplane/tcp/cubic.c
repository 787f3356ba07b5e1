/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * CUBIC (RFC 9438): after a reduction the window returns along a cubic to where it was, waits there
 * and then probes; where Reno would be faster it follows Reno (4.3). The first slow start is
 * HyStart++'s, which uses the same bytes of the TCB: there is no cubic before the first reduction.
 */
#include "dataplane/tcp/congestion.h"

#include <math.h>
#include <string.h>

#define CUBIC_C	   0.4f
#define CUBIC_BETA 0.7f
/* 3 * (1 - beta) / (1 + beta): 4.3, equation 4 */
#define CUBIC_ALPHA 0.52941f
/* No faster than by half a round trip's worth (4.2: target at most 1.5 cwnd). */
#define CUBIC_STEP_MAX 1.5f

static bool first_slow_start(const struct tcb *tcb)
{
	return tcb->ssthresh >= SSTHRESH_NONE;
}

static float cube_root(float x)
{
	float y = x > 1 ? x / 3 + 1 : 1;

	if (x <= 0)
		return 0;
	for (unsigned i = 0; i < 24; i++) /* Newton; converges from above */
		y = (2 * y + x / (y * y)) / 3;
	return y;
}

static int cubic_init(struct net_stack *stack, struct tcb *tcb)
{
	memset(tcb->congestion_state, 0, sizeof(tcb->congestion_state));
	if (first_slow_start(tcb)) {
		struct hystart h;

		hystart_init(&h, tcb->snd_nxt);
		memcpy(tcb->congestion_state, &h, sizeof(h));
	}
	return 0;
}

/* 4.6 and 4.7 */
static uint32_t cubic_reduce(struct net_stack *stack, struct tcb *tcb, enum congestion_event event)
{
	float cwnd = (float)tcb->cwnd / tcb->mss;
	struct cubic c = {0};

	if (!first_slow_start(tcb))
		memcpy(&c, tcb->congestion_state, sizeof(c));
	/* Fast convergence: a flow below its last peak leaves room to others. */
	c.w_max = cwnd < c.w_max ? cwnd * (1 + CUBIC_BETA) / 2 : cwnd;
	c.w_prior = cwnd < UINT16_MAX ? (uint16_t)lrintf(cwnd) : UINT16_MAX;
	c.epoch_us = 0;
	memcpy(tcb->congestion_state, &c, sizeof(c));
	return (uint32_t)((float)tcb->cwnd * CUBIC_BETA);
}

static void begin_epoch(struct cubic *c, float cwnd, uint32_t now_us)
{
	c->epoch_us = now_us != 0 ? now_us : 1;
	c->w_est = cwnd;
	c->fraction = 0;
	if (c->w_max > cwnd) {
		c->k = cube_root((c->w_max - cwnd) / CUBIC_C); /* equation 2 */
	} else {					       /* 4.10: no peak to go back to */
		c->k = 0;
		c->w_max = cwnd;
	}
}

/* Equation 1, t seconds into the epoch. */
static float w_cubic(const struct cubic *c, float t)
{
	float d = t - c->k;

	return CUBIC_C * d * d * d + c->w_max;
}

/* 4.2 to 4.5: by how much the window grows for `segments` that were acknowledged; all in segments.
 */
static float growth_of(struct cubic *c, float cwnd, float segments, float t, float rtt)
{
	float target = w_cubic(c, t + rtt);

	c->w_est += (c->w_est >= c->w_prior ? 1.0f : CUBIC_ALPHA) * segments / cwnd;
	if (w_cubic(c, t) < c->w_est) /* Reno-friendly */
		return c->w_est > cwnd ? c->w_est - cwnd : 0;
	if (target > cwnd * CUBIC_STEP_MAX)
		target = cwnd * CUBIC_STEP_MAX;
	return target > cwnd ? (target - cwnd) / cwnd * segments : 0;
}

static void avoid(struct tcb *tcb, uint32_t acked, uint32_t now_us)
{
	struct cubic c;
	float bytes, cwnd;

	memcpy(&c, tcb->congestion_state, sizeof(c));
	if (c.epoch_us == 0)
		begin_epoch(&c, (float)tcb->cwnd / tcb->mss, now_us);
	cwnd = (float)tcb->cwnd / tcb->mss;
	bytes = growth_of(&c, cwnd, (float)acked / tcb->mss,
			  (float)(int32_t)(now_us - c.epoch_us) * 1e-6f,
			  (float)tcb->srtt_us * 1e-6f) *
			tcb->mss +
		(float)c.fraction / 65536;
	tcb->cwnd += (uint32_t)bytes;
	c.fraction = (uint16_t)((bytes - (float)(uint32_t)bytes) * 65536);
	memcpy(tcb->congestion_state, &c, sizeof(c));
}

static void grow_first(struct tcb *tcb, const struct congestion_news *news)
{
	struct hystart h;
	bool done;
	uint32_t growth;

	memcpy(&h, tcb->congestion_state, sizeof(h));
	growth = hystart_on_ack(&h, tcb->snd_una, tcb->snd_nxt, news->rtt_us, news->acked, &done);
	memcpy(tcb->congestion_state, &h, sizeof(h));
	if (news->limited)
		tcb->cwnd += growth;
	if (!done)
		return;
	tcb->ssthresh = tcb->cwnd;
	memset(tcb->congestion_state, 0, sizeof(tcb->congestion_state));
}

/* Time in which the window was not used does not count (5.8): the epoch moves along. */
static void shift_epoch(struct tcb *tcb, uint32_t us, uint32_t now_us)
{
	struct cubic c;

	if (first_slow_start(tcb))
		return;
	memcpy(&c, tcb->congestion_state, sizeof(c));
	if (c.epoch_us == 0)
		return;
	if (us > now_us - c.epoch_us)
		us = now_us - c.epoch_us;
	c.epoch_us += us;
	if (c.epoch_us == 0)
		c.epoch_us = 1;
	memcpy(tcb->congestion_state, &c, sizeof(c));
}

static void cubic_on_ack(struct net_stack *stack, struct tcb *tcb,
			 const struct congestion_news *news)
{
	uint32_t acked = news->acked;

	if (!news->may_grow || acked == 0 || tcb->cwnd >= CWND_MAX)
		return;
	if (first_slow_start(tcb)) {
		grow_first(tcb, news);
		return;
	}
	if (!news->limited) {
		shift_epoch(tcb, news->since_us, news->now_us);
		return;
	}
	acked = congestion_slow_start(tcb, acked);
	if (acked > 0)
		avoid(tcb, acked, news->now_us);
}

static void cubic_restart(struct net_stack *stack, struct tcb *tcb, uint32_t idle_us)
{
	shift_epoch(tcb, idle_us, now32(stack));
}

const struct tcp_congestion congestion_cubic = {
	.name = "cubic",
	.init = cubic_init,
	.reduce = cubic_reduce,
	.on_ack = cubic_on_ack,
	.restart = cubic_restart,
};
