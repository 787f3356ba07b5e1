/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Segments that a router on the way cut (RFC 791, 3.2; RFC 8200, 4.5; RFC 5722; RFC 3168, 5.3). */
#include "tests/sim/link/link.h"
#include "tests/unit/tcp/raw.h"

#include "dataplane/net/fragment.h"

#define IDENTITY 4711u

struct piece {
	uint16_t offset; /* of the IP payload */
	uint16_t size;	 /* 0: up to the end */
};

static const struct harness_options v6 = {.seed = 1, .v6 = true};
static uint8_t text[1200];

static unsigned header_of(const struct dialog *d)
{
	return d->h->options.v6 ? 40 : 20;
}

/* A segment of `size` bytes of text as the peer would send it whole. @return octets */
static size_t whole(struct dialog *d, size_t size, uint8_t *packet)
{
	struct script_segment s = dialog_base(d, A);

	s.data = (const char *)text;
	s.size = (uint16_t)size;
	return script_build(d->h, &s, packet);
}

/* One piece of a packet, as a router makes it. */
static void feed_piece(struct dialog *d, const uint8_t *packet, size_t size, struct piece piece,
		       uint32_t id, uint8_t ecn)
{
	unsigned header = header_of(d), count = (unsigned)size - header - piece.offset;
	uint8_t cut[2048];
	uint8_t *p = cut + header;
	bool more = piece.size != 0 && piece.size < count;

	if (more)
		count = piece.size;
	memcpy(cut, packet, header);
	if (d->h->options.v6) {
		cut[6] = PROTOCOL_FRAGMENT;
		cut[1] = (uint8_t)(ecn << 4);
		store16(cut + 4, (uint16_t)(8 + count));
		p[0] = PROTOCOL_TCP;
		p[1] = 0;
		store16(p + 2, (uint16_t)(piece.offset | more));
		store32(p + 4, id);
		p += 8;
	} else {
		cut[1] = ecn;
		store16(cut + 2, (uint16_t)(header + count));
		store16(cut + 4, (uint16_t)id);
		store16(cut + 6, (uint16_t)(piece.offset / 8 | (more ? 0x2000 : 0)));
		store16(cut + 10, 0);
		checksum_store(cut + 10, checksum_add(0, cut, header));
	}
	memcpy(p, packet + header + piece.offset, count);
	harness_feed(d->h, cut, (size_t)(p - cut) + count);
}

static const struct net_counters *counted(const struct dialog *d)
{
	return net_stack_counters(d->h->stack);
}

static void takes_pieces_in_any_order(const struct harness_options *options)
{
	static const struct piece pieces[4] = {{0, 8}, {8, 400}, {408, 16}, {424, 0}};
	struct dialog d = connected(options, &plain);
	uint32_t id = IDENTITY;

	for (unsigned order = 0; order < 256; order++) {
		unsigned turn[4] = {order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6};
		uint8_t packet[2048];
		size_t size, before = d.c->received_size;

		if ((1u << turn[0] | 1u << turn[1] | 1u << turn[2] | 1u << turn[3]) != 15)
			continue;
		size = whole(&d, 900, packet);
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(d.c->received_size, before);
			feed_piece(&d, packet, size, pieces[turn[i]], id, 0);
		}
		id++;
		assert_int_equal(d.c->received_size, before + 900);
		assert_memory_equal(d.c->received + before, text, 900);
		d.seq += 900;
	}
	assert_int_equal(counted(&d)->reassembled, 24);
	assert_int_equal(counted(&d)->drop_fragment, 0);
	dialog_end(&d);
}

static void rfc_791_3_2_pieces_are_put_together_in_any_order(void **state)
{
	takes_pieces_in_any_order(&v4);
}

static void rfc_8200_4_5_pieces_are_put_together_in_any_order(void **state)
{
	takes_pieces_in_any_order(&v6);
}

static void rfc_6946_a_fragment_that_is_all_is_the_segment(void **state)
{
	struct dialog d = connected(&v6, &plain);
	uint8_t packet[2048];
	size_t size = whole(&d, 100, packet);

	feed_piece(&d, packet, size, (struct piece){0, 0}, IDENTITY, 0);
	assert_int_equal(d.c->received_size, 100);
	dialog_end(&d);
}

static void the_networks_copies_do_no_harm(void **state)
{
	struct dialog d = connected(&v4, &plain);
	uint8_t packet[2048];
	size_t size = whole(&d, 900, packet);

	feed_piece(&d, packet, size, (struct piece){0, 400}, IDENTITY, 0);
	feed_piece(&d, packet, size, (struct piece){0, 400}, IDENTITY, 0);
	feed_piece(&d, packet, size, (struct piece){400, 0}, IDENTITY, 0);
	assert_int_equal(d.c->received_size, 900);
	dialog_end(&d);
}

