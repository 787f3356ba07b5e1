/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Peers that lie about what they have received: what SACK and D-SACK may claim, and what the
 * claims can cost. Each of these fails when its defence is taken out (ATTACKS.md).
 */
#include "tests/unit/tcp/dialog.h"

#include "dataplane/tcp/internal.h"

#define MSS 1460

/* A connection whose round trip is 50 ms, with ten segments in flight that are 50 ms old. */
static struct dialog ten_in_flight(const struct offer *offer)
{
	struct dialog d = measured(offer);

	harness_send(d.c, bytes, 10 * MSS);
	for (int32_t n = 0; n < 10; n++)
		hears(&d, A, n * MSS, MSS);
	harness_advance(d.h, 50000);
	return d;
}

/* As many tiny segments as one may have are in flight. */
static struct dialog very_much_in_flight(unsigned *segments)
{
	static const uint8_t much[4000000];
	struct offer offer = {.sack = true, .scale = 14, .mss = 48};
	struct harness_options options = {.seed = 1, .chunks = 20000, .connections = 4096};
	struct dialog d = connected(&options, &offer);

	harness_send(d.c, much, sizeof(much));
	for (unsigned round = 0;; round++) {
		uint32_t end = d.ack;

		*segments = 0;
		while (dialog_take(&d)) {
			end = d.s.seq + d.s.length;
			++*segments;
		}
		harness_advance(d.h, 10000);
		if (round == 11)
			return d;
		d.ack = end;
		says(&d, A);
	}
}

/* CVE-2019-11477, -11478. */
static void sack_panic_a_connection_has_at_most_4096_segments_in_flight(void **state)
{
	unsigned segments;
	struct dialog d = very_much_in_flight(&segments);

	assert_true(information(&d).cwnd_bytes > 5000 * 216);
	assert_int_equal(segments, 4096);
	harness_abort(d.c);
	dialog_end(&d);
}

static void sack_panic_an_ack_does_not_walk_over_all_that_is_in_flight(void **state)
{
	unsigned segments;
	struct dialog d = very_much_in_flight(&segments);
	uint64_t before = counters(&d)->tcp_board_steps;

	for (uint32_t i = 0; i < 500; i++) { /* holes everywhere, and nothing acknowledged */
		uint32_t block[4][2];

		for (uint32_t j = 0; j < 4; j++) {
			block[j][0] = 216 * (1 + (i * 4 + j) * 1237 % 2000 * 2);
			block[j][1] = block[j][0] + 216;
		}
		acks(&d, 0, 4, (const uint32_t(*)[2])block);
		while (dialog_take(&d))
			;
		harness_advance(d.h, 10);
	}
	/* What is found lost is found once; a walk each would be 2,000,000 steps and more. */
	assert_in_range(counters(&d)->tcp_board_steps - before, 1, 200000);
	harness_abort(d.c);
	dialog_end(&d);
}

static void what_was_lost_and_was_not_by_turns_is_believed_once_in_a_window(void **state)
{
	struct dialog d = ten_in_flight(&with_sack);

	acks(&d, 0, 1, (const uint32_t[][2]){{MSS, 4 * MSS}});
	hears(&d, A, 0, MSS);
	acks(&d, 2 * MSS, 1, (const uint32_t[][2]){{0, MSS}});
	assert_int_equal(counters(&d)->tcp_spurious, 1);
	acks(&d, 4 * MSS, 1, (const uint32_t[][2]){{5 * MSS, 9 * MSS}});
	hears(&d, A, 4 * MSS, MSS);
	assert_int_equal(counters(&d)->tcp_fast_recovery, 2);
	acks(&d, 5 * MSS, 1, (const uint32_t[][2]){{4 * MSS, 5 * MSS}});
	assert_int_equal(counters(&d)->tcp_dsack, 2);
	assert_int_equal(counters(&d)->tcp_spurious, 1);
	dialog_end(&d);
}

static void a_block_over_a_part_of_a_segment_says_nothing_of_the_whole(void **state)
{
	struct dialog d = ten_in_flight(&with_sack);

	acks(&d, 0, 1, (const uint32_t[][2]){{4 * MSS + 1, 7 * MSS - 1}});
	assert_int_equal(information(&d).in_flight_bytes, 9 * MSS);
	dialog_end(&d);
}

static void a_block_that_begins_before_the_ack_is_not_believed(void **state)
{
	struct dialog d = ten_in_flight(&with_sack);

	acks(&d, 0, 2, (const uint32_t[][2]){{9 * MSS, 10 * MSS}, {(uint32_t)-100, 2 * MSS}});
	assert_int_equal(information(&d).in_flight_bytes, 9 * MSS);
	dialog_end(&d);
}

