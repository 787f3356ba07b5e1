/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What must always be true of a stack's TCP (dataplane/tcp/tcb.h says it in words). Asserts; looks
 * at everything. */
#ifndef MILLRACE_TESTS_SIM_TCP_CHECK_H
#define MILLRACE_TESTS_SIM_TCP_CHECK_H

struct net_stack;

void tcp_check(const struct net_stack *stack);

#endif
