/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The scoreboard: a record for each segment in flight, oldest first, in a list of 256-byte blocks
 * that exist only while something is unacknowledged. At most BOARD_MAX records a connection.
 *
 * What an ACK costs is bounded whatever its SACK blocks say (CVE-2019-11477, CVE-2019-11478). Each
 * block counts what of it is SACKed and lost and knows how old its oldest pending record may be;
 * the first of every BOARD_GROUP blocks, their leader, sums that up for all and points to the next
 * leader. So a search looks at no more than some 17 groups, the blocks of one, and the records of
 * one block; what it finds changes state, and no record can do that often: it is SACKed once, and
 * lost once each time it was sent (twice in a window that undo takes back).
 *
 * Owner: one worker. Memory: a pool made with the layer. Always true: the sums are those of the
 * records; a group is complete when its leader points to the next, and then all its blocks are
 * filled to the end; blocks whose leader was removed are fewer than a group, and lie in front.
 */
#include "dataplane/tcp/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	memset(&pool->blocks[link - 1], 0, offsetof(struct board_block, records));
	return link;
}

static void block_free(struct board_pool *pool, uint32_t link)
{
	rate_block_free(&pool->rates, pool->blocks[link - 1].rates);
	pool->blocks[link - 1].next = pool->free;
	pool->free = link;
	pool->used--;
}

static struct board_block *block_at(const struct board_pool *pool, uint32_t link)
{
	return link != 0 ? &pool->blocks[link - 1] : NULL;
}

/* The last block's group has a new member, or there is a new group. */
static void join_group(struct board_pool *pool, struct tcb_flight *flight, uint32_t link)
{
	struct board_block *leader = block_at(pool, flight->board_leader);

	if (leader == NULL || leader->group_blocks == BOARD_GROUP) {
		if (leader != NULL)
			leader->skip = link;
		flight->board_leader = link;
		leader = block_at(pool, link);
		leader->group_oldest_us = leader->oldest_us;
	}
	leader->group_blocks++;
	block_at(pool, link)->leader = flight->board_leader;
}

static void add_block(struct net_stack *stack, const struct tcb *tcb)
{
	struct board_pool *pool = &stack->tcp->board;
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	uint32_t link = block_alloc(pool);
	struct board_block *block = block_at(pool, link);

	block->oldest_us = now32(stack);
	block->data = send_queue_seek(stack->tcp, tcb, tcb->snd_nxt);
	if (flight->board_tail != 0)
		block_at(pool, flight->board_tail)->next = link;
	else
		flight->board_head = link;
	flight->board_tail = link;
	join_group(pool, flight, link);
}

struct tcp_record *board_append(struct net_stack *stack, struct tcb *tcb)
{
	struct tcb_flight *flight = tcb_flight(stack->tcp, tcb);
	struct board_block *block;

	assert(tcb->flight != 0);
	if (tail_full(stack->tcp, tcb))
		add_block(stack, tcb);
	block = &stack->tcp->board.blocks[flight->board_tail - 1];
	flight->board_count++;
	return &block->records[block->end++];
}

/* --- marks --- */
static void add(const struct board_pool *pool, const struct tcp_record *record, int sacked,
		int lost)
{
	struct board_block *block = board_block_of(pool, record);
	struct board_block *leader = block_at(pool, block->leader);

	block->sacked = (uint8_t)(block->sacked + sacked);
	block->lost = (uint8_t)(block->lost + lost);
	if (leader == NULL)
		return;
	leader->group_sacked = (uint8_t)(leader->group_sacked + sacked);
	leader->group_lost = (uint8_t)(leader->group_lost + lost);
}

static void unmark(const struct tcp_layer *layer, struct tcb *tcb, struct tcp_record *record)
{
	if ((record->flags & RECORD_SACKED) != 0) {
		tcb->sacked_bytes -= record->length;
		add(&layer->board, record, -1, 0);
	} else if ((record->flags & RECORD_LOST) != 0) {
		tcb->lost_bytes -= record->length;
		add(&layer->board, record, 0, -1);
	}
	record->flags &= (uint8_t) ~(RECORD_SACKED | RECORD_LOST);
}

