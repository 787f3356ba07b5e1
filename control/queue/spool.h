/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The durable log of one queue shard (notes: reliability 1.5): segments of fixed size, batches with
 * CRC32C, group commit, recovery. It knows messages and recipient states only as records; what they
 * mean is the queue's.
 *
 * Owner: the shard's thread. One commit is in flight at a time; the next batch fills meanwhile.
 *
 * What must hold: I1 a completed append is recovered with identical bytes; I2 one that did not
 * complete is wholly there or wholly absent; I5 recovery is idempotent; I6 any flipped bit is
 * noticed; I7 free + live + quarantined = all segments.
 *
 * Format version and upgrade rule: the segment header carries the version; a reader accepts its own
 * version and the one before; record types may be added (unknown ones are skipped), never changed.
 */
#ifndef MILLRACE_CONTROL_QUEUE_SPOOL_H
#define MILLRACE_CONTROL_QUEUE_SPOOL_H

#include "dataplane/buf/chunk.h"
#include "dataplane/message.h"
#include "drivers/clock.h"
#include "drivers/disk/disk.h"
#include "drivers/random.h"

#define SPOOL_FORMAT_VERSION 1
/** The product's batch_bytes. */
#define SPOOL_BATCH_BYTES (256u << 10)

struct spool;

/**
 * The spool's name for a message; opaque to the queue, which keeps it in its index. It stays the
 * same when the message is copied into another segment, and is good for one run: recovery gives new
 * ones.
 */
struct spool_location {
	uint32_t handle; /**< index into the spool's table of live messages */
	uint32_t serial; /**< of the handle's use: a stale location is a programmer's error that is
			    noticed */
	uint64_t size; /**< bytes that the message occupies in its segment, record headers included
			*/
};

struct spool_settings {
	struct disk *disk;
	struct mr_random *random;
	uint32_t node;
	uint16_t shard;
	uint64_t segment_size;	   /**< 256 MiB in the product */
	uint32_t segments;	   /**< how many at most */
	uint32_t segments_initial; /**< made ahead at first start; more are made by housekeeping as
				      needed */
	uint32_t batch_bytes;	   /**< close a batch at this size: SPOOL_BATCH_BYTES */
	uint64_t batch_wait_us;	   /**< or at this age: 2 ms; 0 commits as soon as the one in flight
				      completes */
};

/**
 * What recovery finds, in log order. The queue rebuilds its index from these. Each message is
 * reported once and finished at most once; states of messages that are not known (any more) occur
 * and are to be ignored.
 */
struct spool_recovery {
	void *context;
	/** A complete message. @param envelope valid during the call */
	void (*message)(void *context, const struct message_id *id, uint32_t flags,
			const uint8_t *envelope, size_t envelope_size, uint64_t body_size,
			const struct spool_location *location);
	/** A state record of a message (queue's own encoding). */
	void (*state)(void *context, const struct message_id *id, const uint8_t *data, size_t size);
	/** The message is finished: nothing of it is needed any more. */
	void (*finished)(void *context, const struct message_id *id);
	/** A record of the queue that belongs to no message (ledger sums and the like). */
	void (*note)(void *context, const uint8_t *data, size_t size);
};

struct spool_recovered {
	uint64_t messages;
	uint64_t records;
	uint64_t bytes_read;
	uint64_t batches;
	uint32_t segments;
	uint32_t start_number;	   /**< of this start; larger than any before; 24 bits */
	uint32_t headers_damaged;  /**< segments that were read through the second copy of their
				      header, or none */
	uint32_t messages_damaged; /**< committed once, but some of their bytes are lost to
				      corruption: not reported */
	uint32_t corrupt_batches;  /**< damaged, followed by sound ones: salvaged around, segment
				      quarantined */
	bool torn_tail; /**< the newest batch was cut: an unclean stop, nothing acknowledged is lost
			 */
	bool clean_stop;
};

/**
 * Open or create, and recover. Blocks; before any listener is bound.
 * @param error at least 256 bytes @return NULL on error
 */
struct spool *spool_open(const struct spool_settings *settings,
			 const struct spool_recovery *recovery, const struct mr_now *now,
			 struct spool_recovered *recovered, char *error);
/** Write what is pending, mark a clean stop, close. */
void spool_close(struct spool *spool);
/** Free it without writing anything or calling anybody: what a crash leaves. Waits for the disk to
 * let go of it. */
void spool_abandon(struct spool *spool);

/** Called from spool_turn when everything of an append is durable, or failed. @param result 0 or
 * negative errno */
typedef void (*spool_done)(void *user, int result);

/** The largest message, envelope and body, that a segment takes. */
uint64_t spool_message_max(uint64_t segment_size, uint32_t batch_bytes);
/**
 * Append a message: envelope, then body, possibly over several batches; it counts only with its
 * commit record. The chunk lists are read until `done`. A message lies in one segment, whole.
 * @param flags enum message_flag; with MESSAGE_GENERATED it may use the reserve, as states may: the
 * queue must drain
 * @param location set at once; valid for reads after done(0)
 * @return 0; -ENOSPC below the reserve (10 % free, with hysteresis to 15 %); -EFBIG larger than
 * spool_message_max; -EROFS after a write error twice. `done` is called only when 0 was returned
 */
