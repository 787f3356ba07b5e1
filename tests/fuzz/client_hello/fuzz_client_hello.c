/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The ClientHello reader on any bytes. Beyond memory safety: what is accepted is within the input,
 * a prefix of it is never accepted earlier, the name is printable and ends, and the verdict on a
 * complete hello does not depend on what follows it.
 */
#include "tls/tls.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[256], again[256];
	int result;

	memset(name, 'x', sizeof(name));
	result = tls_client_hello_peek(data, size, name);
	assert(memchr(name, 0, sizeof(name)));
	assert(result == -EPROTO || (result >= 0 && (size_t)result <= size));
	for (const char *p = name; *p; p++)
		assert(*p > ' ' && *p < 0x7f);
	if (result <= 0) {
		assert(name[0] == '\0');
		return 0;
	}
	/* An exact copy, so that AddressSanitizer sees a read behind the hello. */
	uint8_t *copy = malloc((size_t)result);

	memcpy(copy, data, (size_t)result);
	assert(tls_client_hello_peek(copy, (size_t)result, again) == result);
	assert(strcmp(name, again) == 0);
	assert(tls_client_hello_peek(copy, (size_t)result - 1, again) == 0);
	free(copy);
	return 0;
}
