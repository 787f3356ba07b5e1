/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Building segments (RFC 9293, 3.1): header, options, data, checksum. What is sent, and when, is
 * decided in transmit.c.
 */
#include "dataplane/net/checksum.h"
#include "dataplane/net/wire.h"
#include "dataplane/tcp/internal.h"

#include <errno.h>

#define OPTIONS_MAX 40u

int tcp_path(struct net_stack *stack, struct tcb *tcb, struct net_path *path)
{
	const struct neighbour *n = &stack->neighbours.entries[tcb->path_neighbour];
	int rc;

	if (tcb->path_epoch != n->epoch) {
		rc = net_path_find(stack, &tcb->local, &tcb->remote, path);
		if (rc != 0)
			return rc;
		tcb->path_neighbour = path->neighbour;
		tcb->path_epoch = path->epoch;
		return 0;
	}
	*path = (struct net_path){
		.neighbour = tcb->path_neighbour,
		.epoch = tcb->path_epoch,
		.port = n->port,
		.mtu = stack->ports[n->port].mtu,
	};
	if (n->state == NEIGHBOUR_FAILED && n->confirmed_us != 0 &&
	    n->confirmed_us + NEIGHBOUR_HOLD_US > stack->now_us)
		return -EHOSTUNREACH;
	return 0;
}

static unsigned put_timestamp(uint8_t *p, uint32_t value, uint32_t echo)
{
	p[0] = TCP_OPTION_NOP;
	p[1] = TCP_OPTION_NOP;
	p[2] = TCP_OPTION_TIMESTAMP;
	p[3] = 10;
	store32(p + 4, value);
	store32(p + 8, echo);
	return 12;
}

static unsigned put_syn_options(struct net_stack *stack, const struct tcb *tcb, uint32_t ts_val,
				uint8_t *p)
{
	unsigned n = 4;

	p[0] = TCP_OPTION_MSS; /* SHLD-5 */
	p[1] = 4;
	store16(p + 2, tcp_own_mss(stack, tcb));
	if ((tcb->flags & TCB_SACK) != 0 && (tcb->flags & TCB_TIMESTAMPS) != 0) {
		p[4] = TCP_OPTION_SACK_OK; /* in the place of the two NOPs */
		p[5] = 2;
		put_timestamp(p + 4, ts_val, tcb->ts_recent);
		p[4] = TCP_OPTION_SACK_OK;
		p[5] = 2;
		n += 12;
	} else if ((tcb->flags & TCB_TIMESTAMPS) != 0) {
		n += put_timestamp(p + n, ts_val, tcb->ts_recent);
	} else if ((tcb->flags & TCB_SACK) != 0) {
		p[n] = TCP_OPTION_NOP;
		p[n + 1] = TCP_OPTION_NOP;
		p[n + 2] = TCP_OPTION_SACK_OK;
		p[n + 3] = 2;
		n += 4;
	}
	if ((tcb->flags & TCB_LIMITED_WINDOW) == 0) {
		p[n] = TCP_OPTION_NOP;
		p[n + 1] = TCP_OPTION_SCALE;
		p[n + 2] = 3;
		p[n + 3] = tcb->receive_scale;
		n += 4;
	}
	return n;
}

/* @param room bytes that options may take beside the data */
static unsigned put_options(struct net_stack *stack, struct tcb *tcb, uint8_t *p, unsigned room)
{
	uint32_t blocks[4][2];
	unsigned n = 0, count;

	if ((tcb->flags & TCB_TIMESTAMPS) != 0)
		n += put_timestamp(p, now_ms(stack) + tcb->ts_offset, tcb->ts_recent);
	if ((tcb->flags & TCB_SACK) == 0 || room < n + 12)
		return n;
	count = tcp_sack_blocks(stack->tcp, tcb, blocks, (room - n - 4) / 8);
	if (count == 0)
		return n;
	p[n] = TCP_OPTION_NOP;
	p[n + 1] = TCP_OPTION_NOP;
	p[n + 2] = TCP_OPTION_SACK;
	p[n + 3] = (uint8_t)(2 + 8 * count);
	n += 4;
	for (unsigned i = 0; i < count; i++, n += 8) {
		store32(p + n, blocks[i][0]);
		store32(p + n + 4, blocks[i][1]);
	}
	tcb->flags &= ~(uint32_t)TCB_DSACK_DUE;
	return n;
}

