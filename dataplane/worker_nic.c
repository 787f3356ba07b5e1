/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <time.h>
#include <x86intrin.h>
#undef US_PER_S /* DPDK's is 32 bits wide; ours comes with drivers/clock.h */

#include "dataplane/buf/frame_mbuf.h"
#include "dataplane/worker_nic.h"

#define BURST 32
/* Transmit bursts of one port in one turn. */
#define TX_BURSTS 8
/* Idle turns before an idle worker pauses, and before it sleeps. */
#define IDLE_PAUSE_TURNS 4
#define IDLE_SLEEP_TURNS 12
#define IDLE_PAUSES	 32
#define SLEEP_FIRST_US	 20

/** Packets that the port did not take yet. */
struct tx_queue {
	unsigned count;
	struct rte_mbuf *packets[BURST];
};

struct loop_state {
	const struct worker_loop *loop;
	struct worker_load *load;
	struct tx_queue tx[NET_PORTS_MAX];
	unsigned idle_turns;
	uint64_t sleep_us;
};

static unsigned receive(struct loop_state *state, struct frame **frames)
{
	const struct worker_loop *loop = state->loop;
	unsigned n = 0;

	for (unsigned p = 0; p < loop->port_count; p++) {
		struct rte_mbuf *packets[BURST];
		uint16_t got = nic_port_rx(loop->ports[p], loop->queue, packets, BURST);

		for (uint16_t i = 0; i < got; i++) {
			struct frame *frame = frame_from_mbuf(packets[i], (uint16_t)p, loop->queue);

			if (frame)
				frames[n++] = frame;
			else
				state->load->drop_segmented++;
		}
	}
	return n;
}

/* @return false when the port is full */
static bool push(struct nic_port *port, uint16_t queue, struct tx_queue *tx)
{
	uint16_t sent = nic_port_tx(port, queue, tx->packets, (uint16_t)tx->count);

	tx->count -= sent;
	for (unsigned i = 0; i < tx->count; i++)
		tx->packets[i] = tx->packets[sent + i];
	return tx->count == 0;
}

static bool transmit(struct loop_state *state, const struct mr_now *now)
{
	const struct worker_loop *loop = state->loop;
	bool busy = false;

	for (unsigned p = 0; p < loop->port_count; p++) {
		struct tx_queue *tx = &state->tx[p];

		for (unsigned burst = 0; burst < TX_BURSTS; burst++) {
			struct frame *frames[BURST];

			if (tx->count > 0 && !push(loop->ports[p], loop->queue, tx))
				break;
			unsigned n = worker_output(loop->worker, (uint16_t)p, frames, BURST, now);

			for (unsigned i = 0; i < n; i++)
				tx->packets[i] = frame_to_mbuf(frames[i]);
			tx->count = n;
			if (n == 0)
				break;
			busy = true;
		}
		if (tx->count > 0)
			push(loop->ports[p], loop->queue, tx);
	}
	return busy;
}

static uint64_t sleep_time(struct loop_state *state, const struct mr_now *now)
{
	uint64_t deadline = worker_next_deadline(state->loop->worker);
	uint64_t until = deadline > now->mono_us ? deadline - now->mono_us : 0;

	/* Growing by quarters, a sleep delays what comes by a quarter of the silence before it. */
	state->sleep_us = state->sleep_us ? state->sleep_us + state->sleep_us / 4 : SLEEP_FIRST_US;
	if (state->sleep_us > state->loop->sleep_max_us)
		state->sleep_us = state->loop->sleep_max_us;
	return until < state->sleep_us ? until : state->sleep_us;
}

static void idle(struct loop_state *state, const struct mr_now *now)
{
	const struct worker_loop *loop = state->loop;

	state->idle_turns++;
	if (loop->idle == WORKER_IDLE_SPIN || state->idle_turns < IDLE_PAUSE_TURNS)
		return;
	if (loop->idle == WORKER_IDLE_PAUSE || state->idle_turns < IDLE_SLEEP_TURNS) {
		for (unsigned i = 0; i < IDLE_PAUSES; i++)
			rte_pause();
		return;
	}
	uint64_t us = sleep_time(state, now);

	if (us == 0)
		return;
	state->load->sleeps++;
	if (loop->idle == WORKER_IDLE_INTERRUPT) {
		nic_wait((struct nic_port **)loop->ports, loop->port_count, loop->queue, us);
		return;
	}
	struct timespec ts = {.tv_nsec = (long)(us * 1000)};

	nanosleep(&ts, NULL);
}

void worker_loop_run(const struct worker_loop *loop)
{
	struct loop_state state = {.loop = loop, .load = worker_load(loop->worker)};
	uint64_t cycles = __rdtsc();

	while (!atomic_load_explicit(loop->stop, memory_order_relaxed)) {
		struct frame *frames[BURST * NET_PORTS_MAX];
		struct mr_now now;

		clock_read(&now);
		unsigned n = receive(&state, frames);
		bool busy = worker_turn(loop->worker, frames, n, &now);

		busy |= transmit(&state, &now);
		uint64_t after = __rdtsc();

		if (busy) {
			state.load->busy_cycles += after - cycles;
			state.idle_turns = 0;
			state.sleep_us = 0;
		} else {
			idle(&state, &now);
			after = __rdtsc();
			state.load->idle_cycles += after - cycles;
		}
		cycles = after;
	}
	for (unsigned p = 0; p < loop->port_count; p++)
		rte_pktmbuf_free_bulk(state.tx[p].packets, state.tx[p].count);
}
