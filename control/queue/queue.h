/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A queue shard: owns the messages that its workers accept, from commit to their last recipient's
 * end: spool records, index, routing, schedule, grants, DSNs, ledger (DESIGN.md, decisions 4, 5 and
 * 6).
 *
 * Owner: one control thread, which turns it. It never blocks. Show and request commands run inside
 * a turn through control/executor.h.
 *
 * What must hold: the ledger balances at all times, in recipients:
 *   accepted + generated = queued + delivered + bounced + expired + removed + discarded +
 * quarantined
 */
#ifndef MILLRACE_CONTROL_QUEUE_QUEUE_H
#define MILLRACE_CONTROL_QUEUE_QUEUE_H

#include "control/dns/resolver.h"
#include "control/events/events.h"
#include "control/queue/spool.h"
#include "dataplane/buf/ring.h"
#include "dataplane/message.h"
#include "dataplane/view.h"

struct queue_shard;

/* ---- Configuration: compiled by control/config, immutable, replaced as a whole ---- */

struct queue_source {
	char name[VIEW_NAME_MAX];
	char ehlo_name[256];
	uint16_t port;
	bool has_v4, has_v6;
	struct ip_address v4, v6;
};

struct queue_pool_member {
	uint32_t source; /**< index into sources */
	uint32_t weight; /**< > 0 */
};

struct queue_pool {
	char name[VIEW_NAME_MAX];
	unsigned member_count;
	const struct queue_pool_member *members;
};

/** Settings of a recipient domain (exact or ".parent") or of a site; the most specific wins. */
struct queue_destination {
	char domain[256]; /**< lower-case A-label; "" is the default */
	struct path_settings settings;
	uint64_t message_rate_per_hour; /**< per path; 0: no limit */
	unsigned fixed_host_count;	/**< a smart host instead of MX: */
	const char *const *fixed_hosts; /**< "name", "[address]", either with ":port" */
};

struct queue_settings_view {
	uint64_t revision;
	unsigned source_count;
	const struct queue_source *sources;
	unsigned pool_count;
	const struct queue_pool *pools; /**< the first is the default */
	unsigned destination_count;
	const struct queue_destination *destinations; /**< [0] is the default */
	uint64_t retry_initial_us;		      /**< RFC 5321, 4.5.4.1 */
	uint64_t retry_max_us;
	uint32_t retry_factor_percent; /**< 200: doubling */
	uint32_t retry_jitter_percent; /**< +- of the interval */
	uint64_t expire_us;
	uint64_t delay_notice_after_us; /**< for NOTIFY=DELAY; 0: never */
	uint64_t dsn_return_max;	/**< bodies larger than this come back as header only (RFC
					   3461, 5.3 / 4.3) */
	uint64_t body_memory_bytes;	/**< bodies of waiting messages leave memory above this */
	const char *hostname;		/**< Reporting-MTA, DSN's From domain */
	const char *postmaster;		/**< DSN's From address */
};

struct queue_shard_settings {
	uint16_t shard;
	uint32_t node;
	uint64_t messages_max; /**< table sizes; over them new mail gets COMMIT_OVERLOAD */
	uint64_t recipients_max;
	uint32_t chunks; /**< of its own pool, for bodies read back and DSNs */
	uint16_t chunk_home;
	struct mr_random *random;
	struct resolver *resolver;
	struct event_log *events;
	struct spool_settings spool;
	unsigned worker_count;
	/** Rings of each worker that it serves; `home` is the id of the worker's chunk pool. */
	struct {
		struct ring *from_worker;
		struct ring *to_worker;
		uint16_t home;
	} workers[WORKERS_MAX];
	/** Password check (control/config's user file); called on the shard's thread by a helper of
	 * its own if slow. */
	void (*authenticate)(void *context, struct auth_request *request,
			     void (*done)(void *user, struct auth_request *), void *user);
	void *authenticate_context;
};

/** Open the spool and rebuild the index. Blocks. @param error at least 256 bytes */
struct queue_shard *queue_shard_create(const struct queue_shard_settings *settings,
				       const struct queue_settings_view *view,
				       const struct mr_now *now, char *error);
