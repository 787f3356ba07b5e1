/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Pacing: what a window allows is spread over the round trip in bursts of a millisecond's worth and
 * at least two segments, so that it does not arrive at the bottleneck as a train. Twice the window
 * a round trip in slow start, a fifth more than it otherwise, or what the congestion control says;
 * eight times for the first window, which is spaced but hardly later for it.
 *
 * Owner: the connection's worker. Memory: a deadline in the flight; the wheel fires for it. Bursts
 * that no ACK clocks, the first of each flight, also need the destination's leave (destination.c):
 * a thousand connections to one exchanger share one bottleneck. Recovery by timeout and probes are
 * not paced.
 */
#include "dataplane/tcp/destination.h"
#include "dataplane/tcp/internal.h"

#define EARLY_US	256u  /* a tick of the wheel: what is due within it goes now */
#define CATCH_UP_US	1000u /* lateness that is made up for */
#define BURSTS_A_SECOND 1000u
#define BURST_LEAST	2u /* segments */
/* In percent. */
#define GAIN_FIRST	800u
#define GAIN_SLOW_START 200u
#define GAIN_AVOIDANCE	120u

/* Nothing of what is in flight has been acknowledged: no ACKs are there to clock it. */
static bool unclocked(const struct tcp_layer *layer, const struct tcb *tcb)
{
	return tcb_flight(layer, tcb)->news_us == 0;
}

/* @return bytes per second; 0: not paced */
static uint64_t rate_for(const struct net_stack *stack, const struct tcb *tcb)
{
	uint32_t pipe = tcb_pipe(tcb);
	uint64_t window = tcb->cwnd > pipe ? tcb->cwnd : pipe;
	unsigned gain = GAIN_AVOIDANCE;

	if (congestion_of(tcb)->pacing_rate != NULL)
		return congestion_of(tcb)->pacing_rate(stack, tcb);
	if (tcb->srtt_us == 0)
		return 0;
	if (unclocked(stack->tcp, tcb) && tcb->cwnd <= congestion_initial_window(tcb))
		gain = GAIN_FIRST;
	else if (tcb->cwnd < tcb->ssthresh / 2)
		gain = GAIN_SLOW_START;
	return window * 10000 * gain / tcb->srtt_us + 1;
}

bool pacing_blocks(struct net_stack *stack, struct tcb *tcb)
{
	const struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);

	tcb->flags &= ~(uint32_t)TCB_PACED;
	if (!flight->paced || (int32_t)(flight->pace_us - now32(stack)) <= (int32_t)EARLY_US)
		return false;
	tcb->flags |= TCB_PACED;
	return true;
}

/* The destination has had enough for now: try again after wait_us. */
static void wait_for_destination(struct net_stack *stack, struct tcb *tcb, uint32_t wait_us)
{
	if (tcb->flight != 0) {
		struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);

		flight->pace_us = now32(stack) + wait_us + EARLY_US;
		flight->paced = true;
		tcb->flags |= TCB_PACED;
		return;
	}
	tcb->rtx_kind = TCB_TIMER_PACING; /* nothing is in flight that would need it */
	tcb->rtx_us = (now32(stack) + wait_us) | 1;
	tcb_arm(stack, tcb);
}

unsigned pacing_budget(struct net_stack *stack, struct tcb *tcb, unsigned most)
{
	uint64_t rate = rate_for(stack, tcb);
	unsigned budget = most;
	uint32_t wait_us;

	if (stack->settings.unpaced)
		return most;
	if (pacing_blocks(stack, tcb))
		return 0;
	if (rate != 0 && rate / BURSTS_A_SECOND / tcb->mss < most)
		budget = (unsigned)(rate / BURSTS_A_SECOND / tcb->mss);
	if (budget < BURST_LEAST)
		budget = BURST_LEAST;
	if (!unclocked(stack->tcp, tcb))
		return budget;
	budget = destination_admit(stack, tcb, budget, &wait_us);
	if (budget == 0)
		wait_for_destination(stack, tcb, wait_us);
	return budget;
}

void pacing_sent(struct net_stack *stack, struct tcb *tcb, uint32_t bytes)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	uint64_t rate = rate_for(stack, tcb);
	uint32_t now = now32(stack), from = now;
	uint64_t takes;

	if (unclocked(stack->tcp, tcb))
		destination_sent(stack, tcb, bytes);
	if (tcb->flight == 0 || rate == 0 || stack->settings.unpaced)
		return;
	takes = (uint64_t)bytes * 1000000 / rate;
	if (flight->paced && (int32_t)(flight->pace_us - (now - CATCH_UP_US)) >= 0)
		from = flight->pace_us;
	flight->pace_us = from + (takes < 1000000 ? (uint32_t)takes : 1000000u);
	flight->paced = true;
}

uint32_t pacing_deadline(const struct tcp_layer *layer, const struct tcb *tcb)
{
	const struct tcb_flight *flight = tcb_flight(layer, tcb);

	return (tcb->flags & TCB_PACED) != 0 && flight->paced ? (flight->pace_us - EARLY_US) | 1
							      : 0;
}
