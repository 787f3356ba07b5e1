/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The deadlines of a connection: retransmission (RFC 6298), tail loss probe and reordering (RFC
 * 8985), persist (RFC 9293, 3.8.6.1), user timeout (3.8.3), delayed ACK (RFC 9293, 3.8.6.3),
 * FIN-WAIT-2. One wheel node serves them all: it fires at or before the earliest, and is armed
 * again for what remains.
 */
#include "dataplane/net/wire.h"
#include "dataplane/tcp/destination.h"
#include "dataplane/tcp/internal.h"

static bool reached(const struct net_stack *stack, uint32_t deadline)
{
	return deadline != 0 && (int32_t)(now32(stack) - deadline) >= 0;
}

static uint32_t after(const struct net_stack *stack, uint32_t us)
{
	return (now32(stack) + us) | 1; /* 0 means not set */
}

/* Not later than the user timeout, which counts from the last progress. */
static uint32_t within_user_timeout(const struct net_stack *stack, const struct tcb *tcb,
				    uint32_t us)
{
	uint32_t waited = now32(stack) - tcb->progress_us;
	uint32_t left = waited < tcb->user_timeout_us ? tcb->user_timeout_us - waited : 0;

	return us < left ? us : left;
}

static bool gave_up(const struct net_stack *stack, const struct tcb *tcb)
{
	return now32(stack) - tcb->progress_us >= tcb->user_timeout_us;
}

/* RFC 8985, 7.2. @return 0: no probe is to be scheduled */
static uint32_t probe_timeout_us(const struct tcb *tcb)
{
	uint32_t flight = tcb->snd_nxt - tcb->snd_una;
	uint32_t rto = rtt_timeout_us(tcb);
	uint32_t pto;

	if ((tcb->flags & TCB_SACK) == 0 ||
	    (tcb->flags & (TCB_RECOVERY | TCB_LOSS | TCB_PROBE_OUT)) != 0 || tcb->backoff > 0 ||
	    tcb->srtt_us == 0 || tcb->sacked_bytes > 0)
		return 0;
	pto = 2 * tcb->srtt_us;
	if (flight <= tcb->mss)
		pto += TCP_PROBE_DELACK_US;
	if (pto < TCP_PROBE_MIN_US)
		pto = TCP_PROBE_MIN_US;
	/* Not beyond the RTO, which it then stands for. */
	return pto < rto ? pto : rto;
}

/* RFC 6298, 2.1, or what is known of the path (RFC 8961, 2); doubled each time. */
static uint32_t handshake_timeout_us(const struct net_stack *stack, const struct tcb *tcb)
{
	uint64_t us = (uint64_t)destination_syn_timeout_us(stack, tcb)
		      << (tcb->backoff < 10 ? tcb->backoff : 10);

	return us < TCP_RTO_MAX_US ? (uint32_t)us : TCP_RTO_MAX_US;
}

void tcp_set_retransmission(struct net_stack *stack, struct tcb *tcb)
{
	bool handshake = tcb->state == TCPS_SYN_SENT || tcb->state == TCPS_SYN_RCVD;
	uint32_t us = 0;

	tcb->rtx_kind = TCB_TIMER_NONE;
	if (handshake || tcb->snd_nxt != tcb->snd_una) {
		us = handshake ? 0 : probe_timeout_us(tcb);
		tcb->rtx_kind = us != 0 ? TCB_TIMER_PROBE : TCB_TIMER_RTO;
		if (us == 0)
			us = handshake ? handshake_timeout_us(stack, tcb) : rtt_timeout_us(tcb);
	} else if ((tcb->flags & TCB_FIN_SENT) == 0 &&
		   (tcb->send_end != tcb->snd_nxt || (tcb->flags & TCB_FIN_QUEUED) != 0)) {
		/* Something to send, nothing in flight: the peer's window is in the way, or there
		 * is no way out. A FIN that could not leave waits here too. */
		tcb->rtx_kind = TCB_TIMER_PERSIST;
		us = rtt_timeout_us(tcb);
		if ((tcb->flags & TCB_PERSISTING) == 0) /* the user timeout counts from here */
			tcb->progress_us = now32(stack);
	}
	if (tcb->rtx_kind == TCB_TIMER_PERSIST)
		tcb->flags |= TCB_PERSISTING;
	else
		tcb->flags &= ~(uint32_t)TCB_PERSISTING;
	if (tcb->rtx_kind == TCB_TIMER_NONE) {
		tcb->rtx_us = 0;
		return;
	}
	tcb->rtx_us = after(stack, within_user_timeout(stack, tcb, us));
	tcb_arm(stack, tcb);
}

