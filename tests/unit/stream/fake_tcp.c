/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/stream/fake_tcp.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct segment {
	struct segment *next;
	uint64_t acknowledges; /* bytes of the receiver's that the sender had when it sent this */
	size_t size;
	bool fin, rst;
	uint8_t data[];
};

struct end {
	const struct tcp_callbacks *callbacks;
	void *user;
	struct segment *wire; /* on the way to this end */
	uint8_t *received;    /* not taken yet */
	size_t received_size;
	uint64_t received_total;
	uint8_t *log; /* everything it sent */
	size_t sent_total, acknowledged, largest_send;
	size_t hold; /* payload bytes that may still arrive */
	bool wants_send, fin_sent, fin_acknowledged, fin_received, end_told, closed, starved,
		in_receive;
};

struct net_stack {
	struct end ends[2];
	size_t segment_bytes, window_bytes;
};

static struct end *end_of(struct net_stack *stack, tcp_handle connection)
{
	assert(connection == 1 || connection == 2);
	return &stack->ends[connection - 1];
}

static struct end *peer_of(struct net_stack *stack, const struct end *e)
{
	return &stack->ends[e == &stack->ends[0]];
}

static tcp_handle handle_of(struct net_stack *stack, const struct end *e)
{
	return e == &stack->ends[0] ? 1 : 2;
}

struct net_stack *fake_tcp_create(size_t segment_bytes, size_t window_bytes)
{
	struct net_stack *stack = calloc(1, sizeof(*stack));

	stack->segment_bytes = segment_bytes;
	stack->window_bytes = window_bytes;
	stack->ends[0].hold = stack->ends[1].hold = SIZE_MAX;
	return stack;
}

static void drop_wire(struct end *e)
{
	while (e->wire) {
		struct segment *s = e->wire;
		e->wire = s->next;
		free(s);
	}
}

void fake_tcp_destroy(struct net_stack *stack)
{
	for (unsigned i = 0; i < 2; i++) {
		drop_wire(&stack->ends[i]);
		free(stack->ends[i].received);
		free(stack->ends[i].log);
	}
	free(stack);
}

tcp_handle fake_tcp_handle(const struct net_stack *stack, unsigned end)
{
	return end + 1;
}

void fake_tcp_attach(struct net_stack *stack, unsigned end, const struct tcp_callbacks *callbacks,
		     void *user)
{
	stack->ends[end].callbacks = callbacks;
	stack->ends[end].user = user;
}

void fake_tcp_connect(struct net_stack *stack)
{
	stack->ends[0].callbacks->on_connected(stack->ends[0].user, 1);
}

static void close_end(struct net_stack *stack, struct end *e, enum tcp_close_reason reason)
{
	if (e->closed)
		return;
	e->closed = true;
	drop_wire(e);
	if (e->callbacks)
		e->callbacks->on_closed(e->user, handle_of(stack, e), reason);
}

static struct segment *put_on_wire(struct net_stack *stack, struct end *from, const void *data,
				   size_t size)
{
	struct end *to = peer_of(stack, from);
	struct segment *s = calloc(1, sizeof(*s) + size), **at = &to->wire;

	s->acknowledges = from->received_total;
	s->size = size;
	if (size > 0)
		memcpy(s->data, data, size);
	while (*at)
		at = &(*at)->next;
	*at = s;
	return s;
}

int tcp_send(struct net_stack *stack, tcp_handle connection, const void *data, size_t size)
{
	struct end *e = end_of(stack, connection);
	const uint8_t *p = data;

	if (e->starved) {
		e->starved = false;
		return -ENOBUFS;
	}
	if (e->closed || e->fin_sent)
		return -ENOTCONN;
	e->log = realloc(e->log, e->sent_total + size);
	memcpy(e->log + e->sent_total, data, size);
	e->sent_total += size;
	if (size > e->largest_send)
		e->largest_send = size;
	while (size > 0) {
		size_t n = size < stack->segment_bytes ? size : stack->segment_bytes;
		put_on_wire(stack, e, p, n);
		p += n;
		size -= n;
	}
	return 0;
}

void tcp_want_send(struct net_stack *stack, tcp_handle connection)
{
	end_of(stack, connection)->wants_send = true;
}

size_t tcp_unacknowledged(const struct net_stack *stack, tcp_handle connection)
{
	const struct end *e = &stack->ends[connection - 1];

	return e->sent_total - e->acknowledged;
}

