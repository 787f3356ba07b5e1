/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The CLI itself: a line is understood by the grammar, asked of the daemon, rendered, filtered and
 * printed. Owner: the millrace program, one thread.
 */
#ifndef MILLRACE_CONTROL_CLI_SHELL_H
#define MILLRACE_CONTROL_CLI_SHELL_H

#include "control/cli/connection.h"
#include "control/cli/words.h"

#include <stdbool.h>
#include <stdio.h>

struct shell {
	struct connection connection;
	json_t *description; /**< of the daemon's commands; NULL until it was asked */
	FILE *out, *err;
	bool always_json; /**< --json */
	bool interactive; /**< long output stops at each page */
	bool over;	  /**< exit was asked for */
};

void shell_init(struct shell *shell, const char *socket_path, FILE *out, FILE *err);
void shell_free(struct shell *shell);
/** Ask for the daemon's commands if that has not been done. @return 0 or -EIO (said so on err) */
int shell_learn(struct shell *shell);
/** The commands' descriptions, or NULL. */
const json_t *shell_commands(const struct shell *shell);
/** The box's name for the prompt. */
const char *shell_hostname(const struct shell *shell);
/** @return 0, or 1 when it failed (said so on err) */
int shell_run(struct shell *shell, const struct words *words);
int shell_run_line(struct shell *shell, const char *line);
/** Lines until the end of the input, # comments left out. @return 0, or 1 when any failed */
int shell_run_input(struct shell *shell, FILE *in);
/** At a terminal: editing, history, completion by TAB, help by ?. @return 0 */
int shell_interact(struct shell *shell);
/** Print what may follow the beginning of a line: `?`. */
void shell_help(struct shell *shell, const char *line, size_t size);

#endif
