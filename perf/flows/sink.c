/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The kernel receiver: reads and discards, closes when the sender has closed. */
#include "perf/flows/flows.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	stop = 1;
}

static int open_listener(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htobe16(SINK_PORT)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(fd, 4096) != 0) {
		perror("flows: sink");
		return -1;
	}
	return fd;
}

static void watch(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		close(fd);
}

static void discard(int fd)
{
	static uint8_t room[1 << 18];
	ssize_t size = recv(fd, room, sizeof(room), 0);

	if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
		close(fd); /* and out of the epoll set */
}

int flows_run_sink(void)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct epoll_event events[EVENTS];
	int listener = open_listener(), epoll = epoll_create1(0);

	if (listener < 0 || epoll < 0)
		return 1;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	watch(epoll, listener);
	puts("ready");
	fflush(stdout);
	while (!stop) {
		int count = epoll_wait(epoll, events, EVENTS, 1000);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd, peer;

			if (fd != listener) {
				discard(fd);
				continue;
			}
			while ((peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
				watch(epoll, peer);
		}
	}
	close(epoll);
	close(listener);
	return 0;
}
