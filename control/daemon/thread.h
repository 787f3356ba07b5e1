/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Threads of the daemon: named, pinned, with signals blocked and short sleeps kept short. */
#ifndef MILLRACE_CONTROL_DAEMON_THREAD_H
#define MILLRACE_CONTROL_DAEMON_THREAD_H

#include <pthread.h>

/** @param core -1: wherever the process may run @return 0, -EINVAL the process may not run on that
 * core, or negative errno */
int thread_start(pthread_t *thread, const char *name, int core, void *(*run)(void *),
		 void *argument);
/** Prepare the calling thread: sleeps of a few microseconds must not be rounded up to the kernel's
 * default slack. */
void thread_set_precise_sleep(void);

#endif
