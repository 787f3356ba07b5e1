/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What strangers on the link or beyond it may send to make us talk too much, walk too far, or
 * believe them: each of these fails when its defence is taken out (dataplane/tcp/ATTACKS.md).
 */
#include "tests/unit/net/frames.h"

#include "dataplane/net/stack.h"

static size_t udp(const struct harness *h, uint8_t *frame)
{
	uint8_t *ip = frame + ethernet(h, frame, NULL, ETHERTYPE_IPV4);

	memset(ip + 20, 0, 20);
	return 14 + ipv4(ip, "10.0.0.2", "10.0.0.1", PROTOCOL_UDP, 20);
}

static void rfc_1812_errors_that_we_send_are_limited(void **state)
{
	struct harness *h = quiet(&v4);
	uint8_t frame[2048], reply[2048];
	size_t size = udp(h, frame);
	unsigned heard = 0;

	for (unsigned i = 0; i < 500; i++) {
		harness_feed_frame(h, frame, size);
		heard += harness_take(h, reply) != 0;
	}
	assert_int_equal(heard, 100);
	assert_int_equal(COUNTER(h, icmp_rate_limited), 400);
	harness_destroy(h);
}

/* An IPv6 packet with options headers of 8 octets in a row, then TCP. */
static size_t chain(const struct harness *h, uint8_t *frame, unsigned headers, uint8_t option)
{
	uint8_t *ip = frame + ethernet(h, frame, NULL, ETHERTYPE_IPV6), *p = ip + 40;
	size_t length = headers * 8 + 20;

	ipv6(ip, "fd00::7", "fd00::1", headers != 0 ? 60 : PROTOCOL_TCP, 64, length);
	memset(p, 0, length);
	for (unsigned i = 0; i < headers; i++, p += 8) {
		p[0] = i + 1 < headers ? 60 : PROTOCOL_TCP;
		p[2] = option;
		p[3] = 4;
	}
	return 14 + 40 + length;
}

static void rfc_4443_parameter_problems_are_limited(void **state)
{
	struct harness *h = quiet(&v6);
	uint8_t frame[2048];
	size_t size = chain(h, frame, 1, 0x9e);

	for (unsigned i = 0; i < 500; i++)
		harness_feed_frame(h, frame, size);
	assert_int_equal(COUNTER(h, icmp_rate_limited), 400);
	harness_destroy(h);
}

static void more_than_three_extension_headers_are_too_many(void **state)
{
	struct harness *h = quiet(&v6);
	uint8_t frame[2048];

	for (unsigned headers = 0; headers <= 6; headers++) {
		uint64_t tcp = COUNTER(h, tcp_in), dropped = COUNTER(h, drop_ip_options);

		harness_feed_frame(h, frame, chain(h, frame, headers, 1));
		assert_int_equal(COUNTER(h, tcp_in) - tcp, headers < 4);
		assert_int_equal(COUNTER(h, drop_ip_options) - dropped, headers >= 4);
	}
	harness_destroy(h);
}

static void an_extension_header_and_its_options_end_within_the_packet(void **state)
{
	struct harness *h = quiet(&v6);
	uint8_t frame[2048];
	size_t size;

	size = chain(h, frame, 1, 1);
	frame[14 + 41] = 9; /* the header is longer than the packet */
	harness_feed_frame(h, frame, size);
	size = chain(h, frame, 1, 1);
	frame[14 + 43] = 200; /* the option is longer than the header */
	harness_feed_frame(h, frame, size);
	assert_int_equal(COUNTER(h, tcp_in), 0);
	assert_int_equal(COUNTER(h, drop_ip_options), 2);
	harness_destroy(h);
}

static void rfc_8200_4_1_hop_by_hop_options_come_first_or_not_at_all(void **state)
{
	struct harness *h = quiet(&v6);
	uint8_t frame[2048];
	size_t size = chain(h, frame, 2, 1);

	frame[14 + 6] = 0; /* hop-by-hop, then destination options */
	harness_feed_frame(h, frame, size);
	assert_int_equal(COUNTER(h, tcp_in), 1);
	size = chain(h, frame, 2, 1);
	frame[14 + 40] = 0; /* the other way round */
	harness_feed_frame(h, frame, size);
	assert_int_equal(COUNTER(h, tcp_in), 1);
	assert_int_equal(COUNTER(h, drop_ip_options), 1);
	harness_destroy(h);
}

static void an_echo_request_to_all_of_a_link_is_not_answered(void **state)
{
	struct harness *h = quiet(&v4);
	uint8_t frame[2048], *ip = frame + ethernet(h, frame, broadcast, ETHERTYPE_IPV4);
	size_t size = 14 + ipv4(ip, "10.0.0.2", "10.0.0.1", PROTOCOL_ICMP, 16);

	memset(ip + 20, 0, 16);
	ip[20] = 8;
	checksum_store(ip + 22, checksum_add(0, ip + 20, 16));
	harness_feed_frame(h, frame, size);
	assert_int_equal(harness_take_frame(h, frame), 0);
	assert_int_equal(net_stack_counters(h->stack)->icmp_other, 1);
	memcpy(ip - 14, h->port.mac, 6);
	memcpy(frame + 6, remote_mac, 6);
	store16(frame + 12, ETHERTYPE_IPV4);
	ipv4(ip, "10.0.0.2", "10.0.0.1", PROTOCOL_ICMP, 16);
	memset(ip + 20, 0, 16);
	ip[20] = 8;
	checksum_store(ip + 22, checksum_add(0, ip + 20, 16));
	harness_feed_frame(h, frame, size);
	assert_true(harness_take_frame(h, frame) > 0); /* to us alone it is */
	harness_destroy(h);
}

