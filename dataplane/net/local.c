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
		.routes = calloc(ROUTES_MAX, sizeof(*table->routes)),
	};
	if (table->slots == NULL || table->addresses == NULL || table->routes == NULL) {
		local_table_free(table);
		return -ENOMEM;
	}
	return 0;
}

void local_table_free(struct local_table *table)
{
	free(table->slots);
	free(table->addresses);
	free(table->routes);
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

static struct ip_prefix link_prefix(const struct view_address *from)
{
	unsigned length = from->prefix_length + (ip_is_v4(&from->address) ? 96u : 0);
	struct ip_prefix p = {.address = from->address, .length = (uint8_t)length};

	for (unsigned i = 0; i < 16; i++) {
		unsigned bits = length > i * 8 ? length - i * 8 : 0;

		if (bits < 8)
			p.address.bytes[i] &= (uint8_t)(0xff00 >> bits);
	}
	return p;
}

static int add_route(struct local_table *table, const struct local_route *route)
{
	for (unsigned i = 0; i < table->route_count; i++) {
		const struct local_route *r = &table->routes[i];

		if (r->port == route->port && r->vlan == route->vlan &&
		    r->prefix.length == route->prefix.length &&
		    ip_equal(&r->prefix.address, &route->prefix.address))
			return 0;
	}
	if (table->route_count == ROUTES_MAX)
		return -ENOBUFS;
	table->routes[table->route_count++] = *route;
	return 0;
}

static int compare_routes(const void *a, const void *b)
{
	const struct local_route *x = a, *y = b;
	bool x_link = ip_is_unspecified(&x->gateway), y_link = ip_is_unspecified(&y->gateway);

	if (x->prefix.length != y->prefix.length)
		return (int)y->prefix.length - (int)x->prefix.length;
	return (int)y_link - (int)x_link;
}

/* Upper bound of what the view needs, before anything is changed. */
static bool fits(const struct view *view)
{
	return view->address_count <= LOCAL_ADDRESSES_MAX && view->route_count <= ROUTES_MAX / 2;
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
		struct local_route link = {
			.prefix = link_prefix(a), .port = a->port, .vlan = a->vlan};

		if (a->port >= LOCAL_PORTS_MAX || a->vlan >= 4096)
			goto full;
		next.vlans[a->port][a->vlan / 8] |= (uint8_t)(1 << a->vlan % 8);
		add_address(&next, a);
		/* A host prefix makes no link. */
		if (link.prefix.length < 128 && add_route(&next, &link) != 0)
			goto full;
	}
	for (unsigned i = 0; i < view->route_count; i++) {
		const struct view_route *r = &view->routes[i];
		struct local_route route = {.prefix = r->prefix,
					    .gateway = r->gateway,
					    .port = r->port,
					    .vlan = r->vlan};

		if (add_route(&next, &route) != 0)
			goto full;
	}
	qsort(next.routes, next.route_count, sizeof(*next.routes), compare_routes);
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
	for (unsigned i = 0; ip_is_v4(address) && i < table->route_count; i++) {
		const struct ip_prefix *p = &table->routes[i].prefix;
		uint32_t host;

		if (!ip_is_unspecified(&table->routes[i].gateway) || !ip_is_v4(&p->address) ||
		    p->length < 96 || p->length > 126) /* RFC 3021: a /31 has none */
			continue;
		host = UINT32_MAX >> (p->length - 96);
		if (ip_prefix_contains(p, address) && (ip_to_v4(address) & host) == host)
			return true;
	}
	return false;
}

bool local_next_hop(const struct local_table *table, uint16_t port, uint16_t vlan,
		    const struct ip_address *remote, struct ip_address *hop)
{
	for (unsigned i = 0; i < table->route_count; i++) {
		const struct local_route *r = &table->routes[i];

		if (r->port != port || r->vlan != vlan || !ip_prefix_contains(&r->prefix, remote) ||
		    (r->prefix.length < 96 && ip_is_v4(remote)))
			continue;
		*hop = ip_is_unspecified(&r->gateway) ? *remote : r->gateway;
		return true;
	}
	return false;
}
