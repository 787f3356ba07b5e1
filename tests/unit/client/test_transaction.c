/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The SMTP client's transactions with honest servers: RFC 5321, 1870, 2920, 3030, 3461, 6152, 6531,
 * 9422; row C8. */
#include "tests/unit/client/script.h"

#include "drivers/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GREETING "S 220 x\nC EHLO out.example.net\n"
#define PLAIN	 GREETING "S 250 x\nE ready\nbegin\n"
#define PIPE	 GREETING "S 250-x\nS 250 PIPELINING\nE ready\nbegin\n"
#define MAIL	 "C MAIL FROM:<sender@example.com>\n"
#define BODY	 "Subject: x\r\n\r\nhello\r\n"
#define BODY_C	 "C Subject: x\nC \nC hello\n"

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

CHECK(one_delivered)
{
	assert_recipient(delivery, 0, OUTCOME_DELIVERED, PHASE_DOT, 250, "2.0.0");
	assert_true(delivery->recipients[0].remote);
	assert_string_equal(delivery->recipients[0].reply, "queued as 1");
	assert_false(delivery->possible_duplicate);
}

static void plain_message_step_by_step(void **state)
{
	script_run(&(struct script){
		.text = PLAIN MAIL
		"-\nS 250 ok\nC RCPT TO:<a0@example.org>\n-\nS 250 ok\nC DATA\n-\n"
		"S 354 go\n" BODY_C "C .\n-\nS 250 2.0.0 queued as 1\nE done\nE ready\n-\n",
		.make = one,
		.check = one_delivered,
	});
}

static void pipelined_message(void **state)
{
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC DATA\n-\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\n-\nS 250 2.0.0 queued as 1\nE done\nE ready\n-\n",
		.make = one,
		.check = one_delivered,
	});
}

static void pipelining_is_not_used_when_it_must_not(void **state)
{
	const char *text = PIPE MAIL
		"-\nS 250 ok\nC RCPT TO:<a0@example.org>\n-\nS 250 ok\nC DATA\n-\nS 354 go\n" BODY_C
		"C .\n-\nS 250 2.0.0 queued as 1\nE done\nE ready\n";

	script_run(&(struct script){
		.text = text, .make = one, .no_pipelining = true, .check = one_delivered});
	script_run(&(struct script){
		.text = text, .make = one, .avoid_pipelining = true, .check = one_delivered});
}

static void chunking_waits_for_the_recipients_of_the_first_message(void **state)
{
	const char *text = GREETING
		"S 250-x\nS 250-PIPELINING\nS 250 CHUNKING\nE ready\nbegin\n" MAIL
		"C RCPT TO:<a0@example.org>\n-\nS 250 ok\nS 250 ok\nC BDAT 21 LAST\n" BODY_C
		"-\nS 250 2.0.0 queued as 1\nE done\nE ready\n";

	script_run(&(struct script){.text = text, .make = one, .check = one_delivered});
}

static void chunking_is_not_used_when_it_must_not(void **state)
{
	const char *text =
		GREETING "S 250-x\nS 250 CHUNKING\nE ready\nbegin\n" MAIL
			 "S 250 ok\nC RCPT TO:<a0@example.org>\nS 250 ok\nC DATA\nS 354 go\n" BODY_C
			 "C .\nS 250 2.0.0 queued as 1\nE done\nE ready\n";

	script_run(&(struct script){
		.text = text, .make = one, .no_chunking = true, .check = one_delivered});
	script_run(&(struct script){
		.text = text, .make = one, .avoid_chunking = true, .check = one_delivered});
}

CHECK(both_delivered)
{
	assert_recipient(delivery, 0, OUTCOME_DELIVERED, PHASE_DOT, 250, "");
	assert_recipient(next, 0, OUTCOME_DELIVERED, PHASE_DOT, 250, "");
	assert_int_equal(client->transactions, 2);
}

