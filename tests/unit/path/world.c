/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A world around a path table: see world.h. This file takes the place of smtp/stream.c and of tcp/.
 */
#include "tests/unit/path/world.h"

#include "dataplane/smtp/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT_MAX 16384

enum link_state {
	LINK_FREE,
	LINK_SYN,
	LINK_UP,
	LINK_FAILED, /**< on_closed is due */
	LINK_DONE,   /**< on_closed was called */
};

struct link {
	enum link_state state;
	struct stream *stream;
	struct exchanger *host;
	bool wants_room, starts_tls, tls, closing, aborted;
	unsigned depth;
	enum tcp_close_reason reason;
	enum stream_failure failure;
	bool in_order;
	char out[OUT_MAX];
	size_t out_size;
	/* The server's side. */
	bool greeted, in_data, mail_due;
	size_t bdat_left;
	unsigned mails;
	unsigned recipients;
};

/* The functions below have the signatures of tcp.h and stream.h: they find their world here. */
static struct world *the_world;

static struct link *links(void)
{
	return the_world->links;
}

static struct link *link_of(const struct stream *stream)
{
	assert_true(stream->connection > 0 && stream->connection <= WORLD_LINKS);
	assert_ptr_equal(links()[stream->connection - 1].stream, stream);
	return &links()[stream->connection - 1];
}

/* ---- tcp.h ---- */

int tcp_connect(struct net_stack *stack, const struct ip_address *local,
		const struct ip_address *remote, uint16_t remote_port, uint64_t syn_timeout_us,
		const struct tcp_callbacks *callbacks, void *user, const struct mr_now *now,
		tcp_handle *connection)
{
	struct exchanger *host = &the_world->hosts[remote->bytes[15]];

	assert_ptr_equal(callbacks, &stream_tcp_callbacks);
	assert_int_equal(ip_is_v4(local), ip_is_v4(remote));
	host->connections++;
	if (host->connect_error)
		return host->connect_error;
	for (unsigned i = 0; i < WORLD_LINKS; i++) {
		if (links()[i].state != LINK_FREE)
			continue;
		links()[i] = (struct link){.state = LINK_SYN, .host = host};
		*connection = i + 1;
		return 0;
	}
	return -ENOBUFS;
}

int tcp_set_congestion(struct net_stack *stack, tcp_handle connection,
		       enum tcp_congestion_choice choice)
{
	assert_int_equal(choice, TCP_BBR); /* CUBIC it is without */
	return 0;
}

int tcp_measure(const struct net_stack *stack, tcp_handle connection, struct tcp_measure *out)
{
	*out = (struct tcp_measure){.rtt_us = 1000, .segments = 2, .congestion = "fake"};
	return 0;
}

int tcp_endpoints(const struct net_stack *stack, tcp_handle connection, struct tcp_endpoints *out)
{
	return -ENOTCONN;
}

const char *tcp_close_reason_name(enum tcp_close_reason reason)
{
	return reason == TCP_RESET ? "connection reset" : "closed";
}

const struct tcp_callbacks stream_tcp_callbacks;

/* ---- stream.h ---- */

void stream_init(struct stream *stream, struct net_stack *stack, tcp_handle connection,
		 struct chunk_pool *chunks, const struct stream_callbacks *callbacks, void *user,
		 const struct mr_now *now, bool opening)
{
	*stream = (struct stream){.connection = connection, .callbacks = callbacks, .user = user};
	links()[connection - 1].stream = stream;
}

int stream_write(struct stream *stream, const void *data, size_t size)
{
	struct link *link = link_of(stream);

	if (link->state != LINK_UP || link->closing)
		return -ENOTCONN;
	assert_true(link->out_size + size <= OUT_MAX);
	memcpy(link->out + link->out_size, data, size);
	link->out_size += size;
	return 0;
}

void stream_want_write(struct stream *stream)
{
	link_of(stream)->wants_room = true;
}

void stream_flush(struct stream *stream)
{
	(void)link_of(stream);
}

int stream_start_tls(struct stream *stream, struct tls_context *context, const char *server_name)
{
	assert_non_null(context);
	assert_true(server_name == NULL || strncmp(server_name, "mx", 2) == 0);
	link_of(stream)->starts_tls = true;
	return 0;
}

size_t stream_unacknowledged(const struct stream *stream)
{
	(void)link_of(stream);
	return 0;
}

const char *stream_error(const struct stream *stream)
{
	return "handshake failure";
}

