/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Segments are spaced in time, a destination's connections share one bucket, and what was learnt of
 * a destination serves the next connection (RFC 9040, RFC 8961).
 */
#include "dataplane/tcp/destination.h"
#include "dataplane/tcp/internal.h"
#include "tests/unit/tcp/dialog.h"

#define MSS 1448u

static const struct harness_options paced = {.paced = true, .chunks = 4096};

/* A connection whose handshake took rtt_us, with timestamps and SACK. */
static struct dialog open_after(const struct harness_options *options, uint64_t rtt_us)
{
	struct dialog d = connecting(options, &full);
	struct script_segment syn = dialog_syn(&d, S | A);

	harness_advance(d.h, rtt_us);
	script_feed(d.h, &syn);
	d.seq++;
	hears(&d, A, 0, 0);
	return d;
}

static struct tcb *tcb_at(struct dialog *d)
{
	return tcb_of(d->h->stack, d->c->handle);
}

/* Data segments that come now. */
static unsigned burst(struct dialog *d)
{
	unsigned count = 0;

	while (dialog_take(d))
		count += d->s.length > 0;
	return count;
}

struct train {
	unsigned segments;
	unsigned longest; /* burst */
	uint64_t last_us; /* when the last segment left, from now */
};

/* What leaves within so long, looking whenever the stack says that it has something to do. */
static struct train watch(struct dialog *d, uint64_t limit_us)
{
	uint64_t start = d->h->now.mono_us, end = start + limit_us;
	struct train t = {0};

	for (;;) {
		unsigned count = burst(d);
		uint64_t next = net_stack_next_timer(d->h->stack);

		t.segments += count;
		t.longest = count > t.longest ? count : t.longest;
		if (count > 0)
			t.last_us = d->h->now.mono_us - start;
		if (next > end)
			return t;
		harness_advance(d->h, next > d->h->now.mono_us ? next - d->h->now.mono_us : 1);
	}
}

static void rfc_6928_the_first_window_leaves_at_once(void **state)
{
	struct dialog d = open_after(&paced, 100000);
	struct train t;

	harness_send(d.c, bytes, 60000);
	t = watch(&d, 90000);
	assert_int_equal(t.segments, 10);
	assert_int_equal(t.longest, 10);
	assert_int_equal(t.last_us, 0);
	dialog_end(&d);
}

static void bbr_s_first_window_leaves_at_once_too(void **state)
{
	struct dialog d = open_after(&paced, 100000);

	assert_int_equal(tcp_set_congestion(d.h->stack, d.c->handle, TCP_BBR), 0);
	harness_send(d.c, bytes, 60000);
	assert_int_equal(burst(&d), 10);
	dialog_end(&d);
}

static void slow_start_sends_at_twice_the_window_in_a_round_trip(void **state)
{
	struct dialog d = open_after(&paced, 100000);
	struct train t;

	tcb_at(&d)->cwnd = 40 * MSS;
	harness_send(d.c, bytes, 60000);
	t = watch(&d, 90000);
	assert_int_equal(t.segments, 40);
	assert_in_range(t.last_us, 30000, 45000); /* those after the tenth at 800 a second */
	dialog_end(&d);
}

static void rfc_9002_7_7_no_burst_is_longer_than_an_initial_window(void **state)
{
	struct dialog d = open_after(&paced, 100000);
	struct train t;

	for (unsigned pass = 0; pass < 2; pass++) { /* in slow start, and after it */
		tcb_at(&d)->cwnd = 40 * MSS;
		if (pass == 1)
			tcb_at(&d)->ssthresh = 40 * MSS;
		harness_send(d.c, bytes, 40 * MSS);
		t = watch(&d, 90000);
		assert_int_equal(t.segments, 40);
		assert_int_equal(t.longest, 10);
		acks(&d, 40 * MSS, 0, NULL);
		d.ack += 40 * MSS;
		assert_int_equal(burst(&d), 0);
	}
	dialog_end(&d);
}