/* --- neighbour discovery --- */

/* An advertisement of `about` from fd00::7 to `to`, solicited and overriding. */
static size_t advertise(const struct harness *h, uint8_t *frame, uint8_t type, const char *about,
			const char *to)
{
	uint8_t *ip = frame + ethernet(h, frame, NULL, ETHERTYPE_IPV6);
	struct ip_address target;

	ip_parse(about, &target);
	ipv6(ip, "fd00::7", to, PROTOCOL_ICMPV6, 255, 32);
	memset(ip + 40, 0, 32);
	ip[40] = type;
	store32(ip + 44, 0x60000000);
	memcpy(ip + 48, target.bytes, 16);
	ip[64] = 2;
	ip[65] = 1;
	memset(ip + 66, 0x44, 6);
	icmp6_checksum(ip, 32);
	return 14 + 72;
}

static struct neighbour *known(struct harness *h, const char *text)
{
	struct ip_address address;

	ip_parse(text, &address);
	return neighbour_find(&h->stack->neighbours, &address, 0, 0);
}

/* fd00::7 is asked for, and has not answered yet. */
static struct harness *asking(void)
{
	struct harness *h = quiet(&v6);
	uint8_t frame[2048];

	assert_non_null(harness_connect_from(h, "fd00::1", "fd00::7", 25, 30000000));
	assert_true(harness_take_frame(h, frame) > 0);
	assert_int_equal(frame[54], 135);
	assert_int_equal(known(h, "fd00::7")->state, NEIGHBOUR_INCOMPLETE);
	return h;
}

static void rfc_4861_7_1_2_advertisements_that_break_a_rule_teach_nothing(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct harness *h = asking();
		uint8_t frame[2048];
		size_t size = advertise(h, frame, 136, "fd00::7", i == 1 ? "ff02::1" : "fd00::1");

		if (i == 0)
			frame[14 + 41] = 1; /* a code */
		if (i == 2)
			frame[14 + 66] |= 1; /* a group's link address */
		icmp6_checksum(frame + 14, 32);
		harness_feed_frame(h, frame, size);
		assert_int_equal(known(h, "fd00::7")->state == NEIGHBOUR_REACHABLE, i == 3);
		harness_destroy(h);
	}
}

static void nobody_else_has_our_addresses(void **state)
{
	struct harness *h = quiet(&v6);
	uint8_t frame[2048];
	uint64_t before = COUNTER(h, drop_source);

	harness_feed_frame(h, frame, advertise(h, frame, 136, "fd00::1", "fd00::1"));
	assert_int_equal(COUNTER(h, drop_source), before + 1);
	assert_null(known(h, "fd00::1"));
	harness_destroy(h);
}

static void rfc_4861_7_2_5_who_was_not_asked_for_is_not_remembered(void **state)
{
	struct harness *h = quiet(&v6);
	uint8_t frame[2048];

	harness_feed_frame(h, frame, advertise(h, frame, 136, "fd00::7", "fd00::1"));
	assert_null(known(h, "fd00::7"));
	harness_destroy(h);
}

/* Routes are what the configuration says. */
static void router_advertisements_and_redirects_change_nothing(void **state)
{
	static const uint8_t types[] = {134, 137};

	for (unsigned i = 0; i < 2; i++) {
		struct harness *h = asking();
		uint8_t frame[2048];

		harness_feed_frame(h, frame, advertise(h, frame, types[i], "fd00::7", "fd00::1"));
		assert_int_equal(known(h, "fd00::7")->state, NEIGHBOUR_INCOMPLETE);
		assert_int_equal(COUNTER(h, icmp_other), 1);
		assert_int_equal(harness_take_frame(h, frame), 0);
		harness_destroy(h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_1812_errors_that_we_send_are_limited),
		cmocka_unit_test(rfc_4443_parameter_problems_are_limited),
		cmocka_unit_test(more_than_three_extension_headers_are_too_many),
		cmocka_unit_test(an_extension_header_and_its_options_end_within_the_packet),
		cmocka_unit_test(rfc_8200_4_1_hop_by_hop_options_come_first_or_not_at_all),
		cmocka_unit_test(an_echo_request_to_all_of_a_link_is_not_answered),
		cmocka_unit_test(rfc_4861_7_1_2_advertisements_that_break_a_rule_teach_nothing),
		cmocka_unit_test(nobody_else_has_our_addresses),
		cmocka_unit_test(rfc_4861_7_2_5_who_was_not_asked_for_is_not_remembered),
		cmocka_unit_test(router_advertisements_and_redirects_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
