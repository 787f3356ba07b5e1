/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Loss: detection by time (RACK-TLP, RFC 8985) or, without SACK, by duplicate ACKs (RFC 6582);
 * recovery at the rate of delivery (PRR, RFC 9937); timeouts (RFC 5681, 3.1); and taking back what
 * was not due (RFC 4015, D-SACK).
 */
#include "dataplane/tcp/destination.h"
#include "dataplane/tcp/internal.h"

#include <string.h>

#define REO_MULT_MAX 16u
#define REO_PERSIST  16u /* recoveries (RFC 8985, 6.2 step 4) */
#define RACK_LOOKS   4u	 /* blocks looked through for what may be lost soon */

static bool sent_after(uint32_t time_a, uint32_t end_a, uint32_t time_b, uint32_t end_b)
{
	return seq_lt(time_b, time_a) || (time_a == time_b && seq_lt(end_b, end_a));
}

/* RFC 8985, 6.2 step 3: does it come behind what was sent after it? Each time is news to the
 * destination. */
static void note_order(struct tcb *tcb, const struct tcb_flight *flight, uint32_t end)
{
	if (flight->rack_rtt_us == 0 || !seq_lt(end, flight->rack_fack))
		return;
	tcb->flags |= TCB_REORDERING;
	tcb->flags &= ~(uint32_t)TCB_REORDERING_TOLD;
}

void rack_deliver(struct net_stack *stack, struct tcb *tcb, const struct tcp_record *r,
		  uint32_t ts_ecr, bool has_ecr)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	uint32_t end = r->seq + r->length;
	uint32_t rtt = now32(stack) - r->sent_us;

	if (rtt == 0)
		rtt = 1;
	if ((r->flags & RECORD_RETRANSMITTED) != 0) {
		/* Step 2: it may be the original that was acknowledged. When the echo leaves no
		 * doubt of that, it came late, and step 3 may look at it. */
		if (has_ecr && original_arrived(stack, tcb, r, ts_ecr))
			note_order(tcb, flight, end);
		if (has_ecr && seq_lt(ts_ecr, record_timestamp(stack, tcb, r)))
			return;
		if (rtt < tcb->min_rtt_us)
			return;
	} else {
		note_order(tcb, flight, end);
	}
	if (flight->rack_rtt_us == 0 || seq_lt(flight->rack_fack, end))
		flight->rack_fack = end;
	if (flight->rack_rtt_us == 0 ||
	    sent_after(r->sent_us, end, flight->rack_sent_us, flight->rack_end)) {
		flight->rack_sent_us = r->sent_us;
		flight->rack_end = end;
	}
	flight->rack_rtt_us = rtt;
}

void rack_on_dsack(const struct tcp_layer *layer, struct tcb *tcb)
{
	struct tcb_cold *cold = tcb_cold(layer, tcb);
	struct tcb_flight *flight = tcb_flight(layer, tcb);

	/* Step 4: once a round trip. */
	if (tcb->flight == 0 || seq_lt(tcb->snd_una, flight->reo_round))
		return;
	flight->reo_round = tcb->snd_nxt;
	cold->reo_persist = REO_PERSIST;
	if (tcb->reo_mult < REO_MULT_MAX)
		tcb->reo_mult++;
}

static void mark_lost(struct net_stack *stack, struct tcb *tcb, struct tcp_record *r)
{
	struct rate_sample sample;

	if ((r->flags & (RECORD_SACKED | RECORD_LOST)) != 0)
		return;
	board_mark_lost(stack->tcp, tcb, r);
	if (rate_on_lost(stack, tcb, r, &sample) && congestion_of(tcb)->on_lost != NULL)
		congestion_of(tcb)->on_lost(stack, tcb, &sample, r->length);
}

static uint32_t reordering_window(const struct tcb *tcb)
{
	uint32_t window;

	if ((tcb->flags & TCB_REORDERING) == 0 && ((tcb->flags & (TCB_RECOVERY | TCB_LOSS)) != 0 ||
						   tcb->sacked_bytes >= TCP_DUPACKS * tcb->mss))
		return 0;
	window = tcb->min_rtt_us / 4 * tcb->reo_mult;
	return window < tcb->srtt_us ? window : tcb->srtt_us;
}

