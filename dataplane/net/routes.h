/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The ways out of each link (a port and a VLAN), longest prefix first, as sorted ranges: prefixes
 * nest, so they cut a link's addresses into pieces that each have one answer, at most two for each
 * prefix. A look-up is one binary search, which 4,096 routes make no longer than fifteen steps, in
 * whatever way they nest. Directed broadcast addresses (RFC 1122, 3.3.6) are a sorted list.
 *
 * Owner: one worker. Memory: as much as the routes need, made by route_table_build and never
 * changed. Always true: ranges are sorted by link and start, and those of a link begin at the
 * lowest address, so whatever is searched for on a known link lies in one of them.
 */
#ifndef MILLRACE_DATAPLANE_NET_ROUTES_H
#define MILLRACE_DATAPLANE_NET_ROUTES_H

#include "dataplane/net/address.h"

#define ROUTES_MAX 4096u

struct net_route {
	struct ip_prefix prefix;
	struct ip_address gateway; /**< unspecified: the destination is on the link */
	uint16_t port;
	uint16_t vlan;
};

/** From here up to the next range of the same link. */
struct route_range {
	uint64_t high; /**< of its first address, host order; 0 for IPv4 */
	uint64_t low;
	uint32_t link; /**< family, port and VLAN */
	uint32_t hop;  /**< index of the route + 1; 0: no route */
};

struct route_table {
	unsigned route_count;
	unsigned range_count;
	unsigned broadcast_count;
	struct net_route *routes; /**< by link and prefix, no two alike */
	struct route_range *ranges;
	uint32_t *broadcasts; /**< IPv4, host order, sorted */
};

/**
 * Make the table.
 * @param from of the same link and prefix the first counts
 * @return 0, -ENOBUFS more than ROUTES_MAX, -ENOMEM; then the table is empty
 */
int route_table_build(struct route_table *table, const struct net_route *from, unsigned count);
void route_table_free(struct route_table *table);
/** @return the longest prefix that holds `remote` on this link, NULL: no route */
const struct net_route *route_find(const struct route_table *table, uint16_t port, uint16_t vlan,
				   const struct ip_address *remote);
/** The directed broadcast address of any link. */
bool route_is_broadcast(const struct route_table *table, const struct ip_address *address);

#endif
