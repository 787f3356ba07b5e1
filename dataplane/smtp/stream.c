/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The byte stream under SMTP sessions: clear text, STARTTLS (RFC 3207) and implicit TLS (RFC 8314)
 * over one TCP connection. See stream.h for what must always hold.
 *
 * Owner: one worker. Memory: chunks of the worker's pool; the TLS session's own. Nothing is freed
 * and on_closed is not called while a callback of this stream is on the stack: every way in counts
 * itself (enter), and the outermost way out (leave) does what had to wait. After leave the stream
 * may not be touched.
 */
#include "dataplane/smtp/stream_private.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A write of this size is worth a record or segment of its own. */
#define BYPASS_BYTES (CHUNK_DATA / 2)
/*
 * A peer can make TLS answer and not read the answers (KeyUpdate, RFC 8446, 4.6.3: 26 octets each,
 * due once in 2^24 records). So many octets of answers a connection, and no more.
 */
#define TLS_ANSWERS_MAX (64u * 1024u)
/* Plaintext that `room` bytes of TCP can carry: records of a chunk cost 29 octets each at most. */
#define TLS_OVERHEAD(room) ((room) / 128 + 64)

/* FIN behind what is queued. What TCP still holds is to be discarded, or the peer's FIN never
 * shows. */
static void begin_closing(struct stream *s)
{
	s->state = STREAM_CLOSING;
	tcp_close(s->stack, s->connection, s->now);
	if (stream_is_blocked(s))
		s->flags |= STREAM_FLAG_RESUME;
	s->flags &= (uint16_t)~STREAM_FLAG_PENDING;
}

void stream_fail(struct stream *s, enum stream_failure failure, const char *format, ...)
{
	va_list arguments;

	if (stream_has(s, STREAM_FLAG_FAILED))
		return;
	s->flags |= STREAM_FLAG_FAILED;
	s->failure = (uint8_t)failure;
	va_start(arguments, format);
	vsnprintf(s->error, sizeof(s->error), format, arguments);
	va_end(arguments);
	/*
	 * A server lets the client read the alert that names its fault, and ends in order. A client
	 * has another host to try, or the same one in clear: it does not wait.
	 */
	if (failure == STREAM_FAILED_TLS && s->tls && s->context && s->connection)
		begin_closing(s);
	else
		s->flags |= STREAM_FLAG_ABORT;
}

void stream_drop_chunk(struct stream *s, struct chunk **chunk)
{
	if (*chunk)
		chunk_free(s->chunks, *chunk);
	*chunk = NULL;
}

static void release(struct stream *s)
{
	tls_session_destroy(s->tls);
	s->tls = NULL;
	tls_context_release(s->context);
	s->context = NULL;
	stream_drop_chunk(s, &s->out);
	stream_drop_chunk(s, &s->held);
}

/* --- sending --- */

int stream_emit(void *context, const uint8_t *data, size_t size)
{
	struct stream *s = context;
	int result;

	if (!s->connection)
		return -ENOTCONN;
	if (stream_has(s, STREAM_FLAG_TLS) && !stream_has(s, STREAM_FLAG_WRITING)) {
		s->answered += (uint32_t)size;
		if (s->answered > TLS_ANSWERS_MAX) {
			stream_fail(s, STREAM_FAILED_MEMORY,
				    "the peer makes TLS answer without end");
			return -ENOBUFS;
		}
	}
	result = tcp_send(s->stack, s->connection, data, size);
	if (result == -ENOBUFS)
		stream_fail(s, STREAM_FAILED_MEMORY, "no chunks to send with");
	return result;
}

static int transmit(struct stream *s, const void *data, size_t size)
{
	if (s->state == STREAM_PROTECTED) {
		enum tls_result result;

		s->flags |= STREAM_FLAG_WRITING;
		result = tls_session_write(s->tls, data, size);
		s->flags &= (uint16_t)~STREAM_FLAG_WRITING;
		if (result == TLS_DONE)
			return 0;
		stream_fail(s, STREAM_FAILED_TLS, "%s", tls_session_error(s->tls));
	} else {
		int result;

		s->flags |= STREAM_FLAG_CLEAR_USED;
		result = stream_emit(s, data, size);
		if (result == 0)
			return 0;
		stream_fail(s, STREAM_FAILED_TCP, "TCP does not send");
	}
	return s->failure == STREAM_FAILED_MEMORY ? -ENOBUFS : -ENOTCONN;
}

