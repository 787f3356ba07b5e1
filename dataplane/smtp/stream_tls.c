/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The TLS side of a stream: how it begins (RFC 3207, RFC 8314), the ClientHello that is looked at
 * before there is a session, the handshake, and records in.
 *
 * Always true: ciphertext is lent to the session only inside TCP's callback; of plaintext that the
 * user has not taken at most one chunk is kept, the rest stays encrypted with TCP.
 */
#include "dataplane/smtp/stream_private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* TLS record types that may come first (RFC 8446, 5.1). */
enum { RECORD_ALERT = 21, RECORD_HANDSHAKE = 22 };

/*
 * RFC 3207, 6. A peer that has read our last clear line has acknowledged it, so anything that
 * arrives before that was sent blindly: somebody put it there for us to take as said under TLS.
 */
bool stream_begins_in_order(struct stream *s, uint8_t first)
{
	s->flags &= (uint16_t)~STREAM_FLAG_FIRST_BYTE;
	if (tcp_unacknowledged(s->stack, s->connection) == 0 &&
	    (first == RECORD_HANDSHAKE || first == RECORD_ALERT))
		return true;
	stream_fail(s, STREAM_FAILED_INJECTION,
		    "data in clear stood where the TLS handshake must begin");
	return false;
}

void stream_run_handshake(struct stream *s)
{
	struct tls_information information;

	switch (tls_session_handshake(s->tls)) {
	case TLS_DONE:
		s->state = STREAM_PROTECTED;
		s->flags |= STREAM_FLAG_TLS;
		if (stream_has(s, STREAM_FLAG_WANT_WRITE))
			tcp_want_send(s->stack, s->connection);
		tls_session_information(s->tls, &information);
		s->callbacks->on_tls(s->user, &information);
		break;
	case TLS_WANT_INPUT:
		if (tls_session_expects_hello(s->tls))
			s->state = STREAM_HELLO;
		break;
	case TLS_PENDING:
		s->flags |= STREAM_FLAG_PENDING;
		break;
	case TLS_END:
	case TLS_ERROR:
		stream_fail(s, STREAM_FAILED_TLS, "%s", tls_session_error(s->tls));
		break;
	}
}

static void wake(void *context)
{
	struct stream *s = context;

	stream_enter(s);
	s->flags &= (uint16_t)~STREAM_FLAG_PENDING;
	stream_advance(s);
	stream_leave(s);
}

static bool create_session(struct stream *s, struct tls_context *context, const char *server_name)
{
	struct tls_session_settings settings = {
		.emit = stream_emit, .wake = wake, .context = s, .server_name = server_name};

	s->tls = tls_session_create(context, &settings);
	if (!s->tls)
		stream_fail(s, STREAM_FAILED_MEMORY, "no memory for a TLS session");
	return s->tls != NULL;
}

/** A chunk for what the peer makes us keep. @return false: the stream has failed */
static bool hold(struct stream *s, const char *what)
{
	if (chunk_pool_available(s->chunks) > s->reserve)
		s->held = chunk_alloc(s->chunks);
	if (!s->held)
		stream_fail(s, STREAM_FAILED_MEMORY, "no chunk for %s", what);
	return s->held != NULL;
}

/** A sound ClientHello is here whole: the handshake may begin. */
static void take_hello(struct stream *s, const uint8_t *hello, size_t size)
{
	if (!s->tls && !create_session(s, s->context, NULL))
		return;
	s->state = STREAM_HANDSHAKE;
	tls_session_input(s->tls, hello, size);
	stream_run_handshake(s);
	tls_session_input(s->tls, NULL, 0);
}

/** @return octets of a whole ClientHello at `data`; 0: not whole yet, or the stream has failed */
static size_t find_hello(struct stream *s, const uint8_t *data, size_t size)
{
	char server_name[256];
	int hello = tls_client_hello_peek(data, size, server_name);

	if (hello < 0)
		stream_fail(s, STREAM_FAILED_TLS, "what the client sent is no sound ClientHello");
	else if (hello == 0 && size == CHUNK_DATA)
		stream_fail(s, STREAM_FAILED_TLS, "the ClientHello is over %u octets", CHUNK_DATA);
	return hello > 0 ? (size_t)hello : 0;
}

