/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every error names line, path and reason; all of a file are found at once. */
#include "control/config/config.h"
#include "dataplane/smtp/utf8.h"
#include "tests/unit/config/example.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Lines of what is appended to EXAMPLE, or stands behind its sources. */
#define AFTER	      23
#define AFTER_SOURCES 16

static struct config_errors errors;

/* One thing wrong, in the text's first line, behind a sound configuration without that part. */
struct wrong {
	const char *text; /**< the whole file */
	unsigned line;
	const char *path;
	const char *reason; /**< how it begins */
};

static void assert_wrong(const struct wrong *wrong)
{
	struct configuration *c = config_load_text(wrong->text, "test.conf", &errors);

	assert_null(c);
	for (unsigned i = 0; i < errors.count; i++) {
		const struct config_error *e = &errors.errors[i];

		if (e->line == wrong->line && strcmp(e->path, wrong->path) == 0 &&
		    strncmp(e->reason, wrong->reason, strlen(wrong->reason)) == 0)
			return;
	}
	for (unsigned i = 0; i < errors.count; i++)
		print_message("# %u: %s: %s\n", errors.errors[i].line, errors.errors[i].path,
			      errors.errors[i].reason);
	fail_msg("not found: %u: %s: %s", wrong->line, wrong->path, wrong->reason);
}

static void assert_all(const struct wrong *wrong, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_wrong(&wrong[i]);
}
#define ALL(wrong) assert_all(wrong, sizeof(wrong) / sizeof((wrong)[0]))

/* An answer in JSON cannot hold anything else: the operator would see no reason at all. */
static void errors_are_utf8_whatever_the_file_is(void **state)
{
	static const char *const texts[] = {
		"system { hostname \"m\xfcller\"; workers 0; }",
		"system { \xe4 1; }",
		"port \"\xff\" { mtu 1; }",
		/* The reason quotes 60 octets: half of a character. */
		"system { workers "
		"\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\xc3\xa4\"; }",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_null(config_load_text(texts[i], "test.conf", &errors));
		assert_true(errors.count > 0);
		for (unsigned n = 0; n < errors.count; n++) {
			const struct config_error *e = &errors.errors[n];

			assert_true(utf8_is_valid(e->reason, strlen(e->reason)));
			assert_true(utf8_is_valid(e->path, strlen(e->path)));
		}
	}
}

static void syntax(void **state)
{
	static const struct wrong wrong[] = {
		{"system {\n hostname a.b\n workers 2;\n}", 2, "system hostname", "';' is missing"},
		{"system { hostname a.b;\n", 2, "system", "'{' of line 1 is not closed"},
		{"system { hostname a.b; }\n}", 2, "", "'}' closes nothing"},
		{"system { hostname \"a.b; }\n", 1, "system hostname", "a string is not closed"},
		{"system { hostname a b; }\n", 1, "system hostname", "takes one value"},
		{"system { hostname; }\n", 1, "system hostname", "needs a value"},
		{"system { worker-cores [ 0 1; }\n", 1, "system worker-cores", "'[' is not closed"},
		{"{ hostname a.b; }", 1, "", "a statement expected here"},
		{"system hostname a.b;", 1, "system", "'{' or ';' expected here"},
		{"\n\nsystem { hostname a.b; hostname a.c; }", 3, "system hostname",
		 "stated twice; first in line 3"},
		{"port a { device x; }\nport a { device y; }", 2, "port a",
		 "stated twice; first in line 1"},
		{"port { device x; }", 1, "port", "needs a name"},
		{"system { hostname a\001b; }", 1, "system hostname", "a control character"},
	};

	ALL(wrong);
}

static void unknown_words_come_with_the_nearest_known(void **state)
{
	static const struct wrong wrong[] = {
		{"\nsystem { hostnam a.b; }", 2, "system hostnam",
		 "no such statement here (did you mean 'hostname'?)"},
		{"lisener a { }", 1, "lisener",
		 "no such statement here (did you mean 'listener'?)"},
		{"elephants;", 1, "elephants", "no such statement here"},
		{"system { idle slep; }", 1, "system idle",
		 "'slep' is none of spin, pause, sleep, interrupt (did you mean sleep?)"},
		{EXAMPLE "listener x { address 192.0.2.10; tcp-port 26; certificate defualt; }",
		 AFTER, "listener x certificate",
		 "there is no certificate 'defualt' (did you mean 'default'?)"},
	};

	ALL(wrong);
}

