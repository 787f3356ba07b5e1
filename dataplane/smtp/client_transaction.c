/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One transaction of the SMTP client: RSET when the last one was left open, MAIL, RCPT, then DATA
 * or BDAT with the body, and what each reply means for each recipient (RFC 5321, 3.3, 4.2
 * and 4.5.3.1.10; RFC 2920, 3.1; RFC 3030, 2).
 *
 * Two cursors walk the same sequence: `send` says what is written next, `await` which reply comes
 * next; `outstanding` is the distance between them. Recipients that have an outcome already are
 * stepped over by both.
 */
#include "dataplane/smtp/client_private.h"

#include "drivers/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Commands may go out without asking TCP for room: as much as is sure to fit beside what a session
 * keeps queued. */
#define COMMAND_CREDIT 4096
/* A body of this size may follow its envelope before the RCPT replies are in (BDAT): it costs
 * little if refused. */
#define EAGER_BODY_MAX 65536
/* After a longer silence the peer may have closed the connection: no eager body, so that a loss is
 * not ambiguous. */
#define EAGER_IDLE_MAX_US (2 * US_PER_S)
/* A body that moves slower than this on the whole is given up (notes: tarpits; C9). */
#define BODY_RATE_MIN 500
/* How long a peer's too-many-recipients answer may bind us is the path's business; that it is one,
 * is decided here. */

enum smtp_phase client_transaction_phase(const struct smtp_client *client)
{
	const struct smtp_client_transaction *t = &client->transaction;

	switch (t->await) {
	case AWAIT_RSET:
	case AWAIT_MAIL:
		return PHASE_MAIL;
	case AWAIT_RCPT:
		return PHASE_RCPT;
	case AWAIT_DATA:
		return t->chunking && t->body_written ? PHASE_DOT
		       : t->send == SEND_BODY	      ? PHASE_BODY
						      : PHASE_DATA;
	case AWAIT_FINAL:
		return t->body_written ? PHASE_DOT : PHASE_BODY;
	}
	return PHASE_MAIL;
}

/* ---- End of a transaction ---- */

/** Let the delivery go: every recipient is decided. */
static void transaction_end(struct smtp_client *client)
{
	struct smtp_client_transaction *t = &client->transaction;

	t->delivery->transaction_us = client->now_us - t->began_us;
	t->delivery = NULL;
	t->send = SEND_NOTHING;
	client->done_event = true;
	client->transactions += t->any_reply;
	if (client->state != CLIENT_STATE_TRANSACTION)
		return;
	client->state = CLIENT_STATE_IDLE;
	client->idle_since_us = client->now_us;
	client->deadline_us = MR_NEVER;
	client->ready_event = true;
}

/**
 * Could the peer have taken responsibility although we did not read its answer? Only with the end
 * of the body sent and at least one recipient not refused (RFC 1047).
 */
static bool is_ambiguous(const struct smtp_client_transaction *t)
{
	return t->body_written && !t->empty_body && !t->mail_refused &&
	       (t->accepted > 0 || t->rcpt_unanswered > 0);
}

/** A connection that had gone stale before our first command: nothing happened, begin again
 * elsewhere. */
static bool is_stale(const struct smtp_client *client)
{
	const struct smtp_client_transaction *t = &client->transaction;
	uint16_t code = client->failure.remote ? client->failure.reply.code : 0;

	if (client->transactions == 0 || t->any_reply)
		return false;
	return client->failure.kind == CLIENT_FAILURE_REPLY
		       ? code == 421
		       : client->failure.kind == CLIENT_FAILURE_LOST && !is_ambiguous(t);
}

/** Undo what replies wrote, so that the delivery is as it came. */
static void delivery_reset(struct delivery *delivery)
{
	for (uint32_t i = 0; i < delivery->recipient_count; i++) {
		struct delivery_recipient *recipient = &delivery->recipients[i];

		recipient->outcome = OUTCOME_NONE;
		recipient->phase = 0;
		recipient->remote = false;
		recipient->code = 0;
		recipient->enhanced = (struct enhanced_code){0};
		recipient->reply[0] = '\0';
	}
}

void client_transaction_fail(struct smtp_client *client)
{
	struct smtp_client_transaction *t = &client->transaction;
	struct delivery *delivery = t->delivery;

	if (client->failure.restart || is_stale(client)) {
		client->failure.restart = true;
		delivery_reset(delivery);
		t->delivery = NULL;
		return;
	}
	if (is_ambiguous(t) && !client->failure.remote)
		delivery->possible_duplicate = true;
	delivery_decide(delivery,
			client->failure.kind == CLIENT_FAILURE_BODY ? OUTCOME_BOUNCED
								    : OUTCOME_DEFERRED,
			client->failure.phase, &client->failure.reply, client->failure.remote);
	client->state = CLIENT_STATE_FAILED;
	transaction_end(client);
}

