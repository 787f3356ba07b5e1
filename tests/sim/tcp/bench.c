/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The bottleneck and its flows; see bench.h. */
#include "tests/sim/tcp/bench.h"

#include "tests/sim/tcp_harness.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMER_BUDGET   4096u
#define CHUNKS	       8192u
#define RECEIVE_WINDOW (6u << 20) /* as Linux's largest by default */
#define BLOCK	       65536u

struct bench;

struct flow {
	struct bench *bench;
	tcp_handle handle;
	uint64_t to_send; /* UINT64_MAX: without end */
	uint64_t received;
	uint64_t before; /* of that, in the warm-up */
	uint64_t started_us;
	uint64_t finished_us; /* 0: not yet */
	bool client_closed;
};

struct bench {
	const struct bench_settings *settings;
	struct harness *client;
	struct harness *server;
	struct sim_link *forth;
	struct sim_link *back;
	struct flow *flows;
	unsigned flow_count;
	unsigned accepted; /* flows that the server knows; they come in any order */
	unsigned finished;
};

static const uint8_t block[BLOCK];

/* --- the sender --- */
static void on_send_room(void *user, tcp_handle handle, size_t room)
{
	struct flow *f = user;
	struct net_stack *stack = f->bench->client->stack;
	size_t part = room < BLOCK ? room : BLOCK;

	if (part > f->to_send)
		part = (size_t)f->to_send;
	if (part > 0 && tcp_send(stack, handle, block, part) == 0 && f->to_send != UINT64_MAX)
		f->to_send -= part;
	if (f->to_send > 0)
		tcp_want_send(stack, handle);
	else
		tcp_close(stack, handle, &f->bench->client->now);
}

static void on_connected(void *user, tcp_handle handle)
{
	struct flow *f = user;

	tcp_want_send(f->bench->client->stack, handle);
}

static size_t client_receive(void *user, tcp_handle handle, const uint8_t *data, size_t size)
{
	return size;
}

static void client_closed(void *user, tcp_handle handle, enum tcp_close_reason reason)
{
	struct flow *f = user;

	f->client_closed = true;
}

static const struct tcp_callbacks client_callbacks = {on_connected, client_receive, NULL,
						      on_send_room, client_closed};

/* --- the receiver --- */
static size_t server_receive(void *user, tcp_handle handle, const uint8_t *data, size_t size)
{
	struct flow *f = user;

	f->received += size;
	return size;
}

static void server_end(void *user, tcp_handle handle)
{
	struct flow *f = user;
	struct bench *b = f->bench;

	f->finished_us = b->server->now.mono_us;
	b->finished++;
	tcp_close(b->server->stack, handle, &b->server->now);
}

static const struct tcp_callbacks server_callbacks = {NULL, server_receive, server_end, NULL, NULL};

/* The flow whose client has the port that this connection comes from. */
static bool on_accept(void *user, tcp_handle handle, void **user_out,
		      const struct tcp_callbacks **callbacks_out)
{
	struct bench *b = user;
	struct tcp_endpoints here, there;

	assert(tcp_endpoints(b->server->stack, handle, &here) == 0);
	for (unsigned i = 0; i < b->flow_count; i++) {
		struct flow *f = &b->flows[i];

		if (f->handle == 0 || tcp_endpoints(b->client->stack, f->handle, &there) != 0 ||
		    there.local_port != here.remote_port)
			continue;
		*user_out = f;
		*callbacks_out = &server_callbacks;
		return true;
	}
	return false; /* its client has given up */
}

static const struct tcp_listen_callbacks listen_callbacks = {on_accept};

/* --- the world --- */
static void bench_create(struct bench *b, const struct bench_settings *settings, unsigned flows)
{
	struct harness_options a = {.seed = settings->seed * 2 + 1,
				    .chunks = CHUNKS,
				    .connections = 256,
				    .time_wait = 4096,
				    .receive_window = RECEIVE_WINDOW,
				    .paced = true};
	struct harness_options z = a;
	struct sim_link_settings link = {.delay_us = settings->rtt_us / 2,
					 .rate_bits = settings->rate_bits,
					 .queue_packets = settings->queue_packets,
					 .loss = settings->loss};
	static const struct ip_address any;

	z.seed = settings->seed * 2 + 2;
	z.address = "10.0.0.2";
	z.peer = "10.0.0.1";
	*b = (struct bench){.settings = settings,
			    .client = harness_create(&a),
			    .server = harness_create(&z),
			    .forth = sim_link_create(&link, settings->seed * 4 + 1),
			    .back = sim_link_create(&link, settings->seed * 4 + 2),
			    .flows = calloc(flows, sizeof(*b->flows)),
			    .flow_count = flows};
	assert(b->flows != NULL);
	for (unsigned i = 0; i < flows; i++)
		b->flows[i].bench = b;
	assert(tcp_listen(b->server->stack, &any, 25, &listen_callbacks, b) == 0);
}

static void bench_destroy(struct bench *b)
{
	harness_destroy(b->client);
	harness_destroy(b->server);
	sim_link_destroy(b->forth);
	sim_link_destroy(b->back);
	free(b->flows);
}

static void start(struct bench *b, struct flow *f, uint64_t size)
{
	f->to_send = size;
	f->started_us = b->client->now.mono_us;
	assert(tcp_connect(b->client->stack, &b->client->address, &b->client->peer, 25, 60000000,
			   &client_callbacks, f, &b->client->now, &f->handle) == 0);
	assert(tcp_set_congestion(b->client->stack, f->handle, b->settings->congestion) == 0);
}

