/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two stacks and the link between them; the first has connected to port 25 of the second. */
#ifndef MILLRACE_TESTS_UNIT_TCP_PAIR_H
#define MILLRACE_TESTS_UNIT_TCP_PAIR_H

#include "tests/sim/tcp_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct pair {
	struct harness *a;
	struct harness *b;
	struct sim_link *ab;
	struct sim_link *ba;
	struct harness_connection *client;
};

/* The SYN waits to be sent. The second host's addresses are filled in. */
static inline struct pair pair_create(const struct sim_link_settings *link,
				      const struct harness_options *a, struct harness_options b,
				      uint64_t seed)
{
	struct pair p;

	b.address = a->v6 ? "fd00::2" : "10.0.0.2";
	b.peer = a->v6 ? "fd00::1" : "10.0.0.1";
	p = (struct pair){
		.a = harness_create(a),
		.b = harness_create(&b),
		.ab = sim_link_create(link, seed),
		.ba = sim_link_create(link, seed + 1),
	};
	harness_listen(p.b, 25);
	p.client = harness_connect(p.a, 25);
	assert_non_null(p.client);
	return p;
}

static inline void pair_destroy(struct pair *p)
{
	harness_destroy(p->a);
	harness_destroy(p->b);
	sim_link_destroy(p->ab);
	sim_link_destroy(p->ba);
}

/* `until` is asked with the pair. @return true: it came true in time */
static inline bool pair_run(struct pair *p, uint64_t limit_us, bool (*until)(void *pair))
{
	return harness_exchange(p->a, p->b, p->ab, p->ba, limit_us, until, p);
}

static inline bool pair_connected(void *context)
{
	const struct pair *p = context;

	return p->client->connected && p->b->accepted != NULL;
}

static inline bool pair_closed(void *context)
{
	const struct pair *p = context;

	return p->client->closed && p->b->accepted->closed;
}

#endif
