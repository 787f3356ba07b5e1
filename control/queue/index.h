/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The index: every message and recipient of a shard that has not ended, in memory alone; rebuilt
 * from the spool at start. Messages are found by id; recipients hang on their message in the order
 * of the envelope, and in one more list that says what they wait for.
 *
 * Owner: the shard's thread. Memory: slabs with 32-bit indices, one block of text a message, shared
 * texts. What must hold: a recipient has exactly one terminal state, and it never leaves it (I3, I4
 * of the spool's notes).
 */
#ifndef MILLRACE_CONTROL_QUEUE_INDEX_H
#define MILLRACE_CONTROL_QUEUE_INDEX_H

#include "control/queue/schedule.h"
#include "control/queue/slab.h"
#include "control/queue/spool.h"
#include "control/queue/table.h"
#include "control/queue/text.h"
#include "dataplane/message.h"

/** What a recipient waits for. X(name, text for people) */
#define RECIPIENT_STATES(X)                        \
	X(FREE, "free")                            \
	X(COMMITTING, "being made durable")        \
	X(ROUTING, "waiting for its route")        \
	X(READY, "ready")                          \
	X(LOANED, "being delivered")               \
	X(WAITING, "waiting for its next attempt") \
	X(FAILING, "failed, notice being made")    \
	X(DELIVERED, "delivered")                  \
	X(BOUNCED, "bounced")                      \
	X(EXPIRED, "expired")                      \
	X(REMOVED, "removed")

enum recipient_state {
#define X(name, text) RECIPIENT_##name,
	RECIPIENT_STATES(X)
#undef X
		RECIPIENT_STATE_COUNT
};
const char *recipient_state_name(enum recipient_state state);

static inline bool recipient_is_final(uint8_t state)
{
	return state >= RECIPIENT_DELIVERED;
}

enum recipient_flag {
	RECIPIENT_HAS_ORCPT = 1 << 0,
	RECIPIENT_REMOTE = 1 << 1,     /**< the reason is the peer's reply */
	RECIPIENT_DELAY_TOLD = 1 << 2, /**< a delay notice was made */
	RECIPIENT_EXPIRES = 1 << 3,    /**< FAILING: ends as EXPIRED */
	RECIPIENT_REMOVE = 1 << 4,     /**< to be removed when its delivery comes back */
	RECIPIENT_ATTEMPTED = 1 << 5,  /**< its first attempt has ended */
	RECIPIENT_RELAYED = 1 << 6,    /**< delivered; a success notice is due */
};

struct queue_recipient {
	uint32_t message;
	uint32_t next; /**< of the message, in the order of the envelope */
	uint32_t domain;
	uint32_t path; /**< READY and LOANED: where */
	union {
		/** READY: in the path's list; ROUTING: the domain's; WAITING: the wheel. */
		struct schedule_link timer;
		/** FAILING: the attempt that it failed in, in shard->attempts; 0: none. */
		uint32_t attempt;
	};
	uint32_t text;	      /**< offset of its address in the message's block; then its ORCPT */
	uint32_t reason;      /**< text: host NUL reply, of the last attempt */
	uint32_t attempted_s; /**< wall clock, of the last attempt */
	uint16_t ordinal;     /**< in the envelope */
	uint16_t attempts;
	uint16_t code;
	uint16_t subject;
	uint16_t detail;
	uint8_t class;
	uint8_t state; /**< enum recipient_state */
	uint8_t flags; /**< enum recipient_flag */
	uint8_t notify;
	uint8_t phase; /**< enum smtp_phase */
	uint8_t reserved;
};
_Static_assert(sizeof(struct queue_recipient) == 56, "ten million of them");
#define RECIPIENT_LINK offsetof(struct queue_recipient, timer.link)

/** Recipients a message may have: the states of all fit into one batch of the spool. */
#define MESSAGE_RECIPIENTS_MAX 32768u

enum message_mark {
	MESSAGE_DURABLE = 1 << 0,  /**< committed */
	MESSAGE_FINISHED = 1 << 1, /**< its last recipient ended */
	MESSAGE_TIMED = 1 << 2,	   /**< on the wheel: delay notice or expiry */
	MESSAGE_PAST = 1 << 3,	   /**< its time is over: no more attempts */
	MESSAGE_NAMED = 1 << 4,	   /**< its id is taken */
};

struct queue_message {
	struct message_id id;
	struct spool_location location;
	uint64_t created_us; /**< wall clock */
	int64_t born_us;     /**< monotonic; before the start of this process: may be negative */
	char *block; /**< sender NUL envid NUL, then address NUL [orcpt NUL] of each recipient */
	uint64_t body_size;
	uint32_t flags; /**< enum message_flag */
	uint32_t header_size;
	uint32_t class; /**< text: enum class_field, each ended by NUL */
	uint32_t first; /**< recipient */
	uint32_t recipients;
	uint32_t live;	      /**< not final */
	uint32_t unattempted; /**< live, and the first attempt has not ended */
	uint32_t body;	      /**< in memory; 0: on disk alone */
	uint32_t job;	      /**< notice being made; 0: none */
	struct schedule_link timer;
	uint16_t references; /**< deliveries, jobs and records under way */
	uint8_t marks;	     /**< enum message_mark */
	uint8_t reserved;
};
_Static_assert(sizeof(struct queue_message) == 120, "millions of them");

/** Fields of queue_message.class. */
enum class_field {
	CLASS_TENANT,
	CLASS_CAMPAIGN,
	CLASS_POOL,
	CLASS_LISTENER,
	CLASS_AUTH_USER,
	CLASS_FIELDS
};

struct queue_index {
	struct slab messages;
	struct slab recipients;
	struct table by_id;
	struct text_pool texts;
	struct schedule due;	   /**< recipients WAITING */
	struct schedule deadlines; /**< messages: delay notice, expiry */
	uint64_t seed;
	uint64_t block_bytes;
	uint64_t states[RECIPIENT_STATE_COUNT]; /**< recipients of durable messages, by state */
};

/** @return 0 or -ENOMEM */
int index_init(struct queue_index *index, uint64_t messages_max, uint64_t recipients_max,
	       uint64_t seed, uint64_t now_us);
void index_finish(struct queue_index *index);

static inline struct queue_message *index_message(const struct queue_index *index, uint32_t m)
{
	return slab_at(&index->messages, m);
}

static inline struct queue_recipient *index_recipient(const struct queue_index *index, uint32_t r)
{
	return slab_at(&index->recipients, r);
}

/** An envelope with its texts terminated; see envelope_read. */
struct envelope_recipient {
	const char *address;
	const char *orcpt; /**< or NULL */
	uint8_t notify;
};

struct envelope {
	uint64_t received_us; /**< wall clock */
	uint64_t session;
	uint32_t header_size;
	const char *mail_from;
	const char *envid; /**< or NULL */
	const char *listener, *helo, *auth_user, *tls, *tenant, *campaign, *pool, *message_id,
		*protocol;
	struct ip_address peer;
	bool has_peer;
	uint32_t recipient_count;
	struct envelope_recipient *recipients;
	void *memory;
};

/**
 * Read an encoded envelope (dataplane/envelope.h). The bytes are copied.
 * @return 0; -EBADMSG when torn, without sender or without recipients; -ENOMEM
 */
int envelope_read(struct envelope *envelope, const struct chunk_list *list, const uint8_t *bytes,
		  size_t size);
void envelope_release(struct envelope *envelope);

/**
 * Put a message into the index: recipients COMMITTING, in no list; not yet found by its id.
 * @return its index, or 0 when a table is full or memory is short
 */
uint32_t index_insert(struct queue_index *index, const struct message_id *id, uint32_t flags,
		      uint64_t body_size, const struct envelope *envelope);
/** Take its id, before it is committed: what is durable must not fail any more.
 * @return 0; -ENOMEM; -EEXIST: an id is never used twice (DESIGN.md, decision 4) */
int index_name(struct queue_index *index, uint32_t m);
/** It is durable: found by its id and counted from now on. */
void index_publish(struct queue_index *index, uint32_t m);
/** Take it out with its recipients, which are in no list. */
void index_remove(struct queue_index *index, uint32_t m);
/** @return the index of a durable message, or 0 */
uint32_t index_find(const struct queue_index *index, const struct message_id *id);
/** Change a recipient's state and the counts. Lists are the caller's. */
void index_set_state(struct queue_index *index, uint32_t r, enum recipient_state state);

const char *index_sender(const struct queue_message *message);
/** @return xtext as received, or NULL */
const char *index_envid(const struct queue_message *message);
const char *index_address(const struct queue_message *message,
			  const struct queue_recipient *recipient);
const char *index_orcpt(const struct queue_message *message,
			const struct queue_recipient *recipient);
const char *index_class(const struct queue_index *index, const struct queue_message *message,
			enum class_field field);
/** @param host or NULL @return the reply of the last attempt */
const char *index_reason(const struct queue_index *index, const struct queue_recipient *recipient,
			 const char **host);
void index_set_reason(struct queue_index *index, struct queue_recipient *recipient,
		      const char *host, const char *reply);
uint64_t index_memory(const struct queue_index *index);

/** Count the recipients of durable messages by looking at each; the audit of the ledger. */
void index_count(const struct queue_index *index, uint64_t states[RECIPIENT_STATE_COUNT]);

#endif
