/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What happens to path and hosts while the faults last: each kind of event comes as often as the
 * plan says, at times of its own, and those that last have an end.
 */
#include "tests/sim/tcp/swarm.h"

#include <stdlib.h>

static struct swarm_host *pick_host(struct swarm *swarm, struct swarm_happening *happening)
{
	happening->host = random_below(&swarm->random, 2);
	return &swarm->hosts[happening->host];
}

/* --- the path is down --- */
static void change_links(struct swarm *swarm, bool down)
{
	for (unsigned i = 0; i < 2; i++) {
		struct sim_link_settings l = swarm->options.link[i];

		l.down = down;
		sim_link_change(swarm->links[i], &l);
	}
	swarm_trace(swarm, "the path is %s", down ? "down" : "up");
}

static void outage_begin(struct swarm *swarm, struct swarm_happening *happening)
{
	change_links(swarm, true);
}

static void outage_end(struct swarm *swarm, struct swarm_happening *happening)
{
	change_links(swarm, false);
}

/* --- the configuration changes --- */
/* An address comes or goes: connections that use it are aborted, and their peers are not told. */
static void reload_begin(struct swarm *swarm, struct swarm_happening *happening)
{
	struct swarm_host *host = pick_host(swarm, happening);
	unsigned which = random_below(&swarm->random, host->options.addresses);

	host->present[which] = !host->present[which];
	swarm_trace(swarm, "host %u: address %u %s", host->id, which,
		    host->present[which] ? "comes" : "goes");
	swarm_host_configure(host);
}

static void mtu_begin(struct swarm *swarm, struct swarm_happening *happening)
{
	struct swarm_host *host = pick_host(swarm, happening);

	uint16_t before = host->port.mtu;

	if (watch_frames(host) > 0 && before > host->mtu_before)
		host->mtu_before = before;
	host->port.mtu = (uint16_t)swarm_between(&swarm->random, 1280, 1900);
	swarm_trace(swarm, "host %u: the MTU is %u, was %u", host->id, host->port.mtu, before);
	swarm_host_configure(host);
}

/* With its addresses, which ends all connections, or alone, which only silences them. */
static void port_begin(struct swarm *swarm, struct swarm_happening *happening)
{
	struct swarm_host *host = pick_host(swarm, happening);

	host->port_gone = true;
	host->addresses_gone = swarm_percent(&swarm->random, 50);
	swarm_trace(swarm, "host %u: the port is gone%s", host->id,
		    host->addresses_gone ? ", and all addresses" : "");
	swarm_host_configure(host);
}

static void port_end(struct swarm *swarm, struct swarm_happening *happening)
{
	struct swarm_host *host = &swarm->hosts[happening->host];

	host->port_gone = false;
	host->addresses_gone = false;
	swarm_trace(swarm, "host %u: the port is back", host->id);
	swarm_host_configure(host);
}

/* --- hosts move and restart --- */
static bool may_move(const struct swarm_flow *flow)
{
	return flow->begun && !flow->moved && flow->side[0].open;
}

/* Somebody's translator forgets; the next segment comes from elsewhere. */
static void rebinding_begin(struct swarm *swarm, struct swarm_happening *happening)
{
	unsigned first = random_below(&swarm->random, swarm->options.flows);
	struct swarm_flow *flow = NULL;
	struct sim_nat_binding b;
	struct tcp_endpoints ends;
	struct swarm_host *host;
	unsigned address;

	for (unsigned i = 0; i < swarm->options.flows && flow == NULL; i++) {
		struct swarm_flow *f = &swarm->flows[(first + i) % swarm->options.flows];

		if (may_move(f))
			flow = f;
	}
	if (flow == NULL || tcp_endpoints(flow->side[0].host->stack, flow->side[0].handle, &ends))
		return;
	host = flow->side[0].host;
	address = flow->address[0] % 2 +
		  2 * random_below(&swarm->random,
				   (host->options.addresses - flow->address[0] % 2 + 1u) / 2);
	b.inside = (struct sim_nat_end){ends.local, ends.local_port};
	b.peer = (struct sim_nat_end){ends.remote, ends.remote_port};
	b.outside = (struct sim_nat_end){host->addresses[address].address,
					 (uint16_t)swarm_between(&swarm->random, 1024, 16383)};
	if (!sim_nat_rebind(&host->nat, &b))
		return;
	flow->moved = true;
	flow->moved_to = b.outside;
	flow->disturbed = true;
	swarm_trace(swarm, "flow %u: the client moves from port %u to port %u, address %u",
		    flow->id, ends.local_port, b.outside.port, address);
}

