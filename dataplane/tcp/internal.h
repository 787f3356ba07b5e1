/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of dataplane/tcp offer one another. */
#ifndef MILLRACE_DATAPLANE_TCP_INTERNAL_H
#define MILLRACE_DATAPLANE_TCP_INTERNAL_H

#include "dataplane/tcp/congestion.h"
#include "dataplane/tcp/rate.h"
#include "dataplane/tcp/segment.h"
#include "dataplane/tcp/tcb.h"

#define TCP_MSS_DEFAULT_V4 536u /* RFC 9293, MUST-15 */
#define TCP_MSS_DEFAULT_V6 1220u
#define TCP_MSS_FLOOR \
	216u /* no smaller segments, whatever a peer or a router says (CVE-2019-11479) */
#define TCP_RECEIVE_WINDOW    65536u
#define TCP_SEND_QUEUE_MIN    (32u * 1024u)
#define TCP_SEND_QUEUE_MAX    (4096u * 1024u)
#define TCP_SEND_QUEUE_SHARE  8u  /* a connection may fill this part of the chunks that are free */
#define TCP_OOO_CHUNKS_MIN    32u /* a connection; more for large windows */
#define TCP_OOO_CHUNKS_MAX    2048u
#define TCP_RTO_INITIAL_US    1000000u /* RFC 6298, 2.1 */
#define TCP_RTO_AFTER_SYN_US  3000000u /* RFC 6298, 5.7 */
#define TCP_RTO_MIN_US	      200000u
#define TCP_RTO_MAX_US	      60000000u
#define TCP_SYN_WINDOW_MAX    65535u /* never scaled */
#define TCP_DELACK_US	      40000u
#define TCP_PROBE_MIN_US      10000u
#define TCP_PROBE_DELACK_US   200000u	  /* RFC 8985, 7.2: WCDelAckT */
#define TCP_USER_TIMEOUT_US   300000000u  /* 5 minutes */
#define TCP_TIMEOUT_MAX_US    1800000000u /* times are compared in 32 bits of microseconds */
#define TCP_SYN_RETRIES	      5u
#define TCP_FIN_WAIT_2_US     300000000u /* without a segment from the peer */
#define TCP_FIN_WAIT_2_MAX_US 600000000u /* in all: a dribble must not hold it for ever */
#define TCP_KEEPALIVE_US      75000000u	 /* between probes */
#define TCP_KEEPALIVE_PROBES  9u
#define TCP_TIME_WAIT_MS      60000u
#define TCP_DUPACKS	      3u
#define TCP_PAWS_IDLE_MS      (24u * 24 * 3600 * 1000) /* RFC 7323, 5.5 */
#define TCP_CHALLENGE_MS      100u /* in the long run, an ACK that a stranger can provoke */
#define TCP_CHALLENGE_BURST   10u
#define TCP_REPEAT_MS	      10u /* likewise, an ACK of data that came before */
#define TCP_REPEAT_BURST      100u
/* As far as either limit ever looks ahead. */
#define TCP_ANSWERS_AHEAD_MS \
	(TCP_CHALLENGE_MS * (TCP_CHALLENGE_BURST + 2) + TCP_REPEAT_MS * (TCP_REPEAT_BURST + 2))

/* --- connection.c --- */
/* A new TCB in state CLOSED, in the table. @return NULL when there is none left */
struct tcb *tcb_create(struct net_stack *stack, const struct ip_address *local, uint16_t local_port,
		       const struct ip_address *remote, uint16_t remote_port);
/* The end: out of the table, on_closed when the application knows it, freed. */
void tcb_finish(struct net_stack *stack, struct tcb *tcb, enum tcp_close_reason reason);
tcp_handle tcb_handle(const struct tcp_layer *layer, const struct tcb *tcb);
/* @return NULL when the handle is stale */
struct tcb *tcb_of(const struct net_stack *stack, tcp_handle handle);
/* True when the TCB is still the connection that had this handle: to be asked after each callback.
 */
