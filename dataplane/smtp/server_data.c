/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DATA (RFC 5321, 4.1.1.4), BDAT (RFC 3030) and what becomes of a message when its last octet is
 * there. */
#include "dataplane/smtp/server_private.h"
#include "dataplane/smtp/trace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/** A message's time begins, and its octets are counted: over all of its chunks. */
static void begin_data(struct server_engine *engine)
{
	engine->data_started_us = engine->now->mono_us;
	engine->data_octets = 0;
}

/**
 * A whole message has the data timeout and as long as its octets may take at the lowest rate; but
 * what came fast earns no silence beyond the data timeout, or a big message's chunks could be held
 * for hours.
 */
uint64_t server_data_deadline(const struct server_engine *engine)
{
	const struct view_limits *limits = &engine->listener->limits;
	uint64_t silent_us = engine->now->mono_us + limits->data_timeout_us;
	uint64_t earned_us, whole_us;

	if (limits->minimum_rate == 0)
		return silent_us;
	earned_us = engine->data_octets / limits->minimum_rate * US_PER_S;
	whole_us = engine->data_started_us + limits->data_timeout_us + earned_us;
	return whole_us < silent_us ? whole_us : silent_us;
}

static void set_data_deadline(struct server_engine *engine)
{
	engine->deadline_us = server_data_deadline(engine);
}

/** RFC 3848; RFC 6531, 4.3. */
static const char *protocol_name(const struct server_engine *engine)
{
	static const char *const names[2][4] = {
		{"ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA"},
		{"UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA"}};
	bool utf8 = engine->transaction->submission.flags & MESSAGE_SMTPUTF8;

	if (engine->greeted == GREETED_HELO)
		return "SMTP";
	return names[utf8][engine->tls + 2 * (engine->user[0] != '\0')];
}

static void describe(const struct server_engine *engine, struct trace *out)
{
	*out = (struct trace){
		.helo = engine->helo,
		.peer = &engine->peer,
		.hostname = engine->view->hostname,
		.protocol = protocol_name(engine),
		.tls = engine->tls_text,
		.id = engine->transaction->submission.id,
		.wall_us = engine->now->wall_us,
	};
}

/** The first octets of a message are due. */
static void begin_intake(struct server_engine *engine)
{
	struct transaction *transaction = engine->transaction;
	const struct view_listener *listener = engine->listener;
	struct intake_limits limits = {
		.message_size = listener->limits.message_size,
		.header_size = listener->limits.header_size,
		.hops = listener->limits.hops,
		.chunk_reserve = engine->environment->chunk_reserve / 2,
		.accept_long_lines = listener->accept_long_lines,
		.normalize = listener->line_endings == LINE_ENDINGS_NORMALIZE,
	};
	char text[TRACE_TEXT], recipient[SMTP_ADDRESS_TEXT];
	struct trace trace;

	describe(engine, &trace);
	/* RFC 5321, 7.2: with several, "for" would tell who else got it; a field of ours stays
	 * ASCII. */
	trace.recipient = transaction_only_recipient(transaction, recipient);
	for (const char *c = trace.recipient; c && *c; c++)
		if ((uint8_t)*c >= 0x80)
			trace.recipient = NULL;
	intake_init(&transaction->intake, engine->environment->chunks, &limits,
		    engine->view->hostname, engine->trusted_headers, text,
		    trace_received(&trace, text));
	transaction->has_data = true;
}

/* ---- The end of a message ---- */

static void count_refused(struct server_engine *engine, enum intake_fault fault)
{
	struct smtp_server_counters *counters = &engine->environment->counters;
	uint64_t *const by_fault[INTAKE_FAULT_COUNT] = {
		[INTAKE_BARE_LINE_ENDING] = &counters->bare_line_endings,
		[INTAKE_NUL] = &counters->nul_octets,
		[INTAKE_LONG_LINE] = &counters->long_lines,
		[INTAKE_TOO_BIG] = &counters->too_big,
		[INTAKE_HEADER_TOO_BIG] = &counters->header_too_big,
		[INTAKE_NO_SPACE] = &counters->overload,
		[INTAKE_HOPS] = &counters->loops,
		[INTAKE_LOOP] = &counters->loops,
		[INTAKE_CONTROL_FIELD] = &counters->bad_control_fields,
	};

	counters->messages_refused++;
	++*by_fault[fault];
}

/** Refuse the message whole; sender and recipients go with it. */
static void refuse_message(struct server_engine *engine, enum intake_fault fault)
{
	count_refused(engine, fault);
	server_reset(engine);
	engine->state = SERVER_COMMAND;
	/* Not the client's error when we have no room. */
	server_reply_text(engine, fault == INTAKE_NO_SPACE ? REPLY_GOES_ON : REPLY_IS_ERROR,
			  intake_fault_reply(fault));
	server_expect_command(engine);
}

/** The last of these that says something. */
static const char *choose(const char *listener, const char *user, const char *header)
{
	if (header[0] != '\0')
		return header;
	return user[0] != '\0' ? user : listener;
}