static void transmit(struct harness *h, struct sim_link *link)
{
	struct frame *frames[64];
	unsigned count;

	while ((count = net_stack_output(h->stack, 0, frames, 64, &h->now)) > 0)
		for (unsigned i = 0; i < count; i++) {
			sim_link_send(link, frames[i]->data, frames[i]->length, h->now.mono_us);
			frame_free(sim_frame_pool_interface(h->frames), frames[i]);
		}
}

static void receive(struct harness *h, struct sim_link *link)
{
	struct frame_pool *pool = sim_frame_pool_interface(h->frames);

	while (sim_link_next(link) <= h->now.mono_us) {
		struct frame *frame = frame_alloc(pool);

		assert(frame != NULL);
		frame->length = (uint16_t)sim_link_receive(link, frame->data, h->now.mono_us);
		net_stack_input(h->stack, &frame, 1, &h->now);
	}
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void set_clock(struct harness *h, uint64_t now_us)
{
	h->now.wall_us += now_us - h->now.mono_us;
	h->now.mono_us = now_us;
}

/* Let both sides work, then go to the next event, not beyond limit_us. */
static void step(struct bench *b, uint64_t limit_us)
{
	uint64_t now = b->client->now.mono_us;
	uint64_t next;

	net_stack_timers(b->client->stack, &b->client->now, TIMER_BUDGET);
	net_stack_timers(b->server->stack, &b->server->now, TIMER_BUDGET);
	transmit(b->client, b->forth);
	transmit(b->server, b->back);
	next = min64(min64(sim_link_next(b->forth), sim_link_next(b->back)),
		     min64(net_stack_next_timer(b->client->stack),
			   net_stack_next_timer(b->server->stack)));
	next = min64(next > now ? next : now + 1, limit_us);
	set_clock(b->client, next);
	set_clock(b->server, next);
	receive(b->client, b->back);
	receive(b->server, b->forth);
}

static void print_trace(const struct bench *b)
{
	for (unsigned i = 0; i < b->flow_count; i++) {
		struct tcp_information info;

		if (tcp_information(b->client->stack, b->flows[i].handle, &info) != 0)
			continue;
		printf("# %9.3f flow %u cwnd %u ssthresh %u flight %u srtt %u retransmitted %u "
		       "received %lu\n",
		       (double)(b->client->now.mono_us - b->flows[i].started_us) / 1e6, i,
		       info.cwnd_bytes / 1448, info.ssthresh_bytes / 1448,
		       info.in_flight_bytes / 1448, info.srtt_us, info.retransmitted_segments,
		       (unsigned long)b->flows[i].received);
	}
}

static void summarize(const struct bench *b, uint64_t duration_us, struct bench_result *out)
{
	const struct net_counters *counters = net_stack_counters(b->client->stack);
	double sum = 0, squares = 0;

	for (unsigned i = 0; i < b->flow_count; i++) {
		double mbit = (double)(b->flows[i].received - b->flows[i].before) * 8 /
			      (double)duration_us;

		out->flow_mbit[i] = mbit;
		sum += mbit;
		squares += mbit * mbit;
	}
	out->goodput_mbit = sum;
	out->jain = squares > 0 ? sum * sum / (b->flow_count * squares) : 0;
	out->retransmitted = counters->tcp_retransmitted;
	out->timeouts = counters->tcp_rto;
}

struct bench_result bench_bulk(const struct bench_settings *settings, unsigned flows,
			       uint64_t duration_us)
{
	struct bench_result result = {0};
	uint64_t begin, end, print_us;
	struct bench b;

	assert(flows <= BENCH_FLOWS_MAX);
	bench_create(&b, settings, flows);
	begin = b.client->now.mono_us + settings->warm_up_us;
	end = begin + duration_us;
	print_us = b.client->now.mono_us;
	for (unsigned i = 0; i < flows; i++)
		start(&b, &b.flows[i], UINT64_MAX);
	while (b.client->now.mono_us < end) {
		bool warm = b.client->now.mono_us < begin;

		step(&b, warm ? begin : end);
		if (warm && b.client->now.mono_us >= begin)
			for (unsigned i = 0; i < flows; i++)
				b.flows[i].before = b.flows[i].received;
		if (settings->trace && b.client->now.mono_us >= print_us) {
			print_trace(&b);
			print_us += 100000;
		}
	}
	summarize(&b, duration_us, &result);
	bench_destroy(&b);
	return result;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void bench_messages(const struct bench_settings *settings, uint32_t size, unsigned count,
		    uint64_t gap_us, uint64_t *times_us)
{
	struct bench b;

	bench_create(&b, settings, count);
	for (unsigned i = 0; i < count; i++) {
		struct flow *f = &b.flows[i];
		uint64_t next;

		start(&b, f, size);
		while (f->finished_us == 0)
			step(&b, UINT64_MAX - 1);
		times_us[i] = f->finished_us - f->started_us;
		next = f->started_us + gap_us;
		while (b.client->now.mono_us < next || !f->client_closed)
			step(&b, b.client->now.mono_us < next ? next : UINT64_MAX - 1);
	}
	qsort(times_us, count, sizeof(*times_us), compare);
	bench_destroy(&b);
}
