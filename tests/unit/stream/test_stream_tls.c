/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The stream under TLS: both versions and key kinds, any segmentation, and every way in which TLS
 * ends. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/unit/stream/fake_tcp.h"
#include "tests/unit/stream/party.h"
#include "tests/unit/tls/identity.h"
#include "tls/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT 1460
#define WINDOW	60000

static struct net_stack *stack;
static struct party client, server;
static struct tls_context *client_context, *server_context;

static void create(size_t segment_bytes)
{
	stack = fake_tcp_create(segment_bytes, WINDOW);
	party_create(&client, stack, 0);
	party_create(&server, stack, 1);
}

static int destroy(void **state)
{
	party_destroy(&client);
	party_destroy(&server);
	fake_tcp_destroy(stack);
	tls_context_release(client_context);
	tls_context_release(server_context);
	client_context = server_context = NULL;
	return 0;
}

static void contexts(enum identity_kind kind)
{
	server_context = identity_server(kind, NULL, 1);
	client_context = identity_client();
}

static void start_client_tls(struct party *p)
{
	assert_int_equal(stream_start_tls(p->stream, client_context, "mx.test.example"), 0);
}

/* Implicit TLS up to the end of the handshake. */
static void handshake(size_t segment_bytes)
{
	create(segment_bytes);
	client.when_connected = start_client_tls;
	assert_int_equal(stream_start_tls(server.stream, server_context, NULL), 0);
	fake_tcp_connect(stack);
	fake_tcp_run(stack);
}

static void established(void)
{
	contexts(IDENTITY_P256);
	handshake(SEGMENT);
	assert_int_equal(client.tls, 1);
	assert_int_equal(server.tls, 1);
}

static void close_in_end(struct party *p)
{
	stream_close(p->stream);
}

static void expect_both_closed_in_order(void)
{
	assert_int_equal(client.closed, 1);
	assert_int_equal(server.closed, 1);
	assert_true(client.in_order);
	assert_true(server.in_order);
}

static void exchange(void)
{
	party_write(&server, "220 ready\r\n");
	party_write(&client, "EHLO a\r\n");
	fake_tcp_run(stack);
	assert_true(party_received(&client, "220 ready\r\n"));
	assert_true(party_received(&server, "EHLO a\r\n"));
	assert_true(stream_is_tls(client.stream));
	assert_true(stream_is_tls(server.stream));
}

static void tls13_works_with_any_segments_and_keys(void **state)
{
	static const size_t sizes[] = {1, 2, 3, 5, 7, 100, SEGMENT};

	for (unsigned kind = 0; kind < 2; kind++) {
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			contexts(kind);
			handshake(sizes[i]);
			assert_int_equal(client.tls, 1);
			assert_int_equal(server.tls, 1);
			assert_string_equal(client.version, "TLSv1.3");
			assert_string_equal(client.cipher, "TLS_AES_128_GCM_SHA256");
			assert_string_equal(client.group, "X25519");
			assert_true(client.has_peer_certificate);
			assert_false(server.has_peer_certificate);
			exchange();
			destroy(NULL);
		}
	}
	contexts(IDENTITY_P256);
	create(SEGMENT);
}

static void tls12_works_with_both_keys(void **state)
{
	static const char *const ciphers[] = {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
					      "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"};

	for (unsigned kind = 0; kind < 2; kind++) {
		for (size_t segment = 1; segment < 2000; segment += 1459) {
			server_context = identity_server(kind, NULL, 1);
			client_context = identity_client_tls12();
			handshake(segment);
			assert_string_equal(client.version, "TLSv1.2");
			assert_string_equal(client.cipher, ciphers[kind]);
			assert_true(client.has_peer_certificate);
			exchange();
			destroy(NULL);
		}
	}
	contexts(IDENTITY_P256);
	create(SEGMENT);
}

static void a_hello_retry_request_is_followed(void **state)
{
	for (size_t segment = 1; segment < 2000; segment += 1459) {
		server_context = identity_server(IDENTITY_P256, NULL, 1);
		client_context = identity_client_retry();
		handshake(segment);
		assert_int_equal(client.tls, 1);
		assert_string_equal(client.version, "TLSv1.3");
		exchange();
		destroy(NULL);
	}
	contexts(IDENTITY_P256);
	create(SEGMENT);
}

