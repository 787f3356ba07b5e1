/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Bodies in memory. A body stays from its submission until the first attempt of all its recipients
 * ended; then, or when the budget is passed (the longest unused first), it leaves memory and is
 * read back from the spool when due. Several deliveries may hold one body; it never leaves while
 * anyone does.
 *
 * Chunks keep their home: those of a worker go back by ring, batched once a turn; those read back
 * are the shard's own. Part of the own pool is kept for notices, which must not starve behind
 * deliveries.
 */
#include "control/queue/shard.h"

#include <assert.h>
#include <errno.h>

#define BODY_LINK offsetof(struct queue_body, link)
/** Reads under way at once. */
#define READS_MAX 64u

static struct queue_body *body_at(const struct queue_shard *shard, uint32_t b)
{
	return slab_at(&shard->bodies, b);
}

void chunk_goes_home(struct queue_shard *shard, struct chunk *chunk)
{
	if (chunk->home == shard->settings.chunk_home) {
		chunk_free(shard->chunks, chunk);
		return;
	}
	for (unsigned w = 0; w < shard->settings.worker_count; w++) {
		if (shard->settings.workers[w].home == chunk->home) {
			chunk_list_push(&shard->outboxes[w].home, chunk);
			return;
		}
	}
	assert(!"a chunk without a home");
}

void chunks_go_home(struct queue_shard *shard, struct chunk_list *list)
{
	struct chunk *chunk = list->head, *next;

	/* As a rule all are of one worker: one splice, no walk over cold memory. */
	if (chunk && chunk->home == list->tail->home && chunk->home != shard->settings.chunk_home) {
		for (unsigned w = 0; w < shard->settings.worker_count; w++) {
			if (shard->settings.workers[w].home == chunk->home) {
				chunk_list_splice(&shard->outboxes[w].home, list);
				return;
			}
		}
	}
	for (; chunk; chunk = next) {
		next = chunk->next;
		chunk_goes_home(shard, chunk);
	}
	*list = (struct chunk_list){0};
}

static void body_set_idle(struct queue_shard *shard, uint32_t b, bool idle)
{
	struct queue_body *body = body_at(shard, b);

	if (body->idle == idle)
		return;
	body->idle = idle;
	if (idle)
		slab_list_push(&shard->idle_bodies, &shard->bodies, BODY_LINK, b);
	else
		slab_list_remove(&shard->idle_bodies, &shard->bodies, BODY_LINK, b);
}

static void body_drop(struct queue_shard *shard, uint32_t b)
{
	struct queue_body *body = body_at(shard, b);

	assert(body->loans == 0 && body->state == BODY_PRESENT);
	body_set_idle(shard, b, false);
	shard->body_chunks -= body->list.chunks;
	shard->body_bytes -= body->list.size;
	chunks_go_home(shard, &body->list);
	index_message(&shard->index, body->message)->body = 0;
	slab_free(&shard->bodies, b);
}

void body_adopt(struct queue_shard *shard, uint32_t m, struct chunk_list *list)
{
	uint32_t b = slab_alloc(&shard->bodies);
	struct queue_body *body;

	if (!b) {
		chunks_go_home(shard, list);
		return;
	}
	body = body_at(shard, b);
	body->message = m;
	body->list = *list;
	body->state = BODY_PRESENT;
	*list = (struct chunk_list){0};
	index_message(&shard->index, m)->body = b;
	shard->body_chunks += body->list.chunks;
	shard->body_bytes += body->list.size;
	body_set_idle(shard, b, true);
}

static void body_failed(struct queue_shard *shard, uint32_t b, int result)
{
	struct queue_body *body = body_at(shard, b);
	struct loan *loan = body->readers;
	uint32_t m = body->message;

	body->readers = NULL;
	index_message(&shard->index, m)->body = 0;
	/* Before anybody reads it again: the job must not give back what another holds then. */
	job_body_failed(shard, m);
	slab_free(&shard->bodies, b);
	while (loan) {
		struct loan *next = loan->next;

		loan->next = NULL;
		loan_body_ready(loan, result);
		loan = next;
	}
	message_release(shard, m);
}

