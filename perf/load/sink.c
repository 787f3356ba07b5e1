/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An SMTP server that takes everything (or refuses by chance), and reports the number of each
 * message. */
#include "perf/load/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LINE_SIZE 2048
/* The number must be found in the first bytes of a message: behind the relay's trace header. */
#define HEAD_SIZE 4096

struct sink_session {
	struct load *load;
	struct link *link;
	struct sink_session *next_delayed;
	uint64_t answer_at_us; /* 0: none waits */
	bool answer_refused;
	bool gone; /* closed while an answer waited */
	bool in_data;
	uint64_t chunk_left; /* of a BDAT */
	bool last_chunk;
	bool in_chunk;
	bool secure;
	unsigned recipients;
	unsigned match; /* bytes of CRLF . CRLF seen */
	char line[LINE_SIZE];
	unsigned length;
	char head[HEAD_SIZE + 1];
	unsigned head_size;
};

static void say(struct sink_session *s, const char *text)
{
	link_write(s->link, text, strlen(text));
}

static bool chance(struct load *load, double percent)
{
	return percent > 0 && (double)random_below(&load->random, 1000000) < percent * 10000;
}

static void answer(struct sink_session *s)
{
	say(s, s->answer_refused ? "451 4.3.0 not now\r\n" : "250 2.0.0 stored\r\n");
}

static void end_of_message(struct sink_session *s)
{
	const char *found;
	bool refused = chance(s->load, s->load->settings.refuse_data_percent);

	s->in_data = s->in_chunk = false;
	s->head[s->head_size] = '\0';
	found = strstr(s->head, "\n" LOAD_ID_HEADER);
	if (!refused && found)
		load_on_stored(s->load, strtoull(found + 1 + strlen(LOAD_ID_HEADER), NULL, 16));
	else if (!refused)
		s->load->unknown++;
	s->recipients = 0;
	s->answer_refused = refused;
	if (s->load->settings.reply_delay_us == 0) {
		answer(s);
		return;
	}
	s->answer_at_us = s->load->now.mono_us + s->load->settings.reply_delay_us;
	s->next_delayed = NULL;
	*s->load->delayed_end = s;
	s->load->delayed_end = &s->next_delayed;
}

void sink_turn(struct load *load)
{
	while (load->delayed && load->delayed->answer_at_us <= load->now.mono_us) {
		struct sink_session *s = load->delayed;

		load->delayed = s->next_delayed;
		if (!load->delayed)
			load->delayed_end = &load->delayed;
		s->answer_at_us = 0;
		if (s->gone)
			free(s);
		else
			answer(s);
	}
}

static void keep_head(struct sink_session *s, const uint8_t *data, size_t size)
{
	size_t n = HEAD_SIZE - s->head_size;

	n = n < size ? n : size;
	memcpy(s->head + s->head_size, data, n);
	s->head_size += (unsigned)n;
}

/* @return bytes up to the end of the message, or all */
static size_t data_bytes(struct sink_session *s, const uint8_t *data, size_t size)
{
	static const char end[] = "\r\n.\r\n";
	size_t at = 0;

	while (at < size) {
		if (s->match == 0) {
			const uint8_t *cr = memchr(data + at, '\r', size - at);

			if (!cr) {
				at = size;
				break;
			}
			at = (size_t)(cr - data) + 1;
			s->match = 1;
			continue;
		}
		uint8_t c = data[at++];

		if (c == (uint8_t)end[s->match])
			s->match++;
		else
			s->match = c == '\r' ? 1 : 0;
		if (s->match == 5) {
			keep_head(s, data, at);
			end_of_message(s);
			return at;
		}
	}
	keep_head(s, data, at);
	return at;
}

static void begin_content(struct sink_session *s)
{
	s->head_size = 0;
	s->match = 2; /* as behind a CRLF */
}

static void on_bdat(struct sink_session *s)
{
	char *rest;

	s->chunk_left = strtoull(s->line + 5, &rest, 10);
	s->last_chunk = strncasecmp(rest, " LAST", 5) == 0;
	if (!s->in_chunk)
		begin_content(s);
	s->in_chunk = true;
}

static void chunk_done(struct sink_session *s)
{
	if (s->last_chunk)
		end_of_message(s);
	else
		say(s, "250 2.0.0 chunk\r\n");
}

