/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Strangers who see nothing of a connection but may guess its addresses and ports: what they can
 * open, end, learn or provoke. Each of these fails when its defence is taken out (ATTACKS.md).
 */
#include "tests/unit/tcp/raw.h"

#include "dataplane/tcp/internal.h"

static const struct harness_options v6 = {.seed = 1, .v6 = true};

/* --- the handshake of a connection that we open --- */

/* The peer answers our SYN as if it knew nothing of what a stranger has said. */
static void the_peer_answers(struct dialog *d)
{
	struct script_segment syn = dialog_syn(d, S | A);

	script_feed(d->h, &syn);
	d->seq++;
	while (dialog_take(d))
		;
	assert_true(d->c->connected);
	assert_int_equal(d->s.ack, d->seq);
	assert_int_equal(d->s.seq, d->ack);
	says_at(d, A, 0, "220 mx", 6);
	assert_int_equal(d->c->received_size, 6);
	harness_send(d->c, "EHLO", 4);
	hears(d, A, 0, 4);
}

static void a_stranger_s_syn_does_not_keep_the_peer_s_answer_out(void **state)
{
	static const struct offer *const offers[] = {&plain, &full};

	for (unsigned i = 0; i < 2; i++) {
		struct dialog d = connecting(&v4, &full);
		struct dialog stranger = d;
		struct script_segment syn;
		struct tcp_information information;

		stranger.offer = *offers[i];
		stranger.seq = 0x33333333;
		stranger.ts = 0x70000000; /* ahead of the peer's */
		syn = dialog_syn(&stranger, S);
		script_feed(d.h, &syn);
		while (dialog_take(&d))
			;
		the_peer_answers(&d);
		harness_information(d.c, &information);
		assert_true(information.sack && information.timestamps);
		assert_int_equal(information.send_scale, 7);
		dialog_end(&d);
	}
}

static void a_stranger_s_syn_and_reset_do_not_refuse_for_the_peer(void **state)
{
	struct dialog d = connecting(&v4, &full);
	struct dialog stranger = d;
	struct script_segment syn;

	stranger.seq = 0x33333333;
	syn = dialog_syn(&stranger, S);
	script_feed(d.h, &syn);
	stranger.seq++;
	says_at(&stranger, R, 1, NULL, 0);
	stranger.ack += 1000;
	says(&stranger, R | A);
	assert_false(d.c->closed);
	assert_string_equal(dialog_state(&d), "SYN-RECEIVED");
	says(&stranger, R);
	assert_false(d.c->closed);
	assert_string_equal(dialog_state(&d), "SYN-SENT");
	while (dialog_take(&d))
		;
	/* Our SYN goes on as if nothing had been said. */
	harness_advance(d.h, 1100000);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S);
	assert_int_equal(d.s.ts_ecr, 0);
	the_peer_answers(&d);
	dialog_end(&d);
}

/* SYN-RECEIVED had no scale, no SACK and no timestamps. */
static void what_a_stranger_s_syn_lacks_is_offered_again_and_used(void **state)
{
	const struct harness_options options = {.seed = 1, .receive_window = 1u << 20};
	struct dialog d = connecting(&options, &full);
	struct dialog stranger = d;
	struct script_segment syn;
	struct tcp_information information;
	unsigned scale = d.s.scale;

	assert_true(d.s.has_scale && scale > 0);
	stranger.offer = plain;
	stranger.seq = 0x33333333;
	syn = dialog_syn(&stranger, S);
	script_feed(d.h, &syn);
	stranger.seq++;
	says(&stranger, R);
	while (dialog_take(&d))
		;
	harness_advance(d.h, 3000000);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S);
	assert_true(d.s.has_scale && d.s.sack_permitted && d.s.has_timestamp);
	assert_int_equal(d.s.scale, scale);
	script_feed(d.h, &syn); /* and once more, before the peer's answer */
	while (dialog_take(&d))
		;
	the_peer_answers(&d);
	harness_information(d.c, &information);
	assert_int_equal(information.receive_scale, scale);
	assert_true(information.sack && information.timestamps);
	dialog_end(&d);
}

