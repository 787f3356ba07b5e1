/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The connection table; see table.h. */
#include "dataplane/tcp/table.h"

#include "dataplane/tcp/layer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The line where a tag is looked for first: any number of lines gets an even share. */
static uint32_t home_of(const struct tcp_table *table, uint32_t tag)
{
	return (uint32_t)((uint64_t)tag * table->count >> 32);
}

static uint32_t line_after(const struct tcp_table *table, uint32_t at)
{
	return at + 1 < table->count ? at + 1 : 0;
}

/* @return lines from one to another, going forward */
static uint32_t distance(const struct tcp_table *table, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : to + table->count - from;
}

int tcp_table_init(struct tcp_table *table, uint32_t entries)
{
	/* Seven slots for four entries: one line in 25 overflows into the next, and an idle
	 * connection stays below 320 bytes. */
	uint32_t lines = (uint32_t)(((uint64_t)entries * 7 / 4 + TABLE_LINE) / TABLE_LINE);

	if (lines < 2)
		lines = 2;
	table->lines = aligned_alloc(64, (size_t)lines * sizeof(struct table_line));
	if (table->lines == NULL)
		return -ENOMEM;
	memset(table->lines, 0, (size_t)lines * sizeof(struct table_line));
	table->count = lines;
	table->used = 0;
	return 0;
}

void tcp_table_free(struct tcp_table *table)
{
	free(table->lines);
	table->lines = NULL;
}

uint64_t tcp_tuple_hash(const struct hash_key *key, const struct ip_address *local,
			uint16_t local_port, const struct ip_address *remote, uint16_t remote_port)
{
	uint64_t ports = (uint64_t)local_port << 16 | remote_port;
	uint64_t words[5];
	uint64_t hash;

	if (ip_is_v4(local) &&
	    ip_is_v4(remote)) { /* two words say it; their number is hashed too */
		memcpy(words, local->bytes + 12, 4);
		memcpy((uint8_t *)words + 4, remote->bytes + 12, 4);
		words[1] = ports;
		hash = hash_words(key, words, 2);
	} else {
		memcpy(words, local->bytes, 16);
		memcpy(words + 2, remote->bytes, 16);
		words[4] = ports;
		hash = hash_words(key, words, 5);
	}
	return hash != 0 ? hash : 1;
}

static bool same_tuple(const struct tcb *tcb, const struct ip_address *local, uint16_t local_port,
		       const struct ip_address *remote, uint16_t remote_port)
{
	return tcb->remote_port == remote_port && tcb->local_port == local_port &&
	       ip_equal(&tcb->remote, remote) && ip_equal(&tcb->local, local);
}

struct tcb *tcp_table_find(const struct tcp_layer *layer, uint64_t hash,
			   const struct ip_address *local, uint16_t local_port,
			   const struct ip_address *remote, uint16_t remote_port)
{
	const struct tcp_table *table = &layer->table;
	uint32_t tag = (uint32_t)hash;
	uint32_t at = home_of(table, tag);

	for (;; at = line_after(table, at)) { /* never full: an empty slot ends it */
		const struct table_line *line = &table->lines[at];

		for (unsigned i = 0; i < TABLE_LINE; i++) {
			struct tcb *tcb;

			if (line->slots[i].index == 0)
				return NULL; /* slots of a line are filled from the front */
			if (line->slots[i].tag != tag)
				continue;
			tcb = &layer->tcbs[line->slots[i].index - 1];
			if (same_tuple(tcb, local, local_port, remote, remote_port))
				return tcb;
		}
	}
}

/* By the tag alone: the few that share one are asked for in vain. */
static const struct tcb *expected(const struct tcp_layer *layer, uint64_t hash)
{
	const struct tcp_table *table = &layer->table;
	const struct table_line *line = &table->lines[home_of(table, (uint32_t)hash)];

	for (unsigned i = 0; i < TABLE_LINE && line->slots[i].index != 0; i++)
		if (line->slots[i].tag == (uint32_t)hash)
			return &layer->tcbs[line->slots[i].index - 1];
	return NULL;
}

void tcp_expect(const struct net_stack *stack, uint64_t hash, enum tcp_expectation what)
{
	const struct tcp_layer *layer = stack->tcp;
	const struct tcb *tcb;

	if (what == TCP_EXPECT_LINE) {
		__builtin_prefetch(&layer->table.lines[home_of(&layer->table, (uint32_t)hash)]);
		return;
	}
	tcb = expected(layer, hash);
	if (tcb == NULL)
		return;
	if (what == TCP_EXPECT_TCB) {
		tcb_prefetch(tcb);
		return;
	}
	__builtin_prefetch(tcb_cold(layer, tcb));
	for (unsigned i = 0; i < sizeof(struct tcb_flight); i += 64)
		__builtin_prefetch((const uint8_t *)tcb_flight(layer, tcb) + i);
}

void tcp_table_insert(struct tcp_table *table, uint64_t hash, uint32_t index)
{
	uint32_t tag = (uint32_t)hash;
	uint32_t at = home_of(table, tag);

	for (;; at = line_after(table, at)) {
		struct table_line *line = &table->lines[at];

		for (unsigned i = 0; i < TABLE_LINE; i++) {
			if (line->slots[i].index != 0)
				continue;
			line->slots[i].tag = tag;
			line->slots[i].index = index + 1;
			table->used++;
			return;
		}
	}
}

/* Take a slot out of a line and close the gap. */
static void close_gap(struct table_line *line, unsigned slot)
{
	for (; slot + 1 < TABLE_LINE; slot++)
		line->slots[slot] = line->slots[slot + 1];
	line->slots[TABLE_LINE - 1].index = 0;
	line->slots[TABLE_LINE - 1].tag = 0;
}

/* The line `hole` was full and has one free slot now: bring back what overflowed it. */
static void pull_back(struct tcp_table *table, uint32_t hole)
{
	for (uint32_t at = line_after(table, hole); at != hole; at = line_after(table, at)) {
		struct table_line *line = &table->lines[at];
		bool full = line->slots[TABLE_LINE - 1].index != 0;
		bool moved = false;

		for (unsigned i = 0; i < TABLE_LINE && line->slots[i].index != 0; i++) {
			uint32_t home = home_of(table, line->slots[i].tag);

			/* It may move to the hole when its home is not behind the hole. */
			if (distance(table, home, at) < distance(table, hole, at))
				continue;
			table->lines[hole].slots[TABLE_LINE - 1] = line->slots[i];
			close_gap(line, i);
			moved = true;
			break;
		}
		if (!full)
			return;
		if (moved)
			hole = at;
	}
}

void tcp_table_remove(struct tcp_table *table, uint64_t hash, uint32_t index)
{
	uint32_t at = home_of(table, (uint32_t)hash);

	for (;; at = line_after(table, at)) {
		struct table_line *line = &table->lines[at];
		bool full = line->slots[TABLE_LINE - 1].index != 0;

		for (unsigned i = 0; i < TABLE_LINE; i++) {
			if (line->slots[i].index != index + 1)
				continue;
			close_gap(line, i);
			table->used--;
			if (full)
				pull_back(table, at);
			return;
		}
		assert(full); /* it is in the table */
	}
}
