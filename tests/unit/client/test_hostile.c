/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The SMTP client's transactions with servers that break the rules, break off, or mislead: rows C3,
 * C6, C7, C9. */
#include "tests/unit/client/script.h"

#include "drivers/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GREETING "S 220 x\nC EHLO out.example.net\n"
#define PLAIN	 GREETING "S 250 x\nE ready\nbegin\n"
#define PIPE	 GREETING "S 250-x\nS 250 PIPELINING\nE ready\nbegin\n"
#define CHUNK	 GREETING "S 250-x\nS 250-PIPELINING\nS 250 CHUNKING\nE ready\nbegin\n"
#define MAIL	 "C MAIL FROM:<sender@example.com>\n"
#define RCPT	 "C RCPT TO:<a0@example.org>\n"
#define BODY	 "Subject: x\r\n\r\nhello\r\n"
#define BODY_C	 "C Subject: x\nC \nC hello\n"
#define TO_BODY	 PIPE MAIL RCPT "C DATA\nS 250 ok\nS 250 ok\nS 354 go\n"
#define DELIVERED \
	MAIL RCPT "S 250 ok\nS 250 ok\nC BDAT 21 LAST\n" BODY_C "S 250 ok\nE done\nE ready\n"

static struct delivery *one(void)
{
	return delivery_make(1, BODY);
}

static struct delivery *three(void)
{
	return delivery_make(3, BODY);
}

#define CHECK(name)                                                                         \
	static void name(const struct smtp_client *client, const struct delivery *delivery, \
			 const struct delivery *next)

#define DEFERRED_BY(name, wanted_kind, wanted_phase, wanted_enhanced, duplicate)                   \
	CHECK(name)                                                                                \
	{                                                                                          \
		assert_int_equal(client->failure.kind, wanted_kind);                               \
		assert_false(client->failure.restart);                                             \
		assert_recipient(delivery, 0, OUTCOME_DEFERRED, wanted_phase, 0, wanted_enhanced); \
		assert_false(delivery->recipients[0].remote);                                      \
		assert_int_equal(delivery->possible_duplicate, duplicate);                         \
	}

DEFERRED_BY(desync_at_mail, CLIENT_FAILURE_DESYNC, PHASE_MAIL, "4.5.0", false)
DEFERRED_BY(desync_at_rcpt, CLIENT_FAILURE_DESYNC, PHASE_RCPT, "4.5.0", false)
DEFERRED_BY(desync_at_data, CLIENT_FAILURE_DESYNC, PHASE_DATA, "4.5.0", false)
DEFERRED_BY(desync_at_body, CLIENT_FAILURE_DESYNC, PHASE_BODY, "4.5.0", false)
DEFERRED_BY(desync_at_dot, CLIENT_FAILURE_DESYNC, PHASE_DOT, "4.5.0", true)
DEFERRED_BY(protocol_at_rcpt, CLIENT_FAILURE_PROTOCOL, PHASE_RCPT, "4.5.0", false)
DEFERRED_BY(lost_at_mail, CLIENT_FAILURE_LOST, PHASE_MAIL, "4.4.2", false)
DEFERRED_BY(lost_at_body, CLIENT_FAILURE_LOST, PHASE_BODY, "4.4.2", false)
DEFERRED_BY(lost_at_dot, CLIENT_FAILURE_LOST, PHASE_DOT, "4.4.2", true)
DEFERRED_BY(timeout_at_mail, CLIENT_FAILURE_TIMEOUT, PHASE_MAIL, "4.4.2", false)
DEFERRED_BY(timeout_at_rcpt, CLIENT_FAILURE_TIMEOUT, PHASE_RCPT, "4.4.2", false)
DEFERRED_BY(timeout_at_data, CLIENT_FAILURE_TIMEOUT, PHASE_DATA, "4.4.2", false)
DEFERRED_BY(timeout_at_body, CLIENT_FAILURE_TIMEOUT, PHASE_BODY, "4.4.2", false)
DEFERRED_BY(timeout_at_dot, CLIENT_FAILURE_TIMEOUT, PHASE_DOT, "4.4.2", true)

/* ---- C3 ---- */

static void c3_fewer_replies_than_commands_time_out(void **state)
{
	script_run(&(struct script){
		.text = PIPE MAIL RCPT "C DATA\n-\nS 250 ok\ntimeout\nE done\nE failed\n",
		.make = one,
		.check = timeout_at_rcpt,
	});
}

