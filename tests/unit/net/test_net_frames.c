/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Frames in and out: Ethernet, VLAN, ARP, ND, IPv4, IPv6 and ICMP (RFC 826, 5227, 4861, 791, 1122,
 * 8200, 792, 4443), and whom a frame is handed to.
 */
#include "tests/unit/net/frames.h"

static void rfc_5227_own_addresses_are_announced_twice(void **state)
{
	struct harness *h = harness_create(&v4);
	uint8_t frame[2048];
	unsigned heard = 0;

	for (unsigned i = 0; i < 50; i++) {
		harness_advance(h, 100000);
		while (harness_take_frame(h, frame) != 0) {
			assert_memory_equal(frame, broadcast, 6);
			assert_int_equal(load16(frame + 12), ETHERTYPE_ARP);
			assert_memory_equal(frame + 28, frame + 38, 4);
			assert_memory_equal(frame + 28, h->address.bytes + 12, 4);
			heard++;
		}
	}
	assert_int_equal(heard, 2);
	harness_destroy(h);
}

static void rfc_4861_v6_addresses_are_announced_to_all_nodes(void **state)
{
	static const uint8_t all_nodes[6] = {0x33, 0x33, 0, 0, 0, 1};
	struct harness *h = harness_create(&v6);
	uint8_t frame[2048];

	harness_advance(h, 1000);
	assert_int_equal(harness_take_frame(h, frame), 86);
	assert_memory_equal(frame, all_nodes, 6);
	assert_int_equal(frame[54], 136);
	assert_int_equal(frame[21], 255);
	harness_destroy(h);
}

static void rfc_826_a_request_is_answered_and_its_sender_learnt(void **state)
{
	struct harness *h = quiet(&v4);
	uint8_t frame[2048];

	harness_feed_frame(h, frame, arp(h, frame, 1, "10.0.0.7", "10.0.0.1"));
	assert_int_equal(harness_take_frame(h, frame), 42);
	assert_memory_equal(frame, remote_mac, 6);
	assert_int_equal(load16(frame + 20), 2);
	assert_memory_equal(frame + 22, h->port.mac, 6);
	assert_int_equal(load32(frame + 28), 0x0a000001);
	assert_int_equal(load32(frame + 38), 0x0a000007);
	ip_parse("10.0.0.7", &h->peer); /* known now: the SYN goes out at once */
	assert_non_null(harness_connect(h, 25));
	assert_true(harness_take_frame(h, frame) > 0);
	assert_int_equal(load16(frame + 12), ETHERTYPE_IPV4);
	assert_memory_equal(frame, remote_mac, 6);
	harness_destroy(h);
}

static void arp_for_others_and_about_us_is_ignored(void **state)
{
	struct harness *h = quiet(&v4);
	struct net_gauges gauges;
	uint8_t frame[2048];
	size_t size;

	harness_feed_frame(h, frame, arp(h, frame, 1, "10.0.0.7", "10.0.0.8"));
	harness_feed_frame(h, frame, arp(h, frame, 1, "10.0.0.1", "10.0.0.1")); /* our address */
	harness_feed_frame(h, frame, arp(h, frame, 2, "10.0.0.9", "10.0.0.8"));
	harness_feed_frame(h, frame, 41);
	size = arp(h, frame, 1, "10.0.0.7", "10.0.0.1");
	frame[18] = 8; /* hardware length */
	harness_feed_frame(h, frame, size);
	assert_int_equal(harness_take_frame(h, frame), 0);
	net_stack_gauges(h->stack, &gauges);
	assert_int_equal(gauges.neighbours, 0);
	harness_destroy(h);
}

static void rfc_5227_a_probe_is_answered_without_being_learnt(void **state)
{
	struct harness *h = quiet(&v4);
	struct net_gauges gauges;
	uint8_t frame[2048];

	harness_feed_frame(h, frame, arp(h, frame, 1, "0.0.0.0", "10.0.0.1"));
	assert_int_equal(harness_take_frame(h, frame), 42);
	net_stack_gauges(h->stack, &gauges);
	assert_int_equal(gauges.neighbours, 0);
	harness_destroy(h);
}

