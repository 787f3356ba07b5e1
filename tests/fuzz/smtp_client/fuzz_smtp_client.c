/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Fuzz target: the SMTP client's engine against a server that says anything at any time. The first
 * octets choose the settings and the message; the rest is a sequence of what happens: server text,
 * room, time, loss. Whatever happens: each delivery ends once with every recipient decided, or is
 * handed back untouched; nothing is delivered before the end of its body was written; no bare CR or
 * LF is written; commands are lines.
 */
#include "dataplane/smtp/client.h"

#include "drivers/clock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECIPIENTS_MAX 6

struct fuzz {
	struct smtp_client client;
	const uint8_t *data;
	size_t size;
	uint64_t now_us;
	bool wants_room, over, idle, in_tls;
	uint8_t last;	  /**< octet written */
	uint64_t written; /**< since the delivery began */
	struct delivery *delivery;
	struct chunk *body;
	unsigned ended, begun;
};

static uint8_t next_octet(struct fuzz *fuzz)
{
	if (fuzz->size == 0)
		return 0;
	fuzz->size--;
	return *fuzz->data++;
}

static int sink_write(void *context, const void *data, size_t size)
{
	struct fuzz *fuzz = context;
	const uint8_t *octets = data;

	assert(size > 0 && !fuzz->over);
	for (size_t i = 0; i < size; i++) {
		assert((fuzz->last == '\r') == (octets[i] == '\n'));
		fuzz->last = octets[i];
	}
	fuzz->written += size;
	return 0;
}

static void sink_want_write(void *context)
{
	((struct fuzz *)context)->wants_room = true;
}

static void check_decided(const struct fuzz *fuzz)
{
	const struct delivery *delivery = fuzz->delivery;

	for (uint32_t i = 0; i < delivery->recipient_count; i++) {
		const struct delivery_recipient *recipient = &delivery->recipients[i];

		assert(recipient->outcome == OUTCOME_DELIVERED ||
		       recipient->outcome == OUTCOME_DEFERRED ||
		       recipient->outcome == OUTCOME_BOUNCED);
		assert(recipient->phase < PHASE_COUNT);
		assert(memchr(recipient->reply, 0, REPLY_TEXT));
		if (recipient->outcome == OUTCOME_DELIVERED) {
			assert(recipient->remote && recipient->code / 100 == 2);
			assert(recipient->phase == PHASE_DOT);
			assert(fuzz->written >= delivery->body_size);
		}
	}
}

static void begin(struct fuzz *fuzz)
{
	for (uint32_t i = 0; i < fuzz->delivery->recipient_count; i++)
		fuzz->delivery->recipients[i].outcome = OUTCOME_NONE;
	fuzz->idle = false;
	fuzz->written = 0;
	fuzz->begun++;
	smtp_client_begin(&fuzz->client, fuzz->delivery, fuzz->now_us);
}

static void on_failed(struct fuzz *fuzz)
{
	const struct smtp_client_failure *failure = &fuzz->client.failure;

	fuzz->over = true;
	assert(failure->kind != CLIENT_FAILURE_NONE);
	if (fuzz->ended == fuzz->begun)
		return;
	/* Handed back: as it came. */
	assert(failure->restart);
	for (uint32_t i = 0; i < fuzz->delivery->recipient_count; i++)
		assert(fuzz->delivery->recipients[i].outcome == OUTCOME_NONE);
	fuzz->ended++;
}

static void events(struct fuzz *fuzz)
{
	enum smtp_client_event event;

	while (!fuzz->over && (event = smtp_client_event(&fuzz->client)) != CLIENT_EVENT_NONE) {
		switch (event) {
		case CLIENT_EVENT_READY:
			fuzz->idle = true;
			break;
		case CLIENT_EVENT_DONE:
			fuzz->ended++;
			assert(fuzz->ended == fuzz->begun);
			check_decided(fuzz);
			break;
		case CLIENT_EVENT_START_TLS:
			fuzz->in_tls = true;
			break;
		case CLIENT_EVENT_FAILED:
			on_failed(fuzz);
			break;
		case CLIENT_EVENT_NONE:
			break;
		}
	}
}

/* Replies that get far, so that the fuzzer need not find them octet by octet. */
static const char *const phrases[] = {
	"220 mx\r\n",
	"250 ok\r\n",
	"354 go\r\n",
	"250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-DSN\r\n250 SIZE\r\n",
	"550 5.1.1 no\r\n",
	"250-mx\r\n250-STARTTLS\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
	"452 4.5.3 many\r\n",
	"421 4.3.2 bye\r\n",
	"250 2.0.0 queued\r\n",
	"250-mx\r\n250-SIZE 5\r\n250 LIMITS RCPTMAX=1\r\n",
	"500 what\r\n",
	"250-\r\n",
	"2",
	"\r\n",
	"250 ok\r\n250 ok\r\n",
	"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n",
};

