/* SPDX-License-Identifier: GPL-3.0-or-later */
/* `show crypto` says what the kernel says of this CPU, and never claims to use what is not there.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "drivers/crypto/crypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* " flag " of the first processor in /proc/cpuinfo */
static bool kernel_has(const char *flag)
{
	char line[8192], word[64];
	bool found = false;
	FILE *f = fopen("/proc/cpuinfo", "r");

	assert_non_null(f);
	snprintf(word, sizeof(word), " %s ", flag);
	while (!found && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "flags", 5) != 0)
			continue;
		line[strcspn(line, "\n")] = ' ';
		found = strstr(line, word) != NULL;
	}
	fclose(f);
	return found;
}

static void features_are_those_that_the_kernel_sees(void **state)
{
	static const struct {
		const char *name, *flag;
	} same[] = {
		{"AES-NI", "aes"},
		{"PCLMULQDQ", "pclmulqdq"},
		{"SSE4.2", "sse4_2"},
		{"AVX2", "avx2"},
		{"BMI2", "bmi2"},
		{"ADX", "adx"},
		{"SHA-NI", "sha_ni"},
		{"VAES", "vaes"},
		{"VPCLMULQDQ", "vpclmulqdq"},
		{"AVX-512 F", "avx512f"},
		{"AVX-512 IFMA", "avx512ifma"},
	};
	struct crypto_feature features[CRYPTO_FEATURES_MAX];
	unsigned count = crypto_features(features, CRYPTO_FEATURES_MAX);

	assert_in_range(count, 12, CRYPTO_FEATURES_MAX);
	for (unsigned i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		unsigned at = 0;

		while (at < count && strcmp(features[at].name, same[i].name) != 0)
			at++;
		assert_true(at < count);
		if (features[at].available != kernel_has(same[i].flag))
			fail_msg("%s: %d", same[i].name, features[at].available);
	}
	assert_int_equal(crypto_features(features, 3), 3);
	for (unsigned i = 0; i < count; i++) {
		assert_true(features[i].why[0] != '\0');
		assert_false(features[i].used && !features[i].available);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(features_are_those_that_the_kernel_sees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
