/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A shard's creation, its turn, and its rings. See queue.h for what it is, shard.h for its files.
 *
 * Always true: a record for a worker leaves in order, and waits here when the ring is full; a
 * worker's chunks go home once a turn, in one record.
 */
#include "control/queue/shard.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** Records taken from one worker's ring in one turn. */
#define RING_TURN_MAX 256u
/** Recipients that fall due in one turn. */
#define DUE_TURN_MAX 1024u
/** Messages whose deadline a new configuration moves in one turn. */
#define RETIME_TURN_MAX 1024u
#define SWEEP_US	US_PER_S
/** Domains looked at in one sweep, over as many turns as it takes. */
#define DOMAINS_SWEEP_MAX 4096u
/** After the resolver took no more. */
#define RESOLVER_WAIT_US (5 * US_PER_MS)
#define SITES_MAX	 (1u << 19)
#define PATHS_MAX	 ((1u << 20) - 1)
#define BODIES_MAX	 (1u << 22)

/* ---- Rings ---- */

static bool outbox_push(struct outbox *outbox, const struct record *record)
{
	if (outbox->count == outbox->capacity) {
		uint32_t capacity = outbox->capacity ? 2 * outbox->capacity : 64;
		struct record *records = malloc(capacity * sizeof(*records));

		if (!records)
			return false;
		for (uint32_t i = 0; i < outbox->count; i++)
			records[i] = outbox->records[(outbox->head + i) % outbox->capacity];
		free(outbox->records);
		outbox->records = records;
		outbox->capacity = capacity;
		outbox->head = 0;
	}
	outbox->records[(outbox->head + outbox->count++) % outbox->capacity] = *record;
	return true;
}

void shard_send(struct queue_shard *shard, uint16_t worker, const struct record *record)
{
	struct outbox *outbox = &shard->outboxes[worker];
	bool kept;

	if (outbox->count == 0 && ring_put(shard->settings.workers[worker].to_worker, record))
		return;
	kept = outbox_push(outbox, record);
	/* To lose an answer would hang a session for ever; memory for 40 bytes is short only when
	 * all is lost. */
	if (!kept)
		abort();
}

static void outbox_flush(struct queue_shard *shard, uint16_t w)
{
	struct outbox *outbox = &shard->outboxes[w];
	struct ring *ring = shard->settings.workers[w].to_worker;

	if (outbox->home.head) {
		struct record record = {
			.kind = RECORD_CHUNKS,
			.chunks = {outbox->home.head, outbox->home.tail, outbox->home.chunks},
		};

		shard_send(shard, w, &record);
		outbox->home = (struct chunk_list){0};
	}
	while (outbox->count && ring_put(ring, &outbox->records[outbox->head])) {
		outbox->head = (outbox->head + 1) % outbox->capacity;
		outbox->count--;
		shard->progress = true;
	}
}

/* ---- Passwords ---- */

struct auth_wait {
	struct queue_shard *shard;
	struct auth_wait *next;
	struct auth_request *request;
	uint16_t worker;
};

static void auth_done(void *user, struct auth_request *request)
{
	struct auth_wait *wait = user;
	struct queue_shard *shard = wait->shard;

	wait->request = request;
	pthread_mutex_lock(&shard->auth_lock);
	wait->next = shard->auth_answers;
	shard->auth_answers = wait;
	pthread_mutex_unlock(&shard->auth_lock);
}

static void auth_begin(struct queue_shard *shard, uint16_t worker, struct auth_request *request)
{
	struct auth_wait *wait = calloc(1, sizeof(*wait));

	request->accepted = false;
	if (!wait || !shard->settings.authenticate) {
		free(wait);
		explicit_bzero(request->password, sizeof(request->password));
		shard_send(shard, worker,
			   &(struct record){.kind = RECORD_AUTH_ANSWER, .auth = request});
		return;
	}
	*wait = (struct auth_wait){.shard = shard, .request = request, .worker = worker};
	shard->auth_pending++;
	shard->settings.authenticate(shard->settings.authenticate_context, request, auth_done,
				     wait);
}

static void auth_turn(struct queue_shard *shard)
{
	struct auth_wait *wait, *next;

	if (shard->auth_pending == 0)
		return;
	pthread_mutex_lock(&shard->auth_lock);
	wait = shard->auth_answers;
	shard->auth_answers = NULL;
	pthread_mutex_unlock(&shard->auth_lock);
	for (; wait; wait = next) {
		next = wait->next;
		explicit_bzero(wait->request->password, sizeof(wait->request->password));
		shard_send(shard, wait->worker,
			   &(struct record){.kind = RECORD_AUTH_ANSWER, .auth = wait->request});
		shard->auth_pending--;
		shard->progress = true;
		free(wait);
	}
}

/* ---- The turn ---- */

/** Take what a worker sent. Outcomes are recorded in one group; submissions follow, outside of it.
 */
