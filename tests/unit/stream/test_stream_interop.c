/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The stream against other implementations over loopback sockets: OpenSSL and GnuTLS as clients and
 * servers, both versions, both key kinds, implicit TLS and STARTTLS, tickets, a HelloRetryRequest.
 * A bridge carries bytes between a kernel socket and the far end of the stand-in for TCP.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/unit/stream/fake_tcp.h"
#include "tests/unit/stream/party.h"
#include "tests/unit/tls/identity.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static char directory[] = "/tmp/millrace-interop-XXXXXX";

/* --- the bridge --- */

struct bridge {
	struct net_stack *stack;
	tcp_handle connection;
	int fd;
	bool closed;
};

static size_t bridge_receive(void *user, tcp_handle connection, const uint8_t *data, size_t size)
{
	struct bridge *b = user;
	size_t done = 0;

	while (done < size) {
		ssize_t n = send(b->fd, data + done, size - done, MSG_NOSIGNAL);
		if (n <= 0)
			return size; /* the program is gone: its end will show */
		done += (size_t)n;
	}
	return size;
}

static void bridge_end(void *user, tcp_handle connection)
{
	struct bridge *b = user;

	shutdown(b->fd, SHUT_WR);
}

static void bridge_ignore(void *user, tcp_handle connection)
{
}

static void bridge_room(void *user, tcp_handle connection, size_t room)
{
}

static void bridge_closed(void *user, tcp_handle connection, enum tcp_close_reason reason)
{
	struct bridge *b = user;

	b->closed = true;
	shutdown(b->fd, SHUT_RDWR);
}

static const struct tcp_callbacks bridge_callbacks = {
	.on_connected = bridge_ignore,
	.on_receive = bridge_receive,
	.on_end = bridge_end,
	.on_send_room = bridge_room,
	.on_closed = bridge_closed,
};

/* Carry until the party is closed. */
static void carry(struct bridge *b, struct party *p)
{
	bool ended = false;

	fake_tcp_run(b->stack);
	while (p->closed == 0 && !b->closed) {
		struct pollfd poll_fd = {.fd = b->fd, .events = ended ? 0 : POLLIN};
		uint8_t data[3000];
		ssize_t n;

		if (poll(&poll_fd, 1, PATIENCE_MS) <= 0)
			fail_msg("the other side is silent; received %zu octets: %.*s",
				 p->received_size, (int)p->received_size,
				 (const char *)p->received);
		n = recv(b->fd, data, sizeof(data), 0);
		if (n > 0) {
			tcp_send(b->stack, b->connection, data, (size_t)n);
		} else {
			ended = true;
			tcp_close(b->stack, b->connection, NULL);
		}
		fake_tcp_run(b->stack);
	}
}

static int listen_on_loopback(uint16_t *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

static pid_t run_shell(const char *command)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		setpgid(0, 0);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	return child;
}

/* --- our server --- */

static struct tls_context *context; /* of the running case */
static const char crlf[] = "\r\n";

static void reply(struct party *p, const char *text)
{
	stream_write(p->stream, text, strlen(text));
}

/* A server session in miniature: greeting, EHLO, STARTTLS, QUIT. */
static void serve_lines(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	const uint8_t *end = memmem(data, size, crlf, 2);

	*taken = end ? (size_t)(end - data) + 2 : 0;
	if (!end)
		return;
	if (memcmp(data, "EHLO", 4) == 0) {
		reply(p, stream_is_tls(p->stream) ? "250 mx.test.example\r\n"
						  : "250-mx.test.example\r\n250 STARTTLS\r\n");
	} else if (memcmp(data, "STARTTLS", 8) == 0) {
		reply(p, "220 go\r\n");
		assert_int_equal(stream_start_tls(p->stream, context, NULL), 0);
		return;
	} else {
		reply(p, "221 farewell\r\n");
		stream_close(p->stream);
		return;
	}
	if (*taken < size)
		stream_resume(p->stream);
}

static void greet(struct party *p)
{
	reply(p, "220 mx.test.example ESMTP\r\n");
}

static void close_in_end(struct party *p)
{
	stream_close(p->stream);
}

