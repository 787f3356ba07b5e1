/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One connection of a path: glue between the byte stream and the SMTP client's engine, and what the
 * engine's events mean for path, host and delivery. See table.h.
 *
 * Callbacks run inside the stack's turn. They may end a stream, but never begin one on the same
 * session: a session whose connection is gone waits in the list `gone` for path_table_turn.
 */
#include "dataplane/path/table.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* How long a closed connection may linger before it is reset. */
#define CLOSE_TIMEOUT_US US_PER_S

static struct path *path_of(const struct path_session *session)
{
	return &session->table->paths[session->path];
}

static uint64_t mono_us(const struct path_session *session)
{
	return session->table->now.mono_us;
}

static struct host_note *note_of(struct path_session *session)
{
	return host_memory_touch(session->table->hosts, &session->host.address, session->host.port,
				 mono_us(session));
}

/* ---- Deadlines ---- */

static uint64_t deadline_of(const struct path_session *session)
{
	if (session->state == SESSION_OPEN && !session->is_idle)
		return session->client.deadline_us;
	return session->state == SESSION_GONE ? MR_NEVER : session->deadline_us;
}

void session_arm(struct path_session *session)
{
	uint64_t deadline_us = deadline_of(session);

	if (deadline_us != MR_NEVER)
		wheel_arm_lazily(session->table->wheel, session->index, deadline_us);
}

/* ---- End ---- */

void session_close(struct path_session *session, bool orderly)
{
	session_leave_idle(session);
	session->state = SESSION_CLOSING;
	session->deadline_us = mono_us(session) + CLOSE_TIMEOUT_US;
	session_arm(session);
	if (orderly)
		stream_close(&session->stream);
	else
		stream_abort(&session->stream);
}

void session_quit(struct path_session *session)
{
	smtp_client_quit(&session->client, mono_us(session));
	session_close(session, true);
}

/* ---- A transaction ---- */

bool session_is_reusable(const struct path_session *session, uint32_t generation)
{
	const struct path_settings *settings = &session->settings;
	uint32_t mail_max = session->client.features.mail_max;

	if (session->close_after || session->table->draining ||
	    session->route_generation != generation)
		return false;
	if (session->messages == 0)
		return true;
	return session->messages < settings->messages_per_connection &&
	       (mail_max == 0 || session->messages < mail_max) &&
	       mono_us(session) < session->connected_us + settings->reuse_time_max_us;
}

static void describe(struct path_session *session, struct delivery *delivery)
{
	bool first = session->messages == 0;

	delivery->session = (uint64_t)session->table->settings.worker << 48 | session->serial;
	delivery->host = route_find_host(delivery->route, &session->host);
	delivery->source_address = session->source;
	delivery->tls = session->tls;
	delivery->peer_dsn = session->client.features.dsn;
	delivery->reused = !first;
	memcpy(delivery->tls_version, session->tls_version, sizeof(delivery->tls_version));
	memcpy(delivery->tls_cipher, session->tls_cipher, sizeof(delivery->tls_cipher));
	delivery->connect_us = first ? session->connect_us : 0;
	delivery->tls_us = first ? session->tls_us : 0;
	delivery->hosts_tried = first ? session->tried_count : 1;
}

void session_begin(struct path_session *session, struct delivery *delivery)
{
	session_leave_idle(session);
	describe(session, delivery);
	session->delivery = delivery;
	session->table->counters.transactions++;
	session->table->counters.connections_reused += session->messages > 0;
	session->messages++;
	smtp_client_begin(&session->client, delivery, mono_us(session));
}

static void session_ready(struct path_session *session)
{
	struct path *path = path_of(session);
	struct delivery *next = path->waiting.head;

	if (session->opening) {
		session->opening = false;
		path->opening--;
		host_note_worked(note_of(session));
	}
	if (!session_is_reusable(session,
				 next ? next->route->generation : session->route_generation)) {
		session_quit(session);
		return;
	}
	if (next) {
		session_begin(session, delivery_queue_take(&path->waiting));
		return;
	}
	session_join_idle(session);
	session_arm(session);
	path_mark_dirty(session->table, path);
}

/* What the connection found out since its last transaction ended. */
static void measure(struct path_session *session, struct tcp_measure *out)
{
	struct tcp_measure now;

	if (tcp_measure(session->table->settings.stack, session->stream.last, &now) != 0)
		return;
	*out = now;
	out->segments -= session->segments_told;
	out->retransmitted -= session->retransmitted_told;
	session->segments_told = now.segments;
	session->retransmitted_told = now.retransmitted;
}

