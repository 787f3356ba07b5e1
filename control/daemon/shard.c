/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/daemon/shard.h"

#include "control/daemon/thread.h"

#include <errno.h>
#include <time.h>

/* Turns with nothing to do before the thread sleeps, and its first sleep. */
#define IDLE_TURNS     32
#define SLEEP_FIRST_US 5

static uint64_t sleep_time(struct shard_thread *thread, uint64_t last_us, const struct mr_now *now)
{
	uint64_t deadline = queue_shard_next_deadline(thread->shard);
	uint64_t until = deadline > now->mono_us ? deadline - now->mono_us : 0;
	uint64_t us = last_us ? last_us * 2 : SLEEP_FIRST_US;

	if (us > thread->sleep_max_us)
		us = thread->sleep_max_us;
	return until < us ? until : us;
}

static void *run(void *argument)
{
	struct shard_thread *thread = argument;
	unsigned idle_turns = 0;
	uint64_t sleep_us = 0;
	bool draining = false;

	while (!atomic_load_explicit(&thread->stop, memory_order_relaxed)) {
		struct mr_now now;

		clock_read(&now);
		bool busy = queue_shard_turn(thread->shard, &now);

		busy |= executor_poll(thread->executor);
		atomic_store_explicit(&thread->refusal, queue_shard_refusal(thread->shard),
				      memory_order_relaxed);
		if (atomic_load_explicit(&thread->drain, memory_order_relaxed) && !draining) {
			draining = true;
			queue_shard_drain(thread->shard);
		}
		if (draining && queue_shard_is_drained(thread->shard))
			atomic_store_explicit(&thread->drained, true, memory_order_release);
		atomic_fetch_add_explicit(&thread->turns, 1, memory_order_relaxed);
		if (busy) {
			atomic_fetch_add_explicit(&thread->busy_turns, 1, memory_order_relaxed);
			idle_turns = 0;
			sleep_us = 0;
			continue;
		}
		if (++idle_turns < IDLE_TURNS)
			continue;
		sleep_us = sleep_time(thread, sleep_us, &now);
		if (sleep_us > 0) {
			struct timespec ts = {.tv_nsec = (long)(sleep_us * 1000)};

			nanosleep(&ts, NULL);
		}
	}
	executor_stop(thread->executor);
	return NULL;
}

int shard_thread_start(struct shard_thread *thread)
{
	int code = thread_start(&thread->thread, "queue", thread->core, run, thread);

	thread->running = code == 0;
	return code;
}

void shard_thread_stop(struct shard_thread *thread)
{
	if (!thread->running)
		return;
	atomic_store_explicit(&thread->stop, true, memory_order_relaxed);
	pthread_join(thread->thread, NULL);
	thread->running = false;
}
