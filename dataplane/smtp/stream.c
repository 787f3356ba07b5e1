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
#include "dataplane/smtp/stream.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum state {
	STATE_OPENING,	 /* SYN sent */
	STATE_CLEAR,	 /* plaintext both ways */
	STATE_HELLO,	 /* server: a ClientHello is being collected in `held` */
	STATE_HANDSHAKE, /* TLS is being set up */
	STATE_PROTECTED, /* TLS is up */
	STATE_CLOSING,	 /* our FIN is queued; what comes is discarded */
	STATE_CLOSED,	 /* on_closed was called */
};

enum flag {
	FLAG_FAILED = 1 << 0,	  /* `failure` says how */
	FLAG_ABORT = 1 << 1,	  /* to be reset when the outermost entry ends */
	FLAG_WANT_WRITE = 1 << 2, /* on_write_room was asked for */
	FLAG_PAUSED = 1 << 3,	  /* on_receive left something */
	FLAG_RESUME = 1 << 4,	  /* stream_resume was called inside a callback */
	FLAG_FIN = 1 << 5,	  /* TCP's end came */
	FLAG_END_TOLD = 1 << 6,
	FLAG_CLOSE_NOTIFY = 1 << 7, /* the peer ended TLS; what follows is ignored */
	FLAG_CLEAR_USED = 1 << 8,   /* something was said in clear: TLS begins with STARTTLS */
	FLAG_FIRST_BYTE = 1 << 9,   /* the first byte after STARTTLS is still to come */
	FLAG_PENDING = 1 << 10,	    /* a key operation is under way */
	FLAG_TLS = 1 << 11,	    /* the handshake is complete */
};

/* A write of this size is worth a record or segment of its own. */
#define BYPASS_BYTES (CHUNK_DATA / 2)
/*
 * A peer can make TLS answer without reading the answers (KeyUpdate, RFC 8446, 4.6.3). More than
 * this unacknowledged is far beyond what on_write_room ever lets a session write.
 */
#define UNACKNOWLEDGED_MAX (512u * 1024u)
/* Plaintext that `room` bytes of TCP can carry: records of a chunk cost 29 octets each at most. */
#define TLS_OVERHEAD(room) ((room) / 128 + 64)

/* TLS record types that may come first (RFC 8446, 5.1). */
enum { RECORD_ALERT = 21, RECORD_HANDSHAKE = 22 };

static void enter(struct stream *s)
{
	s->depth++;
}

static bool has_flag(const struct stream *s, enum flag flag)
{
	return (s->flags & flag) != 0;
}

static bool is_alive(const struct stream *s)
{
	return s->connection != 0 && !has_flag(s, FLAG_ABORT);
}

/* Nothing more may be taken from the peer for now. */
static bool is_blocked(const struct stream *s)
{
	return !is_alive(s) || has_flag(s, FLAG_PAUSED) || has_flag(s, FLAG_PENDING);
}

static bool may_send(const struct stream *s)
{
	return s->state == STATE_CLEAR || s->state == STATE_PROTECTED;
}

__attribute__((format(printf, 3, 4))) static void
fail(struct stream *s, enum stream_failure failure, const char *format, ...)
{
	va_list arguments;

	if (has_flag(s, FLAG_FAILED))
		return;
	s->flags |= FLAG_FAILED;
	s->failure = (uint8_t)failure;
	va_start(arguments, format);
	vsnprintf(s->error, sizeof(s->error), format, arguments);
	va_end(arguments);
	/*
	 * A server lets the client read the alert that names its fault, and ends in order. A client
	 * has another host to try, or the same one in clear: it does not wait.
	 */
	if (failure == STREAM_FAILED_TLS && s->tls && s->context && s->connection) {
		s->state = STATE_CLOSING;
		tcp_close(s->stack, s->connection, s->now);
	} else {
		s->flags |= FLAG_ABORT;
	}
}

static void drop_chunk(struct stream *s, struct chunk **chunk)
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
	drop_chunk(s, &s->out);
	drop_chunk(s, &s->held);
}

/* --- sending --- */

