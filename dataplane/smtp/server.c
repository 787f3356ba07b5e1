/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The table of inbound sessions: sessions on streams, deadlines on a wheel, records to and from the
 * shard. The dialogue itself is server_engine.c, listeners are server_listen.c.
 *
 * Owner: one worker. Memory: the tables are made at creation.
 */
#include "dataplane/smtp/server_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** After our FIN the peer has this long for what is in flight and its own. */
#define LINGER_US	(30 * US_PER_S)
#define TIMERS_PER_TURN 256

void server_set_now(struct smtp_server *server, const struct mr_now *now)
{
	server->last_now = *now;
}

/* ---- Records to the shard ---- */

static bool send_record(struct smtp_server *server, struct chunk *self, uint32_t kind)
{
	struct record record = {.kind = kind};

	if (kind == RECORD_COMMIT)
		record.submission = (struct submission *)(void *)self->data;
	else
		record.auth = (struct auth_request *)(void *)self->data;
	return server->settings.submit(server->settings.context, &record);
}

static void retry_records(struct smtp_server *server)
{
	struct chunk_list *waiting = &server->waiting;

	while (waiting->head) {
		struct chunk *self = waiting->head, *next = self->next;

		self->next = NULL;
		if (!send_record(server, self, self->mark)) {
			self->next = next;
			return;
		}
		waiting->head = next;
		waiting->chunks--;
		if (!next)
			waiting->tail = NULL;
	}
}

/** Back-pressure: what the ring has no room for waits its turn, also when its session is gone
 * meanwhile (S23). */
static void hand_over(struct smtp_server *server, struct chunk *self, uint32_t kind)
{
	if (!server->waiting.head && send_record(server, self, kind))
		return;
	self->mark = kind;
	chunk_list_push(&server->waiting, self);
}

/* ---- What the engine asks for ---- */

static void engine_write(void *context, const void *data, size_t size)
{
	struct server_session *session = context;

	/* A stream that fails says so by on_closed. */
	(void)stream_write(&session->stream, data, size);
}

static size_t engine_unacknowledged(void *context)
{
	struct server_session *session = context;

	return stream_unacknowledged(&session->stream);
}

struct tls_context *server_tls_context(const struct server_session *session)
{
	return session->engine.listener->tls_contexts[session->server->settings.worker];
}

static int engine_start_tls(void *context)
{
	struct server_session *session = context;

	return stream_start_tls(&session->stream, server_tls_context(session), NULL);
}

static void engine_submit(void *context, struct submission *submission)
{
	struct server_session *session = context;

	hand_over(session->server, submission->self, RECORD_COMMIT);
}

static void engine_authenticate(void *context, struct auth_request *request)
{
	struct server_session *session = context;

	hand_over(session->server, request->self, RECORD_AUTH);
}

static void engine_close(void *context)
{
	struct server_session *session = context;

	session->close_wanted = true;
}

static const struct server_operations operations = {
	.write = engine_write,
	.unacknowledged = engine_unacknowledged,
	.start_tls = engine_start_tls,
	.submit = engine_submit,
	.authenticate = engine_authenticate,
	.close = engine_close,
};

/* ---- After the engine ran ---- */

uint32_t server_session_index(const struct server_session *session)
{
	return (uint32_t)(session - session->server->sessions);
}

static uint64_t deadline_of(const struct server_session *session)
{
	return session->closing ? session->linger_until_us : session->engine.deadline_us;
}

/** A deadline that moved to later waits for the timer, which looks again (wheel.h). */
void server_session_arm(struct server_session *session)
{
	uint64_t deadline = deadline_of(session);

	if (deadline >= session->armed_us)
		return;
	session->armed_us = deadline;
	wheel_arm(session->server->wheel, server_session_index(session), deadline);
}

/** Inside or outside of a callback. The session may be gone afterwards. */
static void settle(struct server_session *session)
{
	if (session->close_wanted && !session->closing) {
		session->closing = true;
		session->linger_until_us = session->server->now->mono_us + LINGER_US;
		server_session_arm(session);
		stream_close(&session->stream);
		return;
	}
	if (session->engine.stalled)
		stream_want_write(&session->stream);
	server_session_arm(session);
}

