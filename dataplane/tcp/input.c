/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A segment arrives (RFC 9293, 3.10.7): to whom it belongs, and in a synchronized state the checks
 * in their order: timestamp (RFC 7323, 5.3), sequence, RST and SYN (RFC 5961), ACK, data, FIN.
 */
#include "dataplane/net/checksum.h"
#include "dataplane/net/wire.h"
#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/layer.h"
#include "dataplane/tcp/table.h"

/* One timestamp (GCRA) for all that a stranger can provoke of a connection. A limit for each: a
 * common one would tell strangers about others (CVE-2016-5696). */
static bool may_answer(struct net_stack *stack, struct tcb *tcb, uint32_t each_ms, uint32_t most_ms)
{
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);
	uint32_t now = now_ms(stack);

	if (cold->challenge_ms - now > TCP_ANSWERS_AHEAD_MS) /* idle, for however long */
		cold->challenge_ms = now;
	if (cold->challenge_ms - now > most_ms) {
		stack->counters.tcp_answer_limited++;
		return false;
	}
	/* Randomised, so that nothing can be learnt by counting. */
	cold->challenge_ms += each_ms / 2 + random_below(stack->settings.random, each_ms + 1);
	return true;
}

bool tcp_may_provoke(struct net_stack *stack, struct tcb *tcb)
{
	return may_answer(stack, tcb, TCP_CHALLENGE_MS,
			  TCP_CHALLENGE_MS * (TCP_CHALLENGE_BURST - 1));
}

/* What came before is mostly the peer's, whose ACK was lost, so it has the more room: challenges
 * leave this much of it. */
static bool may_repeat(struct net_stack *stack, struct tcb *tcb)
{
	return (tcb->flags & TCB_ACK_NOW) != 0 ||
	       may_answer(stack, tcb, TCP_REPEAT_MS,
			  TCP_CHALLENGE_MS * TCP_CHALLENGE_BURST +
				  TCP_REPEAT_MS * TCP_REPEAT_BURST);
}

void tcp_challenge(struct net_stack *stack, struct tcb *tcb)
{
	if (!tcp_may_provoke(stack, tcb))
		return;
	stack->counters.tcp_challenge_ack++;
	tcb->flags |= TCB_ACK_NOW;
	tcb_schedule(stack, tcb);
}

void tcp_enter_time_wait(struct net_stack *stack, struct tcb *tcb)
{
	if ((tcb->flags & TCB_ACK_NOW) != 0)
		tcp_emit_ack(stack, tcb, tcb->snd_nxt, TCP_ACK);
	tcb_set_state(stack, tcb, TCPS_TIME_WAIT);
	if (tcb->recv_queued > 0) {
		tcb->close_us = (now32(stack) + TCP_FIN_WAIT_2_US) | 1;
		tcb_arm(stack, tcb);
		return;
	}
	stack->counters.tcp_time_wait++;
	time_wait_add(stack, tcb);
	tcb_finish(stack, tcb, TCP_CLOSED);
}

/* RFC 9293, table 6, with the peer held to the right edge that it was shown. */
static bool acceptable(const struct tcb *tcb, const struct tcp_segment *s)
{
	uint32_t window = tcb->rcv_adv - tcb->rcv_nxt;
	/* What a RST carries is text about it (SHLD-2): it counts at a zero window too (MUST-66).
	 */
	uint32_t span = (s->flags & TCP_RST) != 0 ? 0 : tcp_segment_span(s);
	uint32_t last = s->seq + span - 1;

	if (span == 0)
		return s->seq == tcb->rcv_nxt || s->seq - tcb->rcv_nxt < window;
	if (window == 0)
		return false;
	return s->seq - tcb->rcv_nxt < window || last - tcb->rcv_nxt < window ||
	       (seq_lt(s->seq, tcb->rcv_nxt) && seq_le(tcb->rcv_adv, last));
}

