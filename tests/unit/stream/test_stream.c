/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The stream in clear: what is written arrives, what is not taken waits, and the end comes once. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/unit/stream/fake_tcp.h"
#include "tests/unit/stream/party.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT 1460
#define WINDOW	10000

static struct net_stack *stack;
static struct party client, server;

static void connect_pair(size_t segment_bytes)
{
	stack = fake_tcp_create(segment_bytes, WINDOW);
	party_create(&client, stack, 0);
	party_create(&server, stack, 1);
}

static int tear_down(void **state)
{
	party_destroy(&client);
	party_destroy(&server);
	fake_tcp_destroy(stack);
	return 0;
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

static void bytes_arrive_in_order_whatever_the_segments(void **state)
{
	static const size_t sizes[] = {1, 7, SEGMENT};

	for (unsigned i = 0; i < 3; i++) {
		if (i > 0)
			tear_down(NULL);
		connect_pair(sizes[i]);
		fake_tcp_connect(stack);
		assert_int_equal(client.connected, 1);
		party_write(&server, "220 ready\r\n");
		party_write(&client, "EHLO a\r\n");
		fake_tcp_run(stack);
		assert_true(party_received(&client, "220 ready\r\n"));
		assert_true(party_received(&server, "EHLO a\r\n"));
		assert_false(stream_is_tls(client.stream));
		assert_int_equal(party_chunks_in_use(&client) + party_chunks_in_use(&server), 0);
	}
}

static void answer_each_line(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] == '\n')
			stream_write(p->stream, "250 OK\r\n", 8);
}

static void replies_to_one_segment_leave_in_one(void **state)
{
	connect_pair(SEGMENT);
	fake_tcp_connect(stack);
	server.when_received = answer_each_line;
	party_write(&client, "A\r\nB\r\nC\r\n");
	fake_tcp_run(stack);
	assert_int_equal(fake_tcp_largest_send(stack, 1), 24);
	assert_int_equal(client.received_size, 24);
}

static void output_waits_for_flush_outside_callbacks(void **state)
{
	size_t sent;

	connect_pair(SEGMENT);
	assert_int_equal(stream_write(server.stream, "220 ", 4), 0);
	assert_int_equal(stream_write(server.stream, "x\r\n", 3), 0);
	fake_tcp_sent(stack, 1, &sent);
	assert_int_equal(sent, 0);
	assert_int_equal(stream_unacknowledged(server.stream), 7);
	stream_flush(server.stream);
	fake_tcp_sent(stack, 1, &sent);
	assert_int_equal(sent, 7);
	assert_int_equal(stream_unacknowledged(server.stream), 7);
	fake_tcp_run(stack);
	assert_int_equal(stream_unacknowledged(server.stream), 0);
}

static void what_is_written_before_the_connection_is_up_waits_for_it(void **state)
{
	size_t sent;

	connect_pair(SEGMENT);
	party_write(&client, "EHLO\r\n");
	fake_tcp_sent(stack, 0, &sent);
	assert_int_equal(sent, 0);
	fake_tcp_connect(stack);
	fake_tcp_run(stack);
	assert_true(party_received(&server, "EHLO\r\n"));
}

static void a_body_larger_than_the_window_arrives_as_written(void **state)
{
	size_t size = 1000003;
	uint8_t *body = malloc(size);

	for (size_t i = 0; i < size; i++)
		body[i] = (uint8_t)(i * 7 + i / 251);
	connect_pair(SEGMENT);
	fake_tcp_connect(stack);
	client.source = body;
	client.source_size = size;
	stream_want_write(client.stream);
	fake_tcp_run(stack);
	assert_int_equal(server.received_size, size);
	assert_memory_equal(server.received, body, size);
	assert_true(client.room_calls > size / WINDOW);
	free(body);
}

static void what_on_receive_leaves_is_offered_again_only_after_resume(void **state)
{
	connect_pair(4);
	fake_tcp_connect(stack);
	server.take_limit = 3;
	party_write(&client, "0123456789");
	fake_tcp_run(stack);
	assert_true(party_received(&server, "012"));
	assert_int_equal(fake_tcp_waiting(stack, 1), 7);
	stream_resume(server.stream);
	assert_true(party_received(&server, "012345"));
	server.take_limit = SIZE_MAX;
	stream_resume(server.stream);
	assert_true(party_received(&server, "0123456789"));
}

static void both_ends_close_in_order(void **state)
{
	connect_pair(SEGMENT);
	fake_tcp_connect(stack);
	server.when_end = close_in_end;
	party_write(&client, "QUIT\r\n");
	stream_close(client.stream);
	assert_int_equal(stream_write(client.stream, "x", 1), -ENOTCONN);
	fake_tcp_run(stack);
	assert_int_equal(server.ended, 1);
	assert_false(server.truncated);
	assert_true(party_received(&server, "QUIT\r\n"));
	expect_both_closed_in_order();
}

static void close_flushes_and_discards_what_still_comes(void **state)
{
	connect_pair(SEGMENT);
	fake_tcp_connect(stack);
	server.take_limit = 0; /* unread bytes wait when the server closes */
	party_write(&client, "MAIL FROM:<a@b>\r\n");
	fake_tcp_run(stack);
	assert_int_equal(stream_write(server.stream, "421 bye\r\n", 9), 0);
	client.when_end = close_in_end;
	stream_close(server.stream);
	party_write(&client, "RCPT\r\n");
	fake_tcp_run(stack);
	assert_true(party_received(&client, "421 bye\r\n"));
	assert_int_equal(server.received_size, 0);
	expect_both_closed_in_order();
}

