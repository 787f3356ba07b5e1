/* SPDX-License-Identifier: GPL-3.0-or-later */
/* See house.h. */
#include "tests/unit/queue/house.h"

#include "dataplane/envelope.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_WALL UINT64_C(1700000000000000)
#define GROW(array, count)                                                                        \
	do {                                                                                      \
		if (((count) & ((count)-1)) == 0)                                                 \
			(array) =                                                                 \
				realloc((array), ((count) ? 2 * (count) : 1) * sizeof(*(array))); \
	} while (0)

/* ---- The event log ---- */

int event_log_emit(struct event_log *log, const struct event *event)
{
	struct house *house = (struct house *)log;
	struct house_event *to;

	if (house->events_stall)
		return -EAGAIN;
	if (house->keep_no_books)
		return 0;
	GROW(house->events, house->event_count);
	to = &house->events[house->event_count++];
	*to = (struct house_event){
		.type = event->type,
		.id = event->id,
		.recipients = event->recipient_count,
		.attempts = event->attempts,
		.next_attempt_us = event->next_attempt_us,
		.time_us = event->time_us,
		.generated = event->generated,
		.has_peer_address = event->peer_address,
		.has_source_address = event->source_address,
		.session = event->session,
		.connect_us = event->connect_us,
		.tls_us = event->tls_us,
		.transaction_us = event->transaction_us,
		.worker = event->worker,
	};
	snprintf(to->site, sizeof(to->site), "%s", event->site ? event->site : "");
	snprintf(to->source, sizeof(to->source), "%s", event->source ? event->source : "");
	snprintf(to->peer, sizeof(to->peer), "%s", event->peer_name ? event->peer_name : "");
	if (event->tls_version)
		snprintf(to->tls, sizeof(to->tls), "%s %s", event->tls_version, event->tls_cipher);
	snprintf(to->recipient, sizeof(to->recipient), "%s", event->recipients[0]);
	snprintf(to->reply, sizeof(to->reply), "%s", event->reply_text ? event->reply_text : "");
	return 0;
}

/* ---- Set-up ---- */

void house_init(struct house *house, uint64_t seed)
{
	const struct disk_sim_settings disk = {
		.seed = seed, .latency_min_us = 50, .latency_max_us = 300};
	struct queue_destination *destination = &house->destinations[0];

	memset(house, 0, sizeof(*house));
	random_init_seed(&house->random, seed);
	random_init_seed(&house->shard_random, seed + 1);
	house->now = (struct mr_now){.mono_us = 1000 * US_PER_S, .wall_us = START_WALL};
	house->disk = disk_sim_create(&disk);
	house->resolver = resolver_sim_create();
	house->worker_count = 1;
	house->worker_chunks = 1024;
	destination->settings = (struct path_settings){
		.tls = TLS_LEVEL_MAY, .connections_max = 10, .recipients_per_message = 100};
	snprintf(house->sources[0].name, VIEW_NAME_MAX, "one");
	snprintf(house->sources[0].ehlo_name, 256, "one.example.net");
	house->sources[0].has_v4 = true;
	house->sources[0].v4 = ip_from_v4(0xc0000201);
	house->members[0].weight = 1;
	snprintf(house->pools[0].name, VIEW_NAME_MAX, "default");
	house->pools[0].member_count = 1;
	house->pools[0].members = house->members;
	house->view = (struct queue_settings_view){
		.revision = 1,
		.source_count = 1,
		.sources = house->sources,
		.pool_count = 1,
		.pools = house->pools,
		.destination_count = 1,
		.destinations = house->destinations,
		.retry_initial_us = 600 * US_PER_S,
		.retry_max_us = 4 * HOUSE_HOUR,
		.retry_factor_percent = 200,
		.retry_jitter_percent = 10,
		.expire_us = 2 * HOUSE_DAY,
		.dsn_return_max = 100000,
		.body_memory_bytes = 64 << 20,
		.hostname = "relay.example.net",
		.postmaster = "postmaster@example.net",
	};
	house->settings = (struct queue_shard_settings){
		.shard = 3,
		.node = 7,
		.messages_max = 200000,
		.recipients_max = 400000,
		.chunks = 512,
		.chunk_home = 100,
		.spool = {.segment_size = 1 << 20,
			  .segments = 256,
			  .segments_initial = 2,
			  .batch_bytes = 256 << 10},
	};
}