static void unresolved_frames_wait_at_most_three_and_leave_with_the_answer(void **state)
{
	struct harness *h = quiet(&v4);
	uint8_t frame[2048];
	unsigned requests = 0, syns = 0;

	for (unsigned i = 0; i < 5; i++)
		assert_non_null(harness_connect(h, 25));
	while (harness_take_frame(h, frame) != 0)
		requests += load16(frame + 12) == ETHERTYPE_ARP;
	assert_int_equal(requests, 1);
	harness_feed_frame(h, frame, arp(h, frame, 2, "10.0.0.2", "10.0.0.1"));
	while (harness_take_frame(h, frame) != 0)
		syns += load16(frame + 12) == ETHERTYPE_IPV4;
	assert_int_equal(syns, 3);
	assert_int_equal(COUNTER(h, drop_neighbour_failed), 2);
	harness_destroy(h);
}

static void a_request_is_sent_three_times_a_second_apart(void **state)
{
	struct harness *h = quiet(&v4);
	struct harness_connection *c = harness_connect(h, 25);
	uint8_t frame[2048];
	unsigned requests = 0;

	for (unsigned i = 0; i < 31; i++) {
		while (harness_take_frame(h, frame) != 0)
			requests++;
		assert_int_equal(requests, 1 + (i > 10) + (i > 20));
		harness_advance(h, 100000);
	}
	assert_true(c->closed);
	harness_destroy(h);
}

static void a_gratuitous_arp_moves_a_neighbour(void **state)
{
	struct harness *h = quiet(&v4);
	static const uint8_t other[6] = {2, 8, 8, 8, 8, 8};
	uint8_t frame[2048], copy[2048];
	size_t size;

	harness_feed_frame(h, frame, arp(h, frame, 1, "10.0.0.2", "10.0.0.1"));
	while (harness_take_frame(h, frame) != 0)
		;
	size = arp(h, copy, 1, "10.0.0.2", "10.0.0.2");
	memcpy(copy + 22, other, 6);
	harness_feed_frame(h, copy, size);
	assert_non_null(harness_connect(h, 25));
	assert_true(harness_take_frame(h, frame) > 0);
	assert_memory_equal(frame, other, 6);
	harness_destroy(h);
}

static void a_stale_neighbour_is_probed_by_unicast(void **state)
{
	struct harness *h = quiet(&v4);
	uint8_t frame[2048];
	unsigned probes = 0;

	harness_feed_frame(h, frame, arp(h, frame, 1, "10.0.0.2", "10.0.0.1"));
	while (harness_take_frame(h, frame) != 0)
		;
	harness_advance(h, 31000000);
	assert_non_null(harness_connect(h, 25));
	for (unsigned i = 0; i < 60; i++) {
		while (harness_take_frame(h, frame) != 0)
			if (load16(frame + 12) == ETHERTYPE_ARP) {
				assert_memory_equal(frame, remote_mac, 6);
				probes++;
			}
		harness_advance(h, 100000);
	}
	assert_int_equal(probes, 1);
	harness_destroy(h);
}

static void a_full_neighbour_table_keeps_what_is_in_use(void **state)
{
	struct harness *h = quiet(&v4);
	uint8_t frame[2048];
	char text[32];

	harness_feed_frame(h, frame, arp(h, frame, 1, "10.0.0.2", "10.0.0.1"));
	for (unsigned i = 10; i < 200; i++) {
		snprintf(text, sizeof(text), "10.0.0.%u", i);
		harness_feed_frame(h, frame, arp(h, frame, 1, text, "10.0.0.1"));
	}
	assert_true(COUNTER(h, drop_neighbour_full) > 0);
	while (harness_take_frame(h, frame) != 0)
		;
	assert_non_null(harness_connect(h, 25));
	assert_true(harness_take_frame(h, frame) > 0);
	assert_int_equal(load16(frame + 12), ETHERTYPE_IPV4);
	harness_destroy(h);
}