static void second_message_follows_without_rset_and_in_one_flight(void **state)
{
	script_run(&(struct script){
		.text = GREETING
		"S 250-x\nS 250-PIPELINING\nS 250 CHUNKING\nE ready\nbegin\n" MAIL
		"C RCPT TO:<a0@example.org>\nS 250 ok\nS 250 ok\nC BDAT 21 LAST\n" BODY_C
		"S 250 ok\nE done\nE ready\nnext\n" MAIL
		"C RCPT TO:<a0@example.org>\nC BDAT 21 LAST\n" BODY_C
		"-\nS 250 ok\nS 250 ok\nS 250 ok\nE done\nE ready\n",
		.make = one,
		.make_next = one,
		.check = both_delivered,
	});
	/* After a silence the connection may be gone: not in one flight. */
	script_run(&(struct script){
		.text = GREETING
		"S 250-x\nS 250-PIPELINING\nS 250 CHUNKING\nE ready\nbegin\n" MAIL
		"C RCPT TO:<a0@example.org>\nS 250 ok\nS 250 ok\nC BDAT 21 LAST\n" BODY_C
		"S 250 ok\nE done\nE ready\nwait 10\nnext\n" MAIL
		"C RCPT TO:<a0@example.org>\n-\nS 250 ok\nS 250 ok\nC BDAT 21 LAST\n" BODY_C
		"S 250 ok\nE done\nE ready\n",
		.make = one,
		.make_next = one,
		.check = both_delivered,
	});
}

static struct delivery *dots(void)
{
	return delivery_make(
		1, ".\r\n..\r\na.b\r\n\r\n.x\r\n...\r\nlonger line with . dots .\r\n.\r\n");
}

static void rfc5321_4_5_2_dots_are_stuffed_for_data(void **state)
{
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\n"
		"C ..\nC ...\nC a.b\nC \nC ..x\nC ....\nC longer line with . dots .\nC ..\nC .\n-\n"
		"S 250 ok\nE done\nE ready\n",
		.make = dots,
	});
}

static void rfc3030_dots_are_left_alone_for_bdat(void **state)
{
	script_run(&(struct script){
		.text = GREETING
		"S 250-x\nS 250 CHUNKING\nE ready\nbegin\n" MAIL
		"S 250 ok\nC RCPT TO:<a0@example.org>\nS 250 ok\nC BDAT 53 LAST\n"
		"C .\nC ..\nC a.b\nC \nC .x\nC ...\nC longer line with . dots .\nC .\n-\n"
		"S 250 ok\nE done\nE ready\n",
		.make = dots,
	});
}

static struct delivery *torn(void)
{
	return delivery_make(1, "no end of line");
}

static void body_without_last_crlf_gets_one(void **state)
{
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\n"
		"C no end of line\nC .\n-\nS 250 ok\nE done\nE ready\n",
		.make = torn,
	});
}

/* ---- Recipients ---- */

CHECK(partly_accepted)
{
	assert_recipient(delivery, 0, OUTCOME_DELIVERED, PHASE_DOT, 250, "");
	assert_recipient(delivery, 1, OUTCOME_BOUNCED, PHASE_RCPT, 550, "5.1.1");
	assert_recipient(delivery, 2, OUTCOME_DEFERRED, PHASE_RCPT, 450, "4.2.0");
	assert_false(client->needs_reset);
}

static void each_recipient_gets_its_own_outcome(void **state)
{
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC RCPT TO:<a1@example.org>\nC RCPT TO:<a2@example.org>\n"
		"C DATA\n-\nS 250 ok\nS 250 ok\nS 550 5.1.1 who\nS 450 4.2.0 grey\nS 354 go\n" BODY_C
		"C .\nS 250 ok\nE done\nE ready\n",
		.make = three,
		.check = partly_accepted,
	});
	script_run(&(struct script){
		.text = PLAIN MAIL
		"S 250 ok\nC RCPT TO:<a0@example.org>\nS 250 ok\nC RCPT TO:<a1@example.org>\n"
		"S 550 5.1.1 who\nC RCPT TO:<a2@example.org>\nS 450 4.2.0 grey\nC DATA\nS 354 go\n" BODY_C
		"C .\nS 250 ok\nE done\nE ready\n",
		.make = three,
		.check = partly_accepted,
	});
}

CHECK(all_refused)
{
	for (uint32_t i = 0; i < 3; i++)
		assert_recipient(delivery, i, OUTCOME_BOUNCED, PHASE_RCPT, 550, "5.1.1");
	assert_recipient(next, 0, OUTCOME_DELIVERED, PHASE_DOT, 250, "");
}

