/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Routes as sorted ranges; see routes.h. */
#include "dataplane/net/routes.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define V4_BITS	  96u /* of a prefix, in front of those of IPv4 */
#define DEPTH_MAX 129u

/* Where ranges begin and end. */
struct position {
	uint32_t link;
	uint64_t high;
	uint64_t low;
};

/* An IPv6 prefix shorter than /96 does not hold IPv4 addresses, so the families are links apart. */
static uint32_t link_of(uint16_t port, uint16_t vlan, bool v4)
{
	return (uint32_t)v4 << 31 | (uint32_t)port << 16 | vlan;
}

static bool is_v4(const struct ip_prefix *p)
{
	return p->length >= V4_BITS && ip_is_v4(&p->address);
}

static struct position position_of(uint16_t port, uint16_t vlan, const struct ip_address *a,
				   bool v4)
{
	uint64_t words[2];

	memcpy(words, a->bytes, sizeof(words));
	return (struct position){
		.link = link_of(port, vlan, v4),
		.high = v4 ? 0 : be64toh(words[0]),
		.low = v4 ? ip_to_v4(a) : be64toh(words[1]),
	};
}

static struct position first_of(const struct net_route *r)
{
	return position_of(r->port, r->vlan, &r->prefix.address, is_v4(&r->prefix));
}

/* @return false: the prefix ends with the last address there is */
static bool behind(const struct net_route *r, struct position *out)
{
	unsigned length = r->prefix.length;

	*out = first_of(r);
	out->high |= is_v4(&r->prefix) || length >= 64 ? 0 : UINT64_MAX >> length;
	out->low |= length <= 64 ? UINT64_MAX : length == 128 ? 0 : UINT64_MAX >> (length - 64);
	if (is_v4(&r->prefix)) {
		out->low++;
		return out->low <= UINT32_MAX;
	}
	out->high += ++out->low == 0;
	return out->high != 0 || out->low != 0;
}

static int compare(const struct position *a, const struct position *b)
{
	if (a->link != b->link)
		return a->link < b->link ? -1 : 1;
	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	return a->low == b->low ? 0 : a->low < b->low ? -1 : 1;
}

/* By link and start, the wider first: then every prefix comes behind those that hold it. */
static int compare_prefixes(const struct net_route *x, const struct net_route *y)
{
	struct position a = first_of(x), b = first_of(y);
	int order = compare(&a, &b);

	return order != 0 ? order : (int)x->prefix.length - (int)y->prefix.length;
}

struct candidate {
	struct net_route route;
	uint32_t order;
};

static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int order = compare_prefixes(&x->route, &y->route);

	return order != 0 ? order : x->order < y->order ? -1 : 1;
}

static int compare_broadcasts(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x == y ? 0 : x < y ? -1 : 1;
}

/* Sort, and keep the first of those alike. */
static int choose(struct route_table *table, const struct net_route *from, unsigned count)
{
	struct candidate *c = calloc(count, sizeof(*c));

	table->routes = calloc(count < ROUTES_MAX ? count : ROUTES_MAX, sizeof(*table->routes));
	if (c == NULL || table->routes == NULL) {
		free(c);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < count; i++) {
		c[i] = (struct candidate){.route = from[i], .order = i};
		c[i].route.prefix = ip_prefix_of(&from[i].prefix.address, from[i].prefix.length);
	}
	qsort(c, count, sizeof(*c), compare_candidates);
	for (unsigned i = 0; i < count; i++) {
		if (i > 0 && compare_prefixes(&c[i - 1].route, &c[i].route) == 0)
			continue;
		if (table->route_count == ROUTES_MAX) {
			free(c);
			return -ENOBUFS;
		}
		table->routes[table->route_count++] = c[i].route;
	}
	free(c);
	return 0;
}

/* From here on `hop` is the way, whatever was said of the same place before. */
static void begin_range(struct route_table *table, const struct position *at, uint32_t hop)
{
	struct route_range *last =
		table->range_count > 0 ? &table->ranges[table->range_count - 1] : NULL;

	if (last != NULL && last->link == at->link && last->high == at->high &&
	    last->low == at->low)
		table->range_count--;
	table->ranges[table->range_count++] = (struct route_range){
		.high = at->high, .low = at->low, .link = at->link, .hop = hop};
}

