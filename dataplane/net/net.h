/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One worker's network stack: Ethernet, VLAN, ARP, ND, IPv4, IPv6, ICMP, and TCP above
 * (dataplane/tcp/tcp.h). Frames go in by net_stack_input and come out by net_stack_output; it never
 * touches a device.
 *
 * Share nothing: each worker has a stack of its own, with its own neighbour table. Every stack
 * knows all local addresses. A TCP segment belongs to the worker that net_owner names; a segment of
 * somebody else's, an ARP or ND reply that others wait for, and an ICMP error about somebody else's
 * connection leave through `hand_off`.
 */
#ifndef MILLRACE_DATAPLANE_NET_NET_H
#define MILLRACE_DATAPLANE_NET_NET_H

#include "dataplane/buf/chunk.h"
#include "dataplane/buf/frame.h"
#include "dataplane/view.h"
#include "drivers/clock.h"
#include "drivers/random.h"

#include <stdbool.h>
#include <stdint.h>

#define NET_PORTS_MAX 8

struct net_stack;

/** Offloads that a port offers for transmission. */
struct net_port_offloads {
	bool tx_ip_checksum;
	bool tx_tcp_checksum;
	bool tx_segmentation;  /**< large IPv4 segments of TCP, which the port cuts */
	bool tx_segmentation6; /**< IPv6 */
};

struct net_stack_settings {
	uint16_t worker;       /**< this one */
	uint16_t worker_count; /**< how many share the connections; a power of two is not needed */
	uint32_t connections;  /**< size of the connection table */
	uint32_t time_wait;    /**< size of the TIME_WAIT table */
	uint32_t neighbours;   /**< size of the neighbour table; 0: 256 */
	/** connections that may have data in flight at once; 0: a quarter, at least 65,536 */
	uint32_t flights;
	uint32_t receive_window; /**< bytes a TCP connection offers; 0: 65,536 */
	uint32_t keepalive_s;	 /**< silence before TCP asks the peer; 0: never; at most 30,000 */
	bool ecn;		 /**< offer ECN on connections that we open (RFC 3168) */
	/** segments leave as the windows allow, not spaced in time: for scripts that watch windows
	 */
	bool unpaced;
	struct frame_pool *frames;
	struct chunk_pool *chunks; /**< send queues and what on_receive left */
	struct mr_random *random;
	struct net_port_offloads offloads[NET_PORTS_MAX];
	/**
	 * A frame for another worker: the callee takes it over. NULL when worker_count is 1.
	 * @param worker its owner, or UINT16_MAX: every other worker is to see it (the callee
	 * copies, and the frame stays the caller's)
	 */
	void (*hand_off)(void *context, uint16_t worker, struct frame *frame);
	void *hand_off_context;
};

/** @return NULL when memory is short */
struct net_stack *net_stack_create(const struct net_stack_settings *settings,
				   const struct mr_now *now);
void net_stack_destroy(struct net_stack *stack);

/**
 * Adopt addresses, routes and ports of a view, which must outlive the stack or the next call.
 * Connections from an address that is gone are aborted.
 * @return 0, -ENOBUFS when the view has more than the stack's tables hold
 */
int net_stack_configure(struct net_stack *stack, const struct view *view, const struct mr_now *now);

/** Take received frames (own ones and handed-over ones); all are given back to their pool before it
 * returns. */
void net_stack_input(struct net_stack *stack, struct frame **frames, unsigned count,
		     const struct mr_now *now);
/** A frame that another worker handed over. As net_stack_input, but it never hands off again. */
void net_stack_input_handed(struct net_stack *stack, struct frame **frames, unsigned count,
			    const struct mr_now *now);
