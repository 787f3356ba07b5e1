/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The table of inbound sessions: listeners on the stack, sessions on streams, deadlines on a wheel,
 * records to and from the shard. The dialogue itself is server_engine.c.
 *
 * Owner: one worker. Memory: the tables are made at creation. Streams may call back from within
 * stream_close and stream_resume, and on_closed frees the session: so engines only note that they
 * want to close, and both calls are the last thing that is done with a session.
 */
#include "dataplane/smtp/server.h"

#include "dataplane/buf/wheel.h"
#include "dataplane/smtp/client_counts.h"
#include "dataplane/smtp/server_engine.h"
#include "dataplane/smtp/stream.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTENERS_MAX 64
/** Beyond the table, sessions that only hear why they are refused. */
#define SPARE_SESSIONS 16
/** After our FIN the peer has this long for what is in flight and its own. */
#define LINGER_US	(30 * US_PER_S)
#define TIMERS_PER_TURN 256

struct listener {
	struct smtp_server *server;
	struct ip_address address;
	uint16_t tcp_port;
	bool open;
	uint32_t sessions;
	const struct view_listener
		*view_listener; /**< in the server's present view; valid while open */
};

struct session {
	struct smtp_server *server;
	struct view *view; /**< NULL: the slot is free */
	struct listener *listener;
	struct stream stream;
	struct server_engine engine;
	struct tcp_endpoints endpoints;
	struct wheel_node timer;
	uint32_t generation;
	uint32_t next_free; /**< index + 1 */
	uint64_t armed_us;  /**< when the timer fires; MR_NEVER: it is idle */
	uint64_t linger_until_us;
	uint64_t opened_us;
	bool close_wanted; /**< by the engine */
	bool closing;
	bool counted; /**< against the limits on sessions */
	bool left;    /**< the stream holds input that the engine did not take */
};

struct smtp_server {
	struct smtp_server_settings settings;
	struct server_environment environment;
	struct mr_now last_now;
	const struct mr_now *now;
	struct view *view;
	struct wheel *wheel;
	struct client_counts *clients;
	struct chunk_list waiting; /**< records that the ring had no room for: their chunks; mark is
				      the kind */
	uint64_t session_serial;
	uint32_t slots;
	uint32_t open;
	uint32_t counted;
	uint32_t free; /**< index + 1 of a free slot, 0: none */
	struct listener listeners[LISTENERS_MAX];
	struct session *sessions;
};

static void set_now(struct smtp_server *server, const struct mr_now *now)
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
	struct session *session = context;

	/* A stream that fails says so by on_closed. */
	(void)stream_write(&session->stream, data, size);
}

static size_t engine_unacknowledged(void *context)
{
	struct session *session = context;

	return stream_unacknowledged(&session->stream);
}

static struct tls_context *tls_context_of(const struct session *session)
{
	return session->engine.listener->tls_contexts[session->server->settings.worker];
}

static int engine_start_tls(void *context)
{
	struct session *session = context;

	return stream_start_tls(&session->stream, tls_context_of(session), NULL);
}

static void engine_submit(void *context, struct submission *submission)
{
	struct session *session = context;

	hand_over(session->server, submission->self, RECORD_COMMIT);
}

static void engine_authenticate(void *context, struct auth_request *request)
{
	struct session *session = context;

	hand_over(session->server, request->self, RECORD_AUTH);
}

static void engine_close(void *context)
{
	struct session *session = context;

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

static uint32_t index_of(const struct session *session)
{
	return (uint32_t)(session - session->server->sessions);
}

static uint64_t deadline_of(const struct session *session)
{
	return session->closing ? session->linger_until_us : session->engine.deadline_us;
}

/** A deadline that moved to later waits for the timer, which looks again (wheel.h). */
static void arm(struct session *session)
{
	uint64_t deadline = deadline_of(session);

	if (deadline >= session->armed_us)
		return;
	session->armed_us = deadline;
	wheel_arm(session->server->wheel, index_of(session), deadline);
}

/** Inside or outside of a callback. The session may be gone afterwards. */
static void settle(struct session *session)
{
	if (session->close_wanted && !session->closing) {
		session->closing = true;
		session->linger_until_us = session->server->now->mono_us + LINGER_US;
		arm(session);
		stream_close(&session->stream);
		return;
	}
	if (session->engine.stalled)
		stream_want_write(&session->stream);
	arm(session);
}

/** Outside of the stream's callbacks: send, and offer what was left. The session may be gone
 * afterwards. */
static void go_on(struct session *session)
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
	struct session *session = user;
	size_t taken = server_engine_input(&session->engine, data, size, session->server->now);

	session->left = taken < size;
	settle(session);
	return taken;
}

static void on_tls(void *user, const struct tls_information *information)
{
	struct session *session = user;

	server_engine_secured(&session->engine, information, session->server->now);
	settle(session);
}

