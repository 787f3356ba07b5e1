/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The SMTP client's session: greeting, EHLO, STARTTLS, QUIT; rows C1, C3, C4, C5 and C6. */
#include "tests/unit/client/script.h"

#include "drivers/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAILED_WITH(name, wanted_kind, wanted_phase)                                        \
	static void name(const struct smtp_client *client, const struct delivery *delivery, \
			 const struct delivery *next)                                       \
	{                                                                                   \
		assert_int_equal(client->failure.kind, wanted_kind);                        \
		assert_int_equal(client->failure.phase, wanted_phase);                      \
	}

FAILED_WITH(refused_at_greeting, CLIENT_FAILURE_REPLY, PHASE_GREETING)
FAILED_WITH(refused_at_ehlo, CLIENT_FAILURE_REPLY, PHASE_EHLO)
FAILED_WITH(protocol_at_greeting, CLIENT_FAILURE_PROTOCOL, PHASE_GREETING)
FAILED_WITH(protocol_at_ehlo, CLIENT_FAILURE_PROTOCOL, PHASE_EHLO)
FAILED_WITH(timeout_at_greeting, CLIENT_FAILURE_TIMEOUT, PHASE_GREETING)
FAILED_WITH(timeout_at_ehlo, CLIENT_FAILURE_TIMEOUT, PHASE_EHLO)
FAILED_WITH(lost_at_ehlo, CLIENT_FAILURE_LOST, PHASE_EHLO)
FAILED_WITH(tls_at_starttls, CLIENT_FAILURE_TLS, PHASE_STARTTLS)
FAILED_WITH(tls_at_handshake, CLIENT_FAILURE_TLS, PHASE_TLS)
FAILED_WITH(lost_at_handshake, CLIENT_FAILURE_LOST, PHASE_TLS)
FAILED_WITH(timeout_at_handshake, CLIENT_FAILURE_TIMEOUT, PHASE_TLS)
FAILED_WITH(injected, CLIENT_FAILURE_INJECTION, PHASE_TLS)

static void out_of_step(const struct smtp_client *client, const struct delivery *delivery,
			const struct delivery *next)
{
	assert_int_equal(client->failure.kind, CLIENT_FAILURE_DESYNC);
}

static void check_features(const struct smtp_client *client, const struct delivery *delivery,
			   const struct delivery *next)
{
	const struct client_features *f = &client->features;

	assert_true(f->pipelining && f->chunking && f->eightbit && f->smtputf8 && f->dsn &&
		    f->enhanced && f->starttls && f->size);
	assert_int_equal(f->size_max, 10240000);
	assert_int_equal(f->mail_max, 50);
	assert_int_equal(f->recipients_max, 100);
}

static void ehlo_reads_what_is_offered(void **state)
{
	script_run(&(struct script){
		.text = "-\nS 220-mx.example\nS 220 ESMTP\nC EHLO out.example.net\n-\n"
			"S 250-mx.example PIPELINING\nS 250-Pipelining\nS 250-SIZE 10240000\nS 250-8bitmime\n"
			"S 250-SMTPUTF8\nS 250-DSN\nS 250-CHUNKING\nS 250-ENHANCEDSTATUSCODES\n"
			"S 250-X-UNKNOWN a b\nS 250-LIMITS MAILMAX=50 RCPTMAX=100 X=1\nS 250 STARTTLS\n"
			"E ready\nquit\nC QUIT\n-\nS 221 bye\n-\n",
		.check = check_features,
	});
}

static void check_no_features(const struct smtp_client *client, const struct delivery *delivery,
			      const struct delivery *next)
{
	const struct client_features *f = &client->features;

	assert_false(f->pipelining || f->chunking || f->dsn || f->size || f->size_max ||
		     f->recipients_max);
}

static void c6_nonsense_in_ehlo_offers_nothing(void **state)
{
	script_run(&(struct script){
		.text = "S 220 x\nC EHLO out.example.net\nS 250-PIPELINING\nS 250-PIPELININGX\n"
			"S 250-LIMITS RCPTMAX=0 RCPTMAX=-1 RCPTMAX= RCPTMAX=1x\nS 250-\nS 250 =DSN\nE ready\n",
		.check = check_no_features,
	});
	script_run(&(struct script){
		.text = "S 220 x\nC EHLO out.example.net\nS 250 PIPELINING\nE ready\n",
		.check = check_no_features,
	});
}

static void helo_when_ehlo_is_not_known(void **state)
{
	script_run(&(struct script){
		.text = "S 220 x\nC EHLO out.example.net\nS 502 what\nC HELO out.example.net\n"
			"S 250-x\nS 250 PIPELINING\nE ready\n",
		.check = check_no_features,
	});
	script_run(&(struct script){
		.text = "S 220 x\nC EHLO out.example.net\nS 500 what\nC HELO out.example.net\n"
			"S 550 go away\nE failed\n",
		.check = refused_at_ehlo,
	});
}

