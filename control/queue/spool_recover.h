/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the two halves of recovery share: spool_scan.c finds batches and judges what is wrong
 * between them, spool_recover.c makes live messages of their records. It lives during spool_open
 * only.
 */
#ifndef MILLRACE_CONTROL_QUEUE_SPOOL_RECOVER_H
#define MILLRACE_CONTROL_QUEUE_SPOOL_RECOVER_H

#include "control/queue/spool_internal.h"

/** How much is read at once. */
#define SCAN_WINDOW (4u << 20)

/** A message that a COMMIT made. */
struct known_message {
	struct message_id id;
	uint32_t handle; /**< 0: finished */
	uint32_t found;	 /**< in which segment, as an index into recovery->found */
	uint32_t offset; /**< of BEGIN, in 8 bytes */
	bool limbo;	 /**< a live set left it out: it was moved further on, or it is finished */
};

/** Which message began where in a segment; stale when the message says otherwise. */
struct placed_message {
	uint32_t offset;
	uint32_t known;
};

/** A message whose COMMIT has not been seen. */
struct open_message {
	struct open_message *next;
	uint32_t begin;
	uint32_t flags;
	uint32_t envelope_size;
	struct message_id id;
	uint64_t body_size;
	uint64_t got;	/**< bytes of the stream, without gaps */
	uint64_t bytes; /**< of its records */
	bool broken;
	uint8_t *envelope;
};

/** One active segment, in log order. */
struct found_segment {
	uint16_t slot;
	bool has_batches;
	/* Of its first sound batch. */
	uint64_t first_at;
	uint64_t first_number;
	uint32_t first_previous_segment;
	uint32_t first_previous_crc;
	struct placed_message *placed;
	uint32_t placed_count;
	uint32_t placed_room;
	struct open_message *open;
};

struct recovery {
	struct spool *spool;
	const struct spool_recovery *calls;
	struct spool_recovered *out;
	struct found_segment *found; /**< sorted by sequence number */
	uint32_t found_count;
	struct known_message *known;
	uint32_t known_count;
	uint32_t known_room;
	uint32_t *table;     /**< by hash of the id: index into known, plus 1 */
	uint32_t table_size; /**< a power of two, at least twice known_room */
	uint8_t *window;
	uint16_t window_slot;
	uint64_t window_at;
	uint64_t window_size;
	uint64_t window_room;
	/* The last sound batch of all. */
	uint64_t number;
	uint32_t crc;
	uint32_t sequence;
	bool sealed;	 /**< SEAL was among the batch's records */
	bool clean_stop; /**< CLEAN_STOP was the last record */
	int error;	 /**< out of memory */
};

/** Find the first sound batch of a segment. */
void scan_first(struct recovery *recovery, struct found_segment *found);
/** Hand all records of a segment that count to recover_record. */
void scan_segment(struct recovery *recovery, struct found_segment *found);
/** Judge a segment without any sound batch: was it never begun, is it torn, or corrupt? */
void scan_empty(struct recovery *recovery, struct found_segment *found);
/** Read `size` bytes at `offset`; unreadable blocks come as zeros. @return NULL past the segment's
 * end */
const uint8_t *scan_read(struct recovery *recovery, uint16_t slot, uint64_t offset, uint64_t size);

/** @param offset of the record in the file @param record sound */
void recover_record(struct recovery *recovery, struct found_segment *found, uint64_t offset,
		    const struct spool_record *record, uint64_t batch_number);

#endif
