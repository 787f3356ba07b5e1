/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The neighbour table and its states; see neighbour.h. */
#include "dataplane/net/neighbour.h"

#include "dataplane/net/stack.h"
#include "dataplane/tcp/layer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GIVE_WAY_TRIES 16u

int neighbour_table_init(struct neighbour_table *table, uint32_t capacity,
			 const struct hash_key *key, uint64_t now_us)
{
	uint32_t buckets = 16;

	while (buckets < capacity && buckets < 1u << 24)
		buckets *= 2;
	*table = (struct neighbour_table){
		.key = *key,
		.capacity = capacity,
		.bucket_mask = buckets - 1,
		.buckets = calloc(buckets, sizeof(uint32_t)),
		.entries = calloc(capacity, sizeof(struct neighbour)),
	};
	if (table->entries != NULL)
		table->wheel =
			wheel_create(&table->entries[0].timer, sizeof(struct neighbour), now_us);
	if (table->buckets == NULL || table->entries == NULL || table->wheel == NULL) {
		neighbour_table_free(table);
		return -ENOMEM;
	}
	neighbour_restamp(table);
	return 0;
}

void neighbour_table_free(struct neighbour_table *table)
{
	if (table->wheel != NULL)
		wheel_destroy(table->wheel);
	free(table->buckets);
	free(table->entries);
	*table = (struct neighbour_table){0};
}

static uint32_t *bucket_of(struct neighbour_table *table, const struct ip_address *address,
			   uint16_t port, uint16_t vlan)
{
	uint64_t words[3];

	memcpy(words, address->bytes, 16);
	words[2] = (uint64_t)port << 16 | vlan;
	return &table->buckets[hash_words(&table->key, words, 3) & table->bucket_mask];
}

struct neighbour *neighbour_find(struct neighbour_table *table, const struct ip_address *address,
				 uint16_t port, uint16_t vlan)
{
	uint32_t link = *bucket_of(table, address, port, vlan);

	while (link != 0) {
		struct neighbour *n = &table->entries[link - 1];

		if (n->port == port && n->vlan == vlan && ip_equal(&n->address, address))
			return n;
		link = n->next;
	}
	return NULL;
}

static uint32_t index_of(const struct neighbour_table *table, const struct neighbour *n)
{
	return (uint32_t)(n - table->entries);
}

static void drop_queue(struct net_stack *stack, struct neighbour *n)
{
	for (unsigned i = 0; i < n->queued; i++) {
		stack->counters.drop_neighbour_failed++;
		frame_free(stack->settings.frames, n->queue[i]);
	}
	n->queued = 0;
}

static bool is_unanswered(const struct neighbour *n)
{
	return !n->gateway && (n->state == NEIGHBOUR_INCOMPLETE || n->state == NEIGHBOUR_FAILED);
}

static void set_state(struct net_stack *stack, struct neighbour *n, enum neighbour_state state)
{
	stack->neighbours.unanswered -= is_unanswered(n);
	n->state = (uint8_t)state;
	stack->neighbours.unanswered += is_unanswered(n);
}

static uint32_t next_epoch(struct neighbour_table *table)
{
	table->epoch += table->epoch == UINT32_MAX ? 2 : 1;
	return table->epoch;
}

static void forget(struct net_stack *stack, struct neighbour *n)
{
	struct neighbour_table *table = &stack->neighbours;
	uint32_t *link = bucket_of(table, &n->address, n->port, n->vlan);

	drop_queue(stack, n);
	wheel_cancel(table->wheel, index_of(table, n));
	while (*link != index_of(table, n) + 1)
		link = &table->entries[*link - 1].next;
	*link = n->next;
	set_state(stack, n, NEIGHBOUR_FREE);
	/* Connections that point at it look their path up again. */
	*n = (struct neighbour){.epoch = next_epoch(table)};
	table->used--;
}

static enum neighbour_worth worth_of(const struct neighbour *n)
{
	if (n->gateway)
		return NEIGHBOUR_GATEWAY;
	if (is_unanswered(n))
		return NEIGHBOUR_ASKED;
	return n->sent_to ? NEIGHBOUR_HOST : NEIGHBOUR_HEARD;
}

static bool gives_way(const struct net_stack *stack, const struct neighbour *n,
		      enum neighbour_worth wish)
{
	enum neighbour_worth worth = worth_of(n);

	if (worth < wish && worth != NEIGHBOUR_HOST)
		return true;
	if (n->used_us + NEIGHBOUR_RETRY_US > stack->now_us) /* in use right now */
		return false;
	/* Addresses where nobody is push out hosts from half of the table, no more. */
	if (worth == NEIGHBOUR_HOST && wish == NEIGHBOUR_ASKED)
		return stack->neighbours.unanswered < stack->neighbours.capacity / 2;
	return worth <= wish;
}

static bool is_worse(const struct neighbour *a, const struct neighbour *b)
{
	enum neighbour_worth x = worth_of(a), y = worth_of(b);

	return x != y ? x < y : a->used_us < b->used_us;
}

