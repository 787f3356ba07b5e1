/* SPDX-License-Identifier: GPL-3.0-or-later */
/* RFC 9293, 3.1, 3.2 and 3.7.1: header fields, options, maximum segment size. */
#include "tests/unit/tcp/raw.h"

/* What the stack makes of a SYN with these options. */
static struct dialog answered(const uint8_t *options, size_t count)
{
	struct script_segment syn;
	struct dialog d = listening(&v4, &plain);

	syn = dialog_base(&d, S);
	raw_feed_options(&d, &syn, options, count);
	d.seq++;
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S | A);
	d.ack = d.s.seq + 1;
	says(&d, A);
	d.c = d.h->accepted;
	assert_non_null(d.c);
	return d;
}

static uint32_t mss_of(const struct dialog *d)
{
	struct tcp_information i;

	harness_information(d->c, &i);
	return i.mss;
}

static void must_4_64_end_nop_and_mss_are_read_at_any_alignment(void **state)
{
	static const uint8_t places[][8] = {
		{2, 4, 1000 >> 8, 1000 & 255, 0, 0, 0, 0},
		{1, 2, 4, 1000 >> 8, 1000 & 255, 0, 0, 0},
		{1, 1, 2, 4, 1000 >> 8, 1000 & 255, 1, 1},
		{1, 1, 1, 2, 4, 1000 >> 8, 1000 & 255, 0},
		{1, 1, 1, 1, 2, 4, 1000 >> 8, 1000 & 255},
	};

	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct dialog d = answered(places[i], 8);

		assert_int_equal(mss_of(&d), 1000);
		dialog_end(&d);
	}
}

static void must_4_nothing_behind_the_end_of_options_counts(void **state)
{
	static const uint8_t options[] = {0, 2, 4, 1000 >> 8, 1000 & 255, 255, 0, 1};
	struct dialog d = answered(options, 8);

	assert_int_equal(mss_of(&d), 536);
	dialog_end(&d);
}

static void must_5_an_option_is_taken_in_any_segment(void **state)
{
	static const uint8_t unaligned[] = {1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 0};
	struct offer offer = {.timestamps = true, .scale = -1, .mss = 1460};
	struct dialog d = connected(&v4, &offer);
	struct script_segment s = dialog_base(&d, A);
	uint8_t options[12];

	memcpy(options, unaligned, sizeof(options));
	store32(options + 3, d.ts + 7);
	store32(options + 7, d.ts_ecr);
	s.timestamp = false;
	s.data = "abc";
	s.size = 3;
	raw_feed_options(&d, &s, options, sizeof(options));
	assert_int_equal(d.c->received_size, 3);
	d.seq += 3;
	harness_advance(d.h, 50000);
	hears(&d, A, 0, 0);
	assert_int_equal(d.s.ts_ecr, d.ts + 7);
	dialog_end(&d);
}

static void must_6_unknown_options_are_passed_over_by_their_length(void **state)
{
	static const uint8_t options[] = {253,	     6,		 1,   1,   1,	1,   2, 4,
					  1000 >> 8, 1000 & 255, 254, 255, 254, 254, 0, 0};
	static const uint8_t good[] = {253, 6, 1, 1, 1, 1, 2, 4, 1000 >> 8, 1000 & 255, 77, 2};
	struct dialog d = answered(good, sizeof(good));
	struct script_segment s = dialog_base(&d, A);

	assert_int_equal(mss_of(&d), 1000);
	s.data = "abc";
	s.size = 3;
	raw_feed_options(&d, &s, good, sizeof(good));
	assert_int_equal(d.c->received_size, 3);
	assert_int_equal(mss_of(&d), 1000);
	/* MUST-7: the length of the last is beyond the header. */
	raw_feed_options(&d, &s, options, sizeof(options));
	assert_int_equal(counters(&d)->tcp_drop_header, 1);
	dialog_end(&d);
}

static void must_7_a_malformed_syn_is_dropped_and_the_next_is_answered(void **state)
{
	static const uint8_t bad[][4] = {{2, 0, 5, 0xb4}, {2, 1, 5, 0xb4}, {2, 5, 5, 0xb4}};
	struct script_segment syn;
	struct dialog d = listening(&v4, &plain);

	syn = dialog_base(&d, S);
	for (unsigned i = 0; i < 3; i++) {
		raw_feed_options(&d, &syn, bad[i], 4);
		hears_nothing(&d);
	}
	script_feed(d.h, &syn);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S | A);
	dialog_end(&d);
}

static void must_65_mss_counts_in_a_syn_alone_and_is_sent_in_no_other(void **state)
{
	static const uint8_t mss[] = {2, 4, 1000 >> 8, 1000 & 255};
	struct dialog d = connected(&v4, &plain);
	struct script_segment s = dialog_base(&d, A);

	s.data = "abc";
	s.size = 3;
	raw_feed_options(&d, &s, mss, 4);
	d.seq += 3;
	assert_int_equal(mss_of(&d), 1460);
	harness_send(d.c, bytes, 10);
	hears(&d, A, 0, 10);
	assert_int_equal(d.copy[32] >> 4, 5); /* no options at all */
	harness_close(d.c);
	hears(&d, F | A, 10, 0);
	assert_int_equal(d.copy[32] >> 4, 5);
	dialog_end(&d);
}

