/* SPDX-License-Identifier: GPL-3.0-or-later */
/* RFC 9293, 3.5 and 3.9: opening and addresses, resets, and what the application is told. */
#include "tests/unit/tcp/raw.h"

static void must_11_a_reset_takes_a_passive_open_back_to_listen(void **state)
{
	struct dialog d = listening(&v4, &plain);
	struct script_segment syn = dialog_syn(&d, S);

	script_feed(d.h, &syn);
	assert_true(dialog_take(&d));
	d.seq++;
	says(&d, R);
	assert_int_equal(connections(&d), 0);
	assert_null(d.h->accepted);
	script_feed(d.h, &syn); /* the listener goes on */
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S | A);
	dialog_end(&d);
}

static void must_11_a_reset_refuses_an_active_open_in_syn_received(void **state)
{
	struct dialog d = connecting(&v4, &plain);
	struct script_segment syn = dialog_syn(&d, S);

	script_feed(d.h, &syn); /* both opened at once */
	d.seq++;
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S | A);
	assert_string_equal(dialog_state(&d), "SYN-RECEIVED");
	says(&d, R | A);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_REFUSED);
	dialog_end(&d);
}

static bool count_and_refuse(void *listener_user, tcp_handle connection, void **user_out,
			     const struct tcp_callbacks **callbacks_out)
{
	++*(unsigned *)listener_user;
	return false;
}

/* A handshake with a refusing listener. */
static void knock(struct dialog *d)
{
	struct script_segment syn = dialog_syn(d, S);

	script_feed(d->h, &syn);
	d->seq++;
	assert_true(dialog_take(d));
	assert_int_equal(d->s.flags, S | A);
	d->ack = d->s.seq + 1;
	says(d, A);
	hears(d, R | A, 0, 0);
	d->seq += 5;
}

static void must_41_42_one_port_has_listeners_on_several_addresses(void **state)
{
	static const struct tcp_listen_callbacks callbacks = {count_and_refuse};
	static const struct ip_address any;
	struct ip_address other;
	unsigned own = 0, all = 0, of_other = 0;
	struct dialog d;

	dialog_begin(&d, &v4, &plain);
	assert_int_equal(ip_parse("10.0.0.7", &other), 0);
	assert_int_equal(tcp_listen(d.h->stack, &any, 25, &callbacks, &all), 0);
	knock(&d);
	assert_int_equal(tcp_listen(d.h->stack, &d.h->address, 25, &callbacks, &own), 0);
	assert_int_equal(tcp_listen(d.h->stack, &other, 25, &callbacks, &of_other), 0);
	assert_int_equal(tcp_listen(d.h->stack, &other, 25, &callbacks, &of_other), -EADDRINUSE);
	knock(&d);
	assert_int_equal(tcp_unlisten(d.h->stack, &d.h->address, 25), 0);
	knock(&d);
	assert_int_equal(all, 2);
	assert_int_equal(own, 1);
	assert_int_equal(of_other, 0);
	dialog_end(&d);
}

static void must_41_a_listener_leaves_open_connections_alone(void **state)
{
	struct dialog d = connected(&v4, &plain);

	harness_listen(d.h, d.h->script_local_port);
	says_at(&d, A, 0, "abc", 3);
	assert_int_equal(d.c->received_size, 3);
	assert_null(d.h->accepted);
	dialog_end(&d);
}

static void must_43_45_every_segment_comes_from_the_address_that_was_named(void **state)
{
	struct dialog d;

	dialog_begin(&d, &v4, &plain);
	harness_add_address(d.h, "10.0.0.9");
	d.c = harness_connect_from(d.h, "10.0.0.9", "10.0.0.2", 25, 30000000);
	assert_non_null(d.c);
	for (unsigned i = 0; i < 4; i++) { /* and when it is sent again */
		assert_true(harness_take(d.h, d.copy) > 0);
		assert_int_equal(load32(d.copy + 12), 0x0a000009);
		harness_advance(d.h, 8000000);
	}
	dialog_end(&d);
}

static int connect_to(struct dialog *d, const char *text)
{
	static const struct tcp_callbacks none = {0};
	struct ip_address remote;
	tcp_handle handle;

	assert_int_equal(ip_parse(text, &remote), 0);
	return tcp_connect(d->h->stack, &d->h->address, &remote, 25, 1000000, &none, NULL,
			   &d->h->now, &handle);
}

/* With a way out to everywhere, so that nothing is refused for want of one. */
static void route_everything(struct dialog *d, bool v6)
{
	static struct view_route route;

	route = (struct view_route){
		.prefix = {.address = v6 ? (struct ip_address){{0}} : ip_from_v4(0),
			   .length = v6 ? 0 : 96},
		.gateway = d->h->peer,
	};
	d->h->view.routes = &route;
	d->h->view.route_count = 1;
	assert_int_equal(net_stack_configure(d->h->stack, &d->h->view, &d->h->now), 0);
}

