/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * CRC32C (Castagnoli; RFC 3720, B.4): SSE4.2's instruction where the CPU has it, three streams at
 * once for long input, a table elsewhere. The same results on all.
 */
#ifndef MILLRACE_DRIVERS_DISK_CRC32C_H
#define MILLRACE_DRIVERS_DISK_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/** @param crc 0, or the result of the bytes before: crc32c(crc32c(0, a), b) = crc32c(0, ab) */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);
/** The portable form, for comparison. */
uint32_t crc32c_table(uint32_t crc, const void *data, size_t size);

#endif
