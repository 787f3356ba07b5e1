/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/disk/crc32c.h"
#include "drivers/random.h"

#include <string.h>

/* RFC 3720, B.4 */
static void test_rfc3720_examples(void **state)
{
	uint8_t data[32];

	memset(data, 0, sizeof(data));
	assert_int_equal(crc32c(0, data, 32), 0x8a9136aa);
	memset(data, 0xff, sizeof(data));
	assert_int_equal(crc32c(0, data, 32), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		data[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, data, 32), 0x46dd794e);
	for (unsigned i = 0; i < 32; i++)
		data[i] = (uint8_t)(31 - i);
	assert_int_equal(crc32c(0, data, 32), 0x113fdb5c);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
}

static void test_the_instruction_and_the_table_agree(void **state)
{
	static uint8_t data[64 << 10];
	struct mr_random random;

	random_init_seed(&random, 1);
	random_bytes(&random, data, sizeof(data));
	for (unsigned i = 0; i < 2000; i++) {
		size_t offset = random_below(&random, 64);
		size_t size = random_below(&random, i % 4 == 0 ? 60000 : 1000);
		uint32_t start = random_u32(&random);

		assert_int_equal(crc32c(start, data + offset, size),
				 crc32c_table(start, data + offset, size));
	}
}

static void test_a_crc_goes_on_where_another_ended(void **state)
{
	static uint8_t data[20000];
	struct mr_random random;

	random_init_seed(&random, 2);
	random_bytes(&random, data, sizeof(data));
	for (unsigned i = 0; i < 500; i++) {
		size_t cut = random_below(&random, sizeof(data));

		assert_int_equal(crc32c(crc32c(0, data, cut), data + cut, sizeof(data) - cut),
				 crc32c(0, data, sizeof(data)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc3720_examples),
		cmocka_unit_test(test_the_instruction_and_the_table_agree),
		cmocka_unit_test(test_a_crc_goes_on_where_another_ended),
	};

	return cmocka_run_group_tests_name("crc32c", tests, NULL, NULL);
}
