/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reads a message's header section while it comes in (RFC 5322, 2.2): which fields are there, how
 * many hops it made, and what the X-Millrace-* fields say. It sees the text of lines, without their
 * endings, in pieces of any size.
 *
 * Owner: one worker. Memory: part of the transaction; a field's text is kept up to
 * HEADER_FIELD_TEXT octets.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_HEADER_READER_H
#define MILLRACE_DATAPLANE_SMTP_HEADER_READER_H

#include "dataplane/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEADER_FIELD_TEXT 700
#define HEADER_MESSAGE_ID 256

struct header_reader {
	const char *hostname; /**< ours, to know our own Received fields by */
	bool trusted;	      /**< X-Millrace-* fields are believed, and removed from the message */

	bool has_date;
	bool has_message_id;
	bool bad_control_field; /**< an X-Millrace-* field from a trusted client cannot be used */
	uint32_t received;	/**< Received fields */
	uint32_t received_own;	/**< of which ours */
	char message_id[HEADER_MESSAGE_ID];
	char tenant[VIEW_NAME_MAX]; /**< "" : not given */
	char campaign[VIEW_NAME_MAX];
	char pool[VIEW_NAME_MAX];

	bool in_field;	     /**< a field's first line has begun */
	bool line_begun;     /**< of the present line, something was seen */
	bool continuation;   /**< the present line goes on with the field */
	uint32_t lines;	     /**< ended */
	uint16_t field_size; /**< octets kept of the field, unfolded */
	char field[HEADER_FIELD_TEXT];
};

/** What the intake has to do. */
enum header_action {
	HEADER_GO_ON,
	HEADER_REMOVE_FIELD, /**< the field before this line is to be taken out of the message */
	HEADER_NONE,	     /**< the first line is no field: the message has no header section */
};

void header_reader_init(struct header_reader *reader, const char *hostname, bool trusted);
/** Text of the present line, size > 0. @return HEADER_REMOVE_FIELD or HEADER_GO_ON, decided by a
 * line's first octet */
enum header_action header_reader_text(struct header_reader *reader, const uint8_t *text,
				      size_t size);
/** The present line, which is not empty, ended. @return HEADER_NONE or HEADER_GO_ON */
enum header_action header_reader_line_end(struct header_reader *reader);
/** The section ended (an empty line, or the message's end). @return HEADER_REMOVE_FIELD or
 * HEADER_GO_ON */
enum header_action header_reader_finish(struct header_reader *reader);

#endif
