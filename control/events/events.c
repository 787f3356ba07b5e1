/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The event log: a bounded ring of packed events between the shards and a writer thread.
 *
 * Owners: `head` and the bytes ahead of it belong to whoever holds the lock (shards, shortly: a
 * copy of some hundred octets); the bytes from `tail` to `head` belong to the writer, which formats
 * and writes without the lock. Memory: one ring, fixed; the writer's text buffer grows to its
 * largest event.
 *
 * What must hold: an event that was emitted is written, in order, or the log still holds it; a ring
 * without room says -EAGAIN and takes nothing of the event.
 */
#include "control/events/events.h"

#include "control/events/event_file.h"
#include "control/events/event_format.h"
#include "control/telemetry/log.h"
#include "drivers/clock.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RING_BYTES	 (UINT64_C(16) << 20)
#define RECORD_BYTES_MAX (UINT64_C(1) << 20)
#define TEXT_MAX	 8192 /**< of one text; longer ones are cut */
#define WRITE_BYTES	 (256u << 10)
#define NAP_US		 UINT64_C(10000)  /**< how long an event may wait for company */
#define IDLE_NAPS	 100		  /**< then sleep until woken */
#define RETRY_US	 UINT64_C(500000) /**< between tries of a failing disk */
#define CLOSE_TRIES	 6

/** In the ring. Pointers of `event` are offsets from the record until the writer has it. */
struct record_head {
	uint32_t size; /**< with this head, a multiple of 8 */
	uint32_t part; /**< PART_SKIP: nothing, go on at the ring's start */
	struct event event;
	struct ip_address peer, source;
	struct message_id dsn_for;
};
#define PART_SKIP UINT32_MAX

struct event_log {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool stopping, sleeping;
	uint64_t head, tail; /**< octets since the start; the place is modulo RING_BYTES */
	uint8_t *ring;
	char node[32];
	struct event_file file;
	struct text_buffer text; /**< formatted, not written yet */
	uint64_t text_events;
	uint64_t written, bytes, errors, rotations,
		emitted; /**< read by others with relaxed loads */
};

/* The texts of an event, by their place in it. */
static const size_t text_offsets[] = {
	offsetof(struct event, sender),
	offsetof(struct event, queue),
	offsetof(struct event, site),
	offsetof(struct event, source),
	offsetof(struct event, pool),
	offsetof(struct event, tenant),
	offsetof(struct event, campaign),
	offsetof(struct event, listener),
	offsetof(struct event, auth_user),
	offsetof(struct event, helo),
	offsetof(struct event, message_id_header),
	offsetof(struct event, reception_protocol),
	offsetof(struct event, peer_name),
	offsetof(struct event, reply_text),
	offsetof(struct event, phase),
	offsetof(struct event, tls_version),
	offsetof(struct event, tls_cipher),
};
#define TEXTS (sizeof(text_offsets) / sizeof(text_offsets[0]))

static const char **text_at(struct event *event, unsigned i)
{
	return (const char **)(void *)((char *)event + text_offsets[i]);
}

