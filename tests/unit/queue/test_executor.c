/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calls from other threads run on the owner's, one at a time; none hangs when the owner stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/executor.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

struct owner {
	struct executor *executor;
	pthread_t thread;
	atomic_bool stop;
	unsigned inside;
	unsigned ran; /**< touched by calls alone: no lock */
};

static void *own(void *argument)
{
	struct owner *owner = argument;

	while (!atomic_load(&owner->stop)) {
		if (!executor_poll(owner->executor))
			sched_yield();
	}
	executor_stop(owner->executor);
	return NULL;
}

static void call(void *argument)
{
	struct owner *owner = argument;

	owner->inside++;
	assert_int_equal(owner->inside, 1);
	owner->ran++;
	owner->inside--;
}

struct caller {
	struct owner *owner;
	pthread_t thread;
	unsigned done, refused;
};

static void *call_often(void *argument)
{
	struct caller *caller = argument;

	for (unsigned i = 0; i < 200; i++) {
		if (executor_call(caller->owner->executor, call, caller->owner))
			caller->done++;
		else
			caller->refused++;
	}
	return NULL;
}

static void calls_run_one_at_a_time_and_are_waited_for(void **state)
{
	struct owner owner = {.executor = executor_create()};
	struct caller callers[4];

	pthread_create(&owner.thread, NULL, own, &owner);
	for (unsigned i = 0; i < 4; i++) {
		callers[i] = (struct caller){.owner = &owner};
		pthread_create(&callers[i].thread, NULL, call_often, &callers[i]);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(callers[i].thread, NULL);
		assert_int_equal(callers[i].done, 200);
	}
	atomic_store(&owner.stop, true);
	pthread_join(owner.thread, NULL);
	assert_int_equal(owner.ran, 800);
	assert_false(executor_call(owner.executor, call, &owner));
	executor_destroy(owner.executor);
}

static void stopping_lets_callers_go_and_tells_them_the_truth(void **state)
{
	for (unsigned round = 0; round < 50; round++) {
		struct owner owner = {.executor = executor_create()};
		struct caller callers[3];
		unsigned done = 0;

		pthread_create(&owner.thread, NULL, own, &owner);
		for (unsigned i = 0; i < 3; i++) {
			callers[i] = (struct caller){.owner = &owner};
			pthread_create(&callers[i].thread, NULL, call_often, &callers[i]);
		}
		for (unsigned i = 0; i < round; i++)
			sched_yield();
		atomic_store(&owner.stop, true);
		pthread_join(owner.thread, NULL);
		for (unsigned i = 0; i < 3; i++) {
			pthread_join(callers[i].thread, NULL);
			assert_int_equal(callers[i].done + callers[i].refused, 200);
			done += callers[i].done;
		}
		assert_int_equal(owner.ran, done);
		executor_destroy(owner.executor);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_run_one_at_a_time_and_are_waited_for),
		cmocka_unit_test(stopping_lets_callers_go_and_tells_them_the_truth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
