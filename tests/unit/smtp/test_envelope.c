/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The envelope's encoding, there and back, and the transaction that writes it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "dataplane/envelope.h"
#include "dataplane/smtp/transaction.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *flatten(const struct chunk_list *list)
{
	uint8_t *octets = malloc(list->size + 1);
	struct chunk_cursor cursor = chunk_list_begin(list);

	assert_non_null(octets);
	assert_int_equal(chunk_cursor_read(&cursor, octets, list->size + 1), list->size);
	return octets;
}

static void fields_come_back_as_they_were_put(void **state)
{
	struct chunk_pool *pool = chunk_pool_create(1, 64);
	struct chunk_list list = {0};
	static char big[UINT16_MAX + 1];
	struct envelope_reader reader;
	struct envelope_value value;
	uint8_t *octets;

	memset(big, 'b', sizeof(big));
	assert_int_equal(
		envelope_put_u64(&list, pool, ENVELOPE_RECEIVED_AT, UINT64_C(0x0123456789abcdef)),
		0);
	assert_int_equal(envelope_put_text(&list, pool, ENVELOPE_MAIL_FROM, ""), 0);
	assert_int_equal(envelope_put(&list, pool, ENVELOPE_HELO, big, UINT16_MAX), 0);
	assert_int_equal(envelope_put(&list, pool, ENVELOPE_HELO, big, sizeof(big)), -ENOBUFS);
	assert_int_equal(envelope_put_text(&list, pool, ENVELOPE_RECIPIENT, "a@b.example"), 0);
	octets = flatten(&list);
	reader = (struct envelope_reader){octets, octets + list.size};
	assert_int_equal(envelope_next(&reader, &value), 1);
	assert_int_equal(value.field, ENVELOPE_RECEIVED_AT);
	assert_true(envelope_u64(&value) == UINT64_C(0x0123456789abcdef));
	assert_int_equal(envelope_next(&reader, &value), 1);
	assert_int_equal(value.field, ENVELOPE_MAIL_FROM);
	assert_int_equal(value.size, 0);
	assert_true(envelope_u64(&value) == 0);
	assert_int_equal(envelope_next(&reader, &value), 1);
	assert_int_equal(value.size, UINT16_MAX);
	assert_memory_equal(value.value, big, UINT16_MAX);
	assert_int_equal(envelope_next(&reader, &value), 1);
	assert_memory_equal(value.value, "a@b.example", 11);
	assert_int_equal(envelope_next(&reader, &value), 0);
	free(octets);
	chunk_list_free(&list, pool);
	chunk_pool_destroy(pool);
}

static void torn_envelopes_are_told(void **state)
{
	struct chunk_pool *pool = chunk_pool_create(1, 4);
	struct chunk_list list = {0};
	uint8_t *octets;

	envelope_put_text(&list, pool, ENVELOPE_MAIL_FROM, "a@b.example");
	octets = flatten(&list);
	for (size_t size = 1; size < list.size; size++) {
		uint8_t *exact = malloc(size);
		struct envelope_reader reader = {exact, exact + size};
		struct envelope_value value;

		memcpy(exact, octets, size);
		assert_int_equal(envelope_next(&reader, &value), -EBADMSG);
		free(exact);
	}
	free(octets);
	chunk_list_free(&list, pool);
	chunk_pool_destroy(pool);
}

static struct smtp_address address_of(const char *text)
{
	struct smtp_address address;

	assert_int_equal(address_parse_mailbox(text, strlen(text), &address), 0);
	return address;
}

/** A transaction with recipients r0 … and a body. @param chunks in the pool */
static struct transaction *make(struct chunk_pool *pool, unsigned recipients)
{
	static const struct mail_parameters none;
	const struct rcpt_parameters parameters = {.notify = DSN_NOTIFY_DELAY,
						   .orcpt = {"rfc822;x@y", 10}};
	const struct intake_limits limits = {0};
	const struct hash_key key = {1, 2};
	struct smtp_address address = address_of("s@example.com");
	struct message_id id = {1, 2};
	struct transaction *transaction = transaction_begin(pool, &id, &address, &none);
	char text[64];

	assert_non_null(transaction);
	for (unsigned i = 0; i < recipients; i++) {
		snprintf(text, sizeof(text), "r%u@example.net", i);
		address = address_of(text);
		assert_int_equal(
			transaction_add_recipient(transaction, pool, &key, &address, &parameters),
			1);
	}
	intake_init(&transaction->intake, pool, &limits, "mx", false, "Received: x\r\n", 13);
	transaction->has_data = true;
	intake_chunk(&transaction->intake, (const uint8_t *)"a: b\r\n\r\nc", 9);
	intake_finish(&transaction->intake, NULL, 0);
	return transaction;
}

static const struct transaction_origin *origin(void)
{
	static struct ip_address peer;
	static struct transaction_origin origin;

	ip_parse("192.0.2.1", &peer);
	origin = (struct transaction_origin){.received_at_us = 5,
					     .session = 6,
					     .listener = "in",
					     .peer = &peer,
					     .peer_port = 0x1234,
					     .helo = "h",
					     .user = "",
					     .tls = "",
					     .protocol = "ESMTP",
					     .tenant = "",
					     .campaign = "c",
					     .pool = "",
					     .message_id = "<m>"};
	return &origin;
}