static void c3_extra_reply_to_a_pipelined_command_ends_the_session(void **state)
{
	/* Two answers to MAIL: RCPT's answer stands where DATA's should. */
	script_run(&(struct script){
		.text = PIPE MAIL RCPT
		"C DATA\n-\nS 250 ok\nS 250 ok\nS 250 ok\nE done\nE failed\n-\n",
		.make = one,
		.check = desync_at_data,
	});
}

static void c3_extra_reply_to_a_single_command_ends_the_session(void **state)
{
	script_run(&(struct script){
		.text = PLAIN MAIL "-\nS 250 ok\nS 250 ok\nE done\nE failed\n-\n",
		.make = one,
		.whole_only = true,
		.check = desync_at_rcpt,
	});
	script_run(&(struct script){
		.text = CHUNK MAIL RCPT "-\nS 250 ok\nS 250 ok\nS 250 ok\nE done\nE failed\n-\n",
		.make = one,
		.whole_only = true,
		.check = desync_at_data,
	});
}

static void c3_reply_behind_the_final_reply_makes_it_doubtful(void **state)
{
	script_run(&(struct script){
		.text = TO_BODY BODY_C "C .\n-\nS 250 ok\nS 250 ok\nE done\nE failed\n-\n",
		.make = one,
		.whole_only = true,
		.check = desync_at_dot,
	});
}

CHECK(delivered_then_desync)
{
	assert_recipient(delivery, 0, OUTCOME_DELIVERED, PHASE_DOT, 250, "");
	assert_int_equal(client->failure.kind, CLIENT_FAILURE_DESYNC);
}

static void c3_reply_to_an_idle_session_ends_it(void **state)
{
	script_run(&(struct script){
		.text = TO_BODY BODY_C
		"C .\n-\nS 250 ok\nE done\nE ready\n-\nS 250 ok\nE failed\n-\n",
		.make = one,
		.check = delivered_then_desync,
	});
}

CHECK(refused_then_421)
{
	assert_recipient(delivery, 0, OUTCOME_BOUNCED, PHASE_DOT, 554, "");
	assert_int_equal(client->failure.kind, CLIENT_FAILURE_REPLY);
	assert_int_equal(client->failure.reply.code, 421);
}

static void refusal_with_421_behind_it_keeps_its_verdict(void **state)
{
	script_run(&(struct script){
		.text = TO_BODY BODY_C "C .\n-\nS 554 no\nS 421 bye\nE done\nE failed\n-\n",
		.make = one,
		.whole_only = true,
		.check = refused_then_421,
	});
}

CHECK(delivered_then_421)
{
	assert_recipient(delivery, 0, OUTCOME_DELIVERED, PHASE_DOT, 250, "");
	assert_false(delivery->possible_duplicate);
	assert_int_equal(client->failure.kind, CLIENT_FAILURE_REPLY);
	assert_int_equal(client->failure.reply.code, 421);
}

CHECK(delivered_then_450)
{
	assert_recipient(delivery, 0, OUTCOME_DELIVERED, PHASE_DOT, 250, "");
	assert_int_equal(client->failure.kind, CLIENT_FAILURE_DESYNC);
}

CHECK(deferred_by_421_at_rcpt)
{
	assert_recipient(delivery, 0, OUTCOME_DEFERRED, PHASE_RCPT, 421, "4.3.2");
	assert_int_equal(client->failure.kind, CLIENT_FAILURE_REPLY);
}

static void success_with_421_behind_it_is_a_success(void **state)
{
	static const struct {
		const char *rest;
		void (*check)(const struct smtp_client *, const struct delivery *,
			      const struct delivery *);
	} cases[] = {
		{"S 421 bye\nE done\nE failed\n-\n", delivered_then_421},
		{"S 421-so\nS 421 long\nE done\nE failed\n-\n", delivered_then_421},
		{"S* 4\nE done\n-\nS 21 bye\nE failed\n-\n", delivered_then_421},
		/* It began like one and came after a good answer. */
		{"S* 4\nE done\n-\nS 50 no\nE failed\n-\n", delivered_then_450},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512];

		snprintf(text, sizeof(text), TO_BODY BODY_C "C .\n-\nS 250 ok\n%s", cases[i].rest);
		script_run(&(struct script){
			.text = text, .make = one, .whole_only = true, .check = cases[i].check});
		snprintf(text, sizeof(text),
			 CHUNK MAIL RCPT "S 250 ok\nS 250 ok\nC BDAT 21 LAST\n" BODY_C
					 "-\nS 250 ok\n%s",
			 cases[i].rest);
		script_run(&(struct script){
			.text = text, .make = one, .whole_only = true, .check = cases[i].check});
	}
}

