/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The state of BBR version 3 (draft-ietf-ccwg-bbr); the model is bbr_model.c's, the states and what
 * they do to pacing rate and window are bbr.c's.
 *
 * Owner: the connection's worker. Memory: a pool of the layer's, so that connections with another
 * congestion control pay nothing. Rates are bytes per second, amounts bytes, delivered counts wrap.
 */
#ifndef MILLRACE_DATAPLANE_TCP_BBR_H
#define MILLRACE_DATAPLANE_TCP_BBR_H

#include "dataplane/tcp/congestion.h"
#include "dataplane/tcp/rate.h"

#define BBR_NONE      UINT32_MAX /* no bound on an amount */
#define BBR_NONE_RATE UINT64_MAX /* no bound on a rate */

/* Draft, 2.x; ratios in percent. */
#define BBR_BETA	     70u
#define BBR_LOSS_THRESHOLD   2u
#define BBR_HEADROOM	     15u
#define BBR_PACE	     99u /* so that queues empty */
#define BBR_FULL_LOSS_COUNT  6u	 /* 5.3.1.3 */
#define BBR_MIN_SEGMENTS     4u
#define BBR_PROBE_RTT_US     200000u
#define BBR_PROBE_RTT_GAP_US 5000000u
#define BBR_MIN_RTT_US	     10000000u
#define BBR_EXTRA_ROUNDS     10u

enum bbr_state {
	BBR_STARTUP,
	BBR_DRAIN,
	BBR_DOWN,
	BBR_CRUISE,
	BBR_REFILL,
	BBR_UP,
	BBR_PROBE_RTT,
};

/* Which part of a bandwidth probe the ACKs are about. */
enum bbr_ack_phase {
	BBR_ACKS_INIT,
	BBR_ACKS_REFILLING,
	BBR_ACKS_STARTING,
	BBR_ACKS_FEEDBACK,
	BBR_ACKS_STOPPING,
};

struct bbr {
	struct rate_state rate;
	uint32_t next; /* free states: index + 1 */
	uint64_t pacing_rate;
	uint64_t bw;	    /* min(max_bw, bw_short) */
	uint64_t max_bw[2]; /* of this probing cycle and the one before */
	uint64_t bw_latest; /* largest of this loss round */
	uint64_t bw_short;  /* BBR.bw_shortterm */
	uint64_t full_bw;
	uint32_t inflight_latest;
	uint32_t inflight_short; /* BBR.inflight_shortterm */
	uint32_t inflight_long;	 /* BBR.inflight_longterm */
	uint32_t prior_cwnd;
	uint32_t min_rtt_us; /* 0: none yet */
	uint32_t min_rtt_at_us;
	uint32_t probe_rtt_us; /* smallest since probe_rtt_at_us; 0: none yet */
	uint32_t probe_rtt_at_us;
	uint32_t probe_rtt_done_us;
	uint32_t next_round; /* delivered count that ends the round */
	uint32_t loss_round; /* likewise, for signals of loss */
	uint32_t rounds_since_probe;
	uint32_t probe_wait_us;
	uint32_t cycle_us; /* when this DOWN began */
	uint32_t probe_up_acks;
	uint32_t probe_up_count; /* bytes to be acknowledged for each byte of inflight_long; 0: none
				  */
	uint32_t extra[2]; /* aggregation: largest excess of this window of rounds, and before */
	uint32_t extra_rounds;
	uint32_t extra_at_us;
	uint32_t extra_delivered;
	uint32_t loss_events;	  /* of this round */
	uint32_t round_lost;	  /* bytes, of this loss round */
	uint32_t round_delivered; /* delivered count when it began */
	uint32_t recovery_rounds;
	uint8_t state;
	uint8_t ack_phase;
	uint8_t probe_up_rounds;
	uint8_t full_bw_count;
	uint8_t cycle; /* which of max_bw is this one's */
	bool round_start;
	bool loss_round_start;
	bool loss_in_round;
	bool full_bw_now;
	bool full_bw_reached;
	bool probe_samples; /* the probe may be judged */
	bool idle_restart;
	bool probe_rtt_timed; /* probe_rtt_done_us is set */
	bool probe_rtt_round_done;
	bool probe_rtt_expired;
	bool rtt_pacing; /* the pacing rate knows a round trip */
};

/* --- bbr_model.c --- */
uint64_t bbr_max_bw(const struct bbr *b);
/* bw * min_rtt * gain, gain in percent; the initial window while nothing is known. */
uint32_t bbr_bdp(const struct bbr *b, const struct tcb *tcb, uint64_t bw, uint32_t gain);
uint32_t bbr_min_window(const struct tcb *tcb);
/* What may be in flight to leave room to others. */
uint32_t bbr_with_headroom(const struct bbr *b, const struct tcb *tcb);
uint32_t bbr_target_inflight(const struct bbr *b, const struct tcb *tcb);
uint32_t bbr_extra_acked(const struct bbr *b);
bool bbr_is_probing(const struct bbr *b);
bool bbr_in_probe_bw(const struct bbr *b);
bool bbr_inflight_too_high(const struct rate_sample *s);
uint64_t bbr_sample_bw(const struct rate_sample *s);
void bbr_start_round(struct bbr *b);
void bbr_reset_short_term(struct bbr *b);
void bbr_reset_full_bw(struct bbr *b);
/* 5.5.10 and 5.5.2 to 5.5.9: signals of this ACK. */
void bbr_update_signals(struct bbr *b, const struct tcb *tcb, const struct rate_sample *s,
			uint32_t lost, uint32_t now_us);
/* After all have looked at them. */
void bbr_advance_signals(struct bbr *b, const struct rate_sample *s);
void bbr_check_full_bw(struct bbr *b, const struct rate_sample *s);
void bbr_update_min_rtt(struct bbr *b, uint32_t rtt_us, uint32_t now_us);

#endif
