/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reads out of a certificate (RFC 5280) what an operator wants to see. wolfCrypt parses; nothing is
 * verified here. */
#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include "control/certs/certs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool read_date(const byte *raw, int size, int64_t *out)
{
	const byte *date;
	byte format;
	int length;
	struct tm tm = {0};

	if (wc_GetDateInfo(raw, size, &date, &format, &length) != 0 ||
	    wc_GetDateAsCalendarTime(date, length, format, &tm) != 0)
		return false;
	*out = (int64_t)timegm(&tm);
	return true;
}

static void describe_ec_key(const DecodedCert *decoded, char *out, size_t size)
{
	int curve = wc_ecc_get_oid(decoded->pkCurveOID, NULL, NULL);
	const char *name = curve >= 0 ? wc_ecc_get_name(curve) : NULL;

	if (curve == ECC_SECP256R1)
		name = "P-256";
	else if (curve == ECC_SECP384R1)
		name = "P-384";
	else if (curve == ECC_SECP521R1)
		name = "P-521";
	snprintf(out, size, "EC %s", name ? name : "unknown curve");
}

static void describe_rsa_key(const DecodedCert *decoded, char *out, size_t size)
{
	RsaKey key;
	word32 at = 0;
	int bits = 0;

	if (wc_InitRsaKey(&key, NULL) == 0) {
		if (wc_RsaPublicKeyDecode(decoded->publicKey, &at, &key, decoded->pubKeySize) == 0)
			bits = 8 * wc_RsaEncryptSize(&key);
		wc_FreeRsaKey(&key);
	}
	snprintf(out, size, "RSA %d", bits);
}

static void describe_key(const DecodedCert *decoded, char *out, size_t size)
{
	switch (decoded->keyOID) {
	case ECDSAk:
		describe_ec_key(decoded, out, size);
		break;
	case RSAk:
	case RSAPSSk:
		describe_rsa_key(decoded, out, size);
		break;
	case ED25519k:
		snprintf(out, size, "Ed25519");
		break;
	default:
		snprintf(out, size, "unknown");
		break;
	}
}

/* @return false: not a name that we show */
static bool read_name(const DNS_entry *entry, char *out, size_t size)
{
	if (entry->type != ASN_DNS_TYPE || entry->len <= 0 || (size_t)entry->len >= size)
		return false;
	for (int i = 0; i < entry->len; i++)
		out[i] = entry->name[i] > ' ' && entry->name[i] < 0x7f ? entry->name[i] : '?';
	out[entry->len] = '\0';
	return true;
}

static void read_names(const DecodedCert *decoded, struct certificate_information *out)
{
	for (const DNS_entry *entry = decoded->altNames; entry; entry = entry->next) {
		if (out->name_count == CERTIFICATE_NAMES) {
			out->more_names = true;
			break;
		}
		if (read_name(entry, out->names[out->name_count], sizeof(out->names[0])))
			out->name_count++;
	}
	/* The library prepends: give back the certificate's order. */
	for (unsigned i = 0, j = out->name_count; i + 1 < j; i++) {
		char swap[sizeof(out->names[0])];

		j--;
		memcpy(swap, out->names[i], sizeof(swap));
		memcpy(out->names[i], out->names[j], sizeof(swap));
		memcpy(out->names[j], swap, sizeof(swap));
	}
}

static unsigned count_certificates(const char *pem, size_t size)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----";
	const char *end = pem + size;
	unsigned count = 0;

	while ((pem = memmem(pem, (size_t)(end - pem), begin, sizeof(begin) - 1)) != NULL) {
		pem += sizeof(begin) - 1;
		count++;
	}
	return count;
}

static int read_decoded(DecodedCert *decoded, struct certificate_information *out)
{
	if (wc_ParseCert(decoded, CERT_TYPE, NO_VERIFY, NULL) != 0 ||
	    !read_date(decoded->beforeDate, decoded->beforeDateLen, &out->not_before_s) ||
	    !read_date(decoded->afterDate, decoded->afterDateLen, &out->not_after_s))
		return -EINVAL;
	snprintf(out->subject, sizeof(out->subject), "%.255s", decoded->subject);
	snprintf(out->issuer, sizeof(out->issuer), "%.255s", decoded->issuer);
	out->self_signed = memcmp(decoded->subjectHash, decoded->issuerHash,
				  sizeof(decoded->subjectHash)) == 0;
	describe_key(decoded, out->key_type, sizeof(out->key_type));
	read_names(decoded, out);
	return 0;
}

int certificate_inspect(const char *chain_pem, size_t chain_size,
			struct certificate_information *out)
{
	DecodedCert *decoded = malloc(sizeof(*decoded));
	DerBuffer *der = NULL;
	int result = -EINVAL;

	memset(out, 0, sizeof(*out));
	if (!decoded)
		return -ENOMEM;
	out->chain_length = count_certificates(chain_pem, chain_size);
	if (wc_PemToDer((const unsigned char *)chain_pem, (long)chain_size, CERT_TYPE, &der, NULL,
			NULL, NULL) == 0) {
		wc_InitDecodedCert(decoded, der->buffer, der->length, NULL);
		result = read_decoded(decoded, out);
		wc_FreeDecodedCert(decoded);
		if (result == 0 && wc_Sha256Hash(der->buffer, der->length, out->sha256) != 0)
			result = -EIO;
	}
	wc_FreeDer(&der);
	free(decoded);
	return result;
}