void tcp_user_timeout_changed(struct net_stack *stack, struct tcb *tcb)
{
	uint32_t deadline = after(stack, within_user_timeout(stack, tcb, TCP_RTO_MAX_US));

	if (tcb->rtx_kind == TCB_TIMER_NONE || !seq_lt(deadline, tcb->rtx_us))
		return;
	tcb->rtx_us = deadline;
	tcb_arm(stack, tcb);
}

static void syn_timeout(struct net_stack *stack, struct tcb *tcb)
{
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);

	if (gave_up(stack, tcb) ||
	    (tcb->state == TCPS_SYN_RCVD && cold->retries >= TCP_SYN_RETRIES)) {
		stack->counters.tcp_timed_out++;
		tcb_finish(stack, tcb, TCP_TIMED_OUT);
		return;
	}
	cold->retries++;
	if (tcb->backoff < UINT8_MAX)
		tcb->backoff++;
	stack->counters.tcp_retransmitted++;
	cold->retransmitted++;
	ecn_fall_back(stack, tcb);
	tcb->flags |= TCB_SYN_DUE;
	tcb_schedule(stack, tcb);
}

static void retransmission_timeout(struct net_stack *stack, struct tcb *tcb)
{
	if (gave_up(stack, tcb)) { /* RFC 9293, MUST-20: R2 */
		stack->counters.tcp_timed_out++;
		tcp_emit_ack(stack, tcb, tcb->snd_nxt, TCP_RST | TCP_ACK);
		tcb_finish(stack, tcb, TCP_TIMED_OUT);
		return;
	}
	stack->counters.tcp_rto++;
	pmtu_on_timeout(stack, tcb);
	recovery_on_timeout(stack, tcb);
	if (tcb->backoff < UINT8_MAX)
		tcb->backoff++;
	tcp_retransmit_first(stack, tcb);
	tcp_set_retransmission(stack, tcb);
	tcb_schedule(stack, tcb);
}

/* The destination may have room now. */
static void pacing_timeout(struct net_stack *stack, struct tcb *tcb)
{
	if (gave_up(stack, tcb)) {
		stack->counters.tcp_timed_out++;
		tcp_emit_ack(stack, tcb, tcb->snd_nxt, TCP_RST | TCP_ACK);
		tcb_finish(stack, tcb, TCP_TIMED_OUT);
		return;
	}
	tcb_schedule(stack, tcb);
}

static void persist_timeout(struct net_stack *stack, struct tcb *tcb)
{
	if (gave_up(stack, tcb)) { /* not while the peer answers probes (MUST-37) */
		stack->counters.tcp_timed_out++;
		tcp_emit_ack(stack, tcb, tcb->snd_nxt, TCP_RST | TCP_ACK);
		tcb_finish(stack, tcb, TCP_TIMED_OUT);
		return;
	}
	if (tcb->backoff < UINT8_MAX)
		tcb->backoff++; /* SHLD-30 */
	stack->counters.tcp_zero_window_probe++;
	/* One before the window: not acceptable, so that it must be answered (RFC 9293, 3.10.7.4).
	 */
	tcp_emit_ack(stack, tcb, tcb->snd_una - 1, TCP_ACK);
	tcp_set_retransmission(stack, tcb);
	tcb_schedule(stack, tcb);
}

