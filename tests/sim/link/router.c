/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The router and its bad company; see router.h. */
#include "tests/sim/link/router.h"

#include "dataplane/net/checksum.h"
#include "dataplane/net/wire.h"
#include "dataplane/tcp/segment.h"
#include "drivers/random.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_MAX 2048u
#define QUOTE	  128u /* bytes of the offending packet in an ICMP error, as most routers do */

struct sim_router {
	struct sim_router_settings settings;
	struct sim_router_counters counters;
	struct mr_random random;
	struct sim_link *links[2];
	void (*forged)(void *context, unsigned to, const uint8_t *frame, size_t size);
	void *context;
};

/* A frame taken apart; everything points into it. */
struct parts {
	uint8_t *frame;
	size_t size;
	size_t l2; /* Ethernet and VLAN */
	size_t l3; /* IP header; 0: not IP */
	uint8_t *ip;
	uint8_t *l4;
	size_t l4_size;
	uint8_t protocol;
	bool v4;
};

struct sim_router *sim_router_create(const struct sim_router_settings *settings,
				     struct sim_link *links[2], uint64_t seed,
				     void (*forged)(void *context, unsigned to,
						    const uint8_t *frame, size_t size),
				     void *context)
{
	struct sim_router *router = calloc(1, sizeof(*router));

	assert(router != NULL);
	random_init_seed(&router->random, seed);
	router->settings = *settings;
	router->links[0] = links[0];
	router->links[1] = links[1];
	router->forged = forged;
	router->context = context;
	return router;
}

void sim_router_destroy(struct sim_router *router)
{
	free(router);
}

void sim_router_change(struct sim_router *router, const struct sim_router_settings *settings)
{
	router->settings = *settings;
}

const struct sim_router_counters *sim_router_counters(const struct sim_router *router)
{
	return &router->counters;
}

static bool chance(struct sim_router *router, double probability)
{
	return probability > 0 && random_u32(&router->random) < probability * 4294967296.0;
}

/* Our own stacks' frames: no options, no extension headers, no padding. */
static void take_apart(struct parts *p, uint8_t *frame, size_t size)
{
	uint16_t type = load16(frame + 12);

	*p = (struct parts){.frame = frame, .size = size, .l2 = ETHERNET_HEADER};
	if (type == ETHERTYPE_VLAN) {
		p->l2 += VLAN_TAG;
		type = load16(frame + 16);
	}
	p->v4 = type == ETHERTYPE_IPV4;
	if (!p->v4 && type != ETHERTYPE_IPV6)
		return;
	p->ip = frame + p->l2;
	p->l3 = p->v4 ? IPV4_HEADER : IPV6_HEADER;
	p->protocol = p->ip[p->v4 ? 9 : 6];
	p->l4 = p->ip + p->l3;
	p->l4_size = size - p->l2 - p->l3;
}

static struct ip_address address(const struct parts *p, bool destination)
{
	struct ip_address a;

	if (p->v4)
		return ip_from_v4(load32(p->ip + 12 + (destination ? 4 : 0)));
	memcpy(a.bytes, p->ip + 8 + (destination ? 16 : 0), 16);
	return a;
}

/* Lengths and checksums of a packet that was changed or made. */
static void seal(struct parts *p)
{
	struct ip_address from = address(p, false), to = address(p, true);
	size_t field = p->protocol == PROTOCOL_TCP ? 16 : 2;
	uint64_t sum = 0;

	p->size = p->l2 + p->l3 + p->l4_size;
	if (p->v4) {
		store16(p->ip + 2, (uint16_t)(p->l3 + p->l4_size));
		store16(p->ip + 10, 0);
		checksum_store(p->ip + 10, checksum_add(0, p->ip, IPV4_HEADER));
	} else {
		store16(p->ip + 4, (uint16_t)p->l4_size);
	}
	if (p->protocol != PROTOCOL_ICMP)
		sum = checksum_pseudo(&from, &to, p->protocol, (uint32_t)p->l4_size);
	store16(p->l4 + field, 0);
	checksum_store(p->l4 + field, checksum_add(sum, p->l4, p->l4_size));
}

/* --- the middlebox --- */
static void overwrite_option(const struct sim_router_settings *s, uint8_t *p)
{
	bool strip = (p[0] == TCP_OPTION_SACK_OK && s->strip_sack) ||
		     (p[0] == TCP_OPTION_TIMESTAMP && s->strip_timestamps) ||
		     (p[0] == TCP_OPTION_SCALE && s->strip_scale);

	if (strip)
		memset(p, TCP_OPTION_NOP, p[1]);
	else if (p[0] == TCP_OPTION_MSS && s->mss != 0 && load16(p + 2) > s->mss)
		store16(p + 2, s->mss);
}

