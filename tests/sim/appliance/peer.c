/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/appliance/peer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTENT_MAX	   (256u << 10)
#define LINE_SIZE	   4096
#define BURST		   32
#define CLIENT_PATIENCE_US (300 * US_PER_S)

/* ---- Content ---- */

static uint32_t mix(uint32_t x)
{
	x ^= x >> 16;
	x *= 0x7feb352dU;
	x ^= x >> 15;
	x *= 0x846ca68bU;
	return x ^ x >> 16;
}

size_t peer_content(const struct peer *peer, uint32_t n, char *to, size_t capacity)
{
	size_t range = peer->size_max - peer->size_min + 1;
	size_t target = peer->size_min + mix(n) % range;
	size_t at = (size_t)snprintf(
		to, capacity,
		"From: <a@sender.example>\r\nTo: <r%u@dest.example>\r\nSubject: message %u\r\n"
		"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%u@sender.example>\r\n"
		"X-Sim: %u\r\n\r\n",
		n, n, n, n);

	for (uint32_t line = 0; at < target; line++) {
		unsigned kind = mix(n * 131 + line) % 8;
		unsigned length = kind == 0 ? 0 : mix(n + line * 977) % 76;

		/* Lines that begin with dots, and empty ones, are what transparency is about. */
		if (kind == 1)
			to[at++] = '.';
		if (kind == 2) {
			to[at++] = '.';
			to[at++] = '.';
		}
		for (unsigned i = 0; i < length; i++)
			to[at++] = (char)('!' + mix(n ^ line * 31 ^ i) % 90);
		to[at++] = '\r';
		to[at++] = '\n';
	}
	return at;
}

/* ---- A line reader that both roles share ---- */

struct line {
	char text[LINE_SIZE];
	unsigned length;
};

/* @return true with line->text a whole line (without CRLF); *used counts what was taken */
static bool take_line(struct line *line, const uint8_t *data, size_t size, size_t *used)
{
	while (*used < size) {
		char c = (char)data[(*used)++];

		if (c == '\n' && line->length > 0 && line->text[line->length - 1] == '\r') {
			line->text[line->length - 1] = '\0';
			line->length = 0;
			return true;
		}
		assert(line->length < LINE_SIZE - 1);
		line->text[line->length++] = c;
	}
	return false;
}

static bool chance(struct peer *peer, unsigned in_a_thousand)
{
	return in_a_thousand > 0 && random_below(&peer->random, 1000) < in_a_thousand;
}

/* ---- The sender's sessions ---- */

enum client_step {
	STEP_GREETING,
	STEP_EHLO,
	STEP_STARTTLS,
	STEP_MAIL,
	STEP_RCPT,
	STEP_DATA,
	STEP_DOT,
	STEP_QUIT
};

struct client {
	struct stream stream;
	struct peer *peer;
	struct client *next, **link; /* in the peer's list */
	uint64_t heard_us;
	struct line line;
	enum client_step step;
	uint32_t message;
	bool has_message;
	bool connected;
	char *content;
	size_t content_size, content_sent;
};

static void client_say(struct client *c, const char *text)
{
	stream_write(&c->stream, text, strlen(text));
}

static void client_next_message(struct client *c)
{
	struct peer *peer = c->peer;

	while (peer->next_message < peer->messages &&
	       (peer->acknowledged[peer->next_message] || peer->refused[peer->next_message]))
		peer->next_message++;
	if (peer->next_message >= peer->messages) {
		c->step = STEP_QUIT;
		client_say(c, "QUIT\r\n");
		return;
	}
	c->message = peer->next_message++;
	c->has_message = true;
	c->step = STEP_MAIL;
	client_say(c, "MAIL FROM:<a@sender.example>\r\n");
}

static void client_push_content(struct client *c)
{
	while (c->content_sent < c->content_size) {
		size_t n = c->content_size - c->content_sent;

		if (n > 2000)
			n = 2000;
		if (stream_write(&c->stream, c->content + c->content_sent, n) < 0)
			return;
		c->content_sent += n;
		if (stream_unacknowledged(&c->stream) > 60000) {
			stream_want_write(&c->stream);
			return;
		}
	}
}

/* The content with its dots stuffed, and the end of data. */
static void client_begin_content(struct client *c)
{
	char *plain = malloc(CONTENT_MAX);
	size_t size = peer_content(c->peer, c->message, plain, CONTENT_MAX), out = 0;
	bool line_start = true;

	c->content = malloc(2 * size + 16);
	for (size_t i = 0; i < size; i++) {
		if (line_start && plain[i] == '.')
			c->content[out++] = '.';
		c->content[out++] = plain[i];
		line_start = plain[i] == '\n';
	}
	memcpy(c->content + out, ".\r\n", 3);
	c->content_size = out + 3;
	c->content_sent = 0;
	free(plain);
	c->step = STEP_DOT;
	client_push_content(c);
}

