/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Recipient domains: each is looked up once for all the recipients that wait for it, and its answer
 * is kept for the time that DNS allows. A look-up that fails for now holds the whole domain back,
 * not each message (one probe, with jitter); what is authoritatively dead bounces at once (RFC
 * 5321, 5.1; RFC 7505).
 */
#include "control/queue/shard.h"

#include <ctype.h>
#include <errno.h>
#include <idn2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOMAIN_LINK offsetof(struct queue_domain, timer.link)
/** An answer that bounces mail is kept at most so long: people repair their zones. */
#define DEAD_MAX_US (300 * US_PER_S)
/** The domains' clock: 16 ms. */
#define TICK_SHIFT 14

/** Recipients routed in one turn, beside those that are due. */
#define RELEASE_TURN_MAX 1024u
/** Domains looked at in one turn. */
#define SWEEP_TURN_MAX 128u

static void domain_stop_release(struct queue_shard *shard, uint32_t d)
{
	struct queue_domain *domain = domain_at(shard, d);

	if (domain->releasing)
		slab_list_remove(&shard->domains_releasing, &shard->domains, DOMAIN_LINK, d);
	domain->releasing = false;
}

void domain_queue(struct queue_shard *shard, uint32_t d)
{
	struct queue_domain *domain = domain_at(shard, d);

	domain_stop_release(shard, d);

	if (domain->timed) {
		schedule_remove(&shard->domain_timers, d);
		domain->timed = false;
	}
	domain->state = DOMAIN_RESOLVING;
	domain->queued = true;
	slab_list_push(&shard->domains_waiting, &shard->domains, DOMAIN_LINK, d);
}

static void domain_unroute(struct queue_shard *shard, struct queue_domain *domain)
{
	uint32_t s = domain->site;

	domain->site = 0;
	if (s) {
		site_at(shard, s)->domains--;
		site_release(shard, s);
	}
}

static void domain_delay(struct queue_shard *shard, uint32_t d)
{
	struct queue_domain *domain = domain_at(shard, d);
	const struct retry_policy policy = {
		.initial_us = shard->view->retry_initial_us < 60 * US_PER_S
				      ? shard->view->retry_initial_us
				      : 60 * US_PER_S,
		.max_us = shard->view->retry_max_us < 1800 * US_PER_S ? shard->view->retry_max_us
								      : 1800 * US_PER_S,
		.factor_percent = 200,
		.jitter_percent = 20,
	};

	if (domain->failures < UINT16_MAX)
		domain->failures++;
	domain->state = DOMAIN_DELAYED;
	domain->until_us = shard->now.mono_us +
			   retry_interval_us(&policy, domain->failures, shard->settings.random);
	schedule_add(&shard->domain_timers, d, domain->until_us);
	domain->timed = true;
}

/** Route all that wait, a part of them in each turn: a domain may have a million. */
static void domain_release_waiting(struct queue_shard *shard, uint32_t d)
{
	struct queue_domain *domain = domain_at(shard, d);

	if (domain->releasing || !domain->waiting.head)
		return;
	domain->releasing = true;
	slab_list_push(&shard->domains_releasing, &shard->domains, DOMAIN_LINK, d);
}

/** What each needs now depends on the domain's state, which may change again meanwhile. */
static void domains_release(struct queue_shard *shard)
{
	uint32_t d;

	for (unsigned i = 0; i < RELEASE_TURN_MAX && (d = shard->domains_releasing.head); i++) {
		struct queue_domain *domain = domain_at(shard, d);
		uint32_t r =
			slab_list_pop(&domain->waiting, &shard->index.recipients, RECIPIENT_LINK);

		if (r)
			recipient_route(shard, r);
		if (domain->releasing && !domain->waiting.head)
			domain_stop_release(shard, d);
		shard->progress = true;
	}
}

static void domain_explain(struct queue_shard *shard, struct queue_domain *domain,
			   struct enhanced_code enhanced, const char *reason)
{
	text_release(&shard->index.texts, domain->reason);
	domain->reason = text_acquire(&shard->index.texts, reason, strlen(reason));
	domain->enhanced = enhanced;
}

