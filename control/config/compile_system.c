/* SPDX-License-Identifier: GPL-3.0-or-later */
/* system, spool and certificates: what the daemon needs to start. */
#include "control/config/compile.h"
#include "control/config/units.h"
#include "drivers/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void compile_cores(struct configuration *c, const struct lyd_node *system)
{
	struct document *document = &c->document;
	const struct lyd_node *cores = document_child(document, system, "worker-cores"), *node;
	unsigned count = config_count(document, system, "worker-cores"), i = 0;
	const char *control = document_value(document, system, "control-core");

	c->system.control_core = control != NULL ? atoi(control) : -1;
	for (i = 0; i < CONFIG_CORES_MAX; i++)
		c->system.worker_cores[i] = -1;
	if (count > 0 && count != c->system.worker_count) {
		document_error_at(document, cores, NULL, "%u cores for %u workers", count,
				  c->system.worker_count);
		return;
	}
	for (i = 0, node = cores; node != NULL; node = document_next(node), i++) {
		c->system.worker_cores[i] = atoi(document_text(node));
		if (c->system.worker_cores[i] == c->system.control_core)
			document_error_at(document, node, NULL,
					  "core %d is the control-core; a worker needs its own",
					  c->system.control_core);
	}
}

static void compile_idle(struct configuration *c, const struct lyd_node *system)
{
	static const char *const names[] = {[IDLE_SPIN] = "spin",
					    [IDLE_PAUSE] = "pause",
					    [IDLE_SLEEP] = "sleep",
					    [IDLE_INTERRUPT] = "interrupt"};
	const char *name = document_value(&c->document, system, "idle");

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0)
			c->system.idle = (enum idle_strategy)i;
	}
	c->system.idle_sleep_max_us = config_number(&c->document, system, "idle-sleep-max");
}

static void compile_tcp(struct configuration *c, const struct lyd_node *system)
{
	const struct lyd_node *tcp = document_child(&c->document, system, "tcp");

	c->system.tcp_ecn = strcmp(document_value(&c->document, tcp, "ecn"), "active") == 0;
	c->system.tcp_keepalive_s =
		(uint32_t)(config_number(&c->document, tcp, "keepalive") / US_PER_S);
}

static void compile_memory(struct configuration *c, const struct lyd_node *system)
{
	struct document *document = &c->document;
	const struct lyd_node *chunks = document_child(document, system, "chunk-memory");
	char most[32];

	c->system.memory_bytes = config_number(document, system, "memory");
	c->system.chunk_memory_bytes =
		chunks != NULL ? config_number(document, system, "chunk-memory")
			       : c->system.memory_bytes / 2 / c->system.worker_count;
	if (c->system.chunk_memory_bytes * c->system.worker_count >= c->system.memory_bytes)
		document_error_at(document, chunks, NULL,
				  "%u workers with as much leave nothing of memory, which is %s",
				  c->system.worker_count,
				  units_write_size(c->system.memory_bytes, most, sizeof(most)));
	c->system.sessions_in = (uint32_t)config_number(document, system, "sessions-in");
	c->system.sessions_out = (uint32_t)config_number(document, system, "sessions-out");
	c->system.hugepages = config_flag(document, system, "hugepages");
}

static void compile_logs(struct configuration *c, const struct lyd_node *system)
{
	struct document *document = &c->document;
	const struct lyd_node *log = document_child(document, system, "log");
	const struct lyd_node *events = document_child(document, system, "events");

	config_text(document, log, "file", c->system.log_file, sizeof(c->system.log_file));
	config_text(document, log, "level", c->system.log_level, sizeof(c->system.log_level));
	c->system.log_rotate_bytes = config_number(document, log, "rotate-size");
	c->system.log_keep = (unsigned)config_number(document, log, "keep");
	config_text(document, events, "directory", c->system.event_directory,
		    sizeof(c->system.event_directory));
	c->system.event_rotate_bytes = config_number(document, events, "rotate-size");
	c->system.event_keep = (unsigned)config_number(document, events, "keep");
}