/* Its time has come, and it waits for room in the port's queue. */
static void a_stranger_s_syn_and_reset_do_not_take_back_a_syn_that_waits(void **state)
{
	struct dialog d = connecting(&v4, &full);
	struct dialog stranger = d;
	struct script_segment syn;

	harness_advance(d.h, 1100000);
	stranger.seq = 0x33333333;
	syn = dialog_syn(&stranger, S);
	script_feed(d.h, &syn);
	stranger.seq++;
	says(&stranger, R);
	assert_string_equal(dialog_state(&d), "SYN-SENT");
	harness_advance(d.h, 10000000);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S);
	the_peer_answers(&d);
	dialog_end(&d);
}

static void must_10_a_syn_ack_alone_completes_a_simultaneous_open(void **state)
{
	struct dialog d = connecting(&v4, &full);
	struct script_segment syn = dialog_syn(&d, S);

	script_feed(d.h, &syn);
	assert_true(dialog_take(&d));
	assert_int_equal(d.s.flags, S | A);
	the_peer_answers(&d); /* as our own stack does, with nothing behind it */
	dialog_end(&d);
}

/* --- what cannot be a segment of anybody --- */

static void port_0_is_nobody_s(void **state)
{
	struct script_segment syn;
	uint8_t packet[2048];
	struct dialog d;

	for (unsigned at = 20; at <= 22; at += 2) {
		size_t size;

		dialog_begin(&d, &v4, &plain);
		harness_listen(d.h, 25);
		syn = dialog_syn(&d, S);
		size = script_build(d.h, &syn, packet);
		store16(packet + at, 0);
		raw_finish(packet, size);
		harness_feed(d.h, packet, size);
		hears_nothing(&d);
		assert_int_equal(counters(&d)->tcp_drop_header, 1);
		assert_int_equal(connections(&d), 0);
		dialog_end(&d);
	}
}

static void land_a_segment_from_ourselves_is_dropped(void **state)
{
	const struct harness_options *const families[] = {&v4, &v6};

	for (unsigned i = 0; i < 2; i++) {
		struct script_segment syn;
		struct dialog d;

		dialog_begin(&d, families[i], &plain);
		harness_listen(d.h, 25);
		d.h->peer = d.h->address;
		syn = dialog_syn(&d, S);
		syn.from_port = 25;
		script_feed(d.h, &syn);
		hears_nothing(&d);
		assert_int_equal(counters(&d)->drop_source, 1);
		assert_int_equal(connections(&d), 0);
		dialog_end(&d);
	}
}

static void an_ipv4_address_in_ipv6_is_no_source(void **state)
{
	struct script_segment syn;
	uint8_t packet[2048];
	struct dialog d = listening(&v6, &plain);
	size_t size;

	syn = dialog_syn(&d, S);
	size = script_build(d.h, &syn, packet);
	memset(packet + 8, 0, 10);
	memcpy(packet + 18, (const uint8_t[]){0xff, 0xff, 10, 0, 0, 2}, 6);
	harness_feed(d.h, packet, size);
	hears_nothing(&d);
	assert_int_equal(counters(&d)->drop_source, 1);
	dialog_end(&d);
}

/* --- what strangers can learn --- */

/* CVE-2016-5696: whether one connection answers must not depend on what another was asked. */
static void rfc_5961_the_limit_of_challenge_acks_is_each_connection_s_own(void **state)
{
	struct dialog d = connected(&v4, &plain), e = d;
	uint16_t ports[2] = {d.h->script_local_port, 0};
	unsigned heard = 0;

	e.c = harness_connect(d.h, 25);
	assert_true(dialog_take(&e));
	e.ack = e.s.seq + 1;
	ports[1] = d.h->script_local_port;
	the_peer_answers(&e);
	for (unsigned i = 0; i < 2; i++) { /* the first uses its share up, then the second */
		d.h->script_local_port = ports[i];
		heard = 0;
		for (unsigned n = 0; n < 100; n++) {
			says_at(i == 0 ? &d : &e, S, 0x40000000, NULL, 0);
			while (dialog_take(&d))
				heard++;
		}
		assert_in_range(heard, 6, 19);
	}
	dialog_end(&d);
}