static size_t round_up(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

static size_t texts_size(const struct event *event)
{
	size_t size = 0;

	for (unsigned i = 0; i < TEXTS; i++) {
		const char *text = *text_at((struct event *)(uintptr_t)event, i);

		if (text != NULL)
			size += strnlen(text, TEXT_MAX) + 1;
	}
	return size;
}

/*
 * How many recipients from `from` on go into one record. @param size set to the record's octets
 */
static unsigned part_of(const struct event *event, unsigned from, size_t texts, size_t *size)
{
	size_t total = sizeof(struct record_head) + texts;
	unsigned count = 0;

	for (; from + count < event->recipient_count; count++) {
		size_t more =
			sizeof(char *) + strnlen(event->recipients[from + count], TEXT_MAX) + 1;

		if (count > 0 && total + more > RECORD_BYTES_MAX)
			break;
		total += more;
	}
	*size = round_up(total);
	return count;
}

static char *pack_text(char *at, const char *text, const void *record, const char **where)
{
	size_t size = strnlen(text, TEXT_MAX);

	memcpy(at, text, size);
	at[size] = '\0';
	*where = (const char *)(uintptr_t)(at - (const char *)record);
	return at + size + 1;
}

static void pack(struct record_head *record, size_t size, unsigned part, const struct event *event,
		 unsigned from, unsigned count)
{
	const char **recipients = (const char **)(record + 1);
	char *at = (char *)(recipients + count);

	record->size = (uint32_t)size;
	record->part = part;
	record->event = *event;
	record->event.recipient_count = count;
	if (event->peer_address != NULL)
		record->peer = *event->peer_address;
	if (event->source_address != NULL)
		record->source = *event->source_address;
	if (event->dsn_for != NULL)
		record->dsn_for = *event->dsn_for;
	for (unsigned i = 0; i < count; i++)
		at = pack_text(at, event->recipients[from + i], record, &recipients[i]);
	for (unsigned i = 0; i < TEXTS; i++) {
		const char **where = text_at(&record->event, i);

		if (*where != NULL)
			at = pack_text(at, *where, record, where);
	}
}

/* Offsets become pointers again. */
static void unpack(struct record_head *record)
{
	const char **recipients = (const char **)(record + 1);
	struct event *event = &record->event;

	for (unsigned i = 0; i < event->recipient_count; i++)
		recipients[i] = (const char *)record + (uintptr_t)recipients[i];
	for (unsigned i = 0; i < TEXTS; i++) {
		const char **where = text_at(event, i);

		if (*where != NULL)
			*where = (const char *)record + (uintptr_t)*where;
	}
	event->recipients = recipients;
	if (event->peer_address != NULL)
		event->peer_address = &record->peer;
	if (event->source_address != NULL)
		event->source_address = &record->source;
	if (event->dsn_for != NULL)
		event->dsn_for = &record->dsn_for;
}

/* The lock is held and room was seen to be enough. A record never wraps: what is left at the end is
 * skipped. */
static struct record_head *reserve(struct event_log *log, size_t size)
{
	uint64_t place = log->head % RING_BYTES;
	struct record_head *record;

	if (place + size > RING_BYTES) {
		record = (struct record_head *)(void *)(log->ring + place);
		record->size = (uint32_t)(RING_BYTES - place);
		record->part = PART_SKIP;
		log->head += record->size;
		place = 0;
	}
	record = (struct record_head *)(void *)(log->ring + place);
	log->head += size;
	return record;
}

int event_log_emit(struct event_log *log, const struct event *event)
{
	size_t texts = texts_size(event), total = 0, size;
	unsigned from = 0, count, part = 0;

	do {
		count = part_of(event, from, texts, &size);
		total += size;
		from += count;
	} while (from < event->recipient_count);
	/* The model bounds a message's recipients so that it is so. */
	assert(total <= RING_BYTES / 2);
	pthread_mutex_lock(&log->lock);
	/* At most one record's worth is skipped at the ring's end. */
	if (log->stopping ||
	    RING_BYTES - (log->head - log->tail) < total + size + RECORD_BYTES_MAX) {
		pthread_mutex_unlock(&log->lock);
		return -EAGAIN;
	}
	from = 0;
	do {
		count = part_of(event, from, texts, &size);
		if (count < event->recipient_count)
			part++;
		pack(reserve(log, size), size, part, event, from, count);
		from += count;
	} while (from < event->recipient_count);
	__atomic_store_n(&log->emitted, log->emitted + 1, __ATOMIC_RELAXED);
	if (log->sleeping || log->head - log->tail > RING_BYTES / 4) {
		log->sleeping = false;
		pthread_cond_signal(&log->wake);
	}
	pthread_mutex_unlock(&log->lock);
	return 0;
}

/* ---- The writer's thread ---- */

static void count(uint64_t *counter, uint64_t more)
{
	__atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

/* The lock is held. Naps while little happens, sleeps when nothing does. */
static void wait_for_events(struct event_log *log, unsigned *idle_naps)
{
	struct timespec until;

	if (*idle_naps >= IDLE_NAPS) {
		log->sleeping = true;
		while (log->sleeping && !log->stopping)
			pthread_cond_wait(&log->wake, &log->lock);
		log->sleeping = false;
		*idle_naps = 0;
		return;
	}
	++*idle_naps;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)NAP_US * 1000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&log->wake, &log->lock, &until);
}

static void pause_after_error(struct event_log *log)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)RETRY_US * 1000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&log->lock);
	/* Emitters signal when the ring fills; the pause is for the disk, and goes on. */
	while (pthread_cond_timedwait(&log->wake, &log->lock, &until) == 0)
		continue;
	pthread_mutex_unlock(&log->lock);
}

static bool is_stopping(struct event_log *log)
{
	bool stopping;

	pthread_mutex_lock(&log->lock);
	stopping = log->stopping;
	pthread_mutex_unlock(&log->lock);
	return stopping;
}

