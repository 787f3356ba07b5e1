/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Frames as lines of text, for MILLRACE_SIM_TRACE. */
#include "dataplane/net/wire.h"
#include "dataplane/tcp/segment.h"
#include "tests/sim/tcp/swarm.h"

#include <stdio.h>

static void flags_text(uint8_t flags, char *to)
{
	static const char letters[] = "FSRPAUEC";

	for (unsigned i = 0; i < 8; i++)
		if ((flags >> i & 1) != 0)
			*to++ = letters[i];
	*to = '\0';
}

static void options_text(const struct tcp_segment *s, char *to, size_t size)
{
	int n = 0;

	to[0] = '\0';
	if (s->mss != 0)
		n += snprintf(to + n, size - (size_t)n, " mss %u", s->mss);
	if (s->has_scale)
		n += snprintf(to + n, size - (size_t)n, " scale %u", s->scale);
	if (s->sack_permitted)
		n += snprintf(to + n, size - (size_t)n, " sackOK");
	if (s->has_timestamp)
		n += snprintf(to + n, size - (size_t)n, " ts %u/%u", s->ts_val, s->ts_ecr);
	for (unsigned i = 0; i < s->sack_count; i++)
		n += snprintf(to + n, size - (size_t)n, " {%u-%u}", s->sack[i].start,
			      s->sack[i].end);
}

static void trace_tcp(const struct swarm *swarm, const char *what, const uint8_t *ip, size_t l3,
		      size_t length)
{
	char flags[9], options[256];
	struct tcp_segment s;

	if (!tcp_segment_parse(ip + l3, (uint16_t)(length - l3), &s)) {
		swarm_trace(swarm, "%s malformed TCP of %zu bytes", what, length - l3);
		return;
	}
	flags_text(ip[l3 + 13], flags);
	options_text(&s, options, sizeof(options));
	swarm_trace(swarm, "%s %u.%u > %u.%u %s seq %u ack %u win %u len %u%s", what,
		    ip[l3 == 20 ? 15 : 23], s.source_port, ip[l3 == 20 ? 19 : 39],
		    s.destination_port, flags, s.seq, s.ack, s.window, s.length, options);
}

void trace_frame(const struct swarm *swarm, const char *what, const uint8_t *frame, size_t size)
{
	size_t l2 = load16(frame + 12) == ETHERTYPE_VLAN ? 18 : 14;
	uint16_t type = load16(frame + l2 - 2);
	const uint8_t *ip = frame + l2;
	bool v4 = type == ETHERTYPE_IPV4;
	size_t l3 = v4 ? IPV4_HEADER : IPV6_HEADER;
	uint8_t protocol;

	if (!swarm->trace)
		return;
	if (!v4 && type != ETHERTYPE_IPV6) {
		swarm_trace(swarm, "%s ethertype %04x, %zu bytes", what, type, size);
		return;
	}
	protocol = ip[v4 ? 9 : 6];
	if (protocol == PROTOCOL_TCP)
		trace_tcp(swarm, what, ip, l3, size - l2);
	else
		swarm_trace(swarm, "%s protocol %u type %u code %u, %zu bytes", what, protocol,
			    ip[l3], ip[l3 + 1], size - l2);
}