/* The message goes back to be sent again by another session. */
static void client_give_up(struct client *c)
{
	if (c->has_message && c->message < c->peer->next_message)
		c->peer->next_message = c->message;
	c->has_message = false;
}

static void client_reply(struct client *c, unsigned code)
{
	if (code >= 400) {
		if (code >= 500 && c->has_message) {
			c->peer->refused[c->message] = 1;
			c->has_message = false;
		}
		client_give_up(c);
		stream_close(&c->stream);
		return;
	}
	switch (c->step) {
	case STEP_GREETING:
		c->step = STEP_EHLO;
		client_say(c, "EHLO client.sender.example\r\n");
		break;
	case STEP_EHLO:
		if (c->peer->client_context && !stream_is_tls(&c->stream)) {
			c->step = STEP_STARTTLS;
			client_say(c, "STARTTLS\r\n");
		} else {
			client_next_message(c);
		}
		break;
	case STEP_STARTTLS:
		assert(stream_start_tls(&c->stream, c->peer->client_context, NULL) == 0);
		break;
	case STEP_MAIL: {
		char rcpt[64];

		c->step = STEP_RCPT;
		snprintf(rcpt, sizeof(rcpt), "RCPT TO:<r%u@dest.example>\r\n", c->message);
		client_say(c, rcpt);
		break;
	}
	case STEP_RCPT:
		c->step = STEP_DATA;
		client_say(c, "DATA\r\n");
		break;
	case STEP_DATA:
		client_begin_content(c);
		break;
	case STEP_DOT:
		c->peer->acknowledged[c->message] = 1;
		c->has_message = false;
		free(c->content);
		c->content = NULL;
		client_next_message(c);
		break;
	case STEP_QUIT:
		stream_close(&c->stream);
		break;
	}
}

static size_t client_receive(void *user, const uint8_t *data, size_t size)
{
	struct client *c = user;
	size_t used = 0;

	c->heard_us = c->peer->now->mono_us;
	while (take_line(&c->line, data, size, &used)) {
		if (c->line.text[3] == '-')
			continue;
		client_reply(c, (unsigned)atoi(c->line.text));
		if (c->step == STEP_STARTTLS)
			break;
	}
	return used;
}

static void client_connected(void *user)
{
	((struct client *)user)->connected = true;
}

static void client_tls(void *user, const struct tls_information *information)
{
	struct client *c = user;

	(void)information;
	c->step = STEP_EHLO;
	client_say(c, "EHLO client.sender.example\r\n");
}

static void client_end(void *user, bool truncated)
{
	(void)truncated;
	stream_close(&((struct client *)user)->stream);
}

static void client_room(void *user, size_t room)
{
	(void)room;
	client_push_content(user);
}

static void client_closed(void *user, bool in_order, enum stream_failure failure,
			  enum tcp_close_reason reason)
{
	struct client *c = user;

	(void)in_order;
	(void)failure;
	(void)reason;
	client_give_up(c);
	c->peer->sessions--;
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	free(c->content);
	free(c);
}

static const struct stream_callbacks client_callbacks = {
	.on_connected = client_connected,
	.on_receive = client_receive,
	.on_tls = client_tls,
	.on_end = client_end,
	.on_write_room = client_room,
	.on_closed = client_closed,
};

void peer_send_mail(struct peer *peer)
{
	while (peer->sessions < peer->sessions_max && peer->next_message < peer->messages) {
		struct client *c = calloc(1, sizeof(*c));
		tcp_handle connection;

		c->peer = peer;
		c->heard_us = peer->now->mono_us;
		if (tcp_connect(peer->stack, &peer->own, &peer->server, 25, 5 * US_PER_S,
				&stream_tcp_callbacks, &c->stream, peer->now, &connection) < 0) {
			free(c);
			return;
		}
		stream_init(&c->stream, peer->stack, connection, peer->chunks, &client_callbacks, c,
			    peer->now, true);
		peer->sessions++;
		c->link = &peer->clients;
		c->next = peer->clients;
		if (c->next)
			c->next->link = &c->next;
		peer->clients = c;
	}
}

/* A client does not wait for ever: the appliance may have vanished. */
static void drop_silent_clients(struct peer *peer)
{
	struct client *next;

	for (struct client *c = peer->clients; c; c = next) {
		next = c->next;
		if (peer->now->mono_us - c->heard_us > CLIENT_PATIENCE_US)
			stream_abort(&c->stream);
	}
}