static void retransmission_timer(struct net_stack *stack, struct tcb *tcb)
{
	enum tcb_timer kind = tcb->rtx_kind;

	tcb->rtx_kind = TCB_TIMER_NONE;
	tcb->rtx_us = 0;
	switch (kind) {
	case TCB_TIMER_RTO:
		if (tcb->state == TCPS_SYN_SENT || tcb->state == TCPS_SYN_RCVD)
			syn_timeout(stack, tcb);
		else
			retransmission_timeout(stack, tcb);
		return;
	case TCB_TIMER_PROBE:
		tcp_send_probe(stack, tcb);
		/* Sent or not, the next to fire is the RTO: no second probe for this flight. */
		tcb->rtx_kind = TCB_TIMER_RTO;
		tcb->rtx_us = after(stack, within_user_timeout(stack, tcb, rtt_timeout_us(tcb)));
		return;
	case TCB_TIMER_REORDERING:
		recovery_on_ack(stack, tcb, &(struct ack_news){0});
		tcb_schedule(stack, tcb);
		return;
	case TCB_TIMER_PACING:
		pacing_timeout(stack, tcb);
		return;
	case TCB_TIMER_PERSIST:
		persist_timeout(stack, tcb);
		return;
	case TCB_TIMER_NONE:
		return;
	}
}

void tcp_heard(struct net_stack *stack, struct tcb *tcb)
{
	uint32_t keepalive_s = stack->settings.keepalive_s;

	if (tcb->state == TCPS_FIN_WAIT_2) {
		uint32_t waited = now32(stack) - tcb->progress_us;
		uint32_t left = waited < TCP_FIN_WAIT_2_MAX_US ? TCP_FIN_WAIT_2_MAX_US - waited : 0;

		tcb->close_us = after(stack, left < TCP_FIN_WAIT_2_US ? left : TCP_FIN_WAIT_2_US);
		return;
	}
	if (keepalive_s == 0 || (tcb->state != TCPS_ESTABLISHED && tcb->state != TCPS_CLOSE_WAIT))
		return;
	tcb_cold(stack->tcp, tcb)->keepalive_when =
		(uint16_t)((stack->now_us + (uint64_t)keepalive_s * 1000000) >> 20);
	tcb_cold(stack->tcp, tcb)->retries = 0;
	if (tcb->close_us == 0) {
		tcb->close_us = after(stack, TCP_KEEPALIVE_US);
		tcb_arm(stack, tcb);
	}
}

/* RFC 9293, 3.8.4. @return false: the peer is gone */
static bool keepalive(struct net_stack *stack, struct tcb *tcb)
{
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);
	bool due = (int16_t)((uint16_t)(stack->now_us >> 20) - cold->keepalive_when) >= 0;

	if (due && cold->retries >= TCP_KEEPALIVE_PROBES)
		return false;
	/* What is in flight or waits for the window is asked after by its own timer. */
	if (due && tcb->rtx_kind == TCB_TIMER_NONE) {
		cold->retries++;
		stack->counters.tcp_keepalive++;
		tcp_emit_ack(stack, tcb, tcb->snd_una - 1, TCP_ACK);
	}
	tcb->close_us = after(stack, TCP_KEEPALIVE_US);
	return true;
}

void tcp_timer(void *context, uint32_t index)
{
	struct net_stack *stack = context;
	struct tcb *tcb = &stack->tcp->tcbs[index];
	tcp_handle handle = tcb_handle(stack->tcp, tcb);

	if (tcb->state == TCPS_CLOSED)
		return;
	if (reached(stack, tcb->delack_us)) {
		tcb->delack_us = 0;
		tcb->flags |= TCB_ACK_NOW;
		tcb_schedule(stack, tcb);
	}
	if (reached(stack, tcb->close_us) &&
	    ((tcb->state != TCPS_ESTABLISHED && tcb->state != TCPS_CLOSE_WAIT) ||
	     !keepalive(stack, tcb))) {
		stack->counters.tcp_timed_out++;
		tcp_emit_ack(stack, tcb, tcb->snd_nxt, TCP_RST | TCP_ACK);
		tcb_finish(stack, tcb, TCP_TIMED_OUT);
		return;
	}
	pacing_forget(stack, tcb);
	if (reached(stack, pacing_deadline(stack->tcp, tcb))) {
		tcb->flags &= ~(uint32_t)TCB_PACED;
		tcb_schedule(stack, tcb);
	}
	if (reached(stack, tcb->rtx_us))
		retransmission_timer(stack, tcb);
	if (!tcb_alive(stack->tcp, tcb, handle))
		return;
	if (tcb->snd_una == tcb->snd_nxt && (tcb->flags & (TCB_DSACK_DUE | TCB_PACED)) == 0)
		flight_give(stack->tcp, tcb);
	tcb_arm(stack, tcb);
}