bool tcb_alive(const struct tcp_layer *layer, const struct tcb *tcb, tcp_handle handle);
/* Make the wheel fire at the earliest deadline or before. */
void tcb_arm(struct net_stack *stack, struct tcb *tcb);
void tcb_set_state(struct net_stack *stack, struct tcb *tcb, enum tcp_state state);
/* Bytes of the receive window that may be offered now. */
uint32_t tcb_receive_room(const struct tcp_layer *layer, const struct tcb *tcb);

/* --- list.c --- */
/* Its turn comes with the next output. */
void tcb_schedule(struct net_stack *stack, struct tcb *tcb);
/* It waits for what it lacks. */
void tcb_wait(struct net_stack *stack, struct tcb *tcb, unsigned list);
void tcb_unlist(struct tcp_layer *layer, struct tcb *tcb);
/* @return the first, off the list; NULL: empty */
struct tcb *tcb_list_pop(struct tcp_layer *layer, unsigned list);
/* At the beginning of a turn: who waited and may go on. */
void tcb_wake(struct net_stack *stack);
/* When to look whether those who wait for memory may go on; MR_NEVER: nobody waits. */
uint64_t tcb_wake_due(const struct net_stack *stack);

/* The window that a SYN offers. */
static inline uint32_t tcp_syn_window(const struct tcp_layer *layer)
{
	return layer->receive_window < TCP_SYN_WINDOW_MAX ? layer->receive_window
							  : TCP_SYN_WINDOW_MAX;
}

/* --- initial.c: numbers that must not be guessed --- */
uint32_t tcp_initial_sequence(struct net_stack *stack, const struct tcb *tcb);
uint32_t tcp_timestamp_offset(const struct tcp_layer *layer, const struct tcb *tcb);
/* @return a local port of this worker that is free towards remote, 0: none */
uint16_t tcp_choose_port(struct net_stack *stack, const struct ip_address *local,
			 const struct ip_address *remote, uint16_t remote_port);

/* --- handshake.c --- */
struct tcp_listener *tcp_find_listener(struct tcp_layer *layer, const struct ip_address *address,
				       uint16_t port);
void tcp_listen_input(struct net_stack *stack, const struct net_packet *packet,
		      const struct tcp_segment *segment, const struct tcp_listener *listener);
void tcp_syn_sent_input(struct net_stack *stack, struct tcb *tcb, struct tcp_segment *segment);
/*
 * SYN-RECEIVED after a SYN of ours: the SYN that came may be a stranger's, who has guessed the
 * ports. Only who acknowledges ours has seen it: its SYN-ACK or RST counts as in SYN-SENT, and a
 * RST that acknowledges nothing takes back no more than that SYN said.
 * @return true: it is dealt with, the connection may be gone
 */
bool tcp_simultaneous_input(struct net_stack *stack, struct tcb *tcb, struct tcp_segment *segment);
/* SYN-RECEIVED and an acceptable ACK. @return false: the connection is gone */
bool tcp_establish(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *segment);
/* Segment size from the peer's announcement and the path's MTU. */
void tcp_set_mss(struct net_stack *stack, struct tcb *tcb, uint16_t mtu);
/* The MSS that we announce. */
uint16_t tcp_own_mss(const struct net_stack *stack, const struct tcb *tcb);

/* The acknowledgement of a cookie. @return its new TCB in SYN-RECEIVED, NULL: it is none */
struct tcb *tcp_cookie_open(struct net_stack *stack, const struct net_packet *packet,
			    const struct tcp_segment *segment, const struct tcp_listener *listener);

/* --- cookie.c --- */
/* Answer a SYN without keeping anything. @param tcb what it would be, not of the slab */
void tcp_cookie_answer(struct net_stack *stack, const struct net_packet *packet,
		       const struct tcp_segment *segment, struct tcb *tcb);
/* Does it acknowledge a cookie? @param[out] syn the SYN as far as the cookie tells */
bool tcp_cookie_check(struct net_stack *stack, const struct net_packet *packet,
		      const struct tcp_segment *segment, struct tcp_segment *syn);