static bool differ(const struct hash_key *a, const struct hash_key *b)
{
	return memcmp(a, b, sizeof(*a)) != 0;
}

static void every_secret_is_drawn_for_each_stack(void **state)
{
	static const struct hash_key none;
	struct harness *h[2];
	const struct tcp_layer *l[2];

	for (unsigned i = 0; i < 2; i++) {
		h[i] = harness_create(&(struct harness_options){.seed = i});
		l[i] = h[i]->stack->tcp;
	}
	for (unsigned i = 0; i < 2; i++) {
		const struct hash_key *keys[] = {
			&none,		 &l[i]->isn_key,   &l[i]->ts_key,
			&l[i]->port_key, &l[i]->table_key, &l[!i]->isn_key,
			&l[!i]->ts_key,	 &l[!i]->port_key, &l[!i]->table_key};

		for (unsigned a = 0; a < 9; a++)
			for (unsigned b = 0; b < a; b++)
				assert_true(differ(keys[a], keys[b]));
	}
	assert_memory_not_equal(l[0]->port_counter, l[1]->port_counter, sizeof(l[0]->port_counter));
	harness_destroy(h[0]);
	harness_destroy(h[1]);
}

/* Every drop has a counter, also where a state has no use for a segment and no answer to it. */
static void what_says_nothing_in_its_state_is_counted(void **state)
{
	struct dialog d = listening(&v4, &plain);
	struct script_segment s = dialog_base(&d, R);

	s.to_port = 25;
	script_feed(d.h, &s);
	assert_int_equal(counters(&d)->tcp_drop_state, 1);
	dialog_end(&d);

	d = connecting(&v4, &plain);
	says_at(&d, R, 1, NULL, 0);
	says_at(&d, P, 1, NULL, 0);
	d.ack++;
	says_at(&d, R | A, 1, NULL, 0);
	assert_int_equal(counters(&d)->tcp_drop_state, 3);
	d.ack--;
	says_at(&d, S, 0, NULL, 0); /* a simultaneous open */
	hears(&d, S | A, -1, 0);
	says_at(&d, R, 5, NULL, 0);
	d.ack++;
	says_at(&d, R | A, 0, NULL, 0);
	assert_int_equal(counters(&d)->tcp_drop_state, 5);
	hears_nothing(&d);
	assert_false(d.c->closed);
	dialog_end(&d);

	d = connected(&v4, &plain);
	says_at(&d, P, 1, "evil", 4);
	assert_int_equal(counters(&d)->tcp_drop_state, 1);
	says(&d, F | A);
	hears(&d, A, 0, 0);
	says_at(&d, A, 1, "late", 4);
	assert_int_equal(counters(&d)->tcp_drop_state, 2);
	dialog_end(&d);

	d = connected(&v4, &plain);
	harness_close(d.c);
	hears(&d, F | A, 0, 0);
	d.ack++;
	says(&d, F | A);
	hears(&d, A, 0, 0);
	says_at(&d, R, 1, NULL, 0);
	assert_int_equal(counters(&d)->tcp_drop_state, 1);
	dialog_end(&d);
}

static void data_without_an_ack_is_dropped(void **state)
{
	struct dialog d = connected(&v4, &plain);
	struct script_segment s = dialog_base(&d, P);

	s.ack = d.ack; /* the field is not what the flag would make it */
	s.data = "evil";
	s.size = 4;
	script_feed(d.h, &s);
	assert_int_equal(d.c->received_size, 0);
	hears_nothing(&d);
	dialog_end(&d);
}

static void an_old_ack_does_not_bring_a_timestamp_either(void **state)
{
	struct dialog d = connected(&v4, &full);

	d.ts += 0x40000000;
	d.ack -= 100000000; /* before anything that the peer can have meant */
	says_at(&d, A, 0, "evil", 4);
	d.seq -= 4;
	d.ts -= 0x40000000;
	d.ack += 100000000;
	hears(&d, A, 0, 0); /* the challenge */
	says_at(&d, A, 0, "good", 4);
	assert_memory_equal(d.c->received, "good", 4);
	dialog_end(&d);
}

