/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/spool/model.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#define ORIGIN	   UINT64_C(0x0000000700030001)
#define CHUNKS	   8192u
#define STATE_HEAD (2 * sizeof(uint32_t))

__attribute__((format(printf, 2, 3))) static void violation(struct model *model, const char *text,
							    ...)
{
	va_list arguments;
	char line[256];

	model->violations++;
	if (!model->strict)
		return;
	va_start(arguments, text);
	vsnprintf(line, sizeof(line), text, arguments);
	va_end(arguments);
	print_message("seed %llu: %s\n", (unsigned long long)model->seed, line);
	fail();
}

static uint32_t below(struct model *model, uint32_t n)
{
	return random_below(&model->random, n);
}

static struct message_id id_of(uint32_t message)
{
	return (struct message_id){.origin = ORIGIN, .counter = message};
}

/* ---- Content: a function of message, kind and position ---- */

static uint8_t content(uint32_t message, bool body, uint64_t at)
{
	uint64_t x = ((uint64_t)message << 1 | body) * UINT64_C(0x9e3779b97f4a7c15) +
		     at / 8 * 0x2545f491;

	x ^= x >> 29;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	return (uint8_t)(x >> (8 * (at % 8)));
}

static void make(struct model *model, struct chunk_list *list, uint32_t message, bool body,
		 uint32_t size)
{
	uint8_t piece[1024];
	uint32_t at = 0;

	while (at < size) {
		uint32_t n = size - at < sizeof(piece) ? size - at : (uint32_t)sizeof(piece);

		for (uint32_t i = 0; i < n; i++)
			piece[i] = content(message, body, at + i);
		assert_int_equal(chunk_list_append(list, model->chunks, piece, n), 0);
		at += n;
	}
}

static bool same(uint32_t message, bool body, const uint8_t *data, uint64_t at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] != content(message, body, at + i))
			return false;
	return true;
}

/* ---- Recovery ---- */

static struct model_message *known(struct model *model, const struct message_id *id)
{
	if (id->origin != ORIGIN || id->counter == 0 || id->counter > model->message_count) {
		violation(model, "a message that never was");
		return NULL;
	}
	return &model->messages[id->counter];
}

static void recover_message(void *context, const struct message_id *id, uint32_t flags,
			    const uint8_t *envelope, size_t envelope_size, uint64_t body_size,
			    const struct spool_location *location)
{
	struct model *model = context;
	struct model_message *message = known(model, id);

	if (message == NULL)
		return;
	if (message->seen)
		violation(model, "message %u is reported twice", (unsigned)id->counter);
	if (message->flags != flags || message->envelope_size != envelope_size ||
	    message->body_size != body_size ||
	    !same((uint32_t)id->counter, false, envelope, 0, envelope_size))
		violation(model, "message %u has another envelope", (unsigned)id->counter);
	message->seen = true;
	message->found = *location;
}

static void recover_state(void *context, const struct message_id *id, const uint8_t *data,
			  size_t size)
{
	struct model *model = context;
	struct model_message *message = known(model, id);
	uint32_t head[2];

	if (message == NULL)
		return;
	if (size < STATE_HEAD) {
		violation(model, "a state of %zu bytes", size);
		return;
	}
	memcpy(head, data, sizeof(head));
	if (head[1] != 0) {
		model->finish_seen[head[1]] = 1;
		if (head[1] > model->finish_found)
			model->finish_found = head[1];
	}
	if (!message->seen)
		return;
	if (head[0] < message->state)
		violation(model, "message %u: state %u after %u", (unsigned)id->counter, head[0],
			  message->state);
	message->state = head[0];
}

static void recover_finished(void *context, const struct message_id *id)
{
	struct model *model = context;
	struct model_message *message = known(model, id);

	if (message == NULL)
		return;
	if (!message->seen || message->ended)
		violation(model, "message %u ends unasked", (unsigned)id->counter);
	message->ended = true;
}

static void recover_note(void *context, const uint8_t *data, size_t size)
{
	struct model *model = context;

	if (size != sizeof(model->note_found))
		violation(model, "a note of %zu bytes", size);
	else
		memcpy(&model->note_found, data, sizeof(model->note_found));
}

