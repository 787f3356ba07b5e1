/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A worker: one core's whole data plane. A turn takes received frames through the stack and the
 * sessions, runs what is due, and leaves frames to transmit; rings join it to its queue shard and
 * to the other workers. The same turn is run by a pinned thread over DPDK ports (worker_nic.c) and
 * by the simulator over plain memory.
 */
#ifndef MILLRACE_DATAPLANE_WORKER_H
#define MILLRACE_DATAPLANE_WORKER_H

#include "dataplane/buf/ring.h"
#include "dataplane/net/net.h"
#include "dataplane/path/path.h"
#include "dataplane/smtp/server.h"

struct worker;

/** Rings of struct record between a worker and its shard. */
struct worker_link {
	struct ring *to_shard;
	struct ring *to_worker;
};

struct worker_settings {
	uint16_t index;
	uint16_t count;	      /**< workers in all */
	uint32_t connections; /**< TCP connections, in and out */
	uint32_t server_sessions;
	uint32_t client_sessions;
	uint32_t paths;
	uint32_t chunks;	 /**< of CHUNK_SIZE each */
	uint64_t id_origin;	 /**< of its shard (queue_shard_id_origin) */
	struct worker_link link; /**< the caller's; worker_ring_slots() deep; outlives the worker */
	struct net_port_offloads offloads[NET_PORTS_MAX];
	struct frame_pool *frames;
	bool tcp_ecn;		  /**< offered on connections that we open */
	uint32_t tcp_keepalive_s; /**< 0: never */
	uint64_t random_seed;	  /**< 0: from the operating system */
};

/** How many records may be outstanding between a worker and its shard, either way. */
uint32_t worker_ring_slots(uint32_t server_sessions, uint32_t client_sessions);
/** @return NULL when memory is short */
struct worker *worker_create(const struct worker_settings *settings, const struct mr_now *now);
/** When no worker runs any more; those that were joined are destroyed in the order of their
 * indices. */
void worker_destroy(struct worker *worker);
/** Join two workers of one appliance with hand-off rings, both ways. @return 0 or -ENOMEM */
int worker_join(struct worker *a, struct worker *b);

/**
 * One turn.
 * @param rx received frames of any port, all taken
 * @return true when it did something (the idle strategy looks at this)
 */
bool worker_turn(struct worker *worker, struct frame **rx, unsigned count,
		 const struct mr_now *now);
/** Frames to transmit on a port; the caller owns them. @return number, at most max */
unsigned worker_output(struct worker *worker, uint16_t port, struct frame **frames, unsigned max,
		       const struct mr_now *now);
/** When the worker next has something to do on its own. */
uint64_t worker_next_deadline(const struct worker *worker);

/**
 * Whether any worker could adopt a view, to be asked before it is published. Allocates: not for a
 * worker's thread.
 * @param error at least 256 bytes @return 0, -ENOBUFS it does not fit the tables, or -ENOMEM
 */
int worker_check_view(const struct view *view, char *error);
/** Adopt a view (that worker_check_view found sound) at the start of the next turn; from another
 * thread. */
void worker_publish_view(struct worker *worker, struct view *view);
/** The view that the worker has adopted. */
struct view *worker_adopted_view(const struct worker *worker);
/** Stop taking new work; from another thread. */
void worker_request_drain(struct worker *worker);
/** Nothing runs any more (valid after worker_request_drain). */
bool worker_is_drained(const struct worker *worker);
/** Refuse new mail: enum commit_result, or COMMIT_DONE to accept again; from another thread. */
void worker_set_refusal(struct worker *worker, uint32_t commit_result);

/** Have fn(argument) run between two turns of the worker and wait for it; from another thread. For
 * show commands. */
void worker_call(struct worker *worker, void (*fn)(void *argument), void *argument);

struct net_stack *worker_stack(struct worker *worker);
struct smtp_server *worker_server(struct worker *worker);
struct path_table *worker_paths(struct worker *worker);
struct chunk_pool *worker_chunks(struct worker *worker);

/** Written by the worker alone, read by anyone: relaxed 64-bit loads. */
struct worker_load {
	uint64_t turns;
	uint64_t busy_turns;
	uint64_t busy_cycles; /**< TSC */
	uint64_t idle_cycles;
	uint64_t sleeps;
	uint64_t handed_off; /**< frames given to another worker */
	uint64_t handed_in;
	uint64_t hand_off_full;	 /**< frames dropped because the other worker's ring was full */
	uint64_t drop_segmented; /**< frames dropped because they came in several buffers */
};
struct worker_load *worker_load(struct worker *worker);

#endif
