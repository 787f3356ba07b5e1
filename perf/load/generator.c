/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SMTP sessions that send messages as fast as they are answered (closed loop), or at a rate (open
 * loop). */
#include "perf/load/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEMPLATE_SIZE (4u << 20)
#define LINE_SIZE     1024
/* Sessions opened in one turn. */
#define OPEN_BURST 16

enum step { GREETING, EHLO, STARTTLS, HANDSHAKE, READY, ENVELOPE, CONTENT, ACKNOWLEDGE, QUIT };

struct generator_session {
	struct load *load;
	struct link *link;
	struct generator_session *next_idle;
	enum step step;
	bool secure;
	bool chunking;
	unsigned replies_due; /* of a pipelined group */
	unsigned sent;	      /* messages on this session */
	uint64_t number;
	uint32_t size;
	bool busy;
	char line[LINE_SIZE];
	unsigned length;
};

static void begin_message(struct generator_session *s);

static void say(struct generator_session *s, const char *text)
{
	link_write(s->link, text, strlen(text));
}

/* ---- What is sent ---- */

static int make_template(struct load *load)
{
	static const char words[] =
		"the quick relay carries every letter over a narrow race to a wide mill and back ";
	size_t at = 0;

	load->template = malloc(TEMPLATE_SIZE + 128);
	if (!load->template)
		return -ENOMEM;
	while (at < TEMPLATE_SIZE) {
		unsigned length = 40 + random_below(&load->random, 36);

		for (unsigned i = 0; i < length; i++)
			load->template[at++] =
				words[random_below(&load->random, sizeof(words) - 1)];
		if (load->template[at - length] == ' ')
			load->template[at - length] = 'T';
		load->template[at++] = '\r';
		load->template[at++] = '\n';
	}
	load->template_size = at;
	return 0;
}

static uint32_t choose_size(struct load *load)
{
	const struct size_choice *c = &load->settings.size;

	if (c->steps == 0)
		return c->min + random_below(&load->random, c->max - c->min + 1);
	double p = (double)random_u32(&load->random) / 4294967296.0;
	unsigned i = 0;

	while (i + 1 < c->steps && p >= c->step[i].up_to)
		i++;
	return c->step[i].bytes;
}

/* The n-th of the domains, in turn. */
static void domain_of(const struct load *load, uint64_t n, char *out, size_t size)
{
	const char *at = load->settings.domain;
	unsigned count = 1;

	for (const char *c = at; *c; c++)
		count += *c == ',';
	for (unsigned skip = (unsigned)(n % count); skip > 0; skip--)
		at = strchr(at, ',') + 1;
	snprintf(out, size, "%.*s", (int)strcspn(at, ","), at);
}

static size_t header_text(const struct generator_session *s, char *to, size_t size)
{
	char domain[256];

	domain_of(s->load, s->number, domain, sizeof(domain));
	return (size_t)snprintf(
		to, size,
		"From: Load <load@sender.example>\r\nTo: <r0.%llu@%s>\r\n"
		"Subject: message number %llu\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
		"Message-ID: <%llu.%llx@sender.example>\r\n" LOAD_ID_HEADER "%0*llx\r\n"
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
		(unsigned long long)s->number, domain, (unsigned long long)s->number,
		(unsigned long long)s->number, (unsigned long long)s->load->started_us,
		LOAD_ID_DIGITS, (unsigned long long)s->number);
}

/* Whole lines of the template, cut to size at the end of the last one. */
static void send_body(struct generator_session *s, size_t size, uint64_t seed)
{
	struct load *load = s->load;
	size_t at = (size_t)(seed * 7919 % (load->template_size / 2));

	at = (size_t)((char *)memchr(load->template + at, '\n', load->template_size - at) -
		      load->template) +
	     1;
	while (size > 2) {
		size_t n = load->template_size - at;

		if (n > size - 2)
			n = size - 2;
		/* The cut must not come between CR and LF. */
		bool splits = load->template[at + n - 1] == '\r';

		link_write(s->link, load->template + at, n - splits);
		if (splits)
			link_write(s->link, "-", 1);
		size -= n;
		at = 0;
	}
	say(s, "\r\n");
}