static void values_say_what_they_must_be(void **state)
{
	static const struct wrong wrong[] = {
		{"system { workers 65; }", 1, "system workers", "'65' is not from 1 to 64"},
		{"system { workers two; }", 1, "system workers", "'two' is not from 1 to 64"},
		{"system { memory 1m; }", 1, "system memory", "'1m' is not from 64m to 1t"},
		{"system { memory 1x; }", 1, "system memory", "'1x' is not a size"},
		{"system { memory 99999999999999t; }", 1, "system memory",
		 "'99999999999999t' is not from 64m to 1t"},
		{"retry { factor 200; }", 1, "retry factor", "'200' is not from 1 to 10"},
		{"system { idle-sleep-max 50; }", 1, "system idle-sleep-max", "'50' is not a time"},
		{"system { drain-timeout 2h; }", 1, "system drain-timeout",
		 "'2h' is not from 0 to 1h"},
		{"system { hugepages perhaps; }", 1, "system hugepages",
		 "'perhaps' is neither true nor false"},
		{"system { hostname -a; }", 1, "system hostname", "'-a': not a host name"},
		{"system { log { file log; } }", 1, "system log file",
		 "'log': a file name begins with '/'"},
		{"port a { route 10.0.0.1/8 192.0.2.1; }", 1, "port a route",
		 "'10.0.0.1/8' is not a network: its length is wrong, or bits of a host"},
		{"port a { route 10.0.0.0/33 192.0.2.1; }", 1, "port a route",
		 "'10.0.0.0/33' is not a network"},
		{"port a { route 10.0.0.0/8 nowhere; }", 1, "port a route",
		 "'nowhere' is not an IP address"},
		{"source a { address ::1; }", 1, "source a address",
		 "'::1' is not an IPv4 address"},
		{"source a { address6 1.2.3.4; }", 1, "source a address6",
		 "'1.2.3.4' is not an IPv6 address"},
	};

	ALL(wrong);
}

static void what_is_missing_is_named_with_its_place(void **state)
{
	static const struct wrong wrong[] = {
		{"\nport a { device x; }", 1, "system hostname", "is missing"},
		{"\n\nsystem { workers 1; }", 3, "system hostname", "is missing"},
		{EXAMPLE "\nport c {\n}", AFTER + 1, "port c device", "is missing"},
		{EXAMPLE "listener x { tcp-port 99; }", AFTER, "listener x address", "is missing"},
		{EXAMPLE "source x { address 198.51.100.10; }", AFTER, "source x port",
		 "is missing"},
		{EXAMPLE "pool x { }", AFTER, "pool x source", "is missing"},
		{EXAMPLE "source x { port outside; }", AFTER, "source x",
		 "needs address, address6"},
		{EXAMPLE "certificate x;", AFTER, "certificate x", "needs self-signed"},
		{EXAMPLE "listener x { address 192.0.2.10; tcp-port 26; relay-from ::/0; }", AFTER,
		 "listener x", "TLS needs a certificate"},
		{EXAMPLE_SYSTEM, 1, "port", "there is none"},
		{EXAMPLE_SYSTEM
		 "port a { device d1; } port b { device d2; } port c { device d3; } port d { device d4; }"
		 "port e { device d5; } port f { device d6; } port g { device d7; } port h { device d8; }"
		 "port i { device d9; }",
		 1, "port", "there are 9; there can be 8"},
		{EXAMPLE_SYSTEM, 1, "source", "there is none"},
	};

	ALL(wrong);
}

