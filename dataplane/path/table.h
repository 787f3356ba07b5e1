/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the files of this room share: table.c (paths, slots, waiting deliveries), session.c (one
 * connection), open.c (choice of hosts), report.c (results on their way back). For everybody else:
 * path.h.
 *
 * Slots, in words: `slots` is what the shard granted for a path and did not get back; each holds
 * one connection, or is about to. path_settle restores this: no more waiting deliveries than
 * connections being opened while slots are free, and free slots that nobody waits for go back.
 *
 * Always true: sessions of a path <= its slots, but for the moment between two lines of
 * path_settle's callers; every delivery on loan is in exactly one place: waiting list, a session,
 * or the outgoing list.
 */
#ifndef MILLRACE_DATAPLANE_PATH_TABLE_H
#define MILLRACE_DATAPLANE_PATH_TABLE_H

#include "dataplane/buf/wheel.h"
#include "dataplane/path/host.h"
#include "dataplane/path/path.h"
#include "dataplane/smtp/client.h"
#include "dataplane/smtp/stream.h"

/** No index. */
#define NONE UINT32_MAX

/** First in, first out; linked by delivery->next. */
struct delivery_queue {
	struct delivery *head;
	struct delivery *tail;
	uint32_t count;
};

struct path {
	uint32_t number; /**< route->path */
	bool used;
	bool dirty;    /**< in the list of paths to settle */
	uint32_t next; /**< of the hash chain, or of the free list */
	uint32_t next_dirty;
	uint32_t slots;	     /**< granted and not given back */
	uint32_t slots_back; /**< given back; the record waits for the ring */
	uint32_t sessions;
	uint32_t opening; /**< of these: not ready for their first transaction yet */
	uint32_t first;	  /**< sessions, linked by path_next */
	uint32_t idle;	  /**< sessions without work, last used first, linked by idle_next */
	struct delivery_queue waiting;
};

enum session_state {
	SESSION_FREE,
	SESSION_CONNECTING,
	SESSION_OPEN,	 /**< the engine is in charge */
	SESSION_CLOSING, /**< on_closed is waited for */
	SESSION_GONE,	 /**< no connection; `after` says what comes next, in the turn */
};

/** What becomes of a session when its connection is gone. */
enum session_after {
	AFTER_FREE,
	AFTER_NEXT_HOST,
	AFTER_SAME_HOST, /**< without TLS, or without CHUNKING */
};

struct session_host {
	struct ip_address address;
	uint16_t port;
};

struct path_session {
	struct stream stream;
	struct smtp_client client;
	struct wheel_node timer;
	struct path_table *table;
	uint32_t index;
	uint32_t path;
	uint32_t path_next, path_prev;
	uint32_t idle_next, idle_prev;
	uint32_t gone_next; /**< also the free list */
	uint32_t route_generation;
	enum session_state state;
	enum session_after after;
	bool opening;	  /**< not ready for its first transaction yet */
	bool is_idle;	  /**< in the path's idle list */
	bool close_after; /**< QUIT when the transaction ends */
	bool avoid_tls;	  /**< clear after a failed handshake */
	bool avoid_chunking;
	bool tls;
	size_t unread; /**< bytes behind those that the engine has taken, in on_receive */
	uint64_t serial;
	uint64_t deadline_us; /**< unless the engine is in charge and busy */
	uint64_t connect_began_us;
	uint64_t connected_us;
	uint64_t connect_us, tls_us; /**< durations */
	uint64_t tls_began_us;
	uint32_t messages;
	uint32_t segments_told, retransmitted_told; /**< by the transactions before */
	uint64_t bytes;
	struct delivery *delivery; /**< under way, on loan */
	struct view *view;	   /**< held; NULL: none */
	struct path_settings settings;
	struct ip_address source;
	struct session_host host;
	struct session_host tried[ROUTE_HOSTS_MAX];
	unsigned tried_count;
	unsigned refused_count; /**< of these: said that they take no mail at all (RFC 7504) */
	char tls_version[12];
	char tls_cipher[48];
	char site[64];
	char host_name[SMTP_DOMAIN_MAX + 1];
};

/* Of the 8 KiB that an idle session may cost in all layers (with TLS: about 4.5 KiB there). */
_Static_assert(sizeof(struct path_session) <= 2816, "a client session");

struct path_table {
	struct path_table_settings settings;
	struct path_counters counters;
	struct mr_now now; /**< of this turn; streams look at it */
	struct view *view;
	struct wheel *wheel;
	struct host_memory *hosts;
	struct path_session *sessions;
	uint32_t sessions_free;
	uint32_t sessions_used;
	uint32_t sessions_gone; /**< list, to be worked off in the turn */
	struct path *paths;
	uint32_t *chains; /**< heads of hash chains */
	uint32_t chain_mask;
	uint32_t paths_free;
	uint32_t paths_dirty;
	uint64_t serial;
	bool draining;
	uint32_t deliveries;		/**< on loan */
	struct delivery_queue outgoing; /**< results that the ring has not taken */
	uint32_t slot_records;		/**< paths with slots_back > 0 */
};

/* table.c */
void path_mark_dirty(struct path_table *table, struct path *path);
struct delivery *delivery_queue_take(struct delivery_queue *queue);
void delivery_queue_put(struct delivery_queue *queue, struct delivery *delivery);
void delivery_queue_put_first(struct delivery_queue *queue, struct delivery *delivery);
void session_join_idle(struct path_session *session);
void session_leave_idle(struct path_session *session);
void session_free(struct path_session *session);

/* open.c */
/** Begin to connect to the next host of the waiting delivery's route, or give up. */
void session_open_next(struct path_session *session);
/** Once more to the host just tried. */
void session_open_again(struct path_session *session);
/** The host at hand failed: client.failure says how. */
void session_host_failed(struct path_session *session);
const struct route_host *route_find_host(const struct route *route,
					 const struct session_host *host);

/* session.c */
extern const struct stream_callbacks session_stream_callbacks;
/** Give an idle session a delivery. */
void session_begin(struct path_session *session, struct delivery *delivery);
/** Look at what the engine reports after a call from outside the stream's callbacks, and send. */
void session_resume(struct path_session *session);
/** May it take another transaction of this generation of the route? */
bool session_is_reusable(const struct path_session *session, uint32_t generation);
/** QUIT and close. */
void session_quit(struct path_session *session);
void session_close(struct path_session *session, bool orderly);
void session_expired(struct path_session *session);
/** Arm the timer for the deadline that now counts. */
void session_arm(struct path_session *session);

/* report.c */
/** Every recipient is decided: give the delivery back. */
void report_delivery(struct path_table *table, struct delivery *delivery);
/** Give a delivery back that was not tried. @param why ours */
void report_untried(struct path_table *table, struct delivery *delivery, const char *why);
/** Give slots of a path back. */
void report_slots(struct path_table *table, struct path *path, uint32_t count);
/** Try again what the ring did not take. @return true when all is gone */
bool report_flush(struct path_table *table);

#endif
