/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Metrics as Prometheus text (0.0.4) over HTTP (libmicrohttpd), and the health answer (/health: 200
 * or 503 with reasons). Sources are callbacks that write their samples; they read counters with
 * relaxed loads or through executor_call, and never make a worker wait.
 */
#ifndef MILLRACE_CONTROL_TELEMETRY_TELEMETRY_H
#define MILLRACE_CONTROL_TELEMETRY_TELEMETRY_H

#include <stdbool.h>
#include <stdint.h>

struct telemetry;
struct metric_writer;

/** Begin a family. @param type "counter" or "gauge" or "histogram" */
void metric_family(struct metric_writer *writer, const char *name, const char *type,
		   const char *help);
/** One sample. @param labels "worker=\"0\"" (values escaped by metric_escape) or NULL */
void metric_sample(struct metric_writer *writer, const char *name, const char *labels,
		   double value);
/** Escape a label value (RFC-less: Prometheus text format 0.0.4). @return out */
char *metric_escape(const char *value, char *out, unsigned size);

/** @param address "127.0.0.1:9464" @param error at least 256 bytes */
struct telemetry *telemetry_start(const char *address, char *error);
void telemetry_add(struct telemetry *telemetry,
		   void (*collect)(void *context, struct metric_writer *writer), void *context);
/** @param healthy writes the reason when it returns false */
void telemetry_set_health(struct telemetry *telemetry,
			  bool (*healthy)(void *context, char *reason, unsigned size),
			  void *context);
/** The TCP port served on: that of the address, or the system's choice when that was 0. */
uint16_t telemetry_port(const struct telemetry *telemetry);
void telemetry_stop(struct telemetry *telemetry);

#endif
