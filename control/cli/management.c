/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The management server. One thread polls the listening socket and its clients and runs commands
 * one at a time.
 *
 * Owner: the management thread; the command table is filled before it starts and never changes.
 * Memory: the heap; bounded by CLIENTS_MAX times a line and an answer.
 *
 * What must hold: a client can only hurt itself. A line that is too long, is not JSON or nests too
 * deep, a client that does not read its answer or never finishes its line, is answered with an
 * error where that makes sense, and closed.
 */
#include "control/cli/management.h"

#include "control/cli/management_client.h"
#include "control/telemetry/log.h"
#include "drivers/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS_MAX  32
#define COMMANDS_MAX 128
#define WORDS_MAX    16
#define POLL_MS	     1000
#define STARVED_MS   100

struct management {
	int listener, wake;
	int reserve;  /**< a descriptor kept for when there is no other */
	bool starved; /**< there was none: the listening socket rests for a turn */
	char path[108];
	char hostname[256];
	pthread_t thread;
	bool started, stopping;
	unsigned command_count, client_count;
	const struct command *commands[COMMANDS_MAX];
	struct management_client *clients[CLIENTS_MAX];
};

/* ---- The table, described ---- */

static json_t *describe_arguments(const struct command *command)
{
	json_t *array = json_array();

	for (const struct command_argument *a = command->arguments; a != NULL && a->name != NULL;
	     a++)
		json_array_append_new(array, json_pack("{s:s, s:s, s:b, s:b, s:b}", "name", a->name,
						       "help", a->help != NULL ? a->help : "",
						       "positional", (int)a->positional, "required",
						       (int)a->required, "flag", (int)a->flag));
	return array;
}

static json_t *describe_columns(const struct command *command)
{
	json_t *array;

	if (command->columns == NULL)
		return json_null();
	array = json_array();
	for (const struct command_column *c = command->columns; c->key != NULL; c++)
		json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:i}", "key", c->key,
						       "title", c->title, "format", c->format,
						       "rank", (int)c->rank));
	return array;
}

static json_t *describe(const struct management *management)
{
	json_t *commands = json_array();
	for (unsigned i = 0; i < management->command_count; i++) {
		const struct command *c = management->commands[i];

		json_array_append_new(
			commands, json_pack("{s:s, s:s, s:b, s:o, s:o}", "words", c->words, "help",
					    c->help, "changes", (int)c->changes, "arguments",
					    describe_arguments(c), "columns", describe_columns(c)));
	}
	return json_pack("{s:s, s:s, s:o}", "hostname", management->hostname, "version",
			 MILLRACE_VERSION, "commands", commands);
}

/* ---- Requests ---- */

static json_t *refusal(const char *reason)
{
	json_t *answer = json_pack("{s:b, s:s}", "ok", 0, "error", reason);

	/* A reason may quote what is no UTF-8. */
	return answer != NULL ? answer : json_pack("{s:b, s:s}", "ok", 0, "error", "failed");
}

/* "command" of the request as words with blanks. @return false when it is no list of words */
static bool join_words(const json_t *request, char *out, size_t size)
{
	const json_t *words = json_object_get(request, "command"), *word;
	size_t i, at = 0;

	if (!json_is_array(words) || json_array_size(words) == 0 ||
	    json_array_size(words) > WORDS_MAX)
		return false;
	json_array_foreach(words, i, word)
	{
		if (!json_is_string(word) || at + json_string_length(word) + 2 > size)
			return false;
		at += (size_t)snprintf(out + at, size - at, "%s%s", i > 0 ? " " : "",
				       json_string_value(word));
	}
	return true;
}

static const struct command *find(const struct management *management, const char *words)
{
	for (unsigned i = 0; i < management->command_count; i++) {
		if (strcmp(management->commands[i]->words, words) == 0)
			return management->commands[i];
	}
	return NULL;
}

/* Arguments must be declared, of the right kind, and there when required. */
static bool check_arguments(const struct command *command, json_t *arguments, char *error)
{
	const struct command_argument *a;
	const char *name;
	json_t *value;

	json_object_foreach(arguments, name, value)
	{
		for (a = command->arguments; a != NULL && a->name != NULL; a++) {
			if (strcmp(a->name, name) == 0)
				break;
		}
		if (a == NULL || a->name == NULL) {
			snprintf(error, 256, "%s takes no %.64s", command->words, name);
			return false;
		}
		if (a->flag ? !json_is_boolean(value) : !json_is_string(value)) {
			snprintf(error, 256, "%s: %s must be a %s", command->words, a->name,
				 a->flag ? "boolean" : "string");
			return false;
		}
	}
	for (a = command->arguments; a != NULL && a->name != NULL; a++) {
		if (a->required && json_object_get(arguments, a->name) == NULL) {
			snprintf(error, 256, "%s needs %s", command->words, a->name);
			return false;
		}
	}
	return true;
}

