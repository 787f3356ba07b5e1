/* SPDX-License-Identifier: GPL-3.0-or-later */
/* IP addresses: tests, comparison, text (RFC 4291, RFC 5952). */
#include "dataplane/net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

bool ip_is_v4(const struct ip_address *a)
{
	return memcmp(a->bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

bool ip_equal(const struct ip_address *a, const struct ip_address *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool ip_is_unspecified(const struct ip_address *a)
{
	static const struct ip_address zero;

	return ip_equal(a, &zero) || (ip_is_v4(a) && ip_to_v4(a) == 0);
}

bool ip_is_host(const struct ip_address *a)
{
	static const struct ip_address loopback = {{[15] = 1}};
	uint32_t v4;

	if (!ip_is_v4(a))
		return !ip_is_unspecified(a) && a->bytes[0] != 0xff && !ip_equal(a, &loopback);
	v4 = ip_to_v4(a);
	return v4 >> 24 != 0 && v4 >> 24 != 127 && v4 >> 28 < 14;
}

struct ip_address ip_from_v4(uint32_t host_order)
{
	struct ip_address a;
	uint32_t net = htonl(host_order);

	memcpy(a.bytes, mapped_prefix, sizeof(mapped_prefix));
	memcpy(a.bytes + 12, &net, sizeof(net));
	return a;
}

uint32_t ip_to_v4(const struct ip_address *a)
{
	uint32_t net;

	memcpy(&net, a->bytes + 12, sizeof(net));
	return ntohl(net);
}

int ip_parse(const char *text, struct ip_address *out)
{
	struct in_addr v4;

	if (inet_pton(AF_INET, text, &v4) == 1) {
		*out = ip_from_v4(ntohl(v4.s_addr));
		return 0;
	}
	return inet_pton(AF_INET6, text, out->bytes) == 1 ? 0 : -EINVAL;
}

/* Decimal 0..limit without sign or leading zeros. */
static int parse_length(const char *text, unsigned limit, unsigned *out)
{
	unsigned value = 0;

	if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		value = value * 10 + (unsigned)(*text - '0');
		if (value > limit)
			return -EINVAL;
	}
	*out = value;
	return 0;
}

struct ip_prefix ip_prefix_of(const struct ip_address *a, unsigned length)
{
	struct ip_prefix out = {.address = *a, .length = (uint8_t)length};

	for (unsigned i = 0; i < 16; i++) {
		unsigned bits = length > i * 8 ? length - i * 8 : 0;

		if (bits < 8)
			out.address.bytes[i] &= (uint8_t)(0xff00 >> bits);
	}
	return out;
}

int ip_prefix_parse(const char *text, struct ip_prefix *out)
{
	char address[IP_ADDRESS_TEXT];
	const char *slash = strchr(text, '/');
	size_t size = slash != NULL ? (size_t)(slash - text) : strlen(text);
	struct ip_prefix p, network;
	unsigned length = 128;

	if (size >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, size);
	address[size] = '\0';
	if (ip_parse(address, &p.address) != 0)
		return -EINVAL;
	if (slash != NULL) {
		bool v4 = strchr(address, ':') == NULL;

		if (parse_length(slash + 1, v4 ? 32 : 128, &length) != 0)
			return -EINVAL;
		if (v4)
			length += 96;
	}
	p.length = (uint8_t)length;
	network = ip_prefix_of(&p.address, length);
	if (!ip_equal(&network.address, &p.address))
		return -EINVAL;
	*out = p;
	return 0;
}

bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_address *a)
{
	unsigned whole = p->length / 8;
	unsigned rest = p->length % 8;

	if (memcmp(p->address.bytes, a->bytes, whole) != 0)
		return false;
	return rest == 0 || ((p->address.bytes[whole] ^ a->bytes[whole]) >> (8 - rest)) == 0;
}

char *ip_format(const struct ip_address *a, char *text)
{
	if (ip_is_v4(a))
		inet_ntop(AF_INET, a->bytes + 12, text, IP_ADDRESS_TEXT);
	else
		inet_ntop(AF_INET6, a->bytes, text, IP_ADDRESS_TEXT);
	return text;
}