static void no_recipient_left_ends_without_body_and_rset_comes_first_next_time(void **state)
{
	/* Step by step: DATA is never sent. */
	script_run(&(struct script){
		.text = PLAIN MAIL
		"S 250 ok\nC RCPT TO:<a0@example.org>\nS 550 5.1.1 x\nC RCPT TO:<a1@example.org>\nS 550 5.1.1 x\n"
		"C RCPT TO:<a2@example.org>\nS 550 5.1.1 x\nE done\nE ready\n-\nnext\nC RSET\n-\nS 250 ok\n" MAIL
		"S 250 ok\nC RCPT TO:<a0@example.org>\nS 250 ok\nC DATA\nS 354 go\n" BODY_C
		"C .\nS 250 ok\nE done\nE ready\n",
		.make = three,
		.make_next = one,
		.check = all_refused,
	});
	/* Pipelined: DATA is refused too. */
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC RCPT TO:<a1@example.org>\nC RCPT TO:<a2@example.org>\nC DATA\n-\n"
		"S 250 ok\nS 550 5.1.1 x\nS 550 5.1.1 x\nS 550 5.1.1 x\nS 503 no recipients\nE done\nE ready\n-\n"
		"next\nC RSET\n" MAIL
		"C RCPT TO:<a0@example.org>\nC DATA\n-\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 250 ok\nE done\nE ready\n",
		.make = three,
		.make_next = one,
		.check = all_refused,
	});
	/* RFC 2920, 3.1: DATA is accepted all the same; only the dot is sent. */
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC RCPT TO:<a1@example.org>\nC RCPT TO:<a2@example.org>\nC DATA\n-\n"
		"S 250 ok\nS 550 5.1.1 x\nS 550 5.1.1 x\nS 550 5.1.1 x\nS 354 go\nC .\n-\nS 554 no recipients\nE done\nE ready\n"
		"next\nC RSET\n" MAIL
		"C RCPT TO:<a0@example.org>\nC DATA\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 250 ok\nE done\nE ready\n",
		.make = three,
		.make_next = one,
		.check = all_refused,
	});
}

CHECK(mail_refused)
{
	for (uint32_t i = 0; i < 3; i++)
		assert_recipient(delivery, i, OUTCOME_BOUNCED, PHASE_MAIL, 550, "5.7.1");
	assert_false(client->needs_reset);
}

static void refused_mail_decides_all_recipients(void **state)
{
	script_run(&(struct script){
		.text = PLAIN MAIL "S 550 5.7.1 no\nE done\nE ready\n-\n",
		.make = three,
		.check = mail_refused,
	});
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC RCPT TO:<a1@example.org>\nC RCPT TO:<a2@example.org>\nC DATA\n-\n"
		"S 550 5.7.1 no\nS 503 x\nS 503 x\nS 503 x\nS 503 x\nE done\nE ready\n-\n",
		.make = three,
		.check = mail_refused,
	});
}

CHECK(data_refused)
{
	assert_recipient(delivery, 0, OUTCOME_DEFERRED, PHASE_DATA, 451, "4.3.0");
	assert_true(client->needs_reset);
}

static void refused_data_decides_the_accepted(void **state)
{
	script_run(&(struct script){
		.text = PLAIN MAIL
		"S 250 ok\nC RCPT TO:<a0@example.org>\nS 250 ok\nC DATA\nS 451 4.3.0 no\nE done\nE ready\n-\n",
		.make = one,
		.check = data_refused,
	});
}

CHECK(dot_refused)
{
	for (uint32_t i = 0; i < 3; i++)
		assert_recipient(delivery, i, OUTCOME_BOUNCED, PHASE_DOT, 554, "5.6.0");
	assert_true(client->needs_reset);
}

static void refused_message_decides_the_accepted(void **state)
{
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC RCPT TO:<a1@example.org>\nC RCPT TO:<a2@example.org>\nC DATA\n"
		"S 250 ok\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 554 5.6.0 spam\nE done\nE ready\n-\n",
		.make = three,
		.check = dot_refused,
	});
}

/* ---- C8 ---- */

CHECK(split_after_one)
{
	assert_recipient(delivery, 0, OUTCOME_DELIVERED, PHASE_DOT, 250, "");
	assert_recipient(delivery, 1, OUTCOME_DEFERRED, PHASE_RCPT, 452, "4.5.3");
	assert_recipient(delivery, 2, OUTCOME_DEFERRED, PHASE_RCPT, 452, "4.5.3");
	assert_int_equal(client->recipients_learned, 1);
}