/* Write the text out, however often the disk fails, but at a stop only so often. */
static void flush(struct event_log *log)
{
	size_t at = 0, done;
	unsigned tries = 0;

	while (at < log->text.size) {
		int result = event_file_append(&log->file, log->text.data + at, log->text.size - at,
					       &done);

		at += done;
		count(&log->bytes, done);
		__atomic_store_n(&log->rotations, log->file.rotations, __ATOMIC_RELAXED);
		if (result == 0)
			continue;
		count(&log->errors, 1);
		log_error("events", "%s/events.jsonl: %s; trying again", log->file.directory,
			  strerror(-result));
		if (is_stopping(log) && ++tries == CLOSE_TRIES) {
			log_error("events", "%zu octets of events are lost", log->text.size - at);
			break;
		}
		pause_after_error(log);
	}
	count(&log->written, log->text_events);
	log->text_events = 0;
	log->text.size = 0;
}

static void drain(struct event_log *log, uint64_t head)
{
	uint64_t tail = log->tail;

	while (tail != head) {
		struct record_head *record =
			(struct record_head *)(void *)(log->ring + tail % RING_BYTES);
		uint64_t size = record->size;

		if (record->part != PART_SKIP) {
			unpack(record);
			event_format(&log->text, &record->event, log->node, record->part);
			log->text_events += record->part <= 1;
		}
		tail += size;
		if (log->text.size < WRITE_BYTES && tail != head)
			continue;
		flush(log);
		pthread_mutex_lock(&log->lock);
		log->tail = tail;
		pthread_mutex_unlock(&log->lock);
	}
}

static void *writer_main(void *argument)
{
	struct event_log *log = argument;
	unsigned idle_naps = 0;

	pthread_setname_np(pthread_self(), "events");
	for (;;) {
		uint64_t head;
		bool stopping;

		pthread_mutex_lock(&log->lock);
		if (log->head == log->tail && !log->stopping)
			wait_for_events(log, &idle_naps);
		head = log->head;
		stopping = log->stopping;
		pthread_mutex_unlock(&log->lock);
		if (head != log->tail) {
			idle_naps = 0;
			drain(log, head);
		} else if (stopping) {
			return NULL;
		}
	}
}

struct event_log *event_log_open(const struct event_log_settings *settings, char *error)
{
	struct event_log *log = calloc(1, sizeof(*log));
	pthread_condattr_t attributes;
	int result;

	if (log == NULL)
		abort();
	log->ring = aligned_alloc(64, RING_BYTES);
	if (log->ring == NULL)
		abort();
	snprintf(log->node, sizeof(log->node), "%s", settings->node != NULL ? settings->node : "0");
	result = event_file_open(&log->file, settings->directory, settings->rotate_bytes,
				 settings->keep);
	if (result != 0) {
		snprintf(error, 256, "event log in %.180s: %s", settings->directory,
			 strerror(-result));
		free(log->ring);
		free(log);
		return NULL;
	}
	pthread_mutex_init(&log->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&log->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	result = pthread_create(&log->thread, NULL, writer_main, log);
	if (result == 0)
		return log;
	snprintf(error, 256, "event log: no thread: %s", strerror(result));
	event_file_close(&log->file);
	free(log->ring);
	free(log);
	return NULL;
}

void event_log_close(struct event_log *log)
{
	if (log == NULL)
		return;
	pthread_mutex_lock(&log->lock);
	log->stopping = true;
	pthread_cond_signal(&log->wake);
	pthread_mutex_unlock(&log->lock);
	pthread_join(log->thread, NULL);
	event_file_close(&log->file);
	pthread_cond_destroy(&log->wake);
	pthread_mutex_destroy(&log->lock);
	free(log->text.data);
	free(log->ring);
	free(log);
}

void event_log_statistics(struct event_log *log, struct event_log_statistics *out)
{
	uint64_t emitted = __atomic_load_n(&log->emitted, __ATOMIC_RELAXED);

	out->written = __atomic_load_n(&log->written, __ATOMIC_RELAXED);
	out->bytes = __atomic_load_n(&log->bytes, __ATOMIC_RELAXED);
	out->rotations = __atomic_load_n(&log->rotations, __ATOMIC_RELAXED);
	out->errors = __atomic_load_n(&log->errors, __ATOMIC_RELAXED);
	out->waiting = emitted > out->written ? emitted - out->written : 0;
}
