/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The stack against the kernel of this machine: both roles, over a TAP device in a network
 * namespace of its own, with delay, loss, reordering, duplication, corruption, bursts and a narrow
 * queue made here by the simulated link from seeds. Prints TAP. With a text as argument, only the
 * groups or scenarios that have it in their name are played.
 */
#include "dataplane/net/checksum.h"
#include "drivers/clock.h"
#include "tests/tcp/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SKIP	      77
#define BURST	      64u
#define CONNECT_TRIES 10u
#define STEP_US	      (20 * US_PER_MS) /* what one turn counts at most */
#define LIMIT_US      (60 * US_PER_S)  /* of such time, for a scenario */

static void run(const char *command)
{
	if (system(command) != 0)
		fprintf(stderr, "# failed: %s\n", command);
}

/* --- the Linux thread --- */
struct linux_thread {
	struct world *world;
	int listener; /* made before the stack connects; -1: Linux connects */
};

/* A stack that is not turned for seconds does not answer ARP either: Linux asks again. */
static int linux_connect(const struct world *w)
{
	for (unsigned i = 0; i < CONNECT_TRIES; i++) {
		struct sockaddr_storage address;
		int fd = linux_socket(w, LISTEN_PORT, true, &address);

		if (connect(fd, (struct sockaddr *)&address, (socklen_t)linux_address_size(w)) == 0)
			return fd;
		close(fd);
		if (errno != EHOSTUNREACH)
			break;
	}
	return -1;
}

static void *linux_thread(void *argument)
{
	struct linux_thread *t = argument;
	struct world *w = t->world;
	int fd = t->listener >= 0 ? accept(t->listener, NULL, NULL) : linux_connect(w);

	if (fd < 0) {
		w->linux_error = "Linux could not connect or accept";
	} else {
		w->scenario->linux_side(w, fd);
		close(fd);
	}
	w->linux_done = true;
	return NULL;
}

