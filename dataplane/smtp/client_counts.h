/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How many sessions each client has now. A client is an IPv4 address or an IPv6 /64: whoever has
 * one IPv6 address has 2^64 of them (RFC 6177).
 *
 * How: an open-addressing table with a keyed hash, linear
 * probing and no tombstones.
 *
 * Owner: one worker. Memory: one block at creation, twice as many slots as there can be sessions.
 * Always true: a client is in the table while its count is above zero, and only then.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_CLIENT_COUNTS_H
#define MILLRACE_DATAPLANE_SMTP_CLIENT_COUNTS_H

#include "dataplane/net/address.h"
#include "dataplane/net/hash.h"

struct client_counts;

/** @param sessions the sum of all counts never exceeds this @return NULL when memory is short */
struct client_counts *client_counts_create(uint32_t sessions, const struct hash_key *key);
void client_counts_destroy(struct client_counts *counts);
uint32_t client_counts_get(const struct client_counts *counts, const struct ip_address *address);
void client_counts_add(struct client_counts *counts, const struct ip_address *address);
/** The address was added. */
void client_counts_remove(struct client_counts *counts, const struct ip_address *address);

#endif
