/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Own addresses and routes; see local.h. */
#include "dataplane/net/local.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static_assert(LOCAL_ADDRESSES_MAX < LOCAL_SEVERAL, "slots hold index + 1 in 16 bits");

int local_table_init(struct local_table *table, const struct hash_key *key)
{
	*table = (struct local_table){
		.key = *key,
		.slots = calloc(LOCAL_SLOTS, sizeof(*table->slots)),
		.addresses = calloc(LOCAL_ADDRESSES_MAX, sizeof(*table->addresses)),
	};
	if (table->slots == NULL || table->addresses == NULL) {
		local_table_free(table);
		return -ENOMEM;
	}
	return 0;
}

void local_table_free(struct local_table *table)
{
	free(table->slots);
	free(table->addresses);
	route_table_free(&table->routes);
	*table = (struct local_table){0};
}

static uint32_t slot_of(const struct local_table *table, const struct ip_address *address)
{
	uint64_t words[2];

	memcpy(words, address->bytes, sizeof(words));
	return (uint32_t)hash_words(&table->key, words, 2) & (LOCAL_SLOTS - 1);
}

static unsigned direct_of(const struct ip_address *address)
{
	return ((unsigned)address->bytes[14] << 8 | address->bytes[15]) % LOCAL_DIRECT;
}

const struct local_address *local_find(const struct local_table *table,
				       const struct ip_address *address)
{
	uint16_t direct = table->direct[direct_of(address)];
	uint32_t slot;

	if (direct == 0)
		return NULL;
	if (direct != LOCAL_SEVERAL) {
		const struct local_address *a = &table->addresses[direct - 1];

		return ip_equal(&a->address, address) ? a : NULL;
	}
	slot = slot_of(table, address);

	while (table->slots[slot] != 0) { /* at most half full, so an empty slot ends it */
		const struct local_address *a = &table->addresses[table->slots[slot] - 1];

		if (ip_equal(&a->address, address))
			return a;
		slot = (slot + 1) & (LOCAL_SLOTS - 1);
	}
	return NULL;
}

static void add_address(struct local_table *table, const struct view_address *from)
{
	uint32_t slot = slot_of(table, &from->address);
	uint16_t *direct = &table->direct[direct_of(&from->address)];

	while (table->slots[slot] != 0) {
		if (ip_equal(&table->addresses[table->slots[slot] - 1].address, &from->address))
			return; /* the first mention wins */
		slot = (slot + 1) & (LOCAL_SLOTS - 1);
	}
	table->addresses[table->address_count] = (struct local_address){
		.address = from->address, .port = from->port, .vlan = from->vlan};
	table->slots[slot] = (uint16_t)++table->address_count;
	*direct = *direct == 0 ? table->slots[slot] : LOCAL_SEVERAL;
}

/* Upper bound of what the view needs, before anything is changed. */
static bool fits(const struct view *view)
{
	return view->address_count <= LOCAL_ADDRESSES_MAX && view->route_count <= ROUTES_MAX / 2;
}

static bool same_link(const struct net_route *a, const struct net_route *b)
{
	return a->port == b->port && a->vlan == b->vlan && a->prefix.length == b->prefix.length &&
	       ip_equal(&a->prefix.address, &b->prefix.address);
}

/* The links of our addresses, then what the view says: of those alike the first counts. */
static int adopt_routes(struct local_table *table, const struct view *view)
{
	struct net_route *routes =
		calloc((size_t)view->address_count + view->route_count + 1, sizeof(*routes));
	unsigned count = 0;
	int rc;

	if (routes == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < view->address_count; i++) {
		const struct view_address *a = &view->addresses[i];
		unsigned length = a->prefix_length + (ip_is_v4(&a->address) ? 96u : 0);
		struct net_route link = {.prefix = ip_prefix_of(&a->address, length),
					 .port = a->port,
					 .vlan = a->vlan};

		/* A host prefix makes no link. Neighbours mostly share theirs. */
		if (length < 128 && (count == 0 || !same_link(&routes[count - 1], &link)))
			routes[count++] = link;
	}
	for (unsigned i = 0; i < view->route_count; i++) {
		const struct view_route *r = &view->routes[i];

		routes[count++] = (struct net_route){.prefix = r->prefix,
						     .gateway = r->gateway,
						     .port = r->port,
						     .vlan = r->vlan};
	}
	rc = route_table_build(&table->routes, routes, count);
	free(routes);
	return rc;
}

int local_table_adopt(struct local_table *table, const struct view *view)
{
	struct local_table next;

	if (!fits(view))
		return -ENOBUFS;
	if (local_table_init(&next, &table->key) != 0)
		return -ENOBUFS;
	for (unsigned i = 0; i < view->address_count; i++) {
		const struct view_address *a = &view->addresses[i];

		if (a->port >= LOCAL_PORTS_MAX || a->vlan >= 4096)
			goto full;
		next.vlans[a->port][a->vlan / 8] |= (uint8_t)(1 << a->vlan % 8);
		add_address(&next, a);
	}
	if (adopt_routes(&next, view) != 0)
		goto full;
	local_table_free(table);
	*table = next;
	return 0;
full:
	local_table_free(&next);
	return -ENOBUFS;
}

bool local_has_vlan(const struct local_table *table, uint16_t port, uint16_t vlan)
{
	return port < LOCAL_PORTS_MAX && vlan < 4096 &&
	       (table->vlans[port][vlan / 8] >> (vlan % 8) & 1) != 0;
}

bool local_is_broadcast(const struct local_table *table, const struct ip_address *address)
{
	return route_is_broadcast(&table->routes, address);
}

bool local_next_hop(const struct local_table *table, uint16_t port, uint16_t vlan,
		    const struct ip_address *remote, struct ip_address *hop)
{
	const struct net_route *r = route_find(&table->routes, port, vlan, remote);

	if (r == NULL)
		return false;
	*hop = ip_is_unspecified(&r->gateway) ? *remote : r->gateway;
	return true;
}
