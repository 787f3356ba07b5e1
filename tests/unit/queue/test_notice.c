/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Notices to senders: RFC 3461, 3464, 6533, 3834; Y1 to Y3 of the reliability notes. */
#include "tests/unit/queue/house.h"

#include "control/queue/dsn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** By the address: bad… bounce, later… are deferred, loop… bounce even when it is a notice. */
static void far_side(struct house *house, struct delivery *delivery,
		     struct delivery_recipient *recipient)
{
	if (!strncmp(recipient->address, "bad", 3) || !strncmp(recipient->address, "loop", 4))
		house_set_result(recipient, OUTCOME_BOUNCED, PHASE_RCPT, 550, "5.1.1",
				 "no such user here");
	else if (!strncmp(recipient->address, "later", 5))
		house_set_result(recipient, OUTCOME_DEFERRED, PHASE_RCPT, 451, "4.7.1", "not now");
}

static void start(struct house *house, uint64_t seed)
{
	house_init(house, seed);
	house->decide = far_side;
	house_start(house);
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void assert_has_not(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("\"%s\" is in:\n%s", part, text);
}

static struct message_id send_message(struct house *house, const struct house_message *message)
{
	struct message_id id = house_submit(house, 0, message);

	for (unsigned i = 0; i < 10000 && house_answer(house, &id) == UINT32_MAX; i++)
		house_step(house, 50);
	assert_int_equal(house_answer(house, &id), COMMIT_DONE);
	return id;
}

/* RFC 3464, 2 */
static void a_bounce_has_the_three_parts_and_all_fields(void **state)
{
	static struct house house;
	const struct house_message message = {
		.from = "sender@from.example",
		.recipients = "bad@to.example!orcpt=rfc822;Orig+2Binal@to.example!notify=4",
		.envid = "QQ+2B314159",
		.header = "Subject: the original\r\nMessage-ID: <1@x>\r\n\r\n",
		.body_size = 300,
	};
	const char *text;

	start(&house, 1);
	send_message(&house, &message);
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house.notice_count, 1);
	assert_string_equal(house.notices[0].to, "sender@from.example");
	text = house.notices[0].text;
	assert_has(text, "Content-Type: multipart/report; report-type=delivery-status;");
	assert_has(text, "Auto-Submitted: auto-replied\r\n");
	assert_has(text, "To: <sender@from.example>\r\n");
	assert_has(text, "\r\nContent-Type: message/delivery-status\r\n");
	assert_has(text, "Original-Envelope-Id: QQ+314159\r\n");
	assert_has(text, "Reporting-MTA: dns;relay.example.net\r\n");
	assert_has(text, "Arrival-Date: Tue, 14 Nov 2023 ");
	assert_has(text, "\r\n\r\nOriginal-Recipient: rfc822;Orig+inal@to.example\r\n"
			 "Final-Recipient: rfc822;bad@to.example\r\n"
			 "Action: failed\r\nStatus: 5.1.1\r\n"
			 "Remote-MTA: dns;mx.to.example\r\n"
			 "Diagnostic-Code: smtp;550 no such user here\r\n"
			 "Last-Attempt-Date: Tue, 14 Nov 2023 ");
	assert_has(text, "\r\nContent-Type: message/rfc822\r\n\r\nSubject: the original\r\n");
	assert_has(text, "xxx\r\n");
	assert_int_equal(house.notices[0].flags, MESSAGE_GENERATED);
	house_finish(&house);
}

/* RFC 6533, 3: a notice is 7 bits. */
static void an_original_recipient_in_utf8_comes_back_in_7_bits(void **state)
{
	static struct house house;
	const struct house_message message = {
		.from = "sender@from.example",
		.recipients = "bad@to.example!orcpt=utf-8;j\u00f6rg@to.example!notify=4",
		.header = "Subject: the original\r\n\r\n",
		.body_size = 300,
	};

	start(&house, 1);
	send_message(&house, &message);
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house.notice_count, 1);
	assert_has(house.notices[0].text,
		   "\r\nOriginal-Recipient: utf-8;j\\x{F6}rg@to.example\r\n");
	house_finish(&house);
}

/* RFC 3461, 4.3 and 5.3 */
static void ret_and_size_decide_what_comes_back(void **state)
{
	static struct house house;
	struct house_message message = {
		.from = "sender@from.example",
		.recipients = "bad@to.example",
		.header = "Subject: the original\r\n\r\n",
		.body_size = 300,
		.flags = MESSAGE_RET_HDRS,
	};

	start(&house, 2);
	send_message(&house, &message);
	message.flags = 0;
	message.body_size = 150000;
	send_message(&house, &message);
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house.notice_count, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_has(
			house.notices[i].text,
			"\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: the original\r\n\r\n");
		assert_has_not(house.notices[i].text, "xxxx");
	}
	house_finish(&house);
}

