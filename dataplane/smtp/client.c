/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The SMTP client's session: greeting, EHLO, STARTTLS, QUIT, failures and deadlines. What is
 * between MAIL and the final reply is in client_transaction.c. See client.h. RFC
 * 5321, 3.1, 3.2, 4.1.1.1, 4.5.3.2; RFC 3207, 4.
 */
#include "dataplane/smtp/client_private.h"

#include "drivers/clock.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The peer's answer to QUIT is not worth waiting for. */
#define QUIT_TIMEOUT_US (2 * US_PER_S)

void client_write(struct smtp_client *client, const void *data, size_t size)
{
	if (!client->out_of_order && client->sink.write(client->sink.context, data, size) != 0)
		client->out_of_order = true;
}

static void write_text(struct smtp_client *client, const char *text)
{
	client_write(client, text, strlen(text));
}

void client_wait(struct smtp_client *client, uint64_t timeout_us)
{
	client->timeout_us = timeout_us;
	client->deadline_us = client->now_us + timeout_us;
}

void smtp_reply_local(struct smtp_reply *reply, uint8_t class, uint16_t subject, uint16_t detail,
		      const char *format, ...)
{
	char text[2 * REPLY_TEXT];
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (size >= (int)sizeof(text))
		size = (int)sizeof(text) - 1;
	memset(reply, 0, sizeof(*reply));
	reply->enhanced =
		(struct enhanced_code){.class = class, .subject = subject, .detail = detail};
	reply_append_text(reply->text, REPLY_TEXT, 0, text, size > 0 ? (size_t)size : 0);
}

/* ---- Failure ---- */

void client_fail(struct smtp_client *client, enum smtp_client_failure_kind kind,
		 enum smtp_phase phase)
{
	if (client->state == CLIENT_STATE_FAILED)
		return;
	client->failure.kind = kind;
	client->failure.phase = phase;
	if (client->transaction.delivery)
		client_transaction_fail(client);
	client->state = CLIENT_STATE_FAILED;
	client->failed_event = true;
	client->ready_event = false;
	client->start_tls_event = false;
	client->deadline_us = MR_NEVER;
}

void client_fail_local(struct smtp_client *client, enum smtp_client_failure_kind kind,
		       enum smtp_phase phase, const char *format, ...)
{
	static const struct enhanced_code codes[] = {
		[CLIENT_FAILURE_NONE] = {4, 0, 0},     [CLIENT_FAILURE_REPLY] = {4, 0, 0},
		[CLIENT_FAILURE_TLS] = {4, 7, 5},      [CLIENT_FAILURE_INJECTION] = {4, 7, 5},
		[CLIENT_FAILURE_PROTOCOL] = {4, 5, 0}, [CLIENT_FAILURE_DESYNC] = {4, 5, 0},
		[CLIENT_FAILURE_TIMEOUT] = {4, 4, 2},  [CLIENT_FAILURE_LOST] = {4, 4, 2},
		[CLIENT_FAILURE_BODY] = {5, 6, 0},     [CLIENT_FAILURE_OURS] = {4, 3, 0},
	};
	char text[REPLY_TEXT];
	va_list arguments;

	if (client->state == CLIENT_STATE_FAILED)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	smtp_reply_local(&client->failure.reply, codes[kind].class, codes[kind].subject,
			 codes[kind].detail, "%s", text);
	client->failure.remote = false;
	client_fail(client, kind, phase);
}

/** The peer declined the session with the reply that was just read. */
static void fail_by_reply(struct smtp_client *client, enum smtp_phase phase)
{
	client->failure.reply = client->parser.reply;
	client->failure.remote = true;
	client_fail(client, CLIENT_FAILURE_REPLY, phase);
}

static enum smtp_phase phase_now(const struct smtp_client *client)
{
	switch (client->state) {
	case CLIENT_STATE_GREETING:
		return PHASE_GREETING;
	case CLIENT_STATE_EHLO:
	case CLIENT_STATE_HELO:
		return PHASE_EHLO;
	case CLIENT_STATE_STARTTLS:
		return PHASE_STARTTLS;
	case CLIENT_STATE_TLS:
		return PHASE_TLS;
	case CLIENT_STATE_TRANSACTION:
		return client_transaction_phase(client);
	default:
		return PHASE_MAIL;
	}
}