static void session_done(struct path_session *session)
{
	struct path_table *table = session->table;
	struct delivery *delivery = session->delivery;

	session->delivery = NULL;
	session->bytes += delivery->body_size;
	measure(session, &delivery->measure);
	if (session->client.recipients_learned) {
		struct host_note *note = note_of(session);

		note->recipients_max = session->client.recipients_learned;
		note->recipients_max_until_us = mono_us(session) + HOST_HABIT_US;
	}
	report_delivery(table, delivery);
}

/* ---- Failure ---- */

static void count_failure(struct path_session *session)
{
	struct path_counters *counters = &session->table->counters;

	switch (session->client.failure.kind) {
	case CLIENT_FAILURE_PROTOCOL:
	case CLIENT_FAILURE_DESYNC:
		counters->protocol_errors++;
		break;
	case CLIENT_FAILURE_TIMEOUT:
		counters->timeouts++;
		break;
	case CLIENT_FAILURE_INJECTION:
		counters->tls_injection++;
		counters->tls_failed++;
		break;
	case CLIENT_FAILURE_TLS:
		counters->tls_failed += session->client.failure.phase == PHASE_TLS;
		break;
	default:
		break;
	}
}

/** What a failure says about the host, for later connections. */
static void remember(struct path_session *session)
{
	const struct smtp_client_failure *failure = &session->client.failure;
	uint64_t until_us = mono_us(session) + HOST_HABIT_US;

	if (failure->kind == CLIENT_FAILURE_DESYNC && !session->opening)
		note_of(session)->no_pipelining_until_us = until_us;
	if (failure->no_chunking)
		note_of(session)->no_chunking_until_us = until_us;
}

/**
 * C5: at level `may` a session that fell over TLS is begun again in clear. With TLS 1.3 a server's
 * refusal may come after our side of the handshake was complete, so the EHLO behind it belongs to
 * it.
 */
static bool may_retry_in_clear(const struct path_session *session)
{
	const struct smtp_client_failure *failure = &session->client.failure;

	if (session->settings.tls != TLS_LEVEL_MAY || session->avoid_tls)
		return false;
	if (failure->phase == PHASE_STARTTLS || failure->phase == PHASE_TLS)
		return true;
	return session->tls && failure->phase == PHASE_EHLO && failure->kind == CLIENT_FAILURE_LOST;
}

/** The engine has ended the session before its first transaction. */
static void opening_failed(struct path_session *session)
{
	if (may_retry_in_clear(session)) {
		session->table->counters.tls_clear_retries++;
		note_of(session)->no_tls_until_us = mono_us(session) + HOST_HABIT_US;
		session->avoid_tls = true;
		session->after = AFTER_SAME_HOST;
		return;
	}
	session_host_failed(session);
}

static bool is_polite(const struct smtp_client_failure *failure)
{
	return failure->kind == CLIENT_FAILURE_REPLY && failure->reply.code != 421 &&
	       failure->phase != PHASE_BODY && failure->phase != PHASE_DATA;
}

static void session_failed(struct path_session *session)
{
	struct path *path = path_of(session);
	const struct smtp_client_failure *failure = &session->client.failure;

	count_failure(session);
	remember(session);
	if (session->delivery) {
		/* Untouched: to the front, for a new connection. */
		assert(failure->restart);
		delivery_queue_put_first(&path->waiting, session->delivery);
		session->delivery = NULL;
		session->after = AFTER_FREE;
		if (failure->no_chunking) {
			session->avoid_chunking = true;
			session->after = AFTER_SAME_HOST;
			session->opening = true;
			path->opening++;
		}
		path_mark_dirty(session->table, path);
	} else if (session->opening) {
		opening_failed(session);
	} else {
		session->after = AFTER_FREE;
	}
	if (session->state != SESSION_OPEN)
		return;
	if (is_polite(failure))
		session_quit(session);
	else
		session_close(session, failure->kind == CLIENT_FAILURE_REPLY ||
					       failure->kind == CLIENT_FAILURE_LOST);
}

/* ---- Events ---- */

/** SNI takes names only (RFC 6066, 3). @return NULL for an address literal */
static const char *sni_of(const struct path_session *session)
{
	struct ip_address address;

	if (session->host_name[0] == '\0' || session->host_name[0] == '[' ||
	    ip_parse(session->host_name, &address) == 0)
		return NULL;
	return session->host_name;
}

