/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sessions and contexts over memory: results of each step, tickets, failures in words, and what a
 * context refuses. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/unit/tls/identity.h"
#include "tls/internal.h"
#include "tls/ticket_keys.h"

#include <stdlib.h>
#include <string.h>

/** One side: what it has to send waits in `out`. */
struct side {
	struct tls_session *session;
	uint8_t out[200000];
	size_t size;
	bool refuse; /**< emit fails */
};

static struct side client, server;

static int emit(void *context, const uint8_t *data, size_t size)
{
	struct side *side = context;

	if (side->refuse)
		return -1;
	assert_true(side->size + size <= sizeof(side->out));
	memcpy(side->out + side->size, data, size);
	side->size += size;
	return 0;
}

static void open_side(struct side *side, struct tls_context *context, const char *server_name)
{
	struct tls_session_settings settings = {
		.emit = emit, .context = side, .server_name = server_name};

	side->size = 0;
	side->refuse = false;
	side->session = tls_session_create(context, &settings);
	assert_non_null(side->session);
}

static void close_both(void)
{
	tls_session_destroy(client.session);
	tls_session_destroy(server.session);
	client.session = server.session = NULL;
}

/* Lend what the other side sent to one step of the handshake. */
static enum tls_result step(struct side *to, struct side *from)
{
	uint8_t input[sizeof(from->out)];
	size_t size = from->size;
	enum tls_result result;

	memcpy(input, from->out, size);
	from->size = 0;
	tls_session_input(to->session, input, size);
	result = tls_session_handshake(to->session);
	if (result != TLS_ERROR) {
		size_t left = tls_session_input_left(to->session);

		memcpy(from->out, input + size - left, left); /* not used yet */
		from->size = left;
	}
	tls_session_input(to->session, NULL, 0);
	return result;
}

static bool handshake(void)
{
	enum tls_result c = TLS_WANT_INPUT, s = TLS_WANT_INPUT;

	for (unsigned i = 0; i < 6 && (c != TLS_DONE || s != TLS_DONE); i++) {
		if (c == TLS_WANT_INPUT)
			c = step(&client, &server);
		if (s == TLS_WANT_INPUT)
			s = step(&server, &client);
	}
	return c == TLS_DONE && s == TLS_DONE;
}

static enum tls_result read_some(struct side *to, struct side *from, char *text, size_t capacity)
{
	size_t size = 0;
	enum tls_result result;

	tls_session_input(to->session, from->out, from->size);
	result = tls_session_read(to->session, text, capacity - 1, &size);
	text[size] = '\0';
	memmove(from->out, from->out + from->size - tls_session_input_left(to->session),
		tls_session_input_left(to->session));
	from->size = tls_session_input_left(to->session);
	tls_session_input(to->session, NULL, 0);
	return result;
}

static void steps_answer_as_they_should(void **state)
{
	struct tls_context *cc = identity_client(), *sc = identity_server(IDENTITY_P256, NULL, 1);
	struct tls_information information;
	char text[64];

	open_side(&client, cc, "mx.test.example");
	open_side(&server, sc, NULL);
	assert_true(tls_context_is_server(sc));
	assert_false(tls_context_is_server(cc));
	assert_true(tls_session_expects_hello(server.session));
	assert_false(tls_session_expects_hello(client.session));
	assert_int_equal(tls_session_handshake(server.session), TLS_WANT_INPUT);
	assert_true(tls_session_expects_hello(server.session));
	assert_true(handshake());
	assert_false(tls_session_expects_hello(server.session));
	assert_int_equal(read_some(&server, &client, text, sizeof(text)), TLS_WANT_INPUT);
	assert_int_equal(tls_session_write(client.session, "EHLO a\r\n", 8), TLS_DONE);
	assert_int_equal(read_some(&server, &client, text, sizeof(text)), TLS_DONE);
	assert_string_equal(text, "EHLO a\r\n");
	tls_session_information(client.session, &information);
	assert_string_equal(information.version, "TLSv1.3");
	assert_string_equal(information.cipher, "TLS_AES_128_GCM_SHA256");
	assert_false(information.resumed);
	tls_session_close(client.session);
	assert_int_equal(read_some(&server, &client, text, sizeof(text)), TLS_END);
	assert_int_equal(read_some(&server, &client, text, sizeof(text)), TLS_END);
	assert_int_equal(tls_session_write(server.session, "221\r\n", 5), TLS_DONE);
	close_both();
	tls_context_release(cc);
	tls_context_release(sc);
}

