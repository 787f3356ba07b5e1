/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Operations: what was appended and is not over. Small ones go through one queue, in order; a big
 * message goes beside it, a share in each batch. An operation lives until its `done` was called.
 */
#include "control/queue/spool_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void operation_push(struct operation_list *list, struct operation *operation)
{
	operation->next = NULL;
	if (list->head == NULL)
		list->head = operation;
	else
		list->tail->next = operation;
	list->tail = operation;
}

struct operation *operation_pop(struct operation_list *list)
{
	struct operation *operation = list->head;

	if (operation != NULL)
		list->head = operation->next;
	return operation;
}

void operation_prepend(struct operation_list *list, struct operation_list *front)
{
	if (front->head == NULL)
		return;
	front->tail->next = list->head;
	if (list->head == NULL)
		list->tail = front->tail;
	list->head = front->head;
	front->head = NULL;
}

struct operation *operation_new(enum operation_kind kind, size_t size, spool_done done, void *user)
{
	struct operation *operation = calloc(1, sizeof(*operation) + size);

	if (operation == NULL)
		return NULL;
	operation->kind = kind;
	operation->size = (uint32_t)size;
	operation->done = done;
	operation->user = user;
	operation->bytes = spool_record_bytes(size);
	return operation;
}

void operation_free(struct operation *operation)
{
	free(operation->flat);
	free(operation);
}

/* What an empty batch takes. */
static uint64_t batch_capacity(const struct spool *spool)
{
	return spool->batch_max - sizeof(struct spool_batch_header) - SPOOL_BATCH_SPARE;
}

void operation_queue(struct spool *spool, struct operation *operation)
{
	if (operation->big) {
		operation_push(&spool->streams, operation);
		return;
	}
	operation->serial = ++spool->queued_serial;
	operation_push(&spool->fifo, operation);
}

static void enqueue(struct spool *spool, struct operation *operation)
{
	if (spool->group_depth > 0)
		operation->big = false;
	spool->queued_cost += operation_cost(operation);
	if (spool->group_depth > 0) {
		operation_push(&spool->group, operation);
	} else {
		operation_queue(spool, operation);
		spool_fill(spool);
	}
}

void spool_append_own(struct spool *spool, struct operation *operation)
{
	/* Not a part of a group that happens to be open. */
	spool->queued_cost += operation_cost(operation);
	operation_queue(spool, operation);
	spool_fill(spool);
}

/* Bytes that the segments take. */
static uint64_t room_left(const struct spool *spool, uint64_t each)
{
	uint64_t room = spool_available(spool) * each;

	if (spool->current != SPOOL_NO_SLOT) {
		const struct segment *segment = spool_segment(spool, spool->current);
		uint64_t left = segment_limit(segment) - segment->end;

		/* What does not fit in the rest goes on into the next. */
		if (left > 2 * (uint64_t)spool->batch_max)
			room += left - 2 * (uint64_t)spool->batch_max;
	}
	return room;
}

/* New mail stops earlier than all this: spool->accepting. */
bool spool_has_room(const struct spool *spool, enum spool_purpose purpose, uint64_t cost)
{
	uint64_t each = spool->settings.segment_size - SPOOL_DATA_START - 2 * SPOOL_BLOCK;
	uint64_t kept = each / 16 * purpose;

	if (purpose >= SPOOL_FOR_PROMISE)
		kept += spool->promised;
	return room_left(spool, each) >= spool->queued_cost + cost + kept;
}

bool spool_promise(struct spool *spool, uint64_t bytes)
{
	if (spool->read_only || !spool_has_room(spool, SPOOL_FOR_PROMISE, bytes))
		return false;
	spool->promised += bytes;
	return true;
}

void spool_redeem(struct spool *spool, uint64_t bytes)
{
	assert(bytes <= spool->promised);
	spool->promised -= bytes;
}

