/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A message's octets, by DATA and by BDAT, in pieces of any size: against a model that looks at one
 * octet at a time. The first octet chooses limits and form, the second seeds where the rest is cut.
 */
#include "dataplane/smtp/intake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL_CHUNKS 64
#define TRACE	    "Received: t\r\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}
#define MUST(condition) must(condition, #condition)

/** What a message must come out as, and whether its endings are sound. */
struct model {
	uint8_t *out;
	size_t size;
	bool bad;   /**< a bare CR or LF, or a NUL */
	bool ended; /**< DATA reached its end */
	size_t used;
};

/** RFC 5321, 4.5.2, and what `normalize` says, one octet at a time over the whole text. */
static void run_model(struct model *m, const uint8_t *data, size_t size, bool dots, bool normalize)
{
	bool line_start = true; /* behind CRLF */

	for (size_t i = 0; i < size && !m->ended; i++) {
		bool start = line_start;

		line_start = false;
		if (dots && start && data[i] == '.') {
			if (i + 2 < size && data[i + 1] == '\r' && data[i + 2] == '\n') {
				m->ended = true;
				m->used = i + 3;
				return;
			}
			continue;
		}
		if (data[i] == '\r' && i + 1 < size && data[i + 1] == '\n') {
			m->out[m->size++] = '\r';
			m->out[m->size++] = '\n';
			i++;
			line_start = true;
		} else if (data[i] == '\n') {
			m->bad |= !normalize;
			m->out[m->size++] = '\r';
			m->out[m->size++] = '\n';
		} else if (data[i] == '\r') {
			m->bad |= !normalize;
			m->out[m->size++] = ' ';
		} else {
			m->bad |= data[i] == '\0';
			m->out[m->size++] = data[i];
		}
	}
	m->used = size;
	if (m->size >= 1 && (m->size < 2 || m->out[m->size - 1] != '\n'))
		m->out[m->size++] = '\r', m->out[m->size++] = '\n';
}

static void check_body(const struct intake *intake, const struct model *m)
{
	struct chunk_cursor cursor = chunk_list_begin(&intake->body);
	size_t size = strlen(TRACE) + m->size;
	uint8_t *body = malloc(size + 8);
	bool headless = intake->headless;

	MUST(intake->body.size == size + (headless ? 2 : 0));
	MUST(chunk_cursor_read(&cursor, body, size + 8) == intake->body.size);
	MUST(memcmp(body, TRACE, strlen(TRACE)) == 0);
	MUST(memcmp(body + strlen(TRACE) + (headless ? 2 : 0), m->out, m->size) == 0);
	MUST(intake->header_size <= intake->body.size);
	free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct chunk_pool *pool;
	static struct intake intake;
	struct intake_limits limits = {.accept_long_lines = true};
	struct model model = {0};
	uint32_t seed;
	bool dots, ended = false;
	size_t at = 0;

	if (!pool)
		pool = chunk_pool_create(1, POOL_CHUNKS);
	if (size < 2 || size > 60000)
		return 0;
	dots = data[0] & 1;
	limits.normalize = data[0] & 2;
	seed = data[1] + 1u;
	data += 2;
	size -= 2;
	model.out = malloc(2 * size + 4);
	run_model(&model, data, size, dots, limits.normalize);
	intake_init(&intake, pool, &limits, "mx.example", false, TRACE, strlen(TRACE));
	while (at < size && !ended) {
		size_t n, taken;
		uint8_t *piece;

		seed = seed * 1103515245u + 12345u;
		n = 1 + (seed >> 16) % (seed & 0x8000 ? 7 : 300);
		if (n > size - at)
			n = size - at;
		piece = malloc(n);
		memcpy(piece, data + at, n);
		taken = n;
		if (dots)
			taken = intake_data(&intake, piece, n, &ended);
		else
			intake_chunk(&intake, piece, n);
		MUST(taken == n || ended);
		at += taken;
		free(piece);
	}
	MUST(ended == model.ended);
	/* DATA that was cut off is never finished; BDAT may end anywhere. */
	if (ended || !dots) {
		MUST(at == model.used);
		intake_finish(&intake, NULL, 0);
		MUST((intake.fault != INTAKE_NONE) == model.bad || intake.fault == INTAKE_LOOP);
		if (intake.fault == INTAKE_NONE)
			check_body(&intake, &model);
	}
	intake_free(&intake);
	MUST(chunk_pool_available(pool) == POOL_CHUNKS);
	free(model.out);
	return 0;
}