static void worker_records(struct queue_shard *shard, uint16_t w)
{
	struct submission *submissions[RING_TURN_MAX];
	unsigned count = 0;
	struct record record;

	records_begin(shard);
	for (unsigned i = 0;
	     i < RING_TURN_MAX && ring_get(shard->settings.workers[w].from_worker, &record); i++) {
		shard->progress = true;
		switch (record.kind) {
		case RECORD_COMMIT:
			submissions[count++] = record.submission;
			break;
		case RECORD_OUTCOME:
			outcome_take(shard, w, record.delivery);
			break;
		case RECORD_SLOT_CLOSED:
			slots_closed(shard, w, record.slot.path, record.slot.count);
			break;
		case RECORD_AUTH:
			auth_begin(shard, w, record.auth);
			break;
		default:
			assert(!"a record that workers do not send");
		}
	}
	records_end(shard);
	for (unsigned i = 0; i < count; i++)
		commit_begin(shard, w, submissions[i]);
}

static void recipients_due(struct queue_shard *shard)
{
	for (unsigned i = 0; i < DUE_TURN_MAX; i++) {
		uint32_t r = schedule_pop(&shard->index.due, shard->now.mono_us);

		if (!r)
			return;
		recipient_route(shard, r);
		shard->progress = true;
	}
}

/** Expiry and delay follow the configuration, a part of the index in each turn. */
static void messages_retime(struct queue_shard *shard)
{
	for (unsigned i = 0; i < RETIME_TURN_MAX && shard->retime_cursor; i++) {
		uint32_t m = shard->retime_cursor++;

		if (m >= shard->index.messages.fresh) {
			shard->retime_cursor = 0;
			return;
		}
		if (index_message(&shard->index, m)->marks & MESSAGE_TIMED)
			message_arm(shard, m);
	}
}

static void sweep(struct queue_shard *shard)
{
	if (shard->now.mono_us >= shard->audit_at_us)
		ledger_audit(shard);
	domains_sweep(shard);
	if (shard->now.mono_us < shard->sweep_at_us)
		return;
	shard->sweep_at_us = shard->now.mono_us + SWEEP_US;
	shard->domain_sweep_left = DOMAINS_SWEEP_MAX;
	paths_sweep(shard);
	jobs_find_missed(shard);
}

