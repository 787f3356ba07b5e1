/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Long output page by page, on any terminal (a serial line too): no cursor movement, one key.
 * Owner: the CLI. */
#ifndef MILLRACE_CONTROL_CLI_PAGER_H
#define MILLRACE_CONTROL_CLI_PAGER_H

#include <stdio.h>

/** Columns of the terminal on a stream, or 0: it is none. */
unsigned pager_width(FILE *out);
/** Print; stop at each full page and wait for space, enter or q when `out` and the input are
 * terminals. */
void pager_print(FILE *out, const char *text);

#endif
