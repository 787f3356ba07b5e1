/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/smtp/parameters.h"

#include "dataplane/smtp/orcpt.h"
#include "dataplane/smtp/utf8.h"

#include <string.h>
#include <strings.h>

/** RFC 1870, 4: at most 20 digits. */
#define SIZE_DIGITS_MAX 20

/** RFC 3461, 4: capital digits only. */
static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool xtext_is_valid(const char *text, size_t size, bool utf8)
{
	for (size_t i = 0; i < size; i++) {
		uint8_t c = (uint8_t)text[i];

		if (c == '+') {
			int high = i + 2 < size ? hex_value(text[i + 1]) : -1;
			int low = high >= 0 ? hex_value(text[i + 2]) : -1;

			if (low < 0 || high * 16 + low < ' ' || high * 16 + low > '~')
				return false;
			i += 2;
		} else if (c >= 0x80) {
			unsigned length =
				utf8 ? utf8_sequence((const uint8_t *)text + i, size - i) : 0;

			if (length == 0)
				return false;
			i += length - 1;
		} else if (c <= ' ' || c > '~' || c == '=') {
			return false;
		}
	}
	return true;
}

/** One "keyword[=value]". */
struct parameter {
	struct text_span keyword;
	struct text_span value; /**< text is NULL without '=' */
};

/** @return 1 with *out set, 0 at the end, -1 when malformed */
static int next_parameter(const char **at, const char *end, struct parameter *out)
{
	const char *start, *equals;

	if (*at == end)
		return 0;
	if (**at != ' ')
		return -1;
	while (*at < end && **at == ' ')
		++*at;
	if (*at == end)
		return 0;
	start = *at;
	while (*at < end && **at != ' ')
		++*at;
	equals = memchr(start, '=', (size_t)(*at - start));
	*out = (struct parameter){.keyword = {start, (size_t)((equals ? equals : *at) - start)}};
	if (equals)
		out->value = (struct text_span){equals + 1, (size_t)(*at - equals - 1)};
	return out->keyword.size > 0 && (!equals || out->value.size > 0) ? 1 : -1;
}

static bool is_word(const struct text_span *span, const char *word)
{
	return span->text && span->size == strlen(word) &&
	       strncasecmp(span->text, word, span->size) == 0;
}

static enum parameter_error parse_size(const struct text_span *value, uint64_t *out)
{
	uint64_t size = 0;

	if (!value->text || value->size > SIZE_DIGITS_MAX)
		return PARAMETER_SYNTAX;
	for (size_t i = 0; i < value->size; i++) {
		unsigned digit = (unsigned)(value->text[i] - '0');

		if (digit > 9)
			return PARAMETER_SYNTAX;
		size = size > (UINT64_MAX - digit) / 10 ? UINT64_MAX : size * 10 + digit;
	}
	*out = size;
	return PARAMETER_OK;
}

static enum parameter_error parse_body(const struct text_span *value, uint32_t *flags)
{
	if (is_word(value, "8BITMIME"))
		*flags |= MESSAGE_8BITMIME;
	else if (is_word(value, "BINARYMIME"))
		return PARAMETER_UNKNOWN; /* RFC 3030 offers it by a keyword that we do not send */
	else if (!is_word(value, "7BIT"))
		return PARAMETER_SYNTAX;
	return PARAMETER_OK;
}

static enum parameter_error parse_ret(const struct text_span *value, uint32_t *flags)
{
	if (is_word(value, "FULL"))
		*flags |= MESSAGE_RET_FULL;
	else if (is_word(value, "HDRS"))
		*flags |= MESSAGE_RET_HDRS;
	else
		return PARAMETER_SYNTAX;
	return PARAMETER_OK;
}

static enum parameter_error parse_envid(const struct text_span *value, struct text_span *out)
{
	if (!value->text || value->size > SMTP_ENVID_MAX ||
	    !xtext_is_valid(value->text, value->size, false))
		return PARAMETER_SYNTAX;
	*out = *value;
	return PARAMETER_OK;
}

static enum parameter_error parse_auth(const struct text_span *value)
{
	return value->text && (is_word(value, "<>") ||
			       xtext_is_valid(value->text, value->size, true))
		       ? PARAMETER_OK
		       : PARAMETER_SYNTAX;
}

/** Keywords seen, so that none counts twice. */
enum seen {
	SEEN_SIZE = 1 << 0,
	SEEN_BODY = 1 << 1,
	SEEN_SMTPUTF8 = 1 << 2,
	SEEN_RET = 1 << 3,
	SEEN_ENVID = 1 << 4,
	SEEN_AUTH = 1 << 5,
	SEEN_NOTIFY = 1 << 6,
	SEEN_ORCPT = 1 << 7,
};

