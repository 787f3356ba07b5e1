/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The simulated wire; see link.h. Packets under way lie in a heap by time of arrival. */
#include "tests/sim/link/link.h"

#include "drivers/random.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_MAX	   2048u
#define ETHERNET	   14u
#define QUEUE_DEFAULT	   400u
#define REORDER_DEFAULT_US 5000u
#define NEVER		   UINT64_MAX

struct flight {
	uint64_t arrives_us;
	uint64_t order; /* among equals: as sent */
	uint32_t size;
	uint8_t *data;
};

struct sim_link {
	struct sim_link_settings settings;
	struct sim_link_counters counters;
	struct mr_random random;
	struct flight *heap;
	size_t count;
	size_t capacity;
	uint64_t order;
	uint64_t *leaving; /* a ring: when each packet in transmission or waiting is gone */
	uint32_t leaving_room;
	uint32_t leaving_first;
	uint32_t leaving_count;
	uint64_t free_ns;      /* when the transmitter is free */
	uint64_t last_arrival; /* of packets that keep their order */
	bool bad;	       /* Gilbert state */
};

struct sim_link *sim_link_create(const struct sim_link_settings *settings, uint64_t seed)
{
	struct sim_link *link = calloc(1, sizeof(*link));

	assert(link != NULL);
	random_init_seed(&link->random, seed);
	sim_link_change(link, settings);
	return link;
}

void sim_link_destroy(struct sim_link *link)
{
	for (size_t i = 0; i < link->count; i++)
		free(link->heap[i].data);
	free(link->heap);
	free(link->leaving);
	free(link);
}

/* Room for those that wait and the one in transmission; a queue that shrinks keeps what it has. */
static void size_queue(struct sim_link *link)
{
	uint32_t room = link->settings.queue_packets + 1;
	uint64_t *ring;

	if (room <= link->leaving_room)
		return;
	ring = malloc(room * sizeof(*ring));
	assert(ring != NULL);
	for (uint32_t i = 0; i < link->leaving_count; i++)
		ring[i] = link->leaving[(link->leaving_first + i) % link->leaving_room];
	free(link->leaving);
	link->leaving = ring;
	link->leaving_room = room;
	link->leaving_first = 0;
}

void sim_link_change(struct sim_link *link, const struct sim_link_settings *settings)
{
	link->settings = *settings;
	if (link->settings.queue_packets == 0)
		link->settings.queue_packets = QUEUE_DEFAULT;
	if (link->settings.reorder_us == 0)
		link->settings.reorder_us = REORDER_DEFAULT_US;
	size_queue(link);
}

static bool chance(struct sim_link *link, double probability)
{
	if (probability <= 0)
		return false;
	return random_u32(&link->random) < probability * 4294967296.0;
}

static bool before(const struct flight *a, const struct flight *b)
{
	return a->arrives_us < b->arrives_us ||
	       (a->arrives_us == b->arrives_us && a->order < b->order);
}

static void heap_push(struct sim_link *link, const struct flight *f)
{
	size_t at = link->count++;

	if (link->count > link->capacity) {
		link->capacity = link->capacity != 0 ? link->capacity * 2 : 64;
		link->heap = realloc(link->heap, link->capacity * sizeof(*link->heap));
		assert(link->heap != NULL);
	}
	while (at > 0 && before(f, &link->heap[(at - 1) / 2])) {
		link->heap[at] = link->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	link->heap[at] = *f;
}

static void heap_pop(struct sim_link *link)
{
	struct flight last = link->heap[--link->count];
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= link->count)
			break;
		if (child + 1 < link->count && before(&link->heap[child + 1], &link->heap[child]))
			child++;
		if (before(&last, &link->heap[child]))
			break;
		link->heap[at] = link->heap[child];
		at = child;
	}
	if (link->count > 0)
		link->heap[at] = last;
}

static void damage(struct sim_link *link, struct flight *f)
{
	uint32_t size = f->size;

	if (size <= ETHERNET)
		return;
	if (chance(link, link->settings.corrupt)) {
		uint32_t bit = random_below(&link->random, (size - ETHERNET) * 8) + ETHERNET * 8;

		f->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		link->counters.corrupted++;
	}
	if (chance(link, link->settings.cut)) {
		f->size = ETHERNET + random_below(&link->random, size - ETHERNET);
		link->counters.cut++;
	}
}

static void launch(struct sim_link *link, const void *data, size_t size, uint64_t arrives_us,
		   bool surely)
{
	struct flight f = {.arrives_us = arrives_us,
			   .order = link->order++,
			   .size = (uint32_t)size,
			   .data = malloc(size)};

	assert(f.data != NULL);
	memcpy(f.data, data, size);
	if (!surely)
		damage(link, &f);
	heap_push(link, &f);
}

static bool lost(struct sim_link *link)
{
	const struct sim_link_settings *s = &link->settings;

	if (link->bad ? chance(link, s->burst_leave) : chance(link, s->burst_enter))
		link->bad = !link->bad;
	return link->bad || chance(link, s->loss);
}

/* The transmitter's queue. @return when the last bit is out, NEVER: the queue is full */
static uint64_t leave(struct sim_link *link, size_t size, uint64_t now_us)
{
	const struct sim_link_settings *s = &link->settings;
	uint64_t gone_us;

	if (s->rate_bits == 0)
		return now_us;
	while (link->leaving_count > 0 && link->leaving[link->leaving_first] <= now_us) {
		link->leaving_first = (link->leaving_first + 1) % link->leaving_room;
		link->leaving_count--;
	}
	if (link->leaving_count > s->queue_packets) {
		link->counters.overflowed++;
		return NEVER;
	}
	link->free_ns = (link->free_ns > now_us * 1000 ? link->free_ns : now_us * 1000) +
			size * 8 * 1000000000 / s->rate_bits;
	gone_us = (link->free_ns + 999) / 1000;
	link->leaving[(link->leaving_first + link->leaving_count++) % link->leaving_room] = gone_us;
	return gone_us;
}