static void the_hello_after_a_retry_request_is_expected_too(void **state)
{
	struct tls_context *cc = identity_client_retry(),
			   *sc = identity_server(IDENTITY_P256, NULL, 1);
	char name[256];

	open_side(&client, cc, "mx.test.example");
	open_side(&server, sc, NULL);
	assert_int_equal(step(&client, &server), TLS_WANT_INPUT);
	assert_int_equal(step(&server, &client), TLS_WANT_INPUT);
	assert_true(tls_session_expects_hello(server.session));
	assert_int_equal(step(&client, &server), TLS_WANT_INPUT);
	assert_int_equal(tls_client_hello_peek(client.out, client.size, name), client.size);
	assert_string_equal(name, "mx.test.example");
	assert_int_equal(step(&server, &client), TLS_WANT_INPUT);
	assert_false(tls_session_expects_hello(server.session));
	assert_true(handshake());
	close_both();
	tls_context_release(cc);
	tls_context_release(sc);
}

static void the_leafs_digest_is_recorded(void **state)
{
	struct tls_context *cc = identity_client(), *sc = identity_server(IDENTITY_RSA, NULL, 1);
	const struct identity *identity = identity_get(IDENTITY_RSA);
	struct tls_information information;
	uint8_t expected[32];
	DerBuffer *der = NULL;

	open_side(&client, cc, NULL);
	open_side(&server, sc, NULL);
	assert_true(handshake());
	tls_session_information(client.session, &information);
	assert_true(information.has_peer_certificate);
	assert_int_equal(wc_PemToDer((unsigned char *)identity->pem, (long)identity->size,
				     CERT_TYPE, &der, NULL, NULL, NULL),
			 0);
	assert_int_equal(wc_Sha256Hash(der->buffer, der->length, expected), 0);
	wc_FreeDer(&der);
	assert_memory_equal(information.peer_certificate_sha256, expected, 32);
	close_both();
	tls_context_release(cc);
	tls_context_release(sc);
}

enum connected { RESUMED, FULL, FAILED };

/* One connection; the client keeps its session, and offers `offer` if there is one. */
static enum connected connect_with(struct tls_context *cc, struct tls_context *sc,
				   WOLFSSL_SESSION *offer, WOLFSSL_SESSION **kept)
{
	struct tls_information at_client, at_server;
	char text[64];

	open_side(&client, cc, "mx.test.example");
	open_side(&server, sc, NULL);
	assert_int_equal(wolfSSL_UseSessionTicket(client.session->wolf), WOLFSSL_SUCCESS);
	if (offer) {
		WOLFSSL_SESSION *copy =
			wolfSSL_SESSION_dup(offer); /* the library writes to what it is given */

		assert_int_equal(wolfSSL_set_session(client.session->wolf, copy), WOLFSSL_SUCCESS);
		wolfSSL_SESSION_free(copy);
	}
	if (!handshake()) {
		assert_false(wolfSSL_session_reused(server.session->wolf));
		close_both();
		return FAILED;
	}
	/* The ticket of TLS 1.3 comes with the first data. */
	assert_int_equal(tls_session_write(server.session, "220\r\n", 5), TLS_DONE);
	assert_int_equal(read_some(&client, &server, text, sizeof(text)), TLS_DONE);
	assert_string_equal(text, "220\r\n");
	tls_session_information(client.session, &at_client);
	tls_session_information(server.session, &at_server);
	assert_int_equal(at_client.resumed, at_server.resumed);
	if (kept)
		*kept = wolfSSL_get1_session(client.session->wolf);
	close_both();
	return at_server.resumed ? RESUMED : FULL;
}

