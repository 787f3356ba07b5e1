/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A received TCP segment, read and checked (RFC 9293, 3.1 and 3.2; RFC 7323; RFC 2018). */
#ifndef MILLRACE_DATAPLANE_TCP_SEGMENT_H
#define MILLRACE_DATAPLANE_TCP_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#define TCP_FIN 0x01u
#define TCP_SYN 0x02u
#define TCP_RST 0x04u
#define TCP_PSH 0x08u
#define TCP_ACK 0x10u
#define TCP_URG 0x20u
#define TCP_ECE 0x40u
#define TCP_CWR 0x80u

#define TCP_OPTION_END	     0u
#define TCP_OPTION_NOP	     1u
#define TCP_OPTION_MSS	     2u
#define TCP_OPTION_SCALE     3u
#define TCP_OPTION_SACK_OK   4u
#define TCP_OPTION_SACK	     5u
#define TCP_OPTION_TIMESTAMP 8u

#define TCP_SACK_BLOCKS 4u

struct tcp_segment {
	uint16_t source_port;
	uint16_t destination_port;
	uint32_t seq;
	uint32_t ack;
	uint32_t window; /**< as on the wire */
	uint8_t flags;
	uint8_t sack_count;
	uint8_t scale; /**< shift, at most 14 */
	bool has_scale;
	bool has_timestamp;
	bool sack_permitted;
	uint16_t mss; /**< 0: no option */
	uint32_t ts_val;
	uint32_t ts_ecr;
	struct {
		uint32_t start;
		uint32_t end;
	} sack[TCP_SACK_BLOCKS];
	const uint8_t *data;
	uint32_t length; /**< of data */
};

/**
 * Read a header and its options. The caller has checked the checksum.
 * @return false: malformed (offset beyond the segment, option length illegal)
 */
bool tcp_segment_parse(const uint8_t *p, uint16_t length, struct tcp_segment *out);

/** Sequence numbers that it occupies. */
static inline uint32_t tcp_segment_span(const struct tcp_segment *s)
{
	return s->length + ((s->flags & TCP_SYN) != 0) + ((s->flags & TCP_FIN) != 0);
}

#endif
