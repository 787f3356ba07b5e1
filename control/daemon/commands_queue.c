/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show queue, message, paths, sources, spool, memory; request queue retry and delete. */
#include "control/daemon/commands.h"

#include <stdio.h>
#include <string.h>

#define NOT_QUEUED "no such message in the queue (finished ones are in the event log): %.64s"

typedef json_t *shard_show(struct queue_shard *shard);

/* ---- Looking into shards ---- */

struct look {
	struct queue_shard *shard;
	shard_show *show;
	const char *domain;
	const struct message_id *id;
	json_t *result;
};

static void look_show(void *argument)
{
	struct look *look = argument;

	look->result = look->show(look->shard);
}

static void look_queue(void *argument)
{
	struct look *look = argument;

	look->result = queue_shard_show_queue(look->shard, look->domain);
}

static void look_message(void *argument)
{
	struct look *look = argument;

	look->result = queue_shard_show_message(look->shard, look->id);
}

/* Arrays of all shards one behind the other; an object is shown as it is when there is one shard.
 */
static json_t *merge(struct appliance *appliance, void (*fn)(void *), struct look *look,
		     char *error)
{
	json_t *all = NULL;

	for (unsigned i = 0; i < appliance->shard_count; i++) {
		look->shard = appliance->shards[i].shard;
		look->result = NULL;
		if (!executor_call(appliance->shards[i].executor, fn, look)) {
			snprintf(error, 256, "the queue is stopping");
			json_decref(all);
			return NULL;
		}
		if (!look->result)
			continue;
		if (!all) {
			all = look->result;
			continue;
		}
		if (!json_is_array(all)) {
			json_t *list = json_array();

			json_array_append_new(list, all);
			all = list;
		}
		if (json_is_array(look->result)) {
			json_array_extend(all, look->result);
			json_decref(look->result);
		} else {
			json_array_append_new(all, look->result);
		}
	}
	return all;
}

static json_t *show_with(struct appliance *appliance, shard_show *show, char *error)
{
	struct look look = {.show = show};

	return merge(appliance, look_show, &look, error);
}

/* Keys are always there, null when nothing is known, so that programs need not ask. */
static json_t *with_keys(json_t *data, const char *const *keys)
{
	json_t *row;
	size_t i;

	json_array_foreach(data, i, row)
	{
		for (const char *const *key = keys; *key; key++) {
			if (!json_object_get(row, *key))
				json_object_set_new(row, *key, json_null());
		}
	}
	return data;
}

static json_t *show_queue(void *context, json_t *arguments, char *error)
{
	struct look look = {.domain = json_string_value(json_object_get(arguments, "domain"))};

	static const char *const keys[] = {"site", "reason", "next_attempt_us", "next_lookup_us",
					   NULL};

	return with_keys(merge(context, look_queue, &look, error), keys);
}

/* What is known of a message first, then its recipients. */
static void complete_message(json_t *message)
{
	static const char *const of_recipients[] = {
		"why",	 "until_us", "last_attempt_us", "reply_code", "status",
		"reply", "host",     "reply_from_peer", "phase",      NULL};
	static const char *const own[] = {"tenant", "campaign", "pool", "listener", "user", NULL};
	json_t *recipients = json_incref(json_object_get(message, "recipients"));

	json_object_del(message, "recipients");
	for (const char *const *key = own; *key; key++) {
		if (!json_object_get(message, *key))
			json_object_set_new(message, *key, json_null());
	}
	json_object_set_new(message, "recipients", with_keys(recipients, of_recipients));
}

static json_t *show_message(void *context, json_t *arguments, char *error)
{
	const char *text = json_string_value(json_object_get(arguments, "id"));
	struct message_id id;
	struct look look = {.id = &id};

	if (!text || message_id_parse(text, &id) < 0) {
		snprintf(error, 256, "not a message id: %.64s", text ? text : "");
		return NULL;
	}
	error[0] = '\0';
	json_t *found = merge(context, look_message, &look, error);

	if (found)
		complete_message(found);
	if (!found && !error[0])
		snprintf(error, 256, NOT_QUEUED, text);
	return found;
}

static json_t *show_paths(void *context, json_t *arguments, char *error)
{
	(void)arguments;
	static const char *const keys[] = {"why", "until_us", NULL};

	return with_keys(show_with(context, queue_shard_show_paths, error), keys);
}

