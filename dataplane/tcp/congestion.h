/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a congestion control is: a small table of functions over a connection's windows.
 *
 * Owner: the connection's worker. Memory: TCB_CONGESTION_STATE bytes in the TCB; who needs more
 * takes it from a pool of its own in `init` and gives it back in `release`. Loss detection and the
 * recovery itself (RACK, PRR) are recovery.c's, the spacing of segments is pacing.c's.
 *
 * Always true: cwnd is at least one segment; only on_ack raises it, but for the undo of a reduction
 * that was not due.
 */
#ifndef MILLRACE_DATAPLANE_TCP_CONGESTION_H
#define MILLRACE_DATAPLANE_TCP_CONGESTION_H

#include "dataplane/tcp/tcb.h"

/* No loss yet: slow start without an end in sight. */
#define SSTHRESH_NONE (UINT32_MAX / 2)
/* No window grows beyond it: sequence numbers must not wrap over what is in flight. */
#define CWND_MAX (1u << 30)

enum congestion_event {
	CONGESTION_LOSS,
	CONGESTION_TIMEOUT,
	CONGESTION_ECN, /* the path says so itself (RFC 3168) */
};

struct rate_sample;

/* What one ACK, or the timer that finds a loss, has told. */
struct congestion_news {
	uint32_t now_us;
	uint32_t acked;			/* bytes by which snd_una moved */
	uint32_t lost;			/* bytes that were found lost with it */
	uint32_t rtt_us;		/* 0: no sample */
	uint32_t since_us;		/* time since the news before */
	bool may_grow;			/* it does not belong to a recovery */
	bool limited;			/* the window was in use (RFC 7661, 4.3) */
	const struct rate_sample *rate; /* NULL: none */
};

struct tcp_congestion {
	const char *name;
	/*
	 * From now on this algorithm; the windows are as they are.
	 * @return 0, -ENOBUFS its pool is empty
	 */
	int (*init)(struct net_stack *stack, struct tcb *tcb);
	/* The connection ends, or takes another algorithm. NULL: nothing to give back */
	void (*release)(struct net_stack *stack, struct tcb *tcb);
	/* @return the new ssthresh; the window follows in recovery.c */
	uint32_t (*reduce)(struct net_stack *stack, struct tcb *tcb, enum congestion_event event);
	/* Move the window after an ACK. */
	void (*on_ack)(struct net_stack *stack, struct tcb *tcb,
		       const struct congestion_news *news);
	/* The recovery is over, or was not due and the state is as before it. NULL: nothing to do
	 */
	void (*recovered)(struct net_stack *stack, struct tcb *tcb);
	/* Nothing was sent for idle_us; the window is cut already, but with own_recovery. */
	void (*restart)(struct net_stack *stack, struct tcb *tcb, uint32_t idle_us);
	/* A segment was found lost; in_flight and lost are of it. NULL: not asked for */
	void (*on_lost)(struct net_stack *stack, struct tcb *tcb, const struct rate_sample *sample,
			uint32_t size);
	/* The first segment goes out after all was acknowledged. NULL: not asked for */
	void (*on_first_send)(struct net_stack *stack, struct tcb *tcb);
	/* Where the delivery rate is kept. NULL: it is not measured */
	struct rate_state *(*rate)(struct net_stack *stack, struct tcb *tcb);
	/* Bytes per second; 0: as fast as the window goes. NULL: by window and round trip */
	uint64_t (*pacing_rate)(const struct net_stack *stack, const struct tcb *tcb);
	/* It has not yet found what the path bears. NULL: while the window is below ssthresh */
	bool (*starting)(const struct net_stack *stack, const struct tcb *tcb);
	/* The window in recovery and after a pause is its own affair, not PRR's. */
	bool own_recovery;
};

extern const struct tcp_congestion congestion_cubic; /* cubic.c */
extern const struct tcp_congestion congestion_reno;  /* congestion.c */
extern const struct tcp_congestion congestion_bbr;   /* bbr.c */

/* The algorithm of a connection. */
const struct tcp_congestion *congestion_of(const struct tcb *tcb);
/* RFC 6928, 2. */
uint32_t congestion_initial_window(const struct tcb *tcb);
/* A connection begins: windows and state. */
void congestion_init(struct net_stack *stack, struct tcb *tcb);
/* Give back what the algorithm holds. */
void congestion_release(struct net_stack *stack, struct tcb *tcb);
/* @return the new ssthresh, at least two segments (RFC 5681, equation 4) */
uint32_t congestion_reduce(struct net_stack *stack, struct tcb *tcb, enum congestion_event event);
/* ECE: the path is congested (RFC 3168, 6.1.2); called once for each window. @return the window
 * was reduced, which CWR is to say */
bool congestion_on_ecn(struct net_stack *stack, struct tcb *tcb);
/* After a pause of idle_us: RFC 5681, 4.1. */
void congestion_restart(struct net_stack *stack, struct tcb *tcb, uint32_t idle_us);

/*
 * Slow start up to ssthresh (RFC 5681, 3.1, counting bytes as RFC 3465 with L unlimited: segments
 * are paced).
 * @return bytes of `acked` that are left for congestion avoidance
 */
uint32_t congestion_slow_start(struct tcb *tcb, uint32_t acked);

/* --- hystart.c: where to end the first slow start (RFC 9406) --- */
struct hystart {
	uint32_t window_end;  /* the round ends when this is acknowledged */
	uint32_t last_rtt_us; /* smallest of the last round; 0: none */
	uint32_t rtt_us;      /* smallest of this round; 0: none */
	uint32_t baseline_us; /* when conservative slow start began; 0: in ordinary slow start */
	uint8_t samples;      /* of this round, up to 255 */
	uint8_t css_rounds;
	uint8_t remainder; /* of acked bytes divided by 4 */
	uint8_t unused;
};
static_assert(sizeof(struct hystart) <= TCB_CONGESTION_STATE, "fits into the TCB");

void hystart_init(struct hystart *h, uint32_t snd_nxt);
/*
 * One ACK in slow start.
 * @param acked bytes
 * @return bytes by which the window may grow; *done: slow start ends here
 */
uint32_t hystart_on_ack(struct hystart *h, uint32_t snd_una, uint32_t snd_nxt, uint32_t rtt_us,
			uint32_t acked, bool *done);

/* --- cubic.c (RFC 9438) --- */
/* In segments and seconds. */
struct cubic {
	float w_max;
	float k;
	float w_est;	   /* of the Reno-friendly region */
	uint32_t epoch_us; /* 0: no epoch yet */
	uint16_t fraction; /* of a byte that cwnd is larger, in 1/65536 */
	uint16_t w_prior;  /* cwnd before the reduction, rounded */
};
static_assert(sizeof(struct cubic) <= TCB_CONGESTION_STATE, "fits into the TCB");

#endif
