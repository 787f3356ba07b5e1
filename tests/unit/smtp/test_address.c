/* SPDX-License-Identifier: GPL-3.0-or-later */
/* S11: the address grammar (RFC 5321, 4.1.2, 4.1.3, 4.5.3.1; RFC 6531, 3.3). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "dataplane/smtp/address.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define A16 "aaaaaaaaaaaaaaaa"
#define A64 A16 A16 A16 A16
#define L63 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static int parse(const char *path, bool reverse, struct smtp_address *out)
{
	size_t used;
	int status = address_parse_path(path, strlen(path), reverse, out, &used);

	/* A path is the whole text in these tests. */
	return status < 0 ? status : used == strlen(path) ? 0 : -E2BIG;
}

static void s11_addresses_are_written_anew(void **state)
{
	static const char *const cases[][2] = {
		{"<a@b.example>", "a@b.example"},
		{"<A.b+c@Example.COM>", "A.b+c@example.com"},
		{"<\"plain\"@b.example>", "plain@b.example"},
		{"<\"a.b\"@b.example>", "a.b@b.example"},
		{"<\"a b\"@b.example>", "\"a b\"@b.example"},
		{"<\"a..b\"@b.example>", "\"a..b\"@b.example"},
		{"<\".a\"@b.example>", "\".a\"@b.example"},
		{"<\"\"@b.example>", "\"\"@b.example"},
		{"<\"a\\\"b\"@b.example>", "\"a\\\"b\"@b.example"},
		{"<\"a\\\\\"@b.example>", "\"a\\\\\"@b.example"},
		{"<\"\\a\\b\"@b.example>", "ab@b.example"},
		{"<\"a@b\"@c.example>", "\"a@b\"@c.example"},
		{"<\"<a>\"@c.example>", "\"<a>\"@c.example"},
		{"<@a.example,@b.example:c@d.example>", "c@d.example"},
		{"<@a.example:\"c d\"@d.example>", "\"c d\"@d.example"},
		{"<user%host@x.example>", "user%host@x.example"},
		{"<a!b@x.example>", "a!b@x.example"},
		{"<!#$%&'*+-/=?^_`{|}~@x.example>", "!#$%&'*+-/=?^_`{|}~@x.example"},
		{"<a@[192.0.2.1]>", "a@[192.0.2.1]"},
		{"<a@[IPv6:2001:DB8:0:0::1]>", "a@[IPv6:2001:db8::1]"},
		{"<a@[ipv6:::1]>", "a@[IPv6:::1]"},
		{"<a@localhost>", "a@localhost"},
		{"<a@1.example>", "a@1.example"},
		{"<" A64 "@b.example>", A64 "@b.example"},
		{"<a@" L63 ".example>", "a@" L63 ".example"},
		{"<a@xn--bcher-kva.example>", "a@xn--bcher-kva.example"},
		{"<j\xc3\xbcrgen@b\xc3\xbc"
		 "cher.example>",
		 "j\xc3\xbcrgen@b\xc3\xbc"
		 "cher.example"},
		{"<\"\xe4\xb8\xad \xe6\x96\x87\"@b.example>",
		 "\"\xe4\xb8\xad \xe6\x96\x87\"@b.example"},
	};
	struct smtp_address address;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (parse(cases[i][0], false, &address) != 0)
			fail_msg("refused: %s", cases[i][0]);
		assert_string_equal(address.text, cases[i][1]);
		assert_int_equal(address.size, strlen(cases[i][1]));
		assert_int_equal(address.text[address.domain - 1], '@');
		/* What is written anew reads as the same. */
		struct smtp_address again;

		assert_int_equal(address_parse_mailbox(address.text, address.size, &again), 0);
		assert_string_equal(again.text, address.text);
	}
}

