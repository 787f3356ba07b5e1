/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is known of a destination has an age (RFC 9040): living connections tell, what nobody has
 * seen for long is found out anew, and what was only told is no news.
 */
#include "dataplane/tcp/destination.h"
#include "dataplane/tcp/internal.h"
#include "tests/unit/tcp/dialog.h"

#define MSS    1448u
#define MINUTE UINT64_C(60000000)
#define RTT_US 50000u

/* One more connection to the same host; from now on the script speaks for it. */
static void open_one(struct dialog *d, uint32_t rtt_us)
{
	struct script_segment syn;

	d->c = harness_connect(d->h, 25);
	assert_non_null(d->c);
	assert_true(dialog_take(d));
	assert_int_equal(d->s.flags & S, S);
	d->h->script_local_port = d->s.source_port;
	d->ack = d->s.seq + 1;
	harness_advance(d->h, rtt_us);
	syn = dialog_syn(d, S | A);
	script_feed(d->h, &syn);
	d->seq++;
	hears(d, A, 0, 0);
	assert_true(d->c->connected);
}

static struct dialog begin(const struct harness_options *options)
{
	struct dialog d;

	dialog_begin(&d, options, &full);
	d.h->script_remote_port = 25;
	return d;
}

static struct tcb *tcb_at(struct dialog *d)
{
	return tcb_of(d->h->stack, d->c->handle);
}

static void end_one(struct dialog *d)
{
	harness_abort(d->c);
	while (dialog_take(d))
		;
}

/* Data goes out and is acknowledged so much later. */
static void exchange(struct dialog *d, uint32_t rtt_us)
{
	harness_send(d->c, bytes, 1000);
	hears(d, A, 0, 1000);
	harness_advance(d->h, rtt_us);
	d->ack += 1000;
	d->ts += rtt_us / 1000;
	says(d, A);
	while (dialog_take(d))
		;
}

/* When the SYN of a new connection is sent again, microseconds; then it is given up. */
static uint64_t syn_again(struct dialog *d)
{
	uint64_t start = d->h->now.mono_us;
	uint16_t spoken_for = d->h->script_local_port;
	struct harness_connection *c = harness_connect(d->h, 25);

	assert_true(dialog_take(d));
	while (!dialog_take(d))
		harness_advance(d->h, 1000);
	harness_abort(c);
	while (dialog_take(d))
		;
	d->h->script_local_port = spoken_for;
	return d->h->now.mono_us - start;
}

static const struct destination *entry(struct dialog *d)
{
	return destination_look_up(d->h->stack->tcp, &d->h->peer);
}

static void rfc_9040_a_second_connection_knows_the_round_trip_of_the_first(void **state)
{
	struct dialog d = begin(&v4);

	open_one(&d, RTT_US);
	assert_in_range(syn_again(&d), 250000, 253000); /* while the first lives */
	/* The path becomes longer, and the first goes on. */
	for (unsigned i = 0; i < 60; i++) {
		exchange(&d, 150000);
		harness_advance(d.h, 1000000);
		while (dialog_take(&d))
			;
	}
	assert_in_range(entry(&d)->srtt_us, 145000, 155000);
	dialog_end(&d);
}

static void a_living_connection_keeps_what_is_known_fresh_and_an_idle_one_does_not(void **state)
{
	struct dialog d = begin(&v4);

	open_one(&d, RTT_US);
	for (unsigned i = 0; i < 30; i++) {
		exchange(&d, RTT_US);
		harness_advance(d.h, MINUTE);
		while (dialog_take(&d))
			;
	}
	assert_in_range(syn_again(&d), 250000, 300000);
	harness_advance(d.h, 11 * MINUTE);
	end_one(&d); /* what it measured is as old as that */
	assert_in_range(syn_again(&d), 1000000, 1003000);
	dialog_end(&d);
}

static void telling_costs_once_a_second_however_many_acks_come(void **state)
{
	struct dialog d = begin(&v4);
	unsigned told = 0;

	open_one(&d, RTT_US);
	for (unsigned i = 0; i < 300; i++) {
		uint64_t before = entry(&d)->learnt_us;

		exchange(&d, 10000);
		told += entry(&d)->learnt_us != before;
	}
	assert_in_range(told, 2, 4); /* in three seconds */
	dialog_end(&d);
}

static bool offers_ecn(struct dialog *d)
{
	struct harness_connection *c = harness_connect(d->h, 25);
	bool offers;

	assert_true(dialog_take(d));
	offers = (d->s.flags & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR);
	harness_abort(c);
	return offers;
}

