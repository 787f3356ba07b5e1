/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The session table over the real stream and a stand-in for TCP: S15, S23, listeners, views,
 * deadlines, the ring. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "dataplane/smtp/server.h"
#include "tests/unit/smtp/fake_stack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNKS	 128
#define SESSIONS 6
#define RING	 4
#define WORKER	 2

#define EHLO	"EHLO client.example\r\n"
#define MESSAGE "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nBDAT 6 LAST\r\na: b\r\n"

struct bench {
	struct mr_now now;
	struct net_stack *stack;
	struct chunk_pool *chunks;
	struct mr_random random;
	struct smtp_server *server;
	struct ip_prefix all;
	struct view view;
	struct view_listener listeners[2];
	struct record ring[RING];
	unsigned ring_count;
	bool ring_full;
};

static bool submit(void *context, const struct record *record)
{
	struct bench *b = context;

	if (b->ring_full || b->ring_count == RING)
		return false;
	b->ring[b->ring_count++] = *record;
	return true;
}

static void set_view(struct bench *b)
{
	struct view_listener listener = {
		.name = "in",
		.tcp_port = 25,
		.tls = LISTENER_TLS_STARTTLS,
		.relay_network_count = 1,
		.relay_networks = &b->all,
		.limits =
			{
				.sessions = 4,
				.sessions_per_client = 2,
				.messages_per_session = 100,
				.recipients = 10,
				.message_size = 100000,
				.errors = 20,
				.junk_commands = 10000,
				.command_timeout_us = 300 * US_PER_S,
				.data_timeout_us = 600 * US_PER_S,
				.minimum_rate = 500,
				.tls_handshake_timeout_us = 30 * US_PER_S,
			},
	};

	snprintf(b->view.hostname, sizeof(b->view.hostname), "mx.example.org");
	b->listeners[0] = listener;
	listener.tcp_port = 465;
	listener.tls = LISTENER_TLS_IMPLICIT;
	b->listeners[1] = listener;
	b->view.listener_count = 2;
	b->view.listeners = b->listeners;
}

static int set_up(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->now = (struct mr_now){.mono_us = 77 * US_PER_S,
				 .wall_us = UINT64_C(1795363774) * US_PER_S};
	b->stack = fake_stack_create();
	b->chunks = chunk_pool_create(WORKER, CHUNKS);
	random_init_seed(&b->random, 1);
	set_view(b);
	struct smtp_server_settings settings = {
		.worker = WORKER,
		.sessions = SESSIONS,
		.stack = b->stack,
		.chunks = b->chunks,
		.chunk_reserve = 8,
		.random = &b->random,
		.id_origin = 5,
		.now = &b->now,
		.submit = submit,
		.context = b,
	};
	b->server = smtp_server_create(&settings);
	assert_non_null(b->server);
	assert_int_equal(smtp_server_configure(b->server, &b->view, &b->now), 0);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	smtp_server_destroy(b->server);
	assert_int_equal(b->view.references[WORKER].held, 0);
	assert_int_equal(chunk_pool_available(b->chunks), CHUNKS);
	chunk_pool_destroy(b->chunks);
	fake_stack_destroy(b->stack);
	free(b);
	return 0;
}

/** A client that has said EHLO. */
static tcp_handle client(struct bench *b, const char *address)
{
	tcp_handle c = fake_connect(b->stack, address, 25);

	assert_true(c != 0);
	assert_string_equal(fake_heard(b->stack, c), "220 mx.example.org ESMTP Millrace\r\n");
	fake_say(b->stack, c, EHLO);
	assert_non_null(strstr(fake_heard(b->stack, c), "250 CHUNKING\r\n"));
	return c;
}

static void wait(struct bench *b, uint64_t us)
{
	b->now.mono_us += us;
	b->now.wall_us += us;
	smtp_server_turn(b->server, &b->now);
}

