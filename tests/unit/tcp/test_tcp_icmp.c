/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ICMP errors about our segments that a stranger has made up or that were damaged (RFC 5927): each
 * of these fails when its defence is taken out (ATTACKS.md). See test_tcp_pmtu.c for reports that
 * are believed.
 */
#include "tests/unit/tcp/raw.h"

static const struct harness_options v6 = {.seed = 1, .v6 = true};

enum change { NONE, ANOTHER_ADDRESS, CHECKSUM, CUT_SHORT, LATER_FRAGMENT, CHANGES };

static void rfc_5927_a_damaged_or_misaddressed_error_is_ignored(void **state)
{
	for (enum change change = NONE; change < CHANGES; change++) {
		struct dialog d = connecting(&v4, &plain);
		uint8_t icmp[RAW_ICMP];

		raw_icmp(&d, 3, 1, 0, d.ack - 1, 60, icmp); /* "host unreachable", about our SYN */
		harness_add_address(d.h, "10.0.0.9");
		if (change == ANOTHER_ADDRESS) /* to one of ours, about another */
			icmp[19] = 9;
		if (change == CUT_SHORT) /* what follows is padding of the frame */
			store16(icmp + 2, 53);
		if (change == LATER_FRAGMENT) /* it has no ports */
			store16(icmp + 34, 1);
		raw_finish_icmp(icmp);
		if (change == CHECKSUM)
			icmp[22] ^= 1;
		harness_feed(d.h, icmp, RAW_ICMP);
		assert_int_equal(d.c->closed, change == NONE);
		dialog_end(&d);
	}
}

static void a_report_about_a_packet_that_fits_is_ignored(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	harness_send(d.c, bytes, 4000);
	while (dialog_take(&d))
		;
	raw_feed_icmp(&d, 3, 4, 1280, d.ack, 1200);
	assert_int_equal(information(&d).mss, 1460);
	assert_int_equal(counters(&d)->icmp_error_ignored, 1);
	dialog_end(&d);
}

static void no_report_makes_segments_larger(void **state)
{
	struct dialog d = connected(&v4, &with_sack);

	harness_send(d.c, bytes, 4000);
	while (dialog_take(&d))
		;
	raw_feed_icmp(&d, 3, 4, 1280, d.ack, 1500);
	assert_int_equal(information(&d).mss, 1240);
	raw_feed_icmp(&d, 3, 4, 1400, d.ack, 1500);
	assert_int_equal(information(&d).mss, 1240);
	assert_int_equal(counters(&d)->tcp_ptb, 1);
	assert_int_equal(counters(&d)->icmp_error_ignored, 1);
	dialog_end(&d);
}

/* "Packet too big" over IPv6, about a full segment. */
static void too_big(struct dialog *d, uint32_t mtu)
{
	uint8_t packet[96] = {0x60}, *p = packet + 40, *inner = p + 8;
	struct ip_address router = d->h->peer;
	uint64_t sum;

	router.bytes[15] = 0xfe;
	store16(packet + 4, 56);
	packet[6] = PROTOCOL_ICMPV6;
	packet[7] = 64;
	memcpy(packet + 8, router.bytes, 16);
	memcpy(packet + 24, d->h->address.bytes, 16);
	p[0] = 2;
	store32(p + 4, mtu);
	inner[0] = 0x60;
	store16(inner + 4, 1460);
	inner[6] = PROTOCOL_TCP;
	memcpy(inner + 8, d->h->address.bytes, 16);
	memcpy(inner + 24, d->h->peer.bytes, 16);
	store16(inner + 40, d->h->script_local_port);
	store16(inner + 42, d->h->script_remote_port);
	store32(inner + 44, d->ack);
	sum = checksum_pseudo(&router, &d->h->address, PROTOCOL_ICMPV6, 56);
	checksum_store(p + 2, checksum_add(sum, p, 56));
	harness_feed(d->h, packet, 96);
}

static void rfc_8201_4_a_report_of_less_than_1280_is_discarded(void **state)
{
	struct dialog d = connected(&v6, &with_sack);

	harness_send(d.c, bytes, 4000);
	while (dialog_take(&d))
		;
	too_big(&d, 1279);
	too_big(&d, 0);
	assert_int_equal(counters(&d)->icmp_error_ignored, 2);
	assert_int_equal(information(&d).mss, 1440);
	too_big(&d, 1280);
	assert_int_equal(counters(&d)->tcp_ptb, 1);
	assert_int_equal(information(&d).mss, 1220);
	dialog_end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_5927_a_damaged_or_misaddressed_error_is_ignored),
		cmocka_unit_test(a_report_about_a_packet_that_fits_is_ignored),
		cmocka_unit_test(no_report_makes_segments_larger),
		cmocka_unit_test(rfc_8201_4_a_report_of_less_than_1280_is_discarded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