size_t stream_collect_hello(struct stream *s, const uint8_t *data, size_t size)
{
	size_t before = s->held ? s->held->length : 0;
	size_t taken = CHUNK_DATA - before < size ? CHUNK_DATA - before : size;
	size_t hello;

	/* Most come whole, and need no chunk. */
	if (!s->held) {
		hello = find_hello(s, data, taken);
		if (hello > 0)
			take_hello(s, data, hello);
		if (hello > 0 || stream_has(s, STREAM_FLAG_FAILED))
			return hello > 0 ? hello : taken;
		if (!hold(s, "a ClientHello"))
			return 0;
	}
	memcpy(s->held->data + before, data, taken);
	s->held->length = (uint16_t)(before + taken);
	hello = before > 0 ? find_hello(s, s->held->data, s->held->length) : 0;
	if (hello == 0)
		return taken;
	take_hello(s, s->held->data, hello);
	stream_drop_chunk(s, &s->held);
	return hello - before;
}

/* Plaintext goes to the session; what it leaves waits in `held`. @return false: stop reading */
static bool deliver(struct stream *s, const uint8_t *data, size_t size)
{
	size_t taken = stream_offer(s, data, size);

	if (!stream_is_alive(s) || s->state != STREAM_PROTECTED)
		return false;
	if (taken == size)
		return true;
	if (!hold(s, "received data"))
		return false;
	memcpy(s->held->data, data + taken, size - taken);
	s->held->length = (uint16_t)(size - taken);
	s->held->mark = 0;
	s->flags |= STREAM_FLAG_PAUSED;
	return false;
}

void stream_read_records(struct stream *s)
{
	uint8_t plain[CHUNK_DATA];
	size_t size;

	while (s->state == STREAM_PROTECTED && !stream_is_blocked(s) &&
	       !stream_has(s, STREAM_FLAG_CLOSE_NOTIFY)) {
		switch (tls_session_read(s->tls, plain, sizeof(plain), &size)) {
		case TLS_DONE:
			if (!deliver(s, plain, size))
				return;
			break;
		case TLS_WANT_INPUT:
			return;
		case TLS_PENDING:
			s->flags |= STREAM_FLAG_PENDING;
			return;
		case TLS_END:
			s->flags |= STREAM_FLAG_CLOSE_NOTIFY;
			stream_tell_end(s, false);
			return;
		case TLS_ERROR:
			stream_fail(s, STREAM_FAILED_TLS, "%s", tls_session_error(s->tls));
			return;
		}
	}
}

size_t stream_decrypt(struct stream *s, const uint8_t *data, size_t size)
{
	size_t left;

	tls_session_input(s->tls, data, size);
	if (s->state == STREAM_HANDSHAKE)
		stream_run_handshake(s);
	stream_read_records(s);
	left = tls_session_input_left(s->tls);
	tls_session_input(s->tls, NULL, 0);
	return size - left;
}

void stream_offer_held(struct stream *s)
{
	struct chunk *held = s->held;

	if (!held || s->state != STREAM_PROTECTED)
		return;
	held->mark += (uint32_t)stream_offer(s, held->data + held->mark, held->length - held->mark);
	if (s->state != STREAM_PROTECTED)
		return;
	if (held->mark < held->length)
		s->flags |= STREAM_FLAG_PAUSED;
	else
		stream_drop_chunk(s, &s->held);
}

int stream_start_tls(struct stream *s, struct tls_context *context, const char *server_name)
{
	int result;

	if (!stream_is_alive(s) || s->state == STREAM_OPENING || s->state >= STREAM_CLOSING)
		return -ENOTCONN;
	if (s->state != STREAM_CLEAR)
		return -EALREADY;
	if (stream_has(s, STREAM_FLAG_PAUSED)) {
		stream_fail(s, STREAM_FAILED_INJECTION, "data in clear followed the start of TLS");
		return stream_report(s, -EPROTO);
	}
	result = stream_flush_out(s);
	if (result < 0)
		return stream_report(s, result);
	if (stream_has(s, STREAM_FLAG_CLEAR_USED))
		s->flags |= STREAM_FLAG_FIRST_BYTE;
	if (tls_context_is_server(context)) {
		tls_context_retain(context);
		s->context = context;
		s->state = STREAM_HELLO;
		return 0;
	}
	if (!create_session(s, context, server_name))
		return stream_report(s, -ENOMEM);
	s->state = STREAM_HANDSHAKE;
	stream_run_handshake(s);
	return stream_has(s, STREAM_FLAG_FAILED) ? stream_report(s, -EPROTO) : 0;
}
