/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The ClientHello reader: real hellos pass at any fragmentation, and each malformed one is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/unit/tls/identity.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** A hello under construction: the body of the handshake message. */
struct builder {
	uint8_t body[20000];
	size_t size;
};

static void put(struct builder *b, const void *data, size_t size)
{
	memcpy(b->body + b->size, data, size);
	b->size += size;
}

static void put_u8(struct builder *b, unsigned value)
{
	b->body[b->size++] = (uint8_t)value;
}

static void put_u16(struct builder *b, unsigned value)
{
	put_u8(b, value >> 8);
	put_u8(b, value);
}

static void set_u16(struct builder *b, size_t at, size_t value)
{
	b->body[at] = (uint8_t)(value >> 8);
	b->body[at + 1] = (uint8_t)value;
}

/* Up to the length of the extensions, which is at the offset that is returned. */
static size_t begin(struct builder *b)
{
	static const uint8_t random[32] = {1};

	b->size = 0;
	put_u16(b, 0x0303);
	put(b, random, 32);
	put_u8(b, 0); /* session id */
	put_u16(b, 4);
	put_u16(b, 0x1301);
	put_u16(b, 0xc02b);
	put_u8(b, 1);
	put_u8(b, 0);
	put_u16(b, 0);
	return b->size - 2;
}

static void extension(struct builder *b, unsigned type, const void *data, size_t size)
{
	put_u16(b, type);
	put_u16(b, (unsigned)size);
	put(b, data, size);
}

static void finish(struct builder *b, size_t extensions_at)
{
	set_u16(b, extensions_at, b->size - extensions_at - 2);
}

/* Records of at most `fragment` octets. @return octets */
static size_t frame(const struct builder *b, size_t fragment, uint8_t *out)
{
	uint8_t message[20004];
	size_t total = b->size + 4, at = 0, n = 0;

	message[0] = 1;
	message[1] = 0;
	message[2] = (uint8_t)(b->size >> 8);
	message[3] = (uint8_t)b->size;
	memcpy(message + 4, b->body, b->size);
	while (at < total) {
		size_t size = total - at < fragment ? total - at : fragment;

		out[n++] = 22;
		out[n++] = 3;
		out[n++] = 1;
		out[n++] = (uint8_t)(size >> 8);
		out[n++] = (uint8_t)size;
		memcpy(out + n, message + at, size);
		n += size;
		at += size;
	}
	return n;
}

static void put_server_name(struct builder *b, const char *name)
{
	struct builder list = {.size = 0};
	size_t size = strlen(name);

	put_u16(&list, (unsigned)size + 3);
	put_u8(&list, 0);
	put_u16(&list, (unsigned)size);
	put(&list, name, size);
	extension(b, 0, list.body, list.size);
}

static void put_key_shares(struct builder *b, unsigned count, const uint16_t *groups)
{
	struct builder list = {.size = 0};

	put_u16(&list, 0);
	for (unsigned i = 0; i < count; i++) {
		put_u16(&list, groups[i]);
		put_u16(&list, 4);
		put(&list, "keys", 4);
	}
	set_u16(&list, 0, list.size - 2);
	extension(b, 51, list.body, list.size);
}

static void build_good(struct builder *b)
{
	static const uint16_t groups[] = {29, 23};
	size_t at = begin(b);

	put_server_name(b, "MX.test.example");
	extension(b, 10, "\0\4\0\x1d\0\x17", 6);
	extension(b, 13, "\0\2\4\3", 4);
	extension(b, 43, "\4\3\4\3\3", 5);
	put_key_shares(b, 2, groups);
	finish(b, at);
}

static int peek(const struct builder *b)
{
	uint8_t bytes[120000];
	char name[256];

	return tls_client_hello_peek(bytes, frame(b, 16384, bytes), name);
}

