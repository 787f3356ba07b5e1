/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The Internet checksum; see checksum.h. */
#include "dataplane/net/checksum.h"

#include <emmintrin.h>
#include <string.h>

#define VECTORS 32u /* bytes a step */

static inline uint64_t add_carry(uint64_t sum, uint64_t value)
{
	sum += value;
	return sum + (sum < value);
}

static inline uint64_t load_tail(const uint8_t *p, size_t size)
{
	uint64_t value = 0;

	memcpy(&value, p, size); /* little endian: a missing last byte counts as zero */
	return value;
}

/*
 * Long runs go through vectors: 32-bit words are added into 64-bit lanes, which cannot overflow
 * below 2^32 words, and need no carry between them (2^32 is 1 modulo 2^16 - 1, as 2^64 is).
 */
struct lanes {
	__m128i low[2];
	__m128i high[2];
};

static inline void lanes_add(struct lanes *l, unsigned which, __m128i value)
{
	const __m128i mask = _mm_set1_epi64x(0xffffffff);

	l->low[which] = _mm_add_epi64(l->low[which], _mm_and_si128(value, mask));
	l->high[which] = _mm_add_epi64(l->high[which], _mm_srli_epi64(value, 32));
}

static inline uint64_t lanes_sum(const struct lanes *l, uint64_t sum)
{
	__m128i all = _mm_add_epi64(_mm_add_epi64(l->low[0], l->low[1]),
				    _mm_add_epi64(l->high[0], l->high[1]));

	sum = add_carry(sum, (uint64_t)_mm_cvtsi128_si64(all));
	return add_carry(sum, (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(all, all)));
}

/* What is left of less than a vector pair. */
static inline uint64_t add_short(uint64_t sum, const uint8_t *p, size_t size)
{
	while (size >= 8) {
		uint64_t a;

		memcpy(&a, p, 8);
		sum = add_carry(sum, a);
		p += 8;
		size -= 8;
	}
	return size > 0 ? add_carry(sum, load_tail(p, size)) : sum;
}

uint64_t checksum_add(uint64_t sum, const void *data, size_t size)
{
	const uint8_t *p = data;
	struct lanes l = {0};

	if (size < 2 * VECTORS)
		return add_short(sum, p, size);
	for (; size >= VECTORS; p += VECTORS, size -= VECTORS) {
		lanes_add(&l, 0, _mm_loadu_si128((const __m128i *)(const void *)p));
		lanes_add(&l, 1, _mm_loadu_si128((const __m128i *)(const void *)(p + 16)));
	}
	return add_short(lanes_sum(&l, sum), p, size);
}

uint64_t checksum_copy(uint64_t sum, void *to, const void *from, size_t size)
{
	const uint8_t *p = from;
	uint8_t *t = to;
	struct lanes l = {0};

	for (; size >= VECTORS; p += VECTORS, t += VECTORS, size -= VECTORS) {
		__m128i a = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + 16));

		_mm_storeu_si128((__m128i *)(void *)t, a);
		_mm_storeu_si128((__m128i *)(void *)(t + 16), b);
		lanes_add(&l, 0, a);
		lanes_add(&l, 1, b);
	}
	memcpy(t, p, size);
	return add_short(lanes_sum(&l, sum), p, size);
}

uint64_t checksum_pseudo(const struct ip_address *source, const struct ip_address *destination,
			 uint8_t protocol, uint32_t length)
{
	uint64_t sum;

	if (ip_is_v4(source)) {
		sum = checksum_add(0, source->bytes + 12, 4);
		sum = checksum_add(sum, destination->bytes + 12, 4);
	} else {
		sum = checksum_add(0, source->bytes, 16);
		sum = checksum_add(sum, destination->bytes, 16);
	}
	sum = add_carry(sum, __builtin_bswap32(length));
	return add_carry(sum, (uint64_t)protocol << 8); /* a zero byte, then the protocol */
}

uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

void checksum_store(uint8_t *field, uint64_t sum)
{
	uint16_t v = (uint16_t)~checksum_fold(sum);

	memcpy(field, &v, sizeof(v));
}