bool queue_shard_turn(struct queue_shard *shard, const struct mr_now *now)
{
	struct resolver *resolver = shard->settings.resolver;

	shard->now = *now;
	shard->progress = false;
	for (unsigned w = 0; w < shard->settings.worker_count; w++)
		worker_records(shard, (uint16_t)w);
	auth_turn(shard);
	resolver->poll(resolver, now);
	domains_turn(shard);
	recipients_due(shard);
	messages_run_deadlines(shard);
	messages_retime(shard);
	records_turn(shard);
	jobs_turn(shard);
	shard->progress |= spool_turn(shard->spool, now);
	reports_flush(shard);
	paths_run_timers(shard);
	grants_turn(shard);
	bodies_enforce_budget(shard);
	sweep(shard);
	for (unsigned w = 0; w < shard->settings.worker_count; w++)
		outbox_flush(shard, (uint16_t)w);
	return shard->progress;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t queue_shard_next_deadline(const struct queue_shard *shard)
{
	uint64_t due = spool_next_deadline(shard->spool);

	if (shard->retime_cursor)
		return shard->now.mono_us;
	due = least(due, schedule_next(&shard->index.due));
	due = least(due, schedule_next(&shard->index.deadlines));
	due = least(due, schedule_next(&shard->domain_timers));
	if (shard->full_until_us > shard->now.mono_us)
		due = least(due, shard->full_until_us);
	if (shard->domains_releasing.head || shard->domain_sweep_left)
		return shard->now.mono_us;
	if (shard->domains_waiting.head)
		due = least(due, shard->now.mono_us + RESOLVER_WAIT_US);
	due = least(due, schedule_next(&shard->path_timers));
	due = least(due, jobs_next(shard));
	return least(due, least(shard->audit_at_us, shard->sweep_at_us));
}

/* ---- State ---- */

void queue_shard_drain(struct queue_shard *shard)
{
	shard->draining = true;
}

bool queue_shard_is_drained(const struct queue_shard *shard)
{
	if (shard->out_count || shard->commit_count || shard->recording || shard->ends ||
	    shard->events.count || shard->auth_pending)
		return false;
	for (unsigned w = 0; w < shard->settings.worker_count; w++) {
		if (shard->outboxes[w].count)
			return false;
	}
	return true;
}

uint32_t queue_shard_refusal(const struct queue_shard *shard)
{
	const struct slab *messages = &shard->index.messages;
	const struct slab *recipients = &shard->index.recipients;

	if (shard->broken)
		return COMMIT_IO_ERROR;
	if (!spool_accepting(shard->spool) || shard->unwritten.head)
		return COMMIT_NO_SPACE;
	/* The last twentieth of the tables is for what is on its way and for notices. */
	if (shard->events.count || messages->used > messages->maximum - messages->maximum / 20 ||
	    recipients->used > recipients->maximum - recipients->maximum / 20)
		return COMMIT_OVERLOAD;
	return COMMIT_DONE;
}

const struct queue_counters *queue_shard_counters(const struct queue_shard *shard)
{
	return &shard->counters;
}

uint64_t queue_shard_id_origin(const struct queue_shard *shard)
{
	return (uint64_t)shard->settings.node << 32 |
	       (uint64_t)(shard->settings.shard & 0xff) << 24 |
	       (shard->recovered.start_number & 0xffffff);
}

struct message_id shard_next_id(struct queue_shard *shard)
{
	return (struct message_id){.origin = queue_shard_id_origin(shard),
				   .counter = UINT64_C(255) << 56 | ++shard->serial};
}

void queue_shard_configure(struct queue_shard *shard, const struct queue_settings_view *view,
			   const struct mr_now *now)
{
	shard->now = *now;
	shard->view = view;
	shard->epoch++;
	shard->retime_cursor = 1;
	/* A few bytes for each source; without them nothing can be routed. */
	if (sources_hash(shard) < 0)
		abort();
	sites_reconfigure(shard);
	domains_reconfigure(shard);
	paths_reconfigure(shard);
}

/* ---- Creation ---- */

static int shard_init(struct queue_shard *shard)
{
	const struct queue_shard_settings *settings = &shard->settings;
	uint64_t recipients = settings->recipients_max;
	uint32_t domains = recipients < (1u << 24) ? (uint32_t)recipients + 16 : 1u << 24;
	uint32_t messages =
		settings->messages_max < BODIES_MAX ? (uint32_t)settings->messages_max : BODIES_MAX;

	shard->seed = random_u64(settings->random);
	shard->outboxes = calloc(settings->worker_count, sizeof(*shard->outboxes));
	shard->scratch = malloc(RECORD_SCRATCH);
	shard->chunks = chunk_pool_create(settings->chunk_home, settings->chunks);
	if (!shard->outboxes || !shard->scratch || !shard->chunks)
		return -ENOMEM;
	if (index_init(&shard->index, settings->messages_max, recipients, shard->seed,
		       shard->now.mono_us) < 0 ||
	    domains_init(shard, domains) < 0 || sites_init(shard, SITES_MAX) < 0 ||
	    paths_init(shard, PATHS_MAX) < 0 ||
	    slab_init(&shard->bodies, sizeof(struct queue_body), messages) < 0 ||
	    slab_init(&shard->attempts, sizeof(struct attempt), messages) < 0 ||
	    slab_init(&shard->jobs, sizeof(struct job), messages) < 0 || sources_hash(shard) < 0)
		return -ENOMEM;
	return 0;
}

static void shard_free(struct queue_shard *shard)
{
	commits_free(shard);
	while (shard->ends) {
		struct end_wait *next = shard->ends->next;

		free(shard->ends);
		shard->ends = next;
	}
	loans_free(shard);
	attempts_free(shard);
	bodies_free(shard);
	slab_finish(&shard->jobs);
	paths_free(shard);
	sites_free(shard);
	domains_free(shard);
	index_finish(&shard->index);
	for (unsigned w = 0; shard->outboxes && w < shard->settings.worker_count; w++)
		free(shard->outboxes[w].records);
	free(shard->outboxes);
	free(shard->scratch);
	chunk_pool_destroy(shard->chunks);
	pthread_mutex_destroy(&shard->auth_lock);
	free(shard);
}

struct queue_shard *queue_shard_create(const struct queue_shard_settings *settings,
				       const struct queue_settings_view *view,
				       const struct mr_now *now, char *error)
{
	struct queue_shard *shard = calloc(1, sizeof(*shard));

	if (!shard) {
		snprintf(error, 256, "memory is short");
		return NULL;
	}
	assert(settings->worker_count && settings->worker_count <= WORKERS_MAX);
	assert(view->destination_count > 0);
	shard->settings = *settings;
	shard->view = view;
	shard->now = *now;
	pthread_mutex_init(&shard->auth_lock, NULL);
	if (shard_init(shard) < 0) {
		snprintf(error, 256, "memory is short for the tables of the queue");
		shard_free(shard);
		return NULL;
	}
	shard->audit_at_us = shard->sweep_at_us = now->mono_us + US_PER_S;
	if (shard_recover(shard, error) < 0) {
		shard->closing = true;
		if (shard->spool)
			spool_close(shard->spool);
		shard_free(shard);
		return NULL;
	}
	return shard;
}

void queue_shard_destroy(struct queue_shard *shard)
{
	if (!shard)
		return;
	/* Password checks may still run elsewhere; they end by themselves. */
	while (shard->auth_pending) {
		auth_turn(shard);
		usleep(1000);
	}
	shard->closing = true;
	spool_close(shard->spool);
	shard_free(shard);
}

void queue_shard_abandon(struct queue_shard *shard)
{
	shard->closing = true;
	spool_abandon(shard->spool);
	shard_free(shard);
}
