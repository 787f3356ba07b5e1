/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Received frames: Ethernet, 802.1Q, IPv4 (RFC 791, RFC 1122 3.2.1) and IPv6 (RFC 8200), each
 * length checked against the frame, then to ARP, ICMP, TCP or reassembly. Always true: no byte of
 * a received frame is written; every drop has a counter.
 */
#include "dataplane/net/checksum.h"
#include "dataplane/net/stack.h"
#include "dataplane/net/wire.h"
#include "dataplane/tcp/layer.h"

#define EXTENSION_HEADERS_MAX 4u

bool net_hand_off(struct net_stack *stack, uint16_t owner, struct frame *frame)
{
	if (owner == stack->settings.worker || stack->settings.hand_off == NULL || stack->handed)
		return false;
	stack->counters.handed_off++;
	stack->settings.hand_off(stack->settings.hand_off_context, owner, frame);
	/* Marks for net_stack_input that the frame is no longer ours. */
	stack->handed = true;
	return true;
}

void net_hand_round(struct net_stack *stack, struct frame *frame)
{
	if (stack->settings.hand_off == NULL || stack->settings.worker_count < 2 || stack->handed)
		return;
	stack->counters.handed_off++;
	stack->settings.hand_off(stack->settings.hand_off_context, UINT16_MAX, frame);
}

/* The self check of steering: did the frame come in where the model says? What has options is not
 * judged: a card need not look behind them, and a peer could end the steering of all by it. */
static void count_arrival(struct net_stack *stack, const struct net_packet *packet, uint16_t owner)
{
	struct net_arrivals *arrivals = &stack->arrivals[packet->port];
	bool v4 = ip_is_v4(&packet->source);
	bool home = owner == stack->settings.worker;
	bool ruled = v4 && load16(packet->payload) == NET_STEERED_PORT;

	if (packet->payload != packet->ip + (v4 ? IPV4_HEADER : IPV6_HEADER))
		return;
	stack->counters.arrived_home += home;
	stack->counters.arrived_elsewhere += !home;
	arrivals->home += home;
	arrivals->elsewhere += !home;
	arrivals->ruled_home += ruled && home;
	arrivals->ruled_elsewhere += ruled && !home;
}

/* Ports come first in TCP, so the owner is known before anything else is looked at. */
static void tcp_packet(struct net_stack *stack, const struct net_packet *packet)
{
	uint16_t owner;

	if (packet->length < TCP_HEADER || packet->l2_multicast) {
		stack->counters.tcp_drop_header++;
		return;
	}
	owner = net_owner_of(&packet->source, load16(packet->payload + 2), load16(packet->payload),
			     stack->settings.worker_count);
	if (stack->settings.worker_count > 1 && !stack->handed && !stack->reassembled)
		count_arrival(stack, packet, owner);
	if (!net_hand_off(stack, owner, packet->frame))
		tcp_input(stack, packet);
}

static void upper_layer(struct net_stack *stack, const struct net_packet *packet)
{
	switch (packet->protocol) {
	case PROTOCOL_TCP:
		tcp_packet(stack, packet);
		return;
	case PROTOCOL_ICMP:
		if (ip_is_v4(&packet->source)) {
			icmp4_input(stack, packet);
			return;
		}
		break;
	case PROTOCOL_ICMPV6:
		if (!ip_is_v4(&packet->source)) {
			icmp6_input(stack, packet);
			return;
		}
		break;
	case PROTOCOL_UDP:
		stack->counters.drop_protocol++;
		icmp_send_unreachable(stack, packet, false);
		return;
	default:
		break;
	}
	stack->counters.drop_protocol++;
	icmp_send_unreachable(stack, packet, true);
}

/* Loose and strict source routes are refused (RFC 7126, 4.3 and 4.4); the rest is skipped. */
static bool ipv4_options_good(const uint8_t *p, unsigned length)
{
	for (unsigned i = 0; i < length;) {
		if (p[i] == 0)
			return true;
		if (p[i] == 1) {
			i++;
			continue;
		}
		if (p[i] == 131 || p[i] == 137 || i + 1 >= length || p[i + 1] < 2 ||
		    p[i + 1] > length - i)
			return false;
		i += p[i + 1];
	}
	return true;
}

static bool is_local(struct net_stack *stack, const struct net_packet *packet)
{
	const struct local_address *own = local_find(&stack->local, &packet->destination);

	return own != NULL && own->port == packet->port && own->vlan == packet->vlan;
}