static enum parameter_error mail_parameter(const struct parameter *parameter, bool auth,
					   unsigned *seen, struct mail_parameters *out)
{
	const struct text_span *keyword = &parameter->keyword, *value = &parameter->value;
	unsigned bit = is_word(keyword, "SIZE")	      ? SEEN_SIZE
		       : is_word(keyword, "BODY")     ? SEEN_BODY
		       : is_word(keyword, "SMTPUTF8") ? SEEN_SMTPUTF8
		       : is_word(keyword, "RET")      ? SEEN_RET
		       : is_word(keyword, "ENVID")    ? SEEN_ENVID
		       : is_word(keyword, "AUTH")     ? SEEN_AUTH
						      : 0;

	if (bit == 0 || (bit == SEEN_AUTH && !auth))
		return PARAMETER_UNKNOWN;
	if (*seen & bit)
		return PARAMETER_SYNTAX;
	*seen |= bit;
	switch (bit) {
	case SEEN_SIZE:
		return parse_size(value, &out->size);
	case SEEN_BODY:
		return parse_body(value, &out->flags);
	case SEEN_RET:
		return parse_ret(value, &out->flags);
	case SEEN_ENVID:
		return parse_envid(value, &out->envid);
	case SEEN_AUTH:
		return parse_auth(value);
	default:
		out->flags |= MESSAGE_SMTPUTF8;
		return value->text ? PARAMETER_SYNTAX : PARAMETER_OK;
	}
}

enum parameter_error mail_parameters_parse(const char *text, size_t size, bool auth,
					   struct mail_parameters *out)
{
	const char *end = text + size;
	struct parameter parameter;
	unsigned seen = 0;
	int more;

	*out = (struct mail_parameters){0};
	while ((more = next_parameter(&text, end, &parameter)) > 0) {
		enum parameter_error error = mail_parameter(&parameter, auth, &seen, out);

		if (error != PARAMETER_OK)
			return error;
	}
	return more < 0 ? PARAMETER_SYNTAX : PARAMETER_OK;
}

/** RFC 3461, 4.1: NEVER alone, or a list of the others. */
static enum parameter_error parse_notify(const struct text_span *value, uint8_t *out)
{
	struct text_span rest = *value;

	while (rest.text) {
		const char *comma = memchr(rest.text, ',', rest.size);
		struct text_span word = {rest.text,
					 comma ? (size_t)(comma - rest.text) : rest.size};

		if (is_word(&word, "NEVER"))
			*out |= DSN_NOTIFY_NEVER;
		else if (is_word(&word, "SUCCESS"))
			*out |= DSN_NOTIFY_SUCCESS;
		else if (is_word(&word, "FAILURE"))
			*out |= DSN_NOTIFY_FAILURE;
		else if (is_word(&word, "DELAY"))
			*out |= DSN_NOTIFY_DELAY;
		else
			return PARAMETER_SYNTAX;
		rest.text = comma ? comma + 1 : NULL;
		rest.size -= word.size + (comma ? 1 : 0);
	}
	return *out == 0 || ((*out & DSN_NOTIFY_NEVER) && *out != DSN_NOTIFY_NEVER)
		       ? PARAMETER_SYNTAX
		       : PARAMETER_OK;
}

static enum parameter_error parse_orcpt(const struct text_span *value, bool utf8,
					struct text_span *out)
{
	if (!value->text || !orcpt_is_valid(value->text, value->size, utf8))
		return PARAMETER_SYNTAX;
	*out = *value;
	return PARAMETER_OK;
}

enum parameter_error rcpt_parameters_parse(const char *text, size_t size, bool utf8,
					   struct rcpt_parameters *out)
{
	const char *end = text + size;
	struct parameter parameter;
	unsigned seen = 0;
	int more;

	*out = (struct rcpt_parameters){0};
	while ((more = next_parameter(&text, end, &parameter)) > 0) {
		bool notify = is_word(&parameter.keyword, "NOTIFY");
		unsigned bit = notify ? SEEN_NOTIFY : SEEN_ORCPT;
		enum parameter_error error;

		if (!notify && !is_word(&parameter.keyword, "ORCPT"))
			return PARAMETER_UNKNOWN;
		if (seen & bit)
			return PARAMETER_SYNTAX;
		seen |= bit;
		error = notify ? parse_notify(&parameter.value, &out->notify)
			       : parse_orcpt(&parameter.value, utf8, &out->orcpt);
		if (error != PARAMETER_OK)
			return error;
	}
	return more < 0 ? PARAMETER_SYNTAX : PARAMETER_OK;
}
