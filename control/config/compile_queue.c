/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a queue shard works by: sources, pools, retry; and the resolver's settings. */
#include "control/config/compile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void compile_source_address(struct configuration *c, const struct lyd_node *node,
				   const struct queue_source *source, struct ip_address *address,
				   bool *has)
{
	if (node == NULL)
		return;
	*has = ip_parse(document_text(node), address) == 0;
	if (config_find_address(c, address, source->port) == NULL)
		document_error_at(&c->document, node, NULL, "%s is not an address of port %s",
				  document_text(node), c->ports[source->port].name);
}

static void compile_sources(struct configuration *c)
{
	struct document *document = &c->document;
	struct queue_source *out;
	struct lyd_node *node;

	c->queue.source_count = config_count(document, NULL, "source");
	out = config_allocate(c, c->queue.source_count * sizeof(*out));
	c->queue.sources = out;
	if (c->queue.source_count == 0)
		document_error(document, 1, "source", "there is none: mail cannot leave");
	for (node = document_child(document, NULL, "source"); node != NULL;
	     node = document_next(node), out++) {
		const char *port = document_value(document, node, "port");

		config_text(document, node, "name", out->name, sizeof(out->name));
		config_text(document, node, "ehlo-name", out->ehlo_name, sizeof(out->ehlo_name));
		if (out->ehlo_name[0] == '\0')
			snprintf(out->ehlo_name, sizeof(out->ehlo_name), "%s", c->system.hostname);
		out->port = (uint16_t)config_index(document, "port", port);
		compile_source_address(c, document_child(document, node, "address"), out, &out->v4,
				       &out->has_v4);
		compile_source_address(c, document_child(document, node, "address6"), out, &out->v6,
				       &out->has_v6);
	}
}

/* Without any pool, all sources alike make one. */
static void compile_implied_pool(struct configuration *c)
{
	struct queue_pool *pool = config_allocate(c, sizeof(*pool));
	struct queue_pool_member *members =
		config_allocate(c, c->queue.source_count * sizeof(*members));

	snprintf(pool->name, sizeof(pool->name), "default");
	for (unsigned i = 0; i < c->queue.source_count; i++)
		members[i] = (struct queue_pool_member){.source = i, .weight = 1};
	pool->members = members;
	pool->member_count = c->queue.source_count;
	c->queue.pools = pool;
	c->queue.pool_count = 1;
}

static void compile_pools(struct configuration *c)
{
	struct document *document = &c->document;
	struct queue_pool_member *members;
	struct lyd_node *node, *child;
	struct queue_pool *out;

	c->queue.pool_count = config_count(document, NULL, "pool");
	if (c->queue.pool_count == 0) {
		compile_implied_pool(c);
		return;
	}
	out = config_allocate(c, c->queue.pool_count * sizeof(*out));
	c->queue.pools = out;
	for (node = document_child(document, NULL, "pool"); node != NULL;
	     node = document_next(node), out++) {
		config_text(document, node, "name", out->name, sizeof(out->name));
		out->member_count = config_count(document, node, "source");
		members = config_allocate(c, out->member_count * sizeof(*members));
		out->members = members;
		for (child = document_child(document, node, "source"); child != NULL;
		     child = document_next(child), members++) {
			members->source = config_index(document, "source",
						       document_value(document, child, "name"));
			members->weight = (uint32_t)config_number(document, child, "weight");
		}
	}
}

/* decimal64 with two digits, as "2.0" or "1.25", to percent. */
static uint32_t percent_of(const char *text)
{
	uint32_t whole = (uint32_t)strtoul(text, NULL, 10), part = 0;
	const char *dot = strchr(text, '.');

	if (dot != NULL && dot[1] != '\0') {
		part = (uint32_t)(dot[1] - '0') * 10;
		if (dot[2] != '\0')
			part += (uint32_t)(dot[2] - '0');
	}
	return whole * 100 + part;
}

static void compile_retry(struct configuration *c)
{
	struct document *document = &c->document;
	const struct lyd_node *retry = document_child(document, NULL, "retry");
	const char *postmaster = document_value(document, retry, "postmaster");
	char made[300];

	c->queue.retry_initial_us = config_number(document, retry, "initial");
	c->queue.retry_max_us = config_number(document, retry, "max");
	c->queue.retry_factor_percent = percent_of(document_value(document, retry, "factor"));
	c->queue.retry_jitter_percent = (uint32_t)config_number(document, retry, "jitter");
	c->queue.expire_us = config_number(document, retry, "expire");
	c->queue.delay_notice_after_us = config_number(document, retry, "delay-notice");
	c->queue.dsn_return_max = config_number(document, retry, "dsn-return-max");
	c->queue.hostname = c->system.hostname;
	snprintf(made, sizeof(made), "postmaster@%s", c->system.hostname);
	c->queue.postmaster = config_copy_text(c, postmaster != NULL ? postmaster : made);
	if (c->queue.delay_notice_after_us >= c->queue.expire_us)
		document_error_at(document, document_child(document, retry, "delay-notice"), NULL,
				  "not before expire: nobody would be told");
}

