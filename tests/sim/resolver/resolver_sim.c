/* SPDX-License-Identifier: GPL-3.0-or-later */
/* See resolver_sim.h. */
#include "tests/sim/resolver/resolver_sim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct script {
	struct script *next;
	char domain[256];
	struct resolution answer;
};

struct query {
	struct query *next;
	char domain[256];
	void (*done)(void *user, const struct resolution *resolution);
	void *user;
	uint64_t due_us;
};

struct resolver_sim {
	struct resolver resolver;
	struct script *scripts;
	struct query *head, *tail;
	uint64_t latency_us;
	unsigned refuse;
	uint64_t submitted;
	struct count {
		struct count *next;
		char domain[256];
		uint64_t submitted;
	} * counts;
};

static struct count *count_of(struct resolver_sim *sim, const char *domain)
{
	struct count *count;

	for (count = sim->counts; count; count = count->next) {
		if (!strcmp(count->domain, domain))
			return count;
	}
	count = calloc(1, sizeof(*count));
	snprintf(count->domain, sizeof(count->domain), "%s", domain);
	count->next = sim->counts;
	sim->counts = count;
	return count;
}

static void answer_by_itself(const char *domain, struct resolution *answer)
{
	uint32_t hash = 2166136261u;

	for (const char *c = domain; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 16777619u;
	*answer = (struct resolution){.has_mx = true, .ttl_s = 300, .host_count = 1};
	snprintf(answer->site, sizeof(answer->site), "mx.%.250s", domain);
	snprintf(answer->hosts[0].name, sizeof(answer->hosts[0].name), "mx.%.250s", domain);
	answer->hosts[0].address = ip_from_v4(0x0a000000 | (hash & 0xffffff));
	answer->hosts[0].preference = 10;
}

static int sim_submit(struct resolver *resolver, const char *domain,
		      void (*done)(void *user, const struct resolution *resolution), void *user,
		      const struct mr_now *now)
{
	struct resolver_sim *sim = (struct resolver_sim *)resolver;
	struct query *query;

	if (sim->refuse) {
		sim->refuse--;
		return -EAGAIN;
	}
	query = calloc(1, sizeof(*query));
	snprintf(query->domain, sizeof(query->domain), "%s", domain);
	query->done = done;
	query->user = user;
	query->due_us = now->mono_us + sim->latency_us;
	if (sim->tail)
		sim->tail->next = query;
	else
		sim->head = query;
	sim->tail = query;
	sim->submitted++;
	if (sim->submitted < 10000)
		count_of(sim, domain)->submitted++;
	return 0;
}

static bool sim_poll(struct resolver *resolver, const struct mr_now *now)
{
	struct resolver_sim *sim = (struct resolver_sim *)resolver;
	bool any = false;

	while (sim->head && sim->head->due_us <= now->mono_us) {
		struct query *query = sim->head;
		struct resolution answer;
		const struct script *script = sim->scripts;

		sim->head = query->next;
		if (!sim->head)
			sim->tail = NULL;
		while (script && strcmp(script->domain, query->domain))
			script = script->next;
		if (script)
			answer = script->answer;
		else
			answer_by_itself(query->domain, &answer);
		query->done(query->user, &answer);
		free(query);
		any = true;
	}
	return any;
}

static int sim_descriptor(struct resolver *resolver)
{
	return -1;
}

static void sim_flush(struct resolver *resolver, const char *domain)
{
}

void resolver_sim_drop(struct resolver *resolver)
{
	struct resolver_sim *sim = (struct resolver_sim *)resolver;

	while (sim->head) {
		struct query *next = sim->head->next;

		free(sim->head);
		sim->head = next;
	}
	sim->tail = NULL;
}

static void sim_destroy(struct resolver *resolver)
{
	struct resolver_sim *sim = (struct resolver_sim *)resolver;

	resolver_sim_drop(resolver);
	while (sim->scripts) {
		struct script *next = sim->scripts->next;

		free(sim->scripts);
		sim->scripts = next;
	}
	while (sim->counts) {
		struct count *next = sim->counts->next;

		free(sim->counts);
		sim->counts = next;
	}
	free(sim);
}

struct resolver *resolver_sim_create(void)
{
	struct resolver_sim *sim = calloc(1, sizeof(*sim));

	sim->resolver = (struct resolver){
		.submit = sim_submit,
		.poll = sim_poll,
		.descriptor = sim_descriptor,
		.flush = sim_flush,
		.destroy = sim_destroy,
	};
	return &sim->resolver;
}

void resolver_sim_set_latency(struct resolver *resolver, uint64_t latency_us)
{
	((struct resolver_sim *)resolver)->latency_us = latency_us;
}

void resolver_sim_set(struct resolver *resolver, const char *domain,
		      const struct resolution *answer)
{
	struct resolver_sim *sim = (struct resolver_sim *)resolver;
	struct script *script = sim->scripts;

	while (script && strcmp(script->domain, domain))
		script = script->next;
	if (!script) {
		script = calloc(1, sizeof(*script));
		snprintf(script->domain, sizeof(script->domain), "%s", domain);
		script->next = sim->scripts;
		sim->scripts = script;
	}
	script->answer = *answer;
}

void resolver_sim_fail(struct resolver *resolver, const char *domain, enum resolution_status status,
		       const char *reason)
{
	struct resolution answer = {.status = status, .ttl_s = 60};

	snprintf(answer.reason, sizeof(answer.reason), "%s", reason);
	resolver_sim_set(resolver, domain, &answer);
}

void resolver_sim_hosts(struct resolver *resolver, const char *domain, const char *site, ...)
{
	struct resolution answer = {.status = RESOLUTION_OK, .has_mx = true, .ttl_s = 300};
	va_list arguments;
	const char *text;

	va_start(arguments, site);
	while ((text = va_arg(arguments, const char *)) && answer.host_count < ROUTE_HOSTS_MAX) {
		struct resolution_host *host = &answer.hosts[answer.host_count++];
		const char *equals = strchr(text, '='), *slash = strchr(text, '/');
		char address[IP_ADDRESS_TEXT];
		size_t length = slash ? (size_t)(slash - equals - 1) : strlen(equals + 1);

		snprintf(host->name, sizeof(host->name), "%.*s", (int)(equals - text), text);
		snprintf(address, sizeof(address), "%.*s", (int)length, equals + 1);
		if (ip_parse(address, &host->address) < 0)
			abort();
		host->preference = slash ? (uint16_t)atoi(slash + 1) : 10;
	}
	va_end(arguments);
	snprintf(answer.site, sizeof(answer.site), "%s", site ? site : answer.hosts[0].name);
	resolver_sim_set(resolver, domain, &answer);
}

void resolver_sim_refuse(struct resolver *resolver, unsigned count)
{
	((struct resolver_sim *)resolver)->refuse = count;
}

uint64_t resolver_sim_submitted(struct resolver *resolver, const char *domain)
{
	struct resolver_sim *sim = (struct resolver_sim *)resolver;

	return domain ? count_of(sim, domain)->submitted : sim->submitted;
}