static void restart_begin(struct swarm *swarm, struct swarm_happening *happening)
{
	struct swarm_host *host = pick_host(swarm, happening);

	swarm_trace(swarm, "host %u restarts", host->id);
	swarm_flow_host_died(swarm, host);
	swarm_host_destroy(host);
	swarm_host_create(swarm, host->id);
}

/* --- memory is short --- */
/* @return how much of it remains */
static uint32_t remains(struct mr_random *r, uint32_t all)
{
	uint32_t few = random_below(r, 8);

	return swarm_percent(r, 60) && few < all ? few : all;
}

static void famine_begin(struct swarm *swarm, struct swarm_happening *happening)
{
	struct swarm_host *host = pick_host(swarm, happening);
	struct frame_pool *frames = sim_frame_pool_interface(host->frames);
	struct mr_random *r = &swarm->random;
	uint32_t keep_frames = remains(r, host->options.frames);
	uint32_t keep_chunks = remains(r, host->options.chunks);
	struct swarm_hoard *hoard = &host->hoard;
	struct swarm_limits limits;

	hoard->frames = calloc(host->options.frames, sizeof(struct frame *));
	if (hoard->frames == NULL)
		swarm_fail(swarm, "no memory");
	while (sim_frame_pool_in_use(host->frames) + keep_frames < host->options.frames)
		hoard->frames[hoard->frame_count++] = frame_alloc(frames);
	hoard->frames_wanted = hoard->frame_count;
	while (chunk_pool_available(host->chunks) > keep_chunks) {
		chunk_list_push(&hoard->chunks, chunk_alloc(host->chunks));
		hoard->chunk_count++;
	}
	hoard->limits = watch_limits(host);
	limits = (struct swarm_limits){.flights = remains(r, hoard->limits.flights),
				       .board = remains(r, hoard->limits.board),
				       .rates = remains(r, hoard->limits.rates),
				       .bbr = remains(r, hoard->limits.bbr)};
	watch_set_limits(host, &limits);
	swarm_trace(swarm,
		    "host %u: %u frames and %u chunks are taken away; %u flights, %u blocks "
		    "of the scoreboard, %u of rates and %u BBR states are the most",
		    host->id, hoard->frame_count, hoard->chunk_count, limits.flights, limits.board,
		    limits.rates, limits.bbr);
}

static void famine_end(struct swarm *swarm, struct swarm_happening *happening)
{
	struct swarm_host *host = &swarm->hosts[happening->host];
	struct swarm_hoard *hoard = &host->hoard;

	while (hoard->frame_count > 0)
		frame_free(sim_frame_pool_interface(host->frames),
			   hoard->frames[--hoard->frame_count]);
	free(hoard->frames);
	if (hoard->frames_wanted > 0)
		host->mute_us = swarm->now.mono_us;
	chunk_list_free(&hoard->chunks, host->chunks);
	watch_set_limits(host, &hoard->limits);
	*hoard = (struct swarm_hoard){0};
	swarm_trace(swarm, "host %u: memory is back", host->id);
}

