/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "drivers/nic/capture.h"

#include "drivers/nic/port_private.h"

#include <assert.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <rte_bpf.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_pcapng.h>
#include <rte_ring.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EPB_TIME       12 /* octets before the two halves of a block's time */
#define QUEUES_MAX     64
#define SNAP_LENGTH    262144
#define PACKET_BYTES   1600 /* longer ones take several buffers */
#define BURST	       64
#define BUFFERS_MOST   8192u
#define BUFFERS_LEAST  256u
#define BLOCK_OVERHEAD 128 /* of pcapng, about: the size limit holds before a packet is written */

/* One worker's side, on lines of its own. */
struct capture_queue {
	struct rte_ring *ring;
	atomic_uint_least64_t missed;
} __attribute__((aligned(64)));

struct nic_capture {
	unsigned port_count;
	struct nic_port *ports[16];
	uint16_t queues;
	unsigned slot; /* of the ports' taps */
	struct rte_bpf *bpf;
	struct rte_bpf_jit jit;
	struct rte_mempool *pool;
	rte_pcapng_t *file;
	int fd;
	uint64_t size_max;
	atomic_uint_least64_t packets;
	atomic_uint_least64_t bytes;
	struct capture_queue queue[QUEUES_MAX];
};

/* libpcap's compiler keeps state between calls. */
static pthread_mutex_t compiler = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint serial; /* names pools apart */

/* ---- The filter ---- */

static int compile_classic(const char *filter, struct bpf_program *program, char *error)
{
	pcap_t *pcap = pcap_open_dead(DLT_EN10MB, SNAP_LENGTH);
	int code = 0;

	if (!pcap) {
		snprintf(error, NIC_ERROR_TEXT, "no memory for the filter");
		return -ENOMEM;
	}
	pthread_mutex_lock(&compiler);
	if (pcap_compile(pcap, program, filter, 1, PCAP_NETMASK_UNKNOWN) != 0) {
		snprintf(error, NIC_ERROR_TEXT, "filter: %.200s", pcap_geterr(pcap));
		code = -EINVAL;
	}
	pthread_mutex_unlock(&compiler);
	pcap_close(pcap);
	return code;
}

bool nic_capture_filter_good(const char *filter, char *error)
{
	struct bpf_program program;

	if (compile_classic(filter, &program, error) != 0)
		return false;
	pcap_freecode(&program);
	return true;
}

static int load_filter(struct nic_capture *capture, const char *filter, char *error)
{
	struct bpf_program program;
	struct rte_bpf_prm *parameters;
	int code = compile_classic(filter, &program, error);

	if (code != 0)
		return code;
	parameters = rte_bpf_convert(&program);
	pcap_freecode(&program);
	if (parameters)
		capture->bpf = rte_bpf_load(parameters);
	rte_free(parameters);
	if (!capture->bpf) {
		snprintf(error, NIC_ERROR_TEXT, "filter: DPDK's BPF does not take it: %s",
			 rte_strerror(rte_errno));
		return -EINVAL;
	}
	/* Without the compiler (no executable memory) it is interpreted. */
	if (rte_bpf_get_jit(capture->bpf, &capture->jit) != 0)
		capture->jit.func = NULL;
	return 0;
}

/* ---- Open and close ---- */