void smtp_client_lost(struct smtp_client *client, const char *why, uint64_t now_us)
{
	client->now_us = now_us;
	client->out_of_order = true;
	client_fail_local(client, CLIENT_FAILURE_LOST, phase_now(client),
			  "connection lost (%s): %s", smtp_phase_name(phase_now(client)), why);
}

void smtp_client_timeout(struct smtp_client *client, uint64_t now_us)
{
	client->now_us = now_us;
	client_fail_local(client, CLIENT_FAILURE_TIMEOUT, phase_now(client),
			  "no answer within %llu s (%s)",
			  (unsigned long long)(client->timeout_us / US_PER_S),
			  smtp_phase_name(phase_now(client)));
}

/* ---- Greeting, EHLO, STARTTLS ---- */

void smtp_client_init(struct smtp_client *client, const struct smtp_client_settings *settings,
		      const struct smtp_client_sink *sink, uint64_t now_us)
{
	memset(client, 0, sizeof(*client));
	client->sink = *sink;
	client->settings = *settings->path;
	client->avoid_tls = settings->avoid_tls;
	client->avoid_pipelining = settings->avoid_pipelining;
	client->avoid_chunking = settings->avoid_chunking;
	client->recipients_learned = settings->recipients_learned;
	snprintf(client->ehlo_name, sizeof(client->ehlo_name), "%s", settings->ehlo_name);
	reply_parser_init(&client->parser);
	client->now_us = now_us;
	client->state = CLIENT_STATE_GREETING;
	client_wait(client, client->settings.greeting_timeout_us);
}

static void send_hello(struct smtp_client *client, const char *verb)
{
	char line[SMTP_DOMAIN_MAX + 16];
	int size = snprintf(line, sizeof(line), "%s %s\r\n", verb, client->ehlo_name);

	memset(&client->features, 0, sizeof(client->features));
	client->state = verb[0] == 'E' ? CLIENT_STATE_EHLO : CLIENT_STATE_HELO;
	client_write(client, line, (size_t)size);
	client_wait(client, client->settings.command_timeout_us);
}

static void become_idle(struct smtp_client *client)
{
	client->state = CLIENT_STATE_IDLE;
	client->idle_since_us = client->now_us;
	client->deadline_us = MR_NEVER;
	client->ready_event = true;
}

static void on_greeting(struct smtp_client *client, uint16_t code)
{
	if (code == 220)
		send_hello(client, "EHLO");
	else if (code >= 400)
		fail_by_reply(client, PHASE_GREETING);
	else
		client_fail_local(client, CLIENT_FAILURE_PROTOCOL, PHASE_GREETING,
				  "greeting with code %u", code);
}

/**
 * The capabilities are known: STARTTLS as the level says (Postfix's TLS_LEVELs).
 */
static void on_capabilities(struct smtp_client *client)
{
	enum tls_level level = client->settings.tls;

	if (client->tls_active || level == TLS_LEVEL_NONE ||
	    (level == TLS_LEVEL_MAY && (client->avoid_tls || !client->features.starttls))) {
		become_idle(client);
		return;
	}
	if (!client->features.starttls) {
		client_fail_local(client, CLIENT_FAILURE_TLS, PHASE_STARTTLS,
				  "TLS is required, but was not offered");
		return;
	}
	client->state = CLIENT_STATE_STARTTLS;
	write_text(client, "STARTTLS\r\n");
	client_wait(client, client->settings.command_timeout_us);
}

static void on_ehlo(struct smtp_client *client, uint16_t code)
{
	if (code == 250)
		on_capabilities(client);
	else if (code == 421 || code / 100 == 4)
		fail_by_reply(client, PHASE_EHLO);
	else if (code / 100 == 5 && code != 521)
		send_hello(client, "HELO"); /* RFC 5321, 3.2 and 4.1.4 */
	else if (code == 521)
		fail_by_reply(client, PHASE_EHLO);
	else
		client_fail_local(client, CLIENT_FAILURE_PROTOCOL, PHASE_EHLO,
				  "EHLO answered with code %u", code);
}

