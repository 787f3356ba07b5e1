/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SMTP replies as a client reads them: see reply.h. RFC 5321, 4.2 and 4.2.1; RFC 2034; RFC 3463, 2.
 */
#include "dataplane/smtp/reply.h"

#include "dataplane/smtp/utf8.h"

#include <string.h>

void reply_parser_init(struct reply_parser *parser)
{
	memset(parser, 0, sizeof(*parser));
	parser->between = true;
}

bool reply_parser_is_between(const struct reply_parser *parser)
{
	return parser->between;
}

const char *reply_parser_line(const struct reply_parser *parser)
{
	return parser->line[3] ? parser->line + 4 : parser->line + 3;
}

static enum reply_status broken(struct reply_parser *parser, const char *why)
{
	parser->error = why;
	return REPLY_BROKEN;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/** What a well-formed sequence encodes. */
static uint32_t utf8_decode(const uint8_t *text, unsigned length)
{
	uint32_t value = length == 1 ? text[0] : text[0] & (0x7fu >> length);

	for (unsigned i = 1; i < length; i++)
		value = value << 6 | (text[i] & 0x3f);
	return value;
}

/* Characters that steer a terminal or reorder what people read. */
static bool is_unfit(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x061c ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff0 && c <= 0xfffb) ||
	       (c >= 0xe0000 && c <= 0xe007f);
}

size_t reply_append_text(char *to, size_t capacity, size_t used, const char *text, size_t size)
{
	const uint8_t *at = (const uint8_t *)text;

	while (size > 0) {
		unsigned length = utf8_sequence(at, size);
		uint32_t code_point = utf8_decode(at, length);

		if (used + (length ? length : 1) >= capacity)
			break;
		if (length == 0 || (is_unfit(code_point) && code_point != '\t')) {
			to[used++] = '?';
			length = length ? length : 1;
		} else if (code_point == '\t') {
			to[used++] = ' ';
		} else {
			memcpy(to + used, at, length);
			used += length;
		}
		at += length;
		size -= length;
	}
	to[used] = '\0';
	return used;
}

/**
 * RFC 3463, 2: class "." subject "." detail, then a space or the end.
 * @return its length, 0 when there is none
 */
static size_t enhanced_parse(const char *text, struct enhanced_code *code)
{
	const char *at = text + 2;
	uint16_t parts[2];

	if ((text[0] != '2' && text[0] != '4' && text[0] != '5') || text[1] != '.')
		return 0;
	for (int part = 0; part < 2; part++) {
		unsigned value = 0, digits = 0;

		for (; is_digit(*at) && digits < 4; digits++)
			value = value * 10 + (unsigned)(*at++ - '0');
		if (digits == 0 || digits > 3)
			return 0;
		parts[part] = (uint16_t)value;
		if (part == 0 && *at++ != '.')
			return 0;
	}
	if (*at != ' ' && *at != '\0')
		return 0;
	code->class = (uint8_t)(text[0] - '0');
	code->subject = parts[0];
	code->detail = parts[1];
	return (size_t)(at - text);
}

/* RFC 2034, 4: the enhanced code stands in front of the text of every line; the first line's is the
 * reply's. */
static void line_take_text(struct reply_parser *parser, size_t kept)
{
	const char *text = reply_parser_line(parser);
	const char *end = parser->line + kept;
	struct enhanced_code code = {0};
	size_t length = enhanced_parse(text, &code);

	if (length > 0 && code.class == parser->reply.code / 100) {
		if (parser->lines == 0)
			parser->reply.enhanced = code;
		text += length;
		while (*text == ' ')
			text++;
	}
	if (text >= end)
		return;
	if (parser->text_size > 0)
		parser->text_size = (uint16_t)reply_append_text(parser->reply.text, REPLY_TEXT,
								parser->text_size, " ", 1);
	parser->text_size = (uint16_t)reply_append_text(
		parser->reply.text, REPLY_TEXT, parser->text_size, text, (size_t)(end - text));
}

/* RFC 5321, 4.2: Reply-code, then "-", SP or (4.2, last but one paragraph) nothing at all. */
static enum reply_status line_complete(struct reply_parser *parser, size_t kept)
{
	char *line = parser->line;
	uint16_t code;
	bool last;

	line[kept] = '\0';
	if (kept < 3 || line[0] < '2' || line[0] > '5' || !is_digit(line[1]) || !is_digit(line[2]))
		return broken(parser, "reply without a valid code");
	if (kept > 3 && line[3] != ' ' && line[3] != '-')
		return broken(parser, "reply code not followed by space or hyphen");
	code = (uint16_t)((line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0'));
	if (parser->lines > 0 && code != parser->reply.code)
		return broken(parser, "lines of one reply with different codes");
	parser->reply.code = code;
	last = kept == 3 || line[3] == ' ';
	line_take_text(parser, kept);
	parser->lines++;
	parser->line_size = 0;
	if (last) {
		parser->between = true;
		return REPLY_DONE;
	}
	if (parser->lines >= REPLY_LINES_MAX)
		return broken(parser, "reply of too many lines");
	return REPLY_LINE;
}

static void reply_begin(struct reply_parser *parser)
{
	memset(&parser->reply, 0, sizeof(parser->reply));
	parser->size = 0;
	parser->lines = 0;
	parser->line_size = 0;
	parser->text_size = 0;
	parser->between = false;
}

enum reply_status reply_parser_input(struct reply_parser *parser, const uint8_t *data, size_t size,
				     size_t *used)
{
	const uint8_t *end;
	size_t span, kept;

	*used = 0;
	if (parser->error)
		return REPLY_BROKEN;
	if (size == 0)
		return REPLY_MORE;
	if (parser->between)
		reply_begin(parser);
	end = memchr(data, '\n', size);
	span = end ? (size_t)(end - data) + 1 : size;
	if (span > REPLY_LINE_MAX - parser->line_size)
		return broken(parser, "reply line too long");
	if (span > REPLY_SIZE_MAX - parser->size)
		return broken(parser, "reply too long");
	if (parser->line_size < REPLY_LINE_KEPT) {
		size_t room = REPLY_LINE_KEPT - parser->line_size;

		memcpy(parser->line + parser->line_size, data, span < room ? span : room);
	}
	parser->line_size = (uint16_t)(parser->line_size + span);
	parser->size += (uint32_t)span;
	*used = span;
	if (!end)
		return REPLY_MORE;
	kept = parser->line_size - 1u;
	if (kept > REPLY_LINE_KEPT)
		kept = REPLY_LINE_KEPT;
	else if (kept > 0 && parser->line[kept - 1] == '\r')
		kept--;
	return line_complete(parser, kept);
}