static void a_d_sack_about_what_was_never_sent_or_long_ago_is_none(void **state)
{
	struct dialog d = ten_in_flight(&with_sack);

	acks(&d, 0, 2, (const uint32_t[][2]){{20 * MSS, 21 * MSS}, {15 * MSS, 30 * MSS}});
	acks(&d, 0, 1, (const uint32_t[][2]){{(uint32_t)-200000, (uint32_t)-199000}});
	assert_int_equal(counters(&d)->tcp_dsack, 0);
	acks(&d, 0, 1, (const uint32_t[][2]){{(uint32_t)-1000, (uint32_t)-900}});
	assert_int_equal(counters(&d)->tcp_dsack, 1);
	dialog_end(&d);
}

static void one_d_sack_for_two_retransmissions_restores_nothing(void **state)
{
	struct dialog d = ten_in_flight(&with_sack);

	acks(&d, 0, 1, (const uint32_t[][2]){{2 * MSS, 5 * MSS}});
	hears(&d, A, 0, MSS);
	hears(&d, A, MSS, MSS);
	acks(&d, 10 * MSS, 1, (const uint32_t[][2]){{0, MSS}});
	assert_int_equal(information(&d).cwnd_bytes, 7 * MSS);
	assert_int_equal(counters(&d)->tcp_spurious, 0);
	/* The second's report may come late, and then counts; a third is about nothing. */
	acks(&d, 10 * MSS, 1, (const uint32_t[][2]){{MSS, 2 * MSS}});
	assert_int_equal(counters(&d)->tcp_spurious, 1);
	acks(&d, 10 * MSS, 1, (const uint32_t[][2]){{MSS, 2 * MSS}});
	assert_int_equal(counters(&d)->tcp_spurious, 1);
	dialog_end(&d);
}

static void a_d_sack_without_a_retransmission_restores_nothing(void **state)
{
	struct dialog d = ten_in_flight(&with_sack);

	acks(&d, 10 * MSS, 1, (const uint32_t[][2]){{0, MSS}});
	assert_int_equal(counters(&d)->tcp_dsack, 1);
	assert_int_equal(counters(&d)->tcp_spurious, 0);
	dialog_end(&d);
}

static void d_sacks_make_loss_detection_wait_by_a_round_trip_at_most(void **state)
{
	struct dialog d = ten_in_flight(&with_sack);
	const struct tcb *tcb = &d.h->stack->tcp->tcbs[0];

	acks(&d, 10 * MSS, 0, NULL);
	d.ack += 10 * MSS;
	for (unsigned round = 0; round < 40; round++) { /* twice in each: it counts once */
		harness_send(d.c, bytes, 2 * MSS);
		hears(&d, A, 0, MSS);
		hears(&d, A, MSS, MSS);
		harness_advance(d.h, 50000);
		acks(&d, MSS, 1, (const uint32_t[][2]){{(uint32_t)-MSS, 0}});
		acks(&d, MSS, 1, (const uint32_t[][2]){{(uint32_t)-MSS, 0}});
		if (round == 3)
			assert_int_equal(tcb->reo_mult, 5);
		acks(&d, 2 * MSS, 0, NULL);
		d.ack += 2 * MSS;
	}
	assert_int_equal(tcb->reo_mult, 16);
	harness_send(d.c, bytes, 5 * MSS);
	for (int32_t n = 0; n < 5; n++)
		hears(&d, A, n * MSS, MSS);
	harness_advance(d.h, 50000);
	acks(&d, 0, 1, (const uint32_t[][2]){{3 * MSS, 4 * MSS}});
	harness_advance(d.h, 55000);
	hears(&d, A, 0, MSS);
	dialog_end(&d);
}

/* As ten_in_flight; the second and the first were sent again, two more segments are out, and all
 * but these is acknowledged. */
static struct dialog after_a_recovery(const struct offer *offer, uint32_t mss, bool duplicates)
{
	struct dialog d = connecting(&v4, offer);
	struct script_segment syn = dialog_syn(&d, S | A), ack;
	unsigned heard = 0;

	harness_advance(d.h, 50000);
	script_feed(d.h, &syn);
	d.seq++;
	hears(&d, A, 0, 0);
	harness_send(d.c, bytes, 12 * mss);
	for (int32_t n = 0; n < 10; n++)
		hears(&d, A, n * (int32_t)mss, mss);
	harness_advance(d.h, 50000);
	ack = dialog_base(&d, A);
	ack.sacks = 1;
	ack.sack[0][0] = d.ack + 2 * mss;
	ack.sack[0][1] = d.ack + 10 * mss;
	script_feed(d.h, &ack);
	while (dialog_take(&d))
		heard++;
	assert_int_equal(heard, 4);
	for (uint32_t n = 0; n < 2; n++) {
		ack = dialog_base(&d, A);
		ack.ack += 10 * mss;
		ack.sacks = duplicates;
		ack.sack[0][0] = d.ack + n * mss;
		ack.sack[0][1] = d.ack + (n + 1) * mss;
		script_feed(d.h, &ack);
	}
	hears_nothing(&d);
	return d;
}

