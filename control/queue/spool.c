/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/queue/spool.h"

#include "control/queue/spool_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_NUMBER_MAX ((1u << 24) - 1)
#define REAP_MAX	 32u

/* ---- Making and taking apart ---- */

static void destroy(struct spool *spool)
{
	for (uint32_t i = 0; spool->segments != NULL && i < spool->segment_count; i++)
		spool->disk->operations->close(spool->disk, spool->segments[i].file);
	readers_finish(spool);
	slab_finish(&spool->live);
	free(spool->batches[0].buffer);
	free(spool->batches[1].buffer);
	free(spool->header.block);
	round_finish(spool);
	free(spool->scratch);
	free(spool->segments);
	free(spool->pins);
	free(spool);
}

static bool make_aligned(uint8_t **buffer, size_t size)
{
	void *made;

	if (posix_memalign(&made, DISK_ALIGN, size) != 0)
		return false;
	memset(made, 0, size);
	*buffer = made;
	return true;
}

static int check_settings(const struct spool_settings *settings, char *error)
{
	if (settings->segment_size % SPOOL_BLOCK != 0 ||
	    settings->segment_size < 16 * SPOOL_BLOCK || settings->segment_size / 8 > UINT32_MAX) {
		snprintf(error, 256, "segment size %llu is not a multiple of 4096 from 65536",
			 (unsigned long long)settings->segment_size);
		return -EINVAL;
	}
	if (settings->segments < 4 || settings->segments > SPOOL_SEGMENTS_MAX) {
		snprintf(error, 256, "%u segments are not between 4 and %u", settings->segments,
			 SPOOL_SEGMENTS_MAX);
		return -EINVAL;
	}
	return 0;
}

/* Under load a batch may grow to four times what it would be without. */
uint32_t spool_batch_max(uint64_t segment_size, uint32_t batch_bytes)
{
	uint64_t most = (segment_size - 3 * SPOOL_BLOCK) / 3;
	uint64_t size = (uint64_t)batch_bytes * 4;

	if (size > SPOOL_BATCH_MAX)
		size = SPOOL_BATCH_MAX;
	if (size > most)
		size = most;
	if (size < 4 * SPOOL_BLOCK)
		size = 4 * SPOOL_BLOCK;
	return (uint32_t)(size & ~(uint64_t)(SPOOL_BLOCK - 1));
}

static struct spool *make(const struct spool_settings *settings, const struct mr_now *now)
{
	struct spool *spool = calloc(1, sizeof(*spool));

	if (spool == NULL)
		return NULL;
	spool->settings = *settings;
	spool->disk = settings->disk;
	spool->now = *now;
	spool->current = SPOOL_NO_SLOT;
	spool->next = SPOOL_NO_SLOT;
	spool->abandoned = SPOOL_NO_SLOT;
	spool->header.slot = SPOOL_NO_SLOT;
	spool->header.io.kind = IO_HEADER;
	spool->create_io.kind = IO_CREATE;
	spool->batches[0].io.kind = IO_BATCH;
	spool->batches[1].io.kind = IO_BATCH;
	spool->pin_words = (settings->segments + 63) / 64;
	spool->segments = calloc(settings->segments, sizeof(*spool->segments));
	spool->pins = calloc((size_t)settings->segments * spool->pin_words, sizeof(*spool->pins));
	readers_init(spool);
	if (spool->segments == NULL || spool->pins == NULL ||
	    slab_init(&spool->live, sizeof(struct live_message), SPOOL_MESSAGES_MAX) != 0 ||
	    !make_aligned(&spool->header.block, SPOOL_BLOCK)) {
		destroy(spool);
		return NULL;
	}
	return spool;
}

/* ---- Completions ---- */

static void dispatch(struct spool *spool, const struct disk_completion *completion)
{
	struct spool_io *io = completion->user;

	switch (io->kind) {
	case IO_BATCH:
		spool_batch_done(spool, (struct batch *)io, completion->result);
		break;
	case IO_HEADER:
		spool_header_done(spool, completion->result);
		break;
	case IO_CREATE:
		spool_create_done(spool, completion->result);
		break;
	case IO_READ:
		spool_read_done(spool, (struct reader *)io, completion->result);
		break;
	}
}

bool spool_turn(struct spool *spool, const struct mr_now *now)
{
	struct disk_completion completions[REAP_MAX];
	unsigned count;
	bool busy;

	spool->now = *now;
	count = spool->disk->operations->reap(spool->disk, completions, REAP_MAX);
	for (unsigned i = 0; i < count; i++)
		dispatch(spool, &completions[i]);
	busy = count > 0;
	busy |= spool_tell_refused(spool);
	busy |= spool_housekeep(spool);
	busy |= spool_clean(spool);
	busy |= spool_submit(spool);
	spool_update_accepting(spool);
	return busy;
}

