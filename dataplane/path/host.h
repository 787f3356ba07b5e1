/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a worker remembers of the hosts it delivered to, by address and port, each for a while: that
 * it failed lately, that its TLS is broken (believed at level `may` only), that it fell out of step
 * when commands were pipelined, that it offers CHUNKING without knowing it, how many recipients it
 * takes.
 *
 * Owner: one worker. Memory: one block of fixed size; a full set forgets the note that was touched
 * longest ago. To forget is always safe: it costs another failure.
 */
#ifndef MILLRACE_DATAPLANE_PATH_HOST_H
#define MILLRACE_DATAPLANE_PATH_HOST_H

#include "dataplane/net/address.h"
#include "drivers/clock.h"

/** First time that a failed host is put behind the others; doubles with each failure. */
#define HOST_BAD_US	(60 * US_PER_S)
#define HOST_BAD_MAX_US (30 * 60 * US_PER_S)
/** How long a broken habit is believed. */
#define HOST_HABIT_US (60 * 60 * US_PER_S)

struct host_note {
	struct ip_address address;
	uint16_t port;	   /**< 0: the note is free */
	uint16_t failures; /**< in a row */
	uint32_t recipients_max;
	uint64_t touched_us;
	/* Valid until then, monotonic. */
	uint64_t bad_until_us;
	uint64_t no_tls_until_us;
	uint64_t no_pipelining_until_us;
	uint64_t no_chunking_until_us;
	uint64_t recipients_max_until_us;
};

struct host_memory;

/** @param count notes, at least; @return NULL when memory is short */
struct host_memory *host_memory_create(uint32_t count);
void host_memory_destroy(struct host_memory *memory);
/** @return NULL when nothing is remembered */
struct host_note *host_memory_find(struct host_memory *memory, const struct ip_address *address,
				   uint16_t port);
/** The note of a host, made if need be. Never NULL. */
struct host_note *host_memory_touch(struct host_memory *memory, const struct ip_address *address,
				    uint16_t port, uint64_t now_us);
/** No connection, or no service behind it. */
void host_note_failed(struct host_note *note, uint64_t now_us);
/** It took a session. */
void host_note_worked(struct host_note *note);

#endif
