/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The harness; see tcp_harness.h. */
#include "tests/sim/tcp_harness.h"

#include "tests/sim/tcp_cut.h"

#include "dataplane/net/checksum.h"
#include "dataplane/net/wire.h"
#include "tests/sim/tcp_check.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TIMER_BUDGET 1024u

static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 0xee};

static void hand_off(void *context, uint16_t worker, struct frame *frame)
{
	struct harness *h = context;

	h->handed_off++;
	h->handed_to = worker;
	if (worker != UINT16_MAX)
		frame_free(sim_frame_pool_interface(h->frames), frame);
}

static void configure(struct harness *h)
{
	h->view = (struct view){.port_count = 1,
				.ports = &h->port,
				.address_count = h->address_count,
				.addresses = h->addresses};
	assert(net_stack_configure(h->stack, &h->view, &h->now) == 0);
}

static void add(struct harness *h, const struct ip_address *address)
{
	assert(h->address_count < HARNESS_ADDRESSES);
	h->addresses[h->address_count++] =
		(struct view_address){.address = *address,
				      .prefix_length = ip_is_v4(address) ? 24 : 64,
				      .vlan = h->options.vlan};
}

static void make_view(struct harness *h)
{
	h->port = (struct view_port){.name = "p0",
				     .mtu = h->options.mtu != 0 ? h->options.mtu : 1500};
	h->port.mac[0] = 2;
	memcpy(h->port.mac + 2, h->address.bytes + 12, 4);
	add(h, &h->address);
	configure(h);
}

void harness_add_address(struct harness *h, const char *text)
{
	struct ip_address address;

	assert(ip_parse(text, &address) == 0);
	add(h, &address);
	configure(h);
}

void harness_remove_address(struct harness *h, const char *text)
{
	struct ip_address address;

	assert(ip_parse(text, &address) == 0);
	for (unsigned i = 0; i < h->address_count; i++) {
		if (!ip_equal(&h->addresses[i].address, &address))
			continue;
		h->addresses[i] = h->addresses[--h->address_count];
		configure(h);
		return;
	}
	assert(!"an address that it has");
}

struct harness *harness_create(const struct harness_options *options)
{
	struct harness *h = calloc(1, sizeof(*h));
	struct harness_options *o = &h->options;
	struct net_stack_settings settings;

	assert(h != NULL);
	*o = *options;
	h->now = (struct mr_now){.mono_us = 1000000000, .wall_us = 1700000000000000};
	assert(ip_parse(o->address != NULL ? o->address
			: o->v6		   ? "fd00::1"
					   : "10.0.0.1",
			&h->address) == 0);
	assert(ip_parse(o->peer != NULL ? o->peer : o->v6 ? "fd00::2" : "10.0.0.2", &h->peer) == 0);
	random_init_seed(&h->random, o->seed);
	h->frames = sim_frame_pool_create(o->frames != 0 ? o->frames : 4096, o->worker);
	h->chunks = chunk_pool_create(o->worker, o->chunks != 0 ? o->chunks : 512);
	settings = (struct net_stack_settings){
		.worker = o->worker,
		.worker_count = o->worker_count != 0 ? o->worker_count : 1,
		.connections = o->connections != 0 ? o->connections : HARNESS_CONNECTIONS,
		.flights = options->flights,
		.ecn = options->ecn,
		.unpaced = !options->paced,
		.keepalive_s = options->keepalive_s,
		.time_wait = o->time_wait != 0 ? o->time_wait : 64,
		.neighbours = o->neighbours != 0 ? o->neighbours : 16,
		.receive_window = o->receive_window,
		.frames = sim_frame_pool_interface(h->frames),
		.chunks = h->chunks,
		.random = &h->random,
		.hand_off = o->worker_count > 1 ? hand_off : NULL,
		.hand_off_context = h,
	};
	settings.offloads[0] = (struct net_port_offloads){
		.tx_ip_checksum = o->offload || o->segmentation,
		.tx_tcp_checksum = o->offload || o->segmentation,
		.tx_segmentation = o->segmentation,
		.tx_segmentation6 = o->segmentation,
	};
	if (o->segmentation)
		sim_frame_pool_add_large(h->frames, o->large_frames);
	h->stack = net_stack_create(&settings, &h->now);
	assert(h->stack != NULL);
	make_view(h);
	h->script_remote_port = 40000;
	h->script_local_port = 25;
	return h;
}

