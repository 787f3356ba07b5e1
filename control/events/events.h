/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The event log: what became of every message, one JSON object a line (fields of the KumoMTA record
 * where the meaning is equal, and ours). Shards emit; a writer thread of its own writes and
 * rotates, so that a full or slow disk never stops a shard: the ring between them is bounded, and
 * when it is full the shard stops accepting (never drops).
 */
#ifndef MILLRACE_CONTROL_EVENTS_EVENTS_H
#define MILLRACE_CONTROL_EVENTS_EVENTS_H

#include "dataplane/message.h"

enum event_type {
	EVENT_RECEPTION,
	EVENT_DELIVERY,
	EVENT_TRANSIENT_FAILURE,
	EVENT_BOUNCE,
	EVENT_EXPIRATION,
	EVENT_ADMIN_BOUNCE, /**< request queue delete */
};

/** Pointers are only read during event_log_emit; NULL and 0 mean absent. */
struct event {
	enum event_type type;
	uint64_t event_id; /**< shard << 48 | start << 34 | serial */
	struct message_id id;
	uint64_t time_us;    /**< wall clock, now */
	uint64_t created_us; /**< wall clock, reception */
	const char *sender;
	unsigned recipient_count;
	const char *const *recipients;
	uint64_t size;
	unsigned attempts;
	const char *queue; /**< recipient domain */
	const char *site;
	const char *source; /**< source's name */
	const char *pool;
	const char *tenant;
	const char *campaign;
	const char *listener;
	const char *auth_user;
	const char *helo;
	const char *message_id_header;
	const char *reception_protocol;
	const struct ip_address *peer_address;
	const char *peer_name;
	const struct ip_address *source_address;
	unsigned reply_code;
	struct enhanced_code enhanced;
	const char *reply_text;
	bool reply_remote;
	const char *phase; /**< smtp_phase_name */
	const char *tls_version;
	const char *tls_cipher;
	uint64_t session;
	bool reused;
	bool possible_duplicate;
	bool generated; /**< ours: a DSN */
	const struct message_id *dsn_for;
	uint64_t connect_us, tls_us, transaction_us, commit_us;
	struct tcp_measure measure; /**< of an attempt's connection */
	uint64_t next_attempt_us;   /**< wall clock, of a transient failure */
	unsigned worker;
	uint64_t config_revision;
};

struct event_log;

struct event_log_settings {
	const char *directory;
	uint64_t rotate_bytes;
	unsigned keep;
	const char *node; /**< node id as text */
};
/** @param error at least 256 bytes */
struct event_log *event_log_open(const struct event_log_settings *settings, char *error);
/** From any shard thread. @return 0, or -EAGAIN when the log cannot keep up: try again, and accept
 * no new mail meanwhile */
int event_log_emit(struct event_log *log, const struct event *event);
/** Write out all that was emitted and close. */
void event_log_close(struct event_log *log);
/** Events written, bytes, waiting, rotated; for show and metrics. */
struct event_log_statistics {
	uint64_t written, bytes, waiting, rotations, errors;
};
void event_log_statistics(struct event_log *log, struct event_log_statistics *out);

#endif