/** Take the oldest record off the ring, answer it, and give its chunks back as the shard would. */
static void answer_commit(struct bench *b, uint32_t result)
{
	struct submission *submission = b->ring[0].submission;
	struct record record = {.kind = RECORD_COMMITTED};

	assert_true(b->ring_count > 0);
	assert_int_equal(b->ring[0].kind, RECORD_COMMIT);
	memmove(b->ring, b->ring + 1, --b->ring_count * sizeof(b->ring[0]));
	record.committed.session = submission->session;
	record.committed.session_generation = submission->session_generation;
	record.committed.result = result;
	record.committed.id = submission->id;
	chunk_list_free(&submission->envelope, b->chunks);
	chunk_list_free(&submission->body, b->chunks);
	chunk_free(b->chunks, submission->self);
	smtp_server_answer(b->server, &record, &b->now);
}

static void a_message_goes_to_the_ring_and_its_answer_back(void **state)
{
	struct bench *b = *state;
	tcp_handle c = client(b, "192.0.2.1");

	fake_say(b->stack, c, MESSAGE);
	assert_string_equal(fake_heard(b->stack, c),
			    "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n");
	assert_int_equal(b->ring_count, 1);
	assert_int_equal(b->ring[0].submission->id.counter >> 56, WORKER);
	assert_int_equal(b->ring[0].submission->id.origin, 5);
	answer_commit(b, COMMIT_DONE);
	assert_int_equal(strncmp(fake_heard(b->stack, c), "250 2.0.0 OK queued as ", 23), 0);
	fake_say(b->stack, c, "QUIT\r\n");
	assert_string_equal(fake_heard(b->stack, c), "221 2.0.0 Bye\r\n");
	assert_true(fake_has_fin(b->stack, c));
	fake_fin(b->stack, c);
	assert_true(fake_is_gone(b->stack, c));
	assert_int_equal(smtp_server_sessions(b->server), 0);
	assert_int_equal(smtp_server_counters(b->server)->messages_accepted, 1);
}

static void what_comes_behind_a_message_waits_for_its_answer(void **state)
{
	struct bench *b = *state;
	tcp_handle c = client(b, "192.0.2.1");

	fake_say(b->stack, c, MESSAGE MESSAGE "QUIT\r\n");
	assert_int_equal(b->ring_count, 1);
	fake_heard(b->stack, c);
	answer_commit(b, COMMIT_DONE);
	assert_int_equal(b->ring_count, 1);
	assert_non_null(strstr(fake_heard(b->stack, c), "250 2.1.5"));
	answer_commit(b, COMMIT_DONE);
	assert_non_null(strstr(fake_heard(b->stack, c), "221 2.0.0"));
	assert_true(fake_has_fin(b->stack, c));
}

static void s23_a_client_that_is_gone_leaves_its_message_with_us(void **state)
{
	struct bench *b = *state;
	tcp_handle c = client(b, "192.0.2.1");

	fake_say(b->stack, c, MESSAGE);
	fake_reset(b->stack, c);
	assert_int_equal(smtp_server_sessions(b->server), 0);
	assert_int_equal(b->ring_count, 1);
	/* The slot may be somebody else's by the time the answer comes. */
	tcp_handle other = client(b, "192.0.2.1");

	answer_commit(b, COMMIT_DONE);
	assert_string_equal(fake_heard(b->stack, other), "");
	assert_int_equal(smtp_server_counters(b->server)->messages_lost_session, 1);
	assert_int_equal(smtp_server_counters(b->server)->messages_accepted, 0);
}

static void s23_also_when_the_ring_is_full(void **state)
{
	struct bench *b = *state;
	tcp_handle c = client(b, "192.0.2.1"), d = client(b, "192.0.2.2");

	b->ring_full = true;
	fake_say(b->stack, c, MESSAGE);
	fake_say(b->stack, d, MESSAGE);
	fake_reset(b->stack, c);
	/* Not drained while it waits. */
	assert_int_equal(smtp_server_sessions(b->server), 1 + 2);
	assert_int_equal(smtp_server_next_deadline(b->server), b->now.mono_us);
	wait(b, 1000);
	assert_int_equal(b->ring_count, 0);
	b->ring_full = false;
	wait(b, 1000);
	assert_int_equal(b->ring_count, 2);
	assert_int_equal(smtp_server_sessions(b->server), 1);
	/* In the order they came. */
	assert_true(b->ring[0].submission->id.counter < b->ring[1].submission->id.counter);
	answer_commit(b, COMMIT_DONE);
	fake_heard(b->stack, d);
	answer_commit(b, COMMIT_DONE);
	assert_non_null(strstr(fake_heard(b->stack, d), "250 2.0.0 OK queued"));
	assert_int_equal(smtp_server_counters(b->server)->messages_lost_session, 1);
	assert_int_equal(smtp_server_counters(b->server)->messages_accepted, 1);
}

