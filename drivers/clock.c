/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "drivers/clock.h"

#include <time.h>

static uint64_t read_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

void clock_read(struct mr_now *now)
{
	now->mono_us = read_us(CLOCK_MONOTONIC);
	now->wall_us = read_us(CLOCK_REALTIME);
}
