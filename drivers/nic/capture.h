/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Packet capture of ports to a pcapng file: a filter that libpcap compiles and DPDK's BPF runs,
 * copies by rte_pcapng, a ring from each queue's worker to the one thread that writes.
 *
 * Threads: one control thread opens, attaches, writes, detaches and closes a capture. While it is
 * attached, each queue's worker copies matching packets in nic_port_rx and nic_port_tx; what finds
 * no buffer or no room in its ring is counted and not copied: a capture never delays a worker. Off,
 * it costs the workers one predictable branch a burst. A packet is as on the wire, but for
 * checksums and segments that the port is still to make. Memory: a pool and rings of its own, taken
 * at open and given back at close.
 */
#ifndef MILLRACE_DRIVERS_NIC_CAPTURE_H
#define MILLRACE_DRIVERS_NIC_CAPTURE_H

#include "drivers/nic/nic.h"

#define NIC_CAPTURES_MAX 4 /**< attached at a time */

struct nic_capture;

struct nic_capture_settings {
	struct nic_port *const *ports;
	unsigned port_count;
	uint16_t queues;
	const char *filter; /**< pcap-filter(7); "": every packet */
	int fd;		    /**< an empty file for writing; the capture closes it */
	uint64_t size_max;  /**< bytes of file */
	const char *comment;
};

/** @param error NIC_ERROR_TEXT bytes @return NULL on error, and fd stays the caller's */
struct nic_capture *nic_capture_open(const struct nic_capture_settings *settings, char *error);
/** Begin to copy. @return 0 or -EBUSY as many are attached as can be */
int nic_capture_attach(struct nic_capture *capture);
/** Copy no more. Workers may still be at it until each has begun another turn: see to that before
 * nic_capture_close. */
void nic_capture_detach(struct nic_capture *capture);
/**
 * Write what was copied.
 * @return packets written; -EFBIG the file has its size; or the file's negative errno (-ENOSPC …),
 * and the file ends behind the last whole packet
 */
int nic_capture_write(struct nic_capture *capture);
/** Detached, and no worker at it. Closes the file. */
void nic_capture_close(struct nic_capture *capture);

struct nic_capture_statistics {
	uint64_t packets; /**< in the file */
	uint64_t bytes;	  /**< of the file */
	uint64_t missed;  /**< matched, and there was no buffer or no room in the ring */
};
/** From any thread. */
void nic_capture_statistics(const struct nic_capture *capture, struct nic_capture_statistics *out);
/** Whether a filter is sound. @param error NIC_ERROR_TEXT bytes */
bool nic_capture_filter_good(const char *filter, char *error);

#endif
