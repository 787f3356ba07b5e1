/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One mail transaction of a server session: sender, recipients and the message as it comes in, up
 * to the submission that goes to the queue shard (RFC 5321, 3.3).
 *
 * Owner: one worker, until it is sealed and handed over. Memory: it lives in one chunk, whose first
 * bytes become the submission; recipients and body are chunks of the worker's pool. Nothing of it
 * outlives transaction_free.
 */
#ifndef MILLRACE_DATAPLANE_SMTP_TRANSACTION_H
#define MILLRACE_DATAPLANE_SMTP_TRANSACTION_H

#include "dataplane/message.h"
#include "dataplane/net/hash.h"
#include "dataplane/smtp/address.h"
#include "dataplane/smtp/intake.h"
#include "dataplane/smtp/parameters.h"
#include "dataplane/smtp/recipient_set.h"

struct transaction {
	struct submission submission; /**< first: what the chunk is after it was handed over */
	struct smtp_address sender;
	char envid[SMTP_ENVID_MAX + 1]; /**< "" : not given */
	uint32_t recipients_seen;	/**< accepted, duplicates included */
	uint32_t recipients_refused;	/**< over the limit */
	uint32_t tiny_chunks;		/**< BDAT chunks that carried next to nothing */
	bool has_data;			/**< DATA or a first BDAT has begun */
	struct chunk_list recipients;	/**< encoded as in dataplane/envelope.h */
	uint64_t first_hash;		/**< of the first recipient, which is not in the set */
	struct recipient_set set;
	struct intake intake; /**< valid when has_data */
};
_Static_assert(sizeof(struct transaction) <= CHUNK_DATA, "a transaction lives in a chunk");

/** What the envelope says about where a message came from. Strings may be "" for: none. */
struct transaction_origin {
	uint64_t received_at_us; /**< wall-clock */
	uint64_t session;	 /**< worker << 48 | serial */
	const char *listener;
	const struct ip_address *peer;
	uint16_t peer_port;
	const char *helo;
	const char *user;
	const char *tls;
	const char *protocol;
	const char *tenant;
	const char *campaign;
	const char *pool;
	const char *message_id; /**< the Message-ID field's value */
};

/** @return NULL when there is no chunk */
struct transaction *transaction_begin(struct chunk_pool *pool, const struct message_id *id,
				      const struct smtp_address *sender,
				      const struct mail_parameters *parameters);
/**
 * Add a recipient. An address that is there already is not added again (the first one's NOTIFY and
 * ORCPT stand).
 * @param key of the worker, secret
 * @return 1 added, 0 a duplicate, -ENOBUFS: nothing changed that matters
 */
int transaction_add_recipient(struct transaction *transaction, struct chunk_pool *pool,
			      const struct hash_key *key, const struct smtp_address *address,
			      const struct rcpt_parameters *parameters);
/** The address of the only recipient. @param out SMTP_ADDRESS_TEXT octets @return out, or NULL when
 * there are several */
const char *transaction_only_recipient(const struct transaction *transaction, char *out);
/**
 * Write the envelope and complete the submission with the intake's body.
 * @return 0, or -ENOBUFS: the transaction is still to be freed
 */
int transaction_seal(struct transaction *transaction, struct chunk_pool *pool,
		     const struct transaction_origin *origin);
/** Give everything back, also what was sealed and not handed over. NULL is fine. */
void transaction_free(struct transaction *transaction, struct chunk_pool *pool);

#endif
