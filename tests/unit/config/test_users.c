/* SPDX-License-Identifier: GPL-3.0-or-later */
/* AUTH's users files (RFC 4954): who is accepted, what an entry brings, reload. */
#include "control/config/users.h"
#include "tests/unit/config/example.h"

#include <crypt.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];
static char error[256];

/* The cheapest hash of the method, so that the test is quick. */
static char *hash_of(const char *password, const char *prefix)
{
	static struct crypt_data data;
	char salt[CRYPT_GENSALT_OUTPUT_SIZE];

	assert_non_null(crypt_gensalt_rn(prefix, 1, NULL, 0, salt, sizeof(salt)));
	return strdup(crypt_r(password, salt, &data));
}

static void write_users(const char *format, ...)
{
	FILE *out = fopen(path, "w");
	va_list arguments;

	assert_non_null(out);
	va_start(arguments, format);
	vfprintf(out, format, arguments);
	va_end(arguments);
	fclose(out);
}

/* @param before a listener that stands before the one with users, or "" */
static struct configuration *configure_after(const char *before)
{
	static struct config_errors errors;
	char text[4096];
	struct configuration *c;

	snprintf(text, sizeof(text),
		 "%s%slistener auth { address 192.0.2.10; tcp-port 587; certificate default; "
		 "users-file %s; }",
		 EXAMPLE, before, path);
	c = config_load_text(text, "test.conf", &errors);
	if (c == NULL)
		print_message("# %s\n", errors.errors[0].reason);
	assert_non_null(c);
	return c;
}

static struct configuration *configure(void)
{
	return configure_after("");
}

static void on_done(void *user, struct auth_request *request)
{
	(void)request;
	__atomic_store_n((bool *)user, true, __ATOMIC_RELEASE);
}

static bool check(struct users *users, const char *listener, const char *name, const char *password,
		  struct auth_request *request)
{
	bool done = false;

	memset(request, 0, sizeof(*request));
	snprintf(request->listener, sizeof(request->listener), "%s", listener);
	snprintf(request->user, sizeof(request->user), "%s", name);
	snprintf(request->password, sizeof(request->password), "%s", password);
	users_authenticate(users, request, on_done, &done);
	for (unsigned i = 0; i < 10000 && !__atomic_load_n(&done, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
	assert_true(done);
	for (size_t i = 0; i < sizeof(request->password); i++)
		assert_int_equal(request->password[i], 0);
	return request->accepted;
}

static void right_passwords_are_accepted_and_bring_their_tenant(void **state)
{
	char *yescrypt = hash_of("secret", "$y$"), *sha512 = hash_of("geheim:", "$6$");
	struct configuration *c;
	struct auth_request r;
	struct users *users;

	write_users("# users\n\nann:%s:acme:spring:main\r\nbob:%s\nlocked:!%s\n", yescrypt, sha512,
		    yescrypt);
	c = configure();
	users = users_create(c, error);
	assert_non_null(users);
	assert_true(check(users, "auth", "ann", "secret", &r));
	assert_string_equal(r.tenant, "acme");
	assert_string_equal(r.campaign, "spring");
	assert_string_equal(r.pool, "main");
	assert_true(check(users, "auth", "bob", "geheim:", &r));
	assert_string_equal(r.tenant, "");
	assert_false(check(users, "auth", "ann", "Secret", &r));
	assert_string_equal(r.tenant, "");
	assert_false(check(users, "auth", "ann", "", &r));
	assert_false(check(users, "auth", "ANN", "secret", &r));
	assert_false(check(users, "auth", "nobody", "secret", &r));
	assert_false(check(users, "auth", "locked", "secret", &r));
	/* Listener 0 has no users; 99 is none. */
	assert_false(check(users, "submission", "ann", "secret", &r));
	assert_false(check(users, "nowhere", "ann", "secret", &r));
	users_destroy(users);
	config_free(c);
	free(yescrypt);
	free(sha512);
}

static void a_reload_is_all_or_nothing(void **state)
{
	char *old = hash_of("old", "$y$"), *new_ = hash_of("new", "$y$");
	struct configuration *c;
	struct auth_request r;
	struct users *users;

	write_users("ann:%s\n", old);
	c = configure();
	users = users_create(c, error);
	write_users("ann:%s\n", new_);
	assert_int_equal(users_reload(users, c, error), 0);
	assert_false(check(users, "auth", "ann", "old", &r));
	assert_true(check(users, "auth", "ann", "new", &r));
	write_users("ann:%s\nbroken\n", old);
	assert_true(users_reload(users, c, error) < 0);
	assert_non_null(strstr(error, ":2: not user:hash"));
	assert_true(check(users, "auth", "ann", "new", &r));
	users_destroy(users);
	config_free(c);
	free(old);
	free(new_);
}

static void a_bad_file_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *text, *reason;
	} rows[] = {
		{"a:plain\n", ":1: the password is not a safe crypt(3) hash"},
		{"#\na:\n", ":2: the password is not a safe crypt(3) hash"},
		{":$y$j75$x$y\n", ":1: no user name"},
		{"a:!:t:c:nopool\n", ":1: there is no such pool"},
		{"a:!:t:c:main:x\n", ":1: more than five fields"},
		{"a:!\na:!\n", "user a stands there twice"},
		{"a:abJnggxhB/yWI\n", ":1: the password is not a safe crypt(3) hash"},
		{"a:!:two words\n", ":1: tenant or campaign is not a name"},
	};
	struct configuration *c;

