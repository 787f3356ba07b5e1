/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/smtp/command.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/** Twenty digits are RFC 1870's limit, and RFC 3030 has none: one that we can count with. */
#define BDAT_SIZE_MAX (UINT64_MAX / 2)

/** The longest verb: its letters fit a word, so that all are compared at once. */
#define VERB_MAX 8

/** Up to eight octets as one word, letters in upper case. */
static uint64_t verb_word(const char *text, size_t size)
{
	char octets[VERB_MAX] = {0};
	uint64_t word;

	for (size_t i = 0; i < size; i++)
		octets[i] =
			(char)(text[i] >= 'a' && text[i] <= 'z' ? text[i] - 'a' + 'A' : text[i]);
	memcpy(&word, octets, sizeof(word));
	return word;
}

static enum smtp_verb verb_of(const char *text, size_t size)
{
	uint64_t word;

	if (size == 0 || size > VERB_MAX)
		return SMTP_UNKNOWN_VERB;
	word = verb_word(text, size);
#define X(name)                                          \
	if (word == verb_word(#name, sizeof(#name) - 1)) \
		return SMTP_##name;
	SMTP_VERBS(X)
#undef X
	return SMTP_UNKNOWN_VERB;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

void smtp_command_parse(const char *line, size_t size, struct smtp_command *out)
{
	size_t length = 0;

	*out = (struct smtp_command){.verb = SMTP_UNKNOWN_VERB};
	while (length < size && !is_blank(line[length]))
		length++;
	out->verb = verb_of(line, length);
	while (length < size && is_blank(line[length]))
		length++;
	while (size > length && is_blank(line[size - 1]))
		size--;
	out->argument = line + length;
	out->argument_size = size - length;
}

int bdat_command_parse(const char *argument, size_t size, struct bdat_command *out)
{
	size_t at = 0;
	bool over = false;

	*out = (struct bdat_command){0};
	while (at < size && argument[at] >= '0' && argument[at] <= '9') {
		unsigned digit = (unsigned)(argument[at++] - '0');

		if (out->size > (BDAT_SIZE_MAX - digit) / 10)
			over = true;
		else
			out->size = out->size * 10 + digit;
	}
	if (at == 0)
		return -EINVAL;
	if (at < size) {
		size_t word = at;

		while (word < size && is_blank(argument[word]))
			word++;
		if (word == at || size - word != 4 || strncasecmp(argument + word, "LAST", 4) != 0)
			return -EINVAL;
		out->last = true;
	}
	return over ? -ERANGE : 0;
}

bool smtp_line_is_http(const char *line, size_t size)
{
	static const char *const methods[] = {"GET ",	 "POST ",     "HEAD ",	  "PUT ",
					      "DELETE ", "OPTIONS ",  "CONNECT ", "PATCH ",
					      "TRACE ",	 "PRI * HTTP"};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		size_t length = strlen(methods[i]);

		if (size >= length && strncasecmp(line, methods[i], length) == 0)
			return true;
	}
	return false;
}
