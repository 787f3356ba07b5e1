/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the swarm (tests/sim/tcp) found, each as a short script. */
#include "dataplane/tcp/internal.h"
#include "tests/unit/tcp/dialog.h"

/* The peer sends 100 bytes that the application does not take. */
static struct dialog with_unread_data(void)
{
	struct dialog d = connected(&v4, &with_sack);

	d.c->take_limit = 0;
	says_at(&d, A, 0, bytes, 100);
	assert_int_equal(d.c->received_size, 0);
	harness_advance(d.h, 50000);
	hears(&d, A, 0, 0);
	return d;
}

static void reads_all(struct dialog *d)
{
	harness_take_more(d->c, 1000);
	assert_int_equal(d->c->received_size, 100);
	assert_true(d->c->ended);
	assert_true(d->c->closed);
	assert_int_equal(d->c->reason, TCP_CLOSED);
	dialog_end(d);
}

/* Seed 3: the peer was done, and answered a window update with RST. */
static void RFC_1337_a_reset_in_time_wait_takes_no_unread_data_away(void **state)
{
	struct dialog d = with_unread_data();

	harness_close(d.c);
	hears(&d, F | A, 0, 0);
	d.ack++;
	says(&d, F | A);
	hears(&d, A, 0, 0);
	says_at(&d, R, 1, NULL, 0); /* not exact */
	says(&d, R);
	hears_nothing(&d);
	reads_all(&d);
}

/* Seed 8: the ACK of our FIN ended the connection before the application had read all. */
static void the_last_ack_takes_no_unread_data_away(void **state)
{
	struct dialog d = with_unread_data();

	says(&d, F | A);
	hears(&d, A, 0, 0);
	harness_close(d.c);
	hears(&d, F | A, 0, 0);
	d.ack++;
	says(&d, A);
	assert_false(d.c->closed);
	reads_all(&d);
}

/* Seed 3: nothing more can come, so there is no window to tell of. */
static void behind_the_peers_fin_no_window_is_announced(void **state)
{
	struct harness_options small = {.seed = 1, .receive_window = 4000};
	struct dialog d = connected(&small, &with_sack);

	d.c->take_limit = 0;
	says_at(&d, A, 0, bytes, 1460);
	says_at(&d, A, 0, bytes, 1460);
	hears(&d, A, 0, 0);
	says(&d, F | A);
	hears(&d, A, 0, 0);
	harness_take_more(d.c, 10000);
	assert_int_equal(d.c->received_size, 2920);
	hears_nothing(&d);
	dialog_end(&d);
}

/* Seed 61: an ACK on a segment that fills a hole comes with a lower sequence number than the last
 * window update had. Its window counts all the same. */
static void an_ack_of_new_data_brings_its_window_even_out_of_order(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	d.window = 1460;
	says_at(&d, A, 2000, bytes, 100); /* leaves a hole: SND.WL1 is beyond it */
	hears(&d, A, 0, 0);
	harness_send(d.c, bytes, 5000);
	hears(&d, A, 0, 1460);
	hears_nothing(&d);
	d.ack += 1460;
	d.window = 0;
	says_at(&d, A, 0, bytes, 100); /* in the hole */
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.length, 0); /* the window is shut: no data */
	hears_nothing(&d);
	dialog_end(&d);
}

/* Seed 1764: a forged SYN took the record away, and the peer, who had missed our last ACK, was
 * answered with RST. */
static void RFC_6191_a_syn_ends_time_wait_only_where_somebody_listens(void **state)
{
	struct dialog d = connected(&v4, &with_sack);
	uint32_t fin;

	harness_close(d.c);
	hears(&d, F | A, 0, 0);
	d.ack++;
	fin = d.seq;
	says(&d, F | A);
	hears(&d, A, 0, 0);
	assert_int_equal(time_waits(&d), 1);
	says_at(&d, S, 50000, NULL, 0);
	hears(&d, A, 0, 0);
	assert_int_equal(time_waits(&d), 1);
	d.seq = fin;
	says(&d, F | A);
	hears(&d, A, 0, 0);
	dialog_end(&d);
}

/* Seed 293: pacing's time went away with the flight, and nobody woke the connection again. */
static void who_waits_for_pacing_is_woken_though_nothing_is_in_flight(void **state)
{
	const struct harness_options paced = {.seed = 1, .paced = true};
	struct dialog d = connecting(&paced, &with_sack);
	struct script_segment syn = dialog_syn(&d, S | A);

	harness_advance(d.h, 100000); /* the round trip that pacing goes by */
	script_feed(d.h, &syn);
	d.seq++;
	hears(&d, A, 0, 0);
	tcb_of(d.h->stack, d.c->handle)->cwnd = 20 * 1460; /* more than goes at once */
	harness_write(d.c, bytes, 12 * 1460);
	for (int32_t n = 0; n < 12; n++) {
		if (n == 10)
			harness_advance(d.h, 5500);
		hears(&d, A, n * 1460, 1460);
	}
	says_at(&d, A, 0, bytes, 10);
	says_at(&d, A, -10, bytes, 10); /* a duplicate to be reported: the flight stays for it */
	d.ack += 12 * 1460;
	says(&d, A);
	harness_write(d.c, bytes, 100);
	hears(&d, A, 0, 0); /* the report; it is too early for data */
	hears_nothing(&d);
	harness_advance(d.h, 10000);
	hears(&d, A, 0, 100);
	dialog_end(&d);
}

/* The swarm's receivers renege; what is lost by that comes again without a timeout for each. */
static void RFC_2018_8_a_timeout_forgets_what_was_sacked(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	harness_write(d.c, bytes, 4 * 1460);
	for (int i = 0; i < 4; i++)
		hears(&d, A, i * 1460, 1460);
	harness_advance(d.h, 5000);
	acks(&d, 0, 1, (const uint32_t[][2]){{1460, 4 * 1460}});
	hears(&d, A, 0, 1460); /* lost, for all that came behind it */
	d.ack += 1460;
	says(&d, A); /* and nothing is reported any more */
	hears_nothing(&d);
	while (counters(&d)->tcp_rto == 0)
		harness_advance(d.h, 10000);
	hears(&d, A, 0, 1460);
	hears_nothing(&d);
	d.ack += 1460;
	says(&d, A);
	hears(&d, A, 0, 1460);
	hears(&d, A, 1460, 1460);
	d.ack += 2 * 1460;
	says(&d, A);
	harness_abort(d.c);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(RFC_1337_a_reset_in_time_wait_takes_no_unread_data_away),
		cmocka_unit_test(the_last_ack_takes_no_unread_data_away),
		cmocka_unit_test(behind_the_peers_fin_no_window_is_announced),
		cmocka_unit_test(an_ack_of_new_data_brings_its_window_even_out_of_order),
		cmocka_unit_test(RFC_6191_a_syn_ends_time_wait_only_where_somebody_listens),
		cmocka_unit_test(who_waits_for_pacing_is_woken_though_nothing_is_in_flight),
		cmocka_unit_test(RFC_2018_8_a_timeout_forgets_what_was_sacked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
