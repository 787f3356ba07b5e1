/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The spool on disk, format version 1. All numbers are little endian; all sizes in bytes unless
 * said otherwise.
 *
 *   file      seg-NNNNN: header block, batches …, header block (a copy). A file is a slot that is
 * used again and again; each use (a segment) has a sequence number and a random epoch. header    4
 * KiB: struct spool_segment_header, zeros; CRC32C over the whole block. The copy at the end is
 * written first, so that one of the two is always whole; the higher generation counts. A blank
 * block is a new file. batch     struct spool_batch_header, records, the last of which is END and
 * fills up to a multiple of 4 KiB. Batches lie back to back from offset 4096; what follows the last
 * one is of no meaning (zeros, or an earlier use). record    struct spool_record, then its data,
 * then zeros to a multiple of 8.
 *
 * What a CRC covers. record.crc: size, type, flags, batch number, data and padding, seeded with the
 * epoch, which nobody outside knows, so that a mail cannot contain a record. record.check: the
 * record's own header, so that a walk past a damaged record is safe. batch.headers_crc: all record
 * headers, so with their CRCs all data. batch.crc: the batch header. batch.previous_crc: the chain
 * to the batch before, over segments. So no byte from the first header to the last END is outside a
 * CRC.
 *
 * Records
 *   BEGIN      struct spool_begin, then bytes of the stream (envelope, then body), from its start
 *   PART       struct spool_part, then bytes of the stream, going on
 *   COMMIT     struct spool_commit: only this makes a message; with from_segment it is a copy, and
 * the message at from_segment, from_offset is no longer there STATE      struct spool_id, then the
 * queue's encoding FINISHED   struct spool_place: the message is over NOTE       the queue's
 * encoding START      struct spool_start, the first record of each run CLEAN_STOP struct
 * spool_start, the last record of a run that was ended in order LIVE_SET   struct spool_live_set,
 * then the offsets of messages: of the messages of that segment that begin in [from, to) only these
 * are left; FINISHED and COMMIT-from records before it are superfluous SEAL       nothing: the last
 * batch of the segment END        zeros: the rest of the batch
 *
 * A message lies in one segment. "Offset" in records is in units of 8 bytes from the start of the
 * file and names the BEGIN record.
 *
 * Upgrade rule. The segment header carries the version; a reader accepts its own version and the
 * one before, segment by segment, and writes its own into segments it begins. Record types and
 * flags may be added without a new version: a reader skips types that it does not know. Types and
 * the meaning of fields are never changed or used again.
 */
#ifndef MILLRACE_CONTROL_QUEUE_SPOOL_FORMAT_H
#define MILLRACE_CONTROL_QUEUE_SPOOL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPOOL_BLOCK	    4096u
#define SPOOL_MAGIC_SEGMENT UINT64_C(0x31544d474553524d) /* "MRSEGMT1" */
#define SPOOL_MAGIC_BATCH   UINT64_C(0x314843544142524d) /* "MRBATCH1" */
/** Batches begin here; the last block is the header's copy. */
#define SPOOL_DATA_START SPOOL_BLOCK

enum spool_segment_use {
	SPOOL_USE_FREE = 1,   /**< nothing in it counts */
	SPOOL_USE_ACTIVE = 2, /**< batches of this epoch count */
};

struct spool_segment_header {
	uint64_t magic;
	uint32_t version;
	uint32_t use;	     /**< enum spool_segment_use */
	uint64_t generation; /**< grows with each write of this file's header */
	uint64_t epoch;	     /**< random, of this use */
	uint64_t size;	     /**< of the file */
	uint32_t sequence;   /**< order of segments in the log; 0 when free */
	uint32_t node;
	uint32_t shard;
	uint32_t start_number; /**< of the run that wrote it */
	uint32_t crc;	       /**< of the whole block, with this field zero */
	uint32_t reserved;
};
_Static_assert(sizeof(struct spool_segment_header) == 64, "stored");

struct spool_batch_header {
	uint64_t magic;
	uint64_t epoch;
	uint64_t number;	   /**< over all segments, without gaps, from 1 */
	uint32_t segment;	   /**< sequence number */
	uint32_t previous_segment; /**< in which batch number-1 lies; 0: there is none */
	uint32_t previous_crc;
	uint32_t length;  /**< from this header to the end of END */
	uint32_t records; /**< END included */
	uint32_t headers_crc;
	uint32_t start_number;
	uint32_t reserved[2];
	uint32_t crc; /**< of all fields above */
};
_Static_assert(sizeof(struct spool_batch_header) == 64, "stored");

