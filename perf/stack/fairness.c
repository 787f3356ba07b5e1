/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Flows that share one bottleneck, in virtual time: two stacks, the simulated link between them,
 * 100 Mbit/s with a queue of 400 packets and 40 ms both ways. Jain's index over what each flow
 * brought through after a warm-up: (sum x)^2 / (n sum x^2), 1 is perfectly fair.
 */
#include "perf/stack/bench.h"
#include "perf/stack/pair.h"
#include "tests/sim/link/link.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLOWS	   32u
#define RATE_BITS  100000000u
#define HALF_RTT   20000u
#define WARM_UP_US (10 * US_PER_S)
#define LENGTH_US  (60 * US_PER_S)

struct flow {
	struct race *race;
	tcp_handle handle;
	uint64_t received; /* since the warm-up ended */
};

struct race {
	struct pair *pair;
	struct sim_link *there;
	struct sim_link *back;
	uint32_t started;
	uint32_t accepted;
	bool counting;
	struct flow sending[FLOWS];
	struct flow receiving[FLOWS];
};

static size_t on_receive(void *user, tcp_handle handle, const uint8_t *data, size_t size)
{
	struct flow *flow = user;

	if (flow->race->counting)
		flow->received += size;
	return size;
}

static void on_connected(void *user, tcp_handle handle)
{
	struct flow *flow = user;

	tcp_want_send(flow->race->pair->client.stack, handle);
}

static void on_send_room(void *user, tcp_handle handle, size_t room)
{
	static const uint8_t data[65536];
	struct flow *flow = user;
	struct net_stack *stack = flow->race->pair->client.stack;

	if (tcp_send(stack, handle, data, room < sizeof(data) ? room : sizeof(data)) != 0) {
		fputs("stack-bench: a flow could not send\n", stderr);
		exit(1);
	}
	tcp_want_send(stack, handle);
}

static void on_closed(void *user, tcp_handle handle, enum tcp_close_reason reason)
{
	fprintf(stderr, "stack-bench: a flow ended: %s\n", tcp_close_reason_name(reason));
	exit(1);
}

static const struct tcp_callbacks sender = {on_connected, on_receive, NULL, on_send_room,
					    on_closed};
static const struct tcp_callbacks receiver = {NULL, on_receive, NULL, NULL, on_closed};

static bool on_accept(void *user, tcp_handle handle, void **user_out,
		      const struct tcp_callbacks **callbacks_out)
{
	struct race *race = ((struct pair *)user)->user;

	assert(race->accepted < FLOWS);
	*user_out = &race->receiving[race->accepted++];
	*callbacks_out = &receiver;
	return true;
}

static void put(struct race *race, struct pair_end *from, struct sim_link *link)
{
	struct pair *pair = race->pair;
	struct frame *frames[PAIR_BURST];
	unsigned count;

	while ((count = net_stack_output(from->stack, 0, frames, PAIR_BURST, &pair->now)) > 0)
		for (unsigned i = 0; i < count; i++) {
			sim_link_send(link, frames[i]->data, frames[i]->length, pair->now.mono_us);
			frame_free(&pair->frames, frames[i]);
		}
}

static void take(struct race *race, struct pair_end *to, struct sim_link *link)
{
	struct pair *pair = race->pair;

	while (sim_link_next(link) <= pair->now.mono_us) {
		struct frame *frame = frame_alloc(&pair->frames);

		assert(frame != NULL);
		frame->length = (uint16_t)sim_link_receive(link, frame->data, pair->now.mono_us);
		net_stack_input(to->stack, &frame, 1, &pair->now);
	}
}

static uint64_t soonest(const struct race *race)
{
	uint64_t times[4] = {sim_link_next(race->there), sim_link_next(race->back),
			     net_stack_next_timer(race->pair->client.stack),
			     net_stack_next_timer(race->pair->server.stack)};
	uint64_t best = times[0];

	for (unsigned i = 1; i < 4; i++)
		if (times[i] < best)
			best = times[i];
	return best;
}

/* Let the network run until a moment. */
static void run_until(struct race *race, uint64_t end_us)
{
	struct pair *pair = race->pair;

	while (pair->now.mono_us < end_us) {
		uint64_t next;

		put(race, &pair->client, race->there);
		put(race, &pair->server, race->back);
		next = soonest(race);
		if (next <= pair->now.mono_us)
			next = pair->now.mono_us + 1;
		if (next > end_us)
			next = end_us;
		pair_advance(pair, next - pair->now.mono_us);
		take(race, &pair->server, race->there);
		take(race, &pair->client, race->back);
	}
}

static double jain(const struct race *race)
{
	double sum = 0, squares = 0;

	for (unsigned i = 0; i < FLOWS; i++) {
		double x = (double)race->receiving[i].received;

		sum += x;
		squares += x * x;
	}
	return squares > 0 ? sum * sum / (FLOWS * squares) : 0;
}

void bench_fairness(const struct bench_options *options)
{
	static const struct tcp_listen_callbacks listen = {on_accept};
	struct pair_settings settings = {
		.connections = 256, .time_wait = 64, .chunks = 32768, .seed = options->seed};
	struct sim_link_settings there = {
		.delay_us = HALF_RTT, .rate_bits = RATE_BITS, .queue_packets = 400};
	struct sim_link_settings back = {.delay_us = HALF_RTT};
	struct race *race = calloc(1, sizeof(*race));
	uint64_t origin, bytes = 0;

	assert(race != NULL);
	race->pair = pair_create(&settings, &listen);
	race->pair->user = race;
	race->there = sim_link_create(&there, options->seed);
	race->back = sim_link_create(&back, options->seed + 1);
	origin = race->pair->now.mono_us;
	for (unsigned i = 0; i < FLOWS; i++) {
		race->sending[i].race = race->receiving[i].race = race;
		if (pair_connect(race->pair, i, &sender, &race->sending[i],
				 &race->sending[i].handle) != 0)
			exit(1);
		run_until(race, origin + (i + 1) * 100 * US_PER_MS);
	}
	run_until(race, origin + WARM_UP_US);
	race->counting = true;
	run_until(race, origin + LENGTH_US);
	for (unsigned i = 0; i < FLOWS; i++)
		bytes += race->receiving[i].received;
	report("tcp.fairness_jain", jain(race), "1");
	report("tcp.fairness_goodput_mbit", (double)bytes * 8 / (double)(LENGTH_US - WARM_UP_US),
	       "Mbit/s");
	sim_link_destroy(race->there);
	sim_link_destroy(race->back);
	pair_destroy(race->pair);
	free(race);
}
