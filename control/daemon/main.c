/* SPDX-License-Identifier: GPL-3.0-or-later */
/* millraced: arguments, the order of starting and stopping, signals, and word to systemd. */
#include "control/daemon/appliance.h"
#include "control/daemon/commands.h"
#include "control/daemon/privileges.h"
#include "control/daemon/thread.h"
#include "control/telemetry/log.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define ERROR_TEXT 512
#define TICK_MS	   100

struct options {
	const char *config_file;
	bool check;
	bool dry_run;
};

struct daemon {
	struct appliance appliance;
	struct management *management;
	struct telemetry *telemetry;
	int signals;
	bool log_is_file;
};

static void usage(FILE *to)
{
	fputs("usage: millraced --config FILE [--check | --dry-run]\n"
	      "  --config FILE  the configuration\n"
	      "  --check        read and validate it, and exit\n"
	      "  --dry-run      also open the ports, say what they offer, and exit\n"
	      "  --version      print the version and exit\n",
	      to);
}

static int parse(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'k'},
		{"dry-run", no_argument, NULL, 'n'},	  {"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},	  {NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:knvh", known, NULL)) != -1) {
		switch (c) {
		case 'c':
			options->config_file = optarg;
			break;
		case 'k':
			options->check = true;
			break;
		case 'n':
			options->dry_run = true;
			break;
		case 'v':
			puts("millraced " MILLRACE_VERSION);
			exit(0);
		case 'h':
			usage(stdout);
			exit(0);
		default:
			return -EINVAL;
		}
	}
	return options->config_file && optind == argc ? 0 : -EINVAL;
}

static struct configuration *load(const char *file)
{
	struct config_errors errors = {0};
	struct configuration *configuration = config_load(file, NULL, &errors);

	for (unsigned i = 0; i < errors.count; i++) {
		char line[sizeof(errors.errors[i]) + 32];

		fprintf(stderr, "%s\n", config_error_format(&errors.errors[i], line, sizeof(line)));
	}
	return configuration;
}

/* ---- Starting ---- */

static int prepare_directories(const struct config_system *system, char *error)
{
	char parent[PATH_MAX];
	const char *directories[] = {system->state_directory, system->event_directory,
				     system->spool_directory};
	int code;

	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
		code = privileges_prepare_directory(directories[i], system->user, true, error);
		if (code < 0)
			return code;
	}
	/* Captures may well go to a directory of others, such as /tmp. */
	code = privileges_prepare_directory(system->capture_directory, system->user, false, error);
	if (code < 0)
		return code;
	const char *files[] = {system->log_file, system->management_socket};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(parent, sizeof(parent), "%s", files[i]);
		char *slash = strrchr(parent, '/');

		if (!slash || slash == parent)
			continue;
		*slash = '\0';
		code = privileges_prepare_directory(parent, system->user, false, error);
		if (code < 0)
			return code;
	}
	return 0;
}

/* The main thread waits for signals; no other thread is ever interrupted by one. */
static int block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void report_ports(const struct appliance *appliance)
{
	for (unsigned i = 0; i < appliance->port_count; i++) {
		struct nic_port_information info;

		nic_port_information(appliance->ports[i], &info);
		printf("port %s: %s, driver %s, MAC %02x:%02x:%02x:%02x:%02x:%02x, %u queues, MTU %u\n"
		       "  checksums: receive %s, send %s; steering: %s (%s); receive interrupts: %s\n",
		       info.name, info.device, info.driver, info.mac[0], info.mac[1], info.mac[2],
		       info.mac[3], info.mac[4], info.mac[5], info.queues, info.mtu,
		       info.rx_checksum ? "port" : "software",
		       info.tx_tcp_checksum ? "port" : "software", nic_steering_name(info.steering),
		       info.steering_reason, info.rx_interrupts ? "yes" : "no");
	}
}

static int start_management(struct daemon *daemon, const struct config_system *system, char *error)
{
	daemon->management = management_create(system->management_socket, error);
	if (!daemon->management)
		return -EIO;
	management_set_hostname(daemon->management, system->hostname);
	commands_register(daemon->management, &daemon->appliance);
	if (management_start(daemon->management) < 0) {
		snprintf(error, ERROR_TEXT, "management socket %.200s: cannot listen",
			 system->management_socket);
		return -EIO;
	}
	if (!system->metrics_address[0])
		return 0;
	daemon->telemetry = telemetry_start(system->metrics_address, error);
	if (!daemon->telemetry)
		return -EIO;
	telemetry_add(daemon->telemetry, metrics_collect, &daemon->appliance);
	telemetry_set_health(daemon->telemetry, health_check, &daemon->appliance);
	return 0;
}

