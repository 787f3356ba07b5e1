/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The turn of one worker: hand-offs, stack, records of the shard, sessions. See worker.h.
 *
 * Threads: everything in struct worker belongs to the worker but `mail`, which other threads write
 * (a view to adopt, a wish to drain, a call to run) and the worker looks at once a turn.
 */
#include "dataplane/worker.h"

#include "dataplane/net/local.h"
#include "dataplane/smtp/server_table.h"

#include <assert.h>
#include <errno.h>
#include <rte_branch_prediction.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HAND_OFF_SLOTS	 2048
#define HAND_OFF_BURST	 64
#define RECORDS_PER_TURN 256
#define TIMERS_PER_TURN	 1024
/* Chunks that new mail may not touch: what is under way can always be finished. */
#define CHUNK_RESERVE_DIVISOR 8
#define CALL_POLL_US	      50
/* How often a listener is tried again that has no slot yet. */
#define LISTEN_AGAIN_US (US_PER_S / 2)

/** Frames to and from one other worker. Frames go back to whose pool they are. */
struct hand_off {
	struct ring *out; /**< struct frame *: for the other worker to look at */
	struct ring *in;
	struct ring *back_out; /**< struct frame *: the other's frames, done with */
	struct ring *back_in;
};

struct call {
	void (*fn)(void *argument);
	void *argument;
	atomic_bool done;
};

struct worker {
	uint16_t index;
	uint16_t count;
	struct net_stack *stack;
	struct smtp_server *server;
	struct path_table *paths;
	struct chunk_pool *chunks;
	struct mr_random random;
	struct frame_pool *frames; /**< the port's */
	struct frame_pool pool;	   /**< in front of it: sends foreign frames home */
	struct worker_link link;
	struct mr_now now; /**< of this turn, for callbacks that come from the stack */
	struct hand_off hand_offs[WORKERS_MAX];
	struct view *view;
	uint64_t listen_again_us; /**< MR_NEVER: every listener of the view is open */
	bool draining;
	uint32_t refusal;
	struct worker_load load;

	struct {
		_Atomic(struct view *) view;
		_Atomic(struct view *) adopted;
		atomic_bool drain;
		atomic_bool drained;
		atomic_uint refusal;
		_Atomic(struct call *) call;
	} mail;
};

/* ---- Frames ---- */

static struct frame *pool_alloc(void *context)
{
	struct worker *worker = context;

	return frame_alloc(worker->frames);
}

static struct frame *pool_alloc_large(void *context)
{
	struct worker *worker = context;

	return worker->frames->alloc_large(worker->frames->context);
}

static void pool_free(void *context, struct frame *frame)
{
	struct worker *worker = context;

	if (likely(frame->worker == worker->index)) {
		frame_free(worker->frames, frame);
		return;
	}
	/* As many slots as the ring that brought it: there is always room. */
	bool home = ring_put(worker->hand_offs[frame->worker].back_out, &frame);

	assert(home);
	(void)home;
}

static void hand_to(struct worker *worker, uint16_t other, struct frame *frame)
{
	struct hand_off *h = &worker->hand_offs[other];

	if (h->out && ring_count(h->out) + ring_count(h->back_in) < HAND_OFF_SLOTS &&
	    ring_put(h->out, &frame)) {
		worker->load.handed_off++;
		return;
	}
	worker->load.hand_off_full++;
	frame_free(&worker->pool, frame);
}

static void hand_off(void *context, uint16_t other, struct frame *frame)
{
	struct worker *worker = context;

	if (other != UINT16_MAX) {
		hand_to(worker, other, frame);
		return;
	}
	for (uint16_t i = 0; i < worker->count; i++) {
		struct frame *copy = i != worker->index ? frame_alloc(worker->frames) : NULL;

		if (!copy)
			continue;
		if (copy->capacity < frame->length) {
			frame_free(worker->frames, copy);
			continue;
		}
		memcpy(copy->data, frame->data, frame->length);
		copy->length = frame->length;
		copy->port = frame->port;
		copy->flags = frame->flags;
		copy->hash = frame->hash;
		hand_to(worker, i, copy);
	}
}

static bool take_hand_offs(struct worker *worker, const struct mr_now *now)
{
	bool busy = false;

	for (uint16_t i = 0; i < worker->count; i++) {
		struct hand_off *h = &worker->hand_offs[i];
		struct frame *frames[HAND_OFF_BURST];
		struct frame *frame;
		unsigned n = 0;

		if (!h->in)
			continue;
		while (ring_get(h->back_in, &frame))
			frame_free(worker->frames, frame);
		while (n < HAND_OFF_BURST && ring_get(h->in, &frames[n]))
			n++;
		if (n == 0)
			continue;
		worker->load.handed_in += n;
		net_stack_input_handed(worker->stack, frames, n, now);
		busy = true;
	}
	return busy;
}

