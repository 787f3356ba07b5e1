/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Numbers with units and clean text, for render.c. Pure. */
#ifndef MILLRACE_CONTROL_CLI_RENDER_VALUE_H
#define MILLRACE_CONTROL_CLI_RENDER_VALUE_H

#include <stdbool.h>
#include <stddef.h>

/**
 * Copy so that it cannot drive a terminal: C0, DEL and C1 controls, bidirectional overrides and
 * broken UTF-8 become \xNN. @param keep_lines newlines and tabs stay @return octets written,
 * without the end
 */
size_t render_clean(const char *text, char *out, size_t size, bool keep_lines);
/** Columns of the terminal that a clean text takes: characters, wide ones count two. */
unsigned render_width(const char *text);
/** Octets of the longest beginning that takes at most so many columns. */
size_t render_fit(const char *text, unsigned columns);

#endif
