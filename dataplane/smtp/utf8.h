/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Well-formed UTF-8 (RFC 3629, section 4; as RFC 6531 asks of addresses). Pure functions. */
#ifndef MILLRACE_DATAPLANE_SMTP_UTF8_H
#define MILLRACE_DATAPLANE_SMTP_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Length of the well-formed sequence at `at`: shortest form, no surrogate, at most U+10FFFF.
 * @param size octets there are, > 0
 * @return 1 to 4, or 0: malformed or cut short
 */
unsigned utf8_sequence(const uint8_t *at, size_t size);
/** The whole text is well-formed. */
bool utf8_is_valid(const void *text, size_t size);
/** Every octet is below 128. */
bool text_is_ascii(const void *text, size_t size);

#endif
