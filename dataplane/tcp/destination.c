/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The destination cache; see destination.h. */
#include "dataplane/tcp/destination.h"

#include "dataplane/tcp/internal.h"

#include <stdlib.h>
#include <string.h>

/* The bucket: what a handful of connections would send at once is not held up. */
#define BUCKET_BURST	  40u	   /* segments */
#define BUCKET_LEAST	  40u	   /* segments a round trip */
#define BUCKET_RTT_US	  100000u  /* while the round trip is not known */
#define BUCKET_RTT_MAX_US 1000000u /* one that answers late must not stretch it for the others */
#define CROWD		  64u	   /* more connections than this share it: they take turns, */
#define CROWD_SLOT_US	  32u	   /* asking again one in so many us */
#define RATE_SPAN_US	  20000u   /* shortest span over which delivery is measured */
#define RATE_MEMORY_US	  2000000u
/* Below it a remembered threshold would only slow short messages down. */
#define SSTHRESH_LEAST 40u /* segments */

struct destination_cache *destination_cache_create(uint32_t entries)
{
	struct destination_cache *cache = calloc(1, sizeof(*cache));
	uint32_t buckets = 16;

	if (cache == NULL)
		return NULL;
	while (buckets < entries)
		buckets *= 2;
	cache->capacity = entries;
	cache->mask = buckets - 1;
	cache->entries = malloc((size_t)entries * sizeof(*cache->entries));
	cache->buckets = calloc(buckets, sizeof(*cache->buckets));
	if (cache->entries == NULL || cache->buckets == NULL) {
		destination_cache_destroy(cache);
		return NULL;
	}
	return cache;
}

void destination_cache_destroy(struct destination_cache *cache)
{
	if (cache == NULL)
		return;
	free(cache->entries);
	free(cache->buckets);
	free(cache);
}

/* IPv6 hosts are told apart by their /64. */
static struct ip_address key_of(const struct ip_address *remote)
{
	struct ip_address key = *remote;

	if (!ip_is_v4(remote))
		memset(key.bytes + 8, 0, 8);
	return key;
}

static uint32_t *bucket_of(const struct tcp_layer *layer, const struct ip_address *key)
{
	uint64_t words[2];

	memcpy(words, key->bytes, sizeof(words));
	return &layer->destinations->buckets[hash_words(&layer->table_key, words, 2) &
					     layer->destinations->mask];
}

static uint32_t lookup(const struct tcp_layer *layer, const struct ip_address *key)
{
	uint32_t link = *bucket_of(layer, key);

	while (link != 0 && !ip_equal(&layer->destinations->entries[link - 1].address, key))
		link = layer->destinations->entries[link - 1].chain;
	return link;
}

const struct destination *destination_look_up(const struct tcp_layer *layer,
					      const struct ip_address *remote)
{
	struct ip_address key = key_of(remote);
	uint32_t link = lookup(layer, &key);

	return link != 0 ? &layer->destinations->entries[link - 1] : NULL;
}

struct destination *destination_of(const struct tcp_layer *layer, const struct tcb *tcb)
{
	uint32_t link = tcb_cold(layer, tcb)->destination;

	return link != 0 ? &layer->destinations->entries[link - 1] : NULL;
}

static void list_remove(struct destination_cache *cache, uint32_t link)
{
	struct destination *d = &cache->entries[link - 1];

	if (d->older != 0)
		cache->entries[d->older - 1].newer = d->newer;
	else
		cache->oldest = d->newer;
	if (d->newer != 0)
		cache->entries[d->newer - 1].older = d->older;
	else
		cache->newest = d->older;
}

static void list_append(struct destination_cache *cache, uint32_t link)
{
	struct destination *d = &cache->entries[link - 1];

	d->newer = 0;
	d->older = cache->newest;
	if (cache->newest != 0)
		cache->entries[cache->newest - 1].newer = link;
	else
		cache->oldest = link;
	cache->newest = link;
}

static void unchain(struct tcp_layer *layer, uint32_t link)
{
	struct destination *d = &layer->destinations->entries[link - 1];
	uint32_t *at = bucket_of(layer, &d->address);

	while (*at != link)
		at = &layer->destinations->entries[*at - 1].chain;
	*at = d->chain;
}

/* @return 0: all are in use */
static uint32_t make(struct tcp_layer *layer, const struct ip_address *key)
{
	struct destination_cache *cache = layer->destinations;
	uint32_t link = cache->oldest, *bucket;

	if (cache->fresh < cache->capacity) {
		link = ++cache->fresh;
	} else if (link != 0) {
		list_remove(cache, link);
		unchain(layer, link);
	} else {
		return 0;
	}
	bucket = bucket_of(layer, key);
	cache->entries[link - 1] = (struct destination){.address = *key, .chain = *bucket};
	*bucket = link;
	return link;
}