static void workers_make(struct house *house)
{
	for (unsigned w = 0; w < house->worker_count; w++) {
		struct house_worker *worker = &house->workers[w];

		if (!worker->chunks)
			worker->chunks = chunk_pool_create((uint16_t)w, house->worker_chunks);
		worker->from_worker = ring_create(4096, sizeof(struct record));
		worker->to_worker = ring_create(4096, sizeof(struct record));
		house->settings.workers[w].from_worker = worker->from_worker;
		house->settings.workers[w].to_worker = worker->to_worker;
		house->settings.workers[w].home = (uint16_t)w;
	}
	house->settings.worker_count = house->worker_count;
}

static void workers_free(struct house *house)
{
	for (unsigned w = 0; w < house->worker_count; w++) {
		struct house_worker *worker = &house->workers[w];

		ring_destroy(worker->from_worker);
		ring_destroy(worker->to_worker);
		chunk_pool_destroy(worker->chunks);
		memset(worker, 0, sizeof(*worker));
	}
}

void house_start(struct house *house)
{
	char error[256] = "";

	workers_make(house);
	disk_sim_set_time(house->disk, house->now.mono_us);
	house->settings.random = &house->shard_random;
	house->settings.resolver = house->resolver;
	house->settings.events = (struct event_log *)house;
	house->settings.spool.disk = house->disk;
	house->settings.spool.random = &house->shard_random;
	house->settings.spool.node = house->settings.node;
	house->settings.spool.shard = house->settings.shard;
	house->shard = queue_shard_create(&house->settings, &house->view, &house->now, error);
	if (!house->shard)
		fail_msg("queue_shard_create: %s", error);
	if (disk_sim_time(house->disk) > house->now.mono_us) {
		uint64_t passed = disk_sim_time(house->disk) - house->now.mono_us;

		house->now.mono_us += passed;
		house->now.wall_us += passed;
	}
}

void house_crash(struct house *house)
{
	for (const struct loan *loan = house->shard->loans; loan; loan = loan->all_next) {
		if (loan->state == LOAN_OUT || loan->state == LOAN_RECORDING)
			house->at_risk += loan->delivery.recipient_count;
	}
	queue_shard_abandon(house->shard);
	house->shard = NULL;
	resolver_sim_drop(house->resolver);
	workers_free(house);
}

void house_power_cut(struct house *house)
{
	disk_sim_cut(house->disk);
	house_crash(house);
}

void house_stop(struct house *house)
{
	queue_shard_destroy(house->shard);
	house->shard = NULL;
	resolver_sim_drop(house->resolver);
	workers_free(house);
}

static void check_chunks(const struct house *house)
{
	uint64_t held = house->shard->body_chunks;
	uint64_t available = chunk_pool_available(house->shard->chunks);
	uint64_t count = chunk_pool_count(house->shard->chunks);

	for (unsigned w = 0; w < house->worker_count; w++) {
		available += chunk_pool_available(house->workers[w].chunks);
		count += house->worker_chunks;
	}
	if (house->shard->commit_count == 0 && house->shard->reads == 0)
		assert_int_equal(count, available + held);
}

void house_finish(struct house *house)
{
	if (house->shard) {
		house->hold = false;
		house->events_stall = false;
		for (unsigned i = 0; i < 100; i++)
			house_step(house, 1000);
		house_check_ledger(house);
		check_chunks(house);
		house_stop(house);
	}
	for (size_t i = 0; i < house->notice_count; i++)
		free(house->notices[i].text);
	free(house->notices);
	free(house->answers);
	free(house->delivered);
	free(house->events);
	house->resolver->destroy(house->resolver);
	house->disk->operations->destroy(house->disk);
}

/* ---- Submissions ---- */

static void put_recipient(struct house_worker *worker, struct submission *submission, char *word)
{
	char *option = strchr(word, '!');

	if (option)
		*option++ = '\0';
	assert_int_equal(
		envelope_put_text(&submission->envelope, worker->chunks, ENVELOPE_RECIPIENT, word),
		0);
	submission->recipients++;
	while (option) {
		char *next = strchr(option, '!');

		if (next)
			*next++ = '\0';
		if (!strncmp(option, "notify=", 7)) {
			uint8_t notify = (uint8_t)atoi(option + 7);

			envelope_put(&submission->envelope, worker->chunks, ENVELOPE_NOTIFY,
				     &notify, 1);
		} else if (!strncmp(option, "orcpt=", 6)) {
			envelope_put_text(&submission->envelope, worker->chunks, ENVELOPE_ORCPT,
					  option + 6);
		}
		option = next;
	}
}

