/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A worker on a core of its own, over DPDK ports: the poll loop and its idle strategy. */
#ifndef MILLRACE_DATAPLANE_WORKER_NIC_H
#define MILLRACE_DATAPLANE_WORKER_NIC_H

#include "dataplane/worker.h"
#include "drivers/nic/nic.h"

#include <stdatomic.h>

/** What a worker does in turns that had nothing to do. */
enum worker_idle {
	WORKER_IDLE_SPIN,
	WORKER_IDLE_PAUSE, /**< PAUSE between turns: kind to the core's sibling, wakes at once */
	WORKER_IDLE_SLEEP, /**< pause, then sleep for longer and longer, up to sleep_max_us */
	WORKER_IDLE_INTERRUPT, /**< sleep until a packet's interrupt, up to sleep_max_us */
};

struct worker_loop {
	struct worker *worker;
	uint16_t queue; /**< of every port */
	unsigned port_count;
	struct nic_port *ports[NET_PORTS_MAX];
	enum worker_idle idle;
	uint64_t sleep_max_us;
	atomic_bool *stop;
};

/** Run until *stop; the calling thread is known to DPDK (nic_thread_register). */
void worker_loop_run(const struct worker_loop *loop);

#endif
