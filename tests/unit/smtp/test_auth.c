/* SPDX-License-Identifier: GPL-3.0-or-later */
/* S20: AUTH PLAIN and LOGIN (RFC 4954, 4616). */
#include "tests/unit/smtp/dialogue.h"

#include "dataplane/envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** "\0user\0pass" */
#define PLAIN_GOOD "AHVzZXIAcGFzcw=="

static void stranger(struct dialogue *d)
{
	ip_parse("203.0.113.5", &d->peer);
	d->listener.tls = LISTENER_TLS_IMPLICIT;
	snprintf(d->listener.tenant, sizeof(d->listener.tenant), "listener-tenant");
	snprintf(d->listener.pool, sizeof(d->listener.pool), "listener-pool");
}

static void stranger_held(struct dialogue *d)
{
	stranger(d);
	d->hold = true;
}

static void begin(struct dialogue *d)
{
	dialogue_begin(d);
	dialogue_secure(d);
	dialogue_say(d, EHLO);
	dialogue_expect(d, "220", "250");
}

static void may_relay(struct dialogue *d)
{
	dialogue_say(d, ENVELOPE "BDAT 0 LAST\r\n");
	dialogue_expect(d, "250", "250", "250");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_AUTH_USER, 0), "user");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_PROTOCOL, 0), "ESMTPSA");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_TENANT, 0), "user-tenant");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_POOL, 0), "listener-pool");
	assert_null(message_field(&d->messages[0], ENVELOPE_CAMPAIGN, 0));
	dialogue_say(d, "AUTH PLAIN " PLAIN_GOOD "\r\n");
	dialogue_expect(d, "503 5.5.1");
}

static void plain(struct dialogue *d)
{
	begin(d);
	dialogue_say(d, "AUTH PLAIN " PLAIN_GOOD "\r\n");
	dialogue_expect(d, "235 2.7.0");
	assert_string_equal(d->auth_user, "user");
	assert_string_equal(d->auth_password, "pass");
	may_relay(d);
}

static void plain_in_two(struct dialogue *d)
{
	begin(d);
	dialogue_say(d, "auth plain\r\n");
	dialogue_expect(d, "334 ");
	dialogue_say(d, PLAIN_GOOD "\r\n");
	dialogue_expect(d, "235 2.7.0");
	may_relay(d);
}

static void login(struct dialogue *d)
{
	begin(d);
	dialogue_say(d, "AUTH LOGIN\r\n");
	dialogue_expect(d, "334 VXNlcm5hbWU6");
	dialogue_say(d, "dXNlcg==\r\n");
	dialogue_expect(d, "334 UGFzc3dvcmQ6");
	dialogue_say(d, "cGFzcw==\r\n");
	dialogue_expect(d, "235 2.7.0");
	assert_string_equal(d->auth_password, "pass");
	may_relay(d);
}

static void login_in_two(struct dialogue *d)
{
	begin(d);
	dialogue_say(d, "AUTH LOGIN dXNlcg==\r\n");
	dialogue_expect(d, "334 UGFzc3dvcmQ6");
	dialogue_say(d, "cGFzcw==\r\n");
	dialogue_expect(d, "235 2.7.0");
	may_relay(d);
}

static void an_authenticated_client_may_relay(void **state)
{
	dialogue_run(stranger, plain);
	dialogue_run(stranger, plain_in_two);
	dialogue_run(stranger, login);
	dialogue_run(stranger, login_in_two);
}

static const char *command, *reply;

static void refused(struct dialogue *d)
{
	begin(d);
	dialogue_say(d, command);
	dialogue_expect(d, reply);
	assert_false(d->auth_pending);
	assert_string_equal(d->auth_user, "");
	dialogue_say(d, "NOOP\r\n");
	dialogue_expect(d, "250");
}

