/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/dns/resolution.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <idn2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_MAX 63

static bool label_byte_is_valid(uint8_t c)
{
	return isalnum(c) || c == '-' || c == '_';
}

int dns_name_text(const uint8_t *wire, size_t size, char *name)
{
	size_t at = 0, out = 0;

	for (;;) {
		if (at >= size)
			return -EBADMSG;
		size_t label = wire[at++];

		if (label == 0)
			break;
		if (label > LABEL_MAX || label > size - at || out + label + 1 > SMTP_DOMAIN_MAX)
			return -EBADMSG;
		for (size_t i = 0; i < label; i++) {
			if (!label_byte_is_valid(wire[at + i]))
				return -EBADMSG;
			name[out++] = (char)tolower(wire[at + i]);
		}
		name[out++] = '.';
		at += label;
	}
	if (out > 0)
		out--;
	name[out] = '\0';
	return 0;
}

static unsigned least_preferred(const struct exchangers *exchangers)
{
	unsigned worst = 0;

	for (unsigned i = 1; i < exchangers->count; i++)
		if (exchangers->list[i].preference > exchangers->list[worst].preference)
			worst = i;
	return worst;
}

int exchangers_add(struct exchangers *exchangers, const uint8_t *data, size_t size,
		   struct mr_random *random)
{
	struct exchanger found = {0};
	unsigned at = exchangers->count;

	if (size < 3 || dns_name_text(data + 2, size - 2, found.name) < 0)
		return -EBADMSG;
	found.preference = (uint16_t)(data[0] << 8 | data[1]);
	if (found.name[0] == '\0') {
		exchangers->null_mx = true; /* RFC 7505; counts only when it is alone */
		return 0;
	}
	for (unsigned i = 0; i < exchangers->count; i++)
		if (strcmp(exchangers->list[i].name, found.name) == 0) {
			if (found.preference < exchangers->list[i].preference)
				exchangers->list[i].preference = found.preference;
			return 0;
		}
	if (at == DNS_EXCHANGERS_MAX) {
		at = least_preferred(exchangers);
		uint16_t worst = exchangers->list[at].preference;

		if (found.preference > worst ||
		    (found.preference == worst && random_below(random, 2) == 0))
			return 0;
	} else {
		exchangers->count++;
	}
	exchangers->list[at] = found;
	return 0;
}

struct block {
	const char *text;
};

/* RFC 6890 and its registries: what is not globally reachable, or no unicast address at all. */
static const struct block special_blocks[] = {
	{"0.0.0.0/8"},	    {"10.0.0.0/8"},    {"100.64.0.0/10"},   {"127.0.0.0/8"},
	{"169.254.0.0/16"}, {"172.16.0.0/12"}, {"192.0.0.0/24"},    {"192.0.2.0/24"},
	{"192.168.0.0/16"}, {"198.18.0.0/15"}, {"198.51.100.0/24"}, {"203.0.113.0/24"},
	{"224.0.0.0/4"},    {"240.0.0.0/4"},   {"::/128"},	    {"::1/128"},
	{"64:ff9b:1::/48"}, {"100::/64"},      {"2001:db8::/32"},   {"fc00::/7"},
	{"fe80::/10"},	    {"fec0::/10"},     {"ff00::/8"},
};

bool address_is_public(const struct ip_address *address)
{
	for (size_t i = 0; i < sizeof(special_blocks) / sizeof(special_blocks[0]); i++) {
		struct ip_prefix prefix;

		if (ip_prefix_parse(special_blocks[i].text, &prefix) == 0 &&
		    ip_prefix_contains(&prefix, address))
			return false;
	}
	return true;
}

/* Even when private addresses are allowed, nobody's mail goes to these. */
static bool address_is_possible(const struct ip_address *address)
{
	static const char *const impossible[] = {"0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4",
						 "::/128", "ff00::/8"};

	for (size_t i = 0; i < sizeof(impossible) / sizeof(impossible[0]); i++) {
		struct ip_prefix prefix;

		if (ip_prefix_parse(impossible[i], &prefix) == 0 &&
		    ip_prefix_contains(&prefix, address))
			return false;
	}
	return true;
}

