/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a TLS session costs: memory while idle and in the handshake, and no system call from first
 * byte to last. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/unit/tls/identity.h"
#include "tls/internal.h"

#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define IDLE_LIMIT_BYTES      8192
#define HANDSHAKE_LIMIT_BYTES 32768

static size_t in_use, peak;

static void *counted_malloc(size_t size)
{
	size_t *block = malloc(size + 16);

	if (!block)
		return NULL;
	block[0] = size;
	in_use += size;
	if (in_use > peak)
		peak = in_use;
	return block + 2;
}

static void counted_free(void *pointer)
{
	size_t *block = pointer;

	if (!block)
		return;
	in_use -= block[-2];
	free(block - 2);
}

static void *counted_realloc(void *pointer, size_t size)
{
	void *fresh = counted_malloc(size);

	if (fresh && pointer) {
		size_t old = ((size_t *)pointer)[-2];

		memcpy(fresh, pointer, old < size ? old : size);
		counted_free(pointer);
	}
	return fresh;
}

struct side {
	struct tls_session *session;
	uint8_t out[40000];
	size_t size;
};

static int emit(void *context, const uint8_t *data, size_t size)
{
	struct side *side = context;

	if (side->size + size > sizeof(side->out))
		return -1;
	memcpy(side->out + side->size, data, size);
	side->size += size;
	return 0;
}

static bool open_side(struct side *side, struct tls_context *context)
{
	struct tls_session_settings settings = {
		.emit = emit, .context = side, .server_name = "mx.test.example"};

	side->size = 0;
	side->session = tls_session_create(context, &settings);
	return side->session != NULL;
}

static enum tls_result shake(struct side *to, struct side *from)
{
	enum tls_result result;

	tls_session_input(to->session, from->out, from->size);
	result = tls_session_handshake(to->session);
	if (result == TLS_DONE) {
		char octet;
		size_t size;
		/* Tickets behind the handshake. */
		tls_session_read(to->session, &octet, 1, &size);
	}
	tls_session_input(to->session, NULL, 0);
	from->size = 0;
	return result;
}

static bool handshake(struct side *client, struct side *server)
{
	shake(client, server);
	shake(server, client);
	shake(client, server);
	return shake(server, client) == TLS_DONE && shake(client, server) == TLS_DONE;
}

static bool round_trip(struct side *from, struct side *to, size_t bytes)
{
	static uint8_t sent[16384], got[16384];
	size_t size = 0, total = 0;

	if (tls_session_write(from->session, sent, bytes) != TLS_DONE)
		return false;
	tls_session_input(to->session, from->out, from->size);
	while (total < bytes && tls_session_read(to->session, got, sizeof(got), &size) == TLS_DONE)
		total += size;
	tls_session_input(to->session, NULL, 0);
	from->size = 0;
	return total == bytes;
}

static struct side client, server;

static void measure(struct tls_context *cc, struct tls_context *sc, const char *what)
{
	size_t before = in_use, one;

	/* The first connection pays for what the library keeps. */
	assert_true(open_side(&client, cc) && open_side(&server, sc) &&
		    handshake(&client, &server));
	tls_session_destroy(client.session);
	tls_session_destroy(server.session);
	before = in_use;
	peak = in_use;
	assert_true(open_side(&server, sc));
	one = in_use - before;
	assert_true(open_side(&client, cc));
	assert_true(handshake(&client, &server));
	assert_true(round_trip(&client, &server, 16384));
	assert_true(round_trip(&server, &client, 16384));
	printf("# %s: new %zu, both idle %zu, both at the peak %zu bytes\n", what, one,
	       in_use - before, peak - before);
	assert_in_range(in_use - before, 1000, 2 * IDLE_LIMIT_BYTES);
	assert_in_range(peak - before, 1000, 2 * HANDSHAKE_LIMIT_BYTES);
	before = in_use;
	tls_session_destroy(client.session);
	one = before - in_use;
	before = in_use;
	tls_session_destroy(server.session);
	printf("# %s: idle client %zu, idle server %zu bytes\n", what, one, before - in_use);
	assert_in_range(one, 500, IDLE_LIMIT_BYTES);
	assert_in_range(before - in_use, 500, IDLE_LIMIT_BYTES);
}