static void the_hello_after_a_retry_request_is_read_with_care_too(void **state)
{
	static const char evil[] = "\x16\x03\x03\x00\x04\x01\x00\x00\x00";

	server_context = identity_server(IDENTITY_P256, NULL, 1);
	client_context = identity_client_retry();
	create(SEGMENT);
	client.when_connected = start_client_tls;
	assert_int_equal(stream_start_tls(server.stream, server_context, NULL), 0);
	fake_tcp_hold(stack, 0,
		      0); /* the client never sees the request; somebody else answers it */
	fake_tcp_connect(stack);
	fake_tcp_run(stack);
	tcp_send(stack, 1, evil, sizeof(evil) - 1);
	fake_tcp_run(stack);
	fake_tcp_hold(stack, 0, SIZE_MAX);
	fake_tcp_run(stack);
	assert_int_equal(client.closed, 1);
	assert_int_equal(server.closed, 1);
	assert_int_equal(server.failure, STREAM_FAILED_TLS);
	assert_non_null(strstr(server.error, "no sound ClientHello"));
}

/* A minimal STARTTLS dialogue. */
static void starttls_server(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	if (size != 10 || memcmp(data, "STARTTLS\r\n", 10) != 0)
		return;
	assert_int_equal(stream_write(p->stream, "220 go\r\n", 8), 0);
	assert_int_equal(stream_start_tls(p->stream, server_context, NULL), 0);
}

static void starttls_client(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	if (size == 8 && memcmp(data, "220 go\r\n", 8) == 0)
		start_client_tls(p);
}

static void write_ehlo(struct party *p)
{
	assert_int_equal(stream_write(p->stream, "EHLO b\r\n", 8), 0);
}

static void starttls_switches_both_directions(void **state)
{
	contexts(IDENTITY_P256);
	create(SEGMENT);
	server.when_received = starttls_server;
	client.when_received = starttls_client;
	client.when_tls = write_ehlo;
	fake_tcp_connect(stack);
	party_write(&client, "STARTTLS\r\n");
	fake_tcp_run(stack);
	assert_int_equal(client.tls, 1);
	assert_int_equal(server.tls, 1);
	assert_true(party_received(&server, "STARTTLS\r\nEHLO b\r\n"));
	assert_int_equal(stream_start_tls(client.stream, client_context, NULL), -EALREADY);
}

static void what_is_written_during_the_handshake_leaves_under_tls(void **state)
{
	const uint8_t *sent;
	size_t size;

	contexts(IDENTITY_P256);
	create(SEGMENT);
	client.when_connected = start_client_tls;
	assert_int_equal(stream_start_tls(server.stream, server_context, NULL), 0);
	party_write(&server, "220 greeting\r\n");
	fake_tcp_connect(stack);
	fake_tcp_run(stack);
	assert_true(party_received(&client, "220 greeting\r\n"));
	sent = fake_tcp_sent(stack, 1, &size);
	assert_null(memmem(sent, size, "greeting", 8));
}

static void a_large_body_arrives_and_memory_stays_small(void **state)
{
	size_t size = 3000007;
	uint8_t *body = malloc(size);

	for (size_t i = 0; i < size; i++)
		body[i] = (uint8_t)(i * 13 + i / 509);
	established();
	client.source = body;
	client.source_size = size;
	stream_want_write(client.stream);
	fake_tcp_run(stack);
	assert_int_equal(server.received_size, size);
	assert_memory_equal(server.received, body, size);
	assert_true(fake_tcp_largest_send(stack, 0) > 16000);
	assert_int_equal(party_chunks_in_use(&client) + party_chunks_in_use(&server), 0);
	free(body);
}