void config_compile_queue(struct configuration *c)
{
	const struct lyd_node *spool = document_child(&c->document, NULL, "spool");
	uint64_t bodies = config_number(&c->document, spool, "body-memory");
	uint64_t chunks = c->system.chunk_memory_bytes * c->system.worker_count;

	compile_sources(c);
	compile_pools(c);
	compile_retry(c);
	/* Bodies wait in the workers' chunks, and new mail needs some too; each shard has its
	 * share. */
	if (bodies > chunks / 4 * 3)
		bodies = chunks / 4 * 3;
	c->queue.body_memory_bytes = bodies / c->system.shard_count;
}

static bool is_resolver_address(const char *text)
{
	char address[IP_ADDRESS_TEXT];
	const char *at = strchr(text, '@');
	size_t size = at != NULL ? (size_t)(at - text) : strlen(text);
	unsigned long port = at != NULL ? strtoul(at + 1, NULL, 10) : 53;
	struct ip_address parsed;

	if (size >= sizeof(address))
		return false;
	memcpy(address, text, size);
	address[size] = '\0';
	return ip_parse(address, &parsed) == 0 && port >= 1 && port <= 65535 &&
	       (at == NULL || strlen(at + 1) <= 5);
}

static const char *resolver_address(struct configuration *c, const struct lyd_node *node)
{
	if (!is_resolver_address(document_text(node)))
		document_error_at(&c->document, node, NULL, "'%s' is not an address",
				  document_text(node));
	return config_copy_text(c, document_text(node));
}

/* A zone with several servers becomes as many settings of the same zone. */
static void compile_stub_zones(struct configuration *c, const struct lyd_node *resolver)
{
	struct document *document = &c->document;
	struct lyd_node *zone, *server;
	struct resolver_stub_zone *out;
	unsigned count = 0;

	for (zone = document_child(document, resolver, "stub-zone"); zone != NULL;
	     zone = document_next(zone))
		count += config_count(document, zone, "server");
	out = config_allocate(c, count * sizeof(*out));
	c->resolver.stub_zones = out;
	c->resolver.stub_zone_count = count;
	for (zone = document_child(document, resolver, "stub-zone"); zone != NULL;
	     zone = document_next(zone)) {
		for (server = document_child(document, zone, "server"); server != NULL;
		     server = document_next(server), out++) {
			out->zone = config_copy_text(c, document_value(document, zone, "zone"));
			out->server = resolver_address(c, server);
		}
	}
}

static const char *const *compile_texts(struct configuration *c, const struct lyd_node *parent,
					const char *name, unsigned *count, bool addresses)
{
	const struct lyd_node *node = document_child(&c->document, parent, name);
	const char **out;

	*count = config_count(&c->document, parent, name);
	out = config_allocate(c, *count * sizeof(*out));
	for (unsigned i = 0; node != NULL; node = document_next(node), i++)
		out[i] = addresses ? resolver_address(c, node)
				   : config_copy_text(c, document_text(node));
	return out;
}

void config_compile_resolver(struct configuration *c)
{
	struct document *document = &c->document;
	const struct lyd_node *resolver = document_child(document, NULL, "resolver");
	const struct lyd_node *file = document_child(document, resolver, "trust-anchor-file");
	struct ip_address *own;

	compile_stub_zones(c, resolver);
	c->resolver.forwarders =
		compile_texts(c, resolver, "forwarder", &c->resolver.forwarder_count, true);
	c->resolver.trust_anchors =
		compile_texts(c, resolver, "trust-anchor", &c->resolver.trust_anchor_count, false);
	if (file != NULL)
		c->resolver.trust_anchor_file = config_copy_text(c, document_text(file));
	config_check_readable(document, file);
	c->resolver.allow_private_addresses =
		config_flag(document, resolver, "allow-private-addresses");
	c->resolver.cache_entries = (uint32_t)config_number(document, resolver, "cache-entries");
	c->resolver.timeout_us = config_number(document, resolver, "timeout");
	own = config_allocate(c, c->view.address_count * sizeof(*own));
	for (unsigned i = 0; i < c->view.address_count; i++)
		own[i] = c->view.addresses[i].address;
	c->resolver.own_addresses = own;
	c->resolver.own_address_count = c->view.address_count;
}
