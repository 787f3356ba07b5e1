/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The management server: JSON requests over a UNIX socket, answered from a table of commands that
 * the daemon fills. `millrace` (the CLI) is a client of it and renders what comes back. Owner: a
 * thread of its own.
 *
 * A request is one JSON object and a newline: {"command": ["show","queue"], "arguments": {"domain":
 * "example.com"}}; the answer is one JSON object and a newline: {"ok": true, "data": …} or {"ok":
 * false, "error": "…"}.
 * Data that is an object of "text" (a string) and "json" is a document: people see the text as
 * it is, programs (| display json) the JSON. With "failed": true beside them it says what went
 * wrong, and `millrace` ends with status 1.
 * {"command": ["describe"]} answers the table: words, help, arguments, columns; grammar, completion
 * and `?` come from it.
 */
#ifndef MILLRACE_CONTROL_CLI_MANAGEMENT_H
#define MILLRACE_CONTROL_CLI_MANAGEMENT_H

#include <jansson.h>
#include <stdbool.h>

struct management;

struct command_argument {
	const char *name; /**< key in "arguments" */
	const char *help;
	bool positional; /**< `show message ID`; else `show queue domain NAME` */
	bool required;
	bool flag; /**< no value: `dry-run` */
};

/** One column of a table rendered from a JSON array of objects, or one line of an object. */
struct command_column {
	const char *key; /**< JSON key; dotted for nested */
	const char *title;
	/** "text", "count", "bytes", "duration_us", "percent", "rate"; wall clock in microseconds
	 * as a date ("time_us") or as how far from now ("when_us"); a boolean as up or down ("up");
	 * an explanation, which may take several lines ("note") */
	const char *format;
	unsigned rank; /**< on a narrow terminal the highest is left out first; 0: stays */
};

struct command {
	const char *words; /**< "show queue" */
	const char *help;
	const struct command_argument *arguments; /**< ends with name NULL */
	const struct command_column
		*columns; /**< ends with key NULL; NULL: rendered as indented text */
	bool changes;	  /**< a request: logged with who asked */
	/** @param error at least 256 bytes, set when NULL is returned @return data; the caller owns
	 * it */
	json_t *(*run)(void *context, json_t *arguments, char *error);
	void *context;
};

/** @param socket_path made with mode 0660 @param error at least 256 bytes */
struct management *management_create(const char *socket_path, char *error);
/** The box's name, for the prompt; without it the machine's. Before management_start. */
void management_set_hostname(struct management *management, const char *hostname);
/** Before management_start. The command must stay valid. */
void management_add(struct management *management, const struct command *command);
int management_start(struct management *management);
void management_destroy(struct management *management);

#endif