static const struct spool_recovery *recovery_of(struct model *model, struct spool_recovery *calls)
{
	*calls = (struct spool_recovery){.context = model,
					 .message = recover_message,
					 .state = recover_state,
					 .finished = recover_finished,
					 .note = recover_note};
	for (uint32_t i = 1; i <= model->message_count; i++) {
		struct model_message *message = &model->messages[i];

		message->seen = false;
		message->ended = false;
		message->state = 0;
	}
	model->note_found = 0;
	model->finish_found = 0;
	memset(model->finish_seen, 0, MODEL_MESSAGES + 1);
	return calls;
}

static bool noticed(const struct spool_recovered *r)
{
	return r->corrupt_batches > 0 || r->messages_damaged > 0 || r->headers_damaged > 0;
}

static void check_message(struct model *model, uint32_t i, bool forgiving)
{
	const struct model_message *message = &model->messages[i];
	const struct model_message *partner = &model->messages[message->partner];
	bool live = message->seen && !message->ended;

	if (message->status == MODEL_DURABLE && !live && !forgiving)
		violation(model, "message %u was acknowledged and is lost", i);
	if (message->status == MODEL_GONE && live && !forgiving)
		violation(model, "message %u came back after its end", i);
	if (live && !forgiving &&
	    (message->state < message->state_durable || message->state > message->state_appended))
		violation(model, "message %u: state %u, acknowledged %u, appended %u", i,
			  message->state, message->state_durable, message->state_appended);
	if (message->status == MODEL_APPENDING && message->partner != 0 && partner->seen &&
	    !partner->ended && !forgiving &&
	    message->seen != (partner->state >= message->partner_state))
		violation(model, "the group of message %u is torn", i);
}

static void check(struct model *model, const struct spool_recovered *r)
{
	bool forgiving = model->damaged && noticed(r);
	uint32_t known_to;

	for (uint32_t i = 1; i <= model->message_count; i++)
		check_message(model, i, forgiving);
	known_to =
		model->finish_found > model->note_found ? model->finish_found : model->note_found;
	if (forgiving)
		return;
	if (known_to < model->finish_durable || known_to > model->finish_appended)
		violation(model, "%u ends are known, %u were acknowledged", known_to,
			  model->finish_durable);
	for (uint32_t i = model->note_found + 1; i <= known_to; i++)
		if (!model->finish_seen[i])
			violation(model, "end %u is neither in a note nor in the log", i);
	if (!model->damaged && noticed(r) && r->headers_damaged == 0)
		violation(model, "corruption is reported where there is none");
}

struct promise {
	struct promise *next;
	struct promise **link;
	struct model *model;
	uint32_t message;
	uint32_t state;
	uint32_t finish;
	enum { PROMISE_MESSAGE, PROMISE_STATE, PROMISE_END, PROMISE_NOTE } kind;
};

static void forget(struct promise *made)
{
	*made->link = made->next;
	if (made->next != NULL)
		made->next->link = made->link;
	made->model->pending--;
	free(made);
}

/* Go on from what was recovered: nobody answers the old promises. */
static void adopt(struct model *model)
{
	for (uint32_t i = 1; i <= model->message_count; i++) {
		struct model_message *message = &model->messages[i];

		chunk_list_free(&message->envelope, model->chunks);
		chunk_list_free(&message->body, model->chunks);
		message->status = message->seen && !message->ended ? MODEL_DURABLE : MODEL_GONE;
		message->location = message->found;
		message->state_appended = message->state_durable = message->state;
		message->partner = 0;
		message->reading = false;
		if (message->status == MODEL_DURABLE)
			message->finish = 0;
	}
	model->finish_durable =
		model->finish_found > model->note_found ? model->finish_found : model->note_found;
	model->finish_appended = model->finish_durable;
	while (model->promises != NULL)
		forget(model->promises);
}

static size_t snapshot(void *context, const struct message_id *id, void *to, size_t max)
{
	struct model *model = context;
	const struct model_message *message = &model->messages[id->counter];
	uint32_t head[2] = {message->state_appended, 0};

	assert_true(max >= sizeof(head));
	if (message->status != MODEL_DURABLE || message->state_appended == 0)
		return 0;
	memcpy(to, head, sizeof(head));
	return sizeof(head);
}

static size_t note_now(void *context, void *to, size_t max)
{
	struct model *model = context;

	assert_true(max >= sizeof(uint32_t));
	memcpy(to, &model->finish_appended, sizeof(uint32_t));
	return sizeof(uint32_t);
}

