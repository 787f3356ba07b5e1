/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The transmission control block and the layer that holds them all; private to dataplane/tcp.
 *
 * Owner: one worker. Memory: slabs made with the layer; a connection that idles costs its two parts
 * and its share of the table, 318 bytes, and holds neither a frame nor a chunk, neither a flight
 * nor a scoreboard block. Times inside are the low 32 bits of monotonic microseconds and are
 * compared by difference; a deadline of 0 is not set.
 *
 * Always true of a connection past the handshake: snd_una <= snd_nxt <= send_end (+1 with FIN); the
 * scoreboard covers exactly [snd_una, snd_nxt); sacked_bytes and lost_bytes are the sums over its
 * records, as are the counts in its blocks, and no record is both; the send queue covers exactly
 * [snd_una, send_end) but for its FIN; the retransmission timer runs when data is in flight; who
 * has something in flight holds a flight.
 */
#ifndef MILLRACE_DATAPLANE_TCP_TCB_H
#define MILLRACE_DATAPLANE_TCP_TCB_H

#include "dataplane/buf/chunk.h"
#include "dataplane/buf/wheel.h"
#include "dataplane/net/hash.h"
#include "dataplane/net/limit.h"
#include "dataplane/net/stack.h"
#include "dataplane/tcp/tcp.h"

#include <assert.h>

/* RFC 9293, 3.3.2. TIME_WAIT connections live in a table of their own, save while the application
 * has unread data. */
#define TCP_STATES(X)                 \
	X(CLOSED, "CLOSED")           \
	X(SYN_SENT, "SYN-SENT")       \
	X(SYN_RCVD, "SYN-RECEIVED")   \
	X(ESTABLISHED, "ESTABLISHED") \
	X(FIN_WAIT_1, "FIN-WAIT-1")   \
	X(FIN_WAIT_2, "FIN-WAIT-2")   \
	X(CLOSE_WAIT, "CLOSE-WAIT")   \
	X(CLOSING, "CLOSING")         \
	X(LAST_ACK, "LAST-ACK")       \
	X(TIME_WAIT, "TIME-WAIT")

enum tcp_state {
#define X(name, text) TCPS_##name,
	TCP_STATES(X)
#undef X
};

enum tcb_flag {
	TCB_LISTED = 1 << 0,	   /* on one of the lists below */
	TCB_ACK_NOW = 1 << 1,	   /* an ACK goes out with the next output */
	TCB_ACK_DELAYED = 1 << 2,  /* one segment waits for its ACK */
	TCB_SYN_DUE = 1 << 3,	   /* send SYN or SYN-ACK */
	TCB_FIN_QUEUED = 1 << 4,   /* the application closed */
	TCB_FIN_SENT = 1 << 5,	   /* snd_nxt is beyond our FIN */
	TCB_FIN_RECEIVED = 1 << 6, /* rcv_nxt is beyond the peer's FIN */
	TCB_END_TOLD = 1 << 7,	   /* on_end was called */
	TCB_WANT_SEND = 1 << 8,
	TCB_SACK = 1 << 9, /* both sides permit it */
	TCB_TIMESTAMPS = 1 << 10,
	TCB_ACTIVE = 1 << 11,	      /* we opened it */
	TCB_PROBE_OUT = 1 << 12,      /* a tail loss probe is not yet answered */
	TCB_PROBE_RESENT = 1 << 13,   /* and it was a retransmission */
	TCB_REORDERING = 1 << 14,     /* the path was seen to reorder */
	TCB_CWND_LIMITED = 1 << 15,   /* the window was filled when something was last sent */
	TCB_CLOSE_DUE = 1 << 16,      /* on_closed(close_reason) with the next output */
	TCB_DSACK_DUE = 1 << 17,      /* report the duplicate in dsack_start..dsack_end */
	TCB_RECOVERY = 1 << 18,	      /* in fast recovery, until snd_una passes `recover` */
	TCB_LOSS = 1 << 19,	      /* after a timeout, likewise */
	TCB_DELIVERING = 1 << 20,     /* inside on_receive */
	TCB_ACCEPTED = 1 << 21,	      /* the application knows it */
	TCB_LIMITED_WINDOW = 1 << 22, /* the peer offers no window scale (RFC 7323, 2.2) */
	TCB_PERSISTING = 1 << 23,     /* zero-window probing is under way */
	TCB_ECN = 1 << 24,	      /* both sides can (RFC 3168); in SYN-SENT: offered */
	TCB_ECE_DUE = 1 << 25,	      /* echo until CWR comes */
	TCB_CWR_DUE = 1 << 26,	      /* with the next new data */
	TCB_CWR = 1 << 27,   /* the window was reduced; not again until ecn_until is acknowledged */
	TCB_PACED = 1 << 28, /* there is more to send, when pacing allows */
	TCB_REORDERING_TOLD = 1 << 30, /* the destination knows of it; not seen again since */
};

