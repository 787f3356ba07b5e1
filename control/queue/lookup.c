/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Look-ups of domains: one submission to the resolver for each, or for a destination with fixed
 * hosts (a smart host) one after the other, addresses without a resolver. Whatever is wrong with
 * fixed hosts is temporary: the operator's mistake must not bounce the customers' mail.
 *
 * An answer that was asked for under an older configuration is not believed: it is asked for again.
 */
#include "control/queue/shard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Submitted and not answered, at most. */
#define LOOKUPS_MAX 1024u
#define SMTP_PORT   25

void lookup_free(struct lookup *lookup)
{
	struct queue_shard *shard = lookup->shard;

	if (lookup->prev)
		lookup->prev->next = lookup->next;
	else
		shard->lookups = lookup->next;
	if (lookup->next)
		lookup->next->prev = lookup->prev;
	shard->lookup_count--;
	free(lookup);
}

static void lookup_finish(struct lookup *lookup)
{
	struct queue_shard *shard = lookup->shard;
	struct queue_domain *domain = domain_at(shard, lookup->domain);

	shard->counters.resolutions++;
	shard->progress = true;
	domain->state = DOMAIN_UNKNOWN;
	if (lookup->epoch != shard->epoch)
		domain_queue(shard, lookup->domain);
	else
		domain_answered(shard, lookup->domain, &lookup->answer, lookup->ports,
				lookup->destination);
	lookup_free(lookup);
}

/** Split "name", "name:port", "[address]", "[address]:port". @return 0 or -EINVAL */
static int fixed_host_parse(const char *text, char *name, size_t size, uint16_t *port)
{
	const char *end = *text == '[' ? strchr(text, ']') : strrchr(text, ':');
	size_t length;

	*port = SMTP_PORT;
	if (*text == '[') {
		if (!end++)
			return -EINVAL;
	} else if (!end) {
		end = text + strlen(text);
	}
	length = (size_t)(end - text);
	if (length == 0 || length >= size)
		return -EINVAL;
	memcpy(name, text, length);
	name[length] = '\0';
	if (*end == ':') {
		unsigned long value = strtoul(end + 1, NULL, 10);

		if (value == 0 || value > UINT16_MAX)
			return -EINVAL;
		*port = (uint16_t)value;
	}
	return 0;
}

static void fixed_host_add(struct lookup *lookup, const struct resolution_host *host)
{
	struct resolution *answer = &lookup->answer;

	if (answer->host_count == ROUTE_HOSTS_MAX)
		return;
	answer->hosts[answer->host_count] = *host;
	answer->hosts[answer->host_count].preference = (uint16_t)lookup->host;
	lookup->ports[answer->host_count++] = lookup->port;
	answer->status = RESOLUTION_OK;
}

static void lookup_next_host(struct lookup *lookup);

static void fixed_host_answered(void *user, const struct resolution *answer)
{
	struct lookup *lookup = user;

	for (unsigned i = 0; answer->status == RESOLUTION_OK && i < answer->host_count; i++)
		fixed_host_add(lookup, &answer->hosts[i]);
	if (answer->status != RESOLUTION_OK && lookup->answer.host_count == 0)
		memcpy(lookup->answer.reason, answer->reason, sizeof(lookup->answer.reason));
	if (answer->ttl_s < lookup->answer.ttl_s)
		lookup->answer.ttl_s = answer->ttl_s;
	lookup->host++;
	lookup_next_host(lookup);
}

/** Go on with the fixed hosts that are left. */
static void lookup_next_host(struct lookup *lookup)
{
	struct queue_shard *shard = lookup->shard;
	const struct queue_destination *destination;

	if (lookup->epoch != shard->epoch) {
		lookup_finish(lookup);
		return;
	}
	destination = &shard->view->destinations[lookup->destination];
	for (; lookup->host < destination->fixed_host_count; lookup->host++) {
		const char *text = destination->fixed_hosts[lookup->host];
		struct resolution_host host = {0};
		size_t length;

		if (fixed_host_parse(text, host.name, sizeof(host.name), &lookup->port) < 0) {
			snprintf(lookup->answer.reason, sizeof(lookup->answer.reason),
				 "not a host: %.100s", text);
			continue;
		}
		length = strlen(host.name);
		if (host.name[0] == '[') {
			char address[IP_ADDRESS_TEXT + 8];
			const char *from = host.name + 1;

			if (!strncasecmp(from, "IPv6:", 5))
				from += 5;
			snprintf(address, sizeof(address), "%.*s",
				 (int)(host.name + length - 1 - from), from);
			if (ip_parse(address, &host.address) == 0)
				fixed_host_add(lookup, &host);
			continue;
		}
		if (shard->settings.resolver->submit(shard->settings.resolver, host.name,
						     fixed_host_answered, lookup, &shard->now) == 0)
			return;
		snprintf(lookup->answer.reason, sizeof(lookup->answer.reason),
			 "the resolver is busy");
	}
	if (lookup->answer.host_count == 0)
		lookup->answer.status = RESOLUTION_TEMPORARY;
	lookup_finish(lookup);
}

static void domain_lookup_answered(void *user, const struct resolution *answer)
{
	struct lookup *lookup = user;

	lookup->answer = *answer;
	for (unsigned i = 0; i < ROUTE_HOSTS_MAX; i++)
		lookup->ports[i] = SMTP_PORT;
	if (answer->status == RESOLUTION_OK && lookup->epoch == lookup->shard->epoch)
		lookup->destination = destination_find(
			lookup->shard->view, domain_at(lookup->shard, lookup->domain)->name,
			answer->site);
	lookup_finish(lookup);
}

static void fixed_site_name(struct resolution *answer, const struct queue_destination *destination)
{
	size_t size = 0;

	for (unsigned i = 0; i < destination->fixed_host_count && size < sizeof(answer->site);
	     i++) {
		int n = snprintf(answer->site + size, sizeof(answer->site) - size, "%s%s",
				 i ? "," : "", destination->fixed_hosts[i]);

		size += n > 0 ? (size_t)n : 0;
	}
}

int lookup_start(struct queue_shard *shard, uint32_t d)
{
	struct queue_domain *domain = domain_at(shard, d);
	struct lookup *lookup;
	const struct queue_destination *destination;

	if (shard->lookup_count >= LOOKUPS_MAX)
		return -EAGAIN;
	lookup = calloc(1, sizeof(*lookup));
	if (!lookup)
		return -EAGAIN;
	*lookup = (struct lookup){.shard = shard, .domain = d, .epoch = shard->epoch};
	lookup->destination = destination_find(shard->view, domain->name, NULL);
	destination = &shard->view->destinations[lookup->destination];
	if (destination->fixed_host_count == 0 &&
	    shard->settings.resolver->submit(shard->settings.resolver, domain->name,
					     domain_lookup_answered, lookup, &shard->now) < 0) {
		free(lookup);
		return -EAGAIN;
	}
	lookup->next = shard->lookups;
	if (lookup->next)
		lookup->next->prev = lookup;
	shard->lookups = lookup;
	shard->lookup_count++;
	if (destination->fixed_host_count > 0) {
		lookup->answer.status = RESOLUTION_TEMPORARY;
		lookup->answer.ttl_s = 300;
		fixed_site_name(&lookup->answer, destination);
		lookup_next_host(lookup);
	}
	return 0;
}