static int emit(void *context, const uint8_t *data, size_t size)
{
	struct stream *s = context;
	int result;

	if (!s->connection)
		return -ENOTCONN;
	if (tcp_unacknowledged(s->stack, s->connection) > UNACKNOWLEDGED_MAX) {
		fail(s, STREAM_FAILED_MEMORY, "the peer does not read what it asks for");
		return -ENOBUFS;
	}
	result = tcp_send(s->stack, s->connection, data, size);
	if (result == -ENOBUFS)
		fail(s, STREAM_FAILED_MEMORY, "no chunks to send with");
	return result;
}

static int transmit(struct stream *s, const void *data, size_t size)
{
	if (s->state == STATE_PROTECTED) {
		if (tls_session_write(s->tls, data, size) == TLS_DONE)
			return 0;
		fail(s, STREAM_FAILED_TLS, "%s", tls_session_error(s->tls));
	} else {
		int result;

		s->flags |= FLAG_CLEAR_USED;
		result = emit(s, data, size);
		if (result == 0)
			return 0;
		fail(s, STREAM_FAILED_TCP, "TCP does not send");
	}
	return s->failure == STREAM_FAILED_MEMORY ? -ENOBUFS : -ENOTCONN;
}

static int flush_out(struct stream *s)
{
	struct chunk *out = s->out;
	int result;

	if (!out || !may_send(s) || !is_alive(s))
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
			fail(s, STREAM_FAILED_MEMORY,
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
			int result = flush_out(s);
			if (result < 0)
				return result;
		}
	}
	return 0;
}

/* A failure outside of every callback: TCP's next output calls, and on_closed follows from there.
 */
static int report(struct stream *s, int result)
{
	if (result < 0 && s->depth == 0 && s->connection)
		tcp_want_send(s->stack, s->connection);
	return result;
}

int stream_write(struct stream *s, const void *data, size_t size)
{
	int result;

	if (!is_alive(s) || s->state >= STATE_CLOSING)
		return -ENOTCONN;
	if (size < BYPASS_BYTES || !may_send(s))
		return report(s, collect(s, data, size));
	result = flush_out(s);
	if (result == 0)
		result = transmit(s, data, size);
	return report(s, result);
}

void stream_flush(struct stream *s)
{
	report(s, flush_out(s));
}

void stream_want_write(struct stream *s)
{
	if (!is_alive(s) || s->state >= STATE_CLOSING)
		return;
	s->flags |= FLAG_WANT_WRITE;
	if (may_send(s))
		tcp_want_send(s->stack, s->connection);
}

/* --- the way out --- */

static void advance(struct stream *s);

/* The last thing that a stream does. */
static void finish(struct stream *s)
{
	bool in_order = !has_flag(s, FLAG_FAILED) && s->reason == TCP_CLOSED;
	enum stream_failure failure = has_flag(s, FLAG_FAILED) ? s->failure : STREAM_FAILED_TCP;

	release(s);
	s->state = STATE_CLOSED;
	s->callbacks->on_closed(s->user, in_order, failure, s->reason);
}

static void leave(struct stream *s)
{
	if (s->depth > 1) {
		s->depth--;
		return;
	}
	while (has_flag(s, FLAG_RESUME)) {
		uint32_t before = s->delivered;

		advance(s);
		if (s->delivered == before)
			s->flags &= (uint16_t)~FLAG_RESUME; /* resumed in vain */
	}
	flush_out(s);
	if (has_flag(s, FLAG_ABORT) && s->connection)
		tcp_abort(s->stack, s->connection, s->now);
	s->depth = 0;
	if (s->state == STATE_CLOSED)
		return;
	if (!s->connection)
		finish(s);
	else if (s->state == STATE_CLOSING)
		release(s);
}

/* --- receiving --- */

static void tell_end(struct stream *s, bool truncated)
{
	if (has_flag(s, FLAG_END_TOLD) || s->state == STATE_CLOSING)
		return;
	s->flags |= FLAG_END_TOLD;
	s->callbacks->on_end(s->user, truncated);
}

/* TCP's end came and all before it was used. */
static void end_of_input(struct stream *s)
{
	switch (s->state) {
	case STATE_CLEAR:
		tell_end(s, false);
		break;
	case STATE_HELLO:
	case STATE_HANDSHAKE:
		fail(s, STREAM_FAILED_TLS,
		     "the peer closed the connection during the TLS handshake");
		break;
	case STATE_PROTECTED:
		tell_end(s, true); /* unless close_notify came: then it was told */
		break;
	default:
		break;
	}
}

