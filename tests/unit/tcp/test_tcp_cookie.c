/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SYN cookies (RFC 4987, 3.6): a flood costs no TCB, and a real client still connects. */
#include "tests/unit/tcp/dialog.h"

#define FLOOD 200u

static uint32_t half_open(const struct dialog *d)
{
	struct net_gauges g;

	net_stack_gauges(d->h->stack, &g);
	return g.half_open;
}

static void flood(struct dialog *d)
{
	for (unsigned i = 0; i < FLOOD; i++) {
		struct script_segment syn = dialog_syn(d, S);

		syn.from_port = (uint16_t)(2000 + i);
		syn.seq = i * 7919;
		script_feed(d->h, &syn);
		while (harness_take(d->h, d->copy) != 0)
			;
	}
}

/* Strangers fill the backlog, and go on. */
static struct dialog flooded(bool v6, const struct offer *offer)
{
	struct harness_options options = {.connections = 64, .v6 = v6};
	struct dialog d;

	dialog_begin(&d, &options, offer);
	harness_listen(d.h, 25);
	flood(&d);
	return d;
}

/* A SYN of the dialog's own peer, and the SYN-ACK, which is a cookie. */
static void hears_cookie(struct dialog *d)
{
	struct script_segment syn = dialog_syn(d, S);
	uint64_t before = counters(d)->tcp_cookie_sent;

	script_feed(d->h, &syn);
	d->seq++;
	assert_true(dialog_take(d));
	assert_int_equal(d->s.flags, S | A);
	assert_int_equal(d->s.ack, d->seq);
	assert_int_equal(counters(d)->tcp_cookie_sent, before + 1);
	d->ack = d->s.seq + 1;
}

static void exchange_works(struct dialog *d)
{
	d->c = d->h->accepted;
	assert_non_null(d->c);
	says_at(d, A, 0, "hello", 5);
	assert_int_equal(d->c->received_size, 5);
	harness_send(d->c, bytes, 200);
	hears(d, A, 0, 200);
	d->ack += 200;
	says(d, A);
}

static void connects(bool v6)
{
	struct dialog d = flooded(v6, &full);
	struct tcp_information i;

	assert_int_equal(half_open(&d), 16);
	assert_int_equal(connections(&d), 16);
	hears_cookie(&d);
	assert_true(d.s.has_scale && d.s.sack_permitted && d.s.has_timestamp);
	assert_int_equal(d.s.mss, v6 ? 1440 : 1460);
	assert_int_equal(connections(&d), 16);
	says(&d, A);
	exchange_works(&d);
	assert_int_equal(counters(&d)->tcp_cookie_accepted, 1);
	harness_information(d.c, &i);
	assert_true(i.sack && i.timestamps);
	assert_int_equal(i.send_scale, 7);
	assert_int_equal(i.mss, (v6 ? 1440 : 1460) - 12);
	assert_int_equal(i.send_window, 65535u << 7);
	dialog_end(&d);
}

static void rfc_4987_a_flood_costs_no_tcb_and_a_client_still_connects(void **state)
{
	connects(false);
}

static void rfc_4987_a_flood_costs_no_tcb_and_a_v6_client_still_connects(void **state)
{
	connects(true);
}

static void rfc_4987_without_timestamps_a_cookie_holds_the_segment_size_alone(void **state)
{
	static const uint16_t offered[][2] = {{1460, 1460}, {1459, 1440}, {1380, 1360},
					      {536, 536},   {9000, 1460}, {100, 216}};

	for (unsigned i = 0; i < sizeof(offered) / sizeof(offered[0]); i++) {
		struct offer offer = {.sack = true, .scale = 7, .mss = offered[i][0]};
		struct dialog d = flooded(false, &offer);
		struct tcp_information info;

		hears_cookie(&d);
		assert_false(d.s.has_scale || d.s.sack_permitted || d.s.has_timestamp);
		says(&d, A);
		exchange_works(&d);
		harness_information(d.c, &info);
		assert_false(info.sack || info.timestamps);
		assert_int_equal(info.send_scale, 0);
		assert_int_equal(info.receive_scale, 0);
		assert_int_equal(info.mss, offered[i][1]);
		dialog_end(&d);
	}
}