/* ---- The sink's sessions ---- */

struct sink {
	struct stream stream;
	struct peer *peer;
	struct sink *next, **link; /* in the peer's list */
	struct line line;
	bool in_data;
	bool null_sender;
	bool has_recipient;
	bool closing;
	char *body;
	size_t size;
};

static void sink_say(struct sink *s, const char *text)
{
	stream_write(&s->stream, text, strlen(text));
}

/* @return true when body ends in exactly what message n is */
static void sink_store(struct sink *s)
{
	struct peer *peer = s->peer;
	char *mark, *expected;
	size_t size;
	unsigned n;

	if (s->null_sender) {
		peer->notices++;
		return;
	}
	s->body[s->size] = '\0';
	mark = strstr(s->body, "\r\nX-Sim: ");
	assert(mark && sscanf(mark, "\r\nX-Sim: %u", &n) == 1 && n < PEER_MESSAGES_MAX);
	expected = malloc(CONTENT_MAX);
	size = peer_content(peer, n, expected, CONTENT_MAX);
	peer->stored[n].copies++;
	if (s->size < size || memcmp(s->body + s->size - size, expected, size) != 0 ||
	    strncmp(s->body, "Received: ", 10) != 0)
		peer->stored[n].damaged = true;
	free(expected);
}

static void sink_end_of_data(struct sink *s)
{
	struct peer *peer = s->peer;

	s->in_data = false;
	peer->transactions++;
	if (chance(peer, peer->manners.refuse_data)) {
		sink_say(s, "451 4.3.0 not now\r\n");
		return;
	}
	sink_store(s);
	if (chance(peer, peer->manners.reset_after_dot)) {
		s->closing = true;
		stream_abort(&s->stream);
		return;
	}
	sink_say(s, "250 2.0.0 stored\r\n");
}

static void sink_data_line(struct sink *s, const char *line)
{
	size_t length = strlen(line);

	if (strcmp(line, ".") == 0) {
		sink_end_of_data(s);
		return;
	}
	if (line[0] == '.') {
		line++;
		length--;
	}
	assert(s->size + length + 3 < CONTENT_MAX);
	memcpy(s->body + s->size, line, length);
	memcpy(s->body + s->size + length, "\r\n", 2);
	s->size += length + 2;
	if (chance(s->peer, s->peer->manners.reset_in_data / 8)) {
		s->closing = true;
		stream_abort(&s->stream);
	}
}

static void sink_command(struct sink *s, const char *line)
{
	struct peer *peer = s->peer;

	if (strncasecmp(line, "EHLO", 4) == 0) {
		sink_say(s, "250-mx.dest.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n");
		if (peer->server_context && !stream_is_tls(&s->stream))
			sink_say(s, "250-STARTTLS\r\n");
		sink_say(s, "250 ENHANCEDSTATUSCODES\r\n");
	} else if (strncasecmp(line, "STARTTLS", 8) == 0) {
		sink_say(s, "220 go ahead\r\n");
		assert(stream_start_tls(&s->stream, peer->server_context, NULL) == 0);
	} else if (strncasecmp(line, "MAIL", 4) == 0) {
		s->null_sender = strncasecmp(line, "MAIL FROM:<>", 12) == 0;
		s->has_recipient = false;
		sink_say(s, "250 2.1.0 ok\r\n");
	} else if (strncasecmp(line, "RCPT", 4) == 0) {
		if (chance(peer, peer->manners.refuse_rcpt)) {
			sink_say(s, "451 4.2.0 later\r\n");
		} else if (chance(peer, peer->manners.refuse_rcpt_for_good)) {
			sink_say(s, "550 5.1.1 nobody\r\n");
		} else {
			s->has_recipient = true;
			sink_say(s, "250 2.1.5 ok\r\n");
		}
	} else if (strncasecmp(line, "DATA", 4) == 0) {
		if (!s->has_recipient) {
			sink_say(s, "554 5.5.1 no valid recipients\r\n");
			return;
		}
		s->in_data = true;
		s->size = 0;
		sink_say(s, "354 go\r\n");
	} else if (strncasecmp(line, "RSET", 4) == 0) {
		sink_say(s, "250 2.0.0 ok\r\n");
	} else if (strncasecmp(line, "QUIT", 4) == 0) {
		sink_say(s, "221 2.0.0 bye\r\n");
		stream_close(&s->stream);
	} else {
		sink_say(s, "502 5.5.2 what?\r\n");
	}
}

