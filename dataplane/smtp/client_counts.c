/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/smtp/client_counts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct slot {
	struct ip_address client;
	uint32_t count; /**< 0: empty */
};

struct client_counts {
	struct hash_key key;
	uint32_t mask; /**< slots - 1 */
	struct slot slots[];
};

struct client_counts *client_counts_create(uint32_t sessions, const struct hash_key *key)
{
	struct client_counts *counts;
	uint32_t slots = 16;

	while (slots / 2 < sessions && slots < UINT32_C(1) << 30)
		slots *= 2;
	counts = calloc(1, sizeof(*counts) + (size_t)slots * sizeof(struct slot));
	if (!counts)
		return NULL;
	counts->key = *key;
	counts->mask = slots - 1;
	return counts;
}

void client_counts_destroy(struct client_counts *counts)
{
	free(counts);
}

/** Whose address it is. */
static struct ip_address client_of(const struct ip_address *address)
{
	struct ip_address client = *address;

	if (!ip_is_v4(address))
		memset(client.bytes + 8, 0, 8);
	return client;
}

static uint32_t home_of(const struct client_counts *counts, const struct ip_address *client)
{
	uint64_t words[2];

	memcpy(words, client->bytes, sizeof(words));
	return (uint32_t)hash_words(&counts->key, words, 2) & counts->mask;
}

/** Where the client is, or the empty slot where it would be. */
static uint32_t find(const struct client_counts *counts, const struct ip_address *client)
{
	uint32_t at = home_of(counts, client);

	while (counts->slots[at].count > 0 && !ip_equal(&counts->slots[at].client, client))
		at = (at + 1) & counts->mask;
	return at;
}

uint32_t client_counts_get(const struct client_counts *counts, const struct ip_address *address)
{
	struct ip_address client = client_of(address);

	return counts->slots[find(counts, &client)].count;
}

void client_counts_add(struct client_counts *counts, const struct ip_address *address)
{
	struct ip_address client = client_of(address);
	struct slot *slot = &counts->slots[find(counts, &client)];

	slot->client = client;
	slot->count++;
}

/** Close the gap: what was pushed past it moves back (Knuth, volume 3, 6.4, algorithm R). */
static void close_gap(struct client_counts *counts, uint32_t gap)
{
	for (uint32_t at = (gap + 1) & counts->mask; counts->slots[at].count > 0;
	     at = (at + 1) & counts->mask) {
		uint32_t home = home_of(counts, &counts->slots[at].client);

		/* It may move when its home is not between the gap and where it is. */
		if (((at - home) & counts->mask) < ((at - gap) & counts->mask))
			continue;
		counts->slots[gap] = counts->slots[at];
		gap = at;
	}
	counts->slots[gap].count = 0;
}

void client_counts_remove(struct client_counts *counts, const struct ip_address *address)
{
	struct ip_address client = client_of(address);
	uint32_t at = find(counts, &client);

	assert(counts->slots[at].count > 0);
	if (--counts->slots[at].count == 0)
		close_gap(counts, at);
}
