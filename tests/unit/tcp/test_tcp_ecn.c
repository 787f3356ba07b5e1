/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Explicit congestion notification (RFC 3168). */
#include "tests/unit/tcp/dialog.h"

#include "dataplane/net/stack.h"

#define E TCP_ECE
#define C TCP_CWR

static const struct harness_options asking = {.seed = 1, .ecn = true};

/* The codepoint of the packet that was heard last. */
static unsigned codepoint(const struct dialog *d)
{
	return d->h->options.v6 ? d->copy[1] >> 4 & 3 : d->copy[1] & 3;
}

/* The peer opens with ECN; the flags of the SYN-ACK are `answer`. */
static struct dialog accepted_with(const struct harness_options *options, uint8_t flags,
				   uint8_t answer)
{
	struct script_segment syn;
	struct dialog d;

	dialog_begin(&d, options, &full);
	harness_listen(d.h, 25);
	syn = dialog_syn(&d, flags);
	script_feed(d.h, &syn);
	d.seq++;
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, answer);
	assert_int_equal(codepoint(&d), IP_ECN_NONE);
	d.ack = d.s.seq + 1;
	says(&d, A);
	hears_nothing(&d);
	d.c = d.h->accepted;
	assert_non_null(d.c);
	return d;
}

/* We open with ECN; the peer's SYN-ACK has these flags. */
static struct dialog connected_with(uint8_t answer)
{
	struct script_segment syn;
	struct dialog d;

	dialog_begin(&d, &asking, &full);
	d.c = harness_connect(d.h, 25);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S | E | C);
	assert_int_equal(codepoint(&d), IP_ECN_NONE);
	d.ack = d.s.seq + 1;
	syn = dialog_syn(&d, answer);
	script_feed(d.h, &syn);
	d.seq++;
	hears(&d, A, 0, 0);
	return d;
}

static void says_marked(struct dialog *d, uint8_t flags, uint8_t ecn)
{
	struct script_segment s = dialog_base(d, flags);

	s.data = bytes;
	s.size = 100;
	s.ecn = ecn;
	script_feed(d->h, &s);
	d->seq += 100;
}

static bool sends_capable(struct dialog *d)
{
	harness_send(d->c, bytes, 100);
	hears(d, A, 0, 100);
	return codepoint(d) == IP_ECN_ECT0;
}

static void rfc_3168_an_offer_is_always_taken_up(void **state)
{
	struct harness_options v6 = {.seed = 1, .v6 = true};
	struct dialog d = accepted_with(&v4, S | E | C, S | A | E);

	assert_true(sends_capable(&d));
	dialog_end(&d);
	d = accepted_with(&v6, S | E | C, S | A | E);
	assert_true(sends_capable(&d));
	dialog_end(&d);
}

static void rfc_3168_half_an_offer_is_none(void **state)
{
	static const uint8_t offers[] = {0, E, C};

	for (unsigned i = 0; i < 3; i++) {
		struct dialog d = accepted_with(&v4, S | offers[i], S | A);

		assert_false(sends_capable(&d));
		dialog_end(&d);
	}
}

static void rfc_3168_we_offer_it_only_when_the_stack_is_set_so(void **state)
{
	struct dialog d = connecting(&v4, &full);

	assert_int_equal(d.s.flags, S);
	dialog_end(&d);
	d = connected_with(S | A | E);
	assert_true(sends_capable(&d));
	dialog_end(&d);
}

static void rfc_3168_a_peer_that_cannot_or_mirrors_gets_no_ecn(void **state)
{
	static const uint8_t answers[] = {0, C, E | C};

	for (unsigned i = 0; i < 3; i++) {
		struct dialog d = connected_with(S | A | answers[i]);

		assert_false(sends_capable(&d));
		dialog_end(&d);
	}
}

static void rfc_3168_a_syn_that_is_not_answered_is_sent_again_without(void **state)
{
	struct script_segment syn;
	struct dialog d;

	dialog_begin(&d, &asking, &full);
	d.c = harness_connect(d.h, 25);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S | E | C);
	harness_advance(d.h, 1100000);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S);
	assert_int_equal(counters(&d)->tcp_ecn_fallback, 1);
	d.ack = d.s.seq + 1;
	syn = dialog_syn(&d, S | A | E); /* the answer to the first, late */
	script_feed(d.h, &syn);
	d.seq++;
	hears(&d, A, 0, 0);
	assert_false(sends_capable(&d));
	dialog_end(&d);
}

static void rfc_3168_ce_is_echoed_until_cwr(void **state)
{
	struct dialog d = accepted_with(&v4, S | E | C, S | A | E);

	says_marked(&d, A, IP_ECN_ECT0);
	says_marked(&d, A, IP_ECN_ECT0);
	hears(&d, A, 0, 0);
	says_marked(&d, A, IP_ECN_CE);
	says_marked(&d, A, IP_ECN_ECT0);
	hears(&d, A | E, 0, 0);
	says_marked(&d, A, IP_ECN_ECT0);
	says_marked(&d, A, IP_ECN_ECT0);
	hears(&d, A | E, 0, 0);
	harness_send(d.c, bytes, 100);
	hears(&d, A | E, 0, 100); /* data echoes it too */
	d.ack += 100;
	says_marked(&d, A | C, IP_ECN_ECT0);
	says_marked(&d, A, IP_ECN_ECT0);
	hears(&d, A, 0, 0);
	says_marked(&d, A | C, IP_ECN_CE); /* marked anew */
	says_marked(&d, A, IP_ECN_ECT0);
	hears(&d, A | E, 0, 0);
	assert_int_equal(counters(&d)->tcp_ecn_ce, 2);
	dialog_end(&d);
}