/** Run timers that are due, at most `budget` of them. @return how many ran */
unsigned net_stack_timers(struct net_stack *stack, const struct mr_now *now, unsigned budget);
/** When net_stack_timers next has something to do, monotonic; MR_NEVER: nothing pending. */
uint64_t net_stack_next_timer(const struct net_stack *stack);
/**
 * Let connections with something to send send it, then take frames to transmit.
 * @param now the turn's time
 * @return number put into frames[], which the caller owns; at most max
 */
unsigned net_stack_output(struct net_stack *stack, uint16_t port, struct frame **frames,
			  unsigned max, const struct mr_now *now);

/**
 * The worker that owns an IPv4 connection, from any core: f(local port XOR remote port).
 * @return 0..worker_count-1
 */
uint16_t net_owner(uint16_t local_port, uint16_t remote_port, uint16_t worker_count);
/** What an IPv6 remote address adds to the ports' XOR: 0..127; 0 for IPv4. */
uint16_t net_owner_term(const struct ip_address *remote);
/** The worker that owns a connection of either family. @return 0..worker_count-1 */
uint16_t net_owner_of(const struct ip_address *remote, uint16_t local_port, uint16_t remote_port,
		      uint16_t worker_count);

/** The remote port of connections for which a port can have masked rules. */
#define NET_STEERED_PORT 25
/** Where TCP frames of one port (without IP options) came in: at their owner's queue, or at
 * another's (and went through the hand-off ring). The self check of steering. */
struct net_arrivals {
	uint64_t home;
	uint64_t elsewhere;
	/* Of these, IPv4 from NET_STEERED_PORT: what rules steer (IPv6 where the card can). */
	uint64_t ruled_home;
	uint64_t ruled_elsewhere;
};
/** Counted when there are several workers; read by anyone. */
const struct net_arrivals *net_stack_arrivals(const struct net_stack *stack, uint16_t port);

