/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What connections cost, and what happens when a pool or a queue has no more to give. */
#include "tests/unit/tcp/dialog.h"

#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/layer.h"

static const struct tcp_layer *layer_of(const struct dialog *d)
{
	return d->h->stack->tcp;
}

/* Speak for this connection from now on. */
static void speak(struct dialog *d, struct dialog *to)
{
	struct tcp_endpoints ends;

	assert_int_equal(tcp_endpoints(d->h->stack, to->c->handle, &ends), 0);
	d->h->script_local_port = ends.local_port;
	d->h->script_remote_port = ends.remote_port;
}

/* Another connection of the same stack. */
static struct dialog another(struct dialog *d)
{
	struct dialog e = *d;
	struct script_segment syn;

	e.c = harness_connect(d->h, 25);
	assert_non_null(e.c);
	assert_true(dialog_take(&e));
	assert_int_equal(e.s.flags, S);
	e.ack = e.s.seq + 1;
	e.seq = 0x70000000;
	syn = dialog_syn(&e, S | A);
	script_feed(e.h, &syn);
	e.seq++;
	hears(&e, A, 0, 0);
	return e;
}

static void an_idle_connection_costs_320_bytes_and_holds_nothing(void **state)
{
	struct dialog d = connected(&v4, &full);

	assert_true(sizeof(struct tcb) + sizeof(struct tcb_cold) + 2 * 8 <= 320);
	assert_int_equal(layer_of(&d)->flights.used, 0);
	harness_send(d.c, bytes, 3000);
	hears(&d, A, 0, 1448);
	hears(&d, A, 1448, 1448);
	hears(&d, A, 2896, 104);
	assert_int_equal(layer_of(&d)->flights.used, 1);
	d.ack += 3000;
	says(&d, A);
	assert_int_equal(layer_of(&d)->flights.used, 0);
	assert_int_equal(layer_of(&d)->board.used, 0);
	dialog_end(&d);
}

static void without_a_flight_nothing_new_is_sent_and_acks_are(void **state)
{
	struct harness_options options = {.seed = 1, .flights = 1};
	struct dialog d = connected(&options, &full), e = another(&d);

	harness_send(d.c, bytes, 1000);
	hears(&d, A, 0, 1000);
	harness_send(e.c, bytes, 500);
	hears_nothing(&e);
	assert_true(counters(&d)->tcp_no_flight > 0);
	/* It still receives, and says so. */
	speak(&d, &e);
	says_at(&e, A, 0, bytes, 100);
	says_at(&e, A, 0, bytes, 100);
	hears(&e, A, 0, 0);
	assert_int_equal(e.c->received_size, 200);
	speak(&d, &d);
	d.ack += 1000;
	says(&d, A);
	hears(&e, A, 0, 500);
	dialog_end(&d);
}

/* What strangers do not acknowledge must not keep us from delivering. */
static void strangers_leave_the_last_to_us(struct harness *h, const uint32_t *used)
{
	struct script_segment syn = {.flags = S, .seq = 1000, .window = 65535, .mss = 1460};
	struct tcp_segment s;
	uint8_t copy[2048];

	harness_listen(h, 25);
	for (uint16_t i = 0; i < 20; i++) {
		struct script_segment ack = {.flags = A, .seq = 1001, .window = 65535};

		syn.from_port = ack.from_port = (uint16_t)(2000 + i);
		script_feed(h, &syn);
		assert_true(script_take(h, &s, copy));
		ack.ack = s.seq + 1;
		script_feed(h, &ack);
		harness_send(h->accepted, bytes, 100);
		while (script_take(h, &s, copy))
			;
	}
	assert_int_equal(*used, 14);
	assert_non_null(harness_connect(h, 25));
	assert_true(script_take(h, &s, copy));
	h->script_local_port = s.source_port;
	script_feed(h, &(struct script_segment){.flags = S | A,
						.seq = 1000,
						.ack = s.seq + 1,
						.window = 65535,
						.mss = 1460,
						.from_port = 25});
	harness_send(&h->connections[20], bytes, 100);
	while (script_take(h, &s, copy) && s.length == 0)
		;
	assert_int_equal(s.destination_port, 25);
	assert_int_equal(s.length, 100);
	harness_destroy(h);
}

static void the_last_flights_are_for_connections_that_we_opened(void **state)
{
	struct harness_options options = {.seed = 1, .flights = 16};
	struct harness *h = harness_create(&options);

	strangers_leave_the_last_to_us(h, &h->stack->tcp->flights.used);
}

static void the_last_scoreboard_blocks_are_for_connections_that_we_opened(void **state)
{
	struct harness *h = harness_create(&(struct harness_options){.seed = 1});

	h->stack->tcp->board.capacity = 16;
	strangers_leave_the_last_to_us(h, &h->stack->tcp->board.used);
}