static void c8_too_many_recipients_are_deferred_and_the_limit_learned(void **state)
{
	static const char *const replies[] = {"452 4.5.3 too many", "452 too many", "552 too many",
					      "552 5.5.3 too many"};

	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		char text[1024];

		snprintf(
			text, sizeof(text),
			PIPE MAIL
			"C RCPT TO:<a0@example.org>\nC RCPT TO:<a1@example.org>\nC RCPT TO:<a2@example.org>\nC DATA\n"
			"S 250 ok\nS 250 ok\nS %s\nS %s\nS 354 go\n" BODY_C
			"C .\nS 250 ok\nE done\nE ready\n",
			replies[i], replies[i]);
		script_run(&(struct script){.text = text, .make = three, .check = split_after_one});
	}
}

CHECK(full_mailbox)
{
	assert_recipient(delivery, 0, OUTCOME_DELIVERED, PHASE_DOT, 250, "");
	assert_recipient(delivery, 1, OUTCOME_DEFERRED, PHASE_RCPT, 452, "4.2.2");
	assert_recipient(delivery, 2, OUTCOME_BOUNCED, PHASE_RCPT, 552, "5.2.2");
	assert_int_equal(client->recipients_learned, 0);
}

static void c8_full_mailboxes_teach_nothing(void **state)
{
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC RCPT TO:<a1@example.org>\nC RCPT TO:<a2@example.org>\nC DATA\n"
		"S 250 ok\nS 250 ok\nS 452 4.2.2 full\nS 552 5.2.2 full\nS 354 go\n" BODY_C
		"C .\nS 250 ok\nE done\nE ready\n",
		.make = three,
		.check = full_mailbox,
	});
}

CHECK(split_by_us)
{
	assert_recipient(delivery, 0, OUTCOME_DELIVERED, PHASE_DOT, 250, "");
	assert_recipient(delivery, 1, OUTCOME_DELIVERED, PHASE_DOT, 250, "");
	assert_recipient(delivery, 2, OUTCOME_DEFERRED, PHASE_RCPT, 452, "4.5.3");
	assert_false(delivery->recipients[2].remote);
}

static void c8_stated_and_learned_limits_are_kept(void **state)
{
	script_run(&(struct script){
		.text = GREETING
		"S 250-x\nS 250-LIMITS RCPTMAX=2\nS 250 PIPELINING\nE ready\nbegin\n" MAIL
		"C RCPT TO:<a0@example.org>\nC RCPT TO:<a1@example.org>\nC DATA\n-\n"
		"S 250 ok\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 250 ok\nE done\nE ready\n",
		.make = three,
		.check = split_by_us,
	});
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC RCPT TO:<a1@example.org>\nC DATA\n-\n"
		"S 250 ok\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 250 ok\nE done\nE ready\n",
		.make = three,
		.recipients_learned = 2,
		.check = split_by_us,
	});
}

CHECK(all_reneged)
{
	for (uint32_t i = 0; i < 3; i++)
		assert_recipient(delivery, i, OUTCOME_DEFERRED, PHASE_DOT, 452, "");
}

static void c8_what_was_accepted_may_be_refused_after_all(void **state)
{
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC RCPT TO:<a1@example.org>\nC RCPT TO:<a2@example.org>\nC DATA\n"
		"S 250 ok\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 452 full after all\nE done\nE ready\n",
		.make = three,
		.check = all_reneged,
	});
}

static struct delivery *many(void)
{
	return delivery_make(1000, BODY);
}

CHECK(many_delivered)
{
	for (uint32_t i = 0; i < 1000; i++)
		assert_recipient(delivery, i, OUTCOME_DELIVERED, PHASE_DOT, 250, "");
}

static void many_recipients_go_out_as_room_allows(void **state)
{
	char *text = calloc(1, 100000);
	size_t used;

	assert_non_null(text);
	used = (size_t)sprintf(text, "%s", PIPE MAIL);
	for (unsigned i = 0; i < 1000; i++)
		used += (size_t)sprintf(text + used, "C RCPT TO:<a%u@example.org>\n", i);
	used += (size_t)sprintf(text + used, "C DATA\n-\n");
	for (unsigned i = 0; i < 1001; i++)
		used += (size_t)sprintf(text + used, "S 250 ok\n");
	sprintf(text + used, "S 354 go\n" BODY_C "C .\n-\nS 250 ok\nE done\nE ready\n");
	script_run(&(struct script){.text = text, .make = many, .check = many_delivered});
	free(text);
}

