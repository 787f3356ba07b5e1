/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a name server, or a sender with a domain of its choice, can say. The first octet chooses:
 * even, a domain as a recipient has it; odd, the data of MX records (each with its length before
 * it) and addresses, from which hosts are chosen. Whatever comes: names are what may be asked for
 * and shown, lists stay within their limits, no mail goes to an address that is not public.
 */
#include "control/dns/resolution.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}
#define MUST(condition) must(condition, #condition)

/* Labels of 1 to 63 letters, digits, hyphens, underscores; no upper case. */
static void check_name(const char *name)
{
	size_t label = 0, length = strnlen(name, SMTP_DOMAIN_MAX + 1);

	MUST(length > 0 && length <= SMTP_DOMAIN_MAX);
	for (size_t i = 0; i <= length; i++) {
		char c = name[i];

		if (c == '.' || c == '\0') {
			MUST(label >= 1 && label <= 63);
			label = 0;
			continue;
		}
		MUST((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_');
		label++;
	}
}

static void check_domain(const uint8_t *data, size_t size)
{
	/* In a block of just its size, so that a read behind it is seen. */
	char *domain = strndup((const char *)data, size);
	/* A block of its own for the result, as large as promised to be enough. */
	char *name = malloc(SMTP_DOMAIN_MAX + 1), *again = malloc(SMTP_DOMAIN_MAX + 1);
	struct ip_address address;
	int literal;

	if (dns_domain_normalize(domain, name) == 0) {
		check_name(name);
		MUST(dns_domain_normalize(name, again) == 0 && strcmp(name, again) == 0);
	}
	literal = dns_address_literal(domain, &address);
	MUST((literal == 0) == (domain[0] != '['));
	if (literal == 1) {
		char text[IP_ADDRESS_TEXT];
		struct ip_address parsed;

		ip_format(&address, text);
		MUST(ip_parse(text, &parsed) == 0 && ip_equal(&address, &parsed));
		MUST(dns_domain_normalize(domain, name) < 0);
	}
	free(again);
	free(name);
	free(domain);
}

static void add_record(struct exchangers *exchangers, const uint8_t *data, size_t size,
		       struct mr_random *random)
{
	struct exchangers before = *exchangers;
	uint8_t *copy = malloc(size ? size : 1);
	char *name = malloc(SMTP_DOMAIN_MAX + 1);

	memcpy(copy, data, size);
	if (exchangers_add(exchangers, copy, size, random) < 0)
		MUST(memcmp(&before, exchangers, sizeof(before)) == 0);
	else
		MUST(dns_name_text(copy + 2, size - 2, name) == 0);
	MUST(exchangers->count >= before.count && exchangers->count <= DNS_EXCHANGERS_MAX);
	for (unsigned i = 0; i < exchangers->count; i++) {
		check_name(exchangers->list[i].name);
		for (unsigned k = 0; k < i; k++)
			MUST(strcmp(exchangers->list[i].name, exchangers->list[k].name) != 0);
	}
	free(name);
	free(copy);
}

/* Sixteen octets: an address of the first exchangers, in turn. */
static void add_address(struct exchangers *exchangers, const uint8_t *data, unsigned turn)
{
	struct exchanger *exchanger = &exchangers->list[turn % exchangers->count];
	struct ip_address address;

	memcpy(&address, data, sizeof(address));
	if (ip_is_v4(&address)) {
		if (exchanger->v4_count < DNS_ADDRESSES_MAX)
			exchanger->v4[exchanger->v4_count++] = address;
	} else if (exchanger->v6_count < DNS_ADDRESSES_MAX) {
		exchanger->v6[exchanger->v6_count++] = address;
	}
}

static void check_hosts(const struct exchangers *exchangers, bool allow_private,
			struct mr_random *random)
{
	struct resolver_settings settings = {.allow_private_addresses = allow_private};
	struct resolution resolution = {0};

	if (exchangers->count > 0 && exchangers->list[0].v4_count > 0) {
		settings.own_address_count = 1;
		settings.own_addresses = exchangers->list[0].v4;
	}
	resolution_choose_hosts(&resolution, exchangers, &settings, random);
	MUST(strnlen(resolution.site, sizeof(resolution.site)) < sizeof(resolution.site));
	MUST(strnlen(resolution.reason, sizeof(resolution.reason)) < sizeof(resolution.reason));
	MUST((resolution.status == RESOLUTION_OK) == (resolution.host_count > 0));
	MUST(resolution.host_count <= ROUTE_HOSTS_MAX);
	for (unsigned i = 0; i < resolution.host_count; i++) {
		const struct resolution_host *host = &resolution.hosts[i];

		check_name(host->name);
		MUST(allow_private || address_is_public(&host->address));
		MUST(i == 0 || resolution.hosts[i - 1].preference <= host->preference);
		MUST(settings.own_address_count == 0 ||
		     !ip_equal(&host->address, settings.own_addresses));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct exchangers exchangers = {0};
	struct mr_random random;
	uint8_t choice;
	unsigned turn = 0;

	if (size < 1)
		return 0;
	choice = *data++;
	size--;
	if ((choice & 1) == 0) {
		check_domain(data, size);
		return 0;
	}
	random_init_seed(&random, choice);
	while (size > 0) {
		/* A length of 255 brings an address instead. */
		size_t length = *data++;

		size--;
		if (length == 255 && size >= sizeof(struct ip_address)) {
			if (exchangers.count > 0)
				add_address(&exchangers, data, turn++);
			length = sizeof(struct ip_address);
		} else {
			if (length > size)
				length = size;
			add_record(&exchangers, data, length, &random);
		}
		data += length;
		size -= length;
	}
	check_hosts(&exchangers, (choice & 2) != 0, &random);
	return 0;
}
