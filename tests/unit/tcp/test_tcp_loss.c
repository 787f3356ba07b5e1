/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The finer points of loss detection and recovery (RFC 5681, 8985, 9937), each of which could be
 * taken out without any other test going red.
 */
#include "tests/unit/tcp/dialog.h"

#include "dataplane/tcp/internal.h"

#define MSS 1460

static unsigned heard(struct dialog *d)
{
	unsigned count = 0;

	while (dialog_take(d))
		count++;
	return count;
}

/* Twenty segments are in flight, 50 ms old, and more are queued. */
static struct dialog twenty_in_flight(void)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 60000);
	assert_int_equal(heard(&d), 10);
	acks(&d, 10 * MSS, 0, NULL);
	d.ack += 10 * MSS;
	assert_int_equal(heard(&d), 20);
	harness_advance(d.h, 50000);
	return d;
}

static void rfc_9937_6_2_above_ssthresh_each_ack_releases_its_share(void **state)
{
	struct dialog d = twenty_in_flight();
	unsigned total = 0;

	for (uint32_t i = 4; i <= 8; i++) {
		const uint32_t block[1][2] = {{MSS, i * MSS}};
		unsigned now;

		acks(&d, 0, 1, block);
		now = heard(&d);
		assert_in_range(now, i == 4, i == 4 ? 3 : 1);
		total += now;
	}
	assert_in_range(total, 4, 6); /* 70 % of the seven that were delivered */
	dialog_end(&d);
}

static void rfc_9937_6_2_without_progress_no_more_is_sent_than_was_delivered(void **state)
{
	struct dialog d = twenty_in_flight();

	acks(&d, 0, 1, (const uint32_t[][2]){{12 * MSS, 20 * MSS}}); /* twelve are lost */
	assert_int_equal(heard(&d), 8);
	dialog_end(&d);
}

static void rfc_9937_6_2_no_more_is_in_flight_than_ssthresh(void **state)
{
	struct dialog d = twenty_in_flight();

	acks(&d, 0, 1, (const uint32_t[][2]){{3 * MSS, 20 * MSS}}); /* 17 came at once */
	assert_int_equal(heard(&d), 14);
	assert_int_equal(information(&d).ssthresh_bytes, 14 * MSS);
	dialog_end(&d);
}

static void rfc_5681_3_1_a_second_timeout_of_the_same_loss_reduces_no_more(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 10 * MSS);
	assert_int_equal(heard(&d), 10);
	while (counters(&d)->tcp_rto < 1)
		harness_advance(d.h, 10000);
	assert_int_equal(information(&d).ssthresh_bytes, 7 * MSS);
	while (counters(&d)->tcp_rto < 2)
		harness_advance(d.h, 10000);
	assert_int_equal(information(&d).ssthresh_bytes, 7 * MSS);
	assert_int_equal(information(&d).cwnd_bytes, MSS);
	dialog_end(&d);
}

static void rfc_6928_2_the_initial_window_of_larger_segments_is_14600_octets(void **state)
{
	struct harness_options options = {.seed = 1, .mtu = 2000};
	struct offer offer = {.sack = true, .scale = -1, .mss = 1960};
	struct dialog d = connected(&options, &offer);

	assert_true(information(&d).mss > 1900);
	assert_int_equal(information(&d).cwnd_bytes, 14600);
	dialog_end(&d);
}

/* What was sent again and is acknowledged too soon for that was the original. */
static void rfc_8985_6_2_step_2_an_answer_too_soon_says_nothing_of_the_retransmission(void **state)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, 10 * MSS);
	assert_int_equal(heard(&d), 10);
	harness_advance(d.h, 50000);
	acks(&d, 0, 1, (const uint32_t[][2]){{2 * MSS, 5 * MSS}});
	assert_int_equal(heard(&d), 2);
	harness_advance(d.h, 5000);
	acks(&d, MSS, 1, (const uint32_t[][2]){{2 * MSS, 5 * MSS}});
	assert_int_equal(heard(&d), 0); /* else all that is older than it counted as lost */
	dialog_end(&d);
}

static void rfc_8985_6_2_step_2_nor_does_an_answer_with_an_older_echo(void **state)
{
	struct dialog d = measured(&full);
	struct script_segment ack;
	uint32_t echo, mss = MSS - 12;

	harness_send(d.c, bytes, 10 * mss);
	assert_int_equal(heard(&d), 10);
	echo = d.ts_ecr;
	harness_advance(d.h, 50000);
	acks(&d, 0, 1, (const uint32_t[][2]){{2 * mss, 5 * mss}});
	assert_int_equal(heard(&d), 2);
	harness_advance(d.h, 60000);
	d.ts_ecr = echo;
	ack = dialog_base(&d, A);
	ack.ack += mss;
	ack.sacks = 1;
	ack.sack[0][0] = d.ack + 2 * mss;
	ack.sack[0][1] = d.ack + 5 * mss;
	script_feed(d.h, &ack);
	assert_int_equal(heard(&d), 0);
	dialog_end(&d);
}

