/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inside of a port: what the files of drivers/nic share. Nobody else includes it. */
#ifndef MILLRACE_DRIVERS_NIC_PORT_PRIVATE_H
#define MILLRACE_DRIVERS_NIC_PORT_PRIVATE_H

#include "drivers/nic/capture.h"
#include "drivers/nic/nic.h"

#include <pthread.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <stdatomic.h>

#define NIC_RSS_KEY_MAX	  64
#define NIC_RETA_SIZE_MAX 1024

struct nic_port {
	uint16_t id;
	pthread_mutex_t lock; /* information, which a fall back changes */
	struct nic_port_information information;
	uint16_t owner_of_slot[NIC_STEERING_SLOTS];
	uint16_t ruled_port; /* remote port of connections that rules may steer */
	unsigned flow_count;
	struct rte_flow *flows[2 * NIC_STEERING_SLOTS];
	bool prepares; /* offloads are asked for, packet by packet: the driver looks at each before
			*/
	atomic_uint_least64_t refused; /* packets that it could not send as asked */
	atomic_uint tapped;	       /* bit i: taps[i] copies */
	struct nic_capture *_Atomic taps[NIC_CAPTURES_MAX];
};

/* --- nic_steering.c --- */
/* Choose the hash for the configuration. @param key NIC_RSS_KEY_MAX bytes that outlive it
 * @return true: our key; false: `why` says why not */
bool nic_steering_prepare(const struct nic_port_settings *settings,
			  const struct rte_eth_dev_info *info, struct rte_eth_conf *conf,
			  uint8_t *key, char *why);
/* The port runs: finish what prepare began, or take the next way; sets the port's information. */
void nic_steering_establish(struct nic_port *port, const struct rte_eth_dev_info *info, bool keyed,
			    const char *why);
void nic_steering_remove(struct nic_port *port);

/* --- capture.c; the port is tapped --- */
void nic_capture_received(struct nic_port *port, uint16_t queue, struct rte_mbuf **packets,
			  uint16_t count);
uint16_t nic_capture_transmit(struct nic_port *port, uint16_t queue, struct rte_mbuf **packets,
			      uint16_t count);

#endif
