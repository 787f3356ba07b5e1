/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Frames: one packet each, on its way between a port and the stack. net/ and tcp/ see only this;
 * what is behind it is an rte_mbuf's private area in the product (drivers/nic) and plain memory in
 * the simulator and the unit tests.
 *
 * Owner: the worker whose pool it is. Received frames never stay with the stack: whatever must be
 * kept is copied.
 */
#ifndef MILLRACE_DATAPLANE_BUF_FRAME_H
#define MILLRACE_DATAPLANE_BUF_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_flag {
	FRAME_RX_IP_CHECKSUM_GOOD = 1 << 0, /**< the port checked it; absent: software checks */
	FRAME_RX_L4_CHECKSUM_GOOD = 1 << 1,
	FRAME_RX_CHECKSUM_BAD = 1 << 2, /**< the port found it wrong: drop and count */
	FRAME_TX_IP_CHECKSUM = 1 << 3,	/**< the port is to fill it in (only if it offers to) */
	FRAME_TX_TCP_CHECKSUM = 1 << 4, /**< the pseudo-header sum is already in the field */
	FRAME_RX_HASH = 1 << 5,		/**< `hash` is the port's RSS hash */
};

struct frame {
	uint8_t *data;	    /**< the Ethernet header */
	uint16_t length;    /**< bytes from data */
	uint16_t capacity;  /**< bytes that may be written from data (tx) */
	uint16_t port;	    /**< index of the port it came in by or leaves by */
	uint16_t flags;	    /**< enum frame_flag */
	uint16_t l2_length; /**< tx with offload: Ethernet + VLAN header */
	uint16_t l3_length; /**< tx with offload */
	uint32_t hash;
	uint16_t worker;   /**< whose pool it belongs to */
	uint16_t tso_size; /**< tx: the port makes segments of this payload; 0: sent as it is */
};

/** Capacity of a large frame: one descriptor of every card takes it. */
#define FRAME_LARGE 12288

/** A worker's source of frames for transmission. Filled by drivers/nic or by the simulator. */
struct frame_pool {
	void *context;
	/** @return an empty frame with length 0 and at least 2,000 bytes of capacity, or NULL */
	struct frame *(*alloc)(void *context);
	/** A frame with FRAME_LARGE bytes of capacity, for a port that makes the segments; or NULL.
	 * The member is NULL where no port does. */
	struct frame *(*alloc_large)(void *context);
	/** Give back a frame that is not transmitted after all, or a received frame that is done
	 * with. */
	void (*free)(void *context, struct frame *frame);
};

static inline struct frame *frame_alloc(struct frame_pool *pool)
{
	return pool->alloc(pool->context);
}

static inline void frame_free(struct frame_pool *pool, struct frame *frame)
{
	pool->free(pool->context, frame);
}

#endif