/* Plaintext to the session. @return what it took */
static size_t offer(struct stream *s, const uint8_t *data, size_t size)
{
	size_t taken = s->callbacks->on_receive(s->user, data, size);

	assert(taken <= size);
	s->delivered += (uint32_t)taken;
	return taken;
}

static size_t offer_clear(struct stream *s, const uint8_t *data, size_t size)
{
	size_t taken;

	s->flags |= FLAG_CLEAR_USED;
	taken = offer(s, data, size);
	if (taken == size || !is_alive(s))
		return taken;
	if (s->state == STATE_HELLO || s->state == STATE_HANDSHAKE)
		fail(s, STREAM_FAILED_INJECTION, "%zu octets in clear followed the start of TLS",
		     size - taken);
	else if (s->state == STATE_CLEAR)
		s->flags |= FLAG_PAUSED;
	return taken;
}

/*
 * RFC 3207, 6. A peer that has read our last clear line has acknowledged it, so anything that
 * arrives before that was sent blindly: somebody put it there for us to take as said under TLS.
 */
static bool begins_in_order(struct stream *s, uint8_t first)
{
	s->flags &= (uint16_t)~FLAG_FIRST_BYTE;
	if (tcp_unacknowledged(s->stack, s->connection) == 0 &&
	    (first == RECORD_HANDSHAKE || first == RECORD_ALERT))
		return true;
	fail(s, STREAM_FAILED_INJECTION, "data in clear stood where the TLS handshake must begin");
	return false;
}

static void run_handshake(struct stream *s)
{
	struct tls_information information;

	switch (tls_session_handshake(s->tls)) {
	case TLS_DONE:
		s->state = STATE_PROTECTED;
		s->flags |= FLAG_TLS;
		if (has_flag(s, FLAG_WANT_WRITE))
			tcp_want_send(s->stack, s->connection);
		tls_session_information(s->tls, &information);
		s->callbacks->on_tls(s->user, &information);
		break;
	case TLS_WANT_INPUT:
		if (tls_session_expects_hello(s->tls))
			s->state = STATE_HELLO;
		break;
	case TLS_PENDING:
		s->flags |= FLAG_PENDING;
		break;
	case TLS_END:
	case TLS_ERROR:
		fail(s, STREAM_FAILED_TLS, "%s", tls_session_error(s->tls));
		break;
	}
}

static void wake(void *context)
{
	struct stream *s = context;

	enter(s);
	s->flags &= (uint16_t)~FLAG_PENDING;
	advance(s);
	leave(s);
}

static bool create_session(struct stream *s, struct tls_context *context, const char *server_name)
{
	struct tls_session_settings settings = {
		.emit = emit, .wake = wake, .context = s, .server_name = server_name};

	s->tls = tls_session_create(context, &settings);
	if (!s->tls)
		fail(s, STREAM_FAILED_MEMORY, "no memory for a TLS session");
	return s->tls != NULL;
}

/* @return octets taken: not beyond the ClientHello */
static size_t collect_hello(struct stream *s, const uint8_t *data, size_t size)
{
	char server_name[256];
	size_t before, taken;
	int hello;

	if (!s->held)
		s->held = chunk_alloc(s->chunks);
	if (!s->held) {
		fail(s, STREAM_FAILED_MEMORY, "no chunk for a ClientHello");
		return 0;
	}
	before = s->held->length;
	taken = CHUNK_DATA - before < size ? CHUNK_DATA - before : size;
	memcpy(s->held->data + before, data, taken);
	s->held->length = (uint16_t)(before + taken);
	hello = tls_client_hello_peek(s->held->data, s->held->length, server_name);
	if (hello < 0) {
		fail(s, STREAM_FAILED_TLS, "what the client sent is no sound ClientHello");
		return taken;
	}
	if (hello == 0) {
		if (s->held->length == CHUNK_DATA)
			fail(s, STREAM_FAILED_TLS, "the ClientHello is over %u octets", CHUNK_DATA);
		return taken;
	}
	if (s->tls || create_session(s, s->context, NULL)) {
		s->state = STATE_HANDSHAKE;
		tls_session_input(s->tls, s->held->data, (size_t)hello);
		run_handshake(s);
		tls_session_input(s->tls, NULL, 0);
	}
	drop_chunk(s, &s->held);
	return (size_t)hello - before;
}

