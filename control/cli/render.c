/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Answers as people read them: what has columns by table.c, the rest as indented text. */
#include "control/cli/render.h"

#include "control/cli/render_value.h"
#include "control/cli/table.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELL_MAX 1024
/* From here on digits are grouped. */
#define GROUPED_FROM 10000

/* ---- Without columns: what the names say ---- */

/* Microseconds since 1970 that are a time of this century, and hardly anything else: 2001 to 2096.
 */
#define TIME_FROM_US INT64_C(1000000000000000)
#define TIME_TO_US   INT64_C(4000000000000000)

/* Whether a word stands among those that _ or - join in a key. */
static bool has_word(const char *key, const char *word, bool only_last)
{
	size_t size = strlen(word);

	for (const char *at = key; (at = strstr(at, word)) != NULL; at += size) {
		bool begins = at == key || at[-1] == '_' || at[-1] == '-';
		bool ends =
			at[size] == '\0' || (!only_last && (at[size] == '_' || at[size] == '-'));

		if (begins && ends)
			return true;
	}
	return false;
}

/* What a key says of its value: it names the units. */
static const char *format_of(const char *key, const json_t *value)
{
	json_int_t number = json_integer_value(value);

	if (number >= TIME_FROM_US && number < TIME_TO_US)
		return "time_us";
	if (has_word(key, "bytes", false) || has_word(key, "size", true))
		return "bytes";
	if (has_word(key, "us", true))
		return "duration_us";
	if (has_word(key, "percent", true))
		return "percent";
	if (has_word(key, "second", true))
		return "rate";
	return number >= GROUPED_FROM ? "count" : "text";
}

/* A key as people write it: without the units, which the value names. */
static const char *title_of(const char *key, char *out, size_t size)
{
	static const char *const units[] = {"_us", "_bytes", "_percent"};
	char *at;

	render_clean(key, out, size, false);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t unit = strlen(units[i]);

		at = strstr(out, units[i]);
		if (at != NULL && at > out && (at[unit] == '\0' || at[unit] == '_'))
			memmove(at, at + unit, strlen(at + unit) + 1);
	}
	for (at = out; *at != '\0'; at++) {
		if (*at == '_')
			*at = ' ';
	}
	if (out[0] >= 'a' && out[0] <= 'z')
		out[0] = (char)(out[0] - 'a' + 'A');
	return out;
}

static bool is_inner(const json_t *value)
{
	return json_is_object(value) ||
	       (json_is_array(value) && json_is_object(json_array_get(value, 0)));
}

static void put_blanks(FILE *out, unsigned count)
{
	while (count-- > 0)
		fputc(' ', out);
}

static void put_text(FILE *out, const json_t *value, unsigned depth, unsigned width);

static unsigned widest_title(const json_t *object)
{
	unsigned widest = 0;
	char title[CELL_MAX];
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		unsigned needs = render_width(title_of(key, title, sizeof(title)));

		if (!is_inner(value) && needs > widest)
			widest = needs;
	}
	return widest;
}

static void put_object(FILE *out, const json_t *object, unsigned depth, unsigned width)
{
	unsigned widest = widest_title(object), indent = 2 * depth;
	char cell[CELL_MAX];
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		put_blanks(out, indent);
		fprintf(out, "%s:", title_of(key, cell, sizeof(cell)));
		if (is_inner(value)) {
			fputc('\n', out);
			put_text(out, value, depth + 1, width);
			continue;
		}
		put_blanks(out, widest - render_width(cell) + 1);
		table_put_wrapped(out,
				  render_value(value, format_of(key, value), cell, sizeof(cell)),
				  indent + widest + 2, width);
	}
}

static void put_text(FILE *out, const json_t *value, unsigned depth, unsigned width)
{
	const json_t *element;
	char cell[CELL_MAX];
	size_t i;

	if (json_is_object(value)) {
		put_object(out, value, depth, width);
	} else if (is_inner(value)) {
		json_array_foreach(value, i, element)
		{
			if (i > 0)
				fputc('\n', out);
			put_text(out, element, depth, width);
		}
	} else {
		put_blanks(out, 2 * depth);
		fprintf(out, "%s\n", render_value(value, "text", cell, sizeof(cell)));
	}
}

static void put_long_text(FILE *out, const char *text)
{
	size_t size = 4 * strlen(text) + 1;
	char *clean = malloc(size);

	if (clean == NULL)
		abort();
	size = render_clean(text, clean, size, true);
	fputs(clean, out);
	if (size > 0 && clean[size - 1] != '\n')
		fputc('\n', out);
	free(clean);
}

char *render(const json_t *data, const json_t *columns, unsigned width)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		abort();
	if (json_is_string(data))
		put_long_text(out, json_string_value(data));
	else if (json_is_array(data) && json_array_size(data) == 0)
		fputs("(none)\n", out);
	else if (json_is_array(columns) && json_is_array(data))
		table_print(out, data, columns, width);
	else if (json_is_array(columns) && json_is_object(data))
		table_print_lines(out, data, columns, width);
	else
		put_text(out, data, 0, width);
	fclose(out);
	return text;
}

char *render_json(const json_t *data)
{
	char *text = json_dumps(data, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
	char *line;

	if (text == NULL || asprintf(&line, "%s\n", text) < 0)
		abort();
	free(text);
	return line;
}
