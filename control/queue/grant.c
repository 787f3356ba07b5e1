/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Grants: which path sends next, over which worker, and whether a slot for a new connection comes
 * with it.
 *
 * Connections of a path never exceed its limit over all workers: a slot is counted from the grant
 * until the worker gives it back. A worker with an idle connection goes first, then a new
 * connection, then a second delivery behind a busy connection, which hides the ring's latency; so
 * at most two are outstanding for each slot. A path with few connections keeps them on one worker,
 * a busy one spreads.
 *
 * Paths that can go on are served in turn, each a few deliveries, so that none starves behind a big
 * one.
 */
#include "control/queue/shard.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RUN_LINK offsetof(struct queue_path, run)
/** Deliveries formed or sent in one turn, and for one path before the next has its turn. */
#define TURN_MAX     512u
#define PATH_RUN_MAX 16u
/** Recipients routed anew for one path in one turn. */
#define REROUTE_MAX 256u
/** A path spreads over workers beyond this many connections on one. */
#define SPREAD_AT 4u
/** The part of a ring that is left free for answers to sessions: 1 in so many. */
#define RING_RESERVE 8u
/** A record may be alone in its batch, which takes whole blocks. */
#define BATCH_WASTE 4096u
/** After the spool had no room to promise. */
#define FULL_WAIT_US	     (50 * US_PER_MS)
#define RING_WAIT_US	     (2 * US_PER_MS)
#define RECIPIENTS_DEFAULT   100u
#define OUTSTANDING_PER_SLOT 2u

uint32_t path_connections_max(const struct queue_shard *shard, const struct queue_path *path)
{
	uint32_t max = site_at(shard, path->site)->settings.connections_max;

	if (max == 0)
		max = 1;
	if (max > UINT16_MAX)
		max = UINT16_MAX;
	if (path->cap && shard->now.mono_us < path->cap_until_us && path->cap < max)
		max = path->cap;
	return max;
}

static bool worker_has_room(const struct queue_shard *shard, uint16_t w)
{
	const struct ring *ring = shard->settings.workers[w].to_worker;
	uint32_t room = ring_room(ring);

	return shard->outboxes[w].count == 0 && room > (room + ring_count(ring)) / RING_RESERVE;
}

static bool rings_are_full(const struct queue_shard *shard)
{
	for (uint16_t w = 0; w < shard->settings.worker_count; w++) {
		if (!worker_has_room(shard, w))
			return true;
	}
	return false;
}

/** Room in its ring, and with one slot more at most two deliveries a slot: others may have lost
 * theirs there. */
static bool may_have_another(const struct queue_shard *shard, const struct queue_path *path,
			     uint16_t w)
{
	const struct path_worker *worker = &path->workers[w];

	return worker_has_room(shard, w) &&
	       worker->outstanding < OUTSTANDING_PER_SLOT * (worker->slots + 1u);
}

/** Where a new connection goes. @return worker, or -1 */
static int choose_for_new(const struct queue_shard *shard, const struct queue_path *path)
{
	int least = -1, home = -1;

	for (uint16_t w = 0; w < shard->settings.worker_count; w++) {
		if (!may_have_another(shard, path, w))
			continue;
		if (path->workers[w].slots &&
		    (home < 0 || path->workers[w].slots < path->workers[home].slots))
			home = w;
		if (least < 0 || path->workers[w].slots < path->workers[least].slots)
			least = w;
	}
	if (path->slots == 0 && least >= 0) {
		/* Small paths spread over the workers by their number. */
		uint16_t w = (uint16_t)(path->number % shard->settings.worker_count);

		return may_have_another(shard, path, w) ? w : least;
	}
	if (home >= 0 && path->workers[home].slots < SPREAD_AT)
		return home;
	return least;
}

/** @param may_open set to whether a slot goes with it @return worker, or -1 when none can take one
 * now */
static int choose_worker(const struct queue_shard *shard, const struct queue_path *path,
			 bool *may_open)
{
	int busy = -1;

	*may_open = false;
	for (uint16_t w = 0; w < shard->settings.worker_count; w++) {
		const struct path_worker *worker = &path->workers[w];

		if (!worker->slots || !worker_has_room(shard, w))
			continue;
		if (worker->outstanding < worker->slots)
			return w;
		if (worker->outstanding < OUTSTANDING_PER_SLOT * worker->slots &&
		    (busy < 0 || worker->outstanding * path->workers[busy].slots <
					 path->workers[busy].outstanding * worker->slots))
			busy = w;
	}
	if (path->slots < path_connections_max(shard, path)) {
		int w = choose_for_new(shard, path);

		if (w >= 0) {
			*may_open = true;
			return w;
		}
	}
	return busy;
}

