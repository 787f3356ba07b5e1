/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/envelope.h"

#include <errno.h>
#include <string.h>

#define FIELD_HEADER 4u

static void put_u16(uint8_t *to, unsigned value)
{
	to[0] = (uint8_t)value;
	to[1] = (uint8_t)(value >> 8);
}

static uint16_t get_u16(const uint8_t *from)
{
	return (uint16_t)(from[0] | from[1] << 8);
}

int envelope_put(struct chunk_list *list, struct chunk_pool *pool, enum envelope_field field,
		 const void *value, size_t size)
{
	uint8_t header[FIELD_HEADER];

	if (size > UINT16_MAX)
		return -ENOBUFS;
	put_u16(header, field);
	put_u16(header + 2, (unsigned)size);
	if (chunk_list_append(list, pool, header, sizeof(header)) < 0)
		return -ENOBUFS;
	return size == 0 ? 0 : chunk_list_append(list, pool, value, size);
}

int envelope_put_text(struct chunk_list *list, struct chunk_pool *pool, enum envelope_field field,
		      const char *text)
{
	return envelope_put(list, pool, field, text, strlen(text));
}

int envelope_put_u64(struct chunk_list *list, struct chunk_pool *pool, enum envelope_field field,
		     uint64_t value)
{
	uint8_t octets[8];

	for (unsigned i = 0; i < 8; i++)
		octets[i] = (uint8_t)(value >> (8 * i));
	return envelope_put(list, pool, field, octets, sizeof(octets));
}

int envelope_next(struct envelope_reader *reader, struct envelope_value *value)
{
	size_t left = (size_t)(reader->end - reader->at);

	if (left == 0)
		return 0;
	if (left < FIELD_HEADER || left - FIELD_HEADER < get_u16(reader->at + 2))
		return -EBADMSG;
	value->field = get_u16(reader->at);
	value->size = get_u16(reader->at + 2);
	value->value = reader->at + FIELD_HEADER;
	reader->at += FIELD_HEADER + value->size;
	return 1;
}

uint64_t envelope_u64(const struct envelope_value *value)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < value->size && i < 8; i++)
		number |= (uint64_t)value->value[i] << (8 * i);
	return number;
}
