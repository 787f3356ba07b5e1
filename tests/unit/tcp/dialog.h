/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A packet script: the test plays the peer of one connection. Sequence numbers are relative to what
 * comes next, so that a script reads like a table: `says` sends a segment, `hears` takes the
 * stack's next one and checks it.
 */
#ifndef MILLRACE_TESTS_UNIT_TCP_DIALOG_H
#define MILLRACE_TESTS_UNIT_TCP_DIALOG_H

#include "dataplane/net/checksum.h"
#include "dataplane/net/wire.h"
#include "tests/sim/tcp_harness.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define F TCP_FIN
#define S TCP_SYN
#define R TCP_RST
#define P TCP_PSH
#define A TCP_ACK

/* What the peer's SYN offers. */
struct offer {
	bool sack;
	bool timestamps;
	int scale; /* -1: none */
	uint16_t mss;
	uint16_t window; /* of every segment; 0: 65535 */
};

static const struct offer plain = {.scale = -1, .mss = 1460};
static const struct offer with_sack = {.sack = true, .scale = -1, .mss = 1460};
static const struct offer full = {.sack = true, .timestamps = true, .scale = 7, .mss = 1460};

struct dialog {
	struct harness *h;
	struct harness_connection *c;
	struct offer offer;
	uint32_t seq; /* the peer's next */
	uint32_t ack; /* the stack's next */
	uint16_t window;
	uint32_t ts; /* the peer's clock */
	uint32_t ts_ecr;
	struct tcp_segment s; /* the last one heard */
	uint8_t copy[2048];
};

static inline struct script_segment dialog_base(struct dialog *d, uint8_t flags)
{
	return (struct script_segment){
		.flags = flags,
		.seq = d->seq,
		.ack = (flags & A) != 0 ? d->ack : 0,
		.window = d->window,
		.timestamp = d->offer.timestamps,
		.ts_val = d->ts,
		.ts_ecr = d->ts_ecr,
	};
}

static inline bool dialog_take(struct dialog *d)
{
	if (!script_take(d->h, &d->s, d->copy))
		return false;
	if (d->s.has_timestamp)
		d->ts_ecr = d->s.ts_val;
	return true;
}

/* A segment at seq + offset with `size` bytes of `data`; the peer's sequence number moves on when
 * offset is 0. */
static inline void says_at(struct dialog *d, uint8_t flags, int32_t offset, const void *data,
			   size_t size)
{
	struct script_segment s = dialog_base(d, flags);

	s.seq += (uint32_t)offset;
	s.data = data;
	s.size = (uint16_t)size;
	script_feed(d->h, &s);
	if (offset == 0)
		d->seq += (uint32_t)size + ((flags & F) != 0) + ((flags & S) != 0);
}

static inline void says(struct dialog *d, uint8_t flags)
{
	says_at(d, flags, 0, NULL, 0);
}

/* An ACK up to the stack's first `bytes` bytes beyond d->ack, with SACK blocks relative to d->ack.
 */
static inline void acks(struct dialog *d, uint32_t bytes, unsigned sacks,
			const uint32_t blocks[][2])
{
	struct script_segment s = dialog_base(d, A);

	s.ack += bytes;
	s.sacks = sacks;
	for (unsigned i = 0; i < sacks; i++) {
		s.sack[i][0] = d->ack + blocks[i][0];
		s.sack[i][1] = d->ack + blocks[i][1];
	}
	script_feed(d->h, &s);
}

#define hears_nothing(d) assert_false(dialog_take(d))

/* The next segment: flags (PSH set aside), its place relative to d->ack, its length. */
#define hears(d, flags_, offset_, length_)                                     \
	do {                                                                   \
		assert_true(dialog_take(d));                                   \
		assert_int_equal((d)->s.flags & ~P, (flags_));                 \
		assert_int_equal((int32_t)((d)->s.seq - (d)->ack), (offset_)); \
		assert_int_equal((d)->s.length, (length_));                    \
		if (((flags_)&A) != 0)                                         \
			assert_int_equal((d)->s.ack - (d)->seq, 0);            \
	} while (0)

