/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * TCP of one worker (RFC 9293). Sans-I/O: segments come in through dataplane/net, time through
 * struct mr_now, and segments go out through dataplane/net's frames. No locks, no allocation after
 * creation.
 *
 * The application side is a set of callbacks and pulls (DESIGN.md, decision 3): received bytes are
 * handed to on_receive, which says how many it took; when the window has room on_send_room asks for
 * more bytes, so that encryption happens late and little waits in memory.
 *
 * Callbacks run inside net_stack_input, net_stack_timers or a tcp_* call; they may call any tcp_*
 * function, also tcp_abort on their own connection.
 */
#ifndef MILLRACE_DATAPLANE_TCP_TCP_H
#define MILLRACE_DATAPLANE_TCP_TCP_H

#include "dataplane/net/address.h"
#include "drivers/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct net_stack;

/** Names a connection of one stack; 0 names none. Carries a generation, so a stale one is noticed.
 */
typedef uint64_t tcp_handle;

enum tcp_close_reason {
	TCP_CLOSED,	 /**< both sides finished in order */
	TCP_RESET,	 /**< by the peer */
	TCP_REFUSED,	 /**< RST in answer to our SYN */
	TCP_TIMED_OUT,	 /**< retransmissions or the user timeout ran out */
	TCP_UNREACHABLE, /**< hard ICMP error in SYN-SENT (RFC 5461), or no route, or no answer to
			    ARP/ND */
	TCP_ABORTED,	 /**< by us */
	TCP_NO_MEMORY,
};
const char *tcp_close_reason_name(enum tcp_close_reason reason);

struct tcp_callbacks {
	/** Active open: established. @param user as given to tcp_connect */
	void (*on_connected)(void *user, tcp_handle connection);
	/**
	 * In-order bytes. They are in a received frame or a queue of the stack and go away
	 * afterwards.
	 * @return how many were taken; the rest is kept, the window shrinks, and they are offered
	 * again with tcp_resume_receive or when more arrives
	 */
	size_t (*on_receive)(void *user, tcp_handle connection, const uint8_t *data, size_t size);
	/** The peer sent FIN and everything before it was taken. */
	void (*on_end)(void *user, tcp_handle connection);
	/** `room` more bytes may be queued with tcp_send (asked after tcp_want_send, as the window
	 * allows). */
	void (*on_send_room)(void *user, tcp_handle connection, size_t room);
	/** The last call for this connection. The handle is stale afterwards. */
	void (*on_closed)(void *user, tcp_handle connection, enum tcp_close_reason reason);
};

/** Passive open: asked when the handshake is complete. */
struct tcp_listen_callbacks {
	/**
	 * @param user_out what the connection's callbacks get
	 * @param callbacks_out must stay valid
	 * @return false refuses: the peer gets RST
	 */
	bool (*on_accept)(void *listener_user, tcp_handle connection, void **user_out,
			  const struct tcp_callbacks **callbacks_out);
};

/**
 * Open a connection. The local port is chosen so that the connection's owner is this worker
 * (DESIGN.md, decision 1).
 * @param syn_timeout_us give up the handshake after this long
 * @return 0 with *connection set (callbacks come later, never from within), -ENETUNREACH no route,
 * -EADDRNOTAVAIL local address unknown or no port left, -ENOBUFS table full
 */
int tcp_connect(struct net_stack *stack, const struct ip_address *local,
		const struct ip_address *remote, uint16_t remote_port, uint64_t syn_timeout_us,
		const struct tcp_callbacks *callbacks, void *user, const struct mr_now *now,
		tcp_handle *connection);

/**
 * @param address a local address, or unspecified for all of them
 * @return 0, -EADDRINUSE, -ENOBUFS
 */
int tcp_listen(struct net_stack *stack, const struct ip_address *address, uint16_t port,
	       const struct tcp_listen_callbacks *callbacks, void *listener_user);
/** Stop accepting; connections live on. @return 0 or -ENOENT */
int tcp_unlisten(struct net_stack *stack, const struct ip_address *address, uint16_t port);

