/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Explicit congestion notification (RFC 3168): taken up whenever a peer offers it, offered by us
 * when the stack is set so, and given up when a SYN with it goes unanswered (6.1.1.1). Only new
 * data is sent as ECN-capable (6.1.4, 6.1.5, 6.1.6): no control segment, retransmission or probe.
 *
 * Always true: without TCB_ECN none of the other marks is set.
 */
#include "dataplane/tcp/destination.h"
#include "dataplane/tcp/internal.h"

/* Windows in a row whose every ACK carried ECE in spite of CWR: the mark means nothing here. */
#define STUCK_WINDOWS 16u

uint8_t ecn_syn_flags(const struct tcb *tcb)
{
	if ((tcb->flags & TCB_ECN) == 0)
		return 0;
	return tcb->state == TCPS_SYN_SENT ? TCP_ECE | TCP_CWR : TCP_ECE;
}

void ecn_negotiate(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s)
{
	bool syn_ack = (s->flags & TCP_ACK) != 0;
	/* A SYN-ACK with both is a mirror, not an answer (6.1.1). */
	uint8_t expected = syn_ack ? TCP_ECE : TCP_ECE | TCP_CWR;
	bool able = (s->flags & (TCP_ECE | TCP_CWR)) == expected;

	if ((tcb->flags & TCB_ACTIVE) != 0)
		able = able && (tcb->flags & TCB_ECN) != 0;
	if (able)
		tcb->flags |= TCB_ECN;
	else
		tcb->flags &= ~(uint32_t)TCB_ECN;
}

void ecn_fall_back(struct net_stack *stack, struct tcb *tcb)
{
	if ((tcb->flags & TCB_ECN) == 0 || tcb->state != TCPS_SYN_SENT)
		return;
	tcb->flags &= ~(uint32_t)TCB_ECN;
	stack->counters.tcp_ecn_fallback++;
}

void ecn_data_input(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s,
		    uint8_t codepoint)
{
	if ((tcb->flags & TCB_ECN) == 0 || s->length == 0)
		return;
	if ((s->flags & TCP_CWR) != 0)
		tcb->flags &= ~(uint32_t)TCB_ECE_DUE;
	if (codepoint == IP_ECN_CE) {
		stack->counters.tcp_ecn_ce++;
		tcb->flags |= TCB_ECE_DUE;
	} else if (codepoint == IP_ECN_NONE) {
		stack->counters.tcp_ecn_not_capable++;
	}
}

static void give_up(struct net_stack *stack, struct tcb *tcb)
{
	stack->counters.tcp_ecn_mangled++;
	destination_set_ecn_broken(stack, tcb);
	tcb->flags &= ~(uint32_t)(TCB_ECN | TCB_ECE_DUE | TCB_CWR_DUE | TCB_CWR);
}

void ecn_ack_input(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);

	if ((tcb->flags & TCB_ECN) == 0)
		return;
	if ((tcb->flags & TCB_CWR) != 0 && seq_le(flight->ecn_until, s->ack))
		tcb->flags &= ~(uint32_t)TCB_CWR;
	if ((s->flags & TCP_ECE) == 0) {
		cold->ecn_windows = 0;
		return;
	}
	if (tcb->snd_una == tcb->snd_nxt || (tcb->flags & TCB_CWR) != 0)
		return; /* once a window (6.1.2) */
	if (++cold->ecn_windows > STUCK_WINDOWS) {
		give_up(stack, tcb);
		return;
	}
	stack->counters.tcp_ecn_ece++;
	flight->ecn_until = tcb->snd_nxt;
	tcb->flags |= TCB_CWR;
	if (congestion_on_ecn(stack, tcb))
		tcb->flags |= TCB_CWR_DUE;
}

uint8_t ecn_data_flags(struct tcb *tcb, uint8_t *codepoint)
{
	*codepoint = IP_ECN_NONE;
	if ((tcb->flags & TCB_ECN) == 0)
		return 0;
	*codepoint = IP_ECN_ECT0;
	if ((tcb->flags & TCB_CWR_DUE) == 0)
		return 0;
	tcb->flags &= ~(uint32_t)TCB_CWR_DUE;
	return TCP_CWR;
}
