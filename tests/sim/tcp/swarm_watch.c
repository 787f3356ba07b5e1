/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What must be true of two stacks at every step. tcp_check looks at each stack by itself; here are
 * the things that need memory (numbers never go back, what was sent against the window) or both
 * ends at once (nobody acknowledges what the other has not sent, nobody sends what the other has
 * not offered).
 */
#include "dataplane/net/checksum.h"
#include "dataplane/net/wire.h"
#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/table.h"
#include "tests/sim/tcp/swarm.h"
#include "tests/sim/tcp_check.h"

#include <stdlib.h>

struct swarm_shadow {
	tcp_handle handle; /* 0: nothing remembered */
	uint32_t iss;
	bool synchronized;
	uint32_t snd_una;
	uint32_t snd_nxt;
	uint32_t rcv_nxt;
	uint32_t rcv_adv;
	uint32_t before_nxt; /* snd_nxt when net_stack_output was called */
	bool before_valid;
	bool before_fin;
	uint64_t waits_us; /* since when it waits for memory that is there; 0: it does not */
};

/* Who waits for memory is asked again each turn. */
#define WAIT_MAX_US 1000000u

void watch_create(struct swarm_host *host)
{
	host->shadows = calloc(host->options.connections, sizeof(*host->shadows));
	if (host->shadows == NULL)
		swarm_fail(host->swarm, "no memory");
}

void watch_destroy(struct swarm_host *host)
{
	free(host->shadows);
}

uint32_t watch_listed(const struct swarm_host *host)
{
	uint32_t count = 0;

	for (unsigned i = 0; i < TCB_LISTS; i++)
		count += host->stack->tcp->lists[i].count;
	return count;
}

void watch_rewind_ports(struct swarm_host *host)
{
	memset(host->stack->tcp->port_counter, 0, sizeof(host->stack->tcp->port_counter));
}

/* As initial.c counts; the caller sees whether it came true. */
void watch_steer_port(struct swarm_host *host, const struct ip_address *local,
		      const struct ip_address *remote, uint16_t remote_port, uint16_t port)
{
	const uint32_t first = 16384, count = 65536 - first;
	struct tcp_layer *layer = host->stack->tcp;
	uint64_t f = tcp_tuple_hash(&layer->port_key, local, 0, remote, remote_port);
	uint32_t start = (uint32_t)f;
	uint32_t ahead = (port - first + count - start % count) % count;

	if (start > UINT32_MAX - ahead)
		ahead -= count;
	layer->port_counter[(f >> 32) % PORT_COUNTERS] = ahead;
}

struct swarm_limits watch_limits(const struct swarm_host *host)
{
	const struct tcp_layer *layer = host->stack->tcp;

	return (struct swarm_limits){.flights = layer->flights.capacity,
				     .board = layer->board.capacity,
				     .rates = layer->board.rates.capacity,
				     .bbr = layer->bbr.capacity};
}

void watch_set_limits(struct swarm_host *host, const struct swarm_limits *limits)
{
	struct tcp_layer *layer = host->stack->tcp;

	layer->flights.capacity = limits->flights;
	layer->board.capacity = limits->board;
	layer->board.rates.capacity = limits->rates;
	layer->bbr.capacity = limits->bbr;
}

static bool synchronized_state(const struct tcb *tcb)
{
	return tcb->state != TCPS_CLOSED && tcb->state != TCPS_SYN_SENT &&
	       tcb->state != TCPS_SYN_RCVD;
}

static const struct swarm_side *side_of(const struct tcp_layer *layer, const struct tcb *tcb)
{
	return (tcb->flags & TCB_ACCEPTED) != 0 ? tcb_cold(layer, tcb)->user : NULL;
}