static void put_optional(struct house_worker *worker, struct submission *submission,
			 enum envelope_field field, const char *text)
{
	if (text)
		envelope_put_text(&submission->envelope, worker->chunks, field, text);
}

struct message_id house_submit(struct house *house, unsigned w, const struct house_message *message)
{
	static const char small[] = "Received: here\r\nSubject: test\r\nFrom: a@b\r\n\r\n";
	struct house_worker *worker = &house->workers[w];
	struct chunk *self = chunk_alloc(worker->chunks);
	struct submission *submission = (struct submission *)self->data;
	char *recipients = strdup(message->recipients), *save = NULL;
	const char *header = message->header ? message->header : small;
	struct record record = {.kind = RECORD_COMMIT, .submission = submission};
	uint8_t filler[1000];

	memset(submission, 0, sizeof(*submission));
	submission->self = self;
	submission->id.origin = queue_shard_id_origin(house->shard);
	submission->id.counter = (uint64_t)w << 56 | ++house->serial;
	submission->session = (uint32_t)house->serial;
	submission->flags = message->flags;
	envelope_put_u64(&submission->envelope, worker->chunks, ENVELOPE_RECEIVED_AT,
			 house->now.wall_us);
	envelope_put_text(&submission->envelope, worker->chunks, ENVELOPE_MAIL_FROM, message->from);
	put_optional(worker, submission, ENVELOPE_ENVID, message->envid);
	put_optional(worker, submission, ENVELOPE_TENANT, message->tenant);
	put_optional(worker, submission, ENVELOPE_CAMPAIGN, message->campaign);
	put_optional(worker, submission, ENVELOPE_POOL, message->pool);
	envelope_put_u64(&submission->envelope, worker->chunks, ENVELOPE_HEADER_SIZE,
			 strlen(header));
	for (char *word = strtok_r(recipients, " ", &save); word; word = strtok_r(NULL, " ", &save))
		put_recipient(worker, submission, word);
	free(recipients);
	chunk_list_append(&submission->body, worker->chunks, header, strlen(header));
	memset(filler, 'x', sizeof(filler));
	filler[sizeof(filler) - 2] = '\r';
	filler[sizeof(filler) - 1] = '\n';
	for (size_t left = message->body_size; left > 0;) {
		size_t n = left < sizeof(filler) ? left : sizeof(filler);

		assert_int_equal(chunk_list_append(&submission->body, worker->chunks,
						   filler + sizeof(filler) - n, n),
				 0);
		left -= n;
	}
	assert_true(ring_put(worker->from_worker, &record));
	return submission->id;
}

struct message_id house_send(struct house *house, const char *from, const char *recipients)
{
	const struct house_message message = {
		.from = from, .recipients = recipients, .body_size = 500};
	struct message_id id = house_submit(house, 0, &message);

	for (unsigned i = 0; i < 10000 && house_answer(house, &id) == UINT32_MAX; i++)
		house_step(house, 50);
	assert_int_equal(house_answer(house, &id), COMMIT_DONE);
	return id;
}

void house_submit_many(struct house *house, unsigned count, const char *recipients, size_t size)
{
	const struct house_message message = {
		.from = "", .recipients = recipients, .body_size = size};

	for (unsigned i = 0; i < count; i++) {
		house_submit(house, i % house->worker_count, &message);
		house_step(house, 100);
	}
}

/* ---- Workers ---- */

static struct house_path *worker_path(struct house_worker *worker, uint32_t number)
{
	for (unsigned i = 0; i < worker->path_count; i++) {
		if (worker->paths[i].number == number)
			return &worker->paths[i];
	}
	assert_true(worker->path_count < 4096);
	worker->paths[worker->path_count] = (struct house_path){.number = number};
	return &worker->paths[worker->path_count++];
}

static void check_limits(struct house *house, unsigned w, const struct route *route)
{
	const struct queue_path *path =
		path_at(house->shard, path_by_number(house->shard, route->path));
	uint32_t slots = 0;

	/* By what the shard knows: a connection may end while the next delivery is on its way. */
	assert_true(path->workers[w].outstanding <= 2 * path->workers[w].slots);
	for (w = 0; w < house->worker_count; w++)
		slots += worker_path(&house->workers[w], route->path)->slots;
	assert_true(slots <= route->settings.connections_max);
}