/* A bare ACK of something other than d->seq. */
#define hears_ack_of(d, relative_)                                               \
	do {                                                                     \
		assert_true(dialog_take(d));                                     \
		assert_int_equal((d)->s.flags & ~P, A);                          \
		assert_int_equal((int32_t)((d)->s.ack - (d)->seq), (relative_)); \
	} while (0)

static const struct harness_options v4 = {.seed = 1};

static inline void dialog_begin(struct dialog *d, const struct harness_options *options,
				const struct offer *offer)
{
	*d = (struct dialog){
		.h = harness_create(options),
		.offer = *offer,
		.seq = 0xfffff000, /* wraps soon: everything is tested over the edge */
		.window = offer->window != 0 ? offer->window : 65535,
		.ts = 0xfffffff0,
	};
}

static inline struct script_segment dialog_syn(struct dialog *d, uint8_t flags)
{
	struct script_segment syn = dialog_base(d, flags);

	syn.mss = d->offer.mss;
	syn.sack_permitted = d->offer.sack;
	syn.scaled = d->offer.scale >= 0;
	syn.scale = d->offer.scale;
	return syn;
}

/* The stack listens on port 25. */
static inline struct dialog listening(const struct harness_options *options,
				      const struct offer *offer)
{
	struct dialog d;

	dialog_begin(&d, options, offer);
	harness_listen(d.h, 25);
	return d;
}

/* The peer has sent its SYN to port 25, and has the answer. */
static inline struct dialog syn_answered(const struct harness_options *options,
					 const struct offer *offer)
{
	struct dialog d = listening(options, offer);
	struct script_segment syn = dialog_syn(&d, S);

	script_feed(d.h, &syn);
	d.seq++;
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S | A);
	assert_int_equal(d.s.ack, d.seq);
	d.ack = d.s.seq + 1;
	return d;
}

/* The peer connects to port 25. */
static inline struct dialog accepted(const struct harness_options *options,
				     const struct offer *offer)
{
	struct dialog d = syn_answered(options, offer);

	says(&d, A);
	hears_nothing(&d);
	d.c = d.h->accepted;
	assert_non_null(d.c);
	return d;
}

/* The stack connects; the SYN was heard. */
static inline struct dialog connecting(const struct harness_options *options,
				       const struct offer *offer)
{
	struct dialog d;

	dialog_begin(&d, options, offer);
	d.c = harness_connect(d.h, 25);
	assert_non_null(d.c);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S);
	d.ack = d.s.seq + 1;
	return d;
}

/* The peer's SYN-ACK comes after so long. */
static inline struct dialog connected_after(const struct harness_options *options,
					    const struct offer *offer, uint64_t rtt_us)
{
	struct dialog d = connecting(options, offer);
	struct script_segment syn = dialog_syn(&d, S | A);

	harness_advance(d.h, rtt_us);
	script_feed(d.h, &syn);
	d.seq++;
	hears(&d, A, 0, 0);
	assert_true(d.c->connected);
	return d;
}

static inline struct dialog connected(const struct harness_options *options,
				      const struct offer *offer)
{
	return connected_after(options, offer, 0);
}

/* A first round trip of 50 ms, so that the timers are known: srtt 50 ms, RTO 250 ms. */
static inline struct dialog measured(const struct offer *offer)
{
	return connected_after(&v4, offer, 50000);
}

/* No connection is left; the pools are checked by harness_destroy. */
static inline void dialog_end(struct dialog *d)
{
	harness_destroy(d->h);
}

static inline const char *dialog_state(const struct dialog *d)
{
	struct tcp_information i;

	return tcp_information(d->h->stack, d->c->handle, &i) == 0 ? i.state : "gone";
}

static inline struct tcp_information information(const struct dialog *d)
{
	struct tcp_information i;

	harness_information(d->c, &i);
	return i;
}

static inline const struct net_counters *counters(const struct dialog *d)
{
	return net_stack_counters(d->h->stack);
}

static inline uint32_t connections(const struct dialog *d)
{
	struct net_gauges g;

	net_stack_gauges(d->h->stack, &g);
	return g.connections;
}

static inline uint32_t time_waits(const struct dialog *d)
{
	struct net_gauges g;

	net_stack_gauges(d->h->stack, &g);
	return g.time_wait;
}

static const uint8_t bytes[65536] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, [1000] = 11, [20000] = 12};

#endif
