/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/smtp/transaction.h"

#include "dataplane/envelope.h"
#include "dataplane/smtp/orcpt.h"

#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <string.h>

_Static_assert(offsetof(struct chunk, data) % alignof(struct transaction) == 0,
	       "data is aligned for it");

struct transaction *transaction_begin(struct chunk_pool *pool, const struct message_id *id,
				      const struct smtp_address *sender,
				      const struct mail_parameters *parameters)
{
	struct chunk *chunk = chunk_alloc(pool);
	struct transaction *transaction;

	if (!chunk)
		return NULL;
	transaction = (struct transaction *)(void *)chunk->data;
	memset(transaction, 0, offsetof(struct transaction, intake));
	transaction->submission.self = chunk;
	transaction->submission.id = *id;
	transaction->submission.flags = parameters->flags;
	transaction->sender = *sender;
	if (parameters->envid.text)
		memcpy(transaction->envid, parameters->envid.text, parameters->envid.size);
	return transaction;
}

static uint64_t address_hash(const struct hash_key *key, const struct smtp_address *address)
{
	uint64_t words[(SMTP_ADDRESS_TEXT + 7) / 8] = {0};

	memcpy(words, address->text, address->size);
	return hash_words(key, words, (address->size + 8u) / 8);
}

/** Is the address among the encoded recipients: read them all. */
static bool recipients_have(const struct chunk_list *recipients, const struct smtp_address *address)
{
	struct chunk_cursor cursor = chunk_list_begin(recipients);
	uint8_t field[4], text[SMTP_ORCPT_MAX];

	while (chunk_cursor_read(&cursor, field, sizeof(field)) == sizeof(field)) {
		size_t size = (size_t)(field[2] | field[3] << 8);

		assert(size <= sizeof(text));
		chunk_cursor_read(&cursor, text, size);
		if (field[0] == ENVELOPE_RECIPIENT && size == address->size &&
		    memcmp(text, address->text, size) == 0)
			return true;
	}
	return false;
}

/** Cut the list off at an earlier end. */
static void cut(struct chunk_list *list, struct chunk_pool *pool, const struct chunk_list *earlier,
		uint16_t length)
{
	struct chunk_list rest;

	if (!earlier->tail) {
		chunk_list_free(list, pool);
		return;
	}
	rest = (struct chunk_list){.head = earlier->tail->next};
	*list = *earlier;
	list->tail->length = length;
	list->tail->next = NULL;
	chunk_list_free(&rest, pool);
}

static int put_recipient(struct transaction *transaction, struct chunk_pool *pool,
			 const struct smtp_address *address,
			 const struct rcpt_parameters *parameters)
{
	struct chunk_list *list = &transaction->recipients;

	if (envelope_put(list, pool, ENVELOPE_RECIPIENT, address->text, address->size) < 0)
		return -ENOBUFS;
	if (parameters->orcpt.text &&
	    envelope_put(list, pool, ENVELOPE_ORCPT, parameters->orcpt.text,
			 parameters->orcpt.size) < 0)
		return -ENOBUFS;
	if (parameters->notify &&
	    envelope_put(list, pool, ENVELOPE_NOTIFY, &parameters->notify, 1) < 0)
		return -ENOBUFS;
	return 0;
}

int transaction_add_recipient(struct transaction *transaction, struct chunk_pool *pool,
			      const struct hash_key *key, const struct smtp_address *address,
			      const struct rcpt_parameters *parameters)
{
	uint64_t hash = address_hash(key, address);
	struct chunk_list before = transaction->recipients;
	uint16_t length = before.tail ? before.tail->length : 0;

	bool first = transaction->submission.recipients == 0;

	transaction->recipients_seen++;
	if (!first &&
	    (hash == transaction->first_hash || recipient_set_has(&transaction->set, hash)) &&
	    recipients_have(&transaction->recipients, address))
		return 0;
	if (first)
		transaction->first_hash = hash;
	if (put_recipient(transaction, pool, address, parameters) < 0 ||
	    (!first && recipient_set_add(&transaction->set, pool, hash) < 0)) {
		cut(&transaction->recipients, pool, &before, length);
		return -ENOBUFS;
	}
	transaction->submission.recipients++;
	return 1;
}

