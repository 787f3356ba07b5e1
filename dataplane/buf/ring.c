/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/buf/ring.h"

#include <rte_ring_elem.h>
#include <stdlib.h>

/* The rte_ring lives in plain memory and is set up without EAL, so that the simulator can have it
 * too. */
struct ring {
	uint32_t record_size;
	struct rte_ring *ring;
};

struct ring *ring_create(uint32_t slots, uint32_t record_size)
{
	uint32_t count = rte_align32pow2(slots + 1);
	ssize_t size = rte_ring_get_memsize_elem(record_size, count);
	struct ring *ring = size > 0 ? calloc(1, sizeof(*ring)) : NULL;

	if (!ring)
		return NULL;
	ring->record_size = record_size;
	ring->ring = aligned_alloc(RTE_CACHE_LINE_SIZE,
				   RTE_ALIGN_CEIL((size_t)size, RTE_CACHE_LINE_SIZE));
	if (!ring->ring ||
	    rte_ring_init(ring->ring, "ring", count, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0) {
		ring_destroy(ring);
		return NULL;
	}
	return ring;
}

void ring_destroy(struct ring *ring)
{
	if (!ring)
		return;
	free(ring->ring);
	free(ring);
}

bool ring_put(struct ring *ring, const void *record)
{
	return rte_ring_sp_enqueue_bulk_elem(ring->ring, record, ring->record_size, 1, NULL) == 1;
}

bool ring_get(struct ring *ring, void *record)
{
	return rte_ring_sc_dequeue_bulk_elem(ring->ring, record, ring->record_size, 1, NULL) == 1;
}

uint32_t ring_count(const struct ring *ring)
{
	return rte_ring_count(ring->ring);
}

uint32_t ring_room(const struct ring *ring)
{
	return rte_ring_free_count(ring->ring);
}
