/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Flights: what a connection needs only while something of it is in flight, from a pool that is
 * smaller than the connection table. Who finds the pool empty sends nothing new until one is free;
 * acknowledging never needs one. The last of them are for connections that we opened: strangers who
 * connect and acknowledge nothing must not hold up what we owe.
 *
 * Owner: one worker. Memory: one block made with the layer; flights that were never used are not
 * touched. Always true: flight 0 is all zero and is nobody's; a held flight's connection has
 * something in flight, a duplicate to report, or its wheel node armed.
 */
#include "dataplane/tcp/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RESERVE 8u /* one of so many */

int flight_pool_init(struct flight_pool *pool, uint32_t flights)
{
	*pool = (struct flight_pool){.capacity = flights, .fresh = 1};
	pool->flights =
		aligned_alloc(64, (((size_t)flights + 1) * sizeof(*pool->flights) + 63) / 64 * 64);
	if (pool->flights == NULL)
		return -ENOMEM;
	memset(&pool->flights[0], 0, sizeof(pool->flights[0]));
	return 0;
}

void flight_pool_free(struct flight_pool *pool)
{
	free(pool->flights);
	pool->flights = NULL;
}

/* Those that this connection may not take. */
static uint32_t reserve(const struct tcp_layer *layer, const struct tcb *tcb)
{
	if ((tcb->flags & TCB_ACTIVE) != 0 || layer->flights.capacity >= layer->capacity)
		return 0;
	return layer->flights.capacity / RESERVE;
}

struct tcb_flight *flight_take(struct net_stack *stack, struct tcb *tcb)
{
	struct flight_pool *pool = &stack->tcp->flights;
	struct tcb_flight *flight;

	if (tcb->flight != 0)
		return &pool->flights[tcb->flight];
	if (pool->used + reserve(stack->tcp, tcb) >= pool->capacity) {
		stack->counters.tcp_no_flight++;
		return NULL;
	}
	if (pool->free != 0) {
		tcb->flight = pool->free;
		pool->free = pool->flights[pool->free].board_head;
	} else {
		tcb->flight = pool->fresh++;
	}
	pool->used++;
	flight = &pool->flights[tcb->flight];
	*flight = (struct tcb_flight){.reo_round = tcb->snd_una, .usage_end = tcb->snd_una};
	return flight;
}

void flight_give(struct tcp_layer *layer, struct tcb *tcb)
{
	struct flight_pool *pool = &layer->flights;
	struct tcb_flight *flight = &pool->flights[tcb->flight];

	if (tcb->flight == 0)
		return;
	assert(flight->board_count == 0);
	tcb->flags &=
		~(uint32_t)(TCB_PROBE_OUT | TCB_RECOVERY | TCB_LOSS | TCB_DSACK_DUE | TCB_CWR);
	tcb_cold(layer, tcb)->sent += flight->sent;
	flight->board_head = pool->free;
	pool->free = tcb->flight;
	pool->used--;
	tcb->flight = 0;
}

void flight_rest(struct net_stack *stack, struct tcb *tcb)
{
	const struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);

	/* Who waits for pacing finds the time of it here. */
	if (tcb->flight == 0 || tcb->snd_una != tcb->snd_nxt ||
	    (tcb->flags & (TCB_DSACK_DUE | TCB_PACED)) != 0)
		return;
	if ((tcb->flags & TCB_PROBE_OUT) == 0 &&
	    (flight->prior_cwnd == 0 || flight->undo_pending == 0)) {
		flight_give(stack->tcp, tcb);
		return;
	}
	wheel_arm_lazily(stack->tcp->wheel, tcb_index(stack->tcp, tcb),
			 stack->now_us + rtt_timeout_us(tcb));
}