void harness_destroy(struct harness *h)
{
	net_stack_destroy(h->stack);
	assert(chunk_pool_available(h->chunks) == chunk_pool_count(h->chunks));
	chunk_pool_destroy(h->chunks);
	sim_frame_pool_destroy(h->frames);
	for (unsigned i = 0; i < HARNESS_CONNECTIONS; i++) {
		free(h->connections[i].received);
		free(h->connections[i].written);
	}
	free(h);
}

/* --- the application --- */
static void on_connected(void *user, tcp_handle handle)
{
	struct harness_connection *c = user;

	c->connected = true;
	c->handle = handle;
}

static size_t on_receive(void *user, tcp_handle handle, const uint8_t *data, size_t size)
{
	struct harness_connection *c = user;

	assert(!c->closed && !c->ended && c->handle == handle && size > 0);
	if (c->abort_on_receive) {
		tcp_abort(c->harness->stack, handle, &c->harness->now);
		return size;
	}
	if (size > c->take_limit)
		size = c->take_limit;
	if (c->take_limit != SIZE_MAX)
		c->take_limit -= size;
	c->received = realloc(c->received, c->received_size + size + 1);
	assert(c->received != NULL);
	memcpy(c->received + c->received_size, data, size);
	c->received_size += size;
	return size;
}

static void on_end(void *user, tcp_handle handle)
{
	struct harness_connection *c = user;

	assert(!c->closed);
	c->ended = true;
	c->ended_count++;
	if (c->close_on_end && c->sent == c->to_send_size)
		tcp_close(c->harness->stack, handle, &c->harness->now);
}

static void on_send_room(void *user, tcp_handle handle, size_t room)
{
	struct harness_connection *c = user;
	size_t left = c->to_send_size - c->sent;

	assert(room > 0);
	if (room > left)
		room = left;
	if (room > 0 && tcp_send(c->harness->stack, handle, c->to_send + c->sent, room) == 0)
		c->sent += room;
	if (c->sent < c->to_send_size)
		tcp_want_send(c->harness->stack, handle);
	else if (c->close_when_sent || (c->close_on_end && c->ended))
		tcp_close(c->harness->stack, handle, &c->harness->now);
}

static void on_closed(void *user, tcp_handle handle, enum tcp_close_reason reason)
{
	struct harness_connection *c = user;

	assert(!c->closed);
	c->closed = true;
	c->closed_count++;
	c->reason = reason;
}

static const struct tcp_callbacks callbacks = {on_connected, on_receive, on_end, on_send_room,
					       on_closed};

static struct harness_connection *new_connection(struct harness *h)
{
	for (unsigned i = 0; i < HARNESS_CONNECTIONS; i++) {
		struct harness_connection *c = &h->connections[i];

		if (c->used && !c->closed)
			continue;
		free(c->received);
		free(c->written);
		*c = (struct harness_connection){
			.harness = h, .used = true, .take_limit = SIZE_MAX};
		return c;
	}
	return NULL;
}

static bool on_accept(void *user, tcp_handle handle, void **user_out,
		      const struct tcp_callbacks **callbacks_out)
{
	struct harness *h = user;
	struct harness_connection *c;

	if (h->refuse)
		return false;
	c = new_connection(h);
	assert(c != NULL);
	c->connected = true;
	c->handle = handle;
	c->accept_turn = ++h->accept_turns;
	h->accepted = c;
	*user_out = c;
	*callbacks_out = &callbacks;
	if (h->abort_on_accept)
		tcp_abort(h->stack, handle, &h->now);
	return true;
}

static struct harness_connection *open_connection(struct harness *h, const struct ip_address *local,
						  const struct ip_address *remote,
						  uint16_t remote_port, uint64_t syn_timeout_us)
{
	struct harness_connection *c = new_connection(h);
	struct tcp_endpoints ends;

	assert(c != NULL);
	if (tcp_connect(h->stack, local, remote, remote_port, syn_timeout_us, &callbacks, c,
			&h->now, &c->handle) != 0) {
		c->used = false;
		return NULL;
	}
	assert(tcp_endpoints(h->stack, c->handle, &ends) == 0);
	h->script_local_port = ends.local_port;
	h->script_remote_port = remote_port;
	return c;
}

