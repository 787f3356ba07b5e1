/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ports, their addresses and routes. RFC 1122, 3.2.1.3 (addresses that no host has); RFC 8200, 5
 * (1280). */
#include "control/config/compile.h"
#include "dataplane/net/local.h"
#include "dataplane/net/net.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IPV6_MTU_MIN 1280

static uint32_t *address_slot(const struct configuration *c, const struct ip_address *address)
{
	uint32_t hash = 2166136261u; /* FNV-1a; the operator chose the addresses */

	for (unsigned i = 0; i < sizeof(address->bytes); i++)
		hash = (hash ^ address->bytes[i]) * 16777619u;
	for (hash &= c->address_slots - 1;; hash = (hash + 1) & (c->address_slots - 1)) {
		uint32_t place = c->address_index[hash];

		/* At most half full: an empty slot ends it. */
		if (place == 0 || ip_equal(&c->view.addresses[place - 1].address, address))
			return &c->address_index[hash];
	}
}

const struct view_address *config_find_address(const struct configuration *c,
					       const struct ip_address *address, int port)
{
	const struct view_address *found;
	uint32_t place = c->address_slots > 0 ? *address_slot(c, address) : 0;

	if (place == 0)
		return NULL;
	found = &c->view.addresses[place - 1];
	return port < 0 || found->port == port ? found : NULL;
}

static bool in_network(const struct view_address *a, const struct ip_address *address)
{
	struct ip_prefix prefix = {
		.address = a->address,
		.length = (uint8_t)(a->prefix_length + (ip_is_v4(&a->address) ? 96 : 0))};

	return ip_prefix_contains(&prefix, address);
}

