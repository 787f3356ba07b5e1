/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * TIME-WAIT (RFC 9293, 3.3.2 and MUST-13): 32 bytes a connection in a ring, since all wait equally
 * long. The keyed 64-bit hash of the tuple stands for the tuple. RST is ignored (RFC 1337); a SYN
 * that is provably newer opens the connection anew (RFC 6191, RFC 9293 MAY-2). When the ring is
 * full the oldest gives way.
 *
 * Always true: head..tail are in order of expiry; a record is in its bucket's chain exactly while
 * its hash is not 0.
 */
#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/table.h"

#include <errno.h>
#include <stdlib.h>

int time_wait_init(struct time_wait_table *table, uint32_t records)
{
	uint32_t capacity = 64;

	while (capacity < records && capacity < 1u << 28)
		capacity *= 2;
	*table = (struct time_wait_table){
		.records = aligned_alloc(64, (size_t)capacity * sizeof(struct time_wait_record)),
		.buckets = calloc(capacity, sizeof(uint32_t)),
		.capacity = capacity,
		.bucket_mask = capacity - 1,
	};
	return table->records != NULL && table->buckets != NULL ? 0 : -ENOMEM;
}

void time_wait_free(struct time_wait_table *table)
{
	free(table->records);
	free(table->buckets);
	*table = (struct time_wait_table){0};
}

static struct time_wait_record *find(const struct time_wait_table *table, uint64_t hash)
{
	uint32_t link = table->buckets[hash & table->bucket_mask];

	while (link != 0) {
		struct time_wait_record *r = &table->records[link - 1];

		if (r->hash == hash)
			return r;
		link = r->next;
	}
	return NULL;
}

static void kill(struct time_wait_table *table, struct time_wait_record *r)
{
	uint32_t *link = &table->buckets[r->hash & table->bucket_mask];
	uint32_t self = (uint32_t)(r - table->records) + 1;

	while (*link != self)
		link = &table->records[*link - 1].next;
	*link = r->next;
	r->hash = 0;
	table->live--;
}

static void drop_oldest(struct time_wait_table *table)
{
	struct time_wait_record *r = &table->records[table->head & (table->capacity - 1)];

	if (r->hash != 0)
		kill(table, r);
	table->head++;
}

/* At the end of the ring, so for a full 2 MSL from now. */
static void put(struct net_stack *stack, const struct time_wait_record *from)
{
	struct time_wait_table *table = &stack->tcp->time_wait;
	struct time_wait_record copy = *from;
	struct time_wait_record *r;
	uint32_t at;

	if (table->tail - table->head == table->capacity)
		drop_oldest(table);
	at = table->tail++ & (table->capacity - 1);
	r = &table->records[at];
	copy.expires_ms = now_ms(stack) + TCP_TIME_WAIT_MS;
	copy.next = table->buckets[copy.hash & table->bucket_mask];
	*r = copy;
	table->buckets[copy.hash & table->bucket_mask] = at + 1;
	table->live++;
}

bool time_wait_has(const struct tcp_layer *layer, uint64_t hash)
{
	return find(&layer->time_wait, hash) != NULL;
}

void time_wait_add(struct net_stack *stack, const struct tcb *tcb)
{
	struct tcp_layer *layer = stack->tcp;
	bool timestamps = (tcb->flags & TCB_TIMESTAMPS) != 0;
	struct time_wait_record r = {
		.hash = tcp_tuple_hash(&layer->table_key, &tcb->local, tcb->local_port,
				       &tcb->remote, tcb->remote_port),
		.snd_nxt = tcb->snd_nxt,
		.rcv_nxt = tcb->rcv_nxt,
		.ts_recent = timestamps ? tcb->ts_recent : 0,
		.ts_offset = timestamps ? tcb->ts_offset : 0,
	};
	struct time_wait_record *old = find(&layer->time_wait, r.hash);

	if (old != NULL)
		kill(&layer->time_wait, old);
	put(stack, &r);
}

bool time_wait_input(struct net_stack *stack, const struct net_packet *packet,
		     const struct tcp_segment *s, uint64_t hash)
{
	struct time_wait_table *table = &stack->tcp->time_wait;
	struct time_wait_record *r = table->live != 0 ? find(table, hash) : NULL;
	bool timestamps;

	if (r == NULL)
		return false;
	if ((s->flags & TCP_RST) != 0) { /* RFC 1337 */
		stack->counters.tcp_drop_state++;
		return true;
	}
	timestamps = (r->ts_recent | r->ts_offset) != 0;
	if ((s->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		/* RFC 6191, 2. */
		bool newer = seq_lt(r->rcv_nxt, s->seq);

		if (timestamps && s->has_timestamp)
			newer = seq_lt(r->ts_recent, s->ts_val) ||
				(r->ts_recent == s->ts_val && newer);
		else if (!timestamps && s->has_timestamp)
			newer = true;

		/* Only where it will open a connection: a stranger's SYN ends nothing. */
		if (newer && tcp_find_listener(stack->tcp, &packet->destination,
					       s->destination_port) != NULL) {
			kill(table, r);
			return false;
		}
	}
	/* In order and empty: nothing to say, or two ends in TIME-WAIT would answer each other's
	 * ACKs for a minute. */
	if (tcp_segment_span(s) == 0 && s->seq == r->rcv_nxt)
		return true;
	if (!tcp_may_answer(stack, &packet->source)) {
		stack->counters.tcp_answer_limited++;
		return true;
	}
	tcp_reply_ack(stack, packet, s, r->snd_nxt, r->rcv_nxt, timestamps,
		      now_ms(stack) + r->ts_offset, r->ts_recent);
	/* The peer's very FIN: our ACK was lost, the time begins anew. */
	if ((s->flags & TCP_FIN) != 0 && s->seq + tcp_segment_span(s) == r->rcv_nxt) {
		struct time_wait_record copy = *r;

		kill(table, r);
		put(stack, &copy);
	}
	return true;
}

unsigned time_wait_expire(struct net_stack *stack, unsigned budget)
{
	struct time_wait_table *table = &stack->tcp->time_wait;
	unsigned count = 0;

	while (count < budget && table->head != table->tail) {
		const struct time_wait_record *r =
			&table->records[table->head & (table->capacity - 1)];

		if (r->hash != 0 && seq_lt(now_ms(stack), r->expires_ms))
			break;
		drop_oldest(table);
		count++;
	}
	return count;
}

uint64_t time_wait_next(const struct net_stack *stack)
{
	const struct time_wait_table *table = &stack->tcp->time_wait;
	const struct time_wait_record *r = &table->records[table->head & (table->capacity - 1)];
	int32_t left;

	if (table->head == table->tail)
		return MR_NEVER;
	left = r->hash != 0 ? (int32_t)(r->expires_ms - now_ms(stack)) : 0;
	return stack->now_us - stack->now_us % 1000 + (left > 0 ? (uint64_t)left * 1000 : 0);
}
