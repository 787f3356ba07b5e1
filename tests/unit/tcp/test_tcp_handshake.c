/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Opening a connection (RFC 9293, 3.5 and 3.10.7.1 to 3.10.7.4) and what its SYNs agree on. */
#include "tests/unit/tcp/dialog.h"

static void must_14_15_syn_announces_mss_window_scale_sack_and_timestamps(void **state)
{
	struct dialog d = connecting(&v4, &full);

	assert_int_equal(d.s.mss, 1460);
	assert_true(d.s.sack_permitted && d.s.has_timestamp && d.s.has_scale);
	assert_int_equal(d.s.scale, 1);
	assert_int_equal(d.s.window, 65535);
	dialog_end(&d);
}

static void v6_syn_announces_an_mss_without_the_larger_header(void **state)
{
	struct harness_options v6 = {.v6 = true};
	struct dialog d = connecting(&v6, &full);

	assert_int_equal(d.s.mss, 1440);
	dialog_end(&d);
}

static void syn_ack_offers_only_what_the_syn_offered(void **state)
{
	struct dialog d = listening(&v4, &plain);
	struct script_segment syn;

	syn = dialog_syn(&d, S);
	script_feed(d.h, &syn);
	assert_true(dialog_take(&d));
	assert_false(d.s.sack_permitted || d.s.has_timestamp || d.s.has_scale);
	assert_int_equal(d.s.mss, 1460);
	dialog_end(&d);
}

static void must_15_without_mss_option_segments_carry_536(void **state)
{
	struct offer offer = {.scale = -1};
	struct dialog d = connected(&v4, &offer);

	harness_send(d.c, bytes, 2000);
	hears(&d, A, 0, 536);
	hears(&d, A, 536, 536);
	dialog_end(&d);
}

static void without_mss_option_v6_segments_carry_1220(void **state)
{
	struct offer offer = {.scale = -1};
	struct harness_options v6 = {.v6 = true};
	struct dialog d = connected(&v6, &offer);

	harness_send(d.c, bytes, 3000);
	hears(&d, A, 0, 1220);
	dialog_end(&d);
}

static void must_16_options_are_taken_off_the_segment_size(void **state)
{
	struct dialog d = connected(&v4, &full);

	harness_send(d.c, bytes, 3000);
	hears(&d, A, 0, 1448);
	dialog_end(&d);
}

static void a_tiny_mss_is_not_obeyed_below_the_floor(void **state)
{
	struct offer offer = {.scale = -1, .mss = 8};
	struct dialog d = connected(&v4, &offer);

	harness_send(d.c, bytes, 1000);
	hears(&d, A, 0, 216);
	dialog_end(&d);
}

static void rfc_7323_the_windows_are_scaled_after_the_handshake(void **state)
{
	struct offer offer = full;
	struct tcp_information i;
	struct dialog d;

	offer.window = 1000;
	d = connected(&v4, &offer);
	harness_information(d.c, &i);
	assert_int_equal(i.send_window, 1000); /* the SYN's own is not scaled */
	says(&d, A);
	harness_information(d.c, &i);
	assert_int_equal(i.send_window, 128000);
	assert_int_equal(d.s.window, 32768); /* ours: 65536 >> 1 */
	dialog_end(&d);
}

static void rfc_7323_a_shift_beyond_14_counts_as_14(void **state)
{
	struct offer offer = full;
	struct tcp_information i;
	struct dialog d;

	offer.scale = 200;
	d = connected(&v4, &offer);
	harness_information(d.c, &i);
	assert_int_equal(i.send_scale, 14);
	dialog_end(&d);
}

static void rfc_7323_without_the_peers_scale_ours_is_off_too(void **state)
{
	struct dialog d = connected(&v4, &plain);
	struct tcp_information i;

	harness_information(d.c, &i);
	assert_int_equal(i.receive_scale, 0);
	assert_int_equal(d.s.window, 65535);
	dialog_end(&d);
}

static void the_first_ack_of_the_handshake_may_carry_data(void **state)
{
	struct dialog d = syn_answered(&v4, &plain);

	says_at(&d, A, 0, "EHLO", 4);
	assert_non_null(d.h->accepted);
	assert_int_equal(d.h->accepted->received_size, 4);
	dialog_end(&d);
}

