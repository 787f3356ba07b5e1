/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The scoreboard's searches: that they find what a plain walk over all records finds, and that an
 * ACK costs a limited number of steps whatever its SACK blocks say, with as much in flight as a
 * connection may have (CVE-2019-11477, CVE-2019-11478).
 */
#include "tests/unit/tcp/dialog.h"

#include "dataplane/tcp/internal.h"

#include <stdlib.h>

#define SEGMENT 536u
#define RTT_US	100000u
#define STEPS_MAX \
	512u /* an ACK that finds nothing new; a walk over all would take 4,096 and more */

static const struct offer wide = {.sack = true, .scale = 14, .mss = SEGMENT};
static uint8_t stream[16u << 20];

/* --- against a plain walk --- */
struct model {
	struct net_stack *stack;
	struct tcp_layer *layer;
	struct tcb tcb;
	struct tcb_cold cold;
	struct mr_random random;
};

static struct tcp_record *walk_to(struct model *m, uint32_t seq, uint8_t mask, uint8_t flags)
{
	struct board_cursor cursor;
	struct tcp_record *r = board_first(m->layer, &m->tcb, &cursor);

	while (r != NULL && (seq_lt(r->seq, seq) || (r->flags & mask) != flags))
		r = board_next(m->layer, &cursor);
	return r;
}

static void compare(struct model *m)
{
	uint32_t seq =
		m->tcb.snd_una + random_below(&m->random, m->tcb.snd_nxt - m->tcb.snd_una + 3);
	struct board_block *head = board_head(m->layer, &m->tcb);
	struct board_cursor cursor;
	struct tcp_record *r = board_find(m->stack, head, seq, &cursor), *other;

	assert_ptr_equal(r, walk_to(m, seq, 0, 0));
	if (r != NULL)
		assert_ptr_equal(board_unsacked(m->stack, &cursor),
				 walk_to(m, seq, RECORD_SACKED, 0));
	r = board_first_lost(m->stack, &m->tcb, &cursor);
	other = walk_to(m, m->tcb.snd_una, RECORD_LOST, RECORD_LOST);
	while (r != NULL && other != NULL) {
		assert_ptr_equal(r, other);
		r = board_next_lost(m->stack, &cursor);
		other = walk_to(m, other->seq + 1, RECORD_LOST, RECORD_LOST);
	}
	assert_ptr_equal(r, other);
}

static void change(struct model *m, uint32_t from, uint32_t count, unsigned how)
{
	struct tcp_record *r = walk_to(m, from, 0, 0);

	for (; count > 0 && r != NULL; count--) {
		if (how == 0 && (r->flags & RECORD_SACKED) == 0)
			board_mark_sacked(m->layer, &m->tcb, r);
		else if (how == 1)
			board_mark_lost(m->layer, &m->tcb, r);
		else if (how == 2)
			board_mark_pending(m->layer, &m->tcb, r);
		r = walk_to(m, r->seq + 1, 0, 0);
	}
}

static void searches_find_what_a_walk_finds(void **state)
{
	struct model *m = calloc(1, sizeof(*m));
	struct board_cursor cursor;

	m->stack = calloc(1, sizeof(*m->stack));
	m->layer = calloc(1, sizeof(*m->layer));
	m->stack->tcp = m->layer;
	m->layer->tcbs = &m->tcb;
	m->layer->cold = &m->cold;
	m->tcb.flags = TCB_ACTIVE;
	m->tcb.snd_una = m->tcb.snd_nxt = UINT32_MAX - 1000;
	random_init_seed(&m->random, 5);
	assert_int_equal(board_pool_init(&m->layer->board, 120), 0);
	assert_int_equal(flight_pool_init(&m->layer->flights, 1), 0);
	assert_non_null(flight_take(m->stack, &m->tcb));
	for (unsigned round = 0; round < 4000; round++) {
		uint32_t flying = m->tcb.snd_nxt - m->tcb.snd_una, most = round % 1000 + 1;
		uint32_t count = random_below(&m->random, random_below(&m->random, 8) ? 30 : 900);

		switch (random_below(&m->random, 4)) {
		case 0:
			for (; count > 0 && flying < most && board_has_room(m->layer, &m->tcb);
			     count--, flying++)
				*board_append(m->stack, &m->tcb) =
					(struct tcp_record){.seq = m->tcb.snd_nxt++, .length = 1};
			break;
		case 1:
			for (; count > 0 && flying > 0; count--, flying--) {
				board_pop(m->layer, &m->tcb);
				m->tcb.snd_una++;
			}
			break;
		default:
			if (flying > 0)
				change(m, m->tcb.snd_una + random_below(&m->random, flying), count,
				       random_below(&m->random, 3));
		}
		compare(m);
	}
	while (board_first(m->layer, &m->tcb, &cursor) != NULL)
		board_pop(m->layer, &m->tcb);
	assert_int_equal(m->tcb.sacked_bytes, 0);
	assert_int_equal(m->tcb.lost_bytes, 0);
	assert_int_equal(m->layer->board.used, 0);
	flight_give(m->layer, &m->tcb);
	flight_pool_free(&m->layer->flights);
	board_pool_free(&m->layer->board);
	free(m->layer);
	free(m->stack);
	free(m);
}

