/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The fields that a relay writes: Received (RFC 5321, 4.4; RFC 3848), Date and Message-ID (RFC
 * 5322; RFC 6409, 8). */
#ifndef MILLRACE_DATAPLANE_SMTP_TRACE_H
#define MILLRACE_DATAPLANE_SMTP_TRACE_H

#include "dataplane/message.h"

#include <stddef.h>
#include <stdint.h>

/** Room for the text of any trace field: names of 255 octets each and an address, folded. */
#define TRACE_TEXT 1400
/** "Sun, 22 Nov 2026 16:09:34 +0000" and the end. */
#define TRACE_DATE 32
/** Room for Date and Message-ID fields. */
#define TRACE_MISSING 400

struct trace {
	const char *helo;
	const struct ip_address *peer;
	const char *hostname;
	const char *protocol;  /**< "ESMTPS" … */
	const char *tls;       /**< "TLSv1.3 TLS_AES_128_GCM_SHA256", or "" */
	const char *recipient; /**< the only one, or NULL: a trace field must not tell others'
				  addresses */
	struct message_id id;
	uint64_t wall_us;
};

/** RFC 5322, 3.3, in UTC. @param out TRACE_DATE octets @return out */
char *trace_date(uint64_t wall_us, char *out);
/** The Received field with its CRLF. @param out TRACE_TEXT octets @return its size */
size_t trace_received(const struct trace *trace, char *out);
/** Date and Message-ID, as asked for, with their CRLFs. @param out TRACE_MISSING octets @return
 * size, 0: none */
size_t trace_missing_fields(const struct trace *trace, bool date, bool message_id, char *out);

#endif
