/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Paths over the real stream and TCP, to a small SMTP server on another stack, with links that
 * lose, duplicate and reorder: what arrives is what was sent, once, and nothing honest is taken for
 * a breach of protocol.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/path/path.h"
#include "dataplane/tcp/internal.h"
#include "tests/sim/tcp_harness.h"
#include "tls/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES 40

/** What a server does instead of a handshake: row C10. */
enum hostile {
	HOSTILE_NOT,
	HOSTILE_OLD,  /**< TLS 1.0 and nothing else */
	HOSTILE_HUGE, /**< a certificate of 16 MB */
	HOSTILE_GARBAGE,
	HOSTILE_SHUT, /**< FIN */
};

struct server {
	struct harness *harness;
	struct harness_connection *connection; /**< the one being served */
	tcp_handle handle;
	size_t at; /**< in what was received */
	bool in_data;
	bool in_tls;
	enum hostile hostile;
	size_t hostile_size; /**< octets sent instead of a handshake */
	unsigned mails_in_clear;
	const char *features;
	unsigned stored, connections;
	bool damaged;
};

struct wire {
	struct harness *a, *b;
	struct sim_link *there, *back;
	struct server server;
	struct path_table *table;
	struct delivery *deliveries[MESSAGES];
	unsigned messages, next, outstanding_max, lent, delivered, slots_back;
	unsigned reused;
	unsigned measured; /**< outcomes that tell of their way */
	char *body;	   /**< as it is on the wire without stuffing */
	size_t body_size;
	struct chunk *chunks;
	struct route route;
};

/* ---- The server ---- */

static void say(struct server *server, const char *text)
{
	int rc = tcp_send(server->harness->stack, server->connection->handle, text, strlen(text));

	assert_int_equal(rc, 0);
}

static void compare(struct wire *wire, const char *data, size_t size, bool stuffed)
{
	size_t at = 0;
	bool line_start = true;

	for (size_t i = 0; i < size; i++) {
		if (stuffed && line_start && data[i] == '.')
			i++;
		if (at >= wire->body_size || data[i] != wire->body[at])
			break;
		line_start = data[i] == '\n';
		at++;
	}
	wire->server.damaged |= at != wire->body_size;
	wire->server.stored++;
}

static void send_octets(struct server *server, const void *data, size_t size)
{
	if (tcp_send(server->harness->stack, server->connection->handle, data, size) == 0)
		server->hostile_size += size;
}

/* RFC 5246, 7.4.1.3 and 7.4.2: a ServerHello without extensions, then a Certificate that does not
 * end. */
static void pretend_handshake(struct server *server, uint8_t minor)
{
	uint8_t hello[5 + 4 + 38] = {22, 3, 3, 0, 42, 2, 0, 0, 38, 3, minor};
	static uint8_t filler[5 + 16384] = {22, 3, 3, 0x40, 0};

	if (server->hostile_size == 0) {
		memset(hello + 11, 0x55, 32);
		hello[44] = 0xc0; /* ECDHE-RSA-AES128-GCM-SHA256, or its CBC sibling of old */
		hello[45] = minor < 3 ? 0x13 : 0x2f;
		send_octets(server, hello, sizeof(hello));
		memcpy(filler + 5, (const uint8_t[]){11, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc}, 7);
		send_octets(server, filler, sizeof(filler));
		memset(filler + 5, 0x30, 7);
	} else if (server->hostile_size < 4000000 &&
		   tcp_unacknowledged(server->harness->stack, server->connection->handle) < 20000) {
		send_octets(server, filler, sizeof(filler));
	}
}

static bool serve_hostile(struct server *server)
{
	static const char garbage[] = "HTTP/1.1 400 Bad Request\r\n\r\n";

	if (server->connection->received_size == server->at && server->hostile_size == 0)
		return false;
	server->at = server->connection->received_size;
	switch (server->hostile) {
	case HOSTILE_OLD:
		if (server->hostile_size == 0)
			pretend_handshake(server, 1);
		break;
	case HOSTILE_HUGE:
		pretend_handshake(server, 3);
		break;
	case HOSTILE_GARBAGE:
		if (server->hostile_size == 0)
			send_octets(server, garbage, sizeof(garbage) - 1);
		break;
	default:
		tcp_close(server->harness->stack, server->connection->handle,
			  &server->harness->now);
		break;
	}
	return false;
}

