/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the files of the spool share: its segments, its live messages, its operations on their way
 * into the log.
 *
 *   spool.c          open, close, turn, statistics
 *   spool_append.c   operations: what the queue appends, in order
 *   spool_batch.c    batches: filling, committing, completing, rewriting after a write error
 *   spool_record.c   placing one record into a batch
 *   spool_segment.c  segments: headers, creation, admission, what may be forgotten
 *   spool_live.c     live messages and where they lie
 *   spool_read.c     reading a message back
 *   spool_clean.c    reclaim: copying forward, carrying states over, live sets
 *   spool_round.c    how often the cleaner goes round
 *   spool_scan.c     recovery: batches of one segment, torn or corrupt
 *   spool_recover.c  recovery: records to live messages, order of segments, where to go on
 *
 * Owner: the shard's thread. Memory: batches and readers once, operations and live messages as
 * needed.
 */
#ifndef MILLRACE_CONTROL_QUEUE_SPOOL_INTERNAL_H
#define MILLRACE_CONTROL_QUEUE_SPOOL_INTERNAL_H

#include "control/queue/slab.h"
#include "control/queue/spool.h"
#include "control/queue/spool_format.h"

#define SPOOL_BATCH_MAX	   (1u << 20)
#define SPOOL_SEGMENTS_MAX 4096u
#define SPOOL_READERS	   8u
#define SPOOL_MESSAGES_MAX (1u << 28)
/** Room that every batch keeps for SEAL and END. */
#define SPOOL_BATCH_SPARE (2 * sizeof(struct spool_record))
#define SPOOL_NO_SLOT	  UINT16_MAX
/** What a commit may take before the close of the spool gives up on it. */
#define SPOOL_CLOSE_WAIT_US (60 * US_PER_S)

/* ---- Segments ---- */

enum segment_state {
	SEGMENT_FREE,
	SEGMENT_PREPARING, /**< its header for the next use is being written */
	SEGMENT_READY,	   /**< the next one to be filled */
	SEGMENT_LIVE,	   /**< in the log */
	SEGMENT_FREEING,   /**< in the log until its header says that it is free */
};

struct segment {
	struct disk_file *file;
	uint64_t size;
	uint64_t generation; /**< of the header last written */
	uint64_t epoch;
	uint64_t end;	     /**< where the next batch goes */
	uint64_t last_batch; /**< number of the last batch in it; 0: none */
	uint64_t live_bytes;
	struct slab_list live; /**< struct live_message, in log order for those that began here */
	uint32_t sequence;
	uint16_t witness_of; /**< slot of an older one without SEAL, whose end only this one's first
				batch tells */
	uint32_t readers;    /**< reads in flight: it must not be used again */
	uint8_t state;	     /**< enum segment_state */
	bool sealed;	     /**< nothing more is added */
	bool quarantined;    /**< corrupt or on failing ground: read, never used again */
	bool has_states;     /**< holds states that are not superseded for sure */
	bool live_set_pending; /**< a live set of it is on its way */
	bool front_stale; /**< of the two headers, the one in front is torn: it is written first */
};

/* ---- Live messages ---- */

enum live_flag {
	LIVE_FINISHING = 1, /**< its FINISHED is on the way */
};

struct live_message {
	uint32_t offset; /**< of BEGIN, in 8 bytes */
	uint32_t serial;
	struct slab_link link; /**< in its segment's list */
	uint16_t slot;	       /**< SPOOL_NO_SLOT until it is committed */
	uint8_t flags;	       /**< enum live_flag */
	uint8_t reserved;
	uint32_t units; /**< of 8 bytes that it occupies */
};

/* ---- I/O: what a completion's user pointer names ---- */

enum spool_io_kind { IO_BATCH, IO_HEADER, IO_CREATE, IO_READ };

struct spool_io {
	enum spool_io_kind kind;
};

/* ---- Operations ---- */

enum operation_kind {
	OPERATION_MESSAGE,
	OPERATION_STATE,
	OPERATION_FINISHED,
	OPERATION_NOTE,
	OPERATION_START,
	OPERATION_CLEAN_STOP,
	OPERATION_LIVE_SET,
};

