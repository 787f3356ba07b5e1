/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One port: its queues, offloads, steering and statistics. See nic.h. */
#include "drivers/nic/port_private.h"

#include <errno.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How often a port is polled once more between arming its interrupt and sleeping. */
#define WAIT_EVENTS 8

/* The name that rte_eth_dev_get_port_by_name knows a device by. */
static void device_name(const char *device, char *name, size_t size)
{
	snprintf(name, size, "%s", device);
	name[strcspn(name, ",")] = '\0';
	if (strchr(name, ':') && strchr(name, '.') && strchr(name, ':') == strrchr(name, ':')) {
		char full[64];

		snprintf(full, sizeof(full), "0000:%.50s", name);
		snprintf(name, size, "%s", full);
	}
}

static int fail(char *error, const struct nic_port_settings *settings, const char *what, int code)
{
	snprintf(error, NIC_ERROR_TEXT, "port %s (%.100s): %s: %s", settings->name,
		 settings->device, what, rte_strerror(-code));
	return code;
}

static int set_up_queues(uint16_t id, const struct nic_port_settings *settings,
			 const struct rte_eth_dev_info *info, char *error)
{
	uint16_t rx = settings->rx_descriptors, tx = settings->tx_descriptors;
	int code = rte_eth_dev_adjust_nb_rx_tx_desc(id, &rx, &tx);

	if (code < 0 && code != -ENOTSUP)
		return fail(error, settings, "descriptor counts", code);
	for (uint16_t q = 0; q < settings->queues; q++) {
		struct rte_eth_txconf tx_conf = info->default_txconf;

		code = rte_eth_rx_queue_setup(id, q, rx, SOCKET_ID_ANY, NULL, settings->pools[q]);
		if (code < 0)
			return fail(error, settings, "receive queue", code);
		code = rte_eth_tx_queue_setup(id, q, tx, SOCKET_ID_ANY, &tx_conf);
		if (code < 0)
			return fail(error, settings, "transmit queue", code);
	}
	return 0;
}

static int check_limits(const struct nic_port_settings *settings,
			const struct rte_eth_dev_info *info, char *error)
{
	if (settings->queues <= info->max_rx_queues && settings->queues <= info->max_tx_queues)
		return 0;
	snprintf(
		error, NIC_ERROR_TEXT,
		"port %s (%.100s): %u workers need as many queues; the device has %u for receiving and %u for sending",
		settings->name, settings->device, settings->queues, info->max_rx_queues,
		info->max_tx_queues);
	return -E2BIG;
}

/* net_tap cuts in software, IPv4 only, and takes no segment that is longer than its MTU with the
 * Ethernet header counted in: its MTU must be larger than ours, and cannot be for 1500. */
#define TAP_EXTRA (RTE_ETHER_HDR_LEN + 4u)

static void choose_segmentation(const struct nic_port_settings *settings,
				const struct rte_eth_dev_info *info,
				struct nic_port_information *out, uint16_t *mtu)
{
	bool tap = strcmp(info->driver_name, "net_tap") == 0;

	*mtu = settings->mtu;
	/* The port cuts what it also has to sum. */
	out->tx_segmentation = settings->segmentation && out->tx_ip_checksum &&
			       out->tx_tcp_checksum &&
			       (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_TCP_TSO);
	if (tap &&
	    settings->mtu + TAP_EXTRA + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN > info->max_rx_pktlen)
		out->tx_segmentation = false;
	out->tx_segmentation6 = out->tx_segmentation && !tap;
	if (tap && out->tx_segmentation)
		*mtu = (uint16_t)(settings->mtu + TAP_EXTRA);
}