static void on_end(void *user, bool truncated)
{
	struct session *session = user;

	server_engine_ended(&session->engine, truncated, session->server->now);
	settle(session);
}

static void on_write_room(void *user, size_t room)
{
	struct session *session = user;

	(void)room;
	if (!session->engine.stalled)
		return;
	server_engine_unstall(&session->engine);
	if (!session->left)
		return;
	session->left = false;
	stream_resume(&session->stream);
}

static void free_session(struct session *session)
{
	struct smtp_server *server = session->server;

	server_engine_release(&session->engine);
	wheel_cancel(server->wheel, index_of(session));
	session->view->references[server->settings.worker].held--;
	session->view = NULL;
	session->generation++;
	if (session->counted) {
		server->counted--;
		session->listener->sessions--;
		client_counts_remove(server->clients, &session->endpoints.remote);
	}
	session->next_free = server->free;
	server->free = index_of(session) + 1;
	server->open--;
}

static void on_closed(void *user, bool in_order, enum stream_failure failure,
		      enum tcp_close_reason reason)
{
	struct session *session = user;
	struct smtp_server_counters *counters = &session->server->environment.counters;

	(void)reason;
	if (!in_order && failure == STREAM_FAILED_INJECTION)
		counters->tls_injection++;
	else if (session->engine.state == SERVER_HANDSHAKE)
		counters->sessions_tls_failed++;
	free_session(session);
}

static const struct stream_callbacks stream_callbacks = {
	.on_receive = on_receive,
	.on_tls = on_tls,
	.on_end = on_end,
	.on_write_room = on_write_room,
	.on_closed = on_closed,
};

/* ---- New sessions ---- */

/** @return REPLY_OK or what to refuse a new session with */
static enum server_reply admit(struct smtp_server *server, const struct listener *listener,
			       const struct ip_address *client)
{
	const struct view_limits *limits = &listener->view_listener->limits;

	if (server->environment.draining)
		return REPLY_DRAINING;
	if (chunk_pool_available(server->settings.chunks) < server->settings.chunk_reserve / 2)
		return REPLY_OVERLOAD;
	if (server->counted >= server->settings.sessions ||
	    (limits->sessions && listener->sessions >= limits->sessions))
		return REPLY_TOO_MANY_SESSIONS;
	if (limits->sessions_per_client &&
	    client_counts_get(server->clients, client) >= limits->sessions_per_client)
		return REPLY_TOO_MANY_SESSIONS;
	return REPLY_OK;
}

static struct session *take_slot(struct smtp_server *server)
{
	struct session *session;

	if (server->free == 0)
		return NULL;
	session = &server->sessions[server->free - 1];
	server->free = session->next_free;
	server->open++;
	return session;
}

static void open_session(struct session *session, struct listener *listener,
			 const struct tcp_endpoints *endpoints, bool counted)
{
	struct smtp_server *server = session->server;
	struct server_engine_settings settings = {
		.environment = &server->environment,
		.context = session,
		.view = server->view,
		.listener = listener->view_listener,
		.peer = &endpoints->remote,
		.peer_port = endpoints->remote_port,
		.slot = index_of(session),
		.generation = session->generation,
		.session = (uint64_t)server->settings.worker << 48 | ++server->session_serial,
	};

	session->view = server->view;
	session->view->references[server->settings.worker].held++;
	session->listener = listener;
	session->endpoints = *endpoints;
	session->opened_us = server->now->mono_us;
	session->armed_us = MR_NEVER;
	session->close_wanted = session->closing = session->left = false;
	session->counted = counted;
	if (counted) {
		server->counted++;
		listener->sessions++;
		client_counts_add(server->clients, &endpoints->remote);
		server->environment.counters.sessions_opened++;
	}
	server_engine_init(&session->engine, &settings);
}

static bool on_accept(void *listener_user, tcp_handle connection, void **user_out,
		      const struct tcp_callbacks **callbacks_out)
{
	struct listener *listener = listener_user;
	struct smtp_server *server = listener->server;
	bool implicit = listener->view_listener->tls == LISTENER_TLS_IMPLICIT;
	struct tcp_endpoints endpoints;
	struct session *session = NULL;
	enum server_reply refusal;

	if (tcp_endpoints(server->settings.stack, connection, &endpoints) < 0)
		return false;
	refusal = admit(server, listener, &endpoints.remote);
	/* Nobody understands a 421 in clear where TLS begins. */
	if (refusal == REPLY_OK || !implicit)
		session = take_slot(server);
	if (!session) {
		server->environment.counters.sessions_refused++;
		return false;
	}
	open_session(session, listener, &endpoints, refusal == REPLY_OK);
	stream_init(&session->stream, server->settings.stack, connection, server->settings.chunks,
		    &stream_callbacks, session, server->now, false);
	if (implicit && (!tls_context_of(session) ||
			 stream_start_tls(&session->stream, tls_context_of(session), NULL) < 0)) {
		server->environment.counters.sessions_tls_failed++;
		free_session(session);
		return false;
	}
	server_engine_start(&session->engine, refusal, server->now);
	*user_out = &session->stream;
	*callbacks_out = &stream_tcp_callbacks;
	stream_flush(&session->stream);
	/* The callbacks count from when this returns: a close waits for the timer. */
	if (session->close_wanted) {
		session->armed_us = server->now->mono_us;
		wheel_arm(server->wheel, index_of(session), session->armed_us);
	}
	arm(session);
	return true;
}

