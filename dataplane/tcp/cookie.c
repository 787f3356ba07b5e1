/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * SYN cookies (RFC 4987, 3.6): when the backlog is full a SYN is answered without a TCB, and the
 * initial sequence number holds what is needed to make one when its acknowledgement comes.
 *
 * The number is 1 bit of the secret's period, 3 bits of segment size and 28 bits of a keyed hash
 * over the tuple, the peer's number, these 4 bits and the options. The options (window scale,
 * SACK, ECN) are in the low 6 bits of our timestamp, which the peer echoes; without timestamps
 * there are none. A secret serves for 64 seconds and is believed for as long again.
 *
 * Owner: one worker. Always true: secrets[period & 1] is the current one.
 */
#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/table.h"

#define PERIOD_US    (64u * 1000000u)
#define HASH_MASK    0x0fffffffu
#define SCALE_NONE   15u
#define OPTION_SACK  16u
#define OPTION_ECN   32u
#define OPTIONS_MASK 63u

/* Sizes that are met with; the next smaller one is taken. */
static const uint16_t sizes[8] = {TCP_MSS_FLOOR, 536, 1220, 1360, 1400, 1440, 1460, 8940};

static void rotate(struct net_stack *stack)
{
	struct cookie_secrets *c = &stack->tcp->cookies;
	uint64_t period = stack->now_us / PERIOD_US;

	if (c->period == period && c->made)
		return;
	/* After a pause the old secret is too old as well. */
	if (!c->made || c->period + 1 != period)
		random_bytes(stack->settings.random, &c->secrets[(period + 1) & 1],
			     sizeof(c->secrets[0]));
	random_bytes(stack->settings.random, &c->secrets[period & 1], sizeof(c->secrets[0]));
	c->period = period;
	c->made = true;
}

static uint32_t cookie(const struct tcp_layer *layer, const struct tcb *tcb, uint32_t peer_seq,
		       uint32_t head, uint32_t options)
{
	const struct hash_key *secret = &layer->cookies.secrets[head >> 3];
	uint64_t words[2] = {
		tcp_tuple_hash(secret, &tcb->local, tcb->local_port, &tcb->remote,
			       tcb->remote_port),
		(uint64_t)peer_seq << 32 | options << 8 | head,
	};

	return head << 28 | ((uint32_t)hash_words(secret, words, 2) & HASH_MASK);
}

static uint32_t size_index(uint16_t mss)
{
	uint32_t i = sizeof(sizes) / sizeof(sizes[0]) - 1;

	while (i > 0 && sizes[i] > mss)
		i--;
	return i;
}

static uint32_t pack_options(const struct tcb *tcb)
{
	uint32_t options = (tcb->flags & TCB_LIMITED_WINDOW) != 0 ? SCALE_NONE : tcb->send_scale;

	if ((tcb->flags & TCB_TIMESTAMPS) == 0)
		return SCALE_NONE;
	options |= (tcb->flags & TCB_SACK) != 0 ? OPTION_SACK : 0;
	options |= (tcb->flags & TCB_ECN) != 0 ? OPTION_ECN : 0;
	return options;
}

/* The latest time not after now that ends in these bits. */
static uint32_t stamp(uint32_t now, uint32_t options)
{
	uint32_t value = (now & ~OPTIONS_MASK) | options;

	return seq_lt(now, value) ? value - OPTIONS_MASK - 1 : value;
}

void tcp_cookie_answer(struct net_stack *stack, const struct net_packet *packet,
		       const struct tcp_segment *s, struct tcb *tcb)
{
	uint32_t head, options;

	rotate(stack);
	if ((tcb->flags & TCB_TIMESTAMPS) == 0) {
		tcb->flags &= ~(uint32_t)(TCB_SACK | TCB_ECN);
		tcb->flags |= TCB_LIMITED_WINDOW;
		tcb->receive_scale = 0;
	}
	options = pack_options(tcb);
	head = (uint32_t)(stack->tcp->cookies.period & 1) << 3 | size_index(tcb->peer_mss);
	tcb->snd_una = cookie(stack->tcp, tcb, s->seq, head, options);
	tcp_reply_syn_ack(stack, packet, s, tcb, stamp(now_ms(stack) + tcb->ts_offset, options));
	stack->tcp->cookies.sent_us = stack->now_us;
	stack->tcp->cookies.used = true;
	stack->counters.tcp_cookie_sent++;
}

bool tcp_cookie_check(struct net_stack *stack, const struct net_packet *packet,
		      const struct tcp_segment *s, struct tcp_segment *syn)
{
	const struct cookie_secrets *c = &stack->tcp->cookies;
	struct tcb tuple = {
		.local = packet->destination,
		.local_port = s->destination_port,
		.remote = packet->source,
		.remote_port = s->source_port,
	};
	uint32_t head = (s->ack - 1) >> 28;
	uint32_t options = s->has_timestamp ? s->ts_ecr & OPTIONS_MASK : SCALE_NONE;

	if (!c->used || stack->now_us - c->sent_us > 2 * (uint64_t)PERIOD_US)
		return false;
	rotate(stack);
	if (cookie(stack->tcp, &tuple, s->seq - 1, head, options) != s->ack - 1) {
		stack->counters.tcp_cookie_failed++;
		return false;
	}
	*syn = (struct tcp_segment){
		.source_port = s->source_port,
		.destination_port = s->destination_port,
		.seq = s->seq - 1,
		.flags = TCP_SYN,
		.window = s->window,
		.mss = sizes[head & 7],
		.has_scale = (options & 15) != SCALE_NONE,
		.scale = (options & 15) != SCALE_NONE ? options & 15 : 0,
		.has_timestamp = s->has_timestamp,
		.sack_permitted = (options & OPTION_SACK) != 0,
		.ts_val = s->ts_val,
	};
	if ((options & OPTION_ECN) != 0)
		syn->flags |= TCP_ECE | TCP_CWR;
	stack->counters.tcp_cookie_accepted++;
	return true;
}
