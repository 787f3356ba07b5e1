/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The Internet checksum; see checksum.h. */
#include "dataplane/net/checksum.h"

#include <string.h>

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

uint64_t checksum_add(uint64_t sum, const void *data, size_t size)
{
	const uint8_t *p = data;
	uint64_t other = 0;

	while (size >= 16) {
		uint64_t a, b;

		memcpy(&a, p, 8);
		memcpy(&b, p + 8, 8);
		sum = add_carry(sum, a);
		other = add_carry(other, b);
		p += 16;
		size -= 16;
	}
	if (size >= 8) {
		uint64_t a;

		memcpy(&a, p, 8);
		sum = add_carry(sum, a);
		p += 8;
		size -= 8;
	}
	if (size > 0)
		sum = add_carry(sum, load_tail(p, size));
	return add_carry(sum, other);
}

uint64_t checksum_copy(uint64_t sum, void *to, const void *from, size_t size)
{
	uint8_t *t = to;
	const uint8_t *p = from;

	while (size >= 8) {
		uint64_t a;

		memcpy(&a, p, 8);
		memcpy(t, &a, 8);
		sum = add_carry(sum, a);
		p += 8;
		t += 8;
		size -= 8;
	}
	if (size > 0) {
		memcpy(t, p, size);
		sum = add_carry(sum, load_tail(p, size));
	}
	return sum;
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