/** The session ends with the peer's reply, which decides the recipients that are left. */
static void fail_with_reply(struct smtp_client *client, enum smtp_phase phase)
{
	client->failure.reply = client->parser.reply;
	client->failure.remote = true;
	client_fail(client, CLIENT_FAILURE_REPLY, phase);
}

static void fail_out_of_step(struct smtp_client *client, const char *what)
{
	client_fail_local(client, CLIENT_FAILURE_DESYNC, client_transaction_phase(client),
			  "%s: %u %s", what, client->parser.reply.code, client->parser.reply.text);
}

/* ---- Sending ---- */

static void begin_body(struct smtp_client *client)
{
	struct smtp_client_transaction *t = &client->transaction;

	t->send = SEND_BODY;
	t->body_began_us = client->now_us;
	client_body_begin(&t->body, t->delivery->body, t->delivery->body_size, !t->chunking);
	client_wait(client, client->settings.data_block_timeout_us);
}

static void body_complete(struct smtp_client *client)
{
	struct smtp_client_transaction *t = &client->transaction;

	if (!t->chunking) {
		if (client_body_is_torn(&t->body))
			client_write(client, "\r\n", 2);
		client_write(client, ".\r\n", 3);
	}
	t->body_written = true;
	t->send = SEND_NOTHING;
	client_wait(client, client->settings.data_done_timeout_us);
}

/** @return false when there is no more room */
static bool pump_body(struct smtp_client *client)
{
	struct smtp_client_transaction *t = &client->transaction;
	size_t before = t->room;
	int code = client_body_write(&t->body, &client->sink, &t->room);

	if (code == 1) {
		body_complete(client);
		return true;
	}
	if (code == -EBADMSG) {
		/* Behind DATA or BDAT there is no way back into the dialogue. */
		client_fail_local(client, CLIENT_FAILURE_BODY, PHASE_BODY,
				  "the message has a bare CR or LF");
		return true;
	}
	if (code == -ENODATA) {
		/* Our fault, and no verdict on the message: it is not sent short. */
		client_fail_local(client, CLIENT_FAILURE_OURS, PHASE_BODY,
				  "the message's body is not whole here");
		return true;
	}
	if (code < 0) {
		client->out_of_order = true;
		return false;
	}
	if (t->room < before)
		client_wait(client, client->settings.data_block_timeout_us);
	return false;
}

static void command_sent(struct smtp_client *client, size_t size, uint64_t timeout_us)
{
	struct smtp_client_transaction *t = &client->transaction;

	t->room -= size < t->room ? size : t->room;
	if (t->outstanding++ == 0)
		client_wait(client, timeout_us);
}

static void send_mail(struct smtp_client *client)
{
	char line[CLIENT_COMMAND_MAX];
	size_t size = client_envelope_mail(client, line);

	client_write(client, line, size);
	command_sent(client, size, client->settings.command_timeout_us);
	client->transaction.send = SEND_RCPT;
}

static void send_rcpt(struct smtp_client *client)
{
	struct smtp_client_transaction *t = &client->transaction;
	struct delivery_recipient *recipient;
	char line[CLIENT_COMMAND_MAX];
	size_t size;

	do {
		assert(t->rcpt_next < t->delivery->recipient_count);
		recipient = &t->delivery->recipients[t->rcpt_next++];
	} while (recipient->outcome != OUTCOME_NONE);
	size = client_envelope_rcpt(client, recipient, line);
	client_write(client, line, size);
	command_sent(client, size, client->settings.command_timeout_us);
	t->rcpt_unanswered++;
	if (--t->rcpt_unsent == 0)
		t->send = SEND_DATA;
}

static void send_data(struct smtp_client *client)
{
	struct smtp_client_transaction *t = &client->transaction;
	char line[40] = "DATA\r\n";
	int size = 6;

	if (t->chunking)
		size = snprintf(line, sizeof(line), "BDAT %llu LAST\r\n",
				(unsigned long long)t->delivery->body_size);
	client_write(client, line, (size_t)size);
	command_sent(client, (size_t)size, client->settings.data_init_timeout_us);
	t->send = SEND_NOTHING;
	t->data_sent = true;
	if (t->chunking)
		begin_body(client);
}

