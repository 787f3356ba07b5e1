/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/smtp/server_private.h"
#include "dataplane/smtp/utf8.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *line;
	size_t size;
	enum server_reply_effect effect;
} replies[REPLY_COUNT] = {
#define REPLY_EFFECT_GOES_ON  REPLY_GOES_ON
#define REPLY_EFFECT_IS_ERROR REPLY_IS_ERROR
#define REPLY_EFFECT_CLOSES   REPLY_CLOSES
#define X(name, effect, text) {text "\r\n", sizeof(text "\r\n") - 1, REPLY_EFFECT_##effect},
	SERVER_REPLIES(X)
#undef X
};

const char *server_state_name(const struct server_engine *engine)
{
	static const char *const names[] = {
#define X(name, text) text,
		SERVER_STATES(X)
#undef X
	};

	return names[engine->state];
}

/* ---- Replies ---- */

void server_write(struct server_engine *engine, const char *text, size_t size)
{
	engine->unheeded += (uint32_t)size;
	engine->environment->operations->write(engine->context, text, size);
}

void server_close(struct server_engine *engine)
{
	if (engine->state == SERVER_CLOSED)
		return;
	server_reset(engine);
	engine->state = SERVER_CLOSED;
	engine->deadline_us = MR_NEVER;
	engine->environment->operations->close(engine->context);
}

static void count_error(struct server_engine *engine)
{
	engine->environment->counters.errors++;
	engine->errors++;
	if (engine->listener->limits.errors == 0 ||
	    engine->errors < engine->listener->limits.errors)
		return;
	engine->environment->counters.too_many_errors++;
	server_reply(engine, REPLY_TOO_MANY_ERRORS);
}

static void reply_line(struct server_engine *engine, enum server_reply_effect effect,
		       const char *line, size_t size)
{
	if (engine->state == SERVER_CLOSED)
		return;
	server_write(engine, line, size);
	if (effect == REPLY_CLOSES)
		server_close(engine);
	else if (effect == REPLY_IS_ERROR)
		count_error(engine);
}

void server_reply_text(struct server_engine *engine, enum server_reply_effect effect,
		       const char *text)
{
	char line[512];
	int size = snprintf(line, sizeof(line), "%s\r\n", text);

	assert(size > 0 && size < (int)sizeof(line));
	reply_line(engine, effect, line, (size_t)size);
}

void server_reply(struct server_engine *engine, enum server_reply reply)
{
	reply_line(engine, replies[reply].effect, replies[reply].line, replies[reply].size);
}

void server_greet(struct server_engine *engine)
{
	char text[300];

	snprintf(text, sizeof(text), "220 %s ESMTP Millrace", engine->view->hostname);
	server_reply_text(engine, REPLY_GOES_ON, text);
	engine->synchronize = true;
	server_expect_command(engine);
}

bool server_is_unauthorized_pipelining(struct server_engine *engine)
{
	if (!engine->follows)
		return false;
	engine->environment->counters.unauthorized_pipelining++;
	server_reply(engine, REPLY_UNAUTHORIZED_PIPELINING);
	return true;
}

/* ---- State ---- */

void server_reset(struct server_engine *engine)
{
	transaction_free(engine->transaction, engine->environment->chunks);
	engine->transaction = NULL;
}

void server_expect_command(struct server_engine *engine)
{
	if (engine->state == SERVER_CLOSED)
		return;
	if (engine->environment->draining && !engine->transaction) {
		engine->state = SERVER_COMMAND;
		server_reply(engine, REPLY_DRAINING);
		return;
	}
	engine->state = SERVER_COMMAND;
	engine->deadline_us = engine->now->mono_us + engine->listener->limits.command_timeout_us;
	/* Between two chunks of a message its time goes on: it holds memory. */
	if (engine->transaction && engine->transaction->has_data &&
	    engine->deadline_us > server_data_deadline(engine))
		engine->deadline_us = server_data_deadline(engine);
}

static void drop_line(struct server_engine *engine)
{
	if (!engine->line)
		return;
	/* It may hold a password. */
	explicit_bzero(engine->line->data, engine->line->length);
	chunk_free(engine->environment->chunks, engine->line);
	engine->line = NULL;
}

void server_engine_init(struct server_engine *engine, const struct server_engine_settings *settings)
{
	const struct view_listener *listener = settings->listener;

	memset(engine, 0, sizeof(*engine));
	engine->environment = settings->environment;
	engine->context = settings->context;
	engine->view = settings->view;
	engine->listener = listener;
	engine->peer = *settings->peer;
	engine->peer_port = settings->peer_port;
	engine->slot = settings->slot;
	engine->generation = settings->generation;
	engine->session = settings->session;
	engine->deadline_us = MR_NEVER;
	for (unsigned i = 0; i < listener->relay_network_count; i++)
		engine->may_relay |=
			ip_prefix_contains(&listener->relay_networks[i], settings->peer);
	for (unsigned i = 0; i < listener->trusted_header_count; i++)
		engine->trusted_headers |=
			ip_prefix_contains(&listener->trusted_header_networks[i], settings->peer);
}