static void session_start_tls(struct path_session *session)
{
	struct path_table *table = session->table;
	struct tls_context *context =
		session->view ? session->view->client_contexts[table->settings.worker] : NULL;
	int code;

	if (session->unread > 0) {
		smtp_client_tls_failed(&session->client, "the peer sent clear text after its 220",
				       true, mono_us(session));
		return;
	}
	if (!context) {
		smtp_client_tls_failed(&session->client, "no TLS context", false, mono_us(session));
		return;
	}
	session->tls_began_us = mono_us(session);
	code = stream_start_tls(&session->stream, context, sni_of(session));
	if (code != 0)
		smtp_client_tls_failed(&session->client,
				       code == -EPROTO ? "the peer sent clear text after its 220"
						       : strerror(-code),
				       code == -EPROTO, mono_us(session));
}

/** Work off what the engine reports. */
static void session_events(struct path_session *session)
{
	enum smtp_client_event event;

	while ((session->state == SESSION_OPEN || session->state == SESSION_GONE) &&
	       (event = smtp_client_event(&session->client)) != CLIENT_EVENT_NONE) {
		switch (event) {
		case CLIENT_EVENT_START_TLS:
			session_start_tls(session);
			break;
		case CLIENT_EVENT_READY:
			session_ready(session);
			break;
		case CLIENT_EVENT_DONE:
			session_done(session);
			break;
		case CLIENT_EVENT_FAILED:
			session_failed(session);
			return;
		case CLIENT_EVENT_NONE:
			break;
		}
	}
	if (session->state == SESSION_OPEN)
		session_arm(session);
}

void session_resume(struct path_session *session)
{
	session_events(session);
	if (session->state == SESSION_OPEN)
		stream_flush(&session->stream);
}

/* ---- The engine's sink ---- */

static int sink_write(void *context, const void *data, size_t size)
{
	struct path_session *session = context;

	return stream_write(&session->stream, data, size);
}

static void sink_want_write(void *context)
{
	struct path_session *session = context;

	stream_want_write(&session->stream);
}

static size_t sink_unacknowledged(void *context)
{
	struct path_session *session = context;

	return stream_unacknowledged(&session->stream);
}

/* ---- The stream's callbacks ---- */

static void hold_view(struct path_session *session)
{
	struct path_table *table = session->table;

	if (session->view || !table->view)
		return;
	session->view = table->view;
	session->view->references[table->settings.worker].held++;
}

static void on_connected(void *user)
{
	struct path_session *session = user;
	struct path_table *table = session->table;
	const struct host_note *note =
		host_memory_find(table->hosts, &session->host.address, session->host.port);
	uint64_t now_us = table->now.mono_us;
	char ehlo_name[SMTP_DOMAIN_MAX + 1];
	const struct smtp_client_sink sink = {.write = sink_write,
					      .want_write = sink_want_write,
					      .unacknowledged = sink_unacknowledged,
					      .context = session};

	if (session->state != SESSION_CONNECTING)
		return;
	memcpy(ehlo_name, session->client.ehlo_name, sizeof(ehlo_name));
	const struct smtp_client_settings settings = {
		.ehlo_name = ehlo_name,
		.path = &session->settings,
		.avoid_tls = session->avoid_tls || (note && note->no_tls_until_us > now_us),
		.avoid_pipelining = note && note->no_pipelining_until_us > now_us,
		.avoid_chunking =
			session->avoid_chunking || (note && note->no_chunking_until_us > now_us),
		.recipients_learned =
			note && note->recipients_max_until_us > now_us ? note->recipients_max : 0,
	};

	table->counters.connections_opened++;
	hold_view(session);
	session->connected_us = now_us;
	session->connect_us = now_us - session->connect_began_us;
	session->state = SESSION_OPEN;
	smtp_client_init(&session->client, &settings, &sink, now_us);
	session_arm(session);
}

static size_t on_receive(void *user, const uint8_t *data, size_t size)
{
	struct path_session *session = user;
	size_t taken = 0;

	/* An idle session gets bytes: 421, or out of step. Either way it is idle no more. */
	if (session->state == SESSION_OPEN)
		session_leave_idle(session);
	while (taken < size && session->state == SESSION_OPEN) {
		taken += smtp_client_input(&session->client, data + taken, size - taken,
					   mono_us(session));
		session->unread = size - taken;
		session_events(session);
	}
	session->unread = 0;
	return size;
}

