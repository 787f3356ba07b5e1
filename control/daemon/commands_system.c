/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show version, certificates, crypto, health, config; request config and system. */
#include "control/certs/certs.h"
#include "control/daemon/commands.h"
#include "control/daemon/views.h"
#include "drivers/crypto/crypto.h"
#include "drivers/nic/nic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wolfssl/options.h>
#include <wolfssl/version.h>

/* ---- show version ---- */

static json_t *show_version(void *context, json_t *arguments, char *error)
{
	struct appliance *appliance = context;
	const struct config_system *system;
	struct mr_now now;
	json_t *data;

	(void)arguments;
	(void)error;
	clock_read(&now);
	pthread_mutex_lock(&appliance->lock);
	system = config_system(appliance->configuration);
	data = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:i, s:I, s:I, s:I, s:s}", "product",
			 "Millrace", "version", MILLRACE_VERSION, "hostname", system->hostname,
			 "node", (int)system->node_id, "dpdk", nic_library_version(), "wolfssl",
			 LIBWOLFSSL_VERSION_STRING, "spool_format", SPOOL_FORMAT_VERSION,
			 "uptime_us", (json_int_t)(now.wall_us - appliance->started_us),
			 "config_revision", (json_int_t)appliance->revision, "configured_us",
			 (json_int_t)appliance->configured_us, "config_file",
			 appliance->config_file);
	pthread_mutex_unlock(&appliance->lock);
	return data;
}

static const struct command_column version_columns[] = {
	{"product", "Product", "text", 0},
	{"version", "Version", "text", 0},
	{"hostname", "Hostname", "text", 0},
	{"node", "Node", "text", 0},
	{"uptime_us", "Up for", "duration_us", 0},
	{"config_file", "Configuration", "text", 0},
	{"config_revision", "Revision", "text", 0},
	{"configured_us", "In force since", "time_us", 0},
	{"dpdk", "DPDK", "text", 0},
	{"wolfssl", "wolfSSL", "text", 0},
	{"spool_format", "Spool format", "text", 0},
	{NULL, NULL, NULL, 0},
};

/* ---- show certificates ---- */

static json_t *certificate_json(const char *name, const struct certificate *certificate)
{
	const struct certificate_information *i = &certificate->information;
	json_t *names = json_array();
	char digest[65];

	for (unsigned n = 0; n < i->name_count; n++)
		json_array_append_new(names, json_string(i->names[n]));
	for (unsigned n = 0; n < 32; n++)
		snprintf(digest + 2 * n, 3, "%02x", i->sha256[n]);
	return json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:s, s:s, s:b, s:i, s:s, s:s}",
			 "certificate", name, "subject", i->subject, "issuer", i->issuer, "names",
			 names, "not_before_us", (json_int_t)i->not_before_s * 1000000,
			 "not_after_us", (json_int_t)i->not_after_s * 1000000, "key", i->key_type,
			 "sha256", digest, "self_signed", i->self_signed, "chain",
			 (int)i->chain_length, "source", i->source, "warning",
			 certificate->warning);
}

static json_t *show_certificates(void *context, json_t *arguments, char *error)
{
	struct appliance *appliance = context;
	json_t *list = json_array();

	(void)arguments;
	(void)error;
	pthread_mutex_lock(&appliance->lock);
	for (unsigned i = 0; i < appliance->certificates->count; i++)
		json_array_append_new(
			list, certificate_json(appliance->certificates->entries[i].name,
					       appliance->certificates->entries[i].certificate));
	pthread_mutex_unlock(&appliance->lock);
	return list;
}

static const struct command_column certificate_columns[] = {
	{"certificate", "Certificate", "text", 0},
	{"names", "Names", "text", 0},
	{"key", "Key", "text", 0},
	{"not_after_us", "Expires", "time_us", 0},
	{"self_signed", "Self-signed", "text", 1},
	{"subject", "Subject", "text", 3},
	{"source", "Source", "text", 2},
	{"warning", "Warning", "note", 0},
	{NULL, NULL, NULL, 0},
};

/* ---- show crypto ---- */

static json_t *show_crypto(void *context, json_t *arguments, char *error)
{
	struct crypto_feature features[CRYPTO_FEATURES_MAX];
	unsigned count = crypto_features(features, CRYPTO_FEATURES_MAX);
	json_t *list = json_array();

	(void)context;
	(void)arguments;
	(void)error;
	for (unsigned i = 0; i < count; i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:b, s:b, s:s}", "feature", features[i].name,
						"available", features[i].available, "used",
						features[i].used, "for", features[i].why));
	return list;
}