static bool is_link_local(const struct ip_address *a)
{
	return a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

/* Why no host can have this address, or NULL. */
static const char *not_a_host(const struct ip_address *a, unsigned length)
{
	if (ip_is_unspecified(a))
		return "the unspecified address is not a host's";
	if (ip_is_v4(a)) {
		uint32_t v4 = ip_to_v4(a), host = length < 32 ? UINT32_MAX >> length : 0;

		if (v4 >> 28 == 0xe)
			return "a multicast address is not a host's";
		if (v4 >> 24 == 127 || v4 >> 24 == 0 || v4 == UINT32_MAX)
			return "not an address that a port can have";
		if (length < 31 && (v4 & host) == 0)
			return "this is the network's own address";
		if (length < 31 && (v4 & host) == host)
			return "this is the network's broadcast address";
	} else if (a->bytes[0] == 0xff) {
		return "a multicast address is not a host's";
	} else if (a->bytes[15] == 1 && memcmp(a->bytes, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15) == 0) {
		return "the loopback address is not a port's";
	}
	return NULL;
}

/* One side of a text up to `end`. @return 0 or -EINVAL (said so) */
static int parse_one(struct document *document, const struct lyd_node *node, const char *text,
		     const char *end, struct ip_address *out)
{
	char address[IP_ADDRESS_TEXT];

	snprintf(address, sizeof(address), "%.*s", (int)(end - text), text);
	if ((size_t)(end - text) < sizeof(address) && ip_parse(address, out) == 0)
		return 0;
	document_error_at(document, node, NULL, "'%s' is not an IP address", address);
	return -EINVAL;
}

/* FIRST/LENGTH or FIRST-LAST/LENGTH. @return 0 or -EINVAL (said so) */
static int parse_addresses(struct document *document, const struct lyd_node *node, const char *text,
			   struct view_address *first, struct ip_address *last)
{
	const char *slash = strchr(text, '/'), *dash = strchr(text, '-');
	unsigned long length = strtoul(slash + 1, NULL, 10);

	if (parse_one(document, node, text, dash ? dash : slash, &first->address) != 0 ||
	    parse_one(document, node, dash ? dash + 1 : text, slash, last) != 0)
		return -EINVAL;
	if (strlen(slash + 1) > 3 || length > (ip_is_v4(&first->address) ? 32 : 128)) {
		document_error_at(document, node, NULL, "/%s is not the length of a network",
				  slash + 1);
		return -EINVAL;
	}
	first->prefix_length = (uint8_t)length;
	return 0;
}

static void next_address(struct ip_address *address)
{
	for (unsigned i = 16; i-- > 0 && ++address->bytes[i] == 0;)
		;
}

/* Addresses from first to last. @return 0: more than a box can have, or the wrong way round */
static unsigned range_size(const struct ip_address *first, const struct ip_address *last)
{
	struct ip_address at = *first;
	unsigned count = 1;

	if (memcmp(first, last, sizeof(*first)) > 0 || ip_is_v4(first) != ip_is_v4(last))
		return 0;
	for (; !ip_equal(&at, last); next_address(&at))
		if (++count > LOCAL_ADDRESSES_MAX)
			return 0;
	return count;
}

/* How many addresses a statement adds; what is wrong with it is said later. */
static unsigned count_range(struct document *document, const struct lyd_node *node)
{
	const char *text = document_value(document, node, "range");
	const char *slash = strchr(text, '/'), *dash = strchr(text, '-');
	struct ip_address first, last;
	char one[IP_ADDRESS_TEXT], two[IP_ADDRESS_TEXT];

	snprintf(one, sizeof(one), "%.*s", (int)(dash - text), text);
	snprintf(two, sizeof(two), "%.*s", (int)(slash - dash - 1), dash + 1);
	return ip_parse(one, &first) == 0 && ip_parse(two, &last) == 0 ? range_size(&first, &last)
								       : 0;
}

/* @return false: said why */
static bool add_address(struct configuration *c, const struct lyd_node *node,
			const struct view_address *address)
{
	struct document *document = &c->document;
	const char *why = not_a_host(&address->address, address->prefix_length);
	const struct view_address *same = config_find_address(c, &address->address, -1);
	struct view_address *addresses = (struct view_address *)(uintptr_t)c->view.addresses;
	char text[IP_ADDRESS_TEXT];

	ip_format(&address->address, text);
	if (why != NULL) {
		document_error_at(document, node, NULL, "%s: %s", text, why);
		return false;
	}
	if (same != NULL) {
		document_error_at(document, node, NULL, "port %s has %s already",
				  c->ports[same->port].name, text);
		return false;
	}
	assert(c->view.addresses != NULL); /* whoever adds was counted */
	*address_slot(c, &address->address) = c->view.address_count + 1;
	assert(addresses != NULL);
	addresses[c->view.address_count++] = *address;
	return true;
}

/* @param key the leaf with the text: "address" or "range" */
static void compile_addresses(struct configuration *c, const struct lyd_node *node, const char *key,
			      unsigned port)
{
	struct document *document = &c->document;
	struct view_address address = {.port = (uint16_t)port};
	struct ip_address last;
	unsigned count;

	if (parse_addresses(document, node, document_value(document, node, key), &address, &last) !=
	    0)
		return;
	address.vlan = (uint16_t)config_number(document, node, "vlan");
	count = range_size(&address.address, &last);
	if (count == 0 || !in_network(&address, &last)) {
		document_error_at(
			document, node, NULL,
			"first to last, in one network, and at most %u (a box has no more addresses)",
			LOCAL_ADDRESSES_MAX);
		return;
	}
	if (!ip_is_v4(&address.address) && c->ports[port].mtu < IPV6_MTU_MIN)
		document_error_at(document, node, NULL,
				  "IPv6 needs an mtu of 1280 at least (RFC 8200, 5); it is %u",
				  c->ports[port].mtu);
	for (; count > 0 && add_address(c, node, &address); count--)
		next_address(&address.address);
}

/* Which network of the port the gateway is on; NULL: none. */
static const struct view_address *gateway_network(const struct configuration *c,
						  const struct view_route *route)
{
	for (unsigned i = 0; c->view.addresses && i < c->view.address_count; i++) {
		const struct view_address *a = &c->view.addresses[i];

		if (a->port == route->port && ip_is_v4(&a->address) == ip_is_v4(&route->gateway) &&
		    in_network(a, &route->gateway))
			return a;
	}
	return NULL;
}

static bool route_is_stated(const struct configuration *c, const struct view_route *route)
{
	for (unsigned i = 0; i < c->view.route_count; i++) {
		const struct view_route *r = &c->view.routes[i];

		if (r->port == route->port && r->prefix.length == route->prefix.length &&
		    ip_equal(&r->prefix.address, &route->prefix.address))
			return true;
	}
	return false;
}

static void compile_route(struct configuration *c, const struct lyd_node *node, unsigned port)
{
	struct document *document = &c->document;
	struct view_route *out =
		&((struct view_route *)(uintptr_t)c->view.routes)[c->view.route_count];
	const struct lyd_node *vlan = document_child(document, node, "vlan");
	const struct view_address *network;

	out->port = (uint16_t)port;
	if (ip_prefix_parse(document_value(document, node, "prefix"), &out->prefix) != 0 ||
	    ip_parse(document_value(document, node, "gateway"), &out->gateway) != 0) {
		document_error_at(document, node, NULL, "not a route: PREFIX GATEWAY");
		return;
	}
	if ((strchr(document_value(document, node, "prefix"), ':') == NULL) !=
	    ip_is_v4(&out->gateway)) {
		document_error_at(document, node, NULL,
				  "prefix and gateway are of different IP versions");
		return;
	}
	if (config_find_address(c, &out->gateway, -1) != NULL) {
		document_error_at(document, node, NULL, "the gateway is this box itself");
		return;
	}
	network = gateway_network(c, out);
	if (network == NULL && !is_link_local(&out->gateway)) {
		document_error_at(document, node, NULL,
				  "the gateway is on no network of port %s's addresses",
				  c->ports[port].name);
		return;
	}
	if (route_is_stated(c, out)) {
		document_error_at(document, node, NULL, "another gateway for the same prefix");
		return;
	}
	if (vlan != NULL)
		out->vlan = (uint16_t)config_number(document, node, "vlan");
	else
		out->vlan = network != NULL ? network->vlan : 0;
	c->view.route_count++;
}

static void compile_port(struct configuration *c, const struct lyd_node *node, unsigned index)
{
	struct document *document = &c->document;
	struct config_port *out = &c->ports[index];
	struct view_port *view = &((struct view_port *)(uintptr_t)c->view.ports)[index];

	config_text(document, node, "name", out->name, sizeof(out->name));
	config_text(document, node, "device", out->device, sizeof(out->device));
	out->mtu = (uint16_t)config_number(document, node, "mtu");
	out->rx_descriptors = (uint32_t)config_number(document, node, "rx-descriptors");
	out->tx_descriptors = (uint32_t)config_number(document, node, "tx-descriptors");
	out->segmentation = config_flag(document, node, "segmentation-offload");
	snprintf(view->name, sizeof(view->name), "%s", out->name);
	view->mtu = out->mtu;
	for (unsigned i = 0; i < index; i++) {
		if (strcmp(c->ports[i].device, out->device) == 0)
			document_error_at(document, node, "device",
					  "port %s has this device already", c->ports[i].name);
	}
}

void config_compile_network(struct configuration *c)
{
	struct document *document = &c->document;
	struct lyd_node *node, *child;
	unsigned addresses = 0, routes = 0, index;

	for (node = document_child(document, NULL, "port"); node != NULL;
	     node = document_next(node)) {
		c->port_count++;
		addresses += config_count(document, node, "address");
		for (child = document_child(document, node, "address-range"); child != NULL;
		     child = document_next(child))
			addresses += count_range(document, child);
		routes += config_count(document, node, "route");
	}
	c->ports = config_allocate(c, c->port_count * sizeof(*c->ports));
	c->view.port_count = c->port_count;
	c->view.ports = config_allocate(c, c->port_count * sizeof(*c->view.ports));
	c->view.addresses = config_allocate(c, addresses * sizeof(*c->view.addresses));
	for (c->address_slots = 2; c->address_slots < addresses * 2; c->address_slots *= 2)
		;
	c->address_index = config_allocate(c, c->address_slots * sizeof(*c->address_index));
	c->view.routes = config_allocate(c, routes * sizeof(*c->view.routes));
	if (c->port_count == 0)
		document_error(document, 1, "port", "there is none: mail needs a way in and out");
	if (c->port_count > NET_PORTS_MAX) {
		document_error(document, 1, "port", "there are %u; there can be %u", c->port_count,
			       NET_PORTS_MAX);
		return;
	}
	for (node = document_child(document, NULL, "port"), index = 0; node != NULL;
	     node = document_next(node), index++) {
		compile_port(c, node, index);
		for (child = document_child(document, node, "address"); child != NULL;
		     child = document_next(child))
			compile_addresses(c, child, "address", index);
		for (child = document_child(document, node, "address-range"); child != NULL;
		     child = document_next(child))
			compile_addresses(c, child, "range", index);
	}
	for (node = document_child(document, NULL, "port"), index = 0; node != NULL;
	     node = document_next(node), index++) {
		for (child = document_child(document, node, "route"); child != NULL;
		     child = document_next(child))
			compile_route(c, child, index);
	}
}
