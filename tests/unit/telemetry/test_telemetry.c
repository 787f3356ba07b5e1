/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Metrics and health over HTTP. */
#include "control/telemetry/telemetry.h"

#include <arpa/inet.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct telemetry *telemetry;
static char text[65536];

static void collect(void *context, struct metric_writer *writer)
{
	char value[64], labels[80];

	metric_family(writer, "millrace_test_total", "counter", "What was\ncounted \\ here.");
	metric_sample(writer, "millrace_test_total", NULL, *(unsigned *)context);
	snprintf(labels, sizeof(labels), "site=\"%s\"",
		 metric_escape("a\"b\\c\nd", value, sizeof(value)));
	metric_sample(writer, "millrace_test_total", labels, 0.5);
	metric_sample(writer, "millrace_test_total", "worker=\"1\"", 9007199254740991.0);
	metric_sample(writer, "millrace_test_total", "worker=\"2\"", NAN);
}

static bool healthy(void *context, char *reason, unsigned size)
{
	if (*(bool *)context)
		return true;
	snprintf(reason, size, "the spool is full");
	return false;
}

static unsigned count = 3;
static bool is_healthy = true;

static int start(void **state)
{
	char error[256];

	telemetry = telemetry_start("127.0.0.1:0", error);
	if (telemetry == NULL) {
		print_message("# %s\n", error);
		return -1;
	}
	telemetry_add(telemetry, collect, &count);
	telemetry_set_health(telemetry, healthy, &is_healthy);
	return 0;
}

static int stop(void **state)
{
	telemetry_stop(telemetry);
	return 0;
}

static int dial(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(telemetry_port(telemetry)),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval limit = {.tv_sec = 20};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

/* Ask and read until the server closes. @return the status */
static unsigned ask(const char *request)
{
	int fd = dial();
	size_t size = 0;
	ssize_t got;
	unsigned status = 0;

	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	while ((got = recv(fd, text + size, sizeof(text) - 1 - size, 0)) > 0)
		size += (size_t)got;
	text[size] = '\0';
	close(fd);
	sscanf(text, "HTTP/1.%*c %u", &status);
	return status;
}

static unsigned get(const char *path)
{
	char request[256];

	snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\n\r\n", path);
	return ask(request);
}

static void metrics_are_prometheus_text(void **state)
{
	assert_int_equal(get("/metrics"), 200);
	assert_non_null(strstr(text, "Content-Type: text/plain; version=0.0.4"));
	assert_non_null(
		strstr(text, "\nmillrace_build_info{version=\"" MILLRACE_VERSION "\"} 1\n"));
	assert_non_null(strstr(text, "# HELP millrace_test_total What was\\ncounted \\\\ here.\n"
				     "# TYPE millrace_test_total counter\n"
				     "millrace_test_total 3\n"
				     "millrace_test_total{site=\"a\\\"b\\\\c\\nd\"} 0.5\n"
				     "millrace_test_total{worker=\"1\"} 9007199254740991\n"
				     "millrace_test_total{worker=\"2\"} NaN\n"));
	count = 4;
	assert_int_equal(get("/metrics"), 200);
	assert_non_null(strstr(text, "\nmillrace_test_total 4\n"));
}

static void health_is_200_or_503_with_the_reason(void **state)
{
	is_healthy = true;
	assert_int_equal(get("/health"), 200);
	assert_non_null(strstr(text, "\r\n\r\nok\n"));
	is_healthy = false;
	assert_int_equal(get("/health"), 503);
	assert_non_null(strstr(text, "not healthy: the spool is full\n"));
	is_healthy = true;
}

static void other_paths_and_methods_are_refused(void **state)
{
	assert_int_equal(get("/"), 200);
	assert_non_null(strstr(text, "/metrics"));
	assert_int_equal(get("/etc/passwd"), 404);
	assert_int_equal(get("/../metrics"), 404);
	assert_int_equal(ask("POST /metrics HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi"), 405);
	assert_int_equal(ask("HEAD /health HTTP/1.0\r\n\r\n"), 200);
	assert_int_not_equal(ask("nonsense\r\n\r\n"), 200);
	assert_int_equal(get("/metrics"), 200);
}

static void a_client_that_stalls_keeps_nobody_waiting(void **state)
{
	int fds[8];

	for (unsigned i = 0; i < 8; i++) {
		fds[i] = dial();
		assert_int_equal(send(fds[i], "GET /met", 8, MSG_NOSIGNAL), 8);
	}
	assert_int_equal(get("/metrics"), 200);
	for (unsigned i = 0; i < 8; i++)
		close(fds[i]);
}

static void bad_addresses_are_errors(void **state)
{
	static const char *const addresses[] = {
		"",	  "127.0.0.1", "127.0.0.1:", "x:1",	   "127.0.0.1:70000",
		"::1:80", "[::1:80",   "[]:80",	     "192.0.2.1:9"};
	char error[256];

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		error[0] = '\0';
		assert_null(telemetry_start(addresses[i], error));
		assert_true(error[0] != '\0');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(metrics_are_prometheus_text),
		cmocka_unit_test(health_is_200_or_503_with_the_reason),
		cmocka_unit_test(other_paths_and_methods_are_refused),
		cmocka_unit_test(a_client_that_stalls_keeps_nobody_waiting),
		cmocka_unit_test(bad_addresses_are_errors),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
