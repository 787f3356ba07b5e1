/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Round-trip time and retransmission timeout (RFC 6298). */
#include "dataplane/tcp/internal.h"

void rtt_sample(struct tcb *tcb, uint32_t rtt_us)
{
	if (rtt_us == 0)
		rtt_us = 1;
	if (tcb->srtt_us == 0) { /* (2.2) */
		tcb->srtt_us = rtt_us;
		tcb->rttvar_us = rtt_us / 2;
	} else { /* (2.3): beta 1/4, alpha 1/8 */
		uint32_t error =
			tcb->srtt_us > rtt_us ? tcb->srtt_us - rtt_us : rtt_us - tcb->srtt_us;

		tcb->rttvar_us = tcb->rttvar_us - tcb->rttvar_us / 4 + error / 4;
		tcb->srtt_us = tcb->srtt_us - tcb->srtt_us / 8 + rtt_us / 8;
		if (tcb->srtt_us == 0)
			tcb->srtt_us = 1;
	}
	if (tcb->min_rtt_us == 0 || rtt_us < tcb->min_rtt_us)
		tcb->min_rtt_us = rtt_us;
}

uint32_t rtt_timeout_us(const struct tcb *tcb)
{
	uint64_t rto = tcb->rttvar_us != 0 ? tcb->rttvar_us : TCP_RTO_INITIAL_US;

	if (tcb->srtt_us != 0) {
		/* The variance term is never below the minimum: a delayed ACK must not fire it. */
		uint64_t spread = (uint64_t)tcb->rttvar_us * 4;

		rto = tcb->srtt_us + (spread > TCP_RTO_MIN_US ? spread : TCP_RTO_MIN_US);
	}
	rto <<= tcb->backoff < 10 ? tcb->backoff : 10; /* (5.5) */
	return rto > TCP_RTO_MAX_US ? TCP_RTO_MAX_US : (uint32_t)rto;
}