struct harness_connection *harness_connect_from(struct harness *h, const char *local,
						const char *remote, uint16_t remote_port,
						uint64_t syn_timeout_us)
{
	struct ip_address from, to;

	assert(ip_parse(local, &from) == 0 && ip_parse(remote, &to) == 0);
	return open_connection(h, &from, &to, remote_port, syn_timeout_us);
}

struct harness_connection *harness_connect_for(struct harness *h, uint16_t remote_port,
					       uint64_t syn_timeout_us)
{
	return open_connection(h, &h->address, &h->peer, remote_port, syn_timeout_us);
}

struct harness_connection *harness_connect(struct harness *h, uint16_t remote_port)
{
	return harness_connect_for(h, remote_port, 30000000);
}

static void listen_on(struct harness *h, const struct ip_address *address, uint16_t port)
{
	static const struct tcp_listen_callbacks listen_callbacks = {on_accept};

	assert(tcp_listen(h->stack, address, port, &listen_callbacks, h) == 0);
}

void harness_listen(struct harness *h, uint16_t port)
{
	static const struct ip_address any;

	listen_on(h, &any, port);
}

void harness_listen_on(struct harness *h, const char *text, uint16_t port)
{
	struct ip_address address;

	assert(ip_parse(text, &address) == 0);
	listen_on(h, &address, port);
}

struct harness_connection *harness_accept(struct harness *h)
{
	struct harness_connection *first = NULL;

	for (unsigned i = 0; i < HARNESS_CONNECTIONS; i++) {
		struct harness_connection *c = &h->connections[i];

		if (c->used && c->accept_turn != 0 &&
		    (first == NULL || c->accept_turn < first->accept_turn))
			first = c;
	}
	if (first != NULL)
		first->accept_turn = 0;
	return first;
}

void harness_send(struct harness_connection *c, const void *data, size_t size)
{
	assert(c->sent == c->to_send_size);
	c->to_send = data;
	c->to_send_size = size;
	c->sent = 0;
	tcp_want_send(c->harness->stack, c->handle);
}

void harness_write(struct harness_connection *c, const void *data, size_t size)
{
	uint8_t *bytes = realloc(c->written, c->to_send_size + size + 1);

	/* What harness_send was given is not ours to lengthen. */
	assert(bytes != NULL && (c->written != NULL || c->to_send_size == 0));
	memcpy(bytes + c->to_send_size, data, size);
	c->written = bytes;
	c->to_send = bytes;
	c->to_send_size += size;
	if (size > 0 && !c->closed)
		tcp_want_send(c->harness->stack, c->handle);
}

void harness_shutdown(struct harness_connection *c)
{
	c->close_when_sent = true;
	if (c->sent == c->to_send_size && !c->closed)
		harness_close(c);
}

void harness_hold(struct harness_connection *c)
{
	c->take_limit = 0;
}

ssize_t harness_recv(struct harness_connection *c, void *to, size_t size)
{
	size_t left = c->received_size - c->read_at;

	if (left == 0 && c->take_limit == 0 && !c->closed) {
		harness_take_more(c, size);
		c->take_limit = 0; /* what it did not need is not for later */
		left = c->received_size - c->read_at;
	}
	if (left == 0 && c->ended)
		return 0;
	if (left == 0)
		return c->closed ? -ECONNRESET : -EAGAIN;
	if (size > left)
		size = left;
	memcpy(to, c->received + c->read_at, size);
	c->read_at += size;
	return (ssize_t)size;
}

void harness_close(struct harness_connection *c)
{
	tcp_close(c->harness->stack, c->handle, &c->harness->now);
}

void harness_abort(struct harness_connection *c)
{
	tcp_abort(c->harness->stack, c->handle, &c->harness->now);
}

void harness_take_more(struct harness_connection *c, size_t more)
{
	c->take_limit = more;
	tcp_resume_receive(c->harness->stack, c->handle, &c->harness->now);
}

void harness_information(const struct harness_connection *c, struct tcp_information *out)
{
	assert(tcp_information(c->harness->stack, c->handle, out) == 0);
}