/* What the program wrote to `out`. */
static void read_output(char *text, size_t size)
{
	char path[256];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/out", directory);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	fclose(f);
}

/* A shell function: until the program's output holds $1, and no longer than the program may run. */
#define AWAIT \
	"await() { i=0; until grep -qs \"$1\" out || [ $i = 150 ]; do sleep 0.1; i=$((i+1)); done; }; "

/* @param program with PORT to fill in; its output holds our 221 @param result what the party saw */
static void serve_program(const char *program, bool starttls, struct party *server, char *output,
			  size_t output_size)
{
	struct net_stack *stack = fake_tcp_create(1400, 60000);
	struct bridge bridge = {.stack = stack, .connection = fake_tcp_handle(stack, 0)};
	char command[1536];
	uint16_t port;
	int listener = listen_on_loopback(&port), status;
	pid_t child;

	snprintf(command, sizeof(command), "cd %s && P=%u && " AWAIT "(%s) >out 2>err", directory,
		 port, program);
	child = run_shell(command);
	bridge.fd = accept(listener, NULL, NULL);
	assert_true(bridge.fd >= 0);
	close(listener);
	party_create(server, stack, 1);
	fake_tcp_attach(stack, 0, &bridge_callbacks, &bridge);
	server->when_received = serve_lines;
	server->when_end = close_in_end;
	if (starttls) {
		greet(server);
		stream_flush(server->stream);
	} else {
		server->when_tls = greet;
		assert_int_equal(stream_start_tls(server->stream, context, NULL), 0);
	}
	carry(&bridge, server);
	close(bridge.fd);
	assert_int_equal(waitpid(child, &status, 0), child);
	read_output(output, output_size);
	party_destroy(server);
	fake_tcp_destroy(stack);
}

static void expect_served(enum identity_kind kind, const char *program, bool starttls,
			  const char *version)
{
	struct party server;
	char output[65536];

	context = identity_server(kind, NULL, 1);
	serve_program(program, starttls, &server, output, sizeof(output));
	tls_context_release(context);
	if (server.tls != 1 || strcmp(server.version, version) != 0 ||
	    !strstr(output, "221 farewell"))
		fail_msg("%s: tls %u, %s, error '%s', output: %s", program, server.tls,
			 server.version, server.error, output);
}

#define LINES "printf 'EHLO a\\r\\nNOOP\\r\\n'"
#define S_CLIENT \
	"timeout 20 openssl s_client -connect 127.0.0.1:$P -servername mx.test.example -quiet -no_ign_eof -crlf "

static void openssl_clients_are_served(void **state)
{
	for (unsigned kind = 0; kind < 2; kind++) {
		expect_served(kind, "(" LINES "; await 221) | " S_CLIENT "-tls1_3", false,
			      "TLSv1.3");
		expect_served(kind, "(" LINES "; await 221) | " S_CLIENT "-tls1_2", false,
			      "TLSv1.2");
		expect_served(kind, "(" LINES "; await 221) | " S_CLIENT "-starttls smtp", true,
			      "TLSv1.3");
	}
	expect_served(IDENTITY_P256,
		      "(" LINES "; await 221) | " S_CLIENT "-tls1_3 -groups P-521:P-256", false,
		      "TLSv1.3");
	expect_served(IDENTITY_RSA,
		      "(" LINES "; await 221) | " S_CLIENT
		      "-tls1_2 -cipher ECDHE-RSA-CHACHA20-POLY1305",
		      false, "TLSv1.2");
}

#define GNUTLS "timeout 20 gnutls-cli --insecure --logfile=/dev/null --crlf -p $P 127.0.0.1 "

static void gnutls_clients_are_served(void **state)
{
	for (unsigned kind = 0; kind < 2; kind++) {
		expect_served(kind, "(" LINES "; await 221) | " GNUTLS, false, "TLSv1.3");
		expect_served(kind,
			      "(" LINES "; await 221) | " GNUTLS
			      "--priority=NORMAL:-VERS-ALL:+VERS-TLS1.2",
			      false, "TLSv1.2");
		expect_served(kind, "(" LINES "; await 221) | " GNUTLS "--starttls-proto=smtp",
			      true, "TLSv1.3");
	}
}

