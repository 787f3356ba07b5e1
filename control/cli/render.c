/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Answers as people read them: tables and indented text. */
#include "control/cli/render.h"

#include "control/cli/render_value.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 32
#define CELL_MAX    1024
#define GAP	    2  /**< blanks between two columns */
#define NARROW	    10 /**< a text column is not cut below this */

struct column {
	const char *key, *title, *format;
	bool is_number; /**< stands on the right */
	unsigned width;
};

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

/* "tls.version" looks into an object within. */
static const json_t *member(const json_t *object, const char *key)
{
	char part[128];

	for (;;) {
		const char *dot = strchr(key, '.');
		const json_t *whole = json_object_get(object, key);

		if (whole != NULL || dot == NULL)
			return whole;
		snprintf(part, sizeof(part), "%.*s", (int)(dot - key), key);
		object = json_object_get(object, part);
		key = dot + 1;
	}
}

static unsigned take_columns(const json_t *description, struct column *columns)
{
	const json_t *each;
	unsigned count = 0;
	size_t i;

	json_array_foreach(description, i, each)
	{
		struct column *column = &columns[count];

		if (count == COLUMNS_MAX)
			break;
		column->key = text_of(each, "key");
		column->title = text_of(each, "title");
		column->format = text_of(each, "format");
		column->is_number = strcmp(column->format, "text") != 0 &&
				    strcmp(column->format, "time_us") != 0;
		column->width = render_width(column->title);
		count++;
	}
	return count;
}

/* Make the widest text columns narrower until the table fits, as far as that goes. */
static void fit_columns(struct column *columns, unsigned count, unsigned width)
{
	unsigned total = count > 0 ? (count - 1) * GAP : 0;

	for (unsigned i = 0; i < count; i++)
		total += columns[i].width;
	while (width > 0 && total > width) {
		struct column *widest = NULL;

		for (unsigned i = 0; i < count; i++) {
			if (!columns[i].is_number &&
			    (widest == NULL || columns[i].width > widest->width))
				widest = &columns[i];
		}
		if (widest == NULL || widest->width <= NARROW)
			return;
		widest->width--;
		total--;
	}
}

static void put_blanks(FILE *out, unsigned count)
{
	while (count-- > 0)
		fputc(' ', out);
}

static void put_cell(FILE *out, const struct column *column, const char *text, bool is_last)
{
	unsigned width = render_width(text);

	if (width > column->width) {
		size_t size = render_fit(text, column->width - 2);

		fprintf(out, "%.*s..", (int)size, text);
		return;
	}
	if (column->is_number)
		put_blanks(out, column->width - width);
	fputs(text, out);
	if (!column->is_number && !is_last)
		put_blanks(out, column->width - width);
}

static void put_table(FILE *out, const json_t *rows, const json_t *description, unsigned width)
{
	struct column columns[COLUMNS_MAX];
	unsigned count = take_columns(description, columns);
	char cell[CELL_MAX];
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		for (unsigned c = 0; c < count; c++) {
			unsigned needs =
				render_width(render_value(member(row, columns[c].key),
							  columns[c].format, cell, sizeof(cell)));

			if (needs > columns[c].width)
				columns[c].width = needs;
		}
	}
	fit_columns(columns, count, width);
	for (unsigned c = 0; c < count; c++) {
		put_cell(out, &columns[c], columns[c].title, c + 1 == count);
		if (c + 1 < count)
			put_blanks(out, GAP);
	}
	fputc('\n', out);
	json_array_foreach(rows, i, row)
	{
		for (unsigned c = 0; c < count; c++) {
			put_cell(out, &columns[c],
				 render_value(member(row, columns[c].key), columns[c].format, cell,
					      sizeof(cell)),
				 c + 1 == count);
			if (c + 1 < count)
				put_blanks(out, GAP);
		}
		fputc('\n', out);
	}
}

/* One object as lines "title: value". */
static void put_lines(FILE *out, const json_t *object, const json_t *description)
{
	struct column columns[COLUMNS_MAX];
	unsigned count = take_columns(description, columns), widest = 0;
	char cell[CELL_MAX];

	for (unsigned c = 0; c < count; c++) {
		if (columns[c].width > widest)
			widest = columns[c].width;
	}
	for (unsigned c = 0; c < count; c++) {
		fprintf(out, "%s:", columns[c].title);
		put_blanks(out, widest - columns[c].width + 1);
		fprintf(out, "%s\n",
			render_value(member(object, columns[c].key), columns[c].format, cell,
				     sizeof(cell)));
	}
}

/* ---- Without columns: what the names say ---- */

/* Microseconds since 1970 that are a time of this century, and hardly anything else: 2001 to 2096.
 */
#define TIME_FROM_US INT64_C(1000000000000000)
#define TIME_TO_US   INT64_C(4000000000000000)

/* What a key says of its value: its units stand at its end. */
static const char *format_of(const char *key, const json_t *value)
{
	static const struct {
		const char *end, *format;
	} ends[] = {
		{"bytes", "bytes"},	{"size", "bytes"},	{"us", "duration_us"},
		{"percent", "percent"}, {"per_second", "rate"}, {"per-second", "rate"},
	};
	json_int_t number = json_integer_value(value);

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		size_t size = strlen(key), end = strlen(ends[i].end);

		if (size < end || strcmp(key + size - end, ends[i].end) != 0 ||
		    (size > end && key[size - end - 1] != '_' && key[size - end - 1] != '-'))
			continue;
		if (i < 2 || number < TIME_FROM_US)
			return ends[i].format;
	}
	return number >= TIME_FROM_US && number < TIME_TO_US ? "time_us" : "text";
}

static bool is_inner(const json_t *value)
{
	return json_is_object(value) ||
	       (json_is_array(value) && json_is_object(json_array_get(value, 0)));
}

static void put_text(FILE *out, const json_t *value, unsigned depth);

static void put_object(FILE *out, const json_t *object, unsigned depth)
{
	unsigned widest = 0;
	char cell[CELL_MAX];
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		if (!is_inner(value) && render_width(key) > widest)
			widest = render_width(key);
	}
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		put_blanks(out, 2 * depth);
		render_clean(key, cell, sizeof(cell), false);
		fprintf(out, "%s:", cell);
		if (is_inner(value)) {
			fputc('\n', out);
			put_text(out, value, depth + 1);
			continue;
		}
		put_blanks(out, widest > render_width(key) ? widest - render_width(key) + 1 : 1);
		fprintf(out, "%s\n",
			render_value(value, format_of(key, value), cell, sizeof(cell)));
	}
}

static void put_text(FILE *out, const json_t *value, unsigned depth)
{
	const json_t *element;
	char cell[CELL_MAX];
	size_t i;

	if (json_is_object(value)) {
		put_object(out, value, depth);
	} else if (is_inner(value)) {
		json_array_foreach(value, i, element)
		{
			if (i > 0)
				fputc('\n', out);
			put_text(out, element, depth);
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
		put_table(out, data, columns, width);
	else if (json_is_array(columns) && json_is_object(data))
		put_lines(out, data, columns);
	else
		put_text(out, data, 0);
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
