/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Trace and other fields of ours, what the header says, S18, and X-Millrace-* fields. */
#include "tests/unit/smtp/dialogue.h"

#include "dataplane/envelope.h"
#include "dataplane/smtp/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *content;

/** What the listener of most tests here is like. */
static void add_fields(struct dialogue *d)
{
	d->listener.add_missing_headers = true;
	d->listener.trusted_header_count = 1;
	d->listener.trusted_header_networks = d->relay_networks;
	snprintf(d->listener.tenant, sizeof(d->listener.tenant), "listener-tenant");
}

static void trace_field(struct dialogue *d)
{
	const char *expected = "Received: from client.example ([192.0.2.9])\r\n"
			       "\tby mx.example.org (Millrace) with ESMTP id ";
	const char *rest =
		"\r\n\tfor <rcpt@example.net>;\r\n\tSun, 22 Nov 2026 16:09:34 +0000\r\n" HEADER;
	const char *body, *id;
	char text[MESSAGE_ID_TEXT];

	dialogue_data(d);
	dialogue_say(d, HEADER "x\r\n.\r\n");
	dialogue_expect(d, "250");
	body = (const char *)d->messages[0].body;
	assert_int_equal(strncmp(body, expected, strlen(expected)), 0);
	id = body + strlen(expected);
	assert_int_equal(strncmp(id, message_id_format(&d->messages[0].id, text), 26), 0);
	assert_int_equal(strncmp(id + 26, rest, strlen(rest)), 0);
	assert_int_equal(d->messages[0].id.origin, d->environment.id_origin);
	assert_int_equal(d->messages[0].id.counter, UINT64_C(1) << 56 | 1);
}

static void the_trace_field_is_as_rfc_5321_says(void **state)
{
	dialogue_run(NULL, trace_field);
}

static void several(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE "RCPT TO:<secret@example.net>\r\nBDAT 2 LAST\r\n\r\n");
	dialogue_expect(d, "250", "250", "250", "250");
	assert_null(strstr((char *)d->messages[0].body, "for <"));
	assert_null(strstr((char *)d->messages[0].body, "secret"));
}

static void the_trace_field_tells_nobody_who_else_got_it(void **state)
{
	dialogue_run(NULL, several);
}

static void v6_peer(struct dialogue *d)
{
	ip_parse("2001:db8::9", &d->peer);
	ip_prefix_parse("2001:db8::/32", &d->relay_networks[0]);
}

static void v6(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(
		d,
		"MAIL FROM:<> SMTPUTF8\r\nRCPT TO:<\xc3\xbc@example.net>\r\nBDAT 2 LAST\r\n\r\n");
	dialogue_expect(d, "250", "250", "250");
	assert_non_null(strstr((char *)d->messages[0].body, "([IPv6:2001:db8::9])"));
	assert_non_null(strstr((char *)d->messages[0].body, "with UTF8SMTP id"));
	/* Our own field stays ASCII. */
	assert_null(strstr((char *)d->messages[0].body, "\xc3"));
	assert_int_equal(d->messages[0].flags, MESSAGE_SMTPUTF8);
}

static void the_trace_field_names_ipv6_and_utf8smtp(void **state)
{
	dialogue_run(v6_peer, v6);
}

/* ---- Missing fields ---- */

static void say_content(struct dialogue *d)
{
	dialogue_data(d);
	dialogue_say(d, content);
	dialogue_say(d, ".\r\n");
}

static void missing(struct dialogue *d)
{
	char expected[512], id[MESSAGE_ID_TEXT];

	say_content(d);
	dialogue_expect(d, "250");
	snprintf(expected, sizeof(expected), "<%s@mx.example.org>",
		 message_id_format(&d->messages[0].id, id));
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_MESSAGE_ID, 0), expected);
	snprintf(expected, sizeof(expected),
		 "Date: Sun, 22 Nov 2026 16:09:34 +0000\r\nMessage-ID: <%s@mx.example.org>\r\n%s",
		 id, content);
	assert_string_equal(message_content(&d->messages[0]), expected);
}

static void date_and_message_id_are_added_at_the_top(void **state)
{
	content = "Subject: x\r\n\r\nbody\r\n";
	dialogue_run(add_fields, missing);
	content = "\r\nno header\r\n";
	dialogue_run(add_fields, missing);
	content =
		"X-Date: x\r\nDate2: y\r\n Date: folded\r\n\r\nDate: in the body\r\nMessage-ID: too\r\n";
	dialogue_run(add_fields, missing);
	content = "Subject: header only\r\n";
	dialogue_run(add_fields, missing);
	content = "";
	dialogue_run(add_fields, missing);
}