static json_t *show_sources(void *context, json_t *arguments, char *error)
{
	(void)arguments;
	static const char *const keys[] = {"ipv4", "ipv6", NULL};

	return with_keys(show_with(context, queue_shard_show_sources, error), keys);
}

static json_t *show_spool(void *context, json_t *arguments, char *error)
{
	(void)arguments;
	return show_with(context, queue_shard_show_spool, error);
}

static json_t *show_memory(void *context, json_t *arguments, char *error)
{
	struct appliance *appliance = context;
	json_t *queue = show_with(appliance, queue_shard_show_memory, error);
	json_t *chunks = json_array();

	(void)arguments;
	if (!queue) {
		json_decref(chunks);
		return NULL;
	}
	for (unsigned i = 0; i < appliance->worker_count; i++) {
		struct chunk_pool *pool = worker_chunks(appliance->workers[i].worker);

		json_array_append_new(
			chunks, json_pack("{s:i, s:I, s:I}", "worker", (int)i, "chunk_bytes",
					  (json_int_t)chunk_pool_count(pool) * CHUNK_SIZE,
					  "chunk_bytes_free",
					  (json_int_t)chunk_pool_available(pool) * CHUNK_SIZE));
	}
	return json_pack("{s:o, s:o}", "queue", queue, "workers", chunks);
}

/* ---- Requests ---- */

struct selection {
	struct queue_shard *shard;
	struct queue_selector selector;
	bool delete, dry_run;
	uint64_t affected;
};

static void apply(void *argument)
{
	struct selection *s = argument;

	s->affected = s->delete ? queue_shard_request_delete(s->shard, &s->selector, s->dry_run)
				: queue_shard_request_retry(s->shard, &s->selector);
}

/* A message that was named must be there; that none of its recipients can be acted on is no error.
 */
static bool is_queued(struct appliance *appliance, const struct message_id *id, const char *text,
		      char *error)
{
	struct look look = {.id = id};
	json_t *found;

	error[0] = '\0';
	found = merge(appliance, look_message, &look, error);
	if (!found && !error[0])
		snprintf(error, 256, NOT_QUEUED, text);
	json_decref(found);
	return found != NULL;
}

static json_t *request(struct appliance *appliance, json_t *arguments, bool delete, char *error)
{
	const char *text = json_string_value(json_object_get(arguments, "id"));
	struct message_id id;
	struct selection s = {
		.selector =
			{
				.domain = json_string_value(json_object_get(arguments, "domain")),
				.sender = json_string_value(json_object_get(arguments, "sender")),
				.tenant = json_string_value(json_object_get(arguments, "tenant")),
				.campaign =
					json_string_value(json_object_get(arguments, "campaign")),
				.all = json_is_true(json_object_get(arguments, "all")),
			},
		.delete = delete,
		.dry_run = json_is_true(json_object_get(arguments, "dry-run")),
	};
	uint64_t affected = 0;

	if (text && message_id_parse(text, &id) < 0) {
		snprintf(error, 256, "not a message id: %.64s", text);
		return NULL;
	}
	s.selector.id = text ? &id : NULL;
	if (!text && !s.selector.domain && !s.selector.sender && !s.selector.tenant &&
	    !s.selector.campaign && !s.selector.all) {
		snprintf(
			error, 256,
			"say which: id ID, domain NAME, sender ADDRESS, tenant NAME, campaign NAME, or all");
		return NULL;
	}
	if (text && !is_queued(appliance, &id, text, error))
		return NULL;
	for (unsigned i = 0; i < appliance->shard_count; i++) {
		s.shard = appliance->shards[i].shard;
		if (!executor_call(appliance->shards[i].executor, apply, &s)) {
			snprintf(error, 256, "the queue is stopping");
			return NULL;
		}
		affected += s.affected;
	}
	return json_pack("{s:s, s:I, s:b}", "action", delete ? "delete" : "retry", "recipients",
			 (json_int_t)affected, "dry_run", s.dry_run);
}

static json_t *request_retry(void *context, json_t *arguments, char *error)
{
	return request(context, arguments, false, error);
}

static json_t *request_delete(void *context, json_t *arguments, char *error)
{
	return request(context, arguments, true, error);
}

