/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/appliance/world.h"

#include "control/certs/certs.h"
#include "tests/sim/resolver/resolver_sim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BURST	     32
#define STEP_US	     20
#define IDLE_STEP_US (200 * US_PER_MS)
#define START_WALL   UINT64_C(1795348800000000)
#define CHUNKS	     8192

/* The product's event log is a thread and files; here events are only counted by those who look at
 * the ledger. */
int event_log_emit(struct event_log *log, const struct event *event)
{
	(void)log;
	(void)event;
	return 0;
}

static const char configuration_text[] =
	"system { hostname relay.example.net; node-id 7; workers 2; hugepages false; memory 256m;\n"
	"  state-directory /nonexistent; log { level error; } events { directory /nonexistent; }\n"
	"  management { socket /nonexistent/socket; } }\n"
	"port inside { device \"sim0\"; address 192.0.2.1/24; }\n"
	"port outside { device \"sim1\"; address 198.51.100.1/24; }\n"
	"certificate default { self-signed; }\n"
	"listener relay { address 192.0.2.1; tls %s; certificate default; relay-from [ 192.0.2.0/24 ]; pool main; limits { message-size 10m; } }\n"
	"source out { port outside; address 198.51.100.1; ehlo-name relay.example.net; }\n"
	"pool main { source out { weight 1; } }\n"
	"destination default { tls may; connections 8; timeouts { connect 10s; } }\n"
	"retry { initial 20s; max 2m; expire 5d; }\n"
	"spool { directory /nonexistent; size 1g; segment-size 16m; }\n"
	"resolver { allow-private-addresses true; }\n";

/* ---- Set-up ---- */

static struct configuration *load_configuration(bool tls)
{
	char text[4096];
	struct config_errors errors = {0};
	struct configuration *configuration;

	snprintf(text, sizeof(text), configuration_text, tls ? "starttls" : "none");
	configuration = config_load_text(text, "world", &errors);
	for (unsigned i = 0; i < errors.count; i++)
		fprintf(stderr, "%s:%u: %s: %s\n", errors.errors[i].file, errors.errors[i].line,
			errors.errors[i].path, errors.errors[i].reason);
	assert(configuration);
	return configuration;
}

/* A host with one address on one port. */
static struct view *host_view(const char *address, uint8_t last_mac)
{
	struct view *view = calloc(1, sizeof(*view));
	struct view_port *port = calloc(1, sizeof(*port));
	struct view_address *a = calloc(1, sizeof(*a));

	port->mtu = 1500;
	memcpy(port->mac, (uint8_t[]){2, 0, 0, 0, 0, last_mac}, 6);
	a->prefix_length = 24;
	assert(ip_parse(address, &a->address) == 0);
	view->port_count = 1;
	view->ports = port;
	view->address_count = 1;
	view->addresses = a;
	return view;
}

static void host_view_free(struct view *view)
{
	free((void *)view->ports);
	free((void *)view->addresses);
	free(view);
}

static void make_contexts(struct world *world)
{
	struct certificate_information unused;
	char error[CERTIFICATE_ERROR];
	uint8_t ticket_key[48] = {1};
	size_t size;
	char *pem;

	(void)unused;
	tls_global_init();
	tls_thread_init(&world->random);
	assert(certificate_make_self_signed("relay.example.net", &pem, &size) == 0);
	for (unsigned i = 0; i <= WORLD_WORKERS; i++) {
		world->server_contexts[i] =
			tls_context_create_server(pem, size, pem, size, ticket_key, i, error);
		world->client_contexts[i] = tls_context_create_client(error);
		assert(world->server_contexts[i] && world->client_contexts[i]);
	}
	free(pem);
}

static void make_view(struct world *world)
{
	world->view = config_make_view(world->configuration, 1);
	struct view_port *ports = (struct view_port *)world->view->ports;
	struct view_listener *listener = (struct view_listener *)&world->view->listeners[0];

	memcpy(ports[0].mac, (uint8_t[]){2, 0, 0, 0, 1, 0}, 6);
	memcpy(ports[1].mac, (uint8_t[]){2, 0, 0, 0, 1, 1}, 6);
	for (unsigned w = 0; w < WORLD_WORKERS; w++) {
		if (world->settings.tls)
			listener->tls_contexts[w] = world->server_contexts[w];
		world->view->client_contexts[w] = world->client_contexts[w];
	}
}

