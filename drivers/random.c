/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "drivers/random.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

static uint32_t rotate_left(uint32_t v, unsigned n)
{
	return v << n | v >> (32 - n);
}

static void quarter_round(uint32_t *x, unsigned a, unsigned b, unsigned c, unsigned d)
{
	x[a] += x[b];
	x[d] = rotate_left(x[d] ^ x[a], 16);
	x[c] += x[d];
	x[b] = rotate_left(x[b] ^ x[c], 12);
	x[a] += x[b];
	x[d] = rotate_left(x[d] ^ x[a], 8);
	x[c] += x[d];
	x[b] = rotate_left(x[b] ^ x[c], 7);
}

/* RFC 8439, 2.3 */
static void next_block(struct mr_random *r)
{
	uint32_t x[16];

	memcpy(x, r->state, sizeof(x));
	for (unsigned i = 0; i < 10; i++) {
		quarter_round(x, 0, 4, 8, 12);
		quarter_round(x, 1, 5, 9, 13);
		quarter_round(x, 2, 6, 10, 14);
		quarter_round(x, 3, 7, 11, 15);
		quarter_round(x, 0, 5, 10, 15);
		quarter_round(x, 1, 6, 11, 12);
		quarter_round(x, 2, 7, 8, 13);
		quarter_round(x, 3, 4, 9, 14);
	}
	for (unsigned i = 0; i < 16; i++)
		x[i] += r->state[i];
	memcpy(r->block, x, sizeof(x));
	if (++r->state[12] == 0)
		r->state[13]++;
	r->used = 0;
}

static void set_key(struct mr_random *r, const uint8_t key[32])
{
	static const char constant[16] = "expand 32-byte k";

	memcpy(&r->state[0], constant, 16);
	memcpy(&r->state[4], key, 32);
	memset(&r->state[12], 0, 16);
	r->used = sizeof(r->block);
}

int random_init(struct mr_random *r)
{
	uint8_t key[32];

	if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key))
		return -errno;
	set_key(r, key);
	explicit_bzero(key, sizeof(key));
	return 0;
}

void random_init_seed(struct mr_random *r, uint64_t seed)
{
	uint8_t key[32] = {0};

	memcpy(key, &seed, sizeof(seed));
	set_key(r, key);
}

void random_bytes(struct mr_random *r, void *to, size_t size)
{
	uint8_t *p = to;

	while (size > 0) {
		if (r->used == sizeof(r->block))
			next_block(r);
		size_t n = sizeof(r->block) - r->used;
		if (n > size)
			n = size;
		memcpy(p, r->block + r->used, n);
		/* What was handed out is not kept: a later leak of the state does not show it. */
		memset(r->block + r->used, 0, n);
		r->used += n;
		p += n;
		size -= n;
	}
}

uint32_t random_u32(struct mr_random *r)
{
	uint32_t v;

	random_bytes(r, &v, sizeof(v));
	return v;
}

uint64_t random_u64(struct mr_random *r)
{
	uint64_t v;

	random_bytes(r, &v, sizeof(v));
	return v;
}

uint32_t random_below(struct mr_random *r, uint32_t below)
{
	assert(below > 0);
	return (uint32_t)(((uint64_t)random_u32(r) * below) >> 32);
}
