/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What to send and when: the output list of a turn, retransmissions before new data, the windows of
 * the peer and of the network, silly windows, FIN, ACKs (RFC 9293, 3.8; RFC 5681). The Nagle
 * algorithm is off: sessions write whole replies.
 */
#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/layer.h"

#include <errno.h>

/* Segments in a frame that the port cuts, and what headers take of it. */
#define RUN_SEGMENTS 8u
#define RUN_HEADERS  160u
#define BURST	     32u /* segments a connection sends before others have their turn */
#define ASK_TIMES    16u /* on_send_room in one go */

enum outcome {
	DONE,
	AGAIN, /* a burst was sent, there may be more */
	FULL,  /* the port's queue is full */
	SHORT, /* of frames, flights or scoreboard blocks */
	GONE,
};

static bool may_send_data(const struct tcb *tcb)
{
	return tcb->state == TCPS_ESTABLISHED || tcb->state == TCPS_CLOSE_WAIT ||
	       tcb->state == TCPS_FIN_WAIT_1 || tcb->state == TCPS_CLOSING ||
	       tcb->state == TCPS_LAST_ACK;
}

static void note_sent(struct net_stack *stack, struct tcb *tcb, struct tcp_record *record)
{
	record->sent_us = now32(stack);
	if (record->sends < UINT8_MAX)
		record->sends++;
	tcb->last_sent_us = record->sent_us;
	recovery_on_send(stack, tcb, record->length);
}

/* @param mark flags to add: CWR */
static bool send_record(struct net_stack *stack, struct tcb *tcb, const struct net_path *path,
			struct tcp_record *record, uint8_t mark)
{
	uint32_t length = record->length - ((record->flags & RECORD_FIN) != 0);
	uint32_t seq = record->seq;
	uint32_t end = seq + length;
	/* A probe for a larger MTU goes out as it is, once. */
	bool whole = record->sends == 0 && (record->flags & RECORD_LOST) == 0;

	do { /* once, unless the segment size has shrunk since */
		uint32_t part = whole || end - seq < tcb->mss ? end - seq : tcb->mss;
		uint8_t flags = TCP_ACK | mark;

		if (seq + part == tcb->send_end)
			flags |= TCP_PSH;
		if (seq + part == end && (record->flags & RECORD_FIN) != 0)
			flags |= TCP_FIN;
		if (!tcp_emit(stack, tcb, path, seq, part, flags))
			return false;
		tcb_flight(stack->tcp, tcb)->sent++;
		pmtu_on_send(stack, tcb, part);
		seq += part;
	} while (seq_lt(seq, end));
	rate_on_send(stack, tcb, record);
	note_sent(stack, tcb, record);
	return true;
}

static bool resend(struct net_stack *stack, struct tcb *tcb, const struct net_path *path,
		   struct tcp_record *record)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	bool sent;

	flight->resend_from = board_data(stack->tcp, tcb, record);
	sent = send_record(stack, tcb, path, record, 0);
	flight->resend_from = NULL;
	if (!sent)
		return false;
	board_mark_pending(stack->tcp, tcb, record);
	record->flags |= RECORD_RETRANSMITTED;
	stack->counters.tcp_retransmitted++;
	tcb_cold(stack->tcp, tcb)->retransmitted++;
	flight->undo_pending++;
	return true;
}

/* Send what is marked lost, as far as the window goes. */
static enum outcome send_lost(struct net_stack *stack, struct tcb *tcb, const struct net_path *path,
			      unsigned *burst)
{
	struct board_cursor cursor;
	struct tcp_record *r;

	if (tcb->lost_bytes == 0)
		return DONE;
	for (r = board_first_lost(stack, tcb, &cursor); r != NULL;
	     r = board_next_lost(stack, &cursor)) {
		if (tcb_pipe(tcb) + r->length > tcb->cwnd && tcb_pipe(tcb) > 0)
			return DONE;
		if (net_port_room(stack, path->port) < 2)
			return FULL;
		if (*burst == 0)
			return AGAIN;
		(*burst)--;
		if (!resend(stack, tcb, path, r))
			return SHORT;
	}
	return DONE;
}