/** Outside of the stream's callbacks: send, and offer what was left. The session may be gone
 * afterwards. */
static void go_on(struct server_session *session)
{
	if (session->close_wanted && !session->closing) {
		settle(session);
		return;
	}
	settle(session);
	if (session->closing)
		return;
	stream_flush(&session->stream);
	if (!session->left || !server_engine_is_ready(&session->engine))
		return;
	session->left = false;
	stream_resume(&session->stream);
}

/* ---- What the stream says ---- */

static size_t on_receive(void *user, const uint8_t *data, size_t size)
{
	struct server_session *session = user;
	size_t taken = server_engine_input(&session->engine, data, size, session->server->now);

	session->left = taken < size;
	settle(session);
	return taken;
}

static void on_tls(void *user, const struct tls_information *information)
{
	struct server_session *session = user;

	server_engine_secured(&session->engine, information, session->server->now);
	settle(session);
}

static void on_end(void *user, bool truncated)
{
	struct server_session *session = user;

	server_engine_ended(&session->engine, truncated, session->server->now);
	settle(session);
}

static void on_write_room(void *user, size_t room)
{
	struct server_session *session = user;

	(void)room;
	if (!session->engine.stalled)
		return;
	server_engine_unstall(&session->engine);
	if (!session->left)
		return;
	session->left = false;
	stream_resume(&session->stream);
}

void server_session_free(struct server_session *session)
{
	struct smtp_server *server = session->server;

	server_engine_release(&session->engine);
	wheel_cancel(server->wheel, server_session_index(session));
	session->view->references[server->settings.worker].held--;
	session->view = NULL;
	session->generation++;
	if (session->counted) {
		server->counted--;
		session->listener->sessions--;
		client_counts_remove(server->clients, &session->endpoints.remote);
	}
	session->next_free = server->free;
	server->free = server_session_index(session) + 1;
	server->open--;
}

static void on_closed(void *user, bool in_order, enum stream_failure failure,
		      enum tcp_close_reason reason)
{
	struct server_session *session = user;
	struct smtp_server_counters *counters = &session->server->environment.counters;

	(void)reason;
	if (!in_order && failure == STREAM_FAILED_INJECTION)
		counters->tls_injection++;
	else if (session->engine.state == SERVER_HANDSHAKE)
		counters->sessions_tls_failed++;
	server_session_free(session);
}

const struct stream_callbacks server_stream_callbacks = {
	.on_receive = on_receive,
	.on_tls = on_tls,
	.on_end = on_end,
	.on_write_room = on_write_room,
	.on_closed = on_closed,
};

struct server_session *server_session_take(struct smtp_server *server)
{
	struct server_session *session;

	if (server->free == 0)
		return NULL;
	session = &server->sessions[server->free - 1];
	server->free = session->next_free;
	server->open++;
	return session;
}

/* ---- Answers, time ---- */

static struct server_session *find_session(struct smtp_server *server, uint32_t index,
					   uint32_t generation)
{
	struct server_session *session = index < server->slots ? &server->sessions[index] : NULL;

	return session && session->view && session->generation == generation ? session : NULL;
}

static void answer_commit(struct smtp_server *server, const struct record *record)
{
	struct server_session *session = find_session(server, record->committed.session,
						      record->committed.session_generation);

	if (!session || session->engine.state != SERVER_COMMIT) {
		if (record->committed.result == COMMIT_DONE)
			server->environment.counters.messages_lost_session++;
		return;
	}
	server_engine_committed(&session->engine, record->committed.result, &record->committed.id,
				server->now);
	go_on(session);
}

static void answer_auth(struct smtp_server *server, struct auth_request *request)
{
	struct server_session *session =
		find_session(server, request->session, request->session_generation);
	struct chunk *self = request->self;

	if (session)
		server_engine_authenticated(&session->engine, request, server->now);
	explicit_bzero(self->data, sizeof(*request));
	chunk_free(server->settings.chunks, self);
	if (session)
		go_on(session);
}

void smtp_server_answer(struct smtp_server *server, const struct record *record,
			const struct mr_now *now)
{
	server_set_now(server, now);
	if (record->kind == RECORD_COMMITTED)
		answer_commit(server, record);
	else if (record->kind == RECORD_AUTH_ANSWER)
		answer_auth(server, record->auth);
}