/* A free entry, or the worst of a few. */
static struct neighbour *make_room(struct net_stack *stack, enum neighbour_worth wish)
{
	struct neighbour_table *table = &stack->neighbours;
	struct neighbour *worst = NULL;

	if (table->used < table->capacity) {
		/* A few steps suffice while the table is not nearly full; the rest is bounded by
		 * its size. */
		for (uint32_t i = 0; i < table->capacity; i++) {
			struct neighbour *n =
				&table->entries[table->clock_hand++ % table->capacity];

			if (n->state == NEIGHBOUR_FREE)
				return n;
		}
	}
	for (unsigned i = 0; i < GIVE_WAY_TRIES && i < table->capacity; i++) {
		struct neighbour *n = &table->entries[table->clock_hand++ % table->capacity];

		if (gives_way(stack, n, wish) && (worst == NULL || is_worse(n, worst)))
			worst = n;
	}
	if (worst != NULL)
		forget(stack, worst);
	return worst;
}

static void become_gateway(struct net_stack *stack, struct neighbour *n)
{
	stack->neighbours.unanswered -= is_unanswered(n);
	n->gateway = true;
}

struct neighbour *neighbour_get(struct net_stack *stack, const struct ip_address *address,
				uint16_t port, uint16_t vlan, enum neighbour_worth wish)
{
	struct neighbour_table *table = &stack->neighbours;
	struct neighbour *n = neighbour_find(table, address, port, vlan);
	uint32_t *bucket;

	if (n == NULL) {
		n = make_room(stack, wish);
		if (n == NULL) {
			stack->counters.drop_neighbour_full++;
			return NULL;
		}
		bucket = bucket_of(table, address, port, vlan);
		*n = (struct neighbour){
			.address = *address,
			.port = port,
			.vlan = vlan,
			.next = *bucket,
			.used_us = stack->now_us,
			.epoch = next_epoch(table),
		};
		*bucket = index_of(table, n) + 1;
		table->used++;
		/* Nothing is known yet: FAILED long ago, so that the next send asks. */
		set_state(stack, n, NEIGHBOUR_FAILED);
	}
	if (wish == NEIGHBOUR_GATEWAY && !n->gateway)
		become_gateway(stack, n);
	return n;
}

void neighbour_restamp(struct neighbour_table *table)
{
	table->unanswered = 0;
	for (uint32_t i = 0; i < table->capacity; i++) {
		struct neighbour *n = &table->entries[i];

		n->epoch = next_epoch(table);
		n->gateway = false; /* who is one says so when it is next looked for */
		table->unanswered += is_unanswered(n);
	}
}

static bool request(struct net_stack *stack, const struct neighbour *n)
{
	return ip_is_v4(&n->address) ? arp_request(stack, n) : nd_solicit(stack, n);
}

/* Where there is no frame to ask with, one that waits is given up for it: it would come again, and
 * could never leave. What was not asked is no try: silence says nothing then. */
static void ask(struct net_stack *stack, struct neighbour *n)
{
	bool asked = request(stack, n);

	if (!asked && n->queued > 0) {
		frame_free(stack->settings.frames, n->queue[--n->queued]);
		asked = request(stack, n);
	}
	n->tries += asked;
}

static void arm(struct net_stack *stack, struct neighbour *n, uint64_t after_us)
{
	wheel_arm(stack->neighbours.wheel, index_of(&stack->neighbours, n),
		  stack->now_us + after_us);
}

static void enqueue(struct net_stack *stack, struct neighbour *n, struct frame *frame)
{
	if (n->queued == NEIGHBOUR_QUEUE) { /* RFC 4861, 7.2.2: the newest replaces the oldest */
		stack->counters.drop_neighbour_failed++;
		frame_free(stack->settings.frames, n->queue[0]);
		memmove(&n->queue[0], &n->queue[1], (NEIGHBOUR_QUEUE - 1) * sizeof(struct frame *));
		n->queued--;
	}
	n->queue[n->queued++] = frame;
}

static void send_to(struct net_stack *stack, struct neighbour *n, struct frame *frame)
{
	memcpy(frame->data, n->mac, 6);
	net_transmit(stack, frame);
}

