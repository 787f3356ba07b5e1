/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Attempts that ended recipients. A bounce is told when its record is durable, which is after the
 * loan is gone; what the event says of the attempt (peer, TLS, times) waits here. One record serves
 * all the recipients that failed in the attempt.
 *
 * Owner: the shard's thread. Memory: the slab shard->attempts, at most one for each message in the
 * queue; when it is full, events go without these fields.
 */
#include "control/queue/shard.h"

#include <stdio.h>

void attempt_of(const struct loan *loan, struct attempt *attempt)
{
	const struct delivery *delivery = &loan->delivery;

	*attempt = (struct attempt){
		.worker = loan->worker,
		.tls = delivery->tls,
		.reused = delivery->reused,
		.possible_duplicate = delivery->possible_duplicate,
		.route = loan->route,
		.host = delivery->host,
		.source_address = delivery->source_address,
		.session = delivery->session,
		.connect_us = delivery->connect_us,
		.tls_us = delivery->tls_us,
		.transaction_us = delivery->transaction_us,
		.measure = delivery->measure,
	};
	snprintf(attempt->tls_version, sizeof(attempt->tls_version), "%s", delivery->tls_version);
	snprintf(attempt->tls_cipher, sizeof(attempt->tls_cipher), "%s", delivery->tls_cipher);
}

uint32_t attempt_keep(struct queue_shard *shard, const struct loan *loan)
{
	uint32_t a = loan->delivery.host ? slab_alloc(&shard->attempts) : 0;

	if (!a)
		return 0;
	attempt_of(loan, attempt_at(shard, a));
	attempt_at(shard, a)->references = 1;
	loan->route->references++;
	return a;
}

void attempt_release(struct queue_shard *shard, uint32_t a)
{
	if (!a || --attempt_at(shard, a)->references > 0)
		return;
	route_release(attempt_at(shard, a)->route);
	slab_free(&shard->attempts, a);
}

void attempts_free(struct queue_shard *shard)
{
	for (uint32_t a = 1; a < shard->attempts.fresh; a++)
		route_release(attempt_at(shard, a)->route);
	slab_finish(&shard->attempts);
}