static void take_delivery(struct house *house, unsigned w, struct delivery *delivery)
{
	struct house_worker *worker = &house->workers[w];
	struct house_path *path = worker_path(worker, delivery->route->path);
	uint64_t size = 0;

	for (const struct chunk *chunk = delivery->body; chunk; chunk = chunk->next)
		size += chunk->length;
	assert_int_equal(size, delivery->body_size);
	assert_true(delivery->recipient_count > 0);
	assert_true(delivery->recipient_count <= delivery->route->settings.recipients_per_message);
	path->slots += delivery->may_open;
	path->outstanding++;
	delivery->started_us = house->now.mono_us;
	check_limits(house, w, delivery->route);
	assert_true(worker->held_count < 4096);
	worker->held[worker->held_count++] = delivery;
}

static uint64_t body_hash(const struct delivery *delivery, char **text)
{
	uint64_t hash = 14695981039346656037u;
	size_t size = 0;

	if (text)
		*text = malloc(delivery->body_size + 1);
	for (const struct chunk *chunk = delivery->body; chunk; chunk = chunk->next) {
		for (unsigned i = 0; i < chunk->length; i++)
			hash = (hash ^ chunk->data[i]) * 1099511628211u;
		if (text)
			memcpy(*text + size, chunk->data, chunk->length);
		size += chunk->length;
	}
	if (text)
		(*text)[size] = '\0';
	return hash;
}

static void note_notice(struct house *house, const struct delivery *delivery)
{
	struct house_notice *notice;

	GROW(house->notices, house->notice_count);
	notice = &house->notices[house->notice_count++];
	*notice = (struct house_notice){.id = delivery->id, .flags = delivery->flags};
	snprintf(notice->to, sizeof(notice->to), "%s", delivery->recipients[0].address);
	assert_string_equal(delivery->mail_from, "");
	body_hash(delivery, &notice->text);
}

static void note_delivered(struct house *house, const struct delivery *delivery,
			   const struct delivery_recipient *recipient)
{
	struct house_delivered *to;

	if (house->keep_no_books)
		return;
	if (!house->ignore_duplicates)
		assert_int_equal(house_got(house, &delivery->id, recipient->address), 0);
	GROW(house->delivered, house->delivered_count);
	to = &house->delivered[house->delivered_count++];
	*to = (struct house_delivered){.id = delivery->id,
				       .at_us = house->now.mono_us,
				       .path = delivery->route->path,
				       .hash = body_hash(delivery, NULL)};
	snprintf(to->address, sizeof(to->address), "%s", recipient->address);
}

void house_set_result(struct delivery_recipient *recipient, enum outcome outcome,
		      enum smtp_phase phase, uint16_t code, const char *enhanced, const char *reply)
{
	unsigned class = 0, subject = 0, detail = 0;

	sscanf(enhanced, "%u.%u.%u", &class, &subject, &detail);
	recipient->outcome = (uint8_t)outcome;
	recipient->phase = (uint8_t)phase;
	recipient->remote = code != 0;
	recipient->code = code;
	recipient->enhanced =
		(struct enhanced_code){(uint8_t) class, (uint16_t)subject, (uint16_t)detail};
	snprintf(recipient->reply, sizeof(recipient->reply), "%s", reply);
}

static void answer_delivery(struct house *house, struct house_worker *worker,
			    struct delivery *delivery)
{
	struct house_path *path = worker_path(worker, delivery->route->path);
	const struct record record = {.kind = RECORD_OUTCOME, .delivery = delivery};
	bool connected = true, delivered = false;

	delivery->host = &delivery->route->hosts[0];
	delivery->hosts_tried = 1;
	for (uint32_t i = 0; i < delivery->recipient_count; i++) {
		struct delivery_recipient *recipient = &delivery->recipients[i];

		house_set_result(recipient, OUTCOME_DELIVERED, PHASE_DOT, 250, "2.0.0", "ok");
		if (house->decide)
			house->decide(house, delivery, recipient);
		if (recipient->phase <= PHASE_EHLO && recipient->outcome == OUTCOME_DEFERRED)
			connected = false;
		if (recipient->outcome == OUTCOME_DELIVERED) {
			note_delivered(house, delivery, recipient);
			delivered = true;
		}
	}
	if (delivered && delivery->flags & MESSAGE_GENERATED)
		note_notice(house, delivery);
	path->outstanding--;
	if (connected && path->open < path->slots)
		path->open++;
	if (path->open > worker->most_open)
		worker->most_open = path->open;
	if (path->slots && (!connected || house->close_after_delivery || delivery->slot_closed)) {
		delivery->slot_closed = true;
		path->slots--;
		if (path->open > path->slots)
			path->open = path->slots;
	} else {
		delivery->slot_closed = false;
	}
	if (delivery->hosts_tried == 0)
		delivery->host = NULL;
	assert_true(ring_put(worker->from_worker, &record));
}