static void rfc_6298_a_lost_syn_is_sent_again_after_one_second_then_two(void **state)
{
	struct dialog d = connecting(&v4, &full);

	harness_advance(d.h, 990000);
	hears_nothing(&d);
	harness_advance(d.h, 20000);
	hears(&d, S, -1, 0);
	harness_advance(d.h, 1980000);
	hears_nothing(&d);
	harness_advance(d.h, 40000);
	hears(&d, S, -1, 0);
	dialog_end(&d);
}

static void the_handshake_timeout_gives_up(void **state)
{
	struct dialog d;

	dialog_begin(&d, &v4, &full);
	d.c = harness_connect_for(d.h, 25, 5000000);
	assert_true(dialog_take(&d));
	harness_advance(d.h, 4900000);
	while (dialog_take(&d))
		;
	assert_false(d.c->closed);
	harness_advance(d.h, 200000);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_TIMED_OUT);
	assert_int_equal(connections(&d), 0);
	dialog_end(&d);
}

static void a_lost_syn_ack_is_sent_again_and_given_up_in_the_end(void **state)
{
	struct script_segment syn;
	struct dialog d = listening(&v4, &full);
	unsigned heard = 0;

	syn = dialog_syn(&d, S);
	script_feed(d.h, &syn);
	for (unsigned second = 0; second < 100; second++) {
		while (dialog_take(&d)) {
			assert_int_equal(d.s.flags, S | A);
			heard++;
		}
		harness_advance(d.h, 1000000);
	}
	assert_int_equal(heard, 6);
	assert_int_equal(connections(&d), 0);
	assert_null(d.h->accepted);
	dialog_end(&d);
}

static void a_repeated_syn_gets_the_same_syn_ack(void **state)
{
	struct script_segment syn;
	struct dialog d = listening(&v4, &full);
	uint32_t iss;

	syn = dialog_syn(&d, S);
	script_feed(d.h, &syn);
	assert_true(dialog_take(&d));
	iss = d.s.seq;
	script_feed(d.h, &syn);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S | A);
	assert_int_equal(d.s.seq, iss);
	assert_int_equal(connections(&d), 1);
	dialog_end(&d);
}

static void a_syn_to_a_closed_port_is_reset(void **state)
{
	struct script_segment syn;
	struct dialog d;

	dialog_begin(&d, &v4, &plain);
	syn = dialog_syn(&d, S);
	script_feed(d.h, &syn);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, R | A);
	assert_int_equal(d.s.seq, 0);
	assert_int_equal(d.s.ack, d.seq + 1);
	assert_int_equal(counters(&d)->tcp_drop_no_listener, 1);
	dialog_end(&d);
}

static void an_ack_to_nothing_is_reset_with_its_own_number(void **state)
{
	struct dialog d;

	dialog_begin(&d, &v4, &plain);
	d.ack = 77;
	says_at(&d, A, 0, "x", 1);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, R);
	assert_int_equal(d.s.seq, 77);
	says(&d, R | A);
	hears_nothing(&d); /* never a reset for a reset */
	dialog_end(&d);
}

static void a_reset_in_syn_sent_refuses_only_when_it_acknowledges_our_syn(void **state)
{
	struct dialog d = connecting(&v4, &plain);

	says(&d, R);
	d.ack += 5;
	says(&d, R | A);
	assert_false(d.c->closed);
	d.ack -= 5;
	says(&d, R | A);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_REFUSED);
	dialog_end(&d);
}

static void a_wrong_ack_in_syn_sent_is_answered_by_a_reset_and_the_syn_goes_on(void **state)
{
	struct dialog d = connecting(&v4, &plain);
	struct script_segment syn = dialog_syn(&d, S | A);

	syn.ack += 1000;
	script_feed(d.h, &syn);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, R);
	assert_int_equal(d.s.seq, syn.ack);
	assert_string_equal(dialog_state(&d), "SYN-SENT");
	dialog_end(&d);
}

static void must_10_simultaneous_open_connects(void **state)
{
	struct dialog d = connecting(&v4, &full);
	struct script_segment syn = dialog_syn(&d, S);

	script_feed(d.h, &syn);
	d.seq++;
	hears(&d, S | A, -1, 0);
	assert_string_equal(dialog_state(&d), "SYN-RECEIVED");
	syn.flags = S | A;
	syn.ack = d.ack;
	syn.ts_ecr = d.ts_ecr;
	script_feed(d.h, &syn); /* the peer's own SYN-ACK: old SYN, good ACK */
	says(&d, A);
	assert_true(d.c->connected);
	assert_string_equal(dialog_state(&d), "ESTABLISHED");
	dialog_end(&d);
}

