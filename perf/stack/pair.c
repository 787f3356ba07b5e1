/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two stacks joined by memory; see pair.h. */
#include "perf/stack/pair.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FRAME_ROOM	  2048u
#define TIMER_BUDGET	  1024u
#define CALIBRATION_STEPS 20000u

struct pair_frame {
	struct frame frame; /* first: a frame's address is its pair_frame's */
	struct pair_frame *next;
	_Alignas(64) uint8_t room[FRAME_ROOM];
};

static struct frame *frame_take(void *context)
{
	struct pair *pair = context;
	struct pair_frame *f = pair->free;

	if (f == NULL)
		return NULL;
	pair->free = f->next;
	f->frame = (struct frame){.data = f->room, .capacity = FRAME_ROOM};
	return &f->frame;
}

static void frame_give(void *context, struct frame *frame)
{
	struct pair *pair = context;
	struct pair_frame *f = (struct pair_frame *)(void *)frame;

	f->next = pair->free;
	pair->free = f;
}

static void make_view(struct pair_end *end, uint32_t addresses, unsigned side)
{
	char text[32];

	end->port = (struct view_port){
		.name = "memory", .mtu = 1500, .mac = {2, 0, 0, 0, 0, (uint8_t)(side + 1)}};
	for (uint32_t i = 0; i < addresses; i++) {
		int good;

		snprintf(text, sizeof(text), "10.0.%u.%u", side, i + 1);
		end->addresses[i] = (struct view_address){.prefix_length = 16};
		good = ip_parse(text, &end->addresses[i].address);
		assert(good == 0);
		(void)good;
	}
	end->view = (struct view){.port_count = 1,
				  .ports = &end->port,
				  .address_count = addresses,
				  .addresses = end->addresses};
}

static void make_end(struct pair *pair, struct pair_end *end, unsigned side)
{
	const struct pair_settings *s = &pair->settings;
	struct net_stack_settings settings;
	int error;

	random_init_seed(&end->random, s->seed * 2 + side);
	end->chunks = chunk_pool_create((uint16_t)side, s->chunks);
	settings = (struct net_stack_settings){
		.worker_count = 1,
		.unpaced = s->unpaced,
		.connections = s->connections,
		.time_wait = s->time_wait,
		.neighbours = 256,
		.frames = &pair->frames,
		.chunks = end->chunks,
		.random = &end->random,
		.offloads = {{s->offload, s->offload}},
	};
	end->stack = net_stack_create(&settings, &pair->now);
	if (end->chunks == NULL || end->stack == NULL) {
		fputs("stack-bench: not enough memory\n", stderr);
		exit(1);
	}
	make_view(end, s->addresses, side);
	error = net_stack_configure(end->stack, &end->view, &pair->now);
	assert(error == 0);
	(void)error;
}

struct pair *pair_create(const struct pair_settings *settings,
			 const struct tcp_listen_callbacks *callbacks)
{
	static const struct ip_address any;
	struct pair *pair = aligned_alloc(64, (sizeof(*pair) + 63) / 64 * 64);

	assert(pair != NULL);
	memset(pair, 0, sizeof(*pair));
	pair->settings = *settings;
	if (pair->settings.addresses == 0)
		pair->settings.addresses = 1;
	assert(pair->settings.addresses <= PAIR_ADDRESSES);
	pair->now = (struct mr_now){.mono_us = 1000 * US_PER_S, .wall_us = 1700000000 * US_PER_S};
	pair->frames =
		(struct frame_pool){.context = pair, .alloc = frame_take, .free = frame_give};
	pair->memory = aligned_alloc(64, PAIR_FRAMES * sizeof(*pair->memory));
	assert(pair->memory != NULL);
	for (unsigned i = PAIR_FRAMES; i > 0; i--)
		frame_give(pair, &pair->memory[i - 1].frame);
	make_end(pair, &pair->client, 0);
	make_end(pair, &pair->server, 1);
	for (uint16_t i = 0; i < PAIR_PORTS; i++) {
		int error = tcp_listen(pair->server.stack, &any, (uint16_t)(PAIR_PORT + i),
				       callbacks, pair);

		assert(error == 0);
		(void)error;
	}
	/* Announcements, and who is whose neighbour. */
	for (unsigned i = 0; i < 100; i++) {
		pair_advance(pair, 100 * US_PER_MS);
		pair_settle(pair);
	}
	return pair;
}

