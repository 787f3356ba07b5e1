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
#include "tests/sim/tcp_harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES 40

struct server {
	struct harness *harness;
	struct harness_connection *connection; /**< the one being served */
	tcp_handle handle;
	size_t at; /**< in what was received */
	bool greeted, in_data;
	const char *features;
	unsigned stored, connections;
	bool damaged;
};

struct wire {
	struct harness *a;
	struct server server;
	struct path_table *table;
	struct delivery *deliveries[MESSAGES];
	unsigned next, outstanding_max, lent, delivered, slots_back;
	unsigned reused;
	char *body; /**< as it is on the wire without stuffing */
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

/** Take one command or message. @return false when more must come first */
static bool serve(struct wire *wire)
{
	struct server *server = &wire->server;
	const char *data = (const char *)server->connection->received + server->at;
	size_t left = server->connection->received_size - server->at;
	const char *end;

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
	if (record->delivery->recipients[0].outcome == OUTCOME_DELIVERED)
		wire->delivered++;
	else
		print_error("%s: %u %s\n", smtp_phase_name(record->delivery->recipients[0].phase),
			    record->delivery->recipients[0].code,
			    record->delivery->recipients[0].reply);
	return true;
}

static void lend(struct wire *wire)
{
	while (wire->next < MESSAGES && wire->lent < wire->outstanding_max) {
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
	return wire->next == MESSAGES && wire->lent == 0;
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

static void run_wire(const char *features, const struct sim_link_settings *settings, size_t lines,
		     uint64_t seed)
{
	struct harness *a = harness_create(&(struct harness_options){
		.address = "10.0.0.1", .peer = "10.0.0.2", .seed = seed, .chunks = 1024});
	struct harness *b = harness_create(&(struct harness_options){
		.address = "10.0.0.2", .peer = "10.0.0.1", .seed = seed + 1, .chunks = 1024});
	struct sim_link *there = sim_link_create(settings, seed);
	struct sim_link *back = sim_link_create(settings, seed + 7);
	struct wire *wire = calloc(1, sizeof(*wire));

	assert_non_null(wire);
	wire->a = a;
	wire->server = (struct server){.harness = b, .features = features};
	wire->outstanding_max = 2;
	make_body(wire, lines);
	wire->route = (struct route){
		.path = 1,
		.site = "site",
		.ehlo_name = "out.example.net",
		.has_v4 = true,
		.source_v4 = a->address,
		.host_count = 1,
		.hosts = {{.name = "mx.example.org", .address = b->address, .port = 25}},
		.settings = {.messages_per_connection = 25,
			     .idle_timeout_us = 5 * US_PER_S,
			     .reuse_time_max_us = 3600 * US_PER_S,
			     .connect_timeout_us = 60 * US_PER_S,
			     .greeting_timeout_us = 300 * US_PER_S,
			     .command_timeout_us = 300 * US_PER_S,
			     .data_init_timeout_us = 300 * US_PER_S,
			     .data_block_timeout_us = 300 * US_PER_S,
			     .data_done_timeout_us = 300 * US_PER_S,
			     .use_pipelining = true,
			     .use_chunking = true},
	};
	const struct path_table_settings table = {
		.sessions = 4,
		.paths = 4,
		.stack = a->stack,
		.chunks = a->chunks,
		.random = &a->random,
		.report = report,
		.context = wire,
	};
	wire->table = path_table_create(&table);
	assert_non_null(wire->table);
	path_table_configure(wire->table, &a->view, &a->now);
	harness_listen(b, 25);

	assert_true(
		harness_exchange(a, b, there, back, 3600 * US_PER_S, until_all_came_back, wire));
	assert_int_equal(wire->delivered, MESSAGES);
	assert_int_equal(wire->server.stored, MESSAGES);
	assert_false(wire->server.damaged);
	assert_int_equal(wire->reused, MESSAGES - 2);
	assert_int_equal(path_table_counters(wire->table)->protocol_errors, 0);
	path_table_drain(wire->table, &a->now);
	harness_exchange(a, b, there, back, 300 * US_PER_S, until_quiet, wire);
	assert_int_equal(path_table_sessions(wire->table), 0);
	assert_int_equal(wire->slots_back, 1);

	path_table_destroy(wire->table);
	for (unsigned i = 0; i < MESSAGES; i++)
		free(wire->deliveries[i]);
	while (wire->chunks) {
		struct chunk *next = wire->chunks->next;

		free(wire->chunks);
		wire->chunks = next;
	}
	free(wire->body);
	free(wire);
	sim_link_destroy(there);
	sim_link_destroy(back);
	harness_destroy(a);
	harness_destroy(b);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(step_by_step),
		cmocka_unit_test(pipelined),
		cmocka_unit_test(chunked_in_one_flight),
		cmocka_unit_test(large_messages),
		cmocka_unit_test(links_that_lose_duplicate_and_reorder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