static void on_tls(void *user, const struct tls_information *information)
{
	struct path_session *session = user;

	if (session->state != SESSION_OPEN)
		return;
	session->tls = true;
	session->tls_us = mono_us(session) - session->tls_began_us;
	session->table->counters.tls_sessions++;
	snprintf(session->tls_version, sizeof(session->tls_version), "%s", information->version);
	snprintf(session->tls_cipher, sizeof(session->tls_cipher), "%s", information->cipher);
	smtp_client_tls_done(&session->client, mono_us(session));
	session_events(session);
}

static void on_end(void *user, bool truncated)
{
	struct path_session *session = user;

	if (session->state != SESSION_OPEN)
		return;
	session_leave_idle(session);
	smtp_client_lost(&session->client, "closed by the peer", mono_us(session));
	session_events(session);
}

static void on_write_room(void *user, size_t room)
{
	struct path_session *session = user;

	if (session->state != SESSION_OPEN)
		return;
	smtp_client_room(&session->client, room, mono_us(session));
	session_events(session);
}

static void connecting_failed(struct path_session *session, enum tcp_close_reason reason)
{
	static const struct {
		uint16_t detail;
		const char *text;
	} reasons[] = {
		[TCP_CLOSED] = {1, "closed"},
		[TCP_RESET] = {1, "connection reset"},
		[TCP_REFUSED] = {1, "connection refused"},
		[TCP_TIMED_OUT] = {1, "connection timed out"},
		[TCP_UNREACHABLE] = {1, "host or network unreachable"},
		[TCP_ABORTED] = {1, "connection timed out"},
		[TCP_NO_MEMORY] = {1, "out of memory"},
	};
	char address[IP_ADDRESS_TEXT];
	struct smtp_client_failure *failure = &session->client.failure;

	*failure =
		(struct smtp_client_failure){.kind = CLIENT_FAILURE_LOST, .phase = PHASE_CONNECT};
	smtp_reply_local(&failure->reply, 4, 4, reasons[reason].detail, "connect to %s[%s]:%u: %s",
			 session->host_name, ip_format(&session->host.address, address),
			 session->host.port, reasons[reason].text);
	session->table->counters.connections_failed++;
	session_host_failed(session);
}

/** The stream failed under the engine. */
static void open_lost(struct path_session *session, bool in_order, enum stream_failure failure,
		      enum tcp_close_reason reason)
{
	const char *error = stream_error(&session->stream);
	const char *why = in_order			    ? "closed"
			  : failure == STREAM_FAILED_TCP    ? tcp_close_reason_name(reason)
			  : error && error[0]		    ? error
			  : failure == STREAM_FAILED_MEMORY ? "out of memory"
							    : "TLS failed";

	session_leave_idle(session);
	if (session->client.state == CLIENT_STATE_TLS)
		smtp_client_tls_failed(&session->client, why,
				       !in_order && failure == STREAM_FAILED_INJECTION,
				       mono_us(session));
	else
		smtp_client_lost(&session->client, why, mono_us(session));
}

static void on_closed(void *user, bool in_order, enum stream_failure failure,
		      enum tcp_close_reason reason)
{
	struct path_session *session = user;
	struct path_table *table = session->table;
	enum session_state state = session->state;

	assert(state != SESSION_FREE && state != SESSION_GONE);
	session->state = SESSION_GONE;
	if (state == SESSION_CONNECTING) {
		connecting_failed(session, reason);
	} else if (state == SESSION_OPEN) {
		open_lost(session, in_order, failure, reason);
		session_events(session);
	}
	wheel_cancel(table->wheel, session->index);
	session->gone_next = table->sessions_gone;
	table->sessions_gone = session->index;
}

const struct stream_callbacks session_stream_callbacks = {
	.on_connected = on_connected,
	.on_receive = on_receive,
	.on_tls = on_tls,
	.on_end = on_end,
	.on_write_room = on_write_room,
	.on_closed = on_closed,
};

/* ---- The timer ---- */

void session_expired(struct path_session *session)
{
	if (deadline_of(session) > mono_us(session)) {
		session_arm(session);
		return;
	}
	switch (session->state) {
	case SESSION_CONNECTING:
	case SESSION_CLOSING:
		stream_abort(&session->stream);
		break;
	case SESSION_OPEN:
		if (session->is_idle) {
			session_quit(session);
			break;
		}
		smtp_client_timeout(&session->client, mono_us(session));
		session_resume(session);
		break;
	case SESSION_FREE:
	case SESSION_GONE:
		break;
	}
}
