/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Makes a self-signed certificate (RFC 5280) with wolfCrypt. Mail servers seldom verify each other
 * (RFC 7672, 1.3), so this is enough for opportunistic TLS until the operator has a certificate.
 */
#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>

#include "control/certs/certs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VALID_DAYS	3650
#define DER_MAX		2048
#define PEM_MAX		8192
#define HOSTNAME_MAX	253 /* RFC 1035, 2.3.4, as text */
#define COMMON_NAME_MAX 63  /* CTC_NAME_SIZE; ub-common-name is 64 (RFC 5280, A.1) */

static bool is_hostname(const char *text)
{
	size_t size = strlen(text);

	return size > 0 && size <= HOSTNAME_MAX &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
		       size;
}

/* DER length (X.690, 8.1.3). @return behind it */
static uint8_t *put_length(uint8_t *p, size_t length)
{
	if (length >= 256) {
		*p++ = 0x82;
		*p++ = (uint8_t)(length >> 8);
	} else if (length >= 128) {
		*p++ = 0x81;
	}
	*p++ = (uint8_t)length;
	return p;
}

/* SubjectAltName ::= SEQUENCE OF [2] IA5String (RFC 5280, 4.2.1.6). @return octets written */
static int encode_alternative_name(const char *hostname, uint8_t *out)
{
	size_t name = strlen(hostname);
	uint8_t *p = out;

	*p++ = 0x30;
	p = put_length(p, name + (name < 128 ? 2 : 3));
	*p++ = 0x82;
	p = put_length(p, name);
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): DER has lengths */
	memcpy(p, hostname, name);
	return (int)(p + name - out);
}

static int describe(Cert *cert, const char *hostname, ecc_key *key, WC_RNG *rng)
{
	if (wc_InitCert(cert) != 0)
		return -EIO;
	cert->sigType = CTC_SHA256wECDSA;
	cert->daysValid = VALID_DAYS;
	cert->selfSigned = 1;
	cert->serialSz = 16;
	if (wc_RNG_GenerateBlock(rng, cert->serial, 16) != 0)
		return -EIO;
	cert->serial[0] = (cert->serial[0] & 0x7f) | 0x40; /* positive, and never shorter */
	/* A longer name stands in subjectAltName alone. */
	if (strlen(hostname) <= COMMON_NAME_MAX)
		memcpy(cert->subject.commonName, hostname, strlen(hostname) + 1);
	else
		memcpy(cert->subject.commonName, "millrace", sizeof("millrace"));
	cert->subject.commonNameEnc = CTC_UTF8;
	cert->altNamesSz = encode_alternative_name(hostname, cert->altNames);
	if (wc_SetKeyUsage(cert, "digitalSignature") != 0 ||
	    wc_SetExtKeyUsage(cert, "serverAuth") != 0 ||
	    wc_SetSubjectKeyIdFromPublicKey(cert, NULL, key) != 0)
		return -EIO;
	return 0;
}

/* @return octets of PEM appended, or negative */
static int append_pem(const uint8_t *der, int der_size, int type, char *to, size_t room)
{
	int size = wc_DerToPem(der, (word32)der_size, (byte *)to, (word32)room, type);

	return size > 0 ? size : -EIO;
}

static int write_both(const char *hostname, ecc_key *key, WC_RNG *rng, char *pem, size_t room)
{
	uint8_t der[DER_MAX];
	Cert *cert = malloc(sizeof(*cert)); /* tens of kilobytes */
	int first, second, size, result;

	if (!cert)
		return -ENOMEM;
	result = describe(cert, hostname, key, rng);
	if (result < 0)
		goto out;
	result = -EIO;
	if (wc_MakeCert(cert, der, sizeof(der), NULL, key, rng) <= 0)
		goto out;
	size = wc_SignCert(cert->bodySz, cert->sigType, der, sizeof(der), NULL, key, rng);
	if (size <= 0)
		goto out;
	first = append_pem(der, size, CERT_TYPE, pem, room);
	if (first < 0)
		goto out;
	size = wc_EccKeyToDer(key, der, sizeof(der));
	if (size <= 0)
		goto out;
	second = append_pem(der, size, ECC_PRIVATEKEY_TYPE, pem + first, room - (size_t)first);
	if (second > 0)
		result = first + second;
out:
	explicit_bzero(der, sizeof(der));
	free(cert);
	return result;
}

int certificate_make_self_signed(const char *hostname, char **pem_out, size_t *size_out)
{
	char *pem;
	ecc_key key;
	WC_RNG rng;
	int result = -EIO;

	if (!is_hostname(hostname))
		return -EINVAL;
	pem = calloc(1, PEM_MAX);
	if (!pem)
		return -ENOMEM;
	if (wc_InitRng(&rng) != 0)
		goto no_rng;
	if (wc_ecc_init(&key) != 0)
		goto no_key;
	if (wc_ecc_make_key_ex(&rng, 32, &key, ECC_SECP256R1) == 0)
		result = write_both(hostname, &key, &rng, pem, PEM_MAX - 1);
	wc_ecc_free(&key);
no_key:
	wc_FreeRng(&rng);
no_rng:
	if (result < 0) {
		explicit_bzero(pem, PEM_MAX);
		free(pem);
		return result;
	}
	*pem_out = pem;
	*size_out = (size_t)result;
	return 0;
}