int spool_append_message(struct spool *spool, const struct message_id *id, uint32_t flags,
			 const struct chunk_list *envelope, const struct chunk_list *body,
			 struct spool_location *location, spool_done done, void *user);
/** Append a state record of a message. May use the reserve. @param done may be NULL @return 0,
 * -ENOSPC, -EROFS */
int spool_append_state(struct spool *spool, const struct message_id *id, const void *data,
		       size_t size, spool_done done, void *user);
/** Append "finished" and free its space. The location must not be used after this. */
int spool_append_finished(struct spool *spool, const struct message_id *id,
			  const struct spool_location *location, spool_done done, void *user);
/**
 * Append a record that belongs to no message: sums over what happened before it in the log. The
 * last one wins, and it is never lost: once there is a note, a segment is reclaimed only when a
 * newer note covers all its records, because what they said is forgotten then. So append one now
 * and then, or let spool_set_snapshots make them when needed.
 */
int spool_append_note(struct spool *spool, const void *data, size_t size, spool_done done,
		      void *user);
/**
 * Promise room for records to come (states, finished): messages leave it alone. Who hands out a
 * delivery asks first, so that its result can be recorded.
 * @return false: there is none
 */
bool spool_promise(struct spool *spool, uint64_t bytes);
/** The records are about to be appended, or will not come. */
void spool_redeem(struct spool *spool, uint64_t bytes);
/**
 * Should states of so many bytes be appended now? What is appended without asking is taken to the
 * last, and may leave too little for what frees space.
 * @param finishing with them the message ends
 */
bool spool_takes_records(const struct spool *spool, uint64_t bytes, bool finishing);
/**
 * Everything appended between begin and end lands in one batch, or in none (a DSN and the states
 * that caused it). The records between must fit in one batch (1 MiB less 1 KiB); else each `done`
 * gets -EMSGSIZE. A group in which an append was refused still commits the others: check before, or
 * undo by what was refused.
 */
void spool_group_begin(struct spool *spool);
void spool_group_end(struct spool *spool);

/** Called when a body was read. @param body the caller owns the chunks @param result 0, -EIO,
 * -EBADMSG (CRC), -ENOBUFS */
typedef void (*spool_body_read)(void *user, int result, struct chunk_list *body);
/** Read a message's body into chunks. @return 0 or -EAGAIN (too many reads) */
int spool_read_body(struct spool *spool, const struct message_id *id,
		    const struct spool_location *location, struct chunk_pool *chunks,
		    spool_body_read done, void *user);

/** Submit, reap, call back, reclaim. @return true when it did something */
bool spool_turn(struct spool *spool, const struct mr_now *now);
/** When spool_turn next has something to do on its own (batch_wait_us). */
uint64_t spool_next_deadline(const struct spool *spool);
/** The disk has something of the spool's in hand: turn it soon, or sleep in the disk's `wait`. */
bool spool_is_waiting(const struct spool *spool);
/** Accepting new messages: false under the space reserve or when read-only. */
bool spool_accepting(const struct spool *spool);

/**
 * Told when a live message was copied out of an old segment. Its location is still good: nothing
 * must be done. Set once after opening; optional.
 */
void spool_set_relocator(struct spool *spool,
			 void (*relocated)(void *context, const struct message_id *id,
					   const struct spool_location *to),
			 void *context);

/**
 * What reclaim needs in order to forget old records. Without it segments that hold states are
 * reclaimed in log order only, and live messages are not copied forward, so that one stuck message
 * can hold many segments. Both are called from spool_turn; set once after opening.
 * @param snapshot write the message's whole present state as one state record, which makes all
 * earlier ones superfluous, to `to` (at most max bytes). @return its size; 0: nothing to keep (it
 * is finished); more than max: it does not fit
 * @param note write the present note. @return its size, or 0: there is none
 */
void spool_set_snapshots(struct spool *spool,
			 size_t (*snapshot)(void *context, const struct message_id *id, void *to,
					    size_t max),
			 size_t (*note)(void *context, void *to, size_t max), void *context);

struct spool_statistics {
	uint64_t batches;
	uint64_t bytes;	       /**< payload */
	uint64_t bytes_padded; /**< as written */
	uint64_t appends;
	uint64_t write_errors;
	uint64_t read_errors;
	uint64_t moved; /**< messages copied forward */
	uint32_t segments_total;
	uint32_t segments_free;
	uint32_t segments_live;
	uint32_t segments_quarantined;
	uint32_t batch_records_max;
	uint64_t commit_latency_us_sum;
	uint64_t commit_latency_us_max;
	uint64_t commit_latency_buckets[16]; /**< bucket i: below 64 us << i */
	bool read_only;
	bool accepting;
	const char *method; /**< how commits are made durable: "io_uring RWF_DSYNC" … */
};
void spool_statistics(const struct spool *spool, struct spool_statistics *out);

#endif