static int seal(struct server_engine *engine, const struct trace *trace, const char *message_id)
{
	struct transaction *transaction = engine->transaction;
	const struct header_reader *header = &transaction->intake.header;
	const struct view_listener *listener = engine->listener;
	const struct transaction_origin origin = {
		.received_at_us = engine->now->wall_us,
		.session = engine->session,
		.listener = listener->name,
		.peer = &engine->peer,
		.peer_port = engine->peer_port,
		.helo = engine->helo,
		.user = engine->user,
		.tls = engine->tls_text,
		.protocol = trace->protocol,
		.tenant = choose(listener->tenant, engine->tenant, header->tenant),
		.campaign = choose(listener->campaign, engine->campaign, header->campaign),
		.pool = choose(listener->pool, engine->pool, header->pool),
		.message_id = message_id,
	};

	return transaction_seal(transaction, engine->environment->chunks, &origin);
}

/** The Message-ID that trace_missing_fields writes. */
static void format_own_message_id(const struct trace *trace, char *out, size_t room)
{
	char id[MESSAGE_ID_TEXT];

	snprintf(out, room, "<%s@%s>", message_id_format(&trace->id, id), trace->hostname);
}

static void finish_message(struct server_engine *engine)
{
	struct transaction *transaction = engine->transaction;
	struct intake *intake = &transaction->intake;
	char fields[TRACE_MISSING], message_id[HEADER_MESSAGE_ID + 64];
	struct submission *submission = &transaction->submission;
	bool add = engine->listener->add_missing_headers, add_message_id;
	struct trace trace;
	size_t size;

	describe(engine, &trace);
	intake_end_header(intake);
	add_message_id = add && !intake->header.has_message_id;
	size = trace_missing_fields(&trace, add && !intake->header.has_date, add_message_id,
				    fields);
	intake_finish(intake, fields, size);
	if (intake->fault == INTAKE_NONE) {
		snprintf(message_id, sizeof(message_id), "%s", intake->header.message_id);
		if (add_message_id)
			format_own_message_id(&trace, message_id, sizeof(message_id));
		if (seal(engine, &trace, message_id) < 0) {
			refuse_message(engine, INTAKE_NO_SPACE);
			return;
		}
		engine->submitted_octets = submission->body.size;
		engine->submitted_recipients = submission->recipients;
		submission->session = engine->slot;
		submission->session_generation = engine->generation;
		engine->transaction = NULL;
		engine->state = SERVER_COMMIT;
		engine->deadline_us = MR_NEVER;
		engine->environment->operations->submit(engine->context, submission);
		return;
	}
	refuse_message(engine, (enum intake_fault)intake->fault);
}

static void accept_message(struct server_engine *engine, const struct message_id *id)
{
	struct smtp_server_counters *counters = &engine->environment->counters;
	char text[64 + MESSAGE_ID_TEXT], id_text[MESSAGE_ID_TEXT];

	counters->messages_accepted++;
	counters->recipients_accepted += engine->submitted_recipients;
	counters->bytes_accepted += engine->submitted_octets;
	engine->messages++;
	engine->bytes += engine->submitted_octets;
	engine->errors = 0;
	engine->junk = 0;
	snprintf(text, sizeof(text), "250 2.0.0 OK queued as %s", message_id_format(id, id_text));
	server_reply_text(engine, REPLY_GOES_ON, text);
}

void server_engine_committed(struct server_engine *engine, uint32_t result,
			     const struct message_id *id, const struct mr_now *now)
{
	engine->now = now;
	if (engine->state != SERVER_COMMIT)
		return;
	engine->state = SERVER_COMMAND;
	if (result == COMMIT_DONE) {
		accept_message(engine, id);
	} else {
		engine->environment->counters.messages_refused++;
		server_reply(engine, result == COMMIT_NO_SPACE	 ? REPLY_NO_SPACE
				     : result == COMMIT_OVERLOAD ? REPLY_OVERLOAD
								 : REPLY_IO_ERROR);
	}
	if (engine->peer_ended)
		server_close(engine);
	else
		server_expect_command(engine);
}

/* ---- DATA ---- */

void server_data_command(struct server_engine *engine, const struct smtp_command *command)
{
	/* RFC 2920, 3.1: the last of its group; text sent ahead of 354 is how messages are
	 * smuggled. */
	if (server_is_unauthorized_pipelining(engine))
		return;
	if (command->argument_size > 0) {
		server_reply(engine, REPLY_NO_ARGUMENT_ALLOWED);
	} else if (!engine->transaction) {
		server_reply(engine, REPLY_NO_MAIL);
	} else if (engine->transaction->has_data) {
		/* RFC 3030, 2: DATA and BDAT do not mix. */
		server_reset(engine);
		server_reply(engine, REPLY_BAD_SEQUENCE);
	} else if (engine->transaction->submission.recipients == 0) {
		server_reply(engine, REPLY_NO_RECIPIENTS);
	} else {
		begin_intake(engine);
		engine->state = SERVER_DATA;
		begin_data(engine);
		set_data_deadline(engine);
		server_reply(engine, REPLY_START_DATA);
		engine->synchronize = true;
	}
}

