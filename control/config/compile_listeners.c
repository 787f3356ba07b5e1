/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Listeners. One that names several addresses becomes as many listeners of the view, alike but for
 * the address. */
#include "control/config/compile.h"
#include "control/config/units.h"
#include "control/queue/spool.h"
#include "dataplane/smtp/orcpt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct ip_prefix *compile_prefixes(struct configuration *c,
						const struct lyd_node *parent, const char *name,
						unsigned *count)
{
	const struct lyd_node *node = document_child(&c->document, parent, name);
	struct ip_prefix *out;

	*count = config_count(&c->document, parent, name);
	out = config_allocate(c, *count * sizeof(*out));
	for (unsigned i = 0; node != NULL; node = document_next(node), i++) {
		if (ip_prefix_parse(document_text(node), &out[i]) != 0)
			document_error_at(&c->document, node, NULL, "'%s' is not a network",
					  document_text(node));
	}
	return out;
}

/** What a recipient takes of an envelope at most, with its original address; and the rest. */
#define ENVELOPE_RECIPIENT_MAX (SMTP_ADDRESS_TEXT + SMTP_ORCPT_MAX + 32u)
#define ENVELOPE_REST_MAX      4096u
/** Header fields that the box adds. */
#define FIELDS_ADDED_MAX 8192u

/* What a segment takes, less what comes to a message of so many recipients. */
static uint64_t message_most(const struct configuration *c, uint32_t recipients)
{
	uint64_t most = spool_message_max(c->system.spool_segment_bytes, SPOOL_BATCH_BYTES);
	uint64_t rest = (uint64_t)recipients * ENVELOPE_RECIPIENT_MAX + ENVELOPE_REST_MAX +
			FIELDS_ADDED_MAX;

	/* In whole kilobytes, to be read. */
	return rest < most ? (most - rest) & ~UINT64_C(1023) : 0;
}

/* A message must fit where it waits: in a worker's memory, in one segment of the spool, and in the
 * spool with others. */
static void check_message_size(struct configuration *c, const struct lyd_node *node, uint64_t size,
			       uint32_t recipients)
{
	uint64_t segment_most = message_most(c, recipients);
	char text[32], most[32], segment[32];

	units_write_size(size, text, sizeof(text));
	if (size > c->system.chunk_memory_bytes)
		document_error_at(
			&c->document, node, NULL,
			"%s is more than a worker's chunk-memory, which is %s", text,
			units_write_size(c->system.chunk_memory_bytes, most, sizeof(most)));
	if (size > c->system.spool_size_bytes / 4)
		document_error_at(&c->document, node, NULL,
				  "%s is more than a quarter of the spool, which is %s", text,
				  units_write_size(c->system.spool_size_bytes, most, sizeof(most)));
	if (size > segment_most)
		document_error_at(
			&c->document, node, NULL,
			"%s is more than a segment of the spool takes: with segment-size %s and %u "
			"recipients that is %s",
			text,
			units_write_size(c->system.spool_segment_bytes, segment, sizeof(segment)),
			recipients, units_write_size(segment_most, most, sizeof(most)));
}

static void compile_limits(struct configuration *c, const struct lyd_node *listener,
			   struct view_limits *out)
{
	struct document *document = &c->document;
	const struct lyd_node *limits = document_child(document, listener, "limits");
	const struct {
		const char *name;
		uint32_t *value;
	} numbers[] = {
		{"sessions", &out->sessions},
		{"sessions-per-client", &out->sessions_per_client},
		{"messages-per-session", &out->messages_per_session},
		{"recipients", &out->recipients},
		{"errors", &out->errors},
		{"junk-commands", &out->junk_commands},
		{"hops", &out->hops},
		{"header-size", &out->header_size},
		{"minimum-rate", &out->minimum_rate},
	};

	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		*numbers[i].value = (uint32_t)config_number(document, limits, numbers[i].name);
	out->message_size = config_number(document, limits, "message-size");
	out->command_timeout_us = config_number(document, limits, "command-timeout");
	out->data_timeout_us = config_number(document, limits, "data-timeout");
	out->tls_handshake_timeout_us = config_number(document, limits, "tls-handshake-timeout");
	check_message_size(c, document_child(document, limits, "message-size"), out->message_size,
			   out->recipients);
	if (out->header_size > out->message_size)
		document_error_at(document, document_child(document, limits, "header-size"), NULL,
				  "more than message-size");
}

