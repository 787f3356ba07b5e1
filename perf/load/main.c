/* SPDX-License-Identifier: GPL-3.0-or-later */
/* millrace-load: options, the loop, and the report. */
#include "control/certs/certs.h"
#include "drivers/nic/nic.h"
#include "perf/load/load.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <x86intrin.h>

#define SECONDS	      10
#define SECONDS_QUICK 3
#define DRAIN_S	      30
#define IDLE_TURNS    64

struct side {
	bool wanted;
	const char *device; /* DPDK; NULL: kernel sockets */
	const char *network_namespace;
	struct ip_address own;
	uint8_t prefix_length;
	struct ip_address gateway;
};

struct options {
	struct side generator, sink;
	struct ip_address target;
	uint16_t target_port, sink_port, queues;
	bool hugepages, spread, quick, quiet;
	unsigned memory_mib;
	int core;
	double drain_s;
	const char *json;
	const char *file_prefix;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

static void usage(FILE *to)
{
	fputs("usage: millrace-load [OPTIONS]\n"
	      "Which sides (both in one process give latencies and a conservation check):\n"
	      "  --generate ADDRESS[/LENGTH]   own address of the generator\n"
	      "  --target ADDRESS:PORT         where it sends\n"
	      "  --sink ADDRESS[/LENGTH]       own address of the sink\n"
	      "  --sink-port PORT              (25)\n"
	      "Transport of each side: kernel sockets, or our stack on a DPDK device\n"
	      "  --generate-device DEV  --sink-device DEV   e.g. net_memif0,role=client,socket=/run/x.sock\n"
	      "  --generate-netns NAME  --sink-netns NAME   namespace of kernel sockets\n"
	      "  --generate-gateway A   --sink-gateway A    next hop of a DPDK side\n"
	      "  --queues N             of each device, as the other side has workers (1)\n"
	      "  --spread               do not imitate the NIC's steering to the owner's queue\n"
	      "  --no-huge --memory MIB --file-prefix TEXT  DPDK memory (hugepages, 256)\n"
	      "Load:\n"
	      "  --sessions N (50)  --messages N | --seconds S (10)  --rate R: open loop, messages a second\n"
	      "  --size BYTES | MIN-MAX | BYTES:SHARE,BYTES:SHARE,…  (10240)\n"
	      "  --recipients N (1)  --domains a.example,b.example  --messages-per-session N\n"
	      "  --starttls  --bdat  (commands are pipelined, up to DATA)\n"
	      "Sink:\n"
	      "  --sink-starttls  --sink-delay-ms MS  --sink-refuse-rcpt PCT  --sink-reject-rcpt PCT  --sink-refuse-data PCT\n"
	      "Other:\n"
	      "  --drain S (30): how long to wait for what was acknowledged  --core N  --json FILE  --quiet\n"
	      "  --quick: three seconds, unless --seconds or --messages says otherwise\n",
	      to);
}

/* ---- Options ---- */

static bool parse_own(const char *text, struct side *side)
{
	char copy[64];
	char *slash;

	snprintf(copy, sizeof(copy), "%s", text);
	slash = strchr(copy, '/');
	if (slash)
		*slash = '\0';
	side->wanted = true;
	if (ip_parse(copy, &side->own) < 0)
		return false;
	side->prefix_length = slash ? (uint8_t)atoi(slash + 1) : ip_is_v4(&side->own) ? 24 : 64;
	return true;
}

static bool parse_target(const char *text, struct options *options)
{
	char copy[64];
	char *colon;

	snprintf(copy, sizeof(copy), "%s", text);
	colon = strrchr(copy, ':');
	if (!colon)
		return false;
	*colon = '\0';
	options->target_port = (uint16_t)atoi(colon + 1);
	char *from = copy;

	if (from[0] == '[') {
		from++;
		from[strcspn(from, "]")] = '\0';
	}
	return options->target_port > 0 && ip_parse(from, &options->target) == 0;
}

static bool parse_size(const char *text, struct size_choice *size)
{
	char *copy = strdup(text), *save = NULL;
	double sum = 0, total = 0;

	*size = (struct size_choice){0};
	if (!strchr(text, ':')) {
		unsigned min = 0, max = 0;
		int n = sscanf(text, "%u-%u", &min, &max);

		size->min = min;
		size->max = n == 2 ? max : min;
		free(copy);
		return n >= 1 && size->max >= size->min && size->min > 0;
	}
	for (char *p = strtok_r(copy, ",", &save); p && size->steps < 64;
	     p = strtok_r(NULL, ",", &save)) {
		unsigned bytes;
		double share;

		if (sscanf(p, "%u:%lf", &bytes, &share) != 2)
			break;
		total += share;
		size->step[size->steps].bytes = bytes;
		size->step[size->steps++].up_to = share;
	}
	free(copy);
	for (unsigned i = 0; i < size->steps; i++) {
		sum += size->step[i].up_to / total;
		size->step[i].up_to = sum;
	}
	return size->steps > 0;
}

enum {
	O_GENERATE = 256,
	O_TARGET,
	O_SINK,
	O_SINK_PORT,
	O_GDEVICE,
	O_SDEVICE,
	O_GNETNS,
	O_SNETNS,
	O_GGATEWAY,
	O_SGATEWAY,
	O_QUEUES,
	O_SPREAD,
	O_NOHUGE,
	O_MEMORY,
	O_PREFIX,
	O_SESSIONS,
	O_MESSAGES,
	O_SECONDS,
	O_RATE,
	O_SIZE,
	O_RECIPIENTS,
	O_DOMAINS,
	O_PERSESSION,
	O_STARTTLS,
	O_BDAT,
	O_SSTARTTLS,
	O_SDELAY,
	O_SREFUSE,
	O_SREJECT,
	O_SDATA,
	O_DRAIN,
	O_CORE,
	O_JSON,
	O_QUICK,
	O_QUIET,
	O_HELP,
};

static const struct option known[] = {
	{"generate", required_argument, NULL, O_GENERATE},
	{"target", required_argument, NULL, O_TARGET},
	{"sink", required_argument, NULL, O_SINK},
	{"sink-port", required_argument, NULL, O_SINK_PORT},
	{"generate-device", required_argument, NULL, O_GDEVICE},
	{"sink-device", required_argument, NULL, O_SDEVICE},
	{"generate-netns", required_argument, NULL, O_GNETNS},
	{"sink-netns", required_argument, NULL, O_SNETNS},
	{"generate-gateway", required_argument, NULL, O_GGATEWAY},
	{"sink-gateway", required_argument, NULL, O_SGATEWAY},
	{"queues", required_argument, NULL, O_QUEUES},
	{"spread", no_argument, NULL, O_SPREAD},
	{"no-huge", no_argument, NULL, O_NOHUGE},
	{"memory", required_argument, NULL, O_MEMORY},
	{"file-prefix", required_argument, NULL, O_PREFIX},
	{"sessions", required_argument, NULL, O_SESSIONS},
	{"messages", required_argument, NULL, O_MESSAGES},
	{"seconds", required_argument, NULL, O_SECONDS},
	{"rate", required_argument, NULL, O_RATE},
	{"size", required_argument, NULL, O_SIZE},
	{"recipients", required_argument, NULL, O_RECIPIENTS},
	{"domains", required_argument, NULL, O_DOMAINS},
	{"messages-per-session", required_argument, NULL, O_PERSESSION},
	{"starttls", no_argument, NULL, O_STARTTLS},
	{"bdat", no_argument, NULL, O_BDAT},
	{"sink-starttls", no_argument, NULL, O_SSTARTTLS},
	{"sink-delay-ms", required_argument, NULL, O_SDELAY},
	{"sink-refuse-rcpt", required_argument, NULL, O_SREFUSE},
	{"sink-reject-rcpt", required_argument, NULL, O_SREJECT},
	{"sink-refuse-data", required_argument, NULL, O_SDATA},
	{"drain", required_argument, NULL, O_DRAIN},
	{"core", required_argument, NULL, O_CORE},
	{"json", required_argument, NULL, O_JSON},
	{"quick", no_argument, NULL, O_QUICK},
	{"quiet", no_argument, NULL, O_QUIET},
	{"help", no_argument, NULL, O_HELP},
	{NULL, 0, NULL, 0},
};

static bool set_load_option(int c, struct load_settings *s)
{
	switch (c) {
	case O_SESSIONS:
		s->sessions = (unsigned)atoi(optarg);
		return s->sessions > 0;
	case O_MESSAGES:
		s->messages = strtoull(optarg, NULL, 10);
		return s->messages > 0;
	case O_SECONDS:
		s->seconds = atof(optarg);
		return s->seconds > 0;
	case O_RATE:
		s->rate = atof(optarg);
		return s->rate > 0;
	case O_SIZE:
		return parse_size(optarg, &s->size);
	case O_RECIPIENTS:
		s->recipients = (unsigned)atoi(optarg);
		return s->recipients > 0;
	case O_DOMAINS:
		s->domain = optarg;
		return true;
	case O_PERSESSION:
		s->messages_per_session = (unsigned)atoi(optarg);
		return true;
	case O_STARTTLS:
		return s->starttls = true;
	case O_BDAT:
		return s->bdat = true;
	case O_SSTARTTLS:
		return s->sink_starttls = true;
	case O_SDELAY:
		s->reply_delay_us = (uint64_t)(atof(optarg) * 1000);
		return true;
	case O_SREFUSE:
		s->refuse_rcpt_percent = atof(optarg);
		return true;
	case O_SREJECT:
		s->reject_rcpt_percent = atof(optarg);
		return true;
	case O_SDATA:
		s->refuse_data_percent = atof(optarg);
		return true;
	default:
		return false;
	}
}

static bool set_option(int c, struct options *o, struct load_settings *s)
{
	switch (c) {
	case O_GENERATE:
		return parse_own(optarg, &o->generator);
	case O_SINK:
		return parse_own(optarg, &o->sink);
	case O_TARGET:
		return parse_target(optarg, o);
	case O_SINK_PORT:
		o->sink_port = (uint16_t)atoi(optarg);
		return o->sink_port > 0;
	case O_GDEVICE:
		return (o->generator.device = optarg) != NULL;
	case O_SDEVICE:
		return (o->sink.device = optarg) != NULL;
	case O_GNETNS:
		return (o->generator.network_namespace = optarg) != NULL;
	case O_SNETNS:
		return (o->sink.network_namespace = optarg) != NULL;
	case O_GGATEWAY:
		return ip_parse(optarg, &o->generator.gateway) == 0;
	case O_SGATEWAY:
		return ip_parse(optarg, &o->sink.gateway) == 0;
	case O_QUEUES:
		o->queues = (uint16_t)atoi(optarg);
		return o->queues > 0;
	case O_SPREAD:
		return o->spread = true;
	case O_NOHUGE:
		o->hugepages = false;
		return true;
	case O_MEMORY:
		o->memory_mib = (unsigned)atoi(optarg);
		return true;
	case O_PREFIX:
		return (o->file_prefix = optarg) != NULL;
	case O_DRAIN:
		o->drain_s = atof(optarg);
		return true;
	case O_CORE:
		o->core = atoi(optarg);
		return true;
	case O_JSON:
		return (o->json = optarg) != NULL;
	case O_QUICK:
		return o->quick = true;
	case O_QUIET:
		return o->quiet = true;
	default:
		return set_load_option(c, s);
	}
}

static int parse(int argc, char **argv, struct options *o, struct load_settings *s)
{
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == O_HELP) {
			usage(stdout);
			exit(0);
		}
		if (c == '?' || !set_option(c, o, s)) {
			if (c != '?')
				fprintf(stderr, "millrace-load: bad value: %s\n", optarg);
			return -EINVAL;
		}
	}
	if (optind != argc || (!o->generator.wanted && !o->sink.wanted) ||
	    (o->generator.wanted && o->target_port == 0)) {
		usage(stderr);
		return -EINVAL;
	}
	if (s->messages == 0 && s->seconds == 0)
		s->seconds = o->quick ? SECONDS_QUICK : SECONDS;
	return 0;
}