static void a_sound_hello_is_complete_only_at_its_last_octet(void **state)
{
	struct builder b;
	uint8_t bytes[4000];
	char name[256];
	size_t size;

	build_good(&b);
	for (size_t fragment = 1; fragment < b.size + 10; fragment += fragment < 20 ? 1 : 13) {
		size = frame(&b, fragment, bytes);
		for (size_t have = 0; have < size; have++) {
			assert_int_equal(tls_client_hello_peek(bytes, have, name), 0);
			assert_string_equal(name, "");
		}
		assert_int_equal(tls_client_hello_peek(bytes, size, name), size);
		assert_string_equal(name, "MX.test.example");
		/* What follows is not its business. */
		assert_int_equal(tls_client_hello_peek(bytes, size + 10, name), size);
	}
}

static void a_hello_without_extensions_is_sound(void **state)
{
	struct builder b;

	begin(&b);
	b.size -= 2;
	assert_true(peek(&b) > 0);
}

static void change_cipher_spec_may_come_first_once(void **state)
{
	struct builder b;
	uint8_t bytes[4000] = {20, 3, 3, 0, 1, 1};
	char name[256];
	size_t size;

	build_good(&b);
	size = frame(&b, 16384, bytes + 6) + 6;
	assert_int_equal(tls_client_hello_peek(bytes, size, name), size);
	for (size_t have = 0; have < size; have++)
		assert_int_equal(tls_client_hello_peek(bytes, have, name), 0);
	memcpy(bytes + 6, bytes, 6);
	assert_int_equal(tls_client_hello_peek(bytes, size, name), -EPROTO);
	bytes[5] = 2;
	assert_int_equal(tls_client_hello_peek(bytes, size, name), -EPROTO);
	bytes[5] = 1;
	bytes[4] = 2;
	assert_int_equal(tls_client_hello_peek(bytes, size, name), -EPROTO);
}

static void duplicate_extensions_are_refused(void **state)
{
	struct builder b;
	size_t at = begin(&b);

	extension(&b, 0x1234, "", 0);
	extension(&b, 0x1235, "", 0);
	finish(&b, at);
	assert_true(peek(&b) > 0);
	extension(&b, 0x1234, "", 0);
	finish(&b, at);
	assert_int_equal(peek(&b), -EPROTO);
}

static void duplicate_key_shares_are_refused(void **state)
{
	static const uint16_t groups[] = {29, 23, 24, 29};
	struct builder b;

	for (unsigned count = 0; count <= 4; count++) {
		size_t at = begin(&b);

		put_key_shares(&b, count, groups);
		finish(&b, at);
		if (count < 4)
			assert_true(peek(&b) > 0);
		else
			assert_int_equal(peek(&b), -EPROTO);
	}
}

static void too_many_extensions_or_key_shares_are_refused(void **state)
{
	uint16_t groups[40];
	struct builder b;
	size_t at = begin(&b);

	for (unsigned i = 0; i < 65; i++)
		extension(&b, 1000 + i, "", 0);
	finish(&b, at);
	assert_int_equal(peek(&b), -EPROTO);
	for (unsigned i = 0; i < 40; i++)
		groups[i] = (uint16_t)i;
	at = begin(&b);
	put_key_shares(&b, 33, groups);
	finish(&b, at);
	assert_int_equal(peek(&b), -EPROTO);
}

static int peek_extension(unsigned type, const char *data, size_t size)
{
	struct builder b;
	size_t at = begin(&b);

	extension(&b, type, data, size);
	finish(&b, at);
	return peek(&b);
}