/* What the retransmission deadline is for; they exclude each other. */
enum tcb_timer {
	TCB_TIMER_NONE,
	TCB_TIMER_RTO,
	TCB_TIMER_PROBE,      /* tail loss probe (RFC 8985, 7) */
	TCB_TIMER_REORDERING, /* RFC 8985, 6.2 step 5 */
	TCB_TIMER_PERSIST,
	TCB_TIMER_PACING, /* nothing is in flight, and the destination must not get more yet */
};

/* list.c */
enum {
	TCB_LIST_OUTPUT, /* in turn */
	TCB_LIST_MEMORY, /* waits for a frame, a flight or a scoreboard block */
	TCB_LIST_PORT,	 /* and following: waits for the port's queue */
	TCB_LISTS = TCB_LIST_PORT + NET_PORTS_MAX,
};
static_assert(TCB_LISTS <= 16, "four bits in the TCB");

#define TCB_CONGESTION_STATE 20u

struct tcb {
	/* What every segment touches. */
	struct ip_address remote;
	struct ip_address local;
	uint16_t remote_port;
	uint16_t local_port;
	uint32_t rcv_nxt;
	uint32_t rcv_adv; /* right edge of the window that the peer was shown; never moves back */
	uint32_t snd_una;
	uint32_t snd_nxt;
	uint32_t snd_wnd; /* bytes, scaled */
	uint32_t flags;	  /* enum tcb_flag */
	uint8_t state;	  /* enum tcp_state */
	uint8_t send_scale : 4;
	uint8_t receive_scale : 4;
	uint8_t backoff;	/* doublings of the RTO, or of the persist interval */
	uint8_t congestion : 4; /* index of the algorithm */
	uint8_t list : 4;	/* with TCB_LISTED: which */

	/* Round trip, timestamps, window and loss bookkeeping. */
	uint32_t cwnd; /* bytes */
	uint32_t ssthresh;
	uint32_t srtt_us;   /* 0: no sample yet */
	uint32_t rttvar_us; /* without a sample: the timeout until there is one; 0: the usual */
	uint32_t min_rtt_us;
	uint32_t ts_recent;	/* RFC 7323, 4.3 */
	uint32_t ts_recent_ms;	/* when it was taken */
	uint32_t ts_offset;	/* added to our clock, per connection */
	uint32_t last_ack_sent; /* RFC 7323: Last.ACK.sent */
	uint32_t snd_wl1;
	uint32_t snd_wl2;
	uint32_t sacked_bytes;
	uint32_t lost_bytes;  /* marked lost and not sent again since */
	uint32_t flight;      /* index of its flight; 0: nothing is in flight */
	uint16_t mss;	      /* payload of a full segment: options already taken off */
	uint8_t dupacks;      /* without SACK only */
	uint8_t reo_mult : 5; /* RACK.reo_wnd_mult: up to 16 */
	uint8_t rtx_kind : 3; /* enum tcb_timer */
	uint32_t max_wnd;     /* largest window the peer offered (RFC 5961, 5.2) */

	/* Queues. A chunk's mark is the sequence number of its first byte. */
	struct chunk *send_head;
	struct chunk *send_tail;
	struct chunk *recv_head; /* in order, not yet taken; ends at rcv_nxt */
	struct chunk *recv_tail;
	struct chunk *ooo_head; /* out of order, sorted, without overlap */
	uint32_t send_end;	/* sequence number behind the last queued byte */
	uint32_t recv_queued;	/* bytes */
	uint32_t ooo_recent;	/* sequence number of the last out-of-order arrival */
	uint32_t progress_us;	/* last time that the peer acknowledged something, or the queue was
				   empty */
	uint32_t user_timeout_us;
	uint32_t last_sent_us; /* of data, for the idle restart; of the SYN before */