static const uint8_t old_key[48] = "name-of-old-key.key-of-32-octets-old..........";
static const uint8_t new_key[48] = "name-of-new-key.key-of-32-octets-new..........";

/* @param refused what becomes of a connection whose ticket is refused */
static void tickets_resume_at_their_listener_only(struct tls_context *(*make_client)(void),
						  enum connected refused)
{
	struct tls_context *cc = make_client();
	struct tls_context *a_worker1 = identity_server(IDENTITY_P256, old_key, 1);
	struct tls_context *a_worker2 = identity_server(IDENTITY_P256, old_key, 1);
	struct tls_context *b = identity_server(IDENTITY_P256, old_key, 2);
	struct tls_context *none = identity_server(IDENTITY_P256, NULL, 1);
	struct tls_context *rotated = identity_server(IDENTITY_P256, new_key, 1);
	struct tls_context *both = identity_server(IDENTITY_P256, new_key, 1);
	WOLFSSL_SESSION *kept, *renewed;

	tls_context_set_previous_ticket_key(both, old_key);
	assert_int_equal(connect_with(cc, a_worker1, NULL, &kept), FULL);
	assert_non_null(kept);
	assert_int_equal(connect_with(cc, a_worker1, kept, NULL), RESUMED);
	assert_int_equal(connect_with(cc, a_worker2, kept, NULL), RESUMED);
	assert_int_equal(connect_with(cc, b, kept, NULL), refused);
	assert_int_equal(connect_with(cc, none, kept, NULL), refused);
	assert_int_equal(connect_with(cc, rotated, kept, NULL), refused);
	/* An old key is taken, and the ticket that follows is under the new one. */
	assert_int_equal(connect_with(cc, both, kept, &renewed), RESUMED);
	assert_non_null(renewed);
	assert_int_equal(connect_with(cc, rotated, renewed, NULL), RESUMED);
	wolfSSL_SESSION_free(kept);
	wolfSSL_SESSION_free(renewed);
	tls_context_release(cc);
	tls_context_release(a_worker1);
	tls_context_release(a_worker2);
	tls_context_release(b);
	tls_context_release(none);
	tls_context_release(rotated);
	tls_context_release(both);
}

static void tls13_tickets_resume_at_their_listener_only(void **state)
{
	tickets_resume_at_their_listener_only(identity_client, FULL);
}

static void tls12_tickets_resume_at_their_listener_only(void **state)
{
	/* wolfSSL's own TLS 1.2 client gives up then; OpenSSL's, in the interoperability test, goes
	 * on. */
	tickets_resume_at_their_listener_only(identity_client_tls12, FAILED);
}

/** A server's context of the present period, as the control plane makes it. */
static struct tls_context *context_of_period(const struct tls_ticket_keys *keys)
{
	struct tls_context *context = identity_server(IDENTITY_P256, keys->current, 1);

	if (keys->has_previous)
		tls_context_set_previous_ticket_key(context, keys->previous);
	return context;
}

static void a_ticket_outlives_one_change_of_keys_and_not_two(void **state)
{
	struct tls_context *cc = identity_client(), *contexts[3];
	struct tls_ticket_keys keys;
	struct mr_random random;
	WOLFSSL_SESSION *kept, *renewed;
	uint64_t now_us = 5 * US_PER_S;

	random_init_seed(&random, 1);
	tls_ticket_keys_init(&keys, &random, now_us);
	for (unsigned period = 0; period < 3; period++) {
		contexts[period] = context_of_period(&keys);
		now_us += TLS_TICKET_PERIOD_US - 1;
		assert_false(tls_ticket_keys_are_due(&keys, now_us));
		now_us += 1;
		assert_true(tls_ticket_keys_are_due(&keys, now_us));
		tls_ticket_keys_rotate(&keys, &random, now_us);
	}
	assert_int_equal(connect_with(cc, contexts[0], NULL, &kept), FULL);
	assert_int_equal(connect_with(cc, contexts[0], kept, NULL), RESUMED);
	assert_int_equal(connect_with(cc, contexts[1], kept, &renewed), RESUMED);
	assert_int_equal(connect_with(cc, contexts[2], kept, NULL), FULL);
	/* The ticket that came with the resumption is of the second period. */
	assert_int_equal(connect_with(cc, contexts[2], renewed, NULL), RESUMED);
	assert_int_equal(connect_with(cc, contexts[0], renewed, NULL), FULL);
	wolfSSL_SESSION_free(kept);
	wolfSSL_SESSION_free(renewed);
	for (unsigned period = 0; period < 3; period++)
		tls_context_release(contexts[period]);
	tls_context_release(cc);
}