static void s11_malformed_addresses_are_refused(void **state)
{
	static const char *const cases[] = {
		"",
		"<",
		"a@b.example",
		"<a@b.example",
		"<a>",
		"<a@>",
		"<@b.example>",
		"<@b.example:>",
		"<@b.example:@c.example>",
		"<@b.example,a@c.example>",
		"<@b.example a@c.example>",
		"<@:a@c.example>",
		"<a@@b.example>",
		"<a@b@c.example>",
		"<.a@b.example>",
		"<a.@b.example>",
		"<a..b@b.example>",
		"<a b@b.example>",
		"<a@b example>",
		"<a@b..example>",
		"<a@.example>",
		"<a@b.example.>",
		"<a@-b.example>",
		"<a@b-.example>",
		"<a@b_c.example>",
		"<a@b.exa(comment)mple>",
		"<a(comment)@b.example>",
		"<a,b@b.example>",
		"<a;b@b.example>",
		"<\"a@b.example>",
		"<a\"@b.example>",
		"<\"a\"b@b.example>",
		"<\"a\\\"@b.example>",
		"<\"a\\",
		"<\"a\nb\"@b.example>",
		"<\"a\\\nb\"@b.example>",
		"<\"a\\\rb\"@b.example>",
		"<\"a\tb\"@b.example>",
		"<a\\@b@c.example>",
		"<a@[192.0.2]>",
		"<a@[192.0.2.256]>",
		"<a@[192.0.2.1>",
		"<a@[192.0.2.1]x>",
		"<a@[2001:db8::1]>",
		"<a@[IPv6:192.0.2.1]>",
		"<a@[IPv6:2001:db8::1::2]>",
		"<a@[IPv6:]>",
		"<a@[]>",
		"<a@[tag:content]>",
		"<" A64 "a@b.example>",
		"<\"" A64 "\"x@b.example>",
		"<a@" L63 "b.example>",
		"<a@" L63 "." L63 "." L63 "." L63 ".bb>",
		"<\xc3@b.example>",
		"<\xc3\x28@b.example>",
		"<\xc0\xaf@b.example>",
		"<\xe0\x80\xaf@b.example>",
		"<\xed\xa0\x80@b.example>",
		"<\xf4\x90\x80\x80@b.example>",
		"<\xff@b.example>",
		"<a@b\xc3.example>",
		"<a\xc2\x85@b.example>",
		"<\"a\x7f\"@b.example>",
	};
	struct smtp_address address;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (parse(cases[i], false, &address) == 0)
			fail_msg("taken: %s", cases[i]);
		if (parse(cases[i], true, &address) == 0)
			fail_msg("taken as reverse-path: %s", cases[i]);
	}
}

static void s11_quoting_counts_against_the_64_octets(void **state)
{
	struct smtp_address address;

	/* 62 octets in quotes are 64; 61 and a quoted quote are 65. */
	assert_int_equal(parse("<\" " A16 A16 A16 "aaaaaaaaaaaaa\"@b.example>", false, &address),
			 0);
	assert_int_equal(address.domain - 1, 64);
	assert_int_equal(parse("<\"\\\"" A16 A16 A16 "aaaaaaaaaaaaa\"@b.example>", false, &address),
			 -EINVAL);
}

static void s11_paths_of_254_octets_fit_and_255_do_not(void **state)
{
	struct smtp_address address;
	char text[400];

	snprintf(text, sizeof(text),
		 "<" A64 "@" L63 "." L63 "."
		 "%.61s>",
		 L63);
	assert_int_equal(parse(text, false, &address), 0);
	assert_int_equal(address.size, SMTP_PATH_MAX);
	snprintf(text, sizeof(text),
		 "<" A64 "@" L63 "." L63 "."
		 "%.62s>",
		 L63);
	assert_int_equal(parse(text, false, &address), -EINVAL);
}

static void s11_the_null_path_is_for_senders(void **state)
{
	struct smtp_address address;

	assert_int_equal(parse("<>", true, &address), 0);
	assert_int_equal(address.size, 0);
	assert_string_equal(address.text, "");
	assert_int_equal(parse("<>", false, &address), -EINVAL);
	assert_int_equal(parse("<@a.example:>", true, &address), -EINVAL);
}