static void make_peers(struct world *world)
{
	world->peer_views[0] = host_view("192.0.2.10", 10);
	world->peer_views[1] = host_view("198.51.100.20", 20);
	world->sender =
		peer_create(&world->now, world->settings.seed * 3 + 1, world->peer_views[0]);
	world->exchanger =
		peer_create(&world->now, world->settings.seed * 3 + 2, world->peer_views[1]);
	assert(ip_parse("192.0.2.1", &world->sender->server) == 0);
	world->sender->messages = world->settings.messages;
	world->sender->size_min = world->exchanger->size_min = 500;
	world->sender->size_max = world->exchanger->size_max = 30000;
	world->sender->sessions_max = 12;
	world->exchanger->manners = world->settings.manners;
	if (world->settings.tls) {
		world->sender->client_context = world->client_contexts[WORLD_WORKERS];
		world->exchanger->server_context = world->server_contexts[WORLD_WORKERS];
	}
	peer_listen(world->exchanger);
}

struct world *world_create(const struct world_settings *settings)
{
	struct world *world = calloc(1, sizeof(*world));
	struct disk_sim_settings disk = {
		.seed = settings->seed,
		.latency_min_us = 50,
		.latency_max_us = 3000,
		.lossy = settings->lossy_disk,
	};

	assert(world && settings->messages <= PEER_MESSAGES_MAX);
	world->settings = *settings;
	world->now = (struct mr_now){.mono_us = 1000 * US_PER_S, .wall_us = START_WALL};
	random_init_seed(&world->random, settings->seed);
	random_init_seed(&world->shard_random, settings->seed + 99);
	world->configuration = load_configuration(settings->tls);
	make_contexts(world);
	make_view(world);
	make_peers(world);
	world->disk = disk_sim_create(&disk);
	world->resolver = resolver_sim_create();
	resolver_sim_set_latency(world->resolver, 5000);
	resolver_sim_hosts(world->resolver, "dest.example", NULL,
			   "mx.dest.example=198.51.100.20/10", NULL);
	for (unsigned i = 0; i < 4; i++)
		world->links[i] = sim_link_create(&settings->wire, settings->seed * 7 + i);
	return world;
}

void world_destroy(struct world *world)
{
	if (world->shard)
		world_kill(world, false);
	peer_destroy(world->sender);
	peer_destroy(world->exchanger);
	for (unsigned i = 0; i < 4; i++)
		sim_link_destroy(world->links[i]);
	world->resolver->destroy(world->resolver);
	world->disk->operations->destroy(world->disk);
	view_free(world->view);
	config_free(world->configuration);
	for (unsigned i = 0; i <= WORLD_WORKERS; i++) {
		tls_context_release(world->server_contexts[i]);
		tls_context_release(world->client_contexts[i]);
	}
	host_view_free(world->peer_views[0]);
	host_view_free(world->peer_views[1]);
	free(world);
}

/* ---- On and off ---- */

static void start_shard(struct world *world)
{
	char error[256] = "";
	struct queue_shard_settings settings = {
		.node = 7,
		.messages_max = 100000,
		.recipients_max = 100000,
		.chunks = CHUNKS,
		.chunk_home = WORKERS_MAX,
		.random = &world->shard_random,
		.resolver = world->resolver,
		.events = (struct event_log *)world,
		.spool =
			{
				.disk = world->disk,
				.random = &world->shard_random,
				.node = 7,
				.segment_size = 16 << 20,
				.segments = 32,
				.segments_initial = 2,
				.batch_bytes = 256 << 10,
			},
		.worker_count = WORLD_WORKERS,
	};

	for (unsigned w = 0; w < WORLD_WORKERS; w++) {
		settings.workers[w].from_worker = world->worker_links[w].to_shard;
		settings.workers[w].to_worker = world->worker_links[w].to_worker;
		settings.workers[w].home = (uint16_t)w;
	}
	disk_sim_set_time(world->disk, world->now.mono_us);
	world->shard = queue_shard_create(&settings, config_queue(world->configuration),
					  &world->now, error);
	if (!world->shard)
		fprintf(stderr, "queue_shard_create: %s\n", error);
	assert(world->shard);
	/* Recovery waits for the disk, which moves its time. */
	if (disk_sim_time(world->disk) > world->now.mono_us) {
		uint64_t passed = disk_sim_time(world->disk) - world->now.mono_us;

		world->now.mono_us += passed;
		world->now.wall_us += passed;
	}
}

