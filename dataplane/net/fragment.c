/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reassembly; see fragment.h. */
#include "dataplane/net/fragment.h"

#include "dataplane/net/stack.h"
#include "dataplane/net/wire.h"

#include <assert.h>

#define UNIT	    8u
#define PAYLOAD_MAX (FRAME_BYTES - ETHERNET_HEADER - VLAN_TAG - IPV6_HEADER)

static_assert(PAYLOAD_MAX <= 4 * 64 * UNIT, "a bit for each unit");

static void forget(struct net_stack *stack, struct datagram *d)
{
	if (d->frame != NULL)
		frame_free(stack->settings.frames, d->frame);
	*d = (struct datagram){0};
	stack->fragments.used--;
}

/* Its other pieces, which may still come, are dropped as well. */
static void spoil(struct net_stack *stack, struct datagram *d)
{
	stack->counters.drop_fragment++;
	if (d->frame != NULL)
		frame_free(stack->settings.frames, d->frame);
	d->frame = NULL;
}

static struct datagram *find(struct net_stack *stack, const struct net_packet *packet, uint32_t id)
{
	for (unsigned i = 0; i < FRAGMENTS_MAX; i++) {
		struct datagram *d = &stack->fragments.datagrams[i];

		if (d->used && d->id == id && d->port == packet->port && d->vlan == packet->vlan &&
		    ip_equal(&d->source, &packet->source) &&
		    ip_equal(&d->destination, &packet->destination))
			return d;
	}
	return NULL;
}

static struct datagram *place(struct net_stack *stack)
{
	struct datagram *oldest = &stack->fragments.datagrams[0];

	for (unsigned i = 0; i < FRAGMENTS_MAX; i++) {
		struct datagram *d = &stack->fragments.datagrams[i];

		if (!d->used)
			return d;
		if (d->until_us < oldest->until_us)
			oldest = d;
	}
	stack->counters.drop_fragment++;
	forget(stack, oldest);
	return oldest;
}

/* The headers that the whole will have; its length is known at the end. */
static void put_headers(const struct datagram *d, const struct net_packet *packet, unsigned link)
{
	uint8_t *ip = d->frame->data + link;

	memcpy(d->frame->data, packet->frame->data, link);
	if (ip_is_v4(&packet->source)) {
		memcpy(ip, packet->ip, IPV4_HEADER);
		ip[0] = 0x45;
		ip[9] = PROTOCOL_TCP;
		store16(ip + 6, 0);
	} else {
		memcpy(ip, packet->ip, IPV6_HEADER);
		ip[6] = PROTOCOL_TCP;
	}
}

/* @return NULL: no frame (counted) */
static struct datagram *make(struct net_stack *stack, const struct net_packet *packet, uint32_t id)
{
	unsigned link = (unsigned)(packet->ip - packet->frame->data);
	unsigned header = ip_is_v4(&packet->source) ? IPV4_HEADER : IPV6_HEADER;
	struct frame *frame = frame_alloc(stack->settings.frames);
	struct datagram *d;

	if (frame == NULL) {
		stack->counters.drop_no_frame++;
		return NULL;
	}
	d = place(stack);
	*d = (struct datagram){
		.source = packet->source,
		.destination = packet->destination,
		.id = id,
		.port = packet->port,
		.vlan = packet->vlan,
		.header = (uint16_t)(link + header),
		.ecn = packet->ecn,
		.used = true,
		.frame = frame,
		.until_us = stack->now_us + FRAGMENT_US,
	};
	stack->fragments.used++;
	put_headers(d, packet, link);
	return d;
}

/* Mark the units of a piece. @return how many of them were there */
static unsigned mark(struct datagram *d, const struct fragment *f)
{
	unsigned there = 0;

	for (unsigned i = f->offset / UNIT; i < (f->offset + f->size + UNIT - 1) / UNIT; i++) {
		uint64_t bit = UINT64_C(1) << i % 64;

		there += (d->units[i / 64] & bit) != 0;
		d->units[i / 64] |= bit;
	}
	return there;
}

/* RFC 3168, 5.3: congestion that one piece met, the whole met; what does not fit is no answer of a
 * router. @return false: it does not fit */