static void on_rcpt(struct sink_session *s)
{
	struct load *load = s->load;

	if (chance(load, load->settings.refuse_rcpt_percent)) {
		say(s, "451 4.2.1 later\r\n");
	} else if (chance(load, load->settings.reject_rcpt_percent)) {
		say(s, "550 5.1.1 nobody\r\n");
	} else {
		s->recipients++;
		say(s, "250 2.1.5 ok\r\n");
	}
}

static void on_command(struct sink_session *s)
{
	const char *line = s->line;

	if (strncasecmp(line, "EHLO", 4) == 0) {
		say(s, "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n");
		if (s->load->settings.sink_starttls && !s->secure)
			say(s, "250-STARTTLS\r\n");
		say(s, "250 ENHANCEDSTATUSCODES\r\n");
	} else if (strncasecmp(line, "MAIL", 4) == 0) {
		say(s, "250 2.1.0 ok\r\n");
	} else if (strncasecmp(line, "RCPT", 4) == 0) {
		on_rcpt(s);
	} else if (strncasecmp(line, "DATA", 4) == 0) {
		if (s->recipients == 0) {
			say(s, "554 5.5.1 no recipients\r\n");
			return;
		}
		s->in_data = true;
		begin_content(s);
		say(s, "354 go\r\n");
	} else if (strncasecmp(line, "BDAT", 4) == 0) {
		on_bdat(s);
	} else if (strncasecmp(line, "STARTTLS", 8) == 0) {
		say(s, "220 go\r\n");
		link_start_tls(s->link, s->load->server_context);
	} else if (strncasecmp(line, "QUIT", 4) == 0) {
		say(s, "221 2.0.0 bye\r\n");
		link_close(s->link);
	} else {
		s->recipients = 0;
		say(s, "250 2.0.0 ok\r\n");
	}
}

/* @return true with a command in s->line */
static bool take_line(struct sink_session *s, const uint8_t *data, size_t size, size_t *used)
{
	const uint8_t *end = memchr(data + *used, '\n', size - *used);
	size_t n = (end ? (size_t)(end - data) + 1 : size) - *used;
	size_t kept = n < sizeof(s->line) - 1 - s->length ? n : sizeof(s->line) - 1 - s->length;

	memcpy(s->line + s->length, data + *used, kept);
	s->length += (unsigned)kept;
	*used += n;
	if (!end)
		return false;
	s->line[s->length] = '\0';
	s->length = 0;
	return true;
}

static size_t on_receive(void *user, const uint8_t *data, size_t size)
{
	struct sink_session *s = user;
	size_t used = 0;

	while (used < size) {
		if (s->in_data) {
			used += data_bytes(s, data + used, size - used);
		} else if (s->chunk_left > 0) {
			size_t n =
				size - used < s->chunk_left ? size - used : (size_t)s->chunk_left;

			keep_head(s, data + used, n);
			used += n;
			s->chunk_left -= n;
			if (s->chunk_left == 0)
				chunk_done(s);
		} else if (take_line(s, data, size, &used)) {
			bool starttls = strncasecmp(s->line, "STARTTLS", 8) == 0;

			on_command(s);
			if (starttls)
				break;
			if (s->in_chunk && s->chunk_left == 0)
				chunk_done(s);
		}
	}
	return used;
}

static void on_connected(void *user)
{
	(void)user;
}

static void on_tls(void *user)
{
	((struct sink_session *)user)->secure = true;
}

static void on_room(void *user)
{
	(void)user;
}

static void on_closed(void *user, bool in_order)
{
	struct sink_session *s = user;

	(void)in_order;
	if (s->answer_at_us)
		s->gone = true;
	else
		free(s);
}

static const struct link_callbacks callbacks = {
	.on_connected = on_connected,
	.on_receive = on_receive,
	.on_tls = on_tls,
	.on_room = on_room,
	.on_closed = on_closed,
};

static bool on_accept(void *context, struct link *link, const struct link_callbacks **callbacks_out,
		      void **user)
{
	struct sink_session *s = calloc(1, sizeof(*s));

	if (!s)
		return false;
	s->load = context;
	s->link = link;
	*callbacks_out = &callbacks;
	*user = s;
	say(s, "220 sink.example ESMTP\r\n");
	return true;
}

int sink_init(struct load *load, uint16_t port)
{
	load->delayed_end = &load->delayed;
	return load->sink->operations->listen(load->sink->state, port, on_accept, load);
}