int stream_flush_out(struct stream *s)
{
	struct chunk *out = s->out;
	int result;

	if (!out || !stream_may_send(s) || !stream_is_alive(s))
		return 0;
	s->out = NULL;
	result = transmit(s, out->data, out->length);
	chunk_free(s->chunks, out);
	return result;
}

static int collect(struct stream *s, const uint8_t *data, size_t size)
{
	while (size > 0) {
		size_t n;

		if (!s->out)
			s->out = chunk_alloc(s->chunks);
		if (!s->out || s->out->length == CHUNK_DATA) {
			stream_fail(s, STREAM_FAILED_MEMORY,
				    s->out ? "too much was written before the handshake ended"
					   : "no chunk to write to");
			return -ENOBUFS;
		}
		n = CHUNK_DATA - s->out->length;
		if (n > size)
			n = size;
		memcpy(s->out->data + s->out->length, data, n);
		s->out->length = (uint16_t)(s->out->length + n);
		data += n;
		size -= n;
		if (s->out->length == CHUNK_DATA) {
			int result = stream_flush_out(s);
			if (result < 0)
				return result;
		}
	}
	return 0;
}

/* A failure outside of every callback: TCP's next output calls, and on_closed follows from there.
 */
int stream_report(struct stream *s, int result)
{
	if (result < 0 && s->depth == 0 && s->connection)
		tcp_want_send(s->stack, s->connection);
	return result;
}

int stream_write(struct stream *s, const void *data, size_t size)
{
	int result;

	if (!stream_is_alive(s) || s->state >= STREAM_CLOSING)
		return -ENOTCONN;
	if (size < BYPASS_BYTES || !stream_may_send(s))
		return stream_report(s, collect(s, data, size));
	result = stream_flush_out(s);
	if (result == 0)
		result = transmit(s, data, size);
	return stream_report(s, result);
}

void stream_flush(struct stream *s)
{
	stream_report(s, stream_flush_out(s));
}

void stream_want_write(struct stream *s)
{
	if (!stream_is_alive(s) || s->state >= STREAM_CLOSING)
		return;
	s->flags |= STREAM_FLAG_WANT_WRITE;
	if (stream_may_send(s))
		tcp_want_send(s->stack, s->connection);
}

/* --- the way out --- */

/* The last thing that a stream does. */
static void finish(struct stream *s)
{
	bool in_order = !stream_has(s, STREAM_FLAG_FAILED) && s->reason == TCP_CLOSED;
	enum stream_failure failure =
		stream_has(s, STREAM_FLAG_FAILED) ? s->failure : STREAM_FAILED_TCP;

	release(s);
	s->state = STREAM_CLOSED;
	s->callbacks->on_closed(s->user, in_order, failure, s->reason);
}

void stream_leave(struct stream *s)
{
	if (s->depth > 1) {
		s->depth--;
		return;
	}
	while (stream_has(s, STREAM_FLAG_RESUME)) {
		uint32_t before = s->delivered;

		stream_advance(s);
		if (s->delivered == before)
			s->flags &= (uint16_t)~STREAM_FLAG_RESUME; /* resumed in vain */
	}
	stream_flush_out(s);
	if (stream_has(s, STREAM_FLAG_ABORT) && s->connection)
		tcp_abort(s->stack, s->connection, s->now);
	s->depth = 0;
	if (s->state == STREAM_CLOSED)
		return;
	if (!s->connection)
		finish(s);
	else if (s->state == STREAM_CLOSING)
		release(s);
}

/* --- receiving --- */

