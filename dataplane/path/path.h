/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Delivering mail: every outbound path (source x site) of one worker, its connections and its SMTP
 * client sessions (RFC 5321 client role; RFC 2920, 3030, 3207, 1870, 6152, 6531, 3461, 2034, 9422).
 *
 * Owner: one worker. The queue shard lends deliveries; each comes back exactly once by `report`,
 * after the last byte of its body was acknowledged or its connection is gone. The shard counts
 * connections: a delivery with may_open brings a slot for one new connection; the slot goes back
 * with the outcome (slot_closed) when that connection ended by then, or by RECORD_SLOT_CLOSED when
 * it ends later.
 *
 * A delivery takes an idle connection of its path; else a new one is opened when slots are free;
 * else it waits, and the first connection that gets idle takes it. A slot that nobody needs goes
 * back at once. A delivery that finds neither connection nor slot, or a full table, or a worker
 * that drains, comes back untried: hosts_tried 0, no host, every recipient deferred in PHASE_ROUTE
 * with code 0.
 *
 * Hosts are tried in the route's order; what failed lately is tried last. When all of them fail and
 * no other connection of the path is left, all its waiting deliveries come back with the last
 * host's reason: deferred, or bounced when every host said that it takes no mail at all (521, RFC
 * 7504; not 554, which mostly means that the source is not liked). TLS by path_settings.tls: `may`
 * retries in clear on a new connection at once when the handshake fails. A kept connection that
 * proves to be stale, and a host that offers BDAT without knowing it, cost a new connection within
 * the same attempt.
 */
#ifndef MILLRACE_DATAPLANE_PATH_PATH_H
#define MILLRACE_DATAPLANE_PATH_PATH_H

#include "dataplane/message.h"
#include "dataplane/net/net.h"
#include "dataplane/session_list.h"
#include "dataplane/view.h"

struct path_table;

struct path_table_settings {
	uint16_t worker;
	uint32_t sessions; /**< connections at most */
	uint32_t paths;	   /**< paths remembered at most */
	struct net_stack *stack;
	struct chunk_pool *chunks;
	struct mr_random *random;
	/** Give a record to the shard. @return false when the ring is full: kept and tried next
	 * turn */
	bool (*report)(void *context, const struct record *record);
	void *context;
};

struct path_table *path_table_create(const struct path_table_settings *settings);
void path_table_destroy(struct path_table *table);
/** New sessions use this view's client contexts; running ones keep theirs (view->references). */
void path_table_configure(struct path_table *table, struct view *view, const struct mr_now *now);
/** Take a delivery on loan. */
void path_table_deliver(struct path_table *table, struct delivery *delivery,
			const struct mr_now *now);
/** Close a path's idle connections now and its busy ones after their transaction. */
void path_table_close_path(struct path_table *table, uint32_t path, const struct mr_now *now);
/** The turn's time, for what the stack calls back before path_table_turn. Call first in a turn. */
void path_table_begin_turn(struct path_table *table, const struct mr_now *now);
/** Deadlines and retries of full rings. Call once a turn. */
void path_table_turn(struct path_table *table, const struct mr_now *now);
uint64_t path_table_next_deadline(const struct path_table *table);
/** No new transactions: hand back what has not begun as deferred (code 0), finish what runs, QUIT.
 */
void path_table_drain(struct path_table *table, const struct mr_now *now);
uint32_t path_table_sessions(const struct path_table *table);
/** Deliveries on loan. */
uint32_t path_table_deliveries(const struct path_table *table);
unsigned path_table_list(const struct path_table *table, struct session_entry *out, unsigned max);

#define PATH_COUNTERS(X)                                                          \
	X(connections_opened, "connections established")                          \
	X(connections_failed, "connections that failed")                          \
	X(connections_reused, "transactions on a connection that had one before") \
	X(tls_sessions, "TLS handshakes completed")                               \
	X(tls_failed, "TLS handshakes failed")                                    \
	X(tls_clear_retries, "retries in clear after a failed handshake")         \
	X(tls_injection, "bytes between 220 and the handshake: sessions closed")  \
	X(transactions, "transactions begun")                                     \
	X(recipients_delivered, "recipients delivered")                           \
	X(recipients_deferred, "recipients deferred")                             \
	X(recipients_bounced, "recipients bounced")                               \
	X(bytes_delivered, "octets of bodies delivered")                          \
	X(protocol_errors, "sessions closed: the peer broke the protocol")        \
	X(timeouts, "sessions closed: the peer was too slow")                     \
	X(ambiguous, "connections lost after the final dot")

struct path_counters {
#define X(name, text) uint64_t name;
	PATH_COUNTERS(X)
#undef X
};
const struct path_counters *path_table_counters(const struct path_table *table);

#endif
