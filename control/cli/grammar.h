/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The grammar of the command line, from the server's description of its commands: what a line
 * means, what may come next, and what helps. Pure. Owner: the CLI. Memory: borrows the description.
 */
#ifndef MILLRACE_CONTROL_CLI_GRAMMAR_H
#define MILLRACE_CONTROL_CLI_GRAMMAR_H

#include "control/cli/words.h"

#include <jansson.h>

/** What a line asks for. */
struct grammar_request {
	const json_t *command; /**< its description */
	json_t *request;       /**< to be sent; owned by the caller */
};

/**
 * Understand the first `count` words. Words may be cut as long as they stay unlike the others.
 * @param error size bytes, set when it is not understood @return 0 or -EINVAL
 */
int grammar_parse(const json_t *commands, const struct words *words, unsigned count,
		  struct grammar_request *out, char *error, size_t size);

#define GRAMMAR_CHOICES_MAX 128

/** One thing that may come next. */
struct grammar_choice {
	char word[64];
	char help[192];
	bool is_value; /**< a place for a value: shown by `?`, not completed */
};

/**
 * What may come after the first `count` words and begins with `prefix`; "<enter>" when the line may
 * end there.
 * @return how many
 */
unsigned grammar_choices(const json_t *commands, const struct words *words, unsigned count,
			 const char *prefix, struct grammar_choice *choices);

#endif