static enum listener_tls tls_of(const char *name)
{
	if (strcmp(name, "none") == 0)
		return LISTENER_TLS_NONE;
	return strcmp(name, "implicit") == 0 ? LISTENER_TLS_IMPLICIT : LISTENER_TLS_STARTTLS;
}

/* All but the address. */
static void compile_listener(struct configuration *c, const struct lyd_node *node,
			     struct view_listener *out, struct config_listener_extra *extra)
{
	struct document *document = &c->document;

	config_text(document, node, "name", out->name, sizeof(out->name));
	out->tcp_port = (uint16_t)config_number(document, node, "tcp-port");
	out->tls = tls_of(document_value(document, node, "tls"));
	out->require_tls = config_flag(document, node, "require-tls");
	out->require_auth = config_flag(document, node, "require-auth");
	out->accept_long_lines =
		strcmp(document_value(document, node, "long-lines"), "accept") == 0;
	out->line_endings = strcmp(document_value(document, node, "line-endings"), "normalize") == 0
				    ? LINE_ENDINGS_NORMALIZE
				    : LINE_ENDINGS_REJECT;
	out->add_missing_headers = config_flag(document, node, "add-missing-headers");
	out->relay_networks = compile_prefixes(c, node, "relay-from", &out->relay_network_count);
	out->trusted_header_networks =
		compile_prefixes(c, node, "trusted-headers-from", &out->trusted_header_count);
	config_text(document, node, "tenant", out->tenant, sizeof(out->tenant));
	config_text(document, node, "campaign", out->campaign, sizeof(out->campaign));
	config_text(document, node, "pool", out->pool, sizeof(out->pool));
	config_text(document, node, "certificate", extra->certificate, sizeof(extra->certificate));
	config_text(document, node, "users-file", extra->users_file, sizeof(extra->users_file));
	config_check_readable(document, document_child(document, node, "users-file"));
	out->allow_auth = extra->users_file[0] != '\0';
	compile_limits(c, node, &out->limits);
	if (out->relay_network_count == 0 && !out->allow_auth)
		document_error_at(
			document, node, NULL,
			"nobody may send: state relay-from networks, a users-file, or both");
}

static void check_address(struct configuration *c, const struct lyd_node *node,
			  const struct view_listener *listeners, unsigned count)
{
	const struct view_listener *l = &listeners[count];

	if (config_find_address(c, &l->address, -1) == NULL)
		document_error_at(&c->document, node, NULL, "%s is not an address of any port",
				  document_text(node));
	for (unsigned i = 0; i < count; i++) {
		if (listeners[i].tcp_port == l->tcp_port &&
		    ip_equal(&listeners[i].address, &l->address))
			document_error_at(&c->document, node, NULL,
					  "listener %s listens on %s tcp-port %u already",
					  listeners[i].name, document_text(node), l->tcp_port);
	}
}

void config_compile_listeners(struct configuration *c)
{
	struct document *document = &c->document;
	struct view_listener *listeners;
	struct lyd_node *node, *address;
	unsigned count = 0;

	for (node = document_child(document, NULL, "listener"); node != NULL;
	     node = document_next(node))
		count += config_count(document, node, "address");
	listeners = config_allocate(c, count * sizeof(*listeners));
	c->listener_extras = config_allocate(c, count * sizeof(*c->listener_extras));
	count = 0;
	for (node = document_child(document, NULL, "listener"); node != NULL;
	     node = document_next(node)) {
		unsigned first = count;

		address = document_child(document, node, "address");
		for (; address != NULL; address = document_next(address), count++) {
			if (count == first) {
				compile_listener(c, node, &listeners[count],
						 &c->listener_extras[count]);
			} else {
				listeners[count] = listeners[first];
				c->listener_extras[count] = c->listener_extras[first];
			}
			ip_parse(document_text(address), &listeners[count].address);
			check_address(c, address, listeners, count);
		}
	}
	c->view.listeners = listeners;
	c->view.listener_count = count;
}
