/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * STARTTLS injection (RFC 3207, 6): whatever a man in the middle puts in clear behind STARTTLS
 * (rows S3, C4) ends the stream; not one byte of it is ever handed over. Each case runs for many
 * segmentations.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/unit/stream/fake_tcp.h"
#include "tests/unit/stream/party.h"
#include "tests/unit/tls/identity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char starttls[] = "STARTTLS\r\n";
static const char go[] = "220 go\r\n";
static const char evil_command[] = "RCPT TO:<evil@example>\r\n";
static const char evil_reply[] = "250-evil\r\n";

static struct tls_context *client_context, *server_context;

static int set_up(void **state)
{
	server_context = identity_server(IDENTITY_P256, NULL, 1);
	client_context = identity_client();
	return 0;
}

static int tear_down(void **state)
{
	tls_context_release(client_context);
	tls_context_release(server_context);
	return 0;
}

/* Takes whole lines up to STARTTLS, as a session would, and no more. */
static void serve(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	char line[64];
	size_t have = p->received_size;

	/* Collected so far plus what is new, at most the line. */
	memcpy(line, p->received, have);
	*taken = sizeof(starttls) - 1 - have < size ? sizeof(starttls) - 1 - have : size;
	memcpy(line + have, data, *taken);
	if (have + *taken < sizeof(starttls) - 1)
		return;
	assert_memory_equal(line, starttls, sizeof(starttls) - 1);
	assert_int_equal(stream_write(p->stream, go, sizeof(go) - 1), 0);
	assert_int_equal(stream_start_tls(p->stream, server_context, NULL), 0);
}

static void ask(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	size_t have = p->received_size;

	*taken = sizeof(go) - 1 - have < size ? sizeof(go) - 1 - have : size;
	if (have + *taken == sizeof(go) - 1)
		assert_int_equal(stream_start_tls(p->stream, client_context, "mx.test.example"), 0);
}

/* The other end: raw bytes over TCP. */
struct raw {
	struct net_stack *stack;
	tcp_handle connection;
	unsigned closed;
	size_t received;
};

static size_t raw_receive(void *user, tcp_handle connection, const uint8_t *data, size_t size)
{
	struct raw *raw = user;

	raw->received += size;
	return size;
}

static void raw_ignore(void *user, tcp_handle connection)
{
}

static void raw_room(void *user, tcp_handle connection, size_t room)
{
}

static void raw_closed(void *user, tcp_handle connection, enum tcp_close_reason reason)
{
	struct raw *raw = user;

	raw->closed++;
}

static const struct tcp_callbacks raw_callbacks = {
	.on_connected = raw_ignore,
	.on_receive = raw_receive,
	.on_end = raw_ignore,
	.on_send_room = raw_room,
	.on_closed = raw_closed,
};

static void raw_attach(struct raw *raw, struct net_stack *stack, unsigned end)
{
	memset(raw, 0, sizeof(*raw));
	raw->stack = stack;
	raw->connection = fake_tcp_handle(stack, end);
	fake_tcp_attach(stack, end, &raw_callbacks, raw);
}

static void raw_send(struct raw *raw, const char *data, size_t size)
{
	assert_int_equal(tcp_send(raw->stack, raw->connection, data, size), 0);
}

static void expect_injection(struct party *p, const char *line)
{
	assert_int_equal(p->closed, 1);
	assert_int_equal(p->failure, STREAM_FAILED_INJECTION);
	assert_int_equal(p->tls, 0);
	assert_true(party_received(p, line)); /* and nothing behind it */
}

/* @param segment_bytes 0: all in one */
static void server_case(size_t segment_bytes, const char *injected, size_t injected_size,
			bool one_segment)
{
	struct net_stack *stack = fake_tcp_create(segment_bytes ? segment_bytes : 1460, 60000);
	struct party server;
	struct raw raw;
	char both[512];

	party_create(&server, stack, 1);
	server.when_received = serve;
	server.received = calloc(1, 1);
	raw_attach(&raw, stack, 0);
	memcpy(both, starttls, sizeof(starttls) - 1);
	memcpy(both + sizeof(starttls) - 1, injected, injected_size);
	if (one_segment) {
		raw_send(&raw, both, sizeof(starttls) - 1 + injected_size);
	} else {
		raw_send(&raw, starttls, sizeof(starttls) - 1);
		raw_send(&raw, injected, injected_size);
	}
	fake_tcp_run(stack);
	expect_injection(&server, starttls);
	assert_int_equal(raw.closed, 1);
	party_destroy(&server);
	fake_tcp_destroy(stack);
}

static void s3_commands_behind_starttls_in_any_segmentation_end_the_session(void **state)
{
	for (size_t segment = 1; segment < sizeof(starttls) + sizeof(evil_command); segment++) {
		server_case(segment, evil_command, sizeof(evil_command) - 1, true);
		server_case(segment, evil_command, sizeof(evil_command) - 1, false);
	}
	server_case(0, "\n", 1, true);
	server_case(0, "\n", 1, false);
}

/* Looks like TLS, but was sent before our 220 was read: nobody honest does that. */
static void s3_a_blind_client_hello_ends_the_session(void **state)
{
	static const char blind[] = "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03";

	server_case(0, blind, sizeof(blind) - 1, false);
	server_case(0, blind, sizeof(blind) - 1, true);
	server_case(1, blind, sizeof(blind) - 1, false);
}

