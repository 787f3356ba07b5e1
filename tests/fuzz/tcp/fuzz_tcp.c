/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A peer and an application that do anything in any order: segments whose numbers are near the
 * connection's own, time, reads, writes, close, abort. The harness checks every invariant of tcb.h
 * after each step, and that all memory comes home.
 */
#include "dataplane/tcp/internal.h"
#include "tests/sim/tcp_harness.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t left;
};

static uint32_t take(struct input *in, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < bytes; i++) {
		value <<= 8;
		if (in->left > 0) {
			value |= *in->data++;
			in->left--;
		}
	}
	return value;
}

struct peer {
	struct harness *h;
	struct harness_connection *c;
	uint32_t seq; /* what the stack expects, as heard last */
	uint32_t ack; /* the end of what was heard */
	uint32_t una;
	uint32_t ts_val;
	uint32_t ts_ecr;
	bool timestamps;
};

static const uint8_t zeros[70000];

static void hear(struct peer *p)
{
	struct tcp_segment s;
	uint8_t copy[2048];

	while (script_take(p->h, &s, copy)) {
		if ((s.flags & TCP_ACK) != 0)
			p->seq = s.ack;
		if ((s.flags & TCP_RST) == 0)
			p->ack = s.seq + tcp_segment_span(&s);
		if (s.has_timestamp)
			p->ts_ecr = s.ts_val;
		if (p->c == NULL)
			p->c = p->h->accepted;
	}
}

static void say(struct peer *p, struct input *in, uint8_t kind)
{
	struct script_segment s = {
		.flags = kind & 1 ? (uint8_t)take(in, 1) : TCP_ACK,
		.seq = p->seq + (kind & 2 ? (uint32_t)(int32_t)(int16_t)take(in, 2) : 0),
		.ack = p->ack + (kind & 4 ? (uint32_t)(int32_t)(int16_t)take(in, 2) : 0),
		.window = kind & 8 ? (uint16_t)take(in, 2) : 65535,
		.size = kind & 16 ? (uint16_t)(take(in, 2) % 1461) : 0,
		.data = zeros,
		.timestamp = p->timestamps,
		.ts_val = p->ts_val += kind & 32 ? (uint32_t)(int32_t)(int8_t)take(in, 1) : 0,
		.ts_ecr = p->ts_ecr,
	};

	if ((s.flags & TCP_SYN) != 0) {
		s.mss = 1460;
		s.sack_permitted = true;
	} else if (kind & 64) {
		s.sacks = take(in, 1) % (s.timestamp ? 4 : 5);
		for (unsigned i = 0; i < s.sacks; i++) {
			s.sack[i][0] = p->ack - take(in, 2);
			s.sack[i][1] = s.sack[i][0] + take(in, 2);
		}
	}
	script_feed(p->h, &s);
}

static void open_connection(struct peer *p, bool active, uint8_t offer)
{
	struct script_segment syn = {.flags = TCP_SYN,
				     .seq = 0xfffffc00,
				     .window = 65535,
				     .mss = offer & 1 ? 1460 : 0,
				     .sack_permitted = (offer & 2) != 0,
				     .timestamp = (offer & 4) != 0,
				     .scaled = (offer & 8) != 0,
				     .scale = 5};

	p->timestamps = syn.timestamp;
	if (active) {
		p->c = harness_connect(p->h, 25);
		hear(p);
		syn.flags = TCP_SYN | TCP_ACK;
		syn.ack = p->ack;
		syn.ts_ecr = p->ts_ecr;
		script_feed(p->h, &syn);
		hear(p);
		return;
	}
	script_feed(p->h, &syn);
	p->seq = syn.seq + 1;
	hear(p);
	if ((offer & 16) == 0)
		say(p, &(struct input){0}, 0);
	hear(p);
}

static void act(struct peer *p, struct input *in, uint8_t what)
{
	bool open = p->c != NULL && !p->c->closed;

	switch (what & 7) {
	case 0:
		harness_advance(p->h, (uint64_t)take(in, 2) * 1000);
		break;
	case 1:
		if (open && p->c->sent == p->c->to_send_size)
			harness_send(p->c, zeros, take(in, 2));
		break;
	case 2:
		if (open)
			harness_take_more(p->c, take(in, 2));
		break;
	case 3:
		if (open)
			harness_close(p->c);
		break;
	case 4:
		if (open && (what & 8) != 0)
			harness_abort(p->c);
		break;
	case 5:
		if (open)
			p->c->close_on_end = true;
		break;
	case 6:
		if (open)
			tcp_send(p->h->stack, p->c->handle, zeros, take(in, 2));
		break;
	case 7:
		harness_advance(p->h, (uint64_t)take(in, 1) * 100);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t mode = (uint8_t)take(&in, 1), offer = (uint8_t)take(&in, 1);
	struct harness_options options = {
		.frames = 256,
		.chunks = mode & 4 ? 12 : 64,
		.connections = 8,
		.receive_window = mode & 8 ? 3000 : 0,
		.v6 = (mode & 2) != 0,
		.seed = 1,
	};
	struct peer p = {.h = harness_create(&options), .ts_val = 1000};

	harness_listen(p.h, 25);
	open_connection(&p, (mode & 1) != 0, offer);
	while (in.left > 0) {
		uint8_t what = (uint8_t)take(&in, 1);

		if (what < 128)
			say(&p, &in, what);
		else
			act(&p, &in, what & 127);
		if ((what & 3) != 3)
			hear(&p);
	}
	harness_destroy(p.h);
	return 0;
}
