/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Tuple -> TCB: open addressing over cache lines of eight (tag, index) pairs, keyed hash, fixed
 * size, four sevenths full at most. A lookup reads one line nearly always, and then the TCB, whose
 * first line holds the tuple. Always true: every entry lies in its home line, or all lines from its
 * home to its place are full.
 */
#ifndef MILLRACE_DATAPLANE_TCP_TABLE_H
#define MILLRACE_DATAPLANE_TCP_TABLE_H

#include "dataplane/tcp/tcb.h"

int tcp_table_init(struct tcp_table *table, uint32_t entries);
void tcp_table_free(struct tcp_table *table);
/** Hash of a tuple; never 0. */
uint64_t tcp_tuple_hash(const struct hash_key *key, const struct ip_address *local,
			uint16_t local_port, const struct ip_address *remote, uint16_t remote_port);
struct tcb *tcp_table_find(const struct tcp_layer *layer, uint64_t hash,
			   const struct ip_address *local, uint16_t local_port,
			   const struct ip_address *remote, uint16_t remote_port);
/** The table has room for every TCB of the layer. */
void tcp_table_insert(struct tcp_table *table, uint64_t hash, uint32_t index);
void tcp_table_remove(struct tcp_table *table, uint64_t hash, uint32_t index);

#endif
