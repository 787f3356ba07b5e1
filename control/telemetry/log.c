/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Diagnostics log. Owner: any control thread, under one lock. Memory: static; no allocation after
 * log_open. RFC 3339 for the time.
 */
#include "control/telemetry/log.h"

#include "drivers/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * Repeats are recognised by their format string: its address is the message's identity. One that is
 * "%s" alone says nothing of the message, so there the text decides.
 */
#define REPEAT_SLOTS 64
struct repeat {
	uint64_t identity; /**< 0: free */
	const char *format;
	const char *area;
	uint64_t since_us;
	unsigned count;
};

static struct {
	pthread_mutex_t lock;
	int fd; /**< -1: standard error */
	char file[256];
	enum log_level level;
	uint64_t rotate_bytes;
	unsigned keep;
	uint64_t size_bytes;
	struct repeat repeats[REPEAT_SLOTS];
	struct log_statistics statistics;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1, .level = LOG_LEVEL_INFO};

static const char *const level_names[] = {"error", "warning", "info", "debug"};

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

int log_level_parse(const char *name, enum log_level *level)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool log_wants(enum log_level level)
{
	return level <= __atomic_load_n(&state.level, __ATOMIC_RELAXED);
}

/* Make the file ready; its size counts towards rotation. */
static int file_open(const char *file, uint64_t *size_bytes)
{
	struct stat about;
	int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

	if (fd < 0)
		return -errno;
	*size_bytes = fstat(fd, &about) == 0 ? (uint64_t)about.st_size : 0;
	return fd;
}

int log_open(const struct log_settings *settings, char *error)
{
	uint64_t size_bytes = 0;
	int fd = -1;

	if (settings->file != NULL && settings->file[0] != '\0') {
		if (strlen(settings->file) >= sizeof(state.file)) {
			snprintf(error, 256, "log file: the name is too long");
			return -ENAMETOOLONG;
		}
		fd = file_open(settings->file, &size_bytes);
		if (fd < 0) {
			snprintf(error, 256, "log file %.180s: %s", settings->file, strerror(-fd));
			return fd;
		}
	}
	pthread_mutex_lock(&state.lock);
	if (state.fd >= 0)
		close(state.fd);
	state.fd = fd;
	snprintf(state.file, sizeof(state.file), "%s", fd >= 0 ? settings->file : "");
	__atomic_store_n(&state.level, settings->level, __ATOMIC_RELAXED);
	state.rotate_bytes = settings->rotate_bytes;
	state.keep = settings->keep > 0 ? settings->keep : 1;
	state.size_bytes = size_bytes;
	pthread_mutex_unlock(&state.lock);
	return 0;
}

/* FILE.keep goes, FILE.n becomes FILE.n+1, FILE becomes FILE.1. */
static void rotate(void)
{
	char from[sizeof(state.file) + 16], to[sizeof(state.file) + 16];

	for (unsigned i = state.keep; i > 0; i--) {
		if (i == 1)
			snprintf(from, sizeof(from), "%s", state.file);
		else
			snprintf(from, sizeof(from), "%s.%u", state.file, i - 1);
		snprintf(to, sizeof(to), "%s.%u", state.file, i);
		rename(from, to);
	}
	close(state.fd);
	state.fd = file_open(state.file, &state.size_bytes);
	state.statistics.rotations++;
}

static void emit(const char *line, size_t size)
{
	ssize_t done;

	if (state.file[0] != '\0') {
		if (state.fd >= 0 && state.rotate_bytes > 0 && state.size_bytes > 0 &&
		    state.size_bytes + size > state.rotate_bytes)
			rotate();
		if (state.fd < 0)
			state.fd = file_open(state.file, &state.size_bytes);
		done = state.fd >= 0 ? write(state.fd, line, size) : -1;
		if (done == (ssize_t)size) {
			state.size_bytes += size;
			return;
		}
		state.statistics.write_errors++;
		if (state.fd >= 0)
			close(state.fd);
		state.fd = -1;
	}
	done = write(STDERR_FILENO, line, size);
	(void)done;
}

