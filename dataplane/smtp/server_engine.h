/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The server side of one SMTP session as a pure state machine: plaintext bytes and the time go in,
 * replies, submissions and requests come out through struct server_operations. It knows no stream
 * and no stack, so that tests and fuzzers drive just what runs in the product. RFC 5321, 1870,
 * 2034, 2920, 3030, 3207, 3461, 4954, 6152, 6531, 9422.
 *
 * Owner: one worker. Memory: the session table's; while a command line is incomplete or a
 * transaction is open, chunks of the worker's pool. server_engine_release gives all of them back.
 *
 * What must hold: no 250 for a message before its commit was answered with COMMIT_DONE; while an
 * answer is awaited no input is taken; after a close, and in clear after STARTTLS, no input is
 * looked at.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_SERVER_ENGINE_H
#define MILLRACE_DATAPLANE_SMTP_SERVER_ENGINE_H

#include "dataplane/smtp/server.h"
#include "dataplane/smtp/server_reply.h"
#include "dataplane/smtp/transaction.h"
#include "tls/tls.h"

/** Text lines: RFC 5321, 4.5.3.1.4 … */
#define COMMAND_LINE_MAX 512
/** … which SIZE, BODY, SMTPUTF8, RET, ENVID, AUTH, NOTIFY and ORCPT add to (RFC 3461, 4 and
 * others). */
#define COMMAND_LINE_EXTENDED_MAX 2048
/** RFC 4954, 4. Longer than COMMAND_LINE_EXTENDED_MAX is read, but no credentials of ours are that
 * long. */
#define AUTH_LINE_MAX 12288
/** A line that goes on beyond this closes the session. */
#define LINE_FLOOD 65536
/** Octets of a message that are read and thrown away beyond the limit on its size, so that the 552
 * is heard. */
#define MESSAGE_FLOOD (UINT64_C(64) << 20)
/** BDAT chunks under TINY_CHUNK octets that one message may come in. */
#define TINY_CHUNKS_MAX 200
#define TINY_CHUNK	256
/** Replies that the client has not acknowledged; over it, no more commands are read. */
#define OUTPUT_MAX	  16384
#define AUTH_ATTEMPTS_MAX 3
#define AUTH_PENALTY_US	  (2 * US_PER_S)

/** What a session does to the world. `context` is server_engine.context. */
struct server_operations {
	/** Collect reply text. */
	void (*write)(void *context, const void *data, size_t size);
	/** Octets written and not acknowledged by the peer's TCP. */
	size_t (*unacknowledged)(void *context);
	/** The 220 was written: begin the handshake. @return 0 or negative: the session fails */
	int (*start_tls)(void *context);
	/** Hand a submission to the shard, for good. Answered by server_engine_committed. */
	void (*submit)(void *context, struct submission *submission);
	/** Hand a password check over, for good. Answered by server_engine_authenticated. */
	void (*authenticate)(void *context, struct auth_request *request);
	/** Send what was written, then close. */
	void (*close)(void *context);
};

/** What all sessions of a worker share. */
struct server_environment {
	uint16_t worker;
	struct chunk_pool *chunks;
	uint32_t chunk_reserve;
	uint64_t id_origin;
	uint64_t message_serial;
	struct hash_key key;
	uint32_t refusal; /**< enum commit_result to answer MAIL with; COMMIT_DONE: none */
	bool draining;
	const struct server_operations *operations;
	struct smtp_server_counters counters;
};

#define SERVER_STATES(X)          \
	X(HANDSHAKE, "tls")       \
	X(COMMAND, "command")     \
	X(SKIP, "command")        \
	X(DATA, "data")           \
	X(CHUNK, "data")          \
	X(RESPONSE, "auth")       \
	X(AUTHENTICATING, "auth") \
	X(PENALTY, "auth")        \
	X(COMMIT, "commit")       \
	X(CLOSED, "close")

enum server_state {
#define X(name, text) SERVER_##name,
	SERVER_STATES(X)
#undef X
};

enum server_greeted {
	GREETED_NOT,
	GREETED_HELO,
	GREETED_EHLO,
};

enum auth_mechanism {
	AUTH_NONE,
	AUTH_PLAIN,
	AUTH_LOGIN_USER,
	AUTH_LOGIN_PASSWORD,
};

struct server_engine {
	struct server_environment *environment;
	void *context;
	const struct view *view;
	const struct view_listener *listener;
	const struct mr_now *now; /**< valid during a call */
	struct transaction *transaction;
	struct chunk *line;	   /**< an incomplete command line, `length` octets */
	struct auth_request *auth; /**< AUTH LOGIN between user and password */