/* @return false: the segment is old, or lacks its timestamp */
static bool timestamp_good(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s)
{
	if ((tcb->flags & TCB_TIMESTAMPS) == 0 || (s->flags & TCP_RST) != 0)
		return true;
	if (s->has_timestamp && !seq_lt(s->ts_val, tcb->ts_recent))
		return true;
	if (s->has_timestamp && now_ms(stack) - tcb->ts_recent_ms > TCP_PAWS_IDLE_MS)
		return true;
	stack->counters.tcp_drop_paws++;
	if (s->has_timestamp) /* RFC 7323, 5.3, R1: with an ACK; 3.2: silently when it is missing */
		tcp_challenge(stack, tcb);
	return false;
}

static void not_acceptable(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s)
{
	stack->counters.tcp_drop_window++;
	if ((s->flags & TCP_RST) != 0)
		return;
	if (tcb->state == TCPS_SYN_RCVD && (s->flags & TCP_SYN) != 0 &&
	    s->seq + 1 == tcb->rcv_nxt) { /* our SYN-ACK was lost */
		if (!tcp_may_provoke(stack, tcb))
			return;
		tcb->flags |= TCB_SYN_DUE;
		tcb_schedule(stack, tcb);
		return;
	}
	if (s->length > 0 && (s->flags & TCP_SYN) == 0) {
		/* A retransmission, because our ACK was lost: at once, or the peer times out. */
		if (!may_repeat(stack, tcb))
			return;
		if (seq_le(s->seq + s->length, tcb->rcv_nxt) &&
		    !seq_lt(s->seq, tcb->rcv_nxt - stack->tcp->receive_window)) {
			tcp_report_duplicate(stack, tcb, s->seq, s->seq + s->length);
		}
		tcb->flags |= TCB_ACK_NOW;
		tcb_schedule(stack, tcb);
		return;
	}
	tcp_challenge(stack, tcb);
}

/* RFC 5961, 3.2: only the exact sequence number resets. */
static void reset_input(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s)
{
	if (tcb->state == TCPS_TIME_WAIT) { /* RFC 1337: unread data is still to be had */
		stack->counters.tcp_drop_state++;
		return;
	}
	if (s->seq != tcb->rcv_nxt) {
		tcp_challenge(stack, tcb);
		return;
	}
	stack->counters.tcp_rst_received++;
	tcb_finish(stack, tcb, TCP_RESET); /* an active open in SYN-RECEIVED does not come here */
}

/* RFC 7323, 4.3 (2); only with an ACK that is believed (RFC 5961, 5.2), or a stranger who hits the
 * window could put the peer's real segments in the past. */
static void update_ts_recent(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s)
{
	if (!s->has_timestamp || (tcb->flags & TCB_TIMESTAMPS) == 0 ||
	    seq_lt(tcb->snd_nxt, s->ack) || seq_lt(s->ack, tcb->snd_una - tcb->max_wnd))
		return;
	if (seq_le(s->seq, tcb->last_ack_sent) &&
	    (!seq_lt(s->ts_val, tcb->ts_recent) ||
	     now_ms(stack) - tcb->ts_recent_ms > TCP_PAWS_IDLE_MS)) {
		tcb->ts_recent = s->ts_val;
		tcb->ts_recent_ms = now_ms(stack);
	}
}

static void synchronized_input(struct net_stack *stack, struct tcb *tcb,
			       const struct net_packet *packet, struct tcp_segment *s)
{
	if (!timestamp_good(stack, tcb, s))
		return;
	if (!acceptable(tcb, s)) {
		if (tcb->rcv_adv != tcb->rcv_nxt || s->seq != tcb->rcv_nxt ||
		    (s->flags & (TCP_SYN | TCP_RST)) != 0) {
			not_acceptable(stack, tcb, s);
			return;
		}
		/* MUST-66: at a zero window the ACK is still processed. */
		s->length = 0;
		s->flags &= (uint8_t)~TCP_FIN;
		if (may_repeat(stack, tcb)) {
			tcb->flags |= TCB_ACK_NOW;
			tcb_schedule(stack, tcb);
		}
	}
	if ((s->flags & TCP_RST) != 0) {
		reset_input(stack, tcb, s);
		return;
	}
	if ((s->flags & TCP_SYN) != 0) { /* RFC 5961, 4.2 */
		tcp_challenge(stack, tcb);
		return;
	}
	if ((s->flags & TCP_ACK) == 0) {
		stack->counters.tcp_drop_state++;
		return;
	}
	if (tcb->state == TCPS_SYN_RCVD) {
		if (seq_le(s->ack, tcb->snd_una) || seq_lt(tcb->snd_nxt, s->ack)) {
			tcp_reply_reset(stack, packet, s);
			return;
		}
		update_ts_recent(stack, tcb, s);
		if (!tcp_establish(stack, tcb, s))
			return;
	} else {
		update_ts_recent(stack, tcb, s);
	}
	if (!tcp_ack_input(stack, tcb, s))
		return;
	ecn_data_input(stack, tcb, s, packet->ecn);
	if (s->length > 0 || (s->flags & TCP_FIN) != 0)
		tcp_data_input(stack, tcb, s);
}

