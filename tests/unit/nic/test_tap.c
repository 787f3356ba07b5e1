/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A real port: DPDK's net_tap in a network namespace of this test's own, with the kernel's TCP
 * behind it. The port cuts large segments (in the driver), sums checksums and is captured. Without
 * the right to make a namespace or a TAP device it is skipped.
 */
#include "dataplane/buf/frame_mbuf.h"
#include "dataplane/net/net.h"
#include "dataplane/tcp/tcp.h"
#include "drivers/nic/capture.h"
#include "drivers/nic/nic.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <sched.h>
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

#define SIZE	   1000000u
#define MTU	   1480u /* net_tap cuts no larger segments */
#define PORT	   2525u
#define LIMIT_US   (20 * US_PER_S)
#define BURST	   32u
#define INTERFACE  "mrtap0"
#define FILE_BYTES (64u << 20)

struct bench {
	struct nic_port *port;
	struct nic_port_information information;
	struct frame_mbuf_pool frames;
	struct chunk_pool *chunks;
	struct mr_random random;
	struct net_stack *stack;
	struct mr_now now;
	struct view view;
	struct view_port view_port;
	struct view_address addresses[2];
	struct rte_mbuf *waiting[BURST];
	unsigned waiting_count;
	tcp_handle connection;
	size_t sent;
	bool closed;
	struct nic_capture *capture;
};

static struct bench bench;
static uint8_t data[SIZE], received[SIZE];
static _Atomic size_t received_size;

/* ---- The kernel's side ---- */

static void *kernel_receives(void *argument)
{
	int listener = *(int *)argument, fd = accept(listener, NULL, NULL);
	ssize_t n;

	while (received_size < SIZE &&
	       (n = recv(fd, received + received_size, SIZE - received_size, 0)) > 0)
		received_size += (size_t)n;
	close(fd);
	return NULL;
}

static int kernel_listens(bool v6)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(v6 ? bind(fd, (struct sockaddr *)&in6, sizeof(in6))
			    : bind(fd, (struct sockaddr *)&in, sizeof(in)),
			 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* Packets that the kernel's side of the TAP has taken in. */
static unsigned long kernel_packets(void)
{
	FILE *file = fopen("/proc/thread-self/net/dev", "re");
	unsigned long bytes, packets = 0;
	char line[512];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " " INTERFACE ": %lu %lu", &bytes, &packets) == 2)
			break;
	fclose(file);
	return packets;
}

/* ---- Ours ---- */

static void on_connected(void *user, tcp_handle connection)
{
	tcp_want_send(bench.stack, connection);
}

static void on_send_room(void *user, tcp_handle connection, size_t room)
{
	size_t size = SIZE - bench.sent < room ? SIZE - bench.sent : room;

	assert_int_equal(tcp_send(bench.stack, connection, data + bench.sent, size), 0);
	bench.sent += size;
	if (bench.sent < SIZE)
		tcp_want_send(bench.stack, connection);
}

static size_t on_receive(void *user, tcp_handle connection, const uint8_t *bytes, size_t size)
{
	return size;
}

static void on_end(void *user, tcp_handle connection)
{
	tcp_close(bench.stack, connection, &bench.now);
}

static void on_closed(void *user, tcp_handle connection, enum tcp_close_reason reason)
{
	bench.closed = true;
}

static const struct tcp_callbacks callbacks = {.on_connected = on_connected,
					       .on_receive = on_receive,
					       .on_end = on_end,
					       .on_send_room = on_send_room,
					       .on_closed = on_closed};

static void turn(void)
{
	struct rte_mbuf *packets[BURST];
	struct frame *frames[BURST];
	uint16_t got = nic_port_rx(bench.port, 0, packets, BURST), sent;
	unsigned n = 0;

	clock_read(&bench.now);
	for (uint16_t i = 0; i < got; i++) {
		frames[n] = frame_from_mbuf(packets[i], 0, 0);
		n += frames[n] != NULL;
	}
	net_stack_input(bench.stack, frames, n, &bench.now);
	net_stack_timers(bench.stack, &bench.now, 64);
	if (bench.waiting_count == 0) {
		bench.waiting_count = net_stack_output(bench.stack, 0, frames, BURST, &bench.now);
		for (unsigned i = 0; i < bench.waiting_count; i++)
			bench.waiting[i] = frame_to_mbuf(frames[i]);
	}
	sent = nic_port_tx(bench.port, 0, bench.waiting, (uint16_t)bench.waiting_count);
	bench.waiting_count -= sent;
	memmove(bench.waiting, bench.waiting + sent,
		bench.waiting_count * sizeof(bench.waiting[0]));
	if (bench.capture)
		assert_true(nic_capture_write(bench.capture) >= 0);
}