void pair_destroy(struct pair *pair)
{
	net_stack_destroy(pair->client.stack);
	net_stack_destroy(pair->server.stack);
	chunk_pool_destroy(pair->client.chunks);
	chunk_pool_destroy(pair->server.chunks);
	free(pair->memory);
	free(pair);
}

uint64_t pair_advance(struct pair *pair, uint64_t us)
{
	uint64_t begin;

	pair->now.mono_us += us;
	pair->now.wall_us += us;
	begin = tsc_now();
	net_stack_timers(pair->client.stack, &pair->now, TIMER_BUDGET);
	net_stack_timers(pair->server.stack, &pair->now, TIMER_BUDGET);
	return tsc_now() - begin;
}

struct pair_cost pair_send(struct pair *pair, struct pair_end *from)
{
	struct pair_wire *wire = &pair->wire;
	struct pair_cost cost = {0};
	uint64_t begin = tsc_now();

	while (wire->count + PAIR_BURST <= PAIR_FRAMES) {
		unsigned got = net_stack_output(from->stack, 0, wire->frames + wire->count,
						PAIR_BURST, &pair->now);

		if (got == 0)
			break;
		wire->count += got;
		cost.packets += got;
	}
	cost.cycles = tsc_now() - begin;
	return cost;
}

struct pair_cost pair_deliver(struct pair *pair, struct pair_end *to)
{
	struct pair_wire *wire = &pair->wire;
	struct pair_cost cost = {.packets = wire->count};
	uint64_t begin;

	for (unsigned i = 0; i < wire->count; i++)
		wire->frames[i]->flags = pair->settings.offload ? FRAME_RX_IP_CHECKSUM_GOOD |
									  FRAME_RX_L4_CHECKSUM_GOOD
								: 0;
	begin = tsc_now();
	for (unsigned i = 0; i < wire->count; i += PAIR_BURST) {
		unsigned left = wire->count - i;

		net_stack_input(to->stack, wire->frames + i, left < PAIR_BURST ? left : PAIR_BURST,
				&pair->now);
	}
	cost.cycles = tsc_now() - begin;
	wire->count = 0;
	return cost;
}

void pair_settle(struct pair *pair)
{
	uint64_t moved;

	do {
		moved = pair_send(pair, &pair->client).packets;
		pair_deliver(pair, &pair->server);
		moved += pair_send(pair, &pair->server).packets;
		pair_deliver(pair, &pair->client);
	} while (moved > 0);
}

int pair_connect(struct pair *pair, uint32_t n, const struct tcp_callbacks *callbacks, void *user,
		 tcp_handle *handle)
{
	uint32_t addresses = pair->settings.addresses;
	uint32_t address = n / PAIR_PORTS % addresses;

	return tcp_connect(pair->client.stack, &pair->client.addresses[address].address,
			   &pair->server.addresses[address].address,
			   (uint16_t)(PAIR_PORT + n % PAIR_PORTS), 30 * US_PER_S, callbacks, user,
			   &pair->now, handle);
}

static double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double tsc_hz(void)
{
	static double hz;

	if (hz == 0) {
		double begin = seconds_now(), now;
		uint64_t first = tsc_now();

		do
			now = seconds_now();
		while (now - begin < 0.05);
		hz = (double)(tsc_now() - first) / (now - begin);
	}
	return hz;
}

double tsc_calibration(void)
{
	double best = 1e9;

	for (unsigned round = 0; round < 500; round++) {
		volatile uint64_t sink;
		uint64_t x = round + 1, begin = tsc_now();
		double cycles;

		for (uint32_t i = 0; i < CALIBRATION_STEPS; i++) {
			x *= 0x9e3779b97f4a7c15u; /* a chain: each waits for the one before */
			__asm__ volatile("" : "+r"(x));
		}
		sink = x;
		(void)sink;
		cycles = (double)(tsc_now() - begin) / CALIBRATION_STEPS;
		if (cycles < best)
			best = cycles;
	}
	return best;
}
