/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The small parts: base64, UTF-8, xtext, scanning, sets and counts. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "dataplane/smtp/base64.h"
#include "dataplane/smtp/client_counts.h"
#include "dataplane/smtp/command.h"
#include "dataplane/smtp/orcpt.h"
#include "dataplane/smtp/parameters.h"
#include "dataplane/smtp/recipient_set.h"
#include "dataplane/smtp/scan.h"
#include "dataplane/smtp/utf8.h"
#include "drivers/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int decode(const char *text, char *out)
{
	int size = base64_decode(text, strlen(text), (uint8_t *)out, 16);

	if (size >= 0)
		out[size] = '\0';
	return size;
}

static void base64_is_strict(void **state)
{
	/* RFC 4648, 10. */
	static const char *const good[][2] = {{"", ""},
					      {"Zg==", "f"},
					      {"Zm8=", "fo"},
					      {"Zm9v", "foo"},
					      {"Zm9vYg==", "foob"},
					      {"Zm9vYmE=", "fooba"},
					      {"Zm9vYmFy", "foobar"}};
	static const char *const bad[] = {"Z",	  "Zg",	  "Zg=",  "Zg===", "Zh==",  "Zm9=", "Z===",
					  "=Zg=", "Zg=a", "====", "Zm 9",  "Zm9\n", "Zm9-", "Zm9_"};
	char text[17];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(decode(good[i][0], text), strlen(good[i][1]));
		assert_string_equal(text, good[i][1]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(decode(bad[i], text), -EINVAL);
	assert_int_equal(decode("AAAAAAAAAAAAAAAAAAAAAAAA", text), -ENOBUFS);
}

static bool valid(const char *text)
{
	return utf8_is_valid(text, strlen(text));
}

static void utf8_is_the_shortest_form_without_surrogates(void **state)
{
	assert_true(valid(
		"a\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"));
	assert_false(valid("\x80"));
	assert_false(valid("\xc1\xbf"));
	assert_false(valid("\xc3"));
	assert_false(valid("\xe0\x9f\xbf"));
	assert_false(valid("\xed\xa0\x80"));
	assert_false(valid("\xf0\x8f\xbf\xbf"));
	assert_false(valid("\xf4\x90\x80\x80"));
	assert_false(valid("\xf5\x80\x80\x80"));
	assert_false(valid("\xe2\x82"));
	assert_false(valid("\xe2\x82x"));
}

static void xtext_decodes_to_printable_ascii(void **state)
{
	assert_true(xtext_is_valid("", 0, false));
	assert_true(xtext_is_valid("a+2B+3D+20b", 11, false));
	assert_false(xtext_is_valid("+", 1, false));
	assert_false(xtext_is_valid("+4", 2, false));
	assert_false(xtext_is_valid("+4x", 3, false));
	assert_false(xtext_is_valid("+4a", 3, false));
	assert_false(xtext_is_valid("+7F", 3, false));
	assert_false(xtext_is_valid("+1F", 3, false));
	assert_false(xtext_is_valid("a b", 3, false));
	assert_false(xtext_is_valid("a\0b", 3, false));
	assert_false(xtext_is_valid("\xc3\xbc", 2, false));
	assert_true(xtext_is_valid("\xc3\xbc", 2, true));
	assert_false(xtext_is_valid("\xc3", 1, true));
}

static size_t slow_scan(const uint8_t *data, size_t size, bool *high)
{
	size_t at = 0;

	for (; at < size && data[at] != '\r' && data[at] != '\n' && data[at] != 0; at++)
		*high |= data[at] > 127;
	return at;
}

static void scanning_finds_what_octet_by_octet_finds(void **state)
{
	uint8_t data[100];
	struct mr_random random;

	random_init_seed(&random, 1);
	for (unsigned round = 0; round < 200000; round++) {
		size_t size = random_below(&random, sizeof(data));
		bool high = false, slow_high = false;

		for (size_t i = 0; i < size; i++) {
			uint32_t r = random_below(&random, 400);

			data[i] = r < 3	  ? (uint8_t) "\r\n\0"[r]
				  : r < 8 ? (uint8_t)(0x80 + r)
					  : (uint8_t)(14 + r % 100);
		}
		assert_int_equal(scan_special(data, size, &high),
				 slow_scan(data, size, &slow_high));
		assert_int_equal(high, slow_high);
	}
}

static void commands_split_at_their_blanks(void **state)
{
	struct smtp_command command;

	smtp_command_parse("mAiL  FROM:<a@b>  ", 18, &command);
	assert_int_equal(command.verb, SMTP_MAIL);
	assert_int_equal(command.argument_size, 10);
	assert_memory_equal(command.argument, "FROM:<a@b>", 10);
	smtp_command_parse("", 0, &command);
	assert_int_equal(command.verb, SMTP_UNKNOWN_VERB);
	smtp_command_parse("MAILFROM:<a@b>", 14, &command);
	assert_int_equal(command.verb, SMTP_UNKNOWN_VERB);
	smtp_command_parse("QUIT   ", 7, &command);
	assert_int_equal(command.verb, SMTP_QUIT);
	assert_int_equal(command.argument_size, 0);
}

static void the_recipient_set_forgets_nothing(void **state)
{
	struct chunk_pool *pool = chunk_pool_create(1, 16);
	struct recipient_set set = {0};
	struct mr_random random;
	unsigned wrong = 0;

	random_init_seed(&random, 7);
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(recipient_set_add(&set, pool, random_u64(&random)), 0);
	random_init_seed(&random, 7);
	for (unsigned i = 0; i < 5000; i++)
		assert_true(recipient_set_has(&set, random_u64(&random)));
	for (unsigned i = 0; i < 100000; i++)
		wrong += recipient_set_has(&set, random_u64(&random));
	assert_true(wrong < 10);
	assert_true(recipient_set_has(&set, 0) == recipient_set_has(&set, 0));
	while (recipient_set_add(&set, pool, random_u64(&random)) == 0)
		;
	assert_int_equal(chunk_pool_available(pool), 0);
	recipient_set_free(&set, pool);
	assert_int_equal(chunk_pool_available(pool), 16);
	chunk_pool_destroy(pool);
}

static void client_counts_match_a_plain_count(void **state)
{
	static unsigned count[64], sum;
	const struct hash_key key = {1, 2};
	struct client_counts *counts = client_counts_create(200, &key);
	struct mr_random random;

	assert_non_null(counts);
	random_init_seed(&random, 3);
	for (unsigned round = 0; round < 100000; round++) {
		unsigned client = random_below(&random, 64);
		struct ip_address address = ip_from_v4(0x0a000000 + client * 257);

		assert_int_equal(client_counts_get(counts, &address), count[client]);
		if (sum < 200 && (count[client] == 0 || random_below(&random, 2))) {
			client_counts_add(counts, &address);
			count[client]++;
			sum++;
		} else if (count[client] > 0) {
			client_counts_remove(counts, &address);
			count[client]--;
			sum--;
		}
	}
	client_counts_destroy(counts);
}

static void clients_are_ipv4_addresses_and_ipv6_64s(void **state)
{
	static const char *const texts[] = {"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff",
					    "2001:db8:0:2::1", "192.0.2.1", "192.0.2.2"};
	const struct hash_key key = {1, 2};
	struct client_counts *counts = client_counts_create(8, &key);
	struct ip_address address[5];

	assert_non_null(counts);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(ip_parse(texts[i], &address[i]), 0);
	client_counts_add(counts, &address[0]);
	client_counts_add(counts, &address[3]);
	assert_int_equal(client_counts_get(counts, &address[1]), 1);
	assert_int_equal(client_counts_get(counts, &address[2]), 0);
	assert_int_equal(client_counts_get(counts, &address[4]), 0);
	client_counts_add(counts, &address[1]);
	assert_int_equal(client_counts_get(counts, &address[0]), 2);
	client_counts_remove(counts, &address[0]);
	client_counts_remove(counts, &address[1]);
	assert_int_equal(client_counts_get(counts, &address[0]), 0);
	client_counts_destroy(counts);
}

static void rfc6533_original_recipients_are_judged(void **state)
{
	static const struct {
		const char *text;
		bool ascii, utf8;
	} cases[] = {
		{"rfc822;a@b", true, true},
		{"utf-8;a@b", true, true},
		{"UTF-8;a@b", true, true},
		{"utf-8;a+2Bb@c", true, true},
		{"utf-8;j\\x{FC}rgen@b", true, true},
		{"utf-8;\\x{1F600}@b", true, true},
		{"utf-8;\\x{10FFFF}@b", true, true},
		{"utf-8;a\\x{5C}b\\x{20}c@b", true, true},
		{"utf-8;j\xc3\xbcrgen@b", false, true},
		{"utf-8;\xf0\x9f\x98\x80@b", false, true},
		{"rfc822;j\xc3\xbcrgen@b", false, false},
		{"utf-8;a\\b@c", false, false},
		{"utf-8;a\\x{}@c", false, false},
		{"utf-8;a\\x{41", false, false},
		{"utf-8;a\\x41@c", false, false},
		{"utf-8;a\\x{D}@c", false, false},
		{"utf-8;a\\x{0A}@c", false, false},
		{"utf-8;a\\x{0}@c", false, false},
		{"utf-8;a\\x{7F}@c", false, false},
		{"utf-8;a\\x{85}@c", false, false},
		{"utf-8;a\\x{D800}@c", false, false},
		{"utf-8;a\\x{110000}@c", false, false},
		{"utf-8;a\\x{0000041}@c", false, false},
		{"utf-8;a\\x{G}@c", false, false},
		{"utf-8;a=b@c", false, false},
		{"utf-8;a+0Db@c", false, false},
		{"utf-8;a+2", false, false},
		{"utf-8;a\xc2\x85@c", false, false},
		{"utf-8;a\xc3@c", false, false},
		{"utf-8;", false, false},
		{";a@b", false, false},
		{"a@b", false, false},
		{"u_8;a@b", false, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *text = cases[i].text;

		if (orcpt_is_valid(text, strlen(text), false) != cases[i].ascii ||
		    orcpt_is_valid(text, strlen(text), true) != cases[i].utf8)
			fail_msg("%s", text);
	}
}

static void rfc6533_original_recipients_go_out_in_7_bits_or_as_they_are(void **state)
{
	static const char *const cases[][2] = {
		{"rfc822;a+2Bb@c", "rfc822;a+2Bb@c"},
		{"utf-8;j\xc3\xbcrgen@b\xc3\xbc"
		 "cher.example",
		 "utf-8;j\\x{FC}rgen@b\\x{FC}cher.example"},
		{"utf-8;\xe4\xb8\xad@\xf0\x9f\x98\x80", "utf-8;\\x{4E2D}@\\x{1F600}"},
		{"utf-8;j\\x{FC}rgen@b", "utf-8;j\\x{FC}rgen@b"},
	};
	char out[SMTP_ORCPT_MAX + 1], text[SMTP_ORCPT_MAX + 2];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(orcpt_write(cases[i][0], false, out), strlen(cases[i][1]));
		assert_string_equal(out, cases[i][1]);
		/* A host without SMTPUTF8 takes what comes out. */
		assert_true(orcpt_is_valid(out, strlen(out), false));
		assert_int_equal(orcpt_write(cases[i][0], true, out), strlen(cases[i][0]));
		assert_string_equal(out, cases[i][0]);
	}
	assert_int_equal(orcpt_write("rfc822;a b", true, out), 0);
	assert_int_equal(orcpt_write("rfc822;a\r\nRSET", true, out), 0);
	/* In 7 bits it is three times as long: not with us, not cut. */
	memcpy(text, "utf-8;", 6);
	for (size_t i = 6; i < SMTP_ORCPT_MAX; i += 2)
		memcpy(text + i, "\xc3\xbc", 2);
	text[SMTP_ORCPT_MAX] = '\0';
	assert_int_equal(orcpt_write(text, true, out), SMTP_ORCPT_MAX);
	assert_int_equal(orcpt_write(text, false, out), 0);
	text[SMTP_ORCPT_MAX] = 'a';
	text[SMTP_ORCPT_MAX + 1] = '\0';
	assert_int_equal(orcpt_write(text, true, out), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_is_strict),
		cmocka_unit_test(utf8_is_the_shortest_form_without_surrogates),
		cmocka_unit_test(xtext_decodes_to_printable_ascii),
		cmocka_unit_test(scanning_finds_what_octet_by_octet_finds),
		cmocka_unit_test(commands_split_at_their_blanks),
		cmocka_unit_test(the_recipient_set_forgets_nothing),
		cmocka_unit_test(rfc6533_original_recipients_are_judged),
		cmocka_unit_test(rfc6533_original_recipients_go_out_in_7_bits_or_as_they_are),
		cmocka_unit_test(client_counts_match_a_plain_count),
		cmocka_unit_test(clients_are_ipv4_addresses_and_ipv6_64s),
	};

	return cmocka_run_group_tests_name("smtp parts", tests, NULL, NULL);
}
