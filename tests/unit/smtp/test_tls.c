/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The server under real TLS, over the stream and its stand-in for TCP: what the engine's own tests
 * cannot see of S3, S5, S6. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "dataplane/smtp/server.h"
#include "tests/unit/stream/fake_tcp.h"
#include "tests/unit/stream/party.h"
#include "tests/unit/tls/identity.h"

#include <stdlib.h>
#include <string.h>

#define CHUNKS	 64
#define WORKER	 1
#define ENVELOPE "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\n"
#define EHLO	 "EHLO client.example\r\n"

/* One session, one listener: the stand-in has one connection. */
static struct net_stack *stack;
static struct party client;
static struct smtp_server *server;
static struct chunk_pool *chunks;
static struct mr_random random_source;
static struct mr_now now;
static struct view view;
static struct view_listener listener;
static struct ip_prefix everybody;
static struct tls_context *client_context;
static const struct tcp_listen_callbacks *listen_callbacks;
static void *listen_user;
static struct submission *submitted;

/* ---- What the stand-in for TCP lacks ---- */

int tcp_listen(struct net_stack *s, const struct ip_address *address, uint16_t port,
	       const struct tcp_listen_callbacks *callbacks, void *listener_user)
{
	listen_callbacks = callbacks;
	listen_user = listener_user;
	return 0;
}

int tcp_unlisten(struct net_stack *s, const struct ip_address *address, uint16_t port)
{
	return 0;
}

int tcp_endpoints(const struct net_stack *s, tcp_handle connection, struct tcp_endpoints *out)
{
	*out = (struct tcp_endpoints){.remote = ip_from_v4(0xc0000201), .remote_port = 40000};
	return 0;
}

/* ---- Bench ---- */

static bool submit(void *context, const struct record *record)
{
	assert_int_equal(record->kind, RECORD_COMMIT);
	assert_null(submitted);
	submitted = record->submission;
	return true;
}

static void answer_commit(void)
{
	struct record record = {.kind = RECORD_COMMITTED};

	assert_non_null(submitted);
	record.committed.session = submitted->session;
	record.committed.session_generation = submitted->session_generation;
	record.committed.result = COMMIT_DONE;
	record.committed.id = submitted->id;
	chunk_list_free(&submitted->envelope, chunks);
	chunk_list_free(&submitted->body, chunks);
	chunk_free(chunks, submitted->self);
	submitted = NULL;
	smtp_server_answer(server, &record, &now);
	fake_tcp_run(stack);
}

static void create(enum listener_tls tls, size_t segment_bytes)
{
	const struct tcp_callbacks *callbacks;
	void *user;

	now = (struct mr_now){.mono_us = 5 * US_PER_S, .wall_us = UINT64_C(1795363774) * US_PER_S};
	chunks = chunk_pool_create(WORKER, CHUNKS);
	random_init_seed(&random_source, 1);
	listener = (struct view_listener){
		.name = "in",
		.tcp_port = 25,
		.tls = tls,
		.relay_network_count = 1,
		.relay_networks = &everybody,
		.limits = {.recipients = 10,
			   .errors = 20,
			   .junk_commands = 20,
			   .command_timeout_us = 300 * US_PER_S,
			   .data_timeout_us = 300 * US_PER_S,
			   .tls_handshake_timeout_us = 30 * US_PER_S},
	};
	listener.tls_contexts[WORKER] = identity_server(IDENTITY_P256, NULL, 1);
	client_context = identity_client();
	view = (struct view){
		.hostname = "mx.example.org", .listener_count = 1, .listeners = &listener};
	stack = fake_tcp_create(segment_bytes, 60000);
	struct smtp_server_settings settings = {.worker = WORKER,
						.sessions = 2,
						.stack = stack,
						.chunks = chunks,
						.chunk_reserve = 4,
						.random = &random_source,
						.now = &now,
						.submit = submit};
	server = smtp_server_create(&settings);
	assert_int_equal(smtp_server_configure(server, &view, &now), 0);
	party_create(&client, stack, 0);
	assert_true(listen_callbacks->on_accept(listen_user, fake_tcp_handle(stack, 1), &user,
						&callbacks));
	fake_tcp_attach(stack, 1, callbacks, user);
}

