/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Text of message ids and phases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/message.h"

#include <errno.h>
#include <string.h>

static void ids_survive_their_text(void **state)
{
	static const struct message_id ids[] = {
		{0, 0},
		{UINT64_MAX, UINT64_MAX},
		{1, 0},
		{0, 1},
		{0x0123456789abcdef, 0xfedcba9876543210},
	};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		char text[MESSAGE_ID_TEXT];
		struct message_id id;

		assert_ptr_equal(message_id_format(&ids[i], text), text);
		assert_int_equal(strlen(text), MESSAGE_ID_TEXT - 1);
		assert_int_equal(message_id_parse(text, &id), 0);
		assert_int_equal(id.origin, ids[i].origin);
		assert_int_equal(id.counter, ids[i].counter);
	}
}

static void known_text(void **state)
{
	const struct message_id id = {.origin = 0, .counter = 32};
	char text[MESSAGE_ID_TEXT];

	assert_string_equal(message_id_format(&id, text), "00000000000000000000000010");
	assert_string_equal(message_id_format(&(struct message_id){UINT64_MAX, UINT64_MAX}, text),
			    "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
}

static void what_people_type_is_understood(void **state)
{
	struct message_id id;

	assert_int_equal(message_id_parse("oOoOoOoOoOoOoOoOoOoOoOoOiL", &id), 0);
	assert_int_equal(id.counter, 33);
	assert_int_equal(message_id_parse("7zzzzzzzzzzzzzzzzzzzzzzzzz", &id), 0);
	assert_int_equal(id.origin, UINT64_MAX);
}

static void what_is_no_id_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"0",
		"0000000000000000000000000",
		"000000000000000000000000000",
		"80000000000000000000000000",
		"0000000000000000000000000U",
		"0000000000000000000000000-",
		"000000000000 0000000000000",
	};
	struct message_id id;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(message_id_parse(texts[i], &id), -EINVAL);
}

static void every_phase_has_a_name(void **state)
{
	for (int a = 0; a < PHASE_COUNT; a++) {
		assert_true(strlen(smtp_phase_name((enum smtp_phase)a)) > 0);
		for (int b = 0; b < a; b++)
			assert_string_not_equal(smtp_phase_name((enum smtp_phase)a),
						smtp_phase_name((enum smtp_phase)b));
	}
	assert_string_equal(smtp_phase_name(PHASE_COUNT), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_survive_their_text),
		cmocka_unit_test(known_text),
		cmocka_unit_test(what_people_type_is_understood),
		cmocka_unit_test(what_is_no_id_is_refused),
		cmocka_unit_test(every_phase_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