static void ticket_keys_are_wiped_and_never_come_again(void **state)
{
	static const uint8_t zero[sizeof(struct tls_ticket_keys)];
	struct tls_ticket_keys keys;
	uint8_t first[TLS_TICKET_KEYS_SIZE];
	struct mr_random random;

	random_init_seed(&random, 1);
	tls_ticket_keys_init(&keys, &random, 0);
	assert_false(keys.has_previous);
	memcpy(first, keys.current, sizeof(first));
	tls_ticket_keys_rotate(&keys, &random, 1);
	assert_memory_equal(keys.previous, first, sizeof(first));
	assert_memory_not_equal(keys.current, first, 16);
	assert_memory_not_equal(keys.current + 16, first + 16, 32);
	tls_ticket_keys_rotate(&keys, &random, 2);
	assert_null(memmem(&keys, sizeof(keys), first, sizeof(first)));
	tls_ticket_keys_wipe(&keys);
	assert_memory_equal(&keys, zero, sizeof(zero));
}

/* RFC 9325, 4.2.4: SMTP has no profile for it. What is not there cannot be switched on. */
static void s21_the_library_cannot_take_early_data(void **state)
{
#ifdef WOLFSSL_EARLY_DATA
	fail_msg("wolfSSL was built with early data");
#endif
}

static void no_common_version_or_suite_is_named(void **state)
{
	struct tls_context *cc = identity_client(), *sc = identity_server(IDENTITY_P256, NULL, 1);

	/* TLS 1.2 with RSA authentication only, at a server with an ECDSA key. */
	wolfSSL_CTX_set_options(cc->wolf, WOLFSSL_OP_NO_TLSv1_3);
	assert_int_equal(wolfSSL_CTX_set_cipher_list(cc->wolf, "ECDHE-RSA-AES128-GCM-SHA256"),
			 WOLFSSL_SUCCESS);
	open_side(&client, cc, NULL);
	open_side(&server, sc, NULL);
	assert_int_equal(step(&client, &server), TLS_WANT_INPUT);
	assert_int_equal(step(&server, &client), TLS_ERROR);
	assert_true(strlen(tls_session_error(server.session)) > 10);
	assert_int_equal(step(&client, &server), TLS_ERROR);
	assert_non_null(strstr(tls_session_error(client.session), "alert handshake_failure"));
	/* Dead is dead. */
	assert_int_equal(tls_session_handshake(server.session), TLS_ERROR);
	close_both();
	tls_context_release(cc);
	tls_context_release(sc);
}

static void a_record_under_another_type_is_refused(void **state)
{
	struct tls_context *cc = identity_client_tls12(),
			   *sc = identity_server(IDENTITY_P256, NULL, 1);
	char text[64];

	open_side(&client, cc, NULL);
	open_side(&server, sc, NULL);
	assert_true(handshake());
	assert_int_equal(tls_session_write(client.session, "x", 1), TLS_DONE);
	client.out[0] = 22; /* called a handshake record: the tag covers the type */
	assert_int_equal(read_some(&server, &client, text, sizeof(text)), TLS_ERROR);
	close_both();
	tls_context_release(cc);
	tls_context_release(sc);
}

