/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Certificates and private keys of listeners: from files, or self-signed at first start and kept. A
 * certificate is immutable once loaded; a reload loads new ones, builds new TLS contexts off-line
 * (certificate_context, one a worker and listener) and publishes them with the next view, while
 * live sessions keep the old (DESIGN.md, 7).
 *
 * Owner: the control thread that loads the configuration. Memory: malloc; the key is wiped when it
 * is freed.
 */
#ifndef MILLRACE_CONTROL_CERTS_CERTS_H
#define MILLRACE_CONTROL_CERTS_CERTS_H

#include "tls/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CERTIFICATE_ERROR 512
#define CERTIFICATE_NAMES 32
/** Less left than this and certificate_load warns. */
#define CERTIFICATE_WARN_DAYS 14

/** What an operator wants to know of the leaf. */
struct certificate_information {
	char subject[256];
	char issuer[256];
	unsigned name_count;
	char names[CERTIFICATE_NAMES][256]; /**< dNSNames of subjectAltName */
	bool more_names;		    /**< there are more than CERTIFICATE_NAMES */
	int64_t not_before_s;		    /**< since 1970 */
	int64_t not_after_s;
	char key_type[32]; /**< "EC P-256", "RSA 2048", … */
	uint8_t sha256[32];
	bool self_signed; /**< subject and issuer are the same */
	unsigned chain_length;
	char source[512]; /**< the file it came from */
};

struct certificate {
	char *chain_pem; /**< leaf first */
	size_t chain_size;
	char *key_pem;
	size_t key_size;
	struct certificate_information information;
	char warning[CERTIFICATE_ERROR]; /**< what an operator should see to, or "" */
};

/**
 * Load a certificate chain and its key, PEM, which may be one file. The key must be the
 * certificate's. An expired certificate is loaded, with a warning: mail servers rarely check, and
 * none at all is worse.
 * @param wall_us the present
 * @param error at least CERTIFICATE_ERROR bytes: which file, and what is wrong with it
 * @return NULL on error
 */
struct certificate *certificate_load(const char *certificate_file, const char *key_file,
				     uint64_t wall_us, char *error);
/**
 * The self-signed certificate of a host name, kept in `state_directory` as one file of mode 0600.
 * Made when there is none, and again (with a warning that says why) when what is there does not
 * load, is another name's, or has expired.
 * @return NULL on error
 */
struct certificate *certificate_self_signed(const char *state_directory, const char *hostname,
					    uint64_t wall_us, char *error);
void certificate_free(struct certificate *certificate);

/** A server context of one worker; parameters as for tls_context_create_server. */
struct tls_context *certificate_context(const struct certificate *certificate,
					const uint8_t *ticket_keys, uint32_t listener_id,
					char *error);

/** Fill in all of `out` but `source` from the first certificate of a PEM text. @return 0 or -EINVAL
 */
int certificate_inspect(const char *chain_pem, size_t chain_size,
			struct certificate_information *out);

/**
 * Make a P-256 key and a certificate over it that is its own issuer, with the host name as subject
 * and subjectAltName, valid ten years from yesterday.
 * @param pem_out certificate, then key; malloc'ed, to be wiped by the caller
 * @return 0, -EINVAL for a bad name, -ENOMEM, -EIO when the library fails
 */
int certificate_make_self_signed(const char *hostname, char **pem_out, size_t *size_out);

#endif
