/* SPDX-License-Identifier: GPL-3.0-or-later */
/* S1 and S2: no end of data but CRLF "." CRLF, and nothing but CRLF ever gets into a body (RFC
 * 5321, 2.3.8; RFC 3030, 3). */
#include "tests/unit/smtp/dialogue.h"

#include <stdio.h>
#include <string.h>

struct sequence {
	const char *text;
	size_t size;
	const char *reply; /**< when line endings are strict */
	bool normal;	   /**< nothing is wrong with it */
};
#define SEQUENCE(text, ...)                         \
	{                                           \
		text, sizeof(text) - 1, __VA_ARGS__ \
	}

/** What scanners send in place of the end. */
static const struct sequence sequences[] = {
	SEQUENCE("\n.\n", "550 5.5.2"),	      SEQUENCE("\n.\r", "550 5.5.2"),
	SEQUENCE("\r.\n", "550 5.5.2"),	      SEQUENCE("\r.\r", "550 5.5.2"),
	SEQUENCE("\n.\r\n", "550 5.5.2"),     SEQUENCE("\r.\r\n", "550 5.5.2"),
	SEQUENCE("\r\n.\n", "550 5.5.2"),     SEQUENCE("\r\n.\r", "550 5.5.2"),
	SEQUENCE("\r\n.\r\r\n", "550 5.5.2"), SEQUENCE("\r\r\n.\r\r\n", "550 5.5.2"),
	SEQUENCE("\n\r\n.\n\r", "550 5.5.2"), SEQUENCE("\r\n\0.\r\n", "554 5.6.0"),
	SEQUENCE("\r\n.\0\r\n", "554 5.6.0"), SEQUENCE("\r\0\n.\r\n", "550 5.5.2"),
	SEQUENCE("\r\n..\r\n", "250", true),  SEQUENCE("\r\n.x\r\n", "250", true),
};

#define SMUGGLED \
	"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nSubject: bad\r\n\r\nbad"

static const struct sequence *sequence;

static void assert_body_is_clean(const struct dialogue_message *message)
{
	const char *body = (const char *)message->body;

	assert_int_equal(strlen(body), message->body_size);
	for (size_t i = 0; i < message->body_size; i++) {
		if (body[i] == '\r')
			assert_int_equal(body[i + 1], '\n');
		if (body[i] == '\n')
			assert_true(i > 0 && body[i - 1] == '\r');
	}
	assert_string_equal(body + message->body_size - 2, "\r\n");
}

static void say_smuggling(struct dialogue *d)
{
	char text[1024];
	size_t size = (size_t)snprintf(text, sizeof(text), "%s", HEADER "Hello");

	memcpy(text + size, sequence->text, sequence->size);
	size += sequence->size;
	size += (size_t)snprintf(text + size, sizeof(text) - size, "%s", SMUGGLED "\r\n.\r\n");
	dialogue_say_octets(d, text, size);
}

static void strict_data(struct dialogue *d)
{
	dialogue_data(d);
	say_smuggling(d);
	/* A sequence that ends with LF and one that ends the data are told apart by what follows.
	 */
	dialogue_expect(d, sequence->reply);
	assert_int_equal(d->message_count, sequence->normal ? 1 : 0);
	assert_int_equal(d->environment.counters.messages_refused, sequence->normal ? 0 : 1);
	/* The session is usable, and nothing of the old transaction is left. */
	dialogue_say(d, "DATA\r\n");
	dialogue_expect(d, "503 5.5.1");
	dialogue_say(d, ENVELOPE "DATA\r\n");
	dialogue_expect(d, "250", "250", "354");
	dialogue_say(d, HEADER "next\r\n.\r\n");
	dialogue_expect(d, "250 2.0.0");
	assert_non_null(strstr(message_content(&d->messages[d->message_count - 1]), "next"));
}

static void s1_no_sequence_but_crlf_dot_crlf_ends_data(void **state)
{
	for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
		sequence = &sequences[i];
		dialogue_run(NULL, strict_data);
	}
}

static void normalize(struct dialogue *d)
{
	d->listener.line_endings = LINE_ENDINGS_NORMALIZE;
}

