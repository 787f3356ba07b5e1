/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The libunbound resolver against a real authoritative server (NSD) on loopback: rows C11, C12 and
 * C14 of the notes. */
#include "control/dns/resolver.h"
#include "drivers/random.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char zone[] = "$ORIGIN mail.example.\n"
			   "$TTL 300\n"
			   "@ IN SOA ns.mail.example. admin.mail.example. 1 3600 600 86400 60\n"
			   "@ IN NS ns\n"
			   "ns IN A 127.0.0.1\n"
			   "two IN MX 10 mx1\n"
			   "two IN MX 20 mx2\n"
			   "mx1 IN A 192.0.2.1\n"
			   "mx1 IN AAAA 2001:db8::1\n"
			   "mx2 IN A 192.0.2.2\n"
			   "implicit IN A 192.0.2.3\n"
			   "nullmx IN MX 0 .\n"
			   "alias IN CNAME two\n"
			   "loop1 IN CNAME loop2\n"
			   "loop2 IN CNAME loop1\n"
			   "mxcname IN MX 10 mxalias\n"
			   "mxalias IN CNAME mx1\n"
			   "ghost IN MX 10 nowhere\n"
			   "halfghost IN MX 10 nowhere\n"
			   "halfghost IN MX 20 mx2\n"
			   "empty IN TXT \"nothing for mail\"\n"
			   "literal IN MX 10 192.0.2.77.\n"
			   "lamemx IN MX 10 mx.lame.example.\n"
			   "xn--bcher-kva IN MX 10 mx1\n";

struct fixture {
	char directory[64];
	pid_t server;
	struct resolver *resolver;
	struct mr_random random;
	unsigned port;
};

static struct fixture *fixture;

static void write_file(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", fixture->directory, name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void write_zones(void)
{
	char *big = malloc(200000);
	size_t at = (size_t)sprintf(big, "%s", zone);

	assert_non_null(big);
	for (unsigned i = 0; i < 400; i++)
		at += (size_t)sprintf(big + at, "many IN MX %u mx%u\n", i, i % 2 + 1);
	for (unsigned i = 0; i < 60; i++)
		at += (size_t)sprintf(big + at, "fanout IN MX 10 victim%u.lame.example.\n", i);
	write_file("mail.example", big);
	free(big);
}

/* A port that is free for both transports, or very likely so. */
static unsigned free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int s = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(s, (struct sockaddr *)&address, &size), 0);
	close(s);
	return ntohs(address.sin_port);
}

static bool server_answers(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				      .sin_port = htons((uint16_t)fixture->port)};

	for (unsigned i = 0; i < 100; i++) {
		int s = socket(AF_INET, SOCK_STREAM, 0);
		int code = connect(s, (struct sockaddr *)&address, sizeof(address));

		close(s);
		if (code == 0)
			return true;
		usleep(50000);
	}
	return false;
}

