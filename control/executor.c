/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * See executor.h. `pending` is the only thing that both sides touch outside of a lock: the caller
 * sets it, the owner runs it and clears it. The condition wakes callers; the owner holds its lock
 * only to signal.
 */
#include "control/executor.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct executor {
	pthread_mutex_t callers; /**< one call at a time; the owner never takes it */
	pthread_mutex_t lock;	 /**< of `done` */
	pthread_cond_t done;
	void (*fn)(void *argument);
	void *argument;
	atomic_bool pending;
	atomic_bool running; /**< the owner has begun with it */
	atomic_bool stopped;
};

struct executor *executor_create(void)
{
	struct executor *executor = calloc(1, sizeof(*executor));

	if (!executor)
		return NULL;
	pthread_mutex_init(&executor->callers, NULL);
	pthread_mutex_init(&executor->lock, NULL);
	pthread_cond_init(&executor->done, NULL);
	return executor;
}

void executor_destroy(struct executor *executor)
{
	if (!executor)
		return;
	pthread_cond_destroy(&executor->done);
	pthread_mutex_destroy(&executor->lock);
	pthread_mutex_destroy(&executor->callers);
	free(executor);
}

bool executor_call(struct executor *executor, void (*fn)(void *argument), void *argument)
{
	bool ran = false;

	pthread_mutex_lock(&executor->callers);
	if (!atomic_load(&executor->stopped)) {
		executor->fn = fn;
		executor->argument = argument;
		atomic_store(&executor->pending, true);
		pthread_mutex_lock(&executor->lock);
		while (atomic_load(&executor->pending) && !atomic_load(&executor->stopped))
			pthread_cond_wait(&executor->done, &executor->lock);
		/* Stopped while it waited: take it back, unless the owner has begun. */
		while (atomic_load(&executor->pending) && atomic_load(&executor->running))
			pthread_cond_wait(&executor->done, &executor->lock);
		ran = !atomic_exchange(&executor->pending, false);
		pthread_mutex_unlock(&executor->lock);
	}
	pthread_mutex_unlock(&executor->callers);
	return ran;
}

static void finish(struct executor *executor)
{
	pthread_mutex_lock(&executor->lock);
	pthread_cond_broadcast(&executor->done);
	pthread_mutex_unlock(&executor->lock);
}

bool executor_poll(struct executor *executor)
{
	if (!atomic_load_explicit(&executor->pending, memory_order_acquire))
		return false;
	atomic_store(&executor->running, true);
	executor->fn(executor->argument);
	atomic_store(&executor->pending, false);
	atomic_store(&executor->running, false);
	finish(executor);
	return true;
}

void executor_stop(struct executor *executor)
{
	atomic_store(&executor->stopped, true);
	finish(executor);
}
