/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The inside of a queue shard: what its files share. queue.h is what the rest of the house sees.
 *
 *   commit.c    submissions: into the spool, then into the index
 *   bodies.c    bodies in memory: loans, budget, reading back, chunks home
 *   domains.c   recipient domains, and who waits for them; lookup.c asks for them, once for all
 *   sites.c     groups of exchangers, and the choice of a source for each message
 *   paths.c     source x site: ready lists, back-off, rates, configuration
 *   grant.c     which worker gets the next delivery, and with which slot
 *   outcome.c   what came back: records, retry, finish, events
 *   attempts.c  attempts that ended recipients, until their events are out
 *   notice.c    when DSNs are made; dsn.c how they read
 *   ledger.c    sums, notes, audit
 *   recover.c   the index from the spool's records
 *   queue.c     creation, turn, rings; queue_show.c, queue_request.c for operators
 *
 * Owner: the shard's thread. Every list and every wait is bounded by the index's tables.
 */
#ifndef MILLRACE_CONTROL_QUEUE_SHARD_H
#define MILLRACE_CONTROL_QUEUE_SHARD_H

#include "control/queue/index.h"
#include "control/queue/queue.h"
#include "control/queue/record.h"
#include "control/queue/retry.h"

#include <pthread.h>

/* ---- Routes, sites, paths, domains ---- */

/** A route and who still refers to it. */
struct route_entry {
	struct route route;
	uint32_t references; /**< deliveries, and 1 for its path */
	char texts[];
};

enum domain_state {
	DOMAIN_UNKNOWN,	  /**< to be looked up when a recipient needs it */
	DOMAIN_RESOLVING, /**< look-up under way */
	DOMAIN_DELAYED,	  /**< look-up failed for now; next at until_us */
	DOMAIN_ROUTED,	  /**< site is known until until_us */
	DOMAIN_DEAD,	  /**< mail to it bounces, until until_us */
};

struct queue_domain {
	char *name;		    /**< lower case */
	uint32_t site;		    /**< of DOMAIN_ROUTED */
	uint32_t recipients;	    /**< that name it and are not final */
	struct slab_list waiting;   /**< recipients ROUTING */
	struct schedule_link timer; /**< DELAYED, or in shard->domains_waiting for a look-up,
				     or in domains_releasing */
	uint64_t until_us;
	uint64_t next_attempt_us;
	struct enhanced_code enhanced; /**< of DEAD and DELAYED */
	uint32_t reason;	       /**< text */
	uint16_t failures;
	uint8_t state; /**< enum domain_state */
	bool used;
	bool queued;	/**< in shard->domains_waiting */
	bool releasing; /**< in shard->domains_releasing */
	bool timed;	/**< on the wheel */
};

/** A domain's look-up: of the domain itself, or of each fixed host in turn. */
struct lookup {
	struct queue_shard *shard;
	struct lookup *next, *prev;
	uint32_t domain;
	uint32_t destination; /**< index into the view at `epoch` */
	uint32_t epoch;
	unsigned host;		  /**< fixed host being looked up */
	uint16_t port;		  /**< of it */
	struct resolution answer; /**< merged */
	uint16_t ports[ROUTE_HOSTS_MAX];
};

/** Smooth weighted round robin over a pool's members, kept for each site and pool. */
struct site_pool {
	struct site_pool *next;
	uint32_t pool; /**< index into the view */
	unsigned count;
	int64_t current[]; /**< credits, by member */
};

struct queue_site {
	char *key; /**< site name, then what sets its settings apart */
	char name[256];
	char destination[256]; /**< domain of the destination whose settings it has */
	struct path_settings settings;
	uint64_t message_rate_per_hour;
	unsigned host_count;
	struct resolution_host hosts[ROUTE_HOSTS_MAX];
	uint16_t ports[ROUTE_HOSTS_MAX];
	uint32_t version; /**< changes with the set of hosts or the settings */
	uint32_t answers; /**< changes with each answer: equal preferences are shuffled anew */
	bool secure;
	bool used;
	uint32_t paths;	  /**< that refer to it */
	uint32_t domains; /**< that are routed to it */
	struct site_pool *pools;
};

