/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Opening and closing in lockstep; see opener.h. */
#include "perf/stack/opener.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HALF_TRIP_US 50u

static size_t on_receive(void *user, tcp_handle handle, const uint8_t *data, size_t size)
{
	return size;
}

static void on_end(void *user, tcp_handle handle)
{
	struct opener *o = user;

	tcp_close(o->pair->server.stack, handle, &o->pair->now);
}

static void on_closed(void *user, tcp_handle handle, enum tcp_close_reason reason)
{
	struct opener *o = user;

	o->closed += reason == TCP_CLOSED;
}

static const struct tcp_callbacks client_callbacks = {NULL, on_receive, NULL, NULL, on_closed};
static const struct tcp_callbacks server_callbacks = {NULL, on_receive, on_end, NULL, on_closed};

static bool on_accept(void *user, tcp_handle handle, void **user_out,
		      const struct tcp_callbacks **callbacks_out)
{
	struct opener *o = ((struct pair *)user)->user;

	o->accepted++;
	*user_out = o;
	*callbacks_out = &server_callbacks;
	return true;
}

/* Let the ends learn where each other's addresses are: connections that wait for ARP are late. */
static void introduce(struct opener *o)
{
	for (uint32_t i = 0; i < o->pair->settings.addresses; i++)
		if (pair_connect(o->pair, i * PAIR_PORTS, &client_callbacks, o, &o->handles[i]) !=
		    0)
			exit(1);
	for (unsigned i = 0; i < 100; i++) {
		pair_settle(o->pair);
		pair_advance(o->pair, 1000);
	}
	for (uint32_t i = 0; i < o->pair->settings.addresses; i++)
		tcp_close(o->pair->client.stack, o->handles[i], &o->pair->now);
	for (unsigned i = 0; i < 100; i++) {
		pair_settle(o->pair);
		pair_advance(o->pair, 1000);
	}
}

struct opener *opener_create(uint64_t seed, bool offload)
{
	static const struct tcp_listen_callbacks listen = {on_accept};
	struct pair_settings settings = {.connections = 65536,
					 .time_wait = 65536,
					 .chunks = 1024,
					 .addresses = 16,
					 .offload = offload,
					 .seed = seed};
	struct opener *o = calloc(1, sizeof(*o));

	assert(o != NULL);
	o->pair = pair_create(&settings, &listen);
	o->pair->user = o;
	introduce(o);
	return o;
}

void opener_destroy(struct opener *o)
{
	pair_destroy(o->pair);
	free(o);
}

/* One kind of packet from one end to the other. */
static void step(struct opener *o, struct pair_end *from, struct pair_end *to,
		 enum opener_kind kind)
{
	pair_cost_add(&o->out[kind], pair_send(o->pair, from));
	o->timer_cycles += pair_advance(o->pair, HALF_TRIP_US);
	pair_cost_add(&o->in[kind], pair_deliver(o->pair, to));
}

static void missed(const struct opener *o)
{
	fprintf(stderr, "stack-bench: of %u connections %u were accepted and %u ends closed\n",
		OPENER_BATCH, o->accepted, o->closed);
	exit(1);
}

void opener_round(struct opener *o)
{
	struct pair *p = o->pair;
	uint64_t begin;

	memset(o->out, 0, sizeof(o->out));
	memset(o->in, 0, sizeof(o->in));
	o->timer_cycles = 0;
	o->accepted = o->closed = 0;
	begin = tsc_now();
	for (unsigned i = 0; i < OPENER_BATCH; i++)
		if (pair_connect(p, o->next++, &client_callbacks, o, &o->handles[i]) != 0)
			missed(o);
	o->out[OPENER_SYN].cycles += tsc_now() - begin;
	step(o, &p->client, &p->server, OPENER_SYN);
	step(o, &p->server, &p->client, OPENER_SYN_ACK);
	step(o, &p->client, &p->server, OPENER_ACK);
	begin = tsc_now();
	for (unsigned i = 0; i < OPENER_BATCH; i++)
		tcp_close(p->client.stack, o->handles[i], &p->now);
	o->out[OPENER_FIN].cycles += tsc_now() - begin;
	step(o, &p->client, &p->server, OPENER_FIN);
	step(o, &p->server, &p->client, OPENER_FIN_ACK);
	step(o, &p->client, &p->server, OPENER_LAST_ACK);
	/* What a connection says besides belongs to it too. */
	for (unsigned i = 0; i < 8 && o->closed < 2 * OPENER_BATCH; i++) {
		step(o, &p->server, &p->client, OPENER_LAST_ACK);
		step(o, &p->client, &p->server, OPENER_LAST_ACK);
	}
	if (o->accepted != OPENER_BATCH || o->closed != 2 * OPENER_BATCH)
		missed(o);
}