static void what_contradicts_is_refused(void **state)
{
#define LISTENER "listener x { address 192.0.2.10; tcp-port 26; tls none; relay-from ::/0; "
	static const struct wrong wrong[] = {
		{EXAMPLE LISTENER "require-tls true; }", AFTER, "listener x", "require-tls, but"},
		{EXAMPLE LISTENER "require-auth; }", AFTER, "listener x",
		 "require-auth, but there is"},
		{EXAMPLE LISTENER "users-file /etc/passwd; }", AFTER, "listener x",
		 "AUTH is offered under TLS only"},
		{EXAMPLE "listener x { address 192.0.2.11; tls none; relay-from ::/0; }", AFTER,
		 "listener x address", "192.0.2.11 is not an address of any port"},
		{EXAMPLE "listener x { address 192.0.2.10; tls none; relay-from ::/0; }", AFTER,
		 "listener x address", "listener submission listens on 192.0.2.10 tcp-port 25"},
		{EXAMPLE "listener x { address 192.0.2.10; tcp-port 26; tls none; }", AFTER,
		 "listener x", "nobody may send"},
		{EXAMPLE "certificate x { certificate-file /nonexistent; key-file /nonexistent; }",
		 AFTER, "certificate x key-file", "/nonexistent: No such file"},
		{EXAMPLE "source x { port inside; address 198.51.100.10; }", AFTER,
		 "source x address", "198.51.100.10 is not an address of port inside"},
		{EXAMPLE "port c { device d; address 192.0.2.10/24; }", AFTER,
		 "port c address 192.0.2.10/24", "port inside has 192.0.2.10 already"},
		{EXAMPLE "port c { device 0000:3b:00.0; }", AFTER, "port c device",
		 "port outside has this device already"},
		{EXAMPLE "port c { device d; address 10.0.0.0/8; }", AFTER,
		 "port c address 10.0.0.0/8", "10.0.0.0: this is the network's own address"},
		{EXAMPLE
		 "port c { device d; address-range 10.0.0.250-10.0.1.3/23; address 10.0.1.2/23; }",
		 AFTER, "port c address-range 10.0.0.250-10.0.1.3/23",
		 "port c has 10.0.1.2 already"},
		{EXAMPLE "port c { device d; address-range 10.0.0.9-10.0.0.8/24; }", AFTER,
		 "port c address-range 10.0.0.9-10.0.0.8/24", "first to last, in one network"},
		{EXAMPLE "port c { device d; address-range 10.0.0.9-10.0.1.8/24; }", AFTER,
		 "port c address-range 10.0.0.9-10.0.1.8/24", "first to last, in one network"},
		{EXAMPLE "port c { device d; address-range 10.0.0.1-10.9.0.0/8; }", AFTER,
		 "port c address-range 10.0.0.1-10.9.0.0/8",
		 "first to last, in one network, and at most 16384"},
		{EXAMPLE "port c { device d; address-range 10.0.0.200-10.0.0.255/24; }", AFTER,
		 "port c address-range 10.0.0.200-10.0.0.255/24",
		 "10.0.0.255: this is the network's broadcast address"},
		{EXAMPLE "port c { device d; address-range 10.0.0.1/24; }", AFTER,
		 "port c address-range", "'10.0.0.1/24': first and last address of this box"},
		{EXAMPLE "port c { device d; address 10.1.1.1/8; route ::/0 10.0.0.1; }", AFTER,
		 "port c route ::/0 10.0.0.1", "prefix and gateway are of different IP versions"},
		{EXAMPLE "port c { device d; address 10.1.1.1/8; route 0.0.0.0/0 11.0.0.1; }",
		 AFTER, "port c route 0.0.0.0/0 11.0.0.1", "the gateway is on no network"},
		{EXAMPLE "port c { device d; mtu 1279; address 2001:db8:9::1/64; }", AFTER,
		 "port c address 2001:db8:9::1/64", "IPv6 needs an mtu of 1280"},
		{EXAMPLE "destination MAIL.example.com.;", AFTER, "destination MAIL.example.com.",
		 "the same domain as in line 18"},
		{EXAMPLE "destination x.y { hosts 1.2.3.4; }", AFTER, "destination x.y hosts",
		 "an address stands in brackets"},
		{EXAMPLE "destination x.y { hosts \"[1.2.3]\"; }", AFTER, "destination x.y hosts",
		 "'1.2.3' is not an IP address"},
		{"system { hostname a.b; workers 2; worker-cores [ 3 ]; }" EXAMPLE_PORTS
			 EXAMPLE_CERTIFICATE EXAMPLE_LISTENER EXAMPLE_SOURCES,
		 1, "system worker-cores", "1 cores for 2 workers"},
		{"system { hostname a.b; workers 1; shards 2; }" EXAMPLE_PORTS EXAMPLE_CERTIFICATE
			 EXAMPLE_LISTENER EXAMPLE_SOURCES,
		 1, "system shards", "2 shards for 1 workers"},
		{EXAMPLE_SYSTEM EXAMPLE_PORTS EXAMPLE_CERTIFICATE EXAMPLE_LISTENER EXAMPLE_SOURCES
		 "retry { initial 2h; max 1h; }",
		 AFTER_SOURCES, "retry", "initial is longer than max"},
		{EXAMPLE_SYSTEM EXAMPLE_PORTS EXAMPLE_CERTIFICATE EXAMPLE_LISTENER EXAMPLE_SOURCES
		 "spool { size 512m; }",
		 AFTER_SOURCES, "spool size", "less than 4 segments"},
		{EXAMPLE_SYSTEM EXAMPLE_PORTS EXAMPLE_CERTIFICATE EXAMPLE_LISTENER EXAMPLE_SOURCES
		 "spool { segment-size 48m; }",
		 11, "listener submission limits message-size",
		 "50m is more than a segment of the spool takes: with segment-size 48m and 1000 "
		 "recipients that is 47942k"},
		{EXAMPLE_SYSTEM EXAMPLE_PORTS EXAMPLE_CERTIFICATE EXAMPLE_LISTENER EXAMPLE_SOURCES
		 "resolver { forwarder 1.2.3.4@77777; }",
		 AFTER_SOURCES, "resolver forwarder", "'1.2.3.4@77777' is not an address"},
	};

	ALL(wrong);
}

