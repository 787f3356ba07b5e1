/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/smtp/intake.h"

#include "dataplane/smtp/scan.h"

#include <assert.h>
#include <string.h>

const char *intake_fault_reply(enum intake_fault fault)
{
	static const char *const replies[INTAKE_FAULT_COUNT] = {
#define X(name, text) text,
		INTAKE_FAULTS(X)
#undef X
	};

	return replies[fault];
}

/** The first fault stands; nothing is kept from then on. */
static void set_fault(struct intake *intake, enum intake_fault fault)
{
	if (intake->fault != INTAKE_NONE)
		return;
	intake->fault = (uint8_t)fault;
	chunk_list_free(&intake->body, intake->pool);
}

static void append(struct intake *intake, const void *data, size_t size)
{
	if (intake->fault != INTAKE_NONE || size == 0)
		return;
	intake->size += size;
	if (intake->limits.message_size && intake->size > intake->limits.message_size)
		set_fault(intake, INTAKE_TOO_BIG);
	else if (chunk_pool_available(intake->pool) < intake->limits.chunk_reserve ||
		 chunk_list_append(&intake->body, intake->pool, data, size) < 0)
		set_fault(intake, INTAKE_NO_SPACE);
}

static void mark_field(struct intake *intake)
{
	intake->field_mark = intake->body;
	intake->field_mark_length = intake->body.tail ? intake->body.tail->length : 0;
}

/** Cut body off where the field began. */
static void remove_field(struct intake *intake)
{
	struct chunk_list after;

	if (intake->fault != INTAKE_NONE)
		return;
	/* Our trace field comes first: there always is a chunk. */
	assert(intake->field_mark.tail);
	after = (struct chunk_list){.head = intake->field_mark.tail->next};
	intake->size -= intake->body.size - intake->field_mark.size;
	intake->body = intake->field_mark;
	intake->body.tail->length = intake->field_mark_length;
	intake->body.tail->next = NULL;
	chunk_list_free(&after, intake->pool);
}

static void act(struct intake *intake, enum header_action action)
{
	if (action == HEADER_REMOVE_FIELD)
		remove_field(intake);
}

void intake_end_header(struct intake *intake)
{
	if (!intake->in_header)
		return;
	act(intake, header_reader_finish(&intake->header));
	intake->in_header = false;
	intake->header_size = intake->size;
	if (intake->limits.hops && intake->header.received > intake->limits.hops)
		set_fault(intake, INTAKE_HOPS);
	if (intake->header.received_own > HOPS_OWN_MAX)
		set_fault(intake, INTAKE_LOOP);
	if (intake->header.bad_control_field)
		set_fault(intake, INTAKE_CONTROL_FIELD);
}

/** Text of the present line, not yet in body. */
static void header_text(struct intake *intake, const uint8_t *text, size_t size)
{
	bool begins = !intake->header.line_begun;

	act(intake, header_reader_text(&intake->header, text, size));
	if (begins && !intake->header.continuation)
		mark_field(intake);
}

/** A line ended; what stands before its ending is in body. */
static void line_end(struct intake *intake)
{
	if (intake->in_header) {
		if (intake->line_size == 0) {
			intake_end_header(intake);
			intake->header_size += 2;
		} else if (header_reader_line_end(&intake->header) == HEADER_NONE) {
			intake->in_header = false;
			intake->headless = true;
			if (intake->flags & MESSAGE_HEADER_8BIT)
				intake->flags ^= MESSAGE_HEADER_8BIT | MESSAGE_BODY_8BIT;
		}
	}
	append(intake, "\r\n", 2);
	intake->line_size = 0;
	intake->line = INTAKE_LINE_START;
	if (intake->in_header && intake->limits.header_size &&
	    intake->size > intake->limits.header_size)
		set_fault(intake, INTAKE_HEADER_TOO_BIG);
}

static void grow_line(struct intake *intake, size_t size)
{
	if (size > UINT32_MAX / 2)
		size = UINT32_MAX / 2;
	intake->line_size = intake->line_size > UINT32_MAX / 2 ? intake->line_size
							       : intake->line_size + (uint32_t)size;
	if (intake->line_size <= TEXT_LINE_MAX)
		return;
	if (intake->limits.accept_long_lines)
		intake->flags |= MESSAGE_LONG_LINES;
	else
		set_fault(intake, INTAKE_LONG_LINE);
	/* A header "line" without an end must not pass for a short header. */
	if (intake->in_header && intake->limits.header_size &&
	    intake->line_size > intake->limits.header_size)
		set_fault(intake, INTAKE_HEADER_TOO_BIG);
}

/** A CR without LF. */
static void bare_cr(struct intake *intake)
{
	if (!intake->limits.normalize) {
		set_fault(intake, INTAKE_BARE_LINE_ENDING);
	} else {
		if (intake->in_header)
			header_text(intake, (const uint8_t *)" ", 1);
		append(intake, " ", 1);
	}
	grow_line(intake, 1);
	intake->line = INTAKE_LINE_TEXT;
}

/** Plain text of a line: scan it, and in the header show it to the reader. @return octets up to
 * what is special */
static size_t take_text(struct intake *intake, const uint8_t *data, size_t size)
{
	bool high = false;
	size_t text = scan_special(data, size, &high);

	if (text == 0)
		return 0;
	if (high)
		intake->flags |= intake->in_header ? MESSAGE_HEADER_8BIT : MESSAGE_BODY_8BIT;
	if (intake->in_header)
		header_text(intake, data, text);
	grow_line(intake, text);
	intake->line = INTAKE_LINE_TEXT;
	return text;
}

/**
 * One octet at a time around a line's end and start, when it did not come whole.
 * @return octets taken: 0 when the octet is now to be seen as text
 */
