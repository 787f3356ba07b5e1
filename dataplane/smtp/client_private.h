/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the SMTP client's engine share: client.c (session), client_transaction.c,
 * client_envelope.c. */
#ifndef MILLRACE_DATAPLANE_SMTP_CLIENT_PRIVATE_H
#define MILLRACE_DATAPLANE_SMTP_CLIENT_PRIVATE_H

#include "dataplane/smtp/client.h"

/** Longest command we write: MAIL with ENVID, RCPT with ORCPT (RFC 3461, 4: 500 more octets). */
#define CLIENT_COMMAND_MAX 1536

/** Hand bytes to the sink, unless an earlier write failed. */
void client_write(struct smtp_client *client, const void *data, size_t size);
/** Wait for the peer until now + timeout. */
void client_wait(struct smtp_client *client, uint64_t timeout_us);
/** The session is over. An open transaction is decided by what is in client->failure, or marked for
 * a restart. */
void client_fail(struct smtp_client *client, enum smtp_client_failure_kind kind,
		 enum smtp_phase phase);
/** As client_fail, with a reply of ours (printf). */
void client_fail_local(struct smtp_client *client, enum smtp_client_failure_kind kind,
		       enum smtp_phase phase, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/** The transaction's next step, as far as room and replies allow. */
void client_transaction_pump(struct smtp_client *client);
/** What came in one piece with a reply, behind it. */
enum reply_rest {
	REST_NOTHING,
	REST_FAREWELL, /**< as far as it goes, a 421 reply: the peer ends the session (RFC
			  5321, 3.8) */
	REST_REPLY,    /**< something else */
};

/** A complete reply of a transaction is in the parser. */
void client_transaction_reply(struct smtp_client *client, enum reply_rest rest);
/** The session failed with a transaction under way. */
void client_transaction_fail(struct smtp_client *client);
enum smtp_phase client_transaction_phase(const struct smtp_client *client);

/**
 * Decide what can be decided without asking the peer (RFC 1870, 6152, 6531, 9422).
 * @return recipients that are left to be sent
 */
uint32_t client_envelope_check(struct smtp_client *client);
/** @return the command's length in `line` (CLIENT_COMMAND_MAX), with CRLF */
size_t client_envelope_mail(const struct smtp_client *client, char *line);
size_t client_envelope_rcpt(const struct smtp_client *client,
			    const struct delivery_recipient *recipient, char *line);
/** RCPTMAX by what the peer states and what was learned; 0: none known. */
uint32_t client_recipients_max(const struct smtp_client *client);

#endif
