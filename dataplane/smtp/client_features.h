/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a server offers in its EHLO reply (RFC 5321, 4.1.1.1). Pure; owned by the session it is
 * embedded in. */
#ifndef MILLRACE_DATAPLANE_SMTP_CLIENT_FEATURES_H
#define MILLRACE_DATAPLANE_SMTP_CLIENT_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

struct client_features {
	bool starttls;		 /**< RFC 3207 */
	bool pipelining;	 /**< RFC 2920 */
	bool chunking;		 /**< RFC 3030 */
	bool eightbit;		 /**< 8BITMIME, RFC 6152 */
	bool smtputf8;		 /**< RFC 6531 */
	bool size;		 /**< RFC 1870 */
	bool dsn;		 /**< RFC 3461 */
	bool enhanced;		 /**< RFC 2034 */
	uint64_t size_max;	 /**< octets; 0: not stated */
	uint32_t mail_max;	 /**< LIMITS MAILMAX, RFC 9422; 0: not stated */
	uint32_t recipients_max; /**< LIMITS RCPTMAX */
	uint32_t domains_max;	 /**< LIMITS RCPTDOMAINMAX */
};

/** Read one line behind the first of the reply. Unknown and malformed keywords are skipped. @param
 * line text behind the code */
void client_features_read(struct client_features *features, const char *line);

#endif
