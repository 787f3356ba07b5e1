/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Network ports over DPDK: the process's EAL, and each port's queues. The only file pair that
 * configures rte_ethdev. The simulated form of a port is tests/sim/link, which stands in
 * dataplane/worker.h's place of rx and tx bursts.
 *
 * Owner: the main thread opens and closes; queue q of every port belongs to worker q alone.
 */
#ifndef MILLRACE_DRIVERS_NIC_NIC_H
#define MILLRACE_DRIVERS_NIC_NIC_H

#include "drivers/nic/steering.h"

#include <stdbool.h>
#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;

#define NIC_ERROR_TEXT	256
#define NIC_REASON_TEXT 160
#define NIC_BURST_MAX	64

struct nic_environment {
	const char *program;
	bool hugepages;		 /**< false: ordinary memory (--no-huge) */
	uint32_t memory_mib;	 /**< DPDK memory in all */
	const char *file_prefix; /**< keeps several processes of one machine apart */
	unsigned device_count;
	const char *const *devices; /**< PCI addresses and virtual device strings, one a port */
	bool verbose;
};

/**
 * Start EAL. Once a process.
 * @param error NIC_ERROR_TEXT bytes @return 0 or negative errno
 */
int nic_environment_start(const struct nic_environment *environment, char *error);
/** Nothing to do when it did not start. */
void nic_environment_stop(void);
/** "DPDK 22.11.11" */
const char *nic_library_version(void);

/** A pool of packet buffers for one worker. @param private_size bytes before the data that are the
 * caller's */
struct rte_mempool *nic_pool_create(unsigned worker, unsigned count, uint16_t private_size,
				    char *error);

/** A pool of `count` buffers of `data_size` bytes for segments that a port is to cut. */
struct rte_mempool *nic_large_pool_create(unsigned worker, unsigned count, uint16_t private_size,
					  uint16_t data_size, char *error);

struct nic_port_settings {
	const char *name;	    /**< in the configuration, for messages */
	const char *device;	    /**< as in nic_environment */
	uint16_t queues;	    /**< one a worker */
	struct rte_mempool **pools; /**< one a queue */
	uint16_t mtu;
	uint16_t rx_descriptors;
	uint16_t tx_descriptors;
	bool rx_interrupts; /**< wanted; given where the PMD has them */
	bool segmentation;  /**< likewise */
	/** Owner of each value of the low 7 bits of the RSS hash (dataplane's net_owner), for 128
	 * redirection slots. */
	const uint16_t *owner_of_slot;
	/** Remote port of the connections that masked rules may steer where the hash cannot be had;
	 * 0: none. */
	uint16_t ruled_port;
};

struct nic_port;

/** Configure and start a port. @param error NIC_ERROR_TEXT bytes @return NULL on error */
struct nic_port *nic_port_open(const struct nic_port_settings *settings, char *error);
void nic_port_close(struct nic_port *port);

/** What a port turned out to be. */
struct nic_port_information {
	char name[64];
	char device[256];
	char driver[64];
	uint8_t mac[6];
	uint16_t mtu;
	uint16_t queues;
	bool tx_ip_checksum;
	bool tx_tcp_checksum;
	bool rx_checksum;
	bool tx_segmentation;  /**< cuts large IPv4 TCP segments (TSO) */
	bool tx_segmentation6; /**< and IPv6 ones */
	bool rx_interrupts;
	enum nic_steering steering;
	char steering_reason[NIC_REASON_TEXT]; /**< why this way and no better one */
};
/** From any thread. */
void nic_port_information(const struct nic_port *port, struct nic_port_information *out);
/** Packets do not arrive as the way in use promises: take the next one (a hand-off ring promises
 * nothing). One thread at a time, while workers run. */
void nic_port_steering_failed(struct nic_port *port, const char *reason);
/**
 * Try all ways anew, the best first: what did not hold may hold since the link came back or the
 * operator mended something. As nic_port_steering_failed. @return false: one queue needs no way
 */
bool nic_port_steering_retry(struct nic_port *port);
/** From any thread. */
bool nic_port_link_is_up(const struct nic_port *port);

struct nic_port_statistics {
	bool link_up;
	uint32_t link_mbps;
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes;
	uint64_t rx_missed, rx_errors, tx_errors, rx_no_buffer;
};
/** From any thread. */
void nic_port_statistics(const struct nic_port *port, struct nic_port_statistics *out);

/** @param max at most NIC_BURST_MAX */
uint16_t nic_port_rx(struct nic_port *port, uint16_t queue, struct rte_mbuf **packets,
		     uint16_t max);
/** @param count at most NIC_BURST_MAX
 * @return how many were taken, in order; the rest stays the caller's */
uint16_t nic_port_tx(struct nic_port *port, uint16_t queue, struct rte_mbuf **packets,
		     uint16_t count);

/** Have the calling thread known to DPDK (mempool caches). @return 0 or negative errno */
int nic_thread_register(void);
void nic_thread_unregister(void);
/** Sleep until a packet arrives on any of the ports' queues or the time is over; needs
 * rx_interrupts. */
void nic_wait(struct nic_port **ports, unsigned count, uint16_t queue, uint64_t timeout_us);

/** One line for each device DPDK can see that could be a port: `show ports available`, `--dry-run`.
 * @return lines */
unsigned nic_list_devices(char lines[][256], unsigned max);

#endif
