/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The management server: answers, refusals, and clients that misbehave and harm only themselves. */
#include "control/cli/management.h"
#include "tests/unit/cli/fake_commands.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/millrace-management-XXXXXX";
static char path[64];
static struct management *management;

static int start(void **state)
{
	char error[256];

	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/sock", directory);
	management = management_create(path, error);
	if (management == NULL) {
		print_message("# %s\n", error);
		return -1;
	}
	for (size_t i = 0; i < FAKE_COMMANDS; i++)
		management_add(management, &fake_commands[i]);
	return management_start(management);
}

static int stop(void **state)
{
	management_destroy(management);
	/* The socket is gone with it. */
	return access(path, F_OK) == 0 ? -1 : rmdir(directory);
}

static int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 10};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* One line of an answer, parsed; NULL at the end of the stream. */
static json_t *hear(int fd)
{
	static char text[4 << 20];
	size_t size = 0;
	json_t *answer;

	for (;;) {
		ssize_t got = recv(fd, text + size, sizeof(text) - size, MSG_PEEK);
		char *newline = got > 0 ? memchr(text + size, '\n', (size_t)got) : NULL;

		if (got <= 0)
			return NULL;
		if (newline != NULL)
			got = newline - (text + size) + 1;
		assert_int_equal(recv(fd, text + size, (size_t)got, 0), got);
		size += (size_t)got;
		assert_true(size < sizeof(text));
		if (newline != NULL)
			break;
	}
	answer = json_loadb(text, size, 0, NULL);
	assert_non_null(answer);
	return answer;
}

static void assert_refused(int fd, const char *request, const char *reason)
{
	json_t *answer;
	const char *said;

	say(fd, request);
	answer = hear(fd);
	assert_non_null(answer);
	assert_true(json_is_false(json_object_get(answer, "ok")));
	said = json_string_value(json_object_get(answer, "error"));
	if (strncmp(said, reason, strlen(reason)) != 0)
		fail_msg("%s: %s", request, said);
	json_decref(answer);
}

static void assert_served(void)
{
	int fd = dial();
	json_t *answer;

	say(fd, "{\"command\": [\"show\", \"version\"]}\n");
	answer = hear(fd);
	assert_non_null(answer);
	assert_true(json_is_true(json_object_get(answer, "ok")));
	json_decref(answer);
	close(fd);
}

static void the_socket_is_for_owner_and_group(void **state)
{
	struct stat about;

	assert_int_equal(stat(path, &about), 0);
	assert_int_equal(about.st_mode & 0777, 0660);
}

static void commands_are_described(void **state)
{
	int fd = dial();
	json_t *answer, *commands, *queue;

	say(fd, "{\"command\": [\"describe\"]}\n");
	answer = hear(fd);
	commands = json_object_get(json_object_get(answer, "data"), "commands");
	assert_int_equal(json_array_size(commands), FAKE_COMMANDS);
	queue = json_array_get(commands, 0);
	assert_string_equal(json_string_value(json_object_get(queue, "words")), "show queue");
	assert_int_equal(json_array_size(json_object_get(queue, "columns")), 4);
	assert_true(json_is_null(json_object_get(json_array_get(commands, 1), "columns")));
	json_decref(answer);
	close(fd);
}

static void requests_in_one_packet_are_answered_in_order(void **state)
{
	int fd = dial();

	say(fd, "{\"command\":[\"show\",\"message\"],\"arguments\":{\"id\":\"1\"}}\n"
		"{\"command\":[\"show\",\"message\"],\"arguments\":{\"id\":\"2\"}}\n"
		"{\"command\":[\"show\",\"message\"],\"arguments\":{\"id\":\"3\"}}\n"
		"{\"command\":[\"show\",\"mess");
	for (unsigned i = 1; i <= 3; i++) {
		json_t *answer = hear(fd);
		const char *id =
			json_string_value(json_object_get(json_object_get(answer, "data"), "id"));

		assert_int_equal(atoi(id), i);
		json_decref(answer);
	}
	assert_refused(fd, "age\"]}\n", "show message needs id");
	close(fd);
}