static void refusals_at_greeting_and_ehlo_end_the_session(void **state)
{
	static const char *const codes[] = {"421", "450", "454", "500", "521", "550", "554"};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		char text[128];

		snprintf(text, sizeof(text), "S %s no\nE failed\n-\n", codes[i]);
		script_run(&(struct script){.text = text, .check = refused_at_greeting});
	}
	for (size_t i = 0; i < 3; i++) {
		char text[128];

		snprintf(text, sizeof(text),
			 "S 220 x\nC EHLO out.example.net\nS %s no\nE failed\n-\n", codes[i]);
		script_run(&(struct script){.text = text, .check = refused_at_ehlo});
	}
	script_run(&(struct script){
		.text = "S 220 x\nC EHLO out.example.net\nS 521 no mail\nE failed\n",
		.check = refused_at_ehlo});
}

static void codes_that_make_no_sense_end_the_session(void **state)
{
	script_run(&(struct script){.text = "S 250 hi\nE failed\n", .check = protocol_at_greeting});
	script_run(&(struct script){.text = "S 354 hi\nE failed\n", .check = protocol_at_greeting});
	script_run(
		&(struct script){.text = "S SSH-2.0-x\nE failed\n", .check = protocol_at_greeting});
	script_run(&(struct script){.text = "S 220 x\nC EHLO out.example.net\nS 354 go\nE failed\n",
				    .check = protocol_at_ehlo});
	script_run(&(struct script){.text = "S 220 x\nC EHLO out.example.net\nS 220 x\nE failed\n",
				    .check = protocol_at_ehlo});
}

static void c1_endless_reply_ends_the_session(void **state)
{
	char *text = calloc(1, 20000);

	assert_non_null(text);
	strcpy(text, "S 220 x\nC EHLO out.example.net\n");
	for (int i = 0; i < 200; i++)
		strcat(text, "S 250-FEATURE\n");
	strcat(text, "E failed\n");
	script_run(&(struct script){.text = text, .check = protocol_at_ehlo});
	free(text);
}

static void every_wait_has_a_deadline(void **state)
{
	script_run(&(struct script){.text = "timeout\nE failed\n", .check = timeout_at_greeting});
	script_run(&(struct script){.text = "S* 220 x\ntimeout\nE failed\n",
				    .check = timeout_at_greeting});
	script_run(&(struct script){.text = "S 220 x\nC EHLO out.example.net\ntimeout\nE failed\n",
				    .check = timeout_at_ehlo});
	script_run(&(struct script){
		.text = "S 220 x\nC EHLO out.example.net\nS 250-x\nwait 200\nS* 250\ntimeout\nE failed\n",
		.check = timeout_at_ehlo});
	script_run(&(struct script){
		.text = "S 220 x\nC EHLO out.example.net\nS 250-x\nS 250 STARTTLS\nC STARTTLS\nS 220 go\n"
			"E starttls\ntimeout\nE failed\n",
		.tls = TLS_LEVEL_MAY,
		.check = timeout_at_handshake});
}

static void c9_trickled_octets_do_not_move_a_deadline(void **state)
{
	struct smtp_client client;
	static const struct path_settings path = {.greeting_timeout_us = 300 * US_PER_S};
	const struct smtp_client_settings settings = {.ehlo_name = "x", .path = &path};
	const struct smtp_client_sink sink = {0};

	smtp_client_init(&client, &settings, &sink, 0);
	for (uint64_t s = 0; s < 5; s++)
		assert_int_equal(smtp_client_input(&client, (const uint8_t *)"220-\n" + s, 1,
						   s * 60 * US_PER_S),
				 1);
	assert_int_equal(client.deadline_us, 300 * US_PER_S);
}

static void lost_connection_ends_the_session(void **state)
{
	script_run(&(struct script){.text = "S 220 x\nC EHLO out.example.net\nlost\nE failed\n",
				    .check = lost_at_ehlo});
}

/* ---- STARTTLS ---- */

#define TO_EHLO	    "S 220 x\nC EHLO out.example.net\n"
#define TO_STARTTLS TO_EHLO "S 250-x\nS 250-SIZE 5\nS 250-DSN\nS 250 STARTTLS\nC STARTTLS\n-\n"

static void check_after_tls(const struct smtp_client *client, const struct delivery *delivery,
			    const struct delivery *next)
{
	assert_true(client->tls_active);
	assert_true(client->features.pipelining);
	assert_false(client->features.starttls);
	assert_false(client->features.dsn);
	assert_int_equal(client->features.size_max, 0);
}