static const uint8_t ticket_key[48] = "name-of-the-key.key-of-32-octets...............";

static void an_idle_session_stays_below_8_kib(void **state)
{
	static const char *const kinds[] = {"P-256", "RSA"};

	for (unsigned kind = 0; kind < 2; kind++) {
		struct tls_context *sc = identity_server(kind, ticket_key, 1);
		struct tls_context *cc = identity_client(), *cc12 = identity_client_tls12();
		char what[32];

		snprintf(what, sizeof(what), "TLS 1.3, %s", kinds[kind]);
		measure(cc, sc, what);
		snprintf(what, sizeof(what), "TLS 1.2, %s", kinds[kind]);
		measure(cc12, sc, what);
		tls_context_release(sc);
		tls_context_release(cc);
		tls_context_release(cc12);
	}
}

static void everything_is_given_back(void **state)
{
	struct tls_context *cc = identity_client(),
			   *sc = identity_server(IDENTITY_P256, ticket_key, 1);
	size_t before = 0;

	for (unsigned i = 0; i < 20; i++) {
		assert_true(open_side(&client, cc) && open_side(&server, sc));
		if (i % 3 == 0) /* cut at each stage too */
			assert_int_equal(shake(&client, &server), TLS_WANT_INPUT);
		if (i % 3 == 1)
			assert_true(handshake(&client, &server));
		tls_session_destroy(client.session);
		tls_session_destroy(server.session);
		if (i == 3)
			before = in_use;
		if (i > 3)
			assert_int_equal(in_use, before);
	}
	tls_context_release(cc);
	tls_context_release(sc);
}

/* Allow memory and the end; anything else kills. */
static bool forbid_system_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	static const int allowed[] = {SCMP_SYS(mmap),	 SCMP_SYS(munmap), SCMP_SYS(mremap),
				      SCMP_SYS(madvise), SCMP_SYS(brk),	   SCMP_SYS(exit_group)};

	for (unsigned i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0) != 0)
			return false;
	return seccomp_load(filter) == 0;
}

static int connections_without_system_calls(struct tls_context *cc, struct tls_context *sc)
{
	struct mr_random random;

	if (random_init(&random) < 0)
		return 2;
	tls_thread_init(&random);
	if (!open_side(&client, cc) || !open_side(&server, sc) || !handshake(&client, &server))
		return 3;
	tls_session_destroy(client.session);
	tls_session_destroy(server.session);
	if (!forbid_system_calls())
		return 4;
	for (unsigned i = 0; i < 5; i++) {
		if (!open_side(&client, cc) || !open_side(&server, sc) ||
		    !handshake(&client, &server) || !round_trip(&client, &server, 10000) ||
		    !round_trip(&server, &client, 100))
			return 5;
		tls_session_close(client.session);
		tls_session_destroy(client.session);
		tls_session_destroy(server.session);
	}
	return 0;
}

__attribute__((unused)) static void a_connection_makes_no_system_call(void **state)
{
	struct tls_context *cc = identity_client(),
			   *sc = identity_server(IDENTITY_P256, ticket_key, 1);
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0)
		_exit(connections_without_system_calls(cc, sc));
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status))
		fail_msg("killed by signal %d: a system call was made", WTERMSIG(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	tls_context_release(cc);
	tls_context_release(sc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_idle_session_stays_below_8_kib),
		cmocka_unit_test(everything_is_given_back),
#if !defined(__SANITIZE_ADDRESS__) /* which makes its own */
		cmocka_unit_test(a_connection_makes_no_system_call),
#endif
	};

	/* Before the library allocates anything. */
	if (wolfSSL_SetAllocators(counted_malloc, counted_free, counted_realloc) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
