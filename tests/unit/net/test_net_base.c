/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Addresses, prefixes, checksums, ownership, own addresses and routes, the timer wheel. */
#include "dataplane/buf/wheel.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/local.h"
#include "dataplane/net/net.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct ip_address ip(const char *text)
{
	struct ip_address a;

	assert_int_equal(ip_parse(text, &a), 0);
	return a;
}

static void addresses_are_read_and_written(void **state)
{
	static const char *const good[] = {"192.0.2.1",	  "0.0.0.0", "255.255.255.255",
					   "2001:db8::1", "::",	     "fe80::1234:5678:9abc:def0"};
	static const char *const bad[] = {"",	      "1.2.3",	  "1.2.3.4.5",	  "256.1.1.1",
					  "1.2.3.4 ", "2001:::1", "fe80::1%eth0", "hello"};
	char text[IP_ADDRESS_TEXT];
	struct ip_address a;

	for (unsigned i = 0; i < 6; i++) {
		a = ip(good[i]);
		assert_string_equal(ip_format(&a, text), good[i]);
	}
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(ip_parse(bad[i], &a), -EINVAL);
	a = ip("192.0.2.1");
	assert_true(ip_is_v4(&a));
	assert_int_equal(ip_to_v4(&a), 0xc0000201);
	a = ip("0.0.0.0");
	assert_true(ip_is_unspecified(&a));
}

static void prefixes_contain_what_they_should(void **state)
{
	static const char *const bad[] = {"10.0.0.1/8",	 "10.0.0.0/33",	   "10.0.0.0/",
					  "10.0.0.0/08", "2001:db8::/129", "10.0.0.0/+8",
					  "/8",		 "10.0.0.0/8/8"};
	struct ip_prefix p;
	struct ip_address a;

	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(ip_prefix_parse(bad[i], &p), -EINVAL);
	assert_int_equal(ip_prefix_parse("10.32.0.0/11", &p), 0);
	assert_int_equal(p.length, 107);
	a = ip("10.63.255.255");
	assert_true(ip_prefix_contains(&p, &a));
	a = ip("10.64.0.0");
	assert_false(ip_prefix_contains(&p, &a));
	assert_int_equal(ip_prefix_parse("2001:db8::/33", &p), 0);
	a = ip("2001:db8:7fff::1");
	assert_true(ip_prefix_contains(&p, &a));
	a = ip("2001:db8:8000::1");
	assert_false(ip_prefix_contains(&p, &a));
	assert_int_equal(ip_prefix_parse("0.0.0.0/0", &p), 0);
	a = ip("203.0.113.9");
	assert_true(ip_prefix_contains(&p, &a));
	a = ip("2001:db8::1");
	assert_false(ip_prefix_contains(&p, &a));
	assert_int_equal(ip_prefix_parse("192.0.2.7", &p), 0);
	assert_int_equal(p.length, 128);
}

