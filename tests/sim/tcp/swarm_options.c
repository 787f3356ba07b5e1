/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a seed means: the hosts, the path and its faults, the applications. */
#include "tests/sim/tcp/swarm.h"

#include <stdio.h>

#define S UINT64_C(1000000)

uint32_t swarm_between(struct mr_random *random, uint32_t low, uint32_t high)
{
	return low + random_below(random, high - low + 1);
}

bool swarm_percent(struct mr_random *random, uint32_t percent)
{
	return random_below(random, 100) < percent;
}

const char *swarm_profile_text(enum swarm_profile profile)
{
	static const char *const texts[] = {
#define X(name, text) text,
		SWARM_PROFILE_LIST(X)
#undef X
	};

	return texts[profile];
}

static void draw_host(struct mr_random *r, struct swarm_host_options *h)
{
	static const uint16_t mtus[] = {1500, 1500, 1500, 1400, 1280, 1900};
	static const uint32_t windows[] = {0, 0, 4096, 16384, 65535, 100000, 400000, 1000000};

	*h = (struct swarm_host_options){
		.mtu = mtus[random_below(r, 6)],
		.addresses = (uint16_t)swarm_between(r, 2, SWARM_ADDRESSES),
		.connections = 128,
		.time_wait = 64,
		.chunks = 2048,
		.frames = 2048,
		.receive_window = windows[random_below(r, 8)],
		.offload = swarm_percent(r, 30),
		.timers = swarm_percent(r, 30) ? 1 : 64,
	};
	if (swarm_percent(r, 20)) {
		h->turn_frames = swarm_between(r, 1, 16);
		h->turn_us = swarm_between(r, 10, 2000);
	}
	h->ecn = swarm_percent(r, 50);
	h->unpaced = swarm_percent(r, 20);
	if (swarm_percent(r, 25)) {
		h->offload = true;
		h->large_frames = swarm_between(r, 1, 64);
	}
}

static void draw_link(struct mr_random *r, struct sim_link_settings *l)
{
	static const uint32_t delays[] = {20, 1000, 10000, 40000, 100000, 300000};

	*l = (struct sim_link_settings){.delay_us = delays[random_below(r, 6)]};
	if (swarm_percent(r, 30))
		l->jitter_us = swarm_between(r, 1, (uint32_t)l->delay_us);
	if (swarm_percent(r, 40)) {
		l->rate_bits = (uint64_t)swarm_between(r, 1, 100) * 1000000;
		l->queue_packets = swarm_between(r, 5, 400);
	}
}

static double upto(struct mr_random *r, double most)
{
	return most * swarm_between(r, 0, 1000) / 1000;
}

static void draw_lossy(struct mr_random *r, struct swarm_options *o)
{
	for (unsigned i = 0; i < 2; i++) {
		struct sim_link_settings *l = &o->link[i];

		l->loss = swarm_percent(r, 70) ? upto(r, 0.05) : 0;
		l->reorder = swarm_percent(r, 50) ? upto(r, 0.1) : 0;
		l->reorder_us = swarm_between(r, 100, 50000);
		l->duplicate = swarm_percent(r, 50) ? upto(r, 0.05) : 0;
	}
	o->renege = swarm_percent(r, 40) ? upto(r, 0.5) : 0;
	o->router.mark = swarm_percent(r, 20) ? upto(r, 0.2) : 0;
}

static void draw_narrow(struct mr_random *r, struct swarm_options *o)
{
	struct sim_router_settings *t = &o->router;

	if (swarm_percent(r, 70)) {
		t->mtu = swarm_between(r, 1280, 1480);
		t->silent = swarm_percent(r, 30);
		t->old_icmp = !t->silent && swarm_percent(r, 20);
	}
	t->strip_sack = swarm_percent(r, 30);
	t->strip_timestamps = swarm_percent(r, 30);
	t->strip_scale = swarm_percent(r, 30);
	if (swarm_percent(r, 20))
		t->mss = (uint16_t)swarm_between(r, 100, 1000);
	t->bleach = swarm_percent(r, 20);
	t->mark = swarm_percent(r, 20) ? upto(r, 0.2) : 0;
	if (swarm_percent(r, 50))
		o->link[random_below(r, 2)].loss = upto(r, 0.02);
}

static void draw_scarce(struct mr_random *r, struct swarm_options *o)
{
	for (unsigned i = 0; i < 2; i++) {
		struct swarm_host_options *h = &o->host[i];

		if (swarm_percent(r, 60))
			h->chunks = swarm_between(r, 8, 64);
		if (swarm_percent(r, 50))
			h->frames = swarm_between(r, 4, 64);
		if (swarm_percent(r, 40))
			h->connections = swarm_between(r, 4, 24);
		if (swarm_percent(r, 40))
			h->flights = swarm_between(r, 1, 8);
		if (swarm_percent(r, 50))
			o->link[i].loss = upto(r, 0.05);
	}
	o->gentle = false;
	o->slow_readers = 60;
	o->flows = swarm_between(r, 8, 40);
}

