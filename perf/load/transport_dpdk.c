/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <rte_mbuf.h>
#undef US_PER_S /* DPDK's is 32 bits wide; ours comes with drivers/clock.h */

#include "dataplane/buf/frame_mbuf.h"
#include "dataplane/net/net.h"
#include "dataplane/smtp/stream.h"
#include "drivers/nic/nic.h"
#include "perf/load/transport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BURST	 32
#define FRAMES	 16384
#define CHUNKS	 32768
#define QUEUES	 16
#define PATIENCE (30 * US_PER_S)

struct dpdk {
	struct transport_dpdk_settings settings;
	struct nic_port *port;
	struct frame_mbuf_pool frames;
	struct net_stack *stack;
	struct chunk_pool *chunks;
	struct mr_random random;
	struct mr_now now;
	struct view view;
	struct view_port view_port;
	struct view_address address;
	struct view_route route;
	struct rte_mbuf *waiting[QUEUES][4 * BURST];
	unsigned waiting_count[QUEUES];
	bool (*accept)(void *context, struct link *link, const struct link_callbacks **callbacks,
		       void **user);
	void *accept_context;
};

struct dpdk_link {
	struct link link;
	struct dpdk *transport;
	const struct link_callbacks *callbacks;
	void *user;
	struct stream stream;
};

static struct dpdk_link *of(struct link *link)
{
	return (struct dpdk_link *)link;
}

/* ---- Stream callbacks ---- */

static void on_connected(void *user)
{
	struct dpdk_link *l = user;

	l->callbacks->on_connected(l->user);
}

static size_t on_receive(void *user, const uint8_t *data, size_t size)
{
	struct dpdk_link *l = user;

	return l->callbacks->on_receive(l->user, data, size);
}

static void on_tls(void *user, const struct tls_information *information)
{
	struct dpdk_link *l = user;

	(void)information;
	l->callbacks->on_tls(l->user);
}

static void on_end(void *user, bool truncated)
{
	(void)truncated;
	stream_close(&((struct dpdk_link *)user)->stream);
}

static void on_room(void *user, size_t room)
{
	struct dpdk_link *l = user;

	(void)room;
	l->callbacks->on_room(l->user);
}

static void on_closed(void *user, bool in_order, enum stream_failure failure,
		      enum tcp_close_reason reason)
{
	struct dpdk_link *l = user;

	(void)failure;
	(void)reason;
	l->callbacks->on_closed(l->user, in_order);
	free(l);
}

static const struct stream_callbacks stream_to_link = {
	.on_connected = on_connected,
	.on_receive = on_receive,
	.on_tls = on_tls,
	.on_end = on_end,
	.on_write_room = on_room,
	.on_closed = on_closed,
};

/* ---- Operations ---- */

static const struct transport_operations dpdk_operations;

static struct link *dpdk_connect(void *transport, const struct link_callbacks *callbacks,
				 void *user)
{
	struct dpdk *t = transport;
	struct dpdk_link *l = calloc(1, sizeof(*l));
	tcp_handle connection;

	if (!l)
		return NULL;
	*l = (struct dpdk_link){.link.operations = &dpdk_operations,
				.transport = t,
				.callbacks = callbacks,
				.user = user};
	if (tcp_connect(t->stack, &t->settings.own, &t->settings.target, t->settings.target_port,
			PATIENCE, &stream_tcp_callbacks, &l->stream, &t->now, &connection) < 0) {
		free(l);
		return NULL;
	}
	stream_init(&l->stream, t->stack, connection, t->chunks, &stream_to_link, l, &t->now, true);
	return &l->link;
}

static bool on_accept(void *listener_user, tcp_handle connection, void **user_out,
		      const struct tcp_callbacks **callbacks_out)
{
	struct dpdk *t = listener_user;
	struct dpdk_link *l = calloc(1, sizeof(*l));

	if (!l)
		return false;
	*l = (struct dpdk_link){.link.operations = &dpdk_operations, .transport = t};
	stream_init(&l->stream, t->stack, connection, t->chunks, &stream_to_link, l, &t->now,
		    false);
	*user_out = &l->stream;
	*callbacks_out = &stream_tcp_callbacks;
	if (!t->accept(t->accept_context, &l->link, &l->callbacks, &l->user)) {
		free(l);
		return false;
	}
	stream_flush(&l->stream);
	return true;
}