/** Take one command or message. @return false when more must come first */
static bool serve(struct wire *wire)
{
	struct server *server = &wire->server;
	const char *data = (const char *)server->connection->received + server->at;
	size_t left = server->connection->received_size - server->at;
	const char *end;

	if (server->in_tls)
		return serve_hostile(server);
	if (server->in_data) {
		end = left ? memmem(data, left, "\r\n.\r\n", 5) : NULL;
		if (!end)
			return false;
		compare(wire, data, (size_t)(end - data) + 2, true);
		server->at += (size_t)(end - data) + 5;
		server->in_data = false;
		say(server, "250 2.0.0 stored\r\n");
		return true;
	}
	end = left ? memchr(data, '\n', left) : NULL;
	if (!end)
		return false;
	if (strncmp(data, "BDAT", 4) == 0) {
		size_t size = strtoul(data + 5, NULL, 10);

		if (left < (size_t)(end - data) + 1 + size)
			return false;
		compare(wire, end + 1, size, false);
		server->at += (size_t)(end - data) + 1 + size;
		say(server, "250 2.0.0 stored\r\n");
		return true;
	}
	server->at += (size_t)(end - data) + 1;
	if (strncmp(data, "EHLO", 4) == 0) {
		say(server, "250-mx\r\n");
		say(server, server->features);
		say(server, "250 HELP\r\n");
	} else if (strncmp(data, "STARTTLS", 8) == 0) {
		server->in_tls = true;
		server->hostile_size = 0;
		say(server, "220 go\r\n");
	} else if (strncmp(data, "MAIL", 4) == 0) {
		server->mails_in_clear++;
		say(server, "250 ok\r\n");
	} else if (strncmp(data, "DATA", 4) == 0) {
		server->in_data = true;
		say(server, "354 go\r\n");
	} else if (strncmp(data, "QUIT", 4) == 0) {
		say(server, "221 bye\r\n");
		tcp_close(server->harness->stack, server->connection->handle,
			  &server->harness->now);
	} else {
		say(server, "250 ok\r\n");
	}
	return true;
}

static void run_server(struct wire *wire)
{
	struct server *server = &wire->server;

	struct harness_connection *accepted = server->harness->accepted;

	if (accepted && (accepted != server->connection || accepted->handle != server->handle)) {
		server->connection = accepted;
		server->handle = accepted->handle;
		server->at = 0;
		server->in_data = false;
		server->in_tls = false;
		server->connections++;
		say(server, "220 mx\r\n");
	}
	while (server->connection && !server->connection->closed && serve(wire))
		;
	if (server->connection && server->at == server->connection->received_size) {
		server->connection->received_size = 0;
		server->at = 0;
	}
}

/* ---- The shard ---- */

static bool report(void *context, const struct record *record)
{
	struct wire *wire = context;

	if (record->kind == RECORD_SLOT_CLOSED) {
		wire->slots_back += record->slot.count;
		return true;
	}
	assert_int_equal(record->kind, RECORD_OUTCOME);
	wire->lent--;
	wire->slots_back += record->delivery->slot_closed;
	wire->reused += record->delivery->reused;
	if (record->delivery->measure.congestion && record->delivery->measure.rtt_us > 0 &&
	    record->delivery->measure.segments > 0 && record->delivery->measure.segments < 65536)
		wire->measured++;
	if (record->delivery->recipients[0].outcome == OUTCOME_DELIVERED)
		wire->delivered++;
	else if (wire->server.hostile == HOSTILE_NOT)
		print_error("%s: %u %s\n", smtp_phase_name(record->delivery->recipients[0].phase),
			    record->delivery->recipients[0].code,
			    record->delivery->recipients[0].reply);
	return true;
}

static void lend(struct wire *wire)
{
	while (wire->next < wire->messages && wire->lent < wire->outstanding_max) {
		struct delivery *delivery =
			calloc(1, sizeof(*delivery) + sizeof(struct delivery_recipient));

		assert_non_null(delivery);
		delivery->route = &wire->route;
		delivery->may_open = wire->next == 0;
		delivery->mail_from = "a@example.com";
		delivery->body = wire->chunks;
		delivery->body_size = wire->body_size;
		delivery->recipient_count = 1;
		delivery->recipients[0].address = "b@example.org";
		wire->deliveries[wire->next++] = delivery;
		wire->lent++;
		path_table_deliver(wire->table, delivery, &wire->a->now);
	}
}

static bool until_all_came_back(void *context)
{
	struct wire *wire = context;

	path_table_begin_turn(wire->table, &wire->a->now);
	lend(wire);
	run_server(wire);
	path_table_turn(wire->table, &wire->a->now);
	return wire->next == wire->messages && wire->lent == 0;
}

static bool until_quiet(void *context)
{
	struct wire *wire = context;

	path_table_begin_turn(wire->table, &wire->a->now);
	run_server(wire);
	path_table_turn(wire->table, &wire->a->now);
	return path_table_sessions(wire->table) == 0;
}