static int start(struct daemon *daemon, char *error)
{
	const struct config_system *system = config_system(daemon->appliance.configuration);
	int code = prepare_directories(system, error);

	if (code == 0)
		code = appliance_open_ports(&daemon->appliance, error);
	if (code == 0)
		code = privileges_drop(system->user, error);
	if (code == 0)
		code = appliance_open_log(system, error);
	daemon->log_is_file = code == 0 && system->log_file[0];
	if (code == 0)
		code = privileges_filter_system_calls(error);
	if (code == 0)
		code = appliance_start(&daemon->appliance, error);
	if (code == 0)
		code = start_management(daemon, system, error);
	return code;
}

/* ---- Running ---- */

/* @return false when it is time to stop */
static bool take_signals(struct daemon *daemon)
{
	struct signalfd_siginfo info;
	bool go_on = true;

	while (read(daemon->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo != SIGHUP) {
			go_on = false;
			continue;
		}
		sd_notify(0, "RELOADING=1");
		appliance_reload(&daemon->appliance, NULL, NULL);
		sd_notify(0, "READY=1");
	}
	return go_on;
}

static void wait_tick(struct daemon *daemon)
{
	struct pollfd descriptor = {.fd = daemon->signals, .events = POLLIN};

	poll(&descriptor, 1, TICK_MS);
	appliance_tick(&daemon->appliance);
	sd_notify(0, "WATCHDOG=1");
}

static void drain(struct daemon *daemon)
{
	uint64_t timeout_us = config_system(daemon->appliance.configuration)->drain_timeout_us;
	struct mr_now now, begin;

	clock_read(&begin);
	now = begin;
	sd_notify(0, "STOPPING=1");
	log_info("daemon", "draining, at most %llu s", (unsigned long long)(timeout_us / US_PER_S));
	appliance_drain(&daemon->appliance);
	while (!appliance_is_drained(&daemon->appliance) &&
	       now.mono_us - begin.mono_us < timeout_us) {
		/* A second signal means at once. */
		if (!take_signals(daemon))
			break;
		wait_tick(daemon);
		clock_read(&now);
	}
	log_info("daemon", "%s after %.1f s",
		 appliance_is_drained(&daemon->appliance)
			 ? "drained"
			 : "stopping with work left, which the spool keeps,",
		 (double)(now.mono_us - begin.mono_us) / 1e6);
}

static void run(struct daemon *daemon)
{
	log_info("daemon", "ready: %u workers, %u ports", daemon->appliance.worker_count,
		 daemon->appliance.port_count);
	sd_notify(0, "READY=1");
	do
		wait_tick(daemon);
	while (take_signals(daemon));
	drain(daemon);
}

/* Whatever of it was started. */
static void take_down(struct daemon *daemon)
{
	telemetry_stop(daemon->telemetry);
	management_destroy(daemon->management);
	appliance_stop(&daemon->appliance);
	if (daemon->appliance.started_with != daemon->appliance.configuration)
		config_free(daemon->appliance.started_with);
	config_free(daemon->appliance.configuration);
}

static void stop(struct daemon *daemon)
{
	take_down(daemon);
	log_info("daemon", "stopped");
	log_close();
}

int main(int argc, char **argv)
{
	static struct daemon daemon;
	struct options options = {0};
	char error[ERROR_TEXT] = "";

	if (parse(argc, argv, &options) < 0) {
		usage(stderr);
		return 2;
	}
	daemon.appliance.config_file = options.config_file;
	daemon.appliance.configuration = load(options.config_file);
	daemon.appliance.started_with = daemon.appliance.configuration;
	if (!daemon.appliance.configuration)
		return 1;
	if (options.check) {
		printf("%s: sound\n", options.config_file);
		config_free(daemon.appliance.configuration);
		return 0;
	}
	daemon.signals = block_signals();
	thread_set_precise_sleep();
	if (options.dry_run) {
		int code = appliance_open_ports(&daemon.appliance, error);

		report_ports(&daemon.appliance);
		if (code < 0)
			fprintf(stderr, "millraced: %s\n", error);
		take_down(&daemon);
		return code < 0;
	}
	if (start(&daemon, error) < 0) {
		fprintf(stderr, "millraced: %s\n", error);
		/* Without a file, diagnostics are on standard error: once is enough. */
		if (daemon.log_is_file)
			log_error("daemon", "not started: %s", error);
		take_down(&daemon);
		return 1;
	}
	run(&daemon);
	stop(&daemon);
	return 0;
}
