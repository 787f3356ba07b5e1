/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The table of a worker's outbound paths: deliveries that wait, connections that serve them, slots
 * that the shard granted. See path.h and table.h.
 *
 * Memory: three blocks (sessions, paths, host memory), made at creation.
 */
#include "dataplane/path/table.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMERS_PER_TURN 1024

/* ---- Lists ---- */

void delivery_queue_put(struct delivery_queue *queue, struct delivery *delivery)
{
	delivery->next = NULL;
	if (queue->tail)
		queue->tail->next = delivery;
	else
		queue->head = delivery;
	queue->tail = delivery;
	queue->count++;
}

void delivery_queue_put_first(struct delivery_queue *queue, struct delivery *delivery)
{
	delivery->next = queue->head;
	queue->head = delivery;
	if (!queue->tail)
		queue->tail = delivery;
	queue->count++;
}

struct delivery *delivery_queue_take(struct delivery_queue *queue)
{
	struct delivery *delivery = queue->head;

	if (!delivery)
		return NULL;
	queue->head = delivery->next;
	if (!queue->head)
		queue->tail = NULL;
	queue->count--;
	delivery->next = NULL;
	return delivery;
}

void path_mark_dirty(struct path_table *table, struct path *path)
{
	if (path->dirty)
		return;
	path->dirty = true;
	path->next_dirty = table->paths_dirty;
	table->paths_dirty = (uint32_t)(path - table->paths);
}

/* ---- Paths ---- */

static uint32_t *chain_of(struct path_table *table, uint32_t number)
{
	return &table->chains[(number * 2654435761u >> 7) & table->chain_mask];
}

static struct path *path_find(struct path_table *table, uint32_t number)
{
	for (uint32_t i = *chain_of(table, number); i != NONE; i = table->paths[i].next)
		if (table->paths[i].number == number)
			return &table->paths[i];
	return NULL;
}

static struct path *path_make(struct path_table *table, uint32_t number)
{
	uint32_t index = table->paths_free;
	uint32_t *chain = chain_of(table, number);
	struct path *path;

	if (index == NONE)
		return NULL;
	path = &table->paths[index];
	table->paths_free = path->next;
	*path = (struct path){
		.number = number,
		.used = true,
		.next = *chain,
		.first = NONE,
		.idle = NONE,
	};
	*chain = index;
	return path;
}

static void path_free(struct path_table *table, struct path *path)
{
	uint32_t index = (uint32_t)(path - table->paths);
	uint32_t *link = chain_of(table, path->number);

	while (*link != index)
		link = &table->paths[*link].next;
	*link = path->next;
	path->used = false;
	path->next = table->paths_free;
	table->paths_free = index;
}

/* ---- Sessions ---- */

void session_join_idle(struct path_session *session)
{
	struct path_table *table = session->table;
	struct path *path = &table->paths[session->path];
	uint64_t idle_us = table->now.mono_us + session->settings.idle_timeout_us;
	uint64_t old_us = session->connected_us + session->settings.reuse_time_max_us;

	assert(!session->is_idle);
	session->is_idle = true;
	session->deadline_us = idle_us < old_us || session->messages == 0 ? idle_us : old_us;
	session->idle_prev = NONE;
	session->idle_next = path->idle;
	if (path->idle != NONE)
		table->sessions[path->idle].idle_prev = session->index;
	path->idle = session->index;
}

void session_leave_idle(struct path_session *session)
{
	struct path_table *table = session->table;
	struct path *path = &table->paths[session->path];

	if (!session->is_idle)
		return;
	session->is_idle = false;
	if (session->idle_prev != NONE)
		table->sessions[session->idle_prev].idle_next = session->idle_next;
	else
		path->idle = session->idle_next;
	if (session->idle_next != NONE)
		table->sessions[session->idle_next].idle_prev = session->idle_prev;
}

static struct path_session *session_make(struct path_table *table, struct path *path)
{
	uint32_t index = table->sessions_free;
	struct path_session *session;

