/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DPDK's environment, the frames of each worker, and the ports, as configured; before the workers
 * begin. */
#include "control/daemon/appliance.h"

#include <errno.h>
#include <stdio.h>

/* Of DPDK's memory; the rest is for its own structures. */
#define FRAME_MEMORY_PERCENT 60
#define FRAME_BYTES	     3072 /* with mempool's own, and what page ends cost */
#define FRAMES_MIN	     4096
#define LARGE_FRAMES	     255 /* a worker's, of 12 KiB: what a port holds of them at a time */
#define FRAMES_MAX	     65536

static uint32_t frames_per_worker(const struct configuration *configuration)
{
	const struct config_system *system = config_system(configuration);
	uint64_t bytes = system->memory_bytes / 100 * FRAME_MEMORY_PERCENT / system->worker_count;
	uint64_t frames = bytes / FRAME_BYTES, least = FRAMES_MIN;
	const struct config_port *ports;
	unsigned count = config_ports(configuration, &ports);

	if (frames > FRAMES_MAX)
		frames = FRAMES_MAX;
	/* Full receive and transmit queues must leave some. */
	for (unsigned i = 0; i < count; i++)
		least += ports[i].rx_descriptors + ports[i].tx_descriptors;
	return (uint32_t)(frames > least ? frames : least);
}

static int start_environment(const struct configuration *configuration, char *error)
{
	const struct config_system *system = config_system(configuration);
	const struct config_port *ports;
	const char *devices[NET_PORTS_MAX];
	unsigned count = config_ports(configuration, &ports);
	char prefix[32];

	for (unsigned i = 0; i < count; i++)
		devices[i] = ports[i].device;
	snprintf(prefix, sizeof(prefix), "millrace%u", system->node_id);
	struct nic_environment environment = {
		.program = "millraced",
		.hugepages = system->hugepages,
		.memory_mib = (uint32_t)(system->memory_bytes >> 20),
		.file_prefix = prefix,
		.device_count = count,
		.devices = devices,
	};
	return nic_environment_start(&environment, error);
}

/* Large frames only where a port cuts them. */
static int make_frames(struct appliance *appliance, struct rte_mempool **pools, char *error)
{
	bool large = false;

	for (unsigned i = 0; i < appliance->port_count; i++) {
		struct nic_port_information info;

		nic_port_information(appliance->ports[i], &info);
		large |= info.tx_segmentation;
	}
	for (unsigned i = 0; i < appliance->worker_count; i++) {
		struct rte_mempool *pool = NULL;

		if (large)
			pool = nic_large_pool_create(i, LARGE_FRAMES, sizeof(struct frame),
						     FRAME_LARGE, error);
		if (large && !pool)
			return -ENOMEM;
		frame_mbuf_pool_init(&appliance->workers[i].frames, pools[i], pool, (uint16_t)i);
	}
	return 0;
}

int appliance_open_ports(struct appliance *appliance, char *error)
{
	const struct config_system *system = config_system(appliance->configuration);
	struct rte_mempool *pools[WORKERS_MAX];
	uint16_t owner_of_slot[NIC_STEERING_SLOTS];
	const struct config_port *ports;
	unsigned count = config_ports(appliance->configuration, &ports);
	int code = start_environment(appliance->configuration, error);

	if (code < 0)
		return code;
	appliance->worker_count = system->worker_count;
	for (unsigned i = 0; i < appliance->worker_count; i++) {
		pools[i] = nic_pool_create(i, frames_per_worker(appliance->configuration),
					   sizeof(struct frame), error);
		if (!pools[i])
			return -ENOMEM;
	}
	for (unsigned s = 0; s < NIC_STEERING_SLOTS; s++)
		owner_of_slot[s] = net_owner(nic_steering_ports_of_slot(s), 0,
					     (uint16_t)appliance->worker_count);
	for (unsigned i = 0; i < count; i++) {
		struct nic_port_settings settings = {
			.name = ports[i].name,
			.device = ports[i].device,
			.queues = (uint16_t)appliance->worker_count,
			.pools = pools,
			.mtu = ports[i].mtu,
			.rx_descriptors = (uint16_t)ports[i].rx_descriptors,
			.tx_descriptors = (uint16_t)ports[i].tx_descriptors,
			.rx_interrupts = system->idle == IDLE_INTERRUPT,
			.owner_of_slot = owner_of_slot,
			.ruled_port = NET_STEERED_PORT,
			.segmentation = ports[i].segmentation,
		};
		appliance->ports[i] = nic_port_open(&settings, error);
		if (!appliance->ports[i])
			return -ENODEV;
		appliance->port_count++;
	}
	return make_frames(appliance, pools, error);
}
