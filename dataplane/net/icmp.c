/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ICMP and ICMPv6 (RFC 792, RFC 1122 3.2.2, RFC 4443): echo is answered, errors about TCP go to the
 * connection that their inner ports name (RFC 5927 decides there what is believed), unreachables
 * are sent at a limited rate.
 */
#include "dataplane/net/checksum.h"
#include "dataplane/net/stack.h"
#include "dataplane/net/wire.h"
#include "dataplane/tcp/layer.h"

#define ICMP4_ECHO_REPLY   0u
#define ICMP4_UNREACHABLE  3u
#define ICMP4_ECHO_REQUEST 8u
#define ICMP4_TOO_BIG_CODE 4u

#define ICMP6_UNREACHABLE    1u
#define ICMP6_TOO_BIG	     2u
#define ICMP6_PARAMETER	     4u
#define ICMP6_ECHO_REQUEST   128u
#define ICMP6_LISTENER_QUERY 130u
#define ICMP6_ECHO_REPLY     129u

/* RFC 1812, 4.3.2.3: no more of the offending packet than fits 576 octets (1280 for IPv6, RFC
 * 4443, 2.4). */
#define QUOTE_MAX_V4 528u
#define QUOTE_MAX_V6 1200u

static void icmp_send(struct net_stack *stack, const struct ip_address *local,
		      const struct ip_address *remote, const uint8_t header[ICMP_HEADER],
		      const uint8_t *data, uint16_t length)
{
	bool v4 = ip_is_v4(local);
	uint8_t protocol = v4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
	uint16_t size = (uint16_t)(ICMP_HEADER + length);
	struct net_path path;
	struct frame *frame;
	uint64_t sum = 0;
	uint8_t *p;

	if (net_path_find(stack, local, remote, &path) != 0) {
		stack->counters.drop_no_route++;
		return;
	}
	frame = net_frame_begin(stack, &path, local, remote, protocol, IP_TTL, size, &p);
	if (frame == NULL)
		return;
	memcpy(p, header, ICMP_HEADER);
	store16(p + 2, 0);
	memcpy(p + ICMP_HEADER, data, length);
	if (!v4)
		sum = checksum_pseudo(local, remote, protocol, size);
	checksum_store(p + 2, checksum_add(sum, p, size));
	net_frame_send(stack, &path, local, frame);
}

static void echo(struct net_stack *stack, const struct net_packet *packet, uint8_t reply)
{
	uint8_t header[ICMP_HEADER];

	if (packet->l2_multicast || stack->handed) {
		stack->counters.icmp_other++;
		return;
	}
	if (!rate_limit_take(&stack->icmp_limit, stack->now_us)) {
		stack->counters.icmp_rate_limited++;
		return;
	}
	memcpy(header, packet->payload, ICMP_HEADER);
	header[0] = reply;
	header[1] = 0;
	stack->counters.icmp_echo++;
	icmp_send(stack, &packet->destination, &packet->source, header,
		  packet->payload + ICMP_HEADER, (uint16_t)(packet->length - ICMP_HEADER));
}

/*
 * The inner packet of an error, which we sent: its source port is ours. Eight octets of TCP are all
 * that IPv4 promises.
 */
static bool parse_inner(const struct net_packet *packet, struct tcp_icmp_error *error)
{
	const uint8_t *p = packet->payload + ICMP_HEADER;
	unsigned left = packet->length - ICMP_HEADER;
	unsigned header;

	if (packet->protocol == PROTOCOL_ICMP) {
		if (left < IPV4_HEADER || p[0] >> 4 != 4)
			return false;
		header = (p[0] & 15u) * 4;
		if (header < IPV4_HEADER || p[9] != PROTOCOL_TCP || (load16(p + 6) & 0x1fff) != 0)
			return false;
		error->local = ip_from_v4(load32(p + 12));
		error->remote = ip_from_v4(load32(p + 16));
		error->quoted = load16(p + 2);
	} else {
		if (left < IPV6_HEADER || p[0] >> 4 != 6 || p[6] != PROTOCOL_TCP)
			return false;
		header = IPV6_HEADER;
		memcpy(error->local.bytes, p + 8, 16);
		memcpy(error->remote.bytes, p + 24, 16);
		error->quoted = (uint16_t)(load16(p + 4) + IPV6_HEADER);
	}
	if (left < header + 8)
		return false;
	error->local_port = load16(p + header);
	error->remote_port = load16(p + header + 2);
	error->seq = load32(p + header + 4);
	return ip_equal(&error->local, &packet->destination);
}

static void error_input(struct net_stack *stack, const struct net_packet *packet,
			enum tcp_icmp_kind kind, uint32_t mtu)
{
	struct tcp_icmp_error error = {.kind = kind, .mtu = mtu};
	uint16_t owner;

