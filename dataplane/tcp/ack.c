/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Acknowledgements: what may be believed (RFC 9293, 3.10.7.4; RFC 5961, 5), the peer's window, SACK
 * and D-SACK (RFC 2018, RFC 2883), release of what has arrived.
 */
#include "dataplane/tcp/internal.h"

/*
 * RFC 9293, 3.10.7.4: only a newer segment moves the window. One that acknowledges more is newer
 * even when it fills a hole: the old window behind the new snd_una would promise what the peer
 * never offered.
 * @return true: it changed
 */
static bool update_window(struct net_stack *stack, struct tcb *tcb,
			  const struct tcp_segment *segment)
{
	uint32_t window = segment->window << tcb->send_scale;
	bool opened = tcb->snd_wnd == 0 && window > 0;

	if (!seq_lt(tcb->snd_una, segment->ack) && !seq_lt(tcb->snd_wl1, segment->seq) &&
	    !(tcb->snd_wl1 == segment->seq && seq_le(tcb->snd_wl2, segment->ack)))
		return false;
	tcb->snd_wl1 = segment->seq;
	tcb->snd_wl2 = segment->ack;
	if (window == tcb->snd_wnd)
		return false;
	tcb->snd_wnd = window;
	if (window > tcb->max_wnd)
		tcb->max_wnd = window;
	if (opened && tcb->rtx_kind == TCB_TIMER_PERSIST) {
		tcb->backoff = 0;
		tcb->rtx_kind = TCB_TIMER_NONE;
		tcb->rtx_us = 0;
	}
	return true;
}

/* RFC 2883, 4: the first block lies below the ACK, or inside the second. */
static void find_dsack(const struct tcb *tcb, const struct tcp_segment *s, struct ack_news *news)
{
	uint32_t start = s->sack[0].start, end = s->sack[0].end;

	if (!seq_lt(start, end) || seq_lt(tcb->snd_nxt, end))
		return;
	if (seq_le(end, s->ack) ||
	    (s->sack_count > 1 && seq_le(s->sack[1].start, start) && seq_le(end, s->sack[1].end))) {
		/* Too old to be about anything we know of (RFC 2883, 5). */
		if (seq_lt(start, tcb->snd_una - tcb->max_wnd))
			return;
		news->dsack = true;
		news->dsack_start = start;
		news->dsack_end = end;
	}
}

/* Karn's rule, with the echo to tell (RFC 7323, 4.1): was it the last transmission that was
 * acknowledged? */
static bool measurable(const struct net_stack *stack, const struct tcb *tcb,
		       const struct tcp_segment *s, const struct tcp_record *r)
{
	if ((r->flags & RECORD_RETRANSMITTED) == 0)
		return true;
	return s->has_timestamp && (tcb->flags & TCB_TIMESTAMPS) != 0 &&
	       !seq_lt(s->ts_ecr, record_timestamp(stack, tcb, r));
}

static void deliver(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s,
		    const struct tcp_record *r, struct ack_news *news)
{
	news->delivered += r->length;
	rate_on_deliver(stack, tcb, r, &news->rate);
	pmtu_on_delivery(stack, tcb, r);
	if (measurable(stack, tcb, s, r)) {
		uint32_t rtt = now32(stack) - r->sent_us;

		news->rtt_us = rtt != 0 ? rtt : 1; /* of the latest */
	}
	if ((tcb->flags & TCB_SACK) != 0)
		rack_deliver(stack, tcb, r, s->ts_ecr,
			     s->has_timestamp && (tcb->flags & TCB_TIMESTAMPS) != 0);
}

/* Of an ACK, in order: what was reordered shows by its place (RFC 8985, 6.2 step 3). @return their
 * number */
static unsigned usable_blocks(const struct tcb *tcb, const struct tcp_segment *s,
			      uint32_t blocks[TCP_SACK_BLOCKS][2])
{
	unsigned count = 0;

	for (unsigned i = 0; i < s->sack_count; i++) {
		uint32_t start = s->sack[i].start, end = s->sack[i].end;
		unsigned at = count;

		if (!seq_lt(start, end) || !seq_lt(s->ack, end) || seq_lt(tcb->snd_nxt, end) ||
		    seq_lt(start, tcb->snd_una))
			continue;
		for (; at > 0 && seq_lt(start, blocks[at - 1][0]); at--) {
			blocks[at][0] = blocks[at - 1][0];
			blocks[at][1] = blocks[at - 1][1];
		}
		blocks[at][0] = start;
		blocks[at][1] = end;
		count++;
	}
	return count;
}

