/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The instruction has a latency of three cycles and a throughput of one: long input is cut into
 * three streams whose results are joined with a matrix that appends zeros (Gopal et al., "Fast CRC
 * computation for iSCSI polynomial using CRC32 instruction", Intel 2011). Tables are made once,
 * before main.
 */
#include "drivers/disk/crc32c.h"

#include <nmmintrin.h>
#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* reflected */
/** Bytes of each of the three streams. */
#define LONG_STREAM  2048u
#define SHORT_STREAM 256u

static uint32_t byte_table[8][256];
/** Appends LONG_STREAM or SHORT_STREAM zeros to a CRC, a byte of it at a time. */
static uint32_t long_shift[4][256];
static uint32_t short_shift[4][256];
static bool have_instruction;

uint32_t crc32c_table(uint32_t crc, const void *data, size_t size)
{
	const uint8_t *p = data;

	crc = ~crc;
	for (; size >= 8; size -= 8, p += 8) {
		uint64_t v;

		memcpy(&v, p, 8);
		v ^= crc;
		crc = 0;
		for (unsigned i = 0; i < 8; i++)
			crc ^= byte_table[7 - i][v >> (8 * i) & 0xff];
	}
	while (size-- > 0)
		crc = crc >> 8 ^ byte_table[0][(crc ^ *p++) & 0xff];
	return ~crc;
}

static inline uint32_t shift(const uint32_t table[4][256], uint32_t crc)
{
	return table[0][crc & 0xff] ^ table[1][crc >> 8 & 0xff] ^ table[2][crc >> 16 & 0xff] ^
	       table[3][crc >> 24];
}

static inline uint64_t load(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

static inline uint64_t three_streams(uint64_t crc, const uint8_t *p, size_t stream,
				     const uint32_t table[4][256])
{
	uint64_t a = crc, b = 0, c = 0;

	for (const uint8_t *end = p + stream; p < end; p += 8) {
		a = _mm_crc32_u64(a, load(p));
		b = _mm_crc32_u64(b, load(p + stream));
		c = _mm_crc32_u64(c, load(p + 2 * stream));
	}
	b ^= shift(table, (uint32_t)a);
	return c ^ shift(table, (uint32_t)b);
}

static uint32_t with_instruction(uint32_t start, const uint8_t *p, size_t size)
{
	uint64_t crc = (uint32_t)~start;

	for (; size >= 3 * LONG_STREAM; size -= 3 * LONG_STREAM, p += 3 * LONG_STREAM)
		crc = three_streams(crc, p, LONG_STREAM, long_shift);
	for (; size >= 3 * SHORT_STREAM; size -= 3 * SHORT_STREAM, p += 3 * SHORT_STREAM)
		crc = three_streams(crc, p, SHORT_STREAM, short_shift);
	for (; size >= 8; size -= 8, p += 8)
		crc = _mm_crc32_u64(crc, load(p));
	while (size-- > 0)
		crc = _mm_crc32_u8((uint32_t)crc, *p++);
	return ~(uint32_t)crc;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
	return have_instruction ? with_instruction(crc, data, size) : crc32c_table(crc, data, size);
}

/* The register after `bytes` zeros, for each value of each of its bytes. */
static void make_shift(uint32_t table[4][256], size_t bytes)
{
	uint32_t bit[32];

	for (unsigned i = 0; i < 32; i++) {
		uint32_t v = 1u << i;

		for (size_t n = 0; n < bytes; n++)
			v = v >> 8 ^ byte_table[0][v & 0xff];
		bit[i] = v;
	}
	for (unsigned byte = 0; byte < 4; byte++)
		for (unsigned v = 0; v < 256; v++) {
			table[byte][v] = 0;
			for (unsigned i = 0; i < 8; i++)
				if (v >> i & 1)
					table[byte][v] ^= bit[8 * byte + i];
		}
}

__attribute__((constructor)) static void make_tables(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint32_t v = i;

		for (unsigned k = 0; k < 8; k++)
			v = v >> 1 ^ (v & 1 ? POLYNOMIAL : 0);
		byte_table[0][i] = v;
	}
	for (unsigned i = 0; i < 256; i++)
		for (unsigned t = 1; t < 8; t++)
			byte_table[t][i] = byte_table[t - 1][i] >> 8 ^
					   byte_table[0][byte_table[t - 1][i] & 0xff];
	make_shift(long_shift, LONG_STREAM);
	make_shift(short_shift, SHORT_STREAM);
	have_instruction = __builtin_cpu_supports("sse4.2");
}
