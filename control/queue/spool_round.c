/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Rounds of the cleaner, so that a full spool is not copied in circles. A round empties segments
 * that were sealed when it began, each once, and what it writes lies behind them all; so one state
 * a message and round is enough. The next round begins when so much has become superfluous that it
 * can gain: a part of what the last one wrote.
 *
 * Owner: the shard's thread. Memory: the messages whose states a round wrote, 16 bytes each, up to
 * a limit; beyond it states may be written twice.
 */
#include "control/queue/spool_internal.h"

#include <stdlib.h>

#define CARRIED_MIN 1024u
#define CARRIED_MAX (1u << 20)
/** What a round wrote must have become superfluous by this part before the next; and at least as
 * much of a segment. */
#define GAIN_PART 4u
/** After a round that found no room. */
#define RETRY_MIN_US US_PER_S
#define RETRY_MAX_US (3600 * US_PER_S)

static struct message_id *carried_find(const struct round *round, const struct message_id *id)
{
	uint32_t mask = round->carried_size - 1;
	uint64_t hash = (id->counter ^ id->origin) * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t at = (uint32_t)(hash >> 32) & mask;

	while ((round->carried[at].origin | round->carried[at].counter) != 0 &&
	       (round->carried[at].origin != id->origin ||
		round->carried[at].counter != id->counter))
		at = (at + 1) & mask;
	return &round->carried[at];
}

static void carried_grow(struct round *round)
{
	struct message_id *old = round->carried;
	uint32_t old_size = round->carried_size;
	uint32_t size = old_size == 0 ? CARRIED_MIN : 2 * old_size;
	struct message_id *new = size > CARRIED_MAX ? NULL : calloc(size, sizeof(*new));

	if (new == NULL)
		return;
	round->carried = new;
	round->carried_size = size;
	for (uint32_t i = 0; i < old_size; i++)
		if ((old[i].origin | old[i].counter) != 0)
			*carried_find(round, &old[i]) = old[i];
	free(old);
}

bool round_has_carried(const struct spool *spool, const struct message_id *id)
{
	const struct round *round = &spool->round;

	if (round->carried_size == 0)
		return false;
	return (carried_find(round, id)->origin | carried_find(round, id)->counter) != 0;
}

void round_carry(struct spool *spool, const struct message_id *id)
{
	struct round *round = &spool->round;

	if (round->carried_count >= round->carried_size / 2)
		carried_grow(round);
	if (round->carried_count >= round->carried_size / 2 || round_has_carried(spool, id))
		return;
	*carried_find(round, id) = *id;
	round->carried_count++;
}

static void forget_carried(struct round *round)
{
	free(round->carried);
	round->carried = NULL;
	round->carried_size = 0;
	round->carried_count = 0;
}

bool round_may_begin(const struct spool *spool)
{
	const struct round *round = &spool->round;
	uint64_t needed = spool->settings.segment_size;

	if (round->written > needed)
		needed = round->written;
	return round->horizon != 0 || round->number == 0 ||
	       round->superfluous >= needed / GAIN_PART ||
	       (round->failed && spool->now.mono_us >= round->retry_us);
}

bool round_takes(const struct spool *spool, uint16_t slot)
{
	const struct round *round = &spool->round;

	return round->horizon == 0 || spool_segment(spool, slot)->sequence <= round->horizon;
}

void round_join(struct spool *spool)
{
	struct round *round = &spool->round;

	if (round->horizon != 0)
		return;
	if (round->superfluous > 0)
		round->wait_us = 0;
	round->number++;
	round->superfluous = 0;
	round->written = 0;
	round->failed = false;
	/* All that is not sealed yet, and so all that the round writes, is behind this. */
	round->horizon = spool->last_sequence;
	if (spool->next != SPOOL_NO_SLOT)
		round->horizon--;
	if (spool->current != SPOOL_NO_SLOT)
		round->horizon = spool_segment(spool, spool->current)->sequence - 1;
}

void round_end(struct spool *spool, bool failed)
{
	struct round *round = &spool->round;

	if (round->horizon == 0)
		return;
	round->horizon = 0;
	round->failed = failed;
	if (failed) {
		round->wait_us = round->wait_us == 0 ? RETRY_MIN_US : 2 * round->wait_us;
		if (round->wait_us > RETRY_MAX_US)
			round->wait_us = RETRY_MAX_US;
		round->retry_us = spool->now.mono_us + round->wait_us;
	}
	forget_carried(round);
}

void round_finish(struct spool *spool)
{
	forget_carried(&spool->round);
}
