/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The size of packets that a path carries: taken from routers that say so (RFC 1191, RFC 8201),
 * as far as they can be believed (RFC 5927, 7.2); found out when nobody says so (black holes, RFC
 * 4821, 7.7; RFC 8899, 4.3); and tried upwards again later with single larger segments whose loss
 * is no congestion (RFC 4821, 7.2 to 7.6).
 *
 * Owner: one worker. `pmtu` is 0 while the port's own MTU is in force. Always true: mss follows
 * from the smaller of both; one probe is out at most.
 */
#include "dataplane/net/wire.h"
#include "dataplane/tcp/destination.h"
#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/layer.h"

#define MTU_MIN_V4	    552u /* as Linux: nothing on the Internet is smaller */
#define MTU_MIN_V6	    1280u
#define BLACK_HOLE_TIMEOUTS 2u
#define BLACK_HOLE_MTU	    1280u
#define BLACK_HOLE_PAYLOAD  1024u /* RFC 4821, 7.7: the second step, where IPv4 is in the way */
#define SEARCH_STEP	    64u	  /* not worth a probe */
/* In units of 2^24 us: ten minutes (RFC 1191, 6.3; RFC 8899, 5.1.1), and one. */
#define RAISE_AFTER 36u
#define NEXT_PROBE  4u

/* Wraps after 71 minutes: a connection that was idle for longer may wait once more. */
static uint8_t clock_units(const struct net_stack *stack)
{
	return (uint8_t)(stack->now_us >> 24);
}

static uint32_t overhead(const struct tcb *tcb)
{
	return (ip_is_v4(&tcb->local) ? IPV4_HEADER : IPV6_HEADER) + TCP_HEADER +
	       ((tcb->flags & TCB_TIMESTAMPS) != 0 ? 12u : 0);
}

uint16_t tcp_path_mtu(const struct net_stack *stack, const struct tcb *tcb)
{
	const struct local_address *own = local_find(&stack->local, &tcb->local);
	uint16_t port = own != NULL ? stack->ports[own->port].mtu : MTU_MIN_V6;
	uint16_t path = tcb_cold(stack->tcp, tcb)->pmtu;

	return path != 0 && path < port ? path : port;
}

/* Make segments no larger than this; what was larger did not get through, which is no congestion
 * (RFC 1191, 6.3). */
static void shrink(struct net_stack *stack, struct tcb *tcb, uint16_t mtu)
{
	struct board_cursor cursor;
	uint16_t before = tcb->mss;

	tcp_set_mss(stack, tcb, mtu);
	if (tcb->mss >= before) {
		tcb->mss = before;
		return;
	}
	for (struct tcp_record *r = board_first(stack->tcp, tcb, &cursor); r != NULL;
	     r = board_next(stack->tcp, &cursor))
		if (r->length > tcb->mss)
			board_mark_lost(stack->tcp, tcb, r);
	if (tcb->cwnd < 2u * before)
		tcb->cwnd = 2u * before;
	tcb_schedule(stack, tcb);
}

static void adopt(struct net_stack *stack, struct tcb *tcb, uint16_t mtu, uint16_t top)
{
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);

	cold->pmtu = mtu;
	cold->pmtu_top = top;
	destination_set_mtu(stack, tcb, mtu);
	cold->pmtu_when = (uint8_t)(clock_units(stack) + RAISE_AFTER);
	if (cold->mtu_acked > mtu)
		cold->mtu_acked = mtu;
	shrink(stack, tcb, mtu);
}

/* RFC 1191, 7.1: routers that do not say their MTU. */
static uint16_t next_plateau(uint16_t quoted)
{
	static const uint16_t plateaus[] = {8166, 4352, 2002, 1492, 1006, 576};

	for (unsigned i = 0; i < sizeof(plateaus) / sizeof(plateaus[0]); i++)
		if (plateaus[i] < quoted)
			return plateaus[i];
	return MTU_MIN_V4;
}