static int destroy(void **state)
{
	if (submitted)
		answer_commit();
	party_destroy(&client);
	smtp_server_destroy(server);
	assert_int_equal(view.references[WORKER].held, 0);
	assert_int_equal(chunk_pool_available(chunks), CHUNKS);
	chunk_pool_destroy(chunks);
	fake_tcp_destroy(stack);
	tls_context_release(client_context);
	tls_context_release(listener.tls_contexts[WORKER]);
	return 0;
}

/** The client says it, and everything settles. */
static void say(const char *text)
{
	client.received_size = 0;
	party_write(&client, text);
	fake_tcp_run(stack);
}

static bool heard(const char *text)
{
	return client.received_size >= strlen(text) &&
	       memmem(client.received, client.received_size, text, strlen(text));
}

static void start_client_tls(struct party *p)
{
	assert_int_equal(stream_start_tls(p->stream, client_context, "mx.example.org"), 0);
}

/** Take the 220 and go on with TLS. */
static void start_tls_on_220(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	if (size < 4 || memcmp(data, "220 ", 4) != 0)
		return;
	p->when_received = NULL;
	start_client_tls(p);
}

static void starttls(size_t segment_bytes)
{
	create(LISTENER_TLS_STARTTLS, segment_bytes);
	fake_tcp_connect(stack);
	fake_tcp_run(stack);
	assert_true(heard("220 mx.example.org"));
	say(EHLO);
	assert_true(heard("250-STARTTLS\r\n"));
}

static void secured(size_t segment_bytes)
{
	starttls(segment_bytes);
	/* One octet at a time the reply comes in pieces, and TLS begins behind its end. */
	if (segment_bytes > 100) {
		client.when_received = start_tls_on_220;
		say("STARTTLS\r\n");
	} else {
		say("STARTTLS\r\n");
		assert_true(heard("220 2.0.0 Ready to start TLS\r\n"));
		start_client_tls(&client);
		stream_flush(client.stream);
		fake_tcp_run(stack);
	}
	assert_int_equal(client.tls, 1);
	assert_int_equal(smtp_server_counters(server)->sessions_tls, 1);
}

static void a_message_comes_in_under_starttls(void **state)
{
	const size_t segments[] = {1460, 536, 1};

	for (size_t i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
		if (i > 0)
			destroy(state);
		secured(segments[i]);
		say(EHLO);
		assert_true(heard("250 CHUNKING\r\n"));
		assert_false(heard("STARTTLS"));
		say(ENVELOPE "DATA\r\n");
		assert_true(heard("354 "));
		say("Subject: x\r\n\r\nHello\r\n.\r\n");
		assert_non_null(submitted);
		assert_false(heard("250"));
		answer_commit();
		assert_true(heard("250 2.0.0 OK queued"));
		say("QUIT\r\n");
		assert_true(heard("221 "));
		assert_int_equal(client.ended, 1);
		assert_false(client.truncated);
	}
}

static void implicit_tls_serves_too(void **state)
{
	create(LISTENER_TLS_IMPLICIT, 1460);
	client.when_connected = start_client_tls;
	fake_tcp_connect(stack);
	fake_tcp_run(stack);
	assert_int_equal(client.tls, 1);
	assert_true(heard("220 mx.example.org ESMTP"));
	say(EHLO);
	assert_true(heard("250 CHUNKING\r\n"));
}

static void s3_plaintext_in_a_later_segment_closes(void **state)
{
	starttls(1460);
	/* The 220 has been read by nobody when this is sent. */
	fake_tcp_hold(stack, 0, 0);
	party_write(&client, "STARTTLS\r\n");
	stream_flush(client.stream);
	fake_tcp_step(stack, 1);
	party_write(&client, "MAIL FROM:<evil@example.com>\r\n");
	stream_flush(client.stream);
	fake_tcp_step(stack, 1);
	fake_tcp_hold(stack, 0, SIZE_MAX);
	fake_tcp_run(stack);
	assert_int_equal(smtp_server_sessions(server), 0);
	assert_int_equal(smtp_server_counters(server)->tls_injection, 1);
	assert_int_equal(smtp_server_counters(server)->sessions_tls, 0);
}

static void s3_plaintext_in_the_same_segment_closes(void **state)
{
	starttls(1460);
	say("STARTTLS\r\nMAIL FROM:<evil@example.com>\r\n");
	assert_true(heard("554 5.5.0"));
	assert_false(heard("220 "));
	assert_int_equal(smtp_server_counters(server)->tls_injection, 1);
}

