/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/queue/spool_internal.h"

#include <assert.h>

#define LINK offsetof(struct live_message, link)

uint32_t live_new(struct spool *spool)
{
	uint32_t handle = slab_alloc(&spool->live);

	if (handle == 0)
		return 0;
	struct live_message *live = spool_live(spool, handle);
	live->serial = ++spool->serial;
	live->slot = SPOOL_NO_SLOT;
	return handle;
}

void live_place(struct spool *spool, uint32_t handle, uint16_t slot, uint64_t begin, uint64_t bytes)
{
	struct live_message *live = spool_live(spool, handle);
	struct segment *segment = spool_segment(spool, slot);

	assert(live->slot == SPOOL_NO_SLOT && begin % 8 == 0 && bytes % 8 == 0);
	live->slot = slot;
	live->offset = (uint32_t)(begin / 8);
	live->units = (uint32_t)(bytes / 8);
	slab_list_push(&segment->live, &spool->live, LINK, handle);
	segment->live_bytes += bytes;
}

void live_unplace(struct spool *spool, uint32_t handle)
{
	struct live_message *live = spool_live(spool, handle);
	struct segment *segment;

	if (live->slot == SPOOL_NO_SLOT)
		return;
	segment = spool_segment(spool, live->slot);
	slab_list_remove(&segment->live, &spool->live, LINK, handle);
	assert(segment->live_bytes >= (uint64_t)live->units * 8);
	segment->live_bytes -= (uint64_t)live->units * 8;
	live->slot = SPOOL_NO_SLOT;
	spool->reclaim_due = true;
	spool->clean_due |= segment->live.count == 0;
}

void live_free(struct spool *spool, uint32_t handle)
{
	live_unplace(spool, handle);
	slab_free(&spool->live, handle);
}
