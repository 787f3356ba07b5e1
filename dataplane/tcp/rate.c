/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Delivery rate estimation; see rate.h. */
#include "dataplane/tcp/rate.h"

#include "dataplane/tcp/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int rate_pool_init(struct rate_pool *pool, uint32_t blocks)
{
	*pool = (struct rate_pool){.capacity = blocks};
	pool->blocks = aligned_alloc(64, (size_t)blocks * sizeof(*pool->blocks));
	return pool->blocks != NULL ? 0 : -ENOMEM;
}

void rate_pool_free(struct rate_pool *pool)
{
	free(pool->blocks);
	pool->blocks = NULL;
}

static uint32_t block_take(struct rate_pool *pool)
{
	uint32_t link = pool->free;

	if (link != 0)
		pool->free = pool->blocks[link - 1].next;
	else if (pool->fresh < pool->capacity)
		link = ++pool->fresh;
	else
		return 0;
	memset(&pool->blocks[link - 1], 0, sizeof(pool->blocks[link - 1]));
	return link;
}

void rate_block_free(struct rate_pool *pool, uint32_t link)
{
	if (link == 0)
		return;
	pool->blocks[link - 1].next = pool->free;
	pool->free = link;
}

/* @return NULL: nothing was noted of it */
static struct rate_note *note_of(struct board_pool *board, const struct tcp_record *r)
{
	struct board_block *block = board_block_of(board, r);

	if (block->rates == 0)
		return NULL;
	return &board->rates.blocks[block->rates - 1].notes[r - block->records];
}

struct rate_state *rate_of(struct net_stack *stack, struct tcb *tcb)
{
	return congestion_of(tcb)->rate != NULL ? congestion_of(tcb)->rate(stack, tcb) : NULL;
}

void rate_on_send(struct net_stack *stack, struct tcb *tcb, struct tcp_record *r)
{
	struct board_pool *board = &stack->tcp->board;
	struct rate_state *c = rate_of(stack, tcb);
	struct board_block *block;
	struct rate_note *note;
	uint32_t pipe;

	if (c == NULL)
		return;
	pipe = tcb_pipe(tcb);
	if (pipe <= r->length) { /* it is alone: the network was idle */
		c->first_sent_us = now32(stack);
		c->delivered_us = now32(stack);
	}
	block = board_block_of(board, r);
	if (block->rates == 0)
		block->rates = block_take(&board->rates);
	note = note_of(board, r);
	if (note == NULL)
		return;
	*note = (struct rate_note){
		.delivered = c->delivered,
		.delivered_us = c->delivered_us,
		.first_sent_us = c->first_sent_us,
		.in_flight = pipe,
		.lost = c->lost,
	};
	r->flags |= RECORD_NOTED;
	if (c->is_app_limited)
		r->flags |= RECORD_APP_LIMITED;
	else
		r->flags &= (uint8_t)~RECORD_APP_LIMITED;
}

void rate_on_deliver(struct net_stack *stack, struct tcb *tcb, const struct tcp_record *r,
		     struct rate_sample *s)
{
	struct rate_state *c = rate_of(stack, tcb);
	const struct rate_note *note;
	uint32_t end = r->seq + r->length;

	if (c == NULL)
		return;
	c->delivered += r->length;
	c->delivered_us = now32(stack);
	s->newly_acked += r->length;
	note = note_of(&stack->tcp->board, r);
	if (note == NULL || (r->flags & RECORD_NOTED) == 0)
		return;
	/* The newest of those that this ACK covers. */
	if (s->has_prior && (seq_lt(r->sent_us, s->newest_sent_us) ||
			     (r->sent_us == s->newest_sent_us && seq_lt(end, s->newest_end))))
		return;
	s->has_prior = true;
	s->newest_sent_us = r->sent_us;
	s->newest_end = end;
	s->prior_delivered = note->delivered;
	s->prior_us = note->delivered_us;
	s->app_limited = (r->flags & RECORD_APP_LIMITED) != 0;
	s->send_us = r->sent_us - note->first_sent_us;
	s->in_flight = note->in_flight;
	s->lost = c->lost - note->lost;
	c->first_sent_us = r->sent_us;
}

void rate_finish(struct net_stack *stack, struct tcb *tcb, struct rate_sample *s)
{
	struct rate_state *c = rate_of(stack, tcb);
	uint32_t ack_us;

	if (c == NULL)
		return;
	if (c->is_app_limited && seq_lt(c->app_limited, c->delivered))
		c->is_app_limited = false;
	if (!s->has_prior)
		return;
	ack_us = c->delivered_us - s->prior_us;
	s->interval_us = s->send_us > ack_us ? s->send_us : ack_us;
	s->delivered = c->delivered - s->prior_delivered;
	/* Shorter than a round trip can be: ACKs of a retransmission's original. */
	s->valid = s->interval_us != 0 && s->interval_us >= tcb->min_rtt_us;
}

bool rate_on_lost(struct net_stack *stack, struct tcb *tcb, const struct tcp_record *r,
		  struct rate_sample *s)
{
	struct rate_state *c = rate_of(stack, tcb);
	const struct rate_note *note;

	if (c == NULL)
		return false;
	c->lost += r->length;
	note = note_of(&stack->tcp->board, r);
	if (note == NULL || (r->flags & RECORD_NOTED) == 0)
		return false;
	*s = (struct rate_sample){
		.has_prior = true,
		.in_flight = note->in_flight,
		.lost = c->lost - note->lost,
		.app_limited = (r->flags & RECORD_APP_LIMITED) != 0,
	};
	return true;
}

void rate_app_limited(struct net_stack *stack, struct tcb *tcb)
{
	struct rate_state *c = rate_of(stack, tcb);

	if (c == NULL)
		return;
	c->app_limited = c->delivered + tcb_pipe(tcb);
	c->is_app_limited = true;
}
