/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Latencies in log-linear buckets (HDR style): 64 linear steps for each power of two of
 * microseconds, so that any value is known within 1.6 %, from 1 us to 19 hours, in 12 KiB.
 */
#ifndef MILLRACE_PERF_LOAD_HISTOGRAM_H
#define MILLRACE_PERF_LOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS	  64
#define HISTOGRAM_BUCKETS (31 * HISTOGRAM_STEPS)

struct histogram {
	uint64_t count;
	uint64_t sum_us;
	uint64_t max_us;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t us);
/** @param percent 0..100 @return upper edge of the bucket, at most max_us; 0 when empty */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

#endif