static void rfc_8985_6_2_step_4_sixteen_recoveries_forget_the_wider_window(void **state)
{
	struct dialog d = measured(&with_sack);
	struct tcb *tcb = &d.h->stack->tcp->tcbs[0];

	harness_send(d.c, bytes, 2 * MSS);
	assert_int_equal(heard(&d), 2);
	harness_advance(d.h, 50000);
	acks(&d, MSS, 1, (const uint32_t[][2]){{(uint32_t)-MSS, 0}});
	acks(&d, 2 * MSS, 0, NULL);
	d.ack += 2 * MSS;
	assert_int_equal(tcb->reo_mult, 2);
	for (unsigned i = 1; i <= 16; i++) {
		assert_int_equal(tcb->reo_mult, 2);
		tcb->cwnd = 10 * MSS; /* the window is not what this is about */
		harness_send(d.c, bytes, 4 * MSS);
		assert_int_equal(heard(&d), 4);
		harness_advance(d.h, 50000);
		acks(&d, 0, 1, (const uint32_t[][2]){{MSS, 4 * MSS}});
		assert_int_equal(heard(&d), 1);
		assert_int_equal(counters(&d)->tcp_fast_recovery, i);
		harness_advance(d.h, 50000);
		acks(&d, 4 * MSS, 0, NULL);
		d.ack += 4 * MSS;
	}
	assert_int_equal(tcb->reo_mult, 1);
	dialog_end(&d);
}

/* The tail's probe is out and not answered. */
static struct dialog tail_probed(unsigned segments)
{
	struct dialog d = measured(&with_sack);

	harness_send(d.c, bytes, segments * MSS);
	assert_int_equal(heard(&d), segments);
	harness_advance(d.h, 50000);
	acks(&d, MSS, 0, NULL);
	while (counters(&d)->tcp_tail_probe == 0)
		harness_advance(d.h, 1000);
	assert_int_equal(heard(&d), 1);
	return d;
}

static void rfc_8985_6_3_a_timeout_leaves_what_was_sent_lately_in_flight(void **state)
{
	struct dialog d = tail_probed(2);
	unsigned sent = 0;

	while (counters(&d)->tcp_rto == 0) { /* the timeout counts from the probe */
		harness_send(d.c, bytes, 100);
		sent += heard(&d);
		harness_advance(d.h, 10000);
	}
	assert_true(sent > 8);
	/* The first, which was sent again, and five or six of the last 62 ms. */
	assert_in_range(information(&d).in_flight_bytes, MSS + 400, MSS + 700);
	dialog_end(&d);
}

static void rfc_8985_7_2_a_flight_has_one_tail_probe(void **state)
{
	struct dialog d = tail_probed(4);

	acks(&d, 2 * MSS, 0, NULL); /* the probe's answer is still to come */
	for (unsigned i = 0; i < 1000 && counters(&d)->tcp_rto == 0; i++)
		harness_advance(d.h, 1000);
	assert_int_equal(counters(&d)->tcp_rto, 1);
	assert_int_equal(counters(&d)->tcp_tail_probe, 1);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_9937_6_2_above_ssthresh_each_ack_releases_its_share),
		cmocka_unit_test(rfc_9937_6_2_without_progress_no_more_is_sent_than_was_delivered),
		cmocka_unit_test(rfc_9937_6_2_no_more_is_in_flight_than_ssthresh),
		cmocka_unit_test(rfc_5681_3_1_a_second_timeout_of_the_same_loss_reduces_no_more),
		cmocka_unit_test(rfc_6928_2_the_initial_window_of_larger_segments_is_14600_octets),
		cmocka_unit_test(
			rfc_8985_6_2_step_2_an_answer_too_soon_says_nothing_of_the_retransmission),
		cmocka_unit_test(rfc_8985_6_2_step_2_nor_does_an_answer_with_an_older_echo),
		cmocka_unit_test(rfc_8985_6_2_step_4_sixteen_recoveries_forget_the_wider_window),
		cmocka_unit_test(rfc_8985_6_3_a_timeout_leaves_what_was_sent_lately_in_flight),
		cmocka_unit_test(rfc_8985_7_2_a_flight_has_one_tail_probe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