bool pmtu_too_big(struct net_stack *stack, struct tcb *tcb, const struct tcp_icmp_error *error)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	uint32_t mtu = error->mtu;
	bool v4 = ip_is_v4(&tcb->local);

	if (!v4 && mtu < MTU_MIN_V6) /* RFC 8201, 4: to be discarded */
		return false;
	if (mtu == 0)
		mtu = next_plateau(error->quoted);
	if (mtu < MTU_MIN_V4)
		mtu = MTU_MIN_V4;
	/* A packet that fits did not provoke it, nor one that is larger than any we sent. */
	if (mtu >= error->quoted || tcb->mss == 0 || tcb->flight == 0 ||
	    mtu >= tcp_path_mtu(stack, tcb) || error->quoted > flight->mtu_sent)
		return false;
	/* Larger packets were acknowledged: it may be forged, so only a timeout of the very
	 * segment makes it true (RFC 5927, 7.2). */
	if (mtu < tcb_cold(stack->tcp, tcb)->mtu_acked) {
		flight->ptb_mtu = (uint16_t)mtu;
		flight->ptb_seq = error->seq;
		stack->counters.tcp_ptb_deferred++;
		return true;
	}
	stack->counters.tcp_ptb++;
	adopt(stack, tcb, (uint16_t)mtu, 0);
	return true;
}

void pmtu_on_send(struct net_stack *stack, struct tcb *tcb, uint32_t length)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	uint32_t size = length + overhead(tcb);

	if (size > flight->mtu_sent)
		flight->mtu_sent = (uint16_t)size;
}

static void probe_failed(struct net_stack *stack, struct tcb *tcb)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);

	stack->counters.tcp_mtu_probe_lost++;
	cold->pmtu_top = flight->mtu_probe;
	cold->pmtu_when = (uint8_t)(clock_units(stack) + NEXT_PROBE);
	flight->mtu_probe = 0;
}

/* The segment was larger once, if part of it is acknowledged: it is known by what is left. */
static bool holds(const struct tcp_record *r, uint32_t seq)
{
	return seq - r->seq < r->length;
}

/* The last byte of the probe that is out. */
static uint32_t probe_last(const struct tcb *tcb, const struct tcb_flight *flight)
{
	return flight->mtu_probe_seq + flight->mtu_probe - overhead(tcb) - 1;
}

/* What it is about got through: it was forged, or is outdated. */
static void forget_report(struct net_stack *stack, struct tcb_flight *flight)
{
	flight->ptb_mtu = 0;
	stack->counters.icmp_error_ignored++;
}

void pmtu_on_delivery(struct net_stack *stack, struct tcb *tcb, const struct tcp_record *r)
{
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	uint32_t size = r->length - ((r->flags & RECORD_FIN) != 0) + overhead(tcb);

	if (flight->ptb_mtu != 0 && holds(r, flight->ptb_seq))
		forget_report(stack, flight);
	if (flight->mtu_probe != 0 && holds(r, probe_last(tcb, flight))) {
		bool whole = (r->flags & RECORD_RETRANSMITTED) == 0;
		uint16_t mtu = flight->mtu_probe;

		if (!whole) { /* lost while something else was, too */
			probe_failed(stack, tcb);
			return;
		}
		flight->mtu_probe = 0;
		stack->counters.tcp_mtu_raised++;
		cold->pmtu = mtu;
		destination_set_mtu(stack, tcb, mtu);
		cold->pmtu_when = clock_units(stack); /* on with the search */
		tcp_set_mss(stack, tcb, tcp_path_mtu(stack, tcb));
	}
	/* A retransmission may have gone out in smaller parts. */
	if (size <= flight->mtu_acked || r->length > tcb->mss ||
	    (r->flags & RECORD_RETRANSMITTED) != 0)
		return;
	flight->mtu_acked = (uint16_t)size;
	if (size > cold->mtu_acked)
		cold->mtu_acked = (uint16_t)size;
}

void pmtu_on_timeout(struct net_stack *stack, struct tcb *tcb)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	struct board_cursor cursor;
	const struct tcp_record *first = board_first(stack->tcp, tcb, &cursor);
	uint32_t small = overhead(tcb) + BLACK_HOLE_PAYLOAD;
	uint32_t size;

	if (first == NULL)
		return;
	pmtu_probe_lost(stack, tcb);
	if (flight->ptb_mtu != 0 && seq_lt(flight->ptb_seq, first->seq))
		forget_report(stack, flight); /* a part of it was acknowledged */
	if (flight->ptb_mtu != 0) {
		uint16_t mtu = flight->ptb_mtu;

		flight->ptb_mtu = 0;
		stack->counters.tcp_ptb++;
		adopt(stack, tcb, mtu, 0);
		return;
	}
	size = first->length + overhead(tcb);
	if (tcb->backoff == BLACK_HOLE_TIMEOUTS && size > BLACK_HOLE_MTU) {
		stack->counters.tcp_black_hole++;
		adopt(stack, tcb, BLACK_HOLE_MTU, (uint16_t)size);
	} else if (tcb->backoff == 2 * BLACK_HOLE_TIMEOUTS && ip_is_v4(&tcb->local) &&
		   size > small) {
		stack->counters.tcp_black_hole++;
		adopt(stack, tcb, (uint16_t)small, (uint16_t)size);
	}
}