static const struct command_column crypto_columns[] = {
	{"feature", "Feature", "text", 0},
	{"available", "Available", "text", 0},
	{"used", "Used", "text", 0},
	{"for", "For", "note", 0},
	{NULL, NULL, NULL, 0},
};

/* ---- show health ---- */

struct ledger_look {
	struct queue_shard *shard;
	struct queue_ledger ledger;
};

static void look_at_ledger(void *argument)
{
	struct ledger_look *look = argument;

	queue_shard_ledger(look->shard, &look->ledger);
}

bool appliance_ledger(struct appliance *appliance, struct queue_ledger *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < appliance->shard_count; i++) {
		struct ledger_look look = {.shard = appliance->shards[i].shard};

		if (!executor_call(appliance->shards[i].executor, look_at_ledger, &look))
			return false;
		out->accepted += look.ledger.accepted;
		out->generated += look.ledger.generated;
		out->queued += look.ledger.queued;
		out->delivered += look.ledger.delivered;
		out->bounced += look.ledger.bounced;
		out->expired += look.ledger.expired;
		out->removed += look.ledger.removed;
		out->discarded += look.ledger.discarded;
		out->quarantined += look.ledger.quarantined;
		out->possible_duplicates += look.ledger.possible_duplicates;
		out->drift += look.ledger.drift;
	}
	return true;
}

static const char *refusal_reason(uint32_t refusal)
{
	switch (refusal) {
	case COMMIT_NO_SPACE:
		return "spool is short of space: new mail is refused with 452";
	case COMMIT_IO_ERROR:
		return "spool cannot be written: new mail is refused with 451";
	default:
		return "queue is at its limit: new mail is refused with 421";
	}
}

bool health_check(void *context, char *reason, unsigned size)
{
	struct appliance *appliance = context;
	struct queue_ledger ledger;

	for (unsigned i = 0; i < appliance->shard_count; i++) {
		uint32_t refusal =
			atomic_load_explicit(&appliance->shards[i].refusal, memory_order_relaxed);

		if (refusal != COMMIT_DONE) {
			snprintf(reason, size, "%s", refusal_reason(refusal));
			return false;
		}
	}
	if (atomic_load_explicit(&appliance->draining, memory_order_relaxed)) {
		snprintf(reason, size, "draining: no new mail");
		return false;
	}
	if (!appliance_ledger(appliance, &ledger)) {
		snprintf(reason, size, "a queue shard has stopped");
		return false;
	}
	if (ledger.drift != 0) {
		snprintf(reason, size, "ledger does not balance: drift of %lld recipients",
			 (long long)ledger.drift);
		return false;
	}
	return true;
}

static json_t *show_health(void *context, json_t *arguments, char *error)
{
	struct queue_ledger l;
	char reason[256] = "";
	bool healthy = health_check(context, reason, sizeof(reason));

	(void)arguments;
	if (!appliance_ledger(context, &l)) {
		snprintf(error, 256, "the queue is stopping");
		return NULL;
	}
	return json_pack("{s:b, s:s, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}}",
			 "healthy", healthy, "reason", reason, "ledger", "accepted",
			 (json_int_t)l.accepted, "generated", (json_int_t)l.generated, "queued",
			 (json_int_t)l.queued, "delivered", (json_int_t)l.delivered, "bounced",
			 (json_int_t)l.bounced, "expired", (json_int_t)l.expired, "removed",
			 (json_int_t)l.removed, "discarded", (json_int_t)l.discarded, "quarantined",
			 (json_int_t)l.quarantined, "possible_duplicates",
			 (json_int_t)l.possible_duplicates, "drift", (json_int_t)l.drift);
}

/* ---- config ---- */

static json_t *show_config(void *context, json_t *arguments, char *error)
{
	struct appliance *appliance = context;
	json_t *data;

	(void)arguments;
	(void)error;
	pthread_mutex_lock(&appliance->lock);
	data = config_to_document(appliance->configuration);
	pthread_mutex_unlock(&appliance->lock);
	return data;
}

