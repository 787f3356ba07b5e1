/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ICMP errors about our segments, believed only when the quoted sequence number is in flight (RFC
 * 5927, 4): a smaller path MTU (RFC 1191, RFC 8201) shrinks the segments; unreachable ends a
 * connection only in SYN-SENT (RFC 5461).
 */
#include "dataplane/net/wire.h"
#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/layer.h"
#include "dataplane/tcp/table.h"

#define MTU_MIN_V4 552u /* as Linux: nothing on the Internet is smaller */
#define MTU_MIN_V6 1280u

/* RFC 1191, 7.1: routers that do not say their MTU. */
static uint16_t next_plateau(uint16_t quoted)
{
	static const uint16_t plateaus[] = {8166, 4352, 2002, 1492, 1006, 576};

	for (unsigned i = 0; i < sizeof(plateaus) / sizeof(plateaus[0]); i++)
		if (plateaus[i] < quoted)
			return plateaus[i];
	return MTU_MIN_V4;
}

void tcp_shrink_mss(struct net_stack *stack, struct tcb *tcb, uint16_t mtu)
{
	struct board_cursor cursor;
	uint16_t before = tcb->mss;
	uint32_t old = tcb->snd_nxt;

	tcp_set_mss(stack, tcb, mtu);
	if (tcb->mss >= before) {
		tcb->mss = before;
		return;
	}
	/* What was larger did not get through; this is no congestion (RFC 1191, 6.3). */
	for (struct tcp_record *r = board_first(stack->tcp, tcb, &cursor); r != NULL;
	     r = board_next(stack->tcp, &cursor))
		if (r->length > tcb->mss && seq_le(r->seq + r->length, old))
			board_mark_lost(tcb, r);
	if (tcb->cwnd < 2u * before)
		tcb->cwnd = 2u * before;
	tcb_schedule(stack, tcb);
}

static void too_big(struct net_stack *stack, struct tcb *tcb, const struct tcp_icmp_error *error)
{
	uint32_t mtu = error->mtu;
	uint32_t floor = ip_is_v4(&tcb->local) ? MTU_MIN_V4 : MTU_MIN_V6;

	if (mtu == 0)
		mtu = next_plateau(error->quoted);
	if (mtu < floor)
		mtu = floor;
	/* A packet that fits did not provoke it. */
	if (mtu >= error->quoted || tcb->mss == 0) {
		stack->counters.icmp_error_ignored++;
		return;
	}
	tcp_shrink_mss(stack, tcb, (uint16_t)mtu);
}

void tcp_icmp_input(struct net_stack *stack, const struct tcp_icmp_error *error)
{
	struct tcp_layer *layer = stack->tcp;
	uint64_t hash = tcp_tuple_hash(&layer->table_key, &error->local, error->local_port,
				       &error->remote, error->remote_port);
	struct tcb *tcb = tcp_table_find(layer, hash, &error->local, error->local_port,
					 &error->remote, error->remote_port);

	if (tcb == NULL || tcb->state == TCPS_CLOSED || seq_lt(error->seq, tcb->snd_una) ||
	    !seq_lt(error->seq, tcb->snd_nxt)) {
		stack->counters.icmp_error_ignored++;
		return;
	}
	if (error->kind == TCP_ICMP_TOO_BIG)
		too_big(stack, tcb, error);
	else if (tcb->state == TCPS_SYN_SENT)
		tcb_finish(stack, tcb, TCP_UNREACHABLE);
	else
		stack->counters.icmp_error_ignored++; /* RFC 5927, 5.2 */
}

void tcp_frame_undeliverable(struct net_stack *stack, const struct frame *frame)
{
	const uint8_t *ip = frame->data + frame->l2_length;
	const uint8_t *p = ip + frame->l3_length;
	struct ip_address local, remote;
	struct tcb *tcb;

	if (frame->l3_length == IPV4_HEADER && ip[9] == PROTOCOL_TCP) {
		local = ip_from_v4(load32(ip + 12));
		remote = ip_from_v4(load32(ip + 16));
	} else if (frame->l3_length == IPV6_HEADER && ip[6] == PROTOCOL_TCP) {
		memcpy(local.bytes, ip + 8, 16);
		memcpy(remote.bytes, ip + 24, 16);
	} else {
		return;
	}
	tcb = tcp_table_find(
		stack->tcp,
		tcp_tuple_hash(&stack->tcp->table_key, &local, load16(p), &remote, load16(p + 2)),
		&local, load16(p), &remote, load16(p + 2));
	if (tcb != NULL && tcb->state == TCPS_SYN_SENT)
		tcb_finish(stack, tcb, TCP_UNREACHABLE);
}
