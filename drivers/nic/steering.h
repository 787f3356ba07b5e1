/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How a port is made to deliver each connection's packets to the queue of its owner (DESIGN.md,
 * decision 1), without knowing a device: the Toeplitz key, the owners of its redirection slots, and
 * masked rules for ports without a usable hash. Pure functions; nic_port.c tells the card.
 *
 * An owner depends on seven bits: the low bits of (local port XOR remote port), for IPv6 with a
 * term of the remote address besides (dataplane/net/owner.c).
 */
#ifndef MILLRACE_DRIVERS_NIC_STEERING_H
#define MILLRACE_DRIVERS_NIC_STEERING_H

#include <stddef.h>
#include <stdint.h>

#define NIC_STEERING_SLOTS   128u
#define NIC_STEERING_KEY_MIN 40u /**< bytes: what the IPv6 tuple needs */

/** How packets find their owner's queue. */
enum nic_steering {
	NIC_STEERING_ONE_QUEUE,	 /**< one worker: nothing to find */
	NIC_STEERING_RSS_KEY,	 /**< the card's hash, under our sparse key */
	NIC_STEERING_FLOW_RULES, /**< masked rules for outbound connections; the rest by ring */
	NIC_STEERING_HAND_OFF,	 /**< any queue, and a ring to the owner */
};
/** "rss-key", "flow-rules", … */
const char *nic_steering_name(enum nic_steering mode);

/**
 * The sparse key: with bits 104 and 120 alone the low 7 bits of the hash are bitreverse7(source
 * port XOR destination port) for IPv4; bits 296 and 312 do the same for IPv6, where the first two
 * add the source address's bits 73 to 79 XOR 89 to 95.
 * @param size at least NIC_STEERING_KEY_MIN
 */
void nic_steering_key(uint8_t *key, size_t size);
/** The low bits of the ports' XOR that redirection slot `slot` stands for. */
uint16_t nic_steering_ports_of_slot(unsigned slot);

/** Packets whose destination port agrees with `value` under `mask` go to `queue`. */
struct nic_steering_rule {
	uint16_t value;
	uint16_t mask;
	uint16_t queue;
};
/**
 * The fewest masked rules that send connections to `remote_port` (packets from it) to their owners:
 * as many as workers when these are a power of two. Together they match every port, each once.
 * @param owner_of_slot NIC_STEERING_SLOTS owners
 * @param rules room for NIC_STEERING_SLOTS
 * @return how many
 */
unsigned nic_steering_rules(const uint16_t *owner_of_slot, uint16_t remote_port,
			    struct nic_steering_rule *rules);

#endif