	uint64_t deadline_us;	   /**< MR_NEVER: none */
	uint64_t data_started_us;  /**< when DATA or the first BDAT of the message came */
	uint64_t data_octets;	   /**< of it, since then */
	uint64_t chunk_size;	   /**< octets of the BDAT chunk, and … */
	uint64_t chunk_left;	   /**< … still to come */
	uint64_t session;	   /**< worker << 48 | serial */
	uint64_t bytes;		   /**< octets of messages answered 250 */
	uint64_t submitted_octets; /**< of the message whose commit is awaited */
	uint32_t submitted_recipients;
	uint32_t slot;	     /**< the worker's name for the session, and … */
	uint32_t generation; /**< … which one of that name */
	uint32_t messages;   /**< answered 250 */
	uint32_t errors;     /**< since the last message */
	uint32_t junk;	     /**< likewise */
	uint32_t skipped;    /**< octets of an over-long line */
	uint32_t unheeded;   /**< octets written since unacknowledged() was asked */
	uint16_t peer_port;
	uint8_t state;	   /**< enum server_state */
	uint8_t greeted;   /**< enum server_greeted */
	uint8_t mechanism; /**< enum auth_mechanism */
	uint8_t auth_failures;
	uint8_t skip_reply; /**< enum server_reply for the over-long line */
	bool tls;
	bool may_relay;	      /**< by its network */
	bool trusted_headers; /**< by its network */
	bool synchronize;     /**< nothing may come before the peer has what was written */
	bool follows;	      /**< octets follow the present line in the same input */
	bool stalled;	      /**< input was left because of OUTPUT_MAX */
	bool peer_ended;
	bool chunk_last;
	bool chunk_refused; /**< the chunk's octets are thrown away */
	struct ip_address peer;
	char tls_text[64];
	char helo[SMTP_DOMAIN_MAX + 1];
	char user[256];		    /**< authenticated; "" : not */
	char tenant[VIEW_NAME_MAX]; /**< of the user */
	char campaign[VIEW_NAME_MAX];
	char pool[VIEW_NAME_MAX];
};

const char *server_state_name(const struct server_engine *engine);

/* ---- Events; all but release may write, submit and close ---- */

struct server_engine_settings {
	struct server_environment *environment;
	void *context;
	const struct view *view;
	const struct view_listener *listener;
	const struct ip_address *peer;
	uint16_t peer_port;
	uint32_t slot;
	uint32_t generation;
	uint64_t session;
};
/** Prepare; nothing is written. */
void server_engine_init(struct server_engine *engine,
			const struct server_engine_settings *settings);
/**
 * The connection is there.
 * @param refusal REPLY_OK: greet, or wait for the handshake of an implicit-TLS listener; else what
 * to refuse it with
 */
void server_engine_start(struct server_engine *engine, enum server_reply refusal,
			 const struct mr_now *now);
/**
 * Plaintext.
 * @return octets taken; the rest is to be offered again after the next event that leaves
 * server_engine_is_ready
 */
size_t server_engine_input(struct server_engine *engine, const uint8_t *data, size_t size,
			   const struct mr_now *now);
/** Would server_engine_input take something? */
bool server_engine_is_ready(const struct server_engine *engine);
/** After `stalled`: the peer's window has room again, so as much as OUTPUT_MAX may be written
 * before looking again. */
void server_engine_unstall(struct server_engine *engine);
/** The handshake is complete. */
void server_engine_secured(struct server_engine *engine, const struct tls_information *information,
			   const struct mr_now *now);
/** @param result enum commit_result */
void server_engine_committed(struct server_engine *engine, uint32_t result,
			     const struct message_id *id, const struct mr_now *now);
/** @param request stays the caller's */
void server_engine_authenticated(struct server_engine *engine, const struct auth_request *request,
				 const struct mr_now *now);
/** The peer ended its side. */
void server_engine_ended(struct server_engine *engine, bool truncated, const struct mr_now *now);
/** deadline_us may have passed. */
void server_engine_timer(struct server_engine *engine, const struct mr_now *now);
/** The environment is draining: close unless a transaction runs. */
void server_engine_drain(struct server_engine *engine, const struct mr_now *now);
/** The session is gone: give chunks back. A submission that was handed over is not touched. */
void server_engine_release(struct server_engine *engine);

#endif