static void a_wrong_ack_in_syn_received_is_reset(void **state)
{
	struct dialog d = syn_answered(&v4, &plain);

	d.ack += 999;
	says(&d, A);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, R);
	assert_int_equal(d.s.seq, d.ack);
	assert_null(d.h->accepted);
	dialog_end(&d);
}

static void a_refused_connection_is_reset(void **state)
{
	struct dialog d = syn_answered(&v4, &plain);

	d.h->refuse = true;
	says(&d, A);
	hears(&d, R | A, 0, 0);
	assert_int_equal(connections(&d), 0);
	dialog_end(&d);
}

static void a_backlog_that_is_full_keeps_no_more_state(void **state)
{
	struct harness_options options = {.connections = 64};
	struct script_segment syn;
	struct dialog d = listening(&options, &plain);
	unsigned answers = 0;

	syn = dialog_syn(&d, S);
	syn.to_port = 26; /* so that the neighbour is known */
	script_feed(d.h, &syn);
	assert_true(dialog_take(&d));
	for (uint16_t i = 0; i < 100; i++) {
		syn = dialog_syn(&d, S);
		syn.from_port = (uint16_t)(1000 + i);
		script_feed(d.h, &syn);
	}
	while (dialog_take(&d))
		answers++;
	assert_int_equal(answers, 100);
	assert_int_equal(counters(&d)->tcp_cookie_sent, 84);
	assert_int_equal(connections(&d), 16);
	dialog_end(&d);
}

static void rfc_6528_initial_numbers_differ_by_tuple_and_grow_with_time(void **state)
{
	struct script_segment syn;
	struct dialog d = listening(&v4, &plain);
	uint32_t first, other;

	syn = dialog_syn(&d, S);
	script_feed(d.h, &syn);
	assert_true(dialog_take(&d));
	first = d.s.seq;
	syn.from_port = 41000;
	script_feed(d.h, &syn);
	assert_true(dialog_take(&d));
	other = d.s.seq;
	assert_true(other - first > 100000 || first - other > 100000);
	d.seq++;
	d.ack = first + 1;
	says(&d, R); /* the first goes, and comes again after a second */
	harness_advance(d.h, 1000000);
	syn.from_port = 0;
	script_feed(d.h, &syn);
	do
		assert_true(dialog_take(&d));
	while (d.s.destination_port != d.h->script_remote_port);
	assert_in_range(d.s.seq - first, 250000 - 1000, 250000 + 1000);
	dialog_end(&d);
}

static void rfc_6056_ports_are_ours_and_spread(void **state)
{
	struct harness_options options = {.worker = 2, .worker_count = 5, .seed = 9};
	struct harness *h = harness_create(&options);
	uint16_t ports[40];

	for (unsigned i = 0; i < 40; i++) {
		assert_non_null(harness_connect(h, 25));
		ports[i] = h->script_local_port;
		assert_int_equal(net_owner(ports[i], 25, 5), 2);
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(ports[i], ports[j]);
	}
	harness_destroy(h);
}

static void connect_says_why_it_cannot(void **state)
{
	struct harness *h = harness_create(&v4);
	struct ip_address far, other;
	tcp_handle handle;

	ip_parse("203.0.113.1", &far);
	ip_parse("10.0.0.77", &other);
	assert_int_equal(
		tcp_connect(h->stack, &h->address, &far, 25, 1000000, NULL, NULL, &h->now, &handle),
		-ENETUNREACH);
	assert_int_equal(
		tcp_connect(h->stack, &other, &h->peer, 25, 1000000, NULL, NULL, &h->now, &handle),
		-EADDRNOTAVAIL);
	harness_destroy(h);
}

static void a_neighbour_that_does_not_answer_makes_the_peer_unreachable(void **state)
{
	struct harness *h = harness_create(&v4);
	struct harness_connection *c = harness_connect(h, 25);
	uint8_t frame[2048];

	for (unsigned i = 0; i < 50 && !c->closed; i++) {
		while (harness_take_frame(h, frame) != 0)
			; /* nobody answers ARP */
		harness_advance(h, 100000);
	}
	assert_true(c->closed);
	assert_int_equal(c->reason, TCP_UNREACHABLE);
	/* Within the hold time the next one learns it at once. */
	c = harness_connect(h, 25);
	while (harness_take_frame(h, frame) != 0)
		;
	assert_true(c->closed);
	assert_int_equal(c->reason, TCP_UNREACHABLE);
	harness_destroy(h);
}

