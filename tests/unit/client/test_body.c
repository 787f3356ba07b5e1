/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Bodies on their way out, against a plain model: any text, any chunks, any room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/smtp/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MAX_TEXT 600

struct output {
	char text[2 * SIZE_MAX_TEXT];
	size_t size;
};

static int take(void *context, const void *data, size_t size)
{
	struct output *output = context;

	assert_true(size > 0 && output->size + size <= sizeof(output->text));
	memcpy(output->text + output->size, data, size);
	output->size += size;
	return 0;
}

/** What goes out, octet by octet. @return false: a bare CR or LF; *out is what stands before it */
static bool model(const char *text, size_t size, bool stuff, struct output *out)
{
	out->size = 0;
	for (size_t i = 0; i < size; i++) {
		bool line_start = i == 0 || text[i - 1] == '\n';

		if ((i > 0 && text[i - 1] == '\r') != (text[i] == '\n'))
			return false;
		if (stuff && line_start && text[i] == '.')
			out->text[out->size++] = '.';
		out->text[out->size++] = text[i];
	}
	return size == 0 || text[size - 1] != '\r';
}

static size_t make_text(char *text, bool sound)
{
	size_t lines = 1 + (size_t)rand() % 12, size = 0;

	for (size_t i = 0; i < lines; i++) {
		size_t length = (size_t)rand() % 40;

		for (size_t j = 0; j < length; j++)
			text[size++] = "..ab\x80 "[rand() % 6];
		text[size++] = '\r';
		text[size++] = '\n';
	}
	if (!sound)
		text[(size_t)rand() % size] = "\r\n"[rand() % 2];
	return size;
}

static struct chunk *cut(const char *text, size_t size, unsigned most)
{
	struct chunk *head = NULL, **link = &head;

	for (size_t at = 0; at < size;) {
		size_t length = 1 + (size_t)rand() % most;
		struct chunk *chunk = calloc(1, sizeof(*chunk));

		assert_non_null(chunk);
		length = length < size - at ? length : size - at;
		memcpy(chunk->data, text + at, length);
		chunk->length = (uint16_t)length;
		at += length;
		*link = chunk;
		link = &chunk->next;
	}
	return head;
}

static void run(bool sound)
{
	static struct output expected, got;
	const struct smtp_client_sink sink = {.write = take, .context = &got};
	char text[SIZE_MAX_TEXT];
	size_t size = make_text(text, sound);
	bool stuff = rand() % 2;
	bool good = model(text, size, stuff, &expected);
	struct chunk *chunks = cut(text, size, rand() % 2 ? 300 : 5);
	struct client_body body;
	int code = 0;

	got.size = 0;
	client_body_begin(&body, chunks, size, stuff);
	while (code == 0) {
		size_t room = 1 + (size_t)rand() % 50;

		code = client_body_write(&body, &sink, &room);
	}
	if (good) {
		assert_int_equal(code, 1);
		assert_int_equal(got.size, expected.size);
	} else {
		/* Nothing behind the fault, and never the LF that completes a bare one. */
		assert_int_equal(code, -EBADMSG);
		assert_true(got.size <= expected.size);
	}
	assert_memory_equal(got.text, expected.text, got.size);
	while (chunks) {
		struct chunk *next = chunks->next;

		free(chunks);
		chunks = next;
	}
}

static void sound_texts_go_out_as_the_model_says(void **state)
{
	srand(1);
	for (int i = 0; i < 3000; i++)
		run(true);
}

static void nothing_goes_out_behind_a_bare_cr_or_lf(void **state)
{
	srand(2);
	for (int i = 0; i < 3000; i++)
		run(false);
}

static void body_shorter_than_its_size_is_an_error(void **state)
{
	static struct output got;
	const struct smtp_client_sink sink = {.write = take, .context = &got};
	struct chunk *chunks = cut("abc\r\n", 5, 5);
	struct client_body body;
	size_t room = 1000;

	client_body_begin(&body, chunks, 6, true);
	assert_int_equal(client_body_write(&body, &sink, &room), -ENODATA);
	while (chunks) {
		struct chunk *next = chunks->next;

		free(chunks);
		chunks = next;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sound_texts_go_out_as_the_model_says),
		cmocka_unit_test(nothing_goes_out_behind_a_bare_cr_or_lf),
		cmocka_unit_test(body_shorter_than_its_size_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