static void rewrite_syn(const struct sim_router_settings *s, struct parts *p)
{
	size_t header = (p->l4[12] >> 4) * 4u;

	for (size_t at = TCP_HEADER; at < header && p->l4[at] != TCP_OPTION_END;) {
		uint8_t *option = p->l4 + at;

		if (option[0] == TCP_OPTION_NOP) {
			at++;
			continue;
		}
		at += option[1];
		overwrite_option(s, option);
	}
	seal(p);
}

/* RFC 3168, 5: the two low bits of the traffic class. */
static void touch_ecn(struct sim_router *router, struct parts *p)
{
	unsigned shift = p->v4 ? 0 : 4; /* IPv6: the upper half of the second octet */
	uint8_t *octet = p->ip + 1;
	unsigned bits = *octet >> shift & 3u;

	if (bits == 0)
		return;
	if (router->settings.bleach) {
		*octet &= (uint8_t) ~(3u << shift);
		seal(p);
	} else if (chance(router, router->settings.mark)) {
		*octet |= (uint8_t)(3u << shift);
		router->counters.marked++;
		seal(p);
	}
}

/* --- packets of the router's own --- */
/* An answer to what `p` carries: Ethernet, VLAN and IP header turned round. */
static void turn_round(const struct parts *p, uint8_t *frame, struct parts *out, uint8_t protocol)
{
	memcpy(frame, p->frame, p->l2 + p->l3);
	memcpy(frame, p->frame + 6, 6);
	memcpy(frame + 6, p->frame, 6);
	take_apart(out, frame, FRAME_MAX);
	out->protocol = protocol;
	out->ip[p->v4 ? 9 : 6] = protocol;
	if (p->v4) {
		memcpy(out->ip + 12, p->ip + 16, 4);
		memcpy(out->ip + 16, p->ip + 12, 4);
	} else {
		memcpy(out->ip + 8, p->ip + 24, 16);
		memcpy(out->ip + 24, p->ip + 8, 16);
	}
}

/* RFC 1191, 4; RFC 4443, 3.2. The router speaks with the destination's address: hosts do not look
 * at who an error comes from. */
