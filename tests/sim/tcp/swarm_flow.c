/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The applications of the swarm: a client and a server on each connection. Each writes a stream of
 * its own that only depends on its key, so that the other end can check every byte as it comes; how
 * they write, read, rest and end is drawn from the seed.
 */
#include "tests/sim/tcp/swarm.h"

#include <errno.h>
#include <string.h>

#define RECORD	     16384u /* what a pushy writer adds (tcp.h: one TLS record) */
#define CONGESTIONS  (TCP_BBR + 1u)
#define RETRY_US     5000u
#define ASKED_US     UINT64_C(4000000)
#define MEETING_PORT 30000u
#define SYN_TIMEOUT  UINT64_C(120000000)
/* Longer than the stack's own user timeout and FIN-WAIT-2: only who has nothing to send and hears
 * nothing needs it. */
#define GIVE_UP_US UINT64_C(700000000)

static struct swarm_side *peer_of(const struct swarm_side *side)
{
	struct swarm_flow *flow = side->flow;

	return side == &flow->side[0] ? &flow->side[1] : &flow->side[0];
}

static uint64_t now_us(const struct swarm_side *side)
{
	return side->swarm->now.mono_us;
}

static const char *side_name(const struct swarm_side *side)
{
	return side == &side->flow->side[0] ? "client" : "server";
}

/* It may hear nothing any more. Who asks after silent peers needs no timeout of his own. */
static void may_have_vanished(struct swarm_side *peer)
{
	if (!peer->open || peer->host->options.keepalive_s == 0)
		peer->give_up_us = now_us(peer) + GIVE_UP_US;
}

/* --- what is drawn --- */
static void draw_side(struct swarm *swarm, struct swarm_flow *flow, struct swarm_side *side)
{
	const struct swarm_options *o = &swarm->options;
	struct mr_random *r = &swarm->random;

	*side = (struct swarm_side){
		.swarm = swarm,
		.flow = flow,
		.key = random_u64(r),
		.size = swarm_percent(r, 20) ? 0 : swarm_between(r, 1, o->size_max),
		.write_max = swarm_between(r, 1, swarm_percent(r, 50) ? 3000 : 40000),
		.pushy = swarm_percent(r, 20),
		.credit = UINT32_MAX,
		.congestion = (enum tcp_congestion_choice)random_below(r, CONGESTIONS),
		.changes_congestion = swarm_percent(r, 10),
		.close_first = swarm_percent(r, 50),
		.write_us = MR_NEVER,
		.read_us = MR_NEVER,
		.abort_us = MR_NEVER,
		.give_up_us = MR_NEVER,
	};
	if (swarm_percent(r, o->pauses)) {
		side->pause_every = swarm_between(r, 1, o->size_max);
		side->pause_next = side->pause_every;
		side->pauses_left = swarm_between(r, 1, 4);
		side->pause_us = swarm_between(r, 1, 8000) * UINT64_C(1000);
	}
	if (swarm_percent(r, o->slow_readers)) {
		side->take = swarm_between(r, 1, o->size_max / 4 + 1);
		side->credit = side->take;
		side->rests_left = swarm_between(r, 1, 20);
		side->rest_us = swarm_between(r, 1, 2000) * UINT64_C(1000);
	}
	if (swarm_percent(r, o->aborts)) {
		if (swarm_percent(r, 50))
			side->abort_after = swarm_between(r, 1, o->size_max);
		else
			side->abort_us = flow->start_us + swarm_between(r, 1, 20000) * 1000;
	}
}

void swarm_flow_draw(struct swarm *swarm, struct swarm_flow *flow, unsigned id)
{
	const struct swarm_options *o = &swarm->options;
	struct mr_random *r = &swarm->random;
	unsigned addresses = o->host[0].addresses < o->host[1].addresses ? o->host[0].addresses
									 : o->host[1].addresses;
	bool v6 = swarm_percent(r, 40);

	*flow = (struct swarm_flow){
		.id = id,
		.client = random_below(r, 2),
		.start_us = swarm->begin_us + random_below(r, (uint32_t)o->start_us),
	};
	for (unsigned i = 0; i < 2; i++) /* odd addresses are IPv6 */
		flow->address[i] = random_below(r, addresses / 2) * 2 + v6;
	for (unsigned i = 0; i < 2; i++) {
		draw_side(swarm, flow, &flow->side[i]);
		flow->side[i].host = &swarm->hosts[i == 0 ? flow->client : 1 - flow->client];
	}
	if (!flow->side[0].close_first && !flow->side[1].close_first)
		flow->side[random_below(r, 2)].close_first = true; /* or nobody ever would */
	flow->meeting = swarm_percent(r, o->meetings);
}