/** One append, from the call to its `done`. */
struct operation {
	struct operation *next;
	uint64_t serial; /**< order in the queue of small ones */
	enum operation_kind kind;
	uint32_t group_count; /**< of the first of a group: operations in it; else 0 */
	uint64_t group_bytes; /**< of the first of a group */
	struct message_id id;
	uint32_t flags;	 /**< message: enum message_flag */
	uint32_t handle; /**< message, finished */
	uint64_t bytes;	 /**< that its records take, in one batch */
	spool_done done;
	void *user;
	/* A message: from chunks, or (a copy) from `flat`, which holds envelope and body. */
	struct chunk_list envelope;
	struct chunk_list body;
	uint8_t *flat;
	uint32_t envelope_size;
	uint64_t body_size;
	bool big; /**< goes over several batches, beside the others */
	bool copy;
	bool cleaning;	 /**< a state of the cleaner's */
	bool cancelled;	 /**< a copy whose message was finished meanwhile: no COMMIT */
	uint64_t begin;	 /**< where BEGIN was placed, from the file's start; 0: not yet */
	uint16_t slot;	 /**< in which segment */
	uint16_t target; /**< live set: of which segment */
	bool more;	 /**< live set: another part follows */
	/* The others. */
	uint32_t size;
	uint8_t data[];
};

struct operation_list {
	struct operation *head;
	struct operation *tail;
};

void operation_push(struct operation_list *list, struct operation *operation);
struct operation *operation_pop(struct operation_list *list);
/** Put all of `front` before what is in `list`. */
void operation_prepend(struct operation_list *list, struct operation_list *front);

/* ---- Batches ---- */

struct batch {
	struct spool_io io;
	uint8_t *buffer; /**< spool->batch_max bytes */
	uint32_t used;
	uint32_t records;
	uint32_t headers_crc;
	uint32_t length; /**< once closed */
	uint32_t crc;	 /**< once closed */
	uint64_t number;
	uint64_t offset; /**< in the file */
	uint16_t slot;
	bool sealing;  /**< ends its segment */
	bool streamed; /**< the big message had its share */
	bool chased;   /**< opened while another was in flight: goes when that one is done */
	uint64_t opened_us;
	uint64_t submitted_us;
	struct operation_list operations; /**< that are over when this is durable */
};

/** A big message on its way over several batches. */
struct stream {
	struct operation *operation; /**< NULL: none */
	struct chunk_cursor cursor;  /**< in the envelope, then in the body */
	bool in_body;
	uint64_t placed; /**< bytes of the stream */
	uint32_t parts;
};

/** The header of one segment, being written: the copy first, or else the one that is torn, so that
 * one is sound. */
struct header_job {
	struct spool_io io;
	uint8_t *block;
	uint16_t slot; /**< SPOOL_NO_SLOT: none */
	bool second;   /**< the first of the two is written */
	bool freeing;
};

/* ---- Reading ---- */

struct reader {
	struct spool_io io;
	bool busy;
	bool in_flight;
	bool retried;
	bool begun;    /**< BEGIN was seen */
	bool at_batch; /**< `at` is where a batch begins */
	uint16_t slot;
	uint32_t begin;	 /**< offset of BEGIN, in 8 bytes; 0: the whole segment is walked */
	uint64_t at;	 /**< next byte of interest, in the file */
	uint64_t window; /**< where the buffer's bytes are from */
	uint64_t filled;
	uint8_t *buffer;
	uint64_t got; /**< bytes of the stream */
	uint64_t total;
	uint32_t envelope_size;
	struct message_id id;
	uint32_t flags;
	struct chunk_pool *chunks;
	struct chunk_list body;
	uint8_t *flat; /**< for a copy: envelope and body */
	spool_body_read done;
	void *user;
	/** Of a walk: each STATE record's message; false: stop for now. */
	bool (*state)(struct spool *spool, const struct message_id *id);
	void (*finished)(struct spool *spool, struct reader *reader, int result);
};

