/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requirements of the RFCs around RFC 9293 that no other file of this room is about. */
#include "tests/unit/tcp/raw.h"

#define MSS 1460u

/* --- RFC 7323 --- */
static void rfc_7323_3_2_timestamps_are_in_every_segment_or_in_none(void **state)
{
	const struct offer *const offers[] = {&plain, &full};

	for (unsigned i = 0; i < 2; i++) {
		struct dialog d = connected(&v4, offers[i]);
		bool with = i == 1;

		assert_int_equal(d.s.has_timestamp, with); /* the ACK of the handshake */
		harness_send(d.c, bytes, 3000);
		while (dialog_take(&d))
			assert_int_equal(d.s.has_timestamp, with);
		harness_advance(d.h, 1500000); /* a retransmission */
		assert_true(dialog_take(&d));
		assert_int_equal(d.s.has_timestamp, with);
		while (dialog_take(&d))
			;
		acks(&d, 3000, 0, NULL);
		d.ack += 3000;
		harness_close(d.c);
		hears(&d, F | A, 0, 0);
		assert_int_equal(d.s.has_timestamp, with);
		dialog_end(&d);
	}
}

static void rfc_7323_3_2_a_syn_echoes_nothing(void **state)
{
	struct dialog d = connecting(&v4, &full);

	assert_true(d.s.has_timestamp);
	assert_int_equal(d.s.ts_ecr, 0);
	dialog_end(&d);
}

static void rfc_7323_5_4_clocks_differ_by_peer_and_never_run_back(void **state)
{
	struct dialog d;
	uint32_t first, again;

	dialog_begin(&d, &v4, &full);
	d.c = harness_connect(d.h, 25);
	assert_true(dialog_take(&d));
	first = d.s.ts_val;
	harness_advance(d.h, 100000);
	d.c = harness_connect(d.h, 26);
	assert_true(dialog_take(&d));
	again = d.s.ts_val;
	assert_in_range(again - first, 99, 101);
	d.c = harness_connect_from(d.h, "10.0.0.1", "10.0.0.77", 25, 1000000);
	assert_non_null(d.c);
	assert_true(harness_take(d.h, d.copy) > 0);
	assert_int_equal(d.copy[33], S);
	assert_true(tcp_segment_parse(d.copy + 20, 40, &d.s));
	assert_true(d.s.ts_val - again > 100000 && again - d.s.ts_val > 100000);
	dialog_end(&d);
}

/* --- RFC 6298 --- */

/* @return milliseconds until it is heard again */
static unsigned until_heard(struct dialog *d)
{
	unsigned waited = 0;

	while (!dialog_take(d)) {
		harness_advance(d->h, 10000);
		waited += 10;
		assert_true(waited < 100000);
	}
	return waited;
}

static void rfc_6298_5_7_after_a_lost_syn_the_first_timeout_of_data_is_three_seconds(void **state)
{
	struct dialog d = connecting(&v4, &plain);
	struct script_segment syn = dialog_syn(&d, S | A);

	assert_in_range(until_heard(&d), 990, 1020); /* the SYN again */
	script_feed(d.h, &syn);
	d.seq++;
	hears(&d, A, 0, 0);
	harness_send(d.c, bytes, 100);
	hears(&d, A, 0, 100);
	assert_in_range(until_heard(&d), 2990, 3020);
	assert_in_range(until_heard(&d), 5990, 6020);
	acks(&d, 100, 0, NULL);
	dialog_end(&d);
}

static void rfc_6298_5_7_an_echo_of_the_syn_tells_the_round_trip(void **state)
{
	struct dialog d = connecting(&v4, &full);
	struct script_segment syn = dialog_syn(&d, S | A);

	assert_in_range(until_heard(&d), 990, 1020);
	syn = dialog_syn(&d, S | A); /* with the echo of the second */
	harness_advance(d.h, 50000);
	script_feed(d.h, &syn);
	d.seq++;
	hears(&d, A, 0, 0);
	assert_in_range(information(&d).srtt_us, 49000, 52000);
	dialog_end(&d);
}

