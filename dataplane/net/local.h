/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the configuration says about the network: our own addresses in a keyed hash, and the ways
 * out of each (port, VLAN). Built anew by net_stack_configure; read by one worker.
 */
#ifndef MILLRACE_DATAPLANE_NET_LOCAL_H
#define MILLRACE_DATAPLANE_NET_LOCAL_H

#include "dataplane/net/address.h"
#include "dataplane/net/hash.h"
#include "dataplane/net/routes.h"
#include "dataplane/view.h"

#define LOCAL_ADDRESSES_MAX 16384u
#define LOCAL_SLOTS	    (LOCAL_ADDRESSES_MAX * 2)
#define LOCAL_PORTS_MAX	    8u
#define LOCAL_DIRECT	    4096u
#define LOCAL_SEVERAL	    UINT16_MAX

struct local_address {
	struct ip_address address;
	uint16_t port;
	uint16_t vlan;
};

struct local_table {
	struct hash_key key;
	unsigned address_count;
	uint16_t *slots; /**< LOCAL_SLOTS of index + 1; linear probing */
	/** By the low bits of the address, without a hash, for each packet asks thrice: index + 1
	 * of the only one that has them, 0: none has, LOCAL_SEVERAL: ask the slots. Whoever can
	 * choose addresses gains nothing but the slower way. */
	uint16_t direct[LOCAL_DIRECT];
	struct local_address *addresses;
	struct route_table routes;
	uint8_t vlans[LOCAL_PORTS_MAX][4096 / 8]; /**< which have an address; 0: untagged */
};

/** @return 0 or -ENOMEM */
int local_table_init(struct local_table *table, const struct hash_key *key);
void local_table_free(struct local_table *table);
/** Replace everything. @return 0, or -ENOBUFS and nothing has changed */
int local_table_adopt(struct local_table *table, const struct view *view);
/** @return the entry, or NULL when the address is not ours */
const struct local_address *local_find(const struct local_table *table,
				       const struct ip_address *address);
/** True when some address lives on this port and VLAN. */
bool local_has_vlan(const struct local_table *table, uint16_t port, uint16_t vlan);
/** The directed broadcast address of a link of ours (RFC 1122, 3.3.6). */
bool local_is_broadcast(const struct local_table *table, const struct ip_address *address);
/**
 * The next hop towards `remote` for a source on (port, vlan): longest prefix, links before
 * gateways.
 * @return false: no route
 */
bool local_next_hop(const struct local_table *table, uint16_t port, uint16_t vlan,
		    const struct ip_address *remote, struct ip_address *hop);

#endif
