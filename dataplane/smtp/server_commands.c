/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Commands of RFC 5321, 4.1.1, and STARTTLS (RFC 3207); AUTH is in server_auth.c, DATA and BDAT in
 * server_data.c. */
#include "dataplane/smtp/server_private.h"
#include "dataplane/smtp/utf8.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/** Commands that move no mail: past the limit each counts as an error. @return true: that closed
 * the session */
static bool is_junk(struct server_engine *engine)
{
	engine->junk++;
	if (engine->junk <= engine->listener->limits.junk_commands)
		return false;
	engine->environment->counters.junk_commands++;
	engine->environment->counters.errors++;
	engine->errors++;
	if (engine->listener->limits.errors == 0 ||
	    engine->errors < engine->listener->limits.errors)
		return false;
	engine->environment->counters.too_many_errors++;
	server_reply(engine, REPLY_TOO_MANY_ERRORS);
	return true;
}

/* ---- HELO and EHLO ---- */

static bool tls_is_offered(const struct server_engine *engine)
{
	return engine->listener->tls == LISTENER_TLS_STARTTLS && !engine->tls;
}

static bool auth_is_offered(const struct server_engine *engine)
{
	return engine->listener->allow_auth && engine->tls;
}

/** RFC 9422: what is unlimited is not named. */
static int format_limits(const struct view_limits *limits, char *out, size_t room)
{
	char recipients[32] = "", messages[32] = "";

	if (limits->recipients)
		snprintf(recipients, sizeof(recipients), " RCPTMAX=%u", limits->recipients);
	if (limits->messages_per_session)
		snprintf(messages, sizeof(messages), " MAILMAX=%u", limits->messages_per_session);
	if (!recipients[0] && !messages[0])
		return 0;
	return snprintf(out, room, "250-LIMITS%s%s\r\n", recipients, messages);
}

static void write_capabilities(struct server_engine *engine)
{
	const struct view_limits *limits = &engine->listener->limits;
	char text[1024], size_text[24] = "";
	int size;

	if (limits->message_size)
		snprintf(size_text, sizeof(size_text), " %llu",
			 (unsigned long long)limits->message_size);
	size = snprintf(
		text, sizeof(text),
		"250-%s greets %s\r\n250-PIPELINING\r\n250-SIZE%s\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
		"250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n%s%s",
		engine->view->hostname, engine->helo, size_text,
		tls_is_offered(engine) ? "250-STARTTLS\r\n" : "",
		auth_is_offered(engine) ? "250-AUTH PLAIN LOGIN\r\n" : "");
	size += format_limits(limits, text + size, sizeof(text) - (size_t)size);
	size += snprintf(text + size, sizeof(text) - (size_t)size, "250 CHUNKING\r\n");
	server_write(engine, text, (size_t)size);
}

static void helo_command(struct server_engine *engine, const struct smtp_command *command)
{
	char text[600];

	/* RFC 2920, 3.1: the last of its group; nobody knows PIPELINING before its reply. */
	if (is_junk(engine) || server_is_unauthorized_pipelining(engine))
		return;
	if (!address_helo_is_valid(command->argument, command->argument_size)) {
		server_reply(engine, REPLY_SYNTAX_HELO);
		return;
	}
	/* RFC 5321, 4.1.4: as RSET. */
	server_reset(engine);
	memcpy(engine->helo, command->argument, command->argument_size);
	engine->helo[command->argument_size] = '\0';
	engine->synchronize = true;
	if (command->verb == SMTP_EHLO) {
		engine->greeted = GREETED_EHLO;
		write_capabilities(engine);
		return;
	}
	engine->greeted = GREETED_HELO;
	snprintf(text, sizeof(text), "250 %s greets %s\r\n", engine->view->hostname, engine->helo);
	server_write(engine, text, strlen(text));
}

/* ---- STARTTLS ---- */

