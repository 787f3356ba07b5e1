/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Our stack as sender, in real time: the turn of a worker (receive, timers, transmit) over a socket
 * that carries frames, without EAL.
 */
#include "dataplane/net/net.h"
#include "dataplane/tcp/tcp.h"
#include "perf/flows/flows.h"
#include "tests/sim/link/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAMES	    16384u
#define CHUNKS	    65536u
#define CONNECTIONS 8192u
#define BURST	    32u
#define TIMERS	    256u
#define NAP_MAX_US  1000u
#define TRACE_US    100000u

struct run;

struct sender {
	struct run *run;
	struct job *job;
	tcp_handle handle;
	uint64_t begin_us;
	uint64_t queued;
	bool ended; /* the receiver has closed */
	bool closed;
};

struct run {
	struct work *work;
	int fd;
	struct mr_now now;
	uint64_t origin_us;
	struct mr_random random;
	struct sim_frame_pool *frames;
	struct chunk_pool *chunks;
	struct net_stack *stack;
	struct view view;
	struct view_port port;
	struct view_address address;
	struct view_route route;
};

/* --- the application --- */
static void on_connected(void *user, tcp_handle handle)
{
	struct sender *s = user;

	tcp_want_send(s->run->stack, handle);
}

static size_t on_receive(void *user, tcp_handle handle, const uint8_t *data, size_t size)
{
	return size;
}

static void on_send_room(void *user, tcp_handle handle, size_t room)
{
	struct sender *s = user;
	const struct job *job = s->job;
	size_t size = room < CHUNK_BYTES ? room : CHUNK_BYTES;

	if (job->count != 0 && job->size - s->queued < size)
		size = job->size - s->queued;
	if (tcp_send(s->run->stack, handle, flows_data, size) == 0)
		s->queued += size;
	if (job->count != 0 && s->queued == job->size)
		tcp_close(s->run->stack, handle, &s->run->now);
	else
		tcp_want_send(s->run->stack, handle);
}

static void on_end(void *user, tcp_handle handle)
{
	struct sender *s = user;
	struct job *job = s->job;

	s->ended = true;
	if (job->count != 0 && s->queued == job->size)
		job->times_ms[job->done++] =
			(double)(s->run->now.mono_us - s->run->origin_us - s->begin_us) / 1000;
}

static void on_closed(void *user, tcp_handle handle, enum tcp_close_reason reason)
{
	struct sender *s = user;

	s->closed = true;
	if (!s->ended && reason != TCP_ABORTED) {
		fprintf(stderr, "flows: %s: %s\n", s->job->name, tcp_close_reason_name(reason));
		s->job->failed++;
	}
	if (s->job->count != 0)
		free(s);
}

static const struct tcp_callbacks callbacks = {on_connected, on_receive, on_end, on_send_room,
					       on_closed};

/* @return 0, or a negative errno: -EINVAL when the stack has no such congestion control */
static int choose(struct run *run, tcp_handle handle, const char *name)
{
	static const struct {
		const char *name;
		enum tcp_congestion_choice choice;
	} known[] = {{"cubic", TCP_CUBIC}, {"reno", TCP_RENO}, {"bbr", TCP_BBR}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, name) == 0)
			return tcp_set_congestion(run->stack, handle, known[i].choice);
	return -EINVAL;
}

static struct sender *start(struct run *run, struct job *job)
{
	struct sender *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		exit(1);
	*s = (struct sender){.run = run, .job = job, .begin_us = run->now.mono_us - run->origin_us};
	job->started++;
	rc = tcp_connect(run->stack, &run->address.address, &job->to, SINK_PORT, 30 * US_PER_S,
			 &callbacks, s, &run->now, &s->handle);
	if (rc == 0)
		rc = choose(run, s->handle, job->congestion);
	if (rc != 0) {
		fprintf(stderr, "flows: %s: %s\n", job->name, strerror(-rc));
		exit(1);
	}
	return s;
}

/* --- the turn --- */
static void receive(struct run *run)
{
	struct frame_pool *pool = sim_frame_pool_interface(run->frames);
	struct frame *frames[BURST];
	unsigned count = 0;

	while (count < BURST) {
		struct frame *frame = frame_alloc(pool);
		ssize_t size = frame != NULL ? recv(run->fd, frame->data, frame->capacity, 0) : -1;

		if (size <= 0) {
			if (frame != NULL)
				frame_free(pool, frame);
			break;
		}
		frame->length = (uint16_t)size;
		frames[count++] = frame;
	}
	if (count > 0)
		net_stack_input(run->stack, frames, count, &run->now);
}

/* @return false: the socket is full, the rest stays with the stack */
static bool transmit(struct run *run)
{
	struct frame_pool *pool = sim_frame_pool_interface(run->frames);
	struct frame *frame;

	while (net_stack_output(run->stack, 0, &frame, 1, &run->now) == 1) {
		while (send(run->fd, frame->data, frame->length, MSG_NOSIGNAL) < 0) {
			struct pollfd wait = {.fd = run->fd, .events = POLLOUT};

			if (errno != EAGAIN && errno != ENOBUFS) {
				perror("flows: the wire is gone");
				exit(1);
			}
			poll(&wait, 1, 1); /* the emulator takes all at once: rare */
		}
		frame_free(pool, frame);
	}
	return true;
}