static uint32_t unsent(const struct tcb *tcb)
{
	return (tcb->flags & TCB_FIN_SENT) != 0 ? 0 : tcb->send_end - tcb->snd_nxt;
}

static bool fin_due(const struct tcb *tcb)
{
	return (tcb->flags & (TCB_FIN_QUEUED | TCB_FIN_SENT)) == TCB_FIN_QUEUED;
}

/* How much the next segment may carry; 0: wait. @param[out] fin it is the last */
static uint32_t next_length(struct tcb *tcb, bool *fin)
{
	uint32_t queued = unsent(tcb);
	uint32_t used = tcb->snd_nxt - tcb->snd_una;
	uint32_t window = tcb->snd_wnd > used ? tcb->snd_wnd - used : 0;
	uint32_t length = queued < tcb->mss ? queued : tcb->mss;

	*fin = false;
	if (length > window) {
		/* Sender's silly window avoidance (MUST-38): a part only when nothing else would
		 * move it. */
		if (window == 0 || (used > 0 && window < tcb->max_wnd / 2))
			return 0;
		length = window;
	}
	if (length > 0 && tcb_pipe(tcb) + length > tcb->cwnd && tcb_pipe(tcb) > 0)
		return 0;
	/* The session has more, and ACKs are on their way: whole segments. */
	if (length < tcb->mss && (tcb->flags & TCB_WANT_SEND) != 0 && used >= 2u * tcb->mss)
		return 0;
	/* The FIN takes a sequence number, and the window is as much in its way as in data's. */
	*fin = fin_due(tcb) && length == queued && length < window;
	return length;
}

static void fin_sent(struct net_stack *stack, struct tcb *tcb)
{
	tcb->flags |= TCB_FIN_SENT;
	tcb->close_us = 0; /* keepalive's turn, which would now be its end */
	if (tcb->state == TCPS_ESTABLISHED)
		tcb_set_state(stack, tcb, TCPS_FIN_WAIT_1);
	else if (tcb->state == TCPS_CLOSE_WAIT)
		tcb_set_state(stack, tcb, TCPS_LAST_ACK);
}

/* RFC 5681, 4.1 and RFC 7661: after a pause the window is not what the path was seen to bear. */
static void idle_restart(struct net_stack *stack, struct tcb *tcb)
{
	uint32_t idle = now32(stack) - tcb->last_sent_us;

	if (tcb->snd_nxt != tcb->snd_una || idle < rtt_timeout_us(tcb))
		return;
	congestion_restart(stack, tcb, idle);
}

static struct tcp_record *append(struct net_stack *stack, struct tcb *tcb, uint32_t length,
				 bool fin)
{
	struct tcp_record *r = board_append(stack, tcb);

	if (tcb->snd_nxt == tcb->snd_una) /* the user timeout counts from here */
		tcb->progress_us = now32(stack);
	*r = (struct tcp_record){
		.seq = tcb->snd_nxt,
		.length = (uint16_t)(length + fin),
		.flags = fin ? RECORD_FIN : 0,
	};
	tcb->snd_nxt += length + fin;
	return r;
}

/* Full segments that one frame takes and the path's port cuts (TSO); 1: it does not. */
static unsigned run_most(const struct net_stack *stack, const struct tcb *tcb,
			 const struct net_path *path)
{
	const struct net_port_offloads *offloads = &stack->settings.offloads[path->port];
	bool cuts = ip_is_v4(&tcb->local) ? offloads->tx_segmentation : offloads->tx_segmentation6;
	unsigned fit = (FRAME_LARGE - RUN_HEADERS) / tcb->mss;

	/* Not with CWR, which is for the first segment alone. */
	if (!cuts || stack->settings.frames->alloc_large == NULL || fit < 2 ||
	    (tcb->flags & TCB_CWR_DUE) != 0)
		return 1;
	return fit < RUN_SEGMENTS ? fit : RUN_SEGMENTS;
}