/** As a worker would: a dialogue over TLS. */
static void over_tls(struct house *house, struct delivery *delivery,
		     struct delivery_recipient *recipient)
{
	far_side(house, delivery, recipient);
	delivery->tls = true;
	strcpy(delivery->tls_version, "TLSv1.3");
	strcpy(delivery->tls_cipher, "TLS_AES_128_GCM_SHA256");
	delivery->session = 4711;
	delivery->connect_us = 11;
	delivery->tls_us = 22;
	delivery->transaction_us = 33;
}

static void assert_is_attempt(const struct house_event *event)
{
	assert_non_null(event);
	assert_string_equal(event->tls, "TLSv1.3 TLS_AES_128_GCM_SHA256");
	assert_string_equal(event->site, "mx.to.example");
	assert_string_equal(event->source, "one");
	assert_string_equal(event->peer, "mx.to.example");
	assert_true(event->has_peer_address && event->has_source_address);
	assert_int_equal(event->session, 4711);
	assert_int_equal(event->connect_us, 11);
	assert_int_equal(event->tls_us, 22);
	assert_int_equal(event->transaction_us, 33);
}

/* Reliability notes, 6: every attempt is told with peer, TLS and times, whatever its end. */
static void a_bounce_event_tells_the_attempt_that_ended_it(void **state)
{
	static struct house house;
	const struct house_event *event;

	start(&house, 20);
	house.decide = over_tls;
	house_send(&house, "sender@from.example",
		   "bad1@to.example bad2@to.example later@to.example");
	house_run(&house, 5 * HOUSE_SECOND);
	assert_int_equal(house_events_of(&house, EVENT_BOUNCE, NULL), 2);
	assert_is_attempt(house_last_event(&house, EVENT_BOUNCE));
	assert_is_attempt(house_last_event(&house, EVENT_TRANSIENT_FAILURE));
	/* Nothing is held once it is told. */
	assert_int_equal(house.shard->attempts.used, 0);
	/* The null sender gets no notice; the event is the same. */
	house_send(&house, "", "bad3@to.example");
	house_run(&house, 5 * HOUSE_SECOND);
	event = house_last_event(&house, EVENT_BOUNCE);
	assert_string_equal(event->recipient, "bad3@to.example");
	assert_is_attempt(event);
	house_finish(&house);
}

static void an_end_that_is_ours_alone_tells_no_attempt(void **state)
{
	static struct house house;
	const struct house_event *event;

	start(&house, 21);
	house.decide = over_tls;
	resolver_sim_fail(house.resolver, "nowhere.example", RESOLUTION_NO_DOMAIN,
			  "no such domain");
	house_send(&house, "sender@from.example", "who@nowhere.example");
	house_run(&house, 5 * HOUSE_SECOND);
	event = house_last_event(&house, EVENT_BOUNCE);
	assert_non_null(event);
	assert_string_equal(event->recipient, "who@nowhere.example");
	assert_int_equal(event->attempts, 0);
	assert_string_equal(event->tls, "");
	assert_string_equal(event->peer, "");
	assert_false(event->has_peer_address || event->has_source_address);
	assert_int_equal(event->session + event->connect_us + event->transaction_us, 0);
	house_finish(&house);
}

/* A loan's events may come after those of its bounces, and both after the path is gone. */
static void attempts_outlast_a_stalled_event_log(void **state)
{
	static struct house house;

	start(&house, 22);
	house.decide = over_tls;
	house_send(&house, "", "bad1@to.example ok@to.example bad2@to.example");
	house.events_stall = true;
	house_run(&house, 5 * HOUSE_SECOND);
	assert_int_equal(house_events_of(&house, EVENT_BOUNCE, NULL), 0);
	house.events_stall = false;
	assert_true(house_run_dry(&house, 5 * HOUSE_SECOND));
	assert_int_equal(house_events_of(&house, EVENT_BOUNCE, NULL), 2);
	assert_is_attempt(house_last_event(&house, EVENT_BOUNCE));
	assert_int_equal(house.shard->attempts.used, 0);
	house_finish(&house);
}

