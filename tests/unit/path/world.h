/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A world around a path table, for tests: a shard that grants slots and counts them, streams and
 * TCP that only keep books, and mail exchangers that behave as told. Virtual time; no network.
 *
 * Each delivery has a route of its own on the heap, and both are freed the moment that the outcome
 * is reported, so that the address sanitizer sees whoever looks at them later.
 */
#ifndef MILLRACE_TESTS_UNIT_PATH_WORLD_H
#define MILLRACE_TESTS_UNIT_PATH_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/path/path.h"

#define WORLD_HOSTS	 8
#define WORLD_LINKS	 64
#define WORLD_RESULTS	 4096
#define WORLD_RECIPIENTS 8

/** How a mail exchanger behaves. Zero is honest, without extensions. */
struct exchanger {
	int connect_error;    /**< what tcp_connect returns, or 0 */
	bool refuses;	      /**< RST */
	bool silent;	      /**< never answers the SYN */
	const char *greeting; /**< NULL: 220 */
	const char *features; /**< "250-…\r\n" lines before the last; NULL: none */
	bool starttls;
	bool breaks_tls;	/**< the handshake fails */
	bool breaks_tls_late;	/**< it fails at the EHLO after it (TLS 1.3) */
	bool injects;		/**< text behind the 220 of STARTTLS */
	const char *mail_reply; /**< NULL: 250 */
	const char *rcpt_reply; /**< to each RCPT from the second on; NULL: 250 */
	const char *bdat_reply; /**< NULL: 250 */
	const char *dot_reply;
	const char *extra; /**< said behind the reply to MAIL */
	bool hangs;	   /**< no answer to MAIL while this is set */
	bool resets_after_dot;
	unsigned messages_max; /**< then 421 to MAIL; 0: no limit */
	bool drops_idle;       /**< RST for the second MAIL on a connection */
	/* Seen. */
	unsigned connections;
	unsigned tls;
	unsigned messages;
	unsigned mail_commands, rcpt_commands;
	unsigned most_open, open;
	unsigned rset, quit, bdat;
	unsigned pipelined; /**< MAIL with more behind it */
};

/** What came back of one delivery. */
struct result {
	uint64_t cookie;
	uint32_t recipient_count;
	uint8_t outcome[WORLD_RECIPIENTS];
	uint8_t phase[WORLD_RECIPIENTS];
	uint16_t code[WORLD_RECIPIENTS];
	struct enhanced_code enhanced[WORLD_RECIPIENTS];
	char reply[REPLY_TEXT];
	bool slot_closed, tls, reused, possible_duplicate;
	unsigned hosts_tried;
	int host; /**< index of the exchanger, -1: none */
	uint64_t session;
	uint64_t connect_us, tls_us, transaction_us;
};

struct world {
	struct path_table *table;
	struct mr_now now;
	struct view view;
	struct exchanger hosts[WORLD_HOSTS];
	struct path_settings settings;
	struct ip_address source_v4, source_v6;
	bool has_v4, has_v6;
	unsigned host_count; /**< of the routes to be made */
	bool hosts_are_v6;
	uint32_t generation;
	uint32_t recipients; /**< per delivery */
	struct result results[WORLD_RESULTS];
	unsigned result_count;
	unsigned lent;
	unsigned slots_granted, slots_back;
	bool ring_full;
	uint64_t cookie;
	void *links;
};

struct world *world_make(uint32_t sessions, uint32_t paths);
/** Asserts that everything came back. */
void world_free(struct world *world);
/** Lend a delivery. */
uint64_t world_deliver(struct world *world, uint32_t path, bool may_open);
/** Turns until nothing moves. */
void world_run(struct world *world);
/** Let time pass, deadline by deadline. */
void world_pass(struct world *world, uint64_t us);
/** The only result with this cookie. */
const struct result *world_result(const struct world *world, uint64_t cookie);
/** The cookie's first recipient was delivered. */
void assert_delivered(const struct world *world, uint64_t cookie, int host);
/** The cookie's first recipient has this result. @param class with subject and detail: the enhanced
 * code */
void assert_result(const struct world *world, uint64_t cookie, enum outcome outcome,
		   enum smtp_phase phase, unsigned code, unsigned class, unsigned subject,
		   unsigned detail);
/** An exchanger says this, as it stands, on all its connections. */
void world_say(struct world *world, unsigned host, const char *octets);
/** Connections that are up. */
unsigned world_open(const struct world *world);

#endif