struct path_worker {
	uint16_t slots;	      /**< connections it may have open */
	uint16_t outstanding; /**< deliveries it has on loan */
};

struct queue_path {
	uint32_t number; /**< name towards workers: slab index, and a count of reuses above */
	uint32_t site;
	uint64_t source_hash;
	char source[VIEW_NAME_MAX];
	uint32_t source_index; /**< into the view */
	struct route_entry *route;
	uint32_t generation;
	uint32_t site_version; /**< of the site, that route was made from */
	uint32_t site_answers;
	struct slab_list ready; /**< recipients READY */
	uint32_t reroute;	/**< recipients at the head of `ready` that must be routed anew */
	uint32_t slots;		/**< over all workers */
	uint32_t outstanding;
	uint32_t loading; /**< deliveries whose body is being read, or that wait for a worker */
	struct loan *waiting_head,
		*waiting_tail; /**< formed, body in memory, waiting for a worker */
	uint32_t cap;	       /**< connections that the site lately allowed; 0: unknown */
	uint64_t cap_until_us;
	uint64_t blocked_until_us; /**< route-level back-off */
	uint64_t rest_until_us;	   /**< no worker could begin the last delivery */
	uint64_t rest_us;	   /**< the last such wait; 0: there was none */
	uint32_t failures; /**< route-level, in a row; while not 0, one delivery at a time finds out
			    */
	uint32_t reason;   /**< text of the last route-level failure: host NUL reply */
	bool proven;	   /**< a dialogue got to MAIL since the last failure */
	uint32_t refusals; /**< transactions put off as a whole, in a row */
	bool retired;	   /**< source or settings are gone; takes no more */
	bool used;
	bool runnable; /**< in shard->runnable */
	bool timed;    /**< on the wheel */
	struct rate rate;
	struct slab_link run;
	struct schedule_link timer;
	uint64_t idle_since_us;
	uint64_t delivered, deferred, bounced; /**< recipients, since it was made */
	struct tcp_measure measure;	       /**< of the last transaction */
	uint64_t segments, retransmitted;      /**< since it was made */
	struct path_worker *workers;
};

/** Where a message's recipients of a site went last, so that they go in one transaction. */
struct route_memory {
	uint64_t message; /**< id.counter */
	uint32_t site;
	uint32_t path;
	uint32_t recipient; /**< the last one */
};
#define ROUTE_MEMORIES 256u

/* ---- Bodies and loans ---- */

/** Something for the event log, kept until the log has taken it. Part of its owner's struct. */
struct report {
	struct report *next;
	/** @return false: later; true: done, and the owner is freed */
	bool (*emit)(struct queue_shard *shard, struct report *report);
};

enum body_state {
	BODY_READING = 1,
	BODY_PRESENT,
};

struct queue_body {
	struct queue_shard *shard; /**< while it is read */
	uint32_t index;
	uint32_t message;
	uint32_t loans;	       /**< deliveries and jobs that hold it */
	struct slab_link link; /**< in shard->bodies, oldest first, while nobody holds it */
	struct chunk_list list;
	struct loan *readers; /**< deliveries waiting for the read */
	uint8_t state;
	bool idle; /**< in the list */
};

/** What became of a message's recipients, on its way into the spool. Part of its owner's struct. */
struct recording {
	struct recording *next; /**< in shard->unwritten */
	uint32_t message;
	spool_done done; /**< when it is durable, or never will be */
	void *user;
};

enum loan_state {
	LOAN_READING,	/**< waits for its body */
	LOAN_WAITING,	/**< waits for a worker */
	LOAN_OUT,	/**< at a worker */
	LOAN_RECORDING, /**< its results are being made durable */
	LOAN_REPORTING, /**< its events wait for the log */
};

