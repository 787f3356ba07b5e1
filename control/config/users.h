/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who may authenticate (RFC 4954), from the listeners' users-files: lines of
 *
 *   user:crypt(3) hash[:tenant[:campaign[:pool]]]
 *
 * with # comments and empty lines. A check costs milliseconds by design, so it runs on a thread of
 * its own behind a bounded queue.
 *
 * Owners: the files' tables are immutable, counted, and swapped by a reload; the queue is under a
 * lock. What must hold: an unknown user costs what a known one does; every request is answered
 * exactly once; the password is wiped before the answer; a file that does not load changes nothing.
 */
#ifndef MILLRACE_CONTROL_CONFIG_USERS_H
#define MILLRACE_CONTROL_CONFIG_USERS_H

#include "control/config/config.h"
#include "dataplane/message.h"

struct users;

/** Requests that may wait; more are refused at once. */
#define USERS_WAITING_MAX 1024

/** Load the files of all listeners and start the thread. @param error at least 256 bytes @return
 * NULL on error */
struct users *users_create(const struct configuration *configuration, char *error);
/** Load anew, all or nothing. @param error at least 256 bytes @return 0 or negative errno */
int users_reload(struct users *users, const struct configuration *configuration, char *error);
/** Answer what waits with a refusal, and stop. */
void users_destroy(struct users *users);

/**
 * Check a request; fits queue_shard_settings.authenticate. From any thread; `done` is called on the
 * checking thread, or at once when too many wait. @param context struct users
 */
void users_authenticate(void *context, struct auth_request *request,
			void (*done)(void *user, struct auth_request *request), void *user);

#endif