static size_t echo4(const struct harness *h, uint8_t *frame, size_t data)
{
	uint8_t *ip = frame + ethernet(h, frame, NULL, ETHERTYPE_IPV4);
	uint8_t *p = ip + 20;

	memset(p, 0x5a, 8 + data);
	p[0] = 8;
	p[1] = 0;
	store16(p + 2, 0);
	checksum_store(p + 2, checksum_add(0, p, 8 + data));
	return 14 + ipv4(ip, "10.0.0.2", "10.0.0.1", PROTOCOL_ICMP, 8 + data);
}

static void rfc_792_echo_is_answered(void **state)
{
	struct harness *h = quiet(&v4);
	uint8_t frame[2048], reply[2048];
	size_t size = echo4(h, frame, 57);

	harness_feed_frame(h, frame, size);
	assert_int_equal(harness_take(h, reply), 20 + 8 + 57);
	assert_int_equal(reply[20], 0);
	assert_int_equal(checksum_fold(checksum_add(0, reply, 20)), 0xffff);
	assert_int_equal(checksum_fold(checksum_add(0, reply + 20, 65)), 0xffff);
	assert_memory_equal(reply + 24, frame + 38, 61);
	assert_int_equal(COUNTER(h, icmp_echo), 1);
	harness_destroy(h);
}

static void rfc_4443_echo_is_answered(void **state)
{
	struct harness *h = quiet(&v6);
	uint8_t frame[2048], reply[2048];
	uint8_t *ip = frame + ethernet(h, frame, NULL, ETHERTYPE_IPV6);
	struct ip_address from, to;

	memset(ip + 40, 7, 40);
	ip[40] = 128;
	ip[41] = 0;
	ipv6(ip, "fd00::2", "fd00::1", PROTOCOL_ICMPV6, 64, 40);
	icmp6_checksum(ip, 40);
	harness_feed_frame(h, frame, 14 + 80);
	assert_int_equal(harness_take(h, reply), 80);
	assert_int_equal(reply[40], 129);
	memcpy(from.bytes, reply + 8, 16);
	memcpy(to.bytes, reply + 24, 16);
	assert_int_equal(checksum_fold(checksum_add(
				 checksum_pseudo(&from, &to, PROTOCOL_ICMPV6, 40), reply + 40, 40)),
			 0xffff);
	harness_destroy(h);
}

static void echoes_are_rate_limited(void **state)
{
	struct harness *h = quiet(&v4);
	uint8_t frame[2048];
	size_t size = echo4(h, frame, 8);
	unsigned heard = 0;

	for (unsigned i = 0; i < 500; i++) {
		uint8_t reply[2048];

		harness_feed_frame(h, frame, size);
		heard += harness_take(h, reply) != 0;
	}
	assert_int_equal(heard, 100);
	assert_int_equal(COUNTER(h, icmp_rate_limited), 400);
	harness_destroy(h);
}

static void udp_and_unknown_protocols_are_unreachable(void **state)
{
	struct harness *h = quiet(&v4);
	uint8_t frame[2048] = {0}, reply[2048];
	uint8_t *ip = frame + ethernet(h, frame, NULL, ETHERTYPE_IPV4);
	size_t size = ipv4(ip, "10.0.0.2", "10.0.0.1", PROTOCOL_UDP, 20);

	harness_feed_frame(h, frame, 14 + size);
	assert_int_equal(harness_take(h, reply), 20 + 8 + 40);
	assert_int_equal(reply[20], 3);
	assert_int_equal(reply[21], 3);
	assert_memory_equal(reply + 28, ip, 40);
	size = ipv4(ip, "10.0.0.2", "10.0.0.1", 132, 20);
	harness_feed_frame(h, frame, 14 + size);
	assert_true(harness_take(h, reply) > 0);
	assert_int_equal(reply[21], 2);
	harness_destroy(h);
}