static void worker_answers(struct house *house, struct house_worker *worker)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < worker->held_count; i++) {
		struct delivery *delivery = worker->held[i];

		if (house->hold || house->now.mono_us < delivery->started_us + house->hold_us)
			worker->held[kept++] = delivery;
		else
			answer_delivery(house, worker, delivery);
	}
	worker->held_count = kept;
}

static void note_answer(struct house *house, const struct record *record)
{
	struct house_answer *answer;

	if (house->keep_no_books)
		return;
	assert_int_equal(house_answer(house, &record->committed.id), UINT32_MAX);
	GROW(house->answers, house->answer_count);
	answer = &house->answers[house->answer_count++];
	*answer = (struct house_answer){record->committed.id, record->committed.result};
}

static void worker_takes(struct house *house, unsigned w)
{
	struct house_worker *worker = &house->workers[w];
	struct record record;

	while (ring_get(worker->to_worker, &record)) {
		switch (record.kind) {
		case RECORD_COMMITTED:
			note_answer(house, &record);
			break;
		case RECORD_DELIVER:
			take_delivery(house, w, record.delivery);
			break;
		case RECORD_CHUNKS: {
			struct chunk *chunk = record.chunks.head;

			for (uint32_t i = 0; i < record.chunks.count; i++) {
				struct chunk *next = chunk->next;

				chunk_free(worker->chunks, chunk);
				chunk = next;
			}
			break;
		}
		case RECORD_AUTH_ANSWER:
			house->auth_answers++;
			break;
		case RECORD_PATH_CLOSE: {
			struct house_path *path = worker_path(worker, record.slot.path);
			const struct record closed = {
				.kind = RECORD_SLOT_CLOSED,
				.slot = {path->number, path->slots - path->outstanding}};

			if (path->slots > path->outstanding) {
				path->slots = path->outstanding;
				path->open = 0;
				assert_true(ring_put(worker->from_worker, &closed));
			}
			break;
		}
		default:
			fail_msg("a record that shards do not send");
		}
	}
}

/* ---- Time ---- */

void house_step(struct house *house, uint64_t step_us)
{
	disk_sim_set_time(house->disk, house->now.mono_us);
	queue_shard_turn(house->shard, &house->now);
	for (unsigned w = 0; w < house->worker_count; w++) {
		worker_takes(house, w);
		worker_answers(house, &house->workers[w]);
	}
	house->steps++;
	house->now.mono_us += step_us;
	house->now.wall_us += step_us;
}

static bool rings_are_quiet(const struct house *house)
{
	for (unsigned w = 0; w < house->worker_count; w++) {
		if (ring_count(house->workers[w].from_worker) ||
		    ring_count(house->workers[w].to_worker))
			return false;
		if (house->workers[w].held_count && !house->hold)
			return false;
	}
	return true;
}

static uint64_t leap(const struct house *house, uint64_t end_us)
{
	uint64_t next = queue_shard_next_deadline(house->shard);
	uint64_t disk = disk_sim_next(house->disk);

	if (!rings_are_quiet(house) || house->shard->progress)
		return 50;
	if (disk < next)
		next = disk;
	if (next > end_us)
		next = end_us;
	/* Look-ups have no deadline of their own. */
	if (house->shard->lookup_count && next > house->now.mono_us + 10 * US_PER_MS)
		next = house->now.mono_us + 10 * US_PER_MS;
	return next > house->now.mono_us ? next - house->now.mono_us : 50;
}

void house_run(struct house *house, uint64_t duration_us)
{
	uint64_t end = house->now.mono_us + duration_us;

	while (house->now.mono_us < end) {
		house_step(house, 0);
		uint64_t step = leap(house, end);

		house->now.mono_us += step;
		house->now.wall_us += step;
	}
}

