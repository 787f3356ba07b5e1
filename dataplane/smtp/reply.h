/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * SMTP replies as a client reads them (RFC 5321, 4.2; RFC 2034 and 3463 for the enhanced code).
 *
 * The peer is hostile: a line, a reply and the number of its lines have limits, all lines of a
 * reply must carry one code, and what is kept of the text is one line, printable and valid UTF-8,
 * so that it may go to a log, a terminal and a DSN.
 *
 * Owner: the session it is embedded in. No memory of its own. Always true: what a reply says never
 * depends on the reply before it.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_REPLY_H
#define MILLRACE_DATAPLANE_SMTP_REPLY_H

#include "dataplane/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Octets of a line, its end included (RFC 5321 says 512; servers send more). */
#define REPLY_LINE_MAX 4096u
/** Octets and lines of one reply. */
#define REPLY_SIZE_MAX	65536u
#define REPLY_LINES_MAX 128u
/** What is kept of a line for whoever reads its words (EHLO). */
#define REPLY_LINE_KEPT 512u

struct smtp_reply {
	uint16_t code;		       /**< 200..599; 0: none */
	struct enhanced_code enhanced; /**< all zero: none, or its class did not fit the code */
	char text[REPLY_TEXT];	       /**< all lines joined by spaces, without the codes */
};

enum reply_status {
	REPLY_MORE,   /**< all input was used; the reply is not complete */
	REPLY_LINE,   /**< a line of a reply that goes on was read: reply_parser_line */
	REPLY_DONE,   /**< the last line was read: parser->reply is complete */
	REPLY_BROKEN, /**< not SMTP: parser->error says why; the parser stays in this state */
};

struct reply_parser {
	struct smtp_reply reply;
	const char *error;  /**< set with REPLY_BROKEN */
	uint32_t size;	    /**< octets of this reply so far */
	uint16_t lines;	    /**< complete lines of this reply */
	uint16_t line_size; /**< octets of this line so far, also those not kept */
	uint16_t text_size; /**< octets in reply.text */
	bool between;	    /**< the next octet begins a new reply */
	char line[REPLY_LINE_KEPT + 1];
};

void reply_parser_init(struct reply_parser *parser);
/**
 * Read up to the end of one line.
 * @param used set to the octets taken
 */
enum reply_status reply_parser_input(struct reply_parser *parser, const uint8_t *data, size_t size,
				     size_t *used);
/** No octet of a reply was read since the last complete one. */
bool reply_parser_is_between(const struct reply_parser *parser);
/** After REPLY_LINE or REPLY_DONE: the line's text behind code and separator, NUL-terminated, as
 * the peer sent it. */
const char *reply_parser_line(const struct reply_parser *parser);

/**
 * Append text that a peer sent, made fit for people's eyes: controls (also C1 and bidirectional
 * overrides) and octets that are not UTF-8 become '?', tabs become spaces. Never cuts a character
 * in two.
 * @param to holds `used` octets and gets a NUL behind them
 * @return octets in `to` now, without the NUL
 */
size_t reply_append_text(char *to, size_t capacity, size_t used, const char *text, size_t size);

#endif
