/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Between the engine's files: server_engine.c (loop, replies), server_commands.c, server_auth.c,
 * server_data.c. */
#ifndef MILLRACE_DATAPLANE_SMTP_SERVER_PRIVATE_H
#define MILLRACE_DATAPLANE_SMTP_SERVER_PRIVATE_H

#include "dataplane/smtp/command.h"
#include "dataplane/smtp/server_engine.h"

/* server_engine.c */
void server_write(struct server_engine *engine, const char *text, size_t size);
void server_reply(struct server_engine *engine, enum server_reply reply);
/** A reply line that is not in the table. @param text without CRLF */
void server_reply_text(struct server_engine *engine, enum server_reply_effect effect,
		       const char *text);
/** Wait for the next command. */
void server_expect_command(struct server_engine *engine);
/** Forget sender, recipients and data. */
void server_reset(struct server_engine *engine);
void server_close(struct server_engine *engine);
void server_greet(struct server_engine *engine);
/** The greeting's, EHLO's, DATA's or STARTTLS's line was not the last of its group: close. @return
 * true when so */
bool server_is_unauthorized_pipelining(struct server_engine *engine);

/* server_commands.c */
void server_command(struct server_engine *engine, const char *line, size_t size);

/* server_auth.c */
void server_auth_command(struct server_engine *engine, const struct smtp_command *command);
/** A line in answer to 334. */
void server_auth_response(struct server_engine *engine, const char *line, size_t size);
/** The penalty is over. */
void server_auth_refuse(struct server_engine *engine);
/** Wipe and give back a half-made request. */
void server_auth_abandon(struct server_engine *engine);

/* server_data.c */
void server_data_command(struct server_engine *engine, const struct smtp_command *command);
void server_bdat_command(struct server_engine *engine, const struct smtp_command *command);
/** When the message that is coming in, in one piece or in chunks, has taken too long. */
uint64_t server_data_deadline(const struct server_engine *engine);
/** Octets in DATA or CHUNK. @return octets taken */
size_t server_data_input(struct server_engine *engine, const uint8_t *data, size_t size);

#endif
