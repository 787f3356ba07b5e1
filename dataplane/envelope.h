/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The envelope's encoding: what the SMTP server session writes, the ring carries and the spool
 * stores, so that it is built once. A sequence of fields {type u16, length u16, value}, little
 * endian; fields of a recipient follow its ENVELOPE_RECIPIENT. Unknown types are skipped by readers
 * (the spool's upgrade rule: new types may be added, the meaning of a type never changes).
 */
#ifndef MILLRACE_DATAPLANE_ENVELOPE_H
#define MILLRACE_DATAPLANE_ENVELOPE_H

#include "dataplane/buf/chunk.h"
#include "dataplane/net/address.h"

#include <stdint.h>

enum envelope_field {
	ENVELOPE_RECEIVED_AT = 1, /**< u64, wall-clock microseconds */
	ENVELOPE_MAIL_FROM = 2,	  /**< text; empty: the null reverse-path */
	ENVELOPE_ENVID = 3,	  /**< xtext as received */
	ENVELOPE_LISTENER = 4,	  /**< text: the listener's name */
	ENVELOPE_PEER = 5,	  /**< 16 bytes address, u16 port */
	ENVELOPE_HELO = 6,
	ENVELOPE_AUTH_USER = 7,
	ENVELOPE_TLS = 8, /**< "TLSv1.3 TLS_AES_128_GCM_SHA256" */
	ENVELOPE_TENANT = 9,
	ENVELOPE_CAMPAIGN = 10,
	ENVELOPE_POOL = 11,
	ENVELOPE_MESSAGE_ID = 12, /**< the Message-ID header's value, for logs */
	ENVELOPE_PROTOCOL = 13,	  /**< RFC 3848: ESMTP, ESMTPS, ESMTPSA … */
	ENVELOPE_SESSION = 14,	  /**< u64: worker << 48 | serial */
	ENVELOPE_HEADER_SIZE =
		15, /**< u32: octets of the header section, blank line included (RET=HDRS) */
	ENVELOPE_RECIPIENT = 32, /**< text; begins a recipient */
	ENVELOPE_ORCPT = 33,	 /**< xtext with its address type, as received */
	ENVELOPE_NOTIFY = 34,	 /**< u8, enum dsn_notify */
};

/** Append a field. @param size at most 65,535 @return 0 or -ENOBUFS; on error the list may hold a
 * torn field */
int envelope_put(struct chunk_list *list, struct chunk_pool *pool, enum envelope_field field,
		 const void *value, size_t size);
int envelope_put_text(struct chunk_list *list, struct chunk_pool *pool, enum envelope_field field,
		      const char *text);
int envelope_put_u64(struct chunk_list *list, struct chunk_pool *pool, enum envelope_field field,
		     uint64_t value);

/** Reads an envelope from contiguous memory. */
struct envelope_reader {
	const uint8_t *at;
	const uint8_t *end;
};

struct envelope_value {
	uint16_t field;
	uint16_t size;
	const uint8_t *value; /**< not terminated */
};

/** @return 1 when *value is the next field, 0 at the end, -EBADMSG when torn */
int envelope_next(struct envelope_reader *reader, struct envelope_value *value);
/** A value as u64; a shorter one is zero-extended. */
uint64_t envelope_u64(const struct envelope_value *value);

#endif