/* Prefixes that hold the place where we are, the longest on top. */
struct nest {
	unsigned depth;
	uint32_t routes[DEPTH_MAX]; /* index + 1 */
};

/* Leave those that do not hold `next`; NULL: all. */
static void leave(struct route_table *table, struct nest *nest, const struct position *next)
{
	while (nest->depth > 0) {
		struct position end;
		bool ends = behind(&table->routes[nest->routes[nest->depth - 1] - 1], &end);

		if (next != NULL && (!ends || compare(next, &end) < 0))
			return;
		nest->depth--;
		if (ends)
			begin_range(table, &end,
				    nest->depth > 0 ? nest->routes[nest->depth - 1] : 0);
	}
}

static void cut(struct route_table *table)
{
	struct nest nest = {0};
	uint32_t link = UINT32_MAX;

	for (uint32_t i = 0; i < table->route_count; i++) {
		struct position at = first_of(&table->routes[i]);

		if (at.link != link) {
			leave(table, &nest, NULL);
			link = at.link;
			begin_range(table, &(struct position){.link = link}, 0);
		}
		leave(table, &nest, &at);
		nest.routes[nest.depth++] = i + 1;
		begin_range(table, &at, i + 1);
	}
	leave(table, &nest, NULL);
}

static void list_broadcasts(struct route_table *table)
{
	for (unsigned i = 0; i < table->route_count; i++) {
		const struct net_route *r = &table->routes[i];

		/* RFC 3021: a /31 has none. */
		if (is_v4(&r->prefix) && ip_is_unspecified(&r->gateway) && r->prefix.length <= 126)
			table->broadcasts[table->broadcast_count++] =
				ip_to_v4(&r->prefix.address) |
				UINT32_MAX >> (r->prefix.length - V4_BITS);
	}
	qsort(table->broadcasts, table->broadcast_count, sizeof(*table->broadcasts),
	      compare_broadcasts);
}

int route_table_build(struct route_table *table, const struct net_route *from, unsigned count)
{
	int rc;

	*table = (struct route_table){0};
	if (count == 0)
		return 0;
	rc = choose(table, from, count);
	if (rc == 0) {
		/* Each begins one and lets the one around it begin again; each link begins one. */
		table->ranges = calloc((size_t)table->route_count * 3, sizeof(*table->ranges));
		table->broadcasts = calloc(table->route_count, sizeof(*table->broadcasts));
		rc = table->ranges != NULL && table->broadcasts != NULL ? 0 : -ENOMEM;
	}
	if (rc != 0) {
		route_table_free(table);
		return rc;
	}
	cut(table);
	list_broadcasts(table);
	return 0;
}

void route_table_free(struct route_table *table)
{
	free(table->routes);
	free(table->ranges);
	free(table->broadcasts);
	*table = (struct route_table){0};
}

const struct net_route *route_find(const struct route_table *table, uint16_t port, uint16_t vlan,
				   const struct ip_address *remote)
{
	struct position at = position_of(port, vlan, remote, ip_is_v4(remote));
	const struct route_range *range = table->ranges;

	/* The last that does not begin behind it. */
	for (unsigned left = table->range_count, half; left > 1; left -= half) {
		const struct route_range *middle;

		half = left / 2;
		middle = range + half;
		if (compare(&(struct position){middle->link, middle->high, middle->low}, &at) <= 0)
			range = middle;
	}
	if (range == NULL || range->link != at.link || range->hop == 0)
		return NULL;
	return &table->routes[range->hop - 1];
}

bool route_is_broadcast(const struct route_table *table, const struct ip_address *address)
{
	uint32_t v4 = ip_to_v4(address);

	return table->broadcast_count > 0 && ip_is_v4(address) &&
	       bsearch(&v4, table->broadcasts, table->broadcast_count, sizeof(v4),
		       compare_broadcasts) != NULL;
}
