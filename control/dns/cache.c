/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/dns/cache.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

struct entry {
	char domain[SMTP_DOMAIN_MAX + 1];
	uint64_t until_us;
	uint32_t next; /* in its bucket */
	bool used;
	struct dns_answer *answer;
};

struct dns_cache {
	uint32_t count;
	uint32_t mask;
	uint32_t hand; /* the next to be replaced: entries are taken round robin, which is oldest
			  first */
	uint32_t *buckets;
	struct entry *entries;
};

static uint32_t hash(const char *domain)
{
	uint32_t h = 2166136261u;

	for (; *domain; domain++)
		h = (h ^ (uint8_t)*domain) * 16777619u;
	return h ^ h >> 15;
}

struct dns_cache *dns_cache_create(uint32_t entries)
{
	struct dns_cache *cache = calloc(1, sizeof(*cache));
	uint32_t buckets = 16;

	if (!cache)
		return NULL;
	while (buckets < entries * 2)
		buckets *= 2;
	cache->count = entries;
	cache->mask = buckets - 1;
	cache->buckets = malloc(buckets * sizeof(uint32_t));
	cache->entries = calloc(entries, sizeof(struct entry));
	if (!cache->buckets || !cache->entries) {
		dns_cache_destroy(cache);
		return NULL;
	}
	memset(cache->buckets, 0xff, buckets * sizeof(uint32_t));
	return cache;
}

void dns_cache_destroy(struct dns_cache *cache)
{
	if (!cache)
		return;
	for (uint32_t i = 0; cache->entries && i < cache->count; i++)
		free(cache->entries[i].answer);
	free(cache->buckets);
	free(cache->entries);
	free(cache);
}

static uint32_t find(const struct dns_cache *cache, const char *domain)
{
	uint32_t at = cache->buckets[hash(domain) & cache->mask];

	while (at != NONE && strcmp(cache->entries[at].domain, domain) != 0)
		at = cache->entries[at].next;
	return at;
}

static void remove_entry(struct dns_cache *cache, uint32_t index)
{
	struct entry *entry = &cache->entries[index];
	uint32_t *link = &cache->buckets[hash(entry->domain) & cache->mask];

	while (*link != index)
		link = &cache->entries[*link].next;
	*link = entry->next;
	entry->used = false;
}

const struct dns_answer *dns_cache_find(struct dns_cache *cache, const char *domain,
					uint64_t now_us)
{
	uint32_t at = find(cache, domain);

	if (at == NONE || cache->entries[at].until_us <= now_us)
		return NULL;
	return cache->entries[at].answer;
}

void dns_cache_keep(struct dns_cache *cache, const char *domain, const struct dns_answer *answer,
		    uint64_t until_us)
{
	uint32_t at = find(cache, domain);
	struct entry *entry;

	if (at == NONE) {
		at = cache->hand;
		cache->hand = (cache->hand + 1) % cache->count;
		entry = &cache->entries[at];
		if (entry->used)
			remove_entry(cache, at);
		if (!entry->answer)
			entry->answer = malloc(sizeof(*entry->answer));
		if (!entry->answer)
			return; /* not cached: asked again next time */
		strcpy(entry->domain, domain);
		entry->next = cache->buckets[hash(domain) & cache->mask];
		cache->buckets[hash(domain) & cache->mask] = at;
		entry->used = true;
	}
	entry = &cache->entries[at];
	*entry->answer = *answer;
	entry->until_us = until_us;
}

void dns_cache_forget(struct dns_cache *cache, const char *domain)
{
	if (domain) {
		uint32_t at = find(cache, domain);

		if (at != NONE)
			remove_entry(cache, at);
		return;
	}
	for (uint32_t i = 0; i < cache->count; i++)
		if (cache->entries[i].used)
			remove_entry(cache, i);
}
