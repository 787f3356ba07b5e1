/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Building frames by hand, for the tests of dataplane/net. */
#ifndef MILLRACE_TESTS_UNIT_NET_FRAMES_H
#define MILLRACE_TESTS_UNIT_NET_FRAMES_H

#include "dataplane/net/checksum.h"
#include "dataplane/net/wire.h"
#include "tests/sim/tcp_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNTER(h, name) (net_stack_counters((h)->stack)->name)

static const uint8_t remote_mac[6] = {2, 9, 9, 9, 9, 9};
static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};

static inline size_t ethernet(const struct harness *h, uint8_t *to, const uint8_t *mac,
			      uint16_t type)
{
	memcpy(to, mac != NULL ? mac : h->port.mac, 6);
	memcpy(to + 6, remote_mac, 6);
	store16(to + 12, type);
	return 14;
}

static inline size_t arp(const struct harness *h, uint8_t *to, uint16_t operation,
			 const char *sender, const char *target)
{
	uint8_t *p = to + ethernet(h, to, operation == 1 ? broadcast : NULL, ETHERTYPE_ARP);
	struct ip_address a;

	memcpy(p, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, (uint8_t)operation}, 8);
	memcpy(p + 8, remote_mac, 6);
	ip_parse(sender, &a);
	memcpy(p + 14, a.bytes + 12, 4);
	memset(p + 18, 0, 6);
	ip_parse(target, &a);
	memcpy(p + 24, a.bytes + 12, 4);
	return 42;
}

static inline size_t ipv4(uint8_t *p, const char *from, const char *to, uint8_t protocol,
			  size_t length)
{
	struct ip_address a;

	memset(p, 0, 20);
	p[0] = 0x45;
	store16(p + 2, (uint16_t)(20 + length));
	p[8] = 64;
	p[9] = protocol;
	ip_parse(from, &a);
	memcpy(p + 12, a.bytes + 12, 4);
	ip_parse(to, &a);
	memcpy(p + 16, a.bytes + 12, 4);
	checksum_store(p + 10, checksum_add(0, p, 20));
	return 20 + length;
}

static inline size_t ipv6(uint8_t *p, const char *from, const char *to, uint8_t protocol,
			  uint8_t hops, size_t length)
{
	struct ip_address a;

	memset(p, 0, 40);
	p[0] = 0x60;
	store16(p + 4, (uint16_t)length);
	p[6] = protocol;
	p[7] = hops;
	ip_parse(from, &a);
	memcpy(p + 8, a.bytes, 16);
	ip_parse(to, &a);
	memcpy(p + 24, a.bytes, 16);
	return 40 + length;
}

static inline void icmp6_checksum(uint8_t *ip, size_t length)
{
	struct ip_address from, to;

	memcpy(from.bytes, ip + 8, 16);
	memcpy(to.bytes, ip + 24, 16);
	store16(ip + 42, 0);
	checksum_store(ip + 42,
		       checksum_add(checksum_pseudo(&from, &to, PROTOCOL_ICMPV6, (uint32_t)length),
				    ip + 40, length));
}

/* Announcements of the start are out of the way. */
static inline struct harness *quiet(const struct harness_options *options)
{
	struct harness *h = harness_create(options);
	uint8_t frame[2048];

	harness_advance(h, 5000000);
	while (harness_take_frame(h, frame) != 0)
		;
	return h;
}

static const struct harness_options v4 = {.seed = 1}, v6 = {.v6 = true, .seed = 1};

#endif