/* What is fed first spoils what follows; the segment sent again whole is taken. */
static void is_spoilt(const struct harness_options *options, struct piece first,
		      struct piece second, bool lie)
{
	struct dialog d = connected(options, &plain);
	uint8_t packet[2048];
	size_t size = whole(&d, 900, packet);

	feed_piece(&d, packet, size, first, IDENTITY, 0);
	if (lie)
		packet[size - 1] ^= 1;
	feed_piece(&d, packet, size, second, IDENTITY, 0);
	if (lie)
		packet[size - 1] ^= 1;
	for (uint16_t at = 0; at < 900; at = (uint16_t)(at + 80))
		feed_piece(&d, packet, size, (struct piece){at, 80}, IDENTITY, 0);
	feed_piece(&d, packet, size, (struct piece){880, 0}, IDENTITY, 0);
	assert_int_equal(d.c->received_size, 0);
	assert_true(counted(&d)->drop_fragment > 1);
	harness_feed(d.h, packet, size);
	assert_int_equal(d.c->received_size, 900);
	dialog_end(&d);
}

static void rfc_5722_what_overlaps_is_forgotten_whole(void **state)
{
	is_spoilt(&v4, (struct piece){0, 400}, (struct piece){392, 0}, false);
	is_spoilt(&v6, (struct piece){0, 400}, (struct piece){392, 0}, false);
	is_spoilt(&v4, (struct piece){800, 0}, (struct piece){0, 808}, false);
	is_spoilt(&v4, (struct piece){800, 0}, (struct piece){800, 0}, true);
}

static void a_piece_beyond_the_end_spoils(void **state)
{
	/* 8 octets at 16 and a last piece that ends at 16: as many octets as there should be. */
	struct dialog d = connected(&v4, &plain);
	uint8_t packet[2048];
	size_t size = whole(&d, 900, packet);

	feed_piece(&d, packet, size, (struct piece){16, 8}, IDENTITY, 0);
	feed_piece(&d, packet, 20 + 16, (struct piece){8, 0}, IDENTITY, 0);
	assert_int_equal(counted(&d)->reassembled, 0);
	assert_int_equal(counted(&d)->drop_fragment, 1);
	dialog_end(&d);
}

static void rfc_1122_3_3_2_pieces_are_forgotten_in_time(void **state)
{
	struct dialog d = connected(&v4, &plain);
	uint8_t packet[2048];
	size_t size = whole(&d, 900, packet);

	feed_piece(&d, packet, size, (struct piece){0, 400}, IDENTITY, 0);
	harness_advance(d.h, FRAGMENT_US - 1000);
	assert_int_equal(counted(&d)->drop_fragment, 0);
	harness_advance(d.h, 2000);
	assert_int_equal(counted(&d)->drop_fragment, 1);
	feed_piece(&d, packet, size, (struct piece){400, 0}, IDENTITY, 0);
	assert_int_equal(d.c->received_size, 0);
	dialog_end(&d); /* where every frame must be back */
}

static void strangers_hold_no_more_than_a_few_frames(void **state)
{
	struct dialog d = connected(&v4, &plain);
	uint32_t in_use = sim_frame_pool_in_use(d.h->frames);
	uint8_t packet[2048];
	size_t size = whole(&d, 900, packet);

	for (uint32_t id = 0; id < 1000; id++) {
		feed_piece(&d, packet, size, (struct piece){0, 400}, id, 0);
		harness_advance(d.h, 10);
	}
	assert_int_equal(sim_frame_pool_in_use(d.h->frames), in_use + FRAGMENTS_MAX);
	assert_int_equal(counted(&d)->drop_fragment, 1000 - FRAGMENTS_MAX);
	/* The latest are the ones that are kept. */
	feed_piece(&d, packet, size, (struct piece){400, 0}, 999, 0);
	assert_int_equal(d.c->received_size, 900);
	dialog_end(&d);
}

static void the_whole_is_checked_as_any_segment(void **state)
{
	struct dialog d = connected(&v4, &plain);
	uint8_t packet[2048];
	size_t size = whole(&d, 900, packet);

	packet[600] ^= 1;
	feed_piece(&d, packet, size, (struct piece){0, 400}, IDENTITY, 0);
	feed_piece(&d, packet, size, (struct piece){400, 0}, IDENTITY, 0);
	assert_int_equal(counted(&d)->reassembled, 1);
	assert_int_equal(counted(&d)->tcp_drop_checksum, 1);
	assert_int_equal(d.c->received_size, 0);
	dialog_end(&d);
}

