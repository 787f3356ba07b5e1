/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Records of one size, named by 32-bit indices, in blocks that never move; and lists that thread
 * through them. The queue's index is made of these: an index is half a pointer, and a block is
 * allocated once.
 *
 * Owner: one thread. Memory: blocks of SLAB_BLOCK records, made as needed up to a maximum fixed at
 * creation, never given back. Index 0 is never handed out and means "none". Always true: a free
 * record is all zero but for its first four bytes.
 */
#ifndef MILLRACE_CONTROL_QUEUE_SLAB_H
#define MILLRACE_CONTROL_QUEUE_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLAB_BLOCK_SHIFT 10
#define SLAB_BLOCK	 (1u << SLAB_BLOCK_SHIFT)

struct slab {
	uint8_t **blocks;
	uint32_t block_count;
	uint32_t blocks_max;
	uint32_t record_size;
	uint32_t fresh; /**< the lowest index never handed out */
	uint32_t free;	/**< head of the list of records given back; 0: none */
	uint32_t used;
	uint32_t maximum; /**< records */
};

/** @param maximum records at most, below 2^31 @return 0 or -ENOMEM */
int slab_init(struct slab *slab, uint32_t record_size, uint32_t maximum);
void slab_finish(struct slab *slab);
/** Allow for so many more than are in use now, at least. @return 0 or -ENOMEM */
int slab_make_room(struct slab *slab, uint32_t more);
/** @return the index of a zeroed record, or 0 when the maximum is reached or memory is short */
uint32_t slab_alloc(struct slab *slab);
void slab_free(struct slab *slab, uint32_t index);
/** Bytes held. */
uint64_t slab_memory(const struct slab *slab);

static inline void *slab_at(const struct slab *slab, uint32_t index)
{
	return slab->blocks[index >> SLAB_BLOCK_SHIFT] +
	       (size_t)(index & (SLAB_BLOCK - 1)) * slab->record_size;
}

/** Threads a record into one list at a time. */
struct slab_link {
	uint32_t next;
	uint32_t prev;
};

struct slab_list {
	uint32_t head;
	uint32_t tail;
	uint32_t count;
};

static inline struct slab_link *slab_link_at(const struct slab *slab, size_t offset, uint32_t index)
{
	return (struct slab_link *)((uint8_t *)slab_at(slab, index) + offset);
}

/** @param offset of the struct slab_link in the record */
void slab_list_push(struct slab_list *list, const struct slab *slab, size_t offset, uint32_t index);
void slab_list_push_front(struct slab_list *list, const struct slab *slab, size_t offset,
			  uint32_t index);
/** Behind `before`, which is in the list. */
void slab_list_insert(struct slab_list *list, const struct slab *slab, size_t offset,
		      uint32_t before, uint32_t index);
void slab_list_remove(struct slab_list *list, const struct slab *slab, size_t offset,
		      uint32_t index);
/** @return the first record, taken out; 0 when empty */
uint32_t slab_list_pop(struct slab_list *list, const struct slab *slab, size_t offset);

#endif