static void c6_only_the_ehlo_after_tls_counts(void **state)
{
	for (int level = TLS_LEVEL_MAY; level <= TLS_LEVEL_ENCRYPT; level++)
		script_run(&(struct script){
			.text = TO_STARTTLS
			"S 220 go\nE starttls\n-\ntls\nC EHLO out.example.net\n-\n"
			"S 250-x\nS 250 PIPELINING\nE ready\n",
			.tls = (enum tls_level)level,
			.check = check_after_tls,
		});
}

static void starttls_is_not_asked_for_twice(void **state)
{
	script_run(&(struct script){
		.text = TO_STARTTLS "S 220 go\nE starttls\ntls\nC EHLO out.example.net\n"
				    "S 250-x\nS 250 STARTTLS\nE ready\n-\n",
		.tls = TLS_LEVEL_ENCRYPT,
	});
}

static void level_none_never_asks_for_tls(void **state)
{
	script_run(&(struct script){
		.text = TO_EHLO "S 250-x\nS 250 STARTTLS\nE ready\n-\n",
		.tls = TLS_LEVEL_NONE,
	});
}

static void c4_bytes_behind_the_220_of_starttls_are_an_injection(void **state)
{
	script_run(&(struct script){
		.text = TO_STARTTLS
		"S 220 go\nS 250-x\nS 250 PIPELINING\nE starttls\nE failed\n-\n",
		.tls = TLS_LEVEL_MAY,
		.check = injected,
	});
	script_run(&(struct script){
		.text = TO_STARTTLS "S 220 go\nS* 2\nE starttls\nE failed\n-\n",
		.tls = TLS_LEVEL_ENCRYPT,
		.check = injected,
	});
}

static void c4_reply_before_the_first_command_after_tls_is_out_of_step(void **state)
{
	/* What a command injected before the handshake would have answered: two replies to our
	 * EHLO. */
	script_run(&(struct script){
		.text = TO_STARTTLS "S 220 go\nE starttls\ntls\nC EHLO out.example.net\n"
				    "S 250-x\nS 250 PIPELINING\nS 250 2.1.0 Ok\nE failed\n-\n",
		.tls = TLS_LEVEL_MAY,
		.whole_only = true,
		.check = out_of_step,
	});
}

static void c5_may_goes_on_in_clear_when_tls_is_not_offered_or_refused(void **state)
{
	static const char *const codes[] = {"454", "500", "501", "502", "503", "554"};

	script_run(&(struct script){.text = TO_EHLO "S 250 x\nE ready\n-\n", .tls = TLS_LEVEL_MAY});
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		char text[256];

		snprintf(text, sizeof(text), TO_STARTTLS "S %s no\nE ready\n-\n", codes[i]);
		script_run(&(struct script){.text = text, .tls = TLS_LEVEL_MAY});
	}
	script_run(&(struct script){.text = TO_EHLO "S 250-x\nS 250 STARTTLS\nE ready\n-\n",
				    .tls = TLS_LEVEL_MAY,
				    .avoid_tls = true});
}

static void c5_encrypt_never_goes_on_in_clear(void **state)
{
	static const char *const codes[] = {"454", "500", "501", "502", "503", "554", "421"};

	script_run(&(struct script){.text = TO_EHLO "S 250 x\nE failed\n-\n",
				    .tls = TLS_LEVEL_ENCRYPT,
				    .check = tls_at_starttls});
	script_run(&(struct script){.text = TO_EHLO
				    "S 502 x\nC HELO out.example.net\nS 250 x\nE failed\n-\n",
				    .tls = TLS_LEVEL_ENCRYPT,
				    .check = tls_at_starttls});
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		char text[256];

		snprintf(text, sizeof(text), TO_STARTTLS "S %s no\nE failed\n-\n", codes[i]);
		script_run(&(struct script){
			.text = text, .tls = TLS_LEVEL_ENCRYPT, .check = tls_at_starttls});
	}
	script_run(&(struct script){
		.text = TO_STARTTLS
		"S 220 go\nE starttls\ntls\nC EHLO out.example.net\nS 250 x\nE ready\n",
		.tls = TLS_LEVEL_ENCRYPT,
		.avoid_tls = true});
}

static void c5_odd_answers_to_starttls_fail_tls(void **state)
{
	static const char *const codes[] = {"221", "250", "354", "421"};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		char text[256];

		snprintf(text, sizeof(text), TO_STARTTLS "S %s x\nE failed\n-\n", codes[i]);
		script_run(&(struct script){
			.text = text, .tls = TLS_LEVEL_MAY, .check = tls_at_starttls});
	}
}