/* What RACK asks of the scoreboard. */
struct rack_question {
	uint32_t sent_us; /* of the segment delivered that was sent last */
	uint32_t end;
	uint32_t lost_us;	    /* sent up to here, and before that segment: lost */
	uint32_t youngest_us;	    /* of those that were sent before it, but not long ago */
	bool waiting;		    /* there are such */
	unsigned looks;		    /* blocks that are still looked through for such */
	struct board_block *unseen; /* a block, or a group's leader, that may have such */
	uint32_t unseen_us;	    /* where they begin; the youngest of these blocks and groups */
	bool group;
};

static bool rack_before(const struct rack_question *q, uint32_t sent_us, uint32_t end)
{
	return sent_after(q->sent_us, q->end, sent_us, end);
}

/* May it hold something lost? */
static bool rack_wants(const struct board_sum *sum, void *context)
{
	struct rack_question *q = context;

	if (sum->pending == 0 || !rack_before(q, sum->oldest_us, sum->seq))
		return false;
	if (seq_le(sum->oldest_us, q->lost_us))
		return true;
	if (q->looks > 0) {
		q->looks -= !sum->group;
		return true;
	}
	if (q->unseen == NULL || !seq_lt(sum->oldest_us, q->unseen_us)) {
		q->unseen = sum->block;
		q->unseen_us = sum->oldest_us;
		q->group = sum->group;
	}
	return false;
}

static void rack_look(struct net_stack *stack, struct tcb *tcb, struct board_block *block,
		      struct rack_question *q)
{
	uint32_t oldest_us = now32(stack);

	stack->counters.tcp_board_steps += block->end - block->first;
	for (unsigned i = block->first; i < block->end; i++) {
		struct tcp_record *r = &block->records[i];
		bool before = rack_before(q, r->sent_us, r->seq + r->length);

		if ((r->flags & (RECORD_SACKED | RECORD_LOST)) != 0)
			continue;
		if (before && seq_le(r->sent_us, q->lost_us)) {
			mark_lost(stack, tcb, r);
			continue;
		}
		if (before && (!q->waiting || seq_lt(q->youngest_us, r->sent_us))) {
			q->waiting = true;
			q->youngest_us = r->sent_us;
		}
		if (seq_lt(r->sent_us, oldest_us))
			oldest_us = r->sent_us;
	}
	board_set_oldest(stack, block, oldest_us);
}

/* Of a group, the block whose pending records begin last. */
static struct board_block *rack_last_of_group(struct net_stack *stack, struct rack_question *q)
{
	struct board_block *block = q->unseen;

	q->unseen = NULL;
	for (unsigned i = 0; i < BOARD_GROUP; i++) {
		struct board_sum sum = board_sum_of(block);

		stack->counters.tcp_board_steps++;
		rack_wants(&sum, q);
		block = board_behind(stack->tcp, block);
	}
	return q->unseen;
}

/* RFC 8985, 6.2 step 5: until the youngest has waited. Where retransmissions are among them it may
 * not be the very youngest that is found; then the timer asks once more. */
static uint32_t rack_wait(struct net_stack *stack, struct tcb *tcb, struct rack_question *q)
{
	struct board_block *block = q->group ? rack_last_of_group(stack, q) : q->unseen;

	if (block != NULL)
		rack_look(stack, tcb, block, q);
	return q->waiting ? q->youngest_us - q->lost_us : 0;
}

uint32_t rack_detect(struct net_stack *stack, struct tcb *tcb)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	uint32_t allowed_us = flight->rack_rtt_us + reordering_window(tcb);
	struct rack_question q = {
		.sent_us = flight->rack_sent_us,
		.end = flight->rack_end,
		.lost_us = now32(stack) - allowed_us,
		.looks = RACK_LOOKS,
	};
	struct board_block *block;

	if (flight->rack_rtt_us == 0 ||
	    (tcb->sacked_bytes == 0 && (tcb->flags & (TCB_RECOVERY | TCB_LOSS)) == 0))
		return 0;
	block = board_seek(stack, board_head(stack->tcp, tcb), rack_wants, &q);
	while (block != NULL) {
		rack_look(stack, tcb, block, &q);
		block = board_seek(stack, board_behind(stack->tcp, block), rack_wants, &q);
	}
	return rack_wait(stack, tcb, &q);
}

