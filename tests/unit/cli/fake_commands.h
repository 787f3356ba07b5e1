/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A table of commands that stand for the daemon's. */
#ifndef MILLRACE_TESTS_UNIT_CLI_FAKE_COMMANDS_H
#define MILLRACE_TESTS_UNIT_CLI_FAKE_COMMANDS_H

#include "control/cli/management.h"

#include <string.h>

static inline json_t *fake_queue(void *context, json_t *arguments, char *error)
{
	const char *domain = json_string_value(json_object_get(arguments, "domain"));

	(void)context;
	(void)error;
	if (domain != NULL && strcmp(domain, "none") == 0)
		return json_array();
	return json_pack("[{s:s,s:i,s:I,s:s},{s:s,s:i,s:I,s:s}]", "domain", "example.com",
			 "recipients", 12345, "oldest_us", (json_int_t)125000000, "reason",
			 "450 \x1b[31mtry later\x07", "domain",
			 domain != NULL ? domain : "example.net", "recipients", 1, "oldest_us",
			 (json_int_t)900, "reason", "");
}

static inline json_t *fake_message(void *context, json_t *arguments, char *error)
{
	const char *id = json_string_value(json_object_get(arguments, "id"));

	(void)context;
	if (strcmp(id, "unknown") == 0) {
		strcpy(error, "no such message");
		return NULL;
	}
	return json_pack("{s:s,s:I,s:I,s:[{s:s}]}", "id", id, "size_bytes", (json_int_t)10240,
			 "created_us", (json_int_t)1795365382000000, "recipients", "address",
			 "a@example.com");
}

static inline json_t *fake_version(void *context, json_t *arguments, char *error)
{
	(void)context;
	(void)arguments;
	(void)error;
	return json_pack("{s:s,s:I,s:b,s:f}", "version", "1", "uptime_us", (json_int_t)3700000000,
			 "healthy", 1, "load", 12.34);
}

static inline json_t *fake_config(void *context, json_t *arguments, char *error)
{
	(void)context;
	(void)arguments;
	(void)error;
	return json_pack("{s:s,s:{s:i}}", "text", "system {\n    hostname a.b;\n}\n", "json",
			 "workers", 2);
}

static inline json_t *fake_check(void *context, json_t *arguments, char *error)
{
	(void)context;
	(void)arguments;
	(void)error;
	return json_pack("{s:b,s:s,s:{s:i}}", "failed", 1, "text", "x.conf:1: no\nx.conf:2: no\n",
			 "json", "errors", 2);
}

static inline json_t *fake_delete(void *context, json_t *arguments, char *error)
{
	unsigned *calls = context;

	(void)error;
	++*calls;
	return json_pack("{s:b,s:b}", "dry_run",
			 json_is_true(json_object_get(arguments, "dry-run")), "all",
			 json_is_true(json_object_get(arguments, "all")));
}

/* Larger than a socket's buffer. */
static inline json_t *fake_memory(void *context, json_t *arguments, char *error)
{
	json_t *array = json_array();

	(void)context;
	(void)arguments;
	(void)error;
	for (unsigned i = 0; i < 100000; i++)
		json_array_append_new(array, json_pack("{s:i}", "n", (int)i));
	return array;
}

static const struct command_argument fake_queue_arguments[] = {
	{"domain", "only this recipient domain", .required = false}, {0}};
static const struct command_argument fake_message_arguments[] = {
	{"id", "of the message", .positional = true, .required = true}, {0}};
static const struct command_argument fake_delete_arguments[] = {
	{"domain", "recipients at this domain", .required = false},
	{"dry-run", "count only", .flag = true},
	{"all", "everything", .flag = true},
	{0}};
static const struct command_column fake_queue_columns[] = {
	{"domain", "Domain", "text", 0},
	{"recipients", "Recipients", "count", 0},
	{"oldest_us", "Oldest", "duration_us", 0},
	{"reason", "Last reply", "text", 0},
	{0}};
static const struct command_column fake_version_columns[] = {
	{"version", "Version", "text", 0}, {"uptime_us", "Up", "duration_us", 0}, {0}};
static unsigned fake_deletes;

static const struct command fake_commands[] = {
	{"show queue", "domains with mail", fake_queue_arguments, fake_queue_columns, false,
	 fake_queue, NULL},
	{"show message", "one message", fake_message_arguments, NULL, false, fake_message, NULL},
	{"show memory", "where memory is", NULL, NULL, false, fake_memory, NULL},
	{"show version", "what runs", NULL, fake_version_columns, false, fake_version, NULL},
	{"show config", "in force", NULL, NULL, false, fake_config, NULL},
	{"request queue delete", "remove mail", fake_delete_arguments, NULL, true, fake_delete,
	 &fake_deletes},
	{"request queue retry", "try now", fake_delete_arguments, NULL, true, fake_delete,
	 &fake_deletes},
	{"request config check", "what is wrong", NULL, NULL, false, fake_check, NULL},
};
#define FAKE_COMMANDS (sizeof(fake_commands) / sizeof(fake_commands[0]))

#endif