/* --- the end of a side --- */
static void side_done(struct swarm_side *side, enum tcp_close_reason reason)
{
	struct swarm_side *peer = peer_of(side);

	side->done = true;
	side->open = false;
	side->reason = reason;
	side->write_us = MR_NEVER;
	side->read_us = MR_NEVER;
	side->abort_us = MR_NEVER;
	side->give_up_us = MR_NEVER;
	side->swarm->finished++;
	swarm_trace(side->swarm, "flow %u %s: %s, wrote %u of %u, read %u", side->flow->id,
		    side_name(side), tcp_close_reason_name(reason), side->sent, side->size,
		    side->received);
	/* The peer may never hear of it. */
	if (reason != TCP_CLOSED && peer->open)
		may_have_vanished(peer);
	/* A server that has not begun has nobody to serve, unless the handshake's last ACK is on
	 * its way: then it will hear nothing. */
	if (side == &side->flow->side[0] && !peer->open && !peer->done)
		peer->give_up_us = now_us(side) + GIVE_UP_US;
}

static void abort_side(struct swarm_side *side, const char *why)
{
	swarm_trace(side->swarm, "flow %u %s aborts %s", side->flow->id, side_name(side), why);
	side->flow->disturbed = true;
	tcp_abort(side->host->stack, side->handle, &side->swarm->now);
	if (!side->done)
		swarm_fail(side->swarm, "flow %u %s: aborted, but on_closed was not called",
			   side->flow->id, side_name(side));
}

static void close_side(struct swarm_side *side)
{
	if (side->close_called || !side->open)
		return;
	side->close_called = true;
	swarm_trace(side->swarm, "flow %u %s closes", side->flow->id, side_name(side));
	tcp_close(side->host->stack, side->handle, &side->swarm->now);
}

static void maybe_close(struct swarm_side *side)
{
	if (side->sent == side->size && (side->close_first || side->ended))
		close_side(side);
}

static void choose_congestion(struct swarm_side *side)
{
	int rc = tcp_set_congestion(side->host->stack, side->handle, side->congestion);

	if (rc != 0 && rc != -ENOBUFS)
		swarm_fail(side->swarm, "flow %u %s: congestion control %u was refused",
			   side->flow->id, side_name(side), side->congestion);
}

/* --- callbacks --- */
static void on_connected(void *user, tcp_handle handle)
{
	struct swarm_side *side = user;

	if (!side->open || side->handle != handle || side->established)
		swarm_fail(side->swarm, "flow %u: on_connected out of turn", side->flow->id);
	side->established = true;
	swarm_trace(side->swarm, "flow %u connected", side->flow->id);
	if (!peer_of(side)->open) /* until the server accepts; it may be gone by now */
		may_have_vanished(side);
	if (side->size > 0)
		tcp_want_send(side->host->stack, handle);
	maybe_close(side);
}

static size_t on_receive(void *user, tcp_handle handle, const uint8_t *data, size_t size)
{
	struct swarm_side *side = user;
	const struct swarm_side *peer = peer_of(side);
	uint32_t take = side->credit < size ? side->credit : (uint32_t)size;

	if (!side->open || side->handle != handle || side->ended || size == 0 || side->delivering)
		swarm_fail(side->swarm, "flow %u %s: on_receive out of turn", side->flow->id,
			   side_name(side));
	if (side->received + size > peer->sent)
		swarm_fail(side->swarm, "flow %u %s: %zu bytes at %u, but only %u were sent",
			   side->flow->id, side_name(side), size, side->received, peer->sent);
	for (size_t i = 0; i < size; i++)
		if (data[i] != swarm_stream_byte(peer->key, side->received + (uint32_t)i))
			swarm_fail(side->swarm, "flow %u %s: wrong byte at %zu", side->flow->id,
				   side_name(side), side->received + i);
	side->delivering = true;
	side->received += take;
	if (side->abort_after != 0 && side->received + side->sent >= side->abort_after) {
		abort_side(side, "inside on_receive");
		return take;
	}
	if (side->take != 0)
		side->credit -= take;
	if (take < size && side->read_us == MR_NEVER)
		side->read_us = now_us(side) + side->rest_us;
	side->delivering = false;
	return take;
}