void queue_shard_destroy(struct queue_shard *shard);
/** Free it without writing anything: what a crash leaves. For tests. */
void queue_shard_abandon(struct queue_shard *shard);
/** message_id.origin for the shard's workers. */
uint64_t queue_shard_id_origin(const struct queue_shard *shard);
/** Adopt a new configuration. The old one may be freed when this returns. */
void queue_shard_configure(struct queue_shard *shard, const struct queue_settings_view *view,
			   const struct mr_now *now);
/** One turn: rings, spool, resolver, wheel, deliveries. @return true when it did something */
bool queue_shard_turn(struct queue_shard *shard, const struct mr_now *now);
uint64_t queue_shard_next_deadline(const struct queue_shard *shard);
/** Start no more deliveries; what is on loan comes back. */
void queue_shard_drain(struct queue_shard *shard);
/** Nothing on loan, nothing uncommitted. */
bool queue_shard_is_drained(const struct queue_shard *shard);
/** enum commit_result that workers should refuse new mail with; COMMIT_DONE: accepting. */
uint32_t queue_shard_refusal(const struct queue_shard *shard);

/** In recipients. `accepted` and the ends are counted over the life of the spool (kept in its
 * notes). */
struct queue_ledger {
	uint64_t accepted, generated;
	uint64_t queued, delivered, bounced, expired, removed, discarded, quarantined;
	uint64_t possible_duplicates;
	int64_t drift; /**< 0 */
};
void queue_shard_ledger(const struct queue_shard *shard, struct queue_ledger *out);

/* Show and request, from within the shard's thread (control/executor.h). JSON by jansson; the
 * caller owns it. */
#include <jansson.h>
/** Domains with counts, oldest, next attempt; filter by domain or NULL. */
json_t *queue_shard_show_queue(struct queue_shard *shard, const char *domain);
/** One message with its recipients, attempts and why it waits; NULL when unknown. */
json_t *queue_shard_show_message(struct queue_shard *shard, const struct message_id *id);
json_t *queue_shard_show_paths(struct queue_shard *shard);
json_t *queue_shard_show_sources(struct queue_shard *shard);
json_t *queue_shard_show_spool(struct queue_shard *shard);
json_t *queue_shard_show_memory(struct queue_shard *shard);

/** What a request acts on; at least one field must be set. */
struct queue_selector {
	const struct message_id *id;
	const char *domain;
	const char *sender;
	const char *tenant;
	const char *campaign;
	bool all;
};
/** Attempt now. @return recipients affected */
uint64_t queue_shard_request_retry(struct queue_shard *shard,
				   const struct queue_selector *selector);
/** Remove without a DSN (ledger: removed). @param dry_run count only @return recipients affected */
uint64_t queue_shard_request_delete(struct queue_shard *shard,
				    const struct queue_selector *selector, bool dry_run);

#define QUEUE_COUNTERS(X)                                                   \
	X(messages_committed, "messages made durable")                      \
	X(messages_refused, "messages not taken: space, error or overload") \
	X(messages_finished, "messages whose last recipient ended")         \
	X(deliveries, "transactions handed to workers")                     \
	X(dsn_failure, "DSNs made: failed")                                 \
	X(dsn_delay, "DSNs made: delayed")                                  \
	X(dsn_success, "DSNs made: delivered or relayed")                   \
	X(dsn_suppressed, "DSNs not made: null sender or NOTIFY=NEVER")     \
	X(resolutions, "routes looked up")                                  \
	X(resolutions_failed, "routes that failed for now")                 \
	X(bodies_dropped, "bodies that left memory")                        \
	X(bodies_read, "bodies read back from the spool")                   \
	X(spool_corrupt, "bodies that did not match their checksum")

struct queue_counters {
#define X(name, text) uint64_t name;
	QUEUE_COUNTERS(X)
#undef X
};
const struct queue_counters *queue_shard_counters(const struct queue_shard *shard);

#endif