static void log_request(const struct management_client *client, const struct command *command,
			json_t *arguments, const char *result)
{
	char *text = json_dumps(arguments, JSON_COMPACT);

	if (command->changes)
		log_info("management", "request words=\"%s\" arguments=%.512s uid=%u pid=%d %s",
			 command->words, text != NULL ? text : "?", client->uid, (int)client->pid,
			 result);
	else
		log_debug("management", "request words=\"%s\" arguments=%.512s uid=%u pid=%d %s",
			  command->words, text != NULL ? text : "?", client->uid, (int)client->pid,
			  result);
	free(text);
}

static json_t *run(const struct management_client *client, const struct command *command,
		   json_t *arguments)
{
	char error[1024] = "failed";
	json_t *data = NULL, *answer;
	const char *result;

	if (check_arguments(command, arguments, error))
		data = command->run(command->context, arguments, error);
	error[sizeof(error) - 1] = '\0';
	result = data == NULL					 ? error
		 : json_is_true(json_object_get(data, "failed")) ? "failed"
								 : "done";
	log_request(client, command, arguments, result);
	if (data == NULL)
		return refusal(error);
	answer = json_pack("{s:b, s:o}", "ok", 1, "data", data);
	return answer != NULL ? answer : refusal("the answer is no JSON");
}

static json_t *answer_line(const struct management *management,
			   const struct management_client *client, const char *line, size_t size)
{
	json_error_t json_error;
	json_t *request = json_loadb(line, size, JSON_REJECT_DUPLICATES, &json_error), *answer;
	json_t *arguments, *none = json_object();
	const struct command *command;
	char words[256], reason[256];

	arguments = json_object_get(request, "arguments");
	if (!json_is_object(request)) {
		snprintf(reason, sizeof(reason), "not a request: %.200s", json_error.text);
		answer = refusal(reason);
	} else if (!join_words(request, words, sizeof(words))) {
		answer = refusal("not a request: command is no list of words");
	} else if (arguments != NULL && !json_is_object(arguments)) {
		answer = refusal("not a request: arguments are no object");
	} else if (strcmp(words, "describe") == 0) {
		answer = json_pack("{s:b, s:o}", "ok", 1, "data", describe(management));
	} else if ((command = find(management, words)) == NULL) {
		snprintf(reason, sizeof(reason), "no such command: %.200s", words);
		answer = refusal(reason);
	} else {
		answer = run(client, command, arguments != NULL ? arguments : none);
	}
	json_decref(none);
	json_decref(request);
	return answer;
}

/* What was received: whole lines are requests. */
static void serve(struct management *management, struct management_client *client)
{
	const char *line;
	size_t size;

	while (!management_client_has_output(client) &&
	       (line = management_client_line(client, &size)) != NULL) {
		json_t *answer = answer_line(management, client, line, size);

		management_client_answer(client, answer);
		json_decref(answer);
		management_client_line_done(client);
	}
	if (management_client_is_overlong(client)) {
		json_t *answer = refusal("the line is too long");

		log_warning("management", "client closed: line too long uid=%u pid=%d", client->uid,
			    (int)client->pid);
		management_client_answer(client, answer);
		json_decref(answer);
		client->closing = true;
	}
}

static void turn_client(struct management *management, struct management_client *client,
			short events, uint64_t now_us)
{
	size_t size;

	if (events & (POLLIN | POLLHUP | POLLERR))
		management_client_receive(client, now_us);
	/* One answer after the other, as long as the client takes them at once. */
	do {
		serve(management, client);
		management_client_send(client, now_us);
	} while (!client->failed && !management_client_has_output(client) &&
		 management_client_line(client, &size) != NULL);
}

/*
 * The next client. Without a descriptor for it the listening socket would stay readable and the
 * loop would spin: the reserve is given up for long enough to turn the client away.
 */
static int take_client(struct management *management)
{
	int fd = accept4(management->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0 || (errno != EMFILE && errno != ENFILE))
		return fd;
	if (management->reserve >= 0)
		close(management->reserve);
	fd = accept4(management->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	log_warning("management", "client turned away: no file descriptor is free");
	management->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	management->starved = true;
	return -1;
}

static void accept_clients(struct management *management, uint64_t now_us)
{
	static const char busy[] = "{\"ok\": false, \"error\": \"too many clients\"}\n";
	int fd;

	while ((fd = take_client(management)) >= 0) {
		ssize_t sent;

		if (management->client_count < CLIENTS_MAX) {
			management->clients[management->client_count++] =
				management_client_create(fd, now_us);
			continue;
		}
		sent = send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL);
		(void)sent;
		close(fd);
		log_warning("management", "client refused: there are %u already", CLIENTS_MAX);
	}
}

static void close_finished(struct management *management, uint64_t now_us)
{
	for (unsigned i = 0; i < management->client_count;) {
		struct management_client *client = management->clients[i];

		if (!management_client_is_over(client, now_us)) {
			i++;
			continue;
		}
		management_client_destroy(client);
		management->clients[i] = management->clients[--management->client_count];
	}
}

