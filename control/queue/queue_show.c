/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What operators see of a shard: the queue by domain, a message with the reason why each recipient
 * waits and until when, paths, sources, spool, memory. Times are wall clock in microseconds; 0 or
 * absent: none.
 */
#include "control/queue/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Characters of a reason. */
#define WHY_MAX 600

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *text(const char *value)
{
	json_t *json = json_string(value);

	/* A peer's octets may be anything but what JSON asks for. */
	return json ? json : json_string("?");
}

static json_t *wall(const struct queue_shard *shard, uint64_t mono_us)
{
	return number(mono_us == MR_NEVER ? 0 : wall_of(shard, mono_us));
}

/* ---- Why ---- */

static uint64_t why_routing(const struct queue_shard *shard,
			    const struct queue_recipient *recipient, char *why)
{
	const struct queue_domain *domain = domain_at(shard, recipient->domain);

	if (domain->state == DOMAIN_DELAYED) {
		snprintf(why, WHY_MAX, "the look-up of %.255s failed for now: %.255s", domain->name,
			 text_bytes(&shard->index.texts, domain->reason, NULL));
		return domain->until_us;
	}
	snprintf(why, WHY_MAX, "%.255s is being looked up", domain->name);
	return 0;
}

static uint64_t why_path(const struct queue_shard *shard, const struct queue_path *path, char *why)
{
	const struct queue_site *site = site_at(shard, path->site);
	uint64_t when = rate_when_us(&path->rate);
	size_t size;

	if (path->blocked_until_us > shard->now.mono_us) {
		const char *host = text_bytes(&shard->index.texts, path->reason, &size);
		size_t length = strlen(host);

		snprintf(
			why, WHY_MAX,
			"the path from %.63s to %.127s is held back after %u failures; the last: %.255s",
			path->source, site->name, path->failures,
			length < size ? host + length + 1 : "");
		return path->blocked_until_us;
	}
	if (shard->draining)
		snprintf(why, WHY_MAX, "the system is draining");
	else if (shard->broken)
		snprintf(why, WHY_MAX, "the spool cannot record results: no deliveries are begun");
	else if (shard->events.count)
		snprintf(why, WHY_MAX, "the event log cannot keep up: no deliveries are begun");
	else if (path->rest_until_us > shard->now.mono_us) {
		snprintf(
			why, WHY_MAX,
			"no worker could begin the last delivery from %.63s to %.127s: the machine "
			"is short of memory or ports, or draining",
			path->source, site->name);
		return path->rest_until_us;
	} else if (path->failures)
		snprintf(why, WHY_MAX,
			 "one delivery finds out whether the path from %.63s to %.127s works again",
			 path->source, site->name);
	else if (when > shard->now.mono_us) {
		snprintf(why, WHY_MAX,
			 "the path from %.63s to %.127s sends at most %llu messages an hour",
			 path->source, site->name, (unsigned long long)site->message_rate_per_hour);
		return when;
	} else
		snprintf(why, WHY_MAX,
			 "all connections from %.63s to %.127s are busy (%u of at most %u open); "
			 "%u recipients wait there",
			 path->source, site->name, path->slots, path_connections_max(shard, path),
			 path->ready.count);
	return 0;
}

/** @return until when, monotonic; 0: no time is set */
static uint64_t why_recipient(const struct queue_shard *shard, uint32_t r, char *why)
{
	const struct queue_recipient *recipient = index_recipient(&shard->index, r);
	const struct queue_path *path;

	switch (recipient->state) {
	case RECIPIENT_ROUTING:
		return why_routing(shard, recipient, why);
	case RECIPIENT_READY:
		return why_path(shard, path_at(shard, recipient->path), why);
	case RECIPIENT_WAITING:
		snprintf(why, WHY_MAX,
			 "the last attempt failed for now; the next follows by itself");
		return schedule_due_us(&shard->index.due, r);
	case RECIPIENT_LOANED:
		path = path_at(shard, recipient->path);
		snprintf(why, WHY_MAX, "an attempt is under way from %.63s to %.127s", path->source,
			 site_at(shard, path->site)->name);
		return 0;
	default:
		snprintf(why, WHY_MAX, "%s", recipient_state_name(recipient->state));
		return 0;
	}
}

/* ---- Message ---- */

