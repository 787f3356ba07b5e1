/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "perf/load/histogram.h"

/* Values below 64 have a bucket each; from there on 64 buckets for each doubling. */
static unsigned bucket_of(uint64_t us)
{
	if (us < HISTOGRAM_STEPS)
		return (unsigned)us;
	unsigned shift = 63 - (unsigned)__builtin_clzll(us) - 6;
	unsigned bucket =
		(shift + 1) * HISTOGRAM_STEPS + (unsigned)((us >> shift) - HISTOGRAM_STEPS);

	return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t upper_edge(unsigned bucket)
{
	if (bucket < HISTOGRAM_STEPS)
		return bucket;
	unsigned shift = bucket / HISTOGRAM_STEPS - 1;

	return ((uint64_t)(bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t us)
{
	histogram->count++;
	histogram->sum_us += us;
	if (us > histogram->max_us)
		histogram->max_us = us;
	histogram->buckets[bucket_of(us)]++;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
	uint64_t wanted = (uint64_t)((double)histogram->count * percent / 100.0 + 0.5), seen = 0;

	if (histogram->count == 0)
		return 0;
	if (wanted == 0)
		wanted = 1;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen >= wanted) {
			uint64_t edge = upper_edge(i);

			return edge < histogram->max_us ? edge : histogram->max_us;
		}
	}
	return histogram->max_us;
}
