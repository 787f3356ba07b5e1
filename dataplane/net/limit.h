/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A rate limit in one timestamp: the generic cell rate algorithm (ITU-T I.371), for what the stack
 * sends unasked. */
#ifndef MILLRACE_DATAPLANE_NET_LIMIT_H
#define MILLRACE_DATAPLANE_NET_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct rate_limit {
	uint64_t next_us;     /**< theoretical arrival time */
	uint32_t interval_us; /**< between two in the long run */
	uint32_t burst;	      /**< that many at once */
};

/** @return true: go ahead, it was counted */
static inline bool rate_limit_take(struct rate_limit *limit, uint64_t now_us)
{
	uint64_t ahead = (uint64_t)limit->interval_us * (limit->burst - 1);

	if (limit->next_us > now_us + ahead)
		return false;
	limit->next_us = (limit->next_us > now_us ? limit->next_us : now_us) + limit->interval_us;
	return true;
}

#endif