/* Full segments in one frame: to all else they are as many of their own. The caller looked at the
 * first; `burst` pays for those that follow. @return false: some were not sent, they count as lost
 */
static bool send_run(struct net_stack *stack, struct tcb *tcb, const struct net_path *path,
		     unsigned most, unsigned *burst)
{
	struct tcp_record *records[RUN_SEGMENTS];
	struct net_path marked = *path;
	uint32_t seq = tcb->snd_nxt;
	unsigned count = 0;
	uint8_t flags = TCP_ACK;
	bool fin = false, lost = false, sent;

	for (;;) {
		records[count] = append(stack, tcb, tcb->mss, false);
		rate_on_send(stack, tcb, records[count++]);
		if (count == most || *burst == 0 || board_full(stack->tcp, tcb) ||
		    !board_has_room(stack->tcp, tcb) || next_length(tcb, &fin) != tcb->mss || fin)
			break;
		(*burst)--;
	}
	ecn_data_flags(tcb, &marked.ecn);
	if (tcb->snd_nxt == tcb->send_end)
		flags |= TCP_PSH;
	sent = tcp_emit(stack, tcb, &marked, seq, count * tcb->mss, flags);
	for (unsigned i = 0; i < count; i++) {
		if (sent) {
			tcb_flight(stack->tcp, tcb)->sent++;
			pmtu_on_send(stack, tcb, tcb->mss);
			note_sent(stack, tcb, records[i]);
		} else if (!send_record(stack, tcb, &marked, records[i], 0)) {
			/* No large frame left, nor a small one. */
			records[i]->sent_us = now32(stack);
			board_mark_lost(stack->tcp, tcb, records[i]);
			lost = true;
		}
	}
	return !lost;
}

static bool send_new_segment(struct net_stack *stack, struct tcb *tcb, const struct net_path *path,
			     uint32_t length, bool fin)
{
	struct net_path marked = *path;
	struct tcp_record *r;
	uint8_t mark = 0;

	r = append(stack, tcb, length, fin);
	if (length > 0)
		mark = ecn_data_flags(tcb, &marked.ecn);
	if (!send_record(stack, tcb, &marked, r, mark)) {
		/* It counts as sent and lost: the next turn sends it again. */
		r->sent_us = now32(stack);
		board_mark_lost(stack->tcp, tcb, r);
		if (mark != 0)
			tcb->flags |= TCB_CWR_DUE;
		if (fin)
			fin_sent(stack, tcb);
		return false;
	}
	if (fin)
		fin_sent(stack, tcb);
	return true;
}

static enum outcome send_new(struct net_stack *stack, struct tcb *tcb, const struct net_path *path,
			     unsigned *burst)
{
	unsigned most = run_most(stack, tcb, path);

	idle_restart(stack, tcb);
	for (;;) {
		bool fin, sent;
		uint32_t length = next_length(tcb, &fin);
		uint32_t probe = length == tcb->mss ? pmtu_probe_length(stack, tcb) : 0;

		if (length == 0 && !fin)
			return DONE;
		if (board_full(stack->tcp, tcb))
			return DONE;
		if (net_port_room(stack, path->port) == 0)
			return FULL;
		if (!board_has_room(stack->tcp, tcb) || flight_take(stack, tcb) == NULL)
			return SHORT;
		if (*burst == 0)
			return AGAIN;
		(*burst)--;
		if (probe != 0)
			pmtu_probe_begin(stack, tcb, probe);
		if (probe != 0)
			sent = send_new_segment(stack, tcb, path, probe, false);
		else if (most > 1 && length == tcb->mss && !fin)
			sent = send_run(stack, tcb, path, most, burst);
		else
			sent = send_new_segment(stack, tcb, path, length, fin);
		if (!sent)
			return SHORT;
	}
}

