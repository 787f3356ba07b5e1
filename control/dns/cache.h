/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Answers by domain, for their time to live: libunbound caches records, but each of its answers
 * costs a trip through its thread. Fixed size; the oldest makes room. Owner: the resolver's thread.
 */
#ifndef MILLRACE_CONTROL_DNS_CACHE_H
#define MILLRACE_CONTROL_DNS_CACHE_H

#include "control/dns/resolution.h"

/** What is known of a domain: shuffled anew for every answer. */
struct dns_answer {
	struct resolution base; /**< status, secure, has_mx, ttl_s, reason */
	struct exchangers exchangers;
};

struct dns_cache;

struct dns_cache *dns_cache_create(uint32_t entries);
void dns_cache_destroy(struct dns_cache *cache);
/** @return NULL when unknown or out of date */
const struct dns_answer *dns_cache_find(struct dns_cache *cache, const char *domain,
					uint64_t now_us);
/** Keep (a copy) until then. */
void dns_cache_keep(struct dns_cache *cache, const char *domain, const struct dns_answer *answer,
		    uint64_t until_us);
/** @param domain NULL: all */
void dns_cache_forget(struct dns_cache *cache, const char *domain);

#endif
