/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ICMP errors about our segments, believed only when the quoted sequence number is in flight (RFC
 * 5927, 4): a smaller path MTU goes to pmtu.c; unreachable ends a
 * connection only in SYN-SENT (RFC 5461).
 */
#include "dataplane/net/wire.h"
#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/layer.h"
#include "dataplane/tcp/table.h"

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
		stack->counters.icmp_error_ignored += !pmtu_too_big(stack, tcb, error);
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