/* Each ACK for two segments lets out four, as it comes, up to what a pause has saved. */
static void acks_clock_slow_start_and_pacing_does_not_hold_it_up(void **state)
{
	struct dialog d = open_after(&paced, 100000);

	harness_send(d.c, bytes, 60000);
	assert_int_equal(burst(&d), 10);
	harness_advance(d.h, 100000);
	for (unsigned i = 1; i <= 2; i++) {
		acks(&d, 2 * i * MSS, 0, NULL);
		assert_int_equal(burst(&d), 4);
		harness_advance(d.h, 240);
	}
	dialog_end(&d);
}

static void what_later_acks_let_out_at_once_is_a_millisecond_s_worth(void **state)
{
	struct dialog d = open_after(&paced, 100000);

	tcb_at(&d)->cwnd = tcb_at(&d)->ssthresh = 20 * MSS;
	harness_send(d.c, bytes, 60000);
	assert_int_equal(watch(&d, 90000).segments, 20);
	harness_advance(d.h, 60000);
	acks(&d, 10 * MSS, 0, NULL);
	assert_int_equal(burst(&d), 2);
	dialog_end(&d);
}

static void the_stack_asks_to_be_called_when_pacing_allows(void **state)
{
	struct dialog d = open_after(&paced, 100000);
	uint64_t next;

	tcb_at(&d)->cwnd = 40 * MSS;
	harness_send(d.c, bytes, 60000);
	assert_int_equal(burst(&d), 10);
	next = net_stack_next_timer(d.h->stack);
	assert_in_range(next - d.h->now.mono_us, 1, 2600); /* 800 a second, in twos */
	dialog_end(&d);
}

/* --- times of 32 bits, and waits that end --- */
/* The peer answers each probe and its window stays shut, so that nothing moves for 40 minutes; 32
 * bits of microseconds change their sign after 35. */
static void a_pause_of_forty_minutes_does_not_look_like_a_deadline(void **state)
{
	struct dialog d = open_after(&paced, 100000);
	uint64_t end;

	harness_send(d.c, bytes, 60000);
	assert_int_equal(burst(&d), 10);
	harness_advance(d.h, 100000);
	d.window = 0; /* shrunk: the rest of the flight is in the way of nobody else */
	acks(&d, 5 * MSS, 0, NULL);
	d.ack += 5 * MSS;
	end = d.h->now.mono_us + UINT64_C(2400000000);
	while (d.h->now.mono_us < end) {
		harness_advance(d.h, 1000000);
		while (dialog_take(&d))
			acks(&d, 0, 0, NULL);
	}
	assert_string_equal(dialog_state(&d), "ESTABLISHED");
	d.window = 65535;
	acks(&d, 5 * MSS, 0, NULL);
	d.ack += 5 * MSS;
	assert_true(watch(&d, 100000).segments > 0);
	dialog_end(&d);
}

static void who_waits_for_the_destination_gives_up_after_the_user_timeout(void **state)
{
	struct dialog d = open_after(&paced, 100000);
	struct destination *shared = destination_of(d.h->stack->tcp, tcb_at(&d));

	tcp_set_user_timeout(d.h->stack, d.c->handle, 20000000);
	harness_advance(d.h, 30000000); /* idle, which counts for nothing */
	harness_send(d.c, bytes, MSS);
	for (unsigned i = 0; i < 190; i++) { /* others always were there before */
		shared->next_us = d.h->now.mono_us + 60000000;
		assert_int_equal(burst(&d), 0);
		harness_advance(d.h, 100000);
	}
	assert_false(d.c->closed);
	for (unsigned i = 0; i < 30 && !d.c->closed; i++) {
		shared->next_us = d.h->now.mono_us + 60000000;
		assert_int_equal(burst(&d), 0);
		harness_advance(d.h, 100000);
	}
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_TIMED_OUT);
	dialog_end(&d);
}

