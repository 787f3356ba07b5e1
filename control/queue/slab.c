/* SPDX-License-Identifier: GPL-3.0-or-later */
/* See slab.h. */
#include "control/queue/slab.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int slab_init(struct slab *slab, uint32_t record_size, uint32_t maximum)
{
	assert(maximum < UINT32_C(1) << 31);
	*slab = (struct slab){.record_size = record_size, .fresh = 1, .maximum = maximum};
	slab->blocks_max = (uint32_t)(((uint64_t)maximum + 1 + SLAB_BLOCK - 1) >> SLAB_BLOCK_SHIFT);
	slab->blocks = calloc(slab->blocks_max, sizeof(*slab->blocks));
	return slab->blocks ? 0 : -ENOMEM;
}

int slab_make_room(struct slab *slab, uint32_t more)
{
	const uint64_t limit = (UINT64_C(1) << 31) - SLAB_BLOCK;
	uint64_t maximum = 2 * ((uint64_t)slab->used + more);
	uint32_t blocks_max;
	uint8_t **blocks;

	if ((uint64_t)slab->used + more <= slab->maximum)
		return 0;
	if (maximum > limit)
		maximum = limit;
	if ((uint64_t)slab->used + more > maximum)
		return -ENOMEM;
	blocks_max = (uint32_t)((maximum + 1 + SLAB_BLOCK - 1) >> SLAB_BLOCK_SHIFT);
	if (blocks_max > slab->blocks_max) {
		blocks = realloc(slab->blocks, blocks_max * sizeof(*blocks));
		if (!blocks)
			return -ENOMEM;
		memset(blocks + slab->blocks_max, 0,
		       (blocks_max - slab->blocks_max) * sizeof(*blocks));
		slab->blocks = blocks;
		slab->blocks_max = blocks_max;
	}
	slab->maximum = (uint32_t)maximum;
	return 0;
}

void slab_finish(struct slab *slab)
{
	for (uint32_t i = 0; i < slab->block_count; i++)
		free(slab->blocks[i]);
	free(slab->blocks);
	*slab = (struct slab){0};
}

uint32_t slab_alloc(struct slab *slab)
{
	uint32_t index = slab->free;

	if (index) {
		memcpy(&slab->free, slab_at(slab, index), sizeof(slab->free));
		memset(slab_at(slab, index), 0, sizeof(slab->free));
		slab->used++;
		return index;
	}
	if (slab->fresh > slab->maximum)
		return 0;
	if (slab->fresh >> SLAB_BLOCK_SHIFT >= slab->block_count) {
		uint8_t *block = calloc(SLAB_BLOCK, slab->record_size);

		if (!block)
			return 0;
		slab->blocks[slab->block_count++] = block;
	}
	slab->used++;
	return slab->fresh++;
}

void slab_free(struct slab *slab, uint32_t index)
{
	assert(index && index < slab->fresh && slab->used);
	memset(slab_at(slab, index), 0, slab->record_size);
	memcpy(slab_at(slab, index), &slab->free, sizeof(slab->free));
	slab->free = index;
	slab->used--;
}

uint64_t slab_memory(const struct slab *slab)
{
	return (uint64_t)slab->block_count * SLAB_BLOCK * slab->record_size +
	       (uint64_t)slab->blocks_max * sizeof(*slab->blocks);
}

void slab_list_push(struct slab_list *list, const struct slab *slab, size_t offset, uint32_t index)
{
	struct slab_link *link = slab_link_at(slab, offset, index);

	link->next = 0;
	link->prev = list->tail;
	if (list->tail)
		slab_link_at(slab, offset, list->tail)->next = index;
	else
		list->head = index;
	list->tail = index;
	list->count++;
}

void slab_list_push_front(struct slab_list *list, const struct slab *slab, size_t offset,
			  uint32_t index)
{
	struct slab_link *link = slab_link_at(slab, offset, index);

	link->prev = 0;
	link->next = list->head;
	if (list->head)
		slab_link_at(slab, offset, list->head)->prev = index;
	else
		list->tail = index;
	list->head = index;
	list->count++;
}

void slab_list_insert(struct slab_list *list, const struct slab *slab, size_t offset,
		      uint32_t before, uint32_t index)
{
	struct slab_link *first = slab_link_at(slab, offset, before);
	struct slab_link *link = slab_link_at(slab, offset, index);

	link->prev = before;
	link->next = first->next;
	if (first->next)
		slab_link_at(slab, offset, first->next)->prev = index;
	else
		list->tail = index;
	first->next = index;
	list->count++;
}

void slab_list_remove(struct slab_list *list, const struct slab *slab, size_t offset,
		      uint32_t index)
{
	struct slab_link *link = slab_link_at(slab, offset, index);

	assert(list->count);
	if (link->prev)
		slab_link_at(slab, offset, link->prev)->next = link->next;
	else
		list->head = link->next;
	if (link->next)
		slab_link_at(slab, offset, link->next)->prev = link->prev;
	else
		list->tail = link->prev;
	*link = (struct slab_link){0};
	list->count--;
}

uint32_t slab_list_pop(struct slab_list *list, const struct slab *slab, size_t offset)
{
	uint32_t index = list->head;

	if (index)
		slab_list_remove(list, slab, offset, index);
	return index;
}