	/* Timers, lists, the path. */
	struct wheel_node timer;
	uint32_t list_next; /* of its list, or the free list: index + 1 */
	uint32_t list_prev;
	uint32_t rtx_us;    /* deadline of rtx_kind */
	uint32_t delack_us; /* deadline of the delayed ACK */
	uint32_t close_us;  /* without a sign of the peer: FIN-WAIT-2's end, or keepalive's turn */
	uint16_t ooo_chunks;
	uint16_t peer_mss; /* as announced */
	uint32_t path_neighbour;
	uint32_t path_epoch; /* 0: not looked up yet; else of the neighbour's entry */
	_Alignas(4) uint8_t congestion_state[TCB_CONGESTION_STATE];
};
static_assert(sizeof(struct tcb) == 256, "four cache lines");
static_assert(offsetof(struct tcb, cwnd) == 64, "line 1");
static_assert(offsetof(struct tcb, send_head) == 128, "line 2");
static_assert(offsetof(struct tcb, timer) == 192, "line 3");

/* What is touched at birth, at death and in trouble. */
struct tcb_cold {
	void *user; /* of the listener before on_accept */
	const struct tcp_callbacks *callbacks;
	uint32_t generation;
	uint32_t retransmitted; /* segments */
	uint32_t sent; /* segments with data or FIN, each time counted; the flight's are added when
			  it ends */
	uint32_t challenge_ms; /* GCRA of answers that a stranger can provoke */
	union {
		uint16_t listener;  /* of a passive open, up to on_accept: index */
		uint16_t mtu_acked; /* then: largest packet that was acknowledged */
	};
	uint8_t close_reason : 3;
	uint8_t reo_persist : 5; /* recoveries until reo_mult falls back to 1 */
	uint8_t retries;	 /* of SYN or SYN-ACK; later keepalive probes not answered */
	uint8_t ecn_windows;	 /* in a row that ended with ECE */
	uint8_t pmtu_when;	 /* probe for a larger one from here, in 2^24 us */
	uint16_t pmtu;		 /* of the path, when smaller than the port's; 0: not known */
	uint16_t pmtu_top;	 /* known to be too large; 0: nothing known */
	uint16_t keepalive_when; /* when the first probe is due, in 2^20 us */
	uint32_t destination;	 /* index + 1; 0: none */
};
static_assert(sizeof(struct tcb_cold) == 48,
	      "with tcb and seven quarters of a table slot: 318 bytes");

/* --- flight.c: what exists only while something is in flight, or a duplicate is to be reported
 * --- */
struct tcb_flight {
	uint32_t board_head; /* scoreboard: block index + 1; of a free flight: the next */
	uint32_t board_tail;
	uint32_t board_leader;		 /* of the group that the tail belongs to; 0: it is gone */
	uint32_t board_count;		 /* records */
	const struct chunk *send_cursor; /* where the last new segment's data began, or NULL */
	const struct chunk *resend_from; /* where a retransmission's data is looked for; NULL: new
					    data goes out */
	uint32_t recover;		 /* snd_nxt when recovery began */
	uint32_t rack_sent_us;		 /* RACK.xmit_ts */
	uint32_t rack_end;		 /* RACK.end_seq */
	uint32_t rack_rtt_us;		 /* 0: nothing was delivered yet */
	uint32_t rack_fack;		 /* RACK.segs_fack: highest sequence number delivered */
	uint32_t reo_round;		 /* snd_nxt when reo_mult was last raised */
	uint32_t prr_delivered;
	uint32_t prr_out;
	uint32_t recover_fs; /* RecoverFS (RFC 9937, 6) */
	uint32_t prior_cwnd; /* to undo a reduction that was not due; 0: nothing to undo */
	uint32_t prior_ssthresh;
	uint32_t undo_pending; /* retransmitted segments not yet reported as duplicates */
	_Alignas(4) uint8_t prior_congestion[TCB_CONGESTION_STATE];
	uint32_t news_us;   /* when the last ACK was processed; 0: none yet */
	uint32_t usage_end; /* the window's use is judged anew when this is acknowledged */
	uint32_t usage_max; /* most bytes in flight since */
	uint32_t pace_us;   /* nothing more is sent before */
	bool paced;	    /* pace_us is set */
	bool undone;	    /* a reduction was taken back, in the window up to `recover` */
	uint16_t unused[3];
	uint32_t probe_end; /* TLP.end_seq */
	uint32_t dsack_start;
	uint32_t dsack_end;
	uint32_t ecn_until;	/* snd_nxt when CE was last answered */
	uint32_t ptb_seq;	/* of the segment that ptb_mtu is about */
	uint32_t mtu_probe_seq; /* where the probe begins */
	uint16_t ptb_mtu;	/* to be believed if that segment times out; 0: none */
	uint16_t mtu_probe;	/* packet size that is being tried; 0: none */
	uint16_t mtu_sent;	/* largest packet sent in this flight */
	uint16_t mtu_acked;	/* and acknowledged */
	uint32_t sent;		/* segments with data or FIN */
};
static_assert(sizeof(struct tcb_flight) <= 192, "three cache lines");