/* --- ecn.c --- */
/* ECE and CWR of our SYN or SYN-ACK. */
uint8_t ecn_syn_flags(const struct tcb *tcb);
/* What the peer's SYN or SYN-ACK says to it. */
void ecn_negotiate(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *segment);
/* Our SYN was not answered: the next one goes without. */
void ecn_fall_back(struct net_stack *stack, struct tcb *tcb);
/* Data has arrived in a packet with this codepoint. */
void ecn_data_input(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *segment,
		    uint8_t codepoint);
/* An ACK that is believed, before it moves snd_una. */
void ecn_ack_input(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *segment);
/* New data is about to be sent. @return CWR when it is due @param[out] codepoint of its packet */
uint8_t ecn_data_flags(struct tcb *tcb, uint8_t *codepoint);

/* --- input.c --- */
/* Both FINs are done with: keep the TCB while there is unread data, else leave a record behind and
 * finish. */
void tcp_enter_time_wait(struct net_stack *stack, struct tcb *tcb);
/* May an answer go that a stranger may have provoked? One of these each TCP_CHALLENGE_MS. */
bool tcp_may_provoke(struct net_stack *stack, struct tcb *tcb);
/* An ACK that a stranger may have provoked: limited per connection (RFC 5961, 7). */
void tcp_challenge(struct net_stack *stack, struct tcb *tcb);

/* --- ack.c --- */
/* @return false: the segment is to be dropped, or the connection is gone */
bool tcp_ack_input(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *segment);

/* --- receive.c --- */
/* Data and FIN of a segment whose acknowledgement is done. */
void tcp_data_input(struct net_stack *stack, struct tcb *tcb, struct tcp_segment *segment);
/* Offer the queue again. @return false: the connection is gone */
bool tcp_offer(struct net_stack *stack, struct tcb *tcb);
/* on_end when it is due. @return false: the connection is gone */
bool tcp_tell_end(struct net_stack *stack, struct tcb *tcb);
/* [start, end) arrived twice (RFC 2883): say so with the next ACK, when there is room to note it.
 */
void tcp_report_duplicate(struct net_stack *stack, struct tcb *tcb, uint32_t start, uint32_t end);
void tcp_receive_free(struct net_stack *stack, struct tcb *tcb);
/* SACK blocks to send, the latest first. @return their number */
unsigned tcp_sack_blocks(const struct tcp_layer *layer, const struct tcb *tcb, uint32_t blocks[][2],
			 unsigned max);

/* --- sendqueue.c --- */
int send_queue_append(struct tcp_layer *layer, struct tcb *tcb, const uint8_t *data, size_t size);
/* Release what lies before snd_una. */
void send_queue_release(struct tcp_layer *layer, struct tcb *tcb);
/* The chunk with `seq`, which was not sent before; NULL: not queued (it is the FIN). */
const struct chunk *send_queue_seek(const struct tcp_layer *layer, const struct tcb *tcb,
				    uint32_t seq);
/* Copy [seq, seq + size). @param sum whether its checksum is wanted @return the sum, or 0 */
uint64_t send_queue_copy(struct net_stack *stack, const struct tcb *tcb, uint32_t seq, uint8_t *to,
			 uint32_t size, bool sum);
void send_queue_free(struct tcp_layer *layer, struct tcb *tcb);

/* --- flight.c --- */
int flight_pool_init(struct flight_pool *pool, uint32_t flights);
void flight_pool_free(struct flight_pool *pool);
/* The connection's flight, a new one when it has none. @return NULL: none left (counted) */
struct tcb_flight *flight_take(struct net_stack *stack, struct tcb *tcb);
/* Nothing is in flight: give the flight back, unless an answer is still awaited that could take
 * back a reduction; then for an RTO at most. */
void flight_rest(struct net_stack *stack, struct tcb *tcb);
/* The RTO is over, or the connection: nothing is awaited any more. */
void flight_give(struct tcp_layer *layer, struct tcb *tcb);

