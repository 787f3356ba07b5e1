/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Cycles a packet by kind, the rate of opening and closing that follows, and what data costs. The
 * median over many short rounds stands for each: a round that was interrupted does not matter.
 */
#include "perf/stack/bench.h"
#include "perf/stack/opener.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS_MAX     2000u
#define DATA_FLOWS     256u
#define DATA_SEGMENTS  2u /* each flow sends in a round: one ACK */
#define SETTLE_ROUNDS  200u
#define SETTLE_STEP_US 100u

static void bench_open(const struct bench_options *options, bool offload)
{
	static const char *const names[] = {
#define X(name, text) text,
		OPENER_KINDS(X)
#undef X
	};
	static double out[OPENER_KIND_COUNT][ROUNDS_MAX], in[OPENER_KIND_COUNT][ROUNDS_MAX];
	static double client[ROUNDS_MAX], server[ROUNDS_MAX], timers[ROUNDS_MAX];
	unsigned rounds = options->quick ? 300 : 1500;
	struct opener *o = opener_create(options->seed, offload);
	double one, other;
	char name[64];

	for (unsigned r = 0; r < 20; r++) /* warm up */
		opener_round(o);
	for (unsigned r = 0; r < rounds; r++) {
		uint64_t sums[2] = {0, 0};

		opener_round(o);
		for (unsigned k = 0; k < OPENER_KIND_COUNT; k++) {
			bool from_client = k == OPENER_SYN || k == OPENER_ACK || k == OPENER_FIN ||
					   k == OPENER_LAST_ACK;

			out[k][r] = (double)o->out[k].cycles / OPENER_BATCH;
			in[k][r] = (double)o->in[k].cycles / OPENER_BATCH;
			sums[from_client ? 0 : 1] += o->out[k].cycles;
			sums[from_client ? 1 : 0] += o->in[k].cycles;
		}
		timers[r] = (double)o->timer_cycles / OPENER_BATCH / 2;
		client[r] = (double)sums[0] / OPENER_BATCH + timers[r];
		server[r] = (double)sums[1] / OPENER_BATCH + timers[r];
	}
	opener_destroy(o);
	one = median(client, rounds);
	other = median(server, rounds);
	if (offload) {
		report("tcp.connect_close_per_second.offload",
		       tsc_hz() / (one > other ? one : other), "1/s");
		return;
	}
	/* A core that serves one end: the dearer one counts. */
	report("tcp.connect_close_per_second", tsc_hz() / (one > other ? one : other), "1/s");
	report("tcp.connect_close_per_second.both_ends", tsc_hz() / (one + other), "1/s");
	report("tcp.cycles.connect_close_client", one, "cycles");
	report("tcp.cycles.connect_close_server", other, "cycles");
	for (unsigned k = 0; k < OPENER_KIND_COUNT; k++) {
		snprintf(name, sizeof(name), "tcp.cycles.%s_out", names[k]);
		report(name, median(out[k], rounds), "cycles");
		snprintf(name, sizeof(name), "tcp.cycles.%s_in", names[k]);
		report(name, median(in[k], rounds), "cycles");
	}
	report("tcp.cycles.timers_a_connection", median(timers, rounds), "cycles");
}

/* --- data --- */
struct flows {
	struct pair *pair;
	uint32_t accepted;
	uint64_t received;
	tcp_handle handles[DATA_FLOWS];
	struct pair_cost data_out, data_in, ack_out, ack_in;
	uint64_t other_cycles;
};

static size_t on_receive(void *user, tcp_handle handle, const uint8_t *data, size_t size)
{
	((struct flows *)user)->received += size;
	return size;
}

static void on_closed(void *user, tcp_handle handle, enum tcp_close_reason reason)
{
	fprintf(stderr, "stack-bench: a flow ended: %s\n", tcp_close_reason_name(reason));
	exit(1);
}

static const struct tcp_callbacks callbacks = {NULL, on_receive, NULL, NULL, on_closed};

static bool on_accept(void *user, tcp_handle handle, void **user_out,
		      const struct tcp_callbacks **callbacks_out)
{
	struct flows *f = ((struct pair *)user)->user;

	f->accepted++;
	*user_out = f;
	*callbacks_out = &callbacks;
	return true;
}