/* The tail's probe, and its answer. */
static void probed(struct dialog *d, uint32_t mss, bool duplicate)
{
	uint32_t echo = d->ts_ecr;
	struct script_segment ack;

	harness_advance(d->h, 120000);
	hears(d, A, 11 * (int32_t)mss, mss);
	d->ts_ecr = echo;
	ack = dialog_base(d, A);
	ack.ack += 12 * mss;
	ack.sacks = duplicate;
	ack.sack[0][0] = d->ack + 11 * mss;
	ack.sack[0][1] = d->ack + 12 * mss;
	script_feed(d->h, &ack);
}

static void what_was_restored_is_not_restored_again(void **state)
{
	struct dialog d = after_a_recovery(&with_sack, MSS, true);

	assert_int_equal(counters(&d)->tcp_spurious, 1);
	probed(&d, MSS, true);
	assert_int_equal(counters(&d)->tcp_dsack, 3);
	assert_int_equal(counters(&d)->tcp_spurious, 1);
	dialog_end(&d);
}

static void an_old_echo_outside_of_a_recovery_restores_nothing(void **state)
{
	struct dialog d = after_a_recovery(&full, MSS - 12, false);

	assert_int_equal(counters(&d)->tcp_spurious, 0);
	probed(&d, MSS - 12, false);
	assert_int_equal(counters(&d)->tcp_tail_probe, 1);
	assert_int_equal(counters(&d)->tcp_spurious, 0);
	dialog_end(&d);
}

/* RFC 5681, 2: without SACK a duplicate ACK shows the same window. */
static void acks_that_move_the_window_are_no_duplicates(void **state)
{
	struct dialog d = ten_in_flight(&plain);

	for (unsigned i = 0; i < 20; i++) {
		d.window--;
		acks(&d, 0, 0, NULL);
	}
	hears_nothing(&d);
	assert_int_equal(counters(&d)->tcp_fast_recovery, 0);
	dialog_end(&d);
}

/* Whoever looks at the stream on its way must see the same as the application. */
static void of_two_copies_of_a_byte_the_first_to_come_counts(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	says_at(&d, A, 10, "BBBBBBBBBB", 10);
	says_at(&d, A, 5, "cccccccccccccccccccc", 20); /* over it, on both sides */
	says_at(&d, A, 12, "dddd", 4);
	while (dialog_take(&d))
		;
	says_at(&d, A, 0, "aaaaaaaaaaaaaaa", 15); /* before and over them */
	assert_int_equal(d.c->received_size, 25);
	assert_memory_equal(d.c->received, "aaaaaaaaaaaaaaaBBBBBccccc", 25);
	d.seq += 10;
	hears_ack_of(&d, 0);
	says_at(&d, A, -20, "eeeeeeeeeeeeeeeeeeeeffff", 24); /* old and new */
	assert_int_equal(d.c->received_size, 29);
	assert_memory_equal(d.c->received, "aaaaaaaaaaaaaaaBBBBBcccccffff", 29);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sack_panic_a_connection_has_at_most_4096_segments_in_flight),
		cmocka_unit_test(sack_panic_an_ack_does_not_walk_over_all_that_is_in_flight),
		cmocka_unit_test(what_was_lost_and_was_not_by_turns_is_believed_once_in_a_window),
		cmocka_unit_test(a_block_over_a_part_of_a_segment_says_nothing_of_the_whole),
		cmocka_unit_test(a_block_that_begins_before_the_ack_is_not_believed),
		cmocka_unit_test(a_d_sack_about_what_was_never_sent_or_long_ago_is_none),
		cmocka_unit_test(one_d_sack_for_two_retransmissions_restores_nothing),
		cmocka_unit_test(a_d_sack_without_a_retransmission_restores_nothing),
		cmocka_unit_test(d_sacks_make_loss_detection_wait_by_a_round_trip_at_most),
		cmocka_unit_test(what_was_restored_is_not_restored_again),
		cmocka_unit_test(an_old_echo_outside_of_a_recovery_restores_nothing),
		cmocka_unit_test(acks_that_move_the_window_are_no_duplicates),
		cmocka_unit_test(of_two_copies_of_a_byte_the_first_to_come_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