static void say(struct fuzz *fuzz, const uint8_t *text, size_t size)
{
	while (size > 0 && !fuzz->over) {
		size_t used = smtp_client_input(&fuzz->client, text, size, fuzz->now_us);

		assert(used <= size);
		text += used;
		size -= used;
		fuzz->idle = false;
		events(fuzz);
		if (fuzz->in_tls && size > 0) {
			smtp_client_tls_failed(&fuzz->client, "injection", true, fuzz->now_us);
			events(fuzz);
		}
		if (fuzz->idle && next_octet(fuzz) & 1)
			begin(fuzz);
		events(fuzz);
	}
}

static void say_own(struct fuzz *fuzz, size_t size)
{
	const uint8_t *text = fuzz->data;

	if (size > fuzz->size)
		size = fuzz->size;
	fuzz->data += size;
	fuzz->size -= size;
	say(fuzz, text, size);
}

static void happen(struct fuzz *fuzz, uint8_t what)
{
	const char *phrase = phrases[what % 16];

	switch (what >> 4) {
	case 0:
		say_own(fuzz, next_octet(fuzz));
		break;
	case 1:
	case 2:
		if (fuzz->wants_room) {
			fuzz->wants_room = false;
			smtp_client_room(&fuzz->client, 1u << (what & 15), fuzz->now_us);
		}
		break;
	case 3:
		fuzz->now_us += (uint64_t)(what & 15) * 20 * US_PER_S;
		if (fuzz->client.deadline_us <= fuzz->now_us)
			smtp_client_timeout(&fuzz->client, fuzz->now_us);
		break;
	case 4:
		if (what == 0x4f)
			smtp_client_lost(&fuzz->client, "reset", fuzz->now_us);
		break;
	case 5:
		if (fuzz->in_tls) {
			fuzz->in_tls = false;
			if (what & 1)
				smtp_client_tls_done(&fuzz->client, fuzz->now_us);
			else
				smtp_client_tls_failed(&fuzz->client, "bad", false, fuzz->now_us);
		}
		break;
	case 6:
		if (fuzz->idle)
			begin(fuzz);
		break;
	default:
		if (!fuzz->in_tls)
			say(fuzz, (const uint8_t *)phrase, strlen(phrase));
		break;
	}
	events(fuzz);
}

static void make_delivery(struct fuzz *fuzz)
{
	uint8_t kind = next_octet(fuzz), length = next_octet(fuzz);
	uint32_t count = 1 + kind % RECIPIENTS_MAX;
	struct delivery *delivery =
		calloc(1, sizeof(*delivery) + count * sizeof(struct delivery_recipient));
	struct chunk *chunk = calloc(1, sizeof(*chunk));

	assert(delivery && chunk);
	if (length > fuzz->size)
		length = (uint8_t)fuzz->size;
	memcpy(chunk->data, fuzz->data, length);
	fuzz->data += length;
	fuzz->size -= length;
	chunk->length = length;
	delivery->body = chunk;
	delivery->body_size = length;
	delivery->flags = next_octet(fuzz);
	delivery->mail_from = kind & 64	   ? ""
			      : kind & 128 ? "\xc3\xbc@example.com"
					   : "a@example.com";
	delivery->recipient_count = count;
	for (uint32_t i = 0; i < count; i++) {
		delivery->recipients[i].address = i == 3 ? "\xc3\xbc@example.org" : "b@example.org";
		delivery->recipients[i].notify = (uint8_t)i;
	}
	fuzz->delivery = delivery;
	fuzz->body = chunk;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz *fuzz = calloc(1, sizeof(*fuzz));
	const struct smtp_client_sink sink = {
		.write = sink_write, .want_write = sink_want_write, .context = fuzz};
	struct path_settings path = {
		.greeting_timeout_us = 300 * US_PER_S,
		.command_timeout_us = 300 * US_PER_S,
		.data_init_timeout_us = 120 * US_PER_S,
		.data_block_timeout_us = 180 * US_PER_S,
		.data_done_timeout_us = 600 * US_PER_S,
		.tls_handshake_timeout_us = 60 * US_PER_S,
	};
	uint8_t kind;

	assert(fuzz);
	fuzz->data = data;
	fuzz->size = size;
	kind = next_octet(fuzz);
	path.tls = (enum tls_level)(kind % 3);
	path.use_pipelining = kind & 4;
	path.use_chunking = kind & 8;
	const struct smtp_client_settings settings = {
		.ehlo_name = "out.example.net",
		.path = &path,
		.avoid_tls = kind & 16,
		.avoid_pipelining = kind & 32,
		.avoid_chunking = kind & 64,
		.recipients_learned = kind & 128 ? 2 : 0,
	};

	fuzz->now_us = US_PER_S;
	make_delivery(fuzz);
	smtp_client_init(&fuzz->client, &settings, &sink, fuzz->now_us);
	while (fuzz->size > 0 && !fuzz->over)
		happen(fuzz, next_octet(fuzz));
	if (!fuzz->over) {
		smtp_client_lost(&fuzz->client, "the end", fuzz->now_us);
		events(fuzz);
	}
	assert(fuzz->over && fuzz->ended == fuzz->begun);
	free(fuzz->body);
	free(fuzz->delivery);
	free(fuzz);
	return 0;
}
