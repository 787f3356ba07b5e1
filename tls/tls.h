/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * TLS of one worker over wolfSSL, sans-I/O: ciphertext is lent to a session before each step, and
 * what it has to send goes to a callback. Contexts belong to one worker each, are built by the
 * control plane off-line, and never change once in use (notes: live sessions keep the old one alive
 * by reference).
 *
 * Every step can answer TLS_PENDING: a private-key operation was submitted and the step is to be
 * repeated when the session's `wake` was called. With inline key operations it is never seen.
 */
#ifndef MILLRACE_TLS_TLS_H
#define MILLRACE_TLS_TLS_H

#include "drivers/random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_context;
struct tls_session;

enum tls_result {
	TLS_DONE,	/**< the step is complete */
	TLS_WANT_INPUT, /**< all lent bytes are used up; more is needed */
	TLS_PENDING,	/**< a key operation is under way */
	TLS_END,	/**< the peer's close_notify came in order */
	TLS_ERROR,	/**< the session is dead; tls_session_error says why; an alert may have been
			   emitted */
};

/**
 * Process set-up: the library and its crypto callback device. It allocates with malloc. Later calls
 * do nothing.
 * @return 0 or negative errno
 */
int tls_global_init(void);
/**
 * Bind the calling thread: wolfSSL's entropy for sessions made on this thread comes from *random,
 * which must stay; NULL: from getrandom(2), as on threads that never call this.
 */
void tls_thread_init(struct mr_random *random);

/**
 * A server context for one worker.
 * @param certificate_pem chain, leaf first @param key_pem unencrypted private key
 * @param ticket_keys 48 bytes {name 16, key 32} of the current ticket key, the same for all
 * workers; NULL: no tickets
 * @param listener_id bound into tickets, so that a ticket of one listener is not taken by another
 * @param error at least 256 bytes: what is wrong, for the operator
 * @return NULL on error
 */
struct tls_context *tls_context_create_server(const char *certificate_pem, size_t certificate_size,
					      const char *key_pem, size_t key_size,
					      const uint8_t *ticket_keys, uint32_t listener_id,
					      char *error);
/**
 * Accept tickets of an older key too (not for new tickets). Before the context is in use; at most
 * one.
 * @param ticket_key 48 bytes as in tls_context_create_server
 */
void tls_context_set_previous_ticket_key(struct tls_context *context, const uint8_t *ticket_key);
/** A client context that does not verify the peer (levels `may` and `encrypt`; key possession is
 * still proven). */
struct tls_context *tls_context_create_client(char *error);
bool tls_context_is_server(const struct tls_context *context);
/** Take one more reference. */
void tls_context_retain(struct tls_context *context);
/** Drop the caller's reference; sessions that use it keep it alive. */
void tls_context_release(struct tls_context *context);

struct tls_session_settings {
	/** Ciphertext to send. Called inside steps; must take everything. @return 0, or negative:
	 * the session fails */
	int (*emit)(void *context, const uint8_t *data, size_t size);
	/** A pending operation is done: repeat the step. Called from the worker's own turn. */
	void (*wake)(void *context);
	void *context;
	const char
		*server_name; /**< client: SNI (no trailing dot; not an address literal), or NULL */
};

/** @return NULL when memory is short */
struct tls_session *tls_session_create(struct tls_context *context,
				       const struct tls_session_settings *settings);
/** Safe at any time, also while an operation is pending. Nothing is emitted. */
void tls_session_destroy(struct tls_session *session);

/** Lend ciphertext for the following steps; the bytes must stay until they are used up or new ones
 * are lent. */
void tls_session_input(struct tls_session *session, const uint8_t *data, size_t size);
/** Lent bytes not used yet. */
size_t tls_session_input_left(const struct tls_session *session);

/**
 * A server that waits for a ClientHello, the first or the one after a HelloRetryRequest: the next
 * bytes are to pass tls_client_hello_peek before they are lent.
 */
bool tls_session_expects_hello(const struct tls_session *session);

enum tls_result tls_session_handshake(struct tls_session *session);
/** Decrypt up to `capacity` bytes. @param size set with TLS_DONE, > 0 */
enum tls_result tls_session_read(struct tls_session *session, void *to, size_t capacity,
				 size_t *size);
/** Encrypt all of data and emit it. @return TLS_DONE or TLS_ERROR */
enum tls_result tls_session_write(struct tls_session *session, const void *data, size_t size);
/** Emit close_notify. */
void tls_session_close(struct tls_session *session);

struct tls_information {
	const char *version; /**< "TLSv1.3" */
	const char *cipher;  /**< IANA name */
	const char *group;   /**< "X25519", or "" */
	bool resumed;
	uint8_t peer_certificate_sha256[32]; /**< of the leaf; all zero without one */
	bool has_peer_certificate;
};
/** After the handshake. */
void tls_session_information(const struct tls_session *session, struct tls_information *out);
/** Why it failed: alert or library error in words, one line. */
const char *tls_session_error(const struct tls_session *session);

/**
 * Look at a ClientHello without consuming it (our own parser; RFC 8446, 4.1.2).
 * Rejects what wolfSSL must not see: duplicate extensions or key shares, malformed lengths
 * (notes/tls 1.11). One change_cipher_spec record may stand before it (RFC 8446, D.4). The limit of
 * a hello is 16 KB.
 * @param server_name at least 256 bytes, set to the SNI or ""
 * @return bytes of the ClientHello records when complete and sound; 0: more is needed; -EPROTO: not
 * TLS or malformed
 */
int tls_client_hello_peek(const uint8_t *data, size_t size, char *server_name);

#endif
