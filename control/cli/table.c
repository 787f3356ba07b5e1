/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tables that fit a terminal. */
#include "control/cli/table.h"

#include "control/cli/render.h"
#include "control/cli/render_value.h"

#include <stdbool.h>
#include <string.h>

#define COLUMNS_MAX 32
#define CELL_MAX    1024
#define GAP	    2  /**< blanks between two columns */
#define NARROW	    10 /**< a text column gets no narrower */
#define NOTE_NARROW 24 /**< an explanation that would get narrower goes below its row */
#define NOTE_INDENT 4

struct column {
	const char *key, *title, *format;
	unsigned rank; /**< 0: always shown; the highest is left out first */
	unsigned width;
	bool is_number; /**< stands on the right */
	bool is_note;	/**< an explanation */
	bool is_shown;
};

struct table {
	struct column columns[COLUMNS_MAX];
	unsigned count;
	struct column *below; /**< the explanation that goes below its row */
	char cells[COLUMNS_MAX][CELL_MAX];
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

static bool stands_right(const char *format)
{
	static const char *const left[] = {"text", "note", "time_us", "up"};

	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		if (strcmp(format, left[i]) == 0)
			return false;
	}
	return true;
}

static void take_columns(struct table *table, const json_t *description)
{
	const json_t *each;
	size_t i;

	memset(table->columns, 0, sizeof(table->columns));
	table->count = 0;
	table->below = NULL;
	json_array_foreach(description, i, each)
	{
		struct column *column = &table->columns[table->count];

		if (table->count == COLUMNS_MAX)
			break;
		column->key = text_of(each, "key");
		column->title = text_of(each, "title");
		column->format = text_of(each, "format");
		column->rank = (unsigned)json_integer_value(json_object_get(each, "rank"));
		column->is_number = stands_right(column->format);
		column->is_note = strcmp(column->format, "note") == 0;
		column->is_shown = true;
		column->width = render_width(column->title);
		table->count++;
	}
}

static void take_row(struct table *table, const json_t *row)
{
	for (unsigned c = 0; c < table->count; c++)
		render_value(member(row, table->columns[c].key), table->columns[c].format,
			     table->cells[c], CELL_MAX);
}

/* ---- How wide each column is ---- */

static unsigned total_width(const struct table *table)
{
	unsigned total = 0;

	for (unsigned c = 0; c < table->count; c++) {
		if (table->columns[c].is_shown)
			total += table->columns[c].width + (total > 0 ? GAP : 0);
	}
	return total;
}

/* The explanation takes what the others leave, or goes below its row. */
static void fit_note(struct table *table, unsigned width)
{
	for (unsigned c = 1; c < table->count; c++) {
		struct column *note = &table->columns[c];
		unsigned over = total_width(table) - width;

		if (!note->is_note)
			continue;
		if (note->width >= over + NOTE_NARROW) {
			note->width -= over;
		} else {
			note->is_shown = false;
			table->below = note;
		}
		return;
	}
}

static bool leave_one_out(struct table *table)
{
	struct column *least = NULL;

	for (unsigned c = 1; c < table->count; c++) {
		struct column *column = &table->columns[c];

		if (column->is_shown && column->rank > 0 &&
		    (least == NULL || column->rank >= least->rank))
			least = column;
	}
	if (least != NULL)
		least->is_shown = false;
	return least != NULL;
}

static bool narrow_one(struct table *table, unsigned first, unsigned narrow)
{
	struct column *widest = NULL;

	for (unsigned c = first; c < table->count; c++) {
		struct column *column = &table->columns[c];

		if (column->is_shown && !column->is_number && column->width > narrow &&
		    (widest == NULL || column->width > widest->width))
			widest = column;
	}
	if (widest != NULL)
		widest->width--;
	return widest != NULL;
}

static void fit(struct table *table, unsigned width)
{
	if (width == 0 || total_width(table) <= width)
		return;
	fit_note(table, width);
	while (total_width(table) > width && leave_one_out(table))
		;
	while (total_width(table) > width && narrow_one(table, 1, NARROW))
		;
	while (total_width(table) > width && narrow_one(table, 0, NOTE_NARROW))
		;
}

/* ---- Printing ---- */

static void put_blanks(FILE *out, unsigned count)
{
	while (count-- > 0)
		fputc(' ', out);
}

/*
 * The beginning of a text that fits: up to a blank, else behind what joins words, else what there
 * is room for. @param next set to where the rest begins @return octets
 */
static size_t take_piece(const char *text, unsigned width, bool breaks_words, const char **next)
{
	size_t size = render_fit(text, width), at;

	*next = text + size;
	if (*next[0] == '\0' || *next[0] == ' ') {
		*next += strspn(*next, " ");
		return size;
	}
	for (at = size; at > 0 && text[at - 1] != ' '; at--)
		;
	if (at > 0) {
		*next = text + at;
		return at - 1;
	}
	if (!breaks_words) {
		at = strcspn(text, " ");
		*next = text + at + strspn(text + at, " ");
		return at;
	}
	for (at = size; at > size / 2 && strchr("-+/,:;@._=", text[at - 1]) == NULL; at--)
		;
	if (at > size / 2)
		size = at;
	if (size == 0)
		size = strlen(text);
	*next = text + size;
	return size;
}