void board_mark_lost(const struct tcp_layer *layer, struct tcb *tcb, struct tcp_record *record)
{
	if ((record->flags & (RECORD_SACKED | RECORD_LOST)) != 0)
		return;
	record->flags |= RECORD_LOST;
	tcb->lost_bytes += record->length;
	add(&layer->board, record, 0, 1);
}

void board_mark_sacked(const struct tcp_layer *layer, struct tcb *tcb, struct tcp_record *record)
{
	assert((record->flags & RECORD_SACKED) == 0);
	unmark(layer, tcb, record);
	record->flags |= RECORD_SACKED;
	tcb->sacked_bytes += record->length;
	add(&layer->board, record, 1, 0);
}

void board_mark_pending(const struct tcp_layer *layer, struct tcb *tcb, struct tcp_record *record)
{
	struct board_block *block = board_block_of(&layer->board, record);
	struct board_block *leader = block_at(&layer->board, block->leader);

	unmark(layer, tcb, record);
	if (seq_lt(record->sent_us, block->oldest_us))
		block->oldest_us = record->sent_us;
	if (leader != NULL && seq_lt(record->sent_us, leader->group_oldest_us))
		leader->group_oldest_us = record->sent_us;
}

/* --- removal --- */
static void dissolve_group(const struct board_pool *pool, const struct board_block *leader)
{
	uint32_t link = leader->next;

	for (unsigned i = 1; i < leader->group_blocks; i++) {
		struct board_block *block = block_at(pool, link);

		block->leader = 0;
		link = block->next;
	}
}

