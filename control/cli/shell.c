/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The CLI without its terminal: lines in, text out. */
#include "control/cli/shell.h"

#include "control/cli/catalogue.h"
#include "control/cli/filter.h"
#include "control/cli/grammar.h"
#include "control/cli/pager.h"
#include "control/cli/render.h"
#include "control/cli/render_value.h"
#include "control/cli/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A table's row as text, which filters look at. */
#define ROW_TEXT_MAX 8192

void shell_init(struct shell *shell, const char *socket_path, FILE *out, FILE *err)
{
	memset(shell, 0, sizeof(*shell));
	connection_init(&shell->connection, socket_path);
	shell->out = out;
	shell->err = err;
}

void shell_free(struct shell *shell)
{
	connection_close(&shell->connection);
	json_decref(shell->description);
	shell->description = NULL;
}

/* What the daemon says may quote a remote host. */
static int complain(const struct shell *shell, const char *text)
{
	size_t size = 4 * strlen(text) + 1;
	char *clean = malloc(size);

	if (clean == NULL)
		abort();
	render_clean(text, clean, size, true);
	fprintf(shell->err, "error: %s\n", clean);
	free(clean);
	return 1;
}

int shell_learn(struct shell *shell)
{
	json_t *request;
	char error[512];

	if (shell->description != NULL)
		return 0;
	request = json_pack("{s:[s]}", "command", "describe");
	shell->description = connection_ask(&shell->connection, request, error, sizeof(error));
	json_decref(request);
	if (shell->description != NULL)
		return 0;
	complain(shell, error);
	return -EIO;
}

const json_t *shell_commands(const struct shell *shell)
{
	return json_object_get(shell->description, "commands");
}

const char *shell_hostname(const struct shell *shell)
{
	const char *name = json_string_value(json_object_get(shell->description, "hostname"));

	return name != NULL ? name : "millrace";
}

static bool as_json(const struct shell *shell, const struct filter *filter)
{
	return filter->as_json || shell->always_json;
}

static void put_out(struct shell *shell, const struct filter *filter, const char *text)
{
	if (shell->interactive && !filter->no_more)
		pager_print(shell->out, text);
	else
		fputs(text, shell->out);
	fflush(shell->out);
}

/* Of a table, filters choose rows: its head is no row, and a row is one however it is wrapped. */
static void print_chosen_rows(struct shell *shell, const struct filter *filter, const json_t *rows,
			      const json_t *columns)
{
	json_t *chosen = json_array();
	json_t *row;
	char line[ROW_TEXT_MAX], *text;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		if (filter_passes(filter, table_row_text(row, columns, line, sizeof(line))))
			json_array_append(chosen, row);
	}
	if (filter->count) {
		fprintf(shell->out, "%zu\n", json_array_size(chosen));
		fflush(shell->out);
	} else if (json_array_size(chosen) > 0) {
		text = render(chosen, columns, pager_width(shell->out));
		put_out(shell, filter, text);
		free(text);
	}
	json_decref(chosen);
}

static void print(struct shell *shell, const struct filter *filter, const json_t *data,
		  const json_t *columns)
{
	const json_t *document_text = json_object_get(data, "text");
	const json_t *document_json = json_object_get(data, "json");
	char *text, *filtered;

	if (json_is_string(document_text) && document_json != NULL)
		data = as_json(shell, filter) ? document_json : document_text;
	if (!as_json(shell, filter) && filter_selects(filter) && json_is_array(data) &&
	    json_is_array(columns)) {
		print_chosen_rows(shell, filter, data, columns);
		return;
	}
	if (as_json(shell, filter))
		text = render_json(data);
	else
		text = render(data, columns, filter_selects(filter) ? 0 : pager_width(shell->out));
	filtered = filter_apply(filter, text);
	put_out(shell, filter, filtered);
	free(filtered);
	free(text);
}

/* The commands by name and purpose alone: help without a daemon. */
static json_t *commands_of_catalogue(void)
{
	json_t *commands = json_array();

	for (unsigned i = 0; i < CATALOGUE_COMMANDS; i++)
		json_array_append_new(commands,
				      json_pack("{s:s, s:s, s:[]}", "words", catalogue[i].words,
						"help", catalogue[i].help, "arguments"));
	return commands;
}

/* @return the daemon's commands, or those that this program knows of; the caller's */
static json_t *commands_for_help(struct shell *shell)
{
	json_t *request, *description;
	char error[512];

	if (shell->description == NULL) {
		request = json_pack("{s:[s]}", "command", "describe");
		description = connection_ask(&shell->connection, request, error, sizeof(error));
		json_decref(request);
		shell->description = description;
	}
	if (shell->description != NULL)
		return json_incref(json_object_get(shell->description, "commands"));
	fprintf(shell->out, "  (%s)\n", error);
	return commands_of_catalogue();
}

