/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Thousands of own addresses on a port: all are announced at a bounded rate, answered for and
 * usable; the tables are of a fixed size and looked up in a few steps. */
#include "dataplane/net/checksum.h"
#include "dataplane/net/local.h"
#include "dataplane/net/wire.h"
#include "dataplane/tcp/tcp.h"
#include "tests/sim/tcp_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EACH	   4000u
#define STEP_US	   20000u
#define STEP_MOST  176u /* announcements in a step: 16 each 2 ms, and those that were due */
#define PATIENCE   500u
#define SEARCH_MAX 64u
#define TABLE_MAX  (1u << 20)

static const uint8_t remote_mac[6] = {2, 9, 9, 9, 9, 9};

struct many {
	struct harness *h;
	struct view view;
	struct view_address addresses[2 * EACH];
};

static struct ip_address own(bool v6, unsigned i)
{
	struct ip_address a;

	assert_int_equal(ip_parse(v6 ? "fd00::1:0:0" : "10.0.16.0", &a), 0);
	a.bytes[14] = (uint8_t)((v6 ? 0 : 16) + (i + 1) / 256);
	a.bytes[15] = (uint8_t)(i + 1);
	return a;
}

static struct many *set_up_many(void)
{
	static const struct harness_options options = {.seed = 1};
	struct many *m = calloc(1, sizeof(*m));

	m->h = harness_create(&options);
	for (unsigned i = 0; i < 2 * EACH; i++)
		m->addresses[i] = (struct view_address){.address = own(i >= EACH, i % EACH),
							.prefix_length = i >= EACH ? 64 : 8};
	m->view = m->h->view;
	m->view.addresses = m->addresses;
	m->view.address_count = 2 * EACH;
	assert_int_equal(net_stack_configure(m->h->stack, &m->view, &m->h->now), 0);
	return m;
}

static void tear_down_many(struct many *m)
{
	harness_destroy(m->h);
	free(m);
}

static void let_announcements_pass(struct many *m)
{
	uint8_t frame[2048];

	for (unsigned i = 0; i < PATIENCE; i++) {
		harness_advance(m->h, STEP_US);
		while (harness_take_frame(m->h, frame) != 0)
			;
	}
}

/* The address that an announcement is about. */
static unsigned announced(const uint8_t *frame)
{
	bool v6 = load16(frame + 12) == ETHERTYPE_IPV6;
	const uint8_t *a = v6 ? frame + 14 + IPV6_HEADER + 8 + 12 : frame + 14 + 24;
	unsigned i = a[2] * 256u + a[3] - 1;

	if (!v6)
		i -= 16 * 256;
	assert_true(i < EACH);
	return i + (v6 ? EACH : 0);
}

static void rfc_5227_thousands_of_addresses_are_announced_twice_at_a_bounded_rate(void **state)
{
	struct many *m = set_up_many();
	uint8_t *heard = calloc(2 * EACH, 1), frame[2048];

	for (unsigned i = 0; i < PATIENCE; i++) {
		unsigned now = 0;

		harness_advance(m->h, STEP_US);
		while (harness_take_frame(m->h, frame) != 0) {
			if (load16(frame + 12) == ETHERTYPE_IPV6 && frame[20] == PROTOCOL_HOPOPT)
				continue; /* a listener report */
			heard[announced(frame)]++;
			now++;
		}
		assert_in_range(now, 0, STEP_MOST);
	}
	for (unsigned i = 0; i < 2 * EACH; i++)
		assert_int_equal(heard[i], 2);
	free(heard);
	tear_down_many(m);
}

static size_t arp_request(uint8_t *to, const struct ip_address *target)
{
	memset(to, 255, 6);
	memcpy(to + 6, remote_mac, 6);
	store16(to + 12, ETHERTYPE_ARP);
	memcpy(to + 14, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, 1}, 8);
	memcpy(to + 22, remote_mac, 6);
	store32(to + 28, 0x0a000007);
	memset(to + 32, 0, 6);
	memcpy(to + 38, target->bytes + 12, 4);
	return 42;
}

static size_t solicitation(uint8_t *to, const struct ip_address *target)
{
	struct ip_address from, group = {{0xff, 0x02, [11] = 1, [12] = 0xff}};
	uint8_t *ip = to + 14, *p = ip + IPV6_HEADER;

	assert_int_equal(ip_parse("fd00::7", &from), 0);
	memcpy(group.bytes + 13, target->bytes + 13, 3);
	memset(to, 0, 14 + IPV6_HEADER + 32);
	memcpy(to, (uint8_t[]){0x33, 0x33}, 2);
	memcpy(to + 2, group.bytes + 12, 4);
	memcpy(to + 6, remote_mac, 6);
	store16(to + 12, ETHERTYPE_IPV6);
	store32(ip, 0x60000000);
	store16(ip + 4, 32);
	ip[6] = PROTOCOL_ICMPV6;
	ip[7] = 255;
	memcpy(ip + 8, from.bytes, 16);
	memcpy(ip + 24, group.bytes, 16);
	p[0] = 135;
	memcpy(p + 8, target->bytes, 16);
	p[24] = 1;
	p[25] = 1;
	memcpy(p + 26, remote_mac, 6);
	checksum_store(p + 2,
		       checksum_add(checksum_pseudo(&from, &group, PROTOCOL_ICMPV6, 32), p, 32));
	return 14 + IPV6_HEADER + 32;
}