static void turn(struct run *run)
{
	clock_read(&run->now);
	receive(run);
	net_stack_timers(run->stack, &run->now, TIMERS);
	transmit(run);
}

static void nap(struct run *run)
{
	struct pollfd fd = {.fd = run->fd, .events = POLLIN};
	uint64_t next = net_stack_next_timer(run->stack);
	struct timespec wait = {.tv_nsec = NAP_MAX_US * 1000};

	clock_read(&run->now);
	if (next <= run->now.mono_us)
		return;
	if (next - run->now.mono_us < NAP_MAX_US)
		wait.tv_nsec = (long)(next - run->now.mono_us) * 1000;
	ppoll(&fd, 1, &wait, NULL);
}

static void create(struct run *run)
{
	struct net_stack_settings settings;

	run->frames = sim_frame_pool_create(FRAMES, 0);
	run->chunks = chunk_pool_create(0, CHUNKS);
	settings = (struct net_stack_settings){
		.worker_count = 1,
		.connections = CONNECTIONS,
		.time_wait = CONNECTIONS,
		.frames = sim_frame_pool_interface(run->frames),
		.chunks = run->chunks,
		.random = &run->random,
	};
	run->stack = net_stack_create(&settings, &run->now);
	run->port = (struct view_port){.name = "wire", .mtu = 1500, .mac = {2, 0, 0, 0, 0, 3}};
	run->address = (struct view_address){.prefix_length = 24};
	ip_parse("10.0.0.3", &run->address.address);
	ip_prefix_parse("10.1.0.0/16", &run->route.prefix);
	ip_parse("10.0.0.2", &run->route.gateway);
	run->view = (struct view){.port_count = 1,
				  .ports = &run->port,
				  .address_count = 1,
				  .addresses = &run->address,
				  .route_count = 1,
				  .routes = &run->route};
	if (run->stack == NULL || net_stack_configure(run->stack, &run->view, &run->now) != 0) {
		fputs("flows: no stack\n", stderr);
		exit(1);
	}
}

static void trace(const struct run *run, struct sender *const *bulk, uint64_t elapsed_us)
{
	for (unsigned i = 0; i < run->work->count; i++) {
		struct tcp_information t;

		if (bulk[i] == NULL || bulk[i]->closed ||
		    tcp_information(run->stack, bulk[i]->handle, &t) != 0)
			continue;
		fprintf(stderr,
			"%.1f %s: acked %lu cwnd %u ssthresh %u in flight %u window %u srtt %u us "
			"retransmitted %u\n",
			(double)elapsed_us / 1e6, bulk[i]->job->name,
			bulk[i]->queued - tcp_unacknowledged(run->stack, bulk[i]->handle),
			t.cwnd_bytes, t.ssthresh_bytes, t.in_flight_bytes, t.send_window, t.srtt_us,
			t.retransmitted_segments);
	}
}

static void start_due(struct run *run, uint64_t elapsed_us)
{
	for (unsigned i = 0; i < run->work->count; i++) {
		struct job *job = &run->work->jobs[i];

		while (job->started < job->count && job_start_us(job, job->started) <= elapsed_us)
			start(run, job);
	}
}

/* One connection to the router itself, so that no flow's first SYN waits for ARP. @return 0, or -1
 */
static int introduce(struct run *run)
{
	struct job job = {.name = "introduction", .congestion = "cubic"};
	struct tcp_information t = {0};
	struct sender *s;
	uint64_t begin_us;

	run->origin_us = begin_us = run->now.mono_us;
	job.to = run->route.gateway;
	s = start(run, &job);
	while (run->now.mono_us - begin_us < 10 * US_PER_S) {
		turn(run);
		if (s->closed)
			break;
		if (tcp_information(run->stack, s->handle, &t) == 0 && t.srtt_us > 0) {
			tcp_abort(run->stack, s->handle, &run->now);
			free(s);
			return 0;
		}
		nap(run);
	}
	fputs("flows: the router does not answer\n", stderr);
	return -1;
}

int flows_run_stack(struct work *work, int fd)
{
	struct run run = {.work = work, .fd = fd};
	struct sender *bulk[JOBS_MAX] = {NULL};
	uint64_t traced_us = 0;
	bool measured = false;

	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	random_init_seed(&run.random, work->seed);
	clock_read(&run.now);
	create(&run);
	if (introduce(&run) != 0)
		return 1;
	run.origin_us = run.now.mono_us;
	for (unsigned i = 0; i < work->count; i++)
		if (work->jobs[i].count == 0)
			bulk[i] = start(&run, &work->jobs[i]);
	for (;;) {
		uint64_t elapsed_us;

		turn(&run);
		elapsed_us = run.now.mono_us - run.origin_us;
		start_due(&run, elapsed_us);
		if (work->trace && elapsed_us >= traced_us) {
			traced_us += TRACE_US;
			trace(&run, bulk, elapsed_us);
		}
		if (!measured && elapsed_us >= work->duration_us) {
			measured = true;
			for (unsigned i = 0; i < work->count; i++)
				if (bulk[i] != NULL && !bulk[i]->closed) {
					work->jobs[i].acknowledged =
						bulk[i]->queued -
						tcp_unacknowledged(run.stack, bulk[i]->handle);
					tcp_abort(run.stack, bulk[i]->handle, &run.now);
				}
		}
		if (measured && work_done(work, elapsed_us))
			break;
		nap(&run);
	}
	transmit(&run);
	return 0;
}
