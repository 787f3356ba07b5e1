/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * State records, notes and envelopes as recovery reads them: whatever a damaged disk gives, reading
 * stays inside the bytes and ends; what was read whole and is written again reads the same.
 */
#include "control/queue/index.h"
#include "control/queue/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_states(const uint8_t *data, size_t size)
{
	static uint8_t again[1 << 17];
	struct record_reader reader;
	struct record_writer writer;
	struct record_entry entry;

	if (record_open(&reader, data, size) < 0)
		return;
	record_begin(&writer, again, sizeof(again), reader.time_us, reader.finish);
	while (record_next(&reader, &entry) > 0) {
		if (entry.text < (const char *)data ||
		    entry.text + entry.text_size > (const char *)data + size)
			abort();
		if (!record_put(&writer, &entry))
			break;
	}
	if (record_open(&reader, again, writer.size) < 0)
		abort();
	for (unsigned i = 0; i < writer.entries; i++) {
		if (record_next(&reader, &entry) != 1)
			abort();
	}
}

static void read_note(const uint8_t *data, size_t size)
{
	struct record_note note, same;
	uint8_t again[RECORD_NOTE_SIZE];

	if (record_note_read(&note, data, size) < 0)
		return;
	record_note_write(&note, again);
	if (record_note_read(&same, again, sizeof(again)) < 0 || memcmp(&note, &same, sizeof(note)))
		abort();
}

static void read_envelope(const uint8_t *data, size_t size)
{
	struct envelope envelope;
	size_t length = 0;

	if (envelope_read(&envelope, NULL, data, size) < 0)
		return;
	length += strlen(envelope.mail_from);
	for (uint32_t i = 0; i < envelope.recipient_count; i++)
		length += strlen(envelope.recipients[i].address);
	if (length > size)
		abort();
	envelope_release(&envelope);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_states(data, size);
	read_note(data, size);
	read_envelope(data, size);
	return 0;
}
