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
	says(&stranger, R);
	assert_false(d.c->closed);
	while (dialog_take(&d))
		;
	/* Our SYN goes on as if nothing had been said. */
	harness_advance(d.h, 1100000);
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
	struct dialog d;
	size_t size;

	dialog_begin(&d, &v6, &plain);
	harness_listen(d.h, 25);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stranger_s_syn_does_not_keep_the_peer_s_answer_out),
		cmocka_unit_test(a_stranger_s_syn_and_reset_do_not_refuse_for_the_peer),
		cmocka_unit_test(must_10_a_syn_ack_alone_completes_a_simultaneous_open),
		cmocka_unit_test(port_0_is_nobody_s),
		cmocka_unit_test(land_a_segment_from_ourselves_is_dropped),
		cmocka_unit_test(an_ipv4_address_in_ipv6_is_no_source),
		cmocka_unit_test(rfc_5961_the_limit_of_challenge_acks_is_each_connection_s_own),
		cmocka_unit_test(every_secret_is_drawn_for_each_stack),
		cmocka_unit_test(an_old_ack_does_not_bring_a_timestamp_either),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