static void a_full_table_refuses_to_connect(void **state)
{
	struct harness_options options = {.connections = 4};
	struct harness *h = harness_create(&options);

	for (unsigned i = 0; i < 4; i++)
		assert_non_null(harness_connect(h, 25));
	assert_null(harness_connect(h, 25));
	assert_int_equal(net_stack_counters(h->stack)->tcp_drop_table_full, 1);
	harness_destroy(h);
}

static void closing_before_the_handshake_ends_quietly(void **state)
{
	struct dialog d = connecting(&v4, &plain);

	harness_close(d.c);
	assert_false(d.c->closed); /* never from within */
	hears_nothing(&d);
	assert_true(d.c->closed);
	assert_int_equal(d.c->reason, TCP_ABORTED);
	dialog_end(&d);
}

static void a_stale_handle_is_noticed(void **state)
{
	struct dialog d = connected(&v4, &plain);
	tcp_handle stale = d.c->handle;

	harness_abort(d.c);
	hears(&d, R | A, 0, 0);
	assert_non_null(harness_connect(d.h, 25));
	assert_int_equal(tcp_send(d.h->stack, stale, "x", 1), -ENOTCONN);
	assert_int_equal(tcp_unacknowledged(d.h->stack, stale), 0);
	tcp_abort(d.h->stack, stale, &d.h->now);
	tcp_close(d.h->stack, stale, &d.h->now);
	assert_int_equal(connections(&d), 1);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(must_14_15_syn_announces_mss_window_scale_sack_and_timestamps),
		cmocka_unit_test(v6_syn_announces_an_mss_without_the_larger_header),
		cmocka_unit_test(syn_ack_offers_only_what_the_syn_offered),
		cmocka_unit_test(must_15_without_mss_option_segments_carry_536),
		cmocka_unit_test(without_mss_option_v6_segments_carry_1220),
		cmocka_unit_test(must_16_options_are_taken_off_the_segment_size),
		cmocka_unit_test(a_tiny_mss_is_not_obeyed_below_the_floor),
		cmocka_unit_test(rfc_7323_the_windows_are_scaled_after_the_handshake),
		cmocka_unit_test(rfc_7323_a_shift_beyond_14_counts_as_14),
		cmocka_unit_test(rfc_7323_without_the_peers_scale_ours_is_off_too),
		cmocka_unit_test(the_first_ack_of_the_handshake_may_carry_data),
		cmocka_unit_test(rfc_6298_a_lost_syn_is_sent_again_after_one_second_then_two),
		cmocka_unit_test(the_handshake_timeout_gives_up),
		cmocka_unit_test(a_lost_syn_ack_is_sent_again_and_given_up_in_the_end),
		cmocka_unit_test(a_repeated_syn_gets_the_same_syn_ack),
		cmocka_unit_test(a_syn_to_a_closed_port_is_reset),
		cmocka_unit_test(an_ack_to_nothing_is_reset_with_its_own_number),
		cmocka_unit_test(a_reset_in_syn_sent_refuses_only_when_it_acknowledges_our_syn),
		cmocka_unit_test(
			a_wrong_ack_in_syn_sent_is_answered_by_a_reset_and_the_syn_goes_on),
		cmocka_unit_test(must_10_simultaneous_open_connects),
		cmocka_unit_test(a_wrong_ack_in_syn_received_is_reset),
		cmocka_unit_test(a_refused_connection_is_reset),
		cmocka_unit_test(a_backlog_that_is_full_keeps_no_more_state),
		cmocka_unit_test(rfc_6528_initial_numbers_differ_by_tuple_and_grow_with_time),
		cmocka_unit_test(rfc_6056_ports_are_ours_and_spread),
		cmocka_unit_test(connect_says_why_it_cannot),
		cmocka_unit_test(a_neighbour_that_does_not_answer_makes_the_peer_unreachable),
		cmocka_unit_test(a_full_table_refuses_to_connect),
		cmocka_unit_test(closing_before_the_handshake_ends_quietly),
		cmocka_unit_test(a_stale_handle_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
