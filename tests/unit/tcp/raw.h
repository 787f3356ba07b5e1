/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a script_segment cannot say: IPv4 packets whose header fields, IP options or TCP options a
 * test chooses byte by byte, and ICMP errors about a connection.
 */
#ifndef MILLRACE_TESTS_UNIT_TCP_RAW_H
#define MILLRACE_TESTS_UNIT_TCP_RAW_H

#include "tests/unit/tcp/dialog.h"

/* Fill in both checksums of an IPv4 packet with TCP. */
static inline void raw_finish(uint8_t *packet, size_t size)
{
	size_t header = (packet[0] & 15u) * 4u;
	struct ip_address source = ip_from_v4(load32(packet + 12));
	struct ip_address destination = ip_from_v4(load32(packet + 16));
	uint8_t *p = packet + header;

	store16(packet + 2, (uint16_t)size);
	store16(packet + 10, 0);
	checksum_store(packet + 10, checksum_add(0, packet, header));
	store16(p + 16, 0);
	checksum_store(p + 16, checksum_add(checksum_pseudo(&source, &destination, PROTOCOL_TCP,
							    (uint32_t)(size - header)),
					    p, size - header));
}

/* Put `count` bytes, whole words, into the packet at `at`. @return its new size */
static inline size_t raw_insert(uint8_t *packet, size_t size, size_t at, const uint8_t *what,
				size_t count)
{
	assert_true(count % 4 == 0 && at <= size);
	memmove(packet + at + count, packet + at, size - at);
	memcpy(packet + at, what, count);
	return size + count;
}

/* Feed a segment that has no options of its own with these. */
static inline void raw_feed_options(struct dialog *d, const struct script_segment *s,
				    const uint8_t *options, size_t count)
{
	uint8_t packet[2048];
	size_t size = script_build(d->h, s, packet);

	assert_int_equal(packet[32] >> 4, 5);
	size = raw_insert(packet, size, 40, options, count);
	packet[32] = (uint8_t)((5 + count / 4) << 4);
	raw_finish(packet, size);
	harness_feed(d->h, packet, size);
}

/* Feed a segment with these IP options. */
static inline void raw_feed_ip_options(struct dialog *d, const struct script_segment *s,
				       const uint8_t *options, size_t count)
{
	uint8_t packet[2048];
	size_t size = script_build(d->h, s, packet);

	size = raw_insert(packet, size, 20, options, count);
	packet[0] = (uint8_t)(0x45 + count / 4);
	raw_finish(packet, size);
	harness_feed(d->h, packet, size);
}

/* Feed a segment from and to other addresses. */
static inline void raw_feed_between(struct dialog *d, const struct script_segment *s,
				    uint32_t source, uint32_t destination)
{
	uint8_t packet[2048];
	size_t size = script_build(d->h, s, packet);

	store32(packet + 12, source);
	store32(packet + 16, destination);
	raw_finish(packet, size);
	harness_feed(d->h, packet, size);
}

/* Length and checksums of an ICMPv4 packet whose header says how long it is. */
static inline void raw_finish_icmp(uint8_t *icmp)
{
	size_t size = load16(icmp + 2);

	store16(icmp + 10, 0);
	checksum_store(icmp + 10, checksum_add(0, icmp, 20));
	if (size < 24)
		return;
	store16(icmp + 22, 0);
	checksum_store(icmp + 22, checksum_add(0, icmp + 20, size - 20));
}

#define RAW_ICMP 56u

/* An ICMP error about the stack's segment at `seq`, which was `quoted` bytes as a packet. */
static inline void raw_icmp(const struct dialog *d, uint8_t type, uint8_t code, uint16_t mtu,
			    uint32_t seq, uint16_t quoted, uint8_t icmp[RAW_ICMP])
{
	uint8_t *p = icmp + 20, *inner = p + 8;

	memset(icmp, 0, RAW_ICMP);
	icmp[0] = 0x45;
	store16(icmp + 2, RAW_ICMP);
	icmp[8] = 64;
	icmp[9] = PROTOCOL_ICMP;
	store32(icmp + 12, 0x0a0000fe);
	memcpy(icmp + 16, d->h->address.bytes + 12, 4);
	p[0] = type;
	p[1] = code;
	store16(p + 6, mtu);
	inner[0] = 0x45;
	store16(inner + 2, quoted);
	store16(inner + 6, 0x4000);
	inner[8] = 64;
	inner[9] = PROTOCOL_TCP;
	memcpy(inner + 12, d->h->address.bytes + 12, 4);
	memcpy(inner + 16, d->h->peer.bytes + 12, 4);
	store16(inner + 20, d->h->script_local_port);
	store16(inner + 22, d->h->script_remote_port);
	store32(inner + 24, seq);
	raw_finish_icmp(icmp);
}

static inline void raw_feed_icmp(struct dialog *d, uint8_t type, uint8_t code, uint16_t mtu,
				 uint32_t seq, uint16_t quoted)
{
	uint8_t icmp[RAW_ICMP];

	raw_icmp(d, type, code, mtu, seq, quoted, icmp);
	harness_feed(d->h, icmp, RAW_ICMP);
}

#endif