static void s5_what_was_said_in_clear_is_forgotten(void **state)
{
	secured(1460);
	say("MAIL FROM:<a@example.com>\r\n");
	assert_true(heard("503 5.5.1 Send EHLO first"));
	assert_false(heard("250"));
}

static void close_client(void)
{
	client.received_size = 0;
	stream_close(client.stream);
	fake_tcp_run(stack);
}

static void s6_close_notify_in_a_chunk_drops_the_message(void **state)
{
	secured(1460);
	say(EHLO);
	say(ENVELOPE "BDAT 1000 LAST\r\nSubject: half a message\r\n");
	assert_true(heard("250 2.1.5"));
	close_client();
	assert_null(submitted);
	assert_int_equal(smtp_server_sessions(server), 0);
	assert_int_equal(smtp_server_counters(server)->messages_accepted, 0);
}

/* Exim's CVE-2026-45185: what came in clear behind close_notify was read into freed memory. */
static void s6_clear_text_behind_close_notify_is_never_read(void **state)
{
	static const char clear[] = "\r\n.\r\nMAIL FROM:<evil@example.com>\r\nQUIT\r\n";

	secured(1460);
	say(EHLO);
	say(ENVELOPE "BDAT 1000 LAST\r\nSubject: half a message\r\n");
	client.received_size = 0;
	tls_session_close(client.stream->tls);
	assert_int_equal(tcp_send(stack, fake_tcp_handle(stack, 0), clear, sizeof(clear) - 1), 0);
	fake_tcp_run(stack);
	assert_null(submitted);
	assert_false(heard("250"));
	assert_false(heard("221"));
	/* It has ended its side, and waits for nothing but ours. */
	if (client.stream)
		stream_close(client.stream);
	fake_tcp_run(stack);
	assert_int_equal(smtp_server_sessions(server), 0);
	assert_int_equal(smtp_server_counters(server)->messages_accepted, 0);
}

static void s6_clear_text_in_a_chunk_under_tls_ends_the_session(void **state)
{
	secured(1460);
	say(EHLO);
	say(ENVELOPE "BDAT 4 LAST\r\n");
	client.received_size = 0;
	assert_int_equal(tcp_send(stack, fake_tcp_handle(stack, 0), "a: b", 4), 0);
	assert_int_equal(tcp_send(stack, fake_tcp_handle(stack, 0), "QUIT\r\n", 6), 0);
	fake_tcp_run(stack);
	assert_null(submitted);
	assert_false(heard("250"));
	/* It has ended its side, and waits for nothing but ours. */
	if (client.stream)
		stream_close(client.stream);
	fake_tcp_run(stack);
	assert_int_equal(smtp_server_sessions(server), 0);
}

static void s17_records_of_one_octet_are_lines_like_others(void **state)
{
	static const char text[] = EHLO ENVELOPE "BDAT 6 LAST\r\na: b\r\n";

	secured(1460);
	client.received_size = 0;
	/* EHLO is the last of its group. */
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		stream_write(client.stream, text + i, 1);
		stream_flush(client.stream);
		fake_tcp_run(stack);
	}
	assert_non_null(submitted);
	answer_commit();
	assert_true(heard("250 2.0.0 OK queued"));
}

static void s17_junk_in_records_of_one_octet_ends_the_session(void **state)
{
	unsigned lines = 0;

	secured(1460);
	say(EHLO);
	while (client.ended == 0 && lines < 1000) {
		for (const char *c = "NOOP\r\n"; *c; c++) {
			stream_write(client.stream, c, 1);
			stream_flush(client.stream);
		}
		fake_tcp_run(stack);
		lines++;
	}
	/* 20 for nothing, then 20 errors. */
	assert_in_range(lines, 30, 41);
	assert_true(heard("421 4.7.0"));
}

static void s6_close_notify_in_data_drops_the_message(void **state)
{
	secured(1460);
	say(EHLO);
	say(ENVELOPE "DATA\r\n");
	say("Subject: half a message\r\n");
	close_client();
	assert_null(submitted);
	assert_int_equal(smtp_server_sessions(server), 0);
}

static void s23_the_end_of_tls_behind_the_dot_keeps_the_message(void **state)
{
	secured(1460);
	say(EHLO);
	say(ENVELOPE "DATA\r\n");
	say("Subject: x\r\n\r\n.\r\n");
	close_client();
	answer_commit();
	assert_int_equal(smtp_server_counters(server)->messages_accepted +
				 smtp_server_counters(server)->messages_lost_session,
			 1);
}

