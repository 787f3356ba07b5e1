/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Listeners and who gets in: sockets on the stack that follow the view, limits on sessions, new
 * sessions.
 *
 * Owner: one worker. Memory: the tables of server_table.h.
 */
#include "dataplane/smtp/server_table.h"

#include <errno.h>

/* ---- New sessions ---- */

/** @return REPLY_OK or what to refuse a new session with */
static enum server_reply admit(struct smtp_server *server, const struct server_listener *listener,
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

static void open_session(struct server_session *session, struct server_listener *listener,
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
		.slot = server_session_index(session),
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
	struct server_listener *listener = listener_user;
	struct smtp_server *server = listener->server;
	bool implicit = listener->view_listener->tls == LISTENER_TLS_IMPLICIT;
	struct tcp_endpoints endpoints;
	struct server_session *session = NULL;
	enum server_reply refusal;

	if (tcp_endpoints(server->settings.stack, connection, &endpoints) < 0)
		return false;
	refusal = admit(server, listener, &endpoints.remote);
	/* Nobody understands a 421 in clear where TLS begins. */
	if (refusal == REPLY_OK || !implicit)
		session = server_session_take(server);
	if (!session) {
		server->environment.counters.sessions_refused++;
		return false;
	}
	open_session(session, listener, &endpoints, refusal == REPLY_OK);
	stream_init(&session->stream, server->settings.stack, connection, server->settings.chunks,
		    &server_stream_callbacks, session, server->now, false);
	/* As with half a command line: it may go deeper into the reserve than bodies. */
	stream_set_reserve(&session->stream, server->settings.chunk_reserve / 4);
	if (implicit &&
	    (!server_tls_context(session) ||
	     stream_start_tls(&session->stream, server_tls_context(session), NULL) < 0)) {
		server->environment.counters.sessions_tls_failed++;
		server_session_free(session);
		return false;
	}
	server_engine_start(&session->engine, refusal, server->now);
	*user_out = &session->stream;
	*callbacks_out = &stream_tcp_callbacks;
	stream_flush(&session->stream);
	/* The callbacks count from when this returns: a close waits for the timer. */
	if (session->close_wanted) {
		session->armed_us = server->now->mono_us;
		wheel_arm(server->wheel, server_session_index(session), session->armed_us);
	}
	server_session_arm(session);
	return true;
}

static const struct tcp_listen_callbacks listen_callbacks = {.on_accept = on_accept};

/* ---- Configuration ---- */

static const struct view_listener *find_in_view(const struct view *view,
						const struct server_listener *listener)
{
	for (unsigned i = 0; i < view->listener_count; i++)
		if (view->listeners[i].tcp_port == listener->tcp_port &&
		    ip_equal(&view->listeners[i].address, &listener->address))
			return &view->listeners[i];
	return NULL;
}

static void close_missing(struct smtp_server *server, const struct view *view)
{
	for (unsigned i = 0; i < SERVER_LISTENERS_MAX; i++) {
		struct server_listener *listener = &server->listeners[i];

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
static struct server_listener *find_slot(struct smtp_server *server,
					 const struct view_listener *wanted)
{
	struct server_listener *unused = NULL;

	for (unsigned i = 0; i < SERVER_LISTENERS_MAX; i++) {
		struct server_listener *listener = &server->listeners[i];

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
	struct server_listener *listener = find_slot(server, wanted);
	int status;

	if (!listener)
		return -ENOBUFS;
	if (listener->open)
		return 0;
	*listener = (struct server_listener){
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

	server_set_now(server, now);
	if (!server->wheel) {
		server->wheel = wheel_create(&server->sessions[0].timer,
					     sizeof(struct server_session), now->mono_us);
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