static void normalized_data(struct dialogue *d)
{
	bool nul = memchr(sequence->text, '\0', sequence->size) != NULL;

	dialogue_data(d);
	say_smuggling(d);
	dialogue_expect(d, nul ? "554 5.6.0" : "250 2.0.0");
	assert_int_equal(d->message_count, nul ? 0 : 1);
	if (nul)
		return;
	assert_body_is_clean(&d->messages[0]);
	/* All of it is one message. */
	assert_non_null(
		strstr(message_content(&d->messages[0]), "MAIL FROM:<evil@example.com>\r\n"));
	assert_non_null(strstr(message_content(&d->messages[0]), "\r\nbad\r\n"));
}

static void s1_normalized_sequences_stay_one_message_with_crlf_only(void **state)
{
	for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
		sequence = &sequences[i];
		dialogue_run(normalize, normalized_data);
	}
}

static void how_it_reads(struct dialogue *d)
{
	dialogue_data(d);
	dialogue_say(d, HEADER "a\nb\rc\r\r\n\n.d\r\n.e\r\n..\n\r\n.\r\n");
	dialogue_expect(d, "250");
	assert_string_equal(message_content(&d->messages[0]),
			    HEADER "a\r\nb c \r\n\r\n.d\r\ne\r\n.\r\n\r\n");
}

static void s1_normalize_reads_lf_as_crlf_and_cr_as_space(void **state)
{
	dialogue_run(normalize, how_it_reads);
}

/** The sequence inside a BDAT chunk. */
static void say_chunk(struct dialogue *d)
{
	char content[256], command[128];
	size_t size = (size_t)snprintf(content, sizeof(content), "%s", HEADER "Hello");

	memcpy(content + size, sequence->text, sequence->size);
	size += sequence->size;
	size += (size_t)snprintf(content + size, sizeof(content) - size, "end\r\n");
	dialogue_ehlo(d);
	snprintf(command, sizeof(command), ENVELOPE "BDAT %zu LAST\r\n", size);
	dialogue_say(d, command);
	dialogue_say_octets(d, content, size);
}

static void strict_chunk(struct dialogue *d)
{
	say_chunk(d);
	dialogue_expect(d, "250", "250", sequence->reply);
	assert_int_equal(d->message_count, sequence->normal ? 1 : 0);
}

static void normalized_chunk(struct dialogue *d)
{
	bool nul = memchr(sequence->text, '\0', sequence->size) != NULL;

	say_chunk(d);
	dialogue_expect(d, "250", "250", nul ? "554 5.6.0" : "250 2.0.0");
	if (!nul)
		assert_body_is_clean(&d->messages[0]);
}

static void s2_bare_line_endings_in_bdat_are_refused_or_made_crlf(void **state)
{
	for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
		sequence = &sequences[i];
		dialogue_run(NULL, strict_chunk);
		dialogue_run(normalize, normalized_chunk);
	}
}

static void dots_in_chunks(struct dialogue *d)
{
	dialogue_ehlo(d);
	dialogue_say(d, ENVELOPE "BDAT 14 LAST\r\na: b\r\n\r\n.\r\n..\r");
	dialogue_expect(d, "250", "250", "550 5.5.2");
	dialogue_say(d, ENVELOPE "BDAT 14 LAST\r\na: b\r\n\r\n.\r\n..a");
	dialogue_expect(d, "250", "250", "250");
	assert_string_equal(message_content(&d->messages[0]), "a: b\r\n\r\n.\r\n..a\r\n");
}

static void s2_a_dot_means_nothing_in_bdat_and_a_cr_at_the_end_is_bare(void **state)
{
	dialogue_run(NULL, dots_in_chunks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(s1_no_sequence_but_crlf_dot_crlf_ends_data),
		cmocka_unit_test(s1_normalized_sequences_stay_one_message_with_crlf_only),
		cmocka_unit_test(s1_normalize_reads_lf_as_crlf_and_cr_as_space),
		cmocka_unit_test(s2_bare_line_endings_in_bdat_are_refused_or_made_crlf),
		cmocka_unit_test(s2_a_dot_means_nothing_in_bdat_and_a_cr_at_the_end_is_bare),
	};

	return cmocka_run_group_tests_name("smtp smuggling", tests, NULL, NULL);
}