	if (index == NONE)
		return NULL;
	session = &table->sessions[index];
	table->sessions_free = session->gone_next;
	table->sessions_used++;
	memset(session, 0, sizeof(*session));
	session->table = table;
	session->index = index;
	session->path = (uint32_t)(path - table->paths);
	session->state = SESSION_GONE;
	session->opening = true;
	session->path_prev = NONE;
	session->path_next = path->first;
	if (path->first != NONE)
		table->sessions[path->first].path_prev = index;
	path->first = index;
	path->sessions++;
	path->opening++;
	return session;
}

void session_free(struct path_session *session)
{
	struct path_table *table = session->table;
	struct path *path = &table->paths[session->path];

	assert(session->state == SESSION_GONE && !session->delivery && !session->is_idle);
	wheel_cancel(table->wheel, session->index);
	if (session->view)
		session->view->references[table->settings.worker].held--;
	session->view = NULL;
	if (session->opening)
		path->opening--;
	if (session->path_prev != NONE)
		table->sessions[session->path_prev].path_next = session->path_next;
	else
		path->first = session->path_next;
	if (session->path_next != NONE)
		table->sessions[session->path_next].path_prev = session->path_prev;
	path->sessions--;
	session->state = SESSION_FREE;
	session->gone_next = table->sessions_free;
	table->sessions_free = session->index;
	table->sessions_used--;
	path_mark_dirty(table, path);
}

/* ---- Settling: who waits gets a connection, what nobody needs goes back ---- */

static void give_back_waiting(struct path_table *table, struct path *path, const char *why)
{
	while (path->waiting.count > 0) {
		struct delivery *delivery = delivery_queue_take(&path->waiting);

		report_untried(table, delivery, why);
	}
}

/** A connection that has nothing to do takes what waits, if it still may. */
static void use_idle(struct path_table *table, struct path *path)
{
	while (path->waiting.count > 0 && path->idle != NONE) {
		struct path_session *session = &table->sessions[path->idle];

		if (!session_is_reusable(session, path->waiting.head->route->generation)) {
			session_quit(session);
			continue;
		}
		session_begin(session, delivery_queue_take(&path->waiting));
		session_resume(session);
	}
}

static void path_settle(struct path_table *table, struct path *path)
{
	if (table->draining)
		give_back_waiting(table, path, "not begun: the worker stops");
	use_idle(table, path);
	while (path->waiting.count > path->opening && path->sessions < path->slots) {
		struct path_session *session = session_make(table, path);

		if (!session)
			break;
		session_open_next(session);
	}
	if (path->slots > path->sessions &&
	    (path->waiting.count <= path->opening || table->sessions_free == NONE))
		report_slots(table, path, path->slots - path->sessions);
	if (path->sessions == 0)
		give_back_waiting(table, path, "not begun: no connection to use");
	/* Marked again meanwhile: it is still in the list, and goes when its turn comes. */
	if (path->sessions == 0 && path->slots == 0 && path->slots_back == 0 && !path->dirty)
		path_free(table, path);
}

/** Settling a path can make it dirty again (a host that cannot be tried): the next turn goes on. */
static void settle_paths(struct path_table *table)
{
	uint32_t index = table->paths_dirty;

	table->paths_dirty = NONE;
	while (index != NONE) {
		struct path *path = &table->paths[index];

		index = path->next_dirty;
		path->dirty = false;
		if (path->used)
			path_settle(table, path);
	}
}

static void work_off_gone(struct path_table *table)
{
	uint32_t index = table->sessions_gone;

	table->sessions_gone = NONE;
	while (index != NONE) {
		struct path_session *session = &table->sessions[index];

		index = session->gone_next;
		switch (session->after) {
		case AFTER_FREE:
			session_free(session);
			break;
		case AFTER_NEXT_HOST:
			session_open_next(session);
			break;
		case AFTER_SAME_HOST:
			session_open_again(session);
			break;
		}
	}
}

/* ---- The room's interface ---- */

static void set_now(struct path_table *table, const struct mr_now *now)
{
	table->now = *now;
}

void path_table_begin_turn(struct path_table *table, const struct mr_now *now)
{
	set_now(table, now);
}