static void compile_management(struct configuration *c, const struct lyd_node *system)
{
	struct document *document = &c->document;
	const struct lyd_node *management = document_child(document, system, "management");
	const char *metrics = document_value(document, management, "metrics");
	struct ip_address address;
	uint16_t port;

	config_text(document, management, "socket", c->system.management_socket,
		    sizeof(c->system.management_socket));
	if (strcmp(metrics, "none") == 0)
		return;
	if (config_parse_endpoint(metrics, &address, &port) != 0)
		document_error_at(document, document_child(document, management, "metrics"), NULL,
				  "'%s' is not ADDRESS:PORT", metrics);
	snprintf(c->system.metrics_address, sizeof(c->system.metrics_address), "%s", metrics);
}

static void compile_spool(struct configuration *c)
{
	struct document *document = &c->document;
	const struct lyd_node *spool = document_child(document, NULL, "spool");
	const struct lyd_node *segment = document_child(document, spool, "segment-size");

	config_text(document, spool, "directory", c->system.spool_directory,
		    sizeof(c->system.spool_directory));
	c->system.spool_size_bytes = config_number(document, spool, "size");
	c->system.spool_segment_bytes = config_number(document, spool, "segment-size");
	c->system.messages_max = config_number(document, spool, "messages-max");
	c->system.recipients_max = config_number(document, spool, "recipients-max");
	if (c->system.spool_segment_bytes % 4096 != 0)
		document_error_at(document, segment, NULL, "not a multiple of 4k");
	else if (c->system.spool_size_bytes / c->system.shard_count <
		 4 * c->system.spool_segment_bytes)
		document_error_at(document, document_child(document, spool, "size"), NULL,
				  "less than 4 segments of segment-size for each shard");
	if (c->system.recipients_max < c->system.messages_max)
		document_error_at(document, document_child(document, spool, "recipients-max"), NULL,
				  "less than messages-max; a message has a recipient at least");
}

void config_compile_system(struct configuration *c)
{
	struct document *document = &c->document;
	const struct lyd_node *system = document_child(document, NULL, "system");

	config_text(document, system, "hostname", c->system.hostname, sizeof(c->system.hostname));
	snprintf(c->view.hostname, sizeof(c->view.hostname), "%s", c->system.hostname);
	c->system.node_id = (uint32_t)config_number(document, system, "node-id");
	c->system.worker_count = (unsigned)config_number(document, system, "workers");
	c->system.shard_count = (unsigned)config_number(document, system, "shards");
	if (c->system.shard_count > c->system.worker_count)
		document_error_at(document, document_child(document, system, "shards"), NULL,
				  "%u shards for %u workers: a shard needs a worker",
				  c->system.shard_count, c->system.worker_count);
	config_text(document, system, "user", c->system.user, sizeof(c->system.user));
	config_text(document, system, "state-directory", c->system.state_directory,
		    sizeof(c->system.state_directory));
	if (document_child(document, system, "capture-directory") != NULL)
		config_text(document, system, "capture-directory", c->system.capture_directory,
			    sizeof(c->system.capture_directory));
	else
		snprintf(c->system.capture_directory, sizeof(c->system.capture_directory),
			 "%s/captures", c->system.state_directory);
	c->system.drain_timeout_us = config_number(document, system, "drain-timeout");
	compile_cores(c, system);
	compile_idle(c, system);
	compile_tcp(c, system);
	compile_memory(c, system);
	compile_logs(c, system);
	compile_management(c, system);
	compile_spool(c);
}

void config_compile_certificates(struct configuration *c)
{
	struct document *document = &c->document;
	struct config_certificate *out;
	struct lyd_node *node;

	c->certificate_count = config_count(document, NULL, "certificate");
	c->certificates = config_allocate(c, c->certificate_count * sizeof(*c->certificates));
	out = c->certificates;
	for (node = document_child(document, NULL, "certificate"); node != NULL;
	     node = document_next(node), out++) {
		config_text(document, node, "name", out->name, sizeof(out->name));
		config_text(document, node, "certificate-file", out->certificate_file,
			    sizeof(out->certificate_file));
		config_text(document, node, "key-file", out->key_file, sizeof(out->key_file));
		config_check_readable(document, document_child(document, node, "certificate-file"));
		config_check_readable(document, document_child(document, node, "key-file"));
	}
}