static void an_ack_of_our_syn_alone_opens_nothing(void **state)
{
	struct dialog d = connecting(&v4, &full);

	says(&d, A);
	says_at(&d, A, 0, "hello", 5);
	d.seq -= 5;
	hears_nothing(&d);
	assert_false(d.c->connected || d.c->closed);
	the_peer_answers(&d);
	dialog_end(&d);
}

static void a_reset_with_a_wrong_ack_in_syn_sent_is_not_answered(void **state)
{
	struct dialog d = connecting(&v4, &plain);

	d.ack += 1000;
	says(&d, R | A);
	hears_nothing(&d);
	assert_false(d.c->closed);
	dialog_end(&d);
}

static void we_do_not_connect_to_ourselves(void **state)
{
	struct harness *h = harness_create(&v4);

	harness_add_address(h, "10.0.0.7");
	harness_listen(h, 25);
	assert_null(harness_connect_from(h, "10.0.0.1", "10.0.0.1", 25, 1000000));
	assert_null(harness_connect_from(h, "10.0.0.1", "10.0.0.7", 25, 1000000));
	harness_destroy(h);
}

/* --- what strangers can provoke --- */

static void ack_past(struct dialog *d)
{
	d->ack -= 1000000000;
	says(d, A);
	d->ack += 1000000000;
}

static void ack_future(struct dialog *d)
{
	d->ack += 1000;
	says(d, A);
	d->ack -= 1000;
}

static void ts_past(struct dialog *d)
{
	d->ts -= 100;
	says(d, A);
	d->ts += 100;
}

static void seq_elsewhere(struct dialog *d)
{
	says_at(d, A, 0x40000000, NULL, 0);
}

static void syn(struct dialog *d)
{
	says_at(d, S, 5, NULL, 0);
}

static void rst_beside(struct dialog *d)
{
	says_at(d, R, 5, NULL, 0);
}

/* Two ends that think each other wrong would answer for ever (ACK loops). */
static void rfc_5961_7_every_challenge_is_limited(void **state)
{
	void (*const kinds[])(struct dialog *) = {ack_past,	 ack_future, ts_past,
						  seq_elsewhere, syn,	     rst_beside};

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct dialog d = connected(&v4, &full);
		unsigned heard = 0;

		for (unsigned n = 0; n < 200; n++) {
			kinds[i](&d);
			while (dialog_take(&d))
				heard++;
		}
		assert_in_range(heard, 6, 19);
		assert_false(d.c->closed);
		dialog_end(&d);
	}
}

static void what_comes_to_time_wait_is_answered_within_a_limit(void **state)
{
	struct dialog d = connected(&v4, &full);
	unsigned heard = 0;

	harness_close(d.c);
	hears(&d, F | A, 0, 0);
	d.ack++;
	says(&d, F | A);
	hears(&d, A, 0, 0);
	assert_int_equal(time_waits(&d), 1);
	for (unsigned n = 0; n < 1000; n++) {
		says_at(&d, A, 1000, NULL, 0);
		while (dialog_take(&d))
			heard++;
	}
	assert_in_range(heard, 1, 50);
	assert_int_equal(counters(&d)->tcp_answer_limited, 1000 - heard);
	dialog_end(&d);
}

/* An IPv6 host has a /64 of addresses to ask from. */
static void resets_are_limited_by_network_in_ipv6(void **state)
{
	struct dialog d;
	unsigned heard = 0;

	dialog_begin(&d, &v6, &plain);
	for (unsigned i = 0; i < 1000; i++) {
		d.h->peer.bytes[14] = (uint8_t)(i >> 8);
		d.h->peer.bytes[15] = (uint8_t)(i | 2);
		says_at(&d, S, 1, NULL, 0);
		while (dialog_take(&d))
			heard++;
	}
	assert_in_range(heard, 1, 50);
	assert_true(counters(&d)->tcp_rst_rate_limited > 900);
	dialog_end(&d);
}

