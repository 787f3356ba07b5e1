/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Texts that many records share (reasons, classes of messages), each stored once, named by 32-bit
 * indices and counted by their users.
 *
 * Owner: one thread. Memory: one block a text; freed with its last user. Index 0 is the empty text.
 */
#ifndef MILLRACE_CONTROL_QUEUE_TEXT_H
#define MILLRACE_CONTROL_QUEUE_TEXT_H

#include "control/queue/slab.h"
#include "control/queue/table.h"

struct text_pool {
	struct slab slab;
	struct table table;
	uint64_t seed;
	uint64_t bytes;
};

/** @param maximum texts at most @return 0 or -ENOMEM */
int text_pool_init(struct text_pool *pool, uint32_t maximum, uint64_t seed);
void text_pool_finish(struct text_pool *pool);
/** Bytes may hold NUL. @return an index with one more user; 0 for size 0, or when memory is short
 */
uint32_t text_acquire(struct text_pool *pool, const void *bytes, size_t size);
/** @return the same index */
uint32_t text_again(struct text_pool *pool, uint32_t index);
void text_release(struct text_pool *pool, uint32_t index);
/** The bytes, followed by NUL. @param size or NULL */
const char *text_bytes(const struct text_pool *pool, uint32_t index, size_t *size);
uint64_t text_pool_memory(const struct text_pool *pool);

#endif
