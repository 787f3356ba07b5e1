/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The Internet checksum; see checksum.h. */
#include "dataplane/net/checksum.h"

#include <string.h>

static inline uint64_t add_carry(uint64_t sum, uint64_t value)
{
	sum += value;
	return sum + (sum < value);
}

/* Headers, and what is left of less than a vector; little endian: a missing last byte counts as
 * zero.
 */
static inline uint64_t add_short(uint64_t sum, const uint8_t *p, size_t size)
{
	uint64_t eight;
	uint32_t four;
	uint16_t two;

	for (; size >= 8; p += 8, size -= 8) {
		memcpy(&eight, p, 8);
		sum = add_carry(sum, eight);
	}
	if ((size & 4) != 0) {
		memcpy(&four, p, 4);
		sum = add_carry(sum, four);
		p += 4;
	}
	if ((size & 2) != 0) {
		memcpy(&two, p, 2);
		sum = add_carry(sum, two);
		p += 2;
	}
	return (size & 1) != 0 ? add_carry(sum, *p) : sum;
}

/*
 * Long runs go through vectors: both halves of each 64-bit lane are summed by themselves, which
 * cannot overflow below 2^32 lanes and needs no carry between them (2^32 is 1 modulo 2^16 - 1, as
 * 2^64 is).
 */
typedef uint64_t vector __attribute__((vector_size(32)));

#define VECTOR sizeof(vector)
#define LONG   (2 * VECTOR)

/* @param to NULL: only the sum; size at least a vector's */
static inline __attribute__((always_inline)) uint64_t sum_vectors(uint64_t sum, uint8_t *to,
								  const uint8_t *from, size_t size)
{
	vector low = {0}, high = {0};
	size_t done = 0;

	for (; size - done >= VECTOR; done += VECTOR) {
		vector v;

		memcpy(&v, from + done, VECTOR);
		if (to != NULL)
			memcpy(to + done, &v, VECTOR);
		low += v & 0xffffffff;
		high += v >> 32;
	}
	if (to != NULL) /* the rest, and some of what is there already */
		memcpy(to + size - VECTOR, from + size - VECTOR, VECTOR);
	low += high;
	sum = add_carry(sum, low[0] + low[1] + low[2] + low[3]);
	return add_short(sum, from + done, size - done);
}

/* The same for CPUs with 256-bit integer vectors: twice as fast. */
static __attribute__((target("avx2"))) uint64_t sum_wide(uint64_t sum, const uint8_t *from,
							 size_t size)
{
	return sum_vectors(sum, NULL, from, size);
}

static __attribute__((target("avx2"))) uint64_t copy_wide(uint64_t sum, uint8_t *to,
							  const uint8_t *from, size_t size)
{
	return sum_vectors(sum, to, from, size);
}

uint64_t checksum_add(uint64_t sum, const void *data, size_t size)
{
	if (size < LONG)
		return add_short(sum, data, size);
	if (__builtin_cpu_supports("avx2"))
		return sum_wide(sum, data, size);
	return sum_vectors(sum, NULL, data, size);
}

uint64_t checksum_copy(uint64_t sum, void *to, const void *from, size_t size)
{
	if (size < LONG) {
		memcpy(to, from, size);
		return add_short(sum, from, size);
	}
	if (__builtin_cpu_supports("avx2"))
		return copy_wide(sum, to, from, size);
	return sum_vectors(sum, to, from, size);
}

uint64_t checksum_pseudo(const struct ip_address *source, const struct ip_address *destination,
			 uint8_t protocol, uint32_t length)
{
	unsigned from = ip_is_v4(source) ? 12 : 0;
	uint64_t sum = add_short(0, source->bytes + from, 16 - from);

	sum = add_short(sum, destination->bytes + from, 16 - from);
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
