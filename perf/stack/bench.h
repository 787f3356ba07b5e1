/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the measurements of stack-bench offer its main program. */
#ifndef MILLRACE_PERF_STACK_BENCH_H
#define MILLRACE_PERF_STACK_BENCH_H

#include <stdbool.h>
#include <stdint.h>

struct bench_options {
	bool quick;
	uint32_t idle_connections; /**< of each end */
	uint64_t seed;
};

/** One figure: printed at once, and written to the JSON file at the end. */
void report(const char *name, double value, const char *unit);
/** The middle one; sorts the values. */
double median(double *values, unsigned count);
/** The tenth part of the way up: what an undisturbed round takes on a busy machine, and no lucky
 * one; sorts the values. */
double undisturbed(double *values, unsigned count);

/** Opening and closing: cycles by kind of packet, and the rate that follows. */
void bench_packets(const struct bench_options *options);
/** What data and its acknowledgements cost. */
void bench_bulk(const struct bench_options *options);
/** Memory of connections that idle. */
void bench_idle(const struct bench_options *options);
/** One worker against two, beside pure computation. */
void bench_scaling(const struct bench_options *options);
/** ACKs with SACK blocks, honest and hostile, with the most in flight. */
void bench_sack(const struct bench_options *options);
/** Flows through one bottleneck, in virtual time. */
void bench_fairness(const struct bench_options *options);

#endif