/* --- scoreboard.c --- */
struct board_cursor {
	struct board_block *block;
	unsigned at;
};
int board_pool_init(struct board_pool *pool, uint32_t blocks);
void board_pool_free(struct board_pool *pool);
/* It has as many records as one may have: ACKs make room. */
bool board_full(const struct tcp_layer *layer, const struct tcb *tcb);
bool board_has_room(const struct tcp_layer *layer, const struct tcb *tcb);
/* A record of what is sent now, from snd_nxt. There is room, and the connection holds a flight. */
struct tcp_record *board_append(struct net_stack *stack, struct tcb *tcb);
/* Remove the first record. */
void board_pop(struct tcp_layer *layer, struct tcb *tcb);
void board_clear(struct tcp_layer *layer, struct tcb *tcb);
/* @return the first record, NULL: none */
struct tcp_record *board_first(const struct tcp_layer *layer, const struct tcb *tcb,
			       struct board_cursor *cursor);
struct tcp_record *board_next(const struct tcp_layer *layer, struct board_cursor *cursor);
struct tcp_record *board_last(const struct tcp_layer *layer, const struct tcb *tcb);
/* Nothing to a record that is SACKed or lost already. */
void board_mark_lost(const struct tcp_layer *layer, struct tcb *tcb, struct tcp_record *record);
/* Not SACKed before. */
void board_mark_sacked(const struct tcp_layer *layer, struct tcb *tcb, struct tcp_record *record);
/* SACKed or lost no more; its sent_us holds. */
void board_mark_pending(const struct tcp_layer *layer, struct tcb *tcb, struct tcp_record *record);
/* Where the send queue holds a record's bytes, or shortly before. */
const struct chunk *board_data(const struct tcp_layer *layer, const struct tcb *tcb,
			       const struct tcp_record *record);
/*
 * Searches: a limited number of steps however much is in flight, each counted (tcp_board_steps).
 * They pass over whole groups of blocks by their sums.
 * @return a record, NULL: none; the cursor is at it
 */
/* The first that begins at seq or behind, from this block on (NULL: none). */
struct tcp_record *board_find(struct net_stack *stack, struct board_block *block, uint32_t seq,
			      struct board_cursor *cursor);
/* The one at the cursor, or the next that is not SACKed. */
struct tcp_record *board_unsacked(struct net_stack *stack, struct board_cursor *cursor);
/* The first that is lost; the next after the cursor. */
struct tcp_record *board_first_lost(struct net_stack *stack, const struct tcb *tcb,
				    struct board_cursor *cursor);
struct tcp_record *board_next_lost(struct net_stack *stack, struct board_cursor *cursor);

/* Sums over a block or a group. */
struct board_sum {
	struct board_block *block; /* or the leader */
	bool group;
	uint32_t seq; /* where it begins */
	uint32_t oldest_us;
	unsigned pending;
	unsigned sacked;
	unsigned lost;
};
struct board_sum board_sum_of(struct board_block *block);
typedef bool board_test(const struct board_sum *sum, void *context);
/* The first block from `block` on (NULL: none) that passes; a group that does not is left out. */
struct board_block *board_seek(struct net_stack *stack, struct board_block *block,
			       board_test *wanted, void *context);
struct board_block *board_head(const struct tcp_layer *layer, const struct tcb *tcb);
struct board_block *board_behind(const struct tcp_layer *layer, const struct board_block *block);
/* Its records were looked at: none of those pending was sent before. */
void board_set_oldest(struct net_stack *stack, struct board_block *block, uint32_t oldest_us);

static inline struct board_block *board_block_of(const struct board_pool *pool,
						 const struct tcp_record *record)
{
	size_t offset = (size_t)((const char *)record - (const char *)pool->blocks);

	return &pool->blocks[offset / sizeof(struct board_block)];
}

/* The timestamp of a record's last transmission (RFC 7323). */
static inline uint32_t record_timestamp(const struct net_stack *stack, const struct tcb *tcb,
					const struct tcp_record *record)
{
	uint32_t age_us = now32(stack) - record->sent_us;

	return (uint32_t)((stack->now_us - age_us) / 1000) + tcb->ts_offset;
}

/*
 * An ACK with this echo came: was it the original of a retransmitted record that arrived? Only the
 * first record beyond snd_una can tell: what an ACK covers or reports besides echoes what came
 * before it (RFC 7323, 4.3).
 */
