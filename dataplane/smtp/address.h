/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The address grammar of SMTP paths (RFC 5321, 4.1.2 and 4.1.3; RFC 6531, 3.3). Pure functions over
 * the caller's bytes.
 *
 * What must hold: an address that was parsed is only ever written out again from `text`, which is
 * encoded anew from the parsed form: minimal quoting in the local part, ASCII letters of the domain
 * in lower case, address literals in their canonical form, no source route. It never holds a
 * control character, and as a path it fits RCPT TO:<…>.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_ADDRESS_H
#define MILLRACE_DATAPLANE_SMTP_ADDRESS_H

#include "dataplane/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct smtp_address {
	uint16_t size;	 /**< octets of text */
	uint16_t domain; /**< offset of the domain in text; equal to size when there is none */
	bool utf8;	 /**< an octet above 127 is in it (RFC 6531) */
	char text[SMTP_ADDRESS_TEXT]; /**< "local@domain", "" for the null path, "postmaster" alone;
					 ends with NUL */
};

/**
 * Parse a Reverse-path or Forward-path, which begins at text[0] with '<'.
 * A forward path may be "<Postmaster>" without a domain; a reverse-path may be "<>".
 * @param used octets up to and with the closing '>'
 * @return 0 or -EINVAL (RFC 5321: 501; 5.1.7 for MAIL, 5.1.3 for RCPT)
 */
int address_parse_path(const char *text, size_t size, bool reverse, struct smtp_address *out,
		       size_t *used);
/** Parse "local@domain", all of the text. @return 0 or -EINVAL */
int address_parse_mailbox(const char *text, size_t size, struct smtp_address *out);
/**
 * Is it what an EHLO may say: a domain or an address literal. Underscores, a trailing dot and a
 * single label are let pass: hosts say them (RFC 5321, 4.1.4: a server must not refuse a message
 * because EHLO's argument is not the client's).
 */
bool address_helo_is_valid(const char *text, size_t size);

#endif