static size_t put_time(char *out, size_t size, uint64_t wall_us)
{
	time_t seconds = (time_t)(wall_us / US_PER_S);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	return (size_t)snprintf(out, size, "%04d-%02d-%02dT%02d:%02d:%02d.%06uZ", tm.tm_year + 1900,
				tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
				(unsigned)(wall_us % US_PER_S));
}

/*
 * Copy so that what remote hosts said can neither break the line nor drive a terminal.
 * @param size room in octets; what does not fit is cut and the cut is marked
 */
static size_t put_clean(char *out, size_t size, const char *text)
{
	static const char mark[] = "...";
	size_t at = 0;

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		bool control = c < 0x20 || c == 0x7f;

		if (at + (control ? 4 : 1) + sizeof(mark) > size)
			return at + (size_t)snprintf(out + at, size - at, "%s", mark);
		if (control)
			at += (size_t)snprintf(out + at, size - at, "\\x%02x", c);
		else
			out[at++] = (char)c;
	}
	return at;
}

static void emit_line(enum log_level level, const char *area, const char *text)
{
	char line[LOG_LINE_MAX + 2];
	struct mr_now now;
	size_t at;

	clock_read(&now);
	at = put_time(line, sizeof(line), now.wall_us);
	at += (size_t)snprintf(line + at, sizeof(line) - at, " %s %.32s: ", level_names[level],
			       area);
	at += put_clean(line + at, LOG_LINE_MAX - at, text);
	line[at++] = '\n';
	emit(line, at);
	state.statistics.lines++;
}

static void tell_held_back(struct repeat *r)
{
	char text[128];

	if (r->identity == 0 || r->count <= LOG_REPEATS_MAX)
		return;
	snprintf(text, sizeof(text), "%u more like \"%.60s\" held back", r->count - LOG_REPEATS_MAX,
		 r->format);
	emit_line(LOG_LEVEL_WARNING, r->area, text);
}

static uint64_t identity_of(const char *format, const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	if (strcmp(format, "%s") != 0)
		return (uintptr_t)format;
	for (; *text != '\0'; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return hash | 1;
}

/* @return true when the line may go out */
static bool repeat_admit(const char *area, const char *format, const char *text)
{
	uint64_t identity = identity_of(format, text);
	struct repeat *r = &state.repeats[(identity >> 3) % REPEAT_SLOTS];
	struct mr_now now;

	clock_read(&now);
	if (r->identity != identity || now.mono_us - r->since_us >= LOG_REPEATS_US) {
		tell_held_back(r);
		*r = (struct repeat){identity, format, area, now.mono_us, 0};
	}
	if (++r->count <= LOG_REPEATS_MAX)
		return true;
	state.statistics.held_back++;
	return false;
}

void log_vwrite(enum log_level level, const char *area, const char *format, va_list arguments)
{
	char text[LOG_LINE_MAX];

	if (!log_wants(level))
		return;
	vsnprintf(text, sizeof(text), format, arguments);
	pthread_mutex_lock(&state.lock);
	/* Information is a trail (who asked for what), and whole. */
	if (level == LOG_LEVEL_INFO || repeat_admit(area, format, text))
		emit_line(level, area, text);
	pthread_mutex_unlock(&state.lock);
}

void log_write(enum log_level level, const char *area, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	log_vwrite(level, area, format, arguments);
	va_end(arguments);
}

void log_close(void)
{
	pthread_mutex_lock(&state.lock);
	for (unsigned i = 0; i < REPEAT_SLOTS; i++) {
		tell_held_back(&state.repeats[i]);
		state.repeats[i].identity = 0;
	}
	if (state.fd >= 0) {
		fsync(state.fd);
		close(state.fd);
	}
	state.fd = -1;
	state.file[0] = '\0';
	pthread_mutex_unlock(&state.lock);
}

void log_statistics(struct log_statistics *out)
{
	pthread_mutex_lock(&state.lock);
	*out = state.statistics;
	pthread_mutex_unlock(&state.lock);
}
