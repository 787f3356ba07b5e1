/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The application's side of TCP; see tcp.h. */
#include "dataplane/tcp/destination.h"
#include "dataplane/tcp/internal.h"
#include "dataplane/tcp/tcp.h"

#include <errno.h>

const char *tcp_close_reason_name(enum tcp_close_reason reason)
{
	static const char *const names[] = {
		[TCP_CLOSED] = "closed",	   [TCP_RESET] = "reset by peer",
		[TCP_REFUSED] = "refused",	   [TCP_TIMED_OUT] = "timed out",
		[TCP_UNREACHABLE] = "unreachable", [TCP_ABORTED] = "aborted",
		[TCP_NO_MEMORY] = "no memory",
	};

	return (unsigned)reason < sizeof(names) / sizeof(names[0]) ? names[reason] : "unknown";
}

static uint32_t clamp_timeout(uint64_t us)
{
	return us > TCP_TIMEOUT_MAX_US ? TCP_TIMEOUT_MAX_US : us == 0 ? 1 : (uint32_t)us;
}

int tcp_connect(struct net_stack *stack, const struct ip_address *local,
		const struct ip_address *remote, uint16_t remote_port, uint64_t syn_timeout_us,
		const struct tcp_callbacks *callbacks, void *user, const struct mr_now *now,
		tcp_handle *connection)
{
	struct tcp_layer *layer = stack->tcp;
	struct net_path path;
	struct tcb_cold *cold;
	struct tcb *tcb;
	uint16_t port;
	int rc;

	stack->now_us = now->mono_us;
	if (ip_is_v4(local) != ip_is_v4(remote) || remote_port == 0)
		return -ENETUNREACH;
	/* MUST-46; and a connection to ourselves would have no wire to go over. */
	if (!ip_is_host(remote) || local_is_broadcast(&stack->local, remote) ||
	    local_find(&stack->local, remote) != NULL)
		return -ENETUNREACH;
	rc = net_path_find(stack, local, remote, &path);
	if (rc == -EADDRNOTAVAIL || rc == -ENETUNREACH)
		return rc;
	port = tcp_choose_port(stack, local, remote, remote_port);
	if (port == 0)
		return -EADDRNOTAVAIL;
	tcb = tcb_create(stack, local, port, remote, remote_port);
	if (tcb == NULL)
		return -ENOBUFS;
	cold = tcb_cold(layer, tcb);
	cold->callbacks = callbacks;
	cold->user = user;
	tcb->user_timeout_us = clamp_timeout(syn_timeout_us);
	tcb->snd_una = tcp_initial_sequence(stack, tcb);
	tcb->snd_nxt = tcb->snd_una + 1;
	tcb->send_end = tcb->snd_nxt;
	tcb->ts_offset = tcp_timestamp_offset(layer, tcb);
	tcb->receive_scale = layer->receive_scale & 15u;
	tcb->flags = TCB_SACK | TCB_TIMESTAMPS | TCB_ACTIVE | TCB_ACCEPTED | TCB_SYN_DUE;
	destination_open(stack, tcb);
	if (stack->settings.ecn && !destination_ecn_broken(stack, tcb))
		tcb->flags |= TCB_ECN;
	tcb_set_state(stack, tcb, TCPS_SYN_SENT);
	tcb_schedule(stack, tcb);
	*connection = tcb_handle(layer, tcb);
	return 0;
}

int tcp_listen(struct net_stack *stack, const struct ip_address *address, uint16_t port,
	       const struct tcp_listen_callbacks *callbacks, void *listener_user)
{
	struct tcp_layer *layer = stack->tcp;
	struct tcp_listener *spare = NULL;

	for (unsigned i = 0; i < layer->listener_count; i++) {
		struct tcp_listener *l = &layer->listeners[i];

		if (!l->used)
			spare = l;
		else if (l->port == port && ip_equal(&l->address, address))
			return -EADDRINUSE;
	}
	if (spare == NULL && layer->listener_count < LISTENERS_MAX)
		spare = &layer->listeners[layer->listener_count++];
	if (spare == NULL)
		return -ENOBUFS;
	*spare = (struct tcp_listener){
		.used = true,
		.address = *address,
		.port = port,
		.callbacks = callbacks,
		.user = listener_user,
	};
	return 0;
}

