/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The stack against the kernel of this machine: both roles, over a TAP device in a network
 * namespace of its own, with loss, reordering and duplication made here by the simulated link in
 * real time. Prints TAP.
 *
 * One thread turns the stack; one a scenario plays the Linux side with blocking sockets.
 */
#include "drivers/clock.h"
#include "tests/sim/tcp_harness.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ORIGIN_US   1000000000u
#define LISTEN_PORT 2525u
#define LINUX_PORT  2626u
#define TRANSFER    (1024u * 1024u)
#define SKIP	    77

struct scenario;

struct world {
	struct harness *h;
	struct sim_link *in;
	struct sim_link *out;
	int tap;
	uint64_t start_us;
	bool v6;
	const struct scenario *scenario;
	_Atomic bool linux_done;
	const char *linux_error; /* NULL: all well on that side */
	struct harness_connection *ours;
	uint8_t *data;
};

struct scenario {
	const char *name;
	bool we_connect;
	void (*linux_side)(struct world *w, int fd);
	bool (*ours_done)(struct world *w);
	void (*ours_begin)(struct world *w);
	const char *(*check)(struct world *w);
	size_t linux_buffer; /* SO_RCVBUF; 0: default */
};

/* --- the Linux side --- */
static bool send_all(int fd, const uint8_t *data, size_t size)
{
	while (size > 0) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		data += n;
		size -= (size_t)n;
	}
	return true;
}