static size_t content_size(struct generator_session *s, char *header, size_t room,
			   size_t *header_size)
{
	*header_size = header_text(s, header, room);
	return s->size > *header_size + 4 ? s->size : *header_size + 4;
}

static void send_content(struct generator_session *s)
{
	char header[1024];
	size_t header_size, size = content_size(s, header, sizeof(header), &header_size);

	link_write(s->link, header, header_size);
	send_body(s, size - header_size, s->number);
	if (!s->chunking)
		say(s, ".\r\n");
	s->step = ACKNOWLEDGE;
}

static void send_envelope(struct generator_session *s)
{
	unsigned recipients = s->load->settings.recipients;
	char text[8192], domain[256];
	size_t at = (size_t)snprintf(text, sizeof(text), "MAIL FROM:<load@sender.example>\r\n");

	for (unsigned r = 0; r < recipients; r++) {
		domain_of(s->load, s->number, domain, sizeof(domain));
		at += (size_t)snprintf(text + at, sizeof(text) - at, "RCPT TO:<r%u.%llu@%s>\r\n", r,
				       (unsigned long long)s->number, domain);
		if (at > sizeof(text) - 400) {
			link_write(s->link, text, at);
			at = 0;
		}
	}
	s->replies_due = 1 + recipients;
	if (s->chunking) {
		char header[1024];
		size_t header_size, size = content_size(s, header, sizeof(header), &header_size);

		at += (size_t)snprintf(text + at, sizeof(text) - at, "BDAT %zu LAST\r\n", size);
		link_write(s->link, text, at);
		send_content(s);
		s->step = ENVELOPE;
		return;
	}
	at += (size_t)snprintf(text + at, sizeof(text) - at, "DATA\r\n");
	link_write(s->link, text, at);
	s->step = ENVELOPE;
}

/* ---- The dialogue ---- */

static bool has_more(const struct load *load)
{
	return !load->stopping &&
	       (load->settings.messages == 0 || load->begun < load->settings.messages);
}

/* In open loop a message is due at its time, whether or not a session is free then. */
static bool is_due(const struct load *load)
{
	if (load->settings.rate == 0)
		return true;
	double elapsed = (double)(load->now.mono_us - load->started_us) / 1e6;

	return (double)load->begun < elapsed * load->settings.rate;
}

static struct book_entry *new_entry(struct load *load)
{
	if (load->begun == load->book_size) {
		uint64_t size = load->book_size ? load->book_size * 2 : 65536;
		struct book_entry *book = realloc(load->book, size * sizeof(*book));

		if (!book)
			return NULL;
		memset(book + load->book_size, 0, (size - load->book_size) * sizeof(*book));
		load->book = book;
		load->book_size = size;
	}
	return &load->book[load->begun];
}

static void begin_message(struct generator_session *s)
{
	struct load *load = s->load;
	unsigned limit = load->settings.messages_per_session;

	if (!has_more(load) || (limit > 0 && s->sent >= limit)) {
		s->step = QUIT;
		say(s, "QUIT\r\n");
		return;
	}
	if (!is_due(load)) {
		s->step = READY;
		s->next_idle = load->idle;
		load->idle = s;
		return;
	}
	struct book_entry *entry = new_entry(load);

	if (!entry)
		return;
	s->number = load->begun++;
	entry->due_us = load->settings.rate == 0
				? load->now.mono_us
				: load->started_us +
					  (uint64_t)((double)s->number * 1e6 / load->settings.rate);
	s->size = choose_size(load);
	s->busy = true;
	s->sent++;
	send_envelope(s);
}

static void acknowledged(struct generator_session *s)
{
	struct load *load = s->load;
	struct book_entry *entry = &load->book[s->number];

	entry->acknowledged = 1;
	load->acknowledged++;
	load->bytes_acknowledged += s->size;
	histogram_add(&load->accept_latency, load->now.mono_us - entry->due_us);
	if (!load->first_ack_us)
		load->first_ack_us = load->now.mono_us;
	load->last_ack_us = load->now.mono_us;
	s->busy = false;
	begin_message(s);
}