static void s3_clear_text_after_the_reply_was_read_ends_the_session(void **state)
{
	struct net_stack *stack = fake_tcp_create(1460, 60000);
	struct party server;
	struct raw raw;

	party_create(&server, stack, 1);
	server.when_received = serve;
	server.received = calloc(1, 1);
	raw_attach(&raw, stack, 0);
	raw_send(&raw, starttls, sizeof(starttls) - 1);
	fake_tcp_run(stack);
	assert_int_equal(raw.received, sizeof(go) - 1);
	raw_send(&raw, evil_command, sizeof(evil_command) - 1);
	fake_tcp_run(stack);
	expect_injection(&server, starttls);
	party_destroy(&server);
	fake_tcp_destroy(stack);
}

/* The session was slow: everything waited in TCP when it took the STARTTLS line. */
static void s3_commands_queued_in_tcp_while_the_session_paused_end_it(void **state)
{
	struct net_stack *stack = fake_tcp_create(1460, 60000);
	struct party server;
	struct raw raw;

	party_create(&server, stack, 1);
	server.take_limit = 0;
	server.received = calloc(1, 1);
	raw_attach(&raw, stack, 0);
	raw_send(&raw, starttls, sizeof(starttls) - 1);
	raw_send(&raw, evil_command, sizeof(evil_command) - 1);
	fake_tcp_run(stack);
	assert_int_equal(server.received_size, 0);
	server.when_received = serve;
	stream_resume(server.stream);
	fake_tcp_run(stack);
	expect_injection(&server, starttls);
	party_destroy(&server);
	fake_tcp_destroy(stack);
}

static void take_starttls_only(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	*taken = p->received_size == 0 ? sizeof(starttls) - 1 : 0;
}

static void s3_starttls_outside_on_receive_fails_when_bytes_are_known_to_wait(void **state)
{
	struct net_stack *stack = fake_tcp_create(1460, 60000);
	struct party server;
	struct raw raw;

	party_create(&server, stack, 1);
	server.when_received = take_starttls_only;
	raw_attach(&raw, stack, 0);
	raw_send(&raw, "STARTTLS\r\nNOOP\r\n", 16);
	fake_tcp_run(stack);
	assert_int_equal(stream_start_tls(server.stream, server_context, NULL), -EPROTO);
	fake_tcp_run(stack);
	expect_injection(&server, starttls);
	party_destroy(&server);
	fake_tcp_destroy(stack);
}

static void client_case(size_t segment_bytes, const char *injected, size_t injected_size,
			bool one_segment)
{
	struct net_stack *stack = fake_tcp_create(segment_bytes, 60000);
	struct party client;
	struct raw raw;
	char both[512];

	party_create(&client, stack, 0);
	client.when_received = ask;
	raw_attach(&raw, stack, 1);
	fake_tcp_connect(stack);
	party_write(&client, starttls);
	fake_tcp_run(stack);
	memcpy(both, go, sizeof(go) - 1);
	memcpy(both + sizeof(go) - 1, injected, injected_size);
	if (one_segment) {
		raw_send(&raw, both, sizeof(go) - 1 + injected_size);
	} else {
		raw_send(&raw, go, sizeof(go) - 1);
		raw_send(&raw, injected, injected_size);
	}
	fake_tcp_run(stack);
	expect_injection(&client, go);
	party_destroy(&client);
	fake_tcp_destroy(stack);
}

static void c4_replies_behind_220_in_any_segmentation_end_the_session(void **state)
{
	for (size_t segment = 1; segment < sizeof(go) + sizeof(evil_reply); segment++) {
		client_case(segment, evil_reply, sizeof(evil_reply) - 1, true);
		client_case(segment, evil_reply, sizeof(evil_reply) - 1, false);
	}
	client_case(1460, "\x16", 1, true);
	client_case(1460, "\x16\x03\x03\x00\x04\x0e\x00\x00\x00", 9, false);
}

static void c4_clear_text_instead_of_a_server_hello_ends_the_session(void **state)
{
	struct net_stack *stack = fake_tcp_create(1460, 60000);
	struct party client;
	struct raw raw;

	party_create(&client, stack, 0);
	client.when_received = ask;
	raw_attach(&raw, stack, 1);
	fake_tcp_connect(stack);
	raw_send(&raw, go, sizeof(go) - 1);
	fake_tcp_run(stack);
	assert_true(raw.received > 100); /* our hello */
	raw_send(&raw, evil_reply, sizeof(evil_reply) - 1);
	fake_tcp_run(stack);
	expect_injection(&client, go);
	party_destroy(&client);
	fake_tcp_destroy(stack);
}

/* And the honest case still works at every segmentation. */
static void starttls_without_injection_works_in_any_segmentation(void **state)
{
	for (size_t segment = 1; segment < 20; segment++) {
		struct net_stack *stack = fake_tcp_create(segment, 60000);
		struct party client, server;

		party_create(&client, stack, 0);
		party_create(&server, stack, 1);
		client.when_received = ask;
		server.when_received = serve;
		server.received = calloc(1, 1);
		fake_tcp_connect(stack);
		party_write(&client, starttls);
		fake_tcp_run(stack);
		assert_int_equal(client.tls, 1);
		assert_int_equal(server.tls, 1);
		party_destroy(&client);
		party_destroy(&server);
		fake_tcp_destroy(stack);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(s3_commands_behind_starttls_in_any_segmentation_end_the_session),
		cmocka_unit_test(s3_a_blind_client_hello_ends_the_session),
		cmocka_unit_test(s3_clear_text_after_the_reply_was_read_ends_the_session),
		cmocka_unit_test(s3_commands_queued_in_tcp_while_the_session_paused_end_it),
		cmocka_unit_test(s3_starttls_outside_on_receive_fails_when_bytes_are_known_to_wait),
		cmocka_unit_test(c4_replies_behind_220_in_any_segmentation_end_the_session),
		cmocka_unit_test(c4_clear_text_instead_of_a_server_hello_ends_the_session),
		cmocka_unit_test(starttls_without_injection_works_in_any_segmentation),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
