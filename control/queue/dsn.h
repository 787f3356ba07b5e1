/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How a delivery status notification reads: multipart/report with a part for people, one for
 * programs, and the message or its header (RFC 3461, 3462, 3464; RFC 6533 where addresses or
 * headers are UTF-8). Pure: it is handed everything, and appends to a list of chunks.
 */
#ifndef MILLRACE_CONTROL_QUEUE_DSN_H
#define MILLRACE_CONTROL_QUEUE_DSN_H

#include "dataplane/buf/chunk.h"
#include "dataplane/message.h"

/** RFC 3464, 2.3.3 */
enum dsn_action {
	DSN_FAILED,
	DSN_DELAYED,
	DSN_RELAYED,
};

struct dsn_recipient {
	const char *address;
	const char *orcpt; /**< xtext as received, with its type; or NULL */
	enum dsn_action action;
	bool expired;
	struct enhanced_code status;
	uint16_t code;
	bool remote;		 /**< `reply` is the peer's */
	const char *host;	 /**< the peer, or "" */
	const char *reply;	 /**< or "" */
	uint64_t attempted_us;	 /**< wall clock; 0: never */
	uint64_t retry_until_us; /**< wall clock; of DSN_DELAYED */
};

struct dsn {
	struct message_id id;	 /**< of the notification */
	struct message_id about; /**< of the message */
	const char *hostname;	 /**< Reporting-MTA */
	const char *postmaster;
	const char *to;			   /**< the message's sender */
	const char *envid;		   /**< xtext as received, or NULL */
	uint64_t arrived_us;		   /**< wall clock */
	uint64_t now_us;		   /**< wall clock */
	uint32_t flags;			   /**< of the message: enum message_flag */
	const struct chunk_list *original; /**< or NULL: cannot be returned */
	uint32_t header_size;		   /**< of the original; 0: unknown */
	bool full;			   /**< return all of it */
	unsigned recipient_count;
	const struct dsn_recipient *recipients; /**< all with the same action */
};

struct dsn_result {
	uint32_t flags;	      /**< of the notification: enum message_flag */
	uint32_t header_size; /**< octets of its header, blank line included */
};

/** @return 0, or -ENOBUFS, and then what was appended is freed and the list empty */
int dsn_compose(const struct dsn *dsn, struct chunk_list *out, struct chunk_pool *pool,
		struct dsn_result *result);

/** Decode xtext (RFC 3461, 4). @return to; malformed sequences stay as they are */
char *xtext_decode(const char *text, char *to, size_t size);

#endif