/* ---- Set-up ---- */

static int start_dpdk(const struct options *o, char *error)
{
	const char *devices[2];
	unsigned count = 0;

	if (o->generator.device)
		devices[count++] = o->generator.device;
	if (o->sink.device)
		devices[count++] = o->sink.device;
	if (count == 0)
		return 0;
	struct nic_environment environment = {
		.program = "millrace-load",
		.hugepages = o->hugepages,
		.memory_mib = o->memory_mib,
		.file_prefix = o->file_prefix,
		.device_count = count,
		.devices = devices,
	};
	return nic_environment_start(&environment, error);
}

static int open_side(struct transport *transport, const struct options *o, const struct side *side,
		     uint16_t index, unsigned sessions, char *error)
{
	if (!side->device) {
		struct transport_kernel_settings settings = {
			.network_namespace = side->network_namespace,
			.own = side->own,
			.target = o->target,
			.target_port = o->target_port,
		};
		return transport_kernel_open(transport, &settings, error);
	}
	struct transport_dpdk_settings settings = {
		.device = side->device,
		.own = side->own,
		.prefix_length = side->prefix_length,
		.gateway = side->gateway,
		.target = o->target,
		.target_port = o->target_port,
		.queues = o->queues,
		.index = index,
		.connections = sessions * 4 + 8192,
		.spread = o->spread,
	};
	return transport_dpdk_open(transport, &settings, error);
}

