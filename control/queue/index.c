/* SPDX-License-Identifier: GPL-3.0-or-later */
/* See index.h. */
#include "control/queue/index.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/** Waiting recipients and message deadlines need no finer clock than 131 ms. */
#define TICK_SHIFT 17

const char *recipient_state_name(enum recipient_state state)
{
	static const char *const names[] = {
#define X(name, text) text,
		RECIPIENT_STATES(X)
#undef X
	};

	return (unsigned)state < RECIPIENT_STATE_COUNT ? names[state] : "?";
}

static bool id_equal(const void *context, uint32_t m, const void *key)
{
	const struct queue_message *message = slab_at(context, m);

	return !memcmp(&message->id, key, sizeof(message->id));
}

int index_init(struct queue_index *index, uint64_t messages_max, uint64_t recipients_max,
	       uint64_t seed, uint64_t now_us)
{
	const uint64_t limit = (UINT64_C(1) << 31) - SLAB_BLOCK;
	uint32_t messages = (uint32_t)(messages_max < limit ? messages_max : limit);
	uint32_t recipients = (uint32_t)(recipients_max < limit ? recipients_max : limit);

	memset(index, 0, sizeof(*index));
	index->seed = seed;
	if (slab_init(&index->messages, sizeof(struct queue_message), messages) < 0 ||
	    slab_init(&index->recipients, sizeof(struct queue_recipient), recipients) < 0 ||
	    table_init(&index->by_id, id_equal, &index->messages) < 0 ||
	    text_pool_init(&index->texts, recipients + 1024, seed) < 0) {
		index_finish(index);
		return -ENOMEM;
	}
	schedule_init(&index->due, &index->recipients, offsetof(struct queue_recipient, timer),
		      TICK_SHIFT, now_us);
	schedule_init(&index->deadlines, &index->messages, offsetof(struct queue_message, timer),
		      TICK_SHIFT, now_us);
	return 0;
}

void index_finish(struct queue_index *index)
{
	for (uint32_t m = 1; index->messages.fresh && m < index->messages.fresh; m++)
		free(index_message(index, m)->block);
	text_pool_finish(&index->texts);
	table_finish(&index->by_id);
	slab_finish(&index->recipients);
	slab_finish(&index->messages);
}

static uint32_t class_make(struct queue_index *index, const struct envelope *envelope)
{
	const char *const fields[CLASS_FIELDS] = {envelope->tenant, envelope->campaign,
						  envelope->pool, envelope->listener,
						  envelope->auth_user};
	char text[1280];
	size_t size = 0;

	for (unsigned i = 0; i < CLASS_FIELDS; i++) {
		size_t length = fields[i] ? strnlen(fields[i], 255) : 0;

		if (length)
			memcpy(text + size, fields[i], length);
		size += length;
		text[size++] = '\0';
	}
	return text_acquire(&index->texts, text, size);
}

static char *block_make(const struct envelope *envelope, size_t *size)
{
	size_t total = strlen(envelope->mail_from) + 2;
	char *block, *to;

	if (envelope->envid)
		total += strlen(envelope->envid);
	for (uint32_t i = 0; i < envelope->recipient_count; i++) {
		total += strlen(envelope->recipients[i].address) + 1;
		if (envelope->recipients[i].orcpt)
			total += strlen(envelope->recipients[i].orcpt) + 1;
	}
	block = malloc(total);
	if (!block)
		return NULL;
	to = stpcpy(block, envelope->mail_from) + 1;
	*to = '\0';
	if (envelope->envid)
		strcpy(to, envelope->envid);
	*size = total;
	return block;
}

static void recipient_fill(struct queue_recipient *recipient, uint32_t m, uint32_t ordinal,
			   const struct envelope_recipient *from, char *block, size_t *offset)
{
	recipient->message = m;
	recipient->ordinal = (uint16_t)ordinal;
	recipient->notify = from->notify;
	recipient->state = RECIPIENT_COMMITTING;
	recipient->text = (uint32_t)*offset;
	*offset = (size_t)(stpcpy(block + *offset, from->address) + 1 - block);
	if (from->orcpt) {
		recipient->flags |= RECIPIENT_HAS_ORCPT;
		*offset = (size_t)(stpcpy(block + *offset, from->orcpt) + 1 - block);
	}
}

uint32_t index_insert(struct queue_index *index, const struct message_id *id, uint32_t flags,
		      uint64_t body_size, const struct envelope *envelope)
{
	uint32_t m = slab_alloc(&index->messages);
	uint32_t *link;
	struct queue_message *message;
	size_t offset, size = 0;

	if (!m)
		return 0;
	message = index_message(index, m);
	message->block = block_make(envelope, &size);
	if (!message->block) {
		slab_free(&index->messages, m);
		return 0;
	}
	index->block_bytes += size;
	message->id = *id;
	message->created_us = envelope->received_us;
	message->body_size = body_size;
	message->flags = flags;
	message->header_size = envelope->header_size;
	message->class = class_make(index, envelope);
	offset = strlen(message->block) + 1;
	offset += strlen(message->block + offset) + 1;
	link = &message->first;
	for (uint32_t i = 0; i < envelope->recipient_count; i++) {
		uint32_t r = slab_alloc(&index->recipients);

		if (!r) {
			index_remove(index, m);
			return 0;
		}
		recipient_fill(index_recipient(index, r), m, i, &envelope->recipients[i],
			       message->block, &offset);
		*link = r;
		link = &index_recipient(index, r)->next;
		message->recipients++;
	}
	message->live = message->unattempted = message->recipients;
	return m;
}