static bool address_is_usable(const struct ip_address *address,
			      const struct resolver_settings *settings)
{
	return address_is_possible(address) &&
	       (settings->allow_private_addresses || address_is_public(address));
}

static bool is_own(const struct exchanger *e, const struct resolver_settings *settings)
{
	for (unsigned o = 0; o < settings->own_address_count; o++) {
		for (unsigned i = 0; i < e->v4_count; i++)
			if (ip_equal(&e->v4[i], &settings->own_addresses[o]))
				return true;
		for (unsigned i = 0; i < e->v6_count; i++)
			if (ip_equal(&e->v6[i], &settings->own_addresses[o]))
				return true;
	}
	return false;
}

static int by_preference(const void *a, const void *b)
{
	const struct exchanger *x = *(const struct exchanger *const *)a;
	const struct exchanger *y = *(const struct exchanger *const *)b;

	return (x->preference > y->preference) - (x->preference < y->preference);
}

static void shuffle_equals(const struct exchanger **order, unsigned count, struct mr_random *random)
{
	for (unsigned from = 0; from < count;) {
		unsigned to = from + 1;

		while (to < count && order[to]->preference == order[from]->preference)
			to++;
		for (unsigned i = to - 1; i > from; i--) {
			unsigned j = from + random_below(random, i - from + 1);
			const struct exchanger *kept = order[i];

			order[i] = order[j];
			order[j] = kept;
		}
		from = to;
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct exchanger *)a)->name, ((const struct exchanger *)b)->name);
}

/* The group's name: its exchangers' names in order of the alphabet, or a digest of them when that
 * is long. */
static void name_site(struct resolution *resolution, const struct exchangers *exchangers)
{
	struct exchangers sorted = *exchangers;
	uint64_t hash = UINT64_C(14695981039346656037);
	size_t used = 0;

	qsort(sorted.list, sorted.count, sizeof(sorted.list[0]), by_name);
	resolution->site[0] = '\0';
	for (unsigned i = 0; i < sorted.count; i++) {
		const char *name = sorted.list[i].name;

		for (const char *c = name; *c; c++)
			hash = (hash ^ (uint8_t)*c) * UINT64_C(1099511628211);
		hash = (hash ^ '+') * UINT64_C(1099511628211);
		used += strlen(name) + 1;
		if (used <= 200) {
			if (i > 0)
				strcat(resolution->site, "+");
			strcat(resolution->site, name);
		}
	}
	if (used > 200)
		snprintf(resolution->site, sizeof(resolution->site), "%.190s+%u more-%016llx",
			 sorted.list[0].name, sorted.count - 1, (unsigned long long)hash);
}

static void take_host(struct resolution *resolution, const struct exchanger *e,
		      const struct ip_address *address, const struct resolver_settings *settings)
{
	struct resolution_host *host;

	if (resolution->host_count == ROUTE_HOSTS_MAX || !address_is_usable(address, settings))
		return;
	host = &resolution->hosts[resolution->host_count++];
	memcpy(host->name, e->name, sizeof(host->name));
	host->address = *address;
	host->preference = e->preference;
}

/*
 * Round r takes each exchanger's r-th address of either family, so that with few places every
 * exchanger and both families are among the hosts; then hosts are put back in order of preference.
 */
static void take_hosts(struct resolution *resolution, const struct exchanger **order,
		       unsigned count, const struct resolver_settings *settings,
		       struct mr_random *random)
{
	bool v6_first = random_below(random, 2) == 0;

