/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Receiving: order, reassembly, SACK and D-SACK, delayed ACKs, the window, timestamps, checksums
 * (RFC 9293 3.8.6 and 3.10.7.4, RFC 2018, 2883, 7323).
 */
#include "tests/unit/tcp/dialog.h"

/* SACK block i of the last segment, relative to the peer's next byte. */
static void has_block(const struct dialog *d, unsigned i, uint32_t start, uint32_t end)
{
	assert_true(d->s.sack_count > i);
	assert_int_equal(d->s.sack[i].start - d->seq, start);
	assert_int_equal(d->s.sack[i].end - d->seq, end);
}

static void rfc_9293_one_segment_is_acknowledged_after_40_ms(void **state)
{
	struct dialog d = connected(&v4, &plain);

	says_at(&d, A, 0, "a", 1);
	hears_nothing(&d);
	harness_advance(d.h, 39000);
	hears_nothing(&d);
	harness_advance(d.h, 2000);
	hears(&d, A, 0, 0);
	dialog_end(&d);
}

static void must_58_the_second_segment_is_acknowledged_at_once(void **state)
{
	struct dialog d = connected(&v4, &plain);

	says_at(&d, A, 0, bytes, 1460);
	hears_nothing(&d);
	says_at(&d, A, 0, bytes, 1460);
	hears(&d, A, 0, 0);
	hears_nothing(&d);
	dialog_end(&d);
}

static void an_answer_carries_the_ack(void **state)
{
	struct dialog d = connected(&v4, &plain);

	says_at(&d, A, 0, "EHLO", 4);
	harness_send(d.c, "250", 3);
	hears(&d, A, 0, 3);
	harness_advance(d.h, 100000);
	hears_nothing(&d);
	dialog_end(&d);
}

static void out_of_order_data_is_kept_and_delivered_in_order(void **state)
{
	struct dialog d = connected(&v4, &plain);

	says_at(&d, A, 6, "ghi", 3);
	hears_ack_of(&d, 0); /* RFC 5681, 4.2: at once */
	says_at(&d, A, 3, "def", 3);
	hears_ack_of(&d, 0);
	assert_int_equal(d.c->received_size, 0);
	says_at(&d, A, 0, "abc", 3);
	assert_int_equal(d.c->received_size, 9);
	assert_memory_equal(d.c->received, "abcdefghi", 9);
	hears_ack_of(&d, 6);
	dialog_end(&d);
}

static void every_order_and_overlap_gives_the_same_stream(void **state)
{
	struct mr_random random;
	uint8_t stream[3000];

	random_init_seed(&random, 5);
	random_bytes(&random, stream, sizeof(stream));
	for (unsigned round = 0; round < 300; round++) {
		struct harness_options options = {.seed = round};
		struct dialog d = connected(&options, round % 2 ? &with_sack : &full);
		uint32_t base = d.seq;

		for (unsigned i = 0; i < 4000 && d.c->received_size < sizeof(stream); i++) {
			uint32_t at = random_below(&random, sizeof(stream));
			uint32_t size = 1 + random_below(&random, 400);

			if (i % 10 == 9)
				at = (uint32_t)d.c->received_size;
			if (size > sizeof(stream) - at)
				size = sizeof(stream) - at;
			d.seq = base;
			says_at(&d, A, (int32_t)at, stream + at, size);
			while (dialog_take(&d))
				;
		}
		assert_int_equal(d.c->received_size, sizeof(stream));
		assert_memory_equal(d.c->received, stream, sizeof(stream));
		dialog_end(&d);
	}
}

static void rfc_2018_the_first_block_is_the_latest_and_neighbours_merge(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	says_at(&d, A, 100, bytes, 100);
	hears_ack_of(&d, 0);
	assert_int_equal(d.s.sack_count, 1);
	has_block(&d, 0, 100, 200);
	says_at(&d, A, 300, bytes, 100);
	hears_ack_of(&d, 0);
	assert_int_equal(d.s.sack_count, 2);
	has_block(&d, 0, 300, 400);
	has_block(&d, 1, 100, 200);
	says_at(&d, A, 500, bytes, 100);
	hears_ack_of(&d, 0);
	says_at(&d, A, 200, bytes, 100);
	hears_ack_of(&d, 0);
	assert_int_equal(d.s.sack_count, 2);
	has_block(&d, 0, 100, 400);
	has_block(&d, 1, 500, 600);
	dialog_end(&d);
}

