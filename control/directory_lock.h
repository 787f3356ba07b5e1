/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One process for a directory: two that append to one spool or one event log would destroy both.
 * The lock is the kernel's (flock) on a file in the directory, so it ends with the process in
 * whatever way that ends, and a file that is left over holds nobody up.
 */
#ifndef MILLRACE_CONTROL_DIRECTORY_LOCK_H
#define MILLRACE_CONTROL_DIRECTORY_LOCK_H

/**
 * Take the lock of a directory, which is made (mode 0750) when it is not there.
 * @param what it holds, for the message and the lock's name: "spool"
 * @param error at least 256 bytes, set on failure: names the process that has it
 * @return a descriptor to keep open (closing it gives the lock back), -EBUSY another process has
 * it, or negative errno
 */
int directory_lock(const char *directory, const char *what, char *error);

#endif
