/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/buf/chunk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 31 + i / 251);
}

static void fill(uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = pattern(i);
}

static void appended_bytes_are_read_back_over_chunk_boundaries(void **state)
{
	struct chunk_pool *pool = chunk_pool_create(3, 8);
	struct chunk_list list = {0};
	static uint8_t in[3 * CHUNK_DATA + 17], out[sizeof(in)];
	struct chunk_cursor cursor;

	(void)state;
	fill(in, sizeof(in));
	for (size_t at = 0; at < sizeof(in);) {
		size_t n = at % 701 + 1;

		if (n > sizeof(in) - at)
			n = sizeof(in) - at;
		assert_int_equal(chunk_list_append(&list, pool, in + at, n), 0);
		at += n;
	}
	assert_int_equal(list.size, sizeof(in));
	assert_int_equal(list.chunks, 4);
	assert_int_equal(chunk_pool_available(pool), 4);
	cursor = chunk_list_begin(&list);
	for (size_t at = 0; at < sizeof(in);) {
		size_t n = chunk_cursor_read(&cursor, out + at, at % 997 + 1);

		assert_true(n > 0);
		at += n;
	}
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(chunk_cursor_read(&cursor, out, 1), 0);
	chunk_list_free(&list, pool);
	assert_int_equal(chunk_pool_available(pool), 8);
	chunk_pool_destroy(pool);
}

static void an_append_that_does_not_fit_changes_nothing(void **state)
{
	struct chunk_pool *pool = chunk_pool_create(0, 2);
	struct chunk_list list = {0};
	static uint8_t data[2 * CHUNK_DATA];

	(void)state;
	assert_int_equal(chunk_list_append(&list, pool, data, 10), 0);
	assert_int_equal(chunk_list_append(&list, pool, data, sizeof(data)), -ENOBUFS);
	assert_int_equal(list.size, 10);
	assert_int_equal(list.chunks, 1);
	assert_int_equal(chunk_list_append(&list, pool, data, sizeof(data) - 10), 0);
	assert_int_equal(chunk_pool_available(pool), 0);
	assert_null(chunk_alloc(pool));
	assert_int_equal(chunk_list_append(&list, pool, data, 1), -ENOBUFS);
	chunk_list_free(&list, pool);
	chunk_pool_destroy(pool);
}

static void spliced_lists_keep_order_and_counts(void **state)
{
	struct chunk_pool *pool = chunk_pool_create(0, 4);
	struct chunk_list a = {0}, b = {0}, empty = {0};
	char text[16] = "";
	struct chunk_cursor cursor;

	(void)state;
	assert_int_equal(chunk_list_append(&a, pool, "one ", 4), 0);
	assert_int_equal(chunk_list_append(&b, pool, "two", 3), 0);
	chunk_list_splice(&a, &b);
	chunk_list_splice(&a, &empty);
	assert_null(b.head);
	assert_int_equal(a.size, 7);
	assert_int_equal(a.chunks, 2);
	cursor = chunk_list_begin(&a);
	assert_int_equal(chunk_cursor_read(&cursor, text, sizeof(text)), 7);
	assert_string_equal(text, "one two");
	chunk_list_splice(&empty, &a);
	assert_int_equal(empty.size, 7);
	chunk_list_free(&empty, pool);
	assert_int_equal(chunk_pool_available(pool), 4);
	chunk_pool_destroy(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appended_bytes_are_read_back_over_chunk_boundaries),
		cmocka_unit_test(an_append_that_does_not_fit_changes_nothing),
		cmocka_unit_test(spliced_lists_keep_order_and_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