void destination_open(struct net_stack *stack, struct tcb *tcb)
{
	struct tcp_layer *layer = stack->tcp;
	struct tcb_cold *cold = tcb_cold(layer, tcb);
	struct ip_address key = key_of(&tcb->remote);
	uint32_t link;

	if (cold->destination != 0)
		return;
	link = lookup(layer, &key);
	if (link == 0)
		link = make(layer, &key);
	else if (layer->destinations->entries[link - 1].references == 0)
		list_remove(layer->destinations, link);
	if (link == 0) {
		stack->counters.tcp_no_destination++;
		return;
	}
	cold->destination = link;
	layer->destinations->entries[link - 1].references++;
}

/* 0: it never was. */
static bool within(const struct net_stack *stack, uint64_t when_us, uint64_t span_us)
{
	return when_us != 0 && stack->now_us - when_us < span_us;
}

static bool is_fresh(const struct net_stack *stack, const struct destination *d)
{
	return d != NULL && within(stack, d->learnt_us, DESTINATION_FRESH_US);
}

/* RFC 9040, 3.2: merged with what others found; the variation falls slowly, for an RTO that is too
 * short costs more than one that is too long. */
static void learn_rtt(struct net_stack *stack, struct destination *d, const struct tcb *tcb)
{
	if (!is_fresh(stack, d)) {
		d->srtt_us = tcb->srtt_us;
		d->rttvar_us = tcb->rttvar_us;
		return;
	}
	d->srtt_us = d->srtt_us / 2 + tcb->srtt_us / 2;
	d->rttvar_us -= d->rttvar_us / 4;
	if (d->rttvar_us < tcb->rttvar_us)
		d->rttvar_us = tcb->rttvar_us;
}

/* What the connection itself found: what it was told at its beginning, and has not seen, must not
 * come back as news, or it would never grow old. */
static void learn_threshold(struct net_stack *stack, struct destination *d, const struct tcb *tcb)
{
	bool known = within(stack, d->ssthresh_us, DESTINATION_FRESH_US);

	if (tcb->ssthresh >= SSTHRESH_NONE) { /* slow start has come so far without harm */
		if (known && d->ssthresh < tcb->cwnd / 2)
			d->ssthresh = tcb->cwnd / 2;
		return;
	}
	if (tcb->ssthresh == d->ssthresh)
		return;
	d->ssthresh = known ? d->ssthresh / 2 + tcb->ssthresh / 2 : tcb->ssthresh;
	d->ssthresh_us = stack->now_us;
}

static void learn_path(struct net_stack *stack, struct destination *d, struct tcb *tcb)
{
	if (tcb->srtt_us == 0)
		return;
	learn_rtt(stack, d, tcb);
	d->learnt_us = stack->now_us;
	if ((tcb->flags & (TCB_REORDERING | TCB_REORDERING_TOLD)) == TCB_REORDERING) {
		d->reordering_us = stack->now_us;
		tcb->flags |= TCB_REORDERING_TOLD;
	}
}

void destination_tell(struct net_stack *stack, struct tcb *tcb)
{
	struct destination *d = destination_of(stack->tcp, tcb);

	if (d != NULL && !within(stack, d->learnt_us, DESTINATION_LEARN_US))
		learn_path(stack, d, tcb);
}

static void learn(struct net_stack *stack, struct destination *d, struct tcb *tcb)
{
	/* What one found that has long been idle is no news. */
	if (tcb->srtt_us == 0 || now32(stack) - tcb->last_sent_us >= DESTINATION_FRESH_US)
		return;
	learn_path(stack, d, tcb);
	learn_threshold(stack, d, tcb);
}

void destination_close(struct net_stack *stack, struct tcb *tcb)
{
	struct tcb_cold *cold = tcb_cold(stack->tcp, tcb);
	struct destination *d = destination_of(stack->tcp, tcb);

	if (d == NULL)
		return;
	learn(stack, d, tcb);
	if (--d->references == 0)
		list_append(stack->tcp->destinations, cold->destination);
	cold->destination = 0;
}

void destination_apply(struct net_stack *stack, struct tcb *tcb)
{
	const struct destination *d = destination_of(stack->tcp, tcb);

	if (d == NULL)
		return;
	/* The first window is as RFC 6928 has it, whatever the last connection ended with: the
	 * bucket keeps many of them from arriving at once. */
	if (within(stack, d->ssthresh_us, DESTINATION_FRESH_US) &&
	    d->ssthresh >= SSTHRESH_LEAST * tcb->mss && tcb->ssthresh >= SSTHRESH_NONE &&
	    !congestion_of(tcb)->own_recovery) {
		tcb->ssthresh = d->ssthresh;
		memset(tcb->congestion_state, 0, sizeof(tcb->congestion_state));
	}
	if (within(stack, d->reordering_us, DESTINATION_FRESH_US))
		tcb->flags |= TCB_REORDERING | TCB_REORDERING_TOLD;
}

uint32_t destination_syn_timeout_us(const struct net_stack *stack, const struct tcb *tcb)
{
	const struct destination *d = destination_of(stack->tcp, tcb);
	uint64_t us;

	if (!is_fresh(stack, d) || d->srtt_us == 0)
		return TCP_RTO_INITIAL_US;
	us = (uint64_t)d->srtt_us + 4 * (uint64_t)d->rttvar_us;
	return us < DESTINATION_SYN_MIN_US   ? DESTINATION_SYN_MIN_US
	       : us < DESTINATION_SYN_MAX_US ? (uint32_t)us
					     : DESTINATION_SYN_MAX_US;
}