static uint32_t less(uint64_t a, uint64_t b)
{
	return a > b ? (uint32_t)(a - b) : 0;
}

/* Bytes that the application may queue: what could be sent now, so that encryption happens late. */
static uint32_t send_room(const struct tcp_layer *layer, const struct tcb *tcb)
{
	uint64_t share =
		(uint64_t)chunk_pool_available(layer->chunks) * CHUNK_DATA / TCP_SEND_QUEUE_SHARE;
	uint32_t queued = tcb->send_end - tcb->snd_una;
	uint32_t room = less(tcb->cwnd, (uint64_t)tcb_pipe(tcb) + unsent(tcb) + tcb->lost_bytes);

	if (share > TCP_SEND_QUEUE_MAX)
		share = TCP_SEND_QUEUE_MAX;
	else if (share < TCP_SEND_QUEUE_MIN)
		share = TCP_SEND_QUEUE_MIN;
	if (room > less(tcb->snd_wnd, queued))
		room = less(tcb->snd_wnd, queued);
	if (room > less(share, queued))
		room = less(share, queued);
	if (room <
	    tcb->mss) /* not in driblets; but something must be there to probe a zero window with */
		return queued == 0 ? tcb->mss : 0;
	return room;
}

/* @return false: the connection is gone */
static bool ask_for_data(struct net_stack *stack, struct tcb *tcb)
{
	tcp_handle handle = tcb_handle(stack->tcp, tcb);
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);

	for (unsigned i = 0; i < ASK_TIMES; i++) {
		uint32_t room;

		if ((tcb->flags & (TCB_WANT_SEND | TCB_FIN_QUEUED)) != TCB_WANT_SEND ||
		    (tcb->state != TCPS_ESTABLISHED && tcb->state != TCPS_CLOSE_WAIT))
			return true;
		room = send_room(stack->tcp, tcb);
		if (room == 0)
			return true;
		tcb->flags &= ~(uint32_t)TCB_WANT_SEND;
		if (cold->callbacks->on_send_room != NULL)
			cold->callbacks->on_send_room(cold->user, handle, room);
		if (!tcb_alive(stack->tcp, tcb, handle))
			return false;
	}
	return true;
}

static enum outcome output_syn(struct net_stack *stack, struct tcb *tcb, uint16_t *port)
{
	uint8_t flags =
		(tcb->state == TCPS_SYN_SENT ? TCP_SYN : TCP_SYN | TCP_ACK) | ecn_syn_flags(tcb);
	struct net_path path;
	int rc;

	if ((tcb->flags & TCB_SYN_DUE) == 0)
		return DONE;
	rc = tcp_path(stack, tcb, &path);
	if (rc == -EHOSTUNREACH || rc == -ENETUNREACH || rc == -EADDRNOTAVAIL) {
		tcb_finish(stack, tcb, TCP_UNREACHABLE);
		return GONE;
	}
	if (rc == 0 && net_port_room(stack, path.port) == 0) {
		*port = path.port;
		return FULL;
	}
	/* Without a frame or a neighbour entry the timer tries again. */
	if (rc == 0)
		tcp_emit(stack, tcb, &path, tcb->snd_una, 0, flags);
	tcb->flags &= ~(uint32_t)TCB_SYN_DUE;
	tcb->last_sent_us = now32(stack);
	tcp_set_retransmission(stack, tcb);
	return DONE;
}

/*
 * Whether the window is used (RFC 7661, 4.3), by the most that was in flight in a round trip:
 * sessions are asked for no more than fits, so what is queued says nothing.
 */
