/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Tables that fit a terminal. Pure.
 *
 * What must hold: nothing is cut. A table that is too wide wraps its explanations, or says them in
 * a line below the row; then leaves out columns by their rank, and names them at the end; then
 * wraps other texts, the first column last.
 */
#ifndef MILLRACE_CONTROL_CLI_TABLE_H
#define MILLRACE_CONTROL_CLI_TABLE_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/** @param columns the command's description of them @param width of the terminal; 0: no limit */
void table_print(FILE *out, const json_t *rows, const json_t *columns, unsigned width);
/** One object as lines "title: value". */
void table_print_lines(FILE *out, const json_t *object, const json_t *columns, unsigned width);
/** A row as one line of unlimited width, cells two blanks apart: what filters look at. @return out
 */
char *table_row_text(const json_t *row, const json_t *columns, char *out, size_t size);
/**
 * Text from the present column on, wrapped at blanks (long words go over the edge). @param indent
 * of the following lines @param width of the terminal; 0: no limit
 */
void table_put_wrapped(FILE *out, const char *text, unsigned indent, unsigned width);

#endif