static void a_flight_that_waits_for_a_d_sack_is_given_back_within_a_timeout(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	harness_send(d.c, bytes, 1000);
	hears(&d, A, 0, 1000);
	harness_advance(d.h, 1500000); /* probe or timeout: sent again */
	hears(&d, A, 0, 1000);
	while (dialog_take(&d))
		;
	d.ack += 1000;
	says(&d, A);
	assert_int_equal(layer_of(&d)->flights.used, 1);
	harness_advance(d.h, 5000000);
	assert_int_equal(layer_of(&d)->flights.used, 0);
	dialog_end(&d);
}

static void who_waits_for_a_full_port_costs_nothing_until_it_has_room(void **state)
{
	struct dialog d = connected(&v4, &full);
	struct net_port *port = &d.h->stack->ports[0];
	uint32_t full_by = TX_QUEUE - TX_RESERVE;

	port->tx_tail += full_by; /* frames that do not leave */
	harness_send(d.c, bytes, 1000);
	tcp_run_output(d.h->stack);
	assert_int_equal(layer_of(&d)->lists[TCB_LIST_OUTPUT].count, 0);
	assert_int_equal(layer_of(&d)->lists[TCB_LIST_PORT].count, 1);
	tcp_run_output(d.h->stack);
	assert_int_equal(layer_of(&d)->lists[TCB_LIST_OUTPUT].count, 0);
	assert_int_equal(layer_of(&d)->lists[TCB_LIST_PORT].count, 1);
	port->tx_tail -= full_by;
	hears(&d, A, 0, 1000);
	assert_int_equal(layer_of(&d)->lists[TCB_LIST_PORT].count, 0);
	dialog_end(&d);
}

static void who_waits_for_memory_is_asked_a_few_at_a_time(void **state)
{
	struct harness_options options = {.seed = 1, .flights = 1};
	struct dialog d = connected(&options, &full), others[40];
	uint64_t before;

	harness_send(d.c, bytes, 1000);
	hears(&d, A, 0, 1000);
	for (unsigned i = 0; i < 40; i++) {
		others[i] = another(&d);
		harness_send(others[i].c, bytes, 100);
	}
	tcp_run_output(d.h->stack);
	assert_int_equal(layer_of(&d)->lists[TCB_LIST_MEMORY].count, 40);
	before = counters(&d)->tcp_no_flight;
	tcp_run_output(d.h->stack);
	assert_int_equal(counters(&d)->tcp_no_flight - before, 32);
	assert_int_equal(layer_of(&d)->lists[TCB_LIST_MEMORY].count, 40);
	dialog_end(&d);
}

/* Of all that a connection can lack, and with no timer of its own running. */
static void a_worker_that_sleeps_looks_after_who_waits_for_memory(void **state)
{
	struct harness_options options = {.seed = 1, .flights = 1};
	struct dialog d = connected(&options, &full), others[40];
	uint64_t now;

	harness_advance(d.h, 10000000); /* announcements are over */
	assert_true(net_stack_next_timer(d.h->stack) > d.h->now.mono_us + 100000);
	harness_send(d.c, bytes, 1000);
	hears(&d, A, 0, 1000);
	others[0] = another(&d);
	harness_send(others[0].c, bytes, 100);
	hears_nothing(&others[0]);
	now = d.h->now.mono_us;
	assert_in_range(net_stack_next_timer(d.h->stack), now + 1, now + 1000);
	/* Who has it gives it back: the next look serves. */
	speak(&d, &d);
	d.ack += 1000;
	says(&d, A);
	hears(&others[0], A, 0, 100);
	dialog_end(&d);
}

static void of_many_who_wait_for_memory_all_are_asked_within_ten_milliseconds(void **state)
{
	struct harness_options options = {.seed = 1};
	struct dialog d = connected(&options, &full);
	struct tcb_list *list = &d.h->stack->tcp->lists[TCB_LIST_MEMORY];
	uint32_t count = list->count;
	uint64_t now;

	harness_advance(d.h, 10000000);
	for (uint32_t waiting = 1; waiting < 1000000; waiting *= 3) {
		uint64_t looks;

		list->count = waiting;
		now = d.h->stack->now_us;
		looks = (waiting + 31) / 32;
		assert_true((net_stack_next_timer(d.h->stack) - now) * looks <= 10000);
		assert_true(net_stack_next_timer(d.h->stack) - now <= 1000);
	}
	list->count = count;
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_idle_connection_costs_320_bytes_and_holds_nothing),
		cmocka_unit_test(without_a_flight_nothing_new_is_sent_and_acks_are),
		cmocka_unit_test(the_last_flights_are_for_connections_that_we_opened),
		cmocka_unit_test(the_last_scoreboard_blocks_are_for_connections_that_we_opened),
		cmocka_unit_test(a_flight_that_waits_for_a_d_sack_is_given_back_within_a_timeout),
		cmocka_unit_test(who_waits_for_a_full_port_costs_nothing_until_it_has_room),
		cmocka_unit_test(who_waits_for_memory_is_asked_a_few_at_a_time),
		cmocka_unit_test(a_worker_that_sleeps_looks_after_who_waits_for_memory),
		cmocka_unit_test(of_many_who_wait_for_memory_all_are_asked_within_ten_milliseconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