static void a_sealed_transaction_reads_back(void **state)
{
	struct chunk_pool *pool = chunk_pool_create(1, 128);

	for (unsigned recipients = 1; recipients < 700; recipients = recipients * 3 + 1) {
		struct transaction *transaction = make(pool, recipients);
		struct submission *submission = &transaction->submission;
		struct envelope_reader reader;
		struct envelope_value value;
		unsigned seen = 0, orcpt = 0, before = 0;
		char text[64];
		uint8_t *octets;

		assert_int_equal(transaction_seal(transaction, pool, origin()), 0);
		octets = flatten(&submission->envelope);
		reader = (struct envelope_reader){octets, octets + submission->envelope.size};
		while (envelope_next(&reader, &value) == 1) {
			if (value.field < ENVELOPE_RECIPIENT) {
				/* The message's own fields come first. */
				assert_int_equal(seen, 0);
				before++;
			}
			if (value.field == ENVELOPE_PEER) {
				assert_int_equal(value.size, 18);
				assert_int_equal(value.value[16], 0x34);
			}
			if (value.field == ENVELOPE_HEADER_SIZE)
				assert_int_equal(envelope_u64(&value), 13 + 8);
			if (value.field == ENVELOPE_ORCPT)
				assert_int_equal(++orcpt, seen);
			if (value.field != ENVELOPE_RECIPIENT)
				continue;
			snprintf(text, sizeof(text), "r%u@example.net", seen++);
			assert_int_equal(value.size, strlen(text));
			assert_memory_equal(value.value, text, value.size);
		}
		assert_int_equal(seen, recipients);
		assert_int_equal(submission->recipients, recipients);
		assert_int_equal(before, 10);
		assert_int_equal(submission->body.size, 13 + 11);
		free(octets);
		transaction_free(transaction, pool);
		assert_int_equal(chunk_pool_available(pool), 128);
	}
	chunk_pool_destroy(pool);
}

static void one_recipient_takes_three_chunks(void **state)
{
	struct chunk_pool *pool = chunk_pool_create(1, 8);
	struct transaction *transaction = make(pool, 1);

	assert_int_equal(transaction_seal(transaction, pool, origin()), 0);
	/* The submission, the envelope, the body. */
	assert_int_equal(chunk_pool_available(pool), 5);
	transaction_free(transaction, pool);
	chunk_pool_destroy(pool);
}

static void running_out_of_chunks_anywhere_leaks_nothing(void **state)
{
	const struct mail_parameters none = {0};
	const struct rcpt_parameters parameters = {.orcpt = {"rfc822;x@y", 10}};
	const struct hash_key key = {1, 2};

	for (unsigned chunks = 1; chunks < 24; chunks++) {
		struct chunk_pool *pool = chunk_pool_create(1, chunks);
		struct smtp_address address = address_of("s@example.com");
		struct message_id id = {1, 2};
		struct transaction *transaction = transaction_begin(pool, &id, &address, &none);
		struct chunk_list rest = {0};
		unsigned added = 0, failures = 0;
		char text[64];

		for (unsigned i = 0; i < 2000 && failures < 3; i++) {
			int status;

			snprintf(text, sizeof(text), "recipient-%u@example.net", i);
			address = address_of(text);
			status = transaction_add_recipient(transaction, pool, &key, &address,
							   &parameters);
			added += status == 1;
			failures += status == -ENOBUFS;
		}
		assert_int_equal(transaction->submission.recipients, added);
		assert_int_equal(failures, 3);
		/* What was added is whole. */
		struct chunk_cursor cursor = chunk_list_begin(&transaction->recipients);
		uint64_t size = 0;

		for (const uint8_t *data; (size_t)chunk_cursor_span(&cursor, &data) > 0;) {
			size_t n = chunk_cursor_span(&cursor, &data);

			size += n;
			chunk_cursor_advance(&cursor, n);
		}
		assert_int_equal(size, transaction->recipients.size);
		(void)rest;
		transaction_free(transaction, pool);
		assert_int_equal(chunk_pool_available(pool), chunks);
		chunk_pool_destroy(pool);
	}
}

static void an_intake_without_chunks_is_no_space(void **state)
{
	const struct intake_limits limits = {0};

	for (unsigned chunks = 1; chunks < 6; chunks++) {
		struct chunk_pool *pool = chunk_pool_create(1, chunks);
		static struct intake intake;
		char line[402];

		memset(line, 'x', 400);
		memcpy(line + 400, "\r\n", 2);
		intake_init(&intake, pool, &limits, "mx", false, "Received: x\r\n", 13);
		for (unsigned i = 0; i < 100; i++)
			intake_chunk(&intake, (const uint8_t *)line, 402);
		intake_finish(&intake, "Date: x\r\n", 9);
		assert_int_equal(intake.fault, INTAKE_NO_SPACE);
		intake_free(&intake);
		assert_int_equal(chunk_pool_available(pool), chunks);
		chunk_pool_destroy(pool);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_come_back_as_they_were_put),
		cmocka_unit_test(torn_envelopes_are_told),
		cmocka_unit_test(a_sealed_transaction_reads_back),
		cmocka_unit_test(one_recipient_takes_three_chunks),
		cmocka_unit_test(running_out_of_chunks_anywhere_leaks_nothing),
		cmocka_unit_test(an_intake_without_chunks_is_no_space),
	};

	return cmocka_run_group_tests_name("smtp envelope", tests, NULL, NULL);
}