static void rfc_3168_5_3_congestion_of_one_piece_is_that_of_all(void **state)
{
	/* IP_ECN_CE is 3; a piece that is not capable does not go with one that is. */
	static const struct {
		uint8_t first, second;
		bool fits;
	} cases[] = {{2, 3, true}, {3, 2, true},  {2, 2, true},
		     {1, 2, true}, {0, 2, false}, {3, 0, false}};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dialog d = connected(&v4, &plain);
		uint8_t packet[2048];
		size_t size = whole(&d, 900, packet);

		feed_piece(&d, packet, size, (struct piece){0, 400}, IDENTITY, cases[i].first);
		feed_piece(&d, packet, size, (struct piece){400, 0}, IDENTITY, cases[i].second);
		assert_int_equal(d.c->received_size, cases[i].fits ? 900 : 0);
		dialog_end(&d);
	}
}

static void what_no_segment_needs_is_dropped(void **state)
{
	struct dialog d = connected(&v4, &plain);
	uint32_t in_use = sim_frame_pool_in_use(d.h->frames);
	uint8_t packet[2048];
	size_t size = whole(&d, 900, packet);

	feed_piece(&d, packet, size, (struct piece){0, 12}, IDENTITY, 0); /* not whole units */
	packet[9] = PROTOCOL_UDP;
	feed_piece(&d, packet, size, (struct piece){0, 400}, IDENTITY, 0);
	packet[9] = PROTOCOL_TCP;
	store16(packet + 6, 0x1fff); /* ends at 65,536 and more: the ping of death */
	store16(packet + 10, 0);
	checksum_store(packet + 10, checksum_add(0, packet, 20));
	harness_feed(d.h, packet, size);
	assert_int_equal(counted(&d)->drop_fragment, 3);
	assert_int_equal(sim_frame_pool_in_use(d.h->frames), in_use);
	dialog_end(&d);
}

/* Both pieces go to one worker, and the whole to the owner of its connection. */
static void pieces_and_the_whole_reach_their_owners(void **state)
{
	struct harness_options options = {.worker_count = 2, .seed = 1};
	struct dialog d = {.h = harness_create(&options)};
	unsigned together = 0, handed_whole = 0;
	uint8_t packet[2048];

	for (uint32_t id = 0; id < 64; id++)
		for (uint16_t port = 5000; port < 5004; port = (uint16_t)(port + 2)) {
			const struct net_counters *c = counted(&d);
			uint16_t owner = net_owner(2525, port, 2);
			unsigned before = d.h->handed_off;
			uint64_t taken = c->tcp_in, wholes = c->reassembled;
			size_t size;

			d.h->script_remote_port = port;
			d.h->script_local_port = 2525;
			size = whole(&d, 900, packet);
			feed_piece(&d, packet, size, (struct piece){400, 0}, id, 0);
			assert_int_equal(c->reassembled, wholes);
			if (d.h->handed_off == before + 1) { /* the other one's */
				feed_piece(&d, packet, size, (struct piece){0, 400}, id, 0);
				assert_int_equal(d.h->handed_off, before + 2);
				assert_int_equal(c->reassembled, wholes);
				continue;
			}
			feed_piece(&d, packet, size, (struct piece){0, 400}, id, 0);
			together++;
			assert_int_equal(c->reassembled, wholes + 1);
			assert_int_equal(c->tcp_in - taken, owner == 0);
			assert_int_equal(d.h->handed_off - before, owner == 1);
			handed_whole += owner == 1;
		}
	assert_true(together > 32 && together < 96);
	assert_true(handed_whole > 8);
	assert_int_equal(counted(&d)->arrived_home + counted(&d)->arrived_elsewhere, 0);
	harness_destroy(d.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_791_3_2_pieces_are_put_together_in_any_order),
		cmocka_unit_test(rfc_8200_4_5_pieces_are_put_together_in_any_order),
		cmocka_unit_test(rfc_6946_a_fragment_that_is_all_is_the_segment),
		cmocka_unit_test(the_networks_copies_do_no_harm),
		cmocka_unit_test(rfc_5722_what_overlaps_is_forgotten_whole),
		cmocka_unit_test(a_piece_beyond_the_end_spoils),
		cmocka_unit_test(rfc_1122_3_3_2_pieces_are_forgotten_in_time),
		cmocka_unit_test(strangers_hold_no_more_than_a_few_frames),
		cmocka_unit_test(the_whole_is_checked_as_any_segment),
		cmocka_unit_test(rfc_3168_5_3_congestion_of_one_piece_is_that_of_all),
		cmocka_unit_test(what_no_segment_needs_is_dropped),
		cmocka_unit_test(pieces_and_the_whole_reach_their_owners),
	};

	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)('a' + i % 23);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