static void ipv4_fragment(struct net_stack *stack, const struct net_packet *packet, unsigned header)
{
	const uint8_t *ip = packet->ip;

	fragment_input(stack, packet,
		       &(struct fragment){.id = load16(ip + 4),
					  .offset = (uint16_t)((load16(ip + 6) & 0x1fff) * 8),
					  .more = (ip[6] & 0x20) != 0,
					  .protocol = ip[9],
					  .data = ip + header,
					  .size = packet->ip_length - header});
}

static void ipv6_fragment(struct net_stack *stack, const struct net_packet *packet,
			  const uint8_t *p, unsigned left)
{
	if (left < 8) {
		stack->counters.drop_fragment++;
		return;
	}
	fragment_input(stack, packet,
		       &(struct fragment){.id = load32(p + 4),
					  .offset = load16(p + 2) & 0xfff8,
					  .more = (p[3] & 1) != 0,
					  .protocol = p[0],
					  .data = p + 8,
					  .size = left - 8});
}

static void ipv4_input(struct net_stack *stack, struct net_packet *packet, const uint8_t *ip,
		       unsigned length)
{
	unsigned header, total;

	if (length < IPV4_HEADER) {
		stack->counters.drop_short++;
		return;
	}
	header = (ip[0] & 15u) * 4;
	total = load16(ip + 2);
	if (ip[0] >> 4 != 4 || header < IPV4_HEADER || total < header || total > length) {
		stack->counters.drop_ip_header++;
		return;
	}
	if ((packet->frame->flags & FRAME_RX_IP_CHECKSUM_GOOD) == 0 &&
	    checksum_fold(checksum_add(0, ip, header)) != 0xffff) {
		stack->counters.drop_ip_checksum++;
		return;
	}
	if (header > IPV4_HEADER && !ipv4_options_good(ip + IPV4_HEADER, header - IPV4_HEADER)) {
		stack->counters.drop_ip_options++;
		return;
	}
	packet->source = ip_from_v4(load32(ip + 12));
	packet->destination = ip_from_v4(load32(ip + 16));
	if (!is_local(stack, packet)) {
		stack->counters.drop_not_local++;
		return;
	}
	if (!ip_is_host(&packet->source) || local_find(&stack->local, &packet->source) != NULL) {
		stack->counters.drop_source++;
		return;
	}
	packet->ip = ip;
	packet->ip_length = (uint16_t)total;
	packet->ecn = ip[1] & 3;
	if ((load16(ip + 6) & 0x3fff) != 0) {
		ipv4_fragment(stack, packet, header);
		return;
	}
	packet->payload = ip + header;
	packet->length = (uint16_t)(total - header);
	packet->protocol = ip[9];
	packet->hop_limit = ip[8];
	upper_layer(stack, packet);
}

/*
 * RFC 8200, 4.2: the first two bits of an option that is not known say what to do.
 * @return 0: go on; else drop, and 1: silently, 2: with a parameter problem that points to *at
 */
static unsigned ipv6_options(const struct net_packet *packet, const uint8_t *p, unsigned size,
			     const uint8_t **at)
{
	for (unsigned i = 2; i < size;) {
		if (p[i] == 0) { /* Pad1 */
			i++;
			continue;
		}
		if (i + 2 > size || p[i + 1] > size - i - 2)
			return 1;
		*at = p + i;
		switch (p[i] >> 6) {
		case 0: /* PadN is one of these */
			break;
		case 1:
			return 1;
		case 2:
			return 2;
		default:
			return packet->destination.bytes[0] == 0xff ? 1 : 2;
		}
		i += 2u + p[i + 1];
	}
	return 0;
}

/* Walk hop-by-hop, destination options and spent routing headers. @return false: drop (counted) */
static bool ipv6_extensions(struct net_stack *stack, const struct net_packet *packet,
			    const uint8_t **p, unsigned *left, uint8_t *next)
{
	for (unsigned i = 0; i < EXTENSION_HEADERS_MAX; i++) {
		const uint8_t *at = NULL;
		unsigned size, action;

		if (*next != PROTOCOL_HOPOPT && *next != PROTOCOL_DSTOPT &&
		    *next != PROTOCOL_ROUTING)
			return true;
		if (*left < 8 || (*next == PROTOCOL_HOPOPT && i > 0)) /* RFC 8200, 4.1: first */
			break;
		size = ((*p)[1] + 1u) * 8;
		if (size > *left || (*next == PROTOCOL_ROUTING && (*p)[3] != 0))
			break;
		action = *next == PROTOCOL_ROUTING ? 0 : ipv6_options(packet, *p, size, &at);
		if (action == 2)
			icmp_send_parameter(stack, packet, (uint32_t)(at - packet->ip));
		if (action != 0)
			break;
		*next = (*p)[0];
		*p += size;
		*left -= size;
	}
	stack->counters.drop_ip_options++;
	return false;
}