static void print_commands(struct shell *shell)
{
	json_t *commands = commands_for_help(shell);
	const json_t *command;
	size_t i;

	json_array_foreach(commands, i, command)
	{
		const char *words = json_string_value(json_object_get(command, "words"));
		const char *help = json_string_value(json_object_get(command, "help"));

		fprintf(shell->out, "  %-26s %s\n", words != NULL ? words : "",
			help != NULL ? help : "");
	}
	json_decref(commands);
	fputs("  help, ?                    this list; ? and TAB help at any place of a line\n"
	      "  exit, quit                 leave\n"
	      "behind any command:\n",
	      shell->out);
	filter_print_help(shell->out);
	fputs("words may be shortened as long as they are unique\n", shell->out);
}

/* `show queue ?` as a command of its own. */
static bool asks_for_help(const struct words *words)
{
	return words->count > 1 && strcmp(words->word[words->count - 1], "?") == 0;
}

static void print_choices(struct shell *shell, const struct words *words, unsigned count,
			  const char *prefix)
{
	struct grammar_choice *choices = calloc(GRAMMAR_CHOICES_MAX, sizeof(*choices));
	json_t *commands = commands_for_help(shell);
	unsigned found;

	if (choices == NULL)
		abort();
	found = grammar_choices(commands, words, count, prefix, choices);
	for (unsigned i = 0; i < found; i++)
		fprintf(shell->out, "  %-20s %s\n", choices[i].word, choices[i].help);
	if (found == 0)
		fputs("  (nothing fits here)\n", shell->out);
	fflush(shell->out);
	json_decref(commands);
	free(choices);
}

/* Words of the shell itself. @return false when it is not one of them */
static bool run_own(struct shell *shell, const struct words *words)
{
	if (words->count != 1)
		return false;
	if (strcmp(words->word[0], "exit") == 0 || strcmp(words->word[0], "quit") == 0) {
		shell->over = true;
		return true;
	}
	if (strcmp(words->word[0], "help") == 0 || strcmp(words->word[0], "?") == 0) {
		print_commands(shell);
		return true;
	}
	return false;
}

int shell_run(struct shell *shell, const struct words *words)
{
	struct grammar_request request;
	struct filter filter;
	unsigned end = 0;
	char error[1024];
	json_t *data;
	bool failed;

	while (end < words->count && !words->is_pipe[end])
		end++;
	if (words->count == 0)
		return 0;
	if (words->open_quote)
		return complain(shell, "a quote is not closed");
	if (run_own(shell, words))
		return 0;
	if (asks_for_help(words)) {
		print_choices(shell, words, words->count - 1, "");
		return 0;
	}
	if (shell_learn(shell) != 0)
		return 1;
	if (filter_parse(words, end + 1, &filter, error, sizeof(error)) != 0)
		return complain(shell, error);
	if (grammar_parse(shell_commands(shell), words, end, &request, error, sizeof(error)) != 0) {
		filter_free(&filter);
		return complain(shell, error);
	}
	data = connection_ask(&shell->connection, request.request, error, sizeof(error));
	if (data != NULL)
		print(shell, &filter, data, json_object_get(request.command, "columns"));
	json_decref(request.request);
	filter_free(&filter);
	if (data == NULL)
		return complain(shell, error);
	failed = json_is_true(json_object_get(data, "failed"));
	json_decref(data);
	return failed;
}

int shell_run_line(struct shell *shell, const char *line)
{
	struct words *words = malloc(sizeof(*words));
	int result;

	if (words == NULL)
		abort();
	if (words_split(line, strlen(line), words) != 0)
		result = complain(shell, "the line is too long");
	else
		result = shell_run(shell, words);
	free(words);
	return result;
}

int shell_run_input(struct shell *shell, FILE *in)
{
	char *line = NULL;
	size_t room = 0;
	int failed = 0;

	while (!shell->over && getline(&line, &room, in) > 0) {
		if (line[strspn(line, " \t")] != '#')
			failed |= shell_run_line(shell, line);
	}
	free(line);
	return failed;
}

void shell_help(struct shell *shell, const char *line, size_t size)
{
	struct words *words = malloc(sizeof(*words));
	const char *prefix = "";
	unsigned before;

	if (words == NULL)
		abort();
	if (words_split(line, size, words) == 0) {
		before = words->count;
		if (!words->ends_blank && before > 0)
			prefix = words->word[--before];
		print_choices(shell, words, before, prefix);
	}
	free(words);
}
