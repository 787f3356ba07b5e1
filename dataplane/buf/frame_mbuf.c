/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/buf/frame_mbuf.h"

#include <rte_mbuf.h>

static struct frame *frame_of(struct rte_mbuf *packet)
{
	return rte_mbuf_to_priv(packet);
}

static struct rte_mbuf *mbuf_of(struct frame *frame)
{
	return (struct rte_mbuf *)((uint8_t *)frame - sizeof(struct rte_mbuf));
}

static struct frame *alloc_from(struct rte_mempool *mempool, uint16_t worker)
{
	struct rte_mbuf *packet = rte_pktmbuf_alloc(mempool);

	if (!packet)
		return NULL;
	struct frame *frame = frame_of(packet);

	*frame = (struct frame){
		.data = rte_pktmbuf_mtod(packet, uint8_t *),
		.capacity = rte_pktmbuf_tailroom(packet),
		.worker = worker,
	};
	return frame;
}

static struct frame *pool_alloc(void *context)
{
	struct frame_mbuf_pool *pool = context;

	return alloc_from(pool->mempool, pool->worker);
}

static struct frame *pool_alloc_large(void *context)
{
	struct frame_mbuf_pool *pool = context;

	return alloc_from(pool->large, pool->worker);
}

static void pool_free(void *context, struct frame *frame)
{
	(void)context;
	rte_pktmbuf_free(mbuf_of(frame));
}

void frame_mbuf_pool_init(struct frame_mbuf_pool *pool, struct rte_mempool *mempool,
			  struct rte_mempool *large, uint16_t worker)
{
	pool->pool = (struct frame_pool){.context = pool,
					 .alloc = pool_alloc,
					 .alloc_large = large ? pool_alloc_large : NULL,
					 .free = pool_free};
	pool->mempool = mempool;
	pool->large = large;
	pool->worker = worker;
}

struct frame *frame_from_mbuf(struct rte_mbuf *packet, uint16_t port, uint16_t worker)
{
	struct frame *frame = frame_of(packet);
	uint16_t flags = 0;

	if (packet->nb_segs != 1) {
		rte_pktmbuf_free(packet);
		return NULL;
	}
	uint64_t ip = packet->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
	uint64_t l4 = packet->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;

	if (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
		flags |= FRAME_RX_IP_CHECKSUM_GOOD;
	if (l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		flags |= FRAME_RX_L4_CHECKSUM_GOOD;
	if (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD || l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD)
		flags |= FRAME_RX_CHECKSUM_BAD;
	if (packet->ol_flags & RTE_MBUF_F_RX_RSS_HASH)
		flags |= FRAME_RX_HASH;
	*frame = (struct frame){
		.data = rte_pktmbuf_mtod(packet, uint8_t *),
		.length = packet->data_len,
		.capacity = packet->data_len,
		.port = port,
		.flags = flags,
		.hash = packet->hash.rss,
		.worker = worker,
	};
	return frame;
}

struct rte_mbuf *frame_to_mbuf(struct frame *frame)
{
	struct rte_mbuf *packet = mbuf_of(frame);

	packet->data_len = frame->length;
	packet->pkt_len = frame->length;
	packet->data_off = (uint16_t)(frame->data - (uint8_t *)packet->buf_addr);
	packet->ol_flags = 0;
	if (frame->flags & (FRAME_TX_IP_CHECKSUM | FRAME_TX_TCP_CHECKSUM)) {
		/* The Ethernet header is followed by IPv4 exactly when the IP header's first nibble
		 * says so. */
		bool v4 = frame->data[frame->l2_length] >> 4 == 4;

		packet->l2_len = frame->l2_length;
		packet->l3_len = frame->l3_length;
		packet->ol_flags |= v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
		if (frame->flags & FRAME_TX_IP_CHECKSUM && v4)
			packet->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
		if (frame->flags & FRAME_TX_TCP_CHECKSUM)
			packet->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
		if (frame->tso_size > 0) {
			const uint8_t *tcp = frame->data + frame->l2_length + frame->l3_length;

			packet->l4_len = (tcp[12] >> 4) * 4;
			packet->tso_segsz = frame->tso_size;
			packet->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
		}
	}
	return packet;
}
