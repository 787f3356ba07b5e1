/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Path MTU: reports that are believed, deferred or refused, black holes, and the way up again. */
#include "tests/unit/tcp/raw.h"

#include "dataplane/tcp/internal.h"

#define MSS    1460u
#define MINUTE UINT64_C(60000000)

static void drain(struct dialog *d)
{
	while (harness_take(d->h, d->copy) != 0)
		;
}

/* Fragmentation needed, about the segment with this number in a packet of `quoted` bytes. */
static void reports(struct dialog *d, uint32_t seq, uint16_t quoted, uint16_t mtu)
{
	raw_feed_icmp(d, 3, 4, mtu, seq, quoted);
}

static void rfc_1191_the_first_report_is_followed_at_once(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	harness_send(d.c, bytes, 2 * MSS);
	drain(&d);
	reports(&d, d.ack, 1500, 1280);
	assert_int_equal(information(&d).mss, 1240);
	assert_int_equal(counters(&d)->tcp_ptb, 1);
	dialog_end(&d);
}

/* Full segments were acknowledged, and more are in flight. */
static struct dialog proven(void)
{
	struct dialog d = connected(&v4, &with_sack);

	harness_send(d.c, bytes, 6 * MSS);
	drain(&d);
	acks(&d, 2 * MSS, 0, NULL);
	drain(&d);
	d.ack += 2 * MSS;
	return d;
}

static void rfc_5927_a_report_below_what_was_acknowledged_waits_and_is_forgotten(void **state)
{
	struct dialog d = proven();

	reports(&d, d.ack, 1500, 600);
	assert_int_equal(information(&d).mss, MSS);
	assert_int_equal(counters(&d)->tcp_ptb_deferred, 1);
	acks(&d, 4 * MSS, 0, NULL); /* it got through: forged */
	assert_int_equal(counters(&d)->icmp_error_ignored, 1);
	harness_advance(d.h, 5000000);
	drain(&d);
	assert_int_equal(information(&d).mss, MSS);
	dialog_end(&d);
}

static void rfc_5927_a_report_that_waits_is_followed_when_its_segment_times_out(void **state)
{
	struct dialog d = proven();

	reports(&d, d.ack, 1500, 1280);
	assert_int_equal(information(&d).mss, MSS);
	harness_advance(d.h, 2500000);
	drain(&d);
	assert_int_equal(information(&d).mss, 1240);
	dialog_end(&d);
}

static void rfc_5927_a_report_that_waits_is_forgotten_when_a_part_was_acknowledged(void **state)
{
	struct dialog d = proven();

	reports(&d, d.ack, 1500, 1280);
	assert_int_equal(counters(&d)->tcp_ptb_deferred, 1);
	acks(&d, 700, 0, NULL);
	harness_advance(d.h, 2500000);
	drain(&d);
	assert_int_equal(information(&d).mss, MSS);
	assert_int_equal(counters(&d)->icmp_error_ignored, 1);
	dialog_end(&d);
}

/* About bytes in the middle of a segment, which the peer has: the loss of the one before says
 * nothing of it. */
static void rfc_5927_a_report_that_waits_is_forgotten_when_its_segment_was_sacked(void **state)
{
	static const uint32_t second[1][2] = {{MSS, 2 * MSS}};
	struct dialog d = proven();

	reports(&d, d.ack + MSS + 10, 1500, 1280);
	assert_int_equal(counters(&d)->tcp_ptb_deferred, 1);
	acks(&d, 0, 1, second);
	harness_advance(d.h, 500000);
	drain(&d);
	assert_int_equal(information(&d).mss, MSS);
	assert_int_equal(counters(&d)->tcp_ptb, 0);
	dialog_end(&d);
}

static void rfc_5927_forged_reports_are_ignored(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	harness_send(d.c, bytes, 2 * MSS);
	drain(&d);
	reports(&d, d.ack - 1, 1500, 1280);	  /* acknowledged */
	reports(&d, d.ack + 2 * MSS, 1500, 1280); /* never sent */
	reports(&d, d.ack, 9000, 1280);		  /* larger than any packet of ours */
	reports(&d, d.ack, 1500, 1500);		  /* it fits */
	reports(&d, d.ack, 1500, 9000);
	assert_int_equal(information(&d).mss, MSS);
	assert_int_equal(counters(&d)->icmp_error_ignored, 5);
	dialog_end(&d);
}