static void rfc_7323_the_timestamp_of_a_cookie_is_not_ahead_of_the_clock(void **state)
{
	for (unsigned ms = 0; ms < 130; ms += 13) {
		struct dialog d = flooded(false, &full);
		uint32_t first;

		harness_advance(d.h, ms * 1000);
		while (harness_take(d.h, d.copy) != 0)
			;
		hears_cookie(&d);
		first = d.s.ts_val;
		says(&d, A);
		says_at(&d, A, 0, "a", 1);
		says_at(&d, A, 0, "b", 1);
		assert_true(dialog_take(&d));
		assert_in_range(d.s.ts_val - first, 0, 64);
		dialog_end(&d);
	}
}

static void a_cookie_is_believed_for_a_minute_and_not_for_longer_than_two(void **state)
{
	for (unsigned late = 0; late < 2; late++) {
		struct dialog d = flooded(false, &full);

		hears_cookie(&d);
		harness_advance(d.h, late != 0 ? 129000000 : 63000000);
		while (harness_take(d.h, d.copy) != 0)
			;
		d.seq += 5; /* the strangers go on, so that cookies are believed at all */
		flood(&d);
		d.seq -= 5;
		d.h->accepted = NULL;
		says(&d, A);
		assert_int_equal(d.h->accepted != NULL, late == 0);
		if (late != 0)
			hears(&d, R, 0, 0);
		dialog_end(&d);
	}
}

/* The slot that a cookie of three periods ago names is not the current one's. */
static void after_a_pause_the_secret_of_before_is_worth_nothing(void **state)
{
	struct dialog d = flooded(false, &full);

	hears_cookie(&d);
	harness_advance(d.h, 3 * 64000000u);
	while (harness_take(d.h, d.copy) != 0)
		;
	d.seq += 5;
	flood(&d);
	d.seq -= 5;
	d.h->accepted = NULL;
	says(&d, A);
	assert_null(d.h->accepted);
	hears(&d, R, 0, 0);
	dialog_end(&d);
}

static void a_stranger_who_saw_no_cookie_opens_nothing(void **state)
{
	struct dialog d = flooded(false, &full);
	struct script_segment s;

	hears_cookie(&d);
	for (unsigned i = 0; i < 20000; i++) {
		s = dialog_base(&d, A);
		s.ack ^= i * 2654435761u | 1;
		script_feed(d.h, &s);
		while (harness_take(d.h, d.copy) != 0)
			;
	}
	assert_int_equal(counters(&d)->tcp_cookie_failed, 20000);
	/* Nor with the number of another tuple, another peer's number, or other options. */
	s = dialog_base(&d, A);
	s.from_port = 999;
	script_feed(d.h, &s);
	s = dialog_base(&d, A);
	s.seq++;
	script_feed(d.h, &s);
	s = dialog_base(&d, A);
	s.ts_ecr ^= 1;
	script_feed(d.h, &s);
	assert_int_equal(connections(&d), 16);
	assert_null(d.h->accepted);
	dialog_end(&d);
}

static void without_a_flood_no_ack_opens_a_connection(void **state)
{
	struct dialog d = listening(&v4, &full);

	says(&d, A);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, R);
	assert_int_equal(counters(&d)->tcp_cookie_failed, 0);
	dialog_end(&d);
}

static void the_ack_of_a_cookie_may_carry_data(void **state)
{
	struct dialog d = flooded(false, &full);

	hears_cookie(&d);
	says_at(&d, A, 0, "hello", 5);
	d.c = d.h->accepted;
	assert_non_null(d.c);
	assert_int_equal(d.c->received_size, 5);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_4987_a_flood_costs_no_tcb_and_a_client_still_connects),
		cmocka_unit_test(rfc_4987_a_flood_costs_no_tcb_and_a_v6_client_still_connects),
		cmocka_unit_test(rfc_4987_without_timestamps_a_cookie_holds_the_segment_size_alone),
		cmocka_unit_test(rfc_7323_the_timestamp_of_a_cookie_is_not_ahead_of_the_clock),
		cmocka_unit_test(a_cookie_is_believed_for_a_minute_and_not_for_longer_than_two),
		cmocka_unit_test(after_a_pause_the_secret_of_before_is_worth_nothing),
		cmocka_unit_test(a_stranger_who_saw_no_cookie_opens_nothing),
		cmocka_unit_test(without_a_flood_no_ack_opens_a_connection),
		cmocka_unit_test(the_ack_of_a_cookie_may_carry_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