static bool ipv6_group_ours(const struct ip_address *a)
{
	/* ff02::1 and solicited-node groups; which address it is about is checked by ND. */
	static const uint8_t solicited[13] = {0xff, 0x02, [11] = 1, [12] = 0xff};
	static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};

	return memcmp(a->bytes, solicited, 13) == 0 || memcmp(a->bytes, all_nodes, 16) == 0;
}

static void ipv6_input(struct net_stack *stack, struct net_packet *packet, const uint8_t *ip,
		       unsigned length)
{
	const uint8_t *p = ip + IPV6_HEADER;
	bool group;
	unsigned left;
	uint8_t next;

	if (length < IPV6_HEADER) {
		stack->counters.drop_short++;
		return;
	}
	left = load16(ip + 4);
	if (ip[0] >> 4 != 6 || left > length - IPV6_HEADER) {
		stack->counters.drop_ip_header++;
		return;
	}
	memcpy(packet->source.bytes, ip + 8, 16);
	memcpy(packet->destination.bytes, ip + 24, 16);
	group = ipv6_group_ours(&packet->destination);
	if (!group && !is_local(stack, packet)) {
		stack->counters.drop_not_local++;
		return;
	}
	packet->ip = ip;
	packet->ip_length = (uint16_t)(IPV6_HEADER + left);
	next = ip[6];
	if (!ipv6_extensions(stack, packet, &p, &left, &next))
		return;
	/* IPv4-mapped addresses are no sources (RFC 4291, 2.5.5.2); :: is for DAD alone. */
	if (ip_is_v4(&packet->source) ||
	    (!ip_is_host(&packet->source) &&
	     !(ip_is_unspecified(&packet->source) && next == PROTOCOL_ICMPV6)) ||
	    local_find(&stack->local, &packet->source) != NULL) {
		stack->counters.drop_source++;
		return;
	}
	if (group && next != PROTOCOL_ICMPV6) {
		stack->counters.drop_not_local++;
		return;
	}
	packet->ecn = ip[1] >> 4 & 3;
	if (next == PROTOCOL_FRAGMENT) {
		ipv6_fragment(stack, packet, p, left);
		return;
	}
	packet->payload = p;
	packet->length = (uint16_t)left;
	packet->protocol = next;
	packet->hop_limit = ip[7];
	upper_layer(stack, packet);
}

void net_ethernet_input(struct net_stack *stack, struct frame *frame, uint64_t hash)
{
	struct net_packet packet = {.frame = frame, .port = frame->port, .hash = hash};
	const uint8_t *p = frame->data;
	unsigned left = frame->length;
	uint16_t type;
	bool others = false;

	if (left < ETHERNET_HEADER || frame->port >= NET_PORTS_MAX) {
		stack->counters.drop_short++;
		return;
	}
	packet.l2_multicast = (p[0] & 1) != 0;
	if ((p[6] & 1) != 0) { /* no station sends from a group address (IEEE 802.3, 3.2.3) */
		stack->counters.drop_source++;
		return;
	}
	if (!packet.l2_multicast && memcmp(p, stack->ports[frame->port].mac, 6) != 0) {
		stack->counters.drop_not_local++;
		return;
	}
	type = load16(p + 12);
	p += ETHERNET_HEADER;
	left -= ETHERNET_HEADER;
	if (type == ETHERTYPE_VLAN) {
		if (left < VLAN_TAG) {
			stack->counters.drop_short++;
			return;
		}
		packet.vlan = load16(p) & 0x0fff; /* 0 is a priority tag */
		type = load16(p + 2);
		p += VLAN_TAG;
		left -= VLAN_TAG;
	}
	if (!local_has_vlan(&stack->local, frame->port, packet.vlan)) {
		stack->counters.drop_vlan++;
		return;
	}
	if ((frame->flags & FRAME_RX_CHECKSUM_BAD) != 0) {
		stack->counters.drop_ip_checksum++;
		return;
	}
	packet.l4_good = (frame->flags & FRAME_RX_L4_CHECKSUM_GOOD) != 0;
	switch (type) {
	case ETHERTYPE_IPV4:
		ipv4_input(stack, &packet, p, left);
		return;
	case ETHERTYPE_IPV6:
		ipv6_input(stack, &packet, p, left);
		return;
	case ETHERTYPE_ARP:
		arp_input(stack, frame, packet.vlan, p, (uint16_t)left, &others);
		if (others)
			net_hand_round(stack, frame);
		return;
	default:
		stack->counters.drop_ethertype++;
		return;
	}
}