static void c3_421_behind_an_envelope_reply_is_heard_as_421(void **state)
{
	script_run(&(struct script){
		.text = PLAIN MAIL "-\nS 250 ok\nS 421 4.3.2 bye\nE done\nE failed\n-\n",
		.make = one,
		.whole_only = true,
		.check = deferred_by_421_at_rcpt,
	});
}

CHECK(untouched)
{
	assert_true(client->failure.restart);
	assert_int_equal(client->failure.kind, CLIENT_FAILURE_DESYNC);
	assert_recipient(next, 0, OUTCOME_NONE, PHASE_ROUTE, 0, "");
	assert_false(next->possible_duplicate);
}

static void c3_half_a_reply_before_mail_begins_again_elsewhere(void **state)
{
	script_run(&(struct script){
		.text = CHUNK DELIVERED "S* 25\nnext\nE failed\n-\n",
		.make = one,
		.make_next = one,
		.check = untouched,
	});
}

static void intermediate_replies_where_none_belong(void **state)
{
	script_run(&(struct script){.text = PLAIN MAIL "S 354 go\nE done\nE failed\n-\n",
				    .make = one,
				    .check = desync_at_mail});
	script_run(&(struct script){.text = PLAIN MAIL "S 250 ok\n" RCPT
						       "S 354 go\nE done\nE failed\n-\n",
				    .make = one,
				    .check = desync_at_rcpt});
	script_run(&(struct script){.text = TO_BODY BODY_C "C .\nS 354 go\nE done\nE failed\n-\n",
				    .make = one,
				    .check = desync_at_dot});
}

static void c2_garbage_in_a_transaction_defers(void **state)
{
	script_run(&(struct script){.text = PLAIN MAIL "S 250 ok\n" RCPT
						       "S nonsense\nE done\nE failed\n-\n",
				    .make = one,
				    .check = protocol_at_rcpt});
	script_run(&(struct script){.text = PLAIN MAIL "S 250 ok\n" RCPT
						       "S 550-no\nS 250 yes\nE done\nE failed\n-\n",
				    .make = one,
				    .check = protocol_at_rcpt});
}

/* ---- C6 ---- */

CHECK(no_chunking)
{
	assert_true(client->failure.restart);
	assert_true(client->failure.no_chunking);
	assert_recipient(delivery, 0, OUTCOME_NONE, PHASE_ROUTE, 0, "");
}

static void c6_chunking_offered_but_bdat_unknown_begins_again_without(void **state)
{
	static const char *const codes[] = {"500", "502", "504"};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		char text[512];

		snprintf(text, sizeof(text),
			 CHUNK MAIL RCPT "S 250 ok\nS 250 ok\nC BDAT 21 LAST\n" BODY_C
					 "S %s what\nE failed\n",
			 codes[i]);
		script_run(&(struct script){.text = text, .make = one, .check = no_chunking});
	}
}

CHECK(next_refused_and_usable)
{
	assert_recipient(next, 0, OUTCOME_BOUNCED, PHASE_RCPT, 550, "");
	assert_int_equal(client->failure.kind, CLIENT_FAILURE_NONE);
	assert_true(client->needs_reset);
}

CHECK(both_untouched)
{
	assert_true(client->failure.restart);
	for (uint32_t i = 0; i < 3; i++)
		assert_recipient(delivery, i, OUTCOME_NONE, PHASE_ROUTE, 0, "");
}

static void beginning_again_takes_verdicts_back(void **state)
{
	script_run(&(struct script){
		.text = CHUNK MAIL RCPT
		"C RCPT TO:<a1@example.org>\nC RCPT TO:<a2@example.org>\n"
		"S 250 ok\nS 250 ok\nS 550 5.1.1 no\nS 450 no\nC BDAT 21 LAST\n" BODY_C
		"S 502 what\nE failed\n",
		.make = three,
		.check = both_untouched,
	});
}