struct loan {
	struct report report;
	struct recording recording;
	struct queue_shard *shard;
	struct loan *next; /**< readers, waiting or reporting list */
	struct loan *all_next, *all_prev;
	struct route_entry *route;
	uint32_t message;
	uint32_t path;
	uint16_t worker;
	uint8_t state;		  /**< enum loan_state */
	uint32_t reported;	  /**< recipients whose event is emitted */
	uint64_t next_attempt_us; /**< wall clock, of what was deferred */
	uint64_t promised;	  /**< room in the spool for its records */
	uint32_t attempt;	  /**< kept for bounces, held; 0: there are none */
	struct delivery delivery; /**< last: has its recipients behind it */
};

/* ---- Jobs: notices to senders ---- */

enum job_kind {
	JOB_FAILURE = 1 << 0, /**< recipients FAILING */
	JOB_DELAY = 1 << 1,
};

struct job {
	uint32_t message;
	struct slab_link link;
	uint8_t kinds;	/**< enum job_kind */
	uint8_t reads;	/**< that failed */
	bool has_body;	/**< holds the body */
	bool body_lost; /**< it cannot be read: go on without */
	uint64_t due_us;
};

/** What the events of its recipients tell of an attempt. */
struct attempt {
	uint32_t references; /**< its loan, recipients FAILING in it, and ends that it caused */
	uint16_t worker;
	bool tls;
	bool reused;
	bool possible_duplicate;
	struct route_entry *route;
	const struct route_host *host; /**< in the route, or NULL */
	struct ip_address source_address;
	char tls_version[sizeof(((struct delivery *)0)->tls_version)];
	char tls_cipher[sizeof(((struct delivery *)0)->tls_cipher)];
	uint64_t session;
	uint64_t connect_us, tls_us, transaction_us;
	struct tcp_measure measure;
};

/** A recipient's end. */
struct recipient_final {
	uint32_t recipient;
	uint32_t attempt; /**< that ended it, held; 0: it was not an attempt */
};

/** Recipients that ended without a delivery, until their record is durable and their events are
 * out. */
struct end_wait {
	struct report report;
	struct recording recording;
	struct queue_shard *shard;
	struct end_wait *next, *prev;
	uint32_t message;
	uint32_t count;
	uint32_t reported;
	struct recipient_final ends[];
};

/** A message on its way into the spool. */
struct commit {
	struct report report;
	struct queue_shard *shard;
	struct commit *next, *prev;
	struct submission *submission; /**< NULL: generated here */
	uint16_t worker;
	uint32_t message;
	struct envelope envelope;
	struct chunk_list encoded; /**< generated: the envelope, in our own chunks */
	struct chunk_list body;
	uint64_t began_us;
	struct message_id about; /**< generated: the message that it reports on */
	uint64_t commit_us;	 /**< how long it took */
	uint32_t reported;	 /**< recipients whose reception is told */
};

/** Records for a worker whose ring is full. */
struct outbox {
	struct record *records;
	uint32_t head, count, capacity;
	struct chunk_list home; /**< its chunks, going home with the turn */
};

/** What the event log could not take yet, in order. */
struct event_backlog {
	struct report *head, *tail;
	uint64_t count;
};

struct queue_shard {
	struct queue_shard_settings settings;
	const struct queue_settings_view *view;
	uint32_t epoch;		 /**< changes with the view */
	uint64_t *source_hashes; /**< of the view's sources */
	struct mr_now now;
	struct spool *spool;
	struct spool_recovered recovered;
	struct chunk_pool *chunks;
	uint64_t seed;
	uint64_t serial; /**< of message ids made here */
	uint64_t event_serial;
	struct queue_index index;

