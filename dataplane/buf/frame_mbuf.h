/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Frames over DPDK packet buffers: the frame is the mbuf's private area, so that one becomes the
 * other by address arithmetic alone. Owner: the worker whose pool it is.
 */
#ifndef MILLRACE_DATAPLANE_BUF_FRAME_MBUF_H
#define MILLRACE_DATAPLANE_BUF_FRAME_MBUF_H

#include "dataplane/buf/frame.h"

struct rte_mbuf;
struct rte_mempool;

struct frame_mbuf_pool {
	struct frame_pool pool;
	struct rte_mempool *mempool; /**< private size sizeof(struct frame) */
	struct rte_mempool *large;   /**< likewise, for FRAME_LARGE; NULL: no port needs it */
	uint16_t worker;
};

void frame_mbuf_pool_init(struct frame_mbuf_pool *pool, struct rte_mempool *mempool,
			  struct rte_mempool *large, uint16_t worker);
/** A received packet becomes a frame. @return NULL (and the packet is freed) when it is not one
 * segment */
struct frame *frame_from_mbuf(struct rte_mbuf *packet, uint16_t port, uint16_t worker);
/** A frame to transmit becomes a packet, offload flags included. */
struct rte_mbuf *frame_to_mbuf(struct frame *frame);

#endif
