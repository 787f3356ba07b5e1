/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/smtp/command.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/** Twenty digits are RFC 1870's limit, and RFC 3030 has none: one that we can count with. */
#define BDAT_SIZE_MAX (UINT64_MAX / 2)

static const struct {
	const char *name;
	enum smtp_verb verb;
} verbs[] = {
#define X(name) {#name, SMTP_##name},
	SMTP_VERBS(X)
#undef X
};

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
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strlen(verbs[i].name) == length &&
		    strncasecmp(line, verbs[i].name, length) == 0)
			out->verb = verbs[i].verb;
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