	struct slab domains;
	struct table domains_by_name;
	struct schedule domain_timers;
	struct slab_list domains_waiting;   /**< for a look-up to be submitted */
	struct slab_list domains_releasing; /**< whose recipients are being routed */
	struct lookup *lookups;
	uint32_t lookup_count;
	uint32_t domain_sweep;
	uint32_t domain_sweep_left; /**< to be looked at in this sweep */

	struct route_memory route_memories[ROUTE_MEMORIES];
	struct slab sites;
	struct table sites_by_key;
	struct slab paths;
	struct table paths_by_key;
	uint32_t *path_reuses; /**< by slab index */
	struct schedule path_timers;
	struct slab_list runnable;
	uint32_t path_sweep;

	struct slab bodies;
	struct slab_list idle_bodies;
	uint64_t body_chunks; /**< in memory, of any home */
	uint64_t body_bytes;
	uint32_t reads; /**< under way */

	struct loan *loans;
	uint32_t out_count;   /**< at workers */
	struct slab attempts; /**< that ended recipients whose end is not told yet */
	struct slab jobs;
	struct slab_list job_list;
	bool jobs_missed; /**< recipients FAILING without a job: memory was short */
	struct end_wait *ends;
	uint32_t recording; /**< loans LOAN_RECORDING */
	/** Records that the spool had no room or memory for, in order. */
	struct {
		struct recording *head, *tail;
		uint32_t count;
	} unwritten;
	struct commit *commits;
	uint32_t commit_count;
	uint64_t commit_recipients;
	uint64_t commit_chunks; /**< of the shard's pool, in notices on their way */

	struct outbox *outboxes; /**< one a worker */
	struct event_backlog events;
	struct auth_wait *auth_answers; /**< under auth_lock: they may come from another thread */
	pthread_mutex_t auth_lock;
	uint32_t auth_pending; /**< asked and not answered; under auth_lock */

	struct record_note closed; /**< of messages that ended */
	struct queue_ledger ledger;
	bool note_due;
	unsigned group_depth; /**< records_begin without its end */
	size_t group_bytes;
	uint64_t audit_at_us;
	uint64_t audit_drifts;
	uint64_t sweep_at_us;
	uint32_t retime_cursor; /**< messages whose deadlines a new configuration moves */

	bool draining;
	bool recovering;
	bool broken;		/**< the spool takes no records any more */
	uint64_t full_until_us; /**< the spool had no room for records: no deliveries until then */
	bool closing;
	bool progress;	     /**< something was done this turn */
	uint64_t unrecorded; /**< results that could not be made durable */
	struct queue_counters counters;
	char *scratch; /**< RECORD_SCRATCH bytes */
};

#define RECORD_SCRATCH (256u * 1024)

/* ---- commit.c ---- */

void commit_begin(struct queue_shard *shard, uint16_t worker, struct submission *submission);
/** A notice to the sender of the message `about`. Takes the body. @return 0, or negative errno, and
 * then the body is still the caller's */
int commit_generated(struct queue_shard *shard, uint32_t about, const struct message_id *id,
		     uint32_t flags, uint32_t header_size, struct chunk_list *body);
/** Put a durable message's recipients on their way. */
void message_start(struct queue_shard *shard, uint32_t m);
void message_release(struct queue_shard *shard, uint32_t m);
/** Arm the message's timer for what comes first: delay notice or expiry. */
void message_arm(struct queue_shard *shard, uint32_t m);
void messages_run_deadlines(struct queue_shard *shard);
/** Where the message's time is over: monotonic. */
uint64_t message_expiry(const struct queue_shard *shard, const struct queue_message *message);
/** Name every recipient's domain. @return 0 or -ENOMEM */
int message_name_domains(struct queue_shard *shard, uint32_t m);
void commit_free(struct commit *commit);
void commits_free(struct queue_shard *shard);

/* ---- bodies.c ---- */

