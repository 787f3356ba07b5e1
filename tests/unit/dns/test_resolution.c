/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What DNS answers mean for mail (notes: rows C11, C12; RFC 5321, 5.1; RFC 7505). */
#include "control/dns/resolution.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct mr_random dice;

static size_t encode_mx(uint8_t *out, uint16_t preference, const char *name)
{
	size_t at = 2;

	out[0] = (uint8_t)(preference >> 8);
	out[1] = (uint8_t)preference;
	while (*name) {
		size_t label = strcspn(name, ".");

		out[at++] = (uint8_t)label;
		memcpy(out + at, name, label);
		at += label;
		name += label;
		if (*name == '.')
			name++;
	}
	out[at++] = 0;
	return at;
}

static void add(struct exchangers *e, uint16_t preference, const char *name)
{
	uint8_t data[300];

	assert_int_equal(exchangers_add(e, data, encode_mx(data, preference, name), &dice), 0);
}

static struct exchanger *give(struct exchangers *e, const char *name, const char *address)
{
	struct ip_address ip;

	assert_int_equal(ip_parse(address, &ip), 0);
	for (unsigned i = 0; i < e->count; i++) {
		if (strcmp(e->list[i].name, name) != 0)
			continue;
		if (ip_is_v4(&ip))
			e->list[i].v4[e->list[i].v4_count++] = ip;
		else
			e->list[i].v6[e->list[i].v6_count++] = ip;
		return &e->list[i];
	}
	fail();
	return NULL;
}

static const struct resolver_settings private_allowed = {.allow_private_addresses = true};

static void hosts_are_in_order_of_preference_and_equals_take_turns(void **state)
{
	unsigned first_a = 0;

	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		struct exchangers e = {0};
		struct resolution r = {0};

		add(&e, 20, "backup.example.com");
		add(&e, 10, "a.example.com");
		add(&e, 10, "b.example.com");
		give(&e, "backup.example.com", "192.0.2.3");
		give(&e, "a.example.com", "192.0.2.1");
		give(&e, "b.example.com", "192.0.2.2");
		resolution_choose_hosts(&r, &e, &private_allowed, &dice);
		assert_int_equal(r.status, RESOLUTION_OK);
		assert_int_equal(r.host_count, 3);
		assert_string_equal(r.hosts[2].name, "backup.example.com");
		first_a += strcmp(r.hosts[0].name, "a.example.com") == 0;
		assert_string_equal(r.site, "a.example.com+b.example.com+backup.example.com");
	}
	assert_in_range(first_a, 120, 280);
}

static void both_families_and_all_exchangers_are_among_few_hosts(void **state)
{
	struct exchangers e = {0};
	struct resolution r = {0};
	unsigned v4 = 0, of_b = 0;

	(void)state;
	add(&e, 10, "a.example.com");
	add(&e, 20, "b.example.com");
	for (unsigned i = 0; i < DNS_ADDRESSES_MAX; i++) {
		char text[32];

		snprintf(text, sizeof(text), "2001:db8::%u", i + 1);
		give(&e, "a.example.com", text);
	}
	give(&e, "a.example.com", "192.0.2.1");
	give(&e, "b.example.com", "192.0.2.2");
	resolution_choose_hosts(&r, &e, &private_allowed, &dice);
	assert_int_equal(r.host_count, ROUTE_HOSTS_MAX);
	for (unsigned i = 0; i < r.host_count; i++) {
		v4 += ip_is_v4(&r.hosts[i].address);
		of_b += strcmp(r.hosts[i].name, "b.example.com") == 0;
	}
	assert_int_equal(v4, 2);
	assert_int_equal(of_b, 1);
	assert_string_equal(r.hosts[ROUTE_HOSTS_MAX - 1].name, "b.example.com");
}

static void C12_private_and_impossible_addresses_are_left_out(void **state)
{
	static const char *const bad[] = {"127.0.0.1", "10.1.2.3",  "192.168.1.1", "169.254.1.1",
					  "0.0.0.0",   "224.0.0.1", "::1",	   "fe80::1",
					  "fd00::1",   "ff02::1",   "::"};
	const struct resolver_settings strict = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct exchangers e = {0};
		struct resolution r = {0};

		add(&e, 10, "mx.example.com");
		give(&e, "mx.example.com", bad[i]);
		resolution_choose_hosts(&r, &e, &strict, &dice);
		assert_int_equal(r.status, RESOLUTION_NO_ADDRESS);
		assert_non_null(strstr(r.reason, "mx.example.com"));
	}
	struct exchangers e = {0};
	struct resolution r = {0};

	add(&e, 10, "mx.example.com");
	give(&e, "mx.example.com", "224.0.0.1");
	resolution_choose_hosts(&r, &e, &private_allowed, &dice);
	assert_int_equal(r.status, RESOLUTION_NO_ADDRESS);
	give(&e, "mx.example.com", "9.9.9.9");
	resolution_choose_hosts(&r, &e, &strict, &dice);
	assert_int_equal(r.status, RESOLUTION_OK);
	assert_int_equal(r.host_count, 1);
}

