/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The CLI without its terminal: lines in, text out. */
#include "control/cli/shell.h"

#include "control/cli/filter.h"
#include "control/cli/grammar.h"
#include "control/cli/pager.h"
#include "control/cli/render.h"
#include "control/cli/render_value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	char clean[4096];

	render_clean(text, clean, sizeof(clean), true);
	fprintf(shell->err, "error: %s\n", clean);
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

static void print(struct shell *shell, const struct filter *filter, const json_t *data,
		  const json_t *columns)
{
	const json_t *document_text = json_object_get(data, "text");
	const json_t *document_json = json_object_get(data, "json");
	char *text, *filtered;

	if (json_object_size(data) == 2 && json_is_string(document_text) && document_json != NULL)
		data = filter->as_json || shell->always_json ? document_json : document_text;
	if (filter->as_json || shell->always_json)
		text = render_json(data);
	else
		text = render(data, columns, pager_width(shell->out));
	filtered = filter_apply(filter, text);
	if (shell->interactive && !filter->no_more)
		pager_print(shell->out, filtered);
	else
		fputs(filtered, shell->out);
	fflush(shell->out);
	free(filtered);
	free(text);
}

static void print_commands(struct shell *shell)
{
	const json_t *command;
	size_t i;

	if (shell_learn(shell) != 0)
		return;
	json_array_foreach(shell_commands(shell), i, command)
	{
		const char *words = json_string_value(json_object_get(command, "words"));
		const char *help = json_string_value(json_object_get(command, "help"));

		fprintf(shell->out, "  %-26s %s\n", words != NULL ? words : "",
			help != NULL ? help : "");
	}
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
		fputs("? and TAB help at any place; words may be cut; | filters what is printed; "
		      "exit leaves\n",
		      shell->out);
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

	while (end < words->count && !words->is_pipe[end])
		end++;
	if (words->count == 0)
		return 0;
	if (words->open_quote)
		return complain(shell, "a quote is not closed");
	if (run_own(shell, words))
		return 0;
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
	json_decref(data);
	return 0;
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
	struct grammar_choice *choices = calloc(GRAMMAR_CHOICES_MAX, sizeof(*choices));
	struct words *words = malloc(sizeof(*words));
	const char *prefix = "";
	unsigned count, before;

	if (choices == NULL || words == NULL)
		abort();
	if (words_split(line, size, words) != 0 || shell_learn(shell) != 0)
		goto out;
	before = words->count;
	if (!words->ends_blank && before > 0)
		prefix = words->word[--before];
	count = grammar_choices(shell_commands(shell), words, before, prefix, choices);
	for (unsigned i = 0; i < count; i++)
		fprintf(shell->out, "  %-20s %s\n", choices[i].word, choices[i].help);
	if (count == 0)
		fputs("  (nothing fits here)\n", shell->out);
	fflush(shell->out);
out:
	free(words);
	free(choices);
}
