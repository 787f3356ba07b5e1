/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A whole session with the server engine. The first octet chooses the listener; then text, in which
 * FE and an octet are an event: the segment ends here, and time passes, an answer comes, the
 * handshake ends, the peer reads or leaves.
 */
#include "dataplane/envelope.h"
#include "dataplane/smtp/server_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL_CHUNKS 48
#define EVENT	    0xfe

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}
#define MUST(condition) must(condition, #condition)

struct world {
	struct chunk_pool *pool;
	struct server_environment environment;
	struct server_engine engine;
	struct mr_now now;
	size_t unacknowledged;
	unsigned queued_replies; /**< "250 2.0.0 OK queued" */
	unsigned commits_done;
	bool closed;
	bool commit_pending;
	bool auth_pending;
	bool tls;
	struct message_id id;
	char user[256];
	uint8_t *waiting;
	size_t waiting_size;
};

static void op_write(void *context, const void *data, size_t size)
{
	struct world *w = context;
	const char *text = data;

	MUST(!w->closed && size >= 2);
	MUST(text[size - 2] == '\r' && text[size - 1] == '\n');
	for (size_t i = 0; i < size; i++)
		MUST((text[i] >= ' ' && text[i] < 0x7f) || text[i] == '\r' || text[i] == '\n');
	if (size > 19 && memcmp(text, "250 2.0.0 OK queued", 19) == 0)
		w->queued_replies++;
	w->unacknowledged += size;
}

static size_t op_unacknowledged(void *context)
{
	return ((struct world *)context)->unacknowledged;
}

static int op_start_tls(void *context)
{
	struct world *w = context;

	MUST(!w->tls);
	return 0;
}

static void check_body(const struct chunk_list *body)
{
	struct chunk_cursor cursor = chunk_list_begin(body);
	const uint8_t *data;
	uint8_t last = '\n';
	uint64_t total = 0;
	size_t size;

	while ((size = chunk_cursor_span(&cursor, &data)) > 0) {
		for (size_t i = 0; i < size; i++) {
			MUST(data[i] != '\0');
			MUST((data[i] == '\n') == (last == '\r') ||
			     (last != '\r' && data[i] != '\n'));
			last = data[i];
		}
		total += size;
		chunk_cursor_advance(&cursor, size);
	}
	MUST(last == '\n' && total == body->size);
	for (const struct chunk *chunk = body->head; chunk; chunk = chunk->next)
		MUST(chunk->length > 0);
}

static void check_envelope(const struct submission *submission)
{
	uint8_t *octets = malloc(submission->envelope.size);
	struct chunk_cursor cursor = chunk_list_begin(&submission->envelope);
	struct envelope_reader reader = {octets, octets + submission->envelope.size};
	struct envelope_value value;
	unsigned recipients = 0;
	int more;

	MUST(chunk_cursor_read(&cursor, octets, submission->envelope.size) ==
	     submission->envelope.size);
	while ((more = envelope_next(&reader, &value)) == 1) {
		recipients += value.field == ENVELOPE_RECIPIENT;
		MUST(value.field != ENVELOPE_RECIPIENT ||
		     (value.size > 0 && value.size <= SMTP_PATH_MAX));
	}
	MUST(more == 0 && recipients == submission->recipients && recipients > 0);
	free(octets);
}

static void op_submit(void *context, struct submission *submission)
{
	struct world *w = context;

	MUST(!w->commit_pending && !w->closed);
	check_body(&submission->body);
	check_envelope(submission);
	w->commit_pending = true;
	w->id = submission->id;
	chunk_list_free(&submission->envelope, w->pool);
	chunk_list_free(&submission->body, w->pool);
	chunk_free(w->pool, submission->self);
}

static void op_authenticate(void *context, struct auth_request *request)
{
	struct world *w = context;
	struct chunk *self = request->self;

	MUST(!w->auth_pending && w->tls);
	MUST(request->user[0] && request->password[0]);
	w->auth_pending = true;
	memcpy(w->user, request->user, sizeof(w->user));
	chunk_free(w->pool, self);
}

static void op_close(void *context)
{
	struct world *w = context;

	MUST(!w->closed);
	w->closed = true;
}

static const struct server_operations operations = {
	.write = op_write,
	.unacknowledged = op_unacknowledged,
	.start_tls = op_start_tls,
	.submit = op_submit,
	.authenticate = op_authenticate,
	.close = op_close,
};

static void offer(struct world *w)
{
	while (w->waiting_size > 0) {
		/* An exact copy, so that a read past its end is seen. */
		uint8_t *piece = malloc(w->waiting_size);
		size_t taken;

		memcpy(piece, w->waiting, w->waiting_size);
		taken = server_engine_input(&w->engine, piece, w->waiting_size, &w->now);
		free(piece);
		MUST(taken <= w->waiting_size);
		memmove(w->waiting, w->waiting + taken, w->waiting_size - taken);
		w->waiting_size -= taken;
		if (taken == 0) {
			MUST(!server_engine_is_ready(&w->engine));
			return;
		}
	}
}