static void a_fast_path_gets_bursts_of_a_millisecond(void **state)
{
	struct dialog d = open_after(&paced, 1000);
	struct train t;

	harness_send(d.c, bytes, 60000);
	t = watch(&d, 900);
	assert_int_equal(t.segments, 10);
	assert_int_equal(t.longest, 10);
	dialog_end(&d);
}

static void without_pacing_the_window_leaves_at_once(void **state)
{
	struct harness_options options = {.chunks = 4096};
	struct dialog d = open_after(&options, 100000);

	harness_send(d.c, bytes, 60000);
	assert_int_equal(burst(&d), 10);
	dialog_end(&d);
}

/* --- many connections to one destination --- */
#define MANY 100u

static bool all_connected(void *context)
{
	struct harness *h = context;

	for (unsigned i = 0; i < MANY; i++)
		if (!h->connections[i].connected)
			return false;
	return true;
}

static bool never(void *context)
{
	return false;
}

static void the_first_bursts_of_a_hundred_connections_share_one_bucket(void **state)
{
	struct harness_options a = {.paced = true, .chunks = 4096, .seed = 1};
	struct harness_options b = {.address = "10.0.0.2", .peer = "10.0.0.1", .seed = 2};
	struct sim_link_settings wire = {.delay_us = 50000};
	struct harness *from = harness_create(&a), *to = harness_create(&b);
	struct sim_link *there = sim_link_create(&wire, 3), *back = sim_link_create(&wire, 4);
	uint64_t before, first, later;

	harness_listen(to, 25);
	for (unsigned i = 0; i < MANY; i++)
		assert_non_null(harness_connect(from, 25));
	assert_true(harness_exchange(from, to, there, back, 5000000, all_connected, from));
	before = sim_link_counters(there)->sent;
	for (unsigned i = 0; i < MANY; i++)
		harness_send(&from->connections[i], bytes, 14480);
	harness_exchange(from, to, there, back, 20000, never, NULL);
	first = sim_link_counters(there)->sent - before;
	/* The bucket, what it lets through in 20 ms, and an ACK each of handshakes. */
	assert_in_range(first, 40, 40 + 8 + 10 + MANY);
	assert_true(net_stack_counters(from->stack)->tcp_destination_wait > 0);
	/* It grows with what is delivered, as one slow start would: all is through before long. */
	harness_exchange(from, to, there, back, 980000, never, NULL);
	later = sim_link_counters(there)->sent - before;
	assert_true(later >= MANY * 10);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(to->connections[i].received_size, 14480);
	harness_destroy(from);
	harness_destroy(to);
	sim_link_destroy(there);
	sim_link_destroy(back);
}

/* The stack's next connection to the same peer, after a handshake of rtt_us. */
static void open_another(struct dialog *d, uint64_t rtt_us)
{
	struct script_segment syn;

	d->c = harness_connect(d->h, 25);
	assert_non_null(d->c);
	assert_true(dialog_take(d));
	assert_int_equal(d->s.flags, S);
	d->ack = d->s.seq + 1;
	d->h->script_local_port = d->s.source_port;
	syn = dialog_syn(d, S | A);
	harness_advance(d->h, rtt_us);
	script_feed(d->h, &syn);
	d->seq++;
	hears(d, A, 0, 0);
}

static void a_connection_that_answers_late_does_not_hold_up_the_others(void **state)
{
	struct dialog d = open_after(&paced, 20000);

	tcb_at(&d)->srtt_us = 20000000;
	destination_sent(d.h->stack, tcb_at(&d), 10 * MSS); /* its first window */
	open_another(&d, 20000);
	harness_send(d.c, bytes, MSS);
	assert_int_equal(watch(&d, 300000).segments, 1);
	dialog_end(&d);
}

