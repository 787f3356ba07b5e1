/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Received data: in order straight to the application, what it leaves into a queue, what comes out
 * of order into sorted chunks (RFC 9293, 3.10.7.4; RFC 2018, 3; RFC 2883). Both are bounded, for
 * each connection and for the worker as a whole; beyond the bounds a segment is dropped, as a
 * receiver always may.
 *
 * Always true: recv chunks are contiguous and end at rcv_nxt; ooo chunks begin beyond rcv_nxt, are
 * sorted and do not overlap; receive_chunks counts both.
 */
#include "dataplane/tcp/internal.h"

#include <string.h>

static struct chunk *take_chunk(struct net_stack *stack)
{
	struct tcp_layer *layer = stack->tcp;
	struct chunk *c = NULL;

	if (layer->receive_chunks < layer->receive_chunks_max)
		c = chunk_alloc(layer->chunks);
	if (c == NULL) {
		stack->counters.tcp_drop_no_chunk++;
		return NULL;
	}
	layer->receive_chunks++;
	c->next = NULL;
	c->length = 0;
	return c;
}

static void give_chunk(struct tcp_layer *layer, struct chunk *c)
{
	layer->receive_chunks--;
	chunk_free(layer->chunks, c);
}

void tcp_receive_free(struct net_stack *stack, struct tcb *tcb)
{
	struct chunk *lists[2] = {tcb->recv_head, tcb->ooo_head};

	for (unsigned i = 0; i < 2; i++)
		while (lists[i] != NULL) {
			struct chunk *next = lists[i]->next;

			give_chunk(stack->tcp, lists[i]);
			lists[i] = next;
		}
	tcb->recv_head = NULL;
	tcb->recv_tail = NULL;
	tcb->ooo_head = NULL;
	stack->tcp->ooo_chunks -= tcb->ooo_chunks;
	tcb->ooo_chunks = 0;
	tcb->recv_queued = 0;
}

/* RFC 2018, 8: what was SACKed may be given up; the furthest first. @return false: there is none */
static bool renege(struct net_stack *stack, struct tcb *tcb)
{
	struct chunk **last = &tcb->ooo_head;

	if (*last == NULL)
		return false;
	while ((*last)->next != NULL)
		last = &(*last)->next;
	give_chunk(stack->tcp, *last);
	*last = NULL;
	tcb->ooo_chunks--;
	stack->tcp->ooo_chunks--;
	stack->counters.tcp_ooo_reclaimed++;
	return true;
}

/* Keep bytes at rcv_nxt. @return number kept */
static uint32_t keep(struct net_stack *stack, struct tcb *tcb, const uint8_t *data, uint32_t size)
{
	uint32_t done = 0;

	while (done < size) {
		struct chunk *tail = tcb->recv_tail;
		uint32_t part;

		if (tail == NULL || tail->length == CHUNK_DATA) {
			struct chunk *c = take_chunk(stack);

			if (c == NULL && renege(stack, tcb))
				c = take_chunk(stack);
			if (c == NULL)
				break;
			c->mark = tcb->rcv_nxt;
			if (tail != NULL)
				tail->next = c;
			else
				tcb->recv_head = c;
			tcb->recv_tail = c;
			tail = c;
		}
		part = CHUNK_DATA - tail->length;
		if (part > size - done)
			part = size - done;
		memcpy(tail->data + tail->length, data + done, part);
		tail->length = (uint16_t)(tail->length + part);
		done += part;
		tcb->rcv_nxt += part;
		tcb->recv_queued += part;
	}
	return done;
}

