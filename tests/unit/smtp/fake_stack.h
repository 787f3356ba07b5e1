/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A stand-in for dataplane/tcp under the session table: many connections in one stack, driven by
 * the test. Nothing is lost; callbacks come from the functions below only, and from
 * tcp_resume_receive and tcp_abort, as tcp.h says.
 */
#ifndef MILLRACE_TESTS_UNIT_SMTP_FAKE_STACK_H
#define MILLRACE_TESTS_UNIT_SMTP_FAKE_STACK_H

#include "dataplane/tcp/tcp.h"

#define FAKE_CONNECTIONS 64
#define FAKE_LISTENERS	 8

struct net_stack *fake_stack_create(void);
void fake_stack_destroy(struct net_stack *stack);
/** Listening sockets open now. */
unsigned fake_stack_listeners(const struct net_stack *stack);
/** The next tcp_listen fails. */
void fake_stack_fail_listen(struct net_stack *stack, int status);

/** A client connects. @return its name, or 0 when it was refused or nobody listens */
tcp_handle fake_connect(struct net_stack *stack, const char *client, uint16_t port);
/** The client has read everything so far, and says this. */
void fake_say(struct net_stack *stack, tcp_handle connection, const char *text);
/** The client says it without having read. */
void fake_say_deaf(struct net_stack *stack, tcp_handle connection, const char *text);
/** Let on_send_room be called where it is wanted. */
void fake_room(struct net_stack *stack, tcp_handle connection);
void fake_fin(struct net_stack *stack, tcp_handle connection);
void fake_reset(struct net_stack *stack, tcp_handle connection);
/** What was sent to the client since the last call. Valid until the next. */
const char *fake_heard(struct net_stack *stack, tcp_handle connection);
/** Our FIN was sent. */
bool fake_has_fin(const struct net_stack *stack, tcp_handle connection);
/** The stack has let go of it. */
bool fake_is_gone(const struct net_stack *stack, tcp_handle connection);

#endif
