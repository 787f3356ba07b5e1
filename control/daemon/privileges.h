/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Giving root away once the ports are open, and what the process may never do afterwards. */
#ifndef MILLRACE_CONTROL_DAEMON_PRIVILEGES_H
#define MILLRACE_CONTROL_DAEMON_PRIVILEGES_H

/**
 * Make a directory (and its parents) that belongs to the user. Call as root; as anyone else it only checks.
 * @param user "" leaves the owner alone @param error at least 256 bytes @return 0 or negative errno
 */
int privileges_prepare_directory(const char *path, const char *user, char *error);
/** Become the user, for good, with no capabilities left. Nothing to do when not root or user is "". */
int privileges_drop(const char *user, char *error);
/**
 * No system call that starts programs, loads code into the kernel, traces others, mounts, or changes identity; those
 * answer EPERM. For all threads, and for those to come.
 */
int privileges_filter_system_calls(char *error);

#endif