static bool covered(const uint32_t blocks[][2], unsigned count, uint32_t start, uint32_t end)
{
	for (unsigned i = 0; i < count; i++)
		if (seq_le(blocks[i][0], start) && seq_le(end, blocks[i][1]))
			return true;
	return false;
}

/* Some receivers keep the data of a segment that comes early and not its FIN: a record of its own
 * for that, or what they report would be lost on us. */
static void split_fin(struct net_stack *stack, struct tcb *tcb, const uint32_t blocks[][2],
		      unsigned count)
{
	struct tcp_layer *layer = stack->tcp;
	struct tcp_record *last = board_last(layer, tcb), *fin;

	if (last == NULL || (last->flags & (RECORD_FIN | RECORD_SACKED)) != RECORD_FIN ||
	    last->length == 1 || !covered(blocks, count, last->seq, last->seq + last->length - 1) ||
	    covered(blocks, count, last->seq, last->seq + last->length) ||
	    !board_has_room(layer, tcb))
		return;
	fin = board_append(stack, tcb);
	*fin = *last;
	last->length--;
	last->flags &= (uint8_t)~RECORD_FIN;
	fin->seq += last->length;
	fin->length = 1;
	fin->flags &= (uint8_t) ~(RECORD_NOTED | RECORD_LOST);
	board_mark_pending(layer, tcb, fin);
	if ((last->flags & RECORD_LOST) != 0) {
		tcb->lost_bytes--;
		board_mark_lost(layer, tcb, fin);
	}
}

static void mark_sacked(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s,
			struct ack_news *news)
{
	uint32_t blocks[TCP_SACK_BLOCKS][2];
	unsigned count = usable_blocks(tcb, s, blocks);
	struct board_block *block = board_head(stack->tcp, tcb);

	if (count > 0)
		split_fin(stack, tcb, (const uint32_t(*)[2])blocks, count);
	for (unsigned i = 0; i < count; i++) {
		struct board_cursor cursor;
		struct tcp_record *r = board_find(stack, block, blocks[i][0], &cursor);

		if (r == NULL)
			return;

		while ((r = board_unsacked(stack, &cursor)) != NULL &&
		       seq_le(r->seq + r->length, blocks[i][1])) {
			board_mark_sacked(stack->tcp, tcb, r);
			news->sacked += r->length;
			deliver(stack, tcb, s, r, news);
		}
		block = cursor.block; /* up to there nothing is left for the next */
	}
}

/* The first record, acknowledged wholly. */
static void retire(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s,
		   struct tcp_record *r, struct ack_news *news)
{
	if ((r->flags & RECORD_SACKED) == 0) {
		/* RFC 4015, 3.2 (Eifel): the echo is older than the retransmission. */
		if (s->has_timestamp && (tcb->flags & TCB_TIMESTAMPS) != 0 &&
		    original_arrived(stack, tcb, r, s->ts_ecr))
			news->spurious = true;
		deliver(stack, tcb, s, r, news);
	}
	board_pop(stack->tcp, tcb);
}

static void acknowledge(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s,
			struct ack_news *news)
{
	struct board_cursor cursor;
	struct tcp_record *r;

	news->acked = s->ack - tcb->snd_una;
	while ((r = board_first(stack->tcp, tcb, &cursor)) != NULL &&
	       seq_le(r->seq + r->length, s->ack))
		retire(stack, tcb, s, r, news);
	if (r != NULL && seq_lt(r->seq, s->ack)) { /* a part of a segment */
		uint32_t part = s->ack - r->seq;

		if ((r->flags & RECORD_SACKED) != 0)
			tcb->sacked_bytes -= part;
		else
			news->delivered += part;
		if ((r->flags & RECORD_LOST) != 0)
			tcb->lost_bytes -= part;
		r->seq += part;
		r->length = (uint16_t)(r->length - part);
	}
	tcb->snd_una = s->ack;
	tcb->backoff = 0;
	send_queue_release(stack->tcp, tcb);
}

