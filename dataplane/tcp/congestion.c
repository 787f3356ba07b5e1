/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Congestion control: slow start for all (RFC 5681, RFC 6928), then CUBIC (RFC 9438) or Reno,
 * behind a small vtable. The windows are bytes. Loss detection and the recovery itself (RACK, PRR)
 * are in recovery.c.
 */
#include "dataplane/tcp/internal.h"

#include <string.h>

#define CUBIC_C	   0.4f
#define CUBIC_BETA 0.7f
/* 3 * (1 - beta) / (1 + beta), RFC 9438, 4.3 */
#define CUBIC_ALPHA 0.5294f

/* In segments and seconds. */
struct cubic {
	float w_max;
	float k;
	float w_est;
	float cwnd;	   /* with its fraction; 0: take the integer one */
	uint32_t epoch_us; /* 0: no epoch yet */
};
static_assert(sizeof(struct cubic) <= TCB_CONGESTION_STATE, "fits into the TCB");

static float cube_root(float x)
{
	float y = x > 1 ? x / 3 + 1 : 1;

	if (x <= 0)
		return 0;
	for (unsigned i = 0; i < 24; i++) /* Newton; converges from above */
		y = (2 * y + x / (y * y)) / 3;
	return y;
}

static void cubic_init(struct tcb *tcb)
{
	memset(tcb->congestion_state, 0, sizeof(tcb->congestion_state));
}

static void cubic_load(const struct tcb *tcb, struct cubic *c)
{
	memcpy(c, tcb->congestion_state, sizeof(*c));
}

static void cubic_store(struct tcb *tcb, const struct cubic *c)
{
	memcpy(tcb->congestion_state, c, sizeof(*c));
}

static uint32_t cubic_reduce(struct tcb *tcb, uint32_t now_us)
{
	struct cubic c;
	float cwnd = (float)tcb->cwnd / tcb->mss;

	cubic_load(tcb, &c);
	/* Fast convergence (4.7): the flow below its last peak leaves room to others. */
	c.w_max = cwnd < c.w_max ? cwnd * (1 + CUBIC_BETA) / 2 : cwnd;
	c.epoch_us = 0;
	cubic_store(tcb, &c);
	return (uint32_t)((float)tcb->cwnd * CUBIC_BETA);
}

static void cubic_begin_epoch(struct tcb *tcb, struct cubic *c, float cwnd, uint32_t now_us)
{
	c->epoch_us = now_us != 0 ? now_us : 1;
	c->w_est = cwnd;
	c->cwnd = cwnd;
	if (c->w_max > cwnd) {
		c->k = cube_root((c->w_max - cwnd) / CUBIC_C); /* 4.2 */
	} else {
		c->k = 0;
		c->w_max = cwnd;
	}
}

static void cubic_avoid(struct tcb *tcb, uint32_t acked, uint32_t now_us)
{
	struct cubic c;
	float cwnd = (float)tcb->cwnd / tcb->mss;
	float segments = (float)acked / tcb->mss;
	float t, d, target, alpha;

	cubic_load(tcb, &c);
	if (c.epoch_us == 0)
		cubic_begin_epoch(tcb, &c, cwnd, now_us);
	if (c.cwnd < cwnd || c.cwnd >= cwnd + 1)
		c.cwnd = cwnd;
	t = (float)(int32_t)(now_us - c.epoch_us) * 1e-6f + (float)tcb->srtt_us * 1e-6f;
	d = t - c.k;
	target = CUBIC_C * d * d * d + c.w_max; /* one round trip from now */
	if (target < c.cwnd)
		target = c.cwnd;
	if (target > c.cwnd * 1.5f)
		target = c.cwnd * 1.5f;
	/* The Reno-friendly region (4.3). */
	alpha = c.w_est >= c.w_max ? 1.0f : CUBIC_ALPHA;
	c.w_est += alpha * segments / c.cwnd;
	if (c.w_est > target)
		c.cwnd = c.w_est > c.cwnd ? c.w_est : c.cwnd;
	else
		c.cwnd += (target - c.cwnd) / c.cwnd * segments;
	tcb->cwnd = (uint32_t)(c.cwnd * tcb->mss);
	cubic_store(tcb, &c);
}

static void cubic_restart(struct tcb *tcb)
{
	struct cubic c;

	cubic_load(tcb, &c);
	c.epoch_us = 0;
	cubic_store(tcb, &c);
}

static void reno_init(struct tcb *tcb)
{
	memset(tcb->congestion_state, 0, sizeof(tcb->congestion_state));
}

static uint32_t reno_reduce(struct tcb *tcb, uint32_t now_us)
{
	return tcb->cwnd / 2;
}

/* RFC 5681, 3.1, counting bytes (RFC 3465). */
static void reno_avoid(struct tcb *tcb, uint32_t acked, uint32_t now_us)
{
	uint32_t count;

	memcpy(&count, tcb->congestion_state, sizeof(count));
	count += acked;
	if (count >= tcb->cwnd) {
		count -= tcb->cwnd;
		tcb->cwnd += tcb->mss;
	}
	memcpy(tcb->congestion_state, &count, sizeof(count));
}

static void reno_restart(struct tcb *tcb)
{
}

static const struct tcp_congestion algorithms[] = {
	{"cubic", cubic_init, cubic_reduce, cubic_avoid, cubic_restart},
	{"reno", reno_init, reno_reduce, reno_avoid, reno_restart},
};

uint32_t congestion_initial_window(const struct tcb *tcb)
{
	uint32_t two = 2u * tcb->mss;

	/* RFC 6928, 2: min (10*MSS, max (2*MSS, 14600)) */
	return 10u * tcb->mss < (two > 14600 ? two : 14600) ? 10u * tcb->mss
							    : (two > 14600 ? two : 14600);
}

void congestion_init(struct tcb *tcb)
{
	tcb->cwnd = congestion_initial_window(tcb);
	tcb->ssthresh = UINT32_MAX / 2;
	algorithms[tcb->congestion].init(tcb);
}

uint32_t congestion_reduce(struct tcb *tcb, uint32_t now_us)
{
	uint32_t ssthresh = algorithms[tcb->congestion].reduce(tcb, now_us);

	return ssthresh > 2u * tcb->mss ? ssthresh : 2u * tcb->mss; /* RFC 5681, eq. 4 */
}

void congestion_on_ack(struct tcb *tcb, uint32_t acked, uint32_t now_us)
{
	/* A window that is not used says nothing about the path (RFC 7661, 4.3). */
	if ((tcb->flags & TCB_CWND_LIMITED) == 0 || acked == 0)
		return;
	if (tcb->cwnd < tcb->ssthresh) {
		uint32_t room = tcb->ssthresh - tcb->cwnd;
		uint32_t step = acked < room ? acked : room;

		tcb->cwnd += step;
		acked -= step;
		if (acked == 0)
			return;
	}
	if (tcb->cwnd < 1u << 30)
		algorithms[tcb->congestion].avoid(tcb, acked, now_us);
}

void congestion_restart(struct tcb *tcb)
{
	algorithms[tcb->congestion].restart(tcb);
}
