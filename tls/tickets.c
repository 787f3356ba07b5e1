/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Session tickets (RFC 8446, 4.6.1; RFC 5077). wolfSSL's own ticket key belongs to one context and
 * sits behind a mutex; ours comes from the control plane, is the same on every worker, and is only
 * read here.
 *
 * A ticket is AES-256-GCM under the current key. Its nonce is random, and the key's name and the
 * listener's id are authenticated with it, so that a ticket is worth nothing at another listener.
 * One older key is still accepted; a ticket under it is answered with a new one.
 */
#include "tls/internal.h"

#include <wolfssl/wolfcrypt/aes.h>

#include <assert.h>
#include <errno.h>
#include <string.h>

#define NONCE_SIZE 12u
#define TAG_SIZE   16u
_Static_assert(NONCE_SIZE <= WOLFSSL_TICKET_IV_SZ && TAG_SIZE < WOLFSSL_TICKET_MAC_SZ,
	       "wolfSSL's fields hold ours");

struct associated_data {
	uint8_t label[8];
	uint8_t name[TLS_TICKET_NAME_SIZE];
	uint8_t listener_id[4];
	uint8_t size[4];
};

static void bind_ticket(struct associated_data *aad, const struct tls_context *context,
			const uint8_t *name, int size)
{
	uint32_t id = context->listener_id;
	uint32_t octets = (uint32_t)size;

	memcpy(aad->label, "mrticket", sizeof(aad->label));
	memcpy(aad->name, name, sizeof(aad->name));
	memcpy(aad->listener_id, &id, sizeof(id));
	memcpy(aad->size, &octets, sizeof(octets));
}

static int seal(const struct tls_ticket_key *key, const struct associated_data *aad,
		const uint8_t *nonce, uint8_t *data, int size, uint8_t *tag)
{
	Aes aes;
	int result = wc_AesInit(&aes, NULL, INVALID_DEVID);

	if (result == 0)
		result = wc_AesGcmSetKey(&aes, key->key, sizeof(key->key));
	if (result == 0)
		result = wc_AesGcmEncrypt(&aes, data, data, (word32)size, nonce, NONCE_SIZE, tag,
					  TAG_SIZE, (const byte *)aad, sizeof(*aad));
	wc_AesFree(&aes);
	return result;
}

static int open_sealed(const struct tls_ticket_key *key, const struct associated_data *aad,
		       const uint8_t *nonce, uint8_t *data, int size, const uint8_t *tag)
{
	Aes aes;
	int result = wc_AesInit(&aes, NULL, INVALID_DEVID);

	if (result == 0)
		result = wc_AesGcmSetKey(&aes, key->key, sizeof(key->key));
	if (result == 0)
		result = wc_AesGcmDecrypt(&aes, data, data, (word32)size, nonce, NONCE_SIZE, tag,
					  TAG_SIZE, (const byte *)aad, sizeof(*aad));
	wc_AesFree(&aes);
	return result;
}

static int issue(const struct tls_context *context, uint8_t *name, uint8_t *iv, uint8_t *mac,
		 uint8_t *ticket, int size, int *out_size)
{
	struct associated_data aad;

	memcpy(name, context->ticket[0].name, TLS_TICKET_NAME_SIZE);
	memset(iv, 0, WOLFSSL_TICKET_IV_SZ);
	memset(mac, 0, WOLFSSL_TICKET_MAC_SZ);
	if (tls_entropy(iv, NONCE_SIZE) != 0)
		return WOLFSSL_TICKET_RET_FATAL;
	bind_ticket(&aad, context, name, size);
	if (seal(&context->ticket[0], &aad, iv, ticket, size, mac) != 0)
		return WOLFSSL_TICKET_RET_FATAL;
	*out_size = size;
	return WOLFSSL_TICKET_RET_OK;
}

/*
 * TLS 1.3 sends a new ticket with every handshake, and the library takes RET_CREATE there for a
 * refusal; in TLS 1.2 it is how a new one is asked for.
 */
static int accept_old(WOLFSSL *wolf)
{
	return wolfSSL_version(wolf) >= TLS1_3_VERSION ? WOLFSSL_TICKET_RET_OK
						       : WOLFSSL_TICKET_RET_CREATE;
}

static int take(WOLFSSL *wolf, const struct tls_context *context, const uint8_t *name,
		const uint8_t *iv, const uint8_t *mac, uint8_t *ticket, int size, int *out_size)
{
	for (unsigned i = 0; i < context->ticket_keys; i++) {
		struct associated_data aad;

		if (memcmp(context->ticket[i].name, name, TLS_TICKET_NAME_SIZE) != 0)
			continue;
		bind_ticket(&aad, context, name, size);
		if (open_sealed(&context->ticket[i], &aad, iv, ticket, size, mac) != 0)
			return WOLFSSL_TICKET_RET_REJECT;
		*out_size = size;
		return i == 0 ? WOLFSSL_TICKET_RET_OK : accept_old(wolf);
	}
	return WOLFSSL_TICKET_RET_REJECT;
}

static int on_ticket(WOLFSSL *wolf, uint8_t *name, uint8_t *iv, uint8_t *mac, int encrypt,
		     uint8_t *ticket, int size, int *out_size, void *user)
{
	const struct tls_context *context = user;

	if (encrypt)
		return issue(context, name, iv, mac, ticket, size, out_size);
	return take(wolf, context, name, iv, mac, ticket, size, out_size);
}

int tls_tickets_enable(struct tls_context *context)
{
	if (wolfSSL_CTX_set_TicketEncCb(context->wolf, on_ticket) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_set_TicketEncCtx(context->wolf, context) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_set_num_tickets(context->wolf, 1) != WOLFSSL_SUCCESS)
		return -EINVAL;
	return 0;
}

void tls_context_set_previous_ticket_key(struct tls_context *context, const uint8_t *ticket_key)
{
	assert(context->server && context->ticket_keys == 1);
	memcpy(context->ticket[1].name, ticket_key, TLS_TICKET_NAME_SIZE);
	memcpy(context->ticket[1].key, ticket_key + TLS_TICKET_NAME_SIZE, TLS_TICKET_KEY_SIZE);
	context->ticket_keys = 2;
}