static size_t take_waiting(struct intake *intake, uint8_t octet, bool *ended)
{
	switch ((enum intake_line)intake->line) {
	case INTAKE_LINE_CR:
		if (octet != '\n') {
			bare_cr(intake);
			return 0;
		}
		line_end(intake);
		return 1;
	case INTAKE_LINE_DOT:
		/* RFC 5321, 4.5.2: the dot goes, what follows stays, also another dot. */
		intake->line = octet == '\r' ? INTAKE_LINE_DOT_CR : INTAKE_LINE_TEXT;
		return octet == '\r';
	case INTAKE_LINE_DOT_CR:
		if (octet == '\n') {
			*ended = true;
			return 1;
		}
		bare_cr(intake);
		return 0;
	default:
		return 0;
	}
}

/** CR, LF or NUL after text that is in body. @return octets taken */
static size_t take_special(struct intake *intake, const uint8_t *data, size_t size)
{
	if (data[0] == '\r') {
		if (size == 1) {
			intake->line = INTAKE_LINE_CR;
			return 1;
		}
		if (data[1] != '\n') {
			bare_cr(intake);
			return 1;
		}
		line_end(intake);
		return 2;
	}
	if (data[0] == '\0') {
		set_fault(intake, INTAKE_NUL);
		intake->line = INTAKE_LINE_TEXT;
		return 1;
	}
	if (!intake->limits.normalize)
		set_fault(intake, INTAKE_BARE_LINE_ENDING);
	line_end(intake);
	intake->line = INTAKE_LINE_START_LF;
	return 1;
}

/**
 * A line that lies whole in the body and ends with CRLF stays part of the span [*span, at): nothing
 * is copied for it.
 * @return octets of the ending when this was done, 0 when the line needs a closer look
 */
static size_t take_body_line_end(struct intake *intake, const uint8_t *data, size_t size)
{
	if (intake->in_header || size < 2 || data[0] != '\r' || data[1] != '\n')
		return 0;
	intake->line_size = 0;
	intake->line = INTAKE_LINE_START;
	return 2;
}

static size_t take(struct intake *intake, const uint8_t *data, size_t size, bool dots, bool *ended)
{
	size_t at = 0, span = 0;

	while (at < size && !*ended) {
		size_t n;

		if (intake->line >= INTAKE_LINE_CR) {
			at += take_waiting(intake, data[at], ended);
			span = at;
			continue;
		}
		if (intake->line == INTAKE_LINE_START && dots && data[at] == '.') {
			append(intake, data + span, at - span);
			intake->line = INTAKE_LINE_DOT;
			span = ++at;
			continue;
		}
		at += take_text(intake, data + at, size - at);
		if (at == size)
			break;
		n = take_body_line_end(intake, data + at, size - at);
		at += n;
		if (n > 0)
			continue;
		append(intake, data + span, at - span);
		at += take_special(intake, data + at, size - at);
		span = at;
	}
	append(intake, data + span, at - span);
	return at;
}

size_t intake_data(struct intake *intake, const uint8_t *data, size_t size, bool *ended)
{
	*ended = false;
	return take(intake, data, size, true, ended);
}

void intake_chunk(struct intake *intake, const uint8_t *data, size_t size)
{
	bool ended = false;

	take(intake, data, size, false, &ended);
}

/** Put bytes into body behind our trace field. No chunk of body is ever empty. */
static void insert(struct intake *intake, const char *data, size_t size)
{
	struct chunk *first = intake->body.head;
	size_t prefix = intake->prefix_size;

	assert(first->length >= prefix && prefix + size <= CHUNK_DATA);
	if (first->length > prefix) {
		struct chunk *rest = chunk_alloc(intake->pool);

		if (!rest) {
			set_fault(intake, INTAKE_NO_SPACE);
			return;
		}
		rest->length = (uint16_t)(first->length - prefix);
		memcpy(rest->data, first->data + prefix, rest->length);
		rest->next = first->next;
		first->next = rest;
		if (intake->body.tail == first)
			intake->body.tail = rest;
		intake->body.chunks++;
	}
	memcpy(first->data + prefix, data, size);
	first->length = (uint16_t)(prefix + size);
	intake->body.size += size;
}

void intake_finish(struct intake *intake, const char *fields, size_t fields_size)
{
	if (intake->line == INTAKE_LINE_CR)
		bare_cr(intake);
	/* RFC 3030 lets a chunk end anywhere; a message in DATA form must end a line. */
	if (intake->line == INTAKE_LINE_TEXT)
		line_end(intake);
	intake_end_header(intake);
	if (intake->fault != INTAKE_NONE)
		return;
	intake->header_size += intake->prefix_size + fields_size;
	if (fields_size > 0)
		insert(intake, fields, fields_size);
	if (intake->headless && intake->fault == INTAKE_NONE) {
		intake->prefix_size += (uint32_t)fields_size;
		insert(intake, "\r\n", 2);
		intake->header_size += 2;
	}
}

void intake_init(struct intake *intake, struct chunk_pool *pool, const struct intake_limits *limits,
		 const char *hostname, bool trusted, const char *trace, size_t trace_size)
{
	memset(intake, 0, offsetof(struct intake, header));
	intake->pool = pool;
	intake->limits = *limits;
	intake->in_header = true;
	header_reader_init(&intake->header, hostname, trusted);
	assert(trace_size > 0 && trace_size <= CHUNK_DATA / 2);
	if (chunk_list_append(&intake->body, pool, trace, trace_size) < 0)
		set_fault(intake, INTAKE_NO_SPACE);
	intake->prefix_size = (uint32_t)trace_size;
	mark_field(intake);
}

void intake_free(struct intake *intake)
{
	chunk_list_free(&intake->body, intake->pool);
}