/* Y2; RFC 5321, 6.1 */
static void never_a_notice_about_a_notice(void **state)
{
	static struct house house;

	start(&house, 3);
	house_send(&house, "loop@from.example", "bad@to.example");
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).generated, 1);
	assert_int_equal(house_ledger(&house).bounced, 2);
	assert_int_equal(queue_shard_counters(house.shard)->dsn_failure, 1);
	assert_int_equal(queue_shard_counters(house.shard)->dsn_suppressed, 1);
	house_finish(&house);
}

static void none_for_the_null_sender_or_notify_never(void **state)
{
	static struct house house;

	start(&house, 4);
	house_send(&house, "", "bad@to.example");
	house_send(&house, "sender@from.example", "bad@to.example!notify=1");
	house_send(&house, "sender@from.example", "bad@to.example!notify=2");
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).generated, 0);
	assert_int_equal(house_ledger(&house).bounced, 3);
	assert_int_equal(house_events_of(&house, EVENT_BOUNCE, NULL), 3);
	house_finish(&house);
}

static void recipients_that_fail_together_share_a_notice(void **state)
{
	static struct house house;

	start(&house, 5);
	house_send(&house, "sender@from.example",
		   "bad1@one.example bad2@two.example bad3@three.example ok@one.example");
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house.notice_count, 1);
	assert_has(house.notices[0].text, "Final-Recipient: rfc822;bad1@one.example");
	assert_has(house.notices[0].text, "Final-Recipient: rfc822;bad2@two.example");
	assert_has(house.notices[0].text, "Final-Recipient: rfc822;bad3@three.example");
	assert_has_not(house.notices[0].text, "ok@one.example");
	house_finish(&house);
}

static void more_failures_than_one_notice_holds_are_all_told(void **state)
{
	static struct house house;
	char *recipients = calloc(1, 40000);
	uint64_t told = 0;

	for (unsigned i = 0; i < 450; i++)
		sprintf(recipients + strlen(recipients), "%sbad%u@to.example", i ? " " : "", i);
	start(&house, 6);
	house_send(&house, "sender@from.example", recipients);
	assert_true(house_run_dry(&house, 20 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).bounced, 450);
	for (size_t i = 0; i < house.notice_count; i++) {
		for (const char *at = house.notices[i].text;
		     (at = strstr(at, "Final-Recipient: rfc822;bad")); at++)
			told++;
	}
	assert_int_equal(told, 450);
	free(recipients);
	house_finish(&house);
}

/* RFC 3461, 5.2.2: the next system does not know DSN, so ours says that the mail was relayed. */
static void success_is_told_when_asked_and_the_peer_lacks_dsn(void **state)
{
	static struct house house;

	start(&house, 7);
	house_send(&house, "sender@from.example", "ok@to.example!notify=2 quiet@to.example");
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house.notice_count, 1);
	assert_has(house.notices[0].text,
		   "Final-Recipient: rfc822;ok@to.example\r\nAction: relayed\r\n"
		   "Status: 2.0.0\r\n");
	assert_has_not(house.notices[0].text, "quiet@to.example");
	assert_has(house.notices[0].text, "text/rfc822-headers");
	house_finish(&house);
}

static void peer_knows_dsn(struct house *house, struct delivery *delivery,
			   struct delivery_recipient *recipient)
{
	delivery->peer_dsn = true;
}

static void success_is_the_peers_to_tell_when_it_knows_dsn(void **state)
{
	static struct house house;

	start(&house, 8);
	house.decide = peer_knows_dsn;
	house_send(&house, "sender@from.example", "ok@to.example!notify=2");
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house.notice_count, 0);
	house_finish(&house);
}

static void delay_is_told_once_when_asked(void **state)
{
	static struct house house;
	const struct house_message message = {.from = "sender@from.example",
					      .recipients = "later@to.example!notify=12 "
							    "later2@to.example"};

	house_init(&house, 9);
	house.decide = far_side;
	house.view.delay_notice_after_us = 4 * HOUSE_HOUR;
	house_start(&house);
	send_message(&house, &message);
	house_run(&house, 4 * HOUSE_HOUR - 60 * HOUSE_SECOND);
	assert_int_equal(house.notice_count, 0);
	house_run(&house, 120 * HOUSE_SECOND);
	assert_int_equal(house.notice_count, 1);
	assert_has(house.notices[0].text, "Action: delayed\r\nStatus: 4.7.1\r\n");
	assert_has(house.notices[0].text, "Will-Retry-Until: Thu, 16 Nov 2023 ");
	assert_has_not(house.notices[0].text, "later2@");
	/* Told is told, over a restart too. */
	house_crash(&house);
	house_start(&house);
	house_run(&house, 10 * HOUSE_HOUR);
	assert_int_equal(house.notice_count, 1);
	assert_true(house_run_dry(&house, 3 * HOUSE_DAY));
	assert_int_equal(house_ledger(&house).expired, 2);
	assert_int_equal(house.notice_count, 2);
	house_finish(&house);
}

