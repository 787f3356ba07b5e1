/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What stream.c and stream_tls.c share; nobody else includes it. */
#ifndef MILLRACE_DATAPLANE_SMTP_STREAM_PRIVATE_H
#define MILLRACE_DATAPLANE_SMTP_STREAM_PRIVATE_H

#include "dataplane/smtp/stream.h"

enum stream_state {
	STREAM_OPENING,	  /* SYN sent */
	STREAM_CLEAR,	  /* plaintext both ways */
	STREAM_HELLO,	  /* server: a ClientHello is being collected in `held` */
	STREAM_HANDSHAKE, /* TLS is being set up */
	STREAM_PROTECTED, /* TLS is up */
	STREAM_CLOSING,	  /* our FIN is queued; what comes is discarded */
	STREAM_CLOSED,	  /* on_closed was called */
};

enum stream_flag {
	STREAM_FLAG_FAILED = 1 << 0,	 /* `failure` says how */
	STREAM_FLAG_ABORT = 1 << 1,	 /* to be reset when the outermost entry ends */
	STREAM_FLAG_WANT_WRITE = 1 << 2, /* on_write_room was asked for */
	STREAM_FLAG_PAUSED = 1 << 3,	 /* on_receive left something */
	STREAM_FLAG_RESUME = 1 << 4,	 /* stream_resume was called inside a callback */
	STREAM_FLAG_FIN = 1 << 5,	 /* TCP's end came */
	STREAM_FLAG_END_TOLD = 1 << 6,
	STREAM_FLAG_CLOSE_NOTIFY = 1 << 7, /* the peer ended TLS; what follows is ignored */
	STREAM_FLAG_CLEAR_USED = 1 << 8, /* something was said in clear: TLS begins with STARTTLS */
	STREAM_FLAG_FIRST_BYTE = 1 << 9, /* the first byte after STARTTLS is still to come */
	STREAM_FLAG_PENDING = 1 << 10,	 /* a key operation is under way */
	STREAM_FLAG_TLS = 1 << 11,	 /* the handshake is complete */
	STREAM_FLAG_WRITING = 1 << 12,	 /* what TLS emits is the user's data */
};

static inline void stream_enter(struct stream *s)
{
	s->depth++;
}

static inline bool stream_has(const struct stream *s, enum stream_flag flag)
{
	return (s->flags & flag) != 0;
}

static inline bool stream_is_alive(const struct stream *s)
{
	return s->connection != 0 && !stream_has(s, STREAM_FLAG_ABORT);
}

/* Nothing more may be taken from the peer for now. */
static inline bool stream_is_blocked(const struct stream *s)
{
	return !stream_is_alive(s) || stream_has(s, STREAM_FLAG_PAUSED) ||
	       stream_has(s, STREAM_FLAG_PENDING);
}

static inline bool stream_may_send(const struct stream *s)
{
	return s->state == STREAM_CLEAR || s->state == STREAM_PROTECTED;
}

/* --- stream.c --- */

/** Note a failure; the first counts. The stream ends when the outermost entry does. */
__attribute__((format(printf, 3, 4))) void
stream_fail(struct stream *s, enum stream_failure failure, const char *format, ...);
/** Bytes to TCP. The tls_session_settings.emit of a stream. @return 0 or negative errno */
int stream_emit(void *context, const uint8_t *data, size_t size);
/** Send what was collected, if anything may be sent. @return 0, -ENOBUFS, -ENOTCONN: failed */
int stream_flush_out(struct stream *s);
/** Pass a result on; a failure outside of every callback is told from TCP's next output. */
int stream_report(struct stream *s, int result);
/** Pairs with stream_enter. The stream may be gone afterwards. */
void stream_leave(struct stream *s);
/** Go on where something stopped: the session's will, a key operation. Not inside TCP's on_receive.
 */
void stream_advance(struct stream *s);
void stream_tell_end(struct stream *s, bool truncated);
/** Plaintext to the session. @return what it took */
size_t stream_offer(struct stream *s, const uint8_t *data, size_t size);
void stream_drop_chunk(struct stream *s, struct chunk **chunk);

/* --- stream_tls.c --- */

/** The first byte after STARTTLS. @return false: the stream has failed */
bool stream_begins_in_order(struct stream *s, uint8_t first);
void stream_run_handshake(struct stream *s);
/** @return octets taken: not beyond the ClientHello */
size_t stream_collect_hello(struct stream *s, const uint8_t *data, size_t size);
/** Decrypt and hand over until input, the session's will or the connection ends. */
void stream_read_records(struct stream *s);
/** Ciphertext. @return octets used */
size_t stream_decrypt(struct stream *s, const uint8_t *data, size_t size);
/** Offer plaintext kept from the last record. */
void stream_offer_held(struct stream *s);

#endif
