/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A link between two interfaces of this network namespace, as bad as it is told to be: delay,
 * jitter, rate, queue, loss (random and in bursts), reordering, duplication, corruption, all from
 * one seed and with a capture of what was delivered. The interfaces are ends of veth pairs, whose
 * other ends may be in any namespace, TAP devices that it makes (the fastest to a kernel) or a
 * socket that it was given (interface.h). The impairment itself is tests/sim/link, in real time;
 * addresses may have paths of their own (path.h).
 *
 * Kernel peers on veth leave checksums to hardware that is not there; they are finished here.
 * Segments larger than a frame (GSO) cannot be delivered: switch that off on the peers (ethtool -K
 * PEER tso off gso off); each is counted.
 */
#include "drivers/clock.h"
#include "perf/emulator/interface.h"
#include "perf/emulator/path.h"

#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define BURST	64u
#define LATE_US 1000u

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	stop = 1;
}

/* --- the capture --- */
static FILE *capture_open(const char *path)
{
	static const uint32_t header[6] = {0xa1b2c3d4, 4u << 16 | 2, 0, 0, 65535, 1};
	FILE *file = fopen(path, "wb");

	if (file == NULL)
		interface_die("cannot write", path);
	fwrite(header, sizeof(header), 1, file);
	return file;
}

static void capture(FILE *file, const uint8_t *frame, size_t size)
{
	struct mr_now now;
	uint32_t record[4];

	if (file == NULL)
		return;
	clock_read(&now);
	record[0] = (uint32_t)(now.wall_us / US_PER_S);
	record[1] = (uint32_t)(now.wall_us % US_PER_S);
	record[2] = record[3] = (uint32_t)size;
	fwrite(record, sizeof(record), 1, file);
	fwrite(frame, size, 1, file);
}

/* --- the loop --- */
static void take_in(struct path_set *set, struct interface *from, unsigned side, uint8_t *frame)
{
	for (unsigned i = 0; i < BURST; i++) {
		ssize_t size = interface_receive(from, frame);
		struct mr_now now;

		if (size == 0)
			return;
		if (size < 0)
			continue;
		clock_read(&now);
		sim_link_send(path_of(set, frame, (size_t)size)->out[side], frame, (size_t)size,
			      now.mono_us);
	}
}

static void put_out(struct path *path, unsigned side, struct interface *to, uint8_t *frame,
		    FILE *file)
{
	struct sim_link *link = path->out[side];
	struct mr_now now;

	clock_read(&now);
	while (sim_link_next(link) <= now.mono_us) {
		uint64_t late_us = now.mono_us - sim_link_next(link);
		size_t size = sim_link_receive(link, frame, now.mono_us);

		path->late[side] += late_us > LATE_US;
		if (late_us > path->late_max_us[side])
			path->late_max_us[side] = late_us;
		interface_transmit(to, frame, size);
		capture(file, frame, size);
	}
}

static void nap(const struct path_set *set, const struct interface sides[2])
{
	struct pollfd fds[2] = {{.fd = sides[0].fd, .events = POLLIN},
				{.fd = sides[1].fd, .events = POLLIN}};
	uint64_t next = path_next(set), wait;
	struct timespec time = {.tv_sec = 1};
	struct mr_now now;

	clock_read(&now);
	wait = next > now.mono_us ? next - now.mono_us : 0;
	if (wait < US_PER_S)
		time = (struct timespec){.tv_nsec = (long)wait * 1000};
	ppoll(fds, 2, &time, NULL);
}

static void run(struct path_set *set, struct interface sides[2], FILE *file, uint64_t duration_us)
{
	static uint8_t frame[INTERFACE_ROOM];
	struct mr_now now;
	uint64_t end;

	clock_read(&now);
	end = duration_us != 0 ? now.mono_us + duration_us : MR_NEVER;
	while (!stop && now.mono_us < end) {
		for (unsigned side = 0; side < 2; side++)
			take_in(set, &sides[side], side, frame);
		for (unsigned i = 0; i < set->count; i++)
			for (unsigned side = 0; side < 2; side++)
				put_out(&set->paths[i], side, &sides[1 - side], frame, file);
		nap(set, sides);
		clock_read(&now);
	}
}

