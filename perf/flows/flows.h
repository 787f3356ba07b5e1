/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The same work for two senders, our stack and this machine's kernel, towards a kernel receiver:
 * bulk flows that send as much as they may, and messages that open a connection each. What is
 * measured is what the sender can know: bytes that were acknowledged, and the time from connect
 * until the receiver, who closes when it has read all, has closed.
 */
#ifndef MILLRACE_PERF_FLOWS_FLOWS_H
#define MILLRACE_PERF_FLOWS_FLOWS_H

#include "dataplane/net/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOBS_MAX    64u
#define SINK_PORT   2525u
#define CHUNK_BYTES 65536u /* handed to the sender at a time */
#define CONGESTION  16u

struct job {
	char name[64];
	struct ip_address to;
	char congestion[CONGESTION]; /* "cubic", "bbr" */
	/* Messages; count 0: one bulk flow. */
	uint32_t count;
	uint32_t gap_us;
	uint32_t size;
	/* Results. */
	uint64_t acknowledged; /* bytes of a bulk flow */
	double *times_ms;      /* of messages that are done */
	uint32_t started;
	uint32_t done;
	uint32_t failed;
};

struct work {
	struct job jobs[JOBS_MAX];
	unsigned count;
	uint64_t duration_us; /* of bulk flows */
	uint64_t patience_us; /* for messages, behind the last start */
	uint64_t seed;
	bool trace; /* of our stack's bulk flows, to stderr */
};

/** Bytes to send; all senders send these. */
extern const uint8_t flows_data[CHUNK_BYTES];

/** Do the work through our stack. @param fd carries one frame a message */
int flows_run_stack(struct work *work, int fd);
/** Do the work through kernel sockets of this network namespace. */
int flows_run_kernel(struct work *work);
/** Receive and discard on SINK_PORT until SIGTERM; close what the sender has closed. */
int flows_run_sink(void);

/** When message number `n` of a job starts, from the beginning. */
static inline uint64_t job_start_us(const struct job *job, uint32_t n)
{
	return (uint64_t)n * job->gap_us;
}

/** Nothing more to do? @param elapsed_us since the beginning */
bool work_done(const struct work *work, uint64_t elapsed_us);

#endif