static void old_versions_and_weak_suites_are_refused_with_an_alert(void **state)
{
	static const char *const programs[] = {
		S_CLIENT "-tls1_1 -cipher ALL:@SECLEVEL=0 </dev/null 2>&1",
		S_CLIENT "-tls1_2 -cipher AES128-SHA:@SECLEVEL=0 </dev/null 2>&1",
		S_CLIENT "-tls1_2 -cipher ECDHE-RSA-AES128-SHA </dev/null 2>&1",
	};

	for (unsigned i = 0; i < 3; i++) {
		struct party server;
		char output[65536];

		context = identity_server(IDENTITY_RSA, NULL, 1);
		serve_program(programs[i], false, &server, output, sizeof(output));
		tls_context_release(context);
		assert_int_equal(server.tls, 0);
		assert_int_equal(server.failure, STREAM_FAILED_TLS);
		if (!strstr(output, "alert"))
			fail_msg("no alert reached %s: '%s' %s", programs[i], server.error, output);
	}
}

/* s_client's commands, which are single letters on a line without -quiet. */
#define S_COMMANDS "timeout 20 openssl s_client -connect 127.0.0.1:$P -no_ign_eof -crlf "

static void a_key_update_is_followed_in_both_directions(void **state)
{
	expect_served(
		IDENTITY_P256,
		"(printf 'EHLO a\\n'; await 250; echo K; sleep 0.5; echo k; sleep 0.5; printf 'NOOP\\n'; await 221)"
		" | " S_COMMANDS "-tls1_3",
		false, "TLSv1.3");
}

static void renegotiation_is_refused(void **state)
{
	struct party server;
	char output[65536];

	context = identity_server(IDENTITY_P256, NULL, 1);
	serve_program(
		"(printf 'EHLO a\\n'; await 250; echo R; await RENEGOTIATING; sleep 0.4; printf 'NOOP\\n'; sleep 0.4) | " S_COMMANDS
		"-tls1_2 2>&1",
		false, &server, output, sizeof(output));
	tls_context_release(context);
	assert_int_equal(server.tls, 1);
	if (!strstr(output, "RENEGOTIATING") || strstr(output, "221 farewell"))
		fail_msg("'%s': %s", server.error, output);
	assert_int_equal(server.failure, STREAM_FAILED_TLS);
}

static const uint8_t ticket_key[48] = "name-of-the-key.key-of-32-octets...............";

static void a_refused_ticket_leads_to_a_full_handshake(void **state)
{
	static const char *const versions[] = {"-tls1_2", "-tls1_3"};

	for (unsigned i = 0; i < 2; i++) {
		char keep[512], offer[512], output[65536];
		struct party server;

		snprintf(keep, sizeof(keep),
			 "(" LINES "; await 221) | " S_CLIENT "%s -sess_out session", versions[i]);
		snprintf(offer, sizeof(offer),
			 "(" LINES "; await 221) | " S_CLIENT "%s -sess_in session", versions[i]);
		context = identity_server(IDENTITY_P256, ticket_key, 1);
		serve_program(keep, false, &server, output, sizeof(output));
		assert_int_equal(server.tls, 1);
		assert_false(server.resumed);
		serve_program(offer, false, &server, output, sizeof(output));
		assert_int_equal(server.tls, 1);
		assert_true(server.resumed);
		tls_context_release(context);
		context = identity_server(IDENTITY_P256, ticket_key, 2);
		serve_program(offer, false, &server, output, sizeof(output));
		tls_context_release(context);
		assert_int_equal(server.tls, 1);
		assert_false(server.resumed);
		assert_non_null(strstr(output, "221 farewell"));
	}
}

/* --- our client --- */

static void start_tls_now(struct party *p)
{
	assert_int_equal(stream_start_tls(p->stream, context, "mx.test.example"), 0);
}

static void say_hello(struct party *p)
{
	reply(p, "hello\n");
}

