/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Routes: whatever the configuration says, the answers are those of a linear search for the longest
 * prefix, and thousands of routes and addresses cost a look-up no more than one does. */
#include "dataplane/net/local.h"
#include "drivers/random.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define ROUNDS	   300u
#define QUESTIONS  400u
#define ROUTES	   64u
#define ADDRESSES  16u
#define MANY	   (ROUTES_MAX / 2)
#define SLOWER	   12.0 /* a linear search is hundreds of times slower */
#define LOOK_UPS   20000u
#define REPEATS	   7u
#define STEPS_MOST 15u

struct fixture {
	struct mr_random random;
	struct view_address addresses[ADDRESSES];
	struct view_route routes[ROUTES];
	struct view view;
	struct local_table table;
};

/* Few different bits, so that prefixes nest, touch and hold what is asked for. */
static struct ip_address some_address(struct mr_random *random, bool v4)
{
	struct ip_address a = {{0}};

	if (v4)
		return ip_from_v4(random_below(random, 4) << 30 | random_below(random, 4) << 14 |
				  random_below(random, 8) |
				  (random_below(random, 3) == 0 ? 0xf8 : 0));
	a.bytes[0] = (uint8_t)(random_below(random, 3) * 0x7f);
	a.bytes[7] = (uint8_t)random_below(random, 4);
	a.bytes[8] = (uint8_t)(random_below(random, 2) << 7);
	a.bytes[15] = (uint8_t)random_below(random, 8);
	if (random_below(random, 4) == 0)
		memset(a.bytes + random_below(random, 16), 255, 1);
	if (random_below(random, 8) == 0)
		memset(a.bytes, 255, 16);
	return a;
}

static void make_view(struct fixture *f)
{
	struct mr_random *random = &f->random;

	f->view = (struct view){.addresses = f->addresses, .routes = f->routes};
	f->view.address_count = random_below(random, ADDRESSES + 1);
	f->view.route_count = random_below(random, ROUTES + 1);
	for (unsigned i = 0; i < f->view.address_count; i++) {
		bool v4 = random_below(random, 2) != 0;

		f->addresses[i] = (struct view_address){
			.address = some_address(random, v4),
			.prefix_length = (uint8_t)random_below(random, v4 ? 33 : 129),
			.port = (uint16_t)random_below(random, 2),
			.vlan = (uint16_t)random_below(random, 2)};
	}
	for (unsigned i = 0; i < f->view.route_count; i++) {
		bool v4 = random_below(random, 2) != 0;
		struct ip_address a = some_address(random, v4);

		f->routes[i] = (struct view_route){
			.prefix = ip_prefix_of(&a, v4 ? 96 + random_below(random, 33)
						      : random_below(random, 129)),
			.port = (uint16_t)random_below(random, 2),
			.vlan = (uint16_t)random_below(random, 2)};
		if (random_below(random, 5) != 0)
			f->routes[i].gateway = ip_from_v4(0x0a000000 + i);
	}
}

/* --- the model: look at everything --- */
struct answer {
	bool found;
	unsigned length;
	struct ip_address hop;
};

static void consider(struct answer *best, const struct ip_prefix *p,
		     const struct ip_address *gateway, const struct ip_address *to)
{
	if (!ip_prefix_contains(p, to) || (p->length < 96 && ip_is_v4(to)) ||
	    (best->found && p->length <= best->length)) /* of those alike the first */
		return;
	*best = (struct answer){.found = true,
				.length = p->length,
				.hop = ip_is_unspecified(gateway) ? *to : *gateway};
}

static struct ip_prefix link_of(const struct view_address *a)
{
	return ip_prefix_of(&a->address, a->prefix_length + (ip_is_v4(&a->address) ? 96u : 0));
}

static struct answer model(const struct fixture *f, uint16_t port, uint16_t vlan,
			   const struct ip_address *to)
{
	static const struct ip_address none;
	struct answer best = {0};

	for (unsigned i = 0; i < f->view.address_count; i++) {
		const struct view_address *a = &f->addresses[i];
		struct ip_prefix link = link_of(a);

		if (a->port == port && a->vlan == vlan && link.length < 128)
			consider(&best, &link, &none, to);
	}
	for (unsigned i = 0; i < f->view.route_count; i++)
		if (f->routes[i].port == port && f->routes[i].vlan == vlan)
			consider(&best, &f->routes[i].prefix, &f->routes[i].gateway, to);
	return best;
}