/* --- output against the congestion window --- */
void watch_before_output(struct swarm_host *host)
{
	const struct tcp_layer *layer = host->stack->tcp;

	for (uint32_t i = 0; i < layer->fresh; i++) {
		host->shadows[i].before_valid = synchronized_state(&layer->tcbs[i]);
		host->shadows[i].before_nxt = layer->tcbs[i].snd_nxt;
		host->shadows[i].before_fin = (layer->tcbs[i].flags & TCB_FIN_SENT) != 0;
	}
}

void watch_after_output(struct swarm_host *host)
{
	const struct tcp_layer *layer = host->stack->tcp;

	for (uint32_t i = 0; i < layer->fresh; i++) {
		const struct tcb *tcb = &layer->tcbs[i];
		uint32_t pipe = tcb_pipe(tcb);
		uint32_t limit = tcb->cwnd > tcb->mss ? tcb->cwnd : tcb->mss;

		bool fin = (tcb->flags & TCB_FIN_SENT) != 0 && !host->shadows[i].before_fin;

		/* A FIN waits for no window. */
		if (!host->shadows[i].before_valid || !synchronized_state(tcb) ||
		    tcb->snd_nxt - fin == host->shadows[i].before_nxt)
			continue;
		if (pipe > limit + fin)
			swarm_fail(host->swarm, "host %u port %u: %u bytes in the network, cwnd %u",
				   host->id, tcb->local_port, pipe, tcb->cwnd);
	}
}

/* --- numbers that only grow --- */
static void check_monotone(struct swarm_host *host, const struct tcb *tcb, uint32_t index)
{
	struct swarm_shadow *s = &host->shadows[index];
	tcp_handle handle = tcb_handle(host->stack->tcp, tcb);

	if (s->handle != handle) { /* new: nothing was sent yet but the SYN, if that */
		s->handle = handle;
		s->iss = synchronized_state(tcb) ? tcb->snd_una - 1 : tcb->snd_una;
		s->synchronized = false;
	}
	if (s->synchronized &&
	    (seq_lt(tcb->snd_una, s->snd_una) || seq_lt(tcb->snd_nxt, s->snd_nxt) ||
	     seq_lt(tcb->rcv_nxt, s->rcv_nxt) || seq_lt(tcb->rcv_adv, s->rcv_adv)))
		swarm_fail(host->swarm,
			   "host %u port %u went back: una %u/%u nxt %u/%u rcv %u/%u adv %u/%u",
			   host->id, tcb->local_port, s->snd_una, tcb->snd_una, s->snd_nxt,
			   tcb->snd_nxt, s->rcv_nxt, tcb->rcv_nxt, s->rcv_adv, tcb->rcv_adv);
	s->synchronized = synchronized_state(tcb);
	s->snd_una = tcb->snd_una;
	s->snd_nxt = tcb->snd_nxt;
	s->rcv_nxt = tcb->rcv_nxt;
	s->rcv_adv = tcb->rcv_adv;
}

/* --- nobody is forgotten --- */
static bool plenty(uint32_t used, uint32_t capacity)
{
	return capacity >= 16 && used < capacity / 2;
}

static void check_waiting(struct swarm_host *host, const struct tcb *tcb, uint32_t index)
{
	const struct tcp_layer *layer = host->stack->tcp;
	struct swarm_shadow *s = &host->shadows[index];
	uint64_t now = host->swarm->now.mono_us;
	bool waits = (tcb->flags & TCB_LISTED) != 0 && tcb->list == TCB_LIST_MEMORY &&
		     plenty(sim_frame_pool_in_use(host->frames), host->options.frames) &&
		     plenty(layer->flights.used, layer->flights.capacity) &&
		     plenty(layer->board.used, layer->board.capacity);

	if (!waits)
		s->waits_us = 0;
	else if (s->waits_us == 0)
		s->waits_us = now;
	else if (now - s->waits_us > WAIT_MAX_US)
		swarm_fail(host->swarm, "host %u port %u waits for memory, and there is enough",
			   host->id, tcb->local_port);
}

