/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The simulated wire does what its settings say: every measurement over it leans on that. */
#include "dataplane/net/checksum.h"
#include "tests/sim/link/link.h"
#include "tests/sim/link/nat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static uint8_t frame[2048];

static void a_full_queue_of_large_packets_drops_small_ones_and_no_earlier(void **state)
{
	static const struct sim_link_settings settings = {.rate_bits = 100000000,
							  .queue_packets = 10};
	struct sim_link *link = sim_link_create(&settings, 1);

	for (unsigned i = 0; i < 10; i++) /* one in transmission, nine wait */
		sim_link_send(link, frame, 1514, 0);
	sim_link_send(link, frame, 60, 0);
	assert_int_equal(sim_link_counters(link)->overflowed, 0);
	sim_link_send(link, frame, 60, 0);
	assert_int_equal(sim_link_counters(link)->overflowed, 1);
	sim_link_send(link, frame, 60, 122); /* the first is gone */
	assert_int_equal(sim_link_counters(link)->overflowed, 1);
	sim_link_destroy(link);
}

static void the_rate_is_what_was_asked(void **state)
{
	static const struct sim_link_settings settings = {.rate_bits = 100000000,
							  .queue_packets = 20000};
	struct sim_link *link = sim_link_create(&settings, 1);
	uint64_t last = 0;

	for (unsigned i = 0; i < 10000; i++)
		sim_link_send(link, frame, 1250, 0);
	while (sim_link_next(link) != UINT64_MAX) {
		last = sim_link_next(link);
		assert_int_equal(sim_link_receive(link, frame, last), 1250);
	}
	assert_in_range(last, 999999, 1000001); /* 100 Mbit in a second */
	sim_link_destroy(link);
}

static void a_queue_that_grows_keeps_what_waits(void **state)
{
	struct sim_link_settings settings = {.rate_bits = 8000000, .queue_packets = 2};
	struct sim_link *link = sim_link_create(&settings, 1);

	for (unsigned i = 0; i < 4; i++)
		sim_link_send(link, frame, 1000, 1000 * (uint64_t)(i / 2));
	assert_int_equal(sim_link_counters(link)->overflowed, 0);
	settings.queue_packets = 4;
	sim_link_change(link, &settings);
	sim_link_send(link, frame, 1000, 1000);
	sim_link_send(link, frame, 1000, 1000);
	assert_int_equal(sim_link_counters(link)->overflowed, 0);
	sim_link_send(link, frame, 1000, 1000);
	assert_int_equal(sim_link_counters(link)->overflowed, 1);
	sim_link_destroy(link);
}

static void losses_and_bursts_come_as_often_as_was_asked(void **state)
{
	static const struct sim_link_settings random = {.loss = 0.01};
	static const struct sim_link_settings bursts = {.burst_enter = 0.01, .burst_leave = 0.25};
	struct sim_link *one = sim_link_create(&random, 7), *other = sim_link_create(&bursts, 7);

	for (unsigned i = 0; i < 100000; i++) {
		sim_link_send(one, frame, 60, i);
		sim_link_receive(one, frame, i);
		sim_link_send(other, frame, 60, i);
		sim_link_receive(other, frame, i);
	}
	assert_in_range(sim_link_counters(one)->lost, 900, 1100);
	/* Bad for 4 packets of 104 on average. */
	assert_in_range(sim_link_counters(other)->lost, 3500, 4200);
	sim_link_destroy(one);
	sim_link_destroy(other);
}

/* The sums of a whole packet, and of its IPv4 header, come out as they did before. */
static void a_translator_adjusts_checksums_and_hides_the_old_end(void **state)
{
	static const uint8_t packet[] = {2,    0,    0,	   0,	 0,    1,    2,	   0,	 0,  0,
					 0,    2,    8,	   0, /* Ethernet */
					 0x45, 0,    0,	   40,	 0,    1,    0x40, 0,	 64, 6,
					 0x12, 0x34, 10,   0,	 0,    1,    10,   1,	 0,  2,
					 0x9c, 0x40, 0,	   25,	 1,    2,    3,	   4,	 5,  6,
					 7,    8,    0x50, 0x10, 0xff, 0xff, 0xab, 0xcd, 0,  0};
	struct sim_nat_binding b = {.inside = {ip_from_v4(0x0a000001), 40000},
				    .outside = {ip_from_v4(0x0a00ff03), 1234},
				    .peer = {ip_from_v4(0x0a010002), 25}};
	uint8_t there[sizeof(packet)], back[sizeof(packet)];
	struct sim_nat nat = {0};

	assert_true(sim_nat_rebind(&nat, &b));
	memcpy(there, packet, sizeof(packet));
	sim_nat_leave(&nat, there, sizeof(there));
	assert_memory_not_equal(there + 26, packet + 26, 4);
	assert_int_equal(there[34] << 8 | there[35], 1234);
	assert_int_equal(checksum_fold(checksum_add(0, there + 14, 20)),
			 checksum_fold(checksum_add(0, packet + 14, 20)));
	assert_int_equal(checksum_fold(checksum_add(0, there + 26, 28)),
			 checksum_fold(checksum_add(0, packet + 26, 28)));
	/* What comes back to the new end is the host's; what comes to the old one is lost. */
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *from = i == 0 ? there : packet;

		memcpy(back, from, sizeof(back));
		memcpy(back + 26, from + 30, 4);
		memcpy(back + 30, from + 26, 4);
		memcpy(back + 34, from + 36, 2);
		memcpy(back + 36, from + 34, 2);
		assert_int_equal(sim_nat_arrive(&nat, back, sizeof(back)), i == 0);
		assert_memory_equal(back + 30, packet + 26, 4);
		assert_memory_equal(back + 36, packet + 34, 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_queue_of_large_packets_drops_small_ones_and_no_earlier),
		cmocka_unit_test(the_rate_is_what_was_asked),
		cmocka_unit_test(a_queue_that_grows_keeps_what_waits),
		cmocka_unit_test(losses_and_bursts_come_as_often_as_was_asked),
		cmocka_unit_test(a_translator_adjusts_checksums_and_hides_the_old_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