/* Forward progress proves that the next hop works (RFC 4861, 7.3.1). */
static void confirm_path(struct net_stack *stack, const struct tcb *tcb)
{
	struct neighbour *n = &stack->neighbours.entries[tcb->path_neighbour];

	if (tcb->path_epoch == n->epoch)
		neighbour_confirm(n, stack->now_us);
}

/* After our FIN was acknowledged. @return false: the connection is gone */
static bool fin_acknowledged(struct net_stack *stack, struct tcb *tcb)
{
	switch ((enum tcp_state)tcb->state) {
	case TCPS_FIN_WAIT_1:
		tcb_set_state(stack, tcb, TCPS_FIN_WAIT_2);
		tcb->close_us = (now32(stack) + TCP_FIN_WAIT_2_US) | 1;
		tcb_arm(stack, tcb);
		return true;
	case TCPS_CLOSING:
		tcp_enter_time_wait(stack, tcb);
		return false;
	case TCPS_LAST_ACK:
		if (tcb->recv_queued > 0) /* waits for the application as TIME-WAIT does */
			tcp_enter_time_wait(stack, tcb);
		else
			tcb_finish(stack, tcb, TCP_CLOSED);
		return false;
	default:
		return true;
	}
}

/*
 * The peer answers, and nothing of ours is waiting for anything but its window: the user timeout
 * does not count (MUST-37), also when the window was shrunk over what is in flight (RFC 9293,
 * 3.8.6). When the application has closed it does, or a peer could hold what nobody waits for.
 */
static bool alive_without_progress(const struct tcb *tcb)
{
	if (tcb->state == TCPS_FIN_WAIT_2) /* counts from the ACK of our FIN */
		return false;
	if (tcb->rtx_kind == TCB_TIMER_PERSIST || tcb->snd_wnd == 0)
		return (tcb->flags & TCB_FIN_QUEUED) == 0;
	return tcb->snd_nxt == tcb->snd_una;
}

bool tcp_ack_input(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *s)
{
	struct ack_news news = {0};
	bool window_changed;

	/* RFC 5961, 5.2: neither beyond what was sent nor older than a window. */
	if (seq_lt(tcb->snd_nxt, s->ack) || seq_lt(s->ack, tcb->snd_una - tcb->max_wnd)) {
		tcp_challenge(stack, tcb);
		return false;
	}
	tcp_heard(stack, tcb);
	if (seq_lt(s->ack, tcb->snd_una))
		return true; /* old: its data may be new */
	ecn_ack_input(stack, tcb, s);
	window_changed = update_window(stack, tcb, s);
	if (alive_without_progress(tcb))
		tcb->progress_us = now32(stack);
	/* RFC 5681, 2: in flight, no data, no SYN or FIN, same ACK, same window. */
	news.dupack = s->ack == tcb->snd_una && tcb->snd_nxt != tcb->snd_una && s->length == 0 &&
		      (s->flags & TCP_FIN) == 0 && !window_changed;
	if (seq_lt(tcb->snd_una, s->ack)) {
		acknowledge(stack, tcb, s, &news);
		tcb->progress_us = now32(stack);
		confirm_path(stack, tcb);
	}
	/* In the order of sequence numbers: what an ACK covers before what it has blocks for, or an
	 * ACK that comes for both would look like reordering (RFC 8985, 6.2 step 3). */
	if ((tcb->flags & TCB_SACK) != 0 && s->sack_count > 0) {
		find_dsack(tcb, s, &news);
		mark_sacked(stack, tcb, s, &news);
	}
	if (news.dsack) {
		stack->counters.tcp_dsack++;
		rack_on_dsack(stack->tcp, tcb);
	}
	if (news.rtt_us != 0)
		rtt_sample(tcb, news.rtt_us);
	probe_on_ack(stack, tcb, s, &news);
	rate_finish(stack, tcb, &news.rate);
	if (news.acked > 0 || news.sacked > 0 || news.dsack || news.dupack)
		recovery_on_ack(stack, tcb, &news);
	if ((tcb->flags & TCB_FIN_SENT) != 0 && tcb->snd_una == tcb->snd_nxt && news.acked > 0 &&
	    !fin_acknowledged(stack, tcb))
		return false;
	flight_rest(stack, tcb);
	if (tcb->lost_bytes > 0 || tcb->send_end != tcb->snd_nxt ||
	    (tcb->flags & (TCB_WANT_SEND | TCB_FIN_QUEUED)) != 0)
		tcb_schedule(stack, tcb);
	return true;
}
