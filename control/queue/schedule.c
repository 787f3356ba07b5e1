/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * See schedule.h. A head is named in the links by its number with the top bit set, so that taking a
 * record out needs no knowledge of where it is.
 */
#include "control/queue/schedule.h"

#include <assert.h>
#include <string.h>

#define HEAD   UINT32_C(0x80000000)
#define MOVING (SCHEDULE_LEVELS * SCHEDULE_SLOTS)
#define DUE    (MOVING + 1)
/** Records relinked, or rotations passed, by one schedule_pop. */
#define WORK_MAX 512

static struct slab_link *link_of(struct schedule *s, uint32_t name)
{
	if (name & HEAD)
		return &s->heads[name & ~HEAD];
	return slab_link_at(s->slab, s->offset, name);
}

static struct schedule_link *record_of(const struct schedule *s, uint32_t index)
{
	return (struct schedule_link *)((uint8_t *)slab_at(s->slab, index) + s->offset);
}

static bool is_empty(const struct schedule *s, uint32_t head)
{
	return s->heads[head].next == (head | HEAD);
}

static void make_empty(struct schedule *s, uint32_t head)
{
	s->heads[head] = (struct slab_link){.next = head | HEAD, .prev = head | HEAD};
}

static void append(struct schedule *s, uint32_t head, uint32_t index)
{
	struct slab_link *link = link_of(s, index);

	link->next = head | HEAD;
	link->prev = s->heads[head].prev;
	link_of(s, link->prev)->next = index;
	s->heads[head].prev = index;
}

/** Move all of `from` behind `to`. */
static void splice(struct schedule *s, uint32_t to, uint32_t from)
{
	struct slab_link *source = &s->heads[from];

	if (is_empty(s, from))
		return;
	link_of(s, source->next)->prev = s->heads[to].prev;
	link_of(s, s->heads[to].prev)->next = source->next;
	link_of(s, source->prev)->next = to | HEAD;
	s->heads[to].prev = source->prev;
	make_empty(s, from);
}

static void place(struct schedule *s, uint32_t index)
{
	uint32_t due = record_of(s, index)->due;
	uint32_t ahead = due - (uint32_t)s->tick;
	unsigned level = 0, slot;

	if ((int32_t)ahead < 0) {
		append(s, DUE, index);
		return;
	}
	while (level < SCHEDULE_LEVELS - 1 && ahead >= UINT32_C(1) << (8 * (level + 1)))
		level++;
	slot = due >> (8 * level) & 255;
	append(s, level * SCHEDULE_SLOTS + slot, index);
	s->occupied[level][slot / 64] |= UINT64_C(1) << (slot % 64);
}

void schedule_init(struct schedule *s, const struct slab *slab, size_t offset, unsigned tick_shift,
		   uint64_t now_us)
{
	memset(s, 0, sizeof(*s));
	s->slab = slab;
	s->offset = offset;
	s->tick_shift = tick_shift;
	s->origin_us = now_us;
	for (uint32_t i = 0; i <= DUE; i++)
		make_empty(s, i);
}

void schedule_add(struct schedule *s, uint32_t index, uint64_t due_us)
{
	uint64_t ticks = 0;

	/* Rounded up: never early. */
	if (due_us > s->origin_us)
		ticks = (due_us - s->origin_us + (UINT64_C(1) << s->tick_shift) - 1) >>
			s->tick_shift;
	if (ticks > s->tick && ticks - s->tick > INT32_MAX)
		ticks = s->tick + INT32_MAX;
	else if (ticks < s->tick)
		ticks = s->tick - 1;
	record_of(s, index)->due = (uint32_t)ticks;
	s->count++;
	place(s, index);
}

void schedule_remove(struct schedule *s, uint32_t index)
{
	struct slab_link *link = link_of(s, index);

	/* The slot's bit in `occupied` may stay: it is only a hint, cleared when the slot is
	 * passed. */
	assert(s->count);
	link_of(s, link->prev)->next = link->next;
	link_of(s, link->next)->prev = link->prev;
	*link = (struct slab_link){0};
	s->count--;
}

/** The next occupied slot of a level at or after `from`, or SCHEDULE_SLOTS. */
static unsigned next_slot(const struct schedule *s, unsigned level, unsigned from)
{
	for (unsigned word = from / 64; word < SCHEDULE_SLOTS / 64; word++) {
		uint64_t bits = s->occupied[level][word];

		if (word == from / 64)
			bits &= ~UINT64_C(0) << (from % 64);
		if (bits)
			return word * 64 + (unsigned)__builtin_ctzll(bits);
	}
	return SCHEDULE_SLOTS;
}

