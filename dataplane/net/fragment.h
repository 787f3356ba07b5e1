/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reassembly of TCP segments that a router on the way cut (RFC 791, 3.2; RFC 8200, 4.5). Ours
 * cannot be cut and a peer's are no longer than our MSS, so that one frame holds each of them;
 * whatever is longer, or not TCP, is dropped. All pieces of one go to the same worker, by addresses
 * and identification, and what comes together goes to the owner of its connection.
 *
 * Owner: one worker. Memory: a frame of its pool for each datagram that is not complete, at most
 * FRAGMENTS_MAX; the oldest gives way. Always true: an octet is written once: what overlaps ends
 * its datagram (RFC 5722, RFC 8200), of which nothing is taken until it is forgotten.
 */
#ifndef MILLRACE_DATAPLANE_NET_FRAGMENT_H
#define MILLRACE_DATAPLANE_NET_FRAGMENT_H

#include "dataplane/net/address.h"

#include <stdbool.h>
#include <stdint.h>

#define FRAGMENTS_MAX 32u
#define FRAGMENT_US   60000000u /* RFC 8200, 4.5; RFC 1122, 3.3.2 */

struct frame;
struct net_packet;
struct net_stack;

/** A datagram that is not complete. */
struct datagram {
	struct ip_address source;
	struct ip_address destination;
	uint32_t id;
	uint16_t port;
	uint16_t vlan;
	uint16_t header; /**< octets before the payload in the frame */
	uint16_t end;	 /**< octets of payload; 0: the last piece has not come */
	uint16_t top;	 /**< octets up to the end of the furthest piece */
	uint16_t have;	 /**< octets that came */
	uint8_t ecn;
	bool used;
	struct frame *frame; /**< NULL: spoilt */
	uint64_t until_us;
	uint64_t units[4]; /**< which eight octets are there */
};

struct fragment_table {
	struct datagram datagrams[FRAGMENTS_MAX];
	unsigned used;
};

/** One piece, as its header tells. */
struct fragment {
	uint32_t id;
	uint16_t offset; /**< octets */
	bool more;
	uint8_t protocol;
	const uint8_t *data;
	unsigned size;
};

/** Take a piece; the packet's addresses are checked, its payload is not set. */
void fragment_input(struct net_stack *stack, const struct net_packet *packet,
		    const struct fragment *fragment);
/** When fragment_run next has something to do; MR_NEVER: nothing. */
uint64_t fragment_due(const struct net_stack *stack);
/** Forget what did not become complete in its time. */
void fragment_run(struct net_stack *stack);
/** Forget everything. */
void fragment_flush(struct net_stack *stack);

#endif
