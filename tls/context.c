/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Contexts: what all sessions of one worker and one listener (or of its client side) have in
 * common. Built by the control plane, used by one worker, never changed once a session was made
 * from it.
 *
 * Servers offer TLS 1.2 and 1.3 with AEAD and forward secrecy only (RFC 9325, 4). Clients offer a
 * few CBC suites more, last: opportunistic TLS is measured against clear text, which is what a peer
 * without them would get. Neither side renegotiates, compresses or takes early data: the library is
 * built without.
 */
#include "tls/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUITES_AEAD                                                                       \
	"TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256:" \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                      \
	"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                      \
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define SUITES_CLIENT_ONLY                                     \
	":DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384" \
	":ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256"   \
	":ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384"   \
	":ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA"

/* Ciphertext comes from what was lent. Never "connection closed": whoever lends knows about FIN. */
static int on_receive(WOLFSSL *wolf, char *to, int capacity, void *user)
{
	struct tls_session *session = user;
	size_t n = session->input_size;

	if (n == 0)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	if (n > (size_t)capacity)
		n = (size_t)capacity;
	memcpy(to, session->input, n);
	session->input += n;
	session->input_size -= n;
	return (int)n;
}

/* RFC 8446, 4.1.3: a ServerHello with this random is a HelloRetryRequest. */
static bool is_hello_retry(const uint8_t *data, size_t size)
{
	static const uint8_t retry[32] = {
		0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C,
		0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2, 0xA2, 0x11, 0x16, 0x7A, 0xBB,
		0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
	};
	/* record header 5, handshake header 4, legacy_version 2 */
	return size >= 11 + sizeof(retry) && data[0] == 22 && data[5] == 2 &&
	       memcmp(data + 11, retry, sizeof(retry)) == 0;
}

static int on_send(WOLFSSL *wolf, char *data, int size, void *user)
{
	struct tls_session *session = user;
	const uint8_t *bytes = (const uint8_t *)data;

	if (session->context->server && !session->established &&
	    is_hello_retry(bytes, (size_t)size))
		session->expects_hello = true;
	if (session->settings.emit(session->settings.context, bytes, (size_t)size) < 0)
		return WOLFSSL_CBIO_ERR_GENERAL;
	return size;
}

static int refuse(char *error, const char *what, int code)
{
	char reason[WOLFSSL_MAX_ERROR_SZ] = "";

	if (code < 0)
		wolfSSL_ERR_error_string_n((unsigned long)-code, reason, sizeof(reason));
	snprintf(error, 256, "%s%s%.150s", what, reason[0] ? ": " : "", reason);
	return -1;
}

static struct tls_context *context_alloc(WOLFSSL_METHOD *method, bool server, char *error)
{
	static int groups[] = {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1};
	const char *suites = server ? SUITES_AEAD : SUITES_AEAD SUITES_CLIENT_ONLY;
	struct tls_context *context = calloc(1, sizeof(*context));

	error[0] = '\0';
	if (context)
		context->wolf = wolfSSL_CTX_new(method);
	if (!context || !context->wolf) {
		free(context);
		refuse(error, "out of memory", 0);
		return NULL;
	}
	atomic_init(&context->references, 1);
	context->server = server;
	wolfSSL_CTX_SetIORecv(context->wolf, on_receive);
	wolfSSL_CTX_SetIOSend(context->wolf, on_send);
	/* The library's cache is global and locked. */
	wolfSSL_CTX_set_session_cache_mode(context->wolf, WOLFSSL_SESS_CACHE_OFF);
	if (wolfSSL_CTX_SetDevId(context->wolf, TLS_DEVICE_ID) == WOLFSSL_SUCCESS &&
	    wolfSSL_CTX_SetMinVersion(context->wolf, WOLFSSL_TLSV1_2) == WOLFSSL_SUCCESS &&
	    wolfSSL_CTX_set_group_messages(context->wolf) == WOLFSSL_SUCCESS &&
	    wolfSSL_CTX_set_cipher_list(context->wolf, suites) == WOLFSSL_SUCCESS &&
	    wolfSSL_CTX_set_groups(context->wolf, groups, sizeof(groups) / sizeof(groups[0])) ==
		    WOLFSSL_SUCCESS)
		return context;
	refuse(error, "the TLS library refuses its settings", 0);
	tls_context_release(context);
	return NULL;
}