/** May the next thing be sent before the replies that are out? */
static bool may_send(const struct smtp_client *client)
{
	const struct smtp_client_transaction *t = &client->transaction;
	bool pipelining = client->features.pipelining && client->settings.use_pipelining &&
			  !client->avoid_pipelining;

	if (t->send == SEND_NOTHING || client->out_of_order)
		return false;
	if (t->send == SEND_BODY || t->outstanding == 0)
		return true;
	if (!pipelining)
		return false;
	return t->send != SEND_DATA || !t->chunking || t->eager;
}

void client_transaction_pump(struct smtp_client *client)
{
	struct smtp_client_transaction *t = &client->transaction;

	while (client->state == CLIENT_STATE_TRANSACTION && may_send(client)) {
		if (t->room < (t->send == SEND_BODY ? 1 : CLIENT_COMMAND_MAX)) {
			client->sink.want_write(client->sink.context);
			return;
		}
		switch (t->send) {
		case SEND_RSET:
			client_write(client, "RSET\r\n", 6);
			command_sent(client, 6, client->settings.command_timeout_us);
			t->send = SEND_MAIL;
			break;
		case SEND_MAIL:
			send_mail(client);
			break;
		case SEND_RCPT:
			send_rcpt(client);
			break;
		case SEND_DATA:
			send_data(client);
			break;
		case SEND_BODY:
			if (!pump_body(client) && !client->out_of_order)
				client->sink.want_write(client->sink.context);
			if (t->send == SEND_BODY)
				return;
			break;
		case SEND_NOTHING:
			return;
		}
	}
}

void smtp_client_room(struct smtp_client *client, size_t room, uint64_t now_us)
{
	struct smtp_client_transaction *t = &client->transaction;

	client->now_us = now_us;
	if (client->state != CLIENT_STATE_TRANSACTION)
		return;
	/* Commands are small and must not wait for a window that opens by crumbs. */
	t->room = t->send == SEND_BODY || room > COMMAND_CREDIT ? room : COMMAND_CREDIT;
	if (t->send == SEND_BODY &&
	    client->now_us - t->body_began_us >
		    client->settings.data_block_timeout_us +
			    t->delivery->body_size * US_PER_S / BODY_RATE_MIN)
		smtp_client_timeout(client, now_us);
	else
		client_transaction_pump(client);
}

void smtp_client_begin(struct smtp_client *client, struct delivery *delivery, uint64_t now_us)
{
	struct smtp_client_transaction *t = &client->transaction;
	bool fresh =
		client->transactions == 0 || now_us - client->idle_since_us > EAGER_IDLE_MAX_US;

	assert(client->state == CLIENT_STATE_IDLE && delivery->recipient_count > 0);
	client->now_us = now_us;
	client->ready_event = false;
	*t = (struct smtp_client_transaction){
		.delivery = delivery,
		.began_us = now_us,
		.room = COMMAND_CREDIT,
		.send = client->needs_reset ? SEND_RSET : SEND_MAIL,
		.await = client->needs_reset ? AWAIT_RSET : AWAIT_MAIL,
		.chunking = client->features.chunking && client->settings.use_chunking &&
			    !client->avoid_chunking && delivery->body_size > 0,
	};
	t->eager = !fresh && !client->needs_reset && delivery->body_size <= EAGER_BODY_MAX;
	client->state = CLIENT_STATE_TRANSACTION;
	if (!reply_parser_is_between(&client->parser)) {
		client->failure.restart = true;
		client_fail_local(client, CLIENT_FAILURE_DESYNC, PHASE_MAIL,
				  "half a reply without a command");
		return;
	}
	t->rcpt_unsent = client_envelope_check(client);
	if (t->rcpt_unsent == 0) {
		transaction_end(client);
		return;
	}
	client->needs_reset = false;
	client_transaction_pump(client);
}

/* ---- Replies ---- */

/** Every command was answered and no recipient is left for a body: the transaction is left open. */
static void end_without_body(struct smtp_client *client)
{
	struct smtp_client_transaction *t = &client->transaction;

	client->needs_reset = !t->mail_refused;
	transaction_end(client);
}

/** All replies to MAIL and RCPT are in: go on to the body, or end. */
static void envelope_answered(struct smtp_client *client)
{
	struct smtp_client_transaction *t = &client->transaction;

	t->await = AWAIT_DATA;
	if (t->accepted == 0 && !t->data_sent)
		end_without_body(client);
}

static void on_rset(struct smtp_client *client)
{
	if (client->parser.reply.code != 250) {
		client->failure.restart = true;
		fail_out_of_step(client, "RSET answered with an error");
		return;
	}
	client->transaction.await = AWAIT_MAIL;
}

