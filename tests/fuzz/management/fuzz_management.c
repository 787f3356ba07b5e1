/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What anybody may write to the management socket. The first octet says in pieces of what size the
 * rest is sent; the writing end is then closed. Whatever comes: as many answers as lines, but no
 * more after one that is too long; each is a JSON object that says "ok" with data, or an error; and
 * the next client is served.
 */
#include "control/cli/management.h"
#include "control/cli/management_client.h"
#include "control/telemetry/log.h"
#include "tests/unit/cli/fake_commands.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}
#define MUST(condition) must(condition, #condition)

static char directory[] = "/tmp/millrace-fuzz-XXXXXX";
static char path[64];
static struct management *management;

static void stop(void)
{
	management_destroy(management);
	rmdir(directory);
}

static void start(void)
{
	static const struct log_settings quiet = {.level = LOG_LEVEL_ERROR};
	char error[256];

	MUST(mkdtemp(directory) != NULL && log_open(&quiet, error) == 0);
	snprintf(path, sizeof(path), "%s/sock", directory);
	management = management_create(path, error);
	MUST(management != NULL);
	/* Not the one whose answer is larger than a socket's buffer: it is only slow. */
	for (size_t i = 0; i < FAKE_COMMANDS; i++)
		if (strcmp(fake_commands[i].words, "show memory") != 0)
			management_add(management, &fake_commands[i]);
	MUST(management_start(management) == 0);
	atexit(stop);
}

static int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 10};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	MUST(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return fd;
}

static void check_answer(const char *text, size_t size)
{
	json_t *answer = json_loadb(text, size, 0, NULL), *ok;

	MUST(json_is_object(answer));
	ok = json_object_get(answer, "ok");
	if (json_is_true(ok))
		MUST(json_object_get(answer, "data") != NULL);
	else
		MUST(json_is_false(ok) && json_is_string(json_object_get(answer, "error")));
	json_decref(answer);
}

/* What is there now, or all until the end. @return answers */
static unsigned hear(int fd, bool to_the_end)
{
	static char text[1 << 20];
	static size_t size;
	unsigned answers = 0;

	for (;;) {
		ssize_t got =
			recv(fd, text + size, sizeof(text) - size, to_the_end ? 0 : MSG_DONTWAIT);
		char *newline;

		/* Reset: it was closed with octets unread, behind a line that is too long. */
		if (got < 0 && errno == ECONNRESET && to_the_end)
			got = 0;
		/* The fuzzer's clock interrupts. */
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && !to_the_end)
			return answers;
		MUST(got >= 0);
		if (got == 0)
			break;
		size += (size_t)got;
		while ((newline = memchr(text, '\n', size)) != NULL) {
			size_t length = (size_t)(newline - text) + 1;

			check_answer(text, length);
			answers++;
			size -= length;
			memmove(text, text + length, size);
		}
		MUST(size < sizeof(text));
	}
	MUST(size == 0);
	return answers;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned lines = 0, answers = 0;
	size_t longest = 0, from = 1;
	int fd;

	if (management == NULL)
		start();
	if (size < 1 || size > 200000)
		return 0;
	for (size_t i = 1; i < size; i++)
		if (data[i] == '\n') {
			lines++;
			from = i + 1;
		} else if (i + 1 - from > longest) {
			longest = i + 1 - from;
		}
	fd = dial();
	for (size_t at = 1; at < size;) {
		size_t piece = 1 + (size_t)data[0] * 64;
		ssize_t sent = send(fd, data + at, piece < size - at ? piece : size - at,
				    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno != EAGAIN && errno != EINTR) {
			MUST(longest > MANAGEMENT_LINE_MAX);
			break;
		}
		at += sent > 0 ? (size_t)sent : 0;
		answers += hear(fd, false);
	}
	shutdown(fd, SHUT_WR);
	answers += hear(fd, true);
	if (longest > MANAGEMENT_LINE_MAX)
		MUST(answers <= lines + 1);
	else
		MUST(answers == lines);
	close(fd);
	return 0;
}
