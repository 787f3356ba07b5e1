/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A byte stream over one TCP connection, in clear, with STARTTLS on the way, or with TLS from the first byte. It is
 * what the SMTP sessions of both roles stand on: they see plaintext only.
 *
 * Owner: one worker. The stream is embedded in its session. Output is collected (replies of one turn make one record
 * or segment) and flushed at the end of the turn or when it passes a record's size.
 *
 * What must always hold (RFC 3207, 4.2 and 6): once stream_start_tls was called, no byte that came in clear is ever
 * handed to the session; if any byte beyond the STARTTLS command line (server) or the 220 reply (client) had already
 * come in clear, the stream fails.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_STREAM_H
#define MILLRACE_DATAPLANE_SMTP_STREAM_H

#include "dataplane/tcp/tcp.h"
#include "tls/tls.h"

struct stream;

enum stream_failure {
	STREAM_FAILED_TCP,	/**< connection gone; see `reason` */
	STREAM_FAILED_TLS,	/**< handshake or record failure; stream_error says why */
	STREAM_FAILED_INJECTION, /**< plaintext where the handshake must begin */
	STREAM_FAILED_MEMORY,
};

struct stream_callbacks {
	/** TCP is up (client side only). */
	void (*on_connected)(void *user);
	/** Plaintext. @return how many were taken; the rest is offered again after stream_resume */
	size_t (*on_receive)(void *user, const uint8_t *data, size_t size);
	/** The handshake is complete. */
	void (*on_tls)(void *user, const struct tls_information *information);
	/** The peer ended its side in order (FIN; under TLS: close_notify, or FIN without one: `truncated`). */
	void (*on_end)(void *user, bool truncated);
	/** `room` more plaintext bytes may be written (after stream_want_write). */
	void (*on_write_room)(void *user, size_t room);
	/** The last call: everything is gone. `failure` is meaningless when closed in order. */
	void (*on_closed)(void *user, bool in_order, enum stream_failure failure, enum tcp_close_reason reason);
};

/** Treat as private. */
struct stream {
	struct net_stack *stack;
	tcp_handle connection;
	const struct stream_callbacks *callbacks;
	void *user;
	struct tls_session *tls;
	const struct mr_now *now; /**< the turn's time, set by whoever turns the worker */
	uint8_t *out;		  /**< collected plaintext; from the worker's arena */
	uint32_t out_size;
	uint32_t out_capacity;
	uint8_t state;
	uint8_t flags;
	char error[128];
};

/** The TCP callbacks that a stream answers to; `user` of the connection is the struct stream. */
extern const struct tcp_callbacks stream_tcp_callbacks;

/** Attach to a connection (accepted, or being opened). */
void stream_init(struct stream *stream, struct net_stack *stack, tcp_handle connection,
		 const struct stream_callbacks *callbacks, void *user, const struct mr_now *now);
/** Collect plaintext to send. @return 0 or -ENOBUFS / -ENOTCONN (the stream is failing; on_closed follows) */
int stream_write(struct stream *stream, const void *data, size_t size);
/** Ask for on_write_room when the window has room. */
void stream_want_write(struct stream *stream);
/** Push what was collected towards TCP now. */
void stream_flush(struct stream *stream);
/**
 * Begin the handshake. Server: call from on_receive after writing the 220 reply; client: after reading it.
 * @param server_name SNI, client only
 * @return 0, -EPROTO when plaintext follows already (the stream fails), -ENOMEM
 */
int stream_start_tls(struct stream *stream, struct tls_context *context, const char *server_name);
/** Offer again what on_receive left. */
void stream_resume(struct stream *stream);
/** Flush, close_notify, FIN; on_closed follows when the peer is done too. */
void stream_close(struct stream *stream);
/** RST; on_closed is called before this returns. */
void stream_abort(struct stream *stream);
bool stream_is_tls(const struct stream *stream);
/** Bytes written and not yet acknowledged by the peer's TCP (ciphertext included). */
size_t stream_unacknowledged(const struct stream *stream);
const char *stream_error(const struct stream *stream);

#endif