void world_start(struct world *world)
{
	uint32_t slots = worker_ring_slots(128, 64);

	world->starts++;
	for (unsigned w = 0; w < WORLD_WORKERS; w++) {
		world->worker_links[w].to_shard = ring_create(slots, sizeof(struct record));
		world->worker_links[w].to_worker = ring_create(slots, sizeof(struct record));
		world->frames[w] = sim_frame_pool_create(4096, (uint16_t)w);
	}
	start_shard(world);
	for (unsigned w = 0; w < WORLD_WORKERS; w++) {
		struct worker_settings settings = {
			.index = (uint16_t)w,
			.count = WORLD_WORKERS,
			.connections = 512,
			.server_sessions = 128,
			.client_sessions = 64,
			.paths = 64,
			.chunks = CHUNKS,
			.id_origin = queue_shard_id_origin(world->shard),
			.link = world->worker_links[w],
			.frames = sim_frame_pool_interface(world->frames[w]),
			.random_seed = world->settings.seed * 1000 + world->starts * 10 + w + 1,
		};
		world->workers[w] = worker_create(&settings, &world->now);
		assert(world->workers[w]);
	}
	assert(worker_join(world->workers[0], world->workers[1]) == 0);
	for (unsigned w = 0; w < WORLD_WORKERS; w++)
		worker_publish_view(world->workers[w], world->view);
}

void world_kill(struct world *world, bool power)
{
	if (power)
		disk_sim_cut(world->disk);
	for (unsigned w = 0; w < WORLD_WORKERS; w++) {
		world->handed_off += worker_load(world->workers[w])->handed_off;
		world->accepted_by[w] +=
			smtp_server_counters(worker_server(world->workers[w]))->messages_accepted;
		world->delivered_by[w] +=
			path_table_counters(worker_paths(world->workers[w]))->recipients_delivered;
	}
	queue_shard_abandon(world->shard);
	world->shard = NULL;
	resolver_sim_drop(world->resolver);
	for (unsigned w = 0; w < WORLD_WORKERS; w++) {
		worker_destroy(world->workers[w]);
		world->workers[w] = NULL;
	}
	for (unsigned w = 0; w < WORLD_WORKERS; w++) {
		ring_destroy(world->worker_links[w].to_shard);
		ring_destroy(world->worker_links[w].to_worker);
		sim_frame_pool_destroy(world->frames[w]);
		world->view->references[w].held = 0;
	}
}

/* ---- Running ---- */

/* Frames of a wire go to whatever worker the port picks: here anyone, so that the hand-off ring is
 * at work. */
static unsigned arrive(struct world *world, struct sim_link *link, uint16_t port,
		       struct frame *frames[][2 * BURST], unsigned *counts)
{
	unsigned taken = 0;

	while (taken < BURST) {
		unsigned w = random_below(&world->random, WORLD_WORKERS);
		struct frame_pool *pool = sim_frame_pool_interface(world->frames[w]);
		struct frame *frame = frame_alloc(pool);

		assert(frame);
		size_t size = sim_link_receive(link, frame->data, world->now.mono_us);

		if (size == 0) {
			frame_free(pool, frame);
			break;
		}
		frame->length = (uint16_t)size;
		frame->port = port;
		frame->worker = (uint16_t)w;
		frames[w][counts[w]++] = frame;
		taken++;
	}
	return taken;
}

static bool transmit(struct world *world, unsigned w, uint16_t port, struct sim_link *link)
{
	struct frame_pool *pool = sim_frame_pool_interface(world->frames[w]);
	struct frame *frames[BURST];
	bool busy = false;
	unsigned n;

	while ((n = worker_output(world->workers[w], port, frames, BURST, &world->now)) > 0) {
		for (unsigned i = 0; i < n; i++) {
			sim_link_send(link, frames[i]->data, frames[i]->length, world->now.mono_us);
			frame_free(pool, frames[i]);
		}
		busy = true;
	}
	return busy;
}

