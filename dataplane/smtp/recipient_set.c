/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/smtp/recipient_set.h"

#include <errno.h>
#include <string.h>

_Static_assert(RECIPIENT_SET_SLOTS * sizeof(uint32_t) <= CHUNK_DATA, "a table is a chunk");

static uint32_t entry_of(uint64_t hash)
{
	uint32_t entry = (uint32_t)(hash >> 32);

	return entry ? entry : 1;
}

/** The slot that holds the entry, or the empty one where it would go; a table is never full. */
static uint32_t *slot_of(struct chunk *table, uint64_t hash)
{
	uint32_t *slots = (uint32_t *)(void *)table->data;
	unsigned at = (uint32_t)hash % RECIPIENT_SET_SLOTS;

	while (slots[at] != 0 && slots[at] != entry_of(hash))
		at = at + 1 == RECIPIENT_SET_SLOTS ? 0 : at + 1;
	return &slots[at];
}

bool recipient_set_has(const struct recipient_set *set, uint64_t hash)
{
	for (struct chunk *table = set->tables.head; table; table = table->next)
		if (*slot_of(table, hash) != 0)
			return true;
	return false;
}

int recipient_set_add(struct recipient_set *set, struct chunk_pool *pool, uint64_t hash)
{
	struct chunk *table = set->tables.tail;

	if (!table || table->mark >= RECIPIENT_SET_LOAD) {
		table = chunk_alloc(pool);
		if (!table)
			return -ENOBUFS;
		memset(table->data, 0, CHUNK_DATA);
		chunk_list_push(&set->tables, table);
	}
	*slot_of(table, hash) = entry_of(hash);
	table->mark++;
	return 0;
}

void recipient_set_free(struct recipient_set *set, struct chunk_pool *pool)
{
	chunk_list_free(&set->tables, pool);
}