static void after_rset_the_body_waits_for_the_replies(void **state)
{
	script_run(&(struct script){
		.text = CHUNK MAIL RCPT
		"S 250 ok\nS 550 no\nE done\nE ready\nnext\nC RSET\n" MAIL RCPT
		"-\nS 250 ok\nS 250 ok\nS 250 ok\nC BDAT 21 LAST\n" BODY_C
		"S 250 ok\nE done\nE ready\n",
		.make = one,
		.make_next = one,
	});
}

static void bdat_body_sent_for_nobody_is_only_answered(void **state)
{
	script_run(&(struct script){
		.text = CHUNK DELIVERED "next\n" MAIL RCPT "C BDAT 21 LAST\n" BODY_C
					"-\nS 250 ok\nS 550 no\nS 503 no\nE done\nE ready\n-\n",
		.make = one,
		.make_next = one,
		.check = next_refused_and_usable,
	});
}

/* ---- C7 ---- */

static struct delivery *large(void)
{
	static char body[200001];

	for (size_t i = 0; i + 50 <= sizeof(body) - 1; i += 50)
		memcpy(body + i, "0123456789012345678901234567890123456789 2345678\r\n", 50);
	return delivery_make(1, body);
}

CHECK(deferred_by_421)
{
	assert_recipient(delivery, 0, OUTCOME_DEFERRED, PHASE_BODY, 421, "4.3.2");
	assert_true(delivery->recipients[0].remote);
	assert_false(delivery->possible_duplicate);
}

CHECK(bounced_in_body)
{
	assert_recipient(delivery, 0, OUTCOME_BOUNCED, PHASE_BODY, 552, "5.3.4");
	assert_false(delivery->possible_duplicate);
}

/** Run with a held body: what went out of the body is not looked at. */
static void run_in_body(const char *tail,
			void (*check)(const struct smtp_client *, const struct delivery *,
				      const struct delivery *))
{
	char text[1024], body[64] = "";

	for (int size = 0; size < 2; size++) {
		snprintf(text, sizeof(text),
			 GREETING "S 250-x\nS 250 PIPELINING\nE ready\nhold\nbegin\n" MAIL RCPT
				  "C DATA\nS 250 ok\nS 250 ok\nS 354 go\n%sskip\n%s",
			 body, tail);
		script_run(&(struct script){.text = text, .make = large, .check = check});
		strcpy(body, "room 5000\n");
	}
}

static void c7_421_in_the_body_defers(void **state)
{
	run_in_body("S 421 4.3.2 shutting down\nE done\nE failed\n-\n", deferred_by_421);
}

static void c7_refusal_in_the_body_is_final_and_ends_the_session(void **state)
{
	run_in_body("S 552 5.3.4 too big\nE done\nE failed\n-\n", bounced_in_body);
}

static void c7_success_before_the_dot_is_no_success(void **state)
{
	run_in_body("S 250 thank you\nE done\nE failed\n-\n", desync_at_body);
	/* With the 354, in one piece: the body is small and would be out otherwise. */
	script_run(&(struct script){
		.text = PIPE MAIL RCPT
		"C DATA\nS 250 ok\nS 250 ok\nS 354 go\nS 250 ok\nE done\nE failed\n-\n",
		.make = one,
		.whole_only = true,
		.check = desync_at_body,
	});
}

static void c7_success_before_the_dot_was_acknowledged_is_no_success(void **state)
{
	script_run(&(struct script){
		.text = TO_BODY BODY_C "C .\n-\nunacked 3\nS 250 ok\nE done\nE failed\n-\n",
		.make = one,
		.check = desync_at_dot,
	});
}

static void c7_lost_after_the_dot_may_be_a_duplicate(void **state)
{
	script_run(&(struct script){
		.text = TO_BODY BODY_C "C .\n-\nlost\nE done\nE failed\n-\n",
		.make = one,
		.check = lost_at_dot,
	});
	script_run(&(struct script){
		.text = TO_BODY BODY_C "C .\n-\nS* 25\nlost\nE done\nE failed\n-\n",
		.make = one,
		.check = lost_at_dot,
	});
}

