/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The model of steering against the reference Toeplitz hash, the masked rules against the model,
 * and the judgement over what arrives. */
#include <rte_thash.h>
#undef US_PER_S /* DPDK's is 32 bits wide; ours comes with drivers/clock.h */

#include "dataplane/net/net.h"
#include "dataplane/steering_check.h"
#include "drivers/nic/steering.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define TUPLES	200000
#define CLIENTS 10000

struct model {
	uint8_t key[NIC_STEERING_KEY_MIN];
	uint16_t owner_of_slot[NIC_STEERING_SLOTS];
};

static struct model make_model(uint16_t workers)
{
	struct model m;

	nic_steering_key(m.key, sizeof(m.key));
	for (unsigned s = 0; s < NIC_STEERING_SLOTS; s++)
		m.owner_of_slot[s] = net_owner(nic_steering_ports_of_slot(s), 0, workers);
	return m;
}

/* What a card does: hash of the packet as it comes in, low bits into the table. */
static uint16_t queue_of(const struct model *m, const struct ip_address *remote,
			 const struct ip_address *local, uint16_t remote_port, uint16_t local_port)
{
	uint8_t bytes[36];
	uint32_t words[9], count;
	bool v4 = ip_is_v4(remote);
	unsigned size = v4 ? 4 : 16;

	memcpy(bytes, remote->bytes + 16 - size, size);
	memcpy(bytes + size, local->bytes + 16 - size, size);
	bytes[2 * size] = (uint8_t)(remote_port >> 8);
	bytes[2 * size + 1] = (uint8_t)remote_port;
	bytes[2 * size + 2] = (uint8_t)(local_port >> 8);
	bytes[2 * size + 3] = (uint8_t)local_port;
	count = (2 * size + 4) / 4;
	for (unsigned i = 0; i < count; i++)
		words[i] = (uint32_t)bytes[i * 4] << 24 | (uint32_t)bytes[i * 4 + 1] << 16 |
			   (uint32_t)bytes[i * 4 + 2] << 8 | bytes[i * 4 + 3];
	return m->owner_of_slot[rte_softrss(words, count, m->key) % NIC_STEERING_SLOTS];
}

static void random_tuple(struct mr_random *random, bool v4, struct ip_address *remote,
			 struct ip_address *local)
{
	random_bytes(random, remote, sizeof(*remote));
	random_bytes(random, local, sizeof(*local));
	if (v4) {
		*remote = ip_from_v4(random_u32(random));
		*local = ip_from_v4(random_u32(random));
	}
}

static void check_family(bool v4)
{
	struct mr_random random;
	unsigned wrong = 0;

	random_init_seed(&random, v4 ? 4 : 6);
	for (uint16_t workers = 1; workers <= 64; workers++) {
		struct model m = make_model(workers);

		for (unsigned i = 0; i < TUPLES / 64 + 1; i++) {
			struct ip_address remote, local;
			uint16_t ports[2];

			random_tuple(&random, v4, &remote, &local);
			random_bytes(&random, ports, sizeof(ports));
			wrong += queue_of(&m, &remote, &local, ports[0], ports[1]) !=
				 net_owner_of(&remote, ports[1], ports[0], workers);
		}
	}
	assert_int_equal(wrong, 0);
}

static void an_ipv4_hash_under_the_sparse_key_names_the_owner(void **state)
{
	check_family(true);
}

static void an_ipv6_hash_under_the_sparse_key_names_the_owner(void **state)
{
	check_family(false);
}

/* Clients as Linux and other hosts have them, one connection each, to one listener. */
static void ten_thousand_clients_of_one_listener_spread_within_10_percent(void **state)
{
	for (unsigned family = 0; family < 2; family++) {
		for (uint16_t workers = 2; workers <= 8; workers++) {
			struct model m = make_model(workers);
			unsigned count[8] = {0};
			struct mr_random random;

			random_init_seed(&random, workers);
			for (unsigned i = 0; i < CLIENTS; i++) {
				struct ip_address remote, local;
				uint16_t port =
					(uint16_t)(32768 + 2 * random_below(&random, 14115));

				random_tuple(&random, family == 0, &remote, &local);
				count[queue_of(&m, &remote, &local, port, 25)]++;
			}
			for (unsigned w = 0; w < workers; w++)
				assert_in_range(count[w], CLIENTS / workers * 90 / 100,
						CLIENTS / workers * 110 / 100);
		}
	}
}

static void masked_rules_match_each_port_once_and_name_its_owner(void **state)
{
	for (uint16_t workers = 1; workers <= 64; workers++) {
		struct model m = make_model(workers);
		struct nic_steering_rule rules[NIC_STEERING_SLOTS];
		unsigned count = nic_steering_rules(m.owner_of_slot, 25, rules);

		if ((workers & (workers - 1)) == 0)
			assert_int_equal(count, workers);
		assert_in_range(count, workers, NIC_STEERING_SLOTS);
		for (unsigned port = 0; port < 65536; port += 7) {
			unsigned matches = 0;

			for (unsigned i = 0; i < count; i++) {
				if ((port & rules[i].mask) != rules[i].value)
					continue;
				matches++;
				assert_int_equal(rules[i].queue,
						 net_owner((uint16_t)port, 25, workers));
			}
			assert_int_equal(matches, 1);
		}
	}
}

