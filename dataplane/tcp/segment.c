/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reading TCP headers; see segment.h. */
#include "dataplane/tcp/segment.h"

#include "dataplane/net/wire.h"

#define SCALE_MAX 14u /* RFC 7323, 2.3 */

static void read_sack(const uint8_t *p, unsigned size, struct tcp_segment *out)
{
	for (unsigned at = 2; at + 8 <= size && out->sack_count < TCP_SACK_BLOCKS; at += 8) {
		out->sack[out->sack_count].start = load32(p + at);
		out->sack[out->sack_count].end = load32(p + at + 4);
		out->sack_count++;
	}
}

/* An option whose size is not the one that its RFC gives is ignored. */
static void read_option(const uint8_t *p, unsigned size, struct tcp_segment *out)
{
	bool syn = (out->flags & TCP_SYN) != 0;

	switch (p[0]) {
	case TCP_OPTION_MSS:
		if (size == 4 && syn)
			out->mss = load16(p + 2);
		break;
	case TCP_OPTION_SCALE:
		if (size == 3 && syn) {
			out->has_scale = true;
			out->scale = p[2] > SCALE_MAX ? SCALE_MAX : p[2];
		}
		break;
	case TCP_OPTION_SACK_OK:
		if (size == 2 && syn)
			out->sack_permitted = true;
		break;
	case TCP_OPTION_SACK:
		if (size >= 10 && (size - 2) % 8 == 0)
			read_sack(p, size, out);
		break;
	case TCP_OPTION_TIMESTAMP:
		if (size == 10) {
			out->has_timestamp = true;
			out->ts_val = load32(p + 2);
			out->ts_ecr = load32(p + 6);
		}
		break;
	default: /* MUST-6: unknown options are ignored */
		break;
	}
}

bool tcp_segment_parse(const uint8_t *p, uint16_t length, struct tcp_segment *out)
{
	unsigned header, at;

	if (length < TCP_HEADER)
		return false;
	header = (p[12] >> 4) * 4u;
	if (header < TCP_HEADER || header > length)
		return false;
	*out = (struct tcp_segment){
		.source_port = load16(p),
		.destination_port = load16(p + 2),
		.seq = load32(p + 4),
		.ack = load32(p + 8),
		.flags = p[13],
		.window = load16(p + 14),
		.data = p + header,
		.length = length - header,
	};
	for (at = TCP_HEADER; at < header && p[at] != TCP_OPTION_END;) {
		unsigned size;

		if (p[at] == TCP_OPTION_NOP) {
			at++;
			continue;
		}
		if (at + 2 > header)
			return false;
		size = p[at + 1];
		if (size < 2 || size > header - at) /* MUST-7 */
			return false;
		read_option(p + at, size, out);
		at += size;
	}
	return true;
}