static void rfc_2018_at_most_three_blocks_with_timestamps_and_four_without(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	for (unsigned i = 1; i < 8; i++) {
		says_at(&d, A, (int32_t)(i * 200), bytes, 100);
		hears_ack_of(&d, 0);
	}
	assert_int_equal(d.s.sack_count, 4);
	has_block(&d, 0, 1400, 1500);
	dialog_end(&d);
	d = connected(&v4, &full);
	for (unsigned i = 1; i < 8; i++) {
		says_at(&d, A, (int32_t)(i * 200), bytes, 100);
		hears_ack_of(&d, 0);
	}
	assert_int_equal(d.s.sack_count, 3);
	dialog_end(&d);
}

static void without_sack_permitted_no_blocks_are_sent(void **state)
{
	struct dialog d = connected(&v4, &plain);

	says_at(&d, A, 100, bytes, 100);
	hears_ack_of(&d, 0);
	assert_int_equal(d.s.sack_count, 0);
	dialog_end(&d);
}

static void rfc_2883_old_data_is_reported_as_a_duplicate(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	says_at(&d, A, 0, bytes, 100);
	says_at(&d, A, -100, bytes, 100);
	hears_ack_of(&d, 0);
	assert_int_equal(d.s.sack_count, 1);
	has_block(&d, 0, (uint32_t)-100, 0);
	says_at(&d, A, 0, bytes, 100); /* reported once only */
	says_at(&d, A, 0, bytes, 100);
	hears_ack_of(&d, 0);
	assert_int_equal(d.s.sack_count, 0);
	dialog_end(&d);
}

static void rfc_2883_a_duplicate_above_a_hole_comes_before_its_block(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	says_at(&d, A, 100, bytes, 200);
	hears_ack_of(&d, 0);
	says_at(&d, A, 150, bytes, 50);
	hears_ack_of(&d, 0);
	assert_int_equal(d.s.sack_count, 2);
	has_block(&d, 0, 150, 200);
	has_block(&d, 1, 100, 300);
	dialog_end(&d);
}

static void filling_a_hole_is_acknowledged_at_once(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	says_at(&d, A, 100, bytes, 100);
	hears_ack_of(&d, 0);
	says_at(&d, A, 0, bytes, 100);
	hears_ack_of(&d, 100);
	dialog_end(&d);
}

static void what_the_session_leaves_closes_the_window_and_is_offered_again(void **state)
{
	struct harness_options options = {.receive_window = 4000};
	struct dialog d = connected(&options, &plain);

	d.c->take_limit = 1000;
	says_at(&d, A, 0, bytes, 1460);
	says_at(&d, A, 0, bytes + 1460, 1460);
	hears(&d, A, 0, 0);
	assert_int_equal(d.s.window, 4000 - 1920);
	assert_int_equal(d.c->received_size, 1000);
	says_at(&d, A, 0, bytes + 2920, 1460);
	says_at(&d, A, 0, bytes + 4380, 620);
	hears(&d, A, 0, 0);
	assert_int_equal(d.s.window, 0);
	says_at(&d, A, 0, bytes + 5000, 1); /* a probe of one byte beyond the window */
	d.seq--;
	hears(&d, A, 0, 0);
	assert_int_equal(d.s.window, 0);
	harness_take_more(d.c, SIZE_MAX);
	assert_int_equal(d.c->received_size, 5000);
	assert_memory_equal(d.c->received, bytes, 5000);
	hears(&d, A, 0, 0); /* tells at once */
	assert_int_equal(d.s.window, 4000);
	dialog_end(&d);
}

