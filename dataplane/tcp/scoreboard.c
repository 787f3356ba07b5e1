/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The scoreboard: a record for each segment in flight, oldest first, in a list of 256-byte blocks
 * that exist only while something is unacknowledged. At most BOARD_MAX records a connection, so
 * that the work of an ACK is bounded (CVE-2019-11477, CVE-2019-11478).
 */
#include "dataplane/tcp/internal.h"

#include <errno.h>
#include <stdlib.h>

#define BOARD_SMALL (2 * BOARD_RECORDS) /* records that a connection may nearly always have */

int board_pool_init(struct board_pool *pool, uint32_t blocks)
{
	*pool = (struct board_pool){.capacity = blocks};
	if (rate_pool_init(&pool->rates, blocks / 4 + 1) != 0)
		return -ENOMEM;
	pool->blocks = aligned_alloc(64, (size_t)blocks * sizeof(*pool->blocks));
	return pool->blocks != NULL ? 0 : -ENOMEM;
}

void board_pool_free(struct board_pool *pool)
{
	rate_pool_free(&pool->rates);
	free(pool->blocks);
	pool->blocks = NULL;
}

static bool tail_full(const struct tcp_layer *layer, const struct tcb *tcb)
{
	uint32_t tail = tcb_flight(layer, tcb)->board_tail;

	return tail == 0 || layer->board.blocks[tail - 1].end == BOARD_RECORDS;
}

bool board_full(const struct tcp_layer *layer, const struct tcb *tcb)
{
	return tcb_flight(layer, tcb)->board_count >= BOARD_MAX;
}

bool board_has_room(const struct tcp_layer *layer, const struct tcb *tcb)
{
	uint32_t count = tcb_flight(layer, tcb)->board_count;

	if (count >= BOARD_MAX)
		return false;
	if (!tail_full(layer, tcb))
		return true;
	/* The last quarter is for those that hold little: peers that announce tiny segments and
	 * stop acknowledging must not silence all others. */
	if (count >= BOARD_SMALL &&
	    layer->board.used >= layer->board.capacity - layer->board.capacity / 4)
		return false;
	/* The last eighth is for connections that we opened: what strangers do not acknowledge must
	 * not hold up what we owe. */
	if ((tcb->flags & TCB_ACTIVE) == 0 &&
	    layer->board.used >= layer->board.capacity - layer->board.capacity / 8)
		return false;
	return layer->board.used < layer->board.capacity;
}

static uint32_t block_alloc(struct board_pool *pool)
{
	uint32_t link;

	if (pool->free != 0) {
		link = pool->free;
		pool->free = pool->blocks[link - 1].next;
	} else {
		assert(pool->fresh < pool->capacity);
		link = ++pool->fresh;
	}
	pool->used++;
	pool->blocks[link - 1].next = 0;
	pool->blocks[link - 1].first = 0;
	pool->blocks[link - 1].end = 0;
	pool->blocks[link - 1].rates = 0;
	return link;
}

static void block_free(struct board_pool *pool, uint32_t link)
{
	rate_block_free(&pool->rates, pool->blocks[link - 1].rates);
	pool->blocks[link - 1].next = pool->free;
	pool->free = link;
	pool->used--;
}

struct tcp_record *board_append(struct tcp_layer *layer, struct tcb *tcb)
{
	struct tcb_flight *flight = tcb_flight(layer, tcb);
	struct board_block *block;

	assert(tcb->flight != 0);
	if (tail_full(layer, tcb)) {
		uint32_t link = block_alloc(&layer->board);

		if (flight->board_tail != 0)
			layer->board.blocks[flight->board_tail - 1].next = link;
		else
			flight->board_head = link;
		flight->board_tail = link;
	}
	block = &layer->board.blocks[flight->board_tail - 1];
	flight->board_count++;
	return &block->records[block->end++];
}

void board_pop(struct tcp_layer *layer, struct tcb *tcb)
{
	struct tcb_flight *flight = tcb_flight(layer, tcb);
	uint32_t link = flight->board_head;
	struct board_block *block = &layer->board.blocks[link - 1];

	flight->board_count--;
	if (++block->first < block->end)
		return;
	flight->board_head = block->next;
	if (block->next == 0)
		flight->board_tail = 0;
	block_free(&layer->board, link);
}

void board_clear(struct tcp_layer *layer, struct tcb *tcb)
{
	struct tcb_flight *flight = tcb_flight(layer, tcb);

	if (tcb->flight == 0)
		return;
	while (flight->board_head != 0) {
		uint32_t link = flight->board_head;

		flight->board_head = layer->board.blocks[link - 1].next;
		block_free(&layer->board, link);
	}
	flight->board_tail = 0;
	flight->board_count = 0;
	tcb->sacked_bytes = 0;
	tcb->lost_bytes = 0;
}

struct tcp_record *board_first(const struct tcp_layer *layer, const struct tcb *tcb,
			       struct board_cursor *cursor)
{
	uint32_t head = tcb_flight(layer, tcb)->board_head;

	if (head == 0)
		return NULL;
	cursor->block = &layer->board.blocks[head - 1];
	cursor->at = cursor->block->first;
	return &cursor->block->records[cursor->at];
}

struct tcp_record *board_next(const struct tcp_layer *layer, struct board_cursor *cursor)
{
	if (++cursor->at == cursor->block->end) {
		if (cursor->block->next == 0)
			return NULL;
		cursor->block = &layer->board.blocks[cursor->block->next - 1];
		cursor->at = cursor->block->first;
	}
	return &cursor->block->records[cursor->at];
}

struct tcp_record *board_last(const struct tcp_layer *layer, const struct tcb *tcb)
{
	uint32_t tail = tcb_flight(layer, tcb)->board_tail;
	struct board_block *block;

	if (tail == 0)
		return NULL;
	block = &layer->board.blocks[tail - 1];
	return &block->records[block->end - 1];
}

void board_mark_lost(struct tcb *tcb, struct tcp_record *record)
{
	if ((record->flags & (RECORD_SACKED | RECORD_LOST)) != 0)
		return;
	record->flags |= RECORD_LOST;
	tcb->lost_bytes += record->length;
}
