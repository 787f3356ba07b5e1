/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Sites: groups of mail exchangers that share limits. A site is named by its exchangers and by the
 * destination whose settings it has, so that a domain with settings of its own never shares a path
 * with domains that have others.
 *
 * A message's source is chosen from its pool for each site by smooth weighted round robin: after a
 * first choice that is drawn, each source has its share of any run to within one, without bursts.
 * Sources that cannot reach the site (address family), or whose path is held back while another's
 * is not, are passed over.
 */
#include "control/queue/shard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** How well a destination's name fits: the longest exact or parent match. 0: not at all. */
static size_t destination_fit(const char *pattern, const char *name)
{
	size_t size = strlen(pattern), length = name ? strlen(name) : 0;

	if (size == 0 || length == 0)
		return 0;
	if (!strcasecmp(pattern, name))
		return 1000 + size;
	if (pattern[0] == '.' && length > size && !strcasecmp(name + length - size, pattern))
		return size;
	return 0;
}

uint32_t destination_find(const struct queue_settings_view *view, const char *domain,
			  const char *site)
{
	uint32_t best = 0;
	size_t fit = 0;

	for (uint32_t i = 1; i < view->destination_count; i++) {
		const char *pattern = view->destinations[i].domain;
		size_t here = 2 * destination_fit(pattern, domain);

		/* What is said of the domain goes before what is said of its site. */
		if (here == 0 && destination_fit(pattern, site))
			here = 1;
		if (here > fit) {
			fit = here;
			best = i;
		}
	}
	return best;
}

static bool same_settings(const struct path_settings *a, const struct path_settings *b)
{
	return a->tls == b->tls && a->connections_max == b->connections_max &&
	       a->messages_per_connection == b->messages_per_connection &&
	       a->recipients_per_message == b->recipients_per_message &&
	       a->idle_timeout_us == b->idle_timeout_us &&
	       a->reuse_time_max_us == b->reuse_time_max_us &&
	       a->connect_timeout_us == b->connect_timeout_us &&
	       a->greeting_timeout_us == b->greeting_timeout_us &&
	       a->command_timeout_us == b->command_timeout_us &&
	       a->data_init_timeout_us == b->data_init_timeout_us &&
	       a->data_block_timeout_us == b->data_block_timeout_us &&
	       a->data_done_timeout_us == b->data_done_timeout_us &&
	       a->tls_handshake_timeout_us == b->tls_handshake_timeout_us &&
	       a->use_pipelining == b->use_pipelining && a->use_chunking == b->use_chunking &&
	       a->use_bbr == b->use_bbr;
}

static void site_take_settings(struct queue_site *site, const struct queue_destination *destination)
{
	if (same_settings(&site->settings, &destination->settings) &&
	    site->message_rate_per_hour == destination->message_rate_per_hour)
		return;
	site->settings = destination->settings;
	site->message_rate_per_hour = destination->message_rate_per_hour;
	site->version++;
}

static bool site_has_host(const struct queue_site *site, const struct resolution_host *host,
			  uint16_t port)
{
	for (unsigned i = 0; i < site->host_count; i++) {
		if (ip_equal(&site->hosts[i].address, &host->address) && site->ports[i] == port &&
		    site->hosts[i].preference == host->preference &&
		    !strcmp(site->hosts[i].name, host->name))
			return true;
	}
	return false;
}

static void site_take_hosts(struct queue_site *site, const struct resolution *answer,
			    const uint16_t *ports)
{
	bool same = site->host_count == answer->host_count;

	for (unsigned i = 0; same && i < answer->host_count; i++)
		same = site_has_host(site, &answer->hosts[i], ports[i]);
	if (!same)
		site->version++;
	site->answers++;
	site->host_count = answer->host_count;
	site->secure = answer->secure;
	memcpy(site->hosts, answer->hosts, sizeof(site->hosts));
	memcpy(site->ports, ports, sizeof(site->ports));
}

static bool site_has_key(const void *context, uint32_t s, const void *key)
{
	const struct queue_site *site = slab_at(context, s);

	return !strcmp(site->key, key);
}