/* Every error, as lines to read and as JSON. */
static json_t *failure_document(const struct appliance *appliance, const char *result,
				const struct config_errors *errors)
{
	json_t *list = json_array(), *document;
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		abort();
	fprintf(out, "%s: %s, %u error%s%s\n", appliance->config_file, result, errors->count,
		errors->count == 1 ? "" : "s",
		errors->count == CONFIG_ERRORS_MAX ? " or more" : "");
	for (unsigned i = 0; i < errors->count; i++) {
		const struct config_error *e = &errors->errors[i];
		char line[sizeof(*e) + 32];

		fprintf(out, "%s\n", config_error_format(e, line, sizeof(line)));
		json_array_append_new(list, json_pack("{s:s, s:i, s:s, s:s}", "file", e->file,
						      "line", (int)e->line, "path", e->path,
						      "reason", e->reason));
	}
	fclose(out);
	document = json_pack("{s:b, s:s, s:{s:s, s:s, s:o}}", "failed", 1, "text", text, "json",
			     "file", appliance->config_file, "result", result, "errors", list);
	free(text);
	return document;
}

static json_t *request_check(void *context, json_t *arguments, char *error)
{
	struct appliance *appliance = context;
	struct config_errors errors = {0};
	struct configuration *configuration = config_load(appliance->config_file, NULL, &errors);

	(void)arguments;
	(void)error;
	if (configuration) {
		config_free(configuration);
		return json_pack("{s:s, s:s, s:[]}", "file", appliance->config_file, "result",
				 "sound", "errors");
	}
	return failure_document(appliance, "not sound", &errors);
}

static json_t *request_reload(void *context, json_t *arguments, char *error)
{
	struct appliance *appliance = context;
	json_t *report = json_array();
	struct config_errors errors = {0};
	int code = appliance_reload(appliance, &errors, report);
	const char *last = json_string_value(json_array_get(report, json_array_size(report) - 1));

	(void)arguments;
	if (code < 0) {
		json_t *answer = NULL;

		if (errors.count > 0)
			answer = failure_document(
				appliance, "not adopted, the old configuration goes on", &errors);
		else if (code == -EBUSY)
			snprintf(error, 256, "%.250s", last ? last : strerror(-code));
		else
			snprintf(error, 256, "not adopted, the old configuration goes on: %.180s",
				 last ? last : strerror(-code));
		json_decref(report);
		return answer;
	}
	return json_pack("{s:I, s:o}", "revision", (json_int_t)appliance->revision, "notes",
			 report);
}

static json_t *request_drain(void *context, json_t *arguments, char *error)
{
	(void)arguments;
	(void)error;
	appliance_drain(context);
	return json_pack("{s:s}", "result",
			 "draining: no new mail; stop the daemon when health says it is empty");
}

void commands_register_system(struct management *management, struct appliance *appliance)
{
	static const struct daemon_command commands[] = {
		{.name = CATALOGUE_SHOW_VERSION, .columns = version_columns, .run = show_version},
		{.name = CATALOGUE_SHOW_CERTIFICATES,
		 .columns = certificate_columns,
		 .run = show_certificates},
		{.name = CATALOGUE_SHOW_CRYPTO, .columns = crypto_columns, .run = show_crypto},
		{.name = CATALOGUE_SHOW_HEALTH, .run = show_health},
		{.name = CATALOGUE_SHOW_CONFIG, .run = show_config},
		{.name = CATALOGUE_REQUEST_CONFIG_CHECK, .run = request_check},
		{.name = CATALOGUE_REQUEST_CONFIG_RELOAD, .changes = true, .run = request_reload},
		{.name = CATALOGUE_REQUEST_SYSTEM_DRAIN, .changes = true, .run = request_drain},
	};

	commands_add(management, appliance, commands, sizeof(commands) / sizeof(commands[0]));
}

void commands_add(struct management *management, struct appliance *appliance,
		  const struct daemon_command *commands, unsigned count)
{
	static struct command added[CATALOGUE_COMMANDS];

	for (unsigned i = 0; i < count; i++) {
		struct command *command = &added[commands[i].name];

		*command = (struct command){
			.words = catalogue[commands[i].name].words,
			.help = catalogue[commands[i].name].help,
			.arguments = commands[i].arguments,
			.columns = commands[i].columns,
			.changes = commands[i].changes,
			.run = commands[i].run,
			.context = appliance,
		};
		management_add(management, command);
	}
}

void commands_register(struct management *management, struct appliance *appliance)
{
	commands_register_system(management, appliance);
	commands_register_data_plane(management, appliance);
	commands_register_captures(management, appliance);
	commands_register_queue(management, appliance);
}
