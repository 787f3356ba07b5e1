/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What an ACK with SACK blocks costs the sender when as much is in flight as a scoreboard holds:
 * honest ones of a long fat path with one loss, and those of a peer who would have the sender
 * search (CVE-2019-11477, CVE-2019-11478). The peer is a script; time is virtual; cycles are those
 * of taking the ACK and of sending what follows from it.
 */
#include "perf/stack/bench.h"
#include "perf/stack/pair.h"
#include "tests/sim/tcp_harness.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT 4096u /* segments: BOARD_MAX of tcb.h */
#define MSS	  536u
#define RTT_US	  100000u
#define ACKS	  2000u
#define SPACING	  20u /* us between ACKs: all come within a round trip */
#define ETHERNET  14u

struct sack_peer {
	struct harness *harness;
	struct harness_connection *connection;
	uint32_t seq;
	uint32_t una; /* the sender's */
	uint32_t next;
	struct mr_random random;
};

/* One ACK and what it makes the sender send. @return cycles */
static uint64_t tell(struct sack_peer *p, const struct script_segment *s)
{
	struct frame_pool *frames = sim_frame_pool_interface(p->harness->frames);
	struct frame *frame = frame_alloc(frames), *out[PAIR_BURST];
	uint64_t begin, cycles;
	unsigned count;

	assert(frame != NULL);
	memcpy(frame->data, p->harness->port.mac, 6);
	memset(frame->data + 6, 2, 6);
	frame->data[12] = 8;
	frame->data[13] = 0;
	frame->length = (uint16_t)(ETHERNET + script_build(p->harness, s, frame->data + ETHERNET));
	begin = tsc_now();
	net_stack_input(p->harness->stack, &frame, 1, &p->harness->now);
	cycles = tsc_now() - begin;
	for (;;) {
		begin = tsc_now();
		count = net_stack_output(p->harness->stack, 0, out, PAIR_BURST, &p->harness->now);
		cycles += tsc_now() - begin;
		if (count == 0)
			return cycles;
		for (unsigned i = 0; i < count; i++) {
			const uint8_t *tcp = out[i]->data + out[i]->l2_length + out[i]->l3_length;
			uint32_t end = (uint32_t)tcp[4] << 24 | (uint32_t)tcp[5] << 16 |
				       (uint32_t)tcp[6] << 8 | tcp[7];

			end += out[i]->length - out[i]->l2_length - out[i]->l3_length -
			       (tcp[12] >> 4) * 4u;
			if ((int32_t)(end - p->next) > 0)
				p->next = end;
			frame_free(frames, out[i]);
		}
	}
}

static struct script_segment ack_of(const struct sack_peer *p)
{
	return (struct script_segment){
		.flags = TCP_ACK, .seq = p->seq, .ack = p->una, .window = 65535};
}

static void pass(struct sack_peer *p, uint64_t us)
{
	p->harness->now.mono_us += us;
	p->harness->now.wall_us += us;
	while (net_stack_timers(p->harness->stack, &p->harness->now, 64) != 0)
		;
}

/* Acknowledge all until the window holds IN_FLIGHT segments. */
static void fill(struct sack_peer *p)
{
	for (unsigned i = 0; i < 100 && p->next - p->una < IN_FLIGHT * MSS; i++) {
		uint32_t end = p->next;

		pass(p, RTT_US);
		while (p->una != end) {
			struct script_segment s;

			p->una += end - p->una < 8 * MSS ? end - p->una : 8 * MSS;
			s = ack_of(p);
			tell(p, &s);
		}
	}
	assert(p->next - p->una >= IN_FLIGHT * MSS);
	pass(p, RTT_US);
}

static struct sack_peer *peer_create(uint64_t seed)
{
	static uint8_t data[64u << 20];
	struct harness_options options = {.chunks = 16384, .frames = 65536, .seed = seed};
	struct sack_peer *p = calloc(1, sizeof(*p));
	struct script_segment syn;
	struct tcp_segment s;
	uint8_t copy[2048];
	bool heard;