void stream_tell_end(struct stream *s, bool truncated)
{
	if (stream_has(s, STREAM_FLAG_END_TOLD) || s->state == STREAM_CLOSING)
		return;
	s->flags |= STREAM_FLAG_END_TOLD;
	s->callbacks->on_end(s->user, truncated);
}

/* TCP's end came and all before it was used. */
static void end_of_input(struct stream *s)
{
	switch (s->state) {
	case STREAM_CLEAR:
		stream_tell_end(s, false);
		break;
	case STREAM_HELLO:
	case STREAM_HANDSHAKE:
		stream_fail(s, STREAM_FAILED_TLS,
			    "the peer closed the connection during the TLS handshake");
		break;
	case STREAM_PROTECTED:
		stream_tell_end(s, true); /* unless close_notify came: then it was told */
		break;
	default:
		break;
	}
}

/* Plaintext to the session. @return what it took */
size_t stream_offer(struct stream *s, const uint8_t *data, size_t size)
{
	size_t taken = s->callbacks->on_receive(s->user, data, size);

	assert(taken <= size);
	s->delivered += (uint32_t)taken;
	return taken;
}

static size_t offer_clear(struct stream *s, const uint8_t *data, size_t size)
{
	size_t taken;

	s->flags |= STREAM_FLAG_CLEAR_USED;
	taken = stream_offer(s, data, size);
	if (taken == size || !stream_is_alive(s))
		return taken;
	if (s->state == STREAM_HELLO || s->state == STREAM_HANDSHAKE)
		stream_fail(s, STREAM_FAILED_INJECTION,
			    "%zu octets in clear followed the start of TLS", size - taken);
	else if (s->state == STREAM_CLEAR)
		s->flags |= STREAM_FLAG_PAUSED;
	return taken;
}

static size_t receive(struct stream *s, const uint8_t *data, size_t size)
{
	size_t taken = 0;

	while (taken < size && !stream_is_blocked(s)) {
		if (stream_has(s, STREAM_FLAG_FIRST_BYTE) &&
		    !stream_begins_in_order(s, data[taken]))
			break;
		switch (s->state) {
		case STREAM_CLEAR:
			taken += offer_clear(s, data + taken, size - taken);
			break;
		case STREAM_HELLO:
			taken += stream_collect_hello(s, data + taken, size - taken);
			break;
		case STREAM_HANDSHAKE:
		case STREAM_PROTECTED:
			if (stream_has(s, STREAM_FLAG_CLOSE_NOTIFY))
				return size;
			taken += stream_decrypt(s, data + taken, size - taken);
			break;
		default:
			return size;
		}
	}
	return taken;
}

/* Use what is here already: plaintext, records inside the library. */
static void drain(struct stream *s)
{
	s->flags &= (uint16_t) ~(STREAM_FLAG_RESUME | STREAM_FLAG_PAUSED);
	if (!stream_is_blocked(s))
		stream_offer_held(s);
	if (s->state == STREAM_HANDSHAKE && !stream_is_blocked(s))
		stream_run_handshake(s);
	stream_read_records(s);
}

/* Go on where something stopped: the session's will, a key operation. Not inside TCP's on_receive.
 */
void stream_advance(struct stream *s)
{
	drain(s);
	if (stream_is_blocked(s))
		return;
	if (stream_has(s, STREAM_FLAG_FIN))
		end_of_input(s);
	else
		tcp_resume_receive(s->stack, s->connection, s->now);
}

void stream_resume(struct stream *s)
{
	if (!stream_is_alive(s))
		return;
	s->flags |= STREAM_FLAG_RESUME;
	stream_enter(s);
	stream_leave(s);
}

/* --- what TCP says --- */

static void on_tcp_connected(void *user, tcp_handle connection)
{
	struct stream *s = user;

	stream_enter(s);
	s->state = STREAM_CLEAR;
	if (s->callbacks->on_connected)
		s->callbacks->on_connected(s->user);
	stream_leave(s);
}

