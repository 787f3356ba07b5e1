/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Cycles a packet by kind, the rate of opening and closing that follows, and what data costs. Each
 * kind is timed over a burst that takes some ten microseconds, many times, and its lower decile
 * stands for it: bursts that were interrupted do not matter.
 */
#include "perf/stack/bench.h"
#include "perf/stack/opener.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS_MAX     2000u
#define DATA_FLOWS     256u /* what stays in the caches */
#define DATA_FLOWS_MAX 65536u
#define DATA_TURN      32u /* of them send in a round */
#define DATA_SEGMENTS  2u  /* each flow sends in a round: one ACK */
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
	static double timers[ROUNDS_MAX];
	double one = 0, other = 0;
	unsigned rounds = options->quick ? 300 : 1500;
	struct opener *o = opener_create(options->seed, offload);
	char name[64];

	for (unsigned r = 0; r < 20; r++) /* warm up */
		opener_round(o);
	for (unsigned r = 0; r < rounds; r++) {
		opener_round(o);
		for (unsigned k = 0; k < OPENER_KIND_COUNT; k++) {
			out[k][r] = (double)o->out[k].cycles / OPENER_BATCH;
			in[k][r] = (double)o->in[k].cycles / OPENER_BATCH;
		}
		timers[r] = (double)o->timer_cycles / OPENER_BATCH / 2;
	}
	opener_destroy(o);
	for (unsigned k = 0; k < OPENER_KIND_COUNT; k++) {
		bool from_server = k == OPENER_SYN_ACK || k == OPENER_FIN_ACK;
		double sent = undisturbed(out[k], rounds), taken = undisturbed(in[k], rounds);

		one += from_server ? taken : sent;
		other += from_server ? sent : taken;
		if (offload)
			continue;
		snprintf(name, sizeof(name), "tcp.cycles.%s_out", names[k]);
		report(name, sent, "cycles");
		snprintf(name, sizeof(name), "tcp.cycles.%s_in", names[k]);
		report(name, taken, "cycles");
	}
	one += undisturbed(timers, rounds);
	other += undisturbed(timers, rounds);
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
}

/* --- data --- */
struct flows {
	struct pair *pair;
	uint32_t accepted;
	unsigned count;
	unsigned first; /* of those that send now */
	uint64_t received;
	tcp_handle handles[DATA_FLOWS_MAX];
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

/* DATA_TURN flows send DATA_SEGMENTS full segments each, and all is acknowledged. */
static void data_round(struct flows *f)
{
	static const uint8_t data[PAIR_MSS * DATA_SEGMENTS];
	struct pair *p = f->pair;
	uint64_t want = f->received + (uint64_t)sizeof(data) * DATA_TURN;
	const tcp_handle *handles = f->handles + f->first;
	uint64_t begin = tsc_now();

	f->first = (f->first + DATA_TURN) % f->count;
	f->data_out = f->data_in = f->ack_out = f->ack_in = (struct pair_cost){0};
	for (unsigned i = 0; i < DATA_TURN; i++) {
		int error = tcp_send(p->client.stack, handles[i], data, sizeof(data));

		assert(error == 0);
		(void)error;
	}
	f->data_out.cycles += tsc_now() - begin;
	f->other_cycles = 0;
	for (unsigned i = 0; i < SETTLE_ROUNDS; i++) {
		struct pair_cost sent = pair_send(p, &p->client);

		/* A window of one segment waits for a delayed ACK. */
		if (sent.packets == 0)
			pair_advance(p, 5 * US_PER_MS);
		pair_cost_add(&f->data_out, sent);
		f->other_cycles += pair_advance(p, SETTLE_STEP_US);
		pair_cost_add(&f->data_in, pair_deliver(p, &p->server));
		pair_cost_add(&f->ack_out, pair_send(p, &p->server));
		f->other_cycles += pair_advance(p, SETTLE_STEP_US);
		pair_cost_add(&f->ack_in, pair_deliver(p, &p->client));
		if (f->received == want && tcp_unacknowledged(p->client.stack, handles[0]) == 0 &&
		    tcp_unacknowledged(p->client.stack, handles[DATA_TURN - 1]) == 0)
			return;
	}
	fprintf(stderr, "stack-bench: data is missing\n");
	exit(1);
}

static struct flows *flows_create(const struct bench_options *options, unsigned count, bool offload)
{
	static const struct tcp_listen_callbacks listen = {on_accept};
	/* So many to a few destinations would wait for their common bucket more than they send. */
	struct pair_settings settings = {.connections = count + 4096,
					 .time_wait = 64,
					 .chunks = 8192,
					 .addresses = count > DATA_FLOWS ? PAIR_ADDRESSES : 1,
					 .unpaced = count > DATA_FLOWS,
					 .offload = offload,
					 .seed = options->seed};
	struct flows *f = calloc(1, sizeof(*f));