static size_t sink_receive(void *user, const uint8_t *data, size_t size)
{
	struct sink *s = user;
	size_t used = 0;

	while (!s->closing && take_line(&s->line, data, size, &used)) {
		bool starttls = !s->in_data && strncasecmp(s->line.text, "STARTTLS", 8) == 0;

		if (s->in_data)
			sink_data_line(s, s->line.text);
		else
			sink_command(s, s->line.text);
		if (starttls)
			break;
	}
	return s->closing ? size : used;
}

static void sink_tls(void *user, const struct tls_information *information)
{
	(void)user;
	(void)information;
}

static void sink_end(void *user, bool truncated)
{
	(void)truncated;
	stream_close(&((struct sink *)user)->stream);
}

static void sink_room(void *user, size_t room)
{
	(void)user;
	(void)room;
}

static void sink_closed(void *user, bool in_order, enum stream_failure failure,
			enum tcp_close_reason reason)
{
	struct sink *s = user;

	(void)in_order;
	(void)failure;
	(void)reason;
	s->closing = true;
	s->peer->sessions--;
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	free(s->body);
	free(s);
}

static const struct stream_callbacks sink_callbacks = {
	.on_receive = sink_receive,
	.on_tls = sink_tls,
	.on_end = sink_end,
	.on_write_room = sink_room,
	.on_closed = sink_closed,
};

static bool sink_accept(void *listener_user, tcp_handle connection, void **user_out,
			const struct tcp_callbacks **callbacks_out)
{
	struct peer *peer = listener_user;
	struct sink *s = calloc(1, sizeof(*s));

	s->peer = peer;
	s->link = &peer->sinks;
	s->next = peer->sinks;
	if (s->next)
		s->next->link = &s->next;
	peer->sinks = s;
	s->body = malloc(CONTENT_MAX);
	*user_out = &s->stream;
	*callbacks_out = &stream_tcp_callbacks;
	stream_init(&s->stream, peer->stack, connection, peer->chunks, &sink_callbacks, s,
		    peer->now, false);
	peer->sessions++;
	if (chance(peer, peer->manners.close_at_greeting)) {
		sink_say(s, "421 4.3.2 too busy\r\n");
		stream_close(&s->stream);
	} else {
		sink_say(s, "220 mx.dest.example ESMTP\r\n");
	}
	stream_flush(&s->stream);
	return true;
}

static const struct tcp_listen_callbacks sink_listen_callbacks = {.on_accept = sink_accept};

void peer_listen(struct peer *peer)
{
	assert(tcp_listen(peer->stack, &peer->own, 25, &sink_listen_callbacks, peer) == 0);
}

/* ---- The host ---- */

struct peer *peer_create(struct mr_now *now, uint64_t seed, const struct view *view)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	peer->now = now;
	random_init_seed(&peer->random, seed);
	peer->frames = sim_frame_pool_create(4096, 0);
	peer->chunks = chunk_pool_create(0, 4096);
	struct net_stack_settings settings = {
		.worker_count = 1,
		.connections = 1024,
		.time_wait = 1024,
		.frames = sim_frame_pool_interface(peer->frames),
		.chunks = peer->chunks,
		.random = &peer->random,
	};
	peer->stack = net_stack_create(&settings, now);
	assert(peer->stack && net_stack_configure(peer->stack, view, now) == 0);
	peer->own = view->addresses[0].address;
	return peer;
}

void peer_destroy(struct peer *peer)
{
	while (peer->clients)
		stream_abort(&peer->clients->stream);
	while (peer->sinks)
		stream_abort(&peer->sinks->stream);
	net_stack_destroy(peer->stack);
	chunk_pool_destroy(peer->chunks);
	sim_frame_pool_destroy(peer->frames);
	free(peer);
}

bool peer_turn(struct peer *peer, struct sim_link *in, struct sim_link *out)
{
	struct frame_pool *pool = sim_frame_pool_interface(peer->frames);
	struct frame *frames[BURST];
	unsigned n = 0;
	bool busy;

	while (n < BURST) {
		struct frame *frame = frame_alloc(pool);
		size_t size = frame ? sim_link_receive(in, frame->data, peer->now->mono_us) : 0;

		if (size == 0) {
			if (frame)
				frame_free(pool, frame);
			break;
		}
		frame->length = (uint16_t)size;
		frame->port = 0;
		frames[n++] = frame;
	}
	busy = n > 0;
	net_stack_input(peer->stack, frames, n, peer->now);
	busy |= net_stack_timers(peer->stack, peer->now, 256) > 0;
	drop_silent_clients(peer);
	while ((n = net_stack_output(peer->stack, 0, frames, BURST, peer->now)) > 0) {
		for (unsigned i = 0; i < n; i++) {
			sim_link_send(out, frames[i]->data, frames[i]->length, peer->now->mono_us);
			frame_free(pool, frames[i]);
		}
		busy = true;
	}
	return busy;
}