int tcp_unlisten(struct net_stack *stack, const struct ip_address *address, uint16_t port)
{
	struct tcp_layer *layer = stack->tcp;

	for (unsigned i = 0; i < layer->listener_count; i++) {
		struct tcp_listener *l = &layer->listeners[i];

		if (l->used && l->port == port && ip_equal(&l->address, address)) {
			*l = (struct tcp_listener){0};
			return 0;
		}
	}
	return -ENOENT;
}

void tcp_want_send(struct net_stack *stack, tcp_handle connection)
{
	struct tcb *tcb = tcb_of(stack, connection);

	if (tcb == NULL)
		return;
	tcb->flags |= TCB_WANT_SEND;
	tcb_schedule(stack, tcb);
}

int tcp_send(struct net_stack *stack, tcp_handle connection, const void *data, size_t size)
{
	struct tcb *tcb = tcb_of(stack, connection);
	int rc;

	if (tcb == NULL || (tcb->flags & (TCB_FIN_QUEUED | TCB_CLOSE_DUE)) != 0 ||
	    tcb->state > TCPS_CLOSE_WAIT)
		return -ENOTCONN;
	if (size == 0)
		return 0;
	/* Sequence numbers must stay far from wrapping over what is unacknowledged. */
	if (size > 1u << 24 || tcb->send_end - tcb->snd_una > 1u << 24)
		return -ENOBUFS;
	if (tcb->send_end == tcb->snd_una) /* the user timeout counts from here */
		tcb->progress_us = now32(stack);
	rc = send_queue_append(stack->tcp, tcb, data, size);
	if (rc == 0)
		tcb_schedule(stack, tcb);
	return rc;
}

size_t tcp_unacknowledged(const struct net_stack *stack, tcp_handle connection)
{
	const struct tcb *tcb = tcb_of(stack, connection);

	/* During the handshake snd_una is the SYN's, behind our FIN it may be beyond send_end. */
	if (tcb == NULL || seq_le(tcb->send_end, tcb->snd_una))
		return 0;
	return tcb->send_end - tcb->snd_una -
	       (tcb->state == TCPS_SYN_SENT || tcb->state == TCPS_SYN_RCVD ? 1 : 0);
}

void tcp_resume_receive(struct net_stack *stack, tcp_handle connection, const struct mr_now *now)
{
	struct tcb *tcb = tcb_of(stack, connection);
	uint32_t edge;

	stack->now_us = now->mono_us;
	if (tcb == NULL || !tcp_offer(stack, tcb) || !tcp_tell_end(stack, tcb))
		return;
	if (tcb->state == TCPS_TIME_WAIT && tcb->recv_queued == 0) {
		tcp_enter_time_wait(stack, tcb);
		return;
	}
	if ((tcb->flags & TCB_FIN_RECEIVED) != 0)
		return; /* nothing more comes, and the peer may know us no longer */
	/* Tell the peer when the window opens by two segments or half of it (MUST-39). */
	edge = tcb->rcv_nxt + tcb_receive_room(stack->tcp, tcb);
	if (seq_lt(tcb->rcv_adv, edge) &&
	    (edge - tcb->rcv_adv >= 2u * tcb->mss ||
	     edge - tcb->rcv_adv >= stack->tcp->receive_window / 2) &&
	    tcb->rcv_adv - tcb->rcv_nxt < stack->tcp->receive_window / 2) {
		tcb->flags |= TCB_ACK_NOW;
		tcb_schedule(stack, tcb);
	}
}

