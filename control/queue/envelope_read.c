/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reading an envelope into pointers: the fields are copied once and their texts terminated in place
 * (the byte after a value is the next field's header, which has been read by then). See index.h.
 */
#include "control/queue/index.h"

#include "dataplane/envelope.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char **text_field(struct envelope *envelope, uint16_t field)
{
	switch (field) {
	case ENVELOPE_MAIL_FROM:
		return &envelope->mail_from;
	case ENVELOPE_ENVID:
		return &envelope->envid;
	case ENVELOPE_LISTENER:
		return &envelope->listener;
	case ENVELOPE_HELO:
		return &envelope->helo;
	case ENVELOPE_AUTH_USER:
		return &envelope->auth_user;
	case ENVELOPE_TLS:
		return &envelope->tls;
	case ENVELOPE_TENANT:
		return &envelope->tenant;
	case ENVELOPE_CAMPAIGN:
		return &envelope->campaign;
	case ENVELOPE_POOL:
		return &envelope->pool;
	case ENVELOPE_MESSAGE_ID:
		return &envelope->message_id;
	case ENVELOPE_PROTOCOL:
		return &envelope->protocol;
	}
	return NULL;
}

static void take_field(struct envelope *envelope, const struct envelope_value *value)
{
	const char **text = text_field(envelope, value->field);
	struct envelope_recipient *last =
		envelope->recipient_count ? &envelope->recipients[envelope->recipient_count - 1]
					  : NULL;

	if (text) {
		*text = (const char *)value->value;
		return;
	}
	switch (value->field) {
	case ENVELOPE_RECEIVED_AT:
		envelope->received_us = envelope_u64(value);
		break;
	case ENVELOPE_SESSION:
		envelope->session = envelope_u64(value);
		break;
	case ENVELOPE_HEADER_SIZE:
		envelope->header_size = (uint32_t)envelope_u64(value);
		break;
	case ENVELOPE_PEER:
		if (value->size >= sizeof(envelope->peer)) {
			memcpy(&envelope->peer, value->value, sizeof(envelope->peer));
			envelope->has_peer = true;
		}
		break;
	case ENVELOPE_RECIPIENT:
		envelope->recipients[envelope->recipient_count++].address =
			(const char *)value->value;
		break;
	case ENVELOPE_ORCPT:
		if (last)
			last->orcpt = (const char *)value->value;
		break;
	case ENVELOPE_NOTIFY:
		if (last)
			last->notify = (uint8_t)envelope_u64(value);
		break;
	}
}

/** @return the number of recipients, or -EBADMSG */
static int64_t count_recipients(const uint8_t *bytes, size_t size)
{
	struct envelope_reader reader = {bytes, bytes + size};
	struct envelope_value value;
	int64_t recipients = 0;
	int more;

	while ((more = envelope_next(&reader, &value)) > 0) {
		/* Texts must not end early: what is stored and what is sent would differ. */
		if ((value.field == ENVELOPE_RECIPIENT || value.field == ENVELOPE_MAIL_FROM) &&
		    memchr(value.value, '\0', value.size))
			return -EBADMSG;
		recipients += value.field == ENVELOPE_RECIPIENT;
	}
	return more < 0 ? more : recipients;
}

static int envelope_parse(struct envelope *envelope, uint8_t *bytes, size_t size)
{
	struct envelope_reader reader = {bytes, bytes + size};
	struct envelope_value value;
	uint8_t *end = NULL;
	int more;

	while ((more = envelope_next(&reader, &value)) > 0) {
		/* The header behind the value before has been read: its place can hold that value's
		 * end. */
		if (end)
			*end = '\0';
		end = bytes + (value.value - bytes) + value.size;
		take_field(envelope, &value);
	}
	if (end)
		*end = '\0';
	return more < 0 || !envelope->mail_from ? -EBADMSG : 0;
}

int envelope_read(struct envelope *envelope, const struct chunk_list *list, const uint8_t *bytes,
		  size_t size)
{
	int64_t recipients;
	uint8_t *copy;
	int result;

	*envelope = (struct envelope){0};
	if (list)
		size = list->size;
	copy = malloc(size + 1);
	if (!copy)
		return -ENOMEM;
	envelope->memory = copy;
	if (list) {
		struct chunk_cursor cursor = chunk_list_begin(list);

		size = chunk_cursor_read(&cursor, copy, size);
	} else {
		memcpy(copy, bytes, size);
	}
	recipients = count_recipients(copy, size);
	result = -EBADMSG;
	if (recipients <= 0 || recipients > MESSAGE_RECIPIENTS_MAX)
		goto fail;
	result = -ENOMEM;
	envelope->recipients = calloc((size_t)recipients, sizeof(*envelope->recipients));
	if (!envelope->recipients)
		goto fail;
	result = envelope_parse(envelope, copy, size);
	if (result == 0)
		return 0;
fail:
	envelope_release(envelope);
	return result;
}

void envelope_release(struct envelope *envelope)
{
	free(envelope->recipients);
	free(envelope->memory);
	*envelope = (struct envelope){0};
}
