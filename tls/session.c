/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Sessions: one TLS connection (RFC 8446, RFC 5246) as steps over lent bytes. A step uses what was
 * lent, emits what it has to send through the settings, and answers; nothing is kept but what the
 * library buffers of a record that has not come whole.
 *
 * Owner: the worker of its connection. Memory: malloc, about 5 KB while idle, 20 KB during the
 * handshake. Always true: after TLS_ERROR every later step answers TLS_ERROR.
 */
#include "tls/internal.h"

#include <wolfssl/error-ssl.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct tls_session *tls_session_create(struct tls_context *context,
				       const struct tls_session_settings *settings)
{
	struct tls_session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->wolf = wolfSSL_new(context->wolf);
	if (!session->wolf)
		goto fail;
	session->context = context;
	session->settings = *settings;
	session->expects_hello = context->server;
	wolfSSL_SetIOReadCtx(session->wolf, session);
	wolfSSL_SetIOWriteCtx(session->wolf, session);
	if (!context->server) {
		const char *name = settings->server_name;

		wolfSSL_SetCertCbCtx(session->wolf, session);
		if (name && name[0] &&
		    wolfSSL_UseSNI(session->wolf, WOLFSSL_SNI_HOST_NAME, name,
				   (unsigned short)strlen(name)) != WOLFSSL_SUCCESS)
			goto fail;
	}
	session->settings.server_name = NULL; /* the caller's text need not stay */
	tls_context_retain(context);
	return session;
fail:
	wolfSSL_free(session->wolf);
	free(session);
	return NULL;
}

void tls_session_destroy(struct tls_session *session)
{
	if (!session)
		return;
	wolfSSL_free(session->wolf);
	tls_context_release(session->context);
	free(session);
}

void tls_session_input(struct tls_session *session, const uint8_t *data, size_t size)
{
	session->input = data;
	session->input_size = size;
}

size_t tls_session_input_left(const struct tls_session *session)
{
	return session->input_size;
}

bool tls_session_expects_hello(const struct tls_session *session)
{
	return session->expects_hello;
}

static enum tls_result fail(struct tls_session *session, int error)
{
	session->error = error ? error : WOLFSSL_FATAL_ERROR;
	tls_session_describe(session);
	return TLS_ERROR;
}

/* What a call that did not succeed means. */
static enum tls_result judge(struct tls_session *session, int result)
{
	int error = wolfSSL_get_error(session->wolf, result);

	switch (error) {
	case WOLFSSL_ERROR_WANT_READ:
		/* The library asks again only when nothing is left to give. */
		return session->input_size == 0 ? TLS_WANT_INPUT : fail(session, BUFFER_ERROR);
	case WC_PENDING_E:
		return TLS_PENDING;
	case WOLFSSL_ERROR_ZERO_RETURN:
		return session->established ? TLS_END : fail(session, error);
	default:
		return fail(session, error);
	}
}

enum tls_result tls_session_handshake(struct tls_session *session)
{
	int result;

	if (session->error)
		return TLS_ERROR;
	if (session->established)
		return TLS_DONE;
	if (session->input_size > 0)
		session->expects_hello = false;
	result = session->context->server ? wolfSSL_accept(session->wolf)
					  : wolfSSL_connect(session->wolf);
	if (result != WOLFSSL_SUCCESS)
		return judge(session, result);
	session->established = true;
	return TLS_DONE;
}

enum tls_result tls_session_read(struct tls_session *session, void *to, size_t capacity,
				 size_t *size)
{
	int result;

	if (session->error)
		return TLS_ERROR;
	assert(session->established && capacity > 0);
	if (capacity > INT32_MAX)
		capacity = INT32_MAX;
	result = wolfSSL_read(session->wolf, to, (int)capacity);
	if (result <= 0)
		return judge(session, result);
	*size = (size_t)result;
	return TLS_DONE;
}

enum tls_result tls_session_write(struct tls_session *session, const void *data, size_t size)
{
	const uint8_t *p = data;

	if (session->error)
		return TLS_ERROR;
	assert(session->established);
	while (size > 0) {
		int n = size > INT32_MAX ? INT32_MAX : (int)size;
		int result = wolfSSL_write(session->wolf, p, n);

		if (result <= 0)
			return fail(session, wolfSSL_get_error(session->wolf, result));
		p += result;
		size -= (size_t)result;
	}
	return TLS_DONE;
}

void tls_session_close(struct tls_session *session)
{
	if (session->established && !session->error)
		wolfSSL_shutdown(session->wolf);
}

void tls_session_information(const struct tls_session *session, struct tls_information *out)
{
	WOLFSSL *wolf = session->wolf;
	int suite = wolfSSL_get_current_cipher_suite(wolf);
	const char *group = wolfSSL_get_curve_name(wolf);
	const char *cipher = wolfSSL_get_cipher_name_iana_from_suite((unsigned char)(suite >> 8),
								     (unsigned char)suite);

	memset(out, 0, sizeof(*out));
	out->version = wolfSSL_get_version(wolf);
	out->cipher = cipher ? cipher : "";
	out->group = group ? group : "";
	out->resumed = wolfSSL_session_reused(wolf) == 1;
	out->has_peer_certificate = session->has_peer_certificate;
	memcpy(out->peer_certificate_sha256, session->peer_certificate_sha256,
	       sizeof(out->peer_certificate_sha256));
}

const char *tls_session_error(const struct tls_session *session)
{
	return session->error_text;
}
