/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The send queue: chunks whose marks are sequence numbers. Bytes are copied in once, copied out for
 * each transmission and released as they are acknowledged.
 */
#include "dataplane/net/checksum.h"
#include "dataplane/tcp/internal.h"

#include <errno.h>
#include <string.h>

int send_queue_append(struct tcp_layer *layer, struct tcb *tcb, const uint8_t *data, size_t size)
{
	struct chunk *tail = tcb->send_tail;
	size_t room = tail != NULL ? CHUNK_DATA - tail->length : 0;
	struct chunk_list fresh = {0};

	/* All or nothing: the chunks first. */
	if (size > room) {
		size_t need = (size - room + CHUNK_DATA - 1) / CHUNK_DATA;

		if (need > chunk_pool_available(layer->chunks))
			return -ENOBUFS;
	}
	if (room > size)
		room = size;
	if (room > 0) {
		memcpy(tail->data + tail->length, data, room);
		tail->length = (uint16_t)(tail->length + room);
		tcb->send_end += (uint32_t)room;
	}
	if (size == room)
		return 0;
	if (chunk_list_append(&fresh, layer->chunks, data + room, size - room) != 0)
		return -ENOBUFS; /* not reached: available was asked */
	for (struct chunk *c = fresh.head; c != NULL; c = c->next) {
		c->mark = tcb->send_end;
		tcb->send_end += c->length;
	}
	if (tail != NULL)
		tail->next = fresh.head;
	else
		tcb->send_head = fresh.head;
	tcb->send_tail = fresh.tail;
	return 0;
}

void send_queue_release(struct tcp_layer *layer, struct tcb *tcb)
{
	while (tcb->send_head != NULL) {
		struct chunk *c = tcb->send_head;

		if (seq_lt(tcb->snd_una, c->mark + c->length))
			return;
		tcb->send_head = c->next;
		if (c->next == NULL)
			tcb->send_tail = NULL;
		if (tcb->flight != 0 && tcb_flight(layer, tcb)->send_cursor == c)
			tcb_flight(layer, tcb)->send_cursor = NULL;
		chunk_free(layer->chunks, c);
	}
}

const struct chunk *send_queue_seek(const struct tcp_layer *layer, const struct tcb *tcb,
				    uint32_t seq)
{
	const struct chunk *c = tcb_flight(layer, tcb)->send_cursor;

	if (c == NULL)
		c = tcb->send_head;
	while (c != NULL && seq_le(c->mark + c->length, seq))
		c = c->next;
	return c;
}

uint64_t send_queue_copy(struct net_stack *stack, const struct tcb *tcb, uint32_t seq, uint8_t *to,
			 uint32_t size, bool sum)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	const struct chunk *c = flight->resend_from;
	uint32_t done = 0;

	if (c == NULL)
		c = flight->send_cursor = send_queue_seek(stack->tcp, tcb, seq);
	assert(c != NULL);
	for (; seq_le(c->mark + c->length, seq); c = c->next)
		stack->counters.tcp_board_steps++;
	if (sum && c->mark + c->length - seq >= size)
		return checksum_copy(0, to, c->data + (seq - c->mark), size);
	while (done < size) {
		uint32_t offset = seq + done - c->mark;
		uint32_t part = c->length - offset;

		if (part > size - done)
			part = size - done;
		memcpy(to + done, c->data + offset, part);
		done += part;
		c = c->next;
	}
	return sum ? checksum_add(0, to, size) : 0;
}

void send_queue_free(struct tcp_layer *layer, struct tcb *tcb)
{
	while (tcb->send_head != NULL) {
		struct chunk *c = tcb->send_head;

		tcb->send_head = c->next;
		chunk_free(layer->chunks, c);
	}
	tcb->send_tail = NULL;
	if (tcb->flight != 0)
		tcb_flight(layer, tcb)->send_cursor = NULL;
}
