/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is known of the way to a remote address, for the connections that come after (RFC 9040): the
 * round trip, which allows a SYN timer below a second (RFC 8961, 2, (1): the path's latency is
 * known), thresholds, path MTU, reordering, ECN; and the one bucket that the first bursts of all
 * connections to it share. Connections tell while they live, and each thing that was learnt has an
 * age of its own: paths change, and what nobody has seen for long is found out anew.
 *
 * Owner: one worker, which learns for itself. Memory: one block made with the layer, of fixed size;
 * an entry that connections use stays, of the others the one left longest ago makes room. An IPv6
 * entry stands for a /64. A connection without an entry (all are in use) does as if nothing was
 * known. Always true: references is the number of connections that hold the entry; unused entries
 * are exactly those on the list.
 */
#ifndef MILLRACE_DATAPLANE_TCP_DESTINATION_H
#define MILLRACE_DATAPLANE_TCP_DESTINATION_H

#include "dataplane/tcp/tcb.h"

#define DESTINATION_FRESH_US   UINT64_C(600000000)  /* what was learnt longer ago is not used */
#define DESTINATION_LEARN_US   UINT64_C(1000000)    /* how often living connections tell */
#define DESTINATION_ECN_US     UINT64_C(3600000000) /* then ECN is tried again */
#define DESTINATION_SYN_MIN_US 250000u
/* Whoever answers late on purpose must not slow others at its address down by more than this. */
#define DESTINATION_SYN_MAX_US	3000000u
#define DESTINATION_MTU_KEEP_US UINT64_C(600000000) /* RFC 8201, 4; RFC 1191, 6.3 */

struct destination {
	struct ip_address address; /* the last 8 bytes are zero for IPv6 */
	uint64_t learnt_us;	   /* the round trip; 0: nothing yet */
	uint64_t mtu_us;	   /* when mtu was learnt */
	uint64_t ssthresh_us;	   /* when a connection last found one out */
	uint64_t reordering_us;	   /* when one saw it; 0: never */
	uint64_t ecn_broken_us;	   /* when ECN was last found to do harm; 0: never */
	uint64_t next_us;	   /* bucket: what is admitted is spread up to here */
	uint64_t epoch_us;	   /* delivered is counted from here */
	uint64_t rate;		   /* bytes per second that it took lately, from all connections */
	uint32_t delivered;	   /* bytes since epoch_us */
	uint32_t srtt_us;
	uint32_t rttvar_us;
	uint32_t ssthresh; /* bytes; 0: unknown */
	uint32_t references;
	uint32_t chain; /* of its bucket: index + 1 */
	uint32_t older; /* list of the unused: index + 1 */
	uint32_t newer;
	uint16_t mtu; /* 0: unknown */
};

struct destination_cache {
	struct destination *entries;
	uint32_t *buckets; /* index + 1 */
	uint32_t capacity;
	uint32_t mask;	/* buckets - 1 */
	uint32_t fresh; /* entries never used begin here */
	uint32_t oldest;
	uint32_t newest;
};

/* @return NULL: no memory */
struct destination_cache *destination_cache_create(uint32_t entries);
void destination_cache_destroy(struct destination_cache *cache);

/* The connection begins to use its destination's entry. */
void destination_open(struct net_stack *stack, struct tcb *tcb);
/* It ends: learn from it, and let go. */
void destination_close(struct net_stack *stack, struct tcb *tcb);
/* @return NULL: none */
struct destination *destination_of(const struct tcp_layer *layer, const struct tcb *tcb);
/* Of an address, whether or not a connection uses it. @return NULL: unknown */
const struct destination *destination_look_up(const struct tcp_layer *layer,
					      const struct ip_address *remote);
/* Take over what the connection knows of the path, unless somebody told it within
 * DESTINATION_LEARN_US. Its threshold it tells at its end: the living share the path. */
void destination_tell(struct net_stack *stack, struct tcb *tcb);
/* The handshake is done: what is known goes into the connection. */
void destination_apply(struct net_stack *stack, struct tcb *tcb);
/* First timeout of a SYN. */
uint32_t destination_syn_timeout_us(const struct net_stack *stack, const struct tcb *tcb);
/* A router said so, or probing found it. */
void destination_set_mtu(struct net_stack *stack, struct tcb *tcb, uint16_t mtu);
/* @return 0: unknown, or long ago */
uint16_t destination_mtu(const struct net_stack *stack, const struct tcb *tcb);
/* ECN does harm on this path, so SYNs do not offer it for a while. */
void destination_set_ecn_broken(struct net_stack *stack, struct tcb *tcb);
bool destination_ecn_broken(const struct net_stack *stack, const struct tcb *tcb);
/* Bytes were acknowledged; now and then what else the connection knows is told with them. */
void destination_delivered(struct net_stack *stack, struct tcb *tcb, uint32_t bytes);
/*
 * May a burst go that no ACK clocks?
 * @return segments, at most `most`; 0: not for the next *wait_us
 */
unsigned destination_admit(struct net_stack *stack, const struct tcb *tcb, unsigned most,
			   uint32_t *wait_us);
void destination_sent(struct net_stack *stack, const struct tcb *tcb, uint32_t bytes);

#endif
