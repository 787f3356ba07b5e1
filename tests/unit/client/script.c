/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A scripted SMTP server: see script.h. */
#include "tests/unit/client/script.h"

#include "drivers/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_MAX (1u << 20)
#define EVENTS_MAX 64

struct run {
	const struct script *script;
	enum script_mode mode;
	struct smtp_client client;
	struct delivery *delivery;
	struct delivery *next;
	uint64_t now_us;
	char *output;
	size_t written, read;
	bool wants_room;
	bool hold;
	size_t unacknowledged;
	enum smtp_client_event events[EVENTS_MAX];
	unsigned event_in, event_out;
	unsigned line;
};

#define run_fail(run, ...)                                                               \
	do {                                                                             \
		print_error("script step %u, mode %d: ", (run)->line, (int)(run)->mode); \
		print_error(__VA_ARGS__);                                                \
		print_error("\n");                                                       \
		fail();                                                                  \
	} while (0)

static int sink_write(void *context, const void *data, size_t size)
{
	struct run *run = context;

	assert_true(size > 0 && run->written + size <= OUTPUT_MAX);
	memcpy(run->output + run->written, data, size);
	run->written += size;
	return 0;
}

static void sink_want_write(void *context)
{
	struct run *run = context;

	run->wants_room = true;
}

static size_t sink_unacknowledged(void *context)
{
	struct run *run = context;

	return run->unacknowledged;
}

static void collect(struct run *run)
{
	enum smtp_client_event event;

	while ((event = smtp_client_event(&run->client)) != CLIENT_EVENT_NONE) {
		assert_true(run->event_in < EVENTS_MAX);
		run->events[run->event_in++] = event;
	}
}

static void give_room(struct run *run, size_t room)
{
	run->wants_room = false;
	smtp_client_room(&run->client, room, run->now_us);
	collect(run);
}

static void settle(struct run *run)
{
	collect(run);
	while (run->wants_room && !run->hold)
		give_room(run, run->mode == SCRIPT_ROOM ? 1 : 65536);
}

static void feed(struct run *run, const char *text, size_t size)
{
	size_t step = run->mode == SCRIPT_OCTETS ? 1 : size;

	for (size_t at = 0; at < size; at += step) {
		size_t taken = 0;

		while (taken < step) {
			unsigned before = run->event_in;

			taken += smtp_client_input(&run->client, (const uint8_t *)text + at + taken,
						   step - taken, run->now_us);
			collect(run);
			if (run->event_in > before &&
			    run->events[run->event_in - 1] == CLIENT_EVENT_START_TLS &&
			    at + taken < size) {
				smtp_client_tls_failed(&run->client, "injection", true,
						       run->now_us);
				collect(run);
				return;
			}
		}
		settle(run);
	}
}

static void expect_line(struct run *run, const char *text)
{
	size_t size = strlen(text);
	size_t left = run->written - run->read;

	if (left < size + 2 || memcmp(run->output + run->read, text, size) != 0 ||
	    memcmp(run->output + run->read + size, "\r\n", 2) != 0)
		run_fail(run, "expected \"%s\", got \"%.*s\"", text, (int)left,
			 run->output + run->read);
	run->read += size + 2;
}

static void expect_event(struct run *run, const char *name)
{
	static const char *const names[] = {
		[CLIENT_EVENT_NONE] = "none",	  [CLIENT_EVENT_START_TLS] = "starttls",
		[CLIENT_EVENT_READY] = "ready",	  [CLIENT_EVENT_DONE] = "done",
		[CLIENT_EVENT_FAILED] = "failed",
	};
	enum smtp_client_event event = CLIENT_EVENT_NONE;

	if (run->event_out < run->event_in)
		event = run->events[run->event_out++];
	if (strcmp(names[event], name) != 0)
		run_fail(run, "expected event %s, got %s (%s)", name, names[event],
			 run->client.failure.reply.text);
}

static void begin(struct run *run, struct delivery *delivery)
{
	assert_non_null(delivery);
	smtp_client_begin(&run->client, delivery, run->now_us);
}

