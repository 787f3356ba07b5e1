/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The CLI's end of the management socket. */
#include "control/cli/connection.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void connection_init(struct connection *connection, const char *path)
{
	memset(connection, 0, sizeof(*connection));
	connection->path = path;
	connection->fd = -1;
}

void connection_close(struct connection *connection)
{
	if (connection->fd >= 0)
		close(connection->fd);
	free(connection->input);
	connection_init(connection, connection->path);
}

static int open_socket(struct connection *connection)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(connection->path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, connection->path);
	connection->size = 0;
	connection->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connection->fd < 0)
		return -errno;
	if (connect(connection->fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return 0;
	close(connection->fd);
	connection->fd = -1;
	return -errno;
}

static int send_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);

		if (sent < 0 && errno != EINTR)
			return -errno;
		if (sent > 0) {
			data += sent;
			size -= (size_t)sent;
		}
	}
	return 0;
}

/* One line, its newline replaced by the end. @return 0 or negative errno; -EINTR: the operator gave
 * up (Ctrl-C) */
static int receive_line(struct connection *connection)
{
	for (;;) {
		ssize_t got;

		if (connection->size == connection->room) {
			connection->room = connection->room == 0 ? 16384 : connection->room * 2;
			connection->input = realloc(connection->input, connection->room);
			if (connection->input == NULL)
				abort();
		}
		got = recv(connection->fd, connection->input + connection->size,
			   connection->room - connection->size, 0);
		if (got == 0)
			return -ECONNRESET;
		if (got < 0)
			return -errno;
		connection->size += (size_t)got;
		if (connection->input[connection->size - 1] == '\n') {
			connection->input[connection->size - 1] = '\0';
			return 0;
		}
	}
}

static int exchange(struct connection *connection, const char *line, size_t size)
{
	int result = 0;

	if (connection->fd < 0)
		result = open_socket(connection);
	if (result != 0)
		return result;
	connection->size = 0;
	result = send_all(connection->fd, line, size);
	if (result == 0)
		result = receive_line(connection);
	if (result != 0) {
		close(connection->fd);
		connection->fd = -1;
	}
	return result;
}

static json_t *take_answer(const struct connection *connection, char *error, size_t size)
{
	json_t *answer = json_loads(connection->input, 0, NULL), *data = NULL;
	const char *reason;

	if (answer == NULL) {
		snprintf(error, size, "the daemon's answer is no JSON");
	} else if (json_is_true(json_object_get(answer, "ok"))) {
		data = json_incref(json_object_get(answer, "data"));
		if (data == NULL)
			data = json_null();
	} else {
		reason = json_string_value(json_object_get(answer, "error"));
		snprintf(error, size, "%s", reason != NULL ? reason : "refused without a reason");
	}
	json_decref(answer);
	return data;
}

json_t *connection_ask(struct connection *connection, const json_t *request, char *error,
		       size_t size)
{
	bool was_open = connection->fd >= 0;
	char *text = json_dumps(request, JSON_COMPACT), *line;
	int length = text != NULL ? asprintf(&line, "%s\n", text) : -1, result;

	if (length < 0)
		abort();
	free(text);
	result = exchange(connection, line, (size_t)length);
	/* The daemon may have been restarted since; only what it cannot have begun is asked again.
	 */
	if (was_open && (result == -EPIPE || result == -ECONNRESET) &&
	    json_is_string(json_array_get(json_object_get(request, "command"), 0)) &&
	    strcmp(json_string_value(json_array_get(json_object_get(request, "command"), 0)),
		   "request") != 0)
		result = exchange(connection, line, (size_t)length);
	free(line);
	if (result != 0) {
		snprintf(error, size, "no answer from the daemon at %s: %s", connection->path,
			 strerror(-result));
		return NULL;
	}
	return take_answer(connection, error, size);
}