static void s20_malformed_exchanges_are_refused(void **state)
{
	static const char *const cases[][2] = {
		{"AUTH\r\n", "501 5.5.4"},
		{"AUTH CRAM-MD5\r\n", "504 5.5.4"},
		{"AUTH PLAINTEXT\r\n", "504 5.5.4"},
		{"AUTH PLAIN =\r\n", "501 5.5.2"},
		{"AUTH PLAIN *\r\n", "501 5.7.0"},
		{"AUTH PLAIN AHVzZXIAcGFzcw=\r\n", "501 5.5.2"},
		{"AUTH PLAIN AHVzZXIAcGFzcw\r\n", "501 5.5.2"},
		{"AUTH PLAIN AHVzZXIAcGFzcx==\r\n", "501 5.5.2"},
		{"AUTH PLAIN AHVz ZXIAcGFzcw==\r\n", "501 5.5.2"},
		{"AUTH PLAIN A===\r\n", "501 5.5.2"},
		{"AUTH PLAIN ====\r\n", "501 5.5.2"},
		{"AUTH PLAIN !!!!\r\n", "501 5.5.2"},
		/* no NUL; one NUL; three NULs; empty user; empty password; other authzid; not UTF-8
		 */
		{"AUTH PLAIN dXNlcg==\r\n", "501 5.5.2"},
		{"AUTH PLAIN AHVzZXI=\r\n", "501 5.5.2"},
		{"AUTH PLAIN AHVzZXIAcGEAc3M=\r\n", "501 5.5.2"},
		{"AUTH PLAIN AABwYXNz\r\n", "501 5.5.2"},
		{"AUTH PLAIN AHVzZXIA\r\n", "501 5.5.2"},
		{"AUTH PLAIN cm9vdAB1c2VyAHBhc3M=\r\n", "501 5.5.2"},
		{"AUTH PLAIN AP//AHBhc3M=\r\n", "501 5.5.2"},
		{"AUTH LOGIN AA==\r\n", "501 5.5.2"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		command = cases[i][0];
		reply = cases[i][1];
		dialogue_run(stranger, refused);
	}
}

static void cancel(struct dialogue *d)
{
	begin(d);
	dialogue_say(d, "AUTH LOGIN\r\n");
	dialogue_expect(d, "334");
	dialogue_say(d, "*\r\n");
	dialogue_expect(d, "501 5.7.0");
	dialogue_say(d, "AUTH LOGIN\r\n");
	dialogue_say(d, "dXNlcg==\r\n");
	dialogue_say(d, "*\r\nNOOP\r\n");
	dialogue_expect(d, "334", "334", "501 5.7.0", "250");
}

static void s20_a_star_cancels(void **state)
{
	dialogue_run(stranger, cancel);
}

static void huge(struct dialogue *d)
{
	char *text = malloc(20000);

	assert_non_null(text);
	memset(text, 'A', 20000);
	begin(d);
	/* 12 KB in the command, in a response, and beyond RFC 4954's limit. */
	dialogue_say(d, "AUTH PLAIN ");
	text[12000] = '\0';
	dialogue_say(d, text);
	dialogue_say(d, "\r\n");
	dialogue_expect(d, "501 5.5.2");
	dialogue_say(d, "AUTH PLAIN\r\n");
	dialogue_expect(d, "334");
	dialogue_say(d, text);
	dialogue_say(d, "\r\n");
	dialogue_expect(d, "501 5.5.2");
	dialogue_say(d, "AUTH PLAIN\r\n");
	dialogue_expect(d, "334");
	text[12000] = 'A';
	text[13000] = '\0';
	dialogue_say(d, text);
	dialogue_say(d, "\r\nNOOP\r\n");
	dialogue_expect(d, "500 5.5.6", "250");
	free(text);
}

static void s20_huge_responses_are_refused(void **state)
{
	dialogue_run_once(stranger, huge);
}

static void brute_force(struct dialogue *d)
{
	begin(d);
	for (unsigned i = 0; i < AUTH_ATTEMPTS_MAX; i++) {
		dialogue_say(d, "AUTH PLAIN " PLAIN_GOOD "\r\nNOOP\r\n");
		assert_true(d->auth_pending);
		dialogue_answer(d, false);
		/* The answer waits, and so does what follows. */
		dialogue_expect_nothing(d);
		dialogue_wait(d, AUTH_PENALTY_US - 1);
		dialogue_expect_nothing(d);
		dialogue_wait(d, 1);
		if (i + 1 < AUTH_ATTEMPTS_MAX)
			dialogue_expect(d, "535 5.7.8", "250");
		else
			dialogue_expect(d, "535 5.7.8", "421 4.7.0");
	}
	assert_true(d->closed);
	assert_int_equal(d->environment.counters.auth_failed, AUTH_ATTEMPTS_MAX);
}

static void s20_three_wrong_passwords_are_answered_late_and_close(void **state)
{
	dialogue_run_once(stranger_held, brute_force);
}

static void gone(struct dialogue *d)
{
	begin(d);
	dialogue_say(d, "AUTH PLAIN " PLAIN_GOOD "\r\n");
	server_engine_ended(&d->engine, false, &d->now);
	assert_true(d->closed);
	dialogue_answer(d, true);
	dialogue_expect_nothing(d);
}

static void an_answer_for_a_session_that_ended_changes_nothing(void **state)
{
	dialogue_run_once(stranger_held, gone);
}

static void require_auth(struct dialogue *d)
{
	stranger(d);
	ip_parse("192.0.2.9", &d->peer);
	d->listener.require_auth = true;
}

static void required(struct dialogue *d)
{
	begin(d);
	dialogue_say(d, MAIL);
	dialogue_expect(d, "530 5.7.0");
	dialogue_say(d, "AUTH PLAIN " PLAIN_GOOD "\r\n");
	dialogue_expect(d, "235");
	/* AUTH= is offered now, and must be xtext (RFC 4954, 5). */
	dialogue_say(
		d, "MAIL FROM:<a@example.com> AUTH=a+0Ab\r\nMAIL FROM:<a@example.com> AUTH=<>\r\n");
	dialogue_expect(d, "501 5.5.4", "250");
	dialogue_say(d, "AUTH PLAIN " PLAIN_GOOD "\r\n");
	dialogue_expect(d, "503");
}

static void a_listener_that_requires_auth_takes_no_mail_without(void **state)
{
	dialogue_run(require_auth, required);
}

static void implicit(struct dialogue *d)
{
	d->listener.tls = LISTENER_TLS_IMPLICIT;
}

static void in_transaction(struct dialogue *d)
{
	begin(d);
	dialogue_say(d, MAIL);
	dialogue_expect(d, "250");
	dialogue_say(d, "AUTH PLAIN " PLAIN_GOOD "\r\n");
	dialogue_expect(d, "503 5.5.1");
	assert_string_equal(d->auth_user, "");
}

static void auth_in_a_transaction_is_refused(void **state)
{
	dialogue_run(implicit, in_transaction);
}

static void no_auth(struct dialogue *d)
{
	stranger(d);
	d->listener.allow_auth = false;
}

static void not_offered(struct dialogue *d)
{
	begin(d);
	assert_null(strstr(d->output, "AUTH"));
	dialogue_say(d, "AUTH PLAIN " PLAIN_GOOD "\r\n");
	dialogue_expect(d, "502 5.5.1");
}

static void auth_is_refused_where_it_is_not_allowed(void **state)
{
	dialogue_run(no_auth, not_offered);
}

static void half_an_exchange(struct dialogue *d)
{
	struct chunk_list taken = {0};

	begin(d);
	d->environment.chunk_reserve = 64;
	while (chunk_pool_available(d->pool) > 15)
		chunk_list_push(&taken, chunk_alloc(d->pool));
	dialogue_say(d, "AUTH LOGIN\r\n");
	dialogue_expect(d, "454 4.7.0");
	assert_int_equal(chunk_pool_available(d->pool), 15);
	assert_int_equal(d->engine.errors, 0);
	chunk_list_free(&taken, d->pool);
	dialogue_say(d, "AUTH LOGIN\r\n");
	dialogue_expect(d, "334 ");
}

static void s16_half_an_exchange_leaves_the_chunk_reserve_alone(void **state)
{
	dialogue_run_once(stranger, half_an_exchange);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_authenticated_client_may_relay),
		cmocka_unit_test(s20_malformed_exchanges_are_refused),
		cmocka_unit_test(s20_a_star_cancels),
		cmocka_unit_test(s16_half_an_exchange_leaves_the_chunk_reserve_alone),
		cmocka_unit_test(s20_huge_responses_are_refused),
		cmocka_unit_test(s20_three_wrong_passwords_are_answered_late_and_close),
		cmocka_unit_test(an_answer_for_a_session_that_ended_changes_nothing),
		cmocka_unit_test(a_listener_that_requires_auth_takes_no_mail_without),
		cmocka_unit_test(auth_in_a_transaction_is_refused),
		cmocka_unit_test(auth_is_refused_where_it_is_not_allowed),
	};

	return cmocka_run_group_tests_name("smtp auth", tests, NULL, NULL);
}
