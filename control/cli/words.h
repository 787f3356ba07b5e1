/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A command line as words: blanks separate, "…" keeps together, | stands alone. Pure. */
#ifndef MILLRACE_CONTROL_CLI_WORDS_H
#define MILLRACE_CONTROL_CLI_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#define WORDS_MAX      64
#define WORDS_LINE_MAX 4096

struct words {
	unsigned count;
	char *word[WORDS_MAX];
	bool is_pipe[WORDS_MAX]; /**< a bare | */
	bool open_quote;	 /**< the line ends inside quotes */
	bool ends_blank;	 /**< a new word begins at the end of the line */
	char text[WORDS_LINE_MAX + 2 * WORDS_MAX];
};

/** @return 0 or -E2BIG */
int words_split(const char *line, size_t size, struct words *words);
/** From an argument vector, each one word. @return 0 or -E2BIG */
int words_take(char **arguments, int count, struct words *words);

#endif
