/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show captures, request capture start and stop. */
#include "control/config/units.h"
#include "control/daemon/captures.h"
#include "control/daemon/commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_DEFAULT (UINT64_C(10) << 20)
#define SIZE_LEAST   UINT64_C(4096)
#define SIZE_MOST    (UINT64_C(1) << 40)
#define TIME_DEFAULT (60 * US_PER_S)
#define TIME_MOST    (7 * 24 * 3600 * US_PER_S)

static const char *argument(json_t *arguments, const char *name)
{
	return json_string_value(json_object_get(arguments, name));
}

/* @return false: said why */
static bool read_bounds(json_t *arguments, struct capture_request *request, char *error)
{
	const char *size = argument(arguments, "size"), *time = argument(arguments, "time");

	request->size_max = SIZE_DEFAULT;
	request->time_us = TIME_DEFAULT;
	if (size && (units_read_size(size, &request->size_max) != 0 ||
		     request->size_max < SIZE_LEAST || request->size_max > SIZE_MOST)) {
		snprintf(error, 256, "size %.40s: give 4k to 1024g", size);
		return false;
	}
	if (time && (units_read_duration(time, &request->time_us) != 0 || request->time_us == 0 ||
		     request->time_us > TIME_MOST)) {
		snprintf(error, 256, "time %.40s: give up to 7d, as 60s or 5m", time);
		return false;
	}
	return true;
}

static json_t *request_start(void *context, json_t *arguments, char *error)
{
	struct appliance *appliance = context;
	struct capture_request request = {
		.port = argument(arguments, "port"),
		.session = argument(arguments, "session"),
		.filter = argument(arguments, "filter"),
		.file = argument(arguments, "file"),
	};

	if (!request.port == !request.session) {
		snprintf(error, 256, "of what? port NAME, port all, or session ID");
		return NULL;
	}
	if (!read_bounds(arguments, &request, error))
		return NULL;
	return captures_start(appliance->captures, &request, error);
}

static json_t *request_stop(void *context, json_t *arguments, char *error)
{
	struct appliance *appliance = context;
	const char *id = argument(arguments, "id");
	char *rest = "";
	unsigned long number = id ? strtoul(id, &rest, 10) : 0;
	unsigned stopped = id && (*rest || number == 0 || number > UINT32_MAX)
				   ? 0
				   : captures_stop(appliance->captures, (unsigned)number);

	if (id && stopped == 0) {
		snprintf(error, 256, "capture %.20s does not run (see show captures)", id);
		return NULL;
	}
	return json_pack("{s:i}", "stopped", (int)stopped);
}

static json_t *show_captures(void *context, json_t *arguments, char *error)
{
	struct appliance *appliance = context;

	(void)arguments;
	(void)error;
	return captures_list(appliance->captures);
}

static const struct command_argument start_arguments[] = {
	{"port", "a port's name, or all: both directions", false, false, false},
	{"session", "one connection, as show sessions names it", false, false, false},
	{"filter", "pcap-filter(7), as \"tcp port 25\"; tagged packets need \"vlan and …\"", false,
	 false, false},
	{"size", "end at this size of file; 10m when not given", false, false, false},
	{"time", "end after this time; 60s when not given", false, false, false},
	{"file", "name in the captures' directory; made from the time when not given", false, false,
	 false},
	{NULL, NULL, false, false, false},
};

static const struct command_argument stop_arguments[] = {
	{"id", "its number; all when not given", false, false, false},
	{NULL, NULL, false, false, false},
};

static const struct command_column capture_columns[] = {
	{"capture", "Capture", "text", 0},
	{"of", "Of", "text", 0},
	{"state", "State", "text", 0},
	{"packets", "Packets", "count", 0},
	{"bytes", "Size", "bytes", 0},
	{"missed", "Missed", "count", 1},
	{"begin_us", "Begin", "time_us", 2},
	{"file", "File", "note", 0},
	{NULL, NULL, NULL, 0},
};

void commands_register_captures(struct management *management, struct appliance *appliance)
{
	static const struct daemon_command commands[] = {
		{.name = CATALOGUE_SHOW_CAPTURES, .columns = capture_columns, .run = show_captures},
		{.name = CATALOGUE_REQUEST_CAPTURE_START,
		 .arguments = start_arguments,
		 .changes = true,
		 .run = request_start},
		{.name = CATALOGUE_REQUEST_CAPTURE_STOP,
		 .arguments = stop_arguments,
		 .changes = true,
		 .run = request_stop},
	};

	commands_add(management, appliance, commands, sizeof(commands) / sizeof(commands[0]));
}
