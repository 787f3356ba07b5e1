/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The SMTP client's protocol engine: one connection's dialogue from greeting to QUIT, transaction
 * after transaction (RFC 5321, 3 and 4; RFC 2920, 3030, 3207, 1870, 6152, 6531, 3461, 9422).
 * Sans-I/O: bytes, room and the time go in; bytes to send come out of a sink, and what happened
 * comes out of smtp_client_event.
 *
 * Owner: the session it is embedded in. No memory of its own: the delivery and its body are
 * borrowed from smtp_client_begin until CLIENT_EVENT_DONE (or a failure with `restart`), and not
 * touched afterwards.
 *
 * What must hold:
 * - A recipient counts as delivered only by a 2xx reply that came after the whole body was written,
 * with nothing unread behind it. What is lost after the end of the body was written is marked as a
 * possible duplicate.
 * - Replies and commands stay in step: a reply that nobody waits for ends the session (notes:
 * response injection).
 * - Nothing that was said before the TLS handshake is believed after it (RFC 3207, 4.2).
 * - No bare CR or LF leaves in a body, and no CR, LF or NUL in a command's arguments.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_CLIENT_H
#define MILLRACE_DATAPLANE_SMTP_CLIENT_H

#include "dataplane/message.h"
#include "dataplane/smtp/client_body.h"
#include "dataplane/smtp/client_features.h"
#include "dataplane/smtp/reply.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Where the engine's output goes. */
struct smtp_client_sink {
	/** Take bytes to send. @return 0; anything else: the connection is failing,
	 * smtp_client_lost follows */
	int (*write)(void *context, const void *data, size_t size);
	/** Call smtp_client_room when bytes may be sent. */
	void (*want_write)(void *context);
	/**
	 * Bytes that the peer's TCP has not acknowledged. An answer to the body acknowledges the
	 * body, so one that comes before was meant for something else. NULL: unknown.
	 */
	size_t (*unacknowledged)(void *context);
	void *context;
};

struct smtp_client_settings {
	const char *ehlo_name;		  /**< copied */
	const struct path_settings *path; /**< copied */
	bool avoid_tls;	       /**< `may` only: its handshake failed lately; `encrypt` ignores it */
	bool avoid_pipelining; /**< the host fell out of step lately */
	bool avoid_chunking;   /**< the host offered it and did not know it */
	uint32_t recipients_learned; /**< RCPTMAX found out earlier; 0: unknown */
};

enum smtp_client_event {
	CLIENT_EVENT_NONE,
	CLIENT_EVENT_START_TLS, /**< 220 was read: begin the handshake, then smtp_client_tls_done */
	CLIENT_EVENT_READY,	/**< smtp_client_begin or smtp_client_quit may be called */
	CLIENT_EVENT_DONE, /**< every recipient of the delivery has its outcome; the delivery is let
			      go */
	CLIENT_EVENT_FAILED, /**< the session is over: close it; client->failure says why */
};

enum smtp_client_failure_kind {
	CLIENT_FAILURE_NONE,
	CLIENT_FAILURE_REPLY, /**< the peer declined the session: a 4xx, 5xx or 421 reply */
	CLIENT_FAILURE_TLS,   /**< TLS was needed and is not to be had, or its handshake failed */
	CLIENT_FAILURE_INJECTION, /**< clear bytes behind the 220 reply to STARTTLS */
	CLIENT_FAILURE_PROTOCOL,  /**< not SMTP */
	CLIENT_FAILURE_DESYNC,	  /**< replies and commands are out of step */
	CLIENT_FAILURE_TIMEOUT,
	CLIENT_FAILURE_LOST, /**< the connection went away */
	CLIENT_FAILURE_BODY, /**< the message may not be sent: a bare CR or LF in it */
	CLIENT_FAILURE_OURS, /**< what we were given to send is not whole */
};

struct smtp_client_failure {
	enum smtp_client_failure_kind kind;
	enum smtp_phase phase;
	bool remote;  /**< `reply` is the peer's */
	bool restart; /**< the delivery is untouched and may begin again on a new connection at once
		       */
	bool no_chunking;	 /**< remember: the host does not know BDAT */
	struct smtp_reply reply; /**< ours has code 0 */
};

/** Why the engine goes where; private. */
enum smtp_client_state {
	CLIENT_STATE_GREETING,
	CLIENT_STATE_EHLO,
	CLIENT_STATE_HELO,
	CLIENT_STATE_STARTTLS,
	CLIENT_STATE_TLS,
	CLIENT_STATE_IDLE,
	CLIENT_STATE_TRANSACTION,
	CLIENT_STATE_QUIT,
	CLIENT_STATE_FAILED,
};

/** What is to be written next in a transaction; private. */
enum smtp_client_send {
	SEND_RSET,
	SEND_MAIL,
	SEND_RCPT,
	SEND_DATA,
	SEND_BODY,
	SEND_NOTHING,
};

/** Which reply comes next in a transaction; private. */
enum smtp_client_await {
	AWAIT_RSET,
	AWAIT_MAIL,
	AWAIT_RCPT,
	AWAIT_DATA,
	AWAIT_FINAL,
};