/* Without SACK: three duplicates, then one hole for each partial ACK (RFC 6582, 3.2). */
static void reno_detect(struct net_stack *stack, struct tcb *tcb, const struct ack_news *news)
{
	struct board_cursor cursor;
	struct tcp_record *first = board_first(stack->tcp, tcb, &cursor);
	bool partial;

	if (first == NULL || (tcb->flags & TCB_LOSS) != 0)
		return;
	if (news->acked > 0)
		tcb->dupacks = 0;
	else if (news->dupack && tcb->dupacks < UINT8_MAX)
		tcb->dupacks++;
	partial = (tcb->flags & TCB_RECOVERY) != 0 && news->acked > 0;
	if (partial || ((tcb->flags & TCB_RECOVERY) == 0 && tcb->dupacks >= TCP_DUPACKS))
		mark_lost(stack, tcb, first);
}

/* What to go back to, should the loss prove to be none. */
static void remember(struct net_stack *stack, struct tcb *tcb)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);

	/* Once in a window: a peer that says by turns that all is lost and that nothing was would
	 * have us go through all that is in flight each time. */
	flight->undone = flight->undone && seq_lt(tcb->snd_una, flight->recover);
	flight->prior_cwnd = flight->undone ? 0 : tcb->cwnd;
	flight->prior_ssthresh = tcb->ssthresh;
	flight->undo_pending = 0;
	memcpy(flight->prior_congestion, tcb->congestion_state, sizeof(tcb->congestion_state));
}

static void enter_recovery(struct net_stack *stack, struct tcb *tcb, const struct ack_news *news)
{
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);

	stack->counters.tcp_fast_recovery++;
	remember(stack, tcb);
	tcb->flags |= TCB_RECOVERY;
	tcb->flags &= ~(uint32_t)TCB_PROBE_OUT;
	flight->recover = tcb->snd_nxt;
	tcb->ssthresh = congestion_reduce(stack, tcb, CONGESTION_LOSS);
	flight->prr_delivered = 0;
	flight->prr_out = 0;
	/* RFC 9937, 6: what was SACKed before will not be delivered any more, what this ACK
	 * brought counts as delivered in recovery. */
	flight->recover_fs =
		tcb->snd_nxt - tcb->snd_una - (tcb->sacked_bytes - news->sacked) + news->acked;
	if (cold->reo_persist > 0 && --cold->reo_persist == 0)
		tcb->reo_mult = 1;
}

static void leave_recovery(struct net_stack *stack, struct tcb *tcb)
{
	/* RFC 9937, 6: the end of PRR, wherever the losses have left the window. */
	if ((tcb->flags & TCB_RECOVERY) != 0 && !congestion_of(tcb)->own_recovery)
		tcb->cwnd = tcb->ssthresh;
	tcb->flags &= ~(uint32_t)(TCB_RECOVERY | TCB_LOSS);
	tcb->dupacks = 0;
	if (congestion_of(tcb)->recovered != NULL)
		congestion_of(tcb)->recovered(stack, tcb);
}

/* The loss was none: as if nothing had happened (RFC 4015, 3.2). */
static void undo(struct net_stack *stack, struct tcb *tcb)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	struct board_cursor cursor;

	if (flight->prior_cwnd == 0)
		return;
	for (struct tcp_record *r = board_first_lost(stack, tcb, &cursor); r != NULL;
	     r = board_next_lost(stack, &cursor))
		board_mark_pending(stack->tcp, tcb, r);
	flight->undone = true;
	if (tcb->cwnd < flight->prior_cwnd)
		tcb->cwnd = flight->prior_cwnd;
	tcb->ssthresh = flight->prior_ssthresh;
	flight->prior_cwnd = 0;
	memcpy(tcb->congestion_state, flight->prior_congestion, sizeof(tcb->congestion_state));
	if (congestion_of(tcb)->recovered != NULL)
		congestion_of(tcb)->recovered(stack, tcb);
	tcb->flags &= ~(uint32_t)(TCB_RECOVERY | TCB_LOSS);
	stack->counters.tcp_spurious++;
}