static void s21_garbage_for_a_hello_closes(void **state)
{
	starttls(1460);
	say("STARTTLS\r\n");
	assert_true(heard("220 "));
	say("EHLO again\r\n");
	fake_tcp_run(stack);
	assert_int_equal(smtp_server_sessions(server), 0);
	assert_int_equal(smtp_server_counters(server)->sessions_tls_failed +
				 smtp_server_counters(server)->tls_injection,
			 1);
}

static void s21_a_hello_of_16_kb_in_single_octets_is_refused_cheaply(void **state)
{
	static const uint8_t head[] = {22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb, 3, 3};
	unsigned sent = 0;

	starttls(1460);
	say("STARTTLS\r\n");
	assert_true(heard("220 "));
	while (client.closed == 0 && client.ended == 0 && sent < 16384) {
		const uint8_t octet = sent < sizeof(head) ? head[sent] : 0;

		stream_write(client.stream, &octet, 1);
		stream_flush(client.stream);
		fake_tcp_run(stack);
		sent++;
		assert_true(chunk_pool_available(chunks) >= CHUNKS - 1);
	}
	assert_true(sent <= CHUNK_DATA + 1);
	assert_int_equal(smtp_server_sessions(server), 0);
	assert_int_equal(smtp_server_counters(server)->sessions_tls_failed, 1);
}

static void s16_half_a_hello_leaves_the_chunk_reserve_alone(void **state)
{
	struct chunk_list taken = {0};

	starttls(1460);
	say("STARTTLS\r\n");
	assert_true(heard("220 "));
	/* A quarter of the reserve of 4. */
	while (chunk_pool_available(chunks) > 1)
		chunk_list_push(&taken, chunk_alloc(chunks));
	assert_int_equal(stream_write(client.stream, "\x16\x03\x01\x01\x00\x01\x00", 7), 0);
	stream_flush(client.stream);
	fake_tcp_run(stack);
	assert_int_equal(chunk_pool_available(chunks), 1);
	assert_int_equal(smtp_server_sessions(server), 0);
	assert_int_equal(smtp_server_counters(server)->sessions_tls_failed, 1);
	chunk_list_free(&taken, chunks);
}

static void s16_a_handshake_that_never_comes_is_cut_off(void **state)
{
	starttls(1460);
	say("STARTTLS\r\n");
	now.mono_us += 29 * US_PER_S;
	smtp_server_turn(server, &now);
	assert_int_equal(client.ended, 0);
	now.mono_us += 2 * US_PER_S;
	smtp_server_turn(server, &now);
	fake_tcp_run(stack);
	assert_int_equal(client.ended, 1);
	assert_int_equal(smtp_server_counters(server)->timeouts, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_message_comes_in_under_starttls, destroy),
		cmocka_unit_test_teardown(implicit_tls_serves_too, destroy),
		cmocka_unit_test_teardown(s3_plaintext_in_a_later_segment_closes, destroy),
		cmocka_unit_test_teardown(s3_plaintext_in_the_same_segment_closes, destroy),
		cmocka_unit_test_teardown(s5_what_was_said_in_clear_is_forgotten, destroy),
		cmocka_unit_test_teardown(s6_close_notify_in_a_chunk_drops_the_message, destroy),
		cmocka_unit_test_teardown(s6_clear_text_behind_close_notify_is_never_read, destroy),
		cmocka_unit_test_teardown(s6_clear_text_in_a_chunk_under_tls_ends_the_session,
					  destroy),
		cmocka_unit_test_teardown(s17_records_of_one_octet_are_lines_like_others, destroy),
		cmocka_unit_test_teardown(s17_junk_in_records_of_one_octet_ends_the_session,
					  destroy),
		cmocka_unit_test_teardown(s21_a_hello_of_16_kb_in_single_octets_is_refused_cheaply,
					  destroy),
		cmocka_unit_test_teardown(s6_close_notify_in_data_drops_the_message, destroy),
		cmocka_unit_test_teardown(s23_the_end_of_tls_behind_the_dot_keeps_the_message,
					  destroy),
		cmocka_unit_test_teardown(s21_garbage_for_a_hello_closes, destroy),
		cmocka_unit_test_teardown(s16_half_a_hello_leaves_the_chunk_reserve_alone, destroy),
		cmocka_unit_test_teardown(s16_a_handshake_that_never_comes_is_cut_off, destroy),
	};

	return cmocka_run_group_tests_name("smtp tls", tests, NULL, NULL);
}