static void make_body(struct wire *wire, size_t lines)
{
	static const char *const texts[] = {
		"hello\r\n", ".\r\n", "..dots\r\n", "\r\n",
		"a line of quite usual length, with some dots ... in it\r\n"};
	struct chunk **link = &wire->chunks;
	size_t at = 0;

	wire->body = calloc(lines, 64);
	assert_non_null(wire->body);
	for (size_t i = 0; i < lines; i++) {
		strcpy(wire->body + wire->body_size, texts[i % 5]);
		wire->body_size += strlen(texts[i % 5]);
	}
	while (at < wire->body_size) {
		size_t size = wire->body_size - at < CHUNK_DATA ? wire->body_size - at : CHUNK_DATA;
		struct chunk *chunk = calloc(1, sizeof(*chunk));

		assert_non_null(chunk);
		memcpy(chunk->data, wire->body + at, size);
		chunk->length = (uint16_t)size;
		at += size;
		*link = chunk;
		link = &chunk->next;
	}
}

static struct wire *wire_make(const char *features, const struct sim_link_settings *settings,
			      size_t lines, uint64_t seed)
{
	struct wire *wire = calloc(1, sizeof(*wire));

	assert_non_null(wire);
	wire->a = harness_create(&(struct harness_options){
		.address = "10.0.0.1", .peer = "10.0.0.2", .seed = seed, .chunks = 1024});
	wire->b = harness_create(&(struct harness_options){
		.address = "10.0.0.2", .peer = "10.0.0.1", .seed = seed + 1, .chunks = 1024});
	wire->there = sim_link_create(settings, seed);
	wire->back = sim_link_create(settings, seed + 7);
	wire->server = (struct server){.harness = wire->b, .features = features};
	wire->outstanding_max = 2;
	wire->messages = MESSAGES;
	make_body(wire, lines);
	wire->route = (struct route){
		.path = 1,
		.site = "site",
		.ehlo_name = "out.example.net",
		.has_v4 = true,
		.source_v4 = wire->a->address,
		.host_count = 1,
		.hosts = {{.name = "mx.example.org", .address = wire->b->address, .port = 25}},
		.settings = {.messages_per_connection = 25,
			     .idle_timeout_us = 5 * US_PER_S,
			     .reuse_time_max_us = 3600 * US_PER_S,
			     .connect_timeout_us = 60 * US_PER_S,
			     .greeting_timeout_us = 300 * US_PER_S,
			     .command_timeout_us = 300 * US_PER_S,
			     .data_init_timeout_us = 300 * US_PER_S,
			     .data_block_timeout_us = 300 * US_PER_S,
			     .data_done_timeout_us = 300 * US_PER_S,
			     .tls_handshake_timeout_us = 60 * US_PER_S,
			     .use_pipelining = true,
			     .use_chunking = true},
	};
	const struct path_table_settings table = {
		.sessions = 4,
		.paths = 4,
		.stack = wire->a->stack,
		.chunks = wire->a->chunks,
		.random = &wire->a->random,
		.report = report,
		.context = wire,
	};
	wire->table = path_table_create(&table);
	assert_non_null(wire->table);
	path_table_configure(wire->table, &wire->a->view, &wire->a->now);
	harness_listen(wire->b, 25);
	return wire;
}

static bool wire_run(struct wire *wire)
{
	return harness_exchange(wire->a, wire->b, wire->there, wire->back, 3600 * US_PER_S,
				until_all_came_back, wire);
}

static void wire_free(struct wire *wire)
{
	path_table_drain(wire->table, &wire->a->now);
	harness_exchange(wire->a, wire->b, wire->there, wire->back, 300 * US_PER_S, until_quiet,
			 wire);
	assert_int_equal(path_table_sessions(wire->table), 0);
	assert_int_equal(wire->slots_back, 1);
	path_table_destroy(wire->table);
	for (unsigned i = 0; i < wire->messages; i++)
		free(wire->deliveries[i]);
	while (wire->chunks) {
		struct chunk *next = wire->chunks->next;

		free(wire->chunks);
		wire->chunks = next;
	}
	free(wire->body);
	sim_link_destroy(wire->there);
	sim_link_destroy(wire->back);
	harness_destroy(wire->a);
	harness_destroy(wire->b);
	free(wire);
}

static void run_wire(const char *features, const struct sim_link_settings *settings, size_t lines,
		     uint64_t seed)
{
	struct wire *wire = wire_make(features, settings, lines, seed);

	assert_true(wire_run(wire));
	assert_int_equal(wire->delivered, MESSAGES);
	assert_int_equal(wire->server.stored, MESSAGES);
	assert_false(wire->server.damaged);
	assert_int_equal(wire->reused, MESSAGES - 2);
	assert_int_equal(wire->measured, MESSAGES);
	assert_int_equal(path_table_counters(wire->table)->protocol_errors, 0);
	wire_free(wire);
}