	write_users("a:!\n");
	c = configure();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		write_users("%s", rows[i].text);
		assert_null(users_create(c, error));
		if (strstr(error, rows[i].reason) == NULL)
			fail_msg("%s: %s", rows[i].text, error);
	}
	config_free(c);
}

/* A session that began before the reload still names the listener that it came by. */
static void a_listener_keeps_its_users_when_its_place_changes(void **state)
{
	char *hash = hash_of("x", "$6$");
	struct configuration *old, *new_;
	struct auth_request r;
	struct users *users;

	write_users("a:%s\n", hash);
	old = configure();
	new_ = configure_after("listener early { address 192.0.2.10; tcp-port 26; tls none; "
			       "relay-from 192.0.2.0/24; }");
	users = users_create(old, error);
	assert_int_equal(users_reload(users, new_, error), 0);
	assert_true(check(users, "auth", "a", "x", &r));
	assert_false(check(users, "early", "a", "x", &r));
	users_destroy(users);
	config_free(old);
	config_free(new_);
	free(hash);
}

static void what_waits_at_the_end_is_answered(void **state)
{
	enum { COUNT = USERS_WAITING_MAX + 50 };
	static struct auth_request requests[COUNT];
	static bool done[COUNT];
	struct configuration *c;
	struct users *users;
	char *hash = hash_of("x", "$6$");

	write_users("a:%s\n", hash);
	c = configure();
	users = users_create(c, error);
	for (unsigned i = 0; i < COUNT; i++) {
		strcpy(requests[i].listener, "auth");
		users_authenticate(users, &requests[i], on_done, &done[i]);
	}
	users_destroy(users);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_true(done[i]);
		assert_false(requests[i].accepted);
	}
	config_free(c);
	free(hash);
}

static int make_path(void **state)
{
	int fd;

	strcpy(path, "/tmp/millrace-users-XXXXXX");
	fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_passwords_are_accepted_and_bring_their_tenant),
		cmocka_unit_test(a_reload_is_all_or_nothing),
		cmocka_unit_test(a_bad_file_is_refused_with_its_line),
		cmocka_unit_test(a_listener_keeps_its_users_when_its_place_changes),
		cmocka_unit_test(what_waits_at_the_end_is_answered),
	};

	return cmocka_run_group_tests(tests, make_path, remove_path);
}