/** Take the chunks of a durable message's body. */
void body_adopt(struct queue_shard *shard, uint32_t m, struct chunk_list *list);
/** Hold the body. @param loan told by loan_body_ready, or NULL @return 1 present, 0 being read,
 * -EAGAIN later */
int body_hold(struct queue_shard *shard, uint32_t m, struct loan *loan);
void body_release(struct queue_shard *shard, uint32_t m);
/** @return the body in memory, or NULL */
const struct chunk_list *body_list(const struct queue_shard *shard, uint32_t m);
/** All first attempts ended, or the message did: let it go as soon as nobody holds it. */
void body_settle(struct queue_shard *shard, uint32_t m);
void bodies_enforce_budget(struct queue_shard *shard);
void bodies_free(struct queue_shard *shard);
/** Send chunks to their pool. */
void chunks_go_home(struct queue_shard *shard, struct chunk_list *list);
void chunk_goes_home(struct queue_shard *shard, struct chunk *chunk);

/* ---- domains.c ---- */

int domains_init(struct queue_shard *shard, uint32_t maximum);
/** Find or make. @return 0 when tables are full */
uint32_t domain_of_address(struct queue_shard *shard, const char *address);
static inline struct queue_domain *domain_at(const struct queue_shard *shard, uint32_t d)
{
	return slab_at(&shard->domains, d);
}
/** A recipient that named it ended. */
void domain_release(struct queue_shard *shard, uint32_t d);
/** What was looked up is not believed any more. */
void domains_reconfigure(struct queue_shard *shard);
/** Put a recipient on its way to a path. */
void recipient_route(struct queue_shard *shard, uint32_t r);
/** Take a recipient out of whatever list it is in. */
void recipient_detach(struct queue_shard *shard, uint32_t r);
void domains_turn(struct queue_shard *shard);
void domains_sweep(struct queue_shard *shard);
void domain_retry_now(struct queue_shard *shard, uint32_t d);
void domains_free(struct queue_shard *shard);

/** Put a domain into the list of those to be looked up. */
void domain_queue(struct queue_shard *shard, uint32_t d);
/** What a look-up found. */
void domain_answered(struct queue_shard *shard, uint32_t d, const struct resolution *answer,
		     const uint16_t *ports, uint32_t destination);

/* ---- lookup.c ---- */

/** @return 0, or -EAGAIN: later */
int lookup_start(struct queue_shard *shard, uint32_t d);
void lookup_free(struct lookup *lookup);

/* ---- sites.c ---- */

int sites_init(struct queue_shard *shard, uint32_t maximum);
uint32_t destination_find(const struct queue_settings_view *view, const char *domain,
			  const char *site);
/** Find or make the site of an answer, and give it the answer's hosts. @return 0 when the table is
 * full */
uint32_t site_adopt(struct queue_shard *shard, const struct resolution *answer,
		    const uint16_t *ports, uint32_t destination);
void site_release(struct queue_shard *shard, uint32_t s);
/** Choose source and path for a message. @param why at least SITE_WHY_MAX bytes @return path, or 0
 */
uint32_t site_choose_path(struct queue_shard *shard, uint32_t s, uint32_t m, char *why);
static inline struct queue_site *site_at(const struct queue_shard *shard, uint32_t s)
{
	return slab_at(&shard->sites, s);
}
/** Adopt the view's settings; forget weights. */
void sites_reconfigure(struct queue_shard *shard);
#define SITE_WHY_MAX 200
void sites_free(struct queue_shard *shard);

/* ---- paths.c ---- */