bool model_open(struct model *model)
{
	struct spool_recovery calls;

	model->spool = spool_open(&model->settings, recovery_of(model, &calls), &model->now,
				  &model->recovered, model->error);
	if (model->spool == NULL)
		return false;
	if (model->simulated)
		model->now.mono_us = disk_sim_time(model->disk);
	check(model, &model->recovered);
	adopt(model);
	if (model->snapshots)
		spool_set_snapshots(model->spool, snapshot, note_now, model);
	model_check_segments(model);
	return true;
}

void model_close(struct model *model)
{
	if (model->spool != NULL)
		spool_close(model->spool);
	model->spool = NULL;
	if (model->simulated)
		model->now.mono_us = disk_sim_time(model->disk);
}

static void crash(struct model *model)
{
	if (model->simulated)
		disk_sim_cut(model->disk);
	if (model->spool != NULL)
		spool_abandon(model->spool);
	model->spool = NULL;
}

void model_cut(struct model *model)
{
	crash(model);
	if (!model_open(model))
		violation(model, "it does not open: %s", model->error);
}

void model_try(struct model *model, struct disk *disk)
{
	struct spool_settings settings = model->settings;
	struct spool_recovered recovered;
	struct spool_recovery calls;
	struct mr_random random;
	struct spool *spool;

	random_init_seed(&random, model->seed ^ 0x5eed);
	settings.random = &random;
	settings.disk = disk;
	spool = spool_open(&settings, recovery_of(model, &calls), &model->now, &recovered,
			   model->error);
	model->recovered = recovered;
	if (spool == NULL) {
		violation(model, "a fork does not open: %s", model->error);
		return;
	}
	check(model, &recovered);
	spool_abandon(spool);
}

/* ---- Appending ---- */

static void kept(void *user, int result)
{
	struct promise promise = *(struct promise *)user;
	struct model *model = promise.model;
	struct model_message *message = &model->messages[promise.message];

	forget(user);
	model->failed += result != 0;
	switch (promise.kind) {
	case PROMISE_MESSAGE:
		chunk_list_free(&message->envelope, model->chunks);
		chunk_list_free(&message->body, model->chunks);
		message->status = result == 0 ? MODEL_DURABLE : MODEL_APPENDING;
		break;
	case PROMISE_STATE:
		if (result == 0 && promise.state > message->state_durable)
			message->state_durable = promise.state;
		break;
	case PROMISE_END:
		if (result != 0)
			break;
		message->status = MODEL_GONE;
		if (promise.finish > model->finish_durable)
			model->finish_durable = promise.finish;
		break;
	case PROMISE_NOTE:
		break;
	}
}

static struct promise *promise(struct model *model, int kind, uint32_t message)
{
	struct promise *made = calloc(1, sizeof(*made));

	assert_non_null(made);
	made->model = model;
	made->kind = kind;
	made->message = message;
	made->next = model->promises;
	made->link = &model->promises;
	if (made->next != NULL)
		made->next->link = &made->next;
	model->promises = made;
	model->pending++;
	return made;
}

uint32_t model_append(struct model *model, uint32_t envelope_size, uint32_t body_size,
		      uint32_t flags, int *result)
{
	uint32_t number = model->message_count + 1;
	struct model_message *message = &model->messages[number];
	struct message_id id = id_of(number);
	struct promise *made;
	int error;

	assert_true(number < MODEL_MESSAGES);
	*message = (struct model_message){
		.flags = flags, .envelope_size = envelope_size, .body_size = body_size};
	make(model, &message->envelope, number, false, envelope_size);
	make(model, &message->body, number, true, body_size);
	made = promise(model, PROMISE_MESSAGE, number);
	message->status = MODEL_APPENDING;
	model->message_count = number;
	error = spool_append_message(model->spool, &id, flags, &message->envelope, &message->body,
				     &message->location, kept, made);
	if (result != NULL)
		*result = error;
	if (error == 0)
		return number;
	forget(made);
	model->message_count--;
	chunk_list_free(&message->envelope, model->chunks);
	chunk_list_free(&message->body, model->chunks);
	message->status = MODEL_NONE;
	return 0;
}

static int append_state(struct model *model, uint32_t number, uint32_t size, uint32_t finish)
{
	struct model_message *message = &model->messages[number];
	struct message_id id = id_of(number);
	struct promise *made = promise(model, PROMISE_STATE, number);
	uint8_t *data = calloc(1, size + STATE_HEAD);
	uint32_t head[2] = {message->state_appended + 1, finish};
	int result;

	memcpy(data, head, sizeof(head));
	made->state = head[0];
	result = spool_append_state(model->spool, &id, data, size + STATE_HEAD, kept, made);
	free(data);
	if (result != 0)
		forget(made);
	else
		message->state_appended++;
	return result;
}

