/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The harness shown at work (tests/sim/tcp_harness.h is its manual): raw packets by hand, several
 * addresses, the calls that sockets have, time, what is known of a connection. */
#include "tests/sim/tcp_harness.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A client made of raw packets: its SYN, its ACK with data, its FIN. */
static void a_script_of_raw_packets_speaks_with_a_server(void **state)
{
	struct harness *h = harness_create(&(struct harness_options){.seed = 1});
	struct script_segment s = {.flags = TCP_SYN, .seq = 1000, .window = 65535, .mss = 1460};
	struct harness_connection *server;
	struct tcp_information info;
	struct tcp_segment heard;
	uint8_t packet[2048], data[100];

	harness_listen(h, 25);
	h->script_local_port = 25; /* the stack's port; the script's is 40000 unless it says so */
	harness_feed(h, packet, script_build(h, &s, packet));

	assert_true(script_take(h, &heard, packet));
	assert_int_equal(heard.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(heard.ack, 1001);

	s = (struct script_segment){.flags = TCP_ACK | TCP_PSH,
				    .seq = 1001,
				    .ack = heard.seq + 1,
				    .window = 65535,
				    .data = "EHLO\r\n",
				    .size = 6};
	script_feed(h, &s);
	server = harness_accept(h);
	assert_non_null(server);
	assert_int_equal(harness_recv(server, data, sizeof(data)), 6);
	assert_memory_equal(data, "EHLO\r\n", 6);
	assert_int_equal(harness_recv(server, data, sizeof(data)), -EAGAIN);

	harness_write(server, "250 hello\r\n", 11);
	assert_true(script_take(h, &heard, packet));
	assert_int_equal(heard.length, 11);
	assert_int_equal(heard.ack, 1007);

	/* Nobody acknowledges: half a second later it comes again. */
	harness_advance(h, 500000);
	assert_true(script_take(h, &heard, packet));
	assert_int_equal(heard.length, 11);
	harness_information(server, &info);
	assert_string_equal(info.state, "ESTABLISHED");
	assert_int_equal(info.in_flight_bytes, 11);
	assert_true(info.retransmitted_segments > 0);

	harness_abort(server);
	assert_true(server->closed);
	assert_int_equal(server->reason, TCP_ABORTED);
	harness_destroy(h);
}

static bool client_is_connected(void *context)
{
	return ((struct harness_connection *)context)->connected;
}

static bool is_closed(void *context)
{
	return ((struct harness_connection *)context)->closed;
}

/* Two stacks and a link, and the calls that sockets have. */
static void two_stacks_talk_over_a_link_with_calls_like_those_of_sockets(void **state)
{
	struct sim_link_settings link = {.delay_us = 20000, .loss = 0.02};
	struct harness *a = harness_create(&(struct harness_options){.seed = 2});
	struct harness *b = harness_create(
		&(struct harness_options){.seed = 3, .address = "10.0.0.2", .peer = "10.0.0.1"});
	struct sim_link *there = sim_link_create(&link, 4), *back = sim_link_create(&link, 5);
	struct harness_connection *client, *server;
	uint8_t data[30000] = {1, 2, 3}, got[30000];
	size_t size = 0;
	ssize_t n;

	/* A second address on one side, of the other family too. */
	harness_add_address(a, "10.0.0.9");
	harness_add_address(a, "fd00::9");
	harness_listen_on(b, "10.0.0.2", 587);
	client = harness_connect_from(a, "10.0.0.9", "10.0.0.2", 587, 30000000);
	assert_non_null(client);
	assert_true(harness_exchange(a, b, there, back, 30000000, client_is_connected, client));

	harness_write(client, data, sizeof(data));
	harness_shutdown(client);
	while ((server = harness_accept(b)) == NULL)
		harness_exchange(a, b, there, back, 100000, is_closed, client);
	harness_shutdown(server); /* it has nothing to say, and goes on reading */
	assert_true(harness_exchange(a, b, there, back, 60000000, is_closed, client));
	while ((n = harness_recv(server, got + size, sizeof(got) - size)) > 0)
		size += (size_t)n;
	assert_int_equal(n, 0);
	assert_int_equal(size, sizeof(data));
	assert_memory_equal(got, data, size);
	assert_int_equal(client->reason, TCP_CLOSED);

	harness_destroy(a);
	harness_destroy(b);
	sim_link_destroy(there);
	sim_link_destroy(back);
}

/* What nobody reads fills the window. */
static void held_bytes_fill_the_window_until_they_are_asked_for(void **state)
{
	struct harness *h =
		harness_create(&(struct harness_options){.seed = 4, .receive_window = 8000});
	struct script_segment s = {.flags = TCP_SYN, .seq = 1, .window = 65535};
	uint8_t packet[2048], data[1000] = {7};
	struct harness_connection *server;
	struct tcp_segment heard;
	uint32_t ack;

	harness_listen(h, 25);
	h->script_local_port = 25;
	script_feed(h, &s);
	assert_true(script_take(h, &heard, packet));
	ack = heard.seq + 1;
	script_feed(h, &(struct script_segment){.flags = TCP_ACK, .seq = 2, .ack = ack});
	server = harness_accept(h);
	harness_hold(server);
	for (uint32_t i = 0; i < 8; i++)
		script_feed(h, &(struct script_segment){.flags = TCP_ACK,
							.seq = 2 + i * 1000,
							.ack = ack,
							.window = 65535,
							.data = data,
							.size = 1000});
	do
		assert_true(script_take(h, &heard, packet));
	while (heard.ack != 8002);
	assert_int_equal(heard.window, 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(harness_recv(server, data, 1000), 1000);
	assert_int_equal(harness_recv(server, data, 1000), -EAGAIN);
	assert_true(script_take(h, &heard, packet));
	assert_true(heard.window > 0);

	/* The address goes, and with it the connection; the peer is not told. */
	harness_remove_address(h, "10.0.0.1");
	assert_true(server->closed);
	assert_int_equal(harness_recv(server, data, 1000), -ECONNRESET);
	harness_destroy(h);
}

/* The other way round: the stack connects, who it asks for is answered by hand, bytes are pulled.
 */
static void a_client_is_answered_frame_by_frame(void **state)
{
	static const uint8_t peer[6] = {2, 0, 0, 0, 0, 0xee};
	struct harness *h = harness_create(&(struct harness_options){.seed = 6});
	struct harness_connection *client = harness_connect_for(h, 25, 10000000);
	struct script_segment s = {.flags = TCP_SYN | TCP_ACK, .seq = 500, .window = 65535};
	uint8_t frame[2048], packet[2048], target[4];
	struct tcp_segment heard;
	size_t size;

	/* Its first frames announce the address; the last of them asks for the peer by ARP. */
	while ((size = harness_take_frame(h, frame)) == 42)
		memcpy(packet, frame, size);
	assert_int_equal(size, 0);
	memcpy(frame, packet, 42);
	memcpy(frame, packet + 6, 6); /* to whom asked */
	memcpy(frame + 6, peer, 6);
	frame[21] = 2; /* a reply: the pairs of addresses change places */
	memcpy(target, packet + 38, 4);
	memcpy(frame + 32, packet + 22, 10);
	memcpy(frame + 22, frame + 6, 6);
	memcpy(frame + 28, target, 4);
	harness_feed_frame(h, frame, 42);

	size = harness_take(h, packet); /* the SYN, which has waited */
	assert_int_equal(size, 60);
	assert_int_equal(packet[33], TCP_SYN);
	s.ack = ((uint32_t)packet[24] << 24 | packet[25] << 16 | packet[26] << 8 | packet[27]) + 1;
	script_feed(h, &s);
	assert_true(client->connected);

	harness_send(client, "QUIT\r\n", 6);
	assert_true(script_take(h, &heard, packet));
	assert_int_equal(heard.ack, 501);
	while (heard.length == 0)
		assert_true(script_take(h, &heard, packet));
	assert_memory_equal(heard.data, "QUIT\r\n", 6);

	/* The application takes three bytes, and the rest when it likes. */
	client->take_limit = 3;
	s = (struct script_segment){.flags = TCP_ACK,
				    .seq = 501,
				    .ack = heard.seq + 6,
				    .window = 65535,
				    .data = "221 bye",
				    .size = 7};
	script_feed(h, &s);
	assert_int_equal(client->received_size, 3);
	harness_take_more(client, 4);
	assert_memory_equal(client->received, "221 bye", 7);

	harness_close(client);
	while (script_take(h, &heard, packet))
		;
	assert_true((heard.flags & TCP_FIN) != 0);
	harness_destroy(h);
}

static void nobody_answers_a_client_until_its_timeout(void **state)
{
	struct harness *h = harness_create(&(struct harness_options){.seed = 7});
	struct harness_connection *client = harness_connect(h, 25);
	uint8_t packet[2048];

	assert_non_null(client);
	while (!client->closed) {
		harness_take(h, packet); /* its SYNs */
		harness_advance(h, 1000000);
	}
	assert_int_equal(client->reason, TCP_TIMED_OUT);
	harness_destroy(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_script_of_raw_packets_speaks_with_a_server),
		cmocka_unit_test(two_stacks_talk_over_a_link_with_calls_like_those_of_sockets),
		cmocka_unit_test(held_bytes_fill_the_window_until_they_are_asked_for),
		cmocka_unit_test(a_client_is_answered_frame_by_frame),
		cmocka_unit_test(nobody_answers_a_client_until_its_timeout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
