/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Packet captures that an operator asked for: each has a pcapng file, bounds of size and time, and
 * a thread that writes it; drivers/nic/capture.h does the work.
 *
 * Threads: management starts, stops and lists; each capture's thread ends it, also by itself. What
 * they share is under one lock. Memory: CAPTURES_KEPT records; a capture's packet memory while it
 * runs.
 */
#ifndef MILLRACE_CONTROL_DAEMON_CAPTURES_H
#define MILLRACE_CONTROL_DAEMON_CAPTURES_H

#include <jansson.h>
#include <stdint.h>

struct appliance;
struct captures;

struct capture_request {
	const char *port; /**< a port's name, "all", or NULL */
	const char
		*session; /**< as show sessions prints it, or NULL; exactly one of both is given */
	const char *filter; /**< pcap-filter(7), or NULL */
	const char *file;   /**< a name in the captures' directory, or NULL: made from the time */
	uint64_t size_max;
	uint64_t time_us;
};

/** @return NULL when memory is short */
struct captures *captures_create(struct appliance *appliance);
/** Ends what runs; the workers still run. */
void captures_destroy(struct captures *captures);
/** @param error at least 256 bytes @return what was started, or NULL */
json_t *captures_start(struct captures *captures, const struct capture_request *request,
		       char *error);
/** @param id of one, or 0: all that run. @return how many ended */
unsigned captures_stop(struct captures *captures, unsigned id);
/** Those that run and the last ones that ended, oldest first. */
json_t *captures_list(struct captures *captures);

#endif
