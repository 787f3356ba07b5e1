/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which worker owns a connection. The low 7 bits of the Toeplitz hash under the sparse key of
 * drivers/nic/steering.c are the reversed low 7 bits of (source port XOR destination port), so a
 * port with RSS computes the same and hardware steering can replace the hand-off without changing
 * who owns what. For IPv6 the same key also sees bits 73 to 79 and 89 to 95 of the source address,
 * which is the remote one: the address term.
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

uint16_t net_owner_term(const struct ip_address *remote)
{
	return ip_is_v4(remote) ? 0 : (uint16_t)((remote->bytes[9] ^ remote->bytes[11]) & 127);
}

uint16_t net_owner_of(const struct ip_address *remote, uint16_t local_port, uint16_t remote_port,
		      uint16_t worker_count)
{
	if (worker_count == 1)
		return 0;
	return net_owner((uint16_t)(local_port ^ net_owner_term(remote)), remote_port,
			 worker_count);
}