static void on_end(void *user, tcp_handle handle)
{
	struct swarm_side *side = user;
	const struct swarm_side *peer = peer_of(side);

	if (!side->open || side->handle != handle || side->ended)
		swarm_fail(side->swarm, "flow %u %s: on_end out of turn", side->flow->id,
			   side_name(side));
	if (!peer->close_called || side->received != peer->sent)
		swarm_fail(side->swarm, "flow %u %s: the end after %u of %u bytes%s",
			   side->flow->id, side_name(side), side->received, peer->sent,
			   peer->close_called ? "" : ", and the peer has not closed");
	side->ended = true;
	maybe_close(side);
}

static void on_send_room(void *user, tcp_handle handle, size_t room)
{
	static uint8_t bytes[1 << 16];
	struct swarm_side *side = user;
	uint32_t left = side->size - side->sent;
	uint32_t n = side->pushy ? (uint32_t)room + RECORD : (uint32_t)room;

	if (!side->open || side->handle != handle || side->close_called || room == 0)
		swarm_fail(side->swarm, "flow %u %s: on_send_room out of turn", side->flow->id,
			   side_name(side));
	if (n > side->write_max)
		n = side->write_max;
	if (n > left)
		n = left;
	if (n == 0)
		return;
	for (uint32_t i = 0; i < n; i++)
		bytes[i] = swarm_stream_byte(side->key, side->sent + i);
	if (tcp_send(side->host->stack, handle, bytes, n) != 0) { /* no chunks: less, and later */
		side->write_max = (n + 1) / 2;
		side->write_us = now_us(side) + RETRY_US;
		return;
	}
	side->sent += n;
	if (side->changes_congestion && side->sent > side->size / 2) {
		side->changes_congestion = false;
		side->congestion =
			(enum tcp_congestion_choice)((side->congestion + 1) % CONGESTIONS);
		choose_congestion(side);
	}
	if (side->abort_after != 0 && side->received + side->sent >= side->abort_after) {
		abort_side(side, "inside on_send_room");
		return;
	}
	if (side->sent < side->size && side->pauses_left > 0 && side->sent >= side->pause_next) {
		side->pauses_left--;
		side->pause_next = side->sent + side->pause_every;
		side->write_us = now_us(side) + side->pause_us;
	} else if (side->sent < side->size) {
		tcp_want_send(side->host->stack, handle);
	}
	maybe_close(side);
}

/* Who had no frames while he was asked (three times, a second apart) could not say that he was
 * there (ARP, ND). */
static bool was_mute(const struct swarm_host *host)
{
	return host->hoard.frames_wanted > 0 ||
	       (host->mute_us != 0 && host->swarm->now.mono_us - host->mute_us < ASKED_US);
}

static void on_closed(void *user, tcp_handle handle, enum tcp_close_reason reason)
{
	struct swarm_side *side = user;

	if (side->done || side->handle != handle)
		swarm_fail(side->swarm, "flow %u %s: on_closed out of turn", side->flow->id,
			   side_name(side));
	if (reason == TCP_UNREACHABLE && was_mute(peer_of(side)->host))
		side->flow->disturbed = true;
	side_done(side, reason);
}

static const struct tcp_callbacks callbacks = {on_connected, on_receive, on_end, on_send_room,
					       on_closed};

/* --- servers --- */
static bool is_client(const struct swarm_flow *flow, const struct tcp_endpoints *ends)
{
	if (flow->client_port == ends->remote_port &&
	    ip_equal(&flow->client_address, &ends->remote))
		return true;
	return flow->moved && flow->moved_to.port == ends->remote_port &&
	       ip_equal(&flow->moved_to.address, &ends->remote);
}

static struct swarm_flow *flow_of(struct swarm *swarm, unsigned server,
				  const struct tcp_endpoints *ends)
{
	struct swarm_flow *found = NULL;

	for (unsigned i = 0; i < swarm->options.flows; i++) {
		struct swarm_flow *f = &swarm->flows[i];

		if (f->begun && !f->meeting && 1 - f->client == server && is_client(f, ends) &&
		    !f->side[1].open && (found == NULL || f->start_us > found->start_us))
			found = f;
	}
	return found;
}

