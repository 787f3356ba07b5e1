/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A hierarchical timing wheel over the records of a slab (Varghese and Lauck, 1987): four levels of
 * 256 slots. The cost of adding, removing and falling due does not depend on how many records wait.
 *
 * Owner: one thread. Memory: heads only; the links are in the records.
 * Always true: a record falls due never early and at most one tick late, unless it had to wait for
 * schedule_pop's bound on work (then schedule_next says "now").
 */
#ifndef MILLRACE_CONTROL_QUEUE_SCHEDULE_H
#define MILLRACE_CONTROL_QUEUE_SCHEDULE_H

#include "control/queue/slab.h"

#define SCHEDULE_LEVELS 4
#define SCHEDULE_SLOTS	256

/** In the record. `link` may serve other lists while the record is not on the wheel. */
struct schedule_link {
	struct slab_link link;
	uint32_t due; /**< tick, its low bits: ticks wrap after weeks */
};

struct schedule {
	const struct slab *slab;
	size_t offset;	     /**< of the struct schedule_link in the record */
	unsigned tick_shift; /**< a tick is 1 << tick_shift microseconds */
	uint64_t origin_us;  /**< monotonic time of tick 0 */
	uint64_t tick;	     /**< every record due before it is in `due` */
	uint32_t count;
	bool cascading; /**< `moving` is being spread over the lower levels */
	/** Circular lists; the last two are `moving` and `due`. */
	struct slab_link heads[SCHEDULE_LEVELS * SCHEDULE_SLOTS + 2];
	uint64_t occupied[SCHEDULE_LEVELS][SCHEDULE_SLOTS / 64];
};

void schedule_init(struct schedule *schedule, const struct slab *slab, size_t offset,
		   unsigned tick_shift, uint64_t now_us);
/** @param due_us monotonic; one in the past falls due at once; at most 2^31 ticks ahead */
void schedule_add(struct schedule *schedule, uint32_t index, uint64_t due_us);
void schedule_remove(struct schedule *schedule, uint32_t index);
/** @return a record that is due, taken out; 0: none, or see schedule_next */
uint32_t schedule_pop(struct schedule *schedule, uint64_t now_us);
/** When schedule_pop should next be called; a lower bound. UINT64_MAX when empty. */
uint64_t schedule_next(const struct schedule *schedule);
/** Of a record on the wheel. */
uint64_t schedule_due_us(const struct schedule *schedule, uint32_t index);

#endif
