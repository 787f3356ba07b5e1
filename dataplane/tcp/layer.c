/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The TCP layer of a stack: creation, sweep over all connections, gauges. */
#include "dataplane/tcp/layer.h"

#include "dataplane/tcp/destination.h"
#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/table.h"

#include <errno.h>
#include <stdlib.h>

#define HALF_OPEN_MIN	 16u
#define HALF_OPEN_MAX	 65536u
#define DESTINATIONS_MIN 256u
#define DESTINATIONS_MAX 65536u

static uint8_t scale_for(uint32_t window)
{
	uint8_t scale = 0;

	while (window >> scale > 65535 && scale < 14)
		scale++;
	return scale;
}

static uint32_t clamp(uint32_t value, uint32_t low, uint32_t high)
{
	return value < low ? low : value > high ? high : value;
}

static int make_tables(struct net_stack *stack, struct tcp_layer *layer)
{
	const struct net_stack_settings *s = &stack->settings;
	uint32_t blocks = s->connections < 65536 ? s->connections + 1024 : s->connections / 2;
	uint32_t flights = s->flights != 0	    ? s->flights
			   : s->connections < 65536 ? s->connections
						    : clamp(s->connections / 4, 65536, UINT32_MAX);

	layer->tcbs = aligned_alloc(64, sizeof(struct tcb) * (size_t)s->connections);
	layer->cold = calloc(s->connections, sizeof(struct tcb_cold));
	if (layer->tcbs == NULL || layer->cold == NULL ||
	    tcp_table_init(&layer->table, s->connections) != 0 ||
	    board_pool_init(&layer->board, blocks) != 0 ||
	    flight_pool_init(&layer->flights, flights) != 0 ||
	    bbr_pool_init(&layer->bbr, clamp(s->connections / 4, 64, 65536)) != 0 ||
	    time_wait_init(&layer->time_wait, s->time_wait) != 0)
		return -ENOMEM;
	layer->destinations = destination_cache_create(
		clamp(s->connections / 4, DESTINATIONS_MIN, DESTINATIONS_MAX));
	if (layer->destinations == NULL)
		return -ENOMEM;
	layer->wheel = wheel_create(&layer->tcbs[0].timer, sizeof(struct tcb), stack->now_us);
	return layer->wheel != NULL ? 0 : -ENOMEM;
}

int tcp_layer_create(struct net_stack *stack)
{
	const struct net_stack_settings *s = &stack->settings;
	struct tcp_layer *layer = calloc(1, sizeof(*layer));

	if (layer == NULL)
		return -ENOMEM;
	stack->tcp = layer;
	layer->capacity = s->connections;
	layer->chunks = s->chunks;
	layer->half_open_max = clamp(s->connections / 4, HALF_OPEN_MIN, HALF_OPEN_MAX);
	layer->receive_window = s->receive_window != 0 ? s->receive_window : TCP_RECEIVE_WINDOW;
	layer->receive_scale = scale_for(layer->receive_window);
	/* Two full segments fit a chunk; twice that, for small ones between holes. */
	layer->ooo_chunks_max = (uint16_t)clamp(layer->receive_window * 2 / CHUNK_DATA,
						TCP_OOO_CHUNKS_MIN, TCP_OOO_CHUNKS_MAX);
	/* Received data may fill half of the chunks; the rest stays for sending, which frees
	 * memory. */
	layer->receive_chunks_max = chunk_pool_count(s->chunks) / 2;
	for (unsigned i = 0; i < RST_LIMITS; i++)
		layer->rst_limits[i] = (struct rate_limit){.interval_us = 10000, .burst = 50};
	random_bytes(s->random, &layer->table_key, sizeof(layer->table_key));
	random_bytes(s->random, &layer->isn_key, sizeof(layer->isn_key));
	random_bytes(s->random, &layer->port_key, sizeof(layer->port_key));
	random_bytes(s->random, &layer->ts_key, sizeof(layer->ts_key));
	random_bytes(s->random, layer->port_counter, sizeof(layer->port_counter));
	return make_tables(stack, layer);
}

void tcp_layer_destroy(struct net_stack *stack)
{
	struct tcp_layer *layer = stack->tcp;

	for (uint32_t i = 0; layer->tcbs != NULL && i < layer->fresh; i++) {
		if (layer->tcbs[i].state == TCPS_CLOSED)
			continue;
		send_queue_free(layer, &layer->tcbs[i]);
		tcp_receive_free(stack, &layer->tcbs[i]);
	}
	if (layer->wheel != NULL)
		wheel_destroy(layer->wheel);
	time_wait_free(&layer->time_wait);
	destination_cache_destroy(layer->destinations);
	bbr_pool_free(&layer->bbr);
	flight_pool_free(&layer->flights);
	board_pool_free(&layer->board);
	tcp_table_free(&layer->table);
	free(layer->cold);
	free(layer->tcbs);
	free(layer);
	stack->tcp = NULL;
}

void tcp_addresses_changed(struct net_stack *stack)
{
	struct tcp_layer *layer = stack->tcp;

	for (uint32_t i = 0; i < layer->fresh; i++) {
		struct tcb *tcb = &layer->tcbs[i];

		if (tcb->state != TCPS_CLOSED && local_find(&stack->local, &tcb->local) == NULL)
			tcb_finish(stack, tcb, TCP_ABORTED);
		else if (tcb->state != TCPS_CLOSED)
			pmtu_port_changed(stack, tcb);
	}
}

unsigned tcp_run_timers(struct net_stack *stack, unsigned budget)
{
	unsigned ran = time_wait_expire(stack, budget);

	return ran + wheel_expire(stack->tcp->wheel, stack->now_us, budget, tcp_timer, stack);
}

uint64_t tcp_next_timer(const struct net_stack *stack)
{
	uint64_t next = wheel_next(stack->tcp->wheel);
	uint64_t time_wait = time_wait_next(stack);
	uint64_t wake = tcb_wake_due(stack);

	if (time_wait < next)
		next = time_wait;
	return wake < next ? wake : next;
}

void tcp_layer_gauges(const struct net_stack *stack, struct net_gauges *out)
{
	out->connections = stack->tcp->used;
	out->half_open = stack->tcp->half_open;
	out->time_wait = stack->tcp->time_wait.live;
}
