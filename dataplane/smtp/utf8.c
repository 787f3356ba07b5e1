/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/smtp/utf8.h"

unsigned utf8_sequence(const uint8_t *at, size_t size)
{
	/* RFC 3629, 4: what the second octet may be depends on the first; the others are 80..BF. */
	uint8_t low = 0x80, high = 0xbf;
	unsigned length;

	if (at[0] < 0x80)
		return 1;
	if (at[0] >= 0xc2 && at[0] <= 0xdf) {
		length = 2;
	} else if (at[0] >= 0xe0 && at[0] <= 0xef) {
		length = 3;
		if (at[0] == 0xe0)
			low = 0xa0;
		if (at[0] == 0xed)
			high = 0x9f;
	} else if (at[0] >= 0xf0 && at[0] <= 0xf4) {
		length = 4;
		if (at[0] == 0xf0)
			low = 0x90;
		if (at[0] == 0xf4)
			high = 0x8f;
	} else {
		return 0;
	}
	if (size < length || at[1] < low || at[1] > high)
		return 0;
	for (unsigned i = 2; i < length; i++)
		if (at[i] < 0x80 || at[i] > 0xbf)
			return 0;
	return length;
}

bool utf8_is_valid(const void *text, size_t size)
{
	const uint8_t *at = text;

	while (size > 0) {
		unsigned length = utf8_sequence(at, size);

		if (length == 0)
			return false;
		at += length;
		size -= length;
	}
	return true;
}

bool text_is_ascii(const void *text, size_t size)
{
	const uint8_t *at = text;
	uint8_t seen = 0;

	for (size_t i = 0; i < size; i++)
		seen |= at[i];
	return seen < 0x80;
}
