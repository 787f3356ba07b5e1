/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Views for workers, copied from the compiled one; and what of a new configuration needs a restart.
 * Memory: one block a view, so that the view's owner frees it whatever became of its configuration.
 */
#include "control/config/compile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t aligned(size_t size)
{
	return (size + 63) & ~(size_t)63;
}

static size_t view_size(const struct view *from)
{
	size_t size = aligned(sizeof(*from)) + aligned(from->port_count * sizeof(*from->ports)) +
		      aligned(from->address_count * sizeof(*from->addresses)) +
		      aligned(from->route_count * sizeof(*from->routes)) +
		      aligned(from->listener_count * sizeof(*from->listeners));

	for (unsigned i = 0; i < from->listener_count; i++) {
		const struct view_listener *l = &from->listeners[i];

		size += aligned(l->relay_network_count * sizeof(struct ip_prefix)) +
			aligned(l->trusted_header_count * sizeof(struct ip_prefix));
	}
	return size;
}

static void *copy(char **at, const void *from, size_t size)
{
	void *to = *at;

	if (size > 0)
		memcpy(to, from, size);
	*at += aligned(size);
	return to;
}

struct view *config_make_view(const struct configuration *configuration, uint64_t revision)
{
	const struct view *from = &configuration->view;
	struct view_listener *listeners;
	size_t size = view_size(from);
	struct view *view = aligned_alloc(64, size);
	char *at = (char *)view + aligned(sizeof(*view));

	if (view == NULL)
		return NULL;
	memset(view, 0, size);
	memcpy(view, from, sizeof(*view));
	view->revision = revision;
	view->ports = copy(&at, from->ports, from->port_count * sizeof(*from->ports));
	view->addresses =
		copy(&at, from->addresses, from->address_count * sizeof(*from->addresses));
	view->routes = copy(&at, from->routes, from->route_count * sizeof(*from->routes));
	listeners = copy(&at, from->listeners, from->listener_count * sizeof(*from->listeners));
	for (unsigned i = 0; i < from->listener_count; i++) {
		struct view_listener *l = &listeners[i];

		l->relay_networks = copy(&at, l->relay_networks,
					 l->relay_network_count * sizeof(struct ip_prefix));
		l->trusted_header_networks =
			copy(&at, l->trusted_header_networks,
			     l->trusted_header_count * sizeof(struct ip_prefix));
	}
	view->listeners = listeners;
	return view;
}

void view_free(struct view *view)
{
	free(view);
}

struct difference {
	char (*lines)[256];
	unsigned max, count;
};

static void differ(struct difference *d, bool same, const char *what, const char *old,
		   const char *new_)
{
	if (same)
		return;
	if (d->count < d->max)
		snprintf(d->lines[d->count], 256, "%.70s: %.85s -> %.85s", what, old, new_);
	d->count++;
}

static void differ_text(struct difference *d, const char *what, const char *old, const char *new_)
{
	differ(d, strcmp(old, new_) == 0, what, old, new_);
}

static void differ_number(struct difference *d, const char *what, uint64_t old, uint64_t new_)
{
	char old_text[24], new_text[24];

	snprintf(old_text, sizeof(old_text), "%" PRIu64, old);
	snprintf(new_text, sizeof(new_text), "%" PRIu64, new_);
	differ(d, old == new_, what, old_text, new_text);
}