/* Plaintext goes to the session; what it leaves waits in `held`. @return false: stop reading */
static bool deliver(struct stream *s, const uint8_t *data, size_t size)
{
	size_t taken = offer(s, data, size);

	if (!is_alive(s) || s->state != STATE_PROTECTED)
		return false;
	if (taken == size)
		return true;
	s->held = chunk_alloc(s->chunks);
	if (!s->held) {
		fail(s, STREAM_FAILED_MEMORY, "no chunk for received data");
		return false;
	}
	memcpy(s->held->data, data + taken, size - taken);
	s->held->length = (uint16_t)(size - taken);
	s->held->mark = 0;
	s->flags |= FLAG_PAUSED;
	return false;
}

/* Decrypt and hand over until input, the session's will or the connection ends. */
static void read_records(struct stream *s)
{
	uint8_t plain[CHUNK_DATA];
	size_t size;

	while (s->state == STATE_PROTECTED && !is_blocked(s) && !has_flag(s, FLAG_CLOSE_NOTIFY)) {
		switch (tls_session_read(s->tls, plain, sizeof(plain), &size)) {
		case TLS_DONE:
			if (!deliver(s, plain, size))
				return;
			break;
		case TLS_WANT_INPUT:
			return;
		case TLS_PENDING:
			s->flags |= FLAG_PENDING;
			return;
		case TLS_END:
			s->flags |= FLAG_CLOSE_NOTIFY;
			tell_end(s, false);
			return;
		case TLS_ERROR:
			fail(s, STREAM_FAILED_TLS, "%s", tls_session_error(s->tls));
			return;
		}
	}
}

static size_t decrypt(struct stream *s, const uint8_t *data, size_t size)
{
	size_t left;

	tls_session_input(s->tls, data, size);
	if (s->state == STATE_HANDSHAKE)
		run_handshake(s);
	read_records(s);
	left = tls_session_input_left(s->tls);
	tls_session_input(s->tls, NULL, 0);
	return size - left;
}

static size_t receive(struct stream *s, const uint8_t *data, size_t size)
{
	size_t taken = 0;

	while (taken < size && !is_blocked(s)) {
		if (has_flag(s, FLAG_FIRST_BYTE) && !begins_in_order(s, data[taken]))
			break;
		switch (s->state) {
		case STATE_CLEAR:
			taken += offer_clear(s, data + taken, size - taken);
			break;
		case STATE_HELLO:
			taken += collect_hello(s, data + taken, size - taken);
			break;
		case STATE_HANDSHAKE:
		case STATE_PROTECTED:
			if (has_flag(s, FLAG_CLOSE_NOTIFY))
				return size;
			taken += decrypt(s, data + taken, size - taken);
			break;
		default:
			return size;
		}
	}
	return taken;
}

/* Plaintext kept from the last record. */
static void offer_held(struct stream *s)
{
	struct chunk *held = s->held;

	if (!held || s->state != STATE_PROTECTED)
		return;
	held->mark += (uint32_t)offer(s, held->data + held->mark, held->length - held->mark);
	if (s->state != STATE_PROTECTED)
		return;
	if (held->mark < held->length)
		s->flags |= FLAG_PAUSED;
	else
		drop_chunk(s, &s->held);
}

/* Use what is here already: plaintext, records inside the library. */
static void drain(struct stream *s)
{
	s->flags &= (uint16_t) ~(FLAG_RESUME | FLAG_PAUSED);
	if (!is_blocked(s))
		offer_held(s);
	if (s->state == STATE_HANDSHAKE && !is_blocked(s))
		run_handshake(s);
	read_records(s);
}

/* Go on where something stopped: the session's will, a key operation. Not inside TCP's on_receive.
 */
static void advance(struct stream *s)
{
	drain(s);
	if (is_blocked(s))
		return;
	if (has_flag(s, FLAG_FIN))
		end_of_input(s);
	else
		tcp_resume_receive(s->stack, s->connection, s->now);
}

void stream_resume(struct stream *s)
{
	if (!is_alive(s))
		return;
	s->flags |= FLAG_RESUME;
	enter(s);
	leave(s);
}

/* --- what TCP says --- */

static void on_tcp_connected(void *user, tcp_handle connection)
{
	struct stream *s = user;

	enter(s);
	s->state = STATE_CLEAR;
	if (s->callbacks->on_connected)
		s->callbacks->on_connected(s->user);
	leave(s);
}