static void starttls_command(struct server_engine *engine, const struct smtp_command *command)
{
	if (engine->listener->tls == LISTENER_TLS_NONE) {
		server_reply(engine, REPLY_NOT_IMPLEMENTED);
		return;
	}
	if (engine->follows) {
		engine->environment->counters.tls_injection++;
		server_is_unauthorized_pipelining(engine);
		return;
	}
	if (command->argument_size > 0)
		server_reply(engine, REPLY_NO_ARGUMENT_ALLOWED);
	else if (engine->tls)
		server_reply(engine, REPLY_TLS_ACTIVE);
	else if (engine->greeted == GREETED_NOT)
		server_reply(engine, REPLY_NO_HELO);
	else if (engine->transaction)
		server_reply(engine, REPLY_BAD_SEQUENCE);
	else if (!engine->listener->tls_contexts[engine->environment->worker])
		server_reply(engine, REPLY_TLS_UNAVAILABLE);
	else {
		server_reply(engine, REPLY_READY_FOR_TLS);
		engine->state = SERVER_HANDSHAKE;
		engine->deadline_us =
			engine->now->mono_us + engine->listener->limits.tls_handshake_timeout_us;
		if (engine->environment->operations->start_tls(engine->context) < 0)
			server_close(engine);
	}
}

/* ---- MAIL ---- */

/** "FROM:" or "TO:", then the path. @return the path's start, NULL: not there */
static const char *skip_keyword(const struct smtp_command *command, const char *keyword,
				size_t *size)
{
	size_t length = strlen(keyword);
	const char *at = command->argument, *end = at + command->argument_size;

	if (command->argument_size < length || strncasecmp(at, keyword, length) != 0)
		return NULL;
	at += length;
	/* RFC 5321, 3.3, allows no space here; too many clients send one. */
	while (at < end && *at == ' ')
		at++;
	*size = (size_t)(end - at);
	return at;
}

static enum server_reply parameter_reply(enum parameter_error error)
{
	return error == PARAMETER_UNKNOWN ? REPLY_UNKNOWN_PARAMETER : REPLY_BAD_PARAMETER;
}

/** May mail begin at all? @return REPLY_OK or why not */
static enum server_reply mail_refusal(struct server_engine *engine)
{
	const struct view_limits *limits = &engine->listener->limits;
	struct server_environment *environment = engine->environment;

	if (engine->greeted == GREETED_NOT)
		return REPLY_NO_HELO;
	if (engine->transaction)
		return REPLY_NESTED_MAIL;
	if (engine->listener->require_auth && engine->user[0] == '\0')
		return REPLY_NEEDS_AUTH;
	if (environment->draining)
		return REPLY_DRAINING;
	if (limits->messages_per_session && engine->messages >= limits->messages_per_session)
		return REPLY_TOO_MANY_MESSAGES;
	if (environment->refusal == COMMIT_DONE &&
	    chunk_pool_available(environment->chunks) >= environment->chunk_reserve)
		return REPLY_OK;
	environment->counters.overload++;
	if (environment->refusal == COMMIT_IO_ERROR)
		return REPLY_IO_ERROR;
	return environment->refusal == COMMIT_OVERLOAD ? REPLY_OVERLOAD : REPLY_NO_SPACE;
}

/** @return REPLY_OK or what is wrong with the command */
static enum server_reply parse_mail(const struct server_engine *engine,
				    const struct smtp_command *command, struct smtp_address *sender,
				    struct mail_parameters *parameters)
{
	size_t size, used;
	const char *path = skip_keyword(command, "FROM:", &size);
	enum parameter_error error;
	uint64_t limit = engine->listener->limits.message_size;

	if (!path)
		return REPLY_SYNTAX_MAIL;
	if (address_parse_path(path, size, true, sender, &used) < 0)
		return REPLY_BAD_SENDER;
	error = mail_parameters_parse(path + used, size - used, auth_is_offered(engine),
				      parameters);
	if (error != PARAMETER_OK)
		return parameter_reply(error);
	/* RFC 5321, 2.2.1: extensions are for sessions that said EHLO. */
	if (used < size && engine->greeted != GREETED_EHLO)
		return REPLY_UNKNOWN_PARAMETER;
	if (sender->utf8 && !(parameters->flags & MESSAGE_SMTPUTF8))
		return REPLY_NEEDS_SMTPUTF8;
	/* RFC 1870, 6.1. */
	return limit && parameters->size > limit ? REPLY_TOO_BIG : REPLY_OK;
}

static struct message_id next_message_id(struct server_environment *environment)
{
	return (struct message_id){
		.origin = environment->id_origin,
		.counter = (uint64_t)environment->worker << 56 | ++environment->message_serial,
	};
}

