/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sim/tcp_cut.h"

#include "dataplane/net/address.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/wire.h"

#include <assert.h>
#include <string.h>

#define FIN 0x01
#define PSH 0x08
#define CWR 0x80

static uint64_t pseudo(const uint8_t *ip, uint32_t length)
{
	struct ip_address from, to;

	if (ip[0] >> 4 == 4) {
		from = ip_from_v4(load32(ip + 12));
		to = ip_from_v4(load32(ip + 16));
	} else {
		memcpy(from.bytes, ip + 8, 16);
		memcpy(to.bytes, ip + 24, 16);
	}
	return checksum_pseudo(&from, &to, PROTOCOL_TCP, length);
}

static void finish(uint8_t *ip, unsigned l3, unsigned header, size_t size, unsigned number)
{
	uint8_t *tcp = ip + l3;

	if (ip[0] >> 4 == 4) {
		store16(ip + 2, (uint16_t)(l3 + header + size));
		store16(ip + 4, (uint16_t)(load16(ip + 4) + number));
		store16(ip + 10, 0);
		checksum_store(ip + 10, checksum_add(0, ip, l3));
	} else {
		store16(ip + 4, (uint16_t)(header + size));
	}
	store16(tcp + 16, 0);
	checksum_store(tcp + 16,
		       checksum_add(pseudo(ip, (uint32_t)(header + size)), tcp, header + size));
}

void tcp_cut(const struct frame *frame,
	     void (*piece)(void *context, const uint8_t *data, size_t size), void *context)
{
	const uint8_t *ip = frame->data + frame->l2_length, *tcp = ip + frame->l3_length;
	unsigned header = (tcp[12] >> 4) * 4u;
	size_t headers = frame->l2_length + frame->l3_length + header;
	size_t left = frame->length - headers, at = 0;
	uint16_t sum = checksum_fold(pseudo(ip, 0)), stored;

	memcpy(&stored, tcp + 16, 2);
	assert(stored == sum && (frame->flags & FRAME_TX_TCP_CHECKSUM) != 0);
	assert(frame->tso_size > 0 && left > frame->tso_size && frame->length <= frame->capacity);
	for (unsigned number = 0; left > 0; number++) {
		uint8_t to[2048];
		size_t size = left < frame->tso_size ? left : frame->tso_size;
		uint8_t *own = to + headers - header;

		assert(headers + size <= sizeof(to));
		memcpy(to, frame->data, headers);
		memcpy(to + headers, frame->data + headers + at, size);
		store32(own + 4, load32(own + 4) + (uint32_t)at);
		if (left > size)
			own[13] &= (uint8_t) ~(FIN | PSH);
		if (number > 0)
			own[13] &= (uint8_t)~CWR;
		finish(to + frame->l2_length, frame->l3_length, header, size, number);
		piece(context, to, headers + size);
		at += size;
		left -= size;
	}
}

void tcp_fill_checksums(struct frame *frame)
{
	uint8_t *ip = frame->data + frame->l2_length;
	uint8_t *tcp = ip + frame->l3_length;

	if ((frame->flags & FRAME_TX_IP_CHECKSUM) != 0)
		checksum_store(ip + 10, checksum_add(0, ip, 20));
	if ((frame->flags & FRAME_TX_TCP_CHECKSUM) != 0)
		checksum_store(
			tcp + 16,
			checksum_add(0, tcp, frame->length - frame->l2_length - frame->l3_length));
}