/** on_closed is always the last call, and never comes inside another callback of its stream. */
static void link_end(struct link *link)
{
	struct stream *stream = link->stream;

	if (link->state == LINK_UP)
		link->host->open--;
	link->state = LINK_DONE;
	stream->callbacks->on_closed(stream->user, link->in_order, link->failure, link->reason);
	link->state = LINK_FREE;
}

void stream_close(struct stream *stream)
{
	link_of(stream)->closing = true;
}

void stream_abort(struct stream *stream)
{
	struct link *link = link_of(stream);

	link->aborted = true;
	link->failure = STREAM_FAILED_TCP;
	link->reason = TCP_ABORTED;
	if (link->depth == 0)
		link_end(link);
}

static void link_fail(struct link *link, enum stream_failure failure, enum tcp_close_reason reason)
{
	link->failure = failure;
	link->reason = reason;
	link_end(link);
}

#define CALL(link, call)                                \
	do {                                            \
		struct link *called = (link);           \
		struct stream *stream = called->stream; \
		called->depth++;                        \
		call;                                   \
		called->depth--;                        \
		if (called->aborted)                    \
			link_end(called);               \
	} while (0)

/* ---- The exchangers ---- */

/** @return false when the link ended */
static bool say(struct link *link, const char *text)
{
	char line[1024];
	int size = snprintf(line, sizeof(line), "%s\r\n", text);

	if (link->closing)
		return true;
	CALL(link,
	     stream->callbacks->on_receive(stream->user, (const uint8_t *)line, (size_t)size));
	return link->state == LINK_UP;
}

static void accept_message(struct link *link)
{
	link->host->messages++;
}

static bool on_ehlo(struct link *link)
{
	struct exchanger *host = link->host;
	char text[512];

	if (link->tls && host->breaks_tls_late) {
		link_fail(link, STREAM_FAILED_TLS, TCP_CLOSED);
		return false;
	}
	snprintf(text, sizeof(text), "250-mx\r\n%s%s250 HELP", host->features ? host->features : "",
		 host->starttls && !link->tls ? "250-STARTTLS\r\n" : "");
	return say(link, text);
}

static bool on_mail(struct link *link)
{
	struct exchanger *host = link->host;
	char text[512];

	host->mail_commands++;
	link->mails++;
	link->recipients = 0;
	if (host->hangs) {
		link->mail_due = true;
		return true;
	}
	if (host->drops_idle && link->mails > 1) {
		link_fail(link, STREAM_FAILED_TCP, TCP_RESET);
		return false;
	}
	if (host->messages_max && link->mails > host->messages_max)
		return say(link, "421 4.7.0 enough");
	snprintf(text, sizeof(text), "%s%s%s", host->mail_reply ? host->mail_reply : "250 ok",
		 host->extra ? "\r\n" : "", host->extra ? host->extra : "");
	return say(link, text);
}

static bool on_rcpt(struct link *link)
{
	const char *reply = link->host->rcpt_reply;

	link->host->rcpt_commands++;
	return say(link, reply && link->recipients++ > 0 ? reply : "250 ok");
}

static bool on_line(struct link *link, const char *line)
{
	struct exchanger *host = link->host;

	if (strncmp(line, "EHLO", 4) == 0)
		return on_ehlo(link);
	if (strcmp(line, "STARTTLS") == 0)
		return say(link, host->injects ? "220 go\r\n250 injected" : "220 go");
	if (strncmp(line, "MAIL", 4) == 0)
		return on_mail(link);
	if (strncmp(line, "RCPT", 4) == 0)
		return on_rcpt(link);
	if (strcmp(line, "DATA") == 0) {
		link->in_data = true;
		return say(link, "354 go");
	}
	if (strncmp(line, "BDAT", 4) == 0) {
		host->bdat++;
		if (host->bdat_reply)
			return say(link, host->bdat_reply);
		link->bdat_left = strtoul(line + 5, NULL, 10);
		assert_true(link->bdat_left > 0);
		return true;
	}
	if (strcmp(line, "RSET") == 0) {
		host->rset++;
		return say(link, "250 ok");
	}
	if (strcmp(line, "QUIT") == 0) {
		host->quit++;
		return say(link, "221 bye");
	}
	return say(link, "500 what");
}

static void consume(struct link *link, size_t size)
{
	memmove(link->out, link->out + size, link->out_size - size);
	link->out_size -= size;
}