/** More octets came than anybody needs who waits to hear that the message is too big. */
static bool is_flood(struct server_engine *engine)
{
	uint64_t limit = engine->listener->limits.message_size;

	if (!limit || engine->data_octets <= limit + MESSAGE_FLOOD)
		return false;
	count_refused(engine, INTAKE_TOO_BIG);
	server_reply(engine, REPLY_MESSAGE_FLOOD);
	return true;
}

static size_t take_data(struct server_engine *engine, const uint8_t *data, size_t size)
{
	bool ended;
	size_t taken = intake_data(&engine->transaction->intake, data, size, &ended);

	engine->data_octets += taken;
	if (ended)
		finish_message(engine);
	else if (!is_flood(engine))
		set_data_deadline(engine);
	return taken;
}

/* ---- BDAT ---- */

static void end_chunk(struct server_engine *engine)
{
	struct intake *intake = &engine->transaction->intake;
	char text[64];

	if (engine->chunk_last) {
		finish_message(engine);
		return;
	}
	if (intake->fault != INTAKE_NONE) {
		refuse_message(engine, (enum intake_fault)intake->fault);
		return;
	}
	engine->state = SERVER_COMMAND;
	snprintf(text, sizeof(text), "250 2.0.0 %llu octets received",
		 (unsigned long long)engine->chunk_size);
	server_reply_text(engine, REPLY_GOES_ON, text);
	server_expect_command(engine);
}

/** The refused chunk was read to its end. */
static void end_refused_chunk(struct server_engine *engine)
{
	engine->state = SERVER_COMMAND;
	server_reset(engine);
	server_reply(engine, (enum server_reply)engine->skip_reply);
	server_expect_command(engine);
}

static size_t take_chunk(struct server_engine *engine, const uint8_t *data, size_t size)
{
	if (size > engine->chunk_left)
		size = engine->chunk_left;
	engine->chunk_left -= size;
	engine->data_octets += size;
	if (!engine->chunk_refused && size > 0)
		intake_chunk(&engine->transaction->intake, data, size);
	if (engine->chunk_left > 0)
		set_data_deadline(engine);
	else if (engine->chunk_refused)
		end_refused_chunk(engine);
	else
		end_chunk(engine);
	return size;
}

size_t server_data_input(struct server_engine *engine, const uint8_t *data, size_t size)
{
	return engine->state == SERVER_DATA ? take_data(engine, data, size)
					    : take_chunk(engine, data, size);
}

/** Why a chunk's octets cannot be used; REPLY_OK: they can. */
static enum server_reply chunk_refusal(struct server_engine *engine,
				       const struct bdat_command *chunk)
{
	struct transaction *transaction = engine->transaction;
	uint64_t limit = engine->listener->limits.message_size;
	uint64_t before = transaction && transaction->has_data ? transaction->intake.size : 0;

	if (engine->listener->require_tls && !engine->tls)
		return REPLY_NEEDS_TLS;
	if (!transaction || transaction->submission.recipients == 0)
		return REPLY_CHUNK_OUT_OF_PLACE;
	if (limit && (chunk->size > limit || before > limit - chunk->size))
		return REPLY_TOO_BIG;
	return REPLY_OK;
}

/** A message cut into crumbs costs us more than it costs its sender. */
static bool is_crumbs(struct server_engine *engine, const struct bdat_command *chunk)
{
	if (!engine->transaction || chunk->last || chunk->size >= TINY_CHUNK)
		return false;
	if (++engine->transaction->tiny_chunks <= TINY_CHUNKS_MAX)
		return false;
	engine->environment->counters.too_many_errors++;
	server_reply(engine, REPLY_TOO_MANY_TINY_CHUNKS);
	return true;
}

void server_bdat_command(struct server_engine *engine, const struct smtp_command *command)
{
	uint64_t limit = engine->listener->limits.message_size;
	struct bdat_command chunk;
	int status = bdat_command_parse(command->argument, command->argument_size, &chunk);
	enum server_reply refusal;

	/* Where the chunk ends is not known, or too far: what follows must not be taken for
	 * commands. */
	if (status == -ERANGE || (status == 0 && limit && chunk.size > limit + MESSAGE_FLOOD)) {
		server_reply(engine, REPLY_MESSAGE_FLOOD);
		return;
	}
	if (status < 0) {
		server_reply(engine, REPLY_CHUNK_UNFOLLOWABLE);
		return;
	}
	if (is_crumbs(engine, &chunk))
		return;
	refusal = chunk_refusal(engine, &chunk);
	engine->chunk_refused = refusal != REPLY_OK;
	engine->skip_reply = (uint8_t)refusal;
	engine->chunk_left = chunk.size;
	engine->chunk_last = chunk.last;
	if (!engine->transaction || !engine->transaction->has_data)
		begin_data(engine);
	if (!engine->chunk_refused && !engine->transaction->has_data)
		begin_intake(engine);
	engine->state = SERVER_CHUNK;
	engine->chunk_size = chunk.size;
	set_data_deadline(engine);
	if (chunk.size == 0)
		take_chunk(engine, NULL, 0);
}