static void draw_broken(struct mr_random *r, struct swarm_options *o)
{
	o->gentle = false;
	o->router.spare_neighbours = swarm_percent(r, 50);
	o->plan[SWARM_OUTAGE].times = swarm_between(r, 0, 4);
	o->plan[SWARM_OUTAGE].most_us = swarm_between(r, 1, 90) * S;
	o->faults_us = swarm_between(r, 10, 200) * S;
	o->events_us = o->faults_us;
	o->start_us = o->faults_us;
	o->aborts = 15;
	o->refusals = 5;
	if (swarm_percent(r, 30))
		o->router.reset = upto(r, 0.01);
	for (unsigned i = 0; i < 2; i++) {
		struct sim_link_settings *l = &o->link[i];

		if (swarm_percent(r, 50)) {
			l->burst_enter = upto(r, 0.05);
			l->burst_leave = 0.05 + upto(r, 0.5);
		}
		l->loss = swarm_percent(r, 40) ? upto(r, 0.4) : 0;
		l->reorder = swarm_percent(r, 30) ? upto(r, 0.3) : 0;
		l->duplicate = swarm_percent(r, 30) ? upto(r, 0.3) : 0;
		l->corrupt = swarm_percent(r, 20) ? upto(r, 0.05) : 0;
	}
}

static void draw_churn(struct mr_random *r, struct swarm_options *o)
{
	o->flows = SWARM_FLOWS;
	o->size_max = 3000;
	o->start_us = swarm_between(r, 1, 120) * S;
	o->faults_us = o->start_us;
	o->events_us = o->start_us;
	o->reuse_ports = swarm_percent(r, 60);
	o->slow_readers = 0;
	if (swarm_percent(r, 40))
		draw_lossy(r, o);
	if (swarm_percent(r, 40)) {
		o->plan[SWARM_RELOAD].times = swarm_between(r, 1, 6);
		o->gentle = false;
	}
	for (unsigned i = 0; i < 2; i++)
		o->host[i].time_wait = 64;
}

static void draw_meeting(struct mr_random *r, struct swarm_options *o)
{
	o->meetings = swarm_between(r, 30, 100);
	if (swarm_percent(r, 60))
		draw_lossy(r, o);
	if (swarm_percent(r, 30))
		draw_narrow(r, o);
}

/* Connections that live long enough for what happens to meet them. */
static void draw_long(struct mr_random *r, struct swarm_options *o)
{
	o->events_us = swarm_between(r, 1, 15) * S;
	o->faults_us = o->events_us + 20 * S;
	o->slow_readers = 40;
	o->pauses = 60;
}

static void draw_moving(struct mr_random *r, struct swarm_options *o)
{
	draw_long(r, o);
	o->gentle = false;
	o->plan[SWARM_REBINDING].times = swarm_between(r, 0, 10);
	o->plan[SWARM_RESTART].times = swarm_between(r, 0, 2);
	if (swarm_percent(r, 40)) /* beyond the user timeout */
		o->plan[SWARM_OUTAGE] = (struct swarm_plan){1, 310 * S, 900 * S};
	o->faults_us += o->plan[SWARM_OUTAGE].most_us;
	if (swarm_percent(r, 40))
		draw_lossy(r, o);
	for (unsigned i = 0; i < 2; i++)
		if (swarm_percent(r, 50))
			o->host[i].keepalive_s = swarm_between(r, 1, 300);
}

static void draw_reconfigured(struct mr_random *r, struct swarm_options *o)
{
	draw_long(r, o);
	o->plan[SWARM_MTU].times = swarm_between(r, 1, 8);
	if (swarm_percent(r, 50)) {
		o->gentle = false;
		o->plan[SWARM_RELOAD].times = swarm_between(r, 0, 6);
		o->plan[SWARM_PORT_GONE] = (struct swarm_plan){swarm_between(r, 0, 3), 0, 10 * S};
	}
	if (swarm_percent(r, 40))
		draw_lossy(r, o);
	if (swarm_percent(r, 20))
		draw_narrow(r, o);
	for (unsigned i = 0; i < 2; i++)
		o->host[i].strict_mtu = swarm_percent(r, 50);
}

static void draw_starved(struct mr_random *r, struct swarm_options *o)
{
	draw_long(r, o);
	o->plan[SWARM_FAMINE] = (struct swarm_plan){swarm_between(r, 1, 4), 0, 15 * S};
	if (swarm_percent(r, 40))
		draw_lossy(r, o);
}

static void draw_profile(struct mr_random *r, struct swarm_options *o)
{
	switch (o->profile) {
	case SWARM_PLAIN:
		break;
	case SWARM_LOSSY:
		draw_lossy(r, o);
		break;
	case SWARM_DAMAGED:
		draw_lossy(r, o);
		for (unsigned i = 0; i < 2; i++) {
			o->link[i].loss = 0;
			o->link[i].corrupt = upto(r, 0.05);
			o->link[i].cut = upto(r, 0.02);
		}
		break;
	case SWARM_NARROW:
		draw_narrow(r, o);
		break;
	case SWARM_ATTACKED:
		o->router.forge = 0.02 + upto(r, 0.5);
		if (swarm_percent(r, 30))
			draw_lossy(r, o);
		break;
	case SWARM_SCARCE:
		draw_scarce(r, o);
		break;
	case SWARM_BROKEN:
		draw_broken(r, o);
		break;
	case SWARM_CHURN:
		draw_churn(r, o);
		break;
	case SWARM_MEETING:
		draw_meeting(r, o);
		break;
	case SWARM_MOVING:
		draw_moving(r, o);
		break;
	case SWARM_RECONFIGURED:
		draw_reconfigured(r, o);
		break;
	case SWARM_STARVED:
		draw_starved(r, o);
		break;
	case SWARM_PROFILES:
		break;
	}
}

