/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The goodput table: what one flow gets over a 100 Mbit/s bottleneck with a queue of 400 packets,
 * by round trip, loss and congestion control; how several share it; how long a message takes.
 *
 * tcp_goodput [--update] FILE   compare with, or write, the snapshot that the tree keeps
 * tcp_goodput --messages | --sharing   that part of it
 * tcp_goodput --one CC RTT_MS LOSS_PERCENT SECONDS SEED [FLOWS]   one cell, with a trace
 */
#include "tests/sim/tcp/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE_BITS	100000000u
#define SECONDS		12u
#define SEEDS		4u
#define SHARING_SECONDS 60u
#define WARM_UP_SECONDS 20u
#define MESSAGES	2000u

static const char *const names[] = {[TCP_CUBIC] = "cubic", [TCP_RENO] = "reno", [TCP_BBR] = "bbr"};
#define CHOICES (sizeof(names) / sizeof(names[0]))

static double cell(enum tcp_congestion_choice congestion, unsigned rtt_ms, double loss)
{
	unsigned seeds = loss > 0 ? SEEDS : 1;
	double sum = 0;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct bench_settings s = {.congestion = congestion,
					   .rtt_us = rtt_ms * UINT64_C(1000),
					   .loss = loss / 100,
					   .rate_bits = RATE_BITS,
					   .seed = seed};

		sum += bench_bulk(&s, 1, SECONDS * UINT64_C(1000000)).goodput_mbit;
	}
	return sum / seeds;
}

static int one(char **arg, int count)
{
	struct bench_settings s = {.rtt_us = strtoul(arg[1], NULL, 10) * 1000,
				   .loss = strtod(arg[2], NULL) / 100,
				   .rate_bits = RATE_BITS,
				   .seed = strtoul(arg[4], NULL, 10),
				   .trace = true};
	struct bench_result r;

	while (s.congestion < CHOICES && strcmp(names[s.congestion], arg[0]) != 0)
		s.congestion++;
	if (s.congestion == CHOICES)
		return 2;
	r = bench_bulk(&s, count > 5 ? (unsigned)strtoul(arg[5], NULL, 10) : 1,
		       strtoul(arg[3], NULL, 10) * 1000000);
	printf("%s rtt %s loss %s: %.2f Mbit/s, Jain %.3f, %lu retransmitted, %lu timeouts\n",
	       arg[0], arg[1], arg[2], r.goodput_mbit, r.jain, (unsigned long)r.retransmitted,
	       (unsigned long)r.timeouts);
	return 0;
}

/* One line a cell, so that a change shows where it acts. */
static void print_goodput(FILE *out)
{
	static const unsigned rtts_ms[] = {10, 40, 100};
	static const double losses[] = {0, 0.1, 1, 3};

	fprintf(out,
		"# Goodput of one flow in Mbit/s over %u s, mean of %u seeds (one without loss); "
		"100 Mbit/s, 400 packets of queue\n"
		"# rtt loss    cubic    bbr   reno\n",
		SECONDS, SEEDS);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned j = 0; j < 4; j++) {
			fprintf(out, "%5u %4.1f ", rtts_ms[i], losses[j]);
			for (unsigned k = 0; k < 3; k++) {
				static const enum tcp_congestion_choice order[] = {
					TCP_CUBIC, TCP_BBR, TCP_RENO};

				fprintf(out, " %7.2f", cell(order[k], rtts_ms[i], losses[j]));
			}
			fprintf(out, "\n");
			fflush(out);
		}
}

