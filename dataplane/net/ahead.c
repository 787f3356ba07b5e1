/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Looking ahead: with many connections nearly everything that a segment touches is out of the
 * caches, and each miss costs as much as the rest of its work. So a burst is gone over in passes
 * that only ask for what the next pass reads: headers, lines of the connection table, TCBs,
 * flights.
 *
 * Nothing is decided here: what looks like a TCP segment is checked when its turn comes. The hash
 * of its tuple is kept for then.
 */
#include "dataplane/net/stack.h"
#include "dataplane/net/wire.h"
#include "dataplane/tcp/layer.h"

/* @return hash of the tuple; 0: not a plain TCP segment */
static uint64_t peek(const struct net_stack *stack, const struct frame *frame)
{
	const uint8_t *p = frame->data + ETHERNET_HEADER - 2;
	unsigned left = frame->length;
	struct ip_address source, destination;
	unsigned header = IPV4_HEADER;

	if (left < ETHERNET_HEADER + VLAN_TAG + IPV6_HEADER) /* so short hardly any is */
		return 0;
	if (load16(p) == ETHERTYPE_VLAN) {
		p += VLAN_TAG;
		left -= VLAN_TAG;
	}
	left -= ETHERNET_HEADER;
	if (load16(p) == ETHERTYPE_IPV4 && p[2] == 0x45 && p[11] == PROTOCOL_TCP) {
		source = ip_from_v4(load32(p + 14));
		destination = ip_from_v4(load32(p + 18));
	} else if (load16(p) == ETHERTYPE_IPV6 && p[8] == PROTOCOL_TCP) {
		header = IPV6_HEADER;
		memcpy(source.bytes, p + 10, 16);
		memcpy(destination.bytes, p + 26, 16);
	} else {
		return 0;
	}
	if (left < header + 4)
		return 0;
	p += 2 + header;
	return tcp_hash(stack, &destination, load16(p + 2), &source, load16(p));
}

void net_look_ahead(const struct net_stack *stack, struct frame *const *frames, unsigned count,
		    uint64_t *hashes)
{
	for (unsigned i = 0; i < count; i++)
		__builtin_prefetch(frames[i]->data);
	for (unsigned i = 0; i < count; i++) {
		hashes[i] = peek(stack, frames[i]);
		if (hashes[i] != 0)
			tcp_expect(stack, hashes[i], TCP_EXPECT_LINE);
	}
	for (unsigned i = 0; i < count; i++)
		if (hashes[i] != 0)
			tcp_expect(stack, hashes[i], TCP_EXPECT_TCB);
	for (unsigned i = 0; i < count; i++)
		if (hashes[i] != 0)
			tcp_expect(stack, hashes[i], TCP_EXPECT_FLIGHT);
}