/* Walks the options of a SYN that was heard. @return the MSS that it announces */
static uint16_t check_syn_options(const struct dialog *d, size_t tcp)
{
	const uint8_t *p = d->copy + tcp;
	unsigned header = (p[12] >> 4) * 4u, at;
	uint16_t mss = 0;

	for (at = 20; at < header && p[at] != 0;) {
		if (p[at] == 1) {
			at++;
			continue;
		}
		assert_true(at + 1 < header && p[at + 1] >= 2 && at + p[at + 1] <= header);
		if (p[at] == 2)
			mss = load16(p + at + 2);
		at += p[at + 1];
	}
	for (; at < header; at++)
		assert_int_equal(p[at], 0);
	return mss;
}

static void must_67_68_69_the_syn_announces_what_the_port_can_take(void **state)
{
	static const uint16_t mtus[] = {1280, 1400, 1500};

	for (unsigned v6 = 0; v6 < 2; v6++) {
		for (unsigned i = 0; i < 3; i++) {
			struct harness_options options = {.v6 = v6, .mtu = mtus[i]};
			struct dialog d;

			dialog_begin(&d, &options, &full);
			d.c = harness_connect(d.h, 25);
			assert_true(dialog_take(&d));
			assert_int_equal(check_syn_options(&d, v6 ? 40 : 20),
					 mtus[i] - (v6 ? 60 : 40));
			dialog_end(&d);
		}
	}
}

static void must_16_what_a_segment_carries_leaves_room_for_its_options(void **state)
{
	struct offer small = full;
	struct dialog d;

	small.mss = 1000;
	d = connected(&v4, &small);
	harness_send(d.c, bytes, 4000);
	hears(&d, A, 0, 988);
	hears(&d, A, 988, 988);
	dialog_end(&d);
}

static void reserved_bits_are_sent_as_zero_and_ignored(void **state)
{
	struct dialog d = connected(&v4, &plain);
	struct script_segment s = dialog_base(&d, A);
	uint8_t packet[2048];
	size_t size;

	s.data = "abc";
	s.size = 3;
	size = script_build(d.h, &s, packet);
	packet[32] |= 0x0f;
	raw_finish(packet, size);
	harness_feed(d.h, packet, size);
	assert_int_equal(d.c->received_size, 3);
	d.seq += 3;
	harness_advance(d.h, 50000);
	hears(&d, A, 0, 0);
	assert_int_equal(d.copy[32] & 0x0f, 0);
	dialog_end(&d);
}

static void a_data_offset_outside_of_the_segment_is_dropped(void **state)
{
	struct dialog d = connected(&v4, &plain);
	struct script_segment s = dialog_base(&d, A);
	uint8_t packet[2048];

	for (unsigned offset = 0; offset < 16; offset++) {
		size_t size = script_build(d.h, &s, packet);

		if (offset == 5)
			continue;
		packet[32] = (uint8_t)(offset << 4);
		raw_finish(packet, size);
		harness_feed(d.h, packet, size);
	}
	assert_int_equal(counters(&d)->tcp_drop_header, 15);
	hears_nothing(&d);
	dialog_end(&d);
}

static void must_2_every_kind_of_segment_is_sent_with_its_checksum(void **state)
{
	/* script_take asserts the checksum of whatever is heard. */
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct harness_options options = {.v6 = v6};
		struct dialog d = connected(&options, &full); /* SYN, ACK */

		harness_send(d.c, bytes, 1);
		hears(&d, A, 0, 1);
		d.ack += 1;
		says(&d, A);
		harness_send(d.c, bytes, 999);
		hears(&d, A, 0, 999);
		harness_abort(d.c);
		hears(&d, R | A, 999, 0);
		d.seq += 5;
		says(&d, A); /* to nothing */
		assert_true(dialog_take(&d));
		assert_int_equal(d.s.flags, R);
		dialog_end(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(must_4_64_end_nop_and_mss_are_read_at_any_alignment),
		cmocka_unit_test(must_4_nothing_behind_the_end_of_options_counts),
		cmocka_unit_test(must_5_an_option_is_taken_in_any_segment),
		cmocka_unit_test(must_6_unknown_options_are_passed_over_by_their_length),
		cmocka_unit_test(must_7_a_malformed_syn_is_dropped_and_the_next_is_answered),
		cmocka_unit_test(must_65_mss_counts_in_a_syn_alone_and_is_sent_in_no_other),
		cmocka_unit_test(must_67_68_69_the_syn_announces_what_the_port_can_take),
		cmocka_unit_test(must_16_what_a_segment_carries_leaves_room_for_its_options),
		cmocka_unit_test(reserved_bits_are_sent_as_zero_and_ignored),
		cmocka_unit_test(a_data_offset_outside_of_the_segment_is_dropped),
		cmocka_unit_test(must_2_every_kind_of_segment_is_sent_with_its_checksum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