void server_engine_start(struct server_engine *engine, enum server_reply refusal,
			 const struct mr_now *now)
{
	engine->now = now;
	engine->state = SERVER_COMMAND;
	if (refusal != REPLY_OK) {
		engine->environment->counters.sessions_refused++;
		server_reply(engine, refusal);
		return;
	}
	if (engine->listener->tls == LISTENER_TLS_IMPLICIT) {
		engine->state = SERVER_HANDSHAKE;
		engine->deadline_us =
			now->mono_us + engine->listener->limits.tls_handshake_timeout_us;
		return;
	}
	server_greet(engine);
}

void server_engine_secured(struct server_engine *engine, const struct tls_information *information,
			   const struct mr_now *now)
{
	engine->now = now;
	if (engine->state != SERVER_HANDSHAKE)
		return;
	/* RFC 3207, 4.2: the client's and our knowledge from before is void. */
	drop_line(engine);
	server_reset(engine);
	engine->greeted = GREETED_NOT;
	engine->helo[0] = '\0';
	engine->user[0] = '\0';
	engine->tls = true;
	engine->synchronize = false;
	snprintf(engine->tls_text, sizeof(engine->tls_text), "%s %s", information->version,
		 information->cipher);
	engine->environment->counters.sessions_tls++;
	if (engine->listener->tls == LISTENER_TLS_IMPLICIT)
		server_greet(engine);
	else
		server_expect_command(engine);
}

void server_engine_ended(struct server_engine *engine, bool truncated, const struct mr_now *now)
{
	engine->now = now;
	engine->peer_ended = true;
	/* Whoever only ended its sending still hears what became of its message. */
	if (engine->state == SERVER_COMMIT && !truncated)
		return;
	server_close(engine);
}

void server_engine_timer(struct server_engine *engine, const struct mr_now *now)
{
	engine->now = now;
	if (now->mono_us < engine->deadline_us || engine->state == SERVER_CLOSED)
		return;
	if (engine->state == SERVER_PENALTY) {
		server_auth_refuse(engine);
		return;
	}
	engine->environment->counters.timeouts++;
	/* No reply into a handshake. */
	if (engine->state == SERVER_HANDSHAKE)
		server_close(engine);
	else
		server_reply(engine, REPLY_TIMEOUT);
}

void server_engine_drain(struct server_engine *engine, const struct mr_now *now)
{
	engine->now = now;
	if (engine->state == SERVER_HANDSHAKE)
		server_close(engine);
	else if ((engine->state == SERVER_COMMAND || engine->state == SERVER_RESPONSE) &&
		 !engine->transaction)
		server_reply(engine, REPLY_DRAINING);
}

void server_engine_release(struct server_engine *engine)
{
	server_reset(engine);
	drop_line(engine);
	server_auth_abandon(engine);
	engine->state = SERVER_CLOSED;
	engine->deadline_us = MR_NEVER;
}

/* ---- Input ---- */

bool server_engine_is_ready(const struct server_engine *engine)
{
	switch ((enum server_state)engine->state) {
	case SERVER_HANDSHAKE:
	case SERVER_AUTHENTICATING:
	case SERVER_PENALTY:
	case SERVER_COMMIT:
		return false;
	default:
		return !engine->stalled;
	}
}

void server_engine_unstall(struct server_engine *engine)
{
	engine->stalled = false;
	engine->unheeded = 0;
}

/** A client that sends and does not read: what it asks for next waits until it has read. */
static bool is_stalled(struct server_engine *engine)
{
	if (engine->unheeded <= OUTPUT_MAX)
		return false;
	engine->stalled =
		engine->environment->operations->unacknowledged(engine->context) > OUTPUT_MAX;
	if (!engine->stalled)
		engine->unheeded = 0;
	return engine->stalled;
}

/** A whole line, without its ending. @param crlf it ended with CRLF, not with LF alone */
static void handle_line(struct server_engine *engine, const char *line, size_t size, bool crlf)
{
	if (!crlf && engine->listener->line_endings != LINE_ENDINGS_NORMALIZE)
		server_reply(engine, REPLY_BARE_LF);
	else if (memchr(line, '\0', size) || memchr(line, '\r', size))
		server_reply(engine, REPLY_BAD_CHARACTERS);
	else if (engine->state == SERVER_RESPONSE) {
		server_auth_response(engine, line, size);
		return;
	} else {
		server_command(engine, line, size);
		return;
	}
	if (engine->state == SERVER_RESPONSE)
		server_auth_abandon(engine);
	server_expect_command(engine);
}

