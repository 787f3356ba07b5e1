/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A single-producer single-consumer ring of fixed-size records between two threads: rte_ring
 * without EAL. A full ring is back-pressure: the producer keeps the record and tries again in its
 * next turn; nothing is dropped.
 */
#ifndef MILLRACE_DATAPLANE_BUF_RING_H
#define MILLRACE_DATAPLANE_BUF_RING_H

#include <stdbool.h>
#include <stdint.h>

struct ring;

/**
 * @param slots at least this many records fit
 * @param record_size bytes; a multiple of 4
 */
struct ring *ring_create(uint32_t slots, uint32_t record_size);
void ring_destroy(struct ring *ring);
/** @return false when full */
bool ring_put(struct ring *ring, const void *record);
/** @return false when empty */
bool ring_get(struct ring *ring, void *record);
uint32_t ring_count(const struct ring *ring);
uint32_t ring_room(const struct ring *ring);

#endif