static int set_up(void **state)
{
	char conf[1024], server[64], error[256] = "";
	static struct resolver_stub_zone zones[3];
	static char stub[64], closed[64];

	(void)state;
	fixture = calloc(1, sizeof(*fixture));
	strcpy(fixture->directory, "/tmp/millrace-dns-XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	chmod(fixture->directory, 0755);
	fixture->port = free_port();
	write_zones();
	snprintf(server, sizeof(server), "127.0.0.1@%u", fixture->port);
	snprintf(
		conf, sizeof(conf),
		"server:\n ip-address: %s\n username: \"\"\n zonesdir: \"%s\"\n pidfile: \"\"\n database: \"\"\n"
		" zonelistfile: \"%s/zone.list\"\n xfrdfile: \"\"\n xfrdir: \"%s\"\n verbosity: 0\n server-count: 1\n"
		"remote-control:\n control-enable: no\n"
		"zone:\n name: mail.example\n zonefile: mail.example\n",
		server, fixture->directory, fixture->directory, fixture->directory);
	write_file("nsd.conf", conf);
	fixture->server = fork();
	if (fixture->server == 0) {
		char path[128];

		snprintf(path, sizeof(path), "%s/nsd.conf", fixture->directory);
		execl("/usr/sbin/nsd", "nsd", "-d", "-c", path, NULL);
		_exit(127);
	}
	assert_true(server_answers());
	random_init_seed(&fixture->random, 1);
	snprintf(stub, sizeof(stub), "127.0.0.1@%u", fixture->port);
	snprintf(closed, sizeof(closed), "127.0.0.1@%u", free_port());
	zones[0] = (struct resolver_stub_zone){"mail.example", stub};
	zones[1] = (struct resolver_stub_zone){"lame.example", stub};
	zones[2] = (struct resolver_stub_zone){"closed.example", closed};
	struct resolver_settings settings = {
		.stub_zone_count = 3,
		.stub_zones = zones,
		.allow_private_addresses = true,
		.cache_entries = 100,
		.random = &fixture->random,
		.timeout_us = 4 * US_PER_S,
	};
	fixture->resolver = resolver_unbound_create(&settings, error);
	if (!fixture->resolver)
		fail_msg("%s", error);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	fixture->resolver->destroy(fixture->resolver);
	kill(fixture->server, SIGTERM);
	waitpid(fixture->server, NULL, 0);
	snprintf(command, sizeof(command), "rm -r %s", fixture->directory);
	assert_int_equal(system(command), 0);
	free(fixture);
	return 0;
}

static void on_done(void *user, const struct resolution *resolution)
{
	struct resolution *out = user;

	*out = *resolution;
	out->ttl_s |= 1u << 31; /* answered */
}

/* @return how long it took */
static uint64_t resolve(const char *domain, struct resolution *out)
{
	struct mr_now now, begin;

	clock_read(&begin);
	memset(out, 0, sizeof(*out));
	assert_int_equal(fixture->resolver->submit(fixture->resolver, domain, on_done, out, &begin),
			 0);
	assert_false(out->ttl_s >> 31);
	do {
		clock_read(&now);
		fixture->resolver->poll(fixture->resolver, &now);
		if (!(out->ttl_s >> 31))
			usleep(200);
		if (now.mono_us - begin.mono_us > 20 * US_PER_S)
			fail_msg("%s was not answered", domain);
	} while (!(out->ttl_s >> 31));
	out->ttl_s &= ~(1u << 31);
	return now.mono_us - begin.mono_us;
}

static void exchangers_come_with_their_addresses(void **state)
{
	struct resolution r;

	(void)state;
	resolve("two.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_OK);
	assert_true(r.has_mx);
	assert_int_equal(r.host_count, 3);
	assert_string_equal(r.hosts[0].name, "mx1.mail.example");
	assert_string_equal(r.hosts[1].name, "mx1.mail.example");
	assert_string_equal(r.hosts[2].name, "mx2.mail.example");
	assert_int_equal(ip_is_v4(&r.hosts[0].address) + ip_is_v4(&r.hosts[1].address), 1);
	assert_string_equal(r.site, "mx1.mail.example+mx2.mail.example");
	assert_in_range(r.ttl_s, 30, 300);
}

static void RFC5321_5_1_addresses_that_become_ours_are_known_at_once(void **state)
{
	struct resolver *resolver = fixture->resolver;
	struct ip_address ours;
	struct resolution r;

	(void)state;
	resolve("implicit.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_OK);
	ours = r.hosts[0].address;
	assert_int_equal(resolver->set_own_addresses(resolver, &ours, 1), 0);
	resolve("implicit.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_LOOP);
	assert_int_equal(resolver->set_own_addresses(resolver, NULL, 0), 0);
	resolve("implicit.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_OK);
}

static void a_domain_without_mx_is_its_own_exchanger(void **state)
{
	struct resolution r;

	(void)state;
	resolve("implicit.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_OK);
	assert_false(r.has_mx);
	assert_string_equal(r.hosts[0].name, "implicit.mail.example");
}

static void RFC7505_null_mx_takes_no_mail(void **state)
{
	struct resolution r;

	(void)state;
	resolve("nullmx.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_NULL_MX);
}

static void C14_only_nxdomain_says_that_a_domain_does_not_exist(void **state)
{
	struct resolution r;

	(void)state;
	resolve("does-not-exist.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_NO_DOMAIN);
	resolve("x.lame.example", &r); /* the server answers REFUSED */
	assert_int_equal(r.status, RESOLUTION_TEMPORARY);
	assert_non_null(strstr(r.reason, "x.lame.example"));
	uint64_t took = resolve("x.closed.example", &r);

	assert_int_equal(r.status, RESOLUTION_TEMPORARY);
	assert_true(took < 6 * US_PER_S);
}

static void C12_cnames_are_followed_and_loops_end(void **state)
{
	struct resolution r;

	(void)state;
	resolve("alias.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_OK);
	assert_string_equal(r.hosts[0].name, "mx1.mail.example");
	resolve("mxcname.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_OK);
	assert_string_equal(r.hosts[0].name, "mxalias.mail.example");
	resolve("loop1.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_TEMPORARY);
}

static void exchangers_without_address_do_not_hide_others(void **state)
{
	struct resolution r;

	(void)state;
	resolve("ghost.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_NO_ADDRESS);
	resolve("literal.mail.example", &r);
	assert_int_not_equal(r.status, RESOLUTION_OK);
	resolve("empty.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_NO_ADDRESS);
	resolve("halfghost.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_OK);
	assert_string_equal(r.hosts[0].name, "mx2.mail.example");
	resolve("lamemx.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_TEMPORARY);
}

static void C11_many_records_end_in_few_queries(void **state)
{
	struct resolution r;

	(void)state;
	resolve("many.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_OK);
	assert_in_range(r.host_count, 1, ROUTE_HOSTS_MAX);
	uint64_t took = resolve("fanout.mail.example", &r);

	assert_int_equal(r.status, RESOLUTION_TEMPORARY);
	assert_true(took < 10 * US_PER_S);
}

static void names_in_other_scripts_and_literals_are_resolved(void **state)
{
	struct resolution r;

	(void)state;
	resolve("b\xc3\xbc"
		"cher.mail.example",
		&r);
	assert_int_equal(r.status, RESOLUTION_OK);
	resolve("[192.0.2.9]", &r);
	assert_int_equal(r.status, RESOLUTION_OK);
	assert_int_equal(r.host_count, 1);
	resolve("[300.0.2.9]", &r);
	assert_int_equal(r.status, RESOLUTION_NO_DOMAIN);
	resolve("not a name", &r);
	assert_int_equal(r.status, RESOLUTION_NO_DOMAIN);
}

static void a_second_question_is_answered_without_the_server(void **state)
{
	struct resolution r;

	(void)state;
	resolve("two.mail.example", &r);
	kill(fixture->server, SIGSTOP);
	resolve("two.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_OK);
	fixture->resolver->flush(fixture->resolver, "Two.mail.example");
	kill(fixture->server, SIGCONT);
	resolve("two.mail.example", &r);
	assert_int_equal(r.status, RESOLUTION_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exchangers_come_with_their_addresses),
		cmocka_unit_test(RFC5321_5_1_addresses_that_become_ours_are_known_at_once),
		cmocka_unit_test(a_domain_without_mx_is_its_own_exchanger),
		cmocka_unit_test(RFC7505_null_mx_takes_no_mail),
		cmocka_unit_test(C14_only_nxdomain_says_that_a_domain_does_not_exist),
		cmocka_unit_test(C12_cnames_are_followed_and_loops_end),
		cmocka_unit_test(exchangers_without_address_do_not_hide_others),
		cmocka_unit_test(C11_many_records_end_in_few_queries),
		cmocka_unit_test(names_in_other_scripts_and_literals_are_resolved),
		cmocka_unit_test(a_second_question_is_answered_without_the_server),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
