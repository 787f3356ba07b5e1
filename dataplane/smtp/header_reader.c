/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/smtp/header_reader.h"

#include <string.h>
#include <strings.h>

void header_reader_init(struct header_reader *reader, const char *hostname, bool trusted)
{
	memset(reader, 0, offsetof(struct header_reader, field));
	reader->hostname = hostname;
	reader->trusted = trusted;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/** Octets of the field's name; 0: it has none (RFC 5322, 2.2: printable, no colon; 4.5 lets blanks
 * follow). */
static size_t field_name(const struct header_reader *reader)
{
	size_t name = 0, at;

	while (name < reader->field_size && reader->field[name] > ' ' &&
	       reader->field[name] <= '~' && reader->field[name] != ':')
		name++;
	at = name;
	while (at < reader->field_size && is_blank(reader->field[at]))
		at++;
	return at < reader->field_size && reader->field[at] == ':' ? name : 0;
}

/** The field's value without blanks around it. */
static const char *field_value(const struct header_reader *reader, size_t *size)
{
	const char *colon = memchr(reader->field, ':', reader->field_size);
	const char *at = colon + 1, *end = reader->field + reader->field_size;

	while (at < end && is_blank(*at))
		at++;
	while (end > at && is_blank(end[-1]))
		end--;
	*size = (size_t)(end - at);
	return at;
}

/** Did we write this Received field: does it say "by HOSTNAME"? */
static bool received_is_own(const struct header_reader *reader)
{
	size_t size, host = strlen(reader->hostname);
	const char *at = field_value(reader, &size);
	const char *end = at + size;

	for (; (size_t)(end - at) > host + 4; at++) {
		if (!is_blank(at[0]) || strncasecmp(at + 1, "by", 2) != 0 || !is_blank(at[3]))
			continue;
		if (strncasecmp(at + 4, reader->hostname, host) == 0 &&
		    (is_blank(at[4 + host]) || at[4 + host] == ';'))
			return true;
	}
	return false;
}

/** A name as the configuration could have it: printable ASCII, no blank. */
static void read_name(struct header_reader *reader, char *out)
{
	size_t size;
	const char *value = field_value(reader, &size);

	for (size_t i = 0; i < size; i++)
		if (value[i] <= ' ' || value[i] > '~')
			size = VIEW_NAME_MAX;
	if (size == 0 || size >= VIEW_NAME_MAX || reader->field_size == HEADER_FIELD_TEXT ||
	    out[0] != '\0') {
		reader->bad_control_field = true;
		return;
	}
	memcpy(out, value, size);
	out[size] = '\0';
}

static void read_message_id(struct header_reader *reader)
{
	size_t size;
	const char *value = field_value(reader, &size);

	if (size >= HEADER_MESSAGE_ID)
		size = HEADER_MESSAGE_ID - 1;
	for (size_t i = 0; i < size; i++)
		reader->message_id[i] = value[i] < ' ' || value[i] > '~' ? '?' : value[i];
	reader->message_id[size] = '\0';
}

static bool is_name(const struct header_reader *reader, size_t size, const char *name)
{
	return size == strlen(name) && strncasecmp(reader->field, name, size) == 0;
}

/** A field is complete. */
static enum header_action field_end(struct header_reader *reader)
{
	size_t name = field_name(reader);
	char *control = NULL;

	reader->in_field = false;
	if (is_name(reader, name, "Received")) {
		reader->received++;
		reader->received_own += received_is_own(reader);
	} else if (is_name(reader, name, "Date")) {
		reader->has_date = true;
	} else if (is_name(reader, name, "Message-ID")) {
		if (!reader->has_message_id)
			read_message_id(reader);
		reader->has_message_id = true;
	} else if (is_name(reader, name, "X-Millrace-Tenant")) {
		control = reader->tenant;
	} else if (is_name(reader, name, "X-Millrace-Campaign")) {
		control = reader->campaign;
	} else if (is_name(reader, name, "X-Millrace-Pool")) {
		control = reader->pool;
	}
	if (!control || !reader->trusted)
		return HEADER_GO_ON;
	read_name(reader, control);
	return HEADER_REMOVE_FIELD;
}

enum header_action header_reader_text(struct header_reader *reader, const uint8_t *text,
				      size_t size)
{
	enum header_action action = HEADER_GO_ON;
	size_t room;

	if (!reader->line_begun) {
		reader->line_begun = true;
		reader->continuation = reader->in_field && is_blank((char)text[0]);
		if (!reader->continuation) {
			if (reader->in_field)
				action = field_end(reader);
			reader->in_field = true;
			reader->field_size = 0;
		}
	}
	room = HEADER_FIELD_TEXT - reader->field_size;
	if (size > room)
		size = room;
	memcpy(reader->field + reader->field_size, text, size);
	reader->field_size = (uint16_t)(reader->field_size + size);
	return action;
}

enum header_action header_reader_line_end(struct header_reader *reader)
{
	bool first = reader->lines++ == 0;

	reader->line_begun = false;
	/* A mailbox's "From " line is not a field, and yet fields follow it. */
	if (first && field_name(reader) == 0 &&
	    (reader->field_size < 5 || memcmp(reader->field, "From ", 5) != 0)) {
		reader->in_field = false;
		return HEADER_NONE;
	}
	return HEADER_GO_ON;
}

enum header_action header_reader_finish(struct header_reader *reader)
{
	return reader->in_field ? field_end(reader) : HEADER_GO_ON;
}