static void RFC5321_5_1_exchangers_at_or_above_our_own_preference_are_dropped(void **state)
{
	struct ip_address ours;
	struct resolver_settings settings = {
		.allow_private_addresses = true, .own_address_count = 1, .own_addresses = &ours};
	struct exchangers e = {0};
	struct resolution r = {0};

	(void)state;
	ip_parse("192.0.2.10", &ours);
	add(&e, 10, "better.example.com");
	add(&e, 20, "us.example.com");
	add(&e, 20, "equal.example.com");
	add(&e, 30, "worse.example.com");
	give(&e, "better.example.com", "192.0.2.1");
	give(&e, "us.example.com", "192.0.2.10");
	give(&e, "equal.example.com", "192.0.2.2");
	give(&e, "worse.example.com", "192.0.2.3");
	resolution_choose_hosts(&r, &e, &settings, &dice);
	assert_int_equal(r.status, RESOLUTION_OK);
	assert_int_equal(r.host_count, 1);
	assert_string_equal(r.hosts[0].name, "better.example.com");

	struct exchangers alone = {0};

	add(&alone, 10, "us.example.com");
	give(&alone, "us.example.com", "192.0.2.10");
	resolution_choose_hosts(&r, &alone, &settings, &dice);
	assert_int_equal(r.status, RESOLUTION_LOOP);
}

static void C11_only_so_many_exchangers_are_kept_and_the_best_of_them(void **state)
{
	struct exchangers e = {0};

	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		char name[32];

		snprintf(name, sizeof(name), "mx%u.example.com", i);
		add(&e, (uint16_t)(1000 - i), name);
	}
	assert_int_equal(e.count, DNS_EXCHANGERS_MAX);
	for (unsigned i = 0; i < e.count; i++)
		assert_in_range(e.list[i].preference, 501, 508);
}

static void RFC7505_null_mx_is_seen_and_malformed_records_are_not_taken(void **state)
{
	static const uint8_t null_mx[] = {0, 0, 0};
	static const uint8_t torn[] = {0, 10, 5, 'a', 'b'};
	static const uint8_t no_end[] = {0, 10, 1, 'a'};
	static const uint8_t pointer[] = {0, 10, 0xc0, 0x0c};
	static const uint8_t bad_byte[] = {0, 10, 3, 'a', ' ', 'b', 0};
	struct exchangers e = {0};

	(void)state;
	assert_int_equal(exchangers_add(&e, null_mx, sizeof(null_mx), &dice), 0);
	assert_true(e.null_mx);
	assert_int_equal(e.count, 0);
	assert_int_equal(exchangers_add(&e, torn, sizeof(torn), &dice), -EBADMSG);
	assert_int_equal(exchangers_add(&e, no_end, sizeof(no_end), &dice), -EBADMSG);
	assert_int_equal(exchangers_add(&e, pointer, sizeof(pointer), &dice), -EBADMSG);
	assert_int_equal(exchangers_add(&e, bad_byte, sizeof(bad_byte), &dice), -EBADMSG);
	assert_int_equal(exchangers_add(&e, torn, 1, &dice), -EBADMSG);
	assert_int_equal(e.count, 0);
}

static void names_are_normalized_for_asking(void **state)
{
	char name[SMTP_DOMAIN_MAX + 1];
	char label[80], length[400] = "";

	(void)state;
	assert_int_equal(dns_domain_normalize("Example.COM.", name), 0);
	assert_string_equal(name, "example.com");
	assert_int_equal(dns_domain_normalize("b\xc3\xbc"
					      "cher.example",
					      name),
			 0);
	assert_string_equal(name, "xn--bcher-kva.example");
	assert_int_equal(dns_domain_normalize("", name), -EINVAL);
	assert_int_equal(dns_domain_normalize("a..b", name), -EINVAL);
	assert_int_equal(dns_domain_normalize(".a", name), -EINVAL);
	assert_int_equal(dns_domain_normalize("a b.example", name), -EINVAL);
	assert_int_equal(dns_domain_normalize("\xff\xfe.example", name), -EINVAL);
	memset(label, 'a', 64);
	strcpy(label + 64, ".example");
	assert_int_equal(dns_domain_normalize(label, name), -EINVAL);
	for (unsigned i = 0; i < 64; i++)
		strcat(length, "abcd.");
	assert_int_equal(dns_domain_normalize(length, name), -EINVAL);
}

static void address_literals_are_addresses(void **state)
{
	struct ip_address a, b;

	(void)state;
	assert_int_equal(dns_address_literal("[192.0.2.1]", &a), 1);
	ip_parse("192.0.2.1", &b);
	assert_true(ip_equal(&a, &b));
	assert_int_equal(dns_address_literal("[IPv6:2001:db8::1]", &a), 1);
	assert_int_equal(dns_address_literal("example.com", &a), 0);
	assert_int_equal(dns_address_literal("[192.0.2.1", &a), -EINVAL);
	assert_int_equal(dns_address_literal("[]", &a), -EINVAL);
	assert_int_equal(dns_address_literal("[IPv6:]", &a), -EINVAL);
	assert_int_equal(dns_address_literal("[x:y]", &a), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_are_in_order_of_preference_and_equals_take_turns),
		cmocka_unit_test(both_families_and_all_exchangers_are_among_few_hosts),
		cmocka_unit_test(C12_private_and_impossible_addresses_are_left_out),
		cmocka_unit_test(RFC5321_5_1_exchangers_at_or_above_our_own_preference_are_dropped),
		cmocka_unit_test(C11_only_so_many_exchangers_are_kept_and_the_best_of_them),
		cmocka_unit_test(RFC7505_null_mx_is_seen_and_malformed_records_are_not_taken),
		cmocka_unit_test(names_are_normalized_for_asking),
		cmocka_unit_test(address_literals_are_addresses),
	};

	random_init_seed(&dice, 7);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