/* --- frames and packets --- */
void harness_feed_frame(struct harness *h, const void *data, size_t size)
{
	struct frame *frame = frame_alloc(sim_frame_pool_interface(h->frames));

	assert(frame != NULL && size <= frame->capacity);
	memcpy(frame->data, data, size);
	frame->length = (uint16_t)size;
	net_stack_input(h->stack, &frame, 1, &h->now);
	tcp_check(h->stack);
}

size_t harness_take_frame(struct harness *h, uint8_t *to)
{
	struct frame *frame;
	size_t size;

	size = net_stack_output(h->stack, 0, &frame, 1, &h->now);
	tcp_check(h->stack);
	if (size == 0)
		return 0;
	tcp_fill_checksums(frame);
	size = frame->length;
	memcpy(to, frame->data, size);
	frame_free(sim_frame_pool_interface(h->frames), frame);
	return size;
}

static size_t put_ethernet(const struct harness *h, uint8_t *to, uint16_t type)
{
	memcpy(to, h->port.mac, 6);
	memcpy(to + 6, peer_mac, 6);
	if (h->options.vlan == 0) {
		store16(to + 12, type);
		return 14;
	}
	store16(to + 12, ETHERTYPE_VLAN);
	store16(to + 14, h->options.vlan);
	store16(to + 16, type);
	return 18;
}

void harness_feed(struct harness *h, const void *packet, size_t size)
{
	uint8_t frame[2048];
	bool v6 = ((const uint8_t *)packet)[0] >> 4 == 6;
	size_t header = put_ethernet(h, frame, v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);

	assert(header + size <= sizeof(frame));
	memcpy(frame + header, packet, size);
	harness_feed_frame(h, frame, header + size);
}

static void answer_arp(struct harness *h, const uint8_t *request)
{
	uint8_t reply[64];
	uint8_t *p = reply + put_ethernet(h, reply, ETHERTYPE_ARP);

	if (memcmp(request + 14, request + 24, 4) == 0)
		return; /* an announcement */
	memcpy(p, request, 6);
	store16(p + 6, 2);
	memcpy(p + 8, peer_mac, 6);
	memcpy(p + 14, request + 24, 4);
	memcpy(p + 18, request + 8, 6);
	memcpy(p + 24, request + 14, 4);
	harness_feed_frame(h, reply, (size_t)(p - reply) + 28);
}

static void answer_nd(struct harness *h, const uint8_t *ip)
{
	uint8_t packet[40 + 32] = {0x60};
	struct ip_address from, to;

	if (ip[40] != 135)
		return;
	packet[5] = 32;
	packet[6] = PROTOCOL_ICMPV6;
	packet[7] = 255;
	memcpy(packet + 8, ip + 48, 16);
	memcpy(packet + 24, ip + 8, 16);
	packet[40] = 136;
	packet[44] = 0x60;
	memcpy(packet + 48, ip + 48, 16);
	packet[64] = 2;
	packet[65] = 1;
	memcpy(packet + 66, peer_mac, 6);
	memcpy(from.bytes, packet + 8, 16);
	memcpy(to.bytes, packet + 24, 16);
	checksum_store(packet + 42, checksum_add(checksum_pseudo(&from, &to, PROTOCOL_ICMPV6, 32),
						 packet + 40, 32));
	harness_feed(h, packet, sizeof(packet));
}

size_t harness_take(struct harness *h, uint8_t *to)
{
	uint8_t frame[2048];
	size_t size;

	while ((size = harness_take_frame(h, frame)) != 0) {
		size_t header = load16(frame + 12) == ETHERTYPE_VLAN ? 18 : 14;
		uint16_t type = load16(frame + header - 2);

		assert((header == 18) == (h->options.vlan != 0));
		if (type == ETHERTYPE_ARP) {
			answer_arp(h, frame + header);
		} else if (type == ETHERTYPE_IPV6 && frame[header + 6] == PROTOCOL_ICMPV6 &&
			   (frame[header + 40] == 135 || frame[header + 40] == 136)) {
			answer_nd(h, frame + header);
		} else if (type == ETHERTYPE_IPV6 && frame[header + 6] == 0 &&
			   frame[header + 40] == PROTOCOL_ICMPV6) {
			continue; /* behind a hop-by-hop header: a report of groups (MLD) */
		} else {
			memcpy(to, frame + header, size - header);
			return size - header;
		}
	}
	return 0;
}

