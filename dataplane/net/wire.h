/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Numbers and constants of the wire: unaligned big-endian loads and stores, header sizes, protocol
 * numbers. Received headers are read in place and never written.
 */
#ifndef MILLRACE_DATAPLANE_NET_WIRE_H
#define MILLRACE_DATAPLANE_NET_WIRE_H

#include <stdint.h>
#include <string.h>

#define ETHERNET_HEADER 14u
#define VLAN_TAG	4u
#define IPV4_HEADER	20u
#define IPV6_HEADER	40u
#define TCP_HEADER	20u
#define ICMP_HEADER	8u
#define ARP_PACKET	28u

#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_ARP  0x0806u
#define ETHERTYPE_VLAN 0x8100u
#define ETHERTYPE_IPV6 0x86ddu

#define PROTOCOL_ICMP	  1u
#define PROTOCOL_TCP	  6u
#define PROTOCOL_UDP	  17u
#define PROTOCOL_ICMPV6	  58u
#define PROTOCOL_HOPOPT	  0u
#define PROTOCOL_ROUTING  43u
#define PROTOCOL_FRAGMENT 44u
#define PROTOCOL_DSTOPT	  60u

static inline uint16_t load16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap16(v);
}

static inline uint32_t load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap32(v);
}

static inline void store16(uint8_t *p, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void store32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, sizeof(v));
}

#endif