static void ecn_is_tried_again_an_hour_after_it_did_harm(void **state)
{
	struct harness_options options = {.seed = 1, .ecn = true};
	struct dialog d = begin(&options);

	assert_true(offers_ecn(&d));
	open_one(&d, RTT_US);
	destination_set_ecn_broken(d.h->stack, tcb_at(&d));
	for (unsigned i = 0; i < 59; i++) {
		assert_false(offers_ecn(&d));
		open_one(&d, RTT_US); /* connections that did without say nothing of it */
		end_one(&d);
		harness_advance(d.h, MINUTE);
	}
	assert_false(offers_ecn(&d));
	harness_advance(d.h, 2 * MINUTE);
	assert_true(offers_ecn(&d));
	dialog_end(&d);
}

static void reordering_is_believed_for_ten_minutes_after_it_was_seen(void **state)
{
	struct dialog d = begin(&v4);

	open_one(&d, RTT_US);
	tcb_at(&d)->flags |= TCB_REORDERING; /* as rack_deliver does */
	end_one(&d);
	for (unsigned i = 0; i < 9; i++) {
		open_one(&d, RTT_US);
		assert_true((tcb_at(&d)->flags & TCB_REORDERING) != 0);
		exchange(&d, RTT_US); /* what was told, and not seen, is no news */
		end_one(&d);
		harness_advance(d.h, MINUTE);
	}
	harness_advance(d.h, MINUTE);
	open_one(&d, RTT_US);
	assert_true((tcb_at(&d)->flags & TCB_REORDERING) == 0);
	dialog_end(&d);
}

/* Segments 2 and 3 are acknowledged before 1, which is not sent again: the path reorders. */
static void reorder(struct dialog *d)
{
	static const uint32_t behind[1][2] = {{MSS, 3 * MSS}};

	harness_send(d->c, bytes, 3 * MSS);
	while (dialog_take(d))
		;
	harness_advance(d->h, 5000);
	acks(d, 0, 1, behind);
	harness_advance(d->h, 1000);
	acks(d, 3 * MSS, 0, NULL);
	d->ack += 3 * MSS;
	while (dialog_take(d))
		;
}

static void reordering_seen_again_is_believed_for_longer(void **state)
{
	struct dialog d = begin(&v4);

	for (unsigned i = 0; i < 3; i++) {
		open_one(&d, RTT_US);
		assert_int_equal((tcb_at(&d)->flags & TCB_REORDERING) != 0, i > 0);
		reorder(&d);
		assert_true((tcb_at(&d)->flags & TCB_REORDERING) != 0);
		end_one(&d);
		harness_advance(d.h, 8 * MINUTE);
	}
	dialog_end(&d);
}

static void a_threshold_is_believed_for_ten_minutes_after_it_was_found(void **state)
{
	struct dialog d = begin(&v4);

	open_one(&d, RTT_US);
	tcb_at(&d)->ssthresh = 100 * MSS;
	end_one(&d);
	for (unsigned i = 0; i < 9; i++) {
		open_one(&d, RTT_US);
		assert_int_equal(tcb_at(&d)->ssthresh, 100 * MSS);
		end_one(&d);
		harness_advance(d.h, MINUTE);
	}
	harness_advance(d.h, MINUTE);
	open_one(&d, RTT_US);
	assert_int_equal(tcb_at(&d)->ssthresh, SSTHRESH_NONE);
	dialog_end(&d);
}

static void slow_start_that_came_further_raises_the_threshold(void **state)
{
	struct dialog d = begin(&v4);

	open_one(&d, RTT_US);
	tcb_at(&d)->ssthresh = 50 * MSS;
	end_one(&d);
	open_one(&d, RTT_US);
	tcb_at(&d)->ssthresh = SSTHRESH_NONE;
	tcb_at(&d)->cwnd = 400 * MSS;
	end_one(&d);
	open_one(&d, RTT_US);
	assert_int_equal(tcb_at(&d)->ssthresh, 200 * MSS);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_9040_a_second_connection_knows_the_round_trip_of_the_first),
		cmocka_unit_test(
			a_living_connection_keeps_what_is_known_fresh_and_an_idle_one_does_not),
		cmocka_unit_test(telling_costs_once_a_second_however_many_acks_come),
		cmocka_unit_test(ecn_is_tried_again_an_hour_after_it_did_harm),
		cmocka_unit_test(reordering_is_believed_for_ten_minutes_after_it_was_seen),
		cmocka_unit_test(reordering_seen_again_is_believed_for_longer),
		cmocka_unit_test(a_threshold_is_believed_for_ten_minutes_after_it_was_found),
		cmocka_unit_test(slow_start_that_came_further_raises_the_threshold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