const char *transaction_only_recipient(const struct transaction *transaction, char *out)
{
	struct chunk_cursor cursor = chunk_list_begin(&transaction->recipients);
	uint8_t field[4];
	size_t size;

	if (transaction->submission.recipients != 1 ||
	    chunk_cursor_read(&cursor, field, sizeof(field)) != 4)
		return NULL;
	size = (size_t)(field[2] | field[3] << 8);
	assert(field[0] == ENVELOPE_RECIPIENT && size < SMTP_ADDRESS_TEXT);
	chunk_cursor_read(&cursor, out, size);
	out[size] = '\0';
	return out;
}

/** Put the recipients behind the message's own fields, into the same chunk when they fit. */
static int join(struct transaction *transaction, struct chunk_pool *pool)
{
	struct chunk_list *to = &transaction->submission.envelope, *from = &transaction->recipients;

	if (from->chunks == 1 && from->size <= CHUNK_DATA - to->tail->length) {
		if (chunk_list_append(to, pool, from->head->data, from->size) < 0)
			return -ENOBUFS;
		chunk_list_free(from, pool);
		return 0;
	}
	chunk_list_splice(to, from);
	return 0;
}

int transaction_seal(struct transaction *transaction, struct chunk_pool *pool,
		     const struct transaction_origin *origin)
{
	struct submission *submission = &transaction->submission;
	struct chunk_list *list = &submission->envelope;
	const struct {
		enum envelope_field field;
		const char *text;
	} texts[] = {
		{ENVELOPE_ENVID, transaction->envid},  {ENVELOPE_LISTENER, origin->listener},
		{ENVELOPE_HELO, origin->helo},	       {ENVELOPE_AUTH_USER, origin->user},
		{ENVELOPE_TLS, origin->tls},	       {ENVELOPE_TENANT, origin->tenant},
		{ENVELOPE_CAMPAIGN, origin->campaign}, {ENVELOPE_POOL, origin->pool},
		{ENVELOPE_PROTOCOL, origin->protocol}, {ENVELOPE_MESSAGE_ID, origin->message_id},
	};
	uint32_t header_size = (uint32_t)transaction->intake.header_size;
	uint8_t peer[18];
	uint8_t header_octets[4] = {(uint8_t)header_size, (uint8_t)(header_size >> 8),
				    (uint8_t)(header_size >> 16), (uint8_t)(header_size >> 24)};

	memcpy(peer, origin->peer->bytes, 16);
	peer[16] = (uint8_t)origin->peer_port;
	peer[17] = (uint8_t)(origin->peer_port >> 8);
	if (envelope_put_u64(list, pool, ENVELOPE_RECEIVED_AT, origin->received_at_us) < 0 ||
	    envelope_put(list, pool, ENVELOPE_MAIL_FROM, transaction->sender.text,
			 transaction->sender.size) < 0 ||
	    envelope_put(list, pool, ENVELOPE_PEER, peer, sizeof(peer)) < 0 ||
	    envelope_put_u64(list, pool, ENVELOPE_SESSION, origin->session) < 0 ||
	    envelope_put(list, pool, ENVELOPE_HEADER_SIZE, header_octets, sizeof(header_octets)) <
		    0)
		return -ENOBUFS;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].text[0] != '\0' &&
		    envelope_put_text(list, pool, texts[i].field, texts[i].text) < 0)
			return -ENOBUFS;
	if (join(transaction, pool) < 0)
		return -ENOBUFS;
	recipient_set_free(&transaction->set, pool);
	submission->flags |= transaction->intake.flags;
	chunk_list_splice(&submission->body, &transaction->intake.body);
	return 0;
}

void transaction_free(struct transaction *transaction, struct chunk_pool *pool)
{
	if (!transaction)
		return;
	if (transaction->has_data)
		intake_free(&transaction->intake);
	recipient_set_free(&transaction->set, pool);
	chunk_list_free(&transaction->recipients, pool);
	chunk_list_free(&transaction->submission.envelope, pool);
	chunk_list_free(&transaction->submission.body, pool);
	chunk_free(pool, transaction->submission.self);
}
