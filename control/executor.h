/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Running a function on the thread that owns the data: how show and request commands look into a
 * shard. The owner polls once a turn; the caller waits. One call at a time; callers queue on a lock
 * that the owner never takes.
 */
#ifndef MILLRACE_CONTROL_EXECUTOR_H
#define MILLRACE_CONTROL_EXECUTOR_H

#include <stdbool.h>

struct executor;

struct executor *executor_create(void);
void executor_destroy(struct executor *executor);
/** From any thread but the owner. @return false when the owner has stopped */
bool executor_call(struct executor *executor, void (*fn)(void *argument), void *argument);
/** The owner, once a turn. @return true when something ran */
bool executor_poll(struct executor *executor);
/** The owner stops: waiting and later calls return false. */
void executor_stop(struct executor *executor);

#endif