bool tcp_offer(struct net_stack *stack, struct tcb *tcb)
{
	struct tcp_layer *layer = stack->tcp;
	tcp_handle handle = tcb_handle(layer, tcb);
	struct tcb_cold *cold = tcb_cold(layer, tcb);

	if ((tcb->flags & (TCB_DELIVERING | TCB_ACCEPTED)) != TCB_ACCEPTED)
		return true;
	while (tcb->recv_head != NULL) {
		struct chunk *c = tcb->recv_head;
		uint32_t offset = tcb->rcv_nxt - tcb->recv_queued - c->mark;
		uint32_t size = c->length - offset;
		size_t taken;

		if ((tcb->flags & TCB_FIN_RECEIVED) != 0) /* rcv_nxt counts the FIN */
			offset--, size++;
		tcb->flags |= TCB_DELIVERING;
		taken = cold->callbacks->on_receive(cold->user, handle, c->data + offset, size);
		if (!tcb_alive(layer, tcb, handle))
			return false;
		tcb->flags &= ~(uint32_t)TCB_DELIVERING;
		assert(taken <= size);
		tcb->recv_queued -= (uint32_t)taken;
		if (taken < size)
			return true;
		tcb->recv_head = c->next;
		if (c->next == NULL)
			tcb->recv_tail = NULL;
		give_chunk(layer, c);
	}
	return true;
}

/* In-order bytes at rcv_nxt: to the application, the rest to the queue. @return false: the
 * connection is gone */
static bool deliver(struct net_stack *stack, struct tcb *tcb, const uint8_t *data, uint32_t size)
{
	tcp_handle handle = tcb_handle(stack->tcp, tcb);
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);
	uint32_t start = tcb->rcv_nxt;
	size_t taken = 0;

	if (tcb->recv_head == NULL && (tcb->flags & TCB_DELIVERING) == 0) {
		tcb->flags |= TCB_DELIVERING;
		tcb->rcv_nxt += size; /* what the application sends from within acknowledges it */
		taken = cold->callbacks->on_receive(cold->user, handle, data, size);
		if (!tcb_alive(stack->tcp, tcb, handle))
			return false;
		tcb->flags &= ~(uint32_t)TCB_DELIVERING;
		assert(taken <= size);
		tcb->rcv_nxt = start + (uint32_t)taken;
		if (taken == size)
			return true;
		keep(stack, tcb, data + taken, size - (uint32_t)taken);
		return true;
	}
	keep(stack, tcb, data, size);
	return tcp_offer(stack, tcb);
}

/* The out-of-order chunks that rcv_nxt has reached. @return false: the connection is gone */
static bool pull_out_of_order(struct net_stack *stack, struct tcb *tcb)
{
	struct tcp_layer *layer = stack->tcp;

	while (tcb->ooo_head != NULL && seq_le(tcb->ooo_head->mark, tcb->rcv_nxt)) {
		struct chunk *c = tcb->ooo_head;
		uint32_t skip = tcb->rcv_nxt - c->mark;
		bool alive = true;

		tcb->ooo_head = c->next;
		tcb->ooo_chunks--;
		layer->ooo_chunks--;
		if (skip < c->length)
			alive = deliver(stack, tcb, c->data + skip, c->length - skip);
		give_chunk(layer, c);
		if (!alive)
			return false;
	}
	return true;
}

/* Put bytes behind `at`'s data when they follow it and fit. */
static bool extend(struct chunk *at, uint32_t seq, const uint8_t *data, uint32_t size)
{
	if (at == NULL || at->mark + at->length != seq || CHUNK_DATA - at->length < size)
		return false;
	memcpy(at->data + at->length, data, size);
	at->length = (uint16_t)(at->length + size);
	return true;
}

/* Bytes that no chunk has, behind prev. @return the chunk that holds them, NULL: no room */
static struct chunk *insert_piece(struct net_stack *stack, struct tcb *tcb, struct chunk *prev,
				  uint32_t seq, const uint8_t *data, uint32_t size)
{
	struct chunk *c;

	if (extend(prev, seq, data, size))
		return prev;
	/* What peers hold back must not keep others from being read. */
	if (tcb->ooo_chunks >= stack->tcp->ooo_chunks_max ||
	    stack->tcp->ooo_chunks >= stack->tcp->receive_chunks_max / 2) {
		stack->counters.tcp_drop_reassembly++;
		return NULL;
	}
	c = take_chunk(stack);
	if (c == NULL)
		return NULL;
	memcpy(c->data, data, size);
	c->mark = seq;
	c->length = (uint16_t)size;
	c->next = prev != NULL ? prev->next : tcb->ooo_head;
	if (prev != NULL)
		prev->next = c;
	else
		tcb->ooo_head = c;
	tcb->ooo_chunks++;
	stack->tcp->ooo_chunks++;
	return c;
}