static void print_sharing(FILE *out)
{
	static const unsigned flows[] = {8, 32};

	fprintf(out,
		"# Flows that share it, RTT 40 ms, %u s after %u s of warm-up: sum in Mbit/s, Jain's index, "
		"retransmitted segments\n# flows cc     sum   Jain retransmitted\n",
		SHARING_SECONDS, WARM_UP_SECONDS);
	for (unsigned i = 0; i < 2; i++)
		for (unsigned k = 0; k < CHOICES; k++) {
			struct bench_settings s = {.congestion = k,
						   .rtt_us = 40000,
						   .rate_bits = RATE_BITS,
						   .warm_up_us = WARM_UP_SECONDS * 1000000,
						   .seed = 1};
			struct bench_result r = bench_bulk(&s, flows[i], SHARING_SECONDS * 1000000);

			fprintf(out, "%7u %-5s %6.2f %6.3f %6lu\n", flows[i], names[k],
				r.goodput_mbit, r.jain, (unsigned long)r.retransmitted);
			fflush(out);
		}
}

static void print_messages(FILE *out)
{
	static const double losses[] = {0, 1};
	static const size_t half = MESSAGES / 2, most = MESSAGES * 99 / 100;
	uint64_t times[MESSAGES];

	fprintf(out,
		"# %u messages of 50 KB, one after the other, RTT 100 ms, from SYN to the last "
		"byte: milliseconds\n# loss cc     p50    p99    max\n",
		MESSAGES);
	for (unsigned i = 0; i < 2; i++)
		for (unsigned k = 0; k < CHOICES; k++) {
			struct bench_settings s = {.congestion = k,
						   .rtt_us = 100000,
						   .loss = losses[i] / 100,
						   .rate_bits = RATE_BITS,
						   .seed = 5};

			bench_messages(&s, 50000, MESSAGES, 20000, times);
			fprintf(out, "%6.1f %-5s %5.0f %6.0f %6.0f\n", losses[i], names[k],
				(double)times[half] / 1000, (double)times[most] / 1000,
				(double)times[MESSAGES - 1] / 1000);
			fflush(out);
		}
}

static void print_all(FILE *out)
{
	print_goodput(out);
	print_sharing(out);
	print_messages(out);
}

/* @return 0: as the snapshot says; the lines that differ are shown */
static int compare(const char *path)
{
	char *now = NULL, want[256], got[256];
	size_t size = 0;
	FILE *fresh = open_memstream(&now, &size), *kept = fopen(path, "r");
	int differs = 0;

	if (fresh == NULL || kept == NULL) {
		fprintf(stderr, "%s: cannot be read\n", path);
		return 2;
	}
	print_all(fresh);
	fclose(fresh);
	fresh = fmemopen(now, size, "r");
	for (;;) {
		bool a = fgets(want, sizeof(want), kept) != NULL;
		bool b = fgets(got, sizeof(got), fresh) != NULL;

		if (!a && !b)
			break;
		if (a && b && strcmp(want, got) == 0)
			continue;
		differs = 1;
		printf("%s%s%s%s", a ? "- " : "", a ? want : "", b ? "+ " : "", b ? got : "");
	}
	fclose(fresh);
	fclose(kept);
	free(now);
	if (differs)
		printf("The goodput has changed. If it was meant to, write it down: tcp_goodput --update %s\n",
		       path);
	return differs;
}

static int update(const char *path)
{
	FILE *out = fopen(path, "w");

	if (out == NULL)
		return 2;
	print_all(out);
	return fclose(out) == 0 ? 0 : 2;
}

int main(int argc, char **argv)
{
	if (argc >= 7 && strcmp(argv[1], "--one") == 0)
		return one(argv + 2, argc - 2);
	if (argc == 2 && strcmp(argv[1], "--messages") == 0) {
		print_messages(stdout);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--sharing") == 0) {
		print_sharing(stdout);
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "--update") == 0)
		return update(argv[2]);
	if (argc == 2)
		return compare(argv[1]);
	fputs("usage: tcp_goodput [--update] FILE | --messages | --sharing |\n"
	      "       --one cubic|bbr|reno RTT_MS LOSS_PERCENT SECONDS SEED [FLOWS]\n",
	      stderr);
	return 2;
}
