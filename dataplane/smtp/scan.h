/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Finding the octets that matter in message text, sixteen at a time. */
#ifndef MILLRACE_DATAPLANE_SMTP_SCAN_H
#define MILLRACE_DATAPLANE_SMTP_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/**
 * The first CR, LF or NUL.
 * @param high set to true when an octet above 127 stands before it; left alone otherwise
 * @return its offset, or size
 */
static inline size_t scan_special(const uint8_t *data, size_t size, bool *high)
{
	size_t at = 0;
	uint8_t seen = 0;

#if defined(__SSE2__)
	const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n'), nul = _mm_setzero_si128();
	unsigned high_bits = 0;

	for (; at + 16 <= size; at += 16) {
		__m128i block = _mm_loadu_si128((const __m128i *)(const void *)(data + at));
		__m128i found = _mm_or_si128(
			_mm_or_si128(_mm_cmpeq_epi8(block, cr), _mm_cmpeq_epi8(block, lf)),
			_mm_cmpeq_epi8(block, nul));
		unsigned special = (unsigned)_mm_movemask_epi8(found);
		unsigned bits = (unsigned)_mm_movemask_epi8(block);

		if (special) {
			unsigned first = (unsigned)__builtin_ctz(special);

			if (high_bits | (bits & ((1u << first) - 1)))
				*high = true;
			return at + first;
		}
		high_bits |= bits;
	}
	if (high_bits)
		*high = true;
#endif
	for (; at < size && data[at] != '\r' && data[at] != '\n' && data[at] != '\0'; at++)
		seen |= data[at];
	if (seen & 0x80)
		*high = true;
	return at;
}

#endif