static void a_refused_emit_fails_the_session(void **state)
{
	struct tls_context *cc = identity_client(), *sc = identity_server(IDENTITY_P256, NULL, 1);

	open_side(&client, cc, NULL);
	client.refuse = true;
	assert_int_equal(tls_session_handshake(client.session), TLS_ERROR);
	tls_session_destroy(client.session);
	open_side(&client, cc, NULL);
	open_side(&server, sc, NULL);
	assert_true(handshake());
	server.refuse = true;
	assert_int_equal(tls_session_write(server.session, "x", 1), TLS_ERROR);
	assert_int_equal(tls_session_write(server.session, "x", 1), TLS_ERROR);
	close_both();
	tls_context_release(cc);
	tls_context_release(sc);
}

static void a_large_write_makes_full_records(void **state)
{
	static uint8_t body[40000];
	struct tls_context *cc = identity_client(), *sc = identity_server(IDENTITY_P256, NULL, 1);

	open_side(&client, cc, NULL);
	open_side(&server, sc, NULL);
	assert_true(handshake());
	server.size = 0;
	assert_int_equal(tls_session_write(server.session, body, sizeof(body)), TLS_DONE);
	/* 16384 + 16384 + 7232, each with 5 of header, 1 of type, 16 of tag */
	assert_int_equal(server.size, sizeof(body) + 3 * 22);
	close_both();
	tls_context_release(cc);
	tls_context_release(sc);
}

static void contexts_refuse_what_does_not_fit(void **state)
{
	const struct identity *a = identity_get(IDENTITY_P256), *b = identity_get(IDENTITY_RSA);
	char error[256];

	assert_null(tls_context_create_server("x", 1, a->pem, a->size, NULL, 1, error));
	assert_non_null(strstr(error, "certificate does not parse"));
	assert_null(tls_context_create_server(a->pem, a->size, "x", 1, NULL, 1, error));
	assert_non_null(strstr(error, "private key does not parse"));
	assert_null(tls_context_create_server(a->pem, a->size, b->pem, b->size, NULL, 1, error));
	assert_non_null(strstr(error, "not the certificate's"));
}

static void a_context_outlives_its_release_while_a_session_uses_it(void **state)
{
	struct tls_context *cc = identity_client(),
			   *sc = identity_server(IDENTITY_P256, new_key, 1);

	open_side(&client, cc, NULL);
	open_side(&server, sc, NULL);
	tls_context_release(cc);
	tls_context_release(sc);
	assert_true(handshake());
	close_both();
}

static void same_seed_same_handshake(void **state)
{
	struct tls_context *cc = identity_client();
	struct mr_random random;
	uint8_t first[1000];
	size_t size = 0;

	for (unsigned i = 0; i < 3; i++) {
		random_init_seed(&random, i == 2 ? 2 : 1);
		tls_thread_init(&random);
		open_side(&client, cc, "mx.test.example");
		assert_int_equal(tls_session_handshake(client.session), TLS_WANT_INPUT);
		if (i == 0) {
			size = client.size;
			memcpy(first, client.out, size);
		} else {
			assert_int_equal(client.size, size);
			assert_int_equal(memcmp(first, client.out, size) == 0, i == 1);
		}
		tls_session_destroy(client.session);
	}
	tls_thread_init(NULL);
	tls_context_release(cc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_answer_as_they_should),
		cmocka_unit_test(the_hello_after_a_retry_request_is_expected_too),
		cmocka_unit_test(the_leafs_digest_is_recorded),
		cmocka_unit_test(tls13_tickets_resume_at_their_listener_only),
		cmocka_unit_test(tls12_tickets_resume_at_their_listener_only),
		cmocka_unit_test(a_ticket_outlives_one_change_of_keys_and_not_two),
		cmocka_unit_test(ticket_keys_are_wiped_and_never_come_again),
		cmocka_unit_test(s21_the_library_cannot_take_early_data),
		cmocka_unit_test(no_common_version_or_suite_is_named),
		cmocka_unit_test(a_record_under_another_type_is_refused),
		cmocka_unit_test(a_refused_emit_fails_the_session),
		cmocka_unit_test(a_large_write_makes_full_records),
		cmocka_unit_test(contexts_refuse_what_does_not_fit),
		cmocka_unit_test(a_context_outlives_its_release_while_a_session_uses_it),
		cmocka_unit_test(same_seed_same_handshake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
