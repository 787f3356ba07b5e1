/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parties over the stand-in for TCP. */
#include "tests/unit/stream/fake_tcp.h"
#include "tests/unit/stream/party.h"

void party_create(struct party *p, struct net_stack *stack, unsigned end)
{
	static const struct mr_now never;

	party_init(p, stack, fake_tcp_handle(stack, end), end == 0, &never);
	fake_tcp_attach(stack, end, &stream_tcp_callbacks, p->stream);
}