/* ---- Loans ---- */

static struct loan *loan_make(struct queue_shard *shard, uint32_t recipients)
{
	struct loan *loan =
		calloc(1, sizeof(*loan) + recipients * sizeof(struct delivery_recipient));

	if (!loan)
		return NULL;
	loan->shard = shard;
	loan->all_next = shard->loans;
	if (loan->all_next)
		loan->all_next->all_prev = loan;
	shard->loans = loan;
	return loan;
}

void loan_redeem(struct loan *loan)
{
	spool_redeem(loan->shard->spool, loan->promised);
	loan->promised = 0;
}

void loan_free(struct loan *loan)
{
	struct queue_shard *shard = loan->shard;

	if (loan->all_prev)
		loan->all_prev->all_next = loan->all_next;
	else
		shard->loans = loan->all_next;
	if (loan->all_next)
		loan->all_next->all_prev = loan->all_prev;
	loan_redeem(loan);
	attempt_release(shard, loan->attempt);
	route_release(loan->route);
	free(loan);
}

void loans_free(struct queue_shard *shard)
{
	struct loan *loan = shard->loans, *next;

	shard->loans = NULL;
	for (; loan; loan = next) {
		next = loan->all_next;
		route_release(loan->route);
		free(loan);
	}
}

static void waiting_push(struct queue_path *path, struct loan *loan)
{
	loan->state = LOAN_WAITING;
	loan->next = NULL;
	if (path->waiting_tail)
		path->waiting_tail->next = loan;
	else
		path->waiting_head = loan;
	path->waiting_tail = loan;
}

static struct loan *waiting_pop(struct queue_path *path)
{
	struct loan *loan = path->waiting_head;

	path->waiting_head = loan->next;
	if (!path->waiting_head)
		path->waiting_tail = NULL;
	loan->next = NULL;
	return loan;
}

/** Give a loan's recipients back to their path, at its head and in their order, as if nothing had
 * been formed. */
static void loan_undo(struct loan *loan)
{
	struct queue_shard *shard = loan->shard;
	struct queue_path *path = path_at(shard, loan->path);
	bool past = index_message(&shard->index, loan->message)->marks & MESSAGE_PAST;

	for (uint32_t i = loan->delivery.recipient_count; i-- > 0;) {
		uint32_t r = loan->delivery.recipients[i].index;

		if (past || path->retired ||
		    index_recipient(&shard->index, r)->flags & RECIPIENT_REMOVE) {
			recipient_route(shard, r);
			continue;
		}
		index_set_state(&shard->index, r, RECIPIENT_READY);
		slab_list_push_front(&path->ready, &shard->index.recipients, RECIPIENT_LINK, r);
	}
	index_message(&shard->index, loan->message)->references--;
	path->loading--;
	loan_free(loan);
}

/** Its time ended, or an operator took it away, before a worker had it. */
static bool loan_is_void(const struct queue_shard *shard, const struct loan *loan)
{
	if (index_message(&shard->index, loan->message)->marks & MESSAGE_PAST)
		return true;
	for (uint32_t i = 0; i < loan->delivery.recipient_count; i++) {
		if (index_recipient(&shard->index, loan->delivery.recipients[i].index)->flags &
		    RECIPIENT_REMOVE)
			return true;
	}
	return false;
}

/** The body cannot be had: say so to each recipient. */
static void loan_body_lost(struct loan *loan, int result)
{
	struct queue_shard *shard = loan->shard;

	for (uint32_t i = 0; i < loan->delivery.recipient_count; i++) {
		uint32_t r = loan->delivery.recipients[i].index;
		struct queue_recipient *recipient = index_recipient(&shard->index, r);

		if (result == -EBADMSG) {
			recipient_explain(shard, recipient, PHASE_ROUTE, 0,
					  (struct enhanced_code){5, 3, 0}, false, "",
					  "the message was damaged in the spool");
			recipient_fail(shard, r, false);
		} else {
			recipient_explain(
				shard, recipient, PHASE_ROUTE, 0, (struct enhanced_code){4, 3, 0},
				false, "",
				result == -ENOBUFS
					? "the message is larger than the memory for reading back"
					: "the message could not be read from the spool");
			recipient_wait(shard, r, shard->now.mono_us + 60 * US_PER_S);
		}
	}
	index_message(&shard->index, loan->message)->references--;
	path_at(shard, loan->path)->loading--;
	loan_free(loan);
}

