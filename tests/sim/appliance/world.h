/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A whole appliance in one thread and in virtual time: two workers, a queue shard, a disk that can
 * lose power, and two wires, to a sender's host and to an exchanger's. Nothing of the product is
 * replaced but its hardware (ports, disk, clock, randomness) and the resolver. One seed decides
 * everything; the same seed runs the same way.
 */
#ifndef MILLRACE_TESTS_SIM_APPLIANCE_WORLD_H
#define MILLRACE_TESTS_SIM_APPLIANCE_WORLD_H

#include "control/config/config.h"
#include "dataplane/worker.h"
#include "drivers/disk/disk_sim.h"
#include "tests/sim/appliance/peer.h"

#define WORLD_WORKERS 2

struct world_settings {
	uint64_t seed;
	uint32_t messages;
	bool tls;
	bool lossy_disk; /**< the disk lies: acknowledged writes are not durable */
	struct sim_link_settings wire;
	struct sink_manners manners;
};

struct world {
	struct world_settings settings;
	struct mr_now now;
	struct mr_random random; /**< of the world's own choices */
	struct configuration *configuration;
	struct view *view;
	struct view *peer_views[2];
	struct sim_link *links[4]; /**< inside: to, from; outside: to, from the appliance */
	struct peer *sender, *exchanger;
	struct disk *disk;
	struct resolver *resolver;
	struct tls_context *server_contexts[WORLD_WORKERS + 1], *client_contexts[WORLD_WORKERS + 1];
	/* The appliance; NULL while it is off. */
	struct queue_shard *shard;
	struct worker *workers[WORLD_WORKERS];
	struct worker_link worker_links[WORLD_WORKERS];
	struct sim_frame_pool *frames[WORLD_WORKERS];
	struct mr_random shard_random;
	unsigned starts;
	/* What all its lives counted. */
	uint64_t handed_off;
	uint64_t accepted_by[WORLD_WORKERS], delivered_by[WORLD_WORKERS];
};

struct world *world_create(const struct world_settings *settings);
void world_destroy(struct world *world);
/** Switch the appliance on: recovery, workers, listeners. */
void world_start(struct world *world);
/** It vanishes as by kill -9 or, with `power`, as by a cut: then the disk loses what was not
 * durable. */
void world_kill(struct world *world, bool power);
/** Run for so long, or until nothing is left to do. @return true when nothing is left */
bool world_run(struct world *world, uint64_t for_us);
/** All mail that was acknowledged is stored, undamaged; @return how many acknowledged messages are
 * missing */
unsigned world_missing(const struct world *world);
unsigned world_damaged(const struct world *world);
/** Copies beyond the first. */
unsigned world_duplicates(const struct world *world);
unsigned world_acknowledged(const struct world *world);

#endif
