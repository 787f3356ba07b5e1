/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The body of a message on its way out: see client_body.h. RFC 5321, 2.3.8 (bare CR and LF)
 * and 4.5.2 (the dot). */
#include "dataplane/smtp/client_body.h"

#include "dataplane/smtp/client.h"

#include <emmintrin.h>
#include <errno.h>

void client_body_begin(struct client_body *body, const struct chunk *chunks, uint64_t size,
		       bool stuff)
{
	*body = (struct client_body){
		.cursor = {.chunk = chunks},
		.left = size,
		.stuff = stuff,
		.line_start = true,
	};
}

bool client_body_is_torn(const struct client_body *body)
{
	return !body->line_start;
}

/** What stops a span. */
enum stop {
	STOP_END,
	STOP_DOT,  /**< a dot that begins a line stands at the place */
	STOP_BARE, /**< a bare CR or LF stands at the place, or just before it */
};

/**
 * Look for what stops a span: octets [1, size) of `data`, each judged with the octet before it.
 * @param dots stop at dots that begin a line
 * @return where
 */
static size_t scan(const uint8_t *data, size_t size, bool dots, enum stop *stop)
{
	const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n'), dot = _mm_set1_epi8('.');
	size_t i = 1;

	/* before = octets i-1 .., at = octets i ..: LF exactly where CR came before. */
	for (; i + 16 <= size; i += 16) {
		__m128i before = _mm_loadu_si128((const __m128i *)(data + i - 1));
		__m128i at = _mm_loadu_si128((const __m128i *)(data + i));
		unsigned bare = (unsigned)_mm_movemask_epi8(
			_mm_xor_si128(_mm_cmpeq_epi8(before, cr), _mm_cmpeq_epi8(at, lf)));
		unsigned stuffed =
			dots ? (unsigned)_mm_movemask_epi8(_mm_and_si128(_mm_cmpeq_epi8(before, lf),
									 _mm_cmpeq_epi8(at, dot)))
			     : 0;

		if (bare | stuffed) {
			unsigned first = (unsigned)__builtin_ctz(bare | stuffed);

			*stop = bare >> first & 1 ? STOP_BARE : STOP_DOT;
			return i + first;
		}
	}
	for (; i < size; i++) {
		if ((data[i - 1] == '\r') != (data[i] == '\n')) {
			*stop = STOP_BARE;
			return i;
		}
		if (dots && data[i - 1] == '\n' && data[i] == '.') {
			*stop = STOP_DOT;
			return i;
		}
	}
	*stop = STOP_END;
	return size;
}

static int write_span(struct client_body *body, const struct smtp_client_sink *sink,
		      const uint8_t *data, size_t size, size_t *room)
{
	int code = sink->write(sink->context, data, size);

	if (code != 0)
		return code;
	body->line_start = data[size - 1] == '\n';
	body->after_cr = data[size - 1] == '\r';
	body->left -= size;
	chunk_cursor_advance(&body->cursor, size);
	*room -= size < *room ? size : *room;
	return 0;
}

int client_body_write(struct client_body *body, const struct smtp_client_sink *sink, size_t *room)
{
	while (body->left > 0 && *room > 0) {
		const uint8_t *data;
		size_t size = chunk_cursor_span(&body->cursor, &data);
		enum stop stop;
		int code;

		if (size == 0)
			return -ENODATA;
		if (size > body->left)
			size = (size_t)body->left;
		if (size > *room)
			size = *room;
		if (body->after_cr != (data[0] == '\n'))
			return -EBADMSG;
		if (body->stuff && body->line_start && data[0] == '.') {
			code = sink->write(sink->context, ".", 1);
			if (code != 0)
				return code;
			*room -= 1;
			/* Room for the line's own dot at least: what is written twice must not be
			 * torn. */
			if (*room == 0)
				*room = 1;
			if (size > *room)
				size = *room;
		}
		size = scan(data, size, body->stuff, &stop);
		if (stop == STOP_BARE)
			return -EBADMSG;
		code = write_span(body, sink, data, size, room);
		if (code != 0)
			return code;
	}
	if (body->left > 0)
		return 0;
	return body->after_cr ? -EBADMSG : 1;
}