static bool turn_appliance(struct world *world)
{
	struct frame *frames[WORLD_WORKERS][2 * BURST];
	unsigned counts[WORLD_WORKERS] = {0};
	bool busy = false;

	if (!world->shard) {
		uint8_t gone[2048];

		while (sim_link_receive(world->links[0], gone, world->now.mono_us) ||
		       sim_link_receive(world->links[2], gone, world->now.mono_us))
			;
		return false;
	}
	arrive(world, world->links[0], 0, frames, counts);
	arrive(world, world->links[2], 1, frames, counts);
	disk_sim_set_time(world->disk, world->now.mono_us);
	for (unsigned w = 0; w < WORLD_WORKERS; w++) {
		busy |= worker_turn(world->workers[w], frames[w], counts[w], &world->now);
		busy |= transmit(world, w, 0, world->links[1]);
		busy |= transmit(world, w, 1, world->links[3]);
	}
	busy |= queue_shard_turn(world->shard, &world->now);
	return busy;
}

static void earliest(uint64_t *at, uint64_t other)
{
	if (other < *at)
		*at = other;
}

static void pass_time(struct world *world, bool busy)
{
	uint64_t at = world->now.mono_us + IDLE_STEP_US, passed;

	if (busy)
		at = world->now.mono_us + STEP_US;
	for (unsigned i = 0; i < 4; i++)
		earliest(&at, sim_link_next(world->links[i]));
	earliest(&at, net_stack_next_timer(world->sender->stack));
	earliest(&at, net_stack_next_timer(world->exchanger->stack));
	if (world->shard) {
		earliest(&at, disk_sim_next(world->disk));
		earliest(&at, queue_shard_next_deadline(world->shard));
		for (unsigned w = 0; w < WORLD_WORKERS; w++)
			earliest(&at, worker_next_deadline(world->workers[w]));
	}
	passed = at > world->now.mono_us ? at - world->now.mono_us : 1;
	world->now.mono_us += passed;
	world->now.wall_us += passed;
}

static bool nothing_left(struct world *world)
{
	struct queue_ledger ledger;

	for (uint32_t n = 0; n < world->settings.messages; n++)
		if (!world->sender->acknowledged[n] && !world->sender->refused[n])
			return false;
	if (!world->shard)
		return false;
	queue_shard_ledger(world->shard, &ledger);
	return ledger.queued == 0;
}

bool world_run(struct world *world, uint64_t for_us)
{
	uint64_t until = world->now.mono_us + for_us;

	while (world->now.mono_us < until) {
		bool busy = turn_appliance(world);

		peer_send_mail(world->sender);
		busy |= peer_turn(world->sender, world->links[1], world->links[0]);
		busy |= peer_turn(world->exchanger, world->links[3], world->links[2]);
		if (!busy && nothing_left(world))
			return true;
		pass_time(world, busy);
	}
	return nothing_left(world);
}

/* ---- What came of it ---- */

unsigned world_acknowledged(const struct world *world)
{
	unsigned count = 0;

	for (uint32_t n = 0; n < world->settings.messages; n++)
		count += world->sender->acknowledged[n];
	return count;
}

unsigned world_missing(const struct world *world)
{
	unsigned count = 0;

	for (uint32_t n = 0; n < world->settings.messages; n++)
		count += world->sender->acknowledged[n] && world->exchanger->stored[n].copies == 0;
	return count;
}

unsigned world_damaged(const struct world *world)
{
	unsigned count = 0;

	for (uint32_t n = 0; n < world->settings.messages; n++)
		count += world->exchanger->stored[n].damaged;
	return count;
}

unsigned world_duplicates(const struct world *world)
{
	unsigned count = 0;

	for (uint32_t n = 0; n < world->settings.messages; n++)
		if (world->exchanger->stored[n].copies > 1)
			count += world->exchanger->stored[n].copies - 1;
	return count;
}