/* ---- Cleaning ---- */

enum clean_step { CLEAN_IDLE, CLEAN_MESSAGES, CLEAN_STATES, CLEAN_DRAIN };

struct cleaner {
	enum clean_step step;
	uint16_t slot;
	uint32_t handle;	/**< being copied; 0: none */
	uint32_t serial;	/**< its live message's, when the copy began */
	struct operation *copy; /**< its append, when it is on the way */
	bool placed; /**< COMMIT of the copy is in a batch: at slot and begin of `copy` */
	bool failed;
	bool stopped; /**< the spool closes: no new work */
	unsigned states_pending;
	struct reader *walk; /**< through the segment, for its states */
	bool walked;
	uint64_t fence; /**< what was appended before this is taken for granted: it must be durable
			 */
	uint64_t ready_us; /**< rate limit */
};

/** What the cleaner does between two looks at the whole. */
struct round {
	uint64_t number;  /**< rounds so far */
	uint32_t horizon; /**< sequence of the last segment that it may empty; 0: no round */
	bool failed;	  /**< the last one found no room, or could not read */
	uint64_t retry_us;
	uint64_t wait_us;
	uint64_t written;	    /**< bytes, by this one or the last */
	uint64_t superfluous;	    /**< bytes that became so since it began */
	struct message_id *carried; /**< whose states it wrote; 0: free */
	uint32_t carried_size;	    /**< a power of two, or 0 */
	uint32_t carried_count;
};

/* ---- The spool ---- */

struct spool {
	struct spool_settings settings;
	struct disk *disk;
	struct mr_now now;
	uint32_t start_number;

	struct segment *segments; /**< by slot */
	uint32_t segment_count;
	uint32_t free_count; /**< segments to be prepared */
	uint64_t *pins;	     /**< [slot][word]: segments whose messages it has tombstones of */
	uint32_t pin_words;
	uint16_t current; /**< SPOOL_NO_SLOT: none */
	uint16_t next;	  /**< PREPARING or READY; SPOOL_NO_SLOT: none */
	uint32_t last_sequence;
	uint64_t note_number; /**< batch of the last durable note; 0: there never was one */
	struct header_job header;
	struct spool_io create_io;
	bool creating;
	struct disk_file *created;
	char created_name[16];
	uint32_t name_next;
	uint64_t create_retry_us; /**< after ENOSPC */
	bool create_failed;
	bool reclaim_due; /**< something changed that may let a segment go */
	bool clean_due;	  /**< something changed that may give the cleaner work */
	bool accepting;

	struct slab live;
	uint32_t serial;

	struct operation_list fifo;    /**< what fits one batch, in order */
	struct operation_list streams; /**< big messages, in order */
	struct operation_list group;
	struct operation_list refused; /**< of a group that fits no batch: told in the next turn */
	unsigned group_depth;
	uint64_t queued_serial;	 /**< of the last small operation appended */
	uint64_t durable_serial; /**< of the last one that is durable */
	uint64_t queued_cost;	 /**< of operations that are in no batch yet */
	uint64_t promised;	 /**< bytes of records to come */
	struct stream stream;
	struct batch batches[2];
	struct batch *open;   /**< being filled, or NULL */
	struct batch *flying; /**< being written, or NULL */
	uint32_t batch_max;
	bool rolling;	    /**< the current segment is full: seal it */
	bool rewriting;	    /**< after a write error: one more chance */
	uint16_t abandoned; /**< the segment left without SEAL, until the next batch; or
			       SPOOL_NO_SLOT */
	bool read_only;
	/* The chain: what the next batch refers to. */
	uint64_t number;
	uint32_t chain_crc;
	uint32_t chain_segment;
	/* The same as of the last durable batch. */
	uint64_t durable_number;
	uint32_t durable_crc;
	uint32_t durable_segment;