static json_t *show_recipient(const struct queue_shard *shard, const struct queue_message *message,
			      uint32_t r)
{
	const struct queue_recipient *recipient = index_recipient(&shard->index, r);
	const char *host, *reply = index_reason(&shard->index, recipient, &host);
	json_t *json = json_object();
	char why[WHY_MAX], status[32];
	uint64_t until = why_recipient(shard, r, why);

	json_object_set_new(json, "address", text(index_address(message, recipient)));
	json_object_set_new(json, "state", text(recipient_state_name(recipient->state)));
	json_object_set_new(json, "attempts", number(recipient->attempts));
	if (!recipient_is_final(recipient->state))
		json_object_set_new(json, "why", text(why));
	if (until)
		json_object_set_new(json, "until_us", wall(shard, until));
	if (recipient->attempted_s)
		json_object_set_new(json, "last_attempt_us",
				    number(recipient->attempted_s * US_PER_S));
	if (recipient->code)
		json_object_set_new(json, "reply_code", number(recipient->code));
	if (recipient->class) {
		snprintf(status, sizeof(status), "%u.%u.%u", recipient->class, recipient->subject,
			 recipient->detail);
		json_object_set_new(json, "status", text(status));
	}
	if (*reply) {
		json_object_set_new(json, "reply", text(reply));
		json_object_set_new(json, "reply_from_peer",
				    json_boolean(recipient->flags & RECIPIENT_REMOTE));
		json_object_set_new(json, "phase", text(smtp_phase_name(recipient->phase)));
	}
	if (*host)
		json_object_set_new(json, "host", text(host));
	return json;
}

static void set_class(json_t *json, const struct queue_shard *shard,
		      const struct queue_message *message)
{
	static const char *const names[CLASS_FIELDS] = {"tenant", "campaign", "pool", "listener",
							"user"};

	for (unsigned i = 0; i < CLASS_FIELDS; i++) {
		const char *value = index_class(&shard->index, message, i);

		if (*value)
			json_object_set_new(json, names[i], text(value));
	}
}

json_t *queue_shard_show_message(struct queue_shard *shard, const struct message_id *id)
{
	uint32_t m = index_find(&shard->index, id);
	const struct queue_message *message;
	char buffer[MESSAGE_ID_TEXT];
	json_t *json, *recipients;

	if (!m)
		return NULL;
	message = index_message(&shard->index, m);
	json = json_object();
	recipients = json_array();
	json_object_set_new(json, "id", text(message_id_format(id, buffer)));
	json_object_set_new(json, "sender", text(index_sender(message)));
	json_object_set_new(json, "size", number(message->body_size));
	json_object_set_new(json, "created_us", number(message->created_us));
	json_object_set_new(json, "expires_us", wall(shard, message_expiry(shard, message)));
	json_object_set_new(json, "in_memory", json_boolean(body_list(shard, m) != NULL));
	json_object_set_new(json, "generated", json_boolean(message->flags & MESSAGE_GENERATED));
	set_class(json, shard, message);
	for (uint32_t r = message->first; r; r = index_recipient(&shard->index, r)->next)
		json_array_append_new(recipients, show_recipient(shard, message, r));
	json_object_set_new(json, "recipients", recipients);
	return json;
}

/* ---- Queue ---- */

struct domain_sum {
	uint64_t routing, ready, loaned, waiting, failing;
	uint64_t oldest_us; /**< wall clock */
	uint64_t next_us;   /**< monotonic */
	uint32_t next;	    /**< the recipient that is due then */
};

static void domain_add(const struct queue_shard *shard, struct domain_sum *sum, uint32_t r)
{
	const struct queue_recipient *recipient = index_recipient(&shard->index, r);
	const struct queue_message *message = index_message(&shard->index, recipient->message);

	sum->routing += recipient->state == RECIPIENT_ROUTING;
	sum->ready += recipient->state == RECIPIENT_READY;
	sum->loaned += recipient->state == RECIPIENT_LOANED;
	sum->waiting += recipient->state == RECIPIENT_WAITING;
	sum->failing += recipient->state == RECIPIENT_FAILING;
	if (!sum->oldest_us || message->created_us < sum->oldest_us)
		sum->oldest_us = message->created_us;
	if (recipient->state == RECIPIENT_WAITING) {
		uint64_t due = schedule_due_us(&shard->index.due, r);

		if (!sum->next_us || due < sum->next_us) {
			sum->next_us = due;
			sum->next = r;
		}
	}
}