static void domain_die(struct queue_shard *shard, uint32_t d, struct enhanced_code enhanced,
		       const struct resolution *answer)
{
	struct queue_domain *domain = domain_at(shard, d);
	uint64_t ttl_us = (answer->ttl_s + 1) * US_PER_S;

	domain->state = DOMAIN_DEAD;
	domain->failures = 0;
	domain->until_us = shard->now.mono_us + (ttl_us < DEAD_MAX_US ? ttl_us : DEAD_MAX_US);
	domain_explain(shard, domain, enhanced, answer->reason);
}

void domain_answered(struct queue_shard *shard, uint32_t d, const struct resolution *answer,
		     const uint16_t *ports, uint32_t destination)
{
	struct queue_domain *domain = domain_at(shard, d);

	domain_unroute(shard, domain);
	switch (answer->status) {
	case RESOLUTION_OK:
		if (answer->host_count == 0) {
			domain_explain(shard, domain, (struct enhanced_code){4, 4, 3},
				       "an answer without hosts");
			break;
		}
		domain->site = site_adopt(shard, answer, ports, destination);
		if (!domain->site) {
			domain_explain(shard, domain, (struct enhanced_code){4, 3, 2},
				       "the table of sites is full");
			break;
		}
		site_at(shard, domain->site)->domains++;
		domain->state = DOMAIN_ROUTED;
		domain->failures = 0;
		domain->until_us = shard->now.mono_us + (answer->ttl_s + 1) * US_PER_S;
		domain_explain(shard, domain, (struct enhanced_code){0}, "");
		domain_release_waiting(shard, d);
		return;
	case RESOLUTION_NO_DOMAIN: /* RFC 3463, 3.2 */
		domain_die(shard, d, (struct enhanced_code){5, 1, 2}, answer);
		break;
	case RESOLUTION_NULL_MX: /* RFC 7505, 4.1 */
		domain_die(shard, d, (struct enhanced_code){5, 1, 10}, answer);
		break;
	case RESOLUTION_NO_ADDRESS:
		domain_die(shard, d, (struct enhanced_code){5, 4, 4}, answer);
		break;
	case RESOLUTION_LOOP: /* RFC 5321, 5.1 */
		domain_die(shard, d, (struct enhanced_code){5, 4, 6}, answer);
		break;
	case RESOLUTION_TEMPORARY:
		domain_explain(shard, domain, (struct enhanced_code){4, 4, 3}, answer->reason);
		break;
	}
	if (domain->state == DOMAIN_DEAD) {
		domain_release_waiting(shard, d);
		return;
	}
	shard->counters.resolutions_failed++;
	domain_delay(shard, d);
}

/* ---- Domains ---- */

