/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Kernel sockets under epoll, with the same TLS sessions as the DPDK transport. */
#include "perf/load/transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS	  256
#define READ_SIZE 65536
/* More output than this waits for room. */
#define OUT_HIGH (256u << 10)

struct kernel {
	struct transport_kernel_settings settings;
	int epoll;
	int namespace_fd, own_namespace_fd; /* -1: not needed */
	struct kernel_link *dead;	    /* to be freed at the end of the turn */
	bool (*accept)(void *context, struct link *link, const struct link_callbacks **callbacks,
		       void **user);
	void *accept_context;
	int listener;
	struct kernel_link *dirty; /* have output to write */
	uint8_t buffer[READ_SIZE];
};

struct kernel_link {
	struct link link;
	struct kernel *transport;
	const struct link_callbacks *callbacks;
	void *user;
	int fd;
	bool connecting, closing, closed, want_room, writable_armed, is_dirty, handshake;
	struct tls_session *tls;
	struct kernel_link *next_dead, *next_dirty;
	uint8_t *out;
	size_t out_start, out_end, out_capacity;
	uint8_t held[READ_SIZE]; /* plaintext that was not taken */
	size_t held_size;
};

static struct kernel_link *of(struct link *link)
{
	return (struct kernel_link *)link;
}

static void arm(struct kernel_link *l, bool writable)
{
	struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0u), .data.ptr = l};

	if (l->writable_armed == writable)
		return;
	l->writable_armed = writable;
	epoll_ctl(l->transport->epoll, EPOLL_CTL_MOD, l->fd, &event);
}

static void finish(struct kernel_link *l, bool in_order)
{
	if (l->closed)
		return;
	l->closed = true;
	close(l->fd);
	l->callbacks->on_closed(l->user, in_order);
	l->next_dead = l->transport->dead;
	l->transport->dead = l;
}

/* ---- Output ---- */

static int append(struct kernel_link *l, const uint8_t *data, size_t size)
{
	if (l->out_end + size > l->out_capacity) {
		memmove(l->out, l->out + l->out_start, l->out_end - l->out_start);
		l->out_end -= l->out_start;
		l->out_start = 0;
	}
	if (l->out_end + size > l->out_capacity) {
		size_t capacity = l->out_capacity ? l->out_capacity : 4096;

		while (capacity < l->out_end + size)
			capacity *= 2;
		uint8_t *out = realloc(l->out, capacity);

		if (!out)
			return -ENOMEM;
		l->out = out;
		l->out_capacity = capacity;
	}
	memcpy(l->out + l->out_end, data, size);
	l->out_end += size;
	if (!l->is_dirty) {
		l->is_dirty = true;
		l->next_dirty = l->transport->dirty;
		l->transport->dirty = l;
	}
	return 0;
}

static void flush(struct kernel_link *l)
{
	while (l->out_start < l->out_end) {
		ssize_t n =
			send(l->fd, l->out + l->out_start, l->out_end - l->out_start, MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			arm(l, true);
			return;
		}
		if (n < 0) {
			finish(l, false);
			return;
		}
		l->out_start += (size_t)n;
	}
	l->out_start = l->out_end = 0;
	arm(l, false);
	if (l->closing)
		shutdown(l->fd, SHUT_WR);
}

static int emit(void *context, const uint8_t *data, size_t size)
{
	return append(context, data, size);
}

static void wake(void *context)
{
	(void)context; /* key operations are inline here */
}

static int kernel_write(struct link *link, const void *data, size_t size)
{
	struct kernel_link *l = of(link);

	if (l->closed)
		return -ENOTCONN;
	if (!l->tls)
		return append(l, data, size);
	return tls_session_write(l->tls, data, size) == TLS_DONE ? 0 : -EIO;
}

static size_t kernel_queued(struct link *link)
{
	return of(link)->out_end - of(link)->out_start;
}

static void kernel_want_room(struct link *link)
{
	of(link)->want_room = true;
}

/* ---- Input ---- */

/* What the user does not take now is kept, and comes before what follows. */
static void deliver(struct kernel_link *l, const uint8_t *data, size_t size)
{
	while (l->held_size > 0 && size > 0 && !l->closed) {
		size_t n = sizeof(l->held) - l->held_size;

		n = n < size ? n : size;
		memcpy(l->held + l->held_size, data, n);
		l->held_size += n;
		data += n;
		size -= n;
		size_t taken = l->callbacks->on_receive(l->user, l->held, l->held_size);

		l->held_size -= taken;
		memmove(l->held, l->held + taken, l->held_size);
	}
	if (size == 0 || l->closed)
		return;
	size_t taken = l->callbacks->on_receive(l->user, data, size);

	if (taken < size && !l->closed) {
		l->held_size = size - taken < sizeof(l->held) ? size - taken : sizeof(l->held);
		memcpy(l->held, data + taken, l->held_size);
	}
}