static void assert_refused(struct bench *b, const char *address)
{
	tcp_handle c = fake_connect(b->stack, address, 25);

	assert_true(c != 0);
	wait(b, 2000);
	assert_string_equal(fake_heard(b->stack, c), "421 4.7.0 Too many connections\r\n");
	assert_true(fake_has_fin(b->stack, c));
	fake_say(b->stack, c, EHLO MESSAGE);
	assert_string_equal(fake_heard(b->stack, c), "");
	fake_fin(b->stack, c);
	assert_true(fake_is_gone(b->stack, c));
}

static void s15_a_client_has_so_many_sessions_and_a_listener_so_many(void **state)
{
	struct bench *b = *state;
	tcp_handle first = client(b, "192.0.2.1");

	client(b, "192.0.2.1");
	assert_refused(b, "192.0.2.1");
	client(b, "192.0.2.2");
	client(b, "2001:db8::1");
	assert_refused(b, "192.0.2.3");
	assert_int_equal(smtp_server_counters(b->server)->sessions_refused, 2);
	assert_int_equal(smtp_server_counters(b->server)->sessions_opened, 4);
	/* A slot that is free again is free for the same client. */
	fake_reset(b->stack, first);
	client(b, "192.0.2.1");
	assert_refused(b, "192.0.2.1");
}

static void s15_an_ipv6_64_is_one_client(void **state)
{
	struct bench *b = *state;
	tcp_handle c = client(b, "2001:db8::1");

	client(b, "2001:db8::2");
	assert_refused(b, "2001:db8::3");
	client(b, "2001:db8:0:1::1");
	fake_reset(b->stack, c);
	client(b, "2001:db8::3");
	assert_refused(b, "2001:db8::1");
}

static void s15_the_table_has_a_size_and_then_there_is_rst(void **state)
{
	struct bench *b = *state;
	char address[32];
	unsigned refused = 0, reset = 0;

	b->listeners[0].limits.sessions = 0;
	for (unsigned i = 0; i < 40; i++) {
		snprintf(address, sizeof(address), "198.51.100.%u", i);
		tcp_handle c = fake_connect(b->stack, address, 25);

		if (c == 0)
			reset++;
		else
			refused += strncmp(fake_heard(b->stack, c), "421 ", 4) == 0;
	}
	assert_int_equal(smtp_server_counters(b->server)->sessions_opened, SESSIONS);
	assert_int_equal(refused, 16);
	assert_int_equal(reset, 40 - 16 - SESSIONS);
}

static void s15_refused_sessions_that_linger_are_reset(void **state)
{
	struct bench *b = *state;
	tcp_handle c = client(b, "192.0.2.1");

	fake_say(b->stack, c, "QUIT\r\n");
	assert_true(fake_has_fin(b->stack, c));
	wait(b, 29 * US_PER_S);
	assert_false(fake_is_gone(b->stack, c));
	wait(b, 2 * US_PER_S);
	assert_true(fake_is_gone(b->stack, c));
	assert_int_equal(smtp_server_sessions(b->server), 0);
}

