/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The keys of session tickets and their change by time (RFC 8446, C.4 and 2.2; RFC 9325, 4.2.3): a
 * ticket's key is all that protects the sessions that were resumed by it, so it is made anew every
 * TLS_TICKET_PERIOD_US, tickets under the one before are accepted for another period, and older
 * keys are wiped. Keys are never stored.
 *
 * Owner: one thread of the control plane, which makes new contexts after each change (contexts are
 * immutable while workers use them).
 */
#ifndef MILLRACE_TLS_TICKET_KEYS_H
#define MILLRACE_TLS_TICKET_KEYS_H

#include "drivers/clock.h"
#include "drivers/random.h"

#include <stdbool.h>
#include <stdint.h>

/** {name 16, key 32}, as tls_context_create_server takes them. */
#define TLS_TICKET_KEYS_SIZE 48
#define TLS_TICKET_PERIOD_US (12 * 3600 * US_PER_S)

struct tls_ticket_keys {
	uint8_t current[TLS_TICKET_KEYS_SIZE];
	uint8_t previous[TLS_TICKET_KEYS_SIZE]; /**< valid when has_previous */
	bool has_previous;
	uint64_t due_us; /**< monotonic: the next change */
};

/** The first key. @param random keyed from the operating system */
void tls_ticket_keys_init(struct tls_ticket_keys *keys, struct mr_random *random, uint64_t now_us);
bool tls_ticket_keys_are_due(const struct tls_ticket_keys *keys, uint64_t now_us);
/** A new key; the current one becomes the previous one, and what that was is gone. */
void tls_ticket_keys_rotate(struct tls_ticket_keys *keys, struct mr_random *random,
			    uint64_t now_us);
void tls_ticket_keys_wipe(struct tls_ticket_keys *keys);

#endif