static void move_clock(struct harness *h, uint64_t to_us)
{
	h->now.wall_us += to_us - h->now.mono_us;
	h->now.mono_us = to_us;
}

void harness_advance(struct harness *h, uint64_t us)
{
	uint64_t end = h->now.mono_us + us;

	for (;;) {
		uint64_t next = net_stack_next_timer(h->stack);

		if (next > end)
			break;
		if (next > h->now.mono_us)
			move_clock(h, next);
		if (net_stack_timers(h->stack, &h->now, TIMER_BUDGET) == 0 &&
		    net_stack_next_timer(h->stack) <= h->now.mono_us)
			move_clock(h, h->now.mono_us + 1000 < end ? h->now.mono_us + 1000 : end);
		if (h->now.mono_us >= end)
			break;
	}
	move_clock(h, end);
	net_stack_timers(h->stack, &h->now, TIMER_BUDGET);
	tcp_check(h->stack);
}

/* --- scripts --- */
static size_t put_options(const struct script_segment *s, uint8_t *p)
{
	size_t n = 0;

	if (s->mss != 0) {
		p[n] = TCP_OPTION_MSS;
		p[n + 1] = 4;
		store16(p + n + 2, s->mss);
		n += 4;
	}
	if (s->scaled) {
		p[n] = TCP_OPTION_NOP;
		p[n + 1] = TCP_OPTION_SCALE;
		p[n + 2] = 3;
		p[n + 3] = (uint8_t)s->scale;
		n += 4;
	}
	if (s->sack_permitted) {
		p[n] = TCP_OPTION_NOP;
		p[n + 1] = TCP_OPTION_NOP;
		p[n + 2] = TCP_OPTION_SACK_OK;
		p[n + 3] = 2;
		n += 4;
	}
	if (s->timestamp) {
		p[n] = TCP_OPTION_NOP;
		p[n + 1] = TCP_OPTION_NOP;
		p[n + 2] = TCP_OPTION_TIMESTAMP;
		p[n + 3] = 10;
		store32(p + n + 4, s->ts_val);
		store32(p + n + 8, s->ts_ecr);
		n += 12;
	}
	if (s->sacks > 0) {
		p[n] = TCP_OPTION_NOP;
		p[n + 1] = TCP_OPTION_NOP;
		p[n + 2] = TCP_OPTION_SACK;
		p[n + 3] = (uint8_t)(2 + 8 * s->sacks);
		n += 4;
		for (unsigned i = 0; i < s->sacks; i++, n += 8) {
			store32(p + n, s->sack[i][0]);
			store32(p + n + 4, s->sack[i][1]);
		}
	}
	return n;
}

static size_t put_ip(const struct harness *h, uint8_t *to, size_t length, uint8_t ecn)
{
	if (h->options.v6) {
		memset(to, 0, 8);
		to[0] = 0x60;
		to[1] = (uint8_t)(ecn << 4);
		store16(to + 4, (uint16_t)length);
		to[6] = PROTOCOL_TCP;
		to[7] = 64;
		memcpy(to + 8, h->peer.bytes, 16);
		memcpy(to + 24, h->address.bytes, 16);
		return 40;
	}
	memset(to, 0, 20);
	to[0] = 0x45;
	to[1] = ecn;
	store16(to + 2, (uint16_t)(20 + length));
	store16(to + 6, 0x4000);
	to[8] = 64;
	to[9] = PROTOCOL_TCP;
	memcpy(to + 12, h->peer.bytes + 12, 4);
	memcpy(to + 16, h->address.bytes + 12, 4);
	checksum_store(to + 10, checksum_add(0, to, 20));
	return 20;
}