static void a_reset_is_told_with_its_reason(void **state)
{
	connect_pair(SEGMENT);
	fake_tcp_connect(stack);
	stream_abort(client.stream);
	assert_int_equal(client.closed, 1);
	assert_int_equal(client.reason, TCP_ABORTED);
	fake_tcp_run(stack);
	assert_int_equal(server.closed, 1);
	assert_false(server.in_order);
	assert_int_equal(server.failure, STREAM_FAILED_TCP);
	assert_int_equal(server.reason, TCP_RESET);
}

static void abort_now(struct party *p)
{
	stream_abort(p->stream);
	assert_int_equal(p->closed, 0); /* once this callback has returned */
	assert_int_equal(stream_write(p->stream, "x", 1), -ENOTCONN);
	stream_resume(p->stream);
	stream_close(p->stream);
	stream_abort(p->stream);
}

static void abort_on_data(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	*taken = size / 2;
	abort_now(p);
}

static void abort_is_safe_in_every_callback(void **state)
{
	connect_pair(SEGMENT);
	client.when_connected = abort_now;
	fake_tcp_connect(stack);
	assert_int_equal(client.closed, 1);
	tear_down(NULL);

	connect_pair(SEGMENT);
	fake_tcp_connect(stack);
	server.when_received = abort_on_data;
	party_write(&client, "EHLO\r\n");
	fake_tcp_run(stack);
	assert_int_equal(server.closed, 1);
	assert_int_equal(client.closed, 1);
	tear_down(NULL);

	connect_pair(SEGMENT);
	fake_tcp_connect(stack);
	server.when_end = abort_now;
	stream_close(client.stream);
	fake_tcp_run(stack);
	assert_int_equal(server.closed, 1);
}

static void close_on_data(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	stream_write(p->stream, "221 bye\r\n", 9);
	stream_close(p->stream);
	*taken = 1;
}

static void close_inside_on_receive_sends_the_last_reply(void **state)
{
	connect_pair(SEGMENT);
	fake_tcp_connect(stack);
	server.when_received = close_on_data;
	client.when_end = close_in_end;
	party_write(&client, "QUIT\r\nEHLO\r\n");
	fake_tcp_run(stack);
	assert_true(party_received(&client, "221 bye\r\n"));
	expect_both_closed_in_order();
}

static void resume_on_data(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	*taken = 1;
	stream_resume(p->stream);
}

static void resume_inside_on_receive_takes_effect(void **state)
{
	connect_pair(SEGMENT);
	fake_tcp_connect(stack);
	server.when_received = resume_on_data;
	party_write(&client, "abcdef");
	fake_tcp_run(stack);
	assert_true(party_received(&server, "abcdef"));
}

static void shortage_of_chunks_fails_the_stream_and_says_so(void **state)
{
	struct chunk *all[PARTY_CHUNKS];

	connect_pair(SEGMENT);
	fake_tcp_connect(stack);
	for (unsigned i = 0; i < PARTY_CHUNKS; i++)
		all[i] = chunk_alloc(client.chunks);
	assert_int_equal(stream_write(client.stream, "EHLO\r\n", 6), -ENOBUFS);
	assert_int_equal(client.closed, 0); /* never from within stream_write */
	fake_tcp_run(stack);
	assert_int_equal(client.closed, 1);
	assert_int_equal(client.failure, STREAM_FAILED_MEMORY);
	for (unsigned i = 0; i < PARTY_CHUNKS; i++)
		chunk_free(client.chunks, all[i]);
	fake_tcp_starve(stack, 1);
	assert_int_equal(server.closed, 1); /* reset by the client's end */
}

static void shortage_inside_tcp_fails_the_stream_and_says_so(void **state)
{
	connect_pair(SEGMENT);
	fake_tcp_connect(stack);
	fake_tcp_starve(stack, 0);
	assert_int_equal(stream_write(client.stream, "EHLO\r\n", 6), 0);
	stream_flush(client.stream);
	fake_tcp_run(stack);
	assert_int_equal(client.closed, 1);
	assert_int_equal(client.failure, STREAM_FAILED_MEMORY);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(bytes_arrive_in_order_whatever_the_segments),
		TEST(replies_to_one_segment_leave_in_one),
		TEST(output_waits_for_flush_outside_callbacks),
		TEST(what_is_written_before_the_connection_is_up_waits_for_it),
		TEST(a_body_larger_than_the_window_arrives_as_written),
		TEST(what_on_receive_leaves_is_offered_again_only_after_resume),
		TEST(both_ends_close_in_order),
		TEST(close_flushes_and_discards_what_still_comes),
		TEST(a_reset_is_told_with_its_reason),
		TEST(abort_is_safe_in_every_callback),
		TEST(close_inside_on_receive_sends_the_last_reply),
		TEST(resume_inside_on_receive_takes_effect),
		TEST(shortage_of_chunks_fails_the_stream_and_says_so),
		TEST(shortage_inside_tcp_fails_the_stream_and_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
