/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Diagnostics for the operator: one line each, to standard error or to a rotated file beside the
 * event log.
 *
 *   2026-01-31T12:00:00.123456Z warning spool: segment 17 quarantined batch=4 offset=65536
 *
 * From any control thread; never from a worker (it locks and writes). One log a process: where a
 * line goes is a property of the process, as standard error is, so this is the one place with a
 * static state. Until log_open is called lines go to standard error at level info.
 *
 * What must hold: a line is one line (control characters inside are shown as \xNN); a failing disk
 * never stops the caller (the line goes to standard error instead, and the file is tried again); a
 * message repeated more than LOG_REPEATS_MAX times in LOG_REPEATS_US is held back and counted.
 */
#ifndef MILLRACE_CONTROL_TELEMETRY_LOG_H
#define MILLRACE_CONTROL_TELEMETRY_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,   /**< something is lost or refused until somebody acts */
	LOG_LEVEL_WARNING, /**< it goes on, but somebody should look */
	LOG_LEVEL_INFO,	   /**< what an operator wants to find later: start, reload, requests */
	LOG_LEVEL_DEBUG,
};

/** Longer lines are cut and end in "...". */
#define LOG_LINE_MAX	1024
#define LOG_REPEATS_MAX 10
#define LOG_REPEATS_US	UINT64_C(10000000)

struct log_settings {
	const char *file;      /**< NULL or "": standard error */
	enum log_level level;  /**< lines above it are left out */
	uint64_t rotate_bytes; /**< 0: never; FILE becomes FILE.1, FILE.1 becomes FILE.2 … */
	unsigned keep;	       /**< rotated files kept; at least 1 */
};

/**
 * Where lines go from now on. May be called again (reload).
 * @param error at least 256 bytes, set when negative errno is returned (and then everything stays
 * as it was)
 */
int log_open(const struct log_settings *settings, char *error);
/** Back to standard error; says how many repeats were held back. */
void log_close(void);
/** @return -EINVAL when the name is none of error, warning, info, debug */
int log_level_parse(const char *name, enum log_level *level);
const char *log_level_name(enum log_level level);
/** To leave out work that only a line would need. */
bool log_wants(enum log_level level);

/** @param area the room or part that speaks: "spool", "config" */
void log_write(enum log_level level, const char *area, const char *format, ...)
	__attribute__((format(printf, 3, 4), nonnull(2, 3)));
void log_vwrite(enum log_level level, const char *area, const char *format, va_list arguments)
	__attribute__((format(printf, 3, 0), nonnull(2, 3)));

#define log_error(area, ...)   log_write(LOG_LEVEL_ERROR, area, __VA_ARGS__)
#define log_warning(area, ...) log_write(LOG_LEVEL_WARNING, area, __VA_ARGS__)
#define log_info(area, ...)    log_write(LOG_LEVEL_INFO, area, __VA_ARGS__)
#define log_debug(area, ...)   log_write(LOG_LEVEL_DEBUG, area, __VA_ARGS__)

struct log_statistics {
	uint64_t lines, held_back, rotations, write_errors;
};
void log_statistics(struct log_statistics *out);

#endif