void tcp_close(struct net_stack *stack, tcp_handle connection, const struct mr_now *now)
{
	struct tcb *tcb = tcb_of(stack, connection);

	stack->now_us = now->mono_us;
	if (tcb == NULL || (tcb->flags & TCB_FIN_QUEUED) != 0)
		return;
	tcb->flags |= TCB_FIN_QUEUED;
	tcb->flags &= ~(uint32_t)TCB_WANT_SEND;
	if (tcb->state == TCPS_SYN_SENT) { /* RFC 9293, 3.10.4: nothing to finish */
		tcb->flags |= TCB_CLOSE_DUE;
		tcb_cold(stack->tcp, tcb)->close_reason = TCP_ABORTED;
	}
	tcb_schedule(stack, tcb);
}

void tcp_abort(struct net_stack *stack, tcp_handle connection, const struct mr_now *now)
{
	struct tcb *tcb = tcb_of(stack, connection);

	stack->now_us = now->mono_us;
	if (tcb == NULL)
		return;
	/* RFC 9293, 3.10.5. */
	if (tcb->state != TCPS_SYN_SENT && tcb->state != TCPS_TIME_WAIT) {
		stack->counters.tcp_rst_sent++;
		tcp_emit_ack(stack, tcb, tcb->snd_nxt, TCP_RST | TCP_ACK);
	}
	tcb_finish(stack, tcb, TCP_ABORTED);
}

void tcp_set_user_timeout(struct net_stack *stack, tcp_handle connection, uint64_t timeout_us)
{
	struct tcb *tcb = tcb_of(stack, connection);

	if (tcb == NULL)
		return;
	tcb->user_timeout_us = clamp_timeout(timeout_us);
	tcp_user_timeout_changed(stack, tcb);
}

int tcp_endpoints(const struct net_stack *stack, tcp_handle connection, struct tcp_endpoints *out)
{
	const struct tcp_layer *layer = stack->tcp;
	uint32_t index = (uint32_t)connection - 1;
	const struct tcb *tcb;

	/* Also from within on_closed. */
	if (connection == 0 || index >= layer->fresh ||
	    layer->cold[index].generation != connection >> 32)
		return -ENOTCONN;
	tcb = &layer->tcbs[index];
	*out = (struct tcp_endpoints){
		.local = tcb->local,
		.remote = tcb->remote,
		.local_port = tcb->local_port,
		.remote_port = tcb->remote_port,
	};
	return 0;
}

int tcp_information(const struct net_stack *stack, tcp_handle connection,
		    struct tcp_information *out)
{
	static const char *const states[] = {
#define X(name, text) [TCPS_##name] = text,
		TCP_STATES(X)
#undef X
	};
	const struct tcp_layer *layer = stack->tcp;
	uint32_t index = (uint32_t)connection - 1;
	const struct tcb *tcb;

	if (connection == 0 || index >= layer->fresh ||
	    layer->cold[index].generation != connection >> 32)
		return -ENOTCONN;
	tcb = &layer->tcbs[index];
	*out = (struct tcp_information){
		.state = states[tcb->state],
		.srtt_us = tcb->srtt_us,
		.rttvar_us = tcb->rttvar_us,
		.rto_us = rtt_timeout_us(tcb),
		.cwnd_bytes = tcb->cwnd,
		.ssthresh_bytes = tcb->ssthresh,
		.send_window = tcb->snd_wnd,
		.receive_window = tcb->rcv_adv - tcb->rcv_nxt,
		.mss = tcb->mss,
		.in_flight_bytes = tcb_pipe(tcb),
		.retransmitted_segments = layer->cold[index].retransmitted,
		.sack = (tcb->flags & TCB_SACK) != 0,
		.timestamps = (tcb->flags & TCB_TIMESTAMPS) != 0,
		.send_scale = tcb->send_scale,
		.receive_scale = tcb->receive_scale,
	};
	return 0;
}