	struct reader readers[SPOOL_READERS +
			      2]; /**< the last two are the cleaner's: a message, a walk */
	struct cleaner cleaner;
	struct round round;
	uint8_t *scratch; /**< for a snapshot: batch_max bytes, made at first use */
	void (*relocated)(void *context, const struct message_id *id,
			  const struct spool_location *to);
	void *relocated_context;
	size_t (*snapshot)(void *context, const struct message_id *id, void *to, size_t max);
	size_t (*note)(void *context, void *to, size_t max);
	void *snapshot_context;
	bool note_pending;

	struct spool_statistics statistics;
};

static inline struct segment *spool_segment(const struct spool *spool, uint16_t slot)
{
	return &spool->segments[slot];
}

static inline struct live_message *spool_live(const struct spool *spool, uint32_t handle)
{
	return slab_at(&spool->live, handle);
}

/** Where the header's copy begins. */
static inline uint64_t segment_limit(const struct segment *segment)
{
	return segment->size - SPOOL_BLOCK;
}

/* spool.c */
/** How large a batch may grow. */
uint32_t spool_batch_max(uint64_t segment_size, uint32_t batch_bytes);

/* spool_append.c */
/** What it may take of the free space: a big one may leave a part of a segment unused. */
static inline uint64_t operation_cost(const struct operation *operation)
{
	uint64_t bytes = operation->envelope_size + operation->body_size;

	return operation->big ? 2 * bytes : operation->bytes;
}

/** What room is asked for, and how much must stay free behind it, in sixteenths of a segment: less
 * and less, and one segment for live sets and the next start. */
enum spool_purpose {
	SPOOL_FOR_MESSAGE = 21, /**< and what was promised */
	SPOOL_FOR_PROMISE = 20, /**< likewise */
	SPOOL_FOR_RECORD = 19,	/**< what a batch wastes was not promised */
	SPOOL_FOR_CLEANING = 18,
	SPOOL_FOR_FINISH = 16, /**< records with which a message ends: they free space */
};
/** Would enough stay free after all that is queued, and this? */
bool spool_has_room(const struct spool *spool, enum spool_purpose purpose, uint64_t cost);
/** Put it behind all others. */
void operation_queue(struct spool *spool, struct operation *operation);
/** @return an operation of the given kind with room for data, or NULL */
struct operation *operation_new(enum operation_kind kind, size_t size, spool_done done, void *user);
void operation_free(struct operation *operation);
/** Append one of the spool's own. */
void spool_append_own(struct spool *spool, struct operation *operation);
/** Give up on everything that is not durable. */
void spool_fail_all(struct spool *spool, int result);
/** Free all operations, without a word. */
void spool_drop_all(struct spool *spool);
/** Tell the operations of groups that were too large. @return true when there were any */
bool spool_tell_refused(struct spool *spool);

/* spool_record.c */
/** Room that stays in the open batch for records. */
uint64_t batch_room(const struct spool *spool, const struct batch *batch);
/** Add a record of `size` bytes of data. @return where the data goes; seal with batch_record_end */
uint8_t *batch_record(struct batch *batch, enum spool_record_type type, uint32_t size);
void batch_record_end(struct spool *spool, struct batch *batch, uint8_t *data);
/** Place all records of an operation that fits. */
void batch_place(struct spool *spool, struct batch *batch, struct operation *operation);
/** Place the stream's next share. @return true when the message is whole */
bool batch_place_stream(struct spool *spool, struct batch *batch, uint64_t share);
/** Bytes that the rest of a stream takes in batches to come, at worst. */
uint64_t stream_need(const struct spool *spool, uint64_t bytes);

/* spool_batch.c */
/** Move operations into the open batch as far as it goes. */
void spool_fill(struct spool *spool);
/** Close and submit when it is time. @return true when it did */
bool spool_submit(struct spool *spool);
void spool_batch_done(struct spool *spool, struct batch *batch, int64_t result);
/** Nothing is on the way into the log. */
bool spool_is_quiet(const struct spool *spool);

/* spool_segment.c */
void segment_file_name(char name[16], uint32_t number);
/** Start what is due: the next segment's header, a file, a segment to be freed. @return true when
 * it did something */