void neighbour_send(struct net_stack *stack, struct neighbour *n, const struct ip_address *source,
		    struct frame *frame)
{
	n->used_us = stack->now_us;
	n->sent_to = true;
	switch ((enum neighbour_state)n->state) {
	case NEIGHBOUR_REACHABLE:
		if (stack->now_us - n->confirmed_us > NEIGHBOUR_REACHABLE_US) {
			n->state = NEIGHBOUR_DELAY;
			n->source = *source;
			arm(stack, n, NEIGHBOUR_DELAY_US);
		}
		send_to(stack, n, frame);
		return;
	case NEIGHBOUR_STALE:
		n->state = NEIGHBOUR_DELAY;
		n->source = *source;
		arm(stack, n, NEIGHBOUR_DELAY_US);
		send_to(stack, n, frame);
		return;
	case NEIGHBOUR_DELAY:
	case NEIGHBOUR_PROBE:
		send_to(stack, n, frame);
		return;
	case NEIGHBOUR_INCOMPLETE:
		enqueue(stack, n, frame);
		return;
	case NEIGHBOUR_FREE:
	case NEIGHBOUR_FAILED:
		set_state(stack, n, NEIGHBOUR_INCOMPLETE);
		n->source = *source;
		n->tries = 0;
		enqueue(stack, n, frame);
		ask(stack, n);
		arm(stack, n, NEIGHBOUR_RETRY_US);
		return;
	}
}

static void reached(struct net_stack *stack, struct neighbour *n)
{
	unsigned queued = n->queued;

	n->queued = 0;
	for (unsigned i = 0; i < queued; i++)
		send_to(stack, n, n->queue[i]);
}

void neighbour_learn(struct net_stack *stack, const struct ip_address *address, uint16_t port,
		     uint16_t vlan, const uint8_t mac[6], bool solicited, bool create)
{
	struct neighbour *n = neighbour_find(&stack->neighbours, address, port, vlan);
	bool known, changed;

	if (n == NULL && create)
		n = neighbour_get(stack, address, port, vlan, NEIGHBOUR_HEARD);
	if (n == NULL || (mac[0] & 1) != 0)
		return;
	known = n->state != NEIGHBOUR_INCOMPLETE && n->state != NEIGHBOUR_FAILED;
	changed = !known || memcmp(n->mac, mac, 6) != 0;
	if (!changed && !solicited)
		return;
	memcpy(n->mac, mac, 6);
	wheel_cancel(stack->neighbours.wheel, index_of(&stack->neighbours, n));
	/* Anything that ARP says proves that the host is there; a bare claim of another address is
	 * checked later. */
	set_state(stack, n, solicited || !known ? NEIGHBOUR_REACHABLE : NEIGHBOUR_STALE);
	n->confirmed_us = stack->now_us;
	reached(stack, n);
}

bool neighbour_differs(struct net_stack *stack, const struct ip_address *address, uint16_t port,
		       uint16_t vlan, const uint8_t mac[6])
{
	const struct neighbour *n = neighbour_find(&stack->neighbours, address, port, vlan);

	return n != NULL && n->state != NEIGHBOUR_INCOMPLETE && n->state != NEIGHBOUR_FAILED &&
	       memcmp(n->mac, mac, 6) != 0;
}

void neighbour_doubt(struct net_stack *stack, const struct ip_address *address, uint16_t port,
		     uint16_t vlan)
{
	struct neighbour *n = neighbour_find(&stack->neighbours, address, port, vlan);

	if (n != NULL && n->state == NEIGHBOUR_REACHABLE)
		n->state = NEIGHBOUR_STALE;
}

void neighbour_confirm(struct neighbour *n, uint64_t now_us)
{
	if (n->state == NEIGHBOUR_REACHABLE || n->state == NEIGHBOUR_DELAY ||
	    n->state == NEIGHBOUR_PROBE || n->state == NEIGHBOUR_STALE) {
		n->state = NEIGHBOUR_REACHABLE;
		n->confirmed_us = now_us;
	}
}

void neighbour_flush(struct net_stack *stack)
{
	for (uint32_t i = 0; i < stack->neighbours.capacity; i++)
		if (stack->neighbours.entries[i].state != NEIGHBOUR_FREE)
			forget(stack, &stack->neighbours.entries[i]);
}

static void fail(struct net_stack *stack, struct neighbour *n)
{
	struct frame *queue[NEIGHBOUR_QUEUE];
	unsigned queued = n->queued;

	set_state(stack, n, NEIGHBOUR_FAILED);
	n->confirmed_us = stack->now_us;
	n->queued = 0;
	memcpy(queue, n->queue, sizeof(queue));
	for (unsigned i = 0; i < queued; i++) {
		stack->counters.drop_neighbour_failed++;
		tcp_frame_undeliverable(stack, queue[i]);
		frame_free(stack->settings.frames, queue[i]);
	}
}

void neighbour_timer(void *context, uint32_t index)
{
	struct net_stack *stack = context;
	struct neighbour *n = &stack->neighbours.entries[index];

	switch ((enum neighbour_state)n->state) {
	case NEIGHBOUR_DELAY: /* nothing from above confirmed it in the meantime */
		n->state = NEIGHBOUR_PROBE;
		n->tries = 0;
		break;
	case NEIGHBOUR_PROBE:
	case NEIGHBOUR_INCOMPLETE:
		break;
	default: /* confirmed from above since */
		return;
	}
	if (n->tries >= NEIGHBOUR_TRIES) {
		fail(stack, n);
		return;
	}
	ask(stack, n);
	arm(stack, n, NEIGHBOUR_RETRY_US);
}
