/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/tls/identity.h"

#include "control/certs/certs.h"
#include "tls/internal.h"

#include <stdio.h>
#include <stdlib.h>

static void require(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "tests/unit/tls/identity: %s\n", what);
	exit(1);
}

static struct identity make_p256(void)
{
	struct identity made;

	require(certificate_make_self_signed("mx.test.example", &made.pem, &made.size) == 0,
		"no P-256 identity");
	return made;
}

/* wolfCrypt takes seconds for an RSA key under sanitizers. */
static struct identity make_rsa(void)
{
	struct identity made = {.pem = calloc(1, 16384)};
	FILE *f = popen(
		"openssl req -x509 -newkey rsa:2048 -nodes -keyout - -days 30 -subj /CN=mx.test.example "
		"2>/dev/null",
		"r");

	require(f && made.pem, "cannot run openssl");
	made.size = fread(made.pem, 1, 16383, f);
	require(pclose(f) == 0 && made.size > 0, "no RSA identity");
	return made;
}

const struct identity *identity_get(enum identity_kind kind)
{
	static struct identity identities[2];

	require(tls_global_init() == 0, "TLS does not start");
	if (!identities[kind].pem)
		identities[kind] = kind == IDENTITY_P256 ? make_p256() : make_rsa();
	return &identities[kind];
}

struct tls_context *identity_server(enum identity_kind kind, const uint8_t *ticket_keys,
				    uint32_t listener_id)
{
	const struct identity *i = identity_get(kind);
	char error[256];
	struct tls_context *context = tls_context_create_server(i->pem, i->size, i->pem, i->size,
								ticket_keys, listener_id, error);

	require(context != NULL, error);
	return context;
}

struct tls_context *identity_client(void)
{
	char error[256];
	struct tls_context *context;

	require(tls_global_init() == 0, "TLS does not start");
	context = tls_context_create_client(error);
	require(context != NULL, error);
	return context;
}

struct tls_context *identity_client_tls12(void)
{
	struct tls_context *context = identity_client();

	wolfSSL_CTX_set_options(context->wolf, WOLFSSL_OP_NO_TLSv1_3);
	return context;
}

struct tls_context *identity_client_retry(void)
{
	int groups[] = {WOLFSSL_ECC_SECP521R1, WOLFSSL_ECC_SECP256R1};
	struct tls_context *context = identity_client();

	require(wolfSSL_CTX_set_groups(context->wolf, groups, 2) == WOLFSSL_SUCCESS, "no groups");
	return context;
}
