/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The invariants of tcb.h, receive.c and connection.c; see tcp_check.h. */
#include "tests/sim/tcp_check.h"

#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/table.h"

#include <assert.h>
#include <string.h>

static void check_board(const struct tcp_layer *layer, const struct tcb *tcb)
{
	struct board_cursor cursor;
	uint32_t next = tcb->snd_una, sacked = 0, lost = 0, count = 0;

	for (struct tcp_record *r = board_first(layer, tcb, &cursor); r != NULL;
	     r = board_next(layer, &cursor)) {
		assert(r->seq == next && r->length > 0);
		assert((r->flags & (RECORD_SACKED | RECORD_LOST)) != (RECORD_SACKED | RECORD_LOST));
		next += r->length;
		sacked += (r->flags & RECORD_SACKED) != 0 ? r->length : 0;
		lost += (r->flags & RECORD_LOST) != 0 ? r->length : 0;
		count++;
	}
	assert(next == tcb->snd_nxt);
	assert(sacked == tcb->sacked_bytes && lost == tcb->lost_bytes);
	assert(count == tcb_flight(layer, tcb)->board_count && count <= BOARD_MAX);
}

static bool is_pending(const struct tcp_record *r)
{
	return (r->flags & (RECORD_SACKED | RECORD_LOST)) == 0;
}

/* What a block says of its records. @param queue the send queue from where the last block's data
 * begins */
static void check_block(const struct board_block *block, bool head, const struct chunk **queue)
{
	const struct chunk *c = block->data;
	unsigned sacked = 0, lost = 0;

	assert(block->first < block->end && (head || block->first == 0));
	assert(block->end == BOARD_RECORDS || block->next == 0);
	for (unsigned i = block->first; i < block->end; i++) {
		const struct tcp_record *r = &block->records[i];

		sacked += (r->flags & RECORD_SACKED) != 0;
		lost += (r->flags & RECORD_LOST) != 0;
		assert(!is_pending(r) || seq_le(block->oldest_us, r->sent_us));
	}
	assert(block->sacked == sacked && block->lost == lost);
	if (head || c == NULL)
		return;
	assert(seq_le(c->mark, block->records[0].seq) &&
	       seq_lt(block->records[0].seq, c->mark + c->length));
	for (; *queue != c; *queue = (*queue)->next)
		assert(*queue != NULL);
}

/* What a leader says of its group. @return blocks of the group */
static unsigned check_group(const struct tcp_layer *layer, const struct board_block *leader,
			    uint32_t link)
{
	const struct board_block *block = leader;
	unsigned blocks = 1, sacked = leader->sacked, lost = leader->lost;

	while (block->next != 0 && layer->board.blocks[block->next - 1].leader == link) {
		block = &layer->board.blocks[block->next - 1];
		blocks++;
		sacked += block->sacked;
		lost += block->lost;
		for (unsigned i = 0; i < block->end; i++)
			assert(!is_pending(&block->records[i]) ||
			       seq_le(leader->group_oldest_us, block->records[i].sent_us));
	}
	assert(leader->group_blocks == blocks && blocks <= BOARD_GROUP);
	assert(leader->group_sacked == sacked && leader->group_lost == lost);
	assert(leader->skip == 0 || (blocks == BOARD_GROUP && leader->skip == block->next));
	assert(leader->skip != 0 || block->next == 0);
	return blocks;
}

static void check_blocks(const struct tcp_layer *layer, const struct tcb *tcb)
{
	const struct tcb_flight *flight = tcb_flight(layer, tcb);
	unsigned leaderless = 0, rest = 0;
	const struct chunk *queue = tcb->send_head;
	uint32_t leader = 0;

	for (uint32_t link = flight->board_head; link != 0;) {
		const struct board_block *block = &layer->board.blocks[link - 1];

		check_block(block, link == flight->board_head, &queue);
		if (rest == 0 && block->leader == 0) {
			assert(leader == 0 && ++leaderless < BOARD_GROUP);
		} else if (rest == 0) {
			leader = link;
			rest = check_group(layer, block, link);
		}
		if (rest > 0) {
			assert(block->leader == leader && (link == leader || block->skip == 0));
			rest--;
		}
		link = block->next;
		assert(link != 0 || flight->board_leader == leader);
	}
	assert(flight->board_head != 0 || flight->board_leader == 0);
	assert(flight->resend_from == NULL);
}

static void check_send_queue(const struct tcb *tcb)
{
	uint32_t next = tcb->send_end;
	const struct chunk *c = tcb->send_head;

	if (c != NULL) {
		assert(seq_le(c->mark, tcb->snd_una) && seq_lt(tcb->snd_una, c->mark + c->length));
		next = c->mark;
	}
	for (; c != NULL; c = c->next) {
		assert(c->mark == next && c->length > 0);
		next += c->length;
		assert((c->next == NULL) == (c == tcb->send_tail));
	}
	assert(next == tcb->send_end);
}

/* @return chunks held */
static uint32_t check_receive(const struct tcp_layer *layer, const struct tcb *tcb)
{
	uint32_t fin = (tcb->flags & TCB_FIN_RECEIVED) != 0;
	uint32_t next = tcb->rcv_nxt - fin - tcb->recv_queued, chunks = 0, ooo = 0;

	assert((tcb->recv_head == NULL) == (tcb->recv_queued == 0));
	for (const struct chunk *c = tcb->recv_head; c != NULL; c = c->next, chunks++) {
		assert(seq_le(c->mark, next) && seq_lt(next, c->mark + c->length));
		next = c->mark + c->length;
	}
	assert(next == tcb->rcv_nxt - fin);
	for (const struct chunk *c = tcb->ooo_head; c != NULL; c = c->next, ooo++) {
		assert(seq_lt(next, c->mark) || (ooo > 0 && next == c->mark));
		next = c->mark + c->length;
	}
	assert(ooo == tcb->ooo_chunks && ooo <= layer->ooo_chunks_max);
	return chunks + ooo;
}