static void not_missing(struct dialogue *d)
{
	say_content(d);
	dialogue_expect(d, "250");
	assert_string_equal(message_content(&d->messages[0]), content);
}

static void what_is_there_or_not_asked_for_is_not_added(void **state)
{
	content = "date: x\r\nMESSAGE-ID:\r\n <folded@example>\r\n\r\nbody\r\n";
	dialogue_run(add_fields, not_missing);
	content = "Subject: x\r\n\r\nbody\r\n";
	dialogue_run(NULL, not_missing);
	content = "";
	dialogue_run(NULL, not_missing);
	content = "\r\n";
	dialogue_run(NULL, not_missing);
}

static void headless(struct dialogue *d)
{
	char expected[512];

	say_content(d);
	dialogue_expect(d, "250");
	snprintf(expected, sizeof(expected), "\r\n%s", content);
	assert_string_equal(message_content(&d->messages[0]), expected);
}

static void text_without_a_header_does_not_become_one(void **state)
{
	content = "Dear all\r\nSubject: not a field\r\n";
	dialogue_run(NULL, headless);
	content = " starts with a blank: no field\r\n";
	dialogue_run(NULL, headless);
}

static void from_line(struct dialogue *d)
{
	say_content(d);
	dialogue_expect(d, "250");
	assert_string_equal(message_content(&d->messages[0]), content);
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_MESSAGE_ID, 0), "<a@b>");
}

static void fields_behind_a_mailbox_line_are_fields(void **state)
{
	content = "From somebody Sun Nov 22\r\nMessage-ID: <a@b>\r\n\r\nx\r\n";
	dialogue_run(NULL, from_line);
}

static void folded_id(struct dialogue *d)
{
	say_content(d);
	dialogue_expect(d, "250");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_MESSAGE_ID, 0),
			    "<folded@example>");
	assert_int_equal(*(const uint8_t *)message_field(&d->messages[0], ENVELOPE_HEADER_SIZE, 0) |
				 ((const uint8_t *)message_field(&d->messages[0],
								 ENVELOPE_HEADER_SIZE, 0))[1]
					 << 8,
			 strstr((char *)d->messages[0].body, "\r\n\r\n") + 4 -
				 (char *)d->messages[0].body);
}

static void the_envelope_knows_message_id_and_header_size(void **state)
{
	content = "Message-Id:\r\n\t<folded@example>\r\nX: y\r\n\r\nx\r\n\r\ny\r\n";
	dialogue_run(NULL, folded_id);
	dialogue_run(add_fields, folded_id);
}

static void big_with_missing(struct dialogue *d)
{
	char *text = malloc(20001), *expected = malloc(21000), id[MESSAGE_ID_TEXT];
	size_t size;

	memset(text, 'x', 20000);
	for (size_t i = 0; i + 2 <= 20000; i += 80)
		memcpy(text + i, "\r\n", 2);
	memcpy(text, "S: ", 3);
	memcpy(text + 19998, "\r\n", 2);
	text[20000] = '\0';
	dialogue_data(d);
	dialogue_say(d, text);
	dialogue_say(d, ".\r\n");
	dialogue_expect(d, "250");
	size = (size_t)snprintf(
		expected, 21000,
		"Date: Sun, 22 Nov 2026 16:09:34 +0000\r\nMessage-ID: <%s@mx.example.org>\r\n%s",
		message_id_format(&d->messages[0].id, id), text);
	assert_int_equal(strlen(message_content(&d->messages[0])), size);
	assert_string_equal(message_content(&d->messages[0]), expected);
	free(text);
	free(expected);
}

static void long_header(struct dialogue *d)
{
	add_fields(d);
	d->listener.limits.header_size = 0;
}

static void fields_are_added_before_a_message_of_many_chunks(void **state)
{
	dialogue_run_once(long_header, big_with_missing);
}

/* ---- S18 ---- */

static void hops(struct dialogue *d)
{
	dialogue_data(d);
	for (unsigned i = 0; i < 50; i++)
		dialogue_say(d, "Received: from a by b;\r\n\tdate\r\n");
	dialogue_say(d, "\r\nReceived: in the body\r\n.\r\n");
	dialogue_expect(d, "250");
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	for (unsigned i = 0; i < 51; i++)
		dialogue_say(d, "received : from a by b; date\r\n");
	dialogue_say(d, "\r\nx\r\n.\r\n");
	dialogue_expect(d, "554 5.4.6");
	assert_int_equal(d->message_count, 1);
}

static void s18_more_than_50_hops_are_a_loop(void **state)
{
	dialogue_run_once(NULL, hops);
	dialogue_run(NULL, hops);
}