struct flight_pool {
	struct tcb_flight *flights; /* [0] is all zero: whoever has none reads that one */
	uint32_t capacity;
	uint32_t used;
	uint32_t fresh; /* flights never used begin here */
	uint32_t free;	/* index; 0: none */
};

/* --- scoreboard.c: one record for each segment in flight, in order --- */
enum record_flag {
	RECORD_SACKED = 1 << 0,
	RECORD_LOST = 1 << 1,	       /* to be sent again */
	RECORD_RETRANSMITTED = 1 << 2, /* at least once */
	RECORD_FIN = 1 << 3,	       /* its last sequence number is the FIN */
	RECORD_NOTED = 1 << 4,	       /* there is a rate_note of it */
	RECORD_APP_LIMITED = 1 << 5,   /* of that: the application had no more */
};

struct tcp_record {
	uint32_t seq;
	uint32_t sent_us; /* of the last transmission */
	uint16_t length;  /* in sequence numbers */
	uint8_t flags;
	uint8_t sends;
};

#define BOARD_RECORDS 18u
#define BOARD_GROUP   14u   /* blocks that are summed up in their leader */
#define BOARD_MAX     4096u /* records a connection */
static_assert(BOARD_GROUP * BOARD_RECORDS <= UINT8_MAX, "a group is counted in eight bits");

/* Records that are neither SACKed nor lost are pending. */
struct board_block {
	uint32_t next;		  /* index + 1; also chains free blocks */
	uint32_t leader;	  /* of its group, which may be itself; 0: that one is gone */
	uint32_t skip;		  /* a leader's: the next one, once its own group is complete */
	uint32_t rates;		  /* notes for rate.c: block index + 1; 0: none */
	const struct chunk *data; /* where records[0] begins, as long as this is not the head */
	uint32_t oldest_us;	  /* no pending record was sent before */
	uint32_t group_oldest_us; /* a leader's: the same of its group */
	uint8_t first;
	uint8_t end;
	uint8_t sacked; /* records */
	uint8_t lost;
	uint8_t group_blocks; /* a leader's, as are the next */
	uint8_t group_sacked;
	uint8_t group_lost;
	uint8_t unused;
	struct tcp_record records[BOARD_RECORDS];
};
static_assert(sizeof(struct board_block) == 256, "four cache lines");

/* --- rate.c: what is noted of a segment when it is sent --- */
struct rate_note {
	uint32_t delivered;	/* P.delivered */
	uint32_t delivered_us;	/* P.delivered_time */
	uint32_t first_sent_us; /* P.first_sent_time */
	uint32_t in_flight;	/* P.tx_in_flight */
	uint32_t lost;		/* P.lost */
};

struct rate_block {
	struct rate_note notes[BOARD_RECORDS];
	uint32_t next; /* free blocks: index + 1 */
	uint32_t unused[5];
};
static_assert(sizeof(struct rate_block) == 384, "six cache lines");

struct rate_pool {
	struct rate_block *blocks;
	uint32_t capacity;
	uint32_t fresh; /* blocks never used begin here */
	uint32_t free;	/* index + 1 */
};

struct board_pool {
	struct rate_pool rates;
	struct board_block *blocks;
	uint32_t capacity;
	uint32_t used;
	uint32_t fresh; /* blocks never used begin here */
	uint32_t free;	/* index + 1 */
};

/* --- table.c: tuple -> TCB index --- */
#define TABLE_LINE 8u

struct table_line {
	struct {
		uint32_t tag;	/* low 32 bits of the hash; they name the home line */
		uint32_t index; /* TCB index + 1; 0: empty */
	} slots[TABLE_LINE];
};
static_assert(sizeof(struct table_line) == 64, "one cache line");

struct tcp_table {
	struct table_line *lines;
	uint32_t count; /* of lines */
	uint32_t used;
};

/* --- time_wait.c --- */
struct time_wait_record {
	uint64_t hash; /* of the tuple, keyed: it stands for it; 0: dead */
	uint32_t snd_nxt;
	uint32_t rcv_nxt;
	uint32_t ts_recent; /* 0 with ts_offset 0: without timestamps */
	uint32_t ts_offset;
	uint32_t expires_ms;
	uint32_t next; /* in its bucket: position + 1 */
};
static_assert(sizeof(struct time_wait_record) == 32, "two to a cache line");

