/* SPDX-License-Identifier: GPL-3.0-or-later */
/* EHLO keywords: see client_features.h. RFC 5321, 4.1.1.1: keywords are case-insensitive. */
#include "dataplane/smtp/client_features.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

/** The next word of `*at`, and its length; 0 at the end. */
static size_t next_word(const char **at, const char **word)
{
	*at += strspn(*at, " \t");
	*word = *at;
	*at += strcspn(*at, " \t");
	return (size_t)(*at - *word);
}

static bool word_is(const char *word, size_t size, const char *keyword)
{
	return strlen(keyword) == size && strncasecmp(word, keyword, size) == 0;
}

/** @return false when it is no decimal number, or one that does not fit */
static bool number_read(const char *text, size_t size, uint64_t *out)
{
	uint64_t value = 0;

	if (size == 0 || size > 19)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(text[i] - '0');
	}
	*out = value;
	return true;
}

/* RFC 9422, 4: name "=" value; a value of zero would forbid all mail and is not believed. */
static void limits_read(struct client_features *features, const char *at)
{
	struct {
		const char *name;
		uint32_t *to;
	} known[] = {
		{"MAILMAX=", &features->mail_max},
		{"RCPTMAX=", &features->recipients_max},
		{"RCPTDOMAINMAX=", &features->domains_max},
	};
	const char *word;
	size_t size;

	while ((size = next_word(&at, &word)) > 0) {
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
			size_t name = strlen(known[i].name);
			uint64_t value;

			if (size > name && strncasecmp(word, known[i].name, name) == 0 &&
			    number_read(word + name, size - name, &value) && value > 0)
				*known[i].to = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
		}
	}
}

void client_features_read(struct client_features *features, const char *line)
{
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {
		{"STARTTLS", &features->starttls},
		{"PIPELINING", &features->pipelining},
		{"CHUNKING", &features->chunking},
		{"8BITMIME", &features->eightbit},
		{"SMTPUTF8", &features->smtputf8},
		{"DSN", &features->dsn},
		{"ENHANCEDSTATUSCODES", &features->enhanced},
	};
	const char *word;
	size_t size = next_word(&line, &word);

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (word_is(word, size, flags[i].name))
			*flags[i].flag = true;
	if (word_is(word, size, "SIZE")) {
		features->size = true;
		size = next_word(&line, &word);
		if (!number_read(word, size, &features->size_max))
			features->size_max = 0;
	} else if (word_is(word, size, "LIMITS")) {
		limits_read(features, line);
	}
}