static void own_hops(struct dialogue *d)
{
	dialogue_data(d);
	for (unsigned i = 0; i < HOPS_OWN_MAX; i++)
		dialogue_say(d,
			     "Received: from a\r\n\tby MX.example.org (Millrace);\r\n\tdate\r\n");
	dialogue_say(d,
		     "Received: from mx.example.org by mx.example.org.example; date\r\n\r\n.\r\n");
	dialogue_expect(d, "250");
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	for (unsigned i = 0; i <= HOPS_OWN_MAX; i++)
		dialogue_say(d,
			     "Received: from a\r\n\tby mx.example.org (Millrace);\r\n\tdate\r\n");
	dialogue_say(d, "\r\n.\r\n");
	dialogue_expect(d, "554 5.4.6");
}

static void s18_a_message_that_was_here_thrice_is_a_loop(void **state)
{
	dialogue_run(NULL, own_hops);
}

static void small_header(struct dialogue *d)
{
	d->listener.limits.header_size = 41;
}

static void header_limit(struct dialogue *d)
{
	dialogue_data(d);
	dialogue_say(
		d, "A: 23456789012345678\r\nB: 34567890123456\r\n\r\nbody is not header\r\n.\r\n");
	dialogue_expect(d, "250");
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, "A: 23456789012345678\r\nB: 345678901234567\r\n\r\nbody\r\n.\r\n");
	dialogue_expect(d, "552 5.3.4");
}

static void real_header_limit(struct dialogue *d)
{
	d->listener.limits.header_size = 102400;
	d->listener.limits.message_size = 0;
}

/* Of one field, of many, and of one field that goes on over lines of blanks. */
static void endless_header(struct dialogue *d)
{
	static const char *const lines[] = {"a:\r\n", " \r\n", "\t \r\n"};
	uint32_t free_before = chunk_pool_available(d->pool);

	dialogue_ehlo(d);
	for (size_t kind = 0; kind < sizeof(lines) / sizeof(lines[0]); kind++) {
		char block[8001] = "";

		while (strlen(block) + strlen(lines[kind]) < sizeof(block))
			strcat(block, lines[kind]);
		dialogue_say(d, ENVELOPE "DATA\r\n");
		dialogue_expect(d, "250", "250", "354");
		dialogue_say(d, "b: c\r\n");
		for (unsigned i = 0; i < 400; i++)
			dialogue_say(d, block);
		/* Nothing is kept of it, but the transaction. */
		assert_true(chunk_pool_available(d->pool) + 8 >= free_before);
		dialogue_say(d, "\r\nbody\r\n.\r\n");
		dialogue_expect(d, "552 5.3.4");
	}
	assert_int_equal(d->message_count, 0);
}

static void s13_a_header_of_a_million_lines_is_refused_and_not_kept(void **state)
{
	dialogue_run_once(real_header_limit, endless_header);
}

static void a_header_over_its_limit_is_refused(void **state)
{
	dialogue_run(small_header, header_limit);
}

/* ---- X-Millrace-* ---- */

