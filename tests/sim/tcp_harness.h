/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A TCP stack in virtual time, driven by hand, in plain C. Nothing happens but by these calls: no
 * thread, no socket, no clock. What a run does depends on its calls and its seed alone.
 *
 * THE SHORTEST SCRIPT (tests/sim/tcp/example.c)
 *
 *	struct harness *h = harness_create(&(struct harness_options){.seed = 1});
 *	uint8_t packet[2048];
 *
 *	harness_listen(h, 25);
 *	script_feed(h, &(struct script_segment){.flags = TCP_SYN, .seq = 1000, .window = 65535});
 *	size_t size = harness_take(h, packet);		// an IPv4 packet: its SYN-ACK
 *	...
 *	harness_destroy(h);				// asserts that nothing leaked
 *
 * BUILDING. In a build directory B, from the root of the tree (a script of one's own: cc, with its
 * name in the place of the example's):
 *
 *	ninja -C B tests/sim/tcp/example && B/tests/sim/tcp/example
 *	cc -std=gnu11 -D_GNU_SOURCE -I. tests/sim/tcp/example.c B/tests/sim/link/libtcp-harness.a \
 *		B/tests/sim/link/libsim-link.a B/dataplane/libmillrace-dataplane.a \
 *		B/drivers/libmillrace-drivers.a -lm
 *
 * meson targets depend on tcp_harness_dep. tests/sim/tcp/test_harness.c are short programs that
 * show every call; tests/unit/tcp/dialog.h is a still shorter way of writing packet scripts for
 * cmocka.
 *
 * A STACK. harness_create makes one with the address 10.0.0.1 (or options.address, or fd00::1 with
 * options.v6) on a /24 (/64) link, whose other hosts all answer: the harness resolves ARP and ND by
 * itself when packets are taken with harness_take. harness_add_address and harness_remove_address
 * change its addresses as a reload of the configuration would.
 *
 * TIME (h->now.mono_us) stands still until harness_advance lets it pass; timers then run when they
 * are due, in order. What they send waits to be taken.
 *
 * PACKETS. harness_feed gives it one raw IP packet (IPv4 or IPv6, checksums right or it is dropped)
 * and harness_take takes the next raw IP packet that it wants to send: the bytes as on the wire,
 * checksums filled in. Nothing is lost, delayed or answered behind your back but ARP and ND. The
 * _frame variants do the same with Ethernet frames, ARP and ND included. script_build makes IP
 * packets with TCP segments from the peer (10.0.0.2, or fd00::2), script_take takes them apart.
 * Their ports are those of the last harness_connect, or 40000 to 25 before there is one.
 *
 * CONNECTIONS. harness_connect, harness_connect_from; harness_listen, harness_listen_on and then
 * harness_accept. Then either as with sockets: harness_write, harness_recv, harness_shutdown; or as
 * the product does it: bytes come to c->received as they arrive, up to c->take_limit, and
 * harness_send leaves bytes to be pulled when the window allows. harness_abort resets.
 * c->connected, c->ended (the peer's FIN was reached), c->closed and c->reason tell what came of
 * it; harness_information reads what Linux has in TCP_INFO, tcp_measure(h->stack, c->handle, ...)
 * what the connection found out about its path.
 *
 * CHECKS. After every call everything that must be true of the stack is looked at (tcp_check.h);
 * harness_destroy asserts that every frame and every chunk has come home.
 *
 * TWO STACKS. harness_exchange connects two harnesses by two links (tests/sim/link/link.h: delay,
 * rate, queue, loss, reordering, ...) and lets time pass until something is true.
 */
#ifndef MILLRACE_TESTS_SIM_TCP_HARNESS_H
#define MILLRACE_TESTS_SIM_TCP_HARNESS_H

#include "dataplane/net/net.h"
#include "dataplane/tcp/segment.h"
#include "dataplane/tcp/tcp.h"
#include "tests/sim/link/link.h"

#include <sys/types.h>

#define HARNESS_CONNECTIONS 128u
#define HARNESS_ADDRESSES   16u

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
	uint32_t neighbours;  /**< 0: 16 */
	bool ecn;	      /**< offer it on connect */
	bool paced;	      /**< else whatever the window allows comes at once */
	uint32_t keepalive_s; /**< 0: off */
	uint16_t worker;
	uint16_t worker_count; /**< 0: 1 */
	bool offload;	       /**< the port fills in checksums (the harness does so) */
	bool segmentation;     /**< and cuts large segments, in harness_exchange */
	uint32_t large_frames; /**< for these; 0: there are none */
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
	unsigned accept_turn; /**< of those that harness_accept has not handed out; 0: none */
	size_t read_at;	      /**< bytes of `received` that harness_recv has handed out */
	uint8_t *written;     /**< what harness_write was given */
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
	unsigned address_count;
	struct view_address addresses[HARNESS_ADDRESSES];
	struct harness_connection connections[HARNESS_CONNECTIONS];
	struct harness_connection *accepted; /**< the last one */
	unsigned accept_turns;
	bool abort_on_accept;
	bool refuse; /**< on_accept says no */
	unsigned handed_off;
	uint16_t handed_to;
	/* Defaults of script segments, so that scripts state only what matters. */
	uint16_t script_local_port;  /**< of the stack's connection */
	uint16_t script_remote_port; /**< of the script's end */
};

struct harness *harness_create(const struct harness_options *options);
/** Frees all and asserts that frames and chunks have come home. */
void harness_destroy(struct harness *h);

/** Take another address, of either family, as of now. @param text "10.0.0.9" or "fd00::9" */
void harness_add_address(struct harness *h, const char *text);
/** Give an address up: connections that use it are aborted without a word to their peers. */
void harness_remove_address(struct harness *h, const char *text);

/** Connect to the peer from the first address. The SYN waits to be taken. @return NULL: refused */
struct harness_connection *harness_connect(struct harness *h, uint16_t remote_port);
/** Connect from any of its addresses to any host. @return NULL: refused (no route, no port) */
struct harness_connection *harness_connect_from(struct harness *h, const char *local,
						const char *remote, uint16_t remote_port,
						uint64_t syn_timeout_us);
/** Connect with a handshake timeout. */
struct harness_connection *harness_connect_for(struct harness *h, uint16_t remote_port,
					       uint64_t syn_timeout_us);
/** Listen on all addresses. */
void harness_listen(struct harness *h, uint16_t port);
/** Listen on one. */
void harness_listen_on(struct harness *h, const char *address, uint16_t port);
/** @return the next connection that was accepted and not handed out yet, in order; NULL: none */
struct harness_connection *harness_accept(struct harness *h);

/** Send bytes, which must stay; pulled as the window allows. Not before all others are sent. */
void harness_send(struct harness_connection *c, const void *data, size_t size);
/** FIN at once, behind what was pulled. */
void harness_close(struct harness_connection *c);
/** RST. */
void harness_abort(struct harness_connection *c);
/** Take `more` further bytes of what was left. */
void harness_take_more(struct harness_connection *c, size_t more);

/** As send(2): bytes are copied and follow those written before. */
void harness_write(struct harness_connection *c, const void *data, size_t size);
/** As shutdown(2) with SHUT_WR: FIN behind all that was written. */
void harness_shutdown(struct harness_connection *c);
/** From now on bytes stay in the stack, and fill its window, until harness_recv asks for them. */
void harness_hold(struct harness_connection *c);
/**
 * As recv(2) that does not wait.
 * @return bytes; 0: the peer's end; -EAGAIN: nothing there; -ECONNRESET: gone without the end
 */
ssize_t harness_recv(struct harness_connection *c, void *to, size_t size);
/** @param[out] out state, RTT, RTO, windows, MSS, options; as of now */
void harness_information(const struct harness_connection *c, struct tcp_information *out);

/** Feed an Ethernet frame. */
void harness_feed_frame(struct harness *h, const void *data, size_t size);
/** Take the next frame that it sends. @param to 2,048 bytes @return size, 0: nothing */
size_t harness_take_frame(struct harness *h, uint8_t *to);
/** Feed one raw IP packet, in a frame from the peer. */
void harness_feed(struct harness *h, const void *packet, size_t size);
/** Take the next raw IP packet; answers ARP and ND on the way. @param to 2,048 bytes @return size,
 * 0: nothing */
size_t harness_take(struct harness *h, uint8_t *to);
/** Let time pass, running timers when they are due. */
void harness_advance(struct harness *h, uint64_t us);

/** A TCP segment of a script, from the peer to the stack; what is not given is 0, or absent. */
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