static bool is_last(const struct ip_prefix *link, const struct ip_address *a)
{
	uint32_t host;

	if (!ip_is_v4(a) || !ip_is_v4(&link->address) || link->length < 96 || link->length > 126)
		return false;
	host = UINT32_MAX >> (link->length - 96);
	return ip_prefix_contains(link, a) && (ip_to_v4(a) & host) == host;
}

/* A route that comes second on its prefix counts for nothing. */
static bool counts(const struct fixture *f, unsigned at)
{
	const struct view_route *r = &f->routes[at];

	for (unsigned i = 0; i < f->view.address_count; i++) {
		struct ip_prefix link = link_of(&f->addresses[i]);

		if (f->addresses[i].port == r->port && f->addresses[i].vlan == r->vlan &&
		    link.length == r->prefix.length && ip_equal(&link.address, &r->prefix.address))
			return false;
	}
	for (unsigned i = 0; i < at; i++)
		if (f->routes[i].port == r->port && f->routes[i].vlan == r->vlan &&
		    f->routes[i].prefix.length == r->prefix.length &&
		    ip_equal(&f->routes[i].prefix.address, &r->prefix.address))
			return false;
	return true;
}

static bool model_broadcast(const struct fixture *f, const struct ip_address *a)
{
	for (unsigned i = 0; i < f->view.address_count; i++) {
		struct ip_prefix link = link_of(&f->addresses[i]);

		if (is_last(&link, a))
			return true;
	}
	for (unsigned i = 0; i < f->view.route_count; i++)
		if (ip_is_unspecified(&f->routes[i].gateway) && counts(f, i) &&
		    is_last(&f->routes[i].prefix, a))
			return true;
	return false;
}

static void ask(struct fixture *f, const struct ip_address *to)
{
	uint16_t port = (uint16_t)random_below(&f->random, 3);
	uint16_t vlan = (uint16_t)random_below(&f->random, 3);
	struct answer want = model(f, port, vlan, to);
	struct ip_address hop;

	assert_int_equal(local_next_hop(&f->table, port, vlan, to, &hop), want.found);
	if (want.found)
		assert_memory_equal(&hop, &want.hop, sizeof(hop));
	assert_int_equal(local_is_broadcast(&f->table, to), model_broadcast(f, to));
}

/* The first and the last address of every prefix, and those beside them. */
static void ask_at_edges(struct fixture *f, const struct ip_prefix *p)
{
	struct ip_address edges[4] = {p->address, p->address, p->address, p->address};

	for (unsigned bit = p->length; bit < 128; bit++) {
		edges[1].bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		edges[3].bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	}
	for (int i = 15; i >= 0 && edges[2].bytes[i]-- == 0; i--)
		;
	for (int i = 15; i >= 0 && ++edges[3].bytes[i] == 0; i--)
		;
	for (unsigned i = 0; i < 4; i++)
		ask(f, &edges[i]);
}

static void answers_are_those_of_a_linear_search_for_the_longest_prefix(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct hash_key key = {1, 2};

	random_init_seed(&f->random, 7);
	assert_int_equal(local_table_init(&f->table, &key), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		make_view(f);
		assert_int_equal(local_table_adopt(&f->table, &f->view), 0);
		for (unsigned i = 0; i < QUESTIONS; i++) {
			struct ip_address to = some_address(&f->random, i % 2 != 0);

			ask(f, &to);
		}
		for (unsigned i = 0; i < f->view.route_count; i++)
			ask_at_edges(f, &f->routes[i].prefix);
	}
	local_table_free(&f->table);
	free(f);
}

/* --- cost --- */
struct crowd {
	struct view view;
	struct view_address *addresses;
	struct view_route *routes;
	struct local_table table;
};

/* So many addresses and routes to nets of every length that the space has. */
static struct crowd *make_crowd(unsigned addresses, unsigned routes)
{
	struct crowd *c = calloc(1, sizeof(*c));
	struct hash_key key = {3, 4};

