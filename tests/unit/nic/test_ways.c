/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The ways of steering on a card that this test plays: what it refuses, forgets or pretends, and
 * what a second try makes of it. The linker puts the card in the place of DPDK's (--wrap).
 */
#include "drivers/nic/port_private.h"

#include <errno.h>
#include <rte_errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct {
	bool hashes;	/* it has RSS at all */
	bool keeps_key; /* it takes our key */
	bool takes_rules;
	bool has_key;
	unsigned rules;
} card;

int __wrap_rte_eth_dev_info_get(uint16_t id, struct rte_eth_dev_info *info);
int __wrap_rte_eth_dev_rss_hash_update(uint16_t id, struct rte_eth_rss_conf *conf);
int __wrap_rte_eth_dev_rss_hash_conf_get(uint16_t id, struct rte_eth_rss_conf *conf);
int __wrap_rte_eth_dev_rss_reta_update(uint16_t id, struct rte_eth_rss_reta_entry64 *reta,
				       uint16_t size);
int __wrap_rte_eth_dev_rss_reta_query(uint16_t id, struct rte_eth_rss_reta_entry64 *reta,
				      uint16_t size);
int __wrap_rte_flow_validate(uint16_t id, const struct rte_flow_attr *attr,
			     const struct rte_flow_item *pattern,
			     const struct rte_flow_action *actions, struct rte_flow_error *error);
struct rte_flow *__wrap_rte_flow_create(uint16_t id, const struct rte_flow_attr *attr,
					const struct rte_flow_item *pattern,
					const struct rte_flow_action *actions,
					struct rte_flow_error *error);
int __wrap_rte_flow_destroy(uint16_t id, struct rte_flow *flow, struct rte_flow_error *error);

int __wrap_rte_eth_dev_info_get(uint16_t id, struct rte_eth_dev_info *info)
{
	*info = (struct rte_eth_dev_info){0};
	if (card.hashes) {
		info->flow_type_rss_offloads =
			RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP;
		info->hash_key_size = 40;
		info->reta_size = 128;
	}
	return 0;
}

int __wrap_rte_eth_dev_rss_hash_update(uint16_t id, struct rte_eth_rss_conf *conf)
{
	assert_int_equal(conf->rss_key_len, 40);
	if (!card.keeps_key)
		return -ENOTSUP;
	card.has_key = true;
	return 0;
}

int __wrap_rte_eth_dev_rss_hash_conf_get(uint16_t id, struct rte_eth_rss_conf *conf)
{
	memset(conf->rss_key, 0, 40);
	if (card.has_key)
		nic_steering_key(conf->rss_key, 40);
	return 0;
}

int __wrap_rte_eth_dev_rss_reta_update(uint16_t id, struct rte_eth_rss_reta_entry64 *reta,
				       uint16_t size)
{
	return 0;
}

int __wrap_rte_eth_dev_rss_reta_query(uint16_t id, struct rte_eth_rss_reta_entry64 *reta,
				      uint16_t size)
{
	return -ENOTSUP;
}

int __wrap_rte_flow_validate(uint16_t id, const struct rte_flow_attr *attr,
			     const struct rte_flow_item *pattern,
			     const struct rte_flow_action *actions, struct rte_flow_error *error)
{
	return card.takes_rules ? 0 : -ENOTSUP;
}

struct rte_flow *__wrap_rte_flow_create(uint16_t id, const struct rte_flow_attr *attr,
					const struct rte_flow_item *pattern,
					const struct rte_flow_action *actions,
					struct rte_flow_error *error)
{
	card.rules++;
	return (struct rte_flow *)&card;
}

int __wrap_rte_flow_destroy(uint16_t id, struct rte_flow *flow, struct rte_flow_error *error)
{
	assert_true(card.rules > 0);
	card.rules--;
	return 0;
}

static struct nic_port port;

static int set_up(void **state)
{
	port = (struct nic_port){.ruled_port = 25, .information = {.queues = 2}};
	pthread_mutex_init(&port.lock, NULL);
	for (unsigned i = 0; i < NIC_STEERING_SLOTS; i++)
		port.owner_of_slot[i] = (uint16_t)(nic_steering_ports_of_slot(i) >> 1 & 1);
	memset(&card, 0, sizeof(card));
	return 0;
}

static int tear_down(void **state)
{
	nic_steering_remove(&port);
	assert_int_equal(card.rules, 0);
	pthread_mutex_destroy(&port.lock);
	return 0;
}

static void is_now(enum nic_steering way, const char *because)
{
	struct nic_port_information now;

	nic_port_information(&port, &now);
	assert_int_equal(now.steering, way);
	assert_non_null(strstr(now.steering_reason, because));
	assert_int_equal(card.rules > 0, way == NIC_STEERING_FLOW_RULES);
}

static void establish(void)
{
	struct rte_eth_dev_info info;

	__wrap_rte_eth_dev_info_get(0, &info);
	nic_steering_establish(&port, &info, card.hashes, "the device has no hash");
}

static void a_key_that_the_card_did_not_take_is_offered_again(void **state)
{
	card.hashes = true;
	establish();
	is_now(NIC_STEERING_HAND_OFF, "did not take the hash key; no masked rules");
	card.keeps_key = true;
	assert_true(nic_port_steering_retry(&port));
	is_now(NIC_STEERING_RSS_KEY, "again");
}

static void a_hash_that_did_not_hold_may_hold_later_and_its_rules_go(void **state)
{
	card.hashes = card.keeps_key = card.has_key = card.takes_rules = true;
	establish();
	is_now(NIC_STEERING_RSS_KEY, "took");
	nic_port_steering_failed(&port, "it does not hold");
	is_now(NIC_STEERING_FLOW_RULES, "it does not hold");
	assert_true(nic_port_steering_retry(&port));
	is_now(NIC_STEERING_RSS_KEY, "again");
}

static void rules_that_failed_are_tried_again_where_there_is_no_hash(void **state)
{
	card.takes_rules = true;
	establish();
	is_now(NIC_STEERING_FLOW_RULES, "no hash");
	nic_port_steering_failed(&port, "they do not hold");
	is_now(NIC_STEERING_HAND_OFF, "they do not hold");
	assert_true(nic_port_steering_retry(&port));
	is_now(NIC_STEERING_FLOW_RULES, "no hash");
	/* Again, with rules in force: none is there twice. */
	unsigned rules = card.rules;

	assert_true(nic_port_steering_retry(&port));
	assert_int_equal(card.rules, rules);
}

static void what_still_fails_says_why_each_way_failed(void **state)
{
	card.hashes = true;
	establish();
	assert_true(nic_port_steering_retry(&port));
	is_now(NIC_STEERING_HAND_OFF, "took no hash key while it runs");
	is_now(NIC_STEERING_HAND_OFF, "no masked rules");
}

static void one_queue_has_nothing_to_try(void **state)
{
	port.information.queues = 1;
	card.hashes = card.keeps_key = true;
	establish();
	assert_false(nic_port_steering_retry(&port));
	is_now(NIC_STEERING_ONE_QUEUE, "one worker");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_key_that_the_card_did_not_take_is_offered_again,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_hash_that_did_not_hold_may_hold_later_and_its_rules_go, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			rules_that_failed_are_tried_again_where_there_is_no_hash, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(what_still_fails_says_why_each_way_failed, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(one_queue_has_nothing_to_try, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