static void s11_postmaster_may_stand_alone_as_recipient(void **state)
{
	struct smtp_address address;

	assert_int_equal(parse("<PostMaster>", false, &address), 0);
	assert_string_equal(address.text, "postmaster");
	assert_int_equal(address.domain, address.size);
	assert_int_equal(parse("<Postmaster>", true, &address), -EINVAL);
	assert_int_equal(parse("<postmasters>", false, &address), -EINVAL);
}

static void s11_a_huge_address_is_refused(void **state)
{
	static char text[100001];
	struct smtp_address address;
	size_t used;

	memset(text, 'a', sizeof(text) - 1);
	text[0] = '<';
	memcpy(text + sizeof(text) - 12, "@b.example>", 11);
	assert_int_equal(address_parse_path(text, sizeof(text) - 1, false, &address, &used),
			 -EINVAL);
	memset(text, '\\', sizeof(text) - 1);
	text[0] = '<', text[1] = '"';
	assert_int_equal(address_parse_path(text, sizeof(text) - 1, false, &address, &used),
			 -EINVAL);
	memset(text, '@', sizeof(text) - 1);
	text[0] = '<';
	assert_int_equal(address_parse_path(text, sizeof(text) - 1, false, &address, &used),
			 -EINVAL);
}

static void s11_nul_is_never_taken(void **state)
{
	struct smtp_address address;
	size_t used;

	assert_int_equal(address_parse_path("<a\0@b.example>", 14, false, &address, &used),
			 -EINVAL);
	assert_int_equal(address_parse_path("<\"\\\0\"@b.example>", 16, false, &address, &used),
			 -EINVAL);
	assert_int_equal(address_parse_path("<a@b\0.example>", 14, false, &address, &used),
			 -EINVAL);
	assert_int_equal(address_parse_path("<a@[192.0.2.1\0]>", 16, false, &address, &used),
			 -EINVAL);
}

static void utf8_is_told(void **state)
{
	struct smtp_address address;

	parse("<a@b.example>", false, &address);
	assert_false(address.utf8);
	parse("<\xc3\xbc@b.example>", false, &address);
	assert_true(address.utf8);
}

static bool helo(const char *text)
{
	return address_helo_is_valid(text, strlen(text));
}

static void helo_names_are_judged(void **state)
{
	assert_true(helo("client.example"));
	assert_true(helo("my_host"));
	assert_true(helo("host.example."));
	assert_true(helo("[192.0.2.1]"));
	assert_true(helo("[IPv6:2001:db8::1]"));
	assert_false(helo(""));
	assert_false(helo("a b"));
	assert_false(helo("a..b"));
	assert_false(helo("(x)"));
	assert_false(helo("a@b"));
	assert_false(helo("a>b"));
	assert_false(helo("[192.0.2.1"));
	assert_false(helo("[192.0.2.1]x"));
	assert_false(helo("\xc3\xbc.example"));
	assert_false(helo(L63 L63 L63 L63 L63));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(s11_addresses_are_written_anew),
		cmocka_unit_test(s11_malformed_addresses_are_refused),
		cmocka_unit_test(s11_quoting_counts_against_the_64_octets),
		cmocka_unit_test(s11_paths_of_254_octets_fit_and_255_do_not),
		cmocka_unit_test(s11_the_null_path_is_for_senders),
		cmocka_unit_test(s11_postmaster_may_stand_alone_as_recipient),
		cmocka_unit_test(s11_a_huge_address_is_refused),
		cmocka_unit_test(s11_nul_is_never_taken),
		cmocka_unit_test(utf8_is_told),
		cmocka_unit_test(helo_names_are_judged),
	};

	return cmocka_run_group_tests_name("smtp address", tests, NULL, NULL);
}
