/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Frames on their way out: path lookup, Ethernet, VLAN and IP headers, and the transmit queue of
 * each port. The source address decides port and VLAN (DESIGN.md, decision 13).
 */
#include "dataplane/net/checksum.h"
#include "dataplane/net/stack.h"
#include "dataplane/net/wire.h"

#include <assert.h>
#include <errno.h>

int net_path_find(struct net_stack *stack, const struct ip_address *local,
		  const struct ip_address *remote, struct net_path *path)
{
	const struct local_address *own = local_find(&stack->local, local);
	struct ip_address hop;
	struct neighbour *n;
	bool gateway;

	if (own == NULL || !stack->ports[own->port].present)
		return -EADDRNOTAVAIL;
	if (!local_next_hop(&stack->local, own->port, own->vlan, remote, &hop))
		return -ENETUNREACH;
	gateway = !ip_equal(&hop, remote);
	n = neighbour_get(stack, &hop, own->port, own->vlan,
			  gateway ? NEIGHBOUR_GATEWAY : NEIGHBOUR_ASKED);
	if (n == NULL)
		return -ENOBUFS;
	*path = (struct net_path){
		.neighbour = (uint32_t)(n - stack->neighbours.entries),
		.epoch = n->epoch,
		.port = own->port,
		.mtu = stack->ports[own->port].mtu,
	};
	if (n->state == NEIGHBOUR_FAILED && n->confirmed_us != 0 &&
	    n->confirmed_us + NEIGHBOUR_HOLD_US > stack->now_us)
		return -EHOSTUNREACH;
	return 0;
}

unsigned net_port_room(const struct net_stack *stack, uint16_t port)
{
	const struct net_port *p = &stack->ports[port];
	uint32_t used = p->tx_tail - p->tx_head;

	return used >= TX_QUEUE - TX_RESERVE ? 0 : TX_QUEUE - TX_RESERVE - used;
}

static struct frame *alloc_for(struct frame_pool *frames, unsigned size)
{
	if (size > FRAME_BYTES && frames->alloc_large != NULL)
		return frames->alloc_large(frames->context);
	return frame_alloc(frames);
}

struct frame *net_ethernet_begin(struct net_stack *stack, uint16_t port, uint16_t vlan,
				 const uint8_t destination[6], uint16_t ethertype,
				 uint16_t payload_length, uint8_t **payload)
{
	unsigned header = ETHERNET_HEADER + (vlan != 0 ? VLAN_TAG : 0);
	struct frame *frame = alloc_for(stack->settings.frames, header + payload_length);
	uint8_t *p;

	if (frame == NULL || header + payload_length > frame->capacity) {
		/* Who wanted a large one sends small ones instead. */
		stack->counters.drop_no_frame += header + payload_length <= FRAME_BYTES;
		if (frame != NULL)
			frame_free(stack->settings.frames, frame);
		return NULL;
	}
	p = frame->data;
	memcpy(p, destination, 6);
	memcpy(p + 6, stack->ports[port].mac, 6);
	p += 12;
	if (vlan != 0) { /* IEEE 802.1Q, 9.6: priority 0 */
		store16(p, ETHERTYPE_VLAN);
		store16(p + 2, vlan);
		p += VLAN_TAG;
	}
	store16(p, (uint16_t)ethertype);
	frame->port = port;
	frame->flags = 0;
	frame->l2_length = (uint16_t)header;
	frame->l3_length = 0;
	frame->length = (uint16_t)(header + payload_length);
	*payload = frame->data + header;
	return frame;
}

static void ipv4_header(struct net_stack *stack, struct frame *frame, uint8_t *to,
			const struct ip_address *source, const struct ip_address *destination,
			uint8_t protocol, uint8_t ttl, uint8_t ecn, uint16_t length)
{
	to[0] = 0x45;
	to[1] = ecn;
	store16(to + 2, (uint16_t)(IPV4_HEADER + length));
	store16(to + 4, stack->ip_id++); /* RFC 6864: of no meaning with DF */
	store16(to + 6, 0x4000);
	to[8] = ttl;
	to[9] = protocol;
	store16(to + 10, 0);
	memcpy(to + 12, source->bytes + 12, 4);
	memcpy(to + 16, destination->bytes + 12, 4);
	if (stack->settings.offloads[frame->port].tx_ip_checksum)
		frame->flags |= FRAME_TX_IP_CHECKSUM;
	else
		checksum_store(to + 10, checksum_add(0, to, IPV4_HEADER));
}

void net_ipv6_header(uint8_t *to, const struct ip_address *source,
		     const struct ip_address *destination, uint8_t protocol, uint8_t hop_limit,
		     uint16_t length)
{
	store32(to, 0x60000000);
	store16(to + 4, length);
	to[6] = protocol;
	to[7] = hop_limit;
	memcpy(to + 8, source->bytes, 16);
	memcpy(to + 24, destination->bytes, 16);
}

struct frame *net_frame_begin(struct net_stack *stack, const struct net_path *path,
			      const struct ip_address *local, const struct ip_address *remote,
			      uint8_t protocol, uint8_t hop_limit, uint16_t length,
			      uint8_t **payload)
{
	static const uint8_t unresolved[6];
	const struct neighbour *n = &stack->neighbours.entries[path->neighbour];
	bool v4 = ip_is_v4(local);
	uint16_t header = v4 ? IPV4_HEADER : IPV6_HEADER;
	struct frame *frame;
	uint8_t *ip;

	frame = net_ethernet_begin(stack, n->port, n->vlan, unresolved,
				   v4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6,
				   (uint16_t)(header + length), &ip);
	if (frame == NULL)
		return NULL;
	frame->l3_length = header;
	if (v4)
		ipv4_header(stack, frame, ip, local, remote, protocol, hop_limit, path->ecn,
			    length);
	else
		net_ipv6_header(ip, local, remote, protocol, hop_limit, length);
	if (!v4)
		ip[1] |= (uint8_t)(path->ecn << 4);
	*payload = ip + header;
	return frame;
}

void net_frame_send(struct net_stack *stack, const struct net_path *path,
		    const struct ip_address *local, struct frame *frame)
{
	neighbour_send(stack, &stack->neighbours.entries[path->neighbour], local, frame);
}

void net_transmit(struct net_stack *stack, struct frame *frame)
{
	struct net_port *p = &stack->ports[frame->port];

	if (p->tx_tail - p->tx_head == TX_QUEUE) {
		stack->counters.drop_no_frame++;
		frame_free(stack->settings.frames, frame);
		return;
	}
	p->tx[p->tx_tail++ % TX_QUEUE] = frame;
}