/** RFC 1870, 6.1: there is room now for a message of the declared size, above what others are owed.
 */
static bool has_room(const struct server_environment *environment, uint64_t size)
{
	uint64_t spare = chunk_pool_available(environment->chunks) - environment->chunk_reserve / 2;

	return size / CHUNK_DATA < spare;
}

static void mail_command(struct server_engine *engine, const struct smtp_command *command)
{
	struct server_environment *environment = engine->environment;
	enum server_reply reply = mail_refusal(engine);
	struct mail_parameters parameters;
	struct smtp_address sender;
	struct message_id id;

	if (reply == REPLY_OK)
		reply = parse_mail(engine, command, &sender, &parameters);
	if (reply == REPLY_OK && !has_room(environment, parameters.size)) {
		environment->counters.overload++;
		reply = REPLY_NO_SPACE;
	}
	if (reply == REPLY_OK) {
		id = next_message_id(environment);
		engine->transaction =
			transaction_begin(environment->chunks, &id, &sender, &parameters);
		reply = engine->transaction ? REPLY_SENDER_OK : REPLY_NO_SPACE;
	}
	server_reply(engine, reply);
}

/* ---- RCPT ---- */

static enum server_reply parse_rcpt(struct server_engine *engine,
				    const struct smtp_command *command,
				    struct smtp_address *recipient,
				    struct rcpt_parameters *parameters)
{
	bool utf8 = engine->transaction->submission.flags & MESSAGE_SMTPUTF8;
	size_t size, used;
	const char *path = skip_keyword(command, "TO:", &size);
	enum parameter_error error;

	if (!path)
		return REPLY_SYNTAX_RCPT;
	if (address_parse_path(path, size, false, recipient, &used) < 0)
		return REPLY_BAD_RECIPIENT;
	if (recipient->utf8 && !utf8)
		return REPLY_NEEDS_SMTPUTF8;
	error = rcpt_parameters_parse(path + used, size - used, utf8, parameters);
	if (error != PARAMETER_OK)
		return parameter_reply(error);
	return used < size && engine->greeted != GREETED_EHLO ? REPLY_UNKNOWN_PARAMETER : REPLY_OK;
}

/** RFC 5321, 4.5.1: "postmaster" alone is ours. @return 0 or -EINVAL when the address gets too long
 */
static int complete_postmaster(const struct server_engine *engine, struct smtp_address *recipient)
{
	char text[SMTP_ADDRESS_TEXT + 256];
	int size;

	if (recipient->domain < recipient->size)
		return 0;
	size = snprintf(text, sizeof(text), "postmaster@%s", engine->view->hostname);
	return address_parse_mailbox(text, (size_t)size, recipient);
}

/** RFC 5321, 4.5.3.1.10: some more are refused one by one; who goes on regardless makes errors. */
static enum server_reply recipient_over_limit(struct server_engine *engine)
{
	engine->environment->counters.recipients_over_limit++;
	engine->transaction->recipients_refused++;
	return engine->transaction->recipients_refused <= engine->listener->limits.recipients
		       ? REPLY_RECIPIENTS_FULL
		       : REPLY_RECIPIENTS_FLOOD;
}

static enum server_reply add_recipient(struct server_engine *engine,
				       const struct smtp_command *command)
{
	struct server_environment *environment = engine->environment;
	uint32_t limit = engine->listener->limits.recipients;
	struct rcpt_parameters parameters;
	struct smtp_address recipient;
	enum server_reply reply = parse_rcpt(engine, command, &recipient, &parameters);

	if (reply != REPLY_OK)
		return reply;
	if (!engine->may_relay && engine->user[0] == '\0') {
		environment->counters.relay_denied++;
		return REPLY_RELAY_DENIED;
	}
	if (limit && engine->transaction->recipients_seen >= limit)
		return recipient_over_limit(engine);
	if (complete_postmaster(engine, &recipient) < 0)
		return REPLY_BAD_RECIPIENT;
	if (chunk_pool_available(environment->chunks) < environment->chunk_reserve / 2 ||
	    transaction_add_recipient(engine->transaction, environment->chunks, &environment->key,
				      &recipient, &parameters) < 0) {
		environment->counters.overload++;
		return REPLY_NO_SPACE;
	}
	return REPLY_RECIPIENT_OK;
}