static bool is_io_pending(const struct spool *spool)
{
	return spool->flying != NULL || spool->header.slot != SPOOL_NO_SLOT || spool->creating ||
	       spool_is_reading(spool);
}

bool spool_is_waiting(const struct spool *spool)
{
	return is_io_pending(spool);
}

uint64_t spool_next_deadline(const struct spool *spool)
{
	uint64_t deadline = MR_NEVER;

	if (spool->open != NULL && spool->flying == NULL &&
	    spool->open->used > sizeof(struct spool_batch_header))
		deadline = spool->open->opened_us + spool->settings.batch_wait_us;
	if (spool->cleaner.step != CLEAN_IDLE && spool->cleaner.ready_us < deadline)
		deadline = spool->cleaner.ready_us;
	return deadline;
}

/* Turn until `is_over` says so, with the time going on. @return false: it took too long */
static bool pump(struct spool *spool, bool (*is_over)(const struct spool *spool))
{
	struct mr_now now = spool->now;
	uint64_t step_us = US_PER_MS;

	for (uint64_t waited_us = 0; waited_us < SPOOL_CLOSE_WAIT_US; waited_us += step_us) {
		for (unsigned i = 0; i < 64; i++) {
			if (is_over(spool))
				return true;
			if (!spool_turn(spool, &now))
				break;
		}
		spool->disk->operations->wait(spool->disk, step_us);
		now.mono_us += step_us;
		now.wall_us += step_us;
	}
	return false;
}

/* ---- Opening ---- */

/* What recovery found to be without content says so in its header before the log goes on. */
static bool is_tidy(const struct spool *spool)
{
	if (spool->read_only)
		return true;
	for (uint32_t i = 0; i < spool->segment_count; i++) {
		const struct segment *segment = &spool->segments[i];

		if ((segment->state == SEGMENT_LIVE || segment->state == SEGMENT_FREEING) &&
		    segment->sealed && segment->last_batch == 0 && !segment->quarantined)
			return false;
	}
	return true;
}

static bool has_next(const struct spool *spool)
{
	return spool->read_only || spool->current != SPOOL_NO_SLOT ||
	       (spool->next != SPOOL_NO_SLOT &&
		spool_segment(spool, spool->next)->state == SEGMENT_READY);
}

static bool is_started(const struct spool *spool)
{
	return spool->read_only || (spool_is_quiet(spool) && spool->flying == NULL);
}

static bool has_free(const struct spool *spool)
{
	return spool->free_count > 0 || spool->next != SPOOL_NO_SLOT;
}

/* Blocking: at first start only. */
static int make_segments(struct spool *spool, uint32_t count, char *error)
{
	while (spool->segment_count < count || !has_free(spool)) {
		struct disk_file *file;
		char name[16];
		int result = -ENOSPC;

		segment_file_name(name, spool->name_next);
		if (spool->segment_count < spool->settings.segments)
			result = spool->disk->operations->create(
				spool->disk, name, spool->settings.segment_size, &file);
		if (result == 0)
			result = spool_add_segment(spool, file, spool->settings.segment_size);
		if (result != 0) {
			/* With one to write into it can start, and go on when space comes. */
			if (has_free(spool) || spool->current != SPOOL_NO_SLOT)
				return 0;
			snprintf(error, 256, "cannot make a segment: %s", strerror(-result));
			return result;
		}
		spool->name_next++;
	}
	return 0;
}

static int append_mark(struct spool *spool, enum operation_kind kind)
{
	struct spool_start start = {.start_number = spool->start_number,
				    .version = SPOOL_FORMAT_VERSION,
				    .wall_us = spool->now.wall_us};
	struct operation *operation = operation_new(kind, sizeof(start), NULL, NULL);

	if (operation == NULL)
		return -ENOMEM;
	memcpy(operation->data, &start, sizeof(start));
	spool_append_own(spool, operation);
	return 0;
}

static int start(struct spool *spool, char *error)
{
	uint32_t initial = spool->settings.segments_initial;
	int result;

	if (initial > spool->settings.segments)
		initial = spool->settings.segments;
	spool->reclaim_due = true;
	/* Files are made here, one way at a time. */
	spool->create_retry_us = UINT64_MAX;
	if (!pump(spool, is_tidy) || spool->read_only) {
		snprintf(error, 256, "the spool's segments cannot be tidied up");
		return -EIO;
	}
	result = make_segments(spool, initial < 2 ? 2 : initial, error);
	if (result != 0)
		return result;
	if (!pump(spool, has_next) || append_mark(spool, OPERATION_START) != 0 ||
	    !pump(spool, is_started) || spool->read_only) {
		snprintf(error, 256, "the spool cannot be written");
		return -EIO;
	}
	spool->create_retry_us = 0;
	return 0;
}

