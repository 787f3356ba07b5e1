/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `show sessions` needs of one session, copied out between two turns of its worker. */
#ifndef MILLRACE_DATAPLANE_SESSION_LIST_H
#define MILLRACE_DATAPLANE_SESSION_LIST_H

#include "dataplane/tcp/tcp.h"

struct session_entry {
	uint64_t session; /**< worker << 48 | serial */
	bool inbound;
	bool tls;
	char state[24]; /**< the dialogue's step: "command", "data", "commit", "connect", "rcpt",
			   "idle" … */
	char name[64];	/**< inbound: listener; outbound: site */
	char peer_name[128]; /**< HELO name, or the exchanger's */
	char tls_text[64];   /**< version and cipher */
	struct tcp_endpoints endpoints;
	struct tcp_measure measure;
	uint64_t since_us; /**< monotonic */
	uint32_t messages;
	uint64_t bytes;
};

#endif
