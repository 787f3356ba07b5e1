/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Certificates: what loads, what is refused and with which words, and the self-signed one that is
 * made and kept. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "control/certs/certs.h"
#include "drivers/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/millrace-certs-XXXXXX";

static uint64_t wall_us(void)
{
	struct mr_now now;

	clock_read(&now);
	return now.wall_us;
}

static const char *in_directory(const char *name)
{
	static char path[4][256];
	static unsigned next;

	next = (next + 1) % 4;
	snprintf(path[next], sizeof(path[next]), "%s/%s", directory, name);
	return path[next];
}

static void shell(const char *format, ...)
{
	char command[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	assert_int_equal(system(command), 0);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int set_up(void **state)
{
	if (!mkdtemp(directory) || tls_global_init() < 0)
		return -1;
	shell("cd %s && umask 077 && openssl req -x509 -newkey rsa:2048 -nodes -keyout rsa.key -out rsa.crt -days 90 "
	      "-subj '/O=Practice/CN=mx.example' -addext 'subjectAltName=DNS:mx.example,DNS:*.b.example,IP:192.0.2.7' "
	      "2>/dev/null",
	      directory);
	shell("cd %s && umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ec.key "
	      "-out ec.crt -days 90 -subj /CN=ec.example 2>/dev/null",
	      directory);
	return 0;
}

static int tear_down(void **state)
{
	shell("rm -rf %s", directory);
	return 0;
}

static struct certificate *load(const char *certificate, const char *key, char *error)
{
	return certificate_load(in_directory(certificate), in_directory(key), wall_us(), error);
}

static void an_rsa_certificate_loads_and_is_described(void **state)
{
	char error[CERTIFICATE_ERROR];
	struct certificate *c = load("rsa.crt", "rsa.key", error);

	assert_string_equal(error, "");
	assert_non_null(c);
	assert_string_equal(c->information.key_type, "RSA 2048");
	assert_non_null(strstr(c->information.subject, "mx.example"));
	assert_int_equal(c->information.name_count, 2);
	assert_string_equal(c->information.names[0], "mx.example");
	assert_string_equal(c->information.names[1], "*.b.example");
	assert_true(c->information.self_signed);
	assert_int_equal(c->information.chain_length, 1);
	assert_string_equal(c->warning, "");
	assert_in_range(c->information.not_after_s - c->information.not_before_s, 89 * 86400,
			91 * 86400);
	assert_in_range((uint64_t)c->information.not_before_s, wall_us() / 1000000 - 120,
			wall_us() / 1000000 + 5);
	certificate_free(c);
}

static void the_fingerprint_is_openssls(void **state)
{
	char error[CERTIFICATE_ERROR], line[256], mine[80] = "";
	struct certificate *c = load("rsa.crt", "rsa.key", error);
	FILE *f;

	assert_non_null(c);
	for (unsigned i = 0; i < 32; i++)
		snprintf(mine + strlen(mine), 4, "%02x", c->information.sha256[i]);
	shell("cd %s && openssl x509 -in rsa.crt -outform DER | sha256sum > sum", directory);
	f = fopen(in_directory("sum"), "r");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	fclose(f);
	assert_memory_equal(line, mine, 64);
	certificate_free(c);
}

static void an_ec_certificate_loads(void **state)
{
	char error[CERTIFICATE_ERROR];
	struct certificate *c = load("ec.crt", "ec.key", error);

	assert_non_null(c);
	assert_string_equal(c->information.key_type, "EC P-256");
	certificate_free(c);
}

static void expect_refusal(const char *certificate, const char *key, const char *file,
			   const char *reason)
{
	char error[CERTIFICATE_ERROR];

	assert_null(load(certificate, key, error));
	if (!strstr(error, file) || !strstr(error, reason))
		fail_msg("'%s' names neither '%s' nor '%s'", error, file, reason);
}

static void what_cannot_be_used_is_refused_with_file_and_reason(void **state)
{
	write_file(in_directory("empty"), "");
	write_file(in_directory("junk"),
		   "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	write_file(in_directory("junk.key"),
		   "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
	shell("cd %s && openssl ec -in ec.key -aes128 -passout pass:x -out locked.key 2>/dev/null",
	      directory);
	expect_refusal("missing.crt", "rsa.key", "missing.crt", "No such file");
	expect_refusal("rsa.crt", "missing.key", "missing.key", "No such file");
	expect_refusal("", "rsa.key", directory, "not a regular file");
	expect_refusal("empty", "rsa.key", "empty", "no PEM certificate");
	expect_refusal("junk", "rsa.key", "junk", "does not parse");
	expect_refusal("rsa.crt", "empty", "empty", "no PEM private key");
	expect_refusal("rsa.crt", "rsa.crt", "rsa.crt", "no PEM private key");
	expect_refusal("rsa.crt", "junk.key", "junk.key", "does not parse");
	expect_refusal("rsa.crt", "locked.key", "locked.key", "encrypted");
	expect_refusal("rsa.crt", "ec.key", "ec.key", "not the certificate's");
}

static void dates_and_modes_that_need_care_are_warnings(void **state)
{
	char error[CERTIFICATE_ERROR];
	struct certificate *c;
	uint64_t day_us = UINT64_C(86400) * 1000000;

	c = certificate_load(in_directory("ec.crt"), in_directory("ec.key"),
			     wall_us() + 100 * day_us, error);
	assert_non_null(c);
	assert_non_null(strstr(c->warning, "expired on"));
	certificate_free(c);
	c = certificate_load(in_directory("ec.crt"), in_directory("ec.key"),
			     wall_us() + 85 * day_us, error);
	assert_non_null(c);
	assert_non_null(strstr(c->warning, "expires on"));
	certificate_free(c);
	c = certificate_load(in_directory("ec.crt"), in_directory("ec.key"), wall_us() - 2 * day_us,
			     error);
	assert_non_null(c);
	assert_non_null(strstr(c->warning, "not valid before"));
	certificate_free(c);
	assert_int_equal(chmod(in_directory("ec.key"), 0644), 0);
	c = load("ec.crt", "ec.key", error);
	assert_non_null(c);
	assert_non_null(strstr(c->warning, "mode 0644"));
	certificate_free(c);
	assert_int_equal(chmod(in_directory("ec.key"), 0600), 0);
}

static void a_chain_is_counted(void **state)
{
	char error[CERTIFICATE_ERROR];
	struct certificate *c;

	shell("cd %s && cat ec.crt rsa.crt > chain.crt", directory);
	c = load("chain.crt", "ec.key", error);
	assert_non_null(c);
	assert_int_equal(c->information.chain_length, 2);
	assert_string_equal(c->information.key_type, "EC P-256");
	certificate_free(c);
}

static void a_self_signed_certificate_is_made_once_and_kept(void **state)
{
	char error[CERTIFICATE_ERROR];
	struct stat status;
	struct certificate *first =
		certificate_self_signed(directory, "mx1.test.example", wall_us(), error);
	struct certificate *second;

	assert_string_equal(error, "");
	assert_non_null(first);
	assert_string_equal(first->information.key_type, "EC P-256");
	assert_int_equal(first->information.name_count, 1);
	assert_string_equal(first->information.names[0], "mx1.test.example");
	assert_string_equal(first->warning, "");
	assert_int_equal(stat(first->information.source, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	second = certificate_self_signed(directory, "mx1.test.example", wall_us(), error);
	assert_non_null(second);
	assert_memory_equal(first->information.sha256, second->information.sha256, 32);
	/* Another implementation agrees that it is a certificate of that name, signed by itself. */
	shell("openssl verify -CAfile %s -verify_hostname mx1.test.example %s >/dev/null",
	      first->information.source, first->information.source);
	certificate_free(first);
	certificate_free(second);
}

static void a_self_signed_certificate_that_is_useless_is_replaced_with_a_warning(void **state)
{
	char error[CERTIFICATE_ERROR];
	uint64_t century_us = UINT64_C(86400) * 36500 * 1000000;
	struct certificate *c;
	uint8_t before[32];

	write_file(in_directory("self-signed-mx2.example.pem"), "junk\n");
	c = certificate_self_signed(directory, "mx2.example", wall_us(), error);
	assert_non_null(c);
	assert_non_null(strstr(c->warning, "replaced"));
	memcpy(before, c->information.sha256, 32);
	certificate_free(c);
	c = certificate_self_signed(directory, "mx2.example", wall_us() + century_us, error);
	assert_non_null(c);
	assert_memory_not_equal(before, c->information.sha256, 32);
	assert_true(c->warning[0] != '\0');
	certificate_free(c);
}

static void the_longest_host_name_has_its_certificate(void **state)
{
	char error[CERTIFICATE_ERROR], name[254];
	struct certificate *c;

	memset(name, 'a', sizeof(name));
	for (unsigned i = 60; i < 253; i += 60)
		name[i] = '.';
	for (unsigned size = 126; size <= 230; size += 104) {
		name[size] = '\0';
		c = certificate_self_signed(directory, name, wall_us(), error);
		assert_string_equal(error, "");
		assert_non_null(c);
		assert_string_equal(c->information.names[0], name);
		certificate_free(c);
		name[size] = 'a';
	}
}

static void bad_host_names_and_places_are_refused(void **state)
{
	char error[CERTIFICATE_ERROR];

	assert_null(certificate_self_signed(directory, "../x", wall_us(), error));
	assert_null(certificate_self_signed(directory, "", wall_us(), error));
	assert_null(certificate_self_signed(directory, "a b", wall_us(), error));
	assert_null(certificate_self_signed("/nowhere/at/all", "mx.example", wall_us(), error));
	assert_non_null(strstr(error, "No such file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_rsa_certificate_loads_and_is_described),
		cmocka_unit_test(the_fingerprint_is_openssls),
		cmocka_unit_test(an_ec_certificate_loads),
		cmocka_unit_test(what_cannot_be_used_is_refused_with_file_and_reason),
		cmocka_unit_test(dates_and_modes_that_need_care_are_warnings),
		cmocka_unit_test(a_chain_is_counted),
		cmocka_unit_test(a_self_signed_certificate_is_made_once_and_kept),
		cmocka_unit_test(
			a_self_signed_certificate_that_is_useless_is_replaced_with_a_warning),
		cmocka_unit_test(the_longest_host_name_has_its_certificate),
		cmocka_unit_test(bad_host_names_and_places_are_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