static void malformed_extensions_are_refused(void **state)
{
	static const struct {
		unsigned type;
		const char *data;
		size_t size;
	} bad[] = {
		{0, "", 0},
		{0, "\0\0", 2},
		{0, "\0\3\0\0\0", 5},
		{0, "\0\4\0\0\1\0", 6},		/* NUL */
		{0, "\0\4\0\0\1 ", 6},		/* space */
		{0, "\0\4\0\0\1\xc3", 6},	/* not ASCII */
		{0, "\0\4\0\0\2a", 6},		/* length beyond the list */
		{0, "\0\10\0\0\1a\0\0\1b", 10}, /* two host names */
		{0, "\0\4\0\0\1ax", 7},		/* bytes behind the list */
		{10, "\0\0", 2},
		{10, "\0\3\0\x17\0", 5},
		{13, "\0\4\4\3", 4},
		{43, "\0", 1},
		{43, "\3\3\4\3", 4},
		{45, "\0", 1},
		{51, "", 0},
		{51, "\0\1\0", 3},
		{51, "\0\4\0\x1d\0\0", 6},  /* empty key */
		{51, "\0\5\0\x1d\0\2k", 7}, /* key beyond the list */
		{41, "\0\0\0\0", 4},
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (peek_extension(bad[i].type, bad[i].data, bad[i].size) != -EPROTO)
			fail_msg("case %u is not refused", i);
	}
	assert_true(peek_extension(0, "\0\4\0\0\1a", 6) > 0);
	assert_true(peek_extension(0, "\0\4\7\0\1\1", 6) > 0); /* a type we do not know */
}

static void s21_a_server_name_of_many_octets_or_odd_ones_is_harmless(void **state)
{
	uint8_t long_name[5 + 10240] = {0x28, 0x03, 0, 0x28, 0};
	struct builder b;
	uint8_t out[20480];
	char name[256];
	size_t at, size;

	memset(long_name + 5, 'a', 10240);
	assert_int_equal(peek_extension(0, long_name, sizeof(long_name)), -EPROTO);
	/* Exim's CVE-2019-15846: a backslash at the end is an octet like others. */
	at = begin(&b);
	put_server_name(&b, "mx.test.example\\");
	finish(&b, at);
	size = frame(&b, 16384, out);
	assert_int_equal(tls_client_hello_peek(out, size, name), size);
	assert_string_equal(name, "mx.test.example\\");
}

static void a_pre_shared_key_must_be_last_and_balanced(void **state)
{
	struct builder b, psk = {.size = 0};
	size_t at;

	put_u16(&psk, 8);
	put_u16(&psk, 2);
	put(&psk, "id", 2);
	put(&psk, "\0\0\0\0", 4);
	put_u16(&psk, 33);
	put_u8(&psk, 32);
	memset(psk.body + psk.size, 7, 32);
	psk.size += 32;
	assert_true(peek_extension(41, (const char *)psk.body, psk.size) > 0);
	at = begin(&b);
	extension(&b, 41, psk.body, psk.size);
	extension(&b, 0x1234, "", 0);
	finish(&b, at);
	assert_int_equal(peek(&b), -EPROTO);
	/* two binders for one identity */
	set_u16(&psk, 10, 66);
	put_u8(&psk, 32);
	memset(psk.body + psk.size, 7, 32);
	psk.size += 32;
	assert_int_equal(peek_extension(41, (const char *)psk.body, psk.size), -EPROTO);
}

static void every_length_that_does_not_add_up_is_refused_or_waited_for(void **state)
{
	struct builder b;
	uint8_t bytes[4000];
	char name[256];
	size_t size;

	build_good(&b);
	size = frame(&b, 16384, bytes);
	/* Any octet changed to any of a few values: never a crash, never a size beyond what is
	 * there. */
	for (size_t at = 0; at < size; at++) {
		static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
		uint8_t old = bytes[at];

		for (unsigned v = 0; v < sizeof(values); v++) {
			int result;

			bytes[at] = values[v];
			result = tls_client_hello_peek(bytes, size, name);
			assert_true(result == -EPROTO || result == 0 || result == (int)size);
		}
		bytes[at] = old;
	}
}

static void fixed_fields_are_checked(void **state)
{
	struct builder b;

	build_good(&b);
	b.body[0] = 2; /* legacy_version */
	assert_int_equal(peek(&b), -EPROTO);
	build_good(&b);
	b.body[34] = 33; /* session id length */
	assert_int_equal(peek(&b), -EPROTO);
	build_good(&b);
	set_u16(&b, 35, 3); /* odd number of octets of suites */
	assert_int_equal(peek(&b), -EPROTO);
	build_good(&b);
	b.body[42] = 1; /* no null compression */
	assert_int_equal(peek(&b), -EPROTO);
	build_good(&b);
	put_u8(&b, 0); /* one octet behind the extensions */
	assert_int_equal(peek(&b), -EPROTO);
}

