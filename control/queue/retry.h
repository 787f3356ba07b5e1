/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * When to try again: exponential back-off with jitter (RFC 5321, 4.5.4.1), and rates as GCRA (ITU-T
 * I.371): one timestamp, which is also the answer to "when".
 */
#ifndef MILLRACE_CONTROL_QUEUE_RETRY_H
#define MILLRACE_CONTROL_QUEUE_RETRY_H

#include "drivers/random.h"

#include <stdbool.h>
#include <stdint.h>

struct retry_policy {
	uint64_t initial_us;
	uint64_t max_us;
	uint32_t factor_percent; /**< below 100 counts as 100 */
	uint32_t jitter_percent; /**< +- of the interval; above 90 counts as 90 */
};

/** The interval after a number of failed attempts (1: the first). @param random NULL: without
 * jitter */
uint64_t retry_interval_us(const struct retry_policy *policy, unsigned failures,
			   struct mr_random *random);

/** A rate. All zero: no limit, nothing sent yet. */
struct rate {
	uint64_t interval_us;  /**< between two; 0: no limit */
	uint64_t tolerance_us; /**< how far ahead of the even spacing a burst may run */
	uint64_t arrival_us;   /**< theoretical arrival time of the next */
};

/** @param per_hour 0: no limit. Keeps what was already spent. */
void rate_set(struct rate *rate, uint64_t per_hour);
/** When the next may go; at or before now: at once. */
uint64_t rate_when_us(const struct rate *rate);
/** Account for one. */
void rate_take(struct rate *rate, uint64_t now_us);

#endif
