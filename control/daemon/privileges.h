/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Giving root away once the ports are open, and what the process may never do afterwards. */
#ifndef MILLRACE_CONTROL_DAEMON_PRIVILEGES_H
#define MILLRACE_CONTROL_DAEMON_PRIVILEGES_H

#include <stdbool.h>

/**
 * Make a directory (and its parents) that belongs to the user. One that is there already keeps its
 * owner, unless it is root's and ours alone. As anyone but root it is made as who runs.
 * @param user "" leaves the owner alone
 * @param ours only files of ours are to be in it; false: it may be the system's, as /run
 * @param error at least 256 bytes @return 0 or negative errno
 */
int privileges_prepare_directory(const char *path, const char *user, bool ours, char *error);
/** Become the user, for good, which leaves no capabilities. Nothing to do when not root or user is
 * "". */
int privileges_drop(const char *user, char *error);
/**
 * No system call that starts programs, loads code into the kernel, traces others, mounts, or
 * changes identity; those answer EPERM. For all threads, and for those to come.
 */
int privileges_filter_system_calls(char *error);

#endif
