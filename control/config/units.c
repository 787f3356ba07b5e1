/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Durations and sizes as people write them. */
#include "control/config/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first: writing takes the first that divides. */
static const struct unit durations[] = {
	{"w", UINT64_C(604800000000)},
	{"d", UINT64_C(86400000000)},
	{"h", UINT64_C(3600000000)},
	{"m", UINT64_C(60000000)},
	{"s", UINT64_C(1000000)},
	{"ms", 1000},
	{"us", 1},
};
static const struct unit sizes[] = {
	{"t", UINT64_C(1) << 40},
	{"g", UINT64_C(1) << 30},
	{"m", UINT64_C(1) << 20},
	{"k", UINT64_C(1) << 10},
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int read_number(const char **text, uint64_t *out)
{
	uint64_t value = 0;

	if (**text < '0' || **text > '9')
		return -EINVAL;
	for (; **text >= '0' && **text <= '9'; (*text)++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(**text - '0'), &value))
			return -ERANGE;
	}
	*out = value;
	return 0;
}

int units_read_duration(const char *text, uint64_t *us)
{
	uint64_t total = 0;

	if (strcmp(text, "0") == 0) {
		*us = 0;
		return 0;
	}
	do {
		uint64_t value;
		size_t size = 0, i;
		int result = read_number(&text, &value);

		if (result != 0)
			return result;
		while (text[size] >= 'a' && text[size] <= 'z')
			size++;
		for (i = 0; i < COUNT(durations); i++) {
			if (strlen(durations[i].name) == size &&
			    memcmp(durations[i].name, text, size) == 0)
				break;
		}
		if (i == COUNT(durations))
			return -EINVAL;
		if (__builtin_mul_overflow(value, durations[i].factor, &value) ||
		    __builtin_add_overflow(total, value, &total))
			return -ERANGE;
		text += size;
	} while (*text != '\0');
	*us = total;
	return 0;
}

int units_read_size(const char *text, uint64_t *bytes)
{
	uint64_t value;
	int result = read_number(&text, &value);

	if (result != 0)
		return result;
	if (*text != '\0') {
		size_t i;

		for (i = 0; i < COUNT(sizes); i++) {
			if ((*text | 0x20) == sizes[i].name[0])
				break;
		}
		if (i == COUNT(sizes) || text[1] != '\0')
			return -EINVAL;
		if (__builtin_mul_overflow(value, sizes[i].factor, &value))
			return -ERANGE;
	}
	*bytes = value;
	return 0;
}

static char *write_in(const struct unit *units, size_t count, uint64_t value, char *out,
		      size_t size)
{
	for (size_t i = 0; i < count; i++) {
		if (value != 0 && value % units[i].factor == 0) {
			snprintf(out, size, "%" PRIu64 "%s", value / units[i].factor,
				 units[i].name);
			return out;
		}
	}
	snprintf(out, size, "%" PRIu64, value);
	return out;
}

char *units_write_duration(uint64_t us, char *out, size_t size)
{
	return write_in(durations, COUNT(durations), us, out, size);
}

char *units_write_size(uint64_t bytes, char *out, size_t size)
{
	return write_in(sizes, COUNT(sizes), bytes, out, size);
}
