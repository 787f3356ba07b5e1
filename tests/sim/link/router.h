/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What stands between two hosts besides the wire: a router with a small MTU that says so by ICMP
 * (RFC 1191, RFC 8201) or swallows what is too big; a middlebox that takes options out of SYNs; a
 * NAT that loses its memory and resets connections; and a stranger who knows the tuples but not the
 * sequence numbers and forges RST, SYN, data, ACK and ICMP (RFC 5961, RFC 5927).
 *
 * Frames come in by sim_router_send and leave by one of two links; what the stranger forges goes to
 * `forged` at once. Deterministic, as the links are. ARP and ND are let through untouched.
 */
#ifndef MILLRACE_TESTS_SIM_LINK_ROUTER_H
#define MILLRACE_TESTS_SIM_LINK_ROUTER_H

#include "tests/sim/link/link.h"

/** All zero: frames pass. Probabilities are 0..1, for each TCP segment that passes. */
struct sim_router_settings {
	uint32_t mtu;	 /**< IP packets that are larger do not pass; 0: all do */
	bool silent;	 /**< nobody is told of these (a black hole) */
	bool old_icmp;	 /**< ICMP says too big, but not what would fit (before RFC 1191) */
	bool strip_sack; /**< SYN options that are overwritten by NOPs … */
	bool strip_timestamps;
	bool strip_scale;
	uint16_t mss;	       /**< … and an MSS that is clamped; 0: not */
	double mark;	       /**< ECT becomes CE (RFC 3168) */
	bool bleach;	       /**< ECT and CE become Not-ECT */
	double reset;	       /**< RST to both ends, with exact numbers */
	double forge;	       /**< a blind attack */
	bool spare_neighbours; /**< what is not IP or is ND suffers from no fault of the link */
};

struct sim_router_counters {
	uint64_t too_big;
	uint64_t resets;
	uint64_t forged;
	uint64_t marked;
};

struct sim_router;

/**
 * @param links links[0] leads from host 0 to host 1, links[1] back; they stay the caller's
 * @param forged gets a forged frame for host `to`; may be NULL when `forge` is 0
 */
struct sim_router *sim_router_create(const struct sim_router_settings *settings,
				     struct sim_link *links[2], uint64_t seed,
				     void (*forged)(void *context, unsigned to,
						    const uint8_t *frame, size_t size),
				     void *context);
void sim_router_destroy(struct sim_router *router);
void sim_router_change(struct sim_router *router, const struct sim_router_settings *settings);
/** A frame from host `from`, checksums filled in. */
void sim_router_send(struct sim_router *router, unsigned from, const uint8_t *frame, size_t size,
		     uint64_t now_us);
const struct sim_router_counters *sim_router_counters(const struct sim_router *router);

#endif
