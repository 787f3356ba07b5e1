/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Neighbour discovery (RFC 4861) and IPv6 options (RFC 8200, 4.2), against the stack. */
#include "tests/unit/net/frames.h"

#include "dataplane/net/stack.h"

static size_t solicit(const struct harness *h, uint8_t *frame, const char *from, uint8_t hops)
{
	static const uint8_t group[6] = {0x33, 0x33, 0xff, 0, 0, 1};
	uint8_t *ip = frame + ethernet(h, frame, group, ETHERTYPE_IPV6);

	ipv6(ip, from, "ff02::1:ff00:1", PROTOCOL_ICMPV6, hops, 32);
	memset(ip + 40, 0, 32);
	ip[40] = 135;
	memcpy(ip + 48, h->address.bytes, 16);
	ip[64] = 1;
	ip[65] = 1;
	memcpy(ip + 66, remote_mac, 6);
	icmp6_checksum(ip, 32);
	return 14 + 72;
}

static void rfc_4861_a_solicitation_is_answered(void **state)
{
	struct harness *h = quiet(&v6);
	uint8_t frame[2048];

	harness_feed_frame(h, frame, solicit(h, frame, "fd00::7", 255));
	assert_int_equal(harness_take_frame(h, frame), 86);
	assert_memory_equal(frame, remote_mac, 6);
	assert_int_equal(frame[54], 136);
	assert_int_equal(frame[58] & 0x60, 0x60); /* solicited, override */
	assert_memory_equal(frame + 62, h->address.bytes, 16);
	assert_memory_equal(frame + 80, h->port.mac, 6);
	harness_destroy(h);
}

static void rfc_4862_a_duplicate_address_probe_is_answered_to_all(void **state)
{
	struct harness *h = quiet(&v6);
	uint8_t frame[2048];

	/* RFC 4861, 7.1.1: with a source option it is malformed. */
	harness_feed_frame(h, frame, solicit(h, frame, "::", 255));
	assert_int_equal(harness_take_frame(h, frame), 0);
	solicit(h, frame, "::", 255);
	store16(frame + 14 + 4, 24);
	icmp6_checksum(frame + 14, 24);
	harness_feed_frame(h, frame, 14 + 64);
	assert_int_equal(harness_take_frame(h, frame), 86);
	assert_int_equal(frame[0], 0x33);
	assert_int_equal(frame[58] & 0x40, 0);
	harness_destroy(h);
}

static size_t advertise(const struct harness *h, uint8_t *frame, uint32_t flags, uint8_t mac)
{
	uint8_t *ip = frame + ethernet(h, frame, NULL, ETHERTYPE_IPV6);

	ipv6(ip, "fd00::7", "fd00::1", PROTOCOL_ICMPV6, 255, 32);
	memset(ip + 40, 0, 32);
	ip[40] = 136;
	store32(ip + 44, flags);
	memcpy(ip + 48, ip + 8, 16);
	ip[64] = 2;
	ip[65] = 1;
	memset(ip + 66, mac, 6);
	icmp6_checksum(ip, 32);
	return 14 + 72;
}

static void rfc_4861_without_override_another_address_only_casts_doubt(void **state)
{
	struct harness *h = quiet(&v6);
	struct ip_address address = h->address;
	uint8_t frame[2048];
	struct neighbour *n;

	address.bytes[15] = 7;
	harness_feed_frame(h, frame, solicit(h, frame, "fd00::7", 255));
	assert_int_equal(harness_take_frame(h, frame), 86);
	n = neighbour_find(&h->stack->neighbours, &address, 0, 0);
	assert_non_null(n);
	harness_feed_frame(h, frame, advertise(h, frame, 0x40000000, 0x44));
	assert_memory_equal(n->mac, remote_mac, 6);
	assert_int_equal(n->state, NEIGHBOUR_STALE);
	harness_feed_frame(h, frame, advertise(h, frame, 0x60000000, 0x44));
	assert_int_equal(n->mac[0], 0x44);
	assert_int_equal(n->state, NEIGHBOUR_REACHABLE);
	harness_destroy(h);
}

static void no_frame_is_taken_from_a_group_nor_sent_to_one(void **state)
{
	struct harness *h = quiet(&v6);
	uint8_t frame[2048];
	size_t size = solicit(h, frame, "fd00::7", 255);
	uint64_t before = COUNTER(h, drop_source);

	frame[6] |= 1;
	harness_feed_frame(h, frame, size);
	assert_int_equal(COUNTER(h, drop_source), before + 1);
	size = solicit(h, frame, "fd00::7", 255);
	frame[14 + 66] |= 1; /* the option says a group address */
	icmp6_checksum(frame + 14, 32);
	harness_feed_frame(h, frame, size);
	assert_int_equal(harness_take_frame(h, frame), 0);
	harness_destroy(h);
}