static bool end_of_message(struct link *link)
{
	struct exchanger *host = link->host;

	if (host->resets_after_dot) {
		link_fail(link, STREAM_FAILED_TCP, TCP_RESET);
		return false;
	}
	if (!host->dot_reply)
		accept_message(link);
	return say(link, host->dot_reply ? host->dot_reply : "250 2.0.0 queued");
}

/** Take one command or one message from what the client said. @return true when something moved */
static bool serve(struct link *link)
{
	char line[2048];
	char *end;
	size_t size;

	if (link->out_size == 0)
		return false;
	if (link->bdat_left > 0) {
		size = link->bdat_left < link->out_size ? link->bdat_left : link->out_size;
		consume(link, size);
		link->bdat_left -= size;
		if (link->bdat_left == 0)
			end_of_message(link);
		return true;
	}
	if (link->in_data) {
		end = memmem(link->out, link->out_size, "\r\n.\r\n", 5);
		if (!end)
			return false;
		consume(link, (size_t)(end - link->out) + 5);
		link->in_data = false;
		end_of_message(link);
		return true;
	}
	end = memchr(link->out, '\n', link->out_size);
	if (!end)
		return false;
	size = (size_t)(end - link->out) + 1;
	assert_true(size >= 2 && size < sizeof(line) && end[-1] == '\r');
	memcpy(line, link->out, size - 2);
	line[size - 2] = '\0';
	link->host->pipelined += link->out_size > size && strncmp(line, "MAIL", 4) == 0;
	consume(link, size);
	on_line(link, line);
	return true;
}

static bool link_step(struct link *link)
{
	struct exchanger *host = link->host;

	if (link->state == LINK_SYN) {
		if (host->silent)
			return false;
		if (host->refuses) {
			link_fail(link, STREAM_FAILED_TCP, TCP_REFUSED);
			return true;
		}
		link->state = LINK_UP;
		if (++host->open > host->most_open)
			host->most_open = host->open;
		CALL(link, stream->callbacks->on_connected(stream->user));
		return true;
	}
	if (link->state != LINK_UP)
		return false;
	if (!link->greeted) {
		link->greeted = true;
		say(link, host->greeting ? host->greeting : "220 mx");
		return true;
	}
	if (link->mail_due) {
		if (host->hangs && !link->closing)
			return false;
		link->mail_due = false;
		say(link, "250 ok");
		return true;
	}
	if (link->starts_tls) {
		static const struct tls_information information = {
			.version = "TLSv1.3", .cipher = "TLS_AES_128_GCM_SHA256"};

		link->starts_tls = false;
		if (host->breaks_tls) {
			link_fail(link, STREAM_FAILED_TLS, TCP_CLOSED);
			return true;
		}
		host->tls++;
		link->tls = true;
		CALL(link, stream->callbacks->on_tls(stream->user, &information));
		return true;
	}
	if (link->wants_room && !link->closing) {
		link->wants_room = false;
		CALL(link, stream->callbacks->on_write_room(stream->user, 4096));
		return true;
	}
	if (serve(link))
		return true;
	if (link->closing && link->state == LINK_UP) {
		link->in_order = true;
		link_end(link);
		return true;
	}
	return false;
}

void world_say(struct world *world, unsigned host, const char *octets)
{
	for (unsigned i = 0; i < WORLD_LINKS; i++) {
		struct link *link = &links()[i];

		if (link->state == LINK_UP && link->host == &world->hosts[host])
			CALL(link, stream->callbacks->on_receive(
					   stream->user, (const uint8_t *)octets, strlen(octets)));
	}
}

/* ---- The shard ---- */

static void free_delivery(struct delivery *delivery)
{
	for (uint32_t i = 0; i < delivery->recipient_count; i++)
		free((char *)delivery->recipients[i].address);
	for (unsigned i = 0; i < delivery->route->host_count; i++)
		free((char *)delivery->route->hosts[i].name);
	free((struct route *)delivery->route);
	free((struct chunk *)delivery->body);
	memset(delivery, 0xdd, sizeof(*delivery));
	free(delivery);
}

