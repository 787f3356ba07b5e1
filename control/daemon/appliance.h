/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The whole appliance in one process: ports, workers, queue shards, events, certificates, and their
 * threads. Built from a configuration, reconfigured while it runs, drained and taken down.
 *
 * Owner: the main thread; reload may also come from management, under `lock`.
 */
#ifndef MILLRACE_CONTROL_DAEMON_APPLIANCE_H
#define MILLRACE_CONTROL_DAEMON_APPLIANCE_H

#include "control/config/config.h"
#include "control/config/users.h"
#include "control/daemon/shard.h"
#include "control/events/events.h"
#include "dataplane/buf/frame_mbuf.h"
#include "dataplane/steering_check.h"
#include "dataplane/worker.h"
#include "dataplane/worker_nic.h"
#include "tls/ticket_keys.h"

#include <pthread.h>

#define SHARDS_MAX WORKERS_MAX /* a shard needs a worker */

struct captures;
struct certificate_set;

/** Views that some worker may still look at. */
struct view_version {
	struct view *view;
	struct view_version *next;
};

struct worker_thread {
	pthread_t thread;
	bool running;
	int core; /**< -1: not pinned */
	struct worker *worker;
	struct worker_link link;
	struct frame_mbuf_pool frames;
	struct worker_loop loop;
};

struct appliance {
	const char *config_file;
	struct configuration *configuration; /**< the one in force */
	struct configuration *started_with;  /**< ports, workers and memory are as this says */
	uint64_t revision;
	atomic_uint adoptions;	/**< reloads that were adopted since the start */
	uint64_t configured_us; /**< wall clock of the last successful load */
	uint64_t started_us;	/**< wall clock */
	pthread_mutex_t lock;	/**< reload */

	unsigned port_count;
	struct nic_port *ports[NET_PORTS_MAX];
	struct captures *captures;
	struct steering_check steering[NET_PORTS_MAX]; /**< appliance_tick's */
	unsigned worker_count;
	struct worker_thread workers[WORKERS_MAX];
	atomic_bool stop_workers;
	unsigned shard_count;
	struct shard_thread shards[SHARDS_MAX];
	int locks[2]; /**< of the event and spool directories; 0: not taken */
	struct event_log *events;
	struct users *users;
	struct view_version *views; /**< newest first */
	struct certificate_set *certificates;
	struct tls_ticket_keys ticket_keys; /**< new at each start */
	atomic_bool draining;
};

/**
 * Open the ports and nothing else: what needs root. @param error at least 256 bytes @return 0 or
 * negative errno
 */
int appliance_open_ports(struct appliance *appliance, char *error);
/** Send diagnostics where the configuration says; also at reload. @return 0 or negative errno */
int appliance_open_log(const struct config_system *system, char *error);
/** Everything else: spool recovery, contexts, workers, threads. @return 0 or negative errno */
int appliance_start(struct appliance *appliance, char *error);
/** Once in a while (100 ms): refusal flags, old views, drained or not. */
void appliance_tick(struct appliance *appliance);
/** Where a port's TCP frames came in, over all workers. */
void appliance_arrivals(const struct appliance *appliance, unsigned port, struct net_arrivals *sum);
/**
 * Load the file again and adopt it; on errors the old configuration goes on.
 * @param errors what is wrong with the file, if that is why; NULL: the log alone
 * @param report receives other lines for the operator (what needs a restart, why it was not
 * adopted); NULL: the log alone
 * @return 0, -EINVAL the file has errors, -EBUSY the workers did not adopt it in time
 */
int appliance_reload(struct appliance *appliance, struct config_errors *errors, json_t *report);
/** Refuse new mail, finish what runs. */
void appliance_drain(struct appliance *appliance);
bool appliance_is_drained(const struct appliance *appliance);
/** Stop the threads, close the spool, give everything back. */
void appliance_stop(struct appliance *appliance);
/** The view that new sessions use. */
const struct view *appliance_view(const struct appliance *appliance);

#endif
