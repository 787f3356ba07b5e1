/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a connection tells of its path is what the simulated link did. */
#include "tests/unit/tcp/pair.h"

#include <errno.h>

#define DELAY_US 20000u
#define SIZE	 600000u
#define LIMIT_US UINT64_C(300000000)

static bool all_acknowledged(void *context)
{
	struct pair *p = context;

	return p->b->accepted->received_size == SIZE &&
	       tcp_unacknowledged(p->a->stack, p->client->handle) == 0;
}

static void transfer(const struct sim_link_settings *link, bool v6, struct tcp_measure *out)
{
	struct harness_options a = {.seed = 1, .v6 = v6}, b = {.seed = 2, .v6 = v6};
	uint8_t *data = calloc(1, SIZE);
	struct pair p;

	p = pair_create(link, &a, b, 3);
	assert_true(pair_run(&p, LIMIT_US, pair_connected));
	harness_send(p.client, data, SIZE);
	assert_true(pair_run(&p, LIMIT_US, all_acknowledged));
	assert_int_equal(tcp_measure(p.a->stack, p.client->handle, out), 0);
	tcp_handle handle = p.client->handle;
	struct tcp_measure gone;

	harness_abort(p.client);
	assert_int_equal(tcp_measure(p.a->stack, handle, &gone), -ENOTCONN);
	assert_null(gone.congestion);
	pair_destroy(&p);
	free(data);
}

static void a_clean_path_shows_its_round_trip_and_no_loss(void **state)
{
	static const struct sim_link_settings link = {.delay_us = DELAY_US};

	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct tcp_measure m;

		transfer(&link, v6, &m);
		assert_int_equal(m.retransmitted, 0);
		assert_in_range(m.segments, SIZE / 1460, SIZE / 1000);
		assert_in_range(m.rtt_us, 2 * DELAY_US, 4 * DELAY_US);
		assert_in_range(m.rtt_min_us, 2 * DELAY_US, 2 * DELAY_US + 2000);
		assert_int_equal(m.pmtu, 1500);
		assert_false(m.reordering);
		assert_string_equal(m.congestion, "cubic");
	}
}

static void a_lossy_path_shows_its_loss(void **state)
{
	static const struct sim_link_settings link = {.delay_us = DELAY_US, .loss = 0.02};
	struct tcp_measure m;

	transfer(&link, false, &m);
	assert_in_range(m.retransmitted * 1000 / m.segments, 5, 80);
}

static void a_path_that_reorders_is_known_for_it(void **state)
{
	static const struct sim_link_settings link = {
		.delay_us = DELAY_US, .reorder = 0.05, .reorder_us = 15000};
	struct tcp_measure m;

	transfer(&link, false, &m);
	assert_true(m.reordering);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clean_path_shows_its_round_trip_and_no_loss),
		cmocka_unit_test(a_lossy_path_shows_its_loss),
		cmocka_unit_test(a_path_that_reorders_is_known_for_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