static void keep_result(struct world *world, struct delivery *delivery)
{
	struct result *result = &world->results[world->result_count++];

	assert_true(world->result_count < WORLD_RESULTS);
	for (unsigned i = 0; i + 1 < world->result_count; i++)
		assert_true(world->results[i].cookie != delivery->cookie);
	*result = (struct result){
		.cookie = delivery->cookie,
		.recipient_count = delivery->recipient_count,
		.slot_closed = delivery->slot_closed,
		.tls = delivery->tls,
		.reused = delivery->reused,
		.possible_duplicate = delivery->possible_duplicate,
		.hosts_tried = delivery->hosts_tried,
		.host = delivery->host ? delivery->host->address.bytes[15] : -1,
		.session = delivery->session,
		.connect_us = delivery->connect_us,
		.tls_us = delivery->tls_us,
		.transaction_us = delivery->transaction_us,
	};
	memcpy(result->reply, delivery->recipients[0].reply, REPLY_TEXT);
	for (uint32_t i = 0; i < delivery->recipient_count; i++) {
		assert_true(delivery->recipients[i].outcome != OUTCOME_NONE);
		result->outcome[i] = delivery->recipients[i].outcome;
		result->phase[i] = delivery->recipients[i].phase;
		result->code[i] = delivery->recipients[i].code;
		result->enhanced[i] = delivery->recipients[i].enhanced;
	}
	world->slots_back += delivery->slot_closed;
	assert_true(world->lent > 0);
	world->lent--;
	free_delivery(delivery);
}

static bool report(void *context, const struct record *record)
{
	struct world *world = context;

	if (world->ring_full)
		return false;
	if (record->kind == RECORD_OUTCOME) {
		keep_result(world, record->delivery);
	} else {
		assert_int_equal(record->kind, RECORD_SLOT_CLOSED);
		assert_true(record->slot.count > 0);
		world->slots_back += record->slot.count;
	}
	assert_true(world->slots_back <= world->slots_granted);
	return true;
}

static struct route *make_route(struct world *world, uint32_t path)
{
	struct route *route = calloc(1, sizeof(*route));

	assert_non_null(route);
	route->path = path;
	route->generation = world->generation;
	route->site = "example.org";
	route->source = "source";
	route->ehlo_name = "out.example.net";
	route->has_v4 = world->has_v4;
	route->has_v6 = world->has_v6;
	route->source_v4 = world->source_v4;
	route->source_v6 = world->source_v6;
	route->settings = world->settings;
	route->host_count = world->host_count;
	for (unsigned i = 0; i < world->host_count; i++) {
		char name[32];

		snprintf(name, sizeof(name), "mx%u.example.org", i);
		route->hosts[i] = (struct route_host){
			.name = strdup(name), .port = 25, .preference = (uint16_t)i};
		route->hosts[i].address = ip_from_v4(0xc0000200u + i);
		if (world->hosts_are_v6) {
			ip_parse("2001:db8::", &route->hosts[i].address);
			route->hosts[i].address.bytes[15] = (uint8_t)i;
		}
	}
	return route;
}

uint64_t world_deliver(struct world *world, uint32_t path, bool may_open)
{
	static const char body[] = "Subject: x\r\n\r\n.hello\r\n";
	struct chunk *chunk = calloc(1, sizeof(*chunk));
	struct delivery *delivery = calloc(
		1, sizeof(*delivery) + world->recipients * sizeof(struct delivery_recipient));

	assert_true(chunk && delivery);
	memcpy(chunk->data, body, sizeof(body) - 1);
	chunk->length = sizeof(body) - 1;
	memset(delivery, 0xee, sizeof(*delivery));
	*delivery = (struct delivery){
		.cookie = ++world->cookie,
		.route = make_route(world, path),
		.may_open = may_open,
		.mail_from = "sender@example.com",
		.body = chunk,
		.body_size = chunk->length,
		.recipient_count = world->recipients,
	};
	for (uint32_t i = 0; i < world->recipients; i++) {
		char address[64];

		snprintf(address, sizeof(address), "a%u@example.org", i);
		delivery->recipients[i].address = strdup(address);
	}
	world->lent++;
	world->slots_granted += may_open;
	path_table_deliver(world->table, delivery, &world->now);
	return world->cookie;
}

/* ---- The world ---- */