static const struct tcp_listen_callbacks listen_callbacks = {.on_accept = on_accept};

/* ---- Configuration ---- */

static const struct view_listener *find_in_view(const struct view *view,
						const struct listener *listener)
{
	for (unsigned i = 0; i < view->listener_count; i++)
		if (view->listeners[i].tcp_port == listener->tcp_port &&
		    ip_equal(&view->listeners[i].address, &listener->address))
			return &view->listeners[i];
	return NULL;
}

static void close_missing(struct smtp_server *server, const struct view *view)
{
	for (unsigned i = 0; i < LISTENERS_MAX; i++) {
		struct listener *listener = &server->listeners[i];

		if (!listener->open)
			continue;
		listener->view_listener = find_in_view(view, listener);
		if (listener->view_listener)
			continue;
		tcp_unlisten(server->settings.stack, &listener->address, listener->tcp_port);
		listener->open = false;
	}
}

/** A listener that is open there, or a slot that nothing refers to. */
static struct listener *find_slot(struct smtp_server *server, const struct view_listener *wanted)
{
	struct listener *unused = NULL;

	for (unsigned i = 0; i < LISTENERS_MAX; i++) {
		struct listener *listener = &server->listeners[i];

		if (listener->open && listener->tcp_port == wanted->tcp_port &&
		    ip_equal(&listener->address, &wanted->address))
			return listener;
		if (!listener->open && listener->sessions == 0 && !unused)
			unused = listener;
	}
	return unused;
}

static int open_listener(struct smtp_server *server, const struct view_listener *wanted)
{
	struct listener *listener = find_slot(server, wanted);
	int status;

	if (!listener)
		return -ENOBUFS;
	if (listener->open)
		return 0;
	*listener = (struct listener){
		.server = server,
		.address = wanted->address,
		.tcp_port = wanted->tcp_port,
		.view_listener = wanted,
	};
	status = tcp_listen(server->settings.stack, &wanted->address, wanted->tcp_port,
			    &listen_callbacks, listener);
	listener->open = status == 0;
	return status;
}

int smtp_server_configure(struct smtp_server *server, struct view *view, const struct mr_now *now)
{
	int status = 0;

	set_now(server, now);
	if (!server->wheel) {
		server->wheel = wheel_create(&server->sessions[0].timer, sizeof(struct session),
					     now->mono_us);
		if (!server->wheel)
			return -ENOMEM;
	}
	server->view = view;
	close_missing(server, view);
	for (unsigned i = 0; i < view->listener_count; i++) {
		int result = open_listener(server, &view->listeners[i]);

		if (status == 0)
			status = result;
	}
	return status;
}

/* ---- Answers, time ---- */

static struct session *find_session(struct smtp_server *server, uint32_t index, uint32_t generation)
{
	struct session *session = index < server->slots ? &server->sessions[index] : NULL;

	return session && session->view && session->generation == generation ? session : NULL;
}

static void answer_commit(struct smtp_server *server, const struct record *record)
{
	struct session *session = find_session(server, record->committed.session,
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
	struct session *session =
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
	set_now(server, now);
	if (record->kind == RECORD_COMMITTED)
		answer_commit(server, record);
	else if (record->kind == RECORD_AUTH_ANSWER)
		answer_auth(server, record->auth);
}

static void fire(void *context, uint32_t index)
{
	struct smtp_server *server = context;
	struct session *session = &server->sessions[index];

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
	set_now(server, now);
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
	set_now(server, now);
	server->environment.draining = true;
	for (uint32_t i = 0; i < server->slots; i++) {
		struct session *session = &server->sessions[i];

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

static void describe(const struct session *session, struct session_entry *out)
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
	server->slots = settings->sessions + SPARE_SESSIONS;
	server->environment = (struct server_environment){
		.worker = settings->worker,
		.chunks = settings->chunks,
		.chunk_reserve = settings->chunk_reserve,
		.id_origin = settings->id_origin,
		.key = {random_u64(settings->random), random_u64(settings->random)},
		.operations = &operations,
	};
	server->clients = client_counts_create(server->slots, &server->environment.key);
	server->sessions = calloc(server->slots, sizeof(struct session));
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