static void clear_slot(struct schedule *s, unsigned level, unsigned slot)
{
	s->occupied[level][slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}

/** A rotation of level 0 begins at s->tick: collect what the higher levels hold for it. */
static void begin_rotation(struct schedule *s)
{
	for (unsigned level = 1; level < SCHEDULE_LEVELS; level++) {
		unsigned slot = (unsigned)(s->tick >> (8 * level)) & 255;

		splice(s, MOVING, level * SCHEDULE_SLOTS + slot);
		clear_slot(s, level, slot);
		if (slot)
			break;
	}
	s->cascading = true;
}

/** @return work done; all of `moving` is placed when cascading has become false */
static unsigned cascade(struct schedule *s, unsigned limit)
{
	unsigned work = 0;

	while (work < limit && !is_empty(s, MOVING)) {
		uint32_t index = s->heads[MOVING].next;
		struct slab_link *link = link_of(s, index);

		s->heads[MOVING].next = link->next;
		link_of(s, link->next)->prev = MOVING | HEAD;
		place(s, index);
		work++;
	}
	s->cascading = !is_empty(s, MOVING);
	return work;
}

/** Bring s->tick up to `until` (exclusive of it being due), within the bound on work. */
static void advance(struct schedule *s, uint64_t until)
{
	unsigned work = 0;

	while (work < WORK_MAX) {
		unsigned slot;
		uint64_t rotation_end;

		if (s->cascading) {
			work += cascade(s, WORK_MAX - work);
			if (s->cascading)
				return;
		}
		if (until < s->tick)
			return;
		if (s->count == 0) {
			/* Rotations that are jumped over hold nothing. */
			memset(s->occupied, 0, sizeof(s->occupied));
			s->tick = until + 1;
			if (!(s->tick & 255))
				begin_rotation(s);
			return;
		}
		slot = next_slot(s, 0, s->tick & 255);
		rotation_end = (s->tick | 255) + 1;
		if (slot < SCHEDULE_SLOTS) {
			uint64_t tick = (s->tick & ~UINT64_C(255)) | slot;

			if (tick > until) {
				s->tick = until + 1;
				if (!(s->tick & 255))
					begin_rotation(s);
				return;
			}
			splice(s, DUE, slot);
			clear_slot(s, 0, slot);
			s->tick = tick + 1;
		} else if (rotation_end > until) {
			s->tick = until + 1;
		} else {
			s->tick = rotation_end;
		}
		if (!(s->tick & 255))
			begin_rotation(s);
		work++;
	}
}

uint32_t schedule_pop(struct schedule *s, uint64_t now_us)
{
	uint32_t index;

	if (is_empty(s, DUE)) {
		if (now_us < s->origin_us)
			return 0;
		advance(s, (now_us - s->origin_us) >> s->tick_shift);
		if (is_empty(s, DUE))
			return 0;
	}
	index = s->heads[DUE].next;
	schedule_remove(s, index);
	return index;
}

static uint64_t tick_us(const struct schedule *s, uint64_t tick)
{
	return s->origin_us + (tick << s->tick_shift);
}

uint64_t schedule_next(const struct schedule *s)
{
	unsigned slot;

	if (s->count == 0)
		return UINT64_MAX;
	if (s->cascading || !is_empty(s, DUE))
		return 0;
	slot = next_slot(s, 0, s->tick & 255);
	if (slot < SCHEDULE_SLOTS)
		return tick_us(s, (s->tick & ~UINT64_C(255)) | slot);
	for (unsigned level = 1; level < SCHEDULE_LEVELS; level++) {
		unsigned current = (unsigned)(s->tick >> (8 * level)) & 255;
		uint64_t base = s->tick >> (8 * level) & ~UINT64_C(255);

		/* What lies before `current` belongs to the next turn of this level, whose start is
		 * a bound too. */
		slot = next_slot(s, level, current + 1);
		if (slot < SCHEDULE_SLOTS)
			return tick_us(s, (base | slot) << (8 * level));
		if (next_slot(s, level, 0) < SCHEDULE_SLOTS)
			return tick_us(s, (base + 256) << (8 * level));
	}
	return tick_us(s, s->tick + 1);
}

uint64_t schedule_due_us(const struct schedule *s, uint32_t index)
{
	uint32_t due = record_of(s, index)->due;

	return tick_us(s, s->tick + (uint64_t)(int64_t)(int32_t)(due - (uint32_t)s->tick));
}