static const struct tcp_listen_callbacks listen_callbacks = {.on_accept = on_accept};

static int dpdk_listen(void *transport, uint16_t port,
		       bool (*accept)(void *context, struct link *link,
				      const struct link_callbacks **callbacks, void **user),
		       void *context)
{
	struct dpdk *t = transport;

	t->accept = accept;
	t->accept_context = context;
	return tcp_listen(t->stack, &t->settings.own, port, &listen_callbacks, t);
}

/* What a NIC with the sparse RSS key does: the connection's owner gets its segments. */
static uint16_t steer(const struct dpdk *t, const struct frame *frame)
{
	const uint8_t *p = frame->data;
	unsigned at;

	if (t->settings.queues == 1 || frame->length < 54)
		return 0;
	if (p[12] == 0x08 && p[13] == 0x00 && p[23] == 6)
		at = 14 + 4u * (p[14] & 15);
	else if (p[12] == 0x86 && p[13] == 0xdd && p[20] == 6)
		at = 54;
	else
		return 0;
	if (at + 4u > frame->length)
		return 0;
	if (t->settings.spread)
		return (uint16_t)((p[at] + p[at + 1] + p[at + 2] + p[at + 3]) % t->settings.queues);
	/* Our address is the other side's remote one. */
	return net_owner_of(&t->settings.own, (uint16_t)(p[at + 2] << 8 | p[at + 3]),
			    (uint16_t)(p[at] << 8 | p[at + 1]), t->settings.queues);
}

static void push(struct dpdk *t, uint16_t q)
{
	unsigned sent = 0;

	while (sent < t->waiting_count[q]) {
		unsigned left = t->waiting_count[q] - sent;
		uint16_t n = nic_port_tx(t->port, q, t->waiting[q] + sent,
					 (uint16_t)(left < BURST ? left : BURST));

		if (n == 0)
			break;
		sent += n;
	}
	t->waiting_count[q] -= sent;
	memmove(t->waiting[q], t->waiting[q] + sent,
		t->waiting_count[q] * sizeof(t->waiting[q][0]));
}

static bool transmit(struct dpdk *t)
{
	struct frame *frames[BURST];
	bool busy = false;

	for (;;) {
		for (uint16_t q = 0; q < t->settings.queues; q++) {
			push(t, q);
			if (t->waiting_count[q] > 3 * BURST)
				return true; /* the other side is behind */
		}
		unsigned n = net_stack_output(t->stack, 0, frames, BURST, &t->now);

		if (n == 0)
			return busy;
		busy = true;
		for (unsigned i = 0; i < n; i++) {
			uint16_t q = steer(t, frames[i]);

			t->waiting[q][t->waiting_count[q]++] = frame_to_mbuf(frames[i]);
		}
	}
}

static bool dpdk_turn(void *transport, const struct mr_now *now)
{
	struct dpdk *t = transport;
	bool busy = false;

	t->now = *now;
	for (uint16_t q = 0; q < t->settings.queues; q++) {
		struct rte_mbuf *packets[BURST];
		struct frame *frames[BURST];
		unsigned n = 0;
		uint16_t got = nic_port_rx(t->port, q, packets, BURST);

		for (uint16_t i = 0; i < got; i++) {
			frames[n] = frame_from_mbuf(packets[i], 0, 0);
			n += frames[n] != NULL;
		}
		if (n > 0)
			net_stack_input(t->stack, frames, n, &t->now);
		busy |= n > 0;
	}
	busy |= net_stack_timers(t->stack, &t->now, 256) > 0;
	return transmit(t) || busy;
}

static void dpdk_wait(void *transport, uint64_t us)
{
	(void)transport;
	usleep((useconds_t)us);
}

static int dpdk_write(struct link *link, const void *data, size_t size)
{
	return stream_write(&of(link)->stream, data, size);
}

