/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Opening: LISTEN, SYN-SENT and SYN-RECEIVED (RFC 9293, 3.10.7.2 to 3.10.7.4), simultaneous open
 * (MUST-10), the options of the SYN: MSS (3.7.1), window scale and timestamps (RFC 7323), SACK (RFC
 * 2018).
 */
#include "dataplane/net/wire.h"
#include "dataplane/tcp/destination.h"
#include "dataplane/tcp/internal.h"

struct tcp_listener *tcp_find_listener(struct tcp_layer *layer, const struct ip_address *address,
				       uint16_t port)
{
	struct tcp_listener *any = NULL;

	for (unsigned i = 0; i < layer->listener_count; i++) {
		struct tcp_listener *l = &layer->listeners[i];

		if (!l->used || l->port != port)
			continue;
		if (ip_equal(&l->address, address))
			return l;
		if (ip_is_unspecified(&l->address))
			any = l;
	}
	return any;
}

static uint16_t headers(const struct tcb *tcb)
{
	return (uint16_t)((ip_is_v4(&tcb->local) ? IPV4_HEADER : IPV6_HEADER) + TCP_HEADER);
}

uint16_t tcp_own_mss(const struct net_stack *stack, const struct tcb *tcb)
{
	const struct local_address *own = local_find(&stack->local, &tcb->local);
	uint16_t mtu = own != NULL ? stack->ports[own->port].mtu : 1280;

	return (uint16_t)(mtu - headers(tcb));
}

void tcp_set_mss(struct net_stack *stack, struct tcb *tcb, uint16_t mtu)
{
	uint16_t mss = (uint16_t)(mtu - headers(tcb));
	uint16_t peer = tcb->peer_mss;

	if (peer < mss)
		mss = peer;
	if (mss < TCP_MSS_FLOOR)
		mss = TCP_MSS_FLOOR;
	/* RFC 6691: the MSS does not count options; what we send must (MUST-16). */
	if ((tcb->flags & TCB_TIMESTAMPS) != 0)
		mss = (uint16_t)(mss - 12);
	tcb->mss = mss;
}

/* What the peer's SYN offers, within what we offer. */
static void negotiate(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s)
{
	tcb->peer_mss = s->mss != 0		? s->mss
			: ip_is_v4(&tcb->local) ? TCP_MSS_DEFAULT_V4
						: TCP_MSS_DEFAULT_V6; /* MUST-15 */
	if (!s->sack_permitted)
		tcb->flags &= ~(uint32_t)TCB_SACK;
	if (!s->has_timestamp)
		tcb->flags &= ~(uint32_t)TCB_TIMESTAMPS;
	if (s->has_scale) {
		tcb->send_scale = s->scale & 15u;
	} else { /* RFC 7323, 2.2: both or none */
		tcb->send_scale = 0;
		tcb->receive_scale = 0;
		tcb->flags |= TCB_LIMITED_WINDOW;
	}
	if (s->has_timestamp) {
		tcb->ts_recent = s->ts_val;
		tcb->ts_recent_ms = now_ms(stack);
	}
	ecn_negotiate(stack, tcb, s);
	tcb->rcv_nxt = s->seq + 1;
	tcb->rcv_adv = tcb->rcv_nxt;
	if ((tcb->flags & TCB_ACTIVE) != 0) /* what our SYN offered */
		tcb->rcv_adv += tcp_syn_window(stack->tcp);
	tcb->last_ack_sent = tcb->rcv_nxt;
	tcb->snd_wnd = s->window; /* never scaled in a SYN */
	tcb->max_wnd = s->window;
	tcb->snd_wl1 = s->seq;
	tcb->snd_wl2 = s->ack;
	tcp_set_mss(stack, tcb, (uint16_t)(tcp_own_mss(stack, tcb) + headers(tcb)));
}

static void passive_open(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s)
{
	tcb->flags = TCB_SACK | TCB_TIMESTAMPS;
	tcb->receive_scale = stack->tcp->receive_scale & 15u;
	tcb->ts_offset = tcp_timestamp_offset(stack->tcp, tcb);
	negotiate(stack, tcb, s);
}

void tcp_listen_input(struct net_stack *stack, const struct net_packet *packet,
		      const struct tcp_segment *s, const struct tcp_listener *listener)
{
	struct tcp_layer *layer = stack->tcp;
	struct tcb *tcb;

	if (layer->half_open >= layer->half_open_max) {
		struct tcb passing = {
			.local = packet->destination,
			.local_port = s->destination_port,
			.remote = packet->source,
			.remote_port = s->source_port,
		};

		passive_open(stack, &passing, s);
		tcp_cookie_answer(stack, packet, s, &passing);
		return;
	}
	tcb = tcb_create(stack, &packet->destination, s->destination_port, &packet->source,
			 s->source_port);
	if (tcb == NULL)
		return;
	tcb_cold(layer, tcb)->listener = (uint16_t)(listener - layer->listeners);
	passive_open(stack, tcb, s);
	tcb->flags |= TCB_SYN_DUE;
	tcb->snd_una = tcp_initial_sequence(stack, tcb);
	tcb->snd_nxt = tcb->snd_una + 1;
	tcb->send_end = tcb->snd_nxt;
	congestion_init(stack, tcb);
	tcb_set_state(stack, tcb, TCPS_SYN_RCVD);
	tcb_schedule(stack, tcb);
}