static size_t receive_all(int fd, uint8_t *to, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = recv(fd, to + done, size - done, 0);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

struct pump {
	int fd;
	const uint8_t *data;
	size_t size;
	bool good;
};

static void *pump_run(void *argument)
{
	struct pump *p = argument;

	p->good = send_all(p->fd, p->data, p->size);
	shutdown(p->fd, SHUT_WR);
	return NULL;
}

/* Send and receive TRANSFER bytes at once, then see the end. */
static void linux_exchanges(struct world *w, int fd)
{
	struct pump pump = {.fd = fd, .data = w->data, .size = TRANSFER};
	uint8_t *got = malloc(TRANSFER + 1);
	pthread_t thread;
	size_t size;

	pthread_create(&thread, NULL, pump_run, &pump);
	size = receive_all(fd, got, TRANSFER + 1);
	pthread_join(thread, NULL);
	if (!pump.good)
		w->linux_error = "Linux could not send";
	else if (size != TRANSFER || memcmp(got, w->data, TRANSFER) != 0)
		w->linux_error = "Linux received other bytes";
	free(got);
}

/* Half close: say all, shut down, and only then be answered. */
static void linux_half_closes(struct world *w, int fd)
{
	uint8_t *got = malloc(TRANSFER + 1);
	size_t size;

	if (!send_all(fd, w->data, 10000))
		w->linux_error = "Linux could not send";
	shutdown(fd, SHUT_WR);
	size = receive_all(fd, got, TRANSFER + 1);
	if (size != TRANSFER || memcmp(got, w->data, TRANSFER) != 0)
		w->linux_error = "the answer after the half close is not whole";
	free(got);
}

static void linux_resets(struct world *w, int fd)
{
	struct linger linger = {.l_onoff = 1};

	if (!send_all(fd, w->data, 5000))
		w->linux_error = "Linux could not send";
	usleep(200000);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void linux_is_reset(struct world *w, int fd)
{
	uint8_t byte;
	ssize_t n;

	if (!send_all(fd, w->data, 1000))
		w->linux_error = "Linux could not send";
	n = recv(fd, &byte, 1, 0);
	if (n != -1 || errno != ECONNRESET)
		w->linux_error = "Linux saw no reset";
}

/* The window is closed for two seconds. */
static void linux_reads_late(struct world *w, int fd)
{
	uint8_t *got = malloc(TRANSFER + 1);
	size_t size;

	usleep(2000000);
	size = receive_all(fd, got, TRANSFER + 1);
	if (size != TRANSFER || memcmp(got, w->data, TRANSFER) != 0)
		w->linux_error = "Linux received other bytes";
	free(got);
}

static int open_socket(struct world *w, uint16_t port, bool peer, struct sockaddr_storage *address)
{
	int fd = socket(w->v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
	struct timeval patience = {.tv_sec = 60};
	int one = 1;

	memset(address, 0, sizeof(*address));
	if (w->v6) {
		struct sockaddr_in6 *a = (struct sockaddr_in6 *)address;

		a->sin6_family = AF_INET6;
		a->sin6_port = htons(port);
		memcpy(&a->sin6_addr, peer ? w->h->address.bytes : w->h->peer.bytes, 16);
	} else {
		struct sockaddr_in *a = (struct sockaddr_in *)address;

		a->sin_family = AF_INET;
		a->sin_port = htons(port);
		memcpy(&a->sin_addr, (peer ? w->h->address.bytes : w->h->peer.bytes) + 12, 4);
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
	if (w->scenario->linux_buffer != 0) {
		int size = (int)w->scenario->linux_buffer;

		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	}
	return fd;
}

static int linux_listener; /* made before the stack connects */

static void *linux_thread(void *argument)
{
	struct world *w = argument;
	struct sockaddr_storage address;
	int fd;

	if (w->scenario->we_connect) {
		fd = accept(linux_listener, NULL, NULL);
	} else {
		fd = open_socket(w, LISTEN_PORT, true, &address);
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
			close(fd);
			fd = -1;
		}
	}
	if (fd < 0) {
		w->linux_error = "Linux could not connect or accept";
	} else {
		struct timeval patience = {.tv_sec = 60};

		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		w->scenario->linux_side(w, fd);
		close(fd);
	}
	w->linux_done = true;
	return NULL;
}

/* --- our side --- */
static void send_everything(struct world *w)
{
	w->ours->close_when_sent = true;
	harness_send(w->ours, w->data, TRANSFER);
}

static void do_nothing(struct world *w)
{
}

static void abort_on_data(struct world *w)
{
	w->ours->abort_on_receive = true;
}

static bool ours_closed(struct world *w)
{
	return w->ours->closed;
}

/* Answer only when the peer's end has come. */
static bool answer_after_end(struct world *w)
{
	if (w->ours->ended && w->ours->to_send == NULL)
		send_everything(w);
	return w->ours->closed;
}

static const char *received_all(struct world *w)
{
	if (w->ours->reason != TCP_CLOSED)
		return "our connection did not close in order";
	if (w->ours->received_size != TRANSFER || memcmp(w->ours->received, w->data, TRANSFER) != 0)
		return "we received other bytes";
	return NULL;
}

static const char *received_question(struct world *w)
{
	return w->ours->received_size == 10000 && w->ours->reason == TCP_CLOSED
		       ? NULL
		       : "the question is not whole";
}

static const char *was_reset(struct world *w)
{
	return w->ours->reason == TCP_RESET && w->ours->received_size == 5000 ? NULL : "not reset";
}

static const char *was_aborted(struct world *w)
{
	return w->ours->reason == TCP_ABORTED ? NULL : "not aborted";
}

static const char *closed_well(struct world *w)
{
	return w->ours->reason == TCP_CLOSED ? NULL : "our connection did not close in order";
}

static const struct scenario scenarios[] = {
	{"Linux connects, 1 MB each way at once", false, linux_exchanges, ours_closed,
	 send_everything, received_all, 0},
	{"we connect, 1 MB each way at once", true, linux_exchanges, ours_closed, send_everything,
	 received_all, 0},
	{"Linux half-closes and is answered", false, linux_half_closes, answer_after_end,
	 do_nothing, received_question, 0},
	{"Linux, connected to, half-closes and is answered", true, linux_half_closes,
	 answer_after_end, do_nothing, received_question, 0},
	{"Linux resets", false, linux_resets, ours_closed, do_nothing, was_reset, 0},
	{"we reset", true, linux_is_reset, ours_closed, abort_on_data, was_aborted, 0},
	{"Linux closes its window and opens it late", true, linux_reads_late, ours_closed,
	 send_everything, closed_well, 8192},
};

/* --- the wire --- */
static void tick(struct world *w)
{
	struct mr_now now;

	clock_read(&now);
	w->h->now.mono_us = ORIGIN_US + now.mono_us - w->start_us;
	w->h->now.wall_us = now.wall_us;
}

static void turn(struct world *w)
{
	uint8_t frame[2048];
	ssize_t got;
	size_t size;

	tick(w);
	for (unsigned i = 0; i < 64 && (got = read(w->tap, frame, sizeof(frame))) > 0; i++)
		sim_link_send(w->in, frame, (size_t)got, w->h->now.mono_us);
	while ((size = sim_link_receive(w->in, frame, w->h->now.mono_us)) != 0)
		harness_feed_frame(w->h, frame, size);
	net_stack_timers(w->h->stack, &w->h->now, 256);
	while ((size = harness_take_frame(w->h, frame)) != 0)
		sim_link_send(w->out, frame, size, w->h->now.mono_us);
	while ((size = sim_link_receive(w->out, frame, w->h->now.mono_us)) != 0)
		if (write(w->tap, frame, size) < 0 && errno != EIO)
			w->linux_error = "the TAP device does not take frames";
}

static void nap(struct world *w)
{
	uint64_t next = net_stack_next_timer(w->h->stack);
	struct pollfd fd = {.fd = w->tap, .events = POLLIN};
	struct timespec wait = {.tv_nsec = 1000000};

	if (sim_link_next(w->in) < next)
		next = sim_link_next(w->in);
	if (sim_link_next(w->out) < next)
		next = sim_link_next(w->out);
	if (next <= w->h->now.mono_us)
		return;
	if (next - w->h->now.mono_us < 1000)
		wait.tv_nsec = (long)(next - w->h->now.mono_us) * 1000;
	ppoll(&fd, 1, &wait, NULL);
}

/* The world and its Linux side until both are done. @return NULL, or what went wrong */
static const char *play(struct world *w, const struct scenario *scenario)
{
	uint64_t limit = 90 * US_PER_S;
	struct sockaddr_storage address;
	pthread_t thread;
	bool begun = false, ours_done = false;

	w->scenario = scenario;
	w->linux_done = false;
	w->linux_error = NULL;
	w->ours = NULL;
	w->h->accepted = NULL;
	if (scenario->we_connect) {
		linux_listener = open_socket(w, LINUX_PORT, false, &address);
		if (bind(linux_listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
		    listen(linux_listener, 1) != 0)
			return "Linux cannot listen";
		w->ours = harness_connect(w->h, LINUX_PORT);
		assert(w->ours != NULL);
	}
	pthread_create(&thread, NULL, linux_thread, w);
	tick(w);
	limit += w->h->now.mono_us;
	while (!(w->linux_done && ours_done) && w->h->now.mono_us < limit) {
		turn(w);
		if (w->ours == NULL)
			w->ours = w->h->accepted;
		if (w->ours != NULL && w->ours->connected && !begun) {
			begun = true;
			scenario->ours_begin(w);
		}
		if (w->ours != NULL)
			ours_done = scenario->ours_done(w);
		nap(w);
	}
	if (!w->linux_done) { /* its socket time-outs end it */
		pthread_detach(thread);
		return ours_done ? "Linux did not finish" : "neither side finished";
	}
	pthread_join(thread, NULL);
	if (scenario->we_connect)
		close(linux_listener);
	if (w->linux_error != NULL)
		return w->linux_error;
	return ours_done ? scenario->check(w) : "we did not finish";
}

static void run(const char *command)
{
	if (system(command) != 0)
		fprintf(stderr, "# failed: %s\n", command);
}

static int open_tap(void)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd;

	if (unshare(CLONE_NEWNET) != 0)
		return -1;
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	if (fd < 0)
		return -1;
	strcpy(request.ifr_name, "wire");
	if (ioctl(fd, TUNSETIFF, &request) != 0) {
		close(fd);
		return -1;
	}
	run("ip addr add 10.0.0.2/24 dev wire && ip -6 addr add fd00::2/64 dev wire nodad && "
	    "ip link set lo up && ip link set wire up");
	return fd;
}

static void play_all(int tap, const char *title, const struct sim_link_settings *link, bool v6,
		     unsigned *number, unsigned *failed)
{
	for (unsigned i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		struct harness_options options = {.v6 = v6, .seed = *number, .chunks = 4096};
		struct world w = {.tap = tap, .v6 = v6};
		const char *error;
		struct mr_now now;

		clock_read(&now);
		w.start_us = now.mono_us;
		w.h = harness_create(&options);
		w.in = sim_link_create(link, *number * 2 + 1);
		w.out = sim_link_create(link, *number * 2 + 2);
		w.data = malloc(TRANSFER);
		for (unsigned j = 0; j < TRANSFER; j++)
			w.data[j] = (uint8_t)random_u32(&w.h->random);
		harness_listen(w.h, LISTEN_PORT);
		error = play(&w, &scenarios[i]);
		tick(&w);
		(*number)++;
		printf("%sok %u - %s, %s, %s # %.1f s%s%s\n", error != NULL ? "not " : "", *number,
		       title, v6 ? "IPv6" : "IPv4", scenarios[i].name,
		       (double)(w.h->now.mono_us - ORIGIN_US) / 1e6, error != NULL ? ": " : "",
		       error != NULL ? error : "");
		fflush(stdout);
		*failed += error != NULL;
		if (error != NULL && !w.linux_done)
			exit(1); /* a thread still looks at this world */
		harness_destroy(w.h);
		sim_link_destroy(w.in);
		sim_link_destroy(w.out);
		free(w.data);
	}
}

int main(void)
{
	static const struct sim_link_settings clean = {.delay_us = 1000};
	static const struct sim_link_settings rough = {
		.delay_us = 25000, .loss = 0.02, .reorder = 0.05, .duplicate = 0.01};
	static const struct {
		const char *title;
		const char *command;
	} kernels[] = {
		{"clean, Linux without SACK", "echo 0 > /proc/sys/net/ipv4/tcp_sack"},
		{"clean, nor timestamps", "echo 0 > /proc/sys/net/ipv4/tcp_timestamps"},
		{"clean, nor window scale", "echo 0 > /proc/sys/net/ipv4/tcp_window_scaling"},
	};
	unsigned number = 0, failed = 0;
	int tap = open_tap();

	if (tap < 0) {
		printf("1..0 # SKIP no TAP device, or no right to make a network namespace\n");
		return SKIP;
	}
	play_all(tap, "clean", &clean, false, &number, &failed);
	play_all(tap, "clean", &clean, true, &number, &failed);
	play_all(tap, "rough", &rough, false, &number, &failed);
	play_all(tap, "rough", &rough, true, &number, &failed);
	for (unsigned i = 0; i < 3; i++) {
		run(kernels[i].command);
		play_all(tap, kernels[i].title, &clean, false, &number, &failed);
	}
	play_all(tap, "rough, Linux without options", &rough, false, &number, &failed);
	printf("1..%u\n", number);
	return failed != 0;
}