CHECK(many_refused)
{
	for (uint32_t i = 0; i < 1000; i++)
		assert_recipient(delivery, i, OUTCOME_BOUNCED, PHASE_MAIL, 550, "");
}

static void refused_mail_stops_the_rest_from_being_sent(void **state)
{
	char *text = calloc(1, 100000);
	size_t used;

	assert_non_null(text);
	/* Room for the first 95 recipients; the others wait for it when MAIL is refused. */
	used = (size_t)sprintf(text, "%s",
			       GREETING "S 250-x\nS 250 PIPELINING\nE ready\nhold\nbegin\n" MAIL);
	for (unsigned i = 0; i < 95; i++)
		used += (size_t)sprintf(text + used, "C RCPT TO:<a%u@example.org>\n", i);
	used += (size_t)sprintf(text + used, "-\nS 550 no\n");
	for (unsigned i = 0; i < 95; i++)
		used += (size_t)sprintf(text + used, "S 503 no\n");
	sprintf(text + used, "E done\nE ready\n-\n");
	script_run(&(struct script){.text = text, .make = many, .check = many_refused});
	free(text);
}

/* ---- Extensions ---- */

static struct delivery *with_dsn(void)
{
	struct delivery *delivery = delivery_make(3, BODY);

	delivery->flags = MESSAGE_RET_HDRS;
	delivery->envid = "QQ+2B1";
	delivery->recipients[0].notify = DSN_NOTIFY_SUCCESS | DSN_NOTIFY_DELAY;
	delivery->recipients[0].orcpt = "rfc822;a+40b";
	delivery->recipients[1].notify = DSN_NOTIFY_NEVER;
	return delivery;
}

static void rfc3461_parameters_go_on_when_dsn_is_offered(void **state)
{
	script_run(&(struct script){
		.text = GREETING
		"S 250-x\nS 250-DSN\nS 250-SIZE\nS 250 PIPELINING\nE ready\nbegin\n"
		"C MAIL FROM:<sender@example.com> SIZE=21 RET=HDRS ENVID=QQ+2B1\n"
		"C RCPT TO:<a0@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b\n"
		"C RCPT TO:<a1@example.org> NOTIFY=NEVER\nC RCPT TO:<a2@example.org>\nC DATA\n-\n"
		"S 250 ok\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 250 ok\nE done\nE ready\n",
		.make = with_dsn,
	});
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC RCPT TO:<a1@example.org>\nC RCPT TO:<a2@example.org>\nC DATA\n-\n"
		"S 250 ok\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 250 ok\nE done\nE ready\n",
		.make = with_dsn,
	});
}

static struct delivery *with_utf8_orcpt(void)
{
	struct delivery *delivery = delivery_make(1, BODY);

	delivery->flags = MESSAGE_SMTPUTF8;
	delivery->recipients[0].orcpt = "utf-8;j\xc3\xbcrgen@example.org";
	return delivery;
}

static void rfc6533_orcpt_is_utf8_only_where_smtputf8_is_taken(void **state)
{
	script_run(&(struct script){
		.text = GREETING
		"S 250-x\nS 250-DSN\nS 250 PIPELINING\nE ready\nbegin\n" MAIL
		"C RCPT TO:<a0@example.org> ORCPT=utf-8;j\\x{FC}rgen@example.org\nC DATA\n-\n"
		"S 250 ok\nS 250 ok\nS 354 go\n" BODY_C "C .\nS 250 ok\nE done\nE ready\n",
		.make = with_utf8_orcpt,
	});
	script_run(&(struct script){
		.text = GREETING
		"S 250-x\nS 250-DSN\nS 250-SMTPUTF8\nS 250 PIPELINING\nE ready\nbegin\n"
		"C MAIL FROM:<sender@example.com> SMTPUTF8\n"
		"C RCPT TO:<a0@example.org> ORCPT=utf-8;j\xc3\xbcrgen@example.org\nC DATA\n-\n"
		"S 250 ok\nS 250 ok\nS 354 go\n" BODY_C "C .\nS 250 ok\nE done\nE ready\n",
		.make = with_utf8_orcpt,
	});
}

static struct delivery *with_bad_xtext(void)
{
	struct delivery *delivery = delivery_make(1, BODY);

	delivery->envid = "a\r\nRSET";
	delivery->recipients[0].orcpt = "rfc822;a b";
	return delivery;
}