static int linux_listen(const struct world *w)
{
	struct sockaddr_storage address;
	int fd = linux_socket(w, LINUX_PORT, false, &address);

	if (bind(fd, (struct sockaddr *)&address, (socklen_t)linux_address_size(w)) != 0 ||
	    listen(fd, 1) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* --- the wire --- */
static void tick(struct world *w)
{
	struct mr_now now;
	uint64_t passed;

	clock_read(&now);
	passed = now.mono_us - w->last_us;
	w->last_us = now.mono_us;
	w->h->now.mono_us += passed < STEP_US ? passed : STEP_US;
	w->h->now.wall_us = now.wall_us;
}

/* What a congested router does to ECN-capable packets (RFC 3168, 5). */
static void mark(struct world *w, uint8_t *frame, size_t size, bool ours)
{
	uint8_t *ip = frame + 14;

	if (w->around->mark <= 0 || size < 54 ||
	    random_u32(&w->dice) >= w->around->mark * 4294967296.0)
		return;
	if (ip[0] >> 4 == 4 && (ip[1] & 3) != 0) {
		ip[1] |= 3;
		memset(ip + 10, 0, 2);
		checksum_store(ip + 10, checksum_add(0, ip, 20));
		w->marked[ours]++;
	} else if (ip[0] >> 4 == 6 && (ip[1] & 0x30) != 0) {
		ip[1] |= 0x30;
		w->marked[ours]++;
	}
}

static void turn(struct world *w)
{
	uint8_t frame[2048];
	ssize_t got;
	size_t size;

	tick(w);
	for (unsigned i = 0; i < BURST && (got = read(w->tap, frame, sizeof(frame))) > 0; i++) {
		mark(w, frame, (size_t)got, false);
		sim_link_send(w->in, frame, (size_t)got, w->h->now.mono_us);
	}
	while ((size = sim_link_receive(w->in, frame, w->h->now.mono_us)) != 0)
		harness_feed_frame(w->h, frame, size);
	net_stack_timers(w->h->stack, &w->h->now, 256);
	while ((size = harness_take_frame(w->h, frame)) != 0) {
		mark(w, frame, size, true);
		sim_link_send(w->out, frame, size, w->h->now.mono_us);
	}
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

/* --- a scenario --- */
/* Turn until both sides are done. @return false: the time was over first */
static bool turn_until_done(struct world *w)
{
	uint64_t limit = w->h->now.mono_us + LIMIT_US;
	bool begun = false, ours_done = false;

	while (!(w->linux_done && ours_done)) {
		if (w->h->now.mono_us >= limit)
			return false;
		turn(w);
		if (w->ours == NULL)
			w->ours = w->h->accepted;
		if (w->ours != NULL && w->ours->connected && !begun) {
			begun = true;
			if (!w->ours->closed)
				harness_information(w->ours, &w->information);
			w->scenario->ours_begin(w);
		}
		if (w->ours != NULL && !ours_done)
			ours_done = w->scenario->ours_done(w);
		nap(w);
	}
	return true;
}

static const char *check(struct world *w)
{
	const struct net_counters *c = net_stack_counters(w->h->stack);

	if (w->linux_error != NULL)
		return w->linux_error;
	if (w->marked[0] > 20 && c->tcp_ecn_ce == 0)
		return "we saw no mark";
	if (w->marked[1] > 20 && c->tcp_ecn_ece == 0)
		return "Linux echoed no mark, or we did not see it";
	return w->scenario->check(w);
}

/* For whoever has to find out. */
static void tell(struct world *w)
{
	struct tcp_information t = {.state = "none"};

	if (w->ours != NULL && !w->ours->closed)
		tcp_information(w->h->stack, w->ours->handle, &t);
	printf("# ours: %s, sent %zu of %zu, received %zu, in flight %u, window %u, rto %u us\n",
	       t.state, w->ours != NULL ? w->ours->sent : 0,
	       w->ours != NULL ? w->ours->to_send_size : 0,
	       w->ours != NULL ? w->ours->received_size : 0, t.in_flight_bytes, t.send_window,
	       t.rto_us);
	fflush(stdout);
	run("ss -tinoaO | sed 's/^/# Linux: /'");
}

/* The world and its Linux side until both are done. @return NULL, or what went wrong */
static const char *play(struct world *w)
{
	struct linux_thread side = {.world = w, .listener = -1};
	pthread_t thread;

	if (w->scenario->we_connect) {
		side.listener = linux_listen(w);
		if (side.listener < 0)
			return "Linux cannot listen";
		w->ours = harness_connect(w->h, LINUX_PORT);
	}
	pthread_create(&thread, NULL, linux_thread, &side);
	if (!turn_until_done(w)) {
		bool ours = w->ours != NULL && w->ours->closed;

		tell(w);
		if (!w->linux_done) { /* its thread still looks at this world */
			pthread_detach(thread);
			return ours ? "Linux did not finish" : "neither side finished";
		}
		pthread_join(thread, NULL);
		return w->linux_error != NULL ? w->linux_error : "we did not finish";
	}
	pthread_join(thread, NULL);
	if (side.listener >= 0)
		close(side.listener);
	return check(w);
}

static struct world *world_create(int tap, const struct surroundings *around,
				  const struct scenario *scenario, unsigned number)
{
	struct harness_options options = {.v6 = around->v6,
					  .seed = number,
					  .chunks = 8192,
					  .paced = true,
					  .ecn = around->ecn,
					  .receive_window = around->no_scale ? 0 : 1u << 18};
	struct world *w = calloc(1, sizeof(*w));
	struct mr_now now;

	clock_read(&now);
	*w = (struct world){.around = around, .scenario = scenario, .tap = tap};
	w->last_us = now.mono_us;
	w->size = scenario->large ? LARGE : around->transfer;
	w->h = harness_create(&options);
	w->in = sim_link_create(&around->link, (uint64_t)number * 2 + 1);
	w->out = sim_link_create(&around->link, (uint64_t)number * 2 + 2);
	random_init_seed(&w->dice, number);
	w->data = malloc(w->size < TRANSFER ? TRANSFER : w->size);
	random_bytes(&w->h->random, w->data, w->size < TRANSFER ? TRANSFER : w->size);
	harness_listen(w->h, LISTEN_PORT);
	return w;
}

static void world_destroy(struct world *w)
{
	harness_destroy(w->h);
	sim_link_destroy(w->in);
	sim_link_destroy(w->out);
	free(w->data);
	free(w);
}

static void play_all(int tap, const struct surroundings *around, const char *only, unsigned *number,
		     unsigned *failed)
{
	bool clean = around->link.loss == 0 && around->link.burst_enter == 0 &&
		     around->link.corrupt == 0;

	run("sysctl -qw net.ipv4.tcp_sack=1 net.ipv4.tcp_timestamps=1 net.ipv4.tcp_window_scaling=1 "
	    "net.ipv4.tcp_ecn=2");
	if (around->sysctl != NULL)
		run(around->sysctl);
	for (unsigned i = 0; i < scenario_count; i++) {
		const struct scenario *scenario = &scenarios[i];
		struct world *w;
		const char *error;
		uint64_t begin_us;

		if ((scenario->once && !clean) || (scenario->large && around->sysctl != NULL))
			continue;
		++*number;
		if (only != NULL && strstr(around->title, only) == NULL &&
		    strstr(scenario->name, only) == NULL)
			continue;
		w = world_create(tap, around, scenario, *number);
		begin_us = w->h->now.mono_us;
		error = play(w);
		printf("%sok %u - %s, %s, %s # %.1f s%s%s\n", error != NULL ? "not " : "", *number,
		       around->title, around->v6 ? "IPv6" : "IPv4", scenario->name,
		       (double)(w->h->now.mono_us - begin_us) / 1e6, error != NULL ? ": " : "",
		       error != NULL ? error : "");
		fflush(stdout);
		*failed += error != NULL;
		if (error != NULL && !w->linux_done)
			exit(1); /* a thread still looks at this world */
		world_destroy(w);
	}
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

#define KB 1024u
static const struct sim_link_settings clean = {.delay_us = 1000};
static const struct sim_link_settings rough = {
	.delay_us = 15000, .loss = 0.02, .reorder = 0.05, .duplicate = 0.01};
static const struct sim_link_settings bursts = {
	.delay_us = 5000, .jitter_us = 3000, .burst_enter = 0.004, .burst_leave = 0.3};
static const struct sim_link_settings dirty = {.delay_us = 5000, .corrupt = 0.02, .loss = 0.002};
static const struct sim_link_settings narrow = {
	.delay_us = 10000, .rate_bits = 20000000, .queue_packets = 25};

int main(int count, char **texts)
{
	const struct surroundings all[] = {
		{.title = "clean", .link = clean, .transfer = TRANSFER},
		{.title = "clean", .link = clean, .transfer = TRANSFER, .v6 = true},
		{.title = "rough", .link = rough, .transfer = 256 * KB},
		{.title = "rough", .link = rough, .transfer = 256 * KB, .v6 = true},
		{.title = "bursts of loss", .link = bursts, .transfer = 256 * KB},
		{.title = "corruption", .link = dirty, .transfer = 256 * KB, .v6 = true},
		{.title = "narrow, Linux with BBR",
		 .link = narrow,
		 .transfer = 512 * KB,
		 .congestion = "bbr"},
		{.title = "ECN, a tenth marked",
		 .link = narrow,
		 .transfer = 512 * KB,
		 .ecn = true,
		 .mark = 0.1,
		 .sysctl = "sysctl -qw net.ipv4.tcp_ecn=1"},
		{.title = "ECN, a tenth marked",
		 .link = narrow,
		 .transfer = 512 * KB,
		 .ecn = true,
		 .mark = 0.1,
		 .v6 = true,
		 .sysctl = "sysctl -qw net.ipv4.tcp_ecn=1"},
		{.title = "Linux without SACK",
		 .link = clean,
		 .transfer = TRANSFER,
		 .no_sack = true,
		 .sysctl = "sysctl -qw net.ipv4.tcp_sack=0"},
		{.title = "Linux without timestamps",
		 .link = clean,
		 .transfer = TRANSFER,
		 .no_timestamps = true,
		 .sysctl = "sysctl -qw net.ipv4.tcp_timestamps=0"},
		{.title = "Linux without window scale",
		 .link = clean,
		 .transfer = TRANSFER,
		 .no_scale = true,
		 .sysctl = "sysctl -qw net.ipv4.tcp_window_scaling=0"},
		{.title = "rough, Linux without options",
		 .link = rough,
		 .transfer = 256 * KB,
		 .no_sack = true,
		 .no_timestamps = true,
		 .no_scale = true,
		 .sysctl = "sysctl -qw net.ipv4.tcp_sack=0 net.ipv4.tcp_timestamps=0 "
			   "net.ipv4.tcp_window_scaling=0"},
	};
	unsigned number = 0, failed = 0;
	int tap = open_tap();

	if (tap < 0) {
		printf("1..0 # SKIP no TAP device, or no right to make a network namespace\n");
		return SKIP;
	}
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		play_all(tap, &all[i], count > 1 ? texts[1] : NULL, &number, &failed);
	printf("1..%u\n", number);
	return failed != 0;
}