static void an_echo_beyond_reason_is_no_round_trip(void **state)
{
	struct script_segment s;
	struct tcp_information i;
	struct dialog d = listening(&v4, &full);

	s = dialog_syn(&d, S);
	script_feed(d.h, &s);
	d.seq++;
	assert_true(dialog_take(&d));
	harness_advance(d.h, 1100000);
	assert_true(dialog_take(&d)); /* the SYN-ACK again: only its echo tells which it was */
	assert_int_equal(d.s.flags, S | A);
	d.ack = d.s.seq + 1;
	d.ts_ecr -= 100000000;
	says(&d, A);
	d.c = d.h->accepted;
	assert_non_null(d.c);
	harness_information(d.c, &i);
	assert_int_equal(i.srtt_us, 0);
	dialog_end(&d);
}

/* --- ports --- */

/* The choice of a port as it was before. */
static void turn_back(struct harness *h)
{
	struct tcp_layer *layer = h->stack->tcp;

	for (unsigned i = 0; i < PORT_COUNTERS; i++)
		layer->port_counter[i]--;
}

static void a_local_port_in_time_wait_is_not_chosen(void **state)
{
	struct dialog d = connected(&v4, &full);
	uint16_t port = d.h->script_local_port;

	turn_back(d.h);
	assert_non_null(harness_connect(d.h, 25));
	assert_int_not_equal(d.h->script_local_port, port); /* it is open */
	harness_abort(&d.h->connections[1]);
	d.h->script_local_port = port;
	while (dialog_take(&d))
		;
	harness_close(d.c);
	hears(&d, F | A, 0, 0);
	d.ack++;
	says(&d, F | A);
	hears(&d, A, 0, 0);
	assert_int_equal(time_waits(&d), 1);
	turn_back(d.h);
	turn_back(d.h);
	assert_non_null(harness_connect(d.h, 25));
	assert_int_not_equal(d.h->script_local_port, port);
	dialog_end(&d);
}

static void a_port_that_is_listened_on_is_not_chosen(void **state)
{
	struct harness *h = harness_create(&v4);
	uint16_t port;

	assert_non_null(harness_connect(h, 25));
	port = h->script_local_port;
	harness_abort(&h->connections[0]);
	harness_listen(h, port);
	turn_back(h);
	assert_non_null(harness_connect(h, 25));
	assert_int_not_equal(h->script_local_port, port);
	harness_destroy(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stranger_s_syn_does_not_keep_the_peer_s_answer_out),
		cmocka_unit_test(a_stranger_s_syn_and_reset_do_not_refuse_for_the_peer),
		cmocka_unit_test(what_a_stranger_s_syn_lacks_is_offered_again_and_used),
		cmocka_unit_test(a_stranger_s_syn_and_reset_do_not_take_back_a_syn_that_waits),
		cmocka_unit_test(must_10_a_syn_ack_alone_completes_a_simultaneous_open),
		cmocka_unit_test(port_0_is_nobody_s),
		cmocka_unit_test(land_a_segment_from_ourselves_is_dropped),
		cmocka_unit_test(an_ipv4_address_in_ipv6_is_no_source),
		cmocka_unit_test(rfc_5961_the_limit_of_challenge_acks_is_each_connection_s_own),
		cmocka_unit_test(every_secret_is_drawn_for_each_stack),
		cmocka_unit_test(what_says_nothing_in_its_state_is_counted),
		cmocka_unit_test(data_without_an_ack_is_dropped),
		cmocka_unit_test(an_old_ack_does_not_bring_a_timestamp_either),
		cmocka_unit_test(an_ack_of_our_syn_alone_opens_nothing),
		cmocka_unit_test(a_reset_with_a_wrong_ack_in_syn_sent_is_not_answered),
		cmocka_unit_test(we_do_not_connect_to_ourselves),
		cmocka_unit_test(rfc_5961_7_every_challenge_is_limited),
		cmocka_unit_test(what_comes_to_time_wait_is_answered_within_a_limit),
		cmocka_unit_test(resets_are_limited_by_network_in_ipv6),
		cmocka_unit_test(an_echo_beyond_reason_is_no_round_trip),
		cmocka_unit_test(a_local_port_in_time_wait_is_not_chosen),
		cmocka_unit_test(a_port_that_is_listened_on_is_not_chosen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