static const struct sim_link_settings good = {.delay_us = 5000};
static const struct sim_link_settings bad = {
	.delay_us = 20000, .jitter_us = 3000, .loss = 0.02, .duplicate = 0.01, .reorder = 0.05};

static void step_by_step(void **state)
{
	run_wire("", &good, 100, 1);
}

static void pipelined(void **state)
{
	run_wire("250-PIPELINING\r\n", &good, 100, 2);
}

static void chunked_in_one_flight(void **state)
{
	run_wire("250-PIPELINING\r\n250-CHUNKING\r\n", &good, 100, 3);
}

/* A route may ask for BBR; its connections then hold states of its pool. */
static void a_route_that_asks_for_it_sends_with_bbr(void **state)
{
	struct wire *wire = wire_make("250-PIPELINING\r\n", &good, 100, 3);

	assert_int_equal(wire->a->stack->tcp->bbr.fresh, 0);
	wire->route.settings.use_bbr = true;
	assert_true(wire_run(wire));
	assert_int_equal(wire->delivered, MESSAGES);
	assert_true(wire->a->stack->tcp->bbr.fresh > 0);
	wire_free(wire);
}

static void large_messages(void **state)
{
	run_wire("250-PIPELINING\r\n", &good, 5000, 4);
	run_wire("250-PIPELINING\r\n250-CHUNKING\r\n", &good, 5000, 5);
}

static void links_that_lose_duplicate_and_reorder(void **state)
{
	for (uint64_t seed = 10; seed < 15; seed++) {
		run_wire("250-PIPELINING\r\n", &bad, 300, seed);
		run_wire("250-PIPELINING\r\n250-CHUNKING\r\n", &bad, 300, seed);
	}
}

/* ---- C10 ---- */

static void run_hostile(enum hostile hostile, enum tls_level level)
{
	struct wire *wire = wire_make("250-STARTTLS\r\n250-PIPELINING\r\n", &good, 10, hostile);
	char error[256] = "";
	struct tls_context *context;

	assert_int_equal(tls_global_init(), 0);
	tls_thread_init(&wire->a->random);
	context = tls_context_create_client(error);
	assert_non_null(context);
	wire->a->view.client_contexts[0] = context;
	wire->route.settings.tls = level;
	wire->server.hostile = hostile;
	wire->messages = 1;
	assert_true(wire_run(wire));
	assert_int_equal(path_table_counters(wire->table)->tls_failed, 1);
	assert_in_range(wire->server.hostile_size, 0, 500000);
	if (level == TLS_LEVEL_MAY) {
		assert_int_equal(wire->server.connections, 2);
		assert_int_equal(wire->delivered, 1);
		assert_int_equal(wire->server.stored, 1);
		assert_false(wire->server.damaged);
	} else {
		const struct delivery_recipient *recipient = &wire->deliveries[0]->recipients[0];

		assert_int_equal(wire->server.connections, 1);
		assert_int_equal(wire->server.mails_in_clear, 0);
		assert_int_equal(recipient->outcome, OUTCOME_DEFERRED);
		assert_int_equal(recipient->phase, PHASE_TLS);
		assert_int_equal(recipient->enhanced.subject, 7);
		assert_int_equal(recipient->enhanced.detail, 5);
	}
	wire_free(wire);
	tls_context_release(context);
}

static void c10_hostile_handshakes_fall_back_to_clear_under_may(void **state)
{
	for (enum hostile hostile = HOSTILE_OLD; hostile <= HOSTILE_SHUT; hostile++)
		run_hostile(hostile, TLS_LEVEL_MAY);
}

static void c10_hostile_handshakes_defer_under_encrypt(void **state)
{
	for (enum hostile hostile = HOSTILE_OLD; hostile <= HOSTILE_SHUT; hostile++)
		run_hostile(hostile, TLS_LEVEL_ENCRYPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(step_by_step),
		cmocka_unit_test(pipelined),
		cmocka_unit_test(chunked_in_one_flight),
		cmocka_unit_test(a_route_that_asks_for_it_sends_with_bbr),
		cmocka_unit_test(large_messages),
		cmocka_unit_test(links_that_lose_duplicate_and_reorder),
		cmocka_unit_test(c10_hostile_handshakes_fall_back_to_clear_under_may),
		cmocka_unit_test(c10_hostile_handshakes_defer_under_encrypt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