static void lists_init(struct path_table *table)
{
	table->sessions_free = NONE;
	for (uint32_t i = table->settings.sessions; i-- > 0;) {
		table->sessions[i].index = i;
		table->sessions[i].gone_next = table->sessions_free;
		table->sessions_free = i;
	}
	table->paths_free = NONE;
	for (uint32_t i = table->settings.paths; i-- > 0;) {
		table->paths[i].next = table->paths_free;
		table->paths_free = i;
	}
	for (uint32_t i = 0; i <= table->chain_mask; i++)
		table->chains[i] = NONE;
	table->sessions_gone = NONE;
	table->paths_dirty = NONE;
}

struct path_table *path_table_create(const struct path_table_settings *settings)
{
	struct path_table *table = calloc(1, sizeof(*table));
	uint32_t chains = 64;

	if (!table)
		return NULL;
	while (chains < settings->paths)
		chains *= 2;
	table->settings = *settings;
	table->chain_mask = chains - 1;
	table->sessions = calloc(settings->sessions, sizeof(*table->sessions));
	table->paths = calloc(settings->paths, sizeof(*table->paths));
	table->chains = calloc(chains, sizeof(*table->chains));
	table->hosts = host_memory_create(2 * settings->paths);
	table->wheel = table->sessions ? wheel_create(&table->sessions[0].timer,
						      sizeof(table->sessions[0]), 0)
				       : NULL;
	if (!table->sessions || !table->paths || !table->chains || !table->hosts || !table->wheel) {
		path_table_destroy(table);
		return NULL;
	}
	lists_init(table);
	return table;
}

void path_table_destroy(struct path_table *table)
{
	if (!table)
		return;
	for (uint32_t i = 0; table->sessions && i < table->settings.sessions; i++) {
		struct path_session *session = &table->sessions[i];

		if (session->state != SESSION_FREE && session->state != SESSION_GONE) {
			session->state = SESSION_CLOSING;
			stream_abort(&session->stream);
		}
		if (session->view)
			session->view->references[table->settings.worker].held--;
	}
	wheel_destroy(table->wheel);
	host_memory_destroy(table->hosts);
	free(table->chains);
	free(table->paths);
	free(table->sessions);
	free(table);
}

static void fire(void *context, uint32_t index)
{
	struct path_table *table = context;

	session_expired(&table->sessions[index]);
}

void path_table_configure(struct path_table *table, struct view *view, const struct mr_now *now)
{
	set_now(table, now);
	/* The wheel began at zero. */
	wheel_expire(table->wheel, now->mono_us, TIMERS_PER_TURN, fire, table);
	table->view = view;
}

/** The worker's part of a delivery, as nothing has happened yet. */
static void delivery_clear(struct delivery *delivery, uint64_t now_us)
{
	delivery->slot_closed = false;
	delivery->possible_duplicate = false;
	delivery->tls = false;
	delivery->reused = false;
	delivery->peer_dsn = false;
	delivery->session = 0;
	delivery->host = NULL;
	memset(&delivery->source_address, 0, sizeof(delivery->source_address));
	delivery->tls_version[0] = '\0';
	delivery->tls_cipher[0] = '\0';
	delivery->started_us = now_us;
	delivery->connect_us = 0;
	delivery->tls_us = 0;
	delivery->transaction_us = 0;
	memset(&delivery->measure, 0, sizeof(delivery->measure));
	delivery->hosts_tried = 0;
	for (uint32_t i = 0; i < delivery->recipient_count; i++) {
		struct delivery_recipient *recipient = &delivery->recipients[i];

		recipient->outcome = OUTCOME_NONE;
		recipient->phase = PHASE_ROUTE;
		recipient->remote = false;
		recipient->code = 0;
		recipient->enhanced = (struct enhanced_code){0};
		recipient->reply[0] = '\0';
	}
}

void path_table_deliver(struct path_table *table, struct delivery *delivery,
			const struct mr_now *now)
{
	struct path *path = path_find(table, delivery->route->path);

	set_now(table, now);
	table->deliveries++;
	delivery_clear(delivery, now->mono_us);
	if (!path)
		path = path_make(table, delivery->route->path);
	if (!path) {
		delivery->slot_closed = delivery->may_open;
		report_untried(table, delivery, "not begun: too many paths");
		return;
	}
	path->slots += delivery->may_open;
	delivery_queue_put(&path->waiting, delivery);
	path_mark_dirty(table, path);
	settle_paths(table);
}