/* s_server -rev answers with the line reversed. */
static void close_on_answer(struct party *p, const uint8_t *data, size_t size, size_t *taken)
{
	if (memmem(data, size, "olleh", 5))
		stream_close(p->stream);
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr = {htonl(INADDR_LOOPBACK)}};

	for (unsigned i = 0; i < 200; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
			return fd;
		close(fd);
		usleep(50000);
	}
	return -1;
}

static void use_server(enum identity_kind kind, const char *options, struct party *client)
{
	struct net_stack *stack = fake_tcp_create(1400, 60000);
	struct bridge bridge = {.stack = stack, .connection = fake_tcp_handle(stack, 1)};
	const struct identity *identity = identity_get(kind);
	char path[256], command[1024];
	uint16_t port;
	int reserved = listen_on_loopback(&port), status;
	pid_t child;
	FILE *f;

	snprintf(path, sizeof(path), "%s/identity.pem", directory);
	f = fopen(path, "w");
	assert_int_equal(fwrite(identity->pem, 1, identity->size, f), identity->size);
	fclose(f);
	close(reserved);
	snprintf(
		command, sizeof(command),
		"cd %s && exec timeout 30 openssl s_server -accept 127.0.0.1:%u -cert identity.pem -key identity.pem "
		"-naccept 1 -rev -quiet %s >out 2>err",
		directory, port, options);
	child = run_shell(command);
	bridge.fd = connect_to(port);
	assert_true(bridge.fd >= 0);
	party_create(client, stack, 0);
	fake_tcp_attach(stack, 1, &bridge_callbacks, &bridge);
	client->when_connected = start_tls_now;
	client->when_tls = say_hello;
	client->when_received = close_on_answer;
	client->when_end = close_in_end;
	context = identity_client();
	fake_tcp_connect(stack);
	carry(&bridge, client);
	close(bridge.fd);
	assert_int_equal(waitpid(child, &status, 0), child);
	tls_context_release(context);
	party_destroy(client);
	fake_tcp_destroy(stack);
}

static void openssl_servers_are_used(void **state)
{
	static const struct {
		const char *options, *version, *cipher;
	} cases[] = {
		{"-tls1_3", "TLSv1.3", "TLS_AES_"},
		{"-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256", "TLSv1.3",
		 "TLS_CHACHA20_POLY1305_SHA256"},
		{"-tls1_2", "TLSv1.2", "TLS_ECDHE_"},
		{"-tls1_2 -cipher ECDHE+AES256:!AESGCM", "TLSv1.2", "_CBC_"},
		{"-tls1_3 -groups P-384", "TLSv1.3", "TLS_AES_"}, /* a HelloRetryRequest */
	};

	for (unsigned kind = 0; kind < 2; kind++) {
		for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct party client;

			use_server(kind, cases[i].options, &client);
			if (client.tls != 1 || strcmp(client.version, cases[i].version) != 0 ||
			    !strstr(client.cipher, cases[i].cipher) ||
			    !client.has_peer_certificate || !client.in_order)
				fail_msg("%s: tls %u, %s, %s, error '%s'", cases[i].options,
					 client.tls, client.version, client.cipher, client.error);
		}
	}
}

static void a_server_without_common_suites_is_a_failure_in_words(void **state)
{
	struct party client;

	use_server(IDENTITY_RSA, "-tls1_2 -cipher AES128-SHA:@SECLEVEL=0", &client);
	assert_int_equal(client.tls, 0);
	assert_int_equal(client.failure, STREAM_FAILED_TLS);
	assert_non_null(strstr(client.error, "alert handshake_failure"));
}

static int set_up(void **state)
{
	return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(openssl_clients_are_served),
		cmocka_unit_test(gnutls_clients_are_served),
		cmocka_unit_test(old_versions_and_weak_suites_are_refused_with_an_alert),
		cmocka_unit_test(a_key_update_is_followed_in_both_directions),
		cmocka_unit_test(renegotiation_is_refused),
		cmocka_unit_test(a_refused_ticket_leads_to_a_full_handshake),
		cmocka_unit_test(openssl_servers_are_used),
		cmocka_unit_test(a_server_without_common_suites_is_a_failure_in_words),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
