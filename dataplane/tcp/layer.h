/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What dataplane/net asks of TCP. */
#ifndef MILLRACE_DATAPLANE_TCP_LAYER_H
#define MILLRACE_DATAPLANE_TCP_LAYER_H

#include "dataplane/net/address.h"

#include <stdint.h>

struct frame;
struct net_gauges;
struct net_packet;
struct net_stack;

/** Make the layer as stack->settings say. @return 0 or -ENOMEM */
int tcp_layer_create(struct net_stack *stack);
/** Free everything. Callbacks are not called. */
void tcp_layer_destroy(struct net_stack *stack);
/** Hash of a connection's tuple, as this stack's table has it; never 0. */
uint64_t tcp_hash(const struct net_stack *stack, const struct ip_address *local,
		  uint16_t local_port, const struct ip_address *remote, uint16_t remote_port);

enum tcp_expectation {
	TCP_EXPECT_LINE,   /**< of the table */
	TCP_EXPECT_TCB,	   /**< whose tag the line has: the line should be there by now */
	TCP_EXPECT_FLIGHT, /**< of that TCB */
};
/** A segment with this tuple comes next: ask memory for what it will touch. */
void tcp_expect(const struct net_stack *stack, uint64_t hash, enum tcp_expectation what);
/** A segment for one of our addresses. */
void tcp_input(struct net_stack *stack, const struct net_packet *packet);

enum tcp_icmp_kind {
	TCP_ICMP_UNREACHABLE,
	TCP_ICMP_TOO_BIG,
};

/** What an ICMP error says about one of our segments. */
struct tcp_icmp_error {
	enum tcp_icmp_kind kind;
	struct ip_address local;
	struct ip_address remote;
	uint16_t local_port;
	uint16_t remote_port;
	uint32_t seq;	 /**< of the quoted segment */
	uint16_t quoted; /**< length of the quoted IP packet */
	uint32_t mtu;	 /**< next-hop MTU; 0: the router does not say (before RFC 1191) */
};
void tcp_icmp_input(struct net_stack *stack, const struct tcp_icmp_error *error);
/** The next hop did not answer; the frame waited for it and is the caller's. */
void tcp_frame_undeliverable(struct net_stack *stack, const struct frame *frame);
/** Abort connections whose local address is gone. */
void tcp_addresses_changed(struct net_stack *stack);
/** @return number of timers run */
unsigned tcp_run_timers(struct net_stack *stack, unsigned budget);
uint64_t tcp_next_timer(const struct net_stack *stack);
/** Let what is on the output list send. */
void tcp_run_output(struct net_stack *stack);
void tcp_layer_gauges(const struct net_stack *stack, struct net_gauges *out);

#endif
