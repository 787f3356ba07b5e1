/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Paths: source x site, the unit of limits, back-off and connection reuse. A path's ready
 * recipients form one list, first in first out, those of one message together.
 *
 * What fails before any recipient was spoken of (connect, greeting, TLS) is the route's failure: it
 * holds the path back as a whole, exponentially and with jitter, and then one delivery finds out
 * whether it works again. A route is immutable; the path makes a new one when the site's hosts or
 * the settings change.
 */
#include "control/queue/shard.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN_LINK offsetof(struct queue_path, run)
/** A path's number towards workers: its index below, a count of reuses above, so that a late record
 * hits nobody else. */
#define NUMBER_BITS 20
#define NUMBER_MASK ((1u << NUMBER_BITS) - 1)
/** A path without mail and connections is remembered so long. */
#define PATH_IDLE_US (600 * US_PER_S)
/** The paths' clock: 1 ms. */
#define TICK_SHIFT	 10
#define BACKOFF_FIRST_US (10 * US_PER_S)
#define BACKOFF_MAX_US	 (900 * US_PER_S)

struct path_key {
	uint32_t site;
	uint32_t reserved;
	uint64_t source_hash;
};

static uint64_t source_hash(uint64_t seed, const struct queue_source *source)
{
	uint64_t hash = table_hash(seed, source->name, strlen(source->name));

	hash = table_hash(hash, source->ehlo_name, strlen(source->ehlo_name));
	hash = table_hash(hash ^ source->port, &source->v4, source->has_v4 ? 16 : 0);
	return table_hash(hash, &source->v6, source->has_v6 ? 16 : 0);
}

int sources_hash(struct queue_shard *shard)
{
	const struct queue_settings_view *view = shard->view;
	uint64_t *hashes = realloc(shard->source_hashes,
				   (view->source_count + 1) * sizeof(*shard->source_hashes));

	if (!hashes)
		return -ENOMEM;
	shard->source_hashes = hashes;
	for (uint32_t i = 0; i < view->source_count; i++)
		hashes[i] = source_hash(shard->seed, &view->sources[i]);
	return 0;
}

static struct path_key key_of(const struct queue_path *path)
{
	return (struct path_key){.site = path->site, .source_hash = path->source_hash};
}

void route_release(struct route_entry *route)
{
	if (route && --route->references == 0)
		free(route);
}

static char *put_text(char **to, const char *text)
{
	char *at = *to;

	*to = stpcpy(at, text) + 1;
	return at;
}

static void route_fill(struct route *route, char *texts, const struct queue_path *path,
		       const struct queue_site *site, const struct queue_source *source)
{
	*route = (struct route){
		.path = path->number,
		.generation = path->generation,
		.source_port_index = source->port,
		.has_v4 = source->has_v4,
		.has_v6 = source->has_v6,
		.source_v4 = source->v4,
		.source_v6 = source->v6,
		.settings = site->settings,
		.host_count = site->host_count,
	};
	route->site = put_text(&texts, site->name);
	route->source = put_text(&texts, source->name);
	route->ehlo_name = put_text(&texts, source->ehlo_name);
	for (unsigned i = 0; i < site->host_count; i++) {
		route->hosts[i] = (struct route_host){
			.name = put_text(&texts, site->hosts[i].name),
			.address = site->hosts[i].address,
			.port = site->ports[i],
			.preference = site->hosts[i].preference,
		};
	}
}

int path_refresh(struct queue_shard *shard, uint32_t p)
{
	struct queue_path *path = path_at(shard, p);
	const struct queue_site *site = site_at(shard, path->site);
	const struct queue_source *source = &shard->view->sources[path->source_index];
	struct route_entry *entry;
	size_t size;

	if (path->route && path->site_version == site->version &&
	    path->site_answers == site->answers)
		return 0;
	size = strlen(site->name) + strlen(source->name) + strlen(source->ehlo_name) + 3;
	for (unsigned i = 0; i < site->host_count; i++)
		size += strlen(site->hosts[i].name) + 1;
	entry = malloc(sizeof(*entry) + size);
	if (!entry)
		return -ENOMEM;
	if (!path->route || path->site_version != site->version)
		path->generation++;
	path->site_version = site->version;
	path->site_answers = site->answers;
	rate_set(&path->rate, site->message_rate_per_hour);
	entry->references = 1;
	route_fill(&entry->route, entry->texts, path, site, source);
	route_release(path->route);
	path->route = entry;
	return 0;
}

