/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A link between two interfaces of this network namespace, as bad as it is told to be: delay,
 * jitter, rate, queue, loss (random and in bursts), reordering, duplication, corruption, all from
 * one seed and with a capture of what was delivered. The interfaces are ends of veth pairs, whose
 * other ends may be in any namespace, or TAP devices that it makes ("tap:NAME"). The impairment
 * itself is tests/sim/link, in real time.
 *
 * Kernel peers on veth leave checksums to hardware that is not there; they are finished here.
 * Segments larger than a frame (GSO) cannot be delivered: switch that off on the peers (ethtool -K
 * PEER tso off gso off); each is counted.
 */
#include "dataplane/net/checksum.h"
#include "drivers/clock.h"
#include "tests/sim/link/link.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_MAX 2048u
#define GSO_MAX	  70000u
#define BURST	  64u

struct side {
	const char *name;
	int fd;
	bool packet_socket;
	struct sim_link *out; /* towards the other side */
	uint64_t oversized;
	uint64_t refused; /* the interface did not take it */
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	stop = 1;
}

static void die(const char *what, const char *name)
{
	fprintf(stderr, "emulator: %s: %s: %s\n", name, what, strerror(errno));
	exit(1);
}

/* --- the interfaces --- */
static int open_tap(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);

	if (fd < 0)
		die("/dev/net/tun", name);
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (ioctl(fd, TUNSETIFF, &request) != 0)
		die("cannot make the TAP device", name);
	return fd;
}

static int open_packet(const char *name)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htobe16(ETH_P_ALL)};
	struct packet_mreq promiscuous = {.mr_type = PACKET_MR_PROMISC};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
	struct ifreq request = {0};
	int one = 1, room = 8 << 20;

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &request) != 0)
		die("no such interface", name);
	address.sll_ifindex = request.ifr_ifindex;
	promiscuous.mr_ifindex = request.ifr_ifindex;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) != 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) !=
		    0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		die("cannot capture", name);
	return fd;
}

static void open_side(struct side *side, const char *name)
{
	side->name = name;
	side->packet_socket = strncmp(name, "tap:", 4) != 0;
	side->fd = side->packet_socket ? open_packet(name) : open_tap(name + 4);
}

/* What the peer's kernel left to its hardware. */
static void finish_checksum(uint8_t *frame, size_t size, const struct virtio_net_hdr *header)
{
	size_t start = header->csum_start, field = start + header->csum_offset;

	if ((header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0 || start >= size || field + 2 > size)
		return;
	/* The field holds the sum of the pseudo-header. */
	checksum_store(frame + field, checksum_add(0, frame + start, size - start));
}

/* @return size of the frame, 0: nothing, -1: not for us */
static ssize_t receive(struct side *side, uint8_t *frame)
{
	struct virtio_net_hdr header;
	struct sockaddr_ll from;
	struct iovec parts[2] = {{&header, sizeof(header)}, {frame, GSO_MAX}};
	struct msghdr message = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = parts, .msg_iovlen = 2};
	ssize_t size;

	if (!side->packet_socket) {
		size = read(side->fd, frame, FRAME_MAX);
		return size > 0 ? size : 0;
	}
	size = recvmsg(side->fd, &message, 0);
	if (size <= (ssize_t)sizeof(header))
		return 0;
	size -= (ssize_t)sizeof(header);
	if (from.sll_pkttype == PACKET_OUTGOING)
		return -1;
	if (size > (ssize_t)FRAME_MAX || header.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		if (side->oversized++ == 0)
			fprintf(stderr,
				"emulator: %s: segments of %zd bytes; switch TSO and GSO "
				"off on its peer\n",
				side->name, size);
		return -1;
	}
	finish_checksum(frame, (size_t)size, &header);
	return size;
}

