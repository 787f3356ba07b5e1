/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What DNS answers say about a domain, and how that becomes a list of hosts to try: pure functions
 * over answers, so that they can be tested and fuzzed without a resolver. Limits: notes on DNS as
 * an attack surface (many records, many names, addresses of others).
 */
#ifndef MILLRACE_CONTROL_DNS_RESOLUTION_H
#define MILLRACE_CONTROL_DNS_RESOLUTION_H

#include "control/dns/resolver.h"
#include "drivers/random.h"

/** Records of one answer that are looked at. */
#define DNS_RECORDS_MAX 100
/** Exchangers whose addresses are asked for: with the MX query, 17 queries a domain. */
#define DNS_EXCHANGERS_MAX 8
/** Addresses kept of one exchanger, per family. */
#define DNS_ADDRESSES_MAX 4

struct exchanger {
	char name[SMTP_DOMAIN_MAX + 1]; /**< lower case, no trailing dot */
	uint16_t preference;
	unsigned v4_count, v6_count;
	struct ip_address v4[DNS_ADDRESSES_MAX];
	struct ip_address v6[DNS_ADDRESSES_MAX];
};

struct exchangers {
	bool null_mx;
	unsigned count;
	struct exchanger list[DNS_EXCHANGERS_MAX];
};

/**
 * Text of a domain name in wire form, uncompressed, lower case; bytes that are not letters, digits,
 * hyphen or underscore make it invalid. @param name SMTP_DOMAIN_MAX + 1 bytes @return 0, -EBADMSG;
 * the root is ""
 */
int dns_name_text(const uint8_t *wire, size_t size, char *name);
/**
 * Take one MX record's data. Keeps the DNS_EXCHANGERS_MAX most preferred.
 * @param random decides among equals when there are too many @return 0, or -EBADMSG and nothing was
 * taken
 */
int exchangers_add(struct exchangers *exchangers, const uint8_t *data, size_t size,
		   struct mr_random *random);
/** An address that mail may go to: not unspecified, loopback, private, link-local, multicast,
 * reserved. */
bool address_is_public(const struct ip_address *address);
/**
 * From exchangers with addresses to the hosts to try: sorted by preference, equals shuffled,
 * ourselves and everything at or above our preference left out (RFC 5321, 5.1), families
 * alternating, ROUTE_HOSTS_MAX at most. Sets status, host_count, hosts, site and reason.
 */
void resolution_choose_hosts(struct resolution *resolution, const struct exchangers *exchangers,
			     const struct resolver_settings *settings, struct mr_random *random);
/**
 * The domain as it is asked for: lower-case A-labels without trailing dot.
 * @param out SMTP_DOMAIN_MAX + 1 bytes @return 0 or -EINVAL
 */
int dns_domain_normalize(const char *domain, char *out);
/** An address literal of RFC 5321, 4.1.3. @return 1 it is one, 0 it is none, -EINVAL malformed */
int dns_address_literal(const char *domain, struct ip_address *address);

#endif