static void what_is_no_xtext_is_left_out(void **state)
{
	script_run(&(struct script){
		.text = GREETING
		"S 250-x\nS 250-DSN\nS 250 PIPELINING\nE ready\nbegin\n" MAIL
		"C RCPT TO:<a0@example.org>\nC DATA\n-\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 250 ok\nE done\nE ready\n",
		.make = with_bad_xtext,
	});
}

CHECK(too_big)
{
	for (uint32_t i = 0; i < 3; i++)
		assert_recipient(delivery, i, OUTCOME_BOUNCED, PHASE_MAIL, 552, "5.3.4");
	assert_false(delivery->recipients[0].remote);
}

static void rfc1870_too_large_for_the_peer_is_not_tried(void **state)
{
	script_run(&(struct script){
		.text = GREETING "S 250-x\nS 250 SIZE 20\nE ready\nbegin\n-\nE done\nE ready\n",
		.make = three,
		.check = too_big,
	});
}

static void rfc1870_zero_means_no_limit(void **state)
{
	script_run(&(struct script){
		.text = GREETING
		"S 250-x\nS 250 SIZE 0\nE ready\nbegin\nC MAIL FROM:<sender@example.com> SIZE=21\n"
		"S 250 ok\nC RCPT TO:<a0@example.org>\nS 250 ok\nC DATA\nS 354 go\n" BODY_C
		"C .\nS 250 2.0.0 queued as 1\nE done\nE ready\n",
		.make = one,
		.check = one_delivered,
	});
}

static struct delivery *eightbit(void)
{
	struct delivery *delivery =
		delivery_make(1, "Subject: x\r\n\r\ngr\xc3\xbc\xc3\x9f\x65\r\n");

	delivery->flags = MESSAGE_8BITMIME | MESSAGE_BODY_8BIT;
	return delivery;
}

CHECK(no_8bit)
{
	assert_recipient(delivery, 0, OUTCOME_BOUNCED, PHASE_MAIL, 0, "5.6.3");
}

static void rfc6152_8bit_goes_only_where_it_is_taken(void **state)
{
	script_run(&(struct script){
		.text = GREETING
		"S 250-x\nS 250-8BITMIME\nS 250 PIPELINING\nE ready\nbegin\n"
		"C MAIL FROM:<sender@example.com> BODY=8BITMIME\nC RCPT TO:<a0@example.org>\nC DATA\n"
		"S 250 ok\nS 250 ok\nS 354 go\nC Subject: x\nC \nC gr\xc3\xbc\xc3\x9f\x65\nC .\n"
		"S 250 ok\nE done\nE ready\n",
		.make = eightbit,
	});
	script_run(&(struct script){
		.text = PIPE "-\nE done\nE ready\n", .make = eightbit, .check = no_8bit});
}

static struct delivery *declared_8bit(void)
{
	struct delivery *delivery = delivery_make(1, BODY);

	delivery->flags = MESSAGE_8BITMIME;
	return delivery;
}

static void rfc6152_declared_but_7bit_goes_everywhere(void **state)
{
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 250 2.0.0 queued as 1\nE done\nE ready\n",
		.make = declared_8bit,
		.check = one_delivered,
	});
}

static struct delivery *utf8_recipient(void)
{
	struct delivery *delivery = delivery_make(2, BODY);

	delivery->flags = MESSAGE_SMTPUTF8;
	free((char *)delivery->recipients[1].address);
	delivery->recipients[1].address = strdup("\xc3\xbc@example.org");
	return delivery;
}

CHECK(only_ascii_delivered)
{
	assert_recipient(delivery, 0, OUTCOME_DELIVERED, PHASE_DOT, 250, "");
	assert_recipient(delivery, 1, OUTCOME_BOUNCED, PHASE_MAIL, 0, "5.6.7");
}

static void rfc6531_addresses_that_need_smtputf8(void **state)
{
	script_run(&(struct script){
		.text = GREETING
		"S 250-x\nS 250-8BITMIME\nS 250-SMTPUTF8\nS 250 PIPELINING\nE ready\nbegin\n"
		"C MAIL FROM:<sender@example.com> SMTPUTF8\nC RCPT TO:<a0@example.org>\n"
		"C RCPT TO:<\xc3\xbc@example.org>\nC DATA\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 250 ok\nE done\nE ready\n",
		.make = utf8_recipient,
	});
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC DATA\n-\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 250 ok\nE done\nE ready\n",
		.make = utf8_recipient,
		.check = only_ascii_delivered,
	});
}

