/* SPDX-License-Identifier: GPL-3.0-or-later */
/* See record.h. */
#include "control/queue/record.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define RECORD_VERSION 1

static void put16(uint8_t *to, uint16_t value)
{
	value = htole16(value);
	memcpy(to, &value, sizeof(value));
}

static void put32(uint8_t *to, uint32_t value)
{
	value = htole32(value);
	memcpy(to, &value, sizeof(value));
}

static void put64(uint8_t *to, uint64_t value)
{
	value = htole64(value);
	memcpy(to, &value, sizeof(value));
}

static uint16_t get16(const uint8_t *from)
{
	uint16_t value;

	memcpy(&value, from, sizeof(value));
	return le16toh(value);
}

static uint32_t get32(const uint8_t *from)
{
	uint32_t value;

	memcpy(&value, from, sizeof(value));
	return le32toh(value);
}

static uint64_t get64(const uint8_t *from)
{
	uint64_t value;

	memcpy(&value, from, sizeof(value));
	return le64toh(value);
}

void record_begin(struct record_writer *writer, void *data, size_t capacity, uint64_t time_us,
		  uint64_t finish)
{
	*writer = (struct record_writer){data, capacity, RECORD_STATE_HEADER, 0};
	memset(data, 0, RECORD_STATE_HEADER);
	writer->data[0] = RECORD_VERSION;
	put64(writer->data + 4, time_us);
	put64(writer->data + 12, finish);
}

bool record_put(struct record_writer *writer, const struct record_entry *entry)
{
	size_t text = entry->text_size < RECORD_TEXT_MAX ? entry->text_size : RECORD_TEXT_MAX;
	uint8_t *to = writer->data + writer->size;

	if (writer->capacity - writer->size < RECORD_ENTRY_FIXED + text ||
	    writer->entries == UINT16_MAX)
		return false;
	put16(to, (uint16_t)(RECORD_ENTRY_FIXED - 2 + text));
	put32(to + 2, entry->ordinal);
	to[6] = entry->result;
	to[7] = entry->class;
	to[8] = entry->phase;
	to[9] = entry->flags;
	put16(to + 10, entry->code);
	put16(to + 12, entry->subject);
	put16(to + 14, entry->detail);
	put16(to + 16, entry->attempts);
	put64(to + 18, entry->due_us);
	if (text)
		memcpy(to + RECORD_ENTRY_FIXED, entry->text, text);
	writer->size += RECORD_ENTRY_FIXED + text;
	put16(writer->data + 2, ++writer->entries);
	return true;
}

int record_open(struct record_reader *reader, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	if (size < RECORD_STATE_HEADER || bytes[0] != RECORD_VERSION)
		return -EBADMSG;
	*reader = (struct record_reader){
		.at = bytes + RECORD_STATE_HEADER,
		.end = bytes + size,
		.left = get16(bytes + 2),
		.time_us = get64(bytes + 4),
		.finish = get64(bytes + 12),
	};
	return 0;
}

int record_next(struct record_reader *reader, struct record_entry *entry)
{
	const uint8_t *at = reader->at;
	size_t size;

	if (reader->left == 0)
		return 0;
	if (reader->end - at < (ptrdiff_t)RECORD_ENTRY_FIXED)
		return -EBADMSG;
	size = (size_t)get16(at) + 2;
	if (size < RECORD_ENTRY_FIXED || size > (size_t)(reader->end - at))
		return -EBADMSG;
	*entry = (struct record_entry){
		.ordinal = get32(at + 2),
		.result = at[6],
		.class = at[7],
		.phase = at[8],
		.flags = at[9],
		.code = get16(at + 10),
		.subject = get16(at + 12),
		.detail = get16(at + 14),
		.attempts = get16(at + 16),
		.due_us = get64(at + 18),
		.text = (const char *)at + RECORD_ENTRY_FIXED,
		.text_size = size - RECORD_ENTRY_FIXED,
	};
	reader->at += size;
	reader->left--;
	return 1;
}

void record_note_write(const struct record_note *note, uint8_t data[RECORD_NOTE_SIZE])
{
	const uint64_t values[] = {
		note->finish,	   note->accepted,
		note->generated,   note->delivered,
		note->bounced,	   note->expired,
		note->removed,	   note->discarded,
		note->quarantined, note->possible_duplicates,
	};

	memset(data, 0, RECORD_NOTE_SIZE);
	data[0] = RECORD_VERSION;
	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		put64(data + 8 + 8 * i, values[i]);
}

int record_note_read(struct record_note *note, const void *data, size_t size)
{
	const uint8_t *at = data;

	if (size < RECORD_NOTE_SIZE || at[0] != RECORD_VERSION)
		return -EBADMSG;
	*note = (struct record_note){
		.finish = get64(at + 8),
		.accepted = get64(at + 16),
		.generated = get64(at + 24),
		.delivered = get64(at + 32),
		.bounced = get64(at + 40),
		.expired = get64(at + 48),
		.removed = get64(at + 56),
		.discarded = get64(at + 64),
		.quarantined = get64(at + 72),
		.possible_duplicates = get64(at + 80),
	};
	return 0;
}