/* --- with as much in flight as may be --- */
struct flood {
	struct dialog d; /* its ack stays at snd_una */
	struct mr_random random;
	uint32_t begin; /* the stream's first sequence number */
	uint32_t end;	/* behind what was sent last */
	uint32_t resent;
};

/* What comes must be the bytes of its place. */
static void hear(struct flood *f)
{
	struct dialog *d = &f->d;

	while (dialog_take(d)) {
		if (d->s.length == 0)
			continue;
		assert_memory_equal(d->s.data, stream + (d->s.seq - f->begin), d->s.length);
		if (seq_lt(d->s.seq, f->end))
			f->resent++;
		else
			f->end = d->s.seq + d->s.length;
	}
}

static struct flood flood(void)
{
	struct harness_options options = {.seed = 3, .chunks = 8192, .frames = 16384};
	struct flood f = {0};

	for (unsigned i = 0; i < sizeof(stream); i++)
		stream[i] = (uint8_t)(i * 2654435761u >> 24);
	random_init_seed(&f.random, 9);
	f.d = connecting(&options, &wide);
	harness_advance(f.d.h, RTT_US);
	script_feed(f.d.h, &(struct script_segment){.flags = S | A,
						    .seq = f.d.seq,
						    .ack = f.d.ack,
						    .window = 65535,
						    .mss = SEGMENT,
						    .sack_permitted = true,
						    .scaled = true,
						    .scale = 14});
	f.d.seq++;
	f.begin = f.end = f.d.ack;
	harness_send(f.d.c, stream, sizeof(stream));
	hear(&f);
	while (f.end - f.d.ack < BOARD_MAX * SEGMENT) {
		uint32_t end = f.end;

		harness_advance(f.d.h, RTT_US);
		while (f.d.ack != end) {
			uint32_t more = end - f.d.ack < 16 * SEGMENT ? end - f.d.ack : 16 * SEGMENT;

			f.d.ack += more;
			says(&f.d, A);
			hear(&f);
		}
	}
	assert_int_equal(f.end - f.d.ack, BOARD_MAX * SEGMENT);
	harness_advance(f.d.h, RTT_US);
	return f;
}

static void flood_end(struct flood *f)
{
	harness_abort(f->d.c);
	hear(f);
	dialog_end(&f->d);
}

struct blocks {
	unsigned count;
	uint32_t at[4][2];
};

/* Of whole segments, counted from snd_una. */
static void add(struct blocks *b, uint32_t first, uint32_t end)
{
	b->at[b->count][0] = first * SEGMENT;
	b->at[b->count++][1] = end * SEGMENT;
}

/* @return steps that an ACK with these blocks costs, with what is sent for it */
static uint64_t steps(struct flood *f, const struct blocks *b)
{
	uint64_t before = counters(&f->d)->tcp_board_steps;

	acks(&f->d, 0, b->count, b->at);
	hear(f);
	harness_advance(f->d.h, 10);
	return counters(&f->d)->tcp_board_steps - before;
}

static void one_loss_in_a_full_flight_costs_a_few_steps_an_ack(void **state)
{
	struct flood f = flood();

	for (unsigned i = 0; i < BOARD_MAX - 1; i += 2) {
		struct blocks b = {0};

		add(&b, 1, i + 2);
		assert_in_range(steps(&f, &b), 0, 192);
	}
	assert_int_equal(f.resent, 1);
	flood_end(&f);
}

static void every_second(struct blocks *b, unsigned i)
{
	for (unsigned j = 0; j < 4; j++)
		if (j <= i)
			add(b, 2 * (i - j) + 1, 2 * (i - j) + 2);
}

static void sack_panic_every_second_segment_costs_a_limited_number_of_steps(void **state)
{
	struct flood f = flood();

	for (unsigned i = 0; i < BOARD_MAX / 2; i++) {
		struct blocks b = {0};

		every_second(&b, i);
		assert_in_range(steps(&f, &b), 0, STEPS_MAX);
	}
	flood_end(&f);
}

