/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ports that cut large segments: what arrives is what segments of their own would have brought,
 * whatever the link does, and with no large frame left small ones go out. */
#include "tests/unit/tcp/pair.h"

#define SIZE	 600000u
#define LIMIT_US UINT64_C(600000000)

static bool all_acknowledged(void *context)
{
	struct pair *p = context;

	return p->b->accepted->received_size == SIZE &&
	       tcp_unacknowledged(p->a->stack, p->client->handle) == 0;
}

struct result {
	struct tcp_measure measure;
	uint64_t frames;
};

static struct result transfer(const struct sim_link_settings *link,
			      const struct harness_options *how)
{
	struct harness_options a = *how,
			       b = {.seed = how->seed + 1, .v6 = how->v6, .vlan = how->vlan};
	uint8_t *data = malloc(SIZE);
	struct result result;
	struct pair p;

	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	p = pair_create(link, &a, b, how->seed + 3);
	assert_true(pair_run(&p, LIMIT_US, pair_connected));
	harness_send(p.client, data, SIZE);
	assert_true(pair_run(&p, LIMIT_US, all_acknowledged));
	assert_int_equal(tcp_measure(p.a->stack, p.client->handle, &result.measure), 0);
	result.frames = net_stack_counters(p.a->stack)->tx_frames;
	assert_int_equal(net_stack_counters(p.a->stack)->drop_no_frame, 0);
	p.b->accepted->close_on_end = true;
	harness_close(p.client);
	assert_true(pair_run(&p, LIMIT_US, pair_closed));
	assert_int_equal(p.b->accepted->received_size, SIZE);
	assert_memory_equal(p.b->accepted->received, data, SIZE);
	assert_int_equal(net_stack_counters(p.b->stack)->tcp_drop_checksum, 0);
	pair_destroy(&p);
	free(data);
	return result;
}

static const struct sim_link_settings clean = {.delay_us = 5000};

static void large_segments_bring_the_same_bytes_in_fewer_frames(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++)
		for (uint16_t vlan = 0; vlan < 8; vlan += 7) {
			struct harness_options how = {.seed = 10,
						      .v6 = v6,
						      .vlan = vlan,
						      .segmentation = true,
						      .large_frames = 1000};
			struct result r = transfer(&clean, &how);

			assert_int_equal(r.measure.retransmitted, 0);
			assert_in_range(r.measure.segments, SIZE / 1460, SIZE / 1300);
			assert_in_range(r.frames, r.measure.segments / 10, r.measure.segments / 3);
		}
}

static void paced_bursts_become_one_frame_each(void **state)
{
	struct harness_options how = {
		.seed = 10, .paced = true, .segmentation = true, .large_frames = 1000};
	struct result r = transfer(&clean, &how);

	assert_int_equal(r.measure.retransmitted, 0);
	assert_in_range(r.frames, 1, r.measure.segments * 2 / 3);
}

static void each_segment_of_a_large_one_is_lost_and_sent_again_by_itself(void **state)
{
	static const struct sim_link_settings bad = {.delay_us = 5000,
						     .jitter_us = 1000,
						     .loss = 0.02,
						     .duplicate = 0.01,
						     .reorder = 0.03};

	for (uint64_t seed = 100; seed < 120; seed += 5) {
		struct harness_options how = {.seed = seed,
					      .v6 = seed % 2,
					      .ecn = seed % 3 == 0,
					      .segmentation = true,
					      .large_frames = 1000};
		struct result r = transfer(&bad, &how);

		assert_in_range(r.measure.retransmitted, 1, r.measure.segments / 8);
	}
}

static void without_large_frames_small_ones_go_out_and_nothing_counts_as_lost(void **state)
{
	for (uint32_t large = 0; large < 3; large++) {
		struct harness_options how = {
			.seed = 10, .segmentation = true, .large_frames = large};
		struct result r = transfer(&clean, &how);

		assert_int_equal(r.measure.retransmitted, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(large_segments_bring_the_same_bytes_in_fewer_frames),
		cmocka_unit_test(paced_bursts_become_one_frame_each),
		cmocka_unit_test(each_segment_of_a_large_one_is_lost_and_sent_again_by_itself),
		cmocka_unit_test(without_large_frames_small_ones_go_out_and_nothing_counts_as_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
