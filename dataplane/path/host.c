/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a worker remembers of hosts: see host.h. A set-associative cache. */
#include "dataplane/path/host.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 4

struct host_memory {
	uint32_t mask; /**< sets - 1 */
	struct host_note notes[];
};

struct host_memory *host_memory_create(uint32_t count)
{
	uint32_t sets = 1;
	struct host_memory *memory;

	while (sets * WAYS < count)
		sets *= 2;
	memory = calloc(1, sizeof(*memory) + (size_t)sets * WAYS * sizeof(struct host_note));
	if (memory)
		memory->mask = sets - 1;
	return memory;
}

void host_memory_destroy(struct host_memory *memory)
{
	free(memory);
}

/* Addresses are the shard's choice, and a peer that makes them collide only makes us forget. */
static struct host_note *set_of(struct host_memory *memory, const struct ip_address *address,
				uint16_t port)
{
	uint64_t high, low, hash;

	memcpy(&high, address->bytes, 8);
	memcpy(&low, address->bytes + 8, 8);
	hash = (high ^ port) * UINT64_C(0x9e3779b97f4a7c15);
	hash = (hash ^ (hash >> 29) ^ low) * UINT64_C(0xbf58476d1ce4e5b9);
	return &memory->notes[(size_t)((hash >> 32) & memory->mask) * WAYS];
}

static bool is_of(const struct host_note *note, const struct ip_address *address, uint16_t port)
{
	return note->port == port && memcmp(&note->address, address, sizeof(*address)) == 0;
}

struct host_note *host_memory_find(struct host_memory *memory, const struct ip_address *address,
				   uint16_t port)
{
	struct host_note *set = set_of(memory, address, port);

	for (unsigned i = 0; i < WAYS; i++)
		if (is_of(&set[i], address, port))
			return &set[i];
	return NULL;
}

struct host_note *host_memory_touch(struct host_memory *memory, const struct ip_address *address,
				    uint16_t port, uint64_t now_us)
{
	struct host_note *note = host_memory_find(memory, address, port);

	if (!note) {
		struct host_note *set = set_of(memory, address, port);

		note = set;
		for (unsigned i = 1; i < WAYS; i++)
			if (set[i].touched_us < note->touched_us)
				note = &set[i];
		*note = (struct host_note){.address = *address, .port = port};
	}
	note->touched_us = now_us;
	return note;
}

void host_note_failed(struct host_note *note, uint64_t now_us)
{
	uint64_t pause = HOST_BAD_US;

	for (unsigned i = 0; i < note->failures && pause < HOST_BAD_MAX_US; i++)
		pause *= 2;
	if (pause > HOST_BAD_MAX_US)
		pause = HOST_BAD_MAX_US;
	if (note->failures < UINT16_MAX)
		note->failures++;
	note->bad_until_us = now_us + pause;
}

void host_note_worked(struct host_note *note)
{
	note->failures = 0;
	note->bad_until_us = 0;
}
