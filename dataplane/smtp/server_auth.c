/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * AUTH PLAIN (RFC 4616) and AUTH LOGIN, under TLS only (RFC 4954, 4). The password goes to the
 * shard in a chunk of ours and is wiped wherever it was.
 */
#include "dataplane/smtp/base64.h"
#include "dataplane/smtp/server_private.h"
#include "dataplane/smtp/utf8.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

_Static_assert(sizeof(struct auth_request) <= CHUNK_DATA, "a request lives in a chunk");

/** PLAIN: three fields of at most 255 octets and two NULs. */
#define CREDENTIALS_MAX 800

void server_auth_abandon(struct server_engine *engine)
{
	struct auth_request *request = engine->auth;

	engine->auth = NULL;
	if (!request)
		return;
	struct chunk *self = request->self;

	explicit_bzero(self->data, CHUNK_DATA);
	chunk_free(engine->environment->chunks, self);
}

/** Say what is wrong and wait for the next command. */
static void refuse(struct server_engine *engine, enum server_reply reply)
{
	server_auth_abandon(engine);
	engine->mechanism = AUTH_NONE;
	engine->state = SERVER_COMMAND;
	server_reply(engine, reply);
	server_expect_command(engine);
}

static void ask(struct server_engine *engine, enum auth_mechanism mechanism,
		enum server_reply reply)
{
	engine->mechanism = (uint8_t)mechanism;
	engine->state = SERVER_RESPONSE;
	engine->deadline_us = engine->now->mono_us + engine->listener->limits.command_timeout_us;
	server_reply(engine, reply);
}

static void submit(struct server_engine *engine)
{
	struct auth_request *request = engine->auth;

	request->session = engine->slot;
	request->session_generation = engine->generation;
	snprintf(request->listener, sizeof(request->listener), "%s", engine->listener->name);
	engine->auth = NULL;
	engine->mechanism = AUTH_NONE;
	engine->state = SERVER_AUTHENTICATING;
	engine->deadline_us = MR_NEVER;
	engine->environment->operations->authenticate(engine->context, request);
}

/** A name or a password: text, not empty, fits. @return false: it does not do */
static bool put_text(char *to, size_t room, const uint8_t *from, size_t size)
{
	if (size == 0 || size >= room || memchr(from, '\0', size) || !utf8_is_valid(from, size))
		return false;
	memcpy(to, from, size);
	to[size] = '\0';
	return true;
}

/** RFC 4616: [authzid] NUL authcid NUL passwd; acting for somebody else is not offered. */
static bool read_plain(struct auth_request *request, const uint8_t *data, size_t size)
{
	const uint8_t *user = memchr(data, '\0', size);
	const uint8_t *password =
		user ? memchr(user + 1, '\0', size - (size_t)(user + 1 - data)) : NULL;
	size_t authorization, user_size;

	if (!password)
		return false;
	authorization = (size_t)(user - data);
	user++;
	user_size = (size_t)(password - user);
	password++;
	return (authorization == 0 ||
		(authorization == user_size && memcmp(data, user, user_size) == 0)) &&
	       put_text(request->user, sizeof(request->user), user, user_size) &&
	       put_text(request->password, sizeof(request->password), password,
			size - (size_t)(password - data));
}

/** What was decoded, by mechanism and step. @return false: malformed */
static bool take_credentials(struct server_engine *engine, const uint8_t *data, size_t size)
{
	struct auth_request *request = engine->auth;

	switch ((enum auth_mechanism)engine->mechanism) {
	case AUTH_PLAIN:
		if (!read_plain(request, data, size))
			return false;
		submit(engine);
		return true;
	case AUTH_LOGIN_USER:
		if (!put_text(request->user, sizeof(request->user), data, size))
			return false;
		ask(engine, AUTH_LOGIN_PASSWORD, REPLY_ASK_PASSWORD);
		return true;
	case AUTH_LOGIN_PASSWORD:
		if (!put_text(request->password, sizeof(request->password), data, size))
			return false;
		submit(engine);
		return true;
	default:
		return false;
	}
}

void server_auth_response(struct server_engine *engine, const char *line, size_t size)
{
	uint8_t decoded[CREDENTIALS_MAX];
	int decoded_size;

	if (size == 1 && line[0] == '*') {
		refuse(engine, REPLY_AUTH_CANCELLED);
		return;
	}
	decoded_size = base64_decode(line, size, decoded, sizeof(decoded));
	if (decoded_size < 0 || !take_credentials(engine, decoded, (size_t)decoded_size))
		refuse(engine, REPLY_AUTH_MALFORMED);
	explicit_bzero(decoded, sizeof(decoded));
}

