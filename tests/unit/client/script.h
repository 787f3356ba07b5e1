/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A scripted SMTP server for the client's engine, with virtual time. A script is a text, one step a
 * line:
 *
 *   S text      the server says it (CRLF is added); lines that follow each other come in one piece
 *   S* text     the same, without CRLF behind it
 *   C text      the client must have said just this next (a line, CRLF is taken off)
 *   -           the client must have said no more
 *   skip        whatever the client has said is fine
 *   E event     the next event must be: ready, done, failed, starttls
 *   begin       give the engine the delivery at hand (script_run's argument)
 *   next        the same, with the second delivery
 *   tls         the handshake is complete        tlsfail   it failed
 *   lost        the connection is gone           timeout   let the deadline pass
 *   wait n      n seconds pass                   quit
 *   hold        give no room until "room n"      room n    n bytes of room
 *   unacked n   the peer's TCP has not acknowledged n bytes
 *
 * Every script is run with the server's text in one piece, octet by octet, and with room for one
 * octet at a time.
 */
#ifndef MILLRACE_TESTS_UNIT_CLIENT_SCRIPT_H
#define MILLRACE_TESTS_UNIT_CLIENT_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/smtp/client.h"

/** How the server's text and the room come in. */
enum script_mode {
	SCRIPT_WHOLE,
	SCRIPT_OCTETS,
	SCRIPT_ROOM,
	SCRIPT_MODES,
};

struct script {
	const char *text;
	enum tls_level tls;
	bool no_pipelining, no_chunking;
	bool avoid_tls, avoid_pipelining, avoid_chunking;
	uint32_t recipients_learned;
	bool whole_only; /**< what is tested shows only when bytes come together */
	/** Makes the deliveries; called for each run. */
	struct delivery *(*make)(void);
	struct delivery *(*make_next)(void);
	/** Looks at the end of each run. */
	void (*check)(const struct smtp_client *client, const struct delivery *delivery,
		      const struct delivery *next);
};

void script_run(const struct script *script);

/** A delivery on the heap with recipients a0@example.org, a1@…; the body is cut into chunks of odd
 * sizes. */
struct delivery *delivery_make(uint32_t recipients, const char *body);
void delivery_free(struct delivery *delivery);
/** @param enhanced "5.1.1", or "" for none */
void assert_recipient(const struct delivery *delivery, uint32_t index, enum outcome outcome,
		      enum smtp_phase phase, unsigned code, const char *enhanced);

#endif
