/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Memory of idle connections: the process's resident memory before and after, over all ends of
 * connections that have spoken once each way and wait since. Both ends live here, so that a million
 * connections are two million ends.
 */
#include "dataplane/tcp/tcb.h"
#include "perf/stack/bench.h"
#include "perf/stack/pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define BATCH 512u

struct crowd {
	struct pair *pair;
	uint32_t accepted;
	uint32_t heard; /* greetings that arrived, at either end */
};

static size_t client_hears(void *user, tcp_handle handle, const uint8_t *data, size_t size)
{
	struct crowd *c = user;

	c->heard++;
	tcp_send(c->pair->client.stack, handle, "EHLO relay.example.net\r\n", 24);
	return size;
}

static size_t server_hears(void *user, tcp_handle handle, const uint8_t *data, size_t size)
{
	((struct crowd *)user)->heard++;
	return size;
}

static void on_closed(void *user, tcp_handle handle, enum tcp_close_reason reason)
{
	fprintf(stderr, "stack-bench: an idle connection ended: %s\n",
		tcp_close_reason_name(reason));
	exit(1);
}

static const struct tcp_callbacks client_callbacks = {NULL, client_hears, NULL, NULL, on_closed};
static const struct tcp_callbacks server_callbacks = {NULL, server_hears, NULL, NULL, on_closed};

static bool on_accept(void *user, tcp_handle handle, void **user_out,
		      const struct tcp_callbacks **callbacks_out)
{
	struct crowd *c = ((struct pair *)user)->user;

	c->accepted++;
	*user_out = c;
	*callbacks_out = &server_callbacks;
	return tcp_send(c->pair->server.stack, handle, "220 mx.example.net\r\n", 20) == 0;
}

static double resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long total = 0, resident = 0;

	if (file == NULL || fscanf(file, "%lu %lu", &total, &resident) != 2)
		exit(1);
	fclose(file);
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void fill(struct crowd *c, uint32_t connections)
{
	for (uint32_t n = 0; n < connections;) {
		tcp_handle handle;

		for (unsigned i = 0; i < BATCH && n < connections; i++, n++)
			if (pair_connect(c->pair, n, &client_callbacks, c, &handle) != 0) {
				fprintf(stderr, "stack-bench: connection %u could not be opened\n",
					n);
				exit(1);
			}
		for (unsigned i = 0; i < 4; i++) {
			pair_settle(c->pair);
			pair_advance(c->pair, 1000);
		}
	}
	/* Delayed ACKs, and whatever else wants to be said before all is silent. */
	for (unsigned i = 0; i < 3000; i++) {
		pair_settle(c->pair);
		pair_advance(c->pair, 1000);
	}
}

void bench_idle(const struct bench_options *options)
{
	static const struct tcp_listen_callbacks listen = {on_accept};
	uint32_t connections = options->idle_connections;
	struct pair_settings settings = {.connections = connections,
					 .time_wait = 64,
					 .chunks = 8192,
					 .addresses = PAIR_ADDRESSES,
					 .seed = options->seed};
	struct crowd c = {0};
	const struct tcp_layer *layer;
	struct net_gauges gauges;
	double before, after, made, table;

	made = resident_bytes();
	c.pair = pair_create(&settings, &listen);
	c.pair->user = &c;
	before = resident_bytes();
	fill(&c, connections);
	after = resident_bytes();
	net_stack_gauges(c.pair->server.stack, &gauges);
	if (c.accepted != connections || gauges.connections != connections ||
	    c.heard != 2 * connections) {
		fprintf(stderr, "stack-bench: %u connections of %u, %u greetings\n",
			gauges.connections, connections, c.heard);
		exit(1);
	}
	layer = c.pair->server.stack->tcp;
	report("tcp.idle_connections", connections, "connections");
	/* The table was touched when it was made; it belongs to the connections all the same. */
	table = (double)layer->table.count * sizeof(struct table_line) / connections;
	report("tcp.bytes_per_idle_connection", (after - before) / (2.0 * connections) + table,
	       "B");
	report("tcp.bytes_per_idle_connection.slabs",
	       (double)(sizeof(struct tcb) + sizeof(struct tcb_cold)) + table, "B");
	report("tcp.resident_of_two_empty_stacks", before - made, "B");
	report("tcp.resident_with_all_connections", after - made, "B");
	pair_destroy(c.pair);
}