void loan_body_ready(struct loan *loan, int result)
{
	struct queue_shard *shard = loan->shard;
	uint32_t p = loan->path;

	if (result == 0) {
		waiting_push(path_at(shard, p), loan);
		path_wake(shard, p);
	} else if ((result == -ENOBUFS || result == -EAGAIN) &&
		   loan->delivery.body_size / CHUNK_DATA < chunk_pool_count(shard->chunks)) {
		loan_undo(loan);
		path_sleep_until(shard, p, shard->now.mono_us + 50 * US_PER_MS);
	} else {
		loan_body_lost(loan, result);
		path_wake(shard, p);
	}
}

/** Recipients at the head of the ready list that belong to its first one's message. */
static uint32_t batch_size(const struct queue_shard *shard, const struct queue_path *path)
{
	uint32_t max = site_at(shard, path->site)->settings.recipients_per_message;
	uint32_t message = index_recipient(&shard->index, path->ready.head)->message;
	uint32_t count = 0;

	if (max == 0)
		max = RECIPIENTS_DEFAULT;
	for (uint32_t r = path->ready.head; r && count < max;) {
		const struct queue_recipient *recipient = index_recipient(&shard->index, r);

		if (recipient->message != message)
			break;
		count++;
		r = recipient->timer.link.next;
	}
	return count;
}

static void loan_fill(struct loan *loan, uint32_t p, uint32_t count)
{
	struct queue_shard *shard = loan->shard;
	struct queue_path *path = path_at(shard, p);
	struct queue_message *message = index_message(&shard->index, loan->message);
	struct delivery *delivery = &loan->delivery;

	loan->path = p;
	loan->route = path->route;
	loan->route->references++;
	message->references++;
	delivery->cookie = (uintptr_t)loan;
	delivery->id = message->id;
	delivery->route = &loan->route->route;
	delivery->flags = message->flags;
	delivery->mail_from = index_sender(message);
	delivery->envid = index_envid(message);
	delivery->body_size = message->body_size;
	delivery->recipient_count = count;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t r = slab_list_pop(&path->ready, &shard->index.recipients, RECIPIENT_LINK);
		struct queue_recipient *recipient = index_recipient(&shard->index, r);

		index_set_state(&shard->index, r, RECIPIENT_LOANED);
		delivery->recipients[i] = (struct delivery_recipient){
			.index = r,
			.notify = recipient->notify,
			.address = index_address(message, recipient),
			.orcpt = index_orcpt(message, recipient),
		};
	}
	path->loading++;
}

/** Make a delivery of what is ready. @return 0, or -EAGAIN: later */
static int path_form(struct queue_shard *shard, uint32_t p)
{
	struct queue_path *path = path_at(shard, p);
	uint32_t count = batch_size(shard, path);
	struct loan *loan;
	int held;

	if (path_refresh(shard, p) < 0)
		return -EAGAIN;
	loan = loan_make(shard, count);
	if (!loan)
		return -EAGAIN;
	if (!spool_promise(shard->spool, records_bytes(count) + BATCH_WASTE)) {
		loan_free(loan);
		shard->full_until_us = shard->now.mono_us + FULL_WAIT_US;
		return -EAGAIN;
	}
	loan->promised = records_bytes(count) + BATCH_WASTE;
	loan->message = index_recipient(&shard->index, path->ready.head)->message;
	held = body_hold(shard, loan->message, loan);
	if (held < 0) {
		loan_free(loan);
		return -EAGAIN;
	}
	rate_take(&path->rate, shard->now.mono_us);
	loan_fill(loan, p, count);
	loan->state = LOAN_READING;
	if (held > 0)
		waiting_push(path, loan);
	return 0;
}