static size_t on_tcp_receive(void *user, tcp_handle connection, const uint8_t *data, size_t size)
{
	struct stream *s = user;
	size_t taken;

	enter(s);
	taken = receive(s, data, size);
	/* A callback has called stream_resume: what is left is offered from here, while TCP lends
	 * it. */
	while (has_flag(s, FLAG_RESUME)) {
		uint32_t before = s->delivered;

		drain(s);
		taken += receive(s, data + taken, size - taken);
		if (s->delivered == before)
			s->flags &= (uint16_t)~FLAG_RESUME;
	}
	leave(s);
	return taken;
}

static void on_tcp_end(void *user, tcp_handle connection)
{
	struct stream *s = user;

	enter(s);
	s->flags |= FLAG_FIN;
	if (!is_blocked(s))
		end_of_input(s);
	leave(s);
}

static void on_tcp_send_room(void *user, tcp_handle connection, size_t room)
{
	struct stream *s = user;
	size_t used;

	enter(s);
	if (has_flag(s, FLAG_WANT_WRITE) && is_alive(s) && may_send(s)) {
		used = s->out ? s->out->length : 0;
		if (s->state == STATE_PROTECTED)
			used += TLS_OVERHEAD(room);
		if (room > used) {
			s->flags &= (uint16_t)~FLAG_WANT_WRITE;
			s->callbacks->on_write_room(s->user, room - used);
		} else {
			flush_out(s);
			tcp_want_send(s->stack, s->connection);
		}
	}
	leave(s);
}

static void on_tcp_closed(void *user, tcp_handle connection, enum tcp_close_reason reason)
{
	struct stream *s = user;

	enter(s);
	s->connection = 0;
	s->reason = (uint8_t)reason;
	if (reason == TCP_RESET && (s->state == STATE_HELLO || s->state == STATE_HANDSHAKE))
		fail(s, STREAM_FAILED_TLS,
		     "the peer reset the connection during the TLS handshake");
	leave(s);
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
		.callbacks = callbacks,
		.user = user,
		.now = now,
		.chunks = chunks,
		.state = opening ? STATE_OPENING : STATE_CLEAR,
	};
}

int stream_start_tls(struct stream *s, struct tls_context *context, const char *server_name)
{
	int result;

	if (!is_alive(s) || s->state == STATE_OPENING || s->state >= STATE_CLOSING)
		return -ENOTCONN;
	if (s->state != STATE_CLEAR)
		return -EALREADY;
	if (has_flag(s, FLAG_PAUSED)) {
		fail(s, STREAM_FAILED_INJECTION, "data in clear followed the start of TLS");
		return report(s, -EPROTO);
	}
	result = flush_out(s);
	if (result < 0)
		return report(s, result);
	if (has_flag(s, FLAG_CLEAR_USED))
		s->flags |= FLAG_FIRST_BYTE;
	if (tls_context_is_server(context)) {
		tls_context_retain(context);
		s->context = context;
		s->state = STATE_HELLO;
		return 0;
	}
	if (!create_session(s, context, server_name))
		return report(s, -ENOMEM);
	s->state = STATE_HANDSHAKE;
	run_handshake(s);
	return has_flag(s, FLAG_FAILED) ? report(s, -EPROTO) : 0;
}

void stream_close(struct stream *s)
{
	if (!is_alive(s) || s->state >= STATE_CLOSING)
		return;
	enter(s);
	if (s->state == STATE_OPENING) {
		s->flags |= FLAG_ABORT;
	} else if (flush_out(s) == 0) {
		if (s->state == STATE_PROTECTED)
			tls_session_close(s->tls);
		s->state = STATE_CLOSING;
		tcp_close(s->stack, s->connection, s->now);
		/* What TCP still holds is to be discarded, or its window never opens for the peer's
		 * FIN. */
		if (is_blocked(s))
			s->flags |= FLAG_RESUME;
		s->flags &= (uint16_t)~FLAG_PENDING;
	}
	leave(s);
}

void stream_abort(struct stream *s)
{
	if (!s->connection)
		return;
	enter(s);
	s->flags |= FLAG_ABORT;
	leave(s);
}

bool stream_is_tls(const struct stream *s)
{
	return has_flag(s, FLAG_TLS);
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