	c->addresses = calloc(addresses, sizeof(*c->addresses));
	c->routes = calloc(routes, sizeof(*c->routes));
	for (unsigned i = 0; i < addresses; i++)
		c->addresses[i] = (struct view_address){.address = ip_from_v4(0x0a000001 + i),
							.prefix_length = 8};
	for (unsigned i = 0; i < routes; i++) {
		struct ip_address net = ip_from_v4(0xc0000000 + i * 0x2000);

		c->routes[i] = (struct view_route){.prefix = ip_prefix_of(&net, 115 + i % 14),
						   .gateway = ip_from_v4(0x0a7f0001 + i)};
	}
	c->view = (struct view){.addresses = c->addresses,
				.address_count = addresses,
				.routes = c->routes,
				.route_count = routes};
	assert_int_equal(local_table_init(&c->table, &key), 0);
	assert_int_equal(local_table_adopt(&c->table, &c->view), 0);
	return c;
}

static void free_crowd(struct crowd *c)
{
	local_table_free(&c->table);
	free(c->addresses);
	free(c->routes);
	free(c);
}

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The best of several: what else runs on the machine only makes it longer. */
static double cost(const struct crowd *c)
{
	double best = 1e9;

	for (unsigned repeat = 0; repeat < REPEATS; repeat++) {
		double begin = cpu_s();
		unsigned found = 0;

		for (unsigned i = 0; i < LOOK_UPS; i++) {
			struct ip_address to = ip_from_v4(0xc0000000 + (i * 2654435761u >> 7));
			struct ip_address hop;

			found += local_next_hop(&c->table, 0, 0, &to, &hop);
			found += local_is_broadcast(&c->table, &to);
			found += local_find(&c->table, &to) != NULL;
		}
		assert_in_range(found, 1, 3 * LOOK_UPS);
		best = cpu_s() - begin < best ? cpu_s() - begin : best;
	}
	return best;
}

static void thousands_of_routes_and_addresses_cost_a_look_up_no_more_than_one(void **state)
{
	struct crowd *one = make_crowd(1, 1), *all = make_crowd(LOCAL_ADDRESSES_MAX, MANY);
	double ratio = cost(all) / cost(one);
	unsigned steps = 0;

	for (unsigned left = all->table.routes.range_count; left > 1; left -= left / 2)
		steps++;
	print_message("# %u routes and %u addresses: %.1f times the cost of one; %u steps\n",
		      all->table.routes.route_count, all->table.address_count, ratio, steps);
	assert_int_equal(all->table.routes.route_count, MANY + 1);
	assert_in_range(steps, 1, STEPS_MOST);
	assert_true(ratio < SLOWER);
	free_crowd(one);
	free_crowd(all);
}

/* Every address on a network of its own: the links are routes too. */
static void more_networks_than_the_table_holds_are_refused_and_nothing_changes(void **state)
{
	struct crowd *c = make_crowd(ROUTES_MAX + 1, 1);
	struct ip_address to = ip_from_v4(0x0a000001 + (ROUTES_MAX - 2) * 4096), hop;

	for (unsigned i = 0; i <= ROUTES_MAX; i++) {
		c->addresses[i].address = ip_from_v4(0x0a000001 + i * 4096);
		c->addresses[i].prefix_length = 20;
	}
	c->view.address_count = ROUTES_MAX - 1;
	assert_int_equal(local_table_adopt(&c->table, &c->view), 0);
	assert_int_equal(c->table.routes.route_count, ROUTES_MAX);
	c->view.address_count = ROUTES_MAX;
	assert_int_equal(local_table_adopt(&c->table, &c->view), -ENOBUFS);
	assert_int_equal(c->table.routes.route_count, ROUTES_MAX);
	assert_true(local_next_hop(&c->table, 0, 0, &to, &hop));
	free_crowd(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_those_of_a_linear_search_for_the_longest_prefix),
		cmocka_unit_test(thousands_of_routes_and_addresses_cost_a_look_up_no_more_than_one),
		cmocka_unit_test(
			more_networks_than_the_table_holds_are_refused_and_nothing_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
