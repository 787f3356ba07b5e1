/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One event as one line of JSON (RFC 8259; times RFC 3339). Pure but for its growing buffer. Owner:
 * one thread. */
#ifndef MILLRACE_CONTROL_EVENTS_EVENT_FORMAT_H
#define MILLRACE_CONTROL_EVENTS_EVENT_FORMAT_H

#include "control/events/events.h"

#include <stddef.h>

struct text_buffer {
	char *data;
	size_t size; /**< octets used */
	size_t room;
};

/** Make sure that so many more octets fit. Ends the program when memory is short. */
void text_buffer_reserve(struct text_buffer *buffer, size_t more);
/** A JSON string with its quotes; what is no UTF-8 becomes U+FFFD, control characters \u escapes.
 */
void event_put_string(struct text_buffer *buffer, const char *text);

/**
 * Append a line, newline included.
 * @param node the node's id as text @param part 0, or which part of an event whose recipients were
 * too many for one
 */
void event_format(struct text_buffer *buffer, const struct event *event, const char *node,
		  unsigned part);
const char *event_type_name(enum event_type type);

#endif