static json_t *show_domain(const struct queue_shard *shard, const struct queue_domain *domain,
			   const struct domain_sum *sum)
{
	const char *host, *reason = NULL;
	json_t *json = json_object();

	json_object_set_new(json, "domain", text(domain->name));
	json_object_set_new(
		json, "recipients",
		number(sum->routing + sum->ready + sum->loaned + sum->waiting + sum->failing));
	json_object_set_new(json, "routing", number(sum->routing));
	json_object_set_new(json, "ready", number(sum->ready));
	json_object_set_new(json, "delivering", number(sum->loaned));
	json_object_set_new(json, "waiting", number(sum->waiting));
	json_object_set_new(json, "failing", number(sum->failing));
	json_object_set_new(json, "oldest_us", number(sum->oldest_us));
	if (sum->next_us)
		json_object_set_new(json, "next_attempt_us", wall(shard, sum->next_us));
	if (domain->state == DOMAIN_ROUTED)
		json_object_set_new(json, "site", text(site_at(shard, domain->site)->name));
	if (domain->state == DOMAIN_DELAYED)
		json_object_set_new(json, "next_lookup_us", wall(shard, domain->until_us));
	if (domain->reason)
		reason = text_bytes(&shard->index.texts, domain->reason, NULL);
	else if (sum->next)
		reason = index_reason(&shard->index, index_recipient(&shard->index, sum->next),
				      &host);
	if (reason)
		json_object_set_new(json, "reason", text(reason));
	return json;
}

json_t *queue_shard_show_queue(struct queue_shard *shard, const char *domain)
{
	struct domain_sum *sums = calloc(shard->domains.fresh + 1, sizeof(*sums));
	json_t *json = json_array();

	for (uint32_t r = 1; sums && r < shard->index.recipients.fresh; r++) {
		const struct queue_recipient *recipient = index_recipient(&shard->index, r);

		if (recipient->state > RECIPIENT_COMMITTING &&
		    !recipient_is_final(recipient->state))
			domain_add(shard, &sums[recipient->domain], r);
	}
	for (uint32_t d = 1; sums && d < shard->domains.fresh; d++) {
		const struct queue_domain *here = domain_at(shard, d);

		if (here->used && sums[d].oldest_us && (!domain || !strcasecmp(here->name, domain)))
			json_array_append_new(json, show_domain(shard, here, &sums[d]));
	}
	free(sums);
	return json;
}

/* ---- Paths and sources ---- */

/* The way that the last transaction had, and what was lost on it since the path was made. */
static void show_measure(const struct queue_path *path, json_t *json)
{
	const struct tcp_measure *m = &path->measure;
	bool known = m->congestion != NULL;

	json_object_set_new(json, "rtt_us", known ? number(m->rtt_us) : json_null());
	json_object_set_new(json, "rtt_min_us", known ? number(m->rtt_min_us) : json_null());
	json_object_set_new(json, "segments", number(path->segments));
	json_object_set_new(json, "retransmitted", number(path->retransmitted));
	json_object_set_new(json, "loss",
			    json_real(path->segments ? 100.0 * (double)path->retransmitted /
							       (double)path->segments
						     : 0));
	json_object_set_new(json, "reordering", json_boolean(m->reordering));
	json_object_set_new(json, "ecn", json_boolean(m->ecn));
	json_object_set_new(json, "pmtu", known ? number(m->pmtu) : json_null());
	json_object_set_new(json, "cwnd_bytes", known ? number(m->cwnd_bytes) : json_null());
	json_object_set_new(json, "congestion", known ? text(m->congestion) : json_null());
}

json_t *queue_shard_show_paths(struct queue_shard *shard)
{
	json_t *json = json_array();
	char why[WHY_MAX];

	for (uint32_t p = 1; p < shard->paths.fresh; p++) {
		const struct queue_path *path = path_at(shard, p);
		json_t *one;
		uint64_t until;

		if (!path->used)
			continue;
		one = json_object();
		json_object_set_new(one, "path", number(path->number));
		json_object_set_new(one, "source", text(path->source));
		json_object_set_new(one, "site", text(site_at(shard, path->site)->name));
		json_object_set_new(one, "ready", number(path->ready.count));
		json_object_set_new(one, "outstanding", number(path->outstanding));
		json_object_set_new(one, "connections", number(path->slots));
		json_object_set_new(one, "connections_max",
				    number(path_connections_max(shard, path)));
		json_object_set_new(one, "failures", number(path->failures));
		json_object_set_new(one, "delivered", number(path->delivered));
		json_object_set_new(one, "deferred", number(path->deferred));
		json_object_set_new(one, "bounced", number(path->bounced));
		json_object_set_new(one, "retired", json_boolean(path->retired));
		show_measure(path, one);
		if (path->ready.count || path_is_blocked(shard, p)) {
			until = why_path(shard, path, why);
			json_object_set_new(one, "why", text(why));
			if (until)
				json_object_set_new(one, "until_us", wall(shard, until));
		}
		json_array_append_new(json, one);
	}
	return json;
}

