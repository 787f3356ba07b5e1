/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Numbers that a stranger must not guess: initial sequence numbers (RFC 6528), timestamp offsets
 * (RFC 7323, 5.4) and local ports (RFC 6056, 3.3.4, restricted to the ports that make this worker
 * the owner).
 */
#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/table.h"

#define PORT_FIRST 16384u
#define PORT_COUNT (65536u - PORT_FIRST)
/* Ports looked at that are ours, before giving up. */
#define PORT_TRIES 1024u

uint32_t tcp_initial_sequence(struct net_stack *stack, const struct tcb *tcb)
{
	uint64_t f = tcp_tuple_hash(&stack->tcp->isn_key, &tcb->local, tcb->local_port,
				    &tcb->remote, tcb->remote_port);

	/* ISN = M + F(tuple, secret): M is the 4-microsecond clock. */
	return (uint32_t)(stack->now_us >> 2) + (uint32_t)f;
}

uint32_t tcp_timestamp_offset(const struct tcp_layer *layer, const struct tcb *tcb)
{
	/* Without the ports, so that clocks of successive connections keep their order (RFC 6191).
	 */
	return (uint32_t)tcp_tuple_hash(&layer->ts_key, &tcb->local, 0, &tcb->remote, 0);
}

static bool port_free(const struct tcp_layer *layer, const struct ip_address *local, uint16_t port,
		      const struct ip_address *remote, uint16_t remote_port)
{
	uint64_t hash = tcp_tuple_hash(&layer->table_key, local, port, remote, remote_port);

	return tcp_table_find(layer, hash, local, port, remote, remote_port) == NULL &&
	       !time_wait_has(layer, hash);
}

uint16_t tcp_choose_port(struct net_stack *stack, const struct ip_address *local,
			 const struct ip_address *remote, uint16_t remote_port)
{
	struct tcp_layer *layer = stack->tcp;
	uint64_t f = tcp_tuple_hash(&layer->port_key, local, 0, remote, remote_port);
	uint32_t *counter = &layer->port_counter[(f >> 32) % PORT_COUNTERS];
	unsigned tried = 0;

	for (uint32_t i = 0; i < PORT_COUNT && tried < PORT_TRIES; i++) {
		uint16_t port = (uint16_t)(PORT_FIRST + ((uint32_t)f + (*counter)++) % PORT_COUNT);

		if (net_owner_of(remote, port, remote_port, stack->settings.worker_count) !=
			    stack->settings.worker ||
		    tcp_find_listener(layer, local, port) != NULL)
			continue;
		if (port_free(layer, local, port, remote, remote_port))
			return port;
		tried++;
	}
	return 0;
}