static int configure(struct nic_port *port, const struct nic_port_settings *settings, char *error)
{
	struct nic_port_information *out = &port->information;
	struct rte_eth_dev_info info;
	struct rte_eth_conf conf = {0};
	uint8_t key[NIC_RSS_KEY_MAX];
	char why[NIC_REASON_TEXT];
	uint16_t id = port->id, mtu;
	int code = rte_eth_dev_info_get(id, &info);

	if (code < 0)
		return fail(error, settings, "no information", code);
	code = check_limits(settings, &info, error);
	if (code < 0)
		return code;
	out->rx_checksum = (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_TCP_CKSUM) &&
			   (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM);
	out->tx_ip_checksum = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	out->tx_tcp_checksum = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
	choose_segmentation(settings, &info, out, &mtu);
	if (out->tx_segmentation)
		conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_TCP_TSO;
	port->prepares = out->tx_ip_checksum || out->tx_tcp_checksum;
	if (out->tx_segmentation && (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS))
		conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	if (out->rx_checksum)
		conf.rxmode.offloads |=
			RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
	if (out->tx_ip_checksum)
		conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	if (out->tx_tcp_checksum)
		conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
	bool keyed = nic_steering_prepare(settings, &info, &conf, key, why);

	conf.intr_conf.rxq = settings->rx_interrupts;
	code = rte_eth_dev_configure(id, settings->queues, settings->queues, &conf);
	if (code < 0 && settings->rx_interrupts) {
		conf.intr_conf.rxq = 0;
		code = rte_eth_dev_configure(id, settings->queues, settings->queues, &conf);
	}
	if (code < 0 && conf.rxmode.mq_mode == RTE_ETH_MQ_RX_RSS) {
		snprintf(why, sizeof(why), "the device was not configured with a hash: %s",
			 rte_strerror(-code));
		keyed = false;
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
		conf.rx_adv_conf.rss_conf = (struct rte_eth_rss_conf){0};
		code = rte_eth_dev_configure(id, settings->queues, settings->queues, &conf);
	}
	if (code < 0)
		return fail(error, settings, "not configured", code);
	out->rx_interrupts = conf.intr_conf.rxq;
	code = set_up_queues(id, settings, &info, error);
	if (code < 0)
		return code;
	code = rte_eth_dev_set_mtu(id, mtu);
	if (code < 0 && code != -ENOTSUP)
		return fail(error, settings, "MTU", code);
	code = rte_eth_dev_start(id);
	if (code < 0)
		return fail(error, settings, "not started", code);
	/* Several MAC multicast groups (ND) and VLANs are ours: the stack filters, not the port. */
	(void)rte_eth_promiscuous_enable(id);
	nic_steering_establish(port, &info, keyed, why);
	snprintf(out->driver, sizeof(out->driver), "%s", info.driver_name);
	return 0;
}

struct nic_port *nic_port_open(const struct nic_port_settings *settings, char *error)
{
	char name[128];
	struct nic_port *port = calloc(1, sizeof(*port));
	struct rte_ether_addr mac;

	if (!port) {
		snprintf(error, NIC_ERROR_TEXT, "port %s: no memory", settings->name);
		return NULL;
	}
	device_name(settings->device, name, sizeof(name));
	if (rte_eth_dev_get_port_by_name(name, &port->id) != 0) {
		snprintf(
			error, NIC_ERROR_TEXT,
			"port %s: DPDK has no device %.100s (is it bound to a driver that DPDK can use?)",
			settings->name, name);
		free(port);
		return NULL;
	}
	pthread_mutex_init(&port->lock, NULL);
	memcpy(port->owner_of_slot, settings->owner_of_slot, sizeof(port->owner_of_slot));
	port->ruled_port = settings->ruled_port;
	port->information.queues = settings->queues;
	if (configure(port, settings, error) < 0) {
		pthread_mutex_destroy(&port->lock);
		free(port);
		return NULL;
	}
	rte_eth_macaddr_get(port->id, &mac);
	memcpy(port->information.mac, mac.addr_bytes, 6);
	snprintf(port->information.name, sizeof(port->information.name), "%s", settings->name);
	snprintf(port->information.device, sizeof(port->information.device), "%s",
		 settings->device);
	port->information.mtu = settings->mtu;
	return port;
}

void nic_port_close(struct nic_port *port)
{
	if (!port)
		return;
	nic_steering_remove(port);
	rte_eth_dev_stop(port->id);
	rte_eth_dev_close(port->id);
	pthread_mutex_destroy(&port->lock);
	free(port);
}

