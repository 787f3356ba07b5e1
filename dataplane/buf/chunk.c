/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/buf/chunk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

struct chunk_pool {
	struct chunk *free;
	uint32_t available;
	uint32_t count;
	uint16_t home;
	bool own_memory;
	struct chunk *memory;
};

struct chunk_pool *chunk_pool_create_in(uint16_t home, uint32_t count, void *memory)
{
	struct chunk_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->home = home;
	pool->count = count;
	pool->available = count;
	pool->memory = memory;
	for (uint32_t i = count; i-- > 0;) {
		struct chunk *chunk = &pool->memory[i];

		chunk->home = home;
		chunk->next = pool->free;
		pool->free = chunk;
		POISON(chunk->data, CHUNK_DATA);
	}
	return pool;
}

struct chunk_pool *chunk_pool_create(uint16_t home, uint32_t count)
{
	void *memory = aligned_alloc(CHUNK_SIZE, (size_t)count * CHUNK_SIZE);
	struct chunk_pool *pool = memory ? chunk_pool_create_in(home, count, memory) : NULL;

	if (pool)
		pool->own_memory = true;
	else
		free(memory);
	return pool;
}

void chunk_pool_destroy(struct chunk_pool *pool)
{
	if (!pool)
		return;
	UNPOISON(pool->memory, (size_t)pool->count * CHUNK_SIZE);
	if (pool->own_memory)
		free(pool->memory);
	free(pool);
}

uint32_t chunk_pool_available(const struct chunk_pool *pool)
{
	return pool->available;
}

uint32_t chunk_pool_count(const struct chunk_pool *pool)
{
	return pool->count;
}

uint16_t chunk_pool_home(const struct chunk_pool *pool)
{
	return pool->home;
}

struct chunk *chunk_alloc(struct chunk_pool *pool)
{
	struct chunk *chunk = pool->free;

	if (!chunk)
		return NULL;
	pool->free = chunk->next;
	pool->available--;
	UNPOISON(chunk->data, CHUNK_DATA);
	chunk->next = NULL;
	chunk->length = 0;
	chunk->mark = 0;
	return chunk;
}

void chunk_free(struct chunk_pool *pool, struct chunk *chunk)
{
	assert(chunk->home == pool->home);
	assert(pool->available < pool->count);
	chunk->next = pool->free;
	pool->free = chunk;
	pool->available++;
	POISON(chunk->data, CHUNK_DATA);
}

void chunk_list_push(struct chunk_list *list, struct chunk *chunk)
{
	chunk->next = NULL;
	if (list->tail)
		list->tail->next = chunk;
	else
		list->head = chunk;
	list->tail = chunk;
	list->size += chunk->length;
	list->chunks++;
}

int chunk_list_append(struct chunk_list *list, struct chunk_pool *pool, const void *data,
		      size_t size)
{
	const uint8_t *from = data;
	struct chunk *tail = list->tail;
	size_t room = tail ? CHUNK_DATA - tail->length : 0;

	if (size > room && (size - room + CHUNK_DATA - 1) / CHUNK_DATA > pool->available)
		return -ENOBUFS;
	if (room > size)
		room = size;
	if (room > 0) {
		memcpy(tail->data + tail->length, from, room);
		tail->length = (uint16_t)(tail->length + room);
		list->size += room;
		from += room;
		size -= room;
	}
	while (size > 0) {
		struct chunk *chunk = chunk_alloc(pool);
		size_t n = size < CHUNK_DATA ? size : CHUNK_DATA;

		assert(chunk); /* counted above */
		memcpy(chunk->data, from, n);
		chunk->length = (uint16_t)n;
		chunk_list_push(list, chunk);
		from += n;
		size -= n;
	}
	return 0;
}

void chunk_list_splice(struct chunk_list *to, struct chunk_list *from)
{
	if (!from->head)
		return;
	if (to->tail)
		to->tail->next = from->head;
	else
		to->head = from->head;
	to->tail = from->tail;
	to->size += from->size;
	to->chunks += from->chunks;
	*from = (struct chunk_list){0};
}

void chunk_list_free(struct chunk_list *list, struct chunk_pool *pool)
{
	struct chunk *chunk = list->head;

	while (chunk) {
		struct chunk *next = chunk->next;

		chunk_free(pool, chunk);
		chunk = next;
	}
	*list = (struct chunk_list){0};
}

size_t chunk_cursor_span(struct chunk_cursor *cursor, const uint8_t **data)
{
	while (cursor->chunk && cursor->offset == cursor->chunk->length) {
		cursor->chunk = cursor->chunk->next;
		cursor->offset = 0;
	}
	if (!cursor->chunk)
		return 0;
	*data = cursor->chunk->data + cursor->offset;
	return cursor->chunk->length - cursor->offset;
}

void chunk_cursor_advance(struct chunk_cursor *cursor, size_t size)
{
	assert(cursor->chunk && cursor->offset + size <= cursor->chunk->length);
	cursor->offset += (uint32_t)size;
}

size_t chunk_cursor_read(struct chunk_cursor *cursor, void *to, size_t size)
{
	uint8_t *out = to;
	size_t done = 0;

	while (done < size) {
		const uint8_t *data;
		size_t n = chunk_cursor_span(cursor, &data);

		if (n == 0)
			break;
		if (n > size - done)
			n = size - done;
		memcpy(out + done, data, n);
		chunk_cursor_advance(cursor, n);
		done += n;
	}
	return done;
}
