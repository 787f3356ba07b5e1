/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The hosts around a simulated appliance: a sender with SMTP clients and an exchanger with an SMTP
 * sink, each on a network stack of its own in virtual time. The sender keeps what was acknowledged;
 * the sink what it stored; neither asks the appliance. Both can misbehave, by chance from the seed.
 */
#ifndef MILLRACE_TESTS_SIM_APPLIANCE_PEER_H
#define MILLRACE_TESTS_SIM_APPLIANCE_PEER_H

#include "dataplane/net/net.h"
#include "dataplane/smtp/stream.h"
#include "tests/sim/link/link.h"

#define PEER_MESSAGES_MAX 4096

/** Chances in a thousand, each time. */
struct sink_manners {
	unsigned refuse_rcpt;	       /**< 451 at RCPT */
	unsigned refuse_rcpt_for_good; /**< 550 at RCPT */
	unsigned refuse_data;	       /**< 451 after the final dot */
	unsigned close_at_greeting;    /**< 421 */
	unsigned reset_after_dot;      /**< stored, then RST instead of 250: the duplicate window */
	unsigned reset_in_data;
};

/** What was stored of one message, at its recipients. */
struct stored {
	unsigned copies;
	bool damaged; /**< not byte for byte what was sent */
};

struct client;
struct sink;

struct peer {
	struct net_stack *stack;
	struct sim_frame_pool *frames;
	struct chunk_pool *chunks;
	struct mr_random random;
	struct mr_now *now;
	/* sender */
	struct ip_address own, server;
	struct tls_context *client_context; /**< NULL: in clear */
	uint32_t next_message, messages;    /**< to send in all */
	size_t size_min, size_max;
	uint8_t acknowledged[PEER_MESSAGES_MAX];
	uint8_t refused[PEER_MESSAGES_MAX]; /**< 5xx: not the appliance's any more */
	unsigned sessions, sessions_max;
	struct client *clients;
	struct sink *sinks;
	/* sink */
	struct tls_context *server_context;
	struct sink_manners manners;
	struct stored stored[PEER_MESSAGES_MAX];
	unsigned notices; /**< messages from the null reverse-path */
	unsigned transactions;
};

struct peer *peer_create(struct mr_now *now, uint64_t seed, const struct view *view);
void peer_destroy(struct peer *peer);
/** Open the sink on port 25. */
void peer_listen(struct peer *peer);
/** Open sessions while there is something to send. */
void peer_send_mail(struct peer *peer);
/** The content of message n, the same on both sides. @return its size */
size_t peer_content(const struct peer *peer, uint32_t n, char *to, size_t capacity);
/** One turn: frames that arrived, timers, output. @return true when it did something */
bool peer_turn(struct peer *peer, struct sim_link *in, struct sim_link *out);

#endif