/* ---- Records ---- */

static bool to_shard(void *context, const struct record *record)
{
	struct worker *worker = context;

	return ring_put(worker->link.to_shard, record);
}

static void chunks_come_home(struct worker *worker, const struct record *record)
{
	struct chunk *chunk = record->chunks.head;

	for (uint32_t i = 0; i < record->chunks.count; i++) {
		struct chunk *next = chunk->next;

		chunk_free(worker->chunks, chunk);
		chunk = next;
	}
}

static void take_record(struct worker *worker, const struct record *record,
			const struct mr_now *now)
{
	switch (record->kind) {
	case RECORD_COMMITTED:
	case RECORD_AUTH_ANSWER:
		smtp_server_answer(worker->server, record, now);
		break;
	case RECORD_DELIVER:
		path_table_deliver(worker->paths, record->delivery, now);
		break;
	case RECORD_CHUNKS:
		chunks_come_home(worker, record);
		break;
	case RECORD_PATH_CLOSE:
		path_table_close_path(worker->paths, record->slot.path, now);
		break;
	default:
		assert(!"a record that shards do not send");
	}
}

static bool take_records(struct worker *worker, const struct mr_now *now)
{
	struct record record;
	unsigned n;

	for (n = 0; n < RECORDS_PER_TURN && ring_get(worker->link.to_worker, &record); n++)
		take_record(worker, &record, now);
	return n > 0;
}

/* ---- Mail from other threads ---- */

/* A closed listener keeps its slot while sessions of it go on: a new one may have to wait for that.
 */
static void open_listeners(struct worker *worker, struct view *view, const struct mr_now *now)
{
	int code = smtp_server_configure(worker->server, view, now);

	assert(code == 0 || code == -ENOBUFS);
	worker->listen_again_us = code == 0 ? MR_NEVER : now->mono_us + LISTEN_AGAIN_US;
}

static void adopt_view(struct worker *worker, struct view *view, const struct mr_now *now)
{
	/* worker_check_view found that the view fits: what cannot be adopted is a fault of ours. */
	int code = net_stack_configure(worker->stack, view, now);

	assert(code == 0);
	(void)code;
	path_table_configure(worker->paths, view, now);
	open_listeners(worker, view, now);
	worker->view = view;
	atomic_store_explicit(&worker->mail.adopted, view, memory_order_release);
}

static void look_at_mail(struct worker *worker, const struct mr_now *now)
{
	struct view *view = atomic_load_explicit(&worker->mail.view, memory_order_acquire);
	uint32_t refusal = atomic_load_explicit(&worker->mail.refusal, memory_order_relaxed);
	struct call *call = atomic_load_explicit(&worker->mail.call, memory_order_acquire);

	if (unlikely(view != worker->view))
		adopt_view(worker, view, now);
	else if (unlikely(now->mono_us >= worker->listen_again_us))
		open_listeners(worker, view, now);
	if (unlikely(refusal != worker->refusal)) {
		worker->refusal = refusal;
		smtp_server_set_refusal(worker->server, refusal);
	}
	if (unlikely(atomic_load_explicit(&worker->mail.drain, memory_order_relaxed) &&
		     !worker->draining)) {
		worker->draining = true;
		smtp_server_drain(worker->server, now);
		path_table_drain(worker->paths, now);
	}
	if (unlikely(call != NULL)) {
		atomic_store_explicit(&worker->mail.call, NULL, memory_order_relaxed);
		call->fn(call->argument);
		atomic_store_explicit(&call->done, true, memory_order_release);
	}
}

int worker_check_view(const struct view *view, char *error)
{
	const struct hash_key key = {0};
	struct local_table table;
	int code;

	if (view->port_count > NET_PORTS_MAX) {
		snprintf(error, 256, "%u ports: there can be %u", view->port_count, NET_PORTS_MAX);
		return -ENOBUFS;
	}
	if (view->listener_count > SERVER_LISTENERS_MAX) {
		snprintf(error, 256, "%u listeners, counting each address: there can be %u",
			 view->listener_count, SERVER_LISTENERS_MAX);
		return -ENOBUFS;
	}
	if (local_table_init(&table, &key) != 0) {
		snprintf(error, 256, "out of memory");
		return -ENOMEM;
	}
	code = local_table_adopt(&table, view);
	local_table_free(&table);
	if (code != 0)
		snprintf(
			error, 256,
			"%u addresses and %u routes: there can be %u, and %u with a route for each network",
			view->address_count, view->route_count, LOCAL_ADDRESSES_MAX, ROUTES_MAX);
	return code;
}

