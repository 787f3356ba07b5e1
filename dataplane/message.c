/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Text forms of the shared vocabulary: message ids and the names of the dialogue's steps. Pure
 * functions, any core.
 */
#include "dataplane/message.h"

#include <errno.h>

/* Crockford's alphabet: no I, L, O, U. */
static const char crockford[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* 26 digits of 5 bits are 130 bits: the first digit carries the two missing ones as zeros. */
char *message_id_format(const struct message_id *id, char *text)
{
	unsigned __int128 value = ((unsigned __int128)id->origin << 64) | id->counter;

	for (int i = MESSAGE_ID_TEXT - 2; i >= 0; i--) {
		text[i] = crockford[(unsigned)(value & 31)];
		value >>= 5;
	}
	text[MESSAGE_ID_TEXT - 1] = '\0';
	return text;
}

/* The decoder forgives what people misread: case, and I, L, O for 1, 1, 0. */
static int crockford_digit(char c)
{
	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	if (c == 'I' || c == 'L')
		return 1;
	if (c == 'O')
		return 0;
	for (int i = 0; i < 32; i++)
		if (crockford[i] == c)
			return i;
	return -1;
}

int message_id_parse(const char *text, struct message_id *id)
{
	unsigned __int128 value = 0;
	unsigned n = 0;

	for (; text[n]; n++) {
		int digit = crockford_digit(text[n]);

		if (digit < 0 || n >= MESSAGE_ID_TEXT - 1 || (n == 0 && digit > 7))
			return -EINVAL;
		value = (value << 5) | (unsigned)digit;
	}
	if (n != MESSAGE_ID_TEXT - 1)
		return -EINVAL;
	id->origin = (uint64_t)(value >> 64);
	id->counter = (uint64_t)value;
	return 0;
}

const char *smtp_phase_name(enum smtp_phase phase)
{
	static const char *const names[PHASE_COUNT] = {
		[PHASE_ROUTE] = "route",       [PHASE_CONNECT] = "connect",
		[PHASE_GREETING] = "greeting", [PHASE_EHLO] = "ehlo",
		[PHASE_STARTTLS] = "starttls", [PHASE_TLS] = "tls",
		[PHASE_MAIL] = "mail",	       [PHASE_RCPT] = "rcpt",
		[PHASE_DATA] = "data",	       [PHASE_BODY] = "body",
		[PHASE_DOT] = "end-of-data",
	};

	return (unsigned)phase < PHASE_COUNT ? names[phase] : "unknown";
}
