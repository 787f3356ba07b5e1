/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The resolver over libunbound: recursion, DNSSEC validation and record caching are its own; this
 * file asks for MX, then for the exchangers' addresses, and turns the answers into hosts.
 * libunbound works in a thread of its own (ub_ctx_async); its callbacks run inside ub_process, on
 * the owner's thread.
 */
#include "control/dns/cache.h"
#include "control/dns/resolution.h"
#include "control/dns/resolver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unbound.h>
#include <unistd.h>

#define RR_A	       1
#define RR_MX	       15
#define RR_AAAA	       28
#define CLASS_IN       1
#define RCODE_NOERROR  0
#define RCODE_NXDOMAIN 3

#define LOOKUPS_MAX	4096
#define TTL_MIN_S	30
#define TTL_MAX_S	86400
#define TTL_TEMPORARY_S 30
#define CACHE_MIN	16

typedef void resolution_done(void *user, const struct resolution *resolution);

struct unbound_resolver;

/** One question to libunbound. */
struct query {
	struct lookup *lookup;
	int exchanger; /* -1: the MX query */
	uint16_t type;
};

struct lookup {
	struct unbound_resolver *resolver;
	struct lookup *next, *previous;
	char domain[SMTP_DOMAIN_MAX + 1];
	struct dns_answer answer;
	unsigned outstanding; /* queries */
	bool temporary;	      /* some address query failed for now */
	bool finished;
	uint64_t deadline_us;
	struct query queries[1 + 2 * DNS_EXCHANGERS_MAX];
	unsigned query_count;
	resolution_done *done;
	void *user;
};

struct unbound_resolver {
	struct resolver resolver;
	struct resolver_settings settings;
	struct ip_address *own_addresses;
	struct ub_ctx *context;
	struct dns_cache *cache;
	struct lookup running; /* list head */
	struct lookup finished;
	unsigned lookups;
	struct mr_now now;
};

static void list_add(struct lookup *head, struct lookup *lookup)
{
	lookup->previous = head->previous;
	lookup->next = head;
	head->previous->next = lookup;
	head->previous = lookup;
}

static void list_remove(struct lookup *lookup)
{
	lookup->previous->next = lookup->next;
	lookup->next->previous = lookup->previous;
}

static void finish(struct lookup *lookup, enum resolution_status status, const char *reason)
{
	lookup->answer.base.status = status;
	if (reason)
		snprintf(lookup->answer.base.reason, sizeof(lookup->answer.base.reason), "%.*s",
			 (int)sizeof(lookup->answer.base.reason) - 1, reason);
	lookup->finished = true;
	list_remove(lookup);
	list_add(&lookup->resolver->finished, lookup);
}

static void fail_temporarily(struct lookup *lookup, const char *name, const char *why)
{
	char reason[sizeof(lookup->answer.base.reason)];

	snprintf(reason, sizeof(reason), "DNS look-up of %.80s failed for now: %.40s", name, why);
	lookup->answer.base.ttl_s = TTL_TEMPORARY_S;
	finish(lookup, RESOLUTION_TEMPORARY, reason);
}

static void on_answer(void *data, int error, struct ub_result *result);

static int ask(struct lookup *lookup, const char *name, uint16_t type, int exchanger)
{
	struct query *query = &lookup->queries[lookup->query_count];
	int id;

	*query = (struct query){.lookup = lookup, .exchanger = exchanger, .type = type};
	if (ub_resolve_async(lookup->resolver->context, name, type, CLASS_IN, query, on_answer,
			     &id) != 0)
		return -EIO;
	lookup->query_count++;
	lookup->outstanding++;
	return 0;
}

static void note_answer(struct lookup *lookup, const struct ub_result *result)
{
	uint32_t ttl = result->ttl < 0 ? 0 : (uint32_t)result->ttl;

	if (ttl < lookup->answer.base.ttl_s)
		lookup->answer.base.ttl_s = ttl;
	lookup->answer.base.secure = lookup->answer.base.secure && result->secure;
}

static void ask_addresses(struct lookup *lookup)
{
	struct exchangers *e = &lookup->answer.exchangers;

	for (unsigned i = 0; i < e->count; i++) {
		int a = ask(lookup, e->list[i].name, RR_A, (int)i);
		int aaaa = ask(lookup, e->list[i].name, RR_AAAA, (int)i);

		lookup->temporary = lookup->temporary || a < 0 || aaaa < 0;
	}
	if (lookup->outstanding == 0)
		fail_temporarily(lookup, lookup->domain, "resolver is out of memory");
}

static const char *rcode_name(int rcode)
{
	static const char *const names[] = {"NOERROR",	"FORMERR", "SERVFAIL",
					    "NXDOMAIN", "NOTIMP",  "REFUSED"};

	return rcode >= 0 && rcode < (int)(sizeof(names) / sizeof(names[0])) ? names[rcode]
									     : "error";
}

