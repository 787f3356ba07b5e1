/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One conversation between the stack and this machine's kernel: the world that both share, and what
 * either side does in a scenario. The stack is turned by one thread; the Linux side is another,
 * with blocking sockets.
 *
 * Time is the time in which the stack was turned: a process that was stopped, or a machine that is
 * slow, takes none. So no scenario fails because something else took long.
 */
#ifndef MILLRACE_TESTS_TCP_PEER_H
#define MILLRACE_TESTS_TCP_PEER_H

#include "tests/sim/tcp_harness.h"

#define LISTEN_PORT  2525u
#define LINUX_PORT   2626u
#define TRANSFER     (1024u * 1024u) /* at most, but for the large one */
#define LARGE	     (16u * 1024 * 1024)
#define QUESTION     10000u
#define BEFORE_RESET 5000u

struct scenario;

/** What both kernels and stacks are set to in a group of scenarios. */
struct surroundings {
	const char *title;
	struct sim_link_settings link; /**< each way */
	const char *sysctl;	       /**< shell command, or NULL */
	size_t transfer;	       /**< bytes each way, at most TRANSFER */
	const char *congestion;	       /**< of Linux; NULL: cubic */
	bool v6;
	bool no_sack;
	bool no_timestamps;
	bool no_scale;
	bool ecn;    /**< both sides ask for it */
	double mark; /**< share of ECN-capable packets that are marked CE */
};

struct world {
	const struct surroundings *around;
	const struct scenario *scenario;
	struct harness *h;
	struct sim_link *in;
	struct sim_link *out;
	struct mr_random dice; /* of marks */
	int tap;
	uint64_t last_us; /* when the clock was read last */
	uint8_t *data;
	size_t size; /* of it that is sent each way */
	struct harness_connection *ours;
	struct tcp_information information; /* of ours, while it was established */
	uint64_t poked_us;
	uint64_t marked[2]; /* packets of Linux's, of ours */
	_Atomic bool linux_done;
	const char *linux_error; /* NULL: all well on that side */
};

struct scenario {
	const char *name;
	bool we_connect;
	void (*linux_side)(struct world *w, int fd);
	void (*ours_begin)(struct world *w); /* once connected */
	bool (*ours_done)(struct world *w);  /* asked after each turn */
	const char *(*check)(struct world *w);
	size_t linux_buffer; /* SO_RCVBUF; 0: default */
	bool large;	     /* LARGE bytes instead of the surroundings' */
	bool once;	     /* only where the link is clean */
};

/* --- linux_side.c --- */
int linux_socket(const struct world *w, uint16_t port, bool to_us, void *address_out);
size_t linux_address_size(const struct world *w);
void linux_exchanges(struct world *w, int fd);
void linux_half_closes(struct world *w, int fd);
void linux_resets(struct world *w, int fd);
void linux_closes_unread(struct world *w, int fd);
void linux_is_reset(struct world *w, int fd);
void linux_reads_late(struct world *w, int fd);
void linux_is_asked(struct world *w, int fd);
void linux_only_closes(struct world *w, int fd);

/* --- scenarios.c --- */
extern const struct scenario scenarios[];
extern const unsigned scenario_count;

#endif