/* --- one end against the other --- */
static const struct tcb *other_end(const struct swarm_host *host, const struct tcb *tcb)
{
	const struct tcp_layer *own = host->stack->tcp;
	const struct tcp_layer *layer = host->swarm->hosts[1 - host->id].stack->tcp;
	uint64_t hash = tcp_tuple_hash(&layer->table_key, &tcb->remote, tcb->remote_port,
				       &tcb->local, tcb->local_port);
	const struct tcb *other = tcp_table_find(layer, hash, &tcb->remote, tcb->remote_port,
						 &tcb->local, tcb->local_port);
	const struct swarm_side *a = side_of(own, tcb), *b;

	if (other == NULL || !synchronized_state(other) || a == NULL)
		return NULL;
	b = side_of(layer, other);
	return b != NULL && b->flow == a->flow ? other : NULL;
}

static void check_pair(struct swarm_host *host, const struct tcb *tcb)
{
	const struct tcb *other = other_end(host, tcb);
	uint32_t shown, fin = (tcb->flags & TCB_FIN_SENT) != 0;

	if (other == NULL)
		return;
	if (seq_lt(other->rcv_nxt, tcb->snd_una))
		swarm_fail(host->swarm, "host %u port %u: %u acknowledged, the peer has up to %u",
			   host->id, tcb->local_port, tcb->snd_una, other->rcv_nxt);
	if (seq_lt(tcb->snd_nxt, other->rcv_nxt))
		swarm_fail(host->swarm, "host %u port %u: sent up to %u, the peer has up to %u",
			   host->id, tcb->local_port, tcb->snd_nxt, other->rcv_nxt);
	/* The field rounds up to a unit of the scale. */
	shown = other->rcv_adv + (1u << other->receive_scale);
	if (seq_lt(shown, tcb->snd_nxt - fin))
		swarm_fail(host->swarm, "host %u port %u: sent up to %u, the peer offered %u",
			   host->id, tcb->local_port, tcb->snd_nxt, other->rcv_adv);
}

uint32_t watch_frames(const struct swarm_host *host)
{
	const struct net_stack *stack = host->stack;
	uint32_t frames = stack->ports[0].tx_tail - stack->ports[0].tx_head;

	for (uint32_t i = 0; i < stack->neighbours.capacity; i++)
		frames += stack->neighbours.entries[i].queued;
	return frames;
}

/* A frame is in the port's queue or waits for a neighbour; a chunk is in a connection. */
static void check_memory(struct swarm_host *host)
{
	const struct net_stack *stack = host->stack;
	uint32_t frames = watch_frames(host) + host->hoard.frame_count;
	uint32_t chunks = stack->tcp->receive_chunks + host->hoard.chunk_count;

	for (uint32_t i = 0; i < stack->tcp->fresh; i++)
		if (stack->tcp->tcbs[i].state != TCPS_CLOSED)
			for (const struct chunk *c = stack->tcp->tcbs[i].send_head; c != NULL;
			     c = c->next)
				chunks++;
	if (frames != sim_frame_pool_in_use(host->frames))
		swarm_fail(host->swarm, "host %u: %u frames are out, %u are known", host->id,
			   sim_frame_pool_in_use(host->frames), frames);
	if (chunks != chunk_pool_count(host->chunks) - chunk_pool_available(host->chunks))
		swarm_fail(host->swarm, "host %u: %u chunks are out, %u are known", host->id,
			   chunk_pool_count(host->chunks) - chunk_pool_available(host->chunks),
			   chunks);
}