static void on_helo(struct smtp_client *client, uint16_t code)
{
	if (code == 250)
		on_capabilities(client);
	else if (code >= 400)
		fail_by_reply(client, PHASE_EHLO);
	else
		client_fail_local(client, CLIENT_FAILURE_PROTOCOL, PHASE_EHLO,
				  "HELO answered with code %u", code);
}

static void on_starttls(struct smtp_client *client, uint16_t code)
{
	bool may = client->settings.tls == TLS_LEVEL_MAY;

	if (code == 220) {
		client->state = CLIENT_STATE_TLS;
		client->start_tls_event = true;
		client_wait(client, client->settings.tls_handshake_timeout_us);
	} else if (code >= 400 && code != 421 && may) {
		/* RFC 3207, 4: a refusal leaves the session as it is. */
		client->tls_refused = true;
		become_idle(client);
	} else if (code >= 400) {
		client_fail_local(client, CLIENT_FAILURE_TLS, PHASE_STARTTLS,
				  "STARTTLS refused: %u %s", code, client->parser.reply.text);
	} else {
		client_fail_local(client, CLIENT_FAILURE_TLS, PHASE_STARTTLS,
				  "STARTTLS answered with code %u", code);
	}
}

void smtp_client_tls_done(struct smtp_client *client, uint64_t now_us)
{
	client->now_us = now_us;
	if (client->state != CLIENT_STATE_TLS)
		return;
	/* RFC 3207, 4.2: all knowledge from before is discarded; send_hello clears the features. */
	client->tls_active = true;
	send_hello(client, "EHLO");
}

void smtp_client_tls_failed(struct smtp_client *client, const char *why, bool injection,
			    uint64_t now_us)
{
	client->now_us = now_us;
	client->out_of_order = true;
	client_fail_local(client, injection ? CLIENT_FAILURE_INJECTION : CLIENT_FAILURE_TLS,
			  PHASE_TLS, "TLS handshake failed: %s", why ? why : "unknown reason");
}

/* ---- Replies ---- */

/* Nobody asked. 421 is the peer's way to end an idle session (RFC 5321, 3.8). */
static void on_unexpected(struct smtp_client *client)
{
	if (client->parser.reply.code == 421)
		fail_by_reply(client, PHASE_MAIL);
	else
		client_fail_local(client, CLIENT_FAILURE_DESYNC, PHASE_MAIL,
				  "reply without a command: %u %s", client->parser.reply.code,
				  client->parser.reply.text);
}

static void on_reply(struct smtp_client *client, enum reply_rest rest)
{
	uint16_t code = client->parser.reply.code;

	switch (client->state) {
	case CLIENT_STATE_GREETING:
		on_greeting(client, code);
		break;
	case CLIENT_STATE_EHLO:
		on_ehlo(client, code);
		break;
	case CLIENT_STATE_HELO:
		on_helo(client, code);
		break;
	case CLIENT_STATE_STARTTLS:
		on_starttls(client, code);
		break;
	case CLIENT_STATE_TRANSACTION:
		client_transaction_reply(client, rest);
		return;
	default:
		on_unexpected(client);
		return;
	}
	/* C3: more than the one reply to the one command that was out. */
	if (rest != REST_NOTHING && client->state != CLIENT_STATE_TLS &&
	    client->state != CLIENT_STATE_FAILED)
		client_fail_local(client, CLIENT_FAILURE_DESYNC, phase_now(client),
				  "more replies than commands");
}

static enum reply_rest rest_of(const uint8_t *data, size_t size)
{
	if (size == 0)
		return REST_NOTHING;
	return memcmp(data, "421", size < 3 ? size : 3) == 0 ? REST_FAREWELL : REST_REPLY;
}

static bool has_event(const struct smtp_client *client)
{
	return client->start_tls_event || client->done_event || client->ready_event ||
	       client->failed_event;
}