static void no_report_makes_segments_tiny(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	harness_send(d.c, bytes, 2 * MSS);
	drain(&d);
	reports(&d, d.ack, 1500, 68);
	assert_int_equal(information(&d).mss, 512);
	dialog_end(&d);
}

/* Large segments vanish until they are small. */
static struct dialog fallen(void)
{
	struct dialog d = connected(&v4, &with_sack);

	harness_send(d.c, bytes, 4 * MSS);
	drain(&d);
	for (unsigned i = 0; i < 8 && information(&d).mss == MSS; i++) {
		harness_advance(d.h, 2000000);
		drain(&d);
	}
	assert_int_equal(information(&d).mss, 1240);
	assert_int_equal(counters(&d)->tcp_black_hole, 1);
	d.ack += 4 * MSS;
	says(&d, A);
	drain(&d);
	return d;
}

static void rfc_4821_a_black_hole_is_left_in_two_steps(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	harness_send(d.c, bytes, 4 * MSS);
	for (unsigned i = 0; i < 60 && information(&d).mss != 1024; i++) {
		harness_advance(d.h, 1000000);
		drain(&d);
	}
	assert_int_equal(information(&d).mss, 1024);
	assert_int_equal(counters(&d)->tcp_black_hole, 2);
	dialog_end(&d);
}

/* Bulk data; acknowledges all but segments larger than `fits`, which are SACKed around.
 * @return the largest that was sent */
static unsigned sends_bulk(struct dialog *d, unsigned size, unsigned fits)
{
	unsigned largest = 0;
	uint32_t next = d->ack, top = d->ack, end = d->ack + size, hole = 0, hole_end = 0;
	bool open = false;

	harness_send(d->c, bytes, size);
	for (unsigned turn = 0; turn < 400 && seq_lt(next, end); turn++) {
		while (dialog_take(d)) {
			uint32_t from = d->s.seq, to = from + d->s.length;

			if (d->s.length > largest)
				largest = d->s.length;
			if (d->s.length > fits) {
				open = true;
				hole = from;
				hole_end = to;
			} else if (open && from == hole) {
				hole = to;
				open = seq_lt(hole, hole_end);
			}
			if (seq_lt(top, to))
				top = to;
		}
		next = open ? hole : top;
		if (open && seq_lt(hole_end, top)) {
			uint32_t block[1][2] = {{hole_end - d->ack, top - d->ack}};

			acks(d, next - d->ack, 1, block);
		} else {
			acks(d, next - d->ack, 0, NULL);
		}
		harness_advance(d->h, 1000);
	}
	assert_int_equal(next, end);
	d->ack = end;
	return largest;
}

static void rfc_8899_after_ten_minutes_larger_segments_are_tried_and_kept(void **state)
{
	struct dialog d = fallen();

	assert_int_equal(sends_bulk(&d, 30000, MSS), 1240);
	harness_advance(d.h, 11 * MINUTE);
	assert_true(sends_bulk(&d, 60000, MSS) > 1240);
	assert_true(information(&d).mss > 1240);
	for (unsigned i = 0; i < 4; i++) {
		harness_advance(d.h, 11 * MINUTE);
		sends_bulk(&d, 60000, MSS);
	}
	assert_int_equal(information(&d).mss, MSS);
	assert_int_equal(counters(&d)->tcp_mtu_probe_lost, 0);
	dialog_end(&d);
}

