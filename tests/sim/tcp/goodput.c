/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The goodput table: what one flow gets over a 100 Mbit/s bottleneck with a queue of 400 packets,
 * by round trip, loss and congestion control; how several share it; how long a message takes.
 *
 * goodput [--update] FILE   compare with, or write, the snapshot that the tree keeps
 * goodput --one CC RTT_MS LOSS_PERCENT SECONDS SEED [FLOWS]   one cell, with a trace
 */
#include "tests/sim/tcp/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE_BITS 100000000u

static const char *const names[] = {[TCP_CUBIC] = "cubic", [TCP_RENO] = "reno", [TCP_BBR] = "bbr"};
#define CHOICES (sizeof(names) / sizeof(names[0]))

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

int main(int argc, char **argv)
{
	if (argc >= 7 && strcmp(argv[1], "--one") == 0)
		return one(argv + 2, argc - 2);
	return 2;
}
