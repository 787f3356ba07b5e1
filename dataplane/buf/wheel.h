/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A hierarchical timer wheel for objects that are named by a 32-bit index: one node an object,
 * inside the object.
 *
 * A tick is 256 us; three levels of 256 slots reach 71 minutes, and what is due later waits in the
 * last slot and is put back when that comes round. A timer never fires before its deadline and at
 * most one tick after it (plus the distance between two calls of wheel_expire). Moving a deadline
 * to later is best done lazily: store it in the object, let the node fire, and arm it again then.
 *
 * Owner: one core. Memory: the nodes are the caller's; the wheel is one block made at creation.
 * After Varghese and Lauck, "Hashed and hierarchical timing wheels" (1987), scheme 7. Always true:
 * a zeroed node is idle; occupied bits say exactly which slots have nodes.
 */
#ifndef MILLRACE_DATAPLANE_BUF_WHEEL_H
#define MILLRACE_DATAPLANE_BUF_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WHEEL_TICK_SHIFT 8 /* 1 tick = 256 us */

struct wheel_node {
	uint32_t next; /**< index + 1 of the next in the slot, 0: last */
	uint32_t prev; /**< index + 1 of the previous; with bit 31, the slot itself; 0: idle */
	uint32_t tick; /**< low 32 bits of the tick that it is due in */
};

struct wheel;

/**
 * @param nodes the node of object 0
 * @param stride bytes from one object's node to the next one's
 * @param now_us monotonic
 * @return NULL when memory is short
 */
struct wheel *wheel_create(void *nodes, size_t stride, uint64_t now_us);
void wheel_destroy(struct wheel *wheel);

/** Arm or move. A deadline that has passed fires in the next tick. @param index below 2^31 - 1 */
void wheel_arm(struct wheel *wheel, uint32_t index, uint64_t deadline_us);
/** As wheel_arm, but a node that fires earlier anyhow is left alone: the common case of a deadline
 * that moves on. */
void wheel_arm_lazily(struct wheel *wheel, uint32_t index, uint64_t deadline_us);
/** Harmless when idle. */
void wheel_cancel(struct wheel *wheel, uint32_t index);
bool wheel_is_armed(const struct wheel *wheel, uint32_t index);

/**
 * Fire what is due: its node is idle when `fire` is called, which may arm and cancel any node.
 * @param budget nodes touched at most; the rest comes with the next call
 * @return number fired
 */
unsigned wheel_expire(struct wheel *wheel, uint64_t now_us, unsigned budget,
		      void (*fire)(void *context, uint32_t index), void *context);
/** When wheel_expire has something to do next (not later than the first deadline); UINT64_MAX:
 * nothing armed. */
uint64_t wheel_next(const struct wheel *wheel);
uint32_t wheel_count(const struct wheel *wheel);

#endif