static void rfc_8200_an_unknown_option_says_itself_what_to_do(void **state)
{
	static const struct {
		uint8_t type;
		bool passes, answered;
	} cases[] = {{0x1e, true, false},
		     {0x5e, false, false},
		     {0x9e, false, true},
		     {0xde, false, true},
		     {0x01, true, false}};
	struct harness *h = quiet(&v6);

	for (unsigned i = 0; i < 5; i++) {
		uint64_t tcp = COUNTER(h, tcp_in), dropped = COUNTER(h, drop_ip_options);
		uint8_t frame[2048], *ip = frame + ethernet(h, frame, NULL, ETHERTYPE_IPV6);
		size_t size;

		ipv6(ip, "fd00::7", "fd00::1", 60, 64, 28);
		memset(ip + 40, 0, 28);
		ip[40] = 6;
		ip[42] = cases[i].type;
		ip[43] = 4;
		harness_feed_frame(h, frame, 14 + 40 + 28);
		assert_int_equal(COUNTER(h, tcp_in) - tcp, cases[i].passes);
		assert_int_equal(COUNTER(h, drop_ip_options) - dropped, !cases[i].passes);
		size = harness_take_frame(h, frame);
		while (size != 0 && frame[54] == 135) { /* it asks who we are */
			harness_feed_frame(h, frame, advertise(h, frame, 0x60000000, 0x44));
			size = harness_take_frame(h, frame);
		}
		assert_int_equal(size != 0, cases[i].answered);
		if (size == 0)
			continue;
		assert_int_equal(frame[54], 4);
		assert_int_equal(frame[55], 2);
		assert_int_equal(load32(frame + 58), 42);
	}
	harness_destroy(h);
}

static void rfc_4861_nd_from_beyond_the_link_or_malformed_is_ignored(void **state)
{
	struct harness *h = quiet(&v6);
	uint8_t frame[2048];
	size_t size;

	harness_feed_frame(h, frame, solicit(h, frame, "fd00::7", 254));
	size = solicit(h, frame, "fd00::7", 255);
	frame[14 + 65] = 0; /* an option of length zero */
	icmp6_checksum(frame + 14, 32);
	harness_feed_frame(h, frame, size);
	size = solicit(h, frame, "fd00::7", 255);
	frame[14 + 43] ^= 1;
	harness_feed_frame(h, frame, size);
	assert_int_equal(harness_take_frame(h, frame), 0);
	harness_destroy(h);
}

/* The next frame is a listener report for the solicited-node group of fd00::1. */
static void hears_report(struct harness *h, uint8_t record)
{
	static const uint8_t routers[6] = {0x33, 0x33, 0, 0, 0, 0x16};
	static const uint8_t group[16] = {0xff, 2, [11] = 1, [12] = 0xff, [15] = 1};
	uint8_t frame[2048];

	assert_int_equal(harness_take_frame(h, frame), 14 + 40 + 8 + 28);
	assert_memory_equal(frame, routers, 6);
	assert_int_equal(frame[14 + 7], 1); /* hop limit */
	assert_memory_equal(frame + 54, ((uint8_t[]){58, 0, 5, 2, 0, 0, 1, 0}), 8);
	assert_int_equal(frame[62], 143);
	assert_int_equal(frame[70], record);
	assert_memory_equal(frame + 74, group, 16);
}

static void rfc_3810_our_groups_are_reported_with_the_announcement_and_when_asked(void **state)
{
	struct harness *h = harness_create(&v6);
	uint8_t frame[2048], *ip;

	harness_advance(h, 1000);
	assert_int_equal(harness_take_frame(h, frame), 86);
	hears_report(h, 4);
	harness_advance(h, 5000000);
	while (harness_take_frame(h, frame) != 0)
		;
	/* From beyond the link, forwarded, and from a router there. */
	for (unsigned i = 0; i < 3; i++) {
		ip = frame + ethernet(h, frame, NULL, ETHERTYPE_IPV6);
		frame[0] = frame[1] = 0x33;
		memset(frame + 2, 0, 4);
		frame[5] = 1;
		ipv6(ip, i == 0 ? "fd00::9" : "fe80::9", "ff02::1", PROTOCOL_ICMPV6, i == 1 ? 2 : 1,
		     28);
		memset(ip + 40, 0, 28);
		ip[40] = 130;
		icmp6_checksum(ip, 28);
		harness_feed_frame(h, frame, 14 + 68);
		harness_advance(h, 100000);
		if (i == 2)
			hears_report(h, 2);
		assert_int_equal(harness_take_frame(h, frame), 0);
	}
	harness_destroy(h);
}

/* A query from the Internet must not cost each worker a copy. */
static void rfc_3810_a_query_goes_to_the_one_that_answers_if_it_is_from_the_link(void **state)
{
	struct harness_options options = {.v6 = true, .worker = 1, .worker_count = 4};
	struct harness *h = harness_create(&options);
	uint8_t frame[2048], *ip;

	for (unsigned i = 0; i < 2; i++) {
		ip = frame + ethernet(h, frame, NULL, ETHERTYPE_IPV6);
		ipv6(ip, i == 0 ? "2001:db8::9" : "fe80::9", "fd00::1", PROTOCOL_ICMPV6,
		     i == 0 ? 55 : 1, 28);
		memset(ip + 40, 0, 28);
		ip[40] = 130;
		icmp6_checksum(ip, 28);
		harness_feed_frame(h, frame, 14 + 68);
		assert_int_equal(h->handed_off, i);
	}
	assert_int_equal(h->handed_to, 0);
	harness_destroy(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			rfc_3810_our_groups_are_reported_with_the_announcement_and_when_asked),
		cmocka_unit_test(
			rfc_3810_a_query_goes_to_the_one_that_answers_if_it_is_from_the_link),
		cmocka_unit_test(rfc_4861_a_solicitation_is_answered),
		cmocka_unit_test(rfc_4862_a_duplicate_address_probe_is_answered_to_all),
		cmocka_unit_test(rfc_4861_without_override_another_address_only_casts_doubt),
		cmocka_unit_test(no_frame_is_taken_from_a_group_nor_sent_to_one),
		cmocka_unit_test(rfc_8200_an_unknown_option_says_itself_what_to_do),
		cmocka_unit_test(rfc_4861_nd_from_beyond_the_link_or_malformed_is_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
