/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A queue shard in a house of test doubles and virtual time: a simulated disk, a scripted resolver,
 * workers that are rings with chunk pools, an event log that is an array. What workers do with a
 * delivery is the test's to say, by a callback for each recipient. The house checks at every step
 * what must always hold: connections within their limit, outstanding deliveries within two a slot,
 * each outcome once, chunks home in the end.
 */
#ifndef MILLRACE_TESTS_UNIT_QUEUE_HOUSE_H
#define MILLRACE_TESTS_UNIT_QUEUE_HOUSE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/queue/queue.h"
#include "control/queue/shard.h"
#include "drivers/disk/disk_sim.h"
#include "drivers/random.h"
#include "tests/sim/resolver/resolver_sim.h"

#define HOUSE_WORKERS_MAX 4
#define HOUSE_SECOND	  US_PER_S
#define HOUSE_HOUR	  (3600 * US_PER_S)
#define HOUSE_DAY	  (24 * HOUSE_HOUR)

struct house;

/** Decide one recipient: set outcome, phase, code, enhanced, reply. Preset: delivered, "250 2.0.0
 * ok". */
typedef void (*house_decide)(struct house *house, struct delivery *delivery,
			     struct delivery_recipient *recipient);

/** What was committed or refused. */
struct house_answer {
	struct message_id id;
	uint32_t result;
};

/** What the far side has: one line for each delivered recipient. */
struct house_delivered {
	struct message_id id;
	char address[SMTP_ADDRESS_TEXT];
	uint64_t at_us;
	uint32_t path;
	uint64_t hash; /**< of the body */
};

struct house_event {
	enum event_type type;
	struct message_id id;
	char recipient[SMTP_ADDRESS_TEXT];
	char reply[REPLY_TEXT];
	unsigned recipients;
	unsigned attempts;
	uint64_t next_attempt_us;
	uint64_t time_us;
	bool generated;
	char site[256], source[VIEW_NAME_MAX], peer[256], tls[80];
	bool has_peer_address, has_source_address;
	uint64_t session, connect_us, tls_us, transaction_us;
	unsigned worker;
};

/** A generated message, seen on its way out. */
struct house_notice {
	struct message_id id;
	char to[SMTP_ADDRESS_TEXT];
	uint32_t flags;
	char *text;
};

struct house_path {
	uint32_t number;
	uint32_t slots; /**< granted */
	uint32_t open;	/**< connections */
	uint32_t outstanding;
};

struct house_worker {
	struct ring *from_worker, *to_worker;
	struct chunk_pool *chunks;
	struct delivery *held[4096]; /**< on loan, in order */
	unsigned held_count;
	struct house_path paths[4096];
	unsigned path_count;
	unsigned most_open; /**< connections of one path at once */
};

struct house {
	struct disk *disk;
	struct resolver *resolver;
	struct mr_random random;
	struct mr_random shard_random;
	struct mr_now now;
	struct queue_shard *shard;
	struct queue_shard_settings settings;
	struct queue_settings_view view;
	struct queue_source sources[8];
	struct queue_pool_member members[8];
	struct queue_pool pools[4];
	struct queue_destination destinations[8];
	unsigned worker_count;
	uint32_t worker_chunks;
	struct house_worker workers[HOUSE_WORKERS_MAX];
	house_decide decide;
	uint64_t hold_us;	   /**< workers answer after so long */
	bool hold;		   /**< workers answer nothing */
	bool close_after_delivery; /**< connections end with each delivery */
	bool ignore_duplicates;	   /**< a test about restarts */
	bool keep_no_books; /**< a test about speed: answers, deliveries and events are not kept */
	uint64_t steps;

	struct house_answer *answers;
	size_t answer_count;
	struct house_delivered *delivered;
	size_t delivered_count;
	struct house_event *events;
	size_t event_count;
	bool events_stall;
	struct house_notice *notices;
	size_t notice_count;
	uint64_t serial;
	uint64_t auth_answers;
	uint64_t at_risk; /**< recipients whose outcome was not durable when the process died */
};

/** One worker, one source, generous limits; change fields, then house_start. */
void house_init(struct house *house, uint64_t seed);
/** Open the shard on the disk as it is. */
void house_start(struct house *house);
/** The process dies: nothing is written any more; what workers hold is gone. The disk stays. */
void house_crash(struct house *house);
/** As house_crash, and the power goes. */
void house_power_cut(struct house *house);
void house_stop(struct house *house);
/** Stop and give everything back; checks that no chunk is missing. */
void house_finish(struct house *house);

/** A description of a message. */
struct house_message {
	const char *from;
	const char *recipients; /**< addresses, separated by spaces; "!notify=N" and "!orcpt=TEXT"
				   after one */
	const char *envid;
	const char *tenant, *campaign, *pool;
	const char *header; /**< or NULL: a small one */
	size_t body_size;   /**< octets after the header */
	uint32_t flags;
};

/** Submit from a worker. @return its id; the answer comes with later steps */
struct message_id house_submit(struct house *house, unsigned worker,
			       const struct house_message *message);
/** Submit, and run until it is committed. */
struct message_id house_send(struct house *house, const char *from, const char *recipients);
/** Submit so many alike, from all workers in turn, a step after each. */
void house_submit_many(struct house *house, unsigned count, const char *recipients, size_t size);
/** One turn, and a step of the workers; then the clock goes on by step_us. */
void house_step(struct house *house, uint64_t step_us);
/** Steps until so much time has passed, in leaps to the next deadline. */
void house_run(struct house *house, uint64_t duration_us);
/** Steps until nothing is queued, at most so long. @return whether it is so */
bool house_run_dry(struct house *house, uint64_t duration_us);

/** enum commit_result of a message, or UINT32_MAX: no answer yet. */
uint32_t house_answer(const struct house *house, const struct message_id *id);
/** How often the far side got it. */
unsigned house_got(const struct house *house, const struct message_id *id, const char *address);
unsigned house_events_of(const struct house *house, enum event_type type,
			 const struct message_id *id);
const struct house_event *house_last_event(const struct house *house, enum event_type type);
/** The ledger balances, and the index agrees. */
void house_check_ledger(const struct house *house);
struct queue_ledger house_ledger(const struct house *house);
/** In the JSON of show message: the first recipient's field. */
const char *house_why(struct house *house, const struct message_id *id, char *why, size_t size);

/** Of a show command's array, which is freed: `field` summed over the rows whose `match` is
 * `value`.
 */
uint64_t house_sum(json_t *array, const char *match, const char *value, const char *field);

/** Before house_start: sources "one" and "two" with these weights in the only pool. */
void house_two_sources(struct house *house, unsigned weight_one, unsigned weight_two);
/** A house_decide: no connection for the first hour. */
void house_dead_for_an_hour(struct house *house, struct delivery *delivery,
			    struct delivery_recipient *recipient);
void house_set_result(struct delivery_recipient *recipient, enum outcome outcome,
		      enum smtp_phase phase, uint16_t code, const char *enhanced,
		      const char *reply);

#endif