/* Feed a changed IPv4 TCP packet and look which counter moved. */
#define DROPS(counter, change)                                                         \
	do {                                                                           \
		uint64_t before = COUNTER(h, counter);                                 \
		uint8_t *ip = frame + ethernet(h, frame, NULL, ETHERTYPE_IPV4);        \
		size_t size = 14 + ipv4(ip, "10.0.0.2", "10.0.0.1", PROTOCOL_TCP, 20); \
		memset(ip + 20, 0, 20);                                                \
		change;                                                                \
		harness_feed_frame(h, frame, size);                                    \
		assert_int_equal(COUNTER(h, counter), before + 1);                     \
		assert_int_equal(harness_take_frame(h, frame), 0);                     \
	} while (0)
#define RESUM                                                                    \
	do {                                                                     \
		store16(ip + 10, 0);                                             \
		checksum_store(ip + 10, checksum_add(0, ip, (ip[0] & 15u) * 4)); \
	} while (0)

static void bad_frames_and_ipv4_headers_are_dropped_and_counted(void **state)
{
	struct harness *h = quiet(&v4);
	uint8_t frame[2048];

	DROPS(drop_short, size = 13);
	DROPS(drop_short, size = 33);
	DROPS(drop_not_local, frame[0] ^= 4);
	DROPS(drop_ethertype, store16(frame + 12, 0x1234));
	DROPS(drop_vlan, store16(frame + 12, ETHERTYPE_VLAN); store16(frame + 14, 9));
	DROPS(drop_ip_header, ip[0] = 0x65);
	DROPS(drop_ip_header, ip[0] = 0x44);
	DROPS(drop_ip_header, store16(ip + 2, 19); RESUM);
	DROPS(drop_ip_header, store16(ip + 2, 41); RESUM);
	DROPS(drop_ip_header, ip[0] = 0x4f);
	DROPS(drop_ip_checksum, ip[10] ^= 1);
	DROPS(drop_fragment, store16(ip + 6, 0x2000); RESUM);
	DROPS(drop_fragment, store16(ip + 6, 0x1fff); RESUM);
	DROPS(drop_not_local, ip[19] = 9; RESUM);
	DROPS(drop_not_local, memset(ip + 16, 255, 4); RESUM);
	DROPS(drop_source, memset(ip + 12, 255, 4); RESUM);
	DROPS(drop_source, ip[12] = 224; RESUM);
	DROPS(drop_source, ip[12] = 127; RESUM);
	DROPS(drop_source, memcpy(ip + 12, ip + 16, 4); RESUM);
	DROPS(drop_ip_options, ip[0] = 0x46; memcpy(ip + 20, "\x83\x04\x04\x00", 4); RESUM);
	DROPS(drop_ip_options, ip[0] = 0x46; memcpy(ip + 20, "\x07\x01\x00\x00", 4); RESUM);
	DROPS(tcp_drop_header, store16(ip + 2, 39); RESUM);
	harness_destroy(h);
}

static void harmless_ipv4_options_are_skipped(void **state)
{
	struct harness *h = quiet(&v4);
	uint8_t packet[2048], shifted[2048], reply[2048];
	struct script_segment syn = {.flags = TCP_SYN, .seq = 1, .window = 1000};
	size_t size = script_build(h, &syn, packet);

	memcpy(shifted, packet, 20);
	memcpy(shifted + 20, "\x94\x04\x00\x00", 4); /* router alert */
	memcpy(shifted + 24, packet + 20, size - 20);
	shifted[0] = 0x46;
	store16(shifted + 2, (uint16_t)(size + 4));
	store16(shifted + 10, 0);
	checksum_store(shifted + 10, checksum_add(0, shifted, 24));
	harness_feed(h, shifted, size + 4);
	assert_true(harness_take(h, reply) > 0); /* RST: nobody listens */
	harness_destroy(h);
}

static void trailing_bytes_of_a_short_packet_are_ignored(void **state)
{
	struct harness *h = quiet(&v4);
	struct script_segment syn = {.flags = TCP_SYN, .seq = 1, .window = 1000};
	uint8_t packet[2048] = {0};

	script_build(h, &syn, packet);
	memset(packet + 40, 0xee, 6); /* Ethernet padding */
	harness_feed(h, packet, 46);
	assert_true(harness_take(h, packet) > 0);
	harness_destroy(h);
}

