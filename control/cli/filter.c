/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What stands behind |. */
#include "control/cli/filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *word, *help;
	bool takes_value;
} filters[] = {
	{"count", "the number of lines, of a table: of its rows", false},
	{"display", "json: as the server sent it", true},
	{"except", "lines that do not match a regular expression", true},
	{"match", "lines that match a regular expression", true},
	{"no-more", "all at once, without --more--", false},
};
#define FILTERS (sizeof(filters) / sizeof(filters[0]))

/* @return index, FILTERS: none, or FILTERS + 1: several begin so */
static size_t find(const char *word)
{
	size_t found = FILTERS;

	for (size_t i = 0; i < FILTERS; i++) {
		if (strncmp(filters[i].word, word, strlen(word)) != 0)
			continue;
		if (found != FILTERS)
			return FILTERS + 1;
		found = i;
	}
	return word[0] != '\0' ? found : FILTERS;
}

static int add_stage(struct filter *filter, const char *expression, bool except, char *error,
		     size_t size)
{
	regex_t *compiled = &filter->stages[filter->stage_count].expression;
	int result;

	if (filter->stage_count == FILTERS_MAX) {
		snprintf(error, size, "more than %u filters", FILTERS_MAX);
		return -EINVAL;
	}
	result = regcomp(compiled, expression, REG_EXTENDED | REG_NOSUB);
	if (result != 0) {
		size_t at = (size_t)snprintf(error, size, "'%.60s': ", expression);

		regerror(result, compiled, error + at, size - at);
		return -EINVAL;
	}
	filter->stages[filter->stage_count++].except = except;
	return 0;
}

static int add(struct filter *filter, const char *word, const char *value, char *error, size_t size)
{
	size_t which = find(word);

	if (which >= FILTERS) {
		snprintf(error, size,
			 "'%.60s' after |: there is count, display, except, match, no-more", word);
		return -EINVAL;
	}
	if (filters[which].takes_value && value == NULL) {
		snprintf(error, size, "| %s needs a value: %s", filters[which].word,
			 filters[which].help);
		return -EINVAL;
	}
	word = filters[which].word;
	if (strcmp(word, "display") == 0) {
		if (!value || strncmp("json", value, strlen(value)) != 0) {
			snprintf(error, size, "| display: there is json");
			return -EINVAL;
		}
		filter->as_json = true;
	} else if (filters[which].takes_value) {
		return add_stage(filter, value, strcmp(word, "except") == 0, error, size);
	} else if (strcmp(word, "count") == 0) {
		filter->count = true;
	} else {
		filter->no_more = true;
	}
	return 0;
}

int filter_parse(const struct words *words, unsigned from, struct filter *filter, char *error,
		 size_t size)
{
	memset(filter, 0, sizeof(*filter));
	while (from <= words->count && from > 0 && words->is_pipe[from - 1]) {
		const char *word = from < words->count ? words->word[from] : "";
		unsigned end = from + 1;
		const char *value = NULL;

		if (from < words->count && words->is_pipe[from])
			word = "";
		if (end < words->count && !words->is_pipe[end])
			value = words->word[end++];
		if (add(filter, word, value, error, size) != 0)
			goto fail;
		if (end < words->count && !words->is_pipe[end]) {
			snprintf(error, size, "'%.60s' is too much after | %s", words->word[end],
				 word);
			goto fail;
		}
		if (value != NULL && !filters[find(word)].takes_value) {
			snprintf(error, size, "'%.60s' is too much after | %s", value, word);
			goto fail;
		}
		if (end >= words->count)
			break;
		from = end + 1;
	}
	return 0;
fail:
	filter_free(filter);
	return -EINVAL;
}

void filter_free(struct filter *filter)
{
	for (unsigned i = 0; i < filter->stage_count; i++)
		regfree(&filter->stages[i].expression);
	filter->stage_count = 0;
}

void filter_print_help(FILE *out)
{
	for (size_t i = 0; i < FILTERS; i++)
		fprintf(out, "  | %-24s %s\n", filters[i].word, filters[i].help);
}

bool filter_selects(const struct filter *filter)
{
	return filter->count || filter->stage_count > 0;
}

bool filter_passes(const struct filter *filter, const char *line)
{
	for (unsigned i = 0; i < filter->stage_count; i++) {
		bool matches = regexec(&filter->stages[i].expression, line, 0, NULL, 0) == 0;

		if (matches == filter->stages[i].except)
			return false;
	}
	return true;
}

char *filter_apply(const struct filter *filter, const char *text)
{
	char *out = malloc(strlen(text) + 32), *to = out, *copy = strdup(text), *next;
	unsigned long count = 0;

	if (out == NULL || copy == NULL)
		abort();
	for (char *line = copy; *line != '\0'; line = next) {
		size_t size = strcspn(line, "\n");

		next = line + size + (line[size] == '\n');
		line[size] = '\0';
		if (!filter_passes(filter, line))
			continue;
		count++;
		memcpy(to, line, size);
		to[size] = '\n';
		to += size + 1;
	}
	*to = '\0';
	if (filter->count)
		sprintf(out, "%lu\n", count);
	free(copy);
	return out;
}

static void set_choice(struct grammar_choice *choice, const char *word, const char *help,
		       bool is_value)
{
	snprintf(choice->word, sizeof(choice->word), "%s", word);
	snprintf(choice->help, sizeof(choice->help), "%s", help);
	choice->is_value = is_value;
}

unsigned filter_choices(const struct words *words, unsigned from, unsigned count,
			const char *prefix, struct grammar_choice *choices)
{
	unsigned found = 0;
	size_t which;

	if (from == count) {
		for (size_t i = 0; i < FILTERS; i++) {
			if (strncmp(filters[i].word, prefix, strlen(prefix)) == 0)
				set_choice(&choices[found++], filters[i].word, filters[i].help,
					   false);
		}
		return found;
	}
	which = find(words->word[from]);
	if (which >= FILTERS || !filters[which].takes_value || from + 1 != count)
		return 0;
	if (strcmp(filters[which].word, "display") == 0)
		set_choice(&choices[found++], "json", "as the server sent it", false);
	else
		set_choice(&choices[found++], "<expression>", filters[which].help, true);
	return found;
}