static void transmit(struct side *side, uint8_t *frame, size_t size)
{
	struct virtio_net_hdr header = {0};
	struct iovec parts[2] = {{&header, sizeof(header)}, {frame, size}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t sent =
		side->packet_socket ? sendmsg(side->fd, &message, 0) : write(side->fd, frame, size);

	if (sent < 0)
		side->refused++;
}

/* --- the capture --- */
static FILE *capture_open(const char *path)
{
	static const uint32_t header[6] = {0xa1b2c3d4, 4u << 16 | 2, 0, 0, 65535, 1};
	FILE *file = fopen(path, "wb");

	if (file == NULL)
		die("cannot write", path);
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
static void take_in(struct side *side, uint8_t *frame)
{
	for (unsigned i = 0; i < BURST; i++) {
		ssize_t size = receive(side, frame);
		struct mr_now now;

		if (size == 0)
			return;
		if (size < 0)
			continue;
		clock_read(&now);
		sim_link_send(side->out, frame, (size_t)size, now.mono_us);
	}
}

static void put_out(struct sim_link *link, struct side *to, uint8_t *frame, FILE *file)
{
	struct mr_now now;
	size_t size;

	clock_read(&now);
	while ((size = sim_link_receive(link, frame, now.mono_us)) != 0) {
		transmit(to, frame, size);
		capture(file, frame, size);
	}
}

static void nap(const struct side *a, const struct side *b)
{
	struct pollfd fds[2] = {{.fd = a->fd, .events = POLLIN}, {.fd = b->fd, .events = POLLIN}};
	uint64_t next = sim_link_next(a->out), other = sim_link_next(b->out), wait;
	struct timespec time = {.tv_sec = 1};
	struct mr_now now;

	clock_read(&now);
	if (other < next)
		next = other;
	wait = next > now.mono_us ? next - now.mono_us : 0;
	if (wait < US_PER_S)
		time = (struct timespec){.tv_nsec = (long)wait * 1000};
	ppoll(fds, 2, &time, NULL);
}

static void run(struct side *a, struct side *b, FILE *file, uint64_t duration_us)
{
	static uint8_t frame[GSO_MAX];
	struct mr_now now;
	uint64_t end;

	clock_read(&now);
	end = duration_us != 0 ? now.mono_us + duration_us : MR_NEVER;
	while (!stop && now.mono_us < end) {
		take_in(a, frame);
		take_in(b, frame);
		put_out(a->out, b, frame, file);
		put_out(b->out, a, frame, file);
		nap(a, b);
		clock_read(&now);
	}
}

static void report(FILE *to, const struct side *side, bool last)
{
	const struct sim_link_counters *c = sim_link_counters(side->out);

	fprintf(to,
		"  {\"from\": \"%s\", \"sent\": %lu, \"delivered\": %lu, \"lost\": %lu, "
		"\"overflowed\": %lu, \"duplicated\": %lu, \"reordered\": %lu, \"corrupted\": %lu, "
		"\"too_big\": %lu, \"oversized\": %lu}%s\n",
		side->name, c->sent, c->delivered, c->lost, c->overflowed, c->duplicated,
		c->reordered, c->corrupted, c->too_big, side->oversized, last ? "" : ",");
}

static const char usage[] =
	"usage: emulator [options] INTERFACE INTERFACE      (an interface, or tap:NAME to make one)\n"
	"  --delay MS       each way              --jitter MS       uniform, added, order is kept\n"
	"  --rate MBIT      per second, each way  --queue PACKETS   waiting for the rate (400)\n"
	"  --loss %         random                --burst IN,OUT    %: enter and leave a bad spell\n"
	"  --reorder %      late by               --reorder-by MS   (5)\n"
	"  --duplicate %    sent twice            --corrupt %       one bit flipped\n"
	"  --mtu BYTES      larger ones vanish    --seed N          same seed, same fate\n"
	"  --pcap FILE      what was delivered    --json FILE       counters at the end (- : stdout)\n"
	"  --duration S     then end              SIGINT, SIGTERM end it too; \"ready\" on stdout when it runs\n";

static double number(const char *text, double limit)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !(value >= 0 && value <= limit)) {
		fprintf(stderr, "emulator: %s is not a number from 0 to %g\n", text, limit);
		exit(2);
	}
	return value;
}

struct arguments {
	struct sim_link_settings link;
	uint64_t seed;
	uint64_t duration_us;
	FILE *pcap;
	const char *json;
};

