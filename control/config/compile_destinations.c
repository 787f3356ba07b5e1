/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Destinations: what an entry does not state it takes from the longest .parent above it that does,
 * and at last from `default`. Domains become lower-case A-labels (RFC 5890), as the queue compares
 * them.
 */
#include "control/config/compile.h"

#include <idn2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	char domain[256]; /**< "" for default */
	const struct lyd_node *node;
};

struct entries {
	struct configuration *configuration;
	unsigned count;
	struct entry *sorted;
	const struct lyd_node *fallback; /**< `default` */
};

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->domain, ((const struct entry *)b)->domain);
}

static const struct lyd_node *find(const struct entries *entries, const char *domain)
{
	const struct entry *entry;
	struct entry key;

	snprintf(key.domain, sizeof(key.domain), "%s", domain);
	entry = bsearch(&key, entries->sorted, entries->count, sizeof(key), compare_entries);
	return entry != NULL ? entry->node : NULL;
}

static bool is_ascii(const char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text > 127)
			return false;
	}
	return true;
}

/* @return false when it is no domain (said so) */
static bool to_ascii(struct configuration *c, const struct lyd_node *node, const char *text,
		     char *out, size_t size)
{
	const char *name = text[0] == '.' ? text + 1 : text;
	char *converted = NULL;
	int result = IDN2_OK;
	size_t end;

	if (!is_ascii(name))
		result = idn2_to_ascii_8z(name, &converted, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	if (result != IDN2_OK) {
		document_error_at(&c->document, node, NULL, "not a domain: %s",
				  idn2_strerror(result));
		return false;
	}
	end = (size_t)snprintf(out, size, "%s%s", text[0] == '.' ? "." : "",
			       converted != NULL ? converted : name);
	idn2_free(converted);
	if (end >= size || strstr(out, "..") != NULL || strcmp(out, ".") == 0) {
		document_error_at(&c->document, node, NULL, "not a domain");
		return false;
	}
	if (end > 1 && out[end - 1] == '.')
		out[end - 1] = '\0';
	for (; *out != '\0'; out++) {
		if (*out >= 'A' && *out <= 'Z')
			*out |= 0x20;
	}
	return true;
}

static const struct lyd_node *stated(const struct document *document, const struct lyd_node *entry,
				     const char *group, const char *name)
{
	const struct lyd_node *node;

	if (group != NULL)
		entry = document_child(document, entry, group);
	node = entry != NULL ? document_child(document, entry, name) : NULL;
	return node != NULL && (node->flags & LYD_DEFAULT) == 0 ? node : NULL;
}

/* The leaf that decides: the entry's own, a parent's, or that of `default` (stated or the model's).
 */
static const struct lyd_node *decide(const struct entries *entries, const struct entry *entry,
				     const char *group, const char *name)
{
	const struct document *document = &entries->configuration->document;
	const struct lyd_node *node = stated(document, entry->node, group, name);
	const char *dot = entry->domain;

	if (*dot == '.')
		dot++;
	while (node == NULL && (dot = strchr(dot, '.')) != NULL) {
		const struct lyd_node *parent = find(entries, dot);

		if (parent != NULL)
			node = stated(document, parent, group, name);
		dot++;
	}
	if (node != NULL)
		return node;
	return document_child(document,
			      group != NULL ? document_child(document, entries->fallback, group)
					    : entries->fallback,
			      name);
}

static uint64_t number(const struct entries *entries, const struct entry *entry, const char *group,
		       const char *name)
{
	const struct lyd_node *node = decide(entries, entry, group, name);

	return node != NULL ? strtoull(document_text(node), NULL, 10) : 0;
}

static bool flag(const struct entries *entries, const struct entry *entry, const char *name)
{
	const struct lyd_node *node = decide(entries, entry, NULL, name);

	return node != NULL && strcmp(document_text(node), "true") == 0;
}

static enum tls_level tls_of(const char *name)
{
	if (strcmp(name, "none") == 0)
		return TLS_LEVEL_NONE;
	return strcmp(name, "encrypt") == 0 ? TLS_LEVEL_ENCRYPT : TLS_LEVEL_MAY;
}

static void compile_settings(const struct entries *entries, const struct entry *entry,
			     struct path_settings *out)
{
	static const char group[] = "timeouts";

	out->tls = tls_of(document_text(decide(entries, entry, NULL, "tls")));
	out->connections_max = (uint32_t)number(entries, entry, NULL, "connections");
	out->messages_per_connection =
		(uint32_t)number(entries, entry, NULL, "messages-per-connection");
	out->recipients_per_message =
		(uint32_t)number(entries, entry, NULL, "recipients-per-message");
	out->idle_timeout_us = number(entries, entry, NULL, "idle-timeout");
	out->reuse_time_max_us = number(entries, entry, NULL, "reuse-time-max");
	out->use_pipelining = flag(entries, entry, "pipelining");
	out->use_chunking = flag(entries, entry, "chunking");
	out->use_bbr =
		strcmp(document_text(decide(entries, entry, NULL, "congestion")), "bbr") == 0;
	out->connect_timeout_us = number(entries, entry, group, "connect");
	out->greeting_timeout_us = number(entries, entry, group, "greeting");
	out->command_timeout_us = number(entries, entry, group, "command");
	out->data_init_timeout_us = number(entries, entry, group, "data-init");
	out->data_block_timeout_us = number(entries, entry, group, "data-block");
	out->data_done_timeout_us = number(entries, entry, group, "data-done");
	out->tls_handshake_timeout_us = number(entries, entry, group, "tls-handshake");
}

static void check_host(struct configuration *c, const struct lyd_node *node)
{
	const char *host = document_text(node);
	const char *colon = host[0] == '[' ? strchr(host, ']') + 1 : strchr(host, ':');
	struct ip_address address;
	char literal[256];

	if (host[0] == '[') {
		snprintf(literal, sizeof(literal), "%.*s", (int)(strchr(host, ']') - host - 1),
			 host + 1);
		if (ip_parse(literal, &address) != 0)
			document_error_at(&c->document, node, NULL, "'%s' is not an IP address",
					  literal);
	} else if (ip_parse(host, &address) == 0) {
		document_error_at(&c->document, node, NULL,
				  "an address stands in brackets, as \"[%s]\"", host);
	}
	if (colon != NULL && *colon == ':' &&
	    (strlen(colon + 1) > 5 || atoi(colon + 1) < 1 || atoi(colon + 1) > 65535))
		document_error_at(&c->document, node, NULL, "'%s' is not a TCP port", colon + 1);
}

static void compile_hosts(const struct entries *entries, const struct entry *entry,
			  struct queue_destination *out)
{
	struct configuration *c = entries->configuration;
	const struct lyd_node *node = decide(entries, entry, NULL, "hosts");
	const char **hosts;

	for (const struct lyd_node *n = node; n != NULL; n = document_next(n))
		out->fixed_host_count++;
	hosts = config_allocate(c, out->fixed_host_count * sizeof(*hosts));
	out->fixed_hosts = hosts;
	for (; node != NULL; node = document_next(node))
		*hosts++ = config_copy_text(c, document_text(node));
}

static void compile_entry(const struct entries *entries, const struct entry *entry,
			  struct queue_destination *out)
{
	snprintf(out->domain, sizeof(out->domain), "%s", entry->domain);
	compile_settings(entries, entry, &out->settings);
	out->message_rate_per_hour = number(entries, entry, NULL, "message-rate");
	compile_hosts(entries, entry, out);
}

/* Sorted by domain, so that `default` ("") comes first, as the queue wants it. */
static void collect(struct entries *entries)
{
	struct configuration *c = entries->configuration;
	struct document *document = &c->document;
	struct lyd_node *node = document_child(document, NULL, "destination"), *host;
	struct entry *entry;

	entries->sorted = config_allocate(c, config_count(document, NULL, "destination") *
						     sizeof(*entries->sorted));
	entry = entries->sorted;
	for (; node != NULL; node = document_next(node)) {
		const char *domain = document_value(document, node, "domain");

		for (host = document_child(document, node, "hosts"); host != NULL;
		     host = document_next(host))
			check_host(c, host);
		entry->node = node;
		if (strcmp(domain, "default") == 0)
			entries->fallback = node;
		else if (!to_ascii(c, node, domain, entry->domain, sizeof(entry->domain)))
			continue;
		entry++;
	}
	entries->count = (unsigned)(entry - entries->sorted);
	qsort(entries->sorted, entries->count, sizeof(*entries->sorted), compare_entries);
	for (unsigned i = 1; i < entries->count; i++) {
		if (strcmp(entries->sorted[i].domain, entries->sorted[i - 1].domain) == 0)
			document_error_at(document, entries->sorted[i].node, NULL,
					  "the same domain as in line %u",
					  document_line(entries->sorted[i - 1].node));
	}
}

void config_compile_destinations(struct configuration *c)
{
	struct entries entries = {.configuration = c};
	struct queue_destination *out;

	collect(&entries);
	out = config_allocate(c, entries.count * sizeof(*out));
	for (unsigned i = 0; i < entries.count; i++)
		compile_entry(&entries, &entries.sorted[i], &out[i]);
	c->queue.destinations = out;
	c->queue.destination_count = entries.count;
}