static bool step_handshake(struct kernel_link *l)
{
	enum tls_result result = tls_session_handshake(l->tls);

	if (result == TLS_ERROR) {
		fprintf(stderr, "TLS: %s\n", tls_session_error(l->tls));
		finish(l, false);
		return false;
	}
	if (result != TLS_DONE)
		return false;
	l->handshake = false;
	l->callbacks->on_tls(l->user);
	return !l->closed;
}

static void input_tls(struct kernel_link *l, const uint8_t *data, size_t size)
{
	uint8_t plain[16384];

	tls_session_input(l->tls, data, size);
	if (l->handshake && !step_handshake(l))
		return;
	for (;;) {
		size_t n;
		enum tls_result result = tls_session_read(l->tls, plain, sizeof(plain), &n);

		if (result == TLS_WANT_INPUT)
			return;
		if (result != TLS_DONE) {
			finish(l, result == TLS_END);
			return;
		}
		deliver(l, plain, n);
		if (l->closed)
			return;
	}
}

static void input(struct kernel_link *l)
{
	for (;;) {
		ssize_t n = recv(l->fd, l->transport->buffer, READ_SIZE, 0);

		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0) {
			finish(l, n == 0);
			return;
		}
		if (l->tls)
			input_tls(l, l->transport->buffer, (size_t)n);
		else
			deliver(l, l->transport->buffer, (size_t)n);
		if (l->closed || n < READ_SIZE)
			return;
	}
}

static int kernel_start_tls(struct link *link, struct tls_context *context)
{
	struct kernel_link *l = of(link);
	struct tls_session_settings settings = {.emit = emit, .wake = wake, .context = l};

	l->tls = tls_session_create(context, &settings);
	if (!l->tls)
		return -ENOMEM;
	l->handshake = true;
	tls_session_input(l->tls, NULL, 0);
	step_handshake(l);
	return 0;
}

static void kernel_close(struct link *link)
{
	struct kernel_link *l = of(link);

	if (l->closed || l->closing)
		return;
	if (l->tls && !l->handshake)
		tls_session_close(l->tls);
	l->closing = true;
	if (l->out_start == l->out_end)
		shutdown(l->fd, SHUT_WR);
}

static void kernel_abort(struct link *link)
{
	finish(of(link), false);
}

/* ---- Sockets ---- */

static socklen_t socket_address(const struct ip_address *address, uint16_t port,
				struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (ip_is_v4(address)) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		in->sin_addr.s_addr = htonl(ip_to_v4(address));
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, address->bytes, 16);
	return sizeof(*in6);
}

/* A socket belongs for good to the namespace that it was made in. */
static int make_socket(struct kernel *t, int family)
{
	int fd, one = 1;

	if (t->namespace_fd >= 0 && setns(t->namespace_fd, CLONE_NEWNET) < 0)
		return -errno;
	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->namespace_fd >= 0 && setns(t->own_namespace_fd, CLONE_NEWNET) < 0)
		abort();
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static const struct transport_operations kernel_operations;

static struct kernel_link *new_link(struct kernel *t, int fd)
{
	struct kernel_link *l = calloc(1, sizeof(*l));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = l};

	if (!l)
		return NULL;
	l->link.operations = &kernel_operations;
	l->transport = t;
	l->fd = fd;
	epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &event);
	return l;
}

static struct link *kernel_connect(void *transport, const struct link_callbacks *callbacks,
				   void *user)
{
	struct kernel *t = transport;
	struct sockaddr_storage address;
	socklen_t size = socket_address(&t->settings.target, t->settings.target_port, &address);
	int fd = make_socket(t, address.ss_family);
	struct kernel_link *l;

	if (fd < 0)
		return NULL;
	if (connect(fd, (struct sockaddr *)&address, size) < 0 && errno != EINPROGRESS) {
		close(fd);
		return NULL;
	}
	l = new_link(t, fd);
	if (!l) {
		close(fd);
		return NULL;
	}
	l->callbacks = callbacks;
	l->user = user;
	l->connecting = true;
	arm(l, true);
	return &l->link;
}

