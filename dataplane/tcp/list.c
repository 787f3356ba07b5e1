/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The lists of connections with something to send: those whose turn comes with the next output,
 * and those that wait for what they lack, one list for each port whose queue is full and one for
 * memory (frames, flights, scoreboard blocks). Who waits costs nothing until there is room: each
 * turn wakes no more than can go on. Nothing tells that memory came back (frames come from the
 * port), so a worker that sleeps is to look from time to time.
 *
 * Owner: one worker. Always true: a connection is on at most one list; TCB_LISTED says that it is
 * on one, and `list` on which.
 */
#include "dataplane/tcp/internal.h"

/* Connections that ask again for memory in one turn. */
#define WAKE_MEMORY 32u
/* How often it looks, and in what time it has asked all of many, microseconds. */
#define WAKE_US	    1000u
#define WAKE_ALL_US 10000u

static void append(struct tcp_layer *layer, struct tcb *tcb, unsigned number)
{
	struct tcb_list *list = &layer->lists[number];
	uint32_t link = tcb_index(layer, tcb) + 1;

	tcb->flags |= TCB_LISTED;
	tcb->list = (uint8_t)(number & 15);
	tcb->list_next = 0;
	tcb->list_prev = list->tail;
	if (list->tail != 0)
		layer->tcbs[list->tail - 1].list_next = link;
	else
		list->head = link;
	list->tail = link;
	list->count++;
}

void tcb_unlist(struct tcp_layer *layer, struct tcb *tcb)
{
	struct tcb_list *list = &layer->lists[tcb->list];

	if ((tcb->flags & TCB_LISTED) == 0)
		return;
	if (tcb->list_prev != 0)
		layer->tcbs[tcb->list_prev - 1].list_next = tcb->list_next;
	else
		list->head = tcb->list_next;
	if (tcb->list_next != 0)
		layer->tcbs[tcb->list_next - 1].list_prev = tcb->list_prev;
	else
		list->tail = tcb->list_prev;
	list->count--;
	tcb->flags &= ~(uint32_t)TCB_LISTED;
}

void tcb_schedule(struct net_stack *stack, struct tcb *tcb)
{
	if ((tcb->flags & TCB_LISTED) != 0 && tcb->list == TCB_LIST_OUTPUT)
		return;
	tcb_unlist(stack->tcp, tcb);
	append(stack->tcp, tcb, TCB_LIST_OUTPUT);
}

void tcb_wait(struct net_stack *stack, struct tcb *tcb, unsigned list)
{
	assert(list < TCB_LISTS);
	tcb_unlist(stack->tcp, tcb);
	append(stack->tcp, tcb, list);
}

struct tcb *tcb_list_pop(struct tcp_layer *layer, unsigned list)
{
	struct tcb *tcb;

	if (layer->lists[list].head == 0)
		return NULL;
	tcb = &layer->tcbs[layer->lists[list].head - 1];
	tcb_unlist(layer, tcb);
	if (tcb->list_next != 0) /* whose turn is next */
		tcb_prefetch(&layer->tcbs[tcb->list_next - 1]);
	return tcb;
}

static void wake(struct net_stack *stack, unsigned list, unsigned count)
{
	struct tcb *tcb;

	while (count-- > 0 && (tcb = tcb_list_pop(stack->tcp, list)) != NULL)
		append(stack->tcp, tcb, TCB_LIST_OUTPUT);
}

void tcb_wake(struct net_stack *stack)
{
	for (unsigned port = 0; port < NET_PORTS_MAX; port++)
		if (stack->tcp->lists[TCB_LIST_PORT + port].head != 0)
			wake(stack, TCB_LIST_PORT + port, net_port_room(stack, (uint16_t)port));
	if (stack->tcp->lists[TCB_LIST_MEMORY].head != 0)
		wake(stack, TCB_LIST_MEMORY, WAKE_MEMORY);
}

uint64_t tcb_wake_due(const struct net_stack *stack)
{
	uint32_t waiting = stack->tcp->lists[TCB_LIST_MEMORY].count;
	uint32_t looks = (waiting + WAKE_MEMORY - 1) / WAKE_MEMORY;

	if (waiting == 0)
		return MR_NEVER;
	return stack->now_us + (looks * WAKE_US <= WAKE_ALL_US ? WAKE_US : WAKE_ALL_US / looks);
}