static void s16_deadlines_fire_by_the_turn(void **state)
{
	struct bench *b = *state;
	tcp_handle c = client(b, "192.0.2.1");

	assert_true(smtp_server_next_deadline(b->server) <= b->now.mono_us + 301 * US_PER_S);
	for (unsigned i = 0; i < 10; i++) {
		wait(b, 200 * US_PER_S);
		fake_say(b->stack, c, "NOOP\r\n");
		assert_string_equal(fake_heard(b->stack, c), "250 2.0.0 OK\r\n");
	}
	wait(b, 299 * US_PER_S);
	assert_string_equal(fake_heard(b->stack, c), "");
	wait(b, 2 * US_PER_S);
	assert_string_equal(fake_heard(b->stack, c), "421 4.4.2 Timeout\r\n");
	assert_true(fake_has_fin(b->stack, c));
}

static void s16_a_client_that_does_not_read_is_heard_again_when_it_does(void **state)
{
	struct bench *b = *state;
	tcp_handle c = client(b, "192.0.2.1");
	size_t heard = 0;

	fake_say(b->stack, c, "NOOP\r\n");
	for (unsigned i = 0; i < 5000; i++)
		fake_say_deaf(b->stack, c, "NOOP\r\n");
	heard = strlen(fake_heard(b->stack, c));
	assert_true(heard < 40000);
	for (unsigned i = 0; i < 20; i++) {
		fake_room(b->stack, c);
		heard += strlen(fake_heard(b->stack, c));
	}
	assert_int_equal(heard, 5001 * strlen("250 2.0.0 OK\r\n"));
}

static void implicit_tls_waits_for_a_hello_and_refuses_with_rst(void **state)
{
	struct bench *b = *state;

	/* There is no certificate. */
	assert_int_equal(fake_connect(b->stack, "192.0.2.1", 465), 0);
	assert_int_equal(smtp_server_sessions(b->server), 0);
	assert_int_equal(smtp_server_counters(b->server)->sessions_tls_failed, 1);
}

static void listeners_follow_the_view(void **state)
{
	struct bench *b = *state;
	struct view next = b->view;
	struct view_listener listeners[2] = {b->listeners[0], b->listeners[0]};
	tcp_handle c = client(b, "192.0.2.1"), d;

	assert_int_equal(fake_stack_listeners(b->stack), 2);
	listeners[1].tcp_port = 2525;
	snprintf(next.hostname, sizeof(next.hostname), "next.example.org");
	memset(next.references, 0, sizeof(next.references));
	next.listeners = listeners;
	assert_int_equal(smtp_server_configure(b->server, &next, &b->now), 0);
	assert_int_equal(fake_stack_listeners(b->stack), 2);
	assert_int_equal(fake_connect(b->stack, "192.0.2.1", 465), 0);
	d = fake_connect(b->stack, "192.0.2.1", 2525);
	assert_non_null(strstr(fake_heard(b->stack, d), "220 next.example.org"));
	assert_int_equal(next.references[WORKER].held, 1);
	/* The old session keeps the old view. */
	assert_int_equal(b->view.references[WORKER].held, 1);
	fake_say(b->stack, c, EHLO);
	assert_non_null(strstr(fake_heard(b->stack, c), "250-mx.example.org greets"));
	/* A port that cannot be had is told, and the others are open. */
	next.listener_count = 0;
	assert_int_equal(smtp_server_configure(b->server, &next, &b->now), 0);
	assert_int_equal(fake_stack_listeners(b->stack), 0);
	fake_stack_fail_listen(b->stack, -EADDRINUSE);
	assert_int_equal(smtp_server_configure(b->server, &b->view, &b->now), -EADDRINUSE);
	assert_int_equal(fake_stack_listeners(b->stack), 1);
	assert_int_equal(smtp_server_configure(b->server, &b->view, &b->now), 0);
	assert_int_equal(fake_stack_listeners(b->stack), 2);
	fake_reset(b->stack, c);
	fake_reset(b->stack, d);
	assert_int_equal(next.references[WORKER].held, 0);
}

