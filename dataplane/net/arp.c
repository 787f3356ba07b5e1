/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ARP on Ethernet for IPv4 (RFC 826, RFC 1122 2.3.2, RFC 5227 2.3 announcements). */
#include "dataplane/net/stack.h"
#include "dataplane/net/wire.h"

#define ARP_REQUEST 1u
#define ARP_REPLY   2u

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* @return false: no frame */
static bool arp_send(struct net_stack *stack, uint16_t port, uint16_t vlan, uint16_t operation,
		     const uint8_t to[6], uint32_t sender, const uint8_t target_mac[6],
		     uint32_t target)
{
	uint8_t *p;
	struct frame *frame =
		net_ethernet_begin(stack, port, vlan, to, ETHERTYPE_ARP, ARP_PACKET, &p);

	if (frame == NULL)
		return false;
	store16(p, 1);
	store16(p + 2, ETHERTYPE_IPV4);
	p[4] = 6;
	p[5] = 4;
	store16(p + 6, operation);
	memcpy(p + 8, stack->ports[port].mac, 6);
	store32(p + 14, sender);
	memcpy(p + 18, target_mac, 6);
	store32(p + 24, target);
	net_transmit(stack, frame);
	return true;
}

bool arp_request(struct net_stack *stack, const struct neighbour *n)
{
	static const uint8_t unknown[6];
	bool unicast = n->state == NEIGHBOUR_PROBE;

	return arp_send(stack, n->port, n->vlan, ARP_REQUEST, unicast ? n->mac : broadcast,
			ip_to_v4(&n->source), unknown, ip_to_v4(&n->address));
}

void arp_announce(struct net_stack *stack, const struct local_address *own)
{
	static const uint8_t unknown[6];
	uint32_t address = ip_to_v4(&own->address);

	arp_send(stack, own->port, own->vlan, ARP_REQUEST, broadcast, address, unknown, address);
}

bool net_may_answer_link(struct net_stack *stack)
{
	if (rate_limit_take(&stack->link_limit, stack->now_us))
		return true;
	stack->counters.link_rate_limited++;
	return false;
}

void arp_input(struct net_stack *stack, const struct frame *frame, uint16_t vlan, const uint8_t *p,
	       uint16_t length, bool *others)
{
	struct ip_address sender, target;
	const struct local_address *own;
	uint16_t operation;
	bool for_us;

	stack->counters.arp_in++;
	if (length < ARP_PACKET) {
		stack->counters.drop_short++;
		return;
	}
	operation = load16(p + 6);
	if (load16(p) != 1 || load16(p + 2) != ETHERTYPE_IPV4 || p[4] != 6 || p[5] != 4 ||
	    (operation != ARP_REQUEST && operation != ARP_REPLY)) {
		stack->counters.drop_ethertype++;
		return;
	}
	sender = ip_from_v4(load32(p + 14));
	target = ip_from_v4(load32(p + 24));
	own = local_find(&stack->local, &target);
	for_us = own != NULL && own->port == frame->port && own->vlan == vlan;
	if (local_find(&stack->local, &sender) != NULL) {
		stack->counters.drop_source++; /* somebody claims our address; ours stands */
		return;
	}
	/* RFC 826: merge; make an entry only when it is for us. 0.0.0.0 is a probe (RFC 5227). */
	if (ip_to_v4(&sender) != 0)
		neighbour_learn(stack, &sender, frame->port, vlan, p + 8,
				operation == ARP_REPLY && for_us, for_us);
	/* Each worker asked for itself, or has an entry that the announcement corrects. */
	*others = operation == ARP_REPLY || ip_equal(&sender, &target);
	if (operation == ARP_REQUEST && for_us && !stack->handed && net_may_answer_link(stack))
		arp_send(stack, frame->port, vlan, ARP_REPLY, p + 8, ip_to_v4(&target), p + 8,
			 ip_to_v4(&sender));
}