static void rcpt_command(struct server_engine *engine, const struct smtp_command *command)
{
	if (!engine->transaction)
		server_reply(engine, REPLY_NO_MAIL);
	else if (engine->transaction->has_data)
		server_reply(engine, REPLY_BAD_SEQUENCE);
	else
		server_reply(engine, add_recipient(engine, command));
}

/* ---- The small ones ---- */

static void junk_command(struct server_engine *engine, const struct smtp_command *command)
{
	if (is_junk(engine))
		return;
	switch (command->verb) {
	case SMTP_RSET:
		if (command->argument_size > 0) {
			server_reply(engine, REPLY_NO_ARGUMENT_ALLOWED);
			return;
		}
		server_reset(engine);
		server_reply(engine, REPLY_RESET);
		return;
	case SMTP_VRFY:
		server_reply(engine, REPLY_CANNOT_VERIFY);
		return;
	case SMTP_HELP:
		server_reply(engine, REPLY_HELP);
		return;
	default:
		server_reply(engine, REPLY_OK);
	}
}

/** RFC 3207, 4: what may be said before STARTTLS where TLS is required. */
static bool needs_tls(const struct server_engine *engine, enum smtp_verb verb)
{
	if (!engine->listener->require_tls || engine->tls)
		return false;
	return verb != SMTP_EHLO && verb != SMTP_HELO && verb != SMTP_NOOP &&
	       verb != SMTP_STARTTLS && verb != SMTP_QUIT && verb != SMTP_RSET && verb != SMTP_BDAT;
}

static void dispatch(struct server_engine *engine, const struct smtp_command *command)
{
	switch (command->verb) {
	case SMTP_HELO:
	case SMTP_EHLO:
		helo_command(engine, command);
		break;
	case SMTP_MAIL:
		mail_command(engine, command);
		break;
	case SMTP_RCPT:
		rcpt_command(engine, command);
		break;
	case SMTP_DATA:
		server_data_command(engine, command);
		break;
	case SMTP_BDAT:
		server_bdat_command(engine, command);
		break;
	case SMTP_STARTTLS:
		starttls_command(engine, command);
		break;
	case SMTP_AUTH:
		server_auth_command(engine, command);
		break;
	case SMTP_QUIT:
		server_reply(engine, REPLY_BYE);
		break;
	case SMTP_EXPN:
		server_reply(engine, REPLY_NOT_IMPLEMENTED);
		break;
	case SMTP_UNKNOWN_VERB:
		server_reply(engine, REPLY_UNKNOWN_COMMAND);
		break;
	default:
		junk_command(engine, command);
	}
}

/** Longer lines are for the commands that have parameters (RFC 5321, 4.5.3.1.4), and for AUTH. */
static bool is_too_long(const struct smtp_command *command, size_t size)
{
	return size + 2 > COMMAND_LINE_MAX && command->verb != SMTP_MAIL &&
	       command->verb != SMTP_RCPT && command->verb != SMTP_AUTH;
}

void server_command(struct server_engine *engine, const char *line, size_t size)
{
	struct smtp_command command;

	smtp_command_parse(line, size, &command);
	/* RFC 2920, 3: only who was told of PIPELINING may send ahead. */
	if (engine->greeted != GREETED_EHLO && command.verb != SMTP_QUIT &&
	    command.verb != SMTP_STARTTLS && server_is_unauthorized_pipelining(engine))
		return;
	if (command.verb == SMTP_UNKNOWN_VERB && smtp_line_is_http(line, size))
		server_reply(engine, REPLY_HTTP);
	else if (is_too_long(&command, size))
		server_reply(engine, REPLY_LINE_TOO_LONG);
	else if (command.verb != SMTP_MAIL && command.verb != SMTP_RCPT &&
		 !text_is_ascii(line, size))
		server_reply(engine, REPLY_BAD_CHARACTERS);
	else if (needs_tls(engine, command.verb))
		server_reply(engine, REPLY_NEEDS_TLS);
	else
		dispatch(engine, &command);
	if (engine->state == SERVER_COMMAND)
		server_expect_command(engine);
}