/** The line at hand has no end within its limit: read on to its end, which gets one reply. */
static void begin_skip(struct server_engine *engine, const char *line, size_t size)
{
	bool auth = engine->state == SERVER_RESPONSE ||
		    (size >= 5 && strncasecmp(line, "AUTH ", 5) == 0);

	engine->skip_reply = auth ? REPLY_AUTH_MALFORMED : REPLY_LINE_TOO_LONG;
	engine->skipped = 0;
	if (engine->state == SERVER_RESPONSE)
		server_auth_abandon(engine);
	engine->state = SERVER_SKIP;
}

static size_t skip_line(struct server_engine *engine, const char *data, size_t size)
{
	const char *end = memchr(data, '\n', size);
	size_t taken = end ? (size_t)(end - data) + 1 : size;

	engine->skipped += taken > LINE_FLOOD ? LINE_FLOOD : (uint32_t)taken;
	if (engine->skipped > AUTH_LINE_MAX && engine->skip_reply == REPLY_AUTH_MALFORMED)
		engine->skip_reply = REPLY_AUTH_LINE_TOO_LONG;
	if (engine->skipped > LINE_FLOOD) {
		server_reply(engine, REPLY_LINE_FLOOD);
	} else if (end) {
		server_reply(engine, (enum server_reply)engine->skip_reply);
		server_expect_command(engine);
	}
	return taken;
}

/** Octets of an incomplete line join those that wait. @return false: it is too long, or there is no
 * chunk */
static bool keep_line(struct server_engine *engine, const char *data, size_t size)
{
	if (!engine->line) {
		struct server_environment *environment = engine->environment;

		/* Many clients with half a line each must not take the chunks that deliveries need;
		 * lines may go deeper into the reserve than bodies. */
		if (chunk_pool_available(environment->chunks) >= environment->chunk_reserve / 4)
			engine->line = chunk_alloc(environment->chunks);
		if (!engine->line) {
			environment->counters.overload++;
			server_reply(engine, REPLY_OVERLOAD);
			return false;
		}
	}
	if (engine->line->length + size > COMMAND_LINE_EXTENDED_MAX) {
		size_t kept = engine->line->length;

		begin_skip(engine, kept ? (char *)engine->line->data : data, kept ? kept : size);
		engine->skipped = (uint32_t)kept;
		drop_line(engine);
		return false;
	}
	memcpy(engine->line->data + engine->line->length, data, size);
	engine->line->length = (uint16_t)(engine->line->length + size);
	return true;
}

/** @param line with its LF */
static void end_line(struct server_engine *engine, const char *line, size_t size)
{
	bool crlf = size >= 2 && line[size - 2] == '\r';

	handle_line(engine, line, size - 1 - crlf, crlf);
}

static size_t take_line(struct server_engine *engine, const char *data, size_t size)
{
	const char *end = memchr(data, '\n', size);
	size_t taken = end ? (size_t)(end - data) + 1 : size;

	if (!end || engine->line || taken > COMMAND_LINE_EXTENDED_MAX) {
		if (!keep_line(engine, data, taken))
			return engine->state == SERVER_SKIP ? 0 : taken;
		if (!end)
			return taken;
	}
	engine->follows = taken < size;
	if (engine->line) {
		struct chunk *line = engine->line;

		engine->line = NULL;
		end_line(engine, (char *)line->data, line->length);
		explicit_bzero(line->data, line->length);
		chunk_free(engine->environment->chunks, line);
	} else {
		end_line(engine, data, taken);
	}
	return taken;
}

/** What comes before the peer can have seen what it must wait for was sent without waiting (RFC
 * 2920, 3.1). */
static bool comes_too_early(struct server_engine *engine)
{
	if (!engine->synchronize)
		return false;
	engine->synchronize = false;
	engine->follows = engine->environment->operations->unacknowledged(engine->context) > 0;
	return server_is_unauthorized_pipelining(engine);
}

size_t server_engine_input(struct server_engine *engine, const uint8_t *data, size_t size,
			   const struct mr_now *now)
{
	size_t done = 0;

	engine->now = now;
	if (size == 0 || engine->state == SERVER_CLOSED)
		return size;
	if (server_engine_is_ready(engine) && comes_too_early(engine))
		return size;
	while (done < size && server_engine_is_ready(engine)) {
		const char *at = (const char *)data + done;

		switch ((enum server_state)engine->state) {
		case SERVER_CLOSED:
			return size;
		case SERVER_DATA:
		case SERVER_CHUNK:
			done += server_data_input(engine, data + done, size - done);
			break;
		case SERVER_SKIP:
			done += skip_line(engine, at, size - done);
			break;
		default:
			if (is_stalled(engine))
				return done;
			done += take_line(engine, at, size - done);
		}
	}
	return engine->state == SERVER_CLOSED ? size : done;
}
