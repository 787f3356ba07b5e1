/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Between the session table's files: server.c (sessions, time, records) and server_listen.c
 * (listeners, admission).
 *
 * Streams may call back from within stream_close and stream_resume, and on_closed frees the
 * session: so engines only note that they want to close, and both calls are the last thing that is
 * done with a session.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_SERVER_TABLE_H
#define MILLRACE_DATAPLANE_SMTP_SERVER_TABLE_H

#include "dataplane/buf/wheel.h"
#include "dataplane/smtp/client_counts.h"
#include "dataplane/smtp/server_engine.h"
#include "dataplane/smtp/stream.h"

#define SERVER_LISTENERS_MAX 64
/** Beyond the table, sessions that only hear why they are refused. */
#define SERVER_SPARE_SESSIONS 16

struct server_listener {
	struct smtp_server *server;
	struct ip_address address;
	uint16_t tcp_port;
	bool open;
	uint32_t sessions;
	const struct view_listener
		*view_listener; /**< in the server's present view; valid while open */
};

struct server_session {
	struct smtp_server *server;
	struct view *view; /**< NULL: the slot is free */
	struct server_listener *listener;
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
	struct server_listener listeners[SERVER_LISTENERS_MAX];
	struct server_session *sessions;
};

/* server.c */
extern const struct stream_callbacks server_stream_callbacks;
void server_set_now(struct smtp_server *server, const struct mr_now *now);
uint32_t server_session_index(const struct server_session *session);
/** The worker's context for the session's listener, or NULL. */
struct tls_context *server_tls_context(const struct server_session *session);
/** Have the timer fire no later than the session's deadline. */
void server_session_arm(struct server_session *session);
/** A slot of the table, not yet initialized; NULL: none is free. */
struct server_session *server_session_take(struct smtp_server *server);
void server_session_free(struct server_session *session);

#endif