static void parse_burst(struct sim_link_settings *link, char *text)
{
	char *comma = strchr(text, ',');

	if (comma == NULL) {
		fputs(usage, stderr);
		exit(2);
	}
	*comma = '\0';
	link->burst_enter = number(text, 100) / 100;
	link->burst_leave = number(comma + 1, 100) / 100;
}

static struct arguments parse(int count, char **texts)
{
	static const struct option options[] = {
		{"delay", 1, NULL, 'd'},     {"jitter", 1, NULL, 'j'},
		{"rate", 1, NULL, 'r'},	     {"queue", 1, NULL, 'q'},
		{"loss", 1, NULL, 'l'},	     {"burst", 1, NULL, 'b'},
		{"reorder", 1, NULL, 'o'},   {"reorder-by", 1, NULL, 'O'},
		{"duplicate", 1, NULL, 'D'}, {"corrupt", 1, NULL, 'c'},
		{"mtu", 1, NULL, 'm'},	     {"seed", 1, NULL, 's'},
		{"pcap", 1, NULL, 'p'},	     {"json", 1, NULL, 'J'},
		{"duration", 1, NULL, 't'},  {"help", 0, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct arguments a = {.seed = 1};
	int option;

	while ((option = getopt_long(count, texts, "", options, NULL)) != -1) {
		switch (option) {
		case 'd':
			a.link.delay_us = (uint64_t)(number(optarg, 60000) * 1000);
			break;
		case 'j':
			a.link.jitter_us = (uint64_t)(number(optarg, 60000) * 1000);
			break;
		case 'r':
			a.link.rate_bits = (uint64_t)(number(optarg, 1e6) * 1e6);
			break;
		case 'q':
			a.link.queue_packets = (uint32_t)number(optarg, 1e6);
			break;
		case 'l':
			a.link.loss = number(optarg, 100) / 100;
			break;
		case 'b':
			parse_burst(&a.link, optarg);
			break;
		case 'o':
			a.link.reorder = number(optarg, 100) / 100;
			break;
		case 'O':
			a.link.reorder_us = (uint64_t)(number(optarg, 60000) * 1000);
			break;
		case 'D':
			a.link.duplicate = number(optarg, 100) / 100;
			break;
		case 'c':
			a.link.corrupt = number(optarg, 100) / 100;
			break;
		case 'm':
			a.link.mtu = (uint32_t)number(optarg, 65535);
			break;
		case 's':
			a.seed = (uint64_t)number(optarg, 9e15);
			break;
		case 'p':
			a.pcap = capture_open(optarg);
			break;
		case 'J':
			a.json = optarg;
			break;
		case 't':
			a.duration_us = (uint64_t)(number(optarg, 1e6) * 1e6);
			break;
		default:
			fputs(usage, option == 'h' ? stdout : stderr);
			exit(option == 'h' ? 0 : 2);
		}
	}
	return a;
}

int main(int count, char **texts)
{
	struct arguments arguments = parse(count, texts);
	struct sigaction action = {.sa_handler = on_signal};
	struct side a = {0}, b = {0};
	FILE *json = stdout;

	if (count - optind != 2) {
		fputs(usage, stderr);
		return 2;
	}
	open_side(&a, texts[optind]);
	open_side(&b, texts[optind + 1]);
	a.out = sim_link_create(&arguments.link, arguments.seed * 2);
	b.out = sim_link_create(&arguments.link, arguments.seed * 2 + 1);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	puts("ready");
	fflush(stdout);
	run(&a, &b, arguments.pcap, arguments.duration_us);
	if (arguments.pcap != NULL)
		fclose(arguments.pcap);
	if (arguments.json != NULL) {
		if (strcmp(arguments.json, "-") != 0)
			json = fopen(arguments.json, "w");
		if (json == NULL)
			die("cannot write", arguments.json);
		fputs("[\n", json);
		report(json, &a, false);
		report(json, &b, true);
		fputs("]\n", json);
		fclose(json);
	}
	sim_link_destroy(a.out);
	sim_link_destroy(b.out);
	return 0;
}
