/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/ticket_keys.h"

#include <string.h>

void tls_ticket_keys_init(struct tls_ticket_keys *keys, struct mr_random *random, uint64_t now_us)
{
	memset(keys, 0, sizeof(*keys));
	random_bytes(random, keys->current, sizeof(keys->current));
	keys->due_us = now_us + TLS_TICKET_PERIOD_US;
}

bool tls_ticket_keys_are_due(const struct tls_ticket_keys *keys, uint64_t now_us)
{
	return now_us >= keys->due_us;
}

void tls_ticket_keys_rotate(struct tls_ticket_keys *keys, struct mr_random *random, uint64_t now_us)
{
	memcpy(keys->previous, keys->current, sizeof(keys->previous));
	keys->has_previous = true;
	random_bytes(random, keys->current, sizeof(keys->current));
	keys->due_us = now_us + TLS_TICKET_PERIOD_US;
}

void tls_ticket_keys_wipe(struct tls_ticket_keys *keys)
{
	explicit_bzero(keys, sizeof(*keys));
}