static uint32_t path_make(struct queue_shard *shard, uint32_t source_index, uint32_t s)
{
	const struct queue_source *source = &shard->view->sources[source_index];
	const struct path_key key = {.site = s, .source_hash = shard->source_hashes[source_index]};
	uint32_t p = slab_alloc(&shard->paths);
	struct queue_path *path;

	if (!p)
		return 0;
	path = path_at(shard, p);
	path->workers = calloc(shard->settings.worker_count, sizeof(*path->workers));
	path->site = s;
	path->source_index = source_index;
	path->source_hash = key.source_hash;
	if (!path->workers ||
	    table_insert(&shard->paths_by_key, table_hash(shard->seed, &key, sizeof(key)), p) < 0) {
		free(path->workers);
		slab_free(&shard->paths, p);
		return 0;
	}
	snprintf(path->source, sizeof(path->source), "%s", source->name);
	path->number = p | shard->path_reuses[p]++ << NUMBER_BITS;
	path->idle_since_us = shard->now.mono_us;
	path->used = true;
	site_at(shard, s)->paths++;
	return p;
}

static bool path_has_key(const void *context, uint32_t p, const void *key)
{
	const struct path_key here = key_of(slab_at(context, p));

	return !memcmp(&here, key, sizeof(here));
}

int paths_init(struct queue_shard *shard, uint32_t maximum)
{
	if (maximum > NUMBER_MASK)
		maximum = NUMBER_MASK;
	shard->path_reuses = calloc((size_t)maximum + 1, sizeof(*shard->path_reuses));
	if (!shard->path_reuses ||
	    slab_init(&shard->paths, sizeof(struct queue_path), maximum) < 0 ||
	    table_init(&shard->paths_by_key, path_has_key, &shard->paths) < 0)
		return -ENOMEM;
	schedule_init(&shard->path_timers, &shard->paths, offsetof(struct queue_path, timer),
		      TICK_SHIFT, shard->now.mono_us);
	return 0;
}

uint32_t path_find(struct queue_shard *shard, uint32_t source_index, uint32_t s)
{
	const struct path_key key = {.site = s, .source_hash = shard->source_hashes[source_index]};

	return table_find(&shard->paths_by_key, table_hash(shard->seed, &key, sizeof(key)), &key);
}

uint32_t path_get(struct queue_shard *shard, uint32_t source_index, uint32_t s)
{
	uint32_t p = path_find(shard, source_index, s);

	return p ? p : path_make(shard, source_index, s);
}

uint32_t path_by_number(struct queue_shard *shard, uint32_t number)
{
	uint32_t p = number & NUMBER_MASK;

	if (p == 0 || p >= shard->paths.fresh || !path_at(shard, p)->used ||
	    path_at(shard, p)->number != number)
		return 0;
	return p;
}

void path_wake(struct queue_shard *shard, uint32_t p)
{
	struct queue_path *path = path_at(shard, p);

	if (path->runnable)
		return;
	path->runnable = true;
	slab_list_push(&shard->runnable, &shard->paths, RUN_LINK, p);
}

void path_sleep_until(struct queue_shard *shard, uint32_t p, uint64_t due_us)
{
	struct queue_path *path = path_at(shard, p);

	if (path->timed) {
		if (schedule_due_us(&shard->path_timers, p) <= due_us + US_PER_MS)
			return;
		schedule_remove(&shard->path_timers, p);
	}
	schedule_add(&shard->path_timers, p, due_us);
	path->timed = true;
}

void paths_run_timers(struct queue_shard *shard)
{
	uint32_t p;

	while ((p = schedule_pop(&shard->path_timers, shard->now.mono_us)) != 0) {
		path_at(shard, p)->timed = false;
		path_wake(shard, p);
		shard->progress = true;
	}
}

void path_push(struct queue_shard *shard, uint32_t p, uint32_t r, uint32_t after)
{
	struct queue_path *path = path_at(shard, p);

	index_set_state(&shard->index, r, RECIPIENT_READY);
	index_recipient(&shard->index, r)->path = p;
	if (after)
		slab_list_insert(&path->ready, &shard->index.recipients, RECIPIENT_LINK, after, r);
	else
		slab_list_push(&path->ready, &shard->index.recipients, RECIPIENT_LINK, r);
	path_wake(shard, p);
}

void path_push_front(struct queue_shard *shard, uint32_t p, uint32_t r)
{
	struct queue_path *path = path_at(shard, p);

	index_set_state(&shard->index, r, RECIPIENT_READY);
	slab_list_push_front(&path->ready, &shard->index.recipients, RECIPIENT_LINK, r);
	path_wake(shard, p);
}

bool path_is_blocked(const struct queue_shard *shard, uint32_t p)
{
	return path_at(shard, p)->blocked_until_us > shard->now.mono_us;
}