static void draining_refuses_closes_and_finishes(void **state)
{
	struct bench *b = *state;
	tcp_handle idle = client(b, "192.0.2.1"), busy = client(b, "192.0.2.2"), late;

	fake_say(b->stack, busy, MESSAGE);
	fake_heard(b->stack, busy);
	smtp_server_drain(b->server, &b->now);
	assert_string_equal(fake_heard(b->stack, idle), "421 4.3.2 Service shutting down\r\n");
	assert_true(fake_has_fin(b->stack, idle));
	assert_string_equal(fake_heard(b->stack, busy), "");
	late = fake_connect(b->stack, "192.0.2.3", 25);
	assert_string_equal(fake_heard(b->stack, late), "421 4.3.2 Service shutting down\r\n");
	answer_commit(b, COMMIT_DONE);
	assert_int_equal(strncmp(fake_heard(b->stack, busy), "250 2.0.0 OK queued", 19), 0);
	assert_true(fake_has_fin(b->stack, busy));
	fake_fin(b->stack, idle);
	fake_fin(b->stack, busy);
	wait(b, 2000);
	fake_fin(b->stack, late);
	assert_int_equal(smtp_server_sessions(b->server), 0);
}

static void few_chunks_refuse_new_sessions(void **state)
{
	struct bench *b = *state;
	struct chunk_list taken = {0};
	tcp_handle c;

	while (chunk_pool_available(b->chunks) > 3)
		chunk_list_push(&taken, chunk_alloc(b->chunks));
	c = fake_connect(b->stack, "192.0.2.1", 25);
	assert_string_equal(fake_heard(b->stack, c), "421 4.3.2 Overloaded, try again later\r\n");
	chunk_list_free(&taken, b->chunks);
}

static void a_refusal_of_the_shard_reaches_mail(void **state)
{
	struct bench *b = *state;
	tcp_handle c = client(b, "192.0.2.1");

	smtp_server_set_refusal(b->server, COMMIT_NO_SPACE);
	fake_say(b->stack, c, "MAIL FROM:<>\r\n");
	assert_int_equal(strncmp(fake_heard(b->stack, c), "452 4.3.1", 9), 0);
	smtp_server_set_refusal(b->server, COMMIT_DONE);
	fake_say(b->stack, c, "MAIL FROM:<>\r\n");
	assert_int_equal(strncmp(fake_heard(b->stack, c), "250", 3), 0);
}

static void sessions_are_listed(void **state)
{
	struct bench *b = *state;
	tcp_handle c = client(b, "192.0.2.1");
	struct session_entry entries[4];

	client(b, "192.0.2.2");
	fake_say(b->stack, c, MESSAGE);
	assert_int_equal(smtp_server_list(b->server, entries, 4), 2);
	assert_int_equal(smtp_server_list(b->server, entries, 1), 1);
	assert_true(entries[0].inbound);
	assert_int_equal(entries[0].session >> 48, WORKER);
	assert_string_equal(entries[0].name, "in");
	assert_string_equal(entries[0].peer_name, "client.example");
	assert_string_equal(entries[0].state, "commit");
	answer_commit(b, COMMIT_DONE);
	smtp_server_list(b->server, entries, 1);
	assert_int_equal(entries[0].messages, 1);
	assert_string_equal(entries[0].state, "command");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_message_goes_to_the_ring_and_its_answer_back),
		TEST(what_comes_behind_a_message_waits_for_its_answer),
		TEST(s23_a_client_that_is_gone_leaves_its_message_with_us),
		TEST(s23_also_when_the_ring_is_full),
		TEST(s15_a_client_has_so_many_sessions_and_a_listener_so_many),
		TEST(s15_an_ipv6_64_is_one_client),
		TEST(s15_the_table_has_a_size_and_then_there_is_rst),
		TEST(s15_refused_sessions_that_linger_are_reset),
		TEST(s16_deadlines_fire_by_the_turn),
		TEST(s16_a_client_that_does_not_read_is_heard_again_when_it_does),
		TEST(implicit_tls_waits_for_a_hello_and_refuses_with_rst),
		TEST(listeners_follow_the_view),
		TEST(draining_refuses_closes_and_finishes),
		TEST(few_chunks_refuse_new_sessions),
		TEST(a_refusal_of_the_shard_reaches_mail),
		TEST(sessions_are_listed),
	};

	return cmocka_run_group_tests_name("smtp table", tests, NULL, NULL);
}
