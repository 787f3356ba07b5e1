/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The grammars of one command line: paths, parameters, BDAT, base64. What was parsed must read the
 * same when written. */
#include "dataplane/smtp/address.h"
#include "dataplane/smtp/base64.h"
#include "dataplane/smtp/command.h"
#include "dataplane/smtp/orcpt.h"
#include "dataplane/smtp/parameters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}
#define MUST(condition) must(condition, #condition)

static void check_path(const char *text, size_t size, bool reverse)
{
	struct smtp_address address, again;
	char path[SMTP_ADDRESS_TEXT + 2];
	size_t used, length;

	if (address_parse_path(text, size, reverse, &address, &used) < 0)
		return;
	MUST(used <= size && text[0] == '<' && text[used - 1] == '>');
	MUST(address.size <= SMTP_PATH_MAX && strlen(address.text) == address.size);
	MUST(address.domain <= address.size);
	for (unsigned i = 0; i < address.size; i++)
		MUST((uint8_t)address.text[i] >= ' ' && address.text[i] != 0x7f);
	length = (size_t)snprintf(path, sizeof(path), "<%s>", address.text);
	MUST(address_parse_path(path, length, reverse, &again, &used) == 0 && used == length);
	MUST(strcmp(address.text, again.text) == 0 && again.utf8 == address.utf8 &&
	     again.domain == address.domain);
}

static void check_parameters(const char *text, size_t size)
{
	struct mail_parameters mail;
	struct rcpt_parameters rcpt;

	if (mail_parameters_parse(text, size, true, &mail) == PARAMETER_OK && mail.envid.text)
		MUST(mail.envid.size <= SMTP_ENVID_MAX &&
		     mail.envid.text + mail.envid.size <= text + size);
	for (int utf8 = 0; utf8 < 2; utf8++) {
		if (rcpt_parameters_parse(text, size, utf8, &rcpt) != PARAMETER_OK)
			continue;
		MUST(!(rcpt.notify & DSN_NOTIFY_NEVER) || rcpt.notify == DSN_NOTIFY_NEVER);
		if (!rcpt.orcpt.text)
			continue;
		MUST(rcpt.orcpt.size <= SMTP_ORCPT_MAX &&
		     memchr(rcpt.orcpt.text, ';', rcpt.orcpt.size));
		for (size_t i = 0; i < rcpt.orcpt.size; i++)
			MUST((uint8_t)rcpt.orcpt.text[i] > ' ');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* An exact copy, so that a read past its end is seen. */
	char *text = malloc(size + 1);
	struct smtp_command command;
	struct bdat_command bdat;
	uint8_t decoded[64];
	int length;

	memcpy(text, data, size);
	text = realloc(text, size ? size : 1);
	check_path(text, size, false);
	check_path(text, size, true);
	check_parameters(text, size);
	address_helo_is_valid(text, size);
	smtp_command_parse(text, size, &command);
	MUST(command.argument >= text && command.argument + command.argument_size <= text + size);
	if (bdat_command_parse(text, size, &bdat) == 0)
		MUST(bdat.size <= INT64_MAX);
	smtp_line_is_http(text, size);
	length = base64_decode(text, size, decoded, sizeof(decoded));
	MUST(length <= (int)sizeof(decoded));
	free(text);
	return 0;
}
