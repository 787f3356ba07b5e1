/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/buf/ring.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define RECORDS 200000u

struct item {
	uint32_t number;
	uint32_t check[9];
};

static void a_full_ring_refuses_and_loses_nothing(void **state)
{
	struct ring *ring = ring_create(100, sizeof(struct item));
	struct item item = {0};
	uint32_t n = 0, seen = 0;

	(void)state;
	while (ring_put(ring, &item)) {
		item.number = ++n;
		assert_true(n < 1000);
	}
	assert_true(n >= 100);
	assert_int_equal(ring_room(ring), 0);
	assert_int_equal(ring_count(ring), n);
	while (ring_get(ring, &item))
		assert_int_equal(item.number, seen++);
	assert_int_equal(seen, n);
	ring_destroy(ring);
}

static void *produce(void *argument)
{
	struct ring *ring = argument;

	for (uint32_t i = 0; i < RECORDS; i++) {
		struct item item = {.number = i};

		for (unsigned k = 0; k < 9; k++)
			item.check[k] = i * 2654435761u + k;
		while (!ring_put(ring, &item))
			sched_yield();
	}
	return NULL;
}

static void records_cross_threads_whole_and_in_order(void **state)
{
	struct ring *ring = ring_create(64, sizeof(struct item));
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, produce, ring), 0);
	for (uint32_t i = 0; i < RECORDS; i++) {
		struct item item;

		while (!ring_get(ring, &item))
			sched_yield();
		assert_int_equal(item.number, i);
		for (unsigned k = 0; k < 9; k++)
			assert_int_equal(item.check[k], i * 2654435761u + k);
	}
	pthread_join(thread, NULL);
	ring_destroy(ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_ring_refuses_and_loses_nothing),
		cmocka_unit_test(records_cross_threads_whole_and_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