static bool on_accept(void *user, tcp_handle handle, void **user_out,
		      const struct tcp_callbacks **callbacks_out)
{
	struct swarm_host *host = user;
	struct swarm *swarm = host->swarm;
	struct tcp_endpoints ends;
	struct swarm_flow *flow;
	struct swarm_side *side;

	if (tcp_endpoints(host->stack, handle, &ends) != 0)
		swarm_fail(swarm, "on_accept without endpoints");
	flow = flow_of(swarm, host->id, &ends);
	if (flow == NULL)
		swarm_fail(swarm, "host %u accepts port %u, which nobody opened", host->id,
			   ends.remote_port);
	side = &flow->side[1];
	if (side->done)
		swarm_fail(swarm, "flow %u: accepted twice", flow->id);
	if (swarm_percent(&swarm->random, swarm->options.refusals)) {
		swarm_trace(swarm, "flow %u: refused", flow->id);
		flow->disturbed = true;
		side->done = true;
		side->reason = TCP_ABORTED;
		side->give_up_us = MR_NEVER;
		swarm->finished++;
		may_have_vanished(&flow->side[0]);
		return false;
	}
	swarm_trace(swarm, "flow %u: accepted", flow->id);
	side->handle = handle;
	side->open = true;
	side->established = true;
	*user_out = side;
	*callbacks_out = &callbacks;
	/* It speaks when the stack has put it in place. */
	side->write_us = swarm->now.mono_us;
	choose_congestion(side);
	flow->side[0].give_up_us = MR_NEVER;
	if (flow->side[0].done)
		may_have_vanished(side);
	return true;
}

void swarm_listen(struct swarm_host *host)
{
	static const struct tcp_listen_callbacks listen = {on_accept};
	static const struct ip_address any;

	if (tcp_listen(host->stack, &any, SWARM_PORT, &listen, host) != 0)
		swarm_fail(host->swarm, "host %u cannot listen", host->id);
}

/* --- what time brings --- */
/* Nobody is to blame where memory, ports or addresses are short. */
static void not_begun(struct swarm *swarm, struct swarm_flow *flow, int rc)
{
	bool excused = !swarm->options.gentle &&
		       (rc == -ENOBUFS || rc == -EADDRNOTAVAIL || rc == -ENETUNREACH);

	if (!excused)
		swarm_fail(swarm, "flow %u: tcp_connect: %s", flow->id, strerror(-rc));
	flow->disturbed = true;
	side_done(&flow->side[0], TCP_NO_MEMORY);
	side_done(&flow->side[1], TCP_NO_MEMORY);
}

/* @return local port, 0: refused, and the flow is over */
static uint16_t connect_side(struct swarm *swarm, struct swarm_side *side, uint16_t remote_port)
{
	const struct swarm_side *peer = peer_of(side);
	unsigned index = side == &side->flow->side[0] ? 0 : 1;
	const struct ip_address *local = &side->host->addresses[side->flow->address[index]].address;
	const struct ip_address *remote =
		&peer->host->addresses[side->flow->address[1 - index]].address;
	struct tcp_endpoints ends;
	int rc = tcp_connect(side->host->stack, local, remote, remote_port, SYN_TIMEOUT, &callbacks,
			     side, &swarm->now, &side->handle);

	if (rc != 0) {
		not_begun(swarm, side->flow, rc);
		return 0;
	}
	if (tcp_endpoints(side->host->stack, side->handle, &ends) != 0)
		swarm_fail(swarm, "flow %u: no endpoints", side->flow->id);
	side->open = true;
	choose_congestion(side);
	swarm_trace(swarm, "flow %u connects from host %u, port %u", side->flow->id, side->host->id,
		    ends.local_port);
	return ends.local_port;
}

/* RFC 9293, figure 7: each end connects to the port that the other connects from. */
static void meet(struct swarm *swarm, struct swarm_flow *flow)
{
	for (unsigned i = 0; i < 2; i++) {
		struct swarm_side *side = &flow->side[i];
		struct swarm_host *host = side->host;
		uint16_t port = (uint16_t)(MEETING_PORT + 2 * flow->id + i);
		uint16_t other = (uint16_t)(MEETING_PORT + 2 * flow->id + 1 - i);

		watch_steer_port(host, &host->addresses[flow->address[i]].address,
				 &flow->side[1 - i].host->addresses[flow->address[1 - i]].address,
				 other, port);
		if (connect_side(swarm, side, other) != port)
			swarm_fail(swarm, "flow %u: no meeting at port %u", flow->id, port);
	}
	flow->client_port = (uint16_t)(MEETING_PORT + 2 * flow->id);
}