/** Send the first formed delivery. @return false when no worker can take it now */
static bool path_send(struct queue_shard *shard, uint32_t p)
{
	struct queue_path *path = path_at(shard, p);
	bool may_open;
	int w = choose_worker(shard, path, &may_open);
	struct loan *loan;

	if (w < 0)
		return false;
	loan = waiting_pop(path);
	path->loading--;
	loan->state = LOAN_OUT;
	loan->worker = (uint16_t)w;
	loan->delivery.may_open = may_open;
	loan->delivery.body = body_list(shard, loan->message)->head;
	if (may_open) {
		path->slots++;
		path->workers[w].slots++;
	}
	path->workers[w].outstanding++;
	path->outstanding++;
	shard->out_count++;
	shard->counters.deliveries++;
	shard_send(shard, (uint16_t)w,
		   &(struct record){.kind = RECORD_DELIVER, .delivery = &loan->delivery});
	return true;
}

static void path_reroute(struct queue_shard *shard, uint32_t p)
{
	struct queue_path *path = path_at(shard, p);

	for (unsigned i = 0; i < REROUTE_MAX && path->reroute; i++) {
		uint32_t r = slab_list_pop(&path->ready, &shard->index.recipients, RECIPIENT_LINK);

		path->reroute--;
		if (r)
			recipient_route(shard, r);
		else
			path->reroute = 0;
	}
}

/** How many deliveries may be formed beside those that are out: enough to keep every connection
 * busy. */
static bool path_may_form(const struct queue_shard *shard, const struct queue_path *path)
{
	uint32_t limit = OUTSTANDING_PER_SLOT * path_connections_max(shard, path);

	/* Back-off is over: one finds out. */
	if (path->failures || path->rest_us)
		limit = 1;
	return path->outstanding + path->loading < limit && !path->waiting_head;
}

/** One path's turn. @return deliveries formed or sent */
static unsigned path_run(struct queue_shard *shard, uint32_t p)
{
	struct queue_path *path = path_at(shard, p);
	unsigned work = 0;

	if (path->reroute) {
		path_reroute(shard, p);
		path_wake(shard, p);
		return 1;
	}
	if (path->retired || path_is_blocked(shard, p)) {
		/* What was formed goes back, so that it can expire, be removed or be routed anew.
		 */
		while (path->waiting_head) {
			struct loan *loan = waiting_pop(path);

			body_release(shard, loan->message);
			loan_undo(loan);
		}
		if (path->retired)
			path->reroute = path->ready.count;
		else if (path->ready.count)
			path_sleep_until(shard, p, path->blocked_until_us);
		if (path->reroute)
			path_wake(shard, p);
		return 0;
	}
	if (path->rest_until_us > shard->now.mono_us) {
		path_sleep_until(shard, p, path->rest_until_us);
		return 0;
	}
	while (work < PATH_RUN_MAX) {
		uint64_t when;

		if (path->waiting_head && loan_is_void(shard, path->waiting_head)) {
			struct loan *loan = waiting_pop(path);

			body_release(shard, loan->message);
			loan_undo(loan);
			continue;
		}
		if (path->waiting_head) {
			if (!path_send(shard, p)) {
				if (rings_are_full(shard))
					path_sleep_until(shard, p,
							 shard->now.mono_us + RING_WAIT_US);
				return work;
			}
			work++;
			continue;
		}
		if (!path->ready.head || !path_may_form(shard, path))
			return work;
		when = rate_when_us(&path->rate);
		if (when > shard->now.mono_us) {
			path_sleep_until(shard, p, when);
			return work;
		}
		if (path_form(shard, p) < 0) {
			path_sleep_until(shard, p, shard->now.mono_us + 5 * US_PER_MS);
			return work;
		}
		work++;
	}
	path_wake(shard, p);
	return work;
}

void grants_turn(struct queue_shard *shard)
{
	uint32_t paths = shard->runnable.count;
	unsigned work = 0;

	/* What came back must be recorded before more goes out. */
	if (shard->draining || shard->broken || shard->events.count ||
	    shard->now.mono_us < shard->full_until_us)
		return;
	while (paths-- > 0 && work < TURN_MAX) {
		uint32_t p = slab_list_pop(&shard->runnable, &shard->paths, RUN_LINK);

		path_at(shard, p)->runnable = false;
		work += path_run(shard, p);
	}
	if (work || shard->runnable.head)
		shard->progress = true;
}

void slots_closed(struct queue_shard *shard, uint16_t worker, uint32_t number, uint32_t count)
{
	uint32_t p = path_by_number(shard, number);
	struct queue_path *path;

	if (!p)
		return;
	path = path_at(shard, p);
	if (count > path->workers[worker].slots)
		count = path->workers[worker].slots;
	path->workers[worker].slots -= (uint16_t)count;
	path->slots -= count;
	path_wake(shard, p);
}