static void without_ecn_marks_mean_nothing(void **state)
{
	struct dialog d = accepted(&v4, &full);

	says_marked(&d, A, IP_ECN_CE);
	says_marked(&d, A, IP_ECN_CE);
	hears(&d, A, 0, 0);
	harness_send(d.c, bytes, 1448);
	hears(&d, A, 0, 1448);
	d.ack += 1448;
	says(&d, A | E);
	assert_int_equal(counters(&d)->tcp_ecn_ce, 0);
	assert_int_equal(counters(&d)->tcp_ecn_ece, 0);
	dialog_end(&d);
}

static void rfc_3168_ece_reduces_the_window_once_a_round_trip_and_cwr_says_so(void **state)
{
	struct dialog d = accepted_with(&v4, S | E | C, S | A | E);
	struct tcp_information before, after, again;

	harness_send(d.c, bytes, 40000);
	for (int32_t i = 0; i < 10; i++)
		hears(&d, A, i * 1448, 1448);
	harness_information(d.c, &before);
	d.ack += 1448;
	says(&d, A | E);
	harness_information(d.c, &after);
	assert_true(after.cwnd_bytes < before.cwnd_bytes);
	assert_int_equal(counters(&d)->tcp_ecn_ece, 1);
	for (unsigned i = 0; i < 5; i++) {
		d.ack += 1448;
		says(&d, A | E);
	}
	assert_int_equal(counters(&d)->tcp_ecn_ece, 1);
	harness_information(d.c, &again);
	assert_true(again.cwnd_bytes >= after.cwnd_bytes);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags & ~P, A | C);
	assert_int_equal(codepoint(&d), IP_ECN_ECT0);
	while (dialog_take(&d))
		assert_int_equal(d.s.flags & C, 0);
	dialog_end(&d);
}

static void rfc_3168_no_control_segment_and_no_retransmission_is_capable(void **state)
{
	struct dialog d = accepted_with(&v4, S | E | C, S | A | E);

	says_marked(&d, A, IP_ECN_ECT0);
	says_marked(&d, A, IP_ECN_ECT0);
	hears(&d, A, 0, 0);
	assert_int_equal(codepoint(&d), IP_ECN_NONE);
	assert_true(sends_capable(&d));
	harness_advance(d.h, 1500000);
	hears(&d, A, 0, 100);
	assert_int_equal(codepoint(&d), IP_ECN_NONE);
	while (dialog_take(&d))
		;
	d.ack += 100;
	says(&d, A);
	harness_close(d.c);
	hears(&d, A | F, 0, 0);
	assert_int_equal(codepoint(&d), IP_ECN_NONE);
	dialog_end(&d);
}

static void an_echo_that_never_ends_turns_ecn_off(void **state)
{
	struct dialog d = accepted_with(&v4, S | E | C, S | A | E);

	for (unsigned i = 0; i < 40; i++) {
		harness_send(d.c, bytes, 100);
		harness_advance(d.h, 1000);
		assert_true(dialog_take(&d));
		d.ack += 100;
		says(&d, A | E);
	}
	assert_int_equal(counters(&d)->tcp_ecn_mangled, 1);
	assert_int_equal(counters(&d)->tcp_ecn_ece, 16);
	assert_false(sends_capable(&d));
	dialog_end(&d);
}

static void a_path_that_takes_the_mark_off_is_counted(void **state)
{
	struct dialog d = accepted_with(&v4, S | E | C, S | A | E);

	says_marked(&d, A, IP_ECN_NONE);
	says_marked(&d, A, 1);
	assert_int_equal(counters(&d)->tcp_ecn_not_capable, 1);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_3168_an_offer_is_always_taken_up),
		cmocka_unit_test(rfc_3168_half_an_offer_is_none),
		cmocka_unit_test(rfc_3168_we_offer_it_only_when_the_stack_is_set_so),
		cmocka_unit_test(rfc_3168_a_peer_that_cannot_or_mirrors_gets_no_ecn),
		cmocka_unit_test(rfc_3168_a_syn_that_is_not_answered_is_sent_again_without),
		cmocka_unit_test(rfc_3168_ce_is_echoed_until_cwr),
		cmocka_unit_test(without_ecn_marks_mean_nothing),
		cmocka_unit_test(rfc_3168_ece_reduces_the_window_once_a_round_trip_and_cwr_says_so),
		cmocka_unit_test(rfc_3168_no_control_segment_and_no_retransmission_is_capable),
		cmocka_unit_test(an_echo_that_never_ends_turns_ecn_off),
		cmocka_unit_test(a_path_that_takes_the_mark_off_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