void worker_publish_view(struct worker *worker, struct view *view)
{
	atomic_store_explicit(&worker->mail.view, view, memory_order_release);
}

struct view *worker_adopted_view(const struct worker *worker)
{
	return atomic_load_explicit(&((struct worker *)worker)->mail.adopted, memory_order_acquire);
}

void worker_request_drain(struct worker *worker)
{
	atomic_store_explicit(&worker->mail.drain, true, memory_order_relaxed);
}

bool worker_is_drained(const struct worker *worker)
{
	return atomic_load_explicit(&((struct worker *)worker)->mail.drained, memory_order_acquire);
}

void worker_set_refusal(struct worker *worker, uint32_t commit_result)
{
	atomic_store_explicit(&worker->mail.refusal, commit_result, memory_order_relaxed);
}

void worker_call(struct worker *worker, void (*fn)(void *argument), void *argument)
{
	struct call call = {.fn = fn, .argument = argument};

	/* One at a time: management is one thread, and a second caller waits for the slot. */
	for (;;) {
		struct call *none = NULL;

		if (atomic_compare_exchange_weak_explicit(&worker->mail.call, &none, &call,
							  memory_order_release,
							  memory_order_relaxed))
			break;
		usleep(CALL_POLL_US);
	}
	while (!atomic_load_explicit(&call.done, memory_order_acquire))
		usleep(CALL_POLL_US);
}

/* ---- The turn ---- */

bool worker_turn(struct worker *worker, struct frame **rx, unsigned count, const struct mr_now *now)
{
	bool busy = count > 0;

	worker->now = *now;
	path_table_begin_turn(worker->paths, now);
	look_at_mail(worker, now);
	if (unlikely(!worker->view)) {
		for (unsigned i = 0; i < count; i++)
			frame_free(&worker->pool, rx[i]);
		return false;
	}
	if (worker->count > 1)
		busy |= take_hand_offs(worker, now);
	if (count > 0)
		net_stack_input(worker->stack, rx, count, now);
	busy |= take_records(worker, now);
	busy |= net_stack_timers(worker->stack, now, TIMERS_PER_TURN) > 0;
	smtp_server_turn(worker->server, now);
	path_table_turn(worker->paths, now);
	if (unlikely(worker->draining) && smtp_server_sessions(worker->server) == 0 &&
	    path_table_sessions(worker->paths) == 0 && path_table_deliveries(worker->paths) == 0)
		atomic_store_explicit(&worker->mail.drained, true, memory_order_release);
	worker->load.turns++;
	worker->load.busy_turns += busy;
	return busy;
}

unsigned worker_output(struct worker *worker, uint16_t port, struct frame **frames, unsigned max,
		       const struct mr_now *now)
{
	return worker->view ? net_stack_output(worker->stack, port, frames, max, now) : 0;
}

uint64_t worker_next_deadline(const struct worker *worker)
{
	uint64_t next = net_stack_next_timer(worker->stack);
	uint64_t server = smtp_server_next_deadline(worker->server);
	uint64_t paths = path_table_next_deadline(worker->paths);

	if (server < next)
		next = server;
	if (worker->listen_again_us < next)
		next = worker->listen_again_us;
	return paths < next ? paths : next;
}

/* ---- Life ---- */

static int create_random(struct worker *worker, uint64_t seed)
{
	if (seed == 0)
		return random_init(&worker->random);
	random_init_seed(&worker->random, seed);
	return 0;
}