static void control_fields(struct dialogue *d)
{
	dialogue_data(d);
	dialogue_say(
		d,
		"X-Millrace-Tenant: acme\r\nSubject: x\r\nx-millrace-CAMPAIGN:\r\n spring-26 \r\n"
		"X-Millrace-Other: stays\r\nX-Millrace-Pool:p1\r\n\r\nX-Millrace-Tenant: body\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_TENANT, 0), "acme");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_CAMPAIGN, 0), "spring-26");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_POOL, 0), "p1");
	assert_string_equal(
		strstr(message_content(&d->messages[0]), "Subject"),
		"Subject: x\r\nX-Millrace-Other: stays\r\n\r\nX-Millrace-Tenant: body\r\n");
	assert_null(strstr((char *)d->messages[0].body, "acme"));
	assert_null(strstr((char *)d->messages[0].body, "spring"));
}

static void trusted_control_fields_are_taken_and_removed(void **state)
{
	dialogue_run(add_fields, control_fields);
}

static void only_control(struct dialogue *d)
{
	dialogue_data(d);
	dialogue_say(d, "X-Millrace-Tenant: acme\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_TENANT, 0), "acme");
	assert_null(strstr((char *)d->messages[0].body, "acme"));
}

static void a_control_field_that_is_all_there_is_is_removed(void **state)
{
	dialogue_run(add_fields, only_control);
}

static void untrusted(struct dialogue *d)
{
	snprintf(d->listener.tenant, sizeof(d->listener.tenant), "listener-tenant");
}

static void ignored(struct dialogue *d)
{
	dialogue_data(d);
	dialogue_say(d, "X-Millrace-Tenant: acme\r\nX-Millrace-Pool: a b\r\n\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_string_equal(message_field(&d->messages[0], ENVELOPE_TENANT, 0), "listener-tenant");
	assert_null(message_field(&d->messages[0], ENVELOPE_POOL, 0));
	assert_string_equal(message_content(&d->messages[0]),
			    "X-Millrace-Tenant: acme\r\nX-Millrace-Pool: a b\r\n\r\n");
}

static void control_fields_of_others_are_left_in_and_ignored(void **state)
{
	dialogue_run(untrusted, ignored);
}

static void bad_control(struct dialogue *d)
{
	say_content(d);
	dialogue_expect(d, "550 5.6.0");
	assert_int_equal(d->message_count, 0);
}

static void malformed_control_fields_are_refused(void **state)
{
	content = "X-Millrace-Tenant: a b\r\n\r\n";
	dialogue_run(add_fields, bad_control);
	content = "X-Millrace-Tenant:\r\n\r\n";
	dialogue_run(add_fields, bad_control);
	content = "X-Millrace-Tenant: a\r\nX-Millrace-Tenant: b\r\n\r\n";
	dialogue_run(add_fields, bad_control);
	content =
		"X-Millrace-Pool: 0123456789012345678901234567890123456789012345678901234567890123\r\n\r\n";
	dialogue_run(add_fields, bad_control);
}

static void big_control(struct dialogue *d)
{
	/* A field that is removed may cover several chunks. */
	dialogue_data(d);
	dialogue_say(d, "A: b\r\nX-Millrace-Tenant: a\r\n");
	for (unsigned i = 0; i < 1000; i++)
		dialogue_say(d, " \t        \r\n");
	dialogue_say(d, "C: d\r\n\r\nbody\r\n.\r\n");
	dialogue_expect(d, "550 5.6.0");
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, "A: b\r\nX-Millrace-Tenant: a\r\n");
	for (unsigned i = 0; i < 60; i++)
		dialogue_say(d, " \t        \r\n");
	dialogue_say(d, "C: d\r\n\r\nbody\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_non_null(strstr(message_content(&d->messages[0]), "A: b\r\nC: d\r\n\r\nbody\r\n"));
}

static void a_control_field_of_many_lines_is_removed_whole(void **state)
{
	dialogue_run_once(add_fields, big_control);
	dialogue_run(add_fields, big_control);
}

/* ---- Dates ---- */

static void dates_are_right(void **state)
{
	static const struct {
		uint64_t seconds;
		const char *text;
	} cases[] = {
		{0, "Thu, 01 Jan 1970 00:00:00 +0000"},
		{951782399, "Mon, 28 Feb 2000 23:59:59 +0000"},
		{951782400, "Tue, 29 Feb 2000 00:00:00 +0000"},
		{951868800, "Wed, 01 Mar 2000 00:00:00 +0000"},
		{1709164800, "Thu, 29 Feb 2024 00:00:00 +0000"},
		{1795363774, "Sun, 22 Nov 2026 16:09:34 +0000"},
		{4102444799, "Thu, 31 Dec 2099 23:59:59 +0000"},
		{4107542400, "Mon, 01 Mar 2100 00:00:00 +0000"},
	};
	char text[TRACE_DATE];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(trace_date(cases[i].seconds * US_PER_S, text), cases[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_trace_field_is_as_rfc_5321_says),
		cmocka_unit_test(the_trace_field_tells_nobody_who_else_got_it),
		cmocka_unit_test(the_trace_field_names_ipv6_and_utf8smtp),
		cmocka_unit_test(date_and_message_id_are_added_at_the_top),
		cmocka_unit_test(what_is_there_or_not_asked_for_is_not_added),
		cmocka_unit_test(text_without_a_header_does_not_become_one),
		cmocka_unit_test(fields_behind_a_mailbox_line_are_fields),
		cmocka_unit_test(the_envelope_knows_message_id_and_header_size),
		cmocka_unit_test(fields_are_added_before_a_message_of_many_chunks),
		cmocka_unit_test(s18_more_than_50_hops_are_a_loop),
		cmocka_unit_test(s18_a_message_that_was_here_thrice_is_a_loop),
		cmocka_unit_test(s13_a_header_of_a_million_lines_is_refused_and_not_kept),
		cmocka_unit_test(a_header_over_its_limit_is_refused),
		cmocka_unit_test(trusted_control_fields_are_taken_and_removed),
		cmocka_unit_test(a_control_field_that_is_all_there_is_is_removed),
		cmocka_unit_test(control_fields_of_others_are_left_in_and_ignored),
		cmocka_unit_test(malformed_control_fields_are_refused),
		cmocka_unit_test(a_control_field_of_many_lines_is_removed_whole),
		cmocka_unit_test(dates_are_right),
	};

	return cmocka_run_group_tests_name("smtp header", tests, NULL, NULL);
}
