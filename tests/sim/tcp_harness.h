/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A stack in virtual time, driven by hand: create it, connect, listen, send, receive, close, abort;
 * feed it one frame or one TCP segment, take the next that it sends, advance the clock. Tests read
 * like packet scripts with it; two harnesses and two links make a network (harness_exchange).
 *
 * The harness answers ARP and ND for every address but its own, when frames are taken by
 * harness_take.
 */
#ifndef MILLRACE_TESTS_SIM_TCP_HARNESS_H
#define MILLRACE_TESTS_SIM_TCP_HARNESS_H

#include "dataplane/net/net.h"
#include "dataplane/tcp/segment.h"
#include "dataplane/tcp/tcp.h"
#include "tests/sim/link/link.h"

#define HARNESS_CONNECTIONS 64u

struct harness_options {
	const char *address; /**< NULL: 10.0.0.1, or fd00::1 with v6 */
	const char *peer;    /**< NULL: 10.0.0.2, or fd00::2: whom scripts speak for */
	bool v6;
	uint16_t vlan;
	uint16_t mtu;
	uint32_t connections; /**< 0: HARNESS_CONNECTIONS */
	uint32_t time_wait;   /**< 0: 64 */
	uint32_t chunks;      /**< 0: 512 */
	uint32_t frames;      /**< 0: 4096 */
	uint32_t flights;     /**< 0: as many as connections */
	uint32_t receive_window;
	bool ecn;   /**< offer it on connect */
	bool paced; /**< else whatever the window allows comes at once */
	uint16_t worker;
	uint16_t worker_count; /**< 0: 1 */
	bool offload;	       /**< the port fills in checksums (the harness does so) */
	uint64_t seed;
};

/** The application's end of a connection. */
struct harness_connection {
	struct harness *harness;
	tcp_handle handle;
	bool used;
	bool connected;
	bool ended; /**< the peer's FIN */
	bool closed;
	enum tcp_close_reason reason;
	size_t take_limit; /**< on_receive takes no more in total; SIZE_MAX at first */
	bool abort_on_receive;
	bool close_on_end;    /**< as servers do */
	bool close_when_sent; /**< FIN behind the last byte */
	uint8_t *received;
	size_t received_size;
	const uint8_t *to_send; /**< pulled by on_send_room */
	size_t to_send_size;
	size_t sent;
	unsigned ended_count;
	unsigned closed_count;
};

struct harness {
	struct harness_options options;
	struct mr_now now;
	struct mr_random random;
	struct ip_address address;
	struct ip_address peer;
	struct sim_frame_pool *frames;
	struct chunk_pool *chunks;
	struct net_stack *stack;
	struct view view;
	struct view_port port;
	struct view_address view_address;
	struct view_route route;
	struct harness_connection connections[HARNESS_CONNECTIONS];
	struct harness_connection *accepted; /**< the last one */
	bool refuse;			     /**< on_accept says no */
	unsigned handed_off;
	uint16_t handed_to;
	/* Defaults of script segments, so that scripts state only what matters. */
	uint16_t script_local_port;  /**< of the stack's connection */
	uint16_t script_remote_port; /**< of the script's end */
};

struct harness *harness_create(const struct harness_options *options);
/** Frees all and asserts that frames and chunks have come home. */
void harness_destroy(struct harness *h);

struct harness_connection *harness_connect(struct harness *h, uint16_t remote_port);
/** Connect with a handshake timeout. */
struct harness_connection *harness_connect_for(struct harness *h, uint16_t remote_port,
					       uint64_t syn_timeout_us);
void harness_listen(struct harness *h, uint16_t port);
/** Send bytes, which must stay; pulled as the window allows. */
void harness_send(struct harness_connection *c, const void *data, size_t size);
void harness_close(struct harness_connection *c);
void harness_abort(struct harness_connection *c);
/** Take `more` further bytes of what was left. */
void harness_take_more(struct harness_connection *c, size_t more);
void harness_information(const struct harness_connection *c, struct tcp_information *out);

/** Feed an Ethernet frame. */
void harness_feed_frame(struct harness *h, const void *data, size_t size);
/** Take the next frame that it sends. @param to 2,048 bytes @return size, 0: nothing */
size_t harness_take_frame(struct harness *h, uint8_t *to);
/** Feed an IP packet, in a frame from the peer. */
void harness_feed(struct harness *h, const void *packet, size_t size);
/** Take the next IP packet; answers ARP and ND on the way. @return size, 0: nothing */
size_t harness_take(struct harness *h, uint8_t *to);
/** Let time pass, running timers when they are due. */
void harness_advance(struct harness *h, uint64_t us);

/** A TCP segment of a script, from the peer to the stack or back. */
struct script_segment {
	uint8_t flags;
	uint32_t seq;
	uint32_t ack;
	uint16_t window;
	const void *data;
	uint16_t size;
	uint16_t mss; /**< 0: no option */
	int scale;    /**< -1 or 0 without .scaled: no option */
	bool scaled;
	bool sack_permitted;
	bool timestamp;
	uint32_t ts_val;
	uint32_t ts_ecr;
	unsigned sacks;
	uint32_t sack[4][2];
	bool bad_checksum;
	uint8_t ecn;	    /**< codepoint of the packet */
	uint16_t from_port; /**< 0: script_remote_port */
	uint16_t to_port;   /**< 0: script_local_port */
};

/** Build an IP packet from peer to stack. @return its size */
size_t script_build(const struct harness *h, const struct script_segment *s, uint8_t *to);
void script_feed(struct harness *h, const struct script_segment *s);
/**
 * Take the next packet, which must be TCP with a good checksum.
 * @param copy where its bytes stay, 2,048 @return false: nothing was sent
 */
bool script_take(struct harness *h, struct tcp_segment *out, uint8_t *copy);

/**
 * Connect two harnesses by links and run until `until` is true or the time is over.
 * @return true: it became true
 */
bool harness_exchange(struct harness *a, struct harness *b, struct sim_link *a_to_b,
		      struct sim_link *b_to_a, uint64_t limit_us, bool (*until)(void *context),
		      void *context);

#endif
