/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Multicast listener reports (RFC 3810) for the solicited-node groups of our addresses: a switch
 * that snoops (RFC 4541, 3) would else keep solicitations from us, and nobody could find us. Our
 * addresses are global, so reports come from the unspecified address, which is what snoopers take
 * (RFC 3590, 4); routers need none for groups of link scope. One worker reports for all.
 */
#include "dataplane/net/checksum.h"
#include "dataplane/net/stack.h"
#include "dataplane/net/wire.h"

#define MLD_REPORT_V2	  143u
#define RECORD_IS_EXCLUDE 2u /* what is */
#define RECORD_TO_EXCLUDE 4u /* what changes: joined */
#define HOP_BY_HOP_SIZE	  8u
#define REPORT_SIZE	  28u
#define REPORT_LOT	  16u
#define REPORT_INTERVAL	  UINT64_C(2000) /* us */

static void report(struct net_stack *stack, const struct local_address *own, uint8_t record)
{
	/* RFC 3810, 5: hop-by-hop header with router alert (RFC 2711). */
	static const uint8_t alert[HOP_BY_HOP_SIZE] = {PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0};
	static const struct ip_address routers = {{0xff, 0x02, [15] = 0x16}};
	static const struct ip_address unspecified;
	static const uint8_t mac[6] = {0x33, 0x33, 0, 0, 0, 0x16};
	uint8_t *ip, *p;
	struct frame *frame;

	if (!stack->ports[own->port].present || ip_is_v4(&own->address))
		return;
	frame = net_ethernet_begin(stack, own->port, own->vlan, mac, ETHERTYPE_IPV6,
				   IPV6_HEADER + HOP_BY_HOP_SIZE + REPORT_SIZE, &ip);
	if (frame == NULL)
		return;
	net_ipv6_header(ip, &unspecified, &routers, PROTOCOL_HOPOPT, 1,
			HOP_BY_HOP_SIZE + REPORT_SIZE);
	memcpy(ip + IPV6_HEADER, alert, sizeof(alert));
	p = ip + IPV6_HEADER + HOP_BY_HOP_SIZE;
	memset(p, 0, REPORT_SIZE);
	p[0] = MLD_REPORT_V2;
	store16(p + 6, 1); /* records */
	p[8] = record;
	p[12] = 0xff; /* the solicited-node group (RFC 4291, 2.7.1) */
	p[13] = 0x02;
	p[23] = 1;
	p[24] = 0xff;
	memcpy(p + 25, own->address.bytes + 13, 3);
	checksum_store(p + 2, checksum_add(checksum_pseudo(&unspecified, &routers, PROTOCOL_ICMPV6,
							   REPORT_SIZE),
					   p, REPORT_SIZE));
	net_transmit(stack, frame);
}

void mld_join(struct net_stack *stack, const struct local_address *own)
{
	report(stack, own, RECORD_TO_EXCLUDE);
}

void mld_query(struct net_stack *stack, const struct net_packet *packet)
{
	/* RFC 3810, 6.2: from the link, and from a router there. */
	if (packet->hop_limit != 1 || packet->source.bytes[0] != 0xfe ||
	    (packet->source.bytes[1] & 0xc0) != 0x80 || packet->length < 24)
		return;
	if (stack->settings.worker != 0) { /* one of us answers */
		net_hand_off(stack, 0, packet->frame);
		return;
	}
	if (stack->mld_next < stack->local.address_count)
		return; /* a round of reports is under way already */
	stack->mld_next = 0;
	stack->mld_us = stack->now_us + REPORT_INTERVAL;
}

uint64_t mld_due(const struct net_stack *stack)
{
	return stack->mld_next < stack->local.address_count ? stack->mld_us : MR_NEVER;
}

void mld_run(struct net_stack *stack)
{
	for (unsigned i = 0; i < REPORT_LOT && stack->mld_next < stack->local.address_count; i++)
		report(stack, &stack->local.addresses[stack->mld_next++], RECORD_IS_EXCLUDE);
	stack->mld_us = stack->now_us + REPORT_INTERVAL;
}