static inline struct queue_path *path_at(const struct queue_shard *shard, uint32_t p)
{
	return slab_at(&shard->paths, p);
}
int paths_init(struct queue_shard *shard, uint32_t maximum);
/** @return 0 when there is none */
uint32_t path_find(struct queue_shard *shard, uint32_t source_index, uint32_t s);
/** Find or make. @return 0 when the table is full */
uint32_t path_get(struct queue_shard *shard, uint32_t source_index, uint32_t s);
/** @return its slab index, or 0 when the number is not in use */
uint32_t path_by_number(struct queue_shard *shard, uint32_t number);
/** @param after READY in the same path, or 0: at the end */
void path_push(struct queue_shard *shard, uint32_t p, uint32_t r, uint32_t after);
/** READY again, before all others, in the same path. */
void path_push_front(struct queue_shard *shard, uint32_t p, uint32_t r);
void path_wake(struct queue_shard *shard, uint32_t p);
void path_sleep_until(struct queue_shard *shard, uint32_t p, uint64_t due_us);
/** Make the path's route follow its site. @return 0 or -ENOMEM */
int path_refresh(struct queue_shard *shard, uint32_t p);
void path_failed(struct queue_shard *shard, uint32_t p, const char *host, const char *reply);
void path_worked(struct queue_shard *shard, uint32_t p);
bool path_is_blocked(const struct queue_shard *shard, uint32_t p);
void paths_run_timers(struct queue_shard *shard);
void paths_reconfigure(struct queue_shard *shard);
void paths_sweep(struct queue_shard *shard);
void paths_free(struct queue_shard *shard);
/** Tell sources apart by their content, for the view in force. @return 0 or -ENOMEM */
int sources_hash(struct queue_shard *shard);
void route_release(struct route_entry *route);

/* ---- grant.c ---- */

void grants_turn(struct queue_shard *shard);
void loan_body_ready(struct loan *loan, int result);
void loan_free(struct loan *loan);
/** Its records are about to be appended: the room that was promised for them is free. */
void loan_redeem(struct loan *loan);
void loans_free(struct queue_shard *shard);
void slots_closed(struct queue_shard *shard, uint16_t worker, uint32_t number, uint32_t count);
uint32_t path_connections_max(const struct queue_shard *shard, const struct queue_path *path);

/* ---- outcome.c ---- */

void outcome_take(struct queue_shard *shard, uint16_t worker, struct delivery *delivery);
/** End a recipient that is in no list and has no delivery: bounce (class 5) or expiry. A notice
 * follows. */
void recipient_fail(struct queue_shard *shard, uint32_t r, bool expired);
/** Not to be tried before due_us. In no list before. */
void recipient_wait(struct queue_shard *shard, uint32_t r, uint64_t due_us);
/** Set what show and DSN say of the last attempt. */
void recipient_explain(struct queue_shard *shard, struct queue_recipient *recipient,
		       enum smtp_phase phase, uint16_t code, struct enhanced_code enhanced,
		       bool remote, const char *host, const char *reply);
/** A recipient in no list was removed by an operator. */
void recipient_remove(struct queue_shard *shard, uint32_t r);
/** A recipient in no list ends. @param entry filled in, to be recorded */
void recipient_end(struct queue_shard *shard, uint32_t r, enum recipient_state state,
		   struct record_entry *entry);
/** The present state of one that goes on. @param due_us wall clock */
void recipient_entry(const struct queue_shard *shard, uint32_t r, uint64_t due_us,
		     struct record_entry *entry);
/** Wall clock of a monotonic time. */
uint64_t wall_of(const struct queue_shard *shard, uint64_t mono_us);

/* ---- attempts.c ---- */

/** What a loan's delivery was. */
void attempt_of(const struct loan *loan, struct attempt *attempt);
/** Keep the loan's attempt. @return its index with one reference, or 0: it reached no host, or
 * memory is short, and the event goes without */
uint32_t attempt_keep(struct queue_shard *shard, const struct loan *loan);
static inline struct attempt *attempt_at(const struct queue_shard *shard, uint32_t a)
{
	return slab_at(&shard->attempts, a);
}
/** @param a or 0 @return a */
static inline uint32_t attempt_hold(struct queue_shard *shard, uint32_t a)
{
	if (a)
		attempt_at(shard, a)->references++;
	return a;
}
/** @param a or 0 */
void attempt_release(struct queue_shard *shard, uint32_t a);
void attempts_free(struct queue_shard *shard);

