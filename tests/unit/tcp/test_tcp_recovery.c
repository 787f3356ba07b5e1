/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where the window stands after a recovery (RFC 9937, RFC 6928, RFC 8985). */
#include "tests/unit/tcp/dialog.h"

#define MSS 1460

static void rfc_9937_6_recovery_ends_with_the_window_at_ssthresh(void **state)
{
	static const uint32_t second_half[][2] = {{5 * MSS, 10 * MSS}};
	struct dialog d = measured(&with_sack);
	struct tcp_information i;

	harness_send(d.c, bytes, 10 * MSS);
	for (int32_t n = 0; n < 10; n++)
		hears(&d, A, n * MSS, MSS);
	harness_advance(d.h, 50000);
	acks(&d, 0, 1, second_half);
	for (int32_t n = 0; n < 5; n++)
		hears(&d, A, n * MSS, MSS);
	harness_information(d.c, &i);
	assert_true(i.cwnd_bytes < 7 * MSS); /* as many as were delivered */
	harness_advance(d.h, 50000);
	acks(&d, 10 * MSS, 0, NULL);
	harness_information(d.c, &i);
	assert_int_equal(i.ssthresh_bytes, 7 * MSS);
	assert_int_equal(i.cwnd_bytes, 7 * MSS);
	dialog_end(&d);
}

static void rfc_6928_2_one_lost_syn_does_not_cut_the_first_window_two_do(void **state)
{
	for (unsigned lost = 1; lost <= 2; lost++) {
		struct dialog d = connecting(&v4, &with_sack);
		struct tcp_information i;
		struct script_segment syn;

		for (unsigned n = 0; n < lost; n++) {
			harness_advance(d.h, 1010000u << n);
			assert_true(dialog_take(&d));
			assert_int_equal(d.s.flags, S);
		}
		syn = dialog_syn(&d, S | A);
		script_feed(d.h, &syn);
		d.seq++;
		hears(&d, A, 0, 0);
		harness_information(d.c, &i);
		assert_int_equal(i.cwnd_bytes, lost == 1 ? 10 * MSS : MSS);
		dialog_end(&d);
	}
}

/* RFC 7323, 4.3: an ACK of two echoes the first, also where both were sent again and the second
 * later. */
static void rfc_3522_the_echo_of_a_delayed_ack_is_about_the_first_that_it_covers(void **state)
{
	struct dialog d = connected_after(&v4, &full, 100000);
	uint32_t echo;

	assert_int_equal(tcp_send(d.h->stack, d.c->handle, bytes, 8 * 1448), 0);
	for (int32_t n = 0; n < 8; n++)
		hears(&d, A, n * 1448, 1448);
	do /* the probe, then the timeout */
		harness_advance(d.h, 100000);
	while (!dialog_take(&d) || d.s.seq != d.ack);
	harness_advance(d.h, 100000);
	acks(&d, 1448, 0, NULL);
	hears(&d, A, 1448, 1448);
	hears(&d, A, 2 * 1448, 1448);
	echo = d.ts_ecr;
	harness_advance(d.h, 100000);
	acks(&d, 2 * 1448, 0, NULL);
	hears(&d, A, 3 * 1448, 1448);
	harness_advance(d.h, 100000);
	d.ts_ecr = echo;
	acks(&d, 4 * 1448, 0, NULL);
	assert_int_equal(counters(&d)->tcp_spurious, 0);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_9937_6_recovery_ends_with_the_window_at_ssthresh),
		cmocka_unit_test(rfc_6928_2_one_lost_syn_does_not_cut_the_first_window_two_do),
		cmocka_unit_test(
			rfc_3522_the_echo_of_a_delayed_ack_is_about_the_first_that_it_covers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