/** A refusal that only says that we speak in clear after a failed handshake is no verdict on the
 * message. */
static void soften(const struct smtp_client *client, struct smtp_reply *reply,
		   enum outcome *outcome)
{
	if (client->tls_active || client->settings.tls == TLS_LEVEL_NONE ||
	    !(client->avoid_tls || client->tls_refused) || reply->code != 530)
		return;
	reply->code = 0;
	reply->enhanced = (struct enhanced_code){4, 7, 5};
	*outcome = OUTCOME_DEFERRED;
}

static void on_mail(struct smtp_client *client)
{
	struct smtp_client_transaction *t = &client->transaction;
	struct smtp_reply reply;
	enum outcome outcome = OUTCOME_NONE;

	if (client->parser.reply.code < 300) {
		t->await = AWAIT_RCPT;
		return;
	}
	if (client->parser.reply.code < 400) {
		fail_out_of_step(client, "MAIL answered with an intermediate reply");
		return;
	}
	reply = client->parser.reply;
	soften(client, &reply, &outcome);
	t->mail_refused = true;
	delivery_decide(t->delivery, outcome, PHASE_MAIL, &reply, true);
	/* What was not written yet, is not written; replies to the rest are counted. */
	t->rcpt_unsent = 0;
	t->await = AWAIT_RCPT;
	if (!t->data_sent)
		t->send = SEND_NOTHING;
	if (t->rcpt_unanswered == 0)
		envelope_answered(client);
}

/**
 * RFC 5321, 4.5.3.1.10: 452, and by old custom 552, when there are too many recipients. The
 * enhanced code tells a full mailbox from it; without one it counts when others were accepted
 * before.
 */
static bool is_too_many(const struct smtp_client_transaction *t, const struct smtp_reply *reply)
{
	const struct enhanced_code *code = &reply->enhanced;

	if ((reply->code != 452 && reply->code != 552) || t->accepted == 0)
		return false;
	return code->class == 0 || (code->subject == 5 && code->detail == 3);
}

static void on_rcpt_answer(struct smtp_client *client, struct delivery_recipient *recipient)
{
	struct smtp_client_transaction *t = &client->transaction;
	struct smtp_reply reply;
	enum outcome outcome = OUTCOME_NONE;

	if (client->parser.reply.code < 300) {
		t->accepted++;
		return;
	}
	reply = client->parser.reply;
	if (is_too_many(t, &reply)) {
		if (t->refused_too_many++ == 0)
			client->recipients_learned = t->accepted;
		reply.code = 452;
		reply.enhanced = (struct enhanced_code){4, 5, 3};
	}
	soften(client, &reply, &outcome);
	delivery_recipient_decide(recipient, outcome, PHASE_RCPT, &reply, true);
}

static void on_rcpt(struct smtp_client *client)
{
	struct smtp_client_transaction *t = &client->transaction;

	if (client->parser.reply.code / 100 == 3) {
		fail_out_of_step(client, "RCPT answered with an intermediate reply");
		return;
	}
	assert(t->rcpt_unanswered > 0);
	t->rcpt_unanswered--;
	if (!t->mail_refused) {
		struct delivery_recipient *recipient;

		do {
			assert(t->rcpt_to_answer < t->rcpt_next);
			recipient = &t->delivery->recipients[t->rcpt_to_answer++];
		} while (recipient->outcome != OUTCOME_NONE);
		on_rcpt_answer(client, recipient);
	}
	if (t->rcpt_unanswered == 0 && t->rcpt_unsent == 0)
		envelope_answered(client);
}

/** The body was written, but the peer cannot have read all of it when it said this. */
static bool is_before_its_time(const struct smtp_client *client)
{
	const struct smtp_client_sink *sink = &client->sink;

	return sink->unacknowledged && sink->unacknowledged(sink->context) > 0;
}

/** The reply that decides the recipients that were accepted. */
static void on_final(struct smtp_client *client, enum reply_rest rest)
{
	struct smtp_client_transaction *t = &client->transaction;
	const struct smtp_reply *reply = &client->parser.reply;
	enum smtp_phase phase = client_transaction_phase(client);

	if (reply->code / 100 == 3) {
		fail_out_of_step(client,
				 "the end of the message answered with an intermediate reply");
		return;
	}
	if (reply->code < 300 && (!t->body_written || is_before_its_time(client))) {
		/* C7: success for something that was not said, or not heard. */
		fail_out_of_step(client, "success before the end of the message");
		return;
	}
	if (reply->code < 300 && rest == REST_REPLY) {
		fail_out_of_step(client, "more replies than commands");
		return;
	}
	if (!t->body_written) {
		/* Refused in the middle: the rest of the body would be read as commands, or is not
		 * wanted. */
		fail_with_reply(client, phase);
		return;
	}
	client->needs_reset = reply->code >= 400;
	delivery_decide(t->delivery, OUTCOME_NONE, phase, reply, true);
	transaction_end(client);
}

