/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The connection table, the scoreboard and the round-trip estimator by themselves. */
#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CONNECTIONS 2000u

static void the_table_agrees_with_a_list_through_random_inserts_and_removes(void **state)
{
	struct tcp_layer *layer = calloc(1, sizeof(*layer));
	bool present[CONNECTIONS] = {false};
	struct mr_random random;

	random_init_seed(&random, 3);
	layer->tcbs = aligned_alloc(64, CONNECTIONS * sizeof(struct tcb));
	assert_int_equal(tcp_table_init(&layer->table, CONNECTIONS * 2 / 7), 0); /* nearly full */
	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		struct tcb *t = &layer->tcbs[i];

		memset(t, 0, sizeof(*t));
		t->local = ip_from_v4(0x0a000001);
		t->remote = ip_from_v4(random_u32(&random));
		t->local_port = (uint16_t)random_u32(&random);
		t->remote_port = (uint16_t)i;
	}
	for (unsigned step = 0; step < 200000; step++) {
		uint32_t i = random_below(&random, CONNECTIONS);
		struct tcb *t = &layer->tcbs[i];
		/* Few distinct home lines, so that lines overflow. */
		uint64_t hash = tcp_tuple_hash(&layer->table_key, &t->local, t->local_port,
					       &t->remote, t->remote_port) &
				~UINT64_C(0x38000000);

		assert_ptr_equal(tcp_table_find(layer, hash, &t->local, t->local_port, &t->remote,
						t->remote_port),
				 present[i] ? t : NULL);
		if (present[i])
			tcp_table_remove(&layer->table, hash, i);
		else if (layer->table.used < CONNECTIONS * 45 / 100)
			tcp_table_insert(&layer->table, hash, i);
		else
			continue;
		present[i] = !present[i];
	}
	tcp_table_free(&layer->table);
	free(layer->tcbs);
	free(layer);
}

static void siphash_1_3_is_what_others_compute(void **state)
{
	/* From the reference implementation with c = 1, d = 3: key 00..0f, message 00..07. */
	struct hash_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
	uint64_t word = UINT64_C(0x0706050403020100);

	assert_true(hash_words(&key, &word, 1) == UINT64_C(0x369095118d299a8e));
}

static void the_scoreboard_keeps_order_over_many_blocks(void **state)
{
	struct tcp_layer *layer = calloc(1, sizeof(*layer));
	struct net_stack *stack = calloc(1, sizeof(*stack));
	struct board_cursor cursor;
	struct tcb tcbs[2] = {{.flags = TCB_ACTIVE}, {.flags = TCB_ACTIVE}};
	struct tcb_cold cold[2] = {0};
	uint32_t popped = 0, pushed = 0;

	stack->tcp = layer;
	layer->tcbs = tcbs;
	layer->cold = cold;
	assert_int_equal(board_pool_init(&layer->board, 8), 0);
	assert_int_equal(flight_pool_init(&layer->flights, 2), 0);
	assert_non_null(flight_take(stack, &tcbs[0]));
	assert_non_null(flight_take(stack, &tcbs[1]));
	while (board_has_room(layer, &tcbs[0]))
		*board_append(stack, &tcbs[0]) = (struct tcp_record){.seq = pushed++};
	assert_int_equal(pushed, 6 * BOARD_RECORDS);
	/* The last quarter is there for one that holds little. */
	while (board_has_room(layer, &tcbs[1]))
		*board_append(stack, &tcbs[1]) = (struct tcp_record){.length = 1};
	assert_int_equal(tcb_flight(layer, &tcbs[1])->board_count, 2 * BOARD_RECORDS);
	board_clear(layer, &tcbs[1]);
	for (unsigned round = 0; round < 1000; round++) {
		uint32_t expect = popped;

		for (unsigned i = 0; i < round % 40 && tcb_flight(layer, &tcbs[0])->board_count > 0;
		     i++) {
			assert_int_equal(board_first(layer, &tcbs[0], &cursor)->seq, popped++);
			board_pop(layer, &tcbs[0]);
		}
		while (board_has_room(layer, &tcbs[0]) && pushed - popped < 50 + round % 60)
			*board_append(stack, &tcbs[0]) = (struct tcp_record){.seq = pushed++};
		expect = popped;
		for (struct tcp_record *r = board_first(layer, &tcbs[0], &cursor); r != NULL;
		     r = board_next(layer, &cursor))
			assert_int_equal(r->seq, expect++);
		assert_int_equal(expect, pushed);
		if (pushed != popped)
			assert_int_equal(board_last(layer, &tcbs[0])->seq, pushed - 1);
	}
	board_clear(layer, &tcbs[0]);
	assert_int_equal(layer->board.used, 0);
	flight_give(layer, &tcbs[0]);
	flight_give(layer, &tcbs[1]);
	assert_int_equal(layer->flights.used, 0);
	flight_pool_free(&layer->flights);
	board_pool_free(&layer->board);
	free(stack);
	free(layer);
}

static void rfc_6298_the_estimator_follows_its_formulas(void **state)
{
	struct tcb tcb = {0};

	rtt_sample(&tcb, 100000);
	assert_int_equal(tcb.srtt_us, 100000);
	assert_int_equal(tcb.rttvar_us, 50000);
	assert_int_equal(rtt_timeout_us(&tcb), 300000);
	rtt_sample(&tcb, 200000);
	assert_int_equal(tcb.srtt_us, 112500);
	assert_int_equal(tcb.rttvar_us, 62500);
	assert_int_equal(tcb.min_rtt_us, 100000);
	assert_int_equal(rtt_timeout_us(&tcb), 362500);
	tcb.backoff = 3;
	assert_int_equal(rtt_timeout_us(&tcb), 8 * 362500);
	tcb.backoff = 255;
	assert_int_equal(rtt_timeout_us(&tcb), 60000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_agrees_with_a_list_through_random_inserts_and_removes),
		cmocka_unit_test(siphash_1_3_is_what_others_compute),
		cmocka_unit_test(the_scoreboard_keeps_order_over_many_blocks),
		cmocka_unit_test(rfc_6298_the_estimator_follows_its_formulas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