static bool merge_ecn(struct datagram *d, uint8_t ecn)
{
	if (d->ecn == ecn)
		return true;
	if (d->ecn == IP_ECN_NONE || ecn == IP_ECN_NONE)
		return false;
	if (ecn == IP_ECN_CE)
		d->ecn = ecn;
	return true;
}

/* @return false: the datagram is spoilt */
static bool take(struct datagram *d, const struct fragment *f, uint8_t ecn)
{
	unsigned end = f->offset + f->size;
	uint8_t *to = d->frame->data + d->header + f->offset;
	unsigned units = (f->size + UNIT - 1) / UNIT, there;

	if (!f->more && d->end != 0 && d->end != end)
		return false;
	if (d->end != 0 && end > d->end)
		return false;
	if (!f->more && d->top > end)
		return false;
	there = mark(d, f);
	if (there == units) /* the network's copy, or a liar's */
		return memcmp(to, f->data, f->size) == 0;
	if (there != 0 || !merge_ecn(d, ecn))
		return false;
	memcpy(to, f->data, f->size);
	d->have = (uint16_t)(d->have + f->size);
	if (end > d->top)
		d->top = (uint16_t)end;
	if (!f->more)
		d->end = (uint16_t)end;
	return true;
}

/* As if it had come whole, but that the card has not seen it. */
static void deliver(struct net_stack *stack, struct datagram *d)
{
	struct frame *frame = d->frame;
	bool handed = stack->handed;
	uint8_t *ip;

	frame->length = (uint16_t)(d->header + d->end);
	frame->port = d->port;
	frame->flags = 0;
	if (ip_is_v4(&d->source)) {
		ip = frame->data + d->header - IPV4_HEADER;
		ip[1] = (uint8_t)((ip[1] & ~3u) | d->ecn);
		store16(ip + 2, (uint16_t)(IPV4_HEADER + d->end));
		frame->flags |= FRAME_RX_IP_CHECKSUM_GOOD;
	} else {
		ip = frame->data + d->header - IPV6_HEADER;
		ip[1] = (uint8_t)((ip[1] & ~0x30u) | (unsigned)d->ecn << 4);
		store16(ip + 4, d->end);
	}
	d->frame = NULL;
	forget(stack, d);
	stack->counters.reassembled++;
	stack->handed = false;
	stack->reassembled = true;
	net_ethernet_input(stack, frame, 0);
	if (!stack->handed)
		frame_free(stack->settings.frames, frame);
	stack->reassembled = false;
	stack->handed = handed;
}

void fragment_input(struct net_stack *stack, const struct net_packet *packet,
		    const struct fragment *f)
{
	uint16_t owner = net_owner_of(&packet->source, (uint16_t)f->id, (uint16_t)(f->id >> 16),
				      stack->settings.worker_count);
	struct datagram *d;

	if (f->protocol != PROTOCOL_TCP || packet->l2_multicast || f->size == 0 ||
	    (f->more && f->size % UNIT != 0) || f->offset + f->size > PAYLOAD_MAX) {
		stack->counters.drop_fragment++;
		return;
	}
	if (net_hand_off(stack, owner, packet->frame))
		return;
	d = find(stack, packet, f->id);
	if (d == NULL)
		d = make(stack, packet, f->id);
	if (d == NULL)
		return;
	if (d->frame == NULL || !take(d, f, packet->ecn))
		spoil(stack, d);
	else if (d->have == d->end)
		deliver(stack, d);
}

uint64_t fragment_due(const struct net_stack *stack)
{
	uint64_t due = MR_NEVER;

	for (unsigned i = 0; stack->fragments.used > 0 && i < FRAGMENTS_MAX; i++) {
		const struct datagram *d = &stack->fragments.datagrams[i];

		if (d->used && d->until_us < due)
			due = d->until_us;
	}
	return due;
}

void fragment_run(struct net_stack *stack)
{
	for (unsigned i = 0; i < FRAGMENTS_MAX; i++) {
		struct datagram *d = &stack->fragments.datagrams[i];

		if (!d->used || d->until_us > stack->now_us)
			continue;
		stack->counters.drop_fragment += d->frame != NULL;
		forget(stack, d);
	}
}

void fragment_flush(struct net_stack *stack)
{
	for (unsigned i = 0; i < FRAGMENTS_MAX; i++)
		if (stack->fragments.datagrams[i].used)
			forget(stack, &stack->fragments.datagrams[i]);
}