/** A delivery under way; private. */
struct smtp_client_transaction {
	struct delivery *delivery;
	struct client_body body;
	uint64_t began_us;
	uint64_t body_began_us;
	enum smtp_client_send send;
	enum smtp_client_await await;
	uint32_t outstanding;	 /**< replies that are due */
	uint32_t rcpt_next;	 /**< index of the next recipient to be sent */
	uint32_t rcpt_to_answer; /**< index from which the next RCPT reply's recipient is looked for
				  */
	uint32_t rcpt_unsent;	 /**< recipients still to be sent */
	uint32_t rcpt_unanswered; /**< sent and not answered */
	uint32_t accepted;
	uint32_t refused_too_many; /**< recipients refused because they were too many */
	size_t room;		   /**< octets that may be written without asking */
	bool chunking;
	bool eager; /**< the body may follow before the RCPT replies are in */
	bool smtputf8;
	bool any_reply;
	bool mail_refused;
	bool data_sent;	   /**< DATA or BDAT was written */
	bool body_written; /**< the end of the body was handed to the sink */
	bool empty_body;   /**< 354 with no recipient: only the dot is sent (RFC 2920, 3.1) */
};

/** Treat as private, but for `failure`, `features` and the counts below it. */
struct smtp_client {
	struct smtp_client_failure failure;
	struct client_features features; /**< of the EHLO that counts */
	uint32_t transactions;		 /**< ended with a reply to each command */
	uint32_t recipients_learned;	 /**< RCPTMAX as found out; 0: unknown */
	uint64_t deadline_us;		 /**< MR_NEVER: none */
	uint64_t timeout_us;		 /**< what deadline_us was made from */

	struct smtp_client_sink sink;
	enum smtp_client_state state;
	bool tls_active;
	bool tls_refused;  /**< STARTTLS was offered and answered with a refusal */
	bool needs_reset;  /**< the last transaction was left open */
	bool out_of_order; /**< output failed: write no more */
	bool start_tls_event, ready_event, done_event, failed_event;
	bool avoid_tls, avoid_pipelining, avoid_chunking;
	uint64_t now_us;
	uint64_t idle_since_us;
	struct path_settings settings;
	struct smtp_client_transaction transaction;
	struct reply_parser parser;
	char ehlo_name[SMTP_DOMAIN_MAX + 1];
};

/** The connection is up; the greeting is waited for. */
void smtp_client_init(struct smtp_client *client, const struct smtp_client_settings *settings,
		      const struct smtp_client_sink *sink, uint64_t now_us);
/**
 * Bytes from the peer.
 * @return how many were taken. Fewer than size when an event is to be looked at first: call again
 * with the rest after the events, but with CLIENT_EVENT_START_TLS, after which any rest is an
 * injection
 */
size_t smtp_client_input(struct smtp_client *client, const uint8_t *data, size_t size,
			 uint64_t now_us);
/** `room` bytes may be written. */
void smtp_client_room(struct smtp_client *client, size_t room, uint64_t now_us);
/** The next thing that happened; CLIENT_EVENT_NONE when all is said. */
enum smtp_client_event smtp_client_event(struct smtp_client *client);

/** The handshake that CLIENT_EVENT_START_TLS asked for is complete: EHLO again. */
void smtp_client_tls_done(struct smtp_client *client, uint64_t now_us);
/** It failed, or cannot begin. @param why one line, may be NULL @param injection clear bytes
 * followed the 220 reply */
void smtp_client_tls_failed(struct smtp_client *client, const char *why, bool injection,
			    uint64_t now_us);
/** The connection is gone, or ends. @param why one line */
void smtp_client_lost(struct smtp_client *client, const char *why, uint64_t now_us);
/** deadline_us has passed. */
void smtp_client_timeout(struct smtp_client *client, uint64_t now_us);

/** Begin a transaction; only after CLIENT_EVENT_READY. */
void smtp_client_begin(struct smtp_client *client, struct delivery *delivery, uint64_t now_us);
/** Write QUIT; only when idle. The connection may be closed behind it. */
void smtp_client_quit(struct smtp_client *client, uint64_t now_us);
bool smtp_client_is_idle(const struct smtp_client *client);
/** For show sessions: "greeting", "rcpt", "idle" … */
const char *smtp_client_state_name(const struct smtp_client *client);

/**
 * Write one result into a recipient, or into all of a delivery that have none yet. For paths too.
 * The outcome follows from reply->code when there is one, else `outcome` is taken.
 */
void delivery_recipient_decide(struct delivery_recipient *recipient, enum outcome outcome,
			       enum smtp_phase phase, const struct smtp_reply *reply, bool remote);
void delivery_decide(struct delivery *delivery, enum outcome outcome, enum smtp_phase phase,
		     const struct smtp_reply *reply, bool remote);
/** A reply of our own: no code, an enhanced code and a text (printf). */
void smtp_reply_local(struct smtp_reply *reply, uint8_t class, uint16_t subject, uint16_t detail,
		      const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