static void every_address_is_answered_for_and_its_neighbours_are_not(void **state)
{
	struct many *m = set_up_many();
	uint8_t frame[2048], answer[2048];

	let_announcements_pass(m);
	for (unsigned i = 0; i <= EACH; i++) {
		struct ip_address v4 = own(false, i), v6 = own(true, i);

		harness_feed_frame(m->h, frame, arp_request(frame, &v4));
		assert_int_equal(harness_take_frame(m->h, answer), i < EACH ? 42 : 0);
		if (i < EACH)
			assert_memory_equal(answer + 28, v4.bytes + 12, 4);
		harness_feed_frame(m->h, frame, solicitation(frame, &v6));
		assert_int_equal(harness_take_frame(m->h, answer), i < EACH ? 86 : 0);
		if (i < EACH)
			assert_memory_equal(answer + 14 + IPV6_HEADER + 8, v6.bytes, 16);
	}
	tear_down_many(m);
}

static void a_connection_goes_out_from_any_of_them(void **state)
{
	struct many *m = set_up_many();
	uint8_t packet[2048];

	let_announcements_pass(m);
	for (unsigned i = 0; i < EACH; i += EACH / 3) {
		size_t size;

		m->h->address = own(false, i);
		assert_non_null(harness_connect(m->h, 25));
		size = harness_take(m->h, packet);
		assert_in_range(size, 40, 60);
		assert_memory_equal(packet + 12, m->h->address.bytes + 12, 4);
		assert_int_equal(packet[33] & 0x3f, 2);
	}
	tear_down_many(m);
}

static void questions_for_our_addresses_are_answered_within_a_limit(void **state)
{
	struct many *m = set_up_many();
	struct ip_address v4 = own(false, 1), v6 = own(true, 1);
	uint8_t frame[2048];
	unsigned answers = 0;

	let_announcements_pass(m);
	for (unsigned i = 0; i < 40000; i++) {
		size_t size = i % 2 != 0 ? arp_request(frame, &v4) : solicitation(frame, &v6);

		harness_feed_frame(m->h, frame, size);
		while (harness_take_frame(m->h, frame) != 0)
			answers++;
	}
	assert_int_equal(answers, LOCAL_ADDRESSES_MAX);
	assert_int_equal(net_stack_counters(m->h->stack)->link_rate_limited,
			 40000 - LOCAL_ADDRESSES_MAX);
	harness_advance(m->h, 1000000);
	harness_feed_frame(m->h, frame, arp_request(frame, &v4));
	assert_int_equal(harness_take_frame(m->h, frame), 42);
	tear_down_many(m);
}

/* The table's size is fixed and knows of no connection; the longest search is its longest run. */
static void the_table_is_small_and_searches_are_short(void **state)
{
	struct many *m = set_up_many();
	struct hash_key key = {3, 4};
	struct local_table table;
	unsigned run = 0, longest = 0;
	size_t bytes;

	assert_int_equal(local_table_init(&table, &key), 0);
	assert_int_equal(local_table_adopt(&table, &m->view), 0);
	for (unsigned i = 0; i < LOCAL_SLOTS; i++) {
		run = table.slots[i] != 0 ? run + 1 : 0;
		longest = run > longest ? run : longest;
	}
	bytes = sizeof(table) + LOCAL_SLOTS * sizeof(*table.slots) +
		LOCAL_ADDRESSES_MAX * sizeof(*table.addresses) +
		ROUTES_MAX * (sizeof(struct net_route) + 3 * sizeof(struct route_range));
	print_message("# %u addresses of at most %u: %zu bytes a worker, longest search %u\n",
		      table.address_count, LOCAL_ADDRESSES_MAX, bytes, longest);
	assert_int_equal(table.address_count, 2 * EACH);
	assert_in_range(longest, 1, SEARCH_MAX);
	assert_in_range(bytes, 1, TABLE_MAX);
	local_table_free(&table);
	tear_down_many(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			rfc_5227_thousands_of_addresses_are_announced_twice_at_a_bounded_rate),
		cmocka_unit_test(every_address_is_answered_for_and_its_neighbours_are_not),
		cmocka_unit_test(questions_for_our_addresses_are_answered_within_a_limit),
		cmocka_unit_test(a_connection_goes_out_from_any_of_them),
		cmocka_unit_test(the_table_is_small_and_searches_are_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