/* The window to show; its right edge never moves back (RFC 9293, SHLD-14). */
static uint16_t window_field(const struct tcp_layer *layer, struct tcb *tcb, bool syn)
{
	uint32_t edge = tcb->rcv_nxt + tcb_receive_room(layer, tcb);
	unsigned scale = syn ? 0 : tcb->receive_scale;
	uint32_t window, field;

	if (seq_lt(edge, tcb->rcv_adv))
		edge = tcb->rcv_adv;
	window = edge - tcb->rcv_nxt;
	field = window >> scale;
	if (field > 65535)
		field = 65535;
	/* Rounding down must not take back what was shown; what comes beyond rcv_adv then is not
	 * taken. */
	if (field < 65535 && seq_lt(tcb->rcv_nxt + (field << scale), tcb->rcv_adv))
		return (uint16_t)(field + 1);
	if (seq_lt(tcb->rcv_adv, tcb->rcv_nxt + (field << scale)))
		tcb->rcv_adv = tcb->rcv_nxt + (field << scale);
	return (uint16_t)field;
}

static void finish_checksum(struct net_stack *stack, struct frame *frame,
			    const struct ip_address *local, const struct ip_address *remote,
			    uint8_t *p, unsigned length, uint64_t sum)
{
	/* A port that cuts adds each segment's own length. */
	unsigned counted = frame->tso_size > 0 ? 0 : length;
	uint64_t pseudo = checksum_pseudo(local, remote, PROTOCOL_TCP, counted);

	if (stack->settings.offloads[frame->port].tx_tcp_checksum) {
		uint16_t folded = checksum_fold(pseudo);

		memcpy(p + 16, &folded, 2);
		frame->flags |= FRAME_TX_TCP_CHECKSUM;
		return;
	}
	checksum_store(p + 16, checksum_add(sum, &(uint64_t){checksum_fold(pseudo)}, 8));
}

static void put_header(uint8_t *p, uint16_t source, uint16_t destination, uint32_t seq,
		       uint32_t ack, unsigned header, uint8_t flags, uint16_t window)
{
	store16(p, source);
	store16(p + 2, destination);
	store32(p + 4, seq);
	store32(p + 8, ack);
	p[12] = (uint8_t)(header / 4 << 4);
	p[13] = flags;
	store16(p + 14, window);
	store32(p + 16, 0);
}

static void after_emit(struct net_stack *stack, struct tcb *tcb, uint8_t flags)
{
	stack->counters.tcp_out++;
	if ((flags & TCP_ACK) == 0)
		return;
	tcb->last_ack_sent = tcb->rcv_nxt;
	tcb->flags &= ~(uint32_t)(TCB_ACK_NOW | TCB_ACK_DELAYED);
	tcb->delack_us = 0;
	flight_rest(stack, tcb); /* a duplicate may have been reported */
}

/* Flattened, with all that it takes from net/: a twentieth of what a segment costs. */
__attribute__((flatten)) bool tcp_emit(struct net_stack *stack, struct tcb *tcb,
				       const struct net_path *path, uint32_t seq, uint32_t length,
				       uint8_t flags)
{
	uint8_t options[OPTIONS_MAX] = {0};
	bool syn = (flags & TCP_SYN) != 0;
	unsigned room = length == 0 ? OPTIONS_MAX : 0;
	unsigned size, header;
	struct frame *frame;
	uint64_t sum = 0;
	bool port_sums;
	uint16_t window;
	uint8_t *p;

	/* SACK blocks ride on data only where the segment is not full. */
	if (length != 0 && length + OPTIONS_MAX <= tcb->mss)
		room = OPTIONS_MAX;
	size = syn ? put_syn_options(stack, tcb, now_ms(stack) + tcb->ts_offset, options)
		   : put_options(stack, tcb, options, room);
	header = TCP_HEADER + size;
	frame = net_frame_begin(stack, path, &tcb->local, &tcb->remote, PROTOCOL_TCP, IP_TTL,
				(uint16_t)(header + length), &p);
	if (frame == NULL)
		return false;
	frame->tso_size = length > tcb->mss && !pmtu_is_probe(stack, tcb, seq) ? tcb->mss : 0;
	window = window_field(stack->tcp, tcb, syn);
	if ((tcb->flags & TCB_ECE_DUE) != 0 && (flags & (TCP_SYN | TCP_RST)) == 0)
		flags |= TCP_ECE;
	put_header(p, tcb->local_port, tcb->remote_port, seq,
		   (flags & TCP_ACK) != 0 ? tcb->rcv_nxt : 0, header, flags, window);
	memcpy(p + TCP_HEADER, options, OPTIONS_MAX); /* every frame has room; data goes over it */
	port_sums = stack->settings.offloads[frame->port].tx_tcp_checksum;
	if (length != 0)
		sum = send_queue_copy(stack, tcb, seq, p + header, length, !port_sums);
	if (!port_sums)
		sum = checksum_add(sum, p, header);
	finish_checksum(stack, frame, &tcb->local, &tcb->remote, p, header + length, sum);
	net_frame_send(stack, path, &tcb->local, frame);
	after_emit(stack, tcb, flags);
	return true;
}

