/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The world of the swarm and its clock: timers, applications, output, arrivals, each at its virtual
 * time; faults for a while, then a good path, and then the end, which must come.
 */
#include "tests/sim/tcp/swarm.h"

#include "dataplane/net/checksum.h"
#include "tests/sim/tcp_cut.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S	    UINT64_C(1000000)
#define STEPS_MAX   4000000u
#define TURNS_MAX   10000u     /* timers, or bursts, at one time */
#define ORDERLY_US  (400 * S)  /* after the faults every undisturbed connection has ended … */
#define END_US	    (1500 * S) /* … and by then all others */
#define AFTER_US    (200 * S)  /* TIME-WAIT and half-open strangers */
#define POLL_MIN_US 50u
#define POLL_MAX_US 20000u

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

/* --- hosts --- */
static void configure(struct swarm_host *host)
{
	unsigned turn = host->revision++ % 2, count = 0;

	for (unsigned i = 0; i < host->options.addresses; i++)
		if (host->present[i])
			host->viewed[turn][count++] = host->addresses[i];
	host->views[turn] = (struct view){.revision = host->revision,
					  .port_count = 1,
					  .ports = &host->port,
					  .address_count = count,
					  .addresses = host->viewed[turn]};
	if (net_stack_configure(host->stack, &host->views[turn], &host->swarm->now) != 0)
		swarm_fail(host->swarm, "host %u cannot be configured", host->id);
}

static void make_addresses(struct swarm_host *host)
{
	for (unsigned i = 0; i < host->options.addresses; i++) {
		char text[40];
		bool v6 = i % 2 != 0;

		snprintf(text, sizeof(text), v6 ? "fd00::%x:%x" : "10.0.%u.%u", host->id, i + 1);
		host->addresses[i] = (struct view_address){.prefix_length = v6 ? 64 : 16,
							   .vlan = host->swarm->options.vlan};
		ip_parse(text, &host->addresses[i].address);
		host->present[i] = true;
	}
}

static void host_create(struct swarm *swarm, unsigned id)
{
	struct swarm_host *host = &swarm->hosts[id];
	const struct swarm_host_options *o = &swarm->options.host[id];
	struct net_stack_settings settings;

	*host = (struct swarm_host){.swarm = swarm, .id = id, .options = *o};
	random_init_seed(&host->random, swarm->options.seed * 2 + id);
	host->frames = sim_frame_pool_create(o->frames, 0);
	host->chunks = chunk_pool_create(0, o->chunks);
	settings = (struct net_stack_settings){
		.worker_count = 1,
		.connections = o->connections,
		.time_wait = o->time_wait,
		.flights = o->flights,
		.ecn = o->ecn,
		.unpaced = o->unpaced,
		.neighbours = 16,
		.receive_window = o->receive_window,
		.frames = sim_frame_pool_interface(host->frames),
		.chunks = host->chunks,
		.random = &host->random,
	};
	settings.offloads[0] = (struct net_port_offloads){
		.tx_ip_checksum = o->offload,
		.tx_tcp_checksum = o->offload,
		.tx_segmentation = o->large_frames > 0,
		.tx_segmentation6 = o->large_frames > 0,
	};
	if (o->large_frames > 0)
		sim_frame_pool_add_large(host->frames, o->large_frames);
	host->stack = net_stack_create(&settings, &swarm->now);
	if (host->chunks == NULL || host->stack == NULL)
		swarm_fail(swarm, "no memory");
	host->port = (struct view_port){
		.name = "p0", .mtu = o->mtu, .mac = {2, 0, 0, 0, 0, (uint8_t)(id + 1)}};
	host->turn_us = swarm->now.mono_us;
	host->poll_us = MR_NEVER;
	host->poll_gap_us = POLL_MIN_US;
	make_addresses(host);
	configure(host);
	watch_create(host);
	swarm_listen(host);
}

static void host_destroy(struct swarm_host *host)
{
	watch_destroy(host);
	net_stack_destroy(host->stack);
	chunk_pool_destroy(host->chunks);
	sim_frame_pool_destroy(host->frames); /* asserts that all have come home */
}

/* What a port with checksum offload does. */
static void fill_checksums(struct frame *frame)
{
	uint8_t *ip = frame->data + frame->l2_length;
	uint8_t *tcp = ip + frame->l3_length;

	if ((frame->flags & FRAME_TX_IP_CHECKSUM) != 0)
		checksum_store(ip + 10, checksum_add(0, ip, 20));
	if ((frame->flags & FRAME_TX_TCP_CHECKSUM) != 0)
		checksum_store(
			tcp + 16,
			checksum_add(0, tcp, frame->length - frame->l2_length - frame->l3_length));
}