/** Ask for on_send_room as soon as the window allows (also at once, from the next output). */
void tcp_want_send(struct net_stack *stack, tcp_handle connection);
/** Queue bytes (copied). May exceed the room by one TLS record. @return 0, -ENOBUFS no chunks,
 * -ENOTCONN */
int tcp_send(struct net_stack *stack, tcp_handle connection, const void *data, size_t size);
/** Bytes queued and not yet acknowledged. */
size_t tcp_unacknowledged(const struct net_stack *stack, tcp_handle connection);
/** Offer again what on_receive left. */
void tcp_resume_receive(struct net_stack *stack, tcp_handle connection, const struct mr_now *now);
/**
 * FIN after what is queued; receiving goes on until the peer's FIN, for five minutes of silence or
 * ten in all. From here on the user timeout also counts while the peer's window is closed.
 * on_closed follows.
 */
void tcp_close(struct net_stack *stack, tcp_handle connection, const struct mr_now *now);
/** RST now; on_closed(TCP_ABORTED) is called before this returns, unless it is called from within
 * on_accept, which has named no callbacks yet. */
void tcp_abort(struct net_stack *stack, tcp_handle connection, const struct mr_now *now);
/** Give up when data stays unacknowledged this long (RFC 9293, 3.8.3; default 5 min). */
void tcp_set_user_timeout(struct net_stack *stack, tcp_handle connection, uint64_t timeout_us);

/** How a connection's share of a path is found. */
enum tcp_congestion_choice {
	TCP_CUBIC, /**< RFC 9438; what every connection begins with */
	TCP_RENO,  /**< RFC 5681 */
	TCP_BBR,   /**< version 3, draft-ietf-ccwg-bbr; its state is from a pool */
};
/**
 * Choose the congestion control, before or after the handshake; the windows stay as they are.
 * @return 0, -ENOTCONN, -EINVAL no such algorithm, -ENOBUFS its pool is empty (CUBIC it is)
 */
int tcp_set_congestion(struct net_stack *stack, tcp_handle connection,
		       enum tcp_congestion_choice choice);

struct tcp_endpoints {
	struct ip_address local;
	struct ip_address remote;
	uint16_t local_port;
	uint16_t remote_port;
};
/** @return 0 or -ENOTCONN */
int tcp_endpoints(const struct net_stack *stack, tcp_handle connection, struct tcp_endpoints *out);

struct tcp_information {
	const char *state;
	uint32_t srtt_us;
	uint32_t rttvar_us;
	uint32_t rto_us;
	uint32_t cwnd_bytes;
	uint32_t ssthresh_bytes;
	uint32_t send_window;
	uint32_t receive_window;
	uint32_t mss;
	uint32_t in_flight_bytes;
	uint32_t retransmitted_segments;
	bool sack;
	bool timestamps;
	uint8_t send_scale;
	uint8_t receive_scale;
};
/** @return 0 or -ENOTCONN */
int tcp_information(const struct net_stack *stack, tcp_handle connection,
		    struct tcp_information *out);

/** What a connection found out about its path. */
struct tcp_measure {
	uint32_t rtt_us;     /**< smoothed; 0: no sample yet */
	uint32_t rtt_min_us; /**< smallest; 0: none yet */
	uint32_t cwnd_bytes;
	uint32_t segments;	/**< sent with data or FIN, each time counted */
	uint32_t retransmitted; /**< of these; and SYNs */
	uint16_t pmtu;		/**< largest packet that it sends */
	bool reordering;	/**< the path was seen to reorder */
	bool ecn;		/**< both sides do ECN (RFC 3168) */
	const char *congestion; /**< name of the congestion control; NULL: nothing was measured */
};
/**
 * Also from inside of on_closed, which is the last that is known of it.
 * @param[out] out all zero on error
 * @return 0 or -ENOTCONN
 */
int tcp_measure(const struct net_stack *stack, tcp_handle connection, struct tcp_measure *out);

#endif