/* @return what is wrong for now, or NULL when the answer can be relied on */
static const char *temporary_reason(int error, const struct ub_result *result)
{
	if (error != 0 || !result)
		return error ? ub_strerror(error) : "no answer";
	if (result->bogus)
		return "DNSSEC validation failed";
	if (result->rcode != RCODE_NOERROR && result->rcode != RCODE_NXDOMAIN)
		return rcode_name(result->rcode);
	return NULL;
}

static void take_mx(struct lookup *lookup, const struct ub_result *result)
{
	struct exchangers *e = &lookup->answer.exchangers;

	for (unsigned i = 0; i < DNS_RECORDS_MAX && result->data[i]; i++)
		if (result->len[i] > 0)
			(void)exchangers_add(e, (const uint8_t *)result->data[i],
					     (size_t)result->len[i],
					     lookup->resolver->settings.random);
	lookup->answer.base.has_mx = e->count > 0 || e->null_mx;
	if (e->count == 0 && e->null_mx) {
		finish(lookup, RESOLUTION_NULL_MX, "domain accepts no mail (null MX)");
		return;
	}
	if (e->count == 0 && result->data[0]) {
		/* There are MX records, none usable: not the case of RFC 5321's implicit MX. */
		finish(lookup, RESOLUTION_NO_ADDRESS, "no usable name in any MX record");
		return;
	}
	if (e->count == 0) {
		strcpy(e->list[0].name, lookup->domain);
		e->count = 1;
	}
	ask_addresses(lookup);
}

static void on_mx(struct lookup *lookup, int error, const struct ub_result *result)
{
	const char *why = temporary_reason(error, result);

	if (why) {
		fail_temporarily(lookup, lookup->domain, why);
		return;
	}
	note_answer(lookup, result);
	if (result->nxdomain) {
		finish(lookup, RESOLUTION_NO_DOMAIN, "domain does not exist");
		return;
	}
	take_mx(lookup, result);
}

