/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Next hops of one worker: who answers to an address on a link, found by ARP (RFC 826, RFC
 * 1122 2.3.2) or ND (RFC 4861, 7.3). A fixed table; when it is full, the entry that is worth
 * least gives way (RFC 6583, 6): those that were only heard of, then those that never answered,
 * then hosts that we sent to; gateways only to gateways. So whoever asks us from, or makes us look
 * for, more addresses than the table holds drives out neither the way out nor hosts in use.
 *
 * Owner: one worker; every worker resolves for itself, replies reach all of them. Memory: made with
 * the stack; at most NEIGHBOUR_QUEUE frames wait for one address, so at most that many times the
 * table's size in all.
 * Always true: only INCOMPLETE entries hold frames; in INCOMPLETE, DELAY and PROBE the wheel node
 * is armed; `unanswered` is the number of INCOMPLETE and FAILED entries that are no gateways.
 */
#ifndef MILLRACE_DATAPLANE_NET_NEIGHBOUR_H
#define MILLRACE_DATAPLANE_NET_NEIGHBOUR_H

#include "dataplane/buf/frame.h"
#include "dataplane/buf/wheel.h"
#include "dataplane/net/address.h"
#include "dataplane/net/hash.h"

#define NEIGHBOUR_QUEUE	       3u
#define NEIGHBOUR_TRIES	       3u
#define NEIGHBOUR_RETRY_US     1000000u	 /* RETRANS_TIMER (RFC 4861, 10) */
#define NEIGHBOUR_REACHABLE_US 30000000u /* REACHABLE_TIME */
#define NEIGHBOUR_DELAY_US     5000000u	 /* DELAY_FIRST_PROBE_TIME */
#define NEIGHBOUR_HOLD_US      3000000u	 /* a failure is believed this long */

#define NEIGHBOUR_STATES(X)         \
	X(FREE, "free")             \
	X(INCOMPLETE, "incomplete") \
	X(REACHABLE, "reachable")   \
	X(STALE, "stale")           \
	X(DELAY, "delay")           \
	X(PROBE, "probe")           \
	X(FAILED, "failed")

enum neighbour_state {
#define X(name, text) NEIGHBOUR_##name,
	NEIGHBOUR_STATES(X)
#undef X
};

struct neighbour {
	struct ip_address address;
	uint16_t port;
	uint16_t vlan;
	uint8_t mac[6];
	uint8_t state; /**< enum neighbour_state */
	uint8_t tries; /**< requests sent in this state */
	uint8_t queued;
	bool gateway;		  /**< of a route in force */
	bool sent_to;		  /**< a frame was for it, not only from it */
	uint32_t epoch;		  /**< another one when the entry gets another owner; not 0 */
	uint32_t next;		  /**< hash chain, index + 1 */
	uint64_t confirmed_us;	  /**< last proof of reachability, or of failure */
	uint64_t used_us;	  /**< last time something was sent to it */
	struct ip_address source; /**< who asked: the address that requests come from */
	struct wheel_node timer;
	struct frame *queue[NEIGHBOUR_QUEUE];
};

struct neighbour_table {
	struct hash_key key;
	uint32_t capacity;
	uint32_t used;
	uint32_t bucket_mask;
	uint32_t unanswered;
	uint32_t clock_hand; /**< where the search for an entry to give way begins */
	uint32_t epoch;	     /**< the last one given out */
	uint32_t *buckets;
	struct neighbour *entries;
	struct wheel *wheel;
};

struct net_stack;

int neighbour_table_init(struct neighbour_table *table, uint32_t capacity,
			 const struct hash_key *key, uint64_t now_us);
void neighbour_table_free(struct neighbour_table *table);

/** @return the entry or NULL */
struct neighbour *neighbour_find(struct neighbour_table *table, const struct ip_address *address,
				 uint16_t port, uint16_t vlan);
/** Why an entry is wanted; what is worth less gives way at once. */
enum neighbour_worth {
	NEIGHBOUR_HEARD,   /**< it asked us */
	NEIGHBOUR_ASKED,   /**< there is something for it; it has not answered (yet) */
	NEIGHBOUR_HOST,	   /**< as an entry: it answered, and was sent to */
	NEIGHBOUR_GATEWAY, /**< it is a route's next hop */
};
/**
 * Find, or make an entry that knows nothing.
 * @param wish HEARD, ASKED or GATEWAY
 * @return NULL: nothing can give way (counted)
 */
struct neighbour *neighbour_get(struct net_stack *stack, const struct ip_address *address,
				uint16_t port, uint16_t vlan, enum neighbour_worth wish);
/** Routes may have changed: whoever remembers an entry looks its path up again. */
void neighbour_restamp(struct neighbour_table *table);
/**
 * Send a frame whose Ethernet header lacks the destination: fill it in, or keep the frame and ask.
 * Takes the frame.
 * @param source local address to ask from
 */
void neighbour_send(struct net_stack *stack, struct neighbour *neighbour,
		    const struct ip_address *source, struct frame *frame);
/**
 * A neighbour said what its link address is.
 * @param solicited an answer to our question: reachable; otherwise only stale
 * @param create make an entry when there is none
 */
/* Its link-layer address is known, and another than this. */
bool neighbour_differs(struct net_stack *stack, const struct ip_address *address, uint16_t port,
		       uint16_t vlan, const uint8_t mac[6]);
/* What is known is to be checked before it is relied on for long: REACHABLE becomes STALE. */
void neighbour_doubt(struct net_stack *stack, const struct ip_address *address, uint16_t port,
		     uint16_t vlan);
void neighbour_learn(struct net_stack *stack, const struct ip_address *address, uint16_t port,
		     uint16_t vlan, const uint8_t mac[6], bool solicited, bool create);
/** Proof from above that the path works (RFC 4861, 7.3.1): forward progress of TCP. */
void neighbour_confirm(struct neighbour *neighbour, uint64_t now_us);
/** Forget everything, waiting frames too. */
void neighbour_flush(struct net_stack *stack);
void neighbour_timer(void *stack, uint32_t index);

#endif