/* What was reported by SACK may be thrown away before it is acknowledged (RFC 2018, 8). */
void watch_renege(struct swarm_host *host, struct mr_random *random)
{
	struct tcp_layer *layer = host->stack->tcp;
	struct tcb *tcb = &layer->tcbs[random_below(random, layer->capacity)];

	if (tcb_index(layer, tcb) >= layer->fresh || tcb->state == TCPS_CLOSED ||
	    tcb->ooo_head == NULL)
		return;
	swarm_trace(host->swarm, "host %u port %u reneges", host->id, tcb->local_port);
	while (tcb->ooo_head != NULL) {
		struct chunk *c = tcb->ooo_head;

		tcb->ooo_head = c->next;
		tcb->ooo_chunks--;
		layer->receive_chunks--;
		chunk_free(layer->chunks, c);
	}
}

void watch_step(struct swarm *swarm)
{
	for (unsigned h = 0; h < 2; h++) {
		struct swarm_host *host = &swarm->hosts[h];
		const struct tcp_layer *layer = host->stack->tcp;

		tcp_check(host->stack);
		check_memory(host);
		for (uint32_t i = 0; i < layer->fresh; i++) {
			const struct tcb *tcb = &layer->tcbs[i];

			if (tcb->state != TCPS_CLOSED) {
				check_monotone(host, tcb, i);
				check_waiting(host, tcb, i);
			}
			if (synchronized_state(tcb))
				check_pair(host, tcb);
		}
	}
}

/* --- on the wire --- */
struct wire {
	struct ip_address source, destination;
	const uint8_t *l4;
	uint16_t length;
	uint16_t ip_length;
	uint8_t protocol;
};

static bool take_apart(const uint8_t *frame, size_t size, struct wire *w)
{
	size_t l2 = load16(frame + 12) == ETHERTYPE_VLAN ? 18 : 14;
	uint16_t type = load16(frame + l2 - 2);
	const uint8_t *ip = frame + l2;

	w->ip_length = (uint16_t)(size - l2);
	if (type == ETHERTYPE_IPV4) {
		w->source = ip_from_v4(load32(ip + 12));
		w->destination = ip_from_v4(load32(ip + 16));
		w->protocol = ip[9];
		w->l4 = ip + IPV4_HEADER;
		w->length = (uint16_t)(w->ip_length - IPV4_HEADER);
	} else if (type == ETHERTYPE_IPV6) {
		memcpy(w->source.bytes, ip + 8, 16);
		memcpy(w->destination.bytes, ip + 24, 16);
		w->protocol = ip[6];
		w->l4 = ip + IPV6_HEADER;
		w->length = (uint16_t)(w->ip_length - IPV6_HEADER);
	} else {
		return false;
	}
	return true;
}

static const struct tcb *find(const struct swarm_host *host, const struct ip_address *local,
			      uint16_t local_port, const struct ip_address *remote,
			      uint16_t remote_port)
{
	const struct tcp_layer *layer = host->stack->tcp;
	uint64_t hash = tcp_tuple_hash(&layer->table_key, local, local_port, remote, remote_port);

	return tcp_table_find(layer, hash, local, local_port, remote, remote_port);
}

/* A retransmission says what the first transmission said. */
static void check_payload(struct swarm_host *host, const struct wire *w,
			  const struct tcp_segment *s)
{
	const struct tcb *tcb =
		find(host, &w->source, s->source_port, &w->destination, s->destination_port);
	const struct swarm_shadow *shadow;
	const struct swarm_side *side;
	uint32_t offset;

	if (tcb == NULL || s->length == 0)
		return;
	side = side_of(host->stack->tcp, tcb);
	shadow = &host->shadows[tcb_index(host->stack->tcp, tcb)];
	if (side == NULL || shadow->handle != tcb_handle(host->stack->tcp, tcb))
		return;
	offset = s->seq - shadow->iss - 1;
	if (offset + s->length > side->sent)
		swarm_fail(host->swarm, "flow %u: %u bytes at %u on the wire, only %u were written",
			   side->flow->id, s->length, offset, side->sent);
	for (uint32_t i = 0; i < s->length; i++)
		if (s->data[i] != swarm_stream_byte(side->key, offset + i))
			swarm_fail(host->swarm, "flow %u: wrong byte at %u on the wire",
				   side->flow->id, offset + i);
}