void path_failed(struct queue_shard *shard, uint32_t p, const char *host, const char *reply)
{
	struct queue_path *path = path_at(shard, p);
	uint64_t first = shard->view->retry_initial_us / 4;
	const struct retry_policy policy = {
		.initial_us = first < BACKOFF_FIRST_US ? first + 1 : BACKOFF_FIRST_US,
		.max_us = shard->view->retry_max_us < BACKOFF_MAX_US ? shard->view->retry_max_us
								     : BACKOFF_MAX_US,
		.factor_percent = 200,
		.jitter_percent = 20,
	};
	char text[600];
	int size = snprintf(text, sizeof(text), "%.255s%c%.300s", host, '\0', reply);

	text_release(&shard->index.texts, path->reason);
	path->reason = text_acquire(&shard->index.texts, text, (size_t)size);
	path->proven = false;
	/* What was under way when the first one failed tells nothing new. */
	if (path_is_blocked(shard, p))
		return;
	path->failures++;
	path->blocked_until_us = shard->now.mono_us +
				 retry_interval_us(&policy, path->failures, shard->settings.random);
	path_sleep_until(shard, p, path->blocked_until_us);
}

void path_worked(struct queue_shard *shard, uint32_t p)
{
	struct queue_path *path = path_at(shard, p);

	path->failures = 0;
	path->refusals = 0;
	path->proven = true;
	path->blocked_until_us = 0;
	text_release(&shard->index.texts, path->reason);
	path->reason = 0;
}

static void path_close(struct queue_shard *shard, const struct queue_path *path)
{
	const struct record record = {.kind = RECORD_PATH_CLOSE, .slot = {path->number, 0}};

	for (unsigned w = 0; w < shard->settings.worker_count; w++) {
		if (path->workers[w].slots || path->workers[w].outstanding)
			shard_send(shard, (uint16_t)w, &record);
	}
}

static void path_retire(struct queue_shard *shard, uint32_t p)
{
	struct queue_path *path = path_at(shard, p);
	const struct path_key key = key_of(path);

	if (path->retired)
		return;
	path->retired = true;
	table_remove(&shard->paths_by_key, table_hash(shard->seed, &key, sizeof(key)), p);
	path_close(shard, path);
}

static bool path_find_source(const struct queue_shard *shard, struct queue_path *path)
{
	for (uint32_t i = 0; i < shard->view->source_count; i++) {
		if (!strcmp(shard->view->sources[i].name, path->source) &&
		    shard->source_hashes[i] == path->source_hash) {
			path->source_index = i;
			return true;
		}
	}
	return false;
}

void paths_reconfigure(struct queue_shard *shard)
{
	memset(shard->route_memories, 0, sizeof(shard->route_memories));
	for (uint32_t p = 1; p < shard->paths.fresh; p++) {
		struct queue_path *path = path_at(shard, p);

		if (!path->used || path->retired)
			continue;
		/* Pools, sources or destinations may have changed: everything that waits is routed
		 * anew. */
		path->reroute = path->ready.count;
		if (!path_find_source(shard, path))
			path_retire(shard, p);
		else if (path->site_version != site_at(shard, path->site)->version)
			path_close(shard, path);
		path_wake(shard, p);
	}
}

static void path_forget(struct queue_shard *shard, uint32_t p)
{
	struct queue_path *path = path_at(shard, p);
	uint32_t s = path->site;

	path_retire(shard, p);
	if (path->timed)
		schedule_remove(&shard->path_timers, p);
	if (path->runnable)
		slab_list_remove(&shard->runnable, &shard->paths, RUN_LINK, p);
	text_release(&shard->index.texts, path->reason);
	route_release(path->route);
	free(path->workers);
	slab_free(&shard->paths, p);
	site_at(shard, s)->paths--;
	site_release(shard, s);
}

void paths_sweep(struct queue_shard *shard)
{
	for (unsigned i = 0; i < 1024 && i < shard->paths.fresh; i++) {
		struct queue_path *path;

		if (++shard->path_sweep >= shard->paths.fresh)
			shard->path_sweep = 1;
		if (shard->path_sweep >= shard->paths.fresh)
			return;
		path = path_at(shard, shard->path_sweep);
		if (!path->used)
			continue;
		if (path->ready.count || path->slots || path->outstanding || path->loading)
			path->idle_since_us = shard->now.mono_us;
		else if (path->retired || (!path_is_blocked(shard, shard->path_sweep) &&
					   shard->now.mono_us - path->idle_since_us > PATH_IDLE_US))
			path_forget(shard, shard->path_sweep);
	}
}

void paths_free(struct queue_shard *shard)
{
	for (uint32_t p = 1; shard->paths.fresh && p < shard->paths.fresh; p++) {
		struct queue_path *path = path_at(shard, p);

		if (!path->used)
			continue;
		route_release(path->route);
		free(path->workers);
	}
	free(shard->path_reuses);
	free(shard->source_hashes);
	table_finish(&shard->paths_by_key);
	slab_finish(&shard->paths);
}
