/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Neighbour discovery (RFC 4861): solicitations and advertisements. Routes come from the
 * configuration, so router advertisements and redirects are ignored (RFC 4861, 6.3.4 and 8.3 leave
 * that to a host's configuration).
 */
#include "dataplane/net/checksum.h"
#include "dataplane/net/stack.h"
#include "dataplane/net/wire.h"

#define ND_SOLICITATION	 135u
#define ND_ADVERTISEMENT 136u
#define ND_LENGTH	 24u
#define OPTION_SOURCE	 1u
#define OPTION_TARGET	 2u
#define OPTION_LENGTH	 8u
#define FLAG_SOLICITED	 0x40000000u
#define FLAG_OVERRIDE	 0x20000000u

static const struct ip_address all_nodes = {{0xff, 0x02, [15] = 1}};

static struct ip_address solicited_node(const struct ip_address *a)
{
	struct ip_address g = {{0xff, 0x02, [11] = 1, [12] = 0xff}};

	memcpy(g.bytes + 13, a->bytes + 13, 3);
	return g;
}

static void multicast_mac(const struct ip_address *group, uint8_t mac[6])
{
	mac[0] = 0x33; /* RFC 2464, 7 */
	mac[1] = 0x33;
	memcpy(mac + 2, group->bytes + 12, 4);
}

/* @return false: no frame */
static bool nd_send(struct net_stack *stack, uint16_t port, uint16_t vlan, uint8_t type,
		    uint32_t flags, const uint8_t mac[6], const struct ip_address *from,
		    const struct ip_address *to, const struct ip_address *target)
{
	uint8_t *ip, *p;
	struct frame *frame = net_ethernet_begin(stack, port, vlan, mac, ETHERTYPE_IPV6,
						 IPV6_HEADER + ND_LENGTH + OPTION_LENGTH, &ip);

	if (frame == NULL)
		return false;
	net_ipv6_header(ip, from, to, PROTOCOL_ICMPV6, 255, ND_LENGTH + OPTION_LENGTH);
	p = ip + IPV6_HEADER;
	p[0] = type;
	p[1] = 0;
	store16(p + 2, 0);
	store32(p + 4, flags);
	memcpy(p + 8, target->bytes, 16);
	p[24] = type == ND_SOLICITATION ? OPTION_SOURCE : OPTION_TARGET;
	p[25] = 1; /* in units of 8 octets */
	memcpy(p + 26, stack->ports[port].mac, 6);
	checksum_store(p + 2, checksum_add(checksum_pseudo(from, to, PROTOCOL_ICMPV6,
							   ND_LENGTH + OPTION_LENGTH),
					   p, ND_LENGTH + OPTION_LENGTH));
	net_transmit(stack, frame);
	return true;
}

bool nd_solicit(struct net_stack *stack, const struct neighbour *n)
{
	struct ip_address group = solicited_node(&n->address);
	uint8_t mac[6];

	if (n->state == NEIGHBOUR_PROBE) { /* RFC 4861, 7.3.3: unicast */
		return nd_send(stack, n->port, n->vlan, ND_SOLICITATION, 0, n->mac, &n->source,
			       &n->address, &n->address);
	}
	multicast_mac(&group, mac);
	return nd_send(stack, n->port, n->vlan, ND_SOLICITATION, 0, mac, &n->source, &group,
		       &n->address);
}

void nd_announce(struct net_stack *stack, const struct local_address *own)
{
	uint8_t mac[6];

	multicast_mac(&all_nodes, mac);
	nd_send(stack, own->port, own->vlan, ND_ADVERTISEMENT, FLAG_OVERRIDE, mac, &own->address,
		&all_nodes, &own->address);
}

/* @return false: malformed (a zero length; RFC 4861, 4.6). *mac stays NULL when the option is
 * absent. */
static bool find_option(const struct net_packet *packet, uint8_t type, const uint8_t **mac)
{
	const uint8_t *p = packet->payload + ND_LENGTH;
	unsigned left = packet->length - ND_LENGTH;

	*mac = NULL;
	while (left >= 8) {
		unsigned size = p[1] * 8u;

		if (size == 0 || size > left)
			return false;
		if (p[0] == type && *mac == NULL)
			*mac = p + 2;
		p += size;
		left -= size;
	}
	return left == 0;
}

static void solicitation(struct net_stack *stack, const struct net_packet *packet,
			 const struct ip_address *target)
{
	const struct local_address *own = local_find(&stack->local, target);
	bool probe = ip_is_unspecified(&packet->source); /* duplicate address detection */
	const uint8_t *mac;
	uint8_t group_mac[6];

	if (own == NULL || own->port != packet->port || own->vlan != packet->vlan ||
	    !find_option(packet, OPTION_SOURCE, &mac) || stack->handed)
		return;
	if (probe) { /* RFC 4861, 7.2.4: to all nodes, not solicited */
		const struct ip_address group = solicited_node(target);

		/* RFC 4861, 7.1.1. */
		if (mac != NULL || !ip_equal(&packet->destination, &group) ||
		    !net_may_answer_link(stack))
			return;
		multicast_mac(&all_nodes, group_mac);
		nd_send(stack, packet->port, packet->vlan, ND_ADVERTISEMENT, FLAG_OVERRIDE,
			group_mac, target, &all_nodes, target);
		return;
	}
	if (mac == NULL)
		mac = packet->frame->data + 6;
	if ((mac[0] & 1) != 0) /* an answer to a group address goes nowhere */
		return;
	neighbour_learn(stack, &packet->source, packet->port, packet->vlan, mac, false, true);
	if (!net_may_answer_link(stack))
		return;
	nd_send(stack, packet->port, packet->vlan, ND_ADVERTISEMENT, FLAG_SOLICITED | FLAG_OVERRIDE,
		mac, target, &packet->source, target);
}

static void advertisement(struct net_stack *stack, const struct net_packet *packet,
			  const struct ip_address *target, bool *others)
{
	uint32_t flags = load32(packet->payload + 4);
	bool solicited = (flags & FLAG_SOLICITED) != 0;
	const uint8_t *mac;

	if (local_find(&stack->local, target) != NULL ||
	    !find_option(packet, OPTION_TARGET, &mac) ||
	    (solicited && packet->destination.bytes[0] == 0xff)) {
		stack->counters.drop_source++;
		return;
	}
	*others = true;
	if (mac != NULL && ((flags & FLAG_OVERRIDE) != 0 ||
			    !neighbour_differs(stack, target, packet->port, packet->vlan, mac)))
		neighbour_learn(stack, target, packet->port, packet->vlan, mac, solicited, false);
	else if (mac != NULL)
		/* RFC 4861, 7.2.5: without Override another address only casts doubt. */
		neighbour_doubt(stack, target, packet->port, packet->vlan);
	else if (solicited) { /* RFC 4861, 7.2.5: nothing new but that it is there */
		struct neighbour *n =
			neighbour_find(&stack->neighbours, target, packet->port, packet->vlan);

		if (n != NULL)
			neighbour_confirm(n, stack->now_us);
	}
}

void nd_input(struct net_stack *stack, const struct net_packet *packet, bool *others)
{
	struct ip_address target;

	stack->counters.nd_in++;
	/* RFC 4861, 7.1: hop limit 255 shows that no router forwarded it. The checksum was checked.
	 */
	if (packet->length < ND_LENGTH || packet->hop_limit != 255 || packet->payload[1] != 0) {
		stack->counters.drop_short++;
		return;
	}
	memcpy(target.bytes, packet->payload + 8, 16);
	if (target.bytes[0] == 0xff)
		return;
	if (packet->payload[0] == ND_SOLICITATION)
		solicitation(stack, packet, &target);
	else
		advertisement(stack, packet, &target, others);
}
