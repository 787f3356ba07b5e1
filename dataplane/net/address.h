/* SPDX-License-Identifier: GPL-3.0-or-later */
/* IP addresses as the data plane carries them: 16 bytes, IPv4 as IPv4-mapped IPv6 (RFC
 * 4291, 2.5.5.2). */
#ifndef MILLRACE_DATAPLANE_NET_ADDRESS_H
#define MILLRACE_DATAPLANE_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ip_address {
	uint8_t bytes[16]; /**< network order */
};

struct ip_prefix {
	struct ip_address address;
	uint8_t length; /**< bits of the 128; an IPv4 /24 is 120 */
};

/** Room for the text of any address and its end. */
#define IP_ADDRESS_TEXT 46

bool ip_is_v4(const struct ip_address *a);
bool ip_equal(const struct ip_address *a, const struct ip_address *b);
bool ip_is_unspecified(const struct ip_address *a);
/** Can be a single host's on the wire: not unspecified, loopback, a group or reserved (RFC 1122,
 * 3.2.1.3; RFC 4291, 2.5 and 2.7). Broadcasts of a link look like hosts here. */
bool ip_is_host(const struct ip_address *a);
struct ip_address ip_from_v4(uint32_t host_order);
/** @param a must be IPv4 @return in host order */
uint32_t ip_to_v4(const struct ip_address *a);
/** "192.0.2.1" or "2001:db8::1". @return 0 or -EINVAL */
int ip_parse(const char *text, struct ip_address *out);
/** "192.0.2.0/24", or an address alone (all bits). Host bits must be zero. @return 0 or -EINVAL */
int ip_prefix_parse(const char *text, struct ip_prefix *out);
/** The prefix of so many bits (of 128) that holds the address. */
struct ip_prefix ip_prefix_of(const struct ip_address *a, unsigned length);
bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_address *a);
/** @param text at least IP_ADDRESS_TEXT bytes @return text */
char *ip_format(const struct ip_address *a, char *text);

#endif
