/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The kernel as sender: non-blocking sockets and one epoll loop. */
#include "perf/flows/flows.h"

#include "drivers/clock.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256

struct sender {
	struct job *job;
	int fd;
	uint64_t begin_us;
	uint64_t sent;
	bool finished; /* FIN is queued */
};

struct kernel {
	struct work *work;
	int epoll;
	uint64_t origin_us;
	uint64_t now_us; /* since the beginning */
};

static void tick(struct kernel *k)
{
	struct mr_now now;

	clock_read(&now);
	k->now_us = now.mono_us - k->origin_us;
}

static void watch(struct kernel *k, struct sender *s, uint32_t events, int how)
{
	struct epoll_event event = {.events = events, .data.ptr = s};

	epoll_ctl(k->epoll, how, s->fd, &event);
}

static struct sender *start(struct kernel *k, struct job *job)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htobe16(SINK_PORT)};
	struct sender *s = calloc(1, sizeof(*s));

	job->started++;
	if (s == NULL)
		exit(1);
	*s = (struct sender){.job = job, .begin_us = k->now_us};
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	memcpy(&to.sin_addr, job->to.bytes + 12, 4);
	if (s->fd < 0 || setsockopt(s->fd, IPPROTO_TCP, TCP_CONGESTION, job->congestion,
				    (socklen_t)strlen(job->congestion)) != 0) {
		perror(job->congestion);
		exit(1);
	}
	if (connect(s->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS) {
		perror("flows: connect");
		exit(1);
	}
	watch(k, s, EPOLLOUT, EPOLL_CTL_ADD);
	return s;
}

/* Send what there is. @return false: the connection failed */
static bool push(struct kernel *k, struct sender *s)
{
	const struct job *job = s->job;

	while (job->count == 0 || s->sent < job->size) {
		size_t size = CHUNK_BYTES;
		ssize_t took;

		if (job->count != 0 && job->size - s->sent < size)
			size = job->size - s->sent;
		took = send(s->fd, flows_data, size, MSG_NOSIGNAL);
		if (took < 0)
			return errno == EAGAIN || errno == EINPROGRESS;
		s->sent += (uint64_t)took;
	}
	if (!s->finished) {
		s->finished = true;
		shutdown(s->fd, SHUT_WR);
		watch(k, s, EPOLLIN, EPOLL_CTL_MOD);
	}
	return true;
}

static void serve(struct kernel *k, struct sender *s, uint32_t events)
{
	struct job *job = s->job;
	uint8_t byte;
	ssize_t got;

	if (!s->finished && (events & EPOLLERR) == 0 && push(k, s))
		return;
	got = s->finished ? recv(s->fd, &byte, 1, 0) : -1;
	if (got < 0 && s->finished && errno == EAGAIN)
		return;
	if (got == 0 && job->count != 0)
		job->times_ms[job->done++] = (double)(k->now_us - s->begin_us) / 1000;
	else
		job->failed++;
	close(s->fd);
	if (job->count != 0)
		free(s);
	else
		s->fd = -1;
}

static uint64_t acknowledged(const struct sender *s)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);

	if (s->fd < 0 || getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
		return 0;
	return info.tcpi_bytes_acked > 0 ? info.tcpi_bytes_acked - 1 : 0; /* the SYN counts */
}

static void start_due(struct kernel *k)
{
	for (unsigned i = 0; i < k->work->count; i++) {
		struct job *job = &k->work->jobs[i];

		while (job->started < job->count && job_start_us(job, job->started) <= k->now_us)
			start(k, job);
	}
}

int flows_run_kernel(struct work *work)
{
	struct kernel k = {.work = work, .epoll = epoll_create1(0)};
	struct sender *bulk[JOBS_MAX] = {NULL};
	struct epoll_event events[EVENTS];
	bool measured = false;

	tick(&k);
	k.origin_us = k.now_us;
	k.now_us = 0;
	for (unsigned i = 0; i < work->count; i++)
		if (work->jobs[i].count == 0)
			bulk[i] = start(&k, &work->jobs[i]);
	while (!work_done(work, k.now_us) || !measured) {
		int count = epoll_wait(k.epoll, events, EVENTS, 1);

		tick(&k);
		for (int i = 0; i < count; i++)
			serve(&k, events[i].data.ptr, events[i].events);
		start_due(&k);
		if (measured || k.now_us < work->duration_us)
			continue;
		measured = true;
		for (unsigned i = 0; i < work->count; i++)
			if (bulk[i] != NULL) {
				struct linger now = {.l_onoff = 1};

				work->jobs[i].acknowledged = acknowledged(bulk[i]);
				if (bulk[i]->fd >= 0) {
					setsockopt(bulk[i]->fd, SOL_SOCKET, SO_LINGER, &now,
						   sizeof(now));
					close(bulk[i]->fd);
				}
				free(bulk[i]);
			}
	}
	return 0;
}