size_t smtp_client_input(struct smtp_client *client, const uint8_t *data, size_t size,
			 uint64_t now_us)
{
	size_t taken = 0;

	client->now_us = now_us;
	/* The answer to QUIT, and whatever comes after the end, is nobody's business. */
	if (client->state == CLIENT_STATE_QUIT || client->state == CLIENT_STATE_FAILED)
		return size;
	while (taken < size && !has_event(client)) {
		size_t used;
		enum reply_status status =
			reply_parser_input(&client->parser, data + taken, size - taken, &used);

		taken += used;
		if (status == REPLY_BROKEN) {
			client_fail_local(client, CLIENT_FAILURE_PROTOCOL, phase_now(client),
					  "%s (%s)", client->parser.error,
					  smtp_phase_name(phase_now(client)));
		} else if (status != REPLY_MORE && client->state == CLIENT_STATE_EHLO &&
			   client->parser.reply.code == 250 && client->parser.lines > 1) {
			client_features_read(&client->features, reply_parser_line(&client->parser));
		}
		if (status == REPLY_DONE)
			on_reply(client, rest_of(data + taken, size - taken));
		else if (client->state == CLIENT_STATE_IDLE && client->deadline_us == MR_NEVER)
			/* Once: an octet now and then must not hold the connection for ever. */
			client_wait(client, client->settings.command_timeout_us);
	}
	return taken;
}

enum smtp_client_event smtp_client_event(struct smtp_client *client)
{
	const struct {
		bool *flag;
		enum smtp_client_event event;
	} order[] = {
		{&client->done_event, CLIENT_EVENT_DONE},
		{&client->failed_event, CLIENT_EVENT_FAILED},
		{&client->start_tls_event, CLIENT_EVENT_START_TLS},
		{&client->ready_event, CLIENT_EVENT_READY},
	};

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (*order[i].flag) {
			*order[i].flag = false;
			return order[i].event;
		}
	}
	return CLIENT_EVENT_NONE;
}

/* ---- Idle ---- */

bool smtp_client_is_idle(const struct smtp_client *client)
{
	return client->state == CLIENT_STATE_IDLE;
}

void smtp_client_quit(struct smtp_client *client, uint64_t now_us)
{
	assert(client->state == CLIENT_STATE_IDLE || client->state == CLIENT_STATE_FAILED);
	client->now_us = now_us;
	write_text(client, "QUIT\r\n");
	client->ready_event = false;
	client->state = CLIENT_STATE_QUIT;
	client_wait(client, QUIT_TIMEOUT_US);
}

const char *smtp_client_state_name(const struct smtp_client *client)
{
	switch (client->state) {
	case CLIENT_STATE_IDLE:
		return "idle";
	case CLIENT_STATE_QUIT:
		return "quit";
	case CLIENT_STATE_FAILED:
		return "closing";
	default:
		return smtp_phase_name(phase_now(client));
	}
}

/* ---- Results ---- */

void delivery_recipient_decide(struct delivery_recipient *recipient, enum outcome outcome,
			       enum smtp_phase phase, const struct smtp_reply *reply, bool remote)
{
	if (reply->code)
		outcome = reply->code < 300   ? OUTCOME_DELIVERED
			  : reply->code < 500 ? OUTCOME_DEFERRED
					      : OUTCOME_BOUNCED;
	recipient->outcome = (uint8_t)outcome;
	recipient->phase = (uint8_t)phase;
	recipient->remote = remote;
	recipient->code = reply->code;
	recipient->enhanced = reply->enhanced;
	memcpy(recipient->reply, reply->text, REPLY_TEXT);
}

void delivery_decide(struct delivery *delivery, enum outcome outcome, enum smtp_phase phase,
		     const struct smtp_reply *reply, bool remote)
{
	for (uint32_t i = 0; i < delivery->recipient_count; i++)
		if (delivery->recipients[i].outcome == OUTCOME_NONE)
			delivery_recipient_decide(&delivery->recipients[i], outcome, phase, reply,
						  remote);
}