static int make_contexts(struct load *load, char *error)
{
	char *pem;
	size_t size;

	tls_global_init();
	tls_thread_init(&load->random);
	load->client_context = tls_context_create_client(error);
	if (!load->client_context || certificate_make_self_signed("sink.example", &pem, &size) < 0)
		return -EIO;
	load->server_context = tls_context_create_server(pem, size, pem, size, NULL, 1, error);
	free(pem);
	return load->server_context ? 0 : -EIO;
}

/* ---- Books ---- */

void load_on_stored(struct load *load, uint64_t number)
{
	load->last_stored_us = load->now.mono_us;
	if (!load->generator) {
		load->stored++;
		return;
	}
	if (number >= load->begun) {
		load->unknown++;
		return;
	}
	struct book_entry *entry = &load->book[number];

	if (entry->stored++ == 0) {
		load->stored++;
		histogram_add(&load->relay_latency, load->now.mono_us - entry->due_us);
	} else if (load->settings.recipients == 1 || entry->stored > load->settings.recipients) {
		load->duplicates++;
	}
}

static uint64_t lost(const struct load *load)
{
	uint64_t count = 0;

	if (!load->sink || !load->generator)
		return 0;
	for (uint64_t n = 0; n < load->begun; n++)
		count += load->book[n].acknowledged && load->book[n].stored == 0;
	return count;
}

