/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The body of a message on its way out: spans of its chunks, dot-stuffed for DATA (RFC 5321, 4.5.2)
 * or raw for BDAT (RFC 3030), as far as there is room. Every octet is looked at once, sixteen at a
 * time, and a bare CR or LF is never let out (SMTP smuggling): the check comes before the write.
 *
 * Owner: the session it is embedded in; the chunks are borrowed from the delivery.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_CLIENT_BODY_H
#define MILLRACE_DATAPLANE_SMTP_CLIENT_BODY_H

#include "dataplane/buf/chunk.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct smtp_client_sink;

struct client_body {
	struct chunk_cursor cursor;
	uint64_t left;	 /**< octets of the message not written yet */
	bool stuff;	 /**< DATA: a dot in front of lines that begin with one */
	bool line_start; /**< the next octet begins a line */
	bool after_cr;	 /**< the last octet was CR: LF must follow */
};

void client_body_begin(struct client_body *body, const struct chunk *chunks, uint64_t size,
		       bool stuff);
/**
 * Write about `room` octets (a dot more for each stuffed line).
 * @param room reduced by what was written, not below 0
 * @return 0; 1 when the last octet was written; -EBADMSG: a bare CR or LF comes next; -ENODATA: the
 * chunks hold less than the body's size; nothing more is written after either; other negative: the
 * sink's error
 */
int client_body_write(struct client_body *body, const struct smtp_client_sink *sink, size_t *room);
/** After the last octet: the message ended inside a line. */
bool client_body_is_torn(const struct client_body *body);

#endif