static int kernel_listen(void *transport, uint16_t port,
			 bool (*accept_link)(void *context, struct link *link,
					     const struct link_callbacks **callbacks, void **user),
			 void *context)
{
	struct kernel *t = transport;
	struct sockaddr_storage address;
	socklen_t size = socket_address(&t->settings.own, port, &address);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	int one = 1;

	t->listener = make_socket(t, address.ss_family);
	if (t->listener < 0)
		return -errno;
	setsockopt(t->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(t->listener, (struct sockaddr *)&address, size) < 0 ||
	    listen(t->listener, 1024) < 0)
		return -errno;
	t->accept = accept_link;
	t->accept_context = context;
	return epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->listener, &event) < 0 ? -errno : 0;
}

static void take_connections(struct kernel *t)
{
	for (;;) {
		int one = 1, fd = accept4(t->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct kernel_link *l;

		if (fd < 0)
			return;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		l = new_link(t, fd);
		if (!l || !t->accept(t->accept_context, &l->link, &l->callbacks, &l->user)) {
			close(fd);
			free(l);
		}
	}
}

static void flush_dirty(struct kernel *t)
{
	while (t->dirty) {
		struct kernel_link *l = t->dirty;

		t->dirty = l->next_dirty;
		l->is_dirty = false;
		if (!l->closed && !l->connecting)
			flush(l);
	}
}

static void on_event(struct kernel_link *l, uint32_t events)
{
	if (l->closed)
		return;
	if (l->connecting && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
		int code = 0;
		socklen_t size = sizeof(code);

		getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &code, &size);
		if (code != 0) {
			finish(l, false);
			return;
		}
		l->connecting = false;
		arm(l, false);
		l->callbacks->on_connected(l->user);
	}
	if (!l->closed && events & EPOLLOUT)
		flush(l);
	if (!l->closed && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		input(l);
	if (!l->closed && l->want_room && kernel_queued(&l->link) < OUT_HIGH) {
		l->want_room = false;
		l->callbacks->on_room(l->user);
	}
}

static void free_dead(struct kernel *t)
{
	while (t->dead) {
		struct kernel_link *l = t->dead;

		t->dead = l->next_dead;
		if (l->tls)
			tls_session_destroy(l->tls);
		free(l->out);
		free(l);
	}
}

static bool kernel_turn(void *transport, const struct mr_now *now)
{
	struct kernel *t = transport;
	struct epoll_event events[EVENTS];
	int n;

	(void)now;
	flush_dirty(t);
	n = epoll_wait(t->epoll, events, EVENTS, 0);
	for (int i = 0; i < n; i++) {
		if (!events[i].data.ptr)
			take_connections(t);
		else
			on_event(events[i].data.ptr, events[i].events);
	}
	flush_dirty(t);
	free_dead(t);
	return n > 0;
}

static void kernel_wait(void *transport, uint64_t us)
{
	struct kernel *t = transport;
	struct epoll_event event;

	/* Level-triggered: what is reported here is still there in the next turn. */
	epoll_wait(t->epoll, &event, 1, (int)((us + 999) / 1000));
}

static const struct transport_operations kernel_operations = {
	.connect = kernel_connect,
	.listen = kernel_listen,
	.turn = kernel_turn,
	.wait = kernel_wait,
	.write = kernel_write,
	.want_room = kernel_want_room,
	.queued = kernel_queued,
	.start_tls = kernel_start_tls,
	.close = kernel_close,
	.abort = kernel_abort,
};

int transport_kernel_open(struct transport *transport,
			  const struct transport_kernel_settings *settings, char *error)
{
	struct kernel *t = calloc(1, sizeof(*t));

	if (!t) {
		snprintf(error, 256, "no memory");
		return -ENOMEM;
	}
	t->settings = *settings;
	t->listener = t->namespace_fd = t->own_namespace_fd = -1;
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (settings->network_namespace) {
		char path[256];

		snprintf(path, sizeof(path), "%s%s",
			 strchr(settings->network_namespace, '/') ? "" : "/run/netns/",
			 settings->network_namespace);
		t->namespace_fd = open(path, O_RDONLY | O_CLOEXEC);
		t->own_namespace_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		if (t->namespace_fd < 0 || t->own_namespace_fd < 0) {
			snprintf(error, 256, "network namespace %.150s: %s", path, strerror(errno));
			return -errno;
		}
	}
	transport->operations = &kernel_operations;
	transport->state = t;
	return 0;
}