/* RFC 1071, word by word. */
static uint16_t slow_checksum(const uint8_t *p, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum += (uint32_t)p[i] << (i % 2 ? 0 : 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void rfc_1071_fast_and_slow_checksums_agree(void **state)
{
	struct mr_random random;
	uint8_t data[2048], copy[2048], field[2];

	random_init_seed(&random, 4);
	for (unsigned i = 0; i < 4000; i++) {
		size_t size = random_below(&random, 2000), cut = random_below(&random, 100) * 2;
		uint8_t *at = data + random_below(&random, 16);
		uint16_t expect;

		random_bytes(&random, at, size);
		if (i % 7 == 0)
			memset(at, 0xff, size);
		if (cut > size)
			cut = 0;
		expect = slow_checksum(at, size);
		checksum_store(field, checksum_add(checksum_add(0, at, cut), at + cut, size - cut));
		assert_int_equal(field[0] << 8 | field[1], expect);
		memset(copy, 0, sizeof(copy));
		checksum_store(field, checksum_copy(0, copy, at, size));
		assert_int_equal(field[0] << 8 | field[1], expect);
		assert_memory_equal(copy, at, size);
	}
}

static void every_worker_owns_its_share_of_the_ports(void **state)
{
	for (uint16_t workers = 1; workers <= 9; workers++) {
		unsigned count[9] = {0};

		for (uint32_t port = 0; port < 65536; port++) {
			uint16_t owner = net_owner(25, (uint16_t)port, workers);

			assert_true(owner < workers);
			assert_int_equal(owner, net_owner((uint16_t)port, 25, workers));
			count[owner]++;
		}
		for (unsigned i = 0; i < workers; i++)
			assert_in_range(count[i], 65536 / workers * 90 / 100,
					65536 / workers * 112 / 100);
	}
	assert_int_equal(net_owner(0, 2, 2), 1); /* bit 1 becomes the highest of seven */
	assert_int_equal(net_owner(0, 1, 128), 1);
	assert_int_equal(net_owner(0, 64, 128), 2);
}

/* Linux's connect() takes even local ports only, from 32768 to 60999. */
static void every_worker_owns_its_share_of_a_linux_host_s_ports(void **state)
{
	for (uint16_t workers = 1; workers <= 9; workers++) {
		unsigned count[9] = {0}, ports = 0;

		for (uint32_t port = 32768; port < 60999; port += 2, ports++)
			count[net_owner(25, (uint16_t)port, workers)]++;
		for (unsigned i = 0; i < workers; i++)
			assert_in_range(count[i], ports / workers * 85 / 100,
					ports / workers * 115 / 100);
	}
}

static struct local_table table(const struct view *view)
{
	struct hash_key key = {1, 2};
	struct local_table t;

	assert_int_equal(local_table_init(&t, &key), 0);
	assert_int_equal(local_table_adopt(&t, view), 0);
	return t;
}

static void the_longest_prefix_of_the_sources_port_leads_out(void **state)
{
	struct view_address addresses[] = {{ip("10.0.0.1"), 24, 0, 0},
					   {ip("10.0.0.2"), 24, 1, 5},
					   {ip("2001:db8::1"), 64, 0, 0}};
	struct view_route routes[4] = {{.gateway = ip("10.0.0.254")},
				       {.gateway = ip("10.0.0.253")},
				       {.gateway = ip("10.0.0.252"), .port = 1, .vlan = 5},
				       {.gateway = ip("2001:db8::fe")}};
	struct view view = {
		.address_count = 3, .addresses = addresses, .route_count = 4, .routes = routes};
	struct ip_address hop, to;
	struct local_table t;

	assert_int_equal(ip_prefix_parse("0.0.0.0/0", &routes[0].prefix), 0);
	assert_int_equal(ip_prefix_parse("198.51.100.0/24", &routes[1].prefix), 0);
	assert_int_equal(ip_prefix_parse("0.0.0.0/0", &routes[2].prefix), 0);
	assert_int_equal(ip_prefix_parse("::/0", &routes[3].prefix), 0);
	t = table(&view);
#define LEADS(port, vlan, remote, expected)                             \
	do {                                                            \
		struct ip_address want = ip(expected);                  \
		to = ip(remote);                                        \
		assert_true(local_next_hop(&t, port, vlan, &to, &hop)); \
		assert_true(ip_equal(&hop, &want));                     \
	} while (0)
	LEADS(0, 0, "10.0.0.9", "10.0.0.9");
	LEADS(0, 0, "203.0.113.1", "10.0.0.254");
	LEADS(0, 0, "198.51.100.1", "10.0.0.253");
	LEADS(1, 5, "198.51.100.1", "10.0.0.252");
	LEADS(1, 5, "10.0.0.1", "10.0.0.1");
	LEADS(0, 0, "2001:db8::7", "2001:db8::7");
	LEADS(0, 0, "2001:db9::7", "2001:db8::fe");
	to = ip("10.0.0.9");
	assert_false(local_next_hop(&t, 1, 0, &to, &hop));
	to = ip("2001:db9::7");
	assert_false(local_next_hop(&t, 1, 5, &to, &hop));
	assert_true(local_has_vlan(&t, 1, 5) && !local_has_vlan(&t, 1, 0));
	local_table_free(&t);
}

static void thousands_of_addresses_are_found_and_too_many_are_refused(void **state)
{
	struct view_address *addresses = calloc(LOCAL_ADDRESSES_MAX + 1, sizeof(*addresses));
	struct view view = {.address_count = LOCAL_ADDRESSES_MAX, .addresses = addresses};
	struct ip_address other = ip("192.0.2.1");
	struct local_table t;

	for (uint32_t i = 0; i <= LOCAL_ADDRESSES_MAX; i++)
		addresses[i] = (struct view_address){ip_from_v4(0x0a000000 + i), 16, 0, 0};
	t = table(&view);
	for (uint32_t i = 0; i < LOCAL_ADDRESSES_MAX; i++)
		assert_non_null(local_find(&t, &addresses[i].address));
	assert_null(local_find(&t, &other));
	assert_int_equal(t.routes.route_count, 1);
	view.address_count++;
	assert_int_equal(local_table_adopt(&t, &view), -ENOBUFS);
	assert_non_null(local_find(&t, &addresses[0].address)); /* nothing has changed */
	local_table_free(&t);
	free(addresses);
}

/* --- the wheel --- */
#define NODES 300u

struct model {
	struct wheel *wheel;
	struct {
		uint32_t before;
		struct wheel_node node;
	} objects[NODES];
	uint64_t due[NODES]; /* 0: idle */
	uint64_t now;
	unsigned fired;
};

static void fire(void *context, uint32_t index)
{
	struct model *m = context;

	assert_int_not_equal(m->due[index], 0);
	assert_true(m->due[index] <= m->now); /* never early */
	assert_false(wheel_is_armed(m->wheel, index));
	m->due[index] = 0;
	m->fired++;
}

static void the_wheel_fires_everything_in_time_and_nothing_early(void **state)
{
	static const uint64_t spans[] = {300, 60000, 5000000, UINT64_C(4000000000),
					 UINT64_C(90000000000)};
	struct model m = {.now = 123456789};
	struct mr_random random;

	random_init_seed(&random, 6);
	m.wheel = wheel_create(&m.objects[0].node, sizeof(m.objects[0]), m.now);
	for (unsigned step = 0; step < 60000; step++) {
		uint32_t i = random_below(&random, NODES);
		uint64_t span = spans[random_below(&random, 5)];
		uint64_t next;

		switch (random_below(&random, 4)) {
		case 0:
		case 1:
			m.due[i] = m.now + random_u64(&random) % span;
			wheel_arm(m.wheel, i, m.due[i]);
			break;
		case 2:
			m.due[i] = 0;
			wheel_cancel(m.wheel, i);
			break;
		case 3:
			m.now += random_u64(&random) % (spans[random_below(&random, 4)] / 50 + 1);
			while (wheel_expire(m.wheel, m.now, 1 + random_below(&random, 7), fire,
					    &m) > 0)
				;
			wheel_expire(m.wheel, m.now, 100000, fire, &m);
			for (uint32_t j = 0; j < NODES; j++) /* nothing is more than a tick late */
				assert_true(m.due[j] == 0 || m.due[j] + 512 > m.now);
			break;
		}
		next = wheel_next(m.wheel);
		for (uint32_t j = 0; j < NODES; j++) {
			assert_int_equal(m.due[j] != 0, wheel_is_armed(m.wheel, j));
			if (m.due[j] == 0)
				continue;
			assert_true(next <= m.due[j] + 512);
		}
	}
	assert_true(m.fired > 1000);
	m.now += UINT64_C(200000000000);
	wheel_expire(m.wheel, m.now, 1000000, fire, &m);
	assert_int_equal(wheel_count(m.wheel), 0);
	assert_true(wheel_next(m.wheel) == UINT64_MAX);
	wheel_destroy(m.wheel);
}

static void the_wheel_is_not_late_by_more_than_a_tick(void **state)
{
	struct model m = {.now = 1000000};

	m.wheel = wheel_create(&m.objects[0].node, sizeof(m.objects[0]), m.now);
	for (uint64_t after = 1; after < UINT64_C(20000000000); after = after * 3 + 7) {
		uint64_t armed = m.now;

		m.due[0] = armed + after;
		wheel_arm(m.wheel, 0, m.due[0]);
		while (m.due[0] != 0) {
			uint64_t next = wheel_next(m.wheel);

			assert_true(next > m.now && next <= armed + after + 512);
			m.now = next;
			wheel_expire(m.wheel, m.now, 10, fire, &m);
		}
		assert_true(m.now < armed + after + 512);
	}
	wheel_destroy(m.wheel);
}

static void lazily_armed_deadlines_fire_no_later_than_asked(void **state)
{
	struct model m = {.now = 1000000};

	m.wheel = wheel_create(&m.objects[0].node, sizeof(m.objects[0]), m.now);
	m.due[0] = m.now + 10000;
	wheel_arm_lazily(m.wheel, 0, m.due[0]);
	wheel_arm_lazily(m.wheel, 0, m.now + 50000); /* later: left alone */
	assert_in_range(wheel_next(m.wheel), m.now + 10000, m.now + 10512);
	m.due[0] = m.now + 2000;
	wheel_arm_lazily(m.wheel, 0, m.due[0]); /* earlier: moved */
	assert_in_range(wheel_next(m.wheel), m.now + 2000, m.now + 2512);
	wheel_destroy(m.wheel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_and_written),
		cmocka_unit_test(prefixes_contain_what_they_should),
		cmocka_unit_test(rfc_1071_fast_and_slow_checksums_agree),
		cmocka_unit_test(every_worker_owns_its_share_of_the_ports),
		cmocka_unit_test(every_worker_owns_its_share_of_a_linux_host_s_ports),
		cmocka_unit_test(the_longest_prefix_of_the_sources_port_leads_out),
		cmocka_unit_test(thousands_of_addresses_are_found_and_too_many_are_refused),
		cmocka_unit_test(the_wheel_fires_everything_in_time_and_nothing_early),
		cmocka_unit_test(the_wheel_is_not_late_by_more_than_a_tick),
		cmocka_unit_test(lazily_armed_deadlines_fire_no_later_than_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
