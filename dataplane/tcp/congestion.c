/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The choice of congestion control, what all of them share (RFC 5681, RFC 6928, RFC 7661), and
 * Reno. The windows are bytes.
 */
#include "dataplane/tcp/congestion.h"

#include "dataplane/tcp/internal.h"

#include <errno.h>
#include <string.h>

static const struct tcp_congestion *const algorithms[] = {
	[TCP_CUBIC] = &congestion_cubic,
	[TCP_RENO] = &congestion_reno,
	[TCP_BBR] = &congestion_bbr,
};
#define ALGORITHMS (sizeof(algorithms) / sizeof(algorithms[0]))

const struct tcp_congestion *congestion_of(const struct tcb *tcb)
{
	return algorithms[tcb->congestion];
}

uint32_t congestion_initial_window(const struct tcb *tcb)
{
	uint32_t two = 2u * tcb->mss;
	uint32_t most = two > 14600 ? two : 14600;

	/* RFC 6928, 2: min (10*MSS, max (2*MSS, 14600)) */
	return 10u * tcb->mss < most ? 10u * tcb->mss : most;
}

static void choose(struct net_stack *stack, struct tcb *tcb, enum tcp_congestion_choice choice)
{
	tcb->congestion = (uint8_t)choice;
	if (tcb->flight != 0) /* what another algorithm has remembered means nothing to this one */
		tcb_flight(stack->tcp, tcb)->prior_cwnd = 0;
	memset(tcb->congestion_state, 0, sizeof(tcb->congestion_state));
	if (algorithms[choice]->init(stack, tcb) == 0)
		return;
	stack->counters.tcp_congestion_fallback++;
	tcb->congestion = TCP_CUBIC; /* which needs no pool */
	memset(tcb->congestion_state, 0, sizeof(tcb->congestion_state));
	algorithms[TCP_CUBIC]->init(stack, tcb);
}

void congestion_init(struct net_stack *stack, struct tcb *tcb)
{
	congestion_release(stack, tcb);
	tcb->cwnd = congestion_initial_window(tcb);
	tcb->ssthresh = SSTHRESH_NONE;
	choose(stack, tcb, tcb->congestion);
}

void congestion_release(struct net_stack *stack, struct tcb *tcb)
{
	if (congestion_of(tcb)->release != NULL)
		congestion_of(tcb)->release(stack, tcb);
}

uint32_t congestion_reduce(struct net_stack *stack, struct tcb *tcb, enum congestion_event event)
{
	uint32_t ssthresh = congestion_of(tcb)->reduce(stack, tcb, event);

	return ssthresh > 2u * tcb->mss ? ssthresh : 2u * tcb->mss; /* RFC 5681, equation 4 */
}

uint32_t congestion_slow_start(struct tcb *tcb, uint32_t acked)
{
	uint32_t room = tcb->ssthresh > tcb->cwnd ? tcb->ssthresh - tcb->cwnd : 0;
	uint32_t step = acked < room ? acked : room;

	tcb->cwnd += step;
	return acked - step;
}

void congestion_restart(struct net_stack *stack, struct tcb *tcb, uint32_t idle_us)
{
	uint32_t first = congestion_initial_window(tcb);

	/* After a pause the window is not what the path was seen to bear; ssthresh keeps the memory
	 * of it (RFC 2861, 3.1). */
	if (tcb->cwnd > first && !congestion_of(tcb)->own_recovery) {
		if (tcb->ssthresh < tcb->cwnd / 4 * 3)
			tcb->ssthresh = tcb->cwnd / 4 * 3;
		tcb->cwnd = first;
	}
	congestion_of(tcb)->restart(stack, tcb, idle_us);
}

int tcp_set_congestion(struct net_stack *stack, tcp_handle connection,
		       enum tcp_congestion_choice choice)
{
	struct tcb *tcb = tcb_of(stack, connection);

	if (tcb == NULL)
		return -ENOTCONN;
	if ((unsigned)choice >= ALGORITHMS)
		return -EINVAL;
	if (tcb->congestion == choice)
		return 0;
	congestion_release(stack, tcb);
	choose(stack, tcb, choice);
	return tcb->congestion == choice ? 0 : -ENOBUFS;
}

/* --- Reno: RFC 5681, counting bytes (RFC 3465) --- */
static int reno_init(struct net_stack *stack, struct tcb *tcb)
{
	return 0;
}

static uint32_t reno_reduce(struct net_stack *stack, struct tcb *tcb, enum congestion_event event)
{
	return tcb->cwnd / 2;
}

static void reno_on_ack(struct net_stack *stack, struct tcb *tcb,
			const struct congestion_news *news)
{
	uint32_t acked, count;

	if (!news->may_grow || !news->limited || tcb->cwnd >= CWND_MAX)
		return;
	acked = congestion_slow_start(tcb, news->acked);
	memcpy(&count, tcb->congestion_state, sizeof(count));
	count += acked;
	if (acked > 0 && count >= tcb->cwnd) {
		count -= tcb->cwnd;
		tcb->cwnd += tcb->mss;
	}
	memcpy(tcb->congestion_state, &count, sizeof(count));
}

static void reno_restart(struct net_stack *stack, struct tcb *tcb, uint32_t idle_us)
{
}

const struct tcp_congestion congestion_reno = {
	.name = "reno",
	.init = reno_init,
	.reduce = reno_reduce,
	.on_ack = reno_on_ack,
	.restart = reno_restart,
};
