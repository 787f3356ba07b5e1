/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a connection tells of its path, for events and operators (RFC 4898 has the idea). */
#include "dataplane/net/wire.h"
#include "dataplane/tcp/congestion.h"
#include "dataplane/tcp/internal.h"

#include <errno.h>

#define TIMESTAMPS 12u /* bytes of the option and its padding */

static uint16_t largest_packet(const struct tcb *tcb)
{
	unsigned ip = ip_is_v4(&tcb->local) ? IPV4_HEADER : IPV6_HEADER;
	unsigned options = (tcb->flags & TCB_TIMESTAMPS) != 0 ? TIMESTAMPS : 0;

	return (uint16_t)(tcb->mss + options + TCP_HEADER + ip);
}

int tcp_measure(const struct net_stack *stack, tcp_handle connection, struct tcp_measure *out)
{
	const struct tcp_layer *layer = stack->tcp;
	uint32_t index = (uint32_t)connection - 1;

	*out = (struct tcp_measure){0};
	if (connection == 0 || index >= layer->fresh ||
	    layer->cold[index].generation != connection >> 32)
		return -ENOTCONN;
	const struct tcb *tcb = &layer->tcbs[index];

	*out = (struct tcp_measure){
		.rtt_us = tcb->srtt_us,
		.rtt_min_us = tcb->srtt_us != 0 ? tcb->min_rtt_us : 0,
		.cwnd_bytes = tcb->cwnd,
		.segments = layer->cold[index].sent + tcb_flight(layer, tcb)->sent,
		.retransmitted = layer->cold[index].retransmitted,
		.pmtu = largest_packet(tcb),
		.reordering = (tcb->flags & TCB_REORDERING) != 0,
		.ecn = (tcb->flags & TCB_ECN) != 0,
		.congestion = congestion_of(tcb)->name,
	};
	return 0;
}
