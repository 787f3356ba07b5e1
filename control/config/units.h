/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Durations and sizes as people write them: 1h30m, 50us, 10m. Pure. */
#ifndef MILLRACE_CONTROL_CONFIG_UNITS_H
#define MILLRACE_CONTROL_CONFIG_UNITS_H

#include <stddef.h>
#include <stdint.h>

/** us ms s m h d w; several parts add up. @return 0, -EINVAL, or -ERANGE above 2^64 microseconds */
int units_read_duration(const char *text, uint64_t *us);
/** Octets, or k m g t of 1024. @return 0, -EINVAL or -ERANGE */
int units_read_size(const char *text, uint64_t *bytes);
/** In the largest unit that is exact; @return out */
char *units_write_duration(uint64_t us, char *out, size_t size);
char *units_write_size(uint64_t bytes, char *out, size_t size);

#endif