/* RFC 6533 */
static void utf8_addresses_make_a_global_report(void **state)
{
	static struct house house;
	const struct house_message message = {.from = "s\xc3\xa9nder@from.example",
					      .recipients = "bad\xc3\xa9@to.example",
					      .flags = MESSAGE_SMTPUTF8 | MESSAGE_HEADER_8BIT |
						       MESSAGE_8BITMIME};

	start(&house, 10);
	send_message(&house, &message);
	assert_true(house_run_dry(&house, 10 * HOUSE_SECOND));
	assert_int_equal(house.notice_count, 1);
	assert_has(house.notices[0].text, "Content-Type: message/global-delivery-status\r\n");
	assert_has(house.notices[0].text, "Final-Recipient: utf-8;bad\xc3\xa9@to.example\r\n");
	assert_has(house.notices[0].text, "Content-Type: message/global\r\n");
	assert_true(house.notices[0].flags & MESSAGE_SMTPUTF8);
	house_finish(&house);
}

/** The state and its notice are in one batch: at no cut is there one without the other. */
static void a_bounce_and_its_notice_are_never_apart(void **state)
{
	static struct house house;

	for (uint64_t seed = 100; seed < 220; seed++) {
		start(&house, seed);
		house.ignore_duplicates = true;
		house_send(&house, "sender@from.example", "bad@to.example");
		house_run(&house, 900 * US_PER_MS);
		for (uint32_t i = random_below(&house.random, 40); i > 0; i--)
			house_step(&house, 10000);
		for (uint32_t i = random_below(&house.random, 40); i > 0; i--)
			house_step(&house, 20);
		house_power_cut(&house);
		house_start(&house);

		const struct queue_ledger ledger = house_ledger(&house);

		assert_int_equal(ledger.accepted, 1);
		assert_int_equal(ledger.bounced, ledger.generated);
		assert_true(house_run_dry(&house, 30 * HOUSE_SECOND));
		assert_int_equal(house_ledger(&house).bounced, 1);
		assert_int_equal(house_ledger(&house).generated, 1);
		assert_true(house.notice_count >= 1);
		house_finish(&house);
	}
}

/** Y1: a whole campaign to a dead domain. */
static void a_bounce_storm_is_worked_off_in_bounded_memory(void **state)
{
	static struct house house;

	house_init(&house, 11);
	house.settings.chunks = 64;
	house.view.body_memory_bytes = 1 << 20;
	resolver_sim_fail(house.resolver, "dead.example", RESOLUTION_NO_DOMAIN, "no such domain");
	house_start(&house);
	for (unsigned i = 0; i < 2000; i++) {
		char recipient[64];
		const struct house_message message = {
			.from = "sender@from.example", .recipients = recipient, .body_size = 3000};

		snprintf(recipient, sizeof(recipient), "r%u@dead.example", i);
		house_submit(&house, 0, &message);
		house_run(&house, 2 * US_PER_MS);
	}
	assert_true(house_run_dry(&house, 10 * 60 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).bounced, 2000);
	assert_int_equal(house_ledger(&house).generated, 2000);
	assert_int_equal(house.notice_count, 2000);
	house_finish(&house);
}

static void damaged(struct disk *disk)
{
	char **names;
	int count = disk->operations->list(disk, &names);

	for (int i = 0; i < count; i++) {
		uint64_t size;
		uint8_t *bytes = disk_sim_bytes(disk, names[i], &size);
		uint8_t *at = bytes;

		while (at && (at = memmem(at, size - (size_t)(at - bytes), "xxxxxxxx", 8)) != NULL)
			memset(at, 'y', 8);
		free(names[i]);
	}
	free(names);
	disk_sim_settle(disk);
}

static void a_message_damaged_on_disk_is_bounced_without_its_content(void **state)
{
	static struct house house;

	start(&house, 12);
	house_send(&house, "sender@from.example", "later@to.example");
	house_run(&house, 5 * HOUSE_SECOND);
	damaged(house.disk);
	assert_true(house_run_dry(&house, HOUSE_HOUR));
	assert_int_equal(house_ledger(&house).bounced, 1);
	assert_true(queue_shard_counters(house.shard)->spool_corrupt > 0);
	assert_has(house.notices[0].text, "Status: 5.3.0");
	assert_has(house.notices[0].text, "damaged in the spool");
	assert_has_not(house.notices[0].text, "Subject: test");
	house_finish(&house);
}