/** Lower case, A-labels where the name is UTF-8 (RFC 5890). @return its length, or -EINVAL */
static int domain_normalise(const char *text, char *to, size_t size)
{
	size_t length = strlen(text);
	bool ascii = true;

	if (length > 1 && text[length - 1] == '.')
		length--;
	if (length == 0 || length >= size)
		return -EINVAL;
	for (size_t i = 0; i < length; i++) {
		ascii = ascii && !((unsigned char)text[i] & 0x80);
		to[i] = (char)tolower((unsigned char)text[i]);
	}
	to[length] = '\0';
	if (!ascii) {
		char *label = NULL;

		if (idn2_to_ascii_8z(to, &label, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
			return (int)length;
		length = strlen(label);
		if (length < size)
			memcpy(to, label, length + 1);
		idn2_free(label);
		if (length >= size)
			return -EINVAL;
	}
	return (int)length;
}

static bool domain_has_name(const void *context, uint32_t d, const void *key)
{
	const struct queue_domain *domain = slab_at(context, d);

	return !strcmp(domain->name, key);
}

int domains_init(struct queue_shard *shard, uint32_t maximum)
{
	if (slab_init(&shard->domains, sizeof(struct queue_domain), maximum) < 0 ||
	    table_init(&shard->domains_by_name, domain_has_name, &shard->domains) < 0)
		return -ENOMEM;
	schedule_init(&shard->domain_timers, &shard->domains, offsetof(struct queue_domain, timer),
		      TICK_SHIFT, shard->now.mono_us);
	return 0;
}

uint32_t domain_of_address(struct queue_shard *shard, const char *address)
{
	const char *at = strrchr(address, '@');
	char name[SMTP_DOMAIN_MAX * 2];
	int length = domain_normalise(at ? at + 1 : "", name, sizeof(name));
	struct queue_domain *domain;
	uint64_t hash;
	uint32_t d;

	if (length < 0) {
		name[0] = '\0';
		length = 0;
	}
	hash = table_hash(shard->seed, name, (size_t)length);
	d = table_find(&shard->domains_by_name, hash, name);
	if (d) {
		domain_at(shard, d)->recipients++;
		return d;
	}
	d = slab_alloc(&shard->domains);
	if (!d)
		return 0;
	domain = domain_at(shard, d);
	domain->name = strdup(name);
	if (!domain->name || table_insert(&shard->domains_by_name, hash, d) < 0) {
		free(domain->name);
		slab_free(&shard->domains, d);
		return 0;
	}
	domain->used = true;
	domain->recipients = 1;
	return d;
}

static void domain_forget(struct queue_shard *shard, uint32_t d)
{
	struct queue_domain *domain = domain_at(shard, d);

	domain_unroute(shard, domain);
	if (domain->timed)
		schedule_remove(&shard->domain_timers, d);
	text_release(&shard->index.texts, domain->reason);
	table_remove(&shard->domains_by_name,
		     table_hash(shard->seed, domain->name, strlen(domain->name)), d);
	free(domain->name);
	slab_free(&shard->domains, d);
}

void domain_release(struct queue_shard *shard, uint32_t d)
{
	if (d)
		domain_at(shard, d)->recipients--;
}

/** @return false when nothing more can be known about the domain now */
static bool domain_is_fresh(const struct queue_shard *shard, const struct queue_domain *domain)
{
	return (domain->state == DOMAIN_ROUTED || domain->state == DOMAIN_DEAD) &&
	       shard->now.mono_us < domain->until_us;
}

static void recipient_take_path(struct queue_shard *shard, uint32_t r, uint32_t s)
{
	struct queue_recipient *recipient = index_recipient(&shard->index, r);
	const struct queue_message *message = index_message(&shard->index, recipient->message);
	struct route_memory *memory =
		&shard->route_memories[(message->id.counter ^ s * 2654435761u) % ROUTE_MEMORIES];
	char why[SITE_WHY_MAX];
	uint32_t p, after = 0;

	if (memory->message == message->id.counter && memory->site == s && memory->path &&
	    message->recipients > 1) {
		const struct queue_recipient *last =
			index_recipient(&shard->index, memory->recipient);

		if (last->state == RECIPIENT_READY && last->message == recipient->message &&
		    last->path == memory->path)
			after = memory->recipient;
	}
	p = after ? memory->path : site_choose_path(shard, s, recipient->message, why);
	if (!p) {
		recipient_explain(shard, recipient, PHASE_ROUTE, 0, (struct enhanced_code){4, 4, 4},
				  false, "", why);
		recipient_wait(shard, r, shard->now.mono_us + 30 * US_PER_S);
		return;
	}
	*memory = (struct route_memory){message->id.counter, s, p, r};
	path_push(shard, p, r, after);
}

void recipient_route(struct queue_shard *shard, uint32_t r)
{
	struct queue_recipient *recipient = index_recipient(&shard->index, r);
	struct queue_domain *domain = domain_at(shard, recipient->domain);

	if (recipient->flags & RECIPIENT_REMOVE) {
		recipient_remove(shard, r);
		return;
	}
	if (index_message(&shard->index, recipient->message)->marks & MESSAGE_PAST) {
		recipient_fail(shard, r, true);
		return;
	}
	if (domain->name[0] == '\0') {
		recipient_explain(shard, recipient, PHASE_ROUTE, 0, (struct enhanced_code){5, 1, 3},
				  false, "", "the address has no usable domain");
		recipient_fail(shard, r, false);
		return;
	}
	if (domain_is_fresh(shard, domain)) {
		if (domain->state == DOMAIN_ROUTED) {
			recipient_take_path(shard, r, domain->site);
			return;
		}
		recipient_explain(shard, recipient, PHASE_ROUTE, 0, domain->enhanced, false, "",
				  text_bytes(&shard->index.texts, domain->reason, NULL));
		recipient_fail(shard, r, false);
		return;
	}
	index_set_state(&shard->index, r, RECIPIENT_ROUTING);
	slab_list_push(&domain->waiting, &shard->index.recipients, RECIPIENT_LINK, r);
	if (domain->state != DOMAIN_RESOLVING && domain->state != DOMAIN_DELAYED)
		domain_queue(shard, recipient->domain);
}

void recipient_detach(struct queue_shard *shard, uint32_t r)
{
	struct queue_recipient *recipient = index_recipient(&shard->index, r);

	switch (recipient->state) {
	case RECIPIENT_ROUTING:
		slab_list_remove(&domain_at(shard, recipient->domain)->waiting,
				 &shard->index.recipients, RECIPIENT_LINK, r);
		break;
	case RECIPIENT_READY:
		slab_list_remove(&path_at(shard, recipient->path)->ready, &shard->index.recipients,
				 RECIPIENT_LINK, r);
		break;
	case RECIPIENT_WAITING:
		schedule_remove(&shard->index.due, r);
		break;
	}
}

void domain_retry_now(struct queue_shard *shard, uint32_t d)
{
	struct queue_domain *domain = domain_at(shard, d);

	if (domain->state == DOMAIN_DELAYED)
		domain_queue(shard, d);
}

void domains_turn(struct queue_shard *shard)
{
	uint32_t d;

	domains_release(shard);

	while ((d = schedule_pop(&shard->domain_timers, shard->now.mono_us)) != 0) {
		struct queue_domain *domain = domain_at(shard, d);

		domain->timed = false;
		domain->state = DOMAIN_UNKNOWN;
		if (domain->waiting.count)
			domain_queue(shard, d);
	}
	while ((d = shard->domains_waiting.head) != 0) {
		slab_list_pop(&shard->domains_waiting, &shard->domains, DOMAIN_LINK);
		domain_at(shard, d)->queued = false;
		if (lookup_start(shard, d) < 0) {
			domain_at(shard, d)->queued = true;
			slab_list_push_front(&shard->domains_waiting, &shard->domains, DOMAIN_LINK,
					     d);
			break;
		}
		shard->progress = true;
	}
}

void domains_sweep(struct queue_shard *shard)
{
	if (shard->domain_sweep_left >= shard->domains.fresh)
		shard->domain_sweep_left = shard->domains.fresh ? shard->domains.fresh - 1 : 0;
	for (unsigned i = 0; i < SWEEP_TURN_MAX && shard->domain_sweep_left; i++) {
		struct queue_domain *domain;

		shard->domain_sweep_left--;
		if (++shard->domain_sweep >= shard->domains.fresh)
			shard->domain_sweep = 1;
		domain = domain_at(shard, shard->domain_sweep);
		if (domain->used && domain->recipients == 0 && !domain->queued &&
		    domain->state != DOMAIN_RESOLVING && !domain_is_fresh(shard, domain))
			domain_forget(shard, shard->domain_sweep);
	}
}

void domains_reconfigure(struct queue_shard *shard)
{
	for (uint32_t d = 1; d < shard->domains.fresh; d++) {
		struct queue_domain *domain = domain_at(shard, d);

		if (!domain->used || domain->state == DOMAIN_RESOLVING)
			continue;
		domain_unroute(shard, domain);
		domain_stop_release(shard, d);
		if (domain->timed) {
			schedule_remove(&shard->domain_timers, d);
			domain->timed = false;
		}
		domain->state = DOMAIN_UNKNOWN;
		if (domain->waiting.count)
			domain_queue(shard, d);
	}
}

void domains_free(struct queue_shard *shard)
{
	while (shard->lookups)
		lookup_free(shard->lookups);
	for (uint32_t d = 1; shard->domains.fresh && d < shard->domains.fresh; d++) {
		if (domain_at(shard, d)->used)
			free(domain_at(shard, d)->name);
	}
	table_finish(&shard->domains_by_name);
	slab_finish(&shard->domains);
}