static void in_order(struct sim_link *link, uint64_t *arrives)
{
	if (*arrives < link->last_arrival)
		*arrives = link->last_arrival;
	link->last_arrival = *arrives;
}

void sim_link_send(struct sim_link *link, const void *data, size_t size, uint64_t now_us)
{
	const struct sim_link_settings *s = &link->settings;
	uint64_t arrives;

	assert(size <= FRAME_MAX);
	link->counters.sent++;
	if (s->mtu != 0 && size > s->mtu + ETHERNET) {
		link->counters.too_big++;
		return;
	}
	arrives = leave(link, size, now_us);
	if (arrives == NEVER)
		return;
	if (s->down || lost(link)) {
		link->counters.lost++;
		return;
	}
	arrives += s->delay_us;
	if (s->jitter_us != 0)
		arrives += random_below(&link->random, (uint32_t)s->jitter_us + 1);
	if (chance(link, s->reorder)) {
		link->counters.reordered++;
		arrives += s->reorder_us;
	} else {
		in_order(link, &arrives);
	}
	launch(link, data, size, arrives, false);
	if (chance(link, s->duplicate)) {
		link->counters.duplicated++;
		launch(link, data, size, arrives, false);
	}
}

void sim_link_send_surely(struct sim_link *link, const void *data, size_t size, uint64_t now_us)
{
	uint64_t arrives;

	assert(size <= FRAME_MAX);
	link->counters.sent++;
	arrives = leave(link, size, now_us);
	if (arrives == NEVER)
		return;
	if (link->settings.down) {
		link->counters.lost++;
		return;
	}
	arrives += link->settings.delay_us;
	in_order(link, &arrives);
	launch(link, data, size, arrives, true);
}

uint64_t sim_link_next(const struct sim_link *link)
{
	return link->count > 0 ? link->heap[0].arrives_us : UINT64_MAX;
}

size_t sim_link_receive(struct sim_link *link, void *to, uint64_t now_us)
{
	size_t size;

	if (link->count == 0 || link->heap[0].arrives_us > now_us)
		return 0;
	size = link->heap[0].size;
	memcpy(to, link->heap[0].data, size);
	free(link->heap[0].data);
	heap_pop(link);
	link->counters.delivered++;
	return size;
}

const struct sim_link_counters *sim_link_counters(const struct sim_link *link)
{
	return &link->counters;
}

/* --- frames --- */
struct sim_frame {
	struct frame frame; /* first: a frame's address is its sim_frame's */
	struct sim_frame *next;
	bool used;
	uint8_t room[FRAME_MAX];
};

struct sim_frame_pool {
	struct frame_pool interface;
	struct sim_frame *frames;
	struct sim_frame *free;
	uint32_t in_use;
	uint32_t large_left;
	uint16_t worker;
};

struct large_frame {
	struct frame frame;
	uint8_t room[FRAME_LARGE];
};

static struct frame *pool_alloc(void *context)
{
	struct sim_frame_pool *pool = context;
	struct sim_frame *f = pool->free;

	if (f == NULL)
		return NULL;
	pool->free = f->next;
	pool->in_use++;
	f->used = true;
	f->frame = (struct frame){.data = f->room, .capacity = FRAME_MAX, .worker = pool->worker};
	return &f->frame;
}

static struct frame *pool_alloc_large(void *context)
{
	struct sim_frame_pool *pool = context;
	struct large_frame *f = pool->large_left > 0 ? malloc(sizeof(*f)) : NULL;

	if (f == NULL)
		return NULL;
	pool->large_left--;
	pool->in_use++;
	f->frame = (struct frame){.data = f->room, .capacity = FRAME_LARGE, .worker = pool->worker};
	return &f->frame;
}

void sim_frame_pool_add_large(struct sim_frame_pool *pool, uint32_t count)
{
	pool->large_left = count;
	pool->interface.alloc_large = pool_alloc_large;
}

static void pool_free(void *context, struct frame *frame)
{
	struct sim_frame_pool *pool = context;

	if (frame->capacity == FRAME_LARGE) {
		pool->large_left++;
		pool->in_use--;
		free(frame);
		return;
	}

	struct sim_frame *f = (struct sim_frame *)(void *)frame;

	assert(f->used);
	f->used = false;
	memset(f->room, 0xdb, 64); /* a stale header is recognized */
	f->next = pool->free;
	pool->free = f;
	pool->in_use--;
}

struct sim_frame_pool *sim_frame_pool_create(uint32_t count, uint16_t worker)
{
	struct sim_frame_pool *pool = calloc(1, sizeof(*pool));

	assert(pool != NULL);
	pool->frames = calloc(count, sizeof(*pool->frames));
	assert(pool->frames != NULL);
	pool->worker = worker;
	pool->interface =
		(struct frame_pool){.context = pool, .alloc = pool_alloc, .free = pool_free};
	for (uint32_t i = count; i > 0; i--) {
		pool->frames[i - 1].next = pool->free;
		pool->free = &pool->frames[i - 1];
	}
	return pool;
}

void sim_frame_pool_destroy(struct sim_frame_pool *pool)
{
	assert(pool->in_use == 0);
	free(pool->frames);
	free(pool);
}

struct frame_pool *sim_frame_pool_interface(struct sim_frame_pool *pool)
{
	return &pool->interface;
}

uint32_t sim_frame_pool_in_use(const struct sim_frame_pool *pool)
{
	return pool->in_use;
}