static int make_queues(struct nic_capture *capture, char *error)
{
	char name[32];
	unsigned buffers = BUFFERS_MOST;

	snprintf(name, sizeof(name), "capture_%u", atomic_fetch_add(&serial, 1));
	/* No cache: workers take, another thread gives back. */
	while (!capture->pool && buffers >= BUFFERS_LEAST) {
		capture->pool = rte_pktmbuf_pool_create(
			name, buffers - 1, 0, 0, (uint16_t)rte_pcapng_mbuf_size(PACKET_BYTES),
			SOCKET_ID_ANY);
		buffers /= 2;
	}
	for (uint16_t q = 0; capture->pool && q < capture->queues; q++) {
		ssize_t size = rte_ring_get_memsize(buffers * 2);
		struct rte_ring *ring =
			size > 0 ? aligned_alloc(RTE_CACHE_LINE_SIZE,
						 RTE_ALIGN_CEIL((size_t)size, RTE_CACHE_LINE_SIZE))
				 : NULL;

		capture->queue[q].ring = ring;
		if (!ring ||
		    rte_ring_init(ring, "capture", buffers * 2, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0)
			break;
		if (q + 1 == capture->queues)
			return 0;
	}
	snprintf(error, NIC_ERROR_TEXT, "no packet memory for a capture (system memory)");
	return -ENOMEM;
}

struct nic_capture *nic_capture_open(const struct nic_capture_settings *settings, char *error)
{
	struct nic_capture *capture = aligned_alloc(64, RTE_ALIGN_CEIL(sizeof(*capture), 64));

	if (!capture || settings->queues > QUEUES_MAX || settings->port_count > 16) {
		snprintf(error, NIC_ERROR_TEXT, "no memory for a capture");
		free(capture);
		return NULL;
	}
	memset(capture, 0, sizeof(*capture));
	capture->port_count = settings->port_count;
	for (unsigned p = 0; p < settings->port_count; p++)
		capture->ports[p] = settings->ports[p];
	capture->queues = settings->queues;
	capture->size_max = settings->size_max;
	capture->fd = -1;
	if ((settings->filter[0] && load_filter(capture, settings->filter, error) != 0) ||
	    make_queues(capture, error) != 0)
		goto failed;
	capture->file = rte_pcapng_fdopen(settings->fd, NULL, NULL, "millraced " MILLRACE_VERSION,
					  settings->comment);
	if (!capture->file) {
		snprintf(error, NIC_ERROR_TEXT, "the file cannot be written: %s",
			 rte_strerror(rte_errno));
		goto failed;
	}
	capture->fd = settings->fd;
	capture->bytes = (uint64_t)lseek(capture->fd, 0, SEEK_CUR);
	return capture;
failed:
	nic_capture_close(capture);
	return NULL;
}

void nic_capture_close(struct nic_capture *capture)
{
	if (!capture)
		return;
	for (uint16_t q = 0; q < capture->queues; q++) {
		void *packet;

		while (capture->queue[q].ring &&
		       rte_ring_dequeue(capture->queue[q].ring, &packet) == 0)
			rte_pktmbuf_free(packet);
		free(capture->queue[q].ring);
	}
	if (capture->file)
		rte_pcapng_close(capture->file); /* closes fd */
	rte_bpf_destroy(capture->bpf);
	rte_mempool_free(capture->pool);
	free(capture);
}

int nic_capture_attach(struct nic_capture *capture)
{
	uint32_t used = 0;

	for (unsigned p = 0; p < capture->port_count; p++)
		used |= atomic_load(&capture->ports[p]->tapped);
	for (capture->slot = 0; used >> capture->slot & 1; capture->slot++)
		;
	if (capture->slot >= NIC_CAPTURES_MAX)
		return -EBUSY;
	for (unsigned p = 0; p < capture->port_count; p++) {
		atomic_store_explicit(&capture->ports[p]->taps[capture->slot], capture,
				      memory_order_relaxed);
		atomic_fetch_or_explicit(&capture->ports[p]->tapped, 1u << capture->slot,
					 memory_order_release);
	}
	return 0;
}

void nic_capture_detach(struct nic_capture *capture)
{
	for (unsigned p = 0; p < capture->port_count; p++)
		atomic_fetch_and_explicit(&capture->ports[p]->tapped, ~(1u << capture->slot),
					  memory_order_release);
}

/* ---- A worker's side ---- */

static void filter_packets(const struct nic_capture *capture, struct rte_mbuf **packets,
			   unsigned count, uint64_t *matches)
{
	if (!capture->bpf) {
		for (unsigned i = 0; i < count; i++)
			matches[i] = 1;
	} else if (capture->jit.func) {
		for (unsigned i = 0; i < count; i++)
			matches[i] = capture->jit.func(packets[i]);
	} else {
		rte_bpf_exec_burst(capture->bpf, (void **)packets, matches, count);
	}
}

static void miss(struct capture_queue *queue)
{
	atomic_fetch_add_explicit(&queue->missed, 1, memory_order_relaxed);
}

static uint64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/*
 * The time of an enhanced packet block (pcapng, 4.3), in nanoseconds. DPDK 22.11's own clock jumps
 * by centuries when a time lies before its last step, which two workers make happen.
 */
static void stamp(struct rte_mbuf *copy, uint64_t ns)
{
	const uint32_t halves[2] = {(uint32_t)(ns >> 32), (uint32_t)ns};

	if (copy)
		memcpy(rte_pktmbuf_mtod_offset(copy, uint8_t *, EPB_TIME), halves, sizeof(halves));
}

static void keep(struct capture_queue *queue, struct rte_mbuf *copy)
{
	if (copy && rte_ring_enqueue(queue->ring, copy) == 0)
		return;
	rte_pktmbuf_free(copy);
	miss(queue);
}

void nic_capture_received(struct nic_port *port, uint16_t q, struct rte_mbuf **packets,
			  uint16_t count)
{
	uint32_t tapped = atomic_load_explicit(&port->tapped, memory_order_acquire);
	uint64_t now = rte_get_tsc_cycles(), ns = wall_ns(), matches[NIC_BURST_MAX];

	for (; tapped != 0; tapped &= tapped - 1) {
		struct nic_capture *capture = atomic_load_explicit(
			&port->taps[__builtin_ctz(tapped)], memory_order_relaxed);

		filter_packets(capture, packets, count, matches);
		for (uint16_t i = 0; i < count; i++) {
			struct rte_mbuf *copy;

			if (!matches[i])
				continue;
			copy = rte_pcapng_copy(port->id, q, packets[i], capture->pool, UINT32_MAX,
					       now, RTE_PCAPNG_DIRECTION_IN);
			stamp(copy, ns);
			keep(&capture->queue[q], copy);
		}
	}
}

/* Copied before the port has them, kept when it took them: what it leaves comes again. */
uint16_t nic_capture_transmit(struct nic_port *port, uint16_t q, struct rte_mbuf **packets,
			      uint16_t count)
{
	uint32_t tapped = atomic_load_explicit(&port->tapped, memory_order_acquire);
	/* Looked up once: meanwhile the slot may become another capture's, which must not get
	 * packets of this one's pool. */
	struct nic_capture *captures[NIC_CAPTURES_MAX];
	struct rte_mbuf *copies[NIC_CAPTURES_MAX][NIC_BURST_MAX];
	uint64_t matches[NIC_CAPTURES_MAX][NIC_BURST_MAX];
	uint64_t now = rte_get_tsc_cycles(), ns = wall_ns();

	for (uint32_t left = tapped; left != 0; left &= left - 1) {
		unsigned slot = (unsigned)__builtin_ctz(left);
		struct nic_capture *capture =
			atomic_load_explicit(&port->taps[slot], memory_order_relaxed);

		captures[slot] = capture;
		filter_packets(capture, packets, count, matches[slot]);
		for (uint16_t i = 0; i < count; i++) {
			copies[slot][i] =
				matches[slot][i]
					? rte_pcapng_copy(port->id, q, packets[i], capture->pool,
							  UINT32_MAX, now, RTE_PCAPNG_DIRECTION_OUT)
					: NULL;
			stamp(copies[slot][i], ns);
		}
	}
	uint16_t sent = rte_eth_tx_burst(port->id, q, packets, count);

	for (uint32_t left = tapped; left != 0; left &= left - 1) {
		unsigned slot = (unsigned)__builtin_ctz(left);

		for (uint16_t i = 0; i < count; i++) {
			if (i >= sent)
				rte_pktmbuf_free(copies[slot][i]);
			else if (matches[slot][i])
				keep(&captures[slot]->queue[q], copies[slot][i]);
		}
	}
	return sent;
}

/* ---- The writer's side ---- */

/* @return 0, or negative errno and the file is as it was before */
static int write_packets(struct nic_capture *capture, struct rte_mbuf **packets, unsigned count)
{
	uint64_t before = atomic_load_explicit(&capture->bytes, memory_order_relaxed);
	uint64_t expected = 0;

	for (unsigned i = 0; i < count; i++) {
		assert(packets[i] != NULL);
		expected += rte_pktmbuf_pkt_len(packets[i]);
	}
	errno = 0;
	ssize_t written = rte_pcapng_write_packets(capture->file, packets, (uint16_t)count);

	if (written >= 0 && (uint64_t)written == expected) {
		atomic_store_explicit(&capture->bytes, before + expected, memory_order_relaxed);
		atomic_fetch_add_explicit(&capture->packets, count, memory_order_relaxed);
		return 0;
	}
	int code = errno ? -errno : -ENOSPC; /* half written: the next one would say so */

	if (ftruncate(capture->fd, (off_t)before) == 0)
		lseek(capture->fd, (off_t)before, SEEK_SET);
	return code;
}

/* How many of them the file still may take. */
static unsigned fitting(const struct nic_capture *capture, struct rte_mbuf **packets,
			unsigned count)
{
	uint64_t size = atomic_load_explicit(&capture->bytes, memory_order_relaxed);

	for (unsigned i = 0; i < count; i++) {
		assert(packets[i] != NULL);
		size += rte_pktmbuf_pkt_len(packets[i]);
		if (size + BLOCK_OVERHEAD > capture->size_max)
			return i;
	}
	return count;
}

int nic_capture_write(struct nic_capture *capture)
{
	int total = 0;

	for (uint16_t q = 0; q < capture->queues; q++) {
		struct rte_mbuf *packets[BURST] = {NULL};
		unsigned count = rte_ring_dequeue_burst(capture->queue[q].ring, (void **)packets,
							BURST, NULL);
		unsigned fit = fitting(capture, packets, count);
		int code = fit > 0 ? write_packets(capture, packets, fit) : 0;

		/* rte_pcapng_write_packets frees none, though its manual says so. */
		rte_pktmbuf_free_bulk(packets, count);
		if (code == 0 && fit < count)
			code = -EFBIG;
		if (code != 0)
			return code;
		total += (int)count;
	}
	return total;
}

void nic_capture_statistics(const struct nic_capture *capture, struct nic_capture_statistics *out)
{
	out->packets = atomic_load_explicit(&capture->packets, memory_order_relaxed);
	out->bytes = atomic_load_explicit(&capture->bytes, memory_order_relaxed);
	out->missed = 0;
	for (uint16_t q = 0; q < capture->queues; q++)
		out->missed +=
			atomic_load_explicit(&capture->queue[q].missed, memory_order_relaxed);
}
