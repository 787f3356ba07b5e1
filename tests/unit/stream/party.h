/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One user of a stream in tests: records what it is told, does what a test set, and owns its stream
 * on the heap, which on_closed frees: AddressSanitizer then sees every touch of a stream after its
 * last callback.
 */
#ifndef MILLRACE_TESTS_UNIT_STREAM_PARTY_H
#define MILLRACE_TESTS_UNIT_STREAM_PARTY_H

#include "dataplane/smtp/stream.h"

#define PARTY_CHUNKS 64

struct party {
	struct stream *stream; /**< NULL once closed */
	struct net_stack *stack;
	struct chunk_pool *chunks;
	uint8_t *received;
	size_t received_size;
	size_t take_limit; /**< most bytes that one on_receive takes */
	unsigned connected, ended, tls, closed, room_calls;
	bool truncated, in_order;
	enum stream_failure failure;
	enum tcp_close_reason reason;
	char error[128];
	char version[16], cipher[64], group[32];
	bool resumed, has_peer_certificate;
	/** Source of on_write_room. */
	const uint8_t *source;
	size_t source_size, source_at;
	/** Called inside callbacks, if set; may do anything to the party. */
	void (*when_connected)(struct party *party);
	void (*when_received)(struct party *party, const uint8_t *data, size_t size, size_t *taken);
	void (*when_tls)(struct party *party);
	void (*when_end)(struct party *party);
	void *extra;
};

/** On any connection whose callbacks are stream_tcp_callbacks with party->stream. */
void party_init(struct party *party, struct net_stack *stack, tcp_handle connection, bool opening,
		const struct mr_now *now);
/** On an end of the stand-in for TCP (party_fake.c). */
void party_create(struct party *party, struct net_stack *stack, unsigned end);
void party_destroy(struct party *party);
void party_write(struct party *party, const char *text);
/** Chunks of its pool that are in use. */
uint32_t party_chunks_in_use(const struct party *party);
bool party_received(const struct party *party, const char *text);

#endif