static void sack_panic_backwards_costs_a_limited_number_of_steps(void **state)
{
	struct flood f = flood();

	for (unsigned i = BOARD_MAX / 2 - 1; i > 0; i--) {
		struct blocks b = {0};
		bool first = i == BOARD_MAX / 2 - 1;
		uint64_t cost;

		every_second(&b, i);
		cost = steps(&f, &b);
		/* With the last one delivered all others are lost: once, and each is marked. */
		assert_in_range(cost, 0, first ? 3 * BOARD_MAX : STEPS_MAX);
	}
	flood_end(&f);
}

static void what_was_said_already_costs_a_limited_number_of_steps(void **state)
{
	struct flood f = flood();
	struct blocks b = {0};

	add(&b, BOARD_MAX - 2, BOARD_MAX - 1);
	add(&b, BOARD_MAX / 2, BOARD_MAX - 3);
	add(&b, 4, BOARD_MAX / 2 - 1);
	add(&b, 2, 3);
	assert_in_range(steps(&f, &b), 0, 3 * BOARD_MAX);
	for (unsigned i = 0; i < 500; i++)
		assert_in_range(steps(&f, &b), 0, STEPS_MAX);
	flood_end(&f);
}

/* Each end of what is in flight by turns, and anywhere between. */
static void blocks_anywhere_cost_a_limited_number_of_steps(void **state)
{
	struct flood f = flood();
	uint64_t all = 0;

	for (unsigned i = 0; i < 1000; i++) {
		struct blocks b = {0};

		for (unsigned j = 0; j < 4; j++) {
			uint32_t at = random_below(&f.random, BOARD_MAX - 2) + 1;

			add(&b, at, at + 1 + random_below(&f.random, 2));
		}
		all += steps(&f, &b);
	}
	assert_in_range(all, 0, 1000 * STEPS_MAX + 3 * BOARD_MAX);
	flood_end(&f);
}

/* A D-SACK for each retransmission that was heard. @return their number */
static unsigned deny(struct flood *f)
{
	unsigned count = 0;

	for (; f->resent > 0 && count < 500; count++) {
		f->resent--;
		acks(&f->d, 0, 1, (const uint32_t[][2]){{-SEGMENT, 0}});
		hear(f);
		harness_advance(f->d.h, 10);
	}
	return count;
}

/* It says by turns that all was lost, and that nothing was. */
static void reductions_are_taken_back_once_in_a_window(void **state)
{
	struct flood f = flood();
	uint64_t before = counters(&f.d)->tcp_board_steps;
	struct blocks b = {0};
	unsigned denied;

	add(&b, BOARD_MAX - 6, BOARD_MAX - 1);
	steps(&f, &b);
	assert_true(f.resent > 0);
	denied = deny(&f);
	assert_int_equal(counters(&f.d)->tcp_spurious, 1);
	/* Marked lost, unmarked, marked again. */
	assert_in_range(counters(&f.d)->tcp_board_steps - before, 0,
			denied * STEPS_MAX + 6 * BOARD_MAX);
	/* Another window, another doubt. */
	f.d.ack = f.end;
	says(&f.d, A);
	hear(&f);
	harness_advance(f.d.h, RTT_US);
	f.resent = 0;
	acks(&f.d, 0, 1, (const uint32_t[][2]){{5 * SEGMENT, 9 * SEGMENT}});
	harness_advance(f.d.h, RTT_US); /* reordering was seen: it waits */
	hear(&f);
	assert_true(f.resent > 0);
	deny(&f);
	assert_int_equal(counters(&f.d)->tcp_spurious, 2);
	flood_end(&f);
}

static void a_retransmission_finds_its_bytes_without_a_walk(void **state)
{
	struct flood f = flood();

	/* One is lost in every thousand; what is lost last lies far from the front. */
	for (unsigned i = 0; i < BOARD_MAX; i += 10) {
		struct blocks b = {0};

		add(&b, i + 1, i + 10);
		if (i % 1000 != 0)
			add(&b, i, i + 1);
		assert_in_range(steps(&f, &b), 0, 256);
	}
	assert_int_equal(f.resent, 5);
	flood_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(searches_find_what_a_walk_finds),
		cmocka_unit_test(one_loss_in_a_full_flight_costs_a_few_steps_an_ack),
		cmocka_unit_test(sack_panic_every_second_segment_costs_a_limited_number_of_steps),
		cmocka_unit_test(sack_panic_backwards_costs_a_limited_number_of_steps),
		cmocka_unit_test(what_was_said_already_costs_a_limited_number_of_steps),
		cmocka_unit_test(blocks_anywhere_cost_a_limited_number_of_steps),
		cmocka_unit_test(reductions_are_taken_back_once_in_a_window),
		cmocka_unit_test(a_retransmission_finds_its_bytes_without_a_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