CHECK(next_lost_at_mail_doubtful)
{
	assert_recipient(next, 0, OUTCOME_DEFERRED, PHASE_MAIL, 0, "4.4.2");
	assert_true(next->possible_duplicate);
	assert_false(client->failure.restart);
}

static void c7_all_in_one_flight_and_lost_may_be_a_duplicate(void **state)
{
	script_run(&(struct script){
		.text = CHUNK DELIVERED "next\n" MAIL RCPT "C BDAT 21 LAST\n" BODY_C
					"-\nlost\nE done\nE failed\n",
		.make = one,
		.make_next = one,
		.check = next_lost_at_mail_doubtful,
	});
}

static void lost_before_the_end_of_the_body_is_no_duplicate(void **state)
{
	script_run(&(struct script){.text = PLAIN MAIL "lost\nE done\nE failed\n-\n",
				    .make = one,
				    .check = lost_at_mail});
	run_in_body("lost\nE done\nE failed\n-\n", lost_at_body);
}

CHECK(dot_421)
{
	assert_recipient(delivery, 0, OUTCOME_DEFERRED, PHASE_DOT, 421, "");
	assert_false(delivery->possible_duplicate);
}

static void rfc5321_3_8_421_at_any_time(void **state)
{
	static const char *const places[] = {
		PLAIN MAIL,
		PLAIN MAIL "S 250 ok\n" RCPT,
		PLAIN MAIL "S 250 ok\n" RCPT "S 250 ok\nC DATA\n",
		PIPE MAIL RCPT "C DATA\n",
		PIPE MAIL RCPT "C DATA\nS 250 ok\n",
		TO_BODY BODY_C "C .\n",
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char text[512];

		snprintf(text, sizeof(text), "%sS 421 bye\nE done\nE failed\n-\n", places[i]);
		script_run(&(struct script){
			.text = text, .make = one, .check = i == 5 ? dot_421 : NULL});
	}
}

CHECK(some_decided_before_421)
{
	assert_recipient(delivery, 0, OUTCOME_DEFERRED, PHASE_RCPT, 421, "");
	assert_recipient(delivery, 1, OUTCOME_BOUNCED, PHASE_RCPT, 550, "");
	assert_recipient(delivery, 2, OUTCOME_DEFERRED, PHASE_RCPT, 421, "");
}

static void verdicts_before_a_421_stand(void **state)
{
	script_run(&(struct script){
		.text = PIPE MAIL RCPT
		"C RCPT TO:<a1@example.org>\nC RCPT TO:<a2@example.org>\nC DATA\nS 250 ok\nS 250 ok\nS 550 no\nS 421 bye\n"
		"E done\nE failed\n-\n",
		.make = three,
		.check = some_decided_before_421,
	});
}

/* ---- A connection that went stale ---- */

CHECK(next_untouched)
{
	assert_true(client->failure.restart);
	assert_recipient(next, 0, OUTCOME_NONE, PHASE_ROUTE, 0, "");
	assert_false(next->possible_duplicate);
}

static void stale_connection_leaves_the_delivery_untouched(void **state)
{
	script_run(&(struct script){
		.text = CHUNK DELIVERED "wait 20\nnext\n" MAIL RCPT "lost\nE failed\n-\n",
		.make = one,
		.make_next = one,
		.check = next_untouched,
	});
	script_run(&(struct script){
		.text = CHUNK DELIVERED "wait 20\nnext\n" MAIL RCPT
					"S 421 idle too long\nE failed\n-\n",
		.make = one,
		.make_next = one,
		.check = next_untouched,
	});
}

static void refused_rset_leaves_the_delivery_untouched(void **state)
{
	script_run(&(struct script){
		.text = PLAIN MAIL
		"S 250 ok\n" RCPT
		"S 550 no\nE done\nE ready\nnext\nC RSET\nS 500 what\nE failed\n-\n",
		.make = one,
		.make_next = one,
		.check = next_untouched,
	});
}

/* ---- Deadlines (RFC 5321, 4.5.3.2; C9) ---- */