struct spool *spool_open(const struct spool_settings *settings,
			 const struct spool_recovery *recovery, const struct mr_now *now,
			 struct spool_recovered *recovered, char *error)
{
	struct spool *spool;

	memset(recovered, 0, sizeof(*recovered));
	if (check_settings(settings, error) != 0)
		return NULL;
	spool = make(settings, now);
	if (spool == NULL) {
		snprintf(error, 256, "out of memory");
		return NULL;
	}
	if (spool_recover(spool, recovery, recovered, error) != 0)
		goto fail;
	if (spool->start_number >= START_NUMBER_MAX) {
		snprintf(error, 256, "the spool's start numbers are used up");
		goto fail;
	}
	recovered->start_number = ++spool->start_number;
	spool->batch_max = spool_batch_max(spool->settings.segment_size, settings->batch_bytes);
	if (!make_aligned(&spool->batches[0].buffer, spool->batch_max) ||
	    !make_aligned(&spool->batches[1].buffer, spool->batch_max)) {
		snprintf(error, 256, "out of memory");
		goto fail;
	}
	if (start(spool, error) != 0)
		goto fail;
	spool_update_accepting(spool);
	return spool;
fail:
	spool_abandon(spool);
	return NULL;
}

/* ---- Closing ---- */

static bool is_idle(const struct spool *spool)
{
	return !is_io_pending(spool) && (spool->read_only || spool_is_quiet(spool));
}

/* Nothing is left that would append. */
static bool is_committed(const struct spool *spool)
{
	return spool->read_only ||
	       (spool_is_quiet(spool) && !spool_is_reading(spool) && spool->cleaner.handle == 0 &&
		spool->cleaner.states_pending == 0);
}

void spool_close(struct spool *spool)
{
	/* No new copies, files or freed segments while it ends. */
	spool->cleaner.stopped = true;
	spool->create_retry_us = UINT64_MAX;
	if (pump(spool, is_committed) && !spool->read_only &&
	    append_mark(spool, OPERATION_CLEAN_STOP) == 0)
		pump(spool, is_idle);
	spool_abandon(spool);
}

void spool_abandon(struct spool *spool)
{
	struct disk_completion completion;

	/* The disk lets go of the buffers first; nobody is told. */
	for (unsigned i = 0; is_io_pending(spool) && i < 60000; i++) {
		struct spool_io *io;

		if (spool->disk->operations->reap(spool->disk, &completion, 1) == 0) {
			spool->disk->operations->wait(spool->disk, US_PER_MS);
			continue;
		}
		io = completion.user;
		if (io->kind == IO_BATCH)
			spool->flying = NULL;
		else if (io->kind == IO_HEADER)
			spool->header.slot = SPOOL_NO_SLOT;
		else if (io->kind == IO_CREATE) {
			spool->creating = false;
			if (completion.result >= 0)
				spool->disk->operations->close(spool->disk, spool->created);
		} else {
			struct reader *reader = (struct reader *)io;

			reader->in_flight = false;
			if (reader->chunks != NULL)
				chunk_list_free(&reader->body, reader->chunks);
		}
	}
	spool_drop_all(spool);
	destroy(spool);
}

/* ---- Showing ---- */

bool spool_accepting(const struct spool *spool)
{
	return spool->accepting;
}

void spool_set_relocator(struct spool *spool,
			 void (*relocated)(void *context, const struct message_id *id,
					   const struct spool_location *to),
			 void *context)
{
	spool->relocated = relocated;
	spool->relocated_context = context;
}

void spool_set_snapshots(struct spool *spool,
			 size_t (*snapshot)(void *context, const struct message_id *id, void *to,
					    size_t max),
			 size_t (*note)(void *context, void *to, size_t max), void *context)
{
	spool->snapshot = snapshot;
	spool->note = note;
	spool->snapshot_context = context;
}

void spool_statistics(const struct spool *spool, struct spool_statistics *out)
{
	*out = spool->statistics;
	out->segments_total = spool->segment_count;
	out->segments_free = 0;
	out->segments_live = 0;
	out->segments_quarantined = 0;
	for (uint32_t i = 0; i < spool->segment_count; i++) {
		const struct segment *segment = &spool->segments[i];

		if (segment->quarantined)
			out->segments_quarantined++;
		else if (segment->state == SEGMENT_LIVE || segment->state == SEGMENT_FREEING)
			out->segments_live++;
		else
			out->segments_free++;
	}
	out->read_only = spool->read_only;
	out->accepting = spool->accepting;
	out->method = spool->disk->method;
}
