/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The shortest script of the harness's manual (tests/sim/tcp_harness.h), as a program of its own.
 */
#include "tests/sim/tcp_harness.h"

#include <stdio.h>

int main(void)
{
	struct harness *h = harness_create(&(struct harness_options){.seed = 1});
	uint8_t packet[2048];
	size_t size;

	harness_listen(h, 25);
	script_feed(h, &(struct script_segment){.flags = TCP_SYN, .seq = 1000, .window = 65535});
	size = harness_take(h, packet);
	printf("%zu bytes from 10.0.0.%u, port %u: flags %02x\n", size, packet[15],
	       packet[20] << 8 | packet[21], packet[33]);
	harness_destroy(h);
	return packet[33] == (TCP_SYN | TCP_ACK) ? 0 : 1;
}