	for (unsigned round = 0; round < DNS_ADDRESSES_MAX; round++)
		for (unsigned i = 0; i < count; i++) {
			const struct exchanger *e = order[i];

			for (unsigned k = 0; k < 2; k++) {
				if ((k == 0) == v6_first && round < e->v6_count)
					take_host(resolution, e, &e->v6[round], settings);
				if ((k == 0) != v6_first && round < e->v4_count)
					take_host(resolution, e, &e->v4[round], settings);
			}
		}
	for (unsigned i = 1; i < resolution->host_count; i++) {
		struct resolution_host host = resolution->hosts[i];
		unsigned at = i;

		while (at > 0 && resolution->hosts[at - 1].preference > host.preference) {
			resolution->hosts[at] = resolution->hosts[at - 1];
			at--;
		}
		resolution->hosts[at] = host;
	}
}

void resolution_choose_hosts(struct resolution *resolution, const struct exchangers *exchangers,
			     const struct resolver_settings *settings, struct mr_random *random)
{
	const struct exchanger *order[DNS_EXCHANGERS_MAX];
	unsigned count = exchangers->count, usable = 0;

	for (unsigned i = 0; i < count; i++)
		order[i] = &exchangers->list[i];
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): it is pointers that are sorted */
	qsort(order, count, sizeof(order[0]), by_preference);
	name_site(resolution, exchangers);
	resolution->host_count = 0;
	for (unsigned i = 0; i < count; i++) {
		if (!is_own(order[i], settings))
			continue;
		uint16_t ours = order[i]->preference;

		while (usable < count && order[usable]->preference < ours)
			usable++;
		if (usable == 0) {
			resolution->status = RESOLUTION_LOOP;
			snprintf(resolution->reason, sizeof(resolution->reason),
				 "mail exchanger %.100s is this relay", order[i]->name);
			return;
		}
		count = usable;
		break;
	}
	shuffle_equals(order, count, random);
	take_hosts(resolution, order, count, settings, random);
	if (resolution->host_count == 0) {
		resolution->status = RESOLUTION_NO_ADDRESS;
		snprintf(resolution->reason, sizeof(resolution->reason),
			 "no usable address for any mail exchanger (%.100s)",
			 count > 0 ? order[0]->name : "none");
		return;
	}
	resolution->status = RESOLUTION_OK;
	resolution->reason[0] = '\0';
}

int dns_domain_normalize(const char *domain, char *out)
{
	size_t length = strlen(domain);
	char *ascii = NULL;
	bool plain = true;

	if (length == 0 || length > SMTP_DOMAIN_MAX)
		return -EINVAL;
	for (const char *c = domain; *c; c++)
		plain = plain && !((uint8_t)*c & 0x80);
	if (plain) {
		for (size_t i = 0; i <= length; i++)
			out[i] = (char)tolower((uint8_t)domain[i]);
	} else {
		/* RFC 5891; non-transitional processing of UTS 46, as browsers and other MTAs do.
		 */
		int code = idn2_to_ascii_8z(domain, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);

		if (code != IDN2_OK || strlen(ascii) > SMTP_DOMAIN_MAX) {
			idn2_free(ascii);
			return -EINVAL;
		}
		strcpy(out, ascii);
		idn2_free(ascii);
	}
	length = strlen(out);
	if (length > 1 && out[length - 1] == '.')
		out[--length] = '\0';
	for (size_t i = 0, label = 0; i <= length; i++) {
		if (out[i] == '.' || out[i] == '\0') {
			if (i - label == 0 || i - label > LABEL_MAX)
				return -EINVAL;
			label = i + 1;
		} else if (!label_byte_is_valid((uint8_t)out[i])) {
			return -EINVAL;
		}
	}
	return 0;
}

int dns_address_literal(const char *domain, struct ip_address *address)
{
	size_t length = strlen(domain);
	char text[IP_ADDRESS_TEXT];

	if (domain[0] != '[')
		return 0;
	if (length < 3 || domain[length - 1] != ']')
		return -EINVAL;
	const char *from = domain + 1;

	length -= 2;
	if (strncasecmp(from, "IPv6:", 5) == 0) {
		from += 5;
		length -= 5;
	}
	if (length == 0 || length >= sizeof(text))
		return -EINVAL;
	memcpy(text, from, length);
	text[length] = '\0';
	return ip_parse(text, address) == 0 ? 1 : -EINVAL;
}