int sites_init(struct queue_shard *shard, uint32_t maximum)
{
	if (slab_init(&shard->sites, sizeof(struct queue_site), maximum) < 0)
		return -ENOMEM;
	return table_init(&shard->sites_by_key, site_has_key, &shard->sites);
}

static uint32_t site_make(struct queue_shard *shard, const char *key, uint64_t hash)
{
	uint32_t s = slab_alloc(&shard->sites);
	struct queue_site *site;

	if (!s)
		return 0;
	site = site_at(shard, s);
	site->key = strdup(key);
	if (!site->key || table_insert(&shard->sites_by_key, hash, s) < 0) {
		free(site->key);
		slab_free(&shard->sites, s);
		return 0;
	}
	site->used = true;
	return s;
}

uint32_t site_adopt(struct queue_shard *shard, const struct resolution *answer,
		    const uint16_t *ports, uint32_t destination)
{
	const struct queue_destination *settings = &shard->view->destinations[destination];
	char key[560];
	struct queue_site *site;
	uint64_t hash;
	uint32_t s;

	snprintf(key, sizeof(key), "%s\n%s", answer->site, settings->domain);
	hash = table_hash(shard->seed, key, strlen(key));
	s = table_find(&shard->sites_by_key, hash, key);
	if (!s)
		s = site_make(shard, key, hash);
	if (!s)
		return 0;
	site = site_at(shard, s);
	snprintf(site->name, sizeof(site->name), "%s", answer->site);
	snprintf(site->destination, sizeof(site->destination), "%s", settings->domain);
	site_take_settings(site, settings);
	site_take_hosts(site, answer, ports);
	return s;
}

static void pools_free(struct queue_site *site)
{
	while (site->pools) {
		struct site_pool *next = site->pools->next;

		free(site->pools);
		site->pools = next;
	}
}

void site_release(struct queue_shard *shard, uint32_t s)
{
	struct queue_site *site = site_at(shard, s);

	if (site->paths || site->domains)
		return;
	pools_free(site);
	table_remove(&shard->sites_by_key, table_hash(shard->seed, site->key, strlen(site->key)),
		     s);
	free(site->key);
	slab_free(&shard->sites, s);
}

static uint32_t pool_find(const struct queue_settings_view *view, const char *name)
{
	for (uint32_t i = 0; i < view->pool_count; i++) {
		if (!strcmp(view->pools[i].name, name))
			return i;
	}
	return 0;
}

/** Many sites that each get one message must get it from all members, each by its weight: the first
 * choice is drawn, then the rounds begin. */
static void pool_start(struct queue_shard *shard, struct site_pool *state,
		       const struct queue_pool *pool)
{
	uint64_t total = 0, drawn;

	for (unsigned i = 0; i < state->count; i++) {
		total += pool->members[i].weight;
		state->current[i] = -(int64_t)pool->members[i].weight;
	}
	if (total == 0)
		return;
	drawn = random_u64(shard->settings.random) % total;
	for (unsigned i = 0; i < state->count; i++) {
		if (drawn < pool->members[i].weight) {
			state->current[i] += (int64_t)total;
			return;
		}
		drawn -= pool->members[i].weight;
	}
}

static struct site_pool *site_pool_get(struct queue_shard *shard, struct queue_site *site,
				       uint32_t pool, unsigned count)
{
	struct site_pool *state;

	for (state = site->pools; state; state = state->next) {
		if (state->pool == pool)
			return state;
	}
	state = calloc(1, sizeof(*state) + count * sizeof(state->current[0]));
	if (!state)
		return NULL;
	state->pool = pool;
	state->count = count;
	pool_start(shard, state, &shard->view->pools[pool]);
	state->next = site->pools;
	site->pools = state;
	return state;
}

static bool source_reaches(const struct queue_source *source, const struct queue_site *site)
{
	for (unsigned i = 0; i < site->host_count; i++) {
		if (ip_is_v4(&site->hosts[i].address) ? source->has_v4 : source->has_v6)
			return true;
	}
	return false;
}