/* ---- ledger.c ---- */

void ledger_accept(struct queue_shard *shard, const struct queue_message *message);
/** A recipient reached a final state. */
void ledger_end(struct queue_shard *shard, enum recipient_state state);
/** A message ended: into the closed sums. @return its finish number */
uint64_t ledger_close(struct queue_shard *shard, uint32_t m);
/** Records of one or more messages, all in one batch; end writes the note when one is due. */
void records_begin(struct queue_shard *shard);
void records_end(struct queue_shard *shard);
/** Of records appended by others than records_append. */
void records_account(struct queue_shard *shard, size_t bytes);
/** Between two messages of a group: begin another when so many bytes more could outgrow a batch. */
void records_cut(struct queue_shard *shard, size_t bytes);
/** Bytes that the records of so many recipients of one message take in the spool, without texts. */
uint64_t records_bytes(unsigned count);
/**
 * Append what became of recipients of one message; when it ended, also that. What the spool does
 * not take now is kept, and appended as soon as there is room.
 * @param entries or NULL, memory being short: the whole state is appended later
 * @param recording its done and user are set; done is called when all of it is durable, or failed
 * @return 0; or negative errno, and then done is not called: the spool takes nothing any more
 */
int records_append(struct queue_shard *shard, uint32_t m, const struct record_entry *entries,
		   unsigned count, struct recording *recording);
/** Append what was kept. */
void records_turn(struct queue_shard *shard);
void ledger_audit(struct queue_shard *shard);

/* ---- notice.c ---- */

struct end_wait *end_wait_make(struct queue_shard *shard, uint32_t m, unsigned capacity);
/** @param attempt held, or 0: the wait has it from now on */
void end_wait_add(struct end_wait *wait, uint32_t r, uint32_t attempt);
void end_wait_free(struct end_wait *wait);
/** Append the records of recipients that ended, in the caller's group; then report them. Takes the
 * wait. */
void message_record(struct queue_shard *shard, struct end_wait *wait,
		    const struct record_entry *entries, unsigned count);
/** Look for recipients FAILING without a job. */
void jobs_find_missed(struct queue_shard *shard);
/** Recipients of the message became FAILING, or its delay notice is due. */
void job_request(struct queue_shard *shard, uint32_t m, uint8_t kinds);
void jobs_turn(struct queue_shard *shard);
/** The message's body could not be read: a job that waited for it holds it no more. */
void job_body_failed(struct queue_shard *shard, uint32_t m);
/** When jobs_turn next has something to do. */
uint64_t jobs_next(const struct queue_shard *shard);
void jobs_free(struct queue_shard *shard);
/** Tell the sender of deliveries, as NOTIFY asked; in the caller's record group, from the body in
 * memory. */
void notice_success(struct queue_shard *shard, uint32_t m);

/* ---- report.c: events ---- */

void report_reception(struct queue_shard *shard, struct commit *commit);
/** The loan's results, once durable. Frees the loan when all events are out. */
void report_loan(struct queue_shard *shard, struct loan *loan);
/** Recipients that ended without a delivery. Frees the wait when all events are out. */
void report_ends(struct queue_shard *shard, struct end_wait *wait);
void reports_flush(struct queue_shard *shard);

/* ---- recover.c ---- */

/** What is to be recorded of a recipient as it is now. @return false: nothing */
bool recipient_state_entry(const struct queue_shard *shard, uint32_t r, struct record_entry *entry);

/** Open the spool and rebuild the index. @param error at least 256 bytes @return 0 or negative
 * errno */
int shard_recover(struct queue_shard *shard, char *error);

/* ---- queue.c ---- */

void shard_send(struct queue_shard *shard, uint16_t worker, const struct record *record);
struct message_id shard_next_id(struct queue_shard *shard);

#endif