static void a_slow_reader_holds_one_chunk_and_gets_all(void **state)
{
	uint8_t body[16384];
	unsigned resumes = 0;

	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 3 + i / 256);
	established();
	server.take_limit = 100;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(stream_write(client.stream, body, sizeof(body)), 0);
	fake_tcp_run(stack);
	assert_int_equal(server.received_size, 100);
	assert_int_equal(party_chunks_in_use(&server), 1);
	assert_true(fake_tcp_waiting(stack, 1) > 16384); /* the later records stay with TCP */
	while (server.received_size < 3 * sizeof(body) && resumes++ < 1000) {
		stream_resume(server.stream);
		assert_true(party_chunks_in_use(&server) <= 1);
	}
	assert_int_equal(server.received_size, 3 * sizeof(body));
	for (unsigned i = 0; i < 3; i++)
		assert_memory_equal(server.received + i * sizeof(body), body, sizeof(body));
	assert_int_equal(party_chunks_in_use(&server), 0);
}

static void the_end_waits_for_a_slow_reader(void **state)
{
	established();
	server.take_limit = 3;
	party_write(&client, "QUIT\r\n");
	stream_close(client.stream);
	fake_tcp_run(stack);
	assert_int_equal(server.ended, 0);
	stream_resume(server.stream);
	assert_true(party_received(&server, "QUIT\r\n"));
	assert_int_equal(server.ended, 1);
	assert_false(server.truncated);
	stream_close(server.stream);
	fake_tcp_run(stack);
	expect_both_closed_in_order();
}

static void close_notify_and_fin_is_an_end_in_order(void **state)
{
	established();
	server.when_end = close_in_end;
	client.when_end = close_in_end;
	party_write(&client, "QUIT\r\n");
	stream_close(client.stream);
	fake_tcp_run(stack);
	assert_true(party_received(&server, "QUIT\r\n"));
	assert_false(server.truncated);
	expect_both_closed_in_order();
}

static void a_fin_without_close_notify_is_told_as_truncation(void **state)
{
	established();
	server.when_end = close_in_end;
	tcp_close(stack, 1, NULL); /* beneath TLS */
	fake_tcp_run(stack);
	assert_int_equal(server.ended, 1);
	assert_true(server.truncated);
}

static void an_answer_can_follow_the_peers_close_notify(void **state)
{
	established();
	party_write(&client, "QUIT\r\n");
	/* Half closed: the client still listens. */
	client.when_end = NULL;
	stream_close(client.stream);
	fake_tcp_run(stack);
	assert_int_equal(server.ended, 1);
	assert_int_equal(stream_write(server.stream, "221 bye\r\n", 9), 0);
	stream_close(server.stream);
	fake_tcp_run(stack);
	expect_both_closed_in_order();
}

static void close_sends_what_is_pending_first(void **state)
{
	established();
	client.when_end = close_in_end;
	assert_int_equal(stream_write(server.stream, "421 bye\r\n", 9), 0);
	stream_close(server.stream);
	assert_int_equal(party_chunks_in_use(&server), 0);
	party_write(&client, "MAIL FROM:<a@b>\r\n"); /* crosses it and is discarded */
	fake_tcp_run(stack);
	assert_true(party_received(&client, "421 bye\r\n"));
	assert_false(client.truncated);
	assert_int_equal(server.received_size, 0);
	expect_both_closed_in_order();
}

static void key_updates_without_end_are_cut_off(void **state)
{
	unsigned updates = 0;

	established();
	while (server.closed == 0 && updates++ < 10000) {
		/* Each asks for one in return. The attacker does not count its own. */
		client.stream->answered = 0;
		assert_int_equal(wolfSSL_update_keys(client.stream->tls->wolf), WOLFSSL_SUCCESS);
		while (fake_tcp_step(stack, 1))
			;
	}
	assert_in_range(updates, 100, 9000);
	assert_int_equal(server.failure, STREAM_FAILED_MEMORY);
	assert_non_null(strstr(server.error, "answer without end"));
}

static void a_changed_record_fails_the_stream(void **state)
{
	const char junk[] = "\x17\x03\x03\x00\x20"
			    "0123456789abcdef0123456789abcdef";

	established();
	assert_int_equal(tcp_send(stack, 1, junk, sizeof(junk) - 1), 0);
	fake_tcp_run(stack);
	assert_int_equal(server.received_size, 0);
	assert_int_equal(server.tls, 1);
	assert_int_equal(client.closed, 1); /* it got the alert */
	assert_int_equal(client.failure, STREAM_FAILED_TLS);
	assert_non_null(strstr(client.error, "alert bad_record_mac"));
	fake_tcp_run(stack);
	assert_int_equal(server.closed, 1);
	assert_int_equal(server.failure, STREAM_FAILED_TLS);
}