void tcp_report_duplicate(struct net_stack *stack, struct tcb *tcb, uint32_t start, uint32_t end)
{
	struct tcb_flight *flight;

	if ((tcb->flags & TCB_SACK) == 0)
		return;
	flight = flight_take(stack, tcb);
	if (flight == NULL)
		return;
	tcb->flags |= TCB_DSACK_DUE;
	flight->dsack_start = start;
	flight->dsack_end = end;
}

static void store_out_of_order(struct net_stack *stack, struct tcb *tcb,
			       const struct tcp_segment *s)
{
	uint32_t seq = s->seq, end = s->seq + s->length;
	struct chunk *prev = NULL, *next = tcb->ooo_head;
	const uint8_t *data = s->data;

	stack->counters.tcp_out_of_order++;
	tcb->ooo_recent = seq;
	while (seq_lt(seq, end)) { /* at most ooo_chunks_max + 1 rounds */
		uint32_t stop;

		while (next != NULL && seq_le(next->mark + next->length, seq)) {
			prev = next;
			next = next->next;
		}
		if (next != NULL && seq_le(next->mark, seq)) { /* we have its beginning */
			stop = next->mark + next->length;
			stop = seq_lt(end, stop) ? end : stop;
			tcp_report_duplicate(stack, tcb, seq, stop);
		} else {
			stop = next != NULL && seq_lt(next->mark, end) ? next->mark : end;
			prev = insert_piece(stack, tcb, prev, seq, data, stop - seq);
			if (prev == NULL)
				return;
		}
		data += stop - seq;
		seq = stop;
	}
}

unsigned tcp_sack_blocks(const struct tcp_layer *layer, const struct tcb *tcb, uint32_t blocks[][2],
			 unsigned max)
{
	const struct tcb_flight *flight = tcb_flight(layer, tcb);
	const struct chunk *c = tcb->ooo_head;
	unsigned count = 0, recent;
	bool found = false;

	if ((tcb->flags & TCB_DSACK_DUE) != 0 && max > 0) { /* RFC 2883, 4: first */
		blocks[0][0] = flight->dsack_start;
		blocks[0][1] = flight->dsack_end;
		count = 1;
	}
	recent = count; /* RFC 2018, 4(a): then the block with the latest arrival */
	while (c != NULL) {
		uint32_t start = c->mark, end = c->mark + c->length;

		for (c = c->next; c != NULL && c->mark == end; c = c->next)
			end = c->mark + c->length;
		if (!found && seq_le(start, tcb->ooo_recent) && seq_lt(tcb->ooo_recent, end)) {
			found = true;
			if (recent >= max)
				return count;
			if (count == max)
				count--;
			memmove(blocks[recent + 1], blocks[recent],
				(count - recent) * sizeof(blocks[0]));
			blocks[recent][0] = start;
			blocks[recent][1] = end;
			count++;
		} else if (count < max) {
			blocks[count][0] = start;
			blocks[count++][1] = end;
		}
	}
	return count;
}

bool tcp_tell_end(struct net_stack *stack, struct tcb *tcb)
{
	tcp_handle handle = tcb_handle(stack->tcp, tcb);
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);

	if ((tcb->flags & (TCB_FIN_RECEIVED | TCB_END_TOLD | TCB_ACCEPTED | TCB_DELIVERING)) !=
		    (TCB_FIN_RECEIVED | TCB_ACCEPTED) ||
	    tcb->recv_queued > 0)
		return true;
	tcb->flags |= TCB_END_TOLD;
	if (cold->callbacks->on_end != NULL)
		cold->callbacks->on_end(cold->user, handle);
	return tcb_alive(stack->tcp, tcb, handle);
}

