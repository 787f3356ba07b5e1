/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What SACK blocks tell of the end of a flight, and what they do not tell (RFC 2018, RFC 8985). */
#include "tests/unit/tcp/dialog.h"

#include "dataplane/tcp/internal.h"

#define MSS 1460

/* The round trip is 100 ms, four segments are in flight; the last brings the FIN when asked for. */
static struct dialog four_in_flight(bool fin)
{
	struct dialog d = connected_after(&v4, &with_sack, 100000);

	assert_int_equal(tcp_send(d.h->stack, d.c->handle, bytes, 4 * MSS), 0);
	if (fin)
		harness_close(d.c);
	for (int32_t n = 0; n < 3; n++)
		hears(&d, A, n * MSS, MSS);
	hears(&d, fin ? F | A : A, 3 * MSS, MSS);
	harness_advance(d.h, 100000);
	return d;
}

/* Receivers that keep early data and drop an early FIN report the data only. */
static void a_sack_of_the_data_before_a_fin_finds_the_hole_within_a_reordering_window(void **state)
{
	static const uint32_t last[][2] = {{3 * MSS, 4 * MSS}};
	struct dialog d = four_in_flight(true);

	acks(&d, 2 * MSS, 1, last);
	hears_nothing(&d);
	harness_advance(d.h, 26000); /* min_RTT/4 */
	hears(&d, A, 2 * MSS, MSS);
	harness_advance(d.h, 100000);
	acks(&d, 4 * MSS, 0, NULL); /* all but the FIN, which was sent before that */
	harness_advance(d.h, 26000);
	hears(&d, F | A, 4 * MSS, 0);
	acks(&d, 4 * MSS + 1, 0, NULL);
	assert_string_equal(dialog_state(&d), "FIN-WAIT-2");
	dialog_end(&d);
}

static void of_a_lost_segment_with_fin_the_fin_stays_lost_when_its_data_was_sacked(void **state)
{
	static const uint32_t last[][2] = {{3 * MSS, 4 * MSS}};
	struct dialog d = four_in_flight(true);

	do /* the probe, then the timeout */
		harness_advance(d.h, 100000);
	while (!dialog_take(&d) || d.s.seq != d.ack);
	acks(&d, 3 * MSS, 1, last);
	hears(&d, F | A, 4 * MSS, 0);
	acks(&d, 4 * MSS + 1, 0, NULL);
	assert_string_equal(dialog_state(&d), "FIN-WAIT-2");
	dialog_end(&d);
}

static void a_sack_that_covers_the_fin_covers_the_segment(void **state)
{
	static const uint32_t last[][2] = {{3 * MSS, 4 * MSS + 1}};
	struct dialog d = four_in_flight(true);

	acks(&d, 2 * MSS, 1, last);
	harness_advance(d.h, 26000);
	hears(&d, A, 2 * MSS, MSS);
	harness_advance(d.h, 100000);
	acks(&d, 4 * MSS + 1, 0, NULL);
	hears_nothing(&d);
	assert_string_equal(dialog_state(&d), "FIN-WAIT-2");
	dialog_end(&d);
}

/* A delayed ACK that a hole hurries along. */
static void
rfc_8985_6_2_an_ack_and_a_block_beyond_a_hole_in_one_segment_are_no_reordering(void **state)
{
	static const uint32_t last[][2] = {{3 * MSS, 4 * MSS}};
	struct dialog d = four_in_flight(false);
	struct tcp_measure m;

	acks(&d, 2 * MSS, 1, last);
	assert_int_equal(tcp_measure(d.h->stack, d.c->handle, &m), 0);
	assert_false(m.reordering);
	dialog_end(&d);
}

static void rfc_8985_6_2_what_arrives_behind_its_successor_is_reordering(void **state)
{
	static const uint32_t last[][2] = {{3 * MSS, 4 * MSS}};
	struct dialog d = four_in_flight(false);
	struct tcp_measure m;

	acks(&d, 2 * MSS, 1, last);
	acks(&d, 4 * MSS, 0, NULL);
	assert_int_equal(tcp_measure(d.h->stack, d.c->handle, &m), 0);
	assert_true(m.reordering);
	dialog_end(&d);
}

/* The original comes late, after its retransmission has left: its echo says so. */
static void rfc_8985_6_2_an_original_that_overtakes_its_retransmission_was_reordered(void **state)
{
	static const uint32_t others[][2] = {{1448, 4 * 1448}};
	struct dialog d = connected_after(&v4, &full, 100000);
	struct tcb *tcb = tcb_of(d.h->stack, d.c->handle);
	struct tcp_measure m;
	uint32_t echo;

	tcb->flags |= TCB_REORDERING_TOLD; /* as the last one left it */
	assert_int_equal(tcp_send(d.h->stack, d.c->handle, bytes, 4 * 1448), 0);
	for (int32_t n = 0; n < 4; n++)
		hears(&d, A, n * 1448, 1448);
	echo = d.ts_ecr;
	harness_advance(d.h, 100000);
	acks(&d, 0, 1, others);
	harness_advance(d.h, 26000);
	hears(&d, A, 0, 1448);
	assert_int_equal(tcp_measure(d.h->stack, d.c->handle, &m), 0);
	assert_false(m.reordering);
	d.ts_ecr = echo;
	harness_advance(d.h, 1000);
	acks(&d, 4 * 1448, 0, NULL);
	assert_int_equal(tcp_measure(d.h->stack, d.c->handle, &m), 0);
	assert_true(m.reordering);
	assert_true((tcb->flags & TCB_REORDERING_TOLD) == 0); /* the destination hears of it anew */
	dialog_end(&d);
}

/* What comes behind a hole echoes what came before the hole, retransmission or not. */
static void rfc_8985_6_2_the_echo_of_a_block_does_not_tell_an_original(void **state)
{
	static const uint32_t others[][2] = {{1448, 2 * 1448}, {3 * 1448, 8 * 1448}};
	static const uint32_t more[][2] = {{1448, 8 * 1448}};
	struct dialog d = connected_after(&v4, &full, 100000);
	struct tcp_measure m;
	uint32_t echo;

	assert_int_equal(tcp_send(d.h->stack, d.c->handle, bytes, 8 * 1448), 0);
	for (int32_t n = 0; n < 8; n++)
		hears(&d, A, n * 1448, 1448);
	echo = d.ts_ecr;
	harness_advance(d.h, 100000);
	acks(&d, 0, 2, others);
	harness_advance(d.h, 26000);
	hears(&d, A, 0, 1448);
	hears(&d, A, 2 * 1448, 1448);
	d.ts_ecr = echo;
	harness_advance(d.h, 100000);
	acks(&d, 0, 1, more); /* the first was lost again */
	assert_int_equal(tcp_measure(d.h->stack, d.c->handle, &m), 0);
	assert_false(m.reordering);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_sack_of_the_data_before_a_fin_finds_the_hole_within_a_reordering_window),
		cmocka_unit_test(
			of_a_lost_segment_with_fin_the_fin_stays_lost_when_its_data_was_sacked),
		cmocka_unit_test(a_sack_that_covers_the_fin_covers_the_segment),
		cmocka_unit_test(
			rfc_8985_6_2_an_ack_and_a_block_beyond_a_hole_in_one_segment_are_no_reordering),
		cmocka_unit_test(rfc_8985_6_2_what_arrives_behind_its_successor_is_reordering),
		cmocka_unit_test(
			rfc_8985_6_2_an_original_that_overtakes_its_retransmission_was_reordered),
		cmocka_unit_test(rfc_8985_6_2_the_echo_of_a_block_does_not_tell_an_original),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