static void time_out(struct run *run)
{
	if (run->client.deadline_us == MR_NEVER)
		run_fail(run, "no deadline");
	run->now_us = run->client.deadline_us;
	smtp_client_timeout(&run->client, run->now_us);
}

static void do_step(struct run *run, const char *step)
{
	if (strncmp(step, "C ", 2) == 0)
		expect_line(run, step + 2);
	else if (strncmp(step, "E ", 2) == 0)
		expect_event(run, step + 2);
	else if (strcmp(step, "-") == 0) {
		if (run->read != run->written)
			run_fail(run, "unexpected \"%.*s\"", (int)(run->written - run->read),
				 run->output + run->read);
	} else if (strcmp(step, "skip") == 0)
		run->read = run->written;
	else if (strcmp(step, "begin") == 0)
		begin(run, run->delivery);
	else if (strcmp(step, "next") == 0)
		begin(run, run->next);
	else if (strcmp(step, "tls") == 0)
		smtp_client_tls_done(&run->client, run->now_us);
	else if (strcmp(step, "tlsfail") == 0)
		smtp_client_tls_failed(&run->client, "handshake failure", false, run->now_us);
	else if (strcmp(step, "lost") == 0)
		smtp_client_lost(&run->client, "connection reset", run->now_us);
	else if (strcmp(step, "timeout") == 0)
		time_out(run);
	else if (strncmp(step, "wait ", 5) == 0)
		run->now_us += strtoull(step + 5, NULL, 10) * US_PER_S;
	else if (strcmp(step, "quit") == 0)
		smtp_client_quit(&run->client, run->now_us);
	else if (strcmp(step, "hold") == 0)
		run->hold = true;
	else if (strncmp(step, "room ", 5) == 0)
		give_room(run, strtoull(step + 5, NULL, 10));
	else if (strncmp(step, "unacked ", 8) == 0)
		run->unacknowledged = strtoull(step + 8, NULL, 10);
	else
		run_fail(run, "unknown step \"%s\"", step);
	settle(run);
}

static void run_steps(struct run *run)
{
	static char said[1u << 18];
	const char *at = run->script->text;
	size_t size = 0;

	while (*at) {
		size_t length = strcspn(at, "\n");
		char step[8192];

		run->line++;
		if (strncmp(at, "S ", 2) == 0 || strncmp(at, "S* ", 3) == 0) {
			size_t skip = at[1] == '*' ? 3 : 2;

			memcpy(said + size, at + skip, length - skip);
			size += length - skip;
			if (skip == 2) {
				memcpy(said + size, "\r\n", 2);
				size += 2;
			}
		} else {
			feed(run, said, size);
			size = 0;
			assert_true(length < sizeof(step));
			memcpy(step, at, length);
			step[length] = '\0';
			do_step(run, step);
		}
		at += length + (at[length] == '\n');
	}
	feed(run, said, size);
	settle(run);
}

static void run_once(const struct script *script, enum script_mode mode)
{
	static const struct path_settings defaults = {
		.connections_max = 1,
		.messages_per_connection = 100,
		.greeting_timeout_us = 300 * US_PER_S,
		.command_timeout_us = 300 * US_PER_S,
		.data_init_timeout_us = 120 * US_PER_S,
		.data_block_timeout_us = 180 * US_PER_S,
		.data_done_timeout_us = 600 * US_PER_S,
		.tls_handshake_timeout_us = 60 * US_PER_S,
	};
	struct path_settings path = defaults;
	struct run *run = calloc(1, sizeof(*run));
	const struct smtp_client_sink sink = {.write = sink_write,
					      .want_write = sink_want_write,
					      .unacknowledged = sink_unacknowledged,
					      .context = run};

	assert_non_null(run);
	path.tls = script->tls;
	path.use_pipelining = !script->no_pipelining;
	path.use_chunking = !script->no_chunking;
	const struct smtp_client_settings settings = {
		.ehlo_name = "out.example.net",
		.path = &path,
		.avoid_tls = script->avoid_tls,
		.avoid_pipelining = script->avoid_pipelining,
		.avoid_chunking = script->avoid_chunking,
		.recipients_learned = script->recipients_learned,
	};
	run->script = script;
	run->mode = mode;
	run->output = malloc(OUTPUT_MAX);
	assert_non_null(run->output);
	run->now_us = 1000 * US_PER_S;
	run->delivery = script->make ? script->make() : NULL;
	run->next = script->make_next ? script->make_next() : NULL;
	smtp_client_init(&run->client, &settings, &sink, run->now_us);
	run_steps(run);
	if (run->event_out != run->event_in)
		run_fail(run, "%u events more than expected", run->event_in - run->event_out);
	if (run->read != run->written)
		run_fail(run, "unexpected \"%.*s\"", (int)(run->written - run->read),
			 run->output + run->read);
	if (script->check)
		script->check(&run->client, run->delivery, run->next);
	delivery_free(run->delivery);
	delivery_free(run->next);
	free(run->output);
	free(run);
}