static void every_step_has_a_deadline(void **state)
{
	script_run(&(struct script){.text = PLAIN MAIL "timeout\nE done\nE failed\n-\n",
				    .make = one,
				    .check = timeout_at_mail});
	script_run(&(struct script){.text = PLAIN MAIL "S 250 ok\n" RCPT
						       "timeout\nE done\nE failed\n-\n",
				    .make = one,
				    .check = timeout_at_rcpt});
	script_run(&(struct script){.text = PLAIN MAIL
				    "S 250 ok\n" RCPT
				    "S 250 ok\nC DATA\ntimeout\nE done\nE failed\n-\n",
				    .make = one,
				    .check = timeout_at_data});
	run_in_body("timeout\nE done\nE failed\n-\n", timeout_at_body);
	script_run(&(struct script){.text = TO_BODY BODY_C "C .\ntimeout\nE done\nE failed\n-\n",
				    .make = one,
				    .check = timeout_at_dot});
}

static void c9_body_that_crawls_is_given_up(void **state)
{
	char text[8192] = GREETING "S 250-x\nS 250 PIPELINING\nE ready\nhold\nbegin\n" MAIL RCPT
				   "C DATA\nS 250 ok\nS 250 ok\nS 354 go\n";

	/* 100 octets in 170 s: each wait is within its deadline, the whole is not. */
	for (int i = 0; i < 4; i++)
		strcat(text, "wait 170\nroom 100\n");
	strcat(text, "skip\nE done\nE failed\n");
	script_run(&(struct script){.text = text, .make = large, .check = timeout_at_body});
}

/* ---- What must never go out ---- */

static struct delivery *bare(const char *body)
{
	return delivery_make(1, body);
}

static const char *bare_body;

static struct delivery *make_bare(void)
{
	return bare(bare_body);
}

CHECK(bounced_bare)
{
	assert_int_equal(client->failure.kind, CLIENT_FAILURE_BODY);
	assert_recipient(delivery, 0, OUTCOME_BOUNCED, PHASE_BODY, 0, "5.6.0");
}

static void bare_cr_and_lf_never_leave(void **state)
{
	static const char *const bodies[] = {
		"\nx\r\n",
		"x\n.\n",
		"x\n.\r\n",
		"x\r\n.\n",
		"x\r.\r\n",
		"x\r\r\n.\r\n",
		"x\n\r\n.\r\n",
		"x\r\n\r.",
		"x\r\n.\r\r\n",
		"0123456789abcdef\n",
		"0123456789abcde\rx",
		"x\r",
	};

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		bare_body = bodies[i];
		script_run(&(struct script){
			.text = PIPE MAIL RCPT
			"C DATA\nS 250 ok\nS 250 ok\nS 354 go\nE done\nE failed\nskip\n",
			.make = make_bare,
			.check = bounced_bare,
		});
		script_run(&(struct script){
			.text = CHUNK MAIL RCPT "S 250 ok\nS 250 ok\nE done\nE failed\nskip\n",
			.make = make_bare,
			.check = bounced_bare,
		});
	}
}

static struct delivery *make_short(void)
{
	struct delivery *delivery = delivery_make(1, BODY);

	delivery->body_size++;
	return delivery;
}

CHECK(deferred_short)
{
	assert_int_equal(client->failure.kind, CLIENT_FAILURE_OURS);
	assert_false(client->failure.restart);
	assert_recipient(delivery, 0, OUTCOME_DEFERRED, PHASE_BODY, 0, "4.3.0");
	assert_false(delivery->possible_duplicate);
}

static void a_body_that_is_not_whole_is_deferred_and_never_ended(void **state)
{
	script_run(&(struct script){
		.text = PIPE MAIL RCPT "C DATA\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
				       "-\nE done\nE failed\n-\n",
		.make = make_short,
		.check = deferred_short,
	});
	script_run(&(struct script){
		.text = CHUNK MAIL RCPT "S 250 ok\nS 250 ok\nC BDAT 22 LAST\n" BODY_C
					"-\nE done\nE failed\n-\n",
		.make = make_short,
		.check = deferred_short,
	});
}

static const char *evil_address;

static struct delivery *make_evil(void)
{
	struct delivery *delivery = delivery_make(2, BODY);

	free((char *)delivery->recipients[0].address);
	delivery->recipients[0].address = strdup(evil_address);
	return delivery;
}

CHECK(evil_refused)
{
	assert_recipient(delivery, 0, OUTCOME_BOUNCED, PHASE_MAIL, 0, "5.1.3");
	assert_recipient(delivery, 1, OUTCOME_DELIVERED, PHASE_DOT, 250, "");
}