static bool checksum_good(const struct net_packet *packet)
{
	uint64_t sum;

	if (packet->l4_good)
		return true;
	sum = checksum_pseudo(&packet->source, &packet->destination, PROTOCOL_TCP, packet->length);
	return checksum_fold(checksum_add(sum, packet->payload, packet->length)) == 0xffff;
}

static void no_connection(struct net_stack *stack, const struct net_packet *packet,
			  struct tcp_segment *s, uint64_t hash)
{
	struct tcp_listener *listener;
	struct tcb *tcb;

	if (time_wait_input(stack, packet, s, hash))
		return;
	listener = tcp_find_listener(stack->tcp, &packet->destination, s->destination_port);
	if (listener != NULL && (s->flags & TCP_RST) != 0) {
		stack->counters.tcp_drop_state++;
		return;
	}
	if (listener != NULL && (s->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		if (local_is_broadcast(&stack->local, &packet->source)) { /* MUST-63 */
			stack->counters.drop_source++;
			return;
		}
		tcp_listen_input(stack, packet, s, listener);
		return;
	}
	if (listener != NULL && (s->flags & TCP_ACK) != 0 && (s->flags & TCP_SYN) == 0) {
		tcb = tcp_cookie_open(stack, packet, s, listener);
		if (tcb != NULL) {
			synchronized_input(stack, tcb, packet, s);
			return;
		}
	}
	if (listener == NULL)
		stack->counters.tcp_drop_no_listener++;
	tcp_reply_reset(stack, packet, s);
}

uint64_t tcp_hash(const struct net_stack *stack, const struct ip_address *local,
		  uint16_t local_port, const struct ip_address *remote, uint16_t remote_port)
{
	return tcp_tuple_hash(&stack->tcp->table_key, local, local_port, remote, remote_port);
}

void tcp_input(struct net_stack *stack, const struct net_packet *packet)
{
	struct tcp_layer *layer = stack->tcp;
	struct tcp_segment s;
	struct tcb *tcb;
	uint64_t hash;

	stack->counters.tcp_in++;
	if (!checksum_good(packet)) { /* MUST-3 */
		stack->counters.tcp_drop_checksum++;
		return;
	}
	if (!tcp_segment_parse(packet->payload, packet->length, &s) || s.source_port == 0 ||
	    s.destination_port == 0) {
		stack->counters.tcp_drop_header++;
		return;
	}
	hash = packet->hash != 0 ? packet->hash
				 : tcp_hash(stack, &packet->destination, s.destination_port,
					    &packet->source, s.source_port);
	tcb = tcp_table_find(layer, hash, &packet->destination, s.destination_port, &packet->source,
			     s.source_port);
	if (tcb == NULL)
		no_connection(stack, packet, &s, hash);
	else if ((tcb->flags & TCB_CLOSE_DUE) != 0) /* closed in SYN-SENT, the end is near */
		tcp_reply_reset(stack, packet, &s);
	else if (tcb->state == TCPS_SYN_SENT)
		tcp_syn_sent_input(stack, tcb, &s);
	else if (tcb->state == TCPS_SYN_RCVD && (tcb->flags & TCB_ACTIVE) != 0 &&
		 tcp_simultaneous_input(stack, tcb, &s))
		return;
	else if (tcb->state != TCPS_CLOSED)
		synchronized_input(stack, tcb, packet, &s);
}
