/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two stacks in one thread, joined by memory: what TCP costs without a device, a kernel or a peer's
 * pace. Time is virtual, so that nothing waits; cycles are the TSC's, and only those are counted
 * that one of the stacks spends.
 *
 * Owner: one thread; pairs share nothing. Both ends use one pool of frames, so that a frame passes
 * from one to the other without a copy, as a packet does that a NIC wrote to memory.
 */
#ifndef MILLRACE_PERF_STACK_PAIR_H
#define MILLRACE_PERF_STACK_PAIR_H

#include "dataplane/net/net.h"
#include "dataplane/tcp/tcp.h"

#include <x86intrin.h>

#define PAIR_FRAMES    4096u
#define PAIR_BURST     32u /* frames a call, as the worker has it */
#define PAIR_ADDRESSES 64u /* local addresses of each end at most */
#define PAIR_PORTS     16u /* that the server listens on, from PAIR_PORT */
#define PAIR_PORT      2500u
#define PAIR_MSS       1448u /* IPv4 with timestamps in 1,500 octets */

struct pair_settings {
	uint32_t connections; /**< table size of each end */
	uint32_t time_wait;
	uint32_t chunks;    /**< of each end */
	uint32_t addresses; /**< of each end; 0: 1 */
	bool unpaced;	    /**< as net_stack_settings has it */
	bool offload;	    /**< ports check and fill in checksums */
	uint64_t seed;
};

/** What one stack spent on packets that it took or made. */
struct pair_cost {
	uint64_t cycles;
	uint64_t packets;
};

struct pair_end {
	struct net_stack *stack;
	struct chunk_pool *chunks;
	struct mr_random random;
	struct view view;
	struct view_port port;
	struct view_address addresses[PAIR_ADDRESSES];
};

/** Frames under way. */
struct pair_wire {
	struct frame *frames[PAIR_FRAMES];
	unsigned count;
};

struct pair {
	struct pair_settings settings;
	struct mr_now now;
	struct frame_pool frames;
	struct pair_frame *memory;
	struct pair_frame *free;
	struct pair_end client;
	struct pair_end server;
	struct pair_wire wire;
	/* Kept by the callbacks of whoever uses the pair. */
	void *user;
};

/**
 * Create both ends. The server listens on PAIR_PORTS ports of all its addresses.
 * @param callbacks of accepted connections; their user is the pair
 */
struct pair *pair_create(const struct pair_settings *settings,
			 const struct tcp_listen_callbacks *callbacks);
void pair_destroy(struct pair *pair);
/** Let time pass and run the timers that are due. @return cycles of both ends */
uint64_t pair_advance(struct pair *pair, uint64_t us);
/** Take what an end has to send onto the wire. */
struct pair_cost pair_send(struct pair *pair, struct pair_end *from);
/** Deliver what is on the wire. */
struct pair_cost pair_deliver(struct pair *pair, struct pair_end *to);
/** Move frames until both ends have nothing more to say now. */
void pair_settle(struct pair *pair);
/** Connect number `n` of the client: addresses and ports follow from n. @return as tcp_connect */
int pair_connect(struct pair *pair, uint32_t n, const struct tcp_callbacks *callbacks, void *user,
		 tcp_handle *handle);

/** Cycles of the TSC a second, measured once. */
double tsc_hz(void);
/** Cycles of the TSC that a step of a fixed dependent computation takes, undisturbed: how fast this
 * core is in the same run. */
double tsc_calibration(void);

static inline uint64_t tsc_now(void)
{
	return __rdtsc();
}

static inline void pair_cost_add(struct pair_cost *sum, struct pair_cost more)
{
	sum->cycles += more.cycles;
	sum->packets += more.packets;
}

#endif
