/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/smtp/orcpt.h"

#include "dataplane/smtp/parameters.h"
#include "dataplane/smtp/utf8.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/** Octets of "addr-type", without the semicolon; 0: there is none. */
static size_t type_size(const char *text, size_t size)
{
	const char *semicolon = memchr(text, ';', size);
	size_t type = semicolon ? (size_t)(semicolon - text) : 0;

	for (size_t i = 0; i < type; i++)
		if (!((text[i] | 0x20) >= 'a' && (text[i] | 0x20) <= 'z') && text[i] != '-' &&
		    !(text[i] >= '0' && text[i] <= '9'))
			return 0;
	return type;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/** RFC 6533, 3: EmbeddedUnicodeChar. @return its octets, or 0 */
static size_t embedded_character(const char *text, size_t size)
{
	uint32_t point = 0;
	size_t at = 3;

	if (size < 5 || memcmp(text, "\\x{", 3) != 0)
		return 0;
	for (; at < size && at < 9 && hex_digit(text[at]) >= 0; at++)
		point = point * 16 + (uint32_t)hex_digit(text[at]);
	if (at == 3 || at == size || text[at] != '}')
		return 0;
	/* Controls stay out, though the grammar would let some in. */
	if (point < ' ' || (point >= 0x7f && point < 0xa0) || point > 0x10ffff ||
	    (point >= 0xd800 && point < 0xe000))
		return 0;
	return at + 1;
}

/** One character above 127. @return its octets, or 0; C1 controls are none */
static size_t utf8_character(const char *text, size_t size)
{
	const uint8_t *at = (const uint8_t *)text;
	unsigned length = utf8_sequence(at, size);

	return length == 2 && at[0] == 0xc2 && at[1] < 0xa0 ? 0 : length;
}

/** RFC 6533, 3: utf-8-enc-addr; hexchars of xtext, which senders use too, are let through. */
static bool utf8_address_is_valid(const char *text, size_t size, bool utf8)
{
	size_t at = 0, length;

	while (at < size) {
		if (text[at] == '\\')
			length = embedded_character(text + at, size - at);
		else if ((uint8_t)text[at] >= 0x80)
			length = utf8 ? utf8_character(text + at, size - at) : 0;
		else if (text[at] == '+')
			length = size - at >= 3 && xtext_is_valid(text + at, 3, false) ? 3 : 0;
		else
			length = xtext_is_valid(text + at, 1, false);
		if (length == 0)
			return false;
		at += length;
	}
	return true;
}

bool orcpt_is_valid(const char *text, size_t size, bool utf8)
{
	size_t type = type_size(text, size);

	if (type == 0 || type + 1 == size || size > SMTP_ORCPT_MAX)
		return false;
	if (type == 5 && strncasecmp(text, "utf-8", 5) == 0)
		return utf8_address_is_valid(text + type + 1, size - type - 1, utf8);
	return xtext_is_valid(text + type + 1, size - type - 1, false);
}

static uint32_t code_point(const char *text, size_t length)
{
	uint32_t point = (uint8_t)text[0] & (0x7fu >> length);

	for (size_t i = 1; i < length; i++)
		point = point << 6 | ((uint8_t)text[i] & 0x3f);
	return point;
}

size_t orcpt_write(const char *text, bool utf8, char *out)
{
	size_t size = strnlen(text, SMTP_ORCPT_MAX + 1), to = 0;

	if (!orcpt_is_valid(text, size, true))
		return 0;
	for (size_t at = 0; at < size;) {
		size_t length =
			(uint8_t)text[at] >= 0x80 ? utf8_character(text + at, size - at) : 1;
		char form[16];
		size_t form_size = length;

		memcpy(form, text + at, length);
		if (length > 1 && !utf8)
			form_size = (size_t)snprintf(form, sizeof(form), "\\x{%X}",
						     code_point(text + at, length));
		if (to + form_size > SMTP_ORCPT_MAX)
			return 0;
		memcpy(out + to, form, form_size);
		to += form_size;
		at += length;
	}
	out[to] = '\0';
	return to;
}