static void addresses_cannot_carry_commands(void **state)
{
	static const char *const addresses[] = {
		"a@b>\r\nRSET\r\n", "a@b\r", "a@b\n", "a b@c", "a@b>", "<a@b", "\"a@b", "",
		"\"\x01\"@b",
	};

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		evil_address = addresses[i];
		script_run(&(struct script){
			.text = PIPE MAIL
			"C RCPT TO:<a1@example.org>\nC DATA\n-\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
			"C .\nS 250 ok\nE done\nE ready\n",
			.make = make_evil,
			.check = evil_refused,
		});
	}
}

static struct delivery *quoted(void)
{
	struct delivery *delivery = delivery_make(1, BODY);

	free((char *)delivery->recipients[0].address);
	delivery->recipients[0].address = strdup("\"a> <\\\" b\"@example.org");
	return delivery;
}

static void quoted_local_parts_go_out_as_they_are(void **state)
{
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<\"a> <\\\" b\"@example.org>\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 250 ok\nE done\nE ready\n",
		.make = quoted,
	});
}

CHECK(softened)
{
	assert_recipient(delivery, 0, OUTCOME_DEFERRED, PHASE_MAIL, 0, "4.7.5");
}

static void must_starttls_after_a_broken_handshake_is_no_verdict(void **state)
{
	script_run(&(struct script){
		.text = GREETING "S 250-x\nS 250 STARTTLS\nE ready\nbegin\n" MAIL
				 "S 530 5.7.0 Must issue STARTTLS\nE done\nE ready\n-\n",
		.tls = TLS_LEVEL_MAY,
		.avoid_tls = true,
		.make = one,
		.check = softened,
	});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(c3_fewer_replies_than_commands_time_out),
		cmocka_unit_test(c3_extra_reply_to_a_pipelined_command_ends_the_session),
		cmocka_unit_test(c3_extra_reply_to_a_single_command_ends_the_session),
		cmocka_unit_test(c3_reply_behind_the_final_reply_makes_it_doubtful),
		cmocka_unit_test(c3_reply_to_an_idle_session_ends_it),
		cmocka_unit_test(refusal_with_421_behind_it_keeps_its_verdict),
		cmocka_unit_test(success_with_421_behind_it_is_a_success),
		cmocka_unit_test(c3_421_behind_an_envelope_reply_is_heard_as_421),
		cmocka_unit_test(c3_half_a_reply_before_mail_begins_again_elsewhere),
		cmocka_unit_test(intermediate_replies_where_none_belong),
		cmocka_unit_test(c2_garbage_in_a_transaction_defers),
		cmocka_unit_test(c6_chunking_offered_but_bdat_unknown_begins_again_without),
		cmocka_unit_test(beginning_again_takes_verdicts_back),
		cmocka_unit_test(after_rset_the_body_waits_for_the_replies),
		cmocka_unit_test(bdat_body_sent_for_nobody_is_only_answered),
		cmocka_unit_test(c7_421_in_the_body_defers),
		cmocka_unit_test(c7_refusal_in_the_body_is_final_and_ends_the_session),
		cmocka_unit_test(c7_success_before_the_dot_is_no_success),
		cmocka_unit_test(c7_success_before_the_dot_was_acknowledged_is_no_success),
		cmocka_unit_test(c7_lost_after_the_dot_may_be_a_duplicate),
		cmocka_unit_test(c7_all_in_one_flight_and_lost_may_be_a_duplicate),
		cmocka_unit_test(lost_before_the_end_of_the_body_is_no_duplicate),
		cmocka_unit_test(rfc5321_3_8_421_at_any_time),
		cmocka_unit_test(verdicts_before_a_421_stand),
		cmocka_unit_test(stale_connection_leaves_the_delivery_untouched),
		cmocka_unit_test(refused_rset_leaves_the_delivery_untouched),
		cmocka_unit_test(every_step_has_a_deadline),
		cmocka_unit_test(c9_body_that_crawls_is_given_up),
		cmocka_unit_test(bare_cr_and_lf_never_leave),
		cmocka_unit_test(a_body_that_is_not_whole_is_deferred_and_never_ended),
		cmocka_unit_test(addresses_cannot_carry_commands),
		cmocka_unit_test(quoted_local_parts_go_out_as_they_are),
		cmocka_unit_test(must_starttls_after_a_broken_handshake_is_no_verdict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
