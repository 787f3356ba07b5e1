/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One direction of a simulated wire in virtual time: delay, jitter, rate, queue, loss (random and
 * in bursts), duplication, reordering, corruption, and packets that are too big. Deterministic: the
 * same seed and the same calls give the same arrivals. Also a frame pool in plain memory, for
 * stacks without EAL.
 *
 * Frames are copied in and out, so that two stacks with pools of their own can share a link.
 */
#ifndef MILLRACE_TESTS_SIM_LINK_LINK_H
#define MILLRACE_TESTS_SIM_LINK_LINK_H

#include "dataplane/buf/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** All zero: a perfect wire without delay. Probabilities are 0..1. */
struct sim_link_settings {
	uint64_t delay_us;
	uint64_t jitter_us; /**< uniform, added; keeps the order (a packet waits for the one before)
			     */
	uint64_t rate_bits; /**< per second; 0: no limit */
	uint32_t queue_packets; /**< waiting for the rate; more are dropped; 0: 400 */
	double loss;
	double burst_enter; /**< Gilbert: a packet turns the link bad with this probability … */
	double burst_leave; /**< … and good again with this; while bad everything is lost */
	double duplicate;
	double reorder;	     /**< a packet is late by reorder_us, others overtake it */
	uint64_t reorder_us; /**< 0: 5 ms */
	double corrupt;	     /**< one bit behind the Ethernet header is flipped */
	double cut;   /**< the frame's end is lost, from anywhere behind the Ethernet header */
	bool down;    /**< nothing gets through */
	uint32_t mtu; /**< larger frames (without Ethernet header) vanish; 0: none do */
};

struct sim_link_counters {
	uint64_t sent;
	uint64_t delivered;
	uint64_t lost;
	uint64_t overflowed;
	uint64_t duplicated;
	uint64_t reordered;
	uint64_t corrupted;
	uint64_t cut;
	uint64_t too_big;
};

struct sim_link;

struct sim_link *sim_link_create(const struct sim_link_settings *settings, uint64_t seed);
void sim_link_destroy(struct sim_link *link);
/** Change the behaviour from now on; what is under way arrives as it would have. */
void sim_link_change(struct sim_link *link, const struct sim_link_settings *settings);
/** Put a frame on the wire. */
void sim_link_send(struct sim_link *link, const void *data, size_t size, uint64_t now_us);
/** As sim_link_send, but only delay, rate and queue apply, and being down. */
void sim_link_send_surely(struct sim_link *link, const void *data, size_t size, uint64_t now_us);
/** When the next frame arrives; UINT64_MAX: none is under way. */
uint64_t sim_link_next(const struct sim_link *link);
/** Take a frame that has arrived by now. @param to at least 2,048 bytes @return its size, 0: none
 */
size_t sim_link_receive(struct sim_link *link, void *to, uint64_t now_us);
const struct sim_link_counters *sim_link_counters(const struct sim_link *link);

/** Frames in plain memory, 2,048 bytes each. */
struct sim_frame_pool;

struct sim_frame_pool *sim_frame_pool_create(uint32_t count, uint16_t worker);
/** Have it give out large frames too, at most `count` at a time (struct frame_pool, alloc_large).
 */
void sim_frame_pool_add_large(struct sim_frame_pool *pool, uint32_t count);
/** Asserts that every frame has come home. */
void sim_frame_pool_destroy(struct sim_frame_pool *pool);
struct frame_pool *sim_frame_pool_interface(struct sim_frame_pool *pool);
uint32_t sim_frame_pool_in_use(const struct sim_frame_pool *pool);

#endif
