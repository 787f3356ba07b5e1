/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/queue/spool_format.h"

#include "control/queue/spool.h"
#include "drivers/disk/crc32c.h"

#include <string.h>

static uint32_t seed_of(uint64_t epoch)
{
	return crc32c(0, &epoch, sizeof(epoch));
}

/* ---- Segment header ---- */

static uint32_t block_crc(const void *block)
{
	static const uint32_t zero;
	const uint8_t *bytes = block;
	size_t at = offsetof(struct spool_segment_header, crc);
	uint32_t crc = crc32c(0, bytes, at);

	crc = crc32c(crc, &zero, sizeof(zero));
	at += sizeof(zero);
	return crc32c(crc, bytes + at, SPOOL_BLOCK - at);
}

void spool_segment_header_seal(void *block)
{
	uint32_t crc = block_crc(block);

	memcpy((uint8_t *)block + offsetof(struct spool_segment_header, crc), &crc, sizeof(crc));
}

static bool is_blank(const uint8_t *block)
{
	return block[0] == 0 && memcmp(block, block + 1, SPOOL_BLOCK - 1) == 0;
}

enum spool_header_verdict spool_segment_header_check(const void *block,
						     struct spool_segment_header *header)
{
	if (is_blank(block))
		return SPOOL_HEADER_BLANK;
	memcpy(header, block, sizeof(*header));
	if (header->magic != SPOOL_MAGIC_SEGMENT || header->crc != block_crc(block))
		return SPOOL_HEADER_DAMAGED;
	if (header->version != SPOOL_FORMAT_VERSION)
		return SPOOL_HEADER_VERSION;
	return SPOOL_HEADER_VALID;
}

/* ---- Record ---- */

static uint32_t data_crc(const struct spool_record *record, uint64_t epoch)
{
	uint32_t crc = crc32c(seed_of(epoch), record, offsetof(struct spool_record, check));

	crc = crc32c(crc, &record->batch, sizeof(record->batch));
	return crc32c(crc, record + 1, spool_align(record->size, 8));
}

static uint16_t header_check(const struct spool_record *record, uint64_t epoch)
{
	uint32_t crc = crc32c(seed_of(epoch), record, offsetof(struct spool_record, check));

	crc = crc32c(crc, &record->crc, sizeof(record->crc) + sizeof(record->batch));
	return (uint16_t)(crc ^ crc >> 16);
}

void spool_record_seal(struct spool_record *record, uint64_t epoch, uint64_t batch)
{
	uint8_t *data = (uint8_t *)(record + 1);

	memset(data + record->size, 0, spool_align(record->size, 8) - record->size);
	record->batch = (uint32_t)batch;
	record->crc = data_crc(record, epoch);
	record->check = header_check(record, epoch);
}

enum spool_record_verdict spool_record_check(const void *at, uint64_t available, uint64_t epoch,
					     bool with_data)
{
	const struct spool_record *record = at;

	if (available < sizeof(*record))
		return SPOOL_RECORD_SHORT;
	if (record->check != header_check(record, epoch))
		return SPOOL_RECORD_DAMAGED;
	if (!with_data)
		return SPOOL_RECORD_VALID;
	if (spool_record_bytes(record->size) > available)
		return SPOOL_RECORD_SHORT;
	return record->crc == data_crc(record, epoch) ? SPOOL_RECORD_VALID : SPOOL_RECORD_DATA;
}

/* ---- Batch ---- */

static uint32_t batch_crc(const struct spool_batch_header *header)
{
	return crc32c(seed_of(header->epoch), header, offsetof(struct spool_batch_header, crc));
}

void spool_batch_header_seal(struct spool_batch_header *header)
{
	header->magic = SPOOL_MAGIC_BATCH;
	memset(header->reserved, 0, sizeof(header->reserved));
	header->crc = batch_crc(header);
}

enum spool_batch_verdict spool_batch_header_check(const struct spool_batch_header *header,
						  uint64_t epoch, uint32_t sequence,
						  uint64_t number, uint64_t room)
{
	/* One damaged field must not make a batch look like the end of the log. */
	unsigned likeness = (header->magic == SPOOL_MAGIC_BATCH) + (header->epoch == epoch) +
			    (header->segment == sequence) +
			    (number != 0 && header->number == number);

	if (header->magic == SPOOL_MAGIC_BATCH && header->epoch == epoch &&
	    header->segment == sequence && header->crc == batch_crc(header) &&
	    header->length >= SPOOL_BLOCK && header->length % SPOOL_BLOCK == 0 &&
	    header->length <= room)
		return SPOOL_BATCH_VALID;
	return likeness >= 2 ? SPOOL_BATCH_DAMAGED : SPOOL_BATCH_NONE;
}

bool spool_batch_check(const void *batch)
{
	const struct spool_batch_header *header = batch;
	const uint8_t *at = (const uint8_t *)(header + 1);
	const uint8_t *end = (const uint8_t *)batch + header->length;
	uint32_t headers_crc = 0;
	uint32_t records = 0;
	uint8_t type = 0;

	while (at < end) {
		const struct spool_record *record = (const struct spool_record *)at;

		if (spool_record_check(at, (uint64_t)(end - at), header->epoch, true) !=
			    SPOOL_RECORD_VALID ||
		    record->batch != (uint32_t)header->number)
			return false;
		headers_crc = crc32c(headers_crc, record, sizeof(*record));
		records++;
		type = record->type;
		at += spool_record_bytes(record->size);
	}
	return at == end && type == SPOOL_END && records == header->records &&
	       headers_crc == header->headers_crc;
}