/* Every drop and every notable event, counted (X-macro: name, text). */
#define NET_COUNTERS(X)                                                   \
	X(rx_frames, "frames received")                                   \
	X(tx_frames, "frames transmitted")                                \
	X(rx_bytes, "bytes received")                                     \
	X(tx_bytes, "bytes transmitted")                                  \
	X(drop_short, "frame shorter than its headers")                   \
	X(drop_ethertype, "ethertype not handled")                        \
	X(drop_vlan, "VLAN not configured")                               \
	X(drop_not_local, "destination address not ours")                 \
	X(drop_ip_header, "malformed IP header")                          \
	X(drop_ip_checksum, "IPv4 header checksum wrong")                 \
	X(drop_fragment, "IP fragment without its rest, or not of TCP")   \
	X(reassembled, "segments put together from IP fragments")         \
	X(drop_ip_options, "IP options or extension headers not handled") \
	X(drop_protocol, "IP protocol not handled")                       \
	X(drop_source, "source address not possible")                     \
	X(drop_no_route, "no route")                                      \
	X(drop_neighbour_full, "neighbour table full")                    \
	X(drop_neighbour_failed, "neighbour did not answer")              \
	X(drop_no_frame, "no frame to send with")                         \
	X(arp_in, "ARP packets received")                                 \
	X(nd_in, "ND packets received")                                   \
	X(link_rate_limited, "ARP and ND not answered: over the limit")   \
	X(icmp_in, "ICMP packets received")                               \
	X(icmp_echo, "ICMP echo requests answered")                       \
	X(icmp_rate_limited, "ICMP not sent: over the rate limit")        \
	X(icmp_error_ignored, "ICMP errors ignored (RFC 5927)")           \
	X(icmp_other, "ICMP messages of other types, or to groups")       \
	X(handed_off, "frames handed to their owner by ring")             \
	X(handed_in, "frames taken from the hand-off ring")               \
	X(arrived_home, "TCP frames at their owner's queue")              \
	X(arrived_elsewhere, "TCP frames at another worker's queue")      \
	X(tcp_in, "TCP segments received")                                \
	X(tcp_out, "TCP segments sent")                                   \
	X(tcp_drop_checksum, "TCP checksum wrong")                        \
	X(tcp_drop_header, "malformed TCP header or options")             \
	X(tcp_drop_window, "segment outside the window")                  \
	X(tcp_drop_paws, "old timestamp (RFC 7323)")                      \
	X(tcp_drop_state, "segment that says nothing in its state")       \
	X(tcp_drop_no_listener, "segment to a closed port")               \
	X(tcp_drop_table_full, "connection table full")                   \
	X(tcp_cookie_sent, "SYN cookies sent: backlog full (RFC 4987)")   \
	X(tcp_cookie_accepted, "connections opened by SYN cookies")       \
	X(tcp_cookie_failed, "ACKs that held no valid SYN cookie")        \
	X(tcp_drop_reassembly, "out-of-order data over the limit")        \
	X(tcp_drop_no_chunk, "no chunk for received data")                \
	X(tcp_congestion_fallback, "CUBIC: no memory for the one chosen") \
	X(tcp_spurious, "reductions of a window taken back")              \
	X(tcp_no_destination, "destination not remembered: none free")    \
	X(tcp_destination_wait, "bursts held back for a destination")     \
	X(tcp_no_flight, "not sent: no flight record left")               \
	X(tcp_ecn_ce, "data marked CE by the path (RFC 3168)")            \
	X(tcp_ecn_ece, "windows reduced: the peer echoed CE")             \
	X(tcp_ecn_fallback, "ECN given up: SYN not answered")             \
	X(tcp_ecn_mangled, "ECN given up: ECE did not end")               \
	X(tcp_ecn_not_capable, "data of an ECN peer without ECT")         \
	X(tcp_ptb, "path MTU reports followed (RFC 1191, RFC 8201)")      \
	X(tcp_ptb_deferred, "path MTU reports kept until a timeout")      \
	X(tcp_black_hole, "black holes for large packets (RFC 4821)")     \
	X(tcp_mtu_probe, "probes for a larger path MTU")                  \
	X(tcp_mtu_probe_lost, "of these, lost")                           \
	X(tcp_mtu_raised, "path MTU raised by a probe")                   \
	X(tcp_rst_sent, "RST sent")                                       \
	X(tcp_rst_rate_limited, "RST not sent: over the rate limit")      \
	X(tcp_rst_received, "connections reset by the peer")              \
	X(tcp_challenge_ack, "challenge ACKs sent (RFC 5961)")            \
	X(tcp_answer_limited, "not answered: over the limit")             \
	X(tcp_accepted, "connections accepted")                           \
	X(tcp_connected, "connections opened")                            \
	X(tcp_connect_failed, "connections that could not be opened")     \
	X(tcp_retransmitted, "segments retransmitted")                    \
	X(tcp_rto, "retransmission timeouts")                             \
	X(tcp_fast_recovery, "fast recoveries entered")                   \
	X(tcp_tail_probe, "tail loss probes")                             \
	X(tcp_dsack, "D-SACKs received")                                  \
	X(tcp_board_steps, "steps of searches for SACKed and lost data")  \
	X(tcp_out_of_order, "segments out of order")                      \
	X(tcp_zero_window_probe, "zero-window probes sent")               \
	X(tcp_keepalive, "keepalive probes sent")                         \
	X(tcp_ooo_reclaimed, "out-of-order chunks given up")              \
	X(tcp_timed_out, "connections given up")                          \
	X(tcp_time_wait, "connections that entered TIME-WAIT")

struct net_counters {
#define X(name, text) uint64_t name;
	NET_COUNTERS(X)
#undef X
};
const struct net_counters *net_stack_counters(const struct net_stack *stack);
/** Connections now, by role and in total. */
struct net_gauges {
	uint32_t connections;
	uint32_t half_open; /**< opened by peers, handshake not complete */
	uint32_t time_wait;
	uint32_t neighbours;
};
void net_stack_gauges(const struct net_stack *stack, struct net_gauges *out);

#endif
