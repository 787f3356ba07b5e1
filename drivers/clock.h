/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Time. Engines never read a clock: whoever turns them hands them a struct mr_now. Deadlines are
 * kept in monotonic microseconds; wall-clock time is only for what people and other hosts read
 * (Date, Received, logs, retry records).
 */
#ifndef MILLRACE_DRIVERS_CLOCK_H
#define MILLRACE_DRIVERS_CLOCK_H

#include <stdint.h>

#define US_PER_MS UINT64_C(1000)
#define US_PER_S  UINT64_C(1000000)
/** A deadline that never comes. */
#define MR_NEVER UINT64_MAX

/** The time of one turn. */
struct mr_now {
	uint64_t mono_us; /**< monotonic, from an arbitrary origin; all deadlines */
	uint64_t wall_us; /**< since 1970-01-01T00:00:00Z */
};

/** Read the machine's clocks (vDSO; no system call on the machines that we support). */
void clock_read(struct mr_now *now);

#endif