static void fire(void *context, uint32_t index)
{
	struct smtp_server *server = context;
	struct server_session *session = &server->sessions[index];

	session->armed_us = MR_NEVER;
	if (session->closing && server->now->mono_us >= session->linger_until_us) {
		stream_abort(&session->stream);
		return;
	}
	if (!session->closing)
		server_engine_timer(&session->engine, server->now);
	go_on(session);
}

void smtp_server_turn(struct smtp_server *server, const struct mr_now *now)
{
	server_set_now(server, now);
	if (server->waiting.head)
		retry_records(server);
	if (server->wheel)
		wheel_expire(server->wheel, now->mono_us, TIMERS_PER_TURN, fire, server);
}

uint64_t smtp_server_next_deadline(const struct smtp_server *server)
{
	if (server->waiting.head)
		return server->now->mono_us;
	return server->wheel ? wheel_next(server->wheel) : MR_NEVER;
}

void smtp_server_drain(struct smtp_server *server, const struct mr_now *now)
{
	server_set_now(server, now);
	server->environment.draining = true;
	for (uint32_t i = 0; i < server->slots; i++) {
		struct server_session *session = &server->sessions[i];

		if (!session->view || session->closing)
			continue;
		server_engine_drain(&session->engine, now);
		go_on(session);
	}
}

void smtp_server_set_refusal(struct smtp_server *server, uint32_t commit_result)
{
	server->environment.refusal = commit_result;
}

/* ---- What is shown ---- */

uint32_t smtp_server_sessions(const struct smtp_server *server)
{
	return server->open + server->waiting.chunks;
}

const struct smtp_server_counters *smtp_server_counters(const struct smtp_server *server)
{
	return &server->environment.counters;
}

static void describe(const struct server_session *session, struct session_entry *out)
{
	const struct server_engine *engine = &session->engine;

	*out = (struct session_entry){
		.session = engine->session,
		.inbound = true,
		.tls = engine->tls,
		.endpoints = session->endpoints,
		.since_us = session->opened_us,
		.messages = engine->messages,
		.bytes = engine->bytes,
	};
	tcp_measure(session->stream.stack, session->stream.last, &out->measure);
	snprintf(out->state, sizeof(out->state), "%s", server_state_name(engine));
	snprintf(out->name, sizeof(out->name), "%s", engine->listener->name);
	snprintf(out->peer_name, sizeof(out->peer_name), "%.*s", (int)sizeof(out->peer_name) - 1,
		 engine->helo);
	snprintf(out->tls_text, sizeof(out->tls_text), "%s", engine->tls_text);
}

unsigned smtp_server_list(const struct smtp_server *server, struct session_entry *out, unsigned max)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < server->slots && count < max; i++)
		if (server->sessions[i].view)
			describe(&server->sessions[i], &out[count++]);
	return count;
}

/* ---- Life ---- */

struct smtp_server *smtp_server_create(const struct smtp_server_settings *settings)
{
	struct smtp_server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->settings = *settings;
	server->now = settings->now ? settings->now : &server->last_now;
	server->slots = settings->sessions + SERVER_SPARE_SESSIONS;
	server->environment = (struct server_environment){
		.worker = settings->worker,
		.chunks = settings->chunks,
		.chunk_reserve = settings->chunk_reserve,
		.id_origin = settings->id_origin,
		.key = {random_u64(settings->random), random_u64(settings->random)},
		.operations = &operations,
	};
	server->clients = client_counts_create(server->slots, &server->environment.key);
	server->sessions = calloc(server->slots, sizeof(struct server_session));
	if (!server->clients || !server->sessions) {
		smtp_server_destroy(server);
		return NULL;
	}
	for (uint32_t i = server->slots; i-- > 0;) {
		server->sessions[i].server = server;
		server->sessions[i].next_free = server->free;
		server->free = i + 1;
	}
	return server;
}

void smtp_server_destroy(struct smtp_server *server)
{
	if (!server)
		return;
	for (uint32_t i = 0; server->sessions && i < server->slots; i++)
		if (server->sessions[i].view)
			stream_abort(&server->sessions[i].stream);
	wheel_destroy(server->wheel);
	client_counts_destroy(server->clients);
	free(server->sessions);
	free(server);
}
