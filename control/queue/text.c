/* SPDX-License-Identifier: GPL-3.0-or-later */
/* See text.h. */
#include "control/queue/text.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct text {
	uint32_t users;
	uint32_t size;
	char *bytes;
};

struct key {
	const void *bytes;
	size_t size;
};

static bool text_equal(const void *context, uint32_t index, const void *key)
{
	const struct text *text = slab_at(context, index);
	const struct key *k = key;

	return text->size == k->size && !memcmp(text->bytes, k->bytes, k->size);
}

int text_pool_init(struct text_pool *pool, uint32_t maximum, uint64_t seed)
{
	*pool = (struct text_pool){.seed = seed};
	if (slab_init(&pool->slab, sizeof(struct text), maximum) < 0)
		return -ENOMEM;
	if (table_init(&pool->table, text_equal, &pool->slab) < 0) {
		slab_finish(&pool->slab);
		return -ENOMEM;
	}
	return 0;
}

void text_pool_finish(struct text_pool *pool)
{
	for (uint32_t i = 1; pool->slab.fresh && i < pool->slab.fresh; i++) {
		struct text *text = slab_at(&pool->slab, i);

		free(text->bytes);
	}
	table_finish(&pool->table);
	slab_finish(&pool->slab);
}

uint32_t text_acquire(struct text_pool *pool, const void *bytes, size_t size)
{
	struct key key = {bytes, size};
	uint64_t hash;
	uint32_t index;
	struct text *text;

	if (size == 0 || size > UINT32_MAX / 2)
		return 0;
	hash = table_hash(pool->seed, bytes, size);
	index = table_find(&pool->table, hash, &key);
	if (index)
		return text_again(pool, index);
	index = slab_alloc(&pool->slab);
	if (!index)
		return 0;
	text = slab_at(&pool->slab, index);
	text->bytes = malloc(size + 1);
	if (!text->bytes || table_insert(&pool->table, hash, index) < 0) {
		free(text->bytes);
		slab_free(&pool->slab, index);
		return 0;
	}
	memcpy(text->bytes, bytes, size);
	text->bytes[size] = '\0';
	text->size = (uint32_t)size;
	text->users = 1;
	pool->bytes += size + 1;
	return index;
}

uint32_t text_again(struct text_pool *pool, uint32_t index)
{
	if (index)
		((struct text *)slab_at(&pool->slab, index))->users++;
	return index;
}

void text_release(struct text_pool *pool, uint32_t index)
{
	struct text *text;

	if (!index)
		return;
	text = slab_at(&pool->slab, index);
	assert(text->users);
	if (--text->users)
		return;
	table_remove(&pool->table, table_hash(pool->seed, text->bytes, text->size), index);
	pool->bytes -= text->size + 1;
	free(text->bytes);
	slab_free(&pool->slab, index);
}

const char *text_bytes(const struct text_pool *pool, uint32_t index, size_t *size)
{
	const struct text *text;

	if (!index) {
		if (size)
			*size = 0;
		return "";
	}
	text = slab_at(&pool->slab, index);
	if (size)
		*size = text->size;
	return text->bytes;
}

uint64_t text_pool_memory(const struct text_pool *pool)
{
	return slab_memory(&pool->slab) + table_memory(&pool->table) + pool->bytes;
}