void board_pop(struct tcp_layer *layer, struct tcb *tcb)
{
	struct tcb_flight *flight = tcb_flight(layer, tcb);
	uint32_t link = flight->board_head;
	struct board_block *block = &layer->board.blocks[link - 1];

	unmark(layer, tcb, &block->records[block->first]);
	flight->board_count--;
	if (++block->first < block->end)
		return;
	if (block->leader == link)
		dissolve_group(&layer->board, block);
	if (flight->board_leader == link)
		flight->board_leader = 0;
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
	flight->board_leader = 0;
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

/* --- searches --- */
struct board_block *board_head(const struct tcp_layer *layer, const struct tcb *tcb)
{
	return block_at(&layer->board, tcb_flight(layer, tcb)->board_head);
}

struct board_block *board_behind(const struct tcp_layer *layer, const struct board_block *block)
{
	return block_at(&layer->board, block->next);
}

static uint32_t first_seq(const struct board_block *block)
{
	return block->records[block->first].seq;
}

struct board_sum board_sum_of(struct board_block *block)
{
	return (struct board_sum){
		.block = block,
		.seq = first_seq(block),
		.oldest_us = block->oldest_us,
		.pending = (unsigned)block->end - block->first - block->sacked - block->lost,
		.sacked = block->sacked,
		.lost = block->lost,
	};
}

/* Of a complete group. */
static struct board_sum group_sum_of(struct board_block *leader)
{
	return (struct board_sum){
		.block = leader,
		.group = true,
		.seq = first_seq(leader),
		.oldest_us = leader->group_oldest_us,
		.pending = BOARD_GROUP * BOARD_RECORDS - leader->first - leader->group_sacked -
			   leader->group_lost,
		.sacked = leader->group_sacked,
		.lost = leader->group_lost,
	};
}

struct board_block *board_seek(struct net_stack *stack, struct board_block *block,
			       board_test *wanted, void *context)
{
	const struct board_pool *pool = &stack->tcp->board;

	while (block != NULL) {
		struct board_sum sum;

		stack->counters.tcp_board_steps++;
		if (block->skip != 0) {
			sum = group_sum_of(block);
			if (!wanted(&sum, context)) {
				block = block_at(pool, block->skip);
				continue;
			}
		}
		sum = board_sum_of(block);
		if (wanted(&sum, context))
			return block;
		block = block_at(pool, block->next);
	}
	return NULL;
}

struct tcp_record *board_find(struct net_stack *stack, struct board_block *block, uint32_t seq,
			      struct board_cursor *cursor)
{
	const struct board_pool *pool = &stack->tcp->board;
	struct board_block *next;

	if (block == NULL)
		return NULL;
	for (;; block = next) {
		stack->counters.tcp_board_steps++;
		next = block_at(pool, block->skip);
		if (next != NULL && seq_le(first_seq(next), seq))
			continue;
		next = block_at(pool, block->next);
		if (next == NULL || seq_lt(seq, first_seq(next)))
			break;
	}
	cursor->block = block;
	for (cursor->at = block->first; cursor->at < block->end; cursor->at++) {
		stack->counters.tcp_board_steps++;
		if (seq_le(seq, block->records[cursor->at].seq))
			return &block->records[cursor->at];
	}
	if (next == NULL)
		return NULL;
	cursor->block = next;
	cursor->at = next->first;
	return &next->records[cursor->at];
}

/* The first record from the cursor on whose flags under `mask` are `flags`, in a block that
 * passes. */
static struct tcp_record *find_flags(struct net_stack *stack, struct board_cursor *cursor,
				     board_test *wanted, uint8_t mask, uint8_t flags)
{
	for (;;) {
		struct board_block *block = cursor->block;

		for (; cursor->at < block->end; cursor->at++) {
			stack->counters.tcp_board_steps++;
			if ((block->records[cursor->at].flags & mask) == flags)
				return &block->records[cursor->at];
		}
		block = board_seek(stack, board_behind(stack->tcp, block), wanted, NULL);
		if (block == NULL)
			return NULL;
		cursor->block = block;
		cursor->at = block->first;
	}
}

static bool has_unsacked(const struct board_sum *sum, void *context)
{
	return sum->pending + sum->lost > 0;
}

static bool has_lost(const struct board_sum *sum, void *context)
{
	return sum->lost > 0;
}

struct tcp_record *board_unsacked(struct net_stack *stack, struct board_cursor *cursor)
{
	return find_flags(stack, cursor, has_unsacked, RECORD_SACKED, 0);
}

struct tcp_record *board_next_lost(struct net_stack *stack, struct board_cursor *cursor)
{
	cursor->at++;
	return find_flags(stack, cursor, has_lost, RECORD_LOST, RECORD_LOST);
}

struct tcp_record *board_first_lost(struct net_stack *stack, const struct tcb *tcb,
				    struct board_cursor *cursor)
{
	cursor->block = board_seek(stack, board_head(stack->tcp, tcb), has_lost, NULL);
	if (cursor->block == NULL)
		return NULL;
	cursor->at = cursor->block->first;
	return find_flags(stack, cursor, has_lost, RECORD_LOST, RECORD_LOST);
}

void board_set_oldest(struct net_stack *stack, struct board_block *block, uint32_t oldest_us)
{
	const struct board_pool *pool = &stack->tcp->board;
	struct board_block *leader = block_at(pool, block->leader);
	bool was_oldest = leader != NULL && leader->group_oldest_us == block->oldest_us;

	block->oldest_us = oldest_us;
	if (!was_oldest)
		return;
	leader->group_oldest_us = now32(stack);
	block = leader;
	for (unsigned i = 0; i < leader->group_blocks; i++) {
		stack->counters.tcp_board_steps++;
		if (board_sum_of(block).pending > 0 &&
		    seq_lt(block->oldest_us, leader->group_oldest_us))
			leader->group_oldest_us = block->oldest_us;
		block = block_at(pool, block->next);
	}
}

const struct chunk *board_data(const struct tcp_layer *layer, const struct tcb *tcb,
			       const struct tcp_record *record)
{
	const struct board_block *block = board_block_of(&layer->board, record);

	/* Of the head, records[0] may be gone, and the chunk with it. */
	return block == board_head(layer, tcb) ? tcb->send_head : block->data;
}