static void must_46_no_connection_is_opened_to_an_address_that_is_no_host_s(void **state)
{
	static const char *const v4_addresses[] = {"0.0.0.0",	"0.1.2.3",   "127.0.0.1",
						   "224.0.0.1", "240.0.0.1", "255.255.255.255",
						   "10.0.0.255"};
	static const char *const v6_addresses[] = {"::", "::1", "ff02::1", "ff0e::5"};
	struct harness_options v6 = {.v6 = true};
	struct dialog d;

	dialog_begin(&d, &v4, &plain);
	route_everything(&d, false);
	assert_int_equal(connect_to(&d, "198.51.100.1"), 0);
	for (unsigned i = 0; i < sizeof(v4_addresses) / sizeof(v4_addresses[0]); i++)
		assert_int_equal(connect_to(&d, v4_addresses[i]), -ENETUNREACH);
	assert_int_equal(connect_to(&d, "10.0.0.254"), 0);
	dialog_end(&d);
	dialog_begin(&d, &v6, &plain);
	route_everything(&d, true);
	assert_int_equal(connect_to(&d, "2001:db8::1"), 0);
	for (unsigned i = 0; i < sizeof(v6_addresses) / sizeof(v6_addresses[0]); i++)
		assert_int_equal(connect_to(&d, v6_addresses[i]), -ENETUNREACH);
	assert_int_equal(connect_to(&d, "fd00::77"), 0);
	dialog_end(&d);
}

static void must_57_a_syn_to_a_group_or_broadcast_address_is_dropped_silently(void **state)
{
	static const uint32_t groups[] = {0x0a0000ff, 0xffffffff, 0xe0000001, 0x0a000000};
	struct dialog d = listening(&v4, &plain);
	struct script_segment syn = dialog_syn(&d, S);
	uint8_t frame[2048] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	for (unsigned i = 0; i < 4; i++) {
		raw_feed_between(&d, &syn, 0x0a000002, groups[i]);
		hears_nothing(&d);
	}
	assert_int_equal(counters(&d)->drop_not_local, 4);
	/* To our address, but in a broadcast frame. */
	frame[12] = 0x08;
	harness_feed_frame(d.h, frame, 14 + script_build(d.h, &syn, frame + 14));
	hears_nothing(&d);
	assert_int_equal(connections(&d), 0);
	dialog_end(&d);
}

static void must_63_a_syn_from_an_address_that_is_no_host_s_is_ignored(void **state)
{
	static const uint32_t sources[] = {
		0,	    0x00010203, 0x7f000001, 0xe0000001, 0xefffffff,
		0xf0000001, 0xffffffff, 0x0a000001, 0x0a0000ff,
	};
	struct dialog d = listening(&v4, &plain);
	struct script_segment syn = dialog_syn(&d, S);

	for (unsigned i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		raw_feed_between(&d, &syn, sources[i], 0x0a000001);
		assert_int_equal(counters(&d)->drop_source, i + 1);
		assert_int_equal(connections(&d), 0);
		hears_nothing(&d);
	}
	dialog_end(&d);
}

static void must_63_nor_over_ipv6(void **state)
{
	static const char *const sources[] = {"::", "::1", "ff02::1", "ff0e::1", "fd00::1"};

	for (unsigned i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		struct harness_options options = {.v6 = true, .peer = sources[i]};
		struct script_segment syn;
		struct dialog d;

		dialog_begin(&d, &options, &plain);
		harness_listen(d.h, 25);
		syn = dialog_syn(&d, S);
		script_feed(d.h, &syn);
		assert_int_equal(counters(&d)->drop_source, 1);
		assert_int_equal(connections(&d), 0);
		dialog_end(&d);
	}
}

/* Let seconds pass, with the turns in which timers send. @return SYNs that were heard */
static unsigned wait_seconds(struct dialog *d, unsigned seconds)
{
	unsigned syns = 0;

	for (unsigned second = 0; second < seconds; second++) {
		while (dialog_take(d))
			syns += d->s.flags == S;
		harness_advance(d->h, 1000000);
	}
	return syns;
}

static void must_23_a_syn_is_repeated_for_three_minutes_when_that_is_asked(void **state)
{
	struct dialog d;

	dialog_begin(&d, &v4, &plain);
	d.c = harness_connect_for(d.h, 25, 200000000);
	assert_int_equal(wait_seconds(&d, 180), 8); /* at 0, 1, 3, 7, 15, 31, 63 and 123 s */
	assert_false(d.c->closed);
	wait_seconds(&d, 25);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_TIMED_OUT);
	dialog_end(&d);
}

static void must_12_47_the_application_is_told_once_and_why(void **state)
{
	struct dialog d = connected(&v4, &plain);

	says(&d, R);
	assert_int_equal(d.c->closed_count, 1);
	assert_int_equal(d.c->reason, TCP_RESET);
	d.c = harness_connect(d.h, 26);
	assert_true(dialog_take(&d));
	d.ack = d.s.seq + 1;
	says(&d, R | A);
	assert_int_equal(d.c->closed_count, 1);
	assert_int_equal(d.c->reason, TCP_REFUSED);
	d.c = harness_connect_for(d.h, 27, 2000000);
	wait_seconds(&d, 4);
	assert_int_equal(d.c->closed_count, 1);
	assert_int_equal(d.c->reason, TCP_TIMED_OUT);
	dialog_end(&d);
}