static void rfc_6298_5_3_an_ack_of_new_data_starts_the_timer_anew(void **state)
{
	struct dialog d = connected(&v4, &plain);
	unsigned rto_ms = information(&d).rto_us / 1000;

	harness_send(d.c, bytes, 3 * MSS);
	for (unsigned i = 0; i < 3; i++)
		hears(&d, A, (int32_t)(i * MSS), MSS);
	harness_advance(d.h, (rto_ms - 50) * 1000ull);
	acks(&d, MSS, 0, NULL);
	d.ack += MSS;
	hears_nothing(&d);
	rto_ms = information(&d).rto_us / 1000;
	assert_in_range(until_heard(&d), rto_ms - 20, rto_ms + 20);
	assert_int_equal(d.s.seq, d.ack);
	dialog_end(&d);
}

static void rfc_6298_5_2_when_all_is_acknowledged_no_timer_runs(void **state)
{
	struct dialog d = connected(&v4, &plain);

	harness_send(d.c, bytes, 100);
	hears(&d, A, 0, 100);
	acks(&d, 100, 0, NULL);
	harness_advance(d.h, 120000000);
	hears_nothing(&d);
	assert_int_equal(counters(&d)->tcp_rto, 0);
	dialog_end(&d);
}

/* --- RFC 9040 and RFC 8961 --- */
static void rfc_9040_a_known_path_shortens_the_syn_timer_for_ten_minutes(void **state)
{
	struct dialog d = connected(&v4, &full);

	harness_send(d.c, bytes, 100);
	hears(&d, A, 0, 100);
	harness_advance(d.h, 20000);
	acks(&d, 100, 0, NULL);
	d.ack += 100;
	says(&d, R);
	assert_true(d.c->closed);
	d.c = harness_connect(d.h, 26);
	assert_true(dialog_take(&d));
	assert_in_range(until_heard(&d), 240, 400);
	harness_abort(d.c);
	harness_advance(d.h, 660000000);
	d.c = harness_connect(d.h, 27);
	until_heard(&d);
	assert_in_range(until_heard(&d), 990, 1020);
	dialog_end(&d);
}

static void rfc_9040_the_next_connection_begins_with_the_path_mtu_of_the_last(void **state)
{
	struct dialog d = connected(&v4, &full);
	struct script_segment syn;

	harness_send(d.c, bytes, 1448);
	hears(&d, A, 0, 1448);
	raw_feed_icmp(&d, 3, 4, 1280, d.ack, 1500);
	assert_int_equal(information(&d).mss, 1280 - 52);
	while (dialog_take(&d))
		;
	says(&d, R);
	d.c = harness_connect(d.h, 26);
	assert_true(dialog_take(&d));
	d.ack = d.s.seq + 1;
	assert_int_equal(d.s.mss, 1460); /* what we can take is another matter */
	syn = dialog_syn(&d, S | A);
	script_feed(d.h, &syn);
	assert_int_equal(information(&d).mss, 1280 - 52);
	dialog_end(&d);
}

/* --- RFC 1122 --- */
static void rfc_1122_3_2_1_7_a_small_ttl_is_no_reason_to_drop(void **state)
{
	struct dialog d = connected(&v4, &plain);

	for (unsigned ttl = 0; ttl < 3; ttl++) {
		struct script_segment s = dialog_base(&d, A);
		uint8_t packet[2048];
		size_t size;

		s.data = "x";
		s.size = 1;
		size = script_build(d.h, &s, packet);
		packet[8] = (uint8_t)ttl;
		raw_finish(packet, size);
		harness_feed(d.h, packet, size);
		d.seq++;
		assert_int_equal(d.c->received_size, ttl + 1);
	}
	dialog_end(&d);
}

