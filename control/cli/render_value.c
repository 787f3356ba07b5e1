/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Numbers with units and clean text. RFC 3629 (UTF-8), ECMA-48 (control functions). */
#include "control/cli/render_value.h"

#include "control/cli/render.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

/* @return the character, its length in *size; or -1 for what is no UTF-8 (one octet) */
static int32_t decode(const char *text, size_t *size)
{
	const unsigned char *at = (const unsigned char *)text;
	int32_t code;
	unsigned count;

	*size = 1;
	if (at[0] < 0x80)
		return at[0];
	if (at[0] < 0xc2 || at[0] > 0xf4)
		return -1;
	count = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
	code = at[0] & (0xff >> (count + 1));
	for (unsigned i = 1; i < count; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return -1;
		code = code << 6 | (at[i] & 0x3f);
	}
	if ((count == 3 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) ||
	    (count == 4 && (code < 0x10000 || code > 0x10ffff)))
		return -1;
	*size = count;
	return code;
}

static bool is_harmless(int32_t code)
{
	if (code < 0x20 || (code >= 0x7f && code < 0xa0))
		return false;
	/* They turn the order of what is read. */
	return !(code >= 0x202a && code <= 0x202e) && !(code >= 0x2066 && code <= 0x2069) &&
	       code != 0x200e && code != 0x200f && code != 0x2028 && code != 0x2029;
}

size_t render_clean(const char *text, char *out, size_t size, bool keep_lines)
{
	size_t at = 0, length;

	for (; *text != '\0'; text += length) {
		int32_t code = decode(text, &length);
		bool stays = is_harmless(code) || (keep_lines && (code == '\n' || code == '\t'));

		if (at + (stays ? length : 4 * length) >= size)
			break;
		if (stays) {
			memcpy(out + at, text, length);
			at += length;
			continue;
		}
		for (size_t i = 0; i < length; i++)
			at += (size_t)snprintf(out + at, size - at, "\\x%02x",
					       (unsigned char)text[i]);
	}
	if (size > 0)
		out[at] = '\0';
	return at;
}

unsigned render_width(const char *text)
{
	unsigned width = 0;
	size_t length;

	for (; *text != '\0'; text += length) {
		int columns = wcwidth((wchar_t)decode(text, &length));

		width += columns >= 0 ? (unsigned)columns : 1;
	}
	return width;
}

size_t render_fit(const char *text, unsigned columns)
{
	size_t length, at = 0;

	for (; text[at] != '\0'; at += length) {
		int width = wcwidth((wchar_t)decode(text + at, &length));
		unsigned more = width >= 0 ? (unsigned)width : 1;

		if (more > columns)
			break;
		columns -= more;
	}
	return at;
}

static void write_count(int64_t value, char *out, size_t size)
{
	char digits[24];
	size_t count, at = 0;

	snprintf(digits, sizeof(digits), "%" PRIu64,
		 value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value);
	count = strlen(digits);
	if (value < 0 && size > 1)
		out[at++] = '-';
	for (size_t i = 0; i < count && at + 2 < size; i++) {
		if (i > 0 && (count - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = '\0';
}

static void write_bytes(double value, char *out, size_t size)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	unsigned unit = 0;

	while (value >= 1024 && unit < 5) {
		value /= 1024;
		unit++;
	}
	snprintf(out, size, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

/* One number and its unit, two digits or more of it: "4.2 ms", "35 s", "3 min". */
static void write_duration(double us, char *out, size_t size)
{
	static const struct {
		double us;
		const char *name;
	} units[] = {{86400e6, "d"}, {3600e6, "h"}, {60e6, "min"}, {1e6, "s"}, {1e3, "ms"}};
	char digits[32];

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		/* What would be written as 1000 ms is a second. */
		double value = us / units[i].us;
		size_t end;

		if (value < 0.9995)
			continue;
		end = (size_t)snprintf(digits, sizeof(digits), value < 9.95 ? "%.1f" : "%.0f",
				       value);
		if (end > 2 && strcmp(digits + end - 2, ".0") == 0)
			digits[end - 2] = '\0';
		snprintf(out, size, "%s %s", digits, units[i].name);
		return;
	}
	snprintf(out, size, "%.0f us", us);
}

static void write_time(int64_t wall_us, char *out, size_t size)
{
	time_t seconds = (time_t)(wall_us / 1000000);
	struct tm tm;

	if (wall_us <= 0 || gmtime_r(&seconds, &tm) == NULL ||
	    strftime(out, size, "%Y-%m-%d %H:%M:%SZ", &tm) == 0)
		snprintf(out, size, "-");
}

/* How far from now: "in 4.1 min", "2 h ago". */
static void write_when(int64_t wall_us, char *out, size_t size)
{
	struct timespec now;
	int64_t away_us;
	char text[32];

	if (wall_us <= 0) {
		snprintf(out, size, "-");
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	away_us = wall_us - (now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000);
	write_duration((double)(away_us < 0 ? -away_us : away_us), text, sizeof(text));
	snprintf(out, size, away_us < 0 ? "%s ago" : "in %s", text);
}

static void write_number(const json_t *value, const char *format, char *out, size_t size)
{
	double real = json_number_value(value);

	if (strcmp(format, "bytes") == 0)
		write_bytes(real, out, size);
	else if (strcmp(format, "duration_us") == 0)
		write_duration(real, out, size);
	else if (strcmp(format, "time_us") == 0)
		write_time(json_is_integer(value) ? json_integer_value(value) : (int64_t)real, out,
			   size);
	else if (strcmp(format, "when_us") == 0)
		write_when(json_is_integer(value) ? json_integer_value(value) : (int64_t)real, out,
			   size);
	else if (strcmp(format, "percent") == 0)
		snprintf(out, size, "%.1f %%", real);
	else if (strcmp(format, "rate") == 0)
		snprintf(out, size, real >= 100 ? "%.0f/s" : "%.1f/s", real);
	else if (json_is_real(value))
		snprintf(out, size, "%.3f", real);
	else if (strcmp(format, "count") == 0)
		write_count(json_integer_value(value), out, size);
	else
		snprintf(out, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
}

char *render_value(const json_t *value, const char *format, char *out, size_t size)
{
	const json_t *element;
	size_t i, at = 0;

	out[0] = '\0';
	if (value == NULL || json_is_null(value)) {
		snprintf(out, size, "-");
	} else if (json_is_string(value)) {
		render_clean(json_string_value(value)[0] != '\0' ? json_string_value(value) : "-",
			     out, size, false);
	} else if (json_is_boolean(value)) {
		if (strcmp(format, "up") == 0)
			snprintf(out, size, "%s", json_is_true(value) ? "up" : "down");
		else
			snprintf(out, size, "%s", json_is_true(value) ? "yes" : "no");
	} else if (json_is_number(value)) {
		write_number(value, format, out, size);
	} else if (json_is_array(value)) {
		json_array_foreach(value, i, element)
		{
			if (at + 3 >= size)
				break;
			if (i > 0)
				at += (size_t)snprintf(out + at, size - at, ", ");
			render_value(element, format, out + at, size - at);
			at += strlen(out + at);
		}
		if (i == 0)
			snprintf(out, size, "-");
	} else {
		char *text = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII);

		render_clean(text != NULL ? text : "?", out, size, false);
		free(text);
	}
	return out;
}