static void a_reload_disturbs_no_neighbour_and_no_connection(void **state)
{
	struct harness *h = quiet(&v4);
	struct view_address addresses[2];
	struct net_gauges gauges;
	uint8_t frame[2048];

	harness_feed_frame(h, frame, arp(h, frame, 1, "10.0.0.2", "10.0.0.1"));
	while (harness_take_frame(h, frame) != 0)
		;
	assert_non_null(harness_connect(h, 25));
	addresses[0] = h->addresses[0];
	addresses[1] = h->addresses[0];
	addresses[1].address.bytes[15] = 99;
	h->view.addresses = addresses;
	h->view.address_count = 2;
	assert_int_equal(net_stack_configure(h->stack, &h->view, &h->now), 0);
	assert_true(harness_take_frame(h, frame) > 0); /* the SYN, without a question */
	assert_int_equal(load16(frame + 12), ETHERTYPE_IPV4);
	net_stack_gauges(h->stack, &gauges);
	assert_int_equal(gauges.connections, 1);
	h->port.mac[5] ^= 1; /* another card: everything anew */
	assert_int_equal(net_stack_configure(h->stack, &h->view, &h->now), 0);
	net_stack_gauges(h->stack, &gauges);
	assert_int_equal(gauges.neighbours, 0);
	harness_destroy(h);
}

static void bad_ipv6_headers_are_dropped_and_counted(void **state)
{
	struct harness *h = quiet(&v6);
	uint8_t frame[2048];
	static const struct {
		const char *from;
		uint8_t next;
	} cases[] = {{"ff02::5", 6}, {"::", 6}, {"::ffff:1.2.3.4", 6}, {"fd00::1", 6}};

#define FEED6(counter, from, to, next, length, change)                          \
	do {                                                                    \
		uint64_t before = COUNTER(h, counter);                          \
		uint8_t *ip = frame + ethernet(h, frame, NULL, ETHERTYPE_IPV6); \
		size_t size = 14 + ipv6(ip, from, to, next, 64, length);        \
		memset(ip + 40, 0, length);                                     \
		change;                                                         \
		harness_feed_frame(h, frame, size);                             \
		assert_int_equal(COUNTER(h, counter), before + 1);              \
	} while (0)
	for (unsigned i = 0; i < 4; i++)
		FEED6(drop_source, cases[i].from, "fd00::1", cases[i].next, 20, (void)0);
	FEED6(drop_short, "fd00::2", "fd00::1", 6, 20, size = 14 + 39);
	FEED6(drop_ip_header, "fd00::2", "fd00::1", 6, 20, store16(ip + 4, 21));
	FEED6(drop_not_local, "fd00::2", "fd00::9", 6, 20, (void)0);
	FEED6(drop_not_local, "fd00::2", "ff02::1", 6, 20, (void)0);
	FEED6(drop_fragment, "fd00::2", "fd00::1", 44, 28, (void)0);
	FEED6(drop_ip_options, "fd00::2", "fd00::1", 0, 28, ip[41] = 9);
	FEED6(drop_ip_options, "fd00::2", "fd00::1", 43, 28, ip[40] = 6; ip[43] = 1);
	FEED6(drop_ip_options, "fd00::2", "fd00::1", 60, 48, memset(ip + 40, 0, 40); ip[40] = 60;
	      ip[48] = 60; ip[56] = 60; ip[64] = 60);
	FEED6(tcp_in, "fd00::2", "fd00::1", 0, 28, ip[40] = 6);
	harness_destroy(h);
}

static void a_vlan_is_stripped_and_added_and_others_are_dropped(void **state)
{
	struct harness_options options = {.vlan = 100};
	struct harness *h = harness_create(&options);
	struct script_segment syn = {.flags = TCP_SYN, .seq = 1, .window = 1000};
	uint8_t packet[2048], frame[2048];
	size_t size;

	script_feed(h, &syn);
	size = harness_take(h, packet); /* asserts the tag */
	assert_true(size > 0);
	h->options.vlan = 101;
	script_feed(h, &syn);
	h->options.vlan = 0;
	script_feed(h, &syn);
	assert_int_equal(COUNTER(h, drop_vlan), 2);
	assert_int_equal(harness_take_frame(h, frame), 0);
	harness_destroy(h);
}