/* Those that wait are not all woken for each that may go on. */
static void a_crowd_asks_no_more_often_than_a_few(void **state)
{
	struct dialog d = open_after(&paced, 100000);
	struct destination *shared = destination_of(d.h->stack->tcp, tcb_at(&d));
	uint32_t references = shared->references;

	shared->references = 10000;
	harness_send(d.c, bytes, MSS);
	for (unsigned i = 0; i < 2000; i++) { /* there is room, and another takes it */
		shared->next_us = d.h->now.mono_us + 100500;
		assert_int_equal(burst(&d), 0);
		harness_advance(d.h, 1000);
	}
	assert_in_range(counters(&d)->tcp_destination_wait, 5, 40);
	shared->next_us = d.h->now.mono_us;
	assert_true(watch(&d, 400000).segments > 0);
	shared->references = references;
	dialog_end(&d);
}

/* --- the destination cache --- */
/* When the SYN of a new connection is sent again, microseconds. */
static uint64_t syn_again(struct harness *h)
{
	uint64_t start = h->now.mono_us;
	struct tcp_segment s;
	uint8_t copy[2048];

	assert_non_null(harness_connect(h, 25));
	assert_true(script_take(h, &s, copy));
	while (!script_take(h, &s, copy))
		harness_advance(h, 1000);
	return h->now.mono_us - start;
}

static void rfc_6298_2_1_the_syn_timer_of_an_unknown_path_is_a_second(void **state)
{
	struct harness *h = harness_create(&paced);

	assert_in_range(syn_again(h), 1000000, 1003000);
	harness_destroy(h);
}

static void rfc_8961_the_syn_timer_follows_a_known_round_trip(void **state)
{
	struct dialog d = open_after(&paced, 50000);

	harness_abort(d.c);
	assert_true(dialog_take(&d));
	/* 50 ms + 4 * 25 ms is below the least */
	assert_in_range(syn_again(d.h), 250000, 253000);
	harness_advance(d.h, 601000000); /* too old to be relied upon */
	while (dialog_take(&d))
		;
	assert_in_range(syn_again(d.h), 1000000, 1003000);
	harness_destroy(d.h);
}

static void rfc_8961_a_long_round_trip_makes_the_syn_timer_longer(void **state)
{
	struct dialog d = open_after(&paced, 600000);

	harness_abort(d.c);
	assert_true(dialog_take(&d));
	assert_in_range(syn_again(d.h), 1800000, 1803000); /* 600 + 4 * 300 ms */
	harness_destroy(d.h);
}

static void one_that_answers_late_makes_the_syn_timer_of_others_three_seconds_at_most(void **state)
{
	struct dialog d = open_after(&paced, 50000);

	tcb_at(&d)->srtt_us = 20000000;
	harness_abort(d.c);
	assert_true(dialog_take(&d));
	assert_in_range(syn_again(d.h), 3000000, 3003000);
	harness_destroy(d.h);
}

static void rfc_9040_what_a_connection_found_out_serves_the_next(void **state)
{
	struct dialog d = open_after(&paced, 50000);
	struct net_stack *stack = d.h->stack;
	struct tcb *tcb = tcb_at(&d);
	const struct destination *entry;

	tcb->ssthresh = 100 * MSS;
	tcb->flags |= TCB_REORDERING;
	destination_set_mtu(stack, tcb, 1400);
	destination_set_ecn_broken(stack, tcb);
	harness_abort(d.c);
	assert_true(dialog_take(&d));
	entry = destination_look_up(stack->tcp, &d.h->peer);
	assert_non_null(entry);
	assert_int_equal(entry->references, 0);
	assert_int_equal(entry->srtt_us, 50000);
	d.c = harness_connect(d.h, 25);
	tcb = tcb_at(&d);
	assert_int_equal(destination_mtu(stack, tcb), 1400);
	assert_true(destination_ecn_broken(stack, tcb));
	congestion_init(stack, tcb);
	destination_apply(stack, tcb);
	assert_int_equal(tcb->ssthresh, 100 * MSS);
	assert_true((tcb->flags & TCB_REORDERING) != 0);
	assert_int_equal(tcb->cwnd, congestion_initial_window(tcb));
	harness_destroy(d.h);
}

