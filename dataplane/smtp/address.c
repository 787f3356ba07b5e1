/* SPDX-License-Identifier: GPL-3.0-or-later */
/* RFC 5321, 4.1.2 (paths), 4.1.3 (literals), 4.5.3.1 (sizes); RFC 6531, 3.3 (UTF-8 in both parts).
 */
#include "dataplane/smtp/address.h"

#include "dataplane/net/address.h"
#include "dataplane/smtp/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LABEL_MAX 63
/** The longest literal: "[IPv6:" and 45 characters and "]". */
#define LITERAL_MAX 52

/** What is still to be read. */
struct reader {
	const uint8_t *at;
	const uint8_t *end;
};

static bool next_is(const struct reader *reader, char c)
{
	return reader->at < reader->end && *reader->at == (uint8_t)c;
}

static bool is_letter_or_digit(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/** RFC 5322, 3.2.3. */
static bool is_atext(uint8_t c)
{
	return is_letter_or_digit(c) || (c != 0 && c < 0x80 && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/** Octets of the UTF-8 character at the reader; 0: none. C1 controls are refused with the other
 * controls. */
static unsigned utf8_character(const struct reader *reader)
{
	unsigned length = 0;

	if (reader->at < reader->end && *reader->at >= 0x80)
		length = utf8_sequence(reader->at, (size_t)(reader->end - reader->at));
	return length == 2 && reader->at[0] == 0xc2 && reader->at[1] < 0xa0 ? 0 : length;
}

/** The local part as it means, without quoting. */
struct local_part {
	uint16_t size;
	uint8_t text[SMTP_LOCAL_PART_MAX];
};

static int local_put(struct local_part *local, const uint8_t *text, unsigned size)
{
	if (local->size + size > SMTP_LOCAL_PART_MAX)
		return -EINVAL;
	memcpy(local->text + local->size, text, size);
	local->size = (uint16_t)(local->size + size);
	return 0;
}

/** Dot-string: atoms with single dots between them. */
static int parse_dot_string(struct reader *reader, struct local_part *local)
{
	bool after_dot = true;

	while (reader->at < reader->end) {
		unsigned length = utf8_character(reader);

		if (*reader->at == '.') {
			if (after_dot)
				return -EINVAL;
			length = 1;
		} else if (length == 0) {
			if (!is_atext(*reader->at))
				break;
			length = 1;
		}
		after_dot = *reader->at == '.';
		if (local_put(local, reader->at, length) < 0)
			return -EINVAL;
		reader->at += length;
	}
	return after_dot ? -EINVAL : 0;
}

/** Quoted-string: qtextSMTP, quoted-pairSMTP, or UTF-8; no control character, quoted or not. */
static int parse_quoted_string(struct reader *reader, struct local_part *local)
{
	for (reader->at++; reader->at < reader->end;) {
		unsigned length = utf8_character(reader);

		if (*reader->at == '"') {
			reader->at++;
			return 0;
		}
		if (length == 0) {
			if (*reader->at == '\\')
				reader->at++;
			if (reader->at == reader->end || *reader->at < ' ' || *reader->at > '~')
				return -EINVAL;
			length = 1;
		}
		if (local_put(local, reader->at, length) < 0)
			return -EINVAL;
		reader->at += length;
	}
	return -EINVAL;
}

/** Can the local part stand without quotes? */
static bool is_dot_string(const struct local_part *local)
{
	bool after_dot = true;

	for (unsigned i = 0; i < local->size; i++) {
		uint8_t c = local->text[i];

		if (c == '.' ? after_dot : c < 0x80 && !is_atext(c))
			return false;
		after_dot = c == '.';
	}
	return !after_dot;
}

static int put(struct smtp_address *out, const void *text, size_t size)
{
	if (out->size + size > SMTP_PATH_MAX)
		return -EINVAL;
	memcpy(out->text + out->size, text, size);
	out->size = (uint16_t)(out->size + size);
	return 0;
}

static int put_local(struct smtp_address *out, const struct local_part *local)
{
	if (is_dot_string(local))
		return put(out, local->text, local->size);
	if (put(out, "\"", 1) < 0)
		return -EINVAL;
	for (unsigned i = 0; i < local->size; i++) {
		bool escape = local->text[i] == '"' || local->text[i] == '\\';

		if ((escape && put(out, "\\", 1) < 0) || put(out, &local->text[i], 1) < 0)
			return -EINVAL;
	}
	if (put(out, "\"", 1) < 0)
		return -EINVAL;
	/* RFC 5321, 4.5.3.1.1, holds for what goes out: quotes and backslashes count. */
	return out->size > SMTP_LOCAL_PART_MAX ? -EINVAL : 0;
}

/** One label: letters, digits, UTF-8, and hyphens that are neither first nor last. */
static int parse_label(struct reader *reader, struct smtp_address *out)
{
	const uint8_t *start = reader->at;

	while (reader->at < reader->end) {
		unsigned length = utf8_character(reader);

		if (length == 0) {
			if (!is_letter_or_digit(*reader->at) && *reader->at != '-')
				break;
			length = 1;
		}
		reader->at += length;
	}
	size_t size = (size_t)(reader->at - start);
	/* A U-label may take more octets than its A-label: the queue judges that (RFC 5891). */
	bool ascii = text_is_ascii(start, size);

	if (size == 0 || (ascii && size > LABEL_MAX) || start[0] == '-' || start[size - 1] == '-')
		return -EINVAL;
	if (!out)
		return 0;
	for (size_t i = 0; i < size; i++) {
		uint8_t c = start[i];

		if (c >= 'A' && c <= 'Z')
			c = (uint8_t)(c + 'a' - 'A');
		if (put(out, &c, 1) < 0)
			return -EINVAL;
	}
	return 0;
}

/** @param out NULL: check only */
static int parse_domain_name(struct reader *reader, struct smtp_address *out)
{
	for (;;) {
		if (parse_label(reader, out) < 0)
			return -EINVAL;
		if (!next_is(reader, '.'))
			return 0;
		reader->at++;
		if (out && put(out, ".", 1) < 0)
			return -EINVAL;
	}
}

/** An address literal without its brackets, into its canonical form with them (RFC 5321, 4.1.3). */
static int literal_format(const char *text, char *canonical)
{
	char address_text[IP_ADDRESS_TEXT];
	struct ip_address address;
	bool v6 = strncasecmp(text, "IPv6:", 5) == 0;

	if (ip_parse(v6 ? text + 5 : text, &address) < 0 ||
	    (strchr(text + (v6 ? 5 : 0), ':') != NULL) != v6)
		return -EINVAL;
	snprintf(canonical, LITERAL_MAX + 1, "[%s%s]",
		 ip_is_v4(&address) ? "" : "IPv6:", ip_format(&address, address_text));
	return 0;
}

static int parse_literal(struct reader *reader, struct smtp_address *out)
{
	const uint8_t *close = memchr(reader->at, ']', (size_t)(reader->end - reader->at));
	char text[LITERAL_MAX + 1], canonical[LITERAL_MAX + 1];
	size_t size = close ? (size_t)(close - reader->at) - 1 : 0;

	if (size == 0 || size > LITERAL_MAX - 2 || memchr(reader->at, '\0', size + 1))
		return -EINVAL;
	memcpy(text, reader->at + 1, size);
	text[size] = '\0';
	if (literal_format(text, canonical) < 0)
		return -EINVAL;
	reader->at = close + 1;
	return put(out, canonical, strlen(canonical));
}

/** Everything up to '>' or the end. @param bare a local part alone may be "postmaster" (RFC
 * 5321, 4.5.1) */
static int parse_mailbox(struct reader *reader, bool bare, struct smtp_address *out)
{
	struct local_part local = {0};
	int status = next_is(reader, '"') ? parse_quoted_string(reader, &local)
					  : parse_dot_string(reader, &local);

	if (status < 0 || put_local(out, &local) < 0)
		return -EINVAL;
	out->domain = out->size;
	if (!next_is(reader, '@')) {
		if (!bare || local.size != 10 ||
		    strncasecmp((char *)local.text, "postmaster", 10) != 0)
			return -EINVAL;
		memcpy(out->text, "postmaster", 10);
		out->text[out->size] = '\0';
		return 0;
	}
	reader->at++;
	if (put(out, "@", 1) < 0)
		return -EINVAL;
	out->domain = out->size;
	if ((next_is(reader, '[') ? parse_literal(reader, out) : parse_domain_name(reader, out)) <
	    0)
		return -EINVAL;
	if (out->size - out->domain > SMTP_DOMAIN_MAX)
		return -EINVAL;
	out->text[out->size] = '\0';
	out->utf8 = !text_is_ascii(out->text, out->size);
	return 0;
}

/** "@a,@b:" before the mailbox: accepted and ignored (RFC 5321, 4.1.1.3 and appendix C). */
static int skip_source_route(struct reader *reader)
{
	if (!next_is(reader, '@'))
		return 0;
	for (;;) {
		if (!next_is(reader, '@'))
			return -EINVAL;
		reader->at++;
		if (parse_domain_name(reader, NULL) < 0)
			return -EINVAL;
		if (next_is(reader, ':')) {
			reader->at++;
			return 0;
		}
		if (!next_is(reader, ','))
			return -EINVAL;
		reader->at++;
	}
}

int address_parse_path(const char *text, size_t size, bool reverse, struct smtp_address *out,
		       size_t *used)
{
	struct reader reader = {(const uint8_t *)text, (const uint8_t *)text + size};

	*out = (struct smtp_address){0};
	if (!next_is(&reader, '<'))
		return -EINVAL;
	reader.at++;
	if (!(reverse && next_is(&reader, '>')))
		if (skip_source_route(&reader) < 0 || parse_mailbox(&reader, !reverse, out) < 0)
			return -EINVAL;
	if (!next_is(&reader, '>'))
		return -EINVAL;
	*used = (size_t)(reader.at + 1 - (const uint8_t *)text);
	return 0;
}

int address_parse_mailbox(const char *text, size_t size, struct smtp_address *out)
{
	struct reader reader = {(const uint8_t *)text, (const uint8_t *)text + size};

	*out = (struct smtp_address){0};
	return parse_mailbox(&reader, false, out) == 0 && reader.at == reader.end ? 0 : -EINVAL;
}

bool address_helo_is_valid(const char *text, size_t size)
{
	struct smtp_address literal = {0};
	struct reader reader = {(const uint8_t *)text, (const uint8_t *)text + size};

	if (size == 0 || size > SMTP_DOMAIN_MAX)
		return false;
	if (text[0] == '[')
		return parse_literal(&reader, &literal) == 0 && reader.at == reader.end;
	for (size_t i = 0; i < size; i++) {
		uint8_t c = (uint8_t)text[i];

		if (!is_letter_or_digit(c) && c != '-' && c != '_' && c != '.')
			return false;
		if (c == '.' && (i == 0 || text[i - 1] == '.'))
			return false;
	}
	return true;
}