static void a_record_must_not_go_on_behind_the_hello(void **state)
{
	struct builder b;
	uint8_t bytes[4000];
	char name[256];
	size_t size;

	build_good(&b);
	size = frame(&b, 16384, bytes);
	bytes[size++] = 11;
	bytes[3] = (uint8_t)((size - 5) >> 8);
	bytes[4] = (uint8_t)(size - 5);
	assert_int_equal(tls_client_hello_peek(bytes, size, name), -EPROTO);
}

static void a_hello_over_the_limit_is_refused_at_its_header(void **state)
{
	static const uint8_t bytes[] = {22, 3, 1, 0x40, 0, 1, 0, 0x40, 0};
	char name[256];

	assert_int_equal(tls_client_hello_peek(bytes, 8, name), 0);
	assert_int_equal(tls_client_hello_peek(bytes, 9, name), -EPROTO);
}

static void other_protocols_are_refused_at_their_first_octets(void **state)
{
	static const char *const texts[] = {"GET / HTTP/1.1\r\n", "EHLO x\r\n",
					    "\x80\x2e\x01\x00\x02", "SSH-2.0-x\r\n"};
	char name[256];

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(tls_client_hello_peek((const uint8_t *)texts[i], 1, name),
				 -EPROTO);
	assert_int_equal(tls_client_hello_peek((const uint8_t *)"\x16\x02", 2, name), -EPROTO);
	assert_int_equal(tls_client_hello_peek((const uint8_t *)"\x16\x03\x01\x00\x00", 5, name),
			 -EPROTO);
	assert_int_equal(
		tls_client_hello_peek((const uint8_t *)"\x16\x03\x01\x00\x05\x02", 6, name),
		-EPROTO);
}

static int keep_first(void *context, const uint8_t *data, size_t size)
{
	struct builder *b = context;

	put(b, data, size);
	return 0;
}

static void the_librarys_own_hello_passes(void **state)
{
	struct builder b = {.size = 0};
	struct tls_session_settings settings = {
		.emit = keep_first, .context = &b, .server_name = "mx.other.example"};
	struct tls_context *context = identity_client();
	struct tls_session *session = tls_session_create(context, &settings);
	char name[256];

	assert_non_null(session);
	assert_int_equal(tls_session_handshake(session), TLS_WANT_INPUT);
	assert_int_equal(tls_client_hello_peek(b.body, b.size, name), b.size);
	assert_string_equal(name, "mx.other.example");
	tls_session_destroy(session);
	tls_context_release(context);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_hello_is_complete_only_at_its_last_octet),
		cmocka_unit_test(a_hello_without_extensions_is_sound),
		cmocka_unit_test(change_cipher_spec_may_come_first_once),
		cmocka_unit_test(duplicate_extensions_are_refused),
		cmocka_unit_test(duplicate_key_shares_are_refused),
		cmocka_unit_test(too_many_extensions_or_key_shares_are_refused),
		cmocka_unit_test(malformed_extensions_are_refused),
		cmocka_unit_test(s21_a_server_name_of_many_octets_or_odd_ones_is_harmless),
		cmocka_unit_test(a_pre_shared_key_must_be_last_and_balanced),
		cmocka_unit_test(every_length_that_does_not_add_up_is_refused_or_waited_for),
		cmocka_unit_test(fixed_fields_are_checked),
		cmocka_unit_test(a_record_must_not_go_on_behind_the_hello),
		cmocka_unit_test(a_hello_over_the_limit_is_refused_at_its_header),
		cmocka_unit_test(other_protocols_are_refused_at_their_first_octets),
		cmocka_unit_test(the_librarys_own_hello_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