struct world *world_make(uint32_t sessions, uint32_t paths)
{
	static int context;
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	world->links = calloc(WORLD_LINKS, sizeof(struct link));
	assert_non_null(world->links);
	the_world = world;
	world->now.mono_us = 1000 * US_PER_S;
	world->settings = (struct path_settings){
		.tls = TLS_LEVEL_MAY,
		.connections_max = 10,
		.messages_per_connection = 100,
		.recipients_per_message = 100,
		.idle_timeout_us = 10 * US_PER_S,
		.reuse_time_max_us = 300 * US_PER_S,
		.connect_timeout_us = 30 * US_PER_S,
		.greeting_timeout_us = 300 * US_PER_S,
		.command_timeout_us = 300 * US_PER_S,
		.data_init_timeout_us = 120 * US_PER_S,
		.data_block_timeout_us = 180 * US_PER_S,
		.data_done_timeout_us = 600 * US_PER_S,
		.tls_handshake_timeout_us = 60 * US_PER_S,
		.use_pipelining = true,
		.use_chunking = true,
	};
	world->has_v4 = true;
	world->source_v4 = ip_from_v4(0xc6336401u);
	ip_parse("2001:db8:1::1", &world->source_v6);
	world->host_count = 1;
	world->recipients = 1;
	/* Never looked into: stream_start_tls is ours. */
	world->view.client_contexts[3] = (struct tls_context *)&context;
	const struct path_table_settings settings = {
		.worker = 3,
		.sessions = sessions,
		.paths = paths,
		.report = report,
		.context = world,
	};
	world->table = path_table_create(&settings);
	assert_non_null(world->table);
	path_table_configure(world->table, &world->view, &world->now);
	return world;
}

void world_run(struct world *world)
{
	bool moved = true;

	for (unsigned turn = 0; moved; turn++) {
		assert_true(turn < 100000);
		moved = false;
		path_table_begin_turn(world->table, &world->now);
		for (unsigned i = 0; i < WORLD_LINKS; i++)
			if (links()[i].state != LINK_FREE)
				moved |= link_step(&links()[i]);
		path_table_turn(world->table, &world->now);
		moved |= !world->ring_full &&
			 path_table_next_deadline(world->table) <= world->now.mono_us;
	}
}

void world_pass(struct world *world, uint64_t us)
{
	uint64_t end_us = world->now.mono_us + us;

	world_run(world);
	while (world->now.mono_us < end_us) {
		uint64_t next_us = path_table_next_deadline(world->table);

		world->now.mono_us = next_us < end_us ? next_us : end_us;
		if (next_us <= world->now.mono_us && world->ring_full)
			world->now.mono_us = end_us;
		world_run(world);
	}
}

const struct result *world_result(const struct world *world, uint64_t cookie)
{
	for (unsigned i = 0; i < world->result_count; i++)
		if (world->results[i].cookie == cookie)
			return &world->results[i];
	print_error("no result for delivery %llu\n", (unsigned long long)cookie);
	fail();
	return NULL;
}

void assert_delivered(const struct world *world, uint64_t cookie, int host)
{
	const struct result *result = world_result(world, cookie);

	if (result->outcome[0] != OUTCOME_DELIVERED)
		print_error("not delivered: %s, %u %s\n", smtp_phase_name(result->phase[0]),
			    result->code[0], result->reply);
	assert_int_equal(result->outcome[0], OUTCOME_DELIVERED);
	assert_int_equal(result->host, host);
}

unsigned world_open(const struct world *world)
{
	unsigned open = 0;

	for (unsigned i = 0; i < WORLD_HOSTS; i++)
		open += world->hosts[i].open;
	return open;
}

void world_free(struct world *world)
{
	world->ring_full = false;
	path_table_drain(world->table, &world->now);
	world_pass(world, 24 * 3600 * US_PER_S);
	assert_int_equal(path_table_sessions(world->table), 0);
	assert_int_equal(path_table_deliveries(world->table), 0);
	assert_int_equal(world->lent, 0);
	assert_int_equal(world->slots_granted, world->slots_back);
	assert_int_equal(world->view.references[3].held, 0);
	assert_int_equal(world_open(world), 0);
	path_table_destroy(world->table);
	free(world->links);
	free(world);
	the_world = NULL;
}

void assert_result(const struct world *world, uint64_t cookie, enum outcome outcome,
		   enum smtp_phase phase, unsigned code, unsigned class, unsigned subject,
		   unsigned detail)
{
	const struct result *result = world_result(world, cookie);

	if (result->outcome[0] != outcome || result->phase[0] != phase || result->code[0] != code)
		print_error("outcome %u, phase %s, %u %u.%u.%u %s\n", result->outcome[0],
			    smtp_phase_name(result->phase[0]), result->code[0],
			    result->enhanced[0].class, result->enhanced[0].subject,
			    result->enhanced[0].detail, result->reply);
	assert_int_equal(result->outcome[0], outcome);
	assert_int_equal(result->phase[0], phase);
	assert_int_equal(result->code[0], code);
	assert_int_equal(result->enhanced[0].class, class);
	assert_int_equal(result->enhanced[0].subject, subject);
	assert_int_equal(result->enhanced[0].detail, detail);
}
