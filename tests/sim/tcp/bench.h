/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two stacks, a bottleneck between them and many flows, in virtual time: what comes through in so
 * many seconds, and how long messages take. Deterministic: the same settings give the same figures.
 */
#ifndef MILLRACE_TESTS_SIM_TCP_BENCH_H
#define MILLRACE_TESTS_SIM_TCP_BENCH_H

#include "dataplane/tcp/tcp.h"

#include <stdbool.h>
#include <stdint.h>

#define BENCH_FLOWS_MAX 64u

struct bench_settings {
	enum tcp_congestion_choice congestion;
	uint64_t rtt_us;
	double loss; /**< of each direction, 0..1 */
	uint64_t rate_bits;
	uint32_t queue_packets; /**< 0: 400 */
	uint64_t seed;
	uint64_t warm_up_us; /**< of bulk flows: runs before counting begins */
	bool trace;	     /**< print windows as time goes by */
};

struct bench_result {
	double goodput_mbit; /**< of all flows */
	double flow_mbit[BENCH_FLOWS_MAX];
	double jain;		/**< fairness (Jain's index) over the flows */
	uint64_t retransmitted; /**< segments */
	uint64_t timeouts;
};

/** `flows` connections send without end; what comes in duration_us counts, which begins with the
 * first SYN or after the warm-up. */
struct bench_result bench_bulk(const struct bench_settings *settings, unsigned flows,
			       uint64_t duration_us);

/**
 * Messages of `size` bytes, one after the other, each in a connection of its own, `gap_us` between
 * the starts at least; a message takes from the SYN until the receiver has its last byte.
 * @param[out] times_us `count` of them, sorted
 */
void bench_messages(const struct bench_settings *settings, uint32_t size, unsigned count,
		    uint64_t gap_us, uint64_t *times_us);

#endif