static const struct command_argument queue_arguments[] = {
	{"domain", "one recipient domain, message by message", false, false, false},
	{NULL, NULL, false, false, false},
};
static const struct command_argument message_arguments[] = {
	{"id", "the message's id, as in the 250 reply and the Received field", true, true, false},
	{NULL, NULL, false, false, false},
};
#define SELECTORS                                                                  \
	{"id", "one message", false, false, false},                                \
		{"domain", "recipients of a domain", false, false, false},         \
		{"sender", "messages of an envelope sender", false, false, false}, \
		{"tenant", "messages of a tenant", false, false, false},           \
		{"campaign", "messages of a campaign", false, false, false},       \
	{                                                                          \
		"all", "everything queued", false, false, true                     \
	}
static const struct command_argument retry_arguments[] = {SELECTORS,
							  {NULL, NULL, false, false, false}};
static const struct command_argument delete_arguments[] = {
	SELECTORS,
	{"dry-run", "count only", false, false, true},
	{NULL, NULL, false, false, false}};

static const struct command_column queue_columns[] = {
	{"domain", "Domain", "text", 0},
	{"site", "Site", "text", 4},
	{"recipients", "Recipients", "count", 0},
	{"ready", "Ready", "count", 1},
	{"delivering", "Sending", "count", 1},
	{"waiting", "Waiting", "count", 0},
	{"oldest_us", "Oldest", "when_us", 0},
	{"next_attempt_us", "Next attempt", "when_us", 0},
	{"reason", "Why", "note", 0},
	{NULL, NULL, NULL, 0},
};
static const struct command_column path_columns[] = {
	{"source", "Source", "text", 0},
	{"site", "Site", "text", 0},
	{"connections", "Open", "count", 0},
	{"connections_max", "Max", "count", 1},
	{"outstanding", "Sending", "count", 0},
	{"ready", "Ready", "count", 0},
	{"delivered", "Delivered", "count", 0},
	{"deferred", "Deferred", "count", 0},
	{"bounced", "Bounced", "count", 0},
	{"rtt_us", "RTT", "duration_us", 2},
	{"loss", "Resent", "percent", 3},
	{"pmtu", "PMTU", "count", 4},
	{"until_us", "Until", "when_us", 1},
	{"why", "Held because", "note", 0},
	{NULL, NULL, NULL, 0},
};
static const struct command_column source_columns[] = {
	{"source", "Source", "text", 0},
	{"ipv4", "IPv4", "text", 0},
	{"ipv6", "IPv6", "text", 0},
	{"ehlo_name", "EHLO", "text", 4},
	{"paths", "Paths", "count", 3},
	{"connections", "Open", "count", 0},
	{"ready", "Ready", "count", 2},
	{"delivered", "Delivered", "count", 0},
	{"deferred", "Deferred", "count", 0},
	{"bounced", "Bounced", "count", 0},
	{NULL, NULL, NULL, 0},
};
static const struct command_column request_columns[] = {
	{"action", "Action", "text", 0},
	{"recipients", "Recipients", "count", 0},
	{"dry_run", "Dry run", "text", 0},
	{NULL, NULL, NULL, 0},
};

void commands_register_queue(struct management *management, struct appliance *appliance)
{
	static const struct daemon_command commands[] = {
		{.name = CATALOGUE_SHOW_QUEUE,
		 .arguments = queue_arguments,
		 .columns = queue_columns,
		 .run = show_queue},
		{.name = CATALOGUE_SHOW_MESSAGE,
		 .arguments = message_arguments,
		 .run = show_message},
		{.name = CATALOGUE_SHOW_PATHS, .columns = path_columns, .run = show_paths},
		{.name = CATALOGUE_SHOW_SOURCES, .columns = source_columns, .run = show_sources},
		{.name = CATALOGUE_SHOW_SPOOL, .run = show_spool},
		{.name = CATALOGUE_SHOW_MEMORY, .run = show_memory},
		{.name = CATALOGUE_REQUEST_QUEUE_RETRY,
		 .arguments = retry_arguments,
		 .columns = request_columns,
		 .changes = true,
		 .run = request_retry},
		{.name = CATALOGUE_REQUEST_QUEUE_DELETE,
		 .arguments = delete_arguments,
		 .columns = request_columns,
		 .changes = true,
		 .run = request_delete},
	};

	commands_add(management, appliance, commands, sizeof(commands) / sizeof(commands[0]));
}