enum spool_record_type {
	SPOOL_END = 1,
	SPOOL_BEGIN = 2,
	SPOOL_PART = 3,
	SPOOL_COMMIT = 4,
	SPOOL_STATE = 5,
	SPOOL_FINISHED = 6,
	SPOOL_NOTE = 7,
	SPOOL_START = 8,
	SPOOL_CLEAN_STOP = 9,
	SPOOL_LIVE_SET = 10,
	SPOOL_SEAL = 11,
};

struct spool_record {
	uint32_t size; /**< of the data, without padding */
	uint8_t type;  /**< enum spool_record_type */
	uint8_t flags; /**< none yet */
	uint16_t check;
	uint32_t crc;
	uint32_t batch; /**< low 32 bits of the batch's number */
};
_Static_assert(sizeof(struct spool_record) == 16, "stored");

struct spool_id {
	uint64_t origin;
	uint64_t counter;
};

struct spool_begin {
	struct spool_id id;
	uint32_t flags;
	uint32_t envelope_size;
	uint64_t body_size;
};

struct spool_part {
	uint32_t begin;	 /**< offset of BEGIN */
	uint32_t number; /**< from 1 */
	uint64_t at;	 /**< where in the stream these bytes belong */
};

struct spool_commit {
	struct spool_id id;
	uint32_t begin;	       /**< offset of BEGIN */
	uint32_t from_segment; /**< sequence number; 0: not a copy */
	uint32_t from_offset;
	uint32_t reserved;
};

struct spool_place {
	struct spool_id id;
	uint32_t segment; /**< sequence number */
	uint32_t offset;
};

struct spool_start {
	uint32_t start_number;
	uint32_t version;
	uint64_t wall_us;
};

struct spool_live_set {
	uint32_t segment; /**< sequence number */
	uint32_t from;
	uint32_t to;
	uint32_t count;
	/* uint32_t offsets[count], ascending */
};
_Static_assert(sizeof(struct spool_begin) == 32 && sizeof(struct spool_part) == 16, "stored");
_Static_assert(sizeof(struct spool_commit) == 32 && sizeof(struct spool_place) == 24, "stored");
_Static_assert(sizeof(struct spool_start) == 16 && sizeof(struct spool_live_set) == 16, "stored");

static inline uint64_t spool_align(uint64_t size, uint64_t to)
{
	return (size + to - 1) & ~(to - 1);
}

/** Bytes that a record of this much data takes. */
static inline uint64_t spool_record_bytes(uint64_t size)
{
	return sizeof(struct spool_record) + spool_align(size, 8);
}

/** Fill in crc. @param block SPOOL_BLOCK bytes that begin with the header, zeros behind */
void spool_segment_header_seal(void *block);

enum spool_header_verdict {
	SPOOL_HEADER_VALID,
	SPOOL_HEADER_BLANK, /**< all zeros: a new file */
	SPOOL_HEADER_DAMAGED,
	SPOOL_HEADER_VERSION, /**< sound, but of a version that this program does not read */
};
enum spool_header_verdict spool_segment_header_check(const void *block,
						     struct spool_segment_header *header);

/** Fill in check, crc and the padding of the record at `record`, whose size and type are set and
 * data in place. */
void spool_record_seal(struct spool_record *record, uint64_t epoch, uint64_t batch);

enum spool_record_verdict {
	SPOOL_RECORD_VALID,
	SPOOL_RECORD_SHORT,   /**< the header is sound; the data goes on beyond what is here */
	SPOOL_RECORD_DATA,    /**< the header is sound, the data is damaged */
	SPOOL_RECORD_DAMAGED, /**< not a record's header, or beyond what is here */
};
/** @param available bytes from `at` on @param with_data false: the header alone */
enum spool_record_verdict spool_record_check(const void *at, uint64_t available, uint64_t epoch,
					     bool with_data);

void spool_batch_header_seal(struct spool_batch_header *header);

enum spool_batch_verdict {
	SPOOL_BATCH_VALID,
	SPOOL_BATCH_DAMAGED, /**< most likely once a batch of this segment */
	SPOOL_BATCH_NONE,    /**< something else */
};
/** Judge a batch header. @param number that is expected here, or 0 @param room bytes from it to the
 * segment's end */
enum spool_batch_verdict spool_batch_header_check(const struct spool_batch_header *header,
						  uint64_t epoch, uint32_t sequence,
						  uint64_t number, uint64_t room);
/** Check all records of a batch whose header is valid. @param batch header->length bytes */
bool spool_batch_check(const void *batch);

#endif