static void body_was_read(void *user, int result, struct chunk_list *list)
{
	struct queue_body *body = user;
	struct queue_shard *shard = body->shard;
	uint32_t b = body->index, m = body->message;
	struct queue_message *message = index_message(&shard->index, m);
	struct loan *loan;

	shard->reads--;
	shard->progress = true;
	if (result == 0 && list->size != message->body_size)
		result = -EBADMSG;
	if (result == -EBADMSG)
		shard->counters.spool_corrupt++;
	if (result < 0) {
		if (list)
			chunks_go_home(shard, list);
		body_failed(shard, b, result);
		return;
	}
	shard->counters.bodies_read++;
	body->list = *list;
	*list = (struct chunk_list){0};
	body->state = BODY_PRESENT;
	shard->body_chunks += body->list.chunks;
	shard->body_bytes += body->list.size;
	loan = body->readers;
	body->readers = NULL;
	if (body->loans == 0)
		body_set_idle(shard, b, true);
	while (loan) {
		struct loan *next = loan->next;

		loan->next = NULL;
		loan_body_ready(loan, 0);
		loan = next;
	}
	/* It may have ended while it was read. */
	message_release(shard, m);
}

static bool chunks_suffice(struct queue_shard *shard, uint64_t size)
{
	uint64_t needed = size / CHUNK_DATA + 1;

	/* The last eighth is for notices. */
	return needed + chunk_pool_count(shard->chunks) / 8 <= chunk_pool_available(shard->chunks);
}

static int body_read(struct queue_shard *shard, uint32_t m)
{
	struct queue_message *message = index_message(&shard->index, m);
	struct queue_body *body;
	uint32_t b;
	int result;

	if (shard->reads >= READS_MAX || shard->closing)
		return -EAGAIN;
	while (!chunks_suffice(shard, message->body_size) && shard->idle_bodies.head)
		body_drop(shard, shard->idle_bodies.head);
	if (!chunks_suffice(shard, message->body_size) && shard->reads)
		return -EAGAIN;
	b = slab_alloc(&shard->bodies);
	if (!b)
		return -EAGAIN;
	body = body_at(shard, b);
	body->shard = shard;
	body->index = b;
	body->message = m;
	body->state = BODY_READING;
	message->body = b;
	shard->reads++;
	result = spool_read_body(shard->spool, &message->id, &message->location, shard->chunks,
				 body_was_read, body);
	if (result < 0) {
		shard->reads--;
		message->body = 0;
		slab_free(&shard->bodies, b);
		return -EAGAIN;
	}
	return 0;
}

int body_hold(struct queue_shard *shard, uint32_t m, struct loan *loan)
{
	struct queue_message *message = index_message(&shard->index, m);
	struct queue_body *body;
	int result;

	if (!message->body) {
		result = body_read(shard, m);
		if (result < 0)
			return result;
	}
	body = body_at(shard, message->body);
	body->loans++;
	body_set_idle(shard, message->body, false);
	if (body->state == BODY_PRESENT)
		return 1;
	if (loan) {
		loan->next = body->readers;
		body->readers = loan;
	}
	return 0;
}

void body_release(struct queue_shard *shard, uint32_t m)
{
	struct queue_message *message = index_message(&shard->index, m);
	struct queue_body *body;

	if (!message->body)
		return;
	body = body_at(shard, message->body);
	assert(body->loans);
	if (--body->loans == 0 && body->state == BODY_PRESENT)
		body_set_idle(shard, message->body, true);
	body_settle(shard, m);
}

const struct chunk_list *body_list(const struct queue_shard *shard, uint32_t m)
{
	uint32_t b = index_message(&shard->index, m)->body;

	return b && body_at(shard, b)->state == BODY_PRESENT ? &body_at(shard, b)->list : NULL;
}

void body_settle(struct queue_shard *shard, uint32_t m)
{
	struct queue_message *message = index_message(&shard->index, m);
	struct queue_body *body;

	if (!message->body || (message->unattempted && message->live))
		return;
	body = body_at(shard, message->body);
	if (body->loans || body->state != BODY_PRESENT)
		return;
	if (message->live)
		shard->counters.bodies_dropped++;
	body_drop(shard, message->body);
}

void bodies_enforce_budget(struct queue_shard *shard)
{
	while (shard->body_chunks * CHUNK_SIZE > shard->view->body_memory_bytes &&
	       shard->idle_bodies.head) {
		body_drop(shard, shard->idle_bodies.head);
		shard->counters.bodies_dropped++;
	}
}

void bodies_free(struct queue_shard *shard)
{
	for (uint32_t b = 1; shard->bodies.fresh && b < shard->bodies.fresh; b++) {
		struct queue_body *body = body_at(shard, b);

		if (body->state == BODY_PRESENT)
			chunks_go_home(shard, &body->list);
	}
	slab_finish(&shard->bodies);
}
