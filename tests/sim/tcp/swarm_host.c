/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A host of the swarm: a stack with its pools, its port, its addresses, and its turns. What it
 * sends goes through its translator to the router, what comes for it the same way back.
 */
#include "tests/sim/tcp/swarm.h"

#include "tests/sim/tcp_cut.h"

#include <stdio.h>
#include <string.h>

#define TURNS_MAX   10000u /* bursts at one time */
#define POLL_MIN_US 50u
#define POLL_MAX_US 20000u

void swarm_host_configure(struct swarm_host *host)
{
	unsigned turn = host->revision++ % 2, count = 0;

	for (unsigned i = 0; i < host->options.addresses; i++)
		if (host->present[i] && !host->addresses_gone)
			host->viewed[turn][count++] = host->addresses[i];
	host->views[turn] = (struct view){.revision = host->revision,
					  .port_count = !host->port_gone,
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

void swarm_host_create(struct swarm *swarm, unsigned id)
{
	struct swarm_host *host = &swarm->hosts[id];
	const struct swarm_host_options *o = &swarm->options.host[id];
	struct net_stack_settings settings;

	/* A translator that has moved it does not restart with it. */
	*host = (struct swarm_host){.swarm = swarm,
				    .id = id,
				    .options = *o,
				    .nat = host->nat,
				    .incarnation = host->incarnation + 1};
	random_init_seed(&host->random,
			 swarm->options.seed * 2 + id + ((uint64_t)host->incarnation << 48));
	host->frames = sim_frame_pool_create(o->frames, 0);
	host->chunks = chunk_pool_create(0, o->chunks);
	settings = (struct net_stack_settings){
		.worker_count = 1,
		.connections = o->connections,
		.time_wait = o->time_wait,
		.flights = o->flights,
		.ecn = o->ecn,
		.unpaced = o->unpaced,
		.keepalive_s = o->keepalive_s,
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
	swarm_host_configure(host);
	watch_create(host);
	swarm_listen(host);
}

void swarm_host_destroy(struct swarm_host *host)
{
	watch_destroy(host);
	net_stack_destroy(host->stack);
	chunk_pool_destroy(host->chunks);
	sim_frame_pool_destroy(host->frames); /* asserts that all have come home */
}

static void digest(struct swarm *swarm, const uint8_t *data, size_t size)
{
	uint64_t d = swarm->digest ^ (swarm->now.mono_us - swarm->begin_us);

	for (size_t i = 0; i < size; i++) /* FNV-1a */
		d = (d ^ data[i]) * UINT64_C(0x100000001b3);
	swarm->digest = d;
}

static void transmit_packet(void *context, const uint8_t *data, size_t size)
{
	struct swarm_host *host = context;
	struct swarm *swarm = host->swarm;
	uint64_t now = swarm->now.mono_us;

	uint8_t frame[2048];

	watch_frame(host, data, size);
	trace_frame(swarm, host->id == 0 ? "0>" : "1>", data, size);
	digest(swarm, data, size);
	if (swarm->pcap != NULL)
		sim_pcap_write(swarm->pcap, data, size, now);
	swarm->segments++;
	if (host->port_gone)
		return;
	memcpy(frame, data, size);
	sim_nat_leave(&host->nat, frame, size);
	sim_router_send(swarm->router, host->id, frame, size, now);
}

static void transmit(struct swarm_host *host, struct frame *frame)
{
	if (frame->tso_size > 0) {
		tcp_cut(frame, transmit_packet, host);
	} else {
		tcp_fill_checksums(frame);
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
	if (watch_frames(host) == 0)
		host->mtu_before = 0;
	if (sent > 0)
		host->poll_gap_us = POLL_MIN_US;
	return left == 0;
}

void swarm_host_turn(struct swarm_host *host)
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

/* In a famine the frames that lie in the port's receive queue still are there. */
static struct frame *receive_frame(struct swarm_host *host)
{
	struct frame_pool *pool = sim_frame_pool_interface(host->frames);
	struct swarm_hoard *hoard = &host->hoard;
	struct frame *frame = frame_alloc(pool);

	if (frame == NULL && hoard->frame_count > 0)
		return hoard->frames[--hoard->frame_count];
	while (frame != NULL && hoard->frame_count < hoard->frames_wanted &&
	       sim_frame_pool_in_use(host->frames) < host->options.frames)
		hoard->frames[hoard->frame_count++] = frame_alloc(pool);
	return frame;
}

static void give(struct swarm_host *host, const uint8_t *data, size_t size)
{
	size_t l2 = host->swarm->options.vlan != 0 ? 18 : 14;
	struct frame *frame;

	if (host->port_gone || (host->options.strict_mtu && size > host->port.mtu + l2))
		return;
	frame = receive_frame(host);
	if (frame == NULL)
		return; /* the port has nowhere to put it */
	memcpy(frame->data, data, size);
	if (!sim_nat_arrive(&host->nat, frame->data, size)) {
		frame_free(sim_frame_pool_interface(host->frames), frame);
		return;
	}
	frame->length = (uint16_t)size;
	net_stack_input(host->stack, &frame, 1, &host->swarm->now);
}

void swarm_host_forged(void *context, unsigned to, const uint8_t *frame, size_t size)
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

void swarm_host_input(struct swarm_host *host)
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
