/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What stands behind |: display json, match RE, except RE, count, no-more. Owner: the CLI. */
#ifndef MILLRACE_CONTROL_CLI_FILTER_H
#define MILLRACE_CONTROL_CLI_FILTER_H

#include "control/cli/grammar.h"
#include "control/cli/words.h"

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define FILTERS_MAX 8

struct filter {
	bool as_json;
	bool no_more;
	bool count; /**< lines instead of text */
	unsigned stage_count;
	struct {
		bool except;
		regex_t expression;
	} stages[FILTERS_MAX];
};

/** Parse all behind the first |. @param from its index + 1, or words->count: nothing @return 0 or
 * -EINVAL, error set */
int filter_parse(const struct words *words, unsigned from, struct filter *filter, char *error,
		 size_t size);
void filter_free(struct filter *filter);
/** A line for each filter: `help`. */
void filter_print_help(FILE *out);
/** Whether anything but the shape is asked for. */
bool filter_selects(const struct filter *filter);
/** Whether every expression lets a line pass. */
bool filter_passes(const struct filter *filter, const char *line);
/** Lines that pass, or their number. @return malloc'ed text */
char *filter_apply(const struct filter *filter, const char *text);
/** As grammar_choices, for the words from `from` on. */
unsigned filter_choices(const struct words *words, unsigned from, unsigned count,
			const char *prefix, struct grammar_choice *choices);

#endif