struct tcb *tcp_cookie_open(struct net_stack *stack, const struct net_packet *packet,
			    const struct tcp_segment *s, const struct tcp_listener *listener)
{
	struct tcp_layer *layer = stack->tcp;
	struct tcp_segment syn;
	struct tcb *tcb;

	if (!tcp_cookie_check(stack, packet, s, &syn))
		return NULL;
	tcb = tcb_create(stack, &packet->destination, s->destination_port, &packet->source,
			 s->source_port);
	if (tcb == NULL)
		return NULL;
	tcb_cold(layer, tcb)->listener = (uint16_t)(listener - layer->listeners);
	passive_open(stack, tcb, &syn);
	tcb->rcv_adv = tcb->rcv_nxt + tcp_syn_window(layer); /* as the SYN-ACK showed it */
	tcb->snd_una = s->ack - 1;
	tcb->snd_nxt = s->ack;
	tcb->send_end = tcb->snd_nxt;
	congestion_init(stack, tcb);
	tcb_set_state(stack, tcb, TCPS_SYN_RCVD);
	tcp_set_retransmission(stack, tcb);
	return tcb;
}

/* The first round trip; of a SYN that was sent again only when its echo tells which it was. */
static void measure(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s)
{
	const struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);
	uint32_t ms = now_ms(stack) + tcb->ts_offset - s->ts_ecr;

	if (tcb->last_sent_us == 0) /* a cookie: nobody looked at the clock */
		return;
	if (cold->retries == 0)
		rtt_sample(tcb, now32(stack) - tcb->last_sent_us);
	else if (s->has_timestamp && (tcb->flags & TCB_TIMESTAMPS) != 0 && s->ts_ecr != 0 &&
		 ms < 60000)
		rtt_sample(tcb, ms * 1000 + 1000);
	else /* it may have been slow and not lost */
		tcb->rttvar_us = TCP_RTO_AFTER_SYN_US;
}

/* The handshake is complete; what is common to both sides. */
static void start(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s)
{
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);

	tcb->snd_una = s->ack;
	tcb->progress_us = now32(stack);
	if ((tcb->flags & TCB_ACTIVE) != 0)
		tcb->user_timeout_us = TCP_USER_TIMEOUT_US;
	measure(stack, tcb, s);
	destination_open(stack, tcb);
	pmtu_begin(stack, tcb);
	congestion_init(stack, tcb);
	destination_apply(stack, tcb);
	destination_tell(stack, tcb);
	if (cold->retries > 1) /* RFC 6928, 2: more than one SYN was lost (RFC 5681, 3.1) */
		tcb->cwnd = tcb->mss;
	tcb->backoff = 0;
	tcb->rtx_kind = TCB_TIMER_NONE;
	tcb->rtx_us = 0;
	tcb->flags &= ~(uint32_t)TCB_SYN_DUE;
	tcb_set_state(stack, tcb, TCPS_ESTABLISHED);
	tcp_heard(stack, tcb);
	tcb_schedule(stack, tcb);
}

static bool tell_connected(struct net_stack *stack, struct tcb *tcb)
{
	tcp_handle handle = tcb_handle(stack->tcp, tcb);
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);

	stack->counters.tcp_connected++;
	if (cold->callbacks->on_connected != NULL)
		cold->callbacks->on_connected(cold->user, handle);
	return tcb_alive(stack->tcp, tcb, handle);
}

static bool accept(struct net_stack *stack, struct tcb *tcb)
{
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);
	struct tcp_listener *listener = &stack->tcp->listeners[cold->listener];
	tcp_handle handle = tcb_handle(stack->tcp, tcb);
	const struct tcp_callbacks *callbacks = NULL;
	void *user = NULL;

	cold->mtu_acked = 0; /* in the place of the listener */
	if (!listener->used || listener->port != tcb->local_port ||
	    !listener->callbacks->on_accept(listener->user, handle, &user, &callbacks)) {
		if (!tcb_alive(stack->tcp, tcb, handle))
			return false;
		stack->counters.tcp_rst_sent++;
		tcp_emit_ack(stack, tcb, tcb->snd_nxt, TCP_RST | TCP_ACK);
		tcb_finish(stack, tcb, TCP_ABORTED);
		return false;
	}
	if (!tcb_alive(stack->tcp, tcb, handle))
		return false;
	cold->user = user;
	cold->callbacks = callbacks;
	tcb->flags |= TCB_ACCEPTED;
	stack->counters.tcp_accepted++;
	return true;
}

