/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A worker's stack as a whole: creation, configuration, and the turn's input, timers and output. */
#include "dataplane/net/stack.h"

#include "dataplane/net/wire.h"
#include "dataplane/tcp/layer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define INPUT_LOT	     32u /* frames looked ahead at */
#define ANNOUNCE_LOT	     16u /* addresses announced at a time */
#define ANNOUNCE_INTERVAL_US 2000u
#define ANNOUNCE_ROUNDS	     2u /* RFC 5227, 2.3: twice, two seconds apart */
#define ANNOUNCE_PAUSE_US    2000000u
#define NEIGHBOURS_DEFAULT   256u
#define LINK_ANSWER_US	     50u /* in the long run; a router may ask for all we can have at once */
#define FRAME_OVERHEAD	     (ETHERNET_HEADER + VLAN_TAG)

static_assert(NET_PORTS_MAX <= LOCAL_PORTS_MAX, "the VLAN map covers every port");

struct net_stack *net_stack_create(const struct net_stack_settings *settings,
				   const struct mr_now *now)
{
	struct net_stack *stack = calloc(1, sizeof(*stack));
	struct hash_key keys[2];
	uint32_t neighbours = settings->neighbours != 0 ? settings->neighbours : NEIGHBOURS_DEFAULT;

	if (stack == NULL)
		return NULL;
	stack->settings = *settings;
	stack->now_us = now->mono_us;
	stack->icmp_limit = (struct rate_limit){.interval_us = 1000, .burst = 100};
	stack->link_limit =
		(struct rate_limit){.interval_us = LINK_ANSWER_US, .burst = LOCAL_ADDRESSES_MAX};
	random_bytes(settings->random, keys, sizeof(keys));
	stack->ip_id = (uint16_t)random_u32(settings->random);
	if (local_table_init(&stack->local, &keys[0]) != 0 ||
	    neighbour_table_init(&stack->neighbours, neighbours, &keys[1], now->mono_us) != 0 ||
	    tcp_layer_create(stack) != 0) {
		net_stack_destroy(stack);
		return NULL;
	}
	return stack;
}

void net_stack_destroy(struct net_stack *stack)
{
	if (stack == NULL)
		return;
	if (stack->tcp != NULL)
		tcp_layer_destroy(stack);
	if (stack->neighbours.entries != NULL && stack->neighbours.wheel != NULL)
		neighbour_flush(stack);
	for (unsigned port = 0; port < NET_PORTS_MAX; port++) {
		struct net_port *p = &stack->ports[port];

		while (p->tx_head != p->tx_tail)
			frame_free(stack->settings.frames, p->tx[p->tx_head++ % TX_QUEUE]);
	}
	fragment_flush(stack);
	neighbour_table_free(&stack->neighbours);
	local_table_free(&stack->local);
	free(stack);
}

/* @return true: a port came, went or has another address */
static bool adopt_ports(struct net_stack *stack, const struct view *view)
{
	bool changed = false;

	for (unsigned i = 0; i < NET_PORTS_MAX; i++) {
		struct net_port *p = &stack->ports[i];
		bool present = i < view->port_count;

		changed |= present != p->present ||
			   (present && memcmp(p->mac, view->ports[i].mac, 6) != 0);
		p->present = present;
		if (!present)
			continue;
		memcpy(p->mac, view->ports[i].mac, 6);
		p->mtu = view->ports[i].mtu != 0 ? view->ports[i].mtu : 1500;
		if (p->mtu > FRAME_BYTES - FRAME_OVERHEAD)
			p->mtu = FRAME_BYTES - FRAME_OVERHEAD;
	}
	return changed;
}

int net_stack_configure(struct net_stack *stack, const struct view *view, const struct mr_now *now)
{
	int rc;

	stack->now_us = now->mono_us;
	if (view->port_count > NET_PORTS_MAX)
		return -ENOBUFS;
	rc = local_table_adopt(&stack->local, view);
	if (rc != 0)
		return rc;
	/* Who is who on a link has not changed with the addresses: a reload disturbs no connection.
	 */
	if (adopt_ports(stack, view))
		neighbour_flush(stack);
	neighbour_restamp(&stack->neighbours);
	tcp_addresses_changed(stack);
	/* One worker announces for all. */
	stack->announce_next = stack->settings.worker == 0 ? 0 : stack->local.address_count;
	stack->announce_round = 0;
	stack->mld_next = stack->local.address_count;
	stack->announce_us = now->mono_us;
	return 0;
}

