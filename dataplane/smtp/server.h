/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Receiving mail: every inbound SMTP session of one worker (RFC 5321 server role; RFC 6409, 1870,
 * 2034, 2920, 3030, 3207, 3461, 4954, 6152, 6531, 9422).
 *
 * Owner: one worker. Memory: a table of sessions fixed at creation; message bytes in chunks of the
 * worker's pool. A session stands on a struct stream; the protocol engine inside is pure (bytes and
 * time in, bytes and events out).
 *
 * What must hold: no final 250 before RECORD_COMMITTED with COMMIT_DONE; nothing that came in clear
 * after STARTTLS is looked at; a message is relayed only for configured networks and authenticated
 * users.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_SERVER_H
#define MILLRACE_DATAPLANE_SMTP_SERVER_H

#include "dataplane/message.h"
#include "dataplane/net/net.h"
#include "dataplane/session_list.h"
#include "dataplane/view.h"

struct smtp_server;

struct smtp_server_settings {
	uint16_t worker;
	uint32_t sessions; /**< table size; also bounded by view_limits.sessions per listener */
	struct net_stack *stack;
	struct chunk_pool *chunks;
	uint32_t chunk_reserve; /**< below this many free chunks new mail is refused (452 4.3.1 /
				   421 4.3.2) */
	struct mr_random *random;
	uint64_t id_origin; /**< message_id.origin of this worker's shard */
	/** The turn's time, kept current by the worker also before net_stack_input; NULL: the last
	 * that a call gave. */
	const struct mr_now *now;
	/** Give a record to the shard. @return false when the ring is full: the server keeps it and
	 * tries next turn */
	bool (*submit)(void *context, const struct record *record);
	void *context;
};

struct smtp_server *smtp_server_create(const struct smtp_server_settings *settings);
void smtp_server_destroy(struct smtp_server *server);
/**
 * Open and close listening sockets so that they match the view. Sessions go on with the view they
 * began with (they count themselves in view->references[worker]).
 * @return 0 or negative errno of tcp_listen
 */
int smtp_server_configure(struct smtp_server *server, struct view *view, const struct mr_now *now);
/** RECORD_COMMITTED or RECORD_AUTH_ANSWER from the shard. Stale session names are ignored. */
void smtp_server_answer(struct smtp_server *server, const struct record *record,
			const struct mr_now *now);
/** Deadlines and retries of full rings. Call once a turn. */
void smtp_server_turn(struct smtp_server *server, const struct mr_now *now);
/** When smtp_server_turn next has something to do. */
uint64_t smtp_server_next_deadline(const struct smtp_server *server);
/** Refuse new sessions (421 4.3.2), let running transactions finish, close the rest. */
void smtp_server_drain(struct smtp_server *server, const struct mr_now *now);
/** Sessions open, and messages of sessions gone that still wait for room in the ring: 0 when
 * nothing is left to do. */
uint32_t smtp_server_sessions(const struct smtp_server *server);
/** Refuse new mail while the control plane says so (spool not accepting): 0 or the commit_result to
 * answer MAIL with. */
void smtp_server_set_refusal(struct smtp_server *server, uint32_t commit_result);
/** @return entries written */
unsigned smtp_server_list(const struct smtp_server *server, struct session_entry *out,
			  unsigned max);

#define SMTP_SERVER_COUNTERS(X)                                                     \
	X(sessions_opened, "sessions accepted")                                     \
	X(sessions_refused, "sessions refused: over a limit")                       \
	X(sessions_tls, "TLS handshakes completed")                                 \
	X(sessions_tls_failed, "TLS handshakes failed")                             \
	X(tls_injection, "plaintext after STARTTLS: sessions closed")               \
	X(messages_accepted, "messages answered 250")                               \
	X(recipients_accepted, "recipients of messages answered 250")               \
	X(messages_refused, "messages refused after their data")                    \
	X(messages_lost_session,                                                    \
	  "sessions gone before their 250 could be sent; the message is kept")      \
	X(bytes_accepted, "octets of messages answered 250")                        \
	X(relay_denied, "recipients refused: relaying denied")                      \
	X(auth_succeeded, "AUTH succeeded")                                         \
	X(auth_failed, "AUTH failed")                                               \
	X(bare_line_endings, "messages refused: bare CR or LF")                     \
	X(nul_octets, "messages refused: NUL")                                      \
	X(long_lines, "messages refused: a line over 998 octets")                   \
	X(too_big, "messages refused: over the limit on size")                      \
	X(header_too_big, "messages refused: over the limit on the header's size")  \
	X(loops, "messages refused: too many hops")                                 \
	X(bad_control_fields, "messages refused: a malformed X-Millrace field")     \
	X(recipients_over_limit, "recipients refused: over the limit of a message") \
	X(junk_commands, "commands that move no mail, beyond the limit")            \
	X(unauthorized_pipelining, "sessions closed: unauthorised pipelining")      \
	X(errors, "commands refused")                                               \
	X(timeouts, "sessions closed: too slow")                                    \
	X(too_many_errors, "sessions closed: too many errors")                      \
	X(overload, "commands refused: over budget")

struct smtp_server_counters {
#define X(name, text) uint64_t name;
	SMTP_SERVER_COUNTERS(X)
#undef X
};
const struct smtp_server_counters *smtp_server_counters(const struct smtp_server *server);

#endif