/* The peer's FIN, in order (RFC 9293, 3.10.7.4, eighth). */
static void fin_input(struct net_stack *stack, struct tcb *tcb)
{
	enum tcp_state state = tcb->state;

	tcb->rcv_nxt++;
	tcb->flags |= TCB_FIN_RECEIVED | TCB_ACK_NOW;
	tcb->close_us = 0;
	if (state == TCPS_ESTABLISHED)
		tcb_set_state(stack, tcb, TCPS_CLOSE_WAIT);
	else if (state == TCPS_FIN_WAIT_1)
		tcb_set_state(stack, tcb, TCPS_CLOSING);
	tcb_schedule(stack, tcb);
	if (!tcp_tell_end(stack, tcb))
		return;
	if (state == TCPS_FIN_WAIT_2)
		tcp_enter_time_wait(stack, tcb);
}

/* Cut what was received before and what lies beyond the window. */
static void trim(struct net_stack *stack, struct tcb *tcb, struct tcp_segment *s)
{
	uint32_t window_end = tcb->rcv_adv;

	if (seq_lt(s->seq, tcb->rcv_nxt)) {
		uint32_t old = tcb->rcv_nxt - s->seq;

		if (old > s->length)
			old = s->length;
		if (old > 0)
			tcp_report_duplicate(stack, tcb, s->seq, s->seq + old);
		s->seq += old;
		s->data += old;
		s->length -= old;
		tcb->flags |= TCB_ACK_NOW;
	}
	if (s->length > 0 && seq_lt(window_end, s->seq + s->length)) {
		s->length = seq_lt(s->seq, window_end) ? window_end - s->seq : 0;
		s->flags &= (uint8_t)~TCP_FIN;
		tcb->flags |= TCB_ACK_NOW;
	}
}

/* RFC 9293, 3.8.6.3 (SHLD-18, MUST-59) and RFC 5681, 4.2. */
static void plan_ack(struct net_stack *stack, struct tcb *tcb, bool at_once)
{
	if (at_once || (tcb->flags & TCB_ACK_DELAYED) != 0 || tcb->ooo_head != NULL) {
		tcb->flags |= TCB_ACK_NOW;
		tcb_schedule(stack, tcb);
		return;
	}
	tcb->flags |= TCB_ACK_DELAYED;
	tcb->delack_us = (now32(stack) + TCP_DELACK_US) | 1;
	tcb_arm(stack, tcb);
}

void tcp_data_input(struct net_stack *stack, struct tcb *tcb, struct tcp_segment *s)
{
	bool receiving = tcb->state == TCPS_ESTABLISHED || tcb->state == TCPS_FIN_WAIT_1 ||
			 tcb->state == TCPS_FIN_WAIT_2;
	bool had_hole = tcb->ooo_head != NULL;

	if (!receiving) { /* behind the peer's FIN */
		stack->counters.tcp_drop_state++;
		return;
	}
	trim(stack, tcb, s);
	if (s->length > 0 && s->seq != tcb->rcv_nxt) {
		store_out_of_order(stack, tcb, s);
		tcb->flags |= TCB_ACK_NOW;
		tcb_schedule(stack, tcb);
		return;
	}
	if (s->length > 0) {
		uint32_t end = s->seq + s->length;

		if (!deliver(stack, tcb, s->data, s->length))
			return;
		if (tcb->rcv_nxt == end && !pull_out_of_order(stack, tcb))
			return;
		plan_ack(stack, tcb, had_hole || seq_lt(tcb->rcv_nxt, end));
		if (seq_lt(tcb->rcv_nxt, end))
			return; /* not all could be kept: its FIN comes again */
	}
	if ((tcb->flags & TCB_ACK_NOW) != 0)
		tcb_schedule(stack, tcb);
	if ((s->flags & TCP_FIN) != 0 && s->seq + s->length == tcb->rcv_nxt &&
	    (tcb->flags & TCB_FIN_RECEIVED) == 0)
		fin_input(stack, tcb);
}