static void note_use(struct net_stack *stack, struct tcb *tcb)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	uint32_t pipe = tcb_pipe(tcb);
	bool limited = pipe + tcb->mss > tcb->cwnd;

	if (tcb->flight == 0 ||
	    (!limited && seq_lt(tcb->snd_una, flight->usage_end) &&
	     ((tcb->flags & TCB_CWND_LIMITED) != 0 || pipe <= flight->usage_max)))
		return;
	flight->usage_end = tcb->snd_nxt;
	flight->usage_max = pipe;
	if (limited)
		tcb->flags |= TCB_CWND_LIMITED;
	else
		tcb->flags &= ~(uint32_t)TCB_CWND_LIMITED;
}

static bool has_more(const struct tcb *tcb)
{
	return tcb->lost_bytes > 0 || unsent(tcb) > 0 || fin_due(tcb);
}

/* The application has no more, and there was room for it. */
static void note_app_limited(struct net_stack *stack, struct tcb *tcb)
{
	if (unsent(tcb) < tcb->mss && tcb->lost_bytes == 0 && (tcb->flags & TCB_WANT_SEND) == 0 &&
	    tcb_pipe(tcb) < tcb->cwnd)
		rate_app_limited(stack, tcb);
}

/* What is lost and what is new, as far as windows and pacing go. */
static enum outcome output_paced(struct net_stack *stack, struct tcb *tcb,
				 const struct net_path *path, unsigned *sent)
{
	uint32_t next = tcb->snd_nxt;
	enum outcome outcome;
	unsigned budget = BURST, left;

	if (tcb->lost_bytes > 0 || unsent(tcb) > 0) /* a FIN alone is no burden */
		budget = pacing_budget(stack, tcb, BURST);
	if (budget == 0)
		return DONE;
	left = budget;
	if (tcb->snd_una == tcb->snd_nxt && congestion_of(tcb)->on_first_send != NULL)
		congestion_of(tcb)->on_first_send(stack, tcb);
	outcome = send_lost(stack, tcb, path, &left);
	if (outcome == DONE && tcb->lost_bytes == 0 && may_send_data(tcb))
		outcome = send_new(stack, tcb, path, &left);
	*sent = budget - left;
	if (*sent > 0) /* retransmissions are counted as whole segments */
		pacing_sent(stack, tcb,
			    tcb->snd_nxt != next ? tcb->snd_nxt - next : *sent * tcb->mss);
	if (outcome == AGAIN && pacing_blocks(stack, tcb))
		outcome = DONE;
	else if (outcome == DONE)
		note_app_limited(stack, tcb);
	return outcome;
}

static enum outcome output_data(struct net_stack *stack, struct tcb *tcb, uint16_t *port)
{
	struct net_path path;
	enum outcome outcome = DONE;
	unsigned sent = 0;

	if (tcp_path(stack, tcb, &path) != 0) {
		/* The way out is gone for now; the timers go on and give up in their time. */
		tcb->flags &= ~(uint32_t)TCB_ACK_NOW;
		tcp_set_retransmission(stack, tcb);
		return DONE;
	}
	*port = path.port;
	if (has_more(tcb))
		outcome = output_paced(stack, tcb, &path, &sent);
	if (sent > 0)
		note_use(stack, tcb);
	if ((tcb->flags & TCB_ACK_NOW) != 0 && outcome != FULL) {
		if (net_port_room(stack, path.port) == 0)
			outcome = FULL;
		else if (!tcp_emit(stack, tcb, &path, tcb->snd_nxt, 0, TCP_ACK))
			outcome = SHORT;
	}
	/* New data puts the probe off and ends persisting; a running RTO goes on (RFC 6298, 5.1).
	 */
	if (tcb->rtx_kind == TCB_TIMER_NONE ||
	    (sent > 0 && tcb->rtx_kind != TCB_TIMER_RTO && tcb->rtx_kind != TCB_TIMER_REORDERING))
		tcp_set_retransmission(stack, tcb);
	return outcome;
}

/* @param[out] port the one that is full */
static enum outcome output(struct net_stack *stack, struct tcb *tcb, uint16_t *port)
{
	enum outcome outcome;

