/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Birth, death and place of a connection: slab, handles, wheel. */
#include "dataplane/tcp/destination.h"
#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/layer.h"
#include "dataplane/tcp/table.h"

static uint64_t hash_of(const struct tcp_layer *layer, const struct tcb *tcb)
{
	return tcp_tuple_hash(&layer->table_key, &tcb->local, tcb->local_port, &tcb->remote,
			      tcb->remote_port);
}

struct tcb *tcb_create(struct net_stack *stack, const struct ip_address *local, uint16_t local_port,
		       const struct ip_address *remote, uint16_t remote_port)
{
	struct tcp_layer *layer = stack->tcp;
	struct tcb_cold *cold;
	struct tcb *tcb;
	uint32_t index, generation;

	if (layer->free != 0) {
		index = layer->free - 1;
		layer->free = layer->tcbs[index].list_next;
	} else if (layer->fresh < layer->capacity) {
		index = layer->fresh++;
	} else {
		stack->counters.tcp_drop_table_full++;
		return NULL;
	}
	tcb = &layer->tcbs[index];
	cold = &layer->cold[index];
	generation = cold->generation != 0 ? cold->generation : 1;
	*tcb = (struct tcb){
		.local = *local,
		.local_port = local_port,
		.remote = *remote,
		.remote_port = remote_port,
		.state = TCPS_CLOSED,
		.reo_mult = 1,
		.user_timeout_us = TCP_USER_TIMEOUT_US,
		.progress_us = now32(stack),
	};
	*cold = (struct tcb_cold){
		.generation = generation,
	};
	tcp_table_insert(&layer->table, hash_of(layer, tcb), index);
	layer->used++;
	return tcb;
}

void tcb_set_state(struct net_stack *stack, struct tcb *tcb, enum tcp_state state)
{
	/* What strangers opened: our own SYNs must not fill the backlog. */
	if ((tcb->flags & TCB_ACTIVE) == 0)
		stack->tcp->half_open += (uint32_t)(state == TCPS_SYN_RCVD) -
					 (uint32_t)(tcb->state == TCPS_SYN_RCVD);
	tcb->state = (uint8_t)state;
}

void tcb_finish(struct net_stack *stack, struct tcb *tcb, enum tcp_close_reason reason)
{
	struct tcp_layer *layer = stack->tcp;
	struct tcb_cold *cold = tcb_cold(layer, tcb);
	bool known = (tcb->flags & TCB_ACCEPTED) != 0;

	if (tcb->state == TCPS_CLOSED) /* its own on_closed is running */
		return;
	if (tcb->state == TCPS_SYN_SENT && reason != TCP_ABORTED)
		stack->counters.tcp_connect_failed++;
	tcp_table_remove(&layer->table, hash_of(layer, tcb), tcb_index(layer, tcb));
	tcb_set_state(stack, tcb, TCPS_CLOSED);
	tcb_unlist(layer, tcb);
	wheel_cancel(layer->wheel, tcb_index(layer, tcb));
	send_queue_free(layer, tcb);
	tcp_receive_free(stack, tcb);
	board_clear(layer, tcb);
	flight_give(layer, tcb);
	destination_close(stack, tcb);
	congestion_release(stack, tcb);
	if (known && cold->callbacks->on_closed != NULL)
		cold->callbacks->on_closed(cold->user, tcb_handle(layer, tcb), reason);
	/* Generation 0 is left out, so that no handle is ever 0. */
	cold->generation = cold->generation + 1 != 0 ? cold->generation + 1 : 1;
	cold->user = NULL;
	cold->callbacks = NULL;
	tcb->flags = 0;
	tcb->list_next = layer->free;
	layer->free = tcb_index(layer, tcb) + 1;
	layer->used--;
}

tcp_handle tcb_handle(const struct tcp_layer *layer, const struct tcb *tcb)
{
	return (uint64_t)tcb_cold(layer, tcb)->generation << 32 | (tcb_index(layer, tcb) + 1);
}

bool tcb_alive(const struct tcp_layer *layer, const struct tcb *tcb, tcp_handle handle)
{
	return tcb_handle(layer, tcb) == handle && tcb->state != TCPS_CLOSED;
}

struct tcb *tcb_of(const struct net_stack *stack, tcp_handle handle)
{
	const struct tcp_layer *layer = stack->tcp;
	uint32_t index = (uint32_t)handle - 1;

	if (handle == 0 || index >= layer->fresh || layer->cold[index].generation != handle >> 32 ||
	    layer->tcbs[index].state == TCPS_CLOSED)
		return NULL;
	return &layer->tcbs[index];
}

void tcb_arm(struct net_stack *stack, struct tcb *tcb)
{
	uint32_t deadlines[4] = {tcb->rtx_us, tcb->delack_us, tcb->close_us,
				 pacing_deadline(stack->tcp, tcb)};
	int32_t earliest = INT32_MAX;

	for (unsigned i = 0; i < 4; i++) {
		int32_t ahead = (int32_t)(deadlines[i] - now32(stack));

		if (deadlines[i] != 0 && ahead < earliest)
			earliest = ahead;
	}
	if (earliest == INT32_MAX)
		return; /* a node that is armed fires once more for nothing */
	if (earliest < 0)
		earliest = 0;
	wheel_arm_lazily(stack->tcp->wheel, tcb_index(stack->tcp, tcb),
			 stack->now_us + (uint32_t)earliest);
}

uint32_t tcb_receive_room(const struct tcp_layer *layer, const struct tcb *tcb)
{
	return tcb->recv_queued < layer->receive_window ? layer->receive_window - tcb->recv_queued
							: 0;
}
