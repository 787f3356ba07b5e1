/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two streams whose users do anything at any time, inside every callback and outside of them, over
 * random segments. Whatever happens: each stream is told its end exactly once and never touched
 * afterwards (the sanitizer watches), all chunks come back, and what arrives is a prefix of what
 * was written.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/unit/stream/fake_tcp.h"
#include "tests/unit/stream/party.h"
#include "tests/unit/tls/identity.h"

#include <stdlib.h>
#include <string.h>

#define SEEDS_CLEAR 1000
#define SEEDS_TLS   100
#define ACTIONS	    60

static struct net_stack *stack;
static struct party client, server;
static struct tls_context *client_context, *server_context;
static struct mr_random chance;
static bool gentle; /* no aborts: both sides come to their end in order */
static uint64_t written[2], deepest;

static struct party *other_of(const struct party *p)
{
	return p == &client ? &server : &client;
}

/* The octet at an offset of what a party writes. */
static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 31 + at / 255);
}

static void write_some(struct party *p)
{
	uint8_t data[9000];
	uint64_t *at = &written[p == &server];
	size_t size = random_below(&chance, 20) == 0 ? random_below(&chance, sizeof(data))
						     : random_below(&chance, 100);

	for (size_t i = 0; i < size; i++)
		data[i] = pattern(*at + i);
	if (stream_write(p->stream, data, size) == 0)
		*at += size;
}

static void act(struct party *p)
{
	static unsigned depth;

	if (!p->stream || depth > 3)
		return;
	depth++;
	switch (random_below(&chance, gentle ? 12 : 14)) {
	case 0:
	case 1:
	case 2:
		write_some(p);
		break;
	case 3:
	case 4:
		stream_flush(p->stream);
		break;
	case 5:
	case 6:
		stream_resume(p->stream);
		break;
	case 7:
		stream_want_write(p->stream);
		break;
	case 8:
		p->take_limit = random_below(&chance, 50);
		break;
	case 9:
		p->take_limit = SIZE_MAX;
		break;
	case 10:
		if (random_below(&chance, 10) == 0)
			stream_close(p->stream);
		break;
	case 11:
		(void)stream_unacknowledged(p->stream);
		break;
	case 12:
		if (random_below(&chance, 10) == 0)
			stream_abort(p->stream);
		break;
	case 13:
		if (random_below(&chance, 30) == 0)
			fake_tcp_starve(stack, random_below(&chance, 2));
		break;
	}
	depth--;
}

static void act_in_callback(struct party *p)
{
	if (random_below(&chance, 2))
		act(p);
}

static void act_on_data(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	const struct party *other = other_of(p);
	uint64_t at = p->received_size;

	for (size_t i = 0; i < size; i++)
		assert_int_equal(data[i], pattern(at + i));
	assert_true(at + size <= written[other == &server]);
	if (random_below(&chance, 2))
		act(p);
	if (random_below(&chance, 8) == 0)
		*taken = random_below(&chance, (uint32_t)*taken + 1);
}

static void start_tls(struct party *p)
{
	assert_int_equal(stream_start_tls(p->stream, client_context, NULL), 0);
}

static void set_up_party(struct party *p, unsigned end, bool tls)
{
	party_create(p, stack, end);
	p->when_received = act_on_data;
	p->when_tls = act_in_callback;
	p->when_end = act_in_callback;
	p->when_connected = tls ? start_tls : act_in_callback;
	p->source = (const uint8_t *)"";
	written[end == 1] = 0;
}

/* Everybody reads, closes and goes. */
static void wind_up(void)
{
	for (unsigned i = 0; i < 3; i++) {
		struct party *parties[] = {&client, &server};

		for (unsigned n = 0; n < 2; n++) {
			struct party *p = parties[n];

			p->when_received = NULL;
			p->when_tls = NULL;
			p->when_end = NULL;
			p->take_limit = SIZE_MAX;
			if (p->stream)
				stream_resume(p->stream);
			if (p->stream && i == 1)
				stream_close(p->stream);
		}
		fake_tcp_run(stack);
	}
}

static void run(uint64_t seed, bool tls)
{
	random_init_seed(&chance, seed);
	gentle = random_below(&chance, 2);
	stack = fake_tcp_create(1 + random_below(&chance, random_below(&chance, 2) ? 20 : 3000),
				30000);
	set_up_party(&client, 0, tls);
	set_up_party(&server, 1, tls);
	if (tls)
		assert_int_equal(stream_start_tls(server.stream, server_context, NULL), 0);
	fake_tcp_connect(stack);
	for (unsigned i = 0; i < ACTIONS; i++) {
		act(random_below(&chance, 2) ? &client : &server);
		for (unsigned n = random_below(&chance, 6); n > 0; n--)
			fake_tcp_step(stack, random_below(&chance, 2));
	}
	wind_up();
	assert_int_equal(client.closed, 1);
	assert_int_equal(server.closed, 1);
	deepest += client.received_size + server.received_size;
	party_destroy(&client);
	party_destroy(&server);
	fake_tcp_destroy(stack);
}

static void users_may_do_anything_at_any_time_in_clear(void **state)
{
	deepest = 0;
	for (uint64_t seed = 1; seed <= SEEDS_CLEAR; seed++)
		run(seed, false);
	assert_true(deepest > SEEDS_CLEAR * 100); /* most of it gets through */
}

static void users_may_do_anything_at_any_time_under_tls(void **state)
{
	server_context = identity_server(IDENTITY_P256, NULL, 1);
	client_context = identity_client();
	deepest = 0;
	for (uint64_t seed = 1; seed <= SEEDS_TLS; seed++)
		run(seed, true);
	tls_context_release(client_context);
	tls_context_release(server_context);
	assert_true(deepest > SEEDS_TLS * 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(users_may_do_anything_at_any_time_in_clear),
		cmocka_unit_test(users_may_do_anything_at_any_time_under_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