void swarm_draw(uint64_t seed, struct swarm_options *o)
{
	struct mr_random random, *r = &random;

	random_init_seed(r, seed);
	*o = (struct swarm_options){
		.seed = seed,
		.profile = (enum swarm_profile)(seed % SWARM_PROFILES),
		.gentle = true,
		.vlan = swarm_percent(r, 20) ? (uint16_t)swarm_between(r, 1, 4094) : 0,
		.flows = swarm_between(r, 1, 16),
		.start_us = swarm_between(r, 1, 5000) * 1000,
		.faults_us = 60 * S,
		.events_us = 60 * S,
		.wall_steps = true,
		.slow_readers = swarm_percent(r, 50) ? 30 : 0,
		.pauses = swarm_percent(r, 50) ? 30 : 0,
		.aborts = swarm_percent(r, 20) ? 5 : 0,
		.router.spare_neighbours = true,
	};
	o->size_max = 200000 / o->flows;
	for (unsigned i = 0; i < 2; i++) {
		draw_host(r, &o->host[i]);
		draw_link(r, &o->link[i]);
	}
	draw_profile(r, o);
}

static void print_plan(const struct swarm_options *o)
{
	static const char *const names[] = {
#define X(name, text) text,
		SWARM_EVENT_LIST(X)
#undef X
	};

	for (unsigned i = 0; i < SWARM_EVENTS; i++)
		if (o->plan[i].times > 0)
			printf("#   %u %s from %.1f to %.1f s, within %.1f s\n", o->plan[i].times,
			       names[i], (double)o->plan[i].least_us / 1e6,
			       (double)o->plan[i].most_us / 1e6, (double)o->events_us / 1e6);
}

void swarm_print_options(const struct swarm_options *o)
{
	printf("# seed %lu: %s, %s, vlan %u, %u flows of up to %u bytes within %.1f s, faults until "
	       "%.1f s\n",
	       (unsigned long)o->seed, swarm_profile_text(o->profile),
	       o->gentle ? "gentle" : "harsh", o->vlan, o->flows, o->size_max,
	       (double)o->start_us / 1e6, (double)o->faults_us / 1e6);
	print_plan(o);
	printf("#   ports %s; of 100: slow %u, pausing %u, aborting %u, refused %u, meeting %u; renege "
	       "%.2f\n",
	       o->reuse_ports ? "reused" : "fresh", o->slow_readers, o->pauses, o->aborts,
	       o->refusals, o->meetings, o->renege);
	for (unsigned i = 0; i < 2; i++) {
		const struct swarm_host_options *h = &o->host[i];
		const struct sim_link_settings *l = &o->link[i];

		printf("#   host %u: mtu %u%s, keepalive %u s, %u addresses, %u connections, %u chunks, %u frames, "
		       "%u flights, window %u, offload %d, %u large frames, ecn %d, unpaced %d, turn of %u frames / %lu us, %u timers\n",
		       i, h->mtu, h->strict_mtu ? " strictly" : "", h->keepalive_s, h->addresses,
		       h->connections, h->chunks, h->frames, h->flights, h->receive_window,
		       h->offload, h->large_frames, h->ecn, h->unpaced, h->turn_frames,
		       (unsigned long)h->turn_us, h->timers);
		printf("#   link from %u: delay %lu us, jitter %lu, rate %lu, queue %u, loss %.3f, "
		       "burst %.3f/%.3f, duplicate %.3f, reorder %.3f by %lu, corrupt %.3f, "
		       "cut %.3f\n",
		       i, (unsigned long)l->delay_us, (unsigned long)l->jitter_us,
		       (unsigned long)l->rate_bits, l->queue_packets, l->loss, l->burst_enter,
		       l->burst_leave, l->duplicate, l->reorder, (unsigned long)l->reorder_us,
		       l->corrupt, l->cut);
	}
	printf("#   router: mtu %u%s%s, strips%s%s%s, mss %u, mark %.3f, bleach %d, reset %.3f, "
	       "forge %.3f, neighbours %s\n",
	       o->router.mtu, o->router.silent ? " silent" : "", o->router.old_icmp ? " old" : "",
	       o->router.strip_sack ? " sack" : "", o->router.strip_timestamps ? " timestamps" : "",
	       o->router.strip_scale ? " scale" : "", o->router.mss, o->router.mark,
	       o->router.bleach, o->router.reset, o->router.forge,
	       o->router.spare_neighbours ? "spared" : "too");
}