static void segments_go_to_their_owner_and_icmp_errors_by_the_inner_ports(void **state)
{
	struct harness_options options = {.worker = 0, .worker_count = 4};
	struct harness *h = quiet(&options);
	unsigned ours = 0;

	harness_listen(h, 25);
	for (uint16_t port = 1024; port < 1024 + 256; port++) {
		struct script_segment syn = {.flags = TCP_SYN, .window = 1000, .from_port = port};
		uint8_t icmp[56] = {0x45};
		unsigned before = h->handed_off;
		uint16_t owner = net_owner(25, port, 4);

		script_feed(h, &syn);
		assert_int_equal(h->handed_off - before, owner != 0);
		if (owner != 0)
			assert_int_equal(h->handed_to, owner);
		ours += owner == 0;
		/* An error about a segment from port 25 to `port`. */
		ipv4(icmp, "10.0.0.254", "10.0.0.1", PROTOCOL_ICMP, 36);
		icmp[20] = 3;
		ipv4(icmp + 28, "10.0.0.1", "10.0.0.2", PROTOCOL_TCP, 40);
		store16(icmp + 48, 25);
		store16(icmp + 50, port);
		checksum_store(icmp + 22, checksum_add(0, icmp + 20, 36));
		before = h->handed_off;
		harness_feed(h, icmp, 56);
		assert_int_equal(h->handed_off - before, owner != 0);
	}
	assert_int_equal(ours, 64);
	assert_int_equal(COUNTER(h, handed_off), 2 * 192);
	harness_destroy(h);
}

/* The address term: bits 73 to 79 XOR 89 to 95 of the client's address. */
static void an_ipv6_owner_depends_on_the_remote_address_too(void **state)
{
	struct harness_options options = {.v6 = true, .worker = 0, .worker_count = 4};
	struct harness *h = quiet(&options);
	const struct net_arrivals *arrivals = net_stack_arrivals(h->stack, 0);
	struct ip_address from;
	unsigned ours = 0;

	assert_int_equal(ip_parse("fd00::85:3:0:2", &from), 0);
	assert_int_equal(net_owner_term(&from), 6);
	for (uint16_t port = 1024; port < 1024 + 128; port++) {
		uint8_t packet[IPV6_HEADER + TCP_HEADER] = {0};
		uint16_t owner = net_owner_of(&from, 25, port, 4);
		unsigned before = h->handed_off;

		assert_int_equal(owner, net_owner(25, port ^ 6, 4));
		ipv6(packet, "fd00::85:3:0:2", "fd00::1", PROTOCOL_TCP, 64, TCP_HEADER);
		store16(packet + IPV6_HEADER, port);
		store16(packet + IPV6_HEADER + 2, 25);
		harness_feed(h, packet, sizeof(packet));
		assert_int_equal(h->handed_off - before, owner != 0);
		if (owner != 0)
			assert_int_equal(h->handed_to, owner);
		ours += owner == 0;
		/* An error about a segment from port 25 to `port` goes the same way. */
		uint8_t error[IPV6_HEADER + 8 + IPV6_HEADER + TCP_HEADER] = {0};

		ipv6(error + IPV6_HEADER + 8, "fd00::1", "fd00::85:3:0:2", PROTOCOL_TCP, 64,
		     TCP_HEADER);
		store16(error + 2 * IPV6_HEADER + 8, 25);
		store16(error + 2 * IPV6_HEADER + 10, port);
		ipv6(error, "fd00::ff", "fd00::1", PROTOCOL_ICMPV6, 64,
		     sizeof(error) - IPV6_HEADER);
		error[IPV6_HEADER] = 1;
		icmp6_checksum(error, sizeof(error) - IPV6_HEADER);
		before = h->handed_off;
		harness_feed(h, error, sizeof(error));
		assert_int_equal(h->handed_off - before, owner != 0);
		if (owner != 0)
			assert_int_equal(h->handed_to, owner);
	}
	assert_int_equal(ours, 32);
	assert_int_equal(COUNTER(h, arrived_home), 32);
	assert_int_equal(COUNTER(h, arrived_elsewhere), 96);
	assert_int_equal(arrivals->home, 32);
	assert_int_equal(arrivals->elsewhere, 96);
	assert_int_equal(arrivals->ruled_home + arrivals->ruled_elsewhere, 0);
	harness_destroy(h);
}