static struct ip_address numbered(uint32_t i)
{
	struct ip_address a = {{0}};

	a.bytes[0] = 0x20;
	memcpy(a.bytes + 4, &i, sizeof(i));
	a.bytes[15] = 1;
	return a;
}

static void the_cache_is_bounded_and_forgets_the_unused_that_is_oldest(void **state)
{
	struct harness_options options = {.connections = 512};
	struct harness *h = harness_create(&options);
	struct tcp_layer *layer = h->stack->tcp;
	uint32_t capacity = layer->destinations->capacity;
	struct ip_address local = numbered(1u << 30), held = numbered(0), gone = numbered(1);
	struct ip_address kept = numbered(2), neighbour = numbered(0);
	struct tcb *first = tcb_create(h->stack, &local, 1, &held, 25);

	neighbour.bytes[15] = 99; /* of the same /64 */
	destination_open(h->stack, first);
	assert_ptr_equal(destination_look_up(layer, &neighbour), destination_of(layer, first));
	for (uint32_t i = 1; i <= capacity; i++) {
		struct ip_address remote = numbered(i);
		struct tcb *tcb = tcb_create(h->stack, &local, 2, &remote, 25);

		destination_open(h->stack, tcb);
		assert_non_null(destination_of(layer, tcb));
		tcb->state = TCPS_ESTABLISHED;
		tcb_finish(h->stack, tcb, TCP_ABORTED);
	}
	assert_non_null(destination_look_up(layer, &held));
	assert_null(destination_look_up(layer, &gone));
	assert_non_null(destination_look_up(layer, &kept));
	first->state = TCPS_ESTABLISHED;
	tcb_finish(h->stack, first, TCP_ABORTED);
	harness_destroy(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_6928_the_first_window_leaves_at_once),
		cmocka_unit_test(bbr_s_first_window_leaves_at_once_too),
		cmocka_unit_test(rfc_9002_7_7_no_burst_is_longer_than_an_initial_window),
		cmocka_unit_test(acks_clock_slow_start_and_pacing_does_not_hold_it_up),
		cmocka_unit_test(what_later_acks_let_out_at_once_is_a_millisecond_s_worth),
		cmocka_unit_test(a_pause_of_forty_minutes_does_not_look_like_a_deadline),
		cmocka_unit_test(who_waits_for_the_destination_gives_up_after_the_user_timeout),
		cmocka_unit_test(slow_start_sends_at_twice_the_window_in_a_round_trip),
		cmocka_unit_test(the_stack_asks_to_be_called_when_pacing_allows),
		cmocka_unit_test(a_fast_path_gets_bursts_of_a_millisecond),
		cmocka_unit_test(without_pacing_the_window_leaves_at_once),
		cmocka_unit_test(the_first_bursts_of_a_hundred_connections_share_one_bucket),
		cmocka_unit_test(a_connection_that_answers_late_does_not_hold_up_the_others),
		cmocka_unit_test(a_crowd_asks_no_more_often_than_a_few),
		cmocka_unit_test(rfc_6298_2_1_the_syn_timer_of_an_unknown_path_is_a_second),
		cmocka_unit_test(rfc_8961_the_syn_timer_follows_a_known_round_trip),
		cmocka_unit_test(rfc_8961_a_long_round_trip_makes_the_syn_timer_longer),
		cmocka_unit_test(
			one_that_answers_late_makes_the_syn_timer_of_others_three_seconds_at_most),
		cmocka_unit_test(rfc_9040_what_a_connection_found_out_serves_the_next),
		cmocka_unit_test(the_cache_is_bounded_and_forgets_the_unused_that_is_oldest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
