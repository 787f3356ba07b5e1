/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ESMTP parameters of MAIL and RCPT (RFC 5321, 4.1.2; RFC 1870, 3461, 4954, 6152, 6531, 6533) and
 * xtext (RFC 3461, 4). Pure functions; results point into the caller's text.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_PARAMETERS_H
#define MILLRACE_DATAPLANE_SMTP_PARAMETERS_H

#include "dataplane/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SMTP_ENVID_MAX 100 /**< RFC 3461, 4.4 */

enum parameter_error {
	PARAMETER_OK,
	PARAMETER_UNKNOWN, /**< 555 5.5.4: not offered */
	PARAMETER_SYNTAX, /**< 501 5.5.4: value malformed, missing, superfluous, or the keyword came
			     twice */
};

/** A piece of the command line. */
struct text_span {
	const char *text; /**< NULL: not given */
	size_t size;
};

struct mail_parameters {
	uint32_t flags; /**< MESSAGE_8BITMIME, MESSAGE_SMTPUTF8, MESSAGE_RET_* */
	uint64_t size;	/**< SIZE; more than 64 bits saturate; 0: not given */
	struct text_span envid;
};

struct rcpt_parameters {
	uint8_t notify; /**< enum dsn_notify */
	struct text_span orcpt;
};

/**
 * @param text after the path's '>': empty, or begins with a space
 * @param auth AUTH= is offered in this session (checked, then ignored: RFC 4954, 5, lets a server
 * not trust it)
 */
enum parameter_error mail_parameters_parse(const char *text, size_t size, bool auth,
					   struct mail_parameters *out);
/** @param utf8 the transaction has SMTPUTF8: ORCPT may hold UTF-8 (RFC 6533, 3) */
enum parameter_error rcpt_parameters_parse(const char *text, size_t size, bool utf8,
					   struct rcpt_parameters *out);

/**
 * Is it xtext that decodes to printable ASCII (32 to 126): no CR, LF or NUL gets through as +0D,
 * +0A or +00.
 * @param utf8 octets above 127 may stand in it as well-formed UTF-8
 */
bool xtext_is_valid(const char *text, size_t size, bool utf8);

#endif
