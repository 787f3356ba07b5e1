/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/smtp/fake_stack.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER (1 << 18)

struct connection {
	bool used;
	bool gone;
	bool fin_sent;
	bool want_send;
	bool fin_received;
	const struct tcp_callbacks *callbacks;
	void *user;
	struct tcp_endpoints endpoints;
	char *out;
	size_t out_size, heard, acknowledged;
	char *in;
	size_t in_size;
};

struct net_stack {
	struct {
		bool open;
		struct ip_address address;
		uint16_t port;
		const struct tcp_listen_callbacks *callbacks;
		void *user;
	} listeners[FAKE_LISTENERS];
	int listen_status;
	struct connection connections[FAKE_CONNECTIONS];
};

struct net_stack *fake_stack_create(void)
{
	return calloc(1, sizeof(struct net_stack));
}

void fake_stack_destroy(struct net_stack *stack)
{
	for (unsigned i = 0; i < FAKE_CONNECTIONS; i++) {
		free(stack->connections[i].out);
		free(stack->connections[i].in);
	}
	free(stack);
}

static struct connection *find(const struct net_stack *stack, tcp_handle handle)
{
	assert(handle > 0 && handle <= FAKE_CONNECTIONS);
	return (struct connection *)&stack->connections[handle - 1];
}

static tcp_handle handle_of(const struct net_stack *stack, const struct connection *connection)
{
	return (tcp_handle)(connection - stack->connections) + 1;
}

/* ---- What the stack offers ---- */

int tcp_listen(struct net_stack *stack, const struct ip_address *address, uint16_t port,
	       const struct tcp_listen_callbacks *callbacks, void *listener_user)
{
	int status = stack->listen_status;

	stack->listen_status = 0;
	for (unsigned i = 0; status == 0 && i < FAKE_LISTENERS; i++) {
		if (stack->listeners[i].open)
			continue;
		stack->listeners[i].open = true;
		stack->listeners[i].address = *address;
		stack->listeners[i].port = port;
		stack->listeners[i].callbacks = callbacks;
		stack->listeners[i].user = listener_user;
		return 0;
	}
	return status ? status : -ENOBUFS;
}

int tcp_unlisten(struct net_stack *stack, const struct ip_address *address, uint16_t port)
{
	for (unsigned i = 0; i < FAKE_LISTENERS; i++) {
		if (!stack->listeners[i].open || stack->listeners[i].port != port ||
		    !ip_equal(&stack->listeners[i].address, address))
			continue;
		stack->listeners[i].open = false;
		return 0;
	}
	return -ENOENT;
}

void tcp_want_send(struct net_stack *stack, tcp_handle connection)
{
	find(stack, connection)->want_send = true;
}

int tcp_send(struct net_stack *stack, tcp_handle handle, const void *data, size_t size)
{
	struct connection *connection = find(stack, handle);

	if (connection->gone)
		return -ENOTCONN;
	assert(!connection->fin_sent && connection->out_size + size < BUFFER);
	memcpy(connection->out + connection->out_size, data, size);
	connection->out_size += size;
	connection->out[connection->out_size] = '\0';
	return 0;
}

size_t tcp_unacknowledged(const struct net_stack *stack, tcp_handle handle)
{
	const struct connection *connection = find(stack, handle);

	return connection->out_size - connection->acknowledged;
}

static void offer(struct connection *connection, tcp_handle handle)
{
	size_t taken;

	if (connection->gone || connection->in_size == 0)
		return;
	taken = connection->callbacks->on_receive(connection->user, handle,
						  (uint8_t *)connection->in, connection->in_size);
	connection->in_size -= taken;
	memmove(connection->in, connection->in + taken, connection->in_size);
}

void tcp_resume_receive(struct net_stack *stack, tcp_handle handle, const struct mr_now *now)
{
	(void)now;
	offer(find(stack, handle), handle);
}

static void let_go(struct connection *connection, tcp_handle handle, enum tcp_close_reason reason)
{
	if (connection->gone)
		return;
	connection->gone = true;
	connection->callbacks->on_closed(connection->user, handle, reason);
}

void tcp_close(struct net_stack *stack, tcp_handle handle, const struct mr_now *now)
{
	(void)now;
	find(stack, handle)->fin_sent = true;
}