bool spool_housekeep(struct spool *spool);
void spool_header_done(struct spool *spool, int64_t result);
void spool_create_done(struct spool *spool, int64_t result);
/** Make `next` the current segment. @return false when it is not ready */
bool spool_advance(struct spool *spool);
/** Free segments, counting those that can still be made. */
uint32_t spool_available(const struct spool *spool);
uint32_t spool_total(const struct spool *spool);
/** Free segments that new mail must leave: 10 %. */
uint32_t spool_reserve(const struct spool *spool);
void spool_update_accepting(struct spool *spool);
/** @return slot of the segment in the log with this sequence number, or SPOOL_NO_SLOT */
uint16_t spool_find_sequence(const struct spool *spool, uint32_t sequence);
void spool_pin(struct spool *spool, uint16_t holder, uint16_t target);
/** No segment needs the tombstones before `sequence` for the messages of `target` any more. */
void spool_unpin(struct spool *spool, uint16_t target, uint32_t sequence);
bool spool_is_pinned_by(const struct spool *spool, uint16_t holder, uint16_t target);
/** A segment of which nothing but pins, states or a note stand against forgetting it. */
bool segment_is_dead(const struct spool *spool, uint16_t slot);
/** States in it may matter to a live message. */
bool segment_states_matter(const struct spool *spool, uint16_t slot);
int spool_add_segment(struct spool *spool, struct disk_file *file, uint64_t size);
void spool_quarantine(struct spool *spool, uint16_t slot);
/** A free segment that may be prepared. */
void segment_set_free(struct spool *spool, uint16_t slot);

/* spool_live.c */
/** @return a handle that is nowhere yet, or 0 */
uint32_t live_new(struct spool *spool);
void live_place(struct spool *spool, uint32_t handle, uint16_t slot, uint64_t begin,
		uint64_t bytes);
/** Take it out of its segment, if it is in one. */
void live_unplace(struct spool *spool, uint32_t handle);
void live_free(struct spool *spool, uint32_t handle);

/* spool_read.c */
struct reader *reader_take(struct spool *spool, bool own);
/** Begin at a message, or at the start of a segment. @return 0 or -EAGAIN */
int reader_start(struct spool *spool, struct reader *reader, uint16_t slot, uint32_t begin,
		 uint64_t size);
void spool_read_done(struct spool *spool, struct reader *reader, int64_t result);
void reader_continue(struct spool *spool, struct reader *reader);
void reader_release(struct spool *spool, struct reader *reader);
bool spool_is_reading(const struct spool *spool);
int readers_init(struct spool *spool);
void readers_finish(struct spool *spool);

/* spool_clean.c */
bool spool_clean(struct spool *spool);
/** A FINISHED is about to be placed: where does the message lie by then? */
void cleaner_locate(struct spool *spool, uint32_t handle, uint16_t *slot, uint32_t *offset);
/** A copy's COMMIT is about to be placed. @return false: the message is over, do not */
bool cleaner_may_commit(struct spool *spool, struct operation *operation);
/** Bytes that the state takes which goes with a big copy's COMMIT. */
int64_t cleaner_state_room(struct spool *spool, struct operation *operation);
void cleaner_place_state(struct spool *spool, struct batch *batch, struct operation *operation);
void cleaner_unplaced(struct spool *spool, struct operation *operation);

/* spool_round.c */
/** A round is on, or one may gain something. */
bool round_may_begin(const struct spool *spool);
bool round_takes(const struct spool *spool, uint16_t slot);
/** A segment was chosen: begin a round, if none is on. */
void round_join(struct spool *spool);
/** No segment is left for it, or it failed. */
void round_end(struct spool *spool, bool failed);
/** Has this round appended the message's state? */
bool round_has_carried(const struct spool *spool, const struct message_id *id);
void round_carry(struct spool *spool, const struct message_id *id);
void round_finish(struct spool *spool);

/* spool_recover.c */
int spool_recover(struct spool *spool, const struct spool_recovery *recovery,
		  struct spool_recovered *recovered, char *error);

#endif