static void shld_2_a_reset_may_carry_data(void **state)
{
	struct dialog d = connected(&v4, &plain);

	says_at(&d, R | A, 0, "why", 3);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_RESET);
	assert_int_equal(d.c->received_size, 0);
	dialog_end(&d);
}

static void must_66_shld_2_a_reset_with_data_counts_at_a_zero_window(void **state)
{
	struct harness_options options = {.receive_window = 1000};
	struct dialog d = connected(&options, &plain);

	d.c->take_limit = 0;
	says_at(&d, A, 0, bytes, 1000);
	harness_advance(d.h, 50000);
	hears(&d, A, 0, 0);
	assert_int_equal(d.s.window, 0);
	says_at(&d, R, 0, "why", 3);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_RESET);
	dialog_end(&d);
}

static void rfc_5961_a_reset_with_data_beside_the_number_is_challenged(void **state)
{
	struct dialog d = connected(&v4, &plain);

	says_at(&d, R, 1, "why", 3);
	hears(&d, A, 0, 0);
	/* It begins before the window, and its data lies in it: not the exact number. */
	says_at(&d, R, -1, "why", 3);
	assert_false(d.c->closed);
	dialog_end(&d);
}

static void segments_in_listen_are_handled_in_the_order_of_3_10_7_2(void **state)
{
	struct dialog d = listening(&v4, &plain);

	says_at(&d, R, 7, NULL, 0);
	says_at(&d, R | A, 7, NULL, 0);
	says_at(&d, R | S, 7, NULL, 0);
	hears_nothing(&d); /* a reset is ignored */
	d.ack = 0x1234;
	says_at(&d, S | A, 7, NULL, 0);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, R);
	assert_int_equal(d.s.seq, 0x1234);
	says_at(&d, A, 7, "x", 1);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, R);
	assert_int_equal(connections(&d), 0);
	dialog_end(&d);
}

static void segments_to_closed_are_answered_as_3_10_7_1_says(void **state)
{
	struct dialog d;

	dialog_begin(&d, &v4, &plain);
	says_at(&d, F, 7, "abc", 3);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, R | A);
	assert_int_equal(d.s.seq, 0);
	assert_int_equal(d.s.ack, d.seq + 7 + 4);
	d.ack = 0x777;
	says_at(&d, S | A, 7, NULL, 0);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, R);
	assert_int_equal(d.s.seq, 0x777);
	says_at(&d, R | A, 7, NULL, 0);
	hears_nothing(&d);
	dialog_end(&d);
}

static void data_on_a_syn_is_not_lost(void **state)
{
	struct dialog d = listening(&v4, &plain);
	struct script_segment syn = dialog_syn(&d, S);

	syn.data = "abc";
	syn.size = 3;
	script_feed(d.h, &syn);
	assert_true(dialog_take(&d));
	d.ack = d.s.seq + 1;
	d.seq++;
	if (d.s.ack == d.seq + 3)
		d.seq += 3; /* it was taken */
	else
		assert_int_equal(d.s.ack, d.seq); /* it is to be sent again */
	says(&d, A);
	d.c = d.h->accepted;
	if (d.s.ack == d.seq)
		says_at(&d, A, 0, "abc", 3);
	assert_int_equal(d.c->received_size, 3);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(must_11_a_reset_takes_a_passive_open_back_to_listen),
		cmocka_unit_test(must_11_a_reset_refuses_an_active_open_in_syn_received),
		cmocka_unit_test(must_41_42_one_port_has_listeners_on_several_addresses),
		cmocka_unit_test(must_41_a_listener_leaves_open_connections_alone),
		cmocka_unit_test(must_43_45_every_segment_comes_from_the_address_that_was_named),
		cmocka_unit_test(must_46_no_connection_is_opened_to_an_address_that_is_no_host_s),
		cmocka_unit_test(must_57_a_syn_to_a_group_or_broadcast_address_is_dropped_silently),
		cmocka_unit_test(must_63_a_syn_from_an_address_that_is_no_host_s_is_ignored),
		cmocka_unit_test(must_63_nor_over_ipv6),
		cmocka_unit_test(must_23_a_syn_is_repeated_for_three_minutes_when_that_is_asked),
		cmocka_unit_test(must_12_47_the_application_is_told_once_and_why),
		cmocka_unit_test(shld_2_a_reset_may_carry_data),
		cmocka_unit_test(must_66_shld_2_a_reset_with_data_counts_at_a_zero_window),
		cmocka_unit_test(rfc_5961_a_reset_with_data_beside_the_number_is_challenged),
		cmocka_unit_test(segments_in_listen_are_handled_in_the_order_of_3_10_7_2),
		cmocka_unit_test(segments_to_closed_are_answered_as_3_10_7_1_says),
		cmocka_unit_test(data_on_a_syn_is_not_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
