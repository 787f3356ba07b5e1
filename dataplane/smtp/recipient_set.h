/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which recipients a transaction may already have: keyed hashes of their addresses in chunks, so
 * that a duplicate among many thousands is noticed without reading them all again. A hit must be
 * verified by the caller.
 *
 * Owner: one worker. Memory: one chunk for every RECIPIENT_SET_LOAD addresses, from the second
 * address on.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_RECIPIENT_SET_H
#define MILLRACE_DATAPLANE_SMTP_RECIPIENT_SET_H

#include "dataplane/buf/chunk.h"

#include <stdbool.h>

#define RECIPIENT_SET_SLOTS 1020u
#define RECIPIENT_SET_LOAD  700u

/** All zero is the empty set. */
struct recipient_set {
	struct chunk_list
		tables; /**< each an open-addressing table of non-zero u32; mark: entries */
};

/** @return may be there (verify), or certainly is not */
bool recipient_set_has(const struct recipient_set *set, uint64_t hash);
/** @return 0 or -ENOBUFS */
int recipient_set_add(struct recipient_set *set, struct chunk_pool *pool, uint64_t hash);
void recipient_set_free(struct recipient_set *set, struct chunk_pool *pool);

#endif
