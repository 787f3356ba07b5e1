/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dataplane/steering_check.h"

#include <stdio.h>

void steering_add(struct net_arrivals *sum, const struct net_arrivals *worker)
{
	sum->home += worker->home;
	sum->elsewhere += worker->elsewhere;
	sum->ruled_home += worker->ruled_home;
	sum->ruled_elsewhere += worker->ruled_elsewhere;
}

bool steering_check(struct steering_check *check, enum nic_steering way,
		    const struct net_arrivals *now, char *reason)
{
	uint64_t home = now->home - check->judged.home;
	uint64_t elsewhere = now->elsewhere - check->judged.elsewhere;
	unsigned long long all, missed;

	if (way == NIC_STEERING_FLOW_RULES) {
		home = now->ruled_home - check->judged.ruled_home;
		elsewhere = now->ruled_elsewhere - check->judged.ruled_elsewhere;
	} else if (way != NIC_STEERING_RSS_KEY) {
		check->judged = *now;
		return true;
	}
	if (home + elsewhere < STEERING_SAMPLE)
		return true;
	check->judged = *now;
	if (elsewhere * 100 <= (home + elsewhere) * STEERING_MISS_PERCENT)
		return true;
	all = home + elsewhere;
	missed = elsewhere;
	snprintf(reason, 128, "%s does not hold: %llu of %llu packets came in at another queue",
		 nic_steering_name(way), missed, all);
	return false;
}

bool steering_retry_due(struct steering_check *check, enum nic_steering way, bool link_up,
			unsigned adopted, const struct net_arrivals *now, uint64_t now_us)
{
	bool asked = adopted != check->adopted;

	/* A link that is not up yet at the start has lost nothing. */
	if (link_up && !check->link_was_up && check->link_seen)
		check->due = true;
	check->link_seen |= link_up;
	check->link_was_up = link_up;
	check->adopted = adopted;
	if (asked && way != NIC_STEERING_RSS_KEY) /* the best holds: a reload disturbs nothing */
		check->due = true;
	else if (!check->due || now_us < check->tried_us + STEERING_RETRY_US)
		return false;
	if (!link_up || way == NIC_STEERING_ONE_QUEUE)
		return false;
	check->due = false;
	check->tried_us = now_us;
	check->judged = *now;
	return true;
}