static void dpdk_want_room(struct link *link)
{
	stream_want_write(&of(link)->stream);
}

static size_t dpdk_queued(struct link *link)
{
	return stream_unacknowledged(&of(link)->stream);
}

static int dpdk_start_tls(struct link *link, struct tls_context *context)
{
	return stream_start_tls(&of(link)->stream, context, NULL);
}

static void dpdk_close(struct link *link)
{
	stream_close(&of(link)->stream);
}

static void dpdk_abort(struct link *link)
{
	stream_abort(&of(link)->stream);
}

static const struct transport_operations dpdk_operations = {
	.connect = dpdk_connect,
	.listen = dpdk_listen,
	.turn = dpdk_turn,
	.wait = dpdk_wait,
	.write = dpdk_write,
	.want_room = dpdk_want_room,
	.queued = dpdk_queued,
	.start_tls = dpdk_start_tls,
	.close = dpdk_close,
	.abort = dpdk_abort,
};

/* ---- Opening ---- */

static int open_port(struct dpdk *t, char *error)
{
	const struct transport_dpdk_settings *s = &t->settings;
	struct rte_mempool *pools[QUEUES];
	uint16_t owner_of_slot[NIC_STEERING_SLOTS] = {0};
	struct rte_mempool *pool = nic_pool_create(s->index, FRAMES, sizeof(struct frame), error);
	struct nic_port_information information;

	if (!pool)
		return -ENOMEM;
	for (unsigned q = 0; q < s->queues; q++)
		pools[q] = pool;
	struct nic_port_settings port = {
		.name = s->index == 0 ? "generator" : "sink",
		.device = s->device,
		.queues = s->queues,
		.pools = pools,
		.mtu = 1500,
		.rx_descriptors = 1024,
		.tx_descriptors = 1024,
		.owner_of_slot = owner_of_slot,
	};
	t->port = nic_port_open(&port, error);
	if (!t->port)
		return -ENODEV;
	nic_port_information(t->port, &information);
	frame_mbuf_pool_init(&t->frames, pool, NULL, 0);
	t->view_port.mtu = 1500;
	memcpy(t->view_port.mac, information.mac, 6);
	return 0;
}

static void make_view(struct dpdk *t)
{
	t->address = (struct view_address){.address = t->settings.own,
					   .prefix_length = t->settings.prefix_length};
	t->view.port_count = 1;
	t->view.ports = &t->view_port;
	t->view.address_count = 1;
	t->view.addresses = &t->address;
	if (ip_is_unspecified(&t->settings.gateway))
		return;
	t->route.gateway = t->settings.gateway;
	if (ip_is_v4(&t->settings.own)) {
		t->route.prefix.address = ip_from_v4(0);
		t->route.prefix.length = 96;
	}
	t->view.route_count = 1;
	t->view.routes = &t->route;
}

int transport_dpdk_open(struct transport *transport, const struct transport_dpdk_settings *settings,
			char *error)
{
	struct dpdk *t = calloc(1, sizeof(*t));

	if (!t || settings->queues > QUEUES) {
		snprintf(error, 256, "no memory, or more than %u queues", QUEUES);
		return -ENOMEM;
	}
	t->settings = *settings;
	if (open_port(t, error) < 0 || random_init(&t->random) < 0)
		return -ENODEV;
	make_view(t);
	clock_read(&t->now);
	t->chunks = chunk_pool_create(0, CHUNKS);
	struct net_stack_settings stack = {
		.worker_count = 1,
		.connections = settings->connections,
		.time_wait = 65536,
		.frames = &t->frames.pool,
		.chunks = t->chunks,
		.random = &t->random,
	};
	t->stack = t->chunks ? net_stack_create(&stack, &t->now) : NULL;
	if (!t->stack || net_stack_configure(t->stack, &t->view, &t->now) < 0) {
		snprintf(error, 256, "no memory for the network stack");
		return -ENOMEM;
	}
	transport->operations = &dpdk_operations;
	transport->state = t;
	return 0;
}
