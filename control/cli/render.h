/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Answers as people read them: tables from declared columns, objects as lines, times, sizes and
 * counts with units. Pure. What must hold: nothing that a remote host said can drive the terminal;
 * control characters show as \xNN.
 */
#ifndef MILLRACE_CONTROL_CLI_RENDER_H
#define MILLRACE_CONTROL_CLI_RENDER_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/**
 * @param columns from the command's description, or JSON null @param width of the terminal; 0: as
 * wide as it takes
 * @return malloc'ed text
 */
char *render(const json_t *data, const json_t *columns, unsigned width);

/** One value in a column's format ("bytes", "duration_us" …). @return out */
char *render_value(const json_t *value, const char *format, char *out, size_t size);
/** As JSON, indented, ASCII only. @return malloc'ed text */
char *render_json(const json_t *data);

#endif
