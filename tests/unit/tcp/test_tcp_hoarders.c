/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Peers that hold what is ours: memory for what they do not acknowledge or do not let us send,
 * connections that they do not end. Each of these fails when its defence is taken out (ATTACKS.md);
 * see test_tcp_memory.c for the pools and test_tcp_limits.c for answers.
 */
#include "tests/unit/tcp/dialog.h"

#include "dataplane/tcp/internal.h"

static uint32_t chunks_held(const struct dialog *d)
{
	return chunk_pool_count(d->h->chunks) - chunk_pool_available(d->h->chunks);
}

static void one_that_stops_acknowledging_holds_an_eighth_of_the_free_chunks(void **state)
{
	static const uint8_t much[8000000];
	struct harness_options options = {.seed = 1, .chunks = 512};
	struct dialog d =
		connected(&options, &(struct offer){.sack = true, .scale = 14, .mss = 1460});
	struct tcp_information i;

	harness_send(d.c, much, sizeof(much));
	for (unsigned round = 0; round < 8; round++) {
		uint32_t end = d.ack;

		while (dialog_take(&d))
			end = d.s.seq + d.s.length;
		harness_advance(d.h, 10000);
		d.ack = end;
		says(&d, A);
	}
	while (dialog_take(&d))
		;
	harness_information(d.c, &i);
	assert_true(i.cwnd_bytes > 512 * CHUNK_DATA / 8);
	assert_in_range(chunks_held(&d), 40, 512 / 8 + 2);
	harness_abort(d.c);
	dialog_end(&d);
}

static void received_data_leaves_half_of_the_chunks_to_senders(void **state)
{
	struct harness_options options = {.seed = 1, .chunks = 64, .receive_window = 1 << 20};
	struct dialog d = connected(&options, &full);

	d.c->take_limit = 0;
	for (unsigned i = 0; i < 400; i++) {
		says_at(&d, A, 0, bytes, 1400);
		while (dialog_take(&d))
			d.seq = d.s.ack;
	}
	assert_int_equal(chunks_held(&d), 32);
	assert_true(counters(&d)->tcp_drop_no_chunk > 0);
	harness_send(d.c, bytes, 10000);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.length, 1448);
	harness_abort(d.c);
	dialog_end(&d);
}

static void unread_data_holds_time_wait_for_five_minutes_at_most(void **state)
{
	struct dialog d = connected(&v4, &full);

	d.c->take_limit = 0;
	says_at(&d, A, 0, "unread", 6);
	harness_close(d.c);
	while (dialog_take(&d))
		;
	d.ack++;
	says(&d, F | A);
	hears(&d, A, 0, 0);
	assert_string_equal(dialog_state(&d), "TIME-WAIT");
	harness_advance(d.h, 299000000);
	assert_false(d.c->closed);
	harness_advance(d.h, 2000000);
	assert_true(d.c->closed);
	assert_int_equal(chunks_held(&d), 0);
	dialog_end(&d);
}

static void no_state_of_closing_lasts_without_the_peer(void **state)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		struct dialog d = connected(&v4, &full);

		if (kind == 2) { /* LAST-ACK */
			says(&d, F | A);
			hears(&d, A, 0, 0);
		}
		harness_close(d.c);
		hears(&d, F | A, 0, 0);
		if (kind == 1) { /* FIN-WAIT-2 */
			d.ack++;
			says(&d, A);
		} else if (kind == 3) { /* CLOSING */
			says(&d, F | A);
			assert_string_equal(dialog_state(&d), "CLOSING");
		}
		harness_advance(d.h, 310000000);
		while (dialog_take(&d))
			;
		assert_true(d.c->closed);
		assert_int_equal(connections(&d), 0);
		dialog_end(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_stops_acknowledging_holds_an_eighth_of_the_free_chunks),
		cmocka_unit_test(received_data_leaves_half_of_the_chunks_to_senders),
		cmocka_unit_test(unread_data_holds_time_wait_for_five_minutes_at_most),
		cmocka_unit_test(no_state_of_closing_lasts_without_the_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
