/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Any text is a configuration or is refused with reasons that stand at lines of the text; what is
 * accepted prints to a text that is accepted and prints the same again.
 */
#include "control/config/compile.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_errors(const struct config_errors *errors, const uint8_t *data, size_t size)
{
	unsigned lines = 1;

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	if (errors->count == 0 || errors->count > CONFIG_ERRORS_MAX)
		abort();
	for (unsigned i = 0; i < errors->count; i++) {
		if (errors->errors[i].line > lines || errors->errors[i].reason[0] == '\0')
			abort();
	}
}

static char *print_again(const struct lys_module *module, const char *text)
{
	static struct config_errors errors;
	struct configuration *c = config_load_with(module, text, strlen(text), "again", &errors);
	char *again;

	if (c == NULL) {
		fprintf(stderr, "%u: %s: %s\n%s", errors.errors[0].line, errors.errors[0].path,
			errors.errors[0].reason, text);
		abort();
	}
	again = config_to_text(c);
	config_free(c);
	return again;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct lys_module *module;
	static struct ly_ctx *context;
	static struct config_errors errors;
	struct configuration *c;
	char error[256];

	if (context == NULL)
		context = schema_load(NULL, &module, error);
	c = config_load_with(module, (const char *)data, size, "fuzz", &errors);
	if (c == NULL) {
		check_errors(&errors, data, size);
	} else {
		char *first = config_to_text(c), *second = print_again(module, first);
		char *third = print_again(module, second);

		if (strcmp(second, third) != 0)
			abort();
		view_free(config_make_view(c, 1));
		json_decref(config_to_json(c));
		free(first);
		free(second);
		free(third);
		config_free(c);
	}
	return 0;
}
