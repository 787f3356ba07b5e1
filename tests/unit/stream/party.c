/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/stream/party.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_connected(void *user)
{
	struct party *p = user;

	p->connected++;
	if (p->when_connected)
		p->when_connected(p);
}

static size_t on_receive(void *user, const uint8_t *data, size_t size)
{
	struct party *p = user;
	size_t taken = size < p->take_limit ? size : p->take_limit;

	assert(p->closed == 0);
	if (p->when_received)
		p->when_received(p, data, size, &taken);
	p->received = realloc(p->received, p->received_size + taken + 1);
	memcpy(p->received + p->received_size, data, taken);
	p->received_size += taken;
	return taken;
}

static void on_tls(void *user, const struct tls_information *information)
{
	struct party *p = user;

	p->tls++;
	snprintf(p->version, sizeof(p->version), "%s", information->version);
	snprintf(p->cipher, sizeof(p->cipher), "%s", information->cipher);
	snprintf(p->group, sizeof(p->group), "%s", information->group);
	p->resumed = information->resumed;
	p->has_peer_certificate = information->has_peer_certificate;
	if (p->when_tls)
		p->when_tls(p);
}

static void on_end(void *user, bool truncated)
{
	struct party *p = user;

	p->ended++;
	p->truncated = truncated;
	if (p->when_end)
		p->when_end(p);
}

static void on_write_room(void *user, size_t room)
{
	struct party *p = user;
	size_t n = p->source_size - p->source_at;

	p->room_calls++;
	if (n > room)
		n = room;
	if (stream_write(p->stream, p->source + p->source_at, n) < 0)
		return;
	p->source_at += n;
	if (p->source_at < p->source_size)
		stream_want_write(p->stream);
}

static void on_closed(void *user, bool in_order, enum stream_failure failure,
		      enum tcp_close_reason reason)
{
	struct party *p = user;

	assert(p->closed == 0);
	p->closed++;
	p->in_order = in_order;
	p->failure = failure;
	p->reason = reason;
	snprintf(p->error, sizeof(p->error), "%s", stream_error(p->stream));
	free(p->stream);
	p->stream = NULL;
}

static const struct stream_callbacks callbacks = {
	.on_connected = on_connected,
	.on_receive = on_receive,
	.on_tls = on_tls,
	.on_end = on_end,
	.on_write_room = on_write_room,
	.on_closed = on_closed,
};

void party_init(struct party *p, struct net_stack *stack, tcp_handle connection, bool opening,
		const struct mr_now *now)
{
	memset(p, 0, sizeof(*p));
	p->take_limit = SIZE_MAX;
	p->stack = stack;
	p->chunks = chunk_pool_create(7, PARTY_CHUNKS);
	p->stream = malloc(sizeof(*p->stream));
	stream_init(p->stream, stack, connection, p->chunks, &callbacks, p, now, opening);
}

void party_destroy(struct party *p)
{
	if (p->stream)
		stream_abort(p->stream);
	assert(party_chunks_in_use(p) == 0);
	chunk_pool_destroy(p->chunks);
	free(p->received);
}

void party_write(struct party *p, const char *text)
{
	int result = stream_write(p->stream, text, strlen(text));

	assert(result == 0);
	stream_flush(p->stream);
}

uint32_t party_chunks_in_use(const struct party *p)
{
	return chunk_pool_count(p->chunks) - chunk_pool_available(p->chunks);
}

bool party_received(const struct party *p, const char *text)
{
	return p->received_size == strlen(text) && memcmp(p->received, text, p->received_size) == 0;
}
