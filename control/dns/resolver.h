/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From a recipient's domain to mail exchangers and their addresses (RFC 5321, 5.1; RFC 7505; RFC
 * 2308). The interface has a real form over libunbound (resolver_unbound.c) and a scripted one for
 * simulations. Owner: the thread that created it; answers come from resolver_poll on that thread,
 * never from within submit.
 */
#ifndef MILLRACE_CONTROL_DNS_RESOLVER_H
#define MILLRACE_CONTROL_DNS_RESOLVER_H

#include "dataplane/message.h"
#include "drivers/clock.h"

enum resolution_status {
	RESOLUTION_OK,
	RESOLUTION_NO_DOMAIN,  /**< authoritative NXDOMAIN: 5.1.2 */
	RESOLUTION_NULL_MX,    /**< RFC 7505: 5.1.10 */
	RESOLUTION_NO_ADDRESS, /**< exchangers without any usable address: 5.4.4 */
	RESOLUTION_LOOP,       /**< only ourselves are left: 5.4.6 */
	RESOLUTION_TEMPORARY,  /**< SERVFAIL, time-out, bogus: 4.4.3 */
};

/** A host of the answer; up to ROUTE_HOSTS_MAX, equal preferences shuffled. */
struct resolution_host {
	char name[SMTP_DOMAIN_MAX + 1]; /**< lower case, no trailing dot */
	struct ip_address address;
	uint16_t preference;
};

struct resolution {
	enum resolution_status status;
	bool secure;	  /**< every answer on the way was DNSSEC-validated */
	bool has_mx;	  /**< false: implicit MX, the domain's own addresses */
	uint32_t ttl_s;	  /**< of the shortest-lived answer, clamped to 30 s .. 1 day */
	char reason[160]; /**< for people: what failed, at which name */
	char site[256]; /**< canonical name of the group of exchangers: sorted MX names, hashed when
			   long */
	unsigned host_count;
	struct resolution_host hosts[ROUTE_HOSTS_MAX];
};

struct resolver {
	/**
	 * Start a look-up. @param domain ASCII or UTF-8 (made an A-label inside), or an address
	 * literal "[192.0.2.1]"
	 * @param done called exactly once, from poll @return 0 or -EAGAIN when too many are under
	 * way
	 */
	int (*submit)(struct resolver *resolver, const char *domain,
		      void (*done)(void *user, const struct resolution *resolution), void *user,
		      const struct mr_now *now);
	/** Hand out answers. @return true when there were any */
	bool (*poll)(struct resolver *resolver, const struct mr_now *now);
	/** Descriptor that becomes readable when poll has work, or -1. */
	int (*descriptor)(struct resolver *resolver);
	/**
	 * By which addresses this box is known from now on (a reload); what is cached is judged
	 * again. @return 0 or -ENOMEM: as before
	 */
	int (*set_own_addresses)(struct resolver *resolver, const struct ip_address *addresses,
				 unsigned count);
	/** Forget cached answers. @param domain NULL: all */
	void (*flush)(struct resolver *resolver, const char *domain);
	void (*destroy)(struct resolver *resolver);
};

struct resolver_stub_zone {
	const char *zone;
	const char *server; /**< address, or address@port */
};

struct resolver_settings {
	unsigned stub_zone_count;
	const struct resolver_stub_zone *stub_zones;
	unsigned forwarder_count;
	const char *const *forwarders; /**< none: full recursion from the roots */
	const char *trust_anchor_file; /**< or NULL */
	unsigned trust_anchor_count;
	const char *const *trust_anchors; /**< DS or DNSKEY records as text */
	unsigned own_address_count;
	const struct ip_address
		*own_addresses;	      /**< an exchanger that is us ends the list (RFC 5321, 5.1) */
	bool allow_private_addresses; /**< else RFC 1918, loopback, link-local … exchangers are left
					 out */
	uint32_t cache_entries;
	struct mr_random *random;
	uint64_t timeout_us; /**< of one look-up, all queries together */
};
/** @param error at least 256 bytes @return NULL on error */
struct resolver *resolver_unbound_create(const struct resolver_settings *settings, char *error);

#endif
