/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the control plane asks of a worker: views that fit and views that do not, calls, draining.
 */
#include "dataplane/worker.h"

#include "dataplane/message.h"
#include "dataplane/net/local.h"
#include "dataplane/smtp/server_table.h"
#include "tests/sim/link/link.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CALLERS 4
#define CALLS	25

struct bench {
	struct mr_now now;
	struct worker_link link;
	struct sim_frame_pool *frames;
	struct worker *worker;
};

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	uint32_t slots = worker_ring_slots(16, 16);

	bench->now =
		(struct mr_now){.mono_us = US_PER_S, .wall_us = UINT64_C(1700000000) * US_PER_S};
	bench->link.to_shard = ring_create(slots, sizeof(struct record));
	bench->link.to_worker = ring_create(slots, sizeof(struct record));
	bench->frames = sim_frame_pool_create(256, 0);
	struct worker_settings settings = {
		.count = 1,
		.connections = 64,
		.server_sessions = 16,
		.client_sessions = 16,
		.paths = 16,
		.chunks = 256,
		.link = bench->link,
		.frames = sim_frame_pool_interface(bench->frames),
		.random_seed = 7,
	};
	bench->worker = worker_create(&settings, &bench->now);
	*state = bench;
	return bench->worker ? 0 : -1;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;

	worker_destroy(bench->worker);
	ring_destroy(bench->link.to_shard);
	ring_destroy(bench->link.to_worker);
	sim_frame_pool_destroy(bench->frames);
	free(bench);
	return 0;
}

static void turn(struct bench *bench, uint64_t step_us)
{
	struct frame *frames[32];
	unsigned count;

	bench->now.mono_us += step_us;
	bench->now.wall_us += step_us;
	worker_turn(bench->worker, NULL, 0, &bench->now);
	while ((count = worker_output(bench->worker, 0, frames, 32, &bench->now)) > 0)
		for (unsigned i = 0; i < count; i++)
			frame_free(sim_frame_pool_interface(bench->frames), frames[i]);
}

/* A view with as many of each; its arrays are the caller's to free with free_view. */
static struct view *make_view(unsigned ports, unsigned addresses, unsigned routes,
			      unsigned listeners, uint16_t first_tcp_port)
{
	struct view *view = aligned_alloc(64, (sizeof(*view) + 63) / 64 * 64);
	struct view_port *port = calloc(ports + 1, sizeof(*port));
	struct view_address *address = calloc(addresses + 1, sizeof(*address));
	struct view_route *route = calloc(routes + 1, sizeof(*route));
	struct view_listener *listener = calloc(listeners + 1, sizeof(*listener));

	memset(view, 0, sizeof(*view));
	for (unsigned i = 0; i < addresses; i++) {
		ip_parse("10.0.0.0", &address[i].address);
		address[i].address.bytes[14] = (uint8_t)(i >> 8);
		address[i].address.bytes[15] = (uint8_t)i;
		address[i].prefix_length = 32;
	}
	for (unsigned i = 0; i < routes; i++) {
		ip_parse("172.16.0.0", &route[i].prefix.address);
		route[i].prefix.address.bytes[14] = (uint8_t)(i >> 8);
		route[i].prefix.address.bytes[15] = (uint8_t)i;
		route[i].prefix.length = 128;
		ip_parse("10.0.0.1", &route[i].gateway);
	}
	for (unsigned i = 0; i < listeners; i++) {
		ip_parse("10.0.0.0", &listener[i].address);
		listener[i].tcp_port = (uint16_t)(first_tcp_port + i);
	}
	view->ports = port;
	view->port_count = ports;
	view->addresses = address;
	view->address_count = addresses;
	view->routes = route;
	view->route_count = routes;
	view->listeners = listener;
	view->listener_count = listeners;
	return view;
}

static void free_view(struct view *view)
{
	free((void *)(uintptr_t)view->ports);
	free((void *)(uintptr_t)view->addresses);
	free((void *)(uintptr_t)view->routes);
	free((void *)(uintptr_t)view->listeners);
	free(view);
}

static int check(unsigned ports, unsigned addresses, unsigned routes, unsigned listeners,
		 const char *said)
{
	struct view *view = make_view(ports, addresses, routes, listeners, 25);
	char error[256] = "";
	int code = worker_check_view(view, error);

	if (said)
		assert_non_null(strstr(error, said));
	free_view(view);
	return code;
}

static void a_view_that_fits_no_table_is_refused_before_it_is_published(void **state)
{
	assert_int_equal(check(1, 1, 1, 1, NULL), 0);
	assert_int_equal(check(NET_PORTS_MAX, LOCAL_ADDRESSES_MAX, ROUTES_MAX / 2,
			       SERVER_LISTENERS_MAX, NULL),
			 0);
	assert_int_equal(check(NET_PORTS_MAX + 1, 1, 1, 1, "9 ports"), -ENOBUFS);
	assert_int_equal(check(1, LOCAL_ADDRESSES_MAX + 1, 1, 1, "16385 addresses"), -ENOBUFS);
	assert_int_equal(check(1, 1, ROUTES_MAX + 1, 1, "4097 routes"), -ENOBUFS);
	assert_int_equal(check(1, 1, 1, SERVER_LISTENERS_MAX + 1, "65 listeners"), -ENOBUFS);
}

static void views_whose_listeners_all_differ_follow_one_another(void **state)
{
	struct bench *bench = *state;
	struct view *views[4];

	for (unsigned i = 0; i < 4; i++) {
		views[i] = make_view(1, 1, 1, SERVER_LISTENERS_MAX, (uint16_t)(1000 * (i + 1)));
		worker_publish_view(bench->worker, views[i]);
		turn(bench, 1000);
		assert_ptr_equal(worker_adopted_view(bench->worker), views[i]);
		/* What waits for a slot is tried again while the worker runs. */
		for (unsigned k = 0; k < 3; k++)
			turn(bench, US_PER_S);
		assert_true(worker_next_deadline(bench->worker) > bench->now.mono_us);
	}
	worker_request_drain(bench->worker);
	turn(bench, 1000);
	assert_true(worker_is_drained(bench->worker));
	tear_down(state);
	set_up(state);
	for (unsigned i = 0; i < 4; i++)
		free_view(views[i]);
}

struct caller {
	struct worker *worker;
	pthread_t thread, *owner;
	unsigned *sum;
};

static void add_one(void *argument)
{
	struct caller *caller = argument;

	/* Not atomic on purpose: only the worker's thread ever comes here. */
	assert_true(pthread_equal(pthread_self(), *caller->owner));
	++*caller->sum;
}

static void *call_often(void *argument)
{
	struct caller *caller = argument;

	for (unsigned i = 0; i < CALLS; i++)
		worker_call(caller->worker, add_one, caller);
	return NULL;
}

static void calls_of_several_threads_all_run_on_the_worker(void **state)
{
	struct bench *bench = *state;
	pthread_t owner = pthread_self();
	struct caller callers[CALLERS];
	unsigned sum = 0;

	for (unsigned i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){.worker = bench->worker, .owner = &owner, .sum = &sum};
		assert_int_equal(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]),
				 0);
	}
	while (sum < CALLERS * CALLS)
		turn(bench, 1);
	for (unsigned i = 0; i < CALLERS; i++)
		pthread_join(callers[i].thread, NULL);
	assert_int_equal(sum, CALLERS * CALLS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_view_that_fits_no_table_is_refused_before_it_is_published),
		cmocka_unit_test_setup_teardown(views_whose_listeners_all_differ_follow_one_another,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(calls_of_several_threads_all_run_on_the_worker,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