static struct delivery *utf8_header(void)
{
	struct delivery *delivery = delivery_make(1, "Subject: \xc3\xbc\r\n\r\n");

	delivery->flags = MESSAGE_SMTPUTF8 | MESSAGE_HEADER_8BIT;
	return delivery;
}

CHECK(no_utf8)
{
	assert_recipient(delivery, 0, OUTCOME_BOUNCED, PHASE_MAIL, 0, "5.6.7");
}

static void rfc6531_header_that_needs_smtputf8(void **state)
{
	script_run(&(struct script){
		.text = GREETING "S 250-x\nS 250 8BITMIME\nE ready\nbegin\n-\nE done\nE ready\n",
		.make = utf8_header,
		.check = no_utf8,
	});
}

static struct delivery *utf8_unneeded(void)
{
	struct delivery *delivery = delivery_make(1, BODY);

	delivery->flags = MESSAGE_SMTPUTF8;
	return delivery;
}

static void rfc6531_declared_but_ascii_goes_everywhere(void **state)
{
	script_run(&(struct script){
		.text = PIPE MAIL
		"C RCPT TO:<a0@example.org>\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 250 2.0.0 queued as 1\nE done\nE ready\n",
		.make = utf8_unneeded,
		.check = one_delivered,
	});
}

static struct delivery *null_sender(void)
{
	struct delivery *delivery = delivery_make(1, BODY);

	delivery->mail_from = "";
	return delivery;
}

static void null_reverse_path(void **state)
{
	script_run(&(struct script){
		.text = PIPE
		"C MAIL FROM:<>\nC RCPT TO:<a0@example.org>\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\n" BODY_C
		"C .\nS 250 2.0.0 queued as 1\nE done\nE ready\n",
		.make = null_sender,
		.check = one_delivered,
	});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_message_step_by_step),
		cmocka_unit_test(pipelined_message),
		cmocka_unit_test(pipelining_is_not_used_when_it_must_not),
		cmocka_unit_test(chunking_waits_for_the_recipients_of_the_first_message),
		cmocka_unit_test(chunking_is_not_used_when_it_must_not),
		cmocka_unit_test(second_message_follows_without_rset_and_in_one_flight),
		cmocka_unit_test(rfc5321_4_5_2_dots_are_stuffed_for_data),
		cmocka_unit_test(rfc3030_dots_are_left_alone_for_bdat),
		cmocka_unit_test(body_without_last_crlf_gets_one),
		cmocka_unit_test(each_recipient_gets_its_own_outcome),
		cmocka_unit_test(
			no_recipient_left_ends_without_body_and_rset_comes_first_next_time),
		cmocka_unit_test(refused_mail_decides_all_recipients),
		cmocka_unit_test(refused_data_decides_the_accepted),
		cmocka_unit_test(refused_message_decides_the_accepted),
		cmocka_unit_test(c8_too_many_recipients_are_deferred_and_the_limit_learned),
		cmocka_unit_test(c8_full_mailboxes_teach_nothing),
		cmocka_unit_test(c8_stated_and_learned_limits_are_kept),
		cmocka_unit_test(c8_what_was_accepted_may_be_refused_after_all),
		cmocka_unit_test(many_recipients_go_out_as_room_allows),
		cmocka_unit_test(refused_mail_stops_the_rest_from_being_sent),
		cmocka_unit_test(rfc3461_parameters_go_on_when_dsn_is_offered),
		cmocka_unit_test(rfc6533_orcpt_is_utf8_only_where_smtputf8_is_taken),
		cmocka_unit_test(what_is_no_xtext_is_left_out),
		cmocka_unit_test(rfc1870_too_large_for_the_peer_is_not_tried),
		cmocka_unit_test(rfc1870_zero_means_no_limit),
		cmocka_unit_test(rfc6152_8bit_goes_only_where_it_is_taken),
		cmocka_unit_test(rfc6152_declared_but_7bit_goes_everywhere),
		cmocka_unit_test(rfc6531_addresses_that_need_smtputf8),
		cmocka_unit_test(rfc6531_header_that_needs_smtputf8),
		cmocka_unit_test(rfc6531_declared_but_ascii_goes_everywhere),
		cmocka_unit_test(null_reverse_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