static void a_way_that_holds_is_kept(void **state)
{
	struct steering_check check = {0};
	struct net_arrivals now = {.home = 99000, .elsewhere = 990};
	char reason[128];

	assert_true(steering_check(&check, NIC_STEERING_RSS_KEY, &now, reason));
	now.elsewhere += STEERING_SAMPLE - 1; /* too few to judge */
	assert_true(steering_check(&check, NIC_STEERING_RSS_KEY, &now, reason));
	/* A ring promises nothing. */
	now.elsewhere += 50000;
	assert_true(steering_check(&check, NIC_STEERING_HAND_OFF, &now, reason));
	assert_true(steering_check(&check, NIC_STEERING_ONE_QUEUE, &now, reason));
}

static void a_hash_that_lies_is_found_out(void **state)
{
	struct steering_check check = {0};
	struct net_arrivals now = {.home = 100000};
	char reason[128];

	assert_true(steering_check(&check, NIC_STEERING_RSS_KEY, &now, reason));
	now.home += 500; /* what was good before does not excuse it */
	now.elsewhere += 500;
	assert_false(steering_check(&check, NIC_STEERING_RSS_KEY, &now, reason));
	assert_string_equal(reason,
			    "rss-key does not hold: 500 of 1000 packets came in at another queue");
}

static void rules_are_judged_by_the_connections_that_they_steer(void **state)
{
	struct steering_check check = {0};
	struct net_arrivals now = {.home = 10, .elsewhere = 90000, .ruled_home = 5000};
	char reason[128];

	assert_true(steering_check(&check, NIC_STEERING_FLOW_RULES, &now, reason));
	now.ruled_elsewhere += 2000;
	assert_false(steering_check(&check, NIC_STEERING_FLOW_RULES, &now, reason));
}

static void a_reload_tries_again_what_is_not_the_best_way(void **state)
{
	struct steering_check check = {0};
	struct net_arrivals now = {.home = 5000, .elsewhere = 5000};
	char reason[128];

	assert_false(steering_retry_due(&check, NIC_STEERING_HAND_OFF, true, 0, &now, 1));
	assert_true(steering_retry_due(&check, NIC_STEERING_HAND_OFF, true, 1, &now, 2));
	assert_false(steering_retry_due(&check, NIC_STEERING_HAND_OFF, true, 1, &now, 3));
	/* What came before is not held against it. */
	now.home += STEERING_SAMPLE;
	assert_true(steering_check(&check, NIC_STEERING_RSS_KEY, &now, reason));
	assert_false(steering_retry_due(&check, NIC_STEERING_RSS_KEY, true, 2, &now, 4));
	assert_true(steering_retry_due(&check, NIC_STEERING_FLOW_RULES, true, 3, &now, 5));
	assert_false(steering_retry_due(&check, NIC_STEERING_ONE_QUEUE, true, 4, &now, 6));
}

static void a_reload_while_the_link_is_down_waits_for_it(void **state)
{
	struct steering_check check = {0};
	struct net_arrivals now = {0};

	assert_false(steering_retry_due(&check, NIC_STEERING_HAND_OFF, false, 1, &now, 1));
	assert_true(steering_retry_due(&check, NIC_STEERING_HAND_OFF, true, 1, &now,
				       STEERING_RETRY_US));
}

static void a_link_that_comes_back_has_every_way_tried_again_once_a_minute(void **state)
{
	struct steering_check check = {0};
	struct net_arrivals now = {0};
	uint64_t at = 100 * US_PER_S;
	unsigned tried = 0;

	/* Up for the first time: nothing was lost. */
	assert_false(steering_retry_due(&check, NIC_STEERING_RSS_KEY, false, 0, &now, at));
	assert_false(steering_retry_due(&check, NIC_STEERING_RSS_KEY, true, 0, &now, at));
	assert_false(steering_retry_due(&check, NIC_STEERING_RSS_KEY, false, 0, &now, at));
	assert_true(steering_retry_due(&check, NIC_STEERING_RSS_KEY, true, 0, &now, at));
	for (unsigned second = 1; second <= 600; second++) {
		bool up = second % 2 != 0; /* flapping */

		at += US_PER_S;
		tried += steering_retry_due(&check, NIC_STEERING_HAND_OFF, up, 0, &now, at);
	}
	assert_in_range(tried, 9, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ipv4_hash_under_the_sparse_key_names_the_owner),
		cmocka_unit_test(an_ipv6_hash_under_the_sparse_key_names_the_owner),
		cmocka_unit_test(ten_thousand_clients_of_one_listener_spread_within_10_percent),
		cmocka_unit_test(masked_rules_match_each_port_once_and_name_its_owner),
		cmocka_unit_test(a_way_that_holds_is_kept),
		cmocka_unit_test(a_hash_that_lies_is_found_out),
		cmocka_unit_test(rules_are_judged_by_the_connections_that_they_steer),
		cmocka_unit_test(a_reload_tries_again_what_is_not_the_best_way),
		cmocka_unit_test(a_reload_while_the_link_is_down_waits_for_it),
		cmocka_unit_test(a_link_that_comes_back_has_every_way_tried_again_once_a_minute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
