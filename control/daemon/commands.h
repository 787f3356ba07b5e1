/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every command of the CLI, and the metrics: views of the appliance for people and programs. */
#ifndef MILLRACE_CONTROL_DAEMON_COMMANDS_H
#define MILLRACE_CONTROL_DAEMON_COMMANDS_H

#include "control/cli/catalogue.h"
#include "control/cli/management.h"
#include "control/daemon/appliance.h"
#include "control/telemetry/telemetry.h"

/** A command of the daemon's: its words and help are the catalogue's. */
struct daemon_command {
	enum catalogue_command name;
	const struct command_argument *arguments;
	const struct command_column *columns;
	bool changes;
	json_t *(*run)(void *context, json_t *arguments, char *error);
};

/** @param commands outlive the management server; so does the appliance */
void commands_add(struct management *management, struct appliance *appliance,
		  const struct daemon_command *commands, unsigned count);

/** Register all commands; the appliance outlives the management server. */
void commands_register(struct management *management, struct appliance *appliance);
void commands_register_captures(struct management *management, struct appliance *appliance);
void commands_register_data_plane(struct management *management, struct appliance *appliance);
void commands_register_queue(struct management *management, struct appliance *appliance);
void commands_register_system(struct management *management, struct appliance *appliance);
/** Write all samples (telemetry_add). @param context the appliance */
void metrics_collect(void *context, struct metric_writer *writer);
/** Is everything as it should be? (telemetry_set_health; show health) @param context the appliance
 */
bool health_check(void *context, char *reason, unsigned size);

/**
 * The ledger over all shards, taken inside each shard's thread.
 * @return false when a shard has stopped
 */
bool appliance_ledger(struct appliance *appliance, struct queue_ledger *out);

#endif