	if (!parse_inner(packet, &error)) {
		stack->counters.icmp_error_ignored++;
		return;
	}
	owner = net_owner_of(&error.remote, error.local_port, error.remote_port,
			     stack->settings.worker_count);
	if (net_hand_off(stack, owner, packet->frame))
		return;
	tcp_icmp_input(stack, &error);
}

void icmp4_input(struct net_stack *stack, const struct net_packet *packet)
{
	const uint8_t *p = packet->payload;

	stack->counters.icmp_in++;
	if (packet->length < ICMP_HEADER ||
	    checksum_fold(checksum_add(0, p, packet->length)) != 0xffff) {
		stack->counters.drop_short++;
		return;
	}
	if (p[0] == ICMP4_ECHO_REQUEST && p[1] == 0)
		echo(stack, packet, ICMP4_ECHO_REPLY);
	else if (p[0] == ICMP4_UNREACHABLE && p[1] == ICMP4_TOO_BIG_CODE)
		error_input(stack, packet, TCP_ICMP_TOO_BIG, load16(p + 6));
	else if (p[0] == ICMP4_UNREACHABLE && p[1] <= 15)
		error_input(stack, packet, TCP_ICMP_UNREACHABLE, 0);
	else
		stack->counters.icmp_other++;
}

void icmp6_input(struct net_stack *stack, const struct net_packet *packet)
{
	const uint8_t *p = packet->payload;
	uint64_t sum;
	bool others = false;

	stack->counters.icmp_in++;
	sum = checksum_pseudo(&packet->source, &packet->destination, PROTOCOL_ICMPV6,
			      packet->length);
	if (packet->length < ICMP_HEADER ||
	    checksum_fold(checksum_add(sum, p, packet->length)) != 0xffff) {
		stack->counters.drop_short++;
		return;
	}
	if (p[0] == 135 || p[0] == 136) {
		nd_input(stack, packet, &others);
		if (others)
			net_hand_round(stack, packet->frame);
		return;
	}
	if (p[0] == ICMP6_LISTENER_QUERY) {
		mld_query(stack, packet);
		return;
	}
	if (packet->destination.bytes[0] == 0xff) /* RFC 4443, 2.4(e.3): groups get no answer */
		stack->counters.icmp_other++;
	else if (p[0] == ICMP6_ECHO_REQUEST && p[1] == 0)
		echo(stack, packet, ICMP6_ECHO_REPLY);
	else if (p[0] == ICMP6_TOO_BIG)
		error_input(stack, packet, TCP_ICMP_TOO_BIG, load32(p + 4));
	else if (p[0] == ICMP6_UNREACHABLE)
		error_input(stack, packet, TCP_ICMP_UNREACHABLE, 0);
	else
		stack->counters.icmp_other++;
}

void icmp_send_parameter(struct net_stack *stack, const struct net_packet *packet, uint32_t at)
{
	uint8_t header[ICMP_HEADER] = {ICMP6_PARAMETER, 2};
	struct ip_address source = packet->destination;

	/* To a group it is sent as well (RFC 4443, 2.4(e.3)), but we have no address to send from
	 * then that the sender knows. */
	if (source.bytes[0] == 0xff || packet->source.bytes[0] == 0xff ||
	    ip_is_v4(&packet->source) || ip_is_unspecified(&packet->source) || stack->handed)
		return;
	if (!rate_limit_take(&stack->icmp_limit, stack->now_us)) {
		stack->counters.icmp_rate_limited++;
		return;
	}
	store32(header + 4, at);
	icmp_send(stack, &source, &packet->source, header, packet->ip,
		  packet->ip_length < QUOTE_MAX_V6 ? packet->ip_length : QUOTE_MAX_V6);
}

void icmp_send_unreachable(struct net_stack *stack, const struct net_packet *packet, bool protocol)
{
	bool v4 = ip_is_v4(&packet->source);
	uint16_t limit = v4 ? QUOTE_MAX_V4 : QUOTE_MAX_V6;
	uint8_t header[ICMP_HEADER] = {0};

	if (packet->l2_multicast || packet->destination.bytes[0] == 0xff)
		return; /* RFC 1122, 3.2.2; RFC 4443, 2.4(e) */
	if (!rate_limit_take(&stack->icmp_limit, stack->now_us)) {
		stack->counters.icmp_rate_limited++;
		return;
	}
	if (v4) {
		header[0] = ICMP4_UNREACHABLE;
		header[1] = protocol ? 2 : 3;
	} else if (protocol) { /* RFC 4443, 3.4: unrecognized next header; the pointer is its place
				*/
		header[0] = ICMP6_PARAMETER;
		header[1] = 1;
		header[7] = 6;
	} else {
		header[0] = ICMP6_UNREACHABLE;
		header[1] = 4;
	}
	icmp_send(stack, &packet->destination, &packet->source, header, packet->ip,
		  packet->ip_length < limit ? packet->ip_length : limit);
}