static void begin(struct swarm *swarm, struct swarm_flow *flow)
{
	struct swarm_host *host = flow->side[0].host;

	flow->begun = true;
	flow->client_address = host->addresses[flow->address[0]].address;
	if (flow->meeting) {
		meet(swarm, flow);
		return;
	}
	flow->client_port = connect_side(swarm, &flow->side[0], SWARM_PORT);
	if (flow->client_port != 0 && swarm->options.reuse_ports)
		watch_rewind_ports(host);
}

void swarm_flow_host_died(struct swarm *swarm, const struct swarm_host *host)
{
	for (unsigned i = 0; i < swarm->options.flows; i++) {
		struct swarm_flow *flow = &swarm->flows[i];

		for (unsigned k = 0; k < 2; k++) {
			struct swarm_side *side = &flow->side[k];

			if (side->host != host || !flow->begun || side->done)
				continue;
			flow->disturbed = true;
			if (side->open)
				side_done(side, TCP_ABORTED);
		}
	}
}

static void side_run(struct swarm *swarm, struct swarm_side *side)
{
	uint64_t now = swarm->now.mono_us;

	if (!side->open) { /* a server that nobody ever reached */
		if (!side->done && side->give_up_us <= now)
			side_done(side, TCP_TIMED_OUT);
		return;
	}
	if (side->give_up_us <= now) {
		abort_side(side, "after waiting for a peer that is gone");
		return;
	}
	if (side->abort_us <= now) {
		abort_side(side, "for reasons of its own");
		return;
	}
	if (side->write_us <= now) {
		side->write_us = MR_NEVER;
		if (side->sent < side->size)
			tcp_want_send(side->host->stack, side->handle);
		maybe_close(side);
	}
	if (side->open && side->read_us <= now) {
		side->read_us = MR_NEVER;
		side->credit =
			side->rests_left > 0 && --side->rests_left > 0 ? side->take : UINT32_MAX;
		if (side->credit == UINT32_MAX)
			side->take = 0;
		tcp_resume_receive(side->host->stack, side->handle, &swarm->now);
	}
}

void swarm_flow_run(struct swarm *swarm, struct swarm_flow *flow)
{
	if (!flow->begun && flow->start_us <= swarm->now.mono_us)
		begin(swarm, flow);
	if (!flow->begun)
		return;
	side_run(swarm, &flow->side[0]);
	side_run(swarm, &flow->side[1]);
}

static uint64_t side_next(const struct swarm_side *side)
{
	uint64_t times[] = {side->write_us, side->read_us, side->abort_us, side->give_up_us};
	uint64_t next = MR_NEVER;

	if (side->done)
		return MR_NEVER;
	for (unsigned i = side->open ? 0 : 3; i < 4; i++)
		if (times[i] < next)
			next = times[i];
	return next;
}

uint64_t swarm_flow_next(const struct swarm_flow *flow)
{
	uint64_t a, b;

	if (!flow->begun)
		return flow->start_us;
	a = side_next(&flow->side[0]);
	b = side_next(&flow->side[1]);
	return a < b ? a : b;
}

/* --- judgement --- */
void swarm_flow_judge(const struct swarm *swarm, const struct swarm_flow *flow)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct swarm_side *side = &flow->side[i];
		const struct swarm_side *peer = &flow->side[1 - i];

		if (!side->done)
			swarm_fail(swarm, "flow %u %s never ended: wrote %u of %u, read %u of %u",
				   flow->id, side_name(side), side->sent, side->size,
				   side->received, peer->sent);
		/* In order: all was said, and all was heard. */
		if (side->reason == TCP_CLOSED &&
		    (!side->close_called || !side->ended || side->received != peer->size))
			swarm_fail(swarm, "flow %u %s: closed in order, but read %u of %u",
				   flow->id, side_name(side), side->received, peer->size);
		if (side->reason != TCP_CLOSED && swarm->options.gentle && !flow->disturbed)
			swarm_fail(swarm,
				   "flow %u %s: %s, though nothing was wrong; wrote %u of "
				   "%u, read %u of %u",
				   flow->id, side_name(side), tcp_close_reason_name(side->reason),
				   side->sent, side->size, side->received, peer->size);
	}
}