/* A UDP packet to a port that nobody has, fed with these addresses and fragment field. */
static void feed_udp(struct dialog *d, uint32_t source, uint32_t destination, uint16_t fragment,
		     bool broadcast)
{
	uint8_t frame[64] = {[12] = 0x08}, *ip = frame + 14;

	if (broadcast)
		memset(frame, 0xff, 6);
	else
		memcpy(frame, d->h->port.mac, 6);
	ip[0] = 0x45;
	store16(ip + 2, 28);
	store16(ip + 6, fragment);
	ip[8] = 64;
	ip[9] = PROTOCOL_UDP;
	store32(ip + 12, source);
	store32(ip + 16, destination);
	checksum_store(ip + 10, checksum_add(0, ip, 20));
	store16(ip + 22, 9);
	store16(ip + 24, 8);
	harness_feed_frame(d->h, frame, 14 + 28);
}

static void
rfc_1122_3_2_2_no_error_is_sent_about_what_went_to_or_came_from_no_single_host(void **state)
{
	struct dialog d;

	dialog_begin(&d, &v4, &plain);
	feed_udp(&d, 0x0a000002, 0x0a0000ff, 0, true);
	feed_udp(&d, 0x0a000002, 0xffffffff, 0, true);
	feed_udp(&d, 0x0a000002, 0x0a000001, 0, true); /* in a broadcast frame */
	feed_udp(&d, 0, 0x0a000001, 0, false);
	feed_udp(&d, 0x7f000001, 0x0a000001, 0, false);
	feed_udp(&d, 0xe0000001, 0x0a000001, 0, false);
	feed_udp(&d, 0x0a000002, 0x0a000001, 100, false); /* a later fragment */
	assert_int_equal(harness_take(d.h, d.copy), 0);
	feed_udp(&d, 0x0a000002, 0x0a000001, 0, false);
	assert_true(harness_take(d.h, d.copy) > 0);
	assert_int_equal(d.copy[9], PROTOCOL_ICMP);
	assert_int_equal(d.copy[20], 3);
	assert_int_equal(d.copy[21], 3);
	dialog_end(&d);
}

static void rfc_1122_3_2_2_nor_about_an_error(void **state)
{
	struct dialog d = connected(&v4, &plain);

	for (unsigned type = 3; type < 13; type++)
		if (type != 8)
			raw_feed_icmp(&d, (uint8_t)type, 200, 0, d.ack, 1040);
	assert_int_equal(harness_take(d.h, d.copy), 0);
	dialog_end(&d);
}

static void rfc_6864_ours_cannot_become_fragments(void **state)
{
	struct dialog d = connected(&v4, &plain);

	harness_send(d.c, bytes, 1460);
	hears(&d, A, 0, 1460);
	assert_int_equal(load16(d.copy + 6), 0x4000);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_7323_3_2_timestamps_are_in_every_segment_or_in_none),
		cmocka_unit_test(rfc_7323_3_2_a_syn_echoes_nothing),
		cmocka_unit_test(rfc_7323_5_4_clocks_differ_by_peer_and_never_run_back),
		cmocka_unit_test(
			rfc_6298_5_7_after_a_lost_syn_the_first_timeout_of_data_is_three_seconds),
		cmocka_unit_test(rfc_6298_5_7_an_echo_of_the_syn_tells_the_round_trip),
		cmocka_unit_test(rfc_6298_5_3_an_ack_of_new_data_starts_the_timer_anew),
		cmocka_unit_test(rfc_6298_5_2_when_all_is_acknowledged_no_timer_runs),
		cmocka_unit_test(rfc_9040_a_known_path_shortens_the_syn_timer_for_ten_minutes),
		cmocka_unit_test(rfc_9040_the_next_connection_begins_with_the_path_mtu_of_the_last),
		cmocka_unit_test(rfc_1122_3_2_1_7_a_small_ttl_is_no_reason_to_drop),
		cmocka_unit_test(
			rfc_1122_3_2_2_no_error_is_sent_about_what_went_to_or_came_from_no_single_host),
		cmocka_unit_test(rfc_1122_3_2_2_nor_about_an_error),
		cmocka_unit_test(rfc_6864_ours_cannot_become_fragments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