bool pmtu_probe_lost(struct net_stack *stack, struct tcb *tcb)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	struct board_cursor cursor;
	const struct tcp_record *r;
	uint32_t lost = 0;

	if (tcb->flight == 0 || flight->mtu_probe == 0)
		return false;
	r = board_find(stack, board_head(stack->tcp, tcb), flight->mtu_probe_seq, &cursor);
	if (r != NULL && holds(r, probe_last(tcb, flight))) {
		lost = (r->flags & RECORD_LOST) != 0 ? r->length : 0;
		if (lost == 0 && tcb->backoff == 0)
			return false; /* it is still under way */
	}
	probe_failed(stack, tcb);
	return tcb->lost_bytes == lost;
}

/* The packet size to try next; 0: none. */
static uint32_t candidate(struct net_stack *stack, struct tcb *tcb)
{
	const struct local_address *own = local_find(&stack->local, &tcb->local);
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);
	uint32_t limit = own != NULL ? stack->ports[own->port].mtu : 0;
	uint32_t peer = (uint32_t)tcb->peer_mss +
			(ip_is_v4(&tcb->local) ? IPV4_HEADER : IPV6_HEADER) + TCP_HEADER;

	if (peer < limit)
		limit = peer;
	if (cold->pmtu >= limit)
		return 0;
	if (cold->pmtu_top == 0 || cold->pmtu_top > limit)
		return limit; /* nothing is known to be too large: the whole way */
	if ((uint32_t)cold->pmtu + 2 * SEARCH_STEP > cold->pmtu_top) {
		cold->pmtu_top = 0; /* found; look again when the path may have changed */
		cold->pmtu_when = (uint8_t)(clock_units(stack) + RAISE_AFTER);
		return 0;
	}
	return ((uint32_t)cold->pmtu + cold->pmtu_top) / 2;
}

uint32_t pmtu_probe_length(struct net_stack *stack, struct tcb *tcb)
{
	const struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);
	uint32_t size, length;

	if (cold->pmtu == 0 || (int8_t)(clock_units(stack) - cold->pmtu_when) < 0 ||
	    (tcb->flags & (TCB_RECOVERY | TCB_LOSS | TCB_SACK)) != TCB_SACK || tcb->backoff > 0 ||
	    tcb->lost_bytes > 0 || tcb_flight(stack->tcp, tcb)->mtu_probe != 0)
		return 0;
	size = candidate(stack, tcb);
	if (size <= overhead(tcb) + tcb->mss)
		return 0;
	length = size - overhead(tcb);
	/* RFC 4821, 7.4: room for it, and enough under way that its loss is noticed. */
	if (tcb->send_end - tcb->snd_nxt < length ||
	    tcb->snd_nxt - tcb->snd_una + length > tcb->snd_wnd ||
	    tcb_pipe(tcb) + length > tcb->cwnd || tcb->cwnd < length + 3u * tcb->mss)
		return 0;
	return length;
}

void pmtu_probe_begin(struct net_stack *stack, struct tcb *tcb, uint32_t length)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);

	stack->counters.tcp_mtu_probe++;
	flight->mtu_probe = (uint16_t)(length + overhead(tcb));
	flight->mtu_probe_seq = tcb->snd_nxt;
}

bool pmtu_is_probe(const struct net_stack *stack, const struct tcb *tcb, uint32_t seq)
{
	const struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);

	return flight->mtu_probe != 0 && flight->mtu_probe_seq == seq;
}

void pmtu_begin(struct net_stack *stack, struct tcb *tcb)
{
	uint16_t known = destination_mtu(stack, tcb);
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);

	if (known == 0 || known >= tcp_path_mtu(stack, tcb))
		return;
	cold->pmtu = known;
	cold->pmtu_when = (uint8_t)(clock_units(stack) + RAISE_AFTER);
	tcp_set_mss(stack, tcb, known);
}

void pmtu_port_changed(struct net_stack *stack, struct tcb *tcb)
{
	uint16_t before = tcb->mss, mtu = tcp_path_mtu(stack, tcb);

	if (before == 0 || tcb->state == TCPS_SYN_SENT) /* nothing was agreed on yet */
		return;
	tcp_set_mss(stack, tcb, mtu);
	if (tcb->mss >= before)
		return;
	tcb->mss = before;
	shrink(stack, tcb, mtu);
}
