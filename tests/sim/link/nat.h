/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An address translator in front of one host, which knows nothing of a connection until it forgets
 * it: from then on the host's segments leave with another address and port, what comes back to
 * these is the host's, and what still comes for the old ones is swallowed, as by a NAT that has
 * rebooted or a telephone that changed networks. Checksums are adjusted (RFC 3022, 4.2), not made
 * anew: what was damaged stays damaged. ICMP passes as it is.
 */
#ifndef MILLRACE_TESTS_SIM_LINK_NAT_H
#define MILLRACE_TESTS_SIM_LINK_NAT_H

#include "dataplane/net/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_NAT_BINDINGS 64u

struct sim_nat_end {
	struct ip_address address;
	uint16_t port;
};

struct sim_nat_binding {
	struct sim_nat_end inside;  /**< what the host takes itself for */
	struct sim_nat_end outside; /**< what its peer sees; of the same family */
	struct sim_nat_end peer;
};

/** All zero: everything passes. */
struct sim_nat {
	unsigned count;
	struct sim_nat_binding bindings[SIM_NAT_BINDINGS];
};

/** @return false: there are too many already */
bool sim_nat_rebind(struct sim_nat *nat, const struct sim_nat_binding *binding);
/** A frame from the host, changed in place. */
void sim_nat_leave(const struct sim_nat *nat, uint8_t *frame, size_t size);
/** A frame for the host, changed in place. @return false: swallowed */
bool sim_nat_arrive(const struct sim_nat *nat, uint8_t *frame, size_t size);

#endif