static void take_address(struct exchanger *e, uint16_t type, const uint8_t *data, size_t size)
{
	if (type == RR_A && size == 4 && e->v4_count < DNS_ADDRESSES_MAX)
		e->v4[e->v4_count++] =
			ip_from_v4((uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 |
				   (uint32_t)data[2] << 8 | data[3]);
	if (type == RR_AAAA && size == 16 && e->v6_count < DNS_ADDRESSES_MAX) {
		struct ip_address address;

		memcpy(address.bytes, data, 16);
		if (!ip_is_v4(&address)) /* an IPv4-mapped AAAA is nonsense on the wire */
			e->v6[e->v6_count++] = address;
	}
}

static void on_address(struct lookup *lookup, const struct query *query, int error,
		       const struct ub_result *result)
{
	struct exchanger *e = &lookup->answer.exchangers.list[query->exchanger];

	if (temporary_reason(error, result)) {
		lookup->temporary = true;
	} else {
		note_answer(lookup, result);
		for (unsigned i = 0; i < DNS_RECORDS_MAX && result->data && result->data[i]; i++)
			if (result->len[i] > 0)
				take_address(e, query->type, (const uint8_t *)result->data[i],
					     (size_t)result->len[i]);
	}
	if (lookup->outstanding > 0)
		return;
	bool any = false;

	for (unsigned i = 0; i < lookup->answer.exchangers.count; i++)
		any = any || lookup->answer.exchangers.list[i].v4_count ||
		      lookup->answer.exchangers.list[i].v6_count;
	if (lookup->temporary) /* ask again soon for what is missing */
		lookup->answer.base.ttl_s = TTL_TEMPORARY_S;
	if (!any && lookup->temporary)
		fail_temporarily(lookup, e->name, "no address answer");
	else
		finish(lookup, RESOLUTION_OK, NULL);
}

static void on_answer(void *data, int error, struct ub_result *result)
{
	struct query *query = data;
	struct lookup *lookup = query->lookup;

	lookup->outstanding--;
	if (!lookup->finished) {
		if (query->exchanger < 0)
			on_mx(lookup, error, result);
		else
			on_address(lookup, query, error, result);
	}
	ub_resolve_free(result);
}

/* ---- The interface ---- */

static struct unbound_resolver *of(struct resolver *resolver)
{
	return (struct unbound_resolver *)resolver;
}

static void start_literal(struct lookup *lookup, const struct ip_address *address)
{
	struct exchanger *e = &lookup->answer.exchangers.list[0];

	lookup->answer.exchangers.count = 1;
	snprintf(e->name, sizeof(e->name), "%s", lookup->domain);
	if (ip_is_v4(address))
		e->v4[e->v4_count++] = *address;
	else
		e->v6[e->v6_count++] = *address;
	finish(lookup, RESOLUTION_OK, NULL);
}

static void start(struct lookup *lookup, const char *domain, const struct mr_now *now)
{
	struct unbound_resolver *r = lookup->resolver;
	struct ip_address address;
	int literal = dns_address_literal(domain, &address);
	const struct dns_answer *known;

	if (literal != 0) {
		snprintf(lookup->domain, sizeof(lookup->domain), "%.255s", domain);
		if (literal > 0)
			start_literal(lookup, &address);
		else
			finish(lookup, RESOLUTION_NO_DOMAIN, "malformed address literal");
		return;
	}
	if (dns_domain_normalize(domain, lookup->domain) < 0) {
		snprintf(lookup->domain, sizeof(lookup->domain), "%.255s", domain);
		finish(lookup, RESOLUTION_NO_DOMAIN, "not a domain name");
		return;
	}
	known = dns_cache_find(r->cache, lookup->domain, now->mono_us);
	if (known) {
		lookup->answer = *known;
		lookup->answer.base.ttl_s = known->base.ttl_s;
		finish(lookup, known->base.status, NULL);
		return;
	}
	if (ask(lookup, lookup->domain, RR_MX, -1) < 0)
		fail_temporarily(lookup, lookup->domain, "resolver is out of memory");
}

static int unbound_submit(struct resolver *resolver, const char *domain, resolution_done *done,
			  void *user, const struct mr_now *now)
{
	struct unbound_resolver *r = of(resolver);
	struct lookup *lookup = r->lookups < LOOKUPS_MAX ? calloc(1, sizeof(*lookup)) : NULL;

	if (!lookup)
		return -EAGAIN;
	r->lookups++;
	lookup->resolver = r;
	lookup->done = done;
	lookup->user = user;
	lookup->answer.base.ttl_s = TTL_MAX_S;
	lookup->answer.base.secure = true;
	lookup->deadline_us = now->mono_us + r->settings.timeout_us;
	list_add(&r->running, lookup);
	start(lookup, domain, now);
	return 0;
}

static void answer(struct lookup *lookup, const struct mr_now *now)
{
	struct unbound_resolver *r = lookup->resolver;
	struct resolution *base = &lookup->answer.base;

	if (base->ttl_s < TTL_MIN_S)
		base->ttl_s = TTL_MIN_S;
	if (base->ttl_s > TTL_MAX_S)
		base->ttl_s = TTL_MAX_S;
	if (lookup->domain[0] != '[' && !dns_cache_find(r->cache, lookup->domain, now->mono_us))
		dns_cache_keep(r->cache, lookup->domain, &lookup->answer,
			       now->mono_us + base->ttl_s * US_PER_S);
	struct resolution resolution = *base;

	if (resolution.status == RESOLUTION_OK)
		resolution_choose_hosts(&resolution, &lookup->answer.exchangers, &r->settings,
					r->settings.random);
	else
		snprintf(resolution.site, sizeof(resolution.site), "%.255s", lookup->domain);
	lookup->done(lookup->user, &resolution);
}

static void expire(struct unbound_resolver *r, const struct mr_now *now)
{
	/* Look-ups are in order of submission, and all have the same time: the first that may go on
	 * ends the search. */
	while (r->running.next != &r->running && r->running.next->deadline_us <= now->mono_us)
		fail_temporarily(r->running.next, r->running.next->domain, "timed out");
}

static bool unbound_poll(struct resolver *resolver, const struct mr_now *now)
{
	struct unbound_resolver *r = of(resolver);
	struct lookup ready;
	bool any = false;

	if (ub_poll(r->context))
		ub_process(r->context);
	expire(r, now);
	/* Answers may submit again: take the list as it is now. */
	ready.next = ready.previous = &ready;
	while (r->finished.next != &r->finished) {
		struct lookup *lookup = r->finished.next;

		list_remove(lookup);
		list_add(&ready, lookup);
	}
	while (ready.next != &ready) {
		struct lookup *lookup = ready.next;

		/* Those that were freed had left the list. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		list_remove(lookup);
		if (lookup->done) {
			answer(lookup, now);
			lookup->done = NULL;
			any = true;
		}
		/* Queries that are still under way point at it: keep it until they have come in. */
		if (lookup->outstanding > 0) {
			list_add(&r->finished, lookup);
			continue;
		}
		r->lookups--;
		free(lookup);
	}
	return any;
}

static int unbound_descriptor(struct resolver *resolver)
{
	return ub_fd(of(resolver)->context);
}

static void unbound_flush(struct resolver *resolver, const char *domain)
{
	char name[SMTP_DOMAIN_MAX + 1];

	if (domain && dns_domain_normalize(domain, name) < 0)
		return;
	dns_cache_forget(of(resolver)->cache, domain ? name : NULL);
}

static int unbound_set_own_addresses(struct resolver *resolver, const struct ip_address *addresses,
				     unsigned count)
{
	struct unbound_resolver *r = of(resolver);
	struct ip_address *copy = calloc(count + 1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++)
		copy[i] = addresses[i];
	free(r->own_addresses);
	r->own_addresses = copy;
	r->settings.own_addresses = copy;
	r->settings.own_address_count = count;
	dns_cache_forget(r->cache, NULL);
	return 0;
}

static void free_list(struct lookup *head)
{
	while (head->next && head->next != head) {
		struct lookup *lookup = head->next;

		/* Those that were freed had left the list. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		list_remove(lookup);
		free(lookup);
	}
}

static void unbound_destroy(struct resolver *resolver)
{
	struct unbound_resolver *r = of(resolver);

	if (r->context)
		ub_ctx_delete(r->context); /* pending callbacks are dropped */
	free_list(&r->running);
	free_list(&r->finished);
	dns_cache_destroy(r->cache);
	free(r->own_addresses);
	free(r);
}

static int option(struct unbound_resolver *r, const char *name, const char *value, char *error)
{
	int code = ub_ctx_set_option(r->context, name, value);

	if (code != 0)
		snprintf(error, 256, "resolver option %s %s: %s", name, value, ub_strerror(code));
	return code;
}

static int configure(struct unbound_resolver *r, const struct resolver_settings *settings,
		     char *error)
{
	static const char *const options[][2] = {
		{"do-not-query-localhost:", "no"},  {"use-caps-for-id:", "yes"},
		{"harden-dnssec-stripped:", "yes"}, {"cache-max-negative-ttl:", "900"},
		{"qname-minimisation:", "yes"},	    {"rrset-roundrobin:", "yes"},
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (option(r, options[i][0], options[i][1], error) != 0)
			return -EINVAL;
	for (unsigned i = 0; i < settings->stub_zone_count; i++) {
		const struct resolver_stub_zone *z = &settings->stub_zones[i];
		int code = ub_ctx_set_stub(r->context, z->zone, z->server, 0);

		if (code != 0) {
			snprintf(error, 256, "stub zone %.100s at %.60s: %s", z->zone, z->server,
				 ub_strerror(code));
			return -EINVAL;
		}
	}
	for (unsigned i = 0; i < settings->forwarder_count; i++) {
		int code = ub_ctx_set_fwd(r->context, settings->forwarders[i]);

		if (code != 0) {
			snprintf(error, 256, "forwarder %.100s: %s", settings->forwarders[i],
				 ub_strerror(code));
			return -EINVAL;
		}
	}
	if (settings->trust_anchor_file) {
		/* The library reads it at the first question, and then all fail. */
		if (access(settings->trust_anchor_file, R_OK) < 0) {
			snprintf(error, 256, "trust anchor file %.160s: %s",
				 settings->trust_anchor_file, strerror(errno));
			return -EINVAL;
		}
		int code = ub_ctx_add_ta_file(r->context, settings->trust_anchor_file);

		if (code != 0) {
			snprintf(error, 256, "trust anchor file %.100s: %s",
				 settings->trust_anchor_file, ub_strerror(code));
			return -EINVAL;
		}
	}
	for (unsigned i = 0; i < settings->trust_anchor_count; i++) {
		int code = ub_ctx_add_ta(r->context, settings->trust_anchors[i]);

		if (code != 0) {
			snprintf(error, 256, "trust anchor \"%.120s\": %s",
				 settings->trust_anchors[i], ub_strerror(code));
			return -EINVAL;
		}
	}
	ub_ctx_async(r->context, 1);
	return 0;
}

struct resolver *resolver_unbound_create(const struct resolver_settings *settings, char *error)
{
	struct unbound_resolver *r = calloc(1, sizeof(*r));
	uint32_t entries =
		settings->cache_entries > CACHE_MIN ? settings->cache_entries : CACHE_MIN;

	if (!r)
		goto no_memory;
	r->resolver = (struct resolver){
		.submit = unbound_submit,
		.poll = unbound_poll,
		.descriptor = unbound_descriptor,
		.flush = unbound_flush,
		.set_own_addresses = unbound_set_own_addresses,
		.destroy = unbound_destroy,
	};
	r->running.next = r->running.previous = &r->running;
	r->finished.next = r->finished.previous = &r->finished;
	r->settings = *settings;
	r->cache = dns_cache_create(entries);
	r->context = ub_ctx_create();
	if (!r->cache || !r->context ||
	    unbound_set_own_addresses(&r->resolver, settings->own_addresses,
				      settings->own_address_count) < 0)
		goto no_memory;
	if (configure(r, settings, error) < 0) {
		unbound_destroy(&r->resolver);
		return NULL;
	}
	return &r->resolver;

no_memory:
	snprintf(error, 256, "no memory for the resolver");
	if (r)
		unbound_destroy(&r->resolver);
	return NULL;
}
