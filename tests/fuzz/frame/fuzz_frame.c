/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whole frames from the wire, one after the other: each has a byte of options (IPv6 stack, VLAN,
 * port flags), two of length, and its octets. The first 12 are fixed up, so that frames reach the
 * parsers behind the address check.
 */
#include "tests/sim/tcp_harness.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct harness_options options = {.frames = 128, .chunks = 16, .connections = 16};
	struct harness *h;
	uint8_t out[2048];

	if (size < 1)
		return 0;
	options.v6 = (data[0] & 1) != 0;
	options.vlan = (data[0] & 2) != 0 ? 5 : 0;
	h = harness_create(&options);
	harness_listen(h, 25);
	data++;
	size--;
	while (size >= 3) {
		struct frame *frame = frame_alloc(sim_frame_pool_interface(h->frames));
		size_t length = ((size_t)data[1] << 8 | data[2]) % 1600;
		uint8_t flags = data[0];

		data += 3;
		size -= 3;
		if (length > size)
			length = size;
		memcpy(frame->data, data, length);
		if (length >= 12 && (flags & 0x80) == 0)
			memcpy(frame->data, h->port.mac, 6);
		frame->length = (uint16_t)length;
		/* With the checksum taken as good, mutations reach TCP. */
		frame->flags = flags & 7;
		data += length;
		size -= length;
		net_stack_input(h->stack, &frame, 1, &h->now);
		while (harness_take_frame(h, out) != 0)
			;
		harness_advance(h, (uint64_t)(flags >> 3 & 15) * 100000);
	}
	harness_destroy(h);
	return 0;
}