static size_t on_tcp_receive(void *user, tcp_handle connection, const uint8_t *data, size_t size)
{
	struct stream *s = user;
	size_t taken;

	stream_enter(s);
	taken = receive(s, data, size);
	/* A callback has called stream_resume: what is left is offered from here, while TCP lends
	 * it. */
	while (stream_has(s, STREAM_FLAG_RESUME)) {
		uint32_t before = s->delivered;

		drain(s);
		taken += receive(s, data + taken, size - taken);
		if (s->delivered == before)
			s->flags &= (uint16_t)~STREAM_FLAG_RESUME;
	}
	stream_leave(s);
	return taken;
}

static void on_tcp_end(void *user, tcp_handle connection)
{
	struct stream *s = user;

	stream_enter(s);
	s->flags |= STREAM_FLAG_FIN;
	if (!stream_is_blocked(s))
		end_of_input(s);
	stream_leave(s);
}

static void on_tcp_send_room(void *user, tcp_handle connection, size_t room)
{
	struct stream *s = user;
	size_t used;

	stream_enter(s);
	used = s->out ? s->out->length : 0;
	if (!stream_has(s, STREAM_FLAG_WANT_WRITE) || !stream_is_alive(s) || !stream_may_send(s)) {
		/* Nobody waits any more; or a failure is to be told by leaving. */
	} else if (used >= room) {
		stream_flush_out(s);
		tcp_want_send(s->stack, s->connection);
	} else {
		room -= used;
		if (s->state == STREAM_PROTECTED && room > TLS_OVERHEAD(room))
			room -= TLS_OVERHEAD(room);
		s->flags &= (uint16_t)~STREAM_FLAG_WANT_WRITE;
		s->callbacks->on_write_room(s->user, room);
	}
	stream_leave(s);
}

static void on_tcp_closed(void *user, tcp_handle connection, enum tcp_close_reason reason)
{
	struct stream *s = user;

	stream_enter(s);
	s->connection = 0;
	s->reason = (uint8_t)reason;
	if (reason == TCP_RESET && (s->state == STREAM_HELLO || s->state == STREAM_HANDSHAKE))
		stream_fail(s, STREAM_FAILED_TLS,
			    "the peer reset the connection during the TLS handshake");
	stream_leave(s);
}

const struct tcp_callbacks stream_tcp_callbacks = {
	.on_connected = on_tcp_connected,
	.on_receive = on_tcp_receive,
	.on_end = on_tcp_end,
	.on_send_room = on_tcp_send_room,
	.on_closed = on_tcp_closed,
};

/* --- life --- */

void stream_init(struct stream *s, struct net_stack *stack, tcp_handle connection,
		 struct chunk_pool *chunks, const struct stream_callbacks *callbacks, void *user,
		 const struct mr_now *now, bool opening)
{
	*s = (struct stream){
		.stack = stack,
		.connection = connection,
		.last = connection,
		.callbacks = callbacks,
		.user = user,
		.now = now,
		.chunks = chunks,
		.state = opening ? STREAM_OPENING : STREAM_CLEAR,
	};
}

void stream_set_reserve(struct stream *s, uint32_t chunks)
{
	s->reserve = chunks;
}

void stream_close(struct stream *s)
{
	if (!stream_is_alive(s) || s->state >= STREAM_CLOSING)
		return;
	stream_enter(s);
	if (s->state == STREAM_OPENING) {
		s->flags |= STREAM_FLAG_ABORT;
	} else if (stream_flush_out(s) == 0) {
		if (s->state == STREAM_PROTECTED)
			tls_session_close(s->tls);
		begin_closing(s);
	}
	stream_leave(s);
}

void stream_abort(struct stream *s)
{
	if (!s->connection)
		return;
	stream_enter(s);
	s->flags |= STREAM_FLAG_ABORT;
	stream_leave(s);
}

bool stream_is_tls(const struct stream *s)
{
	return stream_has(s, STREAM_FLAG_TLS);
}

size_t stream_unacknowledged(const struct stream *s)
{
	size_t queued = s->connection ? tcp_unacknowledged(s->stack, s->connection) : 0;

	return queued + (s->out ? s->out->length : 0);
}

const char *stream_error(const struct stream *s)
{
	return s->error;
}