static void *management_main(void *argument)
{
	struct management *management = argument;
	struct pollfd polled[CLIENTS_MAX + 2];
	struct mr_now now;

	pthread_setname_np(pthread_self(), "management");
	while (!__atomic_load_n(&management->stopping, __ATOMIC_ACQUIRE)) {
		unsigned count = management->client_count;

		polled[0] = (struct pollfd){.fd = management->wake, .events = POLLIN};
		polled[1] = (struct pollfd){.fd = management->starved ? -1 : management->listener,
					    .events = POLLIN};
		for (unsigned i = 0; i < count; i++)
			polled[i + 2] = (struct pollfd){
				.fd = management->clients[i]->fd,
				.events = management_client_has_output(management->clients[i])
						  ? POLLOUT
						  : POLLIN};
		if (poll(polled, count + 2, management->starved ? STARVED_MS : POLL_MS) < 0 &&
		    errno != EINTR)
			log_error("management", "poll: %s", strerror(errno));
		management->starved = false;
		clock_read(&now);
		for (unsigned i = 0; i < count; i++) {
			if (polled[i + 2].revents != 0)
				turn_client(management, management->clients[i],
					    polled[i + 2].revents, now.mono_us);
		}
		close_finished(management, now.mono_us);
		if (polled[1].revents != 0)
			accept_clients(management, now.mono_us);
	}
	return NULL;
}

/* ---- Life ---- */

/* A socket that a dead daemon left is removed; one that answers is another daemon's. */
static int remove_stale(const struct sockaddr_un *address, char *error)
{
	struct stat about;
	int fd, result;

	if (lstat(address->sun_path, &about) != 0)
		return 0;
	if (!S_ISSOCK(about.st_mode)) {
		snprintf(error, 256, "%s exists and is no socket", address->sun_path);
		return -EEXIST;
	}
	/* Not blocking: one that is too busy to take us (EAGAIN) is alive all the same. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		snprintf(error, 256, "%s: %s", address->sun_path, strerror(errno));
		return -EMFILE;
	}
	result = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : errno;
	close(fd);
	if (result == 0 || result == EAGAIN) {
		snprintf(error, 256, "%s: another daemon answers there", address->sun_path);
		return -EADDRINUSE;
	}
	if (result != ECONNREFUSED && result != ENOENT) {
		snprintf(error, 256, "%s: %s", address->sun_path, strerror(result));
		return -EADDRINUSE;
	}
	if (unlink(address->sun_path) != 0 && errno != ENOENT) {
		snprintf(error, 256, "%s: left behind, and cannot be removed: %s",
			 address->sun_path, strerror(errno));
		return -EADDRINUSE;
	}
	return 0;
}

static int open_listener(const char *path, char *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path)) {
		snprintf(error, 256, "%.180s: the name is too long for a socket", path);
		return -ENAMETOOLONG;
	}
	strcpy(address.sun_path, path);
	if (remove_stale(&address, error) != 0)
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode must hold from the first moment: bind makes the file under the umask, so tighten
	 * it before. */
	if (fd < 0 || fchmod(fd, 0660) != 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
	    chmod(path, 0660) != 0 || listen(fd, CLIENTS_MAX) != 0) {
		snprintf(error, 256, "%.180s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -EIO;
	}
	return fd;
}

struct management *management_create(const char *socket_path, char *error)
{
	struct management *management = calloc(1, sizeof(*management));

	if (management == NULL)
		abort();
	management->wake = -1;
	management->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	management->listener = open_listener(socket_path, error);
	if (management->listener < 0)
		goto fail;
	snprintf(management->path, sizeof(management->path), "%s", socket_path);
	if (gethostname(management->hostname, sizeof(management->hostname) - 1) != 0)
		management_set_hostname(management, "millrace");
	management->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (management->wake < 0) {
		snprintf(error, 256, "eventfd: %s", strerror(errno));
		goto fail;
	}
	return management;
fail:
	management_destroy(management);
	return NULL;
}

void management_set_hostname(struct management *management, const char *hostname)
{
	snprintf(management->hostname, sizeof(management->hostname), "%s", hostname);
}

void management_add(struct management *management, const struct command *command)
{
	if (management->started || management->command_count == COMMANDS_MAX)
		abort();
	management->commands[management->command_count++] = command;
}

int management_start(struct management *management)
{
	int result = pthread_create(&management->thread, NULL, management_main, management);

	management->started = result == 0;
	return -result;
}

void management_destroy(struct management *management)
{
	uint64_t one = 1;
	ssize_t done;

	if (management == NULL)
		return;
	if (management->started) {
		__atomic_store_n(&management->stopping, true, __ATOMIC_RELEASE);
		done = write(management->wake, &one, sizeof(one));
		(void)done;
		pthread_join(management->thread, NULL);
	}
	for (unsigned i = 0; i < management->client_count; i++)
		management_client_destroy(management->clients[i]);
	if (management->listener >= 0) {
		close(management->listener);
		unlink(management->path);
	}
	if (management->wake >= 0)
		close(management->wake);
	if (management->reserve >= 0)
		close(management->reserve);
	free(management);
}