/** @return REPLY_OK or why AUTH cannot be used now */
static enum server_reply auth_refusal(const struct server_engine *engine)
{
	if (!engine->listener->allow_auth)
		return REPLY_NOT_IMPLEMENTED;
	if (!engine->tls)
		return REPLY_AUTH_NEEDS_TLS;
	if (engine->greeted != GREETED_EHLO)
		return REPLY_NO_HELO;
	if (engine->user[0] != '\0')
		return REPLY_AUTH_TWICE;
	/* RFC 4954, 4: not during a mail transaction. */
	return engine->transaction ? REPLY_BAD_SEQUENCE : REPLY_OK;
}

static bool begin_request(struct server_engine *engine)
{
	struct server_environment *environment = engine->environment;
	struct chunk *chunk = NULL;

	/* As with half a line: many that began AUTH must not take what deliveries need. */
	if (chunk_pool_available(environment->chunks) >= environment->chunk_reserve / 4)
		chunk = chunk_alloc(environment->chunks);
	if (!chunk) {
		environment->counters.overload++;
		return false;
	}
	memset(chunk->data, 0, sizeof(struct auth_request));
	engine->auth = (struct auth_request *)(void *)chunk->data;
	engine->auth->self = chunk;
	return true;
}

void server_auth_command(struct server_engine *engine, const struct smtp_command *command)
{
	const char *space = memchr(command->argument, ' ', command->argument_size);
	size_t word = space ? (size_t)(space - command->argument) : command->argument_size;
	bool plain = word == 5 && strncasecmp(command->argument, "PLAIN", 5) == 0;
	bool login = word == 5 && strncasecmp(command->argument, "LOGIN", 5) == 0;
	enum server_reply refusal = auth_refusal(engine);

	if (refusal == REPLY_OK && word == 0)
		refusal = REPLY_SYNTAX_AUTH;
	if (refusal == REPLY_OK && !plain && !login)
		refusal = REPLY_AUTH_MECHANISM;
	if (refusal == REPLY_OK && !begin_request(engine))
		refusal = REPLY_AUTH_UNAVAILABLE;
	if (refusal != REPLY_OK) {
		server_reply(engine, refusal);
		return;
	}
	if (!space) {
		ask(engine, plain ? AUTH_PLAIN : AUTH_LOGIN_USER,
		    plain ? REPLY_ASK_RESPONSE : REPLY_ASK_USER);
		return;
	}
	engine->mechanism = plain ? AUTH_PLAIN : AUTH_LOGIN_USER;
	while (word < command->argument_size && command->argument[word] == ' ')
		word++;
	/* RFC 4954, 4: "=" is an initial response of no octets. */
	if (command->argument_size - word == 1 && command->argument[word] == '=')
		refuse(engine, REPLY_AUTH_MALFORMED);
	else
		server_auth_response(engine, command->argument + word,
				     command->argument_size - word);
}

void server_auth_refuse(struct server_engine *engine)
{
	engine->state = SERVER_COMMAND;
	server_reply(engine, REPLY_AUTH_FAILED);
	if (engine->auth_failures >= AUTH_ATTEMPTS_MAX)
		server_reply(engine, REPLY_TOO_MANY_ERRORS);
	server_expect_command(engine);
}

/** A string of the shard's, cut at our room. */
static void copy_name(char *to, size_t room, const char *from)
{
	size_t size = strnlen(from, room - 1);

	memcpy(to, from, size);
	to[size] = '\0';
}

void server_engine_authenticated(struct server_engine *engine, const struct auth_request *request,
				 const struct mr_now *now)
{
	engine->now = now;
	if (engine->state != SERVER_AUTHENTICATING)
		return;
	if (!request->accepted) {
		engine->environment->counters.auth_failed++;
		engine->auth_failures++;
		engine->state = SERVER_PENALTY;
		engine->deadline_us = now->mono_us + AUTH_PENALTY_US;
		return;
	}
	engine->environment->counters.auth_succeeded++;
	copy_name(engine->user, sizeof(engine->user), request->user);
	copy_name(engine->tenant, sizeof(engine->tenant), request->tenant);
	copy_name(engine->campaign, sizeof(engine->campaign), request->campaign);
	copy_name(engine->pool, sizeof(engine->pool), request->pool);
	server_reply(engine, REPLY_AUTHENTICATED);
	server_expect_command(engine);
}
