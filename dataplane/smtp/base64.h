/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Strict base64 (RFC 4648, 4), as SASL exchanges carry it (RFC 4954). Pure functions. */
#ifndef MILLRACE_DATAPLANE_SMTP_BASE64_H
#define MILLRACE_DATAPLANE_SMTP_BASE64_H

#include <stddef.h>
#include <stdint.h>

/**
 * Decode. Padding must be there and right, unused bits must be zero, and nothing else may stand in
 * the text.
 * @param out may be the text's own place
 * @return octets, or -EINVAL, or -ENOBUFS when they would be more than `room`
 */
int base64_decode(const char *text, size_t size, uint8_t *out, size_t room);

#endif