	assert(p != NULL);
	random_init_seed(&p->random, seed);
	p->harness = harness_create(&options);
	p->connection = harness_connect(p->harness, 25);
	heard = script_take(p->harness, &s, copy);
	assert(heard);
	(void)heard;
	p->una = p->next = s.seq + 1;
	syn = ack_of(p);
	syn.flags |= TCP_SYN;
	syn.mss = MSS;
	syn.sack_permitted = true;
	syn.scaled = true;
	syn.scale = 14;
	pass(p, RTT_US);
	script_feed(p->harness, &syn);
	p->seq++;
	harness_send(p->connection, data, sizeof(data));
	while (harness_take(p->harness, copy) != 0)
		;
	p->next = p->una + 10 * MSS;
	fill(p);
	return p;
}

static void peer_destroy(struct sack_peer *p)
{
	harness_abort(p->connection);
	pass(p, RTT_US);
	harness_destroy(p->harness);
	free(p);
}

static void block(const struct sack_peer *p, struct script_segment *s, uint32_t first, uint32_t end)
{
	s->sack[s->sacks][0] = p->una + first * MSS;
	s->sack[s->sacks++][1] = p->una + end * MSS;
}

/* --- what the peer says with its ACK number i --- */
static void one_loss(struct sack_peer *p, unsigned i, struct script_segment *s)
{
	block(p, s, 1, i + 2);
}

static void every_second(struct sack_peer *p, unsigned i, struct script_segment *s)
{
	for (unsigned j = 0; j < 4; j++)
		if (j <= i)
			block(p, s, 2 * (i - j) + 1, 2 * (i - j) + 2);
}

static void backwards(struct sack_peer *p, unsigned i, struct script_segment *s)
{
	every_second(p, ACKS - i, s);
}

static void the_same(struct sack_peer *p, unsigned i, struct script_segment *s)
{
	block(p, s, IN_FLIGHT - 2, IN_FLIGHT - 1);
	block(p, s, IN_FLIGHT / 2, IN_FLIGHT - 3);
	block(p, s, 4, IN_FLIGHT / 2 - 1);
	block(p, s, 2, 3);
}

static void anywhere(struct sack_peer *p, unsigned i, struct script_segment *s)
{
	for (unsigned j = 0; j < 4; j++) {
		uint32_t at = random_below(&p->random, IN_FLIGHT - 2) + 1;

		block(p, s, at, at + 1);
	}
}

/* All is lost, and by turns nothing was. */
static void dsacks(struct sack_peer *p, unsigned i, struct script_segment *s)
{
	if (i % 2 == 1) {
		s->sack[s->sacks][0] = p->una - MSS;
		s->sack[s->sacks++][1] = p->una;
	}
	block(p, s, IN_FLIGHT - 6, IN_FLIGHT - 1);
}

static void run(const struct bench_options *options, const char *what,
		void (*say)(struct sack_peer *p, unsigned i, struct script_segment *s))
{
	static double cycles[ACKS], steps[ACKS];
	struct sack_peer *p = peer_create(options->seed);
	const struct net_counters *counters = net_stack_counters(p->harness->stack);
	uint64_t before;
	char name[64];

	for (unsigned i = 0; i < ACKS; i++) {
		struct script_segment s = ack_of(p);

		say(p, i, &s);
		pass(p, SPACING);
		before = counters->tcp_board_steps;
		cycles[i] = (double)tell(p, &s);
		steps[i] = (double)(counters->tcp_board_steps - before);
	}
	peer_destroy(p);
	snprintf(name, sizeof(name), "tcp.cycles.sack_%s", what);
	report(name, median(cycles, ACKS), "cycles");
	snprintf(name, sizeof(name), "tcp.steps.sack_%s", what);
	report(name, median(steps, ACKS), "steps");
	snprintf(name, sizeof(name), "tcp.steps.sack_%s_most", what);
	report(name, steps[ACKS - 1], "steps");
}

void bench_sack(const struct bench_options *options)
{
	run(options, "one_loss", one_loss);
	run(options, "every_second", every_second);
	run(options, "backwards", backwards);
	run(options, "the_same", the_same);
	run(options, "anywhere", anywhere);
	run(options, "dsacks", dsacks);
}