/* ---- The loop ---- */

struct usage {
	double cpu_s;
	uint64_t busy_cycles, idle_cycles;
};

static bool is_over(struct load *load, const struct options *o)
{
	const struct load_settings *s = &load->settings;
	double elapsed = (double)(load->now.mono_us - load->started_us) / 1e6;

	if (!load->generator)
		return interrupted || (s->seconds > 0 && elapsed >= s->seconds);
	if (interrupted || (s->seconds > 0 && elapsed >= s->seconds))
		load->stopping = true;
	if (load->open_sessions > 0 && !(load->stopping && interrupted > 1)) {
		bool all_answered =
			s->messages > 0 && load->acknowledged + load->refused >= s->messages;

		if (!load->stopping && !all_answered)
			return false;
	}
	if (!load->stopping && s->messages > 0 && load->begun < s->messages)
		return false;
	/* What was acknowledged is to arrive. */
	if (load->acknowledged + load->refused < load->begun)
		return load->now.mono_us - load->last_ack_us > (uint64_t)(o->drain_s * 1e6) &&
		       load->last_ack_us > 0;
	return !load->sink || load->stored >= load->acknowledged ||
	       load->now.mono_us - load->last_ack_us > (uint64_t)(o->drain_s * 1e6);
}

static void loop(struct load *load, const struct options *o, struct usage *usage)
{
	uint64_t cycles = __rdtsc();
	unsigned idle = 0;

	for (;;) {
		bool busy = false;

		clock_read(&load->now);
		if (load->generator) {
			generator_turn(load);
			busy |= load->generator->operations->turn(load->generator->state,
								  &load->now);
		}
		if (load->sink) {
			sink_turn(load);
			busy |= load->sink->operations->turn(load->sink->state, &load->now);
		}
		if (is_over(load, o))
			return;
		idle = busy ? 0 : idle + 1;
		if (idle > IDLE_TURNS)
			usleep(20);
		uint64_t now = __rdtsc();

		*(busy ? &usage->busy_cycles : &usage->idle_cycles) += now - cycles;
		cycles = now;
	}
}

