/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Failures in words that an operator can act on: the peer's alert by its name (RFC 8446, 6), else
 * the library's. */
#include "tls/internal.h"

#include <wolfssl/error-ssl.h>

#include <stdio.h>

#define ALERTS(X)                               \
	X(0, close_notify)                      \
	X(10, unexpected_message)               \
	X(20, bad_record_mac)                   \
	X(21, decryption_failed)                \
	X(22, record_overflow)                  \
	X(30, decompression_failure)            \
	X(40, handshake_failure)                \
	X(41, no_certificate)                   \
	X(42, bad_certificate)                  \
	X(43, unsupported_certificate)          \
	X(44, certificate_revoked)              \
	X(45, certificate_expired)              \
	X(46, certificate_unknown)              \
	X(47, illegal_parameter)                \
	X(48, unknown_ca)                       \
	X(49, access_denied)                    \
	X(50, decode_error)                     \
	X(51, decrypt_error)                    \
	X(60, export_restriction)               \
	X(70, protocol_version)                 \
	X(71, insufficient_security)            \
	X(80, internal_error)                   \
	X(86, inappropriate_fallback)           \
	X(90, user_canceled)                    \
	X(100, no_renegotiation)                \
	X(109, missing_extension)               \
	X(110, unsupported_extension)           \
	X(112, unrecognized_name)               \
	X(113, bad_certificate_status_response) \
	X(115, unknown_psk_identity)            \
	X(116, certificate_required)            \
	X(120, no_application_protocol)

static const char *alert_name(int code)
{
	switch (code) {
#define CASE(number, name) \
	case number:       \
		return #name;
		ALERTS(CASE)
#undef CASE
	default:
		return "unknown";
	}
}

void tls_session_describe(struct tls_session *session)
{
	WOLFSSL_ALERT_HISTORY history;
	char text[WOLFSSL_MAX_ERROR_SZ] = "";

	if (session->error == FATAL_ERROR &&
	    wolfSSL_get_alert_history(session->wolf, &history) == WOLFSSL_SUCCESS &&
	    history.last_rx.code >= 0) {
		snprintf(session->error_text, sizeof(session->error_text),
			 "the peer sent alert %s (%d)", alert_name(history.last_rx.code),
			 history.last_rx.code);
		return;
	}
	if (session->error == ZERO_RETURN || session->error == WOLFSSL_ERROR_ZERO_RETURN) {
		snprintf(session->error_text, sizeof(session->error_text),
			 "the peer closed TLS during the handshake");
		return;
	}
	wolfSSL_ERR_error_string_n((unsigned long)-session->error, text, sizeof(text));
	snprintf(session->error_text, sizeof(session->error_text), "%.90s (%d)", text,
		 session->error);
}
