/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The Linux side of each scenario: blocking sockets in a thread of its own. Without time-outs: the
 * world ends what hangs, and a socket with one fails its calls when the process was stopped
 * (signal(7)).
 */
#include "tests/tcp/peer.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int linux_socket(const struct world *w, uint16_t port, bool to_us, void *address_out)
{
	const char *congestion = w->around->congestion != NULL ? w->around->congestion : "cubic";
	int fd = socket(w->around->v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
	int one = 1, size = (int)w->scenario->linux_buffer;

	memset(address_out, 0, linux_address_size(w));
	if (w->around->v6) {
		struct sockaddr_in6 *a = address_out;

		a->sin6_family = AF_INET6;
		a->sin6_port = htobe16(port);
		memcpy(&a->sin6_addr, to_us ? w->h->address.bytes : w->h->peer.bytes, 16);
	} else {
		struct sockaddr_in *a = address_out;

		a->sin_family = AF_INET;
		a->sin_port = htobe16(port);
		memcpy(&a->sin_addr, (to_us ? w->h->address.bytes : w->h->peer.bytes) + 12, 4);
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion));
	if (size != 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return fd;
}

size_t linux_address_size(const struct world *w)
{
	return w->around->v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

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

/* All that there is, to the end, and it must be what we sent. */
static void receive_everything(struct world *w, int fd)
{
	uint8_t *got = malloc(w->size + 1);
	size_t size = receive_all(fd, got, w->size + 1);

	if (size != w->size || memcmp(got, w->data, size) != 0)
		w->linux_error = "Linux received other bytes";
	free(got);
}

/* What was negotiated, as Linux sees it. */
static void check_options(struct world *w, int fd)
{
	const struct surroundings *a = w->around;
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);
	unsigned expect = (a->no_sack ? 0 : TCPI_OPT_SACK) |
			  (a->no_timestamps ? 0 : TCPI_OPT_TIMESTAMPS) |
			  (a->no_scale ? 0 : TCPI_OPT_WSCALE) | (a->ecn ? TCPI_OPT_ECN : 0);
	unsigned known = TCPI_OPT_SACK | TCPI_OPT_TIMESTAMPS | TCPI_OPT_WSCALE | TCPI_OPT_ECN;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
		w->linux_error = "no TCP_INFO";
	else if ((info.tcpi_options & known) != expect)
		w->linux_error = "Linux negotiated other options";
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

/* Send and receive at once, then see the end. */
void linux_exchanges(struct world *w, int fd)
{
	struct pump pump = {.fd = fd, .data = w->data, .size = w->size};
	pthread_t thread;

	check_options(w, fd);
	pthread_create(&thread, NULL, pump_run, &pump);
	receive_everything(w, fd);
	pthread_join(thread, NULL);
	if (!pump.good)
		w->linux_error = "Linux could not send";
}

/* Half close: say all, shut down, and only then be answered. */
void linux_half_closes(struct world *w, int fd)
{
	if (!send_all(fd, w->data, QUESTION))
		w->linux_error = "Linux could not send";
	shutdown(fd, SHUT_WR);
	receive_everything(w, fd);
}

/* The other way round: the question comes with its end, and is answered behind it. */
void linux_is_asked(struct world *w, int fd)
{
	receive_everything(w, fd);
	if (!send_all(fd, w->data, w->size))
		w->linux_error = "Linux could not answer";
}

void linux_only_closes(struct world *w, int fd)
{
	check_options(w, fd);
}

/* Until all that was sent is acknowledged: the stack has it then. */
static void drain(int fd)
{
	int left = 1;

	while (ioctl(fd, SIOCOUTQ, &left) == 0 && left > 0)
		poll(NULL, 0, 5);
}

void linux_resets(struct world *w, int fd)
{
	struct linger linger = {.l_onoff = 1};

	if (!send_all(fd, w->data, BEFORE_RESET))
		w->linux_error = "Linux could not send";
	drain(fd);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/* close() with bytes that nobody read sends a reset (RFC 2525, 2.17). */
void linux_closes_unread(struct world *w, int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	if (!send_all(fd, w->data, BEFORE_RESET))
		w->linux_error = "Linux could not send";
	drain(fd);
	while (poll(&wait, 1, -1) < 1)
		;
}

/* The reset may be lost: what is sent behind it is answered by another. */
void linux_is_reset(struct world *w, int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	uint8_t byte = 0;

	if (!send_all(fd, w->data, 1000))
		w->linux_error = "Linux could not send";
	while (poll(&wait, 1, 300) < 1)
		if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1)
			break;
	if (recv(fd, &byte, 1, 0) != -1 || (errno != ECONNRESET && errno != EPIPE))
		w->linux_error = "Linux saw no reset";
}

/* The window is shut until the stack has filled it, and a while longer. */
void linux_reads_late(struct world *w, int fd)
{
	int waiting = -1, before = -2;

	while (waiting != before || waiting == 0) {
		before = waiting;
		poll(NULL, 0, 400);
		if (ioctl(fd, SIOCINQ, &waiting) != 0)
			break;
	}
	receive_everything(w, fd);
}