static void say_counters(void)
{
	const struct net_counters *counters = net_stack_counters(bench.stack);

#define X(name, text)           \
	if (counters->name > 0) \
		print_message("# %s: %llu\n", text, (unsigned long long)counters->name);
	NET_COUNTERS(X)
#undef X
}

static struct tcp_measure transfer(bool v6)
{
	struct ip_address local, remote;
	struct tcp_measure measure;
	int listener = kernel_listens(v6);
	uint64_t begin;
	pthread_t thread;

	assert_int_equal(ip_parse(v6 ? "fd09::1" : "10.9.0.1", &local), 0);
	assert_int_equal(ip_parse(v6 ? "fd09::2" : "10.9.0.2", &remote), 0);
	received_size = bench.sent = 0;
	bench.closed = false;
	memset(received, 0, SIZE);
	assert_int_equal(pthread_create(&thread, NULL, kernel_receives, &listener), 0);
	clock_read(&bench.now);
	begin = bench.now.mono_us;
	assert_int_equal(tcp_connect(bench.stack, &local, &remote, PORT, 10 * US_PER_S, &callbacks,
				     NULL, &bench.now, &bench.connection),
			 0);
	while ((bench.sent < SIZE || tcp_unacknowledged(bench.stack, bench.connection) > 0) &&
	       !bench.closed && bench.now.mono_us - begin < LIMIT_US)
		turn();
	if (bench.closed || bench.sent < SIZE ||
	    tcp_unacknowledged(bench.stack, bench.connection) > 0) {
		say_counters();
		fail_msg("not all was sent: %zu of %u, %zu unacknowledged", bench.sent, SIZE,
			 tcp_unacknowledged(bench.stack, bench.connection));
	}
	assert_int_equal(tcp_measure(bench.stack, bench.connection, &measure), 0);
	pthread_join(thread, NULL);
	while (!bench.closed && bench.now.mono_us - begin < LIMIT_US)
		turn();
	close(listener);
	assert_int_equal(received_size, SIZE);
	assert_memory_equal(received, data, SIZE);
	return measure;
}

/* ---- Tests ---- */

static void a_port_that_cuts_segments_is_given_large_ones(void **state)
{
	const struct net_counters *counters = net_stack_counters(bench.stack);
	uint64_t frames = counters->tx_frames;
	unsigned long before = kernel_packets();
	struct tcp_measure measure = transfer(false);

	assert_true(bench.information.tx_segmentation);
	assert_int_equal(measure.pmtu, MTU);
	assert_in_range(counters->tx_frames - frames, 1, measure.segments * 2 / 3);
	/* The driver cut them: the kernel saw each segment by itself, and all of them were good. */
	assert_in_range(kernel_packets() - before, measure.segments, measure.segments * 2);
	assert_int_equal(counters->drop_no_frame, 0);
}

static void a_port_that_cannot_cut_ipv6_is_given_segments(void **state)
{
	uint64_t frames = net_stack_counters(bench.stack)->tx_frames;
	struct tcp_measure measure = transfer(true);

	assert_false(bench.information.tx_segmentation6);
	assert_true(net_stack_counters(bench.stack)->tx_frames - frames >= measure.segments);
}

struct tally {
	unsigned packets, syns;
	size_t largest;
};

static void look(u_char *user, const struct pcap_pkthdr *header, const u_char *packet)
{
	struct tally *tally = (struct tally *)user;

	tally->packets++;
	assert_int_equal(packet[12] << 8 | packet[13], 0x0800);
	assert_int_equal(packet[14 + 9], 6);
	tally->syns += (packet[14 + 20 + 13] & 0x12) == 0x02;
	if (header->caplen > tally->largest)
		tally->largest = header->caplen;
}

static void a_capture_has_both_directions_as_the_port_was_given_them(void **state)
{
	char path[] = "/tmp/millrace-capture-XXXXXX", error[PCAP_ERRBUF_SIZE];
	struct nic_capture_settings settings = {.ports = &bench.port,
						.port_count = 1,
						.queues = 1,
						.filter = "tcp port 2525 and not ip6",
						.fd = mkstemp(path),
						.size_max = FILE_BYTES};
	struct nic_capture_statistics statistics;
	struct tally tally = {0};
	pcap_t *file;

	bench.capture = nic_capture_open(&settings, error);
	assert_non_null(bench.capture);
	assert_int_equal(nic_capture_attach(bench.capture), 0);
	transfer(false);
	nic_capture_detach(bench.capture);
	while (nic_capture_write(bench.capture) > 0)
		;
	nic_capture_statistics(bench.capture, &statistics);
	nic_capture_close(bench.capture);
	bench.capture = NULL;
	file = pcap_open_offline(path, error);
	assert_non_null(file);
	assert_int_equal(pcap_loop(file, -1, look, (u_char *)&tally), 0);
	pcap_close(file);
	unlink(path);
	assert_int_equal(tally.packets, statistics.packets);
	assert_int_equal(statistics.missed, 0);
	assert_int_equal(tally.syns, 1);
	assert_in_range(tally.largest, 3 * MTU, FRAME_LARGE);
	transfer(false); /* and it works without */
}