void table_put_wrapped(FILE *out, const char *text, unsigned indent, unsigned width)
{
	unsigned room = width > indent + NARROW ? width - indent : NARROW;

	if (width == 0) {
		fprintf(out, "%s\n", text);
		return;
	}
	for (;;) {
		const char *next;
		size_t size = take_piece(text, room, false, &next);

		fprintf(out, "%.*s\n", (int)size, text);
		if (*next == '\0')
			return;
		text = next;
		put_blanks(out, indent);
	}
}

/* @param blanks due before it @return blanks due behind it, so that no line ends in some */
static unsigned put_piece(FILE *out, const struct column *column, const char *text, size_t size,
			  unsigned blanks)
{
	char piece[CELL_MAX];
	unsigned width, room;

	snprintf(piece, sizeof(piece), "%.*s", (int)size, text);
	width = render_width(piece);
	room = column->width > width ? column->width - width : 0;
	if (width == 0)
		return blanks + column->width + GAP;
	put_blanks(out, blanks + (column->is_number ? room : 0));
	fputs(piece, out);
	return GAP + (column->is_number ? 0 : room);
}

/* As many lines as the longest cell takes. @param titles the heading, else the row that was taken
 */
static void put_row(FILE *out, const struct table *table, bool titles)
{
	const char *rest[COLUMNS_MAX];
	unsigned blanks;
	bool more = true;

	for (unsigned c = 0; c < COLUMNS_MAX; c++)
		rest[c] = c >= table->count ? ""
			  : titles	    ? table->columns[c].title
					    : table->cells[c];
	while (more) {
		more = false;
		blanks = 0;
		for (unsigned c = 0; c < table->count; c++) {
			const struct column *column = &table->columns[c];
			const char *next;
			size_t size;

			if (!column->is_shown)
				continue;
			size = take_piece(rest[c], column->width, true, &next);
			blanks = put_piece(out, column, rest[c], size, blanks);
			rest[c] = next;
			more |= *next != '\0';
		}
		fputc('\n', out);
	}
}

static void put_below(FILE *out, const struct table *table, unsigned width)
{
	const struct column *note = table->below;
	const char *text = note != NULL ? table->cells[note - table->columns] : "-";

	if (strcmp(text, "-") == 0)
		return;
	put_blanks(out, NOTE_INDENT);
	fprintf(out, "%s: ", note->title);
	table_put_wrapped(out, text, NOTE_INDENT + render_width(note->title) + 2, width);
}

static void put_left_out(FILE *out, const struct table *table, unsigned width)
{
	char text[CELL_MAX] = "(no room for ";
	const char *between = "";
	bool any = false;

	for (unsigned c = 0; c < table->count; c++) {
		const struct column *column = &table->columns[c];
		size_t at = strlen(text);

		if (column->is_shown || column == table->below)
			continue;
		snprintf(text + at, sizeof(text) - at, "%s%s", between, column->title);
		between = ", ";
		any = true;
	}
	if (!any)
		return;
	snprintf(text + strlen(text), sizeof(text) - strlen(text), ": | display json has all)");
	table_put_wrapped(out, text, 1, width);
}

void table_print(FILE *out, const json_t *rows, const json_t *columns, unsigned width)
{
	struct table table;
	const json_t *row;
	size_t i;

	take_columns(&table, columns);
	json_array_foreach(rows, i, row)
	{
		take_row(&table, row);
		for (unsigned c = 0; c < table.count; c++) {
			unsigned needs = render_width(table.cells[c]);

			if (needs > table.columns[c].width)
				table.columns[c].width = needs;
		}
	}
	fit(&table, width);
	put_row(out, &table, true);
	json_array_foreach(rows, i, row)
	{
		take_row(&table, row);
		put_row(out, &table, false);
		put_below(out, &table, width);
	}
	put_left_out(out, &table, width);
}

void table_print_lines(FILE *out, const json_t *object, const json_t *columns, unsigned width)
{
	struct table table;
	unsigned widest = 0;

	take_columns(&table, columns);
	take_row(&table, object);
	for (unsigned c = 0; c < table.count; c++) {
		if (table.columns[c].width > widest)
			widest = table.columns[c].width;
	}
	for (unsigned c = 0; c < table.count; c++) {
		fprintf(out, "%s:", table.columns[c].title);
		put_blanks(out, widest - table.columns[c].width + 1);
		table_put_wrapped(out, table.cells[c], widest + 2, width);
	}
}

char *table_row_text(const json_t *row, const json_t *columns, char *out, size_t size)
{
	char cell[CELL_MAX];
	const json_t *column;
	size_t i, at = 0;

	out[0] = '\0';
	json_array_foreach(columns, i, column)
	{
		render_value(member(row, text_of(column, "key")), text_of(column, "format"), cell,
			     sizeof(cell));
		if (at + strlen(cell) + GAP >= size)
			break;
		at += (size_t)snprintf(out + at, size - at, "%s%s", i > 0 ? "  " : "", cell);
	}
	return out;
}