int model_state(struct model *model, uint32_t number, uint32_t size)
{
	return append_state(model, number, size, 0);
}

void model_note(struct model *model)
{
	struct promise *made = promise(model, PROMISE_NOTE, 0);

	if (spool_append_note(model->spool, &model->finish_appended, sizeof(model->finish_appended),
			      kept, made) != 0)
		forget(made);
}

int model_end(struct model *model, uint32_t number)
{
	struct model_message *message = &model->messages[number];
	struct message_id id = id_of(number);
	struct promise *made;
	int result;

	assert_int_equal(message->status, MODEL_DURABLE);
	spool_group_begin(model->spool);
	result = append_state(model, number, 8, model->finish_appended + 1);
	if (result == 0) {
		made = promise(model, PROMISE_END, number);
		made->finish = ++model->finish_appended;
		result = spool_append_finished(model->spool, &id, &message->location, kept, made);
		assert_int_equal(result, 0);
		message->status = MODEL_FINISHING;
		if (below(model, 4) == 0)
			model_note(model);
	}
	spool_group_end(model->spool);
	return result;
}

uint32_t model_group(struct model *model, uint32_t body_size, uint32_t about)
{
	uint32_t number = 0;

	spool_group_begin(model->spool);
	number = model_append(model, 60, body_size, MESSAGE_GENERATED, NULL);
	if (number != 0 && append_state(model, about, 20, 0) == 0) {
		model->messages[number].partner = about;
		model->messages[number].partner_state = model->messages[about].state_appended;
	}
	spool_group_end(model->spool);
	return number;
}

/* ---- Reading ---- */

static void read_back(void *user, int result, struct chunk_list *body)
{
	struct promise promise = *(struct promise *)user;
	struct model *model = promise.model;
	struct model_message *message = &model->messages[promise.message];
	struct chunk_cursor cursor = chunk_list_begin(body);
	const uint8_t *data;
	uint64_t at = 0;
	size_t n;

	forget(user);
	message->reading = false;
	if (result != 0) {
		model->read_failed++;
		if (!model->damaged)
			violation(model, "message %u cannot be read: %d", promise.message, result);
		return;
	}
	if (body->size != message->body_size)
		violation(model, "message %u: %llu bytes of %u", promise.message,
			  (unsigned long long)body->size, message->body_size);
	while ((n = chunk_cursor_span(&cursor, &data)) > 0) {
		if (!same(promise.message, true, data, at, n)) {
			violation(model, "message %u has another body", promise.message);
			break;
		}
		at += n;
		chunk_cursor_advance(&cursor, n);
	}
	chunk_list_free(body, model->chunks);
}

bool model_read(struct model *model, uint32_t number)
{
	struct model_message *message = &model->messages[number];
	struct message_id id = id_of(number);
	struct promise *made = promise(model, PROMISE_NOTE, number);

	message->reading = true;
	if (spool_read_body(model->spool, &id, &message->location, model->chunks, read_back,
			    made) == 0)
		return true;
	forget(made);
	message->reading = false;
	return false;
}

void model_read_all(struct model *model)
{
	for (uint32_t i = 1; i <= model->message_count; i++)
		if (model->messages[i].status == MODEL_DURABLE)
			while (!model_read(model, i))
				model_turn(model, 50);
	model_settle(model);
}

/* ---- Time ---- */

void model_turn(struct model *model, uint64_t step_us)
{
	model->now.mono_us += step_us;
	model->now.wall_us += step_us;
	if (model->simulated) {
		disk_sim_set_time(model->disk, model->now.mono_us);
	} else {
		usleep(20); /* a real disk takes its time, however often it is asked */
		clock_read(&model->now);
	}
	spool_turn(model->spool, &model->now);
}

void model_settle(struct model *model)
{
	for (unsigned i = 0; model->pending > 0; i++) {
		if (i > 1000000) {
			violation(model, "%u appends are never answered", model->pending);
			return;
		}
		model_turn(model, 20);
	}
}

void model_check_segments(struct model *model)
{
	struct spool_statistics s;

	spool_statistics(model->spool, &s);
	if (s.segments_free + s.segments_live + s.segments_quarantined != s.segments_total)
		violation(model, "%u + %u + %u segments are not %u", s.segments_free,
			  s.segments_live, s.segments_quarantined, s.segments_total);
}

