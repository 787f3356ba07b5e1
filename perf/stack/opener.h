/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Connections opened, accepted, closed by the client and then by the server, in lockstep, so that
 * each step handles one kind of packet and nothing else and its cycles can be told apart.
 */
#ifndef MILLRACE_PERF_STACK_OPENER_H
#define MILLRACE_PERF_STACK_OPENER_H

#include "perf/stack/pair.h"

#define OPENER_BATCH 256u

/* Kind, name. Out and in are counted apart. The client's FIN is counted with the call that asks for
 * it, SYN with tcp_connect, the last ACK with the move to TIME-WAIT. */
#define OPENER_KINDS(X)      \
	X(SYN, "syn")        \
	X(SYN_ACK, "synack") \
	X(ACK, "ack")        \
	X(FIN, "fin")        \
	X(FIN_ACK, "finack") \
	X(LAST_ACK, "lastack")

enum opener_kind {
#define X(name, text) OPENER_##name,
	OPENER_KINDS(X)
#undef X
		OPENER_KIND_COUNT
};

struct opener {
	struct pair *pair;
	uint32_t next; /* number of the next connection */
	uint32_t accepted;
	uint32_t closed; /* of both ends */
	tcp_handle handles[OPENER_BATCH];
	/* Of the last round. */
	struct pair_cost out[OPENER_KIND_COUNT];
	struct pair_cost in[OPENER_KIND_COUNT];
	uint64_t timer_cycles; /* of both ends */
};

struct opener *opener_create(uint64_t seed, bool offload);
void opener_destroy(struct opener *opener);
/** Open and close OPENER_BATCH connections; exits when one of them is missed. */
void opener_round(struct opener *opener);

#endif