/* RFC 9937, 6.2: send in proportion to what was delivered, and reach ssthresh at the end. */
static void prr_update(struct net_stack *stack, struct tcb *tcb, const struct ack_news *news,
		       uint32_t lost)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	uint32_t pipe = tcb_pipe(tcb);
	uint32_t delivered = news->delivered;
	uint32_t send;

	if (news->dupack && (tcb->flags & TCB_SACK) == 0)
		delivered += tcb->mss;
	if (delivered == 0 && flight->prr_out != 0)
		return; /* no ACK that delivers: the timer of RACK has found a loss */
	flight->prr_delivered += delivered;
	if (pipe > tcb->ssthresh) {
		uint32_t fs = flight->recover_fs > 0 ? flight->recover_fs : 1;
		uint64_t share = ((uint64_t)flight->prr_delivered * tcb->ssthresh + fs - 1) / fs;

		send = share > flight->prr_out ? (uint32_t)(share - flight->prr_out) : 0;
	} else {
		send = flight->prr_delivered > flight->prr_out
			       ? flight->prr_delivered - flight->prr_out
			       : 0;
		if (send < delivered)
			send = delivered;
		if (news->acked > 0 && lost == 0) /* SafeACK: progress, and no further loss */
			send += tcb->mss;
		if (send > tcb->ssthresh - pipe)
			send = tcb->ssthresh - pipe;
	}
	if (flight->prr_out == 0 && send < tcb->mss)
		send = tcb->mss; /* the fast retransmission itself */
	tcb->cwnd = pipe + send;
}

static void set_timer(struct net_stack *stack, struct tcb *tcb, const struct ack_news *news,
		      uint32_t wait_us)
{
	if (wait_us != 0) {
		uint32_t rto = rtt_timeout_us(tcb);

		tcb->rtx_kind = TCB_TIMER_REORDERING;
		tcb->rtx_us = (now32(stack) + (wait_us < rto ? wait_us : rto)) | 1;
		tcb_arm(stack, tcb);
	} else if (news->acked > 0 || tcb->rtx_kind != TCB_TIMER_RTO) {
		tcp_set_retransmission(stack, tcb);
	}
}

/* @return bytes that are found lost; *wait_us: when more will be */
static uint32_t detect(struct net_stack *stack, struct tcb *tcb, const struct ack_news *news,
		       uint32_t *wait_us)
{
	uint32_t before = tcb->lost_bytes;

	*wait_us = 0;
	if ((tcb->flags & TCB_SACK) != 0)
		*wait_us = rack_detect(stack, tcb);
	else
		reno_detect(stack, tcb, news);
	return tcb->lost_bytes - before;
}

static bool window_in_use(const struct tcb *tcb, const struct tcb_flight *flight)
{
	/* In slow start half of it is enough: the rest was not there when it was sent. */
	return (tcb->flags & TCB_CWND_LIMITED) != 0 ||
	       (tcb->cwnd < tcb->ssthresh && tcb->cwnd < 2 * flight->usage_max);
}

static void tell_congestion(struct net_stack *stack, struct tcb *tcb, const struct ack_news *news,
			    uint32_t lost, bool may_grow)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	uint32_t now = now32(stack);
	struct congestion_news told = {
		.now_us = now,
		.acked = news->acked,
		.lost = lost,
		.rtt_us = news->rtt_us,
		.since_us = flight->news_us != 0 ? now - flight->news_us : 0,
		.may_grow = may_grow,
		.limited = window_in_use(tcb, flight),
		.rate = &news->rate,
	};

	congestion_of(tcb)->on_ack(stack, tcb, &told);
	flight->news_us = now | 1;
}

void recovery_on_ack(struct net_stack *stack, struct tcb *tcb, const struct ack_news *news)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	bool may_grow = true;
	uint32_t lost, wait;

	if (tcb->flight == 0)
		return; /* nothing that this could be about */
	if (news->dsack && flight->undo_pending > 0 && --flight->undo_pending == 0)
		undo(stack, tcb);
	else if (news->spurious && (tcb->flags & (TCB_RECOVERY | TCB_LOSS)) != 0)
		undo(stack, tcb);
	if ((tcb->flags & (TCB_RECOVERY | TCB_LOSS)) != 0 &&
	    seq_le(flight->recover, tcb->snd_una)) {
		leave_recovery(stack, tcb);
		may_grow = false; /* what it acknowledges was sent before the reduction */
	}
	destination_delivered(stack, tcb, news->delivered);
	lost = detect(stack, tcb, news, &wait);
	if (tcb->lost_bytes > 0 && (tcb->flags & (TCB_RECOVERY | TCB_LOSS)) == 0 &&
	    !pmtu_probe_lost(stack, tcb))
		enter_recovery(stack, tcb, news);
	if ((tcb->flags & TCB_RECOVERY) != 0) {
		may_grow = false;
		if (!congestion_of(tcb)->own_recovery)
			prr_update(stack, tcb, news, lost);
	}
	tell_congestion(stack, tcb, news, lost, may_grow);
	set_timer(stack, tcb, news, wait);
}

