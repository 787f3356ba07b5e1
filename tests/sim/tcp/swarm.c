/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The world of the swarm and its clock: timers, applications, output, arrivals, each at its virtual
 * time; faults for a while, then a good path, and then the end, which must come.
 */
#include "tests/sim/tcp/swarm.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S	   UINT64_C(1000000)
#define STEPS_MAX  4000000u
#define ORDERLY_US (400 * S)  /* after the faults every undisturbed connection has ended … */
#define END_US	   (1500 * S) /* … and by then all others */
#define AFTER_US   (200 * S)  /* TIME-WAIT and half-open strangers */

void swarm_trace(const struct swarm *swarm, const char *format, ...)
{
	va_list list;

	if (!swarm->trace)
		return;
	printf("# %12.6f ", (double)(swarm->now.mono_us - swarm->begin_us) / 1e6);
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf("\n");
}

void swarm_fail(const struct swarm *swarm, const char *format, ...)
{
	va_list list;

	printf("# seed %lu at %.6f s: ", (unsigned long)swarm->options.seed,
	       (double)(swarm->now.mono_us - swarm->begin_us) / 1e6);
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf("\n");
	fflush(stdout);
	if (swarm->pcap != NULL)
		sim_pcap_flush(swarm->pcap);
	abort();
}

/* --- the clock --- */
static void earlier(uint64_t *best, uint64_t time)
{
	if (time < *best)
		*best = time;
}

static uint64_t next_event(struct swarm *swarm)
{
	uint64_t best = MR_NEVER, now = swarm->now.mono_us;

	for (unsigned i = 0; i < 2; i++) {
		struct swarm_host *host = &swarm->hosts[i];
		uint64_t timer = net_stack_next_timer(host->stack);

		/* The wheel is as fine as its ticks. */
		earlier(&best, timer <= now	       ? now + 64
			       : timer < host->turn_us ? host->turn_us
						       : timer);
		earlier(&best, host->poll_us);
		earlier(&best, sim_link_next(swarm->links[i]));
	}
	for (unsigned i = 0; i < swarm->options.flows; i++)
		earlier(&best, swarm_flow_next(&swarm->flows[i]));
	earlier(&best, swarm_events_next(swarm));
	return best <= now ? now + 1 : best;
}

/* Somebody sets the time of day, by days: whoever reads it for anything shows himself. */
static void set_wall_clock(struct swarm *swarm)
{
	if (swarm->options.wall_steps && random_below(&swarm->wall_random, 64) == 0)
		swarm->now.wall_us =
			1000000000 * S + random_u64(&swarm->wall_random) % (1000000000 * S);
}

/* @return false: nothing will ever happen again */
static bool step(struct swarm *swarm, uint64_t until_us)
{
	uint64_t next;

	if (++swarm->steps > STEPS_MAX)
		swarm_fail(swarm, "too many steps");
	swarm_events_run(swarm);
	for (unsigned i = 0; i < swarm->options.flows; i++)
		swarm_flow_run(swarm, &swarm->flows[i]);
	swarm_host_turn(&swarm->hosts[0]);
	swarm_host_turn(&swarm->hosts[1]);
	watch_step(swarm);
	next = next_event(swarm);
	if (next > until_us)
		next = until_us;
	swarm->now.wall_us += next - swarm->now.mono_us;
	swarm->now.mono_us = next;
	set_wall_clock(swarm);
	swarm_host_input(&swarm->hosts[0]);
	swarm_host_input(&swarm->hosts[1]);
	watch_step(swarm);
	return next < until_us;
}

static void check_orderly(const struct swarm *swarm)
{
	for (unsigned i = 0; i < swarm->options.flows; i++) {
		const struct swarm_flow *f = &swarm->flows[i];

		if (swarm->options.gentle && !f->disturbed)
			swarm_flow_judge(swarm, f);
	}
}

static void create(struct swarm *swarm, const struct swarm_options *options, bool trace,
		   const char *pcap)
{
	*swarm = (struct swarm){.options = *options, .trace = trace};
	random_init_seed(&swarm->random, options->seed * 5 + 4);
	random_init_seed(&swarm->wall_random, options->seed * 5 + 3);
	/* Half of the runs pass the end of 32 bits of microseconds. */
	swarm->now.mono_us = swarm_percent(&swarm->random, 50)
				     ? (UINT64_C(5) << 32) - random_below(&swarm->random, 20 * S)
				     : 1000 * S + random_below(&swarm->random, 1000 * S);
	swarm->now.wall_us = 1700000000 * S;
	swarm->begin_us = swarm->now.mono_us;
	for (unsigned i = 0; i < 2; i++)
		swarm->links[i] = sim_link_create(&options->link[i], options->seed * 5 + i);
	swarm->router = sim_router_create(&options->router, swarm->links, options->seed * 5 + 2,
					  swarm_host_forged, swarm);
	if (pcap != NULL && (swarm->pcap = sim_pcap_open(pcap)) == NULL)
		swarm_fail(swarm, "%s cannot be written", pcap);
	swarm_host_create(swarm, 0);
	swarm_host_create(swarm, 1);
	for (unsigned i = 0; i < options->flows; i++)
		swarm_flow_draw(swarm, &swarm->flows[i], i);
	swarm_events_create(swarm);
}

static void destroy(struct swarm *swarm)
{
	swarm_host_destroy(&swarm->hosts[0]);
	swarm_host_destroy(&swarm->hosts[1]);
	sim_router_destroy(swarm->router);
	sim_link_destroy(swarm->links[0]);
	sim_link_destroy(swarm->links[1]);
	if (swarm->pcap != NULL)
		sim_pcap_close(swarm->pcap);
}

static void report(const struct swarm *swarm, struct swarm_result *result)
{
	*result = (struct swarm_result){.steps = swarm->steps,
					.segments = swarm->segments,
					.digest = swarm->digest,
					.virtual_us = swarm->now.mono_us - swarm->begin_us};
	for (unsigned i = 0; i < swarm->options.flows; i++) {
		const struct swarm_flow *f = &swarm->flows[i];

		result->bytes += f->side[0].received + f->side[1].received;
		result->failed +=
			f->side[0].reason != TCP_CLOSED || f->side[1].reason != TCP_CLOSED;
	}
}

void swarm_run(const struct swarm_options *options, bool trace, const char *pcap,
	       struct swarm_result *result)
{
	struct swarm *swarm = malloc(sizeof(*swarm));
	uint64_t end;

	if (swarm == NULL)
		abort();
	create(swarm, options, trace, pcap);
	end = swarm->begin_us + options->faults_us + ORDERLY_US;
	while (swarm->finished < 2 * options->flows && step(swarm, end)) {
	}
	check_orderly(swarm);
	end += END_US - ORDERLY_US;
	while (swarm->finished < 2 * options->flows && step(swarm, end)) {
	}
	for (unsigned i = 0; i < options->flows; i++)
		swarm_flow_judge(swarm, &swarm->flows[i]);
	if (!swarm->healed)
		swarm_heal(swarm);
	end = swarm->now.mono_us + AFTER_US;
	while (step(swarm, end)) {
	}
	watch_end(&swarm->hosts[0]);
	watch_end(&swarm->hosts[1]);
	report(swarm, result);
	destroy(swarm);
	free(swarm);
}