static bool create_parts(struct worker *worker, const struct worker_settings *settings,
			 const struct mr_now *now)
{
	struct net_stack_settings stack = {
		.worker = settings->index,
		.worker_count = settings->count,
		.connections = settings->connections,
		.time_wait = settings->connections,
		.neighbours = 1024,
		.frames = &worker->pool,
		.chunks = worker->chunks,
		.random = &worker->random,
		.hand_off = settings->count > 1 ? hand_off : NULL,
		.hand_off_context = worker,
		.ecn = settings->tcp_ecn,
		.keepalive_s = settings->tcp_keepalive_s,
	};
	memcpy(stack.offloads, settings->offloads, sizeof(stack.offloads));
	worker->stack = net_stack_create(&stack, now);
	if (!worker->stack)
		return false;
	struct smtp_server_settings server = {
		.worker = settings->index,
		.sessions = settings->server_sessions,
		.stack = worker->stack,
		.chunks = worker->chunks,
		.chunk_reserve = settings->chunks / CHUNK_RESERVE_DIVISOR,
		.random = &worker->random,
		.id_origin = settings->id_origin,
		.now = &worker->now,
		.submit = to_shard,
		.context = worker,
	};
	worker->server = smtp_server_create(&server);
	if (!worker->server)
		return false;
	struct path_table_settings paths = {
		.worker = settings->index,
		.sessions = settings->client_sessions,
		.paths = settings->paths,
		.stack = worker->stack,
		.chunks = worker->chunks,
		.random = &worker->random,
		.report = to_shard,
		.context = worker,
	};
	worker->paths = path_table_create(&paths);
	return worker->paths != NULL;
}

uint32_t worker_ring_slots(uint32_t server_sessions, uint32_t client_sessions)
{
	/* A session waits for one answer at most; a client session holds two deliveries at most. */
	return 2 * (server_sessions + 2 * client_sessions) + 1024;
}

struct worker *worker_create(const struct worker_settings *settings, const struct mr_now *now)
{
	struct worker *worker = calloc(1, sizeof(*worker));

	if (!worker)
		return NULL;
	worker->index = settings->index;
	worker->count = settings->count;
	worker->frames = settings->frames;
	worker->pool = (struct frame_pool){
		.context = worker,
		.alloc = pool_alloc,
		.alloc_large = settings->frames->alloc_large ? pool_alloc_large : NULL,
		.free = pool_free};
	worker->link = settings->link;
	worker->now = *now;
	worker->listen_again_us = MR_NEVER;
	worker->chunks = chunk_pool_create(settings->index, settings->chunks);
	if (!worker->chunks || create_random(worker, settings->random_seed) != 0 ||
	    !create_parts(worker, settings, now)) {
		worker_destroy(worker);
		return NULL;
	}
	return worker;
}

static void take_back(struct worker *worker, struct ring *ring)
{
	struct frame *frame;

	while (ring && ring_get(ring, &frame))
		frame_free(worker->frames, frame);
}

/* Own frames are in the ring out and the ring back; the rings of a pair go with the worker of the
 * higher index. */
static void destroy_hand_offs(struct worker *worker)
{
	for (uint16_t i = 0; i < worker->count; i++) {
		struct hand_off *h = &worker->hand_offs[i];

		take_back(worker, h->out);
		take_back(worker, h->back_in);
		if (i > worker->index)
			continue;
		ring_destroy(h->out);
		ring_destroy(h->in);
		ring_destroy(h->back_out);
		ring_destroy(h->back_in);
	}
}

void worker_destroy(struct worker *worker)
{
	if (!worker)
		return;
	path_table_destroy(worker->paths);
	smtp_server_destroy(worker->server);
	net_stack_destroy(worker->stack);
	chunk_pool_destroy(worker->chunks);
	destroy_hand_offs(worker);
	free(worker);
}

int worker_join(struct worker *a, struct worker *b)
{
	struct worker *low = a->index < b->index ? a : b;
	struct worker *high = low == a ? b : a;
	struct hand_off *l = &low->hand_offs[high->index];
	struct hand_off *h = &high->hand_offs[low->index];

	l->out = ring_create(HAND_OFF_SLOTS, sizeof(struct frame *));
	l->in = ring_create(HAND_OFF_SLOTS, sizeof(struct frame *));
	l->back_out = ring_create(HAND_OFF_SLOTS * 2, sizeof(struct frame *));
	l->back_in = ring_create(HAND_OFF_SLOTS * 2, sizeof(struct frame *));
	if (!l->out || !l->in || !l->back_out || !l->back_in)
		return -ENOMEM;
	*h = (struct hand_off){
		.out = l->in, .in = l->out, .back_out = l->back_in, .back_in = l->back_out};
	return 0;
}

struct net_stack *worker_stack(struct worker *worker)
{
	return worker->stack;
}

struct smtp_server *worker_server(struct worker *worker)
{
	return worker->server;
}

struct path_table *worker_paths(struct worker *worker)
{
	return worker->paths;
}

struct chunk_pool *worker_chunks(struct worker *worker)
{
	return worker->chunks;
}

struct worker_load *worker_load(struct worker *worker)
{
	return &worker->load;
}