/** Without work, but not in the idle list: half a reply came, and the rest is waited for. */
static bool is_between(const struct path_session *session)
{
	return session->state == SESSION_OPEN && !session->is_idle &&
	       smtp_client_is_idle(&session->client);
}

void path_table_close_path(struct path_table *table, uint32_t number, const struct mr_now *now)
{
	struct path *path = path_find(table, number);

	set_now(table, now);
	if (!path)
		return;
	while (path->idle != NONE)
		session_quit(&table->sessions[path->idle]);
	for (uint32_t i = path->first; i != NONE; i = table->sessions[i].path_next) {
		struct path_session *session = &table->sessions[i];

		if (is_between(session))
			session_quit(session);
		else if (session->state == SESSION_OPEN)
			session->close_after = true;
	}
}

void path_table_turn(struct path_table *table, const struct mr_now *now)
{
	set_now(table, now);
	wheel_expire(table->wheel, now->mono_us, TIMERS_PER_TURN, fire, table);
	if (table->sessions_gone != NONE)
		work_off_gone(table);
	if (table->paths_dirty != NONE)
		settle_paths(table);
	if (table->outgoing.count > 0 || table->slot_records > 0)
		report_flush(table);
}

uint64_t path_table_next_deadline(const struct path_table *table)
{
	if (table->sessions_gone != NONE || table->paths_dirty != NONE ||
	    table->outgoing.count > 0 || table->slot_records > 0)
		return table->now.mono_us;
	return wheel_next(table->wheel);
}

void path_table_drain(struct path_table *table, const struct mr_now *now)
{
	set_now(table, now);
	table->draining = true;
	for (uint32_t i = 0; i < table->settings.paths; i++) {
		struct path *path = &table->paths[i];

		if (!path->used)
			continue;
		while (path->idle != NONE)
			session_quit(&table->sessions[path->idle]);
		path_mark_dirty(table, path);
	}
	for (uint32_t i = 0; i < table->settings.sessions; i++) {
		struct path_session *session = &table->sessions[i];

		/* Without deliveries that wait, nobody needs a connection that is being opened. */
		if (session->opening &&
		    (session->state == SESSION_CONNECTING || session->state == SESSION_OPEN))
			session_close(session, false);
		else if (is_between(session))
			session_quit(session);
	}
	settle_paths(table);
}

uint32_t path_table_sessions(const struct path_table *table)
{
	return table->sessions_used;
}

uint32_t path_table_deliveries(const struct path_table *table)
{
	return table->deliveries;
}

const struct path_counters *path_table_counters(const struct path_table *table)
{
	return &table->counters;
}

/* ---- Show ---- */

static void describe_session(const struct path_session *session, struct session_entry *out)
{
	const char *state = session->state == SESSION_CONNECTING ? "connect"
			    : session->state == SESSION_OPEN
				    ? smtp_client_state_name(&session->client)
				    : "closing";

	memset(out, 0, sizeof(*out));
	out->session = (uint64_t)session->table->settings.worker << 48 | session->serial;
	out->tls = session->tls;
	snprintf(out->state, sizeof(out->state), "%s", state);
	snprintf(out->name, sizeof(out->name), "%s", session->site);
	snprintf(out->peer_name, sizeof(out->peer_name), "%.*s", (int)sizeof(out->peer_name) - 1,
		 session->host_name);
	if (session->tls)
		snprintf(out->tls_text, sizeof(out->tls_text), "%s %s", session->tls_version,
			 session->tls_cipher);
	out->endpoints.local = session->source;
	out->endpoints.remote = session->host.address;
	out->endpoints.remote_port = session->host.port;
	if (session->state != SESSION_GONE)
		tcp_endpoints(session->table->settings.stack, session->stream.connection,
			      &out->endpoints);
	out->since_us = session->connect_began_us;
	out->messages = session->messages;
	out->bytes = session->bytes;
	tcp_measure(session->table->settings.stack, session->stream.last, &out->measure);
}

unsigned path_table_list(const struct path_table *table, struct session_entry *out, unsigned max)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < table->settings.sessions && count < max; i++)
		if (table->sessions[i].state != SESSION_FREE)
			describe_session(&table->sessions[i], &out[count++]);
	return count;
}