/* A card need not look behind options: were these counted, any peer could end the port's steering.
 * And whether it takes rules for IPv6 is left to it. */
static void steering_is_judged_by_packets_without_options_alone(void **state)
{
	struct harness_options options = {.v6 = true, .worker = 0, .worker_count = 4};
	struct harness *h = quiet(&options);
	const struct net_arrivals *arrivals = net_stack_arrivals(h->stack, 0);

	for (uint16_t port = 1024; port < 1024 + 128; port++) {
		uint8_t packet[IPV6_HEADER + 8 + TCP_HEADER] = {0};

		ipv6(packet, "fd00::2", "fd00::1", 60, 64, 8 + TCP_HEADER);
		packet[IPV6_HEADER] = PROTOCOL_TCP; /* destination options, PadN */
		packet[IPV6_HEADER + 2] = 1;
		packet[IPV6_HEADER + 3] = 4;
		store16(packet + IPV6_HEADER + 8, port);
		store16(packet + IPV6_HEADER + 10, 25);
		harness_feed(h, packet, sizeof(packet));
	}
	assert_int_equal(COUNTER(h, handed_off), 96);
	assert_int_equal(arrivals->home + arrivals->elsewhere, 0);
	for (uint16_t port = 1024; port < 1024 + 128; port++) {
		uint8_t packet[IPV6_HEADER + TCP_HEADER] = {0};

		ipv6(packet, "fd00::2", "fd00::1", PROTOCOL_TCP, 64, TCP_HEADER);
		store16(packet + IPV6_HEADER, 25);
		store16(packet + IPV6_HEADER + 2, port);
		harness_feed(h, packet, sizeof(packet));
	}
	assert_int_equal(arrivals->home + arrivals->elsewhere, 128);
	assert_int_equal(arrivals->ruled_home + arrivals->ruled_elsewhere, 0);
	harness_destroy(h);
}

static void a_handed_frame_is_never_handed_on(void **state)
{
	struct harness_options options = {.worker = 1, .worker_count = 2};
	struct harness *h = quiet(&options);
	struct script_segment syn = {.flags = TCP_SYN, .window = 1000};
	struct frame *frame;
	size_t size;

	for (syn.from_port = 1024; net_owner(25, syn.from_port, 2) != 0; syn.from_port++)
		;
	frame = frame_alloc(sim_frame_pool_interface(h->frames));
	size = script_build(h, &syn, frame->data + 14);
	ethernet(h, frame->data, NULL, ETHERTYPE_IPV4);
	frame->length = (uint16_t)(14 + size);
	net_stack_input_handed(h->stack, &frame, 1, &h->now);
	assert_int_equal(h->handed_off, 0);
	assert_int_equal(COUNTER(h, handed_in), 1);
	assert_int_equal(COUNTER(h, tcp_in), 1);
	harness_destroy(h);
}

static void arp_replies_go_round_to_all_workers(void **state)
{
	struct harness_options options = {.worker = 0, .worker_count = 2};
	struct harness *h = quiet(&options);
	uint8_t frame[2048];

	harness_feed_frame(h, frame, arp(h, frame, 2, "10.0.0.7", "10.0.0.1"));
	assert_int_equal(h->handed_off, 1);
	assert_int_equal(h->handed_to, UINT16_MAX);
	harness_feed_frame(h, frame, arp(h, frame, 1, "10.0.0.7", "10.0.0.1"));
	assert_int_equal(h->handed_off, 1); /* a question is answered here */
	harness_destroy(h);
}