bool spool_takes_records(const struct spool *spool, uint64_t bytes, bool finishing)
{
	return spool_has_room(spool, finishing ? SPOOL_FOR_FINISH : SPOOL_FOR_RECORD, bytes);
}

static int check_append(const struct spool *spool, enum spool_purpose purpose, uint64_t bytes)
{
	if (spool->read_only)
		return -EROFS;
	return spool_has_room(spool, purpose, bytes) ? 0 : -ENOSPC;
}

static bool fits_a_segment(const struct spool *spool, uint64_t bytes)
{
	const struct spool_settings *settings = &spool->settings;

	return bytes <= spool_message_max(settings->segment_size, settings->batch_bytes);
}

int spool_append_message(struct spool *spool, const struct message_id *id, uint32_t flags,
			 const struct chunk_list *envelope, const struct chunk_list *body,
			 struct spool_location *location, spool_done done, void *user)
{
	uint64_t bytes = envelope->size + body->size;
	int result = check_append(spool, SPOOL_FOR_MESSAGE,
				  bytes > spool->batch_max / 4 ? 2 * bytes : bytes);
	struct operation *operation;
	struct live_message *live;

	if (result != 0)
		return result;
	if ((flags & MESSAGE_GENERATED) == 0 && !spool->accepting)
		return -ENOSPC;
	if (envelope->size > UINT32_MAX || !fits_a_segment(spool, bytes))
		return -EFBIG;
	operation = operation_new(OPERATION_MESSAGE, 0, done, user);
	if (operation == NULL)
		return -ENOMEM;
	operation->handle = live_new(spool);
	if (operation->handle == 0) {
		operation_free(operation);
		return -ENOMEM;
	}
	operation->id = *id;
	operation->flags = flags;
	operation->envelope = *envelope;
	operation->body = *body;
	operation->envelope_size = (uint32_t)envelope->size;
	operation->body_size = body->size;
	operation->bytes =
		spool_record_bytes(sizeof(struct spool_begin) + envelope->size + body->size) +
		spool_record_bytes(sizeof(struct spool_commit));
	operation->big = operation->bytes > spool->batch_max / 4;
	live = spool_live(spool, operation->handle);
	*location = (struct spool_location){
		.handle = operation->handle, .serial = live->serial, .size = operation->bytes};
	spool->statistics.appends++;
	enqueue(spool, operation);
	return 0;
}

static int append_data(struct spool *spool, enum operation_kind kind, const struct message_id *id,
		       const void *data, size_t size, spool_done done, void *user)
{
	size_t front = id != NULL ? sizeof(struct spool_id) : 0;
	int result = check_append(spool, SPOOL_FOR_FINISH, front + size);
	struct operation *operation;

	if (result != 0)
		return result;
	if (spool_record_bytes(front + size) > batch_capacity(spool))
		return -EFBIG;
	operation = operation_new(kind, front + size, done, user);
	if (operation == NULL)
		return -ENOMEM;
	if (id != NULL) {
		struct spool_id stored = {.origin = id->origin, .counter = id->counter};

		operation->id = *id;
		memcpy(operation->data, &stored, sizeof(stored));
	}
	memcpy(operation->data + front, data, size);
	spool->statistics.appends++;
	enqueue(spool, operation);
	return 0;
}

int spool_append_state(struct spool *spool, const struct message_id *id, const void *data,
		       size_t size, spool_done done, void *user)
{
	return append_data(spool, OPERATION_STATE, id, data, size, done, user);
}

int spool_append_note(struct spool *spool, const void *data, size_t size, spool_done done,
		      void *user)
{
	return append_data(spool, OPERATION_NOTE, NULL, data, size, done, user);
}

