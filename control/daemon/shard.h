/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One queue shard on a thread of its own: its loop, its idle strategy, and the way to look into it.
 */
#ifndef MILLRACE_CONTROL_DAEMON_SHARD_H
#define MILLRACE_CONTROL_DAEMON_SHARD_H

#include "control/executor.h"
#include "control/queue/queue.h"
#include "drivers/random.h"

#include <pthread.h>
#include <stdatomic.h>

struct shard_thread {
	pthread_t thread;
	bool running;
	int core; /**< -1: not pinned */
	uint64_t sleep_max_us;
	struct queue_shard *shard;
	struct executor *executor;
	struct resolver *resolver;
	struct disk *disk;
	struct mr_random random;
	atomic_bool stop;
	atomic_bool drain;
	atomic_bool drained;
	atomic_uint refusal; /**< enum commit_result that workers are to answer with */
	_Atomic uint64_t turns, busy_turns;
};

/** @return 0 or negative errno of pthread_create */
int shard_thread_start(struct shard_thread *thread);
/** When its workers have stopped: what they said last is recorded first. */
void shard_thread_stop(struct shard_thread *thread);

#endif