static void a_filter_that_is_wrong_is_explained(void **state)
{
	char error[NIC_ERROR_TEXT];

	assert_true(
		nic_capture_filter_good("host 10.9.0.2 and tcp[tcpflags] & tcp-syn != 0", error));
	assert_false(nic_capture_filter_good("tcp prot 25", error));
	assert_non_null(strstr(error, "syntax error"));
}

/* ---- Setting up ---- */

static int make_port(char *error)
{
	const char *const devices[] = {"net_tap0,iface=" INTERFACE};
	struct nic_environment environment = {.program = "test_tap",
					      .memory_mib = 128,
					      .file_prefix = "testtap",
					      .device_count = 1,
					      .devices = devices};
	uint16_t owners[NIC_STEERING_SLOTS] = {0};
	struct rte_mempool *pool, *large;

	if (nic_environment_start(&environment, error) < 0)
		return -1;
	pool = nic_pool_create(0, 8191, sizeof(struct frame), error);
	large = nic_large_pool_create(0, 255, sizeof(struct frame), FRAME_LARGE, error);
	if (!pool || !large)
		return -1;
	struct nic_port_settings settings = {.name = "tap",
					     .device = devices[0],
					     .queues = 1,
					     .pools = &pool,
					     .mtu = MTU,
					     .rx_descriptors = 256,
					     .tx_descriptors = 256,
					     .segmentation = true,
					     .owner_of_slot = owners};

	bench.port = nic_port_open(&settings, error);
	if (!bench.port)
		return -1;
	nic_port_information(bench.port, &bench.information);
	frame_mbuf_pool_init(&bench.frames, pool, large, 0);
	return 0;
}

static void make_stack(void)
{
	struct net_stack_settings settings = {.worker_count = 1,
					      .connections = 16,
					      .time_wait = 16,
					      .frames = &bench.frames.pool,
					      .random = &bench.random};

	assert_int_equal(random_init(&bench.random), 0);
	bench.chunks = chunk_pool_create(0, 2048);
	settings.chunks = bench.chunks;
	settings.offloads[0] = (struct net_port_offloads){
		.tx_ip_checksum = bench.information.tx_ip_checksum,
		.tx_tcp_checksum = bench.information.tx_tcp_checksum,
		.tx_segmentation = bench.information.tx_segmentation,
		.tx_segmentation6 = bench.information.tx_segmentation6,
	};
	clock_read(&bench.now);
	bench.stack = net_stack_create(&settings, &bench.now);
	assert_non_null(bench.stack);
	bench.view_port = (struct view_port){.name = "tap", .mtu = MTU};
	/* The TAP's own address is the kernel's end. */
	memcpy(bench.view_port.mac, (uint8_t[]){2, 9, 0, 0, 0, 1}, 6);
	ip_parse("10.9.0.1", &bench.addresses[0].address);
	ip_parse("fd09::1", &bench.addresses[1].address);
	bench.addresses[0].prefix_length = 24;
	bench.addresses[1].prefix_length = 64;
	bench.view = (struct view){.port_count = 1,
				   .ports = &bench.view_port,
				   .address_count = 2,
				   .addresses = bench.addresses};
	assert_int_equal(net_stack_configure(bench.stack, &bench.view, &bench.now), 0);
}

static int skip_all(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_port_that_cuts_segments_is_given_large_ones),
		cmocka_unit_test(a_port_that_cannot_cut_ipv6_is_given_segments),
		cmocka_unit_test(a_capture_has_both_directions_as_the_port_was_given_them),
		cmocka_unit_test(a_filter_that_is_wrong_is_explained),
	};
	char error[NIC_ERROR_TEXT] = "";

	if (geteuid() != 0 || access("/dev/net/tun", R_OK | W_OK) != 0 ||
	    unshare(CLONE_NEWNET) != 0)
		return skip_all("no right to make a network namespace and a TAP device");
	if (make_port(error) < 0) {
		printf("Bail out! %s\n", error);
		return 1;
	}
	if (system("ip address add 10.9.0.2/24 dev " INTERFACE
		   " && ip address add fd09::2/64 dev " INTERFACE " nodad && ip link set " INTERFACE
		   " up") != 0)
		return skip_all("no ip command");
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 15);
	make_stack();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	net_stack_destroy(bench.stack);
	chunk_pool_destroy(bench.chunks);
	nic_port_close(bench.port);
	nic_environment_stop();
	return failed;
}