static uint64_t id_hash(const struct queue_index *index, const struct message_id *id)
{
	return table_hash(index->seed, id, sizeof(*id));
}

int index_name(struct queue_index *index, uint32_t m)
{
	struct queue_message *message = index_message(index, m);
	uint64_t hash = id_hash(index, &message->id);

	if (table_find(&index->by_id, hash, &message->id))
		return -EEXIST;
	if (table_insert(&index->by_id, hash, m) < 0)
		return -ENOMEM;
	message->marks |= MESSAGE_NAMED;
	return 0;
}

void index_publish(struct queue_index *index, uint32_t m)
{
	struct queue_message *message = index_message(index, m);

	assert(message->marks & MESSAGE_NAMED);
	message->marks |= MESSAGE_DURABLE;
	index->states[RECIPIENT_COMMITTING] += message->recipients;
}

void index_remove(struct queue_index *index, uint32_t m)
{
	struct queue_message *message = index_message(index, m);
	uint32_t r, next;

	if (message->marks & MESSAGE_NAMED)
		table_remove(&index->by_id, id_hash(index, &message->id), m);
	if (message->marks & MESSAGE_TIMED)
		schedule_remove(&index->deadlines, m);
	for (r = message->first; r; r = next) {
		struct queue_recipient *recipient = index_recipient(index, r);

		next = recipient->next;
		if (message->marks & MESSAGE_DURABLE)
			index->states[recipient->state]--;
		text_release(&index->texts, recipient->reason);
		slab_free(&index->recipients, r);
	}
	text_release(&index->texts, message->class);
	free(message->block);
	slab_free(&index->messages, m);
}

uint32_t index_find(const struct queue_index *index, const struct message_id *id)
{
	uint32_t m = table_find(&index->by_id, id_hash(index, id), id);

	return m && index_message(index, m)->marks & MESSAGE_DURABLE ? m : 0;
}

void index_set_state(struct queue_index *index, uint32_t r, enum recipient_state state)
{
	struct queue_recipient *recipient = index_recipient(index, r);
	struct queue_message *message = index_message(index, recipient->message);

	assert(!recipient_is_final(recipient->state));
	if (message->marks & MESSAGE_DURABLE) {
		index->states[recipient->state]--;
		index->states[state]++;
	}
	recipient->state = (uint8_t)state;
	if (recipient_is_final(state)) {
		message->live--;
		if (!(recipient->flags & RECIPIENT_ATTEMPTED)) {
			recipient->flags |= RECIPIENT_ATTEMPTED;
			message->unattempted--;
		}
	}
}

const char *index_sender(const struct queue_message *message)
{
	return message->block;
}

const char *index_envid(const struct queue_message *message)
{
	const char *envid = message->block + strlen(message->block) + 1;

	return *envid ? envid : NULL;
}

const char *index_address(const struct queue_message *message,
			  const struct queue_recipient *recipient)
{
	return message->block + recipient->text;
}

const char *index_orcpt(const struct queue_message *message,
			const struct queue_recipient *recipient)
{
	const char *address = message->block + recipient->text;

	return recipient->flags & RECIPIENT_HAS_ORCPT ? address + strlen(address) + 1 : NULL;
}

const char *index_class(const struct queue_index *index, const struct queue_message *message,
			enum class_field field)
{
	size_t size;
	const char *text = text_bytes(&index->texts, message->class, &size);

	if (size == 0)
		return "";
	while (field-- > 0)
		text += strlen(text) + 1;
	return text;
}

const char *index_reason(const struct queue_index *index, const struct queue_recipient *recipient,
			 const char **host)
{
	size_t size;
	const char *text = text_bytes(&index->texts, recipient->reason, &size);
	size_t length = strlen(text);

	if (host)
		*host = text;
	return length < size ? text + length + 1 : "";
}

void index_set_reason(struct queue_index *index, struct queue_recipient *recipient,
		      const char *host, const char *reply)
{
	char text[1024];
	size_t host_size = strnlen(host, 255), reply_size = strnlen(reply, sizeof(text) - 258);

	memcpy(text, host, host_size);
	text[host_size] = '\0';
	memcpy(text + host_size + 1, reply, reply_size);
	text_release(&index->texts, recipient->reason);
	recipient->reason = 0;
	if (host_size || reply_size)
		recipient->reason = text_acquire(&index->texts, text, host_size + 1 + reply_size);
}

uint64_t index_memory(const struct queue_index *index)
{
	return slab_memory(&index->messages) + slab_memory(&index->recipients) +
	       table_memory(&index->by_id) + text_pool_memory(&index->texts) + index->block_bytes;
}

void index_count(const struct queue_index *index, uint64_t states[RECIPIENT_STATE_COUNT])
{
	memset(states, 0, RECIPIENT_STATE_COUNT * sizeof(states[0]));
	for (uint32_t r = 1; r < index->recipients.fresh; r++) {
		const struct queue_recipient *recipient = index_recipient(index, r);

		if (recipient->state != RECIPIENT_FREE &&
		    recipient->state < RECIPIENT_STATE_COUNT &&
		    index_message(index, recipient->message)->marks & MESSAGE_DURABLE)
			states[recipient->state]++;
	}
}