struct time_wait_table {
	struct time_wait_record *records; /* a ring: all wait equally long */
	uint32_t *buckets;
	uint32_t capacity; /* a power of two */
	uint32_t bucket_mask;
	uint32_t head; /* oldest */
	uint32_t tail;
	uint32_t live;
};

/* --- cookie.c --- */
struct cookie_secrets {
	struct hash_key secrets[2]; /* of this period and of the one before */
	uint64_t period;
	uint64_t sent_us; /* the last cookie */
	bool made;
	bool used; /* sent_us is valid */
};

struct tcp_listener {
	bool used;
	struct ip_address address; /* unspecified: all */
	uint16_t port;
	const struct tcp_listen_callbacks *callbacks;
	void *user;
};

struct tcb_list {
	uint32_t head; /* index + 1 */
	uint32_t tail;
	uint32_t count;
};

#define LISTENERS_MAX 256u
#define PORT_COUNTERS 256u
#define RST_LIMITS    64u

struct bbr;
struct destination_cache;

struct bbr_pool {
	struct bbr *states;
	uint32_t capacity;
	uint32_t fresh; /* states never used begin here */
	uint32_t free;	/* index + 1 */
};

struct tcp_layer {
	struct bbr_pool bbr;
	struct destination_cache *destinations;
	struct tcb *tcbs;
	struct tcb_cold *cold;
	uint32_t capacity;
	uint32_t fresh; /* TCBs never used begin here */
	uint32_t free;	/* index + 1 */
	uint32_t used;
	uint32_t half_open;
	uint32_t half_open_max;
	struct tcp_table table;
	struct board_pool board;
	struct flight_pool flights;
	struct time_wait_table time_wait;
	struct wheel *wheel;
	struct chunk_pool *chunks;
	uint32_t receive_chunks; /* held for received data */
	uint32_t receive_chunks_max;
	uint16_t ooo_chunks_max; /* a connection */
	uint32_t ooo_chunks;	 /* of the receive chunks, out of order; at most half of the most */
	struct tcb_list lists[TCB_LISTS];
	uint32_t receive_window; /* bytes */
	uint8_t receive_scale;
	struct hash_key table_key;
	struct hash_key isn_key;
	struct hash_key port_key;
	struct hash_key ts_key;
	struct cookie_secrets cookies;
	struct rate_limit rst_limits[RST_LIMITS]; /* by remote network: one cannot starve all */
	uint32_t port_counter[PORT_COUNTERS];	  /* RFC 6056, 3.3.4 */
	unsigned listener_count;
	struct tcp_listener listeners[LISTENERS_MAX];
};

/* --- sequence numbers (RFC 9293, 3.4) and times --- */
static inline bool seq_lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline bool seq_le(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) <= 0;
}

static inline uint32_t now32(const struct net_stack *stack)
{
	return (uint32_t)stack->now_us;
}

/* The clock of timestamps and coarse limits. */
static inline uint32_t now_ms(const struct net_stack *stack)
{
	return (uint32_t)(stack->now_us / 1000);
}

static inline uint32_t tcb_index(const struct tcp_layer *layer, const struct tcb *tcb)
{
	return (uint32_t)(tcb - layer->tcbs);
}

static inline struct tcb_cold *tcb_cold(const struct tcp_layer *layer, const struct tcb *tcb)
{
	return &layer->cold[tcb - layer->tcbs];
}

static inline void tcb_prefetch(const struct tcb *tcb)
{
	for (unsigned i = 0; i < sizeof(*tcb); i += 64)
		__builtin_prefetch((const uint8_t *)tcb + i);
}

/* To be written only by who holds one. */
static inline struct tcb_flight *tcb_flight(const struct tcp_layer *layer, const struct tcb *tcb)
{
	return &layer->flights.flights[tcb->flight];
}

/* Bytes that are thought to be in the network (RFC 6675, pipe; RFC 6582 counts duplicate ACKs
 * instead). */
static inline uint32_t tcb_pipe(const struct tcb *tcb)
{
	uint32_t out = tcb->snd_nxt - tcb->snd_una - tcb->sacked_bytes - tcb->lost_bytes;
	uint32_t left = (uint32_t)tcb->dupacks * tcb->mss;

	return left < out ? out - left : 0;
}

#endif
