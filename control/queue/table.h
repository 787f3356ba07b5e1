/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A hash table from keys kept elsewhere to 32-bit indices: open addressing with linear probing,
 * eight bytes a slot. Growing is spread over the operations that follow, so that no single one pays
 * for it.
 *
 * Owner: one thread. Memory: its slots; between 2 and 5 slots an entry once it has grown.
 */
#ifndef MILLRACE_CONTROL_QUEUE_TABLE_H
#define MILLRACE_CONTROL_QUEUE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_slot {
	uint32_t hash;
	uint32_t index; /**< 0: empty; TABLE_GRAVE: was removed */
};

struct table_half {
	struct table_slot *slots;
	uint32_t mask;
	uint32_t filled; /**< entries and graves */
};

struct table {
	struct table_half now;
	struct table_half old; /**< being moved into `now`; slots NULL: none */
	uint32_t moved;	       /**< slots of `old` already moved */
	uint32_t count;
	/** @return whether the record `index` has this key */
	bool (*equal)(const void *context, uint32_t index, const void *key);
	const void *context;
};

/** @return 0 or -ENOMEM */
int table_init(struct table *table,
	       bool (*equal)(const void *context, uint32_t index, const void *key),
	       const void *context);
void table_finish(struct table *table);
/** @return the index, or 0 */
uint32_t table_find(const struct table *table, uint64_t hash, const void *key);
/** The key must not be there. @return 0 or -ENOMEM, and then nothing has changed */
int table_insert(struct table *table, uint64_t hash, uint32_t index);
/** The entry must be there. */
void table_remove(struct table *table, uint64_t hash, uint32_t index);
uint64_t table_memory(const struct table *table);

/** Of bytes, keyed: names come from strangers. */
uint64_t table_hash(uint64_t seed, const void *data, size_t size);

#endif