/* Each flow sends DATA_SEGMENTS full segments, and all is acknowledged. */
static void data_round(struct flows *f)
{
	static const uint8_t data[PAIR_MSS * DATA_SEGMENTS];
	struct pair *p = f->pair;
	uint64_t want = f->received + (uint64_t)sizeof(data) * DATA_FLOWS;
	uint64_t begin = tsc_now();

	f->data_out = f->data_in = f->ack_out = f->ack_in = (struct pair_cost){0};
	for (unsigned i = 0; i < DATA_FLOWS; i++) {
		int error = tcp_send(p->client.stack, f->handles[i], data, sizeof(data));

		assert(error == 0);
		(void)error;
	}
	f->data_out.cycles += tsc_now() - begin;
	f->other_cycles = 0;
	for (unsigned i = 0; i < SETTLE_ROUNDS; i++) {
		pair_cost_add(&f->data_out, pair_send(p, &p->client));
		f->other_cycles += pair_advance(p, SETTLE_STEP_US);
		pair_cost_add(&f->data_in, pair_deliver(p, &p->server));
		pair_cost_add(&f->ack_out, pair_send(p, &p->server));
		f->other_cycles += pair_advance(p, SETTLE_STEP_US);
		pair_cost_add(&f->ack_in, pair_deliver(p, &p->client));
		if (f->received == want &&
		    tcp_unacknowledged(p->client.stack, f->handles[0]) == 0 &&
		    tcp_unacknowledged(p->client.stack, f->handles[DATA_FLOWS - 1]) == 0)
			return;
	}
	fprintf(stderr, "stack-bench: data is missing\n");
	exit(1);
}

static struct flows *flows_create(const struct bench_options *options, bool offload)
{
	static const struct tcp_listen_callbacks listen = {on_accept};
	struct pair_settings settings = {.connections = 4096,
					 .time_wait = 64,
					 .chunks = 8192,
					 .addresses = 16,
					 .offload = offload,
					 .seed = options->seed};
	struct flows *f = calloc(1, sizeof(*f));

	assert(f != NULL);
	f->pair = pair_create(&settings, &listen);
	f->pair->user = f;
	for (unsigned i = 0; i < DATA_FLOWS; i++)
		if (pair_connect(f->pair, i, &callbacks, f, &f->handles[i]) != 0)
			exit(1);
	/* SYNs that waited for ARP in vain come again after a second. */
	for (unsigned i = 0; i < 400 && f->accepted < DATA_FLOWS; i++) {
		pair_settle(f->pair);
		pair_advance(f->pair, 10 * US_PER_MS);
	}
	pair_settle(f->pair);
	assert(f->accepted == DATA_FLOWS);
	return f;
}

static double per(struct pair_cost cost)
{
	return (double)cost.cycles / (double)(cost.packets != 0 ? cost.packets : 1);
}

static void bench_data(const struct bench_options *options, bool offload)
{
	static double all[ROUNDS_MAX], parts[4][ROUNDS_MAX];
	static const char *const names[4] = {"data_out", "data_in", "dataack_out", "dataack_in"};
	unsigned rounds = options->quick ? 400 : 2000;
	struct flows *f = flows_create(options, offload);
	char name[64];

	for (unsigned r = 0; r < 40; r++)
		data_round(f);
	for (unsigned r = 0; r < rounds; r++) {
		struct pair_cost sum = {0};

		data_round(f);
		sum.cycles = f->other_cycles;
		pair_cost_add(&sum, f->data_out);
		pair_cost_add(&sum, f->data_in);
		pair_cost_add(&sum, f->ack_out);
		pair_cost_add(&sum, f->ack_in);
		all[r] = per(sum);
		parts[0][r] = per(f->data_out);
		parts[1][r] = per(f->data_in);
		parts[2][r] = per(f->ack_out);
		parts[3][r] = per(f->ack_in);
	}
	report(offload ? "tcp.cycles_per_packet.offload" : "tcp.cycles_per_packet",
	       median(all, rounds), "cycles");
	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "tcp.cycles.%s%s", names[i],
			 offload ? ".offload" : "");
		report(name, median(parts[i], rounds), "cycles");
	}
	pair_destroy(f->pair);
	free(f);
}

void bench_packets(const struct bench_options *options)
{
	report("tcp.calibration_cycles_a_step", tsc_calibration(), "cycles");
	bench_open(options, false);
	bench_open(options, true);
	bench_data(options, false);
	bench_data(options, true);
	report("tcp.calibration_cycles_a_step.after", tsc_calibration(), "cycles");
}
