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
