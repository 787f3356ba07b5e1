/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/daemon/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define TIMER_SLACK_NS 1000

struct start {
	void *(*run)(void *);
	void *argument;
};

void thread_set_precise_sleep(void)
{
	prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0);
}

static void *begin(void *argument)
{
	struct start start = *(struct start *)argument;

	free(argument);
	thread_set_precise_sleep();
	return start.run(start.argument);
}

int thread_start(pthread_t *thread, const char *name, int core, void *(*run)(void *),
		 void *argument)
{
	struct start *start = malloc(sizeof(*start));
	pthread_attr_t attributes;
	sigset_t all, before;
	int code;

	if (!start)
		return -ENOMEM;
	*start = (struct start){.run = run, .argument = argument};
	pthread_attr_init(&attributes);
	if (core >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(core, &set);
		pthread_attr_setaffinity_np(&attributes, sizeof(set), &set);
	}
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	/* A core that is not there, or not ours, fails here. */
	code = pthread_create(thread, &attributes, begin, start);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (code != 0) {
		free(start);
		return -code;
	}
	pthread_setname_np(*thread, name);
	return 0;
}
