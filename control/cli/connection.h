/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The CLI's end of the management socket: one request, one answer. Owner: the CLI, one thread. */
#ifndef MILLRACE_CONTROL_CLI_CONNECTION_H
#define MILLRACE_CONTROL_CLI_CONNECTION_H

#include <jansson.h>
#include <stddef.h>

struct connection {
	const char *path;
	int fd; /**< -1: not connected; the next request connects */
	char *input;
	size_t size, room;
};

void connection_init(struct connection *connection, const char *path);
void connection_close(struct connection *connection);
/**
 * Ask, and wait for the answer. A connection that the daemon closed (a restart) is made once again.
 * @param error size bytes @return the answer's data, owned by the caller, or NULL with error set
 */
json_t *connection_ask(struct connection *connection, const json_t *request, char *error,
		       size_t size);

#endif