static const char usage[] =
	"usage: emulator [options] INTERFACE INTERFACE\n"
	"an interface is NAME, tap:NAME (made) or fd:NUMBER (a SOCK_SEQPACKET socket), and @FILE behind it\n"
	"names another network namespace\n"
	"  --delay MS       each way              --jitter MS       uniform, added, order is kept\n"
	"  --rate MBIT      per second, each way  --queue PACKETS   waiting for the rate (400)\n"
	"  --loss %         random                --burst IN/OUT    %: enter and leave a bad spell\n"
	"  --reorder %      late by               --reorder-by MS   (5)\n"
	"  --duplicate %    sent twice            --corrupt %       one bit flipped\n"
	"  --mtu BYTES      larger ones vanish    --seed N          same seed, same fate\n"
	"  --path PREFIX,delay=MS,rate=MBIT,...   links of their own for an address prefix; repeatable\n"
	"  --pcap FILE      what was delivered    --json FILE       counters at the end (- : stdout)\n"
	"  --duration S     then end              SIGINT, SIGTERM end it too; \"ready\" on stdout when it runs\n";

struct arguments {
	struct path_set set;
	uint64_t duration_us;
	FILE *pcap;
	const char *json;
};

static void parse(int count, char **texts, struct arguments *a)
{
	static const struct option options[] = {
		{"delay", 1, NULL, 0},	    {"jitter", 1, NULL, 0},	{"rate", 1, NULL, 0},
		{"queue", 1, NULL, 0},	    {"loss", 1, NULL, 0},	{"burst", 1, NULL, 0},
		{"reorder", 1, NULL, 0},    {"reorder-by", 1, NULL, 0}, {"duplicate", 1, NULL, 0},
		{"corrupt", 1, NULL, 0},    {"mtu", 1, NULL, 0},	{"seed", 1, NULL, 0},
		{"path", 1, NULL, 'P'},	    {"pcap", 1, NULL, 'p'},	{"json", 1, NULL, 'J'},
		{"duration", 1, NULL, 't'}, {"help", 0, NULL, 'h'},	{NULL, 0, NULL, 0},
	};
	int option, at;

	a->set.count = 1;
	a->set.paths[0].seed = 1;
	while ((option = getopt_long(count, texts, "", options, &at)) != -1) {
		switch (option) {
		case 0:
			path_set_option(&a->set.paths[0], options[at].name, optarg);
			break;
		case 'P':
			path_add(&a->set, optarg);
			break;
		case 'p':
			a->pcap = capture_open(optarg);
			break;
		case 'J':
			a->json = optarg;
			break;
		case 't':
			a->duration_us = (uint64_t)(path_number(optarg, 1e6) * 1e6);
			break;
		default:
			fputs(usage, option == 'h' ? stdout : stderr);
			exit(option == 'h' ? 0 : 2);
		}
	}
	if (count - optind != 2) {
		fputs(usage, stderr);
		exit(2);
	}
}

static void report(const struct arguments *a, const struct interface sides[2])
{
	const char *const names[2] = {sides[0].name, sides[1].name};
	const uint64_t oversized[2] = {sides[0].oversized, sides[1].oversized};
	const uint64_t refused[2] = {sides[0].refused, sides[1].refused};
	FILE *json = stdout;

	if (strcmp(a->json, "-") != 0)
		json = fopen(a->json, "w");
	if (json == NULL)
		interface_die("cannot write", a->json);
	path_report(&a->set, json, names, oversized, refused);
	if (json != stdout)
		fclose(json);
}

int main(int count, char **texts)
{
	static struct arguments arguments;
	struct sigaction action = {.sa_handler = on_signal};
	struct interface sides[2];

	parse(count, texts, &arguments);
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	for (unsigned side = 0; side < 2; side++)
		interface_open(&sides[side], texts[optind + (int)side]);
	path_start(&arguments.set);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	puts("ready");
	fflush(stdout);
	run(&arguments.set, sides, arguments.pcap, arguments.duration_us);
	if (arguments.pcap != NULL)
		fclose(arguments.pcap);
	if (arguments.json != NULL)
		report(&arguments, sides);
	path_stop(&arguments.set);
	for (unsigned side = 0; side < 2; side++)
		interface_close(&sides[side]);
	return 0;
}