void nic_port_information(const struct nic_port *port, struct nic_port_information *out)
{
	struct nic_port *p = (struct nic_port *)port;

	pthread_mutex_lock(&p->lock);
	*out = p->information;
	pthread_mutex_unlock(&p->lock);
}

bool nic_port_link_is_up(const struct nic_port *port)
{
	struct rte_eth_link link;

	return rte_eth_link_get_nowait(port->id, &link) == 0 && link.link_status;
}

void nic_port_statistics(const struct nic_port *port, struct nic_port_statistics *out)
{
	struct rte_eth_stats stats;
	struct rte_eth_link link;

	memset(out, 0, sizeof(*out));
	if (rte_eth_link_get_nowait(port->id, &link) == 0) {
		out->link_up = link.link_status;
		out->link_mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	}
	if (rte_eth_stats_get(port->id, &stats) != 0)
		return;
	out->rx_packets = stats.ipackets;
	out->tx_packets = stats.opackets;
	out->rx_bytes = stats.ibytes;
	out->tx_bytes = stats.obytes;
	out->rx_missed = stats.imissed;
	out->rx_errors = stats.ierrors;
	out->tx_errors = stats.oerrors + atomic_load_explicit(&((struct nic_port *)port)->refused,
							      memory_order_relaxed);
	out->rx_no_buffer = stats.rx_nombuf;
}

uint16_t nic_port_rx(struct nic_port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t max)
{
	uint16_t count = rte_eth_rx_burst(port->id, queue, packets, max);

	if (unlikely(atomic_load_explicit(&port->tapped, memory_order_relaxed) != 0))
		nic_capture_received(port, queue, packets, count);
	return count;
}

uint16_t nic_port_tx(struct nic_port *port, uint16_t queue, struct rte_mbuf **packets,
		     uint16_t count)
{
	uint16_t good = count;

	/* A packet that the driver cannot send as asked would block those behind it for good. */
	if (port->prepares)
		good = rte_eth_tx_prepare(port->id, queue, packets, count);
	if (unlikely(good == 0 && count > 0)) {
		rte_pktmbuf_free(packets[0]);
		atomic_fetch_add_explicit(&port->refused, 1, memory_order_relaxed);
		return 1;
	}
	count = good;
	if (unlikely(atomic_load_explicit(&port->tapped, memory_order_relaxed) != 0))
		return nic_capture_transmit(port, queue, packets, count);
	return rte_eth_tx_burst(port->id, queue, packets, count);
}

void nic_wait(struct nic_port **ports, unsigned count, uint16_t queue, uint64_t timeout_us)
{
	struct rte_epoll_event events[WAIT_EVENTS];
	bool armed = count > 0;

	for (unsigned i = 0; i < count; i++) {
		uint16_t id = ports[i]->id;

		/* Adding twice answers EEXIST, which is what we want. */
		int code = rte_eth_dev_rx_intr_ctl_q(id, queue, RTE_EPOLL_PER_THREAD,
						     RTE_INTR_EVENT_ADD, NULL);

		if ((code < 0 && code != -EEXIST) || rte_eth_dev_rx_intr_enable(id, queue) < 0)
			armed = false;
	}
	if (armed)
		rte_epoll_wait(RTE_EPOLL_PER_THREAD, events, WAIT_EVENTS,
			       (int)((timeout_us + 999) / 1000));
	else
		usleep((useconds_t)timeout_us);
	for (unsigned i = 0; i < count; i++)
		rte_eth_dev_rx_intr_disable(ports[i]->id, queue);
}

unsigned nic_list_devices(char lines[][256], unsigned max)
{
	unsigned n = 0;
	uint16_t id;

	RTE_ETH_FOREACH_DEV(id)
	{
		struct rte_eth_dev_info info;
		char name[RTE_ETH_NAME_MAX_LEN] = "?";

		if (n == max || rte_eth_dev_info_get(id, &info) != 0)
			continue;
		rte_eth_dev_get_name_by_port(id, name);
		snprintf(lines[n++], 256, "%s: driver %s, up to %u receive and %u send queues%s",
			 name, info.driver_name, info.max_rx_queues, info.max_tx_queues,
			 info.flow_type_rss_offloads ? ", RSS" : "");
	}
	return n;
}