/* The wheel fires at the earliest deadline or before; a tick is 256 us. */
static void check_timer(const struct net_stack *stack, const struct tcb *tcb)
{
	const uint32_t deadlines[3] = {tcb->rtx_us, tcb->delack_us, tcb->close_us};

	for (unsigned i = 0; i < 3; i++) {
		int32_t ahead = (int32_t)(deadlines[i] - now32(stack));
		uint64_t due = stack->now_us + (uint64_t)(int64_t)(ahead > 0 ? ahead : 0);

		if (deadlines[i] == 0)
			continue;
		assert(wheel_is_armed(stack->tcp->wheel, tcb_index(stack->tcp, tcb)));
		assert((int32_t)(tcb->timer.tick - (uint32_t)(due >> WHEEL_TICK_SHIFT)) <= 1);
	}
}

/* What was shown to the peer is what there is room for; a FIN may lie on the edge. */
static void check_window(const struct tcp_layer *layer, const struct tcb *tcb)
{
	uint32_t fin = (tcb->flags & TCB_FIN_RECEIVED) != 0;

	assert(seq_le(tcb->rcv_nxt - fin, tcb->rcv_adv));
	assert(tcb->rcv_adv - (tcb->rcv_nxt - fin) <=
	       layer->receive_window + (1u << tcb->receive_scale));
}

/* @return scoreboard blocks held */
static uint32_t count_blocks(const struct tcp_layer *layer, const struct tcb *tcb)
{
	uint32_t count = 0;

	for (uint32_t link = tcb_flight(layer, tcb)->board_head; link != 0;
	     link = layer->board.blocks[link - 1].next)
		count++;
	return count;
}

static void check_connection(const struct net_stack *stack, const struct tcb *tcb)
{
	const struct tcp_layer *layer = stack->tcp;
	uint64_t hash = tcp_tuple_hash(&layer->table_key, &tcb->local, tcb->local_port,
				       &tcb->remote, tcb->remote_port);
	bool fin = (tcb->flags & TCB_FIN_SENT) != 0;

	assert(tcp_table_find(layer, hash, &tcb->local, tcb->local_port, &tcb->remote,
			      tcb->remote_port) == tcb);
	if (tcb->state == TCPS_SYN_SENT || tcb->state == TCPS_SYN_RCVD) {
		assert(tcb->rtx_us != 0 || (tcb->flags & TCB_LISTED) != 0);
		return;
	}
	assert(seq_le(tcb->snd_una, tcb->snd_nxt));
	assert(seq_le(tcb->snd_nxt, tcb->send_end + fin));
	assert(tcb->cwnd > 0 && tcb->mss > 0);
	check_board(layer, tcb);
	check_blocks(layer, tcb);
	check_send_queue(tcb);
	/* Something in flight, or waiting for the window, always has a deadline, or its turn to
	 * come. */
	if (tcb->snd_nxt != tcb->snd_una ||
	    (!fin && (tcb->send_end != tcb->snd_nxt || (tcb->flags & TCB_FIN_QUEUED) != 0)))
		assert(tcb->rtx_us != 0 || (tcb->flags & TCB_LISTED) != 0);
	/* Held for nothing only until a timer takes it. */
	assert(tcb->flight == 0 || tcb->snd_nxt != tcb->snd_una ||
	       wheel_is_armed(layer->wheel, tcb_index(layer, tcb)) ||
	       (tcb->flags & (TCB_DSACK_DUE | TCB_LISTED)) != 0);
	/* Who waits for pacing is woken. */
	assert((tcb->flags & TCB_PACED) == 0 ||
	       (tcb->flight != 0 && (wheel_is_armed(layer->wheel, tcb_index(layer, tcb)) ||
				     (tcb->flags & TCB_LISTED) != 0)));
	check_timer(stack, tcb);
	check_window(layer, tcb);
}

void tcp_check(const struct net_stack *stack)
{
	const struct tcp_layer *layer = stack->tcp;
	uint32_t used = 0, half_open = 0, chunks = 0, listed = 0, flights = 0;
	uint32_t on_lists = 0, blocks = 0, free = 0;
	static const struct tcb_flight none;

	for (uint32_t i = 0; i < layer->fresh; i++) {
		const struct tcb *tcb = &layer->tcbs[i];

		if (tcb->state == TCPS_CLOSED)
			continue;
		used++;
		half_open += tcb->state == TCPS_SYN_RCVD && (tcb->flags & TCB_ACTIVE) == 0;
		listed += (tcb->flags & TCB_LISTED) != 0;
		flights += tcb->flight != 0;
		blocks += count_blocks(layer, tcb);
		chunks += check_receive(layer, tcb);
		check_connection(stack, tcb);
	}
	for (unsigned i = 0; i < TCB_LISTS; i++)
		on_lists += layer->lists[i].count;
	assert(used == layer->used && used == layer->table.used);
	assert(half_open == layer->half_open && listed == on_lists);
	assert(chunks == layer->receive_chunks);
	assert(flights == layer->flights.used && blocks == layer->board.used);
	for (uint32_t link = layer->free; link != 0; link = layer->tcbs[link - 1].list_next)
		free++;
	assert(used + free == layer->fresh);
	assert(memcmp(&layer->flights.flights[0], &none, sizeof(none)) == 0);
}
