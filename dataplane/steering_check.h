/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The judgement over a port's steering, always on: workers count where TCP frames came in
 * (net_stack_arrivals), and a port whose packets do not come in where its way of steering promises
 * has lost that promise. Nothing is lost with it: the hand-off ring brings every frame home; but
 * the operator hears of it, and the next way is tried. When the configuration is adopted anew, or
 * the link comes back, all ways are tried again.
 *
 * Owner: one control thread. Memory: the caller's.
 */
#ifndef MILLRACE_DATAPLANE_STEERING_CHECK_H
#define MILLRACE_DATAPLANE_STEERING_CHECK_H

#include "dataplane/net/net.h"
#include "drivers/nic/steering.h"

/* Frames that a judgement needs, and how many of a hundred may have come in elsewhere. */
#define STEERING_SAMPLE	      1000
#define STEERING_MISS_PERCENT 1

/* A link that flaps has its ways tried again no more often than this. */
#define STEERING_RETRY_US (60 * US_PER_S)

struct steering_check {
	struct net_arrivals judged; /**< what was looked at before */
	uint64_t tried_us; /**< when all ways were last tried, monotonic; 0: at the start */
	bool link_was_up;
	bool link_seen;	  /**< up, once */
	bool due;	  /**< the link came back: as soon as STEERING_RETRY_US allow */
	unsigned adopted; /**< configurations, when last looked at */
};

/**
 * Look at the counters of one port, summed over workers.
 * @param way by which the port steers now; a one-queue port and a hand-off ring promise nothing
 * @param reason at least 128 bytes, filled when it failed
 * @return false: the way does not do what it promises
 */
bool steering_check(struct steering_check *check, enum nic_steering way,
		    const struct net_arrivals *now, char *reason);
/**
 * Are all ways to be tried anew? When so, what arrived before is not held against the next.
 * @param link_up the port's, now
 * @param adopted how many configurations have been adopted since the start
 */
bool steering_retry_due(struct steering_check *check, enum nic_steering way, bool link_up,
			unsigned adopted, const struct net_arrivals *now, uint64_t now_us);
/** Add one worker's counters to a sum. */
void steering_add(struct net_arrivals *sum, const struct net_arrivals *worker);

#endif