static void answer_commit(struct world *w, uint32_t result)
{
	if (!w->commit_pending)
		return;
	w->commit_pending = false;
	w->commits_done += result == COMMIT_DONE;
	server_engine_committed(&w->engine, result, &w->id, &w->now);
}

static void answer_auth(struct world *w, bool accepted)
{
	struct auth_request request = {.accepted = accepted};

	if (!w->auth_pending)
		return;
	w->auth_pending = false;
	memcpy(request.user, w->user, sizeof(request.user));
	server_engine_authenticated(&w->engine, &request, &w->now);
}

static void secure(struct world *w)
{
	const struct tls_information information = {.version = "TLSv1.3",
						    .cipher = "TLS_AES_128_GCM_SHA256"};

	if (w->engine.state != SERVER_HANDSHAKE)
		return;
	/* What came in clear never gets here. */
	w->waiting_size = 0;
	w->tls = true;
	server_engine_secured(&w->engine, &information, &w->now);
}

static void event(struct world *w, uint8_t which)
{
	switch (which % 12) {
	case 0:
		w->now.mono_us += 400 * US_PER_S;
		server_engine_timer(&w->engine, &w->now);
		break;
	case 1:
		w->now.mono_us += 2 * US_PER_S;
		server_engine_timer(&w->engine, &w->now);
		break;
	case 2:
	case 3:
		answer_commit(w, COMMIT_DONE);
		break;
	case 4:
		answer_commit(w, which / 12 % 4);
		break;
	case 5:
		answer_auth(w, true);
		break;
	case 6:
		answer_auth(w, false);
		break;
	case 7:
		secure(w);
		break;
	case 8:
	case 9:
		w->unacknowledged = 0;
		server_engine_unstall(&w->engine);
		break;
	case 10:
		server_engine_ended(&w->engine, which & 16, &w->now);
		break;
	default:
		w->environment.draining = true;
		server_engine_drain(&w->engine, &w->now);
	}
	offer(w);
}

static void configure(struct view_listener *listener, uint8_t choice, const struct ip_prefix *all)
{
	*listener = (struct view_listener){
		.name = "in",
		.tls = choice & 1   ? LISTENER_TLS_STARTTLS
		       : choice & 2 ? LISTENER_TLS_IMPLICIT
				    : LISTENER_TLS_NONE,
		.require_tls = (choice & 0x44) == 0x44,
		.allow_auth = true,
		.require_auth = (choice & 0x88) == 0x88,
		.accept_long_lines = choice & 4,
		.line_endings = choice & 8 ? LINE_ENDINGS_NORMALIZE : LINE_ENDINGS_REJECT,
		.add_missing_headers = choice & 16,
		.relay_network_count = choice & 32 ? 0 : 1,
		.relay_networks = all,
		.trusted_header_count = 1,
		.trusted_header_networks = all,
		.limits =
			{
				.messages_per_session = 20,
				.recipients = 12,
				.message_size = 40000,
				.errors = 20,
				.junk_commands = 30,
				.hops = 5,
				.header_size = 4000,
				.command_timeout_us = 300 * US_PER_S,
				.data_timeout_us = 300 * US_PER_S,
				.minimum_rate = choice & 64 ? 0 : 500,
				.tls_handshake_timeout_us = 30 * US_PER_S,
			},
	};
	listener->tls_contexts[1] = (struct tls_context *)listener;
}

static void begin(struct world *w, struct view *view, const struct ip_address *peer)
{
	const struct server_engine_settings settings = {.environment = &w->environment,
							.context = w,
							.view = view,
							.listener = view->listeners,
							.peer = peer};

	server_engine_init(&w->engine, &settings);
	server_engine_start(&w->engine, REPLY_OK, &w->now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct chunk_pool *pool;
	static struct view view = {.hostname = "mx.example.org", .listener_count = 1};
	static struct view_listener listener;
	static const struct ip_prefix all;
	struct ip_address peer = ip_from_v4(0xc0000201);
	struct world w = {.now = {US_PER_S, US_PER_S}};

	if (!pool)
		pool = chunk_pool_create(1, POOL_CHUNKS);
	if (size < 1 || size > 1 << 18)
		return 0;
	configure(&listener, data[0], &all);
	view.listeners = &listener;
	w.pool = pool;
	w.waiting = malloc(size);
	w.environment = (struct server_environment){
		.worker = 1, .chunks = pool, .chunk_reserve = 4, .operations = &operations};
	begin(&w, &view, &peer);
	for (size_t at = 1; at < size;) {
		const uint8_t *next = memchr(data + at, EVENT, size - at);
		size_t end = next ? (size_t)(next - data) : size;

		memcpy(w.waiting + w.waiting_size, data + at, end - at);
		w.waiting_size += end - at;
		offer(&w);
		at = end + 2;
		if (next && end + 1 < size)
			event(&w, data[end + 1]);
		MUST(w.queued_replies <= w.commits_done);
	}
	server_engine_release(&w.engine);
	MUST(chunk_pool_available(pool) == POOL_CHUNKS);
	free(w.waiting);
	return 0;
}
