/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Delivery rate estimation (draft-ietf-ccwg-bbr, 4.1; draft-cheng-iccrg-delivery-rate-estimation):
 * what the network delivered between two ACKs, over the longer of the time that it took to send it
 * and the time that it took to acknowledge it.
 *
 * Owner: the connection's worker. Memory: struct rate_state lies in the state of a congestion
 * control that wants samples; what is noted of each segment lies in blocks beside the scoreboard's,
 * from a pool of their own. A segment for which there was no block yields no sample.
 */
#ifndef MILLRACE_DATAPLANE_TCP_RATE_H
#define MILLRACE_DATAPLANE_TCP_RATE_H

#include "dataplane/tcp/tcb.h"

/* Of a connection; bytes count modulo 2^32. */
struct rate_state {
	uint32_t delivered;	/* C.delivered */
	uint32_t delivered_us;	/* C.delivered_time */
	uint32_t first_sent_us; /* C.first_sent_time */
	uint32_t lost;		/* C.lost */
	uint32_t app_limited;	/* samples up to this delivered count are bounded by the sender */
	bool is_app_limited;
};

/* What one ACK says. */
struct rate_sample {
	bool valid; /* delivered and interval_us are a measurement */
	bool app_limited;
	bool has_prior; /* the fields from here on come from a segment */
	uint32_t prior_delivered;
	uint32_t prior_us;
	uint32_t newest_sent_us;
	uint32_t newest_end;
	uint32_t send_us;
	uint32_t delivered;   /* bytes */
	uint32_t interval_us; /* in which they were */
	uint32_t in_flight;   /* when the segment was sent, itself included */
	uint32_t lost;	      /* since then */
	uint32_t newly_acked; /* bytes */
};

/* The connection's state. @return NULL: its congestion control wants none */
struct rate_state *rate_of(struct net_stack *stack, struct tcb *tcb);
/* A record is about to be sent, or sent again; it counts as in flight already. */
void rate_on_send(struct net_stack *stack, struct tcb *tcb, struct tcp_record *record);
/* A record was delivered. */
void rate_on_deliver(struct net_stack *stack, struct tcb *tcb, const struct tcp_record *record,
		     struct rate_sample *sample);
/* All of an ACK's records are in. */
void rate_finish(struct net_stack *stack, struct tcb *tcb, struct rate_sample *sample);
/*
 * A record was found lost.
 * @param[out] sample in_flight and lost are of this record
 * @return false: nothing is known of it
 */
bool rate_on_lost(struct net_stack *stack, struct tcb *tcb, const struct tcp_record *record,
		  struct rate_sample *sample);
/* The application has no more to send, and the window has room. */
void rate_app_limited(struct net_stack *stack, struct tcb *tcb);

int rate_pool_init(struct rate_pool *pool, uint32_t blocks);
void rate_pool_free(struct rate_pool *pool);
/* @param index + 1; 0 is nothing */
void rate_block_free(struct rate_pool *pool, uint32_t link);

#endif
