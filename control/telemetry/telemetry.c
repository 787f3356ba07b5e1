/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Metrics and health over HTTP. One thread of libmicrohttpd's; a scrape collects
 * into one buffer. Owner: that thread; the list of sources is guarded by a lock, since it may grow
 * while it serves. Memory: the heap, one answer a request; connections are bounded.
 *
 * What must hold: only GET and HEAD, only known paths; a client that stalls is cut off; nothing
 * here makes a worker wait (sources read counters only).
 */
#include "control/telemetry/telemetry.h"

#include "control/telemetry/log.h"
#include "dataplane/net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOURCES_MAX	   16
#define CONNECTIONS_MAX	   32
#define CONNECTION_TIMEOUT 10 /**< seconds */

struct metric_writer {
	FILE *out;
};

struct source {
	void (*collect)(void *context, struct metric_writer *writer);
	void *context;
};

struct telemetry {
	struct MHD_Daemon *daemon;
	pthread_mutex_t lock;
	unsigned source_count;
	struct source sources[SOURCES_MAX];
	bool (*healthy)(void *context, char *reason, unsigned size);
	void *health_context;
};

/* ---- Prometheus text 0.0.4 ---- */

char *metric_escape(const char *value, char *out, unsigned size)
{
	unsigned at = 0;

	for (; *value != '\0' && at + 3 <= size; value++) {
		if (*value == '\n') {
			out[at++] = '\\';
			out[at++] = 'n';
			continue;
		}
		if (*value == '"' || *value == '\\')
			out[at++] = '\\';
		out[at++] = *value;
	}
	if (size > 0)
		out[at] = '\0';
	return out;
}

void metric_family(struct metric_writer *writer, const char *name, const char *type,
		   const char *help)
{
	fprintf(writer->out, "# HELP %s ", name);
	for (; *help != '\0'; help++) {
		if (*help == '\n')
			fputs("\\n", writer->out);
		else if (*help == '\\')
			fputs("\\\\", writer->out);
		else
			fputc(*help, writer->out);
	}
	fprintf(writer->out, "\n# TYPE %s %s\n", name, type);
}

static void put_number(FILE *out, double value)
{
	if (isnan(value))
		fputs("NaN", out);
	else if (isinf(value))
		fputs(value > 0 ? "+Inf" : "-Inf", out);
	else if (value == floor(value) && fabs(value) < 9007199254740992.0)
		fprintf(out, "%.0f", value);
	else
		fprintf(out, "%.17g", value);
}

void metric_sample(struct metric_writer *writer, const char *name, const char *labels, double value)
{
	if (labels != NULL && labels[0] != '\0')
		fprintf(writer->out, "%s{%s} ", name, labels);
	else
		fprintf(writer->out, "%s ", name);
	put_number(writer->out, value);
	fputc('\n', writer->out);
}

/* ---- HTTP ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
			      char *text, size_t size)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;

	if (response == NULL) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status,
				   const char *type, const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL)
		return MHD_NO;
	return answer(connection, status, type, copy, strlen(copy));
}

static enum MHD_Result answer_metrics(struct telemetry *telemetry,
				      struct MHD_Connection *connection)
{
	struct metric_writer writer;
	char *text = NULL;
	size_t size = 0;

	writer.out = open_memstream(&text, &size);
	if (writer.out == NULL)
		return MHD_NO;
	metric_family(&writer, "millrace_build_info", "gauge", "Which Millrace this is.");
	metric_sample(&writer, "millrace_build_info", "version=\"" MILLRACE_VERSION "\"", 1);
	pthread_mutex_lock(&telemetry->lock);
	for (unsigned i = 0; i < telemetry->source_count; i++)
		telemetry->sources[i].collect(telemetry->sources[i].context, &writer);
	pthread_mutex_unlock(&telemetry->lock);
	if (fclose(writer.out) != 0) {
		free(text);
		return MHD_NO;
	}
	return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text,
		      size);
}

static enum MHD_Result answer_health(struct telemetry *telemetry, struct MHD_Connection *connection)
{
	char reason[1024] = "";
	char text[1100];
	bool healthy = true;

	pthread_mutex_lock(&telemetry->lock);
	if (telemetry->healthy != NULL)
		healthy = telemetry->healthy(telemetry->health_context, reason, sizeof(reason));
	pthread_mutex_unlock(&telemetry->lock);
	snprintf(text, sizeof(text), "%s%s%s\n", healthy ? "ok" : "not healthy",
		 reason[0] != '\0' ? ": " : "", reason);
	return answer_text(connection, healthy ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
			   "text/plain; charset=utf-8", text);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_size, void **state)
{
	static const char index[] =
		"<!doctype html><title>Millrace</title><h1>Millrace " MILLRACE_VERSION "</h1>"
		"<p><a href=\"/metrics\">/metrics</a> counters, as Prometheus text"
		"<p><a href=\"/health\">/health</a> 200 when all is well, else 503 and why\n";
	struct telemetry *telemetry = context;

	(void)version;
	(void)upload;
	(void)upload_size;
	(void)state;
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain",
				   "only GET and HEAD\n");
	if (strcmp(url, "/metrics") == 0)
		return answer_metrics(telemetry, connection);
	if (strcmp(url, "/health") == 0)
		return answer_health(telemetry, connection);
	if (strcmp(url, "/") == 0)
		return answer_text(connection, MHD_HTTP_OK, "text/html; charset=utf-8", index);
	return answer_text(connection, MHD_HTTP_NOT_FOUND, "text/plain",
			   "there is /, /metrics and /health\n");
}

/* What clients do wrong, mostly. */
static void on_log(void *context, const char *format, va_list arguments)
{
	char text[256];

	(void)context;
	vsnprintf(text, sizeof(text), format, arguments);
	text[strcspn(text, "\n")] = '\0';
	log_debug("metrics", "%s", text);
}