int spool_append_finished(struct spool *spool, const struct message_id *id,
			  const struct spool_location *location, spool_done done, void *user)
{
	struct live_message *live = spool_live(spool, location->handle);
	int result = check_append(spool, SPOOL_FOR_FINISH, sizeof(struct spool_place));
	struct operation *operation;

	assert(live->serial == location->serial && live->slot != SPOOL_NO_SLOT);
	assert((live->flags & LIVE_FINISHING) == 0);
	if (result != 0)
		return result;
	operation = operation_new(OPERATION_FINISHED, sizeof(struct spool_place), done, user);
	if (operation == NULL)
		return -ENOMEM;
	operation->id = *id;
	operation->handle = location->handle;
	live->flags |= LIVE_FINISHING;
	spool->statistics.appends++;
	enqueue(spool, operation);
	return 0;
}

void spool_group_begin(struct spool *spool)
{
	spool->group_depth++;
}

void spool_group_end(struct spool *spool)
{
	struct operation *first = spool->group.head;
	uint64_t bytes = 0;
	uint32_t count = 0;

	assert(spool->group_depth > 0);
	if (--spool->group_depth > 0 || first == NULL)
		return;
	for (struct operation *o = first; o != NULL; o = o->next) {
		bytes += o->bytes;
		count++;
	}
	if (bytes > batch_capacity(spool) || spool->read_only) {
		while ((first = operation_pop(&spool->group)) != NULL) {
			spool->queued_cost -= operation_cost(first);
			operation_push(&spool->refused, first);
		}
		return;
	}
	first->group_count = count;
	first->group_bytes = bytes;
	while ((first = operation_pop(&spool->group)) != NULL)
		operation_queue(spool, first);
	spool_fill(spool);
}

/* An operation that will never be durable. */
static void fail(struct spool *spool, struct operation *operation, int result)
{
	if (operation->kind == OPERATION_MESSAGE && !operation->copy)
		live_free(spool, operation->handle);
	else if (operation->kind == OPERATION_FINISHED)
		spool_live(spool, operation->handle)->flags &= (uint8_t)~LIVE_FINISHING;
	else if (operation->kind == OPERATION_LIVE_SET)
		spool_segment(spool, operation->target)->live_set_pending = false;
	if (operation->done != NULL)
		operation->done(operation->user, result);
	operation_free(operation);
}

static void fail_list(struct spool *spool, struct operation_list *list, int result)
{
	struct operation_list mine = *list;
	struct operation *operation;

	list->head = NULL;
	while ((operation = operation_pop(&mine)) != NULL)
		fail(spool, operation, result);
}

bool spool_tell_refused(struct spool *spool)
{
	if (spool->refused.head == NULL)
		return false;
	fail_list(spool, &spool->refused, spool->read_only ? -EROFS : -EMSGSIZE);
	return true;
}

void spool_fail_all(struct spool *spool, int result)
{
	struct operation_list all = {0};
	struct operation_list *lists[] = {
		spool->flying != NULL ? &spool->flying->operations : NULL,
		spool->open != NULL ? &spool->open->operations : NULL,
		&spool->fifo,
		&spool->streams,
	};
	struct operation *operation;

	/* The callbacks may append, and are refused. */
	spool->read_only = true;
	spool_update_accepting(spool);
	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		while (lists[i] != NULL && (operation = operation_pop(lists[i])) != NULL)
			operation_push(&all, operation);
	if (spool->stream.operation != NULL)
		operation_push(&all, spool->stream.operation);
	spool->stream.operation = NULL;
	spool->open = NULL;
	spool->queued_cost = 0;
	fail_list(spool, &all, result);
}

static void drop_list(struct operation_list *list)
{
	struct operation *operation;

	while ((operation = operation_pop(list)) != NULL)
		operation_free(operation);
}

void spool_drop_all(struct spool *spool)
{
	drop_list(&spool->batches[0].operations);
	drop_list(&spool->batches[1].operations);
	drop_list(&spool->fifo);
	drop_list(&spool->streams);
	drop_list(&spool->group);
	drop_list(&spool->refused);
	if (spool->stream.operation != NULL)
		operation_free(spool->stream.operation);
}