static int load_identity(struct tls_context *context, const char *certificate_pem,
			 size_t certificate_size, const char *key_pem, size_t key_size, char *error)
{
	int result = wolfSSL_CTX_use_certificate_chain_buffer(
		context->wolf, (const unsigned char *)certificate_pem, (long)certificate_size);

	if (result != WOLFSSL_SUCCESS)
		return refuse(error, "the certificate does not parse", result);
	result = wolfSSL_CTX_use_PrivateKey_buffer(context->wolf, (const unsigned char *)key_pem,
						   (long)key_size, WOLFSSL_FILETYPE_PEM);
	if (result != WOLFSSL_SUCCESS)
		return refuse(error, "the private key does not parse", result);
	if (wolfSSL_CTX_check_private_key(context->wolf) != WOLFSSL_SUCCESS)
		return refuse(error, "the private key is not the certificate's", 0);
	return 0;
}

struct tls_context *tls_context_create_server(const char *certificate_pem, size_t certificate_size,
					      const char *key_pem, size_t key_size,
					      const uint8_t *ticket_keys, uint32_t listener_id,
					      char *error)
{
	struct tls_context *context = context_alloc(wolfTLS_server_method(), true, error);

	if (!context)
		return NULL;
	if (load_identity(context, certificate_pem, certificate_size, key_pem, key_size, error) < 0)
		goto fail;
	/* Clients are authenticated by SMTP, if at all: some old ones fail when asked for a
	 * certificate. */
	wolfSSL_CTX_set_verify(context->wolf, WOLFSSL_VERIFY_NONE, NULL);
	context->listener_id = listener_id;
	if (ticket_keys) {
		memcpy(context->ticket[0].name, ticket_keys, TLS_TICKET_NAME_SIZE);
		memcpy(context->ticket[0].key, ticket_keys + TLS_TICKET_NAME_SIZE,
		       TLS_TICKET_KEY_SIZE);
		context->ticket_keys = 1;
		if (tls_tickets_enable(context) < 0) {
			refuse(error, "the TLS library refuses the ticket keys", 0);
			goto fail;
		}
	} else if (wolfSSL_CTX_NoTicketTLSv12(context->wolf) != WOLFSSL_SUCCESS ||
		   wolfSSL_CTX_no_ticket_TLSv13(context->wolf) != 0) {
		refuse(error, "the TLS library does not switch tickets off", 0);
		goto fail;
	}
	return context;
fail:
	tls_context_release(context);
	return NULL;
}

/*
 * Called for the leaf, also without verification (WOLFSSL_ALWAYS_VERIFY_CB). Records whose
 * certificate it is; whether that is the right one is for a policy above. The handshake proves
 * possession of its key in any case.
 */
static int on_peer_certificate(int verified, WOLFSSL_X509_STORE_CTX *store)
{
	struct tls_session *session = store->userCtx;

	if (session && store->totalCerts > 0 &&
	    wc_Sha256Hash(store->certs[0].buffer, store->certs[0].length,
			  session->peer_certificate_sha256) == 0)
		session->has_peer_certificate = true;
	return 1;
}

struct tls_context *tls_context_create_client(char *error)
{
	struct tls_context *context = context_alloc(wolfTLS_client_method(), false, error);

	if (context)
		wolfSSL_CTX_set_verify(context->wolf, WOLFSSL_VERIFY_NONE, on_peer_certificate);
	return context;
}

bool tls_context_is_server(const struct tls_context *context)
{
	return context->server;
}

void tls_context_retain(struct tls_context *context)
{
	atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
}

void tls_context_release(struct tls_context *context)
{
	if (!context ||
	    atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1)
		return;
	wolfSSL_CTX_free(context->wolf);
	explicit_bzero(context->ticket, sizeof(context->ticket));
	free(context);
}