bool house_run_dry(struct house *house, uint64_t duration_us)
{
	uint64_t end = house->now.mono_us + duration_us;

	while (house->now.mono_us < end) {
		struct queue_ledger ledger = house_ledger(house);

		if (ledger.queued == 0 && house->shard->commit_count == 0 &&
		    rings_are_quiet(house) && house->shard->index.messages.used == 0)
			return true;
		house_step(house, 0);
		uint64_t step = leap(house, end);

		house->now.mono_us += step;
		house->now.wall_us += step;
	}
	return house_ledger(house).queued == 0;
}

/* ---- Questions ---- */

static bool same_id(const struct message_id *a, const struct message_id *b)
{
	return a->origin == b->origin && a->counter == b->counter;
}

uint32_t house_answer(const struct house *house, const struct message_id *id)
{
	for (size_t i = house->answer_count; i-- > 0;) {
		if (same_id(&house->answers[i].id, id))
			return house->answers[i].result;
	}
	return UINT32_MAX;
}

unsigned house_got(const struct house *house, const struct message_id *id, const char *address)
{
	unsigned count = 0;

	for (size_t i = 0; i < house->delivered_count; i++)
		count += same_id(&house->delivered[i].id, id) &&
			 !strcmp(house->delivered[i].address, address);
	return count;
}

unsigned house_events_of(const struct house *house, enum event_type type,
			 const struct message_id *id)
{
	unsigned count = 0;

	for (size_t i = 0; i < house->event_count; i++)
		count +=
			house->events[i].type == type && (!id || same_id(&house->events[i].id, id));
	return count;
}

const struct house_event *house_last_event(const struct house *house, enum event_type type)
{
	for (size_t i = house->event_count; i-- > 0;) {
		if (house->events[i].type == type)
			return &house->events[i];
	}
	return NULL;
}

struct queue_ledger house_ledger(const struct house *house)
{
	struct queue_ledger ledger;

	queue_shard_ledger(house->shard, &ledger);
	return ledger;
}

void house_check_ledger(const struct house *house)
{
	struct queue_ledger ledger;
	uint64_t states[RECIPIENT_STATE_COUNT], queued = 0;

	queue_shard_ledger(house->shard, &ledger);
	assert_int_equal(ledger.drift, 0);
	assert_int_equal(house->shard->audit_drifts, 0);
	assert_int_equal(ledger.accepted + ledger.generated,
			 ledger.queued + ledger.delivered + ledger.bounced + ledger.expired +
				 ledger.removed + ledger.discarded + ledger.quarantined);
	index_count(&house->shard->index, states);
	for (unsigned i = 0; i < RECIPIENT_DELIVERED; i++)
		queued += states[i];
	assert_int_equal(ledger.queued, queued);
	for (unsigned i = RECIPIENT_COMMITTING; i < RECIPIENT_STATE_COUNT; i++)
		assert_int_equal(states[i], house->shard->index.states[i]);
}

const char *house_why(struct house *house, const struct message_id *id, char *why, size_t size)
{
	json_t *json = queue_shard_show_message(house->shard, id);
	json_t *recipient = json_array_get(json_object_get(json, "recipients"), 0);
	const char *text = json_string_value(json_object_get(recipient, "why"));

	snprintf(why, size, "%s", text ? text : "");
	json_decref(json);
	return why;
}

/* ---- What several tests want ---- */

void house_two_sources(struct house *house, unsigned weight_one, unsigned weight_two)
{
	house->sources[1] = house->sources[0];
	snprintf(house->sources[1].name, VIEW_NAME_MAX, "two");
	house->sources[1].v4 = ip_from_v4(0xc0000202);
	house->members[0] = (struct queue_pool_member){0, weight_one};
	house->members[1] = (struct queue_pool_member){1, weight_two};
	house->pools[0].member_count = 2;
	house->view.source_count = 2;
}

uint64_t house_sum(json_t *array, const char *match, const char *value, const char *field)
{
	uint64_t sum = 0;
	size_t i;
	json_t *one;

	json_array_foreach(array, i, one)
	{
		if (!strcmp(json_string_value(json_object_get(one, match)), value))
			sum += (uint64_t)json_integer_value(json_object_get(one, field));
	}
	json_decref(array);
	return sum;
}

void house_dead_for_an_hour(struct house *house, struct delivery *delivery,
			    struct delivery_recipient *recipient)
{
	if (house->now.wall_us < 1700000000000000 + HOUSE_HOUR)
		house_set_result(recipient, OUTCOME_DEFERRED, PHASE_CONNECT, 0, "4.4.1",
				 "timed out");
}
