/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A scripted resolver in virtual time. A domain without a script resolves to a site of its own, one
 * host "mx.<domain>" with an IPv4 address made of the domain's hash. Owner: one thread.
 */
#ifndef MILLRACE_TESTS_SIM_RESOLVER_RESOLVER_SIM_H
#define MILLRACE_TESTS_SIM_RESOLVER_RESOLVER_SIM_H

#include "control/dns/resolver.h"

struct resolver *resolver_sim_create(void);
/** How long an answer takes; 0: the next poll. */
void resolver_sim_set_latency(struct resolver *resolver, uint64_t latency_us);
/** Script a domain; replaces what was there. The answer is copied. */
void resolver_sim_set(struct resolver *resolver, const char *domain,
		      const struct resolution *answer);
/** Script one failure. */
void resolver_sim_fail(struct resolver *resolver, const char *domain, enum resolution_status status,
		       const char *reason);
/** Script hosts: "name=address" or "name=address/preference", ended by NULL. @param site or NULL:
 * the first name */
void resolver_sim_hosts(struct resolver *resolver, const char *domain, const char *site, ...)
	__attribute__((sentinel));
/** Refuse so many submissions with -EAGAIN. */
void resolver_sim_refuse(struct resolver *resolver, unsigned count);
/** Look-ups submitted since creation. @param domain NULL: of all */
uint64_t resolver_sim_submitted(struct resolver *resolver, const char *domain);
/** Forget what is under way: its owner is gone. */
void resolver_sim_drop(struct resolver *resolver);

#endif