static inline bool original_arrived(const struct net_stack *stack, const struct tcb *tcb,
				    const struct tcp_record *record, uint32_t ts_ecr)
{
	return (record->flags & RECORD_RETRANSMITTED) != 0 && record->seq == tcb->snd_una &&
	       seq_lt(ts_ecr, record_timestamp(stack, tcb, record));
}

/* --- recovery.c (RFC 8985, 9937, 6298) --- */
/* What one ACK told. */
struct ack_news {
	uint32_t acked;	    /* bytes by which snd_una moved */
	uint32_t delivered; /* bytes newly acknowledged or SACKed */
	uint32_t sacked;    /* of these, SACKed */
	uint32_t rtt_us;    /* of a segment sent once; 0: no sample */
	bool dsack;
	bool dupack;   /* RFC 5681, 2 */
	bool spurious; /* the original of a retransmitted segment arrived (RFC 4015) */
	uint32_t dsack_start;
	uint32_t dsack_end;
	struct rate_sample rate;
};
/* A record was delivered: the RACK state follows (6.2, steps 1 to 3). */
void rack_deliver(struct net_stack *stack, struct tcb *tcb, const struct tcp_record *record,
		  uint32_t ts_ecr, bool has_ecr);
void rack_on_dsack(const struct tcp_layer *layer, struct tcb *tcb);
/* Mark what is lost by now (6.2, step 5). @return when the next segment will be, us from now; 0:
 * none */
uint32_t rack_detect(struct net_stack *stack, struct tcb *tcb);
/* After ACK processing: loss detection, recovery and the congestion window. */
void recovery_on_ack(struct net_stack *stack, struct tcb *tcb, const struct ack_news *news);
void recovery_on_timeout(struct net_stack *stack, struct tcb *tcb);
/* Bytes were (re)transmitted. */
void recovery_on_send(struct net_stack *stack, struct tcb *tcb, uint32_t size);
/* The tail loss probe's answer (7.4.2). */
void probe_on_ack(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *segment,
		  const struct ack_news *news);

/* --- rtt.c --- */
void rtt_sample(struct tcb *tcb, uint32_t rtt_us);
/* With back-off. */
uint32_t rtt_timeout_us(const struct tcb *tcb);

/* --- bbr.c --- */
int bbr_pool_init(struct bbr_pool *pool, uint32_t states);
void bbr_pool_free(struct bbr_pool *pool);

/* --- pacing.c --- */
/* True when pacing forbids to send now; the deadline is noted. */
bool pacing_blocks(struct net_stack *stack, struct tcb *tcb);
/* Segments that may be sent now, at most `most`; 0: the deadline is noted. There is something to
 * send. */
unsigned pacing_budget(struct net_stack *stack, struct tcb *tcb, unsigned most);
/* Of the budget this much was sent. */
void pacing_sent(struct net_stack *stack, struct tcb *tcb, uint32_t bytes);
/* A timer has fired: times of 32 bits must not be kept until they come round again. */
void pacing_forget(const struct net_stack *stack, struct tcb *tcb);
/* When output is to be tried again; 0: pacing is not what it waits for. */
uint32_t pacing_deadline(const struct tcp_layer *layer, const struct tcb *tcb);

/* --- timers.c --- */
/* Set the retransmission deadline anew: RTO, probe, persist or none, as the state asks. */
void tcp_set_retransmission(struct net_stack *stack, struct tcb *tcb);
/* The deadline follows a user timeout that has become shorter. */
void tcp_user_timeout_changed(struct net_stack *stack, struct tcb *tcb);
/* The peer gave a sign of life: keepalive and FIN-WAIT-2 begin anew. */
void tcp_heard(struct net_stack *stack, struct tcb *tcb);
void tcp_timer(void *stack, uint32_t index);

/* --- output.c --- */
/* The way to the peer. @return as net_path_find */
int tcp_path(struct net_stack *stack, struct tcb *tcb, struct net_path *path);
/*
 * Build and send one segment.
 * @param length of data, from the send queue at seq
 * @return false: no frame
 */
