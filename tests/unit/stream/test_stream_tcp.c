/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * STARTTLS over the real TCP stack and a wire that loses, reorders, duplicates and corrupts: every
 * honest dialogue succeeds (the check for blind data must never see a ghost), and every byte
 * arrives.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/sim/tcp_harness.h"
#include "tests/unit/stream/party.h"
#include "tests/unit/tls/identity.h"

#include <stdlib.h>
#include <string.h>

#define SEEDS	   60
#define BODY_BYTES 150000u

static struct tls_context *client_context, *server_context;
static struct harness *a, *b;
static struct party client, server;
static uint8_t body[BODY_BYTES];
static const char starttls[] = "STARTTLS\r\n";
static const char go[] = "220 go\r\n";

static void answer_starttls(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	size_t have = p->received_size;

	if (stream_is_tls(p->stream))
		return;
	*taken = sizeof(starttls) - 1 - have < size ? sizeof(starttls) - 1 - have : size;
	if (have + *taken < sizeof(starttls) - 1)
		return;
	assert_int_equal(stream_write(p->stream, go, sizeof(go) - 1), 0);
	assert_int_equal(stream_start_tls(p->stream, server_context, NULL), 0);
}

static void begin_tls(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	size_t have = p->received_size;

	if (stream_is_tls(p->stream))
		return;
	*taken = sizeof(go) - 1 - have < size ? sizeof(go) - 1 - have : size;
	if (have + *taken == sizeof(go) - 1)
		assert_int_equal(stream_start_tls(p->stream, client_context, "mx.test.example"), 0);
}

static void ask_for_tls(struct party *p)
{
	assert_int_equal(stream_write(p->stream, starttls, sizeof(starttls) - 1), 0);
}

static void send_body(struct party *p)
{
	stream_want_write(p->stream);
}

static void close_in_end(struct party *p)
{
	stream_close(p->stream);
}

static bool on_accept(void *user, tcp_handle connection, void **user_out,
		      const struct tcp_callbacks **callbacks_out)
{
	party_init(&server, b->stack, connection, false, &b->now);
	server.when_received = answer_starttls;
	server.when_end = close_in_end;
	*user_out = server.stream;
	*callbacks_out = &stream_tcp_callbacks;
	return true;
}

static const struct tcp_listen_callbacks listen_callbacks = {.on_accept = on_accept};

static void connect_client(void)
{
	struct stream *stream;
	tcp_handle connection;

	/* The stream's memory is needed before there is a connection. */
	party_init(&client, a->stack, 0, true, &a->now);
	stream = client.stream;
	assert_int_equal(tcp_connect(a->stack, &a->address, &b->address, 25, 600 * US_PER_S,
				     &stream_tcp_callbacks, stream, &a->now, &connection),
			 0);
	stream->connection = connection;
	client.when_connected = ask_for_tls;
	client.when_received = begin_tls;
	client.when_tls = send_body;
	client.when_end = close_in_end;
	client.source = body;
	client.source_size = sizeof(body);
}

static bool body_arrived(void *context)
{
	return client.closed || (client.source_at == sizeof(body) &&
				 server.received_size == sizeof(body) + sizeof(starttls) - 1);
}

static bool both_closed(void *context)
{
	return client.closed && server.closed;
}

static void run(uint64_t seed, const struct sim_link_settings *wire)
{
	struct harness_options options_a = {
		.seed = 2 * seed, .address = "10.0.0.1", .peer = "10.0.0.2"};
	struct harness_options options_b = {
		.seed = 2 * seed + 1, .address = "10.0.0.2", .peer = "10.0.0.1"};
	struct sim_link *ab = sim_link_create(wire, seed * 4 + 2),
			*ba = sim_link_create(wire, seed * 4 + 3);

	a = harness_create(&options_a);
	b = harness_create(&options_b);
	assert_int_equal(tcp_listen(b->stack, &b->address, 25, &listen_callbacks, NULL), 0);
	connect_client();
	if (!harness_exchange(a, b, ab, ba, 3000 * US_PER_S, body_arrived, NULL) || client.closed)
		fail_msg("seed %u: %zu octets arrived, client closed %u '%s', server '%s'",
			 (unsigned)seed, server.received_size, client.closed, client.error,
			 server.error);
	assert_int_equal(client.tls, 1);
	assert_int_equal(server.tls, 1);
	assert_memory_equal(server.received + sizeof(starttls) - 1, body, sizeof(body));
	stream_close(client.stream);
	if (!harness_exchange(a, b, ab, ba, 3000 * US_PER_S, both_closed, NULL))
		fail_msg("seed %u: not closed", (unsigned)seed);
	assert_true(client.in_order);
	assert_true(server.in_order);
	assert_false(server.truncated);
	party_destroy(&client);
	party_destroy(&server);
	harness_destroy(a);
	harness_destroy(b);
	sim_link_destroy(ab);
	sim_link_destroy(ba);
}

static void starttls_works_over_a_perfect_wire(void **state)
{
	run(1, &(struct sim_link_settings){.delay_us = 5000});
}

static void starttls_works_over_a_bad_wire(void **state)
{
	struct sim_link_settings wire = {.delay_us = 20000,
					 .jitter_us = 5000,
					 .loss = 0.03,
					 .reorder = 0.05,
					 .duplicate = 0.02,
					 .corrupt = 0.01};

	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		run(seed, &wire);
}

static int set_up(void **state)
{
	server_context = identity_server(IDENTITY_P256, NULL, 1);
	client_context = identity_client();
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 11 + i / 997);
	return 0;
}

static int tear_down(void **state)
{
	tls_context_release(client_context);
	tls_context_release(server_context);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starttls_works_over_a_perfect_wire),
		cmocka_unit_test(starttls_works_over_a_bad_wire),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