static void give_up(struct generator_session *s)
{
	if (s->busy) {
		s->load->book[s->number].refused = 1;
		s->load->refused++;
		s->busy = false;
	}
	s->step = QUIT;
	link_close(s->link);
}

static void on_reply(struct generator_session *s, unsigned code)
{
	if (code >= 400) {
		fprintf(stderr, "refused: %.120s\n", s->line);
		give_up(s);
		return;
	}
	switch (s->step) {
	case GREETING:
		s->step = EHLO;
		say(s, "EHLO load.sender.example\r\n");
		break;
	case EHLO:
		if (s->load->settings.starttls && !s->secure) {
			s->step = STARTTLS;
			say(s, "STARTTLS\r\n");
		} else {
			s->chunking = s->load->settings.bdat;
			begin_message(s);
		}
		break;
	case STARTTLS:
		s->step = HANDSHAKE;
		if (link_start_tls(s->link, s->load->client_context) < 0)
			give_up(s);
		break;
	case ENVELOPE:
		if (--s->replies_due > 0)
			break;
		if (s->chunking)
			s->step = ACKNOWLEDGE;
		else
			s->step = CONTENT;
		break;
	case CONTENT:
		send_content(s);
		break;
	case ACKNOWLEDGE:
		acknowledged(s);
		break;
	case HANDSHAKE:
	case READY:
	case QUIT:
		break;
	}
}

static size_t on_receive(void *user, const uint8_t *data, size_t size)
{
	struct generator_session *s = user;
	size_t used = 0;

	while (used < size) {
		const uint8_t *end = memchr(data + used, '\n', size - used);
		size_t n = (end ? (size_t)(end - data) + 1 : size) - used;

		if (s->length + n >= sizeof(s->line))
			n = sizeof(s->line) - 1 - s->length;
		memcpy(s->line + s->length, data + used, n);
		s->length += (unsigned)n;
		used += n;
		if (!end)
			break;
		s->line[s->length] = '\0';
		s->length = 0;
		if (s->line[3] == ' ') {
			bool starting = s->step == STARTTLS;

			on_reply(s, (unsigned)strtoul(s->line, NULL, 10));
			if (starting)
				break;
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
	struct generator_session *s = user;

	s->secure = true;
	s->step = EHLO;
	say(s, "EHLO load.sender.example\r\n");
}

static void on_room(void *user)
{
	(void)user;
}

static void forget_idle(struct generator_session *s)
{
	struct generator_session **link = &s->load->idle;

	while (*link && *link != s)
		link = &(*link)->next_idle;
	if (*link)
		*link = s->next_idle;
}

static void on_closed(void *user, bool in_order)
{
	struct generator_session *s = user;

	if (s->step != QUIT)
		s->load->failed_sessions++;
	(void)in_order;
	if (s->busy) {
		s->load->book[s->number].refused = 1;
		s->load->refused++;
	}
	forget_idle(s);
	s->load->open_sessions--;
	free(s);
}

static const struct link_callbacks callbacks = {
	.on_connected = on_connected,
	.on_receive = on_receive,
	.on_tls = on_tls,
	.on_room = on_room,
	.on_closed = on_closed,
};

static void open_sessions(struct load *load)
{
	for (unsigned i = 0;
	     i < OPEN_BURST && load->open_sessions < load->settings.sessions && has_more(load);
	     i++) {
		struct generator_session *s = calloc(1, sizeof(*s));

		if (!s)
			return;
		s->load = load;
		s->link =
			load->generator->operations->connect(load->generator->state, &callbacks, s);
		if (!s->link) {
			free(s);
			return;
		}
		load->open_sessions++;
	}
}

void generator_turn(struct load *load)
{
	open_sessions(load);
	while (load->idle && (is_due(load) || !has_more(load))) {
		struct generator_session *s = load->idle;

		load->idle = s->next_idle;
		begin_message(s);
	}
}

int generator_init(struct load *load)
{
	load->started_us = load->now.mono_us;
	return make_template(load);
}