static void input(struct net_stack *stack, struct frame **frames, unsigned count, bool handed)
{
	uint64_t hashes[INPUT_LOT];

	for (unsigned i = 0; i < count; i++) {
		struct frame *frame = frames[i];

		if (i % INPUT_LOT == 0)
			net_look_ahead(stack, frames + i,
				       count - i < INPUT_LOT ? count - i : INPUT_LOT, hashes);
		stack->handed = handed;
		net_ethernet_input(stack, frame, hashes[i % INPUT_LOT]);
		if (stack->handed == handed)
			frame_free(stack->settings.frames, frame);
	}
	stack->handed = false;
}

void net_stack_input(struct net_stack *stack, struct frame **frames, unsigned count,
		     const struct mr_now *now)
{
	stack->now_us = now->mono_us;
	stack->counters.rx_frames += count;
	for (unsigned i = 0; i < count; i++)
		stack->counters.rx_bytes += frames[i]->length;
	input(stack, frames, count, false);
}

void net_stack_input_handed(struct net_stack *stack, struct frame **frames, unsigned count,
			    const struct mr_now *now)
{
	stack->now_us = now->mono_us;
	stack->counters.handed_in += count;
	input(stack, frames, count, true);
}

static bool announcing(const struct net_stack *stack)
{
	return stack->announce_next < stack->local.address_count;
}

/* Gratuitous ARP and unsolicited advertisements, so that caches around us follow (RFC 5227, 2.3;
 * RFC 4861, 7.2.6). */
static void announce(struct net_stack *stack)
{
	for (unsigned i = 0; i < ANNOUNCE_LOT && announcing(stack); i++) {
		const struct local_address *own = &stack->local.addresses[stack->announce_next++];

		if (!stack->ports[own->port].present)
			continue;
		if (ip_is_v4(&own->address)) {
			arp_announce(stack, own);
		} else {
			nd_announce(stack, own);
			mld_join(stack, own);
		}
	}
	stack->announce_us = stack->now_us + ANNOUNCE_INTERVAL_US;
	if (!announcing(stack) && ++stack->announce_round < ANNOUNCE_ROUNDS) {
		stack->announce_next = 0;
		stack->announce_us = stack->now_us + ANNOUNCE_PAUSE_US;
	}
}

unsigned net_stack_timers(struct net_stack *stack, const struct mr_now *now, unsigned budget)
{
	unsigned ran = 0;

	stack->now_us = now->mono_us;
	if (announcing(stack) && stack->announce_us <= stack->now_us) {
		announce(stack);
		ran++;
	}
	if (mld_due(stack) <= stack->now_us) {
		mld_run(stack);
		ran++;
	}
	if (fragment_due(stack) <= stack->now_us) {
		fragment_run(stack);
		ran++;
	}
	ran += wheel_expire(stack->neighbours.wheel, stack->now_us, budget, neighbour_timer, stack);
	return ran + tcp_run_timers(stack, budget);
}

uint64_t net_stack_next_timer(const struct net_stack *stack)
{
	uint64_t next = announcing(stack) ? stack->announce_us : MR_NEVER;
	uint64_t neighbour = wheel_next(stack->neighbours.wheel);
	uint64_t tcp = tcp_next_timer(stack);

	if (neighbour < next)
		next = neighbour;
	if (mld_due(stack) < next)
		next = mld_due(stack);
	if (fragment_due(stack) < next)
		next = fragment_due(stack);
	return tcp < next ? tcp : next;
}

unsigned net_stack_output(struct net_stack *stack, uint16_t port, struct frame **frames,
			  unsigned max, const struct mr_now *now)
{
	struct net_port *p = &stack->ports[port];
	unsigned count = 0;

	stack->now_us = now->mono_us;
	tcp_run_output(stack);
	while (count < max && p->tx_head != p->tx_tail) {
		struct frame *frame = p->tx[p->tx_head++ % TX_QUEUE];

		stack->counters.tx_frames++;
		stack->counters.tx_bytes += frame->length;
		frames[count++] = frame;
	}
	return count;
}

const struct net_counters *net_stack_counters(const struct net_stack *stack)
{
	return &stack->counters;
}

const struct net_arrivals *net_stack_arrivals(const struct net_stack *stack, uint16_t port)
{
	return &stack->arrivals[port];
}

void net_stack_gauges(const struct net_stack *stack, struct net_gauges *out)
{
	*out = (struct net_gauges){.neighbours = stack->neighbours.used};
	tcp_layer_gauges(stack, out);
}