static void bad_requests_are_refused_and_the_next_is_served(void **state)
{
	int fd = dial();

	assert_refused(fd, "\n", "not a request");
	assert_refused(fd, "hello\n", "not a request");
	assert_refused(fd, "[]\n", "not a request");
	assert_refused(fd, "{}\n", "not a request: command is no list");
	assert_refused(fd, "{\"command\": \"show queue\"}\n", "not a request: command");
	assert_refused(fd, "{\"command\": [1]}\n", "not a request: command");
	assert_refused(fd, "{\"command\": [\"show\"]}\n", "no such command: show");
	assert_refused(fd, "{\"command\":[\"show\",\"queue\"],\"arguments\":[]}\n",
		       "not a request: arguments");
	assert_refused(fd, "{\"command\":[\"show\",\"queue\"],\"arguments\":{\"x\":\"y\"}}\n",
		       "show queue takes no x");
	assert_refused(fd, "{\"command\":[\"show\",\"queue\"],\"arguments\":{\"domain\":1}}\n",
		       "show queue: domain must be a string");
	assert_refused(
		fd,
		"{\"command\":[\"request\",\"queue\",\"delete\"],\"arguments\":{\"all\":\"y\"}}\n",
		"request queue delete: all must be a boolean");
	assert_refused(fd,
		       "{\"command\":[\"show\",\"message\"],\"arguments\":{\"id\":\"unknown\"}}\n",
		       "no such message");
	assert_refused(fd, "{\"command\":[\"show\"],\"command\":[\"x\"]}\n", "not a request");
	assert_refused(fd, "\xff\xfe\n", "not a request");
	close(fd);
	assert_served();
}

static void json_that_nests_deep_is_refused(void **state)
{
	static char text[60000];
	int fd = dial();

	memset(text, '[', sizeof(text) - 2);
	text[sizeof(text) - 2] = '\n';
	assert_refused(fd, text, "not a request");
	close(fd);
	assert_served();
}

static void a_line_that_is_too_long_closes_only_its_client(void **state)
{
	static char text[100000];
	int fd = dial();
	json_t *answer;

	memset(text, 'x', sizeof(text));
	send(fd, text, sizeof(text), MSG_NOSIGNAL | MSG_DONTWAIT);
	answer = hear(fd);
	if (answer != NULL)
		assert_true(json_is_false(json_object_get(answer, "ok")));
	json_decref(answer);
	assert_null(hear(fd));
	close(fd);
	assert_served();
}

static void a_client_that_does_not_read_stops_nobody(void **state)
{
	int fd = dial();

	for (unsigned i = 0; i < 8; i++)
		say(fd, "{\"command\":[\"show\",\"memory\"]}\n");
	for (unsigned i = 0; i < 20; i++)
		assert_served();
	/* It gets all of its answers when it reads at last. */
	for (unsigned i = 0; i < 2; i++) {
		json_t *answer = hear(fd);

		assert_int_equal(json_array_size(json_object_get(answer, "data")), 100000);
		json_decref(answer);
	}
	close(fd);
	assert_served();
}

static void clients_over_the_limit_are_told(void **state)
{
	int fds[40];
	unsigned refused = 0;

	for (unsigned i = 0; i < 40; i++)
		fds[i] = dial();
	for (unsigned i = 32; i < 40; i++) {
		json_t *answer = hear(fds[i]);

		if (answer == NULL)
			continue;
		assert_string_equal(json_string_value(json_object_get(answer, "error")),
				    "too many clients");
		refused++;
		json_decref(answer);
	}
	assert_int_equal(refused, 8);
	for (unsigned i = 0; i < 40; i++)
		close(fds[i]);
	usleep(100000);
	assert_served();
}

static void a_client_that_shuts_its_side_gets_its_answer(void **state)
{
	int fd = dial();
	json_t *answer;

	say(fd, "{\"command\":[\"show\",\"queue\"]}\n");
	shutdown(fd, SHUT_WR);
	answer = hear(fd);
	assert_non_null(answer);
	json_decref(answer);
	assert_null(hear(fd));
	close(fd);
}

static void a_stale_socket_is_replaced_a_live_one_is_not(void **state)
{
	char other[80], error[256];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct management *second;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_null(management_create(path, error));
	assert_non_null(strstr(error, "another daemon answers"));
	snprintf(other, sizeof(other), "%s/stale", directory);
	strcpy(address.sun_path, other);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	second = management_create(other, error);
	assert_non_null(second);
	management_destroy(second);
	assert_null(management_create("/nonexistent/sock", error));
	assert_null(management_create("/etc/passwd", error));
	assert_non_null(strstr(error, "is no socket"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_socket_is_for_owner_and_group),
		cmocka_unit_test(commands_are_described),
		cmocka_unit_test(requests_in_one_packet_are_answered_in_order),
		cmocka_unit_test(bad_requests_are_refused_and_the_next_is_served),
		cmocka_unit_test(json_that_nests_deep_is_refused),
		cmocka_unit_test(a_line_that_is_too_long_closes_only_its_client),
		cmocka_unit_test(a_client_that_does_not_read_stops_nobody),
		cmocka_unit_test(clients_over_the_limit_are_told),
		cmocka_unit_test(a_client_that_shuts_its_side_gets_its_answer),
		cmocka_unit_test(a_stale_socket_is_replaced_a_live_one_is_not),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