static void differ_ports(struct difference *d, const struct configuration *old,
			 const struct configuration *new_)
{
	differ_number(d, "number of ports", old->port_count, new_->port_count);
	for (unsigned i = 0; i < old->port_count && i < new_->port_count; i++) {
		const struct config_port *a = &old->ports[i], *b = &new_->ports[i];
		char what[96];

		snprintf(what, sizeof(what), "port %s", a->name);
		differ_text(d, what, a->name, b->name);
		snprintf(what, sizeof(what), "port %s device", a->name);
		differ_text(d, what, a->device, b->device);
		snprintf(what, sizeof(what), "port %s mtu", a->name);
		differ_number(d, what, a->mtu, b->mtu);
		snprintf(what, sizeof(what), "port %s segmentation-offload", a->name);
		differ_number(d, what, a->segmentation, b->segmentation);
		snprintf(what, sizeof(what), "port %s rx-descriptors", a->name);
		differ_number(d, what, a->rx_descriptors, b->rx_descriptors);
		snprintf(what, sizeof(what), "port %s tx-descriptors", a->name);
		differ_number(d, what, a->tx_descriptors, b->tx_descriptors);
	}
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_texts(const char *const *a, unsigned a_count, const char *const *b,
		       unsigned b_count)
{
	bool same = a_count == b_count;

	for (unsigned i = 0; same && i < a_count; i++)
		same = same_text(a[i], b[i]);
	return same;
}

static bool same_stub_zones(const struct resolver_settings *a, const struct resolver_settings *b)
{
	bool same = a->stub_zone_count == b->stub_zone_count;

	for (unsigned i = 0; same && i < a->stub_zone_count; i++)
		same = same_text(a->stub_zones[i].zone, b->stub_zones[i].zone) &&
		       same_text(a->stub_zones[i].server, b->stub_zones[i].server);
	return same;
}

/* A resolver is made at start and keeps its settings but our own addresses. */
static void differ_resolver(struct difference *d, const struct resolver_settings *a,
			    const struct resolver_settings *b)
{
	static const char old[] = "(as running)", new_[] = "(as in the file)";

	differ(d, same_stub_zones(a, b), "resolver stub-zone", old, new_);
	differ(d, same_texts(a->forwarders, a->forwarder_count, b->forwarders, b->forwarder_count),
	       "resolver forwarder", old, new_);
	differ(d, same_text(a->trust_anchor_file, b->trust_anchor_file),
	       "resolver trust-anchor-file", old, new_);
	differ(d,
	       same_texts(a->trust_anchors, a->trust_anchor_count, b->trust_anchors,
			  b->trust_anchor_count),
	       "resolver trust-anchor", old, new_);
	differ(d, a->allow_private_addresses == b->allow_private_addresses,
	       "resolver allow-private-addresses", old, new_);
	differ_number(d, "resolver cache entries", a->cache_entries, b->cache_entries);
	differ_number(d, "resolver timeout", a->timeout_us, b->timeout_us);
}

unsigned config_needs_restart(const struct configuration *old, const struct configuration *new_,
			      char lines[][256], unsigned max)
{
	const struct config_system *a = &old->system, *b = &new_->system;
	struct difference d = {.lines = lines, .max = max};

	differ_number(&d, "system node-id", a->node_id, b->node_id);
	differ_number(&d, "system workers", a->worker_count, b->worker_count);
	differ(&d, memcmp(a->worker_cores, b->worker_cores, sizeof(a->worker_cores)) == 0,
	       "system worker-cores", "(as running)", "(as in the file)");
	differ_number(&d, "system control-core", (uint64_t)((int64_t)a->control_core + 1),
		      (uint64_t)((int64_t)b->control_core + 1));
	differ_number(&d, "system shards", a->shard_count, b->shard_count);
	differ_number(&d, "system hugepages", a->hugepages, b->hugepages);
	differ_number(&d, "system memory", a->memory_bytes, b->memory_bytes);
	differ_number(&d, "system chunk-memory", a->chunk_memory_bytes, b->chunk_memory_bytes);
	differ_number(&d, "system sessions-in", a->sessions_in, b->sessions_in);
	differ_number(&d, "system sessions-out", a->sessions_out, b->sessions_out);
	differ_number(&d, "system idle", a->idle, b->idle);
	differ_number(&d, "system idle-sleep-max", a->idle_sleep_max_us, b->idle_sleep_max_us);
	differ_number(&d, "system tcp ecn", a->tcp_ecn, b->tcp_ecn);
	differ_number(&d, "system tcp keepalive", a->tcp_keepalive_s, b->tcp_keepalive_s);
	differ_text(&d, "system user", a->user, b->user);
	differ_text(&d, "system state-directory", a->state_directory, b->state_directory);
	differ_text(&d, "system management socket", a->management_socket, b->management_socket);
	differ_text(&d, "system management metrics", a->metrics_address, b->metrics_address);
	differ_text(&d, "system events directory", a->event_directory, b->event_directory);
	differ_number(&d, "system events rotate-size", a->event_rotate_bytes,
		      b->event_rotate_bytes);
	differ_number(&d, "system events keep", a->event_keep, b->event_keep);
	differ_text(&d, "spool directory", a->spool_directory, b->spool_directory);
	differ_number(&d, "spool size", a->spool_size_bytes, b->spool_size_bytes);
	differ_number(&d, "spool segment-size", a->spool_segment_bytes, b->spool_segment_bytes);
	differ_number(&d, "spool messages-max", a->messages_max, b->messages_max);
	differ_number(&d, "spool recipients-max", a->recipients_max, b->recipients_max);
	differ_ports(&d, old, new_);
	differ_resolver(&d, &old->resolver, &new_->resolver);
	return d.count < max ? d.count : max;
}
