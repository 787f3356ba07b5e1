/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A byte stream over one TCP connection, in clear, with STARTTLS on the way, or with TLS from the
 * first byte. It is what the SMTP sessions of both roles stand on: they see plaintext only.
 *
 * Owner: one worker. The stream is embedded in its session. Output is collected in a chunk of the
 * worker's pool (replies to what came in one segment make one record or segment) and flushed when
 * the outermost callback returns, when it fills the chunk, and by stream_flush. Spans of half a
 * chunk or more bypass the collector. Received bytes that nobody has taken stay with TCP; of a TLS
 * record at most one chunk of plaintext is kept here.
 *
 * Callbacks and re-entry: every function may be called inside every callback. stream_write,
 * stream_want_write, stream_flush and stream_start_tls never call back; when they meet a failure,
 * on_closed follows from the next TCP event. stream_resume, stream_close and stream_abort may call
 * back before they return. on_closed is always the last thing that a stream does: it may free the
 * session that embeds it. Called inside a callback of the same stream, stream_abort and
 * stream_close let that callback return first.
 *
 * What must always hold (RFC 3207, 4.2 and 6): once stream_start_tls was called, no byte that came
 * in clear is ever handed to the session; if any byte beyond the STARTTLS command line (server) or
 * the 220 reply (client) had already come in clear, the stream fails. What TCP still holds counts
 * too: a peer that has read our last clear bytes acknowledges them, so the first byte after
 * stream_start_tls must come when nothing of ours is unacknowledged.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_STREAM_H
#define MILLRACE_DATAPLANE_SMTP_STREAM_H

#include "dataplane/buf/chunk.h"
#include "dataplane/tcp/tcp.h"
#include "tls/tls.h"

struct stream;

enum stream_failure {
	STREAM_FAILED_TCP,	 /**< connection gone; see `reason` */
	STREAM_FAILED_TLS,	 /**< handshake or record failure; stream_error says why */
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
	/** The peer ended its side in order (FIN; under TLS: close_notify, or FIN without one:
	 * `truncated`). */
	void (*on_end)(void *user, bool truncated);
	/** `room` more plaintext bytes may be written (after stream_want_write). */
	void (*on_write_room)(void *user, size_t room);
	/** The last call: everything is gone. `failure` is meaningless when closed in order. */
	void (*on_closed)(void *user, bool in_order, enum stream_failure failure,
			  enum tcp_close_reason reason);
};

/** Treat as private. */
struct stream {
	struct net_stack *stack;
	tcp_handle connection; /**< 0 once TCP has let go of it */
	tcp_handle last;       /**< its name for tcp_measure, also in on_closed */
	const struct stream_callbacks *callbacks;
	void *user;
	struct tls_context *context; /**< held while a ClientHello is collected */
	struct tls_session *tls;
	const struct mr_now *now; /**< the turn's time, set by whoever turns the worker */
	struct chunk_pool *chunks;
	struct chunk *out;  /**< collected plaintext, `length` bytes; NULL when there is none */
	struct chunk *held; /**< a ClientHello being collected, or plaintext from `mark` on that
			       on_receive left */
	uint32_t reserve;   /**< chunks that `held` leaves to others */
	uint32_t delivered; /**< plaintext bytes that on_receive took; wraps */
	uint32_t answered;  /**< octets that TLS sent of its own accord after the handshake */
	uint8_t state;
	uint8_t depth;	 /**< nested entries; on_closed and what frees memory wait for zero */
	uint8_t failure; /**< enum stream_failure, when STREAM_FLAG_FAILED is set */
	uint8_t reason;	 /**< enum tcp_close_reason, once `connection` is 0 */
	uint16_t flags;
	char error[128];
};

/** The TCP callbacks that a stream answers to; `user` of the connection is the struct stream. */
extern const struct tcp_callbacks stream_tcp_callbacks;

/**
 * Attach to a connection.
 * @param chunks the worker's pool
 * @param opening the connection is being opened: on_connected follows; otherwise it was accepted
 */
void stream_init(struct stream *stream, struct net_stack *stack, tcp_handle connection,
		 struct chunk_pool *chunks, const struct stream_callbacks *callbacks, void *user,
		 const struct mr_now *now, bool opening);
/**
 * What the peer makes us keep (half a ClientHello, plaintext that on_receive left) takes a chunk
 * only while more than `chunks` of them are free; else the stream fails. Without it: 0.
 */
void stream_set_reserve(struct stream *stream, uint32_t chunks);
/**
 * Collect plaintext to send. During a handshake it waits for its end.
 * @return 0 or -ENOBUFS / -ENOTCONN (the stream is failing; on_closed follows)
 */
int stream_write(struct stream *stream, const void *data, size_t size);
/** Ask for on_write_room when the window has room. */
void stream_want_write(struct stream *stream);
/** Push what was collected towards TCP now. */
void stream_flush(struct stream *stream);
/**
 * Begin the handshake; the context says in which role. STARTTLS: call from on_receive, server after
 * writing the 220 reply, client after reading it, and take nothing beyond that line. Implicit TLS:
 * server right after stream_init, client from on_connected. What was written before is sent in
 * clear first.
 * @param server_name SNI, client only
 * @return 0; -EALREADY under TLS; -ENOTCONN when closed or not open yet; -EPROTO when plaintext is
 * known to follow, -ENOMEM: the stream fails
 */
int stream_start_tls(struct stream *stream, struct tls_context *context, const char *server_name);
/** Offer again what on_receive left. */
void stream_resume(struct stream *stream);
/** Flush, close_notify, FIN; what still comes is discarded; on_closed follows when the peer is done
 * too. */
void stream_close(struct stream *stream);
/** RST; on_closed is called before this returns, or, inside a callback of this stream, once that
 * has returned. */
void stream_abort(struct stream *stream);
bool stream_is_tls(const struct stream *stream);
/** Bytes written and not yet acknowledged by the peer's TCP (ciphertext included). */
size_t stream_unacknowledged(const struct stream *stream);
const char *stream_error(const struct stream *stream);

#endif