void watch_frame(struct swarm_host *host, const uint8_t *frame, size_t size)
{
	struct tcp_segment s;
	struct wire w;

	if (!take_apart(frame, size, &w))
		return;
	if (w.ip_length > host->port.mtu && w.ip_length > host->mtu_before)
		swarm_fail(host->swarm, "host %u sends %u bytes, its MTU is %u", host->id,
			   w.ip_length, host->port.mtu);
	if (w.protocol != PROTOCOL_TCP)
		return;
	if (checksum_fold(
		    checksum_add(checksum_pseudo(&w.source, &w.destination, PROTOCOL_TCP, w.length),
				 w.l4, w.length)) != 0xffff)
		swarm_fail(host->swarm, "host %u sends a wrong checksum", host->id);
	if (!tcp_segment_parse(w.l4, w.length, &s))
		swarm_fail(host->swarm, "host %u sends a malformed segment", host->id);
	if ((s.flags & (TCP_SYN | TCP_RST)) != 0 && s.length != 0)
		swarm_fail(host->swarm, "host %u sends data with SYN or RST", host->id);
	if ((s.flags & (TCP_SYN | TCP_RST | TCP_ACK)) == 0)
		swarm_fail(host->swarm, "host %u sends a segment without ACK", host->id);
	check_payload(host, &w, &s);
}

/* RFC 5961, 1.2: who hits the sequence number exactly, or SEQ and ACK both, has won; so has who
 * meets a SYN-SENT with a SYN (RFC 9293 has simultaneous open). */
bool watch_lucky(struct swarm_host *host, const uint8_t *frame, size_t size)
{
	const struct tcb *tcb;
	struct tcp_segment s;
	struct wire w;

	if (!take_apart(frame, size, &w) || w.protocol != PROTOCOL_TCP ||
	    !tcp_segment_parse(w.l4, w.length, &s))
		return false;
	tcb = find(host, &w.destination, s.destination_port, &w.source, s.source_port);
	if (tcb == NULL) /* a SYN to a listener may take the place of TIME-WAIT */
		return (s.flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
		       s.destination_port == SWARM_PORT;
	if (tcb->state == TCPS_SYN_SENT)
		return (s.flags & TCP_SYN) != 0 || s.ack == tcb->snd_nxt;
	if ((s.flags & TCP_RST) != 0)
		return s.seq == tcb->rcv_nxt;
	return (s.flags & TCP_ACK) != 0 && !seq_lt(tcb->snd_nxt, s.ack) &&
	       !seq_lt(s.ack, tcb->snd_una - tcb->max_wnd);
}

/* --- the end --- */
void watch_end(struct swarm_host *host)
{
	const struct tcp_layer *layer = host->stack->tcp;

	if (layer->used != 0 || layer->table.used != 0 || layer->half_open != 0 ||
	    watch_listed(host) != 0)
		swarm_fail(host->swarm,
			   "host %u: %u connections, %u in the table, %u half open, "
			   "%u listed are left",
			   host->id, layer->used, layer->table.used, layer->half_open,
			   watch_listed(host));
	if (layer->board.used != 0 || layer->flights.used != 0 || layer->receive_chunks != 0)
		swarm_fail(host->swarm,
			   "host %u: %u scoreboard blocks, %u flights, %u receive "
			   "chunks are left",
			   host->id, layer->board.used, layer->flights.used, layer->receive_chunks);
	if (layer->time_wait.live != 0)
		swarm_fail(host->swarm, "host %u: %u in TIME-WAIT are left", host->id,
			   layer->time_wait.live);
	if (chunk_pool_available(host->chunks) != chunk_pool_count(host->chunks))
		swarm_fail(host->swarm, "host %u: %u of %u chunks have come home", host->id,
			   chunk_pool_available(host->chunks), chunk_pool_count(host->chunks));
}