static void c5_failed_handshake_ends_the_session(void **state)
{
	script_run(
		&(struct script){.text = TO_STARTTLS "S 220 go\nE starttls\ntlsfail\nE failed\n-\n",
				 .tls = TLS_LEVEL_MAY,
				 .check = tls_at_handshake});
	script_run(&(struct script){.text = TO_STARTTLS "S 220 go\nE starttls\nlost\nE failed\n-\n",
				    .tls = TLS_LEVEL_MAY,
				    .check = lost_at_handshake});
}

/* ---- Out of step ---- */

static void c3_replies_before_commands_end_the_session(void **state)
{
	script_run(
		&(struct script){.text = "S 220 x\nS 250 x\nC EHLO out.example.net\nE failed\n-\n",
				 .whole_only = true,
				 .check = out_of_step});
	script_run(&(struct script){.text = TO_EHLO "S 250 x\nS 250 x\nE failed\n-\n",
				    .whole_only = true,
				    .check = out_of_step});
	script_run(&(struct script){.text = TO_EHLO "S 250 x\nE ready\n-\nS 250 x\nE failed\n-\n",
				    .check = out_of_step});
}

static void check_421(const struct smtp_client *client, const struct delivery *delivery,
		      const struct delivery *next)
{
	assert_int_equal(client->failure.kind, CLIENT_FAILURE_REPLY);
	assert_int_equal(client->failure.reply.code, 421);
}

static void idle_session_ends_with_421(void **state)
{
	script_run(&(struct script){.text = TO_EHLO
				    "S 250 x\nE ready\n-\nS 421 4.4.2 idle\nE failed\n-\n",
				    .check = check_421});
}

static void idle_session_with_half_a_reply_has_a_deadline(void **state)
{
	script_run(&(struct script){.text = TO_EHLO
				    "S 250 x\nE ready\nS* 42\ntimeout\nE failed\n-\n"});
}

static int write_nowhere(void *context, const void *data, size_t size)
{
	return 0;
}

static void c9_trickled_octets_do_not_hold_an_idle_session(void **state)
{
	static const char dialogue[] = "220 x\r\n", ehlo[] = "250 x\r\n";
	static const struct path_settings path = {.greeting_timeout_us = 300 * US_PER_S,
						  .command_timeout_us = 300 * US_PER_S};
	const struct smtp_client_settings settings = {.ehlo_name = "x", .path = &path};
	const struct smtp_client_sink sink = {.write = write_nowhere};
	struct smtp_client client;

	smtp_client_init(&client, &settings, &sink, 0);
	smtp_client_input(&client, (const uint8_t *)dialogue, 7, 0);
	smtp_client_input(&client, (const uint8_t *)ehlo, 7, 0);
	assert_int_equal(smtp_client_event(&client), CLIENT_EVENT_READY);
	assert_int_equal(client.deadline_us, MR_NEVER);
	for (uint64_t s = 0; s < 5; s++)
		assert_int_equal(smtp_client_input(&client, (const uint8_t *)"421-\n" + s, 1,
						   s * 60 * US_PER_S),
				 1);
	assert_int_equal(client.deadline_us, 300 * US_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ehlo_reads_what_is_offered),
		cmocka_unit_test(c6_nonsense_in_ehlo_offers_nothing),
		cmocka_unit_test(helo_when_ehlo_is_not_known),
		cmocka_unit_test(refusals_at_greeting_and_ehlo_end_the_session),
		cmocka_unit_test(codes_that_make_no_sense_end_the_session),
		cmocka_unit_test(c1_endless_reply_ends_the_session),
		cmocka_unit_test(every_wait_has_a_deadline),
		cmocka_unit_test(c9_trickled_octets_do_not_move_a_deadline),
		cmocka_unit_test(lost_connection_ends_the_session),
		cmocka_unit_test(c6_only_the_ehlo_after_tls_counts),
		cmocka_unit_test(starttls_is_not_asked_for_twice),
		cmocka_unit_test(level_none_never_asks_for_tls),
		cmocka_unit_test(c4_bytes_behind_the_220_of_starttls_are_an_injection),
		cmocka_unit_test(c4_reply_before_the_first_command_after_tls_is_out_of_step),
		cmocka_unit_test(c5_may_goes_on_in_clear_when_tls_is_not_offered_or_refused),
		cmocka_unit_test(c5_encrypt_never_goes_on_in_clear),
		cmocka_unit_test(c5_odd_answers_to_starttls_fail_tls),
		cmocka_unit_test(c5_failed_handshake_ends_the_session),
		cmocka_unit_test(c3_replies_before_commands_end_the_session),
		cmocka_unit_test(idle_session_ends_with_421),
		cmocka_unit_test(idle_session_with_half_a_reply_has_a_deadline),
		cmocka_unit_test(c9_trickled_octets_do_not_hold_an_idle_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