/** One round of smooth weighted round robin over the members that are eligible. @return member, or
 * -1 */
static int pool_pick(struct site_pool *state, const struct queue_pool *pool, const bool *eligible)
{
	int64_t total = 0;
	int best = -1;

	for (unsigned i = 0; i < state->count; i++) {
		if (!eligible[i])
			continue;
		state->current[i] += pool->members[i].weight;
		total += pool->members[i].weight;
		if (best < 0 || state->current[i] > state->current[best])
			best = (int)i;
	}
	if (best >= 0)
		state->current[best] -= total;
	return best;
}

#define POOL_MEMBERS_MAX 4096u

/**
 * Which members can take the message. @return false when none reaches the site
 */
static bool pool_eligible(struct queue_shard *shard, uint32_t s, const struct queue_pool *pool,
			  unsigned count, bool *eligible)
{
	const struct queue_settings_view *view = shard->view;
	struct queue_site *site = site_at(shard, s);
	bool reached = false, open = false;
	bool *blocked = eligible + count;

	for (unsigned i = 0; i < count; i++) {
		uint32_t source = pool->members[i].source;
		uint32_t p;

		eligible[i] =
			source < view->source_count && source_reaches(&view->sources[source], site);
		blocked[i] = false;
		if (!eligible[i])
			continue;
		reached = true;
		p = site->paths ? path_find(shard, source, s) : 0;
		blocked[i] = p && path_is_blocked(shard, p);
		open = open || !blocked[i];
	}
	for (unsigned i = 0; open && i < count; i++)
		eligible[i] = eligible[i] && !blocked[i];
	return reached;
}

uint32_t site_choose_path(struct queue_shard *shard, uint32_t s, uint32_t m, char *why)
{
	const struct queue_settings_view *view = shard->view;
	const char *name = index_class(&shard->index, index_message(&shard->index, m), CLASS_POOL);
	const struct queue_pool *pool;
	struct site_pool *state;
	bool eligible[2 * 64];
	bool *members = eligible;
	uint32_t index, p = 0;
	unsigned count;
	int best;

	if (view->pool_count == 0) {
		snprintf(why, SITE_WHY_MAX, "no pool of sources is configured");
		return 0;
	}
	index = pool_find(view, name);
	pool = &view->pools[index];
	count = pool->member_count < POOL_MEMBERS_MAX ? pool->member_count : POOL_MEMBERS_MAX;
	state = site_pool_get(shard, site_at(shard, s), index, count);
	if (count > 64)
		members = malloc(2 * (size_t)count);
	if (!state || !members) {
		snprintf(why, SITE_WHY_MAX, "memory is short");
	} else if (!pool_eligible(shard, s, pool, count, members)) {
		snprintf(why, SITE_WHY_MAX,
			 "no source of pool %.60s has an address of the family of %.80s",
			 pool->name, site_at(shard, s)->name);
	} else {
		best = pool_pick(state, pool, members);
		p = best < 0 ? 0 : path_get(shard, pool->members[best].source, s);
		if (!p)
			snprintf(why, SITE_WHY_MAX, "the table of paths is full");
	}
	if (members != eligible)
		free(members);
	return p;
}

void sites_reconfigure(struct queue_shard *shard)
{
	for (uint32_t s = 1; s < shard->sites.fresh; s++) {
		struct queue_site *site = site_at(shard, s);

		if (!site->used)
			continue;
		pools_free(site);
		for (uint32_t i = 0; i < shard->view->destination_count; i++) {
			if (!strcmp(shard->view->destinations[i].domain, site->destination))
				site_take_settings(site, &shard->view->destinations[i]);
		}
	}
}

void sites_free(struct queue_shard *shard)
{
	for (uint32_t s = 1; shard->sites.fresh && s < shard->sites.fresh; s++) {
		struct queue_site *site = site_at(shard, s);

		if (!site->used)
			continue;
		pools_free(site);
		free(site->key);
	}
	table_finish(&shard->sites_by_key);
	slab_finish(&shard->sites);
}
