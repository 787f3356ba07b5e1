/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which worker owns a connection. The low 7 bits of the Toeplitz hash under a key with only bits
 * 104 and 120 set are the reversed low 7 bits of (source port XOR destination port), so a port with
 * RSS computes the same and hardware steering can replace the hand-off without changing who owns
 * what.
 *
 * The ports' lowest bit decides last: Linux's connect() takes local ports of one parity only, so by
 * it alone all connections of such a host would go to one half of the workers.
 */
#include "dataplane/net/net.h"

uint16_t net_owner(uint16_t local_port, uint16_t remote_port, uint16_t worker_count)
{
	unsigned bits = (unsigned)(local_port ^ remote_port) & 127;
	unsigned reversed = 0;

	for (unsigned i = 0; i < 7; i++)
		reversed |= (bits >> i & 1) << (6 - i);
	reversed = (reversed << 1 & 127) | reversed >> 6;
	return (uint16_t)(reversed * worker_count >> 7);
}