uint32_t model_pick(struct model *model)
{
	if (model->message_count == 0)
		return 0;
	for (unsigned i = 0; i < 20; i++) {
		uint32_t number = 1 + below(model, model->message_count);

		/* The young are picked more often, as in life. */
		if (below(model, 2) == 0 && model->message_count > 20)
			number = model->message_count - below(model, 20);
		if (model->messages[number].status == MODEL_DURABLE &&
		    !model->messages[number].reading)
			return number;
	}
	return 0;
}

uint32_t model_count(const struct model *model, enum model_status status)
{
	uint32_t count = 0;

	for (uint32_t i = 1; i <= model->message_count; i++)
		count += model->messages[i].status == status;
	return count;
}

/* ---- A life ---- */

static void step(struct model *model, const struct model_plan *plan)
{
	uint32_t number = model_pick(model);
	uint32_t dice = below(model, 100);

	if (dice < plan->end_percent) {
		if (number != 0)
			model_end(model, number);
	} else if (dice < plan->end_percent + 10) {
		if (number != 0)
			model_state(model, number, below(model, 200));
	} else if (dice < plan->end_percent + 14) {
		if (number != 0)
			model_group(model, below(model, 2000), number);
	} else if (dice < plan->end_percent + 18) {
		if (number != 0)
			model_read(model, number);
	} else {
		bool big = plan->big && below(model, 12) == 0;

		model_append(model, 20 + below(model, 300),
			     below(model, big ? plan->body_max * 16 : plan->body_max), 0, NULL);
	}
}

void model_live(struct model *model, const struct model_plan *plan)
{
	for (unsigned i = 0; i < plan->steps && model->message_count + 2 < MODEL_MESSAGES; i++) {
		if (plan->cut_in > 0 && below(model, plan->cut_in) == 0) {
			model_cut(model);
		} else if (plan->restart_in > 0 && below(model, plan->restart_in) == 0) {
			model_close(model);
			if (!model_open(model))
				violation(model, "it does not open: %s", model->error);
			else if (!model->recovered.clean_stop && model->strict)
				violation(model, "an orderly stop is not recognised");
		} else if (below(model, 3) == 0) {
			model_turn(model, below(model, 400));
		} else {
			step(model, plan);
		}
		if (model->spool == NULL)
			return;
	}
}

/* ---- Making and taking apart ---- */

void model_init(struct model *model, struct disk *disk, uint64_t seed)
{
	*model = (struct model){.disk = disk, .seed = seed, .strict = true, .snapshots = true};
	random_init_seed(&model->random, seed);
	random_init_seed(&model->spool_random, seed ^ 0x5b001);
	model->now = (struct mr_now){.mono_us = 1000000, .wall_us = 1700000000000000};
	model->simulated = disk == NULL;
	if (model->simulated) {
		struct disk_sim_settings sim = {
			.seed = seed, .latency_min_us = 40, .latency_max_us = 400};

		model->disk = disk_sim_create(&sim);
		disk_sim_set_time(model->disk, model->now.mono_us);
	}
	/* One for all models of the process: making it touches all its memory. */
	static struct chunk_pool *pool;

	if (pool == NULL)
		pool = chunk_pool_create(1, CHUNKS);
	model->chunks = pool;
	model->messages = calloc(MODEL_MESSAGES + 1, sizeof(*model->messages));
	model->finish_seen = calloc(1, MODEL_MESSAGES + 1);
	assert_true(model->chunks != NULL && model->messages != NULL && model->finish_seen != NULL);
	model->settings = (struct spool_settings){
		.disk = model->disk,
		.random = &model->spool_random,
		.node = 7,
		.shard = 3,
		.segment_size = 256 << 10,
		.segments = 24,
		.segments_initial = 4,
		.batch_bytes = 16 << 10,
		.batch_wait_us = 100,
	};
}

void model_finish(struct model *model)
{
	if (model->spool != NULL)
		crash(model);
	for (uint32_t i = 1; i <= model->message_count; i++) {
		chunk_list_free(&model->messages[i].envelope, model->chunks);
		chunk_list_free(&model->messages[i].body, model->chunks);
	}
	while (model->promises != NULL)
		forget(model->promises);
	assert_int_equal(chunk_pool_available(model->chunks), CHUNKS);
	free(model->messages);
	free(model->finish_seen);
	disk_close(model->disk);
}