static void must_39_the_window_opens_in_steps_worth_a_segment(void **state)
{
	struct harness_options options = {.receive_window = 4000};
	struct dialog d = connected(&options, &plain);

	d.c->take_limit = 0;
	says_at(&d, A, 0, bytes, 1460);
	says_at(&d, A, 0, bytes, 1460);
	says_at(&d, A, 0, bytes, 1080);
	while (dialog_take(&d))
		;
	assert_int_equal(d.s.window, 0);
	harness_take_more(d.c, 500);
	hears_nothing(&d);
	harness_take_more(d.c, 2000);
	hears(&d, A, 0, 0);
	assert_int_equal(d.s.window, 2500);
	dialog_end(&d);
}

static void must_66_at_a_zero_window_acks_and_resets_count(void **state)
{
	struct harness_options options = {.receive_window = 1000};
	struct dialog d = connected(&options, &plain);

	d.c->take_limit = 0;
	says_at(&d, A, 0, bytes, 1000);
	hears_nothing(&d);
	harness_send(d.c, "x", 1);
	hears(&d, A, 0, 1);
	assert_int_equal(d.s.window, 0);
	d.ack++;
	says_at(&d, A, 0, bytes, 100); /* its data is dropped, its ACK is not */
	d.seq -= 100;
	assert_int_equal(tcp_unacknowledged(d.h->stack, d.c->handle), 0);
	hears(&d, A, 0, 0);
	says(&d, R);
	assert_true(d.c->closed);
	dialog_end(&d);
}

static void the_right_edge_of_the_window_never_moves_back(void **state)
{
	struct harness_options options = {.receive_window = 20000};
	struct dialog d = connected(&options, &full);
	uint32_t edge = 0;

	for (unsigned i = 0; i < 13; i++) {
		d.c->take_limit = i % 3 == 0 ? 700 : 0;
		says_at(&d, A, 0, bytes, 1448);
		harness_advance(d.h, 50000);
		assert_true(dialog_take(&d));
		if (i > 0)
			assert_true((int32_t)(d.s.ack + d.s.window - edge) >= 0);
		edge = d.s.ack + d.s.window;
	}
	dialog_end(&d);
}

static void data_beyond_the_window_is_cut_off(void **state)
{
	struct harness_options options = {.receive_window = 1000};
	struct dialog d = connected(&options, &plain);

	says_at(&d, A, 0, bytes, 1400);
	assert_int_equal(d.c->received_size, 1000);
	hears_ack_of(&d, -400);
	dialog_end(&d);
}

static void a_segment_wholly_outside_the_window_is_answered_and_dropped(void **state)
{
	struct dialog d = connected(&v4, &plain);

	says_at(&d, A, 100000, bytes, 100);
	hears_ack_of(&d, 0);
	assert_int_equal(counters(&d)->tcp_drop_window, 1);
	says_at(&d, A, -70000, bytes, 100);
	hears_ack_of(&d, 0);
	assert_int_equal(d.c->received_size, 0);
	dialog_end(&d);
}

static void a_keep_alive_is_answered(void **state)
{
	struct dialog d = connected(&v4, &plain);

	says_at(&d, A, -1, NULL, 0);
	hears_ack_of(&d, 0);
	says_at(&d, A, -1, "x", 1);
	hears_ack_of(&d, 0);
	dialog_end(&d);
}

static void must_3_a_wrong_checksum_is_dropped_silently(void **state)
{
	struct dialog d = connected(&v4, &plain);
	struct script_segment s = dialog_base(&d, A);

	s.data = "evil";
	s.size = 4;
	s.bad_checksum = true;
	script_feed(d.h, &s);
	harness_advance(d.h, 100000);
	hears_nothing(&d);
	assert_int_equal(d.c->received_size, 0);
	assert_int_equal(counters(&d)->tcp_drop_checksum, 1);
	dialog_end(&d);
}