/* ---- The report ---- */

static double milliseconds(const struct histogram *h, double percent)
{
	return (double)histogram_percentile(h, percent) / 1000.0;
}

static void print_latency(const char *name, const struct histogram *h)
{
	printf("%-16s p50 %8.2f  p90 %8.2f  p99 %8.2f  p99.9 %8.2f  max %8.2f ms\n", name,
	       milliseconds(h, 50), milliseconds(h, 90), milliseconds(h, 99), milliseconds(h, 99.9),
	       (double)h->max_us / 1000.0);
}

static void json_number(FILE *f, const char *name, double value, const char *unit, bool last)
{
	fprintf(f, "  {\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}%s\n", name, value, unit,
		last ? "" : ",");
}

static int write_json(const char *path, const struct load *load, double elapsed_s, double busy,
		      double cpu_s)
{
	FILE *f = fopen(path, "w");

	if (!f) {
		fprintf(stderr, "millrace-load: %s: %s\n", path, strerror(errno));
		return -errno;
	}
	fputs("[\n", f);
	json_number(f, "load.messages_per_second", (double)load->acknowledged / elapsed_s, "1/s",
		    false);
	json_number(f, "load.begun", (double)load->begun, "messages", false);
	json_number(f, "load.acknowledged", (double)load->acknowledged, "messages", false);
	json_number(f, "load.refused", (double)load->refused, "messages", false);
	json_number(f, "load.stored", (double)load->stored, "messages", false);
	json_number(f, "load.lost", (double)lost(load), "messages", false);
	json_number(f, "load.duplicated", (double)load->duplicates, "messages", false);
	json_number(f, "load.unknown", (double)load->unknown, "messages", false);
	json_number(f, "load.failed_sessions", (double)load->failed_sessions, "sessions", false);
	json_number(f, "load.bytes_acknowledged", (double)load->bytes_acknowledged, "B", false);
	json_number(f, "load.seconds", elapsed_s, "s", false);
	json_number(f, "load.relay_seconds",
		    load->last_stored_us > load->started_us
			    ? (double)(load->last_stored_us - load->started_us) / 1e6
			    : 0,
		    "s", false);
	json_number(f, "load.accept_p50_ms", milliseconds(&load->accept_latency, 50), "ms", false);
	json_number(f, "load.accept_p99_ms", milliseconds(&load->accept_latency, 99), "ms", false);
	json_number(f, "load.relay_p50_ms", milliseconds(&load->relay_latency, 50), "ms", false);
	json_number(f, "load.relay_p90_ms", milliseconds(&load->relay_latency, 90), "ms", false);
	json_number(f, "load.relay_p99_ms", milliseconds(&load->relay_latency, 99), "ms", false);
	json_number(f, "load.relay_p999_ms", milliseconds(&load->relay_latency, 99.9), "ms", false);
	json_number(f, "load.own_cpu_seconds", cpu_s, "s", false);
	json_number(f, "load.own_busy", busy, "1", true);
	fputs("]\n", f);
	return fclose(f) == 0 ? 0 : -EIO;
}