static void source_sums(const struct queue_shard *shard, const struct queue_source *source,
			json_t *json)
{
	uint64_t hash = shard->source_hashes[source - shard->view->sources];
	uint64_t sums[6] = {0};

	for (uint32_t p = 1; p < shard->paths.fresh; p++) {
		const struct queue_path *path = path_at(shard, p);

		if (!path->used || path->source_hash != hash)
			continue;
		sums[0]++;
		sums[1] += path->slots;
		sums[2] += path->ready.count;
		sums[3] += path->delivered;
		sums[4] += path->deferred;
		sums[5] += path->bounced;
	}
	json_object_set_new(json, "paths", number(sums[0]));
	json_object_set_new(json, "connections", number(sums[1]));
	json_object_set_new(json, "ready", number(sums[2]));
	json_object_set_new(json, "delivered", number(sums[3]));
	json_object_set_new(json, "deferred", number(sums[4]));
	json_object_set_new(json, "bounced", number(sums[5]));
}

json_t *queue_shard_show_sources(struct queue_shard *shard)
{
	json_t *json = json_array();
	char address[IP_ADDRESS_TEXT];

	for (uint32_t i = 0; i < shard->view->source_count; i++) {
		const struct queue_source *source = &shard->view->sources[i];
		json_t *one = json_object();

		json_object_set_new(one, "source", text(source->name));
		json_object_set_new(one, "ehlo_name", text(source->ehlo_name));
		if (source->has_v4)
			json_object_set_new(one, "ipv4", text(ip_format(&source->v4, address)));
		if (source->has_v6)
			json_object_set_new(one, "ipv6", text(ip_format(&source->v6, address)));
		source_sums(shard, source, one);
		json_array_append_new(json, one);
	}
	return json;
}

/* ---- Spool and memory ---- */

json_t *queue_shard_show_spool(struct queue_shard *shard)
{
	struct spool_statistics s;
	json_t *json = json_object();

	spool_statistics(shard->spool, &s);
	json_object_set_new(json, "method", text(s.method ? s.method : "?"));
	json_object_set_new(json, "accepting", json_boolean(s.accepting));
	json_object_set_new(json, "read_only", json_boolean(s.read_only));
	json_object_set_new(json, "segments", number(s.segments_total));
	json_object_set_new(json, "segments_free", number(s.segments_free));
	json_object_set_new(json, "segments_live", number(s.segments_live));
	json_object_set_new(json, "segments_quarantined", number(s.segments_quarantined));
	json_object_set_new(json, "batches", number(s.batches));
	json_object_set_new(json, "appends", number(s.appends));
	json_object_set_new(json, "bytes", number(s.bytes));
	json_object_set_new(json, "bytes_written", number(s.bytes_padded));
	json_object_set_new(json, "moved", number(s.moved));
	json_object_set_new(json, "write_errors", number(s.write_errors));
	json_object_set_new(json, "read_errors", number(s.read_errors));
	json_object_set_new(json, "commit_latency_max_us", number(s.commit_latency_us_max));
	json_object_set_new(json, "commit_latency_mean_us",
			    number(s.batches ? s.commit_latency_us_sum / s.batches : 0));
	json_object_set_new(json, "start_number", number(shard->recovered.start_number));
	json_object_set_new(json, "clean_stop_before", json_boolean(shard->recovered.clean_stop));
	json_object_set_new(json, "torn_tail_before", json_boolean(shard->recovered.torn_tail));
	json_object_set_new(json, "corrupt_batches", number(shard->recovered.corrupt_batches));
	json_object_set_new(json, "messages_recovered", number(shard->recovered.messages));
	json_object_set_new(json, "results_waiting_for_room", number(shard->unwritten.count));
	json_object_set_new(json, "results_not_recorded", number(shard->unrecorded));
	return json;
}

json_t *queue_shard_show_memory(struct queue_shard *shard)
{
	const struct queue_index *index = &shard->index;
	json_t *json = json_object();

	json_object_set_new(json, "messages", number(index->messages.used));
	json_object_set_new(json, "messages_max", number(index->messages.maximum));
	json_object_set_new(json, "recipients", number(index->recipients.used));
	json_object_set_new(json, "recipients_max", number(index->recipients.maximum));
	json_object_set_new(json, "index_bytes", number(index_memory(index)));
	json_object_set_new(json, "domains", number(shard->domains.used));
	json_object_set_new(json, "sites", number(shard->sites.used));
	json_object_set_new(json, "paths", number(shard->paths.used));
	json_object_set_new(json, "bodies", number(shard->bodies.used));
	json_object_set_new(json, "body_bytes", number(shard->body_bytes));
	json_object_set_new(json, "body_bytes_held", number(shard->body_chunks * CHUNK_SIZE));
	json_object_set_new(json, "body_bytes_max", number(shard->view->body_memory_bytes));
	json_object_set_new(json, "chunks", number(chunk_pool_count(shard->chunks)));
	json_object_set_new(json, "chunks_free", number(chunk_pool_available(shard->chunks)));
	json_object_set_new(json, "events_waiting", number(shard->events.count));
	return json;
}
