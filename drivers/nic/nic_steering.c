/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The three ways by which packets find their owner's queue, tried in this order: the card's hash
 * under our key, masked rules, nothing (the hand-off ring of the workers). What the card says it
 * took is read back; what it does with packets is judged by the workers' counters, and
 * nic_port_steering_failed takes the next way. nic_port_steering_retry begins again at the first: a
 * card that lost its key or table with its link takes them again.
 */
#include "drivers/nic/port_private.h"

#include <errno.h>
#include <rte_errno.h>
#include <rte_flow.h>
#include <stdio.h>
#include <string.h>

#define HASHES	     (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP)
#define RULE_ITEMS   4
#define OFFSET_TERM1 9 /* octets of the source address that an IPv6 owner's term comes from */
#define OFFSET_TERM2 11

static const char *no_key_because(const struct rte_eth_dev_info *info)
{
	if (!(info->flow_type_rss_offloads & HASHES))
		return "the device has no hash of TCP ports";
	if (info->hash_key_size < NIC_STEERING_KEY_MIN || info->hash_key_size > NIC_RSS_KEY_MAX)
		return "the device takes no hash key of 40 to 64 bytes";
	if (info->reta_size == 0 || info->reta_size % NIC_STEERING_SLOTS != 0 ||
	    info->reta_size > NIC_RETA_SIZE_MAX)
		return "the device's redirection table is not a multiple of 128";
	return NULL;
}

bool nic_steering_prepare(const struct nic_port_settings *settings,
			  const struct rte_eth_dev_info *info, struct rte_eth_conf *conf,
			  uint8_t *key, char *why)
{
	const char *no_key = no_key_because(info);

	why[0] = '\0';
	if (settings->queues < 2)
		return false;
	if (info->reta_size > 0 && (info->flow_type_rss_offloads & HASHES)) {
		/* Even under a key of its own the card spreads the load. */
		conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf->rx_adv_conf.rss_conf.rss_hf = HASHES & info->flow_type_rss_offloads;
	}
	if (no_key) {
		snprintf(why, NIC_REASON_TEXT, "%s", no_key);
		return false;
	}
	nic_steering_key(key, info->hash_key_size);
	conf->rx_adv_conf.rss_conf.rss_key = key;
	conf->rx_adv_conf.rss_conf.rss_key_len = info->hash_key_size;
	return true;
}

/* ---- The key ---- */

static bool redirect(struct nic_port *port, uint16_t size)
{
	struct rte_eth_rss_reta_entry64 reta[NIC_RETA_SIZE_MAX / RTE_ETH_RETA_GROUP_SIZE] = {0};
	struct rte_eth_rss_reta_entry64 back[NIC_RETA_SIZE_MAX / RTE_ETH_RETA_GROUP_SIZE] = {0};

	for (unsigned i = 0; i < size; i++) {
		unsigned group = i / RTE_ETH_RETA_GROUP_SIZE, at = i % RTE_ETH_RETA_GROUP_SIZE;

		reta[group].mask = back[group].mask = UINT64_MAX;
		reta[group].reta[at] = port->owner_of_slot[i % NIC_STEERING_SLOTS];
	}
	if (rte_eth_dev_rss_reta_update(port->id, reta, size) != 0)
		return false;
	int code = rte_eth_dev_rss_reta_query(port->id, back, size);

	return code == -ENOTSUP || (code == 0 && memcmp(reta, back, sizeof(reta)) == 0);
}

static bool key_was_taken(const struct nic_port *port, uint8_t size)
{
	uint8_t key[NIC_RSS_KEY_MAX], back[NIC_RSS_KEY_MAX] = {0};
	struct rte_eth_rss_conf conf = {.rss_key = back, .rss_key_len = sizeof(back)};
	int code = rte_eth_dev_rss_hash_conf_get(port->id, &conf);

	nic_steering_key(key, size);
	return code == -ENOTSUP || (code == 0 && memcmp(key, back, size) == 0);
}

static bool establish_key(struct nic_port *port, const struct rte_eth_dev_info *info, char *why)
{
	if (!key_was_taken(port, info->hash_key_size))
		snprintf(why, NIC_REASON_TEXT, "the device did not take the hash key");
	else if (!redirect(port, info->reta_size))
		snprintf(why, NIC_REASON_TEXT, "the device did not take the redirection table");
	else
		return true;
	return false;
}

/* ---- Rules ---- */

/* Packets of established outbound connections: from the ruled port, to a masked one of ours. */
static int rule(struct nic_port *port, bool v6, const struct nic_steering_rule *r, bool try_only)
{
	const struct rte_flow_attr attr = {.ingress = 1};
	const struct rte_flow_action_queue queue = {.index = r->queue};
	const struct rte_flow_action actions[] = {
		{.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &queue},
		{.type = RTE_FLOW_ACTION_TYPE_END},
	};
	struct rte_flow_item_ipv6 ip6 = {0}, ip6_mask = {0};
	const struct rte_flow_item_tcp tcp = {
		.hdr = {.src_port = rte_cpu_to_be_16(port->ruled_port),
			.dst_port = rte_cpu_to_be_16(r->value)}};
	const struct rte_flow_item_tcp tcp_mask = {
		.hdr = {.src_port = UINT16_MAX, .dst_port = rte_cpu_to_be_16(r->mask)}};
	struct rte_flow_item pattern[RULE_ITEMS] = {
		{.type = RTE_FLOW_ITEM_TYPE_ETH},
		{.type = RTE_FLOW_ITEM_TYPE_IPV4},
		{.type = RTE_FLOW_ITEM_TYPE_TCP, .spec = &tcp, .mask = &tcp_mask},
		{.type = RTE_FLOW_ITEM_TYPE_END},
	};
	struct rte_flow_error error;

	if (v6) { /* only without an address term, which a rule cannot add */
		ip6_mask.hdr.src_addr[OFFSET_TERM1] = ip6_mask.hdr.src_addr[OFFSET_TERM2] = 0x7f;
		pattern[1] = (struct rte_flow_item){
			.type = RTE_FLOW_ITEM_TYPE_IPV6, .spec = &ip6, .mask = &ip6_mask};
	}
	if (try_only)
		return rte_flow_validate(port->id, &attr, pattern, actions, &error);
	struct rte_flow *flow = rte_flow_create(port->id, &attr, pattern, actions, &error);

	if (!flow)
		return rte_errno ? -rte_errno : -EIO;
	port->flows[port->flow_count++] = flow;
	return 0;
}

