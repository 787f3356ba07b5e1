/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Certificates with keys for tests, made anew in each run, and contexts over them. */
#ifndef MILLRACE_TESTS_UNIT_TLS_IDENTITY_H
#define MILLRACE_TESTS_UNIT_TLS_IDENTITY_H

#include "tls/tls.h"

enum identity_kind { IDENTITY_P256, IDENTITY_RSA };

struct identity {
	char *pem; /**< certificate and key */
	size_t size;
};

/** Process set-up too. Exits the test when it fails. */
const struct identity *identity_get(enum identity_kind kind);
struct tls_context *identity_server(enum identity_kind kind, const uint8_t *ticket_keys,
				    uint32_t listener_id);
struct tls_context *identity_client(void);
/** A client that speaks TLS 1.2 only. */
struct tls_context *identity_client_tls12(void);
/** A client whose only key share is for a group that our servers do not have, so that they ask for
 * another. */
struct tls_context *identity_client_retry(void);

#endif
