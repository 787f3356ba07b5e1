/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Fuzz target: the reply parser. The first octet says in pieces of what size the rest comes.
 * Whatever comes, limits hold, what is kept is printable UTF-8, and the result does not depend on
 * the pieces.
 */
#include "dataplane/smtp/client_features.h"
#include "dataplane/smtp/reply.h"
#include "dataplane/smtp/utf8.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct summary {
	unsigned replies;
	unsigned codes;
	bool broken;
	struct smtp_reply last;
	struct client_features features;
};

static void check_reply(const struct smtp_reply *reply)
{
	size_t length = strnlen(reply->text, REPLY_TEXT);

	assert(reply->code >= 200 && reply->code <= 599);
	assert(length < REPLY_TEXT && utf8_is_valid(reply->text, length));
	assert(reply->enhanced.class == 0 || reply->enhanced.class == reply->code / 100);
	for (size_t i = 0; i < length; i++)
		assert((unsigned char)reply->text[i] >= ' ' && reply->text[i] != 127);
}

static void parse(const uint8_t *data, size_t size, size_t step, struct summary *summary)
{
	struct reply_parser parser;
	size_t at = 0;

	memset(summary, 0, sizeof(*summary));
	reply_parser_init(&parser);
	while (at < size) {
		size_t piece = step < size - at ? step : size - at;
		size_t used;
		enum reply_status status = reply_parser_input(&parser, data + at, piece, &used);

		assert(used <= piece);
		at += used;
		if (status == REPLY_BROKEN) {
			assert(parser.error);
			summary->broken = true;
			return;
		}
		assert(used > 0);
		assert(parser.size <= REPLY_SIZE_MAX && parser.lines <= REPLY_LINES_MAX);
		if (status == REPLY_LINE || status == REPLY_DONE)
			client_features_read(&summary->features, reply_parser_line(&parser));
		if (status == REPLY_DONE) {
			check_reply(&parser.reply);
			summary->replies++;
			summary->codes += parser.reply.code;
			summary->last = parser.reply;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct summary pieces, whole;

	if (size == 0)
		return 0;
	parse(data + 1, size - 1, 1 + data[0] % 32, &pieces);
	parse(data + 1, size - 1, size, &whole);
	assert(memcmp(&pieces.last, &whole.last, sizeof(pieces.last)) == 0);
	assert(memcmp(&pieces.features, &whole.features, sizeof(pieces.features)) == 0);
	assert(pieces.replies == whole.replies && pieces.codes == whole.codes &&
	       pieces.broken == whole.broken);
	return 0;
}
