/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The Internet checksum (RFC 1071), in vectors where it is long. Sums are in the machine's byte
 * order until folded. */
#ifndef MILLRACE_DATAPLANE_NET_CHECKSUM_H
#define MILLRACE_DATAPLANE_NET_CHECKSUM_H

#include "dataplane/net/address.h"

#include <stddef.h>
#include <stdint.h>

/** Add bytes to a sum. Only the last piece of a message may have an odd size. */
uint64_t checksum_add(uint64_t sum, const void *data, size_t size);
/** Copy and add in one pass; as checksum_add. */
uint64_t checksum_copy(uint64_t sum, void *to, const void *from, size_t size);
/** The pseudo-header of IPv4 (RFC 9293, 3.1) or IPv6 (RFC 8200, 8.1). @param length of header and
 * data */
uint64_t checksum_pseudo(const struct ip_address *source, const struct ip_address *destination,
			 uint8_t protocol, uint32_t length);
/** @return 16-bit one's complement sum, not inverted, as it is stored in memory */
uint16_t checksum_fold(uint64_t sum);

/** Store a checksum: the inverted fold. */
void checksum_store(uint8_t *field, uint64_t sum);

#endif