void destination_set_mtu(struct net_stack *stack, struct tcb *tcb, uint16_t mtu)
{
	struct destination *d = destination_of(stack->tcp, tcb);

	if (d == NULL)
		return;
	d->mtu = mtu;
	d->mtu_us = stack->now_us;
}

uint16_t destination_mtu(const struct net_stack *stack, const struct tcb *tcb)
{
	const struct destination *d = destination_of(stack->tcp, tcb);

	return d != NULL && within(stack, d->mtu_us, DESTINATION_MTU_KEEP_US) ? d->mtu : 0;
}

void destination_set_ecn_broken(struct net_stack *stack, struct tcb *tcb)
{
	struct destination *d = destination_of(stack->tcp, tcb);

	if (d != NULL)
		d->ecn_broken_us = stack->now_us;
}

bool destination_ecn_broken(const struct net_stack *stack, const struct tcb *tcb)
{
	const struct destination *d = destination_of(stack->tcp, tcb);

	return d != NULL && within(stack, d->ecn_broken_us, DESTINATION_ECN_US);
}

/* --- the bucket --- */
void destination_delivered(struct net_stack *stack, struct tcb *tcb, uint32_t bytes)
{
	struct destination *d = destination_of(stack->tcp, tcb);
	uint64_t span, elapsed, rate;

	if (d == NULL || bytes == 0)
		return;
	destination_tell(stack, tcb);
	elapsed = stack->now_us - d->epoch_us;
	span = tcb->srtt_us > RATE_SPAN_US ? tcb->srtt_us : RATE_SPAN_US;
	if (elapsed < span) {
		d->delivered += bytes;
		return;
	}
	/* Faster counts at once, slower by and by; after a pause nothing is known. */
	rate = (uint64_t)d->delivered * 1000000 / elapsed;
	if (elapsed > RATE_MEMORY_US)
		d->rate = 0;
	d->rate -= d->rate / 8;
	if (d->rate < rate)
		d->rate = rate;
	d->epoch_us = stack->now_us;
	d->delivered = bytes;
}

/* As one connection in slow start would: twice what came through, and at least a few windows a
 * round trip. @return bytes per second */
static uint64_t bucket_rate(const struct net_stack *stack, const struct destination *d,
			    const struct tcb *tcb)
{
	uint32_t rtt_us = tcb->srtt_us != 0    ? tcb->srtt_us
			  : is_fresh(stack, d) ? d->srtt_us
					       : BUCKET_RTT_US;
	uint64_t twice = stack->now_us - d->epoch_us < RATE_MEMORY_US ? 2 * d->rate : 0;
	uint64_t least;

	if (rtt_us < 1000)
		rtt_us = 1000;
	else if (rtt_us > BUCKET_RTT_MAX_US)
		rtt_us = BUCKET_RTT_MAX_US;
	least = (uint64_t)BUCKET_LEAST * tcb->mss * 1000000 / rtt_us;
	return twice > least ? twice : least;
}

/* Were all that wait woken when there is room for one, each admission would cost as much as there
 * are of them, which a peer with thousands of connections could make the worker's only work. */
static uint32_t crowd_delay(struct net_stack *stack, const struct destination *d)
{
	return d->references > CROWD
		       ? random_below(stack->settings.random, d->references * CROWD_SLOT_US)
		       : 0;
}

unsigned destination_admit(struct net_stack *stack, const struct tcb *tcb, unsigned most,
			   uint32_t *wait_us)
{
	const struct destination *d = destination_of(stack->tcp, tcb);
	uint64_t rate, burst_us, room_us, segments;

	*wait_us = 0;
	if (d == NULL || d->next_us <= stack->now_us)
		return most;
	rate = bucket_rate(stack, d, tcb);
	burst_us = (uint64_t)BUCKET_BURST * tcb->mss * 1000000 / rate;
	if (d->next_us >= stack->now_us + burst_us) {
		uint64_t us = d->next_us - stack->now_us - burst_us;

		stack->counters.tcp_destination_wait++;
		*wait_us = us < 1000000 ? (uint32_t)us + 1000 : 1000000u;
		*wait_us += crowd_delay(stack, d);
		return 0;
	}
	room_us = stack->now_us + burst_us - d->next_us;
	segments = room_us * rate / 1000000 / tcb->mss + 1;
	return segments < most ? (unsigned)segments : most;
}

void destination_sent(struct net_stack *stack, const struct tcb *tcb, uint32_t bytes)
{
	struct destination *d = destination_of(stack->tcp, tcb);

	if (d == NULL)
		return;
	if (d->next_us < stack->now_us)
		d->next_us = stack->now_us;
	d->next_us += (uint64_t)bytes * 1000000 / bucket_rate(stack, d, tcb);
}
