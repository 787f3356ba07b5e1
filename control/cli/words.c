/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A command line as words. */
#include "control/cli/words.h"

#include <errno.h>
#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* One word, quotes taken off. @return where it ended */
static const char *take_word(struct words *words, const char *at, const char *end, char **out)
{
	bool quoted = false;

	words->word[words->count] = *out;
	words->is_pipe[words->count++] = false;
	for (; at < end && (quoted || (!is_blank(*at) && *at != '|')); at++) {
		if (*at == '"')
			quoted = !quoted;
		else if (*at == '\\' && quoted && at + 1 < end && (at[1] == '"' || at[1] == '\\'))
			*(*out)++ = *++at;
		else
			*(*out)++ = *at;
	}
	*(*out)++ = '\0';
	words->open_quote = quoted;
	return at;
}

int words_split(const char *line, size_t size, struct words *words)
{
	const char *at = line, *end = line + size;
	char *out = words->text;

	memset(words, 0, offsetof(struct words, text));
	words->ends_blank = true;
	if (size > WORDS_LINE_MAX)
		return -E2BIG;
	for (;;) {
		while (at < end && is_blank(*at)) {
			at++;
			words->ends_blank = true;
		}
		if (at == end || *at == '\0')
			return 0;
		if (words->count == WORDS_MAX)
			return -E2BIG;
		if (*at == '|') {
			words->is_pipe[words->count] = true;
			words->word[words->count++] = strcpy(out, "|");
			out += 2;
			at++;
			words->ends_blank = true;
			continue;
		}
		at = take_word(words, at, end, &out);
		words->ends_blank = false;
	}
}

int words_take(char **arguments, int count, struct words *words)
{
	memset(words, 0, offsetof(struct words, text));
	words->ends_blank = true;
	if (count > WORDS_MAX)
		return -E2BIG;
	for (int i = 0; i < count; i++) {
		words->is_pipe[i] = strcmp(arguments[i], "|") == 0;
		words->word[words->count++] = arguments[i];
	}
	return 0;
}
