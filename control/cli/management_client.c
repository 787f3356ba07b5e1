/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One client of the management server. */
#include "control/cli/management_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct management_client *management_client_create(int fd, uint64_t now_us)
{
	struct management_client *client = calloc(1, sizeof(*client));
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (client == NULL)
		abort();
	client->fd = fd;
	client->progress_us = now_us;
	client->uid = (uid_t)-1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
		client->uid = peer.uid;
		client->pid = peer.pid;
	}
	return client;
}

void management_client_destroy(struct management_client *client)
{
	close(client->fd);
	free(client->input);
	free(client->output);
	free(client);
}

void management_client_receive(struct management_client *client, uint64_t now_us)
{
	/* One octet more than a line may have, so that an overlong one is seen. */
	size_t most = MANAGEMENT_LINE_MAX + 1;
	ssize_t got;

	if (client->input_size == client->input_room && client->input_room < most) {
		size_t room = client->input_room == 0 ? 4096 : client->input_room * 2;

		client->input_room = room < most ? room : most;
		client->input = realloc(client->input, client->input_room);
		if (client->input == NULL)
			abort();
	}
	if (client->input_size == client->input_room)
		return;
	got = recv(client->fd, client->input + client->input_size,
		   client->input_room - client->input_size, 0);
	if (got > 0) {
		client->input_size += (size_t)got;
		client->progress_us = now_us;
	} else if (got == 0) {
		/* It will ask no more; it may still want its answer. */
		client->closing = true;
	} else if (errno != EAGAIN && errno != EINTR) {
		client->failed = true;
	}
}

const char *management_client_line(struct management_client *client, size_t *size)
{
	const char *newline;

	newline = client->input_size > 0 ? memchr(client->input, '\n', client->input_size) : NULL;
	if (newline == NULL)
		return NULL;
	*size = (size_t)(newline - client->input);
	client->line_size = *size + 1;
	return client->input;
}

void management_client_line_done(struct management_client *client)
{
	client->input_size -= client->line_size;
	memmove(client->input, client->input + client->line_size, client->input_size);
	client->line_size = 0;
}

bool management_client_is_overlong(const struct management_client *client)
{
	return client->input_size > MANAGEMENT_LINE_MAX && !client->closing &&
	       memchr(client->input, '\n', client->input_size) == NULL;
}

void management_client_answer(struct management_client *client, const json_t *answer)
{
	static const char broken[] = "{\"ok\": false, \"error\": \"the answer is no JSON\"}";
	char *text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;
	size_t size;

	if (text == NULL)
		text = strdup(broken);
	if (text == NULL)
		abort();
	size = strlen(text);
	client->output = realloc(client->output, client->output_size + size + 1);
	if (client->output == NULL)
		abort();
	memcpy(client->output + client->output_size, text, size);
	client->output_size += size;
	client->output[client->output_size++] = '\n';
	free(text);
}

bool management_client_has_output(const struct management_client *client)
{
	return client->output_size > 0;
}

void management_client_send(struct management_client *client, uint64_t now_us)
{
	while (client->output_at < client->output_size && !client->failed) {
		ssize_t sent = send(client->fd, client->output + client->output_at,
				    client->output_size - client->output_at, MSG_NOSIGNAL);

		if (sent > 0) {
			client->output_at += (size_t)sent;
			client->progress_us = now_us;
		} else if (errno == EAGAIN) {
			return;
		} else if (errno != EINTR) {
			client->failed = true;
		}
	}
	client->output_at = 0;
	client->output_size = 0;
	free(client->output);
	client->output = NULL;
}

bool management_client_is_over(const struct management_client *client, uint64_t now_us)
{
	bool waits = client->output_size > 0 || client->input_size > 0;

	if (client->failed || (client->closing && client->output_size == 0))
		return true;
	/* An idle prompt may stay for ever; a half line or an answer that is not taken may not. */
	return waits && now_us - client->progress_us > MANAGEMENT_STALL_US;
}
