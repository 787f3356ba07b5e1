/* SPDX-License-Identifier: GPL-3.0-or-later */
/* See retry.h. */
#include "control/queue/retry.h"

#include "drivers/clock.h"

uint64_t retry_interval_us(const struct retry_policy *policy, unsigned failures,
			   struct mr_random *random)
{
	uint64_t interval = policy->initial_us;
	uint64_t factor = policy->factor_percent < 100 ? 100 : policy->factor_percent;
	uint64_t jitter = policy->jitter_percent > 90 ? 90 : policy->jitter_percent;
	uint64_t span;

	for (unsigned i = 1; i < failures && interval < policy->max_us; i++) {
		uint64_t next = interval / 100 * factor + interval % 100 * factor / 100;

		if (next == interval)
			break;
		interval = next;
	}
	if (interval > policy->max_us)
		interval = policy->max_us;
	if (interval == 0)
		interval = 1;
	span = interval / 100 * jitter;
	if (span == 0 || !random)
		return interval;
	return interval - span + random_u64(random) % (2 * span + 1);
}

/** Bursts that fit into this time go at once, so that fast rates do not depend on the timer's tick.
 */
#define RATE_BURST_US (100 * US_PER_MS)

void rate_set(struct rate *rate, uint64_t per_hour)
{
	rate->interval_us = per_hour ? 3600 * US_PER_S / per_hour : 0;
	if (per_hour && rate->interval_us == 0)
		rate->interval_us = 1;
	rate->tolerance_us = rate->interval_us < RATE_BURST_US ? RATE_BURST_US : 0;
}

uint64_t rate_when_us(const struct rate *rate)
{
	if (rate->interval_us == 0 || rate->arrival_us <= rate->tolerance_us)
		return 0;
	return rate->arrival_us - rate->tolerance_us;
}

void rate_take(struct rate *rate, uint64_t now_us)
{
	if (rate->interval_us == 0)
		return;
	if (rate->arrival_us < now_us)
		rate->arrival_us = now_us;
	rate->arrival_us += rate->interval_us;
}
