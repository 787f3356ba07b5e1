/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the queue writes into the spool beside messages: state records (what became of recipients)
 * and notes (ledger sums). Little endian, with a version; a reader skips what is longer than it
 * knows (the spool's upgrade rule: values are added, never renumbered).
 *
 *   state: version u8 = 1, reserved u8, entries u16, time u64 (wall, us), finish u64, entries
 *   entry: size u16 (what follows), ordinal u32, result u8, class u8, phase u8, flags u8, code u16,
 * subject u16, detail u16, attempts u16, due u64 (wall, us), text (the rest): host NUL reply note:
 * version u8 = 1, 7 reserved, then u64: finish, accepted, generated, delivered, bounced, expired,
 * removed, discarded, quarantined, possible_duplicates
 *
 * `finish` numbers the messages that ended, from 1, without gaps in what is durable: a note holds
 * the sums of all messages up to its number, a state record carries its message's number when it is
 * the last one. So the ledger is re-derived exactly wherever the log was cut.
 */
#ifndef MILLRACE_CONTROL_QUEUE_RECORD_H
#define MILLRACE_CONTROL_QUEUE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Stored: never renumber. */
enum record_result {
	RECORD_RESULT_WAITING = 1, /**< deferred until `due` */
	RECORD_RESULT_DELIVERED = 2,
	RECORD_RESULT_BOUNCED = 3,
	RECORD_RESULT_EXPIRED = 4,
	RECORD_RESULT_REMOVED = 5,
};

/** Stored: never renumber. */
enum record_flag {
	RECORD_FLAG_REMOTE = 1 << 0,  /**< the text is the peer's reply */
	RECORD_FLAG_DELAYED = 1 << 1, /**< the sender was told of the delay */
};

struct record_entry {
	uint32_t ordinal; /**< in the envelope, from 0 */
	uint8_t result;	  /**< enum record_result */
	uint8_t class;
	uint8_t phase; /**< enum smtp_phase */
	uint8_t flags; /**< enum record_flag */
	uint16_t code;
	uint16_t subject;
	uint16_t detail;
	uint16_t attempts;
	uint64_t due_us;  /**< wall clock; of RECORD_RESULT_WAITING */
	const char *text; /**< host NUL reply; not terminated */
	size_t text_size;
};

#define RECORD_STATE_HEADER 20u
#define RECORD_ENTRY_FIXED  26u
/** Longer texts are cut. */
#define RECORD_TEXT_MAX	 600u
#define RECORD_ENTRY_MAX (RECORD_ENTRY_FIXED + RECORD_TEXT_MAX)

/** Builds a state record in memory of the caller's. */
struct record_writer {
	uint8_t *data;
	size_t capacity;
	size_t size;
	uint16_t entries;
};

void record_begin(struct record_writer *writer, void *data, size_t capacity, uint64_t time_us,
		  uint64_t finish);
/** @return false when it does not fit, and then nothing has changed */
bool record_put(struct record_writer *writer, const struct record_entry *entry);

struct record_reader {
	const uint8_t *at;
	const uint8_t *end;
	uint16_t left;
	uint64_t time_us;
	uint64_t finish; /**< 0: the message goes on */
};

/** @return 0 or -EBADMSG */
int record_open(struct record_reader *reader, const void *data, size_t size);
/** @return 1 when *entry is the next, 0 at the end, -EBADMSG when torn */
int record_next(struct record_reader *reader, struct record_entry *entry);

/** Sums in recipients, of messages that ended. */
struct record_note {
	uint64_t finish;
	uint64_t accepted, generated;
	uint64_t delivered, bounced, expired, removed, discarded, quarantined;
	uint64_t possible_duplicates;
};

#define RECORD_NOTE_SIZE 88u

void record_note_write(const struct record_note *note, uint8_t data[RECORD_NOTE_SIZE]);
/** @return 0 or -EBADMSG */
int record_note_read(struct record_note *note, const void *data, size_t size);

#endif