void tcp_abort(struct net_stack *stack, tcp_handle handle, const struct mr_now *now)
{
	(void)now;
	let_go(find(stack, handle), handle, TCP_ABORTED);
}

void tcp_set_user_timeout(struct net_stack *stack, tcp_handle connection, uint64_t timeout_us)
{
	(void)stack, (void)connection, (void)timeout_us;
}

int tcp_measure(const struct net_stack *stack, tcp_handle connection, struct tcp_measure *out)
{
	*out = (struct tcp_measure){.rtt_us = 1000, .segments = 2, .congestion = "fake"};
	return 0;
}

int tcp_endpoints(const struct net_stack *stack, tcp_handle connection, struct tcp_endpoints *out)
{
	*out = find(stack, connection)->endpoints;
	return 0;
}

/* ---- What the test does ---- */

unsigned fake_stack_listeners(const struct net_stack *stack)
{
	unsigned open = 0;

	for (unsigned i = 0; i < FAKE_LISTENERS; i++)
		open += stack->listeners[i].open;
	return open;
}

void fake_stack_fail_listen(struct net_stack *stack, int status)
{
	stack->listen_status = status;
}

static struct connection *new_connection(struct net_stack *stack)
{
	for (unsigned i = 0; i < FAKE_CONNECTIONS; i++) {
		struct connection *connection = &stack->connections[i];

		if (connection->used)
			continue;
		*connection = (struct connection){
			.used = true, .out = calloc(1, BUFFER), .in = calloc(1, BUFFER)};
		assert(connection->out && connection->in);
		return connection;
	}
	assert(!"more connections than the stand-in has");
	return NULL;
}

tcp_handle fake_connect(struct net_stack *stack, const char *client, uint16_t port)
{
	struct connection *connection = new_connection(stack);

	ip_parse(client, &connection->endpoints.remote);
	connection->endpoints.remote_port = 40000;
	connection->endpoints.local_port = port;
	for (unsigned i = 0; i < FAKE_LISTENERS; i++) {
		if (!stack->listeners[i].open || stack->listeners[i].port != port)
			continue;
		if (stack->listeners[i].callbacks->on_accept(
			    stack->listeners[i].user, handle_of(stack, connection),
			    &connection->user, &connection->callbacks))
			return handle_of(stack, connection);
	}
	connection->gone = true;
	return 0;
}

void fake_say_deaf(struct net_stack *stack, tcp_handle handle, const char *text)
{
	struct connection *connection = find(stack, handle);

	assert(connection->in_size + strlen(text) < BUFFER);
	memcpy(connection->in + connection->in_size, text, strlen(text));
	connection->in_size += strlen(text);
	offer(connection, handle);
}

void fake_say(struct net_stack *stack, tcp_handle handle, const char *text)
{
	struct connection *connection = find(stack, handle);

	connection->acknowledged = connection->out_size;
	fake_say_deaf(stack, handle, text);
}

void fake_room(struct net_stack *stack, tcp_handle handle)
{
	struct connection *connection = find(stack, handle);

	connection->acknowledged = connection->out_size;
	if (connection->gone || !connection->want_send)
		return;
	connection->want_send = false;
	connection->callbacks->on_send_room(connection->user, handle, 65536);
}

void fake_fin(struct net_stack *stack, tcp_handle handle)
{
	struct connection *connection = find(stack, handle);

	if (!connection->gone)
		connection->callbacks->on_end(connection->user, handle);
	if (connection->fin_sent)
		let_go(connection, handle, TCP_CLOSED);
}

void fake_reset(struct net_stack *stack, tcp_handle handle)
{
	let_go(find(stack, handle), handle, TCP_RESET);
}

const char *fake_heard(struct net_stack *stack, tcp_handle handle)
{
	struct connection *connection = find(stack, handle);
	const char *text = connection->out + connection->heard;

	connection->heard = connection->out_size;
	return text;
}

bool fake_has_fin(const struct net_stack *stack, tcp_handle handle)
{
	return find(stack, handle)->fin_sent;
}

bool fake_is_gone(const struct net_stack *stack, tcp_handle handle)
{
	return find(stack, handle)->gone;
}
