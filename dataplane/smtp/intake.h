/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Takes a message's octets as DATA or BDAT bring them and lays them down in chunks as they will go
 * out: CRLF lines, no transparency dots (RFC 5321, 4.5.2), no bare CR or LF, no NUL, our trace
 * fields on top. It judges lines, header and size on the way; with a fault nothing is kept, but
 * reading goes on to the true end, which only CRLF "." CRLF is.
 *
 * Owner: one worker. Memory: chunks of its pool. Spans are searched and copied whole; only what
 * stands around a line's end is looked at octet by octet.
 *
 * What must hold: body holds CR and LF only as CRLF, ends with CRLF, and holds no NUL; no chunk of
 * it is empty.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_INTAKE_H
#define MILLRACE_DATAPLANE_SMTP_INTAKE_H

#include "dataplane/buf/chunk.h"
#include "dataplane/message.h"
#include "dataplane/smtp/header_reader.h"

/** RFC 5321, 4.5.3.1.6: without the CRLF. */
#define TEXT_LINE_MAX 998
/** More of our own Received fields than this is a loop, whatever the limit on hops. */
#define HOPS_OWN_MAX 3

/** Why a message is refused after its data: name, reply. */
#define INTAKE_FAULTS(X)                                                             \
	X(NONE, "")                                                                  \
	X(BARE_LINE_ENDING, "550 5.5.2 Bare CR or LF in the message is not allowed") \
	X(NUL, "554 5.6.0 A NUL octet in the message is not allowed")                \
	X(LONG_LINE, "500 5.6.0 A line of the message is too long")                  \
	X(TOO_BIG, "552 5.3.4 The message is too big")                               \
	X(HEADER_TOO_BIG, "552 5.3.4 The message's header is too big")               \
	X(NO_SPACE, "452 4.3.1 Insufficient storage, try again later")               \
	X(HOPS, "554 5.4.6 Too many hops")                                           \
	X(LOOP, "554 5.4.6 The message was here before: mail loop")                  \
	X(CONTROL_FIELD, "550 5.6.0 An X-Millrace field is malformed or came twice")

enum intake_fault {
#define X(name, text) INTAKE_##name,
	INTAKE_FAULTS(X)
#undef X
		INTAKE_FAULT_COUNT
};
/** The reply's line, without its CRLF. */
const char *intake_fault_reply(enum intake_fault fault);

struct intake_limits {
	uint64_t message_size;	/**< octets; 0: none */
	uint32_t header_size;	/**< octets; 0: none */
	uint32_t hops;		/**< Received fields; 0: none */
	uint32_t chunk_reserve; /**< chunks that stay free for others */
	bool accept_long_lines;
	bool normalize; /**< a bare LF reads as CRLF, a bare CR becomes a space */
};

/** Where in a line the next octet stands. */
enum intake_line {
	INTAKE_LINE_START,    /**< after CRLF, or at the message's start: a dot matters */
	INTAKE_LINE_START_LF, /**< after a bare LF (normalize): a dot does not */
	INTAKE_LINE_TEXT,
	INTAKE_LINE_CR,	    /**< a CR waits for its LF */
	INTAKE_LINE_DOT,    /**< a dot at the start waits for what follows */
	INTAKE_LINE_DOT_CR, /**< dot CR at the start */
};

struct intake {
	struct chunk_pool *pool;
	struct intake_limits limits;
	struct chunk_list body;
	uint64_t size; /**< octets of content so far: CRLF counted, transparency dots and our fields
			  not */
	uint64_t header_size; /**< octets of the header section with its empty line, X-Millrace-*
				 fields taken out */
	uint32_t flags;	      /**< MESSAGE_BODY_8BIT, MESSAGE_HEADER_8BIT, MESSAGE_LONG_LINES */
	uint32_t prefix_size; /**< octets of our trace field at the front of body */
	uint32_t line_size;   /**< octets of the present line */
	uint8_t line;	      /**< enum intake_line */
	uint8_t fault;	      /**< enum intake_fault: the first one */
	bool in_header;
	bool headless; /**< the content begins with text that is no header field */
	/* The end of body when the present field began, for taking it out. */
	struct chunk_list field_mark;
	uint16_t field_mark_length; /**< of field_mark.tail */
	struct header_reader header;
};

/**
 * @param hostname as header_reader_init
 * @param trace our Received field, whole
 */
void intake_init(struct intake *intake, struct chunk_pool *pool, const struct intake_limits *limits,
		 const char *hostname, bool trusted, const char *trace, size_t trace_size);
/**
 * Text of DATA. @param ended set when CRLF "." CRLF was reached
 * @return octets taken: all, or up to the end of data
 */
size_t intake_data(struct intake *intake, const uint8_t *data, size_t size, bool *ended);
/** Octets of BDAT chunks, all taken; no dot means anything. */
void intake_chunk(struct intake *intake, const uint8_t *data, size_t size);
/**
 * The message is complete: close its last line, judge the header, and put missing fields under our
 * trace field.
 * @param fields whole lines to add, or NULL
 */
void intake_finish(struct intake *intake, const char *fields, size_t fields_size);
/** The header section is over or the message is complete: what intake_finish should add is known.
 */
void intake_end_header(struct intake *intake);
/** Give all chunks back. */
void intake_free(struct intake *intake);

#endif