static void all_errors_of_a_file_come_at_once(void **state)
{
	char text[8192] = "";
	size_t at = 0;

	assert_null(config_load_text("system { hostname a.b; idle x;\n workers 0;\n bogus; }\n"
				     "pool p { source nobody; }\n",
				     "test.conf", &errors));
	assert_int_equal(errors.count, 4);
	for (unsigned i = 0; i < errors.count; i++)
		assert_int_equal(errors.errors[i].line, i + 1);
	for (unsigned i = 0; i < 100; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "bogus%u;\n", i);
	assert_null(config_load_text(text, "test.conf", &errors));
	assert_int_equal(errors.count, CONFIG_ERRORS_MAX);
}

static void an_error_reads_file_line_path_reason(void **state)
{
	char line[1024];

	assert_null(config_load_text("\nsystem { hostname a.b; workers 0; }", "my.conf", &errors));
	assert_string_equal(config_error_format(&errors.errors[0], line, sizeof(line)),
			    "my.conf:2: system workers: '0' is not from 1 to 64");
	assert_null(config_load("/nonexistent/my.conf", NULL, &errors));
	assert_int_equal(errors.count, 1);
	assert_string_equal(config_error_format(&errors.errors[0], line, sizeof(line)),
			    "/nonexistent/my.conf: No such file or directory");
}

static void hostile_text_is_refused_and_never_loops(void **state)
{
	static const char *const texts[] = {
		"",
		"}",
		"{",
		"{{{{{{{{{{{{{{{{",
		"]]]]",
		"[[[[",
		"\"",
		";;;;;",
		"system",
		"system {",
		"port",
		"port a",
		"port a {",
		"a a a a",
		"system { log { log { log {",
		"route \"\"",
		"port \"\" { }",
		"destination \"a b\";",
		"port a { address 1.2.3.4/24 { { } } }",
		"\xff\xfe\x00",
		"listener \xff { }",
		"\"system\" { }",
		"system { hostname \"\"; }",
		"pool a { source \"x' or '1'='1\"; }",
		"certificate c { self-signed yes; }",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_null(config_load_text(texts[i], "hostile", &errors));
		assert_true(errors.count > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(syntax),
		cmocka_unit_test(errors_are_utf8_whatever_the_file_is),
		cmocka_unit_test(unknown_words_come_with_the_nearest_known),
		cmocka_unit_test(values_say_what_they_must_be),
		cmocka_unit_test(what_is_missing_is_named_with_its_place),
		cmocka_unit_test(what_contradicts_is_refused),
		cmocka_unit_test(all_errors_of_a_file_come_at_once),
		cmocka_unit_test(an_error_reads_file_line_path_reason),
		cmocka_unit_test(hostile_text_is_refused_and_never_loops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
