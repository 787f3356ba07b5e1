/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The CLI at a terminal, by libedit: history, TAB completes, ? helps, Ctrl-C gives a line up,
 * Ctrl-D leaves. Nothing is assumed of the terminal beyond what libedit needs, so a serial console
 * serves as well as SSH.
 */
#include "control/cli/grammar.h"
#include "control/cli/shell.h"

#include <errno.h>
#include <histedit.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;
/* The terminal as it was found, for whatever way the program ends. */
static struct termios found;

static void on_end(int signal_number)
{
	tcsetattr(STDIN_FILENO, TCSANOW, &found);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* A signal that ends the program must not leave a terminal without echo. */
static void keep_terminal(void)
{
	static const int ends[] = {SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGABRT, SIGSEGV, SIGBUS};
	struct sigaction action = {.sa_handler = on_end, .sa_flags = SA_NODEFER};

	if (tcgetattr(STDIN_FILENO, &found) != 0)
		return;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigaction(ends[i], &action, NULL);
}

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

static struct shell *shell_of(EditLine *edit)
{
	void *shell = NULL;

	el_get(edit, EL_CLIENTDATA, &shell);
	return shell;
}

static char *prompt(EditLine *edit)
{
	static char text[80];

	snprintf(text, sizeof(text), "%.60s> ", shell_hostname(shell_of(edit)));
	return text;
}

/* How much all that can be completed have in common. */
static size_t common(const struct grammar_choice *choices, unsigned count, unsigned *completable)
{
	const char *first = NULL;
	size_t size = 0;

	*completable = 0;
	for (unsigned i = 0; i < count; i++) {
		if (choices[i].is_value)
			continue;
		++*completable;
		if (first == NULL) {
			first = choices[i].word;
			size = strlen(first);
			continue;
		}
		for (size_t at = 0; at < size; at++) {
			if (choices[i].word[at] != first[at])
				size = at;
		}
	}
	return size;
}

static const char *first_word(const struct grammar_choice *choices, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (!choices[i].is_value)
			return choices[i].word;
	}
	return "";
}

static unsigned char show_help(EditLine *edit, const LineInfo *line)
{
	fputc('\n', shell_of(edit)->out);
	shell_help(shell_of(edit), line->buffer, (size_t)(line->cursor - line->buffer));
	return CC_REDISPLAY;
}

static unsigned char on_help(EditLine *edit, int key)
{
	const LineInfo *line = el_line(edit);
	struct words *words = malloc(sizeof(*words));
	bool quoted;

	(void)key;
	if (words == NULL)
		abort();
	/* Inside quotes ? is part of an expression. */
	quoted = words_split(line->buffer, (size_t)(line->cursor - line->buffer), words) == 0 &&
		 words->open_quote;
	free(words);
	if (!quoted)
		return show_help(edit, line);
	return el_insertstr(edit, "?") == 0 ? CC_REFRESH : CC_ERROR;
}

static unsigned char complete(EditLine *edit, const struct words *words,
			      struct grammar_choice *choices)
{
	struct shell *shell = shell_of(edit);
	const LineInfo *line = el_line(edit);
	const char *prefix = "";
	unsigned count, completable, before = words->count;
	char insert[80];
	size_t size;

	if (!words->ends_blank && before > 0)
		prefix = words->word[--before];
	count = grammar_choices(shell_commands(shell), words, before, prefix, choices);
	size = common(choices, count, &completable);
	if (completable == 0)
		return count > 0 ? show_help(edit, line) : CC_ERROR;
	if (size <= strlen(prefix) && completable > 1)
		return show_help(edit, line);
	snprintf(insert, sizeof(insert), "%.*s%s", (int)(size - strlen(prefix)),
		 first_word(choices, count) + strlen(prefix), completable == 1 ? " " : "");
	return el_insertstr(edit, insert) == 0 ? CC_REFRESH : CC_ERROR;
}

static unsigned char on_complete(EditLine *edit, int key)
{
	struct grammar_choice *choices = calloc(GRAMMAR_CHOICES_MAX, sizeof(*choices));
	struct words *words = malloc(sizeof(*words));
	const LineInfo *line = el_line(edit);
	unsigned char result = CC_ERROR;

	(void)key;
	if (choices == NULL || words == NULL)
		abort();
	if (words_split(line->buffer, (size_t)(line->cursor - line->buffer), words) == 0 &&
	    shell_learn(shell_of(edit)) == 0)
		result = complete(edit, words, choices);
	free(words);
	free(choices);
	return result;
}

static void read_lines(struct shell *shell, EditLine *edit, History *past)
{
	HistEvent event;

	while (!shell->over) {
		int size = 0;
		const char *line;

		interrupted = 0;
		line = el_gets(edit, &size);
		if (interrupted || (line == NULL && size < 0 && errno == EINTR)) {
			fputc('\n', shell->out);
			el_reset(edit);
			continue;
		}
		if (line == NULL || size <= 0)
			break;
		if (line[strspn(line, " \t\r\n")] == '\0')
			continue;
		history(past, &event, H_ENTER, line);
		shell_run_line(shell, line);
	}
}

int shell_interact(struct shell *shell)
{
	struct sigaction action = {.sa_handler = on_interrupt}, old;
	EditLine *edit = el_init("millrace", stdin, shell->out, shell->err);
	History *past = history_init();
	HistEvent event;

	if (edit == NULL || past == NULL)
		abort();
	shell->interactive = true;
	keep_terminal();
	sigaction(SIGINT, &action, &old);
	history(past, &event, H_SETSIZE, 1000);
	history(past, &event, H_SETUNIQUE, 1);
	/* For the prompt, which names the box; without a daemon it is said why, and asked again. */
	shell_learn(shell);
	el_set(edit, EL_CLIENTDATA, shell);
	el_set(edit, EL_PROMPT, prompt);
	el_set(edit, EL_EDITOR, "emacs");
	el_set(edit, EL_HIST, history, past);
	el_set(edit, EL_ADDFN, "millrace-complete", "complete a word", on_complete);
	el_set(edit, EL_ADDFN, "millrace-help", "what may come here", on_help);
	el_set(edit, EL_BIND, "\t", "millrace-complete", NULL);
	el_set(edit, EL_BIND, "?", "millrace-help", NULL);
	el_set(edit, EL_BIND, "^r", "em-inc-search-prev", NULL);
	read_lines(shell, edit, past);
	if (!shell->over)
		fputc('\n', shell->out);
	history_end(past);
	el_end(edit);
	sigaction(SIGINT, &old, NULL);
	return 0;
}