static void a_fin_during_the_handshake_fails_it(void **state)
{
	for (size_t cut = 0; cut < 300; cut += 50) {
		contexts(IDENTITY_P256);
		create(SEGMENT);
		assert_int_equal(stream_start_tls(server.stream, server_context, NULL), 0);
		client.when_connected = start_client_tls;
		fake_tcp_attach(stack, 1, &stream_tcp_callbacks, server.stream);
		tcp_send(stack, 1, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
			 cut < 11 ? cut : 11);
		tcp_close(stack, 1, NULL);
		fake_tcp_run(stack);
		assert_int_equal(server.closed, 1);
		assert_int_equal(server.failure, STREAM_FAILED_TLS);
		assert_non_null(strstr(server.error, "during the TLS handshake"));
		destroy(NULL);
	}
	contexts(IDENTITY_P256);
	create(SEGMENT);
}

static void a_reset_during_the_handshake_is_a_tls_failure(void **state)
{
	contexts(IDENTITY_P256);
	create(SEGMENT);
	client.when_connected = start_client_tls;
	fake_tcp_connect(stack);
	stream_abort(server.stream);
	fake_tcp_run(stack);
	assert_int_equal(client.closed, 1);
	assert_int_equal(client.failure, STREAM_FAILED_TLS);
	assert_int_equal(client.reason, TCP_RESET);
}

static void expect_bad_hello(const char *bytes, size_t size)
{
	contexts(IDENTITY_P256);
	create(1);
	assert_int_equal(stream_start_tls(server.stream, server_context, NULL), 0);
	tcp_send(stack, 1, bytes, size);
	fake_tcp_run(stack);
	assert_int_equal(server.closed, 1);
	assert_int_equal(server.failure, STREAM_FAILED_TLS);
	assert_int_equal(server.received_size, 0);
	destroy(NULL);
}

static void what_is_not_a_hello_is_refused_before_a_session_exists(void **state)
{
	char large[5000];

	expect_bad_hello("GET / HTTP/1.0\r\n", 16);
	expect_bad_hello("EHLO a\r\n", 8);
	expect_bad_hello("\x16\x02\x00\x00\x01", 5);
	expect_bad_hello("\x15\x03\x01\x00\x02\x02\x28", 7);
	memset(large, 'x', sizeof(large));
	memcpy(large, "\x16\x03\x01\x3f\x00\x01\x00\x3e\xfc", 9);
	expect_bad_hello(large, sizeof(large));
	contexts(IDENTITY_P256);
	create(SEGMENT);
}

static void abort_now(struct party *p)
{
	stream_abort(p->stream);
	assert_int_equal(p->closed, 0);
}

static void abort_on_data(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	*taken = 0;
	abort_now(p);
}

static void close_on_data(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	*taken = 1;
	stream_write(p->stream, "221 bye\r\n", 9);
	stream_close(p->stream);
}

static void abort_and_close_are_safe_in_every_callback(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		contexts(IDENTITY_P256);
		create(SEGMENT);
		client.when_connected = start_client_tls;
		if (i == 0)
			server.when_tls = abort_now;
		if (i == 1)
			client.when_tls = abort_now;
		if (i == 2)
			server.when_received = abort_on_data;
		if (i == 3) {
			server.when_received = close_on_data;
			client.when_end = close_in_end;
		}
		assert_int_equal(stream_start_tls(server.stream, server_context, NULL), 0);
		fake_tcp_connect(stack);
		fake_tcp_run(stack);
		if (i >= 2) {
			party_write(&client, "EHLO\r\n");
			fake_tcp_run(stack);
		}
		if (i == 3) {
			assert_true(party_received(&client, "221 bye\r\n"));
			expect_both_closed_in_order();
		}
		assert_int_equal(client.closed, 1);
		assert_int_equal(server.closed, 1);
		destroy(NULL);
	}
	contexts(IDENTITY_P256);
	create(SEGMENT);
}

static void resume_on_data(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	*taken = size > 1000 ? 1000 : size;
	stream_resume(p->stream);
}