/* A stranger chooses the size of the header; the notice and the ends must fit in one batch. */
static void a_huge_header_does_not_lose_the_notice(void **state)
{
	const size_t size = 1200000;
	static struct house house;
	char *header = malloc(size + 3);
	struct house_message message = {
		.from = "sender@from.example",
		.recipients = "bad@to.example",
		.header = header,
		.body_size = 10,
	};

	memset(header, 'h', size);
	memcpy(header, "Subject: the original\r\nX: ", 26);
	memcpy(header + size - 4, "\r\n\r\n", 5);
	house_init(&house, 21);
	house.decide = far_side;
	house.settings.spool.segment_size = 8 << 20;
	house.settings.spool.batch_bytes = 256 << 10;
	house_start(&house);
	send_message(&house, &message);
	assert_true(house_run_dry(&house, 60 * HOUSE_SECOND));
	assert_int_equal(house.shard->unrecorded, 0);
	assert_int_equal(house.notice_count, 1);
	assert_has(house.notices[0].text, "Subject: the original");
	house_stop(&house);
	house_start(&house);
	assert_int_equal(house_ledger(&house).queued, 0);
	free(header);
	house_finish(&house);
}

/* The ends of a long list without a notice are more than a batch holds. */
static void many_ends_of_one_message_are_all_recorded(void **state)
{
	const unsigned count = 12000;
	static struct house house;
	char *recipients = calloc(count, 32), *to = recipients;

	house_init(&house, 22);
	resolver_sim_fail(house.resolver, "dead.example", RESOLUTION_NO_DOMAIN,
			  "no such domain, and this is a long reason for it");
	house_start(&house);
	for (unsigned i = 0; i < count; i++)
		to += sprintf(to, "%sr%u@dead.example", i ? " " : "", i);
	house_send(&house, "", recipients);
	assert_true(house_run_dry(&house, 60 * HOUSE_SECOND));
	assert_int_equal(house_ledger(&house).bounced, count);
	assert_int_equal(house.shard->unrecorded, 0);
	house_check_ledger(&house);
	house_stop(&house);
	house_start(&house);
	assert_int_equal(house_ledger(&house).queued, 0);
	assert_int_equal(house_ledger(&house).bounced, count);
	free(recipients);
	house_finish(&house);
}

static void xtext_is_decoded(void **state)
{
	char out[64];

	assert_string_equal(xtext_decode("a+2Bb+3Dc", out, sizeof(out)), "a+b=c");
	assert_string_equal(xtext_decode("a+0D+0Ab+7F", out, sizeof(out)), "a+0D+0Ab+7F");
	assert_string_equal(xtext_decode("+2", out, sizeof(out)), "+2");
	assert_string_equal(xtext_decode("+", out, sizeof(out)), "+");
	assert_string_equal(xtext_decode("abcdef", out, 4), "abc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bounce_has_the_three_parts_and_all_fields),
		cmocka_unit_test(an_original_recipient_in_utf8_comes_back_in_7_bits),
		cmocka_unit_test(ret_and_size_decide_what_comes_back),
		cmocka_unit_test(a_bounce_event_tells_the_attempt_that_ended_it),
		cmocka_unit_test(an_end_that_is_ours_alone_tells_no_attempt),
		cmocka_unit_test(attempts_outlast_a_stalled_event_log),
		cmocka_unit_test(never_a_notice_about_a_notice),
		cmocka_unit_test(none_for_the_null_sender_or_notify_never),
		cmocka_unit_test(recipients_that_fail_together_share_a_notice),
		cmocka_unit_test(more_failures_than_one_notice_holds_are_all_told),
		cmocka_unit_test(success_is_told_when_asked_and_the_peer_lacks_dsn),
		cmocka_unit_test(success_is_the_peers_to_tell_when_it_knows_dsn),
		cmocka_unit_test(delay_is_told_once_when_asked),
		cmocka_unit_test(utf8_addresses_make_a_global_report),
		cmocka_unit_test(a_bounce_and_its_notice_are_never_apart),
		cmocka_unit_test(a_bounce_storm_is_worked_off_in_bounded_memory),
		cmocka_unit_test(a_message_damaged_on_disk_is_bounced_without_its_content),
		cmocka_unit_test(a_huge_header_does_not_lose_the_notice),
		cmocka_unit_test(many_ends_of_one_message_are_all_recorded),
		cmocka_unit_test(xtext_is_decoded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
