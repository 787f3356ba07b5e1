/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two stacks over a simulated link: whatever the link does, the byte stream arrives whole and all
 * memory comes home. */
#include "tests/unit/tcp/pair.h"

#define SIZE_SMALL 20000u

static uint8_t *pattern(size_t size, uint32_t seed)
{
	uint8_t *data = malloc(size);

	for (size_t i = 0; i < size; i++) {
		seed = seed * 1664525 + 1013904223;
		data[i] = (uint8_t)(seed >> 24);
	}
	return data;
}

/* Both send, the client closes when it has sent, the server when the client's end came. */
static void transfer(const struct sim_link_settings *link, struct harness_options *options,
		     uint64_t seed, size_t up, size_t down)
{
	uint8_t *up_data = pattern(up, 1), *down_data = pattern(down, 2);
	struct harness_options a = *options, b = *options;
	struct harness_connection *server;
	struct net_gauges gauges;
	struct pair p;

	a.seed = seed * 2;
	b.seed = seed * 2 + 1;
	p = pair_create(link, &a, b, seed * 4 + 2);
	if (!pair_run(&p, 300000000, pair_connected))
		fail_msg("seed %lu: not connected", (unsigned long)seed);
	server = p.b->accepted;
	p.client->close_when_sent = true;
	server->close_on_end = true;
	harness_send(p.client, up_data, up);
	harness_send(server, down_data, down);
	if (!pair_run(&p, UINT64_C(4000000000), pair_closed))
		fail_msg("seed %lu: not closed: %zu of %zu, %zu of %zu", (unsigned long)seed,
			 server->received_size, up, p.client->received_size, down);
	assert_int_equal(p.client->reason, TCP_CLOSED);
	assert_int_equal(server->reason, TCP_CLOSED);
	assert_int_equal(server->received_size, up);
	assert_int_equal(p.client->received_size, down);
	assert_memory_equal(server->received, up_data, up);
	assert_memory_equal(p.client->received, down_data, down);
	net_stack_gauges(p.a->stack, &gauges);
	assert_int_equal(gauges.connections, 0);
	assert_int_equal(gauges.half_open, 0);
	net_stack_gauges(p.b->stack, &gauges);
	assert_int_equal(gauges.connections, 0);
	assert_int_equal(chunk_pool_available(p.a->chunks), chunk_pool_count(p.a->chunks));
	assert_int_equal(chunk_pool_available(p.b->chunks), chunk_pool_count(p.b->chunks));
	pair_destroy(&p);
	free(up_data);
	free(down_data);
}

static void a_perfect_link_carries_both_streams(void **state)
{
	struct harness_options v4 = {0}, v6 = {.v6 = true}, vlan = {.vlan = 7},
			       offload = {.offload = true};
	struct sim_link_settings link = {.delay_us = 1000};

	transfer(&link, &v4, 1, 1000000, 1000000);
	transfer(&link, &v6, 2, 1000000, 100);
	transfer(&link, &vlan, 3, 100, 100000);
	transfer(&link, &offload, 4, 100000, 100000);
	transfer(&link, &v4, 5, 1, 1);
}

static void loss_reordering_and_duplication_lose_nothing(void **state)
{
	struct sim_link_settings link = {
		.delay_us = 25000, .loss = 0.02, .reorder = 0.05, .duplicate = 0.01};

	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct harness_options options = {.v6 = seed % 2 == 0};

		transfer(&link, &options, seed, SIZE_SMALL + seed * 1000, SIZE_SMALL);
	}
}

static void corruption_is_never_delivered(void **state)
{
	struct sim_link_settings link = {.delay_us = 5000, .corrupt = 0.05, .jitter_us = 2000};

	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct harness_options options = {.v6 = seed % 2 == 0};

		transfer(&link, &options, seed, SIZE_SMALL, SIZE_SMALL);
	}
}

static void bursts_of_loss_and_a_narrow_link_are_survived(void **state)
{
	struct sim_link_settings link = {.delay_us = 50000,
					 .rate_bits = 5000000,
					 .queue_packets = 20,
					 .burst_enter = 0.005,
					 .burst_leave = 0.3,
					 .reorder = 0.02};

	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct harness_options options = {.v6 = seed % 2 == 0};

		transfer(&link, &options, seed, 200000, SIZE_SMALL);
	}
}

static void a_fifth_lost_still_ends(void **state)
{
	struct sim_link_settings link = {.delay_us = 10000, .loss = 0.2, .duplicate = 0.1};

	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct harness_options options = {0};

		transfer(&link, &options, seed, SIZE_SMALL, SIZE_SMALL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_perfect_link_carries_both_streams),
		cmocka_unit_test(loss_reordering_and_duplication_lose_nothing),
		cmocka_unit_test(corruption_is_never_delivered),
		cmocka_unit_test(bursts_of_loss_and_a_narrow_link_are_survived),
		cmocka_unit_test(a_fifth_lost_still_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