void tcp_close(struct net_stack *stack, tcp_handle connection, const struct mr_now *now)
{
	struct end *e = end_of(stack, connection);

	if (e->closed || e->fin_sent)
		return;
	e->fin_sent = true;
	put_on_wire(stack, e, NULL, 0)->fin = true;
}

void tcp_abort(struct net_stack *stack, tcp_handle connection, const struct mr_now *now)
{
	struct end *e = end_of(stack, connection);

	if (e->closed)
		return;
	drop_wire(peer_of(stack, e));
	put_on_wire(stack, e, NULL, 0)->rst = true;
	close_end(stack, e, TCP_ABORTED);
}

/* Hand over what waits, in one piece, once. */
static bool offer(struct net_stack *stack, struct end *e)
{
	size_t taken;

	if (e->closed || e->received_size == 0 || e->in_receive)
		return false;
	e->in_receive = true;
	taken = e->callbacks->on_receive(e->user, handle_of(stack, e), e->received,
					 e->received_size);
	e->in_receive = false;
	assert(taken <= e->received_size);
	memmove(e->received, e->received + taken, e->received_size - taken);
	e->received_size -= taken;
	return taken > 0;
}

static void settle(struct net_stack *stack, struct end *e)
{
	if (!e->closed && e->fin_received && e->received_size == 0 && !e->end_told) {
		e->end_told = true;
		e->callbacks->on_end(e->user, handle_of(stack, e));
	}
	if (!e->closed && e->end_told && e->fin_acknowledged)
		close_end(stack, e, TCP_CLOSED);
}

void tcp_resume_receive(struct net_stack *stack, tcp_handle connection, const struct mr_now *now)
{
	struct end *e = end_of(stack, connection);

	while (offer(stack, e))
		;
	settle(stack, e);
}

static void receive_segment(struct net_stack *stack, struct end *e, struct segment *s)
{
	struct end *peer = peer_of(stack, e);

	if (s->rst) {
		close_end(stack, e, TCP_RESET);
		return;
	}
	if (s->acknowledges > e->acknowledged)
		e->acknowledged = s->acknowledges;
	if (e->fin_sent && peer->fin_received && e->acknowledged == e->sent_total)
		e->fin_acknowledged = true;
	if (s->size > 0) {
		e->received = realloc(e->received, e->received_size + s->size);
		memcpy(e->received + e->received_size, s->data, s->size);
		e->received_size += s->size;
		e->received_total += s->size;
	}
	if (s->fin)
		e->fin_received = true;
	if (s->size > 0 || s->fin)
		put_on_wire(stack, e, NULL, 0); /* pure ACK */
	offer(stack, e);
	settle(stack, e);
}

bool fake_tcp_step(struct net_stack *stack, unsigned end)
{
	struct end *e = &stack->ends[end];
	struct segment *s = e->wire;
	size_t flight;

	if (e->closed) {
		drop_wire(e);
		return false;
	}
	if (s && s->size <= e->hold) {
		if (e->hold != SIZE_MAX)
			e->hold -= s->size;
		e->wire = s->next;
		receive_segment(stack, e, s);
		free(s);
		return true;
	}
	flight = e->sent_total - e->acknowledged;
	if (e->wants_send && flight < stack->window_bytes) {
		e->wants_send = false;
		e->callbacks->on_send_room(e->user, handle_of(stack, e),
					   stack->window_bytes - flight);
		return true;
	}
	return false;
}

void fake_tcp_run(struct net_stack *stack)
{
	bool moved = true;

	while (moved) {
		moved = fake_tcp_step(stack, 1);
		moved |= fake_tcp_step(stack, 0);
	}
}

void fake_tcp_hold(struct net_stack *stack, unsigned end, size_t bytes)
{
	stack->ends[end].hold = bytes;
}

void fake_tcp_starve(struct net_stack *stack, unsigned end)
{
	stack->ends[end].starved = true;
}

size_t fake_tcp_waiting(const struct net_stack *stack, unsigned end)
{
	return stack->ends[end].received_size;
}

const uint8_t *fake_tcp_sent(const struct net_stack *stack, unsigned end, size_t *size)
{
	*size = stack->ends[end].sent_total;
	return stack->ends[end].log;
}

size_t fake_tcp_largest_send(const struct net_stack *stack, unsigned end)
{
	return stack->ends[end].largest_send;
}

bool fake_tcp_is_closed(const struct net_stack *stack, unsigned end)
{
	return stack->ends[end].closed;
}
