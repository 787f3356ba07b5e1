/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SMTP command lines (RFC 5321, 4.1.1): the verb and its argument. Pure functions over the caller's
 * bytes. */
#ifndef MILLRACE_DATAPLANE_SMTP_COMMAND_H
#define MILLRACE_DATAPLANE_SMTP_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SMTP_VERBS(X) \
	X(HELO)       \
	X(EHLO)       \
	X(MAIL)       \
	X(RCPT)       \
	X(DATA)       \
	X(BDAT)       \
	X(RSET)       \
	X(NOOP)       \
	X(QUIT)       \
	X(VRFY)       \
	X(EXPN)       \
	X(HELP)       \
	X(STARTTLS)   \
	X(AUTH)

enum smtp_verb {
	SMTP_UNKNOWN_VERB,
#define X(name) SMTP_##name,
	SMTP_VERBS(X)
#undef X
};

struct smtp_command {
	enum smtp_verb verb;
	const char *argument; /**< after the verb's space; spaces at both ends are cut off */
	size_t argument_size;
};

/** @param line without its line ending */
void smtp_command_parse(const char *line, size_t size, struct smtp_command *out);

/** What BDAT asks for (RFC 3030, 2). */
struct bdat_command {
	uint64_t size;
	bool last;
};
/**
 * Parse "SIZE [LAST]".
 * @return 0; -EINVAL: not that syntax; -ERANGE: more than 2^63 - 1 octets, so that the chunk cannot
 * be followed
 */
int bdat_command_parse(const char *argument, size_t size, struct bdat_command *out);

/** A verb of HTTP: somebody makes a browser talk to us (notes on ALPACA; what follows would be
 * commands of theirs). */
bool smtp_line_is_http(const char *line, size_t size);

#endif