	assert(f != NULL);
	f->pair = pair_create(&settings, &listen);
	f->pair->user = f;
	f->count = count;
	for (unsigned i = 0; i < count; i++) {
		if (pair_connect(f->pair, i, &callbacks, f, &f->handles[i]) != 0)
			exit(1);
		pair_settle(f->pair);
		pair_advance(f->pair, SETTLE_STEP_US);
	}
	assert(f->accepted == count);
	return f;
}

static double per(struct pair_cost cost)
{
	return (double)cost.cycles / (double)(cost.packets != 0 ? cost.packets : 1);
}

/* Over all that a round handled, each packet counted where it was sent and where it was taken: the
 * parts' costs weighed by how many of each there were in the last round. */
static double mean(const struct flows *f, const double *parts, double other_cycles)
{
	double packets[4] = {(double)f->data_out.packets, (double)f->data_in.packets,
			     (double)f->ack_out.packets, (double)f->ack_in.packets};
	double cycles = other_cycles, all = 0;

	for (unsigned i = 0; i < 4; i++) {
		cycles += parts[i] * packets[i];
		all += packets[i];
	}
	return cycles / all;
}

/* @param suffix of the names of what is reported; parts are reported without one or with .offload
 */
static void bench_data(const struct bench_options *options, unsigned flows, bool offload,
		       const char *suffix)
{
	static double parts[4][ROUNDS_MAX], other[ROUNDS_MAX];
	static const char *const names[4] = {"data_out", "data_in", "dataack_out", "dataack_in"};
	unsigned rounds = options->quick ? 400 : 2000;
	struct flows *f = flows_create(options, flows, offload);
	double costs[4];
	char name[64];

	for (unsigned r = 0; r < 40; r++)
		data_round(f);
	for (unsigned r = 0; r < rounds; r++) {
		data_round(f);
		parts[0][r] = per(f->data_out);
		parts[1][r] = per(f->data_in);
		parts[2][r] = per(f->ack_out);
		parts[3][r] = per(f->ack_in);
		other[r] = (double)f->other_cycles;
	}
	for (unsigned i = 0; i < 4; i++) {
		costs[i] = undisturbed(parts[i], rounds);
		if (flows != DATA_FLOWS)
			continue;
		snprintf(name, sizeof(name), "tcp.cycles.%s%s", names[i], suffix);
		report(name, costs[i], "cycles");
	}
	snprintf(name, sizeof(name), "tcp.cycles_per_packet%s", suffix);
	report(name, mean(f, costs, undisturbed(other, rounds)), "cycles");
	pair_destroy(f->pair);
	free(f);
}

void bench_packets(const struct bench_options *options)
{
	double before = tsc_calibration(), after;

	bench_open(options, false);
	bench_open(options, true);
	after = tsc_calibration();
	report("tcp.calibration_cycles_a_step", before < after ? before : after, "cycles");
}

void bench_bulk(const struct bench_options *options)
{
	bench_data(options, DATA_FLOWS, false, "");
	bench_data(options, DATA_FLOWS, true, ".offload");
	bench_data(options, DATA_FLOWS_MAX, false, ".many_flows");
}