static void must_7_malformed_options_are_dropped(void **state)
{
	struct dialog d = connected(&v4, &plain);
	struct script_segment s = dialog_base(&d, A);
	uint8_t packet[2048];
	static const uint8_t bad[][4] = {{8, 0, 0, 0}, {8, 1, 0, 0}, {5, 40, 0, 0}, {1, 1, 1, 8}};

	for (unsigned i = 0; i < 4; i++) {
		size_t size;

		s.mss = 1460; /* makes room for four bytes */
		size = script_build(d.h, &s, packet);
		memcpy(packet + 40, bad[i], 4);
		memset(packet + 36, 0, 2);
		checksum_store(packet + 36, checksum_add(checksum_pseudo(&d.h->peer, &d.h->address,
									 PROTOCOL_TCP, 24),
							 packet + 20, 24));
		harness_feed(d.h, packet, size);
	}
	assert_int_equal(counters(&d)->tcp_drop_header, 4);
	hears_nothing(&d);
	dialog_end(&d);
}

static void rfc_7323_an_old_timestamp_is_dropped_with_an_ack(void **state)
{
	struct dialog d = connected(&v4, &full);

	d.ts += 100;
	says_at(&d, A, 0, "a", 1);
	d.ts -= 50;
	says_at(&d, A, 0, "b", 1);
	d.seq--;
	hears(&d, A, 0, 0);
	assert_int_equal(d.c->received_size, 1);
	assert_int_equal(counters(&d)->tcp_drop_paws, 1);
	d.ts += 50;
	says_at(&d, A, 0, "b", 1);
	assert_int_equal(d.c->received_size, 2);
	dialog_end(&d);
}

static void rfc_7323_after_24_idle_days_any_timestamp_is_good(void **state)
{
	struct dialog d = connected(&v4, &full);

	harness_advance(d.h, UINT64_C(25) * 24 * 3600 * 1000000);
	d.ts -= 0x7000000;
	says_at(&d, A, 0, "a", 1);
	assert_int_equal(d.c->received_size, 1);
	dialog_end(&d);
}

static void rfc_7323_a_segment_without_its_timestamp_is_dropped_but_a_reset_counts(void **state)
{
	struct dialog d = connected(&v4, &full);

	d.offer.timestamps = false;
	says_at(&d, A, 0, "a", 1);
	d.seq--;
	hears_nothing(&d);
	assert_int_equal(d.c->received_size, 0);
	says(&d, R);
	assert_true(d.c->closed);
	dialog_end(&d);
}

static void rfc_7323_the_echo_is_that_of_the_segment_that_is_acknowledged(void **state)
{
	struct dialog d = connected(&v4, &full);
	uint32_t first;

	d.ts += 10;
	first = d.ts;
	says_at(&d, A, 0, "a", 1); /* delayed */
	d.ts += 10;
	says_at(&d, A, 0, "b", 1);
	hears(&d, A, 0, 0);
	assert_int_equal(d.s.ts_ecr, first); /* RFC 7323, 4.3 (A): the earliest unacknowledged */
	d.ts += 10;
	says_at(&d, A, 10, "z", 1); /* behind a hole: (B) not its timestamp */
	hears_ack_of(&d, 0);
	assert_int_equal(d.s.ts_ecr, first);
	dialog_end(&d);
}

static void memory_for_out_of_order_data_is_bounded_and_the_stream_goes_on(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	for (unsigned i = 0; i < 200; i++) {
		says_at(&d, A, (int32_t)(2 + i * 2), "x", 1); /* each with a hole before it */
		while (dialog_take(&d))
			;
	}
	assert_in_range(chunk_pool_count(d.h->chunks) - chunk_pool_available(d.h->chunks), 1, 32);
	assert_int_equal(counters(&d)->tcp_drop_reassembly, 168);
	says_at(&d, A, 0, bytes, 1460);
	assert_int_equal(d.c->received_size, 1460);
	assert_int_equal(chunk_pool_available(d.h->chunks), chunk_pool_count(d.h->chunks));
	dialog_end(&d);
}