void tcp_emit_ack(struct net_stack *stack, struct tcb *tcb, uint32_t seq, uint8_t flags)
{
	struct net_path path;

	if (tcp_path(stack, tcb, &path) == 0)
		tcp_emit(stack, tcb, &path, seq, 0, flags);
}

/* A segment that no TCB sends; `options` is whole words. */
static void reply(struct net_stack *stack, const struct net_packet *packet,
		  const struct tcp_segment *segment, uint32_t seq, uint32_t ack, uint8_t flags,
		  uint16_t window, const uint8_t *options, unsigned size)
{
	const struct ip_address *local = &packet->destination;
	const struct ip_address *remote = &packet->source;
	struct net_path path;
	struct frame *frame;
	uint8_t *p;

	if (net_path_find(stack, local, remote, &path) != 0) {
		stack->counters.drop_no_route++;
		return;
	}
	frame = net_frame_begin(stack, &path, local, remote, PROTOCOL_TCP, IP_TTL,
				(uint16_t)(TCP_HEADER + size), &p);
	if (frame == NULL)
		return;
	put_header(p, segment->destination_port, segment->source_port, seq, ack, TCP_HEADER + size,
		   flags, window);
	if (size != 0)
		memcpy(p + TCP_HEADER, options, size);
	finish_checksum(stack, frame, local, remote, p, TCP_HEADER + size,
			checksum_add(0, p, TCP_HEADER + size));
	net_frame_send(stack, &path, local, frame);
	stack->counters.tcp_out++;
}

bool tcp_may_answer(struct net_stack *stack, const struct ip_address *remote)
{
	/* An IPv6 host has a /64 to choose addresses from. */
	uint64_t network[2];
	uint64_t hash;

	memcpy(network, remote->bytes, sizeof(network));
	if (!ip_is_v4(remote))
		network[1] = 0;
	hash = hash_words(&stack->tcp->table_key, network, 2);
	return rate_limit_take(&stack->tcp->rst_limits[hash % RST_LIMITS], stack->now_us);
}

void tcp_reply_reset(struct net_stack *stack, const struct net_packet *packet,
		     const struct tcp_segment *segment)
{
	if ((segment->flags & TCP_RST) != 0)
		return;
	if (!tcp_may_answer(stack, &packet->source)) {
		stack->counters.tcp_rst_rate_limited++;
		return;
	}
	stack->counters.tcp_rst_sent++;
	if ((segment->flags & TCP_ACK) != 0)
		reply(stack, packet, segment, segment->ack, 0, TCP_RST, 0, NULL, 0);
	else
		reply(stack, packet, segment, 0, segment->seq + tcp_segment_span(segment),
		      TCP_RST | TCP_ACK, 0, NULL, 0);
}

void tcp_reply_syn_ack(struct net_stack *stack, const struct net_packet *packet,
		       const struct tcp_segment *segment, const struct tcb *tcb, uint32_t ts_val)
{
	uint8_t options[OPTIONS_MAX];
	unsigned size = put_syn_options(stack, tcb, ts_val, options);
	uint8_t flags = TCP_SYN | TCP_ACK;

	if ((tcb->flags & TCB_ECN) != 0)
		flags |= TCP_ECE;
	reply(stack, packet, segment, tcb->snd_una, tcb->rcv_nxt, flags,
	      (uint16_t)tcp_syn_window(stack->tcp), options, size);
}

void tcp_reply_ack(struct net_stack *stack, const struct net_packet *packet,
		   const struct tcp_segment *segment, uint32_t seq, uint32_t ack, bool timestamp,
		   uint32_t ts_val, uint32_t ts_ecr)
{
	uint8_t options[12];
	unsigned size = timestamp ? put_timestamp(options, ts_val, ts_ecr) : 0;

	reply(stack, packet, segment, seq, ack, TCP_ACK, 0, options, size);
}
