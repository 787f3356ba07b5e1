/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The original recipient that a sender names, "addr-type;address" (RFC 3461, 4.2), as it comes in
 * and as it goes out: xtext of printable ASCII, or with the type utf-8 (RFC 6533, 3) the address
 * itself where SMTPUTF8 holds, and its form with \x{…} where it does not. Pure functions.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_ORCPT_H
#define MILLRACE_DATAPLANE_SMTP_ORCPT_H

#include <stdbool.h>
#include <stddef.h>

#define SMTP_ORCPT_MAX 500 /**< RFC 3461, 4.2 */

/**
 * What may be taken. No control character gets through, in whatever form.
 * @param utf8 the transaction has SMTPUTF8
 */
bool orcpt_is_valid(const char *text, size_t size, bool utf8);
/**
 * The form that may be sent on.
 * @param utf8 the transaction that it goes into has SMTPUTF8
 * @param out SMTP_ORCPT_MAX + 1 octets; ends with NUL
 * @return its length, or 0: it cannot be sent (not valid, or too long in 7 bits)
 */
size_t orcpt_write(const char *text, bool utf8, char *out);

#endif