/* --- when --- */
static const struct {
	void (*begin)(struct swarm *swarm, struct swarm_happening *happening);
	void (*end)(struct swarm *swarm, struct swarm_happening *happening); /* NULL: it is over */
} kinds[SWARM_EVENTS] = {
	[SWARM_OUTAGE] = {outage_begin, outage_end},
	[SWARM_RELOAD] = {reload_begin, NULL},
	[SWARM_MTU] = {mtu_begin, NULL},
	[SWARM_PORT_GONE] = {port_begin, port_end},
	[SWARM_REBINDING] = {rebinding_begin, NULL},
	[SWARM_RESTART] = {restart_begin, NULL},
	[SWARM_FAMINE] = {famine_begin, famine_end},
};

static void begin(struct swarm *swarm, enum swarm_event kind)
{
	const struct swarm_plan *plan = &swarm->options.plan[kind];
	struct swarm_happening *h = &swarm->happenings[kind];
	uint32_t span = (uint32_t)(plan->most_us - plan->least_us);

	h->left--;
	kinds[kind].begin(swarm, h);
	h->on = kinds[kind].end != NULL;
	h->next_us = MR_NEVER;
	if (h->on)
		h->next_us = swarm->now.mono_us + 1 + plan->least_us +
			     random_below(&swarm->random, span + 1);
	else if (h->left > 0)
		h->next_us = swarm->now.mono_us + 1 +
			     random_below(&swarm->random, (uint32_t)swarm->options.events_us / 4);
}

static void end(struct swarm *swarm, enum swarm_event kind)
{
	struct swarm_happening *h = &swarm->happenings[kind];

	kinds[kind].end(swarm, h);
	h->on = false;
	h->next_us = MR_NEVER;
	if (h->left > 0)
		h->next_us = swarm->now.mono_us + 1 +
			     random_below(&swarm->random, (uint32_t)swarm->options.events_us / 4);
}

void swarm_heal(struct swarm *swarm)
{
	struct sim_router_settings router = swarm->options.router;

	for (unsigned i = 0; i < SWARM_EVENTS; i++) {
		if (swarm->happenings[i].on)
			end(swarm, i);
		swarm->happenings[i].next_us = MR_NEVER;
	}
	for (unsigned i = 0; i < 2; i++) {
		const struct sim_link_settings *l = &swarm->options.link[i];
		struct sim_link_settings good = {.delay_us = l->delay_us,
						 .rate_bits = l->rate_bits,
						 .queue_packets = l->queue_packets};

		sim_link_change(swarm->links[i], &good);
		for (unsigned a = 0; a < swarm->hosts[i].options.addresses; a++)
			swarm->hosts[i].present[a] = true;
		if (swarm->options.plan[SWARM_RELOAD].times > 0)
			swarm_host_configure(&swarm->hosts[i]);
	}
	router.forge = 0;
	router.reset = 0;
	sim_router_change(swarm->router, &router);
	swarm->healed = true;
	swarm_trace(swarm, "all is well");
}

void swarm_events_create(struct swarm *swarm)
{
	for (unsigned i = 0; i < SWARM_EVENTS; i++) {
		struct swarm_happening *h = &swarm->happenings[i];

		h->left = swarm->options.plan[i].times;
		h->next_us = MR_NEVER;
		if (h->left > 0)
			h->next_us =
				swarm->begin_us + 1 +
				random_below(&swarm->random, (uint32_t)swarm->options.events_us);
	}
}

void swarm_events_run(struct swarm *swarm)
{
	uint64_t now = swarm->now.mono_us;

	if (!swarm->healed && now >= swarm->begin_us + swarm->options.faults_us)
		swarm_heal(swarm);
	for (unsigned i = 0; i < SWARM_EVENTS; i++) {
		if (swarm->happenings[i].next_us > now)
			continue;
		if (swarm->happenings[i].on)
			end(swarm, i);
		else
			begin(swarm, i);
	}
}

uint64_t swarm_events_next(const struct swarm *swarm)
{
	uint64_t best = swarm->healed ? MR_NEVER : swarm->begin_us + swarm->options.faults_us;

	for (unsigned i = 0; i < SWARM_EVENTS; i++)
		if (swarm->happenings[i].next_us < best)
			best = swarm->happenings[i].next_us;
	return best;
}