static int report(const struct load *load, const struct options *o, const struct usage *usage)
{
	uint64_t end = load->last_ack_us > load->started_us ? load->last_ack_us : load->now.mono_us;
	double elapsed_s = (double)(end - load->started_us) / 1e6;
	double busy =
		(double)usage->busy_cycles / (double)(usage->busy_cycles + usage->idle_cycles + 1);
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	double cpu_s = (double)ru.ru_utime.tv_sec + (double)ru.ru_stime.tv_sec +
		       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;

	if (!o->quiet) {
		printf("messages         %llu begun, %llu acknowledged, %llu refused, %llu stored, %llu lost, %llu duplicated\n",
		       (unsigned long long)load->begun, (unsigned long long)load->acknowledged,
		       (unsigned long long)load->refused, (unsigned long long)load->stored,
		       (unsigned long long)lost(load), (unsigned long long)load->duplicates);
		if (load->generator)
			printf("rate             %.0f messages/s acknowledged, %.1f Mbit/s, over %.2f s\n",
			       (double)load->acknowledged / elapsed_s,
			       (double)load->bytes_acknowledged * 8 / elapsed_s / 1e6, elapsed_s);
		if (load->accept_latency.count)
			print_latency("to 250", &load->accept_latency);
		if (load->relay_latency.count)
			print_latency("to the receiver", &load->relay_latency);
		printf("this program     %.0f %% busy, %.2f s of CPU, %llu sessions failed\n",
		       busy * 100, cpu_s, (unsigned long long)load->failed_sessions);
	}
	if (o->json && write_json(o->json, load, elapsed_s, busy, cpu_s) < 0)
		return 1;
	return lost(load) > 0 || load->unknown > 0;
}

static void pin(int core)
{
	cpu_set_t set;

	if (core < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(core, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

int main(int argc, char **argv)
{
	static struct load load;
	static struct transport generator, sink;
	struct options options = {.sink_port = 25,
				  .queues = 1,
				  .hugepages = true,
				  .memory_mib = 256,
				  .core = -1,
				  .drain_s = DRAIN_S,
				  .file_prefix = "millrace-load"};
	struct usage use = {0};
	char error[512] = "";

	load.settings = (struct load_settings){.sessions = 50,
					       .size = {.min = 10240, .max = 10240},
					       .recipients = 1,
					       .domain = "load.example"};
	if (parse(argc, argv, &options, &load.settings) < 0)
		return 2;
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
	if (random_init(&load.random) < 0 || start_dpdk(&options, error) < 0 ||
	    make_contexts(&load, error) < 0)
		goto failed;
	clock_read(&load.now);
	if (options.sink.wanted) {
		if (open_side(&sink, &options, &options.sink, 1, load.settings.sessions, error) < 0)
			goto failed;
		load.sink = &sink;
		int code = sink_init(&load, options.sink_port);

		if (code < 0) {
			snprintf(error, sizeof(error), "sink cannot listen: %s", strerror(-code));
			goto failed;
		}
	}
	if (options.generator.wanted) {
		if (open_side(&generator, &options, &options.generator, 0, load.settings.sessions,
			      error) < 0)
			goto failed;
		load.generator = &generator;
	}
	pin(options.core);
	clock_read(&load.now);
	load.started_us = load.now.mono_us;
	if (generator_init(&load) < 0)
		goto failed;
	loop(&load, &options, &use);
	return report(&load, &options, &use);

failed:
	fprintf(stderr, "millrace-load: %s\n", error[0] ? error : "not started");
	return 1;
}