	if ((tcb->flags & TCB_CLOSE_DUE) != 0) {
		tcb_finish(stack, tcb, tcb_cold(stack->tcp, tcb)->close_reason);
		return GONE;
	}
	if (tcb->state == TCPS_SYN_SENT || tcb->state == TCPS_SYN_RCVD) {
		outcome = output_syn(stack, tcb, port);
		/* RFC 9293, 3.10.7.4: what is not acceptable is answered here too. */
		if (outcome == DONE && tcb->state == TCPS_SYN_RCVD &&
		    (tcb->flags & TCB_ACK_NOW) != 0) {
			tcb->flags &= ~(uint32_t)TCB_ACK_NOW;
			tcp_emit_ack(stack, tcb, tcb->snd_nxt, TCP_ACK);
		}
	} else {
		/* While pacing holds it back there is no use for more. */
		if (!pacing_blocks(stack, tcb) && !ask_for_data(stack, tcb))
			return GONE;
		outcome = output_data(stack, tcb, port);
	}
	if (outcome != GONE)
		tcb_arm(stack, tcb);
	return outcome;
}

void tcp_run_output(struct net_stack *stack)
{
	struct tcp_layer *layer = stack->tcp;
	uint32_t left;

	tcb_wake(stack);
	/* What is put on the list meanwhile waits for the next call. */
	for (left = layer->lists[TCB_LIST_OUTPUT].count; left > 0; left--) {
		struct tcb *tcb = tcb_list_pop(layer, TCB_LIST_OUTPUT);
		uint16_t port = 0;

		if (tcb == NULL)
			return;
		switch (output(stack, tcb, &port)) {
		case AGAIN:
			tcb_schedule(stack, tcb);
			break;
		case FULL:
			tcb_wait(stack, tcb, TCB_LIST_PORT + port);
			break;
		case SHORT:
			tcb_wait(stack, tcb, TCB_LIST_MEMORY);
			break;
		case DONE:
		case GONE:
			break;
		}
	}
}

void tcp_retransmit_first(struct net_stack *stack, struct tcb *tcb)
{
	struct board_cursor cursor;
	struct tcp_record *r = board_first(stack->tcp, tcb, &cursor);
	struct net_path path;

	if (r != NULL && tcp_path(stack, tcb, &path) == 0 && net_port_room(stack, path.port) > 2)
		resend(stack, tcb, &path, r);
}

bool tcp_send_probe(struct net_stack *stack, struct tcb *tcb)
{
	struct tcp_record *last = board_last(stack->tcp, tcb);
	struct net_path path;
	uint32_t window = tcb->snd_wnd - (tcb->snd_nxt - tcb->snd_una);
	uint32_t length = unsent(tcb) < tcb->mss ? unsent(tcb) : tcb->mss;

	if (last == NULL || tcp_path(stack, tcb, &path) != 0 || net_port_room(stack, path.port) < 2)
		return false;
	/* RFC 8985, 7.3: new data when there is some and the peer's window allows, else the last
	 * segment. */
	if (length > 0 && tcb->snd_wnd > tcb->snd_nxt - tcb->snd_una && length <= window &&
	    board_has_room(stack->tcp, tcb)) {
		bool fin = fin_due(tcb) && length == unsent(tcb) && length < window;

		tcb->flags &= ~(uint32_t)TCB_PROBE_RESENT;
		if (!send_new_segment(stack, tcb, &path, length, fin))
			return false;
	} else {
		tcb->flags |= TCB_PROBE_RESENT;
		if ((last->flags & RECORD_SACKED) != 0 || !resend(stack, tcb, &path, last))
			return false;
	}
	tcb->flags |= TCB_PROBE_OUT;
	tcb_flight(stack->tcp, tcb)->probe_end = tcb->snd_nxt;
	stack->counters.tcp_tail_probe++;
	return true;
}
