/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The read-only view of the configuration that workers see. The control plane compiles one for each
 * revision and publishes it with one pointer; it never changes afterwards (DESIGN.md, decision 7).
 * A session that keeps a view holds a reference in its worker's own counter, and the control plane
 * frees the view when all counters are zero.
 */
#ifndef MILLRACE_DATAPLANE_VIEW_H
#define MILLRACE_DATAPLANE_VIEW_H

#include "dataplane/net/address.h"

#include <stdbool.h>
#include <stdint.h>

#define WORKERS_MAX   64
#define VIEW_NAME_MAX 64

struct tls_context;

/** One local address of a port. */
struct view_address {
	struct ip_address address;
	uint8_t prefix_length; /**< of the address's own family: 0..32 or 0..128 */
	uint16_t port;	       /**< index of the NIC port */
	uint16_t vlan;	       /**< 0: untagged */
};

/** A route out: longest prefix, then that port's gateway. */
struct view_route {
	struct ip_prefix prefix;
	struct ip_address gateway;
	uint16_t port;
	uint16_t vlan;
};

struct view_port {
	char name[VIEW_NAME_MAX];
	uint16_t mtu;
	uint8_t mac[6]; /**< filled in when the port is open */
};

enum listener_tls {
	LISTENER_TLS_NONE,
	LISTENER_TLS_STARTTLS,
	LISTENER_TLS_IMPLICIT,
};

enum line_endings {
	LINE_ENDINGS_REJECT,	/**< 550 5.5.2 on a bare CR or LF */
	LINE_ENDINGS_NORMALIZE, /**< a bare LF reads as CRLF; a bare CR becomes a space */
};

struct view_limits {
	uint32_t sessions;	      /**< of this listener, per worker */
	uint32_t sessions_per_client; /**< per client address, per worker; 0: no limit */
	uint32_t messages_per_session;
	uint32_t recipients;	/**< per message; advertised as LIMITS RCPTMAX (RFC 9422) */
	uint64_t message_size;	/**< octets; advertised as SIZE */
	uint32_t errors;	/**< then 421 */
	uint32_t junk_commands; /**< NOOP, RSET, VRFY … without mail between them; then they count
				   as errors */
	uint32_t hops;		/**< Received fields; then 554 5.4.6 */
	uint32_t header_size;	/**< octets */
	uint64_t command_timeout_us; /**< a whole command line must arrive within it */
	uint64_t data_timeout_us;    /**< a whole message: this much plus size / minimum rate */
	uint32_t minimum_rate;	     /**< octets per second while data is due */
	uint64_t tls_handshake_timeout_us;
};

struct view_listener {
	char name[VIEW_NAME_MAX];
	struct ip_address address;
	uint16_t tcp_port;
	enum listener_tls tls;
	bool require_tls; /**< 530 5.7.0 before STARTTLS */
	bool allow_auth;
	bool require_auth;
	bool accept_long_lines;
	enum line_endings line_endings;
	bool add_missing_headers;     /**< Date and Message-ID (RFC 6409, 8) */
	unsigned relay_network_count; /**< clients that may relay without AUTH */
	const struct ip_prefix *relay_networks;
	unsigned trusted_header_count; /**< clients whose X-Millrace-* headers are believed */
	const struct ip_prefix *trusted_header_networks;
	char tenant[VIEW_NAME_MAX]; /**< "" : none */
	char campaign[VIEW_NAME_MAX];
	char pool[VIEW_NAME_MAX];
	struct view_limits limits;
	struct tls_context *tls_contexts[WORKERS_MAX]; /**< one a worker; NULL without TLS */
};

struct view {
	uint64_t revision;
	char hostname[256];
	unsigned port_count;
	const struct view_port *ports;
	unsigned address_count;
	const struct view_address *addresses;
	unsigned route_count;
	const struct view_route *routes;
	unsigned listener_count;
	const struct view_listener *listeners;
	struct tls_context
		*client_contexts[WORKERS_MAX]; /**< for `may` and `encrypt`: peer not verified */
	/** Sessions that hold this view; each counter is written by its worker alone. */
	struct {
		uint32_t held;
		uint8_t pad[60];
	} references[WORKERS_MAX];
};

#endif
