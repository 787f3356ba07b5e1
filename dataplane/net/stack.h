/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inside of a worker's stack: what the files of net/ and tcp/ share. Nobody else includes it.
 *
 * Owner: one worker. Memory: all of it made in net_stack_create, but the address tables, which
 * net_stack_configure makes anew.
 * Always true: a frame is in exactly one place: the caller's hands,
 * a port's transmit queue, or a neighbour's waiting queue.
 */
#ifndef MILLRACE_DATAPLANE_NET_STACK_H
#define MILLRACE_DATAPLANE_NET_STACK_H

#include "dataplane/net/fragment.h"
#include "dataplane/net/limit.h"
#include "dataplane/net/local.h"
#include "dataplane/net/neighbour.h"
#include "dataplane/net/net.h"

#define TX_QUEUE   1024u /* frames a port's queue holds; a power of two */
#define TX_RESERVE 64u	 /* of these, kept for what is not TCP data: answers, ARP, ND */
/* Precedence is zero, don't-fragment is always set (RFC 1191, 3). */
#define IP_TTL	    64u
#define FRAME_BYTES 2000u /* what every frame holds (frame.h) */

/* RFC 3168, 5: ECN codepoints. */
#define IP_ECN_NONE 0u
#define IP_ECN_ECT0 2u
#define IP_ECN_CE   3u

struct tcp_layer;

struct net_port {
	uint8_t mac[6];
	bool present;
	uint16_t mtu;
	uint32_t tx_head; /* next to hand out */
	uint32_t tx_tail;
	struct frame *tx[TX_QUEUE];
};

struct net_stack {
	struct net_stack_settings settings;
	uint64_t now_us; /* of the call that is being served */
	struct net_port ports[NET_PORTS_MAX];
	struct local_table local;
	struct neighbour_table neighbours;
	struct tcp_layer *tcp;
	struct rate_limit icmp_limit;
	struct rate_limit link_limit; /* answers to ARP and ND */
	uint32_t announce_next;	      /* next own address to announce; address_count: done */
	uint32_t announce_round;      /* announcements are made twice */
	uint64_t announce_us;	      /* when the next lot is due */
	uint32_t mld_next;	      /* as announce_next, for reports that a query asked for */
	uint64_t mld_us;
	uint16_t ip_id;
	bool handed;	  /* the frame came through the hand-off */
	bool reassembled; /* the frame was put together here */
	struct fragment_table fragments;
	struct net_counters counters;
	struct net_arrivals arrivals[NET_PORTS_MAX];
};

/* A received IP packet; everything points into the frame. */
struct net_packet {
	struct ip_address source;
	struct ip_address destination;
	const uint8_t *ip; /* the IP header */
	uint16_t ip_length;
	const uint8_t *payload;
	uint16_t length;
	uint8_t protocol;
	uint8_t hop_limit;
	uint8_t ecn; /* codepoint */
	uint16_t port;
	uint16_t vlan;
	bool l2_multicast;
	bool l4_good;  /* the port checked the checksum */
	uint64_t hash; /* of the tuple, from looking ahead; 0: not known */
	struct frame *frame;
};

/* The way from a local address to a remote one. */
struct net_path {
	uint32_t neighbour;
	uint32_t epoch; /* of the neighbour's entry: void when it has another */
	uint16_t port;
	uint16_t mtu;
	uint8_t ecn; /* codepoint of what is sent (RFC 3168, 5); 0 as found */
};

/* --- input.c --- */
/* @param hash as net_look_ahead found it */
void net_ethernet_input(struct net_stack *stack, struct frame *frame, uint64_t hash);
/* Hand the frame to its owner. @return false: it is ours (or there is nobody else) */
bool net_hand_off(struct net_stack *stack, uint16_t owner, struct frame *frame);
/* Let the other workers see it too. */
void net_hand_round(struct net_stack *stack, struct frame *frame);

/* --- ahead.c --- */
/* Ask memory for what a burst will touch. @param[out] hashes of the tuples; 0: not a TCP segment at
 * first sight */
void net_look_ahead(const struct net_stack *stack, struct frame *const *frames, unsigned count,
		    uint64_t *hashes);

/* --- output.c --- */
/* @return 0, -EADDRNOTAVAIL not a local address, -ENETUNREACH no route, -ENOBUFS neighbour table
 * full, -EHOSTUNREACH the neighbour has just failed to answer */
int net_path_find(struct net_stack *stack, const struct ip_address *local,
		  const struct ip_address *remote, struct net_path *path);
/* Frames that the path's port can still queue without touching the reserve. */
unsigned net_port_room(const struct net_stack *stack, uint16_t port);
/*
 * A frame with Ethernet (and VLAN) header but for the destination, and the IP header.
 * @param length of the IP payload
 * @param[out] payload where it goes
 * @return NULL: no frame (counted)
 */
struct frame *net_frame_begin(struct net_stack *stack, const struct net_path *path,
			      const struct ip_address *local, const struct ip_address *remote,
			      uint8_t protocol, uint8_t hop_limit, uint16_t length,
			      uint8_t **payload);
/* Send it to the path's next hop. */
void net_frame_send(struct net_stack *stack, const struct net_path *path,
		    const struct ip_address *local, struct frame *frame);
/* An Ethernet frame of our own. @return NULL: no frame; else *payload is behind the header */
struct frame *net_ethernet_begin(struct net_stack *stack, uint16_t port, uint16_t vlan,
				 const uint8_t destination[6], uint16_t ethertype,
				 uint16_t payload_length, uint8_t **payload);
/* Put a finished frame into its port's queue; takes it. */
void net_transmit(struct net_stack *stack, struct frame *frame);
/* Write an IPv6 header with hop limit 255, for ND. */
void net_ipv6_header(uint8_t *to, const struct ip_address *source,
		     const struct ip_address *destination, uint8_t protocol, uint8_t hop_limit,
		     uint16_t length);

/* --- arp.c, nd.c --- */
void arp_input(struct net_stack *stack, const struct frame *frame, uint16_t vlan,
	       const uint8_t *packet, uint16_t length, bool *others);
/* Ask who has `address`; unicast to mac when it is known. @return false: no frame to ask with */
bool arp_request(struct net_stack *stack, const struct neighbour *neighbour);
void arp_announce(struct net_stack *stack, const struct local_address *own);
/* Who asks for one of our addresses is answered, within a limit (counted). */
bool net_may_answer_link(struct net_stack *stack);
void nd_input(struct net_stack *stack, const struct net_packet *packet, bool *others);
bool nd_solicit(struct net_stack *stack, const struct neighbour *neighbour);
void nd_announce(struct net_stack *stack, const struct local_address *own);

/* --- mld.c --- */
/* We listen to the address's solicited-node group. */
void mld_join(struct net_stack *stack, const struct local_address *own);
void mld_query(struct net_stack *stack, const struct net_packet *packet);
/* When mld_run has something to report; MR_NEVER: nothing. */
uint64_t mld_due(const struct net_stack *stack);
void mld_run(struct net_stack *stack);

/* --- icmp.c --- */
void icmp4_input(struct net_stack *stack, const struct net_packet *packet);
void icmp6_input(struct net_stack *stack, const struct net_packet *packet);
/* An IPv6 option that is not known (RFC 4443, 3.4), rate limited. @param at where it is */
void icmp_send_parameter(struct net_stack *stack, const struct net_packet *packet, uint32_t at);
/* Port or protocol unreachable, rate limited. */
void icmp_send_unreachable(struct net_stack *stack, const struct net_packet *packet, bool protocol);

#endif
