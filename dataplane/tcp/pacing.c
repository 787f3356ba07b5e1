/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Pacing: what a window allows is spread over the round trip in bursts of a millisecond's worth and
 * at least two segments, so that it does not arrive at the bottleneck as a train. Twice the window
 * a round trip in slow start, a fifth more than it otherwise, or what the congestion control says.
 *
 * A pause saves up: a flight that begins, and a connection in slow start, may send what an initial
 * window allows as soon as it may be sent (RFC 6928; RFC 9002, 7.7), for a short message would end
 * a part of a round trip later for nothing; what is beyond that is spaced. Later a millisecond is
 * all that is made up for.
 *
 * Owner: the connection's worker. Memory: a deadline in the flight; the wheel fires for it. Bursts
 * that no ACK clocks, the first of each flight, also need the destination's leave (destination.c):
 * a thousand connections to one exchanger share one bottleneck. Recovery by timeout and probes are
 * not paced. Always true: a deadline in the flight is at most two seconds and what the
 * destination's crowd takes ahead, or it is past by less than a connection's longest timer.
 */
#include "dataplane/tcp/destination.h"
#include "dataplane/tcp/internal.h"

#define EARLY_US      256u  /* a tick of the wheel: what is due within it goes now */
#define CATCH_UP_US   1000u /* lateness that is made up for */
#define BURST_US      1000u
#define BURST_LEAST   2u /* segments */
#define TAKES_MOST_US 1000000u
#define STALE_US      2000000u /* a deadline that is past by so much says nothing any more */
/* In percent. */
#define GAIN_SLOW_START 200u
#define GAIN_AVOIDANCE	120u

/* Nothing of what is in flight has been acknowledged: no ACKs are there to clock it. */
static bool unclocked(const struct tcp_layer *layer, const struct tcb *tcb)
{
	return tcb_flight(layer, tcb)->news_us == 0;
}

static bool starting(const struct net_stack *stack, const struct tcb *tcb)
{
	if (congestion_of(tcb)->starting != NULL)
		return congestion_of(tcb)->starting(stack, tcb);
	return tcb->cwnd < tcb->ssthresh / 2;
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
	if (starting(stack, tcb))
		gain = GAIN_SLOW_START;
	return window * 10000 * gain / tcb->srtt_us + 1;
}

/* Time for which a pause may have saved up. */
static uint32_t saved_most_us(const struct net_stack *stack, const struct tcb *tcb, uint64_t rate)
{
	uint64_t us;

	if (!unclocked(stack->tcp, tcb) && !starting(stack, tcb))
		return CATCH_UP_US;
	/* With the least that goes at a time it is the initial window. */
	us = (uint64_t)(congestion_initial_window(tcb) - BURST_LEAST * tcb->mss) * 1000000 / rate;
	return us < TAKES_MOST_US ? (uint32_t)us : TAKES_MOST_US;
}

/* From when on what is sent counts: the deadline, unless it is past by more than may be saved. */
static uint32_t counts_from(const struct net_stack *stack, const struct tcb *tcb, uint64_t rate)
{
	const struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	uint32_t earliest = now32(stack) - saved_most_us(stack, tcb, rate);

	return flight->paced && seq_lt(earliest, flight->pace_us) ? flight->pace_us : earliest;
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
	if (tcb->snd_una != tcb->snd_nxt) {
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

/* Segments that may go now, as far as the connection's own rate goes. */
static uint64_t rate_budget(const struct net_stack *stack, const struct tcb *tcb, uint64_t rate)
{
	uint32_t saved = now32(stack) - counts_from(stack, tcb, rate);
	uint64_t burst;

	if ((int32_t)saved < 0) /* early, by less than a tick */
		saved = 0;
	burst = rate * BURST_US / 1000000 / tcb->mss;
	return (saved + EARLY_US) * rate / 1000000 / tcb->mss +
	       (burst > BURST_LEAST ? burst : BURST_LEAST);
}

unsigned pacing_budget(struct net_stack *stack, struct tcb *tcb, unsigned most)
{
	unsigned budget = most;
	uint64_t rate, segments;
	uint32_t wait_us;

	if (stack->settings.unpaced)
		return most;
	if (pacing_blocks(stack, tcb))
		return 0;
	rate = rate_for(stack, tcb);
	segments = rate != 0 ? rate_budget(stack, tcb, rate) : most;
	if (segments < most)
		budget = (unsigned)segments;
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
	uint64_t takes;

	if (unclocked(stack->tcp, tcb))
		destination_sent(stack, tcb, bytes);
	if (tcb->flight == 0 || rate == 0 || stack->settings.unpaced)
		return;
	takes = (uint64_t)bytes * 1000000 / rate;
	flight->pace_us = counts_from(stack, tcb, rate) +
			  (takes < TAKES_MOST_US ? (uint32_t)takes : TAKES_MOST_US);
	flight->paced = true;
}

void pacing_forget(const struct net_stack *stack, struct tcb *tcb)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);

	if (flight->paced && (int32_t)(now32(stack) - flight->pace_us) > (int32_t)STALE_US)
		flight->paced = false;
}

uint32_t pacing_deadline(const struct tcp_layer *layer, const struct tcb *tcb)
{
	const struct tcb_flight *flight = tcb_flight(layer, tcb);

	return (tcb->flags & TCB_PACED) != 0 && flight->paced ? (flight->pace_us - EARLY_US) | 1
							      : 0;
}