static void rfc_4821_the_loss_of_a_probe_is_no_congestion(void **state)
{
	struct dialog d = fallen();
	uint64_t recoveries;

	sends_bulk(&d, 60000, MSS);
	harness_advance(d.h, 11 * MINUTE);
	recoveries = counters(&d)->tcp_fast_recovery;
	assert_true(sends_bulk(&d, 60000, 1240) > 1240);
	assert_true(counters(&d)->tcp_mtu_probe_lost >= 1);
	assert_int_equal(counters(&d)->tcp_fast_recovery, recoveries);
	assert_int_equal(counters(&d)->tcp_mtu_raised, 0);
	assert_int_equal(information(&d).mss, 1240);
	dialog_end(&d);
}

/* A peer with little room takes a part of the probe: it came, so the path carries it. */
static void rfc_4821_a_probe_of_which_a_part_is_acknowledged_came_through(void **state)
{
	struct dialog d = fallen();
	uint32_t probe = 0;

	sends_bulk(&d, 60000, MSS);
	harness_advance(d.h, 11 * MINUTE);
	harness_send(d.c, bytes, 60000);
	for (unsigned i = 0; i < 400 && probe == 0; i++) {
		uint32_t top = d.ack;

		while (probe == 0 && dialog_take(&d)) {
			top = d.s.seq + d.s.length;
			if (d.s.length > 1240)
				probe = d.s.seq;
		}
		harness_advance(d.h, 1000);
		acks(&d, (probe != 0 ? probe + 600 : top) - d.ack, 0, NULL);
	}
	assert_int_not_equal(probe, 0);
	assert_int_equal(counters(&d)->tcp_mtu_raised, 0);
	drain(&d);
	acks(&d, probe + MSS - d.ack, 0, NULL);
	assert_int_equal(counters(&d)->tcp_mtu_raised, 1);
	assert_int_equal(counters(&d)->tcp_mtu_probe_lost, 0);
	assert_true(information(&d).mss > 1240);
	dialog_end(&d);
}

static void rfc_9040_the_next_connection_begins_with_what_the_last_found_out(void **state)
{
	struct dialog d = fallen(), e;
	struct script_segment syn;

	e = d;
	e.c = harness_connect(d.h, 25);
	assert_true(dialog_take(&e));
	e.ack = e.s.seq + 1;
	syn = dialog_syn(&e, S | A);
	script_feed(e.h, &syn);
	assert_int_equal(information(&e).mss, 1240);
	dialog_end(&d);
}

static void a_reload_that_changes_the_mtu_changes_live_connections(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	harness_send(d.c, bytes, 2 * MSS);
	drain(&d);
	d.h->port.mtu = 1300;
	assert_int_equal(net_stack_configure(d.h->stack, &d.h->view, &d.h->now), 0);
	assert_int_equal(information(&d).mss, 1260);
	drain(&d);
	d.ack += 2 * MSS;
	says(&d, A);
	d.h->port.mtu = 1500;
	assert_int_equal(net_stack_configure(d.h->stack, &d.h->view, &d.h->now), 0);
	assert_int_equal(information(&d).mss, MSS);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_1191_the_first_report_is_followed_at_once),
		cmocka_unit_test(
			rfc_5927_a_report_below_what_was_acknowledged_waits_and_is_forgotten),
		cmocka_unit_test(
			rfc_5927_a_report_that_waits_is_followed_when_its_segment_times_out),
		cmocka_unit_test(
			rfc_5927_a_report_that_waits_is_forgotten_when_a_part_was_acknowledged),
		cmocka_unit_test(
			rfc_5927_a_report_that_waits_is_forgotten_when_its_segment_was_sacked),
		cmocka_unit_test(rfc_5927_forged_reports_are_ignored),
		cmocka_unit_test(no_report_makes_segments_tiny),
		cmocka_unit_test(rfc_4821_a_black_hole_is_left_in_two_steps),
		cmocka_unit_test(rfc_8899_after_ten_minutes_larger_segments_are_tried_and_kept),
		cmocka_unit_test(rfc_4821_the_loss_of_a_probe_is_no_congestion),
		cmocka_unit_test(rfc_4821_a_probe_of_which_a_part_is_acknowledged_came_through),
		cmocka_unit_test(rfc_9040_the_next_connection_begins_with_what_the_last_found_out),
		cmocka_unit_test(a_reload_that_changes_the_mtu_changes_live_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
