/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/daemon/shard.h"

#include "control/daemon/thread.h"

#include <errno.h>
#include <time.h>

/* Turns with nothing to do before the thread sleeps, and its first sleep. */
#define IDLE_TURNS     4
#define SLEEP_FIRST_US 20
/* At the end: turns go on until as many in a row had nothing to do, but no longer than this. */
#define LAST_IDLE_TURNS 20
#define LAST_PAUSE_US	1000
#define LAST_TIME_US	(5 * US_PER_S)

static uint64_t sleep_time(struct shard_thread *thread, uint64_t last_us, const struct mr_now *now)
{
	uint64_t deadline = queue_shard_next_deadline(thread->shard);
	uint64_t until = deadline > now->mono_us ? deadline - now->mono_us : 0;
	/* Growing by quarters, a sleep delays what comes by a quarter of the silence before it. */
	uint64_t us = last_us ? last_us + last_us / 4 : SLEEP_FIRST_US;

	if (us > thread->sleep_max_us)
		us = thread->sleep_max_us;
	return until < us ? until : us;
}

static void pause_for(uint64_t us)
{
	struct timespec ts = {.tv_sec = (time_t)(us / US_PER_S),
			      .tv_nsec = (long)(us % US_PER_S * 1000)};

	nanosleep(&ts, NULL);
}

/*
 * The workers have stopped, but what they said last is in the rings still: an outcome that is not
 * recorded is a message that is delivered twice.
 */
static void last_turns(struct shard_thread *thread)
{
	struct mr_now begin, now;
	unsigned idle_turns = 0;

	queue_shard_drain(thread->shard);
	clock_read(&begin);
	do {
		clock_read(&now);
		if (queue_shard_turn(thread->shard, &now)) {
			idle_turns = 0;
			continue;
		}
		idle_turns++;
		pause_for(LAST_PAUSE_US);
	} while (idle_turns < LAST_IDLE_TURNS && now.mono_us - begin.mono_us < LAST_TIME_US);
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
		if (draining)
			atomic_store_explicit(&thread->drained,
					      queue_shard_is_drained(thread->shard),
					      memory_order_release);
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
		if (sleep_us > 0)
			pause_for(sleep_us);
	}
	last_turns(thread);
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