static void resume_inside_on_receive_takes_effect(void **state)
{
	uint8_t body[16384] = {1};

	established();
	server.when_received = resume_on_data;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(stream_write(client.stream, body, sizeof(body)), 0);
	fake_tcp_run(stack);
	assert_int_equal(server.received_size, 3 * sizeof(body));
}

static void shortage_in_the_handshake_fails_the_stream(void **state)
{
	contexts(IDENTITY_P256);
	create(SEGMENT);
	client.when_connected = start_client_tls;
	assert_int_equal(stream_start_tls(server.stream, server_context, NULL), 0);
	fake_tcp_starve(stack, 1);
	fake_tcp_connect(stack);
	fake_tcp_run(stack);
	assert_int_equal(server.closed, 1);
	assert_int_equal(server.failure, STREAM_FAILED_MEMORY);
	assert_int_equal(client.closed, 1);
}

static void only_half_a_hello_needs_a_chunk_above_the_reserve(void **state)
{
	for (unsigned half = 0; half < 2; half++) {
		contexts(IDENTITY_P256);
		create(half ? 100 : SEGMENT);
		stream_set_reserve(server.stream, PARTY_CHUNKS);
		client.when_connected = start_client_tls;
		assert_int_equal(stream_start_tls(server.stream, server_context, NULL), 0);
		fake_tcp_connect(stack);
		fake_tcp_run(stack);
		assert_int_equal(client.tls, !half);
		assert_int_equal(server.closed, half);
		assert_int_equal(party_chunks_in_use(&server), 0);
		if (half)
			assert_int_equal(server.failure, STREAM_FAILED_MEMORY);
		else
			destroy(NULL);
	}
}

static void plaintext_left_untaken_leaves_the_reserve_alone(void **state)
{
	established();
	stream_set_reserve(server.stream, PARTY_CHUNKS);
	server.take_limit = 3;
	party_write(&client, "EHLO a\r\n");
	fake_tcp_run(stack);
	assert_int_equal(server.closed, 1);
	assert_int_equal(server.failure, STREAM_FAILED_MEMORY);
}

static void a_context_may_be_released_while_streams_use_it(void **state)
{
	contexts(IDENTITY_P256);
	create(SEGMENT);
	client.when_connected = start_client_tls;
	assert_int_equal(stream_start_tls(server.stream, server_context, NULL), 0);
	tls_context_release(server_context);
	server_context = NULL;
	fake_tcp_connect(stack);
	tls_context_release(client_context);
	client_context = NULL;
	fake_tcp_run(stack);
	exchange();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, destroy)
	const struct CMUnitTest tests[] = {
		TEST(tls13_works_with_any_segments_and_keys),
		TEST(tls12_works_with_both_keys),
		TEST(a_hello_retry_request_is_followed),
		TEST(the_hello_after_a_retry_request_is_read_with_care_too),
		TEST(starttls_switches_both_directions),
		TEST(what_is_written_during_the_handshake_leaves_under_tls),
		TEST(a_large_body_arrives_and_memory_stays_small),
		TEST(a_slow_reader_holds_one_chunk_and_gets_all),
		TEST(the_end_waits_for_a_slow_reader),
		TEST(close_notify_and_fin_is_an_end_in_order),
		TEST(a_fin_without_close_notify_is_told_as_truncation),
		TEST(an_answer_can_follow_the_peers_close_notify),
		TEST(close_sends_what_is_pending_first),
		TEST(key_updates_without_end_are_cut_off),
		TEST(a_changed_record_fails_the_stream),
		TEST(a_fin_during_the_handshake_fails_it),
		TEST(a_reset_during_the_handshake_is_a_tls_failure),
		TEST(what_is_not_a_hello_is_refused_before_a_session_exists),
		TEST(abort_and_close_are_safe_in_every_callback),
		TEST(resume_inside_on_receive_takes_effect),
		TEST(shortage_in_the_handshake_fails_the_stream),
		TEST(only_half_a_hello_needs_a_chunk_above_the_reserve),
		TEST(plaintext_left_untaken_leaves_the_reserve_alone),
		TEST(a_context_may_be_released_while_streams_use_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