bool congestion_on_ecn(struct net_stack *stack, struct tcb *tcb)
{
	if ((tcb->flags & (TCB_RECOVERY | TCB_LOSS)) != 0)
		return true; /* reduced already, in this window */
	tcb->ssthresh = congestion_reduce(stack, tcb, CONGESTION_ECN);
	if (tcb->cwnd > tcb->ssthresh && !congestion_of(tcb)->own_recovery)
		tcb->cwnd = tcb->ssthresh;
	return true;
}

/* RFC 8985, 6.3: the first, and what was sent long enough ago; the rest may be under way. */
static bool lost_at_timeout(const struct net_stack *stack, const struct tcb *tcb,
			    const struct tcp_record *r, uint32_t window)
{
	const struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);

	return (tcb->flags & TCB_SACK) == 0 || r->seq == tcb->snd_una ||
	       (int32_t)(now32(stack) - r->sent_us - flight->rack_rtt_us - window) >= 0;
}

void recovery_on_timeout(struct net_stack *stack, struct tcb *tcb)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	struct board_cursor cursor;
	struct tcp_record *r = board_first(stack->tcp, tcb, &cursor);
	bool renege = r != NULL && (r->flags & RECORD_SACKED) != 0;
	uint32_t window = reordering_window(tcb);

	if ((tcb->flags & TCB_LOSS) == 0) { /* RFC 5681, 3.1: not again for the same loss */
		if ((tcb->flags & TCB_RECOVERY) == 0)
			remember(stack, tcb);
		tcb->ssthresh = congestion_reduce(stack, tcb, CONGESTION_TIMEOUT);
	}
	tcb->cwnd = tcb->mss;
	flight->recover = tcb->snd_nxt;
	tcb->flags &= ~(uint32_t)(TCB_RECOVERY | TCB_PROBE_OUT);
	tcb->flags |= TCB_LOSS;
	tcb->dupacks = 0;
	for (; r != NULL; r = board_next(stack->tcp, &cursor)) {
		if (renege && (r->flags & RECORD_SACKED) != 0) /* RFC 2018, 8 */
			board_mark_pending(stack->tcp, tcb, r);
		if (renege || lost_at_timeout(stack, tcb, r, window))
			mark_lost(stack, tcb, r);
	}
}

void recovery_on_send(struct net_stack *stack, struct tcb *tcb, uint32_t size)
{
	if ((tcb->flags & TCB_RECOVERY) != 0)
		tcb_flight(stack->tcp, tcb)->prr_out += size;
}

void probe_on_ack(struct net_stack *stack, struct tcb *tcb, const struct tcp_segment *segment,
		  const struct ack_news *news)
{
	uint32_t end = tcb_flight(stack->tcp, tcb)->probe_end;

	if ((tcb->flags & TCB_PROBE_OUT) == 0 || seq_lt(segment->ack, end))
		return;
	if ((tcb->flags & TCB_PROBE_RESENT) == 0 || news->dsack) {
		tcb->flags &= ~(uint32_t)TCB_PROBE_OUT;
	} else if (seq_lt(end, segment->ack)) {
		/* The probe repaired a loss that nothing else would show: answer it as one. */
		tcb->flags &= ~(uint32_t)TCB_PROBE_OUT;
		if ((tcb->flags & (TCB_RECOVERY | TCB_LOSS)) == 0) {
			tcb->ssthresh = congestion_reduce(stack, tcb, CONGESTION_LOSS);
			if (tcb->cwnd > tcb->ssthresh)
				tcb->cwnd = tcb->ssthresh;
		}
	} else if (news->acked == 0 && segment->length == 0 && segment->sack_count == 0) {
		tcb->flags &= ~(uint32_t)TCB_PROBE_OUT;
	}
}