/* ---- Life ---- */

/* "127.0.0.1:9464" or "[::1]:9464"; port 0 lets the system choose (tests). @return 0 or -EINVAL */
static int parse_address(const char *text, struct sockaddr_storage *out)
{
	const char *colon = strrchr(text, ':');
	char host[IP_ADDRESS_TEXT + 2], *end;
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	unsigned long port;

	memset(out, 0, sizeof(*out));
	if (colon == NULL || (size_t)(colon - text) >= sizeof(host))
		return -EINVAL;
	snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	port = strtoul(colon + 1, &end, 10);
	if (end == colon + 1 || *end != '\0' || port > 65535)
		return -EINVAL;
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		return 0;
	}
	if (host[0] != '[' || host[strlen(host) - 1] != ']')
		return -EINVAL;
	host[strlen(host) - 1] = '\0';
	if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) != 1)
		return -EINVAL;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)port);
	return 0;
}

struct telemetry *telemetry_start(const char *address, char *error)
{
	struct telemetry *telemetry = calloc(1, sizeof(*telemetry));
	struct sockaddr_storage socket_address;
	unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG;

	if (telemetry == NULL)
		abort();
	if (parse_address(address, &socket_address) != 0) {
		snprintf(error, 256, "metrics address '%.64s' is not ADDRESS:PORT", address);
		free(telemetry);
		return NULL;
	}
	if (socket_address.ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	pthread_mutex_init(&telemetry->lock, NULL);
	errno = 0;
	telemetry->daemon = MHD_start_daemon(
		flags, 0, NULL, NULL, on_request, telemetry, MHD_OPTION_EXTERNAL_LOGGER, on_log,
		NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&socket_address,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_TIMEOUT,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_END);
	if (telemetry->daemon != NULL)
		return telemetry;
	snprintf(error, 256, "metrics on %.64s: %s", address,
		 errno != 0 ? strerror(errno) : "cannot be served");
	pthread_mutex_destroy(&telemetry->lock);
	free(telemetry);
	return NULL;
}

uint16_t telemetry_port(const struct telemetry *telemetry)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(telemetry->daemon, MHD_DAEMON_INFO_BIND_PORT);

	return info != NULL ? info->port : 0;
}

void telemetry_add(struct telemetry *telemetry,
		   void (*collect)(void *context, struct metric_writer *writer), void *context)
{
	pthread_mutex_lock(&telemetry->lock);
	if (telemetry->source_count == SOURCES_MAX)
		abort();
	telemetry->sources[telemetry->source_count++] = (struct source){collect, context};
	pthread_mutex_unlock(&telemetry->lock);
}

void telemetry_set_health(struct telemetry *telemetry,
			  bool (*healthy)(void *context, char *reason, unsigned size),
			  void *context)
{
	pthread_mutex_lock(&telemetry->lock);
	telemetry->healthy = healthy;
	telemetry->health_context = context;
	pthread_mutex_unlock(&telemetry->lock);
}

void telemetry_stop(struct telemetry *telemetry)
{
	if (telemetry == NULL)
		return;
	MHD_stop_daemon(telemetry->daemon);
	pthread_mutex_destroy(&telemetry->lock);
	free(telemetry);
}