static void transmit_packet(void *context, const uint8_t *data, size_t size)
{
	struct swarm_host *host = context;
	struct swarm *swarm = host->swarm;
	uint64_t now = swarm->now.mono_us;

	watch_frame(host, data, size);
	trace_frame(swarm, host->id == 0 ? "0>" : "1>", data, size);
	if (swarm->pcap != NULL)
		sim_pcap_write(swarm->pcap, data, size, now);
	sim_router_send(swarm->router, host->id, data, size, now);
	swarm->segments++;
}

static void transmit(struct swarm_host *host, struct frame *frame)
{
	if (frame->tso_size > 0) {
		tcp_cut(frame, transmit_packet, host);
	} else {
		fill_checksums(frame);
		transmit_packet(host, frame->data, frame->length);
	}
	frame_free(sim_frame_pool_interface(host->frames), frame);
}

/* One turn's output. @return true: the limit was reached, and there may be more */
static bool host_output(struct swarm_host *host)
{
	unsigned left = host->options.turn_frames != 0 ? host->options.turn_frames : UINT32_MAX;
	struct frame *frames[32];
	unsigned count, sent = 0;

	for (unsigned turn = 0; left > 0; turn++) {
		if (turn == TURNS_MAX)
			swarm_fail(host->swarm, "host %u does not stop sending", host->id);
		watch_before_output(host);
		count = net_stack_output(host->stack, 0, frames, left < 32 ? left : 32,
					 &host->swarm->now);
		watch_after_output(host);
		for (unsigned i = 0; i < count; i++)
			transmit(host, frames[i]);
		left -= count;
		sent += count;
		if (count == 0)
			break;
	}
	if (sent > 0)
		host->poll_gap_us = POLL_MIN_US;
	return left == 0;
}

static void host_turn(struct swarm_host *host)
{
	struct swarm *swarm = host->swarm;
	uint64_t now = swarm->now.mono_us;

	if (now < host->turn_us)
		return;
	net_stack_timers(host->stack, &swarm->now, host->options.timers);
	host->poll_us = MR_NEVER;
	if (host_output(host)) {
		host->turn_us = now + host->options.turn_us;
		host->poll_us = host->turn_us;
	} else if (watch_listed(host) > 0) { /* no frame, no room: workers come round */
		host->poll_us = now + host->poll_gap_us;
		if (host->poll_gap_us < POLL_MAX_US)
			host->poll_gap_us *= 2;
	}
}

static void give(struct swarm_host *host, const uint8_t *data, size_t size)
{
	struct frame *frame = frame_alloc(sim_frame_pool_interface(host->frames));

	if (frame == NULL)
		return; /* the port has nowhere to put it */
	memcpy(frame->data, data, size);
	frame->length = (uint16_t)size;
	net_stack_input(host->stack, &frame, 1, &host->swarm->now);
}

static void on_forged(void *context, unsigned to, const uint8_t *frame, size_t size)
{
	struct swarm *swarm = context;
	struct swarm_host *host = &swarm->hosts[to];

	if (watch_lucky(host, frame, size))
		return;
	trace_frame(swarm, to == 0 ? "forged >0" : "forged >1", frame, size);
	if (swarm->pcap != NULL)
		sim_pcap_write(swarm->pcap, frame, size, swarm->now.mono_us);
	give(host, frame, size);
}

static void host_input(struct swarm_host *host)
{
	struct swarm *swarm = host->swarm;
	uint8_t frame[2048];
	size_t size;

	while ((size = sim_link_receive(swarm->links[1 - host->id], frame, swarm->now.mono_us)) !=
	       0) {
		if (swarm->trace && size >= 54)
			trace_frame(swarm, host->id == 0 ? "   >0" : "   >1", frame, size);
		give(host, frame, size);
		if (!swarm->healed && swarm->options.renege > 0 &&
		    random_u32(&swarm->random) < swarm->options.renege * 4294967296.0)
			watch_renege(host, &swarm->random);
	}
}

/* --- events of the path --- */
static void change_links(struct swarm *swarm, bool down)
{
	for (unsigned i = 0; i < 2; i++) {
		struct sim_link_settings l = swarm->options.link[i];

		l.down = down;
		sim_link_change(swarm->links[i], &l);
	}
	swarm->down = down;
	swarm_trace(swarm, "the path is %s", down ? "down" : "up");
}

static void outage(struct swarm *swarm)
{
	const struct swarm_options *o = &swarm->options;

	if (!swarm->down && swarm->outages_left == 0) {
		swarm->outage_us = MR_NEVER;
		return;
	}
	if (!swarm->down)
		swarm->outages_left--;
	change_links(swarm, !swarm->down);
	swarm->outage_us =
		swarm->now.mono_us + 1 + random_below(&swarm->random, (uint32_t)o->outage_us);
}