static bool is_unknown_command(uint16_t code)
{
	return code == 500 || code == 502 || code == 504;
}

static void on_bdat(struct smtp_client *client, enum reply_rest rest)
{
	struct smtp_client_transaction *t = &client->transaction;
	uint16_t code = client->parser.reply.code;

	if (t->accepted > 0 && is_unknown_command(code)) {
		/* C6: CHUNKING was offered by a host that does not know it, and may now read the
		 * body as commands. */
		client->failure.no_chunking = true;
		client->failure.restart = true;
		client_fail_local(client, CLIENT_FAILURE_PROTOCOL, PHASE_DATA,
				  "CHUNKING was offered, but BDAT refused: %u %s", code,
				  client->parser.reply.text);
		return;
	}
	if (t->accepted == 0) {
		if (!t->body_written) {
			/* Recipients are decided; to stop here means to close. */
			fail_with_reply(client, PHASE_DATA);
			return;
		}
		client->needs_reset = true;
		transaction_end(client);
		return;
	}
	on_final(client, rest);
}

static void on_data(struct smtp_client *client)
{
	struct smtp_client_transaction *t = &client->transaction;
	const struct smtp_reply *reply = &client->parser.reply;

	if (reply->code == 354) {
		t->await = AWAIT_FINAL;
		t->outstanding++;
		if (t->accepted > 0) {
			begin_body(client);
			return;
		}
		/* RFC 2920, 3.1: DATA was pipelined and accepted without a recipient. */
		t->empty_body = true;
		t->body_written = true;
		client_write(client, ".\r\n", 3);
		client_wait(client, client->settings.data_done_timeout_us);
		return;
	}
	if (reply->code < 400) {
		fail_out_of_step(client, "DATA not answered with 354");
		return;
	}
	delivery_decide(t->delivery, OUTCOME_NONE, PHASE_DATA, reply, true);
	end_without_body(client);
}

static void next_wait(struct smtp_client *client)
{
	const struct smtp_client_transaction *t = &client->transaction;
	const struct path_settings *settings = &client->settings;

	if (client->state != CLIENT_STATE_TRANSACTION || t->outstanding == 0 ||
	    t->send == SEND_BODY || t->await == AWAIT_FINAL)
		return;
	if (t->await != AWAIT_DATA)
		client_wait(client, settings->command_timeout_us);
	else
		client_wait(client, t->chunking ? settings->data_done_timeout_us
						: settings->data_init_timeout_us);
}

void client_transaction_reply(struct smtp_client *client, enum reply_rest rest)
{
	struct smtp_client_transaction *t = &client->transaction;

	if (client->parser.reply.code == 421) {
		/* RFC 5321, 3.8: at any time; the peer closes. */
		fail_with_reply(client, client_transaction_phase(client));
		return;
	}
	if (t->outstanding == 0) {
		fail_out_of_step(client, "reply without a command");
		return;
	}
	t->outstanding--;
	t->any_reply = true;
	switch (t->await) {
	case AWAIT_RSET:
		on_rset(client);
		break;
	case AWAIT_MAIL:
		on_mail(client);
		break;
	case AWAIT_RCPT:
		on_rcpt(client);
		break;
	case AWAIT_DATA:
		if (t->chunking)
			on_bdat(client, rest);
		else
			on_data(client);
		break;
	case AWAIT_FINAL:
		if (t->empty_body) {
			client->needs_reset = true;
			transaction_end(client);
		} else {
			on_final(client, rest);
		}
		break;
	}
	if (client->state == CLIENT_STATE_IDLE && rest != REST_NOTHING) {
		/* Not before it is known what it is: 421, or a reply too many (C3). */
		client->ready_event = false;
		client_wait(client, client->settings.command_timeout_us);
	}
	if (client->state != CLIENT_STATE_TRANSACTION)
		return;
	if (rest == REST_REPLY && t->outstanding == 0) {
		fail_out_of_step(client, "more replies than commands");
		return;
	}
	next_wait(client);
	/* What the peer has said already is heard first: it may be a reply too early. */
	if (rest == REST_NOTHING)
		client_transaction_pump(client);
}