void script_run(const struct script *script)
{
	for (enum script_mode mode = SCRIPT_WHOLE; mode < SCRIPT_MODES; mode++)
		if (mode != SCRIPT_OCTETS || !script->whole_only)
			run_once(script, mode);
}

/* ---- Deliveries ---- */

/* Sizes that put every kind of border (CR|LF, LF|dot) between two chunks sooner or later. */
static struct chunk *chunks_make(const char *body, size_t size)
{
	static const size_t sizes[] = {1, 2, 3, 5, 16, 17, 1, 33, 64, 1, 1, 7};
	struct chunk *head = NULL, **link = &head;
	size_t at = 0;

	for (unsigned i = 0; at < size; i++) {
		size_t length = sizes[i % (sizeof(sizes) / sizeof(sizes[0]))];
		struct chunk *chunk = calloc(1, sizeof(*chunk));

		assert_non_null(chunk);
		if (size > 100000)
			length = CHUNK_DATA;
		if (length > size - at)
			length = size - at;
		memcpy(chunk->data, body + at, length);
		chunk->length = (uint16_t)length;
		at += length;
		*link = chunk;
		link = &chunk->next;
	}
	return head;
}

struct delivery *delivery_make(uint32_t recipients, const char *body)
{
	size_t size = sizeof(struct delivery) + recipients * sizeof(struct delivery_recipient);
	struct delivery *delivery = calloc(1, size);

	assert_non_null(delivery);
	delivery->mail_from = "sender@example.com";
	delivery->body_size = strlen(body);
	delivery->body = chunks_make(body, strlen(body));
	delivery->recipient_count = recipients;
	for (uint32_t i = 0; i < recipients; i++) {
		char address[64];

		snprintf(address, sizeof(address), "a%u@example.org", i);
		delivery->recipients[i].index = i;
		delivery->recipients[i].address = strdup(address);
	}
	return delivery;
}

void delivery_free(struct delivery *delivery)
{
	struct chunk *chunk;

	if (!delivery)
		return;
	chunk = (struct chunk *)delivery->body;
	while (chunk) {
		struct chunk *next = chunk->next;

		free(chunk);
		chunk = next;
	}
	for (uint32_t i = 0; i < delivery->recipient_count; i++)
		free((char *)delivery->recipients[i].address);
	free(delivery);
}

void assert_recipient(const struct delivery *delivery, uint32_t index, enum outcome outcome,
		      enum smtp_phase phase, unsigned code, const char *enhanced)
{
	const struct delivery_recipient *recipient = &delivery->recipients[index];
	char text[32] = "";

	if (recipient->enhanced.class)
		snprintf(text, sizeof(text), "%u.%u.%u", recipient->enhanced.class,
			 recipient->enhanced.subject, recipient->enhanced.detail);
	if (recipient->outcome != outcome || recipient->phase != phase || recipient->code != code ||
	    strcmp(text, enhanced) != 0) {
		print_error("recipient %u: outcome %u, phase %s, code %u, %s \"%s\"\n", index,
			    recipient->outcome, smtp_phase_name(recipient->phase), recipient->code,
			    text, recipient->reply);
		fail();
	}
}