bool tcp_emit(struct net_stack *stack, struct tcb *tcb, const struct net_path *path, uint32_t seq,
	      uint32_t length, uint8_t flags);
/* An empty segment with ACK at once. */
void tcp_emit_ack(struct net_stack *stack, struct tcb *tcb, uint32_t seq, uint8_t flags);
/* The limit of answers to segments that belong to nothing, by remote network. */
bool tcp_may_answer(struct net_stack *stack, const struct ip_address *remote);
/* RST for a segment that belongs to nothing (RFC 9293, 3.10.7.1), rate limited. */
void tcp_reply_reset(struct net_stack *stack, const struct net_packet *packet,
		     const struct tcp_segment *segment);
/* SYN-ACK with the number tcb->snd_una and the options of a TCB that is not of the slab. */
void tcp_reply_syn_ack(struct net_stack *stack, const struct net_packet *packet,
		       const struct tcp_segment *segment, const struct tcb *tcb, uint32_t ts_val);
/* A bare ACK on behalf of no TCB (TIME-WAIT). */
void tcp_reply_ack(struct net_stack *stack, const struct net_packet *packet,
		   const struct tcp_segment *segment, uint32_t seq, uint32_t ack, bool timestamp,
		   uint32_t ts_val, uint32_t ts_ecr);

/* --- transmit.c --- */
/* Retransmit the first record now, whatever the window says (timeout). */
void tcp_retransmit_first(struct net_stack *stack, struct tcb *tcb);
/* Send a tail loss probe. @return false: nothing could be sent */
bool tcp_send_probe(struct net_stack *stack, struct tcb *tcb);

/* --- time_wait.c --- */
int time_wait_init(struct time_wait_table *table, uint32_t records);
void time_wait_free(struct time_wait_table *table);
void time_wait_add(struct net_stack *stack, const struct tcb *tcb);
bool time_wait_has(const struct tcp_layer *layer, uint64_t hash);
/* A segment whose tuple may be in TIME-WAIT. @return true: it was, and it is dealt with */
bool time_wait_input(struct net_stack *stack, const struct net_packet *packet,
		     const struct tcp_segment *segment, uint64_t hash);
unsigned time_wait_expire(struct net_stack *stack, unsigned budget);
uint64_t time_wait_next(const struct net_stack *stack);

/* --- pmtu.c --- */
struct tcp_icmp_error;
/* The MTU in force towards the peer: the port's, or what is known of the path. */
uint16_t tcp_path_mtu(const struct net_stack *stack, const struct tcb *tcb);
/* The handshake is done: what is known of the destination holds. */
void pmtu_begin(struct net_stack *stack, struct tcb *tcb);
/* A router says that one of our packets was too big. @return false: not believed */
bool pmtu_too_big(struct net_stack *stack, struct tcb *tcb, const struct tcp_icmp_error *error);
/* A segment with so much data is sent. */
void pmtu_on_send(struct net_stack *stack, struct tcb *tcb, uint32_t length);
/* A record was delivered. */
void pmtu_on_delivery(struct net_stack *stack, struct tcb *tcb, const struct tcp_record *record);
/* Before a timeout is answered: is it the size? */
void pmtu_on_timeout(struct net_stack *stack, struct tcb *tcb);
/* After loss detection. @return true: a probe for a larger MTU was lost, and nothing else, which
 * is no congestion (RFC 4821, 7.6.2) */
bool pmtu_probe_lost(struct net_stack *stack, struct tcb *tcb);
/* @return data of the next segment if it is to be a probe, 0: it is not */
uint32_t pmtu_probe_length(struct net_stack *stack, struct tcb *tcb);
/* It goes out now, from snd_nxt. */
void pmtu_probe_begin(struct net_stack *stack, struct tcb *tcb, uint32_t length);
/* Is what begins here the probe that is out? */
bool pmtu_is_probe(const struct net_stack *stack, const struct tcb *tcb, uint32_t seq);
/* The port may have another MTU. */
void pmtu_port_changed(struct net_stack *stack, struct tcb *tcb);

#endif
