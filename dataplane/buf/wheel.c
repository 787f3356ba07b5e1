/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The timer wheel; see wheel.h. */
#include "dataplane/buf/wheel.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS	   3u
#define SLOTS	   256u
#define SLOT_MARK  0x80000000u
#define HORIZON	   ((UINT64_C(1) << 24) - 1)
#define SLOT_WORDS (SLOTS / 64)

struct wheel {
	uint8_t *nodes;
	size_t stride;
	uint64_t now;	/* the last tick that was worked off */
	uint32_t count; /* armed nodes */
	uint32_t heads[LEVELS * SLOTS];
	uint64_t occupied[LEVELS][SLOT_WORDS];
};

static struct wheel_node *node_at(const struct wheel *wheel, uint32_t index)
{
	return (struct wheel_node *)(void *)(wheel->nodes + (size_t)index * wheel->stride);
}

struct wheel *wheel_create(void *nodes, size_t stride, uint64_t now_us)
{
	struct wheel *wheel = calloc(1, sizeof(*wheel));

	if (wheel == NULL)
		return NULL;
	wheel->nodes = nodes;
	wheel->stride = stride;
	wheel->now = now_us >> WHEEL_TICK_SHIFT;
	return wheel;
}

void wheel_destroy(struct wheel *wheel)
{
	free(wheel);
}

static void slot_push(struct wheel *wheel, unsigned slot, uint32_t index)
{
	struct wheel_node *node = node_at(wheel, index);

	node->next = wheel->heads[slot];
	node->prev = SLOT_MARK | slot;
	if (node->next != 0)
		node_at(wheel, node->next - 1)->prev = index + 1;
	wheel->heads[slot] = index + 1;
	wheel->occupied[slot / SLOTS][(slot % SLOTS) / 64] |= UINT64_C(1) << (slot % 64);
	wheel->count++;
}

static void unlink_node(struct wheel *wheel, struct wheel_node *node)
{
	if (node->next != 0)
		node_at(wheel, node->next - 1)->prev = node->prev;
	if (node->prev & SLOT_MARK) {
		unsigned slot = node->prev & ~SLOT_MARK;

		wheel->heads[slot] = node->next;
		if (node->next == 0)
			wheel->occupied[slot / SLOTS][(slot % SLOTS) / 64] &=
				~(UINT64_C(1) << (slot % 64));
	} else {
		node_at(wheel, node->prev - 1)->next = node->next;
	}
	node->next = 0;
	node->prev = 0;
	wheel->count--;
}

/* due >= wheel->now. */
static void place(struct wheel *wheel, uint32_t index, uint64_t due)
{
	uint64_t delta = due - wheel->now;
	unsigned slot;

	node_at(wheel, index)->tick = (uint32_t)due;
	if (delta > HORIZON) {
		delta = HORIZON;
		due = wheel->now + HORIZON;
	}
	if (delta < SLOTS)
		slot = due % SLOTS;
	else if (delta < SLOTS * SLOTS)
		slot = SLOTS + (due >> 8) % SLOTS;
	else
		slot = 2 * SLOTS + (due >> 16) % SLOTS;
	slot_push(wheel, slot, index);
}

void wheel_arm(struct wheel *wheel, uint32_t index, uint64_t deadline_us)
{
	uint64_t due = (deadline_us + (1u << WHEEL_TICK_SHIFT) - 1) >> WHEEL_TICK_SHIFT;
	struct wheel_node *node = node_at(wheel, index);

	if (deadline_us > UINT64_MAX / 2)
		due = UINT64_MAX / 2 >> WHEEL_TICK_SHIFT;
	if (node->prev != 0)
		unlink_node(wheel, node);
	if (due > wheel->now + INT32_MAX)
		due = wheel->now + INT32_MAX;
	place(wheel, index, due > wheel->now ? due : wheel->now + 1);
}

void wheel_arm_lazily(struct wheel *wheel, uint32_t index, uint64_t deadline_us)
{
	const struct wheel_node *node = node_at(wheel, index);
	uint32_t due = (uint32_t)((deadline_us + (1u << WHEEL_TICK_SHIFT) - 1) >> WHEEL_TICK_SHIFT);

	if (node->prev == 0 || (int32_t)(due - node->tick) < 0)
		wheel_arm(wheel, index, deadline_us);
}

