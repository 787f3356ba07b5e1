/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a stranger can make the stack send is limited, each kind by itself, and what a peer needs an
 * answer to is answered even then.
 */
#include "tests/unit/tcp/dialog.h"

#define FLOOD 1000u

static unsigned hear_all(struct dialog *d)
{
	unsigned heard = 0;

	while (dialog_take(d))
		heard++;
	return heard;
}

static unsigned flood(struct dialog *d, uint8_t flags, int32_t offset, const void *data,
		      size_t size)
{
	unsigned heard = 0;

	for (unsigned i = 0; i < FLOOD; i++) {
		says_at(d, flags, offset, data, size);
		heard += hear_all(d);
	}
	return heard;
}

static void a_flood_of_old_data_is_not_answered_one_by_one(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	says_at(&d, A, 0, bytes, 1000);
	harness_advance(d.h, 500000);
	hear_all(&d);
	assert_in_range(flood(&d, A, -1000, bytes, 1000), 100, 300);
	assert_true(counters(&d)->tcp_answer_limited > FLOOD / 2);
	/* Nor is data far beyond the window. */
	harness_advance(d.h, 10000000);
	assert_in_range(flood(&d, A, 0x10000000, bytes, 1000), 100, 300);
	dialog_end(&d);
}

/* The ACKs of a whole window were lost, of a peer that sends all of it again at once. */
static void a_window_that_comes_again_is_acknowledged_segment_by_segment(void **state)
{
	struct dialog d = connected(&v4, &with_sack);
	unsigned heard = 0;

	for (unsigned i = 0; i < 40; i++)
		says_at(&d, A, 0, bytes, 1000);
	hear_all(&d);
	for (unsigned i = 0; i < 40; i++) {
		says_at(&d, A, -40000 + (int32_t)i * 1000, bytes, 1000);
		heard += hear_all(&d);
		assert_int_equal(d.s.sack_count, 1); /* RFC 2883: each is reported */
		assert_int_equal(d.s.sack[0].start - (d.seq - 40000), i * 1000);
	}
	assert_int_equal(heard, 40);
	dialog_end(&d);
}

/* Whoever knows the ports can use up the challenges, but not the answers to the peer. */
static void a_flood_of_challenges_leaves_room_for_the_peer_s_retransmissions(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	says_at(&d, A, 0, bytes, 1000);
	harness_advance(d.h, 500000);
	hear_all(&d);
	for (unsigned i = 0; i < 20; i++) {
		flood(&d, S, 0x40000000, NULL, 0);
		says_at(&d, A, -1000, bytes, 1000);
		assert_int_equal(hear_all(&d), 1);
		harness_advance(d.h, 200000);
		hear_all(&d);
	}
	dialog_end(&d);
}

static void after_a_flood_a_retransmission_is_soon_answered(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	says_at(&d, A, 0, bytes, 1000);
	hear_all(&d);
	flood(&d, A, -1000, bytes, 1000);
	harness_advance(d.h, 200000); /* as soon as any peer's timeout */
	hear_all(&d);
	says_at(&d, A, -1000, bytes, 1000);
	assert_int_equal(hear_all(&d), 1);
	dialog_end(&d);
}

static void a_limit_does_not_outlive_weeks_of_silence(void **state)
{
	struct harness_options options = {.seed = 1};
	struct dialog d = connected(&options, &plain);

	flood(&d, S, 0x40000000, NULL, 0);
	for (unsigned day = 0; day < 30; day++)
		harness_advance(d.h, UINT64_C(24) * 3600 * 1000000);
	hear_all(&d);
	says_at(&d, S, 0x40000000, NULL, 0);
	assert_int_equal(hear_all(&d), 1);
	dialog_end(&d);
}

static void zero_window_probes_are_answered_and_a_flood_of_them_is_not(void **state)
{
	struct dialog d = connected(&v4, &plain);

	harness_hold(d.c);
	for (unsigned i = 0; i < 64; i++) {
		says_at(&d, A, 0, bytes, 1024);
		hear_all(&d);
	}
	assert_int_equal(d.s.window, 0);
	assert_in_range(flood(&d, A, 0, NULL, 0), 0, 0);
	for (unsigned i = 0; i < 20; i++) {
		harness_advance(d.h, 200000);
		hear_all(&d);
		says_at(&d, A, 0, bytes, 1);
		d.seq--;
		assert_int_equal(hear_all(&d), 1);
	}
	for (unsigned i = 0; i < FLOOD; i++) {
		says_at(&d, A, 0, bytes, 1);
		d.seq--;
	}
	hear_all(&d);
	assert_true(counters(&d)->tcp_answer_limited == 0); /* one ACK answers all of a turn */
	for (unsigned i = 0; i < FLOOD; i++) {
		says_at(&d, A, 0, bytes, 1);
		d.seq--;
		hear_all(&d);
	}
	assert_true(counters(&d)->tcp_answer_limited > FLOOD / 2);
	dialog_end(&d);
}

static void wrong_acks_in_syn_sent_are_reset_within_a_limit(void **state)
{
	struct dialog d = connecting(&v4, &plain);
	struct script_segment syn;
	unsigned heard;

	d.ack += 1000;
	heard = flood(&d, A, 0x1000, NULL, 0);
	assert_in_range(heard, 6, 19);
	assert_int_equal(counters(&d)->tcp_rst_sent, heard);
	assert_int_equal(counters(&d)->tcp_rst_rate_limited, FLOOD - heard);
	d.ack -= 1000;
	/* RFC 9293, figure 10: an old connection's other end is told, and the open goes on. */
	harness_advance(d.h, 900000);
	d.ack += 1000;
	says_at(&d, A, 0x1000, NULL, 0);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, R);
	d.ack -= 1000;
	syn = dialog_syn(&d, S | A);
	script_feed(d.h, &syn);
	assert_true(d.c->connected);
	dialog_end(&d);
}

static void a_repeated_syn_is_answered_again_and_a_flood_of_it_is_not(void **state)
{
	struct script_segment syn;
	unsigned heard = 0;
	struct dialog d = listening(&v4, &plain);

	syn = dialog_syn(&d, S);
	for (unsigned i = 0; i < FLOOD; i++) {
		script_feed(d.h, &syn);
		heard += hear_all(&d);
	}
	assert_in_range(heard, 7, 20);
	harness_advance(d.h, 400000);
	hear_all(&d);
	script_feed(d.h, &syn); /* a peer's comes again after a second */
	assert_int_equal(hear_all(&d), 1);
	assert_int_equal(d.s.flags, S | A);
	d.seq++;
	d.ack = d.s.seq + 1;
	says(&d, A);
	assert_non_null(d.h->accepted);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flood_of_old_data_is_not_answered_one_by_one),
		cmocka_unit_test(a_window_that_comes_again_is_acknowledged_segment_by_segment),
		cmocka_unit_test(a_flood_of_challenges_leaves_room_for_the_peer_s_retransmissions),
		cmocka_unit_test(after_a_flood_a_retransmission_is_soon_answered),
		cmocka_unit_test(a_limit_does_not_outlive_weeks_of_silence),
		cmocka_unit_test(zero_window_probes_are_answered_and_a_flood_of_them_is_not),
		cmocka_unit_test(wrong_acks_in_syn_sent_are_reset_within_a_limit),
		cmocka_unit_test(a_repeated_syn_is_answered_again_and_a_flood_of_it_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
