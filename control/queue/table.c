/* SPDX-License-Identifier: GPL-3.0-or-later */
/* See table.h. The hash is SipHash-1-3 (Aumasson and Bernstein, 2012) with one 64-bit key used
 * twice. */
#include "control/queue/table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_GRAVE UINT32_MAX
#define FIRST_SLOTS 1024u
/** Slots of the old half moved by each insertion or removal. */
#define MOVE_STEP 16u

static int half_init(struct table_half *half, uint32_t slots)
{
	half->slots = calloc(slots, sizeof(*half->slots));
	half->mask = slots - 1;
	half->filled = 0;
	return half->slots ? 0 : -ENOMEM;
}

int table_init(struct table *table,
	       bool (*equal)(const void *context, uint32_t index, const void *key),
	       const void *context)
{
	*table = (struct table){.equal = equal, .context = context};
	return half_init(&table->now, FIRST_SLOTS);
}

void table_finish(struct table *table)
{
	free(table->now.slots);
	free(table->old.slots);
	*table = (struct table){0};
}

static uint32_t fold(uint64_t hash)
{
	return (uint32_t)(hash ^ hash >> 32);
}

static uint32_t half_find(const struct table *table, const struct table_half *half, uint32_t hash,
			  const void *key)
{
	if (!half->slots)
		return 0;
	for (uint32_t i = hash & half->mask; half->slots[i].index; i = (i + 1) & half->mask) {
		const struct table_slot *slot = &half->slots[i];

		if (slot->index != TABLE_GRAVE && slot->hash == hash &&
		    table->equal(table->context, slot->index, key))
			return slot->index;
	}
	return 0;
}

uint32_t table_find(const struct table *table, uint64_t hash, const void *key)
{
	uint32_t index = half_find(table, &table->now, fold(hash), key);

	return index ? index : half_find(table, &table->old, fold(hash), key);
}

static void half_put(struct table_half *half, uint32_t hash, uint32_t index)
{
	uint32_t i = hash & half->mask;

	while (half->slots[i].index)
		i = (i + 1) & half->mask;
	half->slots[i] = (struct table_slot){hash, index};
	half->filled++;
}

static bool half_drop(struct table_half *half, uint32_t hash, uint32_t index)
{
	if (!half->slots)
		return false;
	for (uint32_t i = hash & half->mask; half->slots[i].index; i = (i + 1) & half->mask) {
		if (half->slots[i].index == index) {
			half->slots[i].index = TABLE_GRAVE;
			return true;
		}
	}
	return false;
}

static void move_some(struct table *table)
{
	uint32_t end;

	if (!table->old.slots)
		return;
	end = table->moved + MOVE_STEP;
	for (; table->moved < end && table->moved <= table->old.mask; table->moved++) {
		struct table_slot *slot = &table->old.slots[table->moved];

		if (slot->index && slot->index != TABLE_GRAVE) {
			half_put(&table->now, slot->hash, slot->index);
			slot->index = TABLE_GRAVE;
		}
	}
	if (table->moved > table->old.mask) {
		free(table->old.slots);
		table->old = (struct table_half){0};
	}
}

/** Room for one more in `now`, at most 3/4 full. Graves go when it is rebuilt. */
static int make_room(struct table *table)
{
	struct table_half next;
	uint32_t slots = table->now.mask + 1;

	if (table->now.filled + 1 <= slots / 4 * 3)
		return 0;
	while (table->old.slots)
		move_some(table);
	if (table->count > slots / 4)
		slots *= 2;
	if (half_init(&next, slots) < 0)
		return -ENOMEM;
	table->old = table->now;
	table->now = next;
	table->moved = 0;
	return 0;
}

int table_insert(struct table *table, uint64_t hash, uint32_t index)
{
	int result = make_room(table);

	if (result < 0)
		return result;
	half_put(&table->now, fold(hash), index);
	table->count++;
	move_some(table);
	return 0;
}

void table_remove(struct table *table, uint64_t hash, uint32_t index)
{
	bool found = half_drop(&table->now, fold(hash), index) ||
		     half_drop(&table->old, fold(hash), index);

	assert(found);
	(void)found;
	table->count--;
	move_some(table);
}

uint64_t table_memory(const struct table *table)
{
	uint64_t bytes = ((uint64_t)table->now.mask + 1) * sizeof(struct table_slot);

	if (table->old.slots)
		bytes += ((uint64_t)table->old.mask + 1) * sizeof(struct table_slot);
	return bytes;
}

#define ROTATE(x, b) ((x) << (b) | (x) >> (64 - (b)))

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = ROTATE(v[1], 13) ^ v[0];
	v[0] = ROTATE(v[0], 32);
	v[2] += v[3];
	v[3] = ROTATE(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = ROTATE(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = ROTATE(v[1], 17) ^ v[2];
	v[2] = ROTATE(v[2], 32);
}

uint64_t table_hash(uint64_t seed, const void *data, size_t size)
{
	uint64_t v[4] = {seed ^ UINT64_C(0x736f6d6570736575), seed ^ UINT64_C(0x646f72616e646f6d),
			 seed ^ UINT64_C(0x6c7967656e657261), seed ^ UINT64_C(0x7465646279746573)};
	const uint8_t *at = data;
	uint64_t word;

	for (size_t left = size;; left -= 8, at += 8) {
		word = 0;
		memcpy(&word, at, left < 8 ? left : 8);
		if (left < 8)
			word |= (uint64_t)size << 56;
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
		if (left < 8)
			break;
	}
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
