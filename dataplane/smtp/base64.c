/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/smtp/base64.h"

#include <errno.h>
#include <limits.h>

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

int base64_decode(const char *text, size_t size, uint8_t *out, size_t room)
{
	unsigned padding = 0;
	size_t octets, at = 0;

	if (size % 4 != 0 || size > INT_MAX)
		return -EINVAL;
	if (size > 0 && text[size - 1] == '=')
		padding = text[size - 2] == '=' ? 2 : 1;
	octets = size / 4 * 3 - padding;
	if (octets > room)
		return -ENOBUFS;
	for (size_t i = 0; i < size; i += 4) {
		unsigned digits = i + 4 == size ? 4 - padding : 4;
		uint32_t group = 0;

		for (unsigned d = 0; d < 4; d++) {
			int value = d < digits ? value_of(text[i + d]) : 0;

			if (value < 0)
				return -EINVAL;
			group = group << 6 | (uint32_t)value;
		}
		/* RFC 4648, 3.5: bits that stand for nothing are zero. */
		if (digits < 4 && (group & (digits == 3 ? 0xffu : 0xffffu)) != 0)
			return -EINVAL;
		for (unsigned o = 0; o < digits - 1; o++)
			out[at++] = (uint8_t)(group >> (16 - 8 * o));
	}
	return (int)octets;
}
