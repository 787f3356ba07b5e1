/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Frames of a simulation in a pcap file (draft-ietf-opsawg-pcap), with virtual times, for Wireshark
 * and tcptrace. */
#ifndef MILLRACE_TESTS_SIM_LINK_PCAP_H
#define MILLRACE_TESTS_SIM_LINK_PCAP_H

#include <stddef.h>
#include <stdint.h>

struct sim_pcap;

/** @return NULL: the file cannot be written */
struct sim_pcap *sim_pcap_open(const char *path);
void sim_pcap_write(struct sim_pcap *pcap, const void *frame, size_t size, uint64_t now_us);
/** Let what was written so far be in the file. */
void sim_pcap_flush(struct sim_pcap *pcap);
void sim_pcap_close(struct sim_pcap *pcap);

#endif