static int rules(struct nic_port *port, bool v6, bool try_only)
{
	struct nic_steering_rule list[NIC_STEERING_SLOTS];
	unsigned count = nic_steering_rules(port->owner_of_slot, port->ruled_port, list);
	int code = 0;

	for (unsigned i = 0; code == 0 && i < count; i++)
		code = rule(port, v6, &list[i], try_only);
	return code;
}

static int establish_rules(struct nic_port *port)
{
	int code = port->ruled_port == 0 ? -ENOTSUP : rules(port, false, true);

	if (code == 0)
		code = rules(port, false, false);
	if (code != 0) {
		nic_steering_remove(port);
		return code;
	}
	/* IPv6 is a gain and no condition; what was taken of it stays. */
	if (rules(port, true, true) == 0)
		(void)rules(port, true, false);
	return 0;
}

void nic_steering_remove(struct nic_port *port)
{
	struct rte_flow_error error;

	while (port->flow_count > 0)
		rte_flow_destroy(port->id, port->flows[--port->flow_count], &error);
}

/* ---- Which way ---- */

static void state_way(struct nic_port *port, enum nic_steering way, const char *reason)
{
	pthread_mutex_lock(&port->lock);
	port->information.steering = way;
	snprintf(port->information.steering_reason, NIC_REASON_TEXT, "%s", reason);
	pthread_mutex_unlock(&port->lock);
}

static void next_way(struct nic_port *port, const char *why_no_key)
{
	char reason[NIC_REASON_TEXT];
	int code = establish_rules(port);

	if (code == 0) {
		state_way(port, NIC_STEERING_FLOW_RULES, why_no_key);
		return;
	}
	snprintf(reason, sizeof(reason), "%.90s; no masked rules (%s)", why_no_key,
		 rte_strerror(-code));
	state_way(port, NIC_STEERING_HAND_OFF, reason);
}

void nic_steering_establish(struct nic_port *port, const struct rte_eth_dev_info *info, bool keyed,
			    const char *why)
{
	char reason[NIC_REASON_TEXT];

	snprintf(reason, sizeof(reason), "%s", why);
	if (port->information.queues < 2)
		state_way(port, NIC_STEERING_ONE_QUEUE, "one worker");
	else if (keyed && establish_key(port, info, reason))
		state_way(port, NIC_STEERING_RSS_KEY, "the device took key and table");
	else
		next_way(port, reason);
}

/* While the port runs. @return true: the card says that it has key and table */
static bool set_key_again(struct nic_port *port, char *why)
{
	uint8_t key[NIC_RSS_KEY_MAX];
	struct rte_eth_rss_conf conf = {.rss_key = key};
	struct rte_eth_dev_info info;
	const char *no_key;
	int code = rte_eth_dev_info_get(port->id, &info);

	if (code != 0) {
		snprintf(why, NIC_REASON_TEXT, "the device does not answer: %s",
			 rte_strerror(-code));
		return false;
	}
	no_key = no_key_because(&info);
	if (no_key) {
		snprintf(why, NIC_REASON_TEXT, "%s", no_key);
		return false;
	}
	nic_steering_key(key, info.hash_key_size);
	conf.rss_key_len = info.hash_key_size;
	conf.rss_hf = HASHES & info.flow_type_rss_offloads;
	code = rte_eth_dev_rss_hash_update(port->id, &conf);
	if (code != 0) {
		snprintf(why, NIC_REASON_TEXT, "the device took no hash key while it runs: %s",
			 rte_strerror(-code));
		return false;
	}
	return establish_key(port, &info, why);
}

bool nic_port_steering_retry(struct nic_port *port)
{
	struct nic_port_information now;
	char why[NIC_REASON_TEXT] = "";
	bool keyed;

	nic_port_information(port, &now);
	if (now.steering == NIC_STEERING_ONE_QUEUE)
		return false;
	keyed = set_key_again(port, why);
	/* Rules stand before the hash, and those of before may be gone with the link. */
	nic_steering_remove(port);
	if (keyed)
		state_way(port, NIC_STEERING_RSS_KEY, "the device took key and table again");
	else
		next_way(port, why);
	return true;
}

void nic_port_steering_failed(struct nic_port *port, const char *reason)
{
	struct nic_port_information now;

	nic_port_information(port, &now);
	if (now.steering == NIC_STEERING_RSS_KEY) {
		next_way(port, reason);
	} else if (now.steering == NIC_STEERING_FLOW_RULES) {
		nic_steering_remove(port);
		state_way(port, NIC_STEERING_HAND_OFF, reason);
	}
}