static void without_chunks_data_that_is_not_taken_is_dropped_and_comes_again(void **state)
{
	struct harness_options options = {.chunks = 2};
	struct dialog d = connected(&options, &plain);

	d.c->take_limit = 0;
	for (unsigned i = 0; i < 3; i++) {
		says_at(&d, A, 0, bytes + i * 1460, 1460);
		while (dialog_take(&d))
			;
	}
	assert_int_equal(d.s.ack - d.seq,
			 (uint32_t)(CHUNK_DATA - 3 * 1460)); /* one chunk's worth */
	assert_true(counters(&d)->tcp_drop_no_chunk > 0);
	harness_take_more(d.c, SIZE_MAX);
	assert_int_equal(d.c->received_size, CHUNK_DATA);
	d.seq -= 300;
	says_at(&d, A, 0, bytes + 3 * 1460 - 300, 300);
	assert_int_equal(d.c->received_size, 3 * 1460);
	assert_memory_equal(d.c->received, bytes, 3 * 1460);
	dialog_end(&d);
}

static void must_30_urgent_data_is_delivered_in_line(void **state)
{
	struct dialog d = connected(&v4, &plain);

	says_at(&d, A | TCP_URG, 0, "abc", 3);
	assert_int_equal(d.c->received_size, 3);
	dialog_end(&d);
}

static void data_after_the_peers_fin_is_ignored(void **state)
{
	struct dialog d = connected(&v4, &plain);

	says(&d, F | A);
	hears(&d, A, 0, 0);
	says_at(&d, A, 0, "x", 1);
	assert_int_equal(d.c->received_size, 0);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_9293_one_segment_is_acknowledged_after_40_ms),
		cmocka_unit_test(must_58_the_second_segment_is_acknowledged_at_once),
		cmocka_unit_test(an_answer_carries_the_ack),
		cmocka_unit_test(out_of_order_data_is_kept_and_delivered_in_order),
		cmocka_unit_test(every_order_and_overlap_gives_the_same_stream),
		cmocka_unit_test(rfc_2018_the_first_block_is_the_latest_and_neighbours_merge),
		cmocka_unit_test(rfc_2018_at_most_three_blocks_with_timestamps_and_four_without),
		cmocka_unit_test(without_sack_permitted_no_blocks_are_sent),
		cmocka_unit_test(rfc_2883_old_data_is_reported_as_a_duplicate),
		cmocka_unit_test(rfc_2883_a_duplicate_above_a_hole_comes_before_its_block),
		cmocka_unit_test(filling_a_hole_is_acknowledged_at_once),
		cmocka_unit_test(what_the_session_leaves_closes_the_window_and_is_offered_again),
		cmocka_unit_test(must_39_the_window_opens_in_steps_worth_a_segment),
		cmocka_unit_test(must_66_at_a_zero_window_acks_and_resets_count),
		cmocka_unit_test(the_right_edge_of_the_window_never_moves_back),
		cmocka_unit_test(data_beyond_the_window_is_cut_off),
		cmocka_unit_test(a_segment_wholly_outside_the_window_is_answered_and_dropped),
		cmocka_unit_test(a_keep_alive_is_answered),
		cmocka_unit_test(must_3_a_wrong_checksum_is_dropped_silently),
		cmocka_unit_test(must_7_malformed_options_are_dropped),
		cmocka_unit_test(rfc_7323_an_old_timestamp_is_dropped_with_an_ack),
		cmocka_unit_test(rfc_7323_after_24_idle_days_any_timestamp_is_good),
		cmocka_unit_test(
			rfc_7323_a_segment_without_its_timestamp_is_dropped_but_a_reset_counts),
		cmocka_unit_test(rfc_7323_the_echo_is_that_of_the_segment_that_is_acknowledged),
		cmocka_unit_test(memory_for_out_of_order_data_is_bounded_and_the_stream_goes_on),
		cmocka_unit_test(without_chunks_data_that_is_not_taken_is_dropped_and_comes_again),
		cmocka_unit_test(must_30_urgent_data_is_delivered_in_line),
		cmocka_unit_test(data_after_the_peers_fin_is_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
