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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_9937_6_recovery_ends_with_the_window_at_ssthresh),
		cmocka_unit_test(rfc_6928_2_one_lost_syn_does_not_cut_the_first_window_two_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
