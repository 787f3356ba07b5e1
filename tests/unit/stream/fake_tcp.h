/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A stand-in for dataplane/tcp under the stream's tests: one connection between two ends in one
 * stack. Nothing is lost or reordered; what matters is kept: callbacks come from fake_tcp_run only,
 * segments have a size, each carries the acknowledgement of what its sender had received when it
 * was sent, and what an application leaves stays queued.
 */
#ifndef MILLRACE_TESTS_UNIT_STREAM_FAKE_TCP_H
#define MILLRACE_TESTS_UNIT_STREAM_FAKE_TCP_H

#include "dataplane/tcp/tcp.h"

/** @param segment_bytes most bytes in a segment @param window_bytes most bytes that wait
 * unacknowledged */
struct net_stack *fake_tcp_create(size_t segment_bytes, size_t window_bytes);
void fake_tcp_destroy(struct net_stack *stack);
/** Handles of the two ends: 0 opens, 1 accepts. */
tcp_handle fake_tcp_handle(const struct net_stack *stack, unsigned end);
void fake_tcp_attach(struct net_stack *stack, unsigned end, const struct tcp_callbacks *callbacks,
		     void *user);
/** Tell end 0 that it is connected. */
void fake_tcp_connect(struct net_stack *stack);
/** Deliver one segment to an end, if there is one, and serve its wishes. @return false when nothing
 * happened */
bool fake_tcp_step(struct net_stack *stack, unsigned end);
/** Step both until nothing moves. */
void fake_tcp_run(struct net_stack *stack);
/** Delivery to an end stops after this many more payload bytes (the wire holds the rest); SIZE_MAX:
 * no limit. */
void fake_tcp_hold(struct net_stack *stack, unsigned end, size_t bytes);
/** The next tcp_send of an end fails with -ENOBUFS. */
void fake_tcp_starve(struct net_stack *stack, unsigned end);
/** Bytes that arrived at an end and were not taken. */
size_t fake_tcp_waiting(const struct net_stack *stack, unsigned end);
/** All payload that an end has sent so far. */
const uint8_t *fake_tcp_sent(const struct net_stack *stack, unsigned end, size_t *size);
/** Largest number of bytes that one tcp_send of an end brought. */
size_t fake_tcp_largest_send(const struct net_stack *stack, unsigned end);
bool fake_tcp_is_closed(const struct net_stack *stack, unsigned end);

#endif
