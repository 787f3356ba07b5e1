/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Chunks: the fixed-size pieces that hold bytes between the wire and the disk (message bodies,
 * envelopes, TCP send and receive queues). One pool a core; allocation and release are a pointer
 * move on the owner's own free list.
 *
 * Owner: the core whose pool it is. A chunk that another core was lent or given goes home by ring
 * as a chunk_list and never into a foreign pool; `home` says where home is. Memory: one block,
 * reserved when the pool is made. Always true: in use + free = count; a free chunk is poisoned in
 * sanitizer builds.
 */
#ifndef MILLRACE_DATAPLANE_BUF_CHUNK_H
#define MILLRACE_DATAPLANE_BUF_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHUNK_SIZE   4096u
#define CHUNK_HEADER 16u
#define CHUNK_DATA   (CHUNK_SIZE - CHUNK_HEADER)

struct chunk {
	struct chunk *next;
	uint16_t home;	 /**< id of the pool it belongs to */
	uint16_t length; /**< bytes used, from data[0] */
	uint32_t mark;	 /**< free for the present holder (TCP: bytes already sent off the front) */
	uint8_t data[CHUNK_DATA];
};
_Static_assert(sizeof(struct chunk) == CHUNK_SIZE, "a chunk is one page");

/** Bytes in a chain of chunks, in order. All zero is the empty list. */
struct chunk_list {
	struct chunk *head;
	struct chunk *tail;
	uint64_t size;	 /**< bytes */
	uint32_t chunks; /**< number of chunks */
};

struct chunk_pool;

/**
 * @param home id that its chunks carry; unique in the process (workers 0.., shards after them)
 * @param count chunks, all allocated and touched now
 * @return NULL when memory is short
 */
struct chunk_pool *chunk_pool_create(uint16_t home, uint32_t count);
/** As chunk_pool_create, in memory that the caller provides (hugepages), count * CHUNK_SIZE, page
 * aligned. */
struct chunk_pool *chunk_pool_create_in(uint16_t home, uint32_t count, void *memory);
void chunk_pool_destroy(struct chunk_pool *pool);
uint32_t chunk_pool_available(const struct chunk_pool *pool);
uint32_t chunk_pool_count(const struct chunk_pool *pool);
uint16_t chunk_pool_home(const struct chunk_pool *pool);

/** @return an empty chunk, or NULL when the pool is empty */
struct chunk *chunk_alloc(struct chunk_pool *pool);
/** Release a chunk whose home is this pool. */
void chunk_free(struct chunk_pool *pool, struct chunk *chunk);

/** Append bytes. @return 0, or -ENOBUFS, and then the list is as it was. */
int chunk_list_append(struct chunk_list *list, struct chunk_pool *pool, const void *data,
		      size_t size);
/** Move all of `from` behind `to`; `from` is empty then. */
void chunk_list_splice(struct chunk_list *to, struct chunk_list *from);
/** Put a chunk (length set) at the end. */
void chunk_list_push(struct chunk_list *list, struct chunk *chunk);
/** Release every chunk, all of which belong to `pool`. */
void chunk_list_free(struct chunk_list *list, struct chunk_pool *pool);

/** A place in a list that is only read. */
struct chunk_cursor {
	const struct chunk *chunk;
	uint32_t offset; /**< in chunk->data */
};

static inline struct chunk_cursor chunk_list_begin(const struct chunk_list *list)
{
	return (struct chunk_cursor){.chunk = list->head, .offset = 0};
}

/** The contiguous bytes at the cursor. @return their number, 0 at the end */
size_t chunk_cursor_span(struct chunk_cursor *cursor, const uint8_t **data);
/** Move forward inside the span that chunk_cursor_span returned. */
void chunk_cursor_advance(struct chunk_cursor *cursor, size_t size);
/** Copy up to size bytes and advance. @return bytes copied */
size_t chunk_cursor_read(struct chunk_cursor *cursor, void *to, size_t size);

#endif