static void a_port_that_found_a_checksum_wrong_is_believed(void **state)
{
	struct harness *h = quiet(&v4);
	struct script_segment syn = {.flags = TCP_SYN, .window = 1000};
	struct frame *frame = frame_alloc(sim_frame_pool_interface(h->frames));

	frame->length = (uint16_t)(14 + script_build(h, &syn, frame->data + 14));
	ethernet(h, frame->data, NULL, ETHERTYPE_IPV4);
	frame->flags = FRAME_RX_CHECKSUM_BAD;
	net_stack_input(h->stack, &frame, 1, &h->now);
	assert_int_equal(COUNTER(h, tcp_in), 0);
	harness_destroy(h);
}

static void random_frames_break_nothing(void **state)
{
	struct mr_random random;
	uint8_t frame[2048], out[2048];

	random_init_seed(&random, 8);
	for (unsigned family = 0; family < 2; family++) {
		struct harness *h = quiet(family ? &v6 : &v4);

		harness_listen(h, 25);
		for (unsigned i = 0; i < 100000; i++) {
			struct script_segment syn = {.flags = TCP_SYN, .window = 1000};
			size_t size = 14 + script_build(h, &syn, frame + 14);
			unsigned flips = 1 + random_below(&random, 6);

			ethernet(h, frame, NULL, family ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
			for (unsigned j = 0; j < flips; j++)
				frame[12 + random_below(&random, (uint32_t)size - 12)] =
					(uint8_t)random_u32(&random);
			if (i % 5 == 0)
				size = random_below(&random, (uint32_t)size);
			harness_feed_frame(h, frame, size);
			while (harness_take_frame(h, out) != 0)
				;
		}
		harness_destroy(h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_5227_own_addresses_are_announced_twice),
		cmocka_unit_test(rfc_4861_v6_addresses_are_announced_to_all_nodes),
		cmocka_unit_test(rfc_826_a_request_is_answered_and_its_sender_learnt),
		cmocka_unit_test(arp_for_others_and_about_us_is_ignored),
		cmocka_unit_test(rfc_5227_a_probe_is_answered_without_being_learnt),
		cmocka_unit_test(unresolved_frames_wait_at_most_three_and_leave_with_the_answer),
		cmocka_unit_test(a_request_is_sent_three_times_a_second_apart),
		cmocka_unit_test(a_gratuitous_arp_moves_a_neighbour),
		cmocka_unit_test(a_stale_neighbour_is_probed_by_unicast),
		cmocka_unit_test(a_full_neighbour_table_keeps_what_is_in_use),
		cmocka_unit_test(rfc_792_echo_is_answered),
		cmocka_unit_test(rfc_4443_echo_is_answered),
		cmocka_unit_test(echoes_are_rate_limited),
		cmocka_unit_test(udp_and_unknown_protocols_are_unreachable),
		cmocka_unit_test(bad_frames_and_ipv4_headers_are_dropped_and_counted),
		cmocka_unit_test(harmless_ipv4_options_are_skipped),
		cmocka_unit_test(trailing_bytes_of_a_short_packet_are_ignored),
		cmocka_unit_test(a_reload_disturbs_no_neighbour_and_no_connection),
		cmocka_unit_test(bad_ipv6_headers_are_dropped_and_counted),
		cmocka_unit_test(a_vlan_is_stripped_and_added_and_others_are_dropped),
		cmocka_unit_test(segments_go_to_their_owner_and_icmp_errors_by_the_inner_ports),
		cmocka_unit_test(an_ipv6_owner_depends_on_the_remote_address_too),
		cmocka_unit_test(steering_is_judged_by_packets_without_options_alone),
		cmocka_unit_test(a_handed_frame_is_never_handed_on),
		cmocka_unit_test(arp_replies_go_round_to_all_workers),
		cmocka_unit_test(a_port_that_found_a_checksum_wrong_is_believed),
		cmocka_unit_test(random_frames_break_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