/* An address comes or goes: connections that use it are aborted, and their peers are not told. */
static void reload(struct swarm *swarm)
{
	struct swarm_host *host = &swarm->hosts[random_below(&swarm->random, 2)];
	unsigned which = random_below(&swarm->random, host->options.addresses);

	host->present[which] = !host->present[which];
	swarm_trace(swarm, "host %u: address %u %s", host->id, which,
		    host->present[which] ? "comes" : "goes");
	configure(host);
	swarm->reload_us = MR_NEVER;
	if (--swarm->reloads_left > 0)
		swarm->reload_us =
			swarm->now.mono_us + 1 +
			random_below(&swarm->random, (uint32_t)swarm->options.faults_us / 4);
}

static void heal(struct swarm *swarm)
{
	struct sim_router_settings router = swarm->options.router;

	for (unsigned i = 0; i < 2; i++) {
		const struct sim_link_settings *l = &swarm->options.link[i];
		struct sim_link_settings good = {.delay_us = l->delay_us,
						 .rate_bits = l->rate_bits,
						 .queue_packets = l->queue_packets};

		sim_link_change(swarm->links[i], &good);
		for (unsigned a = 0; a < swarm->hosts[i].options.addresses; a++)
			swarm->hosts[i].present[a] = true;
		if (swarm->options.reloads > 0)
			configure(&swarm->hosts[i]);
	}
	router.forge = 0;
	router.reset = 0;
	sim_router_change(swarm->router, &router);
	swarm->healed = true;
	swarm->outage_us = MR_NEVER;
	swarm->reload_us = MR_NEVER;
	swarm_trace(swarm, "the path is well");
}

static void events(struct swarm *swarm)
{
	uint64_t now = swarm->now.mono_us;

	if (!swarm->healed && now >= swarm->begin_us + swarm->options.faults_us)
		heal(swarm);
	if (now >= swarm->outage_us)
		outage(swarm);
	if (now >= swarm->reload_us)
		reload(swarm);
	for (unsigned i = 0; i < swarm->options.flows; i++)
		swarm_flow_run(swarm, &swarm->flows[i]);
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
	if (!swarm->healed)
		earlier(&best, swarm->begin_us + swarm->options.faults_us);
	earlier(&best, swarm->outage_us);
	earlier(&best, swarm->reload_us);
	return best <= now ? now + 1 : best;
}

/* @return false: nothing will ever happen again */
static bool step(struct swarm *swarm, uint64_t until_us)
{
	uint64_t next;

	if (++swarm->steps > STEPS_MAX)
		swarm_fail(swarm, "too many steps");
	events(swarm);
	host_turn(&swarm->hosts[0]);
	host_turn(&swarm->hosts[1]);
	watch_step(swarm);
	next = next_event(swarm);
	if (next > until_us)
		next = until_us;
	swarm->now.wall_us += next - swarm->now.mono_us;
	swarm->now.mono_us = next;
	host_input(&swarm->hosts[0]);
	host_input(&swarm->hosts[1]);
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
	/* Half of the runs pass the end of 32 bits of microseconds. */
	swarm->now.mono_us = swarm_percent(&swarm->random, 50)
				     ? (UINT64_C(5) << 32) - random_below(&swarm->random, 20 * S)
				     : 1000 * S + random_below(&swarm->random, 1000 * S);
	swarm->now.wall_us = 1700000000 * S;
	swarm->begin_us = swarm->now.mono_us;
	for (unsigned i = 0; i < 2; i++)
		swarm->links[i] = sim_link_create(&options->link[i], options->seed * 5 + i);
	swarm->router = sim_router_create(&options->router, swarm->links, options->seed * 5 + 2,
					  on_forged, swarm);
	if (pcap != NULL && (swarm->pcap = sim_pcap_open(pcap)) == NULL)
		swarm_fail(swarm, "%s cannot be written", pcap);
	host_create(swarm, 0);
	host_create(swarm, 1);
	for (unsigned i = 0; i < options->flows; i++)
		swarm_flow_draw(swarm, &swarm->flows[i], i);
	swarm->outages_left = options->outages;
	swarm->outage_us = options->outages > 0 ? swarm->begin_us + 1 +
							  random_below(&swarm->random,
								       (uint32_t)options->faults_us)
						: MR_NEVER;
	swarm->reloads_left = options->reloads;
	swarm->reload_us = options->reloads > 0 ? swarm->begin_us + 1 +
							  random_below(&swarm->random,
								       (uint32_t)options->faults_us)
						: MR_NEVER;
}

static void destroy(struct swarm *swarm)
{
	host_destroy(&swarm->hosts[0]);
	host_destroy(&swarm->hosts[1]);
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
	if (!swarm->healed) {
		heal(swarm);
		change_links(swarm, false);
	}
	end = swarm->now.mono_us + AFTER_US;
	while (step(swarm, end)) {
	}
	watch_end(&swarm->hosts[0]);
	watch_end(&swarm->hosts[1]);
	report(swarm, result);
	destroy(swarm);
	free(swarm);
}