static void make_too_big(const struct parts *p, uint32_t mtu, uint8_t *frame, struct parts *out)
{
	size_t quote = p->l3 + p->l4_size;

	if (quote > QUOTE)
		quote = QUOTE;
	turn_round(p, frame, out, p->v4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
	memset(out->l4, 0, ICMP_HEADER);
	out->l4[0] = p->v4 ? 3 : 2;
	out->l4[1] = p->v4 ? 4 : 0;
	if (p->v4)
		store16(out->l4 + 6, (uint16_t)mtu);
	else
		store32(out->l4 + 4, mtu);
	memcpy(out->l4 + ICMP_HEADER, p->ip, quote);
	out->l4_size = ICMP_HEADER + quote;
	seal(out);
}

/* A bare segment with `p`'s tuple, in its direction or (back) the other way round. */
static void make_segment(const struct parts *p, bool back, uint8_t flags, uint32_t seq,
			 uint32_t ack, uint8_t *frame, struct parts *out)
{
	if (back) {
		turn_round(p, frame, out, PROTOCOL_TCP);
		memcpy(out->l4, p->l4 + 2, 2);
		memcpy(out->l4 + 2, p->l4, 2);
	} else {
		memcpy(frame, p->frame, p->l2 + p->l3);
		take_apart(out, frame, FRAME_MAX);
		memcpy(out->l4, p->l4, 4);
	}
	store32(out->l4 + 4, seq);
	store32(out->l4 + 8, ack);
	out->l4[12] = TCP_HEADER / 4 << 4;
	out->l4[13] = flags;
	store16(out->l4 + 14, 1000);
	store32(out->l4 + 16, 0);
	out->l4_size = TCP_HEADER;
	seal(out);
}

static void reset_both(struct sim_router *router, unsigned from, const struct parts *p,
		       uint64_t now_us)
{
	uint32_t span = (uint32_t)(p->l4_size - (p->l4[12] >> 4) * 4u) +
			((p->l4[13] & TCP_FIN) != 0) + ((p->l4[13] & TCP_SYN) != 0);
	uint8_t frame[FRAME_MAX];
	struct parts rst;

	router->counters.resets++;
	make_segment(p, false, TCP_RST, load32(p->l4 + 4) + span, 0, frame, &rst);
	sim_link_send(router->links[from], frame, rst.size, now_us);
	make_segment(p, true, TCP_RST, load32(p->l4 + 8), 0, frame, &rst);
	sim_link_send(router->links[1 - from], frame, rst.size, now_us);
}

/* --- the stranger --- */
/* Numbers that are in the window, if the stranger is lucky, and an ACK that is far off: to hit both
 * is not within reach (RFC 5961, 5.1). */
static void forge(struct sim_router *router, unsigned from, const struct parts *p)
{
	static const uint8_t kinds[] = {
		TCP_RST, TCP_RST | TCP_ACK, TCP_SYN,	       TCP_SYN | TCP_ACK,
		TCP_ACK, TCP_ACK | TCP_PSH, TCP_FIN | TCP_ACK, TCP_ACK};
	uint32_t kind = random_below(&router->random, sizeof(kinds) + 1);
	uint32_t near = random_below(&router->random, 20000);
	bool back = random_below(&router->random, 2) != 0;
	bool blind = random_below(&router->random, 4) == 0;
	uint8_t frame[FRAME_MAX];
	struct parts out;
	uint32_t seq, ack;

	router->counters.forged++;
	if (kind == sizeof(kinds)) { /* a PTB that quotes numbers in flight, or not */
		make_too_big(p, random_below(&router->random, 1600), frame, &out);
		if (blind)
			store32(out.l4 + ICMP_HEADER + p->l3 + 4, random_u32(&router->random));
		seal(&out);
		router->forged(router->context, from, frame, out.size);
		return;
	}
	seq = load32(p->l4 + (back ? 8 : 4)) + near;
	ack = load32(p->l4 + (back ? 4 : 8)) + (1u << 30) + random_below(&router->random, 1u << 30);
	if (blind)
		seq = random_u32(&router->random);
	make_segment(p, back, kinds[kind], seq, ack, frame, &out);
	if ((kinds[kind] & TCP_PSH) != 0) {
		out.l4_size += 1 + near % 500;
		memset(out.l4 + TCP_HEADER, 0xbd, out.l4_size - TCP_HEADER);
		seal(&out);
	}
	router->forged(router->context, back ? from : 1 - from, frame, out.size);
}

static bool is_neighbour_talk(const struct parts *p)
{
	return p->l3 == 0 ||
	       (p->protocol == PROTOCOL_ICMPV6 && (p->l4[0] == 135 || p->l4[0] == 136));
}

static void tcp_passes(struct sim_router *router, unsigned from, struct parts *p, uint64_t now_us)
{
	const struct sim_router_settings *s = &router->settings;

	if ((p->l4[13] & TCP_SYN) != 0 &&
	    (s->strip_sack || s->strip_timestamps || s->strip_scale || s->mss != 0))
		rewrite_syn(s, p);
	if (s->bleach || s->mark > 0)
		touch_ecn(router, p);
	sim_link_send(router->links[from], p->frame, p->size, now_us);
	if (chance(router, s->reset))
		reset_both(router, from, p, now_us);
	if (chance(router, s->forge))
		forge(router, from, p);
}

void sim_router_send(struct sim_router *router, unsigned from, const uint8_t *data, size_t size,
		     uint64_t now_us)
{
	const struct sim_router_settings *s = &router->settings;
	uint8_t frame[FRAME_MAX], error[FRAME_MAX];
	struct parts p, icmp;

	assert(from < 2 && size <= sizeof(frame));
	memcpy(frame, data, size);
	take_apart(&p, frame, size);
	if (is_neighbour_talk(&p)) {
		if (s->spare_neighbours)
			sim_link_send_surely(router->links[from], frame, size, now_us);
		else
			sim_link_send(router->links[from], frame, size, now_us);
		return;
	}
	if (s->mtu != 0 && size - p.l2 > s->mtu) {
		router->counters.too_big++;
		if (s->silent)
			return;
		make_too_big(&p, s->old_icmp ? 0 : s->mtu, error, &icmp);
		sim_link_send(router->links[1 - from], error, icmp.size, now_us);
		return;
	}
	if (p.protocol == PROTOCOL_TCP)
		tcp_passes(router, from, &p, now_us);
	else
		sim_link_send(router->links[from], frame, size, now_us);
}