void wheel_cancel(struct wheel *wheel, uint32_t index)
{
	struct wheel_node *node = node_at(wheel, index);

	if (node->prev != 0)
		unlink_node(wheel, node);
}

bool wheel_is_armed(const struct wheel *wheel, uint32_t index)
{
	return node_at(wheel, index)->prev != 0;
}

uint32_t wheel_count(const struct wheel *wheel)
{
	return wheel->count;
}

/* Distance from slot `from` (inclusive) to the next occupied one, going round; SLOTS when there is
 * none. */
static unsigned next_occupied(const uint64_t *words, unsigned from)
{
	unsigned word = from / 64;
	uint64_t bits = words[word] & (UINT64_MAX << (from % 64));

	for (unsigned i = 0; i <= SLOT_WORDS; i++) {
		if (bits != 0) {
			unsigned slot =
				(word + i) % SLOT_WORDS * 64 + (unsigned)__builtin_ctzll(bits);

			return (slot + SLOTS - from) % SLOTS;
		}
		bits = words[(word + i + 1) % SLOT_WORDS];
	}
	return SLOTS;
}

/* The next tick after wheel->now at which a slot must be worked off or cascaded. */
static uint64_t next_event(const struct wheel *wheel)
{
	uint64_t best = UINT64_MAX;

	for (unsigned level = 0; level < LEVELS; level++) {
		unsigned shift = 8 * level;
		uint64_t first = (wheel->now >> shift) + 1;
		unsigned distance = next_occupied(wheel->occupied[level], first % SLOTS);
		uint64_t tick;

		if (distance == SLOTS)
			continue;
		tick = (first + distance) << shift;
		if (tick < best)
			best = tick;
	}
	return best;
}

uint64_t wheel_next(const struct wheel *wheel)
{
	uint64_t tick = next_event(wheel);

	return tick == UINT64_MAX ? UINT64_MAX : tick << WHEEL_TICK_SHIFT;
}

/* Spread a slot of a higher level over the lower ones, at its own tick. @return false when the
 * budget ran out */
static bool cascade(struct wheel *wheel, unsigned slot, unsigned *budget)
{
	while (wheel->heads[slot] != 0) {
		uint32_t index = wheel->heads[slot] - 1;
		struct wheel_node *node = node_at(wheel, index);
		int32_t ahead = (int32_t)(node->tick - (uint32_t)wheel->now);

		if (*budget == 0)
			return false;
		(*budget)--;
		unlink_node(wheel, node);
		place(wheel, index, wheel->now + (ahead > 0 ? (uint64_t)ahead : 0));
	}
	return true;
}

unsigned wheel_expire(struct wheel *wheel, uint64_t now_us, unsigned budget,
		      void (*fire)(void *context, uint32_t index), void *context)
{
	uint64_t target = now_us >> WHEEL_TICK_SHIFT;
	unsigned fired = 0;

	while (wheel->now < target) {
		uint64_t tick = next_event(wheel);
		unsigned slot;

		if (tick > target) {
			wheel->now = target;
			break;
		}
		wheel->now = tick;
		slot = tick % SLOTS;
		/* When the budget ends, step back one tick: cascading what is left again is
		 * harmless. */
		if ((tick % (SLOTS * SLOTS) == 0 &&
		     !cascade(wheel, 2 * SLOTS + (tick >> 16) % SLOTS, &budget)) ||
		    (slot == 0 && !cascade(wheel, SLOTS + (tick >> 8) % SLOTS, &budget))) {
			wheel->now = tick - 1;
			return fired;
		}
		while (wheel->heads[slot] != 0) {
			uint32_t index = wheel->heads[slot] - 1;

			if (budget == 0) {
				wheel->now = tick - 1;
				return fired;
			}
			budget--;
			unlink_node(wheel, node_at(wheel, index));
			fired++;
			fire(context, index);
		}
	}
	return fired;
}
