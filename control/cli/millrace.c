/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * millrace: the operator's command.
 *
 *   millrace                              a prompt (at a terminal), or commands from the input, one
 * a line millrace show queue domain NAME       one command millrace 'show queue | match gmail' with
 * filters: | display json, | match RE, | except RE, | count, | no-more
 *
 * Exit status: 0, 1 when a command failed, 2 when the command line of millrace itself is wrong.
 */
#include "control/cli/shell.h"

#include <getopt.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOCKET_PATH "/run/millrace/millrace.sock"

static int usage(FILE *out, int status)
{
	fputs("usage: millrace [--socket PATH] [--json] [COMMAND ...]\n"
	      "  without COMMAND: a prompt, or commands from the input, one a line\n"
	      "  --socket PATH   the daemon's socket (else $MILLRACE_SOCKET, else " SOCKET_PATH
	      ")\n"
	      "  --json          print answers as JSON, as `| display json` does\n"
	      "  --version       print the version\n"
	      "millrace '?' lists the commands\n",
	      out);
	return status;
}

static int run(struct shell *shell, char **arguments, int count)
{
	struct words *words;
	int result;

	if (count == 0 && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		return shell_interact(shell);
	if (count == 0)
		return shell_run_input(shell, stdin);
	/* A single argument is a line, so that filters can stand in it without the shell's help. */
	if (count == 1)
		return shell_run_line(shell, arguments[0]);
	words = malloc(sizeof(*words));
	if (words == NULL)
		abort();
	if (words_take(arguments, count, words) != 0)
		result = usage(stderr, 2);
	else
		result = shell_run(shell, words);
	free(words);
	return result;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"socket", required_argument, NULL, 's'},
						{"json", no_argument, NULL, 'j'},
						{"help", no_argument, NULL, 'h'},
						{"version", no_argument, NULL, 'v'},
						{NULL, 0, NULL, 0}};
	const char *path = getenv("MILLRACE_SOCKET");
	struct shell shell;
	bool json = false;
	int option, result;

	setlocale(LC_CTYPE, "");
	if (path == NULL || path[0] == '\0')
		path = SOCKET_PATH;
	/* '+': the first word of the command ends millrace's own options. */
	while ((option = getopt_long(argc, argv, "+s:jhv", options, NULL)) != -1) {
		switch (option) {
		case 's':
			path = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			return usage(stdout, 0);
		case 'v':
			puts("millrace " MILLRACE_VERSION);
			return 0;
		default:
			return usage(stderr, 2);
		}
	}
	shell_init(&shell, path, stdout, stderr);
	shell.always_json = json;
	result = run(&shell, argv + optind, argc - optind);
	shell_free(&shell);
	return result;
}
