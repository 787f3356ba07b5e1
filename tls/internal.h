/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the files of tls/ share and nobody else includes. <wolfssl/options.h> comes first
 * everywhere: it records the macros that the library was built with, and struct layouts depend on
 * them.
 */
#ifndef MILLRACE_TLS_INTERNAL_H
#define MILLRACE_TLS_INTERNAL_H

#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include "tls/tls.h"

#include <stdatomic.h>

/** The crypto callback device of the process; its entropy comes from the calling thread. */
#define TLS_DEVICE_ID 1

#define TLS_TICKET_NAME_SIZE 16u
#define TLS_TICKET_KEY_SIZE  32u
_Static_assert(TLS_TICKET_NAME_SIZE == WOLFSSL_TICKET_NAME_SZ, "the name is wolfSSL's");

struct tls_ticket_key {
	uint8_t name[TLS_TICKET_NAME_SIZE];
	uint8_t key[TLS_TICKET_KEY_SIZE];
};

struct tls_context {
	WOLFSSL_CTX *wolf;
	/** Its creator's and one a session. Atomic since the control plane lets go while a worker's
	 * sessions live. */
	atomic_uint references;
	bool server;
	uint8_t ticket_keys; /**< of ticket[], 0..2; new tickets are under ticket[0] */
	uint32_t listener_id;
	struct tls_ticket_key ticket[2];
};

struct tls_session {
	WOLFSSL *wolf;
	struct tls_context *context;
	struct tls_session_settings settings;
	const uint8_t *input; /**< lent ciphertext */
	size_t input_size;
	int error; /**< wolfSSL's, 0 while all is well */
	bool established;
	bool expects_hello;
	bool has_peer_certificate;
	uint8_t peer_certificate_sha256[32];
	char error_text[120];
};

/** Random bytes from the calling thread's source, or from the kernel on threads that have none.
 * @return 0 or -errno */
int tls_entropy(void *to, size_t size);
/** Make a server context issue and take tickets. @return 0 or -EINVAL */
int tls_tickets_enable(struct tls_context *context);
/** Describe the session's failure in session->error_text. */
void tls_session_describe(struct tls_session *session);

#endif