bool tcp_establish(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s)
{
	start(stack, tcb, s);
	tcb->snd_wnd = s->window << tcb->send_scale;
	tcb->max_wnd = tcb->snd_wnd;
	tcb->snd_wl1 = s->seq;
	tcb->snd_wl2 = s->ack;
	if ((tcb->flags & TCB_ACTIVE) != 0) /* simultaneous open */
		return tell_connected(stack, tcb);
	return accept(stack, tcb);
}

/* SYN without ACK: both opened at once (RFC 9293, figure 7). */
static void simultaneous_open(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s)
{
	negotiate(stack, tcb, s);
	tcb_set_state(stack, tcb, TCPS_SYN_RCVD);
	tcb->flags |= TCB_SYN_DUE;
	tcb_schedule(stack, tcb);
}

void tcp_syn_sent_input(struct net_stack *stack, struct tcb *tcb, struct tcp_segment *s)
{
	bool has_ack = (s->flags & TCP_ACK) != 0;

	if (has_ack && s->ack != tcb->snd_nxt) { /* nothing but our SYN is out */
		if ((s->flags & TCP_RST) != 0) {
			stack->counters.tcp_drop_state++;
			return;
		}
		if (!tcp_may_provoke(stack, tcb)) {
			stack->counters.tcp_rst_rate_limited++;
			return;
		}
		stack->counters.tcp_rst_sent++;
		tcp_emit_ack(stack, tcb, s->ack, TCP_RST);
		return;
	}
	if ((s->flags & TCP_RST) != 0) {
		if (has_ack) {
			stack->counters.tcp_rst_received++;
			tcb_finish(stack, tcb, TCP_REFUSED);
		} else {
			stack->counters.tcp_drop_state++;
		}
		return;
	}
	if ((s->flags & TCP_SYN) == 0) {
		stack->counters.tcp_drop_state++;
		return;
	}
	if (!has_ack) {
		simultaneous_open(stack, tcb, s);
		return;
	}
	/* RFC 7323, 3.2: an echo of something that we never sent is not for this connection. Some
	 * peers echo nothing. */
	if (s->has_timestamp && (tcb->flags & TCB_TIMESTAMPS) != 0 && s->ts_ecr != 0 &&
	    now_ms(stack) + tcb->ts_offset - s->ts_ecr > TCP_TIMEOUT_MAX_US / 1000) {
		stack->counters.tcp_drop_paws++;
		return;
	}
	negotiate(stack, tcb, s);
	start(stack, tcb, s);
	tcb->flags |= TCB_ACK_NOW;
	if (!tell_connected(stack, tcb))
		return;
	if (s->length > 0 || (s->flags & TCP_FIN) != 0) {
		s->seq++; /* behind the SYN */
		s->flags &= (uint8_t)~TCP_SYN;
		tcp_data_input(stack, tcb, s);
	}
}

/* Back to SYN-SENT, with what our SYN offered. */
static void forget_peer(struct net_stack *stack, struct tcb *tcb)
{
	tcb->flags |= TCB_SACK | TCB_TIMESTAMPS;
	tcb->flags &= ~(uint32_t)(TCB_LIMITED_WINDOW | TCB_ACK_NOW);
	if (tcb->rtx_kind != TCB_TIMER_NONE) /* else our SYN itself still waits to be sent */
		tcb->flags &= ~(uint32_t)TCB_SYN_DUE;
	tcb->receive_scale = stack->tcp->receive_scale & 15u;
	tcb->ts_recent = 0; /* what a SYN echoes */
	tcb_set_state(stack, tcb, TCPS_SYN_SENT);
}

bool tcp_simultaneous_input(struct net_stack *stack, struct tcb *tcb, struct tcp_segment *s)
{
	bool has_ack = (s->flags & TCP_ACK) != 0;

	if ((s->flags & TCP_RST) != 0 && !has_ack) {
		if (s->seq == tcb->rcv_nxt)
			forget_peer(stack, tcb);
		else
			stack->counters.tcp_drop_state++;
		return true;
	}
	if ((s->flags & (TCP_RST | TCP_SYN)) == 0 || !has_ack)
		return false;
	if (s->ack == tcb->snd_nxt) {
		forget_peer(stack, tcb);
		tcp_syn_sent_input(stack, tcb, s);
		return true;
	}
	if ((s->flags & TCP_RST) == 0)
		return false;
	stack->counters.tcp_drop_state++;
	return true;
}