size_t script_build(const struct harness *h, const struct script_segment *s, uint8_t *to)
{
	uint8_t options[60];
	size_t option_size = put_options(s, options);
	size_t header = 20 + option_size;
	size_t length = header + s->size;
	size_t at = put_ip(h, to, length, s->ecn);
	uint8_t *p = to + at;

	assert(option_size <= 40);
	store16(p, s->from_port != 0 ? s->from_port : h->script_remote_port);
	store16(p + 2, s->to_port != 0 ? s->to_port : h->script_local_port);
	store32(p + 4, s->seq);
	store32(p + 8, s->ack);
	p[12] = (uint8_t)(header / 4 << 4);
	p[13] = s->flags;
	store16(p + 14, s->window);
	store32(p + 16, 0);
	memcpy(p + 20, options, option_size);
	if (s->size > 0)
		memcpy(p + header, s->data, s->size);
	checksum_store(p + 16, checksum_add(checksum_pseudo(&h->peer, &h->address, PROTOCOL_TCP,
							    (uint32_t)length),
					    p, length));
	if (s->bad_checksum)
		p[16] ^= 0x55;
	return at + length;
}

void script_feed(struct harness *h, const struct script_segment *s)
{
	uint8_t packet[2048];

	harness_feed(h, packet, script_build(h, s, packet));
}

bool script_take(struct harness *h, struct tcp_segment *out, uint8_t *copy)
{
	size_t size = harness_take(h, copy);
	size_t header = h->options.v6 ? 40 : 20;

	if (size == 0)
		return false;
	assert(copy[h->options.v6 ? 6 : 9] == PROTOCOL_TCP);
	assert(checksum_fold(checksum_add(checksum_pseudo(&h->address, &h->peer, PROTOCOL_TCP,
							  (uint32_t)(size - header)),
					  copy + header, size - header)) == 0xffff);
	assert(tcp_segment_parse(copy + header, (uint16_t)(size - header), out));
	return true;
}

/* --- two stacks --- */
struct cut {
	struct sim_link *out;
	uint64_t now_us;
};

static void send_piece(void *context, const uint8_t *data, size_t size)
{
	const struct cut *cut = context;

	sim_link_send(cut->out, data, size, cut->now_us);
}

static void drain(struct harness *h, struct sim_link *out)
{
	struct frame *frames[32];
	unsigned count;

	while ((count = net_stack_output(h->stack, 0, frames, 32, &h->now)) > 0)
		for (unsigned i = 0; i < count; i++) {
			if (frames[i]->tso_size > 0) {
				struct cut cut = {out, h->now.mono_us};

				tcp_cut(frames[i], send_piece, &cut);
				frame_free(sim_frame_pool_interface(h->frames), frames[i]);
				continue;
			}
			tcp_fill_checksums(frames[i]);
			sim_link_send(out, frames[i]->data, frames[i]->length, h->now.mono_us);
			frame_free(sim_frame_pool_interface(h->frames), frames[i]);
		}
}

static void arrive(struct harness *h, struct sim_link *in)
{
	uint8_t frame[2048];
	size_t size;

	while ((size = sim_link_receive(in, frame, h->now.mono_us)) != 0)
		harness_feed_frame(h, frame, size);
}

static uint64_t earliest(const uint64_t *times, unsigned count)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < count; i++)
		if (times[i] < best)
			best = times[i];
	return best;
}

bool harness_exchange(struct harness *a, struct harness *b, struct sim_link *a_to_b,
		      struct sim_link *b_to_a, uint64_t limit_us, bool (*until)(void *context),
		      void *context)
{
	uint64_t end = a->now.mono_us + limit_us;

	assert(a->now.mono_us == b->now.mono_us);
	while (!until(context)) {
		uint64_t next;

		net_stack_timers(a->stack, &a->now, TIMER_BUDGET);
		net_stack_timers(b->stack, &b->now, TIMER_BUDGET);
		drain(a, a_to_b);
		drain(b, b_to_a);
		tcp_check(a->stack);
		tcp_check(b->stack);
		next = earliest((uint64_t[]){sim_link_next(a_to_b), sim_link_next(b_to_a),
					     net_stack_next_timer(a->stack),
					     net_stack_next_timer(b->stack)},
				4);
		if (next > end)
			return until(context);
		if (next <= a->now.mono_us)
			next = a->now.mono_us + 1;
		move_clock(a, next);
		move_clock(b, next);
		arrive(a, b_to_a);
		arrive(b, a_to_b);
	}
	return true;
}
